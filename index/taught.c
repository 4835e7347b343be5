/* SPDX-License-Identifier: Apache-2.0 */
/* taught.c -- see taught.h. */
#include "index/taught.h"

#include <inttypes.h>
#include <string.h>

#include "index/candidates.h"
#include "index/recode.h"
#include "index/teacher.h"
#include "src/train/draw.h"

enum {
    LEAST = 4096, /* vectors: fewer teach nothing of use */
    STATES = 6    /* of what learns: now, best, a gradient, two moments, the start */
};

void vq_taught_fini(vq_taught *p)
{
    vq_source_close(p->src);
    vq_mem_free(p->rows);
    vq_mem_free(p->at);
    memset(p, 0, sizeof *p);
}

/* A vector: coordinates, its code in the corpus, as it was and in scan order, and a code a byte;
 * lists; the queries that feel it, with their scores; for l2 its factor in the corpus and in scan
 * order, and its place in a batch. */
static uint64_t row_bytes(const vq_model *m)
{
    uint64_t factors = m->metric == VQ_METRIC_L2 ? 12 : 0;
    return factors + 4 * (uint64_t)m->d_code + 3 * (uint64_t)m->code.code_bytes + m->m + 16 +
           8 * VQ_FELT;
}

/* A query: as given, in the coded space, and the row it lends; its teacher's answers, its
 * candidates, what the live codes answer; products with the codewords of one book, and as bytes. */
static uint64_t query_bytes(const vq_model *m)
{
    uint64_t candidates = 8 * (VQ_TEACHER_K + VQ_LIVE) + 4 * VQ_LIVE;
    return 4 * ((uint64_t)m->d + 3 * (uint64_t)m->d_code) + 8 * VQ_TEACHER_K + candidates +
           5 * (uint64_t)m->codec->codewords;
}

static uint64_t model_bytes(const vq_model *m)
{
    uint64_t floats =
        m->codec->nparams(m->d_code, m->m) + (uint64_t)m->d_code * (m->nlist + (uint64_t)m->d_code);
    uint64_t routes = 4 * (uint64_t)m->d_code * m->nlist, books = 0;
    if (m->codec->coder_size != NULL) {
        size_t size = m->codec->coder_size(vq_kernels_get(), m->d_code, m->m);
        books = size < SIZE_MAX ? size : 0;
    }
    return 4 * STATES * floats + routes + books;
}

uint64_t vq_taught_bytes(const vq_plan *p, uint64_t n, size_t nq)
{
    const vq_model *m = &p->model;
    return n * row_bytes(m) + nq * query_bytes(m) + model_bytes(m);
}

/* Where vectors stand among those that were kept. */
static void number_anew(const vq_taught *part, vq_queries *queries)
{
    for (size_t i = 0; queries->own != NULL && i < queries->n; i++) {
        size_t low = 0, high = part->n;
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            if (part->at[mid] < queries->own[i])
                low = mid + 1;
            else
                high = mid;
        }
        bool there = low < part->n && part->at[low] == queries->own[i];
        queries->own[i] = there ? (uint32_t)low : UINT32_MAX;
    }
}

vq_status vq_taught_take(vq_taught *part, vq_plan *p, uint8_t *rows, uint32_t *at, size_t n,
                         uint32_t elem, uint64_t most, vq_queries *queries, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &p->model;
    size_t size = m->d * vq_elem_size(elem);
    uint64_t all = vq_taught_bytes(p, m->n, queries->n), none = vq_taught_bytes(p, 0, queries->n);
    uint64_t room = most > none ? (most - none) / (row_bytes(m) + size) : 0;
    *part = (vq_taught){.rows = rows, .at = at};
    part->n = (size_t)VQ_MIN(VQ_MAX(room, (uint64_t)LEAST), (uint64_t)n);
    if (all <= most || part->n == m->n) {
        vq_taught_fini(part);
        goto out;
    }
    for (size_t i = 0; part->n < n && i < part->n; i++) { /* rises, so a row moves down only */
        size_t from = vq_spaced_row(n, part->n, i);
        memmove(rows + i * size, rows + from * size, size);
        at[i] = at[from];
    }
    number_anew(part, queries);
    VQ_TRY(vq_source_array(&part->src, rows, part->n, m->d, elem, err));
    vq_plan_note(p,
                 "taught by %zu of %" PRIu64 " vectors, the others coded by what these taught: all "
                 "would take some %" PRIu64 " MB of memory",
                 part->n, m->n, all >> 20);
out:
    return rc;
}
