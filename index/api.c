/* SPDX-License-Identifier: Apache-2.0 */
/* api.c -- the public functions about an index: check arguments, call below; no algorithm. */
#include <stdio.h>
#include <string.h>

#include "index/build.h"
#include "index/check.h"
#include "index/docs.h"
#include "index/follow.h"
#include "index/opts.h"
#include "index/stored.h"
#include "index/tune.h"

/* Fields may be appended to these; padding at the end would read an old caller's garbage. */
#define NO_TAIL(type, last)                                                                        \
    _Static_assert(offsetof(type, last) + sizeof(((type *)0)->last) == sizeof(type),               \
                   "no padding after the last field")
NO_TAIL(vq_build_opts, model);
NO_TAIL(vq_info, untuned);
NO_TAIL(vq_check_report, problems);
NO_TAIL(vq_tune_opts, progress_ctx);

uint32_t vq_version(void)
{
    return VQ_VERSION_MAJOR << 16 | VQ_VERSION_MINOR << 8 | VQ_VERSION_PATCH;
}

vq_status vq_build(const char *path, vq_source *src, const vq_build_opts *opts, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_build_opts o;
    vq_file *model = NULL;
    VQ_REQUIRE(path != NULL && path[0] != '\0' && src != NULL, VQ_EINVAL,
               "build: a path and a source are needed");
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_REQUIRE(o.reserved == 0 && o.reserved2 == 0, VQ_EINVAL,
               "build: the reserved fields must be 0");
    uint32_t metric = o.metric, store = o.store, copies = o.copies;
    vq_stored_defaults(src, &o);
    if (o.model != NULL) o.metric = metric, o.store = store, o.copies = copies; /* the model's */
    if (o.model != NULL) VQ_TRY(vq_index_file(o.model, &model, err));
    VQ_TRY(vq_build_file(path, src, &o, model, err));
out:
    vq_file_close(model);
    return rc;
}

vq_status vq_open(vq_index **out, const char *path, uint32_t flags, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(out != NULL, VQ_EINVAL, "open: no place for the index");
    *out = NULL;
    VQ_REQUIRE(path != NULL, VQ_EINVAL, "open: a path is needed");
    VQ_REQUIRE(flags == 0, VQ_EINVAL, "open: flags must be 0, not %u", flags);
    VQ_TRY(vq_index_open(out, path, err));
out:
    return rc;
}

void vq_close(vq_index *ix)
{
    vq_index_free(ix);
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
    VQ_TRY(vq_index_shard(ix, &shard, err));
    const vq_model *m = &shard.model;
    i.n = m->n;
    i.file_bytes = vq_file_bytes(shard.snapshot.file);
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
    i.mapped = m->query_map && !vq_model_rounded(m); /* that one is not learnt of queries */
    i.copies = m->copies;
    i.copies_bytes = db_bytes(&shard.snapshot, VQ_DB_COPIES);
    for (vq_db db = VQ_DB_DOCUMENTS; db <= VQ_DB_TIMES; db++)
        i.attributes_bytes += db_bytes(&shard.snapshot, db);
    i.added = m->added;
    i.drift = vq_model_drift(m);
    i.gain = m->gain;
    i.untuned = vq_model_untuned(m);
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
    VQ_TRY(vq_index_shard(ix, &shard, err));
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
    vq_file *file = NULL;
    VQ_REQUIRE(out != NULL, VQ_EINVAL, "source: no place for it");
    *out = NULL;
    VQ_REQUIRE(ix != NULL, VQ_EINVAL, "source: an index is needed");
    VQ_TRY(vq_index_file(ix, &file, err));
    VQ_TRY(vq_stored_open(out, file, ix->path, err));
out:
    vq_file_close(file);
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
    VQ_TRY(vq_index_shard(ix, &shard, err));
    *count = shard.model.tune.n;
    bool bars = shard.model.codec->bar != NULL; /* decide what is scored, not the curve */
    for (size_t i = 0; i < VQ_MIN(max, *count); i++) {
        vq_setting s = vq_relation_setting(&shard.model.tune, i);
        points[i] = (vq_tune_point){.k = (uint32_t)s.k,
                                    .recall = s.recall,
                                    .lists = s.mean_lists,
                                    .vectors = s.mean_vectors,
                                    .rows = bars ? 0.0f : s.mean_rows,
                                    .most_lists = (uint32_t)s.nprobe,
                                    .most_rows = bars ? 0 : (uint32_t)s.depth,
                                    .queries = (uint32_t)s.queries};
    }
out:
    vq_shard_close(&shard);
    return rc;
}

vq_status vq_tags(vq_index *ix, vq_tag_fn fn, void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard shard = {0};
    VQ_REQUIRE(ix != NULL && fn != NULL, VQ_EINVAL, "tags: an index and a function are needed");
    VQ_TRY(vq_index_shard(ix, &shard, err));
    VQ_TRY(vq_docs_walk_tags(&shard.snapshot, fn, ctx, err));
out:
    vq_shard_close(&shard);
    return rc;
}
