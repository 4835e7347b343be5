/* SPDX-License-Identifier: Apache-2.0 */
/* How good the answers are on the real set that ships, with the defaults and below them. */
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

#define FOLDER VQ_SOURCE_DIR "/datasets/debian/"

enum { NQ = 100, K = 10 };

static vq_source *base(void)
{
    vq_source *src = NULL;
    OK(vq_source_open_file(&src, FOLDER "base.i8bin.zst", 0, &err));
    return src;
}

/* recall@10 of a search with these efforts. */
static double recall(vq_index *ix, uint32_t nprobe, uint32_t rerank, const float *q,
                     const uint64_t *truth)
{
    uint64_t ids[NQ * K];
    vq_searcher *s = open_searcher(ix, nprobe, rerank);
    OK(vq_search(s, q, NQ, K, ids, NULL, &err));
    vq_searcher_close(s);
    return vq_recall(truth, K, K, ids, K, K, NQ);
}

/* Of all vectors what a query reads, copies counted, for these lists' recall of .95. */
static double read_for_95(vq_index *ix, const float *q, const uint64_t *truth)
{
    uint64_t ids[NQ * K];
    double recall = 0.0, read = 0.0;
    for (uint32_t nprobe = 1; recall < 0.95; nprobe++) {
        double before = recall, read_before = read;
        vq_search_stats stats = VQ_SEARCH_STATS_INIT;
        vq_searcher *s = open_searcher(ix, nprobe, 1000);
        OK(vq_search(s, q, NQ, K, ids, NULL, &err));
        OK(vq_searcher_stats(s, &stats, &err));
        vq_searcher_close(s);
        recall = vq_recall(truth, K, K, ids, K, K, NQ);
        read = (double)stats.vectors / (NQ * 20000.0);
        if (recall >= 0.95)
            return read_before + (read - read_before) * (0.95 - before) / (recall - before);
    }
    return read;
}

/* Questions are not like the vectors that a build tunes on. */
static void tune_for_questions(const char *path)
{
    vq_tune_opts o = VQ_TUNE_OPTS_INIT;
    vq_source *queries;
    OK(vq_source_open_file(&queries, FOLDER "queries_train.i8bin", 0, &err));
    o.queries = &queries, o.nqueries = 1, o.max_queries = 600, o.k = K;
    OK(vq_tune(path, &o, &err));
    vq_source_close(queries);
}

Test(recall, debian, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    uint64_t truth[NQ * K], n;
    float scores[NQ * K];
    size_t got;
    uint32_t d;
    vq_source *src = base(), *queries;
    vq_source_shape(src, &n, &d, NULL);
    cr_assert(n == 20000 && d == 256);
    float *q = vq_alloc_f32(NQ, d);
    OK(vq_source_open_file(&queries, FOLDER "queries_dev.i8bin", 0, &err));
    OK(vq_source_read_f32(queries, q, NQ, &got, &err));
    cr_assert_eq(got, NQ);
    vq_source_close(queries);
    vq_exact_opts eo = {.metric = VQ_METRIC_IP, .k = K, .threads = 1};
    OK(vq_exact(src, q, NQ, &eo, truth, scores, &err));
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.metric = VQ_METRIC_IP;
    o.threads = 1;
    o.rotation = VQ_ROTATION_PCA; /* as good here as opq, and no training for minutes under ASan */
    OK(vq_build(path, src, &o, &err));
    vq_index *ix = open_index(path);
    double untold = recall(ix, 0, 0, q, truth);
    vq_close(ix);
    tune_for_questions(path);
    ix = open_index(path);
    double usual = recall(ix, 0, 0, q, truth), few = recall(ix, 4, 0, q, truth);
    double codes = recall(ix, VQ_ALL, VQ_NONE, q, truth), all = recall(ix, VQ_ALL, 20000, q, truth);
    cr_assert(untold >= 0.8 && untold < 0.99, "tuned on stored vectors: recall@10 is %.4f", untold);
    cr_assert(usual >= 0.92 && usual <= 0.98, "defaults, recall .95: recall@10 is %.4f", usual);
    cr_assert(all == 1.0, "with everything: %.4f", all);
    cr_assert(codes >= 0.6 && codes <= usual, "codes alone: %.4f", codes);
    cr_assert(few >= 0.5 && few < usual, "4 lists: %.4f", few);
    double with = read_for_95(ix, q, truth);
    vq_close(ix);
    o.copies = VQ_COPIES_NO, o.force = 1;
    OK(vq_build(path, src, &o, &err));
    vq_source_close(src);
    ix = open_index(path);
    double without = read_for_95(ix, q, truth);
    vq_close(ix);
    cr_assert(with < 0.75 * without, "copies: %.4f is read with them, %.4f without", with, without);
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}
