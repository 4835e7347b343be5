/* SPDX-License-Identifier: Apache-2.0 */
/* kmeans.h -- Lloyd's algorithm by blocked GEMM with fused argmax.  Flat arrays in and out. */
#ifndef VQ_TRAIN_KMEANS_H
#define VQ_TRAIN_KMEANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"
#include "src/math/kernels.h"

typedef struct vq_kmeans_opts {
    size_t k;       /* centroids; 1 <= k <= n (the caller shrinks) */
    unsigned iters; /* Lloyd rounds; stops earlier when the loss stops falling */
    bool spherical; /* assign by the largest product with the unit-length centroid */
    uint64_t seed;
    int threads;       /* > 0; the result does not depend on it */
    vq_ticker *ticker; /* may be NULL */
    const char *phase;
} vq_kmeans_opts;

/* x is n x d; centroids (k x d) receives the means of the members (also when spherical: the caller
 * normalises where it needs to).  Empty clusters are filled by splitting large ones.  With fewer
 * distinct points than k the same centroid appears more than once; that is no failure.
 * loss (may be NULL): mean squared distance to the assigned mean, after the last round. */
vq_status vq_kmeans(const float *x, size_t n, size_t d, const vq_kmeans_opts *opts,
                    float *centroids, double *loss, vq_error *err);

/* The same for many centroids, in a time that grows with the root of their number: two levels of
 * k-means, then a few rounds over all rows, which come to the nearest centroid but for some in a
 * thousand.  (kmeans_many.c) */
vq_status vq_kmeans_many(const float *x, size_t n, size_t d, const vq_kmeans_opts *opts,
                         float *centroids, double *loss, vq_error *err);

/* order[first[c]..first[c+1]-1] = the rows of cluster c, rising: n rows, k clusters, k + 1 first.
 */
void vq_kmeans_sort(const uint32_t *assign, size_t n, size_t k, size_t *first, uint32_t *order);

/* assign[i] = the centroid c (k x d) nearest to row i: argmax of x.c - |c|^2/2 (or of x.c if bias
 * is NULL); bias is k floats, -|c|^2/2, from vq_kmeans_bias.  One tile of rows, one thread, dots is
 * scratch of vq_kmeans_scratch(k) floats.  Bits do not depend on threads when the caller's tiles
 * are fixed. */
void vq_kmeans_assign(const vq_kernels *kn, const float *x, size_t n, size_t d,
                      const float *centroids, const float *bias, size_t k, float *dots,
                      uint32_t *assign);
size_t vq_kmeans_scratch(size_t k);
void vq_kmeans_bias(const float *centroids, size_t k, size_t d, float *bias);
#define VQ_ASSIGN_TILE 256u /* rows of a tile: the same everywhere, for the same bits */

#endif
