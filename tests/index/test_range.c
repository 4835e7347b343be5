/* SPDX-License-Identifier: Apache-2.0 */
/* Searches by a bound, against plain loops. */
#include "tests/index/live.h"

typedef struct answer {
    uint64_t ids[UNIVERSE];
    float scores[UNIVERSE];
    uint64_t n, stop; /* stop: refuse the hit of this number; 0: none */
} answer;

static int take(void *ctx, uint64_t id, float score)
{
    answer *a = ctx;
    cr_assert(a->n < UNIVERSE);
    a->ids[a->n] = id;
    a->scores[a->n++] = score;
    return a->n == a->stop;
}

static bool within(const live_config *c, float score, float bound)
{
    return vq_metric_larger(c->metric) ? score >= bound : score <= bound;
}

/* Everything within the bound, best first, with its score; all: and nothing is missing. */
static void compare(const live_config *c, const state *s, vq_searcher *searcher, const float *q,
                    float bound, uint64_t most, bool all)
{
    static answer a;
    float want[UNIVERSE];
    bool seen[UNIVERSE] = {false};
    size_t n = 0;
    for (uint32_t i = 0; i < UNIVERSE; i++)
        if (s->there[i] && within(c, live_score(c, q, s->row[i]), bound))
            want[n++] = live_score(c, q, s->row[i]);
    qsort(want, n, sizeof *want, live_rising);
    if (most != 0) n = VQ_MIN(n, (size_t)most);
    a.n = a.stop = 0;
    OK(vq_search_within(searcher, q, bound, most, take, &a, &err));
    cr_assert(all ? a.n == n : a.n <= n, "%s: %llu of %zu", c->codec, (unsigned long long)a.n, n);
    for (uint64_t i = 0; i < a.n; i++) {
        uint32_t at = live_of_id(c, searcher, a.ids[i]);
        cr_assert(s->there[at] && !seen[at]);
        seen[at] = true;
        cr_assert_eq(a.scores[i], live_score(c, q, s->row[at]));
        cr_assert(within(c, a.scores[i], bound));
        if (i > 0) cr_assert(within(c, a.scores[i - 1], a.scores[i]), "not nearest first");
    }
}

Test(range, against_plain_loops, .timeout = 120)
{
    static const live_config configs[] = {
        {"pq8", VQ_METRIC_L2, VQ_F32, 9, 16, false, true, 0},
        {"sq8", VQ_METRIC_IP, VQ_F16, 5, 16, true, false, 0},
        {"flat", VQ_METRIC_COSINE, VQ_F32, 4, 12, false, true, 0},
        {"saq", VQ_METRIC_L2, VQ_F32, 4, 128, false, true, 160},
    };
    for (size_t i = 0; i < VQ_COUNT(configs); i++) {
        const live_config *c = &configs[i];
        char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
        state s;
        live_build(path, c, UNIVERSE - 10, &s);
        vq_index *ix = open_index(path);
        vq_search_opts o = VQ_SEARCH_OPTS_INIT;
        vq_searcher *all, *some = open_searcher(ix, 2, 0);
        o.recall = 1;
        OK(vq_searcher_open(&all, ix, &o, &err));
        for (uint32_t k = 0; k < 12; k++) {
            float q[MOST_D], sorted[UNIVERSE];
            size_t n = 0;
            live_row(ASKED_FROM + k, c->d, q);
            for (uint32_t j = 0; j < UNIVERSE; j++)
                if (s.there[j]) sorted[n++] = live_score(c, q, s.row[j]);
            qsort(sorted, n, sizeof *sorted, live_rising);
            /* bounds that are scores: those vectors are within them */
            static const double shares[] = {0, .003, .05, .11, .3, .9, .999};
            for (size_t j = 0; j < VQ_COUNT(shares); j++) {
                float bound = sorted[(size_t)(shares[j] * (double)n)];
                compare(c, &s, all, q, bound, 0, true);
                compare(c, &s, all, q, bound, 7, true);
                compare(c, &s, all, q, bound, 70, true);
                compare(c, &s, some, q, bound, 0, false);
            }
            compare(c, &s, all, q, -INFINITY, 0, true);
            compare(c, &s, all, q, INFINITY, 0, true);
        }
        /* by a filter, too */
        uint64_t allowed[UNIVERSE], n = 0;
        state left = s;
        for (uint32_t j = 0; j < UNIVERSE && !c->strings; j++) {
            if (j % 3 == 0) allowed[n++] = j;
            left.there[j] = s.there[j] && j % 3 == 0;
        }
        if (!c->strings) {
            float q[MOST_D];
            live_row(77, c->d, q);
            OK(vq_searcher_filter(all, VQ_FILTER_ALLOW, allowed, NULL, n, &err));
            compare(c, &left, all, q, live_score(c, q, 90), 0, true);
        }
        vq_searcher_close(all), vq_searcher_close(some);
        vq_close(ix);
        free(path);
        test_rmdir(dir);
    }
}

Test(range, limits)
{
    static const live_config c = {"flat", VQ_METRIC_L2, VQ_F32, 3, 8, false, false, 0};
    static answer a;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    float q[8] = {0};
    live_build(path, &c, 200, &s);
    vq_index *ix = open_index(path);
    vq_searcher *all = open_searcher(ix, VQ_ALL, 0);
    a.n = 0, a.stop = 3;
    FAILS(VQ_ECANCELED, vq_search_within(all, q, INFINITY, 0, take, &a, &err));
    cr_assert_eq(a.n, 3);
    FAILS(VQ_EINVAL, vq_search_within(all, q, NAN, 0, take, &a, &err));
    FAILS(VQ_EINVAL, vq_search_within(NULL, q, 1, 0, take, &a, &err));
    FAILS(VQ_EINVAL, vq_search_within(all, NULL, 1, 0, take, &a, &err));
    FAILS(VQ_EINVAL, vq_search_within(all, q, 1, 0, NULL, &a, &err));
    vq_search_stats before = VQ_SEARCH_STATS_INIT, after = VQ_SEARCH_STATS_INIT;
    a.n = a.stop = 0; /* 64 first, then all: one query */
    OK(vq_searcher_stats(all, &before, &err));
    OK(vq_search_within(all, q, INFINITY, 0, take, &a, &err));
    OK(vq_searcher_stats(all, &after, &err));
    cr_assert_eq(a.n, 200);
    cr_assert_eq(after.queries - before.queries, 1);
    cr_assert_eq(after.vectors - before.vectors, 400);
    vq_mem_fail_after(1);
    vq_status rc = vq_search_within(all, q, INFINITY, 0, take, &a, &err);
    vq_mem_fail_after(0);
    cr_assert_eq(rc, VQ_ENOMEM);
    vq_writer *w; /* all is deleted, and a searcher that is not pinned sees it */
    uint64_t ids[200];
    for (uint64_t i = 0; i < 200; i++) ids[i] = i;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, ids, NULL, 200, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    a.n = a.stop = 0;
    OK(vq_search_within(all, q, INFINITY, 0, take, &a, &err));
    cr_assert_eq(a.n, 0);
    vq_searcher_close(all);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}
