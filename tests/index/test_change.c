/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions over a file: the map grows, a failure leaves nothing, one writer at a time. */
#include "index/change.h"

#include <sys/wait.h>

#include "src/base/bytes.h"
#include "tests/index/fixture.h"

enum { BIG = 3 << 20 };

static void make(const char *path)
{
    vq_store *st;
    uint8_t *room;
    OK(vq_store_create(&st, path, false, &err));
    OK(vq_store_put(st, VQ_DB_META, "first", 5, 3, &room, &err));
    memcpy(room, "one", 3);
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
}

typedef struct writes {
    uint64_t from, to; /* keys of lists */
    uint64_t fails_at; /* UINT64_MAX: never */
    int runs;
} writes;

static vq_status put_many(void *ctx, vq_change *c, vq_error *e)
{
    vq_status rc = VQ_OK;
    writes *p = ctx;
    p->runs++;
    for (uint64_t i = p->from; i < p->to && rc == VQ_OK; i++) {
        uint8_t key[8], *room;
        if (i == p->fails_at) return vq_fail(e, VQ_ECANCELED, "enough");
        vq_put_be64(key, i);
        rc = vq_change_put(c, VQ_DB_LISTS, key, sizeof key, BIG, &room, e);
        if (rc == VQ_OK) memset(room, (int)i + 1, BIG);
    }
    return rc;
}

static vq_status drop_odd(void *ctx, vq_change *c, vq_error *e)
{
    vq_status rc = VQ_OK;
    const writes *p = ctx;
    for (uint64_t i = p->from; i < p->to && rc == VQ_OK; i++) {
        uint8_t key[8];
        vq_put_be64(key, i);
        if (i % 2 == 1) rc = vq_change_delete(c, VQ_DB_LISTS, key, sizeof key, e);
        if (i % 2 == 1 && rc == VQ_OK) rc = vq_change_drop(c, VQ_DB_LISTS, key, sizeof key, e);
    }
    return rc;
}

static uint64_t entries(vq_file *f)
{
    vq_snapshot s;
    OK(vq_snapshot_begin(&s, f, &err));
    uint64_t n = s.db[VQ_DB_LISTS].root != VQ_NO_PAGE ? s.db[VQ_DB_LISTS].entries : 0;
    for (uint64_t i = 0; i < 100; i++) {
        uint8_t key[8];
        const uint8_t *value;
        size_t len;
        vq_put_be64(key, i);
        if (vq_snapshot_get(&s, VQ_DB_LISTS, key, sizeof key, &value, &len, &err) != VQ_OK)
            continue;
        cr_assert(len == BIG && value[0] == i + 1 && value[BIG - 1] == i + 1);
    }
    vq_snapshot_end(&s);
    return n;
}

Test(change, the_map_grows_and_readers_follow, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    vq_change *c;
    vq_file *f;
    vq_snapshot old;
    make(path);
    OK(vq_file_open(&f, path, &err));
    OK(vq_snapshot_begin(&old, f, &err));
    uint64_t newest = vq_file_newest(f);
    OK(vq_change_begin(&c, path, 0, &err));
    writes p = {.to = 40, .fails_at = UINT64_MAX}; /* more than the map is for at first */
    OK(vq_change_apply(c, put_many, &p, &err));
    cr_assert(p.runs > 1, "the map was large enough from the first");
    cr_assert_eq(vq_file_newest(f), newest + 1);
    cr_assert_eq(entries(f), 40);
    p = (writes){.from = 40, .to = 60, .fails_at = 55};
    FAILS(VQ_ECANCELED, vq_change_apply(c, put_many, &p, &err));
    cr_assert(entries(f) == 40 && vq_file_newest(f) == newest + 1);
    p = (writes){.to = 40};
    OK(vq_change_apply(c, drop_odd, &p, &err));
    cr_assert_eq(entries(f), 20);
    FAILS(VQ_ECORRUPT, vq_change_apply(c, drop_odd, &p, &err)); /* they are not there any more */
    cr_assert_eq(entries(f), 20);
    vq_change_end(c);
    cr_assert_eq(old.pages.txn, newest); /* and what it saw is there still */
    const uint8_t *value;
    size_t len;
    OK(vq_snapshot_get(&old, VQ_DB_META, "first", 5, &value, &len, &err));
    cr_assert(len == 3 && memcmp(value, "one", 3) == 0);
    vq_snapshot_end(&old);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}

/* Another process writes much more than our map has room for. */
Test(change, by_another_process, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    int ends[2], back[2], status = 1;
    char byte;
    make(path);
    cr_assert(pipe(ends) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0) {
        vq_change *c = NULL;
        writes p = {.to = 40, .fails_at = UINT64_MAX};
        if (read(ends[0], &byte, 1) != 1 || vq_change_begin(&c, path, 0, NULL) != VQ_OK) _exit(1);
        if (vq_change_apply(c, put_many, &p, NULL) != VQ_OK) _exit(2);
        if (write(back[1], "x", 1) != 1 || read(ends[0], &byte, 1) != 1) _exit(3);
        vq_change_end(c);
        _exit(0);
    }
    vq_file *f;
    vq_change *c;
    vq_readers r;
    OK(vq_file_open(&f, path, &err));
    cr_assert_eq(entries(f), 0);
    cr_assert(write(ends[1], "x", 1) == 1 && read(back[0], &byte, 1) == 1);
    cr_assert_eq(entries(f), 40);
    FAILS(VQ_EBUSY, vq_change_begin(&c, path, 20, &err));
    cr_assert(c == NULL && strstr(err.text, "waited 0.02 s") != NULL, "%s", err.text);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert(waitpid(child, &status, 0) == child && status == 0);
    OK(vq_change_begin(&c, path, 0, &err));
    writes p = {.to = 2, .fails_at = UINT64_MAX};
    OK(vq_change_apply(c, put_many, &p, &err));
    cr_assert_eq(entries(f), 40);
    OK(vq_file_readers(f, &r, &err));
    cr_assert(r.count == 0 && r.oldest == UINT64_MAX);
    vq_change_end(c);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}

typedef struct attempt {
    const char *path;
    int refused, made;
} attempt;

static int try_to_write(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    attempt *a = ctx;
    vq_error e = {0};
    vq_writer *w = NULL;
    vq_writer_opts o = VQ_WRITER_OPTS_INIT;
    (void)phase, (void)done, (void)total;
    o.wait_ms = VQ_NONE;
    if (vq_writer_open(&w, a->path, &o, &e) == VQ_EBUSY)
        a->refused++;
    else
        a->made++;
    vq_writer_close(w);
    return 0;
}

/* What is written to an index while another takes its place would be lost. */
Test(change, not_while_it_is_replaced)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    attempt a = {.path = path};
    build_clusters(path, 1, 200, 8, &o);
    o.progress = try_to_write, o.progress_ctx = &a, o.force = 1;
    build_clusters(path, 2, 300, 8, &o);
    cr_assert(a.refused > 0 && a.made == 0);
    o.force = 0;
    vq_writer *w;
    OK(vq_writer_open(&w, path, NULL, &err)); /* after that it may */
    vq_writer_close(w);
    test_write(path, "junk", 4); /* no index, but it may be replaced */
    o.force = 1, o.progress = NULL;
    build_clusters(path, 3, 100, 8, &o);
    free(path);
    test_rmdir(dir);
}

Test(change, a_file_that_is_replaced)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x"), *other = test_path(dir, "y");
    vq_change *c, *second;
    make(path);
    make(other);
    OK(vq_change_begin(&c, path, 0, &err));
    FAILS(VQ_EBUSY, vq_change_begin(&second, path, 0, &err));
    cr_assert_eq(rename(other, path), 0);
    writes p = {.to = 1, .fails_at = UINT64_MAX};
    FAILS(VQ_EBUSY, vq_change_apply(c, put_many, &p, &err));
    cr_assert_eq(p.runs, 0);
    vq_change_end(c);
    FAILS(VQ_ENOENT, vq_change_begin(&c, other, 0, &err));
    free(path), free(other);
    test_rmdir(dir);
}
