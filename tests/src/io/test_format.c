/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/src/io/io.h"

/* The file of n x d rows in a format, as bytes to free; *len. */
static uint8_t *make_file(const vq_format *f, const uint8_t *rows, size_t n, uint32_t d,
                          uint32_t elem, size_t *len)
{
    size_t row_bytes = d * vq_elem_size(elem);
    uint8_t *file = malloc(128 + n * (row_bytes + 4));
    cr_assert(file != NULL);
    size_t at = f->header(file, 128, n, d, elem);
    cr_assert(at <= 128);
    for (size_t i = 0; i < n; i++) {
        if (f->row_prefix == 4) vq_put_le32(file + at, d);
        at += f->row_prefix;
        memcpy(file + at, rows + i * row_bytes, row_bytes);
        at += row_bytes;
    }
    *len = at;
    return file;
}

static uint32_t first_elem(const vq_format *f)
{
    uint32_t elem = VQ_F32;
    while ((f->elems >> elem & 1u) == 0) elem++;
    return elem;
}

/* Every format and type reads back what was written, whatever the file is called; where the content
 * does not tell (u8bin, i8bin), the name does. */
Test(format, round_trip)
{
    vq_rng r;
    vq_error err = {0};
    size_t alike = 0;
    vq_rng_init(&r, test_seed(), 30);
    char *dir = test_tmpdir();
    for (size_t i = 0; i < vq_format_count; i++) {
        const vq_format *f = vq_formats[i];
        bool needs_name = strcmp(f->name, "u8bin") == 0 || strcmp(f->name, "i8bin") == 0;
        for (uint32_t elem = VQ_F32; elem <= VQ_U8; elem++) {
            if ((f->elems >> elem & 1u) == 0) continue;
            for (int round = 0; round < 40; round++) {
                uint32_t d = 1 + (uint32_t)vq_rng_below(&r, round % 4 == 0 ? 3000 : 60), d_told,
                         e_told;
                size_t n = 1 + vq_rng_below(&r, 40), len, count;
                uint64_t n_told;
                char name[40];
                (void)snprintf(name, sizeof name, "x.%s",
                               round % 2 == 0 || needs_name ? f->name : "dat");
                char *path = test_path(dir, name);
                uint8_t *rows = make_rows(&r, n, d, elem, elem == VQ_F16);
                uint8_t *file = make_file(f, rows, n, d, elem, &len), *back = malloc(n * d * 4 + 1);
                test_write(path, file, len);
                vq_source *src = NULL;
                vq_status rc = vq_source_open_file(&src, path, 0, &err);
                if (rc == VQ_EINVAL && round % 2 != 0 && strstr(err.text, "look alike") != NULL) {
                    alike++; /* bytes that are sound as either format */
                    free(path), free(rows), free(file), free(back);
                    continue;
                }
                cr_assert_vq(rc);
                vq_source_shape(src, &n_told, &d_told, &e_told);
                cr_assert(n_told == n && d_told == d && e_told == elem, "%s: %zu x %u", f->name, n,
                          d);
                cr_assert_str_eq(src->format, f->name);
                for (int pass = 0; pass < 2; pass++) {
                    cr_assert_vq(vq_source_read(src, back, n, NULL, &count, &err));
                    cr_assert(count == n && memcmp(back, rows, n * d * vq_elem_size(elem)) == 0);
                    cr_assert_vq(vq_source_read(src, back, n, NULL, &count, &err));
                    cr_assert(count == 0);
                    cr_assert_vq(vq_source_rewind(src, &err));
                }
                vq_source_close(src);
                free(back);
                free(file);
                free(rows);
                free(path);
            }
        }
    }
    cr_assert(alike < 5, "%zu", alike);
    test_rmdir(dir);
}

/* Content outweighs a wrong name. */
Test(format, wrong_name)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 31);
    char *dir = test_tmpdir();
    for (size_t i = 0; i < vq_format_count; i++)
        for (size_t j = 0; j < vq_format_count; j++) {
            const vq_format *f = vq_formats[i], *named = vq_formats[j];
            uint32_t elem = first_elem(f);
            size_t len;
            char name[40];
            (void)snprintf(name, sizeof name, "x.%s", named->name);
            char *path = test_path(dir, name);
            uint8_t *rows = make_rows(&r, 20, 24, elem, 0),
                    *file = make_file(f, rows, 20, 24, elem, &len);
            test_write(path, file, len);
            vq_source *src = NULL;
            bool bytes = strstr(f->name, "8bin") != NULL;
            vq_status rc = vq_source_open_file(&src, path, 0, &err);
            if (bytes && strstr(named->name, "8bin") == NULL) {
                expect_error(rc, VQ_EINVAL, &err, "u8bin|i8bin|look alike");
            } else {
                cr_assert(rc == VQ_OK, "%s", err.text);
                cr_assert_str_eq(src->format, bytes ? named->name : f->name);
            }
            vq_source_close(src);
            free(rows);
            free(file);
            free(path);
        }
    test_rmdir(dir);
}

/* Cut anywhere, or with bytes too many: always an error, plain and packed. */
Test(format, truncated_at_every_length)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 32);
    char *dir = test_tmpdir();
    for (size_t i = 0; i < vq_format_count; i++) {
        const vq_format *f = vq_formats[i];
        uint32_t elem = first_elem(f);
        size_t len, n = 5;
        uint64_t count;
        char name[40];
        (void)snprintf(name, sizeof name, "x.%s", f->name);
        char *path = test_path(dir, name);
        uint8_t *rows = make_rows(&r, n, 6, elem, 0), *file = make_file(f, rows, n, 6, elem, &len);
        size_t row_bytes = f->row_prefix + 6 * vq_elem_size(elem);
        for (size_t cut = 0; cut <= len + 3; cut++) {
            file = realloc(file, len + 4);
            test_write(path, file, cut);
            err.text[0] = '\0';
            vq_status rc = read_through(path, 0, &count, &err);
            /* fvecs cut between two rows is a shorter fvecs */
            bool whole = cut == len || (f->row_prefix > 0 && cut > 0 && cut % row_bytes == 0);
            cr_assert((rc == VQ_OK) == whole, "%s cut at %zu of %zu: %d", f->name, cut, len,
                      (int)rc);
            if (strstr(err.text, "look alike") != NULL) continue; /* an fbin cut to a quarter */
            if (!whole)
                cr_assert(rc == VQ_ECORRUPT && strstr(err.text, path) != NULL, "%s", err.text);
        }
        free(rows);
        free(file);
        free(path);
    }
    test_rmdir(dir);
}

Test(format, truncation_tells_the_sizes)
{
    vq_error err = {0};
    uint64_t n;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.fbin");
    uint8_t file[8 + 100 * 4 * 4 + 5] = {0};
    vq_put_le32(file, 100);
    vq_put_le32(file + 4, 4);
    test_write(path, file, 1000);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err,
                 "cut short|100 rows|1608|1000");
    test_write(path, file, 1608 + 5);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "1608|1613|5 too many");
    test_write(path, file, 5);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "header|5 of 8");
    free(path);
    test_rmdir(dir);
}

/* Without a size to hold a header against (a .zst that does not tell), reading finds it. */
Test(format, packed_without_size)
{
    vq_rng r;
    vq_error err = {0};
    uint64_t n;
    vq_rng_init(&r, test_seed(), 33);
    char *dir = test_tmpdir();
    for (size_t i = 0; i < vq_format_count; i++) {
        const vq_format *f = vq_formats[i];
        uint32_t elem = first_elem(f);
        size_t len;
        char name[40];
        (void)snprintf(name, sizeof name, "x.%s.zst", f->name);
        char *path = test_path(dir, name), *plain = test_path(dir, "plain");
        uint8_t *rows = make_rows(&r, 9, 6, elem, 0), *file = make_file(f, rows, 9, 6, elem, &len);
        for (int change = -1; change <= 1; change++) {
            file = realloc(file, len + 1);
            test_write(plain, file, len + (size_t)change);
            test_run run = test_shell("zstd -q -c <'%s' >'%s'", plain, path);
            cr_assert(run.exit_code == 0);
            test_run_fini(&run);
            vq_status rc = read_through(path, 0, &n, &err);
            cr_assert(rc == (change == 0 ? VQ_OK : VQ_ECORRUPT), "%s %d: %s", f->name, change,
                      err.text);
            cr_assert(change != 0 || n == 9);
        }
        free(rows);
        free(file);
        free(path);
        free(plain);
    }
    test_rmdir(dir);
}

Test(format, rows_of_different_length)
{
    vq_error err = {0};
    uint64_t n;
    uint8_t file[4 * 20 + 8] = {0};
    for (size_t i = 0; i < 4; i++) vq_put_le32(file + 20 * i, 4);
    char *dir = test_tmpdir(), *path = test_path(dir, "x.fvecs");
    vq_put_le32(file + 40, 5); /* the size still fits */
    test_write(path, file, 80);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "row 2 |dimension 5|has 4");
    test_write(path, file, 84); /* now it does not, and still the row is named */
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "row 2 |dimension 5|has 4");
    vq_put_le32(file + 40, 4);
    test_write(path, file, 75);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "cut short|row 3 |15 of 20");
    free(path);
    test_rmdir(dir);
}

Test(format, huge_counts)
{
    static const uint32_t n[] = {0xffffffffu, 0x80000000u, 0x40000001u, 1000000000u, 1};
    static const uint32_t d[] = {1, 65536, 65537, 0xffffffffu, 0x40000000u, 0};
    vq_error err = {0};
    uint64_t rows;
    char *dir = test_tmpdir();
    for (size_t k = 0; k < vq_format_count; k++) {
        char name[40];
        (void)snprintf(name, sizeof name, "x.%s", vq_formats[k]->name);
        char *path = test_path(dir, name);
        for (size_t i = 0; i < VQ_COUNT(n); i++)
            for (size_t j = 0; j < VQ_COUNT(d); j++) {
                uint8_t file[64] = {0};
                vq_put_le32(file, n[i]);
                vq_put_le32(file + 4, d[j]);
                test_write(path, file, sizeof file);
                cr_assert(read_through(path, 0, &rows, &err) == VQ_ECORRUPT, "%s %u x %u", name,
                          n[i], d[j]);
            }
        free(path);
    }
    test_rmdir(dir);
}

/* Thousands of damaged files: an error or rows, never a crash. */
Test(format, random_damage)
{
    vq_rng r;
    vq_error err = {0};
    vq_rng_init(&r, test_seed(), 34);
    for (size_t k = 0; k < vq_format_count; k++) {
        const vq_format *f = vq_formats[k];
        uint32_t elem = first_elem(f);
        size_t len;
        uint64_t n;
        uint8_t *rows = make_rows(&r, 7, 5, elem, 0), *file = make_file(f, rows, 7, 5, elem, &len);
        for (int i = 0; i < 2000; i++) {
            uint8_t *copy = malloc(len);
            char path[64];
            memcpy(copy, file, len);
            for (uint64_t flips = 1 + vq_rng_below(&r, 4); flips > 0; flips--) {
                size_t at = vq_rng_below(&r, flips % 2 == 0 && len > 140 ? 140 : len);
                copy[at] ^= (uint8_t)(1u << vq_rng_below(&r, 8));
            }
            int fd = memory_file(path, copy, len - (i % 3 == 0 ? vq_rng_below(&r, len) : 0));
            (void)read_through(path, i % 2, &n, &err);
            close(fd);
            free(copy);
        }
        free(rows);
        free(file);
    }
}

typedef struct foreign {
    const char *start;
    size_t len;
    const char *want;
} foreign;

#define FOREIGN(start, want)                                                                       \
    {                                                                                              \
        start, sizeof(start) - 1, want                                                             \
    }

Test(format, foreign_files_are_named)
{
    static const foreign files[] = {
        FOREIGN("\x1f\x8b\x08\x00\x00\x00\x00\x00", "gzip"),
        FOREIGN("BZh91AY&SY", "bzip2"),
        FOREIGN("\xfd"
                "7zXZ\x00",
                "xz"),
        FOREIGN("PK\x03\x04\x14\x00\x00\x00\x00\x00 arr_0.npy", "npz"),
        FOREIGN("PK\x03\x04\x14\x00\x00\x00\x00\x00 model/data.pkl", "PyTorch"),
        FOREIGN("PK\x03\x04\x14\x00\x00\x00\x00\x00 README", "zip"),
        FOREIGN("\x89HDF\r\n\x1a\n\x00\x00", "HDF5"),
        FOREIGN("PAR1\x15\x04\x15\x10", "Parquet"),
        FOREIGN("ARROW1\x00\x00", "Arrow"),
        FOREIGN("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "PNG"),
        FOREIGN("\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG"),
        FOREIGN("SQLite format 3\x00", "SQLite"),
        FOREIGN("\x80\x04\x95\x10\x00\x00", "pickle"),
        FOREIGN("IxFI\x00\x00\x00\x00", "Faiss"),
        FOREIGN("{\"vectors\": [[1, 2]]}", "JSON"),
        FOREIGN("0.1,0.2,0.3\n0.4,0.5,0.6\n", "text"),
        FOREIGN("\x40\x00\x00\x00\x00\x00\x00\x00{\"x\":{}}", "safetensors"),
        FOREIGN("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\xde\xc0\xef\xbe",
                "vq index"),
        FOREIGN("", "empty"),
    };
    vq_error err = {0};
    uint64_t n;
    char *dir = test_tmpdir();
    for (size_t i = 0; i < VQ_COUNT(files); i++)
        for (size_t j = 0; j < 3; j++) { /* whatever it is called, as long as it is or longer */
            static const char *const names[] = {"x.fbin", "x.fvecs", "x"};
            char *path = test_path(dir, names[j]);
            uint8_t padded[512] = {0};
            memcpy(padded, files[i].start, files[i].len);
            test_write(path, files[i].start, files[i].len);
            expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, files[i].want);
            if (strchr("e{0", files[i].want[0]) == NULL && files[i].len > 0 &&
                (padded[0] < '0' || padded[0] == 'P')) {
                test_write(path, padded, sizeof padded);
                expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, files[i].want);
            }
            free(path);
        }
    char *path = test_path(dir, "x.npy");
    test_run r = test_shell("cd '%s' && tar cf x.npy ../../dev/null", dir);
    test_run_fini(&r);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "tar");
    free(path);
    test_rmdir(dir);
}

Test(format, unknown_and_ambiguous)
{
    vq_error err = {0};
    uint64_t n;
    char *dir = test_tmpdir(), *path = test_path(dir, "x"), *truth = test_path(dir, "x.ibin");
    static const uint8_t noise[] = {0xc3, 0x01, 0xfe, 0x99, 0xab, 0xcd, 0xef, 0x01, 0x02};
    test_write(path, noise, sizeof noise);
    expect_error(read_through(path, 0, &n, &err), VQ_ECORRUPT, &err, "9 bytes|c3 01 fe 99|fvecs");
    uint8_t bytes[8 + 12] = {3, 0, 0, 0, 4, 0, 0, 0, 1};
    test_write(path, bytes, sizeof bytes);
    expect_error(read_through(path, 0, &n, &err), VQ_EINVAL, &err, "u8bin|i8bin|name");
    uint8_t neighbours[8 + 7 * 4] = {7, 0, 0, 0, 9, 0, 0, 0};
    test_write(truth, neighbours, sizeof neighbours);
    expect_error(read_through(truth, 0, &n, &err), VQ_ECORRUPT, &err, "neighbours");
    free(path);
    free(truth);
    test_rmdir(dir);
}

Test(format, endings)
{
    static const struct {
        const char *path, *ending;
        bool zst;
    } cases[] = {{"a.fbin", "fbin", false},  {"a.fbin.zst", "fbin", true},
                 {"/x.y/a", "", false},      {"A.NPY.ZST", "npy", true},
                 {"a", "", false},           {"", "", false},
                 {".zst", "", true},         {"a.", "", false},
                 {"a.zst.zst", "zst", true}, {"a.averyveryverylongending", "", false}};
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        char ending[VQ_ENDING_MAX];
        bool zst;
        vq_path_ending(cases[i].path, ending, &zst);
        cr_assert_str_eq(ending, cases[i].ending);
        cr_assert(zst == cases[i].zst);
    }
    for (size_t i = 0; i < vq_format_count; i++)
        cr_assert(vq_format_by_name(vq_formats[i]->name) == vq_formats[i]);
    cr_assert(vq_format_by_name("hdf5") == NULL);
}
