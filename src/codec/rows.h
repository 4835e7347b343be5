/* SPDX-License-Identifier: Apache-2.0 */
/* rows.h -- what the codes without sub-quantizers share: blocks are just rows, one after another.
 */
#ifndef VQ_CODEC_ROWS_H
#define VQ_CODEC_ROWS_H

#include "src/codec/codec.h"

void vq_rows_pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks);
void vq_rows_unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row);
/* Survivors among n scores (already q.r + base): takes the factors off, compares, appends. */
size_t vq_rows_select(const float *scores, const float *factor, size_t first, size_t n,
                      float threshold, uint32_t *idx, float *score);

#endif
