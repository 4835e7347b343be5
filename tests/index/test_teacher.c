/* SPDX-License-Identifier: Apache-2.0 */
/* Teachers: exact answers kept in a file; another model's scores. */
#include <sys/stat.h>

#include "index/teacher.h"
#include "tests/index/taught.h"

enum { SOME = 1500 };

/* Builds with a cache; the file's digest. */
static void learn(const char *path, const char *cache, const float *x, size_t n, vq_build_opts o,
                  char hex[33])
{
    o.teacher_cache = cache, o.epochs = 1;
    build(path, x, n, D, VQ_F32, &o);
    digest_of(path, hex);
}

/* Has the file been replaced since its last call? */
static bool replaced(const char *path)
{
    static struct stat last;
    struct stat now;
    cr_assert_eq(stat(path, &now), 0, "%s is not there", path);
    bool same = now.st_ino == last.st_ino && now.st_mtim.tv_sec == last.st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == last.st_mtim.tv_nsec;
    last = now;
    return !same;
}

Test(teacher, answers_are_kept)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *cache = test_path(dir, "c");
    char plain[33], hex[33];
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    vq_source_close(w.queries);
    OK(vq_source_open_array(&w.queries, w.train, 60, D, VQ_F32, &err));
    learn(path, NULL, w.x, SOME, o, plain);
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache));
    cr_assert_str_eq(hex, plain);
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert_str_eq(hex, plain);
    o.code_bytes = 4, o.loss = "kl", o.seed = 5, o.threads = 2;
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(!replaced(cache), "other options, the same questions");
    o = with_queries(&w, VQ_METRIC_COSINE);
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache), "another metric");
    w.train[7] += 1.0f;
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache), "another query");
    w.x[SOME * D - 1] += 1.0f;
    learn(path, cache, w.x, SOME, o, hex);
    cr_assert(replaced(cache), "another row");
    cr_assert_eq(count_files(dir, "c"), 1, "nothing else is left");
    end_world(&w);
    free(cache);
    free(path);
    test_rmdir(dir);
}

Test(teacher, damaged_answers_are_searched_again)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *cache = test_path(dir, "c");
    char plain[33], hex[33];
    size_t len, len_now;
    world w = make_world();
    vq_source *few;
    OK(vq_source_open_array(&few, w.train, 60, D, VQ_F32, &err));
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    o.queries = &few;
    learn(path, cache, w.x, SOME, o, plain);
    uint8_t *good = test_read(cache, &len);
    const size_t at[] = {9, 30, 72, 5000, len / 2 + 99, len - 1}; /* version .. checksum */
    const size_t cut[] = {8, 71, 72, len / 2, len - 1};
    for (size_t i = 0; i < VQ_COUNT(at) + VQ_COUNT(cut) + 1; i++) {
        uint8_t *bad = calloc(len + 1, 1);
        size_t len_bad = i < VQ_COUNT(at)                   ? len
                         : i < VQ_COUNT(at) + VQ_COUNT(cut) ? cut[i - VQ_COUNT(at)]
                                                            : len + 1;
        memcpy(bad, good, VQ_MIN(len, len_bad));
        if (i < VQ_COUNT(at)) bad[at[i]] ^= 64;
        test_write(cache, bad, len_bad);
        learn(path, cache, w.x, SOME, o, hex);
        uint8_t *now = test_read(cache, &len_now);
        cr_assert(len_now == len && memcmp(now, good, len) == 0, "case %zu is not made good", i);
        cr_assert_str_eq(hex, plain);
        free(now);
        free(bad);
    }
    free(good);
    vq_source_close(few);
    end_world(&w);
    free(cache);
    free(path);
    test_rmdir(dir);
}

Test(teacher, a_file_of_another_kind_is_left_alone)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *cache = test_path(dir, "c");
    static const char *const texts[] = {"", "VQTEAC", "my only thesis", "\x28\xb5\x2f\xfd broken"};
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    for (size_t i = 0; i < VQ_COUNT(texts); i++) {
        size_t len;
        test_write(cache, texts[i], strlen(texts[i]));
        o.teacher_cache = cache;
        FAILS(VQ_ECORRUPT, try_build(path, w.x, N, D, VQ_F32, &o));
        cr_assert(strstr(err.text, cache) != NULL, "%s", err.text);
        uint8_t *now = test_read(cache, &len);
        cr_assert(len == strlen(texts[i]) && memcmp(now, texts[i], len) == 0);
        free(now);
    }
    o.train = VQ_TRAIN_QUERY_AWARE; /* which asks a teacher too */
    FAILS(VQ_ECORRUPT, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert_eq(count_files(dir, ""), 1);
    end_world(&w);
    free(cache);
    free(path);
    test_rmdir(dir);
}

/* ---- scores from outside ---- */

enum { DEEP = 200 };

/* What a model that sees the training queries as `seen` says of its DEEP best rows, on a scale of
 * its own; free_scores() it. */
static vq_pairs scores_of(const world *w, const float *seen, float scale, float shift)
{
    size_t n = (size_t)NQ * DEEP;
    uint64_t *query = vq_mem_alloc(n, sizeof *query), *row = vq_mem_alloc(n, sizeof *row);
    float *score = vq_alloc_f32(n, 1);
    vq_source *base;
    vq_exact_opts e = {.metric = VQ_METRIC_IP, .k = DEEP, .threads = 1};
    OK(vq_source_open_array(&base, w->x, N, D, VQ_F32, &err));
    OK(vq_exact(base, seen, NQ, &e, row, score, &err));
    vq_source_close(base);
    for (size_t i = 0; i < n; i++) query[i] = i / DEEP, score[i] = scale * score[i] + shift;
    return (vq_pairs){.n = n, .query = query, .row = row, .score = score};
}

static void free_scores(vq_pairs *p)
{
    vq_mem_free((void *)(uintptr_t)p->query);
    vq_mem_free((void *)(uintptr_t)p->row);
    vq_mem_free((void *)(uintptr_t)p->score);
}

/* Queries as a model sees them that does not care for the first coordinates. */
static float *seen_otherwise(const float *q)
{
    float *seen = vq_alloc_f32(NQ, D);
    for (size_t i = 0; i < (size_t)NQ * D; i++) seen[i] = i % D < 3 ? 0.3f * q[i] : q[i];
    return seen;
}

Test(teacher, exact_scores_given_teach_as_exact_search_does)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    build(path, w.x, N, D, VQ_F32, &o);
    double exact = overlap(path, &w, VQ_METRIC_IP, VQ_NONE);
    vq_pairs given = scores_of(&w, w.train, 37.0f, -500.0f);
    o.teacher = &given;
    build(path, w.x, N, D, VQ_F32, &o);
    double as_given = overlap(path, &w, VQ_METRIC_IP, VQ_NONE);
    cr_assert_float_eq(as_given, exact, 0.01, "exact %.3f, given %.3f", exact, as_given);
    cr_assert_eq(problems_of(path), 0);
    free_scores(&given);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(teacher, codes_follow_another_model_on_unseen_queries)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const char *const losses[] = {"listnet", "margin-mse"};
    world w = make_world();
    float *train = seen_otherwise(w.train), *held = seen_otherwise(w.held);
    vq_pairs given = scores_of(&w, train, 0.01f, 3.0f);
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    build(path, w.x, N, D, VQ_F32, &o);
    double before = overlap_with(path, &w, held, VQ_METRIC_IP, VQ_NONE);
    for (size_t i = 0; i < VQ_COUNT(losses); i++) {
        o.teacher = &given, o.loss = losses[i], o.epochs = 6;
        build(path, w.x, N, D, VQ_F32, &o);
        double after = overlap_with(path, &w, held, VQ_METRIC_IP, VQ_NONE);
        cr_assert_gt(after, before + 0.05, "%s: %.3f, then %.3f", losses[i], before, after);
        cr_assert_eq(overlap(path, &w, VQ_METRIC_IP, N), 1.0, "rows are still scored exactly");
    }
    free_scores(&given);
    vq_mem_free(train), vq_mem_free(held);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(teacher, labels_stand_first)
{
    enum { NONE = UINT32_MAX };
    uint64_t query[] = {0, 0, 0, 1, 2}, row[] = {9, 3, 8, 4, 1};
    uint32_t rows[] = {3, 5, 8, 6, NONE, NONE, NONE, NONE, 7, 1, NONE, NONE};
    float scores[] = {9, 8, 7, 6, 0, 0, 0, 0, 5, 4, 0, 0};
    const uint32_t want[3][7] = {{3, 8, 9, 5, 6, NONE, NONE}, /* the teacher's order, then theirs */
                                 {NONE, NONE, NONE, NONE, NONE, NONE, NONE},
                                 {1, 7, NONE, NONE, NONE, NONE, NONE}};
    const float best[3][5] = {{9, 9, 9, 8, 6}, {0, 0, 0, 0, 0}, {5, 5, 0, 0, 0}};
    vq_pairs p = {.n = 5, .query = query, .row = row};
    vq_good_rows good = {.n = 10};
    vq_pair_lists l;
    vq_teacher t = {.k = 4, .rows = vq_mem_alloc(12, 4), .scores = vq_alloc_f32(12, 1)};
    memcpy(t.rows, rows, sizeof rows), memcpy(t.scores, scores, sizeof scores);
    OK(vq_pair_lists_make(&l, &p, "test", 3, &good, &err));
    OK(vq_teacher_label(&t, &l, &err));
    cr_assert_eq(t.k, 7);
    cr_assert(memcmp(t.rows, want, sizeof want) == 0);
    for (size_t i = 0; i < 15; i++)
        cr_assert_float_eq(t.scores[i / 5 * 7 + i % 5], best[i / 5][i % 5], 0, "%zu", i);
    cr_assert(t.labelled[0] == 3 && t.labelled[1] == 0 && t.labelled[2] == 1);
    float *x = vq_mem_alloc(3, 4);
    memcpy(x, scores, 12);
    vq_queries q = {.x = x, .n = 3};
    size_t dropped;
    vq_teacher_drop(&t, &q, 1, &dropped);
    cr_assert(dropped == 1 && q.n == 2 && t.rows[7] == 1 && t.labelled[1] == 1);
    cr_assert_float_eq(x[1], scores[2], 0);
    vq_mem_free(x);
    vq_teacher_fini(&t);
    vq_pair_lists_fini(&l);
}

/* Labels: the ten best of another model, which exact search puts elsewhere. */
Test(teacher, labels_raise_their_kind)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    float *train = seen_otherwise(w.train), *held = seen_otherwise(w.held);
    vq_pairs model = scores_of(&w, train, 1.0f, 0.0f), exact = scores_of(&w, w.train, 5.0f, 1.0f);
    uint64_t query[NQ * K], row[NQ * K];
    for (size_t i = 0; i < NQ * K; i++) {
        query[i] = i / K;
        row[i] = model.row[i / K * DEEP + i % K];
    }
    vq_pairs labels = {.n = NQ * K, .query = query, .row = row};
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    o.epochs = 6;
    build(path, w.x, N, D, VQ_F32, &o);
    double before = overlap_with(path, &w, held, VQ_METRIC_IP, VQ_NONE);
    o.positives = &labels;
    for (int given = 0; given < 2; given++) { /* beside exact search; beside its answers, given */
        o.teacher = given ? &exact : NULL;
        build(path, w.x, N, D, VQ_F32, &o);
        double after = overlap_with(path, &w, held, VQ_METRIC_IP, VQ_NONE);
        cr_assert_gt(after, before + 0.05, "%d: %.3f, then %.3f", given, before, after);
    }
    free_scores(&model), free_scores(&exact);
    vq_mem_free(train), vq_mem_free(held);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(teacher, says_nothing_of_some_queries)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    vq_pairs given = scores_of(&w, w.train, 1.0f, 0.0f), some = given;
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    vq_info info = VQ_INFO_INIT;
    some.query += 100 * DEEP, some.row += 100 * DEEP, some.score += 100 * DEEP;
    some.n = 300 * DEEP - 5; /* and one list is shorter */
    o.teacher = &some, o.epochs = 1;
    build(path, w.x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    OK(vq_index_info(ix, &info, &err));
    cr_assert(strstr(info.why, "queries 300 instead of 600") != NULL, "%s", info.why);
    vq_close(ix);
    free_scores(&given);
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(teacher, refuses_what_is_not_about_these_rows_and_queries)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    world w = make_world();
    uint64_t query[] = {0, 0, 1, 1}, row[] = {5, 6, 5, 7};
    float score[] = {1.0f, 2.0f, 3.0f, 4.0f};
    vq_pairs p = {.n = 4, .query = query, .row = row, .score = score};
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP);
    o.teacher = &p, o.epochs = 1;
    OK(try_build(path, w.x, N, D, VQ_F32, &o));
    o.teacher_cache = path;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o.teacher_cache = NULL, o.train = VQ_TRAIN_QUERY_AWARE; /* which has no epochs */
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.teacher = &p, o.nqueries = 0;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o = with_queries(&w, VQ_METRIC_IP), o.teacher = &p;
    query[3] = NQ;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    query[3] = 1, row[2] = N;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert(strstr(err.text, "pair 2 is about row 6000") != NULL, "%s", err.text);
    row[2] = 7;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o)); /* twice */
    row[2] = 5, score[1] = NAN;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    score[1] = score[0], score[3] = score[2];
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o)); /* no order */
    p.score = NULL;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    p.score = score, p.n = 2, score[1] = 9.0f; /* none to judge by */
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    o.teacher = NULL, o.positives = &p, query[1] = NQ; /* labels are held to the same */
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    cr_assert(strstr(err.text, "qrels: pair 1") != NULL, "%s", err.text);
    o.teacher = &p, o.positives = NULL, p.n = 0;
    FAILS(VQ_EINVAL, try_build(path, w.x, N, D, VQ_F32, &o));
    end_world(&w);
    free(path);
    test_rmdir(dir);
}

Test(teacher, judges_come_from_everywhere)
{
    enum { ASKED = 23, JUDGES = 4 };
    float x[ASKED * 2], scores[ASKED], lowest[ASKED];
    uint32_t rows[ASKED], seen[ASKED] = {0};
    for (uint32_t q = 0; q < ASKED; q++) {
        x[2 * q] = x[2 * q + 1] = scores[q] = lowest[q] = (float)q;
        rows[q] = q;
    }
    vq_teacher t = {.k = 1, .rows = rows, .scores = scores, .lowest = lowest};
    vq_queries queries = {.x = x, .n = ASKED};
    vq_teacher_part(&t, &queries, 2, JUDGES);
    for (uint32_t q = 0; q < ASKED; q++) {
        seen[rows[q]]++;
        cr_assert(x[2 * q] == (float)rows[q] && x[2 * q + 1] == (float)rows[q] &&
                      scores[q] == (float)rows[q] && lowest[q] == (float)rows[q],
                  "query %u: its parts stay together", q);
    }
    for (uint32_t q = 0; q < ASKED; q++) cr_assert_eq(seen[q], 1u);
    const uint32_t judges[JUDGES] = {4, 10, 16, 22};
    for (uint32_t j = 0; j < JUDGES; j++)
        cr_assert_eq(rows[ASKED - JUDGES + j], judges[j], "judge %u: %u", j,
                     rows[ASKED - JUDGES + j]);
}
