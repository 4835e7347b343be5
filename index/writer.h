/* SPDX-License-Identifier: Apache-2.0 */
/* writer.h -- encoded vectors on their way to the file: records in buckets, then chunks in the
 * order of lists. */
#ifndef VQ_INDEX_WRITER_H
#define VQ_INDEX_WRITER_H

#include "index/bucket.h"
#include "index/idmap.h"
#include "index/model.h"
#include "src/train/spill.h"

/* A record: u32 number of the vector, u32 list, f32 factor, code, row (not of a copy). */
enum { VQ_REC_VECTOR = 0, VQ_REC_LIST = 4, VQ_REC_FACTOR = 8, VQ_REC_CODE = 12 };

typedef struct vq_list_writer {
    const vq_model *model;
    bool copies; /* what it writes; else vectors */
    vq_buckets *buckets;
    size_t lists_per_part, parts, record; /* record: bytes */
    size_t memory;
    uint8_t *scratch; /* one record */
} vq_list_writer;

vq_status vq_list_writer_init(vq_list_writer *w, const vq_model *model, bool copies,
                              const char *beside, size_t memory, vq_error *err);
void vq_list_writer_fini(vq_list_writer *w);
/* The vectors number first.. (n of them): lists, factors (may be NULL), codes (n x code_bytes),
 * rows as stored (n x row_bytes; may be NULL).  Those without a list, VQ_NO_LIST, are left out. */
vq_status vq_list_writer_add(vq_list_writer *w, size_t first, size_t n, const uint32_t *lists,
                             const float *factors, const uint8_t *codes, const uint8_t *rows,
                             vq_error *err);
uint64_t vq_list_writer_count(const vq_list_writer *w); /* records added */
/* Writes all lists; sets the places of im: of vectors, or of copies, whose vectors have theirs. */
vq_status vq_list_writer_flush(vq_list_writer *w, vq_store *st, vq_idmap *im, vq_ticker *ticker,
                               vq_error *err);

#endif
