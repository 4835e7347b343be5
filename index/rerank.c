/* SPDX-License-Identifier: Apache-2.0 */
/* rerank.c -- final scores of the candidates: from the stored rows where there are any, else the
 * codec's best estimate.  Rows of bytes are first scored in integers, with a bound on the error;
 * only those that may be among the best k are scored again in double. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "index/searcher.h"
#include "src/base/bytes.h"
#include "src/math/score.h"

enum { AHEAD = 8, LINE = 64 };

static vq_status prefetch_row(const vq_shard *s, uint64_t place, vq_error *err)
{
    const uint8_t *row;
    vq_status rc = vq_shard_row(s, place, &row, err);
    if (rc != VQ_OK) return rc;
    for (size_t at = 0; at < s->model.shape.row_bytes && at < 16 * LINE; at += LINE)
        VQ_PREFETCH(row + at);
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

/* ---- in integers ---------------------------------------------------------------------------- */

/* How one coordinate of the query in integers may differ from what it stands for: half a unit, and
 * some more for the rounding of what was rounded to it. */
#define HALF 0.502

/* A score from integers (larger is better, in the unit of rows as stored) and what it may be off
 * by: by Cauchy and Schwarz no more than the error's length times the row's. */
static float near_score(const vq_model *m, const vq_query *x, int32_t ip, uint32_t sq, double err,
                        double *off)
{
    double product = (double)x->fixed.unit * (double)ip, length = sqrt((double)sq), score;
    double size = 0.0; /* of what is rounded to float in the end, beside the score */
    *off = err * length;
    if (m->metric == VQ_METRIC_L2) {
        score = 2.0 * product - (double)sq;
        size = x->q_sq / x->unit;
        *off *= 2.0;
    } else if (m->metric == VQ_METRIC_COSINE) {
        score = sq > 0 ? product / length : 0.0;
        *off = err;
    } else {
        score = product;
    }
    *off += (fabs(score) + size) * (4.0 * (double)FLT_EPSILON);
    return (float)score;
}

/* Scores all candidates in integers, and drops those that cannot be among the best k. */
static vq_status thin_out(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                          vq_near_row_fn near, size_t best, vq_pool *pool, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    double worst = 0.0, err_length = HALF * (double)x->fixed.unit * sqrt((double)m->d);
    for (size_t i = 0; i < pool->n; i++) {
        const uint8_t *row;
        int32_t ip;
        uint32_t sq;
        double off;
        if (i + AHEAD < pool->n) VQ_TRY(prefetch_row(s, pool->places[i + AHEAD], err));
        VQ_TRY(vq_shard_row(s, pool->places[i], &row, err));
        near(x->fixed.x, row, m->d, &ip, &sq);
        pool->scores[i] = near_score(m, x, ip, sq, err_length, &off);
        worst = VQ_MAX(worst, off);
    }
    float least = k->kth_f32(pool->scores, pool->n, best);
    size_t n = 0;
    for (size_t i = 0; i < pool->n; i++) {
        pool->places[n] = pool->places[i];
        n += (double)pool->scores[i] >= (double)least - 2.0 * worst;
    }
    pool->n = n;
out:
    return rc;
}

vq_status vq_query_rerank(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                          const void *tables, bool exact, vq_pool *pool, vq_reservoir *out,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    vq_near_row_fn near = vq_near_row(k, m->store);
    for (size_t i = 0; exact && i < VQ_MIN(pool->n, (size_t)AHEAD); i++)
        VQ_TRY(prefetch_row(s, pool->places[i], err));
    if (exact && near != NULL && s->brief.memory != NULL && pool->n > out->k)
        VQ_TRY(thin_out(s, k, x, near, out->k, pool, err));
    for (size_t i = 0; i < pool->n; i++) {
        uint32_t slot;
        uint64_t place = pool->places[i];
        const vq_chunk_view *v = vq_shard_at(s, place, &slot);
        float score;
        if (exact) {
            const uint8_t *row;
            if (i + AHEAD < pool->n) VQ_TRY(prefetch_row(s, pool->places[i + AHEAD], err));
            VQ_TRY(vq_shard_row(s, place, &row, err));
            score = vq_exact_score(k, m->metric, m->store, x->wide, x->q_sq, row, m->d, x->unit);
        } else {
            score = estimate(s, k, x, tables, place);
        }
        vq_reservoir_push(out, vq_metric_larger(m->metric) ? score : -score,
                          vq_le64(v->labels + 8 * (size_t)slot));
    }
out:
    return rc;
}
