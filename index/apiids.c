/* SPDX-License-Identifier: Apache-2.0 */
/* apiids.c -- the public functions about one id of a searcher: its row, what it carries, its name.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/docs.h"
#include "index/searcher.h"

/* An id as handed out: of which shard, and its label there (numbers: try all). */
static size_t shard_of(const vq_searcher *s, uint64_t id, uint64_t *label)
{
    bool strings = s->shards[0].model.string_ids != 0;
    *label = strings ? id & ((UINT64_C(1) << 48) - 1) : id;
    return strings ? (size_t)(id >> 48) : 0;
}

static vq_status no_such_id(uint64_t id, vq_error *err)
{
    return vq_fail(err, VQ_ENOENT, "there is no id %" PRIu64, id);
}

/* The shard that has an id, its label and place there. */
static vq_status find_id(vq_searcher *s, uint64_t id, vq_shard **shard, uint64_t *label,
                         uint64_t *place, vq_error *err)
{
    bool strings = s->shards[0].model.string_ids != 0;
    size_t first = shard_of(s, id, label), end = strings ? first + 1 : s->nshards, at = first;
    vq_status rc = VQ_ENOENT;
    for (; at < end && at < s->nshards && rc == VQ_ENOENT; at++)
        rc = vq_shard_find(&s->shards[at], *label, place, err);
    if (rc == VQ_OK) *shard = &s->shards[at - 1];
    return rc == VQ_ENOENT ? no_such_id(id, err) : rc;
}

vq_status vq_get(vq_searcher *s, uint64_t id, float *row, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t label, place = 0;
    vq_shard *shard;
    VQ_REQUIRE(s != NULL && row != NULL, VQ_EINVAL, "get: a searcher and room are needed");
    VQ_TRY(find_id(s, id, &shard, &label, &place, err));
    const vq_model *m = &shard->model;
    const uint8_t *stored;
    VQ_TRY(vq_shard_row(shard, place, &stored, err));
    vq_model_widen(m, s->k, stored, row);
out:
    return rc;
}

vq_status vq_get_attributes(vq_searcher *s, uint64_t id, vq_document *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *shard;
    uint64_t label, place;
    VQ_REQUIRE(s != NULL && out != NULL, VQ_EINVAL, "get: a searcher and a struct are needed");
    VQ_TRY(find_id(s, id, &shard, &label, &place, err));
    if (shard->docs == NULL) shard->docs = vq_mem_calloc(1, sizeof *shard->docs);
    VQ_REQUIRE(shard->docs != NULL, VQ_ENOMEM, "get: out of memory");
    VQ_TRY(vq_doc_read(shard->docs, &shard->snapshot, label, out, err));
out:
    return rc;
}

static vq_status parse_number(const char *name, uint64_t *id)
{
    char *end, again[24];
    *id = strtoull(name, &end, 10);
    /* Only the canonical spelling is an id: what strtoull forgives is none. */
    (void)snprintf(again, sizeof again, "%" PRIu64, *id);
    return strcmp(again, name) == 0 ? VQ_OK : VQ_ENOENT;
}

vq_status vq_id_find(vq_searcher *s, const char *name, uint64_t *id, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t label = 0, place;
    VQ_REQUIRE(s != NULL && name != NULL && id != NULL, VQ_EINVAL, "id: a searcher and a name");
    bool strings = s->shards[0].model.string_ids != 0;
    if (!strings && parse_number(name, &label) != VQ_OK) goto none;
    for (size_t i = 0; i < s->nshards; i++) {
        rc = strings ? vq_shard_find_name(&s->shards[i], name, &label, err)
                     : vq_shard_find(&s->shards[i], label, &place, err);
        if (rc == VQ_ENOENT) continue;
        if (rc == VQ_OK) *id = label | (strings ? (uint64_t)i << 48 : 0);
        goto out;
    }
none:
    rc = vq_fail(err, VQ_ENOENT, "there is no id \"%.100s\"", name);
out:
    return rc;
}

vq_status vq_id_name(vq_searcher *s, uint64_t id, char *name, size_t cap, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t label;
    VQ_REQUIRE(s != NULL && name != NULL && cap > 0, VQ_EINVAL, "id: a searcher and room");
    if (!s->shards[0].model.string_ids) {
        uint64_t place;
        rc = VQ_ENOENT;
        for (size_t i = 0; i < s->nshards && rc == VQ_ENOENT; i++)
            rc = vq_shard_find(&s->shards[i], id, &place, err);
        if (rc == VQ_ENOENT) rc = no_such_id(id, err);
        if (rc != VQ_OK) goto out;
        int n = snprintf(name, cap, "%" PRIu64, id);
        VQ_REQUIRE(n > 0 && (size_t)n < cap, VQ_EINVAL, "%d bytes do not fit %zu", n, cap);
        goto out;
    }
    size_t at = shard_of(s, id, &label);
    rc = at < s->nshards ? vq_shard_name(&s->shards[at], label, name, cap, err) : VQ_ENOENT;
    if (rc == VQ_ENOENT) rc = no_such_id(id, err);
out:
    return rc;
}
