/* SPDX-License-Identifier: Apache-2.0 */
/* encode.c -- see encode.h. */
#include "index/encode.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "index/fit.h"
#include "index/grouping.h"
#include "src/train/factor.h"
#include "src/train/kmeans.h"
#include "src/train/spill.h"

/* Vectors from which on a codec's coder pays: about what it costs to make. */
#define CODER_PAYS 512

typedef struct tile { /* scratch of one worker, VQ_ASSIGN_TILE rows */
    float *wide, *coded, *residuals, *decoded;
    uint8_t *codes;
    float *halves;  /* half of the vectors' squared lengths, where coordinates do not keep them */
    float *scratch; /* vq_nearest_scratch() */
} tile;

typedef struct coded_block { /* a block's place in lists, or that of its copies */
    uint32_t *lists;
    float *factors; /* or NULL */
    uint8_t *codes; /* code_bytes each */
    float *far;     /* squared distances to the centroids, or NULL */
} coded_block;

typedef struct encoder {
    const vq_encode_job *job;
    const vq_kernels *k;
    size_t n;                    /* rows of the block */
    tile *tiles;                 /* of the workers */
    vq_nearest near;             /* the lists, for the assignment */
    const float *seen;           /* nlist x d_code: centroids as what is taken off queries */
    float *own_seen;             /* the memory of that, or NULL */
    coded_block own[2];          /* memory for a block of vectors, and of copies */
    coded_block vectors, copies; /* where those of this block are or go */
    float *coded;                /* block x d_code: rows in the coded space are kept, or NULL */
    uint8_t *stored;             /* block x row_bytes: rows as stored */
    size_t *clamped;             /* a count of each worker; NULL: none can be */
    void *coder;                 /* of the codec; NULL: there is none, or not yet */
} encoder;

/* The factor of a row of the tile that is in a list, the i-th of those that are coded. */
static float factor_of(const encoder *e, const tile *t, uint32_t list, size_t row, size_t i)
{
    const vq_model *m = e->job->model;
    size_t d = m->d_code;
    const float *c = e->seen + (size_t)list * d, *r = t->residuals + i * d;
    float *h = t->decoded + i * d;
    if (vq_model_rounded(m)) return vq_factor_of_length(t->halves[row], c, r, h, d);
    return m->codec->bar != NULL ? vq_factor_of_bars(e->k, c, r, h, d)
                                 : vq_factor(e->k, c, r, h, d);
}

/* Codes of the rows first..first+n-1 of the block (t->coded) that have a list in b. */
static vq_status code_rows(const encoder *e, const tile *t, const coded_block *b, size_t first,
                           size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = e->job->model;
    size_t d = m->d_code, bytes = m->code.code_bytes, count = 0;
    uint32_t rows[VQ_ASSIGN_TILE];
    for (size_t i = 0; i < n; i++) {
        if (b->lists[first + i] == VQ_NO_LIST) continue;
        const float *c = m->centroids + (size_t)b->lists[first + i] * d, *x = t->coded + i * d;
        for (size_t j = 0; j < d; j++) t->residuals[count * d + j] = x[j] - c[j];
        rows[count++] = (uint32_t)(first + i);
    }
    if (count == 0) goto out;
    vq_code_model code = m->code;
    code.coder = e->coder;
    VQ_TRY(m->codec->encode(&code, e->k, t->residuals, count, t->codes, err));
    if (b->factors != NULL) m->codec->decode(&m->code, t->codes, count, t->decoded);
    for (size_t i = 0; i < count && b->factors != NULL && m->codec->centre != NULL; i++)
        m->codec->centre(&m->code, e->k, e->seen + (size_t)b->lists[rows[i]] * d, t->wide,
                         t->codes + i * bytes);
    for (size_t i = 0; i < count; i++) {
        memcpy(b->codes + rows[i] * bytes, t->codes + i * bytes, bytes);
        const float *r = t->residuals + i * d;
        if (b->far != NULL) b->far[rows[i]] = (float)e->k->sq_row_f32(r, d);
        if (b->factors != NULL)
            b->factors[rows[i]] = factor_of(e, t, b->lists[rows[i]], rows[i] - first, i);
    }
out:
    return rc;
}

static vq_status coder_task(void *ctx, size_t book, int worker, vq_error *err)
{
    (void)worker, (void)err;
    const encoder *e = ctx;
    const vq_model *m = e->job->model;
    m->codec->coder(&m->code, e->k, book, e->coder);
    return VQ_OK;
}

/* Makes the coder, if the codec has one and so many vectors (of all blocks) are worth it. */
static vq_status want_coder(encoder *e, uint64_t vectors, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = e->job->model;
    if (m->codec->coder == NULL || e->coder != NULL || vectors < CODER_PAYS) goto out;
    size_t size = m->codec->coder_size(e->k, m->d_code, m->m);
    if (size == SIZE_MAX) goto out;
    e->coder = vq_mem_alloc(size, 1);
    VQ_REQUIRE(e->coder != NULL, VQ_ENOMEM, "encoding: %u books as bytes", m->m);
    VQ_TRY(vq_team_run(threads, m->m, coder_task, e, err));
out:
    return rc;
}

/* Whole numbers times the scale, which takes the largest |x| of a build to 127; what came later may
 * be larger. */
static size_t store_whole(const vq_model *m, const float *x, size_t n, uint8_t *to)
{
    long least = m->store == VQ_I8 ? -128 : 0, most = m->store == VQ_I8 ? 127 : 255;
    size_t clamped = 0;
    for (size_t i = 0; i < n; i++) {
        bool far = false;
        for (size_t j = 0; j < m->d; j++) {
            long v = lrintf(x[i * m->d + j] * m->store_scale), near = VQ_MAX(v, least);
            near = VQ_MIN(near, most);
            far |= near != v;
            to[i * m->d + j] = (uint8_t)near;
        }
        clamped += far;
    }
    return clamped;
}

/* Rows as they come to rows as stored; how many of them had to be clamped. */
static size_t store_rows(const encoder *e, const tile *t, const uint8_t *rows, size_t n,
                         uint8_t *to)
{
    const vq_model *m = e->job->model;
    size_t count = n * m->d;
    if (m->store == m->input && m->store_scale == 1.0f) {
        memcpy(to, rows, n * m->shape.row_bytes);
        return 0;
    }
    vq_to_f32(e->k, m->input, rows, count, t->wide);
    if (m->store == VQ_I8 || m->store == VQ_U8) return store_whole(m, t->wide, n, to);
    if (m->store == VQ_F16)
        e->k->f16_from_f32(t->wide, count, to);
    else
        memcpy(to, t->wide, count * sizeof *t->wide);
    return 0;
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
    size_t clamped = 0;
    if (e->stored != NULL)
        clamped = store_rows(e, t, rows, n, e->stored + first * m->shape.row_bytes);
    if (e->clamped != NULL) e->clamped[worker] += clamped;
    if (e->job->known) goto out;
    vq_fit_encode_space(m, e->k, m->input, rows, n, t->wide, t->coded);
    for (size_t i = 0; vq_model_rounded(m) && i < n; i++) /* wide: less the mean */
        t->halves[i] = (float)(0.5 * e->k->sq_row_f32(t->wide + i * m->d, m->d));
    if (e->coded != NULL) memcpy(e->coded + first * d, t->coded, n * d * sizeof *t->coded);
    vq_nearest_assign(&e->near, t->coded, n, t->scratch, e->vectors.lists + first);
    VQ_TRY(code_rows(e, t, &e->vectors, first, n, err));
    if (e->copies.lists == NULL) goto out;
    vq_nearest_second(&e->near, t->coded, n, e->vectors.lists + first, t->scratch,
                      e->copies.lists + first);
    VQ_TRY(code_rows(e, t, &e->copies, first, n, err));
out:
    return rc;
}

static vq_status block_init(coded_block *b, const vq_model *m, size_t rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    b->lists = vq_mem_alloc(rows, sizeof *b->lists);
    b->codes = vq_mem_alloc(rows, m->code.code_bytes);
    if (m->shape.factors) b->factors = vq_alloc_f32(1, rows);
    VQ_REQUIRE(b->lists != NULL && b->codes != NULL && (b->factors != NULL || !m->shape.factors),
               VQ_ENOMEM, "encoding: a block of %zu rows", rows);
out:
    return rc;
}

static vq_status tile_init(tile *t, const encoder *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = e->job->model;
    t->wide = vq_alloc_f32(VQ_ASSIGN_TILE, m->d);
    t->coded = vq_alloc_f32(VQ_ASSIGN_TILE, m->d_code);
    t->residuals = vq_alloc_f32(VQ_ASSIGN_TILE, m->d_code);
    t->decoded = vq_alloc_f32(VQ_ASSIGN_TILE, m->d_code);
    t->codes = vq_mem_alloc(VQ_ASSIGN_TILE, m->code.code_bytes);
    t->halves = vq_alloc_f32(1, VQ_ASSIGN_TILE);
    if (e->near.bias != NULL) t->scratch = vq_alloc_f32(1, vq_nearest_scratch(&e->near));
    VQ_REQUIRE(t->wide != NULL && t->coded != NULL && t->residuals != NULL && t->decoded != NULL &&
                   t->codes != NULL && t->halves != NULL &&
                   (t->scratch != NULL || e->near.bias == NULL),
               VQ_ENOMEM, "encoding: a tile of %u rows", VQ_ASSIGN_TILE);
out:
    return rc;
}

/* Centroids as factors take them. */
static vq_status see_centroids(encoder *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = e->job->model;
    e->seen = m->centroids;
    if (!vq_model_rounded(m) || e->job->known) goto out;
    e->seen = e->own_seen = vq_alloc_f32(m->nlist, m->d_code);
    VQ_REQUIRE(e->own_seen != NULL, VQ_ENOMEM, "encoding: %u lists", m->nlist);
    VQ_TRY(vq_model_see(m, e->k, m->centroids, m->nlist, e->own_seen, NULL, err));
out:
    return rc;
}

static vq_status encoder_init(encoder *e, int threads, bool groups, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = e->job->model;
    size_t block = e->job->block;
    e->tiles = vq_mem_calloc((size_t)threads, sizeof *e->tiles);
    bool convert = m->store != VQ_ELEM_NONE && m->store != m->input;
    if (convert) e->stored = vq_mem_alloc(block, m->shape.row_bytes);
    VQ_REQUIRE(e->tiles != NULL && (e->stored != NULL || !convert), VQ_ENOMEM,
               "encoding: a block of %zu rows", block);
    VQ_TRY(block_init(&e->own[0], m, block, err));
    e->own[0].far = vq_alloc_f32(1, block);
    VQ_REQUIRE(e->own[0].far != NULL, VQ_ENOMEM, "encoding: a block of %zu rows", block);
    if (e->job->copies != NULL || e->job->second) VQ_TRY(block_init(&e->own[1], m, block, err));
    VQ_TRY(vq_grouping_nearest(&e->near, m, groups, err));
    VQ_TRY(see_centroids(e, err));
    for (int i = 0; i < threads; i++) VQ_TRY(tile_init(&e->tiles[i], e, err));
out:
    return rc;
}

static void encoder_fini(encoder *e, int threads)
{
    for (int i = 0; e->tiles != NULL && i < threads; i++) {
        vq_mem_free(e->tiles[i].wide);
        vq_mem_free(e->tiles[i].coded);
        vq_mem_free(e->tiles[i].residuals);
        vq_mem_free(e->tiles[i].decoded);
        vq_mem_free(e->tiles[i].codes);
        vq_mem_free(e->tiles[i].halves);
        vq_mem_free(e->tiles[i].scratch);
    }
    vq_mem_free(e->tiles);
    vq_mem_free(e->own_seen);
    vq_nearest_fini(&e->near);
    for (int i = 0; i < 2; i++) {
        vq_mem_free(e->own[i].lists);
        vq_mem_free(e->own[i].codes);
        vq_mem_free(e->own[i].factors);
        vq_mem_free(e->own[i].far);
    }
    vq_mem_free(e->stored);
    vq_mem_free(e->coder);
}

/* The block that begins at vector `done`: where its lists and codes are or go. */
static void place_block(encoder *e, size_t done)
{
    const vq_corpus *c = e->job->corpus;
    size_t bytes = e->job->model->code.code_bytes;
    e->vectors = e->own[0], e->copies = e->own[1];
    if (c != NULL) e->vectors.lists = c->lists + done, e->vectors.codes = c->codes + done * bytes;
    if (c != NULL && c->factors != NULL) e->vectors.factors = c->factors + done;
    if (c != NULL && c->copy_lists != NULL) {
        e->copies.lists = c->copy_lists + done;
        e->copies.codes = c->copy_codes + done * bytes;
        if (c->copy_factors != NULL) e->copies.factors = c->copy_factors + done;
    }
    e->coded = c != NULL && !e->job->known ? c->coded + done * e->job->model->d_code : NULL;
}

vq_status vq_encode_all(const vq_encode_job *job, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = job->model;
    int threads = vq_team((uint32_t)job->threads, job->block / VQ_ASSIGN_TILE + 1);
    encoder e = {.job = job, .k = vq_kernels_get()};
    uint64_t n = job->corpus != NULL ? job->corpus->n : m->n;
    size_t done = 0;
    VQ_TRY(encoder_init(&e, threads, true, err));
    if (!job->known) VQ_TRY(want_coder(&e, n, threads, err));
    for (size_t got = 1; got > 0; done += got) {
        VQ_TRY(vq_source_read(job->src, job->rows, job->block, NULL, &got, err));
        VQ_REQUIRE(done + got <= n, VQ_EIO, "%s: it changed while it was read", job->src->name);
        e.n = got;
        place_block(&e, done);
        size_t tiles = (got + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE;
        VQ_TRY(vq_team_run(threads, tiles, encode_tile, &e, err));
        for (size_t i = 0; job->far != NULL && i < got; i++) *job->far += (double)e.own[0].far[i];
        if (job->writer != NULL)
            VQ_TRY(vq_list_writer_add(job->writer, done, got, e.vectors.lists, e.vectors.factors,
                                      e.vectors.codes, e.stored != NULL ? e.stored : job->rows,
                                      err));
        if (job->copies != NULL)
            VQ_TRY(vq_list_writer_add(job->copies, done, got, e.copies.lists, e.copies.factors,
                                      e.copies.codes, NULL, err));
        VQ_TRY(vq_tick(job->ticker, job->phase, done + got, n, err));
    }
    VQ_REQUIRE(done == n, VQ_EIO, "%s: it changed while it was read", job->src->name);
out:
    encoder_fini(&e, threads);
    return rc;
}

static vq_status corpus_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    const encoder *e = ctx;
    size_t first = task * VQ_ASSIGN_TILE;
    tile t = e->tiles[worker];
    t.coded = e->coded + first * e->job->model->d_code;
    return code_rows(e, &t, &e->vectors, first, VQ_MIN(e->n - first, (size_t)VQ_ASSIGN_TILE), err);
}

vq_status vq_encode_corpus(const vq_model *m, const vq_corpus *c, uint32_t *lists, uint8_t *codes,
                           int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t tiles = (c->n + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE;
    vq_encode_job job = {.model = m};
    encoder e = {.job = &job, .k = vq_kernels_get(), .n = c->n, .coded = c->coded};
    e.vectors = (coded_block){.lists = lists, .codes = codes};
    threads = vq_team((uint32_t)threads, tiles);
    e.tiles = vq_mem_calloc((size_t)threads, sizeof *e.tiles);
    VQ_REQUIRE(e.tiles != NULL, VQ_ENOMEM, "encoding: %d workers", threads);
    for (int i = 0; i < threads; i++) VQ_TRY(tile_init(&e.tiles[i], &e, err));
    VQ_TRY(want_coder(&e, c->n, threads, err));
    VQ_TRY(vq_team_run(threads, tiles, corpus_tile, &e, err));
out:
    encoder_fini(&e, threads);
    return rc;
}

struct vq_encoder {
    vq_model model;
    vq_encode_job job;
    encoder e;
    int threads;
    uint64_t flat; /* what has been compared with all lists, by vq_grouping_flat_cost */
    uint64_t rows; /* encoded so far, copies counted */
};

/* Groups are dear to make: until comparing rows with all lists has cost as much, they are not
 * there. */
static vq_status want_groups(vq_encoder *x, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    encoder *e = &x->e;
    vq_nearest near = {0};
    float **scratch = NULL;
    if (x->model.ngroups == 0 || e->near.memory != NULL) goto out;
    x->flat += vq_grouping_flat_cost(n, x->job.second);
    if (x->flat <= VQ_GROUPS_COST) goto out;
    VQ_TRY(vq_grouping_nearest(&near, &x->model, true, err));
    scratch = vq_mem_calloc((size_t)x->threads, sizeof *scratch);
    bool room = scratch != NULL;
    for (int i = 0; room && i < x->threads; i++)
        room = (scratch[i] = vq_alloc_f32(1, vq_nearest_scratch(&near))) != NULL;
    VQ_REQUIRE(room, VQ_ENOMEM, "encoding: %u lists in groups", x->model.nlist);
    for (int i = 0; i < x->threads; i++) {
        vq_mem_free(e->tiles[i].scratch);
        e->tiles[i].scratch = scratch[i];
        scratch[i] = NULL;
    }
    vq_nearest_fini(&e->near);
    e->near = near;
    memset(&near, 0, sizeof near);
out:
    for (int i = 0; scratch != NULL && i < x->threads; i++) vq_mem_free(scratch[i]);
    vq_mem_free(scratch);
    vq_nearest_fini(&near);
    return rc;
}

vq_status vq_encoder_open(vq_encoder **out, const vq_model *m, size_t block, bool copies,
                          int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    *out = NULL;
    vq_encoder *x = vq_mem_calloc(1, sizeof *x);
    VQ_REQUIRE(x != NULL, VQ_ENOMEM, "encoding: out of memory");
    x->threads = vq_team((uint32_t)threads, block / VQ_ASSIGN_TILE + 1);
    x->model = *m;
    x->job = (vq_encode_job){.model = &x->model, .block = block, .second = copies};
    x->e.job = &x->job;
    x->e.k = vq_kernels_get();
    VQ_TRY(encoder_init(&x->e, x->threads, false, err));
    if (x->e.stored == NULL) x->e.stored = vq_mem_alloc(block, m->shape.row_bytes);
    x->e.clamped = vq_mem_calloc((size_t)x->threads, sizeof *x->e.clamped);
    VQ_REQUIRE(x->e.stored != NULL && x->e.clamped != NULL, VQ_ENOMEM,
               "encoding: a block of %zu rows", block);
    *out = x;
    x = NULL;
out:
    vq_encoder_close(x);
    return rc;
}

vq_status vq_encoder_run(vq_encoder *x, const vq_model *m, const void *rows, uint32_t elem,
                         size_t n, vq_encoded *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    encoder *e = &x->e;
    size_t tiles = (n + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE;
    uint8_t *stored = e->stored;
    x->model = *m;
    x->model.input = elem;
    vq_nearest_move(&e->near, m->centroids);
    VQ_TRY(want_groups(x, n, err));
    x->rows += x->job.second ? 2 * n : n;
    VQ_TRY(want_coder(e, x->rows, x->threads, err));
    x->job.rows = (uint8_t *)(uintptr_t)rows;
    e->n = n;
    e->vectors = e->own[0], e->copies = e->own[1];
    if (m->store == VQ_ELEM_NONE) e->stored = NULL;
    for (int i = 0; i < x->threads; i++) e->clamped[i] = 0;
    rc = vq_team_run(vq_team((uint32_t)x->threads, tiles), tiles, encode_tile, e, err);
    e->stored = stored;
    *out = (vq_encoded){.lists = e->own[0].lists,
                        .copy_lists = e->own[1].lists,
                        .codes = e->own[0].codes,
                        .copy_codes = e->own[1].codes,
                        .factors = e->own[0].factors,
                        .far = e->own[0].far,
                        .copy_factors = e->own[1].factors,
                        .rows = m->store != VQ_ELEM_NONE ? stored : NULL};
    for (int i = 0; i < x->threads; i++) out->clamped += e->clamped[i];
out:
    return rc;
}

void vq_encoder_shut(vq_encoder *x, uint32_t list)
{
    x->e.near.bias[list] = -FLT_MAX / 4; /* nearest is who has the largest product and bias */
}

void vq_encoder_close(vq_encoder *x)
{
    if (x == NULL) return;
    encoder_fini(&x->e, x->threads);
    vq_mem_free(x->e.clamped);
    vq_mem_free(x);
}
