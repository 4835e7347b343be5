/* SPDX-License-Identifier: Apache-2.0 */
/* perdoc.c -- see perdoc.h.  Book after book over a chunk of rows: products of all queries with the
 * book's codewords are made once by GEMM, and a row gathers those of its own queries.  With r what
 * the codes leave, y = r + the row's codeword and u_i = q_i . y, the mode is the codeword c with
 * the largest y.c - |c|^2 / 2 + beta / count * sum over i of (u_i - q_i.c / 2) q_i.c.
 *
 * Where a book has 256 codewords, what is gathered are bytes, since that is what takes the time,
 * and y.c of additive books goes by integers (bytewords.h).  A row then moves to the codeword that
 * is best by these, if it is better than its own by the floats as well. */
#include "src/train/perdoc.h"

#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/math/kernels.h"
#include "src/train/bytewords.h"

#define CHUNK_BYTES ((size_t)64 << 20) /* of what the codes leave */
#define TILE        64u                /* rows of one GEMM */
#define QUERY_TILE  256u
#define NONE        UINT32_MAX
#define AHEAD       4u  /* queries */
#define GATHER      32u /* queries of one gathering by bytes */

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
    /* owned, NULL where a book has not 256 codewords */
    int8_t *byte_table; /* nq x kk: the table as bytes.. */
    float *unit;        /* ..nq: ..what they count */
    /* owned, NULL also where codewords are not d long */
    void *word_memory;
    int8_t *byte_rows;  /* rows x d: r as bytes */
    vq_byterow *row_of; /* rows */
    vq_bytewords bytes;
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

/* r of row i of the chunk has changed.  room: vq_byterow_room(). */
static void put_row(const chunk *c, size_t i, void *room)
{
    size_t d = c->p->d;
    if (c->word_memory != NULL)
        c->row_of[i] = vq_byterow_put(c->k, c->byte_rows, i, c->r + i * d, d, room);
}

static float *tile_of(const chunk *c, int worker)
{
    return c->tiles + (size_t)worker * TILE * (c->p->len + 2 * c->p->kk);
}

static vq_status residual_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
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
        put_row(c, i, tile_of(c, worker));
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
    for (size_t q = q0; q < q0 + n && c->byte_table != NULL; q++) {
        float lo, hi, *row = c->table + q * p->kk;
        int8_t *out = c->byte_table + q * p->kk;
        c->k->minmax_f32(row, p->kk, &lo, &hi);
        float most = VQ_MAX(-lo, hi);
        c->unit[q] = most > 0x1p-100f && most < INFINITY ? most / 127.0f : 0.0f;
        memset(out, 0, p->kk);
        if (c->unit[q] == 0.0f) continue;
        c->k->quantize_u8(row, p->kk, -128.0f * c->unit[q], 1.0f / c->unit[q], (uint8_t *)out);
        for (size_t w = 0; w < p->kk; w++) out[w] = (int8_t)(out[w] ^ -128);
    }
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

/* The byte products of a row that comes soon. */
static void fetch_bytes(const chunk *c, size_t i)
{
    const vq_perdoc *p = c->p;
    const uint32_t *near = p->near + (c->first + i) * p->count;
    for (size_t s = 0; i < c->n && s < p->count && near[s] != NONE; s++)
        for (size_t w = 0; w < p->kk; w += VQ_CACHELINE)
            VQ_PREFETCH(c->byte_table + near[s] * p->kk + w);
}

/* feel by bytes, for row i.  here: NULL where queries do not feel from the row. */
static void feel_bytes(const chunk *c, size_t i, size_t own, const float *here,
                       float *restrict score)
{
    const vq_perdoc *p = c->p;
    const uint32_t *near = p->near + (c->first + i) * p->count;
    const float *felt = c->felt + i * p->count;
    float slope[GATHER], bend[GATHER], unit[GATHER], weight = p->beta / (float)p->count;
    for (size_t s = 0, n; s < p->count && near[s] != NONE; s += n) {
        float all = 0.0f;
        for (n = 0; n < GATHER && s + n < p->count && near[s + n] != NONE; n++) {
            size_t q = near[s + n];
            float u = felt[s + n] + c->unit[q] * (float)c->byte_table[q * p->kk + own];
            if (here != NULL) u -= here[own];
            all += u;
            unit[n] = c->unit[q];
            slope[n] = u * unit[n];
            bend[n] = -0.5f * unit[n] * unit[n];
        }
        c->k->felt_i8(c->byte_table, p->kk, near + s, n, slope, bend, unit, here, weight, score);
        for (size_t w = 0; here != NULL && w < p->kk; w++)
            score[w] -= weight * (all + 0.5f * (float)n * here[w]) * here[w];
    }
}

/* How much better codeword `best` is than the row's own, in floats. */
static double gain_of(const chunk *c, size_t i, size_t best, size_t own, const float *y,
                      const float *here)
{
    const vq_perdoc *p = c->p;
    const float *words = words_of(p, c->book), *norms = c->norms + c->book * p->kk;
    const uint32_t *near = p->near + (c->first + i) * p->count;
    double felt = 0.0;
    for (size_t s = 0; s < p->count && near[s] != NONE; s++) {
        VQ_PREFETCH(c->table + near[s] * p->kk + best);
        VQ_PREFETCH(c->table + near[s] * p->kk + own);
    }
    double plain = (double)c->k->dot_f32(y, words + best * p->len, p->len) -
                   (double)c->k->dot_f32(y, words + own * p->len, p->len) + (double)norms[best] -
                   (double)norms[own];
    for (size_t s = 0; s < p->count && near[s] != NONE; s++) {
        const float *t = c->table + near[s] * p->kk;
        double vb = (double)(t[best] - here[best]), vo = (double)(t[own] - here[own]);
        double u = (double)c->felt[i * p->count + s] + vo;
        felt += (u - 0.5 * vb) * vb - (u - 0.5 * vo) * vo;
    }
    return plain + (double)p->beta / (double)p->count * felt;
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

/* r and the own codeword of row i of the chunk. */
static void without(const chunk *c, size_t i, float *restrict y)
{
    const vq_perdoc *p = c->p;
    const float *r = c->r + i * p->d + offset_of(p, c->book);
    const float *own = words_of(p, c->book) + c->codes[i * p->m + c->book] * p->len;
    for (size_t t = 0; t < p->len; t++) y[t] = r[t] + own[t];
}

/* scores (n x kk): y . c of rows first..first + n - 1, but for the own codewords' part if by bytes;
 * and y (n x len) unless. */
static void plain_scores(const chunk *c, size_t first, size_t n, float *y, float *scores)
{
    const vq_perdoc *p = c->p;
    if (c->word_memory != NULL) {
        for (size_t i = 0; i < n; i += VQ_BYTEWORD_ROWS)
            vq_bytewords_dots(&c->bytes, c->k, c->book, c->byte_rows, c->row_of, first + i,
                              VQ_MIN(n - i, (size_t)VQ_BYTEWORD_ROWS), scores + i * p->kk);
        return;
    }
    for (size_t i = 0; i < n; i++) without(c, first + i, y + i * p->len);
    vq_gemm_nt(n, p->kk, p->len, 1.0f, y, p->len, words_of(p, c->book), p->len, 0.0f, scores,
               p->kk);
}

/* The mode of row i: score + bias says how good codewords are. */
static void choose(const chunk *c, size_t i, float *score, const float *bias, float *y,
                   const float *here)
{
    const vq_perdoc *p = c->p;
    size_t own = c->codes[i * p->m + c->book];
    const uint32_t *near = p->near + (c->first + i) * p->count;
    if (c->byte_table != NULL)
        feel_bytes(c, i, own, p->from_rows ? here : NULL, score);
    else
        feel(c, near, c->felt + i * p->count, own, here, score);
    size_t best = c->k->argmax_f32(score, bias, p->kk);
    if (best == own || !(score[best] + bias[best] > score[own] + bias[own])) return;
    if (c->word_memory != NULL) without(c, i, y);
    if (c->byte_table != NULL && !(gain_of(c, i, best, own, y, here) > 0.0)) return;
    move_row(c, i, best, y, here);
    put_row(c, i, y + p->len); /* only with bytes, where all of a tile's y behind one row is free */
}

static vq_status modes_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    chunk *c = ctx;
    const vq_perdoc *p = c->p;
    size_t first = task * TILE, n = VQ_MIN(c->n - first, TILE), offset = offset_of(p, c->book);
    bool bytes = c->word_memory != NULL;
    float *y = tile_of(c, worker), *scores = y + TILE * p->len, *here = scores + TILE * p->kk;
    plain_scores(c, first, n, y, scores);
    if (p->from_rows)
        vq_gemm_nt(n, p->kk, p->len, 1.0f, p->rows + (c->first + first) * p->d + offset, p->d,
                   words_of(p, c->book), p->len, 0.0f, here, p->kk);
    else
        memset(here, 0, n * p->kk * sizeof *here);
    if (c->byte_table != NULL) fetch_bytes(c, first);
    for (size_t i = 0; i < n; i++) {
        size_t own = c->codes[(first + i) * p->m + c->book];
        const float *bias =
            bytes ? c->bytes.pairs + (c->book * p->kk + own) * p->kk : c->norms + c->book * p->kk;
        if (c->byte_table != NULL && i + 1 < n) fetch_bytes(c, first + i + 1);
        choose(c, first + i, scores + i * p->kk, bias, bytes ? y : y + i * p->len,
               here + i * p->kk);
    }
    return VQ_OK;
}

static vq_status words_task(void *ctx, size_t book, int worker, vq_error *err)
{
    (void)err;
    chunk *c = ctx;
    float *norms = tile_of(c, worker);
    for (size_t w = 0; w < c->p->kk; w++) norms[w] = -2.0f * c->norms[book * c->p->kk + w];
    vq_bytewords_fill(&c->bytes, c->k, book, words_of(c->p, book), norms);
    return VQ_OK;
}

/* What goes by bytes. */
static vq_status init_bytes(chunk *c, size_t rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_perdoc *p = c->p;
    if (p->kk != VQ_BYTEWORDS || !vq_bytewords_pay(c->k)) goto out;
    size_t size = p->len == p->d ? vq_bytewords_size(p->m, p->d) : SIZE_MAX;
    c->byte_table = vq_mem_alloc(p->nq, p->kk);
    c->unit = vq_alloc_f32(p->nq, 1);
    VQ_REQUIRE(c->byte_table != NULL && c->unit != NULL, VQ_ENOMEM,
               "codes of %zu rows for %zu queries", p->n, p->nq);
    if (size == SIZE_MAX) goto out;
    c->word_memory = vq_mem_alloc(size, 1);
    c->byte_rows = vq_mem_calloc(vq_panel_queries_size(rows, p->d), 1);
    c->row_of = vq_mem_alloc(rows, sizeof *c->row_of);
    VQ_REQUIRE(c->word_memory != NULL && c->byte_rows != NULL && c->row_of != NULL, VQ_ENOMEM,
               "codes of %zu rows for %zu queries", p->n, p->nq);
    c->bytes = vq_bytewords_place(p->m, p->d, c->word_memory);
    VQ_TRY(vq_team_run(p->threads, p->m, words_task, c, err));
out:
    return rc;
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
    VQ_TRY(init_bytes(&c, most, err));
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
    vq_mem_free(c.byte_table);
    vq_mem_free(c.unit);
    vq_mem_free(c.word_memory);
    vq_mem_free(c.byte_rows);
    vq_mem_free(c.row_of);
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
