/* SPDX-License-Identifier: Apache-2.0 */
/* allot.h -- how many bits each group of coordinates of a scalar code gets. */
#ifndef VQ_TRAIN_ALLOT_H
#define VQ_TRAIN_ALLOT_H

#include <stddef.h>
#include <stdint.h>

enum { VQ_ALLOT_MOST = 13 }; /* bits a coordinate */

/* What is left of the squared length of a normal vector coded with b bits a coordinate on the best
 * even grid, b <= VQ_ALLOT_MOST: 1 for none. */
double vq_grid_left(uint32_t b);
/* The step of that grid, in standard deviations; b >= 1. */
double vq_grid_step(uint32_t b);

/* Deals `bits` bits (each to all coordinates of one group) so that sum cost[j] *
 * vq_grid_left(bits[j]) is least (cost not negative; out: bits[0..n-1], at most VQ_ALLOT_MOST
 * each). What a group's next bit gains falls with each, so the one that gains most now is always
 * right, and what has been dealt first is the best deal of fewer bits: a prefix.  Ties: the smaller
 * j.  Returns how many were dealt: fewer when no group takes more. */
size_t vq_allot(const double *cost, size_t n, size_t bits, uint8_t *out);

#endif
