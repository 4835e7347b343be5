/* SPDX-License-Identifier: Apache-2.0 */
/* exact.c -- exact top k: products by GEMM in f32, or of bytes in integers, say which rows cannot
 * be among the answers, all others are scored by vq_exact_score as they stream by.
 *
 * Ranking value.  s(q, r) = q.r (ip), q.r - |r|^2 / 2 (l2), q.r / |r| (cosine): larger is better,
 * and for one query it is a rising function of the score.
 *
 * Bound.  A sum of d products in f32, in any order, with or without fma, is wrong by at most
 * g |q| |r|, g = d u / (1 - d u), u = 2^-24 (Higham 2002, sec. 3.1 and Cauchy-Schwarz).  The few
 * roundings after it are each u times |q| |r| or |r|^2.  So with A = (2 d + 32) u
 *     computed s + A |q| |r| + 4 u |r|^2  (the last for l2 only)
 * is an upper bound of s, its own rounding included.  This holds without overflow and with products
 * that underflow to no more than u of the bound: norms from 1e-15 to 1e18 ensure both, and rows and
 * queries outside (other than 0, which is exact) get an infinite bound, hence are always scored.
 *
 * Rows of bytes are multiplied with queries of bytes (math/panels.h): sums are exact, and what a
 * query has lost, e, is wrong by at most |e| |r|.  The few roundings are as above, of |q| + |e|.
 * A query of whole numbers loses nothing, and its products are the scores'.
 *
 * Threshold.  A row can be among the best k only if its score, rounded to float, is not worse than
 * the k-th so far, F.  Half a unit in the last place of F and the rounding of the double sums
 * (d 2^-53) lie far within the relative margin of 2^-22 that is taken off.
 *
 * A task is a tile of queries over one block of rows: it alone touches their reservoirs.  Since the
 * answer is exact, the tiles may depend on the number of threads. */
#include "src/eval/exact.h"

#include <float.h>
#include <math.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/math/kernels.h"
#include "src/math/panels.h"
#include "src/math/score.h"
#include "src/math/topk.h"

#define BLOCK_FLOATS ((size_t)4 << 20) /* of a block of rows: 16 MB */
#define BLOCK_ROWS   8192u             /* at most */
#define ROW_TILE     512u              /* rows of one GEMM */
#define QUERY_TILE   256u              /* queries of a task at most */
#define STRIP        32u               /* rows that are ruled out at a time */
#define NORM_MIN     1e-15
#define NORM_MAX     1e18
#define EXACT_SQ     0x1p47 /* whole numbers up to its root are floats, and somewhat beyond */

typedef struct exact {
    const vq_kernels *kn;
    const vq_exact_opts *opts;
    vq_source *base;
    const float *queries;
    size_t nq, d, k;
    int threads;
    bool bytes; /* rows are, and are multiplied as such */
    /* owned: the queries */
    double *q_sq;            /* nq: |q|^2 */
    float *q_err;            /* nq: A |q|, and |e| */
    int8_t *small;           /* as bytes: groups of 8.. */
    vq_panel_scale *q_scale; /* ..nq: ..as what they count; */
    double *whole;           /* nq: up to this |r|^2 the product with a row is exact; -1: none */
    vq_hit *hits;            /* nq x 2 k */
    vq_reservoir *best;      /* nq */
    size_t query_tile;
    /* owned: the block of rows */
    size_t block_rows, rows; /* room, and what is there */
    void *native;            /* rows as they are stored */
    float *wide;             /* the same as f32; NULL if they are f32, or bytes: */
    uint8_t *panels;         /* ..of 16 rows */
    int32_t *sums;           /* of their rows */
    double *row_sq;          /* |r|^2 */
    uint64_t *row_no;
    float *scale, *bias, *norm; /* upper bound of s = product * scale + bias + q_err * norm */
    /* owned, per thread */
    float *dots;       /* query_tile x ROW_TILE */
    double *q;         /* d */
    vq_hit *survivors; /* ROW_TILE */
} exact;

static void exact_fini(exact *e)
{
    vq_mem_free(e->q_sq);
    vq_mem_free(e->q_err);
    vq_mem_free(e->small);
    vq_mem_free(e->q_scale);
    vq_mem_free(e->whole);
    vq_mem_free(e->hits);
    vq_mem_free(e->best);
    vq_mem_free(e->native);
    vq_mem_free(e->wide);
    vq_mem_free(e->panels);
    vq_mem_free(e->sums);
    vq_mem_free(e->row_sq);
    vq_mem_free(e->row_no);
    vq_mem_free(e->scale);
    vq_mem_free(e->bias);
    vq_mem_free(e->norm);
    vq_mem_free(e->dots);
    vq_mem_free(e->q);
    vq_mem_free(e->survivors);
}

static vq_status bytes_alloc(exact *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t queries = vq_panel_queries_size(e->nq, e->d);
    e->small = vq_mem_calloc(queries, 1);
    e->q_scale = vq_mem_alloc(e->nq, sizeof *e->q_scale);
    e->whole = vq_mem_alloc(e->nq, sizeof *e->whole);
    e->panels = vq_mem_alloc(vq_panels_size(e->block_rows, e->d), 1);
    e->sums = vq_mem_alloc(vq_round_up(e->block_rows, VQ_PANEL), sizeof *e->sums);
    e->row_sq = vq_mem_alloc(e->block_rows, sizeof *e->row_sq);
    VQ_REQUIRE(e->small != NULL && e->q_scale != NULL && e->whole != NULL && e->panels != NULL &&
                   e->sums != NULL && e->row_sq != NULL,
               VQ_ENOMEM, "exact: out of memory for %zu queries of %zu bytes", e->nq, e->d);
out:
    return rc;
}

static vq_status exact_alloc(exact *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t elem = vq_elem_size(e->base->elem), workers = (size_t)e->threads, room, dots, native;
    bool wide = e->base->elem != VQ_F32 && !e->bytes;
    VQ_REQUIRE(vq_mul_size(e->k, 2, &room) && vq_mul_size(e->nq, room, &room) &&
                   vq_mul_size(workers * ROW_TILE, e->query_tile, &dots) &&
                   vq_mul_size(e->block_rows, e->d * elem, &native),
               VQ_EINVAL, "exact: %zu queries, k = %zu are too many", e->nq, e->k);
    e->q_sq = vq_mem_alloc(e->nq, sizeof *e->q_sq);
    e->q_err = vq_alloc_f32(e->nq, 1);
    e->hits = vq_mem_alloc(room, sizeof *e->hits);
    e->best = vq_mem_alloc(e->nq, sizeof *e->best);
    e->native = vq_mem_alloc(native, 1);
    e->wide = wide ? vq_alloc_f32(e->block_rows, e->d) : NULL;
    e->row_no = vq_mem_alloc(e->block_rows, sizeof *e->row_no);
    e->scale = vq_alloc_f32(e->block_rows, 1);
    e->bias = vq_alloc_f32(e->block_rows, 1);
    e->norm = vq_alloc_f32(e->block_rows, 1);
    e->dots = vq_alloc_f32(dots, 1);
    e->q = vq_mem_alloc(workers * e->d, sizeof *e->q);
    e->survivors = vq_mem_alloc(workers * ROW_TILE, sizeof *e->survivors);
    VQ_REQUIRE(e->q_sq != NULL && e->q_err != NULL && e->hits != NULL && e->best != NULL &&
                   e->native != NULL && (e->wide != NULL || !wide) && e->row_no != NULL &&
                   e->scale != NULL && e->bias != NULL && e->norm != NULL && e->dots != NULL &&
                   e->q != NULL && e->survivors != NULL,
               VQ_ENOMEM, "exact: out of memory for %zu queries, k = %zu", e->nq, e->k);
    if (e->bytes) VQ_TRY(bytes_alloc(e, err));
out:
    return rc;
}

/* Query i as bytes; returns the length of what is lost. */
static double make_small(exact *e, size_t i)
{
    vq_panel_query p = vq_panel_query_put(e->small, i, e->base->elem, e->queries + i * e->d, e->d);
    e->q_scale[i] = p.scale;
    e->whole[i] = p.whole ? EXACT_SQ / VQ_MAX(e->q_sq[i], 1.0) : -1.0;
    return p.error;
}

/* A |q| for every query, rounded up by what A has to spare; empty reservoirs. */
static vq_status prepare_queries(exact *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    double a = ((e->bytes ? 0.0 : (double)e->d * 2.0) + 32.0) * 0x1p-24;
    for (size_t i = 0; i < e->nq; i++) {
        const float *q = e->queries + i * e->d;
        for (size_t j = 0; j < e->d; j++)
            VQ_REQUIRE(isfinite(q[j]), VQ_EINVAL, "query %zu has a NaN or an infinity", i);
        e->q_sq[i] = e->kn->sq_row_f32(q, e->d);
        double norm = sqrt(e->q_sq[i]);
        bool usual = norm == 0.0 || (norm >= NORM_MIN && norm <= NORM_MAX);
        double lost = e->bytes ? make_small(e, i) * (1.0 + 0x1p-20) : 0.0;
        e->q_err[i] = usual ? (float)(a * (norm + lost) + lost) : INFINITY;
        vq_reservoir_init(&e->best[i], e->hits + i * 2 * e->k, 2 * e->k, e->k);
    }
out:
    return rc;
}

/* ---- a block of rows ------------------------------------------------------------------------- */

static const float *rows_f32(const exact *e)
{
    return e->wide != NULL ? e->wide : (const float *)e->native;
}

/* Brings a tile of rows into the form that is multiplied and computes their part of the bound. */
static vq_status rows_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    exact *e = ctx;
    size_t from = task * ROW_TILE, to = VQ_MIN(from + ROW_TILE, e->rows);
    size_t row_bytes = e->d * vq_elem_size(e->base->elem);
    const char *native = e->native;
    vq_row_sq_fn row_sq = vq_row_sq(e->kn, e->base->elem);
    if (e->bytes)
        vq_panels_fill(e->panels + vq_panels_size(from, e->d), e->sums + from, e->base->elem,
                       native + from * row_bytes, to - from, e->d);
    if (e->wide != NULL)
        vq_to_f32(e->kn, e->base->elem, native + from * row_bytes, (to - from) * e->d,
                  e->wide + from * e->d);
    for (size_t i = from; i < to; i++) {
        double sq = row_sq(native + i * row_bytes, e->d), norm = sqrt(sq);
        bool cosine = e->opts->metric == VQ_METRIC_COSINE, l2 = e->opts->metric == VQ_METRIC_L2;
        if (e->bytes) e->row_sq[i] = sq;
        e->scale[i] = !cosine ? 1.0f : norm > 0.0 ? (float)(1.0 / norm) : 0.0f;
        e->bias[i] = l2 ? (float)(-0.5 * sq + 0x1p-22 * sq) : 0.0f;
        e->norm[i] = cosine ? 1.0f : (float)norm;
        if (norm != 0.0 && !(norm >= NORM_MIN && norm <= NORM_MAX)) e->norm[i] = INFINITY;
    }
    return VQ_OK;
}

/* What the upper bound of a row must reach, for query i. */
static float threshold(const exact *e, size_t i)
{
    double f = (double)e->best[i].threshold, sq = e->q_sq[i], t;
    if (f == -INFINITY) return -INFINITY;
    double worst = f - fabs(f) * 0x1p-22 - (double)FLT_MIN;
    switch (e->opts->metric) {
    case VQ_METRIC_L2: /* f is minus the distance */
        t = 0.5 * (sq + worst) - ((double)e->d + 16.0) * 0x1p-52 * sq;
        break;
    case VQ_METRIC_COSINE: t = worst * sqrt(sq); break;
    default: t = worst;
    }
    return nextafterf((float)t, -INFINITY);
}

static float upper_bound(const exact *e, float dot, size_t row, float q_err)
{
    return dot * e->scale[row] + e->bias[row] + q_err * e->norm[row];
}

/* The rows of a tile that can be among the best, with their bounds; returns how many.  NaN is no
 * reason to leave a row out. */
static size_t survive(const exact *e, const float *dots, size_t from, size_t n, float q_err,
                      float least, vq_hit *out)
{
    size_t count = 0;
    for (size_t s = 0; s < n; s += STRIP) {
        size_t end = VQ_MIN(s + STRIP, n);
        int any = 0;
        for (size_t i = s; i < end; i++) any |= !(upper_bound(e, dots[i], from + i, q_err) < least);
        if (!any) continue;
        for (size_t i = s; i < end; i++) {
            float upper = upper_bound(e, dots[i], from + i, q_err);
            if (!(upper < least))
                out[count++] = (vq_hit){isnan(upper) ? INFINITY : upper, 0, from + i};
        }
    }
    return count;
}

/* dots: the products of the query with the tile that begins at row `from`; q: room for it. */
static void score_rows(exact *e, size_t query, double *q, const vq_hit *rows, size_t n,
                       const float *dots, size_t from)
{
    bool wide = false; /* q is there */
    const char *native = e->native;
    size_t row_bytes = e->d * vq_elem_size(e->base->elem);
    uint32_t metric = e->opts->metric;
    vq_reservoir *best = &e->best[query];
    for (size_t i = 0; i < n; i++) {
        size_t row = (size_t)rows[i].id;
        float score;
        if (e->bytes && e->row_sq[row] <= e->whole[query]) {
            score = vq_whole_score(metric, (double)dots[row - from], e->q_sq[query], e->row_sq[row],
                                   1.0);
        } else {
            for (size_t j = 0; !wide && j < e->d; j++) q[j] = (double)e->queries[query * e->d + j];
            wide = true;
            score = vq_exact_score(e->kn, metric, e->base->elem, q, e->q_sq[query],
                                   native + row * row_bytes, e->d, 1.0);
        }
        uint64_t id = e->opts->ids != NULL ? e->opts->ids[e->row_no[row]] : e->row_no[row];
        vq_reservoir_push(best, vq_metric_larger(metric) ? score : -score, id);
    }
    /* The threshold is the k-th so far, or of not much earlier. */
    if (best->n >= best->k && (best->threshold == -INFINITY || best->n - best->k >= best->k / 8))
        vq_reservoir_shrink(best);
}

/* One query and one tile of rows.  Where many rows survive (the first tile, say), the k with the
 * best bounds are scored first: they raise the threshold that the others then have to reach. */
static void search_rows(exact *e, size_t query, const float *dots, size_t from, size_t n, double *q,
                        vq_hit *survivors)
{
    size_t count = survive(e, dots, from, n, e->q_err[query], threshold(e, query), survivors);
    if (count == 0) return;
    if (count > e->k) {
        vq_hits_select(survivors, count, e->k);
        score_rows(e, query, q, survivors, e->k, dots, from);
        float least = threshold(e, query);
        size_t kept = 0;
        for (size_t i = e->k; i < count; i++)
            if (!(survivors[i].score < least)) survivors[kept++] = survivors[i];
        count = kept;
    }
    score_rows(e, query, q, survivors, count, dots, from);
}

static vq_status search_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    exact *e = ctx;
    size_t from = task * e->query_tile, n = VQ_MIN(e->nq - from, e->query_tile);
    float *dots = e->dots + (size_t)worker * ROW_TILE * e->query_tile;
    double *q = e->q + (size_t)worker * e->d;
    vq_hit *survivors = e->survivors + (size_t)worker * ROW_TILE;
    for (size_t row = 0; row < e->rows; row += ROW_TILE) {
        size_t rows = VQ_MIN(e->rows - row, ROW_TILE);
        if (e->bytes)
            e->kn->panel_dots(e->panels + vq_panels_size(row, e->d), e->sums + row,
                              (rows + VQ_PANEL - 1) / VQ_PANEL, vq_panel_quads(e->d),
                              e->small + vq_panel_queries_size(from, e->d), e->q_scale + from, n,
                              dots, ROW_TILE);
        else
            vq_gemm_nt(n, rows, e->d, 1.0f, e->queries + from * e->d, e->d,
                       rows_f32(e) + row * e->d, e->d, 0.0f, dots, ROW_TILE);
        for (size_t i = 0; i < n; i++)
            search_rows(e, from + i, dots + i * ROW_TILE, row, rows, q, survivors);
    }
    return VQ_OK;
}

/* ---- the stream ------------------------------------------------------------------------------ */

static vq_status stream(exact *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_ticker ticker = {.fn = e->opts->progress, .ctx = e->opts->progress_ctx};
    uint64_t done = 0, total = e->base->n != VQ_N_UNKNOWN ? e->base->n : 0;
    if (e->base->row != 0) VQ_TRY(vq_source_rewind(e->base, err));
    for (;;) {
        VQ_TRY(vq_tick(&ticker, "exact", done, total, err));
        VQ_TRY(vq_source_read(e->base, e->native, e->block_rows, e->row_no, &e->rows, err));
        if (e->rows == 0) break;
        VQ_TRY(vq_team_run(e->threads, (e->rows + ROW_TILE - 1) / ROW_TILE, rows_task, e, err));
        VQ_TRY(vq_team_run(e->threads, (e->nq + e->query_tile - 1) / e->query_tile, search_task, e,
                           err));
        done += e->rows;
    }
out:
    return rc;
}

static void answer(exact *e, uint64_t *ids, float *scores)
{
    for (size_t i = 0; i < e->nq; i++) {
        size_t n = vq_reservoir_finish(&e->best[i]);
        const vq_hit *hits = e->best[i].hits;
        for (size_t j = 0; j < e->k; j++) {
            bool larger = vq_metric_larger(e->opts->metric);
            ids[i * e->k + j] = j < n ? hits[j].id : VQ_NO_ID;
            if (scores == NULL) continue;
            scores[i * e->k + j] = j >= n ? NAN : larger ? hits[j].score : 0.0f - hits[j].score;
        }
    }
}

vq_status vq_exact(vq_source *base, const float *queries, size_t nq, const vq_exact_opts *opts,
                   uint64_t *ids, float *scores, vq_error *err)
{
    vq_status rc = VQ_OK;
    exact e = {.kn = vq_kernels_get(),
               .opts = opts,
               .base = base,
               .queries = queries,
               .nq = nq,
               .d = base->d,
               .k = opts->k};
    vq_team_blas_enter();
    VQ_REQUIRE(opts->k >= 1, VQ_EINVAL, "exact: k is 0");
    VQ_REQUIRE(opts->metric >= VQ_METRIC_L2 && opts->metric <= VQ_METRIC_COSINE, VQ_EINVAL,
               "exact: metric %u", opts->metric);
    if (nq == 0) goto out;
    e.threads = vq_team(opts->threads, SIZE_MAX);
    /* At least two tiles a thread, of 16 queries or more where there are so many. */
    e.query_tile = nq / (2 * (size_t)e.threads) + 1;
    e.query_tile = VQ_MIN(VQ_MAX(e.query_tile, 16u), QUERY_TILE);
    e.query_tile = VQ_MIN(nq, vq_round_up(e.query_tile, VQ_PANEL_GROUP));
    e.bytes = (base->elem == VQ_I8 || base->elem == VQ_U8) && e.d <= VQ_PANEL_COLUMNS;
    e.block_rows = VQ_MIN(VQ_MAX(BLOCK_FLOATS / e.d, 1u), BLOCK_ROWS);
    VQ_TRY(exact_alloc(&e, err));
    VQ_TRY(prepare_queries(&e, err));
    VQ_TRY(stream(&e, err));
    answer(&e, ids, scores);
out:
    exact_fini(&e);
    vq_team_blas_leave();
    return rc;
}
