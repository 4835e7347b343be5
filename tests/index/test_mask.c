/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: answers are of what is allowed alone, as many as there can be, and the right ones where
 * everything is looked at. */
#include "tests/index/live.h"

enum { K = 10, ASKED = 12 };

typedef struct filter {
    bool in[UNIVERSE];
    uint64_t numbers[UNIVERSE];
    char rooms[UNIVERSE][16];
    const char *names[UNIVERSE];
    size_t n;
} filter;

/* Those of the universe, there or not, that are drawn with this chance; or the others. */
static void draw(filter *f, vq_rng *r, double chance)
{
    f->n = 0;
    for (uint32_t i = 0; i < UNIVERSE; i++) {
        f->in[i] = vq_rng_f64(r) < chance;
        if (!f->in[i]) continue;
        f->numbers[f->n] = i;
        f->names[f->n] = live_name(i, f->rooms[f->n]);
        f->n++;
    }
}

static void set(const live_config *c, vq_searcher *s, uint32_t kind, const filter *f)
{
    OK(vq_searcher_filter(s, kind, c->strings ? NULL : f->numbers, c->strings ? f->names : NULL,
                          f->n, &err));
}

/* What remains of a state. */
static state filtered(const state *s, uint32_t kind, const filter *f)
{
    state left = *s;
    left.n = 0;
    for (uint32_t i = 0; i < UNIVERSE; i++) {
        left.there[i] = s->there[i] && f->in[i] == (kind == VQ_FILTER_ALLOW);
        left.n += left.there[i];
    }
    return left;
}

static void ask(const live_config *c, vq_searcher *s, const state *left, bool all, vq_rng *r)
{
    static float q[ASKED * MOST_D], scores[ASKED * K];
    uint64_t ids[ASKED * K];
    for (size_t i = 0; i < ASKED; i++)
        live_row(ASKED_FROM + (uint32_t)vq_rng_below(r, 1000), c->d, q + i * c->d);
    OK(vq_search(s, q, ASKED, K, ids, scores, &err));
    for (size_t i = 0; i < ASKED; i++) {
        size_t found = 0;
        while (found < K && ids[i * K + found] != VQ_NO_ID) found++;
        cr_assert_eq(found, VQ_MIN(left->n, (size_t)K), "%zu answers of %zu", found, left->n);
        live_compare(c, left, s, q + i * c->d, ids + i * K, scores + i * K, K, all);
    }
}

static void walk(const live_config *c, size_t n)
{
    static const double chances[] = {1.0, 0.5, 0.1, 0.02, 0.004, 0.0};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    vq_rng r;
    filter f;
    vq_searcher *all;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    vq_rng_init(&r, test_seed(), 31);
    live_build(path, c, n, &s);
    vq_index *ix = open_index(path);
    o.recall = 1, o.threads = 2;
    OK(vq_searcher_open(&all, ix, &o, &err));
    vq_searcher *chosen = open_searcher(ix, 0, 0); /* with error bars, where codes have them */
    vq_searcher *few = open_searcher(ix, 1, 40), *codes = open_searcher(ix, 3, VQ_NONE);
    for (size_t i = 0; i < VQ_COUNT(chances); i++)
        for (uint32_t kind = VQ_FILTER_ALLOW; kind <= VQ_FILTER_DENY; kind++) {
            draw(&f, &r, chances[i]);
            state left = filtered(&s, kind, &f);
            set(c, all, kind, &f);
            set(c, chosen, kind, &f);
            set(c, few, kind, &f);
            set(c, codes, kind, &f);
            ask(c, all, &left, true, &r);
            ask(c, chosen, &left, true, &r); /* so few are all scored, whatever was chosen */
            ask(c, few, &left, left.n <= 40, &r);
            uint64_t ids[K];
            float q[MOST_D];
            live_row(7, c->d, q);
            OK(vq_search(codes, q, 1, K, ids, NULL, &err));
            for (size_t j = 0; j < K; j++)
                cr_assert(j < left.n ? left.there[live_of_id(c, codes, ids[j])]
                                     : ids[j] == VQ_NO_ID);
        }
    OK(vq_searcher_filter(all, VQ_FILTER_NONE, NULL, NULL, 0, &err));
    ask(c, all, &s, true, &r);
    vq_searcher_close(all), vq_searcher_close(chosen);
    vq_searcher_close(few), vq_searcher_close(codes);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

Test(mask, answers_are_of_what_is_allowed, .timeout = 300)
{
    static const live_config configs[] = {
        {"pq8", VQ_METRIC_L2, VQ_F32, 9, 16, false, true, 0},
        {"pq4", VQ_METRIC_IP, VQ_F16, 3, 16, true, true, 0},
        {"sq8", VQ_METRIC_COSINE, VQ_F32, 5, 15, true, false, 0},
        {"flat", VQ_METRIC_L2, VQ_F32, 2, MOST_D, false, true, 0}, /* chunks of 32 */
        {"saq", VQ_METRIC_L2, VQ_F32, 4, 128, false, true, 160},
        {"rabitq", VQ_METRIC_IP, VQ_F32, 6, 24, true, true, 0},
    };
    for (size_t i = 0; i < VQ_COUNT(configs); i++)
        walk(&configs[i], configs[i].d == MOST_D ? 150 : UNIVERSE - 50);
}

/* A filter goes on to hold when the index changes, of what comes, too. */
Test(mask, after_changes, .timeout = 120)
{
    static const live_config c = {"sq8", VQ_METRIC_L2, VQ_F32, 7, 16, true, true, 0};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), room[16];
    state s, left;
    vq_rng r;
    filter f;
    vq_searcher *all;
    vq_source *src;
    vq_writer *w;
    float x[64];
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    vq_rng_init(&r, test_seed(), 32);
    live_build(path, &c, 300, &s);
    vq_index *ix = open_index(path);
    o.recall = 1;
    OK(vq_searcher_open(&all, ix, &o, &err));
    draw(&f, &r, 0.3);
    set(&c, all, VQ_FILTER_ALLOW, &f);
    OK(vq_writer_open(&w, path, NULL, &err));
    for (uint32_t step = 0; step < 40; step++) {
        uint32_t i = (uint32_t)vq_rng_below(&r, UNIVERSE);
        const char *name = live_name(i, room);
        if (s.there[i]) {
            OK(vq_writer_delete(w, NULL, &name, 1, &err));
        } else {
            s.row[i] = 3000 + step;
            live_row(s.row[i], c.d, x);
            OK(vq_source_open_array(&src, x, 1, c.d, VQ_F32, &err));
            OK(vq_writer_add(w, src, NULL, &name, 1, &err));
            vq_source_close(src);
        }
        s.there[i] = !s.there[i];
        if (step % 4 != 0) continue;
        OK(vq_writer_commit(w, NULL, &err));
        left = filtered(&s, VQ_FILTER_ALLOW, &f);
        ask(&c, all, &left, true, &r);
    }
    vq_writer_close(w);
    FAILS(VQ_EINVAL, vq_searcher_filter(all, 3, NULL, NULL, 0, &err));
    FAILS(VQ_EINVAL, vq_searcher_filter(all, VQ_FILTER_DENY, f.numbers, NULL, 1, &err));
    FAILS(VQ_EINVAL, vq_searcher_filter(NULL, VQ_FILTER_NONE, NULL, NULL, 0, &err));
    vq_searcher_close(all);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

/* What was tuned for no filter finds as much with one. */
static void check_recall(const char *codec)
{
    enum { N = 4000, D = 16, NQ = 100 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    float *q = clusters(8, NQ, D), *scores = vq_alloc_f32(NQ, K), *exact = vq_alloc_f32(NQ, K);
    uint64_t *allowed = vq_mem_alloc(N, sizeof *allowed);
    uint64_t *ids = vq_mem_alloc((size_t)NQ * K, sizeof *ids);
    vq_searcher *s, *all;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    o.codec = codec;
    build_clusters(path, 8, N, D, &o);
    vq_index *ix = open_index(path);
    OK(vq_searcher_open(&s, ix, NULL, &err));
    cr_assert(vq_searcher_recall(s, K) > 0.9f);
    so.recall = 1;
    OK(vq_searcher_open(&all, ix, &so, &err));
    for (uint64_t by = 1; by <= 3; by++) { /* 2: half of them are more than few */
        uint64_t n = 0;
        for (uint64_t i = 0; i < N; i += by) allowed[n++] = i;
        OK(vq_searcher_filter(s, VQ_FILTER_ALLOW, allowed, NULL, n, &err));
        OK(vq_searcher_filter(all, VQ_FILTER_ALLOW, allowed, NULL, n, &err));
        OK(vq_search(s, q, NQ, K, ids, scores, &err));
        OK(vq_search(all, q, NQ, K, ids, exact, &err));
        size_t right = 0;
        for (size_t i = 0; i < NQ; i++)
            for (size_t j = 0; j < K; j++) right += scores[i * K + j] <= exact[i * K + K - 1];
        cr_assert(right > NQ * K * 9 / 10, "%s: every %llu: %zu of %d",
                  codec != NULL ? codec : "auto", (unsigned long long)by, right, NQ * K);
    }
    vq_searcher_close(s), vq_searcher_close(all);
    vq_close(ix);
    vq_mem_free(q), vq_mem_free(scores), vq_mem_free(exact), vq_mem_free(allowed), vq_mem_free(ids);
    free(path);
    test_rmdir(dir);
}

Test(mask, recall, .timeout = 120)
{
    static const char *const codecs[] = {NULL, "saq"}; /* with error bars, too */
    for (size_t i = 0; i < VQ_COUNT(codecs); i++) check_recall(codecs[i]);
}

/* As many candidates as may be answered: all of them are scored, however many. */
Test(mask, many_that_are_all_scored, .timeout = 120)
{
    enum { N = 9000, D = 6, MANY = 7000 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static uint64_t allowed[MANY], some[ASKED * K], all[ASKED * K];
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_search_opts few = VQ_SEARCH_OPTS_INIT;
    float *x = clusters(3, N, D);
    vq_searcher *s = NULL, *t = NULL;
    o.no_tune = 1, o.nlist = 60, o.force = 1;
    build(path, x, N, D, VQ_F32, &o);
    for (uint64_t i = 0; i < MANY; i++) allowed[i] = i * N / MANY;
    vq_index *ix = open_index(path);
    few.nprobe = 1, few.rerank = MANY;
    OK(vq_searcher_open(&s, ix, &few, &err));
    OK(vq_searcher_filter(s, VQ_FILTER_ALLOW, allowed, NULL, MANY, &err));
    few.nprobe = few.rerank = 0, few.recall = 1.0f;
    OK(vq_searcher_open(&t, ix, &few, &err));
    OK(vq_searcher_filter(t, VQ_FILTER_ALLOW, allowed, NULL, MANY, &err));
    OK(vq_search(s, x, ASKED, K, some, NULL, &err));
    OK(vq_search(t, x, ASKED, K, all, NULL, &err));
    cr_assert_arr_eq(some, all, sizeof all);
    vq_searcher_close(s);
    vq_searcher_close(t);
    vq_close(ix);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}
