/* SPDX-License-Identifier: Apache-2.0 */
/* distil.c -- the loop of distillation: shuffled batches, Adam, the drift taken off. */
#include "src/train/distil.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/train/adam.h"
#include "src/train/distil_batch.h"

#define BATCH       128u
#define COLUMN_TILE 16u /* columns of the list vectors of a task */

typedef struct training {
    vq_student *s;
    const vq_distil_opts *opts;
    vq_distil_batch batch;
    vq_adam books, lists, map;
    int threads;
    /* owned */
    uint32_t *order;     /* nq: the epoch's queries */
    double *weights;     /* m x kk: share of the rows that use a codeword */
    double *list_shares; /* nlist: share of the rows */
    double *drift;       /* threads x max(d, COLUMN_TILE) */
    float *d_books, *d_centroids, *d_map;
} training;

/* ---- arguments ------------------------------------------------------------------------------- */

static vq_status check_shape(const vq_student *s, const vq_lessons *l, const vq_distil_opts *o,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = 0;
    VQ_REQUIRE(s->d >= 1 && s->m >= 1 && (s->kk == 16 || s->kk == 256) &&
                   (s->additive || s->d % s->m == 0),
               VQ_EINVAL, "distillation: %zu books of %zu codewords for %zu dimensions", s->m,
               s->kk, s->d);
    VQ_REQUIRE(vq_mul_size(s->m * s->kk, s->d, &n) && vq_mul_size(l->n, s->m, &n) &&
                   vq_mul_size(s->nlist, s->d, &n),
               VQ_EINVAL, "distillation: too large");
    VQ_REQUIRE((s->centroids != NULL) == (s->nlist > 0) && s->nlist < UINT32_MAX, VQ_EINVAL,
               "distillation: %zu lists", s->nlist);
    VQ_REQUIRE(l->n >= 1 && l->n < UINT32_MAX && l->nq >= 1 && l->nq < UINT32_MAX, VQ_EINVAL,
               "distillation: %zu queries for %zu rows", l->nq, l->n);
    VQ_REQUIRE((!o->learn_lists || s->centroids != NULL) && (!o->learn_map || s->map != NULL),
               VQ_EINVAL, "distillation: nothing there to learn");
    VQ_REQUIRE(!o->learn_lists || l->coded == NULL, VQ_EINVAL,
               "distillation: lists that learn are for products");
    VQ_REQUIRE(o->temperature > 0.0 && isfinite(o->temperature), VQ_EINVAL,
               "distillation: temperature %g", o->temperature);
    VQ_REQUIRE(o->step >= 0.0 && isfinite(o->step) && o->anchor >= 0.0 && isfinite(o->anchor),
               VQ_EINVAL, "distillation: step %g, anchor %g", o->step, o->anchor);
out:
    return rc;
}

/* Every number that is used as an index. */
static vq_status check(const vq_student *s, const vq_lessons *l, const vq_distil_opts *o,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(check_shape(s, l, o, err));
    for (size_t i = 0; i < l->nq; i++)
        VQ_REQUIRE(l->first[i] <= l->first[i + 1], VQ_EINVAL,
                   "distillation: candidates of query %zu end before they begin", i);
    for (size_t c = l->first[0]; c < l->first[l->nq]; c++)
        VQ_REQUIRE(l->docs[c] < l->n, VQ_EINVAL, "distillation: candidate %u of %zu rows",
                   l->docs[c], l->n);
    for (size_t i = 0; l->shared != NULL && i < l->nq; i++)
        VQ_REQUIRE(l->shared[i] < l->n, VQ_EINVAL, "distillation: in-batch row %u of %zu",
                   l->shared[i], l->n);
    for (size_t i = 0; s->nlist > 0 && i < l->n; i++)
        VQ_REQUIRE(l->lists[i] < s->nlist, VQ_EINVAL, "distillation: list %u of %zu", l->lists[i],
                   s->nlist);
    for (size_t i = 0; s->kk < 256 && i < l->n * s->m; i++)
        VQ_REQUIRE(l->codes[i] < s->kk, VQ_EINVAL, "distillation: code %u of %zu", l->codes[i],
                   s->kk);
out:
    return rc;
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Takes from every row of the moves (rows x cols, row stride `stride`) their weighted mean.  sums:
 * cols doubles. */
static void centre_rows(float *moves, size_t rows, size_t cols, size_t stride,
                        const double *weights, double *sums)
{
    memset(sums, 0, cols * sizeof *sums);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) sums[c] += weights[r] * (double)moves[r * stride + c];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            moves[r * stride + c] = (float)((double)moves[r * stride + c] - sums[c]);
}

/* The same for a product book: dsub x kk, a codeword is a column. */
static void centre_columns(float *moves, size_t dsub, size_t kk, const double *weights)
{
    for (size_t t = 0; t < dsub; t++) {
        double sum = 0.0;
        for (size_t k = 0; k < kk; k++) sum += weights[k] * (double)moves[t * kk + k];
        for (size_t k = 0; k < kk; k++)
            moves[t * kk + k] = (float)((double)moves[t * kk + k] - sum);
    }
}

static void take_off(float *x, const float *moves, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] -= moves[i];
}

static vq_status book_step(void *ctx, size_t j, int worker, vq_error *err)
{
    (void)err;
    training *t = ctx;
    size_t d = t->s->d, kk = t->s->kk, size = kk * (t->s->additive ? d : d / t->s->m);
    float *x = t->s->books + j * size, *moves = t->d_books + j * size;
    const double *weights = t->weights + j * kk;
    vq_adam_turn(&t->books, t->s->books, t->d_books, j * size, size);
    if (t->s->additive)
        centre_rows(moves, kk, d, d, weights, t->drift + (size_t)worker * (d + COLUMN_TILE));
    else
        centre_columns(moves, d / t->s->m, kk, weights);
    take_off(x, moves, size);
    return VQ_OK;
}

static vq_status list_step(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    training *t = ctx;
    size_t d = t->s->d, c0 = task * VQ_LIST_TILE, n = VQ_MIN(t->s->nlist - c0, VQ_LIST_TILE);
    vq_adam_turn(&t->lists, t->s->centroids, t->d_centroids, c0 * d, n * d);
    return VQ_OK;
}

static vq_status list_drift(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    training *t = ctx;
    size_t d = t->s->d, c0 = task * COLUMN_TILE, cols = VQ_MIN(d - c0, COLUMN_TILE);
    centre_rows(t->d_centroids + c0, t->s->nlist, cols, d, t->list_shares,
                t->drift + (size_t)worker * (d + COLUMN_TILE));
    for (size_t c = 0; c < t->s->nlist; c++)
        take_off(t->s->centroids + c * d + c0, t->d_centroids + c * d + c0, cols);
    return VQ_OK;
}

static vq_status map_step(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    training *t = ctx;
    size_t d = t->s->d, r0 = task * VQ_MAP_TILE, n = VQ_MIN(d - r0, VQ_MAP_TILE);
    vq_adam_turn(&t->map, t->s->map, t->d_map, r0 * d, n * d);
    take_off(t->s->map + r0 * d, t->d_map + r0 * d, n * d);
    return VQ_OK;
}

static vq_status step(training *t, double factor, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = t->s->d, nlist = t->s->nlist;
    vq_adam_begin(&t->books, t->d_books, factor);
    VQ_TRY(vq_team_run(t->threads, t->s->m, book_step, t, err));
    if (t->opts->learn_lists) {
        vq_adam_begin(&t->lists, t->d_centroids, factor);
        VQ_TRY(
            vq_team_run(t->threads, (nlist + VQ_LIST_TILE - 1) / VQ_LIST_TILE, list_step, t, err));
        VQ_TRY(vq_team_run(t->threads, (d + COLUMN_TILE - 1) / COLUMN_TILE, list_drift, t, err));
    }
    if (t->opts->learn_map) {
        vq_adam_begin(&t->map, t->d_map, factor);
        VQ_TRY(vq_team_run(t->threads, (d + VQ_MAP_TILE - 1) / VQ_MAP_TILE, map_step, t, err));
    }
out:
    return rc;
}

/* ---- training -------------------------------------------------------------------------------- */

static void count_uses(training *t, const vq_lessons *l)
{
    size_t m = t->s->m, kk = t->s->kk;
    double share = 1.0 / (double)l->n;
    for (size_t i = 0; i < l->n; i++) {
        for (size_t j = 0; j < m; j++) t->weights[j * kk + l->codes[i * m + j]] += 1.0;
        if (t->list_shares != NULL) t->list_shares[l->lists[i]] += 1.0;
    }
    for (size_t w = 0; w < m * kk; w++) t->weights[w] *= share;
    for (size_t c = 0; t->list_shares != NULL && c < t->s->nlist; c++) t->list_shares[c] *= share;
}

static vq_status training_init(training *t, const vq_lessons *l, size_t batch, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_student *s = t->s;
    const vq_distil_opts *o = t->opts;
    size_t d = s->d, words = s->m * s->kk, nbooks = words * (s->additive ? d : d / s->m);
    size_t nlists = o->learn_lists ? s->nlist : 0, rows = o->learn_map ? d : 0;
    VQ_TRY(vq_distil_batch_init(&t->batch, s, l, o, batch, err));
    t->threads = t->batch.threads;
    t->order = vq_mem_alloc(l->nq, sizeof *t->order);
    t->weights = vq_mem_calloc(words, sizeof *t->weights);
    t->list_shares = nlists > 0 ? vq_mem_calloc(nlists, sizeof *t->list_shares) : NULL;
    t->drift = vq_mem_alloc((size_t)t->threads * (d + COLUMN_TILE), sizeof *t->drift);
    t->d_books = vq_alloc_f32(nbooks, 1);
    t->d_centroids = nlists > 0 ? vq_alloc_f32(nlists, d) : NULL;
    t->d_map = rows > 0 ? vq_alloc_f32(rows, d) : NULL;
    VQ_REQUIRE(t->order != NULL && t->weights != NULL && t->drift != NULL && t->d_books != NULL &&
                   (nlists == 0 || (t->list_shares != NULL && t->d_centroids != NULL)) &&
                   (rows == 0 || t->d_map != NULL),
               VQ_ENOMEM, "distillation: out of memory for %zu parameters", nbooks + nlists * d);
    t->batch.d_books = t->d_books;
    t->batch.d_centroids = t->d_centroids;
    t->batch.d_map = t->d_map;
    double books = vq_rms(s->books, nbooks), unit = 1.0 / sqrt((double)d);
    double lists = vq_rms(s->centroids, nlists * d);
    VQ_TRY(vq_adam_init(&t->books, s->books, nbooks, o->step * books, books, o->anchor, err));
    VQ_TRY(
        vq_adam_init(&t->lists, s->centroids, nlists * d, o->step * lists, lists, o->anchor, err));
    VQ_TRY(vq_adam_init(&t->map, s->map, rows * d, o->step * unit, unit, o->anchor, err));
    count_uses(t, l);
out:
    return rc;
}

static void training_fini(training *t)
{
    vq_distil_batch_fini(&t->batch);
    vq_adam_fini(&t->books);
    vq_adam_fini(&t->lists);
    vq_adam_fini(&t->map);
    vq_mem_free(t->order);
    vq_mem_free(t->weights);
    vq_mem_free(t->list_shares);
    vq_mem_free(t->drift);
    vq_mem_free(t->d_books);
    vq_mem_free(t->d_centroids);
    vq_mem_free(t->d_map);
}

static void shuffle(uint32_t *order, size_t n, uint64_t seed, unsigned epoch)
{
    vq_rng rng;
    vq_rng_init(&rng, seed, epoch);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)vq_rng_below(&rng, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

static vq_status one_epoch(training *t, size_t nq, size_t nbatch, unsigned epoch, double *loss,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t steps = nbatch * t->opts->epochs, small = nq / nbatch, larger = nq % nbatch;
    shuffle(t->order, nq, t->opts->seed, epoch);
    *loss = 0.0;
    for (size_t i = 0, at = 0, n; i < nbatch; i++, at += n) {
        double part;
        size_t done = epoch * nbatch + i;
        n = small + (i < larger);
        VQ_TRY(vq_tick(t->opts->ticker, "distillation", done, steps, err));
        VQ_TRY(vq_distil_batch_run(&t->batch, t->order + at, n, &part, err));
        *loss += part * ((double)n / (double)nq);
        VQ_TRY(step(t, vq_adam_factor(done, steps), err));
    }
out:
    return rc;
}

vq_status vq_distil(vq_student *s, const vq_lessons *l, const vq_distil_opts *opts, vq_error *err)
{
    vq_status rc = VQ_OK;
    training t = {.s = s, .opts = opts};
    bool stop = false;
    vq_team_blas_enter();
    VQ_TRY(check(s, l, opts, err));
    size_t batch = VQ_MIN(opts->batch > 0 ? opts->batch : BATCH, l->nq);
    size_t nbatch = (l->nq + batch - 1) / batch;
    VQ_TRY(training_init(&t, l, batch, err));
    for (unsigned epoch = 0; epoch < opts->epochs && !stop; epoch++) {
        double loss;
        VQ_TRY(one_epoch(&t, l->nq, nbatch, epoch, &loss, err));
        if (opts->after_epoch != NULL)
            VQ_TRY(opts->after_epoch(opts->ctx, epoch, loss, s, &stop, err));
    }
    VQ_TRY(
        vq_tick(opts->ticker, "distillation", nbatch * opts->epochs, nbatch * opts->epochs, err));
out:
    training_fini(&t);
    vq_team_blas_leave();
    return rc;
}

vq_status vq_distil_gradient(const vq_student *s, const vq_lessons *l, const vq_distil_opts *opts,
                             const uint32_t *batch, size_t nbatch, double *loss, float *d_books,
                             float *d_centroids, float *d_map, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_distil_batch b = {0};
    vq_distil_opts o = *opts;
    o.learn_lists = d_centroids != NULL;
    o.learn_map = d_map != NULL;
    vq_team_blas_enter();
    VQ_TRY(check(s, l, &o, err));
    VQ_REQUIRE(nbatch >= 1, VQ_EINVAL, "distillation: no queries");
    for (size_t i = 0; i < nbatch; i++)
        VQ_REQUIRE(batch[i] < l->nq, VQ_EINVAL, "distillation: query %u of %zu", batch[i], l->nq);
    VQ_TRY(vq_distil_batch_init(&b, s, l, &o, nbatch, err));
    b.d_books = d_books;
    b.d_centroids = d_centroids;
    b.d_map = d_map;
    VQ_TRY(vq_distil_batch_run(&b, batch, nbatch, loss, err));
out:
    vq_distil_batch_fini(&b);
    vq_team_blas_leave();
    return rc;
}
