/* SPDX-License-Identifier: Apache-2.0 */
/* beside.h -- k-means beside a centre that stays: what a list that has grown too large gives away.
 */
#ifndef VQ_TRAIN_BESIDE_H
#define VQ_TRAIN_BESIDE_H

#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"

/* x is n x d.  Up to `want` further centres (want x d) such that the mean squared distance of the
 * rows to the nearest of them and of `held` (d) is small; returns how many there are: fewer, where
 * fewer rows differ from all centres, or the distances are no finite numbers.  near: n floats of
 * scratch, in the end the squared distances to `held`.  One thread. */
size_t vq_centres_beside(const vq_kernels *k, const float *x, size_t n, size_t d, const float *held,
                         size_t want, uint64_t seed, float *centres, float *near,
                         uint32_t *nearest);
/* The nearest of `count` centres to a row, and *sq, the squared distance; count, and *sq unchanged,
 * if none is nearer than *sq. */
size_t vq_centre_nearest(const vq_kernels *k, const float *row, const float *centres, size_t count,
                         size_t d, float *sq);

#endif
