/* SPDX-License-Identifier: Apache-2.0 */
/* slots_codes.c -- kernels over codes: tables, scans, survivors, encoding; the probe of lists. */
#include <math.h>
#include <string.h>

#include "bench/probe.h"
#include "bench/slots.h"

/* d = dimensions in all, so dsub = d / m; n = vectors, each with its own tables. */
static void bench_lut(const vq_kernels *k, const memory *mem, shape *s, size_t kk)
{
    for (size_t i = 0; i < s->n; i++)
        k->lut_f32((const float *)mem->in + i * s->d, (const float *)mem->table, s->m, s->d / s->m,
                   kk, mem->out);
    slot_units(s, s->n, 4 * s->d * kk);
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
    slot_units(s, s->n, 4 * s->d * kk);
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
    slot_units(s, s->n * VQ_BLOCK, s->m);
}

static void bench_pairs(const vq_kernels *k, const memory *mem, shape *s)
{
    k->pq8_pairs(mem->table, mem->in, NULL, s->n, s->m, (uint16_t *)mem->out);
    slot_units(s, s->n * VQ_BLOCK, s->m);
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
            slot_sink = (double)k->pq8_gathered(mem->table + t * s->m * 256, gathered, n, s->m,
                                                least, sums, reached);
    }
    slot_units(s, s->n * VQ_BLOCK * TABLES, s->m);
}

static void bench_pq4(const vq_kernels *k, const memory *mem, shape *s)
{
    k->pq4_scan(mem->table, mem->in, s->n, s->m, s->m / 2 * VQ_BLOCK, (uint16_t *)mem->out);
    slot_units(s, s->n * VQ_BLOCK, s->m / 2);
}

/* Runs of d planes.  Their tables are zero, since sums of a run must fit into bytes. */
static void bench_plane_scan(const vq_kernels *k, const memory *mem, shape *s)
{
    static uint8_t zero[62 * 64] VQ_ALIGNED(64);
    vq_plane_run runs[62];
    size_t n = s->m / s->d;
    for (size_t i = 0; i < n; i++) runs[i] = (vq_plane_run){.planes = (uint8_t)s->d, .shift = 0};
    k->plane_scan(zero, runs, n, mem->in, NULL, s->n, s->m * 64, (uint16_t *)mem->out);
    slot_units(s, s->n * VQ_BLOCK, s->m * 2);
}

/* m per thousand of the sums survive. */
static void bench_select(const vq_kernels *k, const memory *mem, shape *s)
{
    float threshold = 65536.0f - 65.536f * (float)s->m;
    uint32_t *idx = (uint32_t *)mem->out;
    slot_sink = (double)k->select_u16((const uint16_t *)mem->in, NULL, s->n, 1.0f, 0.0f, threshold,
                                      idx, mem->out + s->n);
    slot_units(s, s->n, 2);
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
    slot_sink =
        (double)k->select_bars((const uint16_t *)mem->in, mem->in, s->m * VQ_BLOCK, NULL, s->n, &b,
                               INFINITY, idx, mem->out + s->n, mem->out + 2 * s->n);
    slot_units(s, s->n, 8);
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
    slot_sink = (double)sum;
    slot_units(s, s->n, groups * s->m * 2);
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
    slot_sink = (double)sum;
    slot_units(s, s->n, groups * s->m * 2);
}

static void bench_subsets(const vq_kernels *k, const memory *mem, shape *s)
{
    float low;
    for (size_t i = 0; i < s->n; i++)
        slot_sink =
            (double)k->subset_luts((const float *)mem->table, s->m, (uint8_t *)mem->out, &low);
    slot_units(s, s->n, s->m * 16);
}

static void bench_lut_u8(const vq_kernels *k, const memory *mem, shape *s)
{
    for (size_t i = 0; i < s->n; i++)
        k->lut_u8((const int16_t *)mem->in + i * s->d, mem->table, s->m, s->d / s->m / 2, 256,
                  mem->out);
    slot_units(s, s->n, s->d * 256);
}

/* n lists; units are queries, and the bytes those of all centroids, read or not. */
static void bench_probe(const vq_kernels *k, const memory *mem, shape *s)
{
    (void)mem;
    slot_units(s, PROBE_QUERIES, probe_run(k, s->n, s->d));
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
    slot_units(s, s->n, s->m * s->d);
}

/* A pass over n rows of 16. */
static void bench_step_sums(const vq_kernels *k, const memory *mem, shape *s)
{
    static float steps[256 * 16];
    static double sums[256 * 16];
    k->step_sums((float *)mem->in, s->n, steps, mem->table, mem->table + s->n, sums);
    slot_units(s, s->n, 128);
}

/* clang-format off */
const slot slots_of_codes[] = {
    { "step_sums", bench_step_sums, true, { { .n = 4096 } } },
    { "lut_f32 K=16", bench_lut16, true, { { .n = 20, .m = 192, .d = 768 }, { .n = 20, .m = 64, .d = 256 } } },
    { "lut_f32 K=256", bench_lut256, true, { { .n = 10, .m = 32, .d = 768 }, { .n = 10, .m = 32, .d = 256 } } },
    { "lut_u8 K=256", bench_lut_u8, false, { { .n = 10, .m = 32, .d = 768 }, { .n = 10, .m = 32, .d = 256 } } },
    { "felt_i8", bench_felt, false, { { .n = 100, .m = 32, .d = 256 } } },
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
    { .name = NULL },
};
/* clang-format on */
