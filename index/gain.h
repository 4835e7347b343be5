/* SPDX-License-Identifier: Apache-2.0 */
/* gain.h -- how much louder than they are codes sound, for metrics ip and cosine.
 *
 * A code is shorter than the residual that it is of, since codewords are means.  A query's product
 * with the list's centroid is whole; its product with the code falls short where the query looks
 * along the residual, as those do that a vector is a good answer to.  One factor for all codes
 * makes up for it: it takes no bytes and, being a factor of the query, no time.  Of queries that
 * look anywhere else it makes worse ranks, so it is measured. */
#ifndef VQ_INDEX_GAIN_H
#define VQ_INDEX_GAIN_H

#include "index/plan.h"

#define VQ_GAIN_STEP  0.1f
#define VQ_GAIN_WORTH 0.003 /* of the neighbours must be won, or chance has won them */
enum { VQ_GAINS = 8 };      /* that are tried: 1 + i steps */

/* rows: n x d_code residuals of the sample, lists: n.  Some of the vectors ask the others, and the
 * gain by which their codes rank best goes to p->model; none where that is no better than 1, or
 * there are too few.  The model has its codes; within vq_team_blas_enter/leave. */
vq_status vq_gain_find(vq_plan *p, const float *rows, const uint32_t *lists, size_t n,
                       vq_error *err);

#endif
