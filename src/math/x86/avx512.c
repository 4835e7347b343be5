/* SPDX-License-Identifier: Apache-2.0 */
/* avx512.c -- sums, conversions and searches with AVX-512 F, BW, VL and DQ.  One register holds the
 * 16 lanes (f64: 8) that scalar.c sums in; a masked step leaves the lanes beyond the end untouched,
 * and masked loads do not fault there.  avx512_pq.c has what works on codes. */
#include <immintrin.h>

#include "src/math/kernels.h"
#include "src/math/x86/lanes512.h"

extern const vq_kernels vq_kernels_avx512;

INLINE __mmask8 first8(size_t n)
{
    return (__mmask8)((1u << n) - 1u);
}

/* lane[i] + lane[i + 8] */
INLINE __m256 fold(__m512 v)
{
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

INLINE float reduce_f32(__m512 v)
{
    __m256 w = fold(v);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

INLINE double reduce_f64(__m512d v)
{
    __m256d w = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    __m128d x = _mm_add_pd(_mm256_castpd256_pd128(w), _mm256_extractf128_pd(w, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}

/* reduce_f32 of eight, step by step together: in each, sums of neighbours move into one register.
 */
INLINE __m256 reduce8_f32(const __m512 v[8])
{
    __m256 half[4], quarter[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256 a = fold(v[2 * i]), b = fold(v[2 * i + 1]);
        half[i] =
            _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        __m256 a = half[2 * i], b = half[2 * i + 1];
        quarter[i] = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
    }
    __m256 all = _mm256_add_ps(_mm256_shuffle_ps(quarter[0], quarter[1], 0x88),
                               _mm256_shuffle_ps(quarter[0], quarter[1], 0xdd));
    return _mm256_permutevar8x32_ps(all, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* ---- f32 sums ------------------------------------------------------------------------------ */

static float dot_f32(const float *x, const float *y, size_t d)
{
    __m512 sum = _mm512_setzero_ps();
    size_t j = 0;
    for (; j + 16 <= d; j += 16)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(x + j), _mm512_loadu_ps(y + j), sum);
    if (j < d) {
        __mmask16 k = first16(d - j);
        sum = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(k, x + j),
                                    _mm512_maskz_loadu_ps(k, y + j), sum, k);
    }
    return reduce_f32(sum);
}

static float l2sq_f32(const float *x, const float *y, size_t d)
{
    __m512 sum = _mm512_setzero_ps();
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
        __m512 t = _mm512_sub_ps(_mm512_loadu_ps(x + j), _mm512_loadu_ps(y + j));
        sum = _mm512_fmadd_ps(t, t, sum);
    }
    if (j < d) {
        __mmask16 k = first16(d - j);
        __m512 t = _mm512_sub_ps(_mm512_maskz_loadu_ps(k, x + j), _mm512_maskz_loadu_ps(k, y + j));
        sum = _mm512_mask3_fmadd_ps(t, t, sum, k);
    }
    return reduce_f32(sum);
}

/* Eight rows at once: one load of x serves all, and eight chains of additions hide each other's
 * latency.  The eight rows after them are prefetched, from another page each as a rule. */
INLINE __m256 dot8_f32(const float *a, size_t d, size_t stride, const float *x)
{
    __m512 sum[8];
    size_t j = 0;
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) sum[r] = _mm512_setzero_ps();
    for (; j + 16 <= d; j += 16) {
        __m512 v = _mm512_loadu_ps(x + j);
#pragma GCC unroll 8
        for (size_t r = 0; r < 8; r++) {
            _mm_prefetch(a + (r + 8) * stride + j, _MM_HINT_T0);
            sum[r] = _mm512_fmadd_ps(_mm512_loadu_ps(a + r * stride + j), v, sum[r]);
        }
    }
    if (j < d) {
        __mmask16 k = first16(d - j);
        __m512 v = _mm512_maskz_loadu_ps(k, x + j);
#pragma GCC unroll 8
        for (size_t r = 0; r < 8; r++)
            sum[r] =
                _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(k, a + r * stride + j), v, sum[r], k);
    }
    return reduce8_f32(sum);
}

/* Two rows at once. */
INLINE void dot2_f32(const float *a, size_t d, size_t stride, const float *x, float *out)
{
    __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
    for (size_t j = 0; j < d; j += 16) {
        const __mmask16 k = d - j < 16 ? first16(d - j) : 0xffff;
        const __m512 v = _mm512_maskz_loadu_ps(k, x + j);
        first = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(k, a + j), v, first, k);
        second = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(k, a + stride + j), v, second, k);
    }
    out[0] = reduce_f32(first);
    out[1] = reduce_f32(second);
}

static void matvec_f32(const float *a, size_t rows, size_t d, size_t stride, const float *x,
                       float *out)
{
    size_t i = 0;
    for (; i + 8 <= rows; i += 8) _mm256_storeu_ps(out + i, dot8_f32(a + i * stride, d, stride, x));
    for (; i + 2 <= rows; i += 2) dot2_f32(a + i * stride, d, stride, x, out + i);
    for (; i < rows; i++) out[i] = dot_f32(a + i * stride, x, d);
}

/* Four rows by four vectors: 16 chains of additions, and a row is loaded for four of them. */
INLINE void dot4x4_f32(const float *a, size_t d, size_t stride, const float *const *x, size_t i,
                       float *const *out)
{
    __m512 sum[16];
    size_t j = 0;
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) sum[r] = _mm512_setzero_ps();
    for (; j < d; j += 16) {
        const __mmask16 k = d - j < 16 ? first16(d - j) : 0xffff;
        __m512 row[4];
#pragma GCC unroll 4
        for (size_t r = 0; r < 4; r++) row[r] = _mm512_maskz_loadu_ps(k, a + (i + r) * stride + j);
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++) {
            const __m512 at = _mm512_maskz_loadu_ps(k, x[v] + j);
#pragma GCC unroll 4
            for (size_t r = 0; r < 4; r++)
                sum[4 * v + r] = _mm512_mask3_fmadd_ps(row[r], at, sum[4 * v + r], k);
        }
    }
#pragma GCC unroll 2
    for (size_t v = 0; v < 4; v += 2) {
        const __m256 two = reduce8_f32(sum + 4 * v);
        _mm_storeu_ps(out[v] + i, _mm256_castps256_ps128(two));
        _mm_storeu_ps(out[v + 1] + i, _mm256_extractf128_ps(two, 1));
    }
}

/* By rows, then by vectors: four rows and some vectors fit into the first-level cache, and the
 * matrix is read once for all of them. */
static void matvecs_f32(const float *a, size_t rows, size_t d, size_t stride, const float *const *x,
                        size_t n, float *const *out)
{
    size_t i = 0, fours = n - n % 4;
    for (; i + 4 <= rows && fours > 0; i += 4)
        for (size_t v = 0; v < fours; v += 4) dot4x4_f32(a, d, stride, x + v, i, out + v);
    for (; i < rows; i++)
        for (size_t v = 0; v < fours; v++) out[v][i] = dot_f32(a + i * stride, x[v], d);
    for (size_t v = fours; v < n; v++) matvec_f32(a, rows, d, stride, x[v], out[v]);
}

static float dot_f32_u8(const float *q, const uint8_t *codes, size_t d)
{
    __m512 sum = _mm512_setzero_ps();
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
        __m128i c = _mm_loadu_si128((const __m128i *)(codes + j));
        __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(c));
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(q + j), v, sum);
    }
    if (j < d) {
        __mmask16 k = first16(d - j);
        __m128i c = _mm_maskz_loadu_epi8(k, codes + j);
        __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(c));
        sum = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(k, q + j), v, sum, k);
    }
    return reduce_f32(sum);
}

/* ---- stored rows --------------------------------------------------------------------------- */

/* Eight elements j.. of a row as f64; those not in k are not read and come as 0. */
INLINE __m512d row_f32(const void *row, size_t j, __mmask8 k)
{
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(k, (const char *)row + 4 * j));
}

INLINE __m512d row_f16(const void *row, size_t j, __mmask8 k)
{
    __m128i h = _mm_maskz_loadu_epi16(k, (const char *)row + 2 * j);
    return _mm512_cvtps_pd(_mm256_cvtph_ps(h));
}

INLINE __m512d row_i8(const void *row, size_t j, __mmask8 k)
{
    __m128i c = k == 0xff ? _mm_loadl_epi64((const __m128i *)((const char *)row + j))
                          : _mm_maskz_loadu_epi8(k, (const char *)row + j);
    return _mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(c));
}

INLINE __m512d row_u8(const void *row, size_t j, __mmask8 k)
{
    __m128i c = k == 0xff ? _mm_loadl_epi64((const __m128i *)((const char *)row + j))
                          : _mm_maskz_loadu_epi8(k, (const char *)row + j);
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(c));
}

/* The three sums over a row; `step` makes one group of eight: x is the row's part, p the query's.
 */
#define ROW_SUM(type, load_query, step)                                                            \
    __m512d sum = _mm512_setzero_pd();                                                             \
    size_t j = 0;                                                                                  \
    for (; j + 8 <= d; j += 8) {                                                                   \
        const __mmask8 k = 0xff;                                                                   \
        __m512d x = row_##type(row, j, 0xff), p = load_query;                                      \
        step;                                                                                      \
    }                                                                                              \
    if (j < d) {                                                                                   \
        const __mmask8 k = first8(d - j);                                                          \
        __m512d x = row_##type(row, j, k), p = load_query;                                         \
        step;                                                                                      \
    }                                                                                              \
    return reduce_f64(sum);

#define ROW_KERNELS(type)                                                                          \
    static double ip_row_##type(const double *q, const void *row, size_t d)                        \
    {                                                                                              \
        ROW_SUM(type, _mm512_maskz_loadu_pd(k, q + j), sum = _mm512_mask3_fmadd_pd(p, x, sum, k))  \
    }                                                                                              \
    static double l2sq_row_##type(const double *q, const void *row, size_t d)                      \
    {                                                                                              \
        ROW_SUM(type, _mm512_sub_pd(_mm512_maskz_loadu_pd(k, q + j), x),                           \
                sum = _mm512_mask3_fmadd_pd(p, p, sum, k))                                         \
    }                                                                                              \
    static double sq_row_##type(const void *row, size_t d)                                         \
    {                                                                                              \
        ROW_SUM(type, x, sum = _mm512_mask3_fmadd_pd(p, x, sum, k))                                \
    }

ROW_KERNELS(f32)
ROW_KERNELS(f16)
ROW_KERNELS(i8)
ROW_KERNELS(u8)

/* ---- conversions --------------------------------------------------------------------------- */

static void f32_from_f16(const void *in, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m256i h = _mm256_maskz_loadu_epi16(k, (const char *)in + 2 * i);
        _mm512_mask_storeu_ps(out + i, k, _mm512_cvtph_ps(h));
    }
}

static void f32_from_i8(const void *in, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m128i c = _mm_maskz_loadu_epi8(k, (const char *)in + i);
        _mm512_mask_storeu_ps(out + i, k, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(c)));
    }
}

static void f32_from_u8(const void *in, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m128i c = _mm_maskz_loadu_epi8(k, (const char *)in + i);
        _mm512_mask_storeu_ps(out + i, k, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(c)));
    }
}

static void f16_from_f32(const float *in, size_t n, void *restrict out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 v = _mm512_maskz_loadu_ps(k, in + i);
        __m256i h = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16((char *)out + 2 * i, k, h);
    }
}

INLINE __m512i quantize16(const float *x, __m512 least, __m512 factor)
{
    __m512 t = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x), least), factor);
    t = _mm512_min_ps(_mm512_max_ps(t, _mm512_setzero_ps()), _mm512_set1_ps(255.0f));
    return _mm512_cvtps_epi32(t);
}

/* 64 at once are packed within lanes of 128 bits, and then put in order. */
static void quantize_u8(const float *x, size_t n, float lo, float inv, uint8_t *restrict out)
{
    const __m512 least = _mm512_set1_ps(lo), factor = _mm512_set1_ps(inv);
    const __m512 zero = _mm512_setzero_ps(), most = _mm512_set1_ps(255.0f);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        __m512i a = _mm512_packs_epi32(quantize16(x + i, least, factor),
                                       quantize16(x + i + 16, least, factor));
        __m512i b = _mm512_packs_epi32(quantize16(x + i + 32, least, factor),
                                       quantize16(x + i + 48, least, factor));
        _mm512_storeu_si512(out + i, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(a, b)));
    }
    for (; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 t = _mm512_sub_ps(_mm512_maskz_loadu_ps(k, x + i), least);
        t = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(t, factor), zero), most);
        _mm_mask_storeu_epi8(out + i, k, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(t)));
    }
}

/* ---- searches in an array ------------------------------------------------------------------ */

typedef struct chain {
    __m512 top;
    __m512i at;
} chain;

INLINE void climb(chain *c, __m512 v, __m512i at)
{
    __mmask16 more = _mm512_cmp_ps_mask(v, c->top, _CMP_GT_OQ);
    c->top = _mm512_max_ps(v, c->top); /* not by the mask, which comes late */
    c->at = _mm512_mask_mov_epi32(c->at, more, at);
}

/* Each lane keeps the first of its largest; then the smallest index among the lanes at the top. */
static size_t argmax_f32(const float *a, const float *b, size_t n)
{
    const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i step = _mm512_set1_epi32(16);
    chain c[2] = {{lowest, at}, {lowest, at}};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) {
            __m512 v = _mm512_loadu_ps(a + i + 16 * h);
            if (b != NULL) v = _mm512_add_ps(v, _mm512_loadu_ps(b + i + 16 * h));
            climb(&c[h], v, at);
            at = _mm512_add_epi32(at, step);
        }
    }
    for (; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 v = _mm512_mask_loadu_ps(lowest, k, a + i);
        if (b != NULL) v = _mm512_mask_add_ps(v, k, v, _mm512_maskz_loadu_ps(k, b + i));
        climb(&c[0], v, at);
        at = _mm512_add_epi32(at, step);
    }
    __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(_mm512_max_ps(c[0].top, c[1].top)));
    uint32_t best = UINT32_MAX;
    for (int h = 0; h < 2; h++) {
        __mmask16 k = _mm512_cmp_ps_mask(c[h].top, top, _CMP_EQ_OQ);
        uint32_t least = _mm512_mask_reduce_min_epu32(k, c[h].at);
        if (least < best) best = least;
    }
    return best;
}

/* a[i..] + b[i..]; -infinity beyond the end. */
INLINE __m512 sums_from(const float *a, const float *b, size_t i, __mmask16 k)
{
    __m512 s = _mm512_add_ps(_mm512_maskz_loadu_ps(k, a + i), _mm512_maskz_loadu_ps(k, b + i));
    return _mm512_mask_blend_ps(k, _mm512_set1_ps(-__builtin_inff()), s);
}

static size_t near_max_f32(const float *a, const float *b, size_t n, float within,
                           uint32_t *restrict idx)
{
    __m512 top[4];
    size_t count = 0, i = 0;
#pragma GCC unroll 4
    for (int h = 0; h < 4; h++) top[h] = _mm512_set1_ps(-__builtin_inff());
    for (; i + 64 <= n; i += 64) {
#pragma GCC unroll 4
        for (size_t h = 0; h < 4; h++) /* of NaN and top the second */
            top[h] = _mm512_max_ps(sums_from(a, b, i + 16 * h, 0xffff), top[h]);
    }
    for (; i < n; i += 16)
        top[0] = _mm512_max_ps(sums_from(a, b, i, n - i >= 16 ? 0xffff : first16(n - i)), top[0]);
    top[0] = _mm512_max_ps(_mm512_max_ps(top[0], top[1]), _mm512_max_ps(top[2], top[3]));
    const __m512 least = _mm512_set1_ps(_mm512_reduce_max_ps(top[0]) - within);
    for (i = 0; i < n; i += 64) {
        uint64_t near = 0;
#pragma GCC unroll 4
        for (size_t h = 0; h < 64; h += 16) {
            __mmask16 k = n - i >= h + 16 ? 0xffff : n - i > h ? first16(n - i - h) : 0;
            __m512 s = sums_from(a, b, k != 0 ? i + h : i, k);
            near |= (uint64_t)_mm512_mask_cmp_ps_mask(k, s, least, _CMP_NLT_UQ) << h;
        }
        for (; near != 0; near &= near - 1)
            idx[count++] = (uint32_t)i + (uint32_t)__builtin_ctzll(near);
    }
    return count;
}

static void minmax_f32(const float *x, size_t n, float *lo, float *hi)
{
    __m512 least = _mm512_set1_ps(x[0]), most = least;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        least = _mm512_min_ps(least, v);
        most = _mm512_max_ps(most, v);
    }
    if (i < n) {
        __mmask16 k = first16(n - i);
        least = _mm512_mask_min_ps(least, k, least, _mm512_maskz_loadu_ps(k, x + i));
        most = _mm512_mask_max_ps(most, k, most, _mm512_maskz_loadu_ps(k, x + i));
    }
    *lo = _mm512_reduce_min_ps(least) + 0.0f; /* a zero as +0 */
    *hi = _mm512_reduce_max_ps(most) + 0.0f;
}

/* Sixteen scores at i.., of which those in k exist. */
INLINE __m512 score16(const uint16_t *sums, const float *factor, size_t i, __mmask16 k,
                      __m512 scale, __m512 base)
{
    __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(k, sums + i)));
    s = _mm512_fmadd_ps(s, scale, base);
    if (factor != NULL) s = _mm512_sub_ps(s, _mm512_maskz_loadu_ps(k, factor + i));
    return s;
}

/* Compressed in registers and stored whole: a compressing store is slow on Zen 4.  A whole store at
 * `found` stays within the room for n, since found <= i and i + 16 <= n. */
INLINE size_t keep16(__m512 s, __mmask16 k, size_t i, uint32_t *idx, float *score)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i at = _mm512_add_epi32(_mm512_set1_epi32((int)i), lanes);
    _mm512_storeu_si512(idx, _mm512_maskz_compress_epi32(k, at));
    _mm512_storeu_ps(score, _mm512_maskz_compress_ps(k, s));
    return (size_t)__builtin_popcount(k);
}

/* Below it no sum gives a score, without a factor, that reaches the threshold, whatever it is
 * rounded to; 0: that is not known. */
static double least_sum(float scale, float base, float threshold)
{
    double size = threshold < 0.0f ? -(double)threshold : (double)threshold;
    double rounding = size * 0x1p-23 + 0x1p-149;
    double sum = ((double)threshold - (double)base - rounding) / (double)scale;
    return scale > 0.0f && sum > 0.0 ? sum : 0.0; /* no numbers, too */
}

static size_t select_u16(const uint16_t *sums, const float *factor, size_t n, float scale,
                         float base, float threshold, uint32_t *restrict idx, float *restrict score)
{
    const __m512 vscale = _mm512_set1_ps(scale), vbase = _mm512_set1_ps(base);
    const __m512 least = _mm512_set1_ps(threshold);
    double sum = factor == NULL ? least_sum(scale, base, threshold) : 0.0;
    if (sum >= 65536.0) return 0;
    const __m512i enough = _mm512_set1_epi16((short)(uint16_t)sum);
    size_t found = 0, i = 0;
    for (; i + 32 <= n; i += 32) {
        if (_mm512_cmpge_epu16_mask(_mm512_loadu_si512(sums + i), enough) == 0) continue;
        __m512 s0 = score16(sums, factor, i, 0xffff, vscale, vbase);
        __m512 s1 = score16(sums, factor, i + 16, 0xffff, vscale, vbase);
        __mmask16 k0 = _mm512_cmp_ps_mask(s0, least, _CMP_GE_OQ);
        __mmask16 k1 = _mm512_cmp_ps_mask(s1, least, _CMP_GE_OQ);
        if (__builtin_expect((k0 | k1) == 0, 1)) continue;
        found += keep16(s0, k0, i, idx + found, score + found);
        found += keep16(s1, k1, i + 16, idx + found, score + found);
    }
    for (; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 s = score16(sums, factor, i, k, vscale, vbase);
        k = _mm512_mask_cmp_ps_mask(k, s, least, _CMP_GE_OQ);
        if (k == 0) continue;
        found += keep_some(s, k, i, idx + found, score + found);
    }
    return found;
}

const vq_kernels vq_kernels_avx512 = {
    .isa = "avx512",
    .dot_f32 = dot_f32,
    .l2sq_f32 = l2sq_f32,
    .matvec_f32 = matvec_f32,
    .matvecs_f32 = matvecs_f32,
    .ip_row_f32 = ip_row_f32,
    .ip_row_f16 = ip_row_f16,
    .ip_row_i8 = ip_row_i8,
    .ip_row_u8 = ip_row_u8,
    .l2sq_row_f32 = l2sq_row_f32,
    .l2sq_row_f16 = l2sq_row_f16,
    .l2sq_row_i8 = l2sq_row_i8,
    .l2sq_row_u8 = l2sq_row_u8,
    .sq_row_f32 = sq_row_f32,
    .sq_row_f16 = sq_row_f16,
    .sq_row_i8 = sq_row_i8,
    .sq_row_u8 = sq_row_u8,
    .f32_from_f16 = f32_from_f16,
    .f32_from_i8 = f32_from_i8,
    .f32_from_u8 = f32_from_u8,
    .f16_from_f32 = f16_from_f32,
    .dot_f32_u8 = dot_f32_u8,
    .argmax_f32 = argmax_f32,
    .near_max_f32 = near_max_f32,
    .minmax_f32 = minmax_f32,
    .quantize_u8 = quantize_u8,
    .select_u16 = select_u16,
};
