/* SPDX-License-Identifier: Apache-2.0 */
/* test_topk.c -- selection, sorting and the reservoir against qsort, on orders that break naive
 * quicksorts, with ties, and without allocation. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/topk.h"
#include "tests/harness/harness.h"

enum { MOST = 3000, ORDERS = 8 };

static vq_hit hits[MOST], want[MOST], kept[MOST];

static int by_rank(const void *a, const void *b)
{
    return vq_hit_before(a, b) ? -1 : vq_hit_before(b, a);
}

/* Random; rising; falling; all equal; few values; organ pipe; saw; one value with outliers. */
static void fill(vq_rng *r, vq_hit *h, size_t n, int order)
{
    for (size_t i = 0; i < n; i++) {
        float s = (float)i;
        switch (order) {
        case 0: s = (float)vq_rng_normal(r); break;
        case 1: break;
        case 2: s = -s; break;
        case 3: s = 1.0f; break;
        case 4: s = (float)vq_rng_below(r, 3); break;
        case 5: s = i < n / 2 ? s : (float)(n - i); break;
        case 6: s = (float)(i % 17); break;
        default: s = vq_rng_below(r, 50) == 0 ? (float)vq_rng_normal(r) : -INFINITY; break;
        }
        h[i] = (vq_hit){.score = s, .id = order % 2 == 0 ? vq_rng_below(r, n) : n - i};
    }
}

static void same(const vq_hit *a, const vq_hit *b, size_t n, int order)
{
    for (size_t i = 0; i < n; i++)
        cr_assert(a[i].score == b[i].score && a[i].id == b[i].id,
                  "order %d, n=%zu, at %zu (seed %llu)", order, n, i,
                  (unsigned long long)test_seed());
}

static size_t size_of_round(vq_rng *r, int it)
{
    return it < 40 ? (size_t)it : 1 + vq_rng_below(r, MOST - 1);
}

Test(topk, before_is_a_total_order)
{
    const vq_hit a = {2.0f, 0, 9}, b = {1.0f, 0, 1}, c = {1.0f, 0, 2};
    cr_assert(vq_hit_before(&a, &b) && vq_hit_before(&b, &c) && vq_hit_before(&a, &c));
    cr_assert(!vq_hit_before(&b, &a) && !vq_hit_before(&c, &b) && !vq_hit_before(&a, &a));
}

Test(topk, sort_is_qsort)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 31);
    for (int it = 0; it < 100; it++) {
        size_t n = size_of_round(&r, it);
        for (int order = 0; order < ORDERS; order++) {
            fill(&r, hits, n, order);
            memcpy(want, hits, sizeof want);
            qsort(want, n, sizeof *want, by_rank);
            vq_hits_sort(hits, n);
            same(want, hits, n, order);
        }
    }
}

/* Numbers that are dealt to buckets before they are sorted: evenly spread ones, a crowd and one far
 * away, a range that no float holds, one that divides to infinity, crowds at both ends. */
static float crowded(vq_rng *r, size_t i, int kind)
{
    float u = (float)vq_rng_f64(r);
    switch (kind) {
    case 0: return u;
    case 1: return i == 7 ? -0x1p126f : u;
    case 2: return i % 2 == 0 ? 3e38f : -3e38f;
    case 3: return i % 2 == 0 ? 1e-45f : 0.0f;
    default: return (i % 2 == 0 ? 0.0f : 1.0f) + u * 1e-6f;
    }
}

Test(topk, crowds_are_sorted)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 35);
    for (size_t n = 1; n < 300; n++)
        for (int kind = 0; kind < 5; kind++) {
            for (size_t i = 0; i < n; i++)
                hits[i] = (vq_hit){.score = crowded(&r, i, kind), .id = vq_rng_below(&r, n)};
            memcpy(want, hits, sizeof want);
            qsort(want, n, sizeof *want, by_rank);
            vq_hits_sort(hits, n);
            same(want, hits, n, kind);
        }
}

/* There is no order then, but an end, and nothing is lost. */
Test(topk, what_is_no_number_does_no_harm)
{
    for (size_t n = 17; n <= 256; n++)
        for (size_t at = 0; at < n; at += 5) {
            bool there[256] = {false};
            for (size_t i = 0; i < n; i++)
                hits[i] = (vq_hit){.score = i % (at + 1) == at ? NAN : (float)(i * 7 % n), .id = i};
            vq_hits_sort(hits, n);
            for (size_t i = 0; i < n; i++) {
                cr_assert(hits[i].id < n && !there[hits[i].id]);
                there[hits[i].id] = true;
            }
        }
}

Test(topk, select_is_the_front_of_qsort)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 32);
    for (int it = 0; it < 100; it++) {
        size_t n = size_of_round(&r, it), k = vq_rng_below(&r, n + 3);
        for (int order = 0; order < ORDERS; order++) {
            fill(&r, hits, n, order);
            memcpy(want, hits, sizeof want);
            qsort(want, n, sizeof *want, by_rank);
            vq_hits_select(hits, n, k);
            size_t front = k < n ? k : n;
            qsort(hits, front, sizeof *hits, by_rank);
            same(want, hits, front, order);
            qsort(hits + front, n - front, sizeof *hits, by_rank);
            same(want + front, hits + front, n - front, order); /* and nothing is lost */
        }
    }
}

/* An adversary in the manner of McIlroy (1999): it plays the quicksort of topk.c on slots without
 * values, and gives the smallest ranks left to two of the three that a pivot is chosen from, so
 * that each partition takes off two and the bound on the depth is reached. */
static size_t rank_of[MOST], slots[MOST];

static void swap_slots(size_t *a, size_t *b)
{
    size_t t = *a;
    *a = *b;
    *b = t;
}

static size_t play_partition(size_t *s, size_t n)
{
    size_t *a = &s[n / 4], *b = &s[n / 2], *c = &s[n - 1 - n / 4], i = 0, j = n;
    if (rank_of[*b] < rank_of[*a]) swap_slots(a, b);
    if (rank_of[*c] < rank_of[*b]) swap_slots(b, c);
    if (rank_of[*b] < rank_of[*a]) swap_slots(a, b);
    swap_slots(&s[0], b);
    for (size_t pivot = rank_of[s[0]];;) {
        do i++;
        while (i < n && rank_of[s[i]] < pivot);
        do j--;
        while (j > 0 && pivot < rank_of[s[j]]);
        if (i >= j) break;
        swap_slots(&s[i], &s[j]);
    }
    swap_slots(&s[0], &s[j]);
    return j;
}

static void killer(vq_hit *h, size_t n)
{
    size_t next = 0;
    for (size_t i = 0; i < n; i++) slots[i] = i, rank_of[i] = SIZE_MAX;
    for (size_t at = 0; n - at > 16;) {
        rank_of[slots[at + (n - at) / 4]] = next++;
        rank_of[slots[at + (n - at) / 2]] = next++;
        at += play_partition(slots + at, n - at) + 1;
    }
    for (size_t i = 0; i < n; i++)
        if (rank_of[slots[i]] == SIZE_MAX) rank_of[slots[i]] = next++;
    for (size_t i = 0; i < n; i++) h[i] = (vq_hit){.score = -(float)rank_of[i], .id = i};
}

Test(topk, killer_order)
{
    killer(hits, MOST);
    memcpy(want, hits, sizeof want);
    qsort(want, MOST, sizeof *want, by_rank);
    vq_hits_sort(hits, MOST);
    same(want, hits, MOST, -1);
    killer(hits, MOST);
    vq_hits_select(hits, MOST, MOST - 20);
    qsort(hits, MOST - 20, sizeof *hits, by_rank);
    same(want, hits, MOST - 20, -1);
}

Test(topk, reservoir_is_the_front_of_qsort)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 33);
    for (int it = 0; it < 200; it++) {
        size_t n = size_of_round(&r, it), k = 1 + vq_rng_below(&r, 100);
        size_t cap = 2 * k + vq_rng_below(&r, 50);
        for (int order = 0; order < ORDERS; order++) {
            fill(&r, hits, n, order);
            vq_reservoir res;
            vq_reservoir_init(&res, kept, cap, k);
            for (size_t i = 0; i < n; i++) {
                float before = res.threshold;
                vq_reservoir_push(&res, hits[i].score, hits[i].id);
                cr_assert(res.n < cap && res.threshold >= before,
                          "room, and a threshold that rises");
            }
            size_t front = k < n ? k : n;
            cr_assert(vq_reservoir_finish(&res) == front);
            memcpy(want, hits, sizeof want);
            qsort(want, n, sizeof *want, by_rank);
            same(want, kept, front, order);
        }
    }
}

Test(topk, reservoir_threshold)
{
    vq_reservoir r;
    vq_reservoir_init(&r, kept, 4, 2);
    cr_assert(isinf(r.threshold) && r.threshold < 0.0f);
    vq_reservoir_push(&r, 1.0f, 10);
    vq_reservoir_shrink(&r); /* fewer than k: nothing is known */
    cr_assert(r.n == 1 && isinf(r.threshold));
    vq_reservoir_push(&r, 3.0f, 11);
    vq_reservoir_push(&r, 2.0f, 12);
    vq_reservoir_push(&r, 0.5f, 13); /* the fourth: full */
    cr_assert(r.n == 2 && r.threshold == 2.0f);
    vq_reservoir_push(&r, 1.9f, 14);
    vq_reservoir_push(&r, NAN, 15);
    cr_assert(r.n == 2, "below the threshold, or no number");
    vq_reservoir_push(&r, 2.0f, 9); /* a tie, and the smaller id */
    cr_assert(vq_reservoir_finish(&r) == 2);
    cr_assert(kept[0].id == 11 && kept[1].id == 9);
}

Test(topk, nothing_is_allocated)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 34);
    fill(&r, hits, MOST, 0);
    vq_mem_fail_after(0);
    uint64_t count = vq_mem_count();
    vq_hits_select(hits, MOST, 100);
    vq_hits_sort(hits, MOST);
    cr_assert(vq_mem_count() == count);
}
