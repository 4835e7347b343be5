/* SPDX-License-Identifier: Apache-2.0 */
/* topk.h -- the one top-k: a reservoir of candidates with a rising threshold, then a sort.
 * Scores here are "larger is better" whatever the metric. */
#ifndef VQ_MATH_TOPK_H
#define VQ_MATH_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct vq_hit {
    float score; /* larger is better */
    uint32_t pad;
    uint64_t id; /* ties: smaller is better */
} vq_hit;

/* Keeps the best k of what is pushed.  hits has room for cap >= 2 * k entries (cap > k); when full,
 * the best k are selected and the threshold rises. */
typedef struct vq_reservoir {
    vq_hit *hits; /* the caller's memory */
    size_t cap, n, k;
    float threshold; /* nothing below it can be among the best k; -inf at first */
} vq_reservoir;

void vq_reservoir_init(vq_reservoir *r, vq_hit *hits, size_t cap, size_t k);
void vq_reservoir_shrink(vq_reservoir *r); /* selects the best min(n, k), sets the threshold */

static inline void vq_reservoir_push(vq_reservoir *r, float score, uint64_t id)
{
    if (!(score >= r->threshold)) return;
    r->hits[r->n++] = (vq_hit){score, 0, id};
    if (r->n == r->cap) vq_reservoir_shrink(r);
}

/* The best min(n, k), best first, in hits[0..]; returns their number. */
size_t vq_reservoir_finish(vq_reservoir *r);

/* a before b: higher score, then smaller id.  A total order. */
static inline bool vq_hit_before(const vq_hit *a, const vq_hit *b)
{
    return a->score != b->score ? a->score > b->score : a->id < b->id;
}
/* Moves the best k to the front, in no order (quickselect, no allocation, worst case n log n). */
void vq_hits_select(vq_hit *hits, size_t n, size_t k);
void vq_hits_sort(vq_hit *hits, size_t n); /* best first; no allocation */

#endif
