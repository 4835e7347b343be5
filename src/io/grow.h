/* SPDX-License-Identifier: Apache-2.0 */
/* grow.h -- blocks that grow with what is read, so that no header decides how much is allocated. */
#ifndef VQ_IO_GROW_H
#define VQ_IO_GROW_H

#include "src/base/compiler.h"
#include "src/base/mem.h"

#define VQ_ROOM_FIRST 1024u

/* A block with room for `want` elements of size bytes, of which `have` are there: the same block,
 * or a larger one (at least doubled) in its place.  NULL if out of memory; the block is then as
 * before. To begin with, block is NULL and *room 0. */
static inline void *vq_reserve(void *block, size_t have, size_t want, size_t *room, size_t size)
{
    size_t more;
    if (want <= *room && block != NULL) return block;
    if (!vq_mul_size(*room, 2, &more)) return NULL;
    more = VQ_MAX(VQ_MAX(more, want), VQ_ROOM_FIRST);
    void *grown = vq_mem_grow(block, have, more, size);
    if (grown != NULL) *room = more;
    return grown;
}

#endif
