/* SPDX-License-Identifier: Apache-2.0 */
/* avx2.c -- sums, conversions and searches with AVX2, FMA and F16C.  The 16 lanes (f64: 8) that
 * scalar.c sums in are two registers; the elements of the last, partial group are added to their
 * lanes one by one or under a mask.  avx2_pq.c has what works on codes. */
#include <immintrin.h>

#include "src/math/kernels.h"

#define INLINE static inline __attribute__((always_inline))

extern const vq_kernels vq_kernels_avx2;

typedef struct lanes16 {
    __m256 lo, hi;
} lanes16;

typedef struct lanes8 {
    __m256d lo, hi;
} lanes8;

/* The first n lanes of eight. */
INLINE __m256i first_lanes(size_t n)
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - (n < 8 ? n : 8)));
}

INLINE float reduce_f32(lanes16 v)
{
    __m256 w = _mm256_add_ps(v.lo, v.hi);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

INLINE double reduce_f64(lanes8 v)
{
    __m256d w = _mm256_add_pd(v.lo, v.hi);
    __m128d x = _mm_add_pd(_mm256_castpd256_pd128(w), _mm256_extractf128_pd(w, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}

/* reduce_f32 of four, step by step together. */
INLINE __m128 reduce4_f32(const lanes16 v[4])
{
    __m256 w[4], half[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) w[i] = _mm256_add_ps(v[i].lo, v[i].hi);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
        half[i] = _mm256_add_ps(_mm256_permute2f128_ps(w[2 * i], w[2 * i + 1], 0x20),
                                _mm256_permute2f128_ps(w[2 * i], w[2 * i + 1], 0x31));
    __m256 quarter = _mm256_add_ps(_mm256_shuffle_ps(half[0], half[1], 0x44),
                                   _mm256_shuffle_ps(half[0], half[1], 0xee));
    __m128 even = _mm256_castps256_ps128(quarter), odd = _mm256_extractf128_ps(quarter, 1);
    __m128 all = _mm_add_ps(_mm_shuffle_ps(even, odd, 0x88), _mm_shuffle_ps(even, odd, 0xdd));
    return _mm_shuffle_ps(all, all, _MM_SHUFFLE(3, 1, 2, 0));
}

/* ---- f32 sums ------------------------------------------------------------------------------ */

INLINE lanes16 load16(const float *x)
{
    return (lanes16){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}

/* The first n < 16 elements at x, zeros behind; nothing else is read. */
INLINE lanes16 load_first(const float *x, size_t n)
{
    lanes16 v = {_mm256_maskload_ps(x, first_lanes(n)), _mm256_setzero_ps()};
    if (n > 8) v.hi = _mm256_maskload_ps(x + 8, first_lanes(n - 8));
    return v;
}

INLINE void fma16(lanes16 *sum, lanes16 x, lanes16 y)
{
    sum->lo = _mm256_fmadd_ps(x.lo, y.lo, sum->lo);
    sum->hi = _mm256_fmadd_ps(x.hi, y.hi, sum->hi);
}

/* The same for the first n < 16 lanes alone: a lane of -0 must not become +0. */
INLINE void fma_first(lanes16 *sum, lanes16 x, lanes16 y, size_t n)
{
    lanes16 t = *sum;
    fma16(&t, x, y);
    sum->lo = _mm256_blendv_ps(sum->lo, t.lo, _mm256_castsi256_ps(first_lanes(n)));
    if (n > 8) sum->hi = _mm256_blendv_ps(sum->hi, t.hi, _mm256_castsi256_ps(first_lanes(n - 8)));
}

INLINE lanes16 sub16(lanes16 x, lanes16 y)
{
    return (lanes16){_mm256_sub_ps(x.lo, y.lo), _mm256_sub_ps(x.hi, y.hi)};
}

static float dot_f32(const float *x, const float *y, size_t d)
{
    lanes16 sum = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t j = 0;
    for (; j + 16 <= d; j += 16) fma16(&sum, load16(x + j), load16(y + j));
    if (j < d) fma_first(&sum, load_first(x + j, d - j), load_first(y + j, d - j), d - j);
    return reduce_f32(sum);
}

static float l2sq_f32(const float *x, const float *y, size_t d)
{
    lanes16 sum = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
        lanes16 t = sub16(load16(x + j), load16(y + j));
        fma16(&sum, t, t);
    }
    if (j < d) {
        lanes16 t = sub16(load_first(x + j, d - j), load_first(y + j, d - j));
        fma_first(&sum, t, t, d - j);
    }
    return reduce_f32(sum);
}

/* Four rows at once: eight sums are what the registers hold, and enough to hide their latency. */
INLINE __m128 dot4_f32(const float *a, size_t d, size_t stride, const float *x)
{
    lanes16 sum[4];
    size_t j = 0;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) sum[r].lo = sum[r].hi = _mm256_setzero_ps();
    for (; j + 16 <= d; j += 16) {
        lanes16 v = load16(x + j);
#pragma GCC unroll 4
        for (size_t r = 0; r < 4; r++) {
            _mm_prefetch(a + (r + 4) * stride + j, _MM_HINT_T0);
            fma16(&sum[r], load16(a + r * stride + j), v);
        }
    }
    if (j < d) {
        lanes16 v = load_first(x + j, d - j);
#pragma GCC unroll 4
        for (size_t r = 0; r < 4; r++)
            fma_first(&sum[r], load_first(a + r * stride + j, d - j), v, d - j);
    }
    return reduce4_f32(sum);
}

static void matvec_f32(const float *a, size_t rows, size_t d, size_t stride, const float *x,
                       float *out)
{
    size_t i = 0;
    for (; i + 4 <= rows; i += 4) _mm_storeu_ps(out + i, dot4_f32(a + i * stride, d, stride, x));
    for (; i < rows; i++) out[i] = dot_f32(a + i * stride, x, d);
}

static void matvecs_f32(const float *a, size_t rows, size_t d, size_t stride, const float *const *x,
                        size_t n, float *const *out)
{
    for (size_t v = 0; v < n; v++) matvec_f32(a, rows, d, stride, x[v], out[v]);
}

INLINE __m256 u8_to_f32(const uint8_t *c)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)c)));
}

static float dot_f32_u8(const float *q, const uint8_t *codes, size_t d)
{
    lanes16 sum = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t j = 0;
    for (; j + 16 <= d; j += 16)
        fma16(&sum, load16(q + j), (lanes16){u8_to_f32(codes + j), u8_to_f32(codes + j + 8)});
    if (j < d) {
        uint8_t last[16] = {0};
        for (size_t i = j; i < d; i++) last[i - j] = codes[i];
        fma_first(&sum, load_first(q + j, d - j), (lanes16){u8_to_f32(last), u8_to_f32(last + 8)},
                  d - j);
    }
    return reduce_f32(sum);
}

/* ---- stored rows --------------------------------------------------------------------------- */

/* Eight elements at p as f64, from any address. */
INLINE lanes8 wide_f32(const char *p)
{
    __m256 v = _mm256_loadu_ps((const float *)p);
    return (lanes8){_mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                    _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}

INLINE lanes8 wide_f16(const char *p)
{
    __m256 v = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    return (lanes8){_mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                    _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}

INLINE lanes8 wide_i32(__m256i v)
{
    return (lanes8){_mm256_cvtepi32_pd(_mm256_castsi256_si128(v)),
                    _mm256_cvtepi32_pd(_mm256_extracti128_si256(v, 1))};
}

INLINE lanes8 wide_i8(const char *p)
{
    return wide_i32(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

INLINE lanes8 wide_u8(const char *p)
{
    return wide_i32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/* The n < 8 last elements, of `size` bytes each, with zeros behind them, so that eight can be read.
 */
INLINE const char *padded(char tmp[32], const char *p, size_t bytes)
{
    __builtin_memset(tmp, 0, 32);
    __builtin_memcpy(tmp, p, bytes);
    return tmp;
}

/* The first n < 8 lanes of sum get fma(x, y, .). */
INLINE void fma_first_f64(lanes8 *sum, lanes8 x, lanes8 y, size_t n)
{
    __m256i k = first_lanes(n);
    __m256d klo = _mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(k)));
    __m256d khi = _mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm256_extracti128_si256(k, 1)));
    sum->lo = _mm256_blendv_pd(sum->lo, _mm256_fmadd_pd(x.lo, y.lo, sum->lo), klo);
    sum->hi = _mm256_blendv_pd(sum->hi, _mm256_fmadd_pd(x.hi, y.hi, sum->hi), khi);
}

INLINE lanes8 load_f64(const double *q)
{
    return (lanes8){_mm256_loadu_pd(q), _mm256_loadu_pd(q + 4)};
}

INLINE lanes8 load_first_f64(const double *q, size_t n)
{
    double tmp[8] = {0};
    for (size_t i = 0; i < n; i++) tmp[i] = q[i];
    return load_f64(tmp);
}

INLINE lanes8 sub8(lanes8 x, lanes8 y)
{
    return (lanes8){_mm256_sub_pd(x.lo, y.lo), _mm256_sub_pd(x.hi, y.hi)};
}

/* The three sums over a row: x is its group of eight, q the query's; a and b are what is
 * multiplied. */
#define ROW_SUM(type, size, query, query_first, a, b)                                              \
    lanes8 sum = {_mm256_setzero_pd(), _mm256_setzero_pd()};                                       \
    const char *p = row;                                                                           \
    size_t j = 0;                                                                                  \
    for (; j + 8 <= d; j += 8) {                                                                   \
        lanes8 x = wide_##type(p + j * (size)), t = query;                                         \
        sum.lo = _mm256_fmadd_pd(a.lo, b.lo, sum.lo);                                              \
        sum.hi = _mm256_fmadd_pd(a.hi, b.hi, sum.hi);                                              \
    }                                                                                              \
    if (j < d) {                                                                                   \
        char tmp[32];                                                                              \
        lanes8 x = wide_##type(padded(tmp, p + j * (size), (d - j) * (size))), t = query_first;    \
        fma_first_f64(&sum, a, b, d - j);                                                          \
    }                                                                                              \
    return reduce_f64(sum);

#define ROW_KERNELS(type, size)                                                                    \
    static double ip_row_##type(const double *q, const void *row, size_t d)                        \
    {                                                                                              \
        ROW_SUM(type, size, load_f64(q + j), load_first_f64(q + j, d - j), t, x)                   \
    }                                                                                              \
    static double l2sq_row_##type(const double *q, const void *row, size_t d)                      \
    {                                                                                              \
        ROW_SUM(type, size, sub8(load_f64(q + j), x), sub8(load_first_f64(q + j, d - j), x), t, t) \
    }                                                                                              \
    static double sq_row_##type(const void *row, size_t d)                                         \
    {                                                                                              \
        ROW_SUM(type, size, x, x, t, t)                                                            \
    }

ROW_KERNELS(f32, 4)
ROW_KERNELS(f16, 2)
ROW_KERNELS(i8, 1)
ROW_KERNELS(u8, 1)

/* ---- conversions --------------------------------------------------------------------------- */

INLINE __m256 i8_to_f32(const char *c)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)c)));
}

static void f32_from_f16(const void *in, size_t n, float *restrict out)
{
    const char *p = in;
    char tmp[32];
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i))));
    if (i == n) return;
    const __m128i *last = (const __m128i *)padded(tmp, p + 2 * i, 2 * (n - i));
    _mm256_maskstore_ps(out + i, first_lanes(n - i), _mm256_cvtph_ps(_mm_loadu_si128(last)));
}

static void f32_from_i8(const void *in, size_t n, float *restrict out)
{
    const char *p = in;
    char tmp[32];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, i8_to_f32(p + i));
    if (i < n)
        _mm256_maskstore_ps(out + i, first_lanes(n - i), i8_to_f32(padded(tmp, p + i, n - i)));
}

static void f32_from_u8(const void *in, size_t n, float *restrict out)
{
    const char *p = in;
    char tmp[32];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, u8_to_f32((const uint8_t *)p + i));
    if (i == n) return;
    const uint8_t *last = (const uint8_t *)padded(tmp, p + i, n - i);
    _mm256_maskstore_ps(out + i, first_lanes(n - i), u8_to_f32(last));
}

static void f16_from_f32(const float *in, size_t n, void *restrict out)
{
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    char *p = out;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), NEAREST);
        _mm_storeu_si128((__m128i *)(p + 2 * i), h);
    }
    if (i == n) return;
    char tmp[16];
    __m128i h = _mm256_cvtps_ph(_mm256_maskload_ps(in + i, first_lanes(n - i)), NEAREST);
    _mm_storeu_si128((__m128i *)tmp, h);
    __builtin_memcpy(p + 2 * i, tmp, 2 * (n - i));
}

/* Eight values at a time, packed with saturation, which is the clamp of what rounding leaves. */
INLINE __m128i quantize8(__m256 x, __m256 lo, __m256 inv)
{
    __m256 t = _mm256_mul_ps(_mm256_sub_ps(x, lo), inv);
    t = _mm256_min_ps(_mm256_max_ps(t, _mm256_setzero_ps()), _mm256_set1_ps(255.0f));
    __m256i v = _mm256_cvtps_epi32(t);
    __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_packus_epi16(w, w);
}

static void quantize_u8(const float *x, size_t n, float lo, float inv, uint8_t *restrict out)
{
    const __m256 least = _mm256_set1_ps(lo), factor = _mm256_set1_ps(inv);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storel_epi64((__m128i *)(out + i), quantize8(_mm256_loadu_ps(x + i), least, factor));
    if (i == n) return;
    char tmp[16];
    __m256 last = _mm256_maskload_ps(x + i, first_lanes(n - i));
    _mm_storeu_si128((__m128i *)tmp, quantize8(last, least, factor));
    __builtin_memcpy(out + i, tmp, n - i);
}

/* ---- grids and planes of bits -------------------------------------------------------------- */

const vq_kernels vq_kernels_avx2 = {
    .isa = "avx2",
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
    .quantize_u8 = quantize_u8,
};
