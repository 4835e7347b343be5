/* SPDX-License-Identifier: Apache-2.0 */
/* nearpairs.h -- pairs of a query and a true neighbour, for codes with error bars: what an estimate
 * is off by is other for neighbours, which the query looks like, than for vectors at random. */
#ifndef VQ_INDEX_NEARPAIRS_H
#define VQ_INDEX_NEARPAIRS_H

#include "index/model.h"

typedef struct vq_near_pairs {
    float *o, *q; /* n x d_code each: a residual, and what its product counts with: the query, for
                     l2 less the centroid; owned */
    size_t n;
} vq_near_pairs;
void vq_near_pairs_fini(vq_near_pairs *p);

/* Up to 2,048 queries (nq x d_code; NULL: vectors of the sample, each left out of its own) and of
 * the ten best of all m->n vectors as many as the sample holds, about, for each, in whichever of
 * the lists near the query they lie: search finds neighbours beyond the first list, and there the
 * query looks less like them.  residuals: n x d_code of the lists.  mean: d_code, what queries have
 * and vectors have lost, or NULL. */
vq_status vq_near_pairs_find(const vq_model *m, const float *residuals, const uint32_t *lists,
                             size_t n, const float *queries, size_t nq, const float *mean,
                             int threads, vq_near_pairs *out, vq_error *err);

#endif
