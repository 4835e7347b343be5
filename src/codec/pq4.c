/* SPDX-License-Identifier: Apache-2.0 */
/* pq4.c -- product code of m (even) sub-quantizers with 16 codewords: two to a byte, the even one
 * in the low half. */
#include "src/codec/pq.h"

#include "src/train/pq.h"

enum { KK = 16, MAX_M = 256, TOGETHER = 32 /* rows */ };

static vq_status plan(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    return vq_pq_plan("pq4", d, bytes, 4, m, err);
}

static uint32_t code_bytes(uint32_t d, uint32_t m)
{
    (void)d;
    return m / 2;
}

static size_t nparams(uint32_t d, uint32_t m)
{
    return vq_pq_nparams(d, m, KK);
}

static vq_status train(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed, int threads,
                       vq_ticker *ticker, float *params, vq_error *err)
{
    return vq_pq_params_train(x, n, d, m, KK, seed, threads, ticker, params, err);
}

static vq_status encode(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                        uint8_t *rows, vq_error *err)
{
    (void)err;
    const float *norm = cm->params + (size_t)cm->d * KK;
    uint8_t codes[TOGETHER * MAX_M];
    for (size_t first = 0; first < n; first += TOGETHER) {
        size_t count = VQ_MIN(n - first, (size_t)TOGETHER), bytes = count * (cm->m / 2);
        uint8_t *to = rows + first * (cm->m / 2);
        vq_pq_encode(k, x + first * cm->d, count, cm->m, cm->d / cm->m, KK, cm->params, norm,
                     codes);
        for (size_t p = 0; p < bytes; p++) /* m is even */
            to[p] = (uint8_t)(codes[2 * p] | codes[2 * p + 1] << 4);
    }
    return VQ_OK;
}

static unsigned code_at(const uint8_t *row, size_t stride, size_t j)
{
    return (unsigned)row[j / 2 * stride] >> (j % 2 * 4) & 15u;
}

static void decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows + i * (cm->m / 2);
        for (size_t t = 0, dsub = cm->d / cm->m; t < cm->d; t++)
            x[i * cm->d + t] = cm->params[t * KK + code_at(row, 1, t / dsub)];
    }
}

static void pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks)
{
    vq_block_pack(rows, n, cm->m / 2, blocks);
}

static void unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row)
{
    vq_block_unpack(blocks, slot, cm->m / 2, row);
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
    return vq_pq_prepare(cm, k, q, KK, false, arena);
}

static size_t scan(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                   float base, float threshold, void *scratch, uint32_t *idx, float *score)
{
    (void)ahead;
    const vq_pq_tables *t = tables;
    k->pq4_scan(t->lut8, blocks, (n + VQ_BLOCK - 1) / VQ_BLOCK, cm->m,
                VQ_BLOCK * (size_t)cm->code_bytes, scratch);
    return vq_pq_select(t, k, scratch, factor, n, base, threshold, idx, score);
}

static float score_slot(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                        const uint8_t *blocks, size_t slot)
{
    (void)k;
    const vq_pq_tables *t = tables;
    const uint8_t *at = blocks + slot / VQ_BLOCK * (cm->m / 2) * VQ_BLOCK + slot % VQ_BLOCK;
    float sum = 0.0f;
    for (size_t j = 0; j < cm->m; j++) sum += t->lut[j * KK + code_at(at, VQ_BLOCK, j)];
    return t->unit * sum + t->offset;
}

static void refresh(uint32_t d, uint32_t m, float *params)
{
    vq_pq_norms(params, m, d / m, KK, params + (size_t)d * KK);
}

const vq_codec vq_codec_pq4 = {
    .name = "pq4",
    .disk_id = 3,
    .codewords = KK,
    .axes = 1,
    .plan = plan,
    .code_bytes = code_bytes,
    .nparams = nparams,
    .train = train,
    .encode = encode,
    .decode = decode,
    .books = vq_pq_books,
    .refresh = refresh,
    .pack = pack,
    .unpack = unpack,
    .brief_size = brief_size,
    .brief = brief,
    .prepare = prepare,
    .scan = scan,
    .slack = vq_pq_slack,
    .score = score_slot,
};
