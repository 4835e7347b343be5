/* SPDX-License-Identifier: Apache-2.0 */
/* An index is a name: who has it open goes on with what takes the place of its file, and every
 * answer on the way is right. */
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/index/fixture.h"

enum { N = 2000, D = 16, NQ = 16, K = 5, SWAPS = 12, READERS = 2 };

static char *dir, *path, *other;

static void open_dir(void)
{
    dir = test_tmpdir(), path = test_path(dir, "x.vq"), other = test_path(dir, "y.vq");
}

static void close_dir(void)
{
    free(path), free(other);
    test_rmdir(dir);
}

TestSuite(follow, .init = open_dir, .fini = close_dir);

static vq_build_opts options(uint32_t nlist)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "pq8", o.nlist = nlist, o.store = VQ_F32, o.force = 1, o.threads = 1, o.no_tune = 1;
    o.copies = VQ_COPIES_NO;
    return o;
}

static void build_at(const char *where, uint64_t seed, uint32_t nlist)
{
    vq_build_opts o = options(nlist);
    build_clusters(where, seed, N, D, &o);
}

static vq_searcher *exact_searcher(vq_index *ix, uint32_t pinned)
{
    vq_searcher *s = NULL;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.recall = 1, o.pinned = pinned;
    OK(vq_searcher_open(&s, ix, &o, &err));
    return s;
}

/* The id of the row of index `seed` nearest to its own row i. */
static uint64_t finds(vq_searcher *s, uint64_t seed, size_t i)
{
    float *x = clusters(seed, N, D);
    uint64_t id = VQ_NO_ID;
    float score = NAN;
    OK(vq_search(s, x + i * D, 1, 1, &id, &score, &err));
    vq_mem_free(x);
    return score == 0.0f ? id : VQ_NO_ID;
}

/* Longer than a name is trusted. */
static void wait_a_moment(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
}

static void delete_some(uint64_t first, uint64_t n)
{
    vq_writer *w;
    uint64_t ids[N];
    for (uint64_t i = 0; i < n; i++) ids[i] = first + i;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, ids, NULL, n, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
}

Test(follow, changes_after_compaction_are_seen)
{
    vq_info before = VQ_INFO_INIT, after = VQ_INFO_INIT;
    build_at(path, 1, 20);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0), *pinned = exact_searcher(ix, 1);
    cr_assert_eq(finds(s, 1, 7), 7);
    delete_some(100, 1000);
    OK(vq_index_info(ix, &before, &err));
    OK(vq_compact(path, NULL, NULL, &err));
    delete_some(7, 1);
    wait_a_moment();
    cr_assert_eq(finds(s, 1, 7), VQ_NO_ID);
    cr_assert_eq(finds(s, 1, 8), 8);
    cr_assert_eq(finds(pinned, 1, 7), 7);
    cr_assert_eq(finds(pinned, 1, 100), 100);
    OK(vq_searcher_refresh(pinned, &err));
    cr_assert_eq(finds(pinned, 1, 7), VQ_NO_ID);
    OK(vq_index_info(ix, &after, &err));
    cr_assert_eq(after.n, N - 1001);
    cr_assert_lt(after.file_bytes, before.file_bytes);
    vq_searcher_close(s), vq_searcher_close(pinned);
    vq_close(ix);
}

Test(follow, a_folder_may_change_meanwhile)
{
    build_at(path, 1, 20);
    char *old = getcwd(NULL, 0);
    cr_assert_eq(chdir(dir), 0);
    vq_index *ix = open_index("x.vq");
    vq_searcher *s = exact_searcher(ix, 0);
    cr_assert_eq(chdir("/"), 0);
    build_at(path, 2, 30);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 2, 3), 3);
    cr_assert_eq(chdir(old), 0);
    free(old);
    vq_searcher_close(s);
    vq_close(ix);
}

Test(follow, a_writer_may_change_its_folder)
{
    vq_writer *w;
    uint64_t id = 7;
    build_at(path, 1, 20);
    char *old = getcwd(NULL, 0);
    cr_assert_eq(chdir(dir), 0);
    OK(vq_writer_open(&w, "x.vq", NULL, &err));
    cr_assert_eq(chdir("/"), 0);
    OK(vq_writer_delete(w, &id, NULL, 1, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0);
    cr_assert_eq(finds(s, 1, 7), VQ_NO_ID);
    cr_assert_eq(chdir(old), 0);
    free(old);
    vq_searcher_close(s);
    vq_close(ix);
}

/* Filters are looked up anew in what came. */
Test(follow, a_filter_stays)
{
    static const uint64_t denied[] = {3, 5};
    build_at(path, 1, 20);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0);
    OK(vq_searcher_filter(s, VQ_FILTER_DENY, denied, NULL, 2, &err));
    cr_assert_eq(finds(s, 1, 3), VQ_NO_ID);
    build_at(path, 2, 30);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 2, 3), VQ_NO_ID);
    cr_assert_eq(finds(s, 2, 4), 4);
    vq_searcher_close(s);
    vq_close(ix);
}

Test(follow, what_answers_other_queries_is_refused)
{
    vq_build_opts o = options(20);
    build_at(path, 1, 20);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0), *pinned = exact_searcher(ix, 1);
    o.metric = VQ_METRIC_COSINE;
    build_clusters(path, 1, N, D, &o);
    FAILS(VQ_EINVAL, vq_searcher_refresh(s, &err));
    cr_assert(strstr(err.text, "metric cosine instead of l2") != NULL, "%s", err.text);
    o.metric = VQ_METRIC_L2;
    build_clusters(path, 1, N, D / 2, &o);
    FAILS(VQ_EINVAL, vq_searcher_refresh(s, &err));
    cr_assert(strstr(err.text, "8 dimensions instead of 16") != NULL, "%s", err.text);
    uint64_t id;
    float q[D] = {0};
    for (int i = 0; i < 2; i++) { /* no answers that are out of date */
        FAILS(VQ_EINVAL, vq_search(s, q, 1, 1, &id, NULL, &err));
        cr_assert(strstr(err.text, "8 dimensions instead of 16") != NULL, "%s", err.text);
        wait_a_moment();
    }
    cr_assert_eq(finds(pinned, 1, 7), 7);
    o.store = VQ_ELEM_NONE;
    build_clusters(path, 1, N, D, &o);
    OK(vq_searcher_refresh(s, &err));
    build_at(path, 2, 20);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 2, 9), 9);
    vq_searcher_close(s), vq_searcher_close(pinned);
    vq_close(ix);
}

/* Of two indexes none moves on where one cannot. */
Test(follow, all_or_none_are_followed)
{
    vq_build_opts o = options(20);
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    vq_searcher *s = NULL;
    build_at(path, 1, 20);
    build_at(other, 2, 20);
    vq_index *both[] = {open_index(path), open_index(other)};
    so.recall = 1, so.pinned = 1;
    OK(vq_searcher_open_many(&s, both, 2, &so, &err));
    build_at(path, 3, 20);
    build_clusters(other, 4, N, D / 2, &o);
    FAILS(VQ_EINVAL, vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 1, 7), 7);
    cr_assert_eq(finds(s, 2, 8), 8);
    build_at(other, 4, 20);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 3, 7), 7);
    cr_assert_eq(finds(s, 4, 8), 8);
    cr_assert_eq(finds(s, 1, 7), VQ_NO_ID);
    vq_searcher_close(s);
    vq_close(both[0]), vq_close(both[1]);
}

Test(follow, rows_that_were_asked_for_must_be_there)
{
    vq_build_opts o = options(20);
    build_at(path, 1, 20);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 4, 50);
    o.store = VQ_ELEM_NONE;
    build_clusters(path, 1, N, D, &o);
    FAILS(VQ_EUNSUPPORTED, vq_searcher_refresh(s, &err));
    vq_searcher_close(s);
    vq_close(ix);
}

Test(follow, a_name_that_is_gone_changes_nothing)
{
    build_at(path, 1, 20);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0);
    cr_assert_eq(unlink(path), 0);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 1, 7), 7);
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    cr_assert_eq(info.n, N);
    FILE *f = fopen(path, "w"); /* somebody is writing there, and does not do it well */
    cr_assert(f != NULL && fputs("no index", f) >= 0 && fclose(f) == 0);
    FAILS(VQ_ECORRUPT, vq_searcher_refresh(s, &err));
    FAILS(VQ_ECORRUPT, vq_index_info(ix, &info, &err));
    build_at(path, 2, 30);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 2, 7), 7);
    vq_searcher_close(s);
    vq_close(ix);
}

/* The lock file that it left is not for the next one. */
Test(follow, a_name_that_was_free_is_followed)
{
    vq_build_opts o = options(30);
    build_at(path, 1, 20);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0);
    cr_assert_eq(unlink(path), 0);
    o.force = 0;
    build_clusters(path, 2, N, D, &o);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 2, 7), 7);
    delete_some(7, 1);
    cr_assert_eq(finds(s, 2, 7), VQ_NO_ID);
    cr_assert_eq(unlink(path), 0);
    build_at(other, 3, 20);
    OK(vq_compact(other, path, NULL, &err));
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 3, 8), 8);
    delete_some(8, 1);
    vq_searcher_close(s);
    vq_close(ix);
}

/* How many snapshots of path another process counts. */
static int readers_seen(void)
{
    pid_t child = fork();
    if (child == 0) {
        vq_info info = VQ_INFO_INIT;
        vq_index *ix = NULL;
        vq_error e;
        bool fine = vq_open(&ix, path, 0, &e) == VQ_OK && vq_index_info(ix, &info, &e) == VQ_OK;
        vq_close(ix);
        _exit(fine ? (int)info.readers : 99);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A file moved by hand finds the lock file of the old one.  While this process has that open the
 * other must wait; then whoever writes knows of those who read. */
Test(follow, a_file_moved_by_hand_waits_for_the_old_one)
{
    vq_index *second = NULL;
    build_at(path, 1, 20);
    build_at(other, 2, 30);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0);
    cr_assert_eq(readers_seen(), 1);
    cr_assert_eq(rename(other, path), 0);
    FAILS(VQ_EBUSY, vq_searcher_refresh(s, &err));
    FAILS(VQ_EBUSY, vq_open(&second, path, 0, &err));
    wait_a_moment();
    cr_assert_eq(finds(s, 1, 7), 7);
    wait_a_moment();
    uint64_t id;
    float q[D] = {0};
    vq_error untouched = {.code = 1};
    OK(vq_search(s, q, 1, 1, &id, NULL, &untouched));
    cr_assert(untouched.code == 1 && untouched.text[0] == '\0', "%s", untouched.text);
    vq_searcher_close(s);
    vq_close(ix);
    ix = open_index(path);
    s = exact_searcher(ix, 0);
    cr_assert_eq(finds(s, 2, 7), 7);
    cr_assert_eq(readers_seen(), 1);
    vq_searcher_close(s);
    vq_close(ix);
}

/* Two names of a file are one index; what replaces it replaces what the link leads to. */
Test(follow, a_link_is_the_file_that_it_leads_to)
{
    struct stat st;
    vq_writer *w;
    uint64_t id = 5;
    char *current = test_path(dir, "current.vq");
    build_at(path, 1, 20);
    build_at(other, 2, 30);
    cr_assert_eq(symlink("x.vq", current), 0);
    vq_index *ix = open_index(current);
    vq_searcher *s = exact_searcher(ix, 0);
    cr_assert_eq(finds(s, 1, 7), 7);
    cr_assert_eq(readers_seen(), 1); /* by its other name */
    OK(vq_compact(current, NULL, NULL, &err));
    build_at(current, 3, 20);
    cr_assert(lstat(current, &st) == 0 && S_ISLNK(st.st_mode));
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 3, 7), 7);
    cr_assert_eq(readers_seen(), 1);
    OK(vq_writer_open(&w, current, NULL, &err));
    OK(vq_writer_delete(w, &id, NULL, 1, &err));
    cr_assert(unlink(current) == 0 && symlink("y.vq", current) == 0);
    FAILS(VQ_EBUSY, vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    OK(vq_searcher_refresh(s, &err));
    cr_assert_eq(finds(s, 2, 7), 7);
    OK(vq_writer_open(&w, current, NULL, &err));
    OK(vq_writer_delete(w, &id, NULL, 1, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    cr_assert_eq(finds(s, 2, 5), VQ_NO_ID);
    vq_searcher_close(s);
    vq_close(ix);
    free(current);
}

/* ---- under load ---- */

typedef struct reader {
    pthread_t thread;
    vq_index *ix;
    const float *queries;  /* NQ x D */
    const uint64_t *truth; /* NQ x K */
    bool *stop;
    uint64_t searches, wrong;
    vq_error failed;
} reader;

static void *read_on(void *arg)
{
    reader *r = arg;
    vq_searcher *s = NULL;
    uint64_t ids[NQ * K];
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.recall = 1;
    vq_status rc = vq_searcher_open(&s, r->ix, &o, &r->failed);
    while (rc == VQ_OK && !VQ_ATOMIC_LOAD(r->stop)) {
        rc = vq_search(s, r->queries, NQ, K, ids, NULL, &r->failed);
        r->wrong += rc == VQ_OK && memcmp(ids, r->truth, sizeof ids) != 0;
        r->searches++;
    }
    vq_searcher_close(s);
    return NULL;
}

/* Trained anew, and compacted, again and again: the rows stay, so exact answers do. */
Test(follow, no_answer_fails_while_an_index_is_trained_anew)
{
    float *queries = clusters(3, NQ, D);
    uint64_t truth[NQ * K];
    bool stop = false;
    build_at(path, 1, 20);
    vq_index *ix = open_index(path);
    vq_searcher *s = exact_searcher(ix, 0);
    OK(vq_search(s, queries, NQ, K, truth, NULL, &err));
    reader readers[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = (reader){.ix = ix, .queries = queries, .truth = truth, .stop = &stop};
        cr_assert_eq(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    }
    for (uint32_t i = 0; i < SWAPS; i++) {
        vq_source *rows;
        vq_build_opts o = options(10 + i);
        OK(vq_source_open_index(&rows, ix, &err));
        OK(vq_build(path, rows, &o, &err));
        vq_source_close(rows);
        if (i % 3 == 0) OK(vq_compact(path, NULL, NULL, &err));
        wait_a_moment();
    }
    VQ_ATOMIC_STORE(&stop, true);
    for (int i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_join(readers[i].thread, NULL), 0);
        cr_assert_eq(readers[i].wrong, 0);
        cr_assert_eq(readers[i].failed.code, 0, "%s", readers[i].failed.text);
        cr_assert_gt(readers[i].searches, SWAPS);
    }
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    cr_assert_eq(info.nlist, 10 + SWAPS - 1);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(queries);
}
