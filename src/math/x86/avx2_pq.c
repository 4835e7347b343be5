/* SPDX-License-Identifier: Apache-2.0 */
/* avx2_pq.c -- codes with AVX2: tables, the encoder's nearest codeword, the scans by byte shuffles,
 * and the searches in what they leave. */
#include <immintrin.h>

#include "src/math/kernels.h"
#include "src/math/x86/lanes256.h"

extern const vq_kernels vq_kernels_avx2_pq;

/* ---- searches in an array ------------------------------------------------------------------ */

typedef struct chain {
    __m256 top;
    __m256i at;
} chain;

INLINE void climb(chain *c, __m256 v, __m256i at)
{
    __m256 more = _mm256_cmp_ps(v, c->top, _CMP_GT_OQ);
    c->top = _mm256_max_ps(v, c->top); /* not by the mask, which comes late */
    c->at = _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(c->at), _mm256_castsi256_ps(at), more));
}

/* Of n candidates (value, index) the largest value, among equals the smallest index. */
INLINE size_t first_of_largest(const float *v, const uint32_t *at, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[best] || (v[i] == v[best] && at[i] < at[best])) best = i;
    return best;
}

/* Each lane keeps the first of its largest; the few left at the end are looked at one by one. */
static size_t argmax_f32(const float *a, const float *b, size_t n)
{
    const __m256 lowest = _mm256_set1_ps(-__builtin_inff());
    const __m256i step = _mm256_set1_epi32(8);
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    chain c[2] = {{lowest, at}, {lowest, at}};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) {
            __m256 v = _mm256_loadu_ps(a + i + 8 * h);
            if (b != NULL) v = _mm256_add_ps(v, _mm256_loadu_ps(b + i + 8 * h));
            climb(&c[h], v, at);
            at = _mm256_add_epi32(at, step);
        }
    }
    float top[16];
    uint32_t where[16];
    for (int h = 0; h < 2; h++) {
        _mm256_storeu_ps(top + 8 * h, c[h].top);
        _mm256_storeu_si256((__m256i *)(where + 8 * h), c[h].at);
    }
    size_t lane = first_of_largest(top, where, 16), best = where[lane];
    float most = top[lane];
    for (; i < n; i++) {
        float v = b != NULL ? a[i] + b[i] : a[i];
        if (v > most) {
            most = v;
            best = i;
        }
    }
    return best;
}

static size_t near_max_f32(const float *a, const float *b, size_t n, float within,
                           uint32_t *restrict idx)
{
    __m256 tops[2] = {_mm256_set1_ps(-__builtin_inff()), _mm256_set1_ps(-__builtin_inff())};
    float lanes[8], top = -__builtin_inff();
    size_t count = 0, i = 0;
    for (; i + 16 <= n; i += 16) {
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) { /* of NaN and top the second */
            __m256 s =
                _mm256_add_ps(_mm256_loadu_ps(a + i + 8 * h), _mm256_loadu_ps(b + i + 8 * h));
            tops[h] = _mm256_max_ps(s, tops[h]);
        }
    }
    _mm256_storeu_ps(lanes, _mm256_max_ps(tops[0], tops[1]));
    for (int h = 0; h < 8; h++) top = lanes[h] > top ? lanes[h] : top;
    for (; i < n; i++) top = a[i] + b[i] > top ? a[i] + b[i] : top;
    const __m256 least = _mm256_set1_ps(top - within);
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 s = _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        unsigned near = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(s, least, _CMP_NLT_UQ));
        for (; near != 0; near &= near - 1)
            idx[count++] = (uint32_t)i + (uint32_t)__builtin_ctz(near);
    }
    for (; i < n; i++)
        if (!(a[i] + b[i] < top - within)) idx[count++] = (uint32_t)i;
    return count;
}

static void minmax_f32(const float *x, size_t n, float *lo, float *hi)
{
    __m256 least = _mm256_set1_ps(x[0]), most = least;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        least = _mm256_min_ps(least, v);
        most = _mm256_max_ps(most, v);
    }
    float a[8], b[8], small = x[0], large = x[0];
    _mm256_storeu_ps(a, least);
    _mm256_storeu_ps(b, most);
    for (int l = 0; l < 8; l++) {
        if (a[l] < small) small = a[l];
        if (b[l] > large) large = b[l];
    }
    for (; i < n; i++) {
        if (x[i] < small) small = x[i];
        if (x[i] > large) large = x[i];
    }
    *lo = small + 0.0f; /* a zero as +0 */
    *hi = large + 0.0f;
}

INLINE __m256 score8(const uint16_t *sums, const float *factor, size_t i, __m256 scale, __m256 base)
{
    __m128i u = _mm_loadu_si128((const __m128i *)(sums + i));
    __m256 s = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(u));
    s = _mm256_fmadd_ps(s, scale, base);
    return factor != NULL ? _mm256_sub_ps(s, _mm256_loadu_ps(factor + i)) : s;
}

static size_t select_u16(const uint16_t *sums, const float *factor, size_t n, float scale,
                         float base, float threshold, uint32_t *restrict idx, float *restrict score)
{
    const __m256 vscale = _mm256_set1_ps(scale), vbase = _mm256_set1_ps(base);
    const __m256 least = _mm256_set1_ps(threshold);
    size_t found = 0, i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 s0 = score8(sums, factor, i, vscale, vbase);
        __m256 s1 = score8(sums, factor, i + 8, vscale, vbase);
        int k0 = _mm256_movemask_ps(_mm256_cmp_ps(s0, least, _CMP_GE_OQ));
        int k1 = _mm256_movemask_ps(_mm256_cmp_ps(s1, least, _CMP_GE_OQ));
        uint32_t k = (uint32_t)k0 | (uint32_t)k1 << 8;
        if (__builtin_expect(k == 0, 1)) continue;
        float s[16];
        _mm256_storeu_ps(s, s0);
        _mm256_storeu_ps(s + 8, s1);
        for (; k != 0; k &= k - 1) {
            uint32_t l = (uint32_t)__builtin_ctz(k);
            idx[found] = (uint32_t)i + l;
            score[found++] = s[l];
        }
    }
    for (; i < n; i++) {
        float s = __builtin_fmaf((float)sums[i], scale, base);
        if (factor != NULL) s -= factor[i];
        if (!(s >= threshold)) continue;
        idx[found] = (uint32_t)i;
        score[found++] = s;
    }
    return found;
}

/* ---- tables and encoding ------------------------------------------------------------------- */

/* The products of `times` a sub-vector with 8 * regs neighbouring codewords of a book of rows kk
 * long. */
INLINE void book_dots(const float *x, const float times, const float *book, size_t dsub, size_t kk,
                      __m256 *dot, const int regs)
{
#pragma GCC unroll 8
    for (int r = 0; r < regs; r++) dot[r] = _mm256_setzero_ps();
    for (size_t t = 0; t < dsub; t++) {
        __m256 v = _mm256_set1_ps(times * x[t]);
#pragma GCC unroll 8
        for (int r = 0; r < regs; r++)
            dot[r] = _mm256_fmadd_ps(v, _mm256_loadu_ps(book + t * kk + 8 * r), dot[r]);
    }
}

static void lut_f32(const float *q, const float *cb, size_t m, size_t dsub, size_t kk,
                    float *restrict out)
{
    __m256 dot[8];
    for (size_t j = 0; j < m; j++, q += dsub, cb += dsub * kk, out += kk) {
        size_t c = 0;
        for (; c + 64 <= kk; c += 64) {
            book_dots(q, 1.0f, cb + c, dsub, kk, dot, 8);
#pragma GCC unroll 8
            for (int r = 0; r < 8; r++) _mm256_storeu_ps(out + c + 8 * r, dot[r]);
        }
        for (; c < kk; c += 16) {
            book_dots(q, 1.0f, cb + c, dsub, kk, dot, 2);
            _mm256_storeu_ps(out + c, dot[0]);
            _mm256_storeu_ps(out + c + 8, dot[1]);
        }
    }
}

/* The smallest of eight, in every lane. */
INLINE __m256 least_of(__m256 v)
{
    v = _mm256_min_ps(v, _mm256_permute2f128_ps(v, v, 1));
    v = _mm256_min_ps(v, _mm256_shuffle_ps(v, v, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm256_min_ps(v, _mm256_shuffle_ps(v, v, _MM_SHUFFLE(2, 3, 0, 1)));
}

INLINE uint32_t equal_lanes(__m256 a, __m256 b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}

static void nearest16(const float *x, const float *cb, const float *norm, size_t m, size_t dsub,
                      uint8_t *restrict codes)
{
    for (size_t j = 0; j < m; j++) {
        __m256 v[2];
        book_dots(x + j * dsub, -2.0f, cb + j * dsub * 16, dsub, 16, v, 2);
        v[0] = _mm256_add_ps(v[0], _mm256_loadu_ps(norm + 16 * j));
        v[1] = _mm256_add_ps(v[1], _mm256_loadu_ps(norm + 16 * j + 8));
        __m256 least = least_of(_mm256_min_ps(v[0], v[1]));
        uint32_t k = equal_lanes(v[0], least) | equal_lanes(v[1], least) << 8;
        codes[j] = (uint8_t)__builtin_ctz(k | 0x10000u);
    }
}

/* In quarters of 64 codewords.  A lane keeps the first of its least, with the number of its group
 * of eight; at the end the first of the lanes that hold the least. */
static void nearest256(const float *x, const float *cb, const float *norm, size_t m, size_t dsub,
                       uint8_t *restrict codes)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (size_t j = 0; j < m; j++) {
        __m256 least = _mm256_set1_ps(__builtin_inff()), at = _mm256_setzero_ps();
        for (size_t c = 0; c < 256; c += 64) {
            __m256 v[8];
            book_dots(x + j * dsub, -2.0f, cb + j * dsub * 256 + c, dsub, 256, v, 8);
#pragma GCC unroll 8
            for (int r = 0; r < 8; r++) {
                size_t first = c + 8 * (size_t)r;
                v[r] = _mm256_add_ps(v[r], _mm256_loadu_ps(norm + 256 * j + first));
                __m256 less = _mm256_cmp_ps(v[r], least, _CMP_LT_OQ);
                __m256 here = _mm256_castsi256_ps(_mm256_set1_epi32((int)first));
                least = _mm256_min_ps(v[r], least);
                at = _mm256_blendv_ps(at, here, less);
            }
        }
        __m256 other = _mm256_cmp_ps(least, least_of(least), _CMP_NEQ_UQ);
        __m256i code = _mm256_add_epi32(_mm256_castps_si256(at), lanes);
        code = _mm256_or_si256(code, _mm256_castps_si256(other)); /* -1: out of the race */
        __m128i u = _mm_min_epu32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
        u = _mm_min_epu32(u, _mm_shuffle_epi32(u, _MM_SHUFFLE(1, 0, 3, 2)));
        u = _mm_min_epu32(u, _mm_shuffle_epi32(u, _MM_SHUFFLE(2, 3, 0, 1)));
        codes[j] = (uint8_t)_mm_cvtsi128_si32(u);
    }
}

enum { ROWS = 16, FEW = 4, WIDE = 64 };

/* A row a lane: the codewords pass by, four at a time, and a lane keeps the first of its least.  At
 * most ROWS rows and WIDE dimensions. */
INLINE void nearest_block(const float *x, size_t n, size_t stride, const float *book,
                          const float *norm, size_t m, size_t dsub, size_t kk, uint8_t *codes)
{
    float columns[WIDE * ROWS] __attribute__((aligned(32)));
    int32_t found[ROWS];
    __m256 least[2], at[2];
    for (size_t t = 0; t < dsub; t++)
        for (size_t i = 0; i < ROWS; i++)
            columns[t * ROWS + i] = i < n ? -2.0f * x[i * stride + t] : 0.0f;
    least[0] = least[1] = _mm256_set1_ps(__builtin_inff());
    at[0] = at[1] = _mm256_setzero_ps();
    for (size_t c = 0; c < kk; c += 4) {
        __m256 dot[4][2];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) dot[r][0] = dot[r][1] = _mm256_setzero_ps();
        for (size_t t = 0; t < dsub; t++) {
            const __m256 a = _mm256_load_ps(columns + t * ROWS);
            const __m256 b = _mm256_load_ps(columns + t * ROWS + 8);
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++) {
                const __m256 word = _mm256_broadcast_ss(book + t * kk + c + (size_t)r);
                dot[r][0] = _mm256_fmadd_ps(a, word, dot[r][0]);
                dot[r][1] = _mm256_fmadd_ps(b, word, dot[r][1]);
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            const __m256 sq = _mm256_broadcast_ss(norm + c + (size_t)r);
            const __m256 here = _mm256_castsi256_ps(_mm256_set1_epi32((int)c + r));
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) {
                __m256 v = _mm256_add_ps(dot[r][h], sq);
                __m256 less = _mm256_cmp_ps(v, least[h], _CMP_LT_OQ);
                least[h] = _mm256_min_ps(v, least[h]);
                at[h] = _mm256_blendv_ps(at[h], here, less);
            }
        }
    }
    _mm256_storeu_si256((__m256i *)found, _mm256_castps_si256(at[0]));
    _mm256_storeu_si256((__m256i *)(found + 8), _mm256_castps_si256(at[1]));
    for (size_t i = 0; i < n; i++) codes[i * m] = (uint8_t)found[i];
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

/* A choice between two look-ups by the top bit of each byte of `by`.  Not by the intrinsic: gcc 12
 * makes it compare `by` with zero before, where two choices share it. */
INLINE __m256i choose(__m256i by, __m256i if0, __m256i if1)
{
    __m256i chosen;
    __asm__("vpblendvb %3, %2, %1, %0" : "=x"(chosen) : "x"(if0), "x"(if1), "x"(by));
    return chosen;
}

/* Indices for two neighbouring tables of 16: a shuffle looks at the low four bits of a byte, and
 * gives 0 if its top bit is set.  So of two shuffles one is the look-up, the other 0: an `or` does
 * in place of a choice, which competes with the shuffles for the same units. */
typedef struct twins {
    __m256i first, second; /* for bit 4 = 0, and 1 */
} twins;

INLINE twins twins_of(__m256i first)
{
    return (twins){first, _mm256_xor_si256(first, _mm256_set1_epi8((char)128))};
}

INLINE twins by_bit4(__m256i code)
{
    __m256i low = _mm256_and_si256(code, _mm256_set1_epi8(31));
    return twins_of(_mm256_add_epi8(low, _mm256_set1_epi8(112)));
}

/* The same of half the code: the mean of what is twice each summand. */
INLINE twins by_bit5(__m256i code)
{
    __m256i low = _mm256_and_si256(code, _mm256_set1_epi8(62));
    return twins_of(_mm256_avg_epu8(low, _mm256_set1_epi8((char)224)));
}

INLINE __m256i either(__m256i table0, __m256i table1, twins t)
{
    return _mm256_or_si256(_mm256_shuffle_epi8(table0, t.first),
                           _mm256_shuffle_epi8(table1, t.second));
}

/* The look-up in four neighbouring tables of 16; bit 5 chooses (moved to the top). */
INLINE __m256i lookup64(const uint8_t *lut, twins t, __m256i bit5)
{
    return choose(bit5, either(table16(lut), table16(lut + 16), t),
                  either(table16(lut + 32), table16(lut + 48), t));
}

/* 32 look-ups in a table of 256: sixteen shuffles by the low four bits, of which the other four
 * choose one. */
INLINE __m256i lookup256(const uint8_t *lut, __m256i code)
{
    const twins t = by_bit4(code);
    const __m256i bit6 = _mm256_add_epi8(code, code), bit5 = _mm256_add_epi8(bit6, bit6);
    __m256i a = choose(bit6, lookup64(lut, t, bit5), lookup64(lut + 64, t, bit5));
    __m256i b = choose(bit6, lookup64(lut + 128, t, bit5), lookup64(lut + 192, t, bit5));
    return choose(code, a, b);
}

/* What is asked for while block b of nblocks is scanned: as many of the next blocks as these are
 * the last, row by row; NULL: nothing.  The rest of them hardware has found by then. */
INLINE const uint8_t *ask_for(const uint8_t *ahead, size_t b, size_t nblocks, size_t block_bytes)
{
    enum { ASKED = 2 };
    size_t asked = nblocks < ASKED ? nblocks : ASKED, left = nblocks - b;
    return ahead != NULL && left <= asked ? ahead + (asked - left) * block_bytes : NULL;
}

static void pq8_scan(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t nblocks,
                     size_t m, uint16_t *restrict sums)
{
    for (size_t b = 0; b < nblocks; b++) {
        const uint8_t *next = ask_for(ahead, b, nblocks, m * VQ_BLOCK);
        sums2 s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (size_t j = 0; j < m; j++, codes += VQ_BLOCK) {
            if (next != NULL) _mm_prefetch(next + j * VQ_BLOCK, _MM_HINT_T0);
            add_bytes(&s, lookup256(lut + 256 * j, _mm256_load_si256((const __m256i *)codes)));
        }
        store_block(s, sums + b * VQ_BLOCK);
    }
}

/* 32 look-ups in a table of 128 by the upper seven bits. */
INLINE __m256i lookup128(const uint8_t *lut, __m256i code)
{
    const twins t = by_bit5(code);
    const __m256i bit6 = _mm256_add_epi8(code, code); /* bit 5 of the half */
    return choose(code, lookup64(lut, t, bit6), lookup64(lut + 64, t, bit6));
}

INLINE __m256i row128(const uint8_t *lut, const uint8_t *codes, size_t j)
{
    return lookup128(lut + 128 * j, _mm256_load_si256((const __m256i *)(codes + j * VQ_BLOCK)));
}

INLINE __m256i mean4(const uint8_t *lut, const uint8_t *codes, size_t j)
{
    return _mm256_avg_epu8(_mm256_avg_epu8(row128(lut, codes, j), row128(lut, codes, j + 1)),
                           _mm256_avg_epu8(row128(lut, codes, j + 2), row128(lut, codes, j + 3)));
}

static void pq8_pairs(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead,
                      size_t nblocks, size_t m, uint16_t *restrict sums)
{
    for (size_t b = 0; b < nblocks; b++, codes += m * VQ_BLOCK) {
        const uint8_t *next = ask_for(ahead, b, nblocks, m * VQ_BLOCK);
        sums2 s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        size_t j = 0;
        for (; j + 8 <= m; j += 8) {
            for (size_t i = 0; next != NULL && i < 8; i += 2)
                _mm_prefetch(next + (j + i) * VQ_BLOCK, _MM_HINT_T0);
            add_bytes(&s, _mm256_avg_epu8(mean4(lut, codes, j), mean4(lut, codes, j + 4)));
        }
        s.all = _mm256_slli_epi16(s.all, 3);
        s.high = _mm256_slli_epi16(s.high, 3);
        for (; j < m; j++) {
            if (next != NULL) _mm_prefetch(next + j * VQ_BLOCK, _MM_HINT_T0);
            add_bytes(&s, row128(lut, codes, j));
        }
        store_block(s, sums + b * VQ_BLOCK);
    }
}

INLINE void pq4_group(const uint8_t *lut, const uint8_t *codes, size_t m, size_t stride,
                      uint16_t *sums, const int blocks)
{
    const __m256i mask = _mm256_set1_epi8(15);
    sums2 s[4];
#pragma GCC unroll 4
    for (int g = 0; g < blocks; g++) s[g].all = s[g].high = _mm256_setzero_si256();
    for (size_t p = 0; p < m / 2; p++) {
        const __m256i even = table16(lut + 32 * p), odd = table16(lut + 32 * p + 16);
#pragma GCC unroll 4
        for (int g = 0; g < blocks; g++) {
            const uint8_t *at = codes + (size_t)g * stride + p * VQ_BLOCK;
            __m256i code = _mm256_load_si256((const __m256i *)at);
            __m256i upper = _mm256_and_si256(_mm256_srli_epi16(code, 4), mask);
            add_bytes(&s[g], _mm256_shuffle_epi8(even, _mm256_and_si256(code, mask)));
            add_bytes(&s[g], _mm256_shuffle_epi8(odd, upper));
        }
    }
#pragma GCC unroll 4
    for (int g = 0; g < blocks; g++) store_block(s[g], sums + g * (int)VQ_BLOCK);
}

/* Groups of four blocks: eight sums, two tables and the rest fill the registers. */
static void pq4_scan(const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m,
                     size_t stride, uint16_t *restrict sums)
{
    for (; nblocks >= 4; nblocks -= 4) {
        pq4_group(lut, codes, m, stride, sums, 4);
        codes += 4 * stride;
        sums += 4 * VQ_BLOCK;
    }
    switch (nblocks) {
    case 1: pq4_group(lut, codes, m, stride, sums, 1); break;
    case 2: pq4_group(lut, codes, m, stride, sums, 2); break;
    case 3: pq4_group(lut, codes, m, stride, sums, 3); break;
    default: break;
    }
}

static void step_sums(float *restrict r, size_t n, const float *steps, const uint8_t *before,
                      const uint8_t *next, double *restrict sums)
{
    for (size_t i = 0; i < n; i++, r += 16)
#pragma GCC unroll 2
        for (size_t h = 0; h < 16; h += 8) {
            __m256 v = _mm256_loadu_ps(r + h);
            if (before != NULL) {
                v = _mm256_sub_ps(v, _mm256_loadu_ps(steps + before[i] * 16 + h));
                _mm256_storeu_ps(r + h, v);
            }
            if (next == NULL) continue;
            double *sum = sums + next[i] * 16 + h;
            __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
            __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
            _mm256_storeu_pd(sum, _mm256_add_pd(_mm256_loadu_pd(sum), low));
            _mm256_storeu_pd(sum + 4, _mm256_add_pd(_mm256_loadu_pd(sum + 4), high));
        }
}

const vq_kernels vq_kernels_avx2_pq = {
    .isa = "avx2",
    .argmax_f32 = argmax_f32,
    .near_max_f32 = near_max_f32,
    .step_sums = step_sums,
    .minmax_f32 = minmax_f32,
    .select_u16 = select_u16,
    .lut_f32 = lut_f32,
    .pq_nearest = pq_nearest,
    .pq8_scan = pq8_scan,
    .pq8_pairs = pq8_pairs,
    .pq4_scan = pq4_scan,
};
