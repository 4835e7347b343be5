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
    PANEL = 16,
    LEVEL = 17 /* bytes between two of 16 levels */,
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
    size_t bytes, each;
    if (rows > SIZE_MAX - 47 || d > SIZE_MAX - 3) return SIZE_MAX;
    size_t whole = vq_round_up(rows, (size_t)PANEL) + PANEL; /* the last halves may have one half */
    if (!vq_add_size(vq_round_up(d, (size_t)4), 2 * sizeof(float) + sizeof(uint32_t), &each) ||
        !vq_mul_size(whole, each, &bytes))
        return SIZE_MAX;
    return bytes;
}

/* Do sixteen rows from the first on have few levels? */
static bool are_few(const vq_bytemat *m, size_t first)
{
    uint32_t off = 0;
    if (m->rows - first < PANEL) return false;
    for (size_t r = first; r < first + PANEL; r++)
        for (size_t j = 0; j < m->d; j++) off |= m->a[r * m->stride + j] % LEVEL;
    return off == 0;
}

/* Sixteen rows at most of a matrix into p's memory, from its row `at` on. */
static void put_rows(const vq_bytepanels *p, uint8_t *a, uint8_t *halves, float *step, size_t at,
                     const vq_bytemat *m, size_t first)
{
    size_t bytes = p->rows - p->few;
    for (size_t r = first; r < VQ_MIN(m->rows, first + PANEL); r++, at++) {
        const uint8_t *row = m->a + r * m->stride;
        bool few = at >= bytes;
        for (size_t j = 0; j < p->d && !few; j++) a[vq_in_panels(bytes, p->d, at, j)] = row[j];
        for (size_t j = 0; j < p->d && few; j++)
            halves[vq_in_halves(p->few, p->d, at - bytes, j)] |=
                (uint8_t)(row[j] / LEVEL << ((at - bytes) & PANEL ? 4 : 0));
        step[at] = few ? LEVEL * m->step[r] : m->step[r];
        step[p->rows + at] = m->low[r];
    }
}

void vq_bytepanels_make(vq_bytepanels *p, const vq_bytemat *const *parts, size_t n, void *memory)
{
    size_t rows = 0, few = 0, d = parts[0]->d, at[2] = {0, 0}, placed[2] = {0, 0};
    for (size_t i = 0; i < n; i++) rows += parts[i]->rows;
    bool alone = rows == parts[0]->rows; /* several matrices need not end where sixteen rows do */
    for (size_t r = 0; alone && r < rows; r += PANEL) few += are_few(parts[0], r) ? PANEL : 0;
    size_t columns = vq_round_up(d, (size_t)4), bytes = vq_round_up(rows - few, (size_t)PANEL);
    uint8_t *a = memory, *halves = a + bytes * columns;
    float *step = (float *)(void *)(halves + vq_halved_rows(few) * columns);
    uint32_t *order = (uint32_t *)(void *)(step + 2 * rows);
    memset(a, 0, (bytes + vq_halved_rows(few)) * columns);
    *p = (vq_bytepanels){.a = a,
                         .halves = halves,
                         .step = step,
                         .low = step + rows,
                         .order = order,
                         .rows = rows,
                         .few = few,
                         .d = d};
    at[1] = rows - few, placed[1] = bytes / PANEL;
    for (size_t i = 0, of = 0; i < n; of += parts[i++]->rows)
        for (size_t r = 0; r < parts[i]->rows; r += PANEL) {
            size_t end = VQ_MIN(parts[i]->rows, r + PANEL), which = alone && are_few(parts[i], r);
            put_rows(p, a, halves, step, at[which], parts[i], r);
            at[which] += end - r;
            if (alone) order[placed[which]++] = (uint32_t)(r / PANEL);
        }
    for (size_t i = 0; !alone && i < bytes / PANEL; i++) order[i] = (uint32_t)i;
}

void vq_bytepanels_times(const vq_bytepanels *p, const vq_kernels *k, const vq_fixed *x, float *out)
{
    size_t bytes = p->rows - p->few;
    k->panel_matvec(p->a, bytes, p->d, x->x, p->step, p->low, x->unit, x->sum, out);
    if (p->few > 0)
        k->panel_matvec_u4(p->halves, p->few, p->d, x->x, p->step + bytes, p->low + bytes, x->unit,
                           x->sum, out + bytes);
}

void vq_bytepanels_put(const vq_bytepanels *p, const float *products, size_t n, float *out)
{
    for (size_t i = 0, at = 0; at < p->rows; i++) {
        size_t to = (size_t)p->order[i] * PANEL, count = VQ_MIN(p->rows - to, (size_t)PANEL);
        if (to + PANEL <= n)
            memcpy(out + to, products + at, PANEL * sizeof *out);
        else if (to < n)
            memcpy(out + to, products + at, VQ_MIN(count, n - to) * sizeof *out);
        at += count;
    }
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
