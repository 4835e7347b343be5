/* SPDX-License-Identifier: Apache-2.0 */
/* micro.c -- every kernel slot by representative shapes, at each level that this machine has.
 *
 *   vq_micro [SLOT...]      only the slots whose name contains one of the arguments
 *
 * Tab-separated on standard output: level, slot, shape, nanoseconds a unit (median of the runs),
 * the spread (largest less smallest, as a share of the median), GB/s of what is read, and that as a
 * share of the plain read of as many bytes, measured in the same run.  A unit is a vector or a row.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/probe.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/math/kernels.h"
#include "vq/vq.h"

enum { RUNS = 7, SHAPES = 8, BYTES = 64 << 20, STREAM = 256 << 20 };

/* One slot at one shape.  `units` vectors or rows are done a call and `bytes` read. */
typedef struct shape {
    size_t n, m, d;      /* rows (or blocks), sub-quantizers (or K), dimensions */
    size_t units, bytes; /* set by the slot */
} shape;

typedef struct memory {
    uint8_t *in; /* STREAM bytes: what is streamed, from memory beyond any cache if all of it is */
    uint8_t *table; /* BYTES: what stays */
    float *out;     /* BYTES */
} memory;

typedef void (*bench_fn)(const vq_kernels *k, const memory *mem, shape *s);

static volatile double sink; /* keeps results alive */

/* The thread's own time: what others do on the machine shows less. */
static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void units(shape *s, size_t n, size_t bytes_each)
{
    s->units = n;
    s->bytes = n * bytes_each;
}

/* ---- the slots ----------------------------------------------------------------------------- */

static void bench_dot(const vq_kernels *k, const memory *mem, shape *s)
{
    const float *a = (const float *)mem->in, *x = (const float *)mem->table;
    float sum = 0.0f;
    for (size_t i = 0; i < s->n; i++) sum += k->dot_f32(a + i * s->d, x, s->d);
    sink = (double)sum;
    units(s, s->n, 4 * s->d);
}

static void bench_l2sq(const vq_kernels *k, const memory *mem, shape *s)
{
    const float *a = (const float *)mem->in, *x = (const float *)mem->table;
    float sum = 0.0f;
    for (size_t i = 0; i < s->n; i++) sum += k->l2sq_f32(a + i * s->d, x, s->d);
    sink = (double)sum;
    units(s, s->n, 4 * s->d);
}

static void bench_matvec(const vq_kernels *k, const memory *mem, shape *s)
{
    k->matvec_f32((const float *)mem->in, s->n, s->d, s->d, (const float *)mem->table, mem->out);
    units(s, s->n, 4 * s->d);
}

/* m vectors; a unit is a row for each of them. */
static void bench_matvecs(const vq_kernels *k, const memory *mem, shape *s)
{
    const float *x[16];
    float *out[16];
    for (size_t v = 0; v < s->m; v++) {
        x[v] = (const float *)mem->table + v * s->d;
        out[v] = mem->out + v * s->n;
    }
    k->matvecs_f32((const float *)mem->in, s->n, s->d, s->d, x, s->m, out);
    units(s, s->n * s->m, 4 * s->d);
}

static void bench_dot_u8(const vq_kernels *k, const memory *mem, shape *s)
{
    float sum = 0.0f;
    for (size_t i = 0; i < s->n; i++)
        sum += k->dot_f32_u8((const float *)mem->table, mem->in + i * s->d, s->d);
    sink = (double)sum;
    units(s, s->n, s->d);
}

#define BENCH_ROW(slot, size, call)                                                                \
    static void bench_##slot(const vq_kernels *k, const memory *mem, shape *s)                     \
    {                                                                                              \
        const double *q = (const double *)mem->table;                                              \
        double sum = 0.0;                                                                          \
        (void)q;                                                                                   \
        for (size_t i = 0; i < s->n; i++) {                                                        \
            const uint8_t *row = mem->in + i * s->d * (size);                                      \
            sum += k->slot call;                                                                   \
        }                                                                                          \
        sink = sum;                                                                                \
        units(s, s->n, s->d *(size));                                                              \
    }
BENCH_ROW(ip_row_f32, 4, (q, row, s->d))
BENCH_ROW(ip_row_f16, 2, (q, row, s->d))
BENCH_ROW(ip_row_i8, 1, (q, row, s->d))
BENCH_ROW(ip_row_u8, 1, (q, row, s->d))
BENCH_ROW(l2sq_row_f32, 4, (q, row, s->d))
BENCH_ROW(l2sq_row_f16, 2, (q, row, s->d))
BENCH_ROW(l2sq_row_i8, 1, (q, row, s->d))
BENCH_ROW(l2sq_row_u8, 1, (q, row, s->d))
BENCH_ROW(sq_row_f32, 4, (row, s->d))
BENCH_ROW(sq_row_f16, 2, (row, s->d))
BENCH_ROW(sq_row_i8, 1, (row, s->d))
BENCH_ROW(sq_row_u8, 1, (row, s->d))

#define BENCH_WIDEN(slot, size)                                                                    \
    static void bench_##slot(const vq_kernels *k, const memory *mem, shape *s)                     \
    {                                                                                              \
        k->slot(mem->in, s->n * s->d, mem->out);                                                   \
        units(s, s->n, s->d *(size));                                                              \
    }
BENCH_WIDEN(f32_from_f16, 2)
BENCH_WIDEN(f32_from_i8, 1)
BENCH_WIDEN(f32_from_u8, 1)

static void bench_f16_from_f32(const vq_kernels *k, const memory *mem, shape *s)
{
    k->f16_from_f32((const float *)mem->in, s->n * s->d, mem->out);
    units(s, s->n, 4 * s->d);
}

static void bench_argmax(const vq_kernels *k, const memory *mem, shape *s)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += k->argmax_f32((const float *)mem->in + i * s->d, (const float *)mem->table, s->d);
    sink = (double)sum;
    units(s, s->n, 4 * s->d);
}

static void bench_near_max(const vq_kernels *k, const memory *mem, shape *s)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += k->near_max_f32((const float *)mem->in + i * s->d, (const float *)mem->table, s->d,
                               0.0f, (uint32_t *)mem->out);
    sink = (double)sum;
    units(s, s->n, 4 * s->d);
}

/* d codewords, m rows of their products that are gathered. */
static void bench_felt(const vq_kernels *k, const memory *mem, shape *s)
{
    static uint32_t rows[64];
    static float slope[64], bend[64];
    for (size_t i = 0; i < s->m; i++)
        rows[i] = (uint32_t)(i * 37 % 1000), slope[i] = 1.0f, bend[i] = -0.5f;
    for (size_t i = 0; i < s->n; i++)
        k->felt_i8((const int8_t *)mem->in + i * s->d, s->d, rows, s->m, slope, bend, NULL, NULL,
                   1.0f, mem->out);
    units(s, s->n, s->m * s->d);
}

/* A pass over n rows of 16. */
static void bench_step_sums(const vq_kernels *k, const memory *mem, shape *s)
{
    static float steps[256 * 16];
    static double sums[256 * 16];
    k->step_sums((float *)mem->in, s->n, steps, mem->table, mem->table + s->n, sums);
    units(s, s->n, 128);
}

static void bench_minmax(const vq_kernels *k, const memory *mem, shape *s)
{
    float lo, hi, sum = 0.0f;
    for (size_t i = 0; i < s->n; i++) {
        k->minmax_f32((const float *)mem->in + i * s->d, s->d, &lo, &hi);
        sum += lo + hi;
    }
    sink = (double)sum;
    units(s, s->n, 4 * s->d);
}

static void bench_quantize(const vq_kernels *k, const memory *mem, shape *s)
{
    for (size_t i = 0; i < s->n; i++)
        k->quantize_u8((const float *)mem->in + i * s->d, s->d, -1.0f, 127.5f,
                       (uint8_t *)mem->out + i * s->d);
    units(s, s->n, 4 * s->d);
}

/* d = dimensions in all, so dsub = d / m; n = vectors, each with its own tables. */
static void bench_lut(const vq_kernels *k, const memory *mem, shape *s, size_t kk)
{
    for (size_t i = 0; i < s->n; i++)
        k->lut_f32((const float *)mem->in + i * s->d, (const float *)mem->table, s->m, s->d / s->m,
                   kk, mem->out);
    units(s, s->n, 4 * s->d * kk);
}

static void bench_lut16(const vq_kernels *k, const memory *mem, shape *s)
{
    bench_lut(k, mem, s, 16);
}

static void bench_lut256(const vq_kernels *k, const memory *mem, shape *s)
{
    bench_lut(k, mem, s, 256);
}

static void bench_nearest(const vq_kernels *k, const memory *mem, shape *s, size_t kk)
{
    const float *cb = (const float *)mem->table, *norm = cb + s->d * kk;
    k->pq_nearest((const float *)mem->in, s->n, s->d, cb, norm, s->m, s->d / s->m, kk,
                  (uint8_t *)mem->out);
    units(s, s->n, 4 * s->d * kk);
}

static void bench_nearest16(const vq_kernels *k, const memory *mem, shape *s)
{
    bench_nearest(k, mem, s, 16);
}

static void bench_nearest256(const vq_kernels *k, const memory *mem, shape *s)
{
    bench_nearest(k, mem, s, 256);
}

/* n = blocks of 32 vectors. */
static void bench_pq8(const vq_kernels *k, const memory *mem, shape *s)
{
    k->pq8_scan(mem->table, mem->in, NULL, s->n, s->m, (uint16_t *)mem->out);
    units(s, s->n * VQ_BLOCK, s->m);
}

static void bench_pairs(const vq_kernels *k, const memory *mem, shape *s)
{
    k->pq8_pairs(mem->table, mem->in, s->n, s->m, (uint16_t *)mem->out);
    units(s, s->n * VQ_BLOCK, s->m);
}

/* pq8_scan for 64 tables, one after the other, d blocks at a time. */
static void bench_gathered(const vq_kernels *k, const memory *mem, shape *s)
{
    enum { TABLES = 64, MOST = 64 };
    uint8_t *gathered = (uint8_t *)mem->out;
    uint16_t *sums = (uint16_t *)(gathered + (16 << 20)), least[MOST];
    uint32_t reached[MOST];
    const uint8_t *blocks[MOST];
    memset(least, 0xff, sizeof least); /* as mostly */
    for (size_t b = 0; b < s->n; b += s->d) {
        size_t n = b + s->d < s->n ? s->d : s->n - b;
        for (size_t i = 0; i < n; i++) blocks[i] = mem->in + (b + i) * s->m * VQ_BLOCK;
        k->pq8_gather(blocks, n, s->m, gathered);
        for (size_t t = 0; t < TABLES; t++)
            sink = (double)k->pq8_gathered(mem->table + t * s->m * 256, gathered, n, s->m, least,
                                           sums, reached);
    }
    units(s, s->n * VQ_BLOCK * TABLES, s->m);
}

static void bench_pq4(const vq_kernels *k, const memory *mem, shape *s)
{
    k->pq4_scan(mem->table, mem->in, s->n, s->m, s->m / 2 * VQ_BLOCK, (uint16_t *)mem->out);
    units(s, s->n * VQ_BLOCK, s->m / 2);
}

/* Runs of d planes.  Their tables are zero, since sums of a run must fit into bytes. */
static void bench_plane_scan(const vq_kernels *k, const memory *mem, shape *s)
{
    static uint8_t zero[62 * 64] VQ_ALIGNED(64);
    vq_plane_run runs[62];
    size_t n = s->m / s->d;
    for (size_t i = 0; i < n; i++) runs[i] = (vq_plane_run){.planes = (uint8_t)s->d, .shift = 0};
    k->plane_scan(zero, runs, n, mem->in, NULL, s->n, s->m * 64, (uint16_t *)mem->out);
    units(s, s->n * VQ_BLOCK, s->m * 2);
}

/* m per thousand of the sums survive. */
static void bench_select(const vq_kernels *k, const memory *mem, shape *s)
{
    float threshold = 65536.0f - 65.536f * (float)s->m;
    uint32_t *idx = (uint32_t *)mem->out;
    sink = (double)k->select_u16((const uint16_t *)mem->in, NULL, s->n, 1.0f, 0.0f, threshold, idx,
                                 mem->out + s->n);
    units(s, s->n, 2);
}

/* None survives, as mostly; blocks of m bytes a vector. */
static void bench_select_bars(const vq_kernels *k, const memory *mem, shape *s)
{
    const vq_bars b = {.scale = 1.0f,
                       .shifted = 1,
                       .error = 1.0f,
                       .turn = 1e-5f,
                       .inverse = 1e5f,
                       .plain = 1.0f,
                       .sum = 1.0f,
                       .half = 0.5f,
                       .bend = 1.0f,
                       .reach = 1.0f};
    uint32_t *idx = (uint32_t *)mem->out;
    sink = (double)k->select_bars((const uint16_t *)mem->in, mem->in, s->m * VQ_BLOCK, NULL, s->n,
                                  &b, INFINITY, idx, mem->out + s->n, mem->out + 2 * s->n);
    units(s, s->n, 8);
}

/* m planes a group of 16 of d coordinates. */
static void bench_planes(const vq_kernels *k, const memory *mem, shape *s)
{
    static uint8_t count[64];
    size_t groups = s->d / 16;
    memset(count, (int)s->m, groups);
    float sum = 0.0f;
    for (size_t i = 0; i < s->n; i++)
        sum += k->planes_f32((const float *)mem->table, mem->in + i * groups * s->m * 2, count,
                             groups);
    sink = (double)sum;
    units(s, s->n, groups * s->m * 2);
}

static void bench_planes_sum(const vq_kernels *k, const memory *mem, shape *s)
{
    static uint8_t count[64];
    size_t groups = s->d / 16 / 4 * 4;
    memset(count, (int)s->m, groups);
    int32_t sum = 0;
    vq_planes_plan plan[16];
    k->planes_plan((const int16_t *)mem->table, count, groups, plan);
    for (size_t i = 0; i < s->n; i++)
        sum ^= k->planes_sum(plan, mem->in + i * groups * s->m * 2, groups);
    sink = (double)sum;
    units(s, s->n, groups * s->m * 2);
}

static void bench_subsets(const vq_kernels *k, const memory *mem, shape *s)
{
    float low;
    for (size_t i = 0; i < s->n; i++)
        sink = (double)k->subset_luts((const float *)mem->table, s->m, (uint8_t *)mem->out, &low);
    units(s, s->n, s->m * 16);
}

/* Rows in panels; numbers of which a third are zeros, four at a time. */
static void bench_panel_matvec(const vq_kernels *k, const memory *mem, shape *s)
{
    enum { MOST = 1024 };
    const float *steps = (const float *)mem->table;
    int16_t x[MOST];
    for (size_t j = 0; j < MOST; j++) x[j] = (int16_t)(j / 4 % 3 == 0 ? 0 : 7 * j % 256);
    k->panel_matvec(mem->in, s->n, s->d, x, steps, steps + s->n, 1.0f, 1.0f, mem->out);
    units(s, s->n, s->d);
}

/* The query side in integers: d bytes a row, with a 16-bit query. */
static void bench_matvec_u8(const vq_kernels *k, const memory *mem, shape *s)
{
    const float *steps = (const float *)mem->table;
    k->matvec_u8(mem->in, s->n, s->d, s->d, (const int16_t *)mem->table, steps, steps + s->n, 1.0f,
                 1.0f, mem->out);
    units(s, s->n, s->d);
}

static void bench_lut_u8(const vq_kernels *k, const memory *mem, shape *s)
{
    for (size_t i = 0; i < s->n; i++)
        k->lut_u8((const int16_t *)mem->in + i * s->d, mem->table, s->m, s->d / s->m / 2, 256,
                  mem->out);
    units(s, s->n, s->d * 256);
}

static void bench_near_row(const vq_kernels *k, const memory *mem, shape *s, uint32_t elem)
{
    int32_t ip;
    uint32_t sq, sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        vq_near_row(k, elem)((const int16_t *)mem->table, mem->in + i * s->d, s->d, &ip, &sq);
        sum += (uint32_t)ip + sq;
    }
    sink = (double)sum;
    units(s, s->n, s->d);
}

static void bench_near_i8(const vq_kernels *k, const memory *mem, shape *s)
{
    bench_near_row(k, mem, s, VQ_I8);
}

static void bench_near_u8(const vq_kernels *k, const memory *mem, shape *s)
{
    bench_near_row(k, mem, s, VQ_U8);
}

/* n rows, m queries; units are pairs of them. */
static void bench_panels(const vq_kernels *k, const memory *mem, shape *s)
{
    static vq_panel_scale scale[512];
    static int32_t sums[512];
    k->panel_dots(mem->in, sums, s->n / 16, s->d / 4, (const int8_t *)mem->table, scale, s->m,
                  mem->out, s->n);
    s->units = s->n * s->m;
    s->bytes = (s->n + s->m) * s->d;
}

static void bench_quantize_i16(const vq_kernels *k, const memory *mem, shape *s)
{
    int32_t sum;
    for (size_t i = 0; i < s->n; i++)
        sink = (double)k->quantize_i16((const float *)mem->in + i * s->d, s->d, 8192.0f,
                                       (int16_t *)mem->out, &sum);
    units(s, s->n, 4 * s->d);
}

/* The largest tenth of d values. */
static void bench_kth(const vq_kernels *k, const memory *mem, shape *s)
{
    double sum = 0.0;
    for (size_t i = 0; i < s->n; i++)
        sum += (double)k->kth_f32((const float *)mem->in + i * s->d, s->d, s->d / 10);
    sink = sum;
    units(s, s->n, 4 * s->d);
}

/* n lists; units are queries, and the bytes those of all centroids, read or not. */
static void bench_probe(const vq_kernels *k, const memory *mem, shape *s)
{
    (void)mem;
    units(s, PROBE_QUERIES, probe_run(k, s->n, s->d));
}

typedef struct slot {
    const char *name;
    bench_fn fn;
    bool floats;          /* streams finite floats (else random bytes) */
    shape shapes[SHAPES]; /* up to the first without n */
} slot;

/* clang-format off */
static const slot slots[] = {
    { "dot_f32", bench_dot, true, { { .n = 256, .d = 768 }, { .n = 1000, .d = 96 } } },
    { "l2sq_f32", bench_l2sq, true, { { .n = 256, .d = 768 }, { .n = 1000, .d = 96 } } },
    { "matvec_f32", bench_matvec, true, { { .n = 256, .d = 256 }, { .n = 256, .d = 768 }, { .n = 768, .d = 256 }, { .n = 768, .d = 768 }, { .n = 4096, .d = 768 } } },
    { "matvecs_f32", bench_matvecs, true, { { .n = 256, .m = 8, .d = 768 }, { .n = 768, .m = 8, .d = 256 } } },
    { "dot_f32_u8", bench_dot_u8, false, { { .n = 1000, .d = 768 }, { .n = 1000, .d = 96 } } },
    { "ip_row_f32", bench_ip_row_f32, true, { { .n = 100, .d = 768 } } },
    { "ip_row_f16", bench_ip_row_f16, false, { { .n = 100, .d = 768 } } },
    { "ip_row_i8", bench_ip_row_i8, false, { { .n = 100, .d = 768 }, { .n = 100, .d = 784 } } },
    { "ip_row_u8", bench_ip_row_u8, false, { { .n = 100, .d = 768 } } },
    { "l2sq_row_f32", bench_l2sq_row_f32, true, { { .n = 100, .d = 768 } } },
    { "l2sq_row_f16", bench_l2sq_row_f16, false, { { .n = 100, .d = 768 } } },
    { "l2sq_row_i8", bench_l2sq_row_i8, false, { { .n = 100, .d = 768 } } },
    { "l2sq_row_u8", bench_l2sq_row_u8, false, { { .n = 100, .d = 768 }, { .n = 100, .d = 784 } } },
    { "sq_row_f32", bench_sq_row_f32, true, { { .n = 100, .d = 768 } } },
    { "sq_row_f16", bench_sq_row_f16, false, { { .n = 100, .d = 768 } } },
    { "sq_row_i8", bench_sq_row_i8, false, { { .n = 100, .d = 768 } } },
    { "sq_row_u8", bench_sq_row_u8, false, { { .n = 100, .d = 768 } } },
    { "f32_from_f16", bench_f32_from_f16, false, { { .n = 100, .d = 768 } } },
    { "f32_from_i8", bench_f32_from_i8, false, { { .n = 100, .d = 768 } } },
    { "f32_from_u8", bench_f32_from_u8, false, { { .n = 100, .d = 768 } } },
    { "f16_from_f32", bench_f16_from_f32, true, { { .n = 100, .d = 768 } } },
    { "argmax_f32", bench_argmax, true, { { .n = 100, .d = 256 }, { .n = 100, .d = 1024 } } },
    { "near_max_f32", bench_near_max, true, { { .n = 100, .d = 256 } } },
    { "step_sums", bench_step_sums, true, { { .n = 4096 } } },
    { "minmax_f32", bench_minmax, true, { { .n = 100, .d = 768 } } },
    { "quantize_u8", bench_quantize, true, { { .n = 100, .d = 256 }, { .n = 100, .d = 8192 } } },
    { "lut_f32 K=16", bench_lut16, true, { { .n = 20, .m = 192, .d = 768 }, { .n = 20, .m = 64, .d = 256 } } },
    { "lut_f32 K=256", bench_lut256, true, { { .n = 10, .m = 32, .d = 768 }, { .n = 10, .m = 32, .d = 256 } } },
    { "quantize_i16", bench_quantize_i16, true, { { .n = 100, .d = 768 } } },
    { "panel_matvec", bench_panel_matvec, false, { { .n = 192, .d = 768 }, { .n = 768, .d = 768 } } },
    { "matvec_u8", bench_matvec_u8, false, { { .n = 256, .d = 768 }, { .n = 512, .d = 256 }, { .n = 768, .d = 768 } } },
    { "lut_u8 K=256", bench_lut_u8, false, { { .n = 10, .m = 32, .d = 768 }, { .n = 10, .m = 32, .d = 256 } } },
    { "near_row_i8", bench_near_i8, false, { { .n = 100, .d = 768 } } },
    { "near_row_u8", bench_near_u8, false, { { .n = 100, .d = 784 } } },
    { "felt_i8", bench_felt, false, { { .n = 100, .m = 32, .d = 256 } } },
    { "panel_dots", bench_panels, false, { { .n = 512, .m = 256, .d = 768 }, { .n = 512, .m = 8, .d = 96 } } },
    { "kth_f32", bench_kth, true, { { .n = 100, .d = 300 }, { .n = 100, .d = 1024 } } },
    { "pq_nearest K=16", bench_nearest16, true, { { .n = 100, .m = 192, .d = 768 }, { .n = 100, .m = 64, .d = 256 } } },
    { "pq_nearest K=256", bench_nearest256, true, { { .n = 1, .m = 32, .d = 256 }, { .n = 256, .m = 1, .d = 5 }, { .n = 256, .m = 32, .d = 768 }, { .n = 256, .m = 32, .d = 256 }, { .n = 256, .m = 96, .d = 192 } } },
    { "pq8_scan", bench_pq8, false, { { .n = 7, .m = 32 }, { .n = 100, .m = 32 }, { .n = 4000, .m = 32 }, { .n = 262144, .m = 32 }, { .n = 7, .m = 64 }, { .n = 100, .m = 64 }, { .n = 4000, .m = 64 }, { .n = 131072, .m = 64 } } },
    { "pq8_pairs", bench_pairs, false, { { .n = 7, .m = 32 }, { .n = 100, .m = 32 }, { .n = 4000, .m = 32 } } },
    { "pq8_gathered x64", bench_gathered, false, { { .n = 24, .m = 32, .d = 24 }, { .n = 4000, .m = 32, .d = 24 }, { .n = 4000, .m = 64, .d = 12 } } },
    { "pq4_scan", bench_pq4, false, { { .n = 7, .m = 64 }, { .n = 100, .m = 64 }, { .n = 4000, .m = 64 }, { .n = 7, .m = 192 }, { .n = 100, .m = 192 }, { .n = 4000, .m = 192 } } },
    { "plane_scan", bench_plane_scan, false, { { .n = 9, .m = 32, .d = 4 }, { .n = 9, .m = 32, .d = 8 }, { .n = 100, .m = 32, .d = 4 } } },
    { "select_bars", bench_select_bars, false, { { .n = 128, .m = 70 }, { .n = 1024, .m = 70 } } },
    { "planes_sum", bench_planes_sum, false, { { .n = 50, .m = 5, .d = 768 }, { .n = 50, .m = 2, .d = 768 } } },
    { "planes_f32", bench_planes, false, { { .n = 50, .m = 5, .d = 784 }, { .n = 50, .m = 2, .d = 768 } } },
    { "subset_luts", bench_subsets, true, { { .n = 50, .m = 128 } } },
    { "probe", bench_probe, true, { { .n = 512, .d = 256 }, { .n = 8192, .d = 256 }, { .n = 65536, .d = 256 }, { .n = 262144, .d = 256 }, { .n = 512, .d = 768 }, { .n = 65536, .d = 768 } } },
    { "select_u16", bench_select, false, { { .n = 224 }, { .n = 4096 }, { .n = 4096, .m = 10 }, { .n = 4096, .m = 100 }, { .n = 4096, .m = 1000 } } },
};
/* clang-format on */

/* ---- measuring ----------------------------------------------------------------------------- */

typedef struct timing {
    double ns, best, spread; /* a unit: median, least; (largest - smallest) / median */
} timing;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static timing summary(double *runs)
{
    qsort(runs, RUNS, sizeof *runs, by_value);
    return (timing){runs[RUNS / 2], runs[0], (runs[RUNS - 1] - runs[0]) / runs[RUNS / 2]};
}

/* Each run repeats the call for some two milliseconds. */
static timing measure(bench_fn fn, const vq_kernels *k, const memory *mem, shape *s)
{
    double runs[RUNS];
    fn(k, mem, s);
    double start = now_ns();
    fn(k, mem, s);
    size_t repeat = 1 + (size_t)(2e6 / (now_ns() - start + 1.0));
    for (int r = 0; r < RUNS; r++) {
        start = now_ns();
        for (size_t i = 0; i < repeat; i++) fn(k, mem, s);
        runs[r] = (now_ns() - start) / (double)(repeat * s->units);
    }
    return summary(runs);
}

/* The bound: the same number of bytes, each word added to one of eight sums. */
static void read_plain(const vq_kernels *k, const memory *mem, shape *s)
{
    const uint64_t *p = (const uint64_t *)mem->in;
    uint64_t sum[8] = {0};
    (void)k;
    for (size_t i = 0; i + 8 <= s->n / 8; i += 8)
        for (size_t l = 0; l < 8; l++) sum[l] += p[i + l];
    uint64_t all = 0;
    for (size_t l = 0; l < 8; l++) all ^= sum[l];
    sink = (double)(all & 255u);
    units(s, s->n, 1);
}

/* Floats in [-1, 1), or bits of which every 16 make a finite binary16, or random bits. */
static void fill(memory *mem, bool floats, bool finite_f16)
{
    vq_rng r;
    vq_rng_init(&r, 1, 0);
    float *f = (float *)mem->in, *t = (float *)mem->table;
    uint64_t *u = (uint64_t *)mem->in;
    for (size_t i = 0; i < STREAM / 8 && !floats; i++)
        u[i] = vq_rng_u64(&r) & (finite_f16 ? 0xbfffbfffbfffbfffu : UINT64_MAX);
    for (size_t i = 0; i < STREAM / 4 && floats; i++) f[i] = (float)(2.0 * vq_rng_f64(&r) - 1.0);
    for (size_t i = 0; i < BYTES / 4; i++) t[i] = (float)(2.0 * vq_rng_f64(&r) - 1.0);
}

static void fill_table_f64(memory *mem)
{
    double *q = (double *)mem->table;
    for (size_t i = 0; i < 4096; i++) q[i] = (double)(i % 17) - 8.0;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]) != NULL) return true;
    return argc <= 1;
}

static void print_cpu(void)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "model name", 10) != 0 && strncmp(line, "cpu family", 10) != 0) continue;
        printf("# %s", line);
        if (line[0] == 'm') break;
    }
    if (f != NULL) (void)fclose(f);
    printf("# one thread, its own time; median of %d runs\n", RUNS);
}

static void report(const char *isa, const slot *b, const memory *mem)
{
    const vq_kernels *k = vq_kernels_named(isa);
    for (size_t i = 0; k != NULL && i < SHAPES && b->shapes[i].n > 0; i++) {
        shape s = b->shapes[i], plain;
        timing t = measure(b->fn, k, mem, &s);
        plain = (shape){.n = s.bytes < STREAM ? s.bytes : STREAM};
        timing bound = measure(read_plain, k, mem, &plain);
        double gbs = (double)s.bytes / (double)s.units / t.ns;
        printf("%s\t%s\tn=%zu m=%zu d=%zu\t%.3f\t%.3f\t%.2f\t%.2f\t%.2f\n", isa, b->name, s.n, s.m,
               s.d, t.ns, t.best, t.spread, gbs, gbs * bound.ns);
    }
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    memory mem = {vq_mem_alloc(STREAM, 1), vq_mem_alloc(BYTES, 1), vq_mem_alloc(BYTES, 1)};
    if (mem.in == NULL || mem.table == NULL || mem.out == NULL) {
        (void)fprintf(stderr, "vq_micro: out of memory\n");
        return 1;
    }
    memset(mem.out, 0, BYTES);
    print_cpu();
    printf("level\tslot\tshape\tns/unit\tbest\tspread\tGB/s\tof plain read\n");
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        if (!wanted(slots[i].name, argc, argv)) continue;
        fill(&mem, slots[i].floats, strstr(slots[i].name, "f16") != NULL);
        if (strstr(slots[i].name, "_row_") != NULL) fill_table_f64(&mem);
        for (const char *const *isa = vq_kernels_levels(); *isa != NULL; isa++)
            report(*isa, &slots[i], &mem);
    }
    probe_free();
    vq_mem_free(mem.in);
    vq_mem_free(mem.table);
    vq_mem_free(mem.out);
    return 0;
}
