/* SPDX-License-Identifier: Apache-2.0 */
/* Product quantization's codebooks: against a naive round, and on data that has an exact answer. */
#include "src/train/pq.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

/* rows whose coordinates depend on each other: a few hidden causes */
static float *causes(vq_rng *r, size_t n, size_t d, size_t hidden)
{
    float *x = vq_alloc_f32(n, d), *mix = vq_alloc_f32(hidden, d);
    fill_normal(r, mix, hidden * d);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) x[i * d + j] = 0.1f * (float)vq_rng_normal(r);
        for (size_t h = 0; h < hidden; h++) {
            float z = (float)vq_rng_normal(r);
            for (size_t j = 0; j < d; j++) x[i * d + j] += z * mix[h * d + j];
        }
    }
    vq_mem_free(mix);
    return x;
}

static double distance(const float *x, const float *cb, size_t dsub, size_t kk, size_t c)
{
    double sum = 0.0;
    for (size_t t = 0; t < dsub; t++) {
        double e = (double)x[t] - (double)cb[t * kk + c];
        sum += e * e;
    }
    return sum;
}

static size_t nearest(const float *x, const float *cb, size_t dsub, size_t kk)
{
    size_t best = 0;
    for (size_t c = 1; c < kk; c++)
        if (distance(x, cb, dsub, kk, c) < distance(x, cb, dsub, kk, best)) best = c;
    return best;
}

static double error_of(const float *x, size_t n, size_t m, size_t dsub, size_t kk, const float *cb)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            const float *sub = x + (i * m + j) * dsub, *book = cb + j * dsub * kk;
            sum += distance(sub, book, dsub, kk, nearest(sub, book, dsub, kk));
        }
    return sum / (double)n;
}

Test(pq, a_warm_round_is_the_naive_one)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    size_t n = 500, m = 3, dsub = 5, kk = 16;
    float *x = causes(&r, n, m * dsub, 4), *cb = vq_alloc_f32(m * dsub, kk);
    float *from = vq_alloc_f32(m * dsub, kk), *norm = vq_alloc_f32(m, kk);
    double mse, want = 0.0;
    fill_normal(&r, from, m * dsub * kk);
    memcpy(cb, from, m * dsub * kk * sizeof *cb);
    cr_assert_eq(vq_pq_train(x, n, m, dsub, kk, 1, 1, 7, 1, NULL, cb, norm, &mse, NULL), VQ_OK);
    size_t compared = 0;
    for (size_t j = 0; j < m; j++) {
        double sum[16 * 5] = {0};
        size_t count[16] = {0};
        for (size_t i = 0; i < n; i++) {
            const float *sub = x + (i * m + j) * dsub;
            size_t c = nearest(sub, from + j * dsub * kk, dsub, kk);
            count[c]++;
            for (size_t t = 0; t < dsub; t++) sum[c * dsub + t] += (double)sub[t];
        }
        for (size_t i = 0; i < n; i++) {
            const float *sub = x + (i * m + j) * dsub;
            size_t c = nearest(sub, from + j * dsub * kk, dsub, kk);
            for (size_t t = 0; t < dsub; t++) {
                double e = (double)sub[t] - sum[c * dsub + t] / (double)count[c];
                want += e * e / (double)n;
            }
        }
        for (size_t c = 0; c < kk; c++)
            for (size_t t = 0; t < dsub && count[c] > 0; t++, compared++)
                cr_assert_float_eq(cb[(j * dsub + t) * kk + c],
                                   sum[c * dsub + t] / (double)count[c], 1e-5);
    }
    cr_assert_gt(compared, 100u);
    cr_assert_float_eq(mse, want, 1e-5 * want, "%g, naive %g", mse, want);
    vq_mem_free(x), vq_mem_free(cb), vq_mem_free(from), vq_mem_free(norm);
}

Test(pq, norms_are_of_the_codewords)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    size_t n = 300, m = 4, dsub = 3, kk = 16;
    float *x = causes(&r, n, m * dsub, 2), *cb = vq_alloc_f32(m * dsub, kk);
    float *norm = vq_alloc_f32(m, kk), *again = vq_alloc_f32(m, kk);
    cr_assert_eq(vq_pq_train(x, n, m, dsub, kk, 3, 0, 7, 2, NULL, cb, norm, NULL, NULL), VQ_OK);
    vq_pq_norms(cb, m, dsub, kk, again);
    cr_assert_arr_eq(norm, again, m * kk * sizeof *norm);
    for (size_t j = 0; j < m; j++)
        for (size_t c = 0; c < kk; c++) {
            float zero[3] = {0};
            cr_assert_float_eq(norm[j * kk + c], distance(zero, cb + j * dsub * kk, dsub, kk, c),
                               1e-5);
        }
    vq_mem_free(x), vq_mem_free(cb), vq_mem_free(norm), vq_mem_free(again);
}

Test(pq, more_codes_and_more_rounds_lower_the_error)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    size_t n = 2000, d = 24;
    float *x = causes(&r, n, d, 10), *cb = vq_alloc_f32(d, 256), *norm = vq_alloc_f32(d, 256);
    double before = INFINITY, mse;
    for (size_t m = 1; m <= 24; m *= 2) {
        if (d % m != 0) break;
        cr_assert_eq(vq_pq_train(x, n, m, d / m, 16, 8, 0, 7, 2, NULL, cb, norm, &mse, NULL),
                     VQ_OK);
        cr_assert_lt(mse, 0.95 * before, "m = %zu", m);
        before = mse;
        double now = error_of(x, n, m, d / m, 16, cb); /* nearest codewords: not above the means' */
        cr_assert(now <= mse * (1.0 + 1e-5) && now > 0.8 * mse, "%g, reported %g", now, mse);
    }
    cr_assert_eq(vq_pq_train(x, n, 8, 3, 256, 8, 0, 7, 2, NULL, cb, norm, &mse, NULL), VQ_OK);
    cr_assert_lt(mse, 0.95 * before);
    before = INFINITY;
    for (unsigned rounds = 1; rounds < 8; rounds++) {
        cr_assert_eq(vq_pq_train(x, n, 4, 6, 16, rounds, 0, 7, 2, NULL, cb, norm, &mse, NULL),
                     VQ_OK);
        cr_assert_leq(mse, before * (1.0 + 1e-6));
        before = mse;
    }
    cr_assert_eq(vq_pq_train(x, n, 4, 6, 16, 3, 1, 7, 2, NULL, cb, norm, &mse, NULL), VQ_OK);
    cr_assert_leq(mse, before * (1.0 + 1e-6), "a warm start goes on from where it was");
    vq_mem_free(x), vq_mem_free(cb), vq_mem_free(norm);
}

Test(pq, bits_do_not_depend_on_threads)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    size_t n = 900, m = 7, dsub = 4, kk = 256;
    float *x = causes(&r, n, m * dsub, 6);
    float *a = vq_alloc_f32(m * dsub, kk), *b = vq_alloc_f32(m * dsub, kk);
    float *na = vq_alloc_f32(m, kk), *nb = vq_alloc_f32(m, kk);
    double ea, eb;
    cr_assert_eq(vq_pq_train(x, n, m, dsub, kk, 5, 0, 7, 1, NULL, a, na, &ea, NULL), VQ_OK);
    for (int threads = 2; threads < 10; threads += 3) {
        cr_assert_eq(vq_pq_train(x, n, m, dsub, kk, 5, 0, 7, threads, NULL, b, nb, &eb, NULL),
                     VQ_OK);
        cr_assert_arr_eq(a, b, m * dsub * kk * sizeof *a);
        cr_assert_arr_eq(na, nb, m * kk * sizeof *na);
        cr_assert_eq(memcmp(&ea, &eb, sizeof ea), 0);
    }
    vq_mem_free(x), vq_mem_free(a), vq_mem_free(b), vq_mem_free(na), vq_mem_free(nb);
}

Test(pq, fewer_rows_than_codewords)
{
    for (size_t n = 1; n < 20; n += 6) {
        vq_rng r;
        vq_rng_init(&r, test_seed(), n);
        float x[20 * 6], cb[6 * 256], norm[2 * 256];
        double mse;
        fill_normal(&r, x, n * 6);
        cr_assert_eq(vq_pq_train(x, n, 2, 3, 256, 4, 0, 7, 2, NULL, cb, norm, &mse, NULL), VQ_OK);
        cr_assert_lt(mse, 1e-9);
        for (size_t c = 0; c < 256; c++) { /* every codeword is a row's */
            bool found = false;
            for (size_t i = 0; i < n; i++) found |= distance(x + i * 6, cb, 3, 256, c) < 1e-12;
            cr_assert(found, "n = %zu, codeword %zu", n, c);
        }
    }
}

/* 200 distinct values for 256 codewords, some rare: only filling empty clusters finds them all. */
Test(pq, empty_codewords_are_filled)
{
    enum { N = 4000, VALUES = 200 };
    float *x = vq_alloc_f32(N, 1), cb[256], norm[256];
    for (size_t i = 0; i < N; i++) x[i] = (float)(i < VALUES ? i : i % 3);
    for (uint64_t seed = 0; seed < 10; seed++) {
        double mse;
        cr_assert_eq(vq_pq_train(x, N, 1, 1, 256, 25, 0, seed, 1, NULL, cb, norm, &mse, NULL),
                     VQ_OK);
        cr_assert_lt(mse, 1e-9);
        cr_assert_lt(error_of(x, N, 1, 1, 256, cb), 1e-9);
    }
    vq_mem_free(x);
}

static int stop_later(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase, (void)total;
    *(uint64_t *)ctx = done;
    return 1;
}

Test(pq, refuses_and_stops)
{
    float x[64] = {0}, cb[64 * 16], norm[64 * 16];
    uint64_t seen = 99;
    vq_ticker t = {.fn = stop_later, .ctx = &seen};
    cr_assert_eq(vq_pq_train(x, 1, 4, 2, 17, 1, 0, 1, 1, NULL, cb, norm, NULL, NULL), VQ_EINVAL);
    cr_assert_eq(vq_pq_train(x, 0, 4, 2, 16, 1, 0, 1, 1, NULL, cb, norm, NULL, NULL), VQ_EINVAL);
    cr_assert_eq(vq_pq_train(x, 1, 64, 1, 16, 1, 0, 1, 1, &t, cb, norm, NULL, NULL), VQ_ECANCELED);
    cr_assert_eq(seen, 0u);
}

Test(pq, survives_failing_allocations)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    float *x = causes(&r, 100, 8, 3), cb[8 * 16], norm[4 * 16];
    vq_status rc = VQ_ENOMEM;
    uint64_t failures = 0;
    while (rc != VQ_OK) {
        vq_error err = {0};
        vq_mem_fail_after(failures + 1);
        rc = vq_pq_train(x, 100, 4, 2, 16, 2, 0, 1, 2, NULL, cb, norm, NULL, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.text[0] != 0));
        failures += rc != VQ_OK;
    }
    cr_assert_eq(failures, 10u); /* two arrays, and four for each of two threads */
    vq_mem_free(x);
}
