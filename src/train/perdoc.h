/* SPDX-License-Identifier: Apache-2.0 */
/* perdoc.h -- codes chosen so that a row's error counts as the queries that find it feel it: for
 * row x with decoded x' the cost is |x - x'|^2 + beta / count * sum over its queries of (q . (x -
 * x'))^2, a quadratic form of its own for every row.  Minimised by iterated conditional modes from
 * the codes that are there, so it never rises. */
#ifndef VQ_TRAIN_PERDOC_H
#define VQ_TRAIN_PERDOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"

typedef struct vq_perdoc {
    size_t n, d, nlist, nq;
    size_t m, kk,
        len; /* codewords of len = d (additive) or d / m (book j: coordinates j * len ..) */
    const float *words;     /* m x kk x len */
    const float *rows;      /* n x d */
    const float *centroids; /* nlist x d */
    const uint32_t *lists;  /* n: what is coded is a row less its list's centroid */
    const float *queries;   /* nq x d */
    const uint32_t *near;   /* n x count: queries of a row; UINT32_MAX: none */
    size_t count;           /* >= 1 */
    bool from_rows;         /* a query feels an error along the way from the row to it: for q . (x -
                             * x') read (q - x) . (x - x'), which is what distances differ by */
    float beta;             /* >= 0 */
    unsigned sweeps;
    int threads; /* bits do not depend on it */
    vq_ticker *ticker;
} vq_perdoc;

/* codes (n x m, one a byte): start in, result out.  Takes 64 MiB and kk floats a query, about, and
 * as many bytes. */
vq_status vq_perdoc_encode(const vq_perdoc *p, uint8_t *codes, vq_error *err);

/* For each of n rows the `count` queries that rank it best, of nq queries with k answers each (rows
 * and scores, nq x k; UINT32_MAX ends a list): near (n x count), those with the largest scores,
 * UINT32_MAX where there are fewer.  best is scratch of n x count floats. */
void vq_perdoc_near(const uint32_t *answers, const float *scores, size_t nq, size_t k, size_t n,
                    size_t count, uint32_t *near, float *best);

#endif
