/* SPDX-License-Identifier: Apache-2.0 */
/* relevance.h -- from the scores of a query's answers to the probability that each is relevant, as
 * judged queries have taught (logistic regression; the Cosine Adapter of Rossi et al., "Relevance
 * Filtering for Embedding-based Retrieval", 2024, learns such a mapping from the query's vector).
 * Nothing to do with calibrate.h, which prices recall. */
#ifndef VQ_INDEX_RELEVANCE_H
#define VQ_INDEX_RELEVANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

enum {
    VQ_RELEVANCE_FEATURES = 9,
    VQ_RELEVANCE_HEAD = 16,
    VQ_RELEVANCE_COLS = VQ_RELEVANCE_HEAD + 1 + 3 * VQ_RELEVANCE_FEATURES,
    VQ_RELEVANCE_DEPTH = 10,       /* answers that are looked at, where nobody says how many */
    VQ_RELEVANCE_DEPTH_MAX = 1000, /* the most */
};

#define VQ_RELEVANCE_KEY "relevance" /* of the array in `model` */

/* The array is one row of VQ_RELEVANCE_COLS floats (FORMAT.md 4.3).  Parsed but for its checksum,
 * which the caller has verified; *row is NULL where it is of another kind or shape, of a later
 * version.  VQ_ECORRUPT. */
vq_status vq_relevance_parse(const uint8_t *value, size_t len, const float **row, vq_error *err);
vq_status vq_relevance_check(const float *row, vq_error *err);
vq_relevance vq_relevance_of(const float *row); /* what users see of it; struct_size is not set */

/* What tells answer i of n, whose scores are in order, best first, of which `depth` at most are
 * looked at; larger: scores of ip and cosine.  x: VQ_RELEVANCE_FEATURES. */
void vq_relevance_features(const float *scores, size_t n, size_t depth, size_t i, bool larger,
                           double *x);
/* The probabilities of n answers, none above that of the answer before. */
void vq_relevance_apply(const float *row, const float *scores, size_t n, bool larger,
                        float *probability);

typedef struct vq_relevance_job {
    const uint64_t *ids; /* nq x depth answers, VQ_NO_ID where there are fewer */
    const float *scores; /* nq x depth */
    size_t nq;
    uint32_t depth;
    bool larger;
    const vq_judgements *judged; /* of nq queries */
} vq_relevance_job;
/* Learns from nine judged queries of ten and measures on the others.  row: VQ_RELEVANCE_COLS. */
vq_status vq_relevance_learn(const vq_relevance_job *job, float *row, vq_error *err);

#endif
