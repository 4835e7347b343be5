/* SPDX-License-Identifier: Apache-2.0 */
/* rerank.c -- final scores of the candidates: from the stored rows where there are any, else the
 * codec's best estimate. */
#include <stdlib.h>

#include "index/searcher.h"
#include "src/base/bytes.h"
#include "src/math/score.h"

enum { AHEAD = 8, LINE = 64 };

static int by_place(const void *a, const void *b)
{
    const vq_hit *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static vq_status prefetch_row(const vq_shard *s, uint64_t place, vq_error *err)
{
    uint32_t slot;
    const vq_chunk_view *v = vq_shard_at(s, place, &slot);
    const uint8_t *row;
    vq_status rc = vq_shard_row(s, place, &row, err);
    if (rc != VQ_OK) return rc;
    for (size_t at = 0; at < s->model.shape.row_bytes && at < 16 * LINE; at += LINE)
        VQ_PREFETCH(row + at);
    VQ_PREFETCH(v->labels + 8 * (size_t)slot);
    return rc;
}

static float estimate(const vq_shard *s, const vq_kernels *k, const vq_query *x, const void *tables,
                      uint64_t place)
{
    const vq_model *m = &s->model;
    uint32_t slot, list = (uint32_t)(place >> 32);
    const vq_chunk_view *v = vq_shard_at(s, place, &slot);
    float base = k->dot_f32(x->y, m->centroids + (size_t)list * m->d_code, m->d_code);
    float product = base + m->codec->score(&m->code, k, tables, v->codes, slot);
    if (m->metric != VQ_METRIC_L2) return (float)((double)product + x->offset);
    double sq = x->offset - 2.0 * ((double)product - (double)v->factors[slot]);
    return sq > 0.0 ? (float)sq : 0.0f;
}

vq_status vq_query_rerank(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                          const void *tables, bool exact, vq_hit *hits, size_t n, vq_reservoir *out,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    qsort(hits, n, sizeof *hits, by_place);
    for (size_t i = 0; exact && i < VQ_MIN(n, (size_t)AHEAD); i++)
        VQ_TRY(prefetch_row(s, hits[i].id, err));
    for (size_t i = 0; i < n; i++) {
        uint32_t slot;
        const vq_chunk_view *v = vq_shard_at(s, hits[i].id, &slot);
        float score;
        if (exact) {
            const uint8_t *row;
            if (i + AHEAD < n) VQ_TRY(prefetch_row(s, hits[i + AHEAD].id, err));
            VQ_TRY(vq_shard_row(s, hits[i].id, &row, err));
            score = vq_exact_score(k, m->metric, m->store, x->wide, x->q_sq, row, m->d, x->unit);
        } else {
            score = estimate(s, k, x, tables, hits[i].id);
        }
        vq_reservoir_push(out, vq_metric_larger(m->metric) ? score : -score,
                          vq_le64(v->labels + 8 * (size_t)slot));
    }
out:
    return rc;
}
