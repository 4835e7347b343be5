/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets: order within a part is kept, whether the records are in memory or were spilt. */
#include "index/bucket.h"

#include "tests/index/fixture.h"

typedef struct record {
    uint32_t part, number;
    uint8_t filler[92];
} record;

static record make(uint32_t part, uint32_t number)
{
    record r = {part, number, {0}};
    memset(r.filler, (int)(part * 31 + number), sizeof r.filler);
    return r;
}

/* Fills parts in a seeded order; counts[part] records each. */
static void fill(vq_buckets *b, uint32_t parts, uint32_t total, uint32_t *counts)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (uint32_t i = 0; i < total; i++) {
        uint32_t part = (uint32_t)(vq_rng_below(&r, 4) == 0 ? 0 : vq_rng_below(&r, parts));
        record x = make(part, counts[part]++);
        OK(vq_buckets_add(b, part, &x, &err));
    }
}

static void check(vq_buckets *b, uint32_t part, uint32_t count, size_t step)
{
    record *got = vq_mem_alloc(step, sizeof *got);
    size_t n = 0;
    cr_assert_eq(vq_buckets_count(b, part), count);
    for (size_t first = 0; first < count; first += n) {
        OK(vq_buckets_read(b, part, first, step, got, &n, &err));
        cr_assert_eq(n, VQ_MIN(step, count - first));
        for (size_t i = 0; i < n; i++) {
            record want = make(part, (uint32_t)(first + i));
            cr_assert(memcmp(&got[i], &want, sizeof want) == 0, "part %u, %zu", part, first + i);
        }
    }
    OK(vq_buckets_read(b, part, count, step, got, &n, &err));
    cr_assert_eq(n, 0);
    vq_mem_free(got);
}

Test(bucket, order_is_kept_in_any_memory)
{
    char *dir = test_tmpdir(), *beside = test_path(dir, "x");
    static const size_t memories[] = {1, 10000, 300000, 64 << 20};
    static const uint32_t parts[] = {1, 2, 37};
    for (size_t m = 0; m < VQ_COUNT(memories); m++)
        for (size_t p = 0; p < VQ_COUNT(parts); p++) {
            vq_buckets *b;
            uint32_t counts[37] = {0};
            OK(vq_buckets_new(&b, beside, parts[p], sizeof(record), memories[m], &err));
            fill(b, parts[p], 9000, counts);
            cr_assert_eq(count_files(dir, ""), 0, "the temporary file has a name");
            for (uint32_t i = 0; i < parts[p]; i++) check(b, i, counts[i], 1 + 499 * i % 1300);
            for (uint32_t i = 0; i < parts[p]; i++) {
                vq_buckets_drop(b, i);
                cr_assert_eq(vq_buckets_count(b, i), 0);
                if (i + 1 < parts[p]) check(b, i + 1, counts[i + 1], 1000);
            }
            vq_buckets_free(b);
        }
    free(beside);
    test_rmdir(dir);
}

Test(bucket, spilling_really_happens)
{
    /* Where no file can be made, little memory is an error and much is none. */
    for (size_t memory = 1; memory <= (8 << 20); memory += (8 << 20) - 1) {
        vq_buckets *b;
        vq_status rc = VQ_OK;
        OK(vq_buckets_new(&b, "/nowhere/at/all", 4, sizeof(record), memory, &err));
        for (uint32_t i = 0; rc == VQ_OK && i < 9000; i++) {
            record x = make(i % 4, i / 4);
            rc = vq_buckets_add(b, i % 4, &x, &err);
        }
        cr_assert_eq(rc, memory == 1 ? VQ_ENOENT : VQ_OK);
        vq_buckets_free(b);
    }
}

Test(bucket, records_larger_than_a_block)
{
    char *dir = test_tmpdir(), *beside = test_path(dir, "x");
    size_t size = 300000, n;
    uint8_t *x = vq_mem_calloc(size, 1);
    vq_buckets *b;
    OK(vq_buckets_new(&b, beside, 2, size, 1, &err));
    for (uint8_t i = 0; i < 20; i++) {
        x[0] = x[size - 1] = i;
        OK(vq_buckets_add(b, i % 2, x, &err));
    }
    for (uint8_t i = 0; i < 20; i++) {
        OK(vq_buckets_read(b, i % 2, i / 2, 1, x, &n, &err));
        cr_assert(n == 1 && x[0] == i && x[size - 1] == i);
    }
    vq_buckets_free(b);
    vq_mem_free(x);
    free(beside);
    test_rmdir(dir);
}
