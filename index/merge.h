/* SPDX-License-Identifier: Apache-2.0 */
/* merge.h -- several indexes of one model become one: their lists one behind the other, codes and
 * rows as they are.  merge.c writes lists, vectors and copies; mergeids.c walks over the ids of all
 * in order, once to see who stays and once to write what belongs to them. */
#ifndef VQ_INDEX_MERGE_H
#define VQ_INDEX_MERGE_H

#include "index/docwrite.h"
#include "index/searcher.h"
#include "src/base/table.h"

typedef struct vq_places { /* list << 32 | slot; rising, once all are there */
    uint64_t *at;          /* owned */
    size_t n, room;
} vq_places;

typedef struct vq_merge_part { /* an index that goes in */
    vq_file *file;
    vq_shard shard;
    vq_places gone, gone_copies; /* vectors that another index's take the place of; their copies */
    uint32_t *base, *copy_base;  /* nlist: where its vectors, and copies, begin in a list */
    uint64_t *labels; /* string ids: the label of a vector in the new index, by its label here;
                         VQ_NO_ID: it has none.  NULL: labels are the ids */
    uint64_t nlabels;
    uint32_t *tags; /* the numbers of its tags in the new index; UINT32_MAX: not met yet */
    uint32_t ntags;
    uint64_t documents; /* found by ids */
    vq_packer *packer;  /* of its payloads; NULL until one is unpacked */
    bool repack;        /* they were packed with another dictionary */
} vq_merge_part;

typedef struct vq_merger {
    vq_merge_part *parts;
    size_t n;
    uint32_t keep;  /* VQ_KEEP_* */
    vq_model model; /* of the new index; arrays are those of the first part */
    vq_store *store;
    vq_ticker ticker;
    vq_docs docs;     /* tags and bits */
    vq_table numbers; /* of tags, by the hashes of their texts */
} vq_merger;

/* Which vectors stay, and under which labels: fills gone, gone_copies, labels and model.n. */
vq_status vq_merge_plan_ids(vq_merger *m, vq_error *err);
/* ids, names and what vectors carry; base and copy_base are there. */
vq_status vq_merge_write_ids(vq_merger *m, vq_error *err);

/* Where a vector of a part, or one of its copies, lies in the new index.  VQ_ECORRUPT: there is no
 * such place, or what lies there does not stay. */
vq_status vq_merge_moved(vq_merge_part *p, bool copy, uint64_t place, uint64_t *to, vq_error *err);

/* o: as in vq_merge. */
vq_status vq_merge_files(const char *const *paths, size_t n, const char *out,
                         const vq_merge_opts *o, vq_error *err);

#endif
