/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c -- the codes of the probed lists, block by block; whatever may be among the best goes to
 * the pool, whose threshold rises as it fills. */
#include <math.h>

#include "index/mask.h"

enum { FEW = 64 };

/* The number-th place, from 1, of the candidates with this score, who are too many to sort. */
static uint64_t place_by_halving(const vq_pool *p, float score, size_t number)
{
    uint64_t lo = 0, hi = UINT64_MAX;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        size_t n = 0;
        for (size_t i = 0; i < p->n; i++) n += p->scores[i] == score && p->places[i] <= mid;
        if (n >= number)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* More than keep have this score or a higher one: of those that have it the last by place go. */
static void drop_equals(vq_pool *p, float score)
{
    uint64_t places[FEW], last;
    size_t above = 0, equal = 0, left = 0;
    for (size_t i = 0; i < p->n; i++) {
        above += p->scores[i] > score;
        if (p->scores[i] != score) continue;
        size_t at = equal++;
        if (at >= FEW) continue;
        for (; at > 0 && places[at - 1] > p->places[i]; at--) places[at] = places[at - 1];
        places[at] = p->places[i];
    }
    last = equal <= FEW ? places[p->keep - above - 1] : place_by_halving(p, score, p->keep - above);
    for (size_t i = 0; i < p->n; i++) {
        if (p->scores[i] == score && p->places[i] > last) continue;
        p->most[left] = p->most[i];
        p->scores[left] = p->scores[i];
        p->places[left++] = p->places[i];
    }
    p->n = left;
}

static size_t count_from(const vq_pool *p, float least)
{
    uint32_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += p->scores[i] >= least;
    return n;
}

/* What scores less than this is behind the best in the end, too. */
static float least_of(const vq_pool *p, const vq_kernels *k)
{
    if (!(p->slack < INFINITY) || p->n <= p->best) return -INFINITY;
    float worst = k->kth_f32(p->scores, p->n, p->best);
    /* and what sums of these round; of an infinite one nothing is known */
    return fmaxf(worst - 2.0f * p->slack - fabsf(worst) * 0x1p-18f, -INFINITY);
}

void vq_pool_shrink(vq_pool *p, const vq_kernels *k)
{
    float least = least_of(p, k);
    if (p->n <= p->keep && !(least > -INFINITY)) return;
    if (count_from(p, least) > p->keep) {
        least = k->kth_f32(p->scores, p->n, p->keep);
        if (count_from(p, least) > p->keep) drop_equals(p, least);
    }
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) { /* no branch */
        float score = p->scores[i];
        p->most[n] = p->most[i];
        p->scores[n] = score;
        p->places[n] = p->places[i];
        n += score >= least;
    }
    p->n = n;
    p->threshold = VQ_MAX(p->threshold, least);
}

enum { GROUP = 8, FEW_LISTS = 2, AHEAD = 8192, LINE = 64, PAGE = 4096 };
/* Vectors at a time: sums stay in the first-level cache.  The first few tell those after them what
 * a candidate must reach. */
enum { PART = 1024, FIRST_PART = 64 };

/* Asks for one address of every `step` bytes of what a scan reads of codes at the front of a chunk.
 */
static void ask_chunk(const vq_code_model *code, const vq_chunk_view *v, size_t step)
{
    size_t bytes = (size_t)v->n * code->code_bytes;
    size_t block = code->codec->front != NULL ? (size_t)VQ_BLOCK * code->code_bytes : bytes;
    size_t front = code->codec->front != NULL ? code->codec->front(code) : bytes;
    for (size_t at = 0, left = front < block / 2 ? 2 * AHEAD : AHEAD; at < bytes && left > 0;
         at += block) {
        size_t some = VQ_MIN(front, left);
        for (size_t b = 0; b < some; b += step) VQ_PREFETCH(v->codes + at + b);
        left -= some;
    }
}

/* The same of the first vectors of a list, and the first copies, where that has been looked up. */
static void ask(const vq_shard *s, uint32_t list, bool copies, size_t step)
{
    const vq_list_view *l = &s->lists[list];
    if (!VQ_ATOMIC_LOAD(&l->loaded)) return;
    if (l->nchunks > 0) ask_chunk(&s->model.code, &l->chunks[0], step);
    if (copies && l->ncopied > 0) ask_chunk(&s->model.code, &l->chunks[l->nchunks], step);
}

/* One line of every page of the codes of lists that come later, from rank `from` on: walks of the
 * page tables, which overlap only when they stand together.  Returns where it has ended. */
static uint32_t touch_pages(const vq_shard *s, const vq_query *x, uint32_t from, uint32_t end,
                            bool copies)
{
    for (; from < VQ_MIN(end, x->sorted); from++) ask(s, (uint32_t)x->lists[from].id, copies, PAGE);
    return from;
}

/* What is asked for of the list that is next. */
typedef struct wants {
    bool copies, codes, centroid;
} wants;

/* Lists lie apart, and hardware starts anew with each.  Scans that ask for codes on their way know
 * by vq_part.ahead where they are. */
static wants wants_of(const vq_shard *s, const vq_kernels *k, bool copies)
{
    const vq_codec *codec = s->model.codec;
    bool bars = codec->two != NULL && codec->two(&s->model.code);
    return (wants){.copies = copies,
                   .codes = codec->asks == NULL || !codec->asks(k),
                   .centroid = bars || s->model.routes != NULL};
}

static void prefetch(const vq_shard *s, wants w, uint32_t list)
{
    if (w.codes) ask(s, list, w.copies, LINE);
    const float *centroid = s->model.centroids + (size_t)list * s->model.d_code;
    for (size_t j = 0; w.centroid && j < s->model.d_code; j += LINE / sizeof *centroid)
        VQ_PREFETCH(centroid + j);
}

vq_status vq_scan_begin(vq_scan *w, const vq_shard *s, const vq_kernels *k, size_t room,
                        vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    *w = (vq_scan){.s = s, .k = k, .room = vq_round_up(room, VQ_BLOCK)};
    w->scratch = vq_arena_take(arena, vq_scan_scratch(w->room), 1);
    w->idx = vq_arena_take(arena, w->room, sizeof *w->idx);
    VQ_REQUIRE(w->scratch != NULL && w->idx != NULL, VQ_ENOMEM, "scan: %zu vectors", w->room);
out:
    return rc;
}

vq_status vq_pool_begin(vq_pool *p, size_t keep, const vq_scan *w, vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t cap = vq_pool_cap(keep);
    *p = (vq_pool){.keep = keep, .cap = cap, .slack = INFINITY, .threshold = -INFINITY};
    p->scores = vq_arena_take(arena, cap + w->room, sizeof *p->scores);
    p->places = vq_arena_take(arena, cap + w->room, sizeof *p->places);
    p->most = w->look != NULL ? vq_arena_take(arena, cap + w->room, sizeof *p->most) : p->scores;
    VQ_REQUIRE(p->scores != NULL && p->places != NULL && p->most != NULL, VQ_ENOMEM,
               "scan: %zu candidates", keep);
out:
    return rc;
}

/* For products a list's share is the very number that the final score adds (routes or none), so
 * that beside the tables there are half a dozen roundings, of numbers that are no larger than the
 * scan's score, its sum of entries (510 slacks) and the offset.  Distances, which have a factor of
 * each vector in them and are cut off at 0, are left alone. */
void vq_pool_trust(vq_pool *p, const vq_shard *s, const vq_query *x, const void *tables,
                   const vq_effort *e)
{
    const vq_model *m = &s->model;
    if (e->exact || e->bars > 0.0f || m->codec->slack == NULL) return;
    if (m->metric == VQ_METRIC_L2 || s->brief.memory != NULL) return;
    p->best = e->k;
    p->slack = 1.001f * m->codec->slack(&m->code, tables) + fabsf((float)x->offset) * 0x1p-20f;
}

size_t vq_scan_keep(const vq_scan *w, const vq_marks *copies, vq_part part, size_t kept,
                    vq_pool *pool)
{
    if (kept == 0) return 0;
    const vq_list_view *l = &w->s->lists[part.list];
    uint64_t chunk = (uint64_t)part.list << 32 | (uint64_t)part.chunk * w->s->capacity;
    for (size_t j = 0; j < kept; j++) w->idx[j] += part.first;
    if (part.chunk < l->nchunks) {
        kept = vq_copies_skip(copies, chunk, w->idx, kept, pool);
        for (size_t j = 0; j < kept; j++) pool->places[pool->n + j] = chunk + w->idx[j];
    } else {
        kept =
            vq_copies_take(copies, w->s->model.nlist, &l->chunks[part.chunk], w->idx, kept, pool);
    }
    if (w->s->mask != NULL) kept = vq_mask_keep(w->s->mask, pool, kept);
    pool->n += kept;
    return kept;
}

size_t vq_scan_part(const vq_scan *w, const void *tables, const vq_marks *copies, vq_part part,
                    float base, vq_pool *pool)
{
    if (w->look != NULL) return vq_look_part(w->look, w, copies, part, pool);
    const vq_code_model *code = &w->s->model.code;
    const vq_chunk_view *v = &w->s->lists[part.list].chunks[part.chunk];
    size_t kept =
        code->codec->scan(code, w->k, tables, vq_part_codes(w->s, part), part.ahead,
                          v->factors != NULL ? v->factors + part.first : NULL, part.n, base,
                          pool->threshold, w->scratch, w->idx, pool->scores + pool->n);
    return vq_scan_keep(w, copies, part, kept, pool);
}

static void shrink(const vq_scan *w, vq_pool *pool)
{
    if (w->look != NULL)
        vq_look_finish(w->look, w, pool);
    else
        vq_pool_shrink(pool, w->k);
}

/* The first codes of the list of a rank, of vectors or of copies; NULL: they are not known. */
static const uint8_t *ahead_of(const vq_shard *s, const vq_query *x, uint32_t rank, bool copies)
{
    if (rank >= x->sorted) return NULL;
    const vq_list_view *l = &s->lists[x->lists[rank].id];
    if (!VQ_ATOMIC_LOAD(&l->loaded) || (copies ? l->ncopied : l->nchunks) == 0) return NULL;
    return l->chunks[copies ? l->nchunks : 0].codes;
}

vq_status vq_query_scan(vq_shard *s, const vq_kernels *k, vq_query *x, const void *tables,
                        vq_arena *arena, vq_stop *stop, const vq_effort *e, vq_pool *pool,
                        uint32_t *lists, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    vq_marks copies;
    vq_scan w;
    vq_look look;
    VQ_TRY(vq_scan_begin(&w, s, k, VQ_MIN(s->capacity, (uint32_t)PART), arena, err));
    if (e->bars > 0.0f) {
        VQ_TRY(vq_look_begin(&look, &w, x, tables, e, arena, err));
        w.look = &look;
    }
    VQ_TRY(vq_pool_begin(pool, e->candidates, &w, arena, err));
    VQ_TRY(vq_copies_begin(&copies, s, x->of != NULL ? x->of : x, stop == NULL, arena, err));
    const bool copied = copies.done != NULL;
    if (!copied) vq_pool_trust(pool, s, x, tables, e);
    const wants next = wants_of(s, k, copied);
    /* Of long codes with error bars a block's front is on a page of its own, so lists have more of
     * them, and walks for lists that are not reached cost more. */
    uint32_t touched = 0, group = w.look != NULL ? FEW_LISTS : GROUP;
    uint32_t first = stop != NULL && w.look == NULL ? FIRST_PART : 0;
    *lists = 0;
    for (uint32_t i = 0; stop != NULL || i < x->nlists; i++) {
        if (stop != NULL && !vq_stop_goes_on(stop, x, i)) break;
        ++*lists;
        uint32_t list = (uint32_t)x->lists[i].id;
        const vq_list_view *l = &s->lists[list];
        if (!VQ_ATOMIC_LOAD(&l->loaded)) VQ_TRY(vq_shard_load(s, list, err));
        float base = vq_list_base(m, k, x, &x->lists[i]);
        if (i % group == 0) touched = touch_pages(s, x, touched, i + 2 * group, copied);
        if (i + 1 < x->sorted) prefetch(s, next, (uint32_t)x->lists[i + 1].id);
        uint32_t chunks = l->nchunks + (copied ? l->ncopied : 0);
        for (uint32_t c = 0, n; c < chunks; c++) {
            vq_part part = {.list = list, .chunk = c};
            for (; part.first < l->chunks[c].n; part.first += part.n) {
                n = l->chunks[c].n - part.first;
                if (s->mask != NULL) n = vq_mask_part(s, list, c, &part.first);
                if (n == 0) break;
                part.n = VQ_MIN(n, (uint32_t)w.room);
                if (first > 0) part.n = VQ_MIN(part.n, first), first = 0;
                bool more = c + 1 < chunks && c + 1 != l->nchunks; /* of its kind */
                if (part.first + part.n == l->chunks[c].n)
                    part.ahead =
                        more ? l->chunks[c + 1].codes : ahead_of(s, x, i + 1, c >= l->nchunks);
                size_t kept = vq_scan_part(&w, tables, &copies, part, base, pool);
                for (size_t j = pool->n - kept; stop != NULL && j < pool->n; j++)
                    vq_kth_push(&stop->kth,
                                w.look != NULL ? look.seen[j].estimate : pool->scores[j]);
                if (stop != NULL) pool->threshold = VQ_MAX(pool->threshold, vq_stop_floor(stop));
                if (pool->n >= pool->cap) shrink(&w, pool);
            }
        }
        vq_copies_done(&copies, list);
    }
    VQ_REQUIRE(stop == NULL || !stop->failed, VQ_ENOMEM, "scan: %u lists", m->nlist);
    if (stop != NULL && e->exact && w.look == NULL)
        VQ_REQUIRE(vq_stop_rows(stop, pool, arena), VQ_ENOMEM, "scan: %zu candidates", pool->n);
    shrink(&w, pool);
    if (x->of == NULL) VQ_TRY(vq_copies_settle(&copies, s, pool, err));
out:
    return rc;
}
