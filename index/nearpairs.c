/* SPDX-License-Identifier: Apache-2.0 */
/* nearpairs.c -- see nearpairs.h.  A block of queries goes to the lists near each of them together,
 * a list at a time, by GEMM. */
#include "index/nearpairs.h"

#include <math.h>
#include <string.h>

#include "src/base/team.h"
#include "src/math/blas.h"
#include "src/math/topk.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"

enum {
    BLOCK = 256, /* queries at a time, at most, */
    TILE = 256,  /* ..and rows of a list */
    LEAST_BLOCK = 16,
    LEAST_QUERIES = 256,
    NEAREST = 10,
    LISTS = 128, /* nearest to a query that are looked through, */
    ROWS = 8192, /* ..no more of them than hold so many rows */
    ROOM = 2 * NEAREST + 64
};
#define PRODUCTS ((size_t)1 << 24) /* of queries with centroids; or fewer queries */

void vq_near_pairs_fini(vq_near_pairs *p)
{
    vq_mem_free(p->pairs);
    memset(p, 0, sizeof *p);
}

typedef struct near_work {
    const vq_model *m;
    const vq_kernels *k;
    float *residuals; /* of the sample, from then on list by list: */
    float *more;      /* as given, likewise */
    uint32_t *starts; /* ..rows starts[c] .. starts[c + 1] of list c */
    size_t n;
    const float *queries;       /* all of them, of which count ask */
    uint32_t *own;              /* all: the rows that they are; UINT32_MAX: none */
    size_t all, count, nearest; /* neighbours of each that are looked for */
    float *bias;                /* nlist: minus half of the centroids' squared lengths */
    float *halves;              /* l2: n: half of the residuals' squared lengths */
    vq_arena *arenas;           /* one a thread */
    size_t block;               /* queries at a time */
    int threads;
    vq_hit *found; /* count x nearest: rows, by falling score; NaN: there is none */
} near_work;

static void near_fini(near_work *w)
{
    for (int i = 0; w->arenas != NULL && i < w->threads; i++) vq_arena_fini(&w->arenas[i]);
    vq_mem_free(w->arenas);
    vq_mem_free(w->starts);
    vq_mem_free(w->own);
    vq_mem_free(w->bias);
    vq_mem_free(w->halves);
    vq_mem_free(w->found);
}

/* Of the sample so many neighbours as it holds of the ten best of all vectors: those behind them
 * are further away than what a search is for. */
size_t vq_near_pairs_each(const vq_model *m, size_t n)
{
    double share = (double)NEAREST * (double)n / (double)VQ_MAX(m->n, (uint64_t)n);
    return (size_t)VQ_MAX(lround(share), 1L);
}

/* Rows and lists in the order of the lists; own: as given. */
static vq_status sort_rows(near_work *w, uint32_t *lists, size_t own, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = w->m->d_code, nlist = w->m->nlist;
    uint32_t *from = vq_mem_alloc(w->n, sizeof *from);
    float *spare = vq_alloc_f32(1, d), *x = w->residuals;
    VQ_REQUIRE(from != NULL && spare != NULL, VQ_ENOMEM, "neighbours: a sample of %zu", w->n);
    for (size_t i = 0; i < w->n; i++) w->starts[lists[i] + 2]++;
    for (size_t c = 1; c < nlist; c++) w->starts[c + 2] += w->starts[c + 1];
    for (size_t i = 0; i < w->n; i++) from[w->starts[lists[i] + 1]++] = (uint32_t)i;
    for (size_t i = 0; i < w->n; i++)
        if (from[i] >= own && from[i] - own < w->all) w->own[from[i] - own] = (uint32_t)i;
    for (size_t i = 0; i < w->n; i++) { /* each cycle of places once */
        size_t to = i;
        float first = w->more != NULL ? w->more[i] : 0.0f;
        memcpy(spare, x + i * d, d * sizeof *x);
        for (size_t next; (next = from[to]) != i; to = next) {
            memcpy(x + to * d, x + next * d, d * sizeof *x);
            if (w->more != NULL) w->more[to] = w->more[next];
            from[to] = (uint32_t)to;
        }
        memcpy(x + to * d, spare, d * sizeof *x);
        if (w->more != NULL) w->more[to] = first;
        from[to] = (uint32_t)to;
    }
    for (uint32_t c = 0; c < nlist; c++)
        for (size_t i = w->starts[c]; i < w->starts[c + 1]; i++) lists[i] = c;
out:
    vq_mem_free(from);
    vq_mem_free(spare);
    return rc;
}

static vq_status near_init(near_work *w, uint32_t *lists, size_t own, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = w->m;
    size_t d = m->d_code;
    w->nearest = vq_near_pairs_each(m, w->n);
    w->count = VQ_MIN(w->all, VQ_MAX(PRODUCTS / m->nlist, (size_t)LEAST_QUERIES));
    w->starts = vq_mem_calloc((size_t)m->nlist + 2, sizeof *w->starts);
    w->own = vq_mem_alloc(w->all, sizeof *w->own);
    w->bias = vq_alloc_f32(1, m->nlist);
    w->halves = vq_alloc_f32(1, w->n);
    w->arenas = vq_mem_calloc((size_t)w->threads, sizeof *w->arenas);
    w->found = vq_mem_alloc(w->count, w->nearest * sizeof *w->found);
    VQ_REQUIRE(w->starts != NULL && w->own != NULL && w->bias != NULL && w->halves != NULL &&
                   w->arenas != NULL && w->found != NULL,
               VQ_ENOMEM, "neighbours: a sample of %zu", w->n);
    memset(w->own, 0xff, w->all * sizeof *w->own);
    for (int i = 0; i < w->threads; i++) vq_arena_init(&w->arenas[i]);
    VQ_TRY(sort_rows(w, lists, own, err));
    vq_kmeans_bias(m->centroids, m->nlist, d, w->bias);
    for (size_t c = 0; w->more != NULL && c < m->nlist; c++) w->bias[c] = -m->biases[c];
    for (size_t i = 0; i < w->n; i++) {
        const float *o = w->residuals + i * d;
        w->halves[i] = m->metric == VQ_METRIC_L2 ? 0.5f * w->k->dot_f32(o, o, d) : 0.0f;
        if (w->more != NULL) w->halves[i] += w->more[i];
    }
out:
    return rc;
}

/* Which of the queries is the i-th that asks. */
static size_t query_of(const near_work *w, size_t i)
{
    return vq_spaced_row(w->all, w->count, i);
}

/* A block of queries on its way. */
typedef struct near_block {
    size_t n;
    float *q, *dots;  /* n x d; n x nlist: products with centroids */
    uint32_t *starts; /* nlist + 2 */
    uint32_t *askers; /* queries that list c is for: starts[c] .. starts[c + 1] */
    uint32_t *lists;  /* n x LISTS: nearest to a query; UINT32_MAX: none */
    float *less;      /* n x d: what products with residuals of a list count with */
    float *base;      /* n: what each has of a list's score */
    uint32_t *own;    /* n: the row that each is */
    float *scores;    /* n x TILE */
    vq_hit *hits;     /* n x ROOM */
    vq_reservoir *best;
} near_block;

static vq_status block_init(near_block *b, const near_work *w, vq_arena *a, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = w->m->d_code, nlist = w->m->nlist, n = b->n;
    vq_arena_reset(a);
    b->q = vq_arena_take(a, n * d, sizeof *b->q);
    b->dots = vq_arena_take(a, n * nlist, sizeof *b->dots);
    b->starts = vq_arena_take(a, nlist + 2, sizeof *b->starts);
    b->askers = vq_arena_take(a, n * LISTS, sizeof *b->askers);
    b->lists = vq_arena_take(a, n * LISTS, sizeof *b->lists);
    b->less = vq_arena_take(a, n * d, sizeof *b->less);
    b->base = vq_arena_take(a, n, sizeof *b->base);
    b->own = vq_arena_take(a, n, sizeof *b->own);
    b->scores = vq_arena_take(a, n * TILE, sizeof *b->scores);
    b->hits = vq_arena_take(a, n * ROOM, sizeof *b->hits);
    b->best = vq_arena_take(a, n, sizeof *b->best);
    VQ_REQUIRE(b->q != NULL && b->dots != NULL && b->starts != NULL && b->askers != NULL &&
                   b->lists != NULL && b->less != NULL && b->base != NULL && b->own != NULL &&
                   b->scores != NULL && b->hits != NULL && b->best != NULL,
               VQ_ENOMEM, "neighbours: %zu queries", n);
    memset(b->starts, 0, (nlist + 2) * sizeof *b->starts);
out:
    return rc;
}

/* The lists nearest to each query, and the queries of each list. */
static void choose_lists(near_block *b, const near_work *w)
{
    const vq_model *m = w->m;
    vq_hit near[2 * LISTS + 64];
    for (size_t i = 0; i < b->n; i++) {
        const float *dots = b->dots + i * m->nlist;
        uint32_t *to = b->lists + i * LISTS;
        vq_reservoir lists;
        size_t rows = 0;
        vq_reservoir_init(&lists, near, VQ_COUNT(near), LISTS);
        for (uint32_t c = 0; c < m->nlist; c++)
            vq_reservoir_push(&lists, m->metric == VQ_METRIC_L2 ? dots[c] + w->bias[c] : dots[c],
                              c);
        size_t some = vq_reservoir_finish(&lists);
        for (size_t j = 0; j < LISTS; j++) {
            to[j] = j < some && rows < ROWS ? (uint32_t)near[j].id : UINT32_MAX;
            if (to[j] == UINT32_MAX) continue;
            rows += w->starts[to[j] + 1] - w->starts[to[j]];
            b->starts[to[j] + 2]++;
        }
    }
    for (size_t c = 1; c < m->nlist; c++) b->starts[c + 2] += b->starts[c + 1];
    for (size_t i = 0; i < b->n * LISTS; i++)
        if (b->lists[i] != UINT32_MAX)
            b->askers[b->starts[b->lists[i] + 1]++] = (uint32_t)(i / LISTS);
}

/* The rows of a list for those that it is for. */
static void push_list(near_block *b, const near_work *w, uint32_t list)
{
    const vq_model *m = w->m;
    size_t d = m->d_code, end = w->starts[list + 1], n = b->starts[list + 1] - b->starts[list];
    const uint32_t *askers = b->askers + b->starts[list];
    const float *c = m->centroids + list * d;
    bool centred = m->metric == VQ_METRIC_L2;
    for (size_t i = 0; i < n; i++) {
        float *less = b->less + i * d;
        memcpy(less, b->q + askers[i] * d, d * sizeof *less);
        for (size_t j = 0; centred && j < d; j++) less[j] -= c[j];
        b->base[i] = centred ? -0.5f * w->k->dot_f32(less, less, d)
                             : b->dots[(size_t)askers[i] * m->nlist + list];
    }
    for (size_t first = w->starts[list], some; n > 0 && first < end; first += some) {
        some = VQ_MIN(end - first, (size_t)TILE);
        vq_gemm_nt(n, some, d, 1.0f, b->less, d, w->residuals + first * d, d, 0.0f, b->scores,
                   TILE);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < some; j++)
                if (first + j != b->own[askers[i]])
                    vq_reservoir_push(&b->best[askers[i]],
                                      b->base[i] + b->scores[i * TILE + j] - w->halves[first + j],
                                      first + j);
    }
}

static vq_status near_task(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    near_work *w = ctx;
    const vq_model *m = w->m;
    size_t d = m->d_code, first = task * w->block;
    near_block b = {.n = VQ_MIN(w->count - first, w->block)};
    VQ_TRY(block_init(&b, w, &w->arenas[worker], err));
    for (size_t i = 0; i < b.n; i++) {
        size_t query = query_of(w, first + i);
        memcpy(b.q + i * d, w->queries + query * d, d * sizeof *b.q);
        b.own[i] = w->own[query];
        vq_reservoir_init(&b.best[i], b.hits + i * ROOM, ROOM, w->nearest);
    }
    vq_gemm_nt(b.n, m->nlist, d, 1.0f, b.q, d, m->centroids, d, 0.0f, b.dots, m->nlist);
    choose_lists(&b, w);
    for (uint32_t c = 0; c < m->nlist; c++) push_list(&b, w, c);
    for (size_t i = 0; i < b.n; i++) {
        size_t found = vq_reservoir_finish(&b.best[i]);
        vq_hit *to = w->found + (first + i) * w->nearest;
        for (size_t j = 0; j < w->nearest; j++)
            to[j] = j < found ? b.best[i].hits[j] : (vq_hit){.score = NAN, .id = 0};
    }
out:
    return rc;
}

/* Their products with all centroids are held at once. */
static size_t block_of(const vq_model *m)
{
    size_t most = PRODUCTS / 4 / m->nlist;
    return VQ_MIN(VQ_MAX(most, (size_t)LEAST_BLOCK), (size_t)BLOCK);
}

vq_status vq_near_pairs_find(const vq_model *m, float *residuals, uint32_t *lists, float *more,
                             size_t n, const float *queries, size_t nq, size_t own, int threads,
                             vq_near_pairs *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    near_work w = {.m = m,
                   .k = vq_kernels_get(),
                   .residuals = residuals,
                   .more = more,
                   .n = n,
                   .queries = queries,
                   .all = nq,
                   .block = block_of(m)};
    w.threads = vq_team((uint32_t)threads, (nq + w.block - 1) / w.block);
    if (nq == 0) goto out;
    VQ_TRY(near_init(&w, lists, own, err));
    out->pairs = vq_mem_alloc(w.count * w.nearest, sizeof *out->pairs);
    VQ_REQUIRE(out->pairs != NULL, VQ_ENOMEM, "neighbours: %zu pairs", w.count * w.nearest);
    VQ_TRY(vq_team_run(w.threads, (w.count + w.block - 1) / w.block, near_task, &w, err));
    for (size_t i = 0; i < w.count * w.nearest; i++) {
        uint32_t query = (uint32_t)query_of(&w, i / w.nearest);
        uint32_t row = (uint32_t)w.found[i].id;
        if (!isnan(w.found[i].score)) out->pairs[out->n++] = (vq_near_pair){query, row, lists[row]};
    }
out:
    near_fini(&w);
    return rc;
}
