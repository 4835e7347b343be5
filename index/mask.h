/* SPDX-License-Identifier: Apache-2.0 */
/* mask.h -- which vectors of a snapshot a search may answer with: a bit a slot, by list. */
#ifndef VQ_INDEX_MASK_H
#define VQ_INDEX_MASK_H

#include "index/searcher.h"

/* The ids that a searcher allows or denies; owned copies. */
struct vq_filter {
    uint32_t kind; /* VQ_FILTER_* */
    uint64_t n;
    uint64_t *numbers; /* n, or NULL: */
    char *text;        /* n names, each with its zero */
};
void vq_filter_free(vq_filter *f); /* accepts NULL */
vq_status vq_filter_make(vq_filter **out, const uint64_t *ids, const char *const *names, uint64_t n,
                         uint32_t kind, vq_error *err);

struct vq_mask {
    uint64_t matches; /* vectors that may be answered */
    uint64_t **bits;  /* nlist: a bit a slot; NULL: none of the list, as sizes say */
    uint32_t *counts; /* nlist */
    uint32_t *sizes;  /* nlist: slots that bits are for; a copy of a damaged file may name others */
    uint32_t nlist;
    uint64_t *places; /* matches, rising, where these are few; else NULL */
};
void vq_mask_free(vq_mask *m); /* accepts NULL */
/* The mask of a filter of ids, of an expression (either may be NULL), or what both allow, for the
 * snapshot of s, which owns it until it moves on. */
vq_status vq_mask_make(vq_shard *s, const vq_filter *f, const vq_expr *e, vq_error *err);

static inline bool vq_mask_has(const vq_mask *m, uint64_t place)
{
    uint32_t list = (uint32_t)(place >> 32), slot = (uint32_t)place;
    return slot < m->sizes[list] && (m->bits[list][slot / 64] >> slot % 64 & 1) != 0;
}

/* The slots of a chunk of list's vectors that are worth scanning, from *first on: all, or without a
 * mask, but for groups of 64 in which none may be answered.  Returns how many follow from *first,
 * which moves on to them; 0: no more. */
uint32_t vq_mask_part(const vq_shard *s, uint32_t list, uint32_t chunk, uint32_t *first);
/* Of the kept candidates behind those of the pool (scores and places) leaves what may be answered;
 * returns how many. */
size_t vq_mask_keep(const vq_mask *m, vq_pool *pool, size_t kept);
/* All that may be answered as candidates. */
vq_status vq_mask_all(const vq_mask *m, vq_pool *pool, vq_arena *arena, vq_error *err);

#endif
