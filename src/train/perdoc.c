/* SPDX-License-Identifier: Apache-2.0 */
/* perdoc.c -- see perdoc.h.  Book after book over a chunk of rows: products of all queries with the
 * book's codewords are made once by GEMM, and a row gathers those of its own queries.  With r what
 * the codes leave, y = r + the row's codeword and u_i = q_i . y, the mode is the codeword c with
 * the largest y.c - |c|^2 / 2 + beta / count * sum over i of (u_i - q_i.c / 2) q_i.c. */
#include "src/train/perdoc.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/math/kernels.h"

#define CHUNK_BYTES ((size_t)32 << 20) /* of what the codes leave */
#define TILE        64u                /* rows of one GEMM */
#define QUERY_TILE  256u
#define NONE        UINT32_MAX
#define AHEAD       4u /* queries */

typedef struct chunk {
    const vq_perdoc *p;
    const vq_kernels *k;
    size_t first, n; /* rows */
    size_t book;
    uint8_t *codes; /* of the chunk */
    /* owned */
    float *r;     /* rows x d: what the codes leave */
    float *felt;  /* rows x count: q . r of the row's queries */
    float *table; /* nq x kk: q . codeword of the book */
    float *norms; /* m x kk: -|c|^2 / 2 */
    float *tiles; /* threads x TILE x (len + 2 kk) */
} chunk;

static const float *words_of(const vq_perdoc *p, size_t book)
{
    return p->words + book * p->kk * p->len;
}

/* Where the coordinates of a book begin. */
static size_t offset_of(const vq_perdoc *p, size_t book)
{
    return p->len < p->d ? book * p->len : 0;
}

static vq_status residual_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    chunk *c = ctx;
    const vq_perdoc *p = c->p;
    for (size_t i = task * TILE; i < VQ_MIN(c->n, (task + 1) * TILE); i++) {
        const float *row = p->rows + (c->first + i) * p->d;
        const float *centroid = p->centroids + (size_t)p->lists[c->first + i] * p->d;
        float *restrict r = c->r + i * p->d;
        for (size_t t = 0; t < p->d; t++) r[t] = row[t] - centroid[t];
        for (size_t j = 0; j < p->m; j++) {
            const float *word = words_of(p, j) + c->codes[i * p->m + j] * p->len;
            float *restrict at = r + offset_of(p, j);
            for (size_t t = 0; t < p->len; t++) at[t] -= word[t];
        }
        float own = p->from_rows ? c->k->dot_f32(row, r, p->d) : 0.0f;
        for (size_t s = 0; s < p->count; s++) {
            uint32_t q = p->near[(c->first + i) * p->count + s];
            c->felt[i * p->count + s] =
                q != NONE ? c->k->dot_f32(p->queries + (size_t)q * p->d, r, p->d) - own : 0.0f;
        }
    }
    return VQ_OK;
}

static vq_status table_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    chunk *c = ctx;
    const vq_perdoc *p = c->p;
    size_t q0 = task * QUERY_TILE, n = VQ_MIN(p->nq - q0, QUERY_TILE);
    vq_gemm_nt(n, p->kk, p->len, 1.0f, p->queries + q0 * p->d + offset_of(p, c->book), p->d,
               words_of(p, c->book), p->len, 0.0f, c->table + q0 * p->kk, p->kk);
    return VQ_OK;
}

/* The products of a query that comes soon: which rows of the table follow is no pattern that the
 * machine sees. */
static void fetch(const chunk *c, const uint32_t *near, size_t s)
{
    const vq_perdoc *p = c->p;
    if (s >= p->count || near[s] == NONE) return;
    const float *t = c->table + (size_t)near[s] * p->kk;
    for (size_t w = 0; w < p->kk; w += VQ_CACHELINE / sizeof *t) VQ_PREFETCH(t + w);
}

/* Adds what the row's queries feel to score (kk): how good each codeword is.  here (kk): products
 * of the row with the codewords, where queries feel from it; else zeros. */
static void feel(const chunk *c, const uint32_t *near, const float *felt, size_t own,
                 const float *restrict here, float *restrict score)
{
    const vq_perdoc *p = c->p;
    float weight = p->beta / (float)p->count;
    for (size_t s = 0; s < AHEAD; s++) fetch(c, near, s);
    for (size_t s = 0; s < p->count && near[s] != NONE; s++) {
        fetch(c, near, s + AHEAD);
        const float *restrict t = c->table + (size_t)near[s] * p->kk;
        float u = felt[s] + t[own] - here[own];
        for (size_t w = 0; w < p->kk; w++) {
            float v = t[w] - here[w];
            score[w] += weight * (u - 0.5f * v) * v;
        }
    }
}

static void move_row(const chunk *c, size_t i, size_t best, const float *y, const float *here)
{
    const vq_perdoc *p = c->p;
    uint8_t *code = &c->codes[i * p->m + c->book];
    const uint32_t *near = p->near + (c->first + i) * p->count;
    const float *word = words_of(p, c->book) + best * p->len;
    float *restrict r = c->r + i * p->d + offset_of(p, c->book);
    for (size_t t = 0; t < p->len; t++) r[t] = y[t] - word[t];
    for (size_t s = 0; s < p->count && near[s] != NONE; s++) {
        const float *t = c->table + (size_t)near[s] * p->kk;
        c->felt[i * p->count + s] += t[*code] - here[*code] - (t[best] - here[best]);
    }
    *code = (uint8_t)best;
}

static vq_status modes_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    chunk *c = ctx;
    const vq_perdoc *p = c->p;
    size_t first = task * TILE, n = VQ_MIN(c->n - first, TILE), offset = offset_of(p, c->book);
    float *y = c->tiles + (size_t)worker * TILE * (p->len + 2 * p->kk);
    float *scores = y + TILE * p->len, *here = scores + TILE * p->kk;
    const float *words = words_of(p, c->book), *norms = c->norms + c->book * p->kk;
    for (size_t i = 0; i < n; i++) {
        const float *r = c->r + (first + i) * p->d + offset;
        const float *own = words + c->codes[(first + i) * p->m + c->book] * p->len;
        for (size_t t = 0; t < p->len; t++) y[i * p->len + t] = r[t] + own[t];
    }
    vq_gemm_nt(n, p->kk, p->len, 1.0f, y, p->len, words, p->len, 0.0f, scores, p->kk);
    if (p->from_rows)
        vq_gemm_nt(n, p->kk, p->len, 1.0f, p->rows + (c->first + first) * p->d + offset, p->d,
                   words, p->len, 0.0f, here, p->kk);
    else
        memset(here, 0, n * p->kk * sizeof *here);
    for (size_t i = 0; i < n; i++) {
        float *restrict score = scores + i * p->kk;
        size_t own = c->codes[(first + i) * p->m + c->book], at = first + i;
        feel(c, p->near + (c->first + at) * p->count, c->felt + at * p->count, own,
             here + i * p->kk, score);
        size_t best = c->k->argmax_f32(score, norms, p->kk);
        if (score[best] + norms[best] > score[own] + norms[own])
            move_row(c, at, best, y + i * p->len, here + i * p->kk);
    }
    return VQ_OK;
}

static vq_status encode_chunk(chunk *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_perdoc *p = c->p;
    size_t tiles = (c->n + TILE - 1) / TILE, done = c->first * p->sweeps;
    VQ_TRY(vq_team_run(p->threads, tiles, residual_task, c, err));
    for (unsigned sweep = 0; sweep < p->sweeps; sweep++, done += c->n)
        for (c->book = 0; c->book < p->m; c->book++) {
            VQ_TRY(
                vq_tick(p->ticker, "codes", done + c->book * c->n / p->m, p->n * p->sweeps, err));
            VQ_TRY(
                vq_team_run(p->threads, (p->nq + QUERY_TILE - 1) / QUERY_TILE, table_task, c, err));
            VQ_TRY(vq_team_run(p->threads, tiles, modes_task, c, err));
        }
out:
    return rc;
}

vq_status vq_perdoc_encode(const vq_perdoc *p, uint8_t *codes, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t most = VQ_MAX(CHUNK_BYTES / (p->d * sizeof(float)) / TILE, (size_t)1) * TILE;
    chunk c = {.p = p, .k = vq_kernels_get()};
    most = VQ_MIN(most, vq_round_up(p->n, TILE));
    vq_team_blas_enter();
    c.r = vq_alloc_f32(most, p->d);
    c.felt = vq_alloc_f32(most, p->count);
    c.table = vq_alloc_f32(p->nq, p->kk);
    c.norms = vq_alloc_f32(p->m, p->kk);
    c.tiles = vq_alloc_f32((size_t)VQ_MAX(p->threads, 1) * TILE, p->len + 2 * p->kk);
    VQ_REQUIRE(c.r != NULL && c.felt != NULL && c.table != NULL && c.norms != NULL &&
                   c.tiles != NULL,
               VQ_ENOMEM, "codes of %zu rows for %zu queries", p->n, p->nq);
    for (size_t w = 0; w < p->m * p->kk; w++) {
        const float *word = p->words + w * p->len;
        c.norms[w] = -0.5f * (float)c.k->sq_row_f32(word, p->len);
    }
    for (c.first = 0; c.first < p->n; c.first += c.n) {
        c.n = VQ_MIN(p->n - c.first, most);
        c.codes = codes + c.first * p->m;
        VQ_TRY(encode_chunk(&c, err));
    }
    VQ_TRY(vq_tick(p->ticker, "codes", p->n * p->sweeps, p->n * p->sweeps, err));
out:
    vq_mem_free(c.r);
    vq_mem_free(c.felt);
    vq_mem_free(c.table);
    vq_mem_free(c.norms);
    vq_mem_free(c.tiles);
    vq_team_blas_leave();
    return rc;
}

void vq_perdoc_near(const uint32_t *answers, const float *scores, size_t nq, size_t k, size_t n,
                    size_t count, uint32_t *near, float *best)
{
    for (size_t i = 0; i < n * count; i++) near[i] = NONE;
    for (size_t q = 0; q < nq; q++)
        for (size_t j = 0; j < k && answers[q * k + j] != NONE; j++) {
            size_t row = answers[q * k + j], at = row * count, end = at + count;
            float score = scores[q * k + j];
            if (near[end - 1] != NONE && best[end - 1] >= score) continue;
            size_t slot = end - 1; /* insertion: best first, the earlier query before its equals */
            while (slot > at && (near[slot - 1] == NONE || best[slot - 1] < score)) {
                near[slot] = near[slot - 1];
                best[slot] = best[slot - 1];
                slot--;
            }
            near[slot] = (uint32_t)q;
            best[slot] = score;
        }
}
