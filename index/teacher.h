/* SPDX-License-Identifier: Apache-2.0 */
/* teacher.h -- what is held to be right for the training queries. */
#ifndef VQ_INDEX_TEACHER_H
#define VQ_INDEX_TEACHER_H

#include "index/fit.h"
#include "index/pairs.h"
#include "src/io/source.h"

enum {
    VQ_TEACHER_K = 200,     /* answers of exact search */
    VQ_TEACHER_MOST = 1000, /* rows of a query that may be given: the best; and labels */
};

typedef struct vq_teacher {
    uint32_t k;
    uint32_t *rows; /* nq x k: vectors, best first, UINT32_MAX where there are fewer; owned */
    float *scores;  /* nq x k: products, of l2 minus half the squared distances; owned */
    float *lowest;  /* nq: score of every row that is not among a query's; owned.  NULL: the exact
                       one, a product that can be computed */
    uint32_t *own;  /* nq: a vector that is no answer to a query, since it was made from it; owned.
                       NULL: none */
    uint32_t *labelled; /* nq: so many of a query's rows, the first, are labels, with the best score
                           of the teacher and not their own; owned.  NULL: none */
} vq_teacher;
void vq_teacher_fini(vq_teacher *t);

typedef struct vq_class { /* who is taught, and by which rows */
    vq_source *src;
    const vq_queries *queries;
    vq_good_rows good;
    uint32_t metric;
    int threads;
    vq_progress_fn progress; /* may be NULL */
    void *progress_ctx;
} vq_class;

/* The exact best of the full rows.  With a path (not NULL) they are read from the file there if it
 * answers the same queries over the same rows (base: their digest), else searched and kept in it.
 * Leaves src anywhere. */
vq_status vq_teacher_exact(vq_teacher *t, const vq_class *c, const char *cache,
                           const uint8_t base[16], vq_error *err);
/* Takes a vector out of k answers (scores may be NULL), best first; the others move up and
 * UINT32_MAX fills the end.  Returns how many are left. */
size_t vq_answers_without(uint32_t *rows, float *scores, size_t k, uint32_t own);
/* What was given in its place. */
vq_status vq_teacher_given(vq_teacher *t, const vq_pair_lists *pairs, vq_error *err);
/* Puts the rows of pairs first, in the teacher's order and then its own, with its best score;
 * queries that it says nothing of are not touched. */
vq_status vq_teacher_label(vq_teacher *t, const vq_pair_lists *pairs, vq_error *err);
/* Takes the queries (of d floats) out that the teacher says nothing of: *dropped of them. */
void vq_teacher_drop(vq_teacher *t, vq_queries *queries, size_t d, size_t *dropped);
/* Brings `judges` of the queries (<= their number), evenly spaced, behind the others: files of
 * queries may follow one another, and all of them should judge.  A teacher of nothing is left. */
void vq_teacher_part(vq_teacher *t, vq_queries *queries, size_t d, size_t judges);

#endif
