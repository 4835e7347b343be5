/* SPDX-License-Identifier: Apache-2.0 */
/* modes.c -- see modes.h. */
#include "src/train/modes.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/math/blas.h"

#define WORDS ((size_t)VQ_BYTEWORDS)
#define TILE  ((size_t)VQ_MODES_TILE)

enum { FEW = 4 }; /* candidates that are fetched ahead */

/* Vectors of one tile while their codes move. */
typedef struct tile {
    const vq_modes *b;
    size_t n;
    uint8_t *codes;         /* of the whole tile, rows of m */
    uint32_t rows[TILE];    /* the row in codes of each of the n */
    uint32_t still[TILE];   /* books that have looked at it since it moved */
    float *r;               /* n x d: what the codes leave */
    float *y;               /* n x d: the same and the codeword of one book */
    float *dots;            /* n x WORDS */
    vq_byterow small[TILE]; /* r as bytes, if the books are.. */
    int8_t *bytes;          /* ..TILE x d of them */
    void *room;             /* vq_byterow_room() */
} tile;

size_t vq_modes_scratch(size_t d)
{
    size_t bytes = vq_panel_queries_size(TILE, d) + vq_byterow_room(d);
    return TILE * (d + WORDS) + (bytes + sizeof(float) - 1) / sizeof(float);
}

/* What a book has to know of a vector beside r has changed. */
static void moved(tile *t, size_t i)
{
    const vq_modes *b = t->b;
    if (b->bytes != NULL)
        t->small[i] = vq_byterow_put(b->k, t->bytes, i, t->r + i * b->d, b->d, t->room);
}

static void tile_init(tile *t, const vq_modes *b, size_t n, uint8_t *codes, float *r,
                      float *scratch)
{
    *t = (tile){.b = b, .n = n, .codes = codes, .r = r, .y = scratch};
    t->dots = t->y + TILE * b->d;
    t->room = t->dots + TILE * WORDS;
    t->bytes = (int8_t *)t->room + vq_byterow_room(b->d);
    if (b->bytes != NULL) memset(t->bytes, 0, vq_panel_queries_size(TILE, b->d));
    for (size_t i = 0; i < n; i++) {
        t->rows[i] = (uint32_t)i;
        moved(t, i);
    }
}

/* The codeword of book j that vector i has. */
static size_t own_of(const tile *t, size_t i, size_t j)
{
    return t->codes[t->rows[i] * t->b->m + j];
}

/* y = r + the own codeword. */
static void without(const tile *t, size_t i, const float *own, float *restrict y)
{
    const float *r = t->r + i * t->b->d;
    for (size_t s = 0; s < t->b->d; s++) y[s] = r[s] + own[s];
}

/* Of candidates (rising) and the own codeword the one with the largest y . c + half, the first of
 * equals; but the own one unless another is better, so that errors never rise. */
static size_t judge(const vq_kernels *k, const float *y, size_t d, const float *book,
                    const float *half, const uint32_t *candidates, size_t n, size_t own)
{
    size_t best = own;
    float top = k->dot_f32(y, book + own * d, d) + half[own];
    for (size_t i = 0; i < n; i++) {
        size_t c = candidates[i];
        if (c == own) continue;
        float score = k->dot_f32(y, book + c * d, d) + half[c];
        if (score > top) top = score, best = c;
    }
    return best;
}

/* Asks the memory for n floats: which come next is no pattern that the machine sees. */
static void fetch(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += VQ_CACHELINE / sizeof *x) VQ_PREFETCH(x + i);
}

/* The codewords of book j that can be nearest to y = r + the own one for vector i, and those that
 * are wanted of them fetched.  dots + bias: how good they are, but for `off`. */
static size_t find(const tile *t, size_t i, size_t j, const float *dots, const float *bias,
                   float off, uint32_t *candidates)
{
    const vq_modes *b = t->b;
    const float *book = b->books + j * WORDS * b->d;
    size_t own = own_of(t, i, j);
    size_t n = b->k->near_max_f32(dots, bias, WORDS, 2.0f * off, candidates);
    if (n == 1 && candidates[0] == own) return 0;
    fetch(book + own * b->d, b->d);
    for (size_t c = 0; c < VQ_MIN(n, FEW); c++)
        if (candidates[c] != own) fetch(book + candidates[c] * b->d, b->d);
    return n;
}

/* The nearest of n > 0 candidates becomes the codeword of vector i in book j, if it is nearer than
 * that was. */
static void settle(tile *t, size_t i, size_t j, const float *half, const uint32_t *candidates,
                   size_t n, const float *y)
{
    const vq_modes *b = t->b;
    size_t d = b->d, own = own_of(t, i, j);
    const float *book = b->books + j * WORDS * d;
    size_t best = judge(b->k, y, d, book, half, candidates, n, own);
    if (best == own) return;
    t->codes[t->rows[i] * b->m + j] = (uint8_t)best;
    t->still[i] = 0;
    const float *word = book + best * d;
    float *restrict r = t->r + i * d;
    for (size_t s = 0; s < d; s++) r[s] = y[s] - word[s];
    moved(t, i);
}

static void by_floats(tile *t, size_t j, const float *half)
{
    const vq_modes *b = t->b;
    size_t d = b->d;
    const float *book = b->books + j * WORDS * d;
    float longest = 0.0f;
    uint32_t candidates[WORDS];
    for (size_t c = 0; c < WORDS; c++) longest = fmaxf(longest, sqrtf(b->norms[j * WORDS + c]));
    for (size_t i = 0; i < t->n; i++) without(t, i, book + own_of(t, i, j) * d, t->y + i * d);
    vq_gemm_nt(t->n, WORDS, d, 1.0f, t->y, d, book, d, 0.0f, t->dots, WORDS);
    for (size_t i = 0; i < t->n; i++) {
        const float *y = t->y + i * d;
        float off = vq_gemm_off(d, sqrtf(b->k->dot_f32(y, y, d)), longest);
        size_t n = find(t, i, j, t->dots + i * WORDS, half, off, candidates);
        t->still[i]++;
        if (n > 0) settle(t, i, j, half, candidates, n, y);
    }
}

static const float *pairs_of(const tile *t, size_t i, size_t j)
{
    return t->b->bytes->pairs + (j * WORDS + own_of(t, i, j)) * WORDS;
}

static void by_bytes(tile *t, size_t j, const float *half)
{
    const vq_modes *b = t->b;
    uint32_t candidates[VQ_BYTEWORD_ROWS][WORDS];
    size_t count[VQ_BYTEWORD_ROWS];
    for (size_t first = 0; first < t->n; first += VQ_BYTEWORD_ROWS) {
        size_t n = VQ_MIN(t->n - first, (size_t)VQ_BYTEWORD_ROWS);
        for (size_t i = 0; i < n; i++) fetch(pairs_of(t, first + i, j), WORDS);
        vq_bytewords_dots(b->bytes, b->k, j, t->bytes, t->small, first, n, t->dots);
        for (size_t i = 0; i < n; i++)
            count[i] = find(t, first + i, j, t->dots + i * WORDS, pairs_of(t, first + i, j),
                            vq_bytewords_off(b->bytes, j, &t->small[first + i]), candidates[i]);
        for (size_t i = 0; i < n; i++) {
            t->still[first + i]++;
            if (count[i] == 0) continue;
            without(t, first + i, b->books + (j * WORDS + own_of(t, first + i, j)) * b->d, t->y);
            settle(t, first + i, j, half, candidates[i], count[i], t->y);
        }
    }
}

static void drop_settled(tile *t)
{
    size_t kept = 0, d = t->b->d;
    for (size_t i = 0; i < t->n; i++) {
        if (t->still[i] + 1 >= t->b->m) continue;
        t->rows[kept] = t->rows[i];
        t->still[kept] = t->still[i];
        if (kept < i) {
            memcpy(t->r + kept * d, t->r + i * d, d * sizeof *t->r);
            moved(t, kept);
        }
        kept++;
    }
    t->n = kept;
}

void vq_modes_run(const vq_modes *b, size_t n, unsigned sweeps, uint8_t *codes, float *r,
                  float *scratch)
{
    float half[WORDS]; /* y . c - |c|^2 / 2 is largest where |y - c| is least */
    tile t;
    tile_init(&t, b, n, codes, r, scratch);
    for (unsigned s = 0; s < sweeps && t.n > 0; s++) {
        for (size_t j = 0; j < b->m; j++) {
            for (size_t c = 0; c < WORDS; c++) half[c] = -0.5f * b->norms[j * WORDS + c];
            if (b->bytes != NULL)
                by_bytes(&t, j, half);
            else
                by_floats(&t, j, half);
        }
        if (s + 1 < sweeps) drop_settled(&t);
    }
}
