/* SPDX-License-Identifier: Apache-2.0 */
/* avx512_pq.c -- codes with AVX-512 F, BW, VL and DQ: tables, the encoder's nearest codeword, and
 * the scans by byte shuffles. */
#include <immintrin.h>

#include "src/math/kernels.h"
#include "src/math/x86/lanes512.h"

extern const vq_kernels vq_kernels_avx512_pq;

/* ---- tables and encoding ------------------------------------------------------------------- */

/* The products of `times` a sub-vector with 16 * regs neighbouring codewords of a book of rows kk
 * long. */
INLINE void book_dots(const float *x, const float times, const float *book, size_t dsub, size_t kk,
                      __m512 *dot, const int regs)
{
#pragma GCC unroll 16
    for (int r = 0; r < regs; r++) dot[r] = _mm512_setzero_ps();
    for (size_t t = 0; t < dsub; t++) {
        __m512 v = _mm512_set1_ps(times * x[t]);
#pragma GCC unroll 16
        for (int r = 0; r < regs; r++)
            dot[r] = _mm512_fmadd_ps(v, _mm512_loadu_ps(book + t * kk + 16 * r), dot[r]);
    }
}

static void lut_f32(const float *q, const float *cb, size_t m, size_t dsub, size_t kk,
                    float *restrict out)
{
    __m512 dot[16];
    for (size_t j = 0; j < m; j++, q += dsub, cb += dsub * kk, out += kk) {
        if (kk == 16) {
            book_dots(q, 1.0f, cb, dsub, 16, dot, 1);
            _mm512_storeu_ps(out, dot[0]);
        } else {
            book_dots(q, 1.0f, cb, dsub, 256, dot, 16);
#pragma GCC unroll 16
            for (int r = 0; r < 16; r++) _mm512_storeu_ps(out + 16 * r, dot[r]);
        }
    }
}

/* The lane of the smallest, the first of equals. */
INLINE uint8_t argmin16(__m512 v)
{
    __m512 least = _mm512_set1_ps(_mm512_reduce_min_ps(v));
    return (uint8_t)__builtin_ctz(_mm512_cmp_ps_mask(v, least, _CMP_EQ_OQ) | 0x10000u);
}

static void nearest16(const float *x, const float *cb, const float *norm, size_t m, size_t dsub,
                      uint8_t *restrict codes)
{
    for (size_t j = 0; j < m; j++) {
        __m512 dot[1];
        book_dots(x + j * dsub, -2.0f, cb + j * dsub * 16, dsub, 16, dot, 1);
        codes[j] = argmin16(_mm512_add_ps(dot[0], _mm512_loadu_ps(norm + 16 * j)));
    }
}

/* All 256 codewords in registers.  The least value first, then the first codeword that has it. */
static void nearest256(const float *x, const float *cb, const float *norm, size_t m, size_t dsub,
                       uint8_t *restrict codes)
{
    for (size_t j = 0; j < m; j++) {
        __m512 v[16];
        book_dots(x + j * dsub, -2.0f, cb + j * dsub * 256, dsub, 256, v, 16);
        __m512 least = _mm512_set1_ps(__builtin_inff());
        __m512i at = _mm512_setzero_si512();
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) {
            v[r] = _mm512_add_ps(v[r], _mm512_loadu_ps(norm + 256 * j + 16 * r));
            __mmask16 less = _mm512_cmp_ps_mask(v[r], least, _CMP_LT_OQ);
            least = _mm512_min_ps(v[r], least);
            at = _mm512_mask_mov_epi32(at, less, _mm512_set1_epi32(16 * r));
        }
        const __m512i lanes =
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        __m512 all = _mm512_set1_ps(_mm512_reduce_min_ps(least));
        __mmask16 k = _mm512_cmp_ps_mask(least, all, _CMP_EQ_OQ);
        codes[j] = (uint8_t)_mm512_mask_reduce_min_epu32(k, _mm512_add_epi32(at, lanes));
    }
}

enum { ROWS = 32, FEW = 8, WIDE = 64 };

/* A row a lane: the codewords pass by, four at a time, and a lane keeps the first of its least.  At
 * most ROWS rows and WIDE dimensions. */
INLINE void nearest_block(const float *x, size_t n, size_t stride, const float *book,
                          const float *norm, size_t m, size_t dsub, size_t kk, uint8_t *codes)
{
    float columns[WIDE * ROWS] __attribute__((aligned(64)));
    uint8_t found[ROWS];
    __m512 least[2];
    __m512i at[2];
    for (size_t t = 0; t < dsub; t++)
        for (size_t i = 0; i < ROWS; i++)
            columns[t * ROWS + i] = i < n ? -2.0f * x[i * stride + t] : 0.0f;
    least[0] = least[1] = _mm512_set1_ps(__builtin_inff());
    at[0] = at[1] = _mm512_setzero_si512();
    for (size_t c = 0; c < kk; c += 4) {
        __m512 dot[4][2];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) dot[r][0] = dot[r][1] = _mm512_setzero_ps();
        for (size_t t = 0; t < dsub; t++) {
            const __m512 a = _mm512_load_ps(columns + t * ROWS);
            const __m512 b = _mm512_load_ps(columns + t * ROWS + 16);
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++) {
                const __m512 word = _mm512_set1_ps(book[t * kk + c + (size_t)r]);
                dot[r][0] = _mm512_fmadd_ps(a, word, dot[r][0]);
                dot[r][1] = _mm512_fmadd_ps(b, word, dot[r][1]);
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            const __m512 sq = _mm512_set1_ps(norm[c + (size_t)r]);
            const __m512i here = _mm512_set1_epi32((int)c + r);
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) {
                __m512 v = _mm512_add_ps(dot[r][h], sq);
                __mmask16 less = _mm512_cmp_ps_mask(v, least[h], _CMP_LT_OQ);
                least[h] = _mm512_min_ps(v, least[h]);
                at[h] = _mm512_mask_mov_epi32(at[h], less, here);
            }
        }
    }
    _mm_storeu_si128((__m128i *)found, _mm512_cvtepi32_epi8(at[0]));
    _mm_storeu_si128((__m128i *)(found + 16), _mm512_cvtepi32_epi8(at[1]));
    for (size_t i = 0; i < n; i++) codes[i * m] = found[i];
}

static void pq_nearest(const float *x, size_t n, size_t stride, const float *cb, const float *norm,
                       size_t m, size_t dsub, size_t kk, uint8_t *restrict codes)
{
    size_t i = 0;
    for (size_t rows; n - i >= FEW && dsub <= WIDE; i += rows) {
        rows = n - i < ROWS ? n - i : ROWS;
        for (size_t j = 0; j < m; j++)
            nearest_block(x + i * stride + j * dsub, rows, stride, cb + j * dsub * kk,
                          norm + j * kk, m, dsub, kk, codes + i * m + j);
    }
    for (; i < n; i++)
        if (kk == 16)
            nearest16(x + i * stride, cb, norm, m, dsub, codes + i * m);
        else
            nearest256(x + i * stride, cb, norm, m, dsub, codes + i * m);
}

/* ---- scans --------------------------------------------------------------------------------- */

/* Rows j of two blocks side by side, or row j of one. */
INLINE __m512i load_pair(const uint8_t *first, size_t block_bytes, int pair)
{
    __m512i v = _mm512_castsi256_si512(_mm256_load_si256((const __m256i *)first));
    if (!pair) return v;
    return _mm512_inserti64x4(v, _mm256_load_si256((const __m256i *)(first + block_bytes)), 1);
}

INLINE void store_pair(sums2 s, uint16_t *sums, int pair)
{
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    __m512i even = _mm512_sub_epi16(s.all, _mm512_slli_epi16(s.high, 8));
    __m512i a = _mm512_unpacklo_epi16(even, s.high), b = _mm512_unpackhi_epi16(even, s.high);
    _mm512_store_si512(sums, _mm512_permutex2var_epi64(a, first, b));
    if (pair) _mm512_store_si512(sums + VQ_BLOCK, _mm512_permutex2var_epi64(a, second, b));
}

INLINE __m512i table16(const uint8_t *lut)
{
    return _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)lut));
}

/* 64 look-ups in a table of 256: sixteen shuffles by the low four bits, of which the other four
 * choose one.  A masked shuffle makes the first choice for free. */
INLINE __m512i lookup256(const uint8_t *lut, __m512i code)
{
    const __m512i low = _mm512_and_si512(code, _mm512_set1_epi8(15));
    const __mmask64 k4 = _mm512_test_epi8_mask(code, _mm512_set1_epi8(16));
    const __mmask64 k5 = _mm512_test_epi8_mask(code, _mm512_set1_epi8(32));
    const __mmask64 k6 = _mm512_test_epi8_mask(code, _mm512_set1_epi8(64));
    const __mmask64 k7 = _mm512_movepi8_mask(code);
    __m512i r[8];
#pragma GCC unroll 8
    for (int h = 0; h < 8; h++) {
        r[h] = _mm512_shuffle_epi8(table16(lut + 32 * h), low);
        r[h] = _mm512_mask_shuffle_epi8(r[h], k4, table16(lut + 32 * h + 16), low);
    }
#pragma GCC unroll 4
    for (int h = 0; h < 4; h++) r[h] = _mm512_mask_blend_epi8(k5, r[2 * h], r[2 * h + 1]);
    r[0] = _mm512_mask_blend_epi8(k6, r[0], r[1]);
    r[2] = _mm512_mask_blend_epi8(k6, r[2], r[3]);
    return _mm512_mask_blend_epi8(k7, r[0], r[2]);
}

/* The same in a table of 128 by the upper seven bits. */
INLINE __m512i lookup128(const uint8_t *lut, __m512i code)
{
    const __m512i low = _mm512_and_si512(_mm512_srli_epi16(code, 1), _mm512_set1_epi8(15));
    const __mmask64 k5 = _mm512_test_epi8_mask(code, _mm512_set1_epi8(32));
    const __mmask64 k6 = _mm512_test_epi8_mask(code, _mm512_set1_epi8(64));
    const __mmask64 k7 = _mm512_movepi8_mask(code);
    __m512i r[4];
#pragma GCC unroll 4
    for (int h = 0; h < 4; h++) {
        r[h] = _mm512_shuffle_epi8(table16(lut + 32 * h), low);
        r[h] = _mm512_mask_shuffle_epi8(r[h], k5, table16(lut + 32 * h + 16), low);
    }
    r[0] = _mm512_mask_blend_epi8(k6, r[0], r[1]);
    r[2] = _mm512_mask_blend_epi8(k6, r[2], r[3]);
    return _mm512_mask_blend_epi8(k7, r[0], r[2]);
}

/* The rows by eights, whose tables both groups share; returns which row is next. */
INLINE size_t add_means(const uint8_t *lut, const uint8_t *codes, size_t m, sums2 *s,
                        const int pairs, const int odd)
{
    const size_t block_bytes = m * VQ_BLOCK;
    __m512i wait[3][2]; /* means of 1, 2 and 4 rows, for their neighbours */
    size_t j = 0;
    for (; j + 8 <= m; j += 8) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
#pragma GCC unroll 2
            for (int g = 0; g < pairs; g++) {
                const uint8_t *at = codes + (size_t)(2 * g) * block_bytes;
                __m512i code = load_pair(at + (j + (size_t)i) * VQ_BLOCK, block_bytes, !odd);
                __m512i r = lookup128(lut + 128 * (j + (size_t)i), code);
                if (i % 2 == 1) r = _mm512_avg_epu8(wait[0][g], r);
                if (i % 4 == 3) r = _mm512_avg_epu8(wait[1][g], r);
                if (i % 8 == 7)
                    add_bytes(&s[g], _mm512_avg_epu8(wait[2][g], r));
                else
                    wait[i % 2 == 0 ? 0 : i % 4 == 1 ? 1 : 2][g] = r;
            }
        }
    }
#pragma GCC unroll 2
    for (int g = 0; g < pairs; g++) {
        s[g].all = _mm512_slli_epi16(s[g].all, 3);
        s[g].high = _mm512_slli_epi16(s[g].high, 3);
    }
    return j;
}

/* kk: 256, or 128 for look-ups by pairs; a constant where this is inlined. */
INLINE void pq8_group(const uint8_t *lut, const uint8_t *codes, size_t m, uint16_t *sums,
                      const size_t kk, const int pairs, const int odd)
{
    const size_t block_bytes = m * VQ_BLOCK;
    sums2 s[2];
#pragma GCC unroll 2
    for (int g = 0; g < pairs; g++) s[g].all = s[g].high = _mm512_setzero_si512();
    for (size_t j = kk == 256 ? 0 : add_means(lut, codes, m, s, pairs, odd); j < m; j++) {
#pragma GCC unroll 2
        for (int g = 0; g < pairs; g++) {
            const uint8_t *at = codes + (size_t)(2 * g) * block_bytes + j * VQ_BLOCK;
            __m512i code = load_pair(at, block_bytes, !odd);
            const uint8_t *row = lut + kk * j;
            add_bytes(&s[g], kk == 256 ? lookup256(row, code) : lookup128(row, code));
        }
    }
#pragma GCC unroll 2
    for (int g = 0; g < pairs; g++) store_pair(s[g], sums + 2 * g * (int)VQ_BLOCK, !odd);
}

INLINE void pq8_all(const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m,
                    uint16_t *restrict sums, const size_t kk)
{
    for (; nblocks >= 4; nblocks -= 4) {
        pq8_group(lut, codes, m, sums, kk, 2, 0);
        codes += 4 * m * VQ_BLOCK;
        sums += 4 * VQ_BLOCK;
    }
    if (nblocks >= 2) {
        pq8_group(lut, codes, m, sums, kk, 1, 0);
        codes += 2 * m * VQ_BLOCK;
        sums += 2 * VQ_BLOCK;
        nblocks -= 2;
    }
    if (nblocks > 0) pq8_group(lut, codes, m, sums, kk, 1, 1);
}

static void pq8_scan(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t nblocks,
                     size_t m, uint16_t *restrict sums)
{
    (void)ahead;
    pq8_all(lut, codes, nblocks, m, sums, 256);
}

static void pq8_pairs(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead,
                      size_t nblocks, size_t m, uint16_t *restrict sums)
{
    (void)ahead;
    pq8_all(lut, codes, nblocks, m, sums, 128);
}

/* Two rows of a block are 64 neighbouring bytes, whose tables are 64 neighbouring bytes too. */
INLINE void add_rows(sums2 *s, __m512i code, __m512i even, __m512i odd)
{
    const __m512i mask = _mm512_set1_epi8(15);
    add_bytes(s, _mm512_shuffle_epi8(even, _mm512_and_si512(code, mask)));
    add_bytes(s, _mm512_shuffle_epi8(odd, _mm512_and_si512(_mm512_srli_epi16(code, 4), mask)));
}

INLINE void pq4_group(const uint8_t *lut, const uint8_t *codes, size_t m, size_t stride,
                      uint16_t *sums, const int blocks)
{
    sums2 s[8];
#pragma GCC unroll 8
    for (int g = 0; g < blocks; g++) s[g].all = s[g].high = _mm512_setzero_si512();
    size_t p = 0;
    for (; p + 2 <= m / 2; p += 2) {
        const __m512i t = _mm512_load_si512(lut + 32 * p);
        const __m512i even = _mm512_shuffle_i64x2(t, t, 0xa0),
                      odd = _mm512_shuffle_i64x2(t, t, 0xf5);
#pragma GCC unroll 8
        for (int g = 0; g < blocks; g++) {
            const uint8_t *at = codes + (size_t)g * stride + p * VQ_BLOCK;
            add_rows(&s[g], _mm512_loadu_si512(at), even, odd);
        }
    }
    if (p < m / 2) { /* the last row alone: the upper half looks up in zeros */
        const __m256i t = _mm256_load_si256((const __m256i *)(lut + 32 * p));
        const __m512i even = _mm512_zextsi256_si512(_mm256_permute2x128_si256(t, t, 0x00));
        const __m512i odd = _mm512_zextsi256_si512(_mm256_permute2x128_si256(t, t, 0x11));
#pragma GCC unroll 8
        for (int g = 0; g < blocks; g++) {
            const uint8_t *at = codes + (size_t)g * stride + p * VQ_BLOCK;
            __m256i code = _mm256_load_si256((const __m256i *)at);
            add_rows(&s[g], _mm512_zextsi256_si512(code), even, odd);
        }
    }
#pragma GCC unroll 8
    for (int g = 0; g < blocks; g++) store_halves(s[g], sums + g * (int)VQ_BLOCK);
}

/* Groups of eight blocks; the last group by its size. */
static void pq4_scan(const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m,
                     size_t stride, uint16_t *restrict sums)
{
    for (; nblocks >= 8; nblocks -= 8) {
        pq4_group(lut, codes, m, stride, sums, 8);
        codes += 8 * stride;
        sums += 8 * VQ_BLOCK;
    }
    switch (nblocks) {
    case 1: pq4_group(lut, codes, m, stride, sums, 1); break;
    case 2: pq4_group(lut, codes, m, stride, sums, 2); break;
    case 3: pq4_group(lut, codes, m, stride, sums, 3); break;
    case 4: pq4_group(lut, codes, m, stride, sums, 4); break;
    case 5: pq4_group(lut, codes, m, stride, sums, 5); break;
    case 6: pq4_group(lut, codes, m, stride, sums, 6); break;
    case 7: pq4_group(lut, codes, m, stride, sums, 7); break;
    default: break;
    }
}

const vq_kernels vq_kernels_avx512_pq = {
    .isa = "avx512",
    .lut_f32 = lut_f32,
    .pq_nearest = pq_nearest,
    .pq8_scan = pq8_scan,
    .pq8_pairs = pq8_pairs,
    .pq4_scan = pq4_scan,
};
