/* SPDX-License-Identifier: Apache-2.0 */
/* update.h -- a batch into the file: what moves where (pure planning over a snapshot), and the one
 * transaction that writes it. */
#ifndef VQ_INDEX_UPDATE_H
#define VQ_INDEX_UPDATE_H

#include "index/docwrite.h"
#include "index/pending.h"

#define VQ_FRESH (UINT64_C(1) << 63) /* in vq_edit.from: a vector of the batch; else a place */

typedef struct vq_edit { /* a slot that gets other contents */
    uint64_t at;         /* list << 32 | slot */
    uint64_t from;       /* the slot of the snapshot that moves there, or VQ_FRESH | vector */
} vq_edit;

typedef struct vq_resize { /* a list that loses or gets slots */
    uint32_t list, was, is;
} vq_resize;

typedef struct vq_half { /* of the plan: all vectors, or all copies */
    bool copies;
    vq_edit *edits; /* by place */
    size_t nedits;
    vq_resize *resizes; /* by list */
    size_t nresizes;
    uint64_t *stale; /* slots whose contents stay, but for the place they name; copies only */
    size_t nstale;
    vq_table moved;   /* the place that an edit moves away -> edit */
    uint64_t *places; /* of the batch's vectors, or their copies; VQ_NO_PLACE where there is none */
    uint64_t *chunks; /* to be written: list << 32 | chunk, by place */
    size_t nchunks;
    uint64_t *row_chunks; /* of rows, where there are any; those of copies have none */
    size_t nrow_chunks;
} vq_half;

typedef struct vq_id_edit { /* a key of `ids` */
    size_t key;             /* in keys */
    uint32_t len;
    uint64_t place, copy; /* VQ_NO_PLACE: the key goes; there is no copy */
} vq_id_edit;

typedef struct vq_name_edit { /* by label */
    uint64_t label;
    const char *name; /* NULL: it goes */
} vq_name_edit;

typedef struct vq_update {
    vq_pending *batch;
    vq_shard *shard;
    vq_half vectors, copies;
    uint64_t *labels; /* of the batch's vectors */
    vq_id_edit *ids;  /* by key */
    size_t nids, ids_room;
    uint8_t *keys;
    size_t nkeys, keys_room;
    vq_name_edit *names;
    size_t nnames;
    vq_docs docs;
    uint64_t added, replaced, deleted, set;
    vq_model model; /* as it is after this */
} vq_update;

/* What a batch does to the snapshot of its shard. */
vq_status vq_update_plan(vq_update *u, vq_pending *b, vq_error *err);
void vq_update_fini(vq_update *u);
/* Writes it (a vq_change_fn); the file is as the snapshot says. */
vq_status vq_update_write(void *update, vq_change *c, vq_error *err);

/* docplan.c: the part of the plan that is about attributes; the slots and labels are planned. */
vq_status vq_update_docs(vq_update *u, vq_error *err);

/* Where the slot at a place is after this. */
static inline uint64_t vq_half_moved(const vq_half *h, uint64_t place)
{
    uint32_t i = vq_table_find(&h->moved, place, NULL, NULL);
    return i != VQ_TABLE_NONE ? h->edits[i].at : place;
}

#endif
