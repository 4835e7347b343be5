/* SPDX-License-Identifier: Apache-2.0 */
/* recode.c -- see recode.h. */
#include "index/recode.h"

#include <string.h>

#include "src/math/blas.h"
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

vq_status vq_recode(const vq_model *m, const vq_corpus *c, const uint32_t *felt,
                    const float *queries, size_t nq, unsigned sweeps, int threads,
                    vq_ticker *ticker, uint8_t *one, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool additive = m->codec->additive != 0;
    size_t kk = m->codec->codewords, len = additive ? m->d_code : m->d_code / m->m;
    const float *books = m->params + m->codec->books(m->d_code, m->m);
    float *turned = additive ? NULL : words_by_row(books, m->d_code, kk, len);
    double sq = vq_kernels_get()->sq_row_f32(queries, nq * m->d_code);
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
                   .sweeps = sweeps,
                   .threads = threads,
                   .ticker = ticker};
    VQ_REQUIRE(p.words != NULL, VQ_ENOMEM, "codewords: %u books", m->m);
    if (sq > 0.0) p.beta = (float)(BETA * (double)m->d * (double)nq / sq);
    VQ_TRY(vq_perdoc_encode(&p, one, err));
out:
    vq_mem_free(turned);
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
    for (int i = 0; i < 2; i++) {
        vq_gemm_nn(d, m->d, d, 1.0f, turns[i], d, matrices[i], m->d, 0.0f, folded, m->d);
        memcpy(matrices[i], folded, d * m->d * sizeof *folded);
    }
out:
    vq_mem_free(inverse);
    vq_mem_free(folded);
    return rc;
}
