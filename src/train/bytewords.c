/* SPDX-License-Identifier: Apache-2.0 */
/* bytewords.c -- see bytewords.h.
 *
 * Bounds.  With r ~ s and c ~ e as bytes, |r.c - s.e| <= |r - s| |c| + |s| |c - e|
 * (Cauchy-Schwarz). Every sum of floats, in any order, is wrong by at most d u of the lengths'
 * product, u = 2^-24, and there are two of them beside a few roundings, so that (2 d + 32) u (|r| +
 * |c|) |c| holds all of that.  Products may underflow without harm where the longest codeword is at
 * least NORM_MIN, and nothing overflows up to NORM_MAX; beyond, bytes say nothing and all codewords
 * are compared. */
#include "src/train/bytewords.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/math/transform.h"
#include "vq/vq.h"

#define WORDS      ((size_t)VQ_BYTEWORDS)
#define NORM_MIN   1e-10f
#define NORM_MAX   1e18f
#define SPARE      1.001f /* bounds are computed in floats themselves */
#define DEVIATIONS 4.0f   /* of a score: eight of the difference of two */

enum { MIDDLE = 128, MOST = 127, QUAD = 4 };

/* Codewords hold most of their length in a few coordinates, which bytes of one unit serve badly.
 * So both sides of the products are rotated: by Hadamard's matrix over the first P coordinates, P
 * the largest power of two up to d, then over the last P. */
static void turn(const float *x, size_t d, float *restrict out)
{
    size_t p = 1;
    memcpy(out, x, d * sizeof *out);
    while (2 * p <= d) p *= 2;
    vq_hadamard(out, p);
    if (p < d) vq_hadamard(out + d - p, p);
}

/* Bytes of one book's panels.  While they are made its pairs hold a panel of floats and bytes. */
static size_t panels_of(size_t d)
{
    size_t room = WORDS * WORDS * sizeof(float) / (VQ_PANEL * (sizeof(float) + 1));
    return d <= room ? vq_panels_size(WORDS, d) : SIZE_MAX;
}

size_t vq_bytewords_size(size_t m, size_t d)
{
    size_t bytes = panels_of(d), others;
    if (!vq_add_size(bytes, WORDS * (WORDS * sizeof(float) + sizeof(int32_t)), &bytes) ||
        !vq_mul_size(m, bytes, &bytes) || !vq_mul_size(m, sizeof(vq_byteword_book), &others))
        return SIZE_MAX;
    return vq_add_size(bytes, vq_round_up(others, VQ_CACHELINE), &bytes) ? bytes : SIZE_MAX;
}

vq_bytewords vq_bytewords_place(size_t m, size_t d, void *memory)
{
    vq_bytewords w = {.m = m, .d = d, .pairs = memory};
    w.sums = (int32_t *)(void *)(w.pairs + m * WORDS * WORDS);
    w.panels = (uint8_t *)(w.sums + m * WORDS);
    w.books = (vq_byteword_book *)(void *)(w.panels + m * panels_of(d));
    return w;
}

/* n numbers as bytes 1..255 that stand for unit * (byte - 128). */
static void to_bytes(const vq_kernels *k, const float *x, size_t n, float unit, uint8_t *out)
{
    k->quantize_u8(x, n, -(float)MIDDLE * unit, 1.0f / unit, out);
}

/* What one of those bytes stands for: 0 is nothing beside the largest coordinate. */
static float unit_of(const vq_kernels *k, const float *x, size_t n)
{
    float lo, hi;
    k->minmax_f32(x, n, &lo, &hi);
    float most = VQ_MAX(-lo, hi);
    return most >= 0x1p-100f ? most / (float)MOST : 0.0f;
}

/* The length of what bytes have lost of x; decoded: room for d. */
static float lost(const vq_kernels *k, const float *x, size_t d, float unit,
                  const uint8_t *restrict bytes, float *restrict decoded)
{
    for (size_t j = 0; j < d; j++) decoded[j] = unit * (float)(bytes[j] - MIDDLE);
    return sqrtf(k->l2sq_f32(x, decoded, d));
}

void vq_bytewords_fill(const vq_bytewords *w, const vq_kernels *k, size_t j, const float *book,
                       const float *norms)
{
    vq_byteword_book *to = &w->books[j];
    size_t d = w->d;
    float *pairs = w->pairs + j * WORDS * WORDS, longest = 0.0f;
    float *turned = pairs;
    uint8_t *panels = w->panels + j * panels_of(d), *bytes = (uint8_t *)(turned + VQ_PANEL * d);
    bool usual = true;
    for (size_t c = 0; c < WORDS; c++) {
        usual = usual && norms[c] <= NORM_MAX * NORM_MAX; /* NaN is not */
        longest = norms[c] > longest ? norms[c] : longest;
    }
    *to = (vq_byteword_book){.length = sqrtf(longest)};
    if (!usual || (longest > 0.0f && to->length < NORM_MIN)) to->length = INFINITY;
    for (size_t c = 0; c < WORDS && to->length < INFINITY; c += VQ_PANEL) {
        for (size_t i = 0; i < VQ_PANEL; i++) turn(book + (c + i) * d, d, turned + i * d);
        to->unit = fmaxf(to->unit, unit_of(k, turned, VQ_PANEL * d));
    }
    for (size_t c = 0; c < WORDS; c += VQ_PANEL) {
        memset(bytes, MIDDLE, VQ_PANEL * d);
        for (size_t i = 0; i < VQ_PANEL; i++) turn(book + (c + i) * d, d, turned + i * d);
        if (to->unit > 0.0f) to_bytes(k, turned, VQ_PANEL * d, to->unit, bytes);
        vq_panels_fill(panels + vq_panels_size(c, d), w->sums + j * WORDS + c, VQ_U8, bytes,
                       VQ_PANEL, d);
        for (size_t i = 0; i < VQ_PANEL; i++) {
            double sq = 0.0;
            for (size_t t = 0; t < d; t++) {
                double e = (double)turned[i * d + t] -
                           (double)to->unit * (double)(bytes[i * d + t] - MIDDLE);
                sq += e * e;
            }
            to->error = VQ_MAX(to->error, (float)sqrt(sq));
        }
    }
    vq_gemm_nt(WORDS, WORDS, d, 1.0f, book, d, book, d, 0.0f, pairs, WORDS);
    for (size_t b = 0; b < WORDS; b++)
        for (size_t c = 0; c < WORDS; c++) pairs[b * WORDS + c] -= 0.5f * norms[c];
}

size_t vq_byterow_room(size_t d)
{
    return 2 * d * sizeof(float) + vq_panel_quads(d) * QUAD;
}

vq_byterow vq_byterow_put(const vq_kernels *k, int8_t *rows, size_t i, const float *x, size_t d,
                          void *room)
{
    const uint32_t flips = MIDDLE * 0x01010101u; /* byte - 128 */
    float *turned = room, *decoded = turned + d;
    size_t quads = vq_panel_quads(d), group = VQ_PANEL_GROUP * QUAD;
    uint8_t *bytes = (uint8_t *)(decoded + d);
    int8_t *at = rows + i / VQ_PANEL_GROUP * quads * group + i % VQ_PANEL_GROUP * QUAD;
    vq_byterow r = {.length = sqrtf(k->dot_f32(x, x, d))};
    bool usual = r.length <= NORM_MAX; /* NaN is not */
    memset(bytes, MIDDLE, quads * QUAD);
    turn(x, d, turned);
    if (usual) r.unit = unit_of(k, turned, d);
    if (r.unit > 0.0f) to_bytes(k, turned, d, r.unit, bytes);
    r.error = usual ? lost(k, turned, d, r.unit, bytes, decoded) : INFINITY;
    uint32_t sum = 0;
    for (size_t j = 0; j < d; j++) sum += bytes[j];
    r.sum = (int32_t)sum - (int32_t)(MIDDLE * d);
    for (size_t j = 0; j < quads; j++) {
        uint32_t four;
        memcpy(&four, bytes + j * QUAD, QUAD);
        four ^= flips;
        memcpy(at + j * group, &four, QUAD);
    }
    return r;
}

void vq_bytewords_dots(const vq_bytewords *w, const vq_kernels *k, size_t j, const int8_t *rows,
                       const vq_byterow *of, size_t first, size_t n, float *scores)
{
    vq_panel_scale scale[VQ_BYTEWORD_ROWS];
    for (size_t i = 0; i < n; i++)
        scale[i] = (vq_panel_scale){.unit = of[first + i].unit * w->books[j].unit,
                                    .less = MIDDLE * of[first + i].sum};
    k->panel_dots(w->panels + j * panels_of(w->d), w->sums + j * WORDS, WORDS / VQ_PANEL,
                  vq_panel_quads(w->d), rows + vq_panel_queries_size(first, w->d), scale, n, scores,
                  WORDS);
}

float vq_gemm_off(size_t d, float length, float longest)
{
    if (!(length <= NORM_MAX && longest <= NORM_MAX)) return INFINITY;
    if (longest > 0.0f && longest < NORM_MIN) return INFINITY;
    return ((float)d * 2.0f + 32.0f) * 0x1p-24f * SPARE * (length + longest) * longest;
}

float vq_bytewords_off(const vq_bytewords *w, size_t j, const vq_byterow *r)
{
    const vq_byteword_book *b = &w->books[j];
    if (!(r->error < INFINITY && b->length < INFINITY)) return INFINITY;
    float of_row = r->error * b->length, of_word = (r->length + r->error) * b->error;
    float bound = SPARE * (of_row + of_word);
    /* A loss of length e has the deviation e |c| / sqrt(d) in a product with c. */
    float usual = DEVIATIONS * sqrtf((of_row * of_row + of_word * of_word) / (float)w->d);
    return fminf(bound, usual) + vq_gemm_off(w->d, r->length, b->length);
}
