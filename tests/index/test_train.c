/* SPDX-License-Identifier: Apache-2.0 */
/* Training with queries: codes that serve those who ask, and what is refused. */
#include "tests/index/taught.h"

Test(train, queries_improve_the_ranking_of_unseen_ones)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const uint32_t metrics[] = {VQ_METRIC_IP, VQ_METRIC_COSINE};
    world w = make_world();
    for (size_t i = 0; i < 2; i++) {
        vq_build_opts o = with_queries(&w, metrics[i]), plain = o;
        o.train = VQ_TRAIN_QUERY_AWARE;
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

/* Distances: queries among the rows, given or made of them. */
Test(train, l2_learns_and_loses_nothing)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    static const char *const codecs[] = {"pq8", "aq8"};
    float *all = clusters(1, N + 2 * NQ, D);
    memcpy(w.train, all + N * D, NQ * D * sizeof *all);
    memcpy(w.held, all + (N + NQ) * D, NQ * D * sizeof *all);
    for (size_t i = 0; i < 4; i++) {
        vq_info info = VQ_INFO_INIT;
        vq_build_opts o = with_queries(&w, VQ_METRIC_L2), plain = o;
        o.codec = plain.codec = codecs[i / 2];
        plain.queries = NULL, plain.nqueries = 0;
        if (i % 2 == 0) o = plain, o.train = VQ_TRAIN_DISTILL;
        build(path, w.x, N, D, VQ_F32, &plain);
        double before = overlap(path, &w, VQ_METRIC_L2, VQ_NONE);
        build(path, w.x, N, D, VQ_F32, &o);
        double after = overlap(path, &w, VQ_METRIC_L2, VQ_NONE);
        cr_assert_geq(after, before - 0.01, "%s: %.3f, then %.3f", o.codec, before, after);
        cr_assert_eq(overlap(path, &w, VQ_METRIC_L2, N), 1.0, "all reranked is exact");
        cr_assert_eq(problems_of(path), 0);
        vq_index *ix = open_index(path);
        OK(vq_index_info(ix, &info, &err));
        vq_close(ix);
        cr_assert_eq(info.train, VQ_TRAIN_DISTILL);
        cr_assert(strstr(info.why, "distilled: to") != NULL, "%s", info.why);
    }
    vq_mem_free(all);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(train, few_queries_and_bad_rows)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_source *few, *rows;
    OK(vq_source_open_array(&few, w.train, D, D, VQ_F32, &err));
    w.x[5 * D] = NAN, w.x[9 * D + 1] = NAN;
    test_write(path, "", 0);
    char *file = test_path(dir, "x.fbin");
    FILE *f = fopen(file, "wb");
    uint32_t shape[2] = {N, D};
    cr_assert(fwrite(shape, 4, 2, f) == 2 && fwrite(w.x, 4, N * D, f) == N * D && fclose(f) == 0);
    OK(vq_source_open_file(&rows, file, 1, &err));
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    o.queries = &few, o.epochs = 1, o.loss = "lambda", o.temperature = 2.0f;
    OK(vq_build(path, rows, &o, &err));
    cr_assert_eq(problems_of(path), 0);
    vq_source_close(few);
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

typedef struct heard {
    unsigned rows, stop_at;
    vq_epoch last;
} heard;

static int hear(void *ctx, const vq_epoch *e)
{
    heard *h = ctx;
    cr_assert_eq(e->struct_size, sizeof *e);
    cr_assert(e->overlap >= 0.0 && e->overlap <= 1.0 && e->loss >= 0.0);
    cr_assert(e->round * 100 + e->epoch > h->last.round * 100 + h->last.epoch, "in order");
    h->last = *e;
    return ++h->rows == h->stop_at;
}

Test(train, each_epoch_is_told_and_may_be_the_last)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    heard all = {0}, some = {.stop_at = 2};
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    o.epochs = 2, o.log = hear, o.log_ctx = &all;
    build(path, w.x, N, D, VQ_F32, &o);
    /* A round that brought nothing is the last. */
    cr_assert(all.last.round >= 1 && all.last.round <= 2 && all.last.epoch == 2 &&
                  all.rows == 2 * all.last.round,
              "%u", all.rows);
    o.log_ctx = &some;
    FAILS(VQ_ECANCELED, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert_eq(some.rows, 2);
    cr_assert_eq(problems_of(path), 0, "the first is still there");
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
    o.epochs = 2, o.train = VQ_TRAIN_QUERY_AWARE;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert(strstr(err.text, "not query-aware") != NULL, "%s", err.text);
    vq_source *few;
    OK(vq_source_open_array(&few, w.train, D - 1, D, VQ_F32, &err));
    o = with_queries(&w, VQ_METRIC_IP), o.queries = &few;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert(strstr(err.text, "are the least") != NULL, "%s", err.text);
    vq_source_close(few);
    o = with_queries(&w, VQ_METRIC_IP), o.codec = "sq8", o.code_bytes = 0;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.rotation = VQ_ROTATION_NONE;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = VQ_TRAIN_KMEANS;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = VQ_TRAIN_QUERY_AWARE, o.nqueries = 0;
    o.teacher_cache = "c";
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.loss = "hinge";
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.temperature = -1.0f;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = VQ_TRAIN_QUERY_AWARE, o.epochs = 3;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.train = VQ_TRAIN_QUERY_AWARE, o.fixed_queries = 1;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.reserved2 = 1;
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
