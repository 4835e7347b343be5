/* SPDX-License-Identifier: Apache-2.0 */
/* gain.c -- see gain.h. */
#include "index/gain.h"

#include <string.h>

#include "src/base/team.h"
#include "src/math/blas.h"
#include "src/train/draw.h"

enum {
    ANSWERS = 8192, /* vectors that are ranked.. */
    ASKED = 1024,   /* ..for some of them.. */
    LEAST = 2048,   /* ..if there are so many */
    TILE = 64,      /* of those that ask */
    BEST = 4        /* that should be found: of 100,000 vectors these are some 50 */
};

typedef struct asker {             /* a worker's */
    float *q;                      /* TILE x d */
    float *exact, *coarse, *coded; /* TILE x n: products with y, c and h */
    uint32_t found[VQ_GAINS + 1];
} asker;

typedef struct trial {
    size_t n, nq, d;
    float *y, *c, *h;  /* n x d: vectors, their centroids, what codes make of the rest */
    const float *mean; /* d: of the vectors in the coded space, which a query keeps */
    int threads;
    asker *askers; /* threads */
} trial;

static void end(trial *t)
{
    vq_mem_free(t->y);
    vq_mem_free(t->c);
    vq_mem_free(t->h);
    for (asker *a = t->askers; a != NULL && a < t->askers + t->threads; a++) {
        vq_mem_free(a->q);
        vq_mem_free(a->exact);
        vq_mem_free(a->coarse);
        vq_mem_free(a->coded);
    }
    vq_mem_free(t->askers);
}

static vq_status begin(trial *t, const vq_model *m, const float *rows, const uint32_t *lists,
                       size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = t->d;
    uint8_t *codes = vq_mem_alloc(t->n, m->code.code_bytes);
    t->y = vq_alloc_f32(t->n, d), t->c = vq_alloc_f32(t->n, d), t->h = vq_alloc_f32(t->n, d);
    t->askers = vq_mem_calloc((size_t)t->threads, sizeof *t->askers);
    VQ_REQUIRE(codes != NULL && t->y != NULL && t->c != NULL && t->h != NULL && t->askers != NULL,
               VQ_ENOMEM, "gain: %zu vectors of %zu floats", t->n, d);
    for (asker *a = t->askers; a < t->askers + t->threads; a++) {
        a->q = vq_alloc_f32(TILE, d), a->exact = vq_alloc_f32(TILE, t->n);
        a->coarse = vq_alloc_f32(TILE, t->n), a->coded = vq_alloc_f32(TILE, t->n);
        VQ_REQUIRE(a->q != NULL && a->exact != NULL && a->coarse != NULL && a->coded != NULL,
                   VQ_ENOMEM, "gain: products of %d with %zu vectors", TILE, t->n);
    }
    for (size_t i = 0; i < t->n; i++) {
        size_t at = vq_spaced_row(n, t->n, i);
        memcpy(t->y + i * d, rows + at * d, d * sizeof *t->y);
        memcpy(t->c + i * d, m->centroids + (size_t)lists[at] * d, d * sizeof *t->c);
    }
    VQ_TRY(m->codec->encode(&m->code, vq_kernels_get(), t->y, t->n, codes, err));
    m->codec->decode(&m->code, codes, t->n, t->h);
    for (size_t i = 0; i < t->n * d; i++) t->y[i] += t->c[i];
out:
    vq_mem_free(codes);
    return rc;
}

/* The BEST of n by coarse + gain * coded, but for `own`. */
static void best_of(const float *coarse, const float *coded, float gain, size_t n, size_t own,
                    uint32_t best[BEST])
{
    float score[BEST + 1];
    for (size_t j = 0; j < BEST; j++) score[j] = -INFINITY, best[j] = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        float s = coarse[i] + gain * coded[i];
        if (!(s > score[BEST - 1]) || i == own) continue;
        size_t j = BEST - 1;
        for (; j > 0 && s > score[j - 1]; j--) score[j] = score[j - 1], best[j] = best[j - 1];
        score[j] = s, best[j] = (uint32_t)i;
    }
}

static uint32_t common(const uint32_t a[BEST], const uint32_t b[BEST])
{
    uint32_t n = 0;
    for (size_t i = 0; i < BEST; i++)
        for (size_t j = 0; j < BEST; j++) n += a[i] == b[j] && a[i] != UINT32_MAX;
    return n;
}

static vq_status ask(void *ctx, size_t task, int worker, vq_error *err)
{
    const trial *t = ctx;
    asker *a = &t->askers[worker];
    size_t first = task * TILE, n = VQ_MIN(t->nq - first, (size_t)TILE), d = t->d;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        const float *y = t->y + vq_spaced_row(t->n, t->nq, first + i) * d;
        for (size_t j = 0; j < d; j++) a->q[i * d + j] = y[j] + t->mean[j];
    }
    vq_gemm_nt(n, t->n, d, 1.0f, a->q, d, t->y, d, 0.0f, a->exact, t->n);
    vq_gemm_nt(n, t->n, d, 1.0f, a->q, d, t->c, d, 0.0f, a->coarse, t->n);
    vq_gemm_nt(n, t->n, d, 1.0f, a->q, d, t->h, d, 0.0f, a->coded, t->n);
    for (size_t i = 0; i < n; i++) {
        size_t own = vq_spaced_row(t->n, t->nq, first + i);
        const float *coarse = a->coarse + i * t->n, *coded = a->coded + i * t->n;
        uint32_t right[BEST], best[BEST];
        best_of(a->exact + i * t->n, coded, 0.0f, t->n, own, right);
        for (unsigned g = 0; g <= VQ_GAINS; g++) {
            best_of(coarse, coded, 1.0f + (float)g * VQ_GAIN_STEP, t->n, own, best);
            a->found[g] += common(right, best);
        }
    }
    return VQ_OK;
}

vq_status vq_gain_find(vq_plan *p, const float *rows, const uint32_t *lists, size_t n,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    vq_transform whole = m->transform;
    trial t = {.n = VQ_MIN(n, (size_t)ANSWERS), .d = m->d_code};
    uint32_t found[VQ_GAINS + 1] = {0};
    float *mean = vq_alloc_f32(2, VQ_MAX(m->d, m->d_code));
    unsigned best = 0;
    m->gain = 0.0f;
    if (n < LEAST) goto out;
    VQ_REQUIRE(mean != NULL, VQ_ENOMEM, "gain: %u floats", m->d);
    whole.mean = NULL;
    float *turned = mean + VQ_MAX(m->d, m->d_code);
    memcpy(mean, m->mean, m->d * sizeof *mean);
    vq_transform_many(&whole, vq_kernels_get(), mean, 1, turned);
    t.mean = turned;
    t.nq = VQ_MIN(t.n / 2, (size_t)ASKED);
    size_t tiles = (t.nq + TILE - 1) / TILE;
    t.threads = vq_team((uint32_t)p->threads, tiles);
    VQ_TRY(begin(&t, m, rows, lists, n, err));
    VQ_TRY(vq_team_run(t.threads, tiles, ask, &t, err));
    for (unsigned g = 0; g <= VQ_GAINS; g++) {
        for (int i = 0; i < t.threads; i++) found[g] += t.askers[i].found[g];
        if (found[g] > found[best]) best = g;
    }
    double all = (double)t.nq * BEST;
    if ((double)found[best] < (double)found[0] + VQ_GAIN_WORTH * all) goto out;
    m->gain = 1.0f + (float)best * VQ_GAIN_STEP;
    vq_plan_note(p, "gain %.1f: with it codes find %.3f of neighbours in a sample, without %.3f",
                 (double)m->gain, found[best] / all, found[0] / all);
out:
    end(&t);
    vq_mem_free(mean);
    return rc;
}
