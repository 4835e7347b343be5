/* SPDX-License-Identifier: Apache-2.0 */
/* pages.c -- see pages.h. */
#include "index/pages.h"

#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"

enum {
    META_MAGIC_VERSION = 1,
    NODE_HEADER = 8,
    NODE_BIGDATA = 1,
    NODE_SUBDATA = 2,
    TREE_BYTES = 48
};
#define META_MAGIC 0xBEEFC0DEu
#define MAP_MOST   (UINT64_C(1) << 45)
#define PRIu       "llu"
#define U(x)       ((unsigned long long)(x))

void vq_tree_parse(const uint8_t *b, vq_tree *t)
{
    t->flags = vq_le16(b + 4);
    t->depth = vq_le16(b + 6);
    t->branch_pages = vq_le64(b + 8);
    t->leaf_pages = vq_le64(b + 16);
    t->overflow_pages = vq_le64(b + 24);
    t->entries = vq_le64(b + 32);
    t->root = vq_le64(b + 40);
}

/* One of the two meta pages; false if it is none. */
static bool parse_meta(const uint8_t *page, size_t room, vq_pages *p, uint64_t *last)
{
    if (room < VQ_PAGE_META_BYTES) return false;
    const uint8_t *m = page + VQ_PAGE_HEADER;
    if (vq_le32(m) != META_MAGIC || vq_le32(m + 4) != META_MAGIC_VERSION) return false;
    p->size = vq_le32(m + 24);
    vq_tree_parse(m + 24, &p->free);
    vq_tree_parse(m + 72, &p->main);
    *last = vq_le64(m + 120);
    p->txn = vq_le64(m + 128);
    /* LMDB maps as much as the page says; more than an address space is damage. */
    if (vq_le64(m + 16) > MAP_MOST) return false;
    return p->size >= 512 && p->size <= 65536 && (p->size & (p->size - 1)) == 0;
}

uint64_t vq_pages_newest(const uint8_t *base, size_t size)
{
    uint64_t txn[2];
    for (size_t i = 0; i < 2;
         i++) { /* a number of 8 aligned bytes, which another process may write */
        const void *at = base + i * size + VQ_PAGE_HEADER + 128;
        uint64_t raw = VQ_ATOMIC_LOAD((const uint64_t *)at);
        txn[i] = vq_le64(&raw);
    }
    return VQ_MAX(txn[0], txn[1]);
}

vq_status vq_pages_open(vq_pages *p, const uint8_t *base, size_t bytes, uint64_t txn, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_pages meta[2];
    uint64_t last[2];
    memset(meta, 0, sizeof meta);
    VQ_REQUIRE(parse_meta(base, bytes, &meta[0], &last[0]) && bytes >= 2 * meta[0].size &&
                   parse_meta(base + meta[0].size, bytes - meta[0].size, &meta[1], &last[1]) &&
                   meta[1].size == meta[0].size,
               VQ_ECORRUPT,
               "not an index, which is an LMDB file, or its first pages are damaged (%zu bytes)",
               bytes);
    int newest = meta[1].txn > meta[0].txn;
    if (txn != 0 && meta[newest].txn != txn) newest = !newest;
    VQ_REQUIRE(txn == 0 || meta[newest].txn == txn, VQ_EBUSY, "the snapshot is gone");
    *p = meta[newest];
    p->base = base;
    p->count = bytes / p->size;
    VQ_REQUIRE(last[newest] < p->count, VQ_ECORRUPT,
               "cut short: %zu bytes, but %" PRIu " pages of %zu were written; copy it again",
               bytes, U(last[newest]) + 1, p->size);
    p->count = last[newest] + 1;
out:
    return rc;
}

vq_status vq_page_check(const vq_pages *p, uint64_t page, unsigned *kind, unsigned *nodes,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(page >= 2 && page < p->count, VQ_ECORRUPT,
               "page %" PRIu " of %" PRIu " is asked for", U(page), U(p->count));
    const uint8_t *b = p->base + page * p->size;
    unsigned flags = vq_le16(b + 10) & 0xfu, lower = vq_le16(b + 12), upper = vq_le16(b + 14);
    VQ_REQUIRE(vq_le64(b) == page && (flags == VQ_PAGE_BRANCH || flags == VQ_PAGE_LEAF),
               VQ_ECORRUPT, "page %" PRIu ": no tree page (flags %x)", U(page), flags);
    VQ_REQUIRE(lower >= VQ_PAGE_HEADER && lower % 2 == 0 && lower <= upper && upper <= p->size,
               VQ_ECORRUPT, "page %" PRIu ": bounds %u and %u", U(page), lower, upper);
    *kind = flags;
    *nodes = (lower - VQ_PAGE_HEADER) / 2;
    VQ_REQUIRE(*nodes >= 1, VQ_ECORRUPT, "page %" PRIu ": empty", U(page));
out:
    return rc;
}

/* The overflow run that holds node->len bytes. */
static vq_status find_run(const vq_pages *p, vq_node *node, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t page = node->overflow;
    const uint8_t *b = p->base + page * p->size;
    node->run = vq_le32(b + 12);
    VQ_REQUIRE(vq_le64(b) == page && (vq_le16(b + 10) & 0xfu) == VQ_PAGE_OVERFLOW, VQ_ECORRUPT,
               "page %" PRIu ": no overflow page", U(page));
    VQ_REQUIRE(node->run >= 1 && node->run <= p->count - page &&
                   node->len <= node->run * p->size - VQ_PAGE_HEADER,
               VQ_ECORRUPT, "page %" PRIu ": a run of %" PRIu " pages for %zu bytes", U(page),
               U(node->run), node->len);
    node->value = b + VQ_PAGE_HEADER;
out:
    return rc;
}

vq_status vq_page_look(const vq_pages *p, uint64_t page, unsigned kind, unsigned i, vq_node *node,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *b = p->base + page * p->size;
    size_t at = vq_le16(b + VQ_PAGE_HEADER + 2 * (size_t)i), upper = vq_le16(b + 14);
    VQ_REQUIRE(at >= upper && at + NODE_HEADER <= p->size, VQ_ECORRUPT,
               "page %" PRIu ": node %u at %zu", U(page), i, at);
    const uint8_t *n = b + at;
    unsigned flags = vq_le16(n + 4);
    size_t lo = vq_le16(n), hi = vq_le16(n + 2), room = p->size - at - NODE_HEADER;
    memset(node, 0, sizeof *node);
    node->key_len = vq_le16(n + 6);
    node->key = n + NODE_HEADER;
    node->overflow = VQ_NO_PAGE;
    VQ_REQUIRE(node->key_len <= room, VQ_ECORRUPT, "page %" PRIu ": node %u: a key of %zu bytes",
               U(page), i, node->key_len);
    if (kind == VQ_PAGE_BRANCH) {
        node->child = lo | hi << 16 | (uint64_t)flags << 32;
        goto out;
    }
    VQ_REQUIRE((flags & ~3u) == 0, VQ_ECORRUPT, "page %" PRIu ": node %u: flags %x", U(page), i,
               flags);
    node->len = lo | hi << 16;
    node->tree = (flags & NODE_SUBDATA) != 0;
    room -= node->key_len;
    bool big = (flags & NODE_BIGDATA) != 0;
    VQ_REQUIRE((big ? 8 : node->len) <= room && (!node->tree || node->len == TREE_BYTES),
               VQ_ECORRUPT, "page %" PRIu ": node %u: a value of %zu bytes", U(page), i, node->len);
    node->value = node->key + node->key_len;
    if (!big) goto out;
    node->overflow = vq_le64(node->value);
    node->value = NULL;
    VQ_REQUIRE(node->overflow >= 2 && node->overflow < p->count, VQ_ECORRUPT,
               "page %" PRIu ": node %u: a value on page %" PRIu " of %" PRIu, U(page), i,
               U(node->overflow), U(p->count));
out:
    return rc;
}

/* ..with its value. */
static vq_status read_node(const vq_pages *p, uint64_t page, unsigned kind, unsigned i,
                           vq_node *node, vq_error *err)
{
    vq_status rc = vq_page_look(p, page, kind, i, node, err);
    return rc == VQ_OK && node->overflow != VQ_NO_PAGE ? find_run(p, node, err) : rc;
}

vq_status vq_page_node(const vq_pages *p, uint64_t page, unsigned i, vq_node *node, vq_error *err)
{
    vq_status rc = VQ_OK;
    unsigned kind = 0, nodes = 0;
    VQ_TRY(vq_page_check(p, page, &kind, &nodes, err));
    VQ_REQUIRE(i < nodes, VQ_ECORRUPT, "page %" PRIu ": node %u of %u", U(page), i, nodes);
    VQ_TRY(read_node(p, page, kind, i, node, err));
out:
    return rc;
}

int vq_key_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t len = VQ_MIN(a_len, b_len);
    int c = len != 0 ? memcmp(a, b, len) : 0;
    return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

/* In a branch: the last node whose key is <= key (the first node's key counts as smallest); in a
 * leaf: the node with that key, or VQ_ENOENT. */
static vq_status search_page(const vq_pages *p, uint64_t page, unsigned kind, unsigned nodes,
                             const void *key, size_t key_len, vq_node *node, vq_error *err)
{
    vq_status rc = VQ_OK;
    unsigned lo = kind == VQ_PAGE_BRANCH ? 1 : 0, hi = nodes; /* first node > key lies in lo..hi */
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        VQ_TRY(vq_page_look(p, page, kind, mid, node, err));
        int c = vq_key_compare(key, key_len, node->key, node->key_len);
        if (c == 0 && kind == VQ_PAGE_LEAF) {
            if (node->overflow != VQ_NO_PAGE) VQ_TRY(find_run(p, node, err));
            goto out;
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (kind == VQ_PAGE_LEAF) return VQ_ENOENT;
    VQ_TRY(read_node(p, page, kind, lo - 1, node, err));
out:
    return rc;
}

vq_status vq_tree_get(const vq_pages *p, const vq_tree *t, const void *key, size_t key_len,
                      const uint8_t **value, size_t *len, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t page = t->root;
    if (page == VQ_NO_PAGE) return VQ_ENOENT;
    for (int depth = 0; depth < VQ_TREE_DEPTH; depth++) {
        unsigned kind = 0, nodes = 0;
        vq_node node;
        VQ_TRY(vq_page_check(p, page, &kind, &nodes, err));
        VQ_TRY(search_page(p, page, kind, nodes, key, key_len, &node, err));
        if (kind == VQ_PAGE_LEAF) {
            *value = node.value;
            *len = node.len;
            goto out;
        }
        page = node.child;
    }
    rc = vq_fail(err, VQ_ECORRUPT, "a tree deeper than %d pages", VQ_TREE_DEPTH);
out:
    return rc;
}

vq_status vq_tree_open(const vq_pages *p, const char *name, vq_tree *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t len;
    VQ_TRY(vq_tree_get(p, &p->main, name, strlen(name), &value, &len, err));
    VQ_REQUIRE(len == TREE_BYTES, VQ_ECORRUPT, "%s: no database", name);
    vq_tree_parse(value, t);
out:
    return rc;
}

vq_status vq_tree_last(const vq_pages *p, const vq_tree *t, vq_node *node, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t page = t->root;
    if (page == VQ_NO_PAGE) return VQ_ENOENT;
    for (int depth = 0; depth < VQ_TREE_DEPTH; depth++) {
        unsigned kind = 0, nodes = 0;
        VQ_TRY(vq_page_check(p, page, &kind, &nodes, err));
        VQ_TRY(read_node(p, page, kind, nodes - 1, node, err));
        if (kind == VQ_PAGE_LEAF) goto out;
        page = node->child;
    }
    rc = vq_fail(err, VQ_ECORRUPT, "a tree deeper than %d pages", VQ_TREE_DEPTH);
out:
    return rc;
}

/* From the page at level c->depth - 1 down to its first leaf. */
static vq_status descend(vq_cursor *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (;;) {
        unsigned level = c->depth - 1, kind = 0;
        VQ_TRY(vq_page_check(c->pages, c->page[level], &kind, &c->nodes[level], err));
        c->at[level] = 0;
        VQ_TRY(read_node(c->pages, c->page[level], kind, 0, &c->node, err));
        if (kind == VQ_PAGE_LEAF) goto out;
        VQ_REQUIRE(c->depth < VQ_TREE_DEPTH, VQ_ECORRUPT, "a tree deeper than %d pages",
                   VQ_TREE_DEPTH);
        c->page[c->depth++] = c->node.child;
    }
out:
    return rc;
}

vq_status vq_cursor_first(vq_cursor *c, const vq_pages *p, const vq_tree *t, vq_error *err)
{
    memset(c, 0, sizeof *c);
    c->pages = p;
    if (t->root == VQ_NO_PAGE || t->entries == 0) return VQ_OK;
    c->left = t->entries - 1;
    c->depth = 1;
    c->page[0] = t->root;
    return descend(c, err);
}

/* The node of a page to go on with: of a branch the child that may hold the key, of a leaf the
 * first that is not below it; nodes if all are. */
static vq_status seek_node(const vq_pages *p, uint64_t page, unsigned kind, unsigned nodes,
                           const void *key, size_t key_len, unsigned *at, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool branch = kind == VQ_PAGE_BRANCH;
    unsigned lo = branch ? 1 : 0, hi = nodes;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        vq_node node;
        VQ_TRY(vq_page_look(p, page, kind, mid, &node, err));
        int c = vq_key_compare(key, key_len, node.key, node.key_len);
        if (c < 0 || (c == 0 && !branch))
            hi = mid;
        else
            lo = mid + 1;
    }
    *at = branch ? lo - 1 : lo;
out:
    return rc;
}

vq_status vq_cursor_seek(vq_cursor *c, const vq_pages *p, const vq_tree *t, const void *key,
                         size_t key_len, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(c, 0, sizeof *c);
    c->pages = p;
    if (t->root == VQ_NO_PAGE || t->entries == 0) return VQ_OK;
    c->left = t->entries - 1;
    c->page[0] = t->root;
    for (unsigned kind = VQ_PAGE_BRANCH; kind == VQ_PAGE_BRANCH;) {
        unsigned level = c->depth++, at = 0;
        VQ_TRY(vq_page_check(p, c->page[level], &kind, &c->nodes[level], err));
        VQ_TRY(seek_node(p, c->page[level], kind, c->nodes[level], key, key_len, &at, err));
        c->at[level] = at;
        if (at == c->nodes[level]) { /* the next leaf begins behind the key */
            c->at[level] = at - 1;
            return vq_cursor_next(c, err);
        }
        VQ_TRY(read_node(p, c->page[level], kind, at, &c->node, err));
        if (kind == VQ_PAGE_LEAF) break;
        VQ_REQUIRE(c->depth < VQ_TREE_DEPTH, VQ_ECORRUPT, "a tree deeper than %d pages",
                   VQ_TREE_DEPTH);
        c->page[c->depth] = c->node.child;
    }
out:
    return rc;
}

vq_status vq_cursor_next(vq_cursor *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    while (c->depth > 0 && ++c->at[c->depth - 1] == c->nodes[c->depth - 1]) c->depth--;
    if (c->depth == 0) goto out;
    VQ_REQUIRE(c->left-- > 0, VQ_ECORRUPT, "a tree holds more entries than it says");
    unsigned level = c->depth - 1;
    VQ_TRY(vq_page_node(c->pages, c->page[level], c->at[level], &c->node, err));
    unsigned kind = 0, nodes = 0;
    VQ_TRY(vq_page_check(c->pages, c->page[level], &kind, &nodes, err));
    if (kind == VQ_PAGE_LEAF) goto out;
    c->page[c->depth++] = c->node.child;
    VQ_TRY(descend(c, err));
out:
    return rc;
}

vq_status vq_pages_free(const vq_pages *p, uint64_t *count, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_cursor c;
    *count = 0;
    VQ_TRY(vq_cursor_first(&c, p, &p->free, err));
    while (c.depth > 0) { /* a number of pages, then that many page numbers */
        uint64_t n = c.node.len >= 8 ? vq_le64(c.node.value) : 0;
        VQ_REQUIRE(c.node.len >= 8 && n <= c.node.len / 8 - 1, VQ_ECORRUPT,
                   "free pages: a record of %zu bytes", c.node.len);
        *count += n;
        VQ_TRY(vq_cursor_next(&c, err));
    }
out:
    return rc;
}
