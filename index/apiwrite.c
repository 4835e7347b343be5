/* SPDX-License-Identifier: Apache-2.0 */
/* apiwrite.c -- the public functions that change an index: check arguments, call below. */
#include "index/compact.h"
#include "index/merge.h"
#include "index/opts.h"
#include "index/pagecheck.h"
#include "index/split.h"
#include "index/update.h"

struct vq_writer {
    vq_change *change;
    vq_shard shard; /* the newest snapshot, but for.. */
    bool behind;    /* ..a commit whose snapshot could not be had yet */
    vq_pending batch;
    vq_ticker ticker;
};

_Static_assert(offsetof(vq_writer_opts, progress_ctx) + sizeof(void *) == sizeof(vq_writer_opts),
               "no padding after the last field");
_Static_assert(offsetof(vq_compact_opts, progress_ctx) + sizeof(void *) == sizeof(vq_compact_opts),
               "no padding after the last field");
_Static_assert(offsetof(vq_merge_opts, progress_ctx) + sizeof(void *) == sizeof(vq_merge_opts),
               "no padding after the last field");
_Static_assert(offsetof(vq_write_report, untuned) + sizeof(uint64_t) == sizeof(vq_write_report),
               "no padding after the last field");

vq_status vq_writer_open(vq_writer **out, const char *path, const vq_writer_opts *opts,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_writer *w = NULL;
    vq_writer_opts o;
    VQ_REQUIRE(out != NULL, VQ_EINVAL, "writer: no place for it");
    *out = NULL;
    VQ_REQUIRE(path != NULL && path[0] != '\0', VQ_EINVAL, "writer: a path is needed");
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_REQUIRE(o.reserved == 0, VQ_EINVAL, "writer: the reserved field must be 0");
    uint32_t wait = o.wait_ms == VQ_NONE ? 0 : o.wait_ms == 0 ? VQ_CHANGE_WAIT_MS : o.wait_ms;
    w = vq_mem_calloc(1, sizeof *w);
    VQ_REQUIRE(w != NULL, VQ_ENOMEM, "writer: out of memory");
    w->ticker = (vq_ticker){.fn = o.progress, .ctx = o.progress_ctx};
    VQ_TRY(vq_change_begin(&w->change, path, wait, err));
    if (o.no_sync != 0) vq_change_no_sync(w->change);
    VQ_TRY(vq_shard_open(&w->shard, vq_change_file(w->change), err));
    VQ_TRY(vq_pages_sound(&w->shard.snapshot.pages, path, err)); /* LMDB believes them */
    VQ_TRY(vq_pending_init(&w->batch, &w->shard, vq_team(o.threads, 1024), err));
    *out = w;
    w = NULL;
out:
    vq_writer_close(w);
    return rc;
}

void vq_writer_close(vq_writer *w)
{
    if (w == NULL) return;
    vq_pending_fini(&w->batch);
    vq_shard_close(&w->shard);
    vq_change_end(w->change);
    vq_mem_free(w);
}

/* The snapshot of the last commit, if it could not be had then. */
static vq_status catch_up(vq_writer *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (!w->behind) goto out;
    VQ_TRY(vq_shard_refresh(&w->shard, err));
    VQ_TRY(vq_pending_clear(&w->batch, err));
    w->behind = false;
out:
    return rc;
}

static vq_status check_ids(const vq_writer *w, const vq_id_list *l, const char *what, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(w != NULL, VQ_EINVAL, "%s: no writer", what);
    VQ_REQUIRE(l->n == 0 || l->ids != NULL || l->names != NULL, VQ_EINVAL, "%s: ids are NULL",
               what);
    for (uint64_t i = 0; l->names != NULL && i < l->n; i++)
        VQ_REQUIRE(l->names[i] != NULL, VQ_EINVAL, "%s: name %llu is NULL", what,
                   (unsigned long long)i);
out:
    return rc;
}

static vq_status put(vq_writer *w, vq_source *src, const vq_id_list *l, bool upsert, vq_error *err)
{
    vq_status rc = VQ_OK;
    const char *what = upsert ? "upsert" : "add";
    VQ_TRY(check_ids(w, l, what, err));
    VQ_REQUIRE(src != NULL, VQ_EINVAL, "%s: a source is needed", what);
    VQ_TRY(catch_up(w, err));
    VQ_TRY(vq_pending_put(&w->batch, src, l, upsert, &w->ticker, err));
out:
    return rc;
}

vq_status vq_writer_add(vq_writer *w, vq_source *src, const uint64_t *ids, const char *const *names,
                        uint64_t nids, vq_error *err)
{
    return put(w, src, &(vq_id_list){.ids = ids, .names = names, .n = nids}, false, err);
}

vq_status vq_writer_upsert(vq_writer *w, vq_source *src, const uint64_t *ids,
                           const char *const *names, uint64_t nids, vq_error *err)
{
    return put(w, src, &(vq_id_list){.ids = ids, .names = names, .n = nids}, true, err);
}

vq_status vq_writer_delete(vq_writer *w, const uint64_t *ids, const char *const *names,
                           uint64_t nids, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_id_list l = {.ids = ids, .names = names, .n = nids};
    VQ_TRY(check_ids(w, &l, "delete", err));
    if (nids == 0) goto out;
    VQ_TRY(catch_up(w, err));
    VQ_TRY(vq_pending_remove(&w->batch, &l, err));
out:
    return rc;
}

vq_status vq_writer_set(vq_writer *w, const vq_attributes *attributes, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_attributes a;
    VQ_REQUIRE(w != NULL, VQ_EINVAL, "set: no writer");
    VQ_TRY(vq_opts_import(&a, sizeof a, attributes, err));
    VQ_TRY(vq_attributes_check(&a, err));
    if (a.n == 0) goto out;
    VQ_TRY(catch_up(w, err));
    VQ_TRY(vq_pending_set(&w->batch, &a, err));
out:
    return rc;
}

static vq_status put_batch(vq_writer *w, vq_update *u, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(vq_update_plan(u, &w->batch, err));
    VQ_TRY(vq_change_apply(w->change, vq_update_write, u, err));
out:
    return rc;
}

/* With lists that split and dissolve, or, if anything of that fails, as it is: what other lists
 * have is not what was asked for, and may be damaged. */
static vq_status commit_batch(vq_writer *w, vq_update *u, vq_error *err)
{
    vq_error ignored = {0};
    (void)vq_pending_split(&w->batch, &ignored);
    if (w->batch.split.instead == NULL) return put_batch(w, u, err);
    vq_status rc = put_batch(w, u, &ignored);
    if (rc == VQ_OK) return rc;
    vq_update_fini(u);
    *u = (vq_update){0};
    vq_pending_unsplit(&w->batch);
    return put_batch(w, u, err);
}

vq_status vq_writer_commit(vq_writer *w, vq_write_report *report, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_update u = {0};
    vq_write_report r = VQ_WRITE_REPORT_INIT;
    vq_error ignored = {0};
    VQ_REQUIRE(w != NULL, VQ_EINVAL, "commit: no writer");
    VQ_TRY(catch_up(w, err));
    if (report != NULL) VQ_TRY(vq_opts_export(report, &r, sizeof r, err)); /* can it be told? */
    r.n = w->shard.model.n;
    r.drift = vq_model_drift(&w->shard.model);
    r.untuned = vq_model_untuned(&w->shard.model);
    if (!vq_pending_empty(&w->batch)) {
        VQ_TRY(commit_batch(w, &u, err));
        r.added = u.added, r.replaced = u.replaced, r.deleted = u.deleted;
        r.clamped = w->batch.clamped;
        r.set = u.set;
        r.n = u.model.n;
        r.drift = vq_model_drift(&u.model);
        r.untuned = vq_model_untuned(&u.model);
    }
    w->behind = true;
    (void)catch_up(w, &ignored); /* the commit is made, whatever comes of this */
    if (report != NULL) VQ_TRY(vq_opts_export(report, &r, sizeof r, err));
out:
    vq_update_fini(&u);
    if (w != NULL && !w->behind) vq_pending_unsplit(&w->batch); /* it has failed */
    return rc;
}

vq_status vq_compact(const char *path, const char *out, const vq_compact_opts *opts, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_compact_opts o;
    VQ_REQUIRE(path != NULL && path[0] != '\0' && (out == NULL || out[0] != '\0'), VQ_EINVAL,
               "compact: a path is needed");
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_TRY(vq_compact_file(path, out, false, &o, err));
out:
    return rc;
}

/* Of a path that is read and one that is written. */
static vq_status copy_to(const char *path, const char *out, const vq_compact_opts *opts,
                         vq_compact_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(path != NULL && path[0] != '\0' && out != NULL && out[0] != '\0', VQ_EINVAL,
               "two paths are needed");
    VQ_TRY(vq_opts_import(o, sizeof *o, opts, err));
out:
    return rc;
}

vq_status vq_backup(const char *path, const char *out, const vq_compact_opts *opts, vq_error *err)
{
    vq_compact_opts o;
    vq_status rc = copy_to(path, out, opts, &o, err);
    return rc == VQ_OK ? vq_backup_file(path, out, &o, err) : rc;
}

vq_status vq_restore(const char *path, const char *out, const vq_compact_opts *opts, vq_error *err)
{
    vq_compact_opts o;
    vq_status rc = copy_to(path, out, opts, &o, err);
    return rc == VQ_OK ? vq_restore_file(path, out, &o, err) : rc;
}

vq_status vq_merge(const char *const *paths, size_t n, const char *out, const vq_merge_opts *opts,
                   vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_merge_opts o;
    VQ_REQUIRE(paths != NULL && out != NULL && out[0] != '\0', VQ_EINVAL,
               "merge: paths are needed, and one to write");
    VQ_REQUIRE(n >= 2, VQ_EINVAL, "merge: %zu index, expected 2 or more", n);
    for (size_t i = 0; i < n; i++)
        VQ_REQUIRE(paths[i] != NULL && paths[i][0] != '\0', VQ_EINVAL, "merge: path %zu is empty",
                   i);
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_REQUIRE(o.reserved == 0, VQ_EINVAL, "merge: the reserved field must be 0");
    VQ_REQUIRE(o.keep <= VQ_KEEP_LAST, VQ_EINVAL, "merge: keep %u: there is no such choice",
               o.keep);
    VQ_TRY(vq_merge_files(paths, n, out, &o, err));
out:
    return rc;
}

void vq_writer_abort(vq_writer *w)
{
    vq_error ignored = {0};
    if (w == NULL) return;
    w->behind = true;
    (void)catch_up(w, &ignored);
}
