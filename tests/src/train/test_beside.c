/* SPDX-License-Identifier: Apache-2.0 */
/* Centres beside one that stays. */
#include "src/train/beside.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

enum { N = 500, D = 9, MOST = 8 };

static double loss(const float *x, const float *held, const float *centres, size_t count)
{
    const vq_kernels *k = vq_kernels_get();
    double sum = 0.0;
    for (size_t i = 0; i < N; i++) {
        float sq = k->l2sq_f32(x + i * D, held, D);
        size_t best = vq_centre_nearest(k, x + i * D, centres, count, D, &sq);
        cr_assert(best <= count);
        for (size_t c = 0; c < count; c++) /* none is nearer */
            cr_assert_geq(k->l2sq_f32(x + i * D, centres + c * D, D), sq);
        sum += (double)sq;
    }
    return sum / N;
}

static size_t find(const float *x, const float *held, size_t want, float *centres)
{
    static float near[N];
    static uint32_t nearest[N];
    return vq_centres_beside(vq_kernels_get(), x, N, D, held, want, 5, centres, near, nearest);
}

/* The more there are the nearer all rows are; clusters of their own get one each. */
Test(beside, centres_come_near)
{
    float x[N * D], held[D] = {0}, centres[MOST * D], again[MOST * D];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    fill_normal(&r, x, N * D);
    for (size_t i = 0; i < N; i++) x[i * D + i % 4] += i % 4 == 0 ? 0.0f : 40.0f;
    double before = loss(x, held, centres, 0);
    for (size_t want = 1; want <= MOST; want++) {
        cr_assert_eq(find(x, held, want, centres), want);
        double now = loss(x, held, centres, want);
        cr_assert_lt(now, before * (want <= 3 ? 0.9 : 1.05));
        before = now;
        cr_assert_eq(find(x, held, want, again), want);
        cr_assert_eq(memcmp(centres, again, want * D * sizeof *centres), 0);
    }
    cr_assert_eq(find(x, held, 3, centres), 3);
    cr_assert_lt(loss(x, held, centres, 3), 2.0 * D); /* what each cluster has within */
}

/* No more centres than there are different rows; none for what no float holds. */
Test(beside, rows_that_are_alike)
{
    float x[N * D], held[D] = {0}, centres[MOST * D];
    memset(x, 0, sizeof x);
    cr_assert_eq(find(x, held, MOST, centres), 0);
    for (size_t i = 0; i < N; i++) x[i * D] = (float)(i % 3);
    cr_assert_eq(find(x, held, MOST, centres), 2);
    cr_assert_eq(loss(x, held, centres, 2), 0.0);
    for (size_t i = 0; i < N; i++) x[i * D] = 1e30f;
    cr_assert_eq(find(x, held, MOST, centres), 0);
}
