/* SPDX-License-Identifier: Apache-2.0 */
/* nearpairs.c -- see nearpairs.h. */
#include "index/nearpairs.h"

#include <string.h>

#include "src/math/topk.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"

enum { QUERIES = 256, NEAREST = 10 };

void vq_near_pairs_fini(vq_near_pairs *p)
{
    vq_mem_free(p->o);
    vq_mem_free(p->q);
    memset(p, 0, sizeof *p);
}

/* One query against the vectors of its list; q: what their residuals are multiplied with. */
static void add_neighbours(const vq_model *m, const vq_kernels *k, const float *residuals,
                           const uint32_t *lists, size_t n, uint32_t list, size_t self,
                           const float *q, vq_near_pairs *to)
{
    size_t d = m->d_code;
    vq_hit hits[2 * NEAREST + 64];
    vq_reservoir best;
    vq_reservoir_init(&best, hits, VQ_COUNT(hits), NEAREST);
    for (size_t i = 0; i < n; i++) {
        const float *o = residuals + i * d;
        if (lists[i] != list || i == self) continue;
        float score = k->dot_f32(q, o, d);
        if (m->metric == VQ_METRIC_L2) score -= 0.5f * k->dot_f32(o, o, d);
        vq_reservoir_push(&best, score, i);
    }
    size_t found = vq_reservoir_finish(&best);
    for (size_t i = 0; i < found; i++, to->n++) {
        memcpy(to->o + to->n * d, residuals + hits[i].id * d, d * sizeof *q);
        memcpy(to->q + to->n * d, q, d * sizeof *q);
    }
}

vq_status vq_near_pairs_find(const vq_model *m, const float *residuals, const uint32_t *lists,
                             size_t n, const float *queries, size_t nq, vq_near_pairs *out,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_kernels *k = vq_kernels_get();
    size_t d = m->d_code, all = queries != NULL ? nq : n, count = VQ_MIN(all, (size_t)QUERIES);
    bool centred = m->metric == VQ_METRIC_L2;
    float *bias = vq_alloc_f32(1, m->nlist), *dots = vq_alloc_f32(1, m->nlist);
    float *q = vq_alloc_f32(1, d);
    out->o = vq_alloc_f32(count * NEAREST, d);
    out->q = vq_alloc_f32(count * NEAREST, d);
    VQ_REQUIRE(bias != NULL && dots != NULL && q != NULL && out->o != NULL && out->q != NULL,
               VQ_ENOMEM, "neighbours: %zu x %zu floats", count * NEAREST, d);
    vq_kmeans_bias(m->centroids, m->nlist, d, bias);
    for (size_t i = 0; i < count; i++) {
        size_t at = vq_spaced_row(all, count, i);
        uint32_t list;
        memcpy(q, (queries != NULL ? queries : residuals) + at * d, d * sizeof *q);
        if (queries != NULL)
            vq_kmeans_assign(k, q, 1, d, m->centroids, centred ? bias : NULL, m->nlist, dots,
                             &list);
        else
            list = lists[at];
        const float *c = m->centroids + (size_t)list * d;
        float times = (float)(queries == NULL) - (float)centred; /* of c, to be added */
        for (size_t j = 0; j < d; j++) q[j] += times * c[j];
        add_neighbours(m, k, residuals, lists, n, list, queries != NULL ? n : at, q, out);
    }
out:
    vq_mem_free(bias);
    vq_mem_free(dots);
    vq_mem_free(q);
    return rc;
}
