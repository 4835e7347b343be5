/* SPDX-License-Identifier: Apache-2.0 */
/* kth.c -- see kth.h. */
#include "src/math/kth.h"

static void sift_up(float *heap, size_t i, float x)
{
    for (; i > 0 && heap[(i - 1) / 2] > x; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = x;
}

static void sift_down(float *heap, size_t n, float x)
{
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= x) break;
        heap[i] = heap[child];
    }
    heap[i] = x;
}

void vq_kth_take(vq_kth *t, float score)
{
    if (t->n < t->k)
        sift_up(t->heap, t->n++, score);
    else
        sift_down(t->heap, t->n, score);
    if (t->n == t->k) t->worst = t->heap[0];
}
