/* SPDX-License-Identifier: Apache-2.0 */
/* kernels.h -- the kernel table: one slot an operation, one row (table) an instruction set.
 *
 * scalar.c is the specification of every slot.  All levels give THE SAME BITS as scalar.c: sums are
 * defined over 16 lanes (f32) or 8 lanes (f64) with fused multiply-add and a fixed reduction, so
 * that an answer does not depend on the machine.
 *
 *   f32 sum over j of a_j * b_j:  lane[j % 16] = fma(a_j, b_j, lane[j % 16]), j rising, lanes start
 *   at +0; then lane[i] += lane[i + 8] for i < 8; then + 4, + 2, + 1.  f64: the same with 8 lanes.
 *   (Missing elements of the last, partial group leave their lanes untouched: a product that
 *   underflows can make a lane -0, which adding fma(0, 0, lane) would turn to +0.)
 *
 * What only orders candidates is summed in integers, which are exact in any order: a query of 15
 * bits (i16) with bytes, in 32 bits.  The caller keeps the sums there: src/math/fixed.h.
 *
 * Pointers need no alignment unless a slot says so.  Shapes are in elements.
 */
#ifndef VQ_MATH_KERNELS_H
#define VQ_MATH_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/compiler.h"

#define VQ_BLOCK 32u /* vectors in a block of codes */

/* What select_bars makes of a code's sum and factors.  Factors of a block: 32 scales (f16), with
 * `shifted` 32 shifts (f16), 32 lengths and 32 turns (a byte u stands for 2^(u / 12), 0 for 0: as
 * M[u % 12] * 2^(u / 12), M below).  With L = error * length, T = turn * turn's byte:
 *   s = fma(scale, fma(sum, scale, low), base), then fma(shift, unit, s), then s - factor;
 *   S = fma(L, sum, L * plain * I), I = inverse / 2^(u / 12) of the turn's byte, 0 for 0; p =
 * fma(half, S, s - from); most = fma(bend * T, p, s) + sqrt(V), V = fma(S, noise, fma(scale *
 * scale, blunt, fma(L * (1 + T), reach, fixed))). */
typedef struct vq_bars {
    float scale, low, base, unit; /* of the estimate */
    int shifted;
    float error, turn;      /* what bytes of 2^0 stand for */
    float inverse;          /* 1 / turn */
    float plain, sum, half; /* squared length of code and error, and what counts of it */
    float from, bend;       /* the part of s that codes have no share in; turns' multiple */
    float reach, noise;     /* squared widths: of the code's error, of the query's; */
    float blunt, fixed;     /* ..of the sums' for a scale of 1, of what all vectors share */
} vq_bars;

/* M of vq_bars, and one over that: numbers, since an exp2f of each library would not give the same
 * bits everywhere. */
#define VQ_OCTAVE                                                                                  \
    {                                                                                              \
        1.0f, 0x1.0f38fap0f, 0x1.1f59acp0f, 0x1.306fep0f, 0x1.428a3p0f, 0x1.55b81p0f,              \
            0x1.6a09e6p0f, 0x1.7f910ep0f, 0x1.965feap0f, 0x1.ae89fap0f, 0x1.c823ep0f,              \
            0x1.e3437ep0f                                                                          \
    }
#define VQ_OCTAVE_INVERSE                                                                          \
    {                                                                                              \
        1.0f, 0x1.e3437ep-1f, 0x1.c823ep-1f, 0x1.ae89fap-1f, 0x1.965feap-1f, 0x1.7f910ep-1f,       \
            0x1.6a09e6p-1f, 0x1.55b81p-1f, 0x1.428a3p-1f, 0x1.306fep-1f, 0x1.1f59acp-1f,           \
            0x1.0f38fap-1f                                                                         \
    }

/* How the products of a query that is bytes are to be taken: see panel_dots and src/math/panels.h.
 */
typedef struct vq_panel_scale {
    float unit;
    int32_t of_sum, less; /* times the sum of a row; and what is too much */
} vq_panel_scale;

/* K(return type, name, (parameters)) */
#define VQ_KERNELS(K)                                                                              \
    /* sum x_j y_j; sum (x_j - y_j)^2: t = x_j - y_j rounded to f32 first, then fma(t, t, .) */    \
    K(float, dot_f32, (const float *x, const float *y, size_t d))                                  \
    K(float, l2sq_f32, (const float *x, const float *y, size_t d))                                 \
    /* out[i] = dot_f32(a + i*stride, x, d), the same bits, for i < rows: a is rows x d */         \
    K(void, matvec_f32,                                                                            \
      (const float *a, size_t rows, size_t d, size_t stride, const float *x, float *out))          \
    /* the same for n vectors: out[v][i] = dot_f32(a + i*stride, x[v], d) */                       \
    K(void, matvecs_f32,                                                                           \
      (const float *a, size_t rows, size_t d, size_t stride, const float *const *x, size_t n,      \
       float *const *out))                                                                         \
    /* exact products of a query in f64 with a stored row; sums in f64, 8 lanes */                 \
    K(double, ip_row_f32, (const double *q, const void *row, size_t d))                            \
    K(double, ip_row_f16, (const double *q, const void *row, size_t d))                            \
    K(double, ip_row_i8, (const double *q, const void *row, size_t d))                             \
    K(double, ip_row_u8, (const double *q, const void *row, size_t d))                             \
    /* sum (q_j - row_j)^2, the difference rounded to f64 */                                       \
    K(double, l2sq_row_f32, (const double *q, const void *row, size_t d))                          \
    K(double, l2sq_row_f16, (const double *q, const void *row, size_t d))                          \
    K(double, l2sq_row_i8, (const double *q, const void *row, size_t d))                           \
    K(double, l2sq_row_u8, (const double *q, const void *row, size_t d))                           \
    /* sum row_j^2, 8 lanes */                                                                     \
    K(double, sq_row_f32, (const void *row, size_t d))                                             \
    K(double, sq_row_f16, (const void *row, size_t d))                                             \
    K(double, sq_row_i8, (const void *row, size_t d))                                              \
    K(double, sq_row_u8, (const void *row, size_t d))                                              \
    /* widening, n elements; f32_to_f16 rounds to nearest even */                                  \
    K(void, f32_from_f16, (const void *in, size_t n, float *restrict out))                         \
    K(void, f32_from_i8, (const void *in, size_t n, float *restrict out))                          \
    K(void, f32_from_u8, (const void *in, size_t n, float *restrict out))                          \
    K(void, f16_from_f32, (const float *in, size_t n, void *restrict out))                         \
    /* sum q_j * code_j with u8 codes, 16 lanes: the scan of sq8 */                                \
    K(float, dot_f32_u8, (const float *q, const uint8_t *codes, size_t d))                         \
    /* index of the largest a[i] + b[i] (b may be NULL: of a[i]); ties: the smallest; n >= 1 */    \
    K(size_t, argmax_f32, (const float *a, const float *b, size_t n))                              \
    /* what can be the largest s_i = a[i] + b[i], i < n, if that is known to `within` only: the    \
     * i, rising, with s_i no less than top - within, and those of NaN, go to idx (room for n);    \
     * returns how many.  top: the largest of those that are numbers, -infinity without any */     \
    K(size_t, near_max_f32,                                                                        \
      (const float *a, const float *b, size_t n, float within, uint32_t *restrict idx))            \
    /* tables: out[j*K + c] = sum over t < dsub, t rising from 0, of fma(q[j*dsub+t],              \
     * cb[(j*dsub+t)*K + c], .), starting at +0; j < m; kk (= K) is 16 or 256; cb is               \
     * m x dsub x kk */                                                                            \
    K(void, lut_f32,                                                                               \
      (const float *q, const float *cb, size_t m, size_t dsub, size_t kk, float *restrict out))    \
    /* nearest codewords of n rows that begin at x + i*stride: codes[i*m + j] = argmin over c of   \
     * norm[j*kk + c] + dot, dot as in lut_f32 but of -2 * x; ties: the smallest c */              \
    K(void, pq_nearest,                                                                            \
      (const float *x, size_t n, size_t stride, const float *cb, const float *norm, size_t m,      \
       size_t dsub, size_t kk, uint8_t *restrict codes))                                           \
    /* smallest and largest of n >= 1 finite values; a zero comes as +0 */                         \
    K(void, minmax_f32, (const float *x, size_t n, float *lo, float *hi))                          \
    /* out[i] = (x[i] - lo) * inv rounded to the nearest (even) integer, clamped to 0..255;        \
     * the difference and the product each rounded to f32 */                                       \
    K(void, quantize_u8, (const float *x, size_t n, float lo, float inv, uint8_t *restrict out))   \
    /* out[i] = x[i] * inv rounded to f32, then to the nearest (even) integer, clamped to -16383.. \
     * 16383; *sum = their sum, and the sum of their magnitudes is returned; n < 2^17 */           \
    K(uint32_t, quantize_i16,                                                                      \
      (const float *x, size_t n, float inv, int16_t *restrict out, int32_t *sum))                  \
    /* out[i] = fma(step[i] * unit, s, low[i] * sum), s = sum over j of a[i*stride + j] * x[j]     \
     * (an i32 rounded to f32), the other two products rounded to f32; i < rows */                 \
    K(void, matvec_u8,                                                                             \
      (const uint8_t *a, size_t rows, size_t d, size_t stride, const int16_t *x,                   \
       const float *step, const float *low, float unit, float sum, float *restrict out))           \
    /* the same where row i lies in panels, as vq_in_panels tells: whole ones, of which what is no \
     * row and no column is zero.  Columns whose x is zero cost less.  panels is 64-byte aligned   \
     */                                                                                            \
    K(void, panel_matvec,                                                                          \
      (const uint8_t *panels, size_t rows, size_t d, const int16_t *x, const float *step,          \
       const float *low, float unit, float sum, float *restrict out))                              \
    /* the same where an entry is four bits: of 32 rows the first 16 have the low bits of bytes,   \
     * the others the high ones, of panels of half as many rows: vq_in_halves tells which */       \
    K(void, panel_matvec_u4,                                                                       \
      (const uint8_t *panels, size_t rows, size_t d, const int16_t *x, const float *step,          \
       const float *low, float unit, float sum, float *restrict out))                              \
    /* tables: out[j*kk + c] = sum over p < pairs of the products of x[2*(j*pairs+p)] and its      \
     * right neighbour with the two bytes at cb[2*((j*pairs+p)*kk + c)], an i32 rounded to f32;    \
     * j < m; kk is 16 or 256 */                                                                   \
    K(void, lut_u8,                                                                                \
      (const int16_t *x, const uint8_t *cb, size_t m, size_t pairs, size_t kk,                     \
       float *restrict out))                                                                       \
    /* *ip = sum x_j row_j, *sq = sum row_j^2; d <= 65536 */                                       \
    K(void, near_row_i8, (const int16_t *x, const void *row, size_t d, int32_t *ip, uint32_t *sq)) \
    K(void, near_row_u8, (const int16_t *x, const void *row, size_t d, int32_t *ip, uint32_t *sq)) \
    /* out[i*stride + r] = scale[i].unit * s, s an i32 rounded to f32: the sum of the products of  \
     * query i and row r, plus scale[i].of_sum * sums[r], less scale[i].less, wrapping; i < n,     \
     * r < 16 * count.  Byte j of row r stands at panels[(r / 16 * quads + j / 4) * 64 + r % 16 *  \
     * 4 + j % 4], byte j of query i at q[(i / 8 * quads + j / 4) * 32 + i % 8 * 4 + j % 4]; all   \
     * are there for whole panels and groups.  panels is 64-byte aligned */                        \
    K(void, panel_dots,                                                                            \
      (const uint8_t *panels, const int32_t *sums, size_t count, size_t quads, const int8_t *q,    \
       const vq_panel_scale *scale, size_t n, float *restrict out, size_t stride))                 \
    /* out[w] = fma(weight, s, out[w]), s = the sum over i < n, i rising, of v * (slope + bend[i]  \
     * * v), v the byte at table[rows[i] * kk + w]: fma(fma(bend[i], v, slope), v, .), starting at \
     * +0; slope = slope[i] or, with here not NULL, fma(unit[i], here[w], slope[i]); w < kk, a     \
     * multiple of 16 */                                                                           \
    K(void, felt_i8,                                                                               \
      (const int8_t *table, size_t kk, const uint32_t *rows, size_t n, const float *slope,         \
       const float *bend, const float *unit, const float *here, float weight,                      \
       float *restrict out))                                                                       \
    /* n rows of 16: r[i] -= steps[before[i]] (steps: rows of 16; before NULL: not), then, unless  \
     * next is NULL, sums[next[i]] += r[i] in f64, i rising (sums: rows of 16) */                  \
    K(void, step_sums,                                                                             \
      (float *restrict r, size_t n, const float *steps, const uint8_t *before,                     \
       const uint8_t *next, double *restrict sums))                                                \
    /* the k-th largest of n values, none of them NaN; 1 <= k <= n; a zero comes as +0 */          \
    K(float, kth_f32, (const float *x, size_t n, size_t k))                                        \
    /* sums[b*32 + i] = sum over j < m of lut[j*256 + code], wrapping in 16 bits (the caller's     \
     * tables make a wrap impossible); block b holds m rows of 32 codes: codes[(b*m + j)*32 + i].  \
     * codes is 32-byte aligned, lut 64-byte, sums 64-byte.  ahead: what is scanned next, some of  \
     * which may be asked for on the way (never read); NULL: what follows codes */                 \
    K(void, pq8_scan,                                                                              \
      (const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t nblocks, size_t m,   \
       uint16_t *restrict sums))                                                                   \
    /* pq8_scan where neighbouring codewords share an entry, lut[j*128 + code / 2], and eight rows \
     * are added up as eight times a mean, which is rounded up: mean(mean(mean(0, 1), mean(2, 3)), \
     * mean(mean(4, 5), mean(6, 7))); rows after the last eight as they are.  So it is no less     \
     * than the sum, and bytes become 16 bits once in eight rows */                                \
    K(void, pq8_pairs,                                                                             \
      (const uint8_t *lut, const uint8_t *codes, const uint8_t *ahead, size_t nblocks, size_t m,   \
       uint16_t *restrict sums))                                                                   \
    /* for many tables over the same codes: gather brings blocks into the order in which gathered  \
     * reads them, a secret of the two of one level; gathered then gives the sums of pq8_scan of   \
     * blocks that have one of least[b] or more.  Their numbers b, rising, go to reached (room for \
     * nblocks), and how many is returned; what it leaves as the sums of other blocks is nobody's. \
     * out: round_up(nblocks, 2) * m * 32 bytes, 64-byte aligned; blocks: each 32-byte aligned.    \
     * Levels below avx512vbmi have but scalar.c's: what they look up takes so long that it does   \
     * not matter where codes lie */                                                               \
    K(void, pq8_gather,                                                                            \
      (const uint8_t *const *blocks, size_t nblocks, size_t m, uint8_t *restrict out))             \
    K(size_t, pq8_gathered,                                                                        \
      (const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m, const uint16_t *least,  \
       uint16_t *restrict sums, uint32_t *restrict reached))                                       \
    /* pq8_scan with 4-bit codes: m even; row p (p < m/2) of a block holds code 2p in the low and  \
     * 2p+1 in the high nibble; lut is m x 16; blocks begin stride bytes apart, a multiple of 32   \
     */                                                                                            \
    K(void, pq4_scan,                                                                              \
      (const uint8_t *lut, const uint8_t *codes, size_t nblocks, size_t m, size_t stride,          \
       uint16_t *restrict sums))                                                                   \
    /* pq4_scan of planes of bits, a plane four codes (64 bytes of a block, 64 of lut), where sums \
     * come run by run: what a run's planes add up to counts 1 << shift times.  Entries of a run   \
     * add up to 255 at most in each half of planes, the largest of each table taken.  As many     \
     * blocks at ahead, stride bytes apart, may be asked for on the way (never read); NULL: none.  \
     * lut is 64-byte, codes and sums are 32-byte aligned, stride a multiple of 32 */              \
    K(void, plane_scan,                                                                            \
      (const uint8_t *lut, const vq_plane_run *runs, size_t nruns, const uint8_t *codes,           \
       const uint8_t *ahead, size_t nblocks, size_t stride, uint16_t *restrict sums))              \
    /* survivors: s = fma(sums[i], scale, base), then s - factor[i] if factor is not NULL; those   \
     * with s >= threshold are appended, i rising: idx and score; returns how many.  Room for n */ \
    K(size_t, select_u16,                                                                          \
      (const uint16_t *sums, const float *factor, size_t n, float scale, float base,               \
       float threshold, uint32_t *restrict idx, float *restrict score))                            \
    /* the same with s = fma(f16 at scales + 2i, fma(sums[i], scale, low), base), then, if shifts  \
     * is not NULL, fma(f16 at shifts + 2i, unit, s), before the factor */                         \
    K(size_t, select_f16,                                                                          \
      (const uint16_t *sums, const void *scales, const void *shifts, float unit,                   \
       const float *factor, size_t n, float scale, float low, float base, float threshold,         \
       uint32_t *restrict idx, float *restrict score))                                             \
    /* select_f16 over codes whose error bars decide: see vq_bars below.  Of block b the factors   \
     * stand at factors + b * stride.  Those with most >= threshold are appended: idx, the         \
     * estimate and most.  Room for n */                                                           \
    K(size_t, select_bars,                                                                         \
      (const uint16_t *sums, const uint8_t *factors, size_t stride, const float *factor, size_t n, \
       const vq_bars *b, float threshold, uint32_t *restrict idx, float *restrict score,           \
       float *restrict most))                                                                      \
    /* tables of sums over the subsets of four numbers: out[j*16 + c] = min(255, s * inv rounded   \
     * to the nearest (even) integer), s = (t0 + t1) + (t2 + t3), t_i = max(x, 0) if bit i of c    \
     * is set and else max(-x, 0), x = x[4j + i]: the sum over the subset, less the least over     \
     * any.  inv = 255 / r, r the largest s of all (0 if that is 0); returns r / 255.  *low = the  \
     * sum of min(x, 0), 16 lanes; m is a multiple of 4 */                                         \
    K(float, subset_luts, (const float *x, size_t m, uint8_t *restrict out, float *low))           \
    /* a point on a grid of half-integers: x_j = floor(a_j * inv) + .5 held within +-limit_j;      \
     * *ip = sum u_j x_j, *sq = sum (v_j x_j) x_j, the products a_j * inv and v_j x_j rounded to   \
     * f32; d is a multiple of 16 */                                                               \
    K(void, grid_sums,                                                                             \
      (const float *a, const float *u, const float *v, const float *limit, size_t d, float inv,    \
       float *ip, float *sq))                                                                      \
    /* codes in planes of bits: group j holds 16 coordinates in count[j] (at most 16) planes, the  \
     * most significant first, a plane 2 bytes, coordinate i in bit i; returns the sum over the    \
     * groups of x[16j + i] * code: lane i of sum s adds x where bit s is set, groups in order; a  \
     * lane is then fma(2^s, sum s, .) over s rising from 0, starting at +0 */                     \
    K(float, planes_f32,                                                                           \
      (const float *x, const uint8_t *planes, const uint8_t *count, size_t groups))                \
    /* the same sum of integers, for counts of at most 8, and for many codes: planes_plan brings x \
     * and count into the form in which planes_sum reads them, a secret of the two of one level.   \
     * groups is a multiple of 4; x lies within +-16383, and its magnitudes sum up to              \
     * VQ_FIXED_MOST at most */                                                                    \
    K(void, planes_plan,                                                                           \
      (const int16_t *x, const uint8_t *count, size_t groups, vq_planes_plan *restrict plan))      \
    K(int32_t, planes_sum, (const vq_planes_plan *plan, const uint8_t *planes, size_t groups))

/* Planes whose sums fit into bytes. */
typedef struct vq_plane_run {
    uint8_t planes, shift;
} vq_plane_run;

/* Of four groups: by most levels the numbers and the planes of each. */
typedef struct vq_planes_plan {
    int16_t x[4 * 16];
    uint8_t count[4], other[124];
} VQ_ALIGNED(64) vq_planes_plan;

/* Rows of bytes in panels: of 16 rows four columns stand together, row by row, and those of up to
 * VQ_BESIDE panels beside each other, before the next four columns. */
enum { VQ_BESIDE = 8 };
/* The panels of the rows that stand beside row r. */
static inline size_t vq_panels_beside(size_t rows, size_t r)
{
    size_t left = (rows - r / (16 * VQ_BESIDE) * (16 * VQ_BESIDE) + 15) / 16;
    return left < VQ_BESIDE ? left : VQ_BESIDE;
}
/* Where column j of row r is. */
static inline size_t vq_in_panels(size_t rows, size_t d, size_t r, size_t j)
{
    size_t before = r / (16 * VQ_BESIDE) * (16 * VQ_BESIDE) * ((d + 3) / 4 * 4);
    size_t panel = j / 4 * vq_panels_beside(rows, r) + r % (16 * VQ_BESIDE) / 16;
    return before + panel * 64 + r % 16 * 4 + j % 4;
}

/* Rows of the panels of bytes that so many rows of four bits fill. */
static inline size_t vq_halved_rows(size_t rows)
{
    return (rows + 31) / 32 * 16;
}
/* Where the byte is that holds column j of row r, in its high bits if bit 4 of r is set. */
static inline size_t vq_in_halves(size_t rows, size_t d, size_t r, size_t j)
{
    return vq_in_panels(vq_halved_rows(rows), d, r / 32 * 16 + r % 16, j);
}

typedef struct vq_kernels {
    const char *isa; /* "scalar", "avx2", "avx512", "avx512vbmi"; "neon" */
    uint32_t needs;  /* VQ_CPU_* bits */
#define K(ret, name, args) ret(*name) args;
    VQ_KERNELS(K)
#undef K
} vq_kernels;

enum {
    VQ_CPU_AVX2 = 1u << 0,   /* with FMA and F16C */
    VQ_CPU_AVX512 = 1u << 1, /* F, BW, VL, DQ */
    VQ_CPU_VBMI = 1u << 2,
    VQ_CPU_VNNI = 1u << 3,
    VQ_CPU_NEON = 1u << 4, /* of 64-bit ARM */
    VQ_CPU_GFNI = 1u << 5
};

/* The best table for this machine (constant after the first call; thread-safe). */
const vq_kernels *vq_kernels_get(void);
/* For tests and benches: the table with levels up to `isa` overlaid, or NULL if there is no such
 * level or the machine lacks it.  Tables live for ever. */
const vq_kernels *vq_kernels_named(const char *isa);
/* The names of all levels in rising order, NULL at the end. */
const char *const *vq_kernels_levels(void);

/* Stored rows by element type (vq_elem): the slots above, chosen once. */
typedef double (*vq_row_ip_fn)(const double *q, const void *row, size_t d);
typedef double (*vq_row_sq_fn)(const void *row, size_t d);
vq_row_ip_fn vq_row_ip(const vq_kernels *k, uint32_t elem);
vq_row_ip_fn vq_row_l2sq(const vq_kernels *k, uint32_t elem);
vq_row_sq_fn vq_row_sq(const vq_kernels *k, uint32_t elem);
typedef void (*vq_near_row_fn)(const int16_t *x, const void *row, size_t d, int32_t *ip,
                               uint32_t *sq);
vq_near_row_fn vq_near_row(const vq_kernels *k, uint32_t elem); /* NULL: not of bytes */
/* n elements of type elem to f32. */
void vq_to_f32(const vq_kernels *k, uint32_t elem, const void *in, size_t n, float *out);

#endif
