/* SPDX-License-Identifier: Apache-2.0 */
/* pending.c -- see pending.h.  A call looks up and checks all its ids, then reads and encodes its
 * rows, and only then changes what the ids stand for: a failure on the way changes nothing. */
#include "index/pending.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "index/split.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/io/ids.h"
#include "src/math/score.h"
#include "src/train/kmeans.h"

enum { BLOCK_BYTES = 8 << 20, BLOCK_ROWS = 4096, RESERVE_BYTES = 256 << 20 };
#define F16_MOST 65504.0f

/* ---- memory ---- */

vq_status vq_pending_init(vq_pending *b, vq_shard *shard, int threads, vq_error *err)
{
    memset(b, 0, sizeof *b);
    b->shard = shard;
    b->threads = threads;
    b->strings = shard->model.string_ids != 0;
    return vq_pending_clear(b, err);
}

static void free_names(vq_pending *b)
{
    for (size_t i = 0; i < b->nids; i++) vq_mem_free(b->ids[i].name);
    b->nids = 0;
}

void vq_pending_fini(vq_pending *b)
{
    free_names(b);
    vq_mem_free(b->ids);
    vq_table_fini(&b->table);
    vq_mem_free(b->owner), vq_mem_free(b->lists), vq_mem_free(b->copy_lists);
    vq_mem_free(b->factors), vq_mem_free(b->copy_factors), vq_mem_free(b->far);
    vq_mem_free(b->codes), vq_mem_free(b->copy_codes), vq_mem_free(b->rows);
    vq_encoder_close(b->encoder);
    vq_mem_free(b->in), vq_mem_free(b->wide), vq_mem_free(b->numbers), vq_mem_free(b->picks);
    vq_pending_docs_fini(&b->docs);
    vq_split_fini(&b->split);
    memset(b, 0, sizeof *b);
}

/* One past the largest id. */
static vq_status find_next(vq_pending *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &b->shard->snapshot;
    vq_node last;
    b->next = 0;
    if (b->strings) return VQ_OK;
    rc = vq_tree_last(&s->pages, &s->db[VQ_DB_IDS], &last, err);
    if (rc == VQ_ENOENT) return VQ_OK;
    if (rc == VQ_OK && last.key_len != sizeof(uint64_t))
        rc = vq_fail(err, VQ_ECORRUPT, "ids: a key of %zu bytes", last.key_len);
    if (rc == VQ_OK) b->next = vq_be64(last.key) + 1; /* 2^64 - 1 is no id */
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(s->file));
}

vq_status vq_pending_clear(vq_pending *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_tree t;
    const vq_snapshot *s = &b->shard->snapshot;
    free_names(b);
    vq_table_fini(&b->table);
    vq_pending_docs_fini(&b->docs);
    b->n = 0;
    b->clamped = 0;
    if (b->split.nlist != 0) { /* it knows the lists that were */
        vq_encoder_close(b->encoder);
        b->encoder = NULL;
    }
    vq_split_fini(&b->split);
    rc = vq_tree_open(&s->pages, vq_db_names[VQ_DB_COPIES], &t, err);
    if (rc != VQ_OK && rc != VQ_ENOENT) goto out;
    b->copies = rc == VQ_OK;
    VQ_TRY(find_next(b, err));
out:
    return rc;
}

bool vq_pending_empty(const vq_pending *b)
{
    for (size_t i = 0; i < b->nids; i++)
        if (b->ids[i].removed || b->ids[i].vector != VQ_NO_VECTOR ||
            b->ids[i].change != VQ_NO_CHANGE)
            return false;
    return true;
}

/* ---- ids ---- */

typedef struct wanted { /* for vq_table_find */
    const vq_pending *b;
    const char *name;
} wanted;

static bool same_name(const void *ctx, uint32_t i)
{
    const wanted *w = ctx;
    return strcmp(w->b->ids[i].name, w->name) == 0;
}

/* What the snapshot knows of an id; nothing, if it is not there. */
static vq_status look_up(vq_pending *b, const void *key, size_t len, vq_pending_id *id,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = b->shard;
    const uint8_t *value;
    size_t size;
    uint32_t slot;
    id->place = id->copy = VQ_NO_PLACE;
    rc = vq_snapshot_get(&s->snapshot, VQ_DB_IDS, key, len, &value, &size, err);
    if (rc == VQ_ENOENT) return VQ_OK;
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_shard_place(s, value, size, &id->place, err));
    const vq_chunk_view *v = vq_shard_at(s, id->place, &slot);
    uint64_t label = vq_le64(v->labels + 8 * (size_t)slot);
    VQ_REQUIRE(b->strings || label == id->id, VQ_ECORRUPT,
               "ids: slot %u of list %u is another's; vq check tells more", (uint32_t)id->place,
               (uint32_t)(id->place >> 32));
    id->id = label;
    if (size == 16) VQ_TRY(vq_shard_copy(s, value + 8, id->place, &id->copy, err));
out:
    return rc;
}

/* The entry of an id, made if there is none. */
static vq_status find_id(vq_pending *b, uint64_t number, const char *name, uint32_t *out,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_pending_id id = {.id = number, .vector = VQ_NO_VECTOR, .change = VQ_NO_CHANGE};
    wanted w = {.b = b, .name = name};
    uint8_t key[8];
    uint64_t hash = name != NULL ? vq_xxh3(name, strlen(name)) : number;
    *out = vq_table_find(&b->table, hash, name != NULL ? same_name : NULL, &w);
    if (*out != VQ_TABLE_NONE) goto out;
    VQ_REQUIRE(b->nids < VQ_TABLE_NONE, VQ_EINVAL, "more than 2^32 ids at once; commit earlier");
    vq_pending_id *grown =
        vq_mem_reserve(b->ids, b->nids, b->nids + 1, &b->ids_room, sizeof *grown);
    VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "a batch of %zu ids", b->nids);
    b->ids = grown;
    vq_put_be64(key, number);
    VQ_TRY(look_up(b, name != NULL ? name : (const void *)key, name != NULL ? strlen(name) : 8, &id,
                   err));
    if (name != NULL) {
        id.name = vq_mem_strdup(name);
        VQ_REQUIRE(id.name != NULL, VQ_ENOMEM, "a batch of %zu ids", b->nids);
    }
    b->ids[b->nids] = id;
    rc = vq_table_add(&b->table, hash, (uint32_t)b->nids, err);
    if (rc != VQ_OK) vq_mem_free(id.name);
    if (rc == VQ_OK) *out = (uint32_t)b->nids++;
out:
    return rc;
}

vq_status vq_pending_entry(vq_pending *b, uint64_t place, uint32_t *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t slot;
    char name[VQ_ID_MAX + 1];
    const vq_chunk_view *v = vq_shard_at(b->shard, place, &slot);
    uint64_t label = vq_le64(v->labels + 8 * (size_t)slot);
    if (b->strings) VQ_TRY(vq_shard_name(b->shard, label, name, sizeof name, err));
    VQ_TRY(find_id(b, label, b->strings ? name : NULL, out, err));
out:
    if (rc == VQ_OK && b->ids[*out].place == place) return VQ_OK;
    return rc != VQ_OK && rc != VQ_ENOENT
               ? rc
               : vq_fail(err, VQ_ECORRUPT, "ids: label %" PRIu64 " is at another place", label);
}

static bool is_there(const vq_pending_id *id)
{
    return id->vector != VQ_NO_VECTOR || (id->place != VQ_NO_PLACE && !id->removed);
}

/* "17" or "\"name\"", into room. */
static const char *spell(const vq_pending_id *id, char room[128])
{
    if (id->name != NULL)
        (void)snprintf(room, 128, "\"%.100s\"", id->name);
    else
        (void)snprintf(room, 128, "%" PRIu64, id->id);
    return room;
}

static vq_status check_list(const vq_pending *b, const vq_id_list *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(l->ids == NULL || l->names == NULL, VQ_EINVAL, "ids are numbers or names, not both");
    VQ_REQUIRE(!b->strings || l->names != NULL, VQ_EINVAL,
               "the index has string ids; give a name for each vector");
    VQ_REQUIRE(b->strings || l->names == NULL, VQ_EINVAL,
               "the index has numbers as ids, the given ones are names");
    for (uint64_t i = 0; i < l->n; i++) {
        size_t len = l->names != NULL ? strlen(l->names[i]) : 1;
        VQ_REQUIRE(len >= 1 && len <= VQ_ID_MAX, VQ_EINVAL,
                   "id %" PRIu64 " has %zu bytes, expected 1 to %u", i, len, VQ_ID_MAX);
        VQ_REQUIRE(l->ids == NULL || l->ids[i] != VQ_NO_ID, VQ_EINVAL,
                   "id %" PRIu64 ": %" PRIu64 " is no id, it stands for \"none\"", i, VQ_NO_ID);
    }
out:
    return rc;
}

/* The entries of all ids of a call into b->picks, each once. */
static vq_status pick(vq_pending *b, const vq_id_list *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    char room[128];
    VQ_TRY(check_list(b, l, err));
    VQ_REQUIRE(l->n < SIZE_MAX / 8, VQ_ENOMEM, "%" PRIu64 " ids", l->n);
    vq_mem_free(b->picks);
    b->npicks = 0;
    b->picks = vq_mem_alloc((size_t)l->n, sizeof *b->picks);
    VQ_REQUIRE(b->picks != NULL, VQ_ENOMEM, "%" PRIu64 " ids", l->n);
    b->calls++;
    for (; b->npicks < l->n; b->npicks++) {
        size_t i = b->npicks;
        uint32_t at;
        VQ_TRY(find_id(b, l->ids != NULL ? l->ids[i] : 0, l->names != NULL ? l->names[i] : NULL,
                       &at, err));
        vq_pending_id *id = &b->ids[at];
        VQ_REQUIRE(id->call != b->calls, VQ_EINVAL, "ids: rows %" PRIu64 " and %zu are both %s",
                   id->row, i, spell(id, room));
        id->call = b->calls;
        id->row = i;
        b->picks[i] = at;
    }
out:
    return rc;
}

/* ---- rows ---- */

static vq_status make_room(vq_pending *b, uint32_t d, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t tile = VQ_ASSIGN_TILE, fits = BLOCK_BYTES / (d * sizeof(float)) / tile * tile;
    if (b->encoder != NULL) return VQ_OK;
    size_t most = VQ_MIN(VQ_MAX(fits, tile), (size_t)BLOCK_ROWS);
    b->block = VQ_MIN(most, 4 * tile * (size_t)b->threads); /* fresh memory is dear */
    vq_mem_free(b->in), vq_mem_free(b->wide), vq_mem_free(b->numbers);
    b->in = vq_alloc_f32(b->block, d);
    b->wide = vq_alloc_f32(b->block, d);
    b->numbers = vq_mem_alloc(b->block, sizeof *b->numbers);
    VQ_REQUIRE(b->in != NULL && b->wide != NULL && b->numbers != NULL, VQ_ENOMEM,
               "a block of %zu rows", b->block);
    VQ_TRY(vq_encoder_open(&b->encoder, &b->shard->model, b->block, b->copies, b->threads, err));
out:
    return rc;
}

/* The first of count numbers that is beyond most, or, if whole, no whole number of least..most. */
static size_t find_beyond(const float *x, size_t count, float least, float most, bool whole)
{
    size_t i = 0;
    while (i < count && x[i] >= least && x[i] <= most && (!whole || x[i] == rintf(x[i]))) i++;
    return i;
}

/* Can the index hold these rows, and score them? */
static vq_status check_rows(vq_pending *b, const vq_source *src, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->shard->model;
    size_t count = n * m->d, at;
    float most = m->metric == VQ_METRIC_COSINE ? INFINITY : (float)vq_value_max(m->d);
    bool bytes = src->elem == VQ_I8 || src->elem == VQ_U8;
    bool whole = (m->store == VQ_I8 || m->store == VQ_U8) && m->store_scale == 1.0f;
    if (bytes && (m->store == src->elem || !whole)) goto out; /* whatever they are */
    vq_to_f32(vq_kernels_get(), src->elem, b->in, count, b->wide);
    at = find_beyond(b->wide, count, -most, most, false);
    VQ_REQUIRE(at == count, VQ_ECORRUPT,
               "%s: row %" PRIu64 ": %g; with %u dimensions scores beyond %g overflow", src->name,
               b->numbers[at / m->d], (double)b->wide[at], m->d, (double)most);
    if (m->store == VQ_F16 && src->elem != VQ_F16) {
        at = find_beyond(b->wide, count, -F16_MOST, F16_MOST, false);
        VQ_REQUIRE(at == count, VQ_ECORRUPT,
                   "%s: row %" PRIu64 ": %g; the index stores f16, which ends at %g", src->name,
                   b->numbers[at / m->d], (double)b->wide[at], (double)F16_MOST);
    } else if (whole) {
        bool sign = m->store == VQ_I8;
        at = find_beyond(b->wide, count, sign ? -128.0f : 0.0f, sign ? 127.0f : 255.0f, true);
        VQ_REQUIRE(at == count, VQ_ECORRUPT,
                   "%s: row %" PRIu64 ": %g; the index stores %s, whole numbers of %s", src->name,
                   b->numbers[at / m->d], (double)b->wide[at], vq_elem_name(m->store),
                   sign ? "-128 to 127" : "0 to 255");
    }
out:
    return rc;
}

/* An array of the batch, of at least `cap` elements from now on; false: out of memory. */
static bool widen(void *array, const vq_pending *b, size_t cap, size_t size)
{
    void **at = array, *grown = vq_mem_grow(*at, b->n, cap, size);
    if (grown != NULL) *at = grown;
    return grown != NULL;
}

static vq_status reserve(vq_pending *b, size_t more, vq_error *err)
{
    const vq_shape *s = &b->shard->model.shape;
    size_t cap = VQ_MAX(2 * b->cap, b->n + more);
    if (b->n + more <= b->cap) return VQ_OK;
    if (b->n + more >= VQ_NO_VECTOR)
        return vq_fail(err, VQ_EINVAL, "more than 2^32 vectors at once; commit earlier");
    bool ok = widen(&b->owner, b, cap, 4) && widen(&b->lists, b, cap, 4) &&
              widen(&b->copy_lists, b, cap, 4) && widen(&b->factors, b, cap, 4) &&
              widen(&b->copy_factors, b, cap, 4) && widen(&b->far, b, cap, 4) &&
              widen(&b->codes, b, cap, s->code_bytes) &&
              widen(&b->copy_codes, b, cap, s->code_bytes) && widen(&b->rows, b, cap, s->row_bytes);
    if (!ok) return vq_fail(err, VQ_ENOMEM, "a batch of %zu vectors", cap);
    b->cap = cap;
    return VQ_OK;
}

static void append(vq_pending *b, const vq_encoded *x, size_t n)
{
    const vq_shape *s = &b->shard->model.shape;
    memcpy(b->lists + b->n, x->lists, n * sizeof *b->lists);
    memcpy(b->far + b->n, x->far, n * sizeof *b->far);
    memcpy(b->codes + b->n * s->code_bytes, x->codes, n * s->code_bytes);
    if (x->factors != NULL) memcpy(b->factors + b->n, x->factors, n * sizeof *b->factors);
    for (size_t i = 0; i < n; i++)
        b->copy_lists[b->n + i] = x->copy_lists != NULL ? x->copy_lists[i] : VQ_NO_LIST;
    if (x->copy_lists != NULL)
        memcpy(b->copy_codes + b->n * s->code_bytes, x->copy_codes, n * s->code_bytes);
    if (x->copy_factors != NULL)
        memcpy(b->copy_factors + b->n, x->copy_factors, n * sizeof *b->copy_factors);
    if (x->rows != NULL) memcpy(b->rows + b->n * s->row_bytes, x->rows, n * s->row_bytes);
    b->n += n;
    b->clamped += x->clamped;
}

vq_status vq_pending_append(vq_pending *b, const vq_encoded *x, size_t n, vq_error *err)
{
    vq_status rc = reserve(b, n, err);
    if (rc == VQ_OK) append(b, x, n);
    return rc;
}

/* The ids of a block that has been appended: as picked, or from `first` on. */
static vq_status own_block(vq_pending *b, const vq_source *src, size_t n, bool given,
                           uint64_t first, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < n; i++) {
        uint64_t row = b->numbers[i];
        uint32_t *owner = &b->owner[b->n - n + i];
        VQ_REQUIRE(!given || row < b->npicks, VQ_EINVAL, "%s: more rows than the %zu ids for them",
                   src->name, b->npicks);
        VQ_REQUIRE(given || row < VQ_NO_ID - first, VQ_EINVAL,
                   "%s: row %" PRIu64 ": no id is left above the largest; give ids", src->name,
                   row);
        if (given)
            *owner = b->picks[row];
        else
            VQ_TRY(find_id(b, first + row, NULL, owner, err));
    }
out:
    return rc;
}

static vq_status read_rows(vq_pending *b, vq_source *src, bool given, vq_ticker *ticker,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->shard->model;
    size_t got = 1, first = b->n;
    if (src->row != 0) VQ_TRY(vq_source_rewind(src, err));
    if (src->n != VQ_N_UNKNOWN && src->n < RESERVE_BYTES / (m->shape.row_bytes + 64u))
        VQ_TRY(reserve(b, (size_t)src->n, err)); /* at once, where that is not much */
    for (;;) {
        vq_encoded x;
        VQ_TRY(vq_source_read(src, b->in, b->block, b->numbers, &got, err));
        if (got == 0) break;
        VQ_TRY(check_rows(b, src, got, err));
        VQ_TRY(vq_encoder_run(b->encoder, m, b->in, src->elem, got, &x, err));
        VQ_TRY(vq_pending_append(b, &x, got, err));
        VQ_TRY(own_block(b, src, got, given, b->next, err));
        VQ_TRY(vq_tick(ticker, "encode", b->n - first, src->n == VQ_N_UNKNOWN ? 0 : src->n, err));
    }
    VQ_REQUIRE(!given || src->row == b->npicks, VQ_EINVAL,
               "%s: %zu ids for %" PRIu64 " rows; there must be one id a row", src->name, b->npicks,
               src->row);
out:
    return rc;
}

vq_status vq_pending_put(vq_pending *b, vq_source *src, const vq_id_list *ids, bool upsert,
                         vq_ticker *ticker, vq_error *err)
{
    vq_status rc = VQ_OK;
    char room[128];
    const vq_model *m = &b->shard->model;
    size_t first = b->n;
    uint64_t clamped = b->clamped;
    bool given = ids->ids != NULL || ids->names != NULL;
    VQ_REQUIRE(src->d == m->d, VQ_EINVAL, "%s: vectors of %u dimensions, the index has %u",
               src->name, src->d, m->d);
    VQ_REQUIRE(!given || src->n == VQ_N_UNKNOWN || src->n == ids->n, VQ_EINVAL,
               "%s: %" PRIu64 " ids for %" PRIu64 " rows; there must be one id a row", src->name,
               ids->n, src->n);
    VQ_TRY(pick(b, ids, err));
    for (size_t i = 0; i < b->npicks && !upsert; i++) {
        const vq_pending_id *id = &b->ids[b->picks[i]];
        VQ_REQUIRE(
            !is_there(id), VQ_EINVAL,
            "id %s (row %zu) is in the index already; an upsert (vq add --upsert) replaces it",
            spell(id, room), i);
    }
    VQ_TRY(make_room(b, m->d, err));
    vq_team_blas_enter();
    rc = read_rows(b, src, given, ticker, err);
    vq_team_blas_leave();
    if (rc != VQ_OK) goto out;
    for (size_t v = first; v < b->n; v++) {
        vq_pending_id *id = &b->ids[b->owner[v]];
        id->removed = id->place != VQ_NO_PLACE;
        id->vector = (uint32_t)v;
        if (!b->strings && id->id >= b->next) b->next = id->id + 1;
    }
out:
    if (rc != VQ_OK) b->n = first, b->clamped = clamped;
    return rc;
}

/* All ids of a call must be there. */
static vq_status pick_there(vq_pending *b, const vq_id_list *ids, vq_error *err)
{
    vq_status rc = VQ_OK;
    char room[128];
    VQ_TRY(pick(b, ids, err));
    for (size_t i = 0; i < b->npicks; i++) {
        const vq_pending_id *id = &b->ids[b->picks[i]];
        VQ_REQUIRE(is_there(id), VQ_ENOENT, "there is no id %s (row %zu)", spell(id, room), i);
    }
out:
    return rc;
}

vq_status vq_pending_remove(vq_pending *b, const vq_id_list *ids, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(pick_there(b, ids, err));
    for (size_t i = 0; i < b->npicks; i++) {
        vq_pending_id *id = &b->ids[b->picks[i]];
        id->removed = id->place != VQ_NO_PLACE;
        id->vector = VQ_NO_VECTOR;
        id->forget = true;
        id->change = VQ_NO_CHANGE;
    }
out:
    return rc;
}

vq_status vq_pending_set(vq_pending *b, const vq_attributes *a, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_id_list ids = {.ids = a->ids, .names = a->names, .n = a->n};
    uint32_t *changes = NULL;
    VQ_TRY(pick_there(b, &ids, err));
    changes = vq_mem_alloc(b->npicks, sizeof *changes);
    VQ_REQUIRE(changes != NULL, VQ_ENOMEM, "attributes: of %zu ids", b->npicks);
    for (size_t i = 0; i < b->npicks; i++)
        VQ_TRY(vq_pending_docs_add(&b->docs, a, i, b->ids[b->picks[i]].change, &changes[i], err));
    for (size_t i = 0; i < b->npicks; i++) b->ids[b->picks[i]].change = changes[i];
out:
    vq_mem_free(changes);
    return rc;
}
