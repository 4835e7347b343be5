/* SPDX-License-Identifier: Apache-2.0 */
/* A new file being written: private until it is whole. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "src/base/bytes.h"
#include "tests/index/fixture.h"

static void put(vq_store *st, vq_db db, uint64_t key, size_t len)
{
    uint8_t k[8], *room = NULL;
    vq_put_be64(k, key);
    OK(vq_store_put(st, db, k, sizeof k, len, &room, &err));
    for (size_t i = 0; i < len; i++) room[i] = (uint8_t)(key + i % 251);
}

static void check_value(const vq_snapshot *s, vq_db db, uint64_t key, size_t want)
{
    uint8_t k[8];
    const uint8_t *value;
    size_t len;
    vq_put_be64(k, key);
    OK(vq_snapshot_get(s, db, k, sizeof k, &value, &len, &err));
    cr_assert_eq(len, want, "key %llu", (unsigned long long)key);
    for (size_t i = 0; i < len; i++)
        cr_assert(value[i] == (uint8_t)(key + i % 251), "key %llu", (unsigned long long)key);
}

static void make_store(const char *path, bool force, size_t len)
{
    vq_store *st;
    OK(vq_store_create(&st, path, force, &err));
    put(st, VQ_DB_IDS, 1, len);
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
}

static size_t value_length(const char *path)
{
    vq_file *f;
    vq_snapshot s;
    uint8_t k[8];
    const uint8_t *value;
    size_t len = 0;
    vq_put_be64(k, 1);
    OK(vq_file_open(&f, path, &err));
    OK(vq_snapshot_begin(&s, f, &err));
    OK(vq_snapshot_get(&s, VQ_DB_IDS, k, sizeof k, &value, &len, &err));
    vq_snapshot_end(&s);
    vq_file_close(f);
    return len;
}

Test(store, what_is_put_is_there)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_store *st;
    vq_file *f;
    vq_snapshot s;
    OK(vq_store_create(&st, path, false, &err));
    cr_assert(vq_store_value_min(st) >= 256);
    for (vq_db db = 0; db < VQ_DB_COUNT; db++)
        for (uint64_t key = 0; key < 50; key++) put(st, db, 3 * key, 1 + key * key * 7);
    cr_assert(access(path, F_OK) != 0, "it shows before it is whole");
    cr_assert_eq(count_files(dir, "x.vq.tmp-"), 1);
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
    cr_assert_eq(count_files(dir, "x.vq.tmp-"), 0);
    OK(vq_file_open(&f, path, &err));
    cr_assert_str_eq(vq_file_path(f), path);
    OK(vq_snapshot_begin(&s, f, &err));
    for (vq_db db = 0; db < VQ_DB_COUNT; db++) {
        cr_assert_eq(s.db[db].entries, 50);
        for (uint64_t key = 0; key < 50; key++) check_value(&s, db, 3 * key, 1 + key * key * 7);
    }
    vq_snapshot_end(&s);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}

Test(store, an_existing_file)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_store *st;
    make_store(path, false, 10);
    FAILS(VQ_EBUSY, vq_store_create(&st, path, false, &err));
    cr_assert(st == NULL && strstr(err.text, "--force") != NULL);
    make_store(path, true, 20);
    cr_assert_eq(value_length(path), 20);
    /* One that comes while we write is not replaced unasked. */
    char *other = test_path(dir, "y.vq");
    OK(vq_store_create(&st, other, false, &err));
    put(st, VQ_DB_IDS, 1, 30);
    test_write(other, "mine", 4);
    FAILS(VQ_EBUSY, vq_store_finish(st, &err));
    vq_store_free(st);
    size_t len;
    uint8_t *bytes = test_read(other, &len);
    cr_assert(len == 4 && memcmp(bytes, "mine", 4) == 0);
    cr_assert_eq(count_files(dir, "y.vq.tmp-"), 0);
    free(bytes);
    free(other);
    free(path);
    test_rmdir(dir);
}

Test(store, abandoned)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_store *st;
    make_store(path, false, 10);
    OK(vq_store_create(&st, path, true, &err));
    put(st, VQ_DB_IDS, 1, 100000);
    vq_store_free(st);
    vq_store_free(NULL);
    cr_assert_eq(value_length(path), 10);
    cr_assert_eq(count_files(dir, "x.vq.tmp-"), 0);
    free(path);
    test_rmdir(dir);
}

Test(store, what_the_dead_left_and_the_living_hold)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    char *dead = test_path(dir, "x.vq.tmp-1"), *living = test_path(dir, "x.vq.tmp-2");
    char *other = test_path(dir, "xyvq.tmp-3");
    vq_store *st;
    test_write(dead, "stale", 5);
    test_write(living, "busy", 4);
    test_write(other, "not ours", 8);
    int fd = open(living, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
    FAILS(VQ_EBUSY, vq_store_create(&st, path, false, &err));
    cr_assert(strstr(err.text, "another build") != NULL);
    cr_assert(access(living, F_OK) == 0);
    close(fd);
    make_store(path, false, 10);
    cr_assert(access(dead, F_OK) != 0 && access(living, F_OK) != 0);
    cr_assert(access(other, F_OK) == 0);
    free(dead);
    free(living);
    free(other);
    free(path);
    test_rmdir(dir);
}

Test(store, two_builds_of_one_path)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_store *st, *second;
    OK(vq_store_create(&st, path, false, &err));
    FAILS(VQ_EBUSY, vq_store_create(&second, path, true, &err));
    pid_t child = fork();
    if (child == 0) _exit(vq_store_create(&second, path, true, NULL) == VQ_EBUSY ? 0 : 1);
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child && status == 0);
    put(st, VQ_DB_IDS, 1, 10);
    OK(vq_store_finish(st, &err)); /* the others did it no harm */
    vq_store_free(st);
    cr_assert_eq(value_length(path), 10);
    free(path);
    test_rmdir(dir);
}

Test(store, keys_must_rise)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_store *st;
    uint8_t key[8], *room;
    for (vq_db db = VQ_DB_LISTS; db < VQ_DB_COUNT; db++)
        for (uint64_t next = 4; next <= 5; next++) {
            OK(vq_store_create(&st, path, false, &err));
            put(st, db, 5, 9);
            vq_put_be64(key, next);
            FAILS(VQ_EINVAL, vq_store_put(st, db, key, sizeof key, 9, &room, &err));
            vq_store_free(st);
        }
    cr_assert_eq(count_files(dir, ""), 0);
    free(path);
    test_rmdir(dir);
}

Test(store, larger_than_the_first_map)
{
    /* The first value alone is larger than the map at first, and than a transaction. */
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_store *st;
    uint8_t key[8], *room;
    static const size_t sizes[] = {110 << 20, 1000, 20 << 20, 17, 5000};
    OK(vq_store_create(&st, path, false, &err));
    for (uint64_t i = 0; i < VQ_COUNT(sizes); i++) {
        vq_put_be64(key, i);
        OK(vq_store_put(st, VQ_DB_LISTS, key, sizeof key, sizes[i], &room, &err));
        memset(room, (int)i + 1, sizes[i]);
    }
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
    vq_file *f;
    vq_snapshot s;
    OK(vq_file_open(&f, path, &err));
    cr_assert(vq_file_bytes(f) > (130u << 20));
    OK(vq_snapshot_begin(&s, f, &err));
    for (uint64_t i = 0; i < VQ_COUNT(sizes); i++) {
        const uint8_t *value;
        size_t len;
        vq_put_be64(key, i);
        OK(vq_snapshot_get(&s, VQ_DB_LISTS, key, sizeof key, &value, &len, &err));
        cr_assert_eq(len, sizes[i]);
        for (size_t at = 0; at < len; at += at + 4096 < len ? 4096 : 1)
            cr_assert_eq(value[at], i + 1);
    }
    vq_snapshot_end(&s);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}

Test(store, where_nothing_can_be_made)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "no/such/folder/x.vq");
    vq_store *st;
    FAILS(VQ_ENOENT, vq_store_create(&st, path, false, &err));
    cr_assert_eq(count_files(dir, ""), 0);
    free(path);
    test_rmdir(dir);
}
