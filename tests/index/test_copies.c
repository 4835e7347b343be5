/* SPDX-License-Identifier: Apache-2.0 */
/* Copies in second lists: they make fewer lists suffice, and change nothing else. */
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 1500, D = 24, NQ = 40, K = 10 };

static vq_build_opts with_copies(const char *codec, uint32_t metric, uint32_t copies)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = codec, o.metric = metric, o.copies = copies, o.force = 1, o.nlist = 40;
    o.rotation = strcmp(codec, "sq8") == 0 || strcmp(codec, "flat") == 0 ? 0 : VQ_ROTATION_PCA;
    return o;
}

/* Points without clusters: their neighbours lie on all sides. */
static float *cloud(uint64_t seed, size_t n, size_t d)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *x = vq_alloc_f32(n, d);
    fill_normal(&r, x, n * d);
    return x;
}

/* Texts on `about` of `topics` things each, and a bit of their own; topics may be near or far. */
static float *texts(uint64_t seed, size_t n, size_t d, size_t topics, size_t about)
{
    vq_rng r;
    float *x = cloud(seed, n, d), *things = cloud(99, topics, d);
    vq_rng_init(&r, test_seed(), seed + 1000);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) x[i * d + j] *= 0.2f;
        for (size_t a = 0; a < about; a++) {
            const float *t = things + vq_rng_below(&r, topics) * d;
            for (size_t j = 0; j < d; j++) x[i * d + j] += t[j];
        }
    }
    vq_mem_free(things);
    return x;
}

static vq_info info_of(const char *path)
{
    vq_info info = VQ_INFO_INIT;
    vq_index *ix = open_index(path);
    OK(vq_index_info(ix, &info, &err));
    vq_close(ix);
    return info;
}

static void search(const char *path, uint32_t nprobe, uint32_t rerank, const float *q, uint32_t k,
                   uint64_t *ids, float *scores, vq_search_stats *stats)
{
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, nprobe, rerank);
    OK(vq_search(s, q, NQ, k, ids, scores, &err));
    if (stats != NULL) OK(vq_searcher_stats(s, stats, &err));
    vq_searcher_close(s);
    vq_close(ix);
}

Test(copies, all_lists_give_what_they_gave, .timeout = 300)
{
    char *dir = test_tmpdir(), *one = test_path(dir, "1.vq"), *two = test_path(dir, "2.vq");
    float *x = cloud(1, N, D), *q = cloud(2, NQ, D);
    static uint64_t a[NQ * K], b[NQ * K];
    static float as[NQ * K], bs[NQ * K];
    for (size_t c = 0; c < vq_codec_count; c++)
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
            vq_build_opts o = with_copies(vq_codecs[c]->name, metric, VQ_COPIES_NO);
            build(one, x, N, D, VQ_F32, &o);
            o.copies = VQ_COPIES_YES;
            build(two, x, N, D, VQ_F32, &o);
            vq_info was = info_of(one), is = info_of(two);
            cr_assert(was.format_version == VQ_FORMAT_DOCUMENTS && was.copies == 0 &&
                      was.copies_bytes == 0);
            cr_assert(is.format_version == VQ_FORMAT_DOCUMENTS && is.copies > 0 && is.copies <= N);
            cr_assert(is.copies_bytes > 0 && is.lists_bytes == was.lists_bytes);
            cr_assert_eq(problems_of(two), 0);
            for (int codes = 0; codes < 2; codes++) {
                vq_search_stats stats = VQ_SEARCH_STATS_INIT;
                search(one, VQ_ALL, codes ? VQ_NONE : 0, q, K, a, as, NULL);
                search(two, VQ_ALL, codes ? VQ_NONE : 0, q, K, b, bs, &stats);
                cr_assert(memcmp(a, b, sizeof a) == 0 && memcmp(as, bs, sizeof as) == 0);
                cr_assert(stats.queries == NQ && stats.lists == NQ * 40);
                cr_assert(stats.vectors == (uint64_t)NQ * N && stats.copies == 0);
            }
        }
    vq_mem_free(x), vq_mem_free(q);
    free(one), free(two);
    test_rmdir(dir);
}

/* What few lists answer: no id twice, and scores as all lists give them. */
static void check_few(const char *path, const float *q, uint32_t nprobe, uint32_t rerank)
{
    static uint64_t ids[NQ * 200], all[NQ * N];
    static float scores[NQ * 200], every[NQ * N];
    search(path, nprobe, rerank, q, 200, ids, scores, NULL);
    search(path, VQ_ALL, rerank == VQ_NONE ? VQ_NONE : N, q, N, all, every, NULL);
    for (size_t i = 0; i < NQ; i++) {
        bool seen[N] = {false};
        float score[N];
        for (size_t j = 0; j < N; j++) score[all[i * N + j]] = every[i * N + j];
        for (size_t j = 0; j < 200; j++) {
            uint64_t id = ids[i * 200 + j];
            cr_assert(id < N && !seen[id], "nprobe %u: place %zu of query %zu", nprobe, j, i);
            cr_assert_eq(scores[i * 200 + j], score[id]);
            seen[id] = true;
        }
    }
}

Test(copies, no_id_comes_twice, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = cloud(1, N, D), *q = cloud(2, NQ, D);
    static const char *const codecs[] = {"pq4", "flat"};
    for (size_t c = 0; c < VQ_COUNT(codecs); c++)
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_IP; metric++) {
            vq_build_opts o = with_copies(codecs[c], metric, VQ_COPIES_YES);
            build(path, x, N, D, VQ_F32, &o);
            static const uint32_t nprobes[] = {1, 5, 20, 39, 40};
            for (size_t i = 0; i < VQ_COUNT(nprobes); i++) {
                check_few(path, q, nprobes[i], 300);
                check_few(path, q, nprobes[i], VQ_NONE);
            }
        }
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

/* Searches that decide for themselves how many lists they scan meet copies before and after the
 * vectors they are of, and a few copies or more than the table of them holds. */
Test(copies, no_id_comes_twice_where_recall_is_asked_for, .timeout = 300)
{
    enum { MANY = 6000, WIDE = 16, MOST_K = 1500 };
    static const uint32_t ks[] = {10, 100, MOST_K};
    static uint64_t ids[NQ * MOST_K], truth[NQ * MOST_K];
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = cloud(1, MANY, WIDE), *q = cloud(2, NQ, WIDE);
    vq_build_opts o = with_copies("pq8", VQ_METRIC_IP, VQ_COPIES_YES);
    vq_tune_opts t = VQ_TUNE_OPTS_INIT;
    o.nlist = 150, o.store = VQ_F32;
    build(path, x, MANY, WIDE, VQ_F32, &o);
    OK(vq_tune(path, &t, &err));
    vq_index *ix = open_index(path);
    for (size_t c = 0; c < VQ_COUNT(ks); c++) {
        uint32_t k = ks[c];
        vq_exact_opts e = {.metric = VQ_METRIC_IP, .k = k, .threads = 1};
        vq_search_opts so = VQ_SEARCH_OPTS_INIT;
        vq_search_stats stats = VQ_SEARCH_STATS_INIT;
        vq_searcher *s;
        vq_source *src;
        so.recall = 0.98f;
        OK(vq_searcher_open(&s, ix, &so, &err));
        OK(vq_search(s, q, NQ, k, ids, NULL, &err));
        OK(vq_searcher_stats(s, &stats, &err));
        vq_searcher_close(s);
        cr_assert(stats.copies > 0 && stats.lists < (uint64_t)NQ * 150);
        for (size_t i = 0; i < NQ; i++) {
            bool seen[MANY] = {false};
            for (size_t j = 0; j < k; j++) {
                uint64_t id = ids[i * k + j];
                cr_assert(id < MANY && !seen[id], "k %u: place %zu of query %zu", k, j, i);
                seen[id] = true;
            }
        }
        OK(vq_source_open_array(&src, x, MANY, WIDE, VQ_F32, &err));
        OK(vq_exact(src, q, NQ, &e, truth, NULL, &err));
        vq_source_close(src);
        double recall = vq_recall(truth, k, k, ids, k, k, NQ);
        cr_assert(recall > 0.93, "k %u: %g", k, recall);
    }
    vq_close(ix);
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

/* With as many lists more is found, nothing less: what is read grows too, and whether that pays
 * depends on the data (test_recall.c has some). */
Test(copies, more_is_found_in_as_many_lists)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = cloud(1, N, D), *q = cloud(2, NQ, D);
    static uint64_t truth[NQ * K], ids[NQ * K];
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
        vq_exact_opts e = {.metric = metric, .k = K, .threads = 1};
        vq_source *src;
        double recall[2][40];
        OK(vq_source_open_array(&src, x, N, D, VQ_F32, &err));
        OK(vq_exact(src, q, NQ, &e, truth, NULL, &err));
        vq_source_close(src);
        for (int copies = 0; copies < 2; copies++) {
            vq_build_opts o = with_copies("flat", metric, copies ? VQ_COPIES_YES : VQ_COPIES_NO);
            o.store = VQ_F32;
            build(path, x, N, D, VQ_F32, &o);
            for (uint32_t nprobe = 1; nprobe <= 40; nprobe++) {
                vq_search_stats s = VQ_SEARCH_STATS_INIT;
                search(path, nprobe, N, q, K, ids, NULL, &s);
                recall[copies][nprobe - 1] = vq_recall(truth, K, K, ids, K, K, NQ);
                cr_assert_eq(s.copies > 0, copies == 1 && nprobe < 40);
                cr_assert(s.lists >= NQ * nprobe && s.vectors > s.copies);
                cr_assert(s.vectors - s.copies <= NQ * N);
            }
        }
        double more = 0.0;
        for (int i = 0; i < 40; i++) {
            cr_assert(recall[1][i] >= recall[0][i]);
            more += recall[1][i] - recall[0][i];
        }
        cr_assert(more > 0.1 && recall[0][39] == 1.0, "%g", more);
    }
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(copies, taught_ones)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *other = test_path(dir, "y.vq");
    float *x = cloud(1, N, D), *q = cloud(2, NQ, D);
    vq_source *queries;
    char a[33], b[33];
    OK(vq_source_open_array(&queries, q, NQ, D, VQ_F32, &err));
    static const char *const codecs[] = {"pq4", "aq8"};
    for (size_t c = 0; c < VQ_COUNT(codecs); c++) {
        vq_build_opts o = with_copies(codecs[c], VQ_METRIC_IP, VQ_COPIES_YES);
        o.queries = &queries, o.nqueries = 1, o.epochs = 1, o.code_bytes = 8;
        build(path, x, N, D, VQ_F32, &o);
        cr_assert(info_of(path).copies > 0);
        cr_assert_eq(problems_of(path), 0);
        check_few(path, q, 3, 300);
        o.threads = 3;
        build(other, x, N, D, VQ_F32, &o);
        digest_of(path, a);
        digest_of(other, b);
        cr_assert_str_eq(a, b);
    }
    vq_source_close(queries);
    vq_mem_free(x), vq_mem_free(q);
    free(path), free(other);
    test_rmdir(dir);
}

Test(copies, neither_threads_nor_memory_matter)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), a[33], b[33];
    float *x = cloud(1, N, D);
    char **names = make_names(N, "n");
    for (int strings = 0; strings < 2; strings++) {
        vq_build_opts o = with_copies("pq8", VQ_METRIC_L2, VQ_COPIES_YES);
        if (strings) o.names = (const char *const *)names, o.nids = N;
        build(path, x, N, D, VQ_F32, &o);
        digest_of(path, a);
        cr_assert_eq(problems_of(path), 0);
        for (int i = 0; i < 2; i++) {
            o.threads = i == 0 ? 3 : 1, o.memory = i == 0 ? 0 : 1;
            build(path, x, N, D, VQ_F32, &o);
            digest_of(path, b);
            cr_assert_str_eq(a, b);
        }
    }
    free_names(names, N);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(copies, chosen_where_they_pay)
{
    enum { MANY = 12000, DIMS = 32, LISTS = 300 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *spread = texts(1, MANY, DIMS, LISTS, 2), *apart = texts(2, MANY, DIMS, LISTS, 1);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "sq8", o.nlist = LISTS, o.force = 1;
    build(path, spread, MANY, DIMS, VQ_F32, &o);
    vq_info info = info_of(path);
    cr_assert(info.copies > 0 && strstr(info.why, "copies yes") != NULL, "%s", info.why);
    build(path, apart, MANY, DIMS, VQ_F32, &o);
    info = info_of(path);
    cr_assert(info.copies == 0 && strstr(info.why, "copies no") != NULL, "%s", info.why);
    build(path, spread, 5000, DIMS, VQ_F32, &o); /* so few are read in no time */
    info = info_of(path);
    cr_assert(info.copies == 0 && strstr(info.why, "copies") == NULL, "%s", info.why);
    o.nlist = 1, o.copies = VQ_COPIES_YES; /* no second list */
    build(path, spread, 300, DIMS, VQ_F32, &o);
    cr_assert(info_of(path).copies == 0 && info_of(path).format_version == VQ_FORMAT_DOCUMENTS);
    o.copies = 3;
    FAILS(VQ_EINVAL, try_build(path, spread, 300, DIMS, VQ_F32, &o));
    vq_mem_free(spread), vq_mem_free(apart);
    free(path);
    test_rmdir(dir);
}

/* Neighbours among a part of the vectors lie farther, where copies would seem to pay: with 16,384
 * of these they seem to spare a tenth of the reading and more, among all of them nothing. */
Test(copies, chosen_by_neighbours_among_many)
{
    enum { MANY = 65536, DIMS = 24, TOPICS = 140, LISTS = 500 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = texts(3, MANY, DIMS, TOPICS, 2);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "sq8", o.nlist = LISTS, o.no_tune = 1, o.store = VQ_ELEM_NONE;
    build(path, x, MANY, DIMS, VQ_F32, &o);
    vq_info info = info_of(path);
    cr_assert(info.copies == 0 && strstr(info.why, "copies no") != NULL, "%s", info.why);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(copies, trained_anew_from_an_index)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *other = test_path(dir, "y.vq");
    float *x = cloud(1, N, D);
    for (uint32_t copies = VQ_COPIES_AUTO; copies <= VQ_COPIES_YES; copies++) {
        vq_build_opts o = with_copies("pq4", VQ_METRIC_L2, VQ_COPIES_YES);
        vq_source *src;
        build(path, x, N, D, VQ_F32, &o);
        vq_index *ix = open_index(path);
        OK(vq_source_open_index(&src, ix, &err));
        o.copies = copies;
        OK(vq_build(other, src, &o, &err));
        vq_source_close(src);
        vq_close(ix);
        cr_assert_eq(info_of(other).copies > 0, copies != VQ_COPIES_NO);
        cr_assert_eq(problems_of(other), 0);
    }
    vq_mem_free(x);
    free(path), free(other);
    test_rmdir(dir);
}

Test(copies, nothing_is_allocated_after_the_first)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = cloud(1, N, D), *q = cloud(2, NQ, D);
    static uint64_t ids[NQ * K];
    vq_build_opts o = with_copies("pq8", VQ_METRIC_IP, VQ_COPIES_YES);
    build(path, x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 4, 0);
    for (int i = 0; i < 3; i++) OK(vq_search(s, q, NQ, K, ids, NULL, &err));
    vq_mem_fail_after(1);
    for (int i = 0; i < 3; i++) OK(vq_search(s, q, NQ, K, ids, NULL, &err));
    cr_assert_eq(vq_mem_count(), 0);
    vq_mem_fail_after(0);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(copies, shards_and_threads_answer_alike)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = cloud(1, N, D), *q = cloud(2, NQ, D);
    static uint64_t one[NQ * K], many[NQ * K];
    vq_build_opts o = with_copies("pq4", VQ_METRIC_L2, VQ_COPIES_YES);
    build(path, x, N, D, VQ_F32, &o);
    search(path, 2, 0, q, K, one, NULL, NULL);
    vq_index *ix = open_index(path);
    vq_searcher *s = NULL;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    so.nprobe = 2, so.threads = 3;
    OK(vq_searcher_open(&s, ix, &so, &err)); /* workers look up the lists of what they found */
    OK(vq_search(s, q, NQ, K, many, NULL, &err));
    cr_assert(memcmp(one, many, sizeof one) == 0);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}
