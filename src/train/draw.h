/* SPDX-License-Identifier: Apache-2.0 */
/* draw.h -- rows out of many: evenly spaced, or seeded draws, uniform or by weight. */
#ifndef VQ_TRAIN_DRAW_H
#define VQ_TRAIN_DRAW_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/rng.h"

/* The i-th of `want` rows evenly spaced among n, so that the order of the input does not matter;
 * all in turn if there are no more than that. */
static inline size_t vq_spaced_row(size_t n, size_t want, size_t i)
{
    return n <= want ? i : (size_t)((double)i * (double)n / (double)want);
}

/* want <= n distinct rows of 0..n-1, rising, each set equally likely (Knuth, TAOCP 3.4.2, S). */
void vq_draw_rows(vq_rng *rng, size_t n, size_t want, uint32_t *rows);

/* Up to `want` distinct rows, rising, drawn in proportion to w (n non-negative weights); returns
 * how many: a row that deserves several draws is taken once.  0 if the weights do not add up to a
 * positive finite number. */
size_t vq_draw_weighted(vq_rng *rng, const float *w, size_t n, size_t want, uint32_t *rows);

#endif
