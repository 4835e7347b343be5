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

/* x += sign of each of n coordinates, drawn 64 at a time; four by four, so that the compiler makes
 * vector code of it. */
static void flip_signs(float *x, size_t n, vq_rng *rng)
{
    static const uint32_t top = 0x80000000u;
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 64 == 0) bits = vq_rng_u64(rng);
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        u ^= (uint32_t)(bits >> (i % 64) & 1u) != 0 ? top : 0u;
        memcpy(&x[i], &u, sizeof u);
    }
}

/* The orthonormal Hadamard transform of n = 2^k coordinates. */
static void hadamard(float *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t i = 0; i < n; i += 2 * half) {
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
        }
    }
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
        hadamard(x, n);
        if (n < d) hadamard(x + (d - n), n);
    }
}

/* out = x - mean; out may be x. */
static void centre(const vq_transform *t, const float *x, float *out)
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
    centre(t, x, y);
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
    centre(t, x, scratch);
    k->matvec_f32(t->matrix, t->d_out, t->d, t->d, scratch, y);
}

void vq_transform_many(const vq_transform *t, const vq_kernels *k, float *x, size_t n, float *y)
{
    (void)k;
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * t->d;
        if (t->kind == VQ_TRANSFORM_DENSE)
            centre(t, row, row);
        else
            pad_and_rotate(t, row, y + i * t->d_out);
    }
    if (t->kind == VQ_TRANSFORM_DENSE)
        vq_gemm_nt(n, t->d_out, t->d, 1.0f, x, t->d, t->matrix, t->d, 0.0f, y, t->d_out);
}
