/* SPDX-License-Identifier: Apache-2.0 */
#include "src/io/ids.h"
#include "tests/src/io/io.h"

static vq_status read_text(vq_ids *ids, const char *text, size_t len, bool force, vq_error *err)
{
    char path[64];
    int fd = memory_file(path, text, len);
    vq_status rc = vq_ids_read(ids, path, force, err);
    close(fd);
    return rc;
}

Test(ids, numbers)
{
    vq_error err = {0};
    vq_ids ids;
    static const char text[] = "0\n7\n18446744073709551614\r\n42\t\n5";
    static const uint64_t want[] = {0, 7, 18446744073709551614u, 42, 5};
    cr_assert_vq(read_text(&ids, text, sizeof text - 1, false, &err));
    cr_assert(ids.n == 5 && !ids.strings && ids.names == NULL);
    cr_assert(memcmp(ids.numbers, want, sizeof want) == 0);
    vq_ids_fini(&ids);
    cr_assert_vq(read_text(&ids, text, sizeof text - 1, true, &err));
    cr_assert(ids.n == 5 && ids.strings && ids.numbers == NULL);
    cr_assert_str_eq(ids.names[2], "18446744073709551614");
    vq_ids_fini(&ids);
    vq_ids_fini(&ids); /* once more does no harm */
    expect_error(read_text(&ids, "1\n18446744073709551615\n", 23, false, &err), VQ_ECORRUPT, &err,
                 ":2:|reserved");
}

/* One line that is no canonical number makes all of them strings. */
Test(ids, strings)
{
    static const char *const odd[] = {
        "007", "-1", "+1", "1.0", "x", " 1", "18446744073709551616", "1e3", "\xc3\xa9t\xc3\xa9",
        "a b"};
    vq_error err = {0};
    for (size_t i = 0; i < VQ_COUNT(odd); i++) {
        char text[100];
        vq_ids ids;
        (void)snprintf(text, sizeof text, "12\n%s\n13\n", odd[i]);
        cr_assert_vq(read_text(&ids, text, strlen(text), false, &err));
        cr_assert(ids.n == 3 && ids.strings && ids.numbers == NULL);
        cr_assert_str_eq(ids.names[0], "12");
        cr_assert_str_eq(ids.names[1], odd[i]);
        cr_assert_str_eq(ids.names[2], "13");
        vq_ids_fini(&ids);
    }
}

Test(ids, byte_order_mark_and_windows_lines)
{
    vq_error err = {0};
    vq_ids ids;
    cr_assert_vq(read_text(&ids,
                           "\xef\xbb\xbf"
                           "1\r\n2\r\n",
                           9, false, &err));
    cr_assert(ids.n == 2 && !ids.strings && ids.numbers[0] == 1 && ids.numbers[1] == 2);
    vq_ids_fini(&ids);
    cr_assert_vq(read_text(&ids, "", 0, false, &err));
    cr_assert(ids.n == 0);
    vq_ids_fini(&ids);
}

Test(ids, bad_lines)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
#define CASE(text, want) {text, sizeof(text) - 1, want}
        CASE("a\n\nb\n", ":2:|empty line"),       CASE("a\nb\n\n", ":3:|empty line"),
        CASE("\r\n", ":1:|empty line"),           CASE("a\nb\tc\n", ":2:|control|U+0009|byte 2"),
        CASE("a\x7f\n", ":1:|control"),           CASE("a\nb\nc\xc2\x80\n", ":3:|control|U+0080"),
        CASE("a\n\xff\n", ":2:|UTF-8|0xff"),      CASE("a\n\xc0\x80\n", ":2:|UTF-8"),
        CASE("\xed\xa0\x80\n", ":1:|UTF-8"),      CASE("\xf4\x90\x80\x80\n", ":1:|UTF-8"),
        CASE("\xe2\x82\n", ":1:|UTF-8"),          CASE("\xe2\x82", ":1:|UTF-8"),
        CASE("\xf0\x9f\x98", ":1:|UTF-8"),        CASE("\xf8\x88\x80\x80\x80\n", ":1:|UTF-8"),
        CASE("ab\xe9\n", ":1:|UTF-8|byte 3"),     CASE("a\nb\0c\n", ":2:|NUL"),
        CASE("\x1f\x8b\x08\x00\x00\x00", "gzip"),
#undef CASE
    };
    vq_error err = {0};
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        vq_ids ids;
        expect_error(read_text(&ids, cases[i].text, cases[i].len, false, &err), VQ_ECORRUPT, &err,
                     cases[i].want);
        cr_assert(ids.n == 0 && ids.names == NULL && ids.text == NULL);
    }
    vq_ids ids;
    expect_error(vq_ids_read(&ids, "/no/ids", false, &err), VQ_ENOENT, &err, "/no/ids");
}

Test(ids, length_limit)
{
    vq_error err = {0};
    vq_ids ids;
    char text[502];
    memset(text, 'x', sizeof text);
    cr_assert_vq(read_text(&ids, text, 500, false, &err));
    cr_assert(ids.n == 1 && strlen(ids.names[0]) == 500);
    vq_ids_fini(&ids);
    expect_error(read_text(&ids, text, 501, false, &err), VQ_ECORRUPT, &err, "501 bytes|500");
}

/* Many, packed, and with each allocation failing in turn. */
Test(ids, many_packed_and_out_of_memory)
{
    vq_error err = {0};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.zst");
    test_run r = test_shell("seq 0 99999 | zstd -q -o '%s'", path);
    cr_assert(r.exit_code == 0);
    test_run_fini(&r);
    uint64_t fail = 1;
    for (vq_status rc = VQ_ENOMEM; rc != VQ_OK; fail++) {
        vq_ids ids;
        vq_mem_fail_after(fail);
        rc = vq_ids_read(&ids, path, false, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%s", err.text);
        cr_assert(rc == VQ_OK || (ids.n == 0 && ids.names == NULL));
        if (rc != VQ_OK) continue;
        cr_assert(ids.n == 100000 && !ids.strings);
        for (size_t i = 0; i < ids.n; i++) cr_assert(ids.numbers[i] == i);
        vq_ids_fini(&ids);
    }
    cr_assert(fail > 10);
    free(path);
    test_rmdir(dir);
}

Test(ids, random_bytes)
{
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 50);
    for (int i = 0; i < 5000; i++) {
        char text[60];
        size_t len = vq_rng_below(&r, sizeof text);
        for (size_t j = 0; j < len; j++)
            text[j] =
                (char)(i % 2 == 0
                           ? vq_rng_u64(&r)
                           : (uint64_t) "019 a\n\r\t\xc3\xa9\xe2\x82\xac"[vq_rng_below(&r, 13)]);
        vq_ids ids;
        if (read_text(&ids, text, len, i % 3 == 0, &err) == VQ_OK)
            for (size_t j = 0; ids.strings && j < ids.n; j++)
                cr_assert(strlen(ids.names[j]) - 1 < VQ_ID_MAX);
        vq_ids_fini(&ids);
    }
}

Test(ids, found_once_sorted)
{
    static const char numbers[] = "30\n7\n18446744073709551614\n0\n", names[] = "b\nab\na\nz\nab\n";
    vq_error err = {0};
    vq_ids ids;
    cr_assert_vq(read_text(&ids, numbers, sizeof numbers - 1, false, &err));
    cr_assert_vq(vq_ids_sort(&ids, &err));
    cr_assert_vq(vq_ids_sort(&ids, &err)); /* once more does no harm */
    cr_assert(vq_ids_find(&ids, "30") == 0 && vq_ids_find(&ids, "7") == 1);
    cr_assert(vq_ids_find(&ids, "18446744073709551614") == 2 && vq_ids_find(&ids, "0") == 3);
    cr_assert(vq_ids_find(&ids, "8") == SIZE_MAX && vq_ids_find(&ids, "07") == SIZE_MAX &&
              vq_ids_find(&ids, "x") == SIZE_MAX && vq_ids_find(&ids, "") == SIZE_MAX);
    cr_assert(!vq_ids_repeat(&ids));
    vq_ids_fini(&ids);
    cr_assert_vq(read_text(&ids, names, sizeof names - 1, false, &err));
    cr_assert_vq(vq_ids_sort(&ids, &err));
    cr_assert(vq_ids_find(&ids, "b") == 0 && vq_ids_find(&ids, "ab") == 1, "the first of equals");
    cr_assert(vq_ids_find(&ids, "zz") == SIZE_MAX && vq_ids_find(&ids, "aa") == SIZE_MAX);
    cr_assert(vq_ids_repeat(&ids));
    vq_ids_fini(&ids);
    cr_assert(vq_ids_sort(&ids, &err) == VQ_OK && vq_ids_find(&ids, "a") == SIZE_MAX &&
                  !vq_ids_repeat(&ids),
              "none at all");
}
