/* SPDX-License-Identifier: Apache-2.0 */
/* bin.c -- fbin, u8bin and i8bin (big-ann-benchmarks): n u32, d u32, then n x d numbers. */
#include "src/base/bytes.h"
#include "src/io/format.h"
#include "src/io/rows.h"

#define HEADER_BYTES 8u

static int sniff(const uint8_t *bytes, size_t len, uint64_t size, uint32_t elem)
{
    uint64_t n = len >= HEADER_BYTES ? vq_le32(bytes) : 0;
    uint32_t d = len >= HEADER_BYTES ? vq_le32(bytes + 4) : 0;
    if (d < 1 || d > VQ_DIM_MAX) return 0;
    if (size != UINT64_MAX) /* at most 2^32 * 2^16 * 4 */
        return size == HEADER_BYTES + n * d * vq_elem_size(elem) ? 92 : 0;
    return vq_looks_f32(bytes + HEADER_BYTES, len - HEADER_BYTES) == (elem == VQ_F32) ? 55 : 0;
}

static vq_status open_bin(vq_source *src, vq_stream *stream, uint32_t elem, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t head[HEADER_BYTES];
    VQ_TRY(vq_rows_read_header(src, stream, head, sizeof head, err));
    VQ_TRY(vq_rows_check_dim(src, vq_le32(head + 4), err));
    src->n = vq_le32(head);
    src->d = vq_le32(head + 4);
    src->elem = elem;
    vq_rows_layout layout = {.header_bytes = HEADER_BYTES};
    VQ_TRY(vq_rows_open(src, stream, &layout, err));
out:
    return rc;
}

static size_t header(uint8_t *bytes, size_t cap, uint64_t n, uint32_t d, uint32_t elem)
{
    (void)elem;
    if (n > UINT32_MAX || cap < HEADER_BYTES) return SIZE_MAX;
    vq_put_le32(bytes, (uint32_t)n);
    vq_put_le32(bytes + 4, d);
    return HEADER_BYTES;
}

static int sniff_fbin(const uint8_t *bytes, size_t len, uint64_t size, const char *ending)
{
    (void)ending;
    return sniff(bytes, len, size, VQ_F32);
}

/* u8bin and i8bin look alike: only the ending tells them apart. */
static int sniff_bytes(const uint8_t *bytes, size_t len, uint64_t size, const char *ending)
{
    (void)ending;
    return sniff(bytes, len, size, VQ_U8);
}

static vq_status open_fbin(vq_source *src, vq_stream *stream, vq_error *err)
{
    return open_bin(src, stream, VQ_F32, err);
}

static vq_status open_u8bin(vq_source *src, vq_stream *stream, vq_error *err)
{
    return open_bin(src, stream, VQ_U8, err);
}

static vq_status open_i8bin(vq_source *src, vq_stream *stream, vq_error *err)
{
    return open_bin(src, stream, VQ_I8, err);
}

const vq_format vq_format_fbin = {"fbin", 1u << VQ_F32, sniff_fbin, open_fbin, header, 0};
const vq_format vq_format_u8bin = {"u8bin", 1u << VQ_U8, sniff_bytes, open_u8bin, header, 0};
const vq_format vq_format_i8bin = {"i8bin", 1u << VQ_I8, sniff_bytes, open_i8bin, header, 0};
