/* SPDX-License-Identifier: Apache-2.0 */
/* neon_pq.c -- codes with NEON: tables, the encoder's nearest codeword, the scans by look-ups in up
 * to 64 bytes (TBL, TBX), and the searches in what they leave. */
#include <arm_neon.h>
#include <math.h>

#include "src/math/kernels.h"

#define INLINE static inline __attribute__((always_inline))

extern const vq_kernels vq_kernels_neon_pq;

/* ---- searches in an array ------------------------------------------------------------------ */

typedef struct chain { /* the first of the largest in each lane, and where it is */
    float32x4_t top;
    uint32x4_t at;
} chain;

INLINE void climb(chain *c, float32x4_t v, uint32x4_t at)
{
    uint32x4_t more = vcgtq_f32(v, c->top);
    c->top = vbslq_f32(more, v, c->top);
    c->at = vbslq_u32(more, at, c->at);
}

/* Of n candidates (value, index) the largest value, among equals the smallest index. */
INLINE size_t first_of_largest(const float *v, const uint32_t *at, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[best] || (v[i] == v[best] && at[i] < at[best])) best = i;
    return best;
}

static const uint32_t rising[4] = {0, 1, 2, 3};

static size_t argmax_f32(const float *a, const float *b, size_t n)
{
    uint32x4_t at = vld1q_u32(rising);
    const chain none = {vdupq_n_f32(-__builtin_inff()), at};
    chain c[2] = {none, none};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t h = 0; h < 2; h++) {
            float32x4_t v = vld1q_f32(a + i + 4 * h);
            if (b != NULL) v = vaddq_f32(v, vld1q_f32(b + i + 4 * h));
            climb(&c[h], v, at);
            at = vaddq_u32(at, vdupq_n_u32(4));
        }
    float top[8];
    uint32_t where[8];
    for (int h = 0; h < 2; h++) {
        vst1q_f32(top + 4 * h, c[h].top);
        vst1q_u32(where + 4 * h, c[h].at);
    }
    size_t lane = first_of_largest(top, where, 8), best = where[lane];
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
    float32x4_t tops = vdupq_n_f32(-__builtin_inff());
    size_t count = 0, i = 0;
    for (; i + 4 <= n; i += 4) /* of NaN and a number the number */
        tops = vmaxnmq_f32(tops, vaddq_f32(vld1q_f32(a + i), vld1q_f32(b + i)));
    float top = vmaxvq_f32(tops);
    for (; i < n; i++) top = a[i] + b[i] > top ? a[i] + b[i] : top;
    const float32x4_t least = vdupq_n_f32(top - within);
    for (i = 0; i + 4 <= n; i += 4) {
        uint32x4_t less = vcltq_f32(vaddq_f32(vld1q_f32(a + i), vld1q_f32(b + i)), least);
        if (vminvq_u32(less) != 0) continue;
        for (size_t t = i; t < i + 4; t++)
            if (!(a[t] + b[t] < top - within)) idx[count++] = (uint32_t)t;
    }
    for (; i < n; i++)
        if (!(a[i] + b[i] < top - within)) idx[count++] = (uint32_t)i;
    return count;
}

static void minmax_f32(const float *x, size_t n, float *lo, float *hi)
{
    float32x4_t least = vdupq_n_f32(x[0]), most = least;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        least = vminq_f32(least, v);
        most = vmaxq_f32(most, v);
    }
    float small = vminvq_f32(least), large = vmaxvq_f32(most);
    for (; i < n; i++) {
        if (x[i] < small) small = x[i];
        if (x[i] > large) large = x[i];
    }
    *lo = small + 0.0f; /* a zero as +0 */
    *hi = large + 0.0f;
}

INLINE float32x4_t score4(uint16x4_t sums, const float *factor, size_t i, float scale,
                          float32x4_t base)
{
    float32x4_t s = vfmaq_n_f32(base, vcvtq_f32_u32(vmovl_u16(sums)), scale);
    return factor != NULL ? vsubq_f32(s, vld1q_f32(factor + i)) : s;
}

/* Sixteen at a time; most hold none that reaches the threshold. */
static size_t select_u16(const uint16_t *sums, const float *factor, size_t n, float scale,
                         float base, float threshold, uint32_t *restrict idx, float *restrict score)
{
    const float32x4_t vbase = vdupq_n_f32(base), least = vdupq_n_f32(threshold);
    size_t found = 0, i = 0;
    for (; i + 16 <= n; i += 16) {
        float s[16];
        uint32x4_t any = vdupq_n_u32(0);
        for (size_t r = 0; r < 4; r++) {
            float32x4_t v = score4(vld1_u16(sums + i + 4 * r), factor, i + 4 * r, scale, vbase);
            any = vorrq_u32(any, vcgeq_f32(v, least));
            vst1q_f32(s + 4 * r, v);
        }
        if (__builtin_expect(vmaxvq_u32(any) == 0, 1)) continue;
        for (size_t l = 0; l < 16; l++) {
            if (!(s[l] >= threshold)) continue;
            idx[found] = (uint32_t)(i + l);
            score[found++] = s[l];
        }
    }
    for (; i < n; i++) {
        float s = fmaf((float)sums[i], scale, base);
        if (factor != NULL) s -= factor[i];
        if (!(s >= threshold)) continue;
        idx[found] = (uint32_t)i;
        score[found++] = s;
    }
    return found;
}

/* ---- tables and encoding ------------------------------------------------------------------- */

/* The products of `times` a sub-vector with 16 neighbouring codewords of a book of rows kk long. */
INLINE void book_dots(const float *x, float times, const float *book, size_t dsub, size_t kk,
                      float32x4_t dot[4])
{
    for (int r = 0; r < 4; r++) dot[r] = vdupq_n_f32(0.0f);
    for (size_t t = 0; t < dsub; t++)
        for (size_t r = 0; r < 4; r++)
            dot[r] = vfmaq_n_f32(dot[r], vld1q_f32(book + t * kk + 4 * r), times * x[t]);
}

static void lut_f32(const float *q, const float *cb, size_t m, size_t dsub, size_t kk,
                    float *restrict out)
{
    for (size_t j = 0; j < m; j++, q += dsub, cb += dsub * kk, out += kk)
        for (size_t c = 0; c < kk; c += 16) {
            float32x4_t dot[4];
            book_dots(q, 1.0f, cb + c, dsub, kk, dot);
            for (size_t r = 0; r < 4; r++) vst1q_f32(out + c + 4 * r, dot[r]);
        }
}

/* A lane keeps the first of its least; at the end the first of the lanes that hold the least. */
static void nearest_one(const float *x, const float *cb, const float *norm, size_t m, size_t dsub,
                        size_t kk, uint8_t *codes)
{
    for (size_t j = 0; j < m; j++, x += dsub, cb += dsub * kk, norm += kk) {
        chain best[4]; /* of the negative */
        for (int r = 0; r < 4; r++)
            best[r] = (chain){vdupq_n_f32(-__builtin_inff()), vdupq_n_u32(0)};
        for (size_t c = 0; c < kk; c += 16) {
            float32x4_t dot[4];
            book_dots(x, -2.0f, cb + c, dsub, kk, dot);
            for (size_t r = 0; r < 4; r++) {
                float32x4_t v = vaddq_f32(vld1q_f32(norm + c + 4 * r), dot[r]);
                uint32x4_t at = vaddq_u32(vld1q_u32(rising), vdupq_n_u32((uint32_t)(c + 4 * r)));
                climb(&best[r], vnegq_f32(v), at);
            }
        }
        float top[16];
        uint32_t at[16];
        for (int r = 0; r < 4; r++) {
            vst1q_f32(top + 4 * r, best[r].top);
            vst1q_u32(at + 4 * r, best[r].at);
        }
        codes[j] = (uint8_t)at[first_of_largest(top, at, 16)];
    }
}

static void pq_nearest(const float *x, size_t n, size_t stride, const float *cb, const float *norm,
                       size_t m, size_t dsub, size_t kk, uint8_t *restrict codes)
{
    for (size_t i = 0; i < n; i++)
        nearest_one(x + i * stride, cb, norm, m, dsub, kk, codes + i * m);
}

/* ---- scans --------------------------------------------------------------------------------- */

typedef struct sums32 { /* of a block */
    uint16x8_t v[4];
} sums32;

INLINE sums32 no_sums(void)
{
    uint16x8_t o = vdupq_n_u16(0);
    return (sums32){{o, o, o, o}};
}

INLINE void add_bytes(sums32 *s, uint8x16_t a, uint8x16_t b)
{
    s->v[0] = vaddw_u8(s->v[0], vget_low_u8(a));
    s->v[1] = vaddw_high_u8(s->v[1], a);
    s->v[2] = vaddw_u8(s->v[2], vget_low_u8(b));
    s->v[3] = vaddw_high_u8(s->v[3], b);
}

INLINE void store_block(const sums32 *s, uint16_t *sums)
{
    for (int r = 0; r < 4; r++) vst1q_u16(sums + 8 * r, s->v[r]);
}

/* The look-ups r of a row, two for each of 1 or 2 blocks, in a table of 64 * parts bytes.  A part
 * answers to indices below 64 alone; to the others TBX leaves what they have. */
INLINE void look_up(const uint8_t *lut, const uint8_t *codes, size_t stride, uint8x16_t r[4],
                    const int blocks, const int parts, const int shift)
{
    uint8x16_t code[4];
    for (int h = 0; h < 2 * blocks; h++) {
        code[h] = vld1q_u8(codes + (size_t)(h / 2) * stride + 16 * (size_t)(h % 2));
        if (shift) code[h] = vshrq_n_u8(code[h], 1);
        r[h] = vdupq_n_u8(0);
    }
    for (int p = 0; p < parts; p++) {
        const uint8x16x4_t table = vld1q_u8_x4(lut + 64 * p);
        for (int h = 0; h < 2 * blocks; h++) {
            r[h] = vqtbx4q_u8(r[h], table, code[h]);
            code[h] = vsubq_u8(code[h], vdupq_n_u8(64));
        }
    }
}

/* The means of n rows by pairs, n a power of two. */
INLINE void means(const uint8_t *lut, const uint8_t *codes, size_t stride, uint8x16_t r[4],
                  const int blocks, const size_t n)
{
    uint8x16_t level[4][4]; /* the means of 1, 2, 4 rows that wait for their neighbours */
    for (size_t j = 0; j < n; j++, lut += 128, codes += VQ_BLOCK) {
        look_up(lut, codes, stride, r, blocks, 2, 1);
        size_t l = 0;
        for (; (j >> l & 1u) != 0; l++)
            for (int h = 0; h < 2 * blocks; h++) r[h] = vrhaddq_u8(level[l][h], r[h]);
        for (int h = 0; h < 2 * blocks; h++) level[l][h] = r[h];
    }
}

INLINE void scan_rows(const uint8_t *lut, const uint8_t *codes, size_t m, uint16_t *sums,
                      const int blocks, const int parts, const int shift)
{
    sums32 s[2] = {no_sums(), no_sums()};
    uint8x16_t r[4];
    size_t j = 0;
    for (; shift && j + 8 <= m; j += 8) { /* pairs: by eights first */
        means(lut + j * 128, codes + j * VQ_BLOCK, m * VQ_BLOCK, r, blocks, 8);
        for (int b = 0; b < blocks; b++) add_bytes(&s[b], r[2 * b], r[2 * b + 1]);
    }
    for (int b = 0; b < blocks; b++)
        for (int v = 0; v < 4; v++) s[b].v[v] = vshlq_n_u16(s[b].v[v], 3);
    for (; j < m; j++) {
        look_up(lut + j * 64 * (size_t)parts, codes + j * VQ_BLOCK, m * VQ_BLOCK, r, blocks, parts,
                shift);
        for (int b = 0; b < blocks; b++) add_bytes(&s[b], r[2 * b], r[2 * b + 1]);
    }
    for (int b = 0; b < blocks; b++) store_block(&s[b], sums + b * (int)VQ_BLOCK);
}

static void pq8_scan(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t nblocks,
                     size_t m, uint16_t *restrict sums)
{
    (void)ahead;
    for (; nblocks >= 2; nblocks -= 2, codes += 2 * m * VQ_BLOCK, sums += 2 * VQ_BLOCK)
        scan_rows(lut, codes, m, sums, 2, 4, 0);
    if (nblocks > 0) scan_rows(lut, codes, m, sums, 1, 4, 0);
}

static void pq8_pairs(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead,
                      size_t nblocks, size_t m, uint16_t *restrict sums)
{
    (void)ahead;
    for (; nblocks >= 2; nblocks -= 2, codes += 2 * m * VQ_BLOCK, sums += 2 * VQ_BLOCK)
        scan_rows(lut, codes, m, sums, 2, 2, 1);
    if (nblocks > 0) scan_rows(lut, codes, m, sums, 1, 2, 1);
}

static void pq4_scan(const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m,
                     size_t stride, uint16_t *restrict sums)
{
    const uint8x16_t mask = vdupq_n_u8(15);
    for (; nblocks > 0; nblocks--, codes += stride, sums += VQ_BLOCK) {
        sums32 s = no_sums();
        for (size_t p = 0; p < m / 2; p++) {
            const uint8x16_t even = vld1q_u8(lut + 32 * p), odd = vld1q_u8(lut + 32 * p + 16);
            uint8x16_t a = vld1q_u8(codes + p * VQ_BLOCK);
            uint8x16_t b = vld1q_u8(codes + p * VQ_BLOCK + 16);
            add_bytes(&s, vqtbl1q_u8(even, vandq_u8(a, mask)), vqtbl1q_u8(even, vandq_u8(b, mask)));
            add_bytes(&s, vqtbl1q_u8(odd, vshrq_n_u8(a, 4)), vqtbl1q_u8(odd, vshrq_n_u8(b, 4)));
        }
        store_block(&s, sums);
    }
}

static void plane_scan(const uint8_t *lut, const vq_plane_run *runs, size_t nruns,
                       const uint8_t *codes, const uint8_t *ahead, size_t nblocks, size_t stride,
                       uint16_t *restrict sums)
{
    (void)ahead;
    const uint8x16_t mask = vdupq_n_u8(15);
    for (; nblocks > 0; nblocks--, codes += stride, sums += VQ_BLOCK) {
        const uint8_t *at = codes, *table = lut;
        sums32 s = no_sums();
        for (size_t r = 0; r < nruns; r++) {
            uint8x16_t sum[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
            sums32 run = no_sums();
            for (size_t p = 0; p < runs[r].planes; p++)
                for (int h = 0; h < 4; h += 2, at += VQ_BLOCK, table += 32) {
                    const uint8x16_t even = vld1q_u8(table), odd = vld1q_u8(table + 16);
                    uint8x16_t a = vld1q_u8(at), b = vld1q_u8(at + 16);
                    sum[h] = vaddq_u8(sum[h], vqtbl1q_u8(even, vandq_u8(a, mask)));
                    sum[h] = vaddq_u8(sum[h], vqtbl1q_u8(odd, vshrq_n_u8(a, 4)));
                    sum[h + 1] = vaddq_u8(sum[h + 1], vqtbl1q_u8(even, vandq_u8(b, mask)));
                    sum[h + 1] = vaddq_u8(sum[h + 1], vqtbl1q_u8(odd, vshrq_n_u8(b, 4)));
                }
            add_bytes(&run, sum[0], sum[1]);
            add_bytes(&run, sum[2], sum[3]);
            for (int i = 0; i < 4; i++)
                s.v[i] = vaddq_u16(s.v[i], vshlq_u16(run.v[i], vdupq_n_s16(runs[r].shift)));
        }
        store_block(&s, sums);
    }
}

const vq_kernels vq_kernels_neon_pq = {
    .isa = "neon",
    .argmax_f32 = argmax_f32,
    .near_max_f32 = near_max_f32,
    .minmax_f32 = minmax_f32,
    .select_u16 = select_u16,
    .lut_f32 = lut_f32,
    .pq_nearest = pq_nearest,
    .pq8_scan = pq8_scan,
    .pq8_pairs = pq8_pairs,
    .pq4_scan = pq4_scan,
    .plane_scan = plane_scan,
};
