/* SPDX-License-Identifier: Apache-2.0 */
/* recode.c -- see recode.h. */
#include "index/recode.h"

#include <string.h>

#include "src/math/blas.h"
#include "src/train/factor.h"
#include "src/train/moments.h"
#include "src/train/perdoc.h"

/* What the queries of a vector weigh beside the length of its error, for queries of mean square
 * length d: on held-out questions .03 to .06 at 16 and 32 bytes; at .1 the codes follow the
 * training queries away from the others, at .015 they gain less. */
#define BETA 0.05

void vq_codes_spread(const vq_model *m, const uint8_t *codes, size_t n, uint8_t *one)
{
    size_t bytes = m->code.code_bytes;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m->m; j++) {
            const uint8_t *code = codes + i * bytes;
            one[i * m->m + j] =
                (uint8_t)(bytes == m->m ? code[j] : (unsigned)code[j / 2] >> (j % 2 * 4) & 15u);
        }
}

void vq_codes_gather(const vq_model *m, const uint8_t *one, size_t n, uint8_t *codes)
{
    size_t bytes = m->code.code_bytes;
    if (bytes == m->m) {
        memcpy(codes, one, n * bytes);
        return;
    }
    memset(codes, 0, n * bytes);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m->m; j++) {
            uint8_t *to = &codes[i * bytes + j / 2];
            *to = (uint8_t)(*to | (unsigned)one[i * m->m + j] << (j % 2 * 4));
        }
}

uint32_t *vq_felt_queries(const vq_teacher *t, size_t nq, size_t n)
{
    float *best = vq_alloc_f32(n, VQ_FELT);
    uint32_t *felt = vq_mem_alloc(n * VQ_FELT, sizeof *felt);
    if (best != NULL && felt != NULL) {
        vq_perdoc_near(t->rows, t->scores, nq, t->k, n, VQ_FELT, felt, best);
    } else {
        vq_mem_free(felt);
        felt = NULL;
    }
    vq_mem_free(best);
    return felt;
}

/* Product codebooks (m x dsub x codewords) with codewords one after the other: m x codewords x
 * dsub. */
static float *words_by_row(const float *books, size_t d, size_t kk, size_t dsub)
{
    float *words = vq_alloc_f32(kk, d);
    for (size_t t = 0; words != NULL && t < d; t++)
        for (size_t c = 0; c < kk; c++)
            words[(t / dsub * kk + c) * dsub + t % dsub] = books[t * kk + c];
    return words;
}

/* Mean square length of what feels errors: queries, or for l2 the ways from vectors to them. */
static double mean_square(const vq_model *m, const vq_corpus *c, const uint32_t *felt,
                          const float *queries, size_t nq)
{
    const vq_kernels *k = vq_kernels_get();
    size_t d = m->d_code, pairs = 0;
    double sum = 0.0;
    if (m->metric != VQ_METRIC_L2) return k->sq_row_f32(queries, nq * d) / (double)nq;
    for (size_t i = 0; i < c->n * VQ_FELT; i++) {
        if (felt[i] == UINT32_MAX) continue;
        sum += (double)k->l2sq_f32(queries + felt[i] * d, c->coded + i / VQ_FELT * d, d);
        pairs++;
    }
    return pairs > 0 ? sum / (double)pairs : 0.0;
}

vq_status vq_recode(const vq_model *m, const vq_corpus *c, const uint32_t *felt,
                    const float *queries, size_t nq, unsigned sweeps, int threads,
                    vq_ticker *ticker, uint8_t *one, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool additive = m->codec->additive != 0;
    size_t kk = m->codec->codewords, len = additive ? m->d_code : m->d_code / m->m;
    const float *books = m->params + m->codec->books(m->d_code, m->m);
    float *turned = additive ? NULL : words_by_row(books, m->d_code, kk, len);
    double sq = mean_square(m, c, felt, queries, nq);
    vq_perdoc p = {.n = c->n,
                   .d = m->d_code,
                   .nlist = m->nlist,
                   .nq = nq,
                   .m = m->m,
                   .kk = kk,
                   .len = len,
                   .words = additive ? books : turned,
                   .rows = c->coded,
                   .centroids = m->centroids,
                   .lists = c->lists,
                   .queries = queries,
                   .near = felt,
                   .count = VQ_FELT,
                   .from_rows = m->metric == VQ_METRIC_L2,
                   .sweeps = sweeps,
                   .threads = threads,
                   .ticker = ticker};
    VQ_REQUIRE(p.words != NULL, VQ_ENOMEM, "codewords: %u books", m->m);
    if (sq > 0.0) p.beta = (float)(BETA * (double)m->d / sq);
    VQ_TRY(vq_perdoc_encode(&p, one, err));
out:
    vq_mem_free(turned);
    return rc;
}

enum { FACTOR_TILE = 256 };

typedef struct refactor {
    const vq_model *m;
    vq_corpus *c;
    float *scratch; /* threads x FACTOR_TILE x 2 d */
} refactor;

static vq_status refactor_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    const refactor *f = ctx;
    const vq_model *m = f->m;
    size_t d = m->d_code, first = task * FACTOR_TILE;
    size_t n = VQ_MIN(f->c->n - first, (size_t)FACTOR_TILE);
    float *h = f->scratch + (size_t)worker * FACTOR_TILE * 2 * d, *r = h + FACTOR_TILE * d;
    m->codec->decode(&m->code, f->c->codes + first * m->code.code_bytes, n, h);
    for (size_t i = 0; i < n; i++) {
        const float *x = f->c->coded + (first + i) * d;
        const float *c = m->centroids + (size_t)f->c->lists[first + i] * d;
        for (size_t j = 0; j < d; j++) r[j] = x[j] - c[j];
        f->c->factors[first + i] = vq_factor(vq_kernels_get(), c, r, h + i * d, d);
    }
    return VQ_OK;
}

vq_status vq_refactor(const vq_model *m, vq_corpus *c, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t tiles = (c->n + FACTOR_TILE - 1) / FACTOR_TILE;
    refactor f = {.m = m, .c = c};
    if (c->factors == NULL) goto out;
    threads = vq_team((uint32_t)VQ_MAX(threads, 1), tiles);
    f.scratch = vq_alloc_f32((size_t)threads * FACTOR_TILE, 2 * m->d_code);
    VQ_REQUIRE(f.scratch != NULL, VQ_ENOMEM, "factors: %u floats", m->d_code);
    VQ_TRY(vq_team_run(threads, tiles, refactor_tile, &f, err));
out:
    vq_mem_free(f.scratch);
    return rc;
}

/* out = W^-T = W (W^T W)^-1, by Cholesky: L^-T L^-1 is the inverse of L L^T = W^T W. */
static vq_status invert_transposed(const float *map, size_t d, int threads, float *out,
                                   vq_error *err)
{
    vq_status rc = VQ_OK;
    double *square = vq_mem_calloc(d * d, sizeof *square);
    double *half = vq_mem_alloc(d * d, sizeof *half);
    float *small = vq_alloc_f32(d, d), *product = vq_alloc_f32(d, d);
    VQ_REQUIRE(square != NULL && half != NULL && small != NULL && product != NULL, VQ_ENOMEM,
               "query map: %zu x %zu floats", d, d);
    VQ_TRY(vq_moments_add(map, map, d, d, threads, square, err));
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < i; j++) square[i * d + j] = square[j * d + i];
    VQ_TRY(vq_cholesky(square, d, half, err));
    for (size_t i = 0; i < d * d; i++) small[i] = (float)half[i];
    vq_gemm_nt(d, d, d, 1.0f, map, d, small, d, 0.0f, product, d);
    vq_gemm_nn(d, d, d, 1.0f, product, d, small, d, 0.0f, out, d);
out:
    vq_mem_free(square);
    vq_mem_free(half);
    vq_mem_free(small);
    vq_mem_free(product);
    return rc;
}

vq_status vq_fold_map(const vq_model *m, vq_fitted *fitted, const float *map, int threads,
                      float *queries, size_t nq, vq_corpus *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d_code;
    const float *turns[2] = {map, NULL};
    float *inverse = vq_alloc_f32(d, d), *folded = vq_alloc_f32(d, m->d);
    float *matrices[2] = {fitted->query_matrix, fitted->matrix};
    VQ_REQUIRE(inverse != NULL && folded != NULL, VQ_ENOMEM, "query map: %zu x %u floats", d, m->d);
    VQ_TRY(invert_transposed(map, d, threads, inverse, err));
    turns[1] = inverse;
    VQ_TRY(vq_fit_turn(queries, nq, d, map, err));
    VQ_TRY(vq_fit_turn(c->coded, c->n, d, inverse, err));
    if (m->nroutes != 0) VQ_TRY(vq_fit_turn(fitted->routes, m->nlist, d, inverse, err));
    for (int i = 0; i < 2; i++) {
        vq_gemm_nn(d, m->d, d, 1.0f, turns[i], d, matrices[i], m->d, 0.0f, folded, m->d);
        memcpy(matrices[i], folded, d * m->d * sizeof *folded);
    }
out:
    vq_mem_free(inverse);
    vq_mem_free(folded);
    return rc;
}
