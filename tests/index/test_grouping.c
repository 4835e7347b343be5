/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes of so many lists that these lie in groups: built, searched, changed, damaged. */
#include "index/grouping.h"

#include "index/encode.h"
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 12000, D = 16, LISTS = 8300, NQ = 60, K = 10 };

/* Points around as many centres as there are lists, nearly. */
static float *points(uint64_t seed, size_t n)
{
    enum { CENTRES = 4000 };
    vq_rng r, of_centres;
    vq_rng_init(&r, test_seed(), seed);
    vq_rng_init(&of_centres, test_seed(), 77);
    float *x = vq_alloc_f32(n, D), *centres = vq_alloc_f32(CENTRES, D);
    fill_normal(&of_centres, centres, CENTRES * D);
    fill_normal(&r, x, n * D);
    for (size_t i = 0; i < n * D; i++) x[i] *= 0.25f;
    for (size_t i = 0; i < n; i++) {
        const float *c = centres + vq_rng_below(&r, CENTRES) * D;
        for (size_t j = 0; j < D; j++) x[i * D + j] += c[j];
    }
    vq_mem_free(centres);
    return x;
}

static void build_many(const char *path, uint32_t metric, uint32_t lists, int threads, bool tuned)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    float *x = points(1, N);
    o.metric = metric, o.nlist = lists, o.codec = "sq8", o.force = 1, o.no_tune = !tuned;
    o.threads = (uint32_t)threads, o.copies = VQ_COPIES_YES;
    build(path, x, N, D, VQ_F32, &o);
    vq_mem_free(x);
}

/* Of the lists that all scores choose, those that groups find. */
static void compare_lists(vq_shard *s, const vq_kernels *k, const float *q, uint32_t nprobe)
{
    const vq_model *m = &s->model;
    static vq_hit lists[2][LISTS];
    static double wide[D];
    static int16_t fixed[D];
    float y[2 * D];
    vq_shard plain = *s;
    memset(&plain.groups, 0, sizeof plain.groups);
    void *scratch = vq_mem_alloc(vq_probe_scratch(m), 1);
    size_t common = 0;
    for (size_t i = 0; i < NQ; i++) {
        for (int way = 0; way < 2; way++) {
            vq_query x = {.q = q + i * D, .y = y, .wide = wide, .fixed.x = fixed};
            x.lists = lists[way];
            vq_query_prepare(s, k, &x, scratch);
            vq_query_probe(way == 0 ? &plain : s, k, &x, nprobe, true, scratch);
            cr_assert_eq(x.nlists, nprobe);
        }
        for (uint32_t a = 0; a < nprobe; a++)
            for (uint32_t b = 0; b < nprobe; b++) {
                if (lists[0][a].id != lists[1][b].id) continue;
                common++;
                cr_assert_float_eq(lists[0][a].score, lists[1][b].score,
                                   0.2f); /* of bytes or floats */
            }
    }
    cr_assert((double)common >= 0.99 * NQ * nprobe, "%zu of %d x %u", common, NQ, nprobe);
    vq_mem_free(scratch);
}

Test(grouping, a_probe_finds_the_lists, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *q = points(2, NQ);
    uint64_t ids[NQ * K];
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_IP; metric++)
        for (int codes = 0; codes < 2; codes++) { /* lists by floats, too */
            if (codes == 0) build_many(path, metric, LISTS, 2, false);
            vq_index *ix = open_index(path);
            vq_searcher *s = open_searcher(ix, 4, codes == 1 ? VQ_NONE : 0);
            OK(vq_search(s, q, NQ, K, ids, NULL, &err));
            vq_shard *shard = &s->shards[0];
            cr_assert(shard->model.ngroups > 80 && shard->groups.memory != NULL);
            cr_assert((shard->brief.memory == NULL) == (codes == 1));
            for (uint32_t nprobe = 1; nprobe <= 500; nprobe *= 7)
                compare_lists(shard, s->k, q, nprobe);
            vq_searcher_close(s);
            vq_close(ix);
        }
    vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

/* With all lists the answer is exact; what rules decide comes close to it, and does not depend on
 * threads, batches or what came before. */
Test(grouping, searches, .timeout = 300)
{
    static uint64_t truth[NQ * K], ids[NQ * K], again[NQ * K];
    static float of_truth[NQ * K], scores[NQ * K];
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = points(1, N), *q = points(2, NQ);
    vq_source *src;
    OK(vq_source_open_array(&src, x, N, D, VQ_F32, &err));
    vq_exact_opts eo = {.metric = VQ_METRIC_L2, .k = K, .threads = 1};
    OK(vq_exact(src, q, NQ, &eo, truth, of_truth, &err));
    vq_source_close(src);
    build_many(path, VQ_METRIC_L2, LISTS, 1, true);
    vq_index *ix = open_index(path);
    static const float recalls[] = {0.5f, 0.9f, 0.99f, 1.0f};
    for (size_t i = 0; i < VQ_COUNT(recalls); i++) {
        vq_search_opts o = VQ_SEARCH_OPTS_INIT;
        vq_searcher *one, *two;
        o.recall = recalls[i];
        o.threads = 1;
        OK(vq_searcher_open(&one, ix, &o, &err));
        o.threads = 3;
        OK(vq_searcher_open(&two, ix, &o, &err));
        for (size_t j = 0; j < NQ; j++)
            OK(vq_search(one, q + j * D, 1, K, ids + j * K, scores + j * K, &err));
        OK(vq_search(two, q, NQ, K, again, NULL, &err));
        cr_assert(memcmp(ids, again, sizeof ids) == 0, "%g", (double)o.recall);
        double found = vq_recall(truth, K, K, ids, K, K, NQ);
        cr_assert(found >= (double)recalls[i] - 0.05, "%g, not %g", found, (double)recalls[i]);
        if (recalls[i] == 1.0f) cr_assert_eq(found, 1.0);
        vq_searcher_close(one);
        vq_searcher_close(two);
    }
    vq_searcher *s = open_searcher(ix, 3, 0); /* fewer vectors in them than are asked for */
    OK(vq_search(s, q, 1, 200 > NQ * K ? NQ * K : 200, ids, scores, &err));
    for (size_t i = 0; i < 200; i++) cr_assert(ids[i] < N);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

Test(grouping, threads_change_nothing_and_few_lists_have_none, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), one[33], three[33];
    build_many(path, VQ_METRIC_COSINE, LISTS, 1, false);
    digest_of(path, one);
    build_many(path, VQ_METRIC_COSINE, LISTS, 3, false);
    digest_of(path, three);
    cr_assert_str_eq(one, three);
    build_many(path, VQ_METRIC_L2, VQ_GROUPS_MIN - 1, 1, false);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 4, 0);
    cr_assert(s->shards[0].model.ngroups == 0 && s->shards[0].groups.memory == NULL);
    vq_searcher_close(s);
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
    free(path);
    test_rmdir(dir);
}

/* What is added is found where it came to. */
Test(grouping, adds, .timeout = 300)
{
    enum { MORE = 300 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = points(5, MORE);
    uint64_t ids[MORE], found = 0, id;
    vq_writer *w = NULL;
    build_many(path, VQ_METRIC_L2, LISTS, 2, false);
    for (size_t i = 0; i < MORE; i++) ids[i] = N + i;
    OK(vq_writer_open(&w, path, NULL, &err));
    vq_source *src;
    OK(vq_source_open_array(&src, x, MORE, D, VQ_F32, &err));
    OK(vq_writer_add(w, src, ids, NULL, MORE, &err));
    vq_source_close(src);
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    cr_assert_eq(problems_of(path), 0);
    vq_index *ix = open_index(path);
    for (uint32_t nprobe = 1; nprobe <= 8; nprobe += 7) {
        vq_searcher *s = open_searcher(ix, nprobe, 50);
        found = 0;
        for (size_t i = 0; i < MORE; i++) {
            OK(vq_search(s, x + i * D, 1, 1, &id, NULL, &err));
            found += id == ids[i];
        }
        cr_assert(found >= MORE - (nprobe == 1 ? 6 : 1), "%llu", (unsigned long long)found);
        vq_searcher_close(s);
    }
    vq_close(ix);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Builds with the model have its groups, and come together. */
Test(grouping, models_and_merges, .timeout = 300)
{
    enum { MORE = 400 };
    char *dir = test_tmpdir(), *a = test_path(dir, "a.vq"), *b = test_path(dir, "b.vq");
    char *both = test_path(dir, "both.vq");
    const char *paths[] = {a, b};
    float *x = points(6, MORE);
    uint64_t ids[MORE], id;
    size_t found = 0;
    build_many(a, VQ_METRIC_IP, LISTS, 2, false);
    vq_index *ix = open_index(a);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    for (size_t i = 0; i < MORE; i++) ids[i] = N + i;
    o.model = ix, o.ids = ids, o.nids = MORE, o.no_tune = 1;
    build(b, x, MORE, D, VQ_F32, &o);
    vq_close(ix);
    OK(vq_merge(paths, 2, both, NULL, &err));
    cr_assert(problems_of(b) == 0 && problems_of(both) == 0);
    ix = open_index(both);
    vq_searcher *s = open_searcher(ix, 30, 50);
    for (size_t i = 0; i < MORE; i++) {
        OK(vq_search(s, x + i * D, 1, 1, &id, NULL, &err));
        found += id < N + MORE;
    }
    cr_assert(found == MORE && s->shards[0].model.ngroups > 80 && s->shards[0].model.n == N + MORE);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x);
    free(a), free(b), free(both);
    test_rmdir(dir);
}

static uint32_t nearest_of(const vq_model *m, const float *y)
{
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t l = 0; l < m->nlist; l++) {
        double sum = 0.0;
        for (size_t j = 0; j < m->d_code; j++) {
            double diff = (double)y[j] - (double)m->mean[j];
            diff -= (double)m->centroids[l * (size_t)m->d_code + j];
            sum += diff * diff;
        }
        if (sum < least) least = sum, best = l;
    }
    return best;
}

/* Rows of an encoder that go elsewhere than to the nearest list, each `block` of them in one call.
 */
static size_t astray(const vq_model *m, const float *x, size_t n, size_t block, bool wrong[])
{
    vq_encoder *e;
    vq_encoded out;
    size_t count = 0;
    OK(vq_encoder_open(&e, m, VQ_MAX(block, (size_t)256), true, 2, &err));
    for (size_t i = 0; i < n; i += block) {
        OK(vq_encoder_run(e, m, x + i * D, VQ_F32, VQ_MIN(block, n - i), &out, &err));
        for (size_t r = i; r < VQ_MIN(i + block, n); r++) {
            cr_assert(out.copy_lists[r - i] != out.lists[r - i]);
            wrong[r] = out.lists[r - i] != nearest_of(m, x + r * D);
            count += wrong[r];
        }
    }
    vq_encoder_close(e);
    return count;
}

/* Who adds a few rows looks at all lists; who adds many, at once or one by one, finds nearly all
 * nearest lists among the groups: of these rows, most of which lie outside of all that a build has
 * seen, up to a thirtieth go to another list. */
Test(grouping, few_rows_and_many, .timeout = 300)
{
    enum { MANY = 3000, SINGLE = 600, FEW = 4 };
    static bool wrong[MANY], none[SINGLE];
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = points(9, MANY);
    vq_file *f;
    vq_shard s;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.nlist = LISTS, o.codec = "flat", o.no_tune = 1, o.rotation = VQ_ROTATION_NONE;
    float *base = points(1, N);
    build(path, base, N, D, VQ_F32, &o);
    for (size_t i = 0; i < MANY * D; i++) x[i] *= 1.0f + (float)(i / D % 7); /* far from all, too */
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&s, f, &err));
    const vq_model *m = &s.model;
    cr_assert(m->ngroups > 80 && m->d_code == D);
    size_t many = astray(m, x, MANY, MANY, wrong), few = 0;
    cr_assert(many > 0 && many < MANY / 20, "%zu of %d", many, MANY);
    for (size_t i = 0; i < MANY; i++) /* those that groups mislead */
        if (wrong[i] && few++ < FEW) cr_assert_eq(astray(m, x + i * D, 1, 1, none), 0);
    few = astray(m, x, SINGLE, 1, none);
    cr_assert(few < SINGLE / 20, "%zu of %d", few, SINGLE);
    for (size_t i = 0; i < SINGLE; i++) cr_assert(!none[i] || wrong[i]);
    vq_shard_close(&s);
    vq_file_close(f);
    vq_mem_free(x), vq_mem_free(base);
    free(path);
    test_rmdir(dir);
}

/* An array with a sound checksum that says what cannot be. */
Test(grouping, damage_is_found, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    build_many(path, VQ_METRIC_L2, LISTS, 2, false);
    cr_assert_eq(problems_of(path), 0);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 4, 0);
    const vq_model *m = &s->shards[0].model;
    size_t cols = VQ_GROUPS_HEAD + (size_t)m->ngroups, min = m->shape.value_min;
    float *groups = vq_alloc_f32(1, cols);
    memcpy(groups, m->groups, cols * sizeof *groups);
    vq_searcher_close(s);
    vq_close(ix);
    size_t size = vq_array_size(1, cols, min);
    uint8_t *value = vq_mem_alloc(size, 1);
    const vq_value put = {VQ_DB_MODEL, "groups", value, size};
    static const struct {
        size_t at;
        float value;
    } wrong[] = {{0, -1.0f},
                 {1, NAN},
                 {2, INFINITY},
                 {VQ_GROUPS_HEAD, 0.0f},
                 {VQ_GROUPS_HEAD, 1.5f},
                 {VQ_GROUPS_HEAD + 1, 1e9f},
                 {VQ_GROUPS_HEAD + 2, 1.0f}};
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        float was = groups[wrong[i].at];
        groups[wrong[i].at] = wrong[i].value;
        if (wrong[i].value == was) groups[wrong[i].at] += 1.0f;
        vq_array_write(value, groups, 1, cols, min);
        OK(vq_file_put(path, NULL, &put, 1, &err));
        groups[wrong[i].at] = was;
        cr_assert(problems_of(path) != 0, "%zu", i);
        FAILS(VQ_ECORRUPT, vq_open(&ix, path, 0, &err));
        cr_assert(strstr(err.text, "groups") != NULL, "%s", err.text);
    }
    vq_array_write(value, groups, 1, cols, min);
    OK(vq_file_put(path, NULL, &put, 1, &err));
    cr_assert_eq(problems_of(path), 0);
    vq_mem_free(groups), vq_mem_free(value);
    free(path);
    test_rmdir(dir);
}
