/* SPDX-License-Identifier: Apache-2.0 */
/* transform.h -- from a vector as given (d) to the space that is coded (d_out): y = A (x - mean).
 * A has orthonormal rows (and zero rows as padding), so products and distances in the coded space
 * are those of the kept axes.  The arrays may lie in the map: nothing here owns them. */
#ifndef VQ_MATH_TRANSFORM_H
#define VQ_MATH_TRANSFORM_H

#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"

/* Numbers are on disk: FORMAT.md. */
typedef enum vq_transform_kind {
    VQ_TRANSFORM_IDENTITY = 0, /* y = x - mean, padded with zeros to d_out >= d */
    VQ_TRANSFORM_DENSE = 1,    /* matrix d_out x d */
    VQ_TRANSFORM_HADAMARD = 2  /* padded, then vq_hadamard_rotate over d_out >= d */
} vq_transform_kind;

typedef struct vq_transform {
    uint32_t kind, d, d_out;
    uint64_t seed;       /* hadamard */
    const float *mean;   /* d; NULL = zero */
    const float *matrix; /* dense: d_out x d */
} vq_transform;

/* One vector; scratch: d floats.  The same bits on every instruction set. */
void vq_transform_one(const vq_transform *t, const vq_kernels *k, const float *x, float *scratch,
                      float *y);
/* Its first step: out = x - mean; out may be x. */
void vq_transform_centre(const vq_transform *t, const float *x, float *out);
/* n vectors (n x d -> n x d_out) by GEMM (dense); x is overwritten (the mean is taken off). */
void vq_transform_many(const vq_transform *t, const vq_kernels *k, float *x, size_t n, float *y);

/* The orthonormal Hadamard transform of n = 2^k floats, in place. */
void vq_hadamard(float *x, size_t n);
/* The structured rotation itself, in place, over d floats: three rounds of random signs and
 * orthonormal fast Hadamard transforms over the first and the last 2^floor(log2 d) coordinates. */
void vq_hadamard_rotate(float *x, size_t d, uint64_t seed);

#endif
