/* SPDX-License-Identifier: Apache-2.0 */
/* Searches that error bars rule: what they find, what they take, and data that has no errors. */
#include "tests/index/fixture.h"

enum { N = 3000, D = 128, NQ = 40, K = 10 };

typedef struct outcome {
    uint64_t ids[NQ * K];
    float scores[NQ * K];
    vq_search_stats took;
} outcome;

/* All lists for NQ queries. */
/* No id comes twice. */
static void check_different(const outcome *o)
{
    for (size_t i = 0; i < NQ; i++)
        for (size_t a = 0; a < K; a++)
            for (size_t b = 0; b < a; b++)
                cr_assert(o->ids[i * K + a] != o->ids[i * K + b] || o->ids[i * K + a] == VQ_NO_ID,
                          "query %zu", i);
}

static void look(vq_index *ix, const float *q, float bars, uint32_t rerank, outcome *out)
{
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    vq_searcher *s;
    o.nprobe = VQ_ALL, o.rerank = rerank, o.bars = bars;
    OK(vq_searcher_open(&s, ix, &o, &err));
    OK(vq_search(s, q, NQ, K, out->ids, out->scores, &err));
    out->took = (vq_search_stats)VQ_SEARCH_STATS_INIT;
    OK(vq_searcher_stats(s, &out->took, &err));
    check_different(out);
    vq_searcher_close(s);
}

static double share_of(const outcome *got, const outcome *want)
{
    size_t same = 0;
    for (size_t i = 0; i < NQ; i++)
        for (size_t a = 0; a < K; a++)
            for (size_t b = 0; b < K; b++) same += got->ids[i * K + a] == want->ids[i * K + b];
    return (double)same / (NQ * K);
}

static void check_bars(const char *path, const char *codec, uint32_t metric, float bits)
{
    static outcome exact, wide, narrow, usual;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    float *x = clusters(2, N + NQ, D);
    o.codec = codec, o.metric = metric, o.bits = bits, o.store = VQ_F32, o.force = 1, o.nlist = 30;
    build(path, x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    const float *q = x + (size_t)N * D;
    look(ix, q, 0.0f, N, &exact); /* a number for rerank: no bars */
    cr_assert_eq(exact.took.rows, (uint64_t)N * NQ);
    look(ix, q, 100.0f, 0, &wide);
    look(ix, q, 0.0f, 0, &usual);
    look(ix, q, 0.2f, 0, &narrow);
    double of_wide = share_of(&wide, &exact), of_usual = share_of(&usual, &exact);
    cr_assert(of_wide > 0.99, "%s, metric %u, %g bits: %g", codec, metric, (double)bits, of_wide);
    cr_assert(of_usual > 0.95, "%s, metric %u, %g bits: %g", codec, metric, (double)bits, of_usual);
    cr_assert(of_usual <= of_wide + 1e-9);
    cr_assert(narrow.took.rows <= usual.took.rows && usual.took.rows <= wide.took.rows);
    cr_assert(narrow.took.codes <= usual.took.codes && usual.took.codes <= wide.took.codes);
    /* The k best and few beside. */
    uint64_t most =
        bits < 4.0f ? wide.took.rows / 2 : VQ_MAX(wide.took.rows / 4, (uint64_t)NQ * K * 5 / 4);
    cr_assert(usual.took.rows < most, "%llu rows of %llu", (unsigned long long)usual.took.rows,
              (unsigned long long)wide.took.rows);
    for (size_t i = 0; i < NQ * K; i++) /* what is handed out is exact */
        for (size_t j = i / K * K; j < i / K * K + K; j++)
            if (usual.ids[i] == exact.ids[j])
                cr_assert(memcmp(&usual.scores[i], &exact.scores[j], sizeof(float)) == 0);
    vq_close(ix);
    vq_mem_free(x);
}

Test(bars, find_what_is_there_and_take_little, .timeout = 240)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const float bits[] = {1.5f, 4.0f, 7.0f, 8.0f}; /* without a tail and with one */
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++)
        for (size_t b = 0; b < VQ_COUNT(bits); b++) check_bars(path, "saq", metric, bits[b]);
    check_bars(path, "rabitq", VQ_METRIC_L2, 4.0f);
    free(path);
    test_rmdir(dir);
}

enum { GROUPS = 12 };

/* NQ more than N vectors in groups that lie so far apart. */
static float *far_apart(float distance)
{
    float *x = clusters(5, N + NQ, D), *away = vq_alloc_f32(GROUPS, D);
    vq_rng r;
    vq_rng_init(&r, test_seed(), 6);
    fill_normal(&r, away, GROUPS * D);
    for (size_t i = 0; i < (N + NQ) * D; i++)
        x[i] = x[i] + distance * away[i / D % GROUPS * D + i % D];
    vq_mem_free(away);
    return x;
}

/* Estimates are then differences of numbers so large that floats round away what tells neighbours
 * apart: wide bars find them all the same. */
Test(bars, floats_that_round_scores)
{
    static outcome exact, wide;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const char *const codecs[] = {"saq", "rabitq"};
    float *x = far_apart(600.0f);
    for (size_t c = 0; c < VQ_COUNT(codecs); c++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.codec = codecs[c], o.bits = 8.0f, o.store = VQ_F32, o.nlist = GROUPS, o.force = 1;
        o.rotation = VQ_ROTATION_RANDOM;
        build(path, x, N, D, VQ_F32, &o);
        vq_index *ix = open_index(path);
        look(ix, x + (size_t)N * D, 0.0f, N, &exact);
        look(ix, x + (size_t)N * D, 100.0f, 0, &wide);
        double found = share_of(&wide, &exact);
        cr_assert(found > 0.995, "%s: %g", codecs[c], found);
        vq_close(ix);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Where lists lie far apart, what integers blur of a query is most of what is not known of a score.
 */
Test(bars, lists_that_lie_far_apart)
{
    static outcome exact, usual;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const float bits[] = {4.0f, 8.0f};
    static const double least[] = {0.935, 0.985};
    float *x = far_apart(10.0f);
    for (size_t b = 0; b < VQ_COUNT(bits); b++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.codec = "saq", o.bits = bits[b], o.store = VQ_F32, o.force = 1, o.nlist = GROUPS;
        build(path, x, N, D, VQ_F32, &o);
        vq_index *ix = open_index(path);
        look(ix, x + (size_t)N * D, 0.0f, N, &exact);
        look(ix, x + (size_t)N * D, 0.0f, 0, &usual);
        double found = share_of(&usual, &exact);
        cr_assert(found > least[b], "%g bits: %g", (double)bits[b], found);
        vq_close(ix);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* x under ids from `first` on, in one commit. */
static void put(const char *path, const float *x, size_t n, uint64_t first)
{
    static uint64_t ids[N];
    vq_writer *w;
    vq_source *src;
    for (size_t i = 0; i < n; i++) ids[i] = first + i;
    OK(vq_source_open_array(&src, x, n, D, VQ_F32, &err));
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_upsert(w, src, ids, NULL, n, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    vq_source_close(src);
}

/* No more neighbours are lost at a width than a normal law has above it, and what 400 of them tell
 * of that. */
static void check_lost(vq_index *ix, const float *q, float bits, uint32_t metric)
{
    static const float widths[] = {1.0f, 2.0f, 3.0f};
    static outcome exact, got;
    look(ix, q, 0.0f, 2 * N, &exact);
    for (size_t i = 0; i < VQ_COUNT(widths); i++) {
        look(ix, q, widths[i], 0, &got);
        double lost = 1.0 - share_of(&got, &exact);
        double tail = 0.5 * erfc((double)widths[i] / sqrt(2.0));
        cr_assert_lt(lost, tail + 0.01, "%g bits, metric %u: %g lost at %g", (double)bits, metric,
                     lost, (double)widths[i]);
    }
}

/* By cosine what is coded is small beside what vectors have in common, errors are large beside what
 * neighbours differ by, and the best of many estimates are much better than any vector. */
Test(bars, leave_out_no_more_than_they_state, .timeout = 120)
{
    static const float bits[] = {2.0f, 3.0f};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *far = clusters(8, N + NQ, D);
    for (size_t i = 0; i < (N + NQ) * D; i++) far[i] = 0.7f * far[i] + (i % D < 4 ? 6.0f : 0.0f);
    for (size_t b = 0; b < VQ_COUNT(bits); b++)
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            o.codec = "saq", o.bits = bits[b], o.metric = metric, o.store = VQ_F32;
            o.force = 1, o.nlist = 30, o.no_tune = 1;
            build(path, far, N, D, VQ_F32, &o);
            vq_index *ix = open_index(path);
            check_lost(ix, far + (size_t)N * D, bits[b], metric);
            vq_close(ix);
        }
    vq_mem_free(far);
    free(path);
    test_rmdir(dir);
}

/* Nor of what has come far away, whose lists have split again and again. */
Test(bars, hold_where_lists_have_split, .timeout = 120)
{
    static const float bits[] = {3.0f, 6.0f};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(7, N, D), *far = clusters(8, N + NQ, D);
    for (size_t i = 0; i < (N + NQ) * D; i++) far[i] = 0.7f * far[i] + (i % D < 4 ? 6.0f : 0.0f);
    for (size_t b = 0; b < VQ_COUNT(bits); b++)
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            vq_info info = VQ_INFO_INIT;
            uint32_t before = 30, splits = 0;
            o.codec = "saq", o.bits = bits[b], o.metric = metric, o.store = VQ_F32;
            o.force = 1, o.nlist = before, o.no_tune = 1;
            build(path, x, N, D, VQ_F32, &o);
            for (size_t i = 0; i < N; i += N / 6) {
                put(path, far + i * D, N / 6, N + i);
                vq_index *ix = open_index(path);
                OK(vq_index_info(ix, &info, &err));
                splits += info.nlist > before;
                before = info.nlist;
                vq_close(ix);
            }
            cr_assert_geq(splits, 2, "%u lists", before);
            vq_index *ix = open_index(path);
            check_lost(ix, far + (size_t)N * D, bits[b], metric);
            vq_close(ix);
        }
    vq_mem_free(x), vq_mem_free(far);
    free(path);
    test_rmdir(dir);
}

Test(bars, no_distance_is_below_zero)
{
    static outcome got;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    float *x = clusters(3, N, D);
    size_t own = 0;
    o.codec = "saq", o.bits = 8.0f;
    build(path, x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    look(ix, x, 0.0f, VQ_NONE, &got); /* stored vectors ask for themselves */
    for (size_t i = 0; i < NQ; i++) {
        own += got.ids[i * K] == i;
        for (size_t j = i * K; j < i * K + K; j++) cr_assert(got.scores[j] >= 0.0f);
    }
    cr_assert(own >= NQ - 1);
    vq_close(ix);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Rows that vary in a few coordinates only, in none, or are one: files that open and answer. */
Test(bars, rows_that_leave_bits_over)
{
    static outcome got;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(4, N, D), *q = vq_alloc_f32(NQ, D);
    memcpy(q, x, NQ * D * sizeof *q);
    static const size_t vary[] = {24, 1, 0}, rows[] = {N, 300, 1};
    for (size_t v = 0; v < VQ_COUNT(vary); v++)
        for (size_t n = 0; n < VQ_COUNT(rows); n++)
            for (int wide = 0; wide < 2; wide++) {
                vq_build_opts o = VQ_BUILD_OPTS_INIT;
                o.codec = wide ? "rabitq" : "saq", o.bits = 13.0f, o.force = 1;
                for (size_t i = 0; i < N * D; i++)
                    if (i % D >= vary[v]) x[i] = 0.25f;
                build(path, x, rows[n], D, VQ_F32, &o);
                vq_index *ix = open_index(path);
                look(ix, q, 0.0f, 0, &got);
                size_t found = 0;
                for (size_t j = 0; j < K; j++) found += got.ids[j] != VQ_NO_ID;
                cr_assert_eq(found, VQ_MIN((size_t)K, rows[n]));
                vq_close(ix);
            }
    vq_mem_free(x);
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}
