/* SPDX-License-Identifier: Apache-2.0 */
/* moving.h -- vectors that go to other lists in the commit of a batch: found among the members of
 * lists, encoded anew from their rows, and taken into the batch as if they were replaced by
 * themselves.  Which lists, split.c says. */
#ifndef VQ_INDEX_MOVING_H
#define VQ_INDEX_MOVING_H

#include "index/pending.h"
#include "src/train/kmeans.h"

/* Of rows in lists that a commit splits, and in those that it dissolves; one may have more. */
#define VQ_MOVING_BYTES ((uint64_t)64 << 20)
enum {
    VQ_MOVING_LISTS = 64,                 /* lists that a commit makes */
    VQ_MOVING_BLOCK = 4 * VQ_ASSIGN_TILE, /* rows at a time */
};
enum {                     /* what becomes of a list */
       VQ_LIST_LOOKED = 1, /* its members may go elsewhere */
       VQ_LIST_NEW = 2,    /* others give to it */
       VQ_LIST_SHUT = 4    /* nothing that moves goes there */
};

typedef struct vq_member { /* of a list, after the batch */
    uint64_t place;        /* in the snapshot, or VQ_NO_PLACE: */
    uint32_t vector;       /* ..of the batch */
    float sq; /* squared distance to its list's centroid; below 0: it counts as no farther than it
                 will be */
} vq_member;

typedef struct vq_moving {
    vq_pending *b;
    vq_shard *s;
    const vq_kernels *k;
    vq_model model;                   /* with more and more lists */
    float *centroids;                 /* room for VQ_MOVING_LISTS more; NULL: none is made; owned */
    float *routes;                    /* likewise, or NULL: the model has none */
    uint64_t n, copies;               /* vectors and copies after the batch */
    uint8_t *state;                   /* nlist before: VQ_LIST_*; owned */
    uint32_t *in, *out;               /* nlist: vectors that come and go; */
    uint32_t *copies_in, *copies_out; /* ..copies */
    uint32_t *arrivals;               /* vectors of the batch by list.. */
    uint32_t *departures;             /* ..and slots that are left, likewise, rising; */
    size_t *in_from, *out_from;       /* nlist + 1: where those of a list begin; owned */
    vq_member *members;               /* of the list at work */
    size_t nmembers, room;
    vq_member *moving; /* that go elsewhere; nmoving */
    size_t nmoving, moving_room;
    uint64_t summed;     /* list << 32 | chunk of the row that was summed last */
    void *rows;          /* a block, as an encoder takes them */
    uint32_t elem;       /* of these */
    float *wide, *coded; /* a block */
} vq_moving;

/* What a batch does to each list.  On failure, too, vq_moving_fini. */
vq_status vq_moving_init(vq_moving *w, vq_pending *b, vq_error *err);
void vq_moving_fini(vq_moving *w);
/* Those of a list that are there after the batch, into w->members.  The list has been loaded. */
vq_status vq_moving_members(vq_moving *w, uint32_t list, vq_error *err);
/* Of `want` members spaced evenly those from `first` on, as many as a block has room for, into the
 * coded space (want x d_code, from its first row on). */
vq_status vq_moving_code(vq_moving *w, size_t first, size_t want, size_t *got, float *coded,
                         vq_error *err);
/* Vectors and copies in a list of the snapshot, after the batch; where the batch takes nothing away
 * no more than whether there are any: only else the list is loaded. */
vq_status vq_moving_left(vq_moving *w, uint32_t list, uint64_t *left, vq_error *err);
/* Whether the batch takes a vector of the snapshot away from its place. */
bool vq_moving_leaves(const vq_moving *w, uint64_t place);
/* m goes to another list; it may be told more than once. */
vq_status vq_moving_add(vq_moving *w, const vq_member *m, vq_error *err);
/* dissolve.c: lists that the batch has left almost empty give all they have to others. */
vq_status vq_dissolve_lists(vq_moving *w, vq_error *err);
/* Those that go are encoded, for the lists that there are now, and vectors of the batch. */
vq_status vq_moving_encode(vq_moving *w, vq_error *err);

#endif
