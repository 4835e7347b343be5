/* SPDX-License-Identifier: Apache-2.0 */
/* The gain of codes that are shorter than what they are of: where there is one, what it is, and
 * that it ranks better. */
#include "index/fit.h"
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 6000, NQ = 300, D = 32, K = 10, BYTES = 4 };

static vq_build_opts of(const char *codec, uint32_t metric)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = codec, o.metric = metric, o.force = 1, o.nlist = 20, o.no_tune = 1;
    o.store = VQ_ELEM_NONE, o.copies = VQ_COPIES_NO;
    return o;
}

static float gain_of(const char *path)
{
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, 0);
    float gain = s->shards[0].model.gain;
    vq_searcher_close(s);
    vq_close(ix);
    return gain;
}

Test(gain, only_product_and_additive_codes_of_products_have_one)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D);
    for (size_t i = 0; i < vq_codec_count; i++)
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
            if (metric != VQ_METRIC_L2 && vq_codecs[i]->books != NULL) continue;
            vq_build_opts o = of(vq_codecs[i]->name, metric);
            if (vq_codecs[i]->books != NULL) o.code_bytes = BYTES + 4;
            build(path, x, N, D, VQ_F32, &o);
            cr_assert_eq(gain_of(path), 0.0f, "%s", o.codec);
        }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* By how much a score of query q (N, by id) misses that of centroid and code, the latter times the
 * gain. */
static double worst_of(const vq_shard *s, const float *q, const float *scores)
{
    const vq_model *m = &s->model;
    const vq_kernels *k = vq_kernels_get();
    float wide[D], to[2 * D], h[2 * D];
    double offset = 0.0, worst = 0.0;
    vq_transform t = m->transform;
    t.mean = NULL; /* the query keeps its mean */
    memcpy(wide, q, sizeof wide);
    vq_transform_many(&t, k, wide, 1, to);
    for (uint32_t j = 0; j < D; j++) offset += (double)q[j] * (double)m->mean[j];
    for (uint32_t l = 0; l < m->nlist; l++)
        for (uint32_t i = 0; i < s->lists[l].n; i++) {
            uint8_t row[64];
            uint32_t slot;
            double sum = offset;
            const vq_chunk_view *v = vq_shard_at(s, (uint64_t)l << 32 | i, &slot);
            uint64_t label = vq_le64(v->labels + 8 * (size_t)slot);
            m->codec->unpack(&m->code, v->codes, slot, row);
            m->codec->decode(&m->code, row, 1, h);
            for (uint32_t j = 0; j < m->d_code; j++) {
                double c = (double)m->centroids[(size_t)l * m->d_code + j];
                sum += (double)to[j] * (c + (double)m->gain * (double)h[j]);
            }
            worst = fmax(worst, fabs(sum - (double)scores[label]));
        }
    return worst;
}

Test(gain, is_in_every_score)
{
    static uint64_t ids[N];
    static float scores[N], by_id[N];
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(2, N, D);
    static const char *const codecs[] = {"pq4", "pq8", "aq8"};
    for (size_t i = 0; i < VQ_COUNT(codecs); i++) {
        vq_build_opts o = of(codecs[i], VQ_METRIC_IP);
        o.code_bytes = BYTES;
        build(path, x, N, D, VQ_F32, &o);
        vq_index *ix = open_index(path);
        vq_searcher *s = open_searcher(ix, VQ_ALL, 0);
        s->shards[0].model.gain = 1.4f;
        OK(vq_search(s, x + 5 * D, 1, N, ids, scores, &err));
        for (size_t j = 0; j < N; j++) by_id[ids[j]] = scores[j];
        cr_assert_lt(worst_of(&s->shards[0], x + 5 * D, by_id), 2e-3, "%s", codecs[i]);
        vq_searcher_close(s);
        vq_close(ix);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Queries together, and one on all threads, are answered as one by one. */
Test(gain, is_the_same_however_queries_come)
{
    static uint64_t one[NQ * K], many[NQ * K];
    static float score[NQ * K], scores[NQ * K];
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(2, N, D);
    vq_build_opts o = of("pq8", VQ_METRIC_IP);
    o.code_bytes = BYTES;
    build(path, x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, 0);
    s->shards[0].model.gain = 1.4f;
    for (size_t q = 0; q < NQ; q++)
        OK(vq_search(s, x + q * D, 1, K, one + q * K, score + q * K, &err));
    vq_searcher_close(s);
    for (uint32_t latency = 0; latency < 2; latency++) {
        vq_search_opts so = VQ_SEARCH_OPTS_INIT;
        so.nprobe = VQ_ALL, so.rerank = VQ_NONE, so.threads = 2, so.latency = latency;
        OK(vq_searcher_open(&s, ix, &so, &err));
        s->shards[0].model.gain = 1.4f;
        OK(vq_search(s, x, NQ, K, many, scores, &err));
        cr_assert_arr_eq(many, one, sizeof one, "latency %u", latency);
        cr_assert_arr_eq(scores, score, sizeof score);
        vq_searcher_close(s);
    }
    vq_close(ix);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Share of the true ten of NQ queries among the ten best by codes. */
static double overlap(vq_searcher *s, const float *q, const uint64_t *truth)
{
    static uint64_t ids[NQ * K];
    OK(vq_search(s, q, NQ, K, ids, NULL, &err));
    return vq_recall(truth, K, K, ids, K, K, NQ);
}

/* Text embeddings, and queries that have taught nothing. */
Test(gain, ranks_better, .timeout = 300)
{
    static uint64_t truth[NQ * K];
    enum { D_TEXT = 256 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_source *base, *asked;
    const char *folder = VQ_SOURCE_DIR "/datasets/debian";
    char *of_rows = test_path(folder, "base.i8bin.zst"),
         *of_queries = test_path(folder, "queries_dev.i8bin");
    float *q = vq_alloc_f32(NQ, D_TEXT);
    size_t got;
    OK(vq_source_open_file(&base, of_rows, 0, &err));
    OK(vq_source_open_file(&asked, of_queries, 0, &err));
    OK(vq_source_read_f32(asked, q, NQ, &got, &err));
    cr_assert_eq(got, NQ);
    vq_build_opts o = of("pq8", VQ_METRIC_COSINE);
    vq_exact_opts e = {.metric = VQ_METRIC_COSINE, .k = K, .threads = 1};
    o.code_bytes = 8, o.nlist = 500;
    OK(vq_exact(base, q, NQ, &e, truth, NULL, &err));
    OK(vq_build(path, base, &o, &err));
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, 0);
    cr_assert(s->shards[0].model.gain > 1.05f, "%g", (double)s->shards[0].model.gain);
    double with = overlap(s, q, truth);
    s->shards[0].model.gain = 0.0f;
    double without = overlap(s, q, truth);
    cr_assert_gt(with, without + 0.003, "%.4f with, %.4f without", with, without);
    vq_searcher_close(s);
    vq_close(ix);
    vq_source_close(base);
    vq_source_close(asked);
    vq_mem_free(q);
    free(of_rows);
    free(of_queries);
    free(path);
    test_rmdir(dir);
}
