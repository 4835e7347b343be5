/* SPDX-License-Identifier: Apache-2.0 */
/* Queries in batches, and a query on many threads: what each finds is what it would have found
 * alone and on one, bit for bit. */
#include "tests/index/fixture.h"

enum { N = 1300, D = 19, NQ = 70, MOST_K = 60 };

typedef struct answers {
    uint64_t ids[NQ * MOST_K];
    float scores[NQ * MOST_K];
} answers;

static void search(vq_searcher *s, const float *q, size_t at_once, uint32_t k, answers *a)
{
    memset(a, 0, sizeof *a);
    for (size_t i = 0; i < NQ; i += at_once)
        OK(vq_search(s, q + i * D, VQ_MIN(at_once, NQ - i), k, a->ids + i * k, a->scores + i * k,
                     &err));
}

static void same(const answers *a, const answers *b, const char *codec, const char *what)
{
    for (size_t i = 0; i < VQ_COUNT(a->ids); i++)
        cr_assert_eq(a->ids[i], b->ids[i], "%s, %s: id %zu: %llu, %llu", codec, what, i,
                     (unsigned long long)a->ids[i], (unsigned long long)b->ids[i]);
    cr_assert(memcmp(a->scores, b->scores, sizeof a->scores) == 0, "%s, %s: scores", codec, what);
}

/* One at a time against all at once, by each instruction set and number of threads. */
static void check_index(const char *path, const float *q, uint32_t nprobe, uint32_t rerank,
                        uint32_t k, const char *codec)
{
    static answers want, got;
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, nprobe, rerank);
    vq_search_stats alone = VQ_SEARCH_STATS_INIT, batch = VQ_SEARCH_STATS_INIT;
    search(s, q, 1, k, &want);
    OK(vq_searcher_stats(s, &alone, &err));
    vq_searcher_close(s);
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        vq_search_opts o = VQ_SEARCH_OPTS_INIT;
        o.nprobe = nprobe, o.rerank = rerank, o.threads = threads;
        OK(vq_searcher_open(&s, ix, &o, &err));
        for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
            if ((s->k = vq_kernels_named(*name)) == NULL) continue;
            search(s, q, NQ, k, &got);
            same(&got, &want, codec, *name);
        }
        s->k = vq_kernels_get();
        search(s, q, 7, k, &got);
        same(&got, &want, codec, "seven at a time");
        vq_searcher_close(s);
    }
    s = open_searcher(ix, nprobe, rerank);
    search(s, q, NQ, k, &got);
    OK(vq_searcher_stats(s, &batch, &err));
    cr_assert(memcmp(&alone, &batch, sizeof alone) == 0, "%s: what it took", codec);
    vq_searcher_close(s);
    vq_close(ix);
}

/* One query on several threads: shares of lists, more threads than lists, fewer. */
static void check_spread(const char *path, const float *q, uint32_t nprobe, uint32_t rerank,
                         uint32_t k, const char *codec)
{
    static answers want, got;
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, nprobe, rerank);
    vq_search_stats alone = VQ_SEARCH_STATS_INIT, spread = VQ_SEARCH_STATS_INIT;
    search(s, q, 1, k, &want);
    OK(vq_searcher_stats(s, &alone, &err));
    vq_searcher_close(s);
    for (uint32_t threads = 3; threads <= 9; threads += 6) {
        vq_search_opts o = VQ_SEARCH_OPTS_INIT;
        o.nprobe = nprobe, o.rerank = rerank, o.threads = threads, o.latency = 1;
        OK(vq_searcher_open(&s, ix, &o, &err));
        s->spread = 1;
        search(s, q, 1, k, &got);
        same(&got, &want, codec, "spread");
        OK(vq_searcher_stats(s, &spread, &err));
        cr_assert(memcmp(&alone, &spread, sizeof alone) == 0, "%s: what it took", codec);
        search(s, q, NQ, k, &got);
        same(&got, &want, codec, "all, spread");
        vq_searcher_close(s);
    }
    vq_close(ix);
}

static void check_codecs(uint32_t metric, uint32_t copies, bool twins)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(3, N, D), *q = clusters(3, NQ, D);
    for (size_t i = 0; twins && i < N; i++) memcpy(x + i * D, x + i % 5 * D, D * sizeof *x);
    for (size_t c = 0; c < vq_codec_count; c++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.codec = vq_codecs[c]->name, o.metric = metric, o.force = 1, o.nlist = 23;
        o.copies = copies;
        build(path, x, N, D, VQ_F32, &o);
        check_index(path, q, VQ_ALL, VQ_NONE, 10, o.codec);
        check_index(path, q, 11, 25, 10, o.codec);
        check_spread(path, q, VQ_ALL, VQ_NONE, 10, o.codec);
        check_spread(path, q, 3, 25, 10, o.codec);
        check_index(path, q, 2, 1, MOST_K, o.codec); /* alone; more lists where two are too small */
    }
    vq_mem_free(x);
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(batch, finds_what_one_finds)
{
    check_codecs(VQ_METRIC_L2, VQ_COPIES_NO, false);
}

Test(batch, by_angles)
{
    check_codecs(VQ_METRIC_COSINE, VQ_COPIES_NO, false);
}

Test(batch, with_copies)
{
    check_codecs(VQ_METRIC_IP, VQ_COPIES_YES, false);
}

/* Five vectors, each many times: which of the equal ones are candidates must not depend on the
 * order of the scan. */
Test(batch, of_equals_the_same)
{
    check_codecs(VQ_METRIC_IP, VQ_COPIES_NO, true);
}

/* The candidates of seats that want some lists, others, and all, against those of each alone. */
Test(batch, each_seat_has_its_own_lists)
{
    enum { SEATS = 9, KEEP = 40 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(5, SEATS, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.nlist = 31, o.copies = VQ_COPIES_YES, o.codec = "pq8", o.metric = VQ_METRIC_IP;
    build_clusters(path, 3, N, D, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 1, VQ_NONE);
    vq_shard *shard = &s->shards[0];
    const vq_model *m = &shard->model;
    cr_assert(m->copies > 0 && m->nlist == 31);
    vq_arena arena, batch;
    vq_arena_init(&arena);
    vq_arena_init(&batch);
    static const uint32_t probes[SEATS] = {1, 31, 5, 30, 31, 2, 9, 16, 31};
    vq_query queries[SEATS];
    vq_seat seats[SEATS];
    void *scratch = vq_mem_alloc(vq_probe_scratch(m), 1);
    for (size_t i = 0; i < SEATS; i++) {
        queries[i] = (vq_query){.q = q + i * D};
        queries[i].y = vq_arena_take(&batch, m->d_code, sizeof(float));
        queries[i].wide = vq_arena_take(&batch, m->d, sizeof(double));
        queries[i].lists = vq_arena_take(&batch, m->nlist, sizeof(vq_hit));
        vq_query_prepare(shard, s->k, &queries[i], scratch);
        vq_query_probe(shard, s->k, &queries[i], probes[i], false, scratch);
        seats[i] = (vq_seat){.x = &queries[i]};
        seats[i].tables = m->codec->prepare(&m->code, s->k, queries[i].y, &batch);
    }
    const vq_effort effort = {.k = 3, .candidates = KEEP};
    OK(vq_batch_scan(shard, s->k, seats, SEATS, &effort, &batch, &err));
    for (size_t i = 0; i < SEATS; i++) {
        vq_pool alone, *got = &seats[i].pool;
        uint32_t lists;
        vq_arena_reset(&arena);
        vq_query_probe(shard, s->k, &queries[i], probes[i], true, scratch);
        OK(vq_query_scan(shard, s->k, &queries[i], seats[i].tables, &arena, NULL, &effort, &alone,
                         &lists, &err));
        cr_assert_eq(got->n, alone.n, "seat %zu: %zu candidates, alone %zu", i, got->n, alone.n);
        for (size_t a = 0; a < alone.n; a++) {
            size_t b = 0;
            while (b < got->n && got->places[b] != alone.places[a]) b++;
            cr_assert(b < got->n && got->scores[b] == alone.scores[a], "seat %zu: candidate %zu", i,
                      a);
        }
    }
    vq_mem_free(scratch);
    vq_arena_fini(&arena);
    vq_arena_fini(&batch);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

/* Where codes alone rank, of the candidates that a scan keeps those that are no answers by any
 * means go; the answers are what all candidates would have given.  Of numbers so small that tables
 * have no step nothing is known. */
static void check_trust(const char *codec, uint32_t metric, float scale)
{
    enum { QUERIES = 8, KEEP = 200, BEST = 5 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(7, QUERIES, D), *x0 = clusters(3, N, D);
    bool known = metric != VQ_METRIC_L2 && scale == 1.0f;
    for (size_t i = 0; i < (size_t)QUERIES * D; i++) q[i] *= scale;
    for (size_t i = 0; i < (size_t)N * D; i++) x0[i] *= scale;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.nlist = 20, o.codec = codec, o.metric = metric, o.store = VQ_ELEM_NONE;
    build(path, x0, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 1, VQ_NONE);
    vq_shard *shard = &s->shards[0];
    const vq_model *m = &shard->model;
    const vq_effort trusting = {.k = BEST, .candidates = KEEP};
    const vq_effort plain = {.k = BEST, .candidates = KEEP, .exact = true};
    vq_arena arena;
    vq_arena_init(&arena);
    void *scratch = vq_mem_alloc(vq_probe_scratch(m), 1);
    size_t gone = 0;
    for (size_t i = 0; i < QUERIES; i++) {
        vq_pool all, some;
        uint32_t lists;
        vq_query x = {.q = q + i * D};
        vq_arena_reset(&arena);
        x.y = vq_arena_take(&arena, m->d_code, sizeof(float));
        x.wide = vq_arena_take(&arena, m->d, sizeof(double));
        x.lists = vq_arena_take(&arena, m->nlist, sizeof(vq_hit));
        vq_query_prepare(shard, s->k, &x, scratch);
        vq_query_probe(shard, s->k, &x, vq_shard_live(shard), true, scratch);
        const void *tables = vq_shard_tables(shard, s->k, &x, &arena);
        OK(vq_query_scan(shard, s->k, &x, tables, &arena, NULL, &plain, &all, &lists, &err));
        OK(vq_query_scan(shard, s->k, &x, tables, &arena, NULL, &trusting, &some, &lists, &err));
        vq_reservoir a, b;
        vq_hit hits[2][2 * BEST + 64];
        vq_reservoir_init(&a, hits[0], VQ_COUNT(hits[0]), BEST);
        vq_reservoir_init(&b, hits[1], VQ_COUNT(hits[1]), BEST);
        cr_assert(all.n >= some.n && some.n >= BEST);
        gone += all.n - some.n;
        OK(vq_query_rerank(shard, s->k, &x, tables, false, &all, &a, &err));
        OK(vq_query_rerank(shard, s->k, &x, tables, false, &some, &b, &err));
        cr_assert_eq(vq_reservoir_finish(&a), BEST);
        cr_assert_eq(vq_reservoir_finish(&b), BEST);
        cr_assert(memcmp(hits[0], hits[1], BEST * sizeof **hits) == 0, "%s: query %zu", codec, i);
    }
    cr_assert(known ? gone > QUERIES * KEEP / 10 : gone == 0, "%s: %zu candidates went", codec,
              gone);
    vq_mem_free(scratch);
    vq_mem_free(x0);
    vq_arena_fini(&arena);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(batch, what_is_no_answer_by_any_means_is_not_kept)
{
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
        check_trust("pq8", metric, 1.0f);
        check_trust("pq4", metric, 1.0f);
        check_trust("aq8", metric, 1.0f);
    }
    check_trust("pq8", VQ_METRIC_IP, 1e-20f);
    check_trust("pq4", VQ_METRIC_IP, 1e-20f);
}

Test(batch, latency_is_for_a_given_nprobe)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    build_clusters(path, 3, N, D, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    so.latency = 1, so.threads = 2;
    FAILS(VQ_EINVAL, vq_searcher_open(&s, ix, &so, &err));
    so.nprobe = 5, so.latency = 2;
    FAILS(VQ_EINVAL, vq_searcher_open(&s, ix, &so, &err));
    so.latency = 1;
    OK(vq_searcher_open(&s, ix, &so, &err));
    cr_assert(s->spread < UINT64_MAX);
    vq_searcher_close(s);
    s = open_searcher(ix, 5, 0);
    cr_assert_eq(s->spread, UINT64_MAX);
    vq_searcher_close(s);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

/* Queries so small that the unit of their tables has no inverse among floats. */
Test(batch, of_queries_of_almost_nothing)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(3, NQ, D);
    for (size_t i = 0; i < (size_t)NQ * D; i++) q[i] *= 1e-38f;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "pq8", o.metric = VQ_METRIC_IP, o.nlist = 23, o.store = VQ_ELEM_NONE;
    build_clusters(path, 3, N, D, &o);
    check_index(path, q, VQ_ALL, VQ_NONE, 10, o.codec);
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

/* Lists that have become empty are none of those that a search of all looks at. */
Test(batch, beside_lists_that_hold_nothing)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(3, N, D), *q = clusters(3, NQ, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "pq8", o.nlist = 23;
    build(path, x, N, D, VQ_F32, &o);
    uint64_t gone[N], left = 0;
    vq_writer *w = NULL;
    for (size_t i = 0; i < N; i++)
        if (x[i * D] > 0.0f) gone[left++] = i;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, gone, NULL, left, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    check_index(path, q, VQ_ALL, VQ_NONE, 10, o.codec);
    check_index(path, q, VQ_ALL, 25, 10, o.codec);
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(batch, nothing_is_allocated_after_the_first)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(3, NQ, D);
    static answers a;
    for (size_t c = 0; c < vq_codec_count; c++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.codec = vq_codecs[c]->name, o.force = 1;
        build_clusters(path, 3, N, D, &o);
        vq_index *ix = open_index(path);
        vq_searcher *s;
        for (int rows = 0; rows < 2; rows++) { /* queries are probed together by codes alone */
            s = open_searcher(ix, VQ_ALL, rows != 0 ? 50 : VQ_NONE);
            for (int i = 0; i < 3; i++) search(s, q, NQ, 10, &a);
            vq_mem_fail_after(1); /* none may happen: it would fail */
            for (int i = 0; i < 3; i++) search(s, q, NQ, 10, &a);
            cr_assert_eq(vq_mem_count(), 0, "%llu allocations", (unsigned long long)vq_mem_count());
            vq_mem_fail_after(0);
            vq_searcher_close(s);
        }
        vq_search_opts so = VQ_SEARCH_OPTS_INIT;
        so.nprobe = VQ_ALL, so.threads = 3, so.latency = 1;
        OK(vq_searcher_open(&s, ix, &so, &err));
        s->spread = 1;
        for (int i = 0; i < 3; i++) search(s, q, 1, 10, &a);
        vq_mem_fail_after(1);
        search(s, q, 1, 10, &a);
        cr_assert_eq(vq_mem_count(), 0, "spread: %llu", (unsigned long long)vq_mem_count());
        vq_mem_fail_after(0);
        vq_searcher_close(s);
        vq_close(ix);
    }
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}
