/* SPDX-License-Identifier: Apache-2.0 */
/* layout.c -- see layout.h.  Knows nothing of LMDB. */
#include "index/layout.h"

#include <string.h>

#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/base/pack.h"
#include "src/io/ids.h"
#include "src/math/kernels.h"

/* A large value begins that far behind the start of a page. */
enum { PAGE_HEAD = 16, ROW_CHUNK_BYTES = 16 << 10, ROW_CHUNK_MOST = 64 << 10 };
#define ROW_WASTE (1.0 / 32)

uint32_t vq_chunk_capacity(const vq_shape *s)
{
    uint32_t n = VQ_CHUNK_CODE_BYTES / s->code_bytes;
    if (s->row_bytes != 0) n = VQ_MIN(n, VQ_CHUNK_ROW_BYTES / s->row_bytes);
    return VQ_MAX(n / VQ_BLOCK * VQ_BLOCK, VQ_BLOCK);
}

uint32_t vq_row_chunk_choose(const vq_shape *s)
{
    size_t page = 2 * s->value_min, head = PAGE_HEAD + VQ_RECORD_HEADER;
    size_t best = vq_chunk_capacity(s);
    double least = 1e9; /* what is left of the pages, over what is used */
    if (s->row_bytes == 0) return 0;
    for (size_t n = 1; n <= vq_chunk_capacity(s); n++) {
        size_t used = head + n * s->row_bytes;
        double waste = (double)(vq_round_up(used, page) - used) / (double)used;
        if (n > 1 && used > ROW_CHUNK_BYTES && (least < ROW_WASTE || used > ROW_CHUNK_MOST)) break;
        if (used > ROW_CHUNK_BYTES / 2 && waste < least) least = waste, best = n;
    }
    return (uint32_t)best;
}

void vq_chunk_key(uint8_t key[8], uint32_t list, uint32_t chunk)
{
    vq_put_be32(key, list);
    vq_put_be32(key + 4, chunk);
}

void vq_record_seal(uint8_t *value, size_t len)
{
    vq_put_le64(value, vq_xxh3(value + 8, len - 8));
}

vq_status vq_record_verify(const uint8_t *value, size_t len, const char *what, vq_error *err)
{
    if (len >= 8 && vq_le64(value) == vq_xxh3(value + 8, len - 8)) return VQ_OK;
    return vq_fail(err, VQ_ECORRUPT, "%s: bad checksum over %zu bytes; the file is damaged", what,
                   len);
}

/* Header common to list and row chunks. */
static void chunk_header(uint8_t *value, uint32_t list, uint32_t chunk, uint32_t n)
{
    memset(value, 0, VQ_RECORD_HEADER);
    vq_put_le32(value + 8, n);
    vq_put_le32(value + 12, list);
    vq_put_le32(value + 16, chunk);
}

/* most: of a full one. */
static vq_status chunk_check(const char *what, uint32_t most, const uint8_t *value, size_t len,
                             uint32_t list, uint32_t chunk, uint32_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(len >= VQ_RECORD_HEADER, VQ_ECORRUPT, "%s %u/%u: a value of %zu bytes", what, list,
               chunk, len);
    VQ_REQUIRE(((uintptr_t)value + VQ_RECORD_HEADER) % VQ_CACHELINE == 0, VQ_ECORRUPT,
               "%s %u/%u: not at the start of a page", what, list, chunk);
    *n = vq_le32(value + 8);
    VQ_REQUIRE(*n - 1 < most, VQ_ECORRUPT, "%s %u/%u: %u vectors, at most %u fit", what, list,
               chunk, *n, most);
    VQ_REQUIRE(vq_le32(value + 12) == list && vq_le32(value + 16) == chunk, VQ_ECORRUPT,
               "%s %u/%u: the value says it is %u/%u", what, list, chunk, vq_le32(value + 12),
               vq_le32(value + 16));
out:
    return rc;
}

static size_t codes_bytes(const vq_shape *s, uint32_t n)
{
    return vq_round_up(n, VQ_BLOCK) * s->code_bytes;
}

static size_t factors_bytes(const vq_shape *s, uint32_t n)
{
    return s->factors ? vq_round_up(n, VQ_BLOCK) * sizeof(float) : 0;
}

static size_t padded(size_t bytes, size_t value_min)
{
    return VQ_MAX(bytes, value_min);
}

size_t vq_list_chunk_size(const vq_shape *s, uint32_t n)
{
    return padded(VQ_RECORD_HEADER + codes_bytes(s, n) + factors_bytes(s, n) + 8 * (size_t)n,
                  s->value_min);
}

uint8_t *vq_list_chunk_write(const vq_shape *s, uint8_t *value, uint32_t list, uint32_t chunk,
                             uint32_t n, const uint64_t *labels, const float *factors)
{
    size_t size = vq_list_chunk_size(s, n);
    chunk_header(value, list, chunk, n);
    uint8_t *at = value + VQ_RECORD_HEADER + codes_bytes(s, n), *end = value + size;
    memset(at, 0, (size_t)(end - at));
    if (s->factors)
        for (uint32_t i = 0; i < n; i++) vq_put_lef32(at + 4 * (size_t)i, factors[i]);
    at += factors_bytes(s, n);
    for (uint32_t i = 0; i < n; i++) vq_put_le64(at + 8 * (size_t)i, labels[i]);
    return value + VQ_RECORD_HEADER;
}

vq_status vq_list_chunk_parse(const vq_shape *s, const uint8_t *value, size_t len, uint32_t list,
                              uint32_t chunk, vq_list_chunk *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t n = 0;
    VQ_TRY(chunk_check("list", vq_chunk_capacity(s), value, len, list, chunk, &n, err));
    VQ_REQUIRE(len == vq_list_chunk_size(s, n), VQ_ECORRUPT,
               "list %u/%u: %zu bytes for %u vectors, expected %zu", list, chunk, len, n,
               vq_list_chunk_size(s, n));
    out->n = n, out->list = list, out->chunk = chunk;
    out->codes = value + VQ_RECORD_HEADER;
    const uint8_t *factors = out->codes + codes_bytes(s, n);
    out->factors = s->factors ? (const float *)(const void *)factors : NULL;
    out->labels = factors + factors_bytes(s, n);
out:
    return rc;
}

size_t vq_row_chunk_size(const vq_shape *s, uint32_t n)
{
    return padded(VQ_RECORD_HEADER + (size_t)n * s->row_bytes, s->value_min);
}

uint8_t *vq_row_chunk_write(const vq_shape *s, uint8_t *value, uint32_t list, uint32_t chunk,
                            uint32_t n)
{
    size_t used = VQ_RECORD_HEADER + (size_t)n * s->row_bytes;
    chunk_header(value, list, chunk, n);
    vq_put_le32(value + 20, s->row_bytes);
    memset(value + used, 0, vq_row_chunk_size(s, n) - used);
    return value + VQ_RECORD_HEADER;
}

vq_status vq_row_chunk_parse(const vq_shape *s, const uint8_t *value, size_t len, uint32_t list,
                             uint32_t chunk, vq_row_chunk *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t n = 0;
    VQ_TRY(chunk_check("rows", vq_row_capacity(s), value, len, list, chunk, &n, err));
    VQ_REQUIRE(vq_le32(value + 20) == s->row_bytes, VQ_ECORRUPT,
               "rows %u/%u: rows of %u bytes, expected %u", list, chunk, vq_le32(value + 20),
               s->row_bytes);
    VQ_REQUIRE(len == vq_row_chunk_size(s, n), VQ_ECORRUPT,
               "rows %u/%u: %zu bytes for %u rows, expected %zu", list, chunk, len, n,
               vq_row_chunk_size(s, n));
    out->n = n;
    out->rows = value + VQ_RECORD_HEADER;
out:
    return rc;
}

size_t vq_array_size(uint64_t rows, uint64_t cols, size_t value_min)
{
    return padded(VQ_RECORD_HEADER + (size_t)rows * (size_t)cols * sizeof(float), value_min);
}

void vq_array_write(uint8_t *value, const float *x, uint64_t rows, uint64_t cols, size_t value_min)
{
    size_t n = (size_t)rows * (size_t)cols, used = VQ_RECORD_HEADER + n * sizeof(float);
    size_t size = vq_array_size(rows, cols, value_min);
    memset(value, 0, VQ_RECORD_HEADER);
    vq_put_le64(value + 8, rows);
    vq_put_le64(value + 16, cols);
    for (size_t i = 0; i < n; i++) vq_put_lef32(value + VQ_RECORD_HEADER + 4 * i, x[i]);
    memset(value + used, 0, size - used);
    vq_record_seal(value, size);
}

vq_status vq_array_parse(const uint8_t *value, size_t len, const char *name, uint64_t rows,
                         uint64_t cols, const float **out, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n, bytes;
    VQ_REQUIRE(vq_mul_size((size_t)rows, (size_t)cols, &n) &&
                   vq_mul_size(n, sizeof(float), &bytes) && bytes < SIZE_MAX / 2,
               VQ_ECORRUPT, "model: %s is said to be %llu x %llu", name, (unsigned long long)rows,
               (unsigned long long)cols);
    VQ_REQUIRE(len >= VQ_RECORD_HEADER + bytes && vq_le64(value + 8) == rows &&
                   vq_le64(value + 16) == cols,
               VQ_ECORRUPT, "model: %s: %zu bytes, expected %llu x %llu floats", name, len,
               (unsigned long long)rows, (unsigned long long)cols);
    VQ_REQUIRE(((uintptr_t)value + VQ_RECORD_HEADER) % VQ_CACHELINE == 0, VQ_ECORRUPT,
               "model: %s: not at the start of a page", name);
    *out = (const float *)(const void *)(value + VQ_RECORD_HEADER);
out:
    return rc;
}

size_t vq_names_raw_size(const char *const *names, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += 2 + strlen(names[i]);
    return size;
}

size_t vq_names_raw_max(void)
{
    return VQ_NAMES_PER_BLOCK * (2 + VQ_ID_MAX);
}

size_t vq_names_bound(size_t raw)
{
    return 16 + vq_pack_bound(raw);
}

vq_status vq_names_write(uint8_t *value, size_t cap, size_t *len, const char *const *names,
                         size_t count, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t raw_size = vq_names_raw_size(names, count), packed = 0;
    uint8_t *raw = vq_mem_alloc(raw_size, 1), *at = raw;
    VQ_REQUIRE(raw != NULL, VQ_ENOMEM, "names: %zu bytes", raw_size);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(names[i]);
        at[0] = (uint8_t)n, at[1] = (uint8_t)(n >> 8);
        memcpy(at + 2, names[i], n);
        at += 2 + n;
    }
    vq_put_le32(value + 8, (uint32_t)count);
    vq_put_le32(value + 12, (uint32_t)raw_size);
    VQ_TRY(vq_pack(value + 16, cap - 16, &packed, raw, raw_size, 3, err));
    *len = 16 + packed;
    vq_record_seal(value, *len);
out:
    vq_mem_free(raw);
    return rc;
}

vq_status vq_names_parse(const uint8_t *value, size_t len, uint8_t *raw, size_t cap,
                         uint32_t *count, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(len > 16, VQ_ECORRUPT, "names: a block of %zu bytes", len);
    uint32_t n = vq_le32(value + 8);
    size_t raw_size = vq_le32(value + 12);
    VQ_REQUIRE(n - 1 < VQ_NAMES_PER_BLOCK && raw_size <= cap, VQ_ECORRUPT,
               "names: a block of %u names in %zu bytes", n, raw_size);
    VQ_TRY(vq_unpack(raw, raw_size, value + 16, len - 16, err));
    vq_rd r = vq_rd_init(raw, raw_size);
    for (uint32_t i = 0; i < n && r.ok; i++) {
        const uint8_t *size = vq_rd_take(&r, 2);
        if (size != NULL) (void)vq_rd_take(&r, vq_le16(size));
    }
    VQ_REQUIRE(r.ok && r.p == r.end, VQ_ECORRUPT, "names: a block's lengths do not add up");
    *count = n;
out:
    return rc;
}

const char *vq_names_at(const uint8_t *raw, uint32_t i, size_t *len)
{
    while (i-- > 0) raw += 2 + (size_t)vq_le16(raw);
    *len = vq_le16(raw);
    return (const char *)raw + 2;
}
