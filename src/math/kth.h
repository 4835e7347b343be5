/* SPDX-License-Identifier: Apache-2.0 */
/* kth.h -- the k-th best score so far: a heap of the best k with the worst at its root. */
#ifndef VQ_MATH_KTH_H
#define VQ_MATH_KTH_H

#include <math.h>
#include <stddef.h>

typedef struct vq_kth {
    float *heap; /* the caller's memory: k */
    size_t k, n;
    float worst; /* of the best k; -inf while there are fewer */
} vq_kth;

static inline void vq_kth_init(vq_kth *t, float *heap, size_t k)
{
    *t = (vq_kth){.heap = heap, .k = k, .worst = -INFINITY};
}

void vq_kth_take(vq_kth *t, float score);

static inline void vq_kth_push(vq_kth *t, float score)
{
    if (score > t->worst) vq_kth_take(t, score);
}

#endif
