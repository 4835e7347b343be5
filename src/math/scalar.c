/* SPDX-License-Identifier: Apache-2.0 */
/* scalar.c -- the specification of every kernel: plain loops for any machine.  What a level of
 * instructions computes must be these bits; it may only be faster.  Speed does not count here: on
 * x86 without FMA each fma() is a call of libm, which rounds once just the same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/elem.h"
#include "src/math/kernels.h"

enum { F32_LANES = 16, F64_LANES = 8 };

extern const vq_kernels vq_kernels_scalar;

static float reduce_f32(float lane[F32_LANES])
{
    for (size_t half = F32_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

static double reduce_f64(double lane[F64_LANES])
{
    for (size_t half = F64_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

/* ---- f32 sums ------------------------------------------------------------------------------ */

static float dot_f32(const float *x, const float *y, size_t d)
{
    float lane[F32_LANES] = {0};
    for (size_t j = 0; j < d; j++) lane[j % F32_LANES] = fmaf(x[j], y[j], lane[j % F32_LANES]);
    return reduce_f32(lane);
}

static float l2sq_f32(const float *x, const float *y, size_t d)
{
    float lane[F32_LANES] = {0};
    for (size_t j = 0; j < d; j++) {
        float t = x[j] - y[j];
        lane[j % F32_LANES] = fmaf(t, t, lane[j % F32_LANES]);
    }
    return reduce_f32(lane);
}

static void matvec_f32(const float *a, size_t rows, size_t d, size_t stride, const float *x,
                       float *out)
{
    for (size_t i = 0; i < rows; i++) out[i] = dot_f32(a + i * stride, x, d);
}

static void matvecs_f32(const float *a, size_t rows, size_t d, size_t stride, const float *const *x,
                        size_t n, float *const *out)
{
    for (size_t v = 0; v < n; v++) matvec_f32(a, rows, d, stride, x[v], out[v]);
}

static float dot_f32_u8(const float *q, const uint8_t *codes, size_t d)
{
    float lane[F32_LANES] = {0};
    for (size_t j = 0; j < d; j++)
        lane[j % F32_LANES] = fmaf(q[j], (float)codes[j], lane[j % F32_LANES]);
    return reduce_f32(lane);
}

/* ---- stored rows --------------------------------------------------------------------------- */

/* A row may lie on any address: it comes from a file. */
static double load_f32(const void *row, size_t j)
{
    float f;
    memcpy(&f, (const char *)row + j * sizeof f, sizeof f);
    return (double)f;
}

static double load_f16(const void *row, size_t j)
{
    uint16_t h;
    memcpy(&h, (const char *)row + j * sizeof h, sizeof h);
    return (double)vq_f16_to_f32(h);
}

static double load_i8(const void *row, size_t j)
{
    return (double)((const int8_t *)row)[j];
}

static double load_u8(const void *row, size_t j)
{
    return (double)((const uint8_t *)row)[j];
}

#define ROW_KERNELS(type)                                                                          \
    static double ip_row_##type(const double *q, const void *row, size_t d)                        \
    {                                                                                              \
        double lane[F64_LANES] = {0};                                                              \
        for (size_t j = 0; j < d; j++)                                                             \
            lane[j % F64_LANES] = fma(q[j], load_##type(row, j), lane[j % F64_LANES]);             \
        return reduce_f64(lane);                                                                   \
    }                                                                                              \
    static double l2sq_row_##type(const double *q, const void *row, size_t d)                      \
    {                                                                                              \
        double lane[F64_LANES] = {0};                                                              \
        for (size_t j = 0; j < d; j++) {                                                           \
            double t = q[j] - load_##type(row, j);                                                 \
            lane[j % F64_LANES] = fma(t, t, lane[j % F64_LANES]);                                  \
        }                                                                                          \
        return reduce_f64(lane);                                                                   \
    }                                                                                              \
    static double sq_row_##type(const void *row, size_t d)                                         \
    {                                                                                              \
        double lane[F64_LANES] = {0};                                                              \
        for (size_t j = 0; j < d; j++) {                                                           \
            double t = load_##type(row, j);                                                        \
            lane[j % F64_LANES] = fma(t, t, lane[j % F64_LANES]);                                  \
        }                                                                                          \
        return reduce_f64(lane);                                                                   \
    }

ROW_KERNELS(f32)
ROW_KERNELS(f16)
ROW_KERNELS(i8)
ROW_KERNELS(u8)

/* ---- conversions --------------------------------------------------------------------------- */

static void f32_from_f16(const void *in, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = (float)load_f16(in, i);
}

static void f32_from_i8(const void *in, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = (float)((const int8_t *)in)[i];
}

static void f32_from_u8(const void *in, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = (float)((const uint8_t *)in)[i];
}

static void f16_from_f32(const float *in, size_t n, void *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = vq_f32_to_f16(in[i]);
        memcpy((char *)out + i * sizeof h, &h, sizeof h);
    }
}

static void quantize_u8(const float *x, size_t n, float lo, float inv, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        float t = (x[i] - lo) * inv;
        t = t > 0.0f ? t : 0.0f; /* clamping to integers first: rounding is monotone */
        t = t < 255.0f ? t : 255.0f;
        out[i] = (uint8_t)lrintf(t);
    }
}

/* ---- searches in an array ------------------------------------------------------------------ */

static size_t argmax_f32(const float *a, const float *b, size_t n)
{
    size_t best = 0;
    float top = b != NULL ? a[0] + b[0] : a[0];
    for (size_t i = 1; i < n; i++) {
        float v = b != NULL ? a[i] + b[i] : a[i];
        if (v > top) {
            top = v;
            best = i;
        }
    }
    return best;
}

static size_t near_max_f32(const float *a, const float *b, size_t n, float within,
                           uint32_t *restrict idx)
{
    float top = -INFINITY;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (a[i] + b[i] > top) top = a[i] + b[i];
    for (size_t i = 0; i < n; i++)
        if (!(a[i] + b[i] < top - within)) idx[count++] = (uint32_t)i;
    return count;
}

/* A zero comes out as +0: which of -0 and +0 is met first must not matter. */
static void minmax_f32(const float *x, size_t n, float *lo, float *hi)
{
    float least = x[0], most = x[0];
    for (size_t i = 1; i < n; i++) {
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    *lo = least + 0.0f;
    *hi = most + 0.0f;
}

static size_t select_u16(const uint16_t *sums, const float *factor, size_t n, float scale,
                         float base, float threshold, uint32_t *restrict idx, float *restrict score)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        float s = fmaf((float)sums[i], scale, base);
        if (factor != NULL) s -= factor[i];
        if (!(s >= threshold)) continue;
        idx[found] = (uint32_t)i;
        score[found++] = s;
    }
    return found;
}

static size_t select_f16(const uint16_t *sums, const void *scales, const void *shifts, float unit,
                         const float *factor, size_t n, float scale, float low, float base,
                         float threshold, uint32_t *restrict idx, float *restrict score)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        float s = fmaf((float)load_f16(scales, i), fmaf((float)sums[i], scale, low), base);
        if (shifts != NULL) s = fmaf((float)load_f16(shifts, i), unit, s);
        if (factor != NULL) s -= factor[i];
        if (!(s >= threshold)) continue;
        idx[found] = (uint32_t)i;
        score[found++] = s;
    }
    return found;
}

static const float octave[12] = VQ_OCTAVE, inverses[12] = VQ_OCTAVE_INVERSE;

/* 2^(u / 12); of 0: 0. */
static float twelfths(uint8_t u)
{
    return u == 0 ? 0.0f : ldexpf(octave[u % 12], u / 12);
}

/* One over that, likewise; inverses are not quotients, but the same numbers everywhere. */
static float inverse_twelfths(uint8_t u)
{
    return u == 0 ? 0.0f : ldexpf(inverses[u % 12], -(u / 12));
}

static size_t select_bars(const uint16_t *sums, const uint8_t *factors, size_t stride,
                          const float *factor, size_t n, const vq_bars *b, float threshold,
                          uint32_t *restrict idx, float *restrict score, float *restrict most)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *block = factors + i / VQ_BLOCK * stride;
        const uint8_t *bytes = block + (b->shifted ? 4 : 2) * VQ_BLOCK;
        size_t at = i % VQ_BLOCK;
        float h = (float)load_f16(block, at);
        float s = fmaf(h, fmaf((float)sums[i], b->scale, b->low), b->base);
        if (b->shifted) s = fmaf((float)load_f16(block, VQ_BLOCK + at), b->unit, s);
        if (factor != NULL) s -= factor[i];
        float l = b->error * twelfths(bytes[at]), t = b->turn * twelfths(bytes[VQ_BLOCK + at]);
        float inverse = b->inverse * inverse_twelfths(bytes[VQ_BLOCK + at]);
        float sq = fmaf(l, b->sum, l * b->plain * inverse);
        float p = fmaf(b->half, sq, s - b->from);
        float v = fmaf(h * h, b->blunt, fmaf(l * (1.0f + t), b->reach, b->fixed));
        float width = sqrtf(fmaf(sq, b->noise, v));
        float m = fmaf(b->bend * t, p, s) + width;
        if (!(m >= threshold)) continue;
        idx[found] = (uint32_t)i;
        score[found] = s;
        most[found++] = m;
    }
    return found;
}

static float subset_luts(const float *x, size_t m, uint8_t *restrict out, float *low)
{
    float lane[F32_LANES] = {0}, range = 0.0f;
    for (size_t i = 0; i < 4 * m; i++) lane[i % F32_LANES] += x[i] < 0.0f ? x[i] : 0.0f;
    *low = reduce_f32(lane);
    for (size_t i = 0; i < 4 * m; i += 4) {
        float s = (fabsf(x[i]) + fabsf(x[i + 1])) + (fabsf(x[i + 2]) + fabsf(x[i + 3]));
        range = s > range ? s : range;
    }
    float inv = range > 0.0f ? 255.0f / range : 0.0f;
    for (size_t j = 0; j < m; j++)
        for (size_t c = 0; c < 16; c++) {
            float t[4];
            for (size_t i = 0; i < 4; i++) {
                float v = c >> i & 1 ? x[4 * j + i] : -x[4 * j + i];
                t[i] = v > 0.0f ? v : 0.0f;
            }
            float s = ((t[0] + t[1]) + (t[2] + t[3])) * inv;
            out[j * 16 + c] = (uint8_t)lrintf(s < 255.0f ? s : 255.0f);
        }
    return range / 255.0f;
}

static void grid_sums(const float *a, const float *u, const float *v, const float *limit, size_t d,
                      float inv, float *ip, float *sq)
{
    float ips[F32_LANES] = {0}, sqs[F32_LANES] = {0};
    for (size_t j = 0; j < d; j++) {
        float x = floorf(a[j] * inv) + 0.5f;
        x = x < -limit[j] ? -limit[j] : x;
        x = x > limit[j] ? limit[j] : x;
        ips[j % F32_LANES] = fmaf(u[j], x, ips[j % F32_LANES]);
        sqs[j % F32_LANES] = fmaf(v[j] * x, x, sqs[j % F32_LANES]);
    }
    *ip = reduce_f32(ips);
    *sq = reduce_f32(sqs);
}

static float planes_f32(const float *x, const uint8_t *planes, const uint8_t *count, size_t groups)
{
    float sums[16][F32_LANES] = {{0}}, lane[F32_LANES] = {0};
    for (size_t j = 0; j < groups; j++, x += F32_LANES)
        for (size_t s = count[j]; s-- > 0; planes += 2)
            for (size_t i = 0; i < F32_LANES; i++)
                if ((uint32_t)planes[i / 8] >> i % 8 & 1u) sums[s][i] += x[i];
    for (size_t s = 0; s < 16; s++)
        for (size_t i = 0; i < F32_LANES; i++)
            lane[i] = fmaf((float)(1u << s), sums[s][i], lane[i]);
    return reduce_f32(lane);
}

static void planes_plan(const int16_t *x, const uint8_t *count, size_t groups,
                        vq_planes_plan *restrict plan)
{
    for (size_t j = 0; j < groups; j += 4, plan++) {
        memcpy(plan->x, x + 16 * j, sizeof plan->x);
        memcpy(plan->count, count + j, sizeof plan->count);
    }
}

static int32_t planes_sum(const vq_planes_plan *plan, const uint8_t *planes, size_t groups)
{
    int32_t sum = 0;
    for (size_t j = 0; j < groups; j++) {
        const vq_planes_plan *at = plan + j / 4;
        const int16_t *x = at->x + j % 4 * 16;
        for (size_t s = at->count[j % 4]; s-- > 0; planes += 2)
            for (size_t i = 0; i < 16; i++) sum += (planes[i / 8] >> i % 8 & 1) * (x[i] * (1 << s));
    }
    return sum;
}

/* Bisects between the least and the largest, by the numbers of their bit patterns in order. */
static int32_t ordered(float f)
{
    int32_t b;
    memcpy(&b, &f, sizeof b);
    return b < 0 ? b ^ INT32_MAX : b;
}

static float from_ordered(int32_t b)
{
    float f;
    b = b < 0 ? b ^ INT32_MAX : b;
    memcpy(&f, &b, sizeof f);
    return f;
}

static float kth_f32(const float *x, size_t n, size_t k)
{
    float least, most;
    minmax_f32(x, n, &least, &most);
    int32_t lo = ordered(least), hi = ordered(most); /* at least k are >= lo, fewer are > hi */
    while (lo < hi) {
        int32_t mid = (int32_t)(hi - ((int64_t)hi - lo) / 2);
        float at = from_ordered(mid);
        size_t count = 0;
        for (size_t i = 0; i < n; i++) count += x[i] >= at;
        if (count >= k)
            lo = mid;
        else
            hi = mid - 1;
    }
    return from_ordered(lo) + 0.0f;
}

/* ---- sums in integers ---------------------------------------------------------------------- */

static uint32_t quantize_i16(const float *x, size_t n, float inv, int16_t *restrict out,
                             int32_t *sum)
{
    uint32_t all = 0;
    *sum = 0;
    for (size_t i = 0; i < n; i++) {
        float t = x[i] * inv;
        t = t > -16383.0f ? t : -16383.0f;
        t = t < 16383.0f ? t : 16383.0f;
        out[i] = (int16_t)lrintf(t);
        *sum += out[i];
        all += (uint32_t)abs(out[i]);
    }
    return all;
}

static void matvec_u8(const uint8_t *a, size_t rows, size_t d, size_t stride, const int16_t *x,
                      const float *step, const float *low, float unit, float sum,
                      float *restrict out)
{
    for (size_t i = 0; i < rows; i++) {
        uint32_t s = 0;
        for (size_t j = 0; j < d; j++) s += (uint32_t)(a[i * stride + j] * x[j]);
        out[i] = fmaf(step[i] * unit, (float)(int32_t)s, low[i] * sum);
    }
}

static void panel_matvec(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                         const float *step, const float *low, float unit, float sum,
                         float *restrict out)
{
    for (size_t i = 0; i < rows; i += 16) {
        uint32_t s[16] = {0};
        for (size_t j = 0; j < d; j += 4) {
            const uint8_t *four = panels + vq_in_panels(rows, d, i, j);
            for (size_t t = 0; t < 4 && j + t < d; t++)
                for (size_t r = 0; r < 16; r++) s[r] += (uint32_t)(four[4 * r + t] * x[j + t]);
        }
        for (size_t r = i; r < rows && r < i + 16; r++)
            out[r] = fmaf(step[r] * unit, (float)(int32_t)s[r - i], low[r] * sum);
    }
}

static void panel_matvec_u4(const uint8_t *panels, size_t rows, size_t d, const int16_t *x,
                            const float *step, const float *low, float unit, float sum,
                            float *restrict out)
{
    for (size_t r = 0; r < rows; r++) {
        uint32_t s = 0;
        for (size_t j = 0; j < d; j++) {
            uint8_t both = panels[vq_in_halves(rows, d, r, j)];
            s += (uint32_t)((r & 16 ? both >> 4 : both & 15) * x[j]);
        }
        out[r] = fmaf(step[r] * unit, (float)(int32_t)s, low[r] * sum);
    }
}

static void lut_u8(const int16_t *x, const uint8_t *cb, size_t m, size_t pairs, size_t kk,
                   float *restrict out)
{
    for (size_t j = 0; j < m; j++, x += 2 * pairs, cb += 2 * pairs * kk)
        for (size_t c = 0; c < kk; c++) {
            uint32_t s = 0;
            for (size_t t = 0; t < 2 * pairs; t++)
                s += (uint32_t)(x[t] * cb[(t / 2 * kk + c) * 2 + t % 2]);
            out[j * kk + c] = (float)(int32_t)s;
        }
}

#define NEAR_ROW(name, type)                                                                       \
    static void name(const int16_t *x, const void *row, size_t d, int32_t *ip, uint32_t *sq)       \
    {                                                                                              \
        const type *r = row;                                                                       \
        uint32_t product = 0, square = 0;                                                          \
        for (size_t j = 0; j < d; j++) {                                                           \
            product += (uint32_t)(x[j] * r[j]);                                                    \
            square += (uint32_t)(r[j] * r[j]);                                                     \
        }                                                                                          \
        *ip = (int32_t)product;                                                                    \
        *sq = square;                                                                              \
    }

NEAR_ROW(near_row_i8, int8_t)
NEAR_ROW(near_row_u8, uint8_t)

static void step_sums(float *restrict r, size_t n, const float *steps, const uint8_t *before,
                      const uint8_t *next, double *restrict sums)
{
    for (size_t i = 0; i < n; i++, r += 16) {
        for (size_t t = 0; t < 16 && before != NULL; t++) r[t] -= steps[before[i] * 16 + t];
        for (size_t t = 0; t < 16 && next != NULL; t++) sums[next[i] * 16 + t] += (double)r[t];
    }
}

static void felt_i8(const int8_t *table, size_t kk, const uint32_t *rows, size_t n,
                    const float *slope, const float *bend, const float *unit, const float *here,
                    float weight, float *restrict out)
{
    for (size_t w = 0; w < kk; w++) {
        float sum = 0.0f;
        for (size_t i = 0; i < n; i++) {
            float v = (float)table[rows[i] * kk + w];
            float at = here != NULL ? fmaf(unit[i], here[w], slope[i]) : slope[i];
            sum = fmaf(fmaf(bend[i], v, at), v, sum);
        }
        out[w] = fmaf(weight, sum, out[w]);
    }
}

static void panel_dots(const uint8_t *panels, const int32_t *sums, size_t count, size_t quads,
                       const int8_t *q, const vq_panel_scale *scale, size_t n, float *restrict out,
                       size_t stride)
{
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < 16 * count; r++) {
            const int8_t *x = q + i / 8 * quads * 32 + i % 8 * 4;
            const uint8_t *row = panels + r / 16 * quads * 64 + r % 16 * 4;
            uint32_t s = (uint32_t)scale[i].of_sum * (uint32_t)sums[r] - (uint32_t)scale[i].less;
            for (size_t j = 0; j < 4 * quads; j++)
                s += (uint32_t)(x[j / 4 * 32 + j % 4] * row[j / 4 * 64 + j % 4]);
            out[i * stride + r] = scale[i].unit * (float)(int32_t)s;
        }
}

/* ---- product quantization ------------------------------------------------------------------ */

/* The product of `times` the sub-vector at x with codeword c of a book stored dsub x kk. */
static float book_dot(const float *x, float times, const float *book, size_t dsub, size_t kk,
                      size_t c)
{
    float dot = 0.0f;
    for (size_t t = 0; t < dsub; t++) dot = fmaf(times * x[t], book[t * kk + c], dot);
    return dot;
}

static void lut_f32(const float *q, const float *cb, size_t m, size_t dsub, size_t kk,
                    float *restrict out)
{
    for (size_t j = 0; j < m; j++)
        for (size_t c = 0; c < kk; c++)
            out[j * kk + c] = book_dot(q + j * dsub, 1.0f, cb + j * dsub * kk, dsub, kk, c);
}

static void nearest_one(const float *x, const float *cb, const float *norm, size_t m, size_t dsub,
                        size_t kk, uint8_t *codes)
{
    for (size_t j = 0; j < m; j++) {
        size_t best = 0;
        float least = 0.0f;
        for (size_t c = 0; c < kk; c++) {
            float v = norm[j * kk + c];
            v += book_dot(x + j * dsub, -2.0f, cb + j * dsub * kk, dsub, kk, c);
            if (c > 0 && !(v < least)) continue;
            least = v;
            best = c;
        }
        codes[j] = (uint8_t)best;
    }
}

static void pq_nearest(const float *x, size_t n, size_t stride, const float *cb, const float *norm,
                       size_t m, size_t dsub, size_t kk, uint8_t *restrict codes)
{
    for (size_t i = 0; i < n; i++)
        nearest_one(x + i * stride, cb, norm, m, dsub, kk, codes + i * m);
}

static void pq8_scan(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t nblocks,
                     size_t m, uint16_t *restrict sums)
{
    (void)ahead;
    for (size_t b = 0; b < nblocks; b++) {
        for (size_t i = 0; i < VQ_BLOCK; i++) {
            uint32_t sum = 0;
            for (size_t j = 0; j < m; j++) sum += lut[j * 256 + codes[(b * m + j) * VQ_BLOCK + i]];
            sums[b * VQ_BLOCK + i] = (uint16_t)sum;
        }
    }
}

/* Of n values, a power of two: neighbours' first, rounded up. */
static uint32_t mean(const uint8_t *x, size_t n)
{
    return n == 1 ? *x : (mean(x, n / 2) + mean(x + n / 2, n / 2) + 1) / 2;
}

static void pq8_pairs(const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead,
                      size_t nblocks, size_t m, uint16_t *restrict sums)
{
    (void)ahead;
    for (size_t b = 0; b < nblocks; b++, codes += m * VQ_BLOCK) {
        for (size_t i = 0; i < VQ_BLOCK; i++) {
            uint32_t sum = 0;
            uint8_t r[8];
            for (size_t j = 0; j < m; j++) {
                r[j % 8] = lut[j * 128 + codes[j * VQ_BLOCK + i] / 2];
                if (j % 8 == 7) sum += 8 * mean(r, 8);
            }
            for (size_t j = 0; j < m % 8; j++) sum += r[j];
            sums[b * VQ_BLOCK + i] = (uint16_t)sum;
        }
    }
}

static void pq8_gather(const uint8_t *const *blocks, size_t nblocks, size_t m,
                       uint8_t *restrict out)
{
    for (size_t b = 0; b < nblocks; b++, out += m * VQ_BLOCK) memcpy(out, blocks[b], m * VQ_BLOCK);
}

static size_t pq8_gathered(const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m,
                           const uint16_t *least, uint16_t *restrict sums,
                           uint32_t *restrict reached)
{
    size_t n = 0;
    pq8_scan(lut, codes, NULL, nblocks, m, sums);
    for (size_t b = 0; b < nblocks; b++) {
        uint16_t most = 0;
        for (size_t i = 0; i < VQ_BLOCK; i++)
            if (sums[b * VQ_BLOCK + i] > most) most = sums[b * VQ_BLOCK + i];
        if (most >= least[b]) reached[n++] = (uint32_t)b;
    }
    return n;
}

static void pq4_scan(const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m,
                     size_t stride, uint16_t *restrict sums)
{
    for (size_t b = 0; b < nblocks; b++) {
        for (size_t i = 0; i < VQ_BLOCK; i++) {
            uint32_t sum = 0;
            for (size_t p = 0; p < m / 2; p++) {
                uint8_t two = codes[b * stride + p * VQ_BLOCK + i];
                sum += lut[2 * p * 16 + (two & 15u)];
                sum += lut[(2 * p + 1) * 16 + (two >> 4)];
            }
            sums[b * VQ_BLOCK + i] = (uint16_t)sum;
        }
    }
}

static void plane_scan(const uint8_t *lut, const vq_plane_run *runs, size_t nruns,
                       const uint8_t *codes, const uint8_t *ahead, size_t nblocks, size_t stride,
                       uint16_t *restrict sums)
{
    (void)ahead;
    for (size_t b = 0; b < nblocks; b++, codes += stride)
        for (size_t i = 0; i < VQ_BLOCK; i++) {
            const uint8_t *at = codes + i, *table = lut;
            uint32_t sum = 0;
            for (size_t r = 0; r < nruns; r++)
                for (size_t row = 0; row < 2 * (size_t)runs[r].planes; row++) {
                    uint32_t two = (uint32_t)table[*at & 15u] + table[16 + (*at >> 4)];
                    sum += two << runs[r].shift;
                    at += VQ_BLOCK, table += 32;
                }
            sums[b * VQ_BLOCK + i] = (uint16_t)sum;
        }
}

const vq_kernels vq_kernels_scalar = {.isa = "scalar",
#define K(ret, name, args) .name = name,
                                      VQ_KERNELS(K)
#undef K
};
