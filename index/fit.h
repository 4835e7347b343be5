/* SPDX-License-Identifier: Apache-2.0 */
/* fit.h -- training: from sample rows to the arrays of a model. */
#ifndef VQ_INDEX_FIT_H
#define VQ_INDEX_FIT_H

#include "index/plan.h"

typedef struct vq_fitted { /* owns what the model's pointers point to */
    float *mean, *matrix, *query_matrix, *centroids, *biases, *routes, *params, *bars, *groups;
} vq_fitted;

typedef struct vq_queries { /* training queries, of length 1 for cosine */
    float *x;               /* n x d; owned by whoever filled it */
    size_t n;
    size_t held;   /* the last so many of these: nothing is fitted to them, since error bars
                      are calibrated by them */
    uint32_t *own; /* n: the vector that a query was made from, where none were given; else NULL.
                      Owned likewise */
} vq_queries;

/* Learns from n >= 1 rows of type elem (n x d) and sets d_code, the transform's kind and the arrays
 * of p->model, which point into out.  Within vq_team_blas_enter/leave.  Bits do not depend on
 * p->threads.  queries are used if the plan's way of training asks for them. */
vq_status vq_fit(vq_plan *p, const void *rows, uint32_t elem, size_t n, const vq_queries *queries,
                 vq_ticker *ticker, vq_fitted *out, vq_error *err);
void vq_fitted_fini(vq_fitted *f);

/* Brings the rows of x (n x d) to length 1; zero rows stay. */
void vq_fit_normalize(const vq_kernels *k, float *x, size_t n, size_t d);

/* Rows as they come (n x d, type elem) to the coded space (n x d_code): widened, for cosine brought
 * to length 1, transformed.  wide is scratch of n x d.  m has its transform. */
void vq_fit_encode_space(const vq_model *m, const vq_kernels *k, uint32_t elem, const void *rows,
                         size_t n, float *wide, float *coded);

/* x (n x d) = x * turn^T, by blocks. */
vq_status vq_fit_turn(float *x, size_t n, size_t d, const float *turn, vq_error *err);

#endif
