/* SPDX-License-Identifier: Apache-2.0 */
/* bootstrap.h -- is one method better than another, or were the queries lucky?  The paired
 * bootstrap over queries (Efron and Tibshirani 1993, chapter 13: percentile interval). */
#ifndef VQ_EVAL_BOOTSTRAP_H
#define VQ_EVAL_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct vq_bootstrap_opts {
    size_t resamples; /* 1 or more; 10,000 make the ends good to a fiftieth of the interval */
    uint64_t seed;
    uint32_t threads; /* 0 = all; the interval does not depend on it */
} vq_bootstrap_opts;

typedef struct vq_interval {
    double mean;      /* of the differences */
    double low, high; /* the middle 95 % of the resampled means */
} vq_interval;

/* The mean of a[i] - b[i] over n queries, and where it would lie for other queries of the kind.
 * Queries of which either figure is NaN are left out; if none is left, all three are NaN. */
vq_status vq_bootstrap_paired(const double *a, const double *b, size_t n,
                              const vq_bootstrap_opts *opts, vq_interval *out, vq_error *err);

#endif
