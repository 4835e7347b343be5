/* SPDX-License-Identifier: Apache-2.0 */
/* apisearch.c -- the public functions of a searcher: check arguments, call below; no algorithm. */
#include <math.h>
#include <string.h>

#include "index/expr.h"
#include "index/follow.h"
#include "index/mask.h"
#include "index/opts.h"
#include "index/searcher.h"
#include "index/tune.h"

_Static_assert(offsetof(vq_search_opts, bars) + sizeof(float) == sizeof(vq_search_opts),
               "no padding after the last field");
_Static_assert(offsetof(vq_search_stats, codes) + sizeof(uint64_t) == sizeof(vq_search_stats),
               "no padding after the last field");

/* Vectors whose scan takes longer than the waking of threads: 30 microseconds by the fastest codes.
 */
enum { SPREAD_LEAST = 65536 };
#define FOLLOW_SECONDS 0.01

/* Shards that can be searched as one. */
static vq_status check_alike(const vq_searcher *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *a = &s->shards[0].model;
    for (size_t i = 1; i < s->nshards; i++) {
        const vq_model *b = &s->shards[i].model;
        const char *pa = vq_file_path(s->shards[0].snapshot.file);
        const char *pb = vq_file_path(s->shards[i].snapshot.file);
        VQ_REQUIRE(a->d == b->d, VQ_EINVAL, "%s has %u dimensions, %s has %u", pa, a->d, pb, b->d);
        VQ_REQUIRE(a->metric == b->metric, VQ_EINVAL, "%s is of metric %s, %s of %s", pa,
                   vq_metric_name(a->metric), pb, vq_metric_name(b->metric));
        VQ_REQUIRE(a->string_ids == b->string_ids, VQ_EINVAL,
                   "one of %s and %s has string ids, the other numbers", pa, pb);
    }
out:
    return rc;
}

/* Can this be had of an index? */
static vq_status check_asked(const vq_searcher *s, const vq_shard *shard, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &shard->model;
    const char *path = vq_file_path(shard->snapshot.file);
    VQ_REQUIRE(s->rerank == 0 || s->rerank == VQ_NONE || m->store != VQ_ELEM_NONE, VQ_EUNSUPPORTED,
               "%s: it was built without stored rows, so no candidate can be reranked", path);
    VQ_REQUIRE(s->recall == 0.0f || s->recall == 1.0f || m->tune.rows != NULL ||
                   vq_tune_needless(m),
               VQ_EUNSUPPORTED,
               "%s: it is not tuned, so nobody knows what a recall of %g takes; vq tune "
               "measures it",
               path, (double)s->recall);
out:
    return rc;
}

vq_status vq_searcher_open_many(vq_searcher **out, vq_index *const *ix, size_t nix,
                                const vq_search_opts *opts, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_search_opts o;
    vq_searcher *s = NULL;
    VQ_REQUIRE(out != NULL, VQ_EINVAL, "searcher: no place for it");
    *out = NULL;
    VQ_REQUIRE(ix != NULL && nix >= 1 && nix <= 65536, VQ_EINVAL, "searcher: %zu indexes", nix);
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_REQUIRE(o.recall >= 0.0f && o.recall <= 1.0f, VQ_EINVAL,
               "searcher: recall %g: expected a number above 0, at most 1", (double)o.recall);
    VQ_REQUIRE(o.bars >= 0.0f && o.bars <= 100.0f, VQ_EINVAL,
               "searcher: error bars of %g deviations: expected a number above 0, at most 100",
               (double)o.bars);
    VQ_REQUIRE(o.recall == 0.0f || (o.nprobe == 0 && o.rerank == 0), VQ_EINVAL,
               "searcher: recall chooses nprobe and rerank; give either");
    VQ_REQUIRE(o.latency <= 1 && o.reserved == 0, VQ_EINVAL,
               "searcher: latency %u, reserved %u: expected 0 or 1, and 0", o.latency, o.reserved);
    VQ_REQUIRE(o.latency == 0 || o.nprobe != 0, VQ_EINVAL,
               "searcher: latency needs nprobe: by recall a query decides list by list");
    s = vq_mem_calloc(1, sizeof *s);
    VQ_REQUIRE(s != NULL, VQ_ENOMEM, "searcher: out of memory");
    s->nprobe = o.nprobe;
    s->rerank = o.rerank;
    s->recall = o.recall;
    s->pinned = o.pinned != 0;
    s->bars = o.bars;
    s->threads = vq_team(o.threads != 0 ? o.threads : 1, 1024);
    s->k = vq_kernels_get();
    s->spread = o.latency != 0 ? SPREAD_LEAST : UINT64_MAX;
    s->workers = vq_mem_calloc((size_t)s->threads, sizeof *s->workers);
    s->shards = vq_mem_calloc(nix, sizeof *s->shards);
    s->fresh = vq_mem_calloc(nix, sizeof *s->fresh);
    s->paths = vq_mem_calloc(nix, sizeof *s->paths);
    s->stats = vq_mem_calloc((size_t)s->threads, sizeof *s->stats);
    VQ_REQUIRE(s->workers != NULL && s->shards != NULL && s->fresh != NULL && s->paths != NULL &&
                   s->stats != NULL,
               VQ_ENOMEM, "searcher: %zu indexes", nix);
    for (size_t i = 0; i < nix; i++) {
        VQ_REQUIRE(ix[i] != NULL, VQ_EINVAL, "searcher: index %zu is NULL", i);
        VQ_TRY(vq_index_shard(ix[i], &s->shards[i], err));
        s->nshards++;
        s->paths[i] = vq_mem_strdup(ix[i]->path);
        VQ_REQUIRE(s->paths[i] != NULL, VQ_ENOMEM, "searcher: %s", ix[i]->path);
        VQ_TRY(check_asked(s, &s->shards[i], err));
    }
    s->followed = vq_now();
    VQ_TRY(check_alike(s, err));
    *out = s;
    s = NULL;
out:
    vq_searcher_close(s);
    return rc;
}

vq_status vq_searcher_open(vq_searcher **out, vq_index *ix, const vq_search_opts *opts,
                           vq_error *err)
{
    return vq_searcher_open_many(out, &ix, 1, opts, err);
}

void vq_searcher_close(vq_searcher *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->nshards; i++) {
        vq_shard_close(&s->shards[i]);
        vq_mem_free(s->paths[i]);
    }
    for (int i = 0; s->workers != NULL && i < s->threads; i++) vq_arena_fini(&s->workers[i]);
    vq_arena_fini(&s->shared);
    vq_filter_free(s->filter);
    vq_expr_free(s->expr);
    vq_mem_free(s->workers);
    vq_mem_free(s->stats);
    vq_mem_free(s->shards);
    vq_mem_free(s->paths);
    vq_mem_free(s->fresh);
    vq_mem_free(s);
}

/* Masks for snapshots that have none. */
static vq_status mask_all(vq_searcher *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (s->filter == NULL && s->expr == NULL) return VQ_OK;
    for (size_t i = 0; i < s->nshards; i++)
        if (s->shards[i].mask == NULL) VQ_TRY(vq_mask_make(&s->shards[i], s->filter, s->expr, err));
out:
    return rc;
}

/* Queries, and what answers say, mean the same. */
static vq_status check_successor(const vq_model *old, const vq_shard *fresh, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &fresh->model;
    const char *path = vq_file_path(fresh->snapshot.file);
    VQ_REQUIRE(m->d == old->d, VQ_EINVAL,
               "%s: in its place is an index of %u dimensions instead of %u; open it anew", path,
               m->d, old->d);
    VQ_REQUIRE(m->metric == old->metric, VQ_EINVAL,
               "%s: in its place is an index of metric %s instead of %s; open it anew", path,
               vq_metric_name(m->metric), vq_metric_name(old->metric));
    VQ_REQUIRE(m->string_ids == old->string_ids, VQ_EINVAL,
               "%s: in its place is an index with %s ids; open it anew", path,
               m->string_ids != 0 ? "string" : "number");
out:
    return rc;
}

/* The file that has the name of shard i now, if that is another one, into fresh, which is all zero,
 * and stays so otherwise. */
static vq_status find_successor(const vq_searcher *s, size_t i, bool asked, vq_shard *fresh,
                                vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_error e = {0};
    const vq_shard *old = &s->shards[i];
    vq_file *file = NULL;
    rc = vq_file_successor(&file, old->snapshot.file, s->paths[i], &e);
    if (rc == VQ_EBUSY && !asked) return VQ_OK; /* moved there by hand; it can be opened later */
    if (rc != VQ_OK) return vq_fail(err, rc, "%s", e.text);
    if (file == NULL) return VQ_OK;
    VQ_TRY(vq_shard_open(fresh, file, err));
    VQ_TRY(check_successor(&old->model, fresh, err));
    VQ_TRY(check_asked(s, fresh, err));
out:
    vq_file_close(file);
    return rc;
}

/* Moves the shards on to the files that have their names now: all of them, or on failure none. */
static vq_status follow(vq_searcher *s, bool asked, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *fresh = s->fresh;
    for (size_t i = 0; i < s->nshards; i++) VQ_TRY(find_successor(s, i, asked, &fresh[i], err));
    for (size_t i = 0; i < s->nshards; i++) {
        if (fresh[i].snapshot.file == NULL) continue;
        vq_shard_close(&s->shards[i]);
        s->shards[i] = fresh[i];
        memset(&fresh[i], 0, sizeof fresh[i]);
    }
out:
    for (size_t i = 0; i < s->nshards; i++) vq_shard_close(&fresh[i]);
    return rc;
}

/* A file that will not do is not opened by each search: what was wrong with it is remembered until
 * the next look. */
static vq_status look(vq_searcher *s, bool asked, vq_error *err)
{
    vq_error e = {0};
    vq_status rc = follow(s, asked, &e);
    s->followed = vq_now();
    s->unfit = rc != VQ_EBUSY ? e : (vq_error){0};
    return rc == VQ_OK ? rc : vq_fail(err, rc, "%s", e.text);
}

/* Newer snapshots of the files are seen at once, since that costs two loads; other files under
 * their names, for which the system is asked, now and then, or when the caller asks. */
static vq_status refresh(vq_searcher *s, bool asked, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (asked || vq_now() - s->followed >= FOLLOW_SECONDS) VQ_TRY(look(s, asked, err));
    VQ_REQUIRE(s->unfit.code == VQ_OK, (vq_status)s->unfit.code, "%s", s->unfit.text);
    for (size_t i = 0; i < s->nshards; i++) VQ_TRY(vq_shard_refresh(&s->shards[i], err));
    VQ_TRY(mask_all(s, err));
out:
    return rc;
}

vq_status vq_searcher_refresh(vq_searcher *s, vq_error *err)
{
    return s != NULL ? refresh(s, true, err) : vq_fail(err, VQ_EINVAL, "refresh: no searcher");
}

vq_status vq_search(vq_searcher *s, const float *q, size_t nq, uint32_t k, uint64_t *ids,
                    float *scores, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t cells;
    VQ_REQUIRE(s != NULL, VQ_EINVAL, "search: no searcher");
    VQ_REQUIRE(k >= 1 && k < VQ_NONE, VQ_EINVAL, "search: k is %u, expected 1 or more", k);
    VQ_REQUIRE(nq == 0 || (q != NULL && ids != NULL), VQ_EINVAL, "search: no queries or no ids");
    VQ_REQUIRE(vq_mul_size(nq, k, &cells) && vq_mul_size(cells, sizeof *ids, &cells), VQ_EINVAL,
               "search: %zu queries with %u results each", nq, k);
    VQ_TRY(s->pinned ? mask_all(s, err) : refresh(s, false, err));
    VQ_TRY(vq_search_run(s, q, nq, k, ids, scores, err));
out:
    return rc;
}

vq_status vq_search_within(vq_searcher *s, const float *q, float bound, uint64_t most, vq_hit_fn fn,
                           void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(s != NULL && q != NULL && fn != NULL, VQ_EINVAL,
               "search: a searcher, a query and a function are needed");
    VQ_REQUIRE(!isnan(bound), VQ_EINVAL, "search: the bound is no number");
    VQ_TRY(s->pinned ? mask_all(s, err) : refresh(s, false, err));
    VQ_TRY(vq_range_run(s, q, bound, most, fn, ctx, err));
out:
    return rc;
}

static void forget_masks(vq_searcher *s)
{
    for (size_t i = 0; i < s->nshards; i++) {
        vq_mask_free(s->shards[i].mask);
        s->shards[i].mask = NULL;
    }
}

vq_status vq_searcher_filter(vq_searcher *s, uint32_t kind, const uint64_t *ids,
                             const char *const *names, uint64_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_filter *f = NULL;
    VQ_REQUIRE(s != NULL, VQ_EINVAL, "filter: no searcher");
    VQ_REQUIRE(kind <= VQ_FILTER_DENY, VQ_EINVAL, "filter: kind %u", kind);
    bool strings = s->shards[0].model.string_ids != 0;
    VQ_REQUIRE(kind == VQ_FILTER_NONE || n == 0 || (strings ? names != NULL : ids != NULL),
               VQ_EINVAL, "filter: the index has %s ids; give such", strings ? "string" : "number");
    if (kind != VQ_FILTER_NONE)
        VQ_TRY(vq_filter_make(&f, strings ? NULL : ids, strings ? names : NULL, n, kind, err));
    vq_filter_free(s->filter);
    s->filter = f;
    forget_masks(s);
out:
    return rc;
}

vq_status vq_searcher_filter_text(vq_searcher *s, const char *expression, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_expr *e = NULL;
    VQ_REQUIRE(s != NULL, VQ_EINVAL, "filter: no searcher");
    if (expression != NULL) VQ_TRY(vq_expr_parse(&e, expression, err));
    vq_expr_free(s->expr);
    s->expr = e;
    forget_masks(s);
out:
    return rc;
}

void vq_searcher_effort(const vq_searcher *s, uint32_t k, uint32_t *nprobe, uint32_t *rerank)
{
    vq_effort e = vq_searcher_effort_of(s, &s->shards[0], k);
    if (nprobe != NULL) *nprobe = e.nprobe;
    if (rerank != NULL) *rerank = e.exact ? e.candidates : VQ_NONE;
}

float vq_searcher_recall(const vq_searcher *s, uint32_t k)
{
    return vq_searcher_effort_of(s, &s->shards[0], k).recall;
}

vq_status vq_searcher_stats(const vq_searcher *s, vq_search_stats *stats, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_search_stats sum = VQ_SEARCH_STATS_INIT;
    VQ_REQUIRE(s != NULL && stats != NULL, VQ_EINVAL, "stats: a searcher and a struct are needed");
    for (int i = 0; i < s->threads; i++) {
        sum.queries += s->stats[i].queries;
        sum.lists += s->stats[i].lists;
        sum.vectors += s->stats[i].vectors;
        sum.rows += s->stats[i].rows;
        sum.copies += s->stats[i].copies;
        sum.codes += s->stats[i].codes;
    }
    VQ_TRY(vq_opts_export(stats, &sum, sizeof sum, err));
out:
    return rc;
}
