/* SPDX-License-Identifier: Apache-2.0 */
/* groups.c -- see groups.h.
 *
 * A member is its group's centre and a residual r.  Of r the code keeps the signs: r ~ scale * s,
 * s_j = +-sigma_j, where sigma is how much all residuals vary along j and scale = |r|^2 / r . s, so
 * that a product with r is estimated without bias (as RaBitQ has it, Gao and Long 2024).  A product
 * with s is a sum over subsets: 2 * (sum of the y_j sigma_j whose bit is set) - (sum of all), which
 * pq4_scan makes of tables of four coordinates each, for all groups from the same ones.
 *
 * For l2, where queries are near the centre g of the groups that count, g . (r - scale * s) is
 * known and goes into what is taken off: so what the code blurs is a product with y - g, not with
 * y.
 */
#include "src/train/groups.h"

#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"

enum {
    MOST_COLUMNS = 1024, /* 256 tables of bytes: sums stay within 16 bits */
    GRAIN = 16,          /* columns: subset_luts goes by four tables */
    PIECE = 1024,        /* members whose sums are made at once */
    LEAST_GROUPS = 4,    /* scanned before anything is known.. */
    AT_FIRST = 4,        /* ..and so many times the members that are wanted; */
    MORE = 3             /* times as many groups are scanned next */
};
#define MOST_SCALE 60000.0f /* of f16 */

static size_t columns_of(size_t d)
{
    return VQ_MIN(vq_round_up(d, GRAIN), (size_t)MOST_COLUMNS);
}

static size_t block_bytes(const vq_groups *g)
{
    return g->columns / 8 * VQ_BLOCK;
}

/* ---- from the arrays ---- */

/* Takes bytes of what has been counted so far, on a line of the cache. */
static size_t take(size_t *all, size_t count, size_t size)
{
    size_t at = *all, bytes;
    if (!vq_mul_size(count, size, &bytes) || bytes > SIZE_MAX / 16 || at > SIZE_MAX / 16)
        *all = SIZE_MAX / 16 + 1;
    else
        *all = vq_round_up(at + bytes, VQ_CACHELINE);
    return at;
}

static vq_status make_room(vq_groups *g, void **centres, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_grouped *of = &g->of;
    size_t all = 0, c = of->count, blocks = of->n / VQ_BLOCK + c;
    g->columns = columns_of(of->d);
    bool own = of->l2; /* numbers that are taken off */
    size_t at[] = {take(&all, vq_bytemat_size(c, of->d), 1),
                   take(&all, c, sizeof(float)),
                   take(&all, c, sizeof(float)),
                   take(&all, c, sizeof(float)),
                   take(&all, c + 1, sizeof(uint32_t)),
                   take(&all, c + 1, sizeof(uint32_t)),
                   take(&all, g->columns, sizeof(uint32_t)),
                   take(&all, g->columns, sizeof(float)),
                   take(&all, blocks, block_bytes(g)),
                   take(&all, blocks, VQ_BLOCK * sizeof(uint16_t)),
                   take(&all, own ? of->n : 0, sizeof(float))};
    VQ_REQUIRE(all <= SIZE_MAX / 16, VQ_ENOMEM, "groups: %zu centroids", of->n);
    char *m = g->memory = vq_mem_calloc(all, 1);
    VQ_REQUIRE(m != NULL, VQ_ENOMEM, "groups: %zu bytes", all);
    *centres = m + at[0];
    g->bias = (float *)(void *)(m + at[1]), g->sq = (float *)(void *)(m + at[2]);
    g->spread = (float *)(void *)(m + at[3]), g->first = (uint32_t *)(void *)(m + at[4]);
    g->block = (uint32_t *)(void *)(m + at[5]), g->column = (uint32_t *)(void *)(m + at[6]);
    g->sigma = (float *)(void *)(m + at[7]), g->codes = (uint8_t *)(m + at[8]);
    g->scales = (uint16_t *)(void *)(m + at[9]);
    g->factors = own ? (float *)(void *)(m + at[10]) : NULL;
out:
    return rc;
}

/* Members and blocks of each group. */
static void number(vq_groups *g)
{
    for (size_t c = 0; c < g->of.count; c++) {
        uint32_t size = (uint32_t)g->of.sizes[c];
        g->first[c + 1] = g->first[c] + size;
        g->block[c + 1] = g->block[c] + (size + VQ_BLOCK - 1) / VQ_BLOCK;
    }
}

/* Centre, bias and spread of a group; adds to squares (d) those of its residuals. */
static void sum_up(vq_groups *g, const vq_kernels *k, size_t c, float *centre, float *squares)
{
    const vq_grouped *of = &g->of;
    size_t d = of->d, begin = g->first[c], end = g->first[c + 1];
    float inv = 1.0f / (float)(end - begin);
    double bias = 0.0, spread = 0.0;
    memset(centre, 0, d * sizeof *centre);
    for (size_t i = begin; i < end; i++) {
        const float *x = of->centroids + i * d;
        for (size_t j = 0; j < d; j++) centre[j] += x[j];
        if (of->biases != NULL) bias += (double)of->biases[i];
    }
    for (size_t j = 0; j < d; j++) centre[j] *= inv;
    for (size_t i = begin; i < end; i++) {
        const float *x = of->centroids + i * d;
        for (size_t j = 0; j < d; j++) squares[j] += (x[j] - centre[j]) * (x[j] - centre[j]);
        spread += (double)k->l2sq_f32(x, centre, d);
    }
    g->bias[c] = (float)(bias * (double)inv);
    g->sq[c] = k->dot_f32(centre, centre, d);
    g->spread[c] = (float)sqrt(spread * (double)inv);
}

/* The columns that vary most, where not all can have a bit; what their bits stand for. */
static void choose_columns(vq_groups *g, const float *squares, vq_hit *order)
{
    size_t d = g->of.d, most = VQ_MIN(d, g->columns);
    for (size_t j = 0; j < d; j++) order[j] = (vq_hit){.score = squares[j], .id = j};
    vq_hits_select(order, d, most);
    for (size_t j = 0; j < g->columns; j++) g->column[j] = (uint32_t)d;
    for (size_t j = 0; j < most; j++) {
        g->column[j] = (uint32_t)order[j].id;
        g->sigma[j] = sqrtf(squares[order[j].id] / (float)g->of.n);
    }
}

typedef struct coder {     /* a group's members at work; all owned by who makes groups */
    float *r, *signs, *g;  /* columns: a residual, +-sigma, the centre */
    float *scales, *along; /* of the largest group: scales, products of the centre with signs */
} coder;

/* The code of residual w->r into its block; signs and scale of member i. */
static void write_code(const vq_groups *g, const vq_kernels *k, coder *w, size_t i, uint8_t *block)
{
    size_t columns = g->columns, at = i % VQ_BLOCK;
    float *r = w->r;
    for (size_t p = 0; p < columns / 8; p++) {
        unsigned bits = 0;
        for (unsigned t = 0; t < 8; t++) bits |= (unsigned)(r[8 * p + t] >= 0.0f) << t;
        block[p * VQ_BLOCK + at] = (uint8_t)bits;
    }
    for (size_t j = 0; j < columns; j++) w->signs[j] = r[j] >= 0.0f ? g->sigma[j] : -g->sigma[j];
    float sq = k->dot_f32(r, r, columns), along = k->dot_f32(r, w->signs, columns);
    float scale = along > 0.0f ? sq / along : 0.0f;
    w->scales[i] = VQ_MIN(scale, MOST_SCALE);
    w->along[i] = k->dot_f32(w->g, w->signs, columns);
}

/* Codes of a group. */
static void write_codes(vq_groups *g, const vq_kernels *k, size_t c, const float *centre, coder *w)
{
    size_t d = g->of.d, size = g->first[c + 1] - g->first[c], columns = g->columns;
    uint16_t *scales = g->scales + (size_t)g->block[c] * VQ_BLOCK;
    for (size_t j = 0; j < columns; j++) w->g[j] = g->column[j] < d ? centre[g->column[j]] : 0.0f;
    for (size_t i = 0; i < size; i++) {
        const float *x = g->of.centroids + (g->first[c] + i) * d;
        for (size_t j = 0; columns >= d && j < d; j++) w->r[j] = x[j] - centre[j];
        for (size_t j = d; columns >= d && j < columns; j++) w->r[j] = 0.0f;
        for (size_t j = 0; columns < d && j < columns; j++) w->r[j] = x[g->column[j]] - w->g[j];
        write_code(g, k, w, i, g->codes + (g->block[c] + i / VQ_BLOCK) * block_bytes(g));
    }
    k->f16_from_f32(w->scales, size, scales);
    if (g->factors == NULL) return;
    k->f32_from_f16(scales, size, w->scales);
    for (size_t i = 0; i < size; i++) {
        size_t at = g->first[c] + i;
        float whole = k->dot_f32(centre, g->of.centroids + at * d, d) - g->sq[c];
        g->factors[at] = g->of.biases[at] - (whole - w->scales[i] * w->along[i]);
    }
}

vq_status vq_groups_make(vq_groups *g, const vq_grouped *of, const vq_kernels *k, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = of->d, largest = 0;
    void *room = NULL;
    float *centres = vq_alloc_f32(of->count, d), *squares = NULL;
    coder w = {0};
    vq_hit *order = vq_mem_alloc(d, sizeof *order);
    double all = 0.0;
    *g = (vq_groups){.of = *of};
    VQ_TRY(make_room(g, &room, err));
    number(g);
    for (size_t c = 0; c < of->count; c++)
        largest = VQ_MAX(largest, (size_t)(g->first[c + 1] - g->first[c]));
    squares = vq_mem_calloc(d, sizeof *squares);
    w.r = vq_alloc_f32(3, g->columns);
    w.scales = vq_alloc_f32(2, largest);
    VQ_REQUIRE(centres != NULL && order != NULL && squares != NULL && w.r != NULL &&
                   w.scales != NULL,
               VQ_ENOMEM, "groups: %zu x %zu floats", of->count, d);
    w.signs = w.r + g->columns, w.g = w.signs + g->columns, w.along = w.scales + largest;
    for (size_t c = 0; c < of->count; c++) {
        sum_up(g, k, c, centres + c * d, squares);
        all += (double)g->spread[c] * (double)g->spread[c] * (double)of->sizes[c];
    }
    g->all = (float)sqrt(all / (double)of->n);
    choose_columns(g, squares, order);
    for (size_t c = 0; c < of->count; c++) write_codes(g, k, c, centres + c * d, &w);
    vq_bytemat_make(&g->centres, k, centres, of->count, d, room);
out:
    vq_mem_free(centres);
    vq_mem_free(order);
    vq_mem_free(squares);
    vq_mem_free(w.r);
    vq_mem_free(w.scales);
    if (rc != VQ_OK) vq_groups_free(g);
    return rc;
}

void vq_groups_free(vq_groups *g)
{
    vq_mem_free(g->memory);
    memset(g, 0, sizeof *g);
}

/* ---- a search -------------------------------------------------------------------------------- */

typedef struct search {
    const vq_groups *g;
    const vq_kernels *k;
    float *base;        /* count: products with the centres */
    vq_group_scores of; /* the groups */
    uint8_t *luts;
    float scale, low; /* of the tables' sums */
    uint16_t *sums;   /* PIECE */
    uint32_t *idx;    /* PIECE */
    float *scores;    /* n and PIECE: estimates, */
    float *most;      /* ..and with what they may be off by */
    uint32_t *rows;   /* n: the members; NULL: not wanted */
    float slack;
    size_t n; /* that were kept */
} search;

typedef struct rooms { /* of scratch, in bytes */
    size_t fixed, groups, turned, luts, sums, idx, scores, most, all;
} rooms;

static rooms rooms_of(size_t n, size_t d, size_t count)
{
    rooms r = {0};
    size_t columns = columns_of(d);
    r.fixed = take(&r.all, d, sizeof(int16_t));
    r.groups = take(&r.all, 4 * count, sizeof(float));
    r.turned = take(&r.all, columns, sizeof(float));
    r.luts = take(&r.all, columns * 4, 1);
    r.sums = take(&r.all, PIECE, sizeof(uint16_t));
    r.idx = take(&r.all, PIECE, sizeof(uint32_t));
    r.scores = take(&r.all, n + PIECE, sizeof(float));
    r.most = take(&r.all, n, sizeof(float));
    return r;
}

size_t vq_groups_scratch(size_t n, size_t d, size_t count)
{
    return rooms_of(n, d, count).all;
}

/* Tables of the query. */
static void make_tables(search *s, const float *y, float *turned)
{
    const vq_groups *g = s->g;
    size_t d = g->of.d;
    float total = 0.0f, low;
    for (size_t j = 0; j < g->columns; j++) {
        turned[j] = g->column[j] < d ? y[g->column[j]] * g->sigma[j] : 0.0f;
        total += turned[j];
    }
    s->scale = 2.0f * s->k->subset_luts(turned, g->columns / 4, s->luts, &low);
    s->low = 2.0f * low - total;
}

static search begin(const vq_groups *g, const vq_kernels *k, const float *y, void *scratch)
{
    const vq_grouped *of = &g->of;
    rooms r = rooms_of(of->n, of->d, of->count);
    char *at = scratch;
    search s = {.g = g, .k = k};
    s.base = (float *)(void *)(at + r.groups);
    s.of.mean = s.base + of->count;
    s.of.width = s.of.mean + of->count, s.of.near = s.of.width + of->count;
    s.luts = (uint8_t *)(at + r.luts), s.sums = (uint16_t *)(void *)(at + r.sums);
    s.idx = (uint32_t *)(void *)(at + r.idx), s.scores = (float *)(void *)(at + r.scores);
    s.most = (float *)(void *)(at + r.most);
    vq_fixed fixed = {.x = (int16_t *)(void *)(at + r.fixed)};
    vq_fixed_set(&fixed, k, y, of->d);
    vq_bytemat_times(&g->centres, k, &fixed, s.base);
    float sq = k->dot_f32(y, y, of->d);
    s.of.nearest = -INFINITY;
    for (size_t c = 0; c < of->count; c++) {
        float far = of->l2 ? sq - 2.0f * s.base[c] + g->sq[c] : sq; /* what residuals meet */
        s.of.mean[c] = s.base[c] - g->bias[c];
        s.of.width[c] = sqrtf(far > 0.0f ? far : 0.0f) * g->spread[c];
        s.of.near[c] = s.of.mean[c] + 0.5f * s.of.width[c];
        s.of.nearest = VQ_MAX(s.of.nearest, s.of.near[c]);
    }
    s.of.unit = sqrtf(sq) * g->all;
    make_tables(&s, y, (float *)(void *)(at + r.turned));
    return s;
}

/* Members of a group that may reach `best`, behind those that are there. */
static void scan(search *s, size_t c, float best)
{
    const vq_groups *g = s->g;
    size_t size = g->first[c + 1] - g->first[c];
    float off = s->slack * s->of.width[c];
    for (size_t at = 0; at < size; at += PIECE) {
        size_t n = VQ_MIN(size - at, (size_t)PIECE), block = g->block[c] + at / VQ_BLOCK;
        uint32_t first = g->first[c] + (uint32_t)at;
        s->k->pq4_scan(s->luts, g->codes + block * block_bytes(g), (n + VQ_BLOCK - 1) / VQ_BLOCK,
                       g->columns / 4, block_bytes(g), s->sums);
        size_t kept = s->k->select_f16(s->sums, g->scales + block * VQ_BLOCK, NULL, 0.0f,
                                       g->factors != NULL ? g->factors + first : NULL, n, s->scale,
                                       s->low, s->base[c], best - off, s->idx, s->scores + s->n);
        for (size_t i = 0; s->rows != NULL && i < kept; i++) {
            s->rows[s->n + i] = first + s->idx[i];
            s->most[s->n + i] = s->scores[s->n + i] + off;
        }
        s->n += kept;
    }
}

/* Scans the groups whose members come as near as `from`, but not as `to`, and may reach `best`. */
static void scan_near(search *s, float from, float to, float reach, float best)
{
    for (size_t c = 0; c < s->g->of.count; c++)
        if (s->of.near[c] >= from && !(s->of.near[c] >= to) &&
            s->of.mean[c] + reach * s->of.width[c] >= best)
            scan(s, c, best);
}

/* Leaves those that may be among the best `want`; returns the score that these have. */
static float thin_out(search *s, size_t want)
{
    float best = s->n >= want ? s->k->kth_f32(s->scores, s->n, want) : -INFINITY;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) { /* no branch */
        s->rows[n] = s->rows[i];
        s->scores[n] = s->scores[i];
        s->most[n] = s->most[i];
        n += s->most[n] >= best;
    }
    s->n = n;
    return best;
}

size_t vq_groups_find(const vq_groups *g, const vq_kernels *k, vq_group_rule rule, const float *y,
                      size_t want, void *scratch, uint32_t *rows)
{
    search s = begin(g, k, y, scratch);
    size_t count = g->of.count, few = AT_FIRST * want * count / g->of.n + LEAST_GROUPS;
    float last = s.of.nearest - rule.gap * s.of.unit, from, to = INFINITY, best = -INFINITY;
    s.rows = rows, s.slack = rule.slack;
    do { /* the nearest groups first, then more at once: the score that counts rises */
        from = few < count ? VQ_MAX(k->kth_f32(s.of.near, count, few), last) : last;
        scan_near(&s, from, to, rule.reach, best);
        best = thin_out(&s, want);
        to = from;
        few *= MORE;
    } while (from > last);
    if (s.n < want) { /* small groups: all, then */
        scan_near(&s, -INFINITY, to, rule.reach, best);
        (void)thin_out(&s, want);
    }
    return s.n;
}

void vq_groups_estimate(const vq_groups *g, const vq_kernels *k, const float *y, void *scratch,
                        float *scores, vq_group_scores *groups)
{
    search s = begin(g, k, y, scratch);
    size_t bytes = g->of.count * sizeof(float);
    for (size_t c = 0; c < g->of.count; c++) scan(&s, c, -INFINITY);
    memcpy(scores, s.scores, s.n * sizeof *scores);
    memcpy(groups->mean, s.of.mean, bytes);
    memcpy(groups->width, s.of.width, bytes);
    memcpy(groups->near, s.of.near, bytes);
    groups->nearest = s.of.nearest, groups->unit = s.of.unit;
}
