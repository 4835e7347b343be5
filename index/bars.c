/* SPDX-License-Identifier: Apache-2.0 */
/* bars.c -- codes with error bars: which vectors deserve a closer look.  Of each part of a list the
 * scan leaves those that may be among the best k by what it has read of their codes.  Of these the
 * surest are read to the end at once, so that the k-th best rises while the lists are still coming;
 * the others wait, and most of them need no reading when the k-th best is known.  Where there are
 * rows it is the k-th best by rows: the best of many estimates are those that err upwards most, and
 * a k-th best of estimates would leave out more neighbours than their bars do.  Other rows are read
 * in the order of what they may score at best, until the next cannot be among the best: there is no
 * depth to guess.
 *
 * A bar is a band of confidence, not a bound: of the true neighbours, a part as small as the tail
 * of a normal law lies outside.  That is why it prunes. */
#include <math.h>

#include "index/searcher.h"
#include "src/math/score.h"

enum { AHEAD = 4 };    /* codes that the memory is asked for before they are read */
#define SLACK 0x1p-18f /* that floats of estimates may be off by, of what they are sums of */

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
    *l = (vq_look){.x = x, .tables = tables, .exact = e->exact, .list = UINT32_MAX, .err = err};
    l->two = m->codec->two(&m->code) != 0;
    l->y_sq = (float)w->k->sq_row_f32(x->y, m->d_code);
    l->length = turned_length(m, x);
    l->sight = (vq_sight){.centred = m->metric == VQ_METRIC_L2,
                          .width = e->bars,
                          .noise = w->s->brief.blur * l->length};
    float *heap = vq_arena_take(arena, e->k, sizeof *heap);
    l->slots = vq_arena_take(arena, room, sizeof *l->slots);
    l->scores = vq_arena_take(arena, room, sizeof *l->scores);
    l->most = vq_arena_take(arena, room, sizeof *l->most);
    l->seen = vq_arena_take(arena, all, sizeof *l->seen);
    l->hits = vq_arena_take(arena, all, sizeof *l->hits);
    l->known = l->exact ? all : 0;
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
    vq_sight *at = &l->sight;
    if (l->list == list) return;
    l->list = list;
    at->share = share_of(l, w, list);
    at->base = w->k->dot_f32(l->x->y, m->centroids + (size_t)list * m->d_code, m->d_code);
    at->from = at->centred ? at->base - m->biases[list] : at->base;
    at->away = at->centred ? sqrtf(VQ_MAX(l->y_sq - 2.0f * at->from, 0.0f)) : 0.0f;
}

/* The most that a candidate may score, by the estimate of its whole code. */
static float most_of(const vq_look *l, const vq_scan *w, const vq_seen *c, float estimate)
{
    const vq_model *m = &w->s->model;
    const vq_sight *at = &l->sight;
    vq_bar bar;
    m->codec->bar(&m->code, l->tables, c->chunk->codes, c->slot, 1, &bar);
    /* Products that l2 estimates are with the query less the centroid, at this distance. */
    float from = at->centred ? c->base - m->biases[c->list] : c->base;
    float away = at->centred ? bar.l2 * sqrtf(VQ_MAX(l->y_sq - 2.0f * from, 0.0f)) : bar.ip;
    float product = estimate - from + (at->centred ? bar.half : 0.0f); /* of what is decoded */
    float noise = 2.0f * bar.half * at->noise * at->noise;
    float share = share_of(l, w, c->list);
    return estimate + bar.turn * product + at->width * sqrtf(away * away + noise + share * share);
}

/* A score as the codes estimate it, in the order of scores that are handed out; larger is better.
 */
static float handed_out(const vq_model *m, const vq_query *x, float estimate)
{
    if (m->metric != VQ_METRIC_L2) return (float)((double)estimate + x->offset);
    return (float)(2.0 * (double)estimate - x->offset);
}

/* The row of a place, scored in the order of scores that are handed out; larger is better. */
static vq_status score_row(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                           uint64_t place, float *score, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    const uint8_t *row;
    VQ_TRY(vq_shard_row(s, place, &row, err));
    *score = vq_exact_score(k, m->metric, m->store, x->wide, x->q_sq, row, m->d, x->unit);
    if (!vq_metric_larger(m->metric)) *score = -*score;
out:
    return rc;
}

/* A candidate whose whole code has been read raises the k-th best: by its row where rows come
 * after, if the code says that it is among the best.  One that a copy has found does not: its list
 * may not have been looked up. */
static void raise_kth(vq_look *l, const vq_scan *w, vq_pool *pool, uint64_t place, float estimate)
{
    const vq_query *x = l->x;
    float score;
    if (!l->exact) {
        vq_kth_push(&l->kth, estimate);
        return;
    }
    if (l->rc != VQ_OK || vq_copies_place(place) != place) return;
    if (l->kth.n >= l->kth.k && !(estimate > l->kth.worst)) return;
    l->rc = score_row(w->s, w->k, x, place, &score, l->err);
    if (l->rc != VQ_OK) return;
    pool->scored++;
    if (pool->nknown < l->known)
        pool->known[pool->nknown++] = (vq_hit){.score = score, .id = place};
    double least = (double)score - (double)SLACK * (fabs((double)score) + fabs(x->offset));
    double of_l2 = 0.5 * (least + x->offset);
    vq_kth_push(&l->kth, (float)(w->s->model.metric == VQ_METRIC_L2 ? of_l2 : least - x->offset));
}

/* The whole code of a candidate: its score is final as far as codes go. */
static void read_code(vq_look *l, const vq_scan *w, vq_pool *pool, size_t at)
{
    const vq_code_model *code = &w->s->model.code;
    const vq_seen *c = &l->seen[at];
    float score = c->base + code->codec->score(code, w->k, l->tables, c->chunk->codes, c->slot);
    if (c->chunk->factors != NULL) score -= c->chunk->factors[c->slot];
    pool->codes += l->two;
    raise_kth(l, w, pool, pool->places[at], score);
    pool->scores[at] = score;
    l->seen[at].read = true;
    if (l->exact) pool->most[at] = most_of(l, w, c, score);
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
        if (!sure) continue;
        if (l->two) code->codec->fetch(code, l->seen[i].chunk->codes, l->seen[i].slot);
        l->hits[n++].id = i;
    }
    for (size_t i = 0; i < n; i++) { /* those before may have left no place for it */
        size_t at = (size_t)l->hits[i].id;
        if (most > 0 || l->seen[at].estimate > l->kth.worst) read_code(l, w, pool, at);
    }
}

size_t vq_look_part(vq_look *l, const vq_scan *w, const vq_marks *copies, vq_part part,
                    vq_pool *pool)
{
    const vq_code_model *code = &w->s->model.code;
    const vq_chunk_view *v = &w->s->lists[part.list].chunks[part.chunk];
    size_t first = pool->n;
    turn_to(l, w, part.list);
    size_t kept =
        code->codec->scan_bars(code, w->k, l->tables, vq_part_codes(w->s, part),
                               v->factors != NULL ? v->factors + part.first : NULL, part.n,
                               &l->sight, l->kth.worst, w->scratch, l->slots, l->scores, l->most);
    for (size_t j = 0; j < kept; j++) {
        w->idx[j] = l->slots[j];
        pool->scores[first + j] = (float)j; /* their numbers: some will be left out */
    }
    kept = vq_scan_keep(w, copies, part, kept, pool);
    for (size_t i = first; i < pool->n; i++) {
        size_t j = (size_t)pool->scores[i];
        pool->most[i] = l->most[j];
        l->seen[i] = (vq_seen){.chunk = v,
                               .slot = part.first + l->slots[j],
                               .list = part.list,
                               .estimate = l->scores[j],
                               .base = l->sight.base};
    }
    read_best(l, w, pool, first);
    return kept;
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

#define NOWHERE UINT64_MAX /* no place */

typedef struct ranking {
    const vq_shard *s;
    const vq_kernels *k;
    const vq_query *x;
    const vq_pool *pool;
    vq_kth kth;
    vq_hit *known; /* the pool's, by a hash of their places: mask + 1, of which half are NOWHERE */
    size_t mask;
} ranking;

static size_t slot_of(const ranking *r, uint64_t place)
{
    size_t at = (size_t)((place * 0x9e3779b97f4a7c15u) >> 32) & r->mask;
    while (r->known[at].id != NOWHERE && r->known[at].id != place) at = (at + 1) & r->mask;
    return at;
}

static vq_status hash_known(ranking *r, vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pool *pool = r->pool;
    size_t size = 2;
    while (size < 2 * pool->nknown) size *= 2;
    r->known = vq_arena_take(arena, size, sizeof *r->known);
    r->mask = size - 1;
    VQ_REQUIRE(r->known != NULL, VQ_ENOMEM, "search: %zu rows", pool->nknown);
    for (size_t i = 0; i < size; i++) r->known[i].id = NOWHERE;
    for (size_t i = 0; i < pool->nknown; i++)
        r->known[slot_of(r, pool->known[i].id)] = pool->known[i];
out:
    return rc;
}

/* NULL: its row has not been scored. */
static const vq_hit *known_row(const ranking *r, uint64_t place)
{
    const vq_hit *h = &r->known[slot_of(r, place)];
    return h->id == place ? h : NULL;
}

/* The row of a candidate joins the best. */
static vq_status take_row(ranking *r, uint64_t place, vq_reservoir *best, uint64_t *rows,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t slot;
    const vq_chunk_view *v = vq_shard_at(r->s, place, &slot);
    const vq_hit *known = known_row(r, place);
    float score;
    if (known != NULL) {
        score = known->score;
    } else {
        VQ_TRY(score_row(r->s, r->k, r->x, place, &score, err));
        ++*rows;
    }
    vq_kth_push(&r->kth, score);
    vq_reservoir_push(best, score, vq_le64(v->labels + 8 * (size_t)slot));
out:
    return rc;
}

/* The rows of those that may still be among the best k: the first k, then the others in order. */
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
    VQ_TRY(hash_known(r, arena, err));
    for (; n < pool->n; n++) {
        const vq_hit *known = known_row(r, pool->places[n]);
        float most = handed_out(&r->s->model, r->x, pool->most[n]);
        hits[n] = (vq_hit){.score = known != NULL ? known->score : most, .id = n};
    }
    vq_hits_select(hits, n, first);
    for (; i < first; i++) VQ_TRY(take_row(r, pool->places[hits[i].id], best, rows, err));
    n = first;
    for (size_t j = first; j < pool->n; j++)
        if (hits[j].score >= r->kth.worst) hits[n++] = hits[j];
    vq_hits_sort(hits + first, n - first);
    for (; i < n && hits[i].score >= r->kth.worst; i++)
        VQ_TRY(take_row(r, pool->places[hits[i].id], best, rows, err));
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
        stats->rows += pool->scored;
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
