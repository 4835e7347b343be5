/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c -- from a query as given to the coded space, and to the lists worth reading. */
#include <math.h>
#include <string.h>

#include "index/searcher.h"

size_t vq_probe_scratch(const vq_model *m)
{
    return vq_round_up((size_t)m->nlist * sizeof(float), VQ_CACHELINE) +
           VQ_MAX((size_t)m->nlist * sizeof(vq_hit), 2 * (size_t)m->d * sizeof(float));
}

void vq_query_prepare(const vq_model *m, const vq_kernels *k, vq_query *x, void *scratch)
{
    float *copy = scratch, *work = copy + m->d;
    vq_transform t = m->transform;
    for (size_t j = 0; j < m->d; j++) x->wide[j] = (double)x->q[j];
    x->q_sq = k->sq_row_f32(x->q, m->d);
    const float *q = x->q;
    if (m->metric == VQ_METRIC_COSINE) {
        float inv = x->q_sq > 0.0 ? (float)(1.0 / sqrt(x->q_sq)) : 0.0f;
        for (size_t j = 0; j < m->d; j++) copy[j] = x->q[j] * inv;
        q = copy;
    }
    if (m->metric == VQ_METRIC_L2) {
        /* |q - x|^2 = |q - mean|^2 - 2 (product - |x - mean|^2 / 2), vectors less the mean */
        x->offset = k->l2sq_row_f32(x->wide, m->mean, m->d);
    } else {
        /* q.x = q.mean + q.(x - mean), so the query keeps its mean */
        x->offset = (double)k->dot_f32(q, m->mean, m->d);
        t.mean = NULL;
        if (m->query_map) t.matrix = m->query_matrix;
    }
    /* Rows stored scaled are compared as they lie: the query is scaled for l2, the score after. */
    double scale = (double)m->store_scale;
    x->unit = m->metric == VQ_METRIC_L2 ? 1.0 / (scale * scale) : 1.0 / scale;
    for (size_t j = 0; m->metric == VQ_METRIC_L2 && scale != 1.0 && j < m->d; j++)
        x->wide[j] *= scale;
    vq_transform_one(&t, k, q, work, x->y);
}

void vq_query_probe(const vq_model *m, const vq_kernels *k, vq_query *x, uint32_t nprobe,
                    void *scratch)
{
    float *dots = scratch;
    vq_hit *hits = (vq_hit *)(void *)((char *)scratch +
                                      vq_round_up((size_t)m->nlist * sizeof *dots, VQ_CACHELINE));
    k->matvec_f32(m->centroids, m->nlist, m->d_code, m->d_code, x->y, dots);
    size_t cap = 2 * (size_t)nprobe + 32;
    if (cap < m->nlist) { /* few of many: most lists fail one comparison */
        vq_reservoir r;
        vq_reservoir_init(&r, hits, cap, nprobe);
        for (uint32_t l = 0; l < m->nlist; l++) vq_reservoir_push(&r, dots[l] - m->biases[l], l);
        (void)vq_reservoir_finish(&r);
    } else {
        for (uint32_t l = 0; l < m->nlist; l++)
            hits[l] = (vq_hit){.score = dots[l] - m->biases[l], .id = l};
        vq_hits_select(hits, m->nlist, nprobe);
        vq_hits_sort(hits, nprobe);
    }
    memcpy(x->lists, hits, nprobe * sizeof *hits);
    x->nlists = nprobe;
}
