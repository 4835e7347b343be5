/* SPDX-License-Identifier: Apache-2.0 */
/* sq8.c -- scalar code: each coordinate of the residual in 256 even steps between the smallest and
 * the largest value seen in training.  Parameters: low (d), step (d). */
#include "src/codec/rows.h"

typedef struct sq8_tables {
    const float *q; /* d: q_j * step_j */
    float low;      /* sum q_j * low_j */
} sq8_tables;

static vq_status plan(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    *m = 0;
    if (bytes == 0 || bytes >= d) return VQ_OK;
    return vq_fail(err, VQ_EINVAL,
                   "sq8: %u dimensions take %u bytes, not %u; leave --bytes out, or use pq8", d, d,
                   bytes);
}

static uint32_t code_bytes(uint32_t d, uint32_t m)
{
    (void)m;
    return d;
}

static size_t nparams(uint32_t d, uint32_t m)
{
    (void)m;
    return 2 * (size_t)d;
}

static vq_status train(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed, int threads,
                       vq_ticker *ticker, float *params, vq_error *err)
{
    (void)m, (void)seed, (void)threads, (void)ticker, (void)err;
    float *low = params, *step = params + d;
    for (size_t j = 0; j < d; j++) low[j] = step[j] = x[j];
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < d; j++) {
            low[j] = VQ_MIN(low[j], x[i * d + j]);
            step[j] = VQ_MAX(step[j], x[i * d + j]);
        }
    /* Rows that the sample does not hold may reach further: some margin on either side. */
    for (size_t j = 0; j < d; j++) {
        float margin = 0.02f * (step[j] - low[j]);
        step[j] = (step[j] - low[j] + 2.0f * margin) / 255.0f;
        low[j] -= margin;
    }
    return VQ_OK;
}

static vq_status encode(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                        uint8_t *rows, vq_error *err)
{
    (void)err;
    const float *low = cm->params, *step = cm->params + cm->d;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < cm->d; j++)
            k->quantize_u8(&x[i * cm->d + j], 1, low[j], step[j] > 0.0f ? 1.0f / step[j] : 0.0f,
                           &rows[i * cm->d + j]);
    return VQ_OK;
}

static void decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x)
{
    const float *low = cm->params, *step = cm->params + cm->d;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < cm->d; j++)
            x[i * cm->d + j] = low[j] + step[j] * (float)rows[i * cm->d + j];
}

static const void *prepare(const vq_code_model *cm, const vq_kernels *k, const float *q,
                           vq_arena *arena)
{
    const float *low = cm->params, *step = cm->params + cm->d;
    sq8_tables *t = vq_arena_take(arena, 1, sizeof *t);
    float *scaled = vq_arena_take(arena, cm->d, sizeof *scaled);
    if (t == NULL || scaled == NULL) return NULL;
    for (size_t j = 0; j < cm->d; j++) scaled[j] = q[j] * step[j];
    *t = (sq8_tables){.q = scaled, .low = k->dot_f32(q, low, cm->d)};
    return t;
}

static float score_slot(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                        const uint8_t *blocks, size_t slot)
{
    const sq8_tables *t = tables;
    return k->dot_f32_u8(t->q, blocks + slot * cm->d, cm->d) + t->low;
}

static size_t scan(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                   float base, float threshold, void *scratch, uint32_t *idx, float *score)
{
    (void)ahead, (void)scratch;
    size_t kept = 0;
    for (size_t first = 0; first < n; first += VQ_BLOCK) {
        size_t count = VQ_MIN(n - first, (size_t)VQ_BLOCK);
        float dots[VQ_BLOCK];
        for (size_t i = 0; i < count; i++)
            dots[i] = score_slot(cm, k, tables, blocks, first + i) + base;
        kept += vq_rows_select(dots, factor, first, count, threshold, idx + kept, score + kept);
    }
    return kept;
}

const vq_codec vq_codec_sq8 = {
    .name = "sq8",
    .disk_id = 2,
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
