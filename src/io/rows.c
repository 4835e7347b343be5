/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c -- rows from a stream: sizes held against the header, row by row. */
#include "src/io/rows.h"

#include <inttypes.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are used as they lie in the file");

#define BUFFER_BYTES (256u << 10)

typedef struct file_rows {
    vq_stream *stream; /* owned */
    vq_rows_layout layout;
    size_t row_bytes; /* in the file, prefix included */
    uint8_t *buffer;  /* owned: buffer_rows rows of the file; NULL if they are used as they lie */
    size_t buffer_rows;
} file_rows;

vq_status vq_rows_check_dim(const vq_source *src, uint64_t d, vq_error *err)
{
    if (d >= 1 && d <= VQ_DIM_MAX) return VQ_OK;
    return vq_fail(err, VQ_ECORRUPT,
                   "%s: not a sound %s file: dimension %" PRIu64 ", expected 1 to %u", src->name,
                   src->format, d, VQ_DIM_MAX);
}

vq_status vq_rows_read_header(const vq_source *src, vq_stream *stream, void *bytes, size_t len,
                              vq_error *err)
{
    size_t got;
    vq_status rc = vq_stream_read(stream, bytes, len, &got, err);
    if (rc != VQ_OK || got == len) return rc;
    return vq_fail(err, VQ_ECORRUPT, "%s: the %s header is cut short: %zu of %zu bytes", src->name,
                   src->format, got, len);
}

/* Reads whole rows into bytes; what is left of a row at the end is an error. */
static vq_status read_whole(vq_source *src, file_rows *f, void *bytes, size_t rows, size_t *got,
                            vq_error *err)
{
    size_t want, len;
    if (!vq_mul_size(rows, f->row_bytes, &want))
        return vq_fail(err, VQ_EINVAL, "%s: %zu rows of %zu bytes at once", src->name, rows,
                       f->row_bytes);
    vq_status rc = vq_stream_read(f->stream, bytes, want, &len, err);
    if (rc != VQ_OK) return rc;
    *got = len / f->row_bytes;
    if (len % f->row_bytes == 0) return VQ_OK;
    return vq_fail(err, VQ_ECORRUPT,
                   "%s: the file is cut short: row %" PRIu64 " (from 0) has %zu of %zu bytes",
                   src->name, src->row + *got, len % f->row_bytes, f->row_bytes);
}

/* One row of the file, p, into the row that the caller sees. */
static vq_status unpack_row(const vq_source *src, const file_rows *f, const uint8_t *p,
                            uint64_t row, void *out, vq_error *err)
{
    if (f->layout.prefix) {
        uint32_t d = vq_le32(p);
        if (d != src->d)
            return vq_fail(err, VQ_ECORRUPT,
                           "%s: row %" PRIu64 " (from 0) has dimension %" PRIu32
                           ", the first has %" PRIu32 "; all rows must be equally long",
                           src->name, row, d, src->d);
        p += 4;
    }
    if (f->layout.f64) {
        float *to = out;
        for (size_t i = 0; i < src->d; i++) {
            double x;
            memcpy(&x, p + 8 * i, sizeof x);
            to[i] = (float)x; /* too large becomes infinite: a bad row */
        }
    } else {
        memcpy(out, p, src->d * vq_elem_size(src->elem));
    }
    return VQ_OK;
}

static vq_status read_buffered(vq_source *src, file_rows *f, void *rows, size_t max, size_t *got,
                               vq_error *err)
{
    size_t done = 0, out_bytes = src->d * vq_elem_size(src->elem);
    while (done < max) {
        size_t ask = VQ_MIN(max - done, f->buffer_rows), have = 0;
        vq_status cut = read_whole(src, f, f->buffer, ask, &have, err);
        if (cut != VQ_OK && cut != VQ_ECORRUPT) return cut;
        for (size_t i = 0; i < have;
             i++) { /* a row of another length explains a remainder better */
            vq_status rc = unpack_row(src, f, f->buffer + i * f->row_bytes, src->row + done + i,
                                      (char *)rows + (done + i) * out_bytes, err);
            if (rc != VQ_OK) return rc;
        }
        if (cut != VQ_OK) return cut;
        done += have;
        if (have < ask) break;
    }
    *got = done;
    return VQ_OK;
}

static vq_status rows_read(vq_source *src, void *rows, size_t max, size_t *got, vq_error *err)
{
    vq_status rc = VQ_OK;
    file_rows *f = src->impl;
    size_t done = 0;
    if (src->n != VQ_N_UNKNOWN) max = (size_t)VQ_MIN((uint64_t)max, src->n - src->row);
    VQ_TRY(f->buffer != NULL ? read_buffered(src, f, rows, max, &done, err)
                             : read_whole(src, f, rows, max, &done, err));
    if (src->row + done == src->n) {
        const uint8_t *next;
        size_t more;
        VQ_TRY(vq_stream_peek(f->stream, &next, 1, &more, err));
        VQ_REQUIRE(more == 0, VQ_ECORRUPT,
                   "%s: the file goes on after the %" PRIu64 " rows that it announces", src->name,
                   src->n);
    }
    *got = done;
out:
    return rc;
}

static vq_status rows_rewind(vq_source *src, vq_error *err)
{
    vq_status rc = VQ_OK;
    file_rows *f = src->impl;
    uint8_t skip[512];
    VQ_TRY(vq_stream_rewind(f->stream, err));
    for (uint64_t left = f->layout.header_bytes; left > 0;) {
        size_t len = (size_t)VQ_MIN(left, sizeof skip);
        VQ_TRY(vq_rows_read_header(src, f->stream, skip, len, err));
        left -= len;
    }
out:
    return rc;
}

static void free_rows(file_rows *f)
{
    if (f == NULL) return;
    vq_mem_free(f->buffer);
    vq_mem_free(f);
}

static void rows_close(vq_source *src)
{
    file_rows *f = src->impl;
    vq_stream_close(f->stream);
    free_rows(f);
}

static const vq_source_ops rows_ops = {rows_read, rows_rewind, rows_close};

/* Rows do not fill the file: finds and names the row at fault. */
static vq_status find_fault(vq_source *src, file_rows *f, uint64_t size, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *rows = vq_mem_alloc(f->buffer_rows, src->d * vq_elem_size(src->elem));
    VQ_REQUIRE(rows != NULL, VQ_ENOMEM, "%s: out of memory", src->name);
    size_t got = 1;
    while (got > 0) {
        VQ_TRY(read_buffered(src, f, rows, f->buffer_rows, &got, err));
        src->row += got;
    }
    rc = vq_fail(err, VQ_ECORRUPT, "%s: %" PRIu64 " bytes are no whole number of rows of %zu bytes",
                 src->name, size, f->row_bytes);
out:
    vq_mem_free(rows);
    return rc;
}

/* Holds n and d against the file's size, or works n out. */
static vq_status check_size(vq_source *src, file_rows *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t size = vq_stream_size(f->stream), header = f->layout.header_bytes, want;
    if (src->n == VQ_N_UNKNOWN) {
        if (size == UINT64_MAX) goto out;
        uint64_t body = size > header ? size - header : 0;
        if (body % f->row_bytes != 0) return find_fault(src, f, size, err);
        src->n = body / f->row_bytes;
        goto out;
    }
    VQ_REQUIRE(!__builtin_mul_overflow(src->n, (uint64_t)f->row_bytes, &want) &&
                   !__builtin_add_overflow(want, header, &want) && want <= INT64_MAX,
               VQ_ECORRUPT,
               "%s: not a sound %s file: it announces %" PRIu64 " x %" PRIu32 " numbers", src->name,
               src->format, src->n, src->d);
    VQ_REQUIRE(size >= want, VQ_ECORRUPT,
               "%s: the file is cut short: %" PRIu64 " rows of %" PRIu32 " need %" PRIu64
               " bytes, %" PRIu64 " found",
               src->name, src->n, src->d, want, size);
    VQ_REQUIRE(size == want || size == UINT64_MAX, VQ_ECORRUPT,
               "%s: %" PRIu64 " rows of %" PRIu32 " need %" PRIu64 " bytes, %" PRIu64
               " found: %" PRIu64 " too many after the last row",
               src->name, src->n, src->d, want, size, size - want);
out:
    return rc;
}

vq_status vq_rows_open(vq_source *src, vq_stream *stream, const vq_rows_layout *layout,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    file_rows *f = vq_mem_calloc(1, sizeof *f);
    VQ_REQUIRE(f != NULL, VQ_ENOMEM, "%s: out of memory", src->name);
    f->stream = stream;
    f->layout = *layout;
    f->row_bytes =
        (layout->prefix ? 4 : 0) + (size_t)src->d * (layout->f64 ? 8 : vq_elem_size(src->elem));
    f->buffer_rows = VQ_MAX(BUFFER_BYTES / f->row_bytes, 1);
    if (layout->prefix || layout->f64) {
        f->buffer = vq_mem_alloc(f->buffer_rows, f->row_bytes);
        VQ_REQUIRE(f->buffer != NULL, VQ_ENOMEM, "%s: out of memory", src->name);
    }
    VQ_TRY(check_size(src, f, err));
    src->ops = &rows_ops;
    src->impl = f;
    f = NULL;
out:
    free_rows(f);
    return rc;
}
