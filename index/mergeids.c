/* SPDX-License-Identifier: Apache-2.0 */
/* mergeids.c -- see merge.h.  The keys of `ids` rise in each part, so the least of those that the
 * parts have reached is the next of the new index: no id is kept in memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/merge.h"
#include "src/base/mem.h"
#include "src/io/ids.h"

typedef struct walker { /* of a part */
    vq_cursor at;
    uint64_t passed; /* ids behind it */
} walker;

typedef struct walk {
    vq_merger *m;
    walker *walkers; /* m->n, owned */
    uint64_t done;   /* ids of the new index behind it */
} walk;

static int compare(const vq_node *a, const vq_node *b)
{
    int c = memcmp(a->key, b->key, VQ_MIN(a->key_len, b->key_len));
    return c != 0 ? c : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static vq_status walk_begin(walk *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    w->walkers = vq_mem_calloc(w->m->n, sizeof *w->walkers);
    VQ_REQUIRE(w->walkers != NULL, VQ_ENOMEM, "merge: %zu indexes", w->m->n);
    for (size_t i = 0; i < w->m->n; i++) {
        const vq_snapshot *s = &w->m->parts[i].shard.snapshot;
        VQ_TRY(vq_cursor_first(&w->walkers[i].at, &s->pages, &s->db[VQ_DB_IDS], err));
    }
out:
    return rc;
}

/* The least key of all, as it lies in a file; false: there is none any more. */
static bool least_id(const walk *w, vq_node *least)
{
    bool any = false;
    for (size_t i = 0; i < w->m->n; i++) {
        const vq_cursor *c = &w->walkers[i].at;
        if (c->depth == 0 || (any && compare(&c->node, least) >= 0)) continue;
        *least = c->node;
        any = true;
    }
    return any;
}

static bool is_at(const walk *w, size_t part, const vq_node *id)
{
    const vq_cursor *c = &w->walkers[part].at;
    return c->depth > 0 && compare(&c->node, id) == 0;
}

/* The part whose vector gets the id. */
static size_t winner_of(const walk *w, const vq_node *id)
{
    size_t winner = w->m->n;
    for (size_t i = 0; i < w->m->n; i++)
        if (is_at(w, i, id) && (winner == w->m->n || w->m->keep == VQ_KEEP_LAST)) winner = i;
    return winner;
}

/* Calls fn for each part that has the id of its turn, id by id. */
typedef vq_status (*at_id)(void *ctx, size_t part, const vq_node *id, uint64_t passed, bool wins,
                           uint64_t rank, vq_error *err);
static vq_status walk_all(vq_merger *m, const char *phase, at_id fn, void *ctx, uint64_t *count,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    walk w = {.m = m};
    vq_node id = {0};
    uint64_t most = 0;
    for (size_t i = 0; i < m->n; i++) most += m->parts[i].shard.model.n;
    VQ_TRY(walk_begin(&w, err));
    for (; least_id(&w, &id); w.done++) {
        size_t winner = winner_of(&w, &id);
        for (size_t i = 0; i < m->n; i++) {
            walker *k = &w.walkers[i];
            if (!is_at(&w, i, &id)) continue;
            vq_node own = k->at.node;
            rc = fn(ctx, i, &own, k->passed++, i == winner, w.done, err);
            if (rc == VQ_OK) rc = vq_cursor_next(&k->at, err);
            if (rc != VQ_OK) {
                if (rc == VQ_ECORRUPT)
                    rc = vq_fail_context(err, rc, "%s", vq_file_path(m->parts[i].file));
                goto out;
            }
        }
        VQ_TRY(vq_tick(&m->ticker, phase, w.done, most, err));
    }
    *count = w.done;
    VQ_TRY(vq_tick(&m->ticker, phase, most, most, err));
out:
    vq_mem_free(w.walkers);
    return rc;
}

/* ---- who stays ---- */

static vq_status add_place(vq_places *p, uint64_t place, vq_error *err)
{
    uint64_t *grown = vq_mem_reserve(p->at, p->n, p->n + 1, &p->room, sizeof *grown);
    if (grown == NULL) return vq_fail(err, VQ_ENOMEM, "merge: %zu vectors left out", p->n);
    p->at = grown;
    p->at[p->n++] = place;
    return VQ_OK;
}

/* Two files have the id, and nobody said whose vector is to stay. */
static vq_status refuse(const vq_merger *m, const vq_node *id, const char *first,
                        const char *second, vq_error *err)
{
    char name[VQ_ID_MAX + 3];
    if (m->model.string_ids)
        (void)snprintf(name, sizeof name, "\"%.*s\"", (int)id->key_len, (const char *)id->key);
    else
        (void)snprintf(name, sizeof name, "%" PRIu64, vq_be64(id->key));
    return vq_fail(err, VQ_EINVAL,
                   "%s and %s both have the id %.120s; say which one's vectors are to be kept, the "
                   "first or the last file's (keep)",
                   first, second, name);
}

/* Its place, and that the vector there is the id's; *label is the old one. */
static vq_status look_up(vq_merge_part *p, const vq_node *id, uint64_t passed, uint64_t *place,
                         uint64_t *label, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &p->shard.model;
    uint32_t slot;
    bool key = m->string_ids ? id->key_len >= 1 && id->key_len <= VQ_ID_MAX &&
                                   memchr(id->key, 0, id->key_len) == NULL
                             : id->key_len == sizeof(uint64_t);
    VQ_REQUIRE(key, VQ_ECORRUPT, "ids: key %" PRIu64 " of %zu bytes", passed, id->key_len);
    VQ_TRY(vq_shard_place(&p->shard, id->value, id->len, place, err));
    const vq_chunk_view *v = vq_shard_at(&p->shard, *place, &slot);
    *label = vq_le64(v->labels + 8 * (size_t)slot);
    bool told = !m->string_ids || m->labels == 0;
    VQ_REQUIRE(!told || *label == (m->string_ids ? passed : vq_be64(id->key)), VQ_ECORRUPT,
               "ids: slot %u of list %u is another's", (uint32_t)*place, (uint32_t)(*place >> 32));
    VQ_REQUIRE(!m->string_ids || *label < p->nlabels, VQ_ECORRUPT,
               "ids: label %" PRIu64 " of %" PRIu64, *label, p->nlabels);
out:
    return rc;
}

typedef struct stay {
    vq_merger *m;
    const char *last; /* the file that an id was met in last; NULL: none was */
    uint64_t rank;    /* of that id */
} stay;

static vq_status plan_id(void *ctx, size_t part, const vq_node *id, uint64_t passed, bool wins,
                         uint64_t rank, vq_error *err)
{
    vq_status rc = VQ_OK;
    stay *s = ctx;
    vq_merge_part *p = &s->m->parts[part];
    uint64_t place = 0, label = 0, copy = 0;
    if (s->last != NULL && s->rank == rank && s->m->keep == VQ_KEEP_NONE)
        return refuse(s->m, id, s->last, vq_file_path(p->file), err);
    s->last = vq_file_path(p->file), s->rank = rank;
    VQ_TRY(look_up(p, id, passed, &place, &label, err));
    if (wins) {
        if (p->labels == NULL) goto out;
        VQ_REQUIRE(p->labels[label] == VQ_NO_ID, VQ_ECORRUPT, "ids: two have the label %" PRIu64,
                   label);
        p->labels[label] = rank;
        goto out;
    }
    VQ_TRY(add_place(&p->gone, place, err));
    if (id->len != 16) goto out;
    VQ_TRY(vq_shard_copy(&p->shard, id->value + 8, place, &copy, err));
    VQ_TRY(add_place(&p->gone_copies, copy, err));
out:
    return rc;
}

static int rising(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Each of them once: what leaves a list must be as many as are planned. */
static vq_status sort_places(vq_places *p, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (p->n > 0) qsort(p->at, p->n, sizeof *p->at, rising);
    for (size_t i = 1; i < p->n; i++)
        VQ_REQUIRE(p->at[i] != p->at[i - 1], VQ_ECORRUPT, "%s: ids: two have slot %u of list %u",
                   path, (uint32_t)p->at[i], (uint32_t)(p->at[i] >> 32));
out:
    return rc;
}

vq_status vq_merge_plan_ids(vq_merger *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    stay s = {.m = m};
    uint64_t records = 0;
    for (size_t i = 0; i < m->n; i++) {
        vq_merge_part *p = &m->parts[i];
        const vq_model *model = &p->shard.model;
        if (!model->string_ids) continue;
        rc = vq_shard_check_names(&p->shard, &records, err);
        if (rc == VQ_ECORRUPT) rc = vq_fail_context(err, rc, "%s", vq_file_path(p->file));
        if (rc != VQ_OK) goto out;
        p->nlabels = model->labels != 0 ? model->labels : model->n;
        p->labels = vq_mem_alloc((size_t)p->nlabels, sizeof *p->labels);
        VQ_REQUIRE(p->labels != NULL, VQ_ENOMEM, "merge: %" PRIu64 " labels", p->nlabels);
        for (uint64_t l = 0; l < p->nlabels; l++) p->labels[l] = VQ_NO_ID;
    }
    VQ_TRY(walk_all(m, "ids", plan_id, &s, &m->model.n, err));
    for (size_t i = 0; i < m->n; i++) {
        vq_places *gone[] = {&m->parts[i].gone, &m->parts[i].gone_copies};
        for (int j = 0; j < 2; j++)
            VQ_TRY(sort_places(gone[j], vq_file_path(m->parts[i].file), err));
    }
out:
    return rc;
}

/* ---- what they carry ---- */

typedef struct out_ids {
    vq_merger *m;
    vq_sink sink;
    vq_packer *packer;         /* of the new index */
    const uint8_t *dictionary; /* its record, in a part; or NULL */
    size_t dictionary_len;
    uint32_t *list; /* VQ_TAGS_MAX: tags of a vector */
    uint8_t *payload, *buffer;
    size_t payload_room, buffer_room;
    uint64_t documents;           /* written */
    char (*names)[VQ_ID_MAX + 1]; /* of a block */
    const char **at;
    size_t nnames;
    uint8_t *block;
    size_t cap;
} out_ids;

/* The dictionary of the first part that has one becomes that of the new index; what another one
 * has packed is packed anew.  What was packed without any can be unpacked with any (pack.h). */
static vq_status choose_dictionary(out_ids *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t *room;
    for (size_t i = 0; i < o->m->n; i++) {
        vq_merge_part *p = &o->m->parts[i];
        const uint8_t *value;
        size_t len;
        rc = vq_snapshot_get(&p->shard.snapshot, VQ_DB_DOCUMENTS, VQ_DICTIONARY, 1, &value, &len,
                             err);
        if (rc == VQ_ENOENT) continue;
        if (rc != VQ_OK) goto out;
        VQ_TRY(vq_record_verify(value, len, "documents", err));
        if (o->dictionary == NULL)
            o->dictionary = value, o->dictionary_len = len;
        else
            p->repack = len != o->dictionary_len || memcmp(value, o->dictionary, len) != 0;
    }
    rc = VQ_OK;
    if (o->dictionary == NULL) goto out;
    VQ_TRY(vq_store_put(o->m->store, VQ_DB_DOCUMENTS, VQ_DICTIONARY, 1, o->dictionary_len, &room,
                        err));
    memcpy(room, o->dictionary, o->dictionary_len);
    VQ_TRY(vq_packer_open(&o->packer, o->dictionary + 8, o->dictionary_len - 8, err));
out:
    return rc;
}

static vq_status reserve(uint8_t **block, size_t *room, size_t bytes, vq_error *err)
{
    uint8_t *grown = vq_mem_reserve(*block, 0, bytes, room, 1);
    if (grown == NULL) return vq_fail(err, VQ_ENOMEM, "payloads: one of %zu bytes", bytes);
    *block = grown;
    return VQ_OK;
}

/* The numbers of its tags in the new index. */
static vq_status take_tags(out_ids *o, vq_merge_part *p, const vq_doc *d, vq_doc_edit *e,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    for (uint32_t t = 0; t < d->ntags; t++) {
        uint32_t number = vq_le32(d->tags + 4 * (size_t)t);
        const char *text;
        size_t len;
        VQ_REQUIRE(number < p->ntags, VQ_ECORRUPT, "documents: tag %u of %u", number, p->ntags);
        if (p->tags[number] == UINT32_MAX) {
            VQ_TRY(vq_tag_text(&p->shard.snapshot, number, &text, &len, err));
            VQ_TRY(vq_docs_number(&o->m->docs, &o->m->numbers, text, len, &p->tags[number], err));
        }
        o->list[t] = p->tags[number];
    }
    o->m->docs.nnumbers = 0; /* those of the document before are written */
    VQ_TRY(vq_docs_numbers(&o->m->docs, o->list, d->ntags, &e->tags, &e->ntags, err));
out:
    return rc;
}

static vq_status take_payload(out_ids *o, vq_merge_part *p, const vq_doc *d, vq_doc_edit *e,
                              vq_error *err)
{
    vq_status rc = VQ_OK;
    e->payload = d->payload, e->bytes = d->bytes, e->packed = d->packed;
    if (!p->repack || d->packed == d->bytes) goto out;
    if (p->packer == NULL) VQ_TRY(vq_docs_packer(&p->shard.snapshot, &p->packer, NULL, err));
    VQ_TRY(reserve(&o->payload, &o->payload_room, d->bytes, err));
    VQ_TRY(reserve(&o->buffer, &o->buffer_room, vq_pack_bound(d->bytes), err));
    VQ_TRY(vq_doc_unpack(p->packer, d, o->payload, err));
    e->payload = o->payload, e->packed = 0;
out:
    return rc;
}

static vq_status find_document(vq_merge_part *p, uint64_t label, vq_doc *d, vq_error *err)
{
    vq_status rc = VQ_OK;
    *d = VQ_DOC_NONE;
    if (!vq_docs_any(&p->shard.snapshot)) goto out;
    VQ_TRY(vq_doc_find(&p->shard.snapshot, label, d, err));
    p->documents += !vq_doc_empty(d);
out:
    return rc;
}

static vq_status write_document(out_ids *o, vq_merge_part *p, const vq_doc *found, uint64_t label,
                                uint64_t place, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_doc d = *found;
    vq_doc_edit e = {.label = label};
    if (vq_doc_empty(&d)) goto out;
    e.time = d.time;
    VQ_TRY(take_tags(o, p, &d, &e, err));
    VQ_TRY(take_payload(o, p, &d, &e, err));
    VQ_TRY(vq_doc_put(&o->m->docs, &o->sink, &e, o->packer, o->buffer, o->buffer_room, err));
    VQ_TRY(vq_docs_set(&o->m->docs, &e, place, err));
    o->documents++;
out:
    return rc;
}

/* ---- ids and names ---- */

static vq_status write_block(out_ids *o, uint64_t block, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t key[4], *room;
    size_t len;
    vq_put_be32(key, (uint32_t)block);
    VQ_TRY(vq_names_write(o->block, o->cap, &len, o->at, o->nnames, err));
    VQ_TRY(vq_store_put(o->m->store, VQ_DB_NAMES, key, sizeof key, len, &room, err));
    memcpy(room, o->block, len);
    o->nnames = 0;
out:
    return rc;
}

static vq_status write_name(out_ids *o, const vq_node *id, uint64_t rank, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *name = o->names[o->nnames];
    memcpy(name, id->key, id->key_len);
    name[id->key_len] = '\0';
    o->at[o->nnames++] = name;
    if (o->nnames == VQ_NAMES_PER_BLOCK) VQ_TRY(write_block(o, rank / VQ_NAMES_PER_BLOCK, err));
out:
    return rc;
}

static vq_status write_id(void *ctx, size_t part, const vq_node *id, uint64_t passed, bool wins,
                          uint64_t rank, vq_error *err)
{
    vq_status rc = VQ_OK;
    out_ids *o = ctx;
    vq_merge_part *p = &o->m->parts[part];
    uint64_t from = 0, old = 0, to = 0, copy = 0, copied = VQ_NO_ID;
    vq_doc d;
    uint8_t *room;
    VQ_TRY(look_up(p, id, passed, &from, &old, err));
    VQ_TRY(find_document(p, old, &d, err));
    if (!wins) goto out;
    VQ_TRY(vq_merge_moved(p, false, from, &to, err));
    if (id->len == 16) {
        VQ_TRY(vq_shard_copy(&p->shard, id->value + 8, from, &copy, err));
        VQ_TRY(vq_merge_moved(p, true, copy, &copied, err));
    }
    VQ_TRY(vq_store_put(o->m->store, VQ_DB_IDS, id->key, id->key_len, copied != VQ_NO_ID ? 16 : 8,
                        &room, err));
    vq_put_le32(room, (uint32_t)(to >> 32));
    vq_put_le32(room + 4, (uint32_t)to);
    if (copied != VQ_NO_ID) {
        vq_put_le32(room + 8, (uint32_t)(copied >> 32));
        vq_put_le32(room + 12, (uint32_t)copied);
    }
    if (o->names != NULL) VQ_TRY(write_name(o, id, rank, err));
    VQ_TRY(write_document(o, p, &d, o->names != NULL ? rank : old, to, err));
out:
    return rc;
}

static vq_status out_begin(out_ids *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_merger *m = o->m;
    bool described = false;
    for (size_t i = 0; i < m->n; i++) {
        vq_merge_part *p = &m->parts[i];
        described |= vq_docs_any(&p->shard.snapshot);
        p->ntags = vq_docs_tags(&p->shard.snapshot);
        p->tags = vq_mem_alloc(p->ntags, sizeof *p->tags);
        VQ_REQUIRE(p->tags != NULL, VQ_ENOMEM, "merge: %u tags", p->ntags);
        for (uint32_t t = 0; t < p->ntags; t++) p->tags[t] = UINT32_MAX;
    }
    if (described) {
        o->list = vq_mem_alloc(VQ_TAGS_MAX, sizeof *o->list);
        VQ_REQUIRE(o->list != NULL, VQ_ENOMEM, "merge: out of memory");
        VQ_TRY(choose_dictionary(o, err));
    }
    if (!m->model.string_ids) goto out;
    o->names = vq_mem_alloc(VQ_NAMES_PER_BLOCK, sizeof *o->names);
    o->at = vq_mem_alloc(VQ_NAMES_PER_BLOCK, sizeof *o->at);
    o->cap = vq_names_bound(vq_names_raw_max());
    o->block = vq_mem_alloc(o->cap, 1);
    VQ_REQUIRE(o->names != NULL && o->at != NULL && o->block != NULL, VQ_ENOMEM, "names: %zu bytes",
               o->cap);
out:
    return rc;
}

vq_status vq_merge_write_ids(vq_merger *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t n = 0;
    out_ids o = {.m = m};
    o.sink = (vq_sink){.store = m->store, .capacity = vq_chunk_capacity(&m->model.shape)};
    VQ_TRY(out_begin(&o, err));
    VQ_TRY(walk_all(m, "write ids", write_id, &o, &n, err));
    for (size_t i = 0; i < m->n; i++) {
        vq_merge_part *p = &m->parts[i];
        rc = vq_docs_all_found(&p->shard.snapshot, p->documents, err);
        if (rc != VQ_OK) rc = vq_fail_context(err, rc, "%s", vq_file_path(p->file));
        if (rc != VQ_OK) goto out;
    }
    if (o.nnames > 0) VQ_TRY(write_block(&o, n / VQ_NAMES_PER_BLOCK, err));
    VQ_TRY(vq_docs_write(&m->docs, &o.sink, err));
    if (o.documents > 0 || o.dictionary != NULL)
        m->model.format = VQ_MAX(m->model.format, VQ_FORMAT_DOCUMENTS);
out:
    vq_packer_close(o.packer);
    vq_mem_free(o.list);
    vq_mem_free(o.payload);
    vq_mem_free(o.buffer);
    vq_mem_free(o.names);
    vq_mem_free(o.at);
    vq_mem_free(o.block);
    return rc;
}
