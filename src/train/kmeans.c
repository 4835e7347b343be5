/* SPDX-License-Identifier: Apache-2.0 */
/* kmeans.c -- Lloyd's algorithm (Lloyd 1982) from a k-means++ start (Arthur and Vassilvitskii 2007)
 * that draws in batches (after Bahmani et al. 2012).
 *
 * Bits do not depend on the number of threads: rows are assigned in fixed tiles, and a mean is
 * summed by one thread, over the rows of its cluster in rising order.  For that the rows are sorted
 * by cluster (a counting sort), which costs n numbers, where sums per tile would cost k x d each.
 */
#include "src/train/kmeans.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/train/draw.h"

/* Centroids of one GEMM: 256 x 1024 products are 1 MB and stay in the second-level cache, where the
 * argmax finds them. */
#define ASSIGN_COLS 1024u
/* A round that lowers the objective by less than this share is the last. */
#define LEAST_GAIN 1e-5

/* ---- assignment ------------------------------------------------------------------------------ */

void vq_kmeans_bias(const float *centroids, size_t k, size_t d, float *bias)
{
    const vq_kernels *kn = vq_kernels_get();
    for (size_t c = 0; c < k; c++) bias[c] = (float)(-0.5 * kn->sq_row_f32(centroids + c * d, d));
}

static float biased(const float *dots, const float *bias, size_t c)
{
    return bias != NULL ? dots[c] + bias[c] : dots[c];
}

/* The best of columns first..first+cols-1 for every row of a tile, kept if it beats `best`. */
static void merge_argmax(const vq_kernels *kn, const float *dots, size_t n, size_t cols,
                         const float *bias, size_t first, float *best, uint32_t *assign)
{
    for (size_t i = 0; i < n; i++) {
        const float *row = dots + i * cols;
        size_t c = kn->argmax_f32(row, bias, cols);
        float score = biased(row, bias, c);
        if (first == 0 || score > best[i]) { /* ties stay with the smaller number */
            best[i] = score;
            assign[i] = (uint32_t)(first + c);
        }
    }
}

/* At most VQ_ASSIGN_TILE rows; touches n x min(k, ASSIGN_COLS) floats of dots. */
static void assign_tile(const vq_kernels *kn, const float *x, size_t n, size_t d,
                        const float *centroids, const float *bias, size_t k, float *dots,
                        uint32_t *assign)
{
    float best[VQ_ASSIGN_TILE];
    for (size_t c = 0; c < k; c += ASSIGN_COLS) {
        size_t cols = VQ_MIN(k - c, ASSIGN_COLS);
        vq_gemm_nt(n, cols, d, 1.0f, x, d, centroids + c * d, d, 0.0f, dots, cols);
        merge_argmax(kn, dots, n, cols, bias != NULL ? bias + c : NULL, c, best, assign);
    }
}

size_t vq_kmeans_scratch(size_t k)
{
    return VQ_ASSIGN_TILE * VQ_MIN(k, ASSIGN_COLS);
}

void vq_kmeans_assign(const vq_kernels *kn, const float *x, size_t n, size_t d,
                      const float *centroids, const float *bias, size_t k, float *dots,
                      uint32_t *assign)
{
    for (size_t i = 0; i < n; i += VQ_ASSIGN_TILE)
        assign_tile(kn, x + i * d, VQ_MIN(n - i, VQ_ASSIGN_TILE), d, centroids, bias, k, dots,
                    assign + i);
}

/* ---- state ----------------------------------------------------------------------------------- */

typedef struct lloyd {
    const vq_kernels *kn;
    const float *x; /* n x d */
    size_t n, d, k;
    int threads;
    size_t dots_size; /* floats of dots a thread has */
    float *centroids; /* k x d, the caller's */
    /* owned */
    float *unit;      /* k x d: what rows are compared with if spherical, else NULL */
    float *bias;      /* k */
    float *dots;      /* threads x dots_size */
    float *gather;    /* threads x tile x d: rows of the start's sample */
    double *sums;     /* threads x d */
    uint32_t *assign; /* n */
    uint32_t *order;  /* n: rows by cluster, rising within */
    size_t *first;    /* k + 1: where a cluster begins in order */
    float *dist;      /* n: squared distance to the own mean, or to the start so far */
    double *part;     /* k: what a cluster adds to the loss */
    double *along;    /* k: the length of a cluster's sum */
    /* the start */
    size_t sample;    /* rows of the sample, their numbers in order[] */
    size_t at, batch; /* centroids at..at+batch-1 are new */
} lloyd;

static void lloyd_fini(lloyd *s)
{
    vq_mem_free(s->unit);
    vq_mem_free(s->bias);
    vq_mem_free(s->dots);
    vq_mem_free(s->gather);
    vq_mem_free(s->sums);
    vq_mem_free(s->assign);
    vq_mem_free(s->order);
    vq_mem_free(s->first);
    vq_mem_free(s->dist);
    vq_mem_free(s->part);
    vq_mem_free(s->along);
}

static vq_status lloyd_init(lloyd *s, bool spherical, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t workers = (size_t)s->threads, tile = VQ_MIN(s->n, VQ_ASSIGN_TILE), tile_rows;
    s->dots_size = tile * VQ_MIN(s->k, ASSIGN_COLS);
    VQ_REQUIRE(vq_mul_size(workers, tile, &tile_rows), VQ_EINVAL, "k-means: too many threads");
    s->unit = spherical ? vq_alloc_f32(s->k, s->d) : NULL;
    s->bias = vq_alloc_f32(s->k, 1);
    s->dots = vq_alloc_f32(workers, s->dots_size);
    s->gather = vq_alloc_f32(tile_rows, s->d);
    s->sums = vq_mem_alloc(workers * s->d, sizeof *s->sums);
    s->assign = vq_mem_alloc(s->n, sizeof *s->assign);
    s->order = vq_mem_alloc(s->n, sizeof *s->order);
    s->first = vq_mem_alloc(s->k + 1, sizeof *s->first);
    s->dist = vq_alloc_f32(s->n, 1);
    s->part = vq_mem_alloc(s->k, sizeof *s->part);
    s->along = vq_mem_alloc(s->k, sizeof *s->along);
    VQ_REQUIRE((!spherical || s->unit != NULL) && s->bias != NULL && s->dots != NULL &&
                   s->gather != NULL && s->sums != NULL && s->assign != NULL && s->order != NULL &&
                   s->first != NULL && s->dist != NULL && s->part != NULL && s->along != NULL,
               VQ_ENOMEM, "k-means: out of memory for %zu rows, %zu centroids of %zu dimensions",
               s->n, s->k, s->d);
out:
    return rc;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Lowers the distances of a tile of the sample by the centroids of the last batch.  The nearest of
 * them is found by GEMM; its distance is computed afresh, so that it is 0 for the row itself. */
static vq_status start_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    lloyd *s = ctx;
    size_t i0 = task * VQ_ASSIGN_TILE, n = VQ_MIN(s->sample - i0, VQ_ASSIGN_TILE);
    float *rows = s->gather + (size_t)worker * VQ_MIN(s->n, VQ_ASSIGN_TILE) * s->d;
    const float *batch = s->centroids + s->at * s->d;
    for (size_t i = 0; i < n; i++)
        memcpy(rows + i * s->d, s->x + s->order[i0 + i] * s->d, s->d * sizeof *rows);
    assign_tile(s->kn, rows, n, s->d, batch, s->bias + s->at, s->batch,
                s->dots + (size_t)worker * s->dots_size, s->assign + i0);
    for (size_t i = 0; i < n; i++) {
        float dist = s->kn->l2sq_f32(rows + i * s->d, batch + s->assign[i0 + i] * s->d, s->d);
        if (dist < s->dist[i0 + i]) s->dist[i0 + i] = dist;
    }
    return VQ_OK;
}

/* k-means++ on a sample.  The first centroids are drawn one by one, then in batches of a quarter of
 * those there are: within a batch draws do not see each other, which costs little once there are
 * many and turns the distances into GEMM. */
static vq_status start(lloyd *s, uint64_t seed, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_rng rng;
    vq_rng_init(&rng, seed, 0);
    size_t want = s->k <= s->n / 8 ? 8 * s->k : s->n;
    s->sample = VQ_MIN(s->n, VQ_MAX(want, 4096u));
    vq_draw_rows(&rng, s->n, s->sample, s->order);
    for (size_t i = 0; i < s->sample; i++) s->dist[i] = INFINITY;

    uint32_t *drawn = s->assign; /* at most batch of them, copied before the tiles write there */
    size_t tiles = (s->sample + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE, got = 1;
    drawn[0] = (uint32_t)vq_rng_below(&rng, s->sample);
    for (s->at = 0; s->at < s->k; s->at += got) {
        if (s->at > 0)
            got = vq_draw_weighted(&rng, s->dist, s->sample,
                                   VQ_MIN(s->k - s->at, VQ_MAX(s->at / 4, 1u)), drawn);
        if (got == 0) { /* no distinct row is left, or distances overflow */
            drawn[0] = (uint32_t)vq_rng_below(&rng, s->sample);
            got = 1;
        }
        for (size_t c = 0; c < got; c++)
            memcpy(s->centroids + (s->at + c) * s->d, s->x + s->order[drawn[c]] * s->d,
                   s->d * sizeof *s->centroids);
        if (s->at + got == s->k) break;
        s->batch = got;
        vq_kmeans_bias(s->centroids + s->at * s->d, got, s->d, s->bias + s->at);
        VQ_TRY(vq_team_run(s->threads, tiles, start_task, s, err));
    }
out:
    return rc;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static vq_status assign_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    lloyd *s = ctx;
    size_t i0 = task * VQ_ASSIGN_TILE, n = VQ_MIN(s->n - i0, VQ_ASSIGN_TILE);
    bool spherical = s->unit != NULL;
    assign_tile(s->kn, s->x + i0 * s->d, n, s->d, spherical ? s->unit : s->centroids,
                spherical ? NULL : s->bias, s->k, s->dots + (size_t)worker * s->dots_size,
                s->assign + i0);
    return VQ_OK;
}

void vq_kmeans_sort(const uint32_t *assign, size_t n, size_t k, size_t *first, uint32_t *order)
{
    memset(first, 0, (k + 1) * sizeof *first);
    for (size_t i = 0; i < n; i++) first[assign[i] + 1]++;
    for (size_t c = 0; c < k; c++) first[c + 1] += first[c];
    for (size_t i = 0; i < n; i++) order[first[assign[i]]++] = (uint32_t)i;
    memmove(first + 1, first, k * sizeof *first);
    first[0] = 0;
}

/* The mean of one cluster and the distances of its rows to it. */
static vq_status update_task(void *ctx, size_t c, int worker, vq_error *err)
{
    (void)err;
    lloyd *s = ctx;
    size_t d = s->d, begin = s->first[c], end = s->first[c + 1];
    double *sum = s->sums + (size_t)worker * d, length = 0.0, part = 0.0;
    float *centroid = s->centroids + c * d;
    s->part[c] = s->along[c] = 0.0;
    if (begin == end) return VQ_OK;
    for (size_t j = 0; j < d; j++) sum[j] = 0.0;
    for (size_t i = begin; i < end; i++) {
        const float *row = s->x + s->order[i] * d;
        for (size_t j = 0; j < d; j++) sum[j] += (double)row[j];
    }
    double inv = 1.0 / (double)(end - begin);
    for (size_t j = 0; j < d; j++) {
        length += sum[j] * sum[j];
        centroid[j] = (float)(sum[j] * inv);
    }
    for (size_t i = begin; i < end; i++) {
        float dist = s->kn->l2sq_f32(s->x + s->order[i] * d, centroid, d);
        s->dist[s->order[i]] = dist;
        part += (double)dist;
    }
    s->part[c] = part;
    s->along[c] = sqrt(length);
    return VQ_OK;
}

/* What rows are compared with: bias of the means, or the means at unit length (0 stays 0). */
static void prepare(lloyd *s)
{
    if (s->unit == NULL) {
        vq_kmeans_bias(s->centroids, s->k, s->d, s->bias);
        return;
    }
    for (size_t c = 0; c < s->k; c++) {
        const float *from = s->centroids + c * s->d;
        double sq = s->kn->sq_row_f32(from, s->d), inv = sq > 0.0 ? 1.0 / sqrt(sq) : 0.0;
        for (size_t j = 0; j < s->d; j++) s->unit[c * s->d + j] = (float)((double)from[j] * inv);
    }
}

/* An empty cluster gets a row of another: drawn by squared distance to the own mean, as k-means++
 * would, so that clusters are split where the loss is.  Returns how many were filled; none if all
 * rows lie on their means. */
static size_t fill_empty(lloyd *s, vq_rng *rng)
{
    size_t empty = 0, filled = 0;
    for (size_t c = 0; c < s->k; c++) empty += s->first[c] == s->first[c + 1];
    size_t got = vq_draw_weighted(rng, s->dist, s->n, empty, s->order);
    for (size_t c = 0; c < s->k && filled < got; c++)
        if (s->first[c] == s->first[c + 1])
            memcpy(s->centroids + c * s->d, s->x + s->order[filled++] * s->d,
                   s->d * sizeof *s->centroids);
    return filled;
}

/* One round.  *loss as in the header; *objective is what the rounds lower: the loss, or minus the
 * summed products with the unit centroids (Dhillon and Modha 2001) if spherical. */
static vq_status one_round(lloyd *s, double *loss, double *objective, vq_error *err)
{
    vq_status rc = VQ_OK;
    double part = 0.0, along = 0.0;
    prepare(s);
    VQ_TRY(
        vq_team_run(s->threads, (s->n + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE, assign_task, s, err));
    vq_kmeans_sort(s->assign, s->n, s->k, s->first, s->order);
    VQ_TRY(vq_team_run(s->threads, s->k, update_task, s, err));
    for (size_t c = 0; c < s->k; c++) {
        part += s->part[c];
        along += s->along[c];
    }
    *loss = part / (double)s->n;
    *objective = s->unit != NULL ? -along : part;
out:
    return rc;
}

vq_status vq_kmeans(const float *x, size_t n, size_t d, const vq_kmeans_opts *opts,
                    float *centroids, double *loss, vq_error *err)
{
    vq_status rc = VQ_OK;
    lloyd s = {.kn = vq_kernels_get(),
               .x = x,
               .n = n,
               .d = d,
               .k = opts->k,
               .threads = opts->threads,
               .centroids = centroids};
    unsigned rounds = VQ_MAX(opts->iters, 1u);
    double mean = 0.0, objective = 0.0, before = INFINITY;
    vq_rng rng;
    vq_team_blas_enter();
    VQ_REQUIRE(opts->k >= 1 && opts->k <= n && n <= UINT32_MAX && d >= 1 && opts->threads > 0,
               VQ_EINVAL, "k-means: %zu centroids of %zu rows of %zu dimensions, %d threads",
               opts->k, n, d, opts->threads);
    VQ_TRY(lloyd_init(&s, opts->spherical, err));
    vq_rng_init(&rng, opts->seed, 1);
    VQ_TRY(vq_tick(opts->ticker, opts->phase, 0, rounds, err));
    VQ_TRY(start(&s, opts->seed, err));
    for (unsigned round = 0; round < rounds; round++) {
        VQ_TRY(vq_tick(opts->ticker, opts->phase, round, rounds, err));
        VQ_TRY(one_round(&s, &mean, &objective, err));
        size_t filled = fill_empty(&s, &rng);
        if (filled == 0 && !(before - objective > LEAST_GAIN * fabs(objective))) break;
        before = objective;
    }
    VQ_TRY(vq_tick(opts->ticker, opts->phase, rounds, rounds, err));
    if (loss != NULL) *loss = mean;
out:
    lloyd_fini(&s);
    vq_team_blas_leave();
    return rc;
}
