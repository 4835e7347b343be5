/* SPDX-License-Identifier: Apache-2.0 */
/* pseudo.h -- training queries where none are given: vectors of the sample, moved a little the way
 * vectors differ from one another. */
#ifndef VQ_INDEX_PSEUDO_H
#define VQ_INDEX_PSEUDO_H

#include "index/fit.h"

typedef struct vq_sample { /* rows that were drawn to train on, as they come */
    const void *rows;      /* n x d, type elem */
    const uint32_t *at;    /* n: which vectors they are */
    size_t n;
    uint32_t elem;
} vq_sample;

/* Fills q (x and own, both owned by q): at most VQ_PSEUDO of the rows, evenly spaced, each less a
 * part of the difference of two others; of length 1 for cosine.  Of their answers the vector that
 * one was made from says nothing and is to be left out.  VQ_EINVAL: fewer than 2 rows. */
enum { VQ_PSEUDO = 10000 };
vq_status vq_pseudo_queries(const vq_model *m, const vq_sample *s, vq_queries *q, vq_error *err);

#endif
