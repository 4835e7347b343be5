/* SPDX-License-Identifier: Apache-2.0 */
/* Distillation: better than its start on queries that nobody trained on. */
#include "tests/index/taught.h"

enum { TAUGHT = 5000 };

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

/* From the same start (query-aware) each codec gains by distillation, on queries nobody trained on,
 * and with distances too.
 */
Test(learn, distillation_improves_on_its_start, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const struct {
        const char *codec;
        uint32_t metric;
        double gain;
    } cases[] = {{"pq8", VQ_METRIC_IP, 0.03},
                 {"pq4", VQ_METRIC_IP, 0.005}, /* 16 words learn less */
                 {"aq8", VQ_METRIC_IP, 0.03},
                 {"pq8", VQ_METRIC_L2, 0.01},
                 {"aq8", VQ_METRIC_L2, 0.01}};
    world w = make_world();
    vq_mem_free(w.train), vq_mem_free(w.held), vq_source_close(w.queries);
    w.train = near_queries(w.x, 4, TAUGHT), w.held = near_queries(w.x, 5, NQ);
    OK(vq_source_open_array(&w.queries, w.train, TAUGHT, D, VQ_F32, &err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t metric = cases[i].metric;
        vq_build_opts o = with_queries(&w, metric);
        o.codec = cases[i].codec, o.code_bytes = metric == VQ_METRIC_L2 ? 8 : 4;
        o.train = VQ_TRAIN_QUERY_AWARE;
        build(path, w.x, N, D, VQ_F32, &o);
        double before = overlap(path, &w, metric, VQ_NONE);
        o.train = VQ_TRAIN_DISTILL;
        build(path, w.x, N, D, VQ_F32, &o);
        double after = overlap(path, &w, metric, VQ_NONE);
        cr_assert_gt(after, before + cases[i].gain, "%s, %s: %.3f, then %.3f", cases[i].codec,
                     vq_metric_name(metric), before, after);
        cr_assert_eq(overlap(path, &w, metric, N), 1.0, "all reranked is exact");
        cr_assert_eq(problems_of(path), 0);
    }
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

/* Where memory does not hold all vectors, some teach and the others are coded by what these taught:
 * with queries, and with vectors in their place. */
Test(learn, a_part_teaches_where_memory_is_short, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    for (size_t queries = 0; queries < 2; queries++) {
        vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
        vq_info info = VQ_INFO_INIT;
        vq_index *ix;
        o.code_bytes = 4, o.copies = VQ_COPIES_YES;
        o.queries = NULL, o.nqueries = 0;
        build(path, w.x, N, D, VQ_F32, &o);
        double before = overlap(path, &w, VQ_METRIC_IP, VQ_NONE);
        if (queries == 1) o.queries = &w.queries, o.nqueries = 1;
        o.train = VQ_TRAIN_DISTILL, o.memory = 1 << 20;
        build(path, w.x, N, D, VQ_F32, &o);
        ix = open_index(path);
        OK(vq_index_info(ix, &info, &err));
        cr_assert_not_null(strstr(info.why, "taught by 4096 of 6000"), "%s", info.why);
        vq_close(ix);
        double after = overlap(path, &w, VQ_METRIC_IP, VQ_NONE);
        if (queries == 1) cr_assert_gt(after, before + 0.05, "%.3f, then %.3f", before, after);
        cr_assert_eq(overlap(path, &w, VQ_METRIC_IP, N), 1.0, "all reranked is exact");
        cr_assert_eq(problems_of(path), 0);
    }
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

/* Scores of vectors that are not in memory cannot be learnt. */
Test(learn, a_given_teacher_needs_all_vectors)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    vq_source *src;
    uint64_t query = 1, row = 2;
    vq_pairs labels = {.n = 1, .query = &query, .row = &row};
    o.memory = 1 << 20, o.train = VQ_TRAIN_DISTILL, o.positives = &labels;
    OK(vq_source_open_array(&src, w.x, N, D, VQ_F32, &err));
    cr_assert_eq(vq_build(path, src, &o, &err), VQ_EINVAL);
    cr_assert_not_null(strstr(err.text, "all must be in memory"), "%s", err.text);
    vq_source_close(src);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}
