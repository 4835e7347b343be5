/* SPDX-License-Identifier: Apache-2.0 */
/* Principal axes, allocation of axes, OPQ. */
#include "src/train/rotation.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/train/pq.h"
#include "tests/harness/harness.h"

/* n x d: independent causes of falling weight, mixed, plus an offset */
static float *mixture(vq_rng *r, size_t n, size_t d, double fall, double offset)
{
    float *x = vq_alloc_f32(n, d), *mix = vq_alloc_f32(d, d);
    fill_normal(r, mix, d * d);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) x[i * d + j] = (float)offset;
        double weight = 1.0;
        for (size_t h = 0; h < d; h++, weight *= fall) {
            float z = (float)(weight * vq_rng_normal(r));
            for (size_t j = 0; j < d; j++) x[i * d + j] += z * mix[h * d + j];
        }
    }
    vq_mem_free(mix);
    return x;
}

static void check_orthonormal(const float *a, size_t d, double tolerance)
{
    for (size_t i = 0; i < d; i++)
        for (size_t j = i; j < d; j++) {
            double ip = 0.0;
            for (size_t t = 0; t < d; t++) ip += (double)a[i * d + t] * (double)a[j * d + t];
            cr_assert_float_eq(ip, i == j ? 1.0 : 0.0, tolerance, "rows %zu %zu: %g", i, j, ip);
        }
}

/* ---- principal axes ---------------------------------------------------------------------------
 */

static double *naive_covariance(const float *x, size_t n, size_t d, int centre, double *mean)
{
    double *cov = calloc(d * d, sizeof *cov);
    for (size_t j = 0; j < d; j++) mean[j] = 0.0;
    for (size_t i = 0; centre && i < n; i++)
        for (size_t j = 0; j < d; j++) mean[j] += (double)x[i * d + j] / (double)n;
    for (size_t i = 0; i < n; i++)
        for (size_t a = 0; a < d; a++)
            for (size_t b = 0; b < d; b++)
                cov[a * d + b] +=
                    ((double)x[i * d + a] - mean[a]) * ((double)x[i * d + b] - mean[b]);
    for (size_t j = 0; j < d * d; j++) cov[j] /= (double)n;
    return cov;
}

/* axes C axes' must be the diagonal of variances. */
static void check_pca(const float *x, size_t n, size_t d, int centre, double tolerance)
{
    double *mean = calloc(d, sizeof *mean), *variances = calloc(d, sizeof *variances);
    double *cov = naive_covariance(x, n, d, centre, mean);
    float *axes = vq_alloc_f32(d, d), *got = vq_alloc_f32(d, 1);
    cr_assert_eq(vq_pca(x, n, d, centre, 2, got, axes, variances, NULL), VQ_OK);
    check_orthonormal(axes, d, 1e-5);
    for (size_t j = 0; j < d; j++)
        cr_assert_float_eq(got[j], mean[j], 1e-6 * (1.0 + fabs(mean[j])));
    for (size_t i = 0; i < d; i++) {
        cr_assert(variances[i] >= 0.0 && (i == 0 || variances[i] <= variances[i - 1]));
        for (size_t j = 0; j < d; j++) {
            double s = 0.0;
            for (size_t a = 0; a < d; a++)
                for (size_t b = 0; b < d; b++)
                    s += (double)axes[i * d + a] * cov[a * d + b] * (double)axes[j * d + b];
            cr_assert_float_eq(s, i == j ? variances[i] : 0.0, tolerance * variances[0],
                               "n %zu d %zu centre %d: %zu %zu: %g", n, d, centre, i, j, s);
        }
    }
    free(mean), free(variances), free(cov);
    vq_mem_free(axes), vq_mem_free(got);
}

Test(pca, diagonalises_the_covariance)
{
    static const size_t shapes[][2] = {{1, 1}, {2, 5}, {300, 1}, {500, 17}, {4500, 70}};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        float *x = mixture(&r, shapes[s][0], shapes[s][1], 0.8, 0.5);
        check_pca(x, shapes[s][0], shapes[s][1], 1, 1e-5);
        check_pca(x, shapes[s][0], shapes[s][1], 0, 1e-5);
        vq_mem_free(x);
    }
}

/* A mean a thousand times the deviation must not cost the digits of the variances. */
Test(pca, far_from_the_origin)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    float *x = mixture(&r, 3000, 6, 0.5, 3000.0);
    check_pca(x, 3000, 6, 1, 1e-4);
    vq_mem_free(x);
}

Test(pca, known_axes)
{
    enum { D = 4 };
    static const float size[D] = {2.0f, 8.0f, 1.0f, 4.0f};
    float x[2 * D * D] = {0}, mean[D], axes[D * D];
    double variances[D];
    for (size_t j = 0; j < D; j++) {
        for (size_t a = 0; a < D; a++) x[2 * j * D + a] = x[(2 * j + 1) * D + a] = 5.0f;
        x[2 * j * D + j] += size[j];
        x[(2 * j + 1) * D + j] -= size[j];
    }
    static const size_t want[D] = {1, 3, 0, 2};
    cr_assert_eq(vq_pca(x, 2 * D, D, 1, 1, mean, axes, variances, NULL), VQ_OK);
    for (size_t i = 0; i < D; i++) {
        cr_assert_float_eq(mean[i], 5.0, 1e-6);
        cr_assert_float_eq(variances[i], size[want[i]] * size[want[i]] / D, 1e-5);
        for (size_t j = 0; j < D; j++)
            cr_assert_float_eq(axes[i * D + j], j == want[i] ? 1.0 : 0.0, 1e-6);
    }
}

Test(pca, bits_do_not_depend_on_threads)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    size_t n = 5000, d = 130;
    float *x = mixture(&r, n, d, 0.95, 1.0), *a = vq_alloc_f32(d, d), *b = vq_alloc_f32(d, d);
    float ma[130], mb[130];
    double va[130], vb[130];
    cr_assert_eq(vq_pca(x, n, d, 1, 1, ma, a, va, NULL), VQ_OK);
    for (int threads = 2; threads < 5; threads++) {
        cr_assert_eq(vq_pca(x, n, d, 1, threads, mb, b, vb, NULL), VQ_OK);
        cr_assert_arr_eq(ma, mb, sizeof ma);
        cr_assert_arr_eq(a, b, d * d * sizeof *a);
        cr_assert_arr_eq(va, vb, sizeof va);
    }
    vq_mem_free(x), vq_mem_free(a), vq_mem_free(b);
}

Test(pca, survives_failing_allocations)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    float *x = mixture(&r, 50, 5, 0.8, 0.0), mean[5], axes[25];
    double variances[5];
    vq_status rc = VQ_ENOMEM;
    uint64_t failures = 0;
    while (rc != VQ_OK) {
        vq_error err = {0};
        vq_mem_fail_after(failures + 1);
        rc = vq_pca(x, 50, 5, 1, 2, mean, axes, variances, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.text[0] != 0));
        failures += rc != VQ_OK;
    }
    cr_assert_geq(failures, 5u);
    vq_mem_free(x);
}

/* ---- allocation -------------------------------------------------------------------------------
 */

Test(waterfill, by_hand)
{
    const double two[2] = {4.0, 1.0}, same[3] = {2.0, 2.0, 2.0}, none[2] = {0.0, 0.0};
    const double some[4] = {8.0, 8.0, 0.0, 0.0};
    /* The second axis stands above the level once the first has had a bit: 4 / 2^2 = 1. */
    cr_assert_eq(vq_waterfill(two, 2, 0.9), 1u);
    cr_assert_eq(vq_waterfill(two, 2, 1.1), 2u);
    cr_assert_eq(vq_waterfill(same, 3, 0.1), 3u);
    cr_assert_eq(vq_waterfill(none, 2, 8.0), 1u);
    cr_assert_eq(vq_waterfill(some, 4, 1000.0), 2u);
    cr_assert_eq(vq_waterfill(two, 1, 3.0), 1u);
}

Test(axes, holding_a_share)
{
    const double v[4] = {4.0, 3.0, 2.0, 1.0}, none[2] = {0.0, 0.0};
    cr_assert_eq(vq_axes_holding(v, 4, 0.0), 1u, "one at least");
    cr_assert_eq(vq_axes_holding(v, 4, 0.4), 1u);
    cr_assert_eq(vq_axes_holding(v, 4, 0.41), 2u);
    cr_assert_eq(vq_axes_holding(v, 4, 0.9), 3u);
    cr_assert_eq(vq_axes_holding(v, 4, 1.0), 4u);
    cr_assert_eq(vq_axes_holding(none, 2, 0.5), 1u);
}

/* The level by bisection: the bits spent above it must be the bits there are. */
static size_t naive_waterfill(const double *v, size_t d, double bits)
{
    double low = log2(v[0]) - 2.0 * bits - 1.0, high = log2(v[0]);
    for (int it = 0; it < 200; it++) {
        double level = 0.5 * (low + high), spent = 0.0;
        for (size_t j = 0; j < d && v[j] > 0.0; j++) spent += fmax(0.0, 0.5 * (log2(v[j]) - level));
        if (spent > bits)
            low = level;
        else
            high = level;
    }
    size_t n = 0;
    while (n < d && v[n] > 0.0 && log2(v[n]) > high) n++;
    return n;
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

Test(waterfill, spends_the_bits)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    for (int it = 0; it < 500; it++) {
        double v[40];
        size_t d = 1 + vq_rng_below(&r, 40), before = 0;
        for (size_t j = 0; j < d; j++) v[j] = exp2(20.0 * vq_rng_f64(&r) - 10.0);
        qsort(v, d, sizeof *v, falling);
        for (double bits = 0.3; bits < 200.0; bits *= 1.7) {
            size_t got = vq_waterfill(v, d, bits), want = naive_waterfill(v, d, bits);
            cr_assert_eq(got, want, "d %zu bits %g: %zu, naive %zu", d, bits, got, want);
            cr_assert(got >= before && got >= 1 && got <= d);
            before = got;
        }
    }
}

/* What vq_axes_worth predicts when `keep` axes stay. */
static double predicted(const double *v, size_t d, size_t m, size_t kk, size_t keep)
{
    double dropped = 0.0, logs = 0.0;
    for (size_t j = 0; j < d; j++) {
        if (j < keep)
            logs += log(v[j]);
        else
            dropped += v[j];
    }
    double words = pow((double)kk, -2.0 * (double)m / (double)keep);
    return dropped + (double)keep * words * exp(logs / (double)keep);
}

Test(axes_worth, is_the_fewest_within_three_percent)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 6);
    size_t dropped_some = 0;
    for (int it = 0; it < 300; it++) {
        double v[64];
        size_t d = 1 + vq_rng_below(&r, 64), m = 1 + vq_rng_below(&r, d);
        size_t kk = vq_rng_below(&r, 2) != 0 ? 16 : 256;
        for (size_t j = 0; j < d; j++) v[j] = exp2(16.0 * vq_rng_f64(&r) - 8.0);
        qsort(v, d, sizeof *v, falling);
        size_t most = vq_waterfill(v, d, (double)m * log2((double)kk));
        size_t got = vq_axes_worth(v, d, m, kk);
        cr_assert(got >= 1 && got <= most, "d %zu m %zu: %zu of %zu", d, m, got, most);
        double bound = 1.03 * predicted(v, d, m, kk, most) * (1.0 + 1e-9);
        cr_assert_leq(predicted(v, d, m, kk, got), bound);
        if (got > 1) cr_assert_gt(predicted(v, d, m, kk, got - 1), bound * (1.0 - 1e-6));
        dropped_some += got < most;
        for (size_t j = 0; j < d; j++) v[j] *= 1024.0; /* the unit does not matter */
        cr_assert_eq(vq_axes_worth(v, d, m, kk), got);
    }
    cr_assert_gt(dropped_some, 50u);
    const double none[3] = {0.0, 0.0, 0.0}, same[4] = {1.0, 1.0, 1.0, 1.0};
    cr_assert_eq(vq_axes_worth(none, 3, 1, 256), 1u);
    cr_assert_eq(vq_axes_worth(same, 4, 4, 256), 4u);
}

static void check_deal(const double *v, size_t d, size_t m, uint32_t *order, double *spread)
{
    unsigned char seen[512] = {0};
    double low = INFINITY, high = -INFINITY;
    vq_balance(v, d, m, order);
    for (size_t j = 0; j < d; j++) {
        cr_assert(order[j] < d && !seen[order[j]], "place %zu", j);
        seen[order[j]] = 1;
    }
    for (size_t b = 0; b < m; b++) {
        double sum = 0.0;
        for (size_t t = 0; t < d / m; t++) sum += log(v[order[b * (d / m) + t]]);
        low = fmin(low, sum), high = fmax(high, sum);
    }
    *spread = high - low;
}

Test(balance, products_are_level)
{
    uint32_t order[512], scaled_order[512];
    double v[512], scaled[512], spread;
    static const size_t shapes[][2] = {{8, 4}, {12, 3}, {64, 8}, {256, 32}, {384, 192}, {512, 64}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t d = shapes[s][0], m = shapes[s][1];
        double all = 8.0; /* log of the largest over the smallest variance */
        for (size_t j = 0; j < d; j++) {
            v[j] = exp(-all * (double)j / (double)(d - 1));
            scaled[j] = v[j] * 0x1p-40;
        }
        check_deal(v, d, m, order, &spread);
        /* As they come, the sub-spaces' sums would differ by all * (d - dsub) * dsub / (d - 1). */
        double naive = all * (double)(d - d / m) * (double)(d / m) / (double)(d - 1);
        cr_assert_lt(spread, 0.1 * naive, "d %zu m %zu: %g of %g", d, m, spread, naive);
        vq_balance(scaled, d, m, scaled_order);
        cr_assert_arr_eq(order, scaled_order, d * sizeof *order);
    }
}

Test(balance, any_variances_are_dealt)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 6);
    for (int it = 0; it < 300; it++) {
        uint32_t order[512];
        double v[512], spread;
        size_t m = 1 + vq_rng_below(&r, 20), d = m * (1 + vq_rng_below(&r, 20));
        for (size_t j = 0; j < d; j++) v[j] = it % 3 == 0 ? 0.0 : exp(30.0 * vq_rng_f64(&r) - 25.0);
        qsort(v, d, sizeof *v, falling);
        if (it % 3 == 1) v[d - 1] = 0.0;
        check_deal(v, d, m, order, &spread);
    }
}

/* ---- OPQ ---------------------------------------------------------------------------------------
 */

static double pq_error(const float *x, size_t n, size_t d, size_t m, size_t kk)
{
    float *cb = vq_alloc_f32(d, kk), *norm = vq_alloc_f32(m, kk);
    double mse;
    cr_assert_eq(vq_pq_train(x, n, m, d / m, kk, 15, 0, 3, 2, NULL, cb, norm, &mse, NULL), VQ_OK);
    vq_mem_free(cb), vq_mem_free(norm);
    return mse;
}

static float *rotated(const float *x, size_t n, size_t d, const float *r)
{
    float *y = vq_alloc_f32(n, d);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++) {
            double s = 0.0;
            for (size_t t = 0; t < d; t++) s += (double)r[j * d + t] * (double)x[i * d + t];
            y[i * d + j] = (float)s;
        }
    return y;
}

/* Axes by falling variance, dealt to m sub-spaces: where OPQ starts. */
static float *balanced(const float *x, size_t n, size_t d, size_t m)
{
    float *axes = vq_alloc_f32(d, d), *dealt = vq_alloc_f32(d, d), *mean = vq_alloc_f32(d, 1);
    double *variances = calloc(d, sizeof *variances);
    uint32_t *order = calloc(d, sizeof *order);
    cr_assert_eq(vq_pca(x, n, d, 1, 2, mean, axes, variances, NULL), VQ_OK);
    vq_balance(variances, d, m, order);
    for (size_t j = 0; j < d; j++) memcpy(dealt + j * d, axes + order[j] * d, d * sizeof *dealt);
    float *y = rotated(x, n, d, dealt);
    vq_mem_free(axes), vq_mem_free(dealt), vq_mem_free(mean);
    free(variances), free(order);
    return y;
}

/* y = turn x must be easier to code than x; returns the error with it over that without. */
static double gain(const float *x, size_t n, size_t d, size_t m, size_t kk)
{
    float *turn = vq_alloc_f32(d, d);
    cr_assert_eq(vq_opq(x, n, d, m, kk, 12, 1, 2, NULL, turn, NULL), VQ_OK);
    check_orthonormal(turn, d, 1e-5);
    float *y = rotated(x, n, d, turn);
    double ratio = pq_error(y, n, d, m, kk) / pq_error(x, n, d, m, kk);
    vq_mem_free(turn), vq_mem_free(y);
    return ratio;
}

Test(opq, lowers_the_error_of_plain_axes)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 7);
    float *x = mixture(&r, 3000, 16, 0.85, 0.0);
    double ratio = gain(x, 3000, 16, 4, 16);
    cr_assert_lt(ratio, 0.95, "%g", ratio);
    vq_mem_free(x);
}

/* The corners of a cube, turned: all directions have the same variance, so principal axes are no
 * help, but codes are much better along the edges. */
Test(opq, lowers_the_error_of_balanced_axes)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 12);
    size_t n = 3000, d = 12, m = 4;
    float *z = vq_alloc_f32(n, d), axes[12 * 12], mean[12], any[300 * 12];
    double variances[12];
    fill_normal(&r, any, 300 * 12);
    cr_assert_eq(vq_pca(any, 300, d, 1, 1, mean, axes, variances, NULL), VQ_OK); /* a rotation */
    for (size_t i = 0; i < n * d; i++) z[i] = vq_rng_u64(&r) >> 63 ? 1.0f : -1.0f;
    float *x = rotated(z, n, d, axes), *start = balanced(x, n, d, m);
    double ratio = gain(start, n, d, m, 16);
    cr_assert_lt(ratio, 0.95, "%g", ratio);
    vq_mem_free(z), vq_mem_free(x), vq_mem_free(start);
}

/* Where every row is met exactly no rotation can be better: the start is kept. */
Test(opq, keeps_a_start_without_error)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 8);
    float x[400 * 8], turn[64];
    for (size_t i = 0; i < 400; i++)
        for (size_t j = 0; j < 8; j++) x[i * 8 + j] = (float)vq_rng_below(&r, 3);
    cr_assert_eq(vq_opq(x, 400, 8, 4, 16, 5, 1, 2, NULL, turn, NULL), VQ_OK);
    for (size_t i = 0; i < 64; i++) cr_assert_eq(turn[i], i % 9 == 0 ? 1.0f : 0.0f);
    fill_normal(&r, x, 400 * 8);
    cr_assert_eq(vq_opq(x, 400, 8, 4, 16, 0, 1, 2, NULL, turn, NULL), VQ_OK);
    for (size_t i = 0; i < 64; i++) cr_assert_eq(turn[i], i % 9 == 0 ? 1.0f : 0.0f);
}

Test(opq, small_shapes)
{
    static const size_t shapes[][3] = {{1, 4, 2}, {3, 6, 6}, {40, 5, 1}, {20, 1, 1}};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 9);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        float x[256], turn[64];
        size_t n = shapes[s][0], d = shapes[s][1], m = shapes[s][2];
        fill_normal(&r, x, n * d);
        cr_assert_eq(vq_opq(x, n, d, m, 16, 3, 1, 2, NULL, turn, NULL), VQ_OK);
        check_orthonormal(turn, d, 1e-5);
    }
}

static int stop_at_once(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)ctx, (void)phase, (void)done, (void)total;
    return 1;
}

Test(opq, refuses_stops_and_survives)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 10);
    float x[300 * 6], turn[36];
    fill_normal(&r, x, 300 * 6);
    cr_assert_eq(vq_opq(x, 300, 6, 4, 16, 1, 1, 1, NULL, turn, NULL), VQ_EINVAL);
    cr_assert_eq(vq_opq(x, 300, 6, 3, 10, 1, 1, 1, NULL, turn, NULL), VQ_EINVAL);
    vq_ticker t = {.fn = stop_at_once};
    cr_assert_eq(vq_opq(x, 300, 6, 3, 16, 1, 1, 1, &t, turn, NULL), VQ_ECANCELED);
    vq_status rc = VQ_ENOMEM;
    uint64_t failures = 0;
    while (rc != VQ_OK) {
        vq_error err = {0};
        vq_mem_fail_after(failures + 1);
        rc = vq_opq(x, 300, 6, 3, 16, 2, 1, 2, NULL, turn, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.text[0] != 0));
        failures += rc != VQ_OK;
    }
    cr_assert_geq(failures, 25u); /* its own arrays, the codebooks' of every round, BLAS' */
}

Test(opq, bits_do_not_depend_on_threads)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 11);
    size_t n = 2500, d = 72;
    float *x = mixture(&r, n, d, 0.9, 0.0), *a = vq_alloc_f32(d, d), *b = vq_alloc_f32(d, d);
    cr_assert_eq(vq_opq(x, n, d, 12, 16, 3, 1, 1, NULL, a, NULL), VQ_OK);
    cr_assert_neq(a[1], 0.0f);
    for (int threads = 2; threads < 5; threads++) {
        cr_assert_eq(vq_opq(x, n, d, 12, 16, 3, 1, threads, NULL, b, NULL), VQ_OK);
        cr_assert_arr_eq(a, b, d * d * sizeof *a);
    }
    vq_mem_free(x), vq_mem_free(a), vq_mem_free(b);
}
