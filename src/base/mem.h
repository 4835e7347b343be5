/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h -- allocation: checked sizes, aligned blocks, and an arena for scratch memory.
 * All memory of the library comes through here, so that a test build can fail the n-th call. */
#ifndef VQ_BASE_MEM_H
#define VQ_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VQ_CACHELINE 64u

/* a * b and a + b into *out; false (and *out = SIZE_MAX) if the result does not fit. */
bool vq_mul_size(size_t a, size_t b, size_t *out);
bool vq_add_size(size_t a, size_t b, size_t *out);

/* count x size bytes, 64-byte aligned and a multiple of 64 long; NULL if out of memory or if the
 * product overflows.  A count of 0 gives a valid block. */
void *vq_mem_alloc(size_t count, size_t size);
void *vq_mem_calloc(size_t count, size_t size);
/* Grows (or shrinks) a block of old_count to count elements; the first old_count are kept.
 * On failure NULL, and the block is as before. */
void *vq_mem_grow(void *block, size_t old_count, size_t count, size_t size);
/* For what grows as it comes, so that no header decides how much is allocated: a block with room
 * for `want` elements of size bytes, of which `have` are there: the same one, or another in its
 * place, at least twice as large.  To begin with, block is NULL and *room 0.  On failure NULL, and
 * block and *room are as before. */
void *vq_mem_reserve(void *block, size_t have, size_t want, size_t *room, size_t size);
char *vq_mem_strdup(const char *text);
void vq_mem_free(void *block); /* accepts NULL */

static inline float *vq_alloc_f32(size_t rows, size_t cols)
{
    size_t n;
    return vq_mul_size(rows, cols, &n) ? (float *)vq_mem_alloc(n, sizeof(float)) : NULL;
}

static inline size_t vq_round_up(size_t x, size_t multiple)
{
    return (x + multiple - 1) / multiple * multiple;
}

/* For tests: the n-th allocation from now (1 = the next) and all later ones fail; 0 = none fail.
 * Counts allocations since the last call either way. */
void vq_mem_fail_after(uint64_t n);
uint64_t vq_mem_count(void);

/* Arena: 64-byte aligned blocks, taken in turn, given back all at once by reset.  A block that does
 * not fit makes the arena grow at its next reset, so that after a warm-up nothing is allocated. */
typedef struct vq_arena {
    char *base;     /* owned */
    size_t size;    /* bytes at base */
    size_t used;    /* bytes handed out of base */
    size_t wanted;  /* bytes asked for since the last reset */
    void *overflow; /* owned: chain of blocks that did not fit */
} vq_arena;

void vq_arena_init(vq_arena *a);
void vq_arena_fini(vq_arena *a);
void vq_arena_reset(vq_arena *a);
void *vq_arena_take(vq_arena *a, size_t count, size_t size); /* NULL if out of memory */

#endif
