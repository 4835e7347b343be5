/* SPDX-License-Identifier: Apache-2.0 */
/* Exact search against scoring every row and sorting: the same ids in the same order, the same
 * bits. */
#include "src/eval/exact.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/elem.h"
#include "src/base/mem.h"
#include "src/math/kernels.h"
#include "src/math/score.h"
#include "tests/harness/harness.h"

typedef struct hit {
    float score;
    uint64_t id;
} hit;

static bool rank_larger; /* for qsort */

static int by_rank(const void *a, const void *b)
{
    const hit *x = a, *y = b;
    if (x->score != y->score) return (x->score > y->score) == rank_larger ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

typedef struct problem {
    uint32_t metric, elem;
    size_t n, d, nq, k;
    void *base; /* n x d in elem */
    float *queries;
    uint64_t *ids; /* or NULL */
    int threads;
} problem;

static problem make(uint32_t metric, uint32_t elem, size_t n, size_t d, size_t nq, size_t k)
{
    problem p = {metric, elem, n, d, nq, k, NULL, NULL, NULL, 2};
    p.base = calloc(n * d + 1, vq_elem_size(elem));
    p.queries = calloc(nq * d, sizeof *p.queries);
    return p;
}

static void drop(problem *p)
{
    free(p->base), free(p->queries), free(p->ids);
}

static void put(problem *p, size_t at, double value)
{
    switch (p->elem) {
    case VQ_F32: ((float *)p->base)[at] = (float)value; break;
    case VQ_F16: ((uint16_t *)p->base)[at] = vq_f32_to_f16((float)value); break;
    case VQ_I8: ((int8_t *)p->base)[at] = (int8_t)lrint(fmax(-127.0, fmin(127.0, value))); break;
    default: ((uint8_t *)p->base)[at] = (uint8_t)lrint(fmax(0.0, fmin(255.0, value)));
    }
}

/* All rows scored, all sorted. */
static void naive(const problem *p, uint64_t *ids, float *scores)
{
    hit *hits = calloc(p->n + 1, sizeof *hits);
    double *q = calloc(p->d, sizeof *q);
    size_t row_bytes = p->d * vq_elem_size(p->elem);
    const vq_kernels *kn = vq_kernels_get();
    rank_larger = p->metric != VQ_METRIC_L2;
    for (size_t i = 0; i < p->nq; i++) {
        const float *query = p->queries + i * p->d;
        for (size_t j = 0; j < p->d; j++) q[j] = (double)query[j];
        for (size_t r = 0; r < p->n; r++)
            hits[r] = (hit){vq_exact_score(kn, p->metric, p->elem, q, kn->sq_row_f32(query, p->d),
                                           (const char *)p->base + r * row_bytes, p->d, 1.0),
                            p->ids != NULL ? p->ids[r] : r};
        qsort(hits, p->n, sizeof *hits, by_rank);
        for (size_t j = 0; j < p->k; j++) {
            ids[i * p->k + j] = j < p->n ? hits[j].id : VQ_NO_ID;
            scores[i * p->k + j] = j < p->n ? hits[j].score : NAN;
        }
    }
    free(hits), free(q);
}

static void check(const problem *p)
{
    size_t all = p->nq * p->k;
    uint64_t *want = calloc(all, sizeof *want), *got = calloc(all, sizeof *got);
    float *want_score = calloc(all, sizeof *want_score),
          *got_score = calloc(all, sizeof *got_score);
    vq_exact_opts o = {
        .metric = p->metric, .k = (uint32_t)p->k, .threads = (uint32_t)p->threads, .ids = p->ids};
    vq_source *src = NULL;
    vq_error err = {0};
    naive(p, want, want_score);
    cr_assert_eq(vq_source_array(&src, p->base, p->n, (uint32_t)p->d, p->elem, &err), VQ_OK);
    cr_assert_eq(vq_exact(src, p->queries, p->nq, &o, got, got_score, &err), VQ_OK, "%s", err.text);
    for (size_t i = 0; i < all; i++) {
        bool same = want_score[i] == got_score[i] || (isnan(want_score[i]) && isnan(got_score[i]));
        cr_assert(want[i] == got[i] && same,
                  "metric %u elem %u n %zu d %zu nq %zu k %zu: query %zu rank %zu: %.9g, want %.9g",
                  p->metric, p->elem, p->n, p->d, p->nq, p->k, i / p->k, i % p->k,
                  (double)got_score[i], (double)want_score[i]);
    }
    vq_source_close(src);
    free(want), free(got), free(want_score), free(got_score);
}

static uint32_t any_metric(vq_rng *r)
{
    return VQ_METRIC_L2 + (uint32_t)vq_rng_below(r, 3);
}

static uint64_t *shuffled_ids(vq_rng *r, size_t n)
{
    uint64_t *ids = calloc(n + 1, sizeof *ids);
    for (size_t i = 0; i < n; i++) ids[i] = (uint64_t)i * 1000003u + 5;
    for (size_t i = n; i > 1; i--) {
        size_t j = vq_rng_below(r, i);
        uint64_t t = ids[i - 1];
        ids[i - 1] = ids[j], ids[j] = t;
    }
    return ids;
}

Test(exact, random_shapes)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int it = 0; it < 250; it++) {
        size_t n = vq_rng_below(&r, it % 8 == 0 ? 4 : 1500), d = 1 + vq_rng_below(&r, 70);
        size_t nq = 1 + vq_rng_below(&r, 60), k = 1 + vq_rng_below(&r, it % 4 == 0 ? n + 5 : 20);
        problem p = make(any_metric(&r), VQ_F32 + (uint32_t)vq_rng_below(&r, 4), n, d, nq, k);
        double size = p.elem == VQ_F32 || p.elem == VQ_F16 ? 1.0 : 60.0;
        for (size_t i = 0; i < n * d; i++) put(&p, i, size * vq_rng_normal(&r));
        for (size_t i = 0; i < nq * d; i++) p.queries[i] = (float)(size * vq_rng_normal(&r));
        if (it % 2 == 0) p.ids = shuffled_ids(&r, n);
        p.threads = 1 + it % 3;
        check(&p);
        drop(&p);
    }
}

/* Few distinct rows: most answers are decided by the id. */
Test(exact, ties)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    for (int it = 0; it < 60; it++) {
        size_t n = 1 + vq_rng_below(&r, 1200), d = 1 + vq_rng_below(&r, 20);
        problem p = make(any_metric(&r), VQ_F32 + (uint32_t)vq_rng_below(&r, 4), n, d, 20, 15);
        for (size_t i = 0; i < n; i++) {
            uint64_t kind = vq_rng_below(&r, 6); /* kind 0 is the zero row */
            for (size_t j = 0; j < d; j++)
                put(&p, i * d + j, (double)(kind * (1 + (j + kind) % 3)));
        }
        for (size_t i = 0; i < 19 * d; i++) p.queries[i] = (float)vq_rng_normal(&r);
        p.ids = shuffled_ids(&r, n); /* and the last query is zero: all tie */
        check(&p);
        drop(&p);
    }
}

/* Scores that f32 sums cannot tell apart: rows around one point, at steps near the last bit, far
 * from the origin; the answer must still be the one that double sums give. */
Test(exact, nearly_equal_scores)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    for (int it = 0; it < 60; it++) {
        size_t n = 900, d = 1 + vq_rng_below(&r, 200), nq = 12;
        problem p = make(any_metric(&r), VQ_F32, n, d, nq, 10);
        double offset = pow(10.0, 4.0 * vq_rng_f64(&r)), step = offset * pow(2.0, -22.0);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < d; j++)
                put(&p, i * d + j, offset * cos((double)j) + step * vq_rng_normal(&r));
        for (size_t i = 0; i < nq * d; i++)
            p.queries[i] = (float)(offset * cos((double)(i % d)) + step * vq_rng_normal(&r));
        check(&p);
        drop(&p);
    }
}

/* Rising towards the end of the stream: the first rows never stay, whatever block they are in. */
Test(exact, several_blocks)
{
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++)
        for (int falling = 0; falling < 2; falling++) {
            size_t n = 20000;
            problem p = make(metric, falling ? VQ_F32 : VQ_F16, n, 2, 3, 40);
            for (size_t i = 0; i < n; i++) {
                double angle = (double)(falling ? n - i : i) / (double)n;
                put(&p, 2 * i, cos(angle));
                put(&p, 2 * i + 1, sin(angle));
            }
            p.queries[0] = 0.5f, p.queries[1] = 0.9f;
            p.queries[2] = 0.5f, p.queries[3] = 0.2f;
            p.queries[4] = -1.0f, p.queries[5] = 0.0f;
            check(&p);
            drop(&p);
        }
}

/* Products and squares that leave the range of f32 at either end. */
Test(exact, extreme_sizes)
{
    static const double sizes[] = {0.0, 1e-42, 1e-30, 1e-16, 1e-8, 1.0, 1e8, 1e17, 1e25, 1e37};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    for (int it = 0; it < 60; it++) {
        size_t n = 700, d = 1 + vq_rng_below(&r, 30), nq = 20;
        problem p = make(any_metric(&r), VQ_F32, n, d, nq, 12);
        for (size_t i = 0; i < n; i++) {
            double size = sizes[vq_rng_below(&r, 10)];
            for (size_t j = 0; j < d; j++) put(&p, i * d + j, size * (2.0 * vq_rng_f64(&r) - 1.0));
        }
        for (size_t i = 0; i < nq; i++) {
            double size = sizes[i / 2];
            for (size_t j = 0; j < d; j++)
                p.queries[i * d + j] = (float)(size * (2.0 * vq_rng_f64(&r) - 1.0));
        }
        check(&p);
        drop(&p);
    }
}

Test(exact, many_queries_and_long_answers)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    problem p = make(VQ_METRIC_IP, VQ_I8, 1700, 24, 600, 700);
    for (size_t i = 0; i < p.n * p.d; i++) put(&p, i, 40.0 * vq_rng_normal(&r));
    for (size_t i = 0; i < p.nq * p.d; i++) p.queries[i] = (float)vq_rng_normal(&r);
    check(&p);
    drop(&p);
}

/* Rows and queries that are bytes: products are exact up to 2^24, and longer rows go beyond. */
Test(exact, whole_numbers)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 6);
    for (int it = 0; it < 24; it++) {
        size_t n = 700, d = it % 3 == 0 ? 300 : 1 + vq_rng_below(&r, 20);
        problem p = make(any_metric(&r), it % 2 == 0 ? VQ_I8 : VQ_U8, n, d, 25, 9);
        int near = it % 3 == 0 ? 2 : 200; /* all near 255: |q| |r| is 300 * 255^2 > 2^24 */
        for (size_t i = 0; i < n * d; i++)
            ((uint8_t *)p.base)[i] = (uint8_t)(255 - vq_rng_below(&r, (uint64_t)near));
        for (size_t i = 0; i < p.nq * d; i++)
            p.queries[i] = (float)(255 - (int)vq_rng_below(&r, (uint64_t)near));
        for (size_t i = 0; i < p.nq * d && it % 4 == 1; i++) p.queries[i] -= 128.0f;
        if (it % 2 == 1) p.ids = shuffled_ids(&r, n);
        check(&p);
        drop(&p);
    }
}

/* Queries that lose nothing as bytes, but whose unit is not 1: their products are rounded. */
Test(exact, multiples_of_a_unit)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 8);
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
        problem p = make(metric, VQ_U8, 600, 300, 20, 9);
        for (size_t i = 0; i < p.n * p.d; i++)
            ((uint8_t *)p.base)[i] = (uint8_t)(255 - vq_rng_below(&r, 2));
        for (size_t i = 0; i < p.nq * p.d; i++)
            p.queries[i] = 0.375f * (i % p.d == 0 ? -127.0f : 127.0f - (float)vq_rng_below(&r, 2));
        check(&p);
        drop(&p);
    }
}

/* More columns than sums of bytes have room for. */
Test(exact, wide_rows_of_bytes)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 7);
    for (size_t d = 32768; d <= 32769; d++) {
        problem p = make(VQ_METRIC_L2, VQ_U8, 20, d, 9, 3);
        memset(p.base, 255, p.n * d);
        for (size_t i = 0; i < p.n; i++) ((uint8_t *)p.base)[i * d + i] = (uint8_t)(250 - 2 * i);
        for (size_t i = 0; i < p.nq * d; i++) p.queries[i] = i % d < 9 ? 200.0f : 255.0f;
        check(&p);
        drop(&p);
    }
}

Test(exact, starts_from_the_first_row)
{
    const float base[4] = {1.0f, 2.0f, 3.0f, 4.0f}, query = 1.0f;
    float row, scores[2];
    uint64_t ids[2], number;
    size_t got;
    vq_source *src = NULL;
    vq_exact_opts o = {.metric = VQ_METRIC_L2, .k = 2, .threads = 1};
    cr_assert_eq(vq_source_array(&src, base, 4, 1, VQ_F32, NULL), VQ_OK);
    cr_assert_eq(vq_source_read(src, &row, 1, &number, &got, NULL), VQ_OK);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(vq_exact(src, &query, 1, &o, ids, scores, NULL), VQ_OK);
        cr_assert(ids[0] == 0 && ids[1] == 1 && scores[0] == 0.0f && scores[1] == 1.0f);
        cr_assert_not(signbit(scores[0]));
    }
    vq_source_close(src);
}

static int stop_at_once(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase, (void)done;
    *(uint64_t *)ctx = total;
    return 1;
}

Test(exact, refuses_and_stops)
{
    const float base[4] = {1.0f, 2.0f, 3.0f, 4.0f}, query[4] = {1.0f, 2.0f, NAN, 0.0f};
    float scores[2] = {-1.0f, -1.0f};
    uint64_t ids[2] = {77, 77}, total = 0;
    vq_source *src = NULL;
    vq_error err;
    cr_assert_eq(vq_source_array(&src, base, 2, 2, VQ_F32, NULL), VQ_OK);
    vq_exact_opts o = {.metric = VQ_METRIC_IP, .k = 0, .threads = 1};
    cr_assert_eq(vq_exact(src, query, 1, &o, ids, scores, &err), VQ_EINVAL);
    o.k = 1;
    cr_assert_eq(vq_exact(src, query, 2, &o, ids, scores, &err), VQ_EINVAL);
    cr_assert_neq(strstr(err.text, "query 1"), NULL, "%s", err.text);
    o.metric = 9;
    cr_assert_eq(vq_exact(src, query, 1, &o, ids, scores, &err), VQ_EINVAL);
    o.metric = VQ_METRIC_IP;
    o.progress = stop_at_once, o.progress_ctx = &total;
    cr_assert_eq(vq_exact(src, query, 1, &o, ids, scores, &err), VQ_ECANCELED);
    cr_assert_eq(total, 2u);
    cr_assert(ids[0] == 77 && scores[0] == -1.0f, "untouched by a failure");
    o.progress = NULL;
    cr_assert_eq(vq_exact(src, query, 0, &o, ids, scores, &err), VQ_OK);
    cr_assert_eq(vq_exact(src, query, 1, &o, ids, scores, &err), VQ_OK);
    cr_assert(ids[0] == 1 && scores[0] == 11.0f);
    vq_source_close(src);
}

Test(exact, survives_failing_allocations)
{
    const int8_t base[6] = {1, 2, 3, 4, 5, 6};
    const float query[2] = {1.0f, 1.0f};
    float scores[2];
    uint64_t ids[2], failures = 0;
    vq_source *src = NULL;
    vq_exact_opts o = {.metric = VQ_METRIC_COSINE, .k = 1, .threads = 2};
    cr_assert_eq(vq_source_array(&src, base, 3, 2, VQ_I8, NULL), VQ_OK);
    vq_status rc = VQ_ENOMEM;
    while (rc != VQ_OK) {
        vq_error err = {0};
        vq_mem_fail_after(failures + 1);
        rc = vq_exact(src, query, 1, &o, ids, scores, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.text[0] != 0));
        failures += rc != VQ_OK;
    }
    cr_assert_geq(failures, 12u);
    cr_assert_eq(ids[0], 2u);
    vq_source_close(src);
}
