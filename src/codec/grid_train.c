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
