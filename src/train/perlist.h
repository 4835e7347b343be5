/* SPDX-License-Identifier: Apache-2.0 */
/* perlist.h -- lists chosen so that a row's residual counts as the queries that find it feel it:
 * for row x in the list of c the cost is |x - c|^2 + beta / count * sum over its queries of (q . (x
 * - c))^2.  The codes' counterpart is perdoc.h. */
#ifndef VQ_TRAIN_PERLIST_H
#define VQ_TRAIN_PERLIST_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"

typedef struct vq_perlist {
    size_t n, d, nlist, nq;
    const float *rows;      /* n x d */
    const float *centroids; /* nlist x d */
    const float *queries;   /* nq x d */
    const uint32_t *near;   /* n x stride: queries of a row, best first; UINT32_MAX: none */
    size_t stride, count;   /* the first `count` of them are asked */
    float beta;             /* >= 0 */
    int threads;            /* bits do not depend on it */
    vq_ticker *ticker;
} vq_perlist;

/* lists: n, those of least cost; ties to the smaller number.  second (n, or NULL): second ones, as
 * in spill.h but with this cost in place of the squared length: that of least cost + (s . r /
 * |r|)^2, or VQ_NO_LIST if none costs less than the first would.  Takes 256 floats a query. */
vq_status vq_perlist_assign(const vq_perlist *p, uint32_t *lists, uint32_t *second, vq_error *err);

#endif
