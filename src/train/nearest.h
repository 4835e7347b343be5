/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.h -- the nearest of centroids for tiles of rows, and second ones: all are looked at, or,
 * where they lie in groups, those that the groups tell of. */
#ifndef VQ_TRAIN_NEAREST_H
#define VQ_TRAIN_NEAREST_H

#include "src/train/groups.h"

/* A rule for it is measured so that a row's best three are among the best 8 by the codes: then its
 * nearest is, also of rows that are not quite like those measured. */
enum { VQ_NEAREST_WANT = 8, VQ_NEAREST_SURE = 3 };

typedef struct vq_nearest {
    const vq_kernels *k;
    const float *centroids; /* n x d; borrowed */
    size_t n, d;
    float *bias; /* n: -|c|^2 / 2; owned */
    /* where there are groups; else no memory */
    float *half; /* n: |c|^2 / 2; owned */
    vq_groups groups;
    vq_group_rule rule;
    vq_bytemat bytes; /* the centroids; */
    void *memory;     /* ..owned */
} vq_nearest;

/* sizes (count numbers, see vq_grouped) and a rule where there are groups; count 0: there are none.
 */
vq_status vq_nearest_init(vq_nearest *s, const float *centroids, size_t n, size_t d,
                          const float *sizes, size_t count, vq_group_rule rule, vq_error *err);
void vq_nearest_fini(vq_nearest *s); /* accepts one that is all zero */
/* The centroids lie elsewhere now; they are the same. */
void vq_nearest_move(vq_nearest *s, const float *centroids);

/* Of n <= VQ_ASSIGN_TILE rows (n x d) the nearest centroids: with groups now and then the second
 * nearest.  One thread; scratch: vq_nearest_scratch floats.  Bits do not depend on threads when the
 * caller's tiles are fixed. */
void vq_nearest_assign(const vq_nearest *s, const float *x, size_t n, float *scratch,
                       uint32_t *assign);
/* ..and second ones as vq_spill_assign has them, with groups among the nearest. */
void vq_nearest_second(const vq_nearest *s, const float *x, size_t n, const uint32_t *assign,
                       float *scratch, uint32_t *second);
size_t vq_nearest_scratch(const vq_nearest *s);

#endif
