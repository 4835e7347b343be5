/* SPDX-License-Identifier: Apache-2.0 */
/* Lists that are chosen by vectors of their own, which learnt from queries. */
#include "tests/index/taught.h"

enum { LISTS = 64, FEW = 4 };

static void build_routed(const char *path, const world *w)
{
    vq_build_opts o = with_queries(w, VQ_METRIC_IP);
    o.nlist = LISTS, o.code_bytes = 16, o.train = VQ_TRAIN_DISTILL, o.no_tune = 1;
    build(path, w->x, N, D, VQ_F32, &o);
}

/* A searcher that chooses lists by their centroids. */
static vq_searcher *by_centroids(vq_index *ix, uint32_t nprobe, uint32_t rerank)
{
    vq_searcher *s = open_searcher(ix, nprobe, rerank);
    s->pinned = true;
    s->shards[0].model.routes = NULL;
    s->shards[0].model.nroutes = 0;
    return s;
}

static double recall_of(vq_searcher *s, const world *w)
{
    static uint64_t truth[NQ * K], ids[NQ * K];
    vq_source *base;
    vq_exact_opts e = {.metric = VQ_METRIC_IP, .k = K, .threads = 1};
    OK(vq_source_open_array(&base, w->x, N, D, VQ_F32, &err));
    OK(vq_exact(base, w->held, NQ, &e, truth, NULL, &err));
    vq_source_close(base);
    OK(vq_search(s, w->held, NQ, K, ids, NULL, &err));
    return vq_recall(truth, K, K, ids, K, K, NQ);
}

static void same_scores(vq_searcher *s, vq_searcher *t, const world *w, size_t nq)
{
    static uint64_t ids[NQ * K];
    static float a[NQ * K], b[NQ * K];
    for (size_t done = 0; done < NQ; done += nq) {
        OK(vq_search(s, w->held + done * D, nq, K, ids, a + done * K, &err));
        OK(vq_search(t, w->held + done * D, nq, K, ids, b + done * K, &err));
    }
    for (size_t i = 0; i < (size_t)NQ * K; i++)
        cr_assert_float_eq(a[i], b[i], 1e-4f * (1.0f + fabsf(b[i])), "%zu: %g, %g", i, (double)a[i],
                           (double)b[i]);
}

/* The lists that queries nobody trained on want come sooner; what is found in them counts as it
 * does without. */
Test(routes, choose_lists_and_nothing_else, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    build_routed(path, &w);
    cr_assert_eq(problems_of(path), 0);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, FEW, N), *t = by_centroids(ix, FEW, N);
    const vq_model *m = &s->shards[0].model;
    cr_assert(m->nroutes == LISTS && m->routes != m->centroids && m->format == 4);
    double routed = recall_of(s, &w), plain = recall_of(t, &w);
    cr_assert_gt(routed, plain, "%.3f, by centroids %.3f", routed, plain);
    vq_searcher_close(s), vq_searcher_close(t);
    for (size_t nq = 1; nq <= NQ; nq *= NQ) { /* one by one, and as a batch */
        s = open_searcher(ix, VQ_ALL, VQ_NONE), t = by_centroids(ix, VQ_ALL, VQ_NONE);
        same_scores(s, t, &w, nq);
        vq_searcher_close(s), vq_searcher_close(t);
    }
    vq_close(ix);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

/* Vectors added go where the centroids say, and are found; parts with the model come together. */
Test(routes, live_on, .timeout = 300)
{
    enum { MORE = 500 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x"), *part = test_path(dir, "y");
    char *both = test_path(dir, "z");
    uint64_t names[MORE];
    world w = make_world();
    float *more = clusters(1, MORE, D);
    build_routed(path, &w);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    for (size_t i = 0; i < MORE; i++) names[i] = N + i;
    o.model = open_index(path), o.ids = names, o.nids = MORE;
    build(part, more, MORE, D, VQ_F32, &o);
    vq_close(o.model);
    vq_merge_opts how = VQ_MERGE_OPTS_INIT;
    const char *const parts[] = {path, part};
    OK(vq_merge(parts, 2, both, &how, &err));
    cr_assert_eq(problems_of(both), 0);
    vq_index *ix = open_index(both);
    vq_searcher *s = open_searcher(ix, LISTS, N);
    cr_assert(s->shards[0].model.nroutes == LISTS && s->shards[0].model.n == N + MORE);
    size_t found = 0;
    for (size_t i = 0; i < MORE; i++) {
        uint64_t ids[2 * K];
        OK(vq_search(s, more + i * D, 1, 2 * K, ids, NULL, &err));
        for (size_t j = 0; j < 2 * K; j++) found += ids[j] == N + i;
    }
    cr_assert_gt(found, MORE / 2, "%zu of %d", found, MORE);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(more);
    end_world(&w);
    free(path), free(part), free(both);
    test_rmdir(dir);
}

/* A list that splits: each new one has a vector of its own, as far from its centroid as with the
 * list that it comes from. */
Test(routes, of_lists_that_split, .timeout = 300)
{
    enum { MORE = 600 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    float *more = clusters(1, MORE, D), scores[1];
    uint64_t id;
    vq_writer *writer;
    vq_source *src;
    for (size_t i = 0; i < MORE * D; i++) more[i] = 0.3f * more[i] + (i % D < 4 ? 5.0f : 0.0f);
    build_routed(path, &w);
    vq_index *ix = open_index(path);
    vq_searcher *old = open_searcher(ix, FEW, N), *s = open_searcher(ix, VQ_ALL, N + MORE);
    old->pinned = true; /* what there was before */
    OK(vq_source_open_array(&src, more, MORE, D, VQ_F32, &err));
    OK(vq_writer_open(&writer, path, NULL, &err));
    OK(vq_writer_add(writer, src, NULL, NULL, 0, &err));
    OK(vq_writer_commit(writer, NULL, &err));
    vq_writer_close(writer);
    vq_source_close(src);
    cr_assert_eq(problems_of(path), 0);
    OK(vq_search(s, more, 1, 1, &id, scores, &err));
    const vq_model *a = &old->shards[0].model, *b = &s->shards[0].model;
    size_t had = (size_t)LISTS * D;
    cr_assert(a->nlist == LISTS && b->nlist > LISTS && b->nroutes == b->nlist && a->d_code == D);
    cr_assert(memcmp(a->routes, b->routes, had * sizeof *a->routes) == 0);
    cr_assert(memcmp(a->centroids, b->centroids, had * sizeof *a->centroids) == 0);
    for (size_t l = LISTS; l < b->nlist; l++) {
        bool from_any = false;
        for (size_t o = 0; o < LISTS && !from_any; o++) {
            from_any = true;
            for (size_t j = 0; j < D && from_any; j++) {
                float is = b->routes[l * D + j] - b->centroids[l * D + j];
                from_any = fabsf(is - (a->routes[o * D + j] - a->centroids[o * D + j])) < 1e-4f;
            }
        }
        cr_assert(from_any, "list %zu", l);
    }
    vq_searcher_close(old), vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(more);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

/* A field of `meta`. */
static void put(const char *path, const char *key, const char *text)
{
    uint8_t record[16];
    size_t len = strlen(text);
    memcpy(record + 8, text, len);
    vq_record_seal(record, 8 + len);
    const vq_value value = {VQ_DB_META, key, record, 8 + len};
    OK(vq_file_put(path, NULL, &value, 1, &err));
}

/* A number of them that cannot be, and an array that is not there. */
Test(routes, damage_is_found, .timeout = 300)
{
    static const struct {
        const char *key, *text, *says;
    } wrong[] = {{"routes", "63", "routes"}, {"format", "3", "routes"}, {"routes", "x", "routes"}};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_index *ix;
    build_routed(path, &w);
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        put(path, wrong[i].key, wrong[i].text);
        FAILS(VQ_ECORRUPT, vq_open(&ix, path, 0, &err));
        cr_assert_not_null(strstr(err.text, wrong[i].says), "%s", err.text);
        const char *right = strcmp(wrong[i].key, "format") == 0 ? "4" : "64";
        put(path, wrong[i].key, right);
        cr_assert_eq(problems_of(path), 0);
    }
    end_world(&w);
    free(path);
    test_rmdir(dir);
}
