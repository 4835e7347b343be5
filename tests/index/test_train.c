/* SPDX-License-Identifier: Apache-2.0 */
/* Training with queries: codes that serve those who ask, and what is refused. */
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 6000, D = 32, NQ = 600, K = 10 };

typedef struct world {
    float *x, *train, *held; /* rows; queries that teach and queries that judge */
    vq_source *queries;
} world;

/* Rows vary everywhere; queries look at few directions. */
static float *make_queries(uint64_t seed, size_t n)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *q = vq_alloc_f32(n, D);
    fill_normal(&r, q, n * D);
    for (size_t i = 0; i < n * D; i++) q[i] *= i % D < 6 ? 1.0f : 0.1f;
    return q;
}

static world make_world(void)
{
    world w = {clusters(1, N, D), make_queries(2, NQ), make_queries(3, NQ), NULL};
    OK(vq_source_open_array(&w.queries, w.train, NQ, D, VQ_F32, &err));
    return w;
}

static void end_world(world *w)
{
    vq_source_close(w->queries);
    vq_mem_free(w->x);
    vq_mem_free(w->train);
    vq_mem_free(w->held);
}

static vq_build_opts with_queries(const world *w, uint32_t metric)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "pq8", o.code_bytes = 8, o.metric = metric, o.rotation = VQ_ROTATION_PCA;
    o.nlist = 16, o.force = 1, o.store = VQ_F32, o.queries = &w->queries, o.nqueries = 1;
    return o;
}

/* Share of the true ten within the ten that the codes alone find; exact search if rerank is N. */
static double overlap(const char *path, const world *w, uint32_t metric, uint32_t rerank)
{
    static uint64_t truth[NQ * K], ids[NQ * K];
    vq_source *base;
    vq_exact_opts e = {.metric = metric, .k = K, .threads = 1};
    OK(vq_source_open_array(&base, w->x, N, D, VQ_F32, &err));
    OK(vq_exact(base, w->held, NQ, &e, truth, NULL, &err));
    vq_source_close(base);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, rerank);
    OK(vq_search(s, w->held, NQ, K, ids, NULL, &err));
    vq_searcher_close(s);
    vq_close(ix);
    return vq_recall(truth, K, K, ids, K, K, NQ);
}

Test(train, queries_improve_the_ranking_of_unseen_ones)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const uint32_t metrics[] = {VQ_METRIC_IP, VQ_METRIC_COSINE};
    world w = make_world();
    for (size_t i = 0; i < 2; i++) {
        vq_build_opts o = with_queries(&w, metrics[i]), plain = o;
        plain.queries = NULL, plain.nqueries = 0;
        build(path, w.x, N, D, VQ_F32, &plain);
        double before = overlap(path, &w, metrics[i], VQ_NONE);
        build(path, w.x, N, D, VQ_F32, &o);
        double after = overlap(path, &w, metrics[i], VQ_NONE);
        cr_assert_gt(after, before + 0.1, "%s: %.3f, then %.3f", vq_metric_name(metrics[i]), before,
                     after);
        cr_assert_eq(overlap(path, &w, metrics[i], N), 1.0, "all reranked is exact");
        cr_assert_eq(problems_of(path), 0);
    }
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(train, threads_do_not_show)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), hex[2][33];
    world w = make_world();
    for (uint32_t t = 0; t < 2; t++) {
        vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
        o.threads = 1 + t;
        build(path, w.x, N, D, VQ_F32, &o);
        digest_of(path, hex[t]);
    }
    cr_assert_str_eq(hex[0], hex[1]);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(train, refuses_what_queries_cannot_teach)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_source *narrow;
    OK(vq_source_open_array(&narrow, w.train, NQ, D / 2, VQ_F32, &err));
    vq_build_opts o = with_queries(&w, VQ_METRIC_L2);
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.codec = "sq8", o.code_bytes = 0;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.rotation = VQ_ROTATION_NONE;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = VQ_TRAIN_KMEANS;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = VQ_TRAIN_QUERY_AWARE, o.nqueries = 0;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = 99;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.queries = &narrow;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert_eq(count_files(dir, ""), 0);
    vq_source_close(narrow);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}
