/* SPDX-License-Identifier: Apache-2.0 */
/* bytewords.h -- codewords of additive books as bytes, to find by integers which of a book's 256
 * is nearest to what the other books leave of a vector: products in integers are several times as
 * fast as a GEMM of floats, and what both sides lose as bytes tells how far they may be off.
 *
 * With r what all books leave and b the vector's own codeword of a book, codeword c has the score
 * (r + b) . c - |c|^2 / 2 = r . c + pair(b, c): the first by bytes, the second from a table. */
#ifndef VQ_TRAIN_BYTEWORDS_H
#define VQ_TRAIN_BYTEWORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"
#include "src/math/panels.h"

enum { VQ_BYTEWORDS = 256 }; /* codewords of a book */

/* Whether all this is faster than a GEMM: not with plain loops over integers. */
static inline bool vq_bytewords_pay(const vq_kernels *k)
{
    return (k->needs & (VQ_CPU_AVX2 | VQ_CPU_NEON)) != 0;
}

typedef struct vq_byteword_book { /* codewords are unit times their bytes, more or less */
    float unit, error;            /* error: the length of what is lost, at most */
    float length;                 /* of the longest codeword; INFINITY: bytes say nothing */
} vq_byteword_book;

/* Lies in memory that the caller has; readers may share it. */
typedef struct vq_bytewords {
    size_t m, d;
    vq_byteword_book *books; /* m */
    float *pairs;            /* m x 256 x 256: of book j, b . c - |c|^2 / 2 at [j][b][c] */
    int32_t *sums;           /* m x 256 */
    uint8_t *panels;         /* m x 256 x d, as src/math/panels.h has them */
} vq_bytewords;

/* Bytes of memory that m books take, but for vq_bytewords itself; SIZE_MAX: too many, or codewords
 * are too long. */
size_t vq_bytewords_size(size_t m, size_t d);
/* Books in `memory` (64-byte aligned), to be filled. */
vq_bytewords vq_bytewords_place(size_t m, size_t d, void *memory);
/* Book j from its codewords (256 x d) and norms, their squared lengths (256).  Threads may fill
 * different books.  BLAS at one thread. */
void vq_bytewords_fill(const vq_bytewords *w, const vq_kernels *k, size_t j, const float *book,
                       const float *norms);

/* A vector as bytes. */
typedef struct vq_byterow {
    float unit;
    float length, error; /* of the vector, and of what is lost; INFINITY: bytes say nothing */
    int32_t sum;         /* of its bytes */
} vq_byterow;

/* Puts x (d) at place i among rows as panel_dots wants queries.  room: vq_byterow_room(d) bytes,
 * aligned for floats. */
size_t vq_byterow_room(size_t d);
vq_byterow vq_byterow_put(const vq_kernels *k, int8_t *rows, size_t i, const float *x, size_t d,
                          void *room);

/* scores (n x 256): r . c for rows first..first + n - 1 (first: a multiple of 8) and book j, but
 * for what bytes lose.  n is at most VQ_BYTEWORD_ROWS. */
enum { VQ_BYTEWORD_ROWS = 32 };
void vq_bytewords_dots(const vq_bytewords *w, const vq_kernels *k, size_t j, const int8_t *rows,
                       const vq_byterow *of, size_t first, size_t n, float *scores);
/* How far a score of vq_bytewords_dots, with its pair added in floats, may be off from one of
 * floats: dot_f32 of r + b, rounded to floats, with c.  INFINITY: no matter how far.  Of what bytes
 * lose it takes four deviations, where that is less than the bound: in the turned axes losses have
 * no direction, but those of vectors with very few coordinates that are not 0 may.  Who is missed
 * for that is second best by less than the losses. */
float vq_bytewords_off(const vq_bytewords *w, size_t j, const vq_byterow *r);
/* The same for a GEMM of vectors of that length with codewords up to `longest` of d coordinates. */
float vq_gemm_off(size_t d, float length, float longest);

#endif
