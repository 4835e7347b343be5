/* SPDX-License-Identifier: Apache-2.0 */
/* poisson.h -- regression of small counts: E[y] = exp(coef . x). */
#ifndef VQ_TRAIN_POISSON_H
#define VQ_TRAIN_POISSON_H

#include <stddef.h>

enum { VQ_POISSON_MAX = 8 }; /* features */

/* Observations, as they are met: nothing but sums is kept between passes, so they come by a
 * callback.  It is called once for each pass and gives every observation to add(). */
typedef struct vq_poisson vq_poisson;
typedef void (*vq_poisson_each)(void *ctx, vq_poisson *fit);
void vq_poisson_add(vq_poisson *fit, const double *x, double y, double weight);

/* The coefficients of greatest likelihood for p features (x[0] is 1, the constant), by Newton's
 * method with halved steps; a slight pull to 0 on all but the constant keeps them finite where the
 * data do not.  Features whose fixed[] is not 0 get the coefficient 0. */
void vq_poisson_fit(vq_poisson_each each, void *ctx, size_t p, const unsigned char *fixed,
                    double *coef);

#endif
