/* SPDX-License-Identifier: Apache-2.0 */
/* fixed.c -- see fixed.h. */
#include "src/math/fixed.h"

#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"

enum {
    MOST = 16383,
    TOGETHER = 64 /* rows that are brought together */,
    AHEAD = 8,
    LEAST_EXPONENT = -126
};

void vq_fixed_set(vq_fixed *f, const vq_kernels *k, const float *x, size_t d)
{
    float lo = 0.0f, hi = 0.0f;
    f->unit = f->sum = 0.0f;
    if (d > 0) k->minmax_f32(x, d, &lo, &hi);
    float most = fmaxf(-lo, hi);
    if (!(most > 0.0f) || !isfinite(most)) {
        memset(f->x, 0, d * sizeof *f->x);
        return;
    }
    int exponent; /* 2^exponent * most < MOST; the unit must be a normal number */
    (void)frexpf((float)MOST / most, &exponent);
    exponent = exponent - 1 > 126 ? 126 : exponent - 1;
    int32_t sum;
    while (k->quantize_i16(x, d, ldexpf(1.0f, exponent), f->x, &sum) > VQ_FIXED_MOST)
        if (--exponent < LEAST_EXPONENT) { /* what is no number stays large at any scale */
            memset(f->x, 0, d * sizeof *f->x);
            return;
        }
    f->unit = ldexpf(1.0f, -exponent);
    f->sum = f->unit * (float)sum;
}

void vq_bytes_make(const vq_kernels *k, const float *x, size_t n, uint8_t *out, float *step,
                   float *low)
{
    float hi;
    k->minmax_f32(x, n, low, &hi);
    float range = hi - *low;
    k->quantize_u8(x, n, *low, range > 0.0f ? 255.0f / range : 0.0f, out);
    *step = range / 255.0f;
}

/* Rows on lines of the cache. */
static size_t stride_of(size_t d)
{
    return vq_round_up(d, VQ_CACHELINE);
}

size_t vq_bytemat_size(size_t rows, size_t d)
{
    size_t bytes;
    if (!vq_mul_size(rows, stride_of(d) + 2 * sizeof(float), &bytes)) return SIZE_MAX;
    return bytes;
}

/* Behind the bytes: steps, then lows. */
static float *steps_in(void *memory, size_t rows, size_t d)
{
    return (float *)(void *)((uint8_t *)memory + rows * stride_of(d));
}

void vq_bytemat_make(vq_bytemat *m, const vq_kernels *k, const float *x, size_t rows, size_t d,
                     void *memory)
{
    size_t stride = stride_of(d);
    uint8_t *a = memory;
    float *step = steps_in(memory, rows, d), *low = step + rows;
    for (size_t i = 0; i < rows; i++, x += d) {
        vq_bytes_make(k, x, d, a + i * stride, &step[i], &low[i]);
        memset(a + i * stride + d, 0, stride - d);
    }
    *m = (vq_bytemat){.a = a, .step = step, .low = low, .rows = rows, .d = d, .stride = stride};
}

void vq_bytemat_level(const vq_bytemat *m, const float *x, void *memory)
{
    float *step = steps_in(memory, m->rows, m->d), *low = step + m->rows;
    for (size_t i = 0; i < m->rows; i++, x += m->d) {
        const uint8_t *a = m->a + i * m->stride;
        double own = 0.0, along = 0.0;
        for (size_t j = 0; j < m->d; j++) {
            own += (double)x[j] * (double)x[j];
            along += (double)x[j] * ((double)low[i] + (double)step[i] * (double)a[j]);
        }
        if (!(along > 0.5 * own)) continue; /* nothing, or nothing that bytes show */
        step[i] = (float)((double)step[i] * own / along);
        low[i] = (float)((double)low[i] * own / along);
    }
}

void vq_bytemat_times(const vq_bytemat *m, const vq_kernels *k, const vq_fixed *x, float *out)
{
    k->matvec_u8(m->a, m->rows, m->d, m->stride, x->x, m->step, m->low, x->unit, x->sum, out);
}

size_t vq_bytepanels_size(size_t rows, size_t d)
{
    size_t bytes;
    if (rows > SIZE_MAX - 15 || d > SIZE_MAX - 3) return SIZE_MAX;
    size_t whole = vq_round_up(rows, (size_t)16);
    if (!vq_mul_size(whole, vq_round_up(d, (size_t)4) + 2 * sizeof(float), &bytes)) return SIZE_MAX;
    return bytes;
}

void vq_bytepanels_make(vq_bytepanels *p, const vq_bytemat *const *parts, size_t n, void *memory)
{
    size_t rows = 0, d = parts[0]->d, at = 0;
    for (size_t i = 0; i < n; i++) rows += parts[i]->rows;
    size_t bytes = vq_round_up(rows, (size_t)16) * vq_round_up(d, (size_t)4);
    uint8_t *a = memory;
    float *step = (float *)(void *)(a + bytes), *low = step + rows;
    memset(a, 0, bytes);
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < parts[i]->rows; r++, at++) {
            const uint8_t *row = parts[i]->a + r * parts[i]->stride;
            for (size_t j = 0; j < d; j++) a[vq_in_panels(rows, d, at, j)] = row[j];
            step[at] = parts[i]->step[r], low[at] = parts[i]->low[r];
        }
    *p = (vq_bytepanels){.a = a, .step = step, .low = low, .rows = rows, .d = d};
}

void vq_bytepanels_times(const vq_bytepanels *p, const vq_kernels *k, const vq_fixed *x, float *out)
{
    k->panel_matvec(p->a, p->rows, p->d, x->x, p->step, p->low, x->unit, x->sum, out);
}

size_t vq_bytemat_some_size(size_t d)
{
    return vq_bytemat_size(TOGETHER, d);
}

/* Rows lie apart, and hardware starts anew with each. */
static void ask(const vq_bytemat *m, size_t row)
{
    const uint8_t *a = m->a + row * m->stride;
    for (size_t b = 0; b < m->stride; b += VQ_CACHELINE) VQ_PREFETCH(a + b);
    VQ_PREFETCH(m->step + row);
    VQ_PREFETCH(m->low + row);
}

void vq_bytemat_some(const vq_bytemat *m, const vq_kernels *k, const vq_fixed *x,
                     const uint32_t *rows, size_t n, void *room, float *out)
{
    uint8_t *a = room;
    float *step = (float *)(void *)(a + TOGETHER * m->stride), *low = step + TOGETHER;
    for (size_t first = 0, count; first < n; first += count) {
        count = VQ_MIN(n - first, (size_t)TOGETHER);
        for (size_t i = 0; i < count; i++) {
            size_t row = rows[first + i];
            if (first + i + AHEAD < n) ask(m, rows[first + i + AHEAD]);
            memcpy(a + i * m->stride, m->a + row * m->stride, m->stride);
            step[i] = m->step[row], low[i] = m->low[row];
        }
        k->matvec_u8(a, count, m->d, m->stride, x->x, step, low, x->unit, x->sum, out + first);
    }
}
