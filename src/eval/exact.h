/* SPDX-License-Identifier: Apache-2.0 */
/* exact.h -- exact top k by blocked GEMM, re-scored in double: the ground truth. */
#ifndef VQ_EVAL_EXACT_H
#define VQ_EVAL_EXACT_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/base/team.h"
#include "src/io/source.h"

typedef struct vq_exact_opts {
    uint32_t metric; /* VQ_METRIC_* */
    uint32_t k;
    uint32_t threads;    /* 0 = all */
    const uint64_t *ids; /* ids of the base's rows; NULL = row numbers */
    vq_progress_fn progress;
    void *progress_ctx;
} vq_exact_opts;

/* For nq f32 queries (nq x d) the exact k nearest rows of base, best first: ids and scores, nq x k
 * (VQ_NO_ID and NaN where base has fewer); scores may be NULL.  Scores are what vq_search returns
 * over stored rows: computed in double from the row as it is, rounded to float; equal scores by
 * smaller id.  Streams the base in blocks; memory is about nq x (k + slack) candidates and one
 * block. How: f32 products by GEMM rank candidates; the bound on their rounding error says which
 * rows could still belong to the top k, and those are re-scored exactly, so the answer is right,
 * not likely. */
vq_status vq_exact(vq_source *base, const float *queries, size_t nq, const vq_exact_opts *opts,
                   uint64_t *ids, float *scores, vq_error *err);

#endif
