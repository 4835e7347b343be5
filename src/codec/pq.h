/* SPDX-License-Identifier: Apache-2.0 */
/* pq.h -- what codes of sub-quantizers share: parameters, tables and the transposition into blocks.
 */
#ifndef VQ_CODEC_PQ_H
#define VQ_CODEC_PQ_H

#include "src/codec/codec.h"

/* Parameters: codebooks m x dsub x kk (for sub-space j and coordinate t the kk codewords' values
 * adjacent), then norms m x kk (squared lengths of the codewords). */
size_t vq_pq_nparams(uint32_t d, uint32_t m, size_t kk);
size_t vq_pq_books(uint32_t d, uint32_t m); /* 0: codebooks come first */
vq_status vq_pq_params_train(const float *x, size_t n, uint32_t d, uint32_t m, size_t kk,
                             uint64_t seed, int threads, vq_ticker *ticker, float *params,
                             vq_error *err);
/* Chooses m: the most sub-quantizers of `bits` bits that fit into bytes, at most d. */
vq_status vq_pq_plan(const char *name, uint32_t d, uint32_t bytes, uint32_t bits, uint32_t *m,
                     vq_error *err);

/* How a query's scan by pairs goes. */
typedef struct vq_pq_luck {
    uint32_t pause, wait; /* parts to scan exactly after the next one that was in vain; from now */
} vq_pq_luck;

typedef struct vq_pq_tables {
    const float *lut;    /* m x kk */
    const uint8_t *lut8; /* the same, quantized: lut ~ low[j] + scale * lut8; 64-byte aligned */
    float unit;          /* of lut: a score is unit * (sum of lut) + offset */
    float offset;
    float scale;          /* of sums of lut8 */
    float low;            /* what these are added to: offset + unit * (sum of low[j] over j) */
    float size;           /* no sum of lut's entries is larger in magnitude, times unit */
    const uint8_t *pairs; /* m x 128: the larger of lut8's entries 2i and 2i + 1; NULL: no use */
    vq_pq_luck *luck;     /* of pairs */
} vq_pq_tables;
const vq_pq_tables *vq_pq_prepare(const vq_code_model *cm, const vq_kernels *k, const float *q,
                                  size_t kk, bool pairs, vq_arena *arena);
/* Whether bounds by pairs are worth having: where a table of 256 costs twice one of 128. */
static inline bool vq_pq_pairs_pay(const vq_kernels *k)
{
    return (k->needs & (VQ_CPU_AVX2 | VQ_CPU_VBMI)) == VQ_CPU_AVX2 || (k->needs & VQ_CPU_NEON) != 0;
}
/* The same of a table (m x kk) that the arena holds: quantizes it.  NULL: no memory. */
vq_pq_tables *vq_pq_tables_make(const vq_kernels *k, const float *lut, size_t m, size_t kk,
                                float unit, float offset, vq_arena *arena);
/* Half a step for each entry, and what sums round. */
float vq_pq_slack(const vq_code_model *cm, const void *tables);
/* Codewords in bytes, as vq_codec.brief: every coordinate with its own range. */
size_t vq_pq_brief_size(uint32_t d, uint32_t m, size_t kk);
void vq_pq_brief(const vq_code_model *cm, const vq_kernels *k, size_t kk, void *memory);
/* From the u16 sums of a scan to survivors; see vq_codec.scan. */
size_t vq_pq_select(const void *tables, const vq_kernels *k, const uint16_t *sums,
                    const float *factor, size_t n, float base, float threshold, uint32_t *idx,
                    float *score);

void vq_pq_least(const void *tables, float threshold, const float *base, const float *factor,
                 size_t n, uint16_t *least);

/* rows (n x bytes) <-> blocks of 32: byte p of vector i stands at (block * bytes + p) * 32 + i %
 * 32; the last block is filled up with zeros. */
void vq_block_pack(const uint8_t *rows, size_t n, size_t bytes, uint8_t *blocks);
void vq_block_unpack(const uint8_t *blocks, size_t slot, size_t bytes, uint8_t *row);

/* Members of vq_codec for codes of m bytes that look up m x 256 tables. */
uint32_t vq_pq8_code_bytes(uint32_t d, uint32_t m);
void vq_pq8_pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks);
void vq_pq8_unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row);
size_t vq_pq8_scan(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                   float base, float threshold, void *scratch, uint32_t *idx, float *score);
/* The same answers as vq_pq8_scan.  Where pairs of near codewords (train/pairs.h) pay, a sum of the
 * larger of each pair's two entries is looked up first, for half the price; only vectors whose
 * bound reaches the threshold are looked up exactly. */
size_t vq_pq8_scan_pairs(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                         const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                         float base, float threshold, void *scratch, uint32_t *idx, float *score);
bool vq_pq8_asks(const vq_kernels *k);
bool vq_pq8_gather_pays(const vq_kernels *k);
void vq_pq8_gather(const vq_code_model *cm, const vq_kernels *k, const uint8_t *const *blocks,
                   size_t nblocks, uint8_t *out);
size_t vq_pq8_sums(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *gathered, size_t nblocks, const uint16_t *least, uint16_t *sums,
                   uint32_t *reached);
void vq_pq8_fetch(const vq_code_model *cm, const uint8_t *blocks, size_t slot);
void vq_pq8_fetch_tables(const vq_code_model *cm, const void *tables);
float vq_pq8_score(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, size_t slot);

#endif
