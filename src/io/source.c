/* SPDX-License-Identifier: Apache-2.0 */
/* source.c -- the stream of rows: what all kinds share (counting, bad rows, conversion to f32), the
 * three kinds (file, array, callback), and the public face of it. */
#include "src/io/source.h"

#include <inttypes.h>
#include <string.h>

#include "src/base/elem.h"
#include "src/base/mem.h"
#include "src/base/pack.h"
#include "src/io/format.h"

/* ---- making and ending -------------------------------------------------------------------- */

vq_status vq_source_new(vq_source **out, const char *name, const char *format, uint32_t d,
                        uint32_t elem, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_source *src = vq_mem_calloc(1, sizeof *src);
    VQ_REQUIRE(src != NULL, VQ_ENOMEM, "%s: out of memory", name);
    src->name = vq_mem_strdup(name);
    VQ_REQUIRE(src->name != NULL, VQ_ENOMEM, "%s: out of memory", name);
    src->format = format;
    src->n = VQ_N_UNKNOWN;
    src->d = d;
    src->elem = elem;
    *out = src;
    src = NULL;
out:
    vq_mem_free(src);
    return rc;
}

void vq_source_close(vq_source *src)
{
    if (src == NULL) return;
    if (src->ops != NULL) src->ops->close(src);
    vq_mem_free(src->name);
    vq_mem_free(src);
}

static vq_status check_shape(const char *what, uint32_t d, uint32_t elem, vq_error *err)
{
    if (d < 1 || d > VQ_DIM_MAX)
        return vq_fail(err, VQ_EINVAL, "%s: dimension %" PRIu32 ", expected 1 to %u", what, d,
                       VQ_DIM_MAX);
    if (vq_elem_size(elem) == 0)
        return vq_fail(err, VQ_EINVAL,
                       "%s: element type %" PRIu32 ", expected VQ_F32, VQ_F16, "
                       "VQ_I8 or VQ_U8",
                       what, elem);
    return VQ_OK;
}

/* ---- a file ------------------------------------------------------------------------------- */

vq_status vq_source_file(vq_source **out, const char *path, bool skip_bad, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_source *src = NULL;
    vq_stream *stream = NULL;
    const vq_format *format;
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    VQ_TRY(vq_stream_open(&stream, path, err));
    VQ_TRY(vq_format_detect(&format, name, stream, err));
    VQ_TRY(vq_source_new(&src, name, format->name, 0, 0, err));
    VQ_TRY(format->open(src, stream, err));
    stream = NULL; /* the source's now */
    src->skip_bad = skip_bad;
    *out = src;
    src = NULL;
out:
    vq_source_close(src);
    vq_stream_close(stream);
    return rc;
}

/* ---- an array ----------------------------------------------------------------------------- */

static vq_status array_read(vq_source *src, void *rows, size_t max, size_t *got, vq_error *err)
{
    (void)err;
    size_t row_bytes = src->d * vq_elem_size(src->elem);
    size_t n = (size_t)VQ_MIN((uint64_t)max, src->n - src->row);
    if (n > 0) memcpy(rows, (const char *)src->impl + src->row * row_bytes, n * row_bytes);
    *got = n;
    return VQ_OK;
}

static vq_status array_rewind(vq_source *src, vq_error *err)
{
    (void)src, (void)err;
    return VQ_OK;
}

static void array_close(vq_source *src)
{
    (void)src; /* the rows are the caller's */
}

static const vq_source_ops array_ops = {array_read, array_rewind, array_close};

vq_status vq_source_array(vq_source **out, const void *rows, uint64_t n, uint32_t d, uint32_t elem,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_source *src = NULL;
    size_t bytes;
    VQ_TRY(check_shape("array", d, elem, err));
    VQ_REQUIRE(rows != NULL || n == 0, VQ_EINVAL, "array: no rows given (NULL)");
    VQ_REQUIRE(vq_mul_size((size_t)n, d * vq_elem_size(elem), &bytes) && bytes <= PTRDIFF_MAX,
               VQ_EINVAL, "array: %" PRIu64 " x %" PRIu32 " numbers are more than memory can hold",
               n, d);
    VQ_TRY(vq_source_new(&src, "array", "array", d, elem, err));
    src->n = n;
    memcpy(&src->impl, &rows, sizeof rows); /* read only */
    src->ops = &array_ops;
    *out = src;
out:
    return rc;
}

/* ---- a callback --------------------------------------------------------------------------- */

typedef struct callback {
    vq_read_fn fn;
    void *ctx;
} callback;

static vq_status fn_read(vq_source *src, void *rows, size_t max, size_t *got, vq_error *err)
{
    vq_status rc = VQ_OK;
    const callback *c = src->impl;
    size_t n = 0;
    int failed = c->fn(c->ctx, 0, rows, max, &n);
    VQ_REQUIRE(failed == 0, VQ_EIO, "callback: failed with %d at row %" PRIu64, failed, src->row);
    VQ_REQUIRE(n <= max, VQ_EINVAL, "callback: %zu rows delivered where %zu fit", n, max);
    *got = n;
out:
    return rc;
}

static vq_status fn_rewind(vq_source *src, vq_error *err)
{
    const callback *c = src->impl;
    size_t n = 0;
    int failed = c->fn(c->ctx, 1, NULL, 0, &n);
    if (failed == 0) return VQ_OK;
    return vq_fail(err, VQ_EIO, "callback: failed with %d when asked to start again", failed);
}

static void fn_close(vq_source *src)
{
    vq_mem_free(src->impl);
}

static const vq_source_ops fn_ops = {fn_read, fn_rewind, fn_close};

vq_status vq_source_fn(vq_source **out, vq_read_fn fn, void *ctx, uint32_t d, uint32_t elem,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_source *src = NULL;
    callback *c = NULL;
    VQ_TRY(check_shape("callback", d, elem, err));
    VQ_REQUIRE(fn != NULL, VQ_EINVAL, "callback: no function given (NULL)");
    c = vq_mem_alloc(1, sizeof *c);
    VQ_REQUIRE(c != NULL, VQ_ENOMEM, "callback: out of memory");
    *c = (callback){fn, ctx};
    VQ_TRY(vq_source_new(&src, "callback", "callback", d, elem, err));
    src->impl = c;
    src->ops = &fn_ops;
    c = NULL;
    *out = src;
out:
    vq_mem_free(c);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* How many of count coordinates are NaN or infinite: all exponent bits set. */
static size_t count_bad(const void *numbers, size_t count, uint32_t elem)
{
    size_t bad = 0;
    const uint8_t *p = numbers;
    for (size_t i = 0; elem == VQ_F32 && i < count; i++) {
        uint32_t u;
        memcpy(&u, p + 4 * i, 4);
        bad += (u & 0x7f800000u) == 0x7f800000u;
    }
    for (size_t i = 0; elem == VQ_F16 && i < count; i++) {
        uint16_t u;
        memcpy(&u, p + 2 * i, 2);
        bad += (u & 0x7c00u) == 0x7c00u;
    }
    return bad;
}

static vq_status fail_bad_row(const vq_source *src, const char *row, uint64_t row_no, vq_error *err)
{
    size_t at = 0;
    while (count_bad(row + at * vq_elem_size(src->elem), 1, src->elem) == 0) at++;
    return vq_fail(err, VQ_ECORRUPT,
                   "%s: row %" PRIu64 " (from 0) is NaN or infinite at coordinate %zu; mend it, or "
                   "leave such rows out (--skip-bad of vq build, add and convert)",
                   src->name, row_no, at);
}

/* Of n rows just delivered keeps the good ones, in place, and says which they are. */
static vq_status keep_good(vq_source *src, void *rows, size_t n, uint64_t *row_no, size_t *kept,
                           vq_error *err)
{
    size_t row_bytes = src->d * vq_elem_size(src->elem), to = 0;
    for (size_t i = 0; i < n; i++) {
        char *row = (char *)rows + i * row_bytes;
        if (count_bad(row, src->d, src->elem) > 0) {
            if (!src->skip_bad) return fail_bad_row(src, row, src->row + i, err);
            src->skipped++;
            continue;
        }
        if (row_no != NULL) row_no[to] = src->row + i;
        if (to != i) memmove((char *)rows + to * row_bytes, row, row_bytes);
        to++;
    }
    *kept = to;
    return VQ_OK;
}

vq_status vq_source_read(vq_source *src, void *rows, size_t max, uint64_t *row_no, size_t *got,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t kept = 0;
    while (kept == 0 && max > 0) {
        size_t n = 0;
        VQ_TRY(src->ops->read(src, rows, max, &n, err));
        if (n == 0) {
            VQ_REQUIRE(src->n == VQ_N_UNKNOWN || src->row == src->n, VQ_ECORRUPT,
                       "%s: ends after %" PRIu64 " of %" PRIu64 " rows: it is cut short", src->name,
                       src->row, src->n);
            break;
        }
        VQ_TRY(keep_good(src, rows, n, row_no, &kept, err));
        src->row += n;
    }
    *got = kept;
out:
    return rc;
}

/* Converts count elements at p to f32 at to.  p may overlap the end of to: it lies no lower than
 * each number's place, so that writing forwards never overtakes reading. */
static void widen(float *to, const uint8_t *p, size_t count, uint32_t elem)
{
    for (size_t i = 0; i < count; i++) {
        if (elem == VQ_F16) {
            uint16_t h;
            memcpy(&h, p + 2 * i, 2);
            to[i] = vq_f16_to_f32(h);
        } else {
            to[i] = elem == VQ_I8 ? (float)(int8_t)p[i] : (float)p[i];
        }
    }
}

vq_status vq_source_read_as_f32(vq_source *src, float *rows, size_t max, uint64_t *row_no,
                                size_t *got, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t count, n;
    VQ_REQUIRE(vq_mul_size(max, src->d, &count) && count <= SIZE_MAX / sizeof(float), VQ_EINVAL,
               "%s: %zu rows at once", src->name, max);
    if (src->elem == VQ_F32) return vq_source_read(src, rows, max, row_no, got, err);
    uint8_t *narrow = (uint8_t *)rows + count * (sizeof(float) - vq_elem_size(src->elem));
    VQ_TRY(vq_source_read(src, narrow, max, row_no, &n, err));
    widen(rows, narrow, n * src->d, src->elem);
    *got = n;
out:
    return rc;
}

vq_status vq_source_rewind(vq_source *src, vq_error *err)
{
    vq_status rc = src->ops->rewind(src, err);
    if (rc != VQ_OK) return rc;
    src->row = 0;
    src->skipped = 0;
    return VQ_OK;
}

vq_status vq_source_read_all_f32(vq_source *src, float **rows, size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t have = 0, room = 0, got = 1; /* in numbers */
    float *all = NULL;
    while (got > 0) {
        float *grown = vq_mem_reserve(all, have, have + src->d, &room, sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "%s: no memory for more than %zu rows of %" PRIu32,
                   src->name, have / src->d, src->d);
        all = grown;
        VQ_TRY(vq_source_read_as_f32(src, all + have, (room - have) / src->d, NULL, &got, err));
        have += got * src->d;
    }
    *rows = all;
    *n = have / src->d;
    all = NULL;
out:
    vq_mem_free(all);
    return rc;
}

vq_status vq_sources_read_f32(vq_source *const *sources, uint64_t count, uint32_t d, float **rows,
                              size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    float *all = NULL, *some = NULL;
    size_t have = 0, more;
    for (uint64_t i = 0; i < count; i++) {
        vq_source *src = sources[i];
        VQ_REQUIRE(src != NULL, VQ_EINVAL, "queries: source %" PRIu64 " is NULL", i);
        VQ_REQUIRE(src->d == d, VQ_EINVAL,
                   "%s: queries of %" PRIu32 " dimensions for rows of %" PRIu32, src->name, src->d,
                   d);
        VQ_TRY(vq_source_rewind(src, err));
        VQ_TRY(vq_source_read_all_f32(src, &some, &more, err));
        float *grown = vq_mem_grow(all, have * d, (have + more) * d, sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "%zu queries", have + more);
        all = grown;
        memcpy(all + have * d, some, more * d * sizeof *some);
        have += more;
        vq_mem_free(some);
        some = NULL;
    }
    *rows = all;
    *n = have;
    all = NULL;
out:
    vq_mem_free(all);
    vq_mem_free(some);
    return rc;
}

/* ---- public ------------------------------------------------------------------------------- */

vq_status vq_source_open_file(vq_source **out, const char *path, int skip_bad, vq_error *err)
{
    if (out == NULL || path == NULL) return vq_fail(err, VQ_EINVAL, "vq_source_open_file: NULL");
    return vq_source_file(out, path, skip_bad != 0, err);
}

vq_status vq_source_open_array(vq_source **out, const void *rows, uint64_t n, uint32_t d,
                               uint32_t elem, vq_error *err)
{
    if (out == NULL) return vq_fail(err, VQ_EINVAL, "vq_source_open_array: NULL");
    return vq_source_array(out, rows, n, d, elem, err);
}

vq_status vq_source_open_fn(vq_source **out, vq_read_fn fn, void *ctx, uint32_t d, uint32_t elem,
                            vq_error *err)
{
    if (out == NULL) return vq_fail(err, VQ_EINVAL, "vq_source_open_fn: NULL");
    return vq_source_fn(out, fn, ctx, d, elem, err);
}

void vq_source_shape(const vq_source *src, uint64_t *n, uint32_t *d, uint32_t *elem)
{
    if (n != NULL) *n = src->n;
    if (d != NULL) *d = src->d;
    if (elem != NULL) *elem = src->elem;
}

vq_status vq_source_read_f32(vq_source *src, float *rows, size_t max, size_t *got, vq_error *err)
{
    if (src == NULL || got == NULL || (rows == NULL && max > 0))
        return vq_fail(err, VQ_EINVAL, "vq_source_read_f32: NULL");
    return vq_source_read_as_f32(src, rows, max, NULL, got, err);
}

uint64_t vq_source_skipped(const vq_source *src)
{
    return src->skipped;
}
