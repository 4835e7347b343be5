/* SPDX-License-Identifier: Apache-2.0 */
/* avx2_int.c -- sums in integers with AVX2: bytes are widened to 16 bits and multiplied in pairs.
 * Integers add up to the same in any order. */
#include <immintrin.h>

#include "src/math/kernels.h"
#include "src/math/x86/fours.h"

#define INLINE static inline __attribute__((always_inline))

extern const vq_kernels vq_kernels_avx2_int;

INLINE __m256i i16_at(const int16_t *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

INLINE __m256i u8_at(const void *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
}

INLINE __m256i i8_at(const void *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
}

INLINE __m256i madd(__m256i sum, __m256i x, __m256i y)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
}

INLINE int32_t reduce(__m256i v)
{
    __m128i w = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    w = _mm_add_epi32(w, _mm_unpackhi_epi64(w, w));
    return _mm_cvtsi128_si32(_mm_add_epi32(w, _mm_shuffle_epi32(w, 1)));
}

static uint32_t quantize_i16(const float *x, size_t n, float inv, int16_t *restrict out,
                             int32_t *sum)
{
    const __m256 factor = _mm256_set1_ps(inv);
    const __m256 most = _mm256_set1_ps(16383.0f), least = _mm256_set1_ps(-16383.0f);
    __m256i plain = _mm256_setzero_si256(), all = plain;
    for (size_t i = 0; i < n; i += 8) {
        float tmp[8] = {0};
        const float *at = x + i;
        size_t here = n - i < 8 ? n - i : 8;
        if (here < 8) {
            __builtin_memcpy(tmp, at, here * sizeof *tmp);
            at = tmp;
        }
        __m256 t = _mm256_mul_ps(_mm256_loadu_ps(at), factor);
        if (here < 8) { /* 0 * infinity is no 0 */
            _mm256_storeu_ps(tmp, t);
            for (size_t l = here; l < 8; l++) tmp[l] = 0.0f;
            t = _mm256_loadu_ps(tmp);
        }
        /* the second operand is what comes of a NaN */
        __m256i v = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(t, least), most));
        plain = _mm256_add_epi32(plain, v);
        all = _mm256_add_epi32(all, _mm256_abs_epi32(v));
        __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        if (here == 8) {
            _mm_storeu_si128((__m128i *)(out + i), w);
        } else {
            int16_t last[8];
            _mm_storeu_si128((__m128i *)last, w);
            __builtin_memcpy(out + i, last, here * sizeof *last);
        }
    }
    *sum = reduce(plain);
    return (uint32_t)reduce(all);
}

/* Products of the last few elements, one by one. */
INLINE int32_t tail(const uint8_t *a, const int16_t *x, size_t j, size_t d)
{
    uint32_t sum = 0;
    for (; j < d; j++) sum += (uint32_t)(a[j] * x[j]);
    return (int32_t)sum;
}

/* Four rows at once share the loads of x. */
static void matvec_u8(const uint8_t *a, size_t rows, size_t d, size_t stride, const int16_t *x,
                      const float *step, const float *low, float unit, float sum,
                      float *restrict out)
{
    size_t i = 0;
    for (; i < rows; i += 4) {
        size_t n = rows - i < 4 ? rows - i : 4, j = 0;
        const uint8_t *row[4];
        for (size_t r = 0; r < 4; r++) row[r] = a + (i + (r < n ? r : n - 1)) * stride;
        __m256i s[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) s[r] = _mm256_setzero_si256();
        for (; j + 16 <= d; j += 16) {
            __m256i v = i16_at(x + j);
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++) s[r] = madd(s[r], u8_at(row[r] + j), v);
        }
        for (size_t r = 0; r < n; r++) {
            uint32_t dot = (uint32_t)reduce(s[r]) + (uint32_t)tail(row[r], x, j, d);
            out[i + r] = __builtin_fmaf(step[i + r] * unit, (float)(int32_t)dot, low[i + r] * sum);
        }
    }
}

/* Adds to sums those of 8 rows, of which v and w have two numbers each: of 0, 1, 4 and 5, of 2, 3,
 * 6 and 7. */
INLINE void add_rows(__m256i v, __m256i w, int32_t *sums)
{
    __m256i *to = (__m256i *)sums;
    __m256i all = _mm256_permute4x64_epi64(_mm256_hadd_epi32(v, w), 0xd8);
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), all));
}

/* Adds to sums (16) the products with a panel, whose fours of columns are so many bytes apart. */
INLINE void panel_sums(const uint8_t *panel, size_t apart, const vq_fours *f, int32_t *sums)
{
    __m256i s[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) s[r] = _mm256_setzero_si256();
    for (size_t i = 0; i < f->n; i++) {
        const uint8_t *four = panel + f->at[i] * apart;
        const __m256i v = _mm256_set1_epi64x(f->x[i]);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) s[r] = madd(s[r], u8_at(four + 16 * r), v);
    }
#pragma GCC unroll 2
    for (int r = 0; r < 2; r++) add_rows(s[2 * r], s[2 * r + 1], sums + 8 * r);
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
            if (end < d) __builtin_memcpy(out + i, sums, n * sizeof *sums);
            for (size_t r = i; end == d && r < i + n; r++)
                out[r] = __builtin_fmaf(step[r] * unit, (float)sums[r - i], low[r] * sum);
        }
        if (end == d) break;
    }
}

/* The same of entries of four bits: 32 sums, of which the low bits make the first 16. */
INLINE void half_sums(const uint8_t *panel, size_t apart, const vq_fours *f, int32_t *sums)
{
    const __m256i low_bits = _mm256_set1_epi16(15);
    __m256i s[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) s[r] = _mm256_setzero_si256();
    for (size_t i = 0; i < f->n; i++) {
        const uint8_t *four = panel + f->at[i] * apart;
        const __m256i x = _mm256_set1_epi64x(f->x[i]);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            __m256i v = u8_at(four + 16 * r);
            s[r] = madd(s[r], _mm256_and_si256(v, low_bits), x);
            s[4 + r] = madd(s[4 + r], _mm256_srli_epi16(v, 4), x);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) add_rows(s[2 * r], s[2 * r + 1], sums + 8 * r);
}

static void panel_matvec_u4(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                            const float *step, const float *low, float unit, float sum,
                            float *restrict out)
{
    vq_fours f;
    size_t halved = vq_halved_rows(rows);
    for (size_t first = 0, end = 0; first == 0 || first < d; first = end) {
        end = vq_fours_find(&f, x, d, first);
        for (size_t i = 0; i < rows; i += 32) {
            int32_t sums[32] = {0};
            size_t n = rows - i < 32 ? rows - i : 32;
            /* out holds the sums of the columns before */
            if (first > 0) __builtin_memcpy(sums, out + i, n * sizeof *sums);
            half_sums(panels + vq_in_halves(rows, d, i, 0), 64 * vq_panels_beside(halved, i / 2),
                      &f, sums);
            if (end < d) __builtin_memcpy(out + i, sums, n * sizeof *sums);
            for (size_t r = i; end == d && r < i + n; r++)
                out[r] = __builtin_fmaf(step[r] * unit, (float)sums[r - i], low[r] * sum);
        }
        if (end == d) break;
    }
}

/* 8 * regs neighbouring codewords of one sub-space. */
INLINE void lut_book(const int16_t *x, const uint8_t *cb, size_t pairs, size_t kk, float *out,
                     const int regs)
{
    __m256i sum[8];
#pragma GCC unroll 8
    for (int r = 0; r < regs; r++) sum[r] = _mm256_setzero_si256();
    for (size_t p = 0; p < pairs; p++, cb += 2 * kk) {
        int32_t both;
        __builtin_memcpy(&both, x + 2 * p, sizeof both);
        __m256i v = _mm256_set1_epi32(both);
#pragma GCC unroll 8
        for (int r = 0; r < regs; r++) sum[r] = madd(sum[r], u8_at(cb + 16 * r), v);
    }
#pragma GCC unroll 8
    for (int r = 0; r < regs; r++) _mm256_storeu_ps(out + 8 * r, _mm256_cvtepi32_ps(sum[r]));
}

static void lut_u8(const int16_t *x, const uint8_t *cb, size_t m, size_t pairs, size_t kk,
                   float *restrict out)
{
    for (size_t j = 0; j < m; j++, x += 2 * pairs, cb += 2 * pairs * kk, out += kk) {
        size_t c = 0;
        for (; c + 64 <= kk; c += 64) lut_book(x, cb + 2 * c, pairs, kk, out + c, 8);
        for (; c < kk; c += 16) lut_book(x, cb + 2 * c, pairs, kk, out + c, 2);
    }
}

#define NEAR_ROW(name, type, widen)                                                                \
    static void name(const int16_t *x, const void *row, size_t d, int32_t *ip, uint32_t *sq)       \
    {                                                                                              \
        const type *r = row;                                                                       \
        __m256i product = _mm256_setzero_si256(), square = product;                                \
        size_t j = 0;                                                                              \
        for (; j + 16 <= d; j += 16) {                                                             \
            __m256i v = widen(r + j);                                                              \
            product = madd(product, v, i16_at(x + j));                                             \
            square = madd(square, v, v);                                                           \
        }                                                                                          \
        uint32_t p = (uint32_t)reduce(product), s = (uint32_t)reduce(square);                      \
        for (; j < d; j++) {                                                                       \
            p += (uint32_t)(x[j] * r[j]);                                                          \
            s += (uint32_t)(r[j] * r[j]);                                                          \
        }                                                                                          \
        *ip = (int32_t)p;                                                                          \
        *sq = s;                                                                                   \
    }

NEAR_ROW(near_row_i8, int8_t, i8_at)
NEAR_ROW(near_row_u8, uint8_t, u8_at)

/* Of eight queries four, all rows of a panel: 8 sums.  A register of rows is its even and its odd
 * bytes as 16 bits, a query likewise. */
INLINE void panel_block(const uint8_t *panel, const int32_t *sums, size_t quads, const int8_t *q,
                        const vq_panel_scale *scale, size_t n, float *out, size_t stride)
{
    const __m256i low = _mm256_set1_epi16(255);
    __m256i sum[4][2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    for (size_t j = 0; j < quads; j++, q += 32, panel += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)panel);
        __m256i b = _mm256_loadu_si256((const __m256i *)(panel + 32));
        __m256i even[2] = {_mm256_and_si256(a, low), _mm256_and_si256(b, low)};
        __m256i odd[2] = {_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            int32_t four;
            __builtin_memcpy(&four, q + 4 * i, sizeof four);
            __m256i x = _mm256_set1_epi32(four), y = _mm256_srai_epi16(x, 8);
            x = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) sum[i][h] = madd(madd(sum[i][h], even[h], x), odd[h], y);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        if ((size_t)i >= n) break;
        for (int h = 0; h < 2; h++) {
            __m256i more = _mm256_loadu_si256((const __m256i *)(sums + 8 * h));
            more = _mm256_mullo_epi32(more, _mm256_set1_epi32(scale[i].of_sum));
            more = _mm256_sub_epi32(more, _mm256_set1_epi32(scale[i].less));
            __m256 s = _mm256_cvtepi32_ps(_mm256_add_epi32(sum[i][h], more));
            _mm256_storeu_ps(out + (size_t)i * stride + 8 * h,
                             _mm256_mul_ps(s, _mm256_set1_ps(scale[i].unit)));
        }
    }
}

static void panel_dots(const uint8_t *panels, const int32_t *sums, size_t count, size_t quads,
                       const int8_t *q, const vq_panel_scale *scale, size_t n, float *restrict out,
                       size_t stride)
{
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < n; i += 4)
            panel_block(panels + p * quads * 64, sums + 16 * p, quads,
                        q + i / 8 * quads * 32 + i % 8 * 4, scale + i, n - i,
                        out + i * stride + 16 * p, stride);
}

/* ---- the k-th largest ---------------------------------------------------------------------- */

INLINE size_t count_from(const float *x, size_t n, float at)
{
    const __m256 least = _mm256_set1_ps(at);
    __m256i count = _mm256_setzero_si256();
    size_t i = 0, rest = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 k = _mm256_cmp_ps(_mm256_loadu_ps(x + i), least, _CMP_GE_OQ);
        count = _mm256_sub_epi32(count, _mm256_castps_si256(k));
    }
    for (; i < n; i++) rest += x[i] >= at;
    return (size_t)(uint32_t)reduce(count) + rest;
}

/* The least value not below at, and the largest of all. */
INLINE float least_from(const float *x, size_t n, float at)
{
    float least = __builtin_inff();
    for (size_t i = 0; i < n; i++) least = x[i] >= at && x[i] < least ? x[i] : least;
    return least;
}

INLINE float largest(const float *x, size_t n)
{
    float most = x[0];
    for (size_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    return most;
}

#include "src/math/x86/kth.h"

/* 32 sums at a time, or 16. */
INLINE void felt_block(const int8_t *table, size_t kk, const uint32_t *rows, size_t n,
                       const float *slope, const float *bend, const float *unit, const float *here,
                       float weight, float *restrict out, size_t count)
{
    __m256 sum[4], at[4];
#pragma GCC unroll 4
    for (size_t h = 0; h < count; h++) {
        sum[h] = _mm256_setzero_ps();
        if (here != NULL) at[h] = _mm256_loadu_ps(here + 8 * h);
    }
    for (size_t i = 0; i < n; i++) {
        const int8_t *row = table + rows[i] * kk;
        const __m256 a = _mm256_set1_ps(slope[i]), b = _mm256_set1_ps(bend[i]);
#pragma GCC unroll 4
        for (size_t h = 0; h < count; h++) {
            __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(row + 8 * h));
            __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), s = a;
            if (here != NULL) s = _mm256_fmadd_ps(_mm256_set1_ps(unit[i]), at[h], a);
            sum[h] = _mm256_fmadd_ps(_mm256_fmadd_ps(b, v, s), v, sum[h]);
        }
    }
#pragma GCC unroll 4
    for (size_t h = 0; h < count; h++) {
        __m256 was = _mm256_loadu_ps(out + 8 * h);
        _mm256_storeu_ps(out + 8 * h, _mm256_fmadd_ps(_mm256_set1_ps(weight), sum[h], was));
    }
}

static void felt_i8(const int8_t *table, size_t kk, const uint32_t *rows, size_t n,
                    const float *slope, const float *bend, const float *unit, const float *here,
                    float weight, float *restrict out)
{
    size_t w = 0;
    if (here == NULL)
        for (; w + 32 <= kk; w += 32)
            felt_block(table + w, kk, rows, n, slope, bend, unit, NULL, weight, out + w, 4);
    for (; here != NULL && w + 32 <= kk; w += 32)
        felt_block(table + w, kk, rows, n, slope, bend, unit, here + w, weight, out + w, 4);
    for (; w < kk; w += 16)
        felt_block(table + w, kk, rows, n, slope, bend, unit, here != NULL ? here + w : NULL,
                   weight, out + w, 2);
}

const vq_kernels vq_kernels_avx2_int = {
    .isa = "avx2",
    .quantize_i16 = quantize_i16,
    .matvec_u8 = matvec_u8,
    .panel_matvec = panel_matvec,
    .panel_matvec_u4 = panel_matvec_u4,
    .lut_u8 = lut_u8,
    .near_row_i8 = near_row_i8,
    .near_row_u8 = near_row_u8,
    .felt_i8 = felt_i8,
    .panel_dots = panel_dots,
    .kth_f32 = kth_f32,
};
