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

/* The squared distance of the tenth of all rows but `self`. */
static double tenth(const scene *s, const float *q, size_t self)
{
    double best[NEAREST];
    for (size_t j = 0; j < NEAREST; j++) best[j] = INFINITY;
    for (size_t i = 0; i < N; i++) {
        double now = 0.0;
        for (size_t j = 0; j < D; j++) {
            double less = (double)q[j] - (double)s->rows[i * D + j];
            now += less * less;
        }
        for (size_t j = 0; j < NEAREST && i != self; j++) {
            double other = best[j];
            if (now < other) best[j] = now, now = other;
        }
    }
    return best[NEAREST - 1];
}

/* The share of the pairs that are of one of the query's ten best. */
static double right_of(const scene *s, const vq_near_pairs *p, const float *queries)
{
    size_t right = 0;
    double last = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        double sq = 0.0;
        size_t at = i / NEAREST;
        if (i % NEAREST == 0) last = tenth(s, queries + at * D, queries == s->rows ? at : N);
        for (size_t j = i * D; j < (i + 1) * D; j++) { /* both less the centroid */
            double less = (double)p->q[j] - (double)p->o[j];
            sq += less * less;
        }
        right += sq <= last * (1.0 + 1e-4);
    }
    return (double)right / (double)p->n;
}

Test(nearpairs, are_of_true_neighbours)
{
    vq_error err;
    for (int own = 0; own < 2; own++) { /* vectors of the sample ask, too */
        scene s = scene_new();
        vq_near_pairs one = {0}, two = {0};
        const float *asked = own ? NULL : s.queries;
        cr_assert_eq(
            vq_near_pairs_find(&s.m, s.residuals, s.lists, N, asked, NQ, NULL, 1, &one, &err),
            VQ_OK);
        cr_assert_eq(
            vq_near_pairs_find(&s.m, s.residuals, s.lists, N, asked, NQ, NULL, 2, &two, &err),
            VQ_OK);
        cr_assert_eq(one.n, (size_t)(own ? N : NQ) * NEAREST);
        cr_assert_eq(two.n, one.n);
        cr_assert(memcmp(one.o, two.o, one.n * D * sizeof *one.o) == 0);
        cr_assert(memcmp(one.q, two.q, one.n * D * sizeof *one.q) == 0);
        double right = right_of(&s, &one, own ? s.rows : s.queries);
        cr_assert_gt(right, 0.9, "%g of the pairs", right);
        vq_near_pairs_fini(&one), vq_near_pairs_fini(&two);
        scene_end(&s);
    }
}

/* Of products the query keeps the mean that vectors have lost. */
Test(nearpairs, queries_of_products_keep_the_mean)
{
    vq_error err;
    scene s = scene_new();
    vq_near_pairs p = {0};
    float mean[D];
    for (size_t j = 0; j < D; j++) mean[j] = 1.0f + (float)j;
    s.m.metric = VQ_METRIC_IP;
    cr_assert_eq(vq_near_pairs_find(&s.m, s.residuals, s.lists, N, NULL, 0, mean, 1, &p, &err),
                 VQ_OK);
    cr_assert_eq(p.n, (size_t)N * NEAREST);
    for (size_t i = 0; i < p.n * D; i++) {
        float want = s.rows[i / D / NEAREST * D + i % D] + mean[i % D];
        cr_assert(fabsf(p.q[i] - want) < 1e-4f * (1.0f + fabsf(want)));
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
        cr_assert_eq(
            vq_near_pairs_find(&s.m, s.residuals, s.lists, N, s.queries, NQ, NULL, 1, &p, &err),
            VQ_OK);
        cr_assert_eq(p.n, NQ * each[i]);
        vq_near_pairs_fini(&p);
        scene_end(&s);
    }
}
