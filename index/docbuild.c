/* SPDX-License-Identifier: Apache-2.0 */
/* docbuild.c -- see docbuild.h. */
#include "index/docbuild.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "index/docpending.h"
#include "index/opts.h"
#include "src/base/bytes.h"
#include "src/base/mem.h"

enum { TAGS, TIME, PAYLOAD, ROW_BITS = 48 };

void vq_doc_build_fini(vq_doc_build *b)
{
    vq_mem_free(b->given);
    for (int kind = 0; kind < 3; kind++) vq_mem_free(b->rows[kind]);
    vq_docs_fini(&b->docs);
    vq_table_fini(&b->table);
    memset(b, 0, sizeof *b);
}

/* ---- joining ---- */

static size_t vector_of(const vq_idmap *im, size_t rank)
{
    return im->order != NULL ? im->order[rank] : rank;
}

static const char *name_of(const vq_idmap *im, size_t rank)
{
    size_t i = vector_of(im, rank);
    return im->names[im->rows != NULL ? im->rows[i] : i];
}

/* The rank of id i of a, or SIZE_MAX. */
static size_t find_rank(const vq_idmap *im, const vq_attributes *a, uint64_t i)
{
    size_t lo = 0, hi = im->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        bool below = im->names != NULL ? strcmp(name_of(im, mid), a->names[i]) < 0
                                       : vq_idmap_label(im, vector_of(im, mid)) < a->ids[i];
        if (below)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == im->n) return SIZE_MAX;
    bool found = im->names != NULL ? strcmp(name_of(im, lo), a->names[i]) == 0
                                   : vq_idmap_label(im, vector_of(im, lo)) == a->ids[i];
    return found ? lo : SIZE_MAX;
}

typedef struct left_out { /* rows, with their ids rising; ids or names of all rows, or neither */
    uint64_t *rows;       /* owned */
    size_t n;
    const uint64_t *ids;
    const char *const *names;
} left_out;

static uint64_t number_of_row(const left_out *l, uint64_t row)
{
    return l->ids != NULL ? l->ids[row] : row;
}

static int by_id(const void *a, const void *b, void *ctx)
{
    const left_out *l = ctx;
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    if (l->names != NULL) return strcmp(l->names[x], l->names[y]);
    x = number_of_row(l, x), y = number_of_row(l, y);
    return (x > y) - (x < y);
}

static bool was_left_out(const left_out *l, const vq_attributes *a, uint64_t i)
{
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        uint64_t row = l->rows[mid];
        int order = l->names != NULL
                        ? strcmp(l->names[row], a->names[i])
                        : (number_of_row(l, row) > a->ids[i]) - (number_of_row(l, row) < a->ids[i]);
        if (order == 0) return true;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static vq_status join(vq_doc_build *b, size_t g, const vq_idmap *im, const left_out *l,
                      vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_attributes *a = &b->given[g];
    bool has[3] = {a->tags != NULL, a->times != NULL, a->payloads != NULL};
    VQ_TRY(vq_attributes_check(a, err));
    VQ_REQUIRE(a->n == 0 || (a->names != NULL) == (im->names != NULL), VQ_EINVAL,
               "attributes: the index has %s ids; give such",
               im->names != NULL ? "string" : "number");
    for (int kind = 0; kind < 3; kind++) {
        if (!has[kind] || b->rows[kind] != NULL) continue;
        b->rows[kind] = vq_mem_calloc(im->n, sizeof **b->rows);
        VQ_REQUIRE(b->rows[kind] != NULL, VQ_ENOMEM, "attributes: of %zu vectors", im->n);
    }
    for (uint64_t i = 0; i < a->n; i++) {
        size_t rank = find_rank(im, a, i);
        if (rank == SIZE_MAX && was_left_out(l, a, i)) continue;
        if (im->names != NULL)
            VQ_REQUIRE(rank != SIZE_MAX, VQ_ENOENT, "attributes: there is no id \"%.100s\"",
                       a->names[i]);
        else
            VQ_REQUIRE(rank != SIZE_MAX, VQ_ENOENT, "attributes: there is no id %" PRIu64,
                       a->ids[i]);
        for (int kind = 0; kind < 3; kind++) {
            if (!has[kind]) continue;
            if (im->names != NULL)
                VQ_REQUIRE(b->rows[kind][rank] == 0, VQ_EINVAL,
                           "attributes: the id \"%.100s\" was named before", a->names[i]);
            else
                VQ_REQUIRE(b->rows[kind][rank] == 0, VQ_EINVAL,
                           "attributes: the id %" PRIu64 " was named before", a->ids[i]);
            b->rows[kind][rank] = (uint64_t)g << ROW_BITS | (i + 1);
        }
    }
out:
    return rc;
}

vq_status vq_doc_build_init(vq_doc_build *b, const vq_source *src, const vq_build_opts *o,
                            const vq_idmap *im, const uint64_t *skipped, size_t nskipped,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    left_out l = {.n = nskipped, .ids = o->ids, .names = o->names};
    if (vq_stored_described(src)) b->src = src;
    if (o->nattributes == 0) return VQ_OK;
    VQ_REQUIRE(o->attributes != NULL && o->nattributes < UINT16_MAX, VQ_EINVAL,
               "build: %u attributes", o->nattributes);
    l.rows = vq_mem_alloc(nskipped, sizeof *l.rows);
    VQ_REQUIRE(l.rows != NULL, VQ_ENOMEM, "build: %zu rows left out", nskipped);
    if (nskipped > 0) memcpy(l.rows, skipped, nskipped * sizeof *l.rows);
    qsort_r(l.rows, nskipped, sizeof *l.rows, by_id, &l);
    b->given = vq_mem_calloc(o->nattributes, sizeof *b->given);
    VQ_REQUIRE(b->given != NULL, VQ_ENOMEM, "build: %u attributes", o->nattributes);
    for (; b->ngiven < o->nattributes; b->ngiven++) {
        VQ_REQUIRE(o->attributes[b->ngiven] != NULL, VQ_EINVAL, "build: attributes are NULL");
        VQ_TRY(
            vq_opts_import(&b->given[b->ngiven], sizeof *b->given, o->attributes[b->ngiven], err));
        VQ_TRY(join(b, b->ngiven, im, &l, err));
    }
out:
    vq_mem_free(l.rows);
    return rc;
}

bool vq_doc_build_any(const vq_doc_build *b)
{
    return b->src != NULL || b->ngiven > 0;
}

/* ---- writing ---- */

/* The row of what is given for a kind of attribute of a rank; NULL: nothing is. */
static const vq_attributes *given(const vq_doc_build *b, int kind, size_t rank, uint64_t *row)
{
    uint64_t at = b->rows[kind] != NULL ? b->rows[kind][rank] : 0;
    *row = (at & ((UINT64_C(1) << ROW_BITS) - 1)) - 1;
    return at != 0 ? &b->given[at >> ROW_BITS] : NULL;
}

/* The numbers of a vector's tags into *list. */
static vq_status take_tags(vq_doc_build *b, size_t rank, const vq_doc *stored, uint32_t *list,
                           size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t row;
    const vq_attributes *a = given(b, TAGS, rank, &row);
    *n = 0;
    if (a != NULL) {
        for (uint64_t t = a->tag_begins[row]; t < a->tag_begins[row + 1]; t++, (*n)++)
            VQ_TRY(vq_docs_number(&b->docs, &b->table, a->tags[t], strlen(a->tags[t]), &list[*n],
                                  err));
        goto out;
    }
    for (uint32_t t = 0; t < stored->ntags; t++, (*n)++) {
        const char *text;
        size_t len;
        VQ_TRY(vq_tag_text(vq_stored_snapshot(b->src), vq_le32(stored->tags + 4 * (size_t)t), &text,
                           &len, err));
        VQ_TRY(vq_docs_number(&b->docs, &b->table, text, len, &list[*n], err));
    }
out:
    return rc;
}

/* Payloads that are packed by the dictionary of another index: those of all edits, unpacked, until
 * the new dictionary is made of some and all are written by it. */
typedef struct unpacked {
    vq_packer *packer;
    uint8_t *bytes;
    size_t n, room;
} unpacked;

static vq_status unpack(const vq_doc_build *b, unpacked *u, const vq_doc *d, vq_doc_edit *e,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    e->bytes = d->bytes;
    if (d->bytes == 0) goto out;
    if (u->packer == NULL)
        VQ_TRY(vq_docs_packer(vq_stored_snapshot(b->src), &u->packer, NULL, err));
    uint8_t *grown = vq_mem_reserve(u->bytes, u->n, u->n + d->bytes, &u->room, 1);
    VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "payloads: %zu bytes", u->n);
    u->bytes = grown;
    VQ_TRY(vq_doc_unpack(u->packer, d, u->bytes + u->n, err));
    e->packed = u->n; /* where it is, until it stays there */
    u->n += d->bytes;
out:
    return rc;
}

static vq_status take(vq_doc_build *b, const vq_idmap *im, size_t rank, uint32_t *list, unpacked *u,
                      bool *from_stored, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t i = vector_of(im, rank), n = 0;
    uint64_t row;
    const vq_attributes *a;
    vq_doc stored = VQ_DOC_NONE;
    vq_doc_edit e = {.label = im->names != NULL ? rank : vq_idmap_label(im, i)};
    *from_stored = false;
    uint64_t at = im->rows != NULL ? im->rows[i] : i; /* bad rows counted */
    if (b->src != NULL) VQ_TRY(vq_stored_document(b->src, at, &stored, err));
    b->found += !vq_doc_empty(&stored);
    VQ_TRY(take_tags(b, rank, &stored, list, &n, err));
    VQ_TRY(vq_docs_numbers(&b->docs, list, n, &e.tags, &e.ntags, err));
    a = given(b, TIME, rank, &row);
    e.time = a != NULL ? a->times[row] : stored.time;
    a = given(b, PAYLOAD, rank, &row);
    if (a != NULL) {
        e.payload = a->payloads[row], e.bytes = (size_t)a->payload_bytes[row];
    } else {
        VQ_TRY(unpack(b, u, &stored, &e, err));
        *from_stored = e.bytes > 0;
    }
    if (e.ntags == 0 && e.time == VQ_NO_TIME && e.bytes == 0) goto out;
    VQ_TRY(vq_docs_edit(&b->docs, &e, err));
    VQ_TRY(vq_docs_set(&b->docs, &e, im->places[rank], err));
out:
    return rc;
}

vq_status vq_doc_build_write(vq_doc_build *b, const vq_idmap *im, vq_store *st, uint32_t capacity,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_sink sink = {.store = st, .capacity = capacity};
    unpacked u = {0};
    uint32_t *list = vq_mem_alloc(VQ_TAGS_MAX, sizeof *list);
    uint8_t *stored = vq_mem_calloc(im->n, 1);
    VQ_REQUIRE(list != NULL && stored != NULL, VQ_ENOMEM, "attributes: of %zu vectors", im->n);
    for (size_t rank = 0; rank < im->n; rank++) {
        bool from_stored;
        size_t before = b->docs.nedits;
        VQ_TRY(take(b, im, rank, list, &u, &from_stored, err));
        if (b->docs.nedits > before) stored[before] = from_stored;
    }
    if (b->src != NULL) VQ_TRY(vq_stored_documents_found(b->src, b->found, err));
    for (size_t i = 0; i < b->docs.nedits; i++) { /* the bytes do not move any more */
        vq_doc_edit *e = &b->docs.edits[i];
        if (stored[i]) e->payload = u.bytes + e->packed, e->packed = 0;
    }
    VQ_TRY(vq_docs_write(&b->docs, &sink, err));
out:
    vq_packer_close(u.packer);
    vq_mem_free(u.bytes);
    vq_mem_free(list);
    vq_mem_free(stored);
    return rc;
}
