/* SPDX-License-Identifier: Apache-2.0 */
/* Searching: with full effort the exact answer, and the same bits whatever the way to them. */
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 400, D = 19, NQ = 9, K = 17 };

/* What two searches must agree on, bit for bit. */
typedef struct answers {
    uint64_t ids[NQ * N];
    float scores[NQ * N];
} answers;

static void search(vq_searcher *s, const float *q, size_t nq, uint32_t k, answers *a)
{
    memset(a, 0, sizeof *a);
    cr_assert(nq * k <= VQ_COUNT(a->ids));
    OK(vq_search(s, q, nq, k, a->ids, a->scores, &err));
}

static void same(const answers *a, const answers *b, const char *what)
{
    for (size_t i = 0; i < VQ_COUNT(a->ids); i++)
        cr_assert_eq(a->ids[i], b->ids[i], "%s: id %zu: %llu, %llu", what, i,
                     (unsigned long long)a->ids[i], (unsigned long long)b->ids[i]);
    cr_assert(memcmp(a->scores, b->scores, sizeof a->scores) == 0, "%s: scores", what);
}

static void exact(const void *rows, size_t n, uint32_t d, uint32_t elem, uint32_t metric,
                  const float *q, size_t nq, uint32_t k, answers *a)
{
    vq_source *src;
    vq_exact_opts o = {.metric = metric, .k = k, .threads = 1};
    memset(a, 0, sizeof *a);
    OK(vq_source_open_array(&src, rows, n, d, elem, &err));
    OK(vq_exact(src, q, nq, &o, a->ids, a->scores, &err));
    vq_source_close(src);
}

/* An index by codec and metric over the rows as they are; answers of full effort against exact. */
static void check_exact(const char *path, const vq_codec *codec, uint32_t metric, uint32_t elem,
                        const float *x)
{
    static answers got, want;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = codec->name;
    o.metric = metric;
    o.store = elem;
    o.force = 1;
    o.code_bytes = codec->codewords != 0 ? 8 : 0;
    void *rows = as_elem(x, (size_t)N * D, elem);
    build(path, rows, N, D, elem, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, N);
    const float *q = x + (size_t)N * D; /* more rows of the same kind */
    search(s, q, NQ, K, &got);
    exact(rows, N, D, elem, metric, q, NQ, K, &want);
    same(&got, &want, codec->name);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(rows);
}

Test(search, full_effort_is_exact)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N + NQ, D);
    memset(x + 5 * D, 0, 2 * D * sizeof *x);      /* rows of zeros */
    memcpy(x + 90 * D, x + 8 * D, D * sizeof *x); /* twins */
    for (size_t c = 0; c < vq_codec_count; c++)
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++)
            for (uint32_t elem = VQ_F32; elem <= VQ_U8; elem++)
                check_exact(path, vq_codecs[c], metric, elem, x);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Rows of bytes are first scored in integers: whatever the query, none of the best may be lost. */
Test(search, full_effort_is_exact_for_any_query_of_rows_of_bytes)
{
    static answers got, want;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D), q[NQ * D];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 12);
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++)
        for (uint32_t elem = VQ_I8; elem <= VQ_U8; elem++) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            o.metric = metric, o.force = 1;
            int8_t *rows = as_elem(x, (size_t)N * D, elem);
            memset(rows + 3 * D, 0, 2 * D); /* rows of zeros, and twins */
            memcpy(rows + 50 * D, rows + 60 * D, 8 * D);
            build(path, rows, N, D, elem, &o);
            vq_index *ix = open_index(path);
            vq_searcher *s = open_searcher(ix, VQ_ALL, N);
            for (int kind = 0; kind < 6; kind++) {
                static const float sizes[] = {1.0f, 30.0f, 1e-30f, 1e-42f, 1e15f, 0.0f};
                fill_normal(&r, q, VQ_COUNT(q));
                for (size_t i = 0; i < VQ_COUNT(q); i++) q[i] *= sizes[kind];
                if (kind < 2) q[5] *= 1000.0f; /* one coordinate outweighs all */
                search(s, q, NQ, K, &got);
                exact(rows, N, D, elem, metric, q, NQ, K, &want);
                same(&got, &want, vq_metric_name(metric));
            }
            vq_searcher_close(s);
            vq_close(ix);
            vq_mem_free(rows);
        }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Lists chosen by centroids in bytes are nearly those that floats choose, in nearly that order. */
Test(search, lists_by_bytes_are_the_lists)
{
    enum { ROWS = 6000, LISTS = 300, DIM = 48, MANY = 200 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static vq_hit lists[2][LISTS];
    static double wide[DIM];
    static int16_t fixed[DIM];
    float y[2 * DIM], *q = clusters(7, MANY, DIM);
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.metric = metric, o.nlist = LISTS, o.force = 1;
        build_clusters(path, 7, ROWS, DIM, &o);
        vq_index *ix = open_index(path);
        vq_searcher *s = open_searcher(ix, 10, 100);
        static answers first; /* the first search makes the bytes */
        search(s, q, 1, 10, &first);
        cr_assert(s->shards[0].brief.memory != NULL);
        vq_shard plain = s->shards[0];
        memset(&plain.brief, 0, sizeof plain.brief);
        void *scratch = vq_mem_alloc(vq_probe_scratch(&plain.model), 1);
        size_t common = 0, all = 0;
        for (size_t i = 0; i < MANY; i++) {
            for (int way = 0; way < 2; way++) {
                vq_query query = {.q = q + i * DIM, .y = y, .wide = wide, .fixed.x = fixed};
                const vq_shard *shard = way == 0 ? &plain : &s->shards[0];
                query.lists = lists[way];
                vq_query_prepare(shard, s->k, &query, scratch);
                vq_query_probe(shard, s->k, &query, 10, true, scratch);
            }
            for (int a = 0; a < 10; a++, all++)
                for (int b = 0; b < 10; b++) common += lists[0][a].id == lists[1][b].id;
        }
        cr_assert((double)common >= 0.99 * (double)all, "%zu of %zu", common, all);
        vq_mem_free(scratch);
        vq_searcher_close(s);
        vq_close(ix);
    }
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(search, single_batch_threads_and_instruction_sets)
{
    static answers want, got;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(1, N, D); /* the rows themselves */
    static const uint32_t reranks[] = {0, 30, VQ_NONE};
    for (size_t c = 0; c < vq_codec_count; c++)
        for (size_t r = 0; r < VQ_COUNT(reranks); r++) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            o.codec = vq_codecs[c]->name;
            o.force = 1;
            build_clusters(path, 1, N, D, &o);
            vq_index *ix = open_index(path);
            vq_searcher *s = open_searcher(ix, 5, reranks[r]);
            search(s, q, NQ, K, &want);
            memset(&got, 0, sizeof got);
            for (size_t i = 0; i < NQ; i++)
                OK(vq_search(s, q + i * D, 1, K, got.ids + i * K, got.scores + i * K, &err));
            same(&got, &want, "one by one");
            for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
                if (vq_kernels_named(*name) == NULL) continue;
                s->k = vq_kernels_named(*name);
                search(s, q, NQ, K, &got);
                same(&got, &want, *name);
            }
            vq_searcher_close(s);
            for (uint32_t threads = 2; threads <= 4; threads += 2) {
                vq_search_opts so = VQ_SEARCH_OPTS_INIT;
                so.nprobe = 5, so.rerank = reranks[r], so.threads = threads;
                OK(vq_searcher_open(&s, ix, &so, &err));
                search(s, q, NQ, K, &got);
                same(&got, &want, "threads");
                vq_searcher_close(s);
            }
            vq_close(ix);
        }
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(search, a_batch_of_more_than_a_tile)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(1, N, D);
    uint64_t *ids = vq_mem_alloc(N, 3 * sizeof *ids), one[3];
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    build_clusters(path, 1, N, D, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 0, 0);
    OK(vq_search(s, q, N, 3, ids, NULL, &err));
    for (size_t i = 0; i < N; i += 13) {
        OK(vq_search(s, q + i * D, 1, 3, one, NULL, &err));
        cr_assert(memcmp(one, ids + 3 * i, sizeof one) == 0);
        cr_assert_eq(one[0], i, "a row is its own neighbour");
    }
    OK(vq_search(s, NULL, 0, 3, NULL, NULL, &err)); /* no query is no work */
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(ids);
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

static void check_all_k(vq_searcher *s, const float *q, uint32_t k, size_t n)
{
    uint64_t *ids = vq_mem_alloc(k, sizeof *ids);
    float *scores = vq_alloc_f32(1, k);
    uint8_t *seen = vq_mem_calloc(n, 1);
    OK(vq_search(s, q, 1, k, ids, scores, &err));
    for (uint32_t i = 0; i < k; i++) {
        if (i >= n) {
            cr_assert(ids[i] == VQ_NO_ID && isnan(scores[i]), "%u of %zu", i, n);
            continue;
        }
        cr_assert(ids[i] < n && !seen[ids[i]], "result %u is %llu", i, (unsigned long long)ids[i]);
        seen[ids[i]] = 1;
        cr_assert(i == 0 || scores[i] > scores[i - 1] ||
                      (scores[i] == scores[i - 1] && ids[i] > ids[i - 1]),
                  "out of order at %u", i);
    }
    vq_mem_free(ids);
    vq_mem_free(scores);
    vq_mem_free(seen);
}

Test(search, never_short_unless_the_index_is)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(1, N, D);
    for (size_t c = 0; c < vq_codec_count; c++)
        for (uint32_t store = VQ_F16; store <= VQ_ELEM_NONE; store += VQ_ELEM_NONE - VQ_F16) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            o.codec = vq_codecs[c]->name;
            o.store = store;
            o.force = 1;
            build_clusters(path, 1, N, D, &o);
            vq_index *ix = open_index(path);
            vq_searcher *s = open_searcher(ix, 1, store == VQ_ELEM_NONE ? VQ_NONE : 1);
            for (uint32_t k = 1; k <= N + 50; k += 37) check_all_k(s, q, k, N);
            check_all_k(s, q, N, N);
            check_all_k(s, q, N + 1, N);
            check_all_k(s, q, 100000, N);
            vq_searcher_close(s);
            vq_close(ix);
        }
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(search, small_and_degenerate)
{
    /* n and d of 1, all equal, all zero: every codec, every metric. */
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const size_t ns[] = {1, 2, 33}, ds[] = {1, 2, 40};
    for (size_t c = 0; c < vq_codec_count; c++)
        for (size_t i = 0; i < VQ_COUNT(ns) * VQ_COUNT(ds); i++)
            for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++)
                for (int fill = 0; fill < 3; fill++) {
                    size_t n = ns[i % 3], d = ds[i / 3];
                    float *x = clusters(i, n, d);
                    for (size_t j = 0; fill > 0 && j < n * d; j++) x[j] = fill == 1 ? 0.0f : 1.25f;
                    vq_build_opts o = VQ_BUILD_OPTS_INIT;
                    o.codec = vq_codecs[c]->name, o.metric = metric, o.force = 1;
                    o.store = VQ_F32;
                    build(path, x, n, (uint32_t)d, VQ_F32, &o);
                    vq_index *ix = open_index(path);
                    vq_searcher *s = open_searcher(ix, 0, 0);
                    static answers got, want;
                    search(s, x, 1, 40, &got);
                    exact(x, n, (uint32_t)d, VQ_F32, metric, x, 1, 40, &want);
                    for (size_t j = 0; j < 40; j++) {
                        cr_assert_eq(got.ids[j], want.ids[j], "%s %zu x %zu fill %d",
                                     vq_codecs[c]->name, n, d, fill);
                        cr_assert(j >= n ? isnan(got.scores[j]) : got.scores[j] == want.scores[j]);
                    }
                    vq_searcher_close(s);
                    vq_close(ix);
                    vq_mem_free(x);
                }
    free(path);
    test_rmdir(dir);
}

Test(search, twins_come_by_id)
{
    enum { COPIES = 60 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D);
    uint64_t ids[N], got[COPIES];
    for (size_t i = 0; i < N; i++) ids[i] = 100000 - 7 * i; /* falling */
    for (size_t i = 0; i < COPIES; i++) memcpy(x + (3 + 5 * i) * D, x, D * sizeof *x);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.ids = ids, o.nids = N;
    build(path, x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, N);
    OK(vq_search(s, x, 1, COPIES, got, NULL, &err));
    for (size_t i = 0; i < COPIES; i++) cr_assert_eq(got[i], ids[3 + 5 * (COPIES - 1 - i)]);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* The score of a decoded vector, in double: its distance and .6 of its own from what it was, which
 * is row `label` of x; of codes with error bars, the distance with the vector's own length. */
static double decoded_score(const vq_shard *s, const float *x, const float *q, uint32_t list,
                            uint32_t slot, uint64_t *label)
{
    const vq_model *m = &s->model;
    uint32_t at;
    const vq_chunk_view *v = vq_shard_at(s, (uint64_t)list << 32 | slot, &at);
    uint8_t row[4 * 64];
    float r[64];
    double sum = 0.0;
    m->codec->unpack(&m->code, v->codes, at, row);
    m->codec->decode(&m->code, row, 1, r);
    memcpy(label, v->labels + 8 * at, 8);
    for (uint32_t j = 0; j < m->d_code; j++) {
        double y = (double)r[j] + (double)m->centroids[list * m->d_code + j];
        /* identity transform */
        double to = j < m->d ? (double)q[j] - (double)m->mean[j] : 0.0;
        double was = j < m->d ? (double)x[*label * m->d + j] - (double)m->mean[j] : 0.0;
        double c = (double)m->centroids[list * m->d_code + j];
        sum += m->codec->bar != NULL
                   ? (to - c) * (to - c) - 2.0 * (double)r[j] * (to - c) + (was - c) * (was - c)
                   : (to - y) * (to - y) + 0.6 * (was - y) * (was - y);
    }
    return sum;
}

Test(search, codes_alone_rank_by_the_decoded_vector_and_its_error)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(1, N + NQ, D) /* the last NQ are not in the index */;
    for (size_t c = 0; c < vq_codec_count; c++) {
        static answers got;
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        /* Codes with error bars see a query in 15 bits: of 19 coordinates that is 2e-4, and at
         * times some deviations more. */
        double off = vq_codecs[c]->bar != NULL ? 2e-3 : 1e-3;
        o.codec = vq_codecs[c]->name, o.force = 1;
        o.rotation = VQ_ROTATION_NONE, o.store = VQ_ELEM_NONE;
        build(path, q, N, D, VQ_F32, &o);
        vq_index *ix = open_index(path);
        vq_searcher *s = open_searcher(ix, VQ_ALL, 0);
        search(s, q + N * D, NQ, K, &got);
        for (size_t i = 0; i < NQ; i++) {
            static double all[N];
            size_t better = 0;
            for (uint32_t l = 0; l < s->shards[0].model.nlist; l++)
                for (uint32_t slot = 0; slot < s->shards[0].lists[l].n; slot++) {
                    uint64_t label;
                    double sq = decoded_score(&s->shards[0], q, q + (N + i) * D, l, slot, &label);
                    all[label] = sq;
                }
            for (size_t j = 0; j < K; j++)
                cr_assert(fabs(all[got.ids[i * K + j]] - (double)got.scores[i * K + j]) < off, "%s",
                          vq_codecs[c]->name);
            for (size_t j = 0; j < N; j++)
                better += all[j] < (double)got.scores[i * K + K - 1] - off;
            cr_assert(better < K, "%s: %zu are nearer than the last of %d", vq_codecs[c]->name,
                      better, K);
        }
        vq_searcher_close(s);
        vq_close(ix);
    }
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(search, nothing_is_allocated_after_the_first)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = clusters(1, N, D);
    static answers a;
    for (size_t c = 0; c < vq_codec_count; c++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.codec = vq_codecs[c]->name, o.force = 1;
        build_clusters(path, 1, N, D, &o);
        vq_index *ix = open_index(path);
        vq_searcher *s = open_searcher(ix, 0, 0);
        for (int i = 0; i < 3; i++) search(s, q, NQ, K, &a);
        vq_mem_fail_after(1); /* none may happen: it would fail */
        for (int i = 0; i < 5; i++) search(s, q, NQ, K, &a);
        search(s, q, 1, 1, &a);
        cr_assert_eq(vq_mem_count(), 0, "%llu allocations", (unsigned long long)vq_mem_count());
        vq_mem_fail_after(0);
        vq_searcher_close(s);
        vq_close(ix);
    }
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(search, what_cannot_be_searched)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float q[2 * D] = {0};
    uint64_t ids[8];
    vq_searcher *s;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    o.no_tune = 1, o.force = 1;
    build_clusters(path, 1, 2500, D, &o);
    vq_index *ix = open_index(path);
    so.recall = 0.9f;
    FAILS(VQ_EUNSUPPORTED, vq_searcher_open(&s, ix, &so, &err));
    vq_close(ix);
    build_clusters(path, 1, N, D, &o);
    ix = open_index(path);
    OK(vq_searcher_open(&s, ix, &so, &err)); /* so few that any recall takes all */
    cr_assert_eq(vq_searcher_recall(s, 4), 1.0f);
    OK(vq_search(s, q, 1, 4, ids, NULL, &err));
    vq_searcher_close(s);
    s = NULL;
    FAILS(VQ_EINVAL, vq_searcher_open_many(&s, NULL, 1, NULL, &err));
    FAILS(VQ_EINVAL, vq_searcher_open_many(&s, &ix, 0, NULL, &err));
    cr_assert(s == NULL);
    OK(vq_searcher_open(&s, ix, NULL, &err));
    FAILS(VQ_EINVAL, vq_search(s, q, 1, 0, ids, NULL, &err));
    FAILS(VQ_EINVAL, vq_search(s, q, 1, UINT32_MAX, ids, NULL, &err));
    FAILS(VQ_EINVAL, vq_search(s, q, SIZE_MAX / 4, 4, ids, NULL, &err));
    FAILS(VQ_EINVAL, vq_search(s, NULL, 1, 4, ids, NULL, &err));
    FAILS(VQ_EINVAL, vq_search(s, q, 1, 4, NULL, NULL, &err));
    FAILS(VQ_EINVAL, vq_search(NULL, q, 1, 4, ids, NULL, &err));
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < VQ_COUNT(bad); i++) {
        q[D + 3] = bad[i];
        FAILS(VQ_EINVAL, vq_search(s, q, 2, 4, ids, NULL, &err));
        cr_assert(strstr(err.text, "query 1: coordinate 3") != NULL, "%s", err.text);
    }
    q[D + 3] = -1e19f;
    FAILS(VQ_EINVAL, vq_search(s, q, 2, 4, ids, NULL, &err));
    q[D + 3] = 1e17f;
    OK(vq_search(s, q, 2, 4, ids, NULL, &err));
    for (size_t i = 0; i < 8; i++) cr_assert(ids[i] < N, "an answer is missing");
    vq_searcher_close(s);
    vq_searcher_close(NULL);
    vq_close(ix);
    vq_close(NULL);
    o.store = VQ_ELEM_NONE;
    o.force = 1;
    build_clusters(path, 1, N, D, &o);
    ix = open_index(path);
    so.recall = 0.0f;
    so.rerank = 20;
    FAILS(VQ_EUNSUPPORTED, vq_searcher_open(&s, ix, &so, &err));
    so.rerank = VQ_NONE;
    OK(vq_searcher_open(&s, ix, &so, &err));
    vq_searcher_close(s);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

Test(search, effort_in_force)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_info info = VQ_INFO_INIT;
    uint32_t nprobe, rerank;
    o.nlist = 20;
    build_clusters(path, 1, N, D, &o);
    vq_index *ix = open_index(path);
    OK(vq_index_info(ix, &info, &err));
    vq_searcher *s = open_searcher(ix, 0, 0);
    vq_searcher_effort(s, 10, &nprobe, &rerank);
    cr_assert(nprobe == info.default_nprobe && rerank == info.default_rerank);
    vq_searcher_effort(s, N + 5, &nprobe, &rerank);
    cr_assert_eq(rerank, N);
    vq_searcher_close(s);
    s = open_searcher(ix, VQ_ALL, 3);
    vq_searcher_effort(s, 10, &nprobe, &rerank);
    cr_assert(nprobe == 20 && rerank == 10, "never fewer than k");
    vq_searcher_close(s);
    s = open_searcher(ix, 7, VQ_NONE);
    vq_searcher_effort(s, 10, &nprobe, &rerank);
    cr_assert(nprobe == 7 && rerank == VQ_NONE);
    vq_searcher_close(s);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}
