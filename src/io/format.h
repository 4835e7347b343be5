/* SPDX-License-Identifier: Apache-2.0 */
/* format.h -- the table of vector file formats: one row and one file each.  To add one, see
 * docs/CONTRIBUTING.md. */
#ifndef VQ_IO_FORMAT_H
#define VQ_IO_FORMAT_H

#include "src/base/pack.h"
#include "src/io/source.h"

typedef struct vq_format {
    const char *name; /* also the file name's ending: "fvecs" */
    uint32_t elems;   /* bit 1 << VQ_F32 etc.: what it can hold when written */
    /* How well the first bytes (len <= 4096) and the size (UINT64_MAX if not known) fit: 0 = not at
     * all, 100 = surely.  ending is the path's ending without .zst, e.g. "fbin", or "". */
    int (*sniff)(const uint8_t *bytes, size_t len, uint64_t size, const char *ending);
    /* Reads the header from the stream, fills n, d, elem, ops and impl of src (which takes the
     * stream over on success). */
    vq_status (*open)(vq_source *src, vq_stream *stream, vq_error *err);
    /* Writing: header for n rows, then rows; NULL if the format is only read.  Returns the header's
     * length (0: the format has none), SIZE_MAX if it cannot hold n rows. */
    size_t (*header)(uint8_t *bytes, size_t cap, uint64_t n, uint32_t d, uint32_t elem);
    size_t row_prefix; /* bytes before each row: 4 for fvecs (the dimension) */
} vq_format;

extern const vq_format *const vq_formats[];
extern const size_t vq_format_count;
const vq_format *vq_format_by_name(const char *name); /* NULL if there is none */

extern const vq_format vq_format_fvecs, vq_format_bvecs, vq_format_fbin, vq_format_u8bin,
    vq_format_i8bin, vq_format_npy;

/* A path's ending without a last .zst, in small letters: "fbin", or "" if there is none or it is
 * long.  *zst (may be NULL): there was a .zst. */
#define VQ_ENDING_MAX 16u
void vq_path_ending(const char *path, char ending[VQ_ENDING_MAX], bool *zst);
/* The format of a stream at its start, which "i8bin:-" as its path tells; an error names what the
 * file is instead. */
vq_status vq_format_detect(const vq_format **out, const char *path, vq_stream *stream,
                           vq_error *err);
/* What the first bytes say a foreign file is ("a gzip file"), or NULL. */
const char *vq_foreign_name(const uint8_t *bytes, size_t len);
/* For sniffing where sizes do not tell: do these bytes look like f32 of common magnitude? */
bool vq_looks_f32(const uint8_t *bytes, size_t len);

/* Writes all rows of src to path in the format that path's ending names (.zst: compressed),
 * converting elements: to i8/u8 by rounding, a value out of range is an error with its row unless
 * scale != 0, by which values are multiplied first.  Written to a temporary file and renamed. */
vq_status vq_convert(vq_source *src, const char *path, float scale, uint64_t *rows, vq_error *err);

#endif
