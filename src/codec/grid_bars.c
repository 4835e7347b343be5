/* SPDX-License-Identifier: Apache-2.0 */
/* grid_bars.c -- how far the error bars of scalar codes reach: what estimates are off by for true
 * neighbours, whose errors the query resembles and which therefore have longer tails than a normal
 * law.  By pairs of a query and a neighbour. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/codec/grid.h"

enum {
    G = VQ_GRID_GROUP,
    TILE = 64,        /* pairs at a time, */
    ROWS = 3,         /* ..and rows of a query beside them */
    LEAST_PAIRS = 200 /* fewer tell nothing about a tail */
};
#define MOST_BEND    200.0
#define MOST_STRETCH 20.0
#define WIDTH        2.5 /* deviations that are made right, of the two and three that are usual */
#define MOST_BLUR    4.0 /* over the codes' squared deviation, or they are not to blame */
#define TAIL         0.00621 /* of a normal law above them */
#define MOST_SHAPE   0.5     /* of a tail: its variance is finite */
/* Of the errors, what is looked at as a tail: some hundreds, if there are as many in a twentieth.
 * Further in errors of several kinds, as those of copies and outliers, follow no one law. */
#define ENOUGH      100.0 /* errors that lie further out say how far: no law is needed */
#define TAIL_ERRORS 500.0
#define MOST_TAIL   0.05
#define LEAST_TAIL  0.01

float vq_grid_felt(const vq_kernels *k, const float *spread, const float *q, size_t groups)
{
    double felt = 0.0;
    for (size_t g = 0; g < groups; g++)
        felt += (double)(k->dot_f32(q + g * G, q + g * G, G) * spread[g]);
    return (float)sqrt(felt / G);
}

/* The product of q with what a row decodes to. */
static double product(const vq_code_model *cm, const vq_grid_params *p, const vq_grid_shape *s,
                      const uint8_t *row, const uint16_t *codes, const float *q, bool whole)
{
    double sum = 0.0;
    for (size_t g = 0; g < cm->d / G; g++) {
        unsigned bits = (unsigned)p->bits[g], lead = (unsigned)p->head_bits[g];
        unsigned take = whole ? bits : lead;
        float step = whole ? p->step[g] : p->head_step[g];
        double middle = 0.5 * (double)((1u << take) - 1);
        for (size_t i = g * G; i < (g + 1) * G && take > 0; i++)
            sum += (double)q[i] * (double)step * ((double)(codes[i] >> (bits - take)) - middle);
    }
    return sum * (double)vq_grid_rho(s, row, whole);
}

/* One pair's error: of an estimate, what turn says of it, and its deviation by what the query
 * feels, and as files without bars of their own have it; what integers blur, squared. */
typedef struct miss {
    double error, turned, deviation, plain, blur;
} miss;

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The multiple of what turn says that leaves the least squared error. */
static double bend_of(const miss *misses, size_t n)
{
    double et = 0.0, tt = 0.0;
    for (size_t i = 0; i < n; i++) {
        et += misses[i].error * misses[i].turned;
        tt += misses[i].turned * misses[i].turned;
    }
    return tt > 0.0 ? VQ_MIN(VQ_MAX(et / tt, 0.0), MOST_BEND) : 1.0;
}

/* Errors in deviations, rising: of bars of a width, which are as much longer as integers blur; but
 * for those that integers rather than codes decide.  Returns how many there are. */
static size_t sort_errors(const miss *misses, size_t n, double bend, double width, bool plain,
                          double *z)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        double deviation = plain ? misses[i].plain : misses[i].deviation;
        double error = misses[i].error - bend * misses[i].turned;
        double left = error * error - width * width * misses[i].blur;
        if (error > 0.0) error = left > 0.0 ? sqrt(left) : 0.0;
        if (deviation > 0.0 && misses[i].blur <= MOST_BLUR * deviation * deviation)
            z[count++] = error / deviation;
    }
    qsort(z, count, sizeof *z, rising);
    return count;
}

/* z has n errors, rising, of which the last `share` are taken for a sample of a generalized Pareto
 * law: its shape and scale by probability-weighted moments (Hosking and Wallis 1987, sec. 3).  The
 * few that lie as far out as wide bars reach tell too little. */
typedef struct tail {
    double share, from, scale, shape;
} tail;

static double tail_share(size_t n)
{
    return VQ_MIN(VQ_MAX(TAIL_ERRORS / (double)n, LEAST_TAIL), MOST_TAIL);
}

static tail tail_of(const double *z, size_t n)
{
    double share = tail_share(n);
    size_t first = (size_t)((1.0 - share) * (double)n), m = n - first;
    tail t = {.share = share, .from = z[first - 1]};
    double a = 0.0, b = 0.0;
    for (size_t i = 0; i < m; i++) {
        double excess = z[first + i] - t.from;
        a += excess;
        b += excess * (1.0 - ((double)i + 0.65) / (double)m);
    }
    a /= (double)m, b /= (double)m;
    double k = a > 2.0 * b ? a / (a - 2.0 * b) - 2.0 : MOST_SHAPE; /* minus the shape */
    t.shape = VQ_MIN(VQ_MAX(-k, -MOST_SHAPE), MOST_SHAPE);
    t.scale = a * (1.0 - t.shape);
    return t;
}

/* How far out a share of all lies. */
static double reach_of(const tail *t, double share)
{
    double left = share / t->share;
    if (fabs(t->shape) < 1e-6) return t->from - t->scale * log(left);
    return t->from + t->scale / t->shape * (pow(left, -t->shape) - 1.0);
}

/* How far bars reach that leave out of n errors, rising, what a normal law has above a width. */
static double bar_of(const double *z, size_t n, double width)
{
    double above = 0.5 * erfc(width / sqrt(2.0));
    if (above * (double)n >= ENOUGH || above > tail_share(n))
        return z[(size_t)((1.0 - above) * (double)(n - 1))];
    tail t = tail_of(z, n);
    return reach_of(&t, above);
}

/* From n misses: what makes bars right for them; and for readers of old the stretch, which leaves
 * out what it should at one width. */
static void settle(const miss *misses, size_t n, double *z, float *bend, float *stretch,
                   float *bars)
{
    for (size_t i = 0; i < VQ_BAR_WIDTHS; i++) bars[i] = VQ_BAR_STEP * (float)(i + 1);
    double b = bend_of(misses, n);
    size_t count = sort_errors(misses, n, b, WIDTH, true, z);
    if (count < LEAST_PAIRS) return;
    double at = z[(size_t)((1.0 - TAIL) * (double)(count - 1))];
    *bend = (float)b;
    *stretch = (float)VQ_MIN(VQ_MAX(at / WIDTH, 1.0 / MOST_STRETCH), MOST_STRETCH);
    for (size_t i = 0; i < VQ_BAR_WIDTHS; i++) {
        double width = VQ_BAR_STEP * (double)(i + 1);
        double least = i > 0 ? (double)bars[i - 1] : width / MOST_STRETCH;
        count = sort_errors(misses, n, b, width, false, z);
        if (count < LEAST_PAIRS) return;
        at = bar_of(z, count, width);
        bars[i] = (float)VQ_MIN(VQ_MAX(at, least), width * MOST_STRETCH);
    }
}

float vq_grid_stretch(const vq_code_model *cm, int whole, float width)
{
    if (cm->bars == NULL) return vq_grid_params_of(cm->params, cm->d).stretch[whole];
    const float *bars = cm->bars + (whole ? VQ_BAR_WIDTHS : 0);
    float at = width / VQ_BAR_STEP - 1.0f;
    if (at <= 0.0f) return bars[0] / VQ_BAR_STEP;
    if (at >= (float)(VQ_BAR_WIDTHS - 1))
        return bars[VQ_BAR_WIDTHS - 1] / (VQ_BAR_STEP * (float)VQ_BAR_WIDTHS);
    size_t below = (size_t)at;
    return (bars[below] + (at - (float)below) * (bars[below + 1] - bars[below])) / width;
}

/* ---- pairs ---- */

typedef struct calibration {
    vq_code_model cm;
    vq_grid_params p;
    vq_grid_shape s;
    const vq_kernels *k;
    const vq_code_pair *pairs;
    size_t n;
    bool centred;
    float sum[2];    /* of head_spread, of spread */
    miss *misses[2]; /* n: of heads, of whole codes */
    float *x;        /* threads x TILE + ROWS rows of d */
    uint8_t *rows;   /* threads x TILE x m */
    uint16_t *codes; /* threads x d */
} calibration;

/* What the estimate of a row's score is off by.  q: what counts in products with residuals, seen:
 * what of it a search has, near: what it takes that for where it says how far a bar reaches. */
static miss miss_of(const calibration *c, const vq_code_pair *pair, const uint8_t *row,
                    const uint16_t *codes, const float *q, const float *seen, const float *near,
                    bool whole)
{
    const vq_grid_params *p = &c->p;
    const vq_kernels *k = c->k;
    size_t d = c->cm.d;
    vq_grid_bar b = vq_grid_bar_of_row(p, &c->s, row, whole);
    double got = product(&c->cm, p, &c->s, row, codes, seen, whole), truth = 0.0, judged = got;
    double felt = (double)vq_grid_felt(k, whole ? p->spread : p->head_spread, near, c->s.groups);
    double along = (double)(whole ? p->along : p->head_along);
    double error = (double)b.error * sqrt(1.0 + (double)b.turn);
    double half = (double)vq_grid_half(b, p->plain, c->sum[whole]);
    double noise = (double)pair->noise, share = (double)pair->share;
    for (size_t j = 0; j < d; j++) truth += (double)pair->o[j] * (double)q[j];
    for (size_t j = 0; pair->centroid != NULL && j < d; j++)
        truth += (double)pair->centroid[j] * ((double)q[j] - (double)seen[j]);
    if (c->centred) { /* a search of l2 has the length from the bar, and makes up for it */
        judged += half - 0.5 * (double)k->dot_f32(pair->o, pair->o, d) - (double)pair->less;
        along *= sqrt((double)k->dot_f32(near, near, d));
    }
    return (miss){.error = truth - got,
                  .turned = (double)b.turn * judged,
                  .deviation = error * felt,
                  .plain = error * (c->centred ? along : felt),
                  .blur = 2.0 * half * noise * noise + share * share};
}

/* out = x, for l2 less what is given, if it is. */
static void take_off(const calibration *c, const float *off, const float *x, float *out)
{
    for (size_t j = 0; j < c->cm.d; j++) out[j] = c->centred && off != NULL ? x[j] - off[j] : x[j];
}

static vq_status calibrate_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    calibration *c = ctx;
    size_t d = c->cm.d, first = task * TILE, n = VQ_MIN(c->n - first, (size_t)TILE);
    float *x = c->x + (size_t)worker * (TILE + ROWS) * d;
    float *q = x + TILE * d, *seen = q + d, *near = seen + d;
    uint8_t *rows = c->rows + (size_t)worker * TILE * c->cm.m;
    uint16_t *codes = c->codes + (size_t)worker * d;
    for (size_t i = 0; i < n; i++) memcpy(x + i * d, c->pairs[first + i].o, d * sizeof *x);
    VQ_TRY(vq_grid_encode(&c->cm, c->k, x, n, rows, err));
    for (size_t i = 0; i < n; i++) {
        const vq_code_pair *pair = &c->pairs[first + i];
        const uint8_t *row = rows + i * c->cm.m;
        const float *by = pair->seen != NULL ? pair->seen : pair->q;
        const float *off = pair->off != NULL ? pair->off : pair->centroid;
        take_off(c, off, pair->q, q);
        take_off(c, off, by, seen);
        take_off(c, pair->centroid, by, near);
        vq_grid_codes(&c->cm, row, codes);
        for (int whole = 0; whole < 2; whole++)
            c->misses[whole][first + i] = miss_of(c, pair, row, codes, q, seen, near, whole);
    }
out:
    return rc;
}

vq_status vq_grid_calibrate(uint32_t d, uint32_t m, const vq_code_pair *pairs, size_t n,
                            int centred, int threads, float *params, float *bars, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t tiles = (n + TILE - 1) / TILE, team;
    threads = vq_team((uint32_t)threads, tiles), team = (size_t)threads;
    calibration c = {.cm = {.d = d, .m = m, .code_bytes = m, .params = params},
                     .p = vq_grid_params_of(params, d),
                     .s = vq_grid_shape_of(d, m),
                     .k = vq_kernels_get(),
                     .pairs = pairs,
                     .n = n,
                     .centred = centred != 0,
                     .misses = {vq_mem_alloc(n, sizeof(miss)), vq_mem_alloc(n, sizeof(miss))},
                     .x = vq_alloc_f32(team * (TILE + ROWS), d),
                     .rows = vq_mem_alloc(team * TILE, m),
                     .codes = vq_mem_alloc(team, d * sizeof(uint16_t))};
    float *last = params + (c.p.head_spread - params) + c.s.groups;
    double *z = vq_mem_alloc(n, sizeof *z);
    VQ_REQUIRE(c.misses[0] != NULL && c.misses[1] != NULL && z != NULL && c.x != NULL &&
                   c.rows != NULL && c.codes != NULL,
               VQ_ENOMEM, "error bars: %zu pairs", n);
    for (size_t g = 0; g < c.s.groups; g++)
        c.sum[0] += c.p.head_spread[g], c.sum[1] += c.p.spread[g];
    VQ_TRY(vq_team_run(threads, tiles, calibrate_tile, &c, err));
    for (int whole = 0; whole < 2; whole++)
        settle(c.misses[whole], n, z, &last[VQ_GRID_BEND + whole], &last[VQ_GRID_STRETCH + whole],
               bars + whole * VQ_BAR_WIDTHS);
out:
    vq_mem_free(c.misses[0]);
    vq_mem_free(c.misses[1]);
    vq_mem_free(c.x);
    vq_mem_free(c.rows);
    vq_mem_free(c.codes);
    vq_mem_free(z);
    return rc;
}
