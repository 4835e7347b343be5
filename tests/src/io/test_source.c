/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <math.h>

#include "tests/src/io/io.h"

static const uint32_t elems[] = {VQ_F32, VQ_F16, VQ_I8, VQ_U8};

static float value_of(const uint8_t *rows, size_t i, uint32_t elem)
{
    uint16_t h;
    switch (elem) {
    case VQ_F32: return vq_lef32(rows + 4 * i);
    case VQ_F16: h = vq_le16(rows + 2 * i); return vq_f16_to_f32(h);
    case VQ_I8: return (float)(int8_t)rows[i];
    default: return (float)rows[i];
    }
}

Test(source, array_of_every_type)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 20);
    for (int round = 0; round < 200; round++) {
        uint32_t elem = elems[round % 4], d = 1 + (uint32_t)vq_rng_below(&r, 40), d_told, elem_told;
        size_t n = vq_rng_below(&r, 50), at = 0, got = 1;
        uint64_t n_told;
        uint8_t *rows = make_rows(&r, n, d, elem, 0);
        if (elem == VQ_F16 || elem == VQ_F32) { /* random bits may not be finite: use small ones */
            free(rows);
            rows = make_rows(&r, n, d, elem, 1);
        }
        vq_source *src = NULL;
        cr_assert_vq(vq_source_open_array(&src, rows, n, d, elem, &err));
        vq_source_shape(src, &n_told, &d_told, &elem_told);
        cr_assert(n_told == n && d_told == d && elem_told == elem);
        size_t max = 1 + vq_rng_below(&r, 20);
        float *block = guard_end(max * d * sizeof *block);
        for (; got > 0; at += got) {
            cr_assert_vq(vq_source_read_f32(src, block, max, &got, &err));
            cr_assert(got <= max && at + got <= n);
            for (size_t i = 0; i < got * d; i++)
                cr_assert(block[i] == value_of(rows, at * d + i, elem));
        }
        cr_assert(at == n);
        float *all;
        size_t count;
        cr_assert_vq(vq_source_rewind(src, &err));
        cr_assert_vq(vq_source_read_all_f32(src, &all, &count, &err));
        cr_assert(count == n);
        for (size_t i = 0; i < n * d; i++) cr_assert(all[i] == value_of(rows, i, elem));
        vq_mem_free(all);
        vq_source_close(src);
        guard_free(block);
        free(rows);
    }
}

Test(source, bad_arguments)
{
    vq_error err = {0};
    vq_source *src = NULL;
    float x = 1;
    expect_error(vq_source_open_array(&src, &x, 1, 0, VQ_F32, &err), VQ_EINVAL, &err,
                 "dimension 0");
    expect_error(vq_source_open_array(&src, &x, 1, 65537, VQ_F32, &err), VQ_EINVAL, &err, "65537");
    expect_error(vq_source_open_array(&src, &x, 1, 1, 9, &err), VQ_EINVAL, &err, "type 9");
    expect_error(vq_source_open_array(&src, &x, 1, 1, VQ_ELEM_NONE, &err), VQ_EINVAL, &err, "type");
    expect_error(vq_source_open_array(&src, NULL, 1, 1, VQ_F32, &err), VQ_EINVAL, &err, "NULL");
    expect_error(vq_source_open_array(&src, &x, UINT64_MAX / 2, 16, VQ_F32, &err), VQ_EINVAL, &err,
                 "memory");
    expect_error(vq_source_open_array(&src, &x, UINT64_MAX, 1, VQ_U8, &err), VQ_EINVAL, &err,
                 "memory");
    expect_error(vq_source_open_array(NULL, &x, 1, 1, VQ_F32, &err), VQ_EINVAL, &err, "NULL");
    expect_error(vq_source_open_fn(&src, NULL, NULL, 1, VQ_F32, &err), VQ_EINVAL, &err, "NULL");
    expect_error(vq_source_open_file(&src, NULL, 0, &err), VQ_EINVAL, &err, "NULL");
    expect_error(vq_source_open_file(&src, "/no/such.fbin", 0, &err), VQ_ENOENT, &err,
                 "/no/such.fbin");
    cr_assert(src == NULL);
    vq_source_close(NULL);
    cr_assert_vq(vq_source_open_array(&src, &x, 1, 1, VQ_F32, &err));
    size_t got;
    expect_error(vq_source_read_f32(src, NULL, 1, &got, &err), VQ_EINVAL, &err, "NULL");
    expect_error(vq_source_read_f32(src, &x, SIZE_MAX / 2, &got, &err), VQ_EINVAL, &err, "at once");
    cr_assert_vq(vq_source_read_f32(src, NULL, 0, &got, &err));
    cr_assert(got == 0);
    vq_source_close(src);
}

typedef struct teller {
    size_t n, at, fail_at;
    int lies;
} teller;

static int tell(void *ctx, int rewind, void *rows, size_t max, size_t *got)
{
    teller *t = ctx;
    if (rewind != 0) {
        t->at = 0;
        return t->fail_at == SIZE_MAX - 1 ? 5 : 0;
    }
    size_t n = t->n - t->at < max ? t->n - t->at : max;
    if (n > 2) n = 2; /* a source may give fewer than asked */
    for (size_t i = 0; i < n; i++, t->at++) {
        if (t->at == t->fail_at) return 3;
        for (size_t j = 0; j < 3; j++) ((float *)rows)[3 * i + j] = (float)(t->at * 3 + j);
    }
    *got = t->lies ? max + 1 : n;
    return 0;
}

Test(source, callback)
{
    vq_error err = {0};
    vq_source *src = NULL;
    teller t = {.n = 11, .fail_at = SIZE_MAX};
    cr_assert_vq(vq_source_open_fn(&src, tell, &t, 3, VQ_F32, &err));
    uint64_t n;
    vq_source_shape(src, &n, NULL, NULL);
    cr_assert(n == UINT64_MAX);
    for (int pass = 0; pass < 2; pass++) {
        float *all;
        size_t count;
        cr_assert_vq(vq_source_read_all_f32(src, &all, &count, &err));
        cr_assert(count == 11);
        for (size_t i = 0; i < 33; i++) cr_assert(all[i] == (float)i);
        vq_mem_free(all);
        cr_assert_vq(vq_source_rewind(src, &err));
    }
    float block[30];
    size_t got;
    t.fail_at = 4;
    cr_assert_vq(vq_source_read_f32(src, block, 10, &got, &err));
    cr_assert_vq(vq_source_read_f32(src, block, 10, &got, &err));
    expect_error(vq_source_read_f32(src, block, 10, &got, &err), VQ_EIO, &err, "callback|3|row 4");
    t.fail_at = SIZE_MAX - 1;
    expect_error(vq_source_rewind(src, &err), VQ_EIO, &err, "5|again");
    t.fail_at = SIZE_MAX;
    t.lies = 1;
    t.at = 0;
    expect_error(vq_source_read_f32(src, block, 9, &got, &err), VQ_EINVAL, &err, "10 rows|9");
    vq_source_close(src);
}

/* Every bad value in every place: refused with its row, or left out and counted. */
Test(source, bad_rows)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    vq_error err = {0};
    for (size_t at = 0; at < 30; at++) {
        for (int half = 0; half < 2; half++) {
            float rows[30];
            uint16_t halves[30];
            char want[80];
            for (size_t i = 0; i < 30; i++) rows[i] = (float)i;
            rows[at] = bad[at % 3];
            for (size_t i = 0; i < 30; i++) halves[i] = vq_f32_to_f16(rows[i]);
            vq_source *src = NULL;
            cr_assert_vq(vq_source_open_array(&src, half ? (void *)halves : (void *)rows, 10, 3,
                                              half ? VQ_F16 : VQ_F32, &err));
            float *all;
            size_t n, got;
            (void)snprintf(want, sizeof want, "array|row %zu |coordinate %zu;", at / 3, at % 3);
            expect_error(vq_source_read_all_f32(src, &all, &n, &err), VQ_ECORRUPT, &err, want);
            cr_assert_vq(vq_source_rewind(src, &err));
            src->skip_bad = true;
            for (uint64_t expected = 0, row_no[4]; expected < 10;) {
                float block[12];
                cr_assert_vq(vq_source_read_as_f32(src, block, 4, row_no, &got, &err));
                cr_assert(got > 0);
                for (size_t i = 0; i < got; i++, expected++) {
                    if (expected == at / 3) expected++;
                    cr_assert(row_no[i] == expected && block[3 * i] == (float)(3 * expected));
                }
                if (expected == 9 && at / 3 == 9) break; /* the last row was it */
            }
            cr_assert_vq(vq_source_read_as_f32(src, rows, 4, NULL, &got, &err));
            cr_assert(got == 0 && vq_source_skipped(src) == 1);
            cr_assert_vq(vq_source_rewind(src, &err));
            cr_assert(vq_source_skipped(src) == 0);
            vq_source_close(src);
        }
    }
}

Test(source, all_rows_bad)
{
    float rows[300];
    vq_error err = {0};
    vq_source *src = NULL;
    size_t n;
    float *all;
    for (size_t i = 0; i < 300; i++) rows[i] = NAN;
    cr_assert_vq(vq_source_open_array(&src, rows, 100, 3, VQ_F32, &err));
    src->skip_bad = true;
    cr_assert_vq(vq_source_read_all_f32(src, &all, &n, &err));
    cr_assert(n == 0 && vq_source_skipped(src) == 100);
    vq_mem_free(all);
    vq_source_close(src);
}

/* A pipe has no size and no name: fvecs and fbin are known by content, and can be read twice. */
Test(source, standard_input)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 21);
    char *dir = test_tmpdir();
    static const char *const names[] = {"x.fvecs", "x.fbin", "x.npy", "x.fbin.zst", "x.bvecs"};
    for (size_t i = 0; i < VQ_COUNT(names); i++) {
        for (uint32_t d = 7; d < 2000; d = d * 150) {
            char *path = test_path(dir, names[i]), command[512];
            vq_source *src = NULL;
            uint32_t elem = i == 4 ? VQ_U8 : VQ_F32;
            uint8_t *rows = make_rows(&r, 301, d, elem, 0);
            cr_assert_vq(vq_source_open_array(&src, rows, 301, d, elem, &err));
            cr_assert_vq(vq_convert(src, path, 0, NULL, &err));
            vq_source_close(src);
            (void)snprintf(command, sizeof command, "cat '%s'", path);
            FILE *f = popen(command, "r");
            cr_assert(f != NULL && dup2(fileno(f), STDIN_FILENO) == STDIN_FILENO);
            cr_assert_vq(vq_source_open_file(&src, "-", 0, &err));
            for (int pass = 0; pass < 3; pass++) {
                float *all;
                size_t n;
                cr_assert_vq(vq_source_read_all_f32(src, &all, &n, &err));
                cr_assert(n == 301);
                for (size_t j = 0; j < n * d; j++) cr_assert(all[j] == value_of(rows, j, elem));
                vq_mem_free(all);
                cr_assert_vq(vq_source_rewind(src, &err));
            }
            vq_source_close(src);
            (void)pclose(f);
            free(rows);
            free(path);
        }
    }
    test_rmdir(dir);
}

/* u8bin and i8bin look alike, and standard input has no name to tell them by. */
Test(source, standard_input_whose_format_is_told)
{
    vq_rng r;
    vq_error err = {0};
    vq_source *src = NULL;
    enum { N = 40, D = 16 };
    vq_rng_init(&r, test_seed(), 23);
    char *dir = test_tmpdir(), *path = test_path(dir, "x.u8bin");
    uint8_t *rows = make_rows(&r, N, D, VQ_U8, 0);
    cr_assert_vq(vq_source_open_array(&src, rows, N, D, VQ_U8, &err));
    cr_assert_vq(vq_convert(src, path, 0, NULL, &err));
    vq_source_close(src);
    int fd = open(path, O_RDONLY);
    cr_assert(fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    expect_error(vq_source_open_file(&src, "-", 0, &err), VQ_EINVAL, &err, "u8bin:-|i8bin:-");
    cr_assert(lseek(fd, 0, SEEK_SET) == 0);
    cr_assert_vq(vq_source_open_file(&src, "u8bin:-", 0, &err));
    cr_assert(src->elem == VQ_U8 && src->n == N && src->d == D);
    float *all;
    size_t n;
    cr_assert_vq(vq_source_read_all_f32(src, &all, &n, &err));
    cr_assert(n == N);
    for (size_t j = 0; j < n * D; j++) cr_assert(all[j] == value_of(rows, j, VQ_U8));
    vq_mem_free(all);
    vq_source_close(src);
    cr_assert(lseek(fd, 0, SEEK_SET) == 0);
    cr_assert_vq(vq_source_open_file(&src, "i8bin:-", 0, &err));
    cr_assert(src->elem == VQ_I8);
    vq_source_close(src);
    close(fd);
    expect_error(vq_source_open_file(&src, "x/i8bin:-", 0, &err), VQ_ENOENT, &err, "x/i8bin:-");
    free(rows);
    free(path);
    test_rmdir(dir);
}

Test(source, standard_input_that_is_nothing)
{
    vq_error err = {0};
    vq_source *src = NULL;
    int fd = open("/dev/null", O_RDONLY);
    cr_assert(fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    expect_error(vq_source_open_file(&src, "-", 0, &err), VQ_ECORRUPT, &err,
                 "standard input|empty");
    close(fd);
}

Test(source, out_of_memory)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 22);
    char *dir = test_tmpdir(), *path = test_path(dir, "x.fvecs.zst");
    uint8_t *rows = make_rows(&r, 700, 9, VQ_F32, 0);
    vq_source *src = NULL;
    cr_assert_vq(vq_source_open_array(&src, rows, 700, 9, VQ_F32, &err));
    cr_assert_vq(vq_convert(src, path, 0, NULL, &err));
    vq_source_close(src);
    uint64_t fail = 1;
    for (vq_status rc = VQ_ENOMEM; rc != VQ_OK; fail++) {
        float *all = NULL;
        size_t n = 0;
        src = NULL;
        vq_mem_fail_after(fail);
        rc = vq_source_open_file(&src, path, 0, &err);
        if (rc == VQ_OK) rc = vq_source_read_all_f32(src, &all, &n, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && all == NULL), "%s", err.text);
        cr_assert(rc != VQ_OK || n == 700);
        vq_source_close(src);
        vq_mem_free(all);
    }
    cr_assert(fail > 6);
    free(rows);
    free(path);
    test_rmdir(dir);
}
