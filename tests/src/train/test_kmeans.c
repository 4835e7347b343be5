/* SPDX-License-Identifier: Apache-2.0 */
/* k-means: against a naive round of Lloyd's algorithm, and on degenerate data. */
#include "src/train/kmeans.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/train/draw.h"
#include "tests/harness/harness.h"

static vq_kmeans_opts opts(size_t k, unsigned iters, int threads)
{
    vq_kmeans_opts o = {
        .k = k, .iters = iters, .seed = test_seed(), .threads = threads, .phase = "test"};
    return o;
}

/* n x d around `centres` random points */
static float *blobs(vq_rng *r, size_t n, size_t d, size_t centres)
{
    float *x = vq_alloc_f32(n, d), *at = vq_alloc_f32(centres, d);
    fill_normal(r, at, centres * d);
    for (size_t i = 0; i < n; i++) {
        size_t c = vq_rng_below(r, centres);
        for (size_t j = 0; j < d; j++)
            x[i * d + j] = at[c * d + j] + 0.4f * (float)vq_rng_normal(r);
    }
    vq_mem_free(at);
    return x;
}

static void to_unit(float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        double sq = 0.0;
        for (size_t j = 0; j < d; j++) sq += (double)x[i * d + j] * (double)x[i * d + j];
        for (size_t j = 0; j < d; j++) x[i * d + j] = (float)((double)x[i * d + j] / sqrt(sq));
    }
}

/* What a centroid scores for a row: larger is better. */
static double affinity(const float *x, const float *c, size_t d, bool spherical)
{
    double ip = 0.0, sq = 0.0;
    for (size_t j = 0; j < d; j++) {
        ip += (double)x[j] * (double)c[j];
        sq += (double)c[j] * (double)c[j];
    }
    return spherical ? (sq > 0.0 ? ip / sqrt(sq) : 0.0) : ip - 0.5 * sq;
}

static size_t naive_nearest(const float *x, const float *c, size_t k, size_t d, bool spherical)
{
    size_t best = 0;
    for (size_t i = 1; i < k; i++)
        if (affinity(x, c + i * d, d, spherical) > affinity(x, c + best * d, d, spherical))
            best = i;
    return best;
}

/* Means of the members of each centroid; count[c] = 0 leaves a mean as it was. */
static double naive_round(const float *x, size_t n, size_t d, const float *from, size_t k,
                          bool spherical, double *means, size_t *count)
{
    size_t *own = calloc(n, sizeof *own);
    memset(count, 0, k * sizeof *count);
    memset(means, 0, k * d * sizeof *means);
    for (size_t i = 0; i < n; i++) {
        own[i] = naive_nearest(x + i * d, from, k, d, spherical);
        count[own[i]]++;
        for (size_t j = 0; j < d; j++) means[own[i] * d + j] += (double)x[i * d + j];
    }
    for (size_t c = 0; c < k; c++)
        for (size_t j = 0; j < d; j++)
            means[c * d + j] =
                count[c] > 0 ? means[c * d + j] / (double)count[c] : (double)from[c * d + j];
    double loss = 0.0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++) {
            double e = (double)x[i * d + j] - means[own[i] * d + j];
            loss += e * e;
        }
    free(own);
    return loss / (double)n;
}

/* The centroids after t + 1 rounds are those after t rounds, moved by one naive round.  Returns how
 * many coordinates were compared: none if the first round was the last. */
static size_t check_rounds(size_t n, size_t d, size_t k, bool spherical)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), n + d + k);
    float *x = blobs(&r, n, d, 1 + k / 2), *a = vq_alloc_f32(k, d), *b = vq_alloc_f32(k, d);
    double *means = calloc(k * d, sizeof *means), loss_a, loss_b;
    size_t *count = calloc(k, sizeof *count), compared = 0;
    if (spherical) to_unit(x, n, d);
    for (unsigned t = 1; t < 6; t++) {
        vq_kmeans_opts oa = opts(k, t, 1), ob = opts(k, t + 1, 1);
        oa.spherical = ob.spherical = spherical;
        cr_assert_eq(vq_kmeans(x, n, d, &oa, a, &loss_a, NULL), VQ_OK);
        cr_assert_eq(vq_kmeans(x, n, d, &ob, b, &loss_b, NULL), VQ_OK);
        if (memcmp(a, b, k * d * sizeof *a) == 0) break; /* it stopped at t rounds */
        double loss = naive_round(x, n, d, a, k, spherical, means, count);
        cr_assert_float_eq(loss, loss_b, 1e-5 * loss + 1e-12, "round %u: %g, naive %g", t, loss_b,
                           loss);
        for (size_t c = 0; c < k; c++)
            for (size_t j = 0; j < d && count[c] > 0; j++, compared++)
                cr_assert_float_eq(b[c * d + j], means[c * d + j], 1e-5, "round %u c %zu", t, c);
    }
    vq_mem_free(x), vq_mem_free(a), vq_mem_free(b);
    free(means), free(count);
    return compared;
}

Test(kmeans, rounds_are_those_of_the_naive_algorithm)
{
    size_t plain = check_rounds(60, 3, 5, false) + check_rounds(300, 17, 11, false) +
                   check_rounds(700, 1, 9, false);
    size_t spherical = check_rounds(300, 8, 7, true) + check_rounds(400, 5, 9, true);
    cr_assert(plain > 0 && spherical > 0);
}

Test(kmeans, loss_never_rises)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    size_t n = 1500, d = 12, k = 40;
    float *x = blobs(&r, n, d, 25), *c = vq_alloc_f32(k, d);
    double before = INFINITY, first = 0.0, loss = 0.0;
    for (unsigned t = 1; t <= 10; t++) {
        vq_kmeans_opts o = opts(k, t, 1);
        cr_assert_eq(vq_kmeans(x, n, d, &o, c, &loss, NULL), VQ_OK);
        cr_assert_leq(loss, before * (1.0 + 1e-6), "round %u", t);
        if (t == 1) first = loss;
        before = loss;
    }
    cr_assert_lt(loss, 0.995 * first);
    vq_mem_free(x), vq_mem_free(c);
}

Test(kmeans, spherical_objective_never_falls)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    size_t n = 900, d = 10, k = 20;
    float *x = blobs(&r, n, d, 12), *c = vq_alloc_f32(k, d);
    to_unit(x, n, d);
    double before = -INFINITY, first = 0.0;
    for (unsigned t = 1; t <= 8; t++) {
        vq_kmeans_opts o = opts(k, t, 1);
        o.spherical = true;
        cr_assert_eq(vq_kmeans(x, n, d, &o, c, NULL, NULL), VQ_OK);
        double sum = 0.0;
        for (size_t i = 0; i < n; i++)
            sum += affinity(x + i * d, c + naive_nearest(x + i * d, c, k, d, true) * d, d, true);
        cr_assert_geq(sum, before - 1e-3, "round %u", t);
        if (t == 1) first = sum;
        before = sum;
    }
    cr_assert_gt(before, first + 0.3);
    vq_mem_free(x), vq_mem_free(c);
}

Test(kmeans, bits_do_not_depend_on_threads)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    size_t n = 3000, d = 33, k = 50;
    float *x = blobs(&r, n, d, 30), *one = vq_alloc_f32(k, d), *more = vq_alloc_f32(k, d);
    for (int spherical = 0; spherical < 2; spherical++)
        for (int threads = 2; threads <= 5; threads++) {
            vq_kmeans_opts a = opts(k, 6, 1), b = opts(k, 6, threads);
            double loss_a, loss_b;
            a.spherical = b.spherical = spherical != 0;
            cr_assert_eq(vq_kmeans(x, n, d, &a, one, &loss_a, NULL), VQ_OK);
            cr_assert_eq(vq_kmeans(x, n, d, &b, more, &loss_b, NULL), VQ_OK);
            cr_assert_arr_eq(one, more, k * d * sizeof *one);
            cr_assert_eq(memcmp(&loss_a, &loss_b, sizeof loss_a), 0);
        }
    vq_kmeans_opts other = opts(k, 6, 1);
    other.seed++;
    cr_assert_eq(vq_kmeans(x, n, d, &other, more, NULL, NULL), VQ_OK);
    cr_assert_neq(memcmp(one, more, k * d * sizeof *one), 0, "the seed must matter");
    vq_mem_free(x), vq_mem_free(one), vq_mem_free(more);
}

/* As many centroids as distinct values: each value must end with a centroid of its own, which takes
 * the filling of empty clusters, since batches of the start draw some values twice. */
Test(kmeans, empty_clusters_are_filled)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    enum { VALUES = 64, COPIES = 20 };
    float x[VALUES * COPIES], c[VALUES];
    for (size_t i = 0; i < VALUES * COPIES; i++) x[i] = (float)(i % VALUES);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        vq_kmeans_opts o = opts(VALUES, 30, 2);
        double loss;
        o.seed = seed;
        cr_assert_eq(vq_kmeans(x, VALUES * COPIES, 1, &o, c, &loss, NULL), VQ_OK);
        cr_assert_eq(loss, 0.0, "seed %d: %g", (int)seed, loss);
        for (size_t v = 0; v < VALUES; v++) {
            size_t found = 0;
            for (size_t i = 0; i < VALUES; i++) found += c[i] == (float)v;
            cr_assert_eq(found, 1u, "value %zu", v);
        }
    }
}

Test(kmeans, every_row_its_own_centroid)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    size_t n = 200, d = 6;
    float *x = vq_alloc_f32(n, d), *c = vq_alloc_f32(n, d);
    double loss;
    fill_normal(&r, x, n * d);
    vq_kmeans_opts o = opts(n, 20, 2);
    cr_assert_eq(vq_kmeans(x, n, d, &o, c, &loss, NULL), VQ_OK);
    cr_assert_eq(loss, 0.0);
    vq_mem_free(x), vq_mem_free(c);
}

Test(kmeans, rows_all_alike)
{
    enum { N = 300, D = 5, K = 7 };
    float x[N * D], c[K * D];
    for (int zero = 0; zero < 2; zero++)
        for (int spherical = 0; spherical < 2; spherical++) {
            vq_kmeans_opts o = opts(K, 5, 2);
            double loss = -1.0;
            o.spherical = spherical != 0;
            for (size_t i = 0; i < N * D; i++) x[i] = zero ? 0.0f : 0.1f * (float)(i % D + 1);
            memset(c, 0xff, sizeof c);
            cr_assert_eq(vq_kmeans(x, N, D, &o, c, &loss, NULL), VQ_OK);
            cr_assert_eq(loss, 0.0);
            for (size_t i = 0; i < K * D; i++) cr_assert_eq(c[i], x[i % D]);
        }
}

Test(kmeans, one_row_and_one_cluster)
{
    float x[4] = {3.0f, 5.0f, -1.0f, 1.0f}, c[1];
    double loss;
    vq_kmeans_opts o = opts(1, 5, 4);
    cr_assert_eq(vq_kmeans(x, 1, 1, &o, c, &loss, NULL), VQ_OK);
    cr_assert(c[0] == 3.0f && loss == 0.0);
    cr_assert_eq(vq_kmeans(x, 4, 1, &o, c, &loss, NULL), VQ_OK);
    cr_assert(c[0] == 2.0f && loss == 5.0);
}

/* Integers make every product exact, so ties are ties: copies of a centroid, also beyond the 1024
 * columns of one GEMM, must lose to the first. */
Test(kmeans, assignment_is_the_first_best)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 6);
    size_t n = 600, d = 3, k = 2400;
    float *x = vq_alloc_f32(n, d), *c = vq_alloc_f32(k, d), *bias = vq_alloc_f32(k, 1);
    float *dots = vq_alloc_f32(n, k);
    uint32_t *own = vq_mem_alloc(n, sizeof *own);
    for (size_t i = 0; i < n * d; i++) x[i] = (float)vq_rng_below(&r, 41) - 20.0f;
    for (size_t i = 0; i < k * d; i++)
        c[i] = i < k / 2 * d ? (float)vq_rng_below(&r, 41) - 20.0f : c[i - k / 2 * d];
    vq_kmeans_bias(c, k, d, bias);
    for (int biased = 0; biased < 2; biased++) {
        vq_kmeans_assign(vq_kernels_get(), x, n, d, c, biased ? bias : NULL, k, dots, own);
        for (size_t i = 0; i < n; i++) {
            size_t want = 0;
            double best = -INFINITY;
            for (size_t j = 0; j < k; j++) {
                double s = affinity(x + i * d, c + j * d, d, false);
                if (!biased) s -= (double)bias[j];
                if (s > best) best = s, want = j;
            }
            cr_assert_eq(own[i], want, "row %zu biased %d", i, biased);
        }
    }
    vq_mem_free(x), vq_mem_free(c), vq_mem_free(bias), vq_mem_free(dots), vq_mem_free(own);
}

Test(kmeans, more_centroids_than_one_gemm)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 7);
    size_t n = 2600, d = 4, k = 1300;
    float *x = vq_alloc_f32(n, d), *a = vq_alloc_f32(k, d), *b = vq_alloc_f32(k, d);
    double *means = calloc(k * d, sizeof *means), loss;
    size_t *count = calloc(k, sizeof *count);
    fill_normal(&r, x, n * d);
    vq_kmeans_opts o = opts(k, 1, 2);
    cr_assert_eq(vq_kmeans(x, n, d, &o, a, NULL, NULL), VQ_OK);
    o.iters = 2;
    cr_assert_eq(vq_kmeans(x, n, d, &o, b, &loss, NULL), VQ_OK);
    double want = naive_round(x, n, d, a, k, false, means, count);
    cr_assert_float_eq(loss, want, 1e-4 * want);
    vq_mem_free(x), vq_mem_free(a), vq_mem_free(b);
    free(means), free(count);
}

static int stop_at_once(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase, (void)done, (void)total;
    ++*(int *)ctx;
    return 1;
}

Test(kmeans, refuses_and_stops)
{
    float x[6] = {0}, c[8];
    vq_error err;
    vq_kmeans_opts o = opts(0, 3, 1);
    cr_assert_eq(vq_kmeans(x, 6, 1, &o, c, NULL, &err), VQ_EINVAL);
    o.k = 7;
    cr_assert_eq(vq_kmeans(x, 6, 1, &o, c, NULL, &err), VQ_EINVAL);
    int calls = 0;
    vq_ticker t = {.fn = stop_at_once, .ctx = &calls};
    o.k = 2;
    o.ticker = &t;
    cr_assert_eq(vq_kmeans(x, 6, 1, &o, c, NULL, &err), VQ_ECANCELED);
    cr_assert_eq(calls, 1);
}

Test(kmeans, survives_failing_allocations)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 8);
    float *x = blobs(&r, 400, 5, 4), c[20];
    vq_kmeans_opts o = opts(4, 3, 2);
    o.spherical = true;
    vq_status rc = VQ_ENOMEM;
    uint64_t failures = 0;
    while (rc != VQ_OK) {
        vq_error err = {0};
        vq_mem_fail_after(failures + 1);
        rc = vq_kmeans(x, 400, 5, &o, c, NULL, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.code == VQ_ENOMEM && err.text[0] != 0));
        failures += rc != VQ_OK;
    }
    cr_assert_geq(failures, 10u);
    vq_mem_free(x);
}

/* ---- draws ------------------------------------------------------------------------------------
 */

Test(draw, rows_are_distinct_and_even)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 9);
    size_t hits[10] = {0};
    for (int it = 0; it < 20000; it++) {
        uint32_t rows[4];
        vq_draw_rows(&r, 10, 4, rows);
        for (size_t i = 0; i < 4; i++) {
            cr_assert(rows[i] < 10 && (i == 0 || rows[i] > rows[i - 1]));
            hits[rows[i]]++;
        }
    }
    for (size_t i = 0; i < 10; i++) /* 8000 expected, deviation 69 */
        cr_assert(hits[i] > 7500 && hits[i] < 8500, "row %zu: %zu", i, hits[i]);
    uint32_t all[10];
    vq_draw_rows(&r, 10, 10, all);
    for (uint32_t i = 0; i < 10; i++) cr_assert_eq(all[i], i);
}

Test(draw, weights_decide)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 10);
    const float w[6] = {0.0f, 1.0f, 0.0f, 3.0f, 4.0f, 0.0f};
    size_t hits[6] = {0};
    for (int it = 0; it < 20000; it++) {
        uint32_t row;
        cr_assert_eq(vq_draw_weighted(&r, w, 6, 1, &row), 1u);
        hits[row]++;
    }
    cr_assert_eq(hits[0] + hits[2] + hits[5], 0u);
    cr_assert(hits[1] > 2200 && hits[1] < 2800, "%zu", hits[1]);
    cr_assert(hits[3] > 7100 && hits[3] < 7900, "%zu", hits[3]);
    /* Two of four strata belong to row 4, one and a half to row 3: rows repeat, answers do not. */
    uint32_t rows[4];
    size_t got = vq_draw_weighted(&r, w, 6, 4, rows);
    cr_assert(got >= 2 && got <= 3);
    for (size_t i = 1; i < got; i++) cr_assert_gt(rows[i], rows[i - 1]);
    const float none[2] = {0.0f, 0.0f}, endless[2] = {INFINITY, 1.0f};
    cr_assert_eq(vq_draw_weighted(&r, none, 2, 1, rows), 0u);
    cr_assert_eq(vq_draw_weighted(&r, endless, 2, 1, rows), 0u);
    cr_assert_eq(vq_draw_weighted(&r, w, 6, 0, rows), 0u);
}

/* Two levels lose little to one, on blobs and on what has none. */
Test(kmeans, many_are_nearly_as_good)
{
    enum { N = 12000, D = 12, K = 400 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 17);
    float *c = vq_alloc_f32(K, D), *again = vq_alloc_f32(K, D);
    for (int kind = 0; kind < 4; kind++) {
        float *x = blobs(&r, N, D, kind % 2 == 0 ? 300 : 1);
        if (kind >= 2) to_unit(x, N, D);
        vq_kmeans_opts one = opts(K, 10, 2), two = opts(K, 10, 3);
        one.spherical = two.spherical = kind >= 2;
        double flat, many, same;
        cr_assert_eq(vq_kmeans(x, N, D, &one, c, &flat, NULL), VQ_OK);
        cr_assert_eq(vq_kmeans_many(x, N, D, &one, c, &many, NULL), VQ_OK);
        cr_assert(many < 1.03 * flat, "kind %d: %g, flat %g", kind, many, flat);
        cr_assert_eq(vq_kmeans_many(x, N, D, &two, again, &same, NULL), VQ_OK);
        cr_assert(memcmp(c, again, K * D * sizeof *c) == 0 && many == same, "threads");
        vq_mem_free(x);
    }
    vq_mem_free(c), vq_mem_free(again);
}

/* A row that is there again and again needs one centroid, and takes none from the others. */
Test(kmeans, many_with_rows_that_are_alike, .timeout = 120)
{
    enum { N = 12000, D = 12, K = 400, ALIKE = 5 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 19);
    float *x = blobs(&r, N, D, 40), *c = vq_alloc_f32(K, D);
    for (size_t i = 0; i < N; i += ALIKE) memcpy(x + i * D, x, D * sizeof *x);
    vq_kmeans_opts o = opts(K, 10, 2);
    double flat, many;
    cr_assert_eq(vq_kmeans(x, N, D, &o, c, &flat, NULL), VQ_OK);
    cr_assert_eq(vq_kmeans_many(x, N, D, &o, c, &many, NULL), VQ_OK);
    cr_assert(many < 1.03 * flat, "%g, flat %g", many, flat);
    vq_mem_free(x), vq_mem_free(c);
}

Test(kmeans, many_of_few_or_equal_rows)
{
    enum { N = 300, D = 5 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 18);
    float *x = blobs(&r, N, D, 4), *c = vq_alloc_f32(N, D);
    static const size_t ks[] = {1, 2, 17, 299, 300};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        vq_kmeans_opts o = opts(ks[i], 5, 2);
        double loss;
        cr_assert_eq(vq_kmeans_many(x, N, D, &o, c, &loss, NULL), VQ_OK);
        for (size_t j = 0; j < ks[i] * D; j++) cr_assert(isfinite(c[j]));
        if (ks[i] == N) cr_assert(loss < 1e-3, "%g", loss);
    }
    for (size_t i = 0; i < N * D; i++) x[i] = 3.0f;
    vq_kmeans_opts o = opts(40, 5, 2);
    double loss;
    cr_assert_eq(vq_kmeans_many(x, N, D, &o, c, &loss, NULL), VQ_OK);
    cr_assert_eq(loss, 0.0);
    for (size_t j = 0; j < 40 * D; j++) cr_assert_eq(c[j], 3.0f);
    vq_mem_free(x), vq_mem_free(c);
}
