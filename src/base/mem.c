/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c -- allocation: checked sizes, aligned blocks, arena. */
#include "src/base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/compiler.h"

enum { ROOM_FIRST = 256 }; /* elements of what grows */

#define LARGE_PAGE ((size_t)2 << 20)

static _Atomic uint64_t alloc_count;
static _Atomic uint64_t alloc_limit; /* calls that may succeed; 0 = no limit */

bool vq_mul_size(size_t a, size_t b, size_t *out)
{
    if (__builtin_mul_overflow(a, b, out)) {
        *out = SIZE_MAX;
        return false;
    }
    return true;
}

bool vq_add_size(size_t a, size_t b, size_t *out)
{
    if (__builtin_add_overflow(a, b, out)) {
        *out = SIZE_MAX;
        return false;
    }
    return true;
}

void vq_mem_fail_after(uint64_t n)
{
    atomic_store(&alloc_count, 0);
    atomic_store(&alloc_limit, n);
}

uint64_t vq_mem_count(void)
{
    return atomic_load(&alloc_count);
}

/* Large blocks lie in large pages, where the system has some for who asks: a fault a page of 4 KiB
 * is a tenth of what a build takes. */
static void *large_alloc(size_t bytes)
{
    void *block = aligned_alloc(LARGE_PAGE, vq_round_up(bytes, LARGE_PAGE));
    if (block != NULL) (void)madvise(block, bytes, MADV_HUGEPAGE);
    return block;
}

static void *raw_alloc(size_t bytes)
{
    uint64_t calls = atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed) + 1;
    uint64_t limit = atomic_load_explicit(&alloc_limit, memory_order_relaxed);
    if (VQ_UNLIKELY(limit != 0 && calls >= limit)) return NULL;
    if (bytes > SIZE_MAX - LARGE_PAGE) return NULL;
    if (bytes >= LARGE_PAGE) return large_alloc(bytes);
    return aligned_alloc(VQ_CACHELINE, vq_round_up(bytes == 0 ? 1 : bytes, VQ_CACHELINE));
}

void *vq_mem_alloc(size_t count, size_t size)
{
    size_t bytes;
    return vq_mul_size(count, size, &bytes) ? raw_alloc(bytes) : NULL;
}

void *vq_mem_calloc(size_t count, size_t size)
{
    void *block = vq_mem_alloc(count, size);
    if (block != NULL) memset(block, 0, count * size);
    return block;
}

void *vq_mem_grow(void *block, size_t old_count, size_t count, size_t size)
{
    void *grown = vq_mem_alloc(count, size);
    if (grown == NULL) return NULL;
    if (block != NULL) memcpy(grown, block, VQ_MIN(old_count, count) * size);
    vq_mem_free(block);
    return grown;
}

void *vq_mem_reserve(void *block, size_t have, size_t want, size_t *room, size_t size)
{
    size_t more;
    if (want <= *room && block != NULL) return block;
    if (!vq_mul_size(*room, 2, &more)) return NULL;
    more = VQ_MAX(VQ_MAX(more, want), (size_t)ROOM_FIRST);
    void *grown = vq_mem_grow(block, have, more, size);
    if (grown != NULL) *room = more;
    return grown;
}

char *vq_mem_strdup(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = vq_mem_alloc(len, 1);
    if (copy != NULL) memcpy(copy, text, len);
    return copy;
}

void vq_mem_free(void *block)
{
    free(block);
}

/* An overflow block: the link in its first cache line, the caller's bytes after it. */
typedef struct overflow_block {
    void *next;
} overflow_block;

void vq_arena_init(vq_arena *a)
{
    memset(a, 0, sizeof *a);
}

static void free_overflow(vq_arena *a)
{
    while (a->overflow != NULL) {
        overflow_block *b = a->overflow;
        a->overflow = b->next;
        vq_mem_free(b);
    }
}

void vq_arena_fini(vq_arena *a)
{
    free_overflow(a);
    vq_mem_free(a->base);
    vq_arena_init(a);
}

void vq_arena_reset(vq_arena *a)
{
    if (a->overflow != NULL) {
        free_overflow(a);
        char *base = vq_mem_alloc(a->wanted + a->wanted / 4, 1);
        if (base != NULL) { /* else stay small and overflow again */
            vq_mem_free(a->base);
            a->base = base;
            a->size = a->wanted + a->wanted / 4;
        }
    }
    a->used = a->wanted = 0;
}

void *vq_arena_take(vq_arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (!vq_mul_size(count, size, &bytes) || bytes > SIZE_MAX / 2) return NULL;
    bytes = vq_round_up(bytes == 0 ? 1 : bytes, VQ_CACHELINE);
    a->wanted += bytes;
    if (bytes <= a->size - a->used) {
        void *p = a->base + a->used;
        a->used += bytes;
        return p;
    }
    overflow_block *b = vq_mem_alloc(bytes + VQ_CACHELINE, 1);
    if (b == NULL) return NULL;
    b->next = a->overflow;
    a->overflow = b;
    return (char *)b + VQ_CACHELINE;
}
