/* SPDX-License-Identifier: Apache-2.0 */
/* Second lists against the definition, in double, one row and one list at a time. */
#include "src/train/spill.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/train/kmeans.h"
#include "tests/harness/harness.h"

/* |s|^2 + (s . r / |r|)^2 for the residuals r in list a and s in list b. */
static double cost(const float *x, const float *a, const float *b, size_t d)
{
    double length = 0.0, along = 0.0, own = 0.0;
    for (size_t j = 0; j < d; j++) {
        double r = (double)x[j] - (double)a[j], s = (double)x[j] - (double)b[j];
        length += s * s, along += s * r, own += r * r;
    }
    return length + (own > 0.0 ? along * along / own : 0.0);
}

static void compare(size_t n, size_t d, size_t k, uint64_t seed)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *x = vq_alloc_f32(n, d), *c = vq_alloc_f32(k, d), *bias = vq_alloc_f32(1, k);
    float *scratch = vq_alloc_f32(1, vq_spill_scratch(d, k)), *dots = vq_alloc_f32(n, k);
    uint32_t assign[VQ_ASSIGN_TILE], second[VQ_ASSIGN_TILE];
    size_t copies = 0;
    fill_normal(&r, x, n * d);
    fill_normal(&r, c, k * d);
    vq_kmeans_bias(c, k, d, bias);
    vq_kmeans_assign(vq_kernels_get(), x, n, d, c, bias, k, dots, assign);
    vq_spill_assign(x, n, d, c, bias, k, assign, scratch, second);
    for (size_t i = 0; i < n; i++) {
        const float *row = x + i * d, *own = c + assign[i] * d;
        double limit = cost(row, own, own, d), best = INFINITY, slack = 1e-4 * (1.0 + limit);
        for (size_t l = 0; l < k; l++)
            if (l != assign[i]) best = fmin(best, cost(row, own, c + l * d, d));
        if (second[i] == VQ_NO_LIST) {
            cr_assert(best > limit - slack, "row %zu of %zu: none, but %g < %g", i, n, best, limit);
            continue;
        }
        copies++;
        cr_assert(second[i] < k && second[i] != assign[i]);
        double got = cost(row, own, c + second[i] * d, d);
        cr_assert(got < best + slack && got < limit + slack, "row %zu: %g, best %g, limit %g", i,
                  got, best, limit);
    }
    cr_assert(k < 16 || n < 32 || copies > 0, "%zu lists", k);
    vq_mem_free(x), vq_mem_free(c), vq_mem_free(bias);
    vq_mem_free(scratch), vq_mem_free(dots);
}

Test(spill, the_cheapest_that_gains)
{
    compare(256, 24, 16, 1);
    compare(255, 7, 64, 2);
    compare(33, 40, 1025, 3); /* in two blocks */
    compare(1, 3, 2500, 4);
    compare(100, 5, 2, 5);
    compare(256, 16, 1, 6);
}

Test(spill, none_where_there_is_nothing_to_gain)
{
    enum { D = 4, K = 3 };
    const float c[K * D] = {1, 2, 3, 4, 1, 2, 3, 4, 100, 0, 0, 0}; /* two alike, one far */
    const float x[2 * D] = {1, 2, 3, 4, 1, 2, 3, 5};               /* on a centroid, and near it */
    float bias[K];
    float *scratch = vq_alloc_f32(1, vq_spill_scratch(D, K));
    uint32_t assign[2] = {0, 0}, second[2] = {7, 7};
    vq_kmeans_bias(c, K, D, bias);
    vq_spill_assign(x, 2, D, c, bias, K, assign, scratch, second);
    cr_assert(second[0] == VQ_NO_LIST && second[1] == VQ_NO_LIST);
    vq_mem_free(scratch);
}
