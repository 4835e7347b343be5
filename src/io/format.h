/* SPDX-License-Identifier: Apache-2.0 */
/* format.h -- the table of vector file formats: one row and one file each.  To add one, see
 * docs/CONTRIBUTING.md. */
#ifndef VQ_IO_FORMAT_H
#define VQ_IO_FORMAT_H

#include "src/base/pack.h"
#include "src/io/source.h"

typedef struct vq_format {
    const char *name;   /* also the file name's ending: "fvecs" */
    uint32_t elems;     /* bit 1 << VQ_F32 etc.: what it can hold when written */
    /* How well the first bytes (len <= 4096) and the size (UINT64_MAX if not known) fit: 0 = not at
     * all, 100 = surely.  ending is the path's ending without .zst, e.g. "fbin", or "". */
    int (*sniff)(const uint8_t *bytes, size_t len, uint64_t size, const char *ending);
    /* Reads the header from the stream, fills n, d, elem, ops and impl of src (which takes the
     * stream over on success). */
    vq_status (*open)(vq_source *src, vq_stream *stream, vq_error *err);
    /* Writing: header for n rows, then rows; NULL if the format is only read. */
    size_t (*header)(uint8_t *bytes, size_t cap, uint64_t n, uint32_t d, uint32_t elem);
    size_t row_prefix; /* bytes before each row: 4 for fvecs (the dimension) */
} vq_format;

extern const vq_format *const vq_formats[];
extern const size_t vq_format_count;
const vq_format *vq_format_by_name(const char *name); /* NULL if there is none */

/* Writes all rows of src to path in the format that path's ending names (.zst: compressed),
 * converting elements: to i8/u8 by rounding, a value out of range is an error with its row unless
 * scale != 0, by which values are multiplied first.  Written to a temporary file and renamed. */
vq_status vq_convert(vq_source *src, const char *path, float scale, uint64_t *rows, vq_error *err);

#endif
