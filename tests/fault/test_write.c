/* SPDX-License-Identifier: Apache-2.0 */
/* What can go wrong while an index is changed: no memory, a file that may not grow or be written, a
 * process that is killed.  VQ_TEST_KILLS: how many writers are. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/index/live.h"

enum { KILLS = 20, BATCH = 40, FEW = 100 };

/* What the writer of a life does at its step: the same for who follows in an array. */
static void do_step(const live_config *c, uint64_t life, uint64_t step, state *s, vq_writer *w)
{
    vq_rng rng;
    vq_rng_init(&rng, test_seed() + life, step);
    for (int op = 0; op < 3; op++) { /* 0: add or replace; 1: delete; 2: replace */
        static float x[BATCH * 64];
        uint64_t numbers[BATCH];
        char rooms[BATCH][16];
        const char *names[BATCH];
        size_t n = 0;
        for (int tries = 0; tries < BATCH; tries++) {
            uint32_t i = (uint32_t)vq_rng_below(&rng, UNIVERSE);
            size_t j = 0;
            while (j < n && numbers[j] != i) j++;
            if (j < n || (op > 0 && !s->there[i]) || (op == 1 && s->n < FEW)) continue;
            s->row[i] = (uint32_t)vq_rng_below(&rng, 100000);
            s->n += (op != 1) - (size_t)s->there[i];
            s->there[i] = op != 1;
            live_row(s->row[i], c->d, x + n * c->d);
            names[n] = live_name(i, rooms[n]);
            numbers[n++] = i;
        }
        const uint64_t *ids = c->strings ? NULL : numbers;
        const char *const *strings = c->strings ? names : NULL;
        vq_source *src;
        if (w == NULL) continue;
        if (op == 1) {
            OK(vq_writer_delete(w, ids, strings, n, &err));
            continue;
        }
        OK(vq_source_open_array(&src, x, n, c->d, VQ_F32, &err));
        OK(vq_writer_upsert(w, src, ids, strings, n, &err));
        vq_source_close(src);
    }
}

/* Changes the index until it is killed; tells of each commit that has returned. */
static void live_on(const live_config *c, const char *path, uint64_t life, state s, int to)
{
    vq_writer *w;
    vq_writer_opts o = VQ_WRITER_OPTS_INIT;
    o.threads = 1;
    if (vq_writer_open(&w, path, &o, &err) != VQ_OK) _exit(1);
    for (uint64_t step = 0;; step++) {
        do_step(c, life, step, &s, w);
        if (vq_writer_commit(w, NULL, &err) != VQ_OK) _exit(2);
        if (write(to, &step, sizeof step) != sizeof step) _exit(3);
    }
}

/* Starts a writer and kills it; how many of its commits have returned. */
static uint64_t kill_one(const live_config *c, const char *path, uint64_t life, const state *s,
                         vq_rng *rng)
{
    int ends[2], status = 0;
    uint64_t step, returned = 0;
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        live_on(c, path, life, *s, ends[1]);
    }
    (void)close(ends[1]);
    /* After some commits, at any moment of the next ones. */
    uint64_t wait = vq_rng_below(rng, 4);
    while (returned < wait && read(ends[0], &step, sizeof step) == sizeof step) returned = step + 1;
    struct timespec t = {0, (long)vq_rng_below(rng, 30000000)};
    (void)nanosleep(&t, NULL);
    (void)kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the writer ended by itself: %d",
              status);
    while (read(ends[0], &step, sizeof step) == sizeof step) returned = step + 1;
    (void)close(ends[0]);
    return returned;
}

static bool holds_all(const live_config *c, const state *s, const char *path)
{
    vq_index *ix = open_index(path);
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    vq_searcher *searcher = open_searcher(ix, 0, 0);
    bool same = info.n == s->n;
    for (uint32_t i = 0; i < UNIVERSE && same; i++) {
        float row[MOST_D], want[MOST_D];
        char room[16];
        uint64_t id = 0;
        if (!c->strings) (void)snprintf(room, sizeof room, "%u", i);
        vq_status rc = vq_id_find(searcher, c->strings ? live_name(i, room) : room, &id, &err);
        same = (rc == VQ_OK) == s->there[i];
        if (!same || rc != VQ_OK) continue;
        OK(vq_get(searcher, id, row, &err));
        live_row(s->row[i], c->d, want);
        same = memcmp(row, want, c->d * sizeof *row) == 0;
    }
    vq_searcher_close(searcher);
    vq_close(ix);
    return same;
}

static void kill_many(const live_config *c, uint64_t kills)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    vq_rng rng;
    uint64_t commits = 0, unseen = 0;
    vq_rng_init(&rng, test_seed(), 77);
    live_build(path, c, 300, &s);
    for (uint64_t life = 0; life < kills; life++) {
        uint64_t returned = kill_one(c, path, life, &s, &rng);
        cr_assert_eq(problems_of(path), 0, "life %llu", (unsigned long long)life);
        for (uint64_t step = 0; step < returned; step++) do_step(c, life, step, &s, NULL);
        commits += returned;
        if (holds_all(c, &s, path)) continue;
        /* One more commit may have been made, of which nobody was told. */
        do_step(c, life, returned, &s, NULL);
        unseen++;
        cr_assert(holds_all(c, &s, path), "life %llu: neither what %llu commits made nor one more",
                  (unsigned long long)life, (unsigned long long)returned);
    }
    if (getenv("VQ_TEST_KILLS") != NULL)
        (void)fprintf(stderr,
                      "%s: %llu writers killed, %llu commits told, %llu made but not told\n",
                      c->codec, (unsigned long long)kills, (unsigned long long)commits,
                      (unsigned long long)unseen);
    cr_assert(commits > 0);
    free(path);
    test_rmdir(dir);
}

static const live_config numbers = {"pq8", VQ_METRIC_L2, VQ_F32, 9, 16, false, true, 0};
static const live_config strings = {"sq8", VQ_METRIC_IP, VQ_F32, 9, 16, true, true, 0};

Test(write, killed_writers, .timeout = 7200)
{
    uint64_t kills = env_number("VQ_TEST_KILLS", KILLS);
    kill_many(&numbers, kills / 2);
    kill_many(&strings, kills - kills / 2);
}

static void wait_for(pid_t child)
{
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

/* A file that may not grow: the commit fails, and is made once it may. */
Test(write, no_room, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s, next;
    live_build(path, &numbers, 300, &s);
    next = s;
    do_step(&numbers, 0, 0, &next, NULL);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        vq_writer *w;
        struct stat st;
        state mine = s;
        (void)signal(SIGXFSZ, SIG_IGN);
        OK(vq_writer_open(&w, path, NULL, &err));
        do_step(&numbers, 0, 0, &mine, w);
        for (rlim_t more = 0; more < 3 * 4096; more += 4096) {
            if (stat(path, &st) != 0) _exit(1);
            struct rlimit limit = {(rlim_t)st.st_size + more, RLIM_INFINITY};
            (void)setrlimit(RLIMIT_FSIZE, &limit);
            vq_status rc = vq_writer_commit(w, NULL, &err);
            if (rc != VQ_EIO || strstr(err.text, path) == NULL) _exit(2);
            if (!holds_all(&numbers, &s, path)) _exit(3);
        }
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
        (void)setrlimit(RLIMIT_FSIZE, &limit);
        if (vq_writer_commit(w, NULL, &err) != VQ_OK) _exit(4);
        vq_writer_close(w);
        _exit(0);
    }
    wait_for(child);
    cr_assert(holds_all(&numbers, &next, path));
    cr_assert_eq(problems_of(path), 0);
    free(path);
    test_rmdir(dir);
}

/* A file that may only be read can be searched, and says so to a writer. */
Test(write, no_permission, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    live_build(path, &numbers, 50, &s);
    cr_assert(chmod(path, 0444) == 0 && chmod(dir, 0755) == 0);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        vq_writer *w = NULL;
        if (geteuid() == 0 && setuid(65534) != 0) _exit(0); /* nobody can be asked */
        if (vq_writer_open(&w, path, NULL, &err) != VQ_EIO) _exit(1);
        if (w != NULL || strstr(err.text, "ermission") == NULL) _exit(2);
        _exit(holds_all(&numbers, &s, path) ? 0 : 3);
    }
    wait_for(child);
    free(path);
    test_rmdir(dir);
}

static vq_status one_change(const char *path, const state *s, state *next)
{
    vq_writer *w = NULL;
    *next = *s;
    static float x[4 * 64];
    char rooms[4][16];
    const char *names[4];
    vq_source *src = NULL;
    for (uint32_t i = 0; i < 4; i++) {
        names[i] = live_name(i, rooms[i]);
        live_row(5000 + i, strings.d, x + i * strings.d);
        next->row[i] = 5000 + i;
    }
    next->n -= next->there[3]; /* it may be gone since the change before */
    next->there[3] = false;
    vq_status rc = vq_writer_open(&w, path, NULL, &err);
    if (rc == VQ_OK) rc = vq_source_open_array(&src, x, 4, strings.d, VQ_F32, &err);
    if (rc == VQ_OK) rc = vq_writer_upsert(w, src, NULL, names, 4, &err);
    if (rc == VQ_OK) rc = vq_writer_delete(w, NULL, names + 3, 1, &err);
    if (rc == VQ_OK) rc = vq_writer_commit(w, NULL, &err);
    vq_source_close(src);
    vq_writer_close(w);
    return rc;
}

Test(write, no_memory, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s, next;
    live_build(path, &strings, 60, &s);
    uint64_t failed = 0;
    for (uint64_t n = 1;; n++) {
        memset(&err, 0, sizeof err);
        vq_mem_fail_after(n);
        vq_status rc = one_change(path, &s, &next);
        uint64_t calls = vq_mem_count();
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.text[0] != '\0'),
                  "allocation %llu: %d: %s", (unsigned long long)n, (int)rc, err.text);
        cr_assert(holds_all(&strings, rc == VQ_OK ? &next : &s, path), "allocation %llu",
                  (unsigned long long)n);
        failed += rc != VQ_OK;
        if (rc == VQ_OK) s = next;
        if (rc == VQ_OK && calls < n) break;
    }
    cr_assert(failed > 20 && problems_of(path) == 0);
    free(path);
    test_rmdir(dir);
}

static off_t size_of(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_size;
}

static void change(const char *path, uint64_t life, uint64_t steps, state *s)
{
    vq_writer *w;
    OK(vq_writer_open(&w, path, NULL, &err));
    for (uint64_t step = 0; step < steps; step++) {
        do_step(&numbers, life, step, s, w);
        OK(vq_writer_commit(w, NULL, &err));
    }
    vq_writer_close(w);
}

/* Pages of a reader that has been killed are used again; those of one that lives are not, and it
 * sees what it saw. */
Test(write, readers_that_never_end, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), byte;
    int ends[2];
    state s, was;
    live_build(path, &numbers, 300, &s);
    change(path, 1, 20, &s);
    cr_assert_eq(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        vq_searcher *searcher = open_searcher(open_index(path), 0, 0);
        if (searcher == NULL || write(ends[1], "x", 1) != 1) _exit(1);
        for (;;) (void)pause();
    }
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    off_t small = size_of(path);
    change(path, 2, 20, &s);
    off_t held = size_of(path);
    (void)kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    (void)close(ends[0]), (void)close(ends[1]);
    change(path, 3, 40, &s);
    cr_assert(held > small + (1 << 19), "%lld bytes, then %lld", (long long)small, (long long)held);
    cr_assert(size_of(path) < held + (1 << 19), "%lld bytes, then %lld", (long long)held,
              (long long)size_of(path));
    vq_index *ix = open_index(path);
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    vq_searcher *pinned;
    o.pinned = 1, o.recall = 1;
    OK(vq_searcher_open(&pinned, ix, &o, &err));
    was = s;
    change(path, 4, 20, &s);
    live_holds(&numbers, &was, pinned);
    OK(vq_searcher_refresh(pinned, &err));
    live_holds(&numbers, &s, pinned);
    vq_searcher_close(pinned);
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
    free(path);
    test_rmdir(dir);
}

/* Damage is not copied into a chunk with a new checksum: the commit is refused. */
Test(write, damaged_lists, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s, next;
    size_t len, refused = 0, apart = 0;
    live_build(path, &strings, 60, &s);
    uint8_t *bytes = test_read(path, &len);
    for (size_t at = 2 * 4096 + 100; at < len; at += 1021) {
        bytes[at] ^= 4;
        test_write(path, bytes, len);
        bytes[at] ^= 4;
        uint64_t problems = problems_of(path);
        vq_status rc = one_change(path, &s, &next);
        cr_assert(rc == VQ_OK || (rc != VQ_EINVAL && rc != VQ_EBUSY && err.text[0] != '\0'),
                  "%d: %s", (int)rc, err.text);
        refused += rc == VQ_ECORRUPT;
        if (problems == 0 || rc != VQ_OK) continue;
        apart++; /* in what the change did not copy from: for vq check to tell as before */
        cr_assert(problems_of(path) > 0, "byte %zu: the damage is hidden", at);
    }
    cr_assert(refused > 10, "%zu refused, %zu not touched", refused, apart);
    free(bytes);
    free(path);
    test_rmdir(dir);
}
