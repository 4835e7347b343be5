/* SPDX-License-Identifier: Apache-2.0 */
/* rotation.h -- axes for coding: principal axes, their deal to sub-spaces, OPQ. */
#ifndef VQ_TRAIN_ROTATION_H
#define VQ_TRAIN_ROTATION_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"
#include "src/math/kernels.h"

/* Principal axes of n x d rows: mean (d; zeros if centre is 0, then second moments are used), axes
 * (d x d, one a row, by falling variance) and their variances (d).  Deterministic for any threads.
 */
vq_status vq_pca(const float *x, size_t n, size_t d, int centre, int threads, float *mean,
                 float *axes, double *variances, vq_error *err);

/* How many leading axes deserve bits: reverse water-filling over the variances (falling) with
 * `bits` bits in all (Cover and Thomas 2006, sec. 10.3.3): axes whose variance is below the level
 * get none.  Returns 1..d. */
size_t vq_waterfill(const double *variances, size_t d, double bits);

/* How many leading axes a product code of m sub-quantizers with kk codewords should keep: starting
 * from what water-filling keeps, the fewest whose predicted error is within 3 % of that.  The
 * prediction: dropped axes cost their variance, and a sub-space of ds kept axes, dealt in balance,
 * ds * kk^(-2/ds) * the geometric mean of their variances (Gersho 1979).  Returns 1..d. */
size_t vq_axes_worth(const double *variances, size_t d, size_t m, size_t kk);

/* How many leading axes hold `share` of the sum of the variances.  Returns 1..d. */
size_t vq_axes_holding(const double *variances, size_t d, double share);

/* Deals d axes (d a multiple of m) to m sub-spaces of d / m axes each, so that the products of the
 * variances are level (Ge et al. 2013, sec. 3.3, eigenvalue allocation): order[j] = which axis
 * stands at place j.  Variances of 0 are treated as tiny. */
void vq_balance(const double *variances, size_t d, size_t m, uint32_t *order);

/* OPQ, non-parametric (Ge et al. 2013, sec. 3.2): from x (n x d, already in a good basis, e.g.
 * balanced principal axes) alternates codebooks (m sub-spaces, kk codewords) and the rotation r
 * (d x d, receives the best found; y = r x).  The training error never rises above the start's. */
vq_status vq_opq(const float *x, size_t n, size_t d, size_t m, size_t kk, unsigned rounds,
                 uint64_t seed, int threads, vq_ticker *ticker, float *r, vq_error *err);

#endif
