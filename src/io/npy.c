/* SPDX-License-Identifier: Apache-2.0 */
/* npy.c -- NumPy arrays, versions 1 to 3: magic, version, length, a Python dictionary in text
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (n, d), }
 * and the numbers.  Two dimensions, C order, little-endian f4, f2, f8, i1, u1. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"
#include "src/io/format.h"
#include "src/io/rows.h"

#define MAGIC          "\x93NUMPY"
#define MAGIC_BYTES    6u
#define DICTIONARY_MAX 65536u
#define NDIM_MAX       8u

typedef struct npy_header {
    char descr[16];
    bool fortran, has_descr, has_order, has_shape;
    size_t ndim;
    uint64_t shape[NDIM_MAX];
} npy_header;

/* ---- the dictionary ----------------------------------------------------------------------- */

static void skip_spaces(const char **p)
{
    while (**p == ' ' || **p == '\n' || **p == '\t' || **p == '\r') (*p)++;
}

static bool take_char(const char **p, char c)
{
    skip_spaces(p);
    if (**p != c) return false;
    (*p)++;
    return true;
}

static bool take_word(const char **p, const char *word)
{
    size_t len = strlen(word);
    skip_spaces(p);
    if (strncmp(*p, word, len) != 0) return false;
    *p += len;
    return true;
}

static bool take_string(const char **p, char *out, size_t cap)
{
    skip_spaces(p);
    char quote = **p;
    if (quote != '\'' && quote != '"') return false;
    const char *end = strchr(*p + 1, quote);
    if (end == NULL || (size_t)(end - *p - 1) >= cap) return false;
    size_t len = (size_t)(end - *p - 1);
    memcpy(out, *p + 1, len);
    out[len] = '\0';
    *p = end + 1;
    return true;
}

static bool take_number(const char **p, uint64_t *out)
{
    uint64_t x = 0;
    skip_spaces(p);
    if (**p < '0' || **p > '9') return false;
    for (; **p >= '0' && **p <= '9'; (*p)++)
        if (__builtin_mul_overflow(x, 10u, &x) ||
            __builtin_add_overflow(x, (uint64_t)(**p - '0'), &x))
            return false;
    if (**p == 'L') (*p)++; /* Python 2 */
    *out = x;
    return true;
}

static bool take_shape(const char **p, npy_header *h)
{
    if (!take_char(p, '(')) return false;
    while (!take_char(p, ')')) {
        if (h->ndim == NDIM_MAX || !take_number(p, &h->shape[h->ndim])) return false;
        h->ndim++;
        if (take_char(p, ',')) continue;
        if (!take_char(p, ')')) return false;
        break;
    }
    return true;
}

static bool take_entry(const char **p, npy_header *h)
{
    char key[16];
    if (!take_string(p, key, sizeof key) || !take_char(p, ':')) return false;
    if (strcmp(key, "descr") == 0) {
        skip_spaces(p);
        h->has_descr = true;
        if (**p != '[') return take_string(p, h->descr, sizeof h->descr);
        memcpy(h->descr, "struct", 7);
        const char *end = strrchr(*p, ']');
        if (end != NULL) *p = end + 1;
        return end != NULL;
    }
    if (strcmp(key, "fortran_order") == 0) {
        h->has_order = true;
        h->fortran = take_word(p, "True");
        return h->fortran || take_word(p, "False");
    }
    if (strcmp(key, "shape") == 0) {
        bool again = h->has_shape;
        h->has_shape = true;
        return !again && take_shape(p, h);
    }
    return false;
}

static bool parse_dictionary(const char *text, npy_header *h)
{
    const char *p = text;
    memset(h, 0, sizeof *h);
    if (!take_char(&p, '{')) return false;
    while (!take_char(&p, '}')) {
        if (!take_entry(&p, h)) return false;
        if (take_char(&p, ',')) continue;
        if (!take_char(&p, '}')) return false;
        break;
    }
    skip_spaces(&p);
    return *p == '\0' && h->has_descr && h->has_order && h->has_shape;
}

/* ---- what we take of it ------------------------------------------------------------------- */

static vq_status choose_type(vq_source *src, const char *descr, bool *f64, vq_error *err)
{
    static const struct {
        const char *descr;
        uint32_t elem;
    } types[] = {{"<f4", VQ_F32}, {"<f2", VQ_F16}, {"<f8", VQ_F32}, {"|i1", VQ_I8},
                 {"|u1", VQ_U8},  {"<i1", VQ_I8},  {"<u1", VQ_U8}};
    for (size_t i = 0; i < VQ_COUNT(types); i++) {
        if (strcmp(descr, types[i].descr) != 0) continue;
        src->elem = types[i].elem;
        *f64 = strcmp(descr, "<f8") == 0;
        return VQ_OK;
    }
    if (descr[0] == '>')
        return vq_fail(err, VQ_EUNSUPPORTED,
                       "%s: numbers are big-endian ('%s'); save x.astype('<f4')", src->name, descr);
    return vq_fail(err, VQ_EUNSUPPORTED,
                   "%s: numbers are of type '%s', expected float32, float16, float64, int8 or "
                   "uint8; save x.astype('float32')",
                   src->name, descr);
}

static vq_status check_shape(vq_source *src, const npy_header *h, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(h->ndim != 1, VQ_EUNSUPPORTED,
               "%s: an array of one dimension (%" PRIu64 "), expected two (n, d); save "
               "x.reshape(1, -1) if it is one vector",
               src->name, h->shape[0]);
    VQ_REQUIRE(h->ndim == 2, VQ_EUNSUPPORTED,
               "%s: an array of %zu dimensions, expected two (n, d); save x.reshape(-1, d)",
               src->name, h->ndim);
    VQ_REQUIRE(!h->fortran, VQ_EUNSUPPORTED,
               "%s: the array is in Fortran order; save numpy.ascontiguousarray(x)", src->name);
    VQ_REQUIRE(h->shape[0] < VQ_N_UNKNOWN, VQ_ECORRUPT, "%s: %" PRIu64 " rows", src->name,
               h->shape[0]);
    VQ_TRY(vq_rows_check_dim(src, h->shape[1], err));
    src->n = h->shape[0];
    src->d = (uint32_t)h->shape[1];
out:
    return rc;
}

static vq_status open_npy(vq_source *src, vq_stream *stream, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *text = NULL;
    uint8_t head[12];
    VQ_TRY(vq_rows_read_header(src, stream, head, 10, err));
    VQ_REQUIRE(memcmp(head, MAGIC, MAGIC_BYTES) == 0, VQ_ECORRUPT, "%s: not an npy file",
               src->name);
    VQ_REQUIRE(head[6] >= 1 && head[6] <= 3, VQ_EUNSUPPORTED, "%s: npy version %u, expected 1 to 3",
               src->name, head[6]);
    uint32_t fixed = head[6] == 1 ? 10 : 12;
    if (fixed == 12) VQ_TRY(vq_rows_read_header(src, stream, head + 10, 2, err));
    uint32_t len = fixed == 12 ? vq_le32(head + 8) : vq_le16(head + 8);
    VQ_REQUIRE(len <= DICTIONARY_MAX, VQ_ECORRUPT, "%s: an npy header of %" PRIu32 " bytes",
               src->name, len);
    text = vq_mem_alloc((size_t)len + 1, 1);
    VQ_REQUIRE(text != NULL, VQ_ENOMEM, "%s: out of memory", src->name);
    VQ_TRY(vq_rows_read_header(src, stream, text, len, err));
    text[len] = '\0';
    npy_header h;
    VQ_REQUIRE(parse_dictionary(text, &h), VQ_ECORRUPT,
               "%s: the npy header is not understood: \"%.60s\"", src->name, text);
    vq_rows_layout layout = {.header_bytes = fixed + (uint64_t)len};
    VQ_TRY(choose_type(src, h.descr, &layout.f64, err));
    VQ_TRY(check_shape(src, &h, err));
    VQ_TRY(vq_rows_open(src, stream, &layout, err));
out:
    vq_mem_free(text);
    return rc;
}

static int sniff_npy(const uint8_t *bytes, size_t len, uint64_t size, const char *ending)
{
    (void)size, (void)ending;
    return len >= MAGIC_BYTES && memcmp(bytes, MAGIC, MAGIC_BYTES) == 0 ? 100 : 0;
}

/* Version 1.0, padded by spaces so that the numbers start on a multiple of 64. */
static size_t header(uint8_t *bytes, size_t cap, uint64_t n, uint32_t d, uint32_t elem)
{
    const char *descr = elem == VQ_F32   ? "<f4"
                        : elem == VQ_F16 ? "<f2"
                        : elem == VQ_I8  ? "|i1"
                                         : "|u1";
    char text[118];
    int len =
        snprintf(text, sizeof text,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ", %" PRIu32 "), }",
                 descr, n, d);
    if (cap < 128 || len <= 0 || (size_t)len >= sizeof text) return SIZE_MAX;
    memcpy(bytes, MAGIC "\x01\x00", 8);
    bytes[8] = sizeof text;
    bytes[9] = 0;
    memset(bytes + 10, ' ', sizeof text);
    memcpy(bytes + 10, text, (size_t)len);
    bytes[127] = '\n';
    return 128;
}

const vq_format vq_format_npy = {
    "npy", 1u << VQ_F32 | 1u << VQ_F16 | 1u << VQ_I8 | 1u << VQ_U8, sniff_npy, open_npy, header, 0};
