/* SPDX-License-Identifier: Apache-2.0 */
/* Builds with the model of another index: what is encoded is what adding would have encoded. */
#include "tests/index/fixture.h"

enum { N = 600, MORE = 300, D = 16, K = 10, ASKED = 20 };

static vq_info info_of(const char *path)
{
    vq_index *ix = open_index(path);
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    vq_close(ix);
    return info;
}

static vq_status adopt(const char *path, const char *model, const void *rows, uint64_t n,
                       uint32_t d, uint32_t elem, const vq_build_opts *more)
{
    vq_build_opts o = *more;
    o.model = open_index(model);
    o.force = 1, o.no_tune = 1;
    vq_status rc = try_build(path, rows, n, d, elem, &o);
    vq_close(o.model);
    return rc;
}

/* The index itself, emptied, and then given the rows. */
static void refill(const char *path, const char *model, const float *rows, size_t n)
{
    vq_writer *w;
    vq_source *src;
    uint64_t ids[N];
    vq_compact_opts o = VQ_COMPACT_OPTS_INIT;
    o.force = 1;
    for (uint64_t i = 0; i < N; i++) ids[i] = i;
    OK(vq_compact(model, path, &o, &err));
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, ids, NULL, N, &err));
    OK(vq_writer_commit(w, NULL, &err));
    OK(vq_source_open_array(&src, rows, n, D, VQ_F32, &err));
    OK(vq_writer_add(w, src, ids, NULL, n, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_source_close(src);
    vq_writer_close(w);
}

/* most: answers that may be others. */
static void same_answers(const char *a, const char *b, size_t most)
{
    size_t others = 0;
    vq_index *x = open_index(a), *y = open_index(b);
    float *q = clusters(9, ASKED, D);
    for (int pass = 0; pass < 4; pass++) {
        uint32_t nprobe = pass < 2 ? 2 : VQ_ALL, rerank = pass % 2 == 0 ? VQ_NONE : 0;
        vq_searcher *s = open_searcher(x, nprobe, rerank), *t = open_searcher(y, nprobe, rerank);
        uint64_t of_s[ASKED * K], of_t[ASKED * K];
        float in_s[ASKED * K], in_t[ASKED * K];
        OK(vq_search(s, q, ASKED, K, of_s, in_s, &err));
        OK(vq_search(t, q, ASKED, K, of_t, in_t, &err));
        for (size_t i = 0; i < ASKED * K; i++) others += of_s[i] != of_t[i] || in_s[i] != in_t[i];
        vq_searcher_close(s);
        vq_searcher_close(t);
    }
    vq_mem_free(q);
    vq_close(x);
    vq_close(y);
    cr_assert(others <= most, "%zu of %d", others, 4 * ASKED * K);
}

Test(adopt, encodes_as_adding_does, .timeout = 120)
{
    static const struct {
        const char *codec;
        uint32_t metric, store, copies;
    } kinds[] = {{"pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES},
                 {"pq4", VQ_METRIC_COSINE, VQ_F16, VQ_COPIES_NO},
                 {"saq", VQ_METRIC_IP, VQ_F32, VQ_COPIES_YES},
                 {"sq8", VQ_METRIC_L2, VQ_ELEM_NONE, VQ_COPIES_YES}};
    char *dir = test_tmpdir(), *model = test_path(dir, "m"), *path = test_path(dir, "x");
    char *added = test_path(dir, "y");
    float *x = clusters(1, N, D), *y = clusters(2, MORE, D);
    for (size_t i = 0; i < VQ_COUNT(kinds); i++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT, none = VQ_BUILD_OPTS_INIT;
        o.codec = kinds[i].codec, o.metric = kinds[i].metric, o.store = kinds[i].store;
        o.copies = kinds[i].copies, o.nlist = 9, o.force = 1, o.no_tune = 1;
        build(model, x, N, D, VQ_F32, &o);
        OK(adopt(path, model, y, MORE, D, VQ_F32, &none));
        cr_assert_eq(problems_of(path), 0);
        refill(added, model, y, MORE);
        /* Of two scales that serve a vector alike rounding decides. */
        same_answers(path, added, strcmp(kinds[i].codec, "saq") == 0 ? ASKED * K / 4 : 0);
        vq_info p = info_of(path), a = info_of(added);
        cr_assert(p.n == MORE && p.added == MORE && p.copies == a.copies && p.nlist == a.nlist);
        cr_assert(fabsf(p.drift - a.drift) < 1e-4f, "%g, %g", (double)p.drift, (double)a.drift);
        cr_assert(strstr(p.why, "nothing was trained") != NULL, "%s", p.why);
    }
    vq_mem_free(x), vq_mem_free(y);
    free(model), free(path), free(added);
    test_rmdir(dir);
}

/* Fewer vectors than lists, and in place of the model's own file. */
Test(adopt, few_vectors)
{
    char *dir = test_tmpdir(), *model = test_path(dir, "m"), *path = test_path(dir, "x");
    float *x = clusters(1, N, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT, none = VQ_BUILD_OPTS_INIT;
    o.nlist = 30, o.no_tune = 1;
    build(model, x, N, D, VQ_F32, &o);
    OK(adopt(path, model, x, 3, D, VQ_F32, &none));
    vq_info i = info_of(path);
    cr_assert(i.n == 3 && i.nlist == 30 && problems_of(path) == 0);
    OK(adopt(model, model, x, 3, D, VQ_F32, &none));
    cr_assert(info_of(model).n == 3 && problems_of(model) == 0);
    vq_mem_free(x);
    free(model), free(path);
    test_rmdir(dir);
}

/* Codes and a query map that queries have taught stand. */
Test(adopt, taught_models)
{
    char *dir = test_tmpdir(), *model = test_path(dir, "m"), *path = test_path(dir, "x");
    char hex[33], again[33];
    float *x = clusters(1, N, D), *q = clusters(3, ASKED, D);
    vq_source *asked;
    vq_build_opts o = VQ_BUILD_OPTS_INIT, none = VQ_BUILD_OPTS_INIT;
    OK(vq_source_open_array(&asked, q, ASKED, D, VQ_F32, &err));
    o.metric = VQ_METRIC_IP, o.codec = "pq4", o.rotation = VQ_ROTATION_PCA, o.epochs = 1;
    o.queries = &asked, o.nqueries = 1, o.nlist = 8, o.no_tune = 1;
    build(model, x, N, D, VQ_F32, &o);
    OK(adopt(path, model, x, MORE, D, VQ_F32, &none));
    vq_info m = info_of(model), i = info_of(path);
    cr_assert(i.mapped == m.mapped && i.train == VQ_TRAIN_DISTILL && problems_of(path) == 0);
    digest_of(path, hex);
    none.threads = 3;
    OK(adopt(path, model, x, MORE, D, VQ_F32, &none));
    digest_of(path, again);
    cr_assert_str_eq(hex, again);
    vq_source_close(asked);
    vq_mem_free(x), vq_mem_free(q);
    free(model), free(path);
    test_rmdir(dir);
}

Test(adopt, bytes)
{
    char *dir = test_tmpdir(), *model = test_path(dir, "m"), *path = test_path(dir, "x");
    float *x = clusters(1, N, D), row[D];
    void *bytes = as_elem(x, N * D, VQ_I8);
    vq_build_opts o = VQ_BUILD_OPTS_INIT, none = VQ_BUILD_OPTS_INIT;
    o.store = VQ_I8, o.no_tune = 1, o.force = 1;
    build(model, x, N, D, VQ_F32, &o); /* scaled */
    FAILS(VQ_EINVAL, adopt(path, model, bytes, N, D, VQ_I8, &none));
    cr_assert(strstr(err.text, "floats, scaled") != NULL, "%s", err.text);
    float most = 0;
    for (size_t i = 0; i < N * D; i++) most = fmaxf(most, fabsf(x[i]));
    x[0] = 3 * most;
    OK(adopt(path, model, x, N, D, VQ_F32, &none));
    vq_info info = info_of(path);
    cr_assert(strstr(info.why, " clamped to ") != NULL && problems_of(path) == 0, "%s", info.why);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 0, 0);
    OK(vq_get(s, 0, row, &err));
    cr_assert(fabsf(row[0] - most) < 0.01f * most, "%g", (double)row[0]);
    OK(vq_get(s, 1, row, &err));
    for (size_t j = 0; j < D; j++) cr_assert(fabsf(row[j] - x[D + j]) < 0.01f * most);
    vq_searcher_close(s);
    vq_close(ix);
    o.store = VQ_ELEM_DEFAULT;
    build(model, bytes, N, D, VQ_I8, &o); /* as they are */
    OK(adopt(path, model, bytes, N, D, VQ_I8, &none));
    FAILS(VQ_EINVAL, adopt(path, model, x, N, D, VQ_F32, &none));
    cr_assert(strstr(err.text, "does not hold them") != NULL, "%s", err.text);
    vq_mem_free(bytes), vq_mem_free(x);
    free(model), free(path);
    test_rmdir(dir);
}

Test(adopt, options_that_say_nothing)
{
    char *dir = test_tmpdir(), *model = test_path(dir, "m"), *path = test_path(dir, "x");
    float *x = clusters(1, N, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT, bad[8];
    o.no_tune = 1;
    build(model, x, N, D, VQ_F32, &o);
    for (size_t i = 0; i < VQ_COUNT(bad); i++) bad[i] = (vq_build_opts)VQ_BUILD_OPTS_INIT;
    bad[0].codec = "pq8", bad[1].nlist = 4, bad[2].seed = 2, bad[3].train = VQ_TRAIN_KMEANS;
    bad[4].code_bytes = 20, bad[5].metric = VQ_METRIC_IP, bad[6].store = VQ_F32;
    bad[7].rotation = VQ_ROTATION_PCA;
    for (size_t i = 0; i < VQ_COUNT(bad); i++) {
        FAILS(VQ_EINVAL, adopt(path, model, x, N, D, VQ_F32, &bad[i]));
        cr_assert(strstr(err.text, model) != NULL && access(path, F_OK) != 0, "%s", err.text);
    }
    vq_build_opts fine = VQ_BUILD_OPTS_INIT;
    fine.codec = "auto", fine.metric = VQ_METRIC_L2, fine.store = VQ_F16;
    OK(adopt(path, model, x, N, D, VQ_F32, &fine));
    FAILS(VQ_EINVAL, adopt(path, model, x, N, D - 1, VQ_F32, &fine));
    vq_mem_free(x);
    free(model), free(path);
    test_rmdir(dir);
}
