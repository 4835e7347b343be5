/* SPDX-License-Identifier: Apache-2.0 */
/* pairs.h -- the order of a codebook's codewords: near ones beside each other. */
#ifndef VQ_TRAIN_PAIRS_H
#define VQ_TRAIN_PAIRS_H

#include <stddef.h>

#include "src/base/status.h"

/* Reorders the codewords of m books (m x dsub x kk, kk even and at most 256) so that 2i and 2i + 1
 * are near: then the larger of their two products with a query is a good bound on both.  Only
 * VQ_ENOMEM. */
vq_status vq_pairs_order(float *books, size_t m, size_t dsub, size_t kk, int threads,
                         vq_error *err);

#endif
