/* SPDX-License-Identifier: Apache-2.0 */
/* encode.h -- all rows of a source to lists and codes, tiles of them in parallel. */
#ifndef VQ_INDEX_ENCODE_H
#define VQ_INDEX_ENCODE_H

#include "index/codeview.h"
#include "index/writer.h"
#include "src/io/source.h"

typedef struct vq_encode_job {
    vq_source *src; /* at its start */
    const vq_model *model;
    int threads;
    size_t block;  /* rows read at a time */
    uint8_t *rows; /* block x d, as they come: scratch */
    vq_ticker *ticker;
    const char *phase;
    vq_list_writer *writer; /* where encoded vectors go, or NULL.. */
    vq_list_writer *copies; /* ..and copies of those that gain by one, or NULL: no second lists */
    vq_corpus *corpus;      /* ..or the memory they are kept in (n, all arrays taken), or NULL */
    bool second;            /* second lists without a writer for them */
    double *far; /* takes the sum of the squared distances to the lists' centroids, or NULL;
                    not with known */
    bool known;  /* with a writer and a corpus: lists and codes are the corpus's */
} vq_encode_job;

vq_status vq_encode_all(const vq_encode_job *job, vq_error *err);
/* Blocks of rows, for who has no source and no builder: vectors that come to an index later. */
typedef struct vq_encoder vq_encoder;
typedef struct vq_encoded { /* of the block that was encoded last; borrowed from the encoder */
    const uint32_t *lists, *copy_lists;  /* the second may be NULL, or hold VQ_NO_LIST */
    const uint8_t *codes, *copy_codes;   /* n x code_bytes */
    const float *factors, *copy_factors; /* or NULL */
    const float *far;    /* squared distances to the lists' centroids, in the coded space */
    const uint8_t *rows; /* n x row_bytes as stored, or NULL */
    size_t clamped;      /* rows of which some coordinate is larger than the store can hold */
} vq_encoded;
/* For blocks of up to `block` rows and models of the shape of m with the same codebooks. */
vq_status vq_encoder_open(vq_encoder **out, const vq_model *m, size_t block, bool copies,
                          int threads, vq_error *err);
/* n rows (n x d) of type elem.  The caller holds BLAS at one thread. */
vq_status vq_encoder_run(vq_encoder *e, const vq_model *m, const void *rows, uint32_t elem,
                         size_t n, vq_encoded *out, vq_error *err);
/* No row goes to that list any more; only for models whose lists lie in no groups. */
void vq_encoder_shut(vq_encoder *e, uint32_t list);
void vq_encoder_close(vq_encoder *e); /* accepts NULL */

/* Codes (n x code_bytes) of a corpus's vectors in some lists of theirs (n). */
vq_status vq_encode_corpus(const vq_model *m, const vq_corpus *c, uint32_t *lists, uint8_t *codes,
                           int threads, vq_error *err);

#endif
