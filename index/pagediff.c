/* SPDX-License-Identifier: Apache-2.0 */
/* pagediff.c -- what differs between two snapshots of a tree, see pages.h.  A writer puts what it
 * changes onto pages that no snapshot uses.  So a page that both trees reach is the same in both,
 * with all below it, and only pages that one of them reaches alone are looked at. */
#include "index/pages.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"

typedef struct level { /* pages of a tree at one height, in the order of their keys */
    const vq_pages *p;
    uint64_t *pages; /* owned */
    size_t n, room;
    unsigned height; /* 1: leaves; 0: no tree */
} level;

static vq_status push(level *l, uint64_t page, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(l->n < l->p->count, VQ_ECORRUPT, "a tree of more pages than the file has");
    uint64_t *grown = vq_mem_reserve(l->pages, l->n, l->n + 1, &l->room, sizeof *grown);
    VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "%zu pages of a tree", l->n);
    l->pages = grown;
    l->pages[l->n++] = page;
out:
    return rc;
}

static vq_status begin(level *l, const vq_pages *p, const vq_tree *t, vq_error *err)
{
    *l = (level){.p = p};
    if (t->root == VQ_NO_PAGE) return VQ_OK;
    if (t->depth < 1 || t->depth > VQ_TREE_DEPTH)
        return vq_fail(err, VQ_ECORRUPT, "a tree of %u levels", (unsigned)t->depth);
    l->height = t->depth;
    return push(l, t->root, err);
}

/* From branches to what lies below them. */
static vq_status descend(level *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    level below = {.p = l->p, .height = l->height - 1};
    for (size_t i = 0; i < l->n; i++) {
        unsigned kind = 0, nodes = 0;
        VQ_TRY(vq_page_check(l->p, l->pages[i], &kind, &nodes, err));
        VQ_REQUIRE(kind == VQ_PAGE_BRANCH, VQ_ECORRUPT, "a tree that is not as deep as it says");
        for (unsigned at = 0; at < nodes; at++) {
            vq_node node;
            VQ_TRY(vq_page_look(l->p, l->pages[i], kind, at, &node, err));
            VQ_TRY(push(&below, node.child, err));
        }
    }
    vq_mem_free(l->pages);
    *l = below;
    below.pages = NULL;
out:
    vq_mem_free(below.pages);
    return rc;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Takes out what another level has, too; sorted: its pages by number. */
static void leave_own(level *l, const uint64_t *sorted, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (n == 0 || bsearch(&l->pages[i], sorted, n, sizeof *sorted, by_number) == NULL)
            l->pages[kept++] = l->pages[i];
    l->n = kept;
}

static vq_status leave_differing(level *a, level *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t na = a->n, nb = b->n;
    uint64_t *of_a = vq_mem_alloc(na, sizeof *of_a), *of_b = vq_mem_alloc(nb, sizeof *of_b);
    VQ_REQUIRE(of_a != NULL && of_b != NULL, VQ_ENOMEM, "%zu pages of a tree", na + nb);
    if (na > 0) memcpy(of_a, a->pages, na * sizeof *of_a);
    if (nb > 0) memcpy(of_b, b->pages, nb * sizeof *of_b);
    qsort(of_a, na, sizeof *of_a, by_number);
    qsort(of_b, nb, sizeof *of_b, by_number);
    leave_own(a, of_b, nb);
    leave_own(b, of_a, na);
out:
    vq_mem_free(of_a);
    vq_mem_free(of_b);
    return rc;
}

typedef struct walk { /* through the leaves of a level */
    const level *l;
    size_t leaf;
    const uint8_t *page;
    unsigned at, nodes; /* the current entry of the page */
    bool end;
} walk;

/* On to the next leaf, if this one is done. */
static vq_status settle(walk *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    unsigned kind = 0;
    if (w->at < w->nodes) goto out;
    w->end = w->leaf == w->l->n;
    if (w->end) goto out;
    uint64_t page = w->l->pages[w->leaf++];
    VQ_TRY(vq_page_check(w->l->p, page, &kind, &w->nodes, err));
    VQ_REQUIRE(kind == VQ_PAGE_LEAF, VQ_ECORRUPT, "a tree that is deeper than it says");
    w->page = w->l->p->base + page * w->l->p->size;
    w->at = 0;
out:
    return rc;
}

/* The bytes of the current entry, if it is as those of chunks are: a key of 8 bytes, a value in a
 * run of its own; else NULL. */
enum { PLAIN_BYTES = 24 };
static const uint8_t *plain(const walk *w)
{
    static const uint8_t flags_and_size[4] = {1, 0, 8, 0};
    size_t at = vq_le16(w->page + VQ_PAGE_HEADER + 2 * (size_t)w->at);
    if (at + PLAIN_BYTES > w->l->p->size) return NULL;
    return memcmp(w->page + at + 4, flags_and_size, 4) == 0 ? w->page + at : NULL;
}

/* Nearly all entries are the same, and need no closer look. */
static void skip_same(walk *a, walk *b)
{
    while (a->at < a->nodes && b->at < b->nodes) {
        const uint8_t *x = plain(a), *y = plain(b);
        if (x == NULL || y == NULL || memcmp(x, y, PLAIN_BYTES) != 0) break;
        a->at++, b->at++;
    }
}

static vq_status current(const walk *w, vq_node *node, vq_error *err)
{
    return w->end ? VQ_OK
                  : vq_page_look(w->l->p, w->l->pages[w->leaf - 1], VQ_PAGE_LEAF, w->at, node, err);
}

/* Entries of the leaves, by key. */
static vq_status compare_leaves(const level *a, const level *b, vq_differs_fn fn, void *ctx,
                                vq_error *err)
{
    vq_status rc = VQ_OK;
    walk wa = {.l = a}, wb = {.l = b};
    for (;;) {
        vq_node x, y;
        VQ_TRY(settle(&wa, err));
        VQ_TRY(settle(&wb, err));
        if (wa.end && wb.end) break;
        if (!wa.end && !wb.end) skip_same(&wa, &wb);
        if ((!wa.end && wa.at == wa.nodes) || (!wb.end && wb.at == wb.nodes)) continue;
        VQ_TRY(current(&wa, &x, err));
        VQ_TRY(current(&wb, &y, err));
        int c = wa.end ? 1 : -1;
        if (!wa.end && !wb.end) c = vq_key_compare(x.key, x.key_len, y.key, y.key_len);
        bool same = c == 0 && x.overflow != VQ_NO_PAGE && x.overflow == y.overflow;
        if (!same) fn(ctx, c <= 0 ? x.key : y.key, c <= 0 ? x.key_len : y.key_len);
        wa.at += c <= 0;
        wb.at += c >= 0;
    }
out:
    return rc;
}

vq_status vq_tree_differs(const vq_pages *p, const vq_tree *t, const vq_pages *q, const vq_tree *u,
                          vq_differs_fn fn, void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    level a = {.n = 0}, b = {.n = 0};
    VQ_TRY(begin(&a, p, t, err));
    VQ_TRY(begin(&b, q, u, err));
    while (a.height > b.height && a.height > 1) VQ_TRY(descend(&a, err));
    while (b.height > a.height && b.height > 1) VQ_TRY(descend(&b, err));
    for (;;) {
        VQ_TRY(leave_differing(&a, &b, err));
        if (VQ_MAX(a.height, b.height) <= 1) break;
        VQ_TRY(descend(&a, err));
        VQ_TRY(descend(&b, err));
    }
    VQ_TRY(compare_leaves(&a, &b, fn, ctx, err));
out:
    vq_mem_free(a.pages);
    vq_mem_free(b.pages);
    return rc;
}
