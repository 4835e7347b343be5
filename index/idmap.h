/* SPDX-License-Identifier: Apache-2.0 */
/* idmap.h -- external ids of a build: which row has which label, in which order they stand, and
 * where each vector went. */
#ifndef VQ_INDEX_IDMAP_H
#define VQ_INDEX_IDMAP_H

#include "index/file.h"

typedef struct vq_idmap {
    size_t n;                 /* vectors */
    uint64_t *labels;         /* n: label of the i-th vector; NULL: i */
    uint32_t *ranks;          /* n: place of its label among all labels; NULL: i */
    uint32_t *order;          /* n: the inverse of ranks; NULL: i */
    const char *const *names; /* of the rows as given, borrowed; NULL: labels are the ids */
    uint64_t *rows;           /* n: row number of the i-th vector; NULL: i */
    uint64_t *places;         /* n, by rank: list << 32 | slot, set as vectors are written */
    uint64_t *copies;         /* n, by rank: of its copy, or VQ_NO_ID; NULL: there are none */
} vq_idmap;

/* n good rows; skipped: the numbers of nskipped bad ones, rising.  ids or names (nids of them, one
 * a row, bad ones counted) or neither.  Refuses duplicates and names that are no names. */
vq_status vq_idmap_init(vq_idmap *im, size_t n, const uint64_t *skipped, size_t nskipped,
                        const uint64_t *ids, const char *const *names, uint64_t nids,
                        vq_error *err);
void vq_idmap_fini(vq_idmap *im);

static inline uint64_t vq_idmap_label(const vq_idmap *im, size_t i)
{
    return im->labels != NULL ? im->labels[i] : i;
}

static inline size_t vq_idmap_rank(const vq_idmap *im, size_t i)
{
    return im->ranks != NULL ? im->ranks[i] : i;
}

static inline void vq_idmap_place(vq_idmap *im, size_t i, uint32_t list, uint32_t slot)
{
    im->places[vq_idmap_rank(im, i)] = (uint64_t)list << 32 | slot;
}

/* Before the first copy of a vector is placed. */
vq_status vq_idmap_expect_copies(vq_idmap *im, vq_error *err);

/* Writes `ids` and, for strings, `names`. */
vq_status vq_idmap_write(const vq_idmap *im, vq_store *st, vq_error *err);

#endif
