/* SPDX-License-Identifier: Apache-2.0 */
/* rows.h -- what all vector files share: after a header of known length come rows of one length,
 * each perhaps with its dimension in front.  A format's open() reads the header and calls this. */
#ifndef VQ_IO_ROWS_H
#define VQ_IO_ROWS_H

#include "src/base/pack.h"
#include "src/io/source.h"

typedef struct vq_rows_layout {
    uint64_t header_bytes; /* before the first row; the stream stands right after them */
    bool prefix;           /* a row begins with its dimension, u32 (fvecs) */
    bool f64;              /* coordinates are f64, delivered as f32 */
} vq_rows_layout;

/* src->n (or VQ_N_UNKNOWN), d, elem and name are set.  Checks them against the stream's size, where
 * that is known, and works n out if it can.  Takes the stream over on success. */
vq_status vq_rows_open(vq_source *src, vq_stream *stream, const vq_rows_layout *layout,
                       vq_error *err);

/* A dimension from a header, held to 1..VQ_DIM_MAX. */
vq_status vq_rows_check_dim(const vq_source *src, uint64_t d, vq_error *err);
/* Exactly len bytes of a header. */
vq_status vq_rows_read_header(const vq_source *src, vq_stream *stream, void *bytes, size_t len,
                              vq_error *err);

#endif
