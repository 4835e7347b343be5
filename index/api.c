/* SPDX-License-Identifier: Apache-2.0 */
/* api.c -- the public functions about an index: check arguments, call below; no algorithm. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "index/build.h"
#include "index/check.h"
#include "index/docs.h"
#include "index/expr.h"
#include "index/mask.h"
#include "index/opts.h"
#include "index/searcher.h"
#include "index/stored.h"
#include "index/tune.h"

/* Fields may be appended to these; padding at the end would read an old caller's garbage. */
#define NO_TAIL(type, last)                                                                        \
    _Static_assert(offsetof(type, last) + sizeof(((type *)0)->last) == sizeof(type),               \
                   "no padding after the last field")
NO_TAIL(vq_build_opts, model);
NO_TAIL(vq_search_opts, bars);
NO_TAIL(vq_info, reserved);
NO_TAIL(vq_search_stats, codes);
NO_TAIL(vq_check_report, problems);
NO_TAIL(vq_tune_opts, progress_ctx);

/* Vectors whose scan takes longer than the waking of threads: 30 microseconds by the fastest codes.
 */
enum { SPREAD_LEAST = 65536 };

uint32_t vq_version(void)
{
    return VQ_VERSION_MAJOR << 16 | VQ_VERSION_MINOR << 8 | VQ_VERSION_PATCH;
}

vq_status vq_build(const char *path, vq_source *src, const vq_build_opts *opts, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_build_opts o;
    VQ_REQUIRE(path != NULL && path[0] != '\0' && src != NULL, VQ_EINVAL,
               "build: a path and a source are needed");
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_REQUIRE(o.reserved == 0 && o.reserved2 == 0, VQ_EINVAL,
               "build: the reserved fields must be 0");
    uint32_t metric = o.metric, store = o.store, copies = o.copies;
    vq_stored_defaults(src, &o);
    if (o.model != NULL) o.metric = metric, o.store = store, o.copies = copies; /* the model's */
    VQ_TRY(vq_build_file(path, src, &o, o.model != NULL ? o.model->file : NULL, err));
out:
    return rc;
}

vq_status vq_open(vq_index **out, const char *path, uint32_t flags, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_index *ix = NULL;
    vq_shard shard;
    VQ_REQUIRE(out != NULL, VQ_EINVAL, "open: no place for the index");
    *out = NULL;
    VQ_REQUIRE(path != NULL, VQ_EINVAL, "open: a path is needed");
    VQ_REQUIRE(flags == 0, VQ_EINVAL, "open: flags must be 0, not %u", flags);
    ix = vq_mem_calloc(1, sizeof *ix);
    VQ_REQUIRE(ix != NULL, VQ_ENOMEM, "open: out of memory");
    VQ_TRY(vq_file_open(&ix->file, path, err));
    VQ_TRY(vq_shard_open(&shard, ix->file, err)); /* verifies meta and model */
    vq_shard_close(&shard);
    *out = ix;
    ix = NULL;
out:
    vq_close(ix);
    return rc;
}

void vq_close(vq_index *ix)
{
    if (ix == NULL) return;
    vq_file_close(ix->file);
    vq_mem_free(ix);
}

/* Bytes that a database's pages take. */
static uint64_t db_bytes(const vq_snapshot *s, vq_db db)
{
    const vq_tree *t = &s->db[db];
    if (t->root == VQ_NO_PAGE) return 0;
    return (t->branch_pages + t->leaf_pages + t->overflow_pages) * s->pages.size;
}

/* What is free, and who keeps it from being used. */
static vq_status describe_space(const vq_shard *s, vq_info *i, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_readers readers;
    uint64_t pages;
    VQ_TRY(vq_pages_free(&s->snapshot.pages, &pages, err));
    VQ_TRY(vq_file_readers(s->snapshot.file, &readers, err));
    i->free_bytes = pages * s->snapshot.pages.size;
    i->snapshot = i->oldest_snapshot = s->snapshot.pages.txn;
    if (readers.count <= 1) goto out; /* the one that we hold ourselves */
    i->readers = readers.count - 1;
    i->oldest_snapshot = VQ_MIN(readers.oldest, i->snapshot);
    i->oldest_pid = readers.oldest_pid;
out:
    return rc;
}

vq_status vq_index_info(vq_index *ix, vq_info *info, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard shard;
    vq_info i = VQ_INFO_INIT;
    memset(&shard, 0, sizeof shard);
    VQ_REQUIRE(ix != NULL && info != NULL, VQ_EINVAL, "info: an index and a struct are needed");
    VQ_TRY(vq_shard_open(&shard, ix->file, err));
    const vq_model *m = &shard.model;
    i.n = m->n;
    i.file_bytes = vq_file_bytes(ix->file);
    i.lists_bytes = db_bytes(&shard.snapshot, VQ_DB_LISTS);
    i.rows_bytes = db_bytes(&shard.snapshot, VQ_DB_VECTORS);
    i.seed = m->seed;
    i.d = m->d;
    i.d_code = m->d_code;
    i.metric = m->metric;
    i.nlist = m->nlist;
    i.store = m->store;
    i.input = m->input;
    i.code_bytes = vq_model_code_bytes(m);
    i.string_ids = m->string_ids;
    i.rotation = m->rotation;
    i.format_version = m->format;
    i.default_nprobe = m->nprobe;
    i.default_rerank = m->store != VQ_ELEM_NONE ? m->rerank : VQ_NONE;
    i.train = m->train;
    i.mapped = m->query_map != 0;
    i.copies = m->copies;
    i.copies_bytes = db_bytes(&shard.snapshot, VQ_DB_COPIES);
    for (vq_db db = VQ_DB_DOCUMENTS; db <= VQ_DB_TIMES; db++)
        i.attributes_bytes += db_bytes(&shard.snapshot, db);
    i.added = m->added;
    i.drift = vq_model_drift(m);
    i.tags = vq_docs_tags(&shard.snapshot);
    VQ_TRY(vq_docs_count(&shard.snapshot, &i.described, err));
    VQ_TRY(describe_space(&shard, &i, err));
    (void)snprintf(i.codec, sizeof i.codec, "%s", m->codec->name);
    (void)snprintf(i.why, sizeof i.why, "%s", m->why);
    VQ_TRY(vq_opts_export(info, &i, sizeof i, err));
out:
    vq_shard_close(&shard);
    return rc;
}

vq_status vq_index_digest(vq_index *ix, char hex[33], vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard shard;
    memset(&shard, 0, sizeof shard);
    VQ_REQUIRE(ix != NULL && hex != NULL, VQ_EINVAL, "digest: an index and room are needed");
    VQ_TRY(vq_shard_open(&shard, ix->file, err));
    VQ_TRY(vq_digest_shard(&shard, hex, err));
out:
    vq_shard_close(&shard);
    return rc;
}

vq_status vq_check(const char *path, vq_problem_fn fn, void *ctx, vq_check_report *report,
                   vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_check_report r = VQ_CHECK_REPORT_INIT;
    VQ_REQUIRE(path != NULL && report != NULL, VQ_EINVAL, "check: a path and a report are needed");
    VQ_TRY(vq_check_file(path, fn, ctx, &r, err));
    VQ_TRY(vq_opts_export(report, &r, sizeof r, err));
out:
    return rc;
}

vq_status vq_source_open_index(vq_source **out, vq_index *ix, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(out != NULL, VQ_EINVAL, "source: no place for it");
    *out = NULL;
    VQ_REQUIRE(ix != NULL, VQ_EINVAL, "source: an index is needed");
    VQ_TRY(vq_stored_open(out, ix->file, err));
out:
    return rc;
}

vq_status vq_source_ids(const vq_source *src, const uint64_t **ids, const char *const **names,
                        uint64_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(src != NULL && ids != NULL && names != NULL && n != NULL, VQ_EINVAL,
               "ids: a source and three places are needed");
    VQ_TRY(vq_stored_ids(src, ids, names, n, err));
out:
    return rc;
}

vq_status vq_source_attributes(vq_source *src, uint64_t row, vq_document *out, vq_error *err)
{
    if (src == NULL || out == NULL)
        return vq_fail(err, VQ_EINVAL, "attributes: a source and a struct are needed");
    return vq_stored_attributes(src, row, out, err);
}

/* ---- searchers ---- */

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
    s->stats = vq_mem_calloc((size_t)s->threads, sizeof *s->stats);
    VQ_REQUIRE(s->workers != NULL && s->shards != NULL && s->stats != NULL, VQ_ENOMEM,
               "searcher: %zu indexes", nix);
    for (size_t i = 0; i < nix; i++) {
        VQ_REQUIRE(ix[i] != NULL, VQ_EINVAL, "searcher: index %zu is NULL", i);
        VQ_TRY(vq_shard_open(&s->shards[i], ix[i]->file, err));
        s->nshards++;
        VQ_REQUIRE(o.rerank == 0 || o.rerank == VQ_NONE || s->shards[i].model.store != VQ_ELEM_NONE,
                   VQ_EUNSUPPORTED,
                   "%s: it was built without stored rows, so no candidate can be reranked",
                   vq_file_path(ix[i]->file));
        VQ_REQUIRE(o.recall == 0.0f || o.recall == 1.0f || s->shards[i].model.tune != NULL,
                   VQ_EUNSUPPORTED,
                   "%s: it is not tuned, so nobody knows what a recall of %g takes; vq tune "
                   "measures it",
                   vq_file_path(ix[i]->file), (double)o.recall);
    }
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
    for (size_t i = 0; i < s->nshards; i++) vq_shard_close(&s->shards[i]);
    for (int i = 0; s->workers != NULL && i < s->threads; i++) vq_arena_fini(&s->workers[i]);
    vq_arena_fini(&s->shared);
    vq_filter_free(s->filter);
    vq_expr_free(s->expr);
    vq_mem_free(s->workers);
    vq_mem_free(s->stats);
    vq_mem_free(s->shards);
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

static vq_status refresh(vq_searcher *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < s->nshards; i++) VQ_TRY(vq_shard_refresh(&s->shards[i], err));
    VQ_TRY(mask_all(s, err));
out:
    return rc;
}

vq_status vq_searcher_refresh(vq_searcher *s, vq_error *err)
{
    return s != NULL ? refresh(s, err) : vq_fail(err, VQ_EINVAL, "refresh: no searcher");
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
    VQ_TRY(s->pinned ? mask_all(s, err) : refresh(s, err));
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
    VQ_TRY(s->pinned ? mask_all(s, err) : refresh(s, err));
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

/* ---- tuning ---- */

vq_status vq_tune(const char *path, const vq_tune_opts *opts, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_tune_opts o;
    VQ_REQUIRE(path != NULL && path[0] != '\0', VQ_EINVAL, "tune: a path is needed");
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_REQUIRE(o.reserved == 0, VQ_EINVAL, "tune: the reserved field must be 0");
    VQ_REQUIRE(o.nqueries == 0 || o.queries != NULL, VQ_EINVAL, "tune: queries is NULL");
    VQ_TRY(vq_tune_index(path, &o, err));
out:
    return rc;
}

vq_status vq_tune_points(vq_index *ix, vq_tune_point *points, size_t max, size_t *count,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard shard;
    memset(&shard, 0, sizeof shard);
    VQ_REQUIRE(ix != NULL && count != NULL && (points != NULL || max == 0), VQ_EINVAL,
               "tune: an index, room and a count are needed");
    VQ_TRY(vq_shard_open(&shard, ix->file, err));
    *count = shard.model.tune_rows;
    for (size_t i = 0; i < VQ_MIN(max, *count); i++) {
        vq_setting s = vq_setting_get(shard.model.tune + i * VQ_TUNE_COLS);
        points[i] = (vq_tune_point){.k = (uint32_t)s.k,
                                    .recall = s.recall,
                                    .lists = s.mean_lists,
                                    .vectors = s.mean_vectors,
                                    .rows = s.mean_rows,
                                    .most_lists = (uint32_t)s.nprobe,
                                    .most_rows = (uint32_t)s.depth,
                                    .queries = (uint32_t)s.queries};
    }
out:
    vq_shard_close(&shard);
    return rc;
}

vq_status vq_tags(vq_index *ix, vq_tag_fn fn, void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_snapshot s = {0};
    VQ_REQUIRE(ix != NULL && fn != NULL, VQ_EINVAL, "tags: an index and a function are needed");
    VQ_TRY(vq_snapshot_begin(&s, ix->file, err));
    VQ_TRY(vq_docs_walk_tags(&s, fn, ctx, err));
out:
    vq_snapshot_end(&s);
    return rc;
}
