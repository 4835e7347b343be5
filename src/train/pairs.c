/* SPDX-License-Identifier: Apache-2.0 */
/* pairs.c -- see pairs.h.  The pairs of least total distance (a bound is off by about that, not by
 * its square) would be a matching of least weight; greedy pairs, mended by exchanges for as long as
 * these gain, come within a few percent of it. */
#include "src/train/pairs.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/team.h"

enum { MOST = 256, ROUNDS = 20 };

typedef struct pair {
    size_t a, b;
} pair;

/* dist: kk x kk. */
static void distances(const float *book, size_t dsub, size_t kk, float *dist)
{
    for (size_t a = 0; a < kk; a++)
        for (size_t b = 0; b <= a; b++) {
            double sq = 0.0;
            for (size_t t = 0; t < dsub; t++) {
                double e = (double)book[t * kk + a] - (double)book[t * kk + b];
                sq += e * e;
            }
            dist[a * kk + b] = dist[b * kk + a] = (float)sqrt(sq);
        }
}

/* The two nearest that are free, again and again. */
static void greedy(const float *dist, size_t kk, pair *pairs)
{
    bool taken[MOST] = {false};
    for (size_t p = 0; p < kk / 2; p++) {
        float least = INFINITY;
        pair best = {kk, kk};
        for (size_t a = 0; a < kk; a++)
            for (size_t b = a + 1; b < kk && !taken[a]; b++) {
                /* the first free two are better than none, should distances be no numbers */
                if (taken[b] || !(best.a == kk || dist[a * kk + b] < least)) continue;
                least = dist[a * kk + b];
                best = (pair){a, b};
            }
        taken[best.a] = taken[best.b] = true;
        pairs[p] = best;
    }
}

/* Two pairs exchange partners where that brings them nearer; false: none do. */
static bool exchange(const float *dist, size_t kk, pair *pairs)
{
    bool any = false;
    for (size_t p = 0; p < kk / 2; p++)
        for (size_t q = p + 1; q < kk / 2; q++) {
            pair *x = &pairs[p], *y = &pairs[q], old = *x;
            float now = dist[x->a * kk + x->b] + dist[y->a * kk + y->b];
            float straight = dist[x->a * kk + y->a] + dist[x->b * kk + y->b];
            float crossed = dist[x->a * kk + y->b] + dist[x->b * kk + y->a];
            if (straight < now && straight <= crossed) {
                *x = (pair){old.a, y->a};
                *y = (pair){old.b, y->b};
            } else if (crossed < now) {
                *x = (pair){old.a, y->b};
                *y = (pair){y->a, old.b};
            } else {
                continue;
            }
            any = true;
        }
    return any;
}

static void reorder(float *book, size_t dsub, size_t kk, const pair *pairs)
{
    float row[MOST];
    for (size_t t = 0; t < dsub; t++, book += kk) {
        for (size_t p = 0; p < kk / 2; p++) {
            row[2 * p] = book[pairs[p].a];
            row[2 * p + 1] = book[pairs[p].b];
        }
        memcpy(book, row, kk * sizeof *row);
    }
}

typedef struct order_job {
    float *books;
    size_t dsub, kk;
} order_job;

static vq_status order_task(void *ctx, size_t j, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    const order_job *job = ctx;
    size_t dsub = job->dsub, kk = job->kk;
    float *book = job->books + j * dsub * kk, *dist = vq_alloc_f32(kk, kk);
    pair pairs[MOST / 2];
    (void)worker;
    VQ_REQUIRE(dist != NULL, VQ_ENOMEM, "codebooks: out of memory for %zu codewords", kk);
    distances(book, dsub, kk, dist);
    greedy(dist, kk, pairs);
    for (int round = 0; round < ROUNDS && exchange(dist, kk, pairs); round++) {}
    reorder(book, dsub, kk, pairs);
out:
    vq_mem_free(dist);
    return rc;
}

vq_status vq_pairs_order(float *books, size_t m, size_t dsub, size_t kk, int threads, vq_error *err)
{
    order_job job = {books, dsub, kk};
    return vq_team_run(threads, m, order_task, &job, err);
}
