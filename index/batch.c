/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c -- many queries at once, where most of them want most lists.  A list is scanned for all
 * that want it, part by part: while a part's codes lie in the first-level cache, each query's table
 * passes by.  Codes come from memory once a batch, pages are looked up once, and there is nothing
 * to share or to lock: a batch belongs to one worker.  A query's candidates are those that it would
 * have found alone, since the best of a pool do not depend on the order of the scan. */
#include <string.h>

#include "index/searcher.h"

/* A part should fit beside a table into the first-level cache.  Fewer than 256 vectors would read
 * as many bytes of tables as of codes. */
enum { PART_BYTES = 16384, LEAST_PART = 256 };

typedef struct wish {
    uint32_t seat;
    float base;
} wish;

typedef struct wishes {
    uint32_t *first; /* nlist + 1: those of list l are of[first[l]] .. of[first[l + 1] - 1] */
    wish *of;
} wishes;

/* Who wants which list: from lists by query to queries by list. */
static vq_status turn_round(wishes *w, const vq_model *m, const vq_seat *seats, size_t n,
                            vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t all = 0;
    for (size_t i = 0; i < n; i++) all += seats[i].x->nlists;
    w->first = vq_arena_take(arena, (size_t)m->nlist + 2, sizeof *w->first);
    w->of = vq_arena_take(arena, all, sizeof *w->of);
    VQ_REQUIRE(w->first != NULL && w->of != NULL, VQ_ENOMEM, "batch: %zu lists of %zu queries", all,
               n);
    uint32_t *next = w->first + 1; /* becomes the end of what is filled in: first[l + 1] */
    memset(w->first, 0, ((size_t)m->nlist + 2) * sizeof *w->first);
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < seats[i].x->nlists; j++) next[seats[i].x->lists[j].id + 1]++;
    for (uint32_t l = 0; l < m->nlist; l++) next[l + 1] += next[l];
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < seats[i].x->nlists; j++) {
            const vq_hit *list = &seats[i].x->lists[j];
            w->of[next[list->id]++] =
                (wish){.seat = (uint32_t)i, .base = list->score + m->biases[list->id]};
        }
out:
    return rc;
}

static uint32_t part_of(const vq_model *m, uint32_t capacity)
{
    size_t n = VQ_MAX((size_t)PART_BYTES / m->code.code_bytes, (size_t)LEAST_PART);
    return (uint32_t)VQ_MIN(n / VQ_BLOCK * VQ_BLOCK, (size_t)capacity);
}

/* One chunk, for all that want its list. */
static void scan_chunk(const vq_scan *w, vq_seat *seats, const wish *of, size_t n, uint32_t list,
                       uint32_t chunk)
{
    uint32_t all = w->s->lists[list].chunks[chunk].n;
    for (uint32_t at = 0; at < all; at += (uint32_t)w->room) {
        vq_span span = {at, VQ_MIN(all - at, (uint32_t)w->room)};
        for (size_t i = 0; i < n; i++) {
            vq_seat *t = &seats[of[i].seat];
            (void)vq_scan_part(w, t->tables, &t->copies, list, chunk, span, of[i].base, &t->pool);
            if (t->pool.n >= t->pool.cap) vq_pool_shrink(&t->pool, w->k);
        }
    }
}

vq_status vq_batch_scan(vq_shard *s, const vq_kernels *k, vq_seat *seats, size_t n, size_t keep,
                        vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    bool copies = false;
    wishes wanted;
    vq_scan w;
    VQ_TRY(turn_round(&wanted, m, seats, n, arena, err));
    VQ_TRY(vq_scan_begin(&w, s, k, part_of(m, s->capacity), arena, err));
    for (size_t i = 0; i < n; i++) {
        VQ_TRY(vq_pool_begin(&seats[i].pool, keep, &w, arena, err));
        VQ_TRY(vq_copies_begin(&seats[i].copies, s, seats[i].x, true, arena, err));
        copies |= seats[i].copies.done != NULL;
    }
    for (uint32_t l = 0; l < m->nlist; l++) {
        const wish *of = wanted.of + wanted.first[l];
        size_t many = wanted.first[l + 1] - wanted.first[l];
        if (many == 0) continue;
        VQ_TRY(vq_shard_load(s, l, err));
        const vq_list_view *list = &s->lists[l];
        uint32_t chunks = list->nchunks + (copies ? list->ncopied : 0);
        for (uint32_t c = 0; c < chunks; c++) scan_chunk(&w, seats, of, many, l, c);
    }
    for (size_t i = 0; i < n; i++) {
        vq_pool_shrink(&seats[i].pool, k);
        VQ_TRY(vq_copies_settle(&seats[i].copies, s, &seats[i].pool, err));
    }
out:
    return rc;
}
