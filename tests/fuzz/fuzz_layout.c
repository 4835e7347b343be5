/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_layout.c -- any bytes through every parser of records, and through the reader of pages.
 * With -DVQ_FUZZ_MAIN a program of its own: fuzz_layout [ITERATIONS [SEED [FILE]]] feeds seeded
 * mutations of valid records and pages, or FILE alone. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/layout.h"
#include "index/pagecheck.h"
#include "index/pages.h"
#include "index/relation.h"
#include "index/relevance.h"
#include "src/base/bytes.h"
#include "src/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const vq_shape shapes[] = {
    {.code_bytes = 1, .row_bytes = 0, .factors = false, .value_min = 256},
    {.code_bytes = 8, .row_bytes = 16, .factors = true, .value_min = 256},
    {.code_bytes = 4096, .row_bytes = 4096, .factors = false, .value_min = 2048},
};

/* The bytes that a view must have, summed so that they are looked at. */
static uint64_t sum(const void *bytes, size_t len)
{
    uint64_t total = 0;
    for (size_t i = 0; i < len; i++) total += ((const uint8_t *)bytes)[i];
    return total;
}

static uint64_t parse_chunks(const uint8_t *value, size_t len)
{
    uint64_t seen = 0;
    uint32_t list = len >= 20 ? vq_le32(value + 12) : 0,
             chunk = len >= 20 ? vq_le32(value + 16) : 0;
    for (size_t i = 0; i < VQ_COUNT(shapes); i++) {
        const vq_shape *s = &shapes[i];
        vq_list_chunk c;
        vq_row_chunk r;
        if (vq_list_chunk_parse(s, value, len, list, chunk, &c, NULL) == VQ_OK) {
            seen += sum(c.codes, vq_round_up(c.n, 32) * s->code_bytes) + sum(c.labels, 8u * c.n);
            if (c.factors != NULL) seen += sum(c.factors, 4 * vq_round_up(c.n, 32));
        }
        if (vq_row_chunk_parse(s, value, len, list, chunk, &r, NULL) == VQ_OK)
            seen += sum(r.rows, (size_t)r.n * s->row_bytes);
    }
    return seen;
}

static uint64_t parse_others(const uint8_t *value, size_t len)
{
    uint64_t seen = 0, rows = len >= 24 ? vq_le64(value + 8) : 1;
    uint64_t cols = len >= 24 ? vq_le64(value + 16) : 1;
    const float *x;
    if (vq_array_parse(value, len, "x", rows, cols, &x, NULL) == VQ_OK)
        seen += sum(x, (size_t)rows * (size_t)cols * sizeof *x);
    vq_relation r;
    if (vq_relation_parse(value, len, cols == VQ_TUNE_OLD_COLS ? cols : VQ_TUNE_COLS, &r, NULL) ==
        VQ_OK) {
        vq_setting s = vq_relation_at(&r, 1 + (uint32_t)(r.n % 200), 0.93f);
        seen += sum(r.rows, r.n * r.cols * sizeof *x) + vq_rule_on(&s.lists, 1.0f, 2.0f, 1.0f) +
                (vq_rule_gap(&s.rows, 0.0f, 0.5f) > 0.0f);
    }
    if (vq_relevance_parse(value, len, &x, NULL) == VQ_OK && x != NULL) {
        float p[3];
        vq_relevance_apply(x, (const float[]){9.0f, 2.0f, 2.0f}, 3, true, p);
        seen += (p[2] > 0.5f) + vq_relevance_of(x).depth;
    }
    uint8_t *raw = vq_mem_alloc(vq_names_raw_max(), 1);
    uint32_t count = 0;
    size_t n;
    if (vq_names_parse(value, len, raw, vq_names_raw_max(), &count, NULL) == VQ_OK)
        for (uint32_t i = 0; i < count; i++) {
            const char *name = vq_names_at(raw, i, &n);
            seen += sum(name, n);
        }
    vq_mem_free(raw);
    return seen + (vq_record_verify(value, len, "x", NULL) == VQ_OK);
}

static uint64_t walk_tree(const vq_pages *p, const vq_tree *t)
{
    uint64_t seen = 0;
    vq_cursor c;
    const uint8_t *value;
    size_t len;
    vq_node last;
    if (vq_tree_last(p, t, &last, NULL) == VQ_OK)
        seen += sum(last.key, last.key_len) + sum(last.value, last.len);
    vq_status rc = vq_cursor_first(&c, p, t, NULL);
    for (size_t i = 0; i < 5000 && rc == VQ_OK && c.depth > 0; i++) {
        seen += sum(c.node.key, c.node.key_len) + sum(c.node.value, c.node.len);
        if (vq_tree_get(p, t, c.node.key, c.node.key_len, &value, &len, NULL) == VQ_OK)
            seen += sum(value, len);
        rc = vq_cursor_next(&c, NULL);
    }
    return seen;
}

static uint64_t read_pages(const uint8_t *base, size_t bytes)
{
    vq_pages p;
    vq_tree t;
    vq_problems problems = {0};
    uint64_t verified, seen, count;
    if (vq_pages_open(&p, base, bytes, 0, NULL) != VQ_OK) return 0;
    (void)vq_pages_verify(&p, &problems, &verified, NULL);
    (void)vq_pages_free(&p, &count, NULL);
    seen = walk_tree(&p, &p.main) + walk_tree(&p, &p.free);
    if (vq_tree_open(&p, "ids", &t, NULL) == VQ_OK) seen += walk_tree(&p, &t);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile uint64_t sink;
    /* First where a record may lie, 16 bytes after a page's start; then where a map may.  The
     * block ends where the input does, so that ASan sees a byte too many. */
    for (size_t before = 16;; before = 0) {
        void *block = NULL;
        if (posix_memalign(&block, 64, before + size + (size == 0)) != 0) return 0;
        uint8_t *at = (uint8_t *)block + before;
        if (size > 0) memcpy(at, data, size);
        sink +=
            before != 0 ? parse_chunks(at, size) + parse_others(at, size) : read_pages(at, size);
        free(block);
        if (before == 0) break;
    }
    return 0;
}

#ifdef VQ_FUZZ_MAIN
#include "tests/fuzz/driver.h"
#include "src/base/rng.h"

enum { PAGE = 512, PAGES = 6, MOST = 16384 };
enum { RUN_AT = 4 * PAGE + 440 + 8 + 1 }; /* in make_pages: the number of the overflow page */

static void make_relation(uint8_t *bytes, uint32_t n, size_t *len)
{
    float rows[40 * VQ_TUNE_COLS];
    for (uint32_t i = 0; i < n; i++) {
        const float row[VQ_TUNE_COLS] = {(float)(i / 7 + 1),
                                         0.1f + 0.1f * (float)(i % 7),
                                         1,
                                         2,
                                         -1,
                                         -1,
                                         1,
                                         -2,
                                         0,
                                         -1,
                                         3,
                                         300,
                                         20,
                                         40,
                                         9,
                                         100,
                                         -1,
                                         -1};
        memcpy(rows + i * VQ_TUNE_COLS, row, sizeof row);
    }
    *len = vq_array_size(n, VQ_TUNE_COLS, 256);
    vq_array_write(bytes, rows, n, VQ_TUNE_COLS, 256);
}

static size_t make_record(vq_rng *r, uint8_t *bytes)
{
    const vq_shape *s = &shapes[vq_rng_below(r, 2)];
    uint32_t n = 1 + (uint32_t)vq_rng_below(r, 70);
    uint64_t labels[70] = {0};
    float x[70] = {0};
    const char *names[70];
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) names[i] = i % 2 == 0 ? "a" : "name";
    memset(bytes, 0, MOST);
    switch (vq_rng_below(r, 5)) {
    case 3: make_relation(bytes, 1 + n % 40, &len); break;
    case 0:
        (void)vq_list_chunk_write(s, bytes, 3, 4, n, labels, x);
        len = vq_list_chunk_size(s, n);
        break;
    case 1:
        s = &shapes[1];
        (void)vq_row_chunk_write(s, bytes, 3, 4, n);
        len = vq_row_chunk_size(s, n);
        break;
    case 2:
        len = vq_array_size(n, 1, 256);
        vq_array_write(bytes, x, n, 1, 256);
        break;
    default: (void)vq_names_write(bytes, MOST, &len, names, n, NULL); break;
    }
    vq_record_seal(bytes, len);
    return len;
}

static void put_le16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8);
}

static void put_tree(uint8_t *p, unsigned depth, uint64_t branch, uint64_t leaf, uint64_t overflow,
                     uint64_t entries, uint64_t root)
{
    memset(p, 0, 48);
    put_le16(p + 6, depth);
    vq_put_le64(p + 8, branch);
    vq_put_le64(p + 16, leaf);
    vq_put_le64(p + 24, overflow);
    vq_put_le64(p + 32, entries);
    vq_put_le64(p + 40, root);
}

static uint8_t *put_node(uint8_t *page, unsigned at, unsigned flags, const char *key, size_t len)
{
    unsigned lower = vq_le16(page + 12), key_len = (unsigned)strlen(key);
    put_le16(page + lower, at);
    put_le16(page + 12, lower + 2);
    put_le16(page + at, (unsigned)len);
    put_le16(page + at + 4, flags);
    put_le16(page + at + 6, key_len);
    memcpy(page + at + 8, key, key_len);
    if (at < vq_le16(page + 14)) put_le16(page + 14, at);
    return page + at + 8 + key_len;
}

/* A file of six small pages: two metas, the main tree, and `ids` of a branch with one leaf, which
 * holds a value of its own and one in an overflow page. */
static size_t make_pages(uint8_t *b)
{
    memset(b, 0, PAGES * PAGE);
    for (uint64_t i = 0; i < PAGES; i++) {
        vq_put_le64(b + i * PAGE, i);
        put_le16(b + i * PAGE + 12, 16);
        put_le16(b + i * PAGE + 14, PAGE);
    }
    for (int i = 0; i < 2; i++) {
        uint8_t *m = b + i * PAGE + 16;
        vq_put_le32(m, 0xBEEFC0DEu);
        vq_put_le32(m + 4, 1);
        put_tree(m + 24, 0, 0, 0, 0, 0, UINT64_MAX);
        vq_put_le32(m + 24, PAGE);
        put_tree(m + 72, 1, 0, 1, 0, 1, 2);
        vq_put_le64(m + 120, PAGES - 1);
        vq_put_le64(m + 128, (uint64_t)i + 1);
    }
    put_le16(b + 2 * PAGE + 10, VQ_PAGE_LEAF);
    put_le16(b + 3 * PAGE + 10, VQ_PAGE_BRANCH);
    put_le16(b + 4 * PAGE + 10, VQ_PAGE_LEAF);
    put_tree(put_node(b + 2 * PAGE, 400, 2, "ids", 48), 2, 1, 1, 1, 2, 3);
    (void)put_node(b + 3 * PAGE, 480, 0, "", 4); /* child: page 4 */
    memcpy(put_node(b + 4 * PAGE, 480, 0, "a", 5), "value", 5);
    vq_put_le64(put_node(b + 4 * PAGE, 440, 1, "b", 300), 5);
    put_le16(b + 5 * PAGE + 10, VQ_PAGE_OVERFLOW);
    vq_put_le32(b + 5 * PAGE + 12, 1);
    return (size_t)PAGES * PAGE;
}

static size_t mutate(vq_rng *r, uint8_t *bytes, size_t len, size_t page)
{
    static const uint8_t odd[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0x10};
    for (uint64_t n = vq_rng_below(r, 5); n > 0 && len > 0; n--) {
        size_t at = vq_rng_below(r, len);
        if (vq_rng_below(r, 2) == 0) at = at / page * page + at % VQ_MIN(page, (size_t)64);
        if (at >= len) continue;
        switch (vq_rng_below(r, 4)) {
        case 0: bytes[at] ^= (uint8_t)(1u << vq_rng_below(r, 8)); break;
        case 1: bytes[at] = odd[vq_rng_below(r, sizeof odd)]; break;
        case 2: bytes[at] = (uint8_t)vq_rng_u64(r); break;
        default: len = vq_rng_below(r, 8) == 0 ? at : len; break;
        }
    }
    return len;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[MOST];
    uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 0) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    if (argc > 3) return feed_file(argv[3]);
    if (make_pages(bytes) == 0 || read_pages(bytes, (size_t)PAGES * PAGE) < 1000) {
        (void)fprintf(stderr, "fuzz_layout: the seed pages are not sound\n");
        return EXIT_FAILURE;
    }
    vq_put_le64(bytes + RUN_AT, UINT64_MAX); /* was taken for no such page once */
    (void)LLVMFuzzerTestOneInput(bytes, (size_t)PAGES * PAGE);
    for (uint64_t i = 0; i < iterations; i++) {
        vq_rng r;
        vq_rng_init(&r, seed, i);
        bool pages = vq_rng_below(&r, 2) == 0;
        size_t len = pages ? make_pages(bytes) : make_record(&r, bytes);
        len = mutate(&r, bytes, len, pages ? PAGE : MOST);
        (void)LLVMFuzzerTestOneInput(bytes, len);
    }
    (void)printf("fuzz_layout: %llu inputs, seed %llu\n", (unsigned long long)iterations,
                 (unsigned long long)seed);
    return EXIT_SUCCESS;
}
#endif
