/* SPDX-License-Identifier: Apache-2.0 */
/* pending.h -- changes to an index that wait for their commit: which ids they touch, and the new
 * vectors, encoded.  Nothing here writes; update.c does. */
#ifndef VQ_INDEX_PENDING_H
#define VQ_INDEX_PENDING_H

#include "index/docpending.h"
#include "index/encode.h"
#include "index/searcher.h"
#include "src/base/table.h"

#define VQ_NO_PLACE  UINT64_MAX
#define VQ_NO_VECTOR UINT32_MAX

typedef struct vq_pending_id { /* an id that was looked up */
    uint64_t id;               /* numbers: the id; names: the label, if it is in the snapshot */
    char *name;                /* or NULL; owned */
    uint64_t place, copy;      /* in the snapshot, or VQ_NO_PLACE */
    uint32_t vector;           /* its new vector, or VQ_NO_VECTOR */
    bool removed;              /* the vector at place goes */
    bool forget;               /* what it carried goes, too: it has been deleted, by and by */
    bool moved;                /* its new vector is the old one, for another list (split.h) */
    uint32_t change;           /* of what it carries, or VQ_NO_CHANGE */
    uint64_t call;             /* the last call that named it, from 1 */
    uint64_t row;              /* where, in that call */
} vq_pending_id;

typedef struct vq_split { /* what split.h makes of a batch; nlist 0: nothing */
    uint32_t nlist;       /* lists after it */
    float *centroids;     /* nlist x d_code; owned */
    float *routes;        /* nlist x d_code, or NULL: the model has none; owned */
    float *biases;        /* nlist; owned */
    size_t first;         /* vectors of the batch from here on are those that went elsewhere */
    uint32_t *instead;    /* of these: the vector of the batch that each replaces, or VQ_NO_VECTOR:
                             one of the snapshot; owned */
    double were;          /* sum of the squared distances of the latter before */
} vq_split;

typedef struct vq_pending {
    vq_shard *shard; /* the snapshot, which is the newest one until the commit; borrowed */
    bool copies;     /* new vectors may get a copy */
    bool strings;
    int threads;
    vq_pending_id *ids; /* nids */
    size_t nids, ids_room;
    vq_table table; /* of ids, or hashes of names */
    uint64_t calls;
    uint64_t next; /* the id that the next vector without one gets */
    /* new vectors; those that are not of their id any more are left out of the commit */
    size_t n, cap;
    uint32_t *owner, *lists, *copy_lists; /* owner: of ids[] */
    float *factors, *copy_factors;
    float *far; /* squared distances to the lists' centroids */
    uint8_t *codes, *copy_codes, *rows;
    uint64_t clamped;
    vq_pending_docs docs;
    vq_split split; /* while it is committed */
    /* a block on its way */
    vq_encoder *encoder;
    size_t block;
    void *in;          /* block x d, as they come */
    float *wide;       /* block x d */
    uint64_t *numbers; /* block */
    uint32_t *picks;   /* ids of a call; npicks */
    size_t npicks;
} vq_pending;

vq_status vq_pending_init(vq_pending *b, vq_shard *shard, int threads, vq_error *err);
void vq_pending_fini(vq_pending *b);
/* Forgets all changes.  The shard may have moved on. */
vq_status vq_pending_clear(vq_pending *b, vq_error *err);
bool vq_pending_empty(const vq_pending *b);

typedef struct vq_id_list { /* numbers or names, or neither */
    const uint64_t *ids;
    const char *const *names;
    uint64_t n;
} vq_id_list;
/* All rows of src.  upsert: ids may be there, else they must not.  On failure the batch is as
 * before. */
vq_status vq_pending_put(vq_pending *b, vq_source *src, const vq_id_list *ids, bool upsert,
                         vq_ticker *ticker, vq_error *err);
vq_status vq_pending_remove(vq_pending *b, const vq_id_list *ids, vq_error *err);
/* Of attributes that have been checked. */
vq_status vq_pending_set(vq_pending *b, const vq_attributes *a, vq_error *err);

/* For split.c.  More vectors, without an owner yet. */
vq_status vq_pending_append(vq_pending *b, const vq_encoded *x, size_t n, vq_error *err);
/* The entry, among ids, of a vector of the snapshot. */
vq_status vq_pending_entry(vq_pending *b, uint64_t place, uint32_t *out, vq_error *err);

#endif
