/* SPDX-License-Identifier: Apache-2.0 */
/* pack.h -- zstd: a byte stream from a file or standard input that is decompressed if it is zstd,
 * and blocks of cold bytes.  pack.c is the only file that includes
 * zstd.h and zdict.h. */
#ifndef VQ_BASE_PACK_H
#define VQ_BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

/* A stream of bytes, plain or zstd (recognised by its magic number, concatenated frames allowed).
 */
typedef struct vq_stream vq_stream;
/* "-" is standard input, and so is "i8bin:-" or another ending before the colon, for what content
 * does not tell. */
bool vq_path_is_stdin(const char *path);
/* Bounded memory: a few MB whatever the window a frame asks for (up to
 * 128 MiB; larger is VQ_ECORRUPT). */
vq_status vq_stream_open(vq_stream **out, const char *path, vq_error *err);
/* Up to len bytes; fewer only at the end (*got = 0 then).  A truncated or damaged frame is
 * VQ_ECORRUPT. */
vq_status vq_stream_read(vq_stream *s, void *bytes, size_t len, size_t *got, vq_error *err);
/* Looks at the next bytes without taking them: up to len <= 4096. */
vq_status vq_stream_peek(vq_stream *s, const uint8_t **bytes, size_t len, size_t *got,
                         vq_error *err);
/* From the start again; VQ_EUNSUPPORTED for what cannot seek. */
vq_status vq_stream_rewind(vq_stream *s, vq_error *err);
/* Size of the decompressed content if known without reading it: the file's size if plain, the
 * frame's content size if there is one frame that tells; else UINT64_MAX. */
uint64_t vq_stream_size(const vq_stream *s);
void vq_stream_close(vq_stream *s);

/* Blocks.  Both return VQ_OK, or an error with its text. */
size_t vq_pack_bound(size_t len);
vq_status vq_pack(void *out, size_t cap, size_t *out_len, const void *in, size_t len, int level,
                  vq_error *err);
/* out_len must be the exact size; anything else is VQ_ECORRUPT. */
vq_status vq_unpack(void *out, size_t out_len, const void *in, size_t len, vq_error *err);

/* Many small blocks of a kind, with a dictionary made of some of them; or without (len = 0).  A
 * frame holds neither its size, nor a checksum, nor which dictionary it needs: the caller knows.
 * What was packed without one can be unpacked with one of vq_pack_train, too: that begins with the
 * repeat offsets of a frame without (1, 4, 8), and such a frame refers to nothing else of it.
 * One thread at a time. */
typedef struct vq_packer vq_packer;
/* The dictionary is copied. */
vq_status vq_packer_open(vq_packer **out, const void *dictionary, size_t len, vq_error *err);
void vq_packer_close(vq_packer *p); /* accepts NULL */
/* cap: vq_pack_bound(len). */
vq_status vq_packer_pack(vq_packer *p, void *out, size_t cap, size_t *out_len, const void *in,
                         size_t len, vq_error *err);
/* Like vq_unpack. */
vq_status vq_packer_unpack(vq_packer *p, void *out, size_t out_len, const void *in, size_t len,
                           vq_error *err);
/* A dictionary of at most cap bytes for blocks like these n (one after the other at bytes, sizes of
 * each).  Returns its length; 0: nothing is to be gained, or there are too few. */
size_t vq_pack_train(void *dictionary, size_t cap, const void *bytes, const size_t *sizes,
                     size_t n);

#endif
