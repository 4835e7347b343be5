/* SPDX-License-Identifier: Apache-2.0 */
/* docpending.c -- see docpending.h. */
#include "index/docpending.h"

#include <inttypes.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/io/utf8.h"

static vq_status check_tag(const char *tag, uint64_t i, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(tag != NULL, VQ_EINVAL, "attributes: a tag of id number %" PRIu64 " is NULL", i);
    size_t len = strlen(tag);
    VQ_REQUIRE(len >= 1 && len <= VQ_TAG_MAX, VQ_EINVAL,
               "attributes: id number %" PRIu64 " has a tag of %zu bytes; 1 to %u are possible", i,
               len, VQ_TAG_MAX);
    VQ_REQUIRE(vq_utf8_clean(tag, len) == len, VQ_EINVAL,
               "attributes: id number %" PRIu64 " has a tag that is no text: byte %zu is not valid "
               "UTF-8, or a control character",
               i, vq_utf8_clean(tag, len) + 1);
out:
    return rc;
}

static vq_status check_tags(const vq_attributes *a, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(a->tag_begins != NULL && a->tag_begins[0] == 0, VQ_EINVAL,
               "attributes: tags need tag_begins, from 0");
    for (uint64_t i = 0; i < a->n; i++) {
        uint64_t from = a->tag_begins[i], to = a->tag_begins[i + 1];
        VQ_REQUIRE(to >= from && to - from <= VQ_TAGS_MAX, VQ_EINVAL,
                   "attributes: id number %" PRIu64 " has more than %u tags", i, VQ_TAGS_MAX);
        for (uint64_t t = from; t < to; t++) VQ_TRY(check_tag(a->tags[t], i, err));
    }
out:
    return rc;
}

vq_status vq_attributes_check(const vq_attributes *a, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(a->n == 0 || (a->ids != NULL) != (a->names != NULL), VQ_EINVAL,
               "attributes: ids are numbers or names, one of them");
    for (uint64_t i = 0; a->names != NULL && i < a->n; i++)
        VQ_REQUIRE(a->names[i] != NULL, VQ_EINVAL, "attributes: name %" PRIu64 " is NULL", i);
    if (a->tags != NULL) VQ_TRY(check_tags(a, err));
    for (uint64_t i = 0; a->payloads != NULL && i < a->n; i++) {
        VQ_REQUIRE(a->payload_bytes != NULL, VQ_EINVAL, "attributes: payloads need payload_bytes");
        VQ_REQUIRE(a->payload_bytes[i] == 0 || a->payloads[i] != NULL, VQ_EINVAL,
                   "attributes: payload %" PRIu64 " is NULL", i);
        VQ_REQUIRE(a->payload_bytes[i] <= VQ_PAYLOAD_MAX, VQ_EINVAL,
                   "attributes: payload %" PRIu64 " of %" PRIu64 " bytes; at most %u are possible",
                   i, a->payload_bytes[i], VQ_PAYLOAD_MAX);
    }
out:
    return rc;
}

/* Room for `more` elements behind the n of *array. */
static bool widen(void *array, size_t n, size_t more, size_t *room, size_t size)
{
    void **at = array;
    void *grown = vq_mem_reserve(*at, n, n + more, room, size);
    if (grown != NULL) *at = grown;
    return grown != NULL;
}

typedef struct wanted { /* for vq_table_find */
    const vq_pending_docs *d;
    const char *tag;
} wanted;

static bool same_tag(const void *ctx, uint32_t i)
{
    const wanted *w = ctx;
    return strcmp(vq_pending_tag(w->d, i), w->tag) == 0;
}

static vq_status intern(vq_pending_docs *d, const char *tag, uint32_t *number, vq_error *err)
{
    vq_status rc = VQ_OK;
    wanted w = {.d = d, .tag = tag};
    size_t len = strlen(tag) + 1;
    uint64_t hash = vq_xxh3(tag, len - 1);
    *number = vq_table_find(&d->table, hash, same_tag, &w);
    if (*number != VQ_TABLE_NONE) goto out;
    VQ_REQUIRE(d->ntexts < VQ_TABLE_NONE &&
                   widen(&d->texts, d->ntexts, 1, &d->texts_room, sizeof *d->texts) &&
                   widen(&d->text, d->text_len, len, &d->text_room, 1),
               VQ_ENOMEM, "attributes: %zu tags", d->ntexts);
    memcpy(d->text + d->text_len, tag, len);
    d->texts[d->ntexts] = d->text_len;
    VQ_TRY(vq_table_add(&d->table, hash, (uint32_t)d->ntexts, err));
    *number = (uint32_t)d->ntexts++;
    d->text_len += len;
out:
    return rc;
}

static vq_status take_tags(vq_pending_docs *d, const vq_attributes *a, uint64_t i, vq_doc_change *c,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t from = a->tag_begins[i], n = a->tag_begins[i + 1] - from;
    VQ_REQUIRE(widen(&d->tag_of, d->ntag_of, (size_t)n, &d->tag_of_room, sizeof *d->tag_of),
               VQ_ENOMEM, "attributes: %zu tags", d->ntag_of);
    c->kinds |= VQ_DOC_TAGS;
    c->tags = d->ntag_of;
    c->ntags = (uint32_t)n;
    for (uint64_t t = 0; t < n; t++)
        VQ_TRY(intern(d, a->tags[from + t], &d->tag_of[d->ntag_of + t], err));
    d->ntag_of += (size_t)n;
out:
    return rc;
}

vq_status vq_pending_docs_add(vq_pending_docs *d, const vq_attributes *a, uint64_t i,
                              uint32_t before, uint32_t *change, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_doc_change c = {.time = VQ_NO_TIME};
    if (before != VQ_NO_CHANGE) c = d->changes[before];
    VQ_REQUIRE(d->n < VQ_NO_CHANGE && widen(&d->changes, d->n, 1, &d->room, sizeof c), VQ_ENOMEM,
               "attributes: of %zu ids", d->n);
    if (a->tags != NULL) VQ_TRY(take_tags(d, a, i, &c, err));
    if (a->times != NULL) c.kinds |= VQ_DOC_TIME, c.time = a->times[i];
    if (a->payloads != NULL) {
        size_t bytes = (size_t)a->payload_bytes[i];
        VQ_REQUIRE(widen(&d->payloads, d->payload_len, bytes, &d->payload_room, 1), VQ_ENOMEM,
                   "attributes: payloads of %zu bytes", d->payload_len + bytes);
        c.kinds |= VQ_DOC_PAYLOAD;
        c.payload = d->payload_len;
        c.bytes = bytes;
        if (bytes > 0) memcpy(d->payloads + d->payload_len, a->payloads[i], bytes);
        d->payload_len += bytes;
    }
    d->changes[d->n] = c;
    *change = (uint32_t)d->n++;
out:
    return rc;
}

void vq_pending_docs_fini(vq_pending_docs *d)
{
    vq_mem_free(d->changes), vq_mem_free(d->tag_of), vq_mem_free(d->texts);
    vq_mem_free(d->text), vq_mem_free(d->payloads);
    vq_table_fini(&d->table);
    memset(d, 0, sizeof *d);
}
