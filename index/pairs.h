/* SPDX-License-Identifier: Apache-2.0 */
/* pairs.h -- what a caller says of training queries and rows (vq_pairs), checked, and by query. */
#ifndef VQ_INDEX_PAIRS_H
#define VQ_INDEX_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct vq_good_rows { /* of a source with bad rows: which became vectors */
    uint64_t n;               /* vectors */
    const uint64_t *skipped;  /* row numbers of nskipped bad ones, rising */
    size_t nskipped;
} vq_good_rows;
/* Order of row numbers (uint32_t), for qsort and bsearch. */
int vq_rows_order(const void *a, const void *b);
/* The vector of a row: bad ones before it are not counted.  UINT32_MAX for a bad one. */
uint32_t vq_vector_of(const vq_good_rows *g, uint64_t row);

typedef struct vq_pair_lists {
    size_t nq;
    size_t *first;  /* nq + 1: first[i] .. first[i+1]-1 are of query i */
    uint32_t *rows; /* vectors; no one twice for a query */
    float *scores;  /* falling, then by vector; all 0 where none are read */
} vq_pair_lists;

/* Refuses numbers of no query and no row, scores that are not finite and pairs said twice, with
 * `what` in the text.  Pairs with bad rows are left out. */
vq_status vq_pair_lists_make(vq_pair_lists *l, const vq_pairs *pairs, const char *what, size_t nq,
                             const vq_good_rows *good, vq_error *err);
void vq_pair_lists_fini(vq_pair_lists *l);

#endif
