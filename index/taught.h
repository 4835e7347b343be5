/* SPDX-License-Identifier: Apache-2.0 */
/* taught.h -- the vectors that codes are taught by where memory does not hold them all: as many of
 * the sample as it does.  The others are coded by what these taught. */
#ifndef VQ_INDEX_TAUGHT_H
#define VQ_INDEX_TAUGHT_H

#include "index/fit.h"

typedef struct vq_taught {
    uint8_t *rows; /* n x d, as they come; owned.  NULL: all vectors teach */
    uint32_t *at;  /* n, rising: which vectors they are; owned */
    size_t n;
    vq_source *src; /* reads rows; owned */
} vq_taught;
void vq_taught_fini(vq_taught *p);

/* Bytes that teaching takes with n vectors and nq queries, after vq_fit. */
uint64_t vq_taught_bytes(const vq_plan *p, uint64_t n, size_t nq);
/* Takes a sample (rows: n x d of type elem; at: n, rising; both become part's, or are freed).  If
 * teaching by all vectors takes no more than `most` bytes the part stays empty, else it keeps the
 * rows that do, some thousands at least, says so in p's notes, and has pseudo-queries know their
 * own vector by its place among them. */
vq_status vq_taught_take(vq_taught *part, vq_plan *p, uint8_t *rows, uint32_t *at, size_t n,
                         uint32_t elem, uint64_t most, vq_queries *queries, vq_error *err);

#endif
