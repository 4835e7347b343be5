/* SPDX-License-Identifier: Apache-2.0 */
/* distil_batch.h -- inside of distil.h: the loss of a batch of queries and its gradients.
 *
 *   Q' = Q W^T;  tables[q][j][k] = Q'_q . codeword[j][k]                                (GEMM)
 *   scores of the candidates by look-ups in tables, plus Q'_q . centroid, once a list
 *   loss, g = dL/dscore; G[q][j][k] = sum of g over candidates with code_j = k          (scalars)
 *   d_books = G^T Q';  d_centroids = sums of g by (query, list) times Q';
 *   dQ' = G books + the same sums times centroids;  d_map = dQ'^T Q                     (GEMM)
 *   for l2 a score is less by the vector's factor f, once a batch, and d_books by that of
 *   sum of g over queries times df/dcodeword (distil_l2.c)
 *
 * Work is cut by queries, books or lists, never by threads, so bits do not depend on these. */
#ifndef VQ_TRAIN_DISTIL_BATCH_H
#define VQ_TRAIN_DISTIL_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"
#include "src/train/distil.h"

#define VQ_LIST_TILE 16u /* lists of a task */
#define VQ_MAP_TILE  32u /* rows of the map of a task */

#define VQ_SLOPE_TILE 4096u /* rows whose slopes are kept at a time */

typedef struct vq_pupil { /* of one thread; owned */
    uint32_t *rows;       /* candidates of the query at hand */
    float *t, *s;         /* their scores */
    double *grad, *scratch;
    uint32_t *pair; /* which of the query's lists a candidate is of */
    uint32_t *slot; /* nlist: where a list stands among the query's */
    float *dots;    /* Q'_q . centroid of the query's lists */
    bool *own;      /* in-batch rows that are own candidates */
} vq_pupil;

/* The rows that a batch scores, each once, for metric l2; owned. */
typedef struct vq_batch_rows {
    size_t n;
    uint32_t *place; /* rows of the corpus: where one stands below, or UINT32_MAX */
    uint32_t *rows;  /* their numbers */
    float *factors;  /* what they take off */
    double *pull;    /* sum over queries of g */
    float *slopes;   /* VQ_SLOPE_TILE x d: pull times df/dy of some of them */
} vq_batch_rows;

typedef struct vq_distil_batch {
    const vq_kernels *kn;
    const vq_student *s;
    const vq_lessons *l;
    const vq_loss *loss;
    double temperature;
    int threads;
    size_t max;       /* queries in a batch */
    size_t max_cands; /* candidates of a query */
    size_t max_pairs; /* lists of a query */
    size_t parts;     /* of dQ' */
    /* what the run at hand has */
    const uint32_t *batch;
    size_t n, ncommon;
    /* owned */
    float *queries, *mapped; /* max x d: Q, Q' (mapped == queries without a map) */
    float *tables, *grads;   /* max x m x kk: tables, G */
    float *common_rows;      /* max x d: in-batch rows, each once, uncompressed */
    float *common_scores;    /* max x max: the teacher's of them */
    uint32_t *common;        /* max: their numbers */
    uint32_t *hash;          /* hash_size: index into common, by number */
    size_t hash_size;
    double *losses;       /* max */
    uint32_t *npairs;     /* max */
    uint32_t *pair_list;  /* max x max_pairs: the lists that a query has candidates of */
    float *pair_grad;     /* max x max_pairs: sum of g */
    uint32_t *pair_order; /* max x max_pairs: pairs by list, then by query */
    size_t *list_first;   /* nlist + 1: where a list's begin */
    float *part;          /* parts x max x d; the first becomes dQ' */
    vq_pupil *pupils;     /* threads */
    /* for l2; owned */
    vq_batch_rows seen;
    uint32_t *scored;    /* max x max_cands: rows as queries score them */
    uint32_t *nscored;   /* max */
    float *scored_grads; /* max x max_cands: g */
    /* where gradients go; NULL = not wanted; the caller's */
    float *d_books, *d_centroids, *d_map;
} vq_distil_batch;

/* The student and the lessons are checked (distil.c).  max: queries in a batch at most. */
vq_status vq_distil_batch_init(vq_distil_batch *b, const vq_student *s, const vq_lessons *l,
                               const vq_distil_opts *opts, size_t max, vq_error *err);
void vq_distil_batch_fini(vq_distil_batch *b); /* of a zeroed one, too */

/* Loss and gradients of n <= max queries, n >= 1. */
vq_status vq_distil_batch_run(vq_distil_batch *b, const uint32_t *batch, size_t n, double *loss,
                              vq_error *err);

/* For l2 (distil_l2.c): the memory; the rows of a gathered batch and their factors; after its
 * queries were scored, what the factors bring to d_books, which holds the rest. */
vq_status vq_distil_l2_init(vq_distil_batch *b, vq_error *err);
void vq_distil_l2_fini(vq_distil_batch *b);
vq_status vq_distil_l2_begin(vq_distil_batch *b, vq_error *err);
vq_status vq_distil_l2_books(vq_distil_batch *b, vq_error *err);

#endif
