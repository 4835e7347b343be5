/* SPDX-License-Identifier: Apache-2.0 */
/* docgather.c -- see docwrite.h; the gathering. */
#include <stdlib.h>
#include <string.h>

#include "index/docwrite.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/base/mem.h"

void vq_docs_fini(vq_docs *d)
{
    vq_mem_free(d->edits), vq_mem_free(d->numbers), vq_mem_free(d->tag_ops);
    vq_mem_free(d->time_ops), vq_mem_free(d->fresh);
    memset(d, 0, sizeof *d);
}

#define RESERVE(field, n, more, room)                                                              \
    do {                                                                                           \
        void *grown_ = vq_mem_reserve(d->field, d->n, d->n + (more), &d->room, sizeof *d->field);  \
        VQ_REQUIRE(grown_ != NULL, VQ_ENOMEM, "attributes: %zu of them", d->n);                    \
        d->field = grown_;                                                                         \
    } while (0)

vq_status vq_docs_edit(vq_docs *d, const vq_doc_edit *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    RESERVE(edits, nedits, 1, edits_room);
    d->edits[d->nedits++] = *e;
out:
    return rc;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

vq_status vq_docs_numbers(vq_docs *d, const uint32_t *numbers, size_t n, size_t *tags,
                          uint32_t *ntags, vq_error *err)
{
    vq_status rc = VQ_OK;
    RESERVE(numbers, nnumbers, n, numbers_room);
    uint32_t *to = d->numbers + d->nnumbers, kept = 0;
    if (n > 0) memcpy(to, numbers, n * sizeof *to);
    qsort(to, n, sizeof *to, by_number);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || to[i] != to[kept - 1]) to[kept++] = to[i];
    *tags = d->nnumbers;
    *ntags = kept;
    d->nnumbers += kept;
out:
    return rc;
}

static vq_status add_tag_op(vq_docs *d, uint32_t tag, uint64_t place, bool set, vq_error *err)
{
    vq_status rc = VQ_OK;
    RESERVE(tag_ops, ntag_ops, 1, tag_room);
    d->tag_ops[d->ntag_ops++] = (vq_tag_op){
        .tag = tag, .list = (uint32_t)(place >> 32), .slot = (uint32_t)place, .set = set};
out:
    return rc;
}

static vq_status add_time_op(vq_docs *d, int64_t time, uint64_t place, vq_error *err)
{
    vq_status rc = VQ_OK;
    RESERVE(time_ops, ntime_ops, 1, time_room);
    d->time_ops[d->ntime_ops++] = (vq_time_op){.place = place, .time = time};
out:
    return rc;
}

static vq_status add_doc(vq_docs *d, const vq_doc *doc, uint64_t place, bool set, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (uint32_t i = 0; i < doc->ntags; i++)
        VQ_TRY(add_tag_op(d, vq_le32(doc->tags + 4 * (size_t)i), place, set, err));
    if (doc->time != VQ_NO_TIME) VQ_TRY(add_time_op(d, set ? doc->time : VQ_NO_TIME, place, err));
out:
    return rc;
}

vq_status vq_docs_clear(vq_docs *d, const vq_doc *doc, uint64_t place, vq_error *err)
{
    return add_doc(d, doc, place, false, err);
}

vq_status vq_docs_set_doc(vq_docs *d, const vq_doc *doc, uint64_t place, vq_error *err)
{
    return add_doc(d, doc, place, true, err);
}

vq_status vq_docs_set(vq_docs *d, const vq_doc_edit *e, uint64_t place, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (uint32_t i = 0; i < e->ntags; i++)
        VQ_TRY(add_tag_op(d, d->numbers[e->tags + i], place, true, err));
    if (e->time != VQ_NO_TIME) VQ_TRY(add_time_op(d, e->time, place, err));
out:
    return rc;
}

vq_status vq_docs_fresh(vq_docs *d, const char *text, size_t len, uint32_t *number, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE((size_t)d->first_tag + d->nfresh < INT32_MAX, VQ_EINVAL,
               "no numbers are left for tags");
    RESERVE(fresh, nfresh, 1, fresh_room);
    *number = d->first_tag + (uint32_t)d->nfresh;
    d->fresh[d->nfresh++] = (vq_new_tag){.text = text, .len = len};
out:
    return rc;
}

typedef struct wanted { /* for vq_table_find */
    const vq_docs *d;
    const char *text;
    size_t len;
} wanted;

static bool same_tag(const void *ctx, uint32_t number)
{
    const wanted *w = ctx;
    const vq_new_tag *t = &w->d->fresh[number - w->d->first_tag];
    return t->len == w->len && memcmp(t->text, w->text, w->len) == 0;
}

vq_status vq_docs_number(vq_docs *d, vq_table *numbers, const char *text, size_t len,
                         uint32_t *number, vq_error *err)
{
    vq_status rc = VQ_OK;
    wanted w = {.d = d, .text = text, .len = len};
    uint64_t hash = vq_xxh3(text, len);
    *number = vq_table_find(numbers, hash, same_tag, &w);
    if (*number != VQ_TABLE_NONE) goto out;
    VQ_TRY(vq_docs_fresh(d, text, len, number, err));
    VQ_TRY(vq_table_add(numbers, hash, *number, err));
out:
    return rc;
}
