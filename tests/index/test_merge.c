/* SPDX-License-Identifier: Apache-2.0 */
/* Several indexes of one model as one: what it holds, what it answers, what is refused. */
#include "tests/index/merging.h"

enum { BASE = 300, MORE = 500 };

static vq_info info_of(const char *path)
{
    vq_index *ix = open_index(path);
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    vq_close(ix);
    return info;
}

/* The same scores, and the same ids but for ties. */
static void same_answers(const char *a, const char *b, const live_config *c)
{
    enum { ASKED = 10, MOST = 20 };
    static const uint32_t probes[] = {1, 3, VQ_ALL}, reranks[] = {0, VQ_NONE};
    vq_index *x = open_index(a), *y = open_index(b);
    for (size_t p = 0; p < VQ_COUNT(probes) * VQ_COUNT(reranks); p++) {
        vq_searcher *s = open_searcher(x, probes[p / 2], reranks[p % 2]);
        vq_searcher *t = open_searcher(y, probes[p / 2], reranks[p % 2]);
        for (uint32_t i = 0; i < ASKED; i++) {
            float q[MOST_D], of_s[MOST], of_t[MOST];
            uint64_t in_s[MOST], in_t[MOST];
            live_row(2000000 + i, c->d, q);
            OK(vq_search(s, q, 1, MOST, in_s, of_s, &err));
            OK(vq_search(t, q, 1, MOST, in_t, of_t, &err));
            cr_assert(memcmp(of_s, of_t, sizeof of_s) == 0, "%s: other scores", c->codec);
            for (size_t j = 0; j + 1 < MOST && in_s[j] != VQ_NO_ID; j++) {
                bool tie = of_s[j] == of_s[j + 1] || (j > 0 && of_s[j] == of_s[j - 1]);
                char m[501], n[501];
                if (tie) continue;
                OK(vq_id_name(s, in_s[j], m, sizeof m, &err));
                OK(vq_id_name(t, in_t[j], n, sizeof n, &err));
                cr_assert_str_eq(m, n);
            }
        }
        vq_searcher_close(s);
        vq_searcher_close(t);
    }
    vq_close(x);
    vq_close(y);
}

static void one_as_two(const live_config *c)
{
    char *dir = test_tmpdir(), *base = test_path(dir, "base"), *a = test_path(dir, "a");
    char *b = test_path(dir, "b"), *ab = test_path(dir, "ab"), *ba = test_path(dir, "ba");
    state s, of_a, of_b, all;
    live_build(base, c, BASE, &s);
    of_a = of_b = all = s;
    OK(vq_compact(base, a, NULL, &err));
    OK(vq_compact(base, b, NULL, &err));
    change(a, c, &of_a, 1, BASE, 2, DELETE);
    change(b, c, &of_b, 0, BASE, 2, DELETE);
    change(a, c, &of_a, BASE, 400, 1, 7000);
    change(b, c, &of_b, 400, MORE, 1, 7000);
    change(base, c, &all, BASE, MORE, 1, 7000);
    OK(merge(a, b, ab, VQ_KEEP_NONE));
    OK(merge(b, a, ba, VQ_KEEP_NONE));
    vq_info i = info_of(ab), j = info_of(base);
    cr_assert_eq(problems_of(ab), 0, "%s", c->codec);
    cr_assert(i.n == all.n && j.n == all.n);
    cr_assert(i.copies == j.copies && (i.copies > 0) == c->copies, "%llu copies, %llu",
              (unsigned long long)i.copies, (unsigned long long)j.copies);
    cr_assert(i.added == j.added && fabsf(i.drift - j.drift) < 1e-4f, "drift %g, %g",
              (double)i.drift, (double)j.drift);
    if (c->store != VQ_ELEM_NONE) {
        vq_index *ix = open_index(ab);
        vq_searcher *exactly = exact(ix);
        OK(vq_search(exactly, (float[MOST_D]){0}, 1, 1, (uint64_t[1]){0}, NULL, &err));
        live_holds(c, &all, exactly);
        vq_searcher_close(exactly);
        vq_close(ix);
    }
    same_answers(ab, base, c);
    same_answers(ab, ba, c);
    change(ab, c, &all, 0, BASE, 3, DELETE); /* and it can be changed like any other */
    change(ab, c, &all, 0, BASE, 6, 9000);
    cr_assert_eq(problems_of(ab), 0, "%s", c->codec);
    free(base), free(a), free(b), free(ab), free(ba);
    test_rmdir(dir);
}

Test(merge, answers_as_if_all_had_been_added, .timeout = 300)
{
    static const live_config configs[] = {
        {"sq8", VQ_METRIC_L2, VQ_F32, 7, 16, false, true, 0},
        {"pq4", VQ_METRIC_IP, VQ_F16, 5, 16, true, false, 0},
        {"flat", VQ_METRIC_COSINE, VQ_F32, 3, 8, true, true, 0},
        {"saq", VQ_METRIC_L2, VQ_F32, 5, 64, false, true, 0},
        {"pq8", VQ_METRIC_L2, VQ_ELEM_NONE, 6, 16, true, true, 0},
    };
    for (size_t i = 0; i < VQ_COUNT(configs); i++) one_as_two(&configs[i]);
}

/* Chunks that are full, and lists of several. */
Test(merge, long_lists, .timeout = 120)
{
    enum { D_LONG = 256, N_LONG = 1500 };
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *c = test_path(dir, "c"), *ab = test_path(dir, "ab");
    float *x = clusters(4, 3 * N_LONG, D_LONG), *row = vq_alloc_f32(1, D_LONG);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    uint64_t *ids = vq_mem_alloc(3 * N_LONG, sizeof *ids);
    for (uint64_t i = 0; i < 3 * N_LONG; i++) ids[i] = i * 17 % (3 * N_LONG); /* scattered */
    o.codec = "flat", o.nlist = 2, o.no_tune = 1, o.store = VQ_F32, o.rotation = VQ_ROTATION_NONE;
    o.ids = ids, o.nids = N_LONG;
    build(a, x, N_LONG, D_LONG, VQ_F32, &o);
    vq_index *ix = open_index(a);
    vq_build_opts m = VQ_BUILD_OPTS_INIT;
    m.model = ix, m.no_tune = 1, m.ids = ids + N_LONG, m.nids = N_LONG;
    build(b, x + N_LONG * D_LONG, N_LONG, D_LONG, VQ_F32, &m);
    m.ids = ids + 2 * N_LONG;
    build(c, x + 2 * N_LONG * D_LONG, N_LONG, D_LONG, VQ_F32, &m);
    vq_close(ix);
    const char *paths[] = {c, a, b};
    OK(vq_merge(paths, 3, ab, NULL, &err));
    cr_assert_eq(problems_of(ab), 0);
    ix = open_index(ab);
    vq_searcher *s = exact(ix);
    for (size_t i = 0; i < 3 * N_LONG; i += 7) {
        uint64_t id;
        OK(vq_search(s, x + i * D_LONG, 1, 1, &id, NULL, &err));
        cr_assert_eq(id, ids[i]);
        OK(vq_get(s, id, row, &err));
        cr_assert(memcmp(row, x + i * D_LONG, D_LONG * sizeof *row) == 0);
    }
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x), vq_mem_free(row), vq_mem_free(ids);
    free(a), free(b), free(c), free(ab);
    test_rmdir(dir);
}

/* ---- what vectors carry ---- */

/* Each with tags of its own numbers and, where they are enough, a dictionary of its own. */
static void carried_along(const live_config *c, uint32_t middle, uint32_t end)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *ab = test_path(dir, "ab");
    state of_a, of_b;
    build_range(a, c, 0, middle, 1, NULL, &of_a);
    build_range(b, c, middle, end, 2, a, &of_b);
    holds(b, c, &of_b);
    state all = both(&of_a, &of_b);
    OK(merge(a, b, ab, VQ_KEEP_NONE));
    holds(ab, c, &all);
    OK(merge(b, a, ab, VQ_KEEP_NONE));
    holds(ab, c, &all);
    build_range(b, c, middle - 50, end, 3, a, &of_b); /* 50 of both */
    all = both(&of_a, &of_b);
    FAILS(VQ_EINVAL, merge(a, b, ab, VQ_KEEP_NONE));
    OK(merge(a, b, ab, VQ_KEEP_FIRST));
    holds(ab, c, &all);
    all = both(&of_b, &of_a);
    OK(merge(a, b, ab, VQ_KEEP_LAST));
    holds(ab, c, &all);
    OK(merge(b, a, ab, VQ_KEEP_FIRST));
    holds(ab, c, &all);
    free(a), free(b), free(ab);
    test_rmdir(dir);
}

Test(merge, tags_times_payloads, .timeout = 300)
{
    carried_along(&number_ids, 300, 600);
    carried_along(&string_ids, 300, 600);
    carried_along(&number_ids, 500, 560); /* one without a dictionary */
}

/* ---- what is refused ---- */

Test(merge, an_id_of_two, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *ab = test_path(dir, "ab");
    const live_config *configs[] = {&number_ids, &string_ids};
    for (int i = 0; i < 2; i++) {
        state s, other, all;
        char id[16], want[24];
        vq_compact_opts o = VQ_COMPACT_OPTS_INIT;
        o.force = 1;
        live_build(a, configs[i], 200, &s);
        OK(vq_compact(a, b, &o, &err));
        other = s;
        change(b, configs[i], &other, 0, 170, 1, DELETE);
        change(b, configs[i], &other, 171, 200, 1, DELETE); /* only 170 is in both.. */
        change(b, configs[i], &other, 170, 171, 1, 9000);   /* ..with another row */
        FAILS(VQ_EINVAL, merge(a, b, ab, VQ_KEEP_NONE));
        (void)snprintf(want, sizeof want, i == 0 ? " %s;" : " \"%s\";",
                       i == 0 ? "170" : live_name(170, id));
        cr_assert(strstr(err.text, a) != NULL && strstr(err.text, b) != NULL &&
                      strstr(err.text, want) != NULL,
                  "%s", err.text);
        cr_assert(access(ab, F_OK) != 0 && count_files(dir, "ab.tmp") == 0);
        for (uint32_t keep = VQ_KEEP_FIRST; keep <= VQ_KEEP_LAST; keep++) {
            OK(merge(a, b, ab, keep));
            all = s;
            if (keep == VQ_KEEP_LAST) all.row[170] = other.row[170];
            holds(ab, configs[i], &all);
        }
        cr_assert(unlink(ab) == 0);
    }
    free(a), free(b), free(ab);
    test_rmdir(dir);
}

static void refused_as(const char *a, const char *b, const char *out, const char *why)
{
    FAILS(VQ_EINVAL, merge(a, b, out, VQ_KEEP_NONE));
    cr_assert(strstr(err.text, why) != NULL && strstr(err.text, a) != NULL, "no '%s' in: %s", why,
              err.text);
    cr_assert(access(out, F_OK) != 0);
}

static vq_status put_gain(void *ctx, vq_change *c, vq_error *e)
{
    static const char text[] = "3fc00000"; /* the bits of 1.5f */
    uint8_t *room;
    size_t len = 8 + strlen(text);
    (void)ctx;
    vq_status rc = vq_change_put(c, VQ_DB_META, "gain", 4, len, &room, e);
    if (rc != VQ_OK) return rc;
    memcpy(room + 8, text, strlen(text));
    vq_record_seal(room, len);
    return VQ_OK;
}

/* Scores of codes that are multiplied by other numbers do not compare. */
Test(merge, other_gains)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "pq8", o.metric = VQ_METRIC_IP, o.code_bytes = 8, o.nlist = 4;
    float *x = clusters(3, 400, D);
    build(a, x, 400, D, VQ_F32, &o);
    OK(vq_compact(a, b, NULL, &err));
    vq_change *c;
    OK(vq_change_begin(&c, b, 0, &err));
    OK(vq_change_apply(c, put_gain, NULL, &err));
    vq_change_end(c);
    cr_assert_eq(problems_of(b), 0);
    refused_as(a, b, out, "gains of codes");
    vq_mem_free(x);
    free(a), free(b), free(out);
    test_rmdir(dir);
}

Test(merge, other_models, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out");
    static const struct {
        live_config c;
        const char *why;
    } others[] = {
        {{"sq8", VQ_METRIC_IP, VQ_F32, 7, D, false, true, 0}, "metric l2 and ip"},
        {{"flat", VQ_METRIC_L2, VQ_F32, 7, D, false, true, 0}, "codec sq8 and flat"},
        {{"sq8", VQ_METRIC_L2, VQ_F16, 7, D, false, true, 0}, "stored rows are f32 and f16"},
        {{"sq8", VQ_METRIC_L2, VQ_F32, 6, D, false, true, 0}, "different lists"},
        {{"sq8", VQ_METRIC_L2, VQ_F32, 7, D + 1, false, true, 0}, "different dimensions"},
        {{"sq8", VQ_METRIC_L2, VQ_F32, 7, D, true, true, 0}, "string ids"},
        {{"sq8", VQ_METRIC_L2, VQ_F32, 7, D, false, false, 0}, "different biases"},
    };
    state s;
    live_build(a, &number_ids, 200, &s);
    for (size_t i = 0; i < VQ_COUNT(others); i++) {
        live_build(b, &others[i].c, 100, &s); /* other rows: other centroids */
        refused_as(a, b, out, others[i].why);
    }
    static const struct {
        const char *codec;
        uint32_t metric, bytes, rotation, seed;
        const char *why;
    } pairs[][2] = {
        /* of the same rows */
        {{"sq8", VQ_METRIC_L2, 0, VQ_ROTATION_NONE, 1, NULL},
         {"sq8", VQ_METRIC_L2, 0, VQ_ROTATION_RANDOM, 1, "different kinds of rotation"}},
        {{"sq8", VQ_METRIC_L2, 0, VQ_ROTATION_RANDOM, 1, NULL},
         {"sq8", VQ_METRIC_L2, 0, VQ_ROTATION_RANDOM, 2, "different seeds"}},
        {{"pq8", VQ_METRIC_L2, 12, VQ_ROTATION_NONE, 1, NULL},
         {"pq8", VQ_METRIC_L2, 8, VQ_ROTATION_NONE, 1, "different sub-quantizers"}},
        {{"pq8", VQ_METRIC_L2, 8, VQ_ROTATION_OPQ, 1, NULL},
         {"pq8", VQ_METRIC_L2, 8, VQ_ROTATION_OPQ, 2, "different "}},
    };
    float *x = clusters(3, 400, D);
    for (size_t i = 0; i < VQ_COUNT(pairs); i++) {
        for (int j = 0; j < 2; j++) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            o.codec = pairs[i][j].codec, o.metric = pairs[i][j].metric, o.nlist = 4;
            o.code_bytes = pairs[i][j].bytes, o.rotation = pairs[i][j].rotation;
            o.seed = pairs[i][j].seed, o.no_tune = 1, o.force = 1;
            build(j == 0 ? a : b, x, 400, D, VQ_F32, &o);
        }
        refused_as(a, b, out, pairs[i][1].why);
    }
    vq_mem_free(x);
    refused_as(a, a, out, "given twice");
    FAILS(VQ_ENOENT, merge(a, out, out, VQ_KEEP_NONE));
    FAILS(VQ_EINVAL, vq_merge((const char *[]){a}, 1, out, NULL, &err));
    FAILS(VQ_EINVAL, merge(a, b, out, 3));
    FAILS(VQ_EINVAL, vq_merge(NULL, 2, out, NULL, &err));
    free(a), free(b), free(out);
    test_rmdir(dir);
}

/* A part with copies and one without; parts that hold nothing any more. */
Test(merge, parts_that_lack_something, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out");
    live_config without = number_ids;
    state of_a, of_b;
    without.copies = false;
    live_build(a, &without, 300, &of_a);
    live_build(b, &number_ids, 300, &of_b); /* the same rows: the same model */
    change(a, &number_ids, &of_a, 0, 300, 2, DELETE);
    change(b, &number_ids, &of_b, 1, 300, 2, DELETE);
    state all = both(&of_a, &of_b);
    cr_assert(info_of(a).copies == 0 && info_of(b).copies > 0);
    OK(merge(a, b, out, VQ_KEEP_NONE));
    cr_assert_eq(info_of(out).copies, info_of(b).copies);
    holds(out, &number_ids, &all);
    OK(merge(b, a, out, VQ_KEEP_NONE));
    holds(out, &number_ids, &all);
    change(a, &number_ids, &of_a, 1, 300, 2, DELETE);
    OK(merge(a, b, out, VQ_KEEP_NONE));
    holds(out, &number_ids, &of_b);
    change(b, &number_ids, &of_b, 0, 300, 2, DELETE);
    OK(merge(a, b, out, VQ_KEEP_NONE));
    cr_assert(info_of(out).n == 0 && problems_of(out) == 0);
    change(out, &number_ids, &of_b, 5, 20, 1, 7000);
    holds(out, &number_ids, &of_b);
    free(a), free(b), free(out);
    test_rmdir(dir);
}

/* In the place of one of them, whose readers keep what they have. */
Test(merge, in_place_of_one, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    state of_a, of_b;
    build_range(a, &number_ids, 0, 300, 1, NULL, &of_a);
    build_range(b, &number_ids, 300, 500, 2, a, &of_b);
    vq_index *ix = open_index(a);
    vq_searcher *old = exact(ix);
    FAILS(VQ_EBUSY, vq_merge((const char *[]){a, b}, 2, a, NULL, &err));
    OK(merge(a, b, a, VQ_KEEP_NONE));
    state all = both(&of_a, &of_b);
    OK(vq_searcher_refresh(old, &err)); /* who had the first one open has what took its place */
    live_holds(&number_ids, &all, old);
    vq_searcher_close(old);
    vq_close(ix);
    holds(a, &number_ids, &all);
    free(a), free(b);
    test_rmdir(dir);
}

static int stop_at(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    return strcmp(phase, ctx) == 0;
}

Test(merge, stopped, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out"), phases[][12] = {"ids", "lists", "rows", "copies", "sync"};
    state s;
    build_range(a, &number_ids, 0, 300, 1, NULL, &s);
    build_range(b, &number_ids, 300, 500, 2, a, &s);
    for (size_t i = 0; i < VQ_COUNT(phases); i++) {
        const char *paths[] = {a, b};
        vq_merge_opts o = VQ_MERGE_OPTS_INIT;
        o.progress = stop_at, o.progress_ctx = phases[i];
        FAILS(VQ_ECANCELED, vq_merge(paths, 2, out, &o, &err));
        cr_assert_eq(count_files(dir, "out"), 0);
    }
    free(a), free(b), free(out);
    test_rmdir(dir);
}
