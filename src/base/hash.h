/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h -- XXH3 (libxxhash): checksums of values, digest of an index. */
#ifndef VQ_BASE_HASH_H
#define VQ_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t vq_xxh3(const void *bytes, size_t len);

/* A streamed 128-bit hash. */
typedef struct vq_hasher vq_hasher;
vq_hasher *vq_hasher_new(void); /* NULL if out of memory */
void vq_hasher_add(vq_hasher *h, const void *bytes, size_t len);
void vq_hasher_get(const vq_hasher *h, uint8_t digest[16]); /* canonical, big-endian */
void vq_hasher_free(vq_hasher *h);

#endif
