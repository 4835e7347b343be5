/* SPDX-License-Identifier: Apache-2.0 */
/* avx2_grid.c -- scalar codes with error bars with AVX2, FMA and F16C. */
#include <immintrin.h>

#include "src/math/kernels.h"
#include "src/math/x86/lanes256.h"

extern const vq_kernels vq_kernels_avx2_grid;

typedef struct lanes16 {
    __m256 lo, hi;
} lanes16;

INLINE float reduce_f32(lanes16 v)
{
    __m256 w = _mm256_add_ps(v.lo, v.hi);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* Eight sums on their grid's scale. */
INLINE __m256 score8(const uint16_t sums[8], __m256 scale, __m256 low)
{
    __m128i u = _mm_loadu_si128((const __m128i *)sums);
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(u)), scale, low);
}

static size_t select_f16(const uint16_t *sums, const void *scales, const void *shifts, float unit,
                         const float *factor, size_t n, float scale, float low, float base,
                         float threshold, uint32_t *restrict idx, float *restrict score)
{
    const __m256 vscale = _mm256_set1_ps(scale), vlow = _mm256_set1_ps(low);
    const __m256 vbase = _mm256_set1_ps(base), least = _mm256_set1_ps(threshold);
    size_t found = 0;
    for (size_t i = 0; i < n; i += 8) {
        uint16_t some[24] = {0}; /* sums, and the bits of scales and shifts */
        float off[8] = {0}, s[8];
        size_t count = n - i < 8 ? n - i : 8;
        __builtin_memcpy(some, sums + i, count * sizeof *some);
        __builtin_memcpy(some + 8, (const char *)scales + 2 * i, count * sizeof *some);
        if (shifts != NULL)
            __builtin_memcpy(some + 16, (const char *)shifts + 2 * i, count * sizeof *some);
        if (factor != NULL) __builtin_memcpy(off, factor + i, count * sizeof *off);
        __m256 h = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(some + 8)));
        __m256 v = _mm256_fmadd_ps(h, score8(some, vscale, vlow), vbase);
        h = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(some + 16)));
        if (shifts != NULL) v = _mm256_fmadd_ps(h, _mm256_set1_ps(unit), v);
        if (factor != NULL) v = _mm256_sub_ps(v, _mm256_loadu_ps(off));
        uint32_t k = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(v, least, _CMP_GE_OQ));
        k &= (1u << count) - 1;
        _mm256_storeu_ps(s, v);
        for (; k != 0; k &= k - 1) {
            uint32_t l = (uint32_t)__builtin_ctz(k);
            idx[found] = (uint32_t)i + l;
            score[found++] = s[l];
        }
    }
    return found;
}

/* ---- planes by tables ---------------------------------------------------------------------- */

/* Planes of so many blocks; half sums of a run in bytes, which fill the registers with two tables,
 * and the others wait in memory for the end of a run. */
INLINE void plane_group(const uint8_t *lut, const vq_plane_run *runs, size_t nruns,
                        const uint8_t *codes, const uint8_t *ahead, size_t stride, uint16_t *sums,
                        const int blocks)
{
    const __m256i mask = _mm256_set1_epi8(15);
    sums2 s[4];
#pragma GCC unroll 4
    for (int g = 0; g < blocks; g++) s[g].all = s[g].high = _mm256_setzero_si256();
    for (size_t r = 0; r < nruns; r++) {
        const __m128i shift = _mm_cvtsi32_si128(runs[r].shift);
        __m256i sum[4][2];
#pragma GCC unroll 4
        for (int g = 0; g < blocks; g++) sum[g][0] = sum[g][1] = _mm256_setzero_si256();
        for (size_t p = 0; p < runs[r].planes; p++, ahead += 64) {
#pragma GCC unroll 4
            for (int g = 0; g < blocks; g++) _mm_prefetch(ahead + (size_t)g * stride, _MM_HINT_T0);
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++, lut += 32, codes += VQ_BLOCK) {
                const __m256i even = table16(lut), odd = table16(lut + 16);
#pragma GCC unroll 4
                for (int g = 0; g < blocks; g++) {
                    __m256i code = _mm256_load_si256((const __m256i *)(codes + (size_t)g * stride));
                    __m256i upper = _mm256_and_si256(_mm256_srli_epi16(code, 4), mask);
                    code = _mm256_shuffle_epi8(even, _mm256_and_si256(code, mask));
                    sum[g][h] = _mm256_add_epi8(sum[g][h], code);
                    sum[g][h] = _mm256_add_epi8(sum[g][h], _mm256_shuffle_epi8(odd, upper));
                }
            }
        }
#pragma GCC unroll 4
        for (int g = 0; g < blocks; g++)
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) {
                __m256i high = _mm256_srli_epi16(sum[g][h], 8);
                s[g].all = _mm256_add_epi16(s[g].all, _mm256_sll_epi16(sum[g][h], shift));
                s[g].high = _mm256_add_epi16(s[g].high, _mm256_sll_epi16(high, shift));
            }
    }
#pragma GCC unroll 4
    for (int g = 0; g < blocks; g++) store_block(s[g], sums + g * (int)VQ_BLOCK);
}

static void plane_scan(const uint8_t *lut, const vq_plane_run *runs, size_t nruns,
                       const uint8_t *codes, const uint8_t *ahead, size_t nblocks, size_t stride,
                       uint16_t *restrict sums)
{
    if (ahead == NULL) ahead = codes; /* which is to be read anyway */
    for (; nblocks >= 4; nblocks -= 4) {
        plane_group(lut, runs, nruns, codes, ahead, stride, sums, 4);
        codes += 4 * stride;
        ahead += 4 * stride;
        sums += 4 * VQ_BLOCK;
    }
    switch (nblocks) {
    case 1: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 1); break;
    case 2: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 2); break;
    case 3: plane_group(lut, runs, nruns, codes, ahead, stride, sums, 3); break;
    default: break;
    }
}

/* ---- error bars ---------------------------------------------------------------------------- */

static const float octave[12] = VQ_OCTAVE, inverses[12] = VQ_OCTAVE_INVERSE;

/* Those of twelve that the lanes of r say. */
INLINE __m256i some_of(const float twelve[12], __m256i r)
{
    const __m256 first = _mm256_loadu_ps(twelve);
    const __m256 last = _mm256_castps128_ps256(_mm_loadu_ps(twelve + 8));
    __m256 big = _mm256_castsi256_ps(_mm256_cmpgt_epi32(r, _mm256_set1_epi32(7)));
    return _mm256_castps_si256(_mm256_blendv_ps(_mm256_permutevar8x32_ps(first, r),
                                                _mm256_permutevar8x32_ps(last, r), big));
}

/* Eight bytes u as 2^(u / 12), 0 as 0; and one over that, likewise. */
INLINE __m256 twelfths8(const uint8_t *bytes, __m256 *inverse)
{
    __m256i u = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
    __m256i q = _mm256_srli_epi32(_mm256_mullo_epi32(u, _mm256_set1_epi32(43691)), 19);
    __m256i r = _mm256_sub_epi32(u, _mm256_mullo_epi32(q, _mm256_set1_epi32(12)));
    const __m256i none = _mm256_cmpeq_epi32(u, _mm256_setzero_si256());
    q = _mm256_slli_epi32(q, 23);
    __m256i m = _mm256_add_epi32(some_of(octave, r), q);
    __m256i i = _mm256_sub_epi32(some_of(inverses, r), q);
    *inverse = _mm256_castsi256_ps(_mm256_andnot_si256(none, i));
    return _mm256_castsi256_ps(_mm256_andnot_si256(none, m));
}

static size_t select_bars(const uint16_t *sums, const uint8_t *factors, size_t stride,
                          const float *factor, size_t n, const vq_bars *b, float threshold,
                          uint32_t *restrict idx, float *restrict score, float *restrict most)
{
    const __m256 scale = _mm256_set1_ps(b->scale), low = _mm256_set1_ps(b->low);
    const __m256 one = _mm256_set1_ps(1.0f);
    size_t found = 0;
    for (size_t i = 0; i < n; i += 8) {
        uint16_t some[8] = {0};
        float off[8] = {0}, ss[8], ms[8];
        size_t count = n - i < 8 ? n - i : 8;
        const uint8_t *block = factors + i / VQ_BLOCK * stride, *pairs = block + i % VQ_BLOCK * 2;
        const uint8_t *bytes = block + (b->shifted ? 4 : 2) * VQ_BLOCK + i % VQ_BLOCK;
        __builtin_memcpy(some, sums + i, count * sizeof *some);
        if (factor != NULL) __builtin_memcpy(off, factor + i, count * sizeof *off);
        __m256 h = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)pairs));
        __m256 s = _mm256_fmadd_ps(h, score8(some, scale, low), _mm256_set1_ps(b->base));
        __m256 e = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(pairs + 2 * VQ_BLOCK)));
        if (b->shifted) s = _mm256_fmadd_ps(e, _mm256_set1_ps(b->unit), s);
        if (factor != NULL) s = _mm256_sub_ps(s, _mm256_loadu_ps(off));
        __m256 inverse, unused;
        __m256 l = _mm256_mul_ps(_mm256_set1_ps(b->error), twelfths8(bytes, &unused));
        __m256 t = _mm256_mul_ps(_mm256_set1_ps(b->turn), twelfths8(bytes + VQ_BLOCK, &inverse));
        inverse = _mm256_mul_ps(_mm256_set1_ps(b->inverse), inverse);
        __m256 sq = _mm256_mul_ps(_mm256_mul_ps(l, _mm256_set1_ps(b->plain)), inverse);
        sq = _mm256_fmadd_ps(l, _mm256_set1_ps(b->sum), sq);
        __m256 p = _mm256_sub_ps(s, _mm256_set1_ps(b->from));
        p = _mm256_fmadd_ps(_mm256_set1_ps(b->half), sq, p);
        __m256 v = _mm256_fmadd_ps(_mm256_mul_ps(l, _mm256_add_ps(one, t)),
                                   _mm256_set1_ps(b->reach), _mm256_set1_ps(b->fixed));
        v = _mm256_fmadd_ps(_mm256_mul_ps(h, h), _mm256_set1_ps(b->blunt), v);
        v = _mm256_sqrt_ps(_mm256_fmadd_ps(sq, _mm256_set1_ps(b->noise), v));
        v = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(_mm256_set1_ps(b->bend), t), p, s), v);
        uint32_t k =
            (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_set1_ps(threshold), _CMP_GE_OQ));
        k &= (1u << count) - 1;
        _mm256_storeu_ps(ss, s);
        _mm256_storeu_ps(ms, v);
        for (; k != 0; k &= k - 1) {
            uint32_t lane = (uint32_t)__builtin_ctz(k);
            idx[found] = (uint32_t)i + lane;
            score[found] = ss[lane];
            most[found++] = ms[lane];
        }
    }
    return found;
}

/* Eight coordinates of a point on a grid. */
INLINE __m256 on_grid(const float *a, const float *limit, __m256 scale)
{
    __m256 top = _mm256_loadu_ps(limit), x = _mm256_mul_ps(_mm256_loadu_ps(a), scale);
    x = _mm256_add_ps(_mm256_floor_ps(x), _mm256_set1_ps(0.5f));
    x = _mm256_max_ps(x, _mm256_sub_ps(_mm256_setzero_ps(), top));
    return _mm256_min_ps(x, top);
}

static void grid_sums(const float *a, const float *u, const float *v, const float *limit, size_t d,
                      float inv, float *ip, float *sq)
{
    const __m256 scale = _mm256_set1_ps(inv);
    lanes16 ips = {_mm256_setzero_ps(), _mm256_setzero_ps()}, sqs = ips;
    for (size_t j = 0; j < d; j += 16) {
        __m256 lo = on_grid(a + j, limit + j, scale), hi = on_grid(a + j + 8, limit + j + 8, scale);
        ips.lo = _mm256_fmadd_ps(_mm256_loadu_ps(u + j), lo, ips.lo);
        ips.hi = _mm256_fmadd_ps(_mm256_loadu_ps(u + j + 8), hi, ips.hi);
        sqs.lo = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(v + j), lo), lo, sqs.lo);
        sqs.hi = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(v + j + 8), hi), hi, sqs.hi);
    }
    *ip = reduce_f32(ips);
    *sq = reduce_f32(sqs);
}

/* sum + x where a bit of the byte is set. */
INLINE __m256 add_plane(__m256 sum, __m256 x, uint8_t byte)
{
    const __m256i places = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i bits = _mm256_and_si256(_mm256_set1_epi32(byte), places);
    __m256 mask = _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, places));
    return _mm256_add_ps(sum, _mm256_and_ps(mask, x));
}

static float planes_f32(const float *x, const uint8_t *planes, const uint8_t *count, size_t groups)
{
    __m256 lo[16], hi[16];
    lanes16 all = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int s = 0; s < 16; s++) lo[s] = hi[s] = _mm256_setzero_ps();
    for (size_t j = 0; j < groups; j++, x += 16) {
        const __m256 u = _mm256_loadu_ps(x), v = _mm256_loadu_ps(x + 8);
        for (size_t s = count[j]; s-- > 0; planes += 2) {
            lo[s] = add_plane(lo[s], u, planes[0]);
            hi[s] = add_plane(hi[s], v, planes[1]);
        }
    }
    for (int s = 0; s < 16; s++) {
        const __m256 unit = _mm256_set1_ps((float)(1 << s));
        all.lo = _mm256_fmadd_ps(unit, lo[s], all.lo);
        all.hi = _mm256_fmadd_ps(unit, hi[s], all.hi);
    }
    return reduce_f32(all);
}

static int32_t planes_sum(const vq_planes_plan *plan, const uint8_t *planes, size_t groups)
{
    const __m256i places = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048,
                                             4096, 8192, 16384, INT16_MIN);
    __m256i sum = _mm256_setzero_si256();
    for (size_t j = 0; j < groups; j++) {
        __m256i code = _mm256_setzero_si256();
        for (size_t s = plan[j / 4].count[j % 4]; s-- > 0; planes += 2) {
            int16_t plane;
            __builtin_memcpy(&plane, planes, sizeof plane);
            __m256i bits = _mm256_and_si256(_mm256_set1_epi16(plane), places);
            code = _mm256_add_epi16(code, code);
            code = _mm256_sub_epi16(code, _mm256_cmpeq_epi16(bits, places));
        }
        __m256i v = _mm256_loadu_si256((const __m256i *)plan[j / 4].x + j % 4);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(code, v));
    }
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static float subset_luts(const float *x, size_t m, uint8_t *restrict out, float *low)
{
    const __m256 zero = _mm256_setzero_ps(), top = _mm256_set1_ps(255.0f);
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 a = zero, b = zero, most = zero;
    for (size_t i = 0; i < 4 * m; i += 16) {
        __m256 u = _mm256_loadu_ps(x + i), v = _mm256_loadu_ps(x + i + 8);
        a = _mm256_add_ps(a, _mm256_min_ps(u, zero));
        b = _mm256_add_ps(b, _mm256_min_ps(v, zero));
        u = _mm256_andnot_ps(sign, u), v = _mm256_andnot_ps(sign, v);
        u = _mm256_add_ps(u, _mm256_permute_ps(u, 0xb1)),
        v = _mm256_add_ps(v, _mm256_permute_ps(v, 0xb1));
        u = _mm256_add_ps(u, _mm256_permute_ps(u, 0x4e)),
        v = _mm256_add_ps(v, _mm256_permute_ps(v, 0x4e));
        most = _mm256_max_ps(most, _mm256_max_ps(u, v));
    }
    *low = reduce_f32((lanes16){a, b});
    float lanes[8], range = 0.0f;
    _mm256_storeu_ps(lanes, most);
    for (int i = 0; i < 8; i++) range = lanes[i] > range ? lanes[i] : range;
    const __m256 inv = _mm256_set1_ps(range > 0.0f ? 255.0f / range : 0.0f);
    const __m256 flip[3] = {_mm256_setr_ps(-0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f),
                            _mm256_setr_ps(-0.0f, -0.0f, 0.0f, 0.0f, -0.0f, -0.0f, 0.0f, 0.0f),
                            _mm256_setr_ps(-0.0f, -0.0f, -0.0f, -0.0f, 0.0f, 0.0f, 0.0f, 0.0f)};
    for (size_t j = 0; j < m; j++) {
        __m256 t[3], last = _mm256_set1_ps(x[4 * j + 3]);
        for (int i = 0; i < 3; i++)
            t[i] =
                _mm256_max_ps(_mm256_xor_ps(_mm256_set1_ps(x[4 * j + (size_t)i]), flip[i]), zero);
        __m256 s = _mm256_add_ps(t[0], t[1]);
        __m256 without = _mm256_max_ps(_mm256_xor_ps(last, sign), zero),
               with = _mm256_max_ps(last, zero);
        without = _mm256_add_ps(s, _mm256_add_ps(t[2], without));
        with = _mm256_add_ps(s, _mm256_add_ps(t[2], with));
        __m256i lo = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(without, inv), top));
        __m256i hi = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(with, inv), top));
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(lo, hi), 0xd8);
        _mm_storeu_si128(
            (__m128i *)(out + 16 * j),
            _mm_packus_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1)));
    }
    return range / 255.0f;
}

const vq_kernels vq_kernels_avx2_grid = {
    .isa = "avx2",
    .plane_scan = plane_scan,
    .select_f16 = select_f16,
    .select_bars = select_bars,
    .grid_sums = grid_sums,
    .planes_f32 = planes_f32,
    .planes_sum = planes_sum,
    .subset_luts = subset_luts,
};
