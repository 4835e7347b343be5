/* SPDX-License-Identifier: Apache-2.0 */
/* nearpairs.c -- see nearpairs.h. */
#include "index/nearpairs.h"

#include <string.h>

#include "src/math/topk.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"

enum { QUERIES = 1024, LEAST_QUERIES = 256, NEAREST = 10, LISTS = 16 };
#define PAIR_BYTES ((size_t)64 << 20) /* or fewer queries */
#define PRODUCTS   ((size_t)1 << 24)  /* of queries with centroids; or fewer */

void vq_near_pairs_fini(vq_near_pairs *p)
{
    vq_mem_free(p->o);
    vq_mem_free(p->q);
    memset(p, 0, sizeof *p);
}

/* The sample, list by list, and room for one query. */
typedef struct near_work {
    const vq_model *m;
    const vq_kernels *k;
    const float *residuals;
    const uint32_t *lists;
    uint32_t *starts, *members; /* rows of list c: members[starts[c] .. starts[c + 1]) */
    float *bias, *dots;         /* nlist */
    float *q, *less;            /* d: a query; less a centroid */
} near_work;

static void near_fini(near_work *w)
{
    vq_mem_free(w->starts);
    vq_mem_free(w->members);
    vq_mem_free(w->bias);
    vq_mem_free(w->q);
}

static vq_status near_init(near_work *w, const vq_model *m, const float *residuals,
                           const uint32_t *lists, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d_code, nlist = m->nlist;
    *w = (near_work){.m = m, .k = vq_kernels_get(), .residuals = residuals, .lists = lists};
    w->starts = vq_mem_calloc(nlist + 2, sizeof *w->starts);
    w->members = vq_mem_alloc(n, sizeof *w->members);
    w->bias = vq_alloc_f32(2, nlist);
    w->q = vq_alloc_f32(2, d);
    VQ_REQUIRE(w->starts != NULL && w->members != NULL && w->bias != NULL && w->q != NULL,
               VQ_ENOMEM, "neighbours: a sample of %zu", n);
    w->dots = w->bias + nlist, w->less = w->q + d;
    vq_kmeans_bias(m->centroids, m->nlist, d, w->bias);
    for (size_t i = 0; i < n; i++) w->starts[lists[i] + 2]++;
    for (size_t c = 1; c < nlist; c++) w->starts[c + 2] += w->starts[c + 1];
    for (size_t i = 0; i < n; i++) w->members[w->starts[lists[i] + 1]++] = (uint32_t)i;
out:
    return rc;
}

/* What products with residuals of a list count with: the query, for l2 less the centroid. */
static void less_centroid(const near_work *w, uint32_t list, float *out)
{
    size_t d = w->m->d_code;
    const float *c = w->m->centroids + list * d;
    memcpy(out, w->q, d * sizeof *out);
    for (size_t j = 0; w->m->metric == VQ_METRIC_L2 && j < d; j++) out[j] -= c[j];
}

/* The vectors of a list, but for row `self`. */
static void push_list(const near_work *w, uint32_t list, size_t self, vq_reservoir *best)
{
    size_t d = w->m->d_code;
    bool centred = w->m->metric == VQ_METRIC_L2;
    less_centroid(w, list, w->less);
    float base = centred ? -0.5f * w->k->dot_f32(w->less, w->less, d) : w->dots[list];
    for (size_t i = w->starts[list]; i < w->starts[list + 1]; i++) {
        const float *o = w->residuals + w->members[i] * d;
        if (w->members[i] == self) continue;
        float score = base + w->k->dot_f32(w->less, o, d);
        if (centred) score -= 0.5f * w->k->dot_f32(o, o, d);
        vq_reservoir_push(best, score, w->members[i]);
    }
}

/* Of `all`, so many that pairs take no more than their share of memory and time. */
static size_t queries_of(const vq_model *m, size_t all)
{
    size_t bytes = 2 * NEAREST * (size_t)m->d_code * sizeof(float);
    size_t most = VQ_MIN(PAIR_BYTES / bytes, PRODUCTS / m->nlist);
    return VQ_MIN(all, VQ_MIN(VQ_MAX(most, (size_t)LEAST_QUERIES), (size_t)QUERIES));
}

/* The query in w->q against the lists that are nearest to it. */
static void add_neighbours(const near_work *w, size_t self, vq_near_pairs *to)
{
    const vq_model *m = w->m;
    size_t d = m->d_code;
    vq_hit near[2 * LISTS + 64], hits[2 * NEAREST + 64];
    vq_reservoir lists, best;
    vq_reservoir_init(&lists, near, VQ_COUNT(near), LISTS);
    vq_reservoir_init(&best, hits, VQ_COUNT(hits), NEAREST);
    for (uint32_t c = 0; c < m->nlist; c++) {
        w->dots[c] = w->k->dot_f32(w->q, m->centroids + c * d, d);
        float score = m->metric == VQ_METRIC_L2 ? w->dots[c] - w->bias[c] : w->dots[c];
        vq_reservoir_push(&lists, score, c);
    }
    size_t some = vq_reservoir_finish(&lists);
    for (size_t i = 0; i < some; i++) push_list(w, (uint32_t)near[i].id, self, &best);
    size_t found = vq_reservoir_finish(&best);
    for (size_t i = 0; i < found; i++, to->n++) {
        memcpy(to->o + to->n * d, w->residuals + hits[i].id * d, d * sizeof *to->o);
        less_centroid(w, w->lists[hits[i].id], to->q + to->n * d);
    }
}

vq_status vq_near_pairs_find(const vq_model *m, const float *residuals, const uint32_t *lists,
                             size_t n, const float *queries, size_t nq, vq_near_pairs *out,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    near_work w;
    size_t d = m->d_code, all = queries != NULL ? nq : n, count = queries_of(m, all);
    VQ_TRY(near_init(&w, m, residuals, lists, n, err));
    out->o = vq_alloc_f32(count * NEAREST, d);
    out->q = vq_alloc_f32(count * NEAREST, d);
    VQ_REQUIRE(out->o != NULL && out->q != NULL, VQ_ENOMEM, "neighbours: %zu x %zu floats",
               count * NEAREST, d);
    for (size_t i = 0; i < count; i++) {
        size_t at = vq_spaced_row(all, count, i);
        memcpy(w.q, (queries != NULL ? queries : residuals) + at * d, d * sizeof *w.q);
        for (size_t j = 0; queries == NULL && j < d; j++) w.q[j] += m->centroids[lists[at] * d + j];
        add_neighbours(&w, queries != NULL ? n : at, out);
    }
out:
    near_fini(&w);
    return rc;
}
