/* SPDX-License-Identifier: Apache-2.0 */
/* fvecs.c -- fvecs and bvecs (TEXMEX): no header, each row is its dimension (u32) and d numbers. */
#include "src/base/bytes.h"
#include "src/io/format.h"
#include "src/io/rows.h"

/* Rows whose dimension can be seen at the start; 0 if two of them differ. */
static size_t count_equal(const uint8_t *bytes, size_t len, uint32_t d, size_t row_bytes)
{
    size_t rows = 0;
    for (size_t at = 0; at + 4 <= len; at += row_bytes, rows++)
        if (vq_le32(bytes + at) != d) return 0;
    return rows;
}

static int sniff(const uint8_t *bytes, size_t len, uint64_t size, uint32_t elem)
{
    uint32_t d = len >= 4 ? vq_le32(bytes) : 0;
    if (d < 1 || d > VQ_DIM_MAX) return 0;
    size_t row_bytes = 4 + d * vq_elem_size(elem), rows = count_equal(bytes, len, d, row_bytes);
    bool fits = size != UINT64_MAX && size % row_bytes == 0;
    if (rows >= 2) return fits ? 95 : size == UINT64_MAX ? 90 : 60;
    if (rows == 0 || (size != UINT64_MAX && !fits)) return 0;
    if (vq_looks_f32(bytes + 4, len - 4) != (elem == VQ_F32)) return fits ? 40 : 0;
    return fits ? 80 : 50;
}

static vq_status open_vecs(vq_source *src, vq_stream *stream, uint32_t elem, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *bytes;
    size_t got;
    VQ_TRY(vq_stream_peek(stream, &bytes, 4, &got, err));
    VQ_REQUIRE(got == 4, VQ_ECORRUPT, "%s: the file is cut short: %zu bytes", src->name, got);
    VQ_TRY(vq_rows_check_dim(src, vq_le32(bytes), err));
    src->n = VQ_N_UNKNOWN;
    src->d = vq_le32(bytes);
    src->elem = elem;
    vq_rows_layout layout = {.prefix = true};
    VQ_TRY(vq_rows_open(src, stream, &layout, err));
out:
    return rc;
}

static size_t no_header(uint8_t *bytes, size_t cap, uint64_t n, uint32_t d, uint32_t elem)
{
    (void)bytes, (void)cap, (void)n, (void)d, (void)elem;
    return 0;
}

static int sniff_fvecs(const uint8_t *bytes, size_t len, uint64_t size, const char *ending)
{
    (void)ending;
    return sniff(bytes, len, size, VQ_F32);
}

static int sniff_bvecs(const uint8_t *bytes, size_t len, uint64_t size, const char *ending)
{
    (void)ending;
    return sniff(bytes, len, size, VQ_U8);
}

static vq_status open_fvecs(vq_source *src, vq_stream *stream, vq_error *err)
{
    return open_vecs(src, stream, VQ_F32, err);
}

static vq_status open_bvecs(vq_source *src, vq_stream *stream, vq_error *err)
{
    return open_vecs(src, stream, VQ_U8, err);
}

const vq_format vq_format_fvecs = {"fvecs", 1u << VQ_F32, sniff_fvecs, open_fvecs, no_header, 4};
const vq_format vq_format_bvecs = {"bvecs", 1u << VQ_U8, sniff_bvecs, open_bvecs, no_header, 4};
