/* SPDX-License-Identifier: Apache-2.0 */
/* layout.h -- bytes <-> structs for every record of the file; pure functions.  docs/FORMAT.md says
 * the same in words and must be changed with this file.
 *
 * All records but those of `ids` start with XXH3-64 of all that follows, little-endian.
 *
 * List chunk: value in `lists` under key be32 list | be32 chunk.                    (FORMAT.md 5)
 *   offset  size          field
 *        0  8             xxh3
 *        8  4             n        vectors here, >= 1
 *       12  4             list     as in the key, so that swapped values are noticed
 *       16  4             chunk
 *       20  28            zero     up to 48: LMDB puts a large value at page + 16, so codes start
 *                                  on a 64-byte line
 *       48  N*code        codes    in blocks of 32 vectors, scan order; N = n rounded up to 32
 *        .  4*N           factors  f32, only where the metric is l2
 *        .  8*n           labels   u64
 *        .  .             zero     up to half a page at least
 *
 * Copy chunk: value in `copies` under key be32 list | be32 chunk: a list chunk whose labels are
 * places, list << 32 | slot, of the vectors that it copies.                         (FORMAT.md 9)
 *
 * Row chunk: value in `vectors` under a key of the same kind.                       (FORMAT.md 6)
 *        0  20            as above
 *       20  4             row      bytes of a row
 *       24  24            zero
 *       48  n*row         rows     in slot order; then zeros up to half a page at least
 *
 * Array: value in `model` under a name.                                             (FORMAT.md 4)
 *        0  8             xxh3
 *        8  8             rows
 *       16  8             cols
 *       24  24            zero
 *       48  4*rows*cols   f32, row-major; then zeros up to half a page at least
 *
 * Name block: value in `names` under key be32 block.                                (FORMAT.md 8)
 *        0  8             xxh3
 *        8  4             count    names here, 1..256
 *       12  4             raw      bytes before compression
 *       16  .             zstd frame of count x (u16 length, bytes)
 *
 * Text: value in `meta` under a name: xxh3, then UTF-8.                             (FORMAT.md 3)
 */
#ifndef VQ_INDEX_LAYOUT_H
#define VQ_INDEX_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

#define VQ_FORMAT_VERSION 5u /* the newest that is read; the oldest that says it all is written */
#define VQ_FORMAT_PLAIN   1u
#define VQ_FORMAT_COPIES  2u /* there are copies */
#define VQ_FORMAT_CHANGED 3u /* fewer vectors than lists, or labels that are no ranks */
#define VQ_FORMAT_DOCUMENTS                                                                        \
    4u /* tags, times, payloads: docs.h; or a meta field row_chunk or routes */
#define VQ_FORMAT_ROUNDED   5u /* queries of metric l2 have a matrix of their own */
#define VQ_RECORD_HEADER    48u
#define VQ_CHUNK_CODE_BYTES (256u << 10) /* a chunk's codes take at most this.. */
#define VQ_CHUNK_ROW_BYTES  (1u << 20)   /* ..and its rows this, if 32 of them fit */
#define VQ_NAMES_PER_BLOCK  256u

/* What the shape of all list and row chunks of an index depends on. */
typedef struct vq_shape {
    uint32_t code_bytes; /* without factor */
    uint32_t row_bytes;  /* 0: no rows are stored */
    bool factors;
    size_t value_min;   /* bytes a record is padded to: half a page */
    uint32_t row_chunk; /* rows of a full chunk of rows; 0: as many as codes of a chunk of codes */
} vq_shape;

uint32_t vq_chunk_capacity(const vq_shape *s); /* vectors of a full chunk, a multiple of 32 */

/* Rows of a full chunk of them. */
static inline uint32_t vq_row_capacity(const vq_shape *s)
{
    return s->row_chunk != 0 ? s->row_chunk : vq_chunk_capacity(s);
}
/* What new files have for row_chunk: about 16 KiB of rows, so that a change of a few slots rewrites
 * little, in a number that fills its pages; no more than a chunk of codes has. */
uint32_t vq_row_chunk_choose(const vq_shape *s);

void vq_chunk_key(uint8_t key[8], uint32_t list, uint32_t chunk);

/* Views into a list chunk; writable while it is made. */
typedef struct vq_list_chunk {
    uint32_t n, list, chunk;
    const uint8_t *codes;  /* 64-byte aligned */
    const float *factors;  /* or NULL */
    const uint8_t *labels; /* 8 bytes each: vq_le64 */
} vq_list_chunk;

typedef struct vq_row_chunk {
    uint32_t n;
    const uint8_t *rows;
} vq_row_chunk;

size_t vq_list_chunk_size(const vq_shape *s, uint32_t n);
/* Fills value (vq_list_chunk_size bytes) but for codes, which the caller writes at the returned
 * place before vq_record_seal.  labels: n; factors: n, or NULL if the shape has none. */
uint8_t *vq_list_chunk_write(const vq_shape *s, uint8_t *value, uint32_t list, uint32_t chunk,
                             uint32_t n, const uint64_t *labels, const float *factors);
vq_status vq_list_chunk_parse(const vq_shape *s, const uint8_t *value, size_t len, uint32_t list,
                              uint32_t chunk, vq_list_chunk *out, vq_error *err);

size_t vq_row_chunk_size(const vq_shape *s, uint32_t n);
uint8_t *vq_row_chunk_write(const vq_shape *s, uint8_t *value, uint32_t list, uint32_t chunk,
                            uint32_t n); /* rows go to the returned place */
vq_status vq_row_chunk_parse(const vq_shape *s, const uint8_t *value, size_t len, uint32_t list,
                             uint32_t chunk, vq_row_chunk *out, vq_error *err);

size_t vq_array_size(uint64_t rows, uint64_t cols, size_t value_min);
void vq_array_write(uint8_t *value, const float *x, uint64_t rows, uint64_t cols, size_t value_min);
/* The floats in place (64-byte aligned); the shape must be as expected. */
vq_status vq_array_parse(const uint8_t *value, size_t len, const char *name, uint64_t rows,
                         uint64_t cols, const float **out, vq_error *err);

/* A block of names as one raw text: count x (u16 length, bytes). */
size_t vq_names_raw_size(const char *const *names, size_t count);
vq_status vq_names_write(uint8_t *value, size_t cap, size_t *len, const char *const *names,
                         size_t count, vq_error *err);
size_t vq_names_bound(size_t raw);
/* Unpacks a block into raw (cap bytes: vq_names_raw_max suffices) and checks that it is whole. */
size_t vq_names_raw_max(void);
vq_status vq_names_parse(const uint8_t *value, size_t len, uint8_t *raw, size_t cap,
                         uint32_t *count, vq_error *err);
/* The i-th name of an unpacked block. */
const char *vq_names_at(const uint8_t *raw, uint32_t i, size_t *len);

/* Writes the checksum of a finished record / compares it: VQ_ECORRUPT naming `what`. */
void vq_record_seal(uint8_t *value, size_t len);
vq_status vq_record_verify(const uint8_t *value, size_t len, const char *what, vq_error *err);

#endif
