/* SPDX-License-Identifier: Apache-2.0 */
/* candidates.h -- what a training query's lesson compares: its teacher's best, what the live codes
 * put among their best (the false positives), and one row it lends to the others of its batch. */
#ifndef VQ_INDEX_CANDIDATES_H
#define VQ_INDEX_CANDIDATES_H

#include "index/codeview.h"
#include "index/learn.h"

enum { VQ_LIVE = 100 }; /* of the live codes' best */

typedef struct vq_candidates { /* all arrays owned */
    size_t nq, d;
    bool l2;            /* scores are products less half of the row's squared length */
    size_t *first;      /* nq + 1: candidates first[i] .. first[i+1]-1 of query i */
    uint32_t *docs;     /* vectors of the corpus */
    float *teacher;     /* their scores */
    uint32_t *shared;   /* nq: the row that is lent */
    float *shared_rows; /* nq x d: in the coded space */
    float *offsets;     /* nq: the teacher's score of a lent row is its score here, and this.. */
    float *most;        /* nq: ..but no more than this */
    double scale;       /* of the teacher's scores to those here, which are like the student's */
    uint32_t *sorted;   /* k: scratch */
} vq_candidates;

/* Room for nq queries of d dimensions, k of the teacher's best each. */
vq_status vq_candidates_init(vq_candidates *c, size_t nq, size_t d, size_t k, bool l2,
                             vq_error *err);
void vq_candidates_fini(vq_candidates *c);

/* Fills c.  A row that an exact teacher did not answer is scored in the coded space, set right by
 * the query's mean offset.  One that a given teacher did not score has its lowest if it is a false
 * positive, at most that if it is lent.  queries: nq x d in the coded space, before the map; live:
 * nq x VQ_LIVE vectors by the codes as they are, UINT32_MAX where there are fewer.
 */
void vq_candidates_set(vq_candidates *c, const float *queries, const vq_corpus *corpus,
                       const vq_teacher *truth, const uint32_t *live, uint64_t seed);

#endif
