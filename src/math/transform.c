/* SPDX-License-Identifier: Apache-2.0 */
/* transform.c -- the way into the coded space.  One vector goes by our kernels, whose bits are the
 * same everywhere: a query.  Many go by GEMM: a build. */
#include "src/math/transform.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/math/blas.h"

enum { ROUNDS = 3 };

/* Gives each of n coordinates a random sign, 64 from one number: bit i % 64 of it flips x[i].  Four
 * at a time by a table, for without it the compiler shifts bit by bit. */
static void flip_signs(float *x, size_t n, vq_rng *rng)
{
#define FLIP(bits, l) ((uint32_t)(bits) >> (l)&1u) << 31
#define ROW(bits)                                                                                  \
    {                                                                                              \
        FLIP(bits, 0), FLIP(bits, 1), FLIP(bits, 2), FLIP(bits, 3)                                 \
    }
    static const uint32_t masks[16][4] = {ROW(0),  ROW(1),  ROW(2),  ROW(3), ROW(4),  ROW(5),
                                          ROW(6),  ROW(7),  ROW(8),  ROW(9), ROW(10), ROW(11),
                                          ROW(12), ROW(13), ROW(14), ROW(15)};
#undef ROW
#undef FLIP
    uint64_t bits = 0;
    size_t i = 0;
    uint32_t u[4];
    for (; i + 4 <= n; i += 4, bits >>= 4) {
        if (i % 64 == 0) bits = vq_rng_u64(rng);
        memcpy(u, x + i, sizeof u);
        for (size_t l = 0; l < 4; l++) u[l] ^= masks[bits & 15u][l];
        memcpy(x + i, u, sizeof u);
    }
    if (i % 64 == 0 && i < n) bits = vq_rng_u64(rng);
    for (size_t l = 0; i < n; i++, l++)
        if (masks[bits & 15u][l] != 0) x[i] = -x[i];
}

/* One stage over n coordinates from x to y, which brings every coordinate's partner beside it:
 * after log2 n stages each is back in its place.  (Neighbours are what vector code is worst at;
 * here they are only stored so.) */
static inline void stage(const float *restrict x, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        y[2 * i] = x[i] + x[i + n / 2];
        y[2 * i + 1] = x[i] - x[i + n / 2];
    }
}

enum { TILE = 16 };

static void hadamard_tile(float *x)
{
    float a[TILE], b[TILE];
    stage(x, a, TILE);
    stage(a, b, TILE);
    stage(b, a, TILE);
    stage(a, x, TILE);
}

static void butterflies(float *restrict a, float *restrict b, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        float s = a[j] + b[j], t = a[j] - b[j];
        a[j] = s;
        b[j] = t;
    }
}

/* Two stages in one pass over four runs of n. */
static void butterflies4(float *restrict a, float *restrict b, float *restrict c, float *restrict d,
                         size_t n)
{
    for (size_t j = 0; j < n; j++) {
        float s = a[j] + b[j], t = a[j] - b[j], u = c[j] + d[j], v = c[j] - d[j];
        a[j] = s + u;
        b[j] = t + v;
        c[j] = s - u;
        d[j] = t - v;
    }
}

void vq_hadamard(float *x, size_t n)
{
    size_t half = 1; /* stages below it are done */
    if (n >= TILE) {
        for (size_t i = 0; i < n; i += TILE) hadamard_tile(x + i);
        half = TILE;
    }
    for (; 4 * half <= n; half *= 4)
        for (float *p = x; p < x + n; p += 4 * half)
            butterflies4(p, p + half, p + 2 * half, p + 3 * half, half);
    if (half < n) butterflies(x, x + half, half);
    const float scale = (float)(1.0 / sqrt((double)n));
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

void vq_hadamard_rotate(float *x, size_t d, uint64_t seed)
{
    if (d == 0) return;
    size_t n = 1;
    while (n <= d / 2) n *= 2;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        vq_rng rng;
        vq_rng_init(&rng, seed, round);
        flip_signs(x, d, &rng);
        vq_hadamard(x, n);
        if (n < d) vq_hadamard(x + (d - n), n);
    }
}

void vq_transform_centre(const vq_transform *t, const float *x, float *out)
{
    if (t->mean == NULL) {
        if (out != x) memcpy(out, x, t->d * sizeof *x);
        return;
    }
    for (size_t j = 0; j < t->d; j++) out[j] = x[j] - t->mean[j];
}

/* The kinds that work within y. */
static void pad_and_rotate(const vq_transform *t, const float *x, float *y)
{
    assert(t->d_out >= t->d);
    vq_transform_centre(t, x, y);
    for (size_t j = t->d; j < t->d_out; j++) y[j] = 0.0f;
    if (t->kind == VQ_TRANSFORM_HADAMARD) vq_hadamard_rotate(y, t->d_out, t->seed);
}

void vq_transform_one(const vq_transform *t, const vq_kernels *k, const float *x, float *scratch,
                      float *y)
{
    if (t->kind != VQ_TRANSFORM_DENSE) {
        pad_and_rotate(t, x, y);
        return;
    }
    vq_transform_centre(t, x, scratch);
    k->matvec_f32(t->matrix, t->d_out, t->d, t->d, scratch, y);
}

void vq_transform_many(const vq_transform *t, const vq_kernels *k, float *x, size_t n, float *y)
{
    (void)k;
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * t->d;
        if (t->kind == VQ_TRANSFORM_DENSE)
            vq_transform_centre(t, row, row);
        else
            pad_and_rotate(t, row, y + i * t->d_out);
    }
    if (t->kind == VQ_TRANSFORM_DENSE)
        vq_gemm_nt(n, t->d_out, t->d, 1.0f, x, t->d, t->matrix, t->d, 0.0f, y, t->d_out);
}
