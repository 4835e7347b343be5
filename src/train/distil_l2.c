/* SPDX-License-Identifier: Apache-2.0 */
/* distil_l2.c -- metric l2 in distillation: what a score is less by, and its gradient.
 *
 *   f = |y|^2 / 2 + w / 2 |x - y|^2,  df/dy = y - w (x - y),  y = centroid + the row's codewords
 *
 * y depends on no query, so each row of a batch is decoded once for its factor and once for the
 * gradient, whatever the number of queries that score it. */
#include "src/train/distil_batch.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/train/factor.h"

#define ROW_TILE 64u /* rows of a task */
#define NONE     UINT32_MAX

vq_status vq_distil_l2_init(vq_distil_batch *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_batch_rows *r = &b->seen;
    size_t most = VQ_MIN(b->l->n, b->max * b->max_cands);
    r->place = vq_mem_alloc(b->l->n, sizeof *r->place);
    r->rows = vq_mem_alloc(most, sizeof *r->rows);
    r->factors = vq_alloc_f32(most, 1);
    r->pull = vq_mem_alloc(most, sizeof *r->pull);
    r->slopes = vq_alloc_f32(VQ_MAX(VQ_MIN(VQ_SLOPE_TILE, most), (size_t)b->threads), b->s->d);
    b->scored = vq_mem_alloc(b->max * b->max_cands, sizeof *b->scored);
    b->nscored = vq_mem_alloc(b->max, sizeof *b->nscored);
    b->scored_grads = vq_alloc_f32(b->max, b->max_cands);
    VQ_REQUIRE(r->place != NULL && r->rows != NULL && r->factors != NULL && r->pull != NULL &&
                   r->slopes != NULL && b->scored != NULL && b->nscored != NULL &&
                   b->scored_grads != NULL,
               VQ_ENOMEM, "distillation: out of memory for the factors of %zu rows", most);
    for (size_t i = 0; i < b->l->n; i++) r->place[i] = NONE;
out:
    return rc;
}

void vq_distil_l2_fini(vq_distil_batch *b)
{
    vq_mem_free(b->seen.place);
    vq_mem_free(b->seen.rows);
    vq_mem_free(b->seen.factors);
    vq_mem_free(b->seen.pull);
    vq_mem_free(b->seen.slopes);
    vq_mem_free(b->scored);
    vq_mem_free(b->nscored);
    vq_mem_free(b->scored_grads);
}

/* What the codes of a row decode to: y (d). */
static void decode(const vq_distil_batch *b, uint32_t row, float *restrict y)
{
    const vq_student *s = b->s;
    const uint8_t *code = b->l->codes + row * s->m;
    size_t d = s->d, dsub = d / s->m;
    if (s->centroids != NULL)
        memcpy(y, s->centroids + b->l->lists[row] * d, d * sizeof *y);
    else
        memset(y, 0, d * sizeof *y);
    for (size_t j = 0; j < s->m && s->additive; j++) {
        const float *word = s->books + (j * s->kk + code[j]) * d;
        for (size_t t = 0; t < d; t++) y[t] += word[t];
    }
    for (size_t j = 0; j < s->m && !s->additive; j++)
        for (size_t t = j * dsub; t < (j + 1) * dsub; t++) y[t] += s->books[t * s->kk + code[j]];
}

/* ---- forward --------------------------------------------------------------------------------- */

static vq_status factors_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    vq_distil_batch *b = ctx;
    size_t d = b->s->d;
    float *y = b->seen.slopes + (size_t)worker * d; /* nobody has slopes there yet */
    for (size_t u = task * ROW_TILE; u < VQ_MIN(b->seen.n, (task + 1) * ROW_TILE); u++) {
        const float *x = b->l->coded + b->seen.rows[u] * d;
        decode(b, b->seen.rows[u], y);
        double error = (double)b->kn->l2sq_f32(x, y, d);
        b->seen.factors[u] = (float)(0.5 * (b->kn->sq_row_f32(y, d) + VQ_FACTOR_ERROR * error));
    }
    return VQ_OK;
}

static void see(vq_batch_rows *r, uint32_t row)
{
    if (r->place[row] != NONE) return;
    r->place[row] = (uint32_t)r->n;
    r->pull[r->n] = 0.0;
    r->rows[r->n++] = row;
}

vq_status vq_distil_l2_begin(vq_distil_batch *b, vq_error *err)
{
    vq_batch_rows *r = &b->seen;
    for (size_t u = 0; u < r->n; u++) r->place[r->rows[u]] = NONE;
    r->n = 0;
    for (size_t q = 0; q < b->n; q++)
        for (size_t c = b->l->first[b->batch[q]]; c < b->l->first[b->batch[q] + 1]; c++)
            see(r, b->l->docs[c]);
    for (size_t u = 0; u < b->ncommon; u++) see(r, b->common[u]);
    return vq_team_run(b->threads, (r->n + ROW_TILE - 1) / ROW_TILE, factors_task, b, err);
}

/* ---- backward -------------------------------------------------------------------------------- */

typedef struct slopes { /* of rows first .. first + n - 1 of those seen */
    vq_distil_batch *b;
    size_t first, n;
} slopes;

static vq_status slopes_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    const slopes *s = ctx;
    const vq_batch_rows *r = &s->b->seen;
    size_t d = s->b->s->d;
    for (size_t i = task * ROW_TILE; i < VQ_MIN(s->n, (task + 1) * ROW_TILE); i++) {
        uint32_t row = r->rows[s->first + i];
        const float *x = s->b->l->coded + row * d;
        float *restrict y = r->slopes + i * d, pull = (float)r->pull[s->first + i];
        decode(s->b, row, y);
        for (size_t t = 0; t < d; t++)
            y[t] = pull * (y[t] - (float)VQ_FACTOR_ERROR * (x[t] - y[t]));
    }
    return VQ_OK;
}

/* A score is less by the factor: its slopes are taken off. */
static vq_status book_task(void *ctx, size_t j, int worker, vq_error *err)
{
    (void)worker, (void)err;
    const slopes *s = ctx;
    const vq_student *st = s->b->s;
    size_t d = st->d, kk = st->kk, dsub = d / st->m;
    for (size_t i = 0; i < s->n; i++) {
        const float *slope = s->b->seen.slopes + i * d;
        size_t code = s->b->l->codes[s->b->seen.rows[s->first + i] * st->m + j];
        if (st->additive) {
            float *restrict to = s->b->d_books + (j * kk + code) * d;
            for (size_t t = 0; t < d; t++) to[t] -= slope[t];
        } else {
            for (size_t t = j * dsub; t < (j + 1) * dsub; t++)
                s->b->d_books[t * kk + code] -= slope[t];
        }
    }
    return VQ_OK;
}

vq_status vq_distil_l2_books(vq_distil_batch *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_batch_rows *r = &b->seen;
    for (size_t q = 0; q < b->n; q++)
        for (size_t c = q * b->max_cands; c < q * b->max_cands + b->nscored[q]; c++)
            r->pull[r->place[b->scored[c]]] += (double)b->scored_grads[c];
    slopes s = {.b = b};
    for (; s.first < r->n; s.first += s.n) {
        s.n = VQ_MIN(r->n - s.first, (size_t)VQ_SLOPE_TILE);
        VQ_TRY(vq_team_run(b->threads, (s.n + ROW_TILE - 1) / ROW_TILE, slopes_task, &s, err));
        VQ_TRY(vq_team_run(b->threads, b->s->m, book_task, &s, err));
    }
out:
    return rc;
}
