/* SPDX-License-Identifier: Apache-2.0 */
/* additive.c -- see additive.h.  Codes: iterated conditional modes (Besag 1986; for additive codes
 * Martinez et al. 2016, without their perturbation).  Codewords: block by block, the means of what
 * the other books leave, which is one step of Gauss and Seidel towards the least squares solution.
 *
 * Bits do not depend on the number of threads: vectors are coded in fixed tiles, and a codeword is
 * summed by one thread over its vectors in rising order, for which a counting sort finds them. */
#include "src/train/additive.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/train/pq.h"

#define WORDS VQ_AQ_WORDS
#define TILE  256u /* vectors of one GEMM */

enum {
    MEAN_SWEEPS = 2, /* a round */
    GROUP = 16       /* tiles of a thread between two questions to the ticker */
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

/* Vectors of one tile while their codes move. */
typedef struct tile {
    const vq_kernels *k;
    size_t d, m, n;
    uint8_t *codes;      /* of the whole tile, rows of m */
    uint32_t rows[TILE]; /* the row in codes of each of the n */
    bool moved[TILE];
    float *r;    /* n x d: what the codes leave */
    float *y;    /* n x d: the same and the codeword of one book */
    float *dots; /* n x WORDS */
} tile;

static size_t tile_scratch(size_t d) /* floats of y and dots */
{
    return TILE * (d + WORDS);
}

static void tile_init(tile *t, const vq_kernels *k, size_t n, size_t d, size_t m, uint8_t *codes,
                      float *r, float *scratch)
{
    *t = (tile){.k = k, .d = d, .m = m, .n = n, .codes = codes, .r = r};
    t->y = scratch;
    t->dots = scratch + TILE * d;
    for (size_t i = 0; i < n; i++) t->rows[i] = (uint32_t)i;
}

/* Book j: the codeword nearest to y = r + the own one, if it is nearer than that. */
static void modes_of_book(tile *t, size_t j, const float *book, const float *norms)
{
    size_t d = t->d;
    float bias[WORDS]; /* y . c - |c|^2 / 2 is largest where |y - c| is least */
    for (size_t c = 0; c < WORDS; c++) bias[c] = -0.5f * norms[c];
    for (size_t i = 0; i < t->n; i++) {
        const float *r = t->r + i * d, *own = book + t->codes[t->rows[i] * t->m + j] * d;
        float *restrict y = t->y + i * d;
        for (size_t s = 0; s < d; s++) y[s] = r[s] + own[s];
    }
    vq_gemm_nt(t->n, WORDS, d, 1.0f, t->y, d, book, d, 0.0f, t->dots, WORDS);
    for (size_t i = 0; i < t->n; i++) {
        const float *dots = t->dots + i * WORDS, *y = t->y + i * d;
        uint8_t *code = &t->codes[t->rows[i] * t->m + j];
        size_t best = t->k->argmax_f32(dots, bias, WORDS);
        if (!(dots[best] + bias[best] > dots[*code] + bias[*code])) continue;
        *code = (uint8_t)best;
        t->moved[i] = true;
        const float *word = book + best * d;
        float *restrict r = t->r + i * d;
        for (size_t s = 0; s < d; s++) r[s] = y[s] - word[s];
    }
}

static void sweep(tile *t, const float *books, const float *norms)
{
    for (size_t i = 0; i < t->n; i++) t->moved[i] = false;
    for (size_t j = 0; j < t->m; j++)
        modes_of_book(t, j, books + j * WORDS * t->d, norms + j * WORDS);
}

/* Vectors that did not move never will. */
static void drop_settled(tile *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!t->moved[i]) continue;
        if (kept < i) memcpy(t->r + kept * t->d, t->r + i * t->d, t->d * sizeof *t->r);
        t->rows[kept++] = t->rows[i];
    }
    t->n = kept;
}

size_t vq_aq_scratch(size_t n, size_t d)
{
    return VQ_MIN(n, TILE) * d + tile_scratch(d);
}

void vq_aq_encode(const vq_kernels *k, const float *x, size_t n, size_t d, size_t m,
                  const float *pq, const float *pq_norms, const float *books, const float *norms,
                  unsigned sweeps, float *scratch, uint8_t *codes)
{
    float *r = scratch + tile_scratch(d);
    vq_pq_encode(k, x, n, m, d / m, WORDS, pq, pq_norms, codes);
    for (size_t first = 0; first < n; first += TILE) {
        tile t;
        tile_init(&t, k, VQ_MIN(n - first, TILE), d, m, codes + first * m, r, scratch);
        residuals(x + first * d, t.n, d, m, books, t.codes, r);
        for (unsigned s = 0; s < sweeps && t.n > 0; s++) {
            sweep(&t, books, norms);
            drop_settled(&t);
        }
    }
}

/* ---- training -------------------------------------------------------------------------------- */

typedef struct job {
    const vq_kernels *k;
    const float *x;
    size_t n, d, m;
    int threads;
    float *books;
    uint8_t *codes;
    vq_ticker *ticker;
    unsigned round, rounds;
    size_t first_tile;       /* of task 0 */
    size_t book;             /* whose means are taken */
    size_t first[WORDS + 1]; /* where its codewords begin in order */
    /* owned */
    uint32_t *order; /* n: vectors by codeword, rising within */
    float *r;        /* n x d: what the codes leave */
    float *norms;    /* m x WORDS */
    float *scratch;  /* threads x tile_scratch(d) */
    double *sums;    /* threads x d */
    double *part;    /* of the tiles: squared error */
} job;

static size_t tiles_of(const job *b)
{
    return (b->n + TILE - 1) / TILE;
}

static vq_status job_init(job *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t workers = (size_t)b->threads, books;
    VQ_REQUIRE(vq_mul_size(b->m, WORDS, &books), VQ_EINVAL, "additive: %zu books", b->m);
    b->order = vq_mem_alloc(b->n, sizeof *b->order);
    b->r = vq_alloc_f32(b->n, b->d);
    b->norms = vq_alloc_f32(books, 1);
    b->scratch = vq_alloc_f32(workers, tile_scratch(b->d));
    b->sums = vq_mem_alloc(workers * b->d, sizeof *b->sums);
    b->part = vq_mem_alloc(tiles_of(b), sizeof *b->part);
    VQ_REQUIRE(b->order != NULL && b->r != NULL && b->norms != NULL && b->scratch != NULL &&
                   b->sums != NULL && b->part != NULL,
               VQ_ENOMEM, "additive: out of memory for %zu rows of %zu dimensions", b->n, b->d);
out:
    return rc;
}

static void job_fini(job *b)
{
    vq_mem_free(b->order);
    vq_mem_free(b->r);
    vq_mem_free(b->norms);
    vq_mem_free(b->scratch);
    vq_mem_free(b->sums);
    vq_mem_free(b->part);
}

static vq_status residual_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    job *b = ctx;
    size_t at = b->first_tile + task, i = at * TILE, n = VQ_MIN(b->n - i, TILE);
    float *r = b->r + i * b->d;
    residuals(b->x + i * b->d, n, b->d, b->m, b->books, b->codes + i * b->m, r);
    b->part[at] = b->k->sq_row_f32(r, n * b->d);
    return VQ_OK;
}

static vq_status modes_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    job *b = ctx;
    size_t i = (b->first_tile + task) * TILE;
    tile t;
    tile_init(&t, b->k, VQ_MIN(b->n - i, TILE), b->d, b->m, b->codes + i * b->m, b->r + i * b->d,
              b->scratch + (size_t)worker * tile_scratch(b->d));
    sweep(&t, b->books, b->norms);
    return VQ_OK;
}

/* A task over all tiles, in groups so that the ticker is asked now and then. */
static vq_status over_tiles(job *b, vq_task_fn fn, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t tiles = tiles_of(b), group = GROUP * (size_t)b->threads;
    for (b->first_tile = 0; b->first_tile < tiles; b->first_tile += group) {
        VQ_TRY(vq_tick(b->ticker, "additive", b->round, b->rounds, err));
        VQ_TRY(vq_team_run(b->threads, VQ_MIN(group, tiles - b->first_tile), fn, b, err));
    }
out:
    return rc;
}

/* A codeword goes to the mean of what the other books leave of its vectors: by the mean of r. */
static vq_status mean_task(void *ctx, size_t word, int worker, vq_error *err)
{
    (void)err;
    job *b = ctx;
    size_t d = b->d, begin = b->first[word], end = b->first[word + 1];
    float *codeword = b->books + (b->book * WORDS + word) * d;
    float *restrict step = b->scratch + (size_t)worker * tile_scratch(d);
    double *restrict sum = b->sums + (size_t)worker * d;
    if (begin == end) return VQ_OK;
    for (size_t t = 0; t < d; t++) sum[t] = 0.0;
    for (size_t i = begin; i < end; i++) {
        const float *r = b->r + b->order[i] * d;
        for (size_t t = 0; t < d; t++) sum[t] += (double)r[t];
    }
    double inv = 1.0 / (double)(end - begin);
    for (size_t t = 0; t < d; t++) {
        float old = codeword[t];
        codeword[t] = (float)((double)old + sum[t] * inv);
        step[t] = codeword[t] - old;
    }
    for (size_t i = begin; i < end; i++) { /* still in the cache */
        float *restrict r = b->r + b->order[i] * d;
        for (size_t t = 0; t < d; t++) r[t] -= step[t];
    }
    return VQ_OK;
}

static void sort_by_codeword(job *b)
{
    const uint8_t *codes = b->codes + b->book;
    memset(b->first, 0, sizeof b->first);
    for (size_t i = 0; i < b->n; i++) b->first[codes[i * b->m] + 1]++;
    for (size_t c = 0; c < WORDS; c++) b->first[c + 1] += b->first[c];
    for (size_t i = 0; i < b->n; i++) b->order[b->first[codes[i * b->m]]++] = (uint32_t)i;
    for (size_t c = WORDS; c > 0; c--) b->first[c] = b->first[c - 1];
    b->first[0] = 0;
}

static vq_status one_round(job *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (unsigned s = 0; s < MEAN_SWEEPS; s++)
        for (b->book = 0; b->book < b->m; b->book++) {
            VQ_TRY(vq_tick(b->ticker, "additive", b->round, b->rounds, err));
            sort_by_codeword(b);
            VQ_TRY(vq_team_run(b->threads, WORDS, mean_task, b, err));
        }
    vq_aq_norms(b->books, b->m, b->d, b->norms);
    VQ_TRY(over_tiles(b, modes_task, err));
out:
    return rc;
}

vq_status vq_aq_train(const float *x, size_t n, size_t d, size_t m, unsigned rounds, int threads,
                      vq_ticker *ticker, float *books, uint8_t *codes, double *mse, vq_error *err)
{
    vq_status rc = VQ_OK;
    job b = {.k = vq_kernels_get(),
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
