/* SPDX-License-Identifier: Apache-2.0 */
/* spill.h -- a second list for the rows that gain by one.  A query misses a row's list where the
 * row's residual points the query's way; a list whose residual is orthogonal to that one is then
 * near (SOAR, Sun et al. 2023). */
#ifndef VQ_TRAIN_SPILL_H
#define VQ_TRAIN_SPILL_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

#define VQ_NO_LIST UINT32_MAX

/* Of n <= VQ_ASSIGN_TILE rows (n x d) with their lists (assign: n, of k centroids, k x d) the
 * second ones, or VQ_NO_LIST.  With r and s the residuals in the first and in another list, that
 * one costs |s|^2 + (s . r / |r|)^2; the cheapest is taken, the smallest number among equals, if it
 * costs less than the first list itself would as a second: 2 |r|^2.  One thread, and bits do not
 * depend on threads when the caller's tiles are fixed; bias: of vq_kmeans_bias; scratch:
 * vq_spill_scratch(d, k) floats. */
void vq_spill_assign(const float *x, size_t n, size_t d, const float *centroids, const float *bias,
                     size_t k, const uint32_t *assign, float *scratch, uint32_t *second);
size_t vq_spill_scratch(size_t d, size_t k);

#endif
