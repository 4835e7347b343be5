/* SPDX-License-Identifier: Apache-2.0 */
/* answers.h -- ranked answers in the formats of vq search.
 *   text   a heading a query, then rank, score, the relevance if it is told, and id
 *          and with payloads, in lines of their own, tags, time and payload
 *   tsv    query, rank (from 1), id, score, the relevance if it is told
 *   jsonl  {"query": .., "hits": [{"id": .., "score": ..}, ..]} a line; a hit has "relevance" if it
 * is told, and with payloads
 * what there is of "tags": [..], "time": .. and "payload": a JSON value where it is one, else text
 *   trec   query, Q0, id, rank, score, "vq"; l2 scores are negated, so that larger is nearer
 *   ibin   u32 nq, u32 k, then nq x k i32 ids, then nq x k f32 scores
 *   npy    nq x k u64 ids
 * The binary ones hold labels where ids are strings, and -1 (all ones) where there is no answer. */
#ifndef VQ_CLI_ANSWERS_H
#define VQ_CLI_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/output.h"
#include "vq/vq.h"

enum { ANSWERS_TEXT, ANSWERS_TSV, ANSWERS_JSONL, ANSWERS_TREC, ANSWERS_IBIN, ANSWERS_NPY };

typedef struct answers {
    output out;
    uint32_t format, k;
    vq_searcher *s; /* borrowed: names of ids */
    bool strings;   /* ids are strings */
    bool smaller;   /* smaller scores are nearer */
    bool payload;   /* text and jsonl: what each answer carries, too; set after the opening */
    bool numbered;  /* queries are row numbers */
    uint64_t n;     /* queries so far */
    uint64_t *ids;  /* n x k and scores, kept for the binary formats; owned */
    float *scores;
    size_t room; /* queries there is room for */
} answers;

/* Each returns an exit code and has told what went wrong. */
int answers_open(answers *a, const char *path, uint32_t format, uint32_t k, vq_searcher *s,
                 const vq_info *info);
/* relevance: k, or NULL: it is not told. */
int answers_add(answers *a, const char *query, const uint64_t *ids, const float *scores,
                const float *relevance);
int answers_close(answers *a, int code); /* drops the file if code is not 0 */

#endif
