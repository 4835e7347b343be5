/* SPDX-License-Identifier: Apache-2.0 */
/* What can go wrong around us: no memory, a full disk, a folder that may not be written, a process
 * that is killed. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "src/base/team.h"
#include "tests/index/fixture.h"

enum { N = 300, D = 8 };

static vq_build_opts options(const char *codec)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = codec, o.threads = 1, o.force = 1;
    return o;
}

/* ---- memory ---- */

typedef struct walk {
    const char *path, *from, *second; /* from: the index that is trained anew, or copied */
    const float *x;
    vq_build_opts opts;
} walk;

static vq_status walk_build(walk *w)
{
    vq_source *src = NULL;
    vq_status rc = vq_source_open_array(&src, w->x, N, D, VQ_F32, &err);
    if (rc == VQ_OK) rc = vq_build(w->path, src, &w->opts, &err);
    vq_source_close(src);
    return rc;
}

static vq_status walk_retrain(walk *w)
{
    vq_index *ix = NULL;
    vq_source *src = NULL;
    vq_build_opts o = w->opts;
    o.names = NULL, o.nids = 0;
    vq_status rc = vq_open(&ix, w->from, 0, &err);
    if (rc == VQ_OK) rc = vq_source_open_index(&src, ix, &err);
    cr_assert((rc == VQ_OK) == (src != NULL));
    if (rc == VQ_OK) rc = vq_build(w->path, src, &o, &err);
    vq_source_close(src);
    vq_close(ix);
    return rc;
}

static vq_status walk_use(walk *w)
{
    vq_index *ix = NULL;
    vq_searcher *s = NULL;
    uint64_t ids[20], id = 0;
    float scores[20], row[D];
    char hex[33], name[501];
    vq_info info = VQ_INFO_INIT;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.nprobe = 1;
    vq_status rc = vq_open(&ix, w->path, 0, &err);
    cr_assert((rc == VQ_OK) == (ix != NULL));
    if (rc == VQ_OK) rc = vq_index_info(ix, &info, &err);
    if (rc == VQ_OK) rc = vq_index_digest(ix, hex, &err);
    if (rc == VQ_OK) rc = vq_searcher_open(&s, ix, &o, &err);
    if (rc == VQ_OK) rc = vq_search(s, w->x, 2, 10, ids, scores, &err);
    if (rc == VQ_OK) rc = vq_search(s, w->x, 1, 20, ids, scores, &err);
    if (rc == VQ_OK) rc = vq_id_name(s, ids[0], name, sizeof name, &err);
    if (rc == VQ_OK) rc = vq_id_find(s, name, &id, &err);
    if (rc == VQ_OK) rc = vq_get(s, id, row, &err);
    if (rc == VQ_OK) cr_assert(memcmp(row, w->x, sizeof row) == 0);
    const char *const denied = name;
    if (rc == VQ_OK) rc = vq_searcher_filter(s, VQ_FILTER_DENY, &id, &denied, 1, &err);
    if (rc == VQ_OK) rc = vq_search(s, w->x, 1, 10, ids, scores, &err);
    if (rc == VQ_OK) cr_assert_neq(ids[0], id);
    vq_searcher_close(s);
    vq_close(ix);
    return rc;
}

static vq_status walk_check(walk *w)
{
    vq_check_report r = VQ_CHECK_REPORT_INIT;
    vq_status rc = vq_check(w->path, NULL, NULL, &r, &err);
    if (rc == VQ_OK) cr_assert_eq(r.problems, 0, "no memory is no damage");
    return rc;
}

static vq_status walk_compact(walk *w)
{
    vq_compact_opts o = VQ_COMPACT_OPTS_INIT;
    return vq_compact(w->from, w->path, &o, &err);
}

static vq_status walk_merge(walk *w)
{
    const char *paths[] = {w->from, w->second};
    vq_merge_opts o = VQ_MERGE_OPTS_INIT;
    o.keep = VQ_KEEP_LAST;
    return vq_merge(paths, 2, w->path, &o, &err);
}

static vq_status walk_adopt(walk *w)
{
    vq_source *src = NULL;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.names = w->opts.names, o.nids = w->opts.nids, o.no_tune = 1;
    vq_status rc = vq_open(&o.model, w->from, 0, &err);
    if (rc == VQ_OK) rc = vq_source_open_array(&src, w->x, N, D, VQ_F32, &err);
    if (rc == VQ_OK) rc = vq_build(w->path, src, &o, &err);
    vq_source_close(src);
    vq_close(o.model);
    return rc;
}

/* Fails every allocation in turn, each time with all that follow. */
static void walk_through(walk *w, vq_status (*step)(walk *w), const char *dir, bool makes)
{
    for (uint64_t n = 1;; n++) {
        memset(&err, 0, sizeof err);
        if (makes) (void)unlink(w->path);
        vq_mem_fail_after(n);
        vq_status rc = step(w);
        uint64_t calls = vq_mem_count();
        vq_mem_fail_after(0);
        if (rc == VQ_OK && calls < n) break; /* there are no more */
        if (rc == VQ_OK) continue;           /* it could do without */
        cr_assert(rc == VQ_ENOMEM && err.code == VQ_ENOMEM && err.text[0] != '\0',
                  "allocation %llu: %d: %s", (unsigned long long)n, (int)rc, err.text);
        if (makes)
            cr_assert_eq(count_files(dir, strrchr(w->path, '/') + 1), 0, "allocation %llu",
                         (unsigned long long)n);
    }
}

static void walk_all(const char *codec, uint32_t rotation, bool strings)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), **names = make_names(N, "n");
    char *other = test_path(dir, "y.vq");
    float *x = clusters(1, N, D);
    walk w = {.path = path, .x = x, .opts = options(codec)};
    w.opts.rotation = rotation, w.opts.store = VQ_F32, w.opts.nlist = 4;
    if (strings) w.opts.names = (const char *const *)names, w.opts.nids = N;
    if (!strings) w.opts.memory = 1; /* by the temporary file */
    if (!strings) w.opts.copies = VQ_COPIES_YES;
    walk_through(&w, walk_build, dir, true);
    cr_assert_eq(problems_of(path), 0);
    walk_through(&w, walk_use, dir, false);
    walk_through(&w, walk_check, dir, false);
    cr_assert_eq(problems_of(path), 0);
    w.path = other, w.from = path;
    walk_through(&w, walk_compact, dir, true);
    char *lock = test_path(dir, "y.vq-lock");
    cr_assert(problems_of(other) == 0 && unlink(lock) == 0);
    walk_through(&w, walk_retrain, dir, true);
    cr_assert(problems_of(other) == 0 && unlink(lock) == 0);
    walk_through(&w, walk_adopt, dir, true);
    cr_assert(problems_of(other) == 0 && unlink(lock) == 0);
    char *third = test_path(dir, "z.vq"), *third_lock = test_path(dir, "z.vq-lock");
    w.second = other, w.path = third;
    walk_through(&w, walk_merge, dir, true);
    cr_assert(problems_of(third) == 0 && unlink(third_lock) == 0);
    free(lock), free(third_lock), free(third);
    vq_mem_free(x);
    free_names(names, N);
    free(path), free(other);
    test_rmdir(dir);
}

Test(fault, no_memory, .timeout = 300)
{
    walk_all("pq4", VQ_ROTATION_OPQ, true);
    walk_all("sq8", VQ_ROTATION_RANDOM, false);
    walk_all("pq8", VQ_ROTATION_PCA, false);
    walk_all("aq8", VQ_ROTATION_PCA, false);
    walk_all("flat", VQ_ROTATION_NONE, true);
}

/* Distillation: by exact answers that are kept, and by scores that are given; labels to both. */
Test(fault, no_memory_to_learn, .timeout = 300)
{
    enum { ASKED = 20, SCORED = 3 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *cache = test_path(dir, "c");
    float *x = clusters(1, N, D), *q = clusters(2, ASKED, D), score[ASKED * SCORED];
    uint64_t query[ASKED * SCORED], row[ASKED * SCORED];
    for (size_t i = 0; i < ASKED * SCORED; i++)
        query[i] = i / SCORED, row[i] = i * 3 % N, score[i] = (float)(i % SCORED);
    vq_pairs scores = {.n = ASKED * SCORED, .query = query, .row = row, .score = score};
    vq_pairs labels = {.n = 9, .query = query, .row = row + 1};
    vq_source *asked;
    OK(vq_source_open_array(&asked, q, ASKED, D, VQ_F32, &err));
    walk w = {.path = path, .x = x, .opts = options("pq4")};
    w.opts.metric = VQ_METRIC_IP, w.opts.rotation = VQ_ROTATION_PCA, w.opts.nlist = 4;
    w.opts.queries = &asked, w.opts.nqueries = 1, w.opts.epochs = 1, w.opts.positives = &labels;
    w.opts.store = VQ_F32, w.opts.copies = VQ_COPIES_YES;
    for (int given = 0; given < 2; given++) {
        w.opts.teacher = given ? &scores : NULL;
        w.opts.teacher_cache = given ? NULL : cache;
        walk_through(&w, walk_build, dir, true);
    }
    cr_assert_eq(problems_of(path), 0);
    cr_assert_eq(count_files(dir, "c"), 1, "nothing but the cache");
    vq_source_close(asked);
    vq_mem_free(x), vq_mem_free(q);
    free(cache);
    free(path);
    test_rmdir(dir);
}

/* Judged queries teach, and a search is cut. */
static vq_status walk_relevance(walk *w)
{
    enum { ASKED = 40 };
    vq_index *ix = NULL;
    vq_searcher *s = NULL;
    vq_source *src = NULL;
    uint64_t first[ASKED + 1], ids[ASKED], found[10];
    int32_t grades[ASKED];
    float relevance[10];
    const vq_judgements j = {.nq = ASKED, .first = first, .ids = ids, .grades = grades};
    vq_relevance_opts o = VQ_RELEVANCE_OPTS_INIT;
    for (uint64_t i = 0; i <= ASKED; i++) first[i] = i;
    for (uint64_t i = 0; i < ASKED; i++) ids[i] = i, grades[i] = 1;
    o.queries = &src, o.nqueries = 1, o.judged = &j, o.threads = 1;
    vq_status rc = vq_source_open_array(&src, w->x, ASKED, D, VQ_F32, &err);
    if (rc == VQ_OK) rc = vq_relevance_calibrate(w->path, &o, &err);
    if (rc == VQ_OK) rc = vq_open(&ix, w->path, 0, &err);
    if (rc == VQ_OK) rc = vq_searcher_open(&s, ix, NULL, &err);
    if (rc == VQ_OK) rc = vq_search_relevant(s, w->x, 1, 10, 0.5f, found, NULL, relevance, &err);
    if (rc == VQ_OK) cr_assert_eq(found[0], 0);
    vq_searcher_close(s);
    vq_close(ix);
    vq_source_close(src);
    return rc;
}

Test(fault, no_memory_to_tell_what_is_relevant, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D);
    vq_build_opts o = options("sq8");
    walk w = {.path = path, .x = x};
    build(path, x, N, D, VQ_F32, &o);
    walk_through(&w, walk_relevance, dir, false);
    cr_assert_eq(problems_of(path), 0);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* ---- processes ---- */

/* Runs in a child, which ends with what body returns; 128 + signal if it is killed after
 * microseconds (0: never). */
static int in_child(int (*body)(void *ctx), void *ctx, long microseconds)
{
    int status = 0;
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) _exit(body(ctx));
    if (microseconds > 0) {
        struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000};
        (void)nanosleep(&t, NULL);
        (void)kill(child, SIGKILL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

typedef struct work {
    const char *path;
    const float *x;
    size_t n;
    uint64_t seed;
} work;

static int build_in_child(void *ctx)
{
    const work *w = ctx;
    vq_build_opts o = options("pq4");
    vq_source *src = NULL;
    o.seed = w->seed, o.store = VQ_F32;
    vq_status rc = vq_source_open_array(&src, w->x, w->n, D, VQ_F32, &err);
    if (rc == VQ_OK) rc = vq_build(w->path, src, &o, &err);
    vq_source_close(src);
    return -(int)rc;
}

Test(fault, killed_builds, .timeout = 300)
{
    enum { ROWS = 2000, ROUNDS = 20 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), hex[2][33], now[33];
    float *x = clusters(1, ROWS, D);
    work w = {path, x, ROWS, 1};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 9);
    double start = vq_now();
    cr_assert_eq(in_child(build_in_child, &w, 0), 0);
    long whole = (long)((vq_now() - start) * 1e6);
    digest_of(path, hex[0]);
    w.seed = 2;
    cr_assert_eq(in_child(build_in_child, &w, 0), 0);
    digest_of(path, hex[1]);
    cr_assert(strcmp(hex[0], hex[1]) != 0);
    int killed = 0, left = 0;
    for (int i = 0; i < ROUNDS; i++) {
        bool fresh = i % 4 == 0; /* no file in its place */
        if (fresh) (void)unlink(path);
        bool there = access(path, F_OK) == 0;
        w.seed = 1 + (uint64_t)i % 2;
        int code = in_child(build_in_child, &w, 1 + (long)vq_rng_below(&r, (uint64_t)whole));
        cr_assert(code == 0 || code == 128 + SIGKILL, "code %d", code);
        killed += code != 0, left += count_files(dir, "x.vq.tmp-");
        if (access(path, F_OK) != 0) {
            cr_assert(!there && code != 0);
            continue;
        }
        digest_of(path, now);
        cr_assert(strcmp(now, hex[0]) == 0 || strcmp(now, hex[1]) == 0);
        cr_assert_eq(problems_of(path), 0);
    }
    cr_assert(killed > 0 && left > 0, "%d killed, %d left something", killed, left);
    cr_assert_eq(in_child(build_in_child, &w, 0), 0); /* the next build cleans up */
    cr_assert_eq(count_files(dir, "x.vq.tmp-"), 0);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* ---- disk ---- */

typedef struct full {
    work w;
    size_t limit;
    uint64_t memory;
} full;

static int build_when_full(void *ctx)
{
    const full *f = ctx;
    struct rlimit limit = {f->limit, f->limit};
    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 100;
    vq_source *src = NULL;
    vq_build_opts o = options("flat");
    o.memory = f->memory, o.store = VQ_F32, o.seed = 3;
    if (vq_source_open_array(&src, f->w.x, f->w.n, D, VQ_F32, &err) != VQ_OK) return 101;
    vq_status rc = vq_build(f->w.path, src, &o, &err);
    vq_source_close(src);
    if (rc == VQ_EIO && err.text[0] == '\0') return 102;
    return -(int)rc;
}

Test(fault, a_full_disk)
{
    enum { ROWS = 3000 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), before[33], after[33];
    float *x = clusters(1, ROWS, D);
    vq_build_opts o = options("flat");
    build(path, x, ROWS, D, VQ_F32, &o);
    digest_of(path, before);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    size_t size = (size_t)st.st_size;
    const size_t limits[] = {0, 4096, 8192, 20000, size / 4, size / 2, size - 4096 * 4};
    for (size_t i = 0; i < VQ_COUNT(limits); i++)
        for (uint64_t memory = 0; memory <= 1; memory++) {
            full f = {{path, x, ROWS, 0}, limits[i], memory};
            cr_assert_eq(in_child(build_when_full, &f, 0), -VQ_EIO, "limit %zu", limits[i]);
            digest_of(path, after);
            cr_assert_str_eq(before, after);
            cr_assert_eq(count_files(dir, "x.vq.tmp-"), 0);
        }
    full enough = {{path, x, ROWS, 0}, 2 * size, 0};
    cr_assert_eq(in_child(build_when_full, &enough, 0), 0);
    digest_of(path, after);
    cr_assert(strcmp(before, after) != 0);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* ---- merges ---- */

typedef struct merging {
    const char *a, *b, *out;
    size_t limit; /* of a file's bytes; 0: none */
} merging;

static int merge_in_child(void *ctx)
{
    const merging *m = ctx;
    const char *paths[] = {m->a, m->b};
    vq_merge_opts o = VQ_MERGE_OPTS_INIT;
    struct rlimit limit = {m->limit, m->limit};
    o.force = 1;
    (void)signal(SIGXFSZ, SIG_IGN);
    if (m->limit != 0 && setrlimit(RLIMIT_FSIZE, &limit) != 0) return 100;
    return -(int)vq_merge(paths, 2, m->out, &o, &err);
}

Test(fault, merges_that_do_not_end, .timeout = 300)
{
    enum { ROWS = 3000, ROUNDS = 20 };
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out"), whole[33], now[33];
    float *x = clusters(1, 2 * ROWS, D);
    uint64_t *ids = vq_mem_alloc(ROWS, sizeof *ids);
    vq_build_opts o = options("flat"), second = options(NULL);
    o.store = VQ_F32, o.copies = VQ_COPIES_YES;
    build(a, x, ROWS, D, VQ_F32, &o);
    vq_index *model = open_index(a);
    for (uint64_t i = 0; i < ROWS; i++) ids[i] = ROWS + i;
    second.model = model, second.ids = ids, second.nids = ROWS;
    build(b, x + ROWS * D, ROWS, D, VQ_F32, &second);
    vq_close(model);
    merging m = {a, b, out, 0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 10);
    double start = vq_now();
    cr_assert_eq(in_child(merge_in_child, &m, 0), 0);
    uint64_t most = (uint64_t)((vq_now() - start) * 1e6);
    digest_of(out, whole);
    struct stat st;
    cr_assert(stat(out, &st) == 0 && unlink(out) == 0);
    const size_t limits[] = {4096, 20000, (size_t)st.st_size / 2, (size_t)st.st_size - 4 * 4096};
    for (size_t i = 0; i < VQ_COUNT(limits); i++) {
        m.limit = limits[i];
        cr_assert_eq(in_child(merge_in_child, &m, 0), -VQ_EIO, "limit %zu", limits[i]);
        cr_assert(access(out, F_OK) != 0 && count_files(dir, "out.tmp-") == 0);
    }
    m.limit = 0;
    for (int i = 0; i < ROUNDS; i++) {
        (void)unlink(out);
        int code = in_child(merge_in_child, &m, 1 + (long)vq_rng_below(&r, most));
        cr_assert(code == 0 || code == 128 + SIGKILL, "code %d", code);
        if (access(out, F_OK) != 0) continue;
        digest_of(out, now);
        cr_assert_str_eq(now, whole);
    }
    cr_assert_eq(in_child(merge_in_child, &m, 0), 0); /* the next one cleans up */
    cr_assert_eq(count_files(dir, "out.tmp-"), 0);
    cr_assert_eq(problems_of(out), 0);
    vq_mem_free(x), vq_mem_free(ids);
    free(a), free(b), free(out);
    test_rmdir(dir);
}

static int use_as_nobody(void *ctx)
{
    const work *w = ctx;
    vq_index *ix = NULL;
    vq_searcher *s = NULL;
    uint64_t id;
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 77;
    vq_status rc = vq_open(&ix, w->path, 0, &err); /* where no lock file can be made */
    if (rc == VQ_OK) rc = vq_searcher_open(&s, ix, NULL, &err);
    if (rc == VQ_OK) rc = vq_search(s, w->x, 1, 1, &id, NULL, &err);
    if (rc != VQ_OK || id != 0) return 50;
    vq_searcher_close(s);
    vq_close(ix);
    if (problems_of(w->path) != 0) return 51;
    return build_in_child(ctx);
}

Test(fault, a_folder_that_cannot_be_written)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *lock = test_path(dir, "x.vq-lock");
    float *x = clusters(1, N, D);
    char before[33], after[33];
    work w = {path, x, N, 2};
    vq_build_opts o = options("sq8");
    build(path, x, N, D, VQ_F32, &o);
    digest_of(path, before);
    (void)unlink(lock);
    cr_assert(chmod(path, 0444) == 0 && chmod(dir, 0555) == 0);
    int code = in_child(use_as_nobody, &w, 0);
    cr_assert(code == -VQ_EIO || code == 77, "code %d", code); /* 77: cannot become another user */
    cr_assert_eq(chmod(dir, 0755), 0);
    digest_of(path, after);
    cr_assert_str_eq(before, after);
    cr_assert_eq(count_files(dir, "x.vq.tmp-"), 0);
    vq_mem_free(x);
    free(path);
    free(lock);
    test_rmdir(dir);
}
