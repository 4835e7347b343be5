/* SPDX-License-Identifier: Apache-2.0 */
/* score.h -- the one definition of an answer's score, for rerank and ground truth alike. */
#ifndef VQ_MATH_SCORE_H
#define VQ_MATH_SCORE_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"
#include "vq/vq.h"

/* The score that a user sees, of a query (d doubles; q_sq = sum of its squares, by sq_row_f32) and
 * a stored row of type elem: computed in double in the kernels' fixed order, rounded once to float.
 * l2: the squared distance; ip: the product; cosine: ip / (sqrt(q_sq) * sqrt(row_sq)), 0 if either
 * norm is 0.  unit: what a product (ip) or squared distance (l2) over the row as stored
 * is multiplied by before it is rounded; 1 unless rows are stored scaled. */
float vq_exact_score(const vq_kernels *k, uint32_t metric, uint32_t elem, const double *q,
                     double q_sq, const void *row, size_t d, double unit);

/* The same from sums none of which was ever rounded: the product as it is, both squares. */
float vq_whole_score(uint32_t metric, double product, double q_sq, double row_sq, double unit);

/* The largest |coordinate| with which no sum of an l2 or ip search can overflow a float: |x|^2
 * stays below a sixteenth of the largest one.  cosine has no such bound, since it scales rows to 1.
 */
static inline double vq_value_max(size_t d)
{
    return sqrt((double)FLT_MAX / 16.0 / (double)d);
}

/* Which way a metric ranks. */
static inline bool vq_metric_larger(uint32_t metric)
{
    return metric != VQ_METRIC_L2;
}

#endif
