/* SPDX-License-Identifier: Apache-2.0 */
/* placed.c -- see placed.h. */
#include "index/placed.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/bytes.h"

typedef struct placed {
    vq_shard *shard;
    const vq_kernels *k;
    uint64_t *labels;    /* n */
    uint32_t list, slot; /* of the next row */
} placed;

/* Whole pages of a map that nobody is to write may go; who needs them again gets them from the
 * page cache or the file. */
static void give_back(const uint8_t *from, const uint8_t *to)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t a = ((uintptr_t)from + page - 1) / page * page, b = (uintptr_t)to / page * page;
    if (b > a) (void)madvise((void *)a, b - a, MADV_DONTNEED);
}

/* The row that is next, and how many follow it in its chunk, itself included. */
static vq_status next_rows(placed *p, const uint8_t **row, uint32_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = p->shard;
    while (p->list < s->model.nlist && p->slot >= s->lists[p->list].n) p->list++, p->slot = 0;
    *n = 0;
    if (p->list == s->model.nlist) goto out;
    uint64_t place = (uint64_t)p->list << 32 | p->slot;
    uint32_t in_chunk = p->slot % s->row_capacity;
    if (in_chunk == 0) VQ_TRY(vq_shard_row_verify(s, place, err));
    VQ_TRY(vq_shard_row(s, place, row, err));
    *n = VQ_MIN(s->lists[p->list].n - p->slot, s->row_capacity - in_chunk);
out:
    return rc;
}

static vq_status placed_read(vq_source *src, void *rows, size_t max, size_t *got, vq_error *err)
{
    vq_status rc = VQ_OK;
    placed *p = src->impl;
    const vq_model *m = &p->shard->model;
    size_t row_bytes = src->d * vq_elem_size(src->elem), stored = m->shape.row_bytes, done = 0;
    while (done < max) {
        const uint8_t *row;
        uint32_t n;
        uint8_t *to = (uint8_t *)rows + done * row_bytes;
        VQ_TRY(next_rows(p, &row, &n, err));
        if (n == 0) break;
        n = (uint32_t)VQ_MIN((size_t)n, max - done);
        if (m->store == src->elem) memcpy(to, row, n * stored);
        for (uint32_t i = 0; m->store != src->elem && i < n; i++)
            vq_model_widen(m, p->k, row + i * stored, (float *)(void *)(to + i * row_bytes));
        give_back(row, row + n * stored);
        p->slot += n;
        done += n;
    }
    *got = done;
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", src->name);
}

static vq_status placed_rewind(vq_source *src, vq_error *err)
{
    placed *p = src->impl;
    (void)err;
    p->list = p->slot = 0;
    return VQ_OK;
}

static void placed_close(vq_source *src)
{
    placed *p = src->impl;
    vq_mem_free(p->labels);
    vq_mem_free(p);
}

static const vq_source_ops placed_ops = {placed_read, placed_rewind, placed_close};

static vq_status take_labels(placed *p, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = p->shard;
    uint64_t n = 0;
    for (uint32_t list = 0; list < s->model.nlist; list++) {
        VQ_TRY(vq_shard_load(s, list, err));
        VQ_REQUIRE(n + s->lists[list].n <= s->model.n, VQ_ECORRUPT,
                   "%s: more vectors in the lists than %" PRIu64, vq_file_path(s->snapshot.file),
                   s->model.n);
        for (uint32_t i = 0; i < s->lists[list].n; i++) {
            uint32_t slot;
            const vq_chunk_view *v = vq_shard_at(s, (uint64_t)list << 32 | i, &slot);
            p->labels[n++] = vq_le64(v->labels + 8 * (size_t)slot);
        }
    }
out:
    return rc;
}

vq_status vq_placed_open(vq_source **out, vq_shard *s, const uint64_t **labels, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_source *src = NULL;
    const vq_model *m = &s->model;
    const char *path = vq_file_path(s->snapshot.file);
    VQ_REQUIRE(m->store != VQ_ELEM_NONE, VQ_EUNSUPPORTED, "%s: it was built without stored rows",
               path);
    VQ_TRY(vq_source_new(&src, path, "vq", m->d,
                         m->store_scale != 1.0f ? (uint32_t)VQ_F32 : m->store, err));
    src->n = m->n;
    placed *p = vq_mem_calloc(1, sizeof *p);
    VQ_REQUIRE(p != NULL, VQ_ENOMEM, "%s: out of memory", path);
    p->shard = s;
    p->k = vq_kernels_get();
    src->impl = p;
    src->ops = &placed_ops;
    p->labels = vq_mem_alloc((size_t)m->n, sizeof *p->labels);
    VQ_REQUIRE(p->labels != NULL || m->n == 0, VQ_ENOMEM, "%s: %" PRIu64 " labels", path, m->n);
    VQ_TRY(take_labels(p, err));
    *labels = p->labels;
    *out = src;
    src = NULL;
out:
    vq_source_close(src);
    return rc;
}
