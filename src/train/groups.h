/* SPDX-License-Identifier: Apache-2.0 */
/* groups.h -- a search among many centroids that does not look at all of them: they lie in groups
 * of their own, some sqrt(n) of them, and have codes of a bit a coordinate.  The groups' centres
 * say which groups, the codes say which members are worth an exact look.  Flat arrays in and out.
 */
#ifndef VQ_TRAIN_GROUPS_H
#define VQ_TRAIN_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/math/fixed.h"
#include "src/math/kernels.h"
#include "src/math/topk.h"

/* Below so many centroids there are no groups: all are looked at. */
#define VQ_GROUPS_MIN 8193u

/* How far to look.  A group is scanned if its members' mean score, plus reach times what they vary
 * by, is not below the score that counts, and if the same with half of what they vary by lies no
 * more than gap, in what all vary by, below that of the best group.  Of the members scanned those
 * are taken whose estimate lies no more than slack, in what their group varies by, below the score
 * that counts. Measured: vq_groups_rule_for. */
typedef struct vq_group_rule {
    float reach, gap, slack; /* finite, not below 0 */
} vq_group_rule;

typedef struct vq_grouped { /* borrowed */
    const float *centroids; /* n x d, the members of a group next to each other */
    const float *biases;    /* n: what is taken off a product, for l2; else NULL: nothing is */
    const float *sizes;     /* count whole numbers above 0 that add up to n */
    size_t n, d, count;
    bool l2; /* biases are half the squared lengths: products rank distances */
} vq_grouped;

typedef struct vq_groups {
    vq_grouped of;
    vq_bytemat centres;      /* count x d: means of the members */
    float *bias;             /* count: the mean bias of the members */
    float *sq;               /* count: squared length of the centre */
    float *spread;           /* count: root mean squared distance of the members to it */
    float all;               /* the same of all n */
    uint32_t *first, *block; /* count + 1 each: the first member, the first block of codes */
    size_t columns;          /* coordinates with a bit, a multiple of 16 */
    uint32_t *column;        /* columns: which coordinates; d: none, to fill up */
    float *sigma;            /* columns: what a bit stands for at a scale of 1 */
    uint8_t *codes;          /* blocks of 32: the groups' codes, as pq4_scan reads them */
    uint16_t *scales;        /* f16, one a code */
    float *factors;          /* n: what is taken off an estimate; NULL: nothing */
    void *memory;            /* owned */
} vq_groups;

/* Derives all that from the arrays, which must outlive g.  One thread; a time like that of reading
 * them a few times. */
vq_status vq_groups_make(vq_groups *g, const vq_grouped *of, const vq_kernels *k, vq_error *err);
void vq_groups_free(vq_groups *g); /* accepts one that is all zero */

/* The centroids that may be among the best `want`, those that the rule was measured for or fewer,
 * for y (d floats) by y . c - bias, in no order:
 * their numbers into rows (room for n).  Returns how many; fewer than want only if numbers are not
 * finite.  scratch: vq_groups_scratch bytes, 64-byte aligned.  Allocates nothing. */
size_t vq_groups_find(const vq_groups *g, const vq_kernels *k, vq_group_rule rule, const float *y,
                      size_t want, void *scratch, uint32_t *rows);
size_t vq_groups_scratch(size_t n, size_t d, size_t count);

typedef struct vq_group_scores { /* of the groups, for a query */
    float *mean, *width;         /* count: the members' mean score, and what they vary by; */
    float *near, nearest;        /* ..with half of that, and the best of these */
    float unit;                  /* of gap */
} vq_group_scores;
/* Scores of all by their codes, in the order of the centroids; for measuring.  scores: n. */
void vq_groups_estimate(const vq_groups *g, const vq_kernels *k, const float *y, void *scratch,
                        float *scores, vq_group_scores *groups);

/* ---- making them (groupfit.c) ---- */

size_t vq_groups_count(size_t n); /* for n centroids; 0: too few for groups */
/* Brings the centroids (n x d) into groups, and into their order; sizes has room for count, and
 * *count is how many there are in the end.  Bits do not depend on threads. */
vq_status vq_groups_form(float *centroids, size_t n, size_t d, uint64_t seed, int threads,
                         float *sizes, size_t *count, vq_error *err);
/* For each of nwants (at most VQ_GROUP_WANTS) a rule by which all but a few in a thousand of the
 * best wants[i] of vectors like y (nq x d) are found; best: so many of these count (0: all). */
enum { VQ_GROUP_WANTS = 4 };
vq_status vq_groups_rule_for(const vq_groups *g, const float *y, size_t nq, const size_t *wants,
                             size_t nwants, size_t best, int threads, vq_group_rule *rules,
                             vq_error *err);

#endif
