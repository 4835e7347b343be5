/* SPDX-License-Identifier: Apache-2.0 */
/* factor.h -- metric l2: what a vector takes off the products of its code, so that they rank like
 * distances. */
#ifndef VQ_TRAIN_FACTOR_H
#define VQ_TRAIN_FACTOR_H

#include "src/math/kernels.h"

#define VQ_FACTOR_ERROR 0.6 /* what a squared error weighs */

/* Half of |c + h|^2 + .6 |r - h|^2, where c is the centroid, r the vector less it, h what the code
 * makes of r; h becomes c + h (d floats each).  Among many vectors those of large error come near a
 * query by luck, so they have to be nearer.  With weight 0 a score is the distance to the decoded
 * vector, with 1 the product and the vector's own length, if codewords are means. */
static inline float vq_factor(const vq_kernels *k, const float *c, const float *r, float *h,
                              size_t d)
{
    double error = (double)k->l2sq_f32(r, h, d);
    for (size_t j = 0; j < d; j++) h[j] += c[j];
    return (float)(0.5 * (k->sq_row_f32(h, d) + VQ_FACTOR_ERROR * error));
}

/* The same for codes with error bars: |c|^2 / 2 + c.h + |r|^2 / 2, so that an estimate is wrong by
 * the product of the error with the query less the centroid and by nothing else. */
static inline float vq_factor_of_bars(const vq_kernels *k, const float *c, const float *r,
                                      const float *h, size_t d)
{
    double sum = 0.0;
    for (size_t j = 0; j < d; j++) sum += (double)c[j] * (0.5 * (double)c[j] + (double)h[j]);
    return (float)(sum + 0.5 * k->sq_row_f32(r, d));
}

/* The same where lengths are not those of coordinates, but half of the vector's squared one is
 * given: c is the centroid as it is taken off queries. */
static inline float vq_factor_of_length(float half, const float *c, const float *r, const float *h,
                                        size_t d)
{
    double sum = 0.0;
    for (size_t j = 0; j < d; j++) sum += (double)c[j] * ((double)h[j] - (double)r[j]);
    return (float)((double)half + sum);
}

#endif
