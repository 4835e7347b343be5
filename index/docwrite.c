/* SPDX-License-Identifier: Apache-2.0 */
/* docwrite.c -- see docwrite.h; the writing. */
#include "index/docwrite.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "index/searcher.h"
#include "src/base/bitmap.h"
#include "src/base/bytes.h"

/* A dictionary is made of the first payloads that come in one change and are so many. */
enum {
    DICTIONARY_BYTES = 16 << 10,
    SAMPLE_BYTES = 1 << 20,
    SAMPLES_LEAST = 128,
    SAMPLE_MOST = 8 << 10 /* longer payloads are their own dictionary */
};

static vq_status put(const vq_sink *to, vq_db db, const void *key, size_t key_len, size_t len,
                     uint8_t **room, vq_error *err)
{
    return to->store != NULL ? vq_store_put(to->store, db, key, key_len, len, room, err)
                             : vq_change_put(to->change, db, key, key_len, len, room, err);
}

static vq_status old_value(const vq_sink *to, vq_db db, const void *key, size_t key_len,
                           const uint8_t **value, size_t *len, vq_error *err)
{
    if (to->shard == NULL) return VQ_ENOENT;
    vq_status rc = vq_snapshot_get(&to->shard->snapshot, db, key, key_len, value, len, err);
    return rc == VQ_OK ? vq_record_verify(*value, *len, vq_db_names[db], err) : rc;
}

/* -- bitmaps -- */

static int by_tag(const void *a, const void *b)
{
    const vq_tag_op *x = a, *y = b;
    if (x->tag != y->tag) return x->tag < y->tag ? -1 : 1;
    if (x->list != y->list) return x->list < y->list ? -1 : 1;
    if (x->set != y->set) return x->set < y->set ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

typedef struct words { /* of a list */
    uint64_t *at;
    size_t room;
} words;

/* The bits of a list as they were, and room for n of them at least; *bits of them. */
static vq_status load_words(const vq_sink *to, words *w, const uint8_t key[8], uint64_t n,
                            uint64_t *bits, bool *had, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t list = vq_be32(key + 4);
    const uint8_t *value;
    size_t len, need;
    uint64_t was = 0;
    if (to->shard != NULL) {
        VQ_TRY(vq_shard_load(to->shard, list, err));
        was = to->shard->lists[list].n;
    }
    *bits = VQ_MAX(was, n);
    need = vq_bitmap_words(*bits);
    if (need > w->room) {
        vq_mem_free(w->at);
        w->room = 2 * need;
        w->at = vq_mem_alloc(w->room, sizeof *w->at);
        if (w->at == NULL) w->room = 0;
        VQ_REQUIRE(w->at != NULL, VQ_ENOMEM, "tags: list %u", list);
    }
    memset(w->at, 0, need * sizeof *w->at);
    rc = old_value(to, VQ_DB_TAGGED, key, 8, &value, &len, err);
    *had = rc == VQ_OK;
    if (*had) rc = vq_bitmap_read(value + 8, len - 8, w->at, was, err);
    if (rc == VQ_ENOENT) rc = VQ_OK;
out:
    return rc;
}

/* The bitmap of the ops from..end-1, all of a tag and list. */
static vq_status write_bitmap(const vq_sink *to, words *w, const vq_tag_op *ops, size_t n,
                              vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t key[8], *room;
    uint64_t most = 0, bits;
    bool had = false;
    for (size_t i = 0; i < n; i++) most = VQ_MAX(most, (uint64_t)ops[i].slot + 1);
    vq_put_be32(key, ops->tag);
    vq_put_be32(key + 4, ops->list);
    VQ_TRY(load_words(to, w, key, most, &bits, &had, err));
    for (size_t i = 0; i < n; i++) {
        uint64_t bit = UINT64_C(1) << ops[i].slot % 64, *at = &w->at[ops[i].slot / 64];
        *at = ops[i].set ? *at | bit : *at & ~bit;
    }
    size_t size = vq_bitmap_size(w->at, bits);
    if (size == 0) {
        if (had) VQ_TRY(vq_change_delete(to->change, VQ_DB_TAGGED, key, sizeof key, err));
        goto out;
    }
    VQ_TRY(put(to, VQ_DB_TAGGED, key, sizeof key, 8 + size, &room, err));
    vq_bitmap_write(w->at, bits, room + 8);
    vq_record_seal(room, 8 + size);
out:
    return rc;
}

static vq_status write_bitmaps(vq_docs *d, const vq_sink *to, vq_error *err)
{
    vq_status rc = VQ_OK;
    words w = {0};
    if (d->ntag_ops > 0) qsort(d->tag_ops, d->ntag_ops, sizeof *d->tag_ops, by_tag);
    for (size_t i = 0, end; i < d->ntag_ops; i = end) {
        const vq_tag_op *ops = d->tag_ops;
        for (end = i; end < d->ntag_ops && ops[end].tag == ops[i].tag;) {
            if (ops[end].list != ops[i].list) break;
            end++;
        }
        VQ_TRY(write_bitmap(to, &w, ops + i, end - i, err));
    }
out:
    vq_mem_free(w.at);
    return rc;
}

/* -- times -- */

static int by_chunk(const void *a, const void *b)
{
    const vq_time_op *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return (y->time == VQ_NO_TIME) - (x->time == VQ_NO_TIME);
}

static vq_status write_chunk(const vq_sink *to, int64_t *at, const vq_time_op *ops, size_t nops,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t list = (uint32_t)(ops->place >> 32), chunk = (uint32_t)ops->place / to->capacity;
    uint32_t n = 0;
    int64_t least = INT64_MAX, greatest = INT64_MIN;
    uint8_t key[8], *room;
    const uint8_t *value;
    size_t len;
    vq_chunk_key(key, list, chunk);
    for (uint32_t i = 0; i < to->capacity; i++) at[i] = VQ_NO_TIME;
    rc = old_value(to, VQ_DB_TIMES, key, sizeof key, &value, &len, err);
    bool had = rc == VQ_OK;
    if (had) {
        vq_times old;
        VQ_TRY(vq_times_parse(value, len, to->capacity, list, chunk, &old, err));
        for (uint32_t i = 0; i < old.n; i++) at[i] = (int64_t)vq_le64(old.at + 8 * (size_t)i);
    }
    if (rc != VQ_OK && rc != VQ_ENOENT) goto out;
    rc = VQ_OK;
    for (size_t i = 0; i < nops; i++) at[(uint32_t)ops[i].place % to->capacity] = ops[i].time;
    for (uint32_t i = 0; i < to->capacity; i++) {
        if (at[i] == VQ_NO_TIME) continue;
        n = i + 1;
        least = VQ_MIN(least, at[i]), greatest = VQ_MAX(greatest, at[i]);
    }
    if (n == 0) {
        if (had) VQ_TRY(vq_change_delete(to->change, VQ_DB_TIMES, key, sizeof key, err));
        goto out;
    }
    len = VQ_TIMES_HEADER + 8 * (size_t)n;
    VQ_TRY(put(to, VQ_DB_TIMES, key, sizeof key, len, &room, err));
    memset(room, 0, VQ_TIMES_HEADER);
    vq_put_le32(room + 8, n), vq_put_le32(room + 12, list), vq_put_le32(room + 16, chunk);
    vq_put_le64(room + 24, (uint64_t)least), vq_put_le64(room + 32, (uint64_t)greatest);
    for (uint32_t i = 0; i < n; i++)
        vq_put_le64(room + VQ_TIMES_HEADER + 8 * (size_t)i, (uint64_t)at[i]);
    vq_record_seal(room, len);
out:
    return rc;
}

static vq_status write_times(vq_docs *d, const vq_sink *to, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_time_op *ops = d->time_ops;
    int64_t *at = vq_mem_alloc(to->capacity, sizeof *at);
    VQ_REQUIRE(at != NULL, VQ_ENOMEM, "times: a chunk of %u", to->capacity);
    if (d->ntime_ops > 0) qsort(d->time_ops, d->ntime_ops, sizeof *d->time_ops, by_chunk);
    for (size_t i = 0, end; i < d->ntime_ops; i = end) {
        uint64_t list = ops[i].place >> 32, chunk = (uint32_t)ops[i].place / to->capacity;
        for (end = i; end < d->ntime_ops && ops[end].place >> 32 == list; end++)
            if ((uint32_t)ops[end].place / to->capacity != chunk) break;
        VQ_TRY(write_chunk(to, at, ops + i, end - i, err));
    }
out:
    vq_mem_free(at);
    return rc;
}

/* -- tags -- */

typedef struct counted { /* a tag whose number of vectors changes, or that is new */
    const char *text;
    size_t len;
    uint32_t number;
    bool is_new;
    uint64_t vectors;
} counted;

static int by_text(const void *a, const void *b)
{
    const counted *x = a, *y = b;
    int c = memcmp(x->text, y->text, VQ_MIN(x->len, y->len));
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

/* By number: those of the bitmaps' ops, which are sorted; all new ones are among them. */
static vq_status count_tags(const vq_docs *d, const vq_sink *to, counted *c, size_t *n,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    *n = 0;
    for (size_t i = 0, end; i < d->ntag_ops; i = end) {
        uint32_t tag = d->tag_ops[i].tag, number;
        int64_t change = 0;
        for (end = i; end < d->ntag_ops && d->tag_ops[end].tag == tag; end++)
            change += d->tag_ops[end].set ? 1 : -1;
        counted x = {.number = tag, .is_new = tag >= d->first_tag};
        if (change == 0 && !x.is_new) continue;
        if (x.is_new) {
            x.text = d->fresh[tag - d->first_tag].text, x.len = d->fresh[tag - d->first_tag].len;
        } else {
            VQ_TRY(vq_tag_text(&to->shard->snapshot, tag, &x.text, &x.len, err));
            rc = vq_tag_find(&to->shard->snapshot, x.text, x.len, &number, &x.vectors, err);
            VQ_REQUIRE(rc != VQ_ENOENT && (rc != VQ_OK || number == tag), VQ_ECORRUPT,
                       "tags: number %u is another's", tag);
            if (rc != VQ_OK) goto out;
        }
        VQ_REQUIRE(change >= 0 || x.vectors >= (uint64_t)-change, VQ_ECORRUPT,
                   "tags: %" PRIu64 " vectors have number %u, and %" PRId64 " lose it", x.vectors,
                   tag, -change);
        x.vectors += (uint64_t)change;
        c[(*n)++] = x;
    }
out:
    return rc;
}

static vq_status write_tags(const vq_docs *d, const vq_sink *to, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = 0, most = d->nfresh;
    for (size_t i = 0; i < d->ntag_ops; i++)
        most += i == 0 || d->tag_ops[i].tag != d->tag_ops[i - 1].tag;
    counted *c = vq_mem_alloc(most, sizeof *c);
    uint8_t key[5], *room;
    VQ_REQUIRE(c != NULL, VQ_ENOMEM, "tags: %zu of them", most);
    VQ_TRY(count_tags(d, to, c, &n, err));
    for (size_t i = 0; i < n; i++) { /* their keys come before those of texts */
        if (!c[i].is_new) continue;
        VQ_TRY(put(to, VQ_DB_TAGS, key, vq_tag_key(key, c[i].number), 8 + c[i].len, &room, err));
        memcpy(room + 8, c[i].text, c[i].len);
        vq_record_seal(room, 8 + c[i].len);
    }
    qsort(c, n, sizeof *c, by_text);
    for (size_t i = 0; i < n; i++) {
        VQ_TRY(put(to, VQ_DB_TAGS, c[i].text, c[i].len, VQ_TAG_VALUE, &room, err));
        memset(room, 0, VQ_TAG_VALUE);
        vq_put_le32(room + 8, c[i].number);
        vq_put_le64(room + 16, c[i].vectors);
        vq_record_seal(room, VQ_TAG_VALUE);
    }
out:
    vq_mem_free(c);
    return rc;
}

/* -- documents -- */

static int by_label(const void *a, const void *b)
{
    const vq_doc_edit *x = a, *y = b;
    return (x->label > y->label) - (x->label < y->label);
}

static bool is_sample(const vq_doc_edit *e)
{
    return !e->gone && e->packed == 0 && e->bytes > 0 && e->bytes <= SAMPLE_MOST;
}

/* Payloads, evenly spaced, one after the other; returns how many. */
static size_t take_samples(const vq_docs *d, uint8_t *bytes, size_t *sizes, size_t most)
{
    size_t total = 0, n = 0, used = 0;
    for (size_t i = 0; i < d->nedits; i++)
        if (is_sample(&d->edits[i])) total += d->edits[i].bytes;
    double share = total > SAMPLE_BYTES ? (double)SAMPLE_BYTES / (double)total : 1.0, owed = 0;
    for (size_t i = 0; i < d->nedits && n < most; i++) {
        const vq_doc_edit *e = &d->edits[i];
        if (!is_sample(e)) continue;
        owed += share * (double)e->bytes;
        if (share < 1.0 && owed < (double)e->bytes) continue;
        if (used + e->bytes > SAMPLE_BYTES) break;
        owed -= (double)e->bytes;
        memcpy(bytes + used, e->payload, e->bytes);
        used += e->bytes;
        sizes[n++] = e->bytes;
    }
    return n;
}

static vq_status write_dictionary(const vq_docs *d, const vq_sink *to, vq_packer **packer,
                                  vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t *bytes = vq_mem_alloc(SAMPLE_BYTES, 1), *room;
    uint8_t *dictionary = vq_mem_alloc(DICTIONARY_BYTES, 1);
    size_t *sizes = vq_mem_alloc(d->nedits, sizeof *sizes), len = 0;
    VQ_REQUIRE(bytes != NULL && dictionary != NULL && sizes != NULL, VQ_ENOMEM,
               "payloads: a sample of them");
    size_t n = take_samples(d, bytes, sizes, d->nedits);
    if (n >= SAMPLES_LEAST) len = vq_pack_train(dictionary, DICTIONARY_BYTES, bytes, sizes, n);
    if (len > 0) {
        VQ_TRY(put(to, VQ_DB_DOCUMENTS, VQ_DICTIONARY, 1, 8 + len, &room, err));
        memcpy(room + 8, dictionary, len);
        vq_record_seal(room, 8 + len);
    }
    VQ_TRY(vq_packer_open(packer, dictionary, len, err));
out:
    vq_mem_free(bytes);
    vq_mem_free(dictionary);
    vq_mem_free(sizes);
    return rc;
}

/* With the dictionary that the index has, or gets now.  What was packed before without one can be
 * unpacked with it (pack.h), so nothing is packed anew. */
static vq_status open_packer(const vq_docs *d, const vq_sink *to, vq_packer **packer, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool has = false, wanted = false;
    size_t samples = 0;
    for (size_t i = 0; i < d->nedits; i++) {
        wanted |= !d->edits[i].gone && d->edits[i].packed == 0 && d->edits[i].bytes > 0;
        samples += is_sample(&d->edits[i]);
    }
    if (!wanted) return VQ_OK;
    if (to->shard != NULL) VQ_TRY(vq_docs_packer(&to->shard->snapshot, packer, &has, err));
    if (has || (*packer != NULL && samples < SAMPLES_LEAST)) goto out;
    vq_packer_close(*packer);
    *packer = NULL;
    VQ_TRY(write_dictionary(d, to, packer, err));
out:
    return rc;
}

vq_status vq_doc_put(const vq_docs *d, const vq_sink *to, const vq_doc_edit *e, vq_packer *packer,
                     uint8_t *buffer, size_t cap, vq_error *err)
{
    vq_status rc = VQ_OK;
    const void *payload = e->payload;
    size_t packed = e->packed;
    uint8_t key[8], *room;
    vq_put_be64(key, e->label);
    if (e->gone) {
        VQ_TRY(vq_change_delete(to->change, VQ_DB_DOCUMENTS, key, sizeof key, err));
        goto out;
    }
    if (packed == 0 && e->bytes > 0) {
        VQ_TRY(vq_packer_pack(packer, buffer, cap, &packed, payload, e->bytes, err));
        if (packed < e->bytes)
            payload = buffer;
        else
            packed = e->bytes;
    }
    size_t len = VQ_DOC_HEADER + 4 * (size_t)e->ntags + packed;
    VQ_TRY(put(to, VQ_DB_DOCUMENTS, key, sizeof key, len, &room, err));
    vq_put_le64(room + 8, (uint64_t)e->time);
    vq_put_le32(room + 16, e->ntags);
    vq_put_le32(room + 20, (uint32_t)e->bytes);
    uint8_t *at = room + VQ_DOC_HEADER;
    for (uint32_t i = 0; i < e->ntags; i++, at += 4) vq_put_le32(at, d->numbers[e->tags + i]);
    if (packed > 0) memcpy(at, payload, packed);
    vq_record_seal(room, len);
out:
    return rc;
}

static vq_status write_documents(vq_docs *d, const vq_sink *to, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_packer *packer = NULL;
    uint8_t *buffer = NULL;
    size_t most = 0;
    if (d->nedits > 0) qsort(d->edits, d->nedits, sizeof *d->edits, by_label);
    for (size_t i = 0; i < d->nedits; i++) most = VQ_MAX(most, d->edits[i].bytes);
    buffer = vq_mem_alloc(vq_pack_bound(most), 1);
    VQ_REQUIRE(buffer != NULL, VQ_ENOMEM, "payloads: one of %zu bytes", most);
    VQ_TRY(open_packer(d, to, &packer, err));
    for (size_t i = 0; i < d->nedits; i++)
        VQ_TRY(vq_doc_put(d, to, &d->edits[i], packer, buffer, vq_pack_bound(most), err));
out:
    vq_packer_close(packer);
    vq_mem_free(buffer);
    return rc;
}

vq_status vq_docs_write(vq_docs *d, const vq_sink *sink, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(write_documents(d, sink, err));
    VQ_TRY(write_bitmaps(d, sink, err));
    if (d->ntag_ops > 0) VQ_TRY(write_tags(d, sink, err));
    if (d->ntime_ops > 0) VQ_TRY(write_times(d, sink, err));
out:
    return rc;
}
