/* SPDX-License-Identifier: Apache-2.0 */
/* avx512vbmi.c -- the scan of 8-bit codes where VPERMI2B looks 64 bytes up in 128 at once.  A table
 * of 256 is four registers: two look-ups by the low seven bits, and the top bit chooses. */
#include <immintrin.h>

#include "src/math/kernels.h"

#define INLINE static inline __attribute__((always_inline))

extern const vq_kernels vq_kernels_avx512vbmi;

INLINE __m512i load_one(const uint8_t *row)
{
    return _mm512_castsi256_si512(_mm256_load_si256((const __m256i *)row));
}

/* The same row of two blocks side by side. */
INLINE __m512i load_two(const uint8_t *first, const uint8_t *second)
{
    return _mm512_inserti64x4(load_one(first), _mm256_load_si256((const __m256i *)second), 1);
}

/* Sums of bytes in 16 bits: all adds whole pairs of bytes, high the upper byte of each.  The lower
 * one's sum: */
INLINE __m512i even_of(__m512i all, __m512i high)
{
    return _mm512_sub_epi16(all, _mm512_slli_epi16(high, 8));
}

/* Writes the 32 sums of each block in order. */
INLINE void store_pair(__m512i even, __m512i high, uint16_t *sums, int pair)
{
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    __m512i a = _mm512_unpacklo_epi16(even, high), b = _mm512_unpackhi_epi16(even, high);
    _mm512_store_si512(sums, _mm512_permutex2var_epi64(a, first, b));
    if (pair) _mm512_store_si512(sums + VQ_BLOCK, _mm512_permutex2var_epi64(a, second, b));
}

/* Held in registers: else gcc 12 loads them again for each pair (measured: 1.4 times). */
#define LOAD_TABLE(lut)                                                                            \
    __m512i t0 = _mm512_load_si512(lut), t1 = _mm512_load_si512((lut) + 64);                       \
    __m512i t2 = _mm512_load_si512((lut) + 128), t3 = _mm512_load_si512((lut) + 192);              \
    __asm__("" : "+v"(t0), "+v"(t1), "+v"(t2), "+v"(t3))

#define ADD_LOOKUPS(code, all, high)                                                               \
    do {                                                                                           \
        __mmask64 top_ = _mm512_movepi8_mask(code);                                                \
        __m512i r_ = _mm512_mask_blend_epi8(top_, _mm512_permutex2var_epi8(t0, code, t1),          \
                                            _mm512_permutex2var_epi8(t2, code, t3));               \
        (all) = _mm512_add_epi16(all, r_);                                                         \
        (high) = _mm512_add_epi16(high, _mm512_srli_epi16(r_, 8));                                 \
        __asm__("" : "+v"(all), "+v"(high));                                                       \
    } while (0)

/* Scans 2 * pairs blocks, or one fewer if `odd`, with their sums in registers, and asks for as much
 * of `ahead` meanwhile: before the scan that would take longer than it saves.  `pairs` and `odd`
 * are constants where this is inlined. */
INLINE void scan_group(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t m,
                       uint16_t *sums, const int pairs, const int odd)
{
    const size_t block_bytes = m * VQ_BLOCK;
    __m512i all[4], high[4];
#pragma GCC unroll 4
    for (int g = 0; g < pairs; g++) all[g] = high[g] = _mm512_setzero_si512();
    for (size_t j = 0; j < m; j++) {
        LOAD_TABLE(lut);
#pragma GCC unroll 4
        for (int g = 0; g < pairs; g++) {
            _mm_prefetch(ahead + g * 64, _MM_HINT_T0);
            int pair = !(odd && g == pairs - 1);
            const uint8_t *at = codes + (size_t)(2 * g) * block_bytes;
            __m512i code = pair ? load_two(at, at + block_bytes) : load_one(at);
            ADD_LOOKUPS(code, all[g], high[g]);
        }
        lut += 256;
        codes += VQ_BLOCK;
        ahead += pairs * 64;
    }
#pragma GCC unroll 4
    for (int g = 0; g < pairs; g++)
        store_pair(even_of(all[g], high[g]), high[g], sums + 2 * g * (int)VQ_BLOCK,
                   !(odd && g == pairs - 1));
}

/* Groups of eight blocks (measured: as fast as twelve or sixteen); the last group by its size, for
 * lists are short. */
static void pq8_scan(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t nblocks,
                     size_t m, uint16_t *restrict sums)
{
    const size_t group_bytes = 8 * m * VQ_BLOCK;
    for (; nblocks > 8; nblocks -= 8) {
        scan_group(lut, codes, codes + group_bytes, m, sums, 4, 0);
        codes += group_bytes;
        sums += 8 * VQ_BLOCK;
    }
    if (ahead == NULL) ahead = codes + nblocks * m * VQ_BLOCK;
    switch (nblocks) {
    case 1: scan_group(lut, codes, ahead, m, sums, 1, 1); break;
    case 2: scan_group(lut, codes, ahead, m, sums, 1, 0); break;
    case 3: scan_group(lut, codes, ahead, m, sums, 2, 1); break;
    case 4: scan_group(lut, codes, ahead, m, sums, 2, 0); break;
    case 5: scan_group(lut, codes, ahead, m, sums, 3, 1); break;
    case 6: scan_group(lut, codes, ahead, m, sums, 3, 0); break;
    case 7: scan_group(lut, codes, ahead, m, sums, 4, 1); break;
    case 8: scan_group(lut, codes, ahead, m, sums, 4, 0); break;
    default: break;
    }
}

/* Gathered codes lie as registers want them: for each group of up to six pairs of blocks, row by
 * row, the pairs' rows side by side.  Six pairs, for the more share a table, the better; with
 * eight, sums no longer fit into registers. */
enum { MOST_PAIRS = 6 };

static void pq8_gather(const uint8_t *const *blocks, size_t nblocks, size_t m,
                       uint8_t *restrict out)
{
    while (nblocks > 0) {
        size_t n = nblocks < 2 * MOST_PAIRS ? nblocks : 2 * MOST_PAIRS, pairs = (n + 1) / 2;
        for (size_t g = 0; g < pairs; g++) {
            const uint8_t *a = blocks[2 * g], *b = 2 * g + 1 < n ? blocks[2 * g + 1] : a;
            for (size_t j = 0; j < m; j++, a += VQ_BLOCK, b += VQ_BLOCK)
                _mm512_store_si512(out + (j * pairs + g) * 64, load_two(a, b));
        }
        out += pairs * m * 64;
        blocks += n;
        nblocks -= n;
    }
}

/* Which of two blocks have a sum of their least or more: bit 0, bit 1. */
INLINE unsigned reach_of(__m512i even, __m512i high, const uint16_t *least, int pair)
{
    __m512i from = _mm512_set1_epi16((short)least[0]);
    if (pair) from = _mm512_mask_set1_epi16(from, 0xffff0000u, (short)least[1]);
    __mmask32 most = _mm512_cmpge_epu16_mask(_mm512_max_epu16(even, high), from);
    return (unsigned)((most & 0xffffu) != 0) | (unsigned)(pair && most >> 16 != 0) << 1;
}

/* Few blocks are reached, and no others' sums are written. */
INLINE size_t scan_gathered(const uint8_t *lut, const uint8_t *codes, size_t m,
                            const uint16_t *least, uint16_t *sums, size_t first, uint32_t *reached,
                            const int pairs, int odd)
{
    __m512i all[MOST_PAIRS], high[MOST_PAIRS];
    size_t n = 0;
#pragma GCC unroll 6
    for (int g = 0; g < pairs; g++) all[g] = high[g] = _mm512_setzero_si512();
    for (size_t j = 0; j < m; j++, lut += 256) {
        LOAD_TABLE(lut);
#pragma GCC unroll 6
        for (int g = 0; g < pairs; g++, codes += 64) {
            __m512i code = _mm512_load_si512(codes);
            ADD_LOOKUPS(code, all[g], high[g]);
        }
    }
#pragma GCC unroll 6
    for (int g = 0; g < pairs; g++) {
        const int pair = !(odd && g == pairs - 1);
        const __m512i even = even_of(all[g], high[g]);
        unsigned reach = reach_of(even, high[g], least + 2 * g, pair);
        if (__builtin_expect(reach == 0, 1)) continue;
        store_pair(even, high[g], sums + 2 * g * (int)VQ_BLOCK, pair);
        reached[n] = (uint32_t)(first + 2 * (size_t)g);
        n += reach & 1u;
        if (reach > 1) reached[n++] = (uint32_t)(first + 2 * (size_t)g + 1);
    }
    return n;
}

static size_t pq8_gathered(const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m,
                           const uint16_t *least, uint16_t *restrict sums,
                           uint32_t *restrict reached)
{
    size_t b = 0, n = 0;
    for (; nblocks - b >= 2 * MOST_PAIRS; b += 2 * MOST_PAIRS)
        n += scan_gathered(lut, codes + b * m * VQ_BLOCK, m, least + b, sums + b * VQ_BLOCK, b,
                           reached + n, MOST_PAIRS, 0);
    int odd = (int)(nblocks % 2);
    codes += b * m * VQ_BLOCK, least += b, sums += b * VQ_BLOCK, reached += n;
    switch ((nblocks - b + 1) / 2) {
    case 1: return n + scan_gathered(lut, codes, m, least, sums, b, reached, 1, odd);
    case 2: return n + scan_gathered(lut, codes, m, least, sums, b, reached, 2, odd);
    case 3: return n + scan_gathered(lut, codes, m, least, sums, b, reached, 3, odd);
    case 4: return n + scan_gathered(lut, codes, m, least, sums, b, reached, 4, odd);
    case 5: return n + scan_gathered(lut, codes, m, least, sums, b, reached, 5, odd);
    case 6: return n + scan_gathered(lut, codes, m, least, sums, b, reached, 6, odd);
    default: return n;
    }
}

const vq_kernels vq_kernels_avx512vbmi = {
    .isa = "avx512vbmi",
    .pq8_scan = pq8_scan,
    .pq8_gather = pq8_gather,
    .pq8_gathered = pq8_gathered,
};
