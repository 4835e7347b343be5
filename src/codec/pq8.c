/* SPDX-License-Identifier: Apache-2.0 */
/* pq8.c -- product code of m sub-quantizers with 256 codewords: one byte each. */
#include "src/codec/pq.h"
#include "src/train/pairs.h"
#include "src/train/pq.h"

enum { KK = 256 };

static vq_status plan(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    return vq_pq_plan("pq8", d, bytes, 8, m, err);
}

static size_t nparams(uint32_t d, uint32_t m)
{
    return vq_pq_nparams(d, m, KK);
}

static vq_status train(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed, int threads,
                       vq_ticker *ticker, float *params, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(vq_pq_params_train(x, n, d, m, KK, seed, threads, ticker, params, err));
    VQ_TRY(vq_pairs_order(params, m, d / m, KK, threads, err)); /* for vq_pq8_scan */
    vq_pq_norms(params, m, d / m, KK, params + (size_t)d * KK);
out:
    return rc;
}

static vq_status encode(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                        uint8_t *rows, vq_error *err)
{
    (void)err;
    const float *norm = cm->params + (size_t)cm->d * KK;
    vq_pq_encode(k, x, n, cm->m, cm->d / cm->m, KK, cm->params, norm, rows);
    return VQ_OK;
}

static void decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *code = rows + i * cm->m;
        for (size_t t = 0, dsub = cm->d / cm->m; t < cm->d; t++)
            x[i * cm->d + t] = cm->params[t * KK + code[t / dsub]];
    }
}

static size_t brief_size(uint32_t d, uint32_t m)
{
    return vq_pq_brief_size(d, m, KK);
}

static void brief(const vq_code_model *cm, const vq_kernels *k, void *memory)
{
    vq_pq_brief(cm, k, KK, memory);
}

static const void *prepare(const vq_code_model *cm, const vq_kernels *k, const float *q,
                           vq_arena *arena)
{
    return vq_pq_prepare(cm, k, q, KK, true, arena);
}

static void refresh(uint32_t d, uint32_t m, float *params)
{
    vq_pq_norms(params, m, d / m, KK, params + (size_t)d * KK);
}

const vq_codec vq_codec_pq8 = {
    .name = "pq8",
    .disk_id = 4,
    .codewords = KK,
    .axes = 1,
    .plan = plan,
    .code_bytes = vq_pq8_code_bytes,
    .nparams = nparams,
    .train = train,
    .encode = encode,
    .decode = decode,
    .books = vq_pq_books,
    .refresh = refresh,
    .pack = vq_pq8_pack,
    .unpack = vq_pq8_unpack,
    .brief_size = brief_size,
    .brief = brief,
    .prepare = prepare,
    .scan = vq_pq8_scan_pairs,
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
