/* SPDX-License-Identifier: Apache-2.0 */
/* select.c -- see select.h.  List by list; each leaf of the expression walks the records of its
 * tag, or those of times, beside it, so that what a filter costs is what there is of its tags. */
#include "index/select.h"

#include <string.h>

#include "index/docs.h"
#include "src/base/bitmap.h"
#include "src/base/bytes.h"
#include "src/train/spill.h"

typedef struct leaf { /* a tag or a comparison of times */
    const vq_step *step;
    uint32_t tag;
    vq_cursor at;  /* its records, by list */
    uint32_t list; /* of the current one; VQ_NO_LIST: no more */
} leaf;

typedef struct selection {
    vq_shard *s;
    const vq_expr *e;
    leaf *leaves; /* of the steps that are one, in turn */
    size_t nleaves;
    uint64_t *words; /* e->stack times the words of a list */
    size_t room;     /* words */
} selection;

static vq_db db_of(const leaf *l)
{
    return l->step->kind == VQ_STEP_TAG ? VQ_DB_TAGGED : VQ_DB_TIMES;
}

/* What record the cursor is at. */
static vq_status note_list(leaf *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_node *n = &l->at.node;
    bool tag = l->step->kind == VQ_STEP_TAG;
    l->list = VQ_NO_LIST;
    if (l->at.depth == 0) return VQ_OK;
    VQ_REQUIRE(n->key_len == 8, VQ_ECORRUPT, "%s: a key of %zu bytes", vq_db_names[db_of(l)],
               n->key_len);
    if (tag && vq_be32(n->key) != l->tag) return VQ_OK;
    l->list = vq_be32(n->key + (tag ? 4 : 0));
out:
    return rc;
}

static vq_status open_leaf(const selection *x, leaf *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &x->s->snapshot;
    const vq_step *step = l->step;
    uint8_t key[8] = {0};
    uint64_t vectors;
    l->list = VQ_NO_LIST;
    if (step->kind == VQ_STEP_TAG) {
        rc = vq_tag_find(s, x->e->text + step->tag, step->len, &l->tag, &vectors, err);
        if (rc == VQ_ENOENT) return VQ_OK;
        if (rc != VQ_OK) goto out;
        vq_put_be32(key, l->tag);
    }
    VQ_TRY(vq_cursor_seek(&l->at, &s->pages, &s->db[db_of(l)], key, sizeof key, err));
    VQ_TRY(note_list(l, err));
out:
    return rc;
}

static void compare_times(const vq_times *t, uint64_t first, const vq_step *step, uint64_t *words)
{
    for (uint32_t i = 0; i < t->n; i++) {
        int64_t time = (int64_t)vq_le64(t->at + 8 * (size_t)i);
        uint64_t holds = time != VQ_NO_TIME && vq_expr_holds(step->compare, time, step->time);
        words[(first + i) / 64] |= holds << (first + i) % 64;
    }
}

/* Can any time between the least and the greatest satisfy the comparison? */
static bool may_hold(const vq_times *t, const vq_step *step)
{
    switch (step->compare) {
    case VQ_EQ: return t->least <= step->time && step->time <= t->greatest;
    case VQ_NE: return t->least != step->time || t->greatest != step->time;
    case VQ_LT:
    case VQ_LE: return vq_expr_holds(step->compare, t->least, step->time);
    case VQ_GT:
    case VQ_GE: return vq_expr_holds(step->compare, t->greatest, step->time);
    }
    return true;
}

/* The records of a leaf that are of a list of n vectors, into words. */
static vq_status load_leaf(const selection *x, leaf *l, uint32_t list, uint32_t n, uint64_t *words,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(words, 0, vq_bitmap_words(n) * sizeof *words);
    while (l->list == list) {
        const vq_node *node = &l->at.node;
        VQ_TRY(vq_record_verify(node->value, node->len, vq_db_names[db_of(l)], err));
        if (l->step->kind == VQ_STEP_TAG) {
            VQ_TRY(vq_bitmap_read(node->value + 8, node->len - 8, words, n, err));
        } else {
            uint32_t chunk = vq_be32(node->key + 4);
            uint64_t first = (uint64_t)chunk * x->s->capacity;
            vq_times t;
            VQ_TRY(vq_times_parse(node->value, node->len, x->s->capacity, list, chunk, &t, err));
            VQ_REQUIRE(first + t.n <= n, VQ_ECORRUPT, "times %u/%u: %u of a list of %u", list,
                       chunk, t.n, n);
            if (may_hold(&t, l->step)) compare_times(&t, first, l->step, words);
        }
        VQ_TRY(vq_cursor_next(&l->at, err));
        VQ_TRY(note_list(l, err));
    }
out:
    return rc;
}

/* What the expression says of a vector without tags and time. */
static bool holds_for_nothing(const vq_expr *e)
{
    uint64_t stack = 0; /* a bit an operand, the last in bit 0 */
    for (size_t i = 0; i < e->n; i++) switch (e->steps[i].kind) {
        case VQ_STEP_TAG:
        case VQ_STEP_TIME: stack <<= 1; break;
        case VQ_STEP_NOT: stack ^= 1; break;
        case VQ_STEP_AND: stack = (stack >> 1) & (stack | ~UINT64_C(1)); break;
        case VQ_STEP_OR: stack = (stack >> 1) | (stack & 1); break;
        }
    return (stack & 1) != 0;
}

/* The bits of a list of n vectors into the first words. */
static vq_status run(selection *x, uint32_t list, uint32_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t nwords = vq_bitmap_words(n), top = 0, next = 0;
    size_t need = x->e->stack * VQ_MAX(nwords, (size_t)1);
    if (need > x->room) {
        vq_mem_free(x->words);
        x->words = vq_mem_alloc(2 * need, sizeof *x->words);
        x->room = x->words != NULL ? 2 * need : 0;
        VQ_REQUIRE(x->words != NULL, VQ_ENOMEM, "filter: list %u", list);
    }
    for (size_t i = 0; i < x->e->n; i++) {
        vq_step_kind kind = x->e->steps[i].kind;
        uint64_t *b = x->words + (top - (top > 0)) * nwords, *a = b - (top > 1 ? nwords : 0);
        switch (kind) {
        case VQ_STEP_TAG:
        case VQ_STEP_TIME:
            VQ_TRY(load_leaf(x, &x->leaves[next++], list, n, x->words + top++ * nwords, err));
            break;
        case VQ_STEP_NOT:
            for (size_t w = 0; w < nwords; w++) b[w] = ~b[w];
            if (n % 64 != 0) b[nwords - 1] &= (UINT64_C(1) << n % 64) - 1;
            break;
        case VQ_STEP_AND:
            for (size_t w = 0; w < nwords; w++) a[w] &= b[w];
            top--;
            break;
        case VQ_STEP_OR:
            for (size_t w = 0; w < nwords; w++) a[w] |= b[w];
            top--;
            break;
        }
    }
out:
    return rc;
}

/* The bits of a list (words; NULL: none) into the mask, or over what is there. */
static vq_status keep(vq_mask *m, bool fresh, uint32_t list, uint32_t n, const uint64_t *words,
                      vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t *bits = m->bits[list];
    size_t nwords = vq_bitmap_words(n);
    uint32_t count = 0;
    if (fresh && words != NULL && n > 0) {
        bits = m->bits[list] = vq_mem_alloc(nwords, sizeof *bits);
        VQ_REQUIRE(bits != NULL, VQ_ENOMEM, "filter: list %u", list);
        memcpy(bits, words, nwords * sizeof *bits);
    }
    if (bits == NULL) goto out;
    for (size_t w = 0; w < nwords; w++) {
        bits[w] = words != NULL ? bits[w] & words[w] : 0;
        count += (uint32_t)__builtin_popcountll(bits[w]);
    }
    m->matches += (uint64_t)count - m->counts[list];
    m->counts[list] = count;
    m->sizes[list] = n;
    if (count > 0) goto out;
    vq_mem_free(bits);
    m->bits[list] = NULL;
    m->sizes[list] = 0;
out:
    return rc;
}

static vq_status select_list(selection *x, vq_mask *m, bool fresh, uint32_t list, bool otherwise,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    bool any = otherwise;
    for (size_t i = 0; i < x->nleaves; i++) any |= x->leaves[i].list == list;
    if (!any && (fresh || m->bits[list] == NULL)) goto out;
    VQ_TRY(vq_shard_load(x->s, list, err));
    uint32_t n = x->s->lists[list].n;
    if (any) VQ_TRY(run(x, list, n, err));
    VQ_TRY(keep(m, fresh, list, n, any ? x->words : NULL, err));
out:
    return rc;
}

vq_status vq_select(vq_mask *m, bool fresh, vq_shard *s, const vq_expr *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    selection x = {.s = s, .e = e};
    bool otherwise = holds_for_nothing(e);
    x.leaves = vq_mem_calloc(e->n, sizeof *x.leaves);
    VQ_REQUIRE(x.leaves != NULL, VQ_ENOMEM, "filter: %zu steps", e->n);
    for (size_t i = 0; i < e->n; i++) {
        if (e->steps[i].kind > VQ_STEP_TIME) continue;
        leaf *l = &x.leaves[x.nleaves++];
        l->step = &e->steps[i];
        VQ_TRY(open_leaf(&x, l, err));
    }
    for (uint32_t list = 0; list < m->nlist; list++)
        VQ_TRY(select_list(&x, m, fresh, list, otherwise, err));
    for (size_t i = 0; i < x.nleaves; i++)
        VQ_REQUIRE(x.leaves[i].list == VQ_NO_LIST, VQ_ECORRUPT, "%s: of list %u of %u",
                   vq_db_names[db_of(&x.leaves[i])], x.leaves[i].list, m->nlist);
out:
    vq_mem_free(x.leaves);
    vq_mem_free(x.words);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(s->snapshot.file));
}
