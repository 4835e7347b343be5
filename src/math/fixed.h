/* SPDX-License-Identifier: Apache-2.0 */
/* fixed.h -- vectors of 15-bit and matrices of 8-bit integers, for products that only order
 * candidates: a quarter of the bytes, exact sums, so the same bits on every machine. */
#ifndef VQ_MATH_FIXED_H
#define VQ_MATH_FIXED_H

#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"

/* Sums with bytes stay within 32 bits while the magnitudes of x sum up to no more. */
#define VQ_FIXED_MOST (INT32_MAX / 256u)

typedef struct vq_fixed {
    int16_t *x;      /* what it stands for is unit * x, to half a unit a coordinate */
    float unit, sum; /* a power of two (0: x is all zero); the sum of what it stands for */
} vq_fixed;

/* Fills f->x (room for d < 2^17) and the rest.  Integers up to 8191 come out exact unless they are
 * so many that their sum must be kept down. */
void vq_fixed_set(vq_fixed *f, const vq_kernels *k, const float *x, size_t d);

/* Row i of the matrix is low[i] + step[i] * a[i * stride ..]. */
typedef struct vq_bytemat {
    const uint8_t *a;
    const float *step, *low;
    size_t rows, d, stride;
} vq_bytemat;

/* Bytes of memory, 64-byte aligned, for one of so many rows (SIZE_MAX: too many). */
size_t vq_bytemat_size(size_t rows, size_t d);
/* Quantizes rows x d floats into memory, which m then points to. */
void vq_bytemat_make(vq_bytemat *m, const vq_kernels *k, const float *x, size_t rows, size_t d,
                     void *memory);
/* Stretches each row a little, until its product with the row of x that it stands for is that row's
 * square.  What else bytes are off by is chance to each vector; but a row that is too long along
 * itself makes all products of vectors that vary along it too large.  memory: as of make. */
void vq_bytemat_level(const vq_bytemat *m, const float *x, void *memory);
/* out[i] = row i times x. */
void vq_bytemat_times(const vq_bytemat *m, const vq_kernels *k, const vq_fixed *x, float *out);
/* The same of n of the rows, which lie apart; room: vq_bytemat_some_size bytes, 64-byte aligned. */
void vq_bytemat_some(const vq_bytemat *m, const vq_kernels *k, const vq_fixed *x,
                     const uint32_t *rows, size_t n, void *room, float *out);
size_t vq_bytemat_some_size(size_t d);

/* Several matrices of the same width, one below the other, for who multiplies them by the same
 * numbers, of which many may be zero: rows in panels (kernels.h), whose step and low are as above.
 * Sixteen rows of one matrix all of whose numbers stand on 16 levels, evenly from the least of a
 * row to its greatest, take four bits a number; they come after the others. */
typedef struct vq_bytepanels {
    const uint8_t *a, *halves; /* halves: of the last `few` rows */
    const float *step, *low;
    const uint32_t *order; /* which sixteen rows of the matrix the i-th sixteen here are */
    size_t rows, few, d;
} vq_bytepanels;

/* Bytes of memory, 64-byte aligned, for so many rows (SIZE_MAX: too many). */
size_t vq_bytepanels_size(size_t rows, size_t d);
/* The rows of n matrices into memory, which p then points to. */
void vq_bytepanels_make(vq_bytepanels *p, const vq_bytemat *const *parts, size_t n, void *memory);
/* out[i] = row i, in the panels' order, times x. */
void vq_bytepanels_times(const vq_bytepanels *p, const vq_kernels *k, const vq_fixed *x,
                         float *out);
/* Such products to their rows' places, those of the first n rows. */
void vq_bytepanels_put(const vq_bytepanels *p, const float *products, size_t n, float *out);

/* n floats as bytes: x[i] ~ *low + *step * out[i]. */
void vq_bytes_make(const vq_kernels *k, const float *x, size_t n, uint8_t *out, float *step,
                   float *low);

#endif
