/* SPDX-License-Identifier: Apache-2.0 */
/* neon.c -- sums and conversions with NEON, which every 64-bit ARM has.  The 16 lanes (f64: 8) that
 * scalar.c sums in are four registers; the elements of the last, partial group are added to their
 * lanes one by one.  neon_int.c sums in integers, neon_pq.c works on codes. */
#include <arm_neon.h>
#include <math.h>

#include "src/math/kernels.h"

#define INLINE static inline __attribute__((always_inline))

extern const vq_kernels vq_kernels_neon;

typedef struct lanes16 {
    float32x4_t v[4];
} lanes16;

typedef struct lanes8 {
    float64x2_t v[4];
} lanes8;

INLINE lanes16 zero16(void)
{
    float32x4_t o = vdupq_n_f32(0.0f);
    return (lanes16){{o, o, o, o}};
}

INLINE lanes8 zero8(void)
{
    float64x2_t o = vdupq_n_f64(0.0);
    return (lanes8){{o, o, o, o}};
}

INLINE float reduce_f32(lanes16 s)
{
    float32x4_t a = vaddq_f32(vaddq_f32(s.v[0], s.v[2]), vaddq_f32(s.v[1], s.v[3]));
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

INLINE double reduce_f64(lanes8 s)
{
    float64x2_t a = vaddq_f64(vaddq_f64(s.v[0], s.v[2]), vaddq_f64(s.v[1], s.v[3]));
    return vgetq_lane_f64(a, 0) + vgetq_lane_f64(a, 1);
}

/* ---- f32 sums ------------------------------------------------------------------------------ */

/* The last d < 16 elements; differs: of x - y with itself. */
INLINE lanes16 rest_f32(lanes16 s, const float *x, const float *y, size_t d, const int differs)
{
    float lane[16];
    for (int r = 0; r < 4; r++) vst1q_f32(lane + 4 * r, s.v[r]);
    for (size_t j = 0; j < d; j++) {
        float t = x[j] - y[j];
        lane[j] = differs ? fmaf(t, t, lane[j]) : fmaf(x[j], y[j], lane[j]);
    }
    for (int r = 0; r < 4; r++) s.v[r] = vld1q_f32(lane + 4 * r);
    return s;
}

static float dot_f32(const float *x, const float *y, size_t d)
{
    lanes16 s = zero16();
    size_t j = 0;
    for (; j + 16 <= d; j += 16)
        for (size_t r = 0; r < 4; r++)
            s.v[r] = vfmaq_f32(s.v[r], vld1q_f32(x + j + 4 * r), vld1q_f32(y + j + 4 * r));
    if (j < d) s = rest_f32(s, x + j, y + j, d - j, 0);
    return reduce_f32(s);
}

static float l2sq_f32(const float *x, const float *y, size_t d)
{
    lanes16 s = zero16();
    size_t j = 0;
    for (; j + 16 <= d; j += 16)
        for (size_t r = 0; r < 4; r++) {
            float32x4_t t = vsubq_f32(vld1q_f32(x + j + 4 * r), vld1q_f32(y + j + 4 * r));
            s.v[r] = vfmaq_f32(s.v[r], t, t);
        }
    if (j < d) s = rest_f32(s, x + j, y + j, d - j, 1);
    return reduce_f32(s);
}

/* Four rows at a time: each part of x is loaded once for all of them. */
static void matvec_f32(const float *a, size_t rows, size_t d, size_t stride, const float *x,
                       float *out)
{
    for (; rows >= 4; rows -= 4, a += 4 * stride, out += 4) {
        lanes16 s[4] = {zero16(), zero16(), zero16(), zero16()};
        size_t j = 0;
        for (; j + 16 <= d; j += 16)
            for (size_t r = 0; r < 4; r++) {
                float32x4_t v = vld1q_f32(x + j + 4 * r);
                for (size_t i = 0; i < 4; i++)
                    s[i].v[r] = vfmaq_f32(s[i].v[r], vld1q_f32(a + i * stride + j + 4 * r), v);
            }
        for (size_t i = 0; i < 4; i++) {
            if (j < d) s[i] = rest_f32(s[i], a + i * stride + j, x + j, d - j, 0);
            out[i] = reduce_f32(s[i]);
        }
    }
    for (size_t i = 0; i < rows; i++) out[i] = dot_f32(a + i * stride, x, d);
}

static void matvecs_f32(const float *a, size_t rows, size_t d, size_t stride, const float *const *x,
                        size_t n, float *const *out)
{
    for (size_t v = 0; v < n; v++) matvec_f32(a, rows, d, stride, x[v], out[v]);
}

typedef struct wide16 {
    float32x4_t v[4];
} wide16;

INLINE wide16 from_u16(uint16x8_t lo, uint16x8_t hi)
{
    return (wide16){{vcvtq_f32_u32(vmovl_u16(vget_low_u16(lo))), vcvtq_f32_u32(vmovl_high_u16(lo)),
                     vcvtq_f32_u32(vmovl_u16(vget_low_u16(hi))),
                     vcvtq_f32_u32(vmovl_high_u16(hi))}};
}

INLINE wide16 from_s16(int16x8_t lo, int16x8_t hi)
{
    return (wide16){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_high_s16(lo)),
                     vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))),
                     vcvtq_f32_s32(vmovl_high_s16(hi))}};
}

INLINE wide16 from_u8(const uint8_t *p)
{
    uint8x16_t c = vld1q_u8(p);
    return from_u16(vmovl_u8(vget_low_u8(c)), vmovl_high_u8(c));
}

INLINE wide16 from_i8(const int8_t *p)
{
    int8x16_t c = vld1q_s8(p);
    return from_s16(vmovl_s8(vget_low_s8(c)), vmovl_high_s8(c));
}

static float dot_f32_u8(const float *q, const uint8_t *codes, size_t d)
{
    lanes16 s = zero16();
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
        wide16 w = from_u8(codes + j);
        for (size_t r = 0; r < 4; r++) s.v[r] = vfmaq_f32(s.v[r], vld1q_f32(q + j + 4 * r), w.v[r]);
    }
    if (j < d) {
        float last[16];
        for (size_t i = 0; i < d - j; i++) last[i] = (float)codes[j + i];
        s = rest_f32(s, q + j, last, d - j, 0);
    }
    return reduce_f32(s);
}

/* ---- conversions --------------------------------------------------------------------------- */

INLINE float32x4_t load4_f16(const void *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

INLINE float one_f16(const void *p)
{
    uint16_t h;
    __builtin_memcpy(&h, p, sizeof h);
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

static void f32_from_f16(const void *in, size_t n, float *restrict out)
{
    const char *p = in;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(out + i, load4_f16(p + 2 * i));
    for (; i < n; i++) out[i] = one_f16(p + 2 * i);
}

static void f32_from_i8(const void *in, size_t n, float *restrict out)
{
    const int8_t *p = in;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        wide16 w = from_i8(p + i);
        for (size_t r = 0; r < 4; r++) vst1q_f32(out + i + 4 * r, w.v[r]);
    }
    for (; i < n; i++) out[i] = (float)p[i];
}

static void f32_from_u8(const void *in, size_t n, float *restrict out)
{
    const uint8_t *p = in;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        wide16 w = from_u8(p + i);
        for (size_t r = 0; r < 4; r++) vst1q_f32(out + i + 4 * r, w.v[r]);
    }
    for (; i < n; i++) out[i] = (float)p[i];
}

static void f16_from_f32(const float *in, size_t n, void *restrict out)
{
    char *p = out;
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u8((uint8_t *)p + 2 * i, vreinterpret_u8_f16(vcvt_f16_f32(vld1q_f32(in + i))));
    for (; i < n; i++) {
        uint16_t h = vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(in[i]))), 0);
        __builtin_memcpy(p + 2 * i, &h, sizeof h);
    }
}

/* ---- stored rows --------------------------------------------------------------------------- */

typedef struct row8 { /* eight elements of a row */
    float64x2_t v[4];
} row8;

INLINE row8 widen8(float32x4_t a, float32x4_t b)
{
    return (row8){{vcvt_f64_f32(vget_low_f32(a)), vcvt_high_f64_f32(a),
                   vcvt_f64_f32(vget_low_f32(b)), vcvt_high_f64_f32(b)}};
}

/* A row may lie on any address. */
INLINE row8 load_f32(const char *p)
{
    return widen8(vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p)),
                  vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p + 16)));
}

INLINE row8 load_f16(const char *p)
{
    return widen8(load4_f16(p), load4_f16(p + 8));
}

INLINE row8 load_i8(const char *p)
{
    int16x8_t w = vmovl_s8(vld1_s8((const int8_t *)p));
    return widen8(vcvtq_f32_s32(vmovl_s16(vget_low_s16(w))), vcvtq_f32_s32(vmovl_high_s16(w)));
}

INLINE row8 load_u8(const char *p)
{
    uint16x8_t w = vmovl_u8(vld1_u8((const uint8_t *)p));
    return widen8(vcvtq_f32_u32(vmovl_u16(vget_low_u16(w))), vcvtq_f32_u32(vmovl_high_u16(w)));
}

INLINE double one_f32(const char *p)
{
    float f;
    __builtin_memcpy(&f, p, sizeof f);
    return (double)f;
}

INLINE double one_half(const char *p)
{
    return (double)one_f16(p);
}

INLINE double one_i8(const char *p)
{
    return (double)*(const int8_t *)p;
}

INLINE double one_u8(const char *p)
{
    return (double)*(const uint8_t *)p;
}

enum { PRODUCT, DIFFERENCE, SQUARE }; /* of query and row, of both with itself, of the row */

INLINE float64x2_t step8(float64x2_t s, const double *q, float64x2_t r, const int what)
{
    if (what == PRODUCT) return vfmaq_f64(s, vld1q_f64(q), r);
    float64x2_t t = what == DIFFERENCE ? vsubq_f64(vld1q_f64(q), r) : r; /* SQUARE: q is NULL */
    return vfmaq_f64(s, t, t);
}

INLINE double step1(double s, const double *q, double r, const int what)
{
    if (what == PRODUCT) return fma(*q, r, s);
    double t = what == DIFFERENCE ? *q - r : r;
    return fma(t, t, s);
}

INLINE double sum_row(const double *q, const char *row, size_t d, const size_t size,
                      row8 (*const load)(const char *), double (*const one)(const char *),
                      const int what)
{
    lanes8 s = zero8();
    size_t j = 0;
    for (; j + 8 <= d; j += 8) {
        row8 w = load(row + j * size);
        for (size_t r = 0; r < 4; r++)
            s.v[r] = step8(s.v[r], what == SQUARE ? q : q + j + 2 * r, w.v[r], what);
    }
    if (j < d) {
        double lane[8];
        for (size_t r = 0; r < 4; r++) vst1q_f64(lane + 2 * r, s.v[r]);
        for (size_t i = 0; j + i < d; i++)
            lane[i] =
                step1(lane[i], what == SQUARE ? q : q + j + i, one(row + (j + i) * size), what);
        for (size_t r = 0; r < 4; r++) s.v[r] = vld1q_f64(lane + 2 * r);
    }
    return reduce_f64(s);
}

#define ROW_KERNELS(type, size, one)                                                               \
    static double ip_row_##type(const double *q, const void *row, size_t d)                        \
    {                                                                                              \
        return sum_row(q, row, d, size, load_##type, one, PRODUCT);                                \
    }                                                                                              \
    static double l2sq_row_##type(const double *q, const void *row, size_t d)                      \
    {                                                                                              \
        return sum_row(q, row, d, size, load_##type, one, DIFFERENCE);                             \
    }                                                                                              \
    static double sq_row_##type(const void *row, size_t d)                                         \
    {                                                                                              \
        return sum_row(NULL, row, d, size, load_##type, one, SQUARE);                              \
    }

ROW_KERNELS(f32, 4, one_f32)
ROW_KERNELS(f16, 2, one_half)
ROW_KERNELS(i8, 1, one_i8)
ROW_KERNELS(u8, 1, one_u8)

const vq_kernels vq_kernels_neon = {
    .isa = "neon",
    .dot_f32 = dot_f32,
    .l2sq_f32 = l2sq_f32,
    .matvec_f32 = matvec_f32,
    .matvecs_f32 = matvecs_f32,
    .dot_f32_u8 = dot_f32_u8,
    .f32_from_f16 = f32_from_f16,
    .f32_from_i8 = f32_from_i8,
    .f32_from_u8 = f32_from_u8,
    .f16_from_f32 = f16_from_f32,
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
};
