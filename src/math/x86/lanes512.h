/* SPDX-License-Identifier: Apache-2.0 */
/* lanes512.h -- what files of AVX-512 kernels share: the first lanes, lanes that are kept, sums
 * of bytes in 16 bits, sums that are scaled. */
#ifndef VQ_MATH_X86_LANES512_H
#define VQ_MATH_X86_LANES512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"

#define INLINE static inline __attribute__((always_inline))

INLINE __mmask16 first16(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

/* Compressed in registers, since a compressing store is slow on Zen 4; no more is written than
 * kept. */
INLINE size_t keep_some(__m512 s, __mmask16 k, size_t i, uint32_t *idx, float *score)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i at = _mm512_add_epi32(_mm512_set1_epi32((int)i), lanes);
    __mmask16 put = first16((size_t)__builtin_popcount(k));
    _mm512_mask_storeu_epi32(idx, put, _mm512_maskz_compress_epi32(k, at));
    _mm512_mask_storeu_ps(score, put, _mm512_maskz_compress_ps(k, s));
    return (size_t)__builtin_popcount(k);
}

/* Sums of bytes in 16 bits: `all` adds whole pairs of bytes, `high` the upper byte of each, so that
 * the lower one's sum is all - 256 * high. */
typedef struct sums2 {
    __m512i all, high;
} sums2;

INLINE void add_bytes(sums2 *s, __m512i r)
{
    s->all = _mm512_add_epi16(s->all, r);
    s->high = _mm512_add_epi16(s->high, _mm512_srli_epi16(r, 8));
}

/* Sums of a block whose rows have gone to the two halves by turns. */
INLINE void store_halves(sums2 s, uint16_t *sums)
{
    __m256i all =
        _mm256_add_epi16(_mm512_castsi512_si256(s.all), _mm512_extracti64x4_epi64(s.all, 1));
    __m256i high =
        _mm256_add_epi16(_mm512_castsi512_si256(s.high), _mm512_extracti64x4_epi64(s.high, 1));
    __m256i even = _mm256_sub_epi16(all, _mm256_slli_epi16(high, 8));
    __m256i a = _mm256_unpacklo_epi16(even, high), b = _mm256_unpackhi_epi16(even, high);
    _mm256_store_si256((__m256i *)sums, _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_store_si256((__m256i *)(sums + 16), _mm256_permute2x128_si256(a, b, 0x31));
}

/* Products of a query with the rows of a panel, as they are handed out: see panel_dots. */
INLINE void panel_store(float *out, __m512i sum, const int32_t *sums, const vq_panel_scale *scale)
{
    __m512i of_sums =
        _mm512_mullo_epi32(_mm512_loadu_si512(sums), _mm512_set1_epi32(scale->of_sum));
    sum = _mm512_sub_epi32(_mm512_add_epi32(sum, of_sums), _mm512_set1_epi32(scale->less));
    _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale->unit)));
}

/* n sums of integers as matvec_u8 hands them out. */
INLINE void panel_scale(const int32_t *sums, size_t n, const float *step, const float *low,
                        float unit, float sum, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 factor = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, step + i), _mm512_set1_ps(unit));
        __m512 term = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, low + i), _mm512_set1_ps(sum));
        __m512 v = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(k, sums + i));
        _mm512_mask_storeu_ps(out + i, k, _mm512_fmadd_ps(factor, v, term));
    }
}

#endif
