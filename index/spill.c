/* SPDX-License-Identifier: Apache-2.0 */
/* spill.c -- see spill.h. */
#include "index/spill.h"

#include <string.h>

#include "index/grouping.h"
#include "src/math/blas.h"
#include "src/math/topk.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"
#include "src/train/spill.h"

/* ---- second lists ---- */

typedef struct spill_job {
    const vq_model *m;
    const float *rows; /* n x d_code */
    size_t n;
    uint32_t *lists, *second; /* n */
    bool assigned;            /* lists are given */
    vq_nearest near;
    float *scratch; /* of each worker */
} spill_job;

static vq_status spill_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    const spill_job *j = ctx;
    const vq_model *m = j->m;
    size_t first = task * VQ_ASSIGN_TILE, n = VQ_MIN(j->n - first, (size_t)VQ_ASSIGN_TILE);
    const float *rows = j->rows + first * m->d_code;
    float *scratch = j->scratch + (size_t)worker * vq_nearest_scratch(&j->near);
    if (!j->assigned) vq_nearest_assign(&j->near, rows, n, scratch, j->lists + first);
    vq_nearest_second(&j->near, rows, n, j->lists + first, scratch, j->second + first);
    return VQ_OK;
}

static vq_status run_spill(spill_job *j, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = j->m;
    size_t tiles = (j->n + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE;
    threads = vq_team((uint32_t)threads, tiles);
    VQ_TRY(vq_grouping_nearest(&j->near, m, true, err));
    j->scratch = vq_alloc_f32((size_t)threads, vq_nearest_scratch(&j->near));
    VQ_REQUIRE(j->scratch != NULL, VQ_ENOMEM, "second lists: %u of them", m->nlist);
    VQ_TRY(vq_team_run(threads, tiles, spill_tile, j, err));
out:
    vq_nearest_fini(&j->near);
    vq_mem_free(j->scratch);
    return rc;
}

vq_status vq_spill_corpus(const vq_model *m, vq_corpus *c, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    c->copy_lists = vq_mem_alloc(c->n, sizeof *c->copy_lists);
    VQ_REQUIRE(c->copy_lists != NULL, VQ_ENOMEM, "copies of %zu vectors", c->n);
    spill_job j = {.m = m,
                   .rows = c->coded,
                   .n = c->n,
                   .lists = c->lists,
                   .second = c->copy_lists,
                   .assigned = true};
    VQ_TRY(run_spill(&j, threads, err));
out:
    return rc;
}

/* ---- worth it? ---- */

/* Neighbours are looked for in the whole sample: those among few rows lie farther, where copies
 * seem to bring more or less than they do.  Only the neighbours' lists count then, and what the
 * lists hold of some rows. */
enum { ROWS = 16384, QUERIES = 256, TRUE_TEN = 10, GROUP = 32, COLS = 1024, ROOM = 64 };
#define RECALL .95

typedef struct tally { /* by rank of a list, over all queries */
    uint64_t
        *found[2]; /* nlist: true ones that this list is the first to hold: without, with copies */
    uint64_t *read[2]; /* nlist: rows of this list */
} tally;

typedef struct gain_job {
    const vq_model *m;
    const vq_kernels *k;
    const float *rows, *queries; /* n x d, nq x d */
    size_t n, nq;
    bool own;             /* query i is row i * n / nq, which is no answer to itself */
    float *half;          /* n: |x|^2 / 2 for l2, else 0 */
    float *bias;          /* nlist: -|c|^2 / 2 for l2, else 0 */
    vq_hit *truth;        /* nq x TRUE_TEN */
    size_t *count;        /* nq: how many there are */
    size_t some;          /* rows, evenly spaced, that lists are counted by */
    float *placed;        /* (some + nq x TRUE_TEN) x d: these rows, and the true ones */
    uint32_t *lists[2];   /* of them: first and second */
    uint64_t *sizes[2];   /* nlist: rows of a list, of `some`: without, with copies */
    float *dots;          /* workers x max(GROUP x COLS, nlist) */
    vq_hit *hits, *order; /* workers x (GROUP x ROOM), workers x nlist */
    uint32_t *ranks;      /* workers x nlist */
    uint64_t *counts;     /* workers x 4 x nlist: their tallies */
} gain_job;

static tally tally_of(const gain_job *j, int worker)
{
    size_t nlist = j->m->nlist;
    uint64_t *at = j->counts + (size_t)worker * 4 * nlist;
    return (tally){{at, at + nlist}, {at + 2 * nlist, at + 3 * nlist}};
}

static float *dots_of(const gain_job *j, int worker)
{
    return j->dots + (size_t)worker * VQ_MAX((size_t)GROUP * COLS, (size_t)j->m->nlist);
}

/* The true ones of a group of queries. */
static vq_status find_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    const gain_job *j = ctx;
    size_t d = j->m->d_code, first = task * GROUP, n = VQ_MIN(j->nq - first, (size_t)GROUP);
    float *dots = dots_of(j, worker);
    vq_reservoir r[GROUP];
    for (size_t i = 0; i < n; i++)
        vq_reservoir_init(&r[i], j->hits + ((size_t)worker * GROUP + i) * ROOM, ROOM, TRUE_TEN);
    for (size_t x0 = 0; x0 < j->n; x0 += COLS) {
        size_t cols = VQ_MIN(j->n - x0, (size_t)COLS);
        vq_gemm_nt(n, cols, d, 1.0f, j->queries + first * d, d, j->rows + x0 * d, d, 0.0f, dots,
                   cols);
        for (size_t i = 0; i < n; i++) {
            size_t self = j->own ? vq_spaced_row(j->n, j->nq, first + i) : SIZE_MAX;
            for (size_t x = 0; x < cols; x++)
                if (x0 + x != self)
                    vq_reservoir_push(&r[i], dots[i * cols + x] - j->half[x0 + x], x0 + x);
        }
    }
    for (size_t i = 0; i < n; i++) {
        j->count[first + i] = VQ_MIN(vq_reservoir_finish(&r[i]), (size_t)TRUE_TEN);
        memcpy(j->truth + (first + i) * TRUE_TEN, r[i].hits,
               j->count[first + i] * sizeof *j->truth);
    }
    return VQ_OK;
}

/* Adds one query's lists by rank, and which of them hold its true ones first. */
static vq_status rank_task(void *ctx, size_t query, int worker, vq_error *err)
{
    (void)err;
    const gain_job *j = ctx;
    const vq_model *m = j->m;
    size_t d = m->d_code, nlist = m->nlist, place = j->some + query * TRUE_TEN;
    float *dots = dots_of(j, worker);
    vq_hit *order = j->order + (size_t)worker * nlist;
    uint32_t *ranks = j->ranks + (size_t)worker * nlist;
    tally t = tally_of(j, worker);
    j->k->matvec_f32(m->centroids, nlist, d, d, j->queries + query * d, dots);
    for (size_t l = 0; l < nlist; l++) order[l] = (vq_hit){.score = dots[l] + j->bias[l], .id = l};
    vq_hits_sort(order, nlist);
    for (size_t l = 0; l < nlist; l++) {
        ranks[order[l].id] = (uint32_t)l;
        for (int c = 0; c < 2; c++) t.read[c][l] += j->sizes[c][order[l].id];
    }
    for (size_t i = place; i < place + j->count[query]; i++) {
        uint32_t second = j->lists[1][i], at = ranks[j->lists[0][i]];
        t.found[0][at]++;
        if (second != VQ_NO_LIST) at = VQ_MIN(at, ranks[second]);
        t.found[1][at]++;
    }
    return VQ_OK;
}

/* The share of all vectors read, up to the list with which RECALL is reached. */
static double share_read(const gain_job *j, const tally *t, int c)
{
    double total = 0.0, found = 0.0, read = 0.0;
    for (uint32_t l = 0; l < j->m->nlist; l++) total += (double)t->found[c][l];
    for (uint32_t l = 0; l < j->m->nlist && found < RECALL * total; l++) {
        double more = (double)t->found[c][l], part = 1.0;
        if (more > 0.0) part = VQ_MIN((RECALL * total - found) / more, 1.0);
        found += more;
        read += part * (double)t->read[c][l];
    }
    return read / ((double)j->some * (double)j->nq);
}

static vq_status gain_init(gain_job *j, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = j->m;
    size_t workers = (size_t)threads, nlist = m->nlist;
    bool l2 = m->metric == VQ_METRIC_L2;
    size_t placed = j->some + j->nq * TRUE_TEN;
    j->half = vq_mem_calloc(j->n, sizeof *j->half);
    j->bias = vq_mem_calloc(nlist, sizeof *j->bias);
    j->truth = vq_mem_alloc(j->nq * TRUE_TEN, sizeof *j->truth);
    j->count = vq_mem_alloc(j->nq, sizeof *j->count);
    j->placed = vq_alloc_f32(placed, m->d_code);
    for (int c = 0; c < 2; c++) {
        j->lists[c] = vq_mem_alloc(placed, sizeof *j->lists[c]);
        j->sizes[c] = vq_mem_calloc(nlist, sizeof *j->sizes[c]);
    }
    j->dots = vq_alloc_f32(workers, VQ_MAX((size_t)GROUP * COLS, nlist));
    j->hits = vq_mem_alloc(workers * GROUP * ROOM, sizeof *j->hits);
    j->order = vq_mem_alloc(workers * nlist, sizeof *j->order);
    j->ranks = vq_mem_alloc(workers * nlist, sizeof *j->ranks);
    j->counts = vq_mem_calloc(workers * 4 * nlist, sizeof *j->counts);
    VQ_REQUIRE(j->half != NULL && j->bias != NULL && j->truth != NULL && j->count != NULL &&
                   j->placed != NULL && j->lists[0] != NULL && j->lists[1] != NULL &&
                   j->sizes[0] != NULL && j->sizes[1] != NULL && j->dots != NULL &&
                   j->hits != NULL && j->order != NULL && j->ranks != NULL && j->counts != NULL,
               VQ_ENOMEM, "copies: %zu lists", nlist);
    if (l2) vq_kmeans_bias(m->centroids, nlist, m->d_code, j->bias);
    for (size_t i = 0; l2 && i < j->n; i++)
        j->half[i] = 0.5f * (float)j->k->sq_row_f32(j->rows + i * m->d_code, m->d_code);
out:
    return rc;
}

static void gain_fini(gain_job *j)
{
    vq_mem_free(j->half);
    vq_mem_free(j->bias);
    vq_mem_free(j->truth);
    vq_mem_free(j->count);
    vq_mem_free(j->placed);
    for (int c = 0; c < 2; c++) {
        vq_mem_free(j->lists[c]);
        vq_mem_free(j->sizes[c]);
    }
    vq_mem_free(j->dots);
    vq_mem_free(j->hits);
    vq_mem_free(j->order);
    vq_mem_free(j->ranks);
    vq_mem_free(j->counts);
}

/* `want` evenly spaced of n rows of d floats; the caller frees them. */
static float *thin_out(const float *x, size_t n, size_t want, size_t d)
{
    float *some = vq_alloc_f32(want, d);
    for (size_t i = 0; some != NULL && i < want; i++)
        memcpy(some + i * d, x + vq_spaced_row(n, want, i) * d, d * sizeof *some);
    return some;
}

/* Rows that lists are counted by, then the true ones of each query: room for ten, zeros where there
 * are fewer. */
static void place_rows(const gain_job *j)
{
    size_t d = j->m->d_code, row = d * sizeof(float);
    float *to = j->placed;
    for (size_t i = 0; i < j->some; i++, to += d)
        memcpy(to, j->rows + vq_spaced_row(j->n, j->some, i) * d, row);
    for (size_t i = 0; i < j->nq * TRUE_TEN; i++, to += d)
        if (i % TRUE_TEN < j->count[i / TRUE_TEN])
            memcpy(to, j->rows + j->truth[i].id * d, row);
        else
            memset(to, 0, row);
}

static vq_status measure(gain_job *j, int threads, vq_spill_gain *gain, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = j->m;
    size_t groups = (j->nq + GROUP - 1) / GROUP;
    int workers = vq_team((uint32_t)threads, groups);
    VQ_TRY(gain_init(j, workers, err));
    VQ_TRY(vq_team_run(workers, groups, find_task, j, err));
    place_rows(j);
    spill_job s = {.m = m,
                   .rows = j->placed,
                   .n = j->some + j->nq * TRUE_TEN,
                   .lists = j->lists[0],
                   .second = j->lists[1]};
    VQ_TRY(run_spill(&s, threads, err));
    for (size_t i = 0; i < j->some; i++) {
        j->sizes[0][s.lists[i]]++;
        j->sizes[1][s.lists[i]]++;
        if (s.second[i] != VQ_NO_LIST) j->sizes[1][s.second[i]]++;
    }
    VQ_TRY(vq_team_run(workers, j->nq, rank_task, j, err));
    tally all = tally_of(j, 0);
    for (int w = 1; w < workers; w++) /* whole numbers: the order does not matter */
        for (size_t i = 0; i < 4 * (size_t)m->nlist; i++)
            all.found[0][i] += tally_of(j, w).found[0][i];
    gain->without = share_read(j, &all, 0);
    gain->with = share_read(j, &all, 1);
out:
    return rc;
}

vq_status vq_spill_measure(const vq_model *m, const float *rows, size_t n, const float *queries,
                           size_t nq, int threads, vq_spill_gain *gain, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d_code, asked = VQ_MIN(nq == 0 ? n : nq, (size_t)QUERIES);
    float *q = nq == 0 ? thin_out(rows, n, asked, d) : thin_out(queries, nq, asked, d);
    gain_job j = {.m = m,
                  .k = vq_kernels_get(),
                  .rows = rows,
                  .n = n,
                  .queries = q,
                  .nq = asked,
                  .own = nq == 0,
                  .some = VQ_MIN(n, (size_t)ROWS)};
    VQ_REQUIRE(q != NULL, VQ_ENOMEM, "copies: %zu queries of %zu dimensions", asked, d);
    VQ_TRY(measure(&j, threads, gain, err));
out:
    gain_fini(&j);
    vq_mem_free(q);
    return rc;
}
