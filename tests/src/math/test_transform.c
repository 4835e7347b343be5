/* SPDX-License-Identifier: Apache-2.0 */
/* test_transform.c -- the way into the coded space: orthonormal, the same one by one as many at
 * once, the same bits at every level. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/math/transform.h"
#include "tests/harness/harness.h"

enum { MOST = 300, ROWS = 7 };

static const size_t dims[] = {1,  2,  3,  4,  5,   7,   8,   15,  16,  17,  31,  32,  48,
                              63, 64, 65, 96, 100, 127, 128, 129, 200, 255, 256, 257, 299};

#define FOR_DIMS(d) for (size_t i_ = 0, d; i_ < sizeof dims / sizeof *dims && (d = dims[i_]); i_++)

static double dot(const float *x, const float *y, size_t d)
{
    double sum = 0.0;
    for (size_t j = 0; j < d; j++) sum += (double)x[j] * (double)y[j];
    return sum;
}

Test(transform, hadamard_is_orthonormal)
{
    static float rows[MOST * MOST];
    FOR_DIMS(d)
    {
        for (size_t i = 0; i < d; i++) { /* the images of the axes */
            memset(rows + i * d, 0, d * sizeof *rows);
            rows[i * d + i] = 1.0f;
            vq_hadamard_rotate(rows + i * d, d, 99);
        }
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j <= i; j++)
                cr_assert(fabs(dot(rows + i * d, rows + j * d, d) - (i == j)) < 1e-5, "d=%zu", d);
    }
}

/* What the fast transform does, written as a matrix of signs: H[i][j] = (-1)^popcount(i & j). */
static void slow_hadamard(double *x, size_t n)
{
    static double y[MOST];
    for (size_t i = 0; i < n; i++) {
        y[i] = 0.0;
        for (size_t j = 0; j < n; j++) y[i] += __builtin_popcountll(i & j) % 2 ? -x[j] : x[j];
    }
    for (size_t i = 0; i < n; i++) x[i] = y[i] / sqrt((double)n);
}

Test(transform, hadamard_by_the_matrix)
{
    static float x[MOST];
    static double want[MOST];
    vq_rng r, signs;
    vq_rng_init(&r, test_seed(), 51);
    FOR_DIMS(d)
    {
        size_t n = 1;
        while (2 * n <= d) n *= 2;
        fill_normal(&r, x, d);
        for (size_t j = 0; j < d; j++) want[j] = (double)x[j];
        for (uint64_t round = 0; round < 3; round++) {
            uint64_t bits = 0;
            vq_rng_init(&signs, 7, round);
            for (size_t j = 0; j < d; j++) {
                if (j % 64 == 0) bits = vq_rng_u64(&signs);
                if (bits >> j % 64 & 1) want[j] = -want[j];
            }
            slow_hadamard(want, n);
            if (n < d) slow_hadamard(want + d - n, n);
        }
        vq_hadamard_rotate(x, d, 7);
        for (size_t j = 0; j < d; j++)
            cr_assert(fabs((double)x[j] - want[j]) < 1e-5, "d=%zu at %zu", d, j);
    }
}

Test(transform, hadamard_mixes_and_depends_on_the_seed)
{
    static float a[MOST], b[MOST];
    for (size_t at = 0; at < 200; at += 199) {
        memset(a, 0, sizeof a);
        a[at] = 1.0f;
        memcpy(b, a, sizeof a);
        vq_hadamard_rotate(a, 200, 1);
        vq_hadamard_rotate(b, 200, 2);
        cr_assert(memcmp(a, b, sizeof a) != 0);
        float most = 0.0f;
        for (size_t j = 0; j < 200; j++) most = fmaxf(most, fabsf(a[j]));
        cr_assert(most < 0.5f, "one axis is spread over all: %g", (double)most);
    }
    vq_hadamard_rotate(a, 0, 1); /* nothing to do, and nothing done */
}

/* A transform of d to d_out with a random (not even orthonormal) matrix. */
static vq_transform any_transform(vq_rng *r, uint32_t kind, size_t d, bool with_mean, float *mean,
                                  float *matrix)
{
    vq_transform t = {.kind = kind, .d = (uint32_t)d, .seed = 5};
    size_t d_out = kind == VQ_TRANSFORM_DENSE ? 1 + vq_rng_below(r, MOST) : d + vq_rng_below(r, 20);
    t.d_out = (uint32_t)(d_out > MOST ? MOST : d_out);
    fill_normal(r, mean, d);
    if (with_mean) t.mean = mean;
    if (kind == VQ_TRANSFORM_DENSE) {
        fill_normal(r, matrix, t.d_out * d);
        t.matrix = matrix;
    }
    return t;
}

Test(transform, one_is_many_and_every_level_the_same)
{
    static float mean[MOST], matrix[MOST * MOST], x[ROWS * MOST], work[ROWS * MOST];
    static float many[ROWS * MOST], one[MOST], level[MOST], scratch[MOST];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 52);
    for (uint32_t kind = VQ_TRANSFORM_IDENTITY; kind <= VQ_TRANSFORM_HADAMARD; kind++) {
        FOR_DIMS(d)
        {
            vq_transform t = any_transform(&r, kind, d, d % 2 != 0, mean, matrix);
            fill_normal(&r, x, ROWS * d);
            memcpy(work, x, sizeof x);
            vq_transform_many(&t, vq_kernels_get(), work, ROWS, many);
            for (size_t i = 0; i < ROWS; i++) {
                vq_transform_one(&t, vq_kernels_named("scalar"), x + i * d, scratch, one);
                for (size_t j = 0; j < t.d_out; j++)
                    cr_assert(fabsf(one[j] - many[i * t.d_out + j]) < 2e-3f, "kind %u d=%zu", kind,
                              d);
                for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
                    const vq_kernels *k = vq_kernels_named(*name);
                    if (k == NULL) continue;
                    vq_transform_one(&t, k, x + i * d, scratch, level);
                    cr_assert(memcmp(one, level, t.d_out * sizeof *one) == 0, "%s", *name);
                }
            }
        }
    }
}

Test(transform, dense_by_hand)
{
    const float mean[2] = {1.0f, 2.0f}, matrix[6] = {1, 0, 0, 2, 3, 4}, x[2] = {11.0f, 102.0f};
    float y[3], scratch[2];
    vq_transform t = {
        .kind = VQ_TRANSFORM_DENSE, .d = 2, .d_out = 3, .mean = mean, .matrix = matrix};
    vq_transform_one(&t, vq_kernels_get(), x, scratch, y);
    cr_assert(y[0] == 10.0f && y[1] == 200.0f && y[2] == 430.0f);
}

Test(transform, identity_pads_and_norms_stay)
{
    static float x[MOST], mean[MOST], y[MOST + 20], centred[MOST], matrix[1], scratch[MOST];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 53);
    FOR_DIMS(d)
    {
        fill_normal(&r, x, d);
        for (uint32_t kind = VQ_TRANSFORM_IDENTITY; kind <= VQ_TRANSFORM_HADAMARD; kind += 2) {
            vq_transform t = any_transform(&r, kind, d, true, mean, matrix);
            for (size_t j = 0; j < d; j++) centred[j] = x[j] - mean[j];
            vq_transform_one(&t, vq_kernels_get(), x, scratch, y);
            double before = dot(centred, centred, d), after = dot(y, y, t.d_out);
            cr_assert(fabs(before - after) <= 1e-5 * before, "kind %u d=%zu", kind, d);
            for (size_t j = 0; kind == VQ_TRANSFORM_IDENTITY && j < t.d_out; j++)
                cr_assert(y[j] == (j < d ? centred[j] : 0.0f));
        }
    }
}
