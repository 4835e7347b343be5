/* SPDX-License-Identifier: Apache-2.0 */
/* Readers, as threads and as processes, beside a writer: each answer is that of one committed
 * state.  VQ_TEST_SECONDS: how long. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/team.h"
#include "tests/index/live.h"

enum { K = 10, STATES = 8192, THREADS = 2, PROCESSES = 2, SECONDS = 3, BATCH = 20 };

typedef struct shared { /* by threads and processes */
    const char *path;
    uint64_t committed; /* states[0..committed] are; states[committed + 1] may be */
    uint64_t stop, searches, wrong, failed, moved;
    char text[508]; /* of the last failure */
    state states[STATES];
} shared;

static const live_config config = {"pq8", VQ_METRIC_L2, VQ_F32, 9, 16, false, true, 0};

static void count(uint64_t *n)
{
    (void)__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static void fail(shared *sh, const vq_error *e)
{
    if (__atomic_fetch_add(&sh->failed, 1, __ATOMIC_RELAXED) == 0)
        memcpy(sh->text, e->text, sizeof sh->text);
}

/* One search: is the answer that of a state that may have been the newest while it ran? */
static void look(shared *sh, vq_searcher *s, vq_rng *rng, uint64_t from)
{
    float q[64], scores[K];
    uint64_t ids[K];
    vq_error e = {0};
    live_row(ASKED_FROM + (uint32_t)vq_rng_below(rng, 1000), config.d, q);
    if (vq_search(s, q, 1, K, ids, scores, &e) != VQ_OK) {
        fail(sh, &e);
        return;
    }
    uint64_t to = VQ_ATOMIC_LOAD(&sh->committed) + 1, at = from;
    while (at <= to && !live_matches(&config, &sh->states[at], q, ids, scores, K, true)) at++;
    if (at > to) count(&sh->wrong);
    if (at > from) count(&sh->moved);
    count(&sh->searches);
}

static void read_on(shared *sh, vq_index *ix, uint64_t seed)
{
    vq_error e = {0};
    vq_rng rng;
    vq_searcher *fresh = NULL, *pinned = NULL;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    vq_rng_init(&rng, test_seed(), seed);
    o.recall = 1;
    vq_status rc = vq_searcher_open(&fresh, ix, &o, &e);
    o.pinned = 1;
    if (rc == VQ_OK) rc = vq_searcher_open(&pinned, ix, &o, &e);
    if (rc != VQ_OK) fail(sh, &e);
    uint64_t since = 0; /* what the pinned one sees is not older */
    while (rc == VQ_OK && !VQ_ATOMIC_LOAD(&sh->stop)) {
        look(sh, fresh, &rng, VQ_ATOMIC_LOAD(&sh->committed));
        if (vq_rng_below(&rng, 50) == 0) {
            since = VQ_ATOMIC_LOAD(&sh->committed);
            if (vq_searcher_refresh(pinned, &e) != VQ_OK) fail(sh, &e);
            look(sh, pinned, &rng, since);
        }
    }
    vq_searcher_close(fresh);
    vq_searcher_close(pinned);
}

typedef struct thread {
    pthread_t id;
    shared *sh;
    vq_index *ix;
    uint64_t seed;
} thread;

static void *read_in_thread(void *ctx)
{
    thread *t = ctx;
    read_on(t->sh, t->ix, t->seed);
    return NULL;
}

static pid_t read_in_process(shared *sh, uint64_t seed)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child != 0) return child;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would tell it to stop */
    vq_error e = {0};
    vq_index *ix = NULL;
    if (vq_open(&ix, sh->path, 0, &e) != VQ_OK) _exit(1);
    read_on(sh, ix, seed);
    vq_close(ix);
    _exit(0);
}

/* Replaces, adds and deletes some; the state is there before it is committed. */
static void change(shared *sh, vq_writer *w, vq_rng *rng)
{
    uint64_t ids[BATCH], gone[BATCH];
    float x[BATCH * 64];
    size_t n = 0, ngone = 0;
    vq_source *src;
    state *next = &sh->states[sh->committed + 1];
    *next = sh->states[sh->committed];
    for (uint32_t i = (uint32_t)vq_rng_below(rng, 30); i < UNIVERSE && n < BATCH && ngone < BATCH;
         i += 1 + (uint32_t)vq_rng_below(rng, 40)) {
        if (next->there[i] && next->n > 100 && vq_rng_below(rng, 3) == 0) {
            gone[ngone++] = i;
            next->there[i] = false;
            next->n--;
            continue;
        }
        next->row[i] = (uint32_t)vq_rng_below(rng, 100000);
        next->n += !next->there[i];
        next->there[i] = true;
        live_row(next->row[i], config.d, x + n * config.d);
        ids[n++] = i;
    }
    OK(vq_source_open_array(&src, x, n, config.d, VQ_F32, &err));
    OK(vq_writer_upsert(w, src, ids, NULL, n, &err));
    OK(vq_writer_delete(w, gone, NULL, ngone, &err));
    vq_source_close(src);
    VQ_ATOMIC_STORE(&sh->committed, sh->committed); /* what will be there stands in next by now */
    OK(vq_writer_commit(w, NULL, &err));
    VQ_ATOMIC_STORE(&sh->committed, sh->committed + 1);
}

static vq_info info_of(vq_index *ix)
{
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    return info;
}

/* Who holds an old snapshot is told, and what that keeps from being used. */
Test(live_threads, old_snapshots_are_told, .timeout = 60)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    uint64_t first = 0;
    vq_writer *w;
    live_build(path, &config, 300, &s);
    vq_index *ix = open_index(path);
    vq_info before = info_of(ix);
    cr_assert(before.readers == 0 && before.oldest_pid == 0);
    cr_assert_eq(before.oldest_snapshot, before.snapshot);
    vq_searcher *searcher = open_searcher(ix, 1, 0);
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, &first, NULL, 1, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_info after = info_of(ix);
    cr_assert(after.readers == 2 && after.oldest_pid == (uint32_t)getpid());
    cr_assert_eq(after.snapshot, before.snapshot + 1);
    cr_assert_eq(after.oldest_snapshot, before.snapshot);
    cr_assert(after.free_bytes > before.free_bytes && after.n == 299);
    OK(vq_searcher_refresh(searcher, &err));
    cr_assert_eq(info_of(ix).oldest_snapshot, after.snapshot);
    vq_searcher_close(searcher);
    vq_writer_close(w);
    cr_assert_eq(info_of(ix).readers, 0);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

Test(live_threads, answers_are_of_one_state, .timeout = 3600)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    shared *sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(sh != MAP_FAILED);
    sh->path = path;
    live_build(path, &config, 300, &sh->states[0]);
    sh->states[1] = sh->states[0];
    pid_t children[PROCESSES];
    thread threads[THREADS];
    for (uint64_t i = 0; i < PROCESSES; i++) children[i] = read_in_process(sh, 10 + i);
    vq_index *ix = open_index(path);
    for (uint64_t i = 0; i < THREADS; i++) {
        threads[i] = (thread){.sh = sh, .ix = ix, .seed = 20 + i};
        cr_assert_eq(pthread_create(&threads[i].id, NULL, read_in_thread, &threads[i]), 0);
    }
    vq_writer *w;
    vq_writer_opts o = VQ_WRITER_OPTS_INIT;
    vq_rng rng;
    o.threads = 1;
    vq_rng_init(&rng, test_seed(), 5);
    OK(vq_writer_open(&w, path, &o, &err));
    double end = vq_now() + (double)env_number("VQ_TEST_SECONDS", SECONDS);
    while (vq_now() < end && sh->committed + 2 < STATES) change(sh, w, &rng);
    VQ_ATOMIC_STORE(&sh->stop, 1);
    for (int i = 0; i < THREADS; i++) (void)pthread_join(threads[i].id, NULL);
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        cr_assert(waitpid(children[i], &status, 0) == children[i] && status == 0);
    }
    vq_writer_close(w);
    vq_close(ix);
    if (getenv("VQ_TEST_SECONDS") != NULL)
        (void)fprintf(stderr, "%llu commits, %llu searches, %llu of a state that came meanwhile\n",
                      (unsigned long long)sh->committed, (unsigned long long)sh->searches,
                      (unsigned long long)sh->moved);
    cr_assert_eq(sh->failed, 0, "%s", sh->text);
    cr_assert_eq(sh->wrong, 0, "%llu of %llu answers", (unsigned long long)sh->wrong,
                 (unsigned long long)sh->searches);
    cr_assert(sh->searches > 10 && sh->committed > 0);
    cr_assert_eq(problems_of(path), 0);
    cr_assert_eq(munmap(sh, sizeof *sh), 0);
    free(path);
    test_rmdir(dir);
}
