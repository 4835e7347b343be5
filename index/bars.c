/* SPDX-License-Identifier: Apache-2.0 */
/* bars.c -- codes with error bars: which vectors deserve a closer look.  Of each part of a list the
 * scan leaves those that may be among the best k by what it has read of their codes.  Of these the
 * surest are read to the end at once, so that the k-th best rises while the lists are still coming;
 * the others wait, and most of them need no reading when the k-th best is known.  Where there are
 * rows it is the k-th best of what candidates score at least: the best of many estimates are those
 * that err upwards most, and a k-th best of estimates would leave out more neighbours than their
 * bars do.  Rows are read when all lists are done, in the order of what they may score at best,
 * until the next cannot be among the best: there is no depth to guess.
 *
 * A bar is a band of confidence, not a bound: of the true neighbours, a part as small as the tail
 * of a normal law lies outside.  That is why it prunes. */
#include <math.h>

#include "index/searcher.h"
#include "src/math/score.h"

enum { AHEAD = 4 };    /* codes that the memory is asked for before they are read */
#define SLACK 0x1p-18f /* that floats of estimates may be off by, of what they are sums of */

/* Far from its lists a query's estimates are differences of large numbers. */
static float slack_of(const vq_query *x, float score)
{
    return SLACK * (fabsf(score) + (float)fabs(x->offset));
}

/* The length of what integers were multiplied by, which is what they blur. */
static float turned_length(const vq_model *m, const vq_query *x)
{
    if (m->metric == VQ_METRIC_L2) return (float)sqrt(x->offset);
    return m->metric == VQ_METRIC_COSINE ? 1.0f : (float)sqrt(x->q_sq);
}

/* What blurs a list's share of scores: its deviation. */
static float share_of(const vq_look *l, const vq_scan *w, uint32_t list)
{
    const float *shares = w->s->brief.shares;
    return shares != NULL ? l->length * shares[list] : 0.0f;
}

vq_status vq_look_begin(vq_look *l, const vq_scan *w, const vq_query *x, const void *tables,
                        const vq_effort *e, vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &w->s->model;
    size_t room = w->room, all = vq_pool_cap(e->candidates) + room;
    *l = (vq_look){.x = x, .tables = tables, .exact = e->exact, .list = UINT32_MAX};
    l->two = m->codec->two(&m->code) != 0;
    l->y_sq = w->k->dot_f32(x->y, x->y, m->d_code);
    l->length = turned_length(m, x);
    l->stretch = m->codec->stretch(&m->code, 1, e->bars);
    l->away = m->codec->feel(&m->code, tables, 1, NULL, 0.0f, 0.0f);
    l->sight = (vq_sight){.away = m->codec->feel(&m->code, tables, 0, NULL, 0.0f, 0.0f),
                          .centred = m->metric == VQ_METRIC_L2,
                          .width = e->bars,
                          .stretch = m->codec->stretch(&m->code, 0, e->bars),
                          .noise = w->s->brief.blur * l->length};
    float *heap = vq_arena_take(arena, e->k, sizeof *heap);
    l->slots = vq_arena_take(arena, room, sizeof *l->slots);
    l->scores = vq_arena_take(arena, room, sizeof *l->scores);
    l->most = vq_arena_take(arena, room, sizeof *l->most);
    l->seen = vq_arena_take(arena, all, sizeof *l->seen);
    l->hits = vq_arena_take(arena, all, sizeof *l->hits);
    VQ_REQUIRE(heap != NULL && l->slots != NULL && l->scores != NULL && l->most != NULL &&
                   l->seen != NULL && l->hits != NULL,
               VQ_ENOMEM, "scan: %zu vectors", room);
    vq_kth_init(&l->kth, heap, e->k);
out:
    return rc;
}

/* The list's share of scores, in floats: integers that choose lists are too coarse for it. */
static void turn_to(vq_look *l, const vq_scan *w, uint32_t list)
{
    const vq_model *m = &w->s->model;
    const float *centroid = m->centroids + (size_t)list * m->d_code;
    const float *weighed = w->s->brief.weighed;
    vq_sight *at = &l->sight;
    if (l->list == list) return;
    l->list = list;
    int parts = l->exact ? 2 : 1; /* heads; whole codes too where rows come after */
    float products[3] = {0.0f};
    size_t rows = at->centred && m->bars != NULL ? 1 + (size_t)parts : 1;
    w->k->matvec_f32(m->codec->rows(l->tables), rows, m->d_code, m->d_code, centroid, products);
    at->share = share_of(l, w, list);
    at->base = products[0];
    at->from = at->centred ? at->base - m->biases[list] : at->base;
    if (!at->centred) return;
    float away = l->y_sq - 2.0f * at->from;
    for (int whole = 0; whole < parts; whole++)
        *(whole ? &l->away : &at->away) =
            m->codec->feel(&m->code, l->tables, whole, products, away,
                           weighed != NULL ? weighed[2 * (size_t)list + (size_t)whole] : 0.0f);
}

/* What a candidate may score at least and at best, by the estimate of its whole code. */
static void bounds_of(const vq_look *l, const vq_scan *w, const vq_seen *c, float estimate,
                      float *least, float *most)
{
    const vq_model *m = &w->s->model;
    const vq_sight *at = &l->sight;
    vq_bar bar;
    m->codec->bar(&m->code, l->tables, c->chunk->codes, c->slot, 1, &bar);
    float from = at->centred ? c->base - m->biases[c->list] : c->base;
    float away = l->stretch * bar.error * c->away;
    float product = estimate - from + (at->centred ? bar.half : 0.0f); /* of what is decoded */
    float noise = 2.0f * bar.half * at->noise * at->noise;
    float share = share_of(l, w, c->list);
    float middle = estimate + bar.turn * product;
    float half = at->width * sqrtf(away * away + noise + share * share);
    *least = middle - half - slack_of(l->x, middle);
    *most = middle + half;
}

/* A score as the codes estimate it, in the order of scores that are handed out; larger is better.
 */
static float handed_out(const vq_model *m, const vq_query *x, float estimate)
{
    if (m->metric != VQ_METRIC_L2) return (float)((double)estimate + x->offset);
    return (float)(2.0 * (double)estimate - x->offset);
}

/* The whole code of a candidate: its score is final as far as codes go, and raises the k-th best:
 * by the least that it may be where rows come after. */
static void read_code(vq_look *l, const vq_scan *w, vq_pool *pool, size_t at)
{
    const vq_code_model *code = &w->s->model.code;
    const vq_seen *c = &l->seen[at];
    float score = c->base + code->codec->score(code, w->k, l->tables, c->chunk->codes, c->slot);
    if (c->chunk->factors != NULL) score -= c->chunk->factors[c->slot];
    pool->codes += l->two;
    pool->scores[at] = score;
    l->seen[at].read = true;
    float least = score;
    if (l->exact) bounds_of(l, w, c, score, &least, &pool->most[at]);
    vq_kth_push(&l->kth, least);
}

/* Whole codes of the candidates of a part that are sure to be wanted: the best k while there is no
 * k-th best to measure by, then those whose estimates alone are better than that. */
static void read_best(vq_look *l, const vq_scan *w, vq_pool *pool, size_t first)
{
    const vq_code_model *code = &w->s->model.code;
    size_t n = 0, most = l->kth.k - VQ_MIN(l->kth.n, l->kth.k), kept = pool->n - first;
    float least = -INFINITY;
    if (most > 0 && kept > most) least = w->k->kth_f32(pool->most + first, kept, most);
    for (size_t i = first; i < pool->n; i++) {
        bool sure = most > 0 ? pool->most[i] >= least : l->seen[i].estimate > l->kth.worst;
        if (l->two && (sure || most == 0))
            code->codec->fetch(code, l->seen[i].chunk->codes, l->seen[i].slot);
        if (!sure) continue;
        l->hits[n++].id = i;
    }
    for (size_t i = 0; i < n; i++) { /* those before may have left no place for it */
        size_t at = (size_t)l->hits[i].id;
        if (most > 0 || l->seen[at].estimate > l->kth.worst) read_code(l, w, pool, at);
    }
}

/* What the scan has left of a part and may score `least` or more, but not `taken` or more (NaN: no
 * such limit), goes to the pool; returns how many.  Two such steps of a part write one place more
 * than one: the pool has it, since it is shrunk as soon as `cap` are in it. */
static size_t take(vq_look *l, const vq_scan *w, const vq_marks *copies, vq_part part, size_t left,
                   float least, float taken, vq_pool *pool)
{
    size_t first = pool->n, kept = 0;
    for (size_t j = 0; j < left; j++) { /* no branch */
        w->idx[kept] = l->slots[j];
        pool->scores[first + kept] = (float)j; /* their numbers: some will be left out */
        kept += (l->most[j] >= least) & !(l->most[j] >= taken);
    }
    kept = vq_scan_keep(w, copies, part, kept, pool);
    for (size_t i = first; i < pool->n; i++) {
        size_t j = (size_t)pool->scores[i];
        pool->most[i] = l->most[j];
        l->seen[i] = (vq_seen){.chunk = &w->s->lists[part.list].chunks[part.chunk],
                               .slot = part.first + l->slots[j],
                               .list = part.list,
                               .estimate = l->scores[j],
                               .base = l->sight.base,
                               .away = l->away};
    }
    read_best(l, w, pool, first);
    return kept;
}

size_t vq_look_part(vq_look *l, const vq_scan *w, const vq_marks *copies, vq_part part,
                    vq_pool *pool)
{
    const vq_code_model *code = &w->s->model.code;
    const vq_chunk_view *v = &w->s->lists[part.list].chunks[part.chunk];
    size_t more = l->kth.k - VQ_MIN(l->kth.n, l->kth.k), kept = 0;
    turn_to(l, w, part.list);
    size_t left =
        code->codec->scan_bars(code, w->k, l->tables, vq_part_codes(w->s, part), part.ahead,
                               v->factors != NULL ? v->factors + part.first : NULL, part.n,
                               &l->sight, l->kth.worst, w->scratch, l->slots, l->scores, l->most);
    float best = NAN;
    if (more > 0 && left > more) { /* the best first: then there is something to measure by */
        best = w->k->kth_f32(l->most, left, more);
        kept = take(l, w, copies, part, left, best, NAN, pool);
    }
    return kept + take(l, w, copies, part, left, l->kth.worst, best, pool);
}

void vq_look_finish(vq_look *l, const vq_scan *w, vq_pool *pool)
{
    const vq_code_model *code = &w->s->model.code;
    size_t n = 0, left = 0;
    vq_hit *hits = l->hits;
    for (size_t i = l->done; i < pool->n; i++)
        if (!l->seen[i].read && pool->most[i] >= l->kth.worst)
            hits[n++] = (vq_hit){.score = pool->most[i], .id = i};
    vq_hits_sort(hits, n);
    for (size_t i = 0; i < n && hits[i].score >= l->kth.worst; i++) {
        const vq_seen *next = &l->seen[hits[VQ_MIN(i + AHEAD, n - 1)].id];
        if (l->two) code->codec->fetch(code, next->chunk->codes, next->slot);
        read_code(l, w, pool, (size_t)hits[i].id);
    }
    for (size_t i = l->done; i < pool->n; i++) {
        if (!l->seen[i].read) continue;
        pool->scores[l->done + left] = pool->scores[i];
        pool->most[l->done + left] = pool->most[i];
        pool->places[l->done + left++] = pool->places[i];
    }
    pool->n = l->done + left;
    vq_pool_shrink(pool, w->k);
    pool->threshold = VQ_MAX(pool->threshold, l->kth.worst);
    l->done = pool->n;
}

/* ---- rows ---- */

typedef struct ranking {
    const vq_shard *s;
    const vq_kernels *k;
    const vq_query *x;
    const vq_pool *pool;
    vq_kth kth;
} ranking;

/* The row of a place joins the best. */
static vq_status take_row(ranking *r, uint64_t place, vq_reservoir *best, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &r->s->model;
    const vq_query *x = r->x;
    const uint8_t *row;
    uint32_t slot;
    const vq_chunk_view *v = vq_shard_at(r->s, place, &slot);
    VQ_TRY(vq_shard_row(r->s, place, &row, err));
    float score = vq_exact_score(r->k, m->metric, m->store, x->wide, x->q_sq, row, m->d, x->unit);
    if (!vq_metric_larger(m->metric)) score = -score;
    vq_kth_push(&r->kth, score);
    vq_reservoir_push(best, score, vq_le64(v->labels + 8 * (size_t)slot));
out:
    return rc;
}

/* The rows of those that may still be among the best k: the first k, then the others in order.
 * *rows grows by those that were read. */
static vq_status take_rows(ranking *r, uint32_t want, vq_arena *arena, vq_reservoir *best,
                           uint64_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pool *pool = r->pool;
    size_t i = 0, n = 0, first = VQ_MIN(pool->n, (size_t)want);
    float *heap = vq_arena_take(arena, want, sizeof *heap);
    vq_hit *hits = vq_arena_take(arena, pool->n + 1, sizeof *hits);
    VQ_REQUIRE(heap != NULL && hits != NULL, VQ_ENOMEM, "search: %zu candidates", pool->n);
    vq_kth_init(&r->kth, heap, want);
    for (; n < pool->n; n++) {
        float most = handed_out(&r->s->model, r->x, pool->most[n]);
        hits[n] = (vq_hit){.score = most + slack_of(r->x, most), .id = n};
    }
    vq_hits_select(hits, n, first);
    for (; i < first; i++) VQ_TRY(take_row(r, pool->places[hits[i].id], best, err));
    n = first;
    for (size_t j = first; j < pool->n; j++)
        if (hits[j].score >= r->kth.worst) hits[n++] = hits[j];
    vq_hits_sort(hits + first, n - first);
    for (; i < n && hits[i].score >= r->kth.worst; i++)
        VQ_TRY(take_row(r, pool->places[hits[i].id], best, err));
    *rows += i;
out:
    return rc;
}

vq_status vq_look_rank(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                       const vq_effort *e, vq_arena *arena, const vq_pool *pool, vq_reservoir *best,
                       vq_search_stats *stats, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    stats->codes += pool->codes;
    if (e->exact) {
        ranking r = {.s = s, .k = k, .x = x, .pool = pool};
        VQ_TRY(take_rows(&r, e->k, arena, best, &stats->rows, err));
        goto out;
    }
    for (size_t i = 0; i < pool->n; i++) {
        uint32_t slot;
        if (pool->scores[i] < pool->threshold) continue;
        const vq_chunk_view *v = vq_shard_at(s, pool->places[i], &slot);
        float score = handed_out(m, x, pool->scores[i]);
        if (!vq_metric_larger(m->metric)) score = VQ_MIN(score, 0.0f); /* no distance is below 0 */
        vq_reservoir_push(best, score, vq_le64(v->labels + 8 * (size_t)slot));
    }
out:
    return rc;
}
