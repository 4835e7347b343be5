/* SPDX-License-Identifier: Apache-2.0 */
/* Where the rules end a search. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/searcher.h"
#include "src/base/rng.h"
#include "tests/harness/harness.h"

enum { MOST = 700 };

static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Scores that crowd at the low end, some of them equal; or nothing but a few different ones. */
static void fill(vq_rng *r, float *scores, size_t n, int it)
{
    for (size_t i = 0; i < n; i++) {
        double u = vq_rng_f64(r);
        scores[i] = it % 5 == 0 ? (float)vq_rng_below(r, 4) : (float)(100.0 - 40.0 * log(u + 1e-9));
        if (it % 3 == 0) scores[i] = roundf(scores[i]);
    }
}

/* The score of the last candidate that is taken, one after the other. */
static float plainly(const vq_stop *t, const float *scores, size_t n, size_t keep)
{
    float sorted[MOST];
    size_t k = t->effort->k, taken = k;
    memcpy(sorted, scores, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, falling);
    for (; taken < n && sorted[taken] >= vq_stop_floor(t); taken++)
        if (!vq_rule_on(&t->effort->rows, (sorted[k - 1] - sorted[taken]) / t->unit,
                        vq_lb((uint32_t)taken + 1) - vq_lb((uint32_t)k),
                        (sorted[0] - sorted[taken]) / t->unit))
            break;
    return sorted[(taken < keep ? taken : keep) - 1];
}

Test(stop, rows)
{
    vq_rng r;
    vq_arena arena = {0};
    vq_rng_init(&r, test_seed(), 1);
    for (int it = 0; it < 3000; it++) {
        float scores[MOST], before[MOST];
        uint64_t places[MOST];
        size_t n = 1 + vq_rng_below(&r, MOST), k = 1 + vq_rng_below(&r, n < 40 ? n : 40), left = 0;
        const float abcd[4] = {(float)(4.0 * vq_rng_f64(&r)), (float)(0.2 - vq_rng_f64(&r)),
                               it % 2 == 0 ? 0.0f : -(float)vq_rng_f64(&r), -(float)vq_rng_f64(&r)};
        float rule[5] = {abcd[0], abcd[2] < 0.0f ? abcd[1] : fminf(abcd[1], 0.0f), abcd[2], abcd[3],
                         it % 4 < 2 ? 0.0f : -0.3f * (float)vq_rng_f64(&r)};
        vq_effort e = {.k = (uint32_t)k, .exact = true, .rows = vq_rule_of(rule)};
        e.gap = fmaxf(vq_rule_gap(&e.rows, 0.0f, 0.0f), 0.0f);
        vq_stop t = {
            .k = vq_kernels_get(), .effort = &e, .unit = 1.0f + 50.0f * (float)vq_rng_f64(&r)};
        float heap[40];
        vq_pool pool = {
            .scores = scores, .places = places, .n = n, .keep = k + vq_rng_below(&r, MOST)};
        vq_arena_reset(&arena);
        fill(&r, scores, n, it);
        memcpy(before, scores, n * sizeof *scores);
        vq_kth_init(&t.kth, heap, k);
        for (size_t i = 0; i < n; i++) {
            vq_kth_push(&t.kth, scores[i]);
            places[i] = i;
        }
        cr_assert(vq_stop_rows(&t, &pool, &arena));
        float least = plainly(&t, before, n, pool.keep);
        for (size_t i = 0; i < n; i++) {
            if (before[i] < least) continue;
            cr_assert(left < pool.n && places[left] == i && scores[left] == before[i],
                      "candidate %zu of %zu, k = %zu (seed %llu)", i, n, k,
                      (unsigned long long)test_seed());
            left++;
        }
        cr_assert(left == pool.n, "%zu of %zu left, not %zu (seed %llu)", pool.n, n, left,
                  (unsigned long long)test_seed());
    }
    vq_arena_fini(&arena);
}

/* Scores that are no numbers to subtract: whatever is left, the best are. */
Test(stop, rows_of_infinite_scores)
{
    static const float cases[][3] = {{INFINITY, INFINITY, 1}, {INFINITY, 2, 1}, {1, 2, -INFINITY}};
    vq_arena arena = {0};
    for (size_t c = 0; c < VQ_COUNT(cases); c++) {
        float scores[3], heap[1];
        uint64_t places[3] = {0, 1, 2};
        vq_effort e = {.k = 1, .exact = true, .gap = INFINITY};
        e.rows = vq_rule_of((const float[5]){1.0f, 0.0f, 0.0f, -0.1f});
        vq_stop t = {.k = vq_kernels_get(), .effort = &e, .unit = 1.0f};
        vq_pool pool = {.scores = scores, .places = places, .n = 3, .keep = 3};
        memcpy(scores, cases[c], sizeof scores);
        vq_kth_init(&t.kth, heap, 1);
        for (size_t i = 0; i < 3; i++) vq_kth_push(&t.kth, scores[i]);
        vq_arena_reset(&arena);
        cr_assert(vq_stop_rows(&t, &pool, &arena));
        cr_assert(pool.n >= 1 && pool.n <= 3);
        float best = fmaxf(cases[c][0], cases[c][1]);
        bool there = false;
        for (size_t i = 0; i < pool.n; i++) there |= scores[i] == best;
        cr_assert(there, "case %zu", c);
    }
    vq_arena_fini(&arena);
}

/* Each list brings a few estimates around its score. */
enum { LISTS_MOST = 600, BRINGS = 4 };
typedef struct world {
    uint32_t nlist;
    float scores[LISTS_MOST], estimates[LISTS_MOST][BRINGS];
} world;

static void make_world(vq_rng *r, world *w, int it)
{
    w->nlist = (uint32_t)(2 + vq_rng_below(r, LISTS_MOST - 2));
    fill(r, w->scores, w->nlist, it);
    for (uint32_t l = 0; l < w->nlist; l++)
        for (int j = 0; j < BRINGS; j++)
            w->estimates[l][j] = w->scores[l] + 30.0f * (float)vq_rng_normal(r);
}

static void bring(vq_kth *kth, const world *w, uint64_t list)
{
    for (int j = 0; j < BRINGS; j++) vq_kth_push(kth, w->estimates[list][j]);
}

/* Lists that the rule scans of those in order, one after the other. */
static uint32_t plain_walk(const vq_stop *t, const world *w, const vq_hit *lists)
{
    float heap[40];
    vq_kth kth;
    vq_kth_init(&kth, heap, t->effort->k);
    uint32_t i = 0;
    for (; i < w->nlist; bring(&kth, w, lists[i++].id)) {
        if (kth.n < kth.k) continue;
        float score = lists[i].score;
        if (!vq_rule_on(&t->effort->lists, (kth.worst - score) / t->unit, vq_lb(i + 1),
                        (lists[0].score - score) / t->unit))
            break;
    }
    return i;
}

/* Lists that come into order while a search goes on are those that one in order would have. */
Test(stop, lists)
{
    static world w;
    vq_rng r;
    vq_arena arena = {0};
    vq_rng_init(&r, test_seed(), 2);
    for (int it = 0; it < 2000; it++) {
        make_world(&r, &w, it);
        const float rule[5] = {
            (float)(6.0 * vq_rng_f64(&r)), it % 2 == 0 ? -(float)vq_rng_f64(&r) : 1.0f,
            it % 2 == 0 ? 0.0f : -(float)vq_rng_f64(&r), -0.3f * (float)vq_rng_f64(&r),
            it % 3 == 0 ? 0.0f : -(float)vq_rng_f64(&r)};
        vq_effort e = {.k = (uint32_t)(1 + vq_rng_below(&r, 40)), .lists = vq_rule_of(rule)};
        vq_stop t = {.k = vq_kernels_get(),
                     .effort = &e,
                     .unit = 1.0f + 50.0f * (float)vq_rng_f64(&r),
                     .nlist = w.nlist,
                     .arena = &arena};
        float heap[40], rest[LISTS_MOST];
        vq_hit all[LISTS_MOST], first[VQ_SORT_LISTS];
        vq_arena_reset(&arena);
        vq_kth_init(&t.kth, heap, e.k);
        for (uint32_t l = 0; l < w.nlist; l++)
            all[l] = (vq_hit){.score = rest[l] = w.scores[l], .id = l};
        vq_hits_sort(all, w.nlist);
        uint32_t n = VQ_MIN(w.nlist, (uint32_t)VQ_SORT_LISTS), i = 0;
        memcpy(first, all, n * sizeof *first);
        for (uint32_t l = 0; l < n; l++) rest[first[l].id] = NAN;
        vq_query x = {.lists = first, .nlists = n, .sorted = n, .rest = rest};
        for (; vq_stop_goes_on(&t, &x, i); i++) {
            cr_assert(x.lists[i].score == all[i].score && x.lists[i].id == all[i].id,
                      "list %u of %u (seed %llu)", i, w.nlist, (unsigned long long)test_seed());
            bring(&t.kth, &w, x.lists[i].id);
        }
        uint32_t want = plain_walk(&t, &w, all);
        cr_assert(!t.failed && i == want, "%u lists, not %u of %u (seed %llu)", i, want, w.nlist,
                  (unsigned long long)test_seed());
    }
    vq_arena_fini(&arena);
}
