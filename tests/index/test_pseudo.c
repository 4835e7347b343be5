/* SPDX-License-Identifier: Apache-2.0 */
/* Training without queries: what stands in for them, and what comes of it. */
#include "index/pseudo.h"

#include "index/teacher.h"
#include "tests/index/taught.h"

static vq_queries made(const float *x, size_t n, uint32_t metric)
{
    static uint32_t at[N];
    vq_model m = {.d = D, .metric = metric, .seed = test_seed()};
    vq_sample s = {.rows = x, .at = at, .n = n, .elem = VQ_F32};
    vq_queries q = {0};
    for (uint32_t i = 0; i < N; i++) at[i] = 2 * i + 1;
    OK(vq_pseudo_queries(&m, &s, &q, &err));
    return q;
}

static void drop(vq_queries *q)
{
    vq_mem_free(q->x);
    vq_mem_free(q->own);
}

Test(pseudo, each_is_near_a_vector_of_its_own)
{
    float *x = clusters(1, N, D);
    vq_queries q = made(x, N, VQ_METRIC_IP), again = made(x, N, VQ_METRIC_IP);
    double moved = 0.0, apart = 0.0;
    cr_assert_eq(q.n, N);
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(q.own[i], 2 * i + 1, "every vector once");
        for (size_t j = 0; j < D; j++) {
            double to_own = (double)q.x[i * D + j] - (double)x[i * D + j];
            double to_next = (double)q.x[i * D + j] - (double)x[(i + 1) % N * D + j];
            moved += to_own * to_own, apart += to_next * to_next;
        }
    }
    cr_assert(moved > 0.0 && moved < 0.2 * apart, "%g of %g", moved, apart);
    cr_assert_eq(memcmp(q.x, again.x, N * D * sizeof *q.x), 0, "the same seed");
    drop(&q);
    drop(&again);
    q = made(x, 50, VQ_METRIC_COSINE);
    cr_assert_eq(q.n, 50);
    for (size_t i = 0; i < q.n; i++) {
        double sq = 0.0;
        for (size_t j = 0; j < D; j++) sq += (double)q.x[i * D + j] * (double)q.x[i * D + j];
        cr_assert_float_eq(sq, 1.0, 1e-5);
    }
    drop(&q);
    vq_mem_free(x);
}

Test(pseudo, one_vector_is_too_few)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    o.nqueries = 0, o.train = VQ_TRAIN_DISTILL, o.nlist = 1;
    FAILS(VQ_EINVAL, try_build(path, w.x, 1, D, VQ_F32, &o));
    cr_assert(strstr(err.text, "2 are the least") != NULL, "%s", err.text);
    o.epochs = 1; /* two answer each other, and one of them judges */
    build(path, w.x, 2, D, VQ_F32, &o);
    cr_assert_eq(problems_of(path), 0);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(pseudo, own_vectors_are_no_answers)
{
    uint32_t rows[5] = {4, 9, 2, UINT32_MAX, UINT32_MAX};
    float scores[5] = {5, 4, 3, 0, 0};
    cr_assert_eq(vq_answers_without(rows, scores, 3, 9), 2);
    cr_assert(rows[0] == 4 && rows[1] == 2 && rows[2] == UINT32_MAX && scores[1] == 3.0f);
    cr_assert_eq(vq_answers_without(rows, NULL, 2, 7), 2, "not among them");
    cr_assert_eq(vq_answers_without(rows, NULL, 1, 4), 0);
    cr_assert_eq(rows[0], UINT32_MAX);
}

/* Codes that are taught by the vectors rank for vectors not seen, at least as well as they did. */
Test(pseudo, nothing_is_lost_and_the_index_says_so)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const uint32_t trains[] = {VQ_TRAIN_KMEANS, VQ_TRAIN_QUERY_AWARE, VQ_TRAIN_DISTILL};
    world w = make_world();
    double got[3];
    vq_mem_free(w.held);
    w.held = clusters(1, N + NQ, D);
    memmove(w.held, w.held + N * D, NQ * D * sizeof *w.held); /* of the same clusters */
    for (size_t i = 0; i < 3; i++) {
        vq_build_opts o = with_queries(&w, VQ_METRIC_COSINE);
        vq_info info = VQ_INFO_INIT;
        o.nqueries = 0, o.train = trains[i];
        build(path, w.x, N, D, VQ_F32, &o);
        got[i] = overlap(path, &w, VQ_METRIC_COSINE, VQ_NONE);
        cr_assert_eq(overlap(path, &w, VQ_METRIC_COSINE, N), 1.0, "all reranked is exact");
        vq_index *ix = open_index(path);
        OK(vq_index_info(ix, &info, &err));
        vq_close(ix);
        cr_assert_eq(info.train, trains[i]);
        cr_assert_eq(strstr(info.why, "stand in") != NULL, i > 0, "%s", info.why);
        cr_assert_eq(problems_of(path), 0);
    }
    cr_assert(got[1] > got[0] - 0.01 && got[2] > got[0], "%.3f, %.3f, %.3f", got[0], got[1],
              got[2]);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}
