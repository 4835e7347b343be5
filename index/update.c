/* SPDX-License-Identifier: Apache-2.0 */
/* update.c -- see update.h; the plan.  Holes are filled by what is new, then by a list's last
 * slots: lists stay dense.  Vectors and copies are planned alike; what has moved is then told to
 * whoever names its place, by the references of FORMAT.md 9. */
#include "index/update.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/io/ids.h"

/* ---- slots ---- */

typedef struct arrival { /* a vector of the batch for a list */
    uint32_t list, vector;
} arrival;

static int by_place(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int by_list(const void *a, const void *b)
{
    const arrival *x = a, *y = b;
    if (x->list != y->list) return x->list < y->list ? -1 : 1;
    return (x->vector > y->vector) - (x->vector < y->vector);
}

static size_t unique(uint64_t *places, size_t n)
{
    size_t kept = 0;
    qsort(places, n, sizeof *places, by_place);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || places[i] != places[kept - 1]) places[kept++] = places[i];
    return kept;
}

/* One list: its holes (rising places) and arrivals. */
static vq_status plan_list(vq_half *h, const vq_shard *s, uint32_t list, const uint64_t *holes,
                           size_t nholes, const arrival *in, size_t nin, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_list_view *l = &s->lists[list];
    uint64_t base = (uint64_t)list << 32, was = h->copies ? l->copies : l->n;
    uint64_t is = was - nholes + nin, last = was;
    size_t filled = VQ_MIN(nholes, nin), end = nholes;
    VQ_REQUIRE(is <= UINT32_MAX, VQ_EINVAL, "list %u: more than 2^32 vectors", list);
    for (size_t i = 0; i < nin; i++) {
        uint64_t at = i < nholes ? holes[i] : base | (was + i - nholes);
        h->edits[h->nedits++] = (vq_edit){.at = at, .from = VQ_FRESH | in[i].vector};
        h->places[in[i].vector] = at;
    }
    for (size_t i = filled; i < nholes && holes[i] < (base | is); i++) {
        for (last--; end > i && holes[end - 1] == (base | last); last--) end--;
        VQ_TRY(vq_table_add(&h->moved, base | last, (uint32_t)h->nedits, err));
        h->edits[h->nedits++] = (vq_edit){.at = holes[i], .from = base | last};
    }
    if (is != was)
        h->resizes[h->nresizes++] =
            (vq_resize){.list = list, .was = (uint32_t)was, .is = (uint32_t)is};
out:
    return rc;
}

/* gone: n places, rising; in: by list. */
static vq_status plan_half(vq_half *h, vq_shard *s, const uint64_t *gone, size_t ngone,
                           const arrival *in, size_t nin, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t most = ngone + nin;
    VQ_REQUIRE(most < VQ_TABLE_NONE, VQ_EINVAL, "more than 2^32 changes at once; commit earlier");
    h->edits = vq_mem_alloc(most, sizeof *h->edits);
    h->resizes = vq_mem_alloc(most, sizeof *h->resizes);
    VQ_REQUIRE(h->edits != NULL && h->resizes != NULL, VQ_ENOMEM, "%zu changes", most);
    for (size_t g = 0, a = 0; g < ngone || a < nin;) {
        uint32_t list = g < ngone ? (uint32_t)(gone[g] >> 32) : UINT32_MAX;
        if (a < nin && in[a].list < list) list = in[a].list;
        size_t g1 = g, a1 = a;
        while (g1 < ngone && gone[g1] >> 32 == list) g1++;
        while (a1 < nin && in[a1].list == list) a1++;
        VQ_TRY(vq_shard_load(s, list, err));
        VQ_TRY(plan_list(h, s, list, gone + g, g1 - g, in + a, a1 - a, err));
        g = g1, a = a1;
    }
out:
    return rc;
}

/* Both halves, from what the ids of the batch have come to. */
static vq_status plan_slots(vq_update *u, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = u->batch;
    uint64_t *gone = vq_mem_alloc(b->nids, sizeof *gone);
    arrival *in = vq_mem_alloc(b->n, sizeof *in);
    VQ_REQUIRE(gone != NULL && in != NULL, VQ_ENOMEM, "%zu changes", b->nids);
    for (int pass = 0; pass < 2; pass++) {
        vq_half *h = pass == 0 ? &u->vectors : &u->copies;
        size_t ngone = 0, nin = 0;
        h->copies = pass == 1;
        h->places = vq_mem_alloc(b->n, sizeof *h->places);
        VQ_REQUIRE(h->places != NULL, VQ_ENOMEM, "%zu vectors", b->n);
        memset(h->places, 0xff, b->n * sizeof *h->places);
        for (size_t i = 0; i < b->nids; i++) {
            const vq_pending_id *id = &b->ids[i];
            uint64_t place = h->copies ? id->copy : id->place;
            if (id->removed && place != VQ_NO_PLACE) gone[ngone++] = place;
            if (id->vector == VQ_NO_VECTOR) continue;
            uint32_t list = h->copies ? b->copy_lists[id->vector] : b->lists[id->vector];
            if (list != VQ_NO_LIST) in[nin++] = (arrival){.list = list, .vector = id->vector};
        }
        qsort(gone, ngone, sizeof *gone, by_place);
        qsort(in, nin, sizeof *in, by_list);
        VQ_TRY(plan_half(h, u->shard, gone, ngone, in, nin, err));
    }
out:
    vq_mem_free(gone);
    vq_mem_free(in);
    return rc;
}

/* ---- ids ---- */

static vq_status add_id(vq_update *u, const void *key, size_t len, uint64_t place, uint64_t copy,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_id_edit *ids = vq_mem_reserve(u->ids, u->nids, u->nids + 1, &u->ids_room, sizeof *ids);
    VQ_REQUIRE(ids != NULL, VQ_ENOMEM, "%zu ids", u->nids);
    u->ids = ids;
    uint8_t *keys = vq_mem_reserve(u->keys, u->nkeys, u->nkeys + len, &u->keys_room, 1);
    VQ_REQUIRE(keys != NULL, VQ_ENOMEM, "%zu bytes of ids", u->nkeys);
    u->keys = keys;
    memcpy(u->keys + u->nkeys, key, len);
    u->ids[u->nids++] =
        (vq_id_edit){.key = u->nkeys, .len = (uint32_t)len, .place = place, .copy = copy};
    u->nkeys += len;
out:
    return rc;
}

static vq_status ids_of_batch(vq_update *u, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = u->batch;
    for (size_t i = 0; i < b->nids; i++) {
        const vq_pending_id *id = &b->ids[i];
        uint8_t number[8];
        uint64_t place = VQ_NO_PLACE, copy = VQ_NO_PLACE;
        if (id->vector != VQ_NO_VECTOR)
            place = u->vectors.places[id->vector], copy = u->copies.places[id->vector];
        else if (!id->removed)
            continue;
        vq_put_be64(number, id->id);
        if (id->name != NULL)
            VQ_TRY(add_id(u, id->name, strlen(id->name), place, copy, err));
        else
            VQ_TRY(add_id(u, number, sizeof number, place, copy, err));
    }
out:
    return rc;
}

static uint64_t copy_target(const vq_shard *s, uint64_t place)
{
    const vq_list_view *l = &s->lists[place >> 32];
    uint32_t slot = (uint32_t)place;
    return vq_copy_of(&l->chunks[l->nchunks + slot / s->capacity], slot % s->capacity);
}

typedef struct told { /* a vector of the snapshot whose value in `ids` changes */
    uint64_t label, place;
} told;

static int by_label(const void *a, const void *b)
{
    const told *x = a, *y = b;
    return (x->label > y->label) - (x->label < y->label);
}

/* Those that move, and those whose copy does, by label: names lie together in blocks. */
static vq_status find_told(vq_update *u, told **out, size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_half *v = &u->vectors, *c = &u->copies;
    size_t count = 0, most = v->moved.n + c->moved.n;
    uint64_t *places = vq_mem_alloc(most, sizeof *places);
    *out = vq_mem_alloc(most, sizeof **out);
    VQ_REQUIRE(places != NULL && *out != NULL, VQ_ENOMEM, "%zu moves", most);
    for (size_t i = 0; i < v->nedits; i++)
        if ((v->edits[i].from & VQ_FRESH) == 0) places[count++] = v->edits[i].from;
    for (size_t i = 0; i < c->nedits; i++)
        if ((c->edits[i].from & VQ_FRESH) == 0)
            places[count++] = copy_target(u->shard, c->edits[i].from);
    *n = unique(places, count);
    for (size_t i = 0; i < *n; i++) {
        uint32_t list = (uint32_t)(places[i] >> 32), slot;
        VQ_REQUIRE(list < u->shard->model.nlist, VQ_ECORRUPT, "copies: of list %u", list);
        VQ_TRY(vq_shard_load(u->shard, list, err));
        VQ_REQUIRE((uint32_t)places[i] < u->shard->lists[list].n, VQ_ECORRUPT,
                   "copies: of slot %u of list %u", (uint32_t)places[i], list);
        const vq_chunk_view *at = vq_shard_at(u->shard, places[i], &slot);
        (*out)[i] = (told){.label = vq_le64(at->labels + 8 * (size_t)slot), .place = places[i]};
    }
    qsort(*out, *n, sizeof **out, by_label);
out:
    vq_mem_free(places);
    return rc;
}

static vq_status tell(vq_update *u, const told *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = u->shard;
    const uint8_t *value;
    size_t size, len = 8;
    char key[VQ_ID_MAX + 1];
    uint64_t place = VQ_NO_PLACE, copy = VQ_NO_PLACE;
    if (s->model.string_ids) {
        rc = vq_shard_name(s, t->label, key, sizeof key, err);
        if (rc == VQ_OK) len = strlen(key);
    } else {
        vq_put_be64(key, t->label);
    }
    if (rc == VQ_OK) rc = vq_snapshot_get(&s->snapshot, VQ_DB_IDS, key, len, &value, &size, err);
    VQ_REQUIRE(rc != VQ_ENOENT, VQ_ECORRUPT, "ids: none for label %" PRIu64, t->label);
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_shard_place(s, value, size, &place, err));
    VQ_REQUIRE(place == t->place, VQ_ECORRUPT, "ids: label %" PRIu64 " is at another place",
               t->label);
    if (size == 16) VQ_TRY(vq_shard_copy(s, value + 8, place, &copy, err));
    uint64_t to = vq_half_moved(&u->vectors, place);
    if (copy != VQ_NO_PLACE) {
        copy = vq_half_moved(&u->copies, copy);
        if (to != place) u->copies.stale[u->copies.nstale++] = copy;
    }
    VQ_TRY(add_id(u, key, len, to, copy, err));
out:
    return rc;
}

static int by_key(const void *a, const void *b, void *keys)
{
    const vq_id_edit *x = a, *y = b;
    const uint8_t *bytes = keys;
    int c = memcmp(bytes + x->key, bytes + y->key, VQ_MIN(x->len, y->len));
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static vq_status plan_ids(vq_update *u, vq_error *err)
{
    vq_status rc = VQ_OK;
    told *t = NULL;
    size_t n = 0;
    VQ_TRY(ids_of_batch(u, err));
    VQ_TRY(find_told(u, &t, &n, err));
    u->copies.stale = vq_mem_alloc(n, sizeof *u->copies.stale);
    VQ_REQUIRE(u->copies.stale != NULL, VQ_ENOMEM, "%zu moves", n);
    for (size_t i = 0; i < n; i++) VQ_TRY(tell(u, &t[i], err));
    if (u->nids > 0) qsort_r(u->ids, u->nids, sizeof *u->ids, by_key, u->keys);
out:
    vq_mem_free(t);
    return rc;
}

/* ---- labels ---- */

static int by_name_label(const void *a, const void *b)
{
    const vq_name_edit *x = a, *y = b;
    return (x->label > y->label) - (x->label < y->label);
}

/* New names get labels that none has had: who has seen a label must not find another's name. */
static vq_status plan_labels(vq_update *u, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = u->batch;
    vq_model *m = &u->model;
    uint64_t next = m->labels != 0 ? m->labels : m->n;
    u->labels = vq_mem_alloc(b->n, sizeof *u->labels);
    u->names = vq_mem_alloc(b->nids, sizeof *u->names);
    VQ_REQUIRE(u->labels != NULL && u->names != NULL, VQ_ENOMEM, "%zu ids", b->nids);
    for (size_t i = 0; i < b->nids; i++) {
        const vq_pending_id *id = &b->ids[i];
        bool had = id->place != VQ_NO_PLACE, has = id->vector != VQ_NO_VECTOR;
        u->added += has && !had;
        u->replaced += has && had && !id->moved;
        u->deleted += id->removed && !has;
        uint64_t label = b->strings && has && !had ? next++ : id->id;
        if (has) u->labels[id->vector] = label;
        if (b->strings && has && !had)
            u->names[u->nnames++] = (vq_name_edit){.label = label, .name = id->name};
        if (b->strings && id->removed && !has)
            u->names[u->nnames++] = (vq_name_edit){.label = label};
    }
    qsort(u->names, u->nnames, sizeof *u->names, by_name_label);
    if (u->nnames > 0) m->labels = next;
out:
    return rc;
}

/* ---- chunks ---- */

/* Those in which a slot changes, or the number of slots: a full last chunk keeps its own. */
static vq_status plan_chunks(const vq_half *h, uint32_t capacity, uint64_t **out, size_t *count,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = 0, most = h->nedits + 2 * h->nresizes + h->nstale;
    uint64_t *chunks = *out = vq_mem_alloc(most, sizeof *chunks);
    VQ_REQUIRE(chunks != NULL, VQ_ENOMEM, "%zu chunks", most);
    for (size_t i = 0; i < h->nedits; i++) chunks[n++] = h->edits[i].at;
    for (size_t i = 0; i < h->nstale; i++) chunks[n++] = h->stale[i];
    for (size_t i = 0; i < h->nresizes; i++) {
        const vq_resize *r = &h->resizes[i];
        uint64_t base = (uint64_t)r->list << 32;
        if (r->is % capacity != 0) chunks[n++] = base | (r->is - 1);
        if (r->was < r->is && r->was % capacity != 0) chunks[n++] = base | (r->was - 1);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = (uint32_t)chunks[i];
        chunks[i] = (chunks[i] >> 32 << 32) | slot / capacity;
    }
    *count = unique(chunks, n);
out:
    return rc;
}

/* How far vectors lie from the centroids of their lists, over all that came since the build: those
 * that a list gives away count as such, since it has grown by what came. */
static void plan_drift(vq_update *u)
{
    const vq_pending *b = u->batch;
    vq_model *m = &u->model;
    double sum = (double)m->added_spread * (double)m->added, least = sum;
    for (size_t i = 0; i < b->n; i++) {
        if (b->ids[b->owner[i]].vector != i) continue; /* another has taken its place */
        bool moved = b->ids[b->owner[i]].moved;
        sum += (double)b->far[i];
        least += moved ? 0.0 : (double)b->far[i];
        m->added += !moved;
    }
    /* Vectors of the build may have moved, too: what came is no nearer than the build's for that.
     */
    least = fmin(least, (double)m->spread * (double)m->added);
    sum = fmax(sum - b->split.were, least);
    m->added_spread = vq_mean_of(sum, m->added);
}

static void plan_counts(vq_update *u)
{
    vq_model *m = &u->model;
    const vq_half *halves[2] = {&u->vectors, &u->copies};
    uint64_t *counts[2] = {&m->n, &m->copies};
    for (int i = 0; i < 2; i++)
        for (size_t r = 0; r < halves[i]->nresizes; r++)
            *counts[i] += (uint64_t)halves[i]->resizes[r].is - halves[i]->resizes[r].was;
    plan_drift(u);
    bool changed = m->n < m->nlist || m->labels != 0 || (u->batch->copies && m->copies == 0);
    if (u->batch->copies) m->format = VQ_MAX(m->format, VQ_FORMAT_COPIES);
    if (changed) m->format = VQ_MAX(m->format, VQ_FORMAT_CHANGED);
    if (u->docs.nedits > 0) m->format = VQ_MAX(m->format, VQ_FORMAT_DOCUMENTS);
}

vq_status vq_update_plan(vq_update *u, vq_pending *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(u, 0, sizeof *u);
    u->batch = b;
    u->shard = b->shard;
    u->model = b->shard->model;
    if (b->split.nlist != 0) {
        u->model.nlist = b->split.nlist;
        u->model.centroids = b->split.centroids, u->model.biases = b->split.biases;
        u->model.routes = b->split.routes;
        if (u->model.nroutes != 0) u->model.nroutes = b->split.nlist;
    }
    VQ_TRY(plan_slots(u, err));
    VQ_TRY(plan_labels(u, err));
    VQ_TRY(plan_ids(u, err));
    vq_half *v = &u->vectors, *c = &u->copies;
    VQ_TRY(plan_chunks(v, u->shard->capacity, &v->chunks, &v->nchunks, err));
    VQ_TRY(plan_chunks(c, u->shard->capacity, &c->chunks, &c->nchunks, err));
    if (u->model.shape.row_bytes != 0)
        VQ_TRY(plan_chunks(v, u->shard->row_capacity, &v->row_chunks, &v->nrow_chunks, err));
    VQ_TRY(vq_update_docs(u, err));
    plan_counts(u);
    VQ_REQUIRE(u->model.n <= UINT32_MAX, VQ_EINVAL, "more than 2^32 - 1 vectors in one index");
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(b->shard->snapshot.file));
}

static void half_fini(vq_half *h)
{
    vq_mem_free(h->edits);
    vq_mem_free(h->resizes);
    vq_mem_free(h->stale);
    vq_mem_free(h->places);
    vq_mem_free(h->chunks);
    vq_mem_free(h->row_chunks);
    vq_table_fini(&h->moved);
}

void vq_update_fini(vq_update *u)
{
    half_fini(&u->vectors);
    half_fini(&u->copies);
    vq_mem_free(u->labels);
    vq_mem_free(u->ids);
    vq_mem_free(u->keys);
    vq_mem_free(u->names);
    vq_docs_fini(&u->docs);
    memset(u, 0, sizeof *u);
}
