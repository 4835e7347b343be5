/* SPDX-License-Identifier: Apache-2.0 */
/* lanes512.h -- what files of AVX-512 kernels share: the first lanes, lanes that are kept, sums
 * that are scaled. */
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
