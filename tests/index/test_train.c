/* SPDX-License-Identifier: Apache-2.0 */
/* Training with queries: codes that serve those who ask, and what is refused. */
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 6000, D = 32, NQ = 600, TAUGHT = 5000, K = 10 };

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

/* Queries close to a row, seen through few of its coordinates. */
static float *near_queries(const float *x, uint64_t seed, size_t n)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *q = vq_alloc_f32(n, D);
    for (size_t i = 0; i < n; i++) {
        const float *row = x + vq_rng_below(&r, N) * D;
        for (size_t j = 0; j < D; j++)
            q[i * D + j] = (row[j] + 0.3f * (float)vq_rng_normal(&r)) * (j % 4 == 0 ? 1.0f : 0.3f);
    }
    return q;
}

static world make_world(void)
{
    world w = {clusters(1, N, D), make_queries(2, TAUGHT), make_queries(3, NQ), NULL};
    OK(vq_source_open_array(&w.queries, w.train, TAUGHT, D, VQ_F32, &err));
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

/* From the same start (query-aware) each codec gains by distillation, on queries nobody trained on.
 */
Test(train, distillation_improves_on_its_start, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const char *const codecs[] = {"pq8", "pq4", "aq8"};
    world w = make_world();
    vq_mem_free(w.train), vq_mem_free(w.held), vq_source_close(w.queries);
    w.train = near_queries(w.x, 4, TAUGHT), w.held = near_queries(w.x, 5, NQ);
    OK(vq_source_open_array(&w.queries, w.train, TAUGHT, D, VQ_F32, &err));
    for (size_t i = 0; i < 3; i++) {
        vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
        o.codec = codecs[i], o.code_bytes = 4, o.train = VQ_TRAIN_QUERY_AWARE;
        build(path, w.x, N, D, VQ_F32, &o);
        double before = overlap(path, &w, VQ_METRIC_IP, VQ_NONE);
        o.train = VQ_TRAIN_DISTILL;
        build(path, w.x, N, D, VQ_F32, &o);
        double after = overlap(path, &w, VQ_METRIC_IP, VQ_NONE);
        double gain = strcmp(codecs[i], "pq4") == 0 ? 0.005 : 0.03; /* 16 words learn less */
        cr_assert_gt(after, before + gain, "%s: %.3f, then %.3f", codecs[i], before, after);
        cr_assert_eq(overlap(path, &w, VQ_METRIC_IP, N), 1.0, "all reranked is exact");
        cr_assert_eq(problems_of(path), 0);
    }
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(train, few_queries_and_bad_rows)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_source *two, *rows;
    OK(vq_source_open_array(&two, w.train, 2, D, VQ_F32, &err));
    w.x[5 * D] = NAN, w.x[9 * D + 1] = NAN;
    test_write(path, "", 0);
    char *file = test_path(dir, "x.fbin");
    FILE *f = fopen(file, "wb");
    uint32_t shape[2] = {N, D};
    cr_assert(fwrite(shape, 4, 2, f) == 2 && fwrite(w.x, 4, N * D, f) == N * D && fclose(f) == 0);
    OK(vq_source_open_file(&rows, file, 1, &err));
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    o.queries = &two, o.epochs = 1, o.loss = "lambda", o.temperature = 2.0f;
    OK(vq_build(path, rows, &o, &err));
    cr_assert_eq(problems_of(path), 0);
    vq_source_close(two);
    vq_source_close(rows);
    end_world(&w);
    free(file);
    free(path);
    test_rmdir(dir);
}

Test(train, threads_do_not_show)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), hex[2][33];
    world w = make_world();
    for (uint32_t t = 0; t < 2; t++) {
        vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
        o.epochs = 2;
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
    o = with_queries(&w, VQ_METRIC_IP), o.loss = "hinge";
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.temperature = -1.0f;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = VQ_TRAIN_QUERY_AWARE, o.epochs = 3;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.nqueries = 0, o.epochs = 3;
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
