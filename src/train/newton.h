/* SPDX-License-Identifier: Apache-2.0 */
/* newton.h -- the step of Newton's method in a few dimensions. */
#ifndef VQ_TRAIN_NEWTON_H
#define VQ_TRAIN_NEWTON_H

#include <stdbool.h>
#include <stddef.h>

enum { VQ_NEWTON_MAX = 16 }; /* dimensions */

/* step (p) = h^-1 gradient (p) by Cholesky; of h the lower triangle is read, rows `stride` apart.
 * false: h is not positive definite. */
bool vq_newton_step(const double *h, size_t stride, size_t p, const double *gradient, double *step);

#endif
