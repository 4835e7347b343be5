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
    vq_writer *writer; /* where encoded vectors go, or NULL.. */
    vq_writer *copies; /* ..and copies of those that gain by one, or NULL: no second lists */
    vq_corpus *corpus; /* ..or the memory they are kept in (n, all arrays taken), or NULL */
    bool known;        /* with a writer and a corpus: lists and codes are the corpus's */
} vq_encode_job;

vq_status vq_encode_all(const vq_encode_job *job, vq_error *err);
/* Codes (n x code_bytes) of a corpus's vectors in some lists of theirs (n). */
vq_status vq_encode_corpus(const vq_model *m, const vq_corpus *c, uint32_t *lists, uint8_t *codes,
                           int threads, vq_error *err);

#endif
