/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <sys/stat.h>

#include "tests/src/io/io.h"

static vq_source *open_array(const void *rows, size_t n, uint32_t d, uint32_t elem)
{
    vq_error err = {0};
    vq_source *src = NULL;
    cr_assert_vq(vq_source_open_array(&src, rows, n, d, elem, &err));
    return src;
}

static float *read_all(const char *path, size_t *n, uint32_t *elem)
{
    vq_error err = {0};
    vq_source *src = NULL;
    float *all = NULL;
    cr_assert_vq(vq_source_open_file(&src, path, 0, &err));
    vq_source_shape(src, NULL, NULL, elem);
    cr_assert_vq(vq_source_read_all_f32(src, &all, n, &err));
    vq_source_close(src);
    return all;
}

static void expect_files(const char *dir, const char *want)
{
    test_run r = test_shell("ls '%s' | tr '\\n' ' '", dir);
    cr_assert_str_eq(r.out, want);
    test_run_fini(&r);
}

/* Every type into every format, plain and packed: small whole numbers survive everywhere. */
Test(convert, every_type_to_every_format)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 80);
    char *dir = test_tmpdir();
    for (uint32_t elem = VQ_F32; elem <= VQ_U8; elem++)
        for (size_t i = 0; i < vq_format_count; i++)
            for (int zst = 0; zst < 2; zst++) {
                size_t n = 1 + vq_rng_below(&r, 300), got;
                uint32_t d = 1 + (uint32_t)vq_rng_below(&r, 70), back_elem;
                uint64_t written = 0;
                char name[40];
                (void)snprintf(name, sizeof name, "x.%s%s", vq_formats[i]->name, zst ? ".zst" : "");
                char *path = test_path(dir, name);
                uint8_t *rows = make_rows(&r, n, d, elem, 1);
                vq_source *src = open_array(rows, n, d, elem);
                cr_assert_vq(vq_convert(src, path, 0, &written, &err));
                cr_assert(written == n);
                float *all, *back = read_all(path, &got, &back_elem);
                cr_assert(got == n);
                cr_assert((vq_formats[i]->elems >> back_elem & 1u) != 0);
                if ((vq_formats[i]->elems >> elem & 1u) != 0) cr_assert(back_elem == elem);
                cr_assert_vq(vq_source_rewind(src, &err));
                cr_assert_vq(vq_source_read_all_f32(src, &all, &got, &err));
                cr_assert(memcmp(all, back, n * d * sizeof *all) == 0);
                vq_mem_free(all);
                vq_mem_free(back);
                vq_source_close(src);
                free(rows);
                free(path);
            }
    test_rmdir(dir);
}

Test(convert, rounding_and_scale)
{
    static const float rows[] = {0.5f, 1.5f, -0.4f, 2.5f, 254.6f, 100.49f};
    static const float rounded[] = {0, 2, 0, 2, 255, 100};
    static const float scaled[] = {0, 1, 0, 1, 127, 50};
    vq_error err = {0};
    size_t n;
    uint32_t elem;
    char *dir = test_tmpdir(), *u8 = test_path(dir, "x.u8bin"), *i8 = test_path(dir, "x.i8bin");
    vq_source *src = open_array(rows, 2, 3, VQ_F32);
    cr_assert_vq(vq_convert(src, u8, 0, NULL, &err));
    float *back = read_all(u8, &n, &elem);
    for (size_t i = 0; i < 6; i++) cr_assert(back[i] == rounded[i], "%zu: %f", i, (double)back[i]);
    vq_mem_free(back);
    expect_error(vq_convert(src, i8, 0, NULL, &err), VQ_EINVAL, &err,
                 "row 1 |coordinate 1|254.6|i8|scale");
    cr_assert_vq(vq_convert(src, i8, 0.5f, NULL, &err));
    back = read_all(i8, &n, &elem);
    for (size_t i = 0; i < 6; i++) cr_assert(back[i] == scaled[i], "%zu: %f", i, (double)back[i]);
    vq_mem_free(back);
    expect_error(vq_convert(src, i8, NAN, NULL, &err), VQ_EINVAL, &err, "scale");
    expect_error(vq_convert(src, u8, -1, NULL, &err), VQ_EINVAL, &err, "row 0 |u8");
    vq_source_close(src);
    expect_files(dir, "x.i8bin x.u8bin ");
    free(u8);
    free(i8);
    test_rmdir(dir);
}

Test(convert, scale_past_the_range)
{
    static const float rows[] = {1e30f};
    static const uint16_t halves[] = {0x7000};
    vq_error err = {0};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.npy");
    vq_source *src = open_array(rows, 1, 1, VQ_F32), *half = open_array(halves, 1, 1, VQ_F16);
    expect_error(vq_convert(src, path, 1e30f, NULL, &err), VQ_EINVAL, &err, "row 0 |f32");
    expect_error(vq_convert(half, path, 100, NULL, &err), VQ_EINVAL, &err, "row 0 |f16");
    cr_assert_vq(vq_convert(half, path, 2, NULL, &err));
    vq_source_close(src);
    vq_source_close(half);
    free(path);
    test_rmdir(dir);
}

typedef struct rows_fn {
    size_t at;
} rows_fn;

static int give(void *ctx, int rewind, void *rows, size_t max, size_t *got)
{
    rows_fn *f = ctx;
    if (rewind != 0) {
        f->at = 0;
        return 0;
    }
    size_t n = 0;
    for (; n < max && f->at < 1000; n++, f->at++)
        for (size_t j = 0; j < 4; j++)
            ((float *)rows)[4 * n + j] = f->at % 10 == 3 ? NAN : (float)(f->at + j);
    *got = n;
    return 0;
}

/* The header must tell how many rows follow, though the source does not know it, or leaves some
 * out. */
Test(convert, count_is_not_known)
{
    static const char *const names[] = {"x.fbin", "x.npy", "x.fvecs.zst"};
    vq_error err = {0};
    char *dir = test_tmpdir();
    for (size_t i = 0; i < VQ_COUNT(names); i++) {
        rows_fn f = {0};
        vq_source *src = NULL;
        char *path = test_path(dir, names[i]);
        uint64_t written;
        size_t n;
        uint32_t elem;
        cr_assert_vq(vq_source_open_fn(&src, give, &f, 4, VQ_F32, &err));
        expect_error(vq_convert(src, path, 0, NULL, &err), VQ_ECORRUPT, &err, "callback|row 3 ");
        src->skip_bad = true;
        cr_assert_vq(vq_convert(src, path, 0, &written, &err));
        cr_assert(written == 900 && vq_source_skipped(src) == 100);
        float *back = read_all(path, &n, &elem);
        cr_assert(n == 900 && back[0] == 0 && back[12] == 4 && back[4 * 899] == 999);
        vq_mem_free(back);
        vq_source_close(src);
        free(path);
    }
    expect_files(dir, "x.fbin x.fvecs.zst x.npy ");
    test_rmdir(dir);
}

Test(convert, refused)
{
    static const float rows[4] = {1, 2, 3, 4};
    vq_error err = {0};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.fbin"), *name = test_path(dir, "x.bin");
    vq_source *src = open_array(rows, 2, 2, VQ_F32), *none = open_array(rows, 0, 2, VQ_F32);
    expect_error(vq_convert(src, name, 0, NULL, &err), VQ_EINVAL, &err, "x.bin|.fvecs|.npy|.zst");
    expect_error(vq_convert(src, "-", 0, NULL, &err), VQ_EINVAL, &err, ".fvecs");
    expect_error(vq_convert(src, "fbin:-", 0, NULL, &err), VQ_EINVAL, &err, ".fvecs");
    expect_error(vq_convert(src, "/no/folder/x.fbin", 0, NULL, &err), VQ_ENOENT, &err,
                 "/no/folder/x.fbin");
    expect_error(vq_convert(none, path, 0, NULL, &err), VQ_ECORRUPT, &err, "no rows");
    expect_files(dir, "");
    vq_source_close(none);
    cr_assert(mkdir(path, 0777) == 0); /* the renaming fails */
    expect_error(vq_convert(src, path, 0, NULL, &err), VQ_EIO, &err, "x.fbin");
    expect_files(dir, "x.fbin ");
    vq_source_close(src);
    free(path);
    free(name);
    test_rmdir(dir);
}

/* A file may be converted onto itself, and a full disk leaves the old one. */
Test(convert, in_place)
{
    static const float rows[4] = {1, 2, 3, 4};
    vq_error err = {0};
    vq_source *src = open_array(rows, 2, 2, VQ_F32);
    char *dir = test_tmpdir(), *path = test_path(dir, "x.fbin");
    cr_assert_vq(vq_convert(src, path, 0, NULL, &err));
    vq_source_close(src);
    cr_assert_vq(vq_source_open_file(&src, path, 0, &err));
    cr_assert_vq(vq_convert(src, path, 2, NULL, &err));
    vq_source_close(src);
    size_t n;
    uint32_t elem;
    float *back = read_all(path, &n, &elem);
    cr_assert(n == 2 && back[0] == 2 && back[3] == 8);
    vq_mem_free(back);
    expect_files(dir, "x.fbin ");
    free(path);
    test_rmdir(dir);
}

Test(convert, out_of_memory)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 81);
    char *dir = test_tmpdir(), *in = test_path(dir, "in.npy"), *to = test_path(dir, "to.fvecs.zst");
    uint8_t *rows = make_rows(&r, 50, 9, VQ_F16, 1);
    vq_source *src = open_array(rows, 50, 9, VQ_F16);
    cr_assert_vq(vq_convert(src, in, 0, NULL, &err));
    vq_source_close(src);
    uint64_t fail = 1;
    for (vq_status rc = VQ_ENOMEM; rc != VQ_OK; fail++) {
        src = NULL;
        vq_mem_fail_after(fail);
        rc = vq_source_open_file(&src, in, 0, &err);
        if (rc == VQ_OK) rc = vq_convert(src, to, 0, NULL, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%s", err.text);
        vq_source_close(src);
        expect_files(dir, rc == VQ_OK ? "in.npy to.fvecs.zst " : "in.npy ");
    }
    cr_assert(fail > 10);
    free(rows);
    free(in);
    free(to);
    test_rmdir(dir);
}
