/* SPDX-License-Identifier: Apache-2.0 */
/* Records: what is written is parsed, at the edges of their sizes, and nothing else is. */
#include "index/layout.h"

#include "src/base/bytes.h"
#include "tests/index/fixture.h"

enum { PAGE = 4096, ROOM = 1 << 20 };

/* A value where LMDB would put one: 16 bytes after the start of a page. */
static uint8_t *page_room(uint8_t **block)
{
    *block = vq_mem_alloc(ROOM + 64, 1);
    return *block + 16;
}

static const vq_shape shapes[] = {
    {.code_bytes = 1, .row_bytes = 0, .factors = false, .value_min = PAGE / 2},
    {.code_bytes = 1, .row_bytes = 1, .factors = true, .value_min = PAGE / 2},
    {.code_bytes = 33, .row_bytes = 66, .factors = true, .value_min = PAGE / 2},
    {.code_bytes = 8193, .row_bytes = 512, .factors = false, .value_min = PAGE / 2},
};

Test(layout, capacity_follows_the_format)
{
    static const uint32_t codes[] = {1, 8, 33, 8192, 8193, 262144}, rows[] = {0, 1, 512, 262144};
    for (size_t i = 0; i < VQ_COUNT(codes); i++)
        for (size_t j = 0; j < VQ_COUNT(rows); j++) {
            vq_shape s = {.code_bytes = codes[i], .row_bytes = rows[j]};
            uint32_t fit = 262144 / codes[i];
            if (rows[j] != 0 && 1048576 / rows[j] < fit) fit = 1048576 / rows[j];
            cr_assert_eq(vq_chunk_capacity(&s), fit < 32 ? 32 : fit / 32 * 32);
        }
}

Test(layout, keys_sort_as_numbers)
{
    uint8_t a[8], b[8];
    vq_chunk_key(a, 0x01020304, 0xff);
    cr_assert(memcmp(a, "\x01\x02\x03\x04\0\0\0\xff", 8) == 0);
    vq_chunk_key(b, 0x01020304, 0x100);
    cr_assert(memcmp(a, b, 8) < 0);
    vq_chunk_key(b, 0x01020305, 0);
    cr_assert(memcmp(a, b, 8) < 0);
}

static size_t write_list(const vq_shape *s, uint8_t *value, uint32_t n)
{
    uint64_t labels[ROOM / 128];
    float factors[ROOM / 128];
    for (uint32_t i = 0; i < n; i++) labels[i] = UINT64_MAX - i, factors[i] = (float)i - 0.5f;
    uint8_t *codes = vq_list_chunk_write(s, value, 7, 9, n, labels, s->factors ? factors : NULL);
    cr_assert_eq(codes, value + 48);
    memset(codes, 0x5a, vq_round_up(n, VQ_BLOCK) * s->code_bytes);
    size_t size = vq_list_chunk_size(s, n);
    vq_record_seal(value, size);
    return size;
}

Test(layout, list_chunks)
{
    uint8_t *block, *value = page_room(&block);
    for (size_t i = 0; i < VQ_COUNT(shapes); i++) {
        const vq_shape *s = &shapes[i];
        uint32_t ns[] = {1, 31, 32, 33, 250}, cap = vq_chunk_capacity(s);
        for (size_t j = 0; j < VQ_COUNT(ns) && ns[j] <= cap && ns[j] * s->code_bytes < ROOM / 2;
             j++) {
            vq_list_chunk c = {0};
            uint32_t n = ns[j];
            memset(value, 0xee, ROOM);
            size_t size = write_list(s, value, n), padded = (n + 31) / 32 * 32;
            cr_assert(size >= PAGE / 2 && size >= 48 + padded * s->code_bytes + 8 * n);
            OK(vq_record_verify(value, size, "list", &err));
            OK(vq_list_chunk_parse(s, value, size, 7, 9, &c, &err));
            cr_assert(c.n == n && c.list == 7 && c.chunk == 9 && c.codes == value + 48);
            cr_assert((c.factors != NULL) == s->factors);
            for (uint32_t k = 0; k < n; k++) {
                cr_assert_eq(vq_le64(c.labels + 8 * k), UINT64_MAX - k);
                if (s->factors) cr_assert_eq(c.factors[k], (float)k - 0.5f);
            }
            for (size_t at = (size_t)(c.labels - value) + 8 * n; at < size; at++)
                cr_assert_eq(value[at], 0, "slack");
        }
    }
    vq_mem_free(block);
}

Test(layout, wrong_list_chunks)
{
    uint8_t *block, *value = page_room(&block);
    vq_shape s = shapes[2], other;
    vq_list_chunk c;
    size_t size = write_list(&s, value, 33);
    FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&s, value, size, 8, 9, &c, &err));
    FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&s, value, size, 7, 10, &c, &err));
    FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&s, value, size - 1, 7, 9, &c, &err));
    FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&s, value, size + 1, 7, 9, &c, &err));
    for (size_t len = 0; len < 48; len++)
        FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&s, value, len, 7, 9, &c, &err));
    other = s, other.code_bytes++;
    FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&other, value, size, 7, 9, &c, &err));
    other = s, other.factors = false;
    FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&other, value, size, 7, 9, &c, &err));
    static const uint32_t wrong[] = {0, 1, 32, 34, 0x80000021, UINT32_MAX};
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        vq_put_le32(value + 8, wrong[i]);
        FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&s, value, size, 7, 9, &c, &err));
    }
    vq_put_le32(value + 8, 33);
    OK(vq_list_chunk_parse(&s, value, size, 7, 9, &c, &err));
    memmove(value + 2, value, size); /* a place where codes are not aligned */
    FAILS(VQ_ECORRUPT, vq_list_chunk_parse(&s, value + 2, size, 7, 9, &c, &err));
    vq_mem_free(block);
}

/* A chunk of rows is small and fills its pages, if rows are not too large for either. */
Test(layout, the_choice_of_row_chunks)
{
    for (uint32_t row = 1; row <= 70000; row += 1 + row / 7)
        for (uint32_t code = 4; code <= 4096; code *= 4) {
            vq_shape s = {.code_bytes = code, .row_bytes = row, .value_min = PAGE / 2};
            uint32_t n = vq_row_chunk_choose(&s), most = vq_chunk_capacity(&s);
            cr_assert(n >= 1 && n <= most, "%u rows of %u bytes", n, row);
            size_t used = 16 + 48 + (size_t)n * row, pages = vq_round_up(used, PAGE);
            if ((size_t)most * row < 16384) continue; /* all of them are few bytes */
            cr_assert(used > 8192 && (used <= 65536 || n <= 1), "%u rows of %u bytes", n, row);
            if (row <= 4096) cr_assert((pages - used) * 25 <= used, "%u rows of %u bytes", n, row);
            s.row_chunk = n;
            cr_assert_eq(vq_row_capacity(&s), n);
        }
    vq_shape none = {.code_bytes = 4, .value_min = PAGE / 2};
    cr_assert_eq(vq_row_chunk_choose(&none), 0);
}

Test(layout, row_chunks)
{
    uint8_t *block, *value = page_room(&block);
    for (size_t i = 1; i < VQ_COUNT(shapes); i++)
        for (uint32_t n = 1; n <= 33 && n <= vq_chunk_capacity(&shapes[i]); n += 16) {
            vq_shape s = shapes[i];
            vq_row_chunk c;
            memset(value, 0xee, ROOM);
            uint8_t *rows = vq_row_chunk_write(&s, value, 3, 4, n);
            memset(rows, 0x77, (size_t)n * s.row_bytes);
            size_t size = vq_row_chunk_size(&s, n);
            vq_record_seal(value, size);
            OK(vq_record_verify(value, size, "rows", &err));
            OK(vq_row_chunk_parse(&s, value, size, 3, 4, &c, &err));
            cr_assert(c.n == n && c.rows == rows && size >= PAGE / 2);
            for (size_t at = 48 + (size_t)n * s.row_bytes; at < size; at++)
                cr_assert_eq(value[at], 0, "slack");
            FAILS(VQ_ECORRUPT, vq_row_chunk_parse(&s, value, size, 3, 5, &c, &err));
            FAILS(VQ_ECORRUPT, vq_row_chunk_parse(&s, value, size, 4, 4, &c, &err));
            FAILS(VQ_ECORRUPT, vq_row_chunk_parse(&s, value, size - 1, 3, 4, &c, &err));
            FAILS(VQ_ECORRUPT, vq_row_chunk_parse(&s, value, 47, 3, 4, &c, &err));
            s.row_bytes++;
            FAILS(VQ_ECORRUPT, vq_row_chunk_parse(&s, value, size, 3, 4, &c, &err));
            s.row_bytes--;
            vq_put_le32(value + 8, 0);
            FAILS(VQ_ECORRUPT, vq_row_chunk_parse(&s, value, size, 3, 4, &c, &err));
        }
    vq_mem_free(block);
}

Test(layout, arrays)
{
    uint8_t *block, *value = page_room(&block);
    float x[600];
    const float *out = NULL;
    for (size_t i = 0; i < 600; i++) x[i] = (float)i * 0.25f;
    for (uint64_t rows = 1; rows <= 20; rows += 19)
        for (uint64_t cols = 1; cols <= 30; cols += 29) {
            size_t size = vq_array_size(rows, cols, PAGE / 2);
            memset(value, 0xee, ROOM);
            vq_array_write(value, x, rows, cols, PAGE / 2);
            OK(vq_record_verify(value, size, "array", &err));
            OK(vq_array_parse(value, size, "array", rows, cols, &out, &err));
            cr_assert(memcmp(out, x, rows * cols * sizeof *x) == 0);
            FAILS(VQ_ECORRUPT, vq_array_parse(value, size, "a", rows + 1, cols, &out, &err));
            FAILS(VQ_ECORRUPT, vq_array_parse(value, size, "a", rows, cols + 1, &out, &err));
            FAILS(VQ_ECORRUPT, vq_array_parse(value, 47, "a", rows, cols, &out, &err));
            FAILS(VQ_ECORRUPT,
                  vq_array_parse(value, 48 + 4 * rows * cols - 1, "a", rows, cols, &out, &err));
        }
    vq_array_write(value, x, 2, 15, PAGE / 2); /* 30 numbers in another shape */
    FAILS(VQ_ECORRUPT, vq_array_parse(value, PAGE / 2, "a", 15, 2, &out, &err));
    FAILS(VQ_ECORRUPT, vq_array_parse(value, PAGE / 2, "a", UINT64_MAX, 2, &out, &err));
    FAILS(VQ_ECORRUPT, vq_array_parse(value, PAGE / 2, "a", SIZE_MAX / 4, 1, &out, &err));
    vq_mem_free(block);
}

static size_t write_names(uint8_t *value, size_t cap, const char *const *names, size_t count)
{
    size_t len = 0;
    OK(vq_names_write(value, cap, &len, names, count, &err));
    cr_assert(len <= vq_names_bound(vq_names_raw_size(names, count)));
    return len;
}

Test(layout, name_blocks)
{
    size_t cap = vq_names_bound(vq_names_raw_max());
    uint8_t *value = vq_mem_alloc(cap, 1), *raw = vq_mem_alloc(vq_names_raw_max(), 1);
    char longest[501];
    memset(longest, 'x', 500);
    longest[500] = '\0';
    const char *names[256];
    for (size_t i = 0; i < 256; i++)
        names[i] = i % 3 == 0 ? longest : i % 3 == 1 ? "a" : "\xc3\xa9";
    static const size_t counts[] = {1, 2, 255, 256};
    for (size_t i = 0; i < VQ_COUNT(counts); i++) {
        size_t len = write_names(value, cap, names, counts[i]), size;
        uint32_t count = 0;
        OK(vq_record_verify(value, len, "names", &err));
        OK(vq_names_parse(value, len, raw, vq_names_raw_max(), &count, &err));
        cr_assert_eq(count, counts[i]);
        for (uint32_t j = 0; j < count; j++) {
            const char *name = vq_names_at(raw, j, &size);
            cr_assert(size == strlen(names[j]) && memcmp(name, names[j], size) == 0);
        }
        FAILS(VQ_ECORRUPT, vq_names_parse(value, len - 1, raw, vq_names_raw_max(), &count, &err));
        for (size_t n = 0; n <= 16; n++)
            FAILS(VQ_ECORRUPT, vq_names_parse(value, n, raw, vq_names_raw_max(), &count, &err));
        FAILS(VQ_ECORRUPT, vq_names_parse(value, len, raw, vq_names_raw_size(names, counts[i]) - 1,
                                          &count, &err));
        static const uint32_t wrong[] = {0, 257, UINT32_MAX};
        for (size_t j = 0; j < VQ_COUNT(wrong); j++) {
            vq_put_le32(value + 8, wrong[j]);
            FAILS(VQ_ECORRUPT, vq_names_parse(value, len, raw, vq_names_raw_max(), &count, &err));
        }
        vq_put_le32(value + 8, (uint32_t)counts[i] + (counts[i] < 256 ? 1 : UINT32_MAX));
        FAILS(VQ_ECORRUPT, vq_names_parse(value, len, raw, vq_names_raw_max(), &count, &err));
    }
    vq_mem_free(value);
    vq_mem_free(raw);
}

Test(layout, every_flipped_bit_is_noticed)
{
    uint8_t *block, *value = page_room(&block);
    size_t size = write_list(&shapes[2], value, 33);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        value[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(vq_record_verify(value, size, "x", NULL), VQ_ECORRUPT, "bit %zu", bit);
        value[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    OK(vq_record_verify(value, size, "x", &err));
    for (size_t len = 0; len < size; len += len < 16 ? 1 : 97)
        FAILS(VQ_ECORRUPT, vq_record_verify(value, len, "x", &err));
    vq_mem_free(block);
}
