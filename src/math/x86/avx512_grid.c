/* SPDX-License-Identifier: Apache-2.0 */
/* avx512_grid.c -- scalar codes with error bars with AVX-512 F, BW, VL and DQ. */
#include <immintrin.h>

#include "src/math/kernels.h"
#include "src/math/x86/lanes512.h"

extern const vq_kernels vq_kernels_avx512_grid;

INLINE float reduce_f32(__m512 v)
{
    __m256 w = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

INLINE int32_t reduce_i32(__m256i v)
{
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}

/* ---- planes by tables ---------------------------------------------------------------------- */

/* Planes of so many blocks, whose sums stay in registers; what is to be scanned next is asked for
 * plane by plane. */
INLINE void plane_group(const uint8_t *lut, const vq_plane_run *runs, size_t nruns,
                        const uint8_t *codes, const uint8_t *ahead, size_t stride, uint16_t *sums,
                        const int blocks)
{
    const __m512i mask = _mm512_set1_epi8(15);
    sums2 s[8];
#pragma GCC unroll 8
    for (int g = 0; g < blocks; g++) s[g].all = s[g].high = _mm512_setzero_si512();
    for (size_t r = 0; r < nruns; r++) {
        const __m128i shift = _mm_cvtsi32_si128(runs[r].shift);
        __m512i sum[8];
#pragma GCC unroll 8
        for (int g = 0; g < blocks; g++) sum[g] = _mm512_setzero_si512();
        for (size_t p = 0; p < runs[r].planes; p++, lut += 64, codes += 64, ahead += 64) {
            const __m512i t = _mm512_load_si512(lut);
            const __m512i even = _mm512_shuffle_i64x2(t, t, 0xa0),
                          odd = _mm512_shuffle_i64x2(t, t, 0xf5);
#pragma GCC unroll 8
            for (int g = 0; g < blocks; g++) {
                __m512i code = _mm512_loadu_si512(codes + (size_t)g * stride);
                __m512i upper = _mm512_and_si512(_mm512_srli_epi16(code, 4), mask);
                _mm_prefetch(ahead + (size_t)g * stride, _MM_HINT_NTA);
                code = _mm512_shuffle_epi8(even, _mm512_and_si512(code, mask));
                sum[g] = _mm512_add_epi8(sum[g], code);
                sum[g] = _mm512_add_epi8(sum[g], _mm512_shuffle_epi8(odd, upper));
            }
        }
#pragma GCC unroll 8
        for (int g = 0; g < blocks; g++) {
            __m512i high = _mm512_srli_epi16(sum[g], 8);
            s[g].all = _mm512_add_epi16(s[g].all, _mm512_sll_epi16(sum[g], shift));
            s[g].high = _mm512_add_epi16(s[g].high, _mm512_sll_epi16(high, shift));
        }
    }
#pragma GCC unroll 8
    for (int g = 0; g < blocks; g++) store_halves(s[g], sums + g * (int)VQ_BLOCK);
}

/* Groups of eight blocks; the last group by its size. */
static void plane_scan(const uint8_t *lut, const vq_plane_run *runs, size_t nruns,
                       const uint8_t *codes, const uint8_t *ahead, size_t nblocks, size_t stride,
                       uint16_t *restrict sums)
{
    if (ahead == NULL) ahead = codes; /* which is to be read anyway */
    for (; nblocks >= 8; nblocks -= 8) {
        plane_group(lut, runs, nruns, codes, ahead, stride, sums, 8);
        codes += 8 * stride;
        ahead += 8 * stride;
        sums += 8 * VQ_BLOCK;
    }
    switch (nblocks) {
    case 1: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 1); break;
    case 2: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 2); break;
    case 3: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 3); break;
    case 4: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 4); break;
    case 5: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 5); break;
    case 6: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 6); break;
    case 7: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 7); break;
    default: break;
    }
}

/* ---- estimates and error bars -------------------------------------------------------------- */

/* Sixteen sums at i.., of which those in k exist, on their grid's scale. */
INLINE __m512 score16(const uint16_t *sums, size_t i, __mmask16 k, __m512 scale, __m512 low)
{
    __m512i u = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(k, sums + i));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(u), scale, low);
}

static size_t select_f16(const uint16_t *sums, const void *scales, const void *shifts, float unit,
                         const float *factor, size_t n, float scale, float low, float base,
                         float threshold, uint32_t *restrict idx, float *restrict score)
{
    const __m512 vscale = _mm512_set1_ps(scale), vlow = _mm512_set1_ps(low);
    const __m512 vbase = _mm512_set1_ps(base), least = _mm512_set1_ps(threshold);
    size_t found = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        __m512 s = score16(sums, i, k, vscale, vlow);
        __m256i h = _mm256_maskz_loadu_epi16(k, (const char *)scales + 2 * i);
        s = _mm512_fmadd_ps(_mm512_cvtph_ps(h), s, vbase);
        if (shifts != NULL) {
            h = _mm256_maskz_loadu_epi16(k, (const char *)shifts + 2 * i);
            s = _mm512_fmadd_ps(_mm512_cvtph_ps(h), _mm512_set1_ps(unit), s);
        }
        if (factor != NULL) s = _mm512_sub_ps(s, _mm512_maskz_loadu_ps(k, factor + i));
        k = _mm512_mask_cmp_ps_mask(k, s, least, _CMP_GE_OQ);
        if (k == 0) continue;
        found += keep_some(s, k, i, idx + found, score + found);
    }
    return found;
}

static const float octave[12] = VQ_OCTAVE, inverses[12] = VQ_OCTAVE_INVERSE;

/* A number for each sixteenth of an octave that a twelfth lies in. */
INLINE __m512 sixteenths(const float twelfths[12])
{
    const __m512i from = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    return _mm512_permutexvar_ps(from, _mm512_maskz_loadu_ps(0x0fff, twelfths));
}

/* Sixteen bytes u as 2^(u / 12), 0 as 0; and one over that, likewise.  ahead, back: the sixteenths
 * of the two tables.  u / 12 as a number of 23 bits behind the point: what is before it is an
 * exponent, and the first four bits behind it are looked up. */
INLINE __m512 twelfths16(const uint8_t *bytes, __m512 ahead, __m512 back, __m512 *inverse)
{
    __m512i u = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes));
    __m512i v = _mm512_mullo_epi32(u, _mm512_set1_epi32(((1 << 23) + 11) / 12));
    __m512i exponent = _mm512_and_si512(v, _mm512_set1_epi32(-(1 << 23)));
    __m512i r = _mm512_srli_epi32(v, 19);
    const __mmask16 some = _mm512_test_epi32_mask(u, u);
    __m512i m = _mm512_castps_si512(_mm512_permutexvar_ps(r, ahead));
    __m512i i = _mm512_castps_si512(_mm512_permutexvar_ps(r, back));
    *inverse = _mm512_castsi512_ps(_mm512_maskz_sub_epi32(some, i, exponent));
    return _mm512_castsi512_ps(_mm512_maskz_add_epi32(some, m, exponent));
}

static size_t select_bars(const uint16_t *sums, const uint8_t *factors, size_t stride,
                          const float *factor, size_t n, const vq_bars *b, float threshold,
                          uint32_t *restrict idx, float *restrict score, float *restrict most)
{
    const __m512 scale = _mm512_set1_ps(b->scale), low = _mm512_set1_ps(b->low);
    const __m512 base = _mm512_set1_ps(b->base), one = _mm512_set1_ps(1.0f);
    const __m512 least = _mm512_set1_ps(threshold), slack = _mm512_set1_ps(0x1p-20f);
    const __m512 ahead = sixteenths(octave), back = sixteenths(inverses);
    size_t found = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = n - i >= 16 ? 0xffff : first16(n - i);
        const uint8_t *block = factors + i / VQ_BLOCK * stride, *pairs = block + i % VQ_BLOCK * 2;
        const uint8_t *bytes = block + (b->shifted ? 4 : 2) * VQ_BLOCK + i % VQ_BLOCK;
        __m512 s = score16(sums, i, k, scale, low);
        __m512 h = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)pairs));
        s = _mm512_fmadd_ps(h, s, base);
        if (b->shifted) {
            __m512 e = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(pairs + 2 * VQ_BLOCK)));
            s = _mm512_fmadd_ps(e, _mm512_set1_ps(b->unit), s);
        }
        if (factor != NULL) s = _mm512_sub_ps(s, _mm512_maskz_loadu_ps(k, factor + i));
        __m512 inverse, unused;
        __m512 l = _mm512_mul_ps(_mm512_set1_ps(b->error), twelfths16(bytes, ahead, back, &unused));
        __m512 t = _mm512_mul_ps(_mm512_set1_ps(b->turn),
                                 twelfths16(bytes + VQ_BLOCK, ahead, back, &inverse));
        inverse = _mm512_mul_ps(_mm512_set1_ps(b->inverse), inverse);
        __m512 sq = _mm512_mul_ps(_mm512_mul_ps(l, _mm512_set1_ps(b->plain)), inverse);
        sq = _mm512_fmadd_ps(l, _mm512_set1_ps(b->sum), sq);
        __m512 p = _mm512_sub_ps(s, _mm512_set1_ps(b->from));
        p = _mm512_fmadd_ps(_mm512_set1_ps(b->half), sq, p);
        __m512 v = _mm512_mul_ps(l, _mm512_add_ps(one, t));
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(b->reach), _mm512_set1_ps(b->fixed));
        v = _mm512_fmadd_ps(_mm512_mul_ps(h, h), _mm512_set1_ps(b->blunt), v);
        v = _mm512_fmadd_ps(sq, _mm512_set1_ps(b->noise), v);
        p = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps(b->bend), t), p, s);
        /* Roots are slow, and mostly nobody comes near: what a root would have to be, and a bit
         * less for what rounding may add. */
        __m512 want = _mm512_add_ps(_mm512_abs_ps(least), _mm512_abs_ps(p));
        want = _mm512_fnmadd_ps(want, slack, _mm512_sub_ps(least, p));
        __m512 far = _mm512_mul_ps(_mm512_mul_ps(want, want), _mm512_set1_ps(1.0f - 0x1p-20f));
        __mmask16 out = _mm512_cmp_ps_mask(want, _mm512_setzero_ps(), _CMP_GT_OQ);
        out = _mm512_mask_cmp_ps_mask(out, v, far, _CMP_LT_OQ);
        if ((k & (uint32_t)~out) == 0) continue;
        v = _mm512_add_ps(p, _mm512_sqrt_ps(v));
        k = _mm512_mask_cmp_ps_mask(k, v, least, _CMP_GE_OQ);
        if (k == 0) continue;
        size_t kept = keep_some(s, k, i, idx + found, score + found);
        _mm512_mask_storeu_ps(most + found, first16(kept), _mm512_maskz_compress_ps(k, v));
        found += kept;
    }
    return found;
}

/* ---- grids and planes of bits -------------------------------------------------------------- */

static void grid_sums(const float *a, const float *u, const float *v, const float *limit, size_t d,
                      float inv, float *ip, float *sq)
{
    const __m512 half = _mm512_set1_ps(0.5f), scale = _mm512_set1_ps(inv);
    __m512 ips = _mm512_setzero_ps(), sqs = _mm512_setzero_ps();
    for (size_t j = 0; j < d; j += 16) {
        __m512 top = _mm512_loadu_ps(limit + j), x = _mm512_mul_ps(_mm512_loadu_ps(a + j), scale);
        x = _mm512_add_ps(_mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), half);
        x = _mm512_max_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), top));
        x = _mm512_min_ps(x, top);
        ips = _mm512_fmadd_ps(_mm512_loadu_ps(u + j), x, ips);
        sqs = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_loadu_ps(v + j), x), x, sqs);
    }
    *ip = reduce_f32(ips);
    *sq = reduce_f32(sqs);
}

static float planes_f32(const float *x, const uint8_t *planes, const uint8_t *count, size_t groups)
{
    __m512 sum[16], all = _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int s = 0; s < 16; s++) sum[s] = _mm512_setzero_ps();
#define PLANE(s)                                                                                   \
    __builtin_memcpy(&bits, planes, sizeof bits);                                                  \
    sum[s] = _mm512_mask_add_ps(sum[s], bits, sum[s], v);                                          \
    planes += 2;                                                                                   \
    __attribute__((fallthrough))
    for (size_t j = 0; j < groups; j++) {
        const __m512 v = _mm512_loadu_ps(x + 16 * j);
        __mmask16 bits;
        switch (count[j]) {
        case 16: PLANE(15);
        case 15: PLANE(14);
        case 14: PLANE(13);
        case 13: PLANE(12);
        case 12: PLANE(11);
        case 11: PLANE(10);
        case 10: PLANE(9);
        case 9: PLANE(8);
        case 8: PLANE(7);
        case 7: PLANE(6);
        case 6: PLANE(5);
        case 5: PLANE(4);
        case 4: PLANE(3);
        case 3: PLANE(2);
        case 2: PLANE(1);
        case 1: PLANE(0);
        default: break;
        }
    }
#undef PLANE
#pragma GCC unroll 16
    for (int s = 0; s < 16; s++)
        all = _mm512_fmadd_ps(_mm512_set1_ps((float)(1 << s)), sum[s], all);
    return reduce_f32(all);
}

static int32_t planes_sum(const vq_planes_plan *plan, const uint8_t *planes, size_t groups)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (size_t j = 0; j < groups; j++) {
        __m256i code = _mm256_setzero_si256();
        for (size_t s = plan[j / 4].count[j % 4]; s-- > 0; planes += 2) {
            __mmask16 bits;
            __builtin_memcpy(&bits, planes, sizeof bits);
            code = _mm256_add_epi16(code, code);
            code = _mm256_mask_add_epi16(code, bits, code, one);
        }
        __m256i v = _mm256_loadu_si256((const __m256i *)plan[j / 4].x + j % 4);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(code, v));
    }
    return reduce_i32(sum);
}

/* ---- tables of subset sums ----------------------------------------------------------------- */

/* Sums of magnitudes of each four neighbours, in all four lanes. */
INLINE __m512 quads(__m512 v)
{
    v = _mm512_add_ps(v, _mm512_permute_ps(v, 0xb1));
    return _mm512_add_ps(v, _mm512_permute_ps(v, 0x4e));
}

static float subset_luts(const float *x, size_t m, uint8_t *restrict out, float *low)
{
    const __m512 zero = _mm512_setzero_ps(), top = _mm512_set1_ps(255.0f);
    __m512 sum = zero, most = zero;
    for (size_t i = 0; i < 4 * m; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        sum = _mm512_add_ps(sum, _mm512_min_ps(v, zero));
        most = _mm512_max_ps(most, quads(_mm512_abs_ps(v)));
    }
    *low = reduce_f32(sum);
    const float range = _mm512_reduce_max_ps(most);
    const __m512 inv = _mm512_set1_ps(range > 0.0f ? 255.0f / range : 0.0f);
    for (size_t j = 0; j < m; j++) {
        __m512 t[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            static const __mmask16 has[4] = {0xaaaa, 0xcccc, 0xf0f0, 0xff00};
            __m512 v = _mm512_set1_ps(x[4 * j + (size_t)i]);
            t[i] = _mm512_max_ps(_mm512_mask_sub_ps(v, (__mmask16)~has[i], zero, v), zero);
        }
        __m512 s = _mm512_add_ps(_mm512_add_ps(t[0], t[1]), _mm512_add_ps(t[2], t[3]));
        s = _mm512_min_ps(_mm512_mul_ps(s, inv), top);
        _mm_storeu_si128((__m128i *)(out + 16 * j), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(s)));
    }
    return range / 255.0f;
}

const vq_kernels vq_kernels_avx512_grid = {
    .isa = "avx512",
    .plane_scan = plane_scan,
    .select_f16 = select_f16,
    .select_bars = select_bars,
    .grid_sums = grid_sums,
    .planes_f32 = planes_f32,
    .planes_sum = planes_sum,
    .subset_luts = subset_luts,
};
