/* SPDX-License-Identifier: Apache-2.0 */
/* poisson.h -- regression of small counts: E[y] = exp(coef . x). */
#ifndef VQ_TRAIN_POISSON_H
#define VQ_TRAIN_POISSON_H

#include <stddef.h>

#include "src/base/status.h"

enum { VQ_POISSON_MAX = 8 }; /* features */

/* Observations of p features, kept as floats: 4 (p + 2) bytes each.  Starts as {.p = p}. */
typedef struct vq_poisson {
    size_t p, n;
    float *blocks; /* owned */
    size_t room;
} vq_poisson;

/* x: p features, x[0] is 1, the constant. */
vq_status vq_poisson_add(vq_poisson *data, const double *x, double y, double weight, vq_error *err);
void vq_poisson_fini(vq_poisson *data);

/* The coefficients (p) of greatest likelihood, by Newton's method with halved steps; a slight pull
 * to 0 on all but the constant keeps them finite where the data do not.  Features whose fixed[] is
 * not 0 get the coefficient 0. */
void vq_poisson_fit(const vq_poisson *data, const unsigned char *fixed, double *coef);

#endif
