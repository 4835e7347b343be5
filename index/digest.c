/* SPDX-License-Identifier: Apache-2.0 */
/* digest.c -- a hash of what an index says, whatever pages it lies on: parameters, arrays, lists in
 * order with codes, factors, labels and rows, ids and names.  What tuning and judged queries have
 * taught is left out: it says how hard to search and what to keep, not what is there. */
#include <stdio.h>
#include <string.h>

#include "index/check.h"
#include "index/pagecheck.h"
#include "index/relation.h"
#include "index/relevance.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"

static bool is_key(const vq_node *node, const char *key)
{
    return node->key_len == strlen(key) && memcmp(node->key, key, node->key_len) == 0;
}

static bool is_measured(vq_db db, const vq_node *node)
{
    if (db == VQ_DB_META) return is_key(node, VQ_TUNED_AT_KEY);
    return db == VQ_DB_MODEL && (is_key(node, VQ_TUNE_KEY) || is_key(node, VQ_TUNE_OLD_KEY) ||
                                 is_key(node, VQ_RELEVANCE_KEY));
}

/* All of one database: keys and values, each with its length. */
static vq_status add_db(vq_hasher *h, const vq_snapshot *s, vq_db db, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_cursor c;
    vq_hasher_add(h, vq_db_names[db], strlen(vq_db_names[db]) + 1);
    VQ_TRY(vq_cursor_first(&c, &s->pages, &s->db[db], err));
    for (; rc == VQ_OK && c.depth > 0; rc = vq_cursor_next(&c, err)) {
        uint8_t lengths[16];
        if (is_measured(db, &c.node)) continue;
        vq_put_le64(lengths, c.node.key_len);
        vq_put_le64(lengths + 8, c.node.len);
        vq_hasher_add(h, lengths, sizeof lengths);
        vq_hasher_add(h, c.node.key, c.node.key_len);
        vq_hasher_add(h, c.node.value, c.node.len);
    }
out:
    return rc;
}

vq_status vq_digest_shard(vq_shard *s, char hex[33], vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t digest[16];
    vq_hasher *h = vq_hasher_new();
    VQ_REQUIRE(h != NULL, VQ_ENOMEM, "digest: out of memory");
    /* Pages that share others could keep a walk busy for ever: each must be used once. */
    VQ_TRY(vq_pages_sound(&s->snapshot.pages, vq_file_path(s->snapshot.file), err));
    for (vq_db db = 0; db < VQ_DB_COUNT; db++)
        if (db < VQ_DB_COPIES || s->snapshot.db[db].root != VQ_NO_PAGE)
            VQ_TRY(add_db(h, &s->snapshot, db, err));
    vq_hasher_get(h, digest);
    for (int i = 0; i < 16; i++) (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
out:
    vq_hasher_free(h);
    return rc;
}
