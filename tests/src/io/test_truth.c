/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "src/io/truth.h"
#include "tests/src/io/io.h"

static vq_truth make_truth(vq_rng *r, size_t nq, size_t k, bool scores)
{
    vq_truth t = {.nq = nq, .k = k};
    t.ids = vq_mem_alloc(nq * k, sizeof *t.ids);
    t.scores = scores ? vq_mem_alloc(nq * k, sizeof *t.scores) : NULL;
    for (size_t i = 0; i < nq * k; i++) {
        t.ids[i] = vq_rng_below(r, 10) == 0 ? VQ_NO_ID : vq_rng_below(r, UINT64_C(1) << 31);
        if (scores) t.scores[i] = (float)vq_rng_normal(r);
    }
    return t;
}

static void expect_equal(const vq_truth *got, const vq_truth *want, bool scores)
{
    size_t n = want->nq * want->k;
    cr_assert(got->nq == want->nq && got->k == want->k);
    cr_assert(memcmp(got->ids, want->ids, n * sizeof *want->ids) == 0);
    cr_assert((got->scores != NULL) == scores);
    if (scores) cr_assert(memcmp(got->scores, want->scores, n * sizeof *want->scores) == 0);
}

Test(truth, round_trip)
{
    static const char *const names[] = {"x.ibin", "x.ivecs", "x.ibin.zst", "x.ivecs.zst"};
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 60);
    char *dir = test_tmpdir();
    for (int i = 0; i < 100; i++) {
        char *path = test_path(dir, names[i % 4]);
        vq_truth t = make_truth(&r, 1 + vq_rng_below(&r, 200), 1 + vq_rng_below(&r, 120),
                                i % 8 < 4),
                 got;
        cr_assert_vq(vq_truth_write(&t, path, &err));
        cr_assert_vq(vq_truth_read(&got, path, &err));
        expect_equal(&got, &t, t.scores != NULL && i % 2 == 0);
        vq_truth_fini(&got);
        if (i % 4 < 2) { /* known by content, whatever the name */
            char *plain = test_path(dir, i % 8 < 4 ? "x" : i % 2 == 0 ? "y.ivecs" : "y.ibin");
            cr_assert(rename(path, plain) == 0);
            cr_assert_vq(vq_truth_read(&got, plain, &err));
            expect_equal(&got, &t, t.scores != NULL && i % 2 == 0);
            vq_truth_fini(&got);
            free(plain);
        }
        vq_truth_fini(&t);
        vq_truth_fini(&t);
        free(path);
    }
    test_rmdir(dir);
}

Test(truth, cut_at_every_length)
{
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 61);
    char *dir = test_tmpdir();
    for (int kind = 0; kind < 3; kind++) {
        char *path = test_path(dir, kind == 2 ? "x.ivecs" : "x.ibin");
        vq_truth t = make_truth(&r, 5, 3, kind == 1), got;
        size_t len, whole = 0;
        cr_assert_vq(vq_truth_write(&t, path, &err));
        uint8_t *file = test_read(path, &len);
        for (size_t cut = 0; cut <= len; cut++) {
            test_write(path, file, cut);
            vq_status rc = vq_truth_read(&got, path, &err);
            cr_assert(rc == VQ_OK ||
                      (rc == VQ_ECORRUPT && got.ids == NULL && strstr(err.text, path) != NULL));
            whole += rc == VQ_OK;
            vq_truth_fini(&got);
        }
        /* an ibin without its scores, and ivecs without its last rows, are whole too */
        cr_assert(whole == (kind == 0 ? 1 : kind == 1 ? 2 : 5), "%d: %zu", kind, whole);
        file = realloc(file, len + 2);
        test_write(path, file, len + 1);
        cr_assert(vq_truth_read(&got, path, &err) == VQ_ECORRUPT);
        free(file);
        vq_truth_fini(&t);
        free(path);
    }
    test_rmdir(dir);
}

Test(truth, bad_contents)
{
    vq_error err = {0};
    vq_truth t;
    char *dir = test_tmpdir(), *ibin = test_path(dir, "x.ibin"), *ivecs = test_path(dir, "x.ivecs");
    uint8_t file[8 + 4 * 4] = {2, 0, 0, 0, 2, 0, 0, 0};
    vq_put_le32(file + 16, 0xfffffffeu);
    test_write(ibin, file, sizeof file);
    expect_error(vq_truth_read(&t, ibin, &err), VQ_ECORRUPT, &err, "query 1 |-2");
    vq_put_le32(file, 3);
    test_write(ibin, file, sizeof file);
    expect_error(vq_truth_read(&t, ibin, &err), VQ_ECORRUPT, &err, "3 x 2|32|56|24");
    vq_put_le32(file + 4, 0);
    test_write(ibin, file, sizeof file);
    expect_error(vq_truth_read(&t, ibin, &err), VQ_ECORRUPT, &err, "0 neighbours");
    vq_put_le32(file, 0xffffffffu);
    vq_put_le32(file + 4, 65536);
    test_write(ibin, file, sizeof file);
    expect_error(vq_truth_read(&t, ibin, &err), VQ_ECORRUPT, &err, "4294967295 x 65536");
    uint8_t rows[2 * 12] = {2, 0, 0, 0};
    vq_put_le32(rows + 12, 3);
    test_write(ivecs, rows, sizeof rows);
    expect_error(vq_truth_read(&t, ivecs, &err), VQ_ECORRUPT, &err, "row 1 |has 3|has 2");
    test_write(ivecs, "", 0);
    expect_error(vq_truth_read(&t, ivecs, &err), VQ_ECORRUPT, &err, "empty");
    test_write(ivecs, "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8);
    expect_error(vq_truth_read(&t, ivecs, &err), VQ_ECORRUPT, &err, "gzip");
    expect_error(vq_truth_read(&t, "/no/such.ibin", &err), VQ_ENOENT, &err, "/no/such.ibin");
    free(ibin);
    free(ivecs);
    test_rmdir(dir);
}

Test(truth, cannot_be_written)
{
    vq_error err = {0};
    uint64_t ids[2] = {1, UINT64_C(1) << 31};
    vq_truth t = {.nq = 1, .k = 2, .ids = ids};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.ibin");
    expect_error(vq_truth_write(&t, path, &err), VQ_EINVAL, &err, "2147483648|2^31|x.ibin");
    expect_error(vq_truth_write(&t, "x.txt", &err), VQ_EINVAL, &err, ".ibin|.ivecs");
    expect_error(vq_truth_write(&t, "/no/folder/x.ibin", &err), VQ_ENOENT, &err, "/no/folder");
    test_run r = test_shell("ls '%s'", dir);
    cr_assert_str_eq(r.out, ""); /* nothing is left behind */
    test_run_fini(&r);
    free(path);
    test_rmdir(dir);
}

Test(truth, random_damage_and_out_of_memory)
{
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 62);
    char *dir = test_tmpdir(), *path = test_path(dir, "x.ibin");
    vq_truth t = make_truth(&r, 6, 4, true), got;
    size_t len;
    cr_assert_vq(vq_truth_write(&t, path, &err));
    uint8_t *file = test_read(path, &len);
    for (int i = 0; i < 4000; i++) {
        char memory[64];
        uint64_t bit = vq_rng_below(&r, i % 2 == 0 ? 64 : 8 * len);
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int fd = memory_file(memory, file, len - vq_rng_below(&r, 3));
        (void)vq_truth_read(&got, memory, &err);
        vq_truth_fini(&got);
        close(fd);
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    uint64_t fail = 1;
    for (vq_status rc = VQ_ENOMEM; rc != VQ_OK; fail++) {
        vq_mem_fail_after(fail);
        rc = vq_truth_read(&got, path, &err);
        if (rc == VQ_OK) rc = vq_truth_write(&got, path, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%s", err.text);
        if (rc == VQ_OK) expect_equal(&got, &t, true);
        vq_truth_fini(&got);
    }
    cr_assert(fail > 6);
    vq_truth_fini(&t);
    free(file);
    free(path);
    test_rmdir(dir);
}
