/* SPDX-License-Identifier: Apache-2.0 */
/* logistic.c -- see logistic.h.  McCullagh and Nelder, Generalized Linear Models, chapter 4. */
#include "src/train/logistic.h"

#include <stdbool.h>
#include <string.h>

#include "src/train/newton.h"

enum { P = VQ_LOGISTIC_MAX + 1, STEPS = 50, HALVINGS = 20 };
_Static_assert((int)P <= (int)VQ_NEWTON_MAX, "a step has room for all coefficients");

typedef struct at {                    /* what a pass over the observations sums */
    double loss, gradient[P], h[P][P]; /* h: the lower triangle of the second derivative */
} at;

/* log(1 + exp(t)), for large t too. */
static double softplus(double t)
{
    return t > 0.0 ? t + log1p(exp(-t)) : log1p(exp(t));
}

static void pass(at *a, const double *x, const uint8_t *y, size_t n, size_t p, double ridge,
                 const double *coef, bool curvature)
{
    memset(a, 0, sizeof *a);
    for (size_t o = 0; o < n; o++, x += p) {
        double t = coef[0], slope, bend;
        for (size_t i = 0; i < p; i++) t += coef[i + 1] * x[i];
        a->loss += softplus(t) - (y[o] ? t : 0.0);
        slope = vq_logistic(t) - (double)y[o];
        bend = vq_logistic(t) * vq_logistic(-t);
        a->gradient[0] += slope;
        for (size_t i = 0; i < p; i++) a->gradient[i + 1] += slope * x[i];
        if (!curvature) continue;
        a->h[0][0] += bend;
        for (size_t i = 0; i < p; i++) {
            a->h[i + 1][0] += bend * x[i];
            for (size_t j = 0; j <= i; j++) a->h[i + 1][j + 1] += bend * x[i] * x[j];
        }
    }
    a->h[0][0] += 1e-9;
    for (size_t i = 1; i <= p; i++) {
        a->loss += ridge * coef[i] * coef[i] / 2.0;
        a->gradient[i] += ridge * coef[i];
        a->h[i][i] += ridge;
    }
}

double vq_logistic_loss(const double *x, const uint8_t *y, size_t n, size_t p, double ridge,
                        const double *coef, double *gradient)
{
    at a;
    pass(&a, x, y, n, p, ridge, coef, false);
    if (gradient != NULL) memcpy(gradient, a.gradient, (p + 1) * sizeof *gradient);
    return a.loss;
}

void vq_logistic_fit(const double *x, const uint8_t *y, size_t n, size_t p, double ridge,
                     double *coef)
{
    at a;
    double step[P], tried[P];
    memset(coef, 0, (p + 1) * sizeof *coef);
    for (int s = 0; s < STEPS; s++) {
        double length = 1.0, loss = INFINITY;
        pass(&a, x, y, n, p, ridge, coef, true);
        if (!vq_newton_step(&a.h[0][0], P, p + 1, a.gradient, step)) break;
        for (int h = 0; h < HALVINGS && !(loss < a.loss); h++, length /= 2.0) {
            for (size_t i = 0; i <= p; i++) tried[i] = coef[i] - length * step[i];
            loss = vq_logistic_loss(x, y, n, p, ridge, tried, NULL);
        }
        if (!(loss < a.loss)) break; /* as far as doubles tell */
        memcpy(coef, tried, (p + 1) * sizeof *coef);
        if (a.loss - loss < 1e-12 * (fabs(a.loss) + 1.0)) break;
    }
}
