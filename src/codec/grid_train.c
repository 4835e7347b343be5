/* SPDX-License-Identifier: Apache-2.0 */
/* grid_train.c -- parameters of scalar codes with error bars: who gets how many bits, steps, and
 * what the errors of a sample are like. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/codec/grid.h"
#include "src/train/allot.h"
#include "src/train/draw.h"

enum { G = VQ_GRID_GROUP, ROWS = 2048, TILE = 64 };

/* Where the arrays stand that vq_grid_params_of shows. */
static float *array(float *params, const float *of_view)
{
    return params + (of_view - params);
}

void vq_grid_deal(uint32_t d, uint32_t m, const double *cost, const float *weight, float *params)
{
    vq_grid_shape s = vq_grid_shape_of(d, m);
    vq_grid_params p = vq_grid_params_of(params, d);
    uint8_t bits[2][65536 / G];
    (void)vq_allot(cost, s.groups, s.head + s.tail, bits[0]);
    (void)vq_allot(cost, s.groups, s.head, bits[1]);
    for (size_t g = 0; g < s.groups; g++) {
        array(params, p.bits)[g] = (float)bits[0][g];
        array(params, p.head_bits)[g] = (float)bits[1][g];
        array(params, p.weight)[g] = weight[g];
    }
}

void vq_grid_squares(const float *x, size_t n, size_t d, double *out)
{
    memset(out, 0, d / G * sizeof *out);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++) out[j / G] += (double)x[i * d + j] * (double)x[i * d + j];
    for (size_t g = 0; g < d / G; g++) out[g] /= (double)n * G;
}

/* What the codes of a sample show, per group: products of vectors in units of their rho with the
 * grid of the head, squares of that grid, squared errors of whole and head. */
typedef struct seen {
    double *ox, *xx, *whole, *head;
} seen;

static void see_head(const vq_grid_params *p, size_t groups, const float *o, const uint16_t *codes,
                     double rho, seen *s)
{
    for (size_t g = 0; g < groups; g++) {
        unsigned bits = (unsigned)p->bits[g], lead = (unsigned)p->head_bits[g];
        double middle = 0.5 * (double)((1u << lead) - 1);
        if (lead == 0) continue;
        for (size_t i = g * G; i < (g + 1) * G; i++) {
            double x = (double)(codes[i] >> (bits - lead)) - middle;
            s->ox[g] += (double)o[i] / rho * x;
            s->xx[g] += x * x;
        }
    }
}

/* rho, head_rho: of the row. */
static void see_errors(const vq_grid_params *p, size_t groups, const float *o,
                       const uint16_t *codes, double rho, double head_rho, seen *s)
{
    for (size_t g = 0; g < groups; g++) {
        unsigned bits = (unsigned)p->bits[g], lead = (unsigned)p->head_bits[g];
        double middle = 0.5 * (double)((1u << bits) - 1), first = 0.5 * (double)((1u << lead) - 1);
        for (size_t i = g * G; i < (g + 1) * G; i++) {
            double x = bits == 0 ? 0.0 : (double)p->step[g] * ((double)codes[i] - middle);
            double h =
                lead == 0 ? 0.0
                          : (double)p->head_step[g] * ((double)(codes[i] >> (bits - lead)) - first);
            double e = (double)o[i] - rho * x, f = (double)o[i] - head_rho * h;
            s->whole[g] += e * e;
            s->head[g] += f * f;
        }
    }
}

/* Squared errors of the groups: their weighted sum's root, how they are spread, and what a unit
 * vector spread like `squares` feels of them. */
static void describe(const double *errors, const double *squares, const float *weight,
                     size_t groups, size_t n, float *length, float *spread, float *along)
{
    double weighted = 0.0, all = 0.0, felt = 0.0;
    for (size_t g = 0; g < groups; g++) {
        weighted += (double)weight[g] * errors[g];
        all += squares[g];
    }
    *length =
        (float)sqrt(weighted / (double)n); /* a sample without errors says nothing of others */
    if (!(*length > 0.0f)) *length = 1.0f;
    for (size_t g = 0; g < groups; g++) {
        spread[g] = weighted > 0.0 ? (float)(errors[g] / weighted) : 0.0f;
        felt += all > 0.0 ? squares[g] / all * (double)spread[g] / G : 0.0;
    }
    *along = (float)sqrt(felt);
}

/* Codes of `count` rows of n, evenly spaced. */
static vq_status encode_spaced(const vq_code_model *cm, const float *x, size_t n, size_t count,
                               uint8_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = cm->d;
    float *tile = vq_alloc_f32(TILE, d);
    VQ_REQUIRE(tile != NULL, VQ_ENOMEM, "saq: %d x %zu floats", TILE, d);
    for (size_t first = 0, some; first < count; first += some) {
        some = VQ_MIN(count - first, (size_t)TILE);
        for (size_t i = 0; i < some; i++)
            memcpy(tile + i * d, x + vq_spaced_row(n, count, first + i) * d, d * sizeof *tile);
        VQ_TRY(vq_grid_encode(cm, vq_kernels_get(), tile, some, rows + first * cm->m, err));
    }
out:
    vq_mem_free(tile);
    return rc;
}

static vq_status look(const vq_code_model *cm, const float *x, size_t n, float *params,
                      const double *squares, seen *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_grid_params p = vq_grid_params_of(params, cm->d);
    vq_grid_shape shape = vq_grid_shape_of(cm->d, cm->m);
    size_t d = cm->d, count = VQ_MIN(n, (size_t)ROWS), groups = shape.groups;
    float *last = array(params, p.head_spread) + groups;
    uint8_t *rows = vq_mem_alloc(count, cm->m);
    uint16_t *codes = vq_mem_alloc(d, sizeof *codes);
    VQ_REQUIRE(rows != NULL && codes != NULL, VQ_ENOMEM, "saq: %zu codes", count);
    for (int pass = 0; pass < 2; pass++) { /* the heads' factors are of the steps found first */
        VQ_TRY(encode_spaced(cm, x, n, count, rows, err));
        for (size_t i = 0; i < count; i++) {
            const float *o = x + vq_spaced_row(n, count, i) * d;
            const uint8_t *row = rows + i * cm->m;
            vq_grid_codes(cm, row, codes);
            double rho = (double)vq_grid_rho(&shape, row, true);
            double head_rho = (double)vq_grid_rho(&shape, row, false);
            if (pass == 0 && rho > 0.0) see_head(&p, groups, o, codes, rho, s);
            if (pass == 1) see_errors(&p, groups, o, codes, rho, head_rho, s);
        }
        for (size_t g = 0; pass == 0 && shape.tail > 0 && g < groups; g++)
            if (s->xx[g] > 0.0) array(params, p.head_step)[g] = (float)(s->ox[g] / s->xx[g]);
    }
    describe(s->whole, squares, p.weight, groups, count, &last[VQ_GRID_ERROR],
             array(params, p.spread), &last[VQ_GRID_ALONG]);
    describe(s->head, squares, p.weight, groups, count, &last[VQ_GRID_HEAD_ERROR],
             array(params, p.head_spread), &last[VQ_GRID_HEAD_ALONG]);
out:
    vq_mem_free(rows);
    vq_mem_free(codes);
    return rc;
}

/* Axes turned at random: what one coordinate has more than another is chance. */
static void level(double *squares, size_t groups)
{
    double sum = 0.0;
    for (size_t g = 0; g < groups; g++) sum += squares[g];
    for (size_t g = 0; g < groups; g++) squares[g] = sum / (double)groups;
}

vq_status vq_grid_train(const float *x, size_t n, const vq_code_model *cm, float *params,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_grid_params p = vq_grid_params_of(params, cm->d);
    size_t groups = cm->d / G;
    double *squares = vq_mem_calloc(groups, 5 * sizeof *squares);
    double typical = 0.0, all = 0.0, weighted = 0.0;
    VQ_REQUIRE(squares != NULL, VQ_ENOMEM, "saq: %zu groups", groups);
    seen s = {squares + groups, squares + 2 * groups, squares + 3 * groups, squares + 4 * groups};
    vq_grid_squares(x, n, cm->d, squares);
    if (!cm->codec->axes) level(squares, groups);
    for (size_t g = 0; g < groups; g++) {
        unsigned bits = (unsigned)p.bits[g], lead = (unsigned)p.head_bits[g];
        double deviation = sqrt(squares[g]);
        array(params, p.step)[g] = bits > 0 ? (float)(deviation * vq_grid_step(bits)) : 0.0f;
        array(params, p.head_step)[g] = lead > 0 ? (float)(deviation * vq_grid_step(lead)) : 0.0f;
        all += squares[g], weighted += (double)p.weight[g] * squares[g];
        if (bits > 0) typical += (double)p.weight[g] * G * squares[g];
    }
    float *last = array(params, p.head_spread) + groups;
    memset(last, 0, VQ_GRID_NUMBERS * sizeof *last);
    last[VQ_GRID_BEND] = last[VQ_GRID_BEND + 1] = last[VQ_GRID_STRETCH] =
        last[VQ_GRID_STRETCH + 1] = 1.0f;
    last[VQ_GRID_UNIT] = (float)(all * G);
    last[VQ_GRID_PLAIN] = weighted > 0.0 ? (float)(all / weighted) : 1.0f;
    last[VQ_GRID_TYPICAL] = (float)sqrt(typical);
    VQ_TRY(look(cm, x, n, params, squares, &s, err));
out:
    vq_mem_free(squares);
    return rc;
}

/* ---- error bars of true neighbours ---------------------------------------------------------- */

enum { LEAST_PAIRS = 200 }; /* fewer tell nothing about a tail */
#define MOST_BEND    200.0
#define MOST_STRETCH 20.0
#define WIDTH        2.5 /* deviations that are made right, of the two and three that are usual */
#define TAIL         0.00621 /* of a normal law above them */
#define TAIL_FROM    0.05    /* of the errors are looked at as a tail; */
#define MOST_SHAPE   0.5     /* ..of a law whose variance is finite */

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
 * feels, and as files without bars of their own have it. */
typedef struct miss {
    double error, turned, deviation, plain;
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

/* Errors in deviations, rising; returns how many there are. */
static size_t sort_errors(const miss *misses, size_t n, double bend, bool plain, double *z)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        double deviation = plain ? misses[i].plain : misses[i].deviation;
        if (deviation > 0.0) z[count++] = (misses[i].error - bend * misses[i].turned) / deviation;
    }
    qsort(z, count, sizeof *z, rising);
    return count;
}

/* z has n errors, rising, of which those above TAIL_FROM of them are taken for a sample of a
 * generalized Pareto law: its shape and scale by probability-weighted moments (Hosking and Wallis
 * 1987, sec. 3).  The few that lie as far out as wide bars reach tell too little. */
typedef struct tail {
    double from, scale, shape;
} tail;

static tail tail_of(const double *z, size_t n)
{
    size_t first = (size_t)((1.0 - TAIL_FROM) * (double)n), m = n - first;
    tail t = {.from = z[first - 1]};
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
    double left = share / TAIL_FROM;
    if (fabs(t->shape) < 1e-6) return t->from - t->scale * log(left);
    return t->from + t->scale / t->shape * (pow(left, -t->shape) - 1.0);
}

/* Bars that leave out of n errors, rising, what a normal law has above their widths. */
static void set_bars(const double *z, size_t n, float *bars)
{
    tail t = tail_of(z, n);
    for (size_t i = 0; i < VQ_BAR_WIDTHS; i++) {
        double width = VQ_BAR_STEP * (double)(i + 1), above = 0.5 * erfc(width / sqrt(2.0));
        double at =
            above > TAIL_FROM ? z[(size_t)((1.0 - above) * (double)(n - 1))] : reach_of(&t, above);
        double least = i > 0 ? (double)bars[i - 1] : width / MOST_STRETCH;
        bars[i] = (float)VQ_MIN(VQ_MAX(at, least), width * MOST_STRETCH);
    }
}

/* From n misses: what makes bars right for them; and for readers of old the stretch, which leaves
 * out what it should at one width. */
static void settle(const miss *misses, size_t n, double *z, float *bend, float *stretch,
                   float *bars)
{
    for (size_t i = 0; i < VQ_BAR_WIDTHS; i++) bars[i] = VQ_BAR_STEP * (float)(i + 1);
    double b = bend_of(misses, n);
    size_t count = sort_errors(misses, n, b, true, z);
    if (count < LEAST_PAIRS) return;
    double at = z[(size_t)((1.0 - TAIL) * (double)(count - 1))];
    *bend = (float)b;
    *stretch = (float)VQ_MIN(VQ_MAX(at / WIDTH, 1.0 / MOST_STRETCH), MOST_STRETCH);
    count = sort_errors(misses, n, b, false, z);
    if (count >= LEAST_PAIRS) set_bars(z, count, bars);
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

vq_status vq_grid_calibrate(uint32_t d, uint32_t m, const float *o, const float *q, size_t n,
                            int centred, float *params, float *bars, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_kernels *k = vq_kernels_get();
    vq_code_model cm = {.d = d, .m = m, .code_bytes = m, .params = params};
    vq_grid_params p = vq_grid_params_of(params, d);
    vq_grid_shape s = vq_grid_shape_of(d, m);
    float *last = array(params, p.head_spread) + s.groups, sums[2] = {0.0f, 0.0f};
    miss *misses[2] = {vq_mem_alloc(n, sizeof(miss)), vq_mem_alloc(n, sizeof(miss))};
    double *z = vq_mem_alloc(n, sizeof *z);
    uint8_t *rows = vq_mem_alloc(n, m);
    uint16_t *codes = vq_mem_alloc(d, sizeof *codes);
    VQ_REQUIRE(misses[0] != NULL && misses[1] != NULL && z != NULL && rows != NULL && codes != NULL,
               VQ_ENOMEM, "error bars: %zu pairs", n);
    VQ_TRY(vq_grid_encode(&cm, k, o, n, rows, err));
    for (size_t g = 0; g < s.groups; g++) sums[0] += p.head_spread[g], sums[1] += p.spread[g];
    for (size_t i = 0; i < n; i++, o += d, q += d) {
        const uint8_t *row = rows + i * (size_t)m;
        vq_grid_codes(&cm, row, codes);
        double truth = 0.0, half = 0.5 * (double)k->dot_f32(o, o, d);
        for (size_t j = 0; j < d; j++) truth += (double)o[j] * (double)q[j];
        for (int whole = 0; whole < 2; whole++) {
            vq_grid_bar b = vq_grid_bar_of_row(&p, &s, row, whole);
            double got = product(&cm, &p, &s, row, codes, q, whole);
            double felt = (double)vq_grid_felt(k, whole ? p.spread : p.head_spread, q, s.groups);
            double length = sqrt((double)k->dot_f32(q, q, d));
            double along = (double)(whole ? p.along : p.head_along) * length;
            double error = (double)b.error * sqrt(1.0 + (double)b.turn);
            /* What a search of l2 takes for the product: the length is told by the bar. */
            double judged = got;
            if (centred) judged += (double)vq_grid_half(b, p.plain, sums[whole]) - half;
            misses[whole][i] = (miss){.error = truth - got,
                                      .turned = (double)b.turn * judged,
                                      .deviation = error * felt,
                                      .plain = error * (centred ? along : felt)};
        }
    }
    for (int whole = 0; whole < 2; whole++)
        settle(misses[whole], n, z, &last[VQ_GRID_BEND + whole], &last[VQ_GRID_STRETCH + whole],
               bars + whole * VQ_BAR_WIDTHS);
out:
    vq_mem_free(misses[0]);
    vq_mem_free(misses[1]);
    vq_mem_free(z);
    vq_mem_free(rows);
    vq_mem_free(codes);
    return rc;
}
