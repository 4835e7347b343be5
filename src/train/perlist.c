/* SPDX-License-Identifier: Apache-2.0 */
/* perlist.c -- see perlist.h.  Some lists at a time: their products with all queries in a table,
 * then rows in tiles by GEMM. */
#include "src/train/perlist.h"

#include <math.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/math/kernels.h"
#include "src/train/spill.h"

enum { COLS = 256, TILE = 64, QUERY_TILE = 256 };
#define NONE UINT32_MAX

typedef struct work {
    const vq_perlist *p;
    const vq_kernels *k;
    size_t first, cols; /* lists at work */
    float *table;       /* nq x COLS: queries by these lists */
    float *norms;       /* COLS: |c|^2 */
    float *costs;       /* workers x TILE x COLS */
    float *along; /* the same: of the residuals by these lists; and workers x TILE x d: them */
    float *residuals;
    float *best;      /* n: less |x|^2, which is the same for all lists of a row */
    uint32_t *lists;  /* n: what is found */
    uint32_t *firsts; /* n: while the second ones are looked for, else NULL */
} work;

static vq_status table_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    const work *w = ctx;
    const vq_perlist *p = w->p;
    size_t at = task * QUERY_TILE, n = VQ_MIN(p->nq - at, (size_t)QUERY_TILE);
    vq_gemm_nt(n, w->cols, p->d, 1.0f, p->queries + at * p->d, p->d, p->centroids + w->first * p->d,
               p->d, 0.0f, w->table + at * COLS, COLS);
    return VQ_OK;
}

/* cost + weight * (q.x - q.c)^2 for each query of the row. */
static void feel(const work *w, size_t row, float *restrict cost)
{
    const vq_perlist *p = w->p;
    const uint32_t *near = p->near + row * p->stride;
    float weight = p->beta / (float)p->count;
    for (size_t s = 0; s < p->count && near[s] != NONE; s++) {
        const float *restrict t = w->table + (size_t)near[s] * COLS;
        float own = w->k->dot_f32(p->queries + (size_t)near[s] * p->d, p->rows + row * p->d, p->d);
        for (size_t c = 0; c < w->cols; c++) {
            float miss = own - t[c];
            cost[c] += weight * miss * miss;
        }
    }
}

/* cost + (s . r / |r|)^2 for the residuals s of a row in each list and r in its first, which is out
 * of the question. */
static void turn_away(const work *w, size_t row, const float *r, const float *along,
                      float *restrict cost)
{
    const vq_perlist *p = w->p;
    float own = w->k->dot_f32(r, r, p->d), inv = own > 0.0f ? 1.0f / own : 0.0f;
    float with = w->k->dot_f32(r, p->rows + row * p->d, p->d);
    for (size_t c = 0; c < w->cols; c++) {
        float s = with - along[c];
        cost[c] += s * s * inv;
    }
    if (w->firsts[row] >= w->first && w->firsts[row] < w->first + w->cols)
        cost[w->firsts[row] - w->first] = INFINITY;
}

/* The residuals of a tile, and their products with the lists at work. */
static void look_along(const work *w, size_t at, size_t n, float *r, float *along)
{
    const vq_perlist *p = w->p;
    size_t d = p->d;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            r[i * d + j] =
                p->rows[(at + i) * d + j] - p->centroids[(size_t)w->firsts[at + i] * d + j];
    vq_gemm_nt(n, w->cols, d, 1.0f, r, d, p->centroids + w->first * d, d, 0.0f, along, COLS);
}

static vq_status assign_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    work *w = ctx;
    const vq_perlist *p = w->p;
    size_t at = task * TILE, n = VQ_MIN(p->n - at, (size_t)TILE);
    float *costs = w->costs + (size_t)worker * TILE * COLS;
    float *along = w->along + (size_t)worker * TILE * COLS;
    float *r = w->residuals + (size_t)worker * TILE * p->d;
    vq_gemm_nt(n, w->cols, p->d, -2.0f, p->rows + at * p->d, p->d, p->centroids + w->first * p->d,
               p->d, 0.0f, costs, COLS);
    if (w->firsts != NULL) look_along(w, at, n, r, along);
    for (size_t i = 0; i < n; i++) {
        float *cost = costs + i * COLS;
        for (size_t c = 0; c < w->cols; c++) cost[c] += w->norms[c];
        feel(w, at + i, cost);
        if (w->firsts != NULL) turn_away(w, at + i, r + i * p->d, along + i * COLS, cost);
        for (size_t c = 0; c < w->cols; c++) {
            if (cost[c] >= w->best[at + i]) continue;
            w->best[at + i] = cost[c];
            w->lists[at + i] = (uint32_t)(w->first + c);
        }
    }
    return VQ_OK;
}

static vq_status all_lists(work *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_perlist *p = w->p;
    size_t tiles = (p->n + TILE - 1) / TILE, groups = (p->nq + QUERY_TILE - 1) / QUERY_TILE;
    for (w->first = 0; w->first < p->nlist; w->first += COLS) {
        w->cols = VQ_MIN(p->nlist - w->first, (size_t)COLS);
        for (size_t c = 0; c < w->cols; c++)
            w->norms[c] = (float)w->k->sq_row_f32(p->centroids + (w->first + c) * p->d, p->d);
        VQ_TRY(vq_team_run(p->threads, groups, table_task, w, err));
        VQ_TRY(vq_team_run(p->threads, tiles, assign_task, w, err));
        VQ_TRY(vq_tick(p->ticker, "assign", w->first + w->cols, p->nlist, err));
    }
out:
    return rc;
}

/* What a second list must cost less than: the first one's cost and, as s = r, |r|^2. */
static void limit_second(work *w, uint32_t *lists, uint32_t *second)
{
    const vq_perlist *p = w->p;
    for (size_t i = 0; i < p->n; i++) {
        w->best[i] +=
            w->k->l2sq_f32(p->rows + i * p->d, p->centroids + (size_t)lists[i] * p->d, p->d);
        second[i] = VQ_NO_LIST;
    }
    w->firsts = lists;
    w->lists = second;
}

vq_status vq_perlist_assign(const vq_perlist *p, uint32_t *lists, uint32_t *second, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t rows = (size_t)VQ_MAX(p->threads, 1) * TILE;
    work w = {.p = p, .k = vq_kernels_get(), .lists = lists};
    vq_team_blas_enter();
    w.table = vq_alloc_f32(p->nq, COLS);
    w.norms = vq_alloc_f32(1, COLS);
    w.costs = vq_alloc_f32(rows, COLS);
    w.along = vq_alloc_f32(rows, COLS);
    w.residuals = vq_alloc_f32(rows, p->d);
    w.best = vq_alloc_f32(1, p->n);
    VQ_REQUIRE(w.table != NULL && w.norms != NULL && w.costs != NULL && w.along != NULL &&
                   w.residuals != NULL && w.best != NULL,
               VQ_ENOMEM, "lists of %zu rows for %zu queries", p->n, p->nq);
    for (size_t i = 0; i < p->n; i++) w.best[i] = INFINITY, lists[i] = 0;
    VQ_TRY(all_lists(&w, err));
    if (second == NULL) goto out;
    limit_second(&w, lists, second);
    VQ_TRY(all_lists(&w, err));
out:
    vq_mem_free(w.table);
    vq_mem_free(w.norms);
    vq_mem_free(w.costs);
    vq_mem_free(w.along);
    vq_mem_free(w.residuals);
    vq_mem_free(w.best);
    vq_team_blas_leave();
    return rc;
}
