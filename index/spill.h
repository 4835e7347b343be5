/* SPDX-License-Identifier: Apache-2.0 */
/* spill.h -- second lists of vectors in memory, and whether they are worth having. */
#ifndef VQ_INDEX_SPILL_H
#define VQ_INDEX_SPILL_H

#include "index/codeview.h"

/* Of all vectors read for .95 of the true ten, without and with copies, as shares. */
typedef struct vq_spill_gain {
    double without, with;
} vq_spill_gain;
/* Measured on some of n rows (n x d_code, in the coded space), exact within lists, for some of nq
 * queries (nq x d_code there; nq = 0: for some of the rows, their neighbours among the others). */
vq_status vq_spill_measure(const vq_model *m, const float *rows, size_t n, const float *queries,
                           size_t nq, int threads, vq_spill_gain *gain, vq_error *err);

/* Second lists of a corpus: copy_lists of c. */
vq_status vq_spill_corpus(const vq_model *m, vq_corpus *c, int threads, vq_error *err);

#endif
