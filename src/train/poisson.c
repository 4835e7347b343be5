/* SPDX-License-Identifier: Apache-2.0 */
/* poisson.c -- see poisson.h.  McCullagh and Nelder, Generalized Linear Models, chapter 6. */
#include "src/train/poisson.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/train/newton.h"

enum { P = VQ_POISSON_MAX, STEPS = 40, HALVINGS = 12 };
_Static_assert((int)P <= (int)VQ_NEWTON_MAX, "a step has room for all coefficients");

#define RIDGE    1e-3
#define LOG_MOST 30.0 /* exp() of more would drown everything else */

struct vq_poisson {
    size_t p;
    const double *coef;
    double total, loss;          /* weight; minus log likelihood */
    double gradient[P], h[P][P]; /* of the log likelihood; minus its second derivative */
};

void vq_poisson_add(vq_poisson *fit, const double *x, double y, double weight)
{
    double e = 0;
    for (size_t i = 0; i < fit->p; i++) e += fit->coef[i] * x[i];
    if (e > LOG_MOST) e = LOG_MOST;
    double mu = exp(e);
    fit->total += weight;
    fit->loss += weight * (mu - y * e);
    for (size_t i = 0; i < fit->p; i++) {
        fit->gradient[i] += weight * (y - mu) * x[i];
        for (size_t j = 0; j <= i; j++) fit->h[i][j] += weight * mu * x[i] * x[j];
    }
}

/* One pass at coef, with the pull and the fixed features in place. */
static void pass(vq_poisson *fit, vq_poisson_each each, void *ctx, size_t p,
                 const unsigned char *fixed, const double *coef)
{
    memset(fit, 0, sizeof *fit);
    fit->p = p;
    fit->coef = coef;
    each(ctx, fit);
    for (size_t i = 0; i < p; i++) {
        double pull = i == 0 ? 1e-9 : RIDGE;
        fit->loss += pull * coef[i] * coef[i] / 2;
        fit->gradient[i] -= pull * coef[i];
        fit->h[i][i] += pull;
        if (!fixed[i]) continue;
        fit->gradient[i] = 0;
        for (size_t j = 0; j < p; j++) fit->h[i > j ? i : j][i > j ? j : i] = i == j;
    }
}

void vq_poisson_fit(vq_poisson_each each, void *ctx, size_t p, const unsigned char *fixed,
                    double *coef)
{
    vq_poisson fit, next;
    double step[P], tried[P];
    memset(coef, 0, p * sizeof *coef);
    pass(&fit, each, ctx, p, fixed, coef);
    if (!(fit.total > 0)) return;
    /* Start where the constant alone would be: the first steps are short then. */
    double mean = fit.gradient[0] / fit.total + 1.0;
    coef[0] = log(mean > 1e-12 ? mean : 1e-12);
    pass(&fit, each, ctx, p, fixed, coef);
    for (int i = 0; i < STEPS; i++) {
        if (!vq_newton_step(&fit.h[0][0], P, p, fit.gradient, step)) break;
        double length = 1.0, before = fit.loss;
        bool better = false;
        for (int h = 0; h < HALVINGS && !better; h++, length /= 2) {
            for (size_t j = 0; j < p; j++) tried[j] = coef[j] + length * step[j];
            pass(&next, each, ctx, p, fixed, tried);
            better = next.loss < before;
        }
        if (!better) break;
        memcpy(coef, tried, p * sizeof *coef);
        fit = next;
        if (before - fit.loss < 1e-9 * (fabs(before) + 1e-9)) break;
    }
}
