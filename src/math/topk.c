/* SPDX-License-Identifier: Apache-2.0 */
/* topk.c -- selection and sorting of hits in place: quickselect and quicksort, each with a bound on
 * its depth after which a heap does the rest, so that no order of the input costs more than
 * n log n. */
#include "src/math/topk.h"

#include <math.h>
#include <string.h>

enum {
    SMALL = 16,     /* so few are sorted by insertion */
    DEAL_MOST = 256 /* and so many after they have been dealt to buckets */
};

static inline void swap(vq_hit *a, vq_hit *b)
{
    vq_hit t = *a;
    *a = *b;
    *b = t;
}

static void insertion_sort(vq_hit *hits, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        vq_hit x = hits[i];
        size_t j = i;
        for (; j > 0 && vq_hit_before(&x, &hits[j - 1]); j--) hits[j] = hits[j - 1];
        hits[j] = x;
    }
}

/* Restores the heap below hits[i]: a parent comes after its children, the worst is at the root. */
static void sift_down(vq_hit *hits, size_t i, size_t n)
{
    vq_hit x = hits[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && vq_hit_before(&hits[child], &hits[child + 1])) child++;
        if (!vq_hit_before(&x, &hits[child])) break;
        hits[i] = hits[child];
    }
    hits[i] = x;
}

static void heap_sort(vq_hit *hits, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sift_down(hits, i, n);
    for (size_t last = n; last-- > 1;) {
        swap(&hits[0], &hits[last]);
        sift_down(hits, 0, last);
    }
}

/* Puts the middle one of three to the front. */
static void median_to_front(vq_hit *hits, size_t n)
{
    vq_hit *a = &hits[n / 4], *b = &hits[n / 2], *c = &hits[n - 1 - n / 4];
    if (vq_hit_before(b, a)) swap(a, b);
    if (vq_hit_before(c, b)) swap(b, c);
    if (vq_hit_before(b, a)) swap(a, b);
    swap(&hits[0], b);
}

/* Splits n >= 4 hits by a pivot: on return the pivot is at the returned place, nothing before it
 * comes after the pivot, nothing behind it comes before it.  Stops on equals, so that many equal
 * hits split evenly. */
static size_t partition(vq_hit *hits, size_t n)
{
    median_to_front(hits, n);
    const vq_hit pivot = hits[0];
    size_t i = 0, j = n;
    for (;;) {
        do i++;
        while (i < n && vq_hit_before(&hits[i], &pivot));
        do j--;
        while (j > 0 && vq_hit_before(&pivot, &hits[j]));
        if (i >= j) break;
        swap(&hits[i], &hits[j]);
    }
    swap(&hits[0], &hits[j]);
    return j;
}

static unsigned depth_bound(size_t n)
{
    unsigned depth = 2;
    for (; n > 1; n /= 2) depth += 2;
    return depth;
}

void vq_hits_select(vq_hit *hits, size_t n, size_t k)
{
    unsigned depth = depth_bound(n);
    while (k > 0 && k < n) {
        if (n <= SMALL) {
            insertion_sort(hits, n);
            return;
        }
        if (depth-- == 0) {
            heap_sort(hits, n);
            return;
        }
        size_t at = partition(hits, n);
        if (k <= at) {
            n = at; /* hits[at] and all behind it are out, or k == at and we are done */
        } else {
            hits += at + 1;
            n -= at + 1;
            k -= at + 1;
        }
    }
}

static void sort(vq_hit *hits, size_t n, unsigned depth)
{
    while (n > SMALL) {
        if (depth-- == 0) {
            heap_sort(hits, n);
            return;
        }
        size_t at = partition(hits, n), behind = n - at - 1;
        if (at < behind) { /* the smaller part recurs: the stack stays logarithmic */
            sort(hits, at, depth);
            hits += at + 1;
            n = behind;
        } else {
            sort(hits + at + 1, behind, depth);
            n = at;
        }
    }
    insertion_sort(hits, n);
}

/* Deals n hits to n buckets by their scores, best first, as scores that are spread evenly would lie
 * one in each: no branch hangs on a comparison of two hits, which a processor guesses wrong every
 * other time.  Returns the size of the largest bucket; 0: scores have no range to divide. */
static size_t deal(vq_hit *hits, size_t n)
{
    vq_hit dealt[DEAL_MOST];
    uint16_t start[DEAL_MOST + 1] = {0}, bucket[DEAL_MOST];
    float least = hits[0].score, most = hits[0].score;
    for (size_t i = 1; i < n; i++) {
        least = hits[i].score < least ? hits[i].score : least;
        most = hits[i].score > most ? hits[i].score : most;
    }
    float last = (float)(n - 1), per_score = last / (most - least);
    if (!(per_score > 0.0f && per_score < INFINITY)) return 0;
    for (size_t i = 0; i < n; i++) {
        float at = (most - hits[i].score) * per_score;
        bucket[i] = (uint16_t)(at < last ? at : last); /* what is no number, too */
        start[bucket[i] + 1]++;
    }
    size_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = start[i + 1] > largest ? start[i + 1] : largest;
        start[i + 1] = (uint16_t)(start[i + 1] + start[i]);
    }
    for (size_t i = 0; i < n; i++) dealt[start[bucket[i]]++] = hits[i];
    memcpy(hits, dealt, n * sizeof *hits);
    return largest;
}

void vq_hits_sort(vq_hit *hits, size_t n)
{
    size_t largest = n > SMALL && n <= DEAL_MOST ? deal(hits, n) : 0;
    if (largest > 0 && largest <= SMALL)
        insertion_sort(hits, n); /* none is far from its place */
    else
        sort(hits, n, depth_bound(n));
}

void vq_reservoir_init(vq_reservoir *r, vq_hit *hits, size_t cap, size_t k)
{
    *r = (vq_reservoir){.hits = hits, .cap = cap, .k = k, .threshold = -INFINITY};
}

void vq_reservoir_shrink(vq_reservoir *r)
{
    if (r->n < r->k) return;
    vq_hits_select(r->hits, r->n, r->k);
    r->n = r->k;
    float worst = INFINITY;
    for (size_t i = 0; i < r->n; i++)
        if (r->hits[i].score < worst) worst = r->hits[i].score;
    r->threshold = worst;
}

size_t vq_reservoir_finish(vq_reservoir *r)
{
    vq_reservoir_shrink(r);
    vq_hits_sort(r->hits, r->n);
    return r->n;
}
