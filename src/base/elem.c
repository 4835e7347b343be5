/* SPDX-License-Identifier: Apache-2.0 */
/* elem.c -- element types and metrics by name and size; binary16 by integer arithmetic, so that
 * every machine gives the same bits. */
#include "src/base/elem.h"

#include <string.h>

const char *vq_metric_name(uint32_t metric)
{
    switch (metric) {
    case VQ_METRIC_L2: return "l2";
    case VQ_METRIC_IP: return "ip";
    case VQ_METRIC_COSINE: return "cosine";
    default: return "?";
    }
}

const char *vq_elem_name(uint32_t elem)
{
    switch (elem) {
    case VQ_F32: return "f32";
    case VQ_F16: return "f16";
    case VQ_I8: return "i8";
    case VQ_U8: return "u8";
    case VQ_ELEM_NONE: return "none";
    default: return "?";
    }
}

size_t vq_elem_size(uint32_t elem)
{
    switch (elem) {
    case VQ_F32: return 4;
    case VQ_F16: return 2;
    case VQ_I8:
    case VQ_U8: return 1;
    default: return 0;
    }
}

float vq_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, bits = h & 0x3ffu;
    float f;
    if (exponent == 0) { /* zero or subnormal: bits * 2^-24, exact in f32 */
        f = (float)bits * 0x1p-24f;
        return sign != 0 ? -f : f;
    }
    uint32_t u = exponent == 31 ? sign | 0x7f800000u | bits << 13
                                : sign | (exponent + 112) << 23 | bits << 13;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* x * 2^-shift to the nearest integer, ties to even; 1 <= shift <= 31. */
static uint32_t shift_round(uint32_t x, uint32_t shift)
{
    uint32_t half = 1u << (shift - 1), kept = x >> shift, lost = x & ((half << 1) - 1);
    return kept + (lost > half || (lost == half && (kept & 1u) != 0));
}

uint16_t vq_f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu, h;
    if (magnitude > 0x7f800000u) {
        h = 0x7e00u; /* NaN */
    } else if (magnitude >= 0x477ff000u) {
        h = 0x7c00u; /* 65520 and more */
    } else if (magnitude >= 0x38800000u) {
        h = shift_round(magnitude - 0x38000000u, 13); /* a carry runs into the exponent, rightly */
    } else {
        uint32_t exponent = magnitude >> 23; /* below 2^-14: in units of 2^-24 */
        h = exponent < 102 ? 0 : shift_round((magnitude & 0x7fffffu) | 0x800000u, 126 - exponent);
    }
    return (uint16_t)(sign | h);
}
