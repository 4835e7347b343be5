/* SPDX-License-Identifier: Apache-2.0 */
/* fitaxes.c -- see fitting.h.  Axes of the data, of which those worth no bits are dropped, before
 * there are lists; axes of the residuals, dealt to sub-spaces and turned by OPQ, after.  Turns
 * after the first axes are orthonormal, so the lists stay what they are; where queries train, the
 * first axes are those of a whitened space. */
#include <math.h>
#include <string.h>

#include "index/fitting.h"
#include "src/math/blas.h"
#include "src/train/draw.h"
#include "src/train/rotation.h"
#include "src/train/whiten.h"

enum {
    BLOCK = 1024, /* rows turned at a time */
    PCA_ROWS = 16384,
    OPQ_ROWS = 16384,
    OPQ_ROUNDS = 6,
};

/* How far H = E[q q^T] is shrunk towards the identity: flat between .1 and .5 on held-out queries,
 * worse below. */
#define WHITEN_RHO 0.1
/* Of the variance, that kept axes hold at least.  With 16 bytes of OPQ, .85 costs packages'
 * descriptions .05 of 10@10 (pictures keep more anyway); what queries teach gains up to .997. */
#define LEAST_SHARE  0.95
#define TAUGHT_SHARE 0.997
#define BARS_SHARE   0.99999 /* an error bar does not know of what is dropped */

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
static vq_status whiten_rows(vq_fitting *f, float **x, size_t n, vq_error *err)
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

static vq_status find_whitening(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t d = m->d;
    if (!f->p->whiten) goto out;
    f->to_rows = vq_alloc_f32(d, d);
    f->to_queries = vq_alloc_f32(d, d);
    VQ_REQUIRE(f->to_rows != NULL && f->to_queries != NULL, VQ_ENOMEM,
               "whitening: %zu x %zu floats", d, d);
    VQ_TRY(vq_whiten(f->queries->x, f->queries->n - f->queries->held, d, WHITEN_RHO, f->p->threads,
                     f->to_rows, f->to_queries, err));
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
static vq_status find_axes(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    size_t d = m->d, n = VQ_MIN(f->n, VQ_MAX((size_t)PCA_ROWS, 4 * d)),
           size = vq_elem_size(f->elem);
    float *x = vq_alloc_f32(n, d), *axes = vq_alloc_f32(d, d), *mean = vq_alloc_f32(1, d);
    double *variances = vq_mem_alloc(d, sizeof *variances);
    VQ_REQUIRE(x != NULL && axes != NULL && mean != NULL && variances != NULL, VQ_ENOMEM,
               "axes: %zu x %zu floats", n, d);
    for (size_t i = 0; i < n; i++) {
        size_t at = vq_fit_row(f, vq_spaced_row(f->n, n, i));
        widen(m, f->k, f->elem, f->rows + at * d * size, 1, x + i * d);
    }
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

vq_status vq_fit_transform(vq_fitting *f, vq_error *err)
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

/* Training queries, where they have a space of their own, in it; the caller frees them.  None:
 * NULL.
 */
vq_status vq_fit_queries(const vq_fitting *f, float **queries, size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    *queries = NULL;
    *n = f->p->whiten ? f->queries->n - f->queries->held : 0;
    if (*n == 0) goto out;
    *queries = vq_alloc_f32(*n, m->d_code);
    VQ_REQUIRE(*queries != NULL, VQ_ENOMEM, "training: %zu queries", *n);
    vq_gemm_nt(*n, m->d_code, m->d, 1.0f, f->queries->x, m->d, m->query_matrix, m->d, 0.0f,
               *queries, m->d_code);
out:
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
static vq_status find_felt(const vq_fitting *f, const float *axes, const double *variances,
                           double *felt, vq_error *err)
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
static vq_status deal_axes(vq_fitting *f, const float *x, size_t n, float *turn, vq_error *err)
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
static vq_status find_turn(vq_fitting *f, float *turn, vq_error *err)
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
vq_status vq_fit_axes(vq_fitting *f, vq_error *err)
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
    VQ_TRY(vq_fit_round(f, turn, err));
    VQ_TRY(vq_fit_turn(f->out->centroids, m->nlist, d, turn, err));
    VQ_TRY(vq_fit_turn(f->y, f->n + f->nask, d, turn, err));
out:
    vq_mem_free(turn);
    vq_mem_free(matrix);
    return rc;
}
