/* SPDX-License-Identifier: Apache-2.0 */
/* Teachers: exact answers kept in a file. */
#include <sys/stat.h>

#include "tests/index/taught.h"

enum { SOME = 1500 };

/* Builds with a cache; the file's digest. */
static void learn(const char *path, const char *cache, const float *x, size_t n, vq_build_opts o,
                  char hex[33])
{
    o.teacher_cache = cache, o.epochs = 1;
    build(path, x, n, D, VQ_F32, &o);
    digest_of(path, hex);
}

/* Has the file been replaced since its last call? */
static bool replaced(const char *path)
{
    static struct stat last;
    struct stat now;
    cr_assert_eq(stat(path, &now), 0, "%s is not there", path);
    bool same = now.st_ino == last.st_ino && now.st_mtim.tv_sec == last.st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == last.st_mtim.tv_nsec;
    last = now;
    return !same;
}

Test(teacher, answers_are_kept)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *cache = test_path(dir, "c");
    char plain[33], hex[33];
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    learn(path, NULL, w.x, SOME, o, plain);
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache));
    cr_assert_str_eq(hex, plain);
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert_str_eq(hex, plain);
    o.code_bytes = 4, o.loss = "kl", o.seed = 5, o.threads = 2;
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(!replaced(cache), "other options, the same questions");
    o = with_queries(&w, VQ_METRIC_COSINE);
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache), "another metric");
    w.train[7] += 1.0f;
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache), "another query");
    w.x[SOME * D - 1] += 1.0f;
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache), "another row");
    cr_assert_eq(count_files(dir, "c"), 1, "nothing else is left");
    end_world(&w);
    free(cache);
    free(path);
    test_rmdir(dir);
}

Test(teacher, damaged_answers_are_searched_again)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *cache = test_path(dir, "c");
    char plain[33], hex[33];
    size_t len, len_now;
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    learn(path, cache, w.x, SOME, o, plain);
    uint8_t *good = test_read(cache, &len);
    const size_t at[] = {9, 30, 72, 5000, len / 2 + 99, len - 1}; /* version .. checksum */
    const size_t cut[] = {8, 71, 72, len / 2, len - 1};
    for (size_t i = 0; i < VQ_COUNT(at) + VQ_COUNT(cut) + 1; i++) {
        uint8_t *bad = calloc(len + 1, 1);
        size_t len_bad = i < VQ_COUNT(at)                   ? len
                         : i < VQ_COUNT(at) + VQ_COUNT(cut) ? cut[i - VQ_COUNT(at)]
                                                            : len + 1;
        memcpy(bad, good, VQ_MIN(len, len_bad));
        if (i < VQ_COUNT(at)) bad[at[i]] ^= 64;
        test_write(cache, bad, len_bad);
        learn(path, cache, w.x, SOME, o, hex);
        uint8_t *now = test_read(cache, &len_now);
        cr_assert(len_now == len && memcmp(now, good, len) == 0, "case %zu is not made good", i);
        cr_assert_str_eq(hex, plain);
        free(now);
        free(bad);
    }
    free(good);
    end_world(&w);
    free(cache);
    free(path);
    test_rmdir(dir);
}

Test(teacher, a_file_of_another_kind_is_left_alone)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *cache = test_path(dir, "c");
    static const char *const texts[] = {"", "VQTEAC", "my only thesis", "\x28\xb5\x2f\xfd broken"};
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    for (size_t i = 0; i < VQ_COUNT(texts); i++) {
        size_t len;
        test_write(cache, texts[i], strlen(texts[i]));
        o.teacher_cache = cache;
        FAILS(VQ_ECORRUPT, try_build(path, w.x, N, D, VQ_F32, &o));
        cr_assert(strstr(err.text, cache) != NULL, "%s", err.text);
        uint8_t *now = test_read(cache, &len);
        cr_assert(len == strlen(texts[i]) && memcmp(now, texts[i], len) == 0);
        free(now);
    }
    o.train = VQ_TRAIN_QUERY_AWARE;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert_eq(count_files(dir, ""), 1);
    end_world(&w);
    free(cache);
    free(path);
    test_rmdir(dir);
}
