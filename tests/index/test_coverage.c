/* SPDX-License-Identifier: Apache-2.0 */
/* Error bars leave out of true neighbours what they state, for queries that no build has seen. */
#include "index/searcher.h"
#include "tests/index/fixture.h"

enum { N = 8000, NQ = 1000, D = 96, K = 10, WIDTHS = 2 };

/* Around many centres, each next coordinate varying less. */
static float *rows_of(uint64_t stream)
{
    enum { CENTRES = 200 };
    float *x = vq_alloc_f32(N + NQ, D), *centres = vq_alloc_f32(CENTRES, D);
    vq_rng r;
    vq_rng_init(&r, test_seed(), stream);
    fill_normal(&r, centres, CENTRES * D);
    for (size_t i = 0; i < N + NQ; i++) {
        const float *c = centres + vq_rng_below(&r, CENTRES) * D;
        for (size_t j = 0; j < D; j++)
            x[i * D + j] = 2.0f + (c[j] + (float)vq_rng_normal(&r)) * powf(1.0f + (float)j, -0.3f);
    }
    vq_mem_free(centres);
    return x;
}

/* How a query looks at a list. */
static vq_sight sight_of(const vq_shard *h, const vq_kernels *k, const vq_query *x, const void *t,
                         uint32_t list, float width)
{
    const vq_model *m = &h->model;
    const float *centroid = m->centroids + (size_t)list * D;
    bool centred = m->metric == VQ_METRIC_L2;
    double sq = centred ? x->offset : x->q_sq;
    float length = m->metric == VQ_METRIC_COSINE ? 1.0f : (float)sqrt(sq);
    float products[2] = {0.0f}; /* with the query, with what it feels of heads */
    k->matvec_f32(m->codec->rows(t), centred ? 2 : 1, m->d_code, m->d_code, centroid, products);
    float base = products[0], from = centred ? base - m->biases[list] : base;
    float away_sq = k->dot_f32(x->y, x->y, m->d_code) - 2.0f * from;
    float weighed = centred ? h->brief.weighed[2 * list] : 0.0f;
    return (vq_sight){
        .base = base,
        .from = from,
        .away = m->codec->feel(&m->code, t, 0, centred ? products : NULL, away_sq, weighed),
        .centred = centred,
        .width = width,
        .stretch = m->codec->stretch(&m->code, 0, width),
        .noise = h->brief.blur * length,
        .share = length * h->brief.shares[list]};
}

/* In the order of estimates, which offset makes a score of. */
static double truth_of(uint32_t metric, double score, double offset)
{
    return metric == VQ_METRIC_L2 ? (offset - score) / 2.0 : score - offset;
}

static bool holds(const vq_chunk_view *v, const uint64_t *ids)
{
    for (size_t i = 0; i < v->n; i++)
        for (size_t j = 0; j < K; j++)
            if (vq_le64(v->labels + 8 * i) == ids[j]) return true;
    return false;
}

/* The true neighbours of a list that lie above their bars of each width. */
static void count_list(vq_shard *h, const vq_kernels *k, const vq_query *x, const void *t,
                       uint32_t list, const uint64_t *ids, const float *scores, vq_arena *arena,
                       size_t *above)
{
    const vq_model *m = &h->model;
    OK(vq_shard_load(h, list, &err));
    for (uint32_t c = 0; c < h->lists[list].nchunks; c++) {
        const vq_chunk_view *v = &h->lists[list].chunks[c];
        if (!holds(v, ids)) continue;
        uint32_t *slots = vq_arena_take(arena, vq_round_up(v->n, VQ_BLOCK), sizeof *slots);
        float *got = vq_arena_take(arena, vq_round_up(v->n, VQ_BLOCK), sizeof *got);
        float *most = vq_arena_take(arena, vq_round_up(v->n, VQ_BLOCK), sizeof *most);
        void *scratch = vq_arena_take(arena, vq_scan_scratch(v->n), 1);
        cr_assert(slots != NULL && got != NULL && most != NULL && scratch != NULL);
        for (size_t w = 0; w < WIDTHS; w++) {
            vq_sight at = sight_of(h, k, x, t, list, (float)(w + 1));
            size_t all = m->codec->scan_bars(&m->code, k, t, v->codes, NULL, v->factors, v->n, &at,
                                             -INFINITY, scratch, slots, got, most);
            cr_assert_eq(all, v->n);
            for (size_t i = 0; i < v->n; i++)
                for (size_t j = 0; j < K; j++)
                    if (vq_le64(v->labels + 8 * i) == ids[j])
                        above[w] +=
                            truth_of(m->metric, (double)scores[j], x->offset) > (double)most[i];
        }
    }
}

/* What of the ten best of NQ queries lies above their bars, over what is stated. */
static void measure(const char *path, const float *q, const uint64_t *ids, const float *scores,
                    double *over)
{
    size_t above[WIDTHS] = {0};
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, 0);
    uint64_t first[K];
    float of_first[K];
    vq_arena arena;
    OK(vq_search(s, q, 1, K, first, of_first, &err)); /* makes the integers */
    vq_shard *h = &s->shards[0];
    vq_arena_init(&arena);
    for (size_t i = 0; i < NQ; i++) {
        vq_arena_reset(&arena);
        vq_query x = {.q = q + i * D, .y = vq_arena_take(&arena, h->model.d_code, sizeof(float))};
        x.wide = vq_arena_take(&arena, D, sizeof *x.wide);
        vq_query_prepare(h, s->k, &x, vq_arena_take(&arena, vq_probe_scratch(&h->model), 1));
        const void *t = vq_shard_tables(h, s->k, &x, &arena);
        for (uint32_t list = 0; list < h->model.nlist; list++)
            count_list(h, s->k, &x, t, list, ids + i * K, scores + i * K, &arena, above);
    }
    for (size_t w = 0; w < WIDTHS; w++)
        over[w] = (double)above[w] / (NQ * K) / (0.5 * erfc((double)(w + 1) / sqrt(2.0)));
    vq_arena_fini(&arena);
    vq_searcher_close(s);
    vq_close(ix);
}

/* Builds an index of the first N of x, finds the ten best of q and measures. */
static void check(const char *path, const float *x, const float *q, const vq_build_opts *o,
                  double *over)
{
    uint64_t *ids = vq_mem_alloc((size_t)NQ * K, sizeof *ids);
    float *scores = vq_alloc_f32(NQ, K);
    vq_searcher *exact;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    build(path, x, N, D, VQ_F32, o);
    vq_index *ix = open_index(path);
    so.recall = 1.0f;
    OK(vq_searcher_open(&exact, ix, &so, &err));
    OK(vq_search(exact, q, NQ, K, ids, scores, &err));
    vq_searcher_close(exact);
    vq_close(ix);
    measure(path, q, ids, scores, over);
    vq_mem_free(ids);
    vq_mem_free(scores);
}

static vq_build_opts options(uint32_t metric)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "saq", o.metric = metric, o.bits = 3.0f, o.store = VQ_F32, o.force = 1;
    o.nlist = 500, o.no_tune = 1; /* few vectors a list, which a list is then fitted to */
    return o;
}

/* within: how far above 1 one deviation may lie; two may further, since few errors do. */
static void check_over(const double *over, uint32_t metric, double within)
{
    for (size_t w = 0; w < WIDTHS; w++) {
        double most = 1.0 + within * (w == 0 ? 1.0 : 2.5);
        cr_assert(over[w] > 1.0 / most && over[w] < most,
                  "metric %u: %g times what is stated lies above %zu deviations", metric, over[w],
                  w + 1);
    }
}

Test(coverage, of_queries_that_are_like_the_vectors, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = rows_of(1);
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
        vq_build_opts o = options(metric);
        double over[WIDTHS];
        check(path, x, x + (size_t)N * D, &o, over);
        check_over(over, metric, 0.18);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* n queries that ask for a vector among others, from elsewhere and in a few directions. */
static float *questions(const float *x, size_t n, uint64_t stream)
{
    float *q = vq_alloc_f32(n, D);
    vq_rng r;
    vq_rng_init(&r, test_seed(), stream);
    for (size_t i = 0; i < n; i++) {
        const float *row = x + vq_rng_below(&r, N) * D;
        for (size_t j = 0; j < D; j++)
            q[i * D + j] = 0.6f * row[j] + (j % 4 == 0 ? (float)vq_rng_normal(&r) : 0.0f);
    }
    return q;
}

Test(coverage, of_queries_that_others_like_them_tell_of, .timeout = 120)
{
    enum { TAUGHT = 2000 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = rows_of(1), *taught = questions(x, TAUGHT, 2), *q = questions(x, NQ, 3);
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++) {
        vq_build_opts o = options(metric);
        vq_source *src;
        double over[WIDTHS];
        OK(vq_source_open_array(&src, taught, TAUGHT, D, VQ_F32, &err));
        o.queries = &src, o.nqueries = 1;
        check(path, x, q, &o, over);
        vq_source_close(src);
        check_over(over, metric, 0.18);
    }
    vq_build_opts o = options(VQ_METRIC_L2);
    vq_source *few;
    OK(vq_source_open_array(&few, taught, 150, D, VQ_F32, &err));
    o.queries = &few, o.nqueries = 1;
    FAILS(VQ_EINVAL, try_build(path, x, N, D, VQ_F32, &o)); /* a guess */
    vq_source_close(few);
    vq_mem_free(x), vq_mem_free(taught), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

/* Every sixteenth row is of a kind of its own, as patches of a picture may be: it is learnt from as
 * others are, so its code finds it. */
Test(coverage, rows_that_ask_are_of_every_kind, .timeout = 120)
{
    enum { EVERY = 16 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = rows_of(1), *other = rows_of(7);
    size_t asked = 0, found = 0;
    for (size_t i = EVERY - 1; i < N; i += EVERY)
        for (size_t j = 0; j < D; j++) x[i * D + j] = 5.0f + other[i * D + D - 1 - j];
    vq_build_opts o = options(VQ_METRIC_L2);
    build(path, x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    so.nprobe = VQ_ALL, so.rerank = VQ_NONE;
    OK(vq_searcher_open(&s, ix, &so, &err));
    for (size_t i = EVERY - 1; i < N; i += EVERY, asked++) {
        uint64_t id;
        float score;
        OK(vq_search(s, x + i * D, 1, 1, &id, &score, &err));
        found += id == i;
    }
    cr_assert(found > asked - asked / 20, "%zu of %zu", found, asked);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x), vq_mem_free(other);
    free(path);
    test_rmdir(dir);
}

/* Rows as above, but some are copies, some very long, some nothing, and all are far from the
 * origin. */
static float *ugly_rows(uint64_t stream)
{
    float *own = rows_of(stream), *x = vq_alloc_f32(N + NQ, D), times[N + NQ];
    vq_rng r;
    vq_rng_init(&r, test_seed(), stream + 1);
    for (size_t i = 0; i < N + NQ; i++) {
        double kind = vq_rng_f64(&r);
        times[i] = kind < 0.03 ? 0.0f : kind < 0.05 ? 30.0f : 1.0f;
    }
    for (size_t i = 0; i < N + NQ; i++) {
        size_t of = vq_rng_f64(&r) < 0.3 ? vq_rng_below(&r, N + NQ) : i;
        for (size_t j = 0; j < D; j++)
            x[i * D + j] = times[of] * (own[of * D + j] + (j < 4 ? 10.0f : 0.0f));
    }
    vq_mem_free(own);
    return x;
}

/* (Not of products: there a few vectors, the very long ones, answer all queries.) */
Test(coverage, of_an_ugly_set, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = ugly_rows(4);
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric += 2) {
        vq_build_opts o = options(metric);
        double over[WIDTHS];
        check(path, x, x + (size_t)N * D, &o, over);
        check_over(over, metric, 0.35);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}
