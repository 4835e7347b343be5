/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include "src/base/rng.h"
#include "tests/harness/harness.h"

Test(rng, same_seed_same_numbers)
{
    vq_rng a, b, c, d;
    size_t other_stream = 0, other_seed = 0;
    vq_rng_init(&a, 7, 3);
    vq_rng_init(&b, 7, 3);
    vq_rng_init(&c, 7, 4);
    vq_rng_init(&d, 8, 3);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = vq_rng_u64(&a);
        cr_assert(x == vq_rng_u64(&b));
        other_stream += x == vq_rng_u64(&c);
        other_seed += x == vq_rng_u64(&d);
    }
    cr_assert(other_stream == 0 && other_seed == 0);
}

/* The generator's own recurrence, written out (Blackman and Vigna, xoshiro256starstar.c). */
Test(rng, is_xoshiro)
{
    vq_rng r = {{1, 2, 3, 4}};
    static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < 4; i++) cr_assert(vq_rng_u64(&r) == want[i]);
}

Test(rng, below_is_uniform)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 0);
    for (uint64_t bound = 1; bound <= 40; bound++) {
        size_t counts[40] = {0};
        for (size_t i = 0; i < 2000 * bound; i++) {
            uint64_t x = vq_rng_below(&r, bound);
            cr_assert(x < bound);
            counts[x]++;
        }
        for (uint64_t x = 0; x < bound; x++) /* 2000 expected, sigma below 45 */
            cr_assert(counts[x] > 1700 && counts[x] < 2300, "bound %d", (int)bound);
    }
    for (int i = 0; i < 100; i++) cr_assert(vq_rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

Test(rng, moments)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    double n = 200000, sum = 0, squares = 0, uniform = 0, fourth = 0;
    for (int i = 0; i < (int)n; i++) {
        double u = vq_rng_f64(&r), x = vq_rng_normal(&r);
        cr_assert(u >= 0 && u < 1 && isfinite(x));
        uniform += u;
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    cr_assert(fabs(uniform / n - 0.5) < 0.005);
    cr_assert(fabs(sum / n) < 0.015);
    cr_assert(fabs(squares / n - 1) < 0.02);
    cr_assert(fabs(fourth / n - 3) < 0.15);
}
