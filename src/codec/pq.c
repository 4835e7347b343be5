/* SPDX-License-Identifier: Apache-2.0 */
/* pq.c -- see pq.h.  Product quantization: Jegou, Douze and Schmid 2011; scan order of blocks and
 * 8-bit tables: Andre, Kermarrec and Le Scouarnec 2015. */
#include "src/codec/pq.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "src/math/fixed.h"
#include "src/train/pq.h"

enum { TRAIN_ITERS = 20, MOST_PAUSE = 7 };

size_t vq_pq_nparams(uint32_t d, uint32_t m, size_t kk)
{
    return ((size_t)d + m) * kk;
}

size_t vq_pq_books(uint32_t d, uint32_t m)
{
    (void)d, (void)m;
    return 0;
}

vq_status vq_pq_params_train(const float *x, size_t n, uint32_t d, uint32_t m, size_t kk,
                             uint64_t seed, int threads, vq_ticker *ticker, float *params,
                             vq_error *err)
{
    return vq_pq_train(x, n, m, d / m, kk, TRAIN_ITERS, 0, seed, threads, ticker, params,
                       params + (size_t)d * kk, NULL, err);
}

vq_status vq_pq_plan(const char *name, uint32_t d, uint32_t bytes, uint32_t bits, uint32_t *m,
                     vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t per_byte = 8 / bits; /* 256 sub-quantizers at most: a sum of 256 x 255 fits 16 bits */
    VQ_REQUIRE(bytes >= 1, VQ_EINVAL, "%s: no byte is left for a code; ask for more --bytes", name);
    VQ_REQUIRE(bytes <= 256 / per_byte, VQ_EINVAL, "%s: %u bytes of code; at most %u, or use sq8",
               name, bytes, 256 / per_byte);
    uint32_t want = bytes * per_byte, room = (d + per_byte - 1) / per_byte * per_byte;
    *m = VQ_MIN(want, room);
out:
    return rc;
}

/* Where things stand in a brief: step (d), low (d), then for each sub-space pairs of coordinates:
 * the two bytes of a codeword adjacent, codewords rising.  An odd coordinate has a zero beside it.
 */
typedef struct brief_layout {
    size_t dsub, pairs, low, bytes, end; /* low, bytes, end: offsets in bytes */
} brief_layout;

static brief_layout brief_layout_of(uint32_t d, uint32_t m, size_t kk)
{
    brief_layout l = {.dsub = d / m};
    l.pairs = (l.dsub + 1) / 2;
    l.low = d * sizeof(float);
    l.bytes = vq_round_up(2 * l.low, VQ_CACHELINE);
    l.end = l.bytes + 2 * l.pairs * m * kk;
    return l;
}

size_t vq_pq_brief_size(uint32_t d, uint32_t m, size_t kk)
{
    return brief_layout_of(d, m, kk).end;
}

void vq_pq_brief(const vq_code_model *cm, const vq_kernels *k, size_t kk, void *memory)
{
    brief_layout l = brief_layout_of(cm->d, cm->m, kk);
    float *step = memory, *low = (float *)(void *)((char *)memory + l.low);
    uint8_t *book = (uint8_t *)memory + l.bytes, row[256];
    memset(book, 0, l.end - l.bytes);
    for (size_t t = 0; t < cm->d; t++) {
        size_t j = t / l.dsub, in = t % l.dsub;
        uint8_t *at = book + 2 * (j * l.pairs + in / 2) * kk + in % 2;
        vq_bytes_make(k, cm->params + t * kk, kk, row, &step[t], &low[t]);
        for (size_t c = 0; c < kk; c++) at[2 * c] = row[c];
    }
}

/* The table from codewords in bytes: of integers, with the steps in the query. */
static vq_pq_tables *prepare_brief(const vq_code_model *cm, const vq_kernels *k, const float *q,
                                   size_t kk, float *lut, vq_arena *arena)
{
    brief_layout l = brief_layout_of(cm->d, cm->m, kk);
    const char *brief = cm->brief;
    const float *step = cm->brief, *low = (const float *)(const void *)(brief + l.low);
    size_t wide = 2 * l.pairs * cm->m;
    float *scaled = vq_arena_take(arena, wide, sizeof *scaled);
    vq_fixed f = {.x = vq_arena_take(arena, wide, sizeof *f.x)};
    if (scaled == NULL || f.x == NULL) return NULL;
    const float *at = q;
    for (size_t j = 0; j < cm->m; j++, at += l.dsub, step += l.dsub) {
        float *out = scaled + 2 * l.pairs * j;
        for (size_t t = 0; t < l.dsub; t++) out[t] = at[t] * step[t];
        if (l.dsub % 2 != 0) out[l.dsub] = 0.0f;
    }
    vq_fixed_set(&f, k, scaled, wide);
    k->lut_u8(f.x, (const uint8_t *)brief + l.bytes, cm->m, l.pairs, kk, lut);
    return vq_pq_tables_make(k, lut, cm->m, kk, f.unit, k->dot_f32(q, low, cm->d), arena);
}

static vq_pq_tables *add_pairs(vq_pq_tables *t, size_t m, vq_arena *arena)
{
    uint8_t *pairs = vq_arena_take(arena, m, 128);
    if (t == NULL || pairs == NULL) return NULL;
    t->luck = vq_arena_take(arena, 1, sizeof *t->luck);
    if (t->luck == NULL) return NULL;
    *t->luck = (vq_pq_luck){0, 0};
    for (size_t i = 0; i < m * 128; i++) pairs[i] = VQ_MAX(t->lut8[2 * i], t->lut8[2 * i + 1]);
    t->pairs = pairs;
    return t;
}

const vq_pq_tables *vq_pq_prepare(const vq_code_model *cm, const vq_kernels *k, const float *q,
                                  size_t kk, bool pairs, vq_arena *arena)
{
    vq_pq_tables *t;
    float *lut = vq_arena_take(arena, cm->m * kk, sizeof *lut);
    if (lut == NULL) return NULL;
    if (cm->brief != NULL) {
        t = prepare_brief(cm, k, q, kk, lut, arena);
    } else {
        k->lut_f32(q, cm->params, cm->m, cm->d / cm->m, kk, lut);
        t = vq_pq_tables_make(k, lut, cm->m, kk, 1.0f, 0.0f, arena);
    }
    return pairs && vq_pq_pairs_pay(k) ? add_pairs(t, cm->m, arena) : t;
}

vq_pq_tables *vq_pq_tables_make(const vq_kernels *k, const float *lut, size_t m, size_t kk,
                                float unit, float offset, vq_arena *arena)
{
    vq_pq_tables *t = vq_arena_take(arena, 1, sizeof *t);
    uint8_t *lut8 = vq_arena_take(arena, m * kk, 1);
    float *low = vq_arena_take(arena, m, sizeof *low);
    if (t == NULL || lut8 == NULL || low == NULL) return NULL;
    float range = 0.0f, sum = 0.0f, size = 0.0f;
    for (size_t j = 0; j < m; j++) {
        float hi;
        k->minmax_f32(lut + j * kk, kk, &low[j], &hi);
        range = VQ_MAX(range, hi - low[j]);
        sum += low[j];
        size += VQ_MAX(fabsf(low[j]), fabsf(hi));
    }
    /* One step for all sub-spaces: sums of bytes then order like sums of floats. */
    float inv = range > 0.0f ? 255.0f / range : 0.0f;
    for (size_t j = 0; j < m; j++) k->quantize_u8(lut + j * kk, kk, low[j], inv, lut8 + j * kk);
    *t = (vq_pq_tables){.lut = lut,
                        .lut8 = lut8,
                        .unit = unit,
                        .offset = offset,
                        .scale = unit * (range / 255.0f),
                        .low = unit * sum + offset,
                        .size = unit * size};
    return t;
}

size_t vq_pq_select(const void *tables, const vq_kernels *k, const uint16_t *sums,
                    const float *factor, size_t n, float base, float threshold, uint32_t *idx,
                    float *score)
{
    const vq_pq_tables *t = tables;
    return k->select_u16(sums, factor, n, t->scale, base + t->low, threshold, idx, score);
}

float vq_pq_slack(const vq_code_model *cm, const void *tables)
{
    const vq_pq_tables *t = tables;
    float m = (float)cm->m; /* each addition is off by 2^-24 of all entries together at most */
    if (!(t->scale >= FLT_MIN)) return INFINITY; /* bytes of such a table say nothing */
    return 0.501f * m * t->scale + ((m + 4.0f) * t->size + fabsf(t->offset)) * 0x1p-22f;
}

void vq_pq_least(const void *tables, float threshold, const float *base, const float *factor,
                 size_t n, uint16_t *least)
{
    const vq_pq_tables *t = tables;
    /* of the least scales the inverse is no number */
    const float low = t->low, inv = fminf(1.0f / t->scale, FLT_MAX),
                sizes = fabsf(threshold) + fabsf(low);
    for (size_t i = 0; i < n; i++) {
        float need = (threshold - low) + (factor[i] - base[i]);
        /* what select_u16 rounds, and what is rounded here: seven units of 2^-24 at most */
        need -= (sizes + fabsf(base[i]) + fabsf(factor[i])) * 0x1p-20f;
        float sum = need * inv; /* of equal entries all sums are 0: reached or infinitely far */
        least[i] = (uint16_t)(sum > 0.0f ? VQ_MIN(sum, 65535.0f) : 0.0f);
    }
}

void vq_block_pack(const uint8_t *rows, size_t n, size_t bytes, uint8_t *blocks)
{
    size_t nblocks = (n + VQ_BLOCK - 1) / VQ_BLOCK;
    memset(blocks, 0, nblocks * VQ_BLOCK * bytes);
    for (size_t i = 0; i < n; i++) {
        uint8_t *at = blocks + i / VQ_BLOCK * bytes * VQ_BLOCK + i % VQ_BLOCK;
        for (size_t p = 0; p < bytes; p++) at[p * VQ_BLOCK] = rows[i * bytes + p];
    }
}

void vq_block_unpack(const uint8_t *blocks, size_t slot, size_t bytes, uint8_t *row)
{
    const uint8_t *at = blocks + slot / VQ_BLOCK * bytes * VQ_BLOCK + slot % VQ_BLOCK;
    for (size_t p = 0; p < bytes; p++) row[p] = at[p * VQ_BLOCK];
}

uint32_t vq_pq8_code_bytes(uint32_t d, uint32_t m)
{
    (void)d;
    return m;
}

void vq_pq8_pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks)
{
    vq_block_pack(rows, n, cm->m, blocks);
}

void vq_pq8_unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row)
{
    vq_block_unpack(blocks, slot, cm->m, row);
}

size_t vq_pq8_scan(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                   float base, float threshold, void *scratch, uint32_t *idx, float *score)
{
    const vq_pq_tables *t = tables;
    k->pq8_scan(t->lut8, blocks, ahead, (n + VQ_BLOCK - 1) / VQ_BLOCK, cm->m, scratch);
    return vq_pq_select(t, k, scratch, factor, n, base, threshold, idx, score);
}

/* The sum of lut8 for one slot. */
static uint16_t sum_of(const vq_pq_tables *t, const uint8_t *blocks, size_t slot, size_t m)
{
    const uint8_t *at = blocks + slot / VQ_BLOCK * m * VQ_BLOCK + slot % VQ_BLOCK;
    const uint8_t *lut = t->lut8;
    uint32_t sum = 0;
#pragma GCC unroll 8
    for (size_t j = 0; j < m; j++) sum += lut[j * 256 + at[j * VQ_BLOCK]];
    return (uint16_t)sum;
}

/* The survivors `idx`, kept of them, by their exact sums. */
static size_t select_exactly(const vq_pq_tables *t, const vq_kernels *k, const uint8_t *blocks,
                             size_t m, const float *factor, size_t kept, float base,
                             float threshold, uint32_t *idx, float *score)
{
    enum { SOME = 64 };
    uint16_t sums[SOME];
    float factors[SOME];
    uint32_t which[SOME];
    size_t left = 0;
    for (size_t first = 0; first < kept; first += SOME) {
        size_t n = VQ_MIN(kept - first, (size_t)SOME);
        for (size_t i = 0; i < n; i++) {
            sums[i] = sum_of(t, blocks, idx[first + i], m);
            factors[i] = factor != NULL ? factor[idx[first + i]] : 0.0f;
        }
        size_t good = vq_pq_select(t, k, sums, factor != NULL ? factors : NULL, n, base, threshold,
                                   which, score + left);
        for (size_t i = 0; i < good; i++) idx[left++] = idx[first + which[i]];
    }
    return left;
}

/* Bounds are not worth their price in the neighbourhood of the query, where many survive, nor of
 * codewords that are no pairs.  An exact sum of one vector costs what three to five cost in a scan,
 * a bound half: from a sixth of survivors on the next parts are better scanned exactly, and
 * from three eighths this one is, too. */
size_t vq_pq8_scan_pairs(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                         const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                         float base, float threshold, void *scratch, uint32_t *idx, float *score)
{
    const vq_pq_tables *t = tables;
    vq_pq_luck *luck = t->luck;
    size_t kept = n;
    if (t->pairs != NULL && luck->wait > 0) {
        luck->wait--;
    } else if (t->pairs != NULL && threshold > -INFINITY) {
        k->pq8_pairs(t->pairs, blocks, ahead, (n + VQ_BLOCK - 1) / VQ_BLOCK, cm->m, scratch);
        kept = vq_pq_select(t, k, scratch, factor, n, base, threshold, idx, score);
        luck->pause = 6 * kept > n ? VQ_MIN(2 * luck->pause + 1, (uint32_t)MOST_PAUSE) : 0;
        luck->wait = luck->pause;
    }
    if (8 * kept <= 3 * n)
        return select_exactly(t, k, blocks, cm->m, factor, kept, base, threshold, idx, score);
    return vq_pq8_scan(cm, k, tables, blocks, ahead, factor, n, base, threshold, scratch, idx,
                       score);
}

bool vq_pq8_asks(const vq_kernels *k)
{
    bool avx2 = (k->needs & (VQ_CPU_AVX2 | VQ_CPU_AVX512)) == VQ_CPU_AVX2;
    return avx2 || (k->needs & VQ_CPU_VBMI) != 0;
}

bool vq_pq8_gather_pays(const vq_kernels *k)
{
    return (k->needs & VQ_CPU_VBMI) != 0;
}

void vq_pq8_gather(const vq_code_model *cm, const vq_kernels *k, const uint8_t *const *blocks,
                   size_t nblocks, uint8_t *out)
{
    k->pq8_gather(blocks, nblocks, cm->m, out);
}

size_t vq_pq8_sums(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *gathered, size_t nblocks, const uint16_t *least, uint16_t *sums,
                   uint32_t *reached)
{
    const vq_pq_tables *t = tables;
    return k->pq8_gathered(t->lut8, gathered, nblocks, cm->m, least, sums, reached);
}

void vq_pq8_fetch(const vq_code_model *cm, const uint8_t *blocks, size_t slot)
{
    const uint8_t *at = blocks + slot / VQ_BLOCK * cm->m * VQ_BLOCK;
    for (size_t b = 0; b < (size_t)cm->m * VQ_BLOCK; b += VQ_CACHELINE) VQ_PREFETCH(at + b);
}

void vq_pq8_fetch_tables(const vq_code_model *cm, const void *tables)
{
    const vq_pq_tables *t = tables;
    const size_t line = VQ_CACHELINE / sizeof *t->lut;
    for (size_t i = 0; i < (size_t)cm->m * 256; i += line) VQ_PREFETCH(t->lut + i);
}

float vq_pq8_score(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, size_t slot)
{
    (void)k;
    const vq_pq_tables *t = tables;
    const uint8_t *at = blocks + slot / VQ_BLOCK * cm->m * VQ_BLOCK + slot % VQ_BLOCK;
    float sum = 0.0f;
    for (size_t j = 0; j < cm->m; j++) sum += t->lut[j * 256 + at[j * VQ_BLOCK]];
    return t->unit * sum + t->offset;
}
