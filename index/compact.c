/* SPDX-License-Identifier: Apache-2.0 */
/* compact.c -- see compact.h.  Values are copied as they are, each summed on the way, in the order
 * in which a build writes them; so what a digest says stays. */
#include "index/compact.h"

#include <string.h>

#include "index/change.h"
#include "index/pagecheck.h"
#include "index/searcher.h"

typedef struct compact {
    vq_shard shard;
    vq_store *store;
    vq_ticker ticker;
    uint64_t done, total; /* values */
} compact;

static vq_status copy_db(compact *c, vq_db db, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &c->shard.snapshot;
    vq_cursor at;
    VQ_TRY(vq_cursor_first(&at, &s->pages, &s->db[db], err));
    for (; at.depth > 0; c->done++) {
        const vq_node *n = &at.node;
        uint8_t *room;
        if (db != VQ_DB_IDS) VQ_TRY(vq_record_verify(n->value, n->len, vq_db_names[db], err));
        VQ_TRY(vq_store_put(c->store, db, n->key, n->key_len, n->len, &room, err));
        memcpy(room, n->value, n->len);
        VQ_TRY(vq_tick(&c->ticker, "copy", c->done + 1, c->total, err));
        VQ_TRY(vq_cursor_next(&at, err));
    }
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(s->file));
}

static vq_status copy_all(compact *c, vq_error *err)
{
    static const vq_db order[] = {VQ_DB_MODEL, VQ_DB_LISTS, VQ_DB_VECTORS,   VQ_DB_COPIES,
                                  VQ_DB_IDS,   VQ_DB_NAMES, VQ_DB_DOCUMENTS, VQ_DB_TAGGED,
                                  VQ_DB_TAGS,  VQ_DB_TIMES, VQ_DB_META};
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &c->shard.snapshot;
    vq_tree copies;
    VQ_TRY(vq_pages_sound(&s->pages, vq_file_path(s->file), err));
    VQ_REQUIRE(s->pages.size == 2 * vq_store_value_min(c->store), VQ_EUNSUPPORTED,
               "%s: it has pages of %zu bytes, files made here have %zu; build it anew",
               vq_file_path(s->file), s->pages.size, 2 * vq_store_value_min(c->store));
    for (size_t i = 0; i < VQ_DB_COUNT; i++)
        if (s->db[i].root != VQ_NO_PAGE) c->total += s->db[i].entries;
    rc = vq_tree_open(&s->pages, vq_db_names[VQ_DB_COPIES], &copies, err);
    if (rc == VQ_OK) rc = vq_store_want_copies(c->store, err); /* though it may be empty */
    if (rc != VQ_OK && rc != VQ_ENOENT) goto out;
    for (size_t i = 0; i < VQ_COUNT(order); i++) VQ_TRY(copy_db(c, order[i], err));
    VQ_TRY(vq_tick(&c->ticker, "sync", 0, 0, err));
    VQ_TRY(vq_store_finish(c->store, err));
out:
    return rc;
}

vq_status vq_compact_file(const char *path, const char *out, bool private, const vq_compact_opts *o,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_change *change = NULL;
    vq_file *file = NULL;
    int claim = -1;
    char *real = NULL; /* what is written */
    compact c = {.ticker = {.fn = o->progress, .ctx = o->progress_ctx}};
    uint32_t wait = o->wait_ms == VQ_NONE ? 0 : o->wait_ms == 0 ? VQ_CHANGE_WAIT_MS : o->wait_ms;
    VQ_TRY(vq_file_real(out != NULL ? out : path, &real, err));
    if (out == NULL) VQ_TRY(vq_change_begin(&change, path = real, wait, err));
    if (out != NULL && o->force != 0) VQ_TRY(vq_change_claim(&claim, real, wait, err));
    VQ_TRY((private ? vq_file_open_private : vq_file_open)(&file, path, err));
    VQ_TRY(vq_shard_open(&c.shard, file, err));
    VQ_TRY(vq_store_create(&c.store, real, out == NULL || o->force != 0, err));
    VQ_TRY(copy_all(&c, err));
out:
    vq_store_free(c.store);
    vq_shard_close(&c.shard);
    vq_file_close(file);
    vq_change_end(change);
    vq_change_unclaim(claim);
    vq_mem_free(real);
    return rc;
}
