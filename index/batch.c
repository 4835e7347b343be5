/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c -- many queries at once, where most of them want most lists.  A list is scanned for all
 * that want it, part by part: while a part's codes lie in the first-level cache, each query's table
 * passes by.  Codes come from memory once a batch, pages are looked up once, and there is nothing
 * to share or to lock: a batch belongs to one worker.  A query's candidates are those that it would
 * have found alone, since the best of a pool do not depend on the order of the scan. */
#include <math.h>
#include <string.h>

#include "index/searcher.h"

/* A piece of work: parts whose codes fit beside a table into the first-level cache.  Fewer than 384
 * vectors would read more bytes of tables than of codes. */
enum { PIECE_BYTES = 24576, LEAST_PIECE = 384 };
enum { BEST_LISTS = 16, SEEN = 4 }; /* before all others: times as many vectors as are kept */

typedef struct wish {
    uint32_t seat;
    float base;
} wish;

typedef struct wishes {
    uint32_t *first; /* nlist + 1: those of list l are of[first[l]] .. of[first[l + 1] - 1] */
    wish *of;
} wishes;

/* Who wants which list: from lists by query to queries by list. */
static vq_status turn_round(wishes *w, const vq_model *m, const vq_kernels *k, const vq_seat *seats,
                            size_t n, vq_arena *arena, vq_error *err)
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
    for (uint32_t l = 0; m->routes != NULL && l < m->nlist; l++) /* a centroid is read once */
        for (uint32_t i = w->first[l]; i < w->first[l + 1]; i++)
            w->of[i].base = vq_list_base(m, k, seats[w->of[i].seat].x, &(vq_hit){.id = l});
out:
    return rc;
}

typedef struct member { /* of a piece */
    vq_part part;
    bool copies;
    size_t block; /* its first */
    const wish *wishes;
    const float *factors; /* or NULL */
} member;

/* Parts of one or more lists, all of them wanted by the same queries. */
typedef struct piece {
    vq_scan w; /* its room is that of the piece */
    vq_seat *seats;
    const wishes *wanted;
    size_t n;      /* queries that want it */
    bool copies;   /* are wanted by any */
    size_t nparts; /* never more than blocks */
    member *parts;
    float *least_factors, *bases; /* of each part; bases: the share of its list */
    uint16_t *needed;             /* of each part: the least sum that counts */
    size_t nblocks;
    const uint8_t **blocks;
    uint32_t *part_of, *reached; /* of each block; blocks that hold a sum which counts */
    uint8_t *gathered;
    uint16_t *sums, *least; /* of each vector; needed, of each block */
} piece;

/* What only codecs that gather need. */
static vq_status gather_begin(piece *p, size_t room, size_t code_bytes, vq_arena *arena,
                              vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t blocks = room / VQ_BLOCK;
    p->blocks = vq_arena_take(arena, blocks, sizeof *p->blocks);
    p->least_factors = vq_arena_take(arena, blocks, sizeof *p->least_factors);
    p->bases = vq_arena_take(arena, blocks, sizeof *p->bases);
    p->needed = vq_arena_take(arena, blocks, sizeof *p->needed);
    p->part_of = vq_arena_take(arena, blocks, sizeof *p->part_of);
    p->reached = vq_arena_take(arena, blocks, sizeof *p->reached);
    p->sums = vq_arena_take(arena, room, sizeof *p->sums);
    p->least = vq_arena_take(arena, blocks, sizeof *p->least);
    p->gathered = vq_arena_take(arena, room, code_bytes);
    VQ_REQUIRE(p->blocks != NULL && p->least_factors != NULL && p->bases != NULL &&
                   p->needed != NULL && p->part_of != NULL && p->reached != NULL &&
                   p->sums != NULL && p->least != NULL && p->gathered != NULL,
               VQ_ENOMEM, "batch: %zu vectors", room);
out:
    return rc;
}

static vq_status piece_begin(piece *p, const vq_shard *s, const vq_kernels *k, vq_arena *arena,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_codec *codec = s->model.codec;
    size_t code = s->model.code.code_bytes;
    size_t room = VQ_MAX(PIECE_BYTES / code, (size_t)LEAST_PIECE) / LEAST_PIECE * LEAST_PIECE;
    VQ_TRY(vq_scan_begin(&p->w, s, k, room, arena, err));
    p->parts = vq_arena_take(arena, room / VQ_BLOCK, sizeof *p->parts);
    VQ_REQUIRE(p->parts != NULL, VQ_ENOMEM, "batch: %zu vectors", room);
    if (codec->gather != NULL && codec->pays(k)) VQ_TRY(gather_begin(p, room, code, arena, err));
out:
    return rc;
}

/* Which sums may bring a vector of each block to the query's threshold. */
static void set_least(const piece *p, const vq_seat *t, size_t who)
{
    size_t block = 0;
    for (size_t i = 0; i < p->nparts; i++) p->bases[i] = p->parts[i].wishes[who].base;
    p->w.s->model.codec->least(t->tables, t->pool.threshold, p->bases, p->least_factors, p->nparts,
                               p->needed);
    for (size_t i = 0; i < p->nparts; i++) {
        const member *m = &p->parts[i];
        /* no sum is so large: a code has no more than 256 bytes */
        uint16_t needed = m->copies && t->copies.done == NULL ? UINT16_MAX : p->needed[i];
        for (uint32_t at = 0; at < m->part.n; at += VQ_BLOCK) p->least[block++] = needed;
    }
}

/* One query over a block whose sums are there. */
static void select_block(const piece *p, vq_seat *t, size_t block)
{
    const member *m = &p->parts[p->part_of[block]];
    uint32_t at = (uint32_t)(block - m->block) * VQ_BLOCK;
    vq_part part = {.list = m->part.list, .chunk = m->part.chunk, .first = m->part.first + at};
    part.n = VQ_MIN(m->part.n - at, VQ_BLOCK);
    size_t kept = p->w.s->model.codec->select(t->tables, p->w.k, p->sums + block * VQ_BLOCK,
                                              m->factors != NULL ? m->factors + at : NULL, part.n,
                                              p->bases[p->part_of[block]], t->pool.threshold,
                                              p->w.idx, t->pool.scores + t->pool.n);
    (void)vq_scan_keep(&p->w, &t->copies, part, kept, &t->pool);
    if (t->pool.n >= t->pool.cap) vq_pool_shrink(&t->pool, p->w.k);
}

/* One query over the piece, whose codes are gathered. */
static void scan_gathered(const piece *p, size_t who)
{
    const vq_code_model *code = &p->w.s->model.code;
    vq_seat *t = &p->seats[p->parts[0].wishes[who].seat];
    set_least(p, t, who);
    size_t n = code->codec->sums(code, p->w.k, t->tables, p->gathered, p->nblocks, p->least,
                                 p->sums, p->reached);
    for (size_t i = 0; i < n; i++) select_block(p, t, p->reached[i]);
}

/* The same part by part. */
static void scan_parts(const piece *p, size_t who)
{
    vq_seat *t = &p->seats[p->parts[0].wishes[who].seat];
    for (const member *m = p->parts; m < p->parts + p->nparts; m++) {
        if (m->copies && t->copies.done == NULL) continue;
        (void)vq_scan_part(&p->w, t->tables, &t->copies, m->part, m->wishes[who].base, &t->pool);
        if (t->pool.n >= t->pool.cap) vq_pool_shrink(&t->pool, p->w.k);
    }
}

/* All that want it, and it is empty. */
static void piece_scan(piece *p)
{
    const vq_model *m = &p->w.s->model;
    if (p->nparts == 0) return;
    if (p->gathered != NULL) m->codec->gather(&m->code, p->w.k, p->blocks, p->nblocks, p->gathered);
    for (size_t i = 0; i < p->n; i++)
        if (p->gathered != NULL)
            scan_gathered(p, i);
        else
            scan_parts(p, i);
    p->nparts = p->nblocks = 0;
}

/* Codes that will be gathered when the piece is full. */
static void gather_later(piece *p, const member *m)
{
    float least = 0.0f, largest;
    if (m->factors != NULL) p->w.k->minmax_f32(m->factors, m->part.n, &least, &largest);
    p->least_factors[p->nparts] = least;
    size_t bytes = VQ_BLOCK * (size_t)p->w.s->model.code.code_bytes;
    const uint8_t *codes = vq_part_codes(p->w.s, m->part);
    for (size_t i = 0; i < m->part.n; i += VQ_BLOCK, codes += bytes) {
        for (size_t at = 0; at < bytes; at += VQ_CACHELINE) VQ_PREFETCH(codes + at);
        p->part_of[m->block + i / VQ_BLOCK] = (uint32_t)p->nparts;
        p->blocks[m->block + i / VQ_BLOCK] = codes;
    }
}

/* A chunk joins the piece, which is scanned whenever it is full. */
static void piece_add(piece *p, uint32_t list, uint32_t chunk)
{
    const vq_chunk_view *v = &p->w.s->lists[list].chunks[chunk];
    size_t most = p->w.room / VQ_BLOCK;
    member m = {.part = {.list = list, .chunk = chunk}};
    m.copies = chunk >= p->w.s->lists[list].nchunks;
    m.wishes = p->wanted->of + p->wanted->first[list];
    for (; m.part.first < v->n; m.part.first += m.part.n) {
        size_t room = (most - p->nblocks) * VQ_BLOCK;
        m.part.n = (uint32_t)VQ_MIN((size_t)(v->n - m.part.first), room);
        m.block = p->nblocks;
        m.factors = v->factors != NULL ? v->factors + m.part.first : NULL;
        if (p->gathered != NULL) gather_later(p, &m);
        p->nblocks += (m.part.n + VQ_BLOCK - 1) / VQ_BLOCK;
        p->parts[p->nparts++] = m;
        if (p->nblocks == most) piece_scan(p);
    }
}

/* Seats whose queries all want all lists share pieces of several lists. */
static void add_list(piece *p, size_t n, uint32_t list)
{
    const vq_list_view *l = &p->w.s->lists[list];
    size_t many = p->wanted->first[list + 1] - p->wanted->first[list];
    if (many < n || p->n < n) piece_scan(p);
    p->n = many;
    for (uint32_t c = 0; c < l->nchunks; c++) piece_add(p, list, c);
    for (uint32_t c = 0; c < l->ncopied && p->copies; c++) piece_add(p, list, l->nchunks + c);
}

/* A query's best lists alone show what a candidate must reach: some of the threshold that it would
 * have if lists came best first.  The candidates themselves come again.  scores: room for nlist. */
static vq_status raise_threshold(const piece *p, vq_shard *s, vq_seat *t, float *scores,
                                 vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_query *x = t->x;
    size_t seen = 0;
    for (uint32_t i = 0; i < x->nlists; i++) scores[i] = x->lists[i].score;
    for (int i = 0; i < BEST_LISTS && seen < SEEN * t->pool.keep; i++) {
        size_t best = p->w.k->argmax_f32(scores, NULL, x->nlists);
        vq_part part = {.list = (uint32_t)x->lists[best].id};
        if (!(scores[best] > -INFINITY)) break; /* that was all: none may come twice */
        scores[best] = -INFINITY;
        VQ_TRY(vq_shard_load(s, part.list, err));
        if (s->lists[part.list].nchunks == 0) continue;
        part.n = VQ_MIN(s->lists[part.list].chunks[0].n, (uint32_t)p->w.room);
        (void)vq_scan_part(&p->w, t->tables, &t->copies, part,
                           vq_list_base(&s->model, p->w.k, x, &x->lists[best]), &t->pool);
        if (t->pool.n >= t->pool.cap) vq_pool_shrink(&t->pool, p->w.k);
        seen += part.n;
    }
    vq_pool_shrink(&t->pool, p->w.k);
    t->pool.n = 0;
out:
    return rc;
}

vq_status vq_batch_scan(vq_shard *s, const vq_kernels *k, vq_seat *seats, size_t n,
                        const vq_effort *e, vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    float *scores = vq_arena_take(arena, m->nlist, sizeof *scores);
    wishes wanted;
    piece p = {.seats = seats, .wanted = &wanted};
    VQ_REQUIRE(scores != NULL, VQ_ENOMEM, "batch: %u lists", m->nlist);
    VQ_TRY(turn_round(&wanted, m, k, seats, n, arena, err));
    VQ_TRY(piece_begin(&p, s, k, arena, err));
    for (size_t i = 0; i < n; i++) {
        VQ_TRY(vq_pool_begin(&seats[i].pool, e->candidates, &p.w, arena, err));
        seats[i].pool.cap = e->candidates + e->candidates / 4 + 32; /* thresholds rise sooner */
        VQ_TRY(vq_copies_begin(&seats[i].copies, s, seats[i].x, true, arena, err));
        p.copies |= seats[i].copies.done != NULL;
        if (seats[i].copies.done == NULL)
            vq_pool_trust(&seats[i].pool, s, seats[i].x, seats[i].tables, e);
        VQ_TRY(raise_threshold(&p, s, &seats[i], scores, err));
    }
    for (uint32_t l = 0; l < m->nlist; l++) {
        if (wanted.first[l] == wanted.first[l + 1]) continue;
        VQ_TRY(vq_shard_load(s, l, err));
        add_list(&p, n, l);
    }
    piece_scan(&p);
    for (size_t i = 0; i < n; i++) {
        vq_pool_shrink(&seats[i].pool, k);
        VQ_TRY(vq_copies_settle(&seats[i].copies, s, &seats[i].pool, err));
    }
out:
    return rc;
}
