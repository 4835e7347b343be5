/* SPDX-License-Identifier: Apache-2.0 */
/* ids.c -- from an external id to the place of its vector, and from a label to its name. */
#include <inttypes.h>
#include <string.h>

#include "index/searcher.h"
#include "src/base/bytes.h"
#include "src/io/ids.h"

vq_status vq_shard_place(vq_shard *s, const uint8_t *value, size_t size, uint64_t *place,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(size == 8 || (size == 16 && s->model.copies > 0), VQ_ECORRUPT,
               "ids: a value of %zu bytes", size);
    uint32_t list = vq_le32(value), slot = vq_le32(value + 4);
    VQ_REQUIRE(list < s->model.nlist, VQ_ECORRUPT, "ids: list %u of %u", list, s->model.nlist);
    VQ_TRY(vq_shard_load(s, list, err));
    VQ_REQUIRE(slot < s->lists[list].n, VQ_ECORRUPT, "ids: slot %u of list %u, which has %u", slot,
               list, s->lists[list].n);
    *place = (uint64_t)list << 32 | slot;
out:
    return rc;
}

vq_status vq_shard_copy(vq_shard *s, const uint8_t *value, uint64_t of, uint64_t *place,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t list = vq_le32(value), slot = vq_le32(value + 4);
    VQ_REQUIRE(list < s->model.nlist && list != of >> 32, VQ_ECORRUPT,
               "ids: a copy in list %u of %u", list, s->model.nlist);
    VQ_TRY(vq_shard_load(s, list, err));
    const vq_list_view *l = &s->lists[list];
    VQ_REQUIRE(slot < l->copies, VQ_ECORRUPT, "ids: copy %u of list %u, which has %u", slot, list,
               l->copies);
    const vq_chunk_view *v = &l->chunks[l->nchunks + slot / s->capacity];
    VQ_REQUIRE(vq_copy_of(v, slot % s->capacity) == of, VQ_ECORRUPT,
               "ids: copy %u of list %u is another's", slot, list);
    *place = (uint64_t)list << 32 | slot;
out:
    return rc;
}

/* The place of a key. */
static vq_status find_key(vq_shard *s, const void *key, size_t len, uint64_t *place, vq_error *err)
{
    const uint8_t *value;
    size_t size;
    vq_status rc = vq_snapshot_get(&s->snapshot, VQ_DB_IDS, key, len, &value, &size, err);
    return rc == VQ_OK ? vq_shard_place(s, value, size, place, err) : rc;
}

/* The names of block, unpacked. */
static vq_status load_names(vq_shard *s, uint32_t block, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t len;
    uint8_t key[4];
    if (s->names != NULL && s->names_block == block && s->names_count > 0) return VQ_OK;
    if (s->names == NULL) s->names = vq_mem_alloc(vq_names_raw_max(), 1);
    VQ_REQUIRE(s->names != NULL, VQ_ENOMEM, "names: %zu bytes", vq_names_raw_max());
    s->names_count = 0;
    vq_put_be32(key, block);
    rc = vq_snapshot_get(&s->snapshot, VQ_DB_NAMES, key, sizeof key, &value, &len, err);
    if (rc != VQ_OK) return rc;
    VQ_TRY(vq_names_parse(value, len, s->names, vq_names_raw_max(), &s->names_count, err));
    s->names_block = block;
out:
    return rc;
}

vq_status vq_shard_name(vq_shard *s, uint64_t label, char *name, size_t cap, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t len;
    if (label / VQ_NAMES_PER_BLOCK > UINT32_MAX) return VQ_ENOENT;
    VQ_TRY(load_names(s, (uint32_t)(label / VQ_NAMES_PER_BLOCK), err));
    uint32_t i = (uint32_t)(label % VQ_NAMES_PER_BLOCK);
    if (i >= s->names_count) return VQ_ENOENT;
    const char *text = vq_names_at(s->names, i, &len);
    if (len == 0) return VQ_ENOENT; /* it has been deleted */
    VQ_REQUIRE(len < cap, VQ_EINVAL, "a name of %zu bytes does not fit %zu", len, cap);
    memcpy(name, text, len);
    name[len] = '\0';
out:
    return rc;
}

vq_status vq_shard_find(vq_shard *s, uint64_t label, uint64_t *place, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t number[8];
    char name[VQ_ID_MAX + 1];
    if (!s->model.string_ids) {
        vq_put_be64(number, label);
        return find_key(s, number, sizeof number, place, err);
    }
    VQ_TRY(vq_shard_name(s, label, name, sizeof name, err));
    VQ_TRY(find_key(s, name, strlen(name), place, err));
out:
    return rc;
}

vq_status vq_shard_find_name(vq_shard *s, const char *name, uint64_t *label, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t place = 0;
    uint32_t slot;
    size_t len = strlen(name);
    if (len == 0 || len > VQ_ID_MAX) return VQ_ENOENT;
    VQ_TRY(find_key(s, name, len, &place, err));
    const vq_chunk_view *v = vq_shard_at(s, place, &slot);
    *label = vq_le64(v->labels + 8 * (size_t)slot);
out:
    return rc;
}

/* ---- all names ---- */

typedef struct name_walk {
    char last[VQ_ID_MAX + 1]; /* the name before, or "" */
    uint64_t count;
} name_walk;

/* A name must be an id whose vector has its label.  Labels that nothing has been added to or
 * deleted from are ranks. */
static vq_status check_name(vq_shard *s, name_walk *w, const char *name, size_t len, uint64_t label,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t place, found;
    uint32_t slot;
    bool ranks = s->model.labels == 0;
    if (len == 0 && !ranks) return VQ_OK; /* it has been deleted */
    VQ_REQUIRE(len >= 1 && len <= VQ_ID_MAX, VQ_ECORRUPT, "names: name %" PRIu64 " of %zu bytes",
               label, len);
    char text[VQ_ID_MAX + 1];
    memcpy(text, name, len);
    text[len] = '\0';
    VQ_REQUIRE(!ranks || (label == w->count && strcmp(text, w->last) > 0), VQ_ECORRUPT,
               "names: name %" PRIu64 " is out of place", label);
    memcpy(w->last, text, len + 1);
    w->count++;
    const uint8_t *value;
    size_t size;
    rc = vq_snapshot_get(&s->snapshot, VQ_DB_IDS, text, len, &value, &size, err);
    VQ_REQUIRE(rc != VQ_ENOENT, VQ_ECORRUPT, "names: name %" PRIu64 " is no id", label);
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_shard_place(s, value, size, &place, err));
    const vq_chunk_view *v = vq_shard_at(s, place, &slot);
    found = vq_le64(v->labels + 8 * (size_t)slot);
    VQ_REQUIRE(found == label, VQ_ECORRUPT,
               "names: name %" PRIu64 " is that of list %u, slot %u, which has label %" PRIu64,
               label, (uint32_t)(place >> 32), (uint32_t)place, found);
out:
    return rc;
}

vq_status vq_shard_check_names(vq_shard *shard, uint64_t *records, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &shard->snapshot;
    const vq_model *m = &shard->model;
    name_walk w = {.count = 0};
    vq_cursor at;
    uint8_t *raw = vq_mem_alloc(vq_names_raw_max(), 1);
    VQ_REQUIRE(raw != NULL, VQ_ENOMEM, "check: %zu bytes", vq_names_raw_max());
    VQ_TRY(vq_cursor_first(&at, &s->pages, &s->db[VQ_DB_NAMES], err));
    for (; at.depth > 0; ++*records) {
        uint32_t count = 0;
        VQ_REQUIRE(at.node.key_len == 4, VQ_ECORRUPT, "names: a key of %zu bytes", at.node.key_len);
        uint64_t label = (uint64_t)vq_be32(at.node.key) * VQ_NAMES_PER_BLOCK;
        VQ_TRY(vq_record_verify(at.node.value, at.node.len, "names", err));
        VQ_TRY(vq_names_parse(at.node.value, at.node.len, raw, vq_names_raw_max(), &count, err));
        VQ_REQUIRE(label + count <= (m->labels != 0 ? m->labels : m->n), VQ_ECORRUPT,
                   "names: name %" PRIu64 " has a label that was never given", label + count - 1);
        const uint8_t *next = raw;
        for (uint32_t i = 0; i < count; i++, next += 2 + vq_le16(next))
            VQ_TRY(check_name(shard, &w, (const char *)next + 2, vq_le16(next), label + i, err));
        VQ_TRY(vq_cursor_next(&at, err));
    }
    VQ_REQUIRE(w.count == m->n, VQ_ECORRUPT, "names: %" PRIu64 " for %" PRIu64 " ids", w.count,
               m->n);
out:
    vq_mem_free(raw);
    return rc;
}
