/* SPDX-License-Identifier: Apache-2.0 */
/* kmeans_many.c -- k-means for many centroids in two levels: the rows in some sqrt(k) clusters,
 * each of these by itself, with its share of the centroids; then rounds over all rows, which are
 * assigned through the groups of centroids that have come of it. */
#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"
#include "src/train/nearest.h"

enum {
    COARSE_ROUNDS = 10,
    COARSE_ROWS = 256, /* for each cluster of the first level */
    ROUNDS = 2,        /* over all rows, at the end */
    ASKED = 512        /* rows that the groups' rule is measured with */
};

typedef struct many {
    const float *x; /* n x d */
    size_t n, d, k;
    const vq_kmeans_opts *opts;
    float *centroids; /* k x d, the caller's */
    size_t count;     /* clusters of the first level */
    /* owned */
    uint32_t *assign, *order; /* n: the cluster; rows by cluster, rising within */
    size_t *first, *at; /* count + 1 (later k + 1): where a cluster's rows begin; its centroids */
    float *sizes;       /* count: centroids of a cluster */
    float *unit;        /* k x d: what rows are compared with if spherical, else NULL */
    double *part;       /* k: what a centroid's rows add to the loss */
    double *share;      /* count: what a cluster's centroids are dealt by */
    vq_nearest near;
    float *scratch; /* of each worker */
    size_t scratch_size;
} many;

static void many_fini(many *s)
{
    vq_mem_free(s->assign);
    vq_mem_free(s->order);
    vq_mem_free(s->first);
    vq_mem_free(s->at);
    vq_mem_free(s->sizes);
    vq_mem_free(s->unit);
    vq_mem_free(s->part);
    vq_mem_free(s->share);
    vq_nearest_fini(&s->near);
    vq_mem_free(s->scratch);
}

static vq_status many_init(many *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    s->count = VQ_MAX((size_t)lround(sqrt((double)s->k)), (size_t)1);
    s->assign = vq_mem_alloc(s->n, sizeof *s->assign);
    s->order = vq_mem_alloc(s->n, sizeof *s->order);
    s->first = vq_mem_alloc(s->k + 1, sizeof *s->first);
    s->at = vq_mem_alloc(s->count + 1, sizeof *s->at);
    s->sizes = vq_alloc_f32(1, s->count);
    s->unit = s->opts->spherical ? vq_alloc_f32(s->k, s->d) : NULL;
    s->part = vq_mem_alloc(s->k, sizeof *s->part);
    s->share = vq_mem_alloc(s->count, sizeof *s->share);
    VQ_REQUIRE(s->assign != NULL && s->order != NULL && s->first != NULL && s->at != NULL &&
                   s->sizes != NULL && (s->unit != NULL || !s->opts->spherical) &&
                   s->part != NULL && s->share != NULL,
               VQ_ENOMEM, "k-means: out of memory for %zu rows, %zu centroids of %zu dimensions",
               s->n, s->k, s->d);
out:
    return rc;
}

static vq_status assign_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    many *s = ctx;
    size_t first = task * VQ_ASSIGN_TILE, n = VQ_MIN(s->n - first, (size_t)VQ_ASSIGN_TILE);
    vq_nearest_assign(&s->near, s->x + first * s->d, n,
                      s->scratch + (size_t)worker * s->scratch_size, s->assign + first);
    return VQ_OK;
}

/* All rows to the nearest of n centroids, which are in `count` groups, or none. */
static vq_status assign_all(many *s, const float *centroids, size_t n, size_t count, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t tiles = (s->n + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE, some = VQ_MIN(s->n, (size_t)ASKED);
    static const size_t wants[] = {VQ_NEAREST_WANT};
    float *asked = NULL;
    VQ_TRY(vq_nearest_init(&s->near, centroids, n, s->d, s->sizes, count, (vq_group_rule){0}, err));
    s->scratch_size = vq_nearest_scratch(&s->near);
    s->scratch = vq_alloc_f32((size_t)s->opts->threads, s->scratch_size);
    VQ_REQUIRE(s->scratch != NULL, VQ_ENOMEM, "k-means: %zu centroids", n);
    if (count > 0) {
        asked = vq_alloc_f32(some, s->d);
        VQ_REQUIRE(asked != NULL, VQ_ENOMEM, "k-means: %zu rows", some);
        for (size_t i = 0; i < some; i++)
            memcpy(asked + i * s->d, s->x + vq_spaced_row(s->n, some, i) * s->d,
                   s->d * sizeof *asked);
        VQ_TRY(vq_groups_rule_for(&s->near.groups, asked, some, wants, 1, VQ_NEAREST_SURE,
                                  s->opts->threads, &s->near.rule, err));
    }
    VQ_TRY(vq_team_run(s->opts->threads, tiles, assign_task, s, err));
out:
    vq_mem_free(asked);
    vq_nearest_fini(&s->near);
    vq_mem_free(s->scratch);
    s->scratch = NULL;
    return rc;
}

/* The mean of a centroid's rows; without any it stays. */
static vq_status update_task(void *ctx, size_t c, int worker, vq_error *err)
{
    (void)err;
    (void)worker;
    enum { COLS = 256 };
    many *s = ctx;
    size_t d = s->d, begin = s->first[c], end = s->first[c + 1];
    float *centroid = s->centroids + c * d;
    const vq_kernels *k = vq_kernels_get();
    s->part[c] = 0.0;
    if (begin == end) return VQ_OK;
    for (size_t j0 = 0; j0 < d; j0 += COLS) {
        double sum[COLS] = {0};
        size_t cols = VQ_MIN(d - j0, (size_t)COLS);
        for (size_t i = begin; i < end; i++) {
            const float *row = s->x + (size_t)s->order[i] * d + j0;
            for (size_t j = 0; j < cols; j++) sum[j] += (double)row[j];
        }
        for (size_t j = 0; j < cols; j++)
            centroid[j0 + j] = (float)(sum[j] / (double)(end - begin));
    }
    for (size_t i = begin; i < end; i++)
        s->part[c] += (double)k->l2sq_f32(s->x + (size_t)s->order[i] * d, centroid, d);
    return VQ_OK;
}

/* The first level: all rows in count clusters, learnt from some of them. */
static vq_status divide(many *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t some = VQ_MIN(s->n, VQ_MAX(s->count * COARSE_ROWS, (size_t)65536));
    float *rows = vq_alloc_f32(some, s->d), *centres = vq_alloc_f32(s->count, s->d);
    vq_kmeans_opts o = *s->opts;
    VQ_REQUIRE(rows != NULL && centres != NULL, VQ_ENOMEM, "k-means: %zu x %zu floats", some, s->d);
    for (size_t i = 0; i < some; i++)
        memcpy(rows + i * s->d, s->x + vq_spaced_row(s->n, some, i) * s->d, s->d * sizeof *rows);
    o.k = s->count, o.iters = COARSE_ROUNDS, o.spherical = false, o.ticker = NULL;
    VQ_TRY(vq_kmeans(rows, some, s->d, &o, centres, NULL, err));
    vq_mem_free(rows);
    rows = NULL;
    VQ_TRY(assign_all(s, centres, s->count, 0, err));
    vq_kmeans_sort(s->assign, s->n, s->count, s->first, s->order);
    VQ_TRY(vq_team_run(s->opts->threads, s->count, update_task, s, err));
out:
    vq_mem_free(rows);
    vq_mem_free(centres);
    return rc;
}

/* Each cluster's centroids: one, and of the others its share by what its rows vary by in all, with
 * their number (a cluster of rows that are alike needs no more); never more than rows, and of what
 * rounding leaves those get one that have the largest share for each they have. */
static void deal(many *s)
{
    size_t left = s->k;
    double all = 0.0;
    for (size_t c = 0; c < s->count; c++) {
        s->share[c] = sqrt((double)(s->first[c + 1] - s->first[c]) * s->part[c]);
        all += s->share[c];
        s->sizes[c] = s->first[c + 1] > s->first[c] ? 1.0f : 0.0f;
        left -= (size_t)s->sizes[c];
    }
    double others = (double)left;
    for (size_t c = 0; c < s->count && all > 0.0; c++) {
        double rows = (double)(s->first[c + 1] - s->first[c]), more = others * s->share[c] / all;
        more = floor(VQ_MIN(more, rows - (double)s->sizes[c]));
        s->sizes[c] += (float)more;
        left -= (size_t)more;
    }
    while (left > 0) {
        size_t best = s->count;
        double most = -1.0;
        for (size_t c = 0; c < s->count; c++) {
            double rows = (double)(s->first[c + 1] - s->first[c]), has = (double)s->sizes[c];
            if (has >= rows || s->share[c] / (has + 1.0) <= most) continue;
            most = s->share[c] / (has + 1.0);
            best = c;
        }
        s->sizes[best] += 1.0f;
        left--;
    }
    s->at[0] = 0;
    for (size_t c = 0; c < s->count; c++) s->at[c + 1] = s->at[c] + (size_t)s->sizes[c];
}

/* One cluster by itself. */
static vq_status cluster_task(void *ctx, size_t c, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    many *s = ctx;
    (void)worker;
    size_t n = s->first[c + 1] - s->first[c], k = s->at[c + 1] - s->at[c];
    float *rows = NULL;
    if (k == 0) goto out;
    rows = vq_alloc_f32(n, s->d);
    VQ_REQUIRE(rows != NULL, VQ_ENOMEM, "k-means: %zu x %zu floats", n, s->d);
    for (size_t i = 0; i < n; i++)
        memcpy(rows + i * s->d, s->x + (size_t)s->order[s->first[c] + i] * s->d,
               s->d * sizeof *rows);
    vq_kmeans_opts o = *s->opts;
    o.k = k, o.seed = s->opts->seed + c, o.threads = 1, o.ticker = NULL;
    VQ_TRY(vq_kmeans(rows, n, s->d, &o, s->centroids + s->at[c] * s->d, NULL, err));
out:
    vq_mem_free(rows);
    return rc;
}

typedef struct clusters { /* a part of them */
    many *s;
    size_t first;
} clusters;

static vq_status clusters_task(void *ctx, size_t task, int worker, vq_error *err)
{
    const clusters *p = ctx;
    return cluster_task(p->s, p->first + task, worker, err);
}

/* The second level, a few clusters at a time. */
static vq_status split_all(many *s, vq_error *err)
{
    enum { TOGETHER = 32 };
    vq_status rc = VQ_OK;
    for (size_t first = 0; first < s->count; first += TOGETHER) {
        clusters p = {.s = s, .first = first};
        VQ_TRY(vq_tick(s->opts->ticker, s->opts->phase, first, s->count + 1, err));
        VQ_TRY(vq_team_run(s->opts->threads, VQ_MIN(s->count - first, (size_t)TOGETHER),
                           clusters_task, &p, err));
    }
out:
    return rc;
}

/* The means at unit length; 0 stays 0. */
static void make_unit(many *s)
{
    const vq_kernels *k = vq_kernels_get();
    for (size_t c = 0; c < s->k; c++) {
        const float *from = s->centroids + c * s->d;
        double sq = k->sq_row_f32(from, s->d), inv = sq > 0.0 ? 1.0 / sqrt(sq) : 0.0;
        for (size_t j = 0; j < s->d; j++) s->unit[c * s->d + j] = (float)((double)from[j] * inv);
    }
}

vq_status vq_kmeans_many(const float *x, size_t n, size_t d, const vq_kmeans_opts *opts,
                         float *centroids, double *loss, vq_error *err)
{
    vq_status rc = VQ_OK;
    many s = {.x = x, .n = n, .d = d, .k = opts->k, .opts = opts, .centroids = centroids};
    size_t groups = 0;
    vq_team_blas_enter();
    VQ_REQUIRE(opts->k >= 1 && opts->k <= n && n <= UINT32_MAX && d >= 1 && opts->threads > 0,
               VQ_EINVAL, "k-means: %zu centroids of %zu rows of %zu dimensions, %d threads",
               opts->k, n, d, opts->threads);
    VQ_TRY(many_init(&s, err));
    VQ_TRY(vq_tick(opts->ticker, opts->phase, 0, s.count + 1, err));
    VQ_TRY(divide(&s, err));
    deal(&s);
    VQ_TRY(split_all(&s, err));
    for (size_t c = 0; c < s.count; c++)
        if (s.sizes[c] > 0.0f) s.sizes[groups++] = s.sizes[c];
    for (unsigned round = 0; round < ROUNDS; round++) {
        VQ_TRY(vq_tick(opts->ticker, opts->phase, s.count, s.count + 1, err));
        if (s.unit != NULL) make_unit(&s);
        VQ_TRY(assign_all(&s, s.unit != NULL ? s.unit : centroids, s.k, groups, err));
        vq_kmeans_sort(s.assign, s.n, s.k, s.first, s.order);
        VQ_TRY(vq_team_run(opts->threads, s.k, update_task, &s, err));
    }
    double sum = 0.0;
    for (size_t c = 0; c < s.k; c++) sum += s.part[c];
    if (loss != NULL) *loss = sum / (double)n;
    VQ_TRY(vq_tick(opts->ticker, opts->phase, s.count + 1, s.count + 1, err));
out:
    many_fini(&s);
    vq_team_blas_leave();
    return rc;
}
