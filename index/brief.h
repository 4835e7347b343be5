/* SPDX-License-Identifier: Apache-2.0 */
/* brief.h -- what every query reads of a model, as bytes: a quarter of the memory that a query must
 * pull through the caches.  It chooses lists and candidates; answers are scored from rows, or, of
 * codes with error bars, from what it gives of the query: then the coordinates along which vectors
 * vary have a second byte, as many as it takes for what the bytes blur to be little beside what the
 * codes themselves do. */
#ifndef VQ_INDEX_BRIEF_H
#define VQ_INDEX_BRIEF_H

#include "index/model.h"
#include "src/math/fixed.h"

typedef struct vq_brief {
    vq_bytepanels matrix; /* what a query is multiplied by; no rows unless the transform is dense */
    size_t second;        /* its last rows: what the first of the others lack, for codes with error
                             bars */
    vq_bytemat centroids; /* or, for codes with error bars, their first columns: what counts */
    vq_code_model code;   /* the model's, with codewords in bytes where the codec has them */
    float *centre;        /* d_code: what these two make of the mean; NULL: queries keep it */
    float blur;           /* deviation of a product with a residual, over the lengths of both */
    float *shares;        /* nlist: of a product with a centroid, over the query's; or NULL */
    float *weighed; /* nlist x 2: of the centroids, as vq_codec has it; NULL: not for these codes */
    float *squares; /* d_code: mean squares of residuals by coordinate, as the codes have them;
                       NULL: they do not tell, or l2 */
    void *memory;   /* owned */
} vq_brief;

/* Quantizes the arrays of m, which must outlive b. */
vq_status vq_brief_make(vq_brief *b, const vq_model *m, const vq_kernels *k, vq_error *err);
void vq_brief_free(vq_brief *b); /* accepts one that is all zero */

#endif
