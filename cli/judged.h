/* SPDX-License-Identifier: Apache-2.0 */
/* judged.h -- judgements of query files, with documents as ids of the index; and what of relevance
 * search, eval and calibrate share. */
#ifndef VQ_CLI_JUDGED_H
#define VQ_CLI_JUDGED_H

#include "cli/inputs.h"
#include "cli/opt.h"

typedef struct judged { /* for query i the judgements first[i] .. first[i+1]-1 */
    size_t nq;          /* of all files that were loaded, in turn */
    size_t *first;
    uint64_t *docs; /* VQ_NO_ID: not in the index */
    int32_t *grades;
    size_t room; /* judgements there is room for */
} judged;

/* Adds the queries of q, all of them in memory; path: their judgements.  An exit code, and has told
 * what went wrong: so too where not one judgement meets a query, or a document of the index. */
int judged_load(judged *j, const queries *q, vq_searcher *s, const char *path);
void judged_free(judged *j); /* accepts one that is all zero */

/* --min-relevance */
#define RELEVANCE_NOT_GIVEN (-1.0)
#define RELEVANCE_BEST      2.0
extern const opt_word relevance_words[];
/* What calibration stored in the one index of the set.  An exit code. */
int relevance_read(const index_set *set, vq_relevance *out);

#endif
