/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_pagediff.c -- any bytes as the pages of two snapshots whose trees are compared.
 * With -DVQ_FUZZ_MAIN a program of its own: fuzz_pagediff [ITERATIONS [SEED [FILE]]] feeds seeded
 * mutations of valid ones, or FILE alone. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/pages.h"
#include "src/base/bytes.h"
#include "src/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
    uint64_t calls, bytes; /* of keys, summed so that they are looked at */
} seen;

static void note(void *ctx, const uint8_t *key, size_t len)
{
    seen *s = ctx;
    s->calls++;
    for (size_t i = 0; i < len; i++) s->bytes += key[i];
}

/* Whichever is the older one the same keys differ, and a tree differs nowhere from itself. */
static uint64_t compare(const vq_pages *p, const vq_tree *t, const vq_pages *q, const vq_tree *u)
{
    seen there = {0}, back = {0}, none = {0};
    vq_status rc = vq_tree_differs(p, t, q, u, note, &there, NULL);
    if ((vq_tree_differs(q, u, p, t, note, &back, NULL) == VQ_OK) != (rc == VQ_OK)) abort();
    if (rc == VQ_OK && (there.calls != back.calls || there.bytes != back.bytes)) abort();
    (void)vq_tree_differs(p, t, p, t, note, &none, NULL);
    if (none.calls != 0) abort();
    return there.bytes + there.calls;
}

static uint64_t read_snapshots(const uint8_t *base, size_t bytes)
{
    uint64_t sum = 0;
    vq_pages p, q, newest;
    vq_tree t, u;
    if (vq_pages_open(&newest, base, bytes, 0, NULL) != VQ_OK) return 0;
    q = newest;
    const uint8_t *meta = base + newest.size + VQ_PAGE_HEADER + 128;
    uint64_t other = vq_le64(base + VQ_PAGE_HEADER + 128);
    if (other == newest.txn) other = vq_le64(meta);
    if (vq_pages_open(&p, base, bytes, other, NULL) != VQ_OK) return 0;
    sum += compare(&p, &p.main, &q, &q.main) + compare(&p, &p.free, &q, &q.main);
    if (vq_tree_open(&p, "ids", &t, NULL) == VQ_OK && vq_tree_open(&q, "ids", &u, NULL) == VQ_OK)
        sum += compare(&p, &t, &q, &u);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile uint64_t sink;
    void *block = NULL; /* ends where the input does, so that ASan sees a byte too many */
    if (posix_memalign(&block, 64, size + (size == 0)) != 0) return 0;
    if (size > 0) memcpy(block, data, size);
    sink += read_snapshots(block, size);
    free(block);
    return 0;
}

#ifdef VQ_FUZZ_MAIN
#include "src/base/rng.h"
#include "tests/fuzz/driver.h"

/* Two metas; the main tree and `ids` of each snapshot, a branch with three leaves of which one is
 * another in the second; and two overflow pages. */
enum { PAGE = 512, MAIN = 2, BRANCH = 4, LEAF = 6, OVER = 10, PAGES = 12, KEYS = 4 };

static void put_le16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8);
}

static void put_tree(uint8_t *p, unsigned depth, uint64_t leaves, uint64_t entries, uint64_t root)
{
    memset(p, 0, 48);
    put_le16(p + 6, depth);
    vq_put_le64(p + 8, depth - 1);
    vq_put_le64(p + 16, leaves);
    vq_put_le64(p + 32, entries);
    vq_put_le64(p + 40, root);
}

/* Behind the nodes that are there; returns where the value goes. */
static uint8_t *put_node(uint8_t *page, unsigned flags, const void *key, size_t key_len, size_t len,
                         size_t room)
{
    unsigned lower = vq_le16(page + 12), at = vq_le16(page + 14) - 8u;
    at = (at - (unsigned)(key_len + room)) & ~1u;
    put_le16(page + lower, at);
    put_le16(page + 12, lower + 2);
    put_le16(page + 14, at);
    put_le16(page + at, (unsigned)len);
    put_le16(page + at + 4, flags);
    put_le16(page + at + 6, (unsigned)key_len);
    memcpy(page + at + 8, key, key_len);
    return page + at + 8 + key_len;
}

static void put_leaf(vq_rng *r, uint8_t *page, uint64_t first)
{
    for (uint64_t i = 0; i < KEYS; i++) {
        uint8_t key[8];
        vq_put_be64(key, first + i);
        if (vq_rng_below(r, 4) == 0)
            memcpy(put_node(page, 0, key, 8, 5, 5), "value", 5);
        else
            vq_put_le64(put_node(page, 1, key, 8, 300, 8), OVER + vq_rng_below(r, 2));
    }
}

static void put_snapshot(uint8_t *b, uint64_t which)
{
    uint8_t *m = b + which * PAGE + 16, key[8];
    vq_put_le32(m, 0xBEEFC0DEu);
    vq_put_le32(m + 4, 1);
    put_tree(m + 24, 1, 0, 0, UINT64_MAX);
    vq_put_le32(m + 24, PAGE);
    put_tree(m + 72, 1, 1, 1, MAIN + which);
    vq_put_le64(m + 120, PAGES - 1);
    vq_put_le64(m + 128, which + 1);
    put_tree(put_node(b + (MAIN + which) * PAGE, 2, "ids", 3, 48, 48), 2, 3, 3 * KEYS,
             BRANCH + which);
    for (uint64_t i = 0; i < 3; i++) { /* a child's number is where a value's length is */
        uint64_t child = i == 1 ? LEAF + 1 + which : LEAF + (i == 2 ? 3 : 0);
        vq_put_be64(key, i * KEYS);
        (void)put_node(b + (BRANCH + which) * PAGE, 0, key, i == 0 ? 0 : 8, child, 0);
    }
}

static size_t make_pages(vq_rng *r, uint8_t *b)
{
    memset(b, 0, (size_t)PAGES * PAGE);
    for (uint64_t i = 0; i < PAGES; i++) {
        uint8_t *page = b + i * PAGE;
        bool leaf = i < BRANCH || (i >= LEAF && i < OVER);
        vq_put_le64(page, i);
        put_le16(page + 10, i >= OVER ? VQ_PAGE_OVERFLOW : leaf ? VQ_PAGE_LEAF : VQ_PAGE_BRANCH);
        put_le16(page + 12, 16);
        put_le16(page + 14, PAGE);
        if (i >= OVER) vq_put_le32(page + 12, 1);
        if (i >= LEAF && i < OVER) put_leaf(r, page, KEYS * ((i - LEAF + 1) / 2));
    }
    put_snapshot(b, 0);
    put_snapshot(b, 1);
    return (size_t)PAGES * PAGE;
}

static size_t mutate(vq_rng *r, uint8_t *bytes, size_t len)
{
    static const uint8_t odd[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0x10};
    for (uint64_t n = vq_rng_below(r, 5); n > 0 && len > 0; n--) {
        size_t at = vq_rng_below(r, len), page = at / PAGE * PAGE;
        uint64_t where = vq_rng_below(r, 3);
        if (where == 0) at = page + at % 32;
        if (where == 1) at = page + PAGE - 1 - at % 64;
        if (at >= len) continue;
        switch (vq_rng_below(r, 4)) {
        case 0: bytes[at] ^= (uint8_t)(1u << vq_rng_below(r, 8)); break;
        case 1: bytes[at] = odd[vq_rng_below(r, sizeof odd)]; break;
        case 2: bytes[at] = (uint8_t)vq_rng_below(r, PAGES); break;
        default: len = vq_rng_below(r, 16) == 0 ? at : len; break;
        }
    }
    return len;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[PAGES * PAGE];
    vq_rng r;
    uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 0) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    if (argc > 3) return feed_file(argv[3]);
    vq_rng_init(&r, seed, UINT64_MAX);
    if (read_snapshots(bytes, make_pages(&r, bytes)) < KEYS) {
        (void)fprintf(stderr, "fuzz_pagediff: the seed pages are not sound\n");
        return EXIT_FAILURE;
    }
    for (uint64_t i = 0; i < iterations; i++) {
        vq_rng_init(&r, seed, i);
        (void)LLVMFuzzerTestOneInput(bytes, mutate(&r, bytes, make_pages(&r, bytes)));
    }
    (void)printf("fuzz_pagediff: %llu inputs, seed %llu\n", (unsigned long long)iterations,
                 (unsigned long long)seed);
    return EXIT_SUCCESS;
}
#endif
