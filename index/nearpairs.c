/* SPDX-License-Identifier: Apache-2.0 */
/* nearpairs.c -- see nearpairs.h. */
#include "index/nearpairs.h"

#include <math.h>
#include <string.h>

#include "src/base/team.h"
#include "src/math/topk.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"

enum { QUERIES = 2048, LEAST_QUERIES = 256, NEAREST = 10, LISTS = 16 };
#define PAIR_BYTES ((size_t)64 << 20) /* or fewer queries */
#define PRODUCTS   ((size_t)1 << 24)  /* of queries with centroids; or fewer */

void vq_near_pairs_fini(vq_near_pairs *p)
{
    vq_mem_free(p->o);
    vq_mem_free(p->q);
    memset(p, 0, sizeof *p);
}

/* The sample, list by list, and room for a query a thread. */
typedef struct near_work {
    const vq_model *m;
    const vq_kernels *k;
    const float *residuals;
    const uint32_t *lists;
    size_t n;
    const float *queries;       /* or NULL: the sample asks; all of them, of which count do */
    const float *mean;          /* of nearpairs.h */
    size_t all, count, nearest; /* neighbours of each that are looked for */
    uint32_t *starts, *members; /* rows of list c: members[starts[c] .. starts[c + 1]) */
    float *bias;                /* nlist: minus half of the centroids' squared lengths */
    float *scratch; /* threads x room: products with centroids, a query, that less one */
    size_t room;
    vq_hit *found; /* count x nearest: rows, by falling score; NaN: there is none */
} near_work;

static void near_fini(near_work *w)
{
    vq_mem_free(w->starts);
    vq_mem_free(w->members);
    vq_mem_free(w->bias);
    vq_mem_free(w->scratch);
    vq_mem_free(w->found);
}

/* Of the sample so many neighbours as it holds of the ten best of all vectors: those behind them
 * are further away than what a search is for. */
static size_t nearest_of(const vq_model *m, size_t n)
{
    double share = (double)NEAREST * (double)n / (double)VQ_MAX(m->n, (uint64_t)n);
    return (size_t)VQ_MAX(lround(share), 1L);
}

/* Of `all`, so many that pairs take no more than their share of memory and time. */
static size_t queries_of(const vq_model *m, size_t all, size_t nearest)
{
    size_t bytes = 2 * nearest * (size_t)m->d_code * sizeof(float);
    size_t most = VQ_MIN(PAIR_BYTES / bytes, PRODUCTS / m->nlist);
    return VQ_MIN(all, VQ_MIN(VQ_MAX(most, (size_t)LEAST_QUERIES), (size_t)QUERIES));
}

static vq_status near_init(near_work *w, const vq_model *m, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d_code, nlist = m->nlist;
    w->m = m, w->k = vq_kernels_get();
    w->nearest = nearest_of(m, w->n);
    w->count = queries_of(m, w->all, w->nearest);
    w->room = nlist + 2 * d;
    w->starts = vq_mem_calloc(nlist + 2, sizeof *w->starts);
    w->members = vq_mem_alloc(w->n, sizeof *w->members);
    w->bias = vq_alloc_f32(1, nlist);
    w->scratch = vq_alloc_f32((size_t)threads, w->room);
    w->found = vq_mem_alloc(w->count, w->nearest * sizeof *w->found);
    VQ_REQUIRE(w->starts != NULL && w->members != NULL && w->bias != NULL && w->scratch != NULL &&
                   w->found != NULL,
               VQ_ENOMEM, "neighbours: a sample of %zu", w->n);
    vq_kmeans_bias(m->centroids, m->nlist, d, w->bias);
    for (size_t i = 0; i < w->n; i++) w->starts[w->lists[i] + 2]++;
    for (size_t c = 1; c < nlist; c++) w->starts[c + 2] += w->starts[c + 1];
    for (size_t i = 0; i < w->n; i++) w->members[w->starts[w->lists[i] + 1]++] = (uint32_t)i;
out:
    return rc;
}

/* Query i of those that ask (d). */
static size_t take_query(const near_work *w, size_t i, float *q)
{
    size_t d = w->m->d_code, at = vq_spaced_row(w->all, w->count, i);
    memcpy(q, (w->queries != NULL ? w->queries : w->residuals) + at * d, d * sizeof *q);
    const float *c = w->m->centroids + (w->queries == NULL ? w->lists[at] * d : 0);
    for (size_t j = 0; w->queries == NULL && j < d; j++) q[j] += c[j];
    for (size_t j = 0; w->queries == NULL && w->mean != NULL && j < d; j++) q[j] += w->mean[j];
    return at;
}

/* What products of q with residuals of a list count with: q, for l2 less the centroid. */
static void less_centroid(const near_work *w, const float *q, uint32_t list, float *out)
{
    size_t d = w->m->d_code;
    const float *c = w->m->centroids + list * d;
    memcpy(out, q, d * sizeof *out);
    for (size_t j = 0; w->m->metric == VQ_METRIC_L2 && j < d; j++) out[j] -= c[j];
}

/* The vectors of a list, whose product with the query is `dot`, but for row `self`.  less: scratch,
 * d. */
static void push_list(const near_work *w, const float *q, uint32_t list, float dot, size_t self,
                      float *less, vq_reservoir *best)
{
    size_t d = w->m->d_code;
    bool centred = w->m->metric == VQ_METRIC_L2;
    less_centroid(w, q, list, less);
    float base = centred ? -0.5f * w->k->dot_f32(less, less, d) : dot;
    for (size_t i = w->starts[list]; i < w->starts[list + 1]; i++) {
        const float *o = w->residuals + w->members[i] * d;
        if (w->members[i] == self) continue;
        float score = base + w->k->dot_f32(less, o, d);
        if (centred) score -= 0.5f * w->k->dot_f32(o, o, d);
        vq_reservoir_push(best, score, w->members[i]);
    }
}

/* A query against the lists that are nearest to it. */
static vq_status near_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    near_work *w = ctx;
    const vq_model *m = w->m;
    size_t d = m->d_code;
    float *dots = w->scratch + (size_t)worker * w->room, *q = dots + m->nlist, *less = q + d;
    size_t self = take_query(w, task, q);
    vq_hit near[2 * LISTS + 64], hits[2 * NEAREST + 64], *to = w->found + task * w->nearest;
    vq_reservoir lists, best;
    if (w->queries != NULL) self = w->n;
    vq_reservoir_init(&lists, near, VQ_COUNT(near), LISTS);
    vq_reservoir_init(&best, hits, VQ_COUNT(hits), w->nearest);
    for (uint32_t c = 0; c < m->nlist; c++) {
        dots[c] = w->k->dot_f32(q, m->centroids + c * d, d);
        float score = m->metric == VQ_METRIC_L2 ? dots[c] + w->bias[c] : dots[c];
        vq_reservoir_push(&lists, score, c);
    }
    size_t some = vq_reservoir_finish(&lists);
    for (size_t i = 0; i < some; i++)
        push_list(w, q, (uint32_t)near[i].id, dots[near[i].id], self, less, &best);
    size_t found = vq_reservoir_finish(&best);
    for (size_t i = 0; i < w->nearest; i++) {
        to[i] = (vq_hit){.score = NAN, .id = 0};
        if (i < found) to[i] = hits[i];
    }
    return VQ_OK;
}

vq_status vq_near_pairs_find(const vq_model *m, const float *residuals, const uint32_t *lists,
                             size_t n, const float *queries, size_t nq, const float *mean,
                             int threads, vq_near_pairs *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d_code;
    near_work w = {.residuals = residuals,
                   .lists = lists,
                   .n = n,
                   .queries = queries,
                   .mean = mean,
                   .all = queries != NULL ? nq : n};
    threads = vq_team((uint32_t)threads, w.all);
    VQ_TRY(near_init(&w, m, threads, err));
    out->o = vq_alloc_f32(w.count * w.nearest, d);
    out->q = vq_alloc_f32(w.count * w.nearest, d);
    VQ_REQUIRE(out->o != NULL && out->q != NULL, VQ_ENOMEM, "neighbours: %zu x %zu floats",
               w.count * w.nearest, d);
    VQ_TRY(vq_team_run(threads, w.count, near_task, &w, err));
    for (size_t i = 0; i < w.count; i++) {
        (void)take_query(&w, i, w.scratch);
        for (size_t j = i * w.nearest; j < (i + 1) * w.nearest; j++) {
            size_t row = (size_t)w.found[j].id;
            if (isnan(w.found[j].score)) continue;
            memcpy(out->o + out->n * d, residuals + row * d, d * sizeof *out->o);
            less_centroid(&w, w.scratch, lists[row], out->q + out->n * d);
            out->n++;
        }
    }
out:
    near_fini(&w);
    return rc;
}
