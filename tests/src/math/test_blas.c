/* SPDX-License-Identifier: Apache-2.0 */
/* test_blas.c -- products against loops in double, eigenvectors and rotations by their properties.
 */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/math/kernels.h"
#include "tests/harness/harness.h"

enum { MOST = 40, PAD = 5 };

typedef void (*gemm_fn)(size_t, size_t, size_t, float, const float *, size_t, const float *, size_t,
                        float, float *, size_t);

/* Checks one product with rows wider than the matrices; what lies between them stays. */
static void check_gemm(vq_rng *r, gemm_fn gemm, bool ta, bool tb)
{
    static float a[MOST * (MOST + PAD)], b[MOST * (MOST + PAD)], c[MOST * (MOST + PAD)],
        old[MOST * (MOST + PAD)];
    size_t m = vq_rng_below(r, MOST), n = vq_rng_below(r, MOST), k = vq_rng_below(r, MOST);
    size_t lda = (ta ? m : k) + 1 + vq_rng_below(r, PAD),
           ldb = (tb ? k : n) + 1 + vq_rng_below(r, PAD);
    size_t ldc = n + 1 + vq_rng_below(r, PAD);
    float alpha = vq_rng_below(r, 2) != 0 ? 1.0f : -2.0f,
          beta = vq_rng_below(r, 2) != 0 ? 0.0f : 0.5f;
    fill_normal(r, a, sizeof a / sizeof *a);
    fill_normal(r, b, sizeof b / sizeof *b);
    fill_normal(r, c, sizeof c / sizeof *c);
    memcpy(old, c, sizeof c);
    gemm(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    for (size_t i = 0; i < MOST * (MOST + PAD); i++) {
        size_t row = i / ldc, col = i % ldc;
        if (row >= m || col >= n) {
            cr_assert(c[i] == old[i], "written outside of C");
            continue;
        }
        double sum = 0.0, room = 1.0;
        for (size_t t = 0; t < k; t++) {
            double p = (double)(ta ? a[t * lda + row] : a[row * lda + t]) *
                       (double)(tb ? b[col * ldb + t] : b[t * ldb + col]);
            sum += p;
            room += fabs(p);
        }
        double want = (double)alpha * sum + (double)beta * (double)old[i];
        cr_assert(fabs((double)c[i] - want) <= 100.0 * room * (double)FLT_EPSILON,
                  "m=%zu n=%zu k=%zu: %g, not %g", m, n, k, (double)c[i], want);
    }
}

Test(blas, products)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 41);
    for (int it = 0; it < 200; it++) {
        check_gemm(&r, vq_gemm_nt, false, true);
        check_gemm(&r, vq_gemm_nn, false, false);
        check_gemm(&r, vq_gemm_tn, true, false);
    }
}

static void fill_f64(vq_rng *r, double *a, size_t n)
{
    for (size_t i = 0; i < n; i++) a[i] = vq_rng_normal(r);
}

/* Rows of v are orthonormal. */
static void orthonormal(const double *v, size_t d)
{
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j <= i; j++) {
            double dot = 0.0;
            for (size_t t = 0; t < d; t++) dot += v[i * d + t] * v[j * d + t];
            cr_assert(fabs(dot - (i == j ? 1.0 : 0.0)) < 1e-12 * (double)(d + 1), "d=%zu", d);
        }
    }
}

Test(blas, eigenvectors)
{
    static double a[MOST * MOST], v[MOST * MOST], values[MOST];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 42);
    for (size_t d = 0; d < MOST; d++) {
        fill_f64(&r, a, d * d);
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < i; j++) a[i * d + j] = a[j * d + i];
        cr_assert(vq_eigen_symmetric(a, d, v, values, NULL) == VQ_OK);
        orthonormal(v, d);
        for (size_t i = 0; i < d; i++) {
            cr_assert(i == 0 || values[i] <= values[i - 1], "values fall");
            size_t top = 0;
            for (size_t t = 0; t < d; t++) {
                double av = 0.0;
                for (size_t u = 0; u < d; u++) av += a[t * d + u] * v[i * d + u];
                cr_assert(fabs(av - values[i] * v[i * d + t]) < 1e-10, "A v = value * v, d=%zu", d);
                if (fabs(v[i * d + t]) > fabs(v[i * d + top])) top = t;
            }
            cr_assert(v[i * d + top] > 0.0, "the largest coordinate is positive");
        }
    }
}

Test(blas, eigenvectors_by_hand)
{
    const double a[9] = {2, 0, 0, 0, 5, 0, 0, 0, 3};
    const double want[9] = {0, 1, 0, 0, 0, 1, 1, 0, 0};
    double v[9], values[3];
    cr_assert(vq_eigen_symmetric(a, 3, v, values, NULL) == VQ_OK);
    cr_assert(values[0] == 5.0 && values[1] == 3.0 && values[2] == 2.0);
    for (int i = 0; i < 9; i++) cr_assert(fabs(v[i] - want[i]) < 1e-15);
}

/* A rotation times a positive matrix: the rotation comes back. */
Test(blas, procrustes)
{
    static double q[MOST * MOST], s[MOST * MOST], a[MOST * MOST], got[MOST * MOST], values[MOST];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 43);
    for (size_t d = 0; d < MOST; d += 3) {
        fill_f64(&r, a, d * d);
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < i; j++) a[i * d + j] = a[j * d + i];
        cr_assert(vq_eigen_symmetric(a, d, q, values, NULL) == VQ_OK);
        fill_f64(&r, a, d * d);
        for (size_t i = 0; i < d * d; i++) s[i] = 0.0;
        for (size_t i = 0; i < d; i++) /* s = a a^T + 1 */
            for (size_t j = 0; j < d; j++) {
                for (size_t t = 0; t < d; t++) s[i * d + j] += a[i * d + t] * a[j * d + t];
                s[i * d + j] += i == j ? 1.0 : 0.0;
            }
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) {
                a[i * d + j] = 0.0;
                for (size_t t = 0; t < d; t++) a[i * d + j] += q[i * d + t] * s[t * d + j];
            }
        cr_assert(vq_procrustes(a, d, got, NULL) == VQ_OK);
        orthonormal(got, d);
        for (size_t i = 0; i < d * d; i++) cr_assert(fabs(got[i] - q[i]) < 1e-9, "d=%zu", d);
    }
}

Test(blas, not_finite)
{
    double a[4] = {1.0, NAN, NAN, 1.0}, out[4], values[2];
    vq_error err;
    cr_assert(vq_eigen_symmetric(a, 2, out, values, &err) == VQ_EINVAL);
    cr_assert(vq_procrustes(a, 2, out, &err) == VQ_EINVAL);
    a[1] = a[2] = INFINITY;
    cr_assert(vq_eigen_symmetric(a, 2, out, values, &err) == VQ_EINVAL);
}

Test(blas, kernels_older_than_the_processor_are_not_taken)
{
    const uint32_t avx2 = VQ_CPU_AVX2, avx512 = VQ_CPU_AVX2 | VQ_CPU_AVX512;
    const struct {
        const char *core;
        uint32_t cpu;
        const char *better;
    } cases[] = {
        {"Prescott", avx512, "SkylakeX"},
        {"PRESCOTT", avx512 | VQ_CPU_VNNI, "SkylakeX"},
        {"Prescott", avx2, "Haswell"},
        {"Sandybridge", avx2, "Haswell"},
        {"Prescott", 0, NULL},
        {"Haswell", avx512, NULL},
        {"Cooperlake", avx512, NULL},
        {"SapphireRapids", avx512, NULL},
        {"Zen", avx2, NULL},
        {"one to come", avx512, NULL},
        {"neoversen1", VQ_CPU_NEON, NULL},
        {NULL, avx512, NULL},
    };
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        const char *got = vq_blas_better_core(cases[i].core, cases[i].cpu);
        cr_assert((got == NULL) == (cases[i].better == NULL), "case %zu", i);
        cr_assert(got == NULL || strcmp(got, cases[i].better) == 0, "case %zu: %s", i, got);
    }
}

/* Every allocation fails once; at the end none is left to fail. */
Test(blas, out_of_memory)
{
    const double a[4] = {2.0, 1.0, 1.0, 3.0};
    double out[4], values[2];
    for (int which = 0; which < 2; which++) {
        vq_status rc = VQ_ENOMEM;
        for (uint64_t n = 1; rc != VQ_OK; n++) {
            cr_assert(n < 20);
            vq_mem_fail_after(n);
            rc = which == 0 ? vq_eigen_symmetric(a, 2, out, values, NULL)
                            : vq_procrustes(a, 2, out, NULL);
            vq_mem_fail_after(0);
            cr_assert(rc == VQ_OK || rc == VQ_ENOMEM);
            cr_assert(n > 1 || rc == VQ_ENOMEM, "the first allocation failed");
        }
    }
}
