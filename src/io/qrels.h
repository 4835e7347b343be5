/* SPDX-License-Identifier: Apache-2.0 */
/* qrels.h -- judgements and ranked answers in text files.
 * qrels: TREC and MS MARCO "qid iteration docid grade", separated by spaces or tabs; BEIR's
 * "query-id corpus-id score" with its header line.  Runs: TREC "qid Q0 docid rank score tag". */
#ifndef VQ_IO_QRELS_H
#define VQ_IO_QRELS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct vq_judgement {
    const char *doc; /* in text */
    int32_t grade;   /* > 0: relevant */
    size_t line;     /* where it stood, from 1 */
} vq_judgement;

typedef struct vq_qrels {
    size_t nq;        /* distinct queries, in byte order of their ids */
    const char **qid; /* nq; owned array, strings in text */
    size_t *first;    /* nq + 1: judgements first[i] .. first[i+1]-1 belong to qid[i] */
    vq_judgement *judgements;
    char *text; /* owned */
} vq_qrels;

/* Plain or .zst; errors name file and line.  The same pair judged twice with different grades is an
 * error, with the same grade it counts once. */
vq_status vq_qrels_read(vq_qrels *q, const char *path, vq_error *err);
/* Index of a query id, or SIZE_MAX. */
size_t vq_qrels_find(const vq_qrels *q, const char *qid);
void vq_qrels_fini(vq_qrels *q);

typedef struct vq_run_line {
    const char *doc;
    double score;
    size_t line; /* where it stood, from 1 */
} vq_run_line;

typedef struct vq_run { /* the same shape as vq_qrels; lines of a query by falling score, then doc
                         */
    size_t nq;
    const char **qid;
    size_t *first;
    vq_run_line *lines;
    char *text;
} vq_run;

vq_status vq_run_read(vq_run *r, const char *path, vq_error *err);
void vq_run_fini(vq_run *r);

#endif
