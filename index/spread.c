/* SPDX-License-Identifier: Apache-2.0 */
/* spread.c -- one query over all threads, for those who wait for each answer: each thread scans a
 * share of the lists as if they were all, and the best of the shares' best are what one scan would
 * have found, since the best of a pool do not depend on the order of the scan. */
#include <math.h>
#include <string.h>

#include "index/searcher.h"

typedef struct spread {
    vq_searcher *s;
    vq_shard *shard;
    const vq_effort *effort;
    vq_query *shares;    /* as many as there are threads, for each: */
    const void **tables; /* its own, since a scan may note there how it goes */
    vq_pool *pools;
} spread;

/* A share takes memory from the arena of its number, not of whoever works on it: then it is always
 * as much. */
static vq_status share_task(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    (void)worker;
    spread *p = ctx;
    uint32_t lists;
    vq_arena *arena = &p->s->workers[task];
    const vq_query *x = &p->shares[task];
    vq_arena_reset(arena);
    p->tables[task] = vq_shard_tables(p->shard, p->s->k, x, arena);
    VQ_REQUIRE(p->tables[task] != NULL, VQ_ENOMEM, "search: tables of a query");
    VQ_TRY(vq_query_scan(p->shard, p->s->k, &p->shares[task], p->tables[task], arena, NULL,
                         p->effort, &p->pools[task], &lists, err));
out:
    return rc;
}

/* Lists in turn, so that each share has some of the best ones. */
static vq_status deal(spread *p, const vq_query *x, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < n; i++) {
        vq_query *share = &p->shares[i];
        uint32_t count = (uint32_t)((x->nlists - i + n - 1) / n);
        *share = *x;
        share->of = x;
        share->lists = vq_arena_take(&p->s->shared, count, sizeof *share->lists);
        VQ_REQUIRE(share->lists != NULL, VQ_ENOMEM, "search: %u lists", x->nlists);
        for (uint32_t j = 0; j < count; j++) share->lists[j] = x->lists[j * n + i];
        share->nlists = share->sorted = count;
    }
out:
    return rc;
}

vq_status vq_spread_scan(vq_searcher *s, vq_shard *shard, const vq_query *x, const vq_effort *e,
                         vq_pool *pool, const void **tables, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = VQ_MIN((size_t)s->threads, (size_t)x->nlists), all = 0, keep = e->candidates;
    spread p = {.s = s, .shard = shard, .effort = e};
    vq_marks copies;
    p.shares = vq_arena_take(&s->shared, n, sizeof *p.shares);
    p.tables = vq_arena_take(&s->shared, n, sizeof *p.tables);
    p.pools = vq_arena_take(&s->shared, n, sizeof *p.pools);
    *pool = (vq_pool){.keep = keep, .cap = n * keep, .slack = INFINITY, .threshold = -INFINITY};
    pool->scores = vq_arena_take(&s->shared, pool->cap, sizeof *pool->scores);
    pool->places = vq_arena_take(&s->shared, pool->cap, sizeof *pool->places);
    pool->most = pool->scores;
    VQ_REQUIRE(p.shares != NULL && p.tables != NULL && p.pools != NULL && pool->scores != NULL &&
                   pool->places != NULL,
               VQ_ENOMEM, "search: %zu candidates of %zu threads", keep, n);
    VQ_TRY(deal(&p, x, n, err));
    VQ_TRY(vq_team_run((int)n, n, share_task, &p, err));
    for (size_t i = 0; i < n; i++) {
        const vq_pool *part = &p.pools[i];
        memcpy(pool->scores + all, part->scores, part->n * sizeof *part->scores);
        memcpy(pool->places + all, part->places, part->n * sizeof *part->places);
        all += part->n;
    }
    pool->n = all;
    vq_pool_shrink(pool, s->k);
    VQ_TRY(vq_copies_begin(&copies, shard, x, true, &s->shared, err));
    VQ_TRY(vq_copies_settle(&copies, shard, pool, err));
    *tables = p.tables[0];
out:
    return rc;
}
