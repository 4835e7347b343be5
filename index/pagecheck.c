/* SPDX-License-Identifier: Apache-2.0 */
/* pagecheck.c -- see pagecheck.h. */
#include "index/pagecheck.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"

typedef struct walk {
    const vq_pages *p;
    vq_problems *problems;
    uint8_t *seen;       /* a bit a page */
    const char *name;    /* of the tree at work */
    bool numbers;        /* its keys are u64 in memory order (the tree of free pages) */
    vq_tree found;       /* what was counted */
    const uint8_t *last; /* key before this one, or NULL */
    size_t last_len;
} walk;

void vq_problem(vq_problems *p, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    p->count++;
    if (p->fn != NULL) p->fn(p->ctx, text);
}

/* Marks count pages; false if one of them was in use already. */
static bool take_pages(walk *w, uint64_t first, uint64_t count, const char *what)
{
    for (uint64_t page = first; page < first + count; page++) {
        if (page < w->p->count && (w->seen[page / 8] >> page % 8 & 1) == 0) {
            w->seen[page / 8] |= (uint8_t)(1u << page % 8);
            continue;
        }
        vq_problem(w->problems, "page %" PRIu64 ": used twice, now as %s of %s", page, what,
                   w->name);
        return false;
    }
    return true;
}

static void check_order(walk *w, const vq_node *node, uint64_t page)
{
    if (w->numbers && node->key_len != 8) {
        vq_problem(w->problems, "page %" PRIu64 ": %s: a key of %zu bytes", page, w->name,
                   node->key_len);
        return;
    }
    if (w->last != NULL) {
        size_t len = VQ_MIN(w->last_len, node->key_len);
        int c = memcmp(w->last, node->key, len);
        bool rising = w->numbers ? vq_le64(w->last) < vq_le64(node->key)
                                 : c < 0 || (c == 0 && w->last_len < node->key_len);
        if (!rising)
            vq_problem(w->problems, "page %" PRIu64 ": %s: keys out of order", page, w->name);
    }
    w->last = node->key;
    w->last_len = node->key_len;
}

static void check_free(walk *w, const vq_node *node)
{
    /* A number of pages, then that many page numbers. */
    uint64_t count = node->len >= 8 ? vq_le64(node->value) : UINT64_MAX;
    if (count > node->len / 8 - (node->len >= 8)) {
        vq_problem(w->problems, "free pages: a record of %zu bytes", node->len);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        if (!take_pages(w, vq_le64(node->value + 8 + 8 * i), 1, "a free page")) return;
}

/* The page and all below it; false once something is wrong, so that damage is told once. */
static bool walk_page(walk *w, uint64_t page, unsigned depth)
{
    vq_error e = {0};
    unsigned kind, nodes;
    if (depth > VQ_TREE_DEPTH) {
        vq_problem(w->problems, "%s: deeper than %d pages", w->name, VQ_TREE_DEPTH);
        return false;
    }
    if (vq_page_check(w->p, page, &kind, &nodes, &e) != VQ_OK) {
        vq_problem(w->problems, "%s: %s", w->name, e.text);
        return false;
    }
    if (!take_pages(w, page, 1, "a page")) return false;
    if (kind == VQ_PAGE_BRANCH)
        w->found.branch_pages++;
    else
        w->found.leaf_pages++;
    if ((kind == VQ_PAGE_LEAF) != (depth == w->found.depth)) {
        vq_problem(w->problems, "%s: page %" PRIu64 " at the wrong depth %u", w->name, page, depth);
        return false;
    }
    for (unsigned i = 0; i < nodes; i++) {
        vq_node node;
        if (vq_page_node(w->p, page, i, &node, &e) != VQ_OK) {
            vq_problem(w->problems, "%s: %s", w->name, e.text);
            return false;
        }
        if (kind == VQ_PAGE_BRANCH) {
            if (!walk_page(w, node.child, depth + 1)) return false;
            continue;
        }
        w->found.entries++;
        check_order(w, &node, page);
        if (node.overflow != VQ_NO_PAGE) {
            w->found.overflow_pages += node.run;
            /* LMDB takes exactly the pages that a value needs. */
            if (node.run != (node.len + VQ_PAGE_HEADER + w->p->size - 1) / w->p->size)
                vq_problem(w->problems, "page %" PRIu64 ": %s: %" PRIu64 " pages for %zu bytes",
                           node.overflow, w->name, node.run, node.len);
            if (!take_pages(w, node.overflow, node.run, "a value")) return false;
        }
        if (w->numbers) check_free(w, &node);
    }
    return true;
}

/* Every key must be reached by a search for it: the keys in branches are what they should be. */
static void check_lookups(const walk *w, const vq_tree *t)
{
    vq_error e = {0};
    vq_cursor c;
    if (vq_cursor_first(&c, w->p, t, &e) != VQ_OK) return;
    while (c.depth > 0) {
        const uint8_t *value;
        size_t len;
        bool first = c.at[c.depth - 1] == 0, last = c.at[c.depth - 1] + 1 == c.nodes[c.depth - 1];
        if ((first || last) &&
            (vq_tree_get(w->p, t, c.node.key, c.node.key_len, &value, &len, &e) != VQ_OK ||
             value != c.node.value)) {
            vq_problem(w->problems, "%s: page %" PRIu64 ": a key is not found by searching it",
                       w->name, c.page[c.depth - 1]);
            return;
        }
        if (vq_cursor_next(&c, &e) != VQ_OK) return;
    }
}

static void walk_tree(walk *w, const char *name, const vq_tree *t)
{
    w->name = name;
    w->last = NULL;
    memset(&w->found, 0, sizeof w->found);
    w->found.depth = t->depth;
    if (t->root != VQ_NO_PAGE && !walk_page(w, t->root, 1)) return;
    if (w->found.entries != t->entries || w->found.branch_pages != t->branch_pages ||
        w->found.leaf_pages != t->leaf_pages || w->found.overflow_pages != t->overflow_pages)
        vq_problem(w->problems,
                   "%s: %" PRIu64 " entries on %" PRIu64 "+%" PRIu64 "+%" PRIu64
                   " pages, it says %" PRIu64 " on %" PRIu64 "+%" PRIu64 "+%" PRIu64,
                   name, w->found.entries, w->found.branch_pages, w->found.leaf_pages,
                   w->found.overflow_pages, t->entries, t->branch_pages, t->leaf_pages,
                   t->overflow_pages);
    else if (!w->numbers)
        check_lookups(w, t);
}

/* The named databases, which are values of the main tree. */
static vq_status walk_named(walk *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_cursor c;
    VQ_TRY(vq_cursor_first(&c, w->p, &w->p->main, err));
    while (c.depth > 0) {
        char name[64];
        vq_tree t;
        size_t len = VQ_MIN(c.node.key_len, sizeof name - 1);
        memcpy(name, c.node.key, len);
        name[len] = '\0';
        if (c.node.tree) {
            vq_tree_parse(c.node.value, &t);
            if (t.flags != 0) vq_problem(w->problems, "%s: flags %x", name, t.flags);
            walk_tree(w, name, &t);
        } else {
            vq_problem(w->problems, "%s: a value among the databases", name);
        }
        VQ_TRY(vq_cursor_next(&c, err));
    }
out:
    return rc;
}

vq_status vq_pages_verify(const vq_pages *p, vq_problems *problems, uint64_t *verified,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    walk w = {.p = p, .problems = problems};
    uint64_t before = problems->count;
    w.seen = vq_mem_calloc((size_t)(p->count / 8 + 1), 1);
    VQ_REQUIRE(w.seen != NULL, VQ_ENOMEM, "check: %" PRIu64 " pages", p->count);
    w.seen[0] = 3; /* the meta pages */
    walk_tree(&w, "databases", &p->main);
    if (problems->count == before) VQ_TRY(walk_named(&w, err));
    *verified = 0;
    for (uint64_t page = 0; page < p->count; page++) *verified += w.seen[page / 8] >> page % 8 & 1;
    w.numbers = true;
    walk_tree(&w, "free pages", &p->free);
    uint64_t lost = 0, first = 0;
    for (uint64_t page = p->count; page-- > 0;)
        if ((w.seen[page / 8] >> page % 8 & 1) == 0) lost++, first = page;
    if (lost > 0 && problems->count == before)
        vq_problem(problems, "%" PRIu64 " pages belong to nothing, the first is %" PRIu64, lost,
                   first);
out:
    vq_mem_free(w.seen);
    return rc;
}

vq_status vq_pages_sound(const vq_pages *p, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_problems problems = {0};
    uint64_t pages;
    VQ_TRY(vq_pages_verify(p, &problems, &pages, err));
    VQ_REQUIRE(problems.count == 0, VQ_ECORRUPT, "%s: damaged; vq check tells more", path);
out:
    return rc;
}

vq_status vq_file_sound(vq_file *f, size_t *value_min, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_snapshot s;
    VQ_TRY(vq_snapshot_begin(&s, f, err));
    *value_min = s.pages.size / 2;
    rc = vq_pages_sound(&s.pages, vq_file_path(f), err);
    vq_snapshot_end(&s);
out:
    return rc;
}
