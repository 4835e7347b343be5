/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/elem.h"
#include "tests/harness/harness.h"

Test(elem, names_and_sizes)
{
    cr_assert_str_eq(vq_elem_name(VQ_F32), "f32");
    cr_assert_str_eq(vq_elem_name(VQ_F16), "f16");
    cr_assert_str_eq(vq_elem_name(VQ_I8), "i8");
    cr_assert_str_eq(vq_elem_name(VQ_U8), "u8");
    cr_assert_str_eq(vq_elem_name(VQ_ELEM_NONE), "none");
    cr_assert_str_eq(vq_elem_name(77), "?");
    cr_assert_str_eq(vq_metric_name(VQ_METRIC_L2), "l2");
    cr_assert_str_eq(vq_metric_name(VQ_METRIC_IP), "ip");
    cr_assert_str_eq(vq_metric_name(VQ_METRIC_COSINE), "cosine");
    cr_assert_str_eq(vq_metric_name(0), "?");
    static const size_t sizes[] = {0, 4, 2, 1, 1, 0, 0};
    for (uint32_t e = 0; e < 7; e++) cr_assert(vq_elem_size(e) == sizes[e]);
}

/* Every half is what IEEE 754 says, and survives the way there and back. */
Test(elem, all_halves)
{
    for (uint32_t h = 0; h < 65536; h++) {
        uint32_t exponent = h >> 10 & 31, bits = h & 1023;
        float f = vq_f16_to_f32((uint16_t)h);
        if (exponent == 31 && bits != 0) {
            cr_assert(isnan(f) && isnan(vq_f16_to_f32(vq_f32_to_f16(f))));
            continue;
        }
        double want = exponent == 31  ? INFINITY
                      : exponent == 0 ? ldexp(bits, -24)
                                      : ldexp(1024.0 + bits, (int)exponent - 25);
        if ((h & 0x8000) != 0) want = -want;
        cr_assert((double)f == want && (signbit(f) != 0) == ((h & 0x8000) != 0), "half %04x", h);
        cr_assert(vq_f32_to_f16(f) == h, "half %04x", h);
    }
}

/* The nearest half; of two equally near the even one. */
Test(elem, rounding)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = vq_f16_to_f32((uint16_t)h), high = vq_f16_to_f32((uint16_t)(h + 1));
        float middle = 0.5f * (low + high); /* exact in f32 */
        cr_assert(vq_f32_to_f16(middle) == (h % 2 == 0 ? h : h + 1), "above %04x", h);
        cr_assert(vq_f32_to_f16(nextafterf(middle, 0.0f)) == h, "above %04x", h);
        cr_assert(vq_f32_to_f16(nextafterf(middle, 1e9f)) == h + 1, "above %04x", h);
        cr_assert(vq_f32_to_f16(-middle) == (0x8000 | (h % 2 == 0 ? h : h + 1)));
    }
    cr_assert(vq_f32_to_f16(65519.996f) == 0x7bff);
    cr_assert(vq_f32_to_f16(65520.0f) == 0x7c00);
    cr_assert(vq_f32_to_f16(-INFINITY) == 0xfc00);
    cr_assert(vq_f32_to_f16(3e38f) == 0x7c00);
    cr_assert(vq_f32_to_f16(1e-45f) == 0);
}
