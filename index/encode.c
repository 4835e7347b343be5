/* SPDX-License-Identifier: Apache-2.0 */
/* encode.c -- see encode.h. */
#include "index/encode.h"

#include <math.h>
#include <string.h>

#include "index/factor.h"
#include "index/fit.h"
#include "src/train/kmeans.h"

typedef struct tile { /* scratch of one worker, VQ_ASSIGN_TILE rows */
    float *wide, *coded, *dots, *decoded;
} tile;

typedef struct encoder {
    const vq_encode_job *job;
    const vq_kernels *k;
    size_t n;                     /* rows of the block */
    tile *tiles;                  /* of the workers */
    float *bias;                  /* nlist: for the assignment */
    uint32_t *lists, *own_lists;  /* block */
    float *factors, *own_factors; /* block, or NULL */
    uint8_t *codes, *own_codes;   /* block x code_bytes */
    float *coded;                 /* block x d_code: rows in the coded space are kept, or NULL */
    uint8_t *stored;              /* block x row_bytes: rows as stored */
} encoder;

/* Of rows whose residuals are in t->coded. */
static void make_factors(const encoder *e, const tile *t, size_t first, size_t n)
{
    const vq_model *m = e->job->model;
    size_t d = m->d_code;
    m->codec->decode(&m->code, e->codes + first * m->code.code_bytes, n, t->decoded);
    for (size_t i = 0; i < n; i++) {
        const float *c = m->centroids + (size_t)e->lists[first + i] * d;
        e->factors[first + i] = vq_factor(e->k, c, t->coded + i * d, t->decoded + i * d, d);
    }
}

/* Rows as they come to rows as stored. */
static void store_rows(const encoder *e, const tile *t, const uint8_t *rows, size_t n, uint8_t *to)
{
    const vq_model *m = e->job->model;
    size_t count = n * m->d;
    vq_to_f32(e->k, m->input, rows, count, t->wide);
    if (m->store == VQ_F16) {
        e->k->f16_from_f32(t->wide, count, to);
    } else if (m->store == VQ_I8) { /* the scale takes the largest |x| to 127 */
        for (size_t i = 0; i < count; i++)
            to[i] = (uint8_t)(int8_t)lrintf(t->wide[i] * m->store_scale);
    } else {
        memcpy(to, t->wide, count * sizeof *t->wide);
    }
}

static vq_status encode_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    encoder *e = ctx;
    const vq_model *m = e->job->model;
    const tile *t = &e->tiles[worker];
    size_t first = task * VQ_ASSIGN_TILE, n = VQ_MIN(e->n - first, (size_t)VQ_ASSIGN_TILE);
    size_t d = m->d_code, in_bytes = m->d * vq_elem_size(m->input);
    const uint8_t *rows = e->job->rows + first * in_bytes;
    if (e->stored != NULL) store_rows(e, t, rows, n, e->stored + first * m->shape.row_bytes);
    if (e->job->known) goto out;
    vq_fit_encode_space(m, e->k, m->input, rows, n, t->wide, t->coded);
    if (e->coded != NULL) memcpy(e->coded + first * d, t->coded, n * d * sizeof *t->coded);
    vq_kmeans_assign(e->k, t->coded, n, d, m->centroids, e->bias, m->nlist, t->dots,
                     e->lists + first);
    for (size_t i = 0; i < n; i++) {
        const float *c = m->centroids + (size_t)e->lists[first + i] * d;
        for (size_t j = 0; j < d; j++) t->coded[i * d + j] -= c[j];
    }
    VQ_TRY(
        m->codec->encode(&m->code, e->k, t->coded, n, e->codes + first * m->code.code_bytes, err));
    if (e->factors != NULL) make_factors(e, t, first, n);
out:
    return rc;
}

static vq_status encoder_init(encoder *e, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = e->job->model;
    size_t block = e->job->block;
    e->tiles = vq_mem_calloc((size_t)threads, sizeof *e->tiles);
    e->bias = vq_alloc_f32(1, m->nlist);
    e->own_lists = vq_mem_alloc(block, sizeof *e->lists);
    e->own_codes = vq_mem_alloc(block, m->code.code_bytes);
    if (m->shape.factors) e->own_factors = vq_alloc_f32(1, block);
    bool convert = m->store != VQ_ELEM_NONE && m->store != m->input;
    if (convert) e->stored = vq_mem_alloc(block, m->shape.row_bytes);
    VQ_REQUIRE(e->tiles != NULL && e->bias != NULL && e->own_lists != NULL &&
                   e->own_codes != NULL && (e->own_factors != NULL || !m->shape.factors) &&
                   (e->stored != NULL || !convert),
               VQ_ENOMEM, "encoding: a block of %zu rows", block);
    for (int i = 0; i < threads; i++) {
        tile *t = &e->tiles[i];
        t->wide = vq_alloc_f32(VQ_ASSIGN_TILE, m->d);
        t->coded = vq_alloc_f32(VQ_ASSIGN_TILE, m->d_code);
        t->decoded = vq_alloc_f32(VQ_ASSIGN_TILE, m->d_code);
        t->dots = vq_alloc_f32(VQ_ASSIGN_TILE, m->nlist);
        VQ_REQUIRE(t->wide != NULL && t->coded != NULL && t->decoded != NULL && t->dots != NULL,
                   VQ_ENOMEM, "encoding: a tile of %u rows", VQ_ASSIGN_TILE);
    }
    vq_kmeans_bias(m->centroids, m->nlist, m->d_code, e->bias);
out:
    return rc;
}

static void encoder_fini(encoder *e, int threads)
{
    for (int i = 0; e->tiles != NULL && i < threads; i++) {
        vq_mem_free(e->tiles[i].wide);
        vq_mem_free(e->tiles[i].coded);
        vq_mem_free(e->tiles[i].decoded);
        vq_mem_free(e->tiles[i].dots);
    }
    vq_mem_free(e->tiles);
    vq_mem_free(e->bias);
    vq_mem_free(e->own_lists);
    vq_mem_free(e->own_factors);
    vq_mem_free(e->own_codes);
    vq_mem_free(e->stored);
}

/* The block that begins at vector `done`: where its lists and codes are or go. */
static void place_block(encoder *e, size_t done)
{
    const vq_corpus *c = e->job->corpus;
    e->lists = c != NULL ? c->lists + done : e->own_lists;
    e->factors = c != NULL && c->factors != NULL ? c->factors + done : e->own_factors;
    e->codes = c != NULL ? c->codes + done * e->job->model->code.code_bytes : e->own_codes;
    e->coded = c != NULL && !e->job->known ? c->coded + done * e->job->model->d_code : NULL;
}

vq_status vq_encode_all(const vq_encode_job *job, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = job->model;
    int threads = vq_team((uint32_t)job->threads, job->block / VQ_ASSIGN_TILE + 1);
    encoder e = {.job = job, .k = vq_kernels_get()};
    size_t done = 0;
    VQ_TRY(encoder_init(&e, threads, err));
    for (size_t got = 1; got > 0; done += got) {
        VQ_TRY(vq_source_read(job->src, job->rows, job->block, NULL, &got, err));
        VQ_REQUIRE(done + got <= m->n, VQ_EIO, "%s: it changed while it was read", job->src->name);
        e.n = got;
        place_block(&e, done);
        size_t tiles = (got + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE;
        VQ_TRY(vq_team_run(threads, tiles, encode_tile, &e, err));
        if (job->writer != NULL)
            VQ_TRY(vq_writer_add(job->writer, done, got, e.lists, e.factors, e.codes,
                                 e.stored != NULL ? e.stored : job->rows, err));
        VQ_TRY(vq_tick(job->ticker, job->phase, done + got, m->n, err));
    }
    VQ_REQUIRE(done == m->n, VQ_EIO, "%s: it changed while it was read", job->src->name);
out:
    encoder_fini(&e, threads);
    return rc;
}
