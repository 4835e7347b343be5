/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c -- see writer.h.  Lists are written in parts of a fixed size, the codes of a part before
 * its rows: the bytes of the file do not depend on how much memory there was. */
#include "index/writer.h"

#include <string.h>

#include "src/base/bytes.h"

enum { PART_BYTES = 16 << 20, STREAM_ROWS = 1024 };

/* Bytes of a row in a record. */
static size_t row_bytes(const vq_list_writer *w)
{
    return w->copies ? 0 : w->model->shape.row_bytes;
}

vq_status vq_list_writer_init(vq_list_writer *w, const vq_model *model, bool copies,
                              const char *beside, size_t memory, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(w, 0, sizeof *w);
    w->model = model;
    w->copies = copies;
    w->memory = memory;
    w->record = VQ_REC_CODE + model->shape.code_bytes + row_bytes(w);
    size_t want = (size_t)(model->n * w->record / PART_BYTES) + 1;
    w->lists_per_part = (model->nlist + want - 1) / want;
    w->parts = (model->nlist + w->lists_per_part - 1) / w->lists_per_part;
    w->scratch = vq_mem_calloc(1, w->record);
    VQ_REQUIRE(w->scratch != NULL, VQ_ENOMEM, "writer: %zu bytes", w->record);
    VQ_TRY(vq_buckets_new(&w->buckets, beside, w->parts, w->record, memory / 2, err));
out:
    return rc;
}

void vq_list_writer_fini(vq_list_writer *w)
{
    vq_buckets_free(w->buckets);
    vq_mem_free(w->scratch);
    memset(w, 0, sizeof *w);
}

vq_status vq_list_writer_add(vq_list_writer *w, size_t first, size_t n, const uint32_t *lists,
                             const float *factors, const uint8_t *codes, const uint8_t *rows,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t code = w->model->shape.code_bytes, row = row_bytes(w);
    for (size_t i = 0; i < n; i++) {
        uint8_t *r = w->scratch;
        if (lists[i] == VQ_NO_LIST) continue;
        vq_put_le32(r + VQ_REC_VECTOR, (uint32_t)(first + i));
        vq_put_le32(r + VQ_REC_LIST, lists[i]);
        vq_put_lef32(r + VQ_REC_FACTOR, factors != NULL ? factors[i] : 0.0f);
        memcpy(r + VQ_REC_CODE, codes + i * code, code);
        if (row != 0) memcpy(r + VQ_REC_CODE + code, rows + i * row, row);
        VQ_TRY(vq_buckets_add(w->buckets, lists[i] / w->lists_per_part, r, err));
    }
out:
    return rc;
}

uint64_t vq_list_writer_count(const vq_list_writer *w)
{
    uint64_t n = 0;
    for (size_t part = 0; part < w->parts; part++) n += vq_buckets_count(w->buckets, part);
    return n;
}

/* One chunk being gathered: n records of one list. */
typedef struct chunk_task {
    vq_list_writer *w;
    vq_store *st;
    vq_idmap *im;
    const uint8_t **records; /* of the chunk; capacity of them */
    uint64_t *labels;        /* capacity */
    float *factors;
    uint8_t *codes; /* capacity x code_bytes */
    uint32_t capacity, n, list, chunk;
    bool rows; /* write rows; else codes */
} chunk_task;

static vq_status write_codes(chunk_task *t, const uint8_t key[8], vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = t->w->model;
    const vq_shape *s = &m->shape;
    uint8_t *room;
    for (uint32_t i = 0; i < t->n; i++) {
        const uint8_t *r = t->records[i];
        uint32_t vector = vq_le32(r + VQ_REC_VECTOR), slot = t->chunk * t->capacity + i;
        if (t->w->copies) {
            size_t rank = vq_idmap_rank(t->im, vector);
            t->labels[i] = t->im->places[rank];
            t->im->copies[rank] = (uint64_t)t->list << 32 | slot;
        } else {
            t->labels[i] = vq_idmap_label(t->im, vector);
            vq_idmap_place(t->im, vector, t->list, slot);
        }
        t->factors[i] = vq_lef32(r + VQ_REC_FACTOR);
        memcpy(t->codes + (size_t)i * s->code_bytes, r + VQ_REC_CODE, s->code_bytes);
    }
    size_t size = vq_list_chunk_size(s, t->n);
    vq_db db = t->w->copies ? VQ_DB_COPIES : VQ_DB_LISTS;
    VQ_TRY(vq_store_put(t->st, db, key, 8, size, &room, err));
    uint8_t *codes = vq_list_chunk_write(s, room, t->list, t->chunk, t->n, t->labels, t->factors);
    m->codec->pack(&m->code, t->codes, t->n, codes);
    vq_record_seal(room, size);
out:
    return rc;
}

static vq_status write_rows(chunk_task *t, const uint8_t key[8], vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_shape *s = &t->w->model->shape;
    uint8_t *room;
    size_t size = vq_row_chunk_size(s, t->n);
    VQ_TRY(vq_store_put(t->st, VQ_DB_VECTORS, key, 8, size, &room, err));
    uint8_t *rows = vq_row_chunk_write(s, room, t->list, t->chunk, t->n);
    for (uint32_t i = 0; i < t->n; i++)
        memcpy(rows + (size_t)i * s->row_bytes, t->records[i] + VQ_REC_CODE + s->code_bytes,
               s->row_bytes);
    vq_record_seal(room, size);
out:
    return rc;
}

static vq_status write_chunk(chunk_task *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (t->n == 0) return VQ_OK;
    uint8_t key[8];
    vq_chunk_key(key, t->list, t->chunk);
    VQ_TRY(t->rows ? write_rows(t, key, err) : write_codes(t, key, err));
    t->chunk++;
    t->n = 0;
out:
    return rc;
}

static vq_status push(chunk_task *t, const uint8_t *record, vq_error *err)
{
    vq_status rc = VQ_OK;
    t->records[t->n++] = record;
    uint32_t most = t->rows ? vq_row_capacity(&t->w->model->shape) : t->capacity;
    if (t->n == most) VQ_TRY(write_chunk(t, err));
out:
    return rc;
}

static vq_status start_list(chunk_task *t, uint32_t list, vq_error *err)
{
    vq_status rc = write_chunk(t, err); /* the rest of the list before */
    t->list = list;
    t->chunk = 0;
    return rc;
}

/* Codes of a part, then rows, if any are kept: what a scan reads lies together. */
static int passes(const vq_list_writer *w)
{
    return row_bytes(w) != 0 ? 2 : 1;
}

/* A part that fits: read it whole, then take its lists in order. */
static vq_status flush_whole(chunk_task *t, size_t part, size_t count, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_list_writer *w = t->w;
    size_t lists = w->lists_per_part, first = part * lists, got;
    uint8_t *bytes = vq_mem_alloc(count, w->record);
    uint32_t *order = vq_mem_alloc(count, sizeof *order);
    size_t *start =
        vq_mem_calloc(lists + 2, sizeof *start); /* start[l + 1]: of list l, as filled */
    VQ_REQUIRE(bytes != NULL && order != NULL && start != NULL, VQ_ENOMEM,
               "writer: %zu records of %zu bytes", count, w->record);
    VQ_TRY(vq_buckets_read(w->buckets, part, 0, count, bytes, &got, err));
    for (size_t i = 0; i < count; i++)
        start[vq_le32(bytes + i * w->record + VQ_REC_LIST) - first + 2]++;
    for (size_t l = 0; l < lists; l++) start[l + 2] += start[l + 1];
    for (size_t i = 0; i < count; i++)
        order[start[vq_le32(bytes + i * w->record + VQ_REC_LIST) - first + 1]++] = (uint32_t)i;
    for (int pass = 0; pass < passes(w); pass++) {
        t->rows = pass == 1;
        for (size_t l = 0; l < lists; l++) { /* start[l] is where list l begins now */
            VQ_TRY(start_list(t, (uint32_t)(first + l), err));
            for (size_t i = start[l]; i < start[l + 1]; i++)
                VQ_TRY(push(t, bytes + order[i] * w->record, err));
        }
        VQ_TRY(write_chunk(t, err)); /* its records end with this part */
    }
out:
    vq_mem_free(bytes);
    vq_mem_free(order);
    vq_mem_free(start);
    return rc;
}

/* The records of one list, a chunk of them copied at a time. */
static vq_status stream_list(chunk_task *t, size_t part, uint32_t list, size_t count,
                             uint8_t *bytes, uint8_t *kept, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_list_writer *w = t->w;
    size_t got;
    VQ_TRY(start_list(t, list, err));
    for (size_t first = 0; first < count; first += got) {
        VQ_TRY(vq_buckets_read(w->buckets, part, first, STREAM_ROWS, bytes, &got, err));
        for (size_t i = 0; i < got; i++) {
            const uint8_t *r = bytes + i * w->record;
            if (vq_le32(r + VQ_REC_LIST) != list) continue;
            uint8_t *copy = kept + t->n * w->record;
            memcpy(copy, r, w->record);
            VQ_TRY(push(t, copy, err));
        }
    }
out:
    return rc;
}

/* A part that does not fit (a few lists hold most vectors): once over it for each list, a chunk's
 * records copied at a time. */
static vq_status flush_streamed(chunk_task *t, size_t part, size_t count, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_list_writer *w = t->w;
    size_t lists = w->lists_per_part;
    uint8_t *bytes = vq_mem_alloc(STREAM_ROWS, w->record),
            *kept = vq_mem_alloc(t->capacity, w->record);
    VQ_REQUIRE(bytes != NULL && kept != NULL, VQ_ENOMEM, "writer: %u records of %zu bytes",
               t->capacity, w->record);
    for (int pass = 0; pass < passes(w); pass++) {
        t->rows = pass == 1;
        for (size_t l = part * lists; l < (part + 1) * lists; l++)
            VQ_TRY(stream_list(t, part, (uint32_t)l, count, bytes, kept, err));
        VQ_TRY(write_chunk(t, err));
    }
out:
    vq_mem_free(bytes);
    vq_mem_free(kept);
    return rc;
}

vq_status vq_list_writer_flush(vq_list_writer *w, vq_store *st, vq_idmap *im, vq_ticker *ticker,
                               vq_error *err)
{
    vq_status rc = VQ_OK;
    chunk_task t = {.w = w, .st = st, .im = im, .capacity = vq_chunk_capacity(&w->model->shape)};
    size_t fits = VQ_MAX(w->memory / 4, (size_t)(2 * PART_BYTES)) / w->record;
    t.records = vq_mem_alloc(t.capacity, sizeof *t.records);
    t.labels = vq_mem_alloc(t.capacity, sizeof *t.labels);
    t.factors = vq_mem_alloc(t.capacity, sizeof *t.factors);
    t.codes = vq_mem_alloc(t.capacity, w->model->shape.code_bytes);
    VQ_REQUIRE(t.records != NULL && t.labels != NULL && t.factors != NULL && t.codes != NULL,
               VQ_ENOMEM, "writer: a chunk of %u vectors", t.capacity);
    for (size_t part = 0; part < w->parts; part++) {
        size_t count = vq_buckets_count(w->buckets, part);
        VQ_TRY(count <= fits ? flush_whole(&t, part, count, err)
                             : flush_streamed(&t, part, count, err));
        vq_buckets_drop(w->buckets, part);
        VQ_TRY(vq_tick(ticker, "write", part + 1, w->parts, err));
    }
out:
    vq_mem_free(t.records);
    vq_mem_free(t.labels);
    vq_mem_free(t.factors);
    vq_mem_free(t.codes);
    return rc;
}
