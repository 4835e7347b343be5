/* SPDX-License-Identifier: Apache-2.0 */
/* codeview.h -- all codes of a corpus in memory, by list and in scan order: what a search over
 * codes alone would answer, while codebooks are still being learnt. */
#ifndef VQ_INDEX_CODEVIEW_H
#define VQ_INDEX_CODEVIEW_H

#include "index/model.h"

typedef struct vq_corpus { /* encoded vectors, in the order of the source */
    size_t n;
    uint32_t *lists; /* n; owned */
    uint8_t *codes;  /* n x code_bytes; owned */
    float *coded;    /* n x d_code: uncompressed, in the coded space; owned */
    float *factors;  /* n: what the vectors take off (factor.h); owned.  NULL: nothing */
    /* Where vectors get copies, after all that is learnt: the second lists (or VQ_NO_LIST), and the
     * codes and factors there; else NULL.  Owned. */
    uint32_t *copy_lists;
    uint8_t *copy_codes;
    float *copy_factors;
} vq_corpus;
/* All arrays but those of copies, for n vectors of a model; filled by vq_encode_all. */
vq_status vq_corpus_init(vq_corpus *c, const vq_model *m, size_t n, vq_error *err);
void vq_corpus_fini(vq_corpus *c);
/* The mean squared distance of the vectors to their lists' centroids. */
float vq_corpus_spread(const vq_model *m, const vq_corpus *c);

typedef struct vq_codeview {
    const vq_model *model;
    uint32_t *rows; /* n: vectors by list */
    size_t *start;  /* nlist + 1 */
    size_t *at;     /* nlist: where a list's blocks begin, bytes */
    uint8_t *blocks;
    float *factors;     /* each list's from factors_at on, or NULL */
    size_t *factors_at; /* nlist */
} vq_codeview;
vq_status vq_codeview_init(vq_codeview *v, const vq_model *model, const vq_corpus *c,
                           vq_error *err);
void vq_codeview_fini(vq_codeview *v);

/* The k best rows of each of nq queries (nq x d_code, in the coded space) by the codes of all
 * lists, as model decodes them now; rows: nq x k, UINT32_MAX where there are fewer. */
vq_status vq_codeview_search(const vq_codeview *v, const float *queries, size_t nq, uint32_t k,
                             int threads, uint32_t *rows, vq_error *err);

#endif
