/* SPDX-License-Identifier: Apache-2.0 */
/* docwrite.h -- attributes into a file: what a build or a batch changes, gathered, then written
 * record by record, each once. */
#ifndef VQ_INDEX_DOCWRITE_H
#define VQ_INDEX_DOCWRITE_H

#include "index/change.h"
#include "index/docs.h"
#include "src/base/table.h"

typedef struct vq_shard vq_shard; /* searcher.h */

typedef struct vq_doc_edit { /* the record of a label */
    uint64_t label;
    bool gone;
    int64_t time;
    size_t tags; /* in numbers; ntags of them, rising */
    uint32_t ntags;
    const void *payload; /* borrowed; `bytes` long if packed is 0, else as it lies in a record */
    size_t bytes, packed;
} vq_doc_edit;

typedef struct vq_tag_op { /* a bit of a bitmap; bits are cleared before any is set */
    uint32_t tag, list, slot;
    uint32_t set;
} vq_tag_op;

typedef struct vq_time_op { /* VQ_NO_TIME: cleared, before any is set */
    uint64_t place;
    int64_t time;
} vq_time_op;

typedef struct vq_new_tag {
    const char *text; /* borrowed */
    size_t len;
} vq_new_tag;

typedef struct vq_docs { /* all zero: nothing changes; arrays owned */
    vq_doc_edit *edits;
    uint32_t *numbers;
    vq_tag_op *tag_ops;
    vq_time_op *time_ops;
    vq_new_tag *fresh; /* tags that get numbers, from first_tag on */
    size_t nedits, nnumbers, ntag_ops, ntime_ops, nfresh;
    size_t edits_room, numbers_room, tag_room, time_room, fresh_room;
    uint32_t first_tag;
} vq_docs;
void vq_docs_fini(vq_docs *d);

vq_status vq_docs_edit(vq_docs *d, const vq_doc_edit *e, vq_error *err);
/* Appends n numbers, puts them in order without repeats, and returns how many are left at *ntags,
 * where at *tags. */
vq_status vq_docs_numbers(vq_docs *d, const uint32_t *numbers, size_t n, size_t *tags,
                          uint32_t *ntags, vq_error *err);
/* The bits and times of one vector at a place: of these tags (le32 of a record, or numbers). */
vq_status vq_docs_clear(vq_docs *d, const vq_doc *doc, uint64_t place, vq_error *err);
vq_status vq_docs_set_doc(vq_docs *d, const vq_doc *doc, uint64_t place, vq_error *err);
vq_status vq_docs_set(vq_docs *d, const vq_doc_edit *e, uint64_t place, vq_error *err);
vq_status vq_docs_fresh(vq_docs *d, const char *text, size_t len, uint32_t *number, vq_error *err);
/* The number of a tag of a new file, which gets one when it is first met; numbers: of those that
 * have been, by the hashes of their texts. */
vq_status vq_docs_number(vq_docs *d, vq_table *numbers, const char *text, size_t len,
                         uint32_t *number, vq_error *err);

typedef struct vq_sink { /* where records go */
    vq_store *store;     /* a new file; or.. */
    vq_change *change;   /* ..a transaction of the file of.. */
    vq_shard *shard;     /* ..this snapshot */
    uint32_t capacity;   /* of a chunk */
} vq_sink;
/* One record of `documents`, for who has them in the order of labels and keeps no edits; e->tags
 * are in d.  buffer: vq_pack_bound(e->bytes) at least. */
vq_status vq_doc_put(const vq_docs *d, const vq_sink *to, const vq_doc_edit *e, vq_packer *packer,
                     uint8_t *buffer, size_t cap, vq_error *err);
/* Sorts what d holds, and writes it. */
vq_status vq_docs_write(vq_docs *d, const vq_sink *sink, vq_error *err);

#endif
