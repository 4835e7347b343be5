/* SPDX-License-Identifier: Apache-2.0 */
/* lanes256.h -- what files of AVX2 kernels share: sums of bytes in 16 bits, tables of 16. */
#ifndef VQ_MATH_X86_LANES256_H
#define VQ_MATH_X86_LANES256_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

/* Sums of bytes in 16 bits: `all` adds whole pairs of bytes, `high` the upper byte of each, so that
 * the lower one's sum is all - 256 * high. */
typedef struct sums2 {
    __m256i all, high;
} sums2;

INLINE void add_bytes(sums2 *s, __m256i r)
{
    s->all = _mm256_add_epi16(s->all, r);
    s->high = _mm256_add_epi16(s->high, _mm256_srli_epi16(r, 8));
}

INLINE void store_block(sums2 s, uint16_t *sums)
{
    __m256i even = _mm256_sub_epi16(s.all, _mm256_slli_epi16(s.high, 8));
    __m256i a = _mm256_unpacklo_epi16(even, s.high), b = _mm256_unpackhi_epi16(even, s.high);
    _mm256_store_si256((__m256i *)sums, _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_store_si256((__m256i *)(sums + 16), _mm256_permute2x128_si256(a, b, 0x31));
}

INLINE __m256i table16(const uint8_t *lut)
{
    return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)lut));
}

#endif
