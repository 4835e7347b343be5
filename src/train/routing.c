/* SPDX-License-Identifier: Apache-2.0 */
/* routing.c -- see routing.h.  The gradient of a query's loss is (softmax - wanted) q: two GEMMs a
 * batch.  A row in two lists wants their sum, so each gets its share of it. */
#include "src/train/routing.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/math/blas.h"
#include "src/math/kernels.h"
#include "src/train/adam.h"
#include "src/train/spill.h"

enum { BATCH = 256, GROUP = 32, LISTS = 128 };
/* Of Adam, relative to the RMS of the vectors' coordinates; and the temperature, relative to the
 * RMS of the products: on held-out questions half of it and less gain nothing. */
#define STEP        6e-3
#define TEMPERATURE 0.4

typedef struct routing {
    const vq_routing *r;
    float inv_temperature;
    uint32_t *order;        /* ntrain: shuffled */
    const uint32_t *batch;  /* queries at work; NULL: first.. of all */
    size_t first, n;        /* of the batch */
    float *rows, *shares;   /* BATCH x d, BATCH x nlist */
    double *losses;         /* BATCH */
    float *gradient, *best; /* nlist x d */
    vq_adam adam;
} routing;

/* Softmax of one query's products, in place. */
static void softmax(float *p, size_t n)
{
    float most = p[0];
    double sum = 0.0;
    for (size_t l = 1; l < n; l++) most = VQ_MAX(most, p[l]);
    for (size_t l = 0; l < n; l++) {
        p[l] = expf(p[l] - most);
        sum += (double)p[l];
    }
    float inv = (float)(1.0 / sum);
    for (size_t l = 0; l < n; l++) p[l] *= inv;
}

/* The loss of a query whose shares are p, which become its gradient by the products. */
static double lesson(const routing *t, size_t query, float *p)
{
    const vq_routing *r = t->r;
    const uint32_t *answers = r->answers + query * r->k;
    uint32_t at[2 * VQ_ROUTED];
    float wanted[2 * VQ_ROUTED];
    size_t count = 0, rows = 0;
    double loss = 0.0;
    for (size_t j = 0; j < VQ_MIN(r->k, (size_t)VQ_ROUTED) && answers[j] != UINT32_MAX; j++) {
        uint32_t one = r->lists[answers[j]];
        uint32_t two = r->second != NULL ? r->second[answers[j]] : VQ_NO_LIST;
        float sum = p[one] + (two != VQ_NO_LIST ? p[two] : 0.0f) + 1e-20f;
        loss -= log((double)sum);
        at[count] = one, wanted[count++] = p[one] / sum;
        if (two != VQ_NO_LIST) at[count] = two, wanted[count++] = p[two] / sum;
        rows++;
    }
    if (rows == 0) { /* it teaches nothing */
        memset(p, 0, r->nlist * sizeof *p);
        return 0.0;
    }
    for (size_t i = 0; i < count; i++) p[at[i]] -= wanted[i] / (float)rows;
    return loss / (double)rows;
}

static vq_status forward_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    routing *t = ctx;
    const vq_routing *r = t->r;
    size_t at = task * GROUP, n = VQ_MIN(t->n - at, (size_t)GROUP), d = r->d;
    for (size_t i = at; i < at + n; i++) {
        size_t query = t->batch != NULL ? t->batch[i] : t->first + i;
        memcpy(t->rows + i * d, r->queries + query * d, d * sizeof *t->rows);
    }
    vq_gemm_nt(n, r->nlist, d, t->inv_temperature, t->rows + at * d, d, r->vectors, d, 0.0f,
               t->shares + at * r->nlist, r->nlist);
    for (size_t i = at; i < at + n; i++) {
        size_t query = t->batch != NULL ? t->batch[i] : t->first + i;
        softmax(t->shares + i * r->nlist, r->nlist);
        t->losses[i] = lesson(t, query, t->shares + i * r->nlist);
    }
    return VQ_OK;
}

static vq_status forward(routing *t, double *loss, vq_error *err)
{
    vq_status rc = vq_team_run(t->r->threads, (t->n + GROUP - 1) / GROUP, forward_task, t, err);
    for (size_t i = 0; rc == VQ_OK && i < t->n; i++) *loss += t->losses[i];
    return rc;
}

static vq_status gradient_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    routing *t = ctx;
    const vq_routing *r = t->r;
    size_t at = task * LISTS, n = VQ_MIN(r->nlist - at, (size_t)LISTS);
    vq_gemm_tn(n, r->d, t->n, 1.0f / (float)t->n, t->shares + at, r->nlist, t->rows, r->d, 0.0f,
               t->gradient + at * r->d, r->d);
    return VQ_OK;
}

static vq_status step_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    routing *t = ctx;
    const vq_routing *r = t->r;
    size_t at = task * LISTS * r->d, end = VQ_MIN(at + LISTS * r->d, r->nlist * r->d);
    vq_adam_turn(&t->adam, r->vectors, t->gradient, at, end - at);
    for (size_t i = at; i < end; i++) r->vectors[i] -= t->gradient[i];
    return VQ_OK;
}

static vq_status one_epoch(routing *t, unsigned epoch, vq_rng *rng, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_routing *r = t->r;
    size_t tiles = (r->nlist + LISTS - 1) / LISTS, steps = (r->ntrain + BATCH - 1) / BATCH;
    double loss = 0.0;
    for (size_t i = r->ntrain; i > 1; i--) {
        size_t j = (size_t)vq_rng_below(rng, i);
        uint32_t swap = t->order[i - 1];
        t->order[i - 1] = t->order[j], t->order[j] = swap;
    }
    for (size_t s = 0; s < steps; s++) {
        t->batch = t->order + s * BATCH;
        t->n = VQ_MIN(r->ntrain - s * BATCH, (size_t)BATCH);
        VQ_TRY(forward(t, &loss, err));
        VQ_TRY(vq_team_run(r->threads, tiles, gradient_task, t, err));
        vq_adam_begin(&t->adam, t->gradient, vq_adam_factor(epoch * steps + s, r->epochs * steps));
        VQ_TRY(vq_team_run(r->threads, tiles, step_task, t, err));
        VQ_TRY(vq_tick(r->ticker, "routing", epoch * steps + s + 1, r->epochs * steps, err));
    }
out:
    return rc;
}

static vq_status judge(routing *t, double *loss, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_routing *r = t->r;
    *loss = 0.0;
    t->batch = NULL;
    for (t->first = r->ntrain; t->first < r->nq; t->first += BATCH) {
        t->n = VQ_MIN(r->nq - t->first, (size_t)BATCH);
        VQ_TRY(forward(t, loss, err));
    }
    *loss /= (double)(r->nq - r->ntrain);
out:
    return rc;
}

static vq_status begin(routing *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_routing *r = t->r;
    size_t size = r->nlist * r->d;
    double sum = 0.0;
    t->order = vq_mem_alloc(r->ntrain, sizeof *t->order);
    t->rows = vq_alloc_f32(BATCH, r->d);
    t->shares = vq_alloc_f32(BATCH, r->nlist);
    t->losses = vq_mem_alloc(BATCH, sizeof *t->losses);
    t->gradient = vq_alloc_f32(r->nlist, r->d);
    t->best = vq_alloc_f32(r->nlist, r->d);
    VQ_REQUIRE(t->order != NULL && t->rows != NULL && t->shares != NULL && t->losses != NULL &&
                   t->gradient != NULL && t->best != NULL,
               VQ_ENOMEM, "routing: %zu lists of %zu dimensions", r->nlist, r->d);
    for (size_t i = 0; i < r->ntrain; i++) t->order[i] = (uint32_t)i;
    size_t some = VQ_MIN(r->ntrain, (size_t)BATCH);
    for (size_t i = 0; i < some; i++) {
        vq_kernels_get()->matvec_f32(r->vectors, r->nlist, r->d, r->d, r->queries + i * r->d,
                                     t->shares);
        for (size_t l = 0; l < r->nlist; l++) sum += (double)t->shares[l] * (double)t->shares[l];
    }
    double rms = sqrt(sum / (double)(some * r->nlist)), unit = vq_rms(r->vectors, size);
    t->inv_temperature = rms > 0.0 ? (float)(1.0 / (TEMPERATURE * rms)) : 1.0f;
    VQ_TRY(vq_adam_init(&t->adam, r->vectors, size, STEP * unit, unit, 0.0, err));
    memcpy(t->best, r->vectors, size * sizeof *t->best);
out:
    return rc;
}

vq_status vq_routing_learn(const vq_routing *r, double loss[2], vq_error *err)
{
    vq_status rc = VQ_OK;
    routing t = {.r = r};
    size_t bytes = r->nlist * r->d * sizeof(float);
    double start, best, now;
    vq_rng rng;
    vq_rng_init(&rng, r->seed, 2);
    vq_team_blas_enter();
    VQ_TRY(begin(&t, err));
    VQ_TRY(judge(&t, &start, err));
    best = start;
    for (unsigned epoch = 0; epoch < r->epochs; epoch++) {
        VQ_TRY(one_epoch(&t, epoch, &rng, err));
        VQ_TRY(judge(&t, &now, err));
        if (!(now < best)) continue;
        best = now;
        memcpy(t.best, r->vectors, bytes);
    }
    memcpy(r->vectors, t.best, bytes);
    if (loss != NULL) loss[0] = start, loss[1] = best;
out:
    vq_adam_fini(&t.adam);
    vq_mem_free(t.order);
    vq_mem_free(t.rows);
    vq_mem_free(t.shares);
    vq_mem_free(t.losses);
    vq_mem_free(t.gradient);
    vq_mem_free(t.best);
    vq_team_blas_leave();
    return rc;
}
