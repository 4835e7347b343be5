/* SPDX-License-Identifier: Apache-2.0 */
/* neon_int.c -- sums of bytes with a query of 15 bits, in integers, with NEON; and the numbers
 * rounded to such. */
#include <arm_neon.h>
#include <math.h>
#include <stdlib.h>

#include "src/math/kernels.h"

#define INLINE static inline __attribute__((always_inline))

extern const vq_kernels vq_kernels_neon_int;

/* ---- rounding ------------------------------------------------------------------------------ */

/* v, or the bound that it is beyond; NaN: least. */
INLINE float32x4_t within(float32x4_t v, float least, float most)
{
    const float32x4_t lo = vdupq_n_f32(least), hi = vdupq_n_f32(most);
    v = vbslq_f32(vcgtq_f32(v, lo), v, lo);
    return vbslq_f32(vcltq_f32(v, hi), v, hi);
}

static void quantize_u8(const float *x, size_t n, float lo, float inv, uint8_t *restrict out)
{
    const float32x4_t vlo = vdupq_n_f32(lo);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float32x4_t a = vmulq_n_f32(vsubq_f32(vld1q_f32(x + i), vlo), inv);
        float32x4_t b = vmulq_n_f32(vsubq_f32(vld1q_f32(x + i + 4), vlo), inv);
        uint16x4_t u = vmovn_u32(vcvtnq_u32_f32(within(a, 0.0f, 255.0f)));
        uint16x4_t v = vmovn_u32(vcvtnq_u32_f32(within(b, 0.0f, 255.0f)));
        vst1_u8(out + i, vmovn_u16(vcombine_u16(u, v)));
    }
    for (; i < n; i++) {
        float t = (x[i] - lo) * inv;
        t = t > 0.0f ? t : 0.0f;
        t = t < 255.0f ? t : 255.0f;
        out[i] = (uint8_t)lrintf(t);
    }
}

static uint32_t quantize_i16(const float *x, size_t n, float inv, int16_t *restrict out,
                             int32_t *sum)
{
    int32x4_t sums = vdupq_n_s32(0), sizes = sums;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t t = within(vmulq_n_f32(vld1q_f32(x + i), inv), -16383.0f, 16383.0f);
        int32x4_t v = vcvtnq_s32_f32(t);
        sums = vaddq_s32(sums, v);
        sizes = vaddq_s32(sizes, vabsq_s32(v));
        vst1_s16(out + i, vmovn_s32(v));
    }
    uint32_t all = (uint32_t)vaddvq_s32(sizes);
    *sum = vaddvq_s32(sums);
    for (; i < n; i++) {
        float t = x[i] * inv;
        t = t > -16383.0f ? t : -16383.0f;
        t = t < 16383.0f ? t : 16383.0f;
        out[i] = (int16_t)lrintf(t);
        *sum += out[i];
        all += (uint32_t)abs(out[i]);
    }
    return all;
}

/* ---- products ------------------------------------------------------------------------------ */

INLINE int32x4_t add_products(int32x4_t s, int16x8_t a, int16x8_t b)
{
    s = vmlal_s16(s, vget_low_s16(a), vget_low_s16(b));
    return vmlal_high_s16(s, a, b);
}

INLINE int16x8_t widen_u8(uint8x8_t v)
{
    return vreinterpretq_s16_u16(vmovl_u8(v));
}

/* Two chains, so that a product need not wait for the one before. */
INLINE uint32_t dot_u8(const uint8_t *a, const int16_t *x, size_t d)
{
    int32x4_t s = vdupq_n_s32(0), t = s;
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
        uint8x16_t v = vld1q_u8(a + j);
        s = add_products(s, widen_u8(vget_low_u8(v)), vld1q_s16(x + j));
        t = add_products(t, widen_u8(vget_high_u8(v)), vld1q_s16(x + j + 8));
    }
    uint32_t sum = (uint32_t)vaddvq_s32(vaddq_s32(s, t));
    for (; j < d; j++) sum += (uint32_t)(a[j] * x[j]);
    return sum;
}

static void matvec_u8(const uint8_t *a, size_t rows, size_t d, size_t stride, const int16_t *x,
                      const float *step, const float *low, float unit, float sum,
                      float *restrict out)
{
    for (size_t i = 0; i < rows; i++) {
        float s = (float)(int32_t)dot_u8(a + i * stride, x, d);
        out[i] = fmaf(step[i] * unit, s, low[i] * sum);
    }
}

/* Adds to sums (16) the products of a panel with four columns. */
INLINE void add_four(const uint8_t *panel, int16x4_t v, int32x4_t sums[16])
{
    for (int r = 0; r < 16; r += 4) {
        uint8x16_t rows = vld1q_u8(panel + 4 * r);
        int16x8_t a = widen_u8(vget_low_u8(rows)), b = widen_u8(vget_high_u8(rows));
        sums[r] = vmlal_s16(sums[r], vget_low_s16(a), v);
        sums[r + 1] = vmlal_s16(sums[r + 1], vget_high_s16(a), v);
        sums[r + 2] = vmlal_s16(sums[r + 2], vget_low_s16(b), v);
        sums[r + 3] = vmlal_s16(sums[r + 3], vget_high_s16(b), v);
    }
}

static void panel_matvec(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                         const float *step, const float *low, float unit, float sum,
                         float *restrict out)
{
    for (size_t i = 0; i < rows; i += 16) {
        const uint8_t *panel = panels + vq_in_panels(rows, d, i, 0);
        size_t beside = vq_panels_beside(rows, i);
        int32x4_t sums[16];
        for (int r = 0; r < 16; r++) sums[r] = vdupq_n_s32(0);
        for (size_t j = 0; j < d; j += 4, panel += 64 * beside) {
            int16_t four[4] = {0};
            __builtin_memcpy(four, x + j, (d - j < 4 ? d - j : 4) * sizeof *x);
            int16x4_t v = vld1_s16(four);
            if (vget_lane_u64(vreinterpret_u64_s16(v), 0) != 0) add_four(panel, v, sums);
        }
        for (size_t r = 0; r < 16 && i + r < rows; r++)
            out[i + r] = fmaf(step[i + r] * unit, (float)vaddvq_s32(sums[r]), low[i + r] * sum);
    }
}

static void panel_matvec_u4(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                            const float *step, const float *low, float unit, float sum,
                            float *restrict out)
{
    const uint8x16_t low_bits = vdupq_n_u8(15);
    size_t beside, halved = vq_halved_rows(rows);
    for (size_t i = 0; i < rows; i += 16) { /* the low bits of a panel, then the high ones */
        const uint8_t *panel = panels + vq_in_halves(rows, d, i, 0);
        int32x4_t sums[16];
        beside = vq_panels_beside(halved, i / 32 * 16);
        for (int r = 0; r < 16; r++) sums[r] = vdupq_n_s32(0);
        for (size_t j = 0; j < d; j += 4, panel += 64 * beside) {
            int16_t four[4] = {0};
            uint8_t bits[64];
            __builtin_memcpy(four, x + j, (d - j < 4 ? d - j : 4) * sizeof *x);
            int16x4_t v = vld1_s16(four);
            if (vget_lane_u64(vreinterpret_u64_s16(v), 0) == 0) continue;
            for (int r = 0; r < 4; r++) {
                uint8x16_t both = vld1q_u8(panel + 16 * r);
                vst1q_u8(bits + 16 * r, i & 16 ? vshrq_n_u8(both, 4) : vandq_u8(both, low_bits));
            }
            add_four(bits, v, sums);
        }
        for (size_t r = 0; r < 16 && i + r < rows; r++)
            out[i + r] = fmaf(step[i + r] * unit, (float)vaddvq_s32(sums[r]), low[i + r] * sum);
    }
}

/* Sixteen entries at a time; a load takes the two bytes of each apart. */
static void lut_u8(const int16_t *x, const uint8_t *cb, size_t m, size_t pairs, size_t kk,
                   float *restrict out)
{
    for (size_t j = 0; j < m; j++, x += 2 * pairs, cb += 2 * pairs * kk, out += kk)
        for (size_t c = 0; c < kk; c += 16) {
            int32x4_t s[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
            for (size_t p = 0; p < pairs; p++) {
                uint8x16x2_t two = vld2q_u8(cb + 2 * (p * kk + c));
                for (int i = 0; i < 2; i++) {
                    int16x8_t lo = widen_u8(vget_low_u8(two.val[i]));
                    int16x8_t hi = widen_u8(vget_high_u8(two.val[i]));
                    int16_t v = x[2 * p + (size_t)i];
                    s[0] = vmlal_n_s16(s[0], vget_low_s16(lo), v);
                    s[1] = vmlal_high_n_s16(s[1], lo, v);
                    s[2] = vmlal_n_s16(s[2], vget_low_s16(hi), v);
                    s[3] = vmlal_high_n_s16(s[3], hi, v);
                }
            }
            for (size_t r = 0; r < 4; r++) vst1q_f32(out + c + 4 * r, vcvtq_f32_s32(s[r]));
        }
}

static void near_row_i8(const int16_t *x, const void *row, size_t d, int32_t *ip, uint32_t *sq)
{
    const int8_t *r = row;
    int32x4_t s = vdupq_n_s32(0), t = s, squares = s;
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
        int8x16_t v = vld1q_s8(r + j);
        s = add_products(s, vmovl_s8(vget_low_s8(v)), vld1q_s16(x + j));
        t = add_products(t, vmovl_high_s8(v), vld1q_s16(x + j + 8));
        squares = vpadalq_s16(squares, vmull_s8(vget_low_s8(v), vget_low_s8(v)));
        squares = vpadalq_s16(squares, vmull_high_s8(v, v));
    }
    uint32_t product = (uint32_t)vaddvq_s32(vaddq_s32(s, t));
    uint32_t square = (uint32_t)vaddvq_s32(squares);
    for (; j < d; j++) {
        product += (uint32_t)(x[j] * r[j]);
        square += (uint32_t)(r[j] * r[j]);
    }
    *ip = (int32_t)product;
    *sq = square;
}

static void near_row_u8(const int16_t *x, const void *row, size_t d, int32_t *ip, uint32_t *sq)
{
    const uint8_t *r = row;
    uint32x4_t squares = vdupq_n_u32(0);
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
        uint8x16_t v = vld1q_u8(r + j);
        squares = vpadalq_u16(squares, vmull_u8(vget_low_u8(v), vget_low_u8(v)));
        squares = vpadalq_u16(squares, vmull_high_u8(v, v));
    }
    uint32_t square = vaddvq_u32(squares);
    for (; j < d; j++) square += (uint32_t)(r[j] * r[j]);
    *ip = (int32_t)dot_u8(r, x, d);
    *sq = square;
}

/* Eight queries and four rows of a panel.  Rows, less 128, are signed as queries are; what that
 * takes off is 128 times the sum of a query. */
INLINE void panel_block(const uint8_t *rows, const int32_t *sums, size_t quads, const int8_t *q,
                        const int32_t *of_query, const vq_panel_scale *scale, size_t n, float *out,
                        size_t stride)
{
    int32x4_t sum[8][2]; /* of rows 0 and 1, and of 2 and 3: each two halves */
    for (int i = 0; i < 8; i++) sum[i][0] = sum[i][1] = vdupq_n_s32(0);
    for (size_t j = 0; j < quads; j++, q += 32, rows += 64) {
        int8x16_t v = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(rows), vdupq_n_u8(128)));
        for (int i = 0; i < 8; i++) {
            int32_t four;
            __builtin_memcpy(&four, q + 4 * i, sizeof four);
            int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
            sum[i][0] = vpadalq_s16(sum[i][0], vmull_s8(vget_low_s8(v), vget_low_s8(x)));
            sum[i][1] = vpadalq_s16(sum[i][1], vmull_high_s8(v, x));
        }
    }
    for (size_t i = 0; i < 8 && i < n; i++) {
        int32x4_t more = vmulq_n_s32(vld1q_s32(sums), scale[i].of_sum);
        int32_t less = (int32_t)((uint32_t)scale[i].less - 128u * (uint32_t)of_query[i]);
        int32x4_t s =
            vsubq_s32(vaddq_s32(vpaddq_s32(sum[i][0], sum[i][1]), more), vdupq_n_s32(less));
        vst1q_f32(out + i * stride, vmulq_n_f32(vcvtq_f32_s32(s), scale[i].unit));
    }
}

static void panel_dots(const uint8_t *panels, const int32_t *sums, size_t count, size_t quads,
                       const int8_t *q, const vq_panel_scale *scale, size_t n, float *restrict out,
                       size_t stride)
{
    for (size_t i = 0; i < n; i += 8) {
        const int8_t *x = q + i * quads * 4;
        int32_t of_query[8] = {0};
        for (size_t j = 0; j < quads * 32; j++) of_query[j / 4 % 8] += x[j];
        for (size_t r = 0; r < 16 * count; r += 4)
            panel_block(panels + r / 16 * quads * 64 + r % 16 * 4, sums + r, quads, x, of_query,
                        scale + i, n - i, out + i * stride + r, stride);
    }
}

static void felt_i8(const int8_t *table, size_t kk, const uint32_t *rows, size_t n,
                    const float *slope, const float *bend, const float *unit, const float *here,
                    float weight, float *restrict out)
{
    for (size_t w = 0; w < kk; w += 16) {
        float32x4_t sum[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f),
                              vdupq_n_f32(0.0f)};
        for (size_t i = 0; i < n; i++) {
            int8x16_t bytes = vld1q_s8(table + rows[i] * kk + w);
            int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
            const int32x4_t whole[4] = {vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)),
                                        vmovl_s16(vget_low_s16(high)),
                                        vmovl_s16(vget_high_s16(high))};
            for (size_t h = 0; h < 4; h++) {
                float32x4_t v = vcvtq_f32_s32(whole[h]), s = vdupq_n_f32(slope[i]);
                if (here != NULL) s = vfmaq_n_f32(s, vld1q_f32(here + w + 4 * h), unit[i]);
                sum[h] = vfmaq_f32(sum[h], vfmaq_n_f32(s, v, bend[i]), v);
            }
        }
        for (size_t h = 0; h < 4; h++) {
            float *to = out + w + 4 * h;
            vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), sum[h], weight));
        }
    }
}

const vq_kernels vq_kernels_neon_int = {
    .isa = "neon",
    .quantize_u8 = quantize_u8,
    .quantize_i16 = quantize_i16,
    .matvec_u8 = matvec_u8,
    .panel_matvec = panel_matvec,
    .panel_matvec_u4 = panel_matvec_u4,
    .lut_u8 = lut_u8,
    .near_row_i8 = near_row_i8,
    .near_row_u8 = near_row_u8,
    .felt_i8 = felt_i8,
    .panel_dots = panel_dots,
};
