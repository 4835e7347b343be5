/* SPDX-License-Identifier: Apache-2.0 */
/* Whitening: products stay, and squared length is error as the queries feel it. */
#include "src/train/whiten.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "tests/harness/harness.h"

enum { D = 13, NQ = 400 };

static double product(const float *a, const float *b)
{
    double sum = 0.0;
    for (size_t j = 0; j < D; j++) sum += (double)a[j] * (double)b[j];
    return sum;
}

static void apply(const float *matrix, const float *x, float *y)
{
    for (size_t i = 0; i < D; i++) y[i] = (float)product(matrix + i * D, x);
}

/* Queries that use a few directions far more than the others. */
static void make_queries(vq_rng *r, float *q)
{
    fill_normal(r, q, NQ * D);
    for (size_t i = 0; i < NQ * D; i++) q[i] *= expf(-0.4f * (float)(i % D));
}

Test(whiten, keeps_products_and_weighs_error)
{
    vq_rng r;
    vq_error err;
    static float q[NQ * D], rows[D * D], queries[D * D], x[D], y[D], u[D], v[D];
    vq_rng_init(&r, test_seed(), 1);
    make_queries(&r, q);
    cr_assert_eq(vq_whiten(q, NQ, D, 1e-4, 1, rows, queries, &err), VQ_OK);
    double trace = 0.0;
    for (size_t i = 0; i < NQ; i++) trace += product(q + i * D, q + i * D) / NQ;
    for (int it = 0; it < 100; it++) {
        fill_normal(&r, x, D);
        fill_normal(&r, y, D);
        apply(rows, x, u);
        apply(queries, y, v);
        cr_assert(fabs(product(u, v) - product(x, y)) < 1e-3, "%g, not %g", product(u, v),
                  product(x, y));
        double felt = 0.0; /* E (q . x)^2, in units of tr(H) / d */
        for (size_t i = 0; i < NQ; i++) felt += pow(product(q + i * D, x), 2.0) / NQ;
        felt *= D / trace;
        cr_assert(fabs(product(u, u) - felt) < 1e-3 * (felt + product(x, x)), "%g, not %g",
                  product(u, u), felt);
    }
}

Test(whiten, shrinks_to_the_identity)
{
    vq_rng r;
    vq_error err;
    static float q[NQ * D], rows[D * D], queries[D * D];
    vq_rng_init(&r, test_seed(), 2);
    make_queries(&r, q);
    for (int zero = 0; zero < 2; zero++) {
        if (zero) memset(q, 0, sizeof q);
        cr_assert_eq(vq_whiten(q, NQ, D, zero ? 0.1 : 1.0, 1, rows, queries, &err), VQ_OK);
        for (size_t i = 0; i < D * D; i++) {
            float want = i / D == i % D ? 1.0f : 0.0f;
            cr_assert(fabsf(rows[i] - want) < 1e-6f && fabsf(queries[i] - want) < 1e-6f);
        }
    }
}

Test(whiten, threads_and_few_queries)
{
    vq_rng r;
    vq_error err;
    static float q[NQ * D], a[2 * D * D], b[2 * D * D];
    vq_rng_init(&r, test_seed(), 3);
    make_queries(&r, q);
    for (size_t nq = 1; nq <= NQ; nq += 133) {
        cr_assert_eq(vq_whiten(q, nq, D, 0.1, 1, a, a + D * D, &err), VQ_OK);
        cr_assert_eq(vq_whiten(q, nq, D, 0.1, 2, b, b + D * D, &err), VQ_OK);
        cr_assert(memcmp(a, b, sizeof a) == 0);
        for (size_t i = 0; i < 2 * D * D; i++) cr_assert(isfinite(a[i]));
    }
}

Test(whiten, out_of_memory)
{
    vq_error err;
    static float q[NQ * D], rows[D * D], queries[D * D];
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        vq_mem_fail_after(n);
        vq_status rc = vq_whiten(q, NQ, D, 0.1, 1, rows, queries, &err);
        vq_mem_fail_after(0);
        if (rc == VQ_OK) break;
        cr_assert_eq(rc, VQ_ENOMEM);
        failures++;
    }
    cr_assert_geq(failures, 2);
}

Test(cholesky, factors_and_inverts)
{
    vq_rng r;
    vq_error err;
    static double a[D * D], l[D * D], inverse[D * D];
    vq_rng_init(&r, test_seed(), 4);
    for (size_t i = 0; i < D * D; i++) l[i] = i % D <= i / D ? vq_rng_normal(&r) : 0.0;
    for (size_t i = 0; i < D; i++) l[i * D + i] = 1.0 + fabs(l[i * D + i]);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            a[i * D + j] = 0.0;
            for (size_t t = 0; t < D; t++) a[i * D + j] += l[i * D + t] * l[j * D + t];
        }
    cr_assert_eq(vq_cholesky(a, D, inverse, &err), VQ_OK);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            double sum = 0.0;
            for (size_t t = 0; t < D; t++) sum += l[i * D + t] * inverse[t * D + j];
            cr_assert(fabs(a[i * D + j] - l[i * D + j]) < 1e-9, "%zu, %zu", i, j);
            cr_assert(fabs(sum - (i == j ? 1.0 : 0.0)) < 1e-6, "%zu, %zu", i, j);
        }
    memset(a, 0, sizeof a);
    cr_assert_eq(vq_cholesky(a, D, inverse, &err), VQ_EINVAL);
    a[3] = NAN;
    cr_assert_eq(vq_cholesky(a, D, inverse, &err), VQ_EINVAL);
}
