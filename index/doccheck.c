/* SPDX-License-Identifier: Apache-2.0 */
/* doccheck.c -- verifying attributes: what the records by label say must be what tags, bitmaps and
 * times say, no more and no less. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "index/check.h"
#include "index/docs.h"
#include "src/base/bitmap.h"
#include "src/base/bytes.h"
#include "src/io/ids.h"

typedef struct bit { /* a vector has a tag */
    uint32_t tag;
    uint64_t place;
} bit;

typedef struct moment { /* a vector has a time */
    uint64_t place;
    int64_t time;
} moment;

typedef struct walk {
    vq_shard *s;
    vq_packer *packer;
    uint8_t *payload;
    size_t payload_room;
    bit *bits;
    moment *moments;
    size_t nbits, bits_room, nmoments, moments_room;
    uint32_t tags;
    uint64_t values;
} walk;

static vq_status place_of(walk *w, uint64_t label, uint64_t *place, vq_error *err)
{
    vq_status rc = vq_shard_find(w->s, label, place, err);
    if (rc == VQ_ENOENT)
        rc = vq_fail(err, VQ_ECORRUPT, "documents: of label %" PRIu64 ", which no id has", label);
    return rc;
}

static vq_status note(walk *w, const vq_doc *d, uint64_t place, vq_error *err)
{
    vq_status rc = VQ_OK;
    bit *bits = vq_mem_reserve(w->bits, w->nbits, w->nbits + d->ntags, &w->bits_room, sizeof *bits);
    VQ_REQUIRE(bits != NULL, VQ_ENOMEM, "check: %zu tags", w->nbits);
    w->bits = bits;
    for (uint32_t i = 0; i < d->ntags; i++) {
        uint32_t tag = vq_le32(d->tags + 4 * (size_t)i);
        VQ_REQUIRE(tag < w->tags, VQ_ECORRUPT, "documents: tag number %u of %u", tag, w->tags);
        w->bits[w->nbits++] = (bit){.tag = tag, .place = place};
    }
    if (d->time == VQ_NO_TIME) goto out;
    moment *moments =
        vq_mem_reserve(w->moments, w->nmoments, w->nmoments + 1, &w->moments_room, sizeof *moments);
    VQ_REQUIRE(moments != NULL, VQ_ENOMEM, "check: %zu times", w->nmoments);
    w->moments = moments;
    w->moments[w->nmoments++] = (moment){.place = place, .time = d->time};
out:
    return rc;
}

static vq_status unpack(walk *w, const vq_doc *d, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (d->bytes > w->payload_room) {
        vq_mem_free(w->payload);
        w->payload = vq_mem_alloc(d->bytes, 1);
        w->payload_room = w->payload != NULL ? d->bytes : 0;
        VQ_REQUIRE(w->payload != NULL, VQ_ENOMEM, "check: a payload of %zu bytes", d->bytes);
    }
    if (d->bytes > 0) VQ_TRY(vq_doc_unpack(w->packer, d, w->payload, err));
out:
    return rc;
}

static vq_status check_documents(walk *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &w->s->snapshot;
    vq_cursor at;
    VQ_TRY(vq_docs_packer(s, &w->packer, NULL, err));
    VQ_TRY(vq_cursor_first(&at, &s->pages, &s->db[VQ_DB_DOCUMENTS], err));
    for (; at.depth > 0; w->values++) {
        const vq_node *n = &at.node;
        bool dictionary = n->key_len == 1 && n->key[0] == 0;
        vq_doc d;
        uint64_t place = 0;
        VQ_REQUIRE(n->key_len == 8 || dictionary, VQ_ECORRUPT, "documents: a key of %zu bytes",
                   n->key_len);
        VQ_TRY(vq_record_verify(n->value, n->len, "documents", err));
        if (!dictionary) {
            VQ_TRY(vq_doc_parse(n->value, n->len, &d, err));
            VQ_REQUIRE(!vq_doc_empty(&d), VQ_ECORRUPT, "documents: an empty one");
            VQ_TRY(place_of(w, vq_be64(n->key), &place, err));
            VQ_TRY(note(w, &d, place, err));
            VQ_TRY(unpack(w, &d, err));
        }
        VQ_TRY(vq_cursor_next(&at, err));
    }
out:
    return rc;
}

static int by_tag(const void *a, const void *b)
{
    const bit *x = a, *y = b;
    if (x->tag != y->tag) return x->tag < y->tag ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static int by_place(const void *a, const void *b)
{
    const moment *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* The bitmap at a node, against the bits from *next on, which moves on behind them. */
static vq_status check_bitmap(walk *w, const vq_node *n, size_t *next, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t *has = NULL;
    VQ_REQUIRE(n->key_len == 8, VQ_ECORRUPT, "tagged: a key of %zu bytes", n->key_len);
    uint32_t tag = vq_be32(n->key), list = vq_be32(n->key + 4);
    VQ_REQUIRE(list < w->s->model.nlist, VQ_ECORRUPT, "tagged: list %u", list);
    uint32_t slots = w->s->lists[list].n;
    size_t nwords = vq_bitmap_words(slots), left = 0;
    has = vq_mem_calloc(nwords, sizeof *has);
    VQ_REQUIRE(has != NULL, VQ_ENOMEM, "check: list %u", list);
    VQ_TRY(vq_record_verify(n->value, n->len, "tagged", err));
    VQ_TRY(vq_bitmap_read(n->value + 8, n->len - 8, has, slots, err));
    for (; *next < w->nbits && w->bits[*next].tag == tag && w->bits[*next].place >> 32 == list;
         (*next)++) {
        uint32_t slot = (uint32_t)w->bits[*next].place;
        VQ_REQUIRE((has[slot / 64] >> slot % 64 & 1) != 0, VQ_ECORRUPT,
                   "tagged: tag %u, list %u: slot %u has the tag, but no bit", tag, list, slot);
        has[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    }
    for (size_t i = 0; i < nwords; i++) left += (size_t)__builtin_popcountll(has[i]);
    VQ_REQUIRE(left == 0, VQ_ECORRUPT, "tagged: tag %u, list %u: %zu slots do not have the tag",
               tag, list, left);
out:
    vq_mem_free(has);
    return rc;
}

static vq_status check_bitmaps(walk *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &w->s->snapshot;
    vq_cursor at;
    size_t next = 0;
    if (w->nbits > 0) qsort(w->bits, w->nbits, sizeof *w->bits, by_tag);
    VQ_TRY(vq_cursor_first(&at, &s->pages, &s->db[VQ_DB_TAGGED], err));
    for (; at.depth > 0; w->values++) {
        VQ_TRY(check_bitmap(w, &at.node, &next, err));
        VQ_TRY(vq_cursor_next(&at, err));
    }
    VQ_REQUIRE(next == w->nbits, VQ_ECORRUPT, "tagged: no bitmap of tag %u and list %u",
               w->bits[next].tag, (uint32_t)(w->bits[next].place >> 32));
out:
    return rc;
}

static uint64_t vectors_of(const walk *w, uint32_t tag)
{
    size_t ends[2];
    for (int i = 0; i < 2; i++) {
        size_t lo = 0, hi = w->nbits;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (w->bits[mid].tag < tag + (uint64_t)i)
                lo = mid + 1;
            else
                hi = mid;
        }
        ends[i] = lo;
    }
    return ends[1] - ends[0];
}

/* Each text has a number, which has that text; as many of the one as of the other. */
static vq_status check_tags(walk *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &w->s->snapshot;
    vq_cursor at;
    uint64_t texts = 0, all = 0;
    VQ_TRY(vq_cursor_first(&at, &s->pages, &s->db[VQ_DB_TAGS], err));
    for (; at.depth > 0; all++) {
        const vq_node *n = &at.node;
        const char *text;
        size_t len;
        uint32_t number;
        uint64_t vectors;
        VQ_REQUIRE(n->key_len >= 1, VQ_ECORRUPT, "tags: an empty key");
        VQ_TRY(vq_record_verify(n->value, n->len, "tags", err));
        if (n->key[0] != 0) {
            VQ_TRY(vq_tag_parse(n->value, n->len, &number, &vectors, err));
            VQ_TRY(vq_tag_text(s, number, &text, &len, err));
            VQ_REQUIRE(number < w->tags && len == n->key_len && memcmp(text, n->key, len) == 0,
                       VQ_ECORRUPT, "tags: number %u is another's", number);
            VQ_REQUIRE(vectors == vectors_of(w, number), VQ_ECORRUPT,
                       "tags: %.*s: %" PRIu64 " vectors, expected %" PRIu64, (int)len, text,
                       vectors, vectors_of(w, number));
            texts++;
        }
        VQ_TRY(vq_cursor_next(&at, err));
    }
    w->values += all;
    VQ_REQUIRE(2 * texts == all, VQ_ECORRUPT, "tags: %" PRIu64 " texts, %" PRIu64 " numbers", texts,
               all - texts);
out:
    return rc;
}

static vq_status check_chunk(walk *w, const vq_node *n, size_t *next, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_times t;
    int64_t least = INT64_MAX, greatest = INT64_MIN, last = VQ_NO_TIME;
    VQ_REQUIRE(n->key_len == 8, VQ_ECORRUPT, "times: a key of %zu bytes", n->key_len);
    uint32_t list = vq_be32(n->key), chunk = vq_be32(n->key + 4);
    uint64_t first = (uint64_t)list << 32 | (uint64_t)chunk * w->s->capacity;
    VQ_REQUIRE(list < w->s->model.nlist && (uint64_t)chunk * w->s->capacity <= UINT32_MAX,
               VQ_ECORRUPT, "times: chunk %u/%u", list, chunk);
    VQ_TRY(vq_record_verify(n->value, n->len, "times", err));
    VQ_TRY(vq_times_parse(n->value, n->len, w->s->capacity, list, chunk, &t, err));
    for (uint32_t i = 0; i < t.n; i++) {
        bool has = *next < w->nmoments && w->moments[*next].place == first + i;
        int64_t want = has ? w->moments[(*next)++].time : VQ_NO_TIME;
        last = (int64_t)vq_le64(t.at + 8 * (size_t)i);
        VQ_REQUIRE(last == want, VQ_ECORRUPT, "times: slot %u of list %u has another time",
                   (uint32_t)(first + i), list);
        if (has) least = VQ_MIN(least, last), greatest = VQ_MAX(greatest, last);
    }
    VQ_REQUIRE(last != VQ_NO_TIME && least == t.least && greatest == t.greatest, VQ_ECORRUPT,
               "times: chunk %u/%u: its bounds are not those of its times", list, chunk);
out:
    return rc;
}

static vq_status check_times(walk *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &w->s->snapshot;
    vq_cursor at;
    size_t next = 0;
    if (w->nmoments > 0) qsort(w->moments, w->nmoments, sizeof *w->moments, by_place);
    VQ_TRY(vq_cursor_first(&at, &s->pages, &s->db[VQ_DB_TIMES], err));
    for (; at.depth > 0; w->values++) {
        VQ_TRY(check_chunk(w, &at.node, &next, err));
        VQ_TRY(vq_cursor_next(&at, err));
    }
    VQ_REQUIRE(next == w->nmoments, VQ_ECORRUPT, "times: none of list %u, slot %u",
               (uint32_t)(w->moments[next].place >> 32), (uint32_t)w->moments[next].place);
out:
    return rc;
}

vq_status vq_check_docs(vq_shard *s, uint64_t *values, vq_error *err)
{
    vq_status rc = VQ_OK;
    walk w = {.s = s, .tags = vq_docs_tags(&s->snapshot)};
    VQ_TRY(check_documents(&w, err));
    VQ_TRY(check_bitmaps(&w, err));
    VQ_TRY(check_tags(&w, err));
    VQ_TRY(check_times(&w, err));
    *values += w.values;
out:
    vq_packer_close(w.packer);
    vq_mem_free(w.payload);
    vq_mem_free(w.bits);
    vq_mem_free(w.moments);
    return rc;
}
