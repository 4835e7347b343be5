/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c -- see rows.h. */
#include "src/codec/rows.h"

#include <string.h>

void vq_rows_pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks)
{
    size_t bytes = cm->code_bytes;
    memcpy(blocks, rows, n * bytes);
    memset(blocks + n * bytes, 0, (vq_round_up(n, VQ_BLOCK) - n) * bytes);
}

void vq_rows_unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row)
{
    memcpy(row, blocks + slot * cm->code_bytes, cm->code_bytes);
}

size_t vq_rows_select(const float *scores, const float *factor, size_t first, size_t n,
                      float threshold, uint32_t *idx, float *score)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        float s = factor != NULL ? scores[i] - factor[first + i] : scores[i];
        idx[kept] = (uint32_t)(first + i);
        score[kept] = s;
        kept += s >= threshold;
    }
    return kept;
}
