/* SPDX-License-Identifier: Apache-2.0 */
/* The hash table against an array. */
#include "src/base/table.h"

#include <criterion/criterion.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

enum { N = 5000 };

Test(table, finds_what_was_added)
{
    vq_rng r;
    vq_table t = {0};
    vq_error err;
    uint64_t *keys = vq_mem_alloc(N, sizeof *keys);
    vq_rng_init(&r, test_seed(), 1);
    cr_assert_eq(vq_table_find(&t, 7, NULL, NULL), VQ_TABLE_NONE);
    for (uint32_t i = 0; i < N; i++) {
        /* dense numbers, places of lists and slots, and anything */
        keys[i] = i % 3 == 0 ? i : i % 3 == 1 ? (uint64_t)i << 32 : vq_rng_u64(&r);
        cr_assert_eq(vq_table_find(&t, keys[i], NULL, NULL), VQ_TABLE_NONE);
        cr_assert_eq(vq_table_add(&t, keys[i], i, &err), VQ_OK);
    }
    cr_assert_eq(t.n, N);
    for (uint32_t i = 0; i < N; i++) cr_assert_eq(vq_table_find(&t, keys[i], NULL, NULL), i);
    cr_assert_eq(vq_table_find(&t, UINT64_C(1) << 60, NULL, NULL), VQ_TABLE_NONE);
    vq_table_fini(&t);
    cr_assert_eq(vq_table_find(&t, keys[0], NULL, NULL), VQ_TABLE_NONE);
    vq_mem_free(keys);
}

static bool is_seven(const void *ctx, uint32_t value)
{
    return value == *(const uint32_t *)ctx;
}

Test(table, equal_keys_are_told_apart_by_the_caller)
{
    vq_table t = {0};
    vq_error err;
    uint32_t seven = 7, eleven = 11;
    for (uint32_t i = 0; i < 10; i++) cr_assert_eq(vq_table_add(&t, 42, i, &err), VQ_OK);
    cr_assert_eq(vq_table_find(&t, 42, is_seven, &seven), 7);
    cr_assert_eq(vq_table_find(&t, 42, is_seven, &eleven), VQ_TABLE_NONE);
    cr_assert(vq_table_find(&t, 42, NULL, NULL) < 10);
    vq_table_fini(&t);
}

Test(table, without_memory)
{
    vq_table t = {0};
    vq_error err = {0};
    cr_assert_eq(vq_table_add(&t, 1, 1, &err), VQ_OK);
    uint32_t i = 2;
    vq_mem_fail_after(1);
    while (i < 1000 && vq_table_add(&t, i, i, &err) == VQ_OK) i++;
    vq_mem_fail_after(0);
    cr_assert(i < 1000 && err.code == VQ_ENOMEM);
    for (uint32_t j = 1; j < i; j++) cr_assert_eq(vq_table_find(&t, j, NULL, NULL), j);
    vq_table_fini(&t);
}
