/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/base/pack.h"
#include "tests/harness/harness.h"

/* Text-like bytes: they compress, but not to nothing. */
static uint8_t *make_bytes(size_t len)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 9);
    uint8_t *p = malloc(len + 1);
    cr_assert(p != NULL);
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t)('a' + vq_rng_below(&r, 16));
    return p;
}

/* The stream's contents by reads of `step` bytes. */
static vq_status slurp(vq_stream *s, uint8_t *out, size_t cap, size_t step, size_t *len,
                       vq_error *err)
{
    *len = 0;
    for (size_t got = 1; got > 0; *len += got) {
        cr_assert(*len + step <= cap + step);
        size_t ask = step < cap - *len ? step : cap - *len;
        vq_status rc = vq_stream_read(s, out + *len, ask, &got, err);
        if (rc != VQ_OK) return rc;
        cr_assert(got <= ask);
        if (ask == 0) break;
    }
    return VQ_OK;
}

static void expect_contents(vq_stream *s, const uint8_t *want, size_t len, size_t step)
{
    vq_error err = {0};
    uint8_t *got = malloc(len + 10);
    size_t n;
    vq_status rc = slurp(s, got, len + 10, step, &n, &err);
    cr_assert(rc == VQ_OK, "%s", err.text);
    cr_assert(n == len && memcmp(got, want, len) == 0, "%zu bytes, expected %zu", n, len);
    free(got);
}

static void check_stream(const char *path, const uint8_t *want, size_t len, uint64_t size)
{
    vq_error err = {0};
    vq_stream *s = NULL;
    cr_assert(vq_stream_open(&s, path, &err) == VQ_OK, "%s", err.text);
    cr_assert(vq_stream_size(s) == size, "%s: size %llu", path,
              (unsigned long long)vq_stream_size(s));
    for (size_t step = 1; step <= len + 1; step = step * 7 + 1) {
        if (len / step > 5000) continue;
        const uint8_t *head;
        size_t n;
        cr_assert(vq_stream_peek(s, &head, 100, &n, &err) == VQ_OK);
        cr_assert(n == (len < 100 ? len : 100) && memcmp(head, want, n) == 0);
        expect_contents(s, want, len, step);
        cr_assert(vq_stream_rewind(s, &err) == VQ_OK, "%s", err.text);
    }
    vq_stream_close(s);
}

Test(pack, plain_and_packed_files)
{
    char *dir = test_tmpdir(), *plain = test_path(dir, "x"), *packed = test_path(dir, "x.zst");
    static const size_t sizes[] = {0, 1, 3, 4, 99, 100, 4096, 4097, 131072, 700001};
    for (size_t i = 0; i < VQ_COUNT(sizes); i++) {
        uint8_t *bytes = make_bytes(sizes[i]);
        test_write(plain, bytes, sizes[i]);
        check_stream(plain, bytes, sizes[i], sizes[i]);
        test_run r = test_shell("zstd -q -f '%s' -o '%s'", plain, packed);
        cr_assert(r.exit_code == 0, "%s", r.err);
        test_run_fini(&r);
        check_stream(packed, bytes, sizes[i], sizes[i]);
        r = test_shell("zstd -q -c <'%s' >'%s'", plain, packed); /* does not tell its size */
        test_run_fini(&r);
        if (sizes[i] > 0) check_stream(packed, bytes, sizes[i], UINT64_MAX);
        free(bytes);
    }
    free(plain);
    free(packed);
    test_rmdir(dir);
}

/* Several frames, and skippable ones before and between them. */
Test(pack, many_frames)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.zst");
    static const uint8_t skip[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};
    size_t len = 300000, half = 123456, at = 0, n;
    uint8_t *bytes = make_bytes(len), *file = malloc(vq_pack_bound(len) * 2 + 100);
    vq_error err = {0};
    memcpy(file, skip, sizeof skip);
    at += sizeof skip;
    cr_assert(vq_pack(file + at, vq_pack_bound(half), &n, bytes, half, 3, &err) == VQ_OK);
    at += n;
    memcpy(file + at, skip, sizeof skip);
    at += sizeof skip;
    cr_assert(vq_pack(file + at, vq_pack_bound(len), &n, bytes + half, len - half, 3, &err) ==
              VQ_OK);
    at += n;
    test_write(path, file, at);
    check_stream(path, bytes, len, len);
    memcpy(file + at, "rubbish", 7);
    test_write(path, file, at + 7);
    vq_stream *s = NULL;
    cr_assert(vq_stream_open(&s, path, &err) == VQ_OK);
    cr_assert(vq_stream_size(s) == UINT64_MAX);
    uint8_t *out = malloc(len + 100);
    cr_assert(slurp(s, out, len + 100, 1000, &n, &err) == VQ_ECORRUPT);
    cr_assert(vq_stream_read(s, out, 10, &n, &err) == VQ_ECORRUPT); /* and stays so */
    vq_stream_close(s);
    free(out);
    free(bytes);
    free(file);
    free(path);
    test_rmdir(dir);
}

Test(pack, truncated_and_flipped)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.zst");
    size_t len = 2000, n, got;
    uint8_t *bytes = make_bytes(len), *frame = malloc(vq_pack_bound(len)), *out = malloc(4 * len);
    vq_error err = {0};
    cr_assert(vq_pack(frame, vq_pack_bound(len), &n, bytes, len, 3, &err) == VQ_OK);
    for (size_t cut = 4; cut < n; cut++) {
        vq_stream *s = NULL;
        test_write(path, frame, cut);
        cr_assert(vq_stream_open(&s, path, &err) == VQ_OK);
        cr_assert(slurp(s, out, 4 * len, 300, &got, &err) == VQ_ECORRUPT, "cut at %zu", cut);
        cr_assert(strstr(err.text, "cut short") != NULL && strstr(err.text, path) != NULL);
        vq_stream_close(s);
    }
    vq_rng r;
    vq_rng_init(&r, test_seed(), 10);
    for (int i = 0; i < 2000; i++) {
        vq_stream *s = NULL;
        uint64_t bit = vq_rng_below(&r, 8 * n);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        test_write(path, frame, n);
        cr_assert(vq_stream_open(&s, path, &err) == VQ_OK);
        vq_status rc = slurp(s, out, 4 * len, 300, &got, &err);
        /* The checksum leaves no flip unseen, but for one in the magic (then it is plain bytes) and
         * one that only declares another window. */
        if (rc == VQ_OK && bit >= 32) cr_assert(got == len && memcmp(out, bytes, len) == 0);
        vq_stream_close(s);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
    free(frame);
    free(out);
    free(path);
    test_rmdir(dir);
}

/* Runs body(stdin) in this process with standard input replaced by a pipe that `command` fills. */
static void with_stdin(const char *command)
{
    FILE *f = popen(command, "r");
    cr_assert(f != NULL && dup2(fileno(f), STDIN_FILENO) == STDIN_FILENO);
    /* f is left open: its process ends with ours */
}

Test(pack, standard_input_is_read_twice)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    char command[512];
    size_t len = 400000;
    uint8_t *bytes = make_bytes(len);
    test_write(path, bytes, len);
    for (int packed = 0; packed < 2; packed++) {
        (void)snprintf(command, sizeof command, "%s '%s'", packed ? "zstd -q -c" : "cat", path);
        with_stdin(command);
        check_stream("-", bytes, len, UINT64_MAX);
    }
    free(bytes);
    free(path);
    test_rmdir(dir);
}

/* Rewinding in the middle: part from the copy, the rest from the pipe. */
Test(pack, standard_input_rewound_early)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    char command[512];
    size_t len = 900000, n;
    uint8_t *bytes = make_bytes(len), *out = malloc(len);
    vq_error err = {0};
    vq_stream *s = NULL;
    test_write(path, bytes, len);
    (void)snprintf(command, sizeof command, "cat '%s'", path);
    with_stdin(command);
    cr_assert(vq_stream_open(&s, "-", &err) == VQ_OK);
    cr_assert(vq_stream_read(s, out, 200001, &n, &err) == VQ_OK && n == 200001);
    cr_assert(memcmp(out, bytes, n) == 0);
    cr_assert(vq_stream_rewind(s, &err) == VQ_OK);
    expect_contents(s, bytes, len, 65537);
    vq_stream_close(s);
    cr_assert(fcntl(STDIN_FILENO, F_GETFD) >= 0, "standard input was closed");
    free(out);
    free(bytes);
    free(path);
    test_rmdir(dir);
}

/* "< file": no copy is needed, and what the shell has read already is not ours. */
Test(pack, standard_input_from_a_file)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    size_t len = 5000;
    uint8_t *bytes = make_bytes(len);
    test_write(path, bytes, len);
    int fd = open(path, O_RDONLY);
    cr_assert(fd >= 0 && lseek(fd, 100, SEEK_SET) == 100);
    cr_assert(dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    check_stream("-", bytes + 100, len - 100, len - 100);
    close(fd);
    free(bytes);
    free(path);
    test_rmdir(dir);
}

Test(pack, cannot_be_opened)
{
    vq_error err = {0};
    vq_stream *s = NULL;
    cr_assert(vq_stream_open(&s, "/nowhere/at/all", &err) == VQ_ENOENT && s == NULL);
    cr_assert(strstr(err.text, "/nowhere/at/all") != NULL);
    cr_assert(vq_stream_open(&s, "/tmp", &err) == VQ_EIO);
    cr_assert(strstr(err.text, "folder") != NULL);
    vq_stream_close(NULL);
}

Test(pack, blocks)
{
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 11);
    for (size_t len = 0; len < 5000; len = len * 2 + 1) {
        size_t cap = vq_pack_bound(len), n = 0;
        uint8_t *bytes = make_bytes(len), *frame = malloc(cap), *out = malloc(len + 20);
        cr_assert(vq_pack(frame, cap, &n, bytes, len, 3, &err) == VQ_OK && n <= cap);
        cr_assert(vq_unpack(out, len, frame, n, &err) == VQ_OK, "%s", err.text);
        cr_assert(memcmp(out, bytes, len) == 0);
        cr_assert(vq_unpack(out, len + 1, frame, n, &err) == VQ_ECORRUPT);
        if (len > 0) cr_assert(vq_unpack(out, len - 1, frame, n, &err) == VQ_ECORRUPT);
        for (size_t cut = 1; cut < n; cut++) {
            uint8_t *end = guard_end(cut);
            memcpy(end, frame, cut);
            cr_assert(vq_unpack(out, len, end, cut, &err) == VQ_ECORRUPT || len == 0);
            if (cut % 16 != 1 && cut + 8 < n) cut += 15;
            guard_free(end);
        }
        for (int i = 0; i < 200; i++) { /* never past the end of out; the checksum sees it */
            size_t at = vq_rng_below(&r, n);
            uint8_t old = frame[at];
            frame[at] = (uint8_t)vq_rng_u64(&r);
            uint8_t *end = guard_end(len);
            vq_status rc = vq_unpack(end, len, frame, n, &err);
            cr_assert(rc == VQ_ECORRUPT || memcmp(end, bytes, len) == 0);
            guard_free(end);
            frame[at] = old;
        }
        free(bytes);
        free(frame);
        free(out);
    }
    uint8_t small[4];
    size_t n = 77;
    cr_assert(vq_pack(small, sizeof small, &n, "0123456789", 10, 3, &err) == VQ_EINVAL && n == 77);
}

/* Small blocks of a kind, with a dictionary and without. */
Test(pack, small_blocks)
{
    enum { BLOCKS = 2000, MOST = 120 };
    vq_error err = {0};
    char *text = malloc(BLOCKS * MOST), dictionary[8192];
    size_t *sizes = malloc(BLOCKS * sizeof *sizes), total = 0, packed[2] = {0};
    for (int i = 0; i < BLOCKS; i++) {
        sizes[i] = (size_t)snprintf(text + total, MOST,
                                    "{\"id\": %d, \"kind\": \"a record of many\", \"at\": %d}", i,
                                    i * 7919 % 1009);
        total += sizes[i];
    }
    size_t len = vq_pack_train(dictionary, sizeof dictionary, text, sizes, BLOCKS);
    cr_assert(len > 100 && len <= sizeof dictionary);
    cr_assert_eq(vq_pack_train(dictionary, sizeof dictionary, text, sizes, 1), 0);
    len = vq_pack_train(dictionary, sizeof dictionary, text, sizes, BLOCKS);
    for (int with = 0; with < 2; with++) {
        vq_packer *p, *other;
        cr_assert_eq(vq_packer_open(&p, dictionary, with ? len : 0, &err), VQ_OK);
        cr_assert_eq(vq_packer_open(&other, dictionary, with ? 0 : len, &err), VQ_OK);
        for (size_t i = 0, at = 0; i < BLOCKS; at += sizes[i++]) {
            uint8_t frame[512], out[MOST + 1];
            size_t n = 0;
            cr_assert(vq_pack_bound(MOST) <= sizeof frame);
            cr_assert_eq(vq_packer_pack(p, frame, sizeof frame, &n, text + at, sizes[i], &err),
                         VQ_OK);
            packed[with] += n;
            cr_assert_eq(vq_packer_unpack(p, out, sizes[i], frame, n, &err), VQ_OK, "%s", err.text);
            cr_assert(memcmp(out, text + at, sizes[i]) == 0);
            cr_assert_eq(vq_packer_unpack(p, out, sizes[i] + 1, frame, n, &err), VQ_ECORRUPT);
            cr_assert_eq(vq_packer_unpack(p, out, sizes[i], frame, n - 1, &err), VQ_ECORRUPT);
            if (with) continue;
            memset(out, 0, sizeof out); /* who has a dictionary can read what was packed without */
            cr_assert_eq(vq_packer_unpack(other, out, sizes[i], frame, n, &err), VQ_OK);
            cr_assert(memcmp(out, text + at, sizes[i]) == 0);
        }
        for (size_t period = 1; period < 10 && !with; period++) { /* 1, 4, 8: offsets at first */
            uint8_t in[MOST], out[MOST] = {0}, frame[512];
            size_t n = 0;
            for (size_t i = 0; i < MOST; i++) in[i] = (uint8_t)('a' + i % period);
            cr_assert_eq(vq_packer_pack(p, frame, sizeof frame, &n, in, MOST, &err), VQ_OK);
            cr_assert(n < MOST / 2);
            cr_assert_eq(vq_packer_unpack(other, out, MOST, frame, n, &err), VQ_OK);
            cr_assert(memcmp(in, out, MOST) == 0, "period %zu", period);
        }
        vq_packer_close(p), vq_packer_close(other);
    }
    cr_assert(packed[1] < packed[0] / 2, "%zu, %zu", packed[0], packed[1]);
    vq_packer_close(NULL);
    free(text), free(sizes);
}

Test(pack, out_of_memory)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    vq_error err = {0};
    vq_stream *s = NULL;
    test_write(path, "some bytes", 10);
    uint64_t n = 1;
    for (;; n++) {
        vq_mem_fail_after(n);
        vq_status rc = vq_stream_open(&s, path, &err);
        vq_mem_fail_after(0);
        if (rc == VQ_OK) break;
        cr_assert(rc == VQ_ENOMEM && s == NULL);
    }
    cr_assert(n > 3);
    vq_stream_close(s);
    free(path);
    test_rmdir(dir);
}
