/* SPDX-License-Identifier: Apache-2.0 */
/* recode.c -- see recode.h. */
#include "index/recode.h"

#include <string.h>

#include "src/math/blas.h"
#include "src/train/moments.h"
#include "src/train/perdoc.h"

/* What the queries of a vector weigh beside the length of its error, for queries of mean square
 * length d: on held-out questions .03 at 16 and 32 bytes; at .1 the codes follow the training
 * queries away from the others, at .015 they gain less. */
#define BETA 0.03

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

vq_status vq_felt_init(vq_felt *f, const vq_teacher *t, size_t nq, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    float *best = vq_alloc_f32(n, VQ_FELT);
    f->near = vq_mem_alloc(n * VQ_FELT, sizeof *f->near);
    VQ_REQUIRE(best != NULL && f->near != NULL, VQ_ENOMEM, "queries of %zu vectors", n);
    vq_perdoc_near(t->rows, t->scores, nq, t->k, n, VQ_FELT, f->near, best);
out:
    vq_mem_free(best);
    return rc;
}

void vq_felt_fini(vq_felt *f)
{
    vq_mem_free(f->near);
}

/* Codewords one after the other: m x codewords x *len. */
static float *words_by_row(const vq_model *m, size_t *len)
{
    const float *books = m->params + m->codec->books(m->d_code, m->m);
    size_t kk = m->codec->codewords, d = m->d_code;
    bool additive = m->codec->additive != 0;
    *len = additive ? d : d / m->m;
    float *words = vq_alloc_f32(m->m * kk, *len);
    if (words == NULL || additive) {
        if (words != NULL) memcpy(words, books, m->m * kk * d * sizeof *words);
        return words;
    }
    for (size_t t = 0; t < d; t++)
        for (size_t c = 0; c < kk; c++)
            words[(t / *len * kk + c) * *len + t % *len] = books[t * kk + c];
    return words;
}

vq_status vq_recode(const vq_model *m, const vq_corpus *c, const vq_felt *f, const float *queries,
                    size_t nq, unsigned sweeps, int threads, vq_ticker *ticker, uint8_t *one,
                    vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t len;
    float *words = words_by_row(m, &len);
    double sq = vq_kernels_get()->sq_row_f32(queries, nq * m->d_code);
    vq_perdoc p = {.n = c->n,
                   .d = m->d_code,
                   .nlist = m->nlist,
                   .nq = nq,
                   .m = m->m,
                   .kk = m->codec->codewords,
                   .len = len,
                   .words = words,
                   .rows = c->coded,
                   .centroids = m->centroids,
                   .lists = c->lists,
                   .queries = queries,
                   .near = f->near,
                   .count = VQ_FELT,
                   .sweeps = sweeps,
                   .threads = threads,
                   .ticker = ticker};
    VQ_REQUIRE(words != NULL, VQ_ENOMEM, "codewords: %u books", m->m);
    if (sq > 0.0) p.beta = (float)(BETA * (double)m->d * (double)nq / sq);
    VQ_TRY(vq_perdoc_encode(&p, one, err));
out:
    vq_mem_free(words);
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
