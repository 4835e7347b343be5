/* SPDX-License-Identifier: Apache-2.0 */
/* docs.c -- see docs.h; reading. */
#include "index/docs.h"

#include <inttypes.h>
#include <string.h>

#include "index/layout.h"
#include "index/opts.h"
#include "src/base/bytes.h"
#include "src/base/mem.h"

vq_status vq_doc_parse(const uint8_t *value, size_t len, vq_doc *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(len >= VQ_DOC_HEADER, VQ_ECORRUPT, "documents: a value of %zu bytes", len);
    *out = (vq_doc){.time = (int64_t)vq_le64(value + 8),
                    .ntags = vq_le32(value + 16),
                    .tags = value + VQ_DOC_HEADER,
                    .bytes = vq_le32(value + 20)};
    size_t rest = len - VQ_DOC_HEADER;
    VQ_REQUIRE(out->ntags <= VQ_TAGS_MAX && 4 * (size_t)out->ntags <= rest, VQ_ECORRUPT,
               "documents: %u tags in %zu bytes", out->ntags, rest);
    for (uint32_t i = 1; i < out->ntags; i++)
        VQ_REQUIRE(vq_le32(out->tags + 4 * (size_t)i) > vq_le32(out->tags + 4 * (size_t)(i - 1)),
                   VQ_ECORRUPT, "documents: tags out of order");
    out->payload = out->tags + 4 * (size_t)out->ntags;
    out->packed = rest - 4 * (size_t)out->ntags;
    VQ_REQUIRE(out->bytes <= VQ_PAYLOAD_MAX && out->packed <= out->bytes &&
                   (out->packed > 0 || out->bytes == 0),
               VQ_ECORRUPT, "documents: a payload of %zu bytes in %zu", out->bytes, out->packed);
out:
    return rc;
}

vq_status vq_times_parse(const uint8_t *value, size_t len, uint32_t capacity, uint32_t list,
                         uint32_t chunk, vq_times *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(len >= VQ_TIMES_HEADER, VQ_ECORRUPT, "times %u/%u: a value of %zu bytes", list,
               chunk, len);
    *out = (vq_times){.n = vq_le32(value + 8),
                      .least = (int64_t)vq_le64(value + 24),
                      .greatest = (int64_t)vq_le64(value + 32),
                      .at = value + VQ_TIMES_HEADER};
    VQ_REQUIRE(out->n >= 1 && out->n <= capacity && len == VQ_TIMES_HEADER + 8 * (size_t)out->n &&
                   vq_le32(value + 12) == list && vq_le32(value + 16) == chunk &&
                   vq_le32(value + 20) == 0 && vq_le64(value + 40) == 0,
               VQ_ECORRUPT, "times %u/%u: %u of chunk %u/%u in %zu bytes", list, chunk, out->n,
               vq_le32(value + 12), vq_le32(value + 16), len);
out:
    return rc;
}

vq_status vq_tag_parse(const uint8_t *value, size_t len, uint32_t *number, uint64_t *vectors,
                       vq_error *err)
{
    if (len != VQ_TAG_VALUE || vq_le32(value + 12) != 0)
        return vq_fail(err, VQ_ECORRUPT, "tags: a value of %zu bytes", len);
    *number = vq_le32(value + 8);
    *vectors = vq_le64(value + 16);
    return VQ_OK;
}

size_t vq_tag_key(uint8_t key[5], uint32_t number)
{
    key[0] = 0;
    vq_put_be32(key + 1, number);
    return 5;
}

bool vq_docs_any(const vq_snapshot *s)
{
    return s->db[VQ_DB_DOCUMENTS].root != VQ_NO_PAGE;
}

uint32_t vq_docs_tags(const vq_snapshot *s)
{
    const vq_tree *t = &s->db[VQ_DB_TAGS];
    return t->root != VQ_NO_PAGE ? (uint32_t)VQ_MIN(t->entries / 2, (uint64_t)UINT32_MAX) : 0;
}

vq_status vq_docs_count(const vq_snapshot *s, uint64_t *n, vq_error *err)
{
    const uint8_t *value;
    size_t len;
    *n = 0;
    if (!vq_docs_any(s)) return VQ_OK;
    vq_status rc = vq_snapshot_get(s, VQ_DB_DOCUMENTS, VQ_DICTIONARY, 1, &value, &len, err);
    if (rc == VQ_OK || rc == VQ_ENOENT) *n = s->db[VQ_DB_DOCUMENTS].entries - (rc == VQ_OK);
    return rc == VQ_ENOENT ? VQ_OK : rc;
}

vq_status vq_docs_all_found(const vq_snapshot *s, uint64_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t all;
    VQ_TRY(vq_docs_count(s, &all, err));
    VQ_REQUIRE(n == all, VQ_ECORRUPT,
               "documents: %" PRIu64 " of %" PRIu64 " are of an id; vq check tells more", n, all);
out:
    return rc;
}

vq_status vq_docs_walk_tags(const vq_snapshot *s, vq_tag_fn fn, void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_cursor c;
    char text[VQ_TAG_MAX + 1];
    /* Behind the keys of numbers. */
    VQ_TRY(vq_cursor_seek(&c, &s->pages, &s->db[VQ_DB_TAGS], "\x01", 1, err));
    while (c.depth > 0) {
        uint32_t number;
        uint64_t vectors = 0;
        VQ_REQUIRE(c.node.key_len <= VQ_TAG_MAX, VQ_ECORRUPT, "tags: a key of %zu bytes",
                   c.node.key_len);
        VQ_TRY(vq_record_verify(c.node.value, c.node.len, "tags", err));
        VQ_TRY(vq_tag_parse(c.node.value, c.node.len, &number, &vectors, err));
        memcpy(text, c.node.key, c.node.key_len);
        text[c.node.key_len] = '\0';
        VQ_REQUIRE(vectors == 0 || fn(ctx, text, vectors) == 0, VQ_ECANCELED, "tags: stopped");
        VQ_TRY(vq_cursor_next(&c, err));
    }
out:
    return rc;
}

vq_status vq_doc_find(const vq_snapshot *s, uint64_t label, vq_doc *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t len;
    uint8_t key[8];
    *out = VQ_DOC_NONE;
    vq_put_be64(key, label);
    rc = vq_snapshot_get(s, VQ_DB_DOCUMENTS, key, sizeof key, &value, &len, err);
    if (rc == VQ_ENOENT) return VQ_OK;
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_record_verify(value, len, "documents", err));
    VQ_TRY(vq_doc_parse(value, len, out, err));
out:
    return rc;
}

vq_status vq_tag_find(const vq_snapshot *s, const char *text, size_t len, uint32_t *number,
                      uint64_t *vectors, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t size;
    if (len == 0 || len > VQ_TAG_MAX || text[0] == '\0') return VQ_ENOENT;
    rc = vq_snapshot_get(s, VQ_DB_TAGS, text, len, &value, &size, err);
    if (rc != VQ_OK) return rc;
    VQ_TRY(vq_record_verify(value, size, "tags", err));
    VQ_TRY(vq_tag_parse(value, size, number, vectors, err));
out:
    return rc;
}

vq_status vq_tag_text(const vq_snapshot *s, uint32_t number, const char **text, size_t *len,
                      vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t size;
    uint8_t key[5];
    rc = vq_snapshot_get(s, VQ_DB_TAGS, key, vq_tag_key(key, number), &value, &size, err);
    VQ_REQUIRE(rc != VQ_ENOENT, VQ_ECORRUPT, "tags: there is no number %u", number);
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_record_verify(value, size, "tags", err));
    VQ_REQUIRE(size > 8 && size <= 8 + VQ_TAG_MAX && memchr(value + 8, 0, size - 8) == NULL,
               VQ_ECORRUPT, "tags: number %u is a text of %zu bytes", number, size - 8);
    *text = (const char *)value + 8;
    *len = size - 8;
out:
    return rc;
}

vq_status vq_docs_packer(const vq_snapshot *s, vq_packer **out, bool *has, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value = NULL;
    size_t len = 0;
    *out = NULL;
    rc = vq_snapshot_get(s, VQ_DB_DOCUMENTS, VQ_DICTIONARY, 1, &value, &len, err);
    if (rc != VQ_OK && rc != VQ_ENOENT) goto out;
    bool any = rc == VQ_OK;
    if (any) VQ_TRY(vq_record_verify(value, len, "documents", err));
    VQ_TRY(vq_packer_open(out, any ? value + 8 : NULL, any ? len - 8 : 0, err));
    if (has != NULL) *has = any;
out:
    return rc;
}

vq_status vq_doc_unpack(vq_packer *p, const vq_doc *d, void *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (d->bytes == 0) return VQ_OK;
    if (d->packed == d->bytes)
        memcpy(out, d->payload, d->bytes);
    else
        rc = vq_packer_unpack(p, out, d->bytes, d->payload, d->packed, err);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "documents");
}

void vq_doc_room_fini(vq_doc_room *room)
{
    vq_packer_close(room->packer);
    vq_mem_free(room->tags);
    vq_mem_free(room->text);
    vq_mem_free(room->payload);
    memset(room, 0, sizeof *room);
}

static vq_status read_tags(vq_doc_room *room, const vq_snapshot *s, const vq_doc *d, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_mem_free(room->tags);
    vq_mem_free(room->text);
    room->tags = vq_mem_alloc(d->ntags, sizeof *room->tags);
    room->text = vq_mem_alloc(d->ntags, VQ_TAG_MAX + 1);
    VQ_REQUIRE(room->tags != NULL && room->text != NULL, VQ_ENOMEM, "documents: %u tags", d->ntags);
    char *at = room->text;
    for (uint32_t i = 0; i < d->ntags; i++) {
        const char *text;
        size_t len;
        VQ_TRY(vq_tag_text(s, vq_le32(d->tags + 4 * (size_t)i), &text, &len, err));
        memcpy(at, text, len);
        at[len] = '\0';
        room->tags[i] = at;
        at += len + 1;
    }
out:
    return rc;
}

vq_status vq_doc_read(vq_doc_room *room, const vq_snapshot *s, uint64_t label, vq_document *out,
                      vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_doc d;
    vq_document doc = VQ_DOCUMENT_INIT;
    VQ_TRY(vq_doc_find(s, label, &d, err));
    VQ_TRY(read_tags(room, s, &d, err));
    vq_mem_free(room->payload);
    room->payload = vq_mem_alloc(d.bytes + 1, 1);
    VQ_REQUIRE(room->payload != NULL, VQ_ENOMEM, "documents: a payload of %zu bytes", d.bytes);
    if (room->packer == NULL) VQ_TRY(vq_docs_packer(s, &room->packer, NULL, err));
    VQ_TRY(vq_doc_unpack(room->packer, &d, room->payload, err));
    room->payload[d.bytes] = '\0';
    doc.time = d.time;
    doc.tags = room->tags;
    doc.ntags = d.ntags;
    doc.payload = d.bytes > 0 ? room->payload : NULL;
    doc.payload_bytes = d.bytes;
    VQ_TRY(vq_opts_export(out, &doc, sizeof doc, err));
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(s->file));
}
