/* SPDX-License-Identifier: Apache-2.0 */
/* opq.c -- optimised product quantization, non-parametric (Ge, He, Ke and Sun 2013, sec. 3.2):
 * codebooks for the rotated rows, then the rotation that brings the rows nearest to what their
 * codes decode to, and again.  No step raises the error; rounding might, so the best rotation is
 * kept. */
#include "src/train/rotation.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/train/moments.h"
#include "src/train/pq.h"

#define TILE        256u
#define FIRST_ITERS 6u   /* k-means rounds at the start; later codebooks are warm, one round each */
#define LEAST_GAIN  5e-4 /* a round that lowers the error by less than this share is the last */

typedef struct opq {
    const vq_kernels *kn;
    const float *x;
    size_t n, d, m, dsub, kk;
    int threads;
    /* owned */
    float *y;        /* n x d: rotated rows, then what they decode to */
    float *turn;     /* d x d: the rotation being tried */
    float *cb;       /* m x dsub x kk */
    float *norm;     /* m x kk */
    uint8_t *codes;  /* threads x TILE x m */
    double *part;    /* tiles: squared error of each */
    double *moments; /* d x d */
    double *nearest; /* d x d */
} opq;

static size_t tiles(const opq *o)
{
    return (o->n + TILE - 1) / TILE;
}

static vq_status opq_init(opq *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t dd;
    VQ_REQUIRE(vq_mul_size(o->d, o->d, &dd), VQ_EINVAL, "opq: %zu dimensions", o->d);
    o->y = vq_alloc_f32(o->n, o->d);
    o->turn = vq_alloc_f32(o->d, o->d);
    o->cb = vq_alloc_f32(o->d, o->kk);
    o->norm = vq_alloc_f32(o->m, o->kk);
    o->codes = vq_mem_alloc((size_t)o->threads * TILE, o->m);
    o->part = vq_mem_alloc(tiles(o), sizeof *o->part);
    o->moments = vq_mem_alloc(dd, sizeof *o->moments);
    o->nearest = vq_mem_alloc(dd, sizeof *o->nearest);
    VQ_REQUIRE(o->y != NULL && o->turn != NULL && o->cb != NULL && o->norm != NULL &&
                   o->codes != NULL && o->part != NULL && o->moments != NULL && o->nearest != NULL,
               VQ_ENOMEM, "opq: out of memory for %zu rows of %zu dimensions", o->n, o->d);
out:
    return rc;
}

static void opq_fini(opq *o)
{
    vq_mem_free(o->y);
    vq_mem_free(o->turn);
    vq_mem_free(o->cb);
    vq_mem_free(o->norm);
    vq_mem_free(o->codes);
    vq_mem_free(o->part);
    vq_mem_free(o->moments);
    vq_mem_free(o->nearest);
}

static vq_status rotate_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    opq *o = ctx;
    size_t i = task * TILE, n = VQ_MIN(o->n - i, TILE);
    vq_gemm_nt(n, o->d, o->d, 1.0f, o->x + i * o->d, o->d, o->turn, o->d, 0.0f, o->y + i * o->d,
               o->d);
    return VQ_OK;
}

/* Rows of y become what their codes decode to. */
static vq_status recode_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    opq *o = ctx;
    size_t first = task * TILE, n = VQ_MIN(TILE, o->n - first);
    uint8_t *codes = o->codes + (size_t)worker * TILE * o->m;
    double sum = 0.0;
    o->kn->pq_nearest(o->y + first * o->d, n, o->d, o->cb, o->norm, o->m, o->dsub, o->kk, codes);
    for (size_t i = 0; i < n; i++, codes += o->m) {
        float *y = o->y + (first + i) * o->d;
        for (size_t j = 0; j < o->d; j++) {
            float decoded = o->cb[j * o->kk + codes[j / o->dsub]], e = y[j] - decoded;
            sum += (double)e * (double)e;
            y[j] = decoded;
        }
    }
    o->part[task] = sum;
    return VQ_OK;
}

/* Codebooks for y and the squared error with them; y then holds what codes decode to. */
static vq_status fit(opq *o, unsigned iters, int warm, uint64_t seed, double *error, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(vq_pq_train(o->y, o->n, o->m, o->dsub, o->kk, iters, warm, seed, o->threads, NULL, o->cb,
                       o->norm, NULL, err));
    VQ_TRY(vq_team_run(o->threads, tiles(o), recode_task, o, err));
    *error = 0.0;
    for (size_t t = 0; t < tiles(o); t++) *error += o->part[t];
out:
    return rc;
}

/* The rotation that takes x nearest to y (Procrustes), into turn; then y = turn x. */
static vq_status turn_to(opq *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t dd = o->d * o->d;
    memset(o->moments, 0, dd * sizeof *o->moments);
    VQ_TRY(vq_moments_add(o->y, o->x, o->n, o->d, o->threads, o->moments, err));
    VQ_TRY(vq_procrustes(o->moments, o->d, o->nearest, err));
    for (size_t i = 0; i < dd; i++) o->turn[i] = (float)o->nearest[i];
    VQ_TRY(vq_team_run(o->threads, tiles(o), rotate_task, o, err));
out:
    return rc;
}

vq_status vq_opq(const float *x, size_t n, size_t d, size_t m, size_t kk, unsigned rounds,
                 uint64_t seed, int threads, vq_ticker *ticker, float *r, vq_error *err)
{
    vq_status rc = VQ_OK;
    opq o = {.kn = vq_kernels_get(),
             .x = x,
             .n = n,
             .d = d,
             .m = m,
             .kk = kk,
             .threads = VQ_MAX(threads, 1)};
    double best = 0.0;
    vq_team_blas_enter();
    VQ_REQUIRE(n >= 1 && m >= 1 && d >= m && d % m == 0, VQ_EINVAL,
               "opq: %zu rows of %zu dimensions in %zu sub-spaces", n, d, m);
    o.dsub = d / m;
    VQ_TRY(opq_init(&o, err));
    memset(r, 0, d * d * sizeof *r);
    for (size_t j = 0; j < d; j++) r[j * d + j] = 1.0f;
    VQ_TRY(vq_tick(ticker, "rotation", 0, rounds, err));
    memcpy(o.y, x, n * d * sizeof *x);
    if (rounds > 0) VQ_TRY(fit(&o, FIRST_ITERS, 0, seed, &best, err));
    for (unsigned round = 0; round < rounds; round++) {
        double error, before = best;
        VQ_TRY(vq_tick(ticker, "rotation", round, rounds, err));
        VQ_TRY(turn_to(&o, err));
        VQ_TRY(fit(&o, 1, 1, seed + 1 + round, &error, err));
        if (error < best) {
            best = error;
            memcpy(r, o.turn, d * d * sizeof *r);
        }
        if (!(before - error > LEAST_GAIN * error)) break;
    }
    VQ_TRY(vq_tick(ticker, "rotation", rounds, rounds, err));
out:
    opq_fini(&o);
    vq_team_blas_leave();
    return rc;
}
