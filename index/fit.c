/* SPDX-License-Identifier: Apache-2.0 */
/* fit.c -- see fit.h.  In order: axes of the data (those worth no bits are dropped), lists by
 * k-means in these axes, axes of the residuals dealt to sub-spaces and turned by OPQ, codebooks of
 * the turned residuals.  Turns after the first axes are orthonormal, so the lists stay what they
 * are; where queries train, the first axes are those of a whitened space. */
#include "index/fit.h"

#include <math.h>
#include <string.h>

#include "index/grouping.h"
#include "index/nearpairs.h"
#include "index/spill.h"
#include "src/math/blas.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"
#include "src/train/rotation.h"
#include "src/train/whiten.h"

enum {
    BLOCK = 1024, /* rows transformed at a time */
    PCA_ROWS = 16384,
    OPQ_ROWS = 16384,
    OPQ_ROUNDS = 6,
    CODEC_ROWS = 32768,
    KMEANS_ITERS = 8
};

/* How far H = E[q q^T] is shrunk towards the identity: flat between .1 and .5 on held-out queries,
 * worse below. */
#define WHITEN_RHO 0.1
/* Of the variance, that kept axes hold at least.  With 16 bytes of OPQ, .85 costs packages'
 * descriptions .05 of 10@10 (pictures keep more anyway); what queries teach gains up to .997. */
#define LEAST_SHARE  0.95
#define TAUGHT_SHARE 0.997
#define BARS_SHARE   0.99999 /* an error bar does not know of what is dropped */
#define WORTH_COPIES 0.9

typedef struct fit {
    vq_plan *p;
    vq_fitted *out;
    const vq_kernels *k;
    vq_ticker *ticker;
    const uint8_t *rows;
    uint32_t elem;
    size_t n;
    const vq_queries *queries;
    float *to_rows, *to_queries; /* d x d: the whitening, where queries weigh the error; or NULL */
    float *y;                    /* n x d_code: the sample in coded space, later its residuals */
    uint32_t *lists;             /* n: of these, from then on */
} fit;

void vq_fitted_fini(vq_fitted *f)
{
    vq_mem_free(f->mean);
    vq_mem_free(f->matrix);
    vq_mem_free(f->query_matrix);
    vq_mem_free(f->centroids);
    vq_mem_free(f->routes);
    vq_mem_free(f->biases);
    vq_mem_free(f->params);
    vq_mem_free(f->groups);
    memset(f, 0, sizeof *f);
}

void vq_fit_normalize(const vq_kernels *k, float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        double sq = k->sq_row_f32(x + i * d, d);
        float inv = sq > 0.0 ? (float)(1.0 / sqrt(sq)) : 0.0f;
        for (size_t j = 0; j < d; j++) x[i * d + j] *= inv;
    }
}

static void widen(const vq_model *m, const vq_kernels *k, uint32_t elem, const void *rows, size_t n,
                  float *wide)
{
    vq_to_f32(k, elem, rows, n * m->d, wide);
    if (m->metric == VQ_METRIC_COSINE) vq_fit_normalize(k, wide, n, m->d);
}

void vq_fit_encode_space(const vq_model *m, const vq_kernels *k, uint32_t elem, const void *rows,
                         size_t n, float *wide, float *coded)
{
    widen(m, k, elem, rows, n, wide);
    vq_transform_many(&m->transform, k, wide, n, coded);
}

/* Rows (n x d) less their mean, which is kept, into the space in which error counts as queries feel
 * it. */
static vq_status whiten_rows(fit *f, float **x, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = f->p->model.d;
    float *white = vq_alloc_f32(n, d);
    VQ_REQUIRE(white != NULL, VQ_ENOMEM, "axes: %zu x %zu floats", n, d);
    for (size_t j = 0; j < d; j++) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++) sum += (double)(*x)[i * d + j];
        f->out->mean[j] = (float)(sum / (double)n);
    }
    vq_gemm_nt(n, d, d, 1.0f, *x, d, f->to_rows, d, 0.0f, white, d);
    vq_mem_free(*x);
    *x = white;
out:
    return rc;
}

static vq_status find_whitening(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t d = m->d;
    if (!f->p->whiten) goto out;
    f->to_rows = vq_alloc_f32(d, d);
    f->to_queries = vq_alloc_f32(d, d);
    VQ_REQUIRE(f->to_rows != NULL && f->to_queries != NULL, VQ_ENOMEM,
               "whitening: %zu x %zu floats", d, d);
    VQ_TRY(vq_whiten(f->queries->x, f->queries->n, d, WHITEN_RHO, f->p->threads, f->to_rows,
                     f->to_queries, err));
out:
    return rc;
}

/* The rows of out (keep x d, then zeros) = axes (keep x d) * right (d x d), or axes if right is
 * NULL. */
static float *make_matrix(const float *axes, size_t keep, size_t rows, const float *right, size_t d)
{
    float *out = vq_mem_calloc(rows * d, sizeof *out);
    if (out == NULL) return NULL;
    if (right != NULL)
        vq_gemm_nn(keep, d, d, 1.0f, axes, d, right, d, 0.0f, out, d);
    else
        memcpy(out, axes, keep * d * sizeof *axes);
    return out;
}

/* Principal axes of a part of the sample; drops those that deserve no bits. */
static vq_status find_axes(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    size_t d = m->d, n = VQ_MIN(f->n, VQ_MAX((size_t)PCA_ROWS, 4 * d)),
           size = vq_elem_size(f->elem);
    float *x = vq_alloc_f32(n, d), *axes = vq_alloc_f32(d, d), *mean = vq_alloc_f32(1, d);
    double *variances = vq_mem_alloc(d, sizeof *variances);
    VQ_REQUIRE(x != NULL && axes != NULL && mean != NULL && variances != NULL, VQ_ENOMEM,
               "axes: %zu x %zu floats", n, d);
    for (size_t i = 0; i < n; i++)
        widen(m, f->k, f->elem, f->rows + vq_spaced_row(f->n, n, i) * d * size, 1, x + i * d);
    VQ_TRY(find_whitening(f, err));
    if (f->to_rows != NULL) VQ_TRY(whiten_rows(f, &x, n, err));
    VQ_TRY(vq_pca(x, n, d, 1, f->p->threads, f->to_rows != NULL ? mean : f->out->mean, axes,
                  variances, err));
    vq_mem_free(x);
    x = NULL;
    size_t keep = d, codes = m->codec->codewords;
    double bits = codes != 0 ? m->m * log2((double)codes) : 8.0 * m->codec->code_bytes(m->d, m->m);
    /* Where queries teach, every axis that earns a bit stays: they tell which error matters.  And
     * the lists' centroids, which cost no bits, need what few bits would not pay for. */
    if (m->codec->axes && (f->p->whiten || codes == 0))
        keep = VQ_MAX(vq_waterfill(variances, d, bits),
                      vq_axes_holding(variances, d, codes == 0 ? BARS_SHARE : TAUGHT_SHARE));
    else if (codes != 0)
        keep = VQ_MAX(vq_axes_worth(variances, d, m->m, codes),
                      vq_axes_holding(variances, d, LEAST_SHARE));
    m->d_code = vq_coded_dims(m->codec, (uint32_t)keep, m->m);
    keep = VQ_MIN(m->d_code, d);
    f->out->matrix = make_matrix(axes, keep, m->d_code, f->to_rows, d);
    m->query_map = m->train != VQ_TRAIN_KMEANS && m->metric != VQ_METRIC_L2;
    if (m->query_map) f->out->query_matrix = make_matrix(axes, keep, m->d_code, f->to_queries, d);
    VQ_REQUIRE(f->out->matrix != NULL && (!m->query_map || f->out->query_matrix != NULL), VQ_ENOMEM,
               "axes: %u x %zu floats", m->d_code, d);
    m->transform_kind = VQ_TRANSFORM_DENSE;
    if (m->codec->axes && keep < d)
        vq_plan_note(f->p, "axes %zu of %zu: the others hold too little", keep, d);
out:
    vq_mem_free(x);
    vq_mem_free(axes);
    vq_mem_free(mean);
    vq_mem_free(variances);
    return rc;
}

static vq_status choose_transform(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    f->out->mean = vq_mem_calloc(m->d, sizeof(float));
    VQ_REQUIRE(f->out->mean != NULL, VQ_ENOMEM, "mean: %u floats", m->d);
    m->d_code = vq_coded_dims(m->codec, m->d, m->m);
    if (m->rotation == VQ_ROTATION_NONE)
        m->transform_kind = VQ_TRANSFORM_IDENTITY;
    else if (m->rotation == VQ_ROTATION_RANDOM)
        m->transform_kind = VQ_TRANSFORM_HADAMARD;
    else
        VQ_TRY(find_axes(f, err));
    m->mean = f->out->mean;
    m->matrix = f->out->matrix;
    m->query_matrix = f->out->query_matrix;
    vq_model_derive(m, 0);
out:
    return rc;
}

typedef struct block_task {
    fit *f;
    float *wide; /* threads x BLOCK x d */
} block_task;

static vq_status transform_block(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    block_task *t = ctx;
    fit *f = t->f;
    const vq_model *m = &f->p->model;
    size_t first = task * BLOCK, n = VQ_MIN(f->n - first, (size_t)BLOCK);
    vq_fit_encode_space(m, f->k, f->elem, f->rows + first * m->d * vq_elem_size(f->elem), n,
                        t->wide + (size_t)worker * BLOCK * m->d, f->y + first * m->d_code);
    return VQ_OK;
}

static vq_status transform_sample(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t blocks = (f->n + BLOCK - 1) / BLOCK;
    int threads = vq_team((uint32_t)f->p->threads, blocks);
    block_task t = {.f = f, .wide = vq_alloc_f32((size_t)threads * BLOCK, m->d)};
    f->y = vq_alloc_f32(f->n, m->d_code);
    VQ_REQUIRE(t.wide != NULL && f->y != NULL, VQ_ENOMEM, "sample: %zu x %u floats", f->n,
               m->d_code);
    VQ_TRY(vq_team_run(threads, blocks, transform_block, &t, err));
out:
    vq_mem_free(t.wide);
    return rc;
}

/* Training queries, where they have a space of their own, in it; the caller frees them.  None:
 * NULL.
 */
static vq_status turn_queries(const fit *f, float **queries, size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    *queries = NULL;
    *n = f->p->whiten ? f->queries->n : 0;
    if (*n == 0) goto out;
    *queries = vq_alloc_f32(*n, m->d_code);
    VQ_REQUIRE(*queries != NULL, VQ_ENOMEM, "training: %zu queries", *n);
    vq_gemm_nt(*n, m->d_code, m->d, 1.0f, f->queries->x, m->d, m->query_matrix, m->d, 0.0f,
               *queries, m->d_code);
out:
    return rc;
}

/* Copies cost bytes and a longer build: do they spare a tenth of the reading? */
static vq_status weigh_copies(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t nq;
    float *queries;
    vq_spill_gain gain;
    VQ_TRY(turn_queries(f, &queries, &nq, err));
    VQ_TRY(vq_tick(f->ticker, "copies", 0, 1, err));
    VQ_TRY(vq_spill_measure(m, f->y, f->n, queries, nq, f->p->threads, &gain, err));
    f->p->copies = gain.with <= WORTH_COPIES * gain.without;
    vq_plan_note(f->p,
                 "copies %s: with them %.2g %% of the sample is read for .95 of the neighbours, "
                 "without %.2g %%",
                 f->p->copies ? "yes" : "no", 100.0 * gain.with, 100.0 * gain.without);
out:
    vq_mem_free(queries);
    return rc;
}

static vq_status find_lists(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    f->out->centroids = vq_alloc_f32(m->nlist, m->d_code);
    VQ_REQUIRE(f->out->centroids != NULL, VQ_ENOMEM, "centroids: %u x %u floats", m->nlist,
               m->d_code);
    if (m->nlist > f->n) {
        vq_plan_note(f->p, "nlist %zu instead of %u: the sample is no larger", f->n, m->nlist);
        m->nlist = (uint32_t)f->n;
        m->nprobe = VQ_MIN(m->nprobe, m->nlist);
    }
    vq_kmeans_opts o = {.k = m->nlist,
                        .iters = KMEANS_ITERS,
                        .spherical = m->metric != VQ_METRIC_L2,
                        .seed = m->seed,
                        .threads = f->p->threads,
                        .ticker = f->ticker,
                        .phase = "lists"};
    bool many = vq_groups_count(m->nlist) > 0;
    VQ_TRY((many ? vq_kmeans_many : vq_kmeans)(f->y, f->n, m->d_code, &o, f->out->centroids, NULL,
                                               err));
    m->centroids = f->out->centroids;
    VQ_TRY(vq_grouping_form(m, f->out->centroids, &f->out->groups, f->p->threads, err));
    if (m->ngroups > 0)
        VQ_TRY(vq_grouping_measure(m, f->out->groups, f->y, f->n, NULL, 0, f->p->threads, err));
    if (f->p->copies_chosen) VQ_TRY(weigh_copies(f, err));
out:
    return rc;
}

typedef struct residual_task {
    fit *f;
    vq_nearest near;
    float *scratch; /* threads x vq_nearest_scratch */
} residual_task;

static vq_status residual_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    residual_task *t = ctx;
    fit *f = t->f;
    const vq_model *m = &f->p->model;
    size_t first = task * VQ_ASSIGN_TILE, n = VQ_MIN(f->n - first, (size_t)VQ_ASSIGN_TILE);
    uint32_t *assign = f->lists + first;
    float *y = f->y + first * m->d_code;
    vq_nearest_assign(&t->near, y, n, t->scratch + (size_t)worker * vq_nearest_scratch(&t->near),
                      assign);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m->d_code; j++)
            y[i * m->d_code + j] -= m->centroids[(size_t)assign[i] * m->d_code + j];
    return VQ_OK;
}

/* The sample less its centroids: what the codes will code. */
static vq_status take_residuals(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t tiles = (f->n + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE;
    int threads = vq_team((uint32_t)f->p->threads, tiles);
    residual_task t = {.f = f};
    VQ_TRY(vq_grouping_nearest(&t.near, m, err));
    t.scratch = vq_alloc_f32((size_t)threads, vq_nearest_scratch(&t.near));
    f->lists = vq_mem_alloc(f->n, sizeof *f->lists);
    VQ_REQUIRE(t.scratch != NULL && f->lists != NULL, VQ_ENOMEM, "residuals: %u lists", m->nlist);
    VQ_TRY(vq_team_run(threads, tiles, residual_tile, &t, err));
out:
    vq_nearest_fini(&t.near);
    vq_mem_free(t.scratch);
    return rc;
}

vq_status vq_fit_turn(float *x, size_t n, size_t d, const float *turn, vq_error *err)
{
    vq_status rc = VQ_OK;
    float *copy = vq_alloc_f32(BLOCK, d);
    VQ_REQUIRE(copy != NULL, VQ_ENOMEM, "rotation: %d x %zu floats", BLOCK, d);
    for (size_t first = 0; first < n; first += BLOCK) {
        size_t count = VQ_MIN(n - first, (size_t)BLOCK);
        memcpy(copy, x + first * d, count * d * sizeof *x);
        vq_gemm_nt(count, d, d, 1.0f, copy, d, turn, d, 0.0f, x + first * d, d);
    }
out:
    vq_mem_free(copy);
    return rc;
}

/* Mean squares along axes (d x d) of what asks: of queries if they train, where they have been made
 * round; of vectors for products; of residuals for distances, since what counts there is the query
 * less the centroid. */
static vq_status find_felt(const fit *f, const float *axes, const double *variances, double *felt,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t d = m->d_code;
    float *along = vq_alloc_f32(BLOCK, d);
    VQ_REQUIRE(along != NULL, VQ_ENOMEM, "axes: %d x %zu floats", BLOCK, d);
    for (size_t j = 0; j < d; j++) felt[j] = f->p->whiten ? 1.0 : variances[j];
    if (f->p->whiten || m->metric == VQ_METRIC_L2) goto out;
    for (size_t first = 0; first < m->nlist; first += BLOCK) {
        size_t n = VQ_MIN(m->nlist - first, (size_t)BLOCK);
        vq_gemm_nt(n, d, d, 1.0f, m->centroids + first * d, d, axes, d, 0.0f, along, d);
        for (size_t i = 0; i < n * d; i++)
            felt[i % d] += (double)along[i] * (double)along[i] / m->nlist;
    }
out:
    vq_mem_free(along);
    return rc;
}

/* Axes of the residuals: dealt to the sub-spaces in balance, or as the codec wants them: rows of
 * turn (d x d). */
static vq_status deal_axes(fit *f, const float *x, size_t n, float *turn, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t d = m->d_code;
    float *axes = vq_alloc_f32(d, d), *mean = vq_alloc_f32(1, d);
    double *variances = vq_mem_alloc(d, sizeof *variances), *felt = vq_mem_alloc(d, sizeof *felt);
    uint32_t *order = vq_mem_alloc(d, sizeof *order);
    VQ_REQUIRE(axes != NULL && mean != NULL && variances != NULL && felt != NULL && order != NULL,
               VQ_ENOMEM, "axes: %zu x %zu floats", d, d);
    VQ_TRY(vq_pca(x, n, d, 0, f->p->threads, mean, axes, variances, err));
    if (m->codec->turn != NULL) {
        VQ_TRY(find_felt(f, axes, variances, felt, err));
        memcpy(turn, axes, d * d * sizeof *turn);
        rc = m->codec->turn(variances, felt, m->d_code, m->m, m->seed, turn, f->out->params, err);
        goto out;
    }
    vq_balance(variances, d, m->m, order);
    for (size_t j = 0; j < d; j++)
        memcpy(turn + j * d, axes + (size_t)order[j] * d, d * sizeof *turn);
out:
    vq_mem_free(axes);
    vq_mem_free(mean);
    vq_mem_free(variances);
    vq_mem_free(felt);
    vq_mem_free(order);
    return rc;
}

/* turn (d x d) becomes the rotation of the residuals that suits the codes best. */
static vq_status find_turn(fit *f, float *turn, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t d = m->d_code, n = VQ_MIN(f->n, (size_t)OPQ_ROWS);
    float *x = vq_alloc_f32(n, d), *opq = vq_alloc_f32(d, d), *deal = vq_alloc_f32(d, d);
    VQ_REQUIRE(x != NULL && opq != NULL && deal != NULL, VQ_ENOMEM, "opq: %zu x %zu floats", n, d);
    for (size_t i = 0; i < n; i++)
        memcpy(x + i * d, f->y + vq_spaced_row(f->n, n, i) * d, d * sizeof *x);
    VQ_TRY(deal_axes(f, x, n, deal, err));
    if (m->rotation != VQ_ROTATION_OPQ) {
        memcpy(turn, deal, d * d * sizeof *turn);
        goto out;
    }
    VQ_TRY(vq_fit_turn(x, n, d, deal, err));
    VQ_TRY(vq_opq(x, n, d, m->m, m->codec->codewords, OPQ_ROUNDS, m->seed, f->p->threads, f->ticker,
                  opq, err));
    vq_gemm_nn(d, d, d, 1.0f, opq, d, deal, d, 0.0f, turn, d);
out:
    vq_mem_free(x);
    vq_mem_free(opq);
    vq_mem_free(deal);
    return rc;
}

/* Folds the turn of the residuals into matrix, centroids and sample. */
static vq_status turn_all(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    size_t d = m->d_code;
    float *turn = vq_alloc_f32(d, d), *matrix = vq_alloc_f32(d, m->d);
    VQ_REQUIRE(turn != NULL && matrix != NULL, VQ_ENOMEM, "rotation: %zu x %u floats", d, m->d);
    VQ_TRY(find_turn(f, turn, err));
    float *both[2] = {f->out->matrix, f->out->query_matrix};
    for (int i = 0; i < 2 && both[i] != NULL; i++) {
        vq_gemm_nn(d, m->d, d, 1.0f, turn, d, both[i], m->d, 0.0f, matrix, m->d);
        memcpy(both[i], matrix, d * m->d * sizeof *matrix);
    }
    VQ_TRY(vq_fit_turn(f->out->centroids, m->nlist, d, turn, err));
    VQ_TRY(vq_fit_turn(f->y, f->n, d, turn, err));
out:
    vq_mem_free(turn);
    vq_mem_free(matrix);
    return rc;
}

static vq_status find_near(fit *f, vq_near_pairs *near, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t nq;
    float *queries;
    VQ_TRY(turn_queries(f, &queries, &nq, err));
    VQ_TRY(vq_near_pairs_find(m, f->y, f->lists, f->n, queries, nq, near, err));
out:
    vq_mem_free(queries);
    return rc;
}

static void find_biases(fit *f)
{
    vq_model *m = &f->p->model;
    size_t d = m->d_code;
    for (size_t c = 0; c < m->nlist && m->metric == VQ_METRIC_L2; c++)
        f->out->biases[c] = 0.5f * f->k->dot_f32(m->centroids + c * d, m->centroids + c * d, d);
    m->biases = f->out->biases;
}

/* Rules of the groups in the space of the codes; vectors are residuals and centroids. */
static vq_status measure_groups(const fit *f, vq_error *err)
{
    enum { SOME = 1024 };
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t d = m->d_code, n = VQ_MIN(f->n, (size_t)SOME), nq = 0;
    float *rows = vq_alloc_f32(n, d), *queries = NULL;
    VQ_REQUIRE(rows != NULL, VQ_ENOMEM, "groups: %zu x %zu floats", n, d);
    for (size_t i = 0; i < n; i++) {
        size_t at = vq_spaced_row(f->n, n, i);
        const float *c = m->centroids + (size_t)f->lists[at] * d;
        for (size_t j = 0; j < d; j++) rows[i * d + j] = f->y[at * d + j] + c[j];
    }
    VQ_TRY(turn_queries(f, &queries, &nq, err));
    VQ_TRY(vq_grouping_measure(m, f->out->groups, rows, n, queries, nq, f->p->threads, err));
out:
    vq_mem_free(rows);
    vq_mem_free(queries);
    return rc;
}

static vq_status find_codebooks(fit *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_near_pairs near = {0};
    vq_model *m = &f->p->model;
    size_t d = m->d_code, n = VQ_MIN(f->n, VQ_MAX((size_t)CODEC_ROWS, m->codec->sample));
    if (m->codec->calibrate != NULL) VQ_TRY(find_near(f, &near, err));
    for (size_t i = 0; n < f->n && i < n; i++) /* rises, so a row moves down only */
        memmove(f->y + i * d, f->y + vq_spaced_row(f->n, n, i) * d, d * sizeof *f->y);
    VQ_TRY(m->codec->train(f->y, n, m->d_code, m->m, m->seed, f->p->threads, f->ticker,
                           f->out->params, err));
    if (m->codec->calibrate != NULL)
        VQ_TRY(m->codec->calibrate(m->d_code, m->m, near.o, near.q, near.n,
                                   m->metric == VQ_METRIC_L2, f->out->params, err));
    m->params = f->out->params;
out:
    vq_near_pairs_fini(&near);
    return rc;
}

vq_status vq_fit(vq_plan *p, const void *rows, uint32_t elem, size_t n, const vq_queries *queries,
                 vq_ticker *ticker, vq_fitted *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    fit f = {.p = p,
             .out = out,
             .k = vq_kernels_get(),
             .ticker = ticker,
             .rows = rows,
             .elem = elem,
             .n = n,
             .queries = queries};
    VQ_TRY(vq_tick(ticker, "axes", 0, 0, err));
    VQ_TRY(choose_transform(&f, err));
    VQ_TRY(transform_sample(&f, err));
    VQ_TRY(find_lists(&f, err));
    VQ_TRY(take_residuals(&f, err));
    out->params =
        vq_mem_calloc(VQ_MAX(m->codec->nparams(m->d_code, m->m), (size_t)1), sizeof *out->params);
    out->biases = vq_mem_calloc(m->nlist, sizeof *out->biases);
    VQ_REQUIRE(out->params != NULL && out->biases != NULL, VQ_ENOMEM,
               "codebooks: %u dimensions, %u lists", m->d_code, m->nlist);
    bool learnt = m->rotation == VQ_ROTATION_PCA || m->rotation == VQ_ROTATION_OPQ;
    if (learnt && m->codec->axes) VQ_TRY(turn_all(&f, err));
    find_biases(&f);
    if (m->ngroups > 0) VQ_TRY(measure_groups(&f, err));
    VQ_TRY(find_codebooks(&f, err));
    vq_model_derive(m, 0);
out:
    vq_mem_free(f.y);
    vq_mem_free(f.lists);
    vq_mem_free(f.to_rows);
    vq_mem_free(f.to_queries);
    return rc;
}
