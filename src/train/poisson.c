/* SPDX-License-Identifier: Apache-2.0 */
/* poisson.c -- see poisson.h.  McCullagh and Nelder, Generalized Linear Models, chapter 6.
 * Observations lie in blocks, feature after feature, so that what is summed over them is summed by
 * lanes; those that are missing from the last block weigh nothing. */
#include "src/train/poisson.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/train/newton.h"

enum { P = VQ_POISSON_MAX, STEPS = 40, HALVINGS = 12, BLOCK = 64, LANES = 8 };
_Static_assert((int)P <= (int)VQ_NEWTON_MAX, "a step has room for all coefficients");

#define RIDGE     1e-3
#define LOG_MOST  30.0 /* exp() of more would drown everything else */
#define LOG_LEAST -700.0

/* ---- observations ---- */

static size_t block_size(size_t p)
{
    return (p + 2) * BLOCK;
}

vq_status vq_poisson_add(vq_poisson *data, const double *x, double y, double weight, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t p = data->p, at = data->n % BLOCK, have = data->n / BLOCK * block_size(p);
    if (at == 0) {
        float *more =
            vq_mem_reserve(data->blocks, have, have + block_size(p), &data->room, sizeof *more);
        VQ_REQUIRE(more != NULL, VQ_ENOMEM, "regression: %zu observations", data->n);
        data->blocks = more;
        memset(more + have, 0, block_size(p) * sizeof *more);
    }
    float *block = data->blocks + have;
    for (size_t i = 0; i < p; i++) block[i * BLOCK + at] = (float)x[i];
    block[p * BLOCK + at] = (float)y;
    block[(p + 1) * BLOCK + at] = (float)weight;
    data->n++;
out:
    return rc;
}

void vq_poisson_fini(vq_poisson *data)
{
    vq_mem_free(data->blocks);
    memset(data, 0, sizeof *data);
}

/* ---- sums over them ---- */

typedef struct sums {
    double total, loss;          /* weight; minus log likelihood */
    double gradient[P], h[P][P]; /* of the log likelihood; minus its second derivative */
} sums;

static double sum_products(const double *a, const float *x)
{
    double lane[LANES] = {0};
    for (size_t o = 0; o < BLOCK; o += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += a[o + l] * (double)x[o + l];
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) +
           ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

/* exp() of LOG_LEAST..LOG_MOST: 2^n times the first dozen terms of the series, to a part in 10^14.
 * libm's has a call and a table for each. */
static void exp_block(const double *e, double *out)
{
    static const double terms[] = {
        1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0,
        1.0 / 120.0,      1.0 / 24.0,      1.0 / 6.0,      0.5,           1.0,          1.0};
    const double round = 0x1.8p52, high = 0x1.62e42fefap-1, low = 0x1.cf79abc9e3b3ap-40;
    for (size_t o = 0; o < BLOCK; o++) {
        double whole = e[o] * 1.44269504088896340736 + round, n = whole - round, sum = terms[0];
        double rest = (e[o] - n * high) - n * low, power;
        uint64_t bits;
        for (size_t t = 1; t < VQ_COUNT(terms); t++) sum = sum * rest + terms[t];
        memcpy(&bits, &whole, sizeof bits); /* ends in n */
        bits = (bits + 1023) << 52;
        memcpy(&power, &bits, sizeof power);
        out[o] = sum * power;
    }
}

static void add_block(sums *s, const float *block, size_t p, const double *coef)
{
    const float *y = block + p * BLOCK, *weight = y + BLOCK;
    double e[BLOCK] = {0}, mu[BLOCK], off[BLOCK], total = 0.0, loss = 0.0;
    for (size_t i = 0; i < p; i++)
        for (size_t o = 0; o < BLOCK; o++) e[o] += coef[i] * (double)block[i * BLOCK + o];
    for (size_t o = 0; o < BLOCK; o++) {
        e[o] = e[o] < LOG_MOST ? e[o] : LOG_MOST;
        e[o] = e[o] > LOG_LEAST ? e[o] : LOG_LEAST;
    }
    exp_block(e, mu);
    for (size_t o = 0; o < BLOCK; o++) {
        double w = (double)weight[o], count = w * (double)y[o];
        mu[o] *= w;
        off[o] = count - mu[o];
        total += w;
        loss += mu[o] - count * e[o];
    }
    s->total += total;
    s->loss += loss;
    for (size_t i = 0; i < p; i++) {
        double bent[BLOCK];
        s->gradient[i] += sum_products(off, block + i * BLOCK);
        for (size_t o = 0; o < BLOCK; o++) bent[o] = mu[o] * (double)block[i * BLOCK + o];
        for (size_t j = 0; j <= i; j++) s->h[i][j] += sum_products(bent, block + j * BLOCK);
    }
}

/* One pass at coef, with the pull and the fixed features in place. */
static void pass(sums *s, const vq_poisson *data, const unsigned char *fixed, const double *coef)
{
    size_t p = data->p;
    memset(s, 0, sizeof *s);
    for (size_t b = 0; b < (data->n + BLOCK - 1) / BLOCK; b++)
        add_block(s, data->blocks + b * block_size(p), p, coef);
    for (size_t i = 0; i < p; i++) {
        double pull = i == 0 ? 1e-9 : RIDGE;
        s->loss += pull * coef[i] * coef[i] / 2;
        s->gradient[i] -= pull * coef[i];
        s->h[i][i] += pull;
        if (!fixed[i]) continue;
        s->gradient[i] = 0;
        for (size_t j = 0; j < p; j++) s->h[i > j ? i : j][i > j ? j : i] = i == j;
    }
}

void vq_poisson_fit(const vq_poisson *data, const unsigned char *fixed, double *coef)
{
    size_t p = data->p;
    sums fit, next;
    double step[P], tried[P];
    memset(coef, 0, p * sizeof *coef);
    pass(&fit, data, fixed, coef);
    if (!(fit.total > 0)) return;
    /* Start where the constant alone would be: the first steps are short then. */
    double mean = fit.gradient[0] / fit.total + 1.0;
    coef[0] = log(mean > 1e-12 ? mean : 1e-12);
    pass(&fit, data, fixed, coef);
    for (int i = 0; i < STEPS; i++) {
        if (!vq_newton_step(&fit.h[0][0], P, p, fit.gradient, step)) break;
        double length = 1.0, before = fit.loss;
        bool better = false;
        for (int h = 0; h < HALVINGS && !better; h++, length /= 2) {
            for (size_t j = 0; j < p; j++) tried[j] = coef[j] + length * step[j];
            pass(&next, data, fixed, tried);
            better = next.loss < before;
        }
        if (!better) break;
        memcpy(coef, tried, p * sizeof *coef);
        fit = next;
        if (before - fit.loss < 1e-9 * (fabs(before) + 1e-9)) break;
    }
}
