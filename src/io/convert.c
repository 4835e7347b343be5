/* SPDX-License-Identifier: Apache-2.0 */
/* convert.c -- from any source to a file of any format that the table can write. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/elem.h"
#include "src/base/mem.h"
#include "src/io/format.h"
#include "src/io/out.h"

#define BATCH_BYTES  (1u << 20)
#define HEADER_BYTES 128u

typedef struct batch {
    size_t rows;      /* room */
    float *floats;    /* owned: rows x d */
    uint64_t *row_no; /* owned: rows */
    uint8_t *packed;  /* owned: rows in the form of the file */
    bool some, kept;  /* a coordinate that is not 0 has been read; written */
} batch;

static vq_status batch_init(batch *b, const vq_source *src, const vq_format *f, uint32_t elem,
                            vq_error *err)
{
    b->rows = VQ_MAX(BATCH_BYTES / (src->d * sizeof(float)), 1);
    b->floats = vq_alloc_f32(b->rows, src->d);
    b->row_no = vq_mem_alloc(b->rows, sizeof *b->row_no);
    b->packed = vq_mem_alloc(b->rows, f->row_prefix + src->d * vq_elem_size(elem));
    if (b->floats != NULL && b->row_no != NULL && b->packed != NULL) return VQ_OK;
    return vq_fail(err, VQ_ENOMEM, "%s: out of memory", src->name);
}

static void batch_fini(batch *b)
{
    vq_mem_free(b->packed);
    vq_mem_free(b->row_no);
    vq_mem_free(b->floats);
}

/* The source's own type if the format holds it, else the one that it holds. */
static uint32_t choose_elem(const vq_format *f, uint32_t elem)
{
    if ((f->elems >> elem & 1u) != 0) return elem;
    for (elem = VQ_F32; (f->elems >> elem & 1u) == 0;) elem++;
    return elem;
}

/* One number to bytes; false if it does not fit the type. */
static bool pack_number(uint8_t *p, float x, uint32_t elem)
{
    float whole = nearbyintf(x);
    uint16_t h;
    switch (elem) {
    case VQ_F32: memcpy(p, &x, sizeof x); return isfinite(x);
    case VQ_F16:
        h = vq_f32_to_f16(x);
        memcpy(p, &h, sizeof h);
        return (h & 0x7c00u) != 0x7c00u;
    case VQ_I8:
        if (!(whole >= -128.0f && whole <= 127.0f)) return false;
        *p = (uint8_t)(int8_t)whole;
        return true;
    default:
        if (!(whole >= 0.0f && whole <= 255.0f)) return false;
        *p = (uint8_t)whole;
        return true;
    }
}

static vq_status pack_rows(batch *b, const vq_source *src, const vq_format *f, uint32_t elem,
                           float scale, size_t n, size_t *len, vq_error *err)
{
    size_t size = vq_elem_size(elem);
    uint8_t *p = b->packed;
    for (size_t i = 0; i < n; i++) {
        if (f->row_prefix == 4) vq_put_le32(p, src->d);
        p += f->row_prefix;
        for (size_t j = 0; j < src->d; j++, p += size) {
            float x = b->floats[i * src->d + j];
            if (scale != 0.0f) x *= scale;
            if (pack_number(p, x, elem)) {
                b->some |= x != 0.0f;
                b->kept |= elem == VQ_F32 || elem == VQ_F16 || *p != 0;
                continue;
            }
            return vq_fail(err, VQ_EINVAL,
                           "%s: row %" PRIu64
                           " (from 0), coordinate %zu: %g is out of the range of "
                           "%s; give a scale",
                           src->name, b->row_no[i], j, (double)x, vq_elem_name(elem));
        }
    }
    *len = (size_t)(p - b->packed);
    return VQ_OK;
}

/* Rows that will be written, by reading them all if the source cannot promise. */
static vq_status count_rows(vq_source *src, batch *b, uint64_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t got = 1;
    bool all_good = !src->skip_bad || src->elem == VQ_I8 || src->elem == VQ_U8;
    *n = src->n;
    if (src->n != VQ_N_UNKNOWN && all_good) goto out;
    for (*n = 0; got > 0; *n += got)
        VQ_TRY(vq_source_read_as_f32(src, b->floats, b->rows, NULL, &got, err));
    VQ_TRY(vq_source_rewind(src, err));
out:
    return rc;
}

/* *n: the rows that the header announces, or VQ_N_UNKNOWN. */
static vq_status write_header(vq_source *src, const vq_format *f, uint32_t elem, batch *b,
                              vq_out *out_file, uint64_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t bytes[HEADER_BYTES];
    *n = VQ_N_UNKNOWN;
    size_t len = f->header(bytes, sizeof bytes, 1, src->d, elem);
    if (len == 0) goto out; /* the format needs no count */
    VQ_TRY(count_rows(src, b, n, err));
    len = f->header(bytes, sizeof bytes, *n, src->d, elem);
    VQ_REQUIRE(len <= sizeof bytes, VQ_EINVAL, "%s: %" PRIu64 " rows are too many for .%s",
               src->name, *n, f->name);
    VQ_TRY(vq_out_write(out_file, bytes, len, err));
out:
    return rc;
}

static vq_status choose_format(const vq_format **out, const char *path, vq_error *err)
{
    char ending[VQ_ENDING_MAX];
    vq_path_ending(path, ending, NULL);
    *out = vq_format_by_name(ending);
    if (*out != NULL && (*out)->header != NULL) return VQ_OK;
    return vq_fail(
        err, VQ_EINVAL,
        "%s: the ending names no format; end it in .fvecs, .bvecs, .fbin, .u8bin, .i8bin "
        "or .npy, and .zst after that to compress",
        path);
}

vq_status vq_convert(vq_source *src, const char *path, float scale, uint64_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_format *f;
    vq_out *out_file = NULL;
    batch b = {0};
    uint64_t announced, written = 0;
    VQ_REQUIRE(isfinite(scale), VQ_EINVAL, "a scale of %g", (double)scale);
    VQ_TRY(choose_format(&f, path, err));
    uint32_t elem = choose_elem(f, src->elem);
    VQ_TRY(batch_init(&b, src, f, elem, err));
    VQ_TRY(vq_source_rewind(src, err));
    VQ_TRY(vq_out_open(&out_file, path, err));
    VQ_TRY(write_header(src, f, elem, &b, out_file, &announced, err));
    for (;;) {
        size_t n, len = 0;
        VQ_TRY(vq_source_read_as_f32(src, b.floats, b.rows, b.row_no, &n, err));
        if (n == 0) break;
        VQ_TRY(pack_rows(&b, src, f, elem, scale, n, &len, err));
        VQ_TRY(vq_out_write(out_file, b.packed, len, err));
        written += n;
    }
    VQ_REQUIRE(written > 0, VQ_ECORRUPT, "%s: holds no rows to convert", src->name);
    VQ_REQUIRE(announced == VQ_N_UNKNOWN || announced == written, VQ_ECORRUPT,
               "%s: gave %" PRIu64 " rows, and %" PRIu64 " when read again", src->name, announced,
               written);
    VQ_REQUIRE(b.kept || !b.some, VQ_EINVAL,
               "%s: every coordinate would be 0 as %s; give a scale, or write floats", src->name,
               vq_elem_name(elem));
    VQ_TRY(vq_out_commit(out_file, err));
    if (rows != NULL) *rows = written;
out:
    vq_out_close(out_file);
    batch_fini(&b);
    return rc;
}
