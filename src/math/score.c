/* SPDX-License-Identifier: Apache-2.0 */
/* score.c -- see score.h. */
#include "src/math/score.h"

#include <math.h>

static float cosine(double product, double q_sq, double row_sq)
{
    if (!(q_sq > 0.0) || !(row_sq > 0.0)) return 0.0f;
    return (float)(product / (sqrt(q_sq) * sqrt(row_sq)));
}

float vq_exact_score(const vq_kernels *k, uint32_t metric, uint32_t elem, const double *q,
                     double q_sq, const void *row, size_t d, double unit)
{
    if (metric == VQ_METRIC_L2) return (float)(vq_row_l2sq(k, elem)(q, row, d) * unit);
    double ip = vq_row_ip(k, elem)(q, row, d);
    if (metric != VQ_METRIC_COSINE) return (float)(ip * unit);
    return cosine(ip, q_sq, vq_row_sq(k, elem)(row, d));
}

float vq_whole_score(uint32_t metric, double product, double q_sq, double row_sq, double unit)
{
    if (metric == VQ_METRIC_L2) return (float)((q_sq - 2.0 * product + row_sq) * unit);
    if (metric != VQ_METRIC_COSINE) return (float)(product * unit);
    return cosine(product, q_sq, row_sq);
}
