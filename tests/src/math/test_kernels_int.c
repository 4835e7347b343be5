/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels_int.c -- sums in integers, and the k-th largest: every level gives the bits of
 * scalar.c, and these are right. */
#include <math.h>
#include <stdlib.h>

#include "src/base/mem.h"
#include "tests/src/math/levels.h"
#include "vq/vq.h"

enum { ROUNDS = 600, LEN = 700 };

TestSuite(kernels_int, .init = grounds_new, .fini = grounds_free);

#define SEED (unsigned long long)test_seed()

/* Any that a query may hold; all at one end now and then. */
static void fill_i16(vq_rng *r, int16_t *x, size_t n)
{
    uint64_t kind = vq_rng_below(r, 4);
    for (size_t i = 0; i < n; i++)
        x[i] = kind == 0   ? (int16_t)-16383
               : kind == 1 ? (int16_t)16383
                           : (int16_t)((int)vq_rng_below(r, 32767) - 16383);
}

Test(kernels_int, quantize)
{
    static int16_t want_x[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 31);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = any_size(&r, LEN);
        float *x = place(&ground_a, n * 4, it), inv = ldexpf(1.0f, (int)vq_rng_below(&r, 40) - 20);
        int16_t *got = place(&ground_b, n * 2, it);
        int32_t sum[2];
        fill_any(&r, x, n);
        if (n > 0 && it % 5 == 0) x[vq_rng_below(&r, n)] = it % 2 == 0 ? INFINITY : NAN;
        FOR_LEVELS(want, k)
        {
            uint32_t all = want->quantize_i16(x, n, inv, want_x, &sum[0]);
            cr_assert_eq(k->quantize_i16(x, n, inv, got, &sum[1]), all, "%s, n=%zu (seed %llu)",
                         k->isa, n, SEED);
            cr_assert(sum[0] == sum[1] && (n == 0 || memcmp(want_x, got, n * 2) == 0),
                      "%s, n=%zu (seed %llu)", k->isa, n, SEED);
        }
        for (size_t i = 0; i < n && isfinite(x[i]); i++)
            cr_assert(fabs((double)want_x[i] - fmax(-16383, fmin(16383, (double)(x[i] * inv)))) <=
                      0.5);
    }
}

Test(kernels_int, matvec)
{
    static float want_out[64];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 32);
    for (int it = 0; it < ROUNDS; it++) {
        size_t rows = any_size(&r, 40), d = any_size(&r, 300), stride = d + vq_rng_below(&r, 20);
        size_t n = rows == 0 ? 0 : (rows - 1) * stride + d;
        uint8_t *a = place(&ground_a, n, it);
        int16_t *x = place(&ground_b, d * 2, it);
        float *steps = place(&ground_c, rows * 8, it), *got = place(&ground_d, rows * 4, it);
        fill_u8(&r, a, n);
        fill_i16(&r, x, d);
        for (size_t j = 0; it % 3 == 0 && j < d; j++) x[j] = (int16_t)(x[j] & 255); /* bytes */
        fill_any(&r, steps, 2 * rows);
        FOR_LEVELS(want, k)
        {
            want->matvec_u8(a, rows, d, stride, x, steps, steps + rows, 0.25f, 7.5f, want_out);
            k->matvec_u8(a, rows, d, stride, x, steps, steps + rows, 0.25f, 7.5f, got);
            cr_assert(rows == 0 || memcmp(want_out, got, rows * 4) == 0,
                      "%s, %zu x %zu (seed %llu)", k->isa, rows, d, SEED);
        }
    }
}

/* More columns than are split at a time. */
Test(kernels_int, matvec_of_many_columns)
{
    enum { ROWS = 11, D = 9000 };
    static uint8_t a[ROWS * D];
    static int16_t x[D];
    float steps[2 * ROWS], want_out[ROWS], got[ROWS];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 34);
    fill_u8(&r, a, sizeof a);
    fill_any(&r, steps, 2 * ROWS);
    for (int bytes = 0; bytes < 2; bytes++) {
        for (size_t j = 0; j < D; j++)
            x[j] =
                (int16_t)(bytes ? (int)vq_rng_below(&r, 256) : (int)vq_rng_below(&r, 1800) - 900);
        FOR_LEVELS(want, k)
        {
            want->matvec_u8(a, ROWS, D, D, x, steps, steps + ROWS, 0.25f, 7.5f, want_out);
            k->matvec_u8(a, ROWS, D, D, x, steps, steps + ROWS, 0.25f, 7.5f, got);
            cr_assert(memcmp(want_out, got, sizeof got) == 0, "%s", k->isa);
        }
    }
}

/* Numbers of a query with n columns, some fours of them zero; of bytes, or of 15 bits. */
static void fill_sparse(vq_rng *r, int16_t *x, size_t n, bool bytes)
{
    fill_i16(r, x, n);
    for (size_t j = 0; j < n; j++) {
        if (bytes) x[j] = (int16_t)vq_rng_below(r, 256);
        x[j] = (int16_t)(n > 2000 ? x[j] / 32 : x[j]); /* sums stay in 32 bits */
    }
    for (size_t j = 0; j + 4 <= n; j += 4)
        if (vq_rng_below(r, 3) == 0) memset(x + j, 0, 4 * sizeof *x);
}

/* Rows in panels give what they give row by row; more columns than are taken at a time, too. */
Test(kernels_int, panel_matvec)
{
    enum { ROWS = 400, MOST = 5000 };
    static float steps[2 * ROWS], want_out[ROWS];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 35);
    for (int it = 0; it < ROUNDS / 2; it++) {
        size_t rows = any_size(&r, it % 4 == 0 ? ROWS : 20), d = any_size(&r, 300);
        if (it % 50 == 7) d = 4000 + vq_rng_below(&r, MOST - 4000);
        size_t bytes = vq_round_up(rows, (size_t)16) * vq_round_up(d, (size_t)4);
        uint8_t *a = place(&ground_a, rows * d, it), *panels = vq_mem_calloc(bytes, 1);
        int16_t *x = place(&ground_b, d * 2, it);
        float *got = place(&ground_c, rows * 4, it);
        fill_u8(&r, a, rows * d);
        fill_sparse(&r, x, d, it % 2 == 0);
        fill_any(&r, steps, 2 * rows);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < d; j++) panels[vq_in_panels(rows, d, i, j)] = a[i * d + j];
        FOR_LEVELS(want, k)
        {
            want->matvec_u8(a, rows, d, d, x, steps, steps + rows, 0.25f, 7.5f, want_out);
            k->panel_matvec(panels, rows, d, x, steps, steps + rows, 0.25f, 7.5f, got);
            cr_assert(rows == 0 || memcmp(want_out, got, rows * 4) == 0,
                      "%s, %zu x %zu (seed %llu)", k->isa, rows, d, SEED);
            want->panel_matvec(panels, rows, d, x, steps, steps + rows, 0.25f, 7.5f, got);
            cr_assert(rows == 0 || memcmp(want_out, got, rows * 4) == 0);
        }
        vq_mem_free(panels);
    }
}

/* So do rows of four bits. */
Test(kernels_int, panel_matvec_u4)
{
    enum { ROWS = 600, MOST = 5000 };
    static float steps[2 * ROWS], want_out[ROWS];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 36);
    for (int it = 0; it < ROUNDS / 2; it++) {
        size_t rows = any_size(&r, it % 4 == 0 ? ROWS : 40), d = any_size(&r, 300);
        if (it % 50 == 7) d = 4000 + vq_rng_below(&r, MOST - 4000);
        size_t bytes = vq_halved_rows(rows) * vq_round_up(d, (size_t)4);
        uint8_t *a = place(&ground_a, rows * d, it), *panels = vq_mem_calloc(bytes, 1);
        int16_t *x = place(&ground_b, d * 2, it);
        float *got = place(&ground_c, rows * 4, it);
        fill_u8(&r, a, rows * d);
        fill_sparse(&r, x, d, it % 2 == 0);
        fill_any(&r, steps, 2 * rows);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < d; j++) {
                a[i * d + j] &= 15;
                panels[vq_in_halves(rows, d, i, j)] |= (uint8_t)(a[i * d + j] << (i & 16 ? 4 : 0));
            }
        FOR_LEVELS(want, k)
        {
            want->matvec_u8(a, rows, d, d, x, steps, steps + rows, 0.25f, 7.5f, want_out);
            k->panel_matvec_u4(panels, rows, d, x, steps, steps + rows, 0.25f, 7.5f, got);
            cr_assert(rows == 0 || memcmp(want_out, got, rows * 4) == 0,
                      "%s, %zu x %zu (seed %llu)", k->isa, rows, d, SEED);
            want->panel_matvec_u4(panels, rows, d, x, steps, steps + rows, 0.25f, 7.5f, got);
            cr_assert(rows == 0 || memcmp(want_out, got, rows * 4) == 0);
        }
        vq_mem_free(panels);
    }
}

Test(kernels_int, tables)
{
    static float want_lut[40 * 256];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 33);
    for (int it = 0; it < ROUNDS / 3; it++) {
        size_t kk = it % 4 < 2 ? 16 : 256, m = any_size(&r, 40), pairs = 1 + vq_rng_below(&r, 12);
        size_t n = 2 * m * pairs;
        int16_t *x = place(&ground_a, n * 2, it);
        uint8_t *cb = place(&ground_b, n * kk, it);
        float *got = place(&ground_c, m * kk * 4, it);
        fill_i16(&r, x, n);
        fill_u8(&r, cb, n * kk);
        FOR_LEVELS(want, k)
        {
            want->lut_u8(x, cb, m, pairs, kk, want_lut);
            k->lut_u8(x, cb, m, pairs, kk, got);
            cr_assert(m == 0 || memcmp(want_lut, got, m * kk * 4) == 0,
                      "%s, m=%zu pairs=%zu kk=%zu (seed %llu)", k->isa, m, pairs, kk, SEED);
        }
    }
}

Test(kernels_int, rows)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 34);
    for (int it = 0; it < ROUNDS; it++) {
        size_t d = any_size(&r, LEN);
        int16_t *x = place(&ground_a, d * 2, it);
        uint8_t *row = place(&ground_b, d, it);
        if (it % 4 == 1) row += vq_rng_below(&r, 64); /* a row may lie anywhere */
        fill_i16(&r, x, d);
        fill_u8(&r, row, d);
        for (uint32_t elem = VQ_I8; elem <= VQ_U8; elem++) {
            int32_t ip[2];
            uint32_t sq[2];
            int64_t sum = 0;
            for (size_t j = 0; j < d; j++)
                sum += x[j] * (elem == VQ_I8 ? (int8_t)row[j] : (int)row[j]);
            FOR_LEVELS(want, k)
            {
                vq_near_row(want, elem)(x, row, d, &ip[0], &sq[0]);
                vq_near_row(k, elem)(x, row, d, &ip[1], &sq[1]);
                cr_assert(ip[0] == ip[1] && sq[0] == sq[1], "%s, d=%zu (seed %llu)", k->isa, d,
                          SEED);
                cr_assert_eq((uint32_t)sum, (uint32_t)ip[0]);
            }
        }
    }
}

/* Rows and queries at the ends of what they may hold, now and then; few columns and many. */
Test(kernels_int, panels)
{
    static float want_out[24 * 80];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 36);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = any_size(&r, 24), count = vq_rng_below(&r, 6), quads = any_size(&r, 70);
        size_t stride = 16 * count, groups = (n + 7) / 8;
        uint8_t *panels = place(&ground_a, count * quads * 64, 0);
        int8_t *q = place(&ground_b, groups * quads * 32, it);
        int32_t *sums = place(&ground_c, count * 64, it);
        float *got = place(&ground_d, n * stride * 4, it);
        vq_panel_scale scale[24];
        fill_u8(&r, panels, count * quads * 64);
        fill_u8(&r, (uint8_t *)q, groups * quads * 32);
        if (it % 3 == 0) memset(panels, 255, count * quads * 64);
        if (it % 3 == 0) memset(q, it % 2 == 0 ? -128 : 127, groups * quads * 32);
        for (size_t i = 0; i < 16 * count; i++) sums[i] = (int32_t)vq_rng_below(&r, 255 << 16);
        for (size_t i = 0; i < n; i++)
            scale[i] = (vq_panel_scale){.unit = (float)vq_rng_f64(&r),
                                        .of_sum = it % 2 == 0 ? 128 : 0,
                                        .less = (int32_t)(uint32_t)vq_rng_u64(&r)};
        FOR_LEVELS(want, k)
        {
            want->panel_dots(panels, sums, count, quads, q, scale, n, want_out, stride);
            k->panel_dots(panels, sums, count, quads, q, scale, n, got, stride);
            cr_assert(n * stride == 0 || memcmp(want_out, got, n * stride * 4) == 0,
                      "%s, %zu queries, %zu panels of %zu (seed %llu)", k->isa, n, count, quads,
                      SEED);
        }
    }
}

Test(kernels_int, felt)
{
    enum { ROWS = 9 };
    static float want_out[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 41);
    for (int it = 0; it < ROUNDS; it++) {
        size_t kk = 16 * vq_rng_below(&r, LEN / 16 + 1), n = any_size(&r, 40);
        int8_t *table = place(&ground_a, ROWS * kk, it);
        float *here = place(&ground_b, kk * 4, it), *out = place(&ground_c, kk * 4, it);
        float of[3][40], weight = (float)vq_rng_f64(&r), start[LEN];
        uint32_t rows[40];
        fill_u8(&r, (uint8_t *)table, ROWS * kk);
        fill_any(&r, here, kk);
        fill_any(&r, start, kk);
        for (size_t i = 0; i < n; i++) rows[i] = (uint32_t)vq_rng_below(&r, ROWS);
        for (int a = 0; a < 3; a++) fill_normal(&r, of[a], n);
        const float *shift = it % 2 == 0 ? here : NULL;
        FOR_LEVELS(want, k)
        {
            memcpy(want_out, start, kk * 4), memcpy(out, start, kk * 4);
            want->felt_i8(table, kk, rows, n, of[0], of[1], of[2], shift, weight, want_out);
            k->felt_i8(table, kk, rows, n, of[0], of[1], of[2], shift, weight, out);
            cr_assert(memcmp(want_out, out, kk * 4) == 0, "%s, %zu rows of %zu (seed %llu)", k->isa,
                      n, kk, SEED);
        }
    }
}

static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

Test(kernels_int, kth)
{
    static float sorted[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 35);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = 1 + any_size(&r, LEN - 1), at = 1 + vq_rng_below(&r, n);
        float *x = place(&ground_a, n * 4, it);
        fill_any(&r, x, n);
        if (it % 7 == 0) x[vq_rng_below(&r, n)] = -INFINITY;
        memcpy(sorted, x, n * 4);
        qsort(sorted, n, 4, falling);
        float want_v = sorted[at - 1] + 0.0f;
        for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
            const vq_kernels *k = vq_kernels_named(*name);
            if (k == NULL) continue;
            float got = k->kth_f32(x, n, at);
            cr_assert(memcmp(&got, &want_v, 4) == 0, "%s: %zu of %zu: %a, not %a (seed %llu)",
                      k->isa, at, n, (double)got, (double)want_v, SEED);
        }
    }
}
