/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c -- no compression: the residual as d little-endian floats. */
#include "src/codec/rows.h"

#include <string.h>

static vq_status plan(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    *m = 0;
    if (bytes == 0 || bytes >= 4 * d) return VQ_OK;
    return vq_fail(err, VQ_EINVAL,
                   "flat: %u dimensions take %u bytes, not %u; leave --bytes out, or use pq8", d,
                   4 * d, bytes);
}

static uint32_t code_bytes(uint32_t d, uint32_t m)
{
    (void)m;
    return 4 * d;
}

static size_t nparams(uint32_t d, uint32_t m)
{
    (void)d, (void)m;
    return 0;
}

static vq_status train(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed, int threads,
                       vq_ticker *ticker, float *params, vq_error *err)
{
    (void)x, (void)n, (void)d, (void)m, (void)seed, (void)threads, (void)ticker, (void)params;
    (void)err;
    return VQ_OK; /* nothing to learn */
}

static vq_status encode(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                        uint8_t *rows, vq_error *err)
{
    (void)k, (void)err;
    memcpy(rows, x, n * cm->d * sizeof *x);
    return VQ_OK;
}

static void decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x)
{
    memcpy(x, rows, n * cm->d * sizeof *x);
}

static const void *prepare(const vq_code_model *cm, const vq_kernels *k, const float *q,
                           vq_arena *arena)
{
    (void)cm, (void)k, (void)arena;
    return q;
}

static size_t scan(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                   float base, float threshold, void *scratch, uint32_t *idx, float *score)
{
    (void)ahead, (void)scratch;
    const float *q = tables, *rows = (const float *)(const void *)blocks;
    size_t kept = 0;
    for (size_t first = 0; first < n; first += VQ_BLOCK) {
        size_t count = VQ_MIN(n - first, (size_t)VQ_BLOCK);
        float dots[VQ_BLOCK];
        k->matvec_f32(rows + first * cm->d, count, cm->d, cm->d, q, dots);
        for (size_t i = 0; i < count; i++) dots[i] += base;
        kept += vq_rows_select(dots, factor, first, count, threshold, idx + kept, score + kept);
    }
    return kept;
}

static float score_slot(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                        const uint8_t *blocks, size_t slot)
{
    return k->dot_f32((const float *)(const void *)blocks + slot * cm->d, tables, cm->d);
}

const vq_codec vq_codec_flat = {
    .name = "flat",
    .disk_id = 1,
    .plan = plan,
    .code_bytes = code_bytes,
    .nparams = nparams,
    .train = train,
    .encode = encode,
    .decode = decode,
    .pack = vq_rows_pack,
    .unpack = vq_rows_unpack,
    .prepare = prepare,
    .scan = scan,
    .score = score_slot,
};
