/* SPDX-License-Identifier: Apache-2.0 */
/* search.c -- the way of a query.  A tile of queries goes through three stages: the queries are
 * transformed and probed (in parallel), the lists they want are looked up (by this thread; those
 * that a search only comes to want while it scans, by the worker), and they are scanned and ranked
 * (in parallel): one by one, or in batches where they want the same lists.  A query's answer
 * depends on nothing but the query. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "index/mask.h"
#include "src/math/score.h"

/* Queries of a tile, for each thread if they are scanned in batches; bytes of lists that a tile of
 * batches may hold. */
enum { TILE = 64, LISTS_BYTES = 32 << 20 };
/* Queries of a batch, whose tables should lie in the second-level cache: TABLES_BYTES if they are
 * of 256 bytes a byte of code.  It pays where a list is wanted by SHARED of them. */
enum { MOST_BATCH = 64, LEAST_BATCH = 4, TABLES_BYTES = 1 << 19, SHARED = 2, MOST_KEPT = 16384 };
enum {
    LOOKED_AT = 500, /* candidates, where error bars tell which of them count */
    FEW = 1024       /* matches of a filter that are scored in full at once */
};

typedef struct tile {
    vq_searcher *s;
    vq_shard *shard; /* the one at work */
    uint32_t shard_no;
    vq_effort effort;
    bool few;              /* matches of a filter: all are scored, none scanned, no list probed */
    size_t n;              /* queries */
    size_t batch;          /* so many are scanned at once; 1: each alone */
    size_t group;          /* so many are probed at once */
    vq_query *queries;     /* n */
    vq_reservoir *answers; /* n: the best k over all shards, id as handed out */
} tile;

/* What a wanted recall takes: the rules, and bounds on what they may do. */
static vq_effort effort_for_recall(const vq_shard *of, uint32_t k, float recall, bool exact)
{
    const vq_model *m = &of->model;
    vq_effort e = {.k = k, .nprobe = vq_shard_live(of), .exact = exact, .recall = recall};
    if (recall >= 1.0f) { /* everything: exact search, where there are rows */
        uint64_t all = exact ? m->n : 2 * (uint64_t)k + 64;
        e.candidates = (uint32_t)VQ_MIN(VQ_MAX(all, (uint64_t)k), m->n);
        return e;
    }
    vq_setting s = vq_relation_at(&m->tune, k, recall);
    double depth = exact ? (double)s.depth : 2.0 * k + 64.0;
    e.adaptive = true;
    e.lists = s.lists;
    e.rows = s.rows;
    e.gap = VQ_MAX(vq_rule_gap(&s.rows, 0.0f, 0.0f), 0.0f);
    e.candidates = (uint32_t)VQ_MIN(VQ_MAX(depth, (double)k), (double)m->n);
    return e;
}

/* Where codes have error bars these say how many candidates count. */
static void look_closer(const vq_searcher *s, const vq_model *m, vq_effort *e)
{
    if (m->codec->bar == NULL || (e->recall >= 1.0f && e->exact)) return;
    if (!e->exact && !m->codec->two(&m->code)) return; /* there is nothing to look at */
    e->bars = s->bars > 0.0f ? s->bars : VQ_BARS_DEFAULT;
    uint64_t want = VQ_MAX((uint64_t)LOOKED_AT + 8 * (uint64_t)e->k, (uint64_t)e->candidates);
    e->candidates = (uint32_t)VQ_MIN(want, m->n);
}

vq_effort vq_searcher_effort_of(const vq_searcher *s, const vq_shard *shard, uint32_t k)
{
    const vq_model *m = &shard->model;
    vq_effort e = {.k = k};
    float recall = s->recall;
    if (recall == 0.0f && s->nprobe == 0 && s->rerank == 0 && m->tune.rows != NULL)
        recall = VQ_RECALL_DEFAULT;
    if (recall != 0.0f && m->tune.rows == NULL)
        recall = 1.0f; /* so few that any recall takes all */
    if (recall != 0.0f) {
        e = effort_for_recall(shard, k, recall, m->store != VQ_ELEM_NONE);
        look_closer(s, m, &e);
        return e;
    }
    uint64_t nprobe = s->nprobe != 0 ? s->nprobe : m->nprobe;
    e.nprobe = (uint32_t)VQ_MIN(VQ_MAX(nprobe, (uint64_t)1), (uint64_t)vq_shard_live(shard));
    e.exact = s->rerank != VQ_NONE && m->store != VQ_ELEM_NONE;
    uint64_t want;
    if (!e.exact)
        want = 2 * (uint64_t)k + 64; /* the scan's sums are coarser than the codec's score */
    else if (s->rerank != 0)
        want = s->rerank;
    else
        want = VQ_MAX((uint64_t)m->rerank, 8 * (uint64_t)k + 50);
    e.candidates = (uint32_t)VQ_MIN(VQ_MAX(want, (uint64_t)k), m->n);
    if (s->rerank == 0 || !e.exact) look_closer(s, m, &e);
    return e;
}

/* Lists that are looked for before the scan. */
static uint32_t first_lists(const tile *t)
{
    uint32_t few = t->effort.adaptive ? (uint32_t)VQ_SORT_LISTS : t->effort.nprobe;
    return VQ_MIN(few, t->effort.nprobe);
}

/* Whether queries are brought to the coded space together. */
static bool together(const tile *t)
{
    const vq_shard *s = t->shard;
    return t->batch > 1 && !t->few && s->brief.memory == NULL && first_lists(t) == vq_shard_live(s);
}

static vq_status probe_some(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    tile *t = ctx;
    size_t first = task * t->group;
    vq_arena *arena = &t->s->workers[worker];
    vq_arena_reset(arena);
    void *scratch = vq_arena_take(arena, vq_probe_together_scratch(&t->shard->model), 1);
    VQ_REQUIRE(scratch != NULL, VQ_ENOMEM, "search: %u lists", t->shard->model.nlist);
    vq_queries_probe_all(t->shard, t->s->k, &t->queries[first], VQ_MIN(t->n - first, t->group),
                         scratch);
out:
    return rc;
}

static vq_status probe_task(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    tile *t = ctx;
    const vq_model *m = &t->shard->model;
    vq_arena *arena = &t->s->workers[worker];
    vq_arena_reset(arena);
    void *scratch = vq_arena_take(arena, vq_probe_scratch(m), 1);
    VQ_REQUIRE(scratch != NULL, VQ_ENOMEM, "search: %u lists", m->nlist);
    vq_query_prepare(t->shard, t->s->k, &t->queries[task], scratch);
    if (t->few) goto out;
    vq_query_probe(t->shard, t->s->k, &t->queries[task], first_lists(t), t->batch == 1, scratch);
out:
    return rc;
}

/* Loads the lists of a query.  If they hold fewer than k vectors, more lists are probed: an answer
 * is short only if the index is. */
static vq_status load_lists(tile *t, vq_query *x, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &t->shard->model;
    uint32_t live = vq_shard_live(t->shard);
    uint64_t found = 0;
    for (uint32_t i = 0;; i++) {
        if (i == x->nlists) {
            if (found >= t->effort.k || x->nlists == live) break;
            uint32_t more = (uint32_t)VQ_MIN(2 * (uint64_t)x->nlists, (uint64_t)live);
            void *scratch = vq_arena_take(&t->s->shared, vq_probe_scratch(m), 1);
            x->lists = vq_arena_take(&t->s->shared, more, sizeof *x->lists);
            VQ_REQUIRE(scratch != NULL && x->lists != NULL, VQ_ENOMEM, "search: %u lists", more);
            vq_query_probe(t->shard, t->s->k, x, more, t->batch == 1, scratch);
            i = 0, found = 0; /* near the border the first ones may be others now */
        }
        uint32_t list = (uint32_t)x->lists[i].id;
        VQ_TRY(vq_shard_load(t->shard, list, err));
        found += t->shard->mask != NULL ? t->shard->mask->counts[list] : t->shard->lists[list].n;
    }
out:
    return rc;
}

/* Where all lists were to be scanned no copy is. */
static void count(vq_search_stats *to, const vq_shard *s, const vq_query *x, uint32_t lists,
                  bool adaptive, size_t rows)
{
    to->queries++;
    to->lists += lists;
    to->rows += rows;
    bool copies = s->model.copies > 0 && (adaptive || x->nlists < vq_shard_live(s));
    if (lists == vq_shard_live(s) && !copies && s->mask == NULL) {
        to->vectors += s->model.n;
        return;
    }
    for (uint32_t i = 0; i < lists; i++) {
        const vq_list_view *l = &s->lists[x->lists[i].id];
        bool none = s->mask != NULL && s->mask->counts[x->lists[i].id] == 0;
        to->vectors += (none ? 0 : l->n) + (copies ? l->copies : 0);
        to->copies += copies ? l->copies : 0;
    }
}

/* Whether error bars decide what is scored: of estimates, which those few do not have. */
static bool by_bars(const tile *t)
{
    return t->effort.bars > 0.0f && !t->few;
}

/* Candidates whose rows will all be scored; where error bars decide they count what they take. */
static size_t in_full(const tile *t, const vq_pool *pool)
{
    return t->effort.exact && !by_bars(t) ? pool->n : 0;
}

/* The best of the candidates go to the query's answers. */
static vq_status rank(tile *t, vq_query *x, const void *tables, int worker, vq_pool *pool,
                      vq_hit *final, size_t cap, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_reservoir best;
    vq_reservoir_init(&best, final, cap, t->effort.k);
    if (by_bars(t))
        VQ_TRY(vq_look_rank(t->shard, t->s->k, x, &t->effort, &t->s->workers[worker], pool, &best,
                            &t->s->stats[worker], err));
    else
        VQ_TRY(vq_query_rerank(t->shard, t->s->k, x, tables, t->effort.exact, pool, &best, err));
    size_t n = vq_reservoir_finish(&best);
    uint64_t handle = t->shard->model.string_ids ? (uint64_t)t->shard_no << 48 : 0;
    for (size_t i = 0; i < n; i++)
        vq_reservoir_push(&t->answers[x - t->queries], final[i].score, final[i].id | handle);
out:
    return rc;
}

static vq_status rank_task(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    tile *t = ctx;
    vq_query *x = &t->queries[task];
    vq_arena *arena = &t->s->workers[worker];
    vq_pool pool;
    vq_stop stop;
    uint32_t lists;
    size_t best_cap = 2 * (size_t)t->effort.k + 64;
    vq_arena_reset(arena);
    const void *tables = t->few ? NULL : vq_shard_tables(t->shard, t->s->k, x, arena);
    vq_hit *final = vq_arena_take(arena, best_cap, sizeof *final);
    VQ_REQUIRE((tables != NULL || t->few) && final != NULL, VQ_ENOMEM, "search: %u answers",
               t->effort.k);
    if (t->effort.adaptive && !t->few)
        VQ_REQUIRE(vq_stop_init(&stop, &t->effort, t->shard, t->s->k, x->y, arena), VQ_ENOMEM,
                   "search: k = %u", t->effort.k);
    if (t->few) { /* they are scored in full straight away */
        lists = 0;
        VQ_TRY(vq_mask_all(t->shard->mask, &pool, arena, err));
    } else {
        VQ_TRY(vq_query_scan(t->shard, t->s->k, x, tables, arena, t->effort.adaptive ? &stop : NULL,
                             &t->effort, &pool, &lists, err));
    }
    count(&t->s->stats[worker], t->shard, x, lists, t->effort.adaptive, in_full(t, &pool));
    VQ_TRY(rank(t, x, tables, worker, &pool, final, best_cap, err));
out:
    return rc;
}

static vq_status batch_task(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    tile *t = ctx;
    vq_query *x = &t->queries[task * t->batch];
    size_t n = VQ_MIN(t->batch, t->n - task * t->batch), cap = 2 * (size_t)t->effort.k + 64;
    vq_arena *arena = &t->s->workers[worker];
    vq_arena_reset(arena);
    vq_hit *final = vq_arena_take(arena, cap, sizeof *final);
    vq_seat *seats = vq_arena_take(arena, n, sizeof *seats);
    VQ_REQUIRE(final != NULL && seats != NULL, VQ_ENOMEM, "search: %zu queries", n);
    for (size_t i = 0; i < n; i++) {
        seats[i] =
            (vq_seat){.x = &x[i], .tables = vq_shard_tables(t->shard, t->s->k, &x[i], arena)};
        VQ_REQUIRE(seats[i].tables != NULL, VQ_ENOMEM, "search: %zu queries", n);
    }
    VQ_TRY(vq_batch_scan(t->shard, t->s->k, seats, n, &t->effort, arena, err));
    for (size_t i = 0; i < n; i++) {
        count(&t->s->stats[worker], t->shard, &x[i], x[i].nlists, false,
              in_full(t, &seats[i].pool));
        VQ_TRY(rank(t, &x[i], seats[i].tables, worker, &seats[i].pool, final, cap, err));
    }
out:
    return rc;
}

/* One query after the other, each on all threads. */
static vq_status spread_all(tile *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t cap = 2 * (size_t)t->effort.k + 64;
    vq_hit *final = vq_arena_take(&t->s->shared, cap, sizeof *final);
    VQ_REQUIRE(final != NULL, VQ_ENOMEM, "search: %u answers", t->effort.k);
    for (size_t i = 0; i < t->n; i++) {
        vq_query *x = &t->queries[i];
        const void *tables;
        vq_pool pool;
        VQ_TRY(vq_spread_scan(t->s, t->shard, x, &t->effort, &pool, &tables, err));
        count(&t->s->stats[0], t->shard, x, x->nlists, false, in_full(t, &pool));
        VQ_TRY(rank(t, x, tables, 0, &pool, final, cap, err));
    }
out:
    return rc;
}

/* Whether a query is worth the waking of all threads, where that is wanted. */
static bool spreads(const vq_searcher *s, const vq_effort *e, const vq_shard *shard)
{
    double vectors = (double)shard->model.n * e->nprobe / vq_shard_live(shard);
    return s->threads > 1 && shard->mask == NULL && !e->adaptive && e->bars == 0.0f &&
           e->candidates <= MOST_KEPT && vectors >= (double)s->spread;
}

/* Queries that decide for themselves where to stop go alone, each best list first.  So do those
 * that share too few lists, or keep so many candidates that a batch would not fit into a cache. */
static size_t batch_of(const vq_searcher *s, const vq_effort *e, const vq_shard *shard,
                       size_t queries)
{
    const vq_model *m = &shard->model;
    size_t threads = (size_t)s->threads;
    size_t fit = TABLES_BYTES / 256 / m->code.code_bytes;
    fit = VQ_MIN(VQ_MAX(fit, (size_t)LEAST_BATCH), (size_t)MOST_BATCH);
    size_t n = VQ_MIN(fit, (queries + threads - 1) / threads);
    if (e->bars > 0.0f) return 1; /* which codes are read to the end shows list by list */
    if (e->adaptive || n < LEAST_BATCH || e->candidates > MOST_KEPT) return 1;
    if (shard->mask != NULL || spreads(s, e, shard)) return 1; /* a mask leaves little to share */
    return (uint64_t)n * e->nprobe >= (uint64_t)SHARED * vq_shard_live(shard) ? n : 1;
}

/* Queries that are done at a time: those of a batch for each thread, twice. */
static size_t tile_of(const vq_searcher *s, uint32_t k, size_t queries)
{
    size_t n = TILE;
    for (size_t i = 0; i < s->nshards; i++) {
        vq_effort e = vq_searcher_effort_of(s, &s->shards[i], k);
        if (batch_of(s, &e, &s->shards[i], queries) == 1) return TILE;
        size_t products = s->shards[i].model.nlist * sizeof(float);
        size_t most = LISTS_BYTES / (e.nprobe * sizeof(vq_hit) + products);
        n = VQ_MIN((size_t)TILE * (size_t)s->threads, VQ_MAX(most, (size_t)TILE));
    }
    return n;
}

/* All queries of a tile against one shard. */
static vq_status search_shard(tile *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &t->shard->model;
    vq_arena *shared = &t->s->shared;
    int threads = (int)VQ_MIN((size_t)t->s->threads, t->n);
    if ((t->effort.exact || m->codec->bar != NULL) && t->shard->brief.memory == NULL)
        VQ_TRY(vq_brief_make(&t->shard->brief, m, t->s->k, err));
    bool grouped = !t->few && vq_shard_groupable(t->shard, first_lists(t));
    if (grouped) VQ_TRY(vq_shard_group(t->shard, err));
    bool open = t->effort.adaptive && grouped;
    bool all = t->effort.adaptive && !open; /* scores of all lists are kept */
    for (size_t i = 0; i < t->n; i++) {
        vq_query *x = &t->queries[i];
        x->y = t->few ? NULL : vq_arena_take(shared, m->d_code, sizeof *x->y);
        x->wide = vq_arena_take(shared, m->d, sizeof *x->wide);
        x->fixed.x = t->effort.exact ? vq_arena_take(shared, m->d, sizeof *x->fixed.x) : NULL;
        x->lists = vq_arena_take(shared, first_lists(t), sizeof *x->lists);
        x->rest = all ? vq_arena_take(shared, m->nlist, sizeof *x->rest) : NULL;
        x->open = open;
        VQ_REQUIRE((x->y != NULL || t->few) && x->wide != NULL &&
                       (x->fixed.x != NULL || !t->effort.exact) && x->lists != NULL &&
                       (x->rest != NULL || !all),
                   VQ_ENOMEM, "search: a tile of %zu queries", t->n);
    }
    t->group = VQ_MIN((t->n + (size_t)threads - 1) / (size_t)threads, (size_t)VQ_PROBE_TOGETHER);
    if (together(t))
        VQ_TRY(vq_team_run(threads, (t->n + t->group - 1) / t->group, probe_some, t, err));
    else
        VQ_TRY(vq_team_run(threads, t->n, probe_task, t, err));
    uint32_t loaded = 0; /* lists of a query, all of whose lists are */
    for (size_t i = 0; i < t->n && !t->effort.adaptive && !t->few; i++) {
        if (loaded == vq_shard_live(t->shard) && t->queries[i].nlists == loaded) continue;
        VQ_TRY(load_lists(t, &t->queries[i], err));
        loaded = t->queries[i].nlists;
    }
    if (spreads(t->s, &t->effort, t->shard))
        VQ_TRY(spread_all(t, err));
    else if (t->batch == 1)
        VQ_TRY(vq_team_run(threads, t->n, rank_task, t, err));
    else
        VQ_TRY(vq_team_run(threads, (t->n + t->batch - 1) / t->batch, batch_task, t, err));
out:
    return rc;
}

static void hand_out(vq_reservoir *r, uint32_t k, bool larger, uint64_t *ids, float *scores)
{
    size_t n = vq_reservoir_finish(r);
    for (size_t i = 0; i < k; i++) {
        ids[i] = i < n ? r->hits[i].id : VQ_NO_ID;
        if (scores == NULL) continue;
        /* 0 - x: a distance of 0 is not -0 */
        scores[i] = i >= n ? NAN : larger ? r->hits[i].score : 0.0f - r->hits[i].score;
    }
}

static vq_status search_tile(vq_searcher *s, const float *q, size_t n, uint32_t k, uint64_t *ids,
                             float *scores, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->shards[0].model;
    size_t cap = 2 * (size_t)k + 64;
    vq_arena_reset(&s->shared);
    tile t = {.s = s, .n = n};
    t.queries = vq_arena_take(&s->shared, n, sizeof *t.queries);
    t.answers = vq_arena_take(&s->shared, n, sizeof *t.answers);
    VQ_REQUIRE(t.queries != NULL && t.answers != NULL, VQ_ENOMEM, "search: %zu queries", n);
    for (size_t i = 0; i < n; i++) {
        vq_hit *hits = vq_arena_take(&s->shared, cap, sizeof *hits);
        VQ_REQUIRE(hits != NULL, VQ_ENOMEM, "search: %zu queries, k = %u", n, k);
        vq_reservoir_init(&t.answers[i], hits, cap, k);
        t.queries[i] = (vq_query){.q = q + i * m->d};
    }
    for (t.shard_no = 0; t.shard_no < s->nshards; t.shard_no++) {
        t.shard = &s->shards[t.shard_no];
        t.effort = vq_searcher_effort_of(s, t.shard, k);
        t.batch = batch_of(s, &t.effort, t.shard, n);
        const vq_mask *mask = t.shard->mask;
        t.few = mask != NULL && t.effort.exact &&
                mask->matches <= VQ_MAX(t.effort.candidates, (uint32_t)FEW);
        VQ_TRY(search_shard(&t, err));
    }
    for (size_t i = 0; i < n; i++)
        hand_out(&t.answers[i], k, vq_metric_larger(m->metric), ids + i * k,
                 scores != NULL ? scores + i * k : NULL);
out:
    return rc;
}

/* Whether all coordinates are finite and at most so large; no branch a coordinate. */
static bool all_within(const float *q, size_t d, float most)
{
    uint32_t bad = 0;
    for (size_t j = 0; j < d; j++) bad |= (uint32_t) !(fabsf(q[j]) <= most);
    return bad == 0;
}

/* Says which coordinate of query i is not within. */
static vq_status refuse(const float *q, size_t d, size_t i, float most, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t j = 0; j < d; j++) {
        VQ_REQUIRE(isfinite(q[j]), VQ_EINVAL, "query %zu: coordinate %zu is not finite", i, j);
        VQ_REQUIRE(fabsf(q[j]) <= most, VQ_EINVAL,
                   "query %zu: coordinate %zu is %g; beyond %g scores overflow", i, j, (double)q[j],
                   (double)most);
    }
out:
    return rc;
}

vq_status vq_search_check(const vq_searcher *s, const float *q, size_t nq, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = s->shards[0].model.d;
    float most = s->shards[0].model.metric == VQ_METRIC_COSINE ? FLT_MAX : (float)vq_value_max(d);
    for (size_t i = 0; i < nq; i++)
        if (VQ_UNLIKELY(!all_within(q + i * d, d, most)))
            VQ_TRY(refuse(q + i * d, d, i, most, err));
out:
    return rc;
}

vq_status vq_search_run(vq_searcher *s, const float *q, size_t nq, uint32_t k, uint64_t *ids,
                        float *scores, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = s->shards[0].model.d;
    size_t most_queries = tile_of(s, k, nq);
    VQ_TRY(vq_search_check(s, q, nq, err));
    for (size_t first = 0, n; first < nq; first += n) {
        n = VQ_MIN(nq - first, most_queries);
        VQ_TRY(search_tile(s, q + first * d, n, k, ids + first * k,
                           scores != NULL ? scores + first * k : NULL, err));
    }
out:
    return rc;
}
