/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

Test(mem, checked_sizes)
{
    size_t x;
    cr_assert(vq_mul_size(3, 7, &x) && x == 21);
    cr_assert(vq_mul_size(SIZE_MAX, 1, &x) && x == SIZE_MAX);
    cr_assert(!vq_mul_size(SIZE_MAX / 2 + 1, 2, &x) && x == SIZE_MAX);
    cr_assert(vq_add_size(1, 2, &x) && x == 3);
    cr_assert(!vq_add_size(SIZE_MAX, 1, &x) && x == SIZE_MAX);
    cr_assert(vq_round_up(0, 64) == 0 && vq_round_up(1, 64) == 64 && vq_round_up(64, 64) == 64);
}

Test(mem, blocks_are_aligned)
{
    for (size_t n = 0; n < 300; n++) {
        uint8_t *p = vq_mem_calloc(n, 1);
        cr_assert(p != NULL && (uintptr_t)p % VQ_CACHELINE == 0);
        for (size_t i = 0; i < n; i++) cr_assert(p[i] == 0);
        memset(p, 0xff, vq_round_up(n, VQ_CACHELINE)); /* whole cache lines are ours */
        vq_mem_free(p);
    }
    vq_mem_free(NULL);
}

Test(mem, too_large)
{
    cr_assert(vq_mem_alloc(SIZE_MAX, 2) == NULL);
    cr_assert(vq_mem_alloc(SIZE_MAX, 1) == NULL);
    cr_assert(vq_mem_alloc(SIZE_MAX - 3, 1) == NULL);
    cr_assert(vq_mem_calloc(SIZE_MAX / 2, 4) == NULL);
    cr_assert(vq_alloc_f32(SIZE_MAX / 8, 16) == NULL);
}

Test(mem, grow_keeps_contents)
{
    uint32_t *p = NULL;
    for (uint32_t n = 1; n <= 1000; n++) {
        uint32_t *q = vq_mem_grow(p, n - 1, n, sizeof *p);
        cr_assert(q != NULL);
        p = q;
        p[n - 1] = n * n;
        for (uint32_t i = 0; i < n; i++) cr_assert(p[i] == (i + 1) * (i + 1));
    }
    cr_assert(vq_mem_grow(p, 1000, SIZE_MAX / 2, sizeof *p) == NULL);
    cr_assert(p[999] == 1000000); /* as before */
    p = vq_mem_grow(p, 1000, 10, sizeof *p);
    cr_assert(p != NULL && p[9] == 100);
    vq_mem_free(p);
    char *text = vq_mem_strdup("kept");
    cr_assert_str_eq(text, "kept");
    vq_mem_free(text);
}

Test(mem, failing_allocations)
{
    for (uint64_t n = 1; n < 6; n++) {
        void *blocks[8];
        vq_mem_fail_after(n);
        for (uint64_t i = 0; i < 8; i++) {
            blocks[i] = vq_mem_alloc(1, 8);
            cr_assert((blocks[i] != NULL) == (i + 1 < n));
        }
        cr_assert(vq_mem_count() == 8);
        vq_mem_fail_after(0);
        for (int i = 0; i < 8; i++) vq_mem_free(blocks[i]);
    }
    cr_assert(vq_mem_count() == 0);
    void *p = vq_mem_alloc(1, 1);
    cr_assert(p != NULL && vq_mem_count() == 1);
    vq_mem_free(p);
}

Test(mem, arena_blocks_do_not_overlap)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    vq_arena a;
    vq_arena_init(&a);
    for (int round = 0; round < 50; round++) {
        uint8_t *blocks[40];
        size_t sizes[40];
        for (size_t i = 0; i < 40; i++) {
            sizes[i] = vq_rng_below(&r, 500);
            blocks[i] = vq_arena_take(&a, sizes[i], 1);
            cr_assert(blocks[i] != NULL && (uintptr_t)blocks[i] % VQ_CACHELINE == 0);
            memset(blocks[i], (int)i, sizes[i]);
        }
        for (size_t i = 0; i < 40; i++)
            for (size_t j = 0; j < sizes[i]; j++) cr_assert(blocks[i][j] == i);
        vq_arena_reset(&a);
    }
    vq_arena_fini(&a);
}

Test(mem, arena_settles)
{
    vq_arena a;
    vq_arena_init(&a);
    for (int round = 0; round < 5; round++) {
        vq_mem_fail_after(0); /* count from here */
        for (int i = 0; i < 20; i++) cr_assert(vq_arena_take(&a, 100, 8) != NULL);
        cr_assert(round == 0 || vq_mem_count() == 0, "round %d still allocates", round);
        vq_arena_reset(&a);
    }
    cr_assert(vq_arena_take(&a, SIZE_MAX, 2) == NULL);
    cr_assert(vq_arena_take(&a, SIZE_MAX, 1) == NULL);
    vq_arena_fini(&a);
}

Test(mem, arena_survives_failure)
{
    vq_arena a;
    vq_arena_init(&a);
    vq_mem_fail_after(2);
    cr_assert(vq_arena_take(&a, 100, 1) != NULL);
    cr_assert(vq_arena_take(&a, 100, 1) == NULL);
    vq_arena_reset(&a); /* cannot grow either */
    vq_mem_fail_after(0);
    cr_assert(vq_arena_take(&a, 100, 1) != NULL);
    vq_arena_fini(&a);
}

/* What grows one by one keeps what is there, and moves a number of times that is logarithmic. */
Test(mem, blocks_that_grow_as_they_are_filled)
{
    uint32_t *x = NULL;
    size_t room = 0, moves = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t *grown = vq_mem_reserve(x, i, (size_t)i + 1, &room, sizeof *x);
        cr_assert(grown != NULL && room > i);
        moves += grown != x;
        x = grown;
        x[i] = i * 7;
    }
    for (uint32_t i = 0; i < 100000; i++) cr_assert_eq(x[i], i * 7);
    cr_assert_lt(moves, 20);
    size_t was = room;
    cr_assert_null(vq_mem_reserve(x, 100000, SIZE_MAX / 2, &room, sizeof *x));
    vq_mem_fail_after(1);
    cr_assert_null(vq_mem_reserve(x, 100000, room + 1, &room, sizeof *x));
    vq_mem_fail_after(0);
    cr_assert(room == was && x[99999] == 99999 * 7);
    vq_mem_free(x);
}
