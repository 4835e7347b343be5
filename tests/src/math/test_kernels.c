/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels.c -- sums: every level gives the bits of scalar.c, which itself is near the sum in
 * long double. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/elem.h"
#include "tests/src/math/levels.h"

enum { ROUNDS = 1500, DIM = 900 };

TestSuite(kernels, .init = grounds_new, .fini = grounds_free);

static void same_f32(float want, float got, const char *slot, const char *isa, size_t d)
{
    cr_assert(memcmp(&want, &got, sizeof want) == 0, "%s of %s, d=%zu: %a, not %a (seed %llu)",
              slot, isa, d, (double)got, (double)want, (unsigned long long)test_seed());
}

static void same_f64(double want, double got, const char *slot, const char *isa, size_t d)
{
    cr_assert(memcmp(&want, &got, sizeof want) == 0, "%s of %s, d=%zu: %a, not %a (seed %llu)",
              slot, isa, d, got, want, (unsigned long long)test_seed());
}

Test(kernels, f32_sums)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int it = 0; it < ROUNDS; it++) {
        size_t d = any_size(&r, DIM);
        float *x = place(&ground_a, d * 4, it), *y = place(&ground_b, d * 4, it);
        uint8_t *c = place(&ground_c, d, it);
        fill_any(&r, x, d);
        fill_any(&r, y, d);
        fill_u8(&r, c, d);
        FOR_LEVELS(want, k)
        {
            same_f32(want->dot_f32(x, y, d), k->dot_f32(x, y, d), "dot_f32", k->isa, d);
            same_f32(want->l2sq_f32(x, y, d), k->l2sq_f32(x, y, d), "l2sq_f32", k->isa, d);
            same_f32(want->dot_f32_u8(x, c, d), k->dot_f32_u8(x, c, d), "dot_f32_u8", k->isa, d);
        }
    }
}

Test(kernels, matvec)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    for (int it = 0; it < ROUNDS / 3; it++) {
        size_t rows = any_size(&r, 40), d = any_size(&r, 300), stride = d + vq_rng_below(&r, 20);
        size_t n = rows == 0 ? 0 : (rows - 1) * stride + d;
        float *a = place(&ground_a, n * 4, it), *x = place(&ground_b, d * 4, it);
        float *got = place(&ground_c, rows * 4, it);
        fill_any(&r, a, n);
        fill_any(&r, x, d);
        FOR_LEVELS(want, k)
        {
            k->matvec_f32(a, rows, d, stride, x, got);
            for (size_t i = 0; i < rows; i++)
                same_f32(want->dot_f32(a + i * stride, x, d), got[i], "matvec_f32", k->isa, d);
        }
    }
}

/* Vectors that lie anywhere, some of them the same. */
Test(kernels, matvecs)
{
    enum { MOST_ROWS = 11, MOST_VECTORS = 9 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 41);
    for (int it = 0; it < 200; it++) {
        size_t d = any_size(&r, 200), rows = vq_rng_below(&r, MOST_ROWS + 1);
        size_t n = vq_rng_below(&r, MOST_VECTORS + 1), stride = d + vq_rng_below(&r, 3);
        size_t room = rows > 0 ? (rows - 1) * stride + d : 0;
        float *a = place(&ground_a, room * 4, it), *all = place(&ground_b, 2 * d * 4, it);
        float got[MOST_VECTORS][MOST_ROWS];
        const float *x[MOST_VECTORS];
        float *out[MOST_VECTORS];
        fill_any(&r, a, room);
        fill_any(&r, all, 2 * d);
        for (size_t v = 0; v < n; v++) x[v] = all + vq_rng_below(&r, d + 1), out[v] = got[v];
        FOR_LEVELS(want, k)
        {
            k->matvecs_f32(a, rows, d, stride, x, n, out);
            for (size_t v = 0; v < n; v++)
                for (size_t i = 0; i < rows; i++)
                    same_f32(want->dot_f32(a + i * stride, x[v], d), got[v][i], "matvecs_f32",
                             k->isa, d);
        }
    }
}

/* Fills d elements of a type so that a row of them is finite. */
static void fill_row(vq_rng *r, uint32_t elem, void *row, size_t d)
{
    static float f[DIM];
    static uint16_t h[DIM];
    switch (elem) {
    case VQ_F32:
        fill_any(r, f, d);
        memcpy(row, f, d * 4);
        break;
    case VQ_F16:
        fill_f16(r, h, d);
        memcpy(row, h, d * 2);
        break;
    default: fill_u8(r, row, d); break;
    }
}

Test(kernels, rows)
{
    static const size_t sizes[] = {[VQ_F32] = 4, [VQ_F16] = 2, [VQ_I8] = 1, [VQ_U8] = 1};
    static float f[DIM];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    for (int it = 0; it < ROUNDS; it++) {
        size_t d = any_size(&r, DIM);
        double *q = place(&ground_a, d * 8, it);
        fill_any(&r, f, d);
        for (size_t j = 0; j < d; j++) q[j] = (double)f[j] * (1.0 + 1e-9);
        for (uint32_t elem = VQ_F32; elem <= VQ_U8; elem++) {
            char *row = place(&ground_b, d * sizes[elem], it);
            if (it % 4 == 1) row += vq_rng_below(&r, 64); /* a row may lie anywhere */
            fill_row(&r, elem, row, d);
            FOR_LEVELS(want, k)
            {
                same_f64(vq_row_ip(want, elem)(q, row, d), vq_row_ip(k, elem)(q, row, d), "ip_row",
                         k->isa, d);
                same_f64(vq_row_l2sq(want, elem)(q, row, d), vq_row_l2sq(k, elem)(q, row, d),
                         "l2sq_row", k->isa, d);
                same_f64(vq_row_sq(want, elem)(row, d), vq_row_sq(k, elem)(row, d), "sq_row",
                         k->isa, d);
            }
        }
    }
}

/* Products that underflow to -0 make lanes of -0, and a sum of -0 if no lane is left out: what lies
 * beyond the end must not add a +0 to them. */
Test(kernels, zeros_keep_their_sign)
{
    enum { D = 50 };
    static float x[D], y[D], small[D];
    static double q[D];
    static uint16_t half[D];
    static uint8_t c[D];
    float out[8];
    for (size_t j = 0; j < D; j++) {
        x[j] = 1e-30f, y[j] = -1e-30f, c[j] = 0;
        q[j] = -0x1p-1074, small[j] = 0x1p-24f, half[j] = 1; /* both are 2^-24 */
    }
    cr_assert(signbit(vq_kernels_named("scalar")->dot_f32(x, y, 16)), "there is a -0 to lose");
    cr_assert(signbit(vq_kernels_named("scalar")->ip_row_f16(q, half, 8)));
    for (size_t d = 0; d <= D; d++) {
        FOR_LEVELS(want, k)
        {
            same_f32(want->dot_f32(x, y, d), k->dot_f32(x, y, d), "dot_f32", k->isa, d);
            same_f32(want->dot_f32_u8(y, c, d), k->dot_f32_u8(y, c, d), "dot_f32_u8", k->isa, d);
            same_f64(want->ip_row_f32(q, small, d), k->ip_row_f32(q, small, d), "ip", k->isa, d);
            same_f64(want->ip_row_f16(q, half, d), k->ip_row_f16(q, half, d), "ip", k->isa, d);
            k->matvec_f32(y, 8, d, 0, x, out);
            for (size_t i = 0; i < 8; i++)
                same_f32(want->dot_f32(y, x, d), out[i], "matvec_f32", k->isa, d);
        }
    }
}

/* ---- the specification itself --------------------------------------------------------------- */

Test(kernels, scalar_sums_are_right)
{
    const vq_kernels *s = vq_kernels_named("scalar");
    static float x[DIM], y[DIM];
    static uint8_t c[DIM];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    for (int it = 0; it < 300; it++) {
        size_t d = any_size(&r, DIM);
        fill_normal(&r, x, d);
        fill_normal(&r, y, d);
        fill_u8(&r, c, d);
        long double dot = 0, l2 = 0, coded = 0, room_dot = 0, room_coded = 0;
        for (size_t j = 0; j < d; j++) {
            long double a = x[j], b = y[j];
            dot += a * b, l2 += (a - b) * (a - b), coded += a * c[j];
            room_dot += fabsl(a * b), room_coded += fabsl(a * c[j]);
        }
        /* d / 16 additions in a lane, four to join the lanes, one or two roundings of a term */
        long double eps = ((long double)d / 16 + 8) * FLT_EPSILON;
        cr_assert(fabsl(s->dot_f32(x, y, d) - dot) <= eps * room_dot, "d=%zu", d);
        cr_assert(fabsl(s->l2sq_f32(x, y, d) - l2) <= eps * l2, "d=%zu", d);
        cr_assert(fabsl(s->dot_f32_u8(x, c, d) - coded) <= eps * room_coded, "d=%zu", d);
    }
}

/* Small integers: every sum is exact, so every type and level must give it. */
Test(kernels, rows_of_integers)
{
    static double q[DIM];
    static float f[DIM];
    static uint16_t h[DIM];
    static int8_t i8[DIM];
    static uint8_t u8[DIM];
    const void *const rows[] = {[VQ_F32] = f, [VQ_F16] = h, [VQ_I8] = i8, [VQ_U8] = u8};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    for (size_t d = 0; d < DIM; d = d * 3 / 2 + 1) {
        double ip = 0, l2 = 0, sq = 0;
        for (size_t j = 0; j < d; j++) {
            int a = (int)vq_rng_below(&r, 200) - 100, b = (int)vq_rng_below(&r, 128);
            q[j] = a, f[j] = (float)b, h[j] = vq_f32_to_f16((float)b);
            i8[j] = (int8_t)b, u8[j] = (uint8_t)b;
            ip += (double)a * b, l2 += (double)(a - b) * (a - b), sq += (double)b * b;
        }
        for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
            const vq_kernels *k = vq_kernels_named(*name);
            for (uint32_t e = VQ_F32; e <= VQ_U8 && k != NULL; e++) {
                same_f64(ip, vq_row_ip(k, e)(q, rows[e], d), "ip", k->isa, d);
                same_f64(l2, vq_row_l2sq(k, e)(q, rows[e], d), "l2sq", k->isa, d);
                same_f64(sq, vq_row_sq(k, e)(rows[e], d), "sq", k->isa, d);
            }
        }
    }
}

Test(kernels, signs_of_i8_and_u8)
{
    const double q[1] = {2.0};
    const uint8_t row[1] = {0x80};
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        cr_assert(k->ip_row_i8(q, row, 1) == -256.0);
        cr_assert(k->ip_row_u8(q, row, 1) == 256.0);
        cr_assert(k->l2sq_row_i8(q, row, 1) == 130.0 * 130.0);
        cr_assert(k->l2sq_row_u8(q, row, 1) == 126.0 * 126.0);
    }
}
