/* SPDX-License-Identifier: Apache-2.0 */
/* nearpairs.h -- pairs of a query and a true neighbour, for codes with error bars: what an estimate
 * is off by is other for neighbours, which the query looks like, than for vectors at random. */
#ifndef VQ_INDEX_NEARPAIRS_H
#define VQ_INDEX_NEARPAIRS_H

#include "index/model.h"

typedef struct vq_near_pair {
    uint32_t query, row, list; /* a query, a neighbour of it, and that one's list */
} vq_near_pair;

typedef struct vq_near_pairs {
    vq_near_pair *pairs; /* n; owned */
    size_t n;
} vq_near_pairs;
void vq_near_pairs_fini(vq_near_pairs *p);

/* How many pairs a query is in, if the sample has n rows. */
size_t vq_near_pairs_each(const vq_model *m, size_t n);

#define VQ_NEAR_NONE SIZE_MAX
/* Of the ten best of all m->n vectors as many as the sample holds, about, for each of some
 * thousands of the queries (nq x d_code), in whichever of the lists near it they lie: search finds
 * neighbours beyond the first list, and there the query looks less like them.  residuals: n x
 * d_code of the lists; both are brought into the order of the lists.  more: of rows, brought along:
 * by how much half of a vector's squared length is above that of its coordinates; NULL: by nothing.
 * own: the row that query 0 is, the next is query 1..., none of which is a neighbour of itself; or
 * VQ_NEAR_NONE. */
vq_status vq_near_pairs_find(const vq_model *m, float *residuals, uint32_t *lists, float *more,
                             size_t n, const float *queries, size_t nq, size_t own, int threads,
                             vq_near_pairs *out, vq_error *err);

#endif
