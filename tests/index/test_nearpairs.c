/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs of queries and true neighbours: they are what a search of all lists would find. */
#include "index/nearpairs.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

enum { N = 2000, D = 16, NLIST = 100, NQ = 40, NEAREST = 10 };

typedef struct scene {
    vq_model m;
    float *rows, *residuals, *centroids, *queries;
    uint32_t *lists;
} scene;

/* Vectors around centroids some of which lie far out: their lengths say nothing of nearness. */
static scene scene_new(void)
{
    scene s = {.rows = vq_alloc_f32(N, D),
               .residuals = vq_alloc_f32(N, D),
               .centroids = vq_alloc_f32(NLIST, D),
               .queries = vq_alloc_f32(NQ, D),
               .lists = vq_mem_alloc(N, sizeof(uint32_t))};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (size_t i = 0; i < NLIST * D; i++)
        s.centroids[i] = (float)vq_rng_normal(&r) * (1.0f + (float)(i / D) / 20.0f);
    for (size_t i = 0; i < N * D; i++) {
        s.lists[i / D] = (uint32_t)(i / D % NLIST);
        s.residuals[i] = 0.8f * (float)vq_rng_normal(&r);
        s.rows[i] = s.residuals[i] + s.centroids[i / D % NLIST * D + i % D];
    }
    for (size_t i = 0; i < NQ * D; i++) s.queries[i] = (float)vq_rng_normal(&r);
    s.m = (vq_model){
        .metric = VQ_METRIC_L2, .n = N, .d_code = D, .nlist = NLIST, .centroids = s.centroids};
    return s;
}

static void scene_end(scene *s)
{
    vq_mem_free(s->rows), vq_mem_free(s->residuals), vq_mem_free(s->centroids);
    vq_mem_free(s->queries), vq_mem_free(s->lists);
}

/* What q scores with a row: larger is nearer. */
static double score_of(const scene *s, const float *q, const float *row)
{
    double sum = 0.0;
    for (size_t j = 0; j < D; j++) {
        double less = (double)q[j] - (double)row[j];
        sum += s->m.metric == VQ_METRIC_L2 ? -less * less : (double)q[j] * (double)row[j];
    }
    return sum;
}

/* Of the tenth best of all rows. */
static double tenth(const scene *s, const float *q)
{
    double best[NEAREST];
    for (size_t j = 0; j < NEAREST; j++) best[j] = -INFINITY;
    for (size_t i = 0; i < N; i++) {
        double now = score_of(s, q, s->rows + i * D);
        for (size_t j = 0; j < NEAREST; j++) {
            double other = best[j];
            if (now > other) best[j] = now, now = other;
        }
    }
    return best[NEAREST - 1];
}

/* Each pair is of one of the query's ten best. */
static void check_right(const scene *s, const vq_near_pairs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        vq_near_pair at = p->pairs[i];
        const float *q = s->queries + at.query * D;
        float row[D];
        cr_assert_eq(at.query, i / NEAREST);
        cr_assert_eq(at.list, s->lists[at.row]);
        for (size_t j = 0; j < D; j++)
            row[j] = s->residuals[at.row * D + j] + s->centroids[at.list * D + j];
        double got = score_of(s, q, row), last = tenth(s, q);
        cr_assert(got >= last - 1e-4 * (1.0 + fabs(last)), "query %u: %g, but the tenth has %g",
                  at.query, got, last);
    }
}

Test(nearpairs, are_of_true_neighbours)
{
    vq_error err;
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_IP; metric++) {
        scene s = scene_new();
        vq_near_pairs one = {0}, two = {0};
        s.m.metric = metric;
        cr_assert_eq(vq_near_pairs_find(&s.m, s.residuals, s.lists, NULL, N, s.queries, NQ,
                                        VQ_NEAR_NONE, 1, &one, &err),
                     VQ_OK);
        cr_assert_eq(one.n, (size_t)NQ * NEAREST);
        check_right(&s, &one);
        cr_assert_eq(vq_near_pairs_find(&s.m, s.residuals, s.lists, NULL, N, s.queries, NQ,
                                        VQ_NEAR_NONE, 2, &two, &err),
                     VQ_OK);
        cr_assert_eq(two.n, one.n);
        cr_assert(memcmp(one.pairs, two.pairs, one.n * sizeof *one.pairs) == 0);
        vq_near_pairs_fini(&one), vq_near_pairs_fini(&two);
        scene_end(&s);
    }
}

/* Rows go to the places of their lists, in the order in which they came. */
Test(nearpairs, rows_stay_what_they_were)
{
    enum { EACH = N / NLIST };
    vq_error err;
    scene s = scene_new();
    vq_near_pairs p = {0};
    cr_assert_eq(vq_near_pairs_find(&s.m, s.residuals, s.lists, NULL, N, s.queries, NQ,
                                    VQ_NEAR_NONE, 1, &p, &err),
                 VQ_OK);
    for (size_t i = 0; i < N; i++) {
        const float *was = s.rows + (i / EACH + i % EACH * NLIST) * D;
        cr_assert_eq(s.lists[i], i / EACH);
        for (size_t j = 0; j < D; j++) {
            float now = s.residuals[i * D + j] + s.centroids[i / EACH * D + j];
            cr_assert(now == was[j], "row %zu", i);
        }
    }
    vq_near_pairs_fini(&p);
    scene_end(&s);
}

/* Rows that ask are no neighbours of their own. */
Test(nearpairs, are_of_others)
{
    vq_error err;
    scene s = scene_new();
    vq_near_pairs p = {0};
    size_t own = N - NQ;
    cr_assert_eq(vq_near_pairs_find(&s.m, s.residuals, s.lists, NULL, N, s.rows + own * D, NQ, own,
                                    1, &p, &err),
                 VQ_OK);
    cr_assert_eq(p.n, (size_t)NQ * NEAREST);
    for (size_t i = 0; i < p.n; i++) {
        const float *q = s.rows + (own + p.pairs[i].query) * D;
        const float *o = s.residuals + p.pairs[i].row * D, *c = s.centroids + p.pairs[i].list * D;
        double sq = 0.0;
        for (size_t j = 0; j < D; j++) sq += pow((double)q[j] - (double)(o[j] + c[j]), 2.0);
        cr_assert_gt(sq, 0.0, "query %u", p.pairs[i].query);
    }
    vq_near_pairs_fini(&p);
    scene_end(&s);
}

/* A sample that is a part of the vectors holds as much of their ten best. */
Test(nearpairs, are_as_many_as_a_sample_holds)
{
    vq_error err;
    static const uint64_t all[] = {N, 2 * N, 100 * N};
    static const size_t each[] = {10, 5, 1};
    for (size_t i = 0; i < VQ_COUNT(all); i++) {
        scene s = scene_new();
        vq_near_pairs p = {0};
        s.m.n = all[i];
        cr_assert_eq(vq_near_pairs_find(&s.m, s.residuals, s.lists, NULL, N, s.queries, NQ,
                                        VQ_NEAR_NONE, 1, &p, &err),
                     VQ_OK);
        cr_assert_eq(p.n, NQ * each[i]);
        vq_near_pairs_fini(&p);
        scene_end(&s);
    }
}
