/* SPDX-License-Identifier: Apache-2.0 */
/* bars.c -- a second and third look at candidates whose codes have error bars: first the whole code
 * of those that may be among the best k by what the scan has read of it, then the stored row of
 * those that still may.  In the order of what they may score at best, so that the first that cannot
 * be among the best ends it: there is no depth to guess.
 *
 * A bar is a band of confidence, not a bound: of the true neighbours, a part as small as the tail
 * of a normal law lies outside.  That is why it prunes. */
#include <math.h>

#include "index/searcher.h"
#include "src/math/score.h"

/* A query's candidates at work. */
typedef struct look {
    const vq_shard *s;
    const vq_kernels *k;
    const vq_query *x;
    const void *tables;
    float *bases; /* nlist: q . centroid, as the scan had it.. */
    float *fine;  /* ..and as floats have it; NaN: not known yet */
    float width;  /* of a bar, in deviations */
    float y_sq;   /* squared length of the query in the coded space */
    float noise;  /* deviation of its coordinates there, where they were found in integers */
} look;

static float base_of(look *l, uint32_t list, int whole)
{
    const vq_model *m = &l->s->model;
    if (!whole && !isnan(l->bases[list])) return l->bases[list];
    if (isnan(l->fine[list]))
        l->fine[list] = l->k->dot_f32(l->x->y, m->centroids + (size_t)list * m->d_code, m->d_code);
    return l->fine[list];
}

/* The most that a candidate may score, of its estimate; whole: of the whole code. */
static float most_of(look *l, uint64_t place, float estimate, int whole)
{
    const vq_model *m = &l->s->model;
    uint32_t slot, list = (uint32_t)(place >> 32);
    const vq_chunk_view *v = vq_shard_at(l->s, place, &slot);
    float base = base_of(l, list, whole && m->codec->two(&m->code)), from = base - m->biases[list];
    vq_bar bar;
    m->codec->bar(&m->code, l->tables, v->codes, slot, whole, &bar);
    /* Products that l2 estimates are with the query less the centroid, at this distance. */
    bool centred = m->metric == VQ_METRIC_L2;
    float away = centred ? bar.l2 * sqrtf(VQ_MAX(l->y_sq - 2.0f * from, 0.0f)) : bar.ip;
    float product = centred ? estimate - from + bar.half : estimate - base; /* of what is decoded */
    float noise = 2.0f * bar.half * l->noise * l->noise;
    return estimate + bar.turn * product + l->width * sqrtf(away * away + noise);
}

/* All candidates by the most that they may score. */
static vq_hit *by_most(look *l, const vq_pool *pool, int whole, vq_arena *arena)
{
    vq_hit *hits = vq_arena_take(arena, pool->n + 1, sizeof *hits);
    for (size_t i = 0; hits != NULL && i < pool->n; i++)
        hits[i] = (vq_hit){.score = most_of(l, pool->places[i], pool->scores[i], whole), .id = i};
    if (hits != NULL) vq_hits_sort(hits, pool->n);
    return hits;
}

/* Estimates of whole codes, for those that may be among the best k. */
static vq_status look_at_codes(look *l, uint32_t k, vq_arena *arena, vq_pool *pool, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->s->model;
    vq_kth kth;
    float *heap = vq_arena_take(arena, k, sizeof *heap);
    float *scores = vq_arena_take(arena, pool->n + 1, sizeof *scores);
    uint64_t *places = vq_arena_take(arena, pool->n + 1, sizeof *places);
    vq_hit *hits = by_most(l, pool, 0, arena);
    size_t n = 0;
    VQ_REQUIRE(heap != NULL && scores != NULL && places != NULL && hits != NULL, VQ_ENOMEM,
               "search: %zu candidates", pool->n);
    vq_kth_init(&kth, heap, k);
    for (; n < pool->n && hits[n].score >= kth.worst; n++) {
        uint64_t place = pool->places[hits[n].id];
        uint32_t slot;
        const vq_chunk_view *v = vq_shard_at(l->s, place, &slot);
        places[n] = place;
        scores[n] = base_of(l, (uint32_t)(place >> 32), 1) +
                    m->codec->score(&m->code, l->k, l->tables, v->codes, slot) -
                    (v->factors != NULL ? v->factors[slot] : 0.0f);
        vq_kth_push(&kth, scores[n]);
    }
    pool->places = places;
    pool->scores = scores;
    pool->n = n;
out:
    return rc;
}

/* A score as the codes estimate it, in the order of scores that are handed out; larger is better.
 */
static float handed_out(const vq_model *m, const vq_query *x, float estimate)
{
    if (m->metric != VQ_METRIC_L2) return (float)((double)estimate + x->offset);
    return (float)(2.0 * (double)estimate - x->offset);
}

/* The rows of those that may still be among the best k. */
static vq_status look_at_rows(look *l, uint32_t k, vq_arena *arena, vq_pool *pool,
                              vq_reservoir *best, uint64_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->s->model;
    vq_kth kth;
    float *heap = vq_arena_take(arena, k, sizeof *heap);
    vq_hit *hits = by_most(l, pool, 1, arena);
    VQ_REQUIRE(heap != NULL && hits != NULL, VQ_ENOMEM, "search: %zu candidates", pool->n);
    vq_kth_init(&kth, heap, k);
    for (size_t i = 0; i < pool->n; i++, ++*rows) {
        uint64_t place = pool->places[hits[i].id];
        const uint8_t *row;
        uint32_t slot;
        if (handed_out(m, l->x, hits[i].score) < kth.worst) break;
        const vq_chunk_view *v = vq_shard_at(l->s, place, &slot);
        VQ_TRY(vq_shard_row(l->s, place, &row, err));
        float score = vq_exact_score(l->k, m->metric, m->store, l->x->wide, l->x->q_sq, row, m->d,
                                     l->x->unit);
        if (!vq_metric_larger(m->metric)) score = -score;
        vq_kth_push(&kth, score);
        vq_reservoir_push(best, score, vq_le64(v->labels + 8 * (size_t)slot));
    }
out:
    return rc;
}

vq_status vq_query_look(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                        const void *tables, const vq_effort *e, vq_arena *arena, vq_pool *pool,
                        vq_reservoir *best, vq_search_stats *stats, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    look l = {.s = s, .k = k, .x = x, .tables = tables, .width = e->bars};
    l.bases = vq_arena_take(arena, m->nlist, sizeof *l.bases);
    l.fine = vq_arena_take(arena, m->nlist, sizeof *l.fine);
    l.y_sq = (float)k->sq_row_f32(x->y, m->d_code);
    l.noise = s->brief.blur * (float)sqrt(x->q_sq);
    VQ_REQUIRE(l.bases != NULL && l.fine != NULL, VQ_ENOMEM, "search: %u lists", m->nlist);
    for (uint32_t i = 0; i < m->nlist; i++) l.bases[i] = l.fine[i] = NAN;
    for (uint32_t i = 0; i < x->nlists; i++)
        l.bases[x->lists[i].id] = x->lists[i].score + m->biases[x->lists[i].id];
    if (m->codec->two(&m->code)) {
        VQ_TRY(look_at_codes(&l, e->k, arena, pool, err));
        stats->codes += pool->n;
    }
    if (e->exact) {
        VQ_TRY(look_at_rows(&l, e->k, arena, pool, best, &stats->rows, err));
        goto out;
    }
    for (size_t i = 0; i < pool->n; i++) {
        uint32_t slot;
        const vq_chunk_view *v = vq_shard_at(s, pool->places[i], &slot);
        float score = handed_out(m, x, pool->scores[i]);
        if (!vq_metric_larger(m->metric)) score = VQ_MIN(score, 0.0f); /* no distance is below 0 */
        vq_reservoir_push(best, score, vq_le64(v->labels + 8 * (size_t)slot));
    }
out:
    return rc;
}
