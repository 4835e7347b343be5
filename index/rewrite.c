/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite.c -- see update.h; the transaction.  Each chunk that a plan names is written once, from
 * the slots of the snapshot and the vectors of the batch.  What is copied from the snapshot is
 * summed first: damage must not be given a new checksum. */
#include "index/update.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/io/ids.h"

typedef struct rewrite {
    const vq_update *u;
    vq_change *c;
    vq_shard *s;
    uint32_t capacity;
    /* a chunk at work */
    uint32_t list, chunk, n;
    uint64_t *from; /* capacity: what its slots hold, as vq_edit.from */
    uint64_t *labels;
    float *factors;
    uint8_t *codes; /* capacity x code_bytes */
} rewrite;

/* ---- lists, vectors, copies ---- */

static int by_list(const void *a, const void *b)
{
    const uint32_t *list = a;
    const vq_resize *r = b;
    return (*list > r->list) - (*list < r->list);
}

/* The slots of a list after the update. */
static uint32_t slots_of(const rewrite *w, const vq_half *h, uint32_t list)
{
    const vq_list_view *l = &w->s->lists[list];
    const vq_resize *r = bsearch(&list, h->resizes, h->nresizes, sizeof *r, by_list);
    return r != NULL ? r->is : h->copies ? l->copies : l->n;
}

/* The first edit at a place or behind it. */
static size_t first_edit(const vq_half *h, uint64_t place)
{
    size_t lo = 0, hi = h->nedits;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (h->edits[mid].at < place)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* What the slots of a chunk, with room for `capacity`, will hold. */
static void find_sources(rewrite *w, const vq_half *h, uint32_t capacity, uint64_t chunk)
{
    w->list = (uint32_t)(chunk >> 32);
    w->chunk = (uint32_t)chunk;
    uint32_t first = w->chunk * capacity, is = slots_of(w, h, w->list);
    uint64_t place = (uint64_t)w->list << 32 | first;
    w->n = VQ_MIN(is - first, capacity);
    for (uint32_t i = 0; i < w->n; i++) w->from[i] = place + i;
    for (size_t e = first_edit(h, place); e < h->nedits && h->edits[e].at < place + w->n; e++)
        w->from[h->edits[e].at - place] = h->edits[e].from;
}

static const vq_chunk_view *view_at(const rewrite *w, const vq_half *h, uint64_t place,
                                    uint32_t *slot)
{
    const vq_list_view *l = &w->s->lists[place >> 32];
    uint32_t in_list = (uint32_t)place;
    *slot = in_list % w->capacity;
    return &l->chunks[(h->copies ? l->nchunks : 0) + in_list / w->capacity];
}

/* Sums the chunks of the snapshot that the sources lie in; rows: their chunks of rows. */
static vq_status verify_sources(const rewrite *w, const vq_half *h, bool rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t capacity = rows ? w->s->row_capacity : w->capacity;
    uint64_t last = UINT64_MAX;
    for (uint32_t i = 0; i < w->n; i++) {
        uint32_t slot;
        uint64_t from = w->from[i], chunk = (from >> 32 << 32) | (uint32_t)from / capacity;
        if ((from & VQ_FRESH) != 0 || chunk == last) continue;
        last = chunk;
        const vq_chunk_view *v = view_at(w, h, from, &slot);
        rc = rows ? vq_shard_row_verify(w->s, from, err)
                  : vq_record_verify(v->codes - VQ_RECORD_HEADER,
                                     vq_list_chunk_size(&w->s->model.shape, v->n), "lists", err);
        if (rc != VQ_OK) {
            rc = vq_fail_context(err, rc, "list %u", w->list);
            goto out;
        }
    }
out:
    return rc;
}

static void gather(rewrite *w, const vq_half *h)
{
    const vq_model *m = &w->s->model;
    const vq_pending *b = w->u->batch;
    size_t bytes = m->shape.code_bytes;
    for (uint32_t i = 0; i < w->n; i++) {
        uint64_t from = w->from[i], v = from & ~VQ_FRESH;
        uint8_t *code = w->codes + i * bytes;
        uint32_t slot;
        if (from != v) {
            memcpy(code, (h->copies ? b->copy_codes : b->codes) + v * bytes, bytes);
            w->factors[i] = h->copies ? b->copy_factors[v] : b->factors[v];
            w->labels[i] = h->copies ? w->u->vectors.places[v] : w->u->labels[v];
            continue;
        }
        const vq_chunk_view *view = view_at(w, h, from, &slot);
        uint64_t label = vq_le64(view->labels + 8 * (size_t)slot);
        m->codec->unpack(&m->code, view->codes, slot, code);
        w->factors[i] = view->factors != NULL ? view->factors[slot] : 0.0f;
        w->labels[i] = h->copies ? vq_half_moved(&w->u->vectors, label) : label;
    }
}

static vq_status write_codes(rewrite *w, const vq_half *h, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &w->s->model;
    size_t size = vq_list_chunk_size(&m->shape, w->n);
    uint8_t key[8], *room;
    VQ_TRY(verify_sources(w, h, false, err));
    gather(w, h);
    vq_chunk_key(key, w->list, w->chunk);
    VQ_TRY(vq_change_put(w->c, h->copies ? VQ_DB_COPIES : VQ_DB_LISTS, key, sizeof key, size, &room,
                         err));
    uint8_t *codes =
        vq_list_chunk_write(&m->shape, room, w->list, w->chunk, w->n, w->labels, w->factors);
    m->codec->pack(&m->code, w->codes, w->n, codes);
    vq_record_seal(room, size);
out:
    return rc;
}

static vq_status write_rows(rewrite *w, const vq_half *h, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_shape *shape = &w->s->model.shape;
    size_t size = vq_row_chunk_size(shape, w->n), bytes = shape->row_bytes;
    uint8_t key[8], *room;
    VQ_TRY(verify_sources(w, h, true, err));
    vq_chunk_key(key, w->list, w->chunk);
    VQ_TRY(vq_change_put(w->c, VQ_DB_VECTORS, key, sizeof key, size, &room, err));
    uint8_t *rows = vq_row_chunk_write(shape, room, w->list, w->chunk, w->n);
    for (uint32_t i = 0; i < w->n; i++) {
        const uint8_t *row = w->u->batch->rows + (w->from[i] & ~VQ_FRESH) * bytes;
        if ((w->from[i] & VQ_FRESH) == 0) VQ_TRY(vq_shard_row(w->s, w->from[i], &row, err));
        memcpy(rows + i * bytes, row, bytes);
    }
    vq_record_seal(room, size);
out:
    return rc;
}

/* The chunks that a list has no more. */
static vq_status drop_chunks(rewrite *w, const vq_half *h, vq_db db, uint32_t capacity,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < h->nresizes; i++) {
        const vq_resize *r = &h->resizes[i];
        uint64_t c = capacity, had = (r->was + c - 1) / c, has = (r->is + c - 1) / c;
        for (uint64_t chunk = has; chunk < had; chunk++) {
            uint8_t key[8];
            vq_chunk_key(key, r->list, (uint32_t)chunk);
            VQ_TRY(vq_change_delete(w->c, db, key, sizeof key, err));
        }
    }
out:
    return rc;
}

static vq_status write_half(rewrite *w, const vq_half *h, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool rows = !h->copies && w->s->model.shape.row_bytes != 0;
    for (int pass = 0; pass < (rows ? 2 : 1); pass++) {
        vq_db db = pass == 1 ? VQ_DB_VECTORS : h->copies ? VQ_DB_COPIES : VQ_DB_LISTS;
        uint32_t capacity = pass == 1 ? w->s->row_capacity : w->capacity;
        size_t n = pass == 1 ? h->nrow_chunks : h->nchunks;
        for (size_t i = 0; i < n; i++) {
            find_sources(w, h, capacity, (pass == 1 ? h->row_chunks : h->chunks)[i]);
            VQ_TRY(pass == 1 ? write_rows(w, h, err) : write_codes(w, h, err));
        }
        VQ_TRY(drop_chunks(w, h, db, capacity, err));
    }
out:
    return rc;
}

/* ---- ids, names ---- */

static vq_status write_ids(const rewrite *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_update *u = w->u;
    for (size_t i = 0; i < u->nids; i++) {
        const vq_id_edit *e = &u->ids[i];
        uint8_t *room;
        if (e->place == VQ_NO_PLACE) {
            VQ_TRY(vq_change_delete(w->c, VQ_DB_IDS, u->keys + e->key, e->len, err));
            continue;
        }
        bool copied = e->copy != VQ_NO_PLACE;
        VQ_TRY(
            vq_change_put(w->c, VQ_DB_IDS, u->keys + e->key, e->len, copied ? 16 : 8, &room, err));
        vq_put_le32(room, (uint32_t)(e->place >> 32));
        vq_put_le32(room + 4, (uint32_t)e->place);
        if (!copied) continue;
        vq_put_le32(room + 8, (uint32_t)(e->copy >> 32));
        vq_put_le32(room + 12, (uint32_t)e->copy);
    }
out:
    return rc;
}

typedef struct name_block {
    uint8_t *raw;                          /* as it was */
    char *text;                            /* its names, each with a zero */
    const char *names[VQ_NAMES_PER_BLOCK]; /* "" where there is none */
    size_t count;
    uint8_t *value;
    size_t cap;
} name_block;

static vq_status load_block(const rewrite *w, name_block *b, const uint8_t key[4], vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t len;
    uint32_t count = 0;
    b->count = 0;
    for (size_t i = 0; i < VQ_NAMES_PER_BLOCK; i++) b->names[i] = "";
    rc = vq_snapshot_get(&w->s->snapshot, VQ_DB_NAMES, key, 4, &value, &len, err);
    if (rc == VQ_ENOENT) return VQ_OK;
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_record_verify(value, len, "names", err));
    VQ_TRY(vq_names_parse(value, len, b->raw, vq_names_raw_max(), &count, err));
    const uint8_t *at = b->raw;
    char *text = b->text;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = vq_le16(at);
        VQ_REQUIRE(size <= VQ_ID_MAX, VQ_ECORRUPT, "names: one of %zu bytes", size);
        memcpy(text, at + 2, size);
        text[size] = '\0';
        b->names[i] = text;
        text += size + 1;
        at += 2 + size;
    }
    b->count = count;
out:
    return rc;
}

/* The block of the edits from..to-1. */
static vq_status write_block(const rewrite *w, name_block *b, size_t from, size_t to, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_name_edit *e = w->u->names;
    uint64_t block = e[from].label / VQ_NAMES_PER_BLOCK;
    uint8_t key[4], *room;
    size_t len, left = 0;
    VQ_REQUIRE(block <= UINT32_MAX, VQ_EINVAL, "no labels are left for names; build it anew");
    vq_put_be32(key, (uint32_t)block);
    VQ_TRY(load_block(w, b, key, err));
    bool had = b->count > 0;
    for (size_t i = from; i < to; i++) {
        size_t at = e[i].label % VQ_NAMES_PER_BLOCK;
        b->names[at] = e[i].name != NULL ? e[i].name : "";
        b->count = VQ_MAX(b->count, at + 1);
    }
    for (size_t i = 0; i < b->count; i++) left += b->names[i][0] != '\0';
    if (left == 0) {
        if (had) VQ_TRY(vq_change_delete(w->c, VQ_DB_NAMES, key, sizeof key, err));
        goto out;
    }
    VQ_TRY(vq_names_write(b->value, b->cap, &len, b->names, b->count, err));
    VQ_TRY(vq_change_put(w->c, VQ_DB_NAMES, key, sizeof key, len, &room, err));
    memcpy(room, b->value, len);
out:
    return rc;
}

static vq_status write_names(const rewrite *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_update *u = w->u;
    name_block b = {.cap = vq_names_bound(vq_names_raw_max())};
    if (u->nnames == 0) return VQ_OK;
    b.raw = vq_mem_alloc(vq_names_raw_max(), 1);
    b.text = vq_mem_alloc(vq_names_raw_max(), 1);
    b.value = vq_mem_alloc(b.cap, 1);
    VQ_REQUIRE(b.raw != NULL && b.text != NULL && b.value != NULL, VQ_ENOMEM, "names: %zu bytes",
               b.cap);
    for (size_t i = 0, end; i < u->nnames; i = end) {
        uint64_t block = u->names[i].label / VQ_NAMES_PER_BLOCK;
        for (end = i; end < u->nnames && u->names[end].label / VQ_NAMES_PER_BLOCK == block;) end++;
        VQ_TRY(write_block(w, &b, i, end, err));
    }
out:
    vq_mem_free(b.raw);
    vq_mem_free(b.text);
    vq_mem_free(b.value);
    return rc;
}

/* The vectors of the lists, where a list has given some of its own to others. */
static vq_status write_centroids(const rewrite *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model m = w->u->model;
    vq_model_array arrays[VQ_MODEL_ARRAYS];
    size_t count = vq_model_arrays(&m, arrays), min = m.shape.value_min;
    for (size_t i = 0; i < count && w->u->batch->split.nlist != 0; i++) {
        const vq_model_array *a = &arrays[i];
        size_t size = vq_array_size(a->rows, a->cols, min);
        uint8_t *room;
        if (a->place != &m.centroids && a->place != &m.routes && a->place != &m.biases) continue;
        VQ_TRY(vq_change_put(w->c, VQ_DB_MODEL, a->name, strlen(a->name), size, &room, err));
        vq_array_write(room, *a->place, a->rows, a->cols, min);
    }
out:
    return rc;
}

vq_status vq_update_write(void *update, vq_change *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_update *u = update;
    vq_sink sink = {.change = c, .shard = u->shard, .capacity = u->shard->capacity};
    rewrite w = {.u = u, .c = c, .s = u->shard, .capacity = u->shard->capacity};
    w.from = vq_mem_alloc(w.capacity, sizeof *w.from);
    w.labels = vq_mem_alloc(w.capacity, sizeof *w.labels);
    w.factors = vq_mem_alloc(w.capacity, sizeof *w.factors);
    w.codes = vq_mem_alloc(w.capacity, w.s->model.shape.code_bytes);
    VQ_REQUIRE(w.from != NULL && w.labels != NULL && w.factors != NULL && w.codes != NULL,
               VQ_ENOMEM, "a chunk of %u vectors", w.capacity);
    VQ_TRY(write_half(&w, &u->vectors, err));
    VQ_TRY(write_half(&w, &u->copies, err));
    VQ_TRY(write_ids(&w, err));
    VQ_TRY(write_names(&w, err));
    VQ_TRY(vq_docs_write(&u->docs, &sink, err));
    VQ_TRY(write_centroids(&w, err));
    VQ_TRY(vq_meta_change(&u->model, c, err));
out:
    vq_mem_free(w.from);
    vq_mem_free(w.labels);
    vq_mem_free(w.factors);
    vq_mem_free(w.codes);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(u->shard->snapshot.file));
}
