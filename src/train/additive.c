/* SPDX-License-Identifier: Apache-2.0 */
/* additive.c -- see additive.h.  Codes: iterated conditional modes (modes.h).  Codewords: block by
 * block, the means of what the other books leave, which is one step of Gauss and Seidel towards the
 * least squares solution.
 *
 * In means no coordinate depends on another: a task has a few of them, of all vectors, which stay
 * in the cache while it goes through the books.  Bits do not depend on the number of threads:
 * vectors are coded in fixed tiles, and sums are of vectors in rising order. */
#include "src/train/additive.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/train/pq.h"

#define WORDS VQ_AQ_WORDS
#define TILE  ((size_t)VQ_MODES_TILE)

enum {
    AHEAD = 3,       /* codewords: where the next lies is no pattern that the machine sees */
    MEAN_SWEEPS = 2, /* a round */
    COLUMNS = 16,    /* coordinates of a task of means: those of step_sums */
    MEAN_WORKERS = 8,
    GROUP = 16,    /* tiles of a thread between two questions to the ticker, */
    MEAN_GROUP = 4 /* ..and such tasks */
};

/* ---- books ----------------------------------------------------------------------------------- */

void vq_aq_widen(const float *pq, size_t m, size_t dsub, float *books)
{
    size_t d = m * dsub;
    memset(books, 0, m * WORDS * d * sizeof *books);
    for (size_t j = 0; j < m; j++)
        for (size_t t = j * dsub; t < (j + 1) * dsub; t++)
            for (size_t c = 0; c < WORDS; c++) books[(j * WORDS + c) * d + t] = pq[t * WORDS + c];
}

void vq_aq_norms(const float *books, size_t m, size_t d, float *norms)
{
    const vq_kernels *k = vq_kernels_get();
    for (size_t c = 0; c < m * WORDS; c++) norms[c] = (float)k->sq_row_f32(books + c * d, d);
}

void vq_aq_decode(const float *books, size_t d, size_t m, const uint8_t *codes, size_t n, float *xh)
{
    for (size_t i = 0; i < n; i++) {
        float *restrict sum = xh + i * d;
        memcpy(sum, books + codes[i * m] * d, d * sizeof *sum);
        for (size_t j = 1; j < m; j++) {
            const float *word = books + (j * WORDS + codes[i * m + j]) * d;
            if (j + AHEAD < m) {
                const float *next = books + ((j + AHEAD) * WORDS + codes[i * m + j + AHEAD]) * d;
                for (size_t t = 0; t < d; t += VQ_CACHELINE / sizeof *next) VQ_PREFETCH(next + t);
            }
            for (size_t t = 0; t < d; t++) sum[t] += word[t];
        }
    }
}

/* r = x less what the codes decode to. */
static void residuals(const float *x, size_t n, size_t d, size_t m, const float *books,
                      const uint8_t *codes, float *restrict r)
{
    vq_aq_decode(books, d, m, codes, n, r);
    for (size_t i = 0; i < n * d; i++) r[i] = x[i] - r[i];
}

/* ---- codes ----------------------------------------------------------------------------------- */

size_t vq_aq_scratch(size_t n, size_t d)
{
    return VQ_MIN(n, TILE) * d + vq_modes_scratch(d);
}

void vq_aq_encode(const vq_modes *b, const float *x, size_t n, const float *pq,
                  const float *pq_norms, unsigned sweeps, float *scratch, uint8_t *codes)
{
    float *r = scratch + vq_modes_scratch(b->d);
    vq_pq_encode(b->k, x, n, b->m, b->d / b->m, WORDS, pq, pq_norms, codes);
    for (size_t first = 0; first < n; first += TILE) {
        size_t count = VQ_MIN(n - first, TILE);
        residuals(x + first * b->d, count, b->d, b->m, b->books, codes + first * b->m, r);
        vq_modes_run(b, count, sweeps, codes + first * b->m, r, scratch);
    }
}

/* ---- training -------------------------------------------------------------------------------- */

/* Scratch of a worker in means. */
typedef struct columns {
    double sums[WORDS * COLUMNS]; /* of a book's codewords, */
    float steps[WORDS * COLUMNS]; /* ..and how far these went */
    float *r;                     /* n x COLUMNS; owned */
} columns;

typedef struct job {
    vq_modes modes;
    const float *x;
    size_t n, d, m;
    int threads;
    float *books;
    uint8_t *codes;
    vq_ticker *ticker;
    unsigned round, rounds;
    size_t first_task; /* of this run: number of task 0 */
    vq_bytewords bytes;
    /* owned */
    void *byte_memory;
    uint8_t *turned; /* m x n: the codes of a book adjacent */
    size_t *counts;  /* m x WORDS: vectors of a codeword */
    float *r;        /* n x d: what the codes leave */
    float *norms;    /* m x WORDS */
    float *scratch;  /* threads x vq_modes_scratch() */
    columns *means;  /* as many as there can be at work */
    double *part;    /* of the tiles: squared error */
} job;

static size_t tiles_of(const job *b)
{
    return (b->n + TILE - 1) / TILE;
}

static size_t mean_tasks(const job *b)
{
    return (b->d + COLUMNS - 1) / COLUMNS;
}

/* Workers in means: each has COLUMNS floats a vector. */
static int mean_team(const job *b)
{
    return vq_team(VQ_MIN((uint32_t)b->threads, (uint32_t)MEAN_WORKERS), mean_tasks(b));
}

static vq_status job_init(job *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t workers = (size_t)b->threads, books, size = SIZE_MAX;
    bool room = true;
    if (vq_bytewords_pay(b->modes.k)) size = vq_bytewords_size(b->m, b->d);
    VQ_REQUIRE(vq_mul_size(b->m, WORDS, &books), VQ_EINVAL, "additive: %zu books", b->m);
    if (size < SIZE_MAX) b->byte_memory = vq_mem_alloc(size, 1);
    b->turned = vq_mem_alloc(b->n, b->m);
    b->counts = vq_mem_alloc(books, sizeof *b->counts);
    b->r = vq_alloc_f32(b->n, b->d);
    b->norms = vq_alloc_f32(books, 1);
    b->scratch = vq_alloc_f32(workers, vq_modes_scratch(b->d));
    b->means = vq_mem_calloc((size_t)mean_team(b), sizeof *b->means);
    b->part = vq_mem_alloc(tiles_of(b), sizeof *b->part);
    for (int i = 0; b->means != NULL && room && i < mean_team(b); i++) {
        b->means[i].r = vq_alloc_f32(b->n, COLUMNS);
        room = b->means[i].r != NULL;
    }
    VQ_REQUIRE((b->byte_memory != NULL || size == SIZE_MAX) && b->turned != NULL &&
                   b->counts != NULL && b->r != NULL && b->norms != NULL && b->scratch != NULL &&
                   b->means != NULL && room && b->part != NULL,
               VQ_ENOMEM, "additive: out of memory for %zu rows of %zu dimensions", b->n, b->d);
    b->modes.norms = b->norms;
    if (b->byte_memory == NULL) goto out;
    b->bytes = vq_bytewords_place(b->m, b->d, b->byte_memory);
    b->modes.bytes = &b->bytes;
out:
    return rc;
}

static void job_fini(job *b)
{
    for (int i = 0; b->means != NULL && i < mean_team(b); i++) vq_mem_free(b->means[i].r);
    vq_mem_free(b->means);
    vq_mem_free(b->byte_memory);
    vq_mem_free(b->turned);
    vq_mem_free(b->counts);
    vq_mem_free(b->r);
    vq_mem_free(b->norms);
    vq_mem_free(b->scratch);
    vq_mem_free(b->part);
}

static vq_status residual_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    job *b = ctx;
    size_t at = b->first_task + task, i = at * TILE, n = VQ_MIN(b->n - i, TILE);
    float *r = b->r + i * b->d;
    residuals(b->x + i * b->d, n, b->d, b->m, b->books, b->codes + i * b->m, r);
    b->part[at] = b->modes.k->sq_row_f32(r, n * b->d);
    return VQ_OK;
}

static vq_status modes_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    job *b = ctx;
    size_t i = (b->first_task + task) * TILE;
    vq_modes_run(&b->modes, VQ_MIN(b->n - i, TILE), 1, b->codes + i * b->m, b->r + i * b->d,
                 b->scratch + (size_t)worker * vq_modes_scratch(b->d));
    return VQ_OK;
}

static vq_status bytes_task(void *ctx, size_t book, int worker, vq_error *err)
{
    (void)worker, (void)err;
    job *b = ctx;
    vq_bytewords_fill(&b->bytes, b->modes.k, book, b->books + book * WORDS * b->d,
                      b->norms + book * WORDS);
    return VQ_OK;
}

/* Tasks on so many threads, `group` at a time so that the ticker is asked now and then. */
static vq_status in_groups(job *b, vq_task_fn fn, size_t tasks, size_t group, int threads,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    for (b->first_task = 0; b->first_task < tasks; b->first_task += group) {
        VQ_TRY(vq_tick(b->ticker, "additive", b->round, b->rounds, err));
        VQ_TRY(vq_team_run(threads, VQ_MIN(group, tasks - b->first_task), fn, b, err));
    }
out:
    return rc;
}

static vq_status over_tiles(job *b, vq_task_fn fn, vq_error *err)
{
    return in_groups(b, fn, tiles_of(b), GROUP * (size_t)b->threads, b->threads, err);
}

/* The codes of a book adjacent, and how many vectors have each of its codewords. */
static vq_status turn_task(void *ctx, size_t book, int worker, vq_error *err)
{
    (void)worker, (void)err;
    job *b = ctx;
    uint8_t *to = b->turned + book * b->n;
    size_t *counts = b->counts + book * WORDS;
    memset(counts, 0, WORDS * sizeof *counts);
    for (size_t i = 0; i < b->n; i++) {
        to[i] = b->codes[i * b->m + book];
        counts[to[i]]++;
    }
    return VQ_OK;
}

/* A codeword goes to the mean of what the other books leave of its vectors: by the mean of r. */
static void move_words(const job *b, columns *w, size_t book, size_t from, size_t width)
{
    for (size_t c = 0; c < WORDS; c++) {
        size_t count = b->counts[book * WORDS + c];
        float *word = b->books + (book * WORDS + c) * b->d + from;
        double inv = count > 0 ? 1.0 / (double)count : 0.0;
        for (size_t t = 0; t < width && count > 0; t++) {
            float old = word[t];
            word[t] = (float)((double)old + w->sums[c * COLUMNS + t] * inv);
            w->steps[c * COLUMNS + t] = word[t] - old;
        }
    }
}

static vq_status mean_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    job *b = ctx;
    size_t from = (b->first_task + task) * COLUMNS, width = VQ_MIN(b->d - from, (size_t)COLUMNS);
    columns *w = &b->means[worker];
    const uint8_t *before = NULL;
    memset(w->steps, 0, sizeof w->steps);
    memset(w->r, 0, b->n * COLUMNS * sizeof *w->r);
    for (size_t i = 0; i < b->n; i++)
        memcpy(w->r + i * COLUMNS, b->r + i * b->d + from, width * sizeof *w->r);
    for (unsigned s = 0; s < MEAN_SWEEPS; s++)
        for (size_t book = 0; book < b->m; book++) {
            const uint8_t *codes = b->turned + book * b->n;
            memset(w->sums, 0, sizeof w->sums);
            b->modes.k->step_sums(w->r, b->n, w->steps, before, codes, w->sums);
            move_words(b, w, book, from, width);
            before = codes;
        }
    b->modes.k->step_sums(w->r, b->n, w->steps, before, NULL, NULL);
    for (size_t i = 0; i < b->n; i++)
        memcpy(b->r + i * b->d + from, w->r + i * COLUMNS, width * sizeof *w->r);
    return VQ_OK;
}

static vq_status one_round(job *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    int threads = mean_team(b);
    VQ_TRY(vq_team_run(b->threads, b->m, turn_task, b, err));
    VQ_TRY(in_groups(b, mean_task, mean_tasks(b), MEAN_GROUP * (size_t)threads, threads, err));
    vq_aq_norms(b->books, b->m, b->d, b->norms);
    if (b->modes.bytes != NULL) VQ_TRY(vq_team_run(b->threads, b->m, bytes_task, b, err));
    VQ_TRY(over_tiles(b, modes_task, err));
out:
    return rc;
}

vq_status vq_aq_train(const float *x, size_t n, size_t d, size_t m, unsigned rounds, int threads,
                      vq_ticker *ticker, float *books, uint8_t *codes, double *mse, vq_error *err)
{
    vq_status rc = VQ_OK;
    job b = {.modes = {.k = vq_kernels_get(), .m = m, .d = d, .books = books},
             .x = x,
             .n = n,
             .d = d,
             .m = m,
             .threads = VQ_MAX(threads, 1),
             .books = books,
             .codes = codes,
             .ticker = ticker,
             .rounds = rounds};
    vq_team_blas_enter();
    VQ_REQUIRE(n >= 1 && n <= UINT32_MAX && d >= 1 && m >= 1, VQ_EINVAL,
               "additive: %zu rows of %zu dimensions, %zu books", n, d, m);
    VQ_TRY(job_init(&b, err));
    for (b.round = 0; b.round <= rounds; b.round++) {
        /* Afresh in every round, so that rounding does not pile up. */
        if (b.round < rounds || mse != NULL) VQ_TRY(over_tiles(&b, residual_task, err));
        if (mse != NULL) {
            mse[b.round] = 0.0;
            for (size_t t = 0; t < tiles_of(&b); t++) mse[b.round] += b.part[t] / (double)n;
        }
        if (b.round < rounds) VQ_TRY(one_round(&b, err));
    }
    VQ_TRY(vq_tick(ticker, "additive", rounds, rounds, err));
out:
    job_fini(&b);
    vq_team_blas_leave();
    return rc;
}
