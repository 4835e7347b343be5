/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <math.h>

#include "tests/src/io/io.h"

/* An npy of a version with this dictionary and body; the bytes are freed by the caller. */
static uint8_t *make_npy(unsigned version, const char *dictionary, const void *body,
                         size_t body_len, size_t *len)
{
    size_t text = strlen(dictionary), at = version == 1 ? 10 : 12;
    uint8_t *file = malloc(at + text + body_len + 1);
    cr_assert(file != NULL);
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (uint8_t)version;
    file[7] = 0;
    if (version == 1)
        file[8] = (uint8_t)text, file[9] = (uint8_t)(text >> 8);
    else
        vq_put_le32(file + 8, (uint32_t)text);
    memcpy(file + at, dictionary, text);
    if (body_len > 0) memcpy(file + at + text, body, body_len);
    *len = at + text + body_len;
    return file;
}

static vq_status open_npy(vq_source **out, unsigned version, const char *dictionary,
                          const void *body, size_t body_len, vq_error *err)
{
    size_t len;
    char path[64];
    uint8_t *file = make_npy(version, dictionary, body, body_len, &len);
    int fd = memory_file(path, file, len);
    *out = NULL;
    vq_status rc = vq_source_open_file(out, path, 0, err);
    close(fd);
    free(file);
    return rc;
}

Test(npy, ways_to_write_a_dictionary)
{
    static const char *const texts[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{\"shape\":(2,3,),\"fortran_order\":False,\"descr\":\"<f4\"}\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }\n",
        "  { 'shape' : ( 2 , 3 ) , 'descr' : '<f4' , 'fortran_order' : False , }  \n",
    };
    static const float body[6] = {1, 2, 3, 4, 5, 6};
    vq_error err = {0};
    for (unsigned version = 1; version <= 3; version++)
        for (size_t i = 0; i < VQ_COUNT(texts); i++) {
            vq_source *src;
            float *all;
            size_t n;
            cr_assert_vq(open_npy(&src, version, texts[i], body, sizeof body, &err));
            cr_assert(src->n == 2 && src->d == 3 && src->elem == VQ_F32);
            cr_assert_vq(vq_source_read_all_f32(src, &all, &n, &err));
            cr_assert(n == 2 && memcmp(all, body, sizeof body) == 0);
            vq_mem_free(all);
            vq_source_close(src);
        }
}

Test(npy, types)
{
    static const struct {
        const char *descr;
        size_t size;
        uint32_t elem;
    } types[] = {{"<f4", 4, VQ_F32},
                 {"<f2", 2, VQ_F16},
                 {"<f8", 8, VQ_F32},
                 {"|i1", 1, VQ_I8},
                 {"|u1", 1, VQ_U8}};
    vq_error err = {0};
    for (size_t i = 0; i < VQ_COUNT(types); i++) {
        char text[100];
        uint8_t body[12 * 8] = {0};
        vq_source *src;
        (void)snprintf(text, sizeof text,
                       "{'descr': '%s', 'fortran_order': False, 'shape': (3, 4), }\n",
                       types[i].descr);
        cr_assert_vq(open_npy(&src, 1, text, body, 12 * types[i].size, &err));
        cr_assert(src->n == 3 && src->d == 4 && src->elem == types[i].elem);
        vq_source_close(src);
        expect_error(open_npy(&src, 1, text, body, 12 * types[i].size - 1, &err), VQ_ECORRUPT, &err,
                     "cut short");
    }
}

/* f64 arrives as f32; what f32 cannot hold is a bad row. */
Test(npy, doubles)
{
    double body[8] = {1.5, -2.25, 1e-60, 3.4e38, 0, 1, 1e39, 2};
    static const char text[] = "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 2), }\n";
    vq_error err = {0};
    vq_source *src;
    float rows[8];
    size_t got;
    cr_assert_vq(open_npy(&src, 1, text, body, sizeof body, &err));
    expect_error(vq_source_read_f32(src, rows, 4, &got, &err), VQ_ECORRUPT, &err,
                 "row 3 |coordinate 0;");
    cr_assert_vq(vq_source_rewind(src, &err));
    src->skip_bad = true;
    cr_assert_vq(vq_source_read_f32(src, rows, 4, &got, &err));
    cr_assert(got == 3 && rows[0] == 1.5f && rows[1] == -2.25f && rows[2] == 0 &&
              rows[3] == 3.4e38f);
    vq_source_close(src);
}

Test(npy, refused_with_advice)
{
    static const struct {
        const char *text;
        vq_status rc;
        const char *want;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", VQ_EUNSUPPORTED,
         "Fortran|ascontiguousarray"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", VQ_EUNSUPPORTED,
         "big-endian|astype"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", VQ_EUNSUPPORTED,
         "<i4|float32"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", VQ_EUNSUPPORTED, "|float32"},
        {"{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (2, 3), }",
         VQ_EUNSUPPORTED, "struct"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", VQ_EUNSUPPORTED,
         "one dimension|reshape(1, -1)"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", VQ_EUNSUPPORTED,
         "0 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }", VQ_EUNSUPPORTED,
         "3 dimensions|reshape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }", VQ_ECORRUPT, "dimension 0"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 65537), }", VQ_ECORRUPT, "65537"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
         VQ_ECORRUPT, "announces"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 1), }",
         VQ_ECORRUPT, "rows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616, 1), }",
         VQ_ECORRUPT, "not understood"},
        {"{'descr': '<f4', 'fortran_order': False, }", VQ_ECORRUPT, "not understood"},
        {"{'descr': '<f4', 'shape': (2, 3), }", VQ_ECORRUPT, "not understood"},
        {"{'fortran_order': False, 'shape': (2, 3), }", VQ_ECORRUPT, "not understood"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }", VQ_ECORRUPT,
         "not understood"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }", VQ_ECORRUPT,
         "not understood"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3), }", VQ_ECORRUPT,
         "not understood"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", VQ_ECORRUPT,
         "not understood"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x", VQ_ECORRUPT,
         "not understood"},
        {"{'descr': '<f4", VQ_ECORRUPT, "not understood"},
        {"{'descr': [", VQ_ECORRUPT, "not understood"},
        {"", VQ_ECORRUPT, "not understood"},
    };
    static const float body[6] = {0};
    vq_error err = {0};
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        vq_source *src;
        expect_error(open_npy(&src, 1 + (unsigned)i % 3, cases[i].text, body, sizeof body, &err),
                     cases[i].rc, &err, cases[i].want);
        cr_assert(src == NULL);
    }
    vq_source *src;
    expect_error(open_npy(&src, 4, cases[0].text, body, sizeof body, &err), VQ_EUNSUPPORTED, &err,
                 "version 4");
}

Test(npy, header_too_long)
{
    vq_error err = {0};
    char path[64];
    uint8_t file[64] = "\x93NUMPY\x02\x00";
    uint64_t n;
    vq_put_le32(file + 8, 0xffffffffu);
    int fd = memory_file(path, file, sizeof file);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "header of 4294967295");
    close(fd);
}

Test(npy, cut_and_flipped)
{
    static const char text[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    float body[6] = {1, 2, 3, 4, 5, 6};
    vq_error err = {0};
    vq_rng r;
    size_t len;
    uint64_t n;
    vq_rng_init(&r, test_seed(), 40);
    uint8_t *file = make_npy(2, text, body, sizeof body, &len);
    for (size_t cut = 0; cut <= len; cut++) {
        char path[64];
        int fd = memory_file(path, file, cut);
        vq_status rc = read_through(path, 0, &n, &err);
        cr_assert((rc == VQ_OK) == (cut == len), "cut at %zu", cut);
        close(fd);
    }
    for (int i = 0; i < 5000; i++) {
        char path[64];
        size_t at = vq_rng_below(&r, len), other = vq_rng_below(&r, len);
        uint8_t old = file[at], old_other = file[other];
        file[at] = (uint8_t)vq_rng_u64(&r);
        if (i % 2 == 0) file[other] = (uint8_t)("0123456789(){}',:"[vq_rng_below(&r, 17)]);
        int fd = memory_file(path, file, len);
        (void)read_through(path, 1, &n, &err);
        close(fd);
        file[other] = old_other;
        file[at] = old;
    }
    free(file);
}

/* What we write is what numpy.save would: aligned to 64, and readable whatever n. */
Test(npy, written_header)
{
    uint8_t bytes[128];
    for (uint64_t n = 1; n < UINT64_MAX / 20; n *= 19) {
        size_t len = vq_format_npy.header(bytes, sizeof bytes, n, 65536, VQ_F16);
        cr_assert(len == 128 && bytes[127] == '\n' &&
                  memcmp(bytes, "\x93NUMPY\x01\x00\x76\x00{", 11) == 0);
    }
    cr_assert(vq_format_npy.header(bytes, 127, 1, 1, VQ_F32) == SIZE_MAX);
    cr_assert(vq_format_fbin.header(bytes, sizeof bytes, UINT64_C(1) << 32, 1, VQ_F32) == SIZE_MAX);
}
