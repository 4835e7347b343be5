/* SPDX-License-Identifier: Apache-2.0 */
/* avx512gfni.c -- planes of bits into bytes: VPERMB brings the planes of eight coordinates into 64
 * bits, whose product with a matrix of ones on the diagonal, by GF2P8AFFINEQB, is their transpose:
 * a byte a coordinate.  VPDPBUSD multiplies them with the two halves of a number: 128 times one
 * plus seven bits. */
#include <immintrin.h>
#include <stddef.h>

#include "src/math/kernels.h"

extern const vq_kernels vq_kernels_avx512gfni;

/* Of four groups. */
typedef struct plan {
    uint8_t from[64];         /* which byte of their planes, for each of eight planes of eight */
    int8_t high[64], low[64]; /* the halves of 64 numbers */
    uint64_t bytes, some;     /* bytes that their planes take; those of `from` that are there */
    uint32_t size;            /* the number of those bytes */
    uint32_t unused[11];
} plan;
_Static_assert(sizeof(plan) == sizeof(vq_planes_plan), "a plan in the place of another");

static void planes_plan(const int16_t *x, const uint8_t *count, size_t groups,
                        vq_planes_plan *restrict out)
{
    /* Of the 64 bits of one half of a group byte t is the plane of weight 2^(7 - t), which stands
     * 16 - 2t bytes before the end of the group; the second half is a byte behind. */
    const __m512i before = _mm512_broadcast_i32x4(
        _mm_setr_epi8(-16, -14, -12, -10, -8, -6, -4, -2, -15, -13, -11, -9, -7, -5, -3, -1));
    const __m512i of_group =
        _mm512_set_epi64(0x0303030303030303, 0x0303030303030303, 0x0202020202020202,
                         0x0202020202020202, 0x0101010101010101, 0x0101010101010101, 0, 0);
    plan *p = (plan *)(void *)out;
    for (size_t j = 0; j < groups; j += 4, x += 64, p++) {
        uint32_t sizes;
        __builtin_memcpy(&sizes, count + j, sizeof sizes);
        sizes *= 2;                                /* bytes of each of four groups, 16 at most, */
        const uint32_t ends = sizes * 0x01010101u; /* ..and where they end */
        __m512i end = _mm512_shuffle_epi8(_mm512_set1_epi32((int)ends), of_group);
        __m512i size = _mm512_shuffle_epi8(_mm512_set1_epi32((int)sizes), of_group);
        __m512i v = _mm512_loadu_si512(x), w = _mm512_loadu_si512(x + 32);
        const __m512i seven = _mm512_set1_epi16(127);
        p->size = ends >> 24;
        p->bytes = p->size > 0 ? UINT64_MAX >> (64 - p->size) : 0;
        p->some = ~_mm512_movepi8_mask(_mm512_add_epi8(size, before));
        _mm512_storeu_si512(p->from, _mm512_add_epi8(end, before));
        _mm256_storeu_si256((__m256i *)p->high, _mm512_cvtepi16_epi8(_mm512_srai_epi16(v, 7)));
        _mm256_storeu_si256((__m256i *)p->high + 1, _mm512_cvtepi16_epi8(_mm512_srai_epi16(w, 7)));
        _mm256_storeu_si256((__m256i *)p->low, _mm512_cvtepi16_epi8(_mm512_and_si512(v, seven)));
        _mm256_storeu_si256((__m256i *)p->low + 1,
                            _mm512_cvtepi16_epi8(_mm512_and_si512(w, seven)));
    }
}

static int32_t planes_sum(const vq_planes_plan *plans, const uint8_t *planes, size_t groups)
{
    const __m512i diagonal = _mm512_set1_epi64((long long)0x8040201008040201);
    const plan *p = (const plan *)(const void *)plans;
    __m512i high = _mm512_setzero_si512(), low = high;
    for (size_t j = 0; j < groups; j += 4, p++) {
        __m512i v = _mm512_maskz_loadu_epi8(p->bytes, planes);
        v = _mm512_maskz_permutexvar_epi8(p->some, _mm512_loadu_si512(p->from), v);
        v = _mm512_gf2p8affine_epi64_epi8(diagonal, v, 0);
        high = _mm512_dpbusd_epi32(high, v, _mm512_loadu_si512(p->high));
        low = _mm512_dpbusd_epi32(low, v, _mm512_loadu_si512(p->low));
        planes += p->size;
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
}

const vq_kernels vq_kernels_avx512gfni = {
    .isa = "avx512vbmi",
    .planes_plan = planes_plan,
    .planes_sum = planes_sum,
};
