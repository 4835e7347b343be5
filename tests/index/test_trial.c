/* SPDX-License-Identifier: Apache-2.0 */
/* The codec that a trial picks is one that serves: as good by codes alone as any other asked for by
 * name, product codes where rows decide.  Who asks for a codec gets it. */
#include "index/trial.h"

#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 10000, DIM = 64, ASKED = 200, TEN = 10 };

/* Rows around centres, of which axes differ: with a fall of .95, as of text embeddings, where few
 * hold most of the variance; with 1, as of pictures in blocks, all alike.  The last ASKED ask. */
static float *steep(uint64_t seed, double fall)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *x = vq_alloc_f32(N + ASKED, DIM), *centres = vq_alloc_f32(40, DIM);
    fill_normal(&r, centres, 40 * DIM);
    for (size_t i = 0; i < N + ASKED; i++) {
        const float *c = centres + vq_rng_below(&r, 40) * DIM;
        double scale = 1.0;
        for (size_t j = 0; j < DIM; j++, scale *= fall)
            x[i * DIM + j] = (float)scale * (.7f * c[j] + (float)vq_rng_normal(&r));
    }
    vq_mem_free(centres);
    return x;
}

static vq_info build_as(const char *path, const float *x, const char *codec, uint32_t metric,
                        uint32_t bytes, uint32_t store)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_info info = VQ_INFO_INIT;
    o.codec = codec, o.metric = metric, o.code_bytes = bytes, o.store = store;
    o.no_tune = 1, o.force = 1, o.copies = VQ_COPIES_NO, o.nlist = 20;
    build(path, x, N, DIM, VQ_F32, &o);
    vq_index *ix = open_index(path);
    OK(vq_index_info(ix, &info, &err));
    vq_close(ix);
    return info;
}

/* Recall@10 of the codes alone, all lists. */
static double recall_of(const char *path, const float *x, uint32_t metric)
{
    vq_exact_opts o = {.metric = metric, .k = TEN, .threads = 1};
    uint64_t *truth = vq_mem_alloc(ASKED * TEN, sizeof *truth);
    uint64_t *found = vq_mem_alloc(ASKED * TEN, sizeof *found);
    vq_source *src;
    OK(vq_source_open_array(&src, x, N, DIM, VQ_F32, &err));
    OK(vq_exact(src, x + N * DIM, ASKED, &o, truth, NULL, &err));
    vq_source_close(src);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, VQ_NONE);
    OK(vq_search(s, x + N * DIM, ASKED, TEN, found, NULL, &err));
    vq_searcher_close(s);
    vq_close(ix);
    double recall = vq_recall(truth, TEN, TEN, found, TEN, TEN, ASKED);
    vq_mem_free(truth), vq_mem_free(found);
    return recall;
}

Test(trial, codes_alone_rank_as_well_as_any, .timeout = 300)
{
    static const struct {
        double fall;
        uint32_t metric, bytes;
        const char *codec;
    } cases[] = {{.95, VQ_METRIC_IP, 8, "pq8"},

                 {1.0, VQ_METRIC_L2, 12, "pq8"},
                 {1.0, VQ_METRIC_L2, 52, "saq"}};
    char *dir = test_tmpdir(), *path = test_path(dir, "a");
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        float *x = steep(i, cases[i].fall);
        uint32_t metric = cases[i].metric, bytes = cases[i].bytes;
        vq_info info = build_as(path, x, NULL, metric, bytes, VQ_ELEM_NONE);
        double got = recall_of(path, x, metric);
        cr_assert(strstr(info.why, "in a trial on") != NULL, "%s", info.why);
        cr_assert_str_eq(info.codec, cases[i].codec, "%s", info.why);
        static const char *const names[] = {"pq8", "saq"};
        for (size_t j = 0; j < VQ_COUNT(names); j++) {
            info = build_as(path, x, names[j], metric, bytes, VQ_ELEM_NONE);
            double other = recall_of(path, x, metric);
            cr_assert(got >= other - .03, "case %zu: %.3f, %s %.3f", i, got, names[j], other);
            cr_assert_str_eq(info.codec, names[j]);
            cr_assert(strstr(info.why, "trial") == NULL, "%s", info.why);
        }
        vq_mem_free(x);
    }
    free(path);
    test_rmdir(dir);
}

/* What a query pays before it reads a code is less with product codes, and rows rank anyway. */
Test(trial, rows_make_codes_that_cost_little_do, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "a");
    for (int i = 0; i < 2; i++) {
        float *x = steep(5, i == 0 ? .95 : 1.0);
        vq_info info = build_as(path, x, NULL, i == 0 ? VQ_METRIC_IP : VQ_METRIC_L2, 24, VQ_F16);
        cr_assert(info.codec[0] == 'p' && info.codec[1] == 'q', "%s", info.why);
        cr_assert(strstr(info.why, "us a query") != NULL, "%s", info.why);
        vq_mem_free(x);
    }
    free(path);
    test_rmdir(dir);
}

/* Threads do not show, nor does a name that is the same as what was chosen change the codes' size.
 */
Test(trial, the_same_each_time, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "a"), first[33], again[33];
    float *x = steep(7, 1.0);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.store = VQ_ELEM_NONE, o.code_bytes = 36, o.threads = threads, o.force = 1, o.nlist = 20;
        build(path, x, N, DIM, VQ_F32, &o);
        digest_of(path, threads == 1 ? first : again);
    }
    cr_assert_str_eq(first, again);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(trial, only_where_it_can_differ)
{
    static const struct {
        const char *codec;
        uint64_t n;
        uint32_t d, bytes, train, rotation;
        float bits;
        bool trial;
    } cases[] = {
        {NULL, 10000, 64, 0, 0, 0, 0, true},
        {"auto", 100000, 768, 96, 0, VQ_ROTATION_RANDOM, 0, true},
        {NULL, 100000, 768, 0, 0, 0, 2, true},  /* 192 bytes */
        {NULL, 100000, 768, 0, 0, 0, 4, false}, /* more than product codes hold */
        {"pq8", 100000, 768, 96, 0, 0, 0, false},
        {"saq", 100000, 768, 96, 0, 0, 0, false},
        {NULL, 9999, 64, 0, 0, 0, 0, false},
        {NULL, 10000, 16, 0, 0, 0, 0, false},
        {NULL, 100000, 768, 800, 0, 0, 0, false},                   /* a byte a dimension: sq8 */
        {NULL, 100000, 768, 96, VQ_TRAIN_QUERY_AWARE, 0, 0, false}, /* for codes that learn */
        {NULL, 100000, 768, 96, 0, VQ_ROTATION_OPQ, 0, false},      /* for product codes */
    };
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        vq_plan p;
        o.codec = cases[i].codec, o.code_bytes = cases[i].bytes, o.train = cases[i].train;
        o.rotation = cases[i].rotation, o.bits = cases[i].bits, o.metric = VQ_METRIC_IP;
        OK(vq_plan_make(&p, &o, cases[i].n, cases[i].d, VQ_F32, &err));
        cr_assert_eq(p.trial, cases[i].trial, "case %zu", i);
        if (!p.trial) continue;
        OK(vq_plan_decide(&p, &o, VQ_F32, &vq_codec_saq, "told so", &err));
        cr_assert(p.model.codec == &vq_codec_saq && !p.trial);
        cr_assert(strncmp(p.model.why, "codec saq: told so", 18) == 0, "%s", p.model.why);
        cr_assert_eq(strstr(p.model.why + 1, "codec "), NULL, "%s", p.model.why);
    }
}
