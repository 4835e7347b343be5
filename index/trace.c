/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c -- see trace.h. */
#include "index/trace.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/math/kth.h"

void vq_probes_fini(vq_probes *p)
{
    vq_mem_free(p->x);
    vq_mem_free(p->self);
    vq_mem_free(p->place);
    vq_mem_free(p->truth);
    memset(p, 0, sizeof *p);
}

void vq_trace_fini(vq_trace *t)
{
    for (size_t i = 0; i < t->nk; i++) vq_mem_free(t->gap[i]);
    vq_mem_free(t->drop);
    vq_mem_free(t->seen);
    vq_mem_free(t->best);
    vq_mem_free(t->nbest);
    memset(t, 0, sizeof *t);
}

typedef struct run {
    vq_trace *t;
    vq_shard *s;
    const vq_probes *p;
    const vq_kernels *k;
    vq_arena *arenas; /* threads */
    uint64_t *first;  /* nlist: vectors in the lists before */
} run;

/* A query being followed. */
typedef struct walk {
    const run *r;
    size_t query;
    vq_query x;
    const void *tables;
    void *scratch;
    uint32_t *idx;
    float *score;
    vq_kth kth[VQ_TRACE_KS];
    vq_reservoir best; /* id: rank << 32 | vector of the list, then copies, so that ties go to the
                          first seen */
    uint64_t *found;   /* a bit a vector, by lists; NULL: there are no copies */
    float unit;
} walk;

/* The place of the vector that a hit is, or is a copy of. */
static uint64_t place_of(const walk *w, uint64_t id)
{
    const vq_shard *s = w->r->s;
    uint32_t list = (uint32_t)w->x.lists[id >> 32].id, at = (uint32_t)id;
    const vq_list_view *l = &s->lists[list];
    if (at < l->n) return (uint64_t)list << 32 | at;
    at -= l->n;
    return vq_copy_of(&l->chunks[l->nchunks + at / s->capacity], at % s->capacity);
}

static uint64_t label_at(const vq_shard *s, uint64_t place)
{
    uint32_t slot;
    const vq_chunk_view *v = vq_shard_at(s, place, &slot);
    return vq_le64(v->labels + 8 * (size_t)slot);
}

static vq_status walk_begin(walk *w, vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    const run *r = w->r;
    const vq_model *m = &r->s->model;
    size_t room = vq_round_up(r->s->capacity, VQ_BLOCK), cap = 2 * (size_t)r->t->depth + 64;
    const vq_code_model *code = r->s->brief.memory != NULL ? &r->s->brief.code : &m->code;
    vq_query *x = &w->x;
    vq_arena_reset(arena);
    *x = (vq_query){.q = r->p->x + w->query * m->d};
    x->y = vq_arena_take(arena, m->d_code, sizeof *x->y);
    x->wide = vq_arena_take(arena, m->d, sizeof *x->wide);
    x->fixed.x = vq_arena_take(arena, m->d, sizeof *x->fixed.x);
    x->lists = vq_arena_take(arena, m->nlist, sizeof *x->lists);
    void *probe = vq_arena_take(arena, vq_probe_scratch(m), 1);
    float *heaps[VQ_TRACE_KS];
    for (size_t i = 0; i < r->t->nk; i++) {
        heaps[i] = vq_arena_take(arena, r->t->k[i], sizeof *heaps[i]);
        VQ_REQUIRE(heaps[i] != NULL, VQ_ENOMEM, "tune: k = %u", r->t->k[i]);
        vq_kth_init(&w->kth[i], heaps[i], r->t->k[i]);
    }
    vq_hit *hits = vq_arena_take(arena, cap, sizeof *hits);
    w->scratch = vq_arena_take(arena, vq_scan_scratch(room), 1);
    w->idx = vq_arena_take(arena, room, sizeof *w->idx);
    w->score = vq_arena_take(arena, room, sizeof *w->score);
    if (m->copies > 0) {
        size_t words = (size_t)m->n / 64 + 1;
        w->found = vq_arena_take(arena, words, sizeof *w->found);
        VQ_REQUIRE(w->found != NULL, VQ_ENOMEM, "tune: %" PRIu64 " vectors", m->n);
        memset(w->found, 0, words * sizeof *w->found);
    }
    VQ_REQUIRE(x->y != NULL && x->wide != NULL && x->fixed.x != NULL && x->lists != NULL &&
                   probe != NULL && hits != NULL && w->scratch != NULL && w->idx != NULL &&
                   w->score != NULL,
               VQ_ENOMEM, "tune: a query over %u lists", m->nlist);
    vq_query_prepare(r->s, r->k, x, probe);
    vq_query_probe(r->s, r->k, x, r->t->nlist, true, probe);
    w->unit = vq_query_unit(r->s, r->k, x->y, false);
    w->tables = vq_model_tables(m, code, r->k, x->y, arena);
    VQ_REQUIRE(w->tables != NULL, VQ_ENOMEM, "tune: tables of a query");
    vq_reservoir_init(&w->best, hits, cap, r->t->depth);
out:
    return rc;
}

/* A vector counts once, as it is met first. */
static bool is_new(const walk *w, uint64_t place)
{
    if (w->found == NULL) return true;
    uint64_t number = w->r->first[place >> 32] + (uint32_t)place, bit = UINT64_C(1) << number % 64;
    bool met = (w->found[number / 64] & bit) != 0;
    w->found[number / 64] |= bit;
    return !met;
}

/* Scans the list of a rank, as scan.c does; returns its vectors and copies. */
static vq_status walk_list(walk *w, uint32_t rank, uint32_t *seen, vq_error *err)
{
    vq_status rc = VQ_OK;
    const run *r = w->r;
    const vq_shard *s = r->s;
    const vq_model *m = &s->model;
    uint32_t list = (uint32_t)w->x.lists[rank].id;
    const vq_list_view *l = &s->lists[list];
    float base = vq_list_base(m, r->k, &w->x, &w->x.lists[rank]);
    uint64_t self = r->p->place[w->query], first = (uint64_t)rank << 32;
    for (uint32_t c = 0; c < l->nchunks + l->ncopied; c++) {
        const vq_chunk_view *v = &l->chunks[c];
        uint64_t id = c < l->nchunks ? first + (uint64_t)c * s->capacity
                                     : first + l->n + (uint64_t)(c - l->nchunks) * s->capacity;
        size_t kept = m->codec->scan(&m->code, r->k, w->tables, v->codes, NULL, v->factors, v->n,
                                     base, w->best.threshold, w->scratch, w->idx, w->score);
        for (size_t j = 0; j < kept; j++) {
            uint64_t place = place_of(w, id + w->idx[j]);
            VQ_REQUIRE(place >> 32 < m->nlist && (uint32_t)place < s->lists[place >> 32].n,
                       VQ_ECORRUPT, "copies: one of slot %u of list %u", (uint32_t)place,
                       (uint32_t)(place >> 32));
            if (place == self || !is_new(w, place)) continue;
            for (size_t i = 0; i < r->t->nk; i++) vq_kth_push(&w->kth[i], w->score[j]);
            vq_reservoir_push(&w->best, w->score[j], id + w->idx[j]);
        }
    }
    *seen += l->n + l->copies;
out:
    return rc;
}

typedef struct answer {
    uint64_t label;
    uint32_t place;
} answer;

static int by_label(const void *a, const void *b)
{
    const answer *x = a, *y = b;
    return (x->label > y->label) - (x->label < y->label);
}

/* The true answers of a query by label; *n of them. */
static const answer *answers_of(const walk *w, vq_arena *arena, uint32_t *n)
{
    const vq_probes *p = w->r->p;
    answer *a = vq_arena_take(arena, p->truth_k, sizeof *a);
    for (*n = 0; a != NULL && *n < p->truth_k; ++*n) {
        uint64_t label = p->truth[w->query * p->truth_k + *n];
        if (label == VQ_NO_ID) break;
        a[*n] = (answer){.label = label, .place = *n};
    }
    if (a != NULL) qsort(a, *n, sizeof *a, by_label);
    return a;
}

/* Notes the best candidates, and which true answers they are.  Without any, the best are. */
static vq_status walk_end(walk *w, vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    const run *r = w->r;
    vq_trace *t = r->t;
    size_t n = vq_reservoir_finish(&w->best);
    uint32_t count = 0;
    const answer *known = r->p->truth != NULL ? answers_of(w, arena, &count) : NULL;
    VQ_REQUIRE(known != NULL || r->p->truth == NULL, VQ_ENOMEM, "tune: %u answers", r->p->truth_k);
    t->nbest[w->query] = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        const vq_hit *h = &w->best.hits[i];
        answer key = {.label = label_at(r->s, place_of(w, h->id))};
        const answer *found =
            count > 0 ? bsearch(&key, known, count, sizeof *known, by_label) : NULL;
        uint32_t place = known == NULL ? (uint32_t)i : found != NULL ? found->place : VQ_WRONG;
        t->best[w->query * t->depth + i] =
            (vq_traced){.est = h->score / w->unit, .at = (uint32_t)(h->id >> 32), .place = place};
    }
out:
    return rc;
}

static vq_status follow(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    const run *r = ctx;
    vq_trace *t = r->t;
    walk w = {.r = r, .query = task};
    VQ_TRY(walk_begin(&w, &r->arenas[worker], err));
    uint32_t seen = 0;
    for (uint32_t i = 0; i < t->nlist; i++) {
        size_t at = task * t->nlist + i;
        for (size_t j = 0; j < t->nk; j++)
            t->gap[j][at] = (w.kth[j].worst - w.x.lists[i].score) / w.unit;
        t->drop[at] = (w.x.lists[0].score - w.x.lists[i].score) / w.unit;
        VQ_TRY(walk_list(&w, i, &seen, err));
        t->seen[at] = seen;
    }
    VQ_TRY(walk_end(&w, &r->arenas[worker], err));
out:
    return rc;
}

vq_status vq_trace_run(vq_trace *t, vq_shard *s, const vq_probes *p, const uint32_t *k, size_t nk,
                       uint32_t depth, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t cells, hits;
    run r = {.t = t, .s = s, .p = p, .k = vq_kernels_get()};
    *t = (vq_trace){.nk = nk, .nlist = vq_shard_live(s), .n = p->n};
    memcpy(t->k, k, nk * sizeof *k);
    t->depth = (uint32_t)VQ_MIN((uint64_t)depth, s->model.n);
    VQ_REQUIRE(vq_mul_size(p->n, t->nlist, &cells) && vq_mul_size(p->n, t->depth, &hits), VQ_EINVAL,
               "tune: %zu queries", p->n);
    for (uint32_t l = 0; l < s->model.nlist; l++) VQ_TRY(vq_shard_load(s, l, err));
    uint32_t nlist = s->model.nlist;
    r.first = vq_mem_calloc(nlist, sizeof *r.first);
    VQ_REQUIRE(r.first != NULL, VQ_ENOMEM, "tune: %u lists", nlist);
    for (uint32_t l = 1; l < nlist; l++) r.first[l] = r.first[l - 1] + s->lists[l - 1].n;
    VQ_REQUIRE(r.first[nlist - 1] + s->lists[nlist - 1].n == s->model.n, VQ_ECORRUPT,
               "%s: the lists do not hold %" PRIu64 " vectors", vq_file_path(s->snapshot.file),
               s->model.n);
    for (size_t i = 0; i < nk; i++) {
        t->gap[i] = vq_mem_alloc(cells, sizeof *t->gap[i]);
        VQ_REQUIRE(t->gap[i] != NULL, VQ_ENOMEM, "tune: %zu queries over %u lists", p->n, t->nlist);
    }
    t->drop = vq_mem_alloc(cells, sizeof *t->drop);
    t->seen = vq_mem_alloc(cells, sizeof *t->seen);
    t->best = vq_mem_alloc(hits, sizeof *t->best);
    t->nbest = vq_mem_alloc(p->n, sizeof *t->nbest);
    r.arenas = vq_mem_calloc((size_t)threads, sizeof *r.arenas);
    VQ_REQUIRE(t->drop != NULL && t->seen != NULL && t->best != NULL && t->nbest != NULL &&
                   r.arenas != NULL,
               VQ_ENOMEM, "tune: %zu queries over %u lists", p->n, t->nlist);
    VQ_TRY(vq_team_run(threads, p->n, follow, &r, err));
out:
    for (int i = 0; r.arenas != NULL && i < threads; i++) vq_arena_fini(&r.arenas[i]);
    vq_mem_free(r.arenas);
    vq_mem_free(r.first);
    if (rc != VQ_OK) vq_trace_fini(t);
    return rc;
}
