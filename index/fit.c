/* SPDX-License-Identifier: Apache-2.0 */
/* fit.c -- see fit.h.  In order: axes of the data, lists by k-means in these axes, axes of the
 * residuals (fitaxes.c), codebooks of the turned residuals. */
#include "index/fit.h"

#include <string.h>

#include "index/fitting.h"
#include "index/gain.h"
#include "index/grouping.h"
#include "index/spill.h"
#include "src/base/rng.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"

enum {
    BLOCK = 1024, /* rows transformed at a time */
    CODEC_ROWS = 32768,
    ASK = 16,      /* one row of so many asks where error bars are calibrated; */
    ASKERS = 4096, /* ..no more than these */
    KMEANS_ITERS = 8
};

#define WORTH_COPIES 0.9
#define RNG_STREAM   0x61736b65u /* any number that no other draw of the build takes */

void vq_fitted_fini(vq_fitted *f)
{
    vq_mem_free(f->mean);
    vq_mem_free(f->matrix);
    vq_mem_free(f->query_matrix);
    vq_mem_free(f->centroids);
    vq_mem_free(f->routes);
    vq_mem_free(f->biases);
    vq_mem_free(f->params);
    vq_mem_free(f->bars);
    vq_mem_free(f->groups);
    memset(f, 0, sizeof *f);
}

typedef struct block_task {
    vq_fitting *f;
    float *wide; /* threads x BLOCK x d */
} block_task;

static vq_status transform_block(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    block_task *t = ctx;
    vq_fitting *f = t->f;
    const vq_model *m = &f->p->model;
    size_t first = task * BLOCK, n = VQ_MIN(f->n + f->nask - first, (size_t)BLOCK);
    vq_fit_encode_space(m, f->k, f->elem, f->rows + first * m->d * vq_elem_size(f->elem), n,
                        t->wide + (size_t)worker * BLOCK * m->d, f->y + first * m->d_code);
    return VQ_OK;
}

/* Drawn, since rows of an input may be alike that are some power of two apart. */
size_t vq_fit_asker(const vq_fitting *f, size_t i)
{
    vq_rng r;
    vq_rng_init(&r, f->p->model.seed ^ RNG_STREAM, i);
    return i * f->every + vq_rng_below(&r, f->every);
}

size_t vq_fit_row(const vq_fitting *f, size_t i)
{
    if (f->nask == 0) return i;
    size_t of = i / (f->every - 1); /* before its asker all stand where those of `of` others do */
    if (of >= f->nask) return i + f->nask;
    return i + of + (i + of >= vq_fit_asker(f, of));
}

/* Those that ask go to the end of y. */
static vq_status part_askers(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = f->p->model.d_code, row = d * sizeof *f->y;
    float *askers = vq_alloc_f32(f->nask, d);
    VQ_REQUIRE(askers != NULL, VQ_ENOMEM, "sample: %zu x %zu floats", f->nask, d);
    for (size_t i = 0; i < f->nask; i++) memcpy(askers + i * d, f->y + vq_fit_asker(f, i) * d, row);
    for (size_t i = 0; f->nask > 0 && i < f->n; i++) /* rises, so a row moves down only */
        memmove(f->y + i * d, f->y + vq_fit_row(f, i) * d, row);
    memcpy(f->y + f->n * d, askers, f->nask * row);
out:
    vq_mem_free(askers);
    return rc;
}

static vq_status transform_sample(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t all = f->n + f->nask, blocks = (all + BLOCK - 1) / BLOCK;
    int threads = vq_team((uint32_t)f->p->threads, blocks);
    block_task t = {.f = f, .wide = vq_alloc_f32((size_t)threads * BLOCK, m->d)};
    f->y = vq_alloc_f32(all, m->d_code);
    VQ_REQUIRE(t.wide != NULL && f->y != NULL, VQ_ENOMEM, "sample: %zu x %u floats", all,
               m->d_code);
    VQ_TRY(vq_team_run(threads, blocks, transform_block, &t, err));
    VQ_TRY(part_askers(f, err));
out:
    vq_mem_free(t.wide);
    return rc;
}

/* Copies cost bytes and a longer build: do they spare a tenth of the reading? */
static vq_status weigh_copies(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t nq;
    float *queries;
    vq_spill_gain gain;
    VQ_TRY(vq_fit_queries(f, &queries, &nq, err));
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

static vq_status find_lists(vq_fitting *f, vq_error *err)
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
    vq_fitting *f;
    vq_nearest near;
    float *scratch; /* threads x vq_nearest_scratch */
} residual_task;

static vq_status residual_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    residual_task *t = ctx;
    vq_fitting *f = t->f;
    const vq_model *m = &f->p->model;
    size_t first = task * VQ_ASSIGN_TILE;
    size_t n = VQ_MIN(f->n + f->nask - first, (size_t)VQ_ASSIGN_TILE);
    uint32_t *assign = f->lists + first;
    float *y = f->y + first * m->d_code;
    vq_nearest_assign(&t->near, y, n, t->scratch + (size_t)worker * vq_nearest_scratch(&t->near),
                      assign);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m->d_code; j++)
            y[i * m->d_code + j] -= m->centroids[(size_t)assign[i] * m->d_code + j];
    return VQ_OK;
}

/* Back to vectors; what has been noted of their lengths is less what their coordinates have of it
 * from then on. */
static void add_centroids(vq_fitting *f)
{
    const vq_model *m = &f->p->model;
    size_t d = m->d_code;
    for (size_t i = 0; i < f->n + f->nask; i++)
        for (size_t j = 0; j < d; j++) f->y[i * d + j] += m->centroids[(size_t)f->lists[i] * d + j];
    for (size_t i = 0; i < f->n + f->nask; i++)
        f->more[i] -= (float)(0.5 * f->k->sq_row_f32(f->y + i * d, d));
}

/* The sample less its centroids: what the codes will code. */
static vq_status take_residuals(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t all = f->n + f->nask, tiles = (all + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE;
    int threads = vq_team((uint32_t)f->p->threads, tiles);
    residual_task t = {.f = f};
    VQ_TRY(vq_grouping_nearest(&t.near, m, true, err));
    t.scratch = vq_alloc_f32((size_t)threads, vq_nearest_scratch(&t.near));
    if (f->lists == NULL) f->lists = vq_mem_alloc(all, sizeof *f->lists);
    VQ_REQUIRE(t.scratch != NULL && f->lists != NULL, VQ_ENOMEM, "residuals: %u lists", m->nlist);
    VQ_TRY(vq_team_run(threads, tiles, residual_tile, &t, err));
out:
    vq_nearest_fini(&t.near);
    vq_mem_free(t.scratch);
    return rc;
}

/* Rules of the groups in the space of the codes; vectors are residuals and centroids. */
static vq_status measure_groups(const vq_fitting *f, vq_error *err)
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
    VQ_TRY(vq_fit_queries(f, &queries, &nq, err));
    VQ_TRY(vq_grouping_measure(m, f->out->groups, rows, n, queries, nq, f->p->threads, err));
out:
    vq_mem_free(rows);
    vq_mem_free(queries);
    return rc;
}

static vq_status find_codebooks(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    size_t d = m->d_code, n = VQ_MIN(f->n, VQ_MAX((size_t)CODEC_ROWS, m->codec->sample));
    if (m->codec->calibrate != NULL) n = f->n;   /* they will be answers */
    for (size_t i = 0; n < f->n && i < n; i++) { /* rises, so a row moves down only */
        size_t from = vq_spaced_row(f->n, n, i);
        memmove(f->y + i * d, f->y + from * d, d * sizeof *f->y);
        f->lists[i] = f->lists[from];
    }
    f->n = n;
    VQ_TRY(m->codec->train(f->y, n, m->d_code, m->m, m->seed, f->p->threads, f->ticker,
                           f->out->params, err));
    m->params = f->out->params;
out:
    return rc;
}

vq_status vq_fit(vq_plan *p, const void *rows, uint32_t elem, size_t n, const vq_queries *queries,
                 vq_ticker *ticker, vq_fitted *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    vq_fitting f = {.p = p,
                    .out = out,
                    .k = vq_kernels_get(),
                    .ticker = ticker,
                    .rows = rows,
                    .elem = elem,
                    .n = n,
                    .queries = queries};
    if (m->codec->calibrate != NULL && n >= ASK) {
        f.nask = VQ_MIN(n / ASK, (size_t)ASKERS);
        f.every = n / f.nask;
        f.n = n - f.nask;
    }
    VQ_TRY(vq_tick(ticker, "axes", 0, 0, err));
    VQ_TRY(vq_fit_transform(&f, err));
    VQ_TRY(transform_sample(&f, err));
    VQ_TRY(find_lists(&f, err));
    VQ_TRY(take_residuals(&f, err));
    out->params =
        vq_mem_calloc(VQ_MAX(m->codec->nparams(m->d_code, m->m), (size_t)1), sizeof *out->params);
    out->biases = vq_mem_calloc(m->nlist, sizeof *out->biases);
    VQ_REQUIRE(out->params != NULL && out->biases != NULL, VQ_ENOMEM,
               "codebooks: %u dimensions, %u lists", m->d_code, m->nlist);
    bool learnt = m->rotation == VQ_ROTATION_PCA || m->rotation == VQ_ROTATION_OPQ;
    if (learnt && m->codec->axes) VQ_TRY(vq_fit_axes(&f, err));
    if (f.more != NULL) { /* rounded: a vector between two lists may be nearer to the other now */
        add_centroids(&f);
        VQ_TRY(take_residuals(&f, err));
    }
    VQ_TRY(vq_model_see(m, f.k, m->centroids, m->nlist, NULL, out->biases, err));
    m->biases = out->biases;
    if (m->ngroups > 0) VQ_TRY(measure_groups(&f, err));
    VQ_TRY(find_codebooks(&f, err));
    vq_model_derive(m, 0);
    if (m->codec->calibrate != NULL) VQ_TRY(vq_fit_bars(&f, err));
    if (m->codec->books != NULL && m->metric != VQ_METRIC_L2 && m->train == VQ_TRAIN_KMEANS)
        VQ_TRY(vq_gain_find(p, f.y, f.lists, f.n, err));
out:
    vq_mem_free(f.y);
    vq_mem_free(f.lists);
    vq_mem_free(f.more);
    vq_mem_free(f.to_rows);
    vq_mem_free(f.to_queries);
    return rc;
}
