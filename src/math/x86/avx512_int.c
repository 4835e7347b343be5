/* SPDX-License-Identifier: Apache-2.0 */
/* avx512_int.c -- sums in integers with AVX-512 F, BW, VL and DQ: bytes are widened to 16 bits and
 * multiplied in pairs.  Integers add up to the same in any order. */
#include <immintrin.h>

#include "src/math/kernels.h"
#include "src/math/x86/fours.h"
#include "src/math/x86/lanes512.h"

extern const vq_kernels vq_kernels_avx512_int;

INLINE __mmask32 first32(size_t n)
{
    return (__mmask32)((1ull << n) - 1u);
}

INLINE __m512i u8_at(const void *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

INLINE __m512i madd(__m512i sum, __m512i x, __m512i y)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(x, y));
}

/* Not the compiler's own, which adds as signed integers in C: sums of squares may pass 2^31. */
INLINE int32_t reduce(__m512i v)
{
    __m256i w = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    x = _mm_add_epi32(x, _mm_unpackhi_epi64(x, x));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 1)));
}

static uint32_t quantize_i16(const float *x, size_t n, float inv, int16_t *restrict out,
                             int32_t *sum)
{
    const __m512 factor = _mm512_set1_ps(inv);
    const __m512 most = _mm512_set1_ps(16383.0f), least = _mm512_set1_ps(-16383.0f);
    __m512i plain = _mm512_setzero_si512(), all = plain;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 t = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, x + i), factor);
        /* the second operand is what comes of a NaN */
        __m512i v = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(t, least), most));
        v = _mm512_maskz_mov_epi32(k, v);
        plain = _mm512_add_epi32(plain, v);
        all = _mm512_add_epi32(all, _mm512_abs_epi32(v));
        _mm256_mask_storeu_epi16(out + i, k, _mm512_cvtepi32_epi16(v));
    }
    *sum = reduce(plain);
    return (uint32_t)reduce(all);
}

/* The sums of eight registers. */
INLINE __m256i reduce8(const __m512i v[8])
{
    __m256i w[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        w[i] = _mm256_add_epi32(_mm512_castsi512_si256(v[i]), _mm512_extracti64x4_epi64(v[i], 1));
    __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(w[0], w[1]), _mm256_hadd_epi32(w[2], w[3]));
    __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(w[4], w[5]), _mm256_hadd_epi32(w[6], w[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

/* n <= 8 rows at once; `n` is constant where this is inlined. */
INLINE void dots(const uint8_t *a, size_t d, size_t stride, const int16_t *x, __m512i sum[8],
                 const int n)
{
    size_t j = 0;
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) sum[r] = _mm512_setzero_si512();
    for (; j + 32 <= d; j += 32) {
        __m512i v = _mm512_loadu_si512(x + j);
#pragma GCC unroll 8
        for (int r = 0; r < n; r++) {
            if (j % 64 == 0) _mm_prefetch(a + ((size_t)r + 8) * stride + j, _MM_HINT_T0);
            sum[r] = madd(sum[r], u8_at(a + (size_t)r * stride + j), v);
        }
    }
    if (j == d) return;
    __mmask32 k = first32(d - j);
    __m512i v = _mm512_maskz_loadu_epi16(k, x + j);
#pragma GCC unroll 8
    for (int r = 0; r < n; r++) {
        __m256i c = _mm256_maskz_loadu_epi8(k, a + (size_t)r * stride + j);
        sum[r] = madd(sum[r], _mm512_cvtepu8_epi16(c), v);
    }
}

static void matvec_u8(const uint8_t *a, size_t rows, size_t d, size_t stride, const int16_t *x,
                      const float *step, const float *low, float unit, float sum,
                      float *restrict out)
{
    size_t i = 0;
    for (; i + 8 <= rows; i += 8) {
        __m512i s[8];
        dots(a + i * stride, d, stride, x, s, 8);
        __m256 dot = _mm256_cvtepi32_ps(reduce8(s));
        __m256 factor = _mm256_mul_ps(_mm256_loadu_ps(step + i), _mm256_set1_ps(unit));
        __m256 term = _mm256_mul_ps(_mm256_loadu_ps(low + i), _mm256_set1_ps(sum));
        _mm256_storeu_ps(out + i, _mm256_fmadd_ps(factor, dot, term));
    }
    for (; i < rows; i++) {
        __m512i s[8];
        dots(a + i * stride, d, stride, x, s, 1);
        float dot = (float)reduce(s[0]);
        out[i] = __builtin_fmaf(step[i] * unit, dot, low[i] * sum);
    }
}

/* Adds to sums (16) the products with a panel, whose fours of columns are so many bytes apart. */
INLINE void panel_sums(const uint8_t *panel, size_t apart, const vq_fours *f, int32_t *sums)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512i s = _mm512_setzero_si512(), t = s;
    for (size_t i = 0; i < f->n; i++) {
        const uint8_t *four = panel + f->at[i] * apart;
        const __m512i v = _mm512_set1_epi64(f->x[i]);
        s = madd(s, u8_at(four), v);
        t = madd(t, u8_at(four + 32), v);
    }
    __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    odd = _mm512_permutex2var_epi32(s, odd, t);
    s = _mm512_add_epi32(_mm512_permutex2var_epi32(s, even, t), odd);
    _mm512_storeu_si512(sums, _mm512_add_epi32(s, _mm512_loadu_si512(sums)));
}

static void panel_matvec(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                         const float *step, const float *low, float unit, float sum,
                         float *restrict out)
{
    vq_fours f;
    for (size_t first = 0, end = 0; first == 0 || first < d; first = end) {
        end = vq_fours_find(&f, x, d, first);
        for (size_t i = 0; i < rows; i += 16) {
            int32_t sums[16] = {0};
            size_t n = rows - i < 16 ? rows - i : 16;
            /* out holds the sums of the columns before */
            if (first > 0) __builtin_memcpy(sums, out + i, n * sizeof *sums);
            panel_sums(panels + vq_in_panels(rows, d, i, 0), 64 * vq_panels_beside(rows, i), &f,
                       sums);
            if (end == d)
                panel_scale(sums, n, step + i, low + i, unit, sum, out + i);
            else
                __builtin_memcpy(out + i, sums, n * sizeof *sums);
        }
        if (end == d) break;
    }
}

/* 16 * regs codewords of one sub-space. */
INLINE void lut_book(const int16_t *x, const uint8_t *cb, size_t pairs, float *out, const int regs)
{
    __m512i sum[16];
#pragma GCC unroll 16
    for (int r = 0; r < regs; r++) sum[r] = _mm512_setzero_si512();
    for (size_t p = 0; p < pairs; p++, cb += 32 * regs) {
        int32_t both;
        __builtin_memcpy(&both, x + 2 * p, sizeof both);
        __m512i v = _mm512_set1_epi32(both);
#pragma GCC unroll 16
        for (int r = 0; r < regs; r++) sum[r] = madd(sum[r], u8_at(cb + 32 * r), v);
    }
#pragma GCC unroll 16
    for (int r = 0; r < regs; r++) _mm512_storeu_ps(out + 16 * r, _mm512_cvtepi32_ps(sum[r]));
}

static void lut_u8(const int16_t *x, const uint8_t *cb, size_t m, size_t pairs, size_t kk,
                   float *restrict out)
{
    for (size_t j = 0; j < m; j++, x += 2 * pairs, cb += 2 * pairs * kk, out += kk) {
        if (kk == 16)
            lut_book(x, cb, pairs, out, 1);
        else
            lut_book(x, cb, pairs, out, 16);
    }
}

#define NEAR_ROW(name, widen)                                                                      \
    static void name(const int16_t *x, const void *row, size_t d, int32_t *ip, uint32_t *sq)       \
    {                                                                                              \
        const char *r = row;                                                                       \
        __m512i product = _mm512_setzero_si512(), square = product;                                \
        size_t j = 0;                                                                              \
        for (; j + 32 <= d; j += 32) {                                                             \
            __m512i v = widen(_mm256_loadu_si256((const __m256i *)(r + j)));                       \
            product = madd(product, v, _mm512_loadu_si512(x + j));                                 \
            square = madd(square, v, v);                                                           \
        }                                                                                          \
        if (j < d) {                                                                               \
            __mmask32 k = first32(d - j);                                                          \
            __m512i v = widen(_mm256_maskz_loadu_epi8(k, r + j));                                  \
            product = madd(product, v, _mm512_maskz_loadu_epi16(k, x + j));                        \
            square = madd(square, v, v);                                                           \
        }                                                                                          \
        *ip = reduce(product);                                                                     \
        *sq = (uint32_t)reduce(square);                                                            \
    }

NEAR_ROW(near_row_i8, _mm512_cvtepi8_epi16)
NEAR_ROW(near_row_u8, _mm512_cvtepu8_epi16)

/* Eight queries and P panels; P is constant where this is inlined.  A register of rows is its even
 * and its odd bytes as 16 bits, a query likewise. */
INLINE void panel_block(const uint8_t *panels, const int32_t *sums, size_t quads, const int8_t *q,
                        const vq_panel_scale *scale, size_t n, float *out, size_t stride,
                        const int P)
{
    const __m512i low = _mm512_set1_epi16(255);
    __m512i sum[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sum[i][0] = sum[i][1] = _mm512_setzero_si512();
    for (size_t j = 0; j < quads; j++, q += 32, panels += 64) {
        __m512i even[2], odd[2];
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) {
            __m512i v = _mm512_load_si512(panels + (size_t)p * quads * 64);
            even[p] = _mm512_and_si512(v, low);
            odd[p] = _mm512_srli_epi16(v, 8);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            int32_t four;
            __builtin_memcpy(&four, q + 4 * i, sizeof four);
            __m512i x = _mm512_set1_epi32(four), y = _mm512_srai_epi16(x, 8);
            x = _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8);
#pragma GCC unroll 2
            for (int p = 0; p < P; p++) sum[i][p] = madd(madd(sum[i][p], even[p], x), odd[p], y);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        if ((size_t)i >= n) break;
#pragma GCC unroll 2
        for (int p = 0; p < P; p++)
            panel_store(out + (size_t)i * stride + 16 * p, sum[i][p], sums + 16 * p, &scale[i]);
    }
}

static void panel_dots(const uint8_t *panels, const int32_t *sums, size_t count, size_t quads,
                       const int8_t *q, const vq_panel_scale *scale, size_t n, float *restrict out,
                       size_t stride)
{
    for (size_t p = 0; p < count; p += 2, panels += 2 * 64 * quads, sums += 32)
        for (size_t i = 0; i < n; i += 8) {
            const int8_t *x = q + i * quads * 4;
            float *to = out + i * stride + 16 * p;
            if (count - p == 1)
                panel_block(panels, sums, quads, x, scale + i, n - i, to, stride, 1);
            else
                panel_block(panels, sums, quads, x, scale + i, n - i, to, stride, 2);
        }
}

/* ---- the k-th largest ---------------------------------------------------------------------- */

INLINE size_t count_from(const float *x, size_t n, float at)
{
    const __m512 least = _mm512_set1_ps(at);
    __m512i count = _mm512_setzero_si512();
    const __m512i one = _mm512_set1_epi32(1);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __mmask16 k = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), least, _CMP_GE_OQ);
        count = _mm512_mask_add_epi32(count, k, count, one);
    }
    if (i < n) {
        __mmask16 k = first16(n - i);
        k = _mm512_mask_cmp_ps_mask(k, _mm512_maskz_loadu_ps(k, x + i), least, _CMP_GE_OQ);
        count = _mm512_mask_add_epi32(count, k, count, one);
    }
    return (size_t)(uint32_t)reduce(count);
}

/* The least value not below at; there is one. */
INLINE float least_from(const float *x, size_t n, float at)
{
    const __m512 bound = _mm512_set1_ps(at);
    __m512 least = _mm512_set1_ps(__builtin_inff());
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 v = _mm512_maskz_loadu_ps(k, x + i);
        k = _mm512_mask_cmp_ps_mask(k, v, bound, _CMP_GE_OQ);
        least = _mm512_mask_min_ps(least, k, least, v);
    }
    return _mm512_reduce_min_ps(least);
}

INLINE float largest(const float *x, size_t n)
{
    __m512 most = _mm512_set1_ps(x[0]);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        most = _mm512_mask_max_ps(most, k, most, _mm512_maskz_loadu_ps(k, x + i));
    }
    return _mm512_reduce_max_ps(most);
}

#include "src/math/x86/kth.h"

/* A line of each row: 64 sums at a time, or 16. */
INLINE void felt_block(const int8_t *table, size_t kk, const uint32_t *rows, size_t n,
                       const float *slope, const float *bend, const float *unit, const float *here,
                       float weight, float *restrict out, size_t count)
{
    __m512 sum[4], at[4];
#pragma GCC unroll 4
    for (size_t h = 0; h < count; h++) {
        sum[h] = _mm512_setzero_ps();
        if (here != NULL) at[h] = _mm512_loadu_ps(here + 16 * h);
    }
    for (size_t i = 0; i < n; i++) {
        const int8_t *row = table + rows[i] * kk;
        const __m512 a = _mm512_set1_ps(slope[i]), b = _mm512_set1_ps(bend[i]);
#pragma GCC unroll 4
        for (size_t h = 0; h < count; h++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(row + 16 * h));
            __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), s = a;
            if (here != NULL) s = _mm512_fmadd_ps(_mm512_set1_ps(unit[i]), at[h], a);
            sum[h] = _mm512_fmadd_ps(_mm512_fmadd_ps(b, v, s), v, sum[h]);
        }
    }
#pragma GCC unroll 4
    for (size_t h = 0; h < count; h++) {
        __m512 was = _mm512_loadu_ps(out + 16 * h);
        _mm512_storeu_ps(out + 16 * h, _mm512_fmadd_ps(_mm512_set1_ps(weight), sum[h], was));
    }
}

static void felt_i8(const int8_t *table, size_t kk, const uint32_t *rows, size_t n,
                    const float *slope, const float *bend, const float *unit, const float *here,
                    float weight, float *restrict out)
{
    size_t w = 0;
    if (here == NULL)
        for (; w + 64 <= kk; w += 64)
            felt_block(table + w, kk, rows, n, slope, bend, unit, NULL, weight, out + w, 4);
    for (; here != NULL && w + 64 <= kk; w += 64)
        felt_block(table + w, kk, rows, n, slope, bend, unit, here + w, weight, out + w, 4);
    for (; w < kk; w += 16)
        felt_block(table + w, kk, rows, n, slope, bend, unit, here != NULL ? here + w : NULL,
                   weight, out + w, 1);
}

const vq_kernels vq_kernels_avx512_int = {
    .isa = "avx512",
    .quantize_i16 = quantize_i16,
    .matvec_u8 = matvec_u8,
    .panel_matvec = panel_matvec,
    .lut_u8 = lut_u8,
    .near_row_i8 = near_row_i8,
    .near_row_u8 = near_row_u8,
    .felt_i8 = felt_i8,
    .panel_dots = panel_dots,
    .kth_f32 = kth_f32,
};
