/* SPDX-License-Identifier: Apache-2.0 */
/* aq8.c -- additive code of m books with 256 codewords of full length: one byte each.  A product
 * code of the same bytes is where it starts from, in training and for every vector. */
#include "src/codec/pq.h"
#include "src/math/fixed.h"
#include "src/train/additive.h"
#include "src/train/pq.h"

_Static_assert(sizeof(vq_bytemat) <= VQ_CACHELINE, "a brief starts with one");

enum { KK = 256, ROUNDS = 12, SWEEPS = 3, TILE = 1024 };
/* 512 a codeword.  All d coordinates of one are learnt, so with too few rows the means follow the
 * noise of the sample: with 160 a codeword, recall@10 of text embeddings in 32 bytes is .02 less.
 */
#define TRAINING_ROWS ((size_t)512 * KK)
#define MOST_FLOATS   ((size_t)1 << 28) /* of books: a value of LMDB ends at 4 GB */

/* Where parameters stand: product codebooks (d x 256) at 0, their norms (m x 256), additive books
 * (m x 256 x d), their norms (m x 256). */
typedef struct layout {
    size_t start_norms, books, norms, end;
} layout;

static layout layout_of(uint32_t d, uint32_t m)
{
    layout l = {.start_norms = (size_t)d * KK};
    l.books = l.start_norms + (size_t)m * KK;
    l.norms = l.books + (size_t)m * KK * d;
    l.end = l.norms + (size_t)m * KK;
    return l;
}

static vq_status plan(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(vq_pq_plan("aq8", d, bytes, 8, m, err));
    VQ_REQUIRE((size_t)*m * KK * d <= MOST_FLOATS, VQ_EINVAL,
               "aq8: %u books of %u dimensions take over a gigabyte; use pq8, or fewer --bytes", *m,
               d);
out:
    return rc;
}

static size_t nparams(uint32_t d, uint32_t m)
{
    return layout_of(d, m).end;
}

typedef struct start { /* product codes of the training rows */
    const float *x, *pq, *norms;
    size_t n, d, m;
    uint8_t *codes;
} start;

static vq_status start_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    const start *s = ctx;
    size_t i = task * TILE;
    vq_pq_encode(vq_kernels_get(), s->x + i * s->d, VQ_MIN(s->n - i, (size_t)TILE), s->m,
                 s->d / s->m, KK, s->pq, s->norms, s->codes + i * s->m);
    return VQ_OK;
}

static vq_status train(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed, int threads,
                       vq_ticker *ticker, float *params, vq_error *err)
{
    vq_status rc = VQ_OK;
    layout l = layout_of(d, m);
    start s = {.x = x, .pq = params, .norms = params + l.start_norms, .n = n, .d = d, .m = m};
    s.codes = vq_mem_alloc(n, m);
    VQ_REQUIRE(s.codes != NULL, VQ_ENOMEM, "aq8: out of memory for codes of %zu rows", n);
    VQ_TRY(vq_pq_params_train(x, n, d, m, KK, seed, threads, ticker, params, err));
    VQ_TRY(vq_team_run(threads, (n + TILE - 1) / TILE, start_task, &s, err));
    vq_aq_widen(params, m, d / m, params + l.books);
    VQ_TRY(vq_aq_train(x, n, d, m, ROUNDS, threads, ticker, params + l.books, s.codes, NULL, err));
    vq_aq_norms(params + l.books, m, d, params + l.norms);
out:
    vq_mem_free(s.codes);
    return rc;
}

static vq_status encode(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                        uint8_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    const float *params = cm->params;
    layout l = layout_of(cm->d, cm->m);
    float *scratch = vq_alloc_f32(vq_aq_scratch(n, cm->d), 1);
    VQ_REQUIRE(scratch != NULL, VQ_ENOMEM, "aq8: out of memory for a tile of %u dimensions", cm->d);
    vq_bytewords bytes;
    vq_modes b = {
        .k = k, .m = cm->m, .d = cm->d, .books = params + l.books, .norms = params + l.norms};
    if (cm->coder != NULL) {
        bytes = vq_bytewords_place(cm->m, cm->d, (void *)(uintptr_t)cm->coder);
        b.bytes = &bytes;
    }
    vq_aq_encode(&b, x, n, params, params + l.start_norms, SWEEPS, scratch, rows);
out:
    vq_mem_free(scratch);
    return rc;
}

static size_t coder_size(const vq_kernels *k, uint32_t d, uint32_t m)
{
    if (!vq_bytewords_pay(k)) return SIZE_MAX;
    return vq_bytewords_size(m, d);
}

static void coder(const vq_code_model *cm, const vq_kernels *k, size_t book, void *memory)
{
    layout l = layout_of(cm->d, cm->m);
    vq_bytewords bytes = vq_bytewords_place(cm->m, cm->d, memory);
    vq_bytewords_fill(&bytes, k, book, cm->params + l.books + book * KK * cm->d,
                      cm->params + l.norms + book * KK);
}

static void decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x)
{
    vq_aq_decode(cm->params + layout_of(cm->d, cm->m).books, cm->d, cm->m, rows, n, x);
}

/* A brief is a vq_bytemat and, on the next line, what it points to. */
static size_t brief_size(uint32_t d, uint32_t m)
{
    size_t bytes = vq_bytemat_size((size_t)m * KK, d);
    return vq_add_size(bytes, VQ_CACHELINE, &bytes) ? bytes : SIZE_MAX;
}

static void brief(const vq_code_model *cm, const vq_kernels *k, void *memory)
{
    vq_bytemat_make(memory, k, cm->params + layout_of(cm->d, cm->m).books, (size_t)cm->m * KK,
                    cm->d, (char *)memory + VQ_CACHELINE);
}

static const void *prepare(const vq_code_model *cm, const vq_kernels *k, const float *q,
                           vq_arena *arena)
{
    size_t words = (size_t)cm->m * KK;
    float *lut = vq_arena_take(arena, words, sizeof *lut);
    if (lut == NULL) return NULL;
    if (cm->brief != NULL) {
        vq_fixed f = {.x = vq_arena_take(arena, cm->d, sizeof *f.x)};
        if (f.x == NULL) return NULL;
        vq_fixed_set(&f, k, q, cm->d);
        vq_bytemat_times(cm->brief, k, &f, lut);
    } else {
        k->matvec_f32(cm->params + layout_of(cm->d, cm->m).books, words, cm->d, cm->d, q, lut);
    }
    return vq_pq_tables_make(k, lut, cm->m, KK, 1.0f, 0.0f, arena);
}

static size_t books(uint32_t d, uint32_t m)
{
    return layout_of(d, m).books;
}

static void refresh(uint32_t d, uint32_t m, float *params)
{
    layout l = layout_of(d, m);
    vq_aq_norms(params + l.books, m, d, params + l.norms);
}

const vq_codec vq_codec_aq8 = {
    .name = "aq8",
    .disk_id = 5,
    .codewords = KK,
    .axes = 1,
    .sample = TRAINING_ROWS,
    .plan = plan,
    .code_bytes = vq_pq8_code_bytes,
    .nparams = nparams,
    .train = train,
    .encode = encode,
    .coder_size = coder_size,
    .coder = coder,
    .decode = decode,
    .books = books,
    .refresh = refresh,
    .additive = 1,
    .pack = vq_pq8_pack,
    .unpack = vq_pq8_unpack,
    .brief_size = brief_size,
    .brief = brief,
    .prepare = prepare,
    .scan = vq_pq8_scan,
    .asks = vq_pq8_asks,
    .pays = vq_pq8_gather_pays,
    .gather = vq_pq8_gather,
    .least = vq_pq_least,
    .fetch = vq_pq8_fetch,
    .fetch_tables = vq_pq8_fetch_tables,
    .sums = vq_pq8_sums,
    .select = vq_pq_select,
    .slack = vq_pq_slack,
    .score = vq_pq8_score,
};
