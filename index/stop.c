/* SPDX-License-Identifier: Apache-2.0 */
/* stop.c -- the rules of relation.h at work on one query: which lists, which candidates. */
#include <string.h>

#include "index/searcher.h"

/* So many lists are put into order at once: dealing them costs less than looking for the best.  So
 * many candidates are sorted at the end of a search for the last that is taken, and steps of it. */
enum { ORDER_AT_ONCE = 256, SORT_ROWS = 16, HALVINGS = 24 };

float vq_query_unit(const vq_shard *s, const vq_kernels *k, const float *y, bool older)
{
    const vq_model *m = &s->model;
    const float *squares = m->store != VQ_ELEM_NONE && !older ? s->brief.squares : NULL;
    double sum = 0.0;
    for (size_t j = 0; squares != NULL && j < m->d_code; j++)
        sum += (double)squares[j] * ((double)y[j] * (double)y[j]);
    float unit = (float)sqrt(sum);
    if (!(unit > 0.0f && isfinite(unit))) unit = (float)sqrt(k->sq_row_f32(y, m->d_code));
    return unit > 0.0f && isfinite(unit) ? unit : 1.0f;
}

bool vq_stop_init(vq_stop *t, const vq_effort *e, const vq_shard *s, const vq_kernels *k,
                  const float *y, vq_arena *arena)
{
    float *heap = vq_arena_take(arena, e->k, sizeof *heap);
    *t = (vq_stop){.shard = s, .k = k, .effort = e, .nlist = s->model.nlist, .arena = arena};
    t->unit = vq_query_unit(s, k, y, s->model.tune.cols == VQ_TUNE_OLD_COLS);
    vq_kth_init(&t->kth, heap, e->k);
    return heap != NULL;
}

/* How many of n scores are no less. */
static uint32_t reach(const float *scores, size_t n, float least)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) count += scores[i] >= least;
    return count;
}

/* Lists with a score of floor or more, behind those that are there; false: out of memory. */
static bool gather(const vq_stop *t, vq_query *x, float floor)
{
    const float *rest = x->rest;
    uint32_t n = x->nlists;
    floor = fmaxf(floor, VQ_VACANT_SCORE / 2); /* none of those that hold nothing */
    uint32_t most = reach(rest, t->nlist, floor);
    vq_hit *lists = vq_arena_take(t->arena, (size_t)n + most + 1, sizeof *lists);
    if (lists == NULL) return false;
    memcpy(lists, x->lists, n * sizeof *lists);
    for (uint32_t l = 0; l < t->nlist; l++) { /* no branch */
        lists[n] = (vq_hit){.score = rest[l], .id = l};
        n += rest[l] >= floor;
    }
    x->lists = lists;
    x->nlists = n;
    x->rest = NULL;
    return true;
}

/* Lists that are not in order yet stay if their score is floor or more. */
static void keep(vq_query *x, float floor)
{
    uint32_t n = x->sorted;
    for (uint32_t i = n; i < x->nlists; i++)
        if (x->lists[i].score >= floor) x->lists[n++] = x->lists[i];
    x->nlists = n;
}

/* Beyond what groups are asked for all lists are scored: those that are not known yet into x->rest.
 */
static bool score_rest(vq_stop *t, vq_query *x)
{
    x->rest = vq_arena_take(t->arena, t->nlist, sizeof *x->rest);
    if (x->rest == NULL) return false;
    vq_query_scores(t->shard, t->k, x, t->scratch, x->rest);
    for (uint32_t i = 0; i < x->nlists; i++) x->rest[x->lists[i].id] = NAN;
    x->open = false;
    return true;
}

/* Asks the groups for so many lists; those that are new go behind the others, in order. */
static bool find_more(vq_stop *t, vq_query *x, uint32_t want)
{
    uint32_t n = x->nlists;
    vq_query more = *x;
    size_t words = t->nlist / 64 + 1;
    uint64_t *known = vq_arena_take(t->arena, words, sizeof *known);
    vq_hit *lists = vq_arena_take(t->arena, (size_t)n + want, sizeof *lists);
    more.lists = vq_arena_take(t->arena, want, sizeof *more.lists);
    if (known == NULL || lists == NULL || more.lists == NULL) return false;
    vq_query_probe(t->shard, t->k, &more, want, true, t->scratch);
    memset(known, 0, words * sizeof *known);
    memcpy(lists, x->lists, n * sizeof *lists);
    for (uint32_t i = 0; i < n; i++) known[lists[i].id / 64] |= UINT64_C(1) << lists[i].id % 64;
    for (uint32_t i = 0; i < want; i++) {
        uint64_t id = more.lists[i].id;
        lists[n] = more.lists[i];
        n += (known[id / 64] >> id % 64 & 1) == 0;
    }
    x->lists = lists;
    x->nlists = x->sorted = n;
    return true;
}

/* Brings in lists that groups tell of, or the scores of all others.  false: out of memory. */
static bool open_more(vq_stop *t, vq_query *x)
{
    uint32_t had = x->nlists;
    if (t->scratch == NULL)
        t->scratch = vq_arena_take(t->arena, vq_probe_scratch(&t->shard->model), 1);
    if (t->scratch == NULL) return false;
    for (uint64_t want = 4 * (uint64_t)had; x->nlists == had; want *= 4) {
        if (!vq_shard_grouped(t->shard, want)) return score_rest(t, x);
        if (!find_more(t, x, (uint32_t)want)) return false;
    }
    return true;
}

/* The next `more` lists go into order, and those whose score is that of the last of them; or all
 * that are left.  false: out of memory. */
static bool order_more(vq_stop *t, vq_query *x, uint32_t more)
{
    vq_hit *lists = x->lists + x->sorted;
    size_t n = x->nlists - x->sorted, taken = 0;
    if (n <= ORDER_AT_ONCE) {
        vq_hits_sort(lists, n);
        x->sorted = x->nlists;
        return true;
    }
    float least = -INFINITY, *scores = vq_arena_take(t->arena, n + 1, sizeof *scores);
    if (scores == NULL) return false;
    for (size_t i = 0; i < n; i++) scores[i] = lists[i].score;
    if (n > more) least = t->k->kth_f32(scores, n, more);
    for (size_t i = 0; i < n; i++) {
        if (!(lists[i].score >= least)) continue;
        vq_hit next = lists[i];
        lists[i] = lists[taken];
        lists[taken++] = next;
    }
    vq_hits_sort(lists, taken);
    x->sorted += (uint32_t)taken;
    return true;
}

void vq_stop_order(vq_stop *t, vq_query *x)
{
    if (x->open) {
        if (!open_more(t, x)) t->failed = true;
        if (t->failed || x->open) return; /* in order, or not to be had */
    }
    uint32_t at = x->sorted;
    float floor = -INFINITY;
    if (t->kth.n >= t->kth.k) {
        /* At this rank and with this k-th best: neither becomes smaller.  A little more than the
         * rule's gap, since it is the rule that decides. */
        float ahead = (t->kth.worst - t->first) / t->unit;
        float gap = vq_rule_gap(&t->effort->lists, vq_lb(at + 1), ahead);
        floor = t->kth.worst - (gap + 1e-4f * fabsf(gap)) * t->unit;
    }
    if (x->rest == NULL)
        keep(x, floor);
    else if (!gather(t, x, floor))
        t->failed = true;
    if (t->failed || !order_more(t, x, VQ_MAX(x->sorted, (uint32_t)VQ_SORT_LISTS)))
        t->failed = true;
}

/* Whether the candidate of this score is worth its row if so many, itself among them, score no
 * less. */
static bool is_worth(const vq_stop *t, float best, float score, size_t rank)
{
    return vq_rule_on(&t->effort->rows, (t->kth.worst - score) / t->unit,
                      vq_lb((uint32_t)rank) - vq_lb(t->effort->k), (best - score) / t->unit);
}

/* Leaves in the pool what has this score or more, in the order of the scan: that of places. */
static void drop_below(vq_pool *pool, float least)
{
    size_t left = 0;
    for (size_t i = 0; i < pool->n; i++) { /* no branch */
        float score = pool->scores[i];
        pool->scores[left] = score;
        pool->places[left] = pool->places[i];
        left += score >= least;
    }
    pool->n = left;
}

/* The score down to which candidates are worth their rows, and how many they are; more than k are
 * there.  The rule falls with gap, rank and drop: if it goes on at some score with all that reach
 * it, these are worth their rows, and if not, those below are not.  So the last one is
 * found by halving, and few are sorted.  false: out of memory. */
static bool find_least(const vq_stop *t, const vq_pool *pool, vq_arena *arena, float *least,
                       size_t *taken)
{
    float low = pool->scores[0], high = t->kth.worst, best = low;
    for (size_t i = 1; i < pool->n; i++) {
        float score = pool->scores[i];
        low = score < low ? score : low;
        best = score > best ? score : best;
    }
    size_t above = reach(pool->scores, pool->n, high);
    size_t open = pool->n - above; /* those of low or more, below high */
    for (int i = 0; i < HALVINGS && open > SORT_ROWS; i++) {
        float middle = low + (high - low) / 2;
        if (!(middle > low && middle < high)) break;
        size_t n = reach(pool->scores, pool->n, middle);
        bool on = is_worth(t, best, middle, n);
        open = on ? open - (n - above) : n - above;
        above = on ? n : above;
        *(on ? &high : &low) = middle;
    }
    vq_hit *hits = vq_arena_take(arena, open + 1, sizeof *hits);
    size_t n = 0, i = 0;
    if (hits == NULL) return false;
    for (size_t j = 0; j < pool->n; j++) { /* no branch */
        float score = pool->scores[j];
        hits[n] = (vq_hit){.score = score, .id = j};
        n += (score >= low) & (score < high);
    }
    vq_hits_sort(hits, n);
    while (i < n && is_worth(t, best, hits[i].score, above + i + 1)) i++;
    *least = i > 0 ? hits[i - 1].score : high;
    *taken = above + i;
    return true;
}

bool vq_stop_rows(const vq_stop *t, vq_pool *pool, vq_arena *arena)
{
    float least, floor = vq_stop_floor(t);
    size_t taken;
    if (pool->n <= t->effort->k) return true;
    if (!(floor > -INFINITY)) floor = -INFINITY; /* no number, where scores are infinite */
    drop_below(pool, floor);
    if (!find_least(t, pool, arena, &least, &taken)) return false;
    if (taken > pool->keep) least = t->k->kth_f32(pool->scores, pool->n, pool->keep);
    drop_below(pool, least);
    return true;
}
