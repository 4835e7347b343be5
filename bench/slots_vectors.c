/* SPDX-License-Identifier: Apache-2.0 */
/* slots_vectors.c -- kernels over rows of numbers: products, distances, conversions, selections. */
#include "bench/slots.h"
#include "vq/vq.h"

static void bench_dot(const vq_kernels *k, const memory *mem, shape *s)
{
    const float *a = (const float *)mem->in, *x = (const float *)mem->table;
    float sum = 0.0f;
    for (size_t i = 0; i < s->n; i++) sum += k->dot_f32(a + i * s->d, x, s->d);
    slot_sink = (double)sum;
    slot_units(s, s->n, 4 * s->d);
}

static void bench_l2sq(const vq_kernels *k, const memory *mem, shape *s)
{
    const float *a = (const float *)mem->in, *x = (const float *)mem->table;
    float sum = 0.0f;
    for (size_t i = 0; i < s->n; i++) sum += k->l2sq_f32(a + i * s->d, x, s->d);
    slot_sink = (double)sum;
    slot_units(s, s->n, 4 * s->d);
}

static void bench_matvec(const vq_kernels *k, const memory *mem, shape *s)
{
    k->matvec_f32((const float *)mem->in, s->n, s->d, s->d, (const float *)mem->table, mem->out);
    slot_units(s, s->n, 4 * s->d);
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
    slot_units(s, s->n * s->m, 4 * s->d);
}

static void bench_dot_u8(const vq_kernels *k, const memory *mem, shape *s)
{
    float sum = 0.0f;
    for (size_t i = 0; i < s->n; i++)
        sum += k->dot_f32_u8((const float *)mem->table, mem->in + i * s->d, s->d);
    slot_sink = (double)sum;
    slot_units(s, s->n, s->d);
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
        slot_sink = sum;                                                                           \
        slot_units(s, s->n, s->d *(size));                                                         \
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
        slot_units(s, s->n, s->d *(size));                                                         \
    }
BENCH_WIDEN(f32_from_f16, 2)
BENCH_WIDEN(f32_from_i8, 1)
BENCH_WIDEN(f32_from_u8, 1)

static void bench_f16_from_f32(const vq_kernels *k, const memory *mem, shape *s)
{
    k->f16_from_f32((const float *)mem->in, s->n * s->d, mem->out);
    slot_units(s, s->n, 4 * s->d);
}

static void bench_argmax(const vq_kernels *k, const memory *mem, shape *s)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += k->argmax_f32((const float *)mem->in + i * s->d, (const float *)mem->table, s->d);
    slot_sink = (double)sum;
    slot_units(s, s->n, 4 * s->d);
}

static void bench_near_max(const vq_kernels *k, const memory *mem, shape *s)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += k->near_max_f32((const float *)mem->in + i * s->d, (const float *)mem->table, s->d,
                               0.0f, (uint32_t *)mem->out);
    slot_sink = (double)sum;
    slot_units(s, s->n, 4 * s->d);
}

static void bench_minmax(const vq_kernels *k, const memory *mem, shape *s)
{
    float lo, hi, sum = 0.0f;
    for (size_t i = 0; i < s->n; i++) {
        k->minmax_f32((const float *)mem->in + i * s->d, s->d, &lo, &hi);
        sum += lo + hi;
    }
    slot_sink = (double)sum;
    slot_units(s, s->n, 4 * s->d);
}

static void bench_quantize(const vq_kernels *k, const memory *mem, shape *s)
{
    for (size_t i = 0; i < s->n; i++)
        k->quantize_u8((const float *)mem->in + i * s->d, s->d, -1.0f, 127.5f,
                       (uint8_t *)mem->out + i * s->d);
    slot_units(s, s->n, 4 * s->d);
}

/* Rows in panels; numbers of which a third are zeros, four at a time. */
static void bench_panel_matvec(const vq_kernels *k, const memory *mem, shape *s)
{
    enum { MOST = 1024 };
    const float *steps = (const float *)mem->table;
    int16_t x[MOST];
    for (size_t j = 0; j < MOST; j++) x[j] = (int16_t)(j / 4 % 3 == 0 ? 0 : 7 * j % 256);
    k->panel_matvec(mem->in, s->n, s->d, x, steps, steps + s->n, 1.0f, 1.0f, mem->out);
    slot_units(s, s->n, s->d);
}

static void bench_panel_matvec_u4(const vq_kernels *k, const memory *mem, shape *s)
{
    enum { MOST = 1024 };
    const float *steps = (const float *)mem->table;
    int16_t x[MOST];
    for (size_t j = 0; j < MOST; j++) x[j] = (int16_t)(j / 4 % 3 == 0 ? 0 : 7 * j % 256);
    k->panel_matvec_u4(mem->in, s->n, s->d, x, steps, steps + s->n, 1.0f, 1.0f, mem->out);
    slot_units(s, s->n, s->d);
}

/* The query side in integers: d bytes a row, with a 16-bit query. */
static void bench_matvec_u8(const vq_kernels *k, const memory *mem, shape *s)
{
    const float *steps = (const float *)mem->table;
    k->matvec_u8(mem->in, s->n, s->d, s->d, (const int16_t *)mem->table, steps, steps + s->n, 1.0f,
                 1.0f, mem->out);
    slot_units(s, s->n, s->d);
}

static void bench_near_row(const vq_kernels *k, const memory *mem, shape *s, uint32_t elem)
{
    int32_t ip;
    uint32_t sq, sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        vq_near_row(k, elem)((const int16_t *)mem->table, mem->in + i * s->d, s->d, &ip, &sq);
        sum += (uint32_t)ip + sq;
    }
    slot_sink = (double)sum;
    slot_units(s, s->n, s->d);
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
        slot_sink = (double)k->quantize_i16((const float *)mem->in + i * s->d, s->d, 8192.0f,
                                            (int16_t *)mem->out, &sum);
    slot_units(s, s->n, 4 * s->d);
}

/* The largest tenth of d values. */
static void bench_kth(const vq_kernels *k, const memory *mem, shape *s)
{
    double sum = 0.0;
    for (size_t i = 0; i < s->n; i++)
        sum += (double)k->kth_f32((const float *)mem->in + i * s->d, s->d, s->d / 10);
    slot_sink = sum;
    slot_units(s, s->n, 4 * s->d);
}

/* clang-format off */
const slot slots_of_vectors[] = {
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
    { "minmax_f32", bench_minmax, true, { { .n = 100, .d = 768 } } },
    { "quantize_u8", bench_quantize, true, { { .n = 100, .d = 256 }, { .n = 100, .d = 8192 } } },
    { "quantize_i16", bench_quantize_i16, true, { { .n = 100, .d = 768 } } },
    { "panel_matvec", bench_panel_matvec, false, { { .n = 192, .d = 768 }, { .n = 768, .d = 768 } } },
    { "panel_matvec_u4", bench_panel_matvec_u4, false, { { .n = 192, .d = 768 }, { .n = 768, .d = 768 } } },
    { "matvec_u8", bench_matvec_u8, false, { { .n = 256, .d = 768 }, { .n = 512, .d = 256 }, { .n = 768, .d = 768 } } },
    { "near_row_i8", bench_near_i8, false, { { .n = 100, .d = 768 } } },
    { "near_row_u8", bench_near_u8, false, { { .n = 100, .d = 784 } } },
    { "panel_dots", bench_panels, false, { { .n = 512, .m = 256, .d = 768 }, { .n = 512, .m = 8, .d = 96 } } },
    { "kth_f32", bench_kth, true, { { .n = 100, .d = 300 }, { .n = 100, .d = 1024 } } },
    { .name = NULL },
};
/* clang-format on */
