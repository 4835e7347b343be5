/* SPDX-License-Identifier: Apache-2.0 */
/* range.c -- all vectors within a bound: the best k, for more and more k, until the worst of them
 * lies beyond it.  So filters, copies, error bars and the rules of recall hold as they do for k. */
#include <string.h>

#include "index/searcher.h"
#include "src/math/score.h"

/* Exact search looks at everything each time: then in few, large steps. */
enum { FIRST = 64, GROWTH = 4, FIRST_EXACT = 1024, GROWTH_EXACT = 64 };

/* How many of the n hits, best first, lie within the bound. */
static uint32_t count_within(const float *scores, const uint64_t *ids, uint32_t n, float bound,
                             bool larger)
{
    uint32_t i = 0;
    while (i < n && ids[i] != VQ_NO_ID && (larger ? scores[i] >= bound : scores[i] <= bound)) i++;
    return i;
}

static uint64_t queries_of(const vq_searcher *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < s->threads; i++) sum += s->stats[i].queries;
    return sum;
}

vq_status vq_range_run(vq_searcher *s, const float *q, float bound, uint64_t most, vq_hit_fn fn,
                       void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t n = 0, *ids = NULL;
    float *scores = NULL;
    uint32_t found = 0, k;
    uint64_t counted = 0;
    bool exact = s->recall >= 1.0f;
    bool larger = vq_metric_larger(s->shards[0].model.metric);
    for (size_t i = 0; i < s->nshards; i++) n += s->shards[i].model.n;
    n = VQ_MIN(n, (uint64_t)VQ_NONE - 1);
    if (most != 0) n = VQ_MIN(n, most);
    k = (uint32_t)VQ_MIN(n, (uint64_t)(exact ? FIRST_EXACT : FIRST));
    while (k > 0) {
        vq_mem_free(ids), vq_mem_free(scores);
        ids = vq_mem_alloc(k, sizeof *ids);
        scores = vq_mem_alloc(k, sizeof *scores);
        VQ_REQUIRE(ids != NULL && scores != NULL, VQ_ENOMEM, "search: %u answers", k);
        VQ_TRY(vq_search_run(s, q, 1, k, ids, scores, err));
        if (counted == 0) counted = queries_of(s);
        found = count_within(scores, ids, k, bound, larger);
        if (found < k || k == n) break;
        k = (uint32_t)VQ_MIN((uint64_t)k * (exact ? GROWTH_EXACT : GROWTH), n);
    }
    /* It is one query, in whatever steps; the other numbers say what all of them took. */
    if (counted != 0) s->stats[0].queries -= queries_of(s) - counted;
    for (uint32_t i = 0; i < found; i++)
        VQ_REQUIRE(fn(ctx, ids[i], scores[i]) == 0, VQ_ECANCELED, "search: stopped");
out:
    vq_mem_free(ids);
    vq_mem_free(scores);
    return rc;
}
