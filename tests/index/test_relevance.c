/* SPDX-License-Identifier: Apache-2.0 */
/* The relevance cut: what judged queries teach, what a search leaves out, what becomes of it. */
#include "index/relevance.h"

#include "index/layout.h"
#include "src/train/logistic.h"
#include "tests/index/live.h"

enum { DEPTH = 10, TRAIN = 2000, ASKED = 600 };

/* ---- a simulated world ---- */

typedef struct world { /* nq queries with DEPTH answers each */
    size_t nq;
    uint64_t *ids, *first, *docs;
    float *scores;
    int32_t *grades;
} world;

/* Scores of a query lie around a level of its own, which says nothing; what is relevant stands out
 * from the rest by about as much as the rest spreads. */
static world make_world(uint64_t seed, size_t nq, bool larger)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    world w = {.nq = nq};
    w.ids = vq_mem_alloc(nq, DEPTH * sizeof *w.ids);
    w.scores = vq_mem_alloc(nq, DEPTH * sizeof *w.scores);
    w.first = vq_mem_alloc(nq + 1, sizeof *w.first);
    w.docs = vq_mem_alloc(nq, DEPTH * sizeof *w.docs);
    w.grades = vq_mem_alloc(nq, DEPTH * sizeof *w.grades);
    w.first[0] = 0;
    for (size_t q = 0; q < nq; q++) {
        double level = 10.0 + 3.0 * vq_rng_normal(&r), near[DEPTH];
        bool relevant[DEPTH];
        uint64_t at = w.first[q];
        for (size_t i = 0; i < DEPTH; i++) {
            relevant[i] = vq_rng_below(&r, 5) == 0;
            near[i] = level + (relevant[i] ? 2.0 : 0.0) + 0.7 * vq_rng_normal(&r);
        }
        for (size_t i = 0; i < DEPTH; i++) { /* best first */
            size_t best = i;
            for (size_t j = i; j < DEPTH; j++)
                if (near[j] > near[best]) best = j;
            double x = near[i];
            bool y = relevant[i];
            near[i] = near[best], relevant[i] = relevant[best];
            near[best] = x, relevant[best] = y;
            w.ids[q * DEPTH + i] = i;
            double far = 40.0 - near[i];
            w.scores[q * DEPTH + i] = (float)(larger ? near[i] : far * far);
            w.docs[at] = i;
            w.grades[at++] = relevant[i];
        }
        w.first[q + 1] = at;
    }
    return w;
}

static void free_world(world *w)
{
    vq_mem_free(w->ids), vq_mem_free(w->scores), vq_mem_free(w->first);
    vq_mem_free(w->docs), vq_mem_free(w->grades);
}

static vq_status learn(const world *w, bool larger, float *row)
{
    const vq_judgements j = {.nq = w->nq, .first = w->first, .ids = w->docs, .grades = w->grades};
    vq_relevance_job job = {.ids = w->ids,
                            .scores = w->scores,
                            .nq = w->nq,
                            .depth = DEPTH,
                            .larger = larger,
                            .judged = &j};
    return vq_relevance_learn(&job, row, &err);
}

/* F1 over all answers of a world of keeping those for which least or score says so. */
static double f1_of(const world *w, const float *row, bool larger, bool learnt)
{
    size_t kept = 0, right = 0, relevant = 0;
    vq_relevance r = vq_relevance_of(row);
    for (size_t q = 0; q < w->nq; q++) {
        float p[DEPTH];
        const float *scores = w->scores + q * DEPTH;
        vq_relevance_apply(row, scores, DEPTH, larger, p);
        for (int i = 0; i < DEPTH; i++) {
            bool is = w->grades[w->first[q] + (uint64_t)i] > 0;
            bool keep = learnt   ? p[i] >= r.best
                        : larger ? scores[i] >= r.score
                                 : scores[i] <= r.score;
            cr_assert(p[i] >= 0.0f && p[i] <= 1.0f && (i == 0 || p[i] <= p[i - 1]), "%g",
                      (double)p[i]);
            relevant += is, kept += keep, right += keep && is;
        }
    }
    return 2.0 * (double)right / (double)(kept + relevant);
}

Test(relevance, beats_a_fixed_score_on_queries_not_seen)
{
    for (int larger = 0; larger < 2; larger++) {
        float row[VQ_RELEVANCE_COLS];
        world taught = make_world(1, TRAIN, larger), unseen = make_world(2, TRAIN, larger);
        OK(learn(&taught, larger, row));
        vq_relevance r = vq_relevance_of(row);
        cr_assert(r.queries == TRAIN * 9 / 10 && r.judges == TRAIN / 10 && r.depth == DEPTH);
        double cut = f1_of(&unseen, row, larger, true), fixed = f1_of(&unseen, row, larger, false);
        cr_assert(cut > fixed + 0.1, "%g by what was learnt, %g by score", cut, fixed);
        cr_assert(fabs(cut - (double)r.f1) < 0.05 && fabs(fixed - (double)r.score_f1) < 0.05,
                  "held out: %g, %g", (double)r.f1, (double)r.score_f1);
        free_world(&taught);
        free_world(&unseen);
    }
}

/* Of a hundred answers that are said to be relevant with .7, seventy are. */
Test(relevance, probabilities_are_shares)
{
    enum { BINS = 10 };
    float row[VQ_RELEVANCE_COLS];
    double said[BINS] = {0};
    size_t n[BINS] = {0}, are[BINS] = {0};
    world taught = make_world(3, TRAIN, true), unseen = make_world(4, TRAIN, true);
    OK(learn(&taught, true, row));
    for (size_t q = 0; q < unseen.nq; q++) {
        float p[DEPTH];
        vq_relevance_apply(row, unseen.scores + q * DEPTH, DEPTH, true, p);
        for (int i = 0; i < DEPTH; i++) {
            int bin = (int)fminf(p[i] * BINS, BINS - 1);
            n[bin]++, said[bin] += (double)p[i];
            are[bin] += unseen.grades[unseen.first[q] + (uint64_t)i] > 0;
        }
    }
    for (int b = 0; b < BINS; b++)
        if (n[b] > 300)
            cr_assert(fabs(said[b] - (double)are[b]) / (double)n[b] < 0.08, "%g said, %g are",
                      said[b] / (double)n[b], (double)are[b] / (double)n[b]);
    free_world(&taught);
    free_world(&unseen);
}

/* ---- what is refused ---- */

Test(relevance, judgements_that_teach_nothing)
{
    float row[VQ_RELEVANCE_COLS];
    world w = make_world(5, 100, true);
    size_t total = w.first[100];
    for (size_t i = 0; i < total; i++) w.grades[i] = 0;
    FAILS(VQ_EINVAL, learn(&w, true, row));
    cr_assert(strstr(err.text, "nothing is judged relevant") != NULL, "%s", err.text);
    for (size_t i = 0; i < total; i++) w.grades[i] = 1;
    FAILS(VQ_EINVAL, learn(&w, true, row));
    cr_assert(strstr(err.text, "are relevant: there is nothing to cut") != NULL, "%s", err.text);
    for (size_t i = 0; i < total; i++) w.grades[i] = i / DEPTH % 10 != 9 && i % 3 == 0;
    FAILS(VQ_EINVAL, learn(&w, true, row));
    cr_assert(strstr(err.text, "of 10 queries held out none") != NULL, "%s", err.text);
    for (size_t i = 0; i < total; i++) w.docs[i] += 1000;
    FAILS(VQ_EINVAL, learn(&w, true, row));
    cr_assert(strstr(err.text, "none is among the first 10 answers") != NULL, "%s", err.text);
    for (size_t i = 0; i <= 100; i++) w.first[i] = 0;
    FAILS(VQ_EINVAL, learn(&w, true, row));
    cr_assert(strstr(err.text, "none of 100 queries is judged") != NULL, "%s", err.text);
    free_world(&w);
    w = make_world(6, 19, true);
    FAILS(VQ_EINVAL, learn(&w, true, row));
    cr_assert(strstr(err.text, "19 judged queries") != NULL, "%s", err.text);
    free_world(&w);
}

Test(relevance, damaged_rows)
{
    float row[VQ_RELEVANCE_COLS], bad[VQ_RELEVANCE_COLS];
    size_t size = vq_array_size(1, VQ_RELEVANCE_COLS, 2048);
    uint8_t *page = vq_mem_alloc(1, size + 64), *value = page + 16; /* as LMDB places it */
    const float *got;
    world w = make_world(7, 100, true);
    OK(learn(&w, true, row));
    vq_array_write(value, row, 1, VQ_RELEVANCE_COLS, 2048);
    OK(vq_relevance_parse(value, size, &got, &err));
    cr_assert(memcmp(got, row, sizeof row) == 0);
    for (size_t len = 0; len < 48 + sizeof row; len += 13)
        FAILS(VQ_ECORRUPT, vq_relevance_parse(value, len, &got, &err));
    for (int i = 0; i < VQ_RELEVANCE_COLS; i++) {
        memcpy(bad, row, sizeof bad);
        bad[i] = NAN;
        FAILS(VQ_ECORRUPT, vq_relevance_check(bad, &err));
    }
    static const struct {
        int at;
        float x;
    } wrong[] = {{0, 2},    {1, 0},  {1, 1.5f},
                 {1, 2000}, {2, -1}, {4, 1.5f},
                 {6, -1},   {7, 2},  {VQ_RELEVANCE_COLS - 1, 0}};
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        memcpy(bad, row, sizeof bad);
        bad[wrong[i].at] = wrong[i].x;
        FAILS(VQ_ECORRUPT, vq_relevance_check(bad, &err));
    }
    vq_mem_free(page);
    free_world(&w);
}

/* ---- in an index ---- */

/* Queries are stored rows, moved; what is relevant is the row itself and the one after. */
typedef struct asked {
    float *x;
    uint64_t first[ASKED + 1], ids[2 * ASKED];
    int32_t grades[2 * ASKED];
} asked;

static void ask(asked *a, const float *rows, size_t n, size_t d)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 21);
    a->x = vq_alloc_f32(ASKED, d);
    for (size_t i = 0; i < ASKED; i++) {
        size_t row = vq_rng_below(&r, n - 1);
        for (size_t j = 0; j < d; j++)
            a->x[i * d + j] = rows[row * d + j] + 0.3f * (float)vq_rng_normal(&r);
        a->first[i] = 2 * i;
        a->ids[2 * i] = row, a->ids[2 * i + 1] = row + 1;
        a->grades[2 * i] = a->grades[2 * i + 1] = 1;
    }
    a->first[ASKED] = 2 * ASKED;
}

static vq_status calibrate(const char *path, const asked *a, size_t d, uint32_t threads)
{
    vq_source *src;
    const vq_judgements j = {.nq = ASKED, .first = a->first, .ids = a->ids, .grades = a->grades};
    vq_relevance_opts o = VQ_RELEVANCE_OPTS_INIT;
    OK(vq_source_open_array(&src, a->x, ASKED, (uint32_t)d, VQ_F32, &err));
    o.queries = &src, o.nqueries = 1, o.judged = &j, o.threads = threads;
    vq_status rc = vq_relevance_calibrate(path, &o, &err);
    vq_source_close(src);
    return rc;
}

Test(relevance, stored_and_searched, .timeout = 120)
{
    enum { N = 1000, D = 8, K = 5 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *copy = test_path(dir, "y.vq");
    char before[33], after[33];
    float *x = clusters(1, N, D), *q = vq_alloc_f32(1, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    asked a;
    o.nlist = 8;
    build(path, x, N, D, VQ_F32, &o);
    ask(&a, x, N, D);
    digest_of(path, before);
    vq_index *ix = open_index(path);
    vq_searcher *old = open_searcher(ix, 0, 0), *s;
    uint64_t ids[2 * K], plain[DEPTH];
    float scores[2 * K], p[2 * K], of_plain[DEPTH], again[DEPTH];
    vq_relevance r = VQ_RELEVANCE_INIT;
    FAILS(VQ_ENOENT, vq_relevance_info(ix, &r, &err));
    FAILS(VQ_EUNSUPPORTED, vq_search_relevant(old, a.x, 2, K, 0.5f, ids, scores, p, &err));
    cr_assert(strstr(err.text, "vq calibrate") != NULL, "%s", err.text);
    OK(calibrate(path, &a, D, 1));
    digest_of(path, after);
    cr_assert_str_eq(before, after);
    cr_assert_eq(problems_of(path), 0);
    OK(vq_relevance_info(ix, &r, &err));
    cr_assert(r.queries + r.judges == ASKED && r.depth == DEPTH && r.best > 0 && r.best < 1);
    /* a searcher that was open moves on; it answers as vq_search does, cut */
    OK(vq_search_relevant(old, a.x, 2, K, 0.0f, ids, scores, p, &err));
    for (size_t i = 0; i < 2; i++) {
        OK(vq_search(old, a.x + i * D, 1, DEPTH, plain, of_plain, &err));
        cr_assert(memcmp(plain, ids + i * K, K * sizeof *ids) == 0);
        cr_assert(memcmp(of_plain, scores + i * K, K * sizeof *scores) == 0);
        for (int k = 1; k < K; k++) cr_assert(p[i * K + (size_t)k] <= p[i * K + (size_t)k - 1]);
    }
    size_t left = 0, were = 0;
    for (size_t i = 0; i < ASKED; i++) {
        OK(vq_search_relevant(old, a.x + i * D, 1, DEPTH, 0.0f, plain, of_plain, again, &err));
        OK(vq_search_relevant(old, a.x + i * D, 1, K, r.best, ids, scores, p, &err));
        for (int k = 0; k < K; k++) {
            bool kept = again[k] >= r.best;
            cr_assert(kept ? ids[k] == plain[k] && p[k] == again[k]
                           : ids[k] == VQ_NO_ID && isnan(scores[k]) && isnan(p[k]));
            left += kept, were++;
        }
    }
    cr_assert(left > were / 10 && left < were * 9 / 10, "%zu of %zu", left, were);
    OK(vq_search_relevant(old, a.x, 1, K, r.best, ids, NULL, NULL, &err));
    FAILS(VQ_EINVAL, vq_search_relevant(old, a.x, 1, K, 1.5f, ids, scores, p, &err));
    vq_index *both[] = {ix, ix};
    OK(vq_searcher_open_many(&s, both, 2, NULL, &err));
    FAILS(VQ_EUNSUPPORTED, vq_search_relevant(s, a.x, 1, K, 0.5f, ids, scores, p, &err));
    vq_searcher_close(s);
    vq_searcher_close(old);
    /* copies and changes keep it, with any number of threads it is the same; trained anew it goes
     */
    OK(vq_compact(path, copy, NULL, &err));
    vq_writer *w;
    OK(vq_writer_open(&w, copy, NULL, &err));
    OK(vq_writer_delete(w, (uint64_t[]){7}, NULL, 1, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    vq_index *other = open_index(copy);
    vq_relevance t = VQ_RELEVANCE_INIT;
    OK(vq_relevance_info(other, &t, &err));
    cr_assert(memcmp(&t, &r, sizeof t) == 0);
    OK(calibrate(path, &a, D, 3));
    OK(vq_relevance_info(ix, &t, &err));
    cr_assert(memcmp(&t, &r, sizeof t) == 0);
    vq_source *src;
    OK(vq_source_open_index(&src, other, &err));
    o.force = 1;
    OK(vq_build(copy, src, &o, &err));
    vq_source_close(src);
    vq_close(other);
    other = open_index(copy);
    FAILS(VQ_ENOENT, vq_relevance_info(other, &t, &err));
    vq_close(other);
    vq_close(ix);
    vq_mem_free(a.x), vq_mem_free(x), vq_mem_free(q);
    free(path), free(copy);
    test_rmdir(dir);
}

/* A sound index, of which nobody knows what is relevant. */
static void not_calibrated(const char *path)
{
    vq_relevance r = VQ_RELEVANCE_INIT;
    vq_index *ix = open_index(path);
    FAILS(VQ_ENOENT, vq_relevance_info(ix, &r, &err));
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
}

Test(relevance, of_a_file_that_is_wrong)
{
    enum { N = 300, D = 8 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D), row[VQ_RELEVANCE_COLS] = {0};
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    asked a;
    vq_index *ix;
    build(path, x, N, D, VQ_F32, &o);
    ask(&a, x, N, D);
    FAILS(VQ_EINVAL, calibrate(path, &a, D + 1, 1));
    a.first[3] = 100; /* and then back */
    FAILS(VQ_EINVAL, calibrate(path, &a, D, 1));
    a.first[3] = 6;
    OK(calibrate(path, &a, D, 1));
    size_t size = vq_array_size(1, VQ_RELEVANCE_COLS, 2048);
    uint8_t *value = vq_mem_alloc(1, size);
    const vq_value put = {VQ_DB_MODEL, VQ_RELEVANCE_KEY, value, size};
    vq_array_write(value, row, 1, VQ_RELEVANCE_COLS, 2048); /* of no kind that is known */
    OK(vq_file_put(path, NULL, &put, 1, &err));
    not_calibrated(path);
    vq_array_write(value, row, 2, VQ_RELEVANCE_COLS / 2, 2048); /* of another shape */
    OK(vq_file_put(path, NULL, &put, 1, &err));
    not_calibrated(path);
    row[0] = 1;
    vq_array_write(value, row, 1, VQ_RELEVANCE_COLS, 2048); /* and no depth */
    OK(vq_file_put(path, NULL, &put, 1, &err));
    FAILS(VQ_ECORRUPT, vq_open(&ix, path, 0, &err));
    cr_assert(strstr(err.text, "relevance") != NULL && problems_of(path) > 0, "%s", err.text);
    value[100] ^= 1;
    OK(vq_file_put(path, NULL, &put, 1, &err));
    FAILS(VQ_ECORRUPT, vq_open(&ix, path, 0, &err));
    cr_assert(strstr(err.text, "checksum") != NULL, "%s", err.text);
    vq_mem_free(value), vq_mem_free(a.x), vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* More queries than are searched at a time, more answers than were looked at, fewer than that. */
Test(relevance, searched_as_vq_search_does, .timeout = 120)
{
    enum { N = 1000, D = 8, Q = 1100, BAD = 1050, DEEP = 15 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D), *q = vq_alloc_f32(Q, D);
    uint64_t *ids = vq_mem_alloc(Q, DEEP * sizeof *ids), plain[DEEP];
    float *scores = vq_mem_alloc(Q, DEEP * sizeof *scores), of_plain[DEEP], p[DEEP], again[DEEP];
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_relevance r = VQ_RELEVANCE_INIT;
    asked a;
    o.nlist = 8;
    build(path, x, N, D, VQ_F32, &o);
    ask(&a, x, N, D);
    OK(calibrate(path, &a, D, 1));
    for (size_t i = 0; i < Q; i++) memcpy(q + i * D, a.x + i % ASKED * D, D * sizeof *q);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 0, 0);
    OK(vq_relevance_info(ix, &r, &err));
    FAILS(VQ_EINVAL, vq_search_relevant(s, q, 1, 0, 0.5f, ids, scores, NULL, &err));
    FAILS(VQ_EINVAL, vq_search_relevant(s, q, 1, VQ_NONE, 0.5f, ids, scores, NULL, &err));
    memset(ids, 7, Q * DEEP * sizeof *ids);
    q[BAD * D + 1] = NAN;
    FAILS(VQ_EINVAL, vq_search_relevant(s, q, Q, DEEP, 0.5f, ids, scores, NULL, &err));
    cr_assert(strstr(err.text, "query 1050:") != NULL && ids[0] == 0x0707070707070707u, "%s",
              err.text);
    q[BAD * D + 1] = 0.0f;
    OK(vq_search_relevant(s, q, Q, DEEP, r.best, ids, scores, NULL, &err));
    for (size_t i = 0; i < Q; i += 5) {
        OK(vq_search(s, q + i * D, 1, DEEP, plain, of_plain, &err));
        OK(vq_search_relevant(s, q + i * D, 1, DEEP, 0.0f, plain, of_plain, p, &err));
        for (size_t k = 0; k < DEEP; k++)
            cr_assert_eq(ids[i * DEEP + k], p[k] >= r.best ? plain[k] : VQ_NO_ID);
    }
    OK(vq_searcher_filter(s, VQ_FILTER_ALLOW, (uint64_t[]){3, 500, 900}, NULL, 3, &err));
    OK(vq_search(s, q, 1, DEEP, plain, of_plain, &err));
    OK(vq_search_relevant(s, q, 1, DEEP, 0.0f, ids, scores, again, &err));
    for (size_t k = 0; k < DEEP; k++) {
        cr_assert_eq(ids[k], plain[k]);
        cr_assert(k < 3 ? plain[k] != VQ_NO_ID && again[k] >= 0.0f
                        : plain[k] == VQ_NO_ID && isnan(again[k]));
    }
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(a.x), vq_mem_free(x), vq_mem_free(q), vq_mem_free(ids), vq_mem_free(scores);
    free(path);
    test_rmdir(dir);
}

Test(relevance, of_scores_that_overflow)
{
    float row[VQ_RELEVANCE_COLS], p[2];
    const float scores[2] = {INFINITY, 1.0f};
    world w = make_world(8, 100, true);
    OK(learn(&w, true, row));
    vq_relevance_apply(row, scores, 2, true, p);
    cr_assert(p[0] == 0.0f && p[1] == 0.0f, "%g, %g", (double)p[0], (double)p[1]);
    free_world(&w);
}

static int replace(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    if (strcmp(phase, "search") == 0) OK(vq_compact(ctx, NULL, NULL, &err));
    return 0;
}

/* What was learnt on a file is not stored in another one. */
Test(relevance, replaced_meanwhile)
{
    enum { N = 300, D = 8 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_source *src;
    asked a;
    build(path, x, N, D, VQ_F32, &o);
    ask(&a, x, N, D);
    const vq_judgements j = {.nq = ASKED, .first = a.first, .ids = a.ids, .grades = a.grades};
    vq_relevance_opts r = VQ_RELEVANCE_OPTS_INIT;
    OK(vq_source_open_array(&src, a.x, ASKED, D, VQ_F32, &err));
    r.queries = &src, r.nqueries = 1, r.judged = &j;
    r.progress = replace, r.progress_ctx = path;
    FAILS(VQ_EBUSY, vq_relevance_calibrate(path, &r, &err));
    vq_source_close(src);
    not_calibrated(path);
    vq_mem_free(a.x), vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}
