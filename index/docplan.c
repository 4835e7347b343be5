/* SPDX-License-Identifier: Apache-2.0 */
/* docplan.c -- the part of a plan (update.h) that is about attributes.  Records by label change for
 * the batch's ids alone; bits and times by slot change for all that move, too. */
#include <stdlib.h>
#include <string.h>

#include "index/update.h"
#include "src/base/bytes.h"

typedef struct plan {
    vq_update *u;
    vq_docs *d;
    const vq_snapshot *s;
    bool any;          /* the snapshot has attributes */
    uint32_t *numbers; /* of the batch's tags, or VQ_TABLE_NONE until they are looked up */
    uint32_t *list;    /* of one document; room of them */
    size_t room;
    uint64_t *stay; /* places of vectors that stay as they are, with other attributes; nstay */
    size_t nstay;
} plan;

static vq_status find(const plan *p, uint64_t label, vq_doc *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    *out = VQ_DOC_NONE;
    if (!p->any) goto out;
    VQ_TRY(vq_doc_find(p->s, label, out, err));
    uint32_t last = out->ntags > 0 ? vq_le32(out->tags + 4 * (size_t)(out->ntags - 1)) : 0;
    VQ_REQUIRE(out->ntags == 0 || last < p->d->first_tag, VQ_ECORRUPT,
               "documents: tag number %u of %u", last, p->d->first_tag);
out:
    return rc;
}

/* The number that the file has for a tag, or VQ_ENOENT.  Others count by it: it must be one that
 * was given, and no other tag's. */
static vq_status known_number(const plan *p, const char *text, uint32_t *number, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t vectors;
    const char *own;
    size_t len = strlen(text), own_len;
    rc = vq_tag_find(p->s, text, len, number, &vectors, err);
    if (rc != VQ_OK) return rc;
    VQ_REQUIRE(*number < p->d->first_tag, VQ_ECORRUPT, "tags: \"%.100s\" has number %u of %u", text,
               *number, p->d->first_tag);
    VQ_TRY(vq_tag_text(p->s, *number, &own, &own_len, err));
    VQ_REQUIRE(own_len == len && memcmp(own, text, len) == 0, VQ_ECORRUPT,
               "tags: \"%.100s\" has number %u, which is another's", text, *number);
out:
    return rc;
}

static vq_status number_of(plan *p, uint32_t tag, uint32_t *number, vq_error *err)
{
    const char *text = vq_pending_tag(&p->u->batch->docs, tag);
    vq_status rc = VQ_OK;
    if (p->numbers[tag] == VQ_TABLE_NONE) {
        rc = known_number(p, text, &p->numbers[tag], err);
        if (rc == VQ_ENOENT) rc = vq_docs_fresh(p->d, text, strlen(text), &p->numbers[tag], err);
    }
    *number = p->numbers[tag];
    return rc;
}

static vq_status make_room(plan *p, size_t n, vq_error *err)
{
    if (n <= p->room) return VQ_OK;
    vq_mem_free(p->list);
    p->room = 0;
    p->list = vq_mem_alloc(2 * n, sizeof *p->list);
    if (p->list == NULL) return vq_fail(err, VQ_ENOMEM, "attributes: %zu tags", n);
    p->room = 2 * n;
    return VQ_OK;
}

/* What an id carries from now on: what it had, with what the batch changes of it. */
static vq_status overlay(plan *p, const vq_doc *had, const vq_doc_change *c, vq_doc_edit *e,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending_docs *b = &p->u->batch->docs;
    bool tags = c != NULL && (c->kinds & VQ_DOC_TAGS) != 0;
    uint32_t n = tags ? c->ntags : had->ntags;
    VQ_TRY(make_room(p, n, err));
    for (uint32_t i = 0; i < n; i++) {
        p->list[i] = tags ? 0 : vq_le32(had->tags + 4 * (size_t)i);
        if (tags) VQ_TRY(number_of(p, b->tag_of[c->tags + i], &p->list[i], err));
    }
    VQ_TRY(vq_docs_numbers(p->d, p->list, n, &e->tags, &e->ntags, err));
    e->time = c != NULL && (c->kinds & VQ_DOC_TIME) != 0 ? c->time : had->time;
    e->payload = had->payload, e->bytes = had->bytes, e->packed = had->packed;
    if (c == NULL || (c->kinds & VQ_DOC_PAYLOAD) == 0) goto out;
    e->payload = b->payloads + c->payload, e->bytes = c->bytes, e->packed = 0;
out:
    return rc;
}

/* One id of the batch. */
static vq_status plan_id(plan *p, const vq_pending_id *id, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_update *u = p->u;
    const vq_doc none = VQ_DOC_NONE;
    bool had = id->place != VQ_NO_PLACE, has = id->vector != VQ_NO_VECTOR;
    bool changes = id->change != VQ_NO_CHANGE, stays = had && !id->removed;
    vq_doc old;
    vq_doc_edit e = {.label = has ? u->labels[id->vector] : id->id};
    if (!id->removed && !has && !changes) return VQ_OK;
    old = none;
    if (had) VQ_TRY(find(p, id->id, &old, err));
    bool is = !vq_doc_empty(&old);
    if (has || stays)
        VQ_TRY(overlay(p, id->forget ? &none : &old,
                       changes ? &u->batch->docs.changes[id->change] : NULL, &e, err));
    e.gone = e.ntags == 0 && e.bytes == 0 && e.time == VQ_NO_TIME;
    if (!has && !stays) e.gone = true, e.time = VQ_NO_TIME;
    if (had) VQ_TRY(vq_docs_clear(p->d, &old, id->place, err));
    if (has) VQ_TRY(vq_docs_set(p->d, &e, u->vectors.places[id->vector], err));
    if (stays && !has) {
        VQ_TRY(vq_docs_set(p->d, &e, vq_half_moved(&u->vectors, id->place), err));
        p->stay[p->nstay++] = id->place;
    }
    u->set += changes;
    if ((changes || id->forget) && (is || !e.gone)) VQ_TRY(vq_docs_edit(p->d, &e, err));
out:
    return rc;
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Vectors that move into holes take their bits with them. */
static vq_status plan_moves(plan *p, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_half *v = &p->u->vectors;
    if (p->nstay > 0) qsort(p->stay, p->nstay, sizeof *p->stay, by_place);
    for (size_t i = 0; i < v->nedits; i++) {
        uint64_t from = v->edits[i].from;
        uint32_t slot;
        vq_doc doc;
        if ((from & VQ_FRESH) != 0) continue;
        if (p->nstay > 0 && bsearch(&from, p->stay, p->nstay, sizeof *p->stay, by_place) != NULL)
            continue;
        const vq_chunk_view *at = vq_shard_at(p->u->shard, from, &slot);
        VQ_TRY(find(p, vq_le64(at->labels + 8 * (size_t)slot), &doc, err));
        VQ_TRY(vq_docs_clear(p->d, &doc, from, err));
        VQ_TRY(vq_docs_set_doc(p->d, &doc, v->edits[i].at, err));
    }
out:
    return rc;
}

vq_status vq_update_docs(vq_update *u, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = u->batch;
    plan p = {.u = u, .d = &u->docs, .s = &u->shard->snapshot};
    p.any = vq_docs_any(p.s);
    if (!p.any && b->docs.n == 0) return VQ_OK;
    p.d->first_tag = vq_docs_tags(p.s);
    p.numbers = vq_mem_alloc(b->docs.ntexts, sizeof *p.numbers);
    p.stay = vq_mem_alloc(b->nids, sizeof *p.stay);
    VQ_REQUIRE(p.numbers != NULL && p.stay != NULL, VQ_ENOMEM, "attributes: of %zu ids", b->nids);
    memset(p.numbers, 0xff, b->docs.ntexts * sizeof *p.numbers);
    for (size_t i = 0; i < b->nids; i++) VQ_TRY(plan_id(&p, &b->ids[i], err));
    VQ_TRY(plan_moves(&p, err));
out:
    vq_mem_free(p.numbers);
    vq_mem_free(p.list);
    vq_mem_free(p.stay);
    return rc;
}
