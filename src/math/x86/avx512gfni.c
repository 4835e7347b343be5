/* SPDX-License-Identifier: Apache-2.0 */
/* avx512gfni.c -- planes of bits into bytes: VPERMB brings the planes of eight coordinates into 64
 * bits, whose product with a matrix of ones on the diagonal, by GF2P8AFFINEQB, is their transpose:
 * a byte a coordinate. */
#include <immintrin.h>

#include "src/math/kernels.h"

extern const vq_kernels vq_kernels_avx512gfni;

static int32_t planes_i16(const int16_t *x, const uint8_t *planes, const uint8_t *count,
                          size_t groups)
{
    /* Of the 64 bits of one half of a group byte t is the plane of weight 2^(7 - t), which stands
     * 16 - 2t bytes before the end of the group; the second half is a byte behind. */
    const __m512i before = _mm512_broadcast_i32x4(
        _mm_setr_epi8(-16, -14, -12, -10, -8, -6, -4, -2, -15, -13, -11, -9, -7, -5, -3, -1));
    const __m512i of_group =
        _mm512_set_epi64(0x0303030303030303, 0x0303030303030303, 0x0202020202020202,
                         0x0202020202020202, 0x0101010101010101, 0x0101010101010101, 0, 0);
    const __m512i diagonal = _mm512_set1_epi64((long long)0x8040201008040201);
    __m512i sum = _mm512_setzero_si512();
    for (size_t j = 0; j < groups; j += 4, x += 64) {
        uint32_t sizes;
        __builtin_memcpy(&sizes, count + j, sizeof sizes);
        sizes *= 2; /* bytes of each of four groups, 16 at most, */
        const uint32_t ends = sizes * 0x01010101u, bytes = ends >> 24; /* ..and where they end */
        if (bytes == 0) continue;
        __m512i p = _mm512_maskz_loadu_epi8(UINT64_MAX >> (64 - bytes), planes);
        __m512i end = _mm512_shuffle_epi8(_mm512_set1_epi32((int)ends), of_group);
        __m512i size = _mm512_shuffle_epi8(_mm512_set1_epi32((int)sizes), of_group);
        __mmask64 none = _mm512_movepi8_mask(_mm512_add_epi8(size, before));
        p = _mm512_maskz_permutexvar_epi8(~none, _mm512_add_epi8(end, before), p);
        p = _mm512_gf2p8affine_epi64_epi8(diagonal, p, 0);
        __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(p));
        __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(p, 1));
        sum = _mm512_dpwssd_epi32(sum, low, _mm512_loadu_si512(x));
        sum = _mm512_dpwssd_epi32(sum, high, _mm512_loadu_si512(x + 32));
        planes += bytes;
    }
    return _mm512_reduce_add_epi32(sum);
}

const vq_kernels vq_kernels_avx512gfni = {
    .isa = "avx512vbmi",
    .planes_i16 = planes_i16,
};
