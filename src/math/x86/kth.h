/* SPDX-License-Identifier: Apache-2.0 */
/* kth.h -- the k-th largest, by bisection of what floats are in order as integers.  Included where
 * count_from, least_from and largest stand, so that the compiler sees them. */
#ifndef VQ_MATH_X86_KTH_H
#define VQ_MATH_X86_KTH_H

/* As in scalar.c, but ends as soon as a bound has exactly k values on its right side. */
static float kth_f32(const float *x, size_t n, size_t k)
{
    float least = least_from(x, n, -__builtin_inff()) + 0.0f, most = largest(x, n) + 0.0f;
    int32_t lo, hi;
    __builtin_memcpy(&lo, &least, sizeof lo);
    __builtin_memcpy(&hi, &most, sizeof hi);
    lo = lo < 0 ? lo ^ INT32_MAX : lo;
    hi = hi < 0 ? hi ^ INT32_MAX : hi;
    float at = least;
    while (lo < hi) {
        int32_t mid = (int32_t)(hi - ((int64_t)hi - lo) / 2),
                bits = mid < 0 ? mid ^ INT32_MAX : mid;
        float between;
        __builtin_memcpy(&between, &bits, sizeof between);
        size_t count = count_from(x, n, between);
        if (count < k) {
            hi = mid - 1;
            continue;
        }
        at = between;
        if (count == k) break;
        lo = mid;
    }
    return least_from(x, n, at) + 0.0f;
}

#endif
