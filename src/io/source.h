/* SPDX-License-Identifier: Apache-2.0 */
/* source.h -- the one reader interface: a stream of n x d rows, whatever it comes from.
 * Knows file formats (format.h) and nothing of an index. */
#ifndef VQ_IO_SOURCE_H
#define VQ_IO_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

#define VQ_N_UNKNOWN UINT64_MAX
#define VQ_DIM_MAX   65536u /* limits that a file's header is held to */

/* What a source must do.  Rows are delivered in the source's own element type. */
typedef struct vq_source_ops {
    vq_status (*read)(vq_source *src, void *rows, size_t max, size_t *got, vq_error *err);
    vq_status (*rewind)(vq_source *src, vq_error *err);
    void (*close)(vq_source *src); /* frees impl, not src */
} vq_source_ops;

struct vq_source {
    const vq_source_ops *ops;
    void *impl;         /* owned by ops */
    char *name;         /* owned: the path, or "array", "callback"; for error texts */
    const char *format; /* static: "fvecs", "npy".. */
    uint64_t n;         /* rows, or VQ_N_UNKNOWN */
    uint32_t d;
    uint32_t elem;    /* VQ_F32, VQ_F16, VQ_I8 or VQ_U8 (a file of f64 is delivered as f32) */
    bool skip_bad;    /* leave rows with NaN or infinity out instead of failing */
    uint64_t row;     /* number of the next row in the file, from 0, bad ones counted */
    uint64_t skipped; /* bad rows left out since the start */
};

/* For those who make a kind of their own: a source without ops, impl and (unless set) n; name is
 * copied.  vq_source_close frees it at any stage. */
vq_status vq_source_new(vq_source **out, const char *name, const char *format, uint32_t d,
                        uint32_t elem, vq_error *err);
vq_status vq_source_file(vq_source **out, const char *path, bool skip_bad, vq_error *err);
vq_status vq_source_array(vq_source **out, const void *rows, uint64_t n, uint32_t d, uint32_t elem,
                          vq_error *err);
vq_status vq_source_fn(vq_source **out, vq_read_fn fn, void *ctx, uint32_t d, uint32_t elem,
                       vq_error *err);
/* The next rows (at most max, in elem type) into rows, and their numbers in the file into row_no
 * (max, may be NULL).  *got = 0 at the end.  Rows are finite: a bad one is left out (skip_bad) or
 * VQ_ECORRUPT with its number.  If n is known, a stream that ends early or goes on is an error. */
vq_status vq_source_read(vq_source *src, void *rows, size_t max, uint64_t *row_no, size_t *got,
                         vq_error *err);
/* The same as f32 (max x d). */
vq_status vq_source_read_as_f32(vq_source *src, float *rows, size_t max, uint64_t *row_no,
                                size_t *got, vq_error *err);
vq_status vq_source_rewind(vq_source *src, vq_error *err);
/* All rows as f32, n x d, into memory the caller frees by vq_mem_free; for queries. */
vq_status vq_source_read_all_f32(vq_source *src, float **rows, size_t *n, vq_error *err);
/* Those of `count` sources of d dimensions, from their starts, one after another. */
vq_status vq_sources_read_f32(vq_source *const *sources, uint64_t count, uint32_t d, float **rows,
                              size_t *n, vq_error *err);

#endif
