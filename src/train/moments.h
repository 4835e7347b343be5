/* SPDX-License-Identifier: Apache-2.0 */
/* moments.h -- sums of outer products of rows: what covariances and Procrustes problems are made
 * of. */
#ifndef VQ_TRAIN_MOMENTS_H
#define VQ_TRAIN_MOMENTS_H

#include <stddef.h>

#include "src/base/status.h"

/* out (d x d) += sum over n rows of a_i b_i^T; a and b are n x d, out in double.  If a == b only
 * the upper triangle is touched.  By GEMM over blocks of rows, f32 within a block, double between
 * blocks. Bits do not depend on threads.  The caller holds BLAS at one thread. */
vq_status vq_moments_add(const float *a, const float *b, size_t n, size_t d, int threads,
                         double *out, vq_error *err);

#endif
