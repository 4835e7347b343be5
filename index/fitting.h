/* SPDX-License-Identifier: Apache-2.0 */
/* fitting.h -- training on its way, as its rooms share it: the axes of the coded space (fitaxes.c),
 * lists and codebooks in it (fit.c). */
#ifndef VQ_INDEX_FITTING_H
#define VQ_INDEX_FITTING_H

#include "index/fit.h"

typedef struct vq_fitting {
    vq_plan *p;
    vq_fitted *out;
    const vq_kernels *k;
    vq_ticker *ticker;
    const uint8_t *rows;
    uint32_t elem;
    size_t n;           /* rows that are learnt from; */
    size_t nask, every; /* ..and so many beside them, one of each `every`, that ask where error bars
                           are calibrated: nothing is fitted to them */
    const vq_queries *queries;
    float *to_rows, *to_queries; /* d x d: the whitening, where queries weigh the error; or NULL */
    float *y;                    /* n + nask x d_code: the sample in coded space, those that ask at
                                    the end; later its residuals */
    uint32_t *lists;             /* n + nask: of these, from then on */
    float *more;                 /* n + nask, by vq_fit_round: half of a vector's squared length,
                                    less that of its coordinates once residuals are taken anew;
                                    else NULL */
} vq_fitting;

/* Where the i-th row that asks stands in the sample, and the i-th that is learnt from. */
size_t vq_fit_asker(const vq_fitting *f, size_t i);
size_t vq_fit_row(const vq_fitting *f, size_t i);

/* Chooses the transform into the coded space, before there are lists: axes of the data, or none to
 * learn. */
vq_status vq_fit_transform(vq_fitting *f, vq_error *err);
/* Folds the axes of the residuals (y), turned as suits the codes, into matrix, centroids and
 * sample. */
vq_status vq_fit_axes(vq_fitting *f, vq_error *err);
/* For codes with error bars and l2, where all axes are kept: rounds what queries are multiplied by
 * to numbers that a search reads as bytes or half bytes, and makes up for it in what vectors are
 * multiplied by, and in turn, which takes the residuals (y) to their axes.  Nothing happens
 * elsewhere. */
vq_status vq_fit_round(vq_fitting *f, float *turn, vq_error *err);
/* Makes the error bars of trained codes right for those that ask. */
vq_status vq_fit_bars(vq_fitting *f, vq_error *err);
/* Training queries, where they have a space of their own, in it (n x d_code); the caller frees
 * them.  None: NULL. */
vq_status vq_fit_queries(const vq_fitting *f, float **queries, size_t *n, vq_error *err);

#endif
