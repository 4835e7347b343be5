/* SPDX-License-Identifier: Apache-2.0 */
/* pages.h -- reading LMDB's pages without trusting them.  Pure functions over mapped bytes.
 *
 * LMDB follows whatever its pages say: a flipped bit in one of them and mdb_get() reads outside the
 * map.  So lookups go through this reader, which checks every page number, offset and length
 * against the map; LMDB itself keeps transactions, locks and writing (file.c).  It also makes
 * lookups free of the transaction object, so that they need no lock.
 *
 * The pages (LMDB data version 1, little-endian, 8-byte page numbers):
 *   page header   0 u64 number | 8 u16 pad | 10 u16 flags | 12 u16 lower, 14 u16 upper
 *                 (overflow: 12 u32 pages in the run), 16: u16 offsets of nodes
 *   node          0 u16 lo | 2 u16 hi | 4 u16 flags | 6 u16 key size | 8 key | data
 *                 leaf: lo + hi << 16 = bytes of data; flag 1: the data is the u64 number of an
 *                 overflow page, flag 2: it is a tree (named database)
 *                 branch: lo + hi << 16 + flags << 32 = child page; the first key is empty
 *   tree          0 u32 pad | 4 u16 flags | 6 u16 depth | 8 u64 branch pages | 16 u64 leaf pages
 *                 | 24 u64 overflow pages | 32 u64 entries | 40 u64 root
 *   meta (page 0 or 1, at 16)  0 u32 magic | 4 u32 version | 8 u64 address | 16 u64 map size
 *                 | 24 tree of free pages (its pad is the page size) | 72 main tree
 *                 | 120 u64 last page | 128 u64 transaction
 */
#ifndef VQ_INDEX_PAGES_H
#define VQ_INDEX_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

#define VQ_PAGE_HEADER     16u
#define VQ_PAGE_META_BYTES (VQ_PAGE_HEADER + 136u)
#define VQ_NO_PAGE         UINT64_MAX
#define VQ_TREE_DEPTH      32

typedef struct vq_tree {
    uint64_t root; /* VQ_NO_PAGE: empty */
    uint64_t entries, branch_pages, leaf_pages, overflow_pages;
    uint16_t depth, flags;
} vq_tree;

typedef struct vq_pages { /* one snapshot of a file */
    const uint8_t *base;
    uint64_t count; /* pages that may be read: all below last + 1, all within the map */
    size_t size;    /* bytes of a page */
    uint64_t txn;
    vq_tree free, main;
} vq_pages;

/* The snapshot of transaction txn (0: the newest) among the two meta pages at base (bytes long).
 * VQ_EBUSY if txn is in neither: a writer has moved on, take a new snapshot.  VQ_ECORRUPT: not
 * LMDB, or cut short. */
vq_status vq_pages_open(vq_pages *p, const uint8_t *base, size_t bytes, uint64_t txn,
                        vq_error *err);

/* The number of the newest transaction, of a file with pages of that size: two loads. */
uint64_t vq_pages_newest(const uint8_t *base, size_t size);

/* A value: VQ_ENOENT (no text) if the key is not there. */
vq_status vq_tree_get(const vq_pages *p, const vq_tree *t, const void *key, size_t key_len,
                      const uint8_t **value, size_t *len, vq_error *err);
/* The named database; VQ_ENOENT if there is none. */
vq_status vq_tree_open(const vq_pages *p, const char *name, vq_tree *t, vq_error *err);

/* A node of a page, checked to lie within it. */
typedef struct vq_node {
    const uint8_t *key;
    size_t key_len;
    uint64_t child;       /* branch: page number */
    const uint8_t *value; /* leaf: the data, in an overflow run or in the page */
    size_t len;
    uint64_t overflow; /* first page of the run that holds value, or VQ_NO_PAGE */
    uint64_t run;      /* pages of that run */
    bool tree;         /* the value is a tree */
} vq_node;

enum { VQ_PAGE_BRANCH = 1, VQ_PAGE_LEAF = 2, VQ_PAGE_OVERFLOW = 4 };
/* Checks a branch or leaf page and tells its kind and number of nodes. */
vq_status vq_page_check(const vq_pages *p, uint64_t page, unsigned *kind, unsigned *nodes,
                        vq_error *err);
vq_status vq_page_node(const vq_pages *p, uint64_t page, unsigned i, vq_node *node, vq_error *err);
/* Node i (< nodes) of a page of that kind that vq_page_check has passed.  A value in a run of its
 * own is not looked at, which keeps a search off pages that it does not want: it is NULL. */
vq_status vq_page_look(const vq_pages *p, uint64_t page, unsigned kind, unsigned i, vq_node *node,
                       vq_error *err);
void vq_tree_parse(const uint8_t *bytes, vq_tree *t); /* 48 bytes */
/* The entry with the greatest key; VQ_ENOENT (no text) if there is none. */
vq_status vq_tree_last(const vq_pages *p, const vq_tree *t, vq_node *node, vq_error *err);

/* In key order.  A cursor is a plain value; it holds nothing. */
typedef struct vq_cursor {
    const vq_pages *pages;
    uint64_t left;  /* entries that may still come: pages that form a ring must not hold us */
    unsigned depth; /* 0: at the end */
    uint64_t page[VQ_TREE_DEPTH];
    unsigned at[VQ_TREE_DEPTH], nodes[VQ_TREE_DEPTH];
    vq_node node; /* the current one */
} vq_cursor;
vq_status vq_cursor_first(vq_cursor *c, const vq_pages *p, const vq_tree *t, vq_error *err);
/* At the first entry whose key is not below; depth 0 if there is none. */
vq_status vq_cursor_seek(vq_cursor *c, const vq_pages *p, const vq_tree *t, const void *key,
                         size_t key_len, vq_error *err);
vq_status vq_cursor_next(vq_cursor *c, vq_error *err); /* depth 0 after the last */

/* LMDB's order of keys: bytes, then length. */
int vq_key_compare(const void *a, size_t a_len, const void *b, size_t b_len);

/* Calls fn, in any order, for each key whose value differs between two snapshots of a tree of one
 * file, or that one of them lacks; also for some keys whose values in the pages of a leaf are
 * alike. What it does not name lies in both where it lay.  p is the older snapshot, held until q
 * had begun; reads only pages that one of the trees has alone. */
typedef void (*vq_differs_fn)(void *ctx, const uint8_t *key, size_t key_len);
vq_status vq_tree_differs(const vq_pages *p, const vq_tree *t, const vq_pages *q, const vq_tree *u,
                          vq_differs_fn fn, void *ctx, vq_error *err);

/* How many pages are free, for writers to use as soon as no reader sees what was there. */
vq_status vq_pages_free(const vq_pages *p, uint64_t *count, vq_error *err);

#endif
