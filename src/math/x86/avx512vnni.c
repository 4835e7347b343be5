/* SPDX-License-Identifier: Apache-2.0 */
/* avx512vnni.c -- products of bytes where VPDPBUSD adds four of them to a sum at once.  It wants a
 * signed byte on the other side, so a number of the query is 128 times one plus seven bits. */
#include <immintrin.h>
#include <stdbool.h>

#include "src/math/kernels.h"
#include "src/math/x86/lanes512.h"

extern const vq_kernels vq_kernels_avx512vnni;

enum { COLUMNS = 4096 }; /* of a query that is split at a time */

typedef struct halves {
    int8_t high[COLUMNS], low[COLUMNS]; /* plain: low holds the numbers themselves, as bytes */
    bool plain;                         /* all are 0..255 */
    uint32_t sum;                       /* then: 128 times their sum */
} __attribute__((aligned(64))) halves;

/* Up to COLUMNS numbers; what is behind them up to the next 64 becomes zero. */
static void split(const int16_t *x, size_t d, halves *h)
{
    __m512i any = _mm512_setzero_si512(), sum = any;
    for (size_t j = 0; j < d || j % 64 != 0; j += 32) {
        __mmask32 k = j >= d ? 0 : d - j >= 32 ? UINT32_MAX : (1u << (d - j)) - 1u;
        __m512i v = _mm512_maskz_loadu_epi16(k, x + j);
        any = _mm512_or_si512(any, v);
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(v, _mm512_set1_epi16(128)));
        _mm256_store_si256((__m256i *)(h->low + j), _mm512_cvtepi16_epi8(v));
    }
    h->plain = _mm512_test_epi16_mask(any, _mm512_set1_epi16(-256)) == 0;
    h->sum = (uint32_t)_mm512_reduce_add_epi32(sum);
    for (size_t j = 0; !h->plain && (j < d || j % 64 != 0); j += 32) {
        __mmask32 k = j >= d ? 0 : d - j >= 32 ? UINT32_MAX : (1u << (d - j)) - 1u;
        __m512i v = _mm512_maskz_loadu_epi16(k, x + j);
        __m256i high = _mm512_cvtepi16_epi8(_mm512_srai_epi16(v, 7));
        __m256i low = _mm512_cvtepi16_epi8(_mm512_and_si512(v, _mm512_set1_epi16(127)));
        _mm256_store_si256((__m256i *)(h->high + j), high);
        _mm256_store_si256((__m256i *)(h->low + j), low);
    }
}

/* Adds the products of 64 bytes of a row.  Numbers that are bytes take the unsigned side, and the
 * row, 128 less, the signed one; sums wrap, as the sum of all does not. */
INLINE void add_products(__m512i *high, __m512i *low, __m512i v, __m512i x, __m512i y, bool plain)
{
    if (plain) {
        v = _mm512_xor_si512(v, _mm512_set1_epi8(-128));
        *low = _mm512_dpbusd_epi32(*low, y, v);
        return;
    }
    *high = _mm512_dpbusd_epi32(*high, v, x);
    *low = _mm512_dpbusd_epi32(*low, v, y);
}

/* n <= 8 rows at once; n and plain are constant where this is inlined. */
INLINE __m256i dots(const uint8_t *a, size_t d, size_t stride, const halves *h, const int n,
                    const bool plain)
{
    __m512i high[8], low[8];
    __m256i w[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) high[r] = low[r] = _mm512_setzero_si512();
    size_t j = 0;
    for (; j + 64 <= d; j += 64) {
        const __m512i x = _mm512_load_si512(h->high + j), y = _mm512_load_si512(h->low + j);
#pragma GCC unroll 8
        for (int r = 0; r < n; r++)
            add_products(&high[r], &low[r], _mm512_loadu_si512(a + (size_t)r * stride + j), x, y,
                         plain);
    }
    if (j < d) {
        const __m512i x = _mm512_load_si512(h->high + j), y = _mm512_load_si512(h->low + j);
        const __mmask64 k = (UINT64_C(1) << (d - j)) - 1u;
#pragma GCC unroll 8
        for (int r = 0; r < n; r++)
            add_products(&high[r], &low[r], _mm512_maskz_loadu_epi8(k, a + (size_t)r * stride + j),
                         x, y, plain);
    }
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) {
        __m512i v = _mm512_add_epi32(_mm512_slli_epi32(high[r], 7), low[r]);
        w[r] = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    }
    __m256i p = _mm256_hadd_epi32(_mm256_hadd_epi32(w[0], w[1]), _mm256_hadd_epi32(w[2], w[3]));
    __m256i q = _mm256_hadd_epi32(_mm256_hadd_epi32(w[4], w[5]), _mm256_hadd_epi32(w[6], w[7]));
    p = _mm256_add_epi32(_mm256_permute2x128_si256(p, q, 0x20),
                         _mm256_permute2x128_si256(p, q, 0x31));
    return plain ? _mm256_add_epi32(p, _mm256_set1_epi32((int)h->sum)) : p;
}

/* Up to eight rows. */
INLINE __m256i some_rows(const uint8_t *a, size_t rows, size_t d, size_t stride, const halves *h,
                         const bool plain)
{
    if (rows >= 8) return dots(a, d, stride, h, 8, plain);
    __m256i s = _mm256_setzero_si256();
    for (size_t r = 0; r < rows; r++)
        s = _mm256_mask_broadcastd_epi32(
            s, (__mmask8)(1u << r),
            _mm256_castsi256_si128(dots(a + r * stride, d, stride, h, 1, plain)));
    return s;
}

static void matvec_u8(const uint8_t *a, size_t rows, size_t d, size_t stride, const int16_t *x,
                      const float *step, const float *low, float unit, float sum,
                      float *restrict out)
{
    halves h;
    for (size_t first = 0; first == 0 || first < d; first += COLUMNS) {
        size_t count = d - first < COLUMNS ? d - first : COLUMNS;
        bool last = first + count == d;
        split(x + first, count, &h);
        for (size_t i = 0; i < rows; i += 8) { /* out holds the sums of the columns before */
            const __mmask8 k = (__mmask8)(rows - i >= 8 ? 0xffu : (1u << (rows - i)) - 1u);
            const uint8_t *at = a + i * stride + first;
            __m256i s = h.plain ? some_rows(at, rows - i, count, stride, &h, true)
                                : some_rows(at, rows - i, count, stride, &h, false);
            if (first > 0) s = _mm256_add_epi32(s, _mm256_maskz_loadu_epi32(k, out + i));
            if (!last) {
                _mm256_mask_storeu_epi32(out + i, k, s);
                continue;
            }
            __m256 factor = _mm256_mul_ps(_mm256_maskz_loadu_ps(k, step + i), _mm256_set1_ps(unit));
            __m256 term = _mm256_mul_ps(_mm256_maskz_loadu_ps(k, low + i), _mm256_set1_ps(sum));
            __m256 v = _mm256_fmadd_ps(factor, _mm256_cvtepi32_ps(s), term);
            _mm256_mask_storeu_ps(out + i, k, v);
        }
    }
}

/* The fours of columns of a query of which any is not zero: where they stand among all, and what
 * they are, as in halves. */
typedef struct fours {
    size_t n;
    uint32_t at[COLUMNS / 4], high[COLUMNS / 4], low[COLUMNS / 4];
} fours;

static void find_fours(const halves *h, size_t d, fours *out)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    out->n = 0;
    for (size_t j = 0; j < d; j += 64) { /* full stores: what is behind is written over, or room */
        __m512i low = _mm512_load_si512(h->low + j), high = _mm512_setzero_si512();
        if (!h->plain) high = _mm512_load_si512(h->high + j);
        __mmask16 k = _mm512_test_epi32_mask(_mm512_or_si512(low, high), _mm512_set1_epi32(-1));
        __m512i at = _mm512_add_epi32(_mm512_set1_epi32((int)(j / 4)), lanes);
        _mm512_storeu_si512(out->at + out->n, _mm512_maskz_compress_epi32(k, at));
        _mm512_storeu_si512(out->low + out->n, _mm512_maskz_compress_epi32(k, low));
        _mm512_storeu_si512(out->high + out->n, _mm512_maskz_compress_epi32(k, high));
        out->n += (size_t)__builtin_popcount(k);
    }
}

/* Adds to sums (16 a panel) the products with P panels that stand beside each other; P and plain
 * are constant where this is inlined. */
INLINE void panel_sums(const uint8_t *panels, const fours *q, uint32_t of_plain, int32_t *sums,
                       const int P, const bool plain)
{
    __m512i high[VQ_BESIDE], low[VQ_BESIDE];
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) high[p] = low[p] = _mm512_setzero_si512();
    for (size_t i = 0; i < q->n; i++) {
        const uint8_t *at = panels + (size_t)q->at[i] * (size_t)P * 64;
        const __m512i y = _mm512_set1_epi32((int)q->low[i]);
        const __m512i x = plain ? y : _mm512_set1_epi32((int)q->high[i]);
#pragma GCC unroll 8
        for (int p = 0; p < P; p++)
            add_products(&high[p], &low[p], _mm512_load_si512(at + 64 * p), x, y, plain);
    }
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) {
        __m512i s = _mm512_add_epi32(_mm512_slli_epi32(high[p], 7), low[p]);
        if (plain) s = _mm512_add_epi32(s, _mm512_set1_epi32((int)of_plain));
        s = _mm512_add_epi32(s, _mm512_loadu_si512(sums + 16 * p));
        _mm512_storeu_si512(sums + 16 * p, s);
    }
}

/* The same; `beside` panels. */
static void some_panels(const uint8_t *panels, size_t beside, const fours *q, const halves *h,
                        int32_t *sums)
{
    switch (beside + (h->plain ? 0 : VQ_BESIDE)) {
#define BESIDE(n)                                                                                  \
    case n: panel_sums(panels, q, h->sum, sums, n, true); break;                                   \
    case n + VQ_BESIDE: panel_sums(panels, q, 0, sums, n, false); break
        BESIDE(1);
        BESIDE(2);
        BESIDE(3);
        BESIDE(4);
        BESIDE(5);
        BESIDE(6);
        BESIDE(7);
        BESIDE(8);
#undef BESIDE
    default: break;
    }
}

static void panel_matvec(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                         const float *step, const float *low, float unit, float sum,
                         float *restrict out)
{
    enum { ROWS = 16 * VQ_BESIDE };
    halves h;
    fours q;
    for (size_t first = 0; first == 0 || first < d; first += COLUMNS) {
        size_t count = d - first < COLUMNS ? d - first : COLUMNS;
        bool last = first + count == d;
        split(x + first, count, &h);
        find_fours(&h, count, &q);
        for (size_t i = 0; i < rows; i += ROWS) { /* out holds the sums of the columns before */
            int32_t sums[ROWS] = {0};
            size_t n = rows - i < ROWS ? rows - i : ROWS;
            if (first > 0) __builtin_memcpy(sums, out + i, n * sizeof *sums);
            some_panels(panels + vq_in_panels(rows, d, i, first), vq_panels_beside(rows, i), &q, &h,
                        sums);
            if (last)
                panel_scale(sums, n, step + i, low + i, unit, sum, out + i);
            else
                __builtin_memcpy(out + i, sums, n * sizeof *sums);
        }
    }
}

/* Adds to sums (32 a panel: of the low bits, of the high ones) the products with P of `beside`
 * panels of four bits.  A byte's product less that of its low bits is 16 times that of the others.
 */
INLINE void half_sums(const uint8_t *panels, size_t beside, const fours *q, uint32_t of_plain,
                      int32_t *sums, const int P, const bool plain)
{
    const __m512i low_bits = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    __m512i high[2][VQ_BESIDE], low[2][VQ_BESIDE]; /* of the low bits, of all */
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) high[0][p] = high[1][p] = low[0][p] = low[1][p] = zero;
    for (size_t i = 0; i < q->n; i++) {
        const uint8_t *at = panels + (size_t)q->at[i] * beside * 64;
        const __m512i y = _mm512_set1_epi32((int)q->low[i]);
        const __m512i x = plain ? y : _mm512_set1_epi32((int)q->high[i]);
#pragma GCC unroll 8
        for (int p = 0; p < P; p++) {
            __m512i v = _mm512_load_si512(at + 64 * p), bits = _mm512_and_si512(v, low_bits);
            add_products(&high[1][p], &low[1][p], v, x, y, plain);
            low[0][p] = plain ? _mm512_dpbusd_epi32(low[0][p], y, bits)
                              : _mm512_dpbusd_epi32(low[0][p], bits, y);
            if (!plain) high[0][p] = _mm512_dpbusd_epi32(high[0][p], bits, x);
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) {
        __m512i s = _mm512_add_epi32(_mm512_slli_epi32(high[0][p], 7), low[0][p]);
        __m512i all = _mm512_add_epi32(_mm512_slli_epi32(high[1][p], 7), low[1][p]);
        if (plain) all = _mm512_add_epi32(all, _mm512_set1_epi32((int)of_plain));
        all = _mm512_srai_epi32(_mm512_sub_epi32(all, s), 4);
        int32_t *to = sums + 32 * p;
        _mm512_storeu_si512(to, _mm512_add_epi32(s, _mm512_loadu_si512(to)));
        _mm512_storeu_si512(to + 16, _mm512_add_epi32(all, _mm512_loadu_si512(to + 16)));
    }
}

/* The same of all `beside` panels; registers hold the sums of eight, or of four where a number of
 * the query is two bytes. */
static void some_halves(const uint8_t *panels, size_t beside, const fours *q, const halves *h,
                        int32_t *sums)
{
    size_t p = 0;
    if (h->plain && beside == VQ_BESIDE) {
        half_sums(panels, beside, q, h->sum, sums, VQ_BESIDE, true);
        return;
    }
    for (; p + 4 <= beside; p += 4)
        if (h->plain)
            half_sums(panels + 64 * p, beside, q, h->sum, sums + 32 * p, 4, true);
        else
            half_sums(panels + 64 * p, beside, q, 0, sums + 32 * p, 4, false);
    for (; p < beside; p++)
        if (h->plain)
            half_sums(panels + 64 * p, beside, q, h->sum, sums + 32 * p, 1, true);
        else
            half_sums(panels + 64 * p, beside, q, 0, sums + 32 * p, 1, false);
}

static void panel_matvec_u4(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                            const float *step, const float *low, float unit, float sum,
                            float *restrict out)
{
    enum { ROWS = 32 * VQ_BESIDE };
    size_t halved = vq_halved_rows(rows);
    halves h;
    fours q;
    for (size_t first = 0; first == 0 || first < d; first += COLUMNS) {
        size_t count = d - first < COLUMNS ? d - first : COLUMNS;
        bool last = first + count == d;
        split(x + first, count, &h);
        find_fours(&h, count, &q);
        for (size_t i = 0; i < rows; i += ROWS) { /* out holds the sums of the columns before */
            int32_t sums[ROWS] = {0};
            size_t n = rows - i < ROWS ? rows - i : ROWS;
            if (first > 0) __builtin_memcpy(sums, out + i, n * sizeof *sums);
            some_halves(panels + vq_in_halves(rows, d, i, first), vq_panels_beside(halved, i / 2),
                        &q, &h, sums);
            if (last)
                panel_scale(sums, n, step + i, low + i, unit, sum, out + i);
            else
                __builtin_memcpy(out + i, sums, n * sizeof *sums);
        }
    }
}

/* Eight queries and P panels; P is constant where this is inlined. */
INLINE void panel_block(const uint8_t *panels, const int32_t *sums, size_t quads, const int8_t *q,
                        const vq_panel_scale *scale, size_t n, float *out, size_t stride,
                        const int P)
{
    __m512i sum[8][3];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 3
        for (int p = 0; p < 3; p++) sum[i][p] = _mm512_setzero_si512();
    for (size_t j = 0; j < quads; j++, q += 32, panels += 64) {
        __m512i v[3];
#pragma GCC unroll 3
        for (int p = 0; p < P; p++) v[p] = _mm512_load_si512(panels + (size_t)p * quads * 64);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            int32_t four;
            __builtin_memcpy(&four, q + 4 * i, sizeof four);
            const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 3
            for (int p = 0; p < P; p++) sum[i][p] = _mm512_dpbusd_epi32(sum[i][p], v[p], x);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        if ((size_t)i >= n) break;
#pragma GCC unroll 3
        for (int p = 0; p < P; p++)
            panel_store(out + (size_t)i * stride + 16 * p, sum[i][p], sums + 16 * p, &scale[i]);
    }
}

static void panel_dots(const uint8_t *panels, const int32_t *sums, size_t count, size_t quads,
                       const int8_t *q, const vq_panel_scale *scale, size_t n, float *restrict out,
                       size_t stride)
{
    for (size_t p = 0; p < count; p += 3, panels += 3 * 64 * quads, sums += 48)
        for (size_t i = 0; i < n; i += 8) {
            const int8_t *x = q + i * quads * 4;
            float *to = out + i * stride + 16 * p;
            switch (count - p) {
            case 1: panel_block(panels, sums, quads, x, scale + i, n - i, to, stride, 1); break;
            case 2: panel_block(panels, sums, quads, x, scale + i, n - i, to, stride, 2); break;
            default: panel_block(panels, sums, quads, x, scale + i, n - i, to, stride, 3);
            }
        }
}

const vq_kernels vq_kernels_avx512vnni = {
    .isa = "avx512vbmi",
    .matvec_u8 = matvec_u8,
    .panel_matvec = panel_matvec,
    .panel_matvec_u4 = panel_matvec_u4,
    .panel_dots = panel_dots,
};
