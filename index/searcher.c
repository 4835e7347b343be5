/* SPDX-License-Identifier: Apache-2.0 */
/* searcher.c -- shards: snapshots with their lists. */
#include "index/searcher.h"

#include <string.h>

#include "index/docs.h"
#include "index/mask.h"

static void free_list(vq_list_view *l)
{
    vq_mem_free(l->chunks);
    vq_mem_free(l->rows);
}

/* Where that fails a search reads all lists as if they held something. */
static void find_vacant(vq_shard *s, const vq_vacant *old)
{
    vq_error ignored = {0};
    if (s->model.ngroups > 0) return; /* these may name any list */
    (void)vq_vacant_find(&s->vacant, &s->snapshot, s->model.nlist, old, &ignored);
}

/* Of a snapshot, which becomes the shard's.  known: of an earlier one that is still held, or NULL.
 */
static vq_status open_shard(vq_shard *s, const vq_snapshot *snapshot, const vq_model *known,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(s, 0, sizeof *s);
    s->snapshot = *snapshot;
    VQ_TRY(vq_model_read(&s->model, &s->snapshot, known, err));
    s->capacity = vq_chunk_capacity(&s->model.shape);
    s->row_capacity = vq_row_capacity(&s->model.shape);
    s->lists = vq_mem_calloc(s->model.nlist, sizeof *s->lists);
    s->room = s->model.nlist;
    s->lock = vq_mem_alloc(1, sizeof *s->lock);
    VQ_REQUIRE(s->lists != NULL && s->lock != NULL, VQ_ENOMEM, "searcher: %u lists",
               s->model.nlist);
    (void)pthread_mutex_init(s->lock, NULL);
    if (known == NULL) find_vacant(s, NULL);
out:
    if (rc != VQ_OK) vq_shard_close(s);
    return rc;
}

vq_status vq_shard_open(vq_shard *s, vq_file *f, vq_error *err)
{
    vq_snapshot snapshot;
    memset(s, 0, sizeof *s);
    vq_status rc = vq_snapshot_begin(&snapshot, f, err);
    return rc == VQ_OK ? open_shard(s, &snapshot, NULL, err) : rc;
}

bool vq_shard_room(vq_shard *s, uint32_t nlist)
{
    if (nlist <= s->room) return true;
    vq_list_view *grown = vq_mem_grow(s->lists, s->room, nlist, sizeof *grown);
    if (grown == NULL) return false;
    memset(grown + s->room, 0, (nlist - s->room) * sizeof *grown);
    s->lists = grown;
    s->room = nlist;
    return true;
}

/* Whether a brief of one model is one of the other. */
static bool same_arrays(vq_model *a, vq_model *b)
{
    vq_model_array of_a[VQ_MODEL_ARRAYS], of_b[VQ_MODEL_ARRAYS];
    size_t n = vq_model_arrays(a, of_a), m = vq_model_arrays(b, of_b), i = 0;
    while (i < n && i < m && *of_a[i].place == *of_b[i].place) i++;
    return i == n && i == m;
}

/* Whether records of one mean the same in the other. */
static bool same_shape(const vq_model *a, const vq_model *b)
{
    const vq_shape *x = &a->shape, *y = &b->shape;
    return a->codec == b->codec && x->code_bytes == y->code_bytes && x->row_bytes == y->row_bytes &&
           x->factors == y->factors && x->row_chunk == y->row_chunk;
}

/* The list and chunk of a key; NULL if it is none of a list that has been looked up. */
static vq_list_view *list_of(vq_shard *s, const uint8_t *key, size_t len, uint32_t *chunk)
{
    if (len != 8 || vq_be32(key) >= s->room) return NULL;
    *chunk = vq_be32(key + 4);
    return &s->lists[vq_be32(key)];
}

static void forget_codes(void *shard, const uint8_t *key, size_t len)
{
    vq_shard *s = shard;
    uint32_t chunk;
    vq_list_view *l = list_of(s, key, len, &chunk);
    if (l != NULL) l->loaded = false; /* where its other rows lie is still known */
    if (len == 8 && s->vacant.state != NULL) vq_vacant_forget(&s->vacant, vq_be32(key));
}

static void forget_rows(void *shard, const uint8_t *key, size_t len)
{
    vq_shard *s = shard;
    uint32_t chunk;
    vq_list_view *l = list_of(s, key, len, &chunk);
    if (l != NULL && l->rows != NULL && (uint64_t)chunk * s->row_capacity < l->n)
        l->rows[chunk] = NULL;
}

/* What has been looked up in an older snapshot, which is still held, and lies where it lay need not
 * be looked up again: after a change of a few vectors that is nearly all.  Without memory all is.
 */
static bool carry_lists(vq_shard *fresh, vq_shard *s)
{
    static const vq_db dbs[] = {VQ_DB_VECTORS, VQ_DB_LISTS, VQ_DB_COPIES};
    const vq_snapshot *a = &s->snapshot, *b = &fresh->snapshot;
    vq_error ignored = {0};
    vq_status rc = same_shape(&s->model, &fresh->model) ? VQ_OK : VQ_EUNSUPPORTED;
    for (size_t i = 0; i < VQ_COUNT(dbs) && rc == VQ_OK; i++)
        rc = vq_tree_differs(&a->pages, &a->db[dbs[i]], &b->pages, &b->db[dbs[i]],
                             dbs[i] == VQ_DB_VECTORS ? forget_rows : forget_codes, s, &ignored);
    if (rc != VQ_OK || !vq_shard_room(s, fresh->model.nlist)) return false;
    vq_list_view *lists = fresh->lists;
    uint32_t room = fresh->room;
    fresh->lists = s->lists, fresh->room = s->room;
    s->lists = lists, s->room = room;
    return true;
}

vq_status vq_shard_refresh(vq_shard *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_snapshot snapshot;
    vq_shard fresh;
    if (vq_file_newest(s->snapshot.file) == s->snapshot.pages.txn) goto out;
    VQ_TRY(vq_snapshot_begin(&snapshot, s->snapshot.file, err));
    if (snapshot.pages.txn == s->snapshot.pages.txn) { /* a commit that is still on its way */
        vq_snapshot_end(&snapshot);
        goto out;
    }
    /* What lies where it lay is the same only while writers leave the old snapshot's pages. */
    bool held = vq_file_locked(s->snapshot.file);
    VQ_TRY(open_shard(&fresh, &snapshot, held ? &s->model : NULL, err));
    /* The arrays are, but after a list has split. */
    if (held && same_arrays(&fresh.model, &s->model)) {
        fresh.brief = s->brief;
        memset(&s->brief, 0, sizeof s->brief);
        fresh.groups = s->groups;
        memset(&s->groups, 0, sizeof s->groups);
    }
    bool carried = held && carry_lists(&fresh, s);
    if (held) find_vacant(&fresh, carried ? &s->vacant : NULL);
    vq_shard_close(s);
    *s = fresh;
out:
    return rc;
}

void vq_shard_close(vq_shard *s)
{
    for (uint32_t l = 0; s->lists != NULL && l < s->room; l++) free_list(&s->lists[l]);
    vq_mem_free(s->lists);
    if (s->lock != NULL) (void)pthread_mutex_destroy(s->lock);
    vq_mem_free(s->lock);
    vq_mem_free(s->names);
    vq_vacant_fini(&s->vacant);
    vq_mask_free(s->mask);
    if (s->docs != NULL) vq_doc_room_fini(s->docs);
    vq_mem_free(s->docs);
    vq_brief_free(&s->brief);
    vq_groups_free(&s->groups);
    vq_snapshot_end(&s->snapshot);
    memset(s, 0, sizeof *s);
}

/* One chunk of vectors or of copies; VQ_ENOENT if the list has no such chunk. */
static vq_status load_chunk(const vq_shard *s, vq_db db, uint32_t list, uint32_t chunk,
                            vq_chunk_view *view, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_shape *shape = &s->model.shape;
    const uint8_t *value;
    size_t len;
    uint8_t key[8];
    vq_list_chunk codes;
    vq_chunk_key(key, list, chunk);
    rc = vq_snapshot_get(&s->snapshot, db, key, sizeof key, &value, &len, err);
    if (rc != VQ_OK) return rc;
    VQ_TRY(vq_list_chunk_parse(shape, value, len, list, chunk, &codes, err));
    *view = (vq_chunk_view){
        .n = codes.n, .codes = codes.codes, .factors = codes.factors, .labels = codes.labels};
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(s->snapshot.file));
}

/* Rows of a chunk of a list that has been looked up. */
static uint32_t rows_of(const vq_shard *s, uint32_t list, uint32_t chunk)
{
    return VQ_MIN(s->lists[list].n - chunk * s->row_capacity, s->row_capacity);
}

static vq_status find_rows(const vq_shard *s, uint32_t list, uint32_t chunk, const uint8_t **rows,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t len;
    uint8_t key[8];
    uint32_t n = rows_of(s, list, chunk);
    vq_row_chunk found;
    vq_chunk_key(key, list, chunk);
    rc = vq_snapshot_get(&s->snapshot, VQ_DB_VECTORS, key, sizeof key, &value, &len, err);
    VQ_REQUIRE(rc != VQ_ENOENT, VQ_ECORRUPT, "rows %u/%u: there are none", list, chunk);
    if (rc != VQ_OK) return rc;
    VQ_TRY(vq_row_chunk_parse(&s->model.shape, value, len, list, chunk, &found, err));
    VQ_REQUIRE(found.n == n, VQ_ECORRUPT, "rows %u/%u: %u, expected %u", list, chunk, found.n, n);
    *rows = found.rows;
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(s->snapshot.file));
}

vq_status vq_shard_row(const vq_shard *s, uint64_t place, const uint8_t **row, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t list = (uint32_t)(place >> 32), slot = (uint32_t)place;
    uint32_t chunk = slot / s->row_capacity;
    VQ_REQUIRE(s->model.shape.row_bytes != 0, VQ_EUNSUPPORTED,
               "%s: it was built without stored rows", vq_file_path(s->snapshot.file));
    const uint8_t **at = &s->lists[list].rows[chunk], *rows = VQ_ATOMIC_LOAD(at);
    if (rows == NULL) {
        VQ_TRY(find_rows(s, list, chunk, &rows, err));
        VQ_ATOMIC_STORE(at, rows);
    }
    *row = rows + (size_t)(slot - chunk * s->row_capacity) * s->model.shape.row_bytes;
out:
    return rc;
}

vq_status vq_shard_row_verify(const vq_shard *s, uint64_t place, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t list = (uint32_t)(place >> 32), chunk = (uint32_t)place / s->row_capacity;
    uint64_t first = (uint64_t)list << 32 | (uint64_t)chunk * s->row_capacity;
    const uint8_t *rows = NULL;
    VQ_TRY(vq_shard_row(s, first, &rows, err));
    VQ_TRY(vq_record_verify(rows - VQ_RECORD_HEADER,
                            vq_row_chunk_size(&s->model.shape, rows_of(s, list, chunk)), "rows",
                            err));
out:
    return rc;
}

/* All chunks of one kind behind those that `l` has; *n vectors in *count of them. */
static vq_status load_chunks(const vq_shard *s, vq_db db, uint32_t list, vq_list_view *l,
                             uint32_t *count, uint32_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t before = l->nchunks + l->ncopied;
    for (uint32_t chunk = 0, last = 0; !last; chunk++) {
        vq_chunk_view view;
        rc = load_chunk(s, db, list, chunk, &view, err);
        if (rc == VQ_ENOENT) break;
        if (rc != VQ_OK) goto out;
        size_t at = before + chunk;
        vq_chunk_view *grown = vq_mem_grow(l->chunks, at, at + 1, sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "searcher: list %u", list);
        grown[at] = view;
        l->chunks = grown;
        *count = chunk + 1;
        *n += view.n;
        last = view.n < s->capacity; /* only a list's last chunk may be short */
    }
    rc = VQ_OK;
out:
    return rc;
}

/* Rows of chunks that lay in an older snapshot where they lie, and were as many. */
static void keep_rows(const vq_shard *s, const vq_list_view *old, vq_list_view *fresh)
{
    uint32_t c = s->row_capacity, n = VQ_MIN(old->n, fresh->n);
    uint32_t kept = old->n == fresh->n ? (uint32_t)((n + (uint64_t)c - 1) / c) : n / c;
    if (old->rows != NULL && kept > 0) memcpy(fresh->rows, old->rows, kept * sizeof *fresh->rows);
}

static vq_status load_list(vq_shard *s, uint32_t list, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_list_view fresh = {0}, *l = &s->lists[list];
    VQ_TRY(load_chunks(s, VQ_DB_LISTS, list, &fresh, &fresh.nchunks, &fresh.n, err));
    if (s->model.copies > 0)
        VQ_TRY(load_chunks(s, VQ_DB_COPIES, list, &fresh, &fresh.ncopied, &fresh.copies, err));
    if (s->model.shape.row_bytes != 0) {
        size_t count = (fresh.n + (uint64_t)s->row_capacity - 1) / s->row_capacity;
        fresh.rows = vq_mem_calloc(count, sizeof *fresh.rows);
        VQ_REQUIRE(fresh.rows != NULL, VQ_ENOMEM, "searcher: list %u", list);
        keep_rows(s, l, &fresh);
    }
    free_list(l);
    l->chunks = fresh.chunks;
    l->rows = fresh.rows;
    l->nchunks = fresh.nchunks, l->ncopied = fresh.ncopied;
    l->n = fresh.n, l->copies = fresh.copies;
    fresh.chunks = NULL;
    VQ_ATOMIC_STORE(&l->loaded, true); /* whoever sees this sees the rest */
out:
    vq_mem_free(fresh.chunks);
    return rc;
}

vq_status vq_shard_load(vq_shard *s, uint32_t list, vq_error *err)
{
    if (VQ_ATOMIC_LOAD(&s->lists[list].loaded)) return VQ_OK;
    (void)pthread_mutex_lock(s->lock);
    vq_status rc = s->lists[list].loaded ? VQ_OK : load_list(s, list, err);
    (void)pthread_mutex_unlock(s->lock);
    return rc;
}
