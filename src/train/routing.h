/* SPDX-License-Identifier: Apache-2.0 */
/* routing.h -- list vectors that learn from queries which lists to read: the lists stay as they
 * are, their vectors move so that the softmax of a query's products with them falls on the lists
 * that hold its best rows. */
#ifndef VQ_TRAIN_ROUTING_H
#define VQ_TRAIN_ROUTING_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"

enum { VQ_ROUTED = 10 }; /* rows of a query that its lists should hold */

typedef struct vq_routing {
    size_t d, nlist;
    size_t nq, ntrain;       /* queries; those before ntrain teach, the others judge */
    const float *queries;    /* nq x d */
    const uint32_t *answers; /* nq x k: rows, best first; UINT32_MAX where there are fewer */
    size_t k;
    const uint32_t *lists;  /* of the rows */
    const uint32_t *second; /* of the rows, VQ_NO_LIST where there is none; or NULL */
    float *vectors;         /* nlist x d: learnt */
    unsigned epochs;
    uint64_t seed;
    int threads; /* bits do not depend on it */
    vq_ticker *ticker;
} vq_routing;

/* Trains in place and keeps the best state after an epoch by the loss of the judges, the start
 * included.  loss (may be NULL): theirs, mean -log of the share of the lists of a row, at the start
 * and in the end.  Takes 256 x nlist floats, and 4 times the vectors. */
vq_status vq_routing_learn(const vq_routing *r, double loss[2], vq_error *err);

#endif
