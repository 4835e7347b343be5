/* SPDX-License-Identifier: Apache-2.0 */
/* panels.h -- products of many queries with many rows of bytes, in integers: several times as fast
 * as a GEMM of floats, and off by no more than what a query loses as bytes, which is known.
 *
 * Rows lie in panels of 16, queries in groups of 8; in both, four columns of one follow those of
 * the one before, and what is missing is zero.  Rows are unsigned: i8 has 128 added. */
#ifndef VQ_MATH_PANELS_H
#define VQ_MATH_PANELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"

#define VQ_PANEL       16u /* rows */
#define VQ_PANEL_GROUP 8u  /* queries */

/* Columns, at most: no sum leaves 32 bits. */
#define VQ_PANEL_COLUMNS 32768u

/* Columns by four. */
static inline size_t vq_panel_quads(size_t d)
{
    return (d + 3) / 4;
}

/* Room for n rows; whole panels.  SIZE_MAX: too many. */
size_t vq_panels_size(size_t n, size_t d);
/* Fills panels from n rows of elem (VQ_I8 or VQ_U8), and the sums of the unsigned bytes of each
 * row, for whole panels. */
void vq_panels_fill(uint8_t *panels, int32_t *sums, uint32_t elem, const void *rows, size_t n,
                    size_t d);

/* Room for n queries; whole groups.  SIZE_MAX: too many. */
size_t vq_panel_queries_size(size_t n, size_t d);

/* What a query has become: unit times its bytes, more or less. */
typedef struct vq_panel_query {
    double error; /* the length of what is lost */
    bool whole;   /* nothing is, and the unit is 1: the query is whole numbers */
    vq_panel_scale scale;
} vq_panel_query;

/* Puts query i (finite, d) among the n of `queries`, which were zero; they are for rows of elem. */
vq_panel_query vq_panel_query_put(int8_t *queries, size_t i, uint32_t elem, const float *q,
                                  size_t d);

#endif
