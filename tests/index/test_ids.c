/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of an index, and several indexes searched as one. */
#include "tests/index/fixture.h"

enum { N = 600, HALF = 250, D = 12, NQ = 8, K = 15 };

typedef struct world {
    char *dir, *whole, *left, *right;
    float *x;
    char **names;
    uint64_t ids[N];
} world;

static world world_new(void)
{
    world w = {.dir = test_tmpdir()};
    w.whole = test_path(w.dir, "whole.vq");
    w.left = test_path(w.dir, "left.vq");
    w.right = test_path(w.dir, "right.vq");
    w.x = clusters(1, N, D);
    w.names = make_names(N, "row ");
    for (size_t i = 0; i < N; i++) w.ids[i] = (uint64_t)i * 2654435761u % 1000003 << 20;
    return w;
}

static void world_free(world *w)
{
    free(w->whole);
    free(w->left);
    free(w->right);
    vq_mem_free(w->x);
    free_names(w->names, N);
    test_rmdir(w->dir);
}

/* Rows first..end of the world in an index. */
static void part(const world *w, const char *path, size_t first, size_t end, bool strings,
                 uint32_t store)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.store = store;
    o.nids = end - first;
    if (strings)
        o.names = (const char *const *)w->names + first;
    else
        o.ids = w->ids + first;
    build(path, w->x + first * D, end - first, D, VQ_F32, &o);
}

static vq_searcher *open_many(vq_index *const *ix, size_t nix, uint32_t threads)
{
    vq_searcher *s = NULL;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.nprobe = VQ_ALL;
    o.rerank = N;
    o.threads = threads;
    OK(vq_searcher_open_many(&s, ix, nix, &o, &err));
    return s;
}

static void check_row(vq_searcher *s, const world *w, size_t i, uint64_t id, bool strings)
{
    float row[D];
    char text[501], want[32];
    uint64_t found = 0;
    OK(vq_get(s, id, row, &err));
    cr_assert(memcmp(row, w->x + i * D, sizeof row) == 0, "row %zu", i);
    OK(vq_id_name(s, id, text, sizeof text, &err));
    (void)snprintf(want, sizeof want, "%llu", (unsigned long long)w->ids[i]);
    cr_assert_str_eq(text, strings ? w->names[i] : want);
    OK(vq_id_find(s, text, &found, &err));
    cr_assert_eq(found, id);
}

Test(ids, every_row_by_its_id)
{
    for (int strings = 0; strings < 2; strings++) {
        world w = world_new();
        part(&w, w.whole, 0, N, strings, VQ_F32);
        vq_index *ix = open_index(w.whole);
        vq_searcher *s = open_searcher(ix, 0, 0);
        for (size_t i = 0; i < N; i++) {
            uint64_t id = w.ids[i];
            if (strings) OK(vq_id_find(s, w.names[i], &id, &err));
            check_row(s, &w, i, id, strings);
        }
        vq_info info = VQ_INFO_INIT;
        OK(vq_index_info(ix, &info, &err));
        cr_assert(info.string_ids == (uint32_t)strings && info.n == N && info.d == D);
        vq_searcher_close(s);
        vq_close(ix);
        world_free(&w);
    }
}

Test(ids, names_are_ranks)
{
    world w = world_new();
    part(&w, w.whole, 0, N, true, VQ_F32);
    vq_index *ix = open_index(w.whole);
    vq_searcher *s = open_searcher(ix, 0, 0);
    char before[501] = "", name[501];
    for (uint64_t label = 0; label < N; label++) {
        OK(vq_id_name(s, label, name, sizeof name, &err));
        cr_assert(strcmp(before, name) < 0);
        strcpy(before, name);
    }
    FAILS(VQ_ENOENT, vq_id_name(s, N, name, sizeof name, &err));
    FAILS(VQ_EINVAL, vq_id_name(s, 0, name, strlen(w.names[0]), &err));
    OK(vq_id_name(s, 0, name, strlen(w.names[0]) + 1, &err));
    vq_searcher_close(s);
    vq_close(ix);
    world_free(&w);
}

Test(ids, what_is_not_there)
{
    for (int strings = 0; strings < 2; strings++) {
        world w = world_new();
        part(&w, w.whole, 0, N, strings, VQ_F32);
        vq_index *ix = open_index(w.whole);
        vq_searcher *s = open_searcher(ix, 0, 0);
        float row[D];
        uint64_t id = 77;
        char longer[600];
        memset(longer, 'x', sizeof longer - 1);
        longer[sizeof longer - 1] = '\0';
        static const uint64_t none[] = {VQ_NO_ID, 12345, (uint64_t)1 << 48, N};
        for (size_t i = 0; i < VQ_COUNT(none); i++)
            if (!strings || none[i] >= N) {
                FAILS(VQ_ENOENT, vq_get(s, none[i], row, &err));
            }
        static const char *const names[] = {"",   "row", "row 0", "-1",  "+0",
                                            "00", " 0",  "0 ",    "0x0", "18446744073709551616"};
        for (size_t i = 0; i < VQ_COUNT(names); i++)
            FAILS(VQ_ENOENT, vq_id_find(s, names[i], &id, &err));
        FAILS(VQ_ENOENT, vq_id_find(s, longer, &id, &err));
        cr_assert_eq(id, 77);
        FAILS(VQ_EINVAL, vq_id_find(s, NULL, &id, &err));
        FAILS(VQ_EINVAL, vq_get(s, 0, NULL, &err));
        vq_searcher_close(s);
        vq_close(ix);
        world_free(&w);
    }
}

Test(ids, rows_that_were_not_stored)
{
    world w = world_new();
    float row[D];
    part(&w, w.whole, 0, N, false, VQ_ELEM_NONE);
    vq_index *ix = open_index(w.whole);
    vq_searcher *s = open_searcher(ix, 0, 0);
    FAILS(VQ_EUNSUPPORTED, vq_get(s, w.ids[3], row, &err));
    FAILS(VQ_ENOENT, vq_get(s, 1, row, &err));
    vq_searcher_close(s);
    vq_close(ix);
    world_free(&w);
}

/* Two halves give what the whole gives; names tell what handles mean. */
static void check_union(bool strings, uint32_t threads)
{
    world w = world_new();
    uint64_t want[NQ * K], got[NQ * K];
    float want_scores[NQ * K], got_scores[NQ * K];
    char a[501], b[501];
    part(&w, w.whole, 0, N, strings, VQ_F32);
    part(&w, w.left, 0, HALF, strings, VQ_F32);
    part(&w, w.right, HALF, N, strings, VQ_F32);
    vq_index *whole = open_index(w.whole);
    vq_index *halves[] = {open_index(w.left), open_index(w.right)};
    vq_searcher *one = open_many(&whole, 1, 1), *two = open_many(halves, 2, threads);
    OK(vq_search(one, w.x + 244 * D, NQ, K, want, want_scores, &err));
    OK(vq_search(two, w.x + 244 * D, NQ, K, got, got_scores, &err));
    cr_assert(memcmp(want_scores, got_scores, sizeof want_scores) == 0);
    for (size_t i = 0; i < NQ * K; i++) {
        OK(vq_id_name(one, want[i], a, sizeof a, &err));
        OK(vq_id_name(two, got[i], b, sizeof b, &err));
        cr_assert_str_eq(a, b);
        if (!strings) cr_assert_eq(want[i], got[i]);
    }
    for (size_t i = 0; i < N; i += 7) {
        uint64_t id = w.ids[i];
        if (strings) OK(vq_id_find(two, w.names[i], &id, &err));
        cr_assert(!strings || id >> 48 == (i >= HALF), "handle %llx", (unsigned long long)id);
        check_row(two, &w, i, id, strings);
    }
    float row[D];
    FAILS(VQ_ENOENT, vq_get(two, strings ? (uint64_t)2 << 48 : 1, row, &err));
    FAILS(VQ_ENOENT, vq_id_find(two, "nobody", &got[0], &err));
    vq_searcher_close(one);
    vq_searcher_close(two);
    vq_close(whole);
    vq_close(halves[0]);
    vq_close(halves[1]);
    world_free(&w);
}

Test(ids, two_indexes_are_one_of_all)
{
    check_union(false, 1);
    check_union(true, 1);
    check_union(true, 2);
}

Test(ids, the_same_index_twice_and_more_than_all)
{
    world w = world_new();
    uint64_t got[2 * HALF + 10];
    part(&w, w.left, 0, HALF, true, VQ_F32);
    vq_index *both[] = {open_index(w.left), open_index(w.left)}; /* shares one environment */
    vq_searcher *s = open_many(both, 2, 1);
    OK(vq_search(s, w.x, 1, 2 * HALF + 10, got, NULL, &err));
    for (size_t i = 0; i < 2 * HALF; i += 2) /* equal scores: the smaller handle first */
        cr_assert_eq(got[i] | (uint64_t)1 << 48, got[i + 1]);
    for (size_t i = 2 * HALF; i < VQ_COUNT(got); i++) cr_assert_eq(got[i], VQ_NO_ID);
    vq_searcher_close(s);
    vq_close(both[0]);
    cr_assert_eq(problems_of(w.left), 0); /* the other still holds it */
    vq_close(both[1]);
    world_free(&w);
}

Test(ids, indexes_that_do_not_match)
{
    world w = world_new();
    vq_searcher *s;
    char *other = test_path(w.dir, "other.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    part(&w, w.left, 0, HALF, true, VQ_F32);
    vq_index *ix[] = {open_index(w.left), NULL};
    FAILS(VQ_EINVAL, vq_searcher_open_many(&s, ix, 2, NULL, &err));
    static const char *const says[] = {"dimensions", "metric", "string ids"};
    for (int i = 0; i < 3; i++) {
        o.force = 1;
        o.metric = i == 1 ? VQ_METRIC_IP : VQ_METRIC_L2;
        o.names = i < 2 ? (const char *const *)w.names : NULL;
        o.nids = i < 2 ? HALF : 0;
        build_clusters(other, 1, HALF, i == 0 ? D + 1 : D, &o);
        ix[1] = open_index(other);
        FAILS(VQ_EINVAL, vq_searcher_open_many(&s, ix, 2, NULL, &err));
        cr_assert(s == NULL && strstr(err.text, says[i]) != NULL, "%s", err.text);
        vq_close(ix[1]);
    }
    vq_close(ix[0]);
    free(other);
    world_free(&w);
}

Test(ids, rows_stored_smaller)
{
    /* f16 rounds; i8 is a scale of 127 to the largest. */
    static const uint32_t stores[] = {VQ_F16, VQ_I8};
    world w = world_new();
    float largest = 0.0f, row[D];
    for (size_t i = 0; i < N * D; i++) largest = fmaxf(largest, fabsf(w.x[i]));
    for (size_t k = 0; k < VQ_COUNT(stores); k++) {
        uint64_t id;
        float score;
        part(&w, k == 0 ? w.left : w.right, 0, N, false, stores[k]);
        vq_index *ix = open_index(k == 0 ? w.left : w.right);
        vq_searcher *s = open_many(&ix, 1, 1);
        for (size_t i = 0; i < N; i++) {
            float *x = w.x + i * D;
            double sq = 0.0;
            OK(vq_get(s, w.ids[i], row, &err));
            for (size_t j = 0; j < D; j++) {
                float bound = k == 0 ? fabsf(x[j]) * 0x1p-11f + 1e-6f : largest / 253.9f;
                cr_assert(fabsf(row[j] - x[j]) <= bound, "%g for %g", (double)row[j], (double)x[j]);
                sq += ((double)row[j] - (double)x[j]) * ((double)row[j] - (double)x[j]);
            }
            OK(vq_search(s, x, 1, 1, &id, &score, &err));
            cr_assert_eq(id, w.ids[i]);
            cr_assert(fabs((double)score - sq) <= 1e-4 * sq + 1e-9, "%g is not %g", (double)score,
                      sq);
        }
        vq_searcher_close(s);
        vq_close(ix);
    }
    world_free(&w);
}
