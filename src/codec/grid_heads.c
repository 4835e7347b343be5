/* SPDX-License-Identifier: Apache-2.0 */
/* grid_heads.c -- the leading planes of codes, for a query: a table of 16 for each four coordinates
 * of a plane.  A few planes of the first groups weigh many times what the others do.  So that all
 * have entries of some digits, those that weigh more are halved, once or twice, and count the more
 * in sums; and most are so small that several planes add up in bytes. */
#include "src/codec/grid.h"

#include <math.h>
#include <string.h>

#include "src/base/bytes.h"

enum {
    G = VQ_GRID_GROUP,
    NIBBLES = 4,    /* of a plane; bytes add up those of each half */
    HALVED = 2,     /* times, at most */
    BYTE = 253,     /* what a sum of two entries may be but for their rounding */
    LARGEST = 32000 /* half of what the sum of all may be, since entries are halved by twos */
};

/* The planes of heads, those that weigh most first within a group. */
typedef struct planes {
    float (*most)[2]; /* n: what the largest entries of a half's tables add up to */
    vq_plane_run *runs;
    float top; /* the largest of most when planes have been halved */
    float up;  /* what all is multiplied by, so that steps of bytes have an inverse */
    size_t n;
} planes;

/* What planes hold of the query; those that the head has room for but not hold nothing.  Returns
 * what a half may hold: a part of the most that one does, but sums of all must fit into 16 bits,
 * whatever is halved. */
static float look_at(planes *to, const vq_grid_tables *t, const vq_grid_params *p, const float *q)
{
    float top = 0.0f, all = 0.0f;
    size_t n = 0;
    for (size_t g = 0; g < t->shape.groups; g++) {
        unsigned bits = (unsigned)p->head_bits[g];
        if (bits == 0) continue;
        float half[2] = {0.0f, 0.0f}, step = p->head_step[g] * (float)(1u << bits);
        for (size_t i = 0; i < G; i++) half[i / (G / 2)] += fabsf(q[g * G + i]);
        top = VQ_MAX(top, step * 0.5f * VQ_MAX(half[0], half[1]));
        all += step * (half[0] + half[1]);
        for (unsigned b = bits; b-- > 0; n++)
            for (size_t h = 0; h < 2; h++)
                to->most[n][h] = p->head_step[g] * (float)(1u << b) * half[h];
    }
    memset(to->most[n], 0, (to->n - n) * sizeof *to->most);
    return VQ_MAX(top / (float)(1 << HALVED), all * ((float)BYTE / LARGEST));
}

/* Halves the planes that are above the limit, and notes how often. */
static void halve(planes *to, float limit)
{
    to->top = 0.0f;
    for (size_t i = 0; i < to->n; i++) {
        float more = VQ_MAX(to->most[i][0], to->most[i][1]), factor = 1.0f;
        uint8_t shift = 0;
        for (; shift < HALVED && more * factor > limit; shift++) factor *= 0.5f;
        to->runs[i] = (vq_plane_run){.planes = 1, .shift = shift};
        to->top = VQ_MAX(to->top, more * factor);
        for (size_t h = 0; h < 2; h++) to->most[i][h] *= factor;
    }
}

/* Of products that are almost nothing all are multiplied by a power of two; of such that are no
 * numbers (a model that is none) the planes tell nothing. */
static void scale_up(planes *to)
{
    to->up = to->top < 0x1p-60f ? 0x1p60f : isfinite(to->top) ? 1.0f : 0.0f;
    to->top = to->up > 0.0f ? to->top * to->up : 0.0f;
    for (size_t i = 0; i < 2 * to->n; i++) {
        float *most = &to->most[i / 2][i % 2];
        *most = to->up > 0.0f ? *most * to->up : 0.0f;
    }
}

/* What bits add: G numbers a plane.  One plane more, which nobody has, holds what a half holds at
 * most, so that this is what a byte stands for. */
static void lay_out(const planes *from, const vq_grid_tables *t, const vq_grid_params *p,
                    const float *q, float *x)
{
    float *end = x + from->n * G;
    const vq_plane_run *run = from->runs;
    for (size_t g = 0; g < t->shape.groups; g++)
        for (unsigned b = (unsigned)p->head_bits[g]; b-- > 0; x += G, run++) {
            float step = p->head_step[g] * (float)(1u << b) / (float)(1u << run->shift);
            for (size_t i = 0; i < G; i++) x[i] = step * q[g * G + i];
            for (size_t i = 0; from->up != 1.0f && i < G; i++)
                x[i] = from->up > 0.0f
                           ? (float)((double)step * (double)q[g * G + i] * (double)from->up)
                           : 0.0f;
        }
    memset(x, 0, (size_t)(end - x + G) * sizeof *x);
    *end = from->top * (255.0f / BYTE);
}

/* Neighbours that are halved equally often make a run while bytes hold their sums.  Returns how
 * many runs there are. */
static size_t join(planes *to, float scale)
{
    size_t n = 0;
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    uint32_t held[2] = {0, 0};
    for (size_t i = 0; i < to->n; i++) {
        uint32_t more[2]; /* two entries are rounded, and floats are */
        for (int h = 0; h < 2; h++) {
            more[h] = (uint32_t)(to->most[i][h] * inverse) + 2;
            held[h] += more[h];
        }
        vq_plane_run own = to->runs[i], *last = n > 0 ? &to->runs[n - 1] : NULL;
        if (last != NULL && last->shift == own.shift && held[0] <= 255 && held[1] <= 255) {
            last->planes++;
            continue;
        }
        to->runs[n++] = own;
        held[0] = more[0], held[1] = more[1];
    }
    return n;
}

/* What the entries of a plane's tables add up to: of eight bytes two numbers of 16 bits each get
 * two, and of all at most 16. */
static uint32_t sum_of(const uint8_t *luts)
{
    const uint64_t every_other = UINT64_C(0x00ff00ff00ff00ff), ones = UINT64_C(0x0001000100010001);
    uint64_t sums = 0;
    for (size_t c = 0; c < NIBBLES * 16; c += 8) {
        uint64_t v = vq_le64(luts + c);
        sums += (v & every_other) + (v >> 8 & every_other);
    }
    return (uint32_t)(sums * ones >> 48);
}

bool vq_grid_heads_make(vq_grid_tables *t, const vq_grid_params *p, const float *q,
                        const vq_kernels *k, vq_arena *arena)
{
    vq_grid_heads *h = &t->heads;
    planes all = {.n = t->shape.head};
    float unused, entries = 0.0f, squares = 0.0f;
    float *x = vq_arena_take(arena, (all.n + 1) * G, sizeof *x);
    uint8_t *luts = vq_arena_take(arena, (all.n + 1) * NIBBLES, 16);
    all.most = vq_arena_take(arena, all.n + 1, sizeof *all.most);
    all.runs = vq_arena_take(arena, all.n, sizeof *all.runs);
    if (x == NULL || luts == NULL || all.most == NULL || all.runs == NULL) return false;
    halve(&all, look_at(&all, t, p, q));
    scale_up(&all);
    lay_out(&all, t, p, q, x);
    h->scale = k->subset_luts(x, (all.n + 1) * NIBBLES, luts, &unused);
    for (size_t i = 0; i < all.n; i++) {
        float weight = (float)(1u << all.runs[i].shift);
        entries += weight * (float)sum_of(luts + i * NIBBLES * 16);
        squares += weight * weight;
    }
    /* Sums are counted from what they are on the average over all codes, which stands for 0:
     * entries stand above the least of their table, and of small ones most are rounded to it. */
    h->nruns = join(&all, h->scale);
    if (all.up > 0.0f) h->scale /= all.up;
    h->low = -h->scale / 16.0f * entries;
    h->blunt = h->scale * h->scale / 12.0f * NIBBLES * squares;
    h->luts = luts;
    h->runs = all.runs;
    return true;
}

void vq_grid_heads_scan(const vq_code_model *cm, const vq_kernels *k, const vq_grid_tables *t,
                        const uint8_t *blocks, const uint8_t *ahead, size_t n, uint16_t *sums)
{
    size_t block = VQ_BLOCK * (size_t)cm->m, at = VQ_BLOCK * (size_t)t->shape.at;
    size_t front = at + VQ_BLOCK * (size_t)t->shape.factors;
    for (size_t b = 0; ahead != NULL && b * VQ_BLOCK < n; b++) /* planes come on the way */
        for (size_t i = at; i < front; i += VQ_CACHELINE) VQ_PREFETCH(ahead + b * block + i);
    k->plane_scan(t->heads.luts, t->heads.runs, t->heads.nruns, blocks, ahead,
                  (n + VQ_BLOCK - 1) / VQ_BLOCK, block, sums);
}
