/* SPDX-License-Identifier: Apache-2.0 */
/* The score of an answer: against long double, for every metric and element type. */
#include "src/math/score.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

#include "src/base/elem.h"
#include "tests/harness/harness.h"

#define D_MAX 200u

static long double row_value(uint32_t elem, const void *row, size_t j)
{
    switch (elem) {
    case VQ_F32: return (long double)((const float *)row)[j];
    case VQ_F16: return (long double)vq_f16_to_f32(((const uint16_t *)row)[j]);
    case VQ_I8: return (long double)((const int8_t *)row)[j];
    default: return (long double)((const uint8_t *)row)[j];
    }
}

static void fill_row(vq_rng *r, uint32_t elem, void *row, size_t d)
{
    for (size_t j = 0; j < d; j++) {
        float f = (float)vq_rng_normal(r);
        if (elem == VQ_F32)
            ((float *)row)[j] = f;
        else if (elem == VQ_F16)
            ((uint16_t *)row)[j] = vq_f32_to_f16(f);
        else
            ((uint8_t *)row)[j] = (uint8_t)vq_rng_u64(r);
    }
}

Test(score, is_the_rounded_exact_value)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int it = 0; it < 3000; it++) {
        uint32_t elem = VQ_F32 + (uint32_t)vq_rng_below(&r, 4);
        size_t d = 1 + vq_rng_below(&r, D_MAX);
        double q[D_MAX], q_sq = 0.0;
        float row[D_MAX];
        long double ip = 0.0L, l2sq = 0.0L, qq = 0.0L, rr = 0.0L, size = 0.0L;
        fill_row(&r, elem, row, d);
        for (size_t j = 0; j < d; j++) {
            q[j] = (double)(float)vq_rng_normal(&r);
            q_sq += q[j] * q[j];
            long double v = row_value(elem, row, j), x = (long double)q[j];
            ip += x * v, size += fabsl(x * v), qq += x * x, rr += v * v, l2sq += (x - v) * (x - v);
        }
        const long double want[4] = {0, l2sq, ip, ip / sqrtl(qq * rr)};
        const long double scale[4] = {0, l2sq, size, size / sqrtl(qq * rr)};
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
            float got = vq_exact_score(vq_kernels_get(), metric, elem, q, q_sq, row, d, 1.0);
            long double bound = fabsl(want[metric]) * (long double)FLT_EPSILON * 0.5001L +
                                scale[metric] * (long double)d * (long double)DBL_EPSILON;
            cr_assert(fabsl((long double)got - want[metric]) <= bound,
                      "metric %u elem %u d %zu: %.9g, want %.9Lg", metric, elem, d, (double)got,
                      want[metric]);
        }
    }
}

Test(score, of_nothing_is_zero)
{
    const double q[3] = {1.0, -2.0, 0.5}, zero[3] = {0.0};
    const float row[3] = {3.0f, 4.0f, 5.0f}, none[3] = {0.0f};
    const vq_kernels *k = vq_kernels_get();
    cr_assert_eq(vq_exact_score(k, VQ_METRIC_COSINE, VQ_F32, zero, 0.0, row, 3, 1.0), 0.0f);
    cr_assert_eq(vq_exact_score(k, VQ_METRIC_COSINE, VQ_F32, q, 5.25, none, 3, 1.0), 0.0f);
    cr_assert_eq(vq_exact_score(k, VQ_METRIC_IP, VQ_F32, q, 5.25, row, 3, 1.0), -2.5f);
    cr_assert_eq(vq_exact_score(k, VQ_METRIC_L2, VQ_F32, q, 5.25, none, 3, 1.0), 5.25f);
    cr_assert(!vq_metric_larger(VQ_METRIC_L2) && vq_metric_larger(VQ_METRIC_IP) &&
              vq_metric_larger(VQ_METRIC_COSINE));
}
