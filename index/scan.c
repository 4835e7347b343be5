/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c -- the codes of the probed lists, block by block; whatever may be among the best goes to
 * the pool, whose threshold rises as it fills. */
#include <math.h>

#include "index/mask.h"

/* Keeps the best; of equal ones those that came first. */
static void shrink(vq_pool *p, const vq_kernels *k)
{
    if (p->n <= p->keep) return;
    float least = k->kth_f32(p->scores, p->n, p->keep);
    size_t above = 0, n = 0;
    for (size_t i = 0; i < p->n; i++) above += p->scores[i] > least;
    size_t equals = p->keep - above;
    for (size_t i = 0; i < p->n; i++) {
        float score = p->scores[i];
        size_t equal = score == least && equals > 0;
        p->scores[n] = score;
        p->places[n] = p->places[i];
        equals -= equal;
        n += equal | (score > least);
    }
    p->n = n;
    p->threshold = least;
}

enum { GROUP = 8, AHEAD = 8192, LINE = 64, PAGE = 4096 };

/* How many bytes the codes of a list begin with, where that has been looked up. */
static size_t begins(const vq_shard *s, uint32_t list, const uint8_t **codes)
{
    const vq_list_view *l = &s->lists[list];
    if (!VQ_ATOMIC_LOAD(&l->loaded) || l->nchunks == 0) return 0;
    *codes = l->chunks[0].codes;
    return VQ_MIN((size_t)l->chunks[0].n * s->model.code.code_bytes, (size_t)AHEAD);
}

/* One line of every page of the codes of lists that come later: walks of the page tables, which
 * overlap only when they stand together. */
static void touch_pages(const vq_shard *s, const vq_query *x, uint32_t first)
{
    for (uint32_t i = first; i < VQ_MIN(first + GROUP, x->sorted); i++) {
        const uint8_t *codes;
        size_t bytes = begins(s, (uint32_t)x->lists[i].id, &codes);
        for (size_t at = 0; at < bytes; at += PAGE) VQ_PREFETCH(codes + at);
    }
}

/* The codes of the list that is next: lists lie apart, and hardware starts anew with each. */
static void prefetch(const vq_shard *s, uint32_t list)
{
    const uint8_t *codes;
    size_t bytes = begins(s, list, &codes);
    for (size_t at = 0; at < bytes; at += LINE) VQ_PREFETCH(codes + at);
}

vq_status vq_query_scan(vq_shard *s, const vq_kernels *k, vq_query *x, const void *tables,
                        vq_arena *arena, vq_stop *stop, size_t keep, vq_pool *pool, uint32_t *lists,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    size_t room = vq_round_up(s->capacity, VQ_BLOCK), cap = 2 * keep + 64;
    vq_marks copies;
    void *scratch = vq_arena_take(arena, vq_scan_scratch(room), 1);
    uint32_t *idx = vq_arena_take(arena, room, sizeof *idx);
    *pool = (vq_pool){.keep = keep, .cap = cap, .threshold = -INFINITY};
    pool->scores = vq_arena_take(arena, cap + room, sizeof *pool->scores);
    pool->places = vq_arena_take(arena, cap + room, sizeof *pool->places);
    VQ_REQUIRE(scratch != NULL && idx != NULL && pool->scores != NULL && pool->places != NULL,
               VQ_ENOMEM, "scan: %zu vectors", room);
    VQ_TRY(vq_copies_begin(&copies, s, x, stop == NULL, arena, err));
    *lists = 0;
    for (uint32_t i = 0; stop != NULL || i < x->nlists; i++) {
        if (stop != NULL && !vq_stop_goes_on(stop, x, i)) break;
        ++*lists;
        uint32_t list = (uint32_t)x->lists[i].id;
        VQ_TRY(vq_shard_load(s, list, err));
        const vq_list_view *l = &s->lists[list];
        float base = x->lists[i].score + m->biases[list];
        if (i % GROUP == 0) touch_pages(s, x, i == 0 ? 0 : i + GROUP);
        if (i == 0) touch_pages(s, x, GROUP);
        if (i + 1 < x->sorted) prefetch(s, (uint32_t)x->lists[i + 1].id);
        uint32_t chunks = l->nchunks + (copies.done != NULL ? l->ncopied : 0);
        for (uint32_t c = 0, first = 0, n; c < chunks; c++, first = 0) {
            const vq_chunk_view *v = &l->chunks[c];
            for (; first < v->n && (n = vq_mask_part(s, list, c, &first)) > 0; first += n) {
                uint64_t place = (uint64_t)list << 32 | ((uint64_t)c * s->capacity + first);
                size_t kept = m->codec->scan(
                    &m->code, k, tables, v->codes + (size_t)first * m->code.code_bytes,
                    v->factors != NULL ? v->factors + first : NULL, n, base, pool->threshold,
                    scratch, idx, pool->scores + pool->n);
                if (c < l->nchunks) kept = vq_copies_skip(&copies, place, idx, kept, pool);
                if (c < l->nchunks)
                    for (size_t j = 0; j < kept; j++) pool->places[pool->n + j] = place + idx[j];
                else
                    kept = vq_copies_take(&copies, m->nlist, v, idx, kept, pool);
                if (s->mask != NULL) kept = vq_mask_keep(s->mask, pool, kept);
                for (size_t j = 0; stop != NULL && j < kept; j++)
                    vq_kth_push(&stop->kth, pool->scores[pool->n + j]);
                pool->n += kept;
                if (pool->n >= cap) shrink(pool, k);
            }
        }
        vq_copies_done(&copies, list);
        if (stop != NULL) pool->threshold = VQ_MAX(pool->threshold, vq_stop_floor(stop));
    }
    VQ_REQUIRE(stop == NULL || !stop->failed, VQ_ENOMEM, "scan: %u lists", m->nlist);
    shrink(pool, k);
    VQ_TRY(vq_copies_settle(&copies, s, pool, err));
out:
    return rc;
}
