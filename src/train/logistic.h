/* SPDX-License-Identifier: Apache-2.0 */
/* logistic.h -- regression of yes or no: P(y = 1) = 1 / (1 + exp(-(coef[0] + coef[1..p] . x))). */
#ifndef VQ_TRAIN_LOGISTIC_H
#define VQ_TRAIN_LOGISTIC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { VQ_LOGISTIC_MAX = 15 }; /* features */

static inline double vq_logistic(double t)
{
    return 1.0 / (1.0 + exp(-t));
}

/* Minus the log likelihood of n observations (x: n x p, y: n, 0 or 1), and ridge / 2 times the
 * squares of all coefficients (1 + p) but the constant.  gradient: 1 + p, or NULL. */
double vq_logistic_loss(const double *x, const uint8_t *y, size_t n, size_t p, double ridge,
                        const double *coef, double *gradient);
/* The coefficients of the least loss, by Newton's method with halved steps; ridge > 0 keeps them
 * finite where the features tell all.  Features should have about the same spread. */
void vq_logistic_fit(const double *x, const uint8_t *y, size_t n, size_t p, double ridge,
                     double *coef);

#endif
