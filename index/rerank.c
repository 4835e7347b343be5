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

/* Where the rows of a group of candidates lie; their first and last bytes are on their way.  As a
 * rule a row's page is one that the processor has forgotten: what it costs is the walk of the page
 * tables, and several are under way only if nothing but these stands between them. */
static vq_status find_rows(const vq_shard *s, const uint64_t *places, size_t n,
                           const uint8_t **rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t last = s->model.shape.row_bytes;
    for (size_t i = 0; i < n; i++) VQ_TRY(vq_shard_row(s, places[i], &rows[i], err));
    for (size_t i = 0; i < n; i++) {
        VQ_PREFETCH(rows[i]);
        VQ_PREFETCH(rows[i] + last - 1);
    }
out:
    return rc;
}

static void prefetch_row(const vq_shard *s, const uint8_t *row)
{
    for (size_t at = LINE; at < s->model.shape.row_bytes && at < 16 * LINE; at += LINE)
        VQ_PREFETCH(row + at);
}

/* Row i of the candidates, all of which are asked for in turn. */
static vq_status next_row(const vq_shard *s, vq_pool *p, size_t i, const uint8_t **row,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t at = i % VQ_POOL_ROWS, n = VQ_MIN(p->n - (i - at), (size_t)VQ_POOL_ROWS);
    if (at == 0) {
        VQ_TRY(find_rows(s, p->places + i, n, p->rows, err));
        for (size_t j = 0; j < VQ_MIN(n, (size_t)AHEAD); j++) prefetch_row(s, p->rows[j]);
    }
    if (at + AHEAD < n) prefetch_row(s, p->rows[at + AHEAD]);
    *row = p->rows[at];
out:
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

/* What the estimates of a place will read. */
static void prefetch_code(const vq_shard *s, uint64_t place)
{
    const vq_model *m = &s->model;
    uint32_t slot;
    const vq_chunk_view *v = vq_shard_at(s, place, &slot);
    const float *centroid = m->centroids + (size_t)(place >> 32) * m->d_code;
    if (m->codec->fetch != NULL) m->codec->fetch(&m->code, v->codes, slot);
    for (size_t j = 0; j < m->d_code; j += LINE / sizeof *centroid) VQ_PREFETCH(centroid + j);
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

/* vq_exact_score (larger is better) of a query that is whole, when no sum there is ever rounded. */
static float whole_score(const vq_model *m, const vq_query *x, int32_t ip, uint32_t sq)
{
    float score =
        vq_whole_score(m->metric, (double)x->fixed.unit * (double)ip, x->q_sq, (double)sq, x->unit);
    return vq_metric_larger(m->metric) ? score : -score;
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
        double off = 0.0;
        VQ_TRY(next_row(s, pool, i, &row, err));
        near(x->fixed.x, row, m->d, &ip, &sq);
        pool->scores[i] =
            x->whole ? whole_score(m, x, ip, sq) : near_score(m, x, ip, sq, err_length, &off);
        worst = VQ_MAX(worst, off);
    }
    if (pool->n <= best) goto out;
    double least = (double)k->kth_f32(pool->scores, pool->n, best) - 2.0 * worst;
    size_t n = 0;
    for (size_t i = 0; i < pool->n; i++) {
        pool->places[n] = pool->places[i];
        pool->scores[n] = pool->scores[i];
        n += (double)pool->scores[i] >= least;
    }
    pool->n = n;
out:
    return rc;
}

/* Scores as they are handed out. */
static vq_status finish(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                        const void *tables, bool exact, vq_pool *pool, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    if (!exact && m->codec->fetch_tables != NULL) m->codec->fetch_tables(&m->code, tables);
    for (size_t i = 0; i < pool->n; i++) {
        float score;
        if (!exact && i + AHEAD < pool->n) prefetch_code(s, pool->places[i + AHEAD]);
        if (exact) {
            const uint8_t *row;
            VQ_TRY(next_row(s, pool, i, &row, err));
            score = vq_exact_score(k, m->metric, m->store, x->wide, x->q_sq, row, m->d, x->unit);
        } else {
            score = estimate(s, k, x, tables, pool->places[i]);
        }
        pool->scores[i] = vq_metric_larger(m->metric) ? score : -score;
    }
out:
    return rc;
}

vq_status vq_query_rerank(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                          const void *tables, bool exact, vq_pool *pool, vq_reservoir *out,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_near_row_fn near = vq_near_row(k, s->model.store);
    bool briefly = exact && near != NULL && s->brief.memory != NULL;
    if (briefly) VQ_TRY(thin_out(s, k, x, near, out->k, pool, err));
    if (!briefly || !x->whole) VQ_TRY(finish(s, k, x, tables, exact, pool, err));
    for (size_t i = 0; i < pool->n; i++) {
        uint32_t slot;
        const vq_chunk_view *v = vq_shard_at(s, pool->places[i], &slot);
        vq_reservoir_push(out, pool->scores[i], vq_le64(v->labels + 8 * (size_t)slot));
    }
out:
    return rc;
}
