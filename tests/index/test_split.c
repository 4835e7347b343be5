/* SPDX-License-Identifier: Apache-2.0 */
/* Lists that grow too large give vectors to new lists, and nothing else changes. */
#include "index/split.h"

#include "index/update.h"
#include "tests/index/fixture.h"

enum { N = 3000, D = 32, LISTS = 30, NEW = 2400, NQ = 100 };

static char *dir, *path;

static void open_dir(void)
{
    dir = test_tmpdir(), path = test_path(dir, "x.vq");
}

static void close_dir(void)
{
    free(path);
    test_rmdir(dir);
}

TestSuite(split, .init = open_dir, .fini = close_dir);

/* Of a place where there was nothing: twelve clusters far away. */
static float *far_away(uint64_t seed, size_t n)
{
    float *x = clusters(seed, n, D);
    for (size_t i = 0; i < n * D; i++) x[i] = 0.5f * x[i] + (i % D < 4 ? 6.0f : 0.0f);
    return x;
}

static void make(const char *codec, uint32_t metric, uint32_t store, uint32_t copies)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = codec, o.metric = metric, o.store = store, o.nlist = LISTS, o.copies = copies;
    o.no_tune = 1, o.force = 1;
    build_clusters(path, 1, N, D, &o);
}

typedef struct batch { /* a writer's parts, so that a commit can be had without lists that split */
    vq_change *change;
    vq_shard shard;
    vq_pending pending;
} batch;

/* n rows under ids from `first` on. */
static void gather(batch *w, const float *x, size_t n, uint64_t first)
{
    static uint64_t ids[NEW];
    vq_source *src;
    vq_ticker ticker = {0};
    for (size_t i = 0; i < n; i++) ids[i] = first + i;
    OK(vq_change_begin(&w->change, path, 0, &err));
    OK(vq_shard_open(&w->shard, vq_change_file(w->change), &err));
    OK(vq_pending_init(&w->pending, &w->shard, 2, &err));
    OK(vq_source_open_array(&src, x, n, D, VQ_F32, &err));
    OK(vq_pending_put(&w->pending, src, &(vq_id_list){.ids = ids, .n = n}, true, &ticker, &err));
    vq_source_close(src);
}

static void write_out(batch *w, vq_update *u)
{
    OK(vq_update_plan(u, &w->pending, &err));
    OK(vq_change_apply(w->change, vq_update_write, u, &err));
}

static void finish(batch *w, vq_update *u)
{
    vq_update_fini(u);
    vq_pending_fini(&w->pending);
    vq_shard_close(&w->shard);
    vq_change_end(w->change);
}

static vq_write_report add(const float *x, size_t n, uint64_t first)
{
    static uint64_t ids[NEW];
    vq_writer *w;
    vq_source *src;
    vq_write_report r = VQ_WRITE_REPORT_INIT;
    for (size_t i = 0; i < n; i++) ids[i] = first + i;
    OK(vq_source_open_array(&src, x, n, D, VQ_F32, &err));
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_upsert(w, src, ids, NULL, n, &err));
    OK(vq_writer_commit(w, &r, &err));
    vq_writer_close(w);
    vq_source_close(src);
    return r;
}

typedef struct seen {
    uint32_t nlist, most; /* lists, and vectors of the largest */
    uint32_t empty;
} seen;

static seen look(void)
{
    vq_file *f;
    vq_shard s;
    seen n = {0};
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&s, f, &err));
    n.nlist = s.model.nlist;
    for (uint32_t l = 0; l < n.nlist; l++) {
        OK(vq_shard_load(&s, l, &err));
        n.most = VQ_MAX(n.most, s.lists[l].n);
        n.empty += s.lists[l].n == 0;
    }
    vq_shard_close(&s);
    vq_file_close(f);
    return n;
}

/* Every row is found under its id: exact search, which a searcher that was there before does. */
static void holds(vq_searcher *s, const float *x, size_t n, uint64_t first, uint32_t metric)
{
    uint64_t id;
    float row[D], score;
    for (size_t i = 0; i < n; i += 17) {
        OK(vq_search(s, x + i * D, 1, 1, &id, &score, &err));
        OK(vq_get(s, first + i, row, &err));
        for (size_t j = 0; j < D; j++) cr_assert_float_eq(row[j], x[i * D + j], 0.05);
        cr_assert(metric == VQ_METRIC_IP || id == first + i, "row %zu", i);
    }
}

static void grow(const char *codec, uint32_t metric, uint32_t store, uint32_t copies, size_t by)
{
    float *x = far_away(2, NEW);
    for (size_t i = 0; i < NEW * D && store == VQ_I8; i++) x[i] *= 0.4f; /* what it can hold */
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    vq_searcher *all;
    uint64_t added = 0;
    make(codec, metric, store, copies);
    vq_index *ix = open_index(path);
    so.recall = 1.0f;
    OK(vq_searcher_open(&all, ix, &so, &err));
    for (size_t i = 0; i < NEW; i += by) {
        vq_write_report r = add(x + i * D, by, N + i);
        cr_assert(r.added == by && r.replaced == 0 && r.deleted == 0 && r.n == N + i + by);
        if (i % 600 == 0) holds(all, x, i + by, N, metric);
        added += r.added;
    }
    cr_assert_eq(problems_of(path), 0, "%s", codec);
    holds(all, x, NEW, N, metric);
    seen n = look();
    uint32_t mean = (N + NEW) / n.nlist;
    cr_assert(n.nlist > LISTS && n.nlist < 2 * LISTS + 64, "%s: %u lists", codec, n.nlist);
    cr_assert(n.most < 5 * mean, "%s: %u in one of %u lists", codec, n.most, n.nlist);
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    cr_assert(info.nlist == n.nlist && info.added == added);
    vq_searcher_close(all);
    vq_close(ix);
    vq_mem_free(x);
}

Test(split, lists_that_grow, .timeout = 300)
{
    grow("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES, NEW);
    grow("flat", VQ_METRIC_IP, VQ_F16, VQ_COPIES_NO, 600);
    grow("saq", VQ_METRIC_COSINE, VQ_F32, VQ_COPIES_YES, 300);
    grow("pq8", VQ_METRIC_L2, VQ_I8, VQ_COPIES_YES, 100);
}

/* Of what came a search finds more in less. */
Test(split, searches_read_less, .timeout = 300)
{
    float *x = far_away(2, NEW + NQ), *q = x + (size_t)NEW * D;
    cost at[2];
    float drift[2];
    for (int split = 0; split < 2; split++) {
        batch w;
        vq_update u = {0};
        make("sq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_NO);
        gather(&w, x, NEW, N);
        if (split == 1) OK(vq_pending_split(&w.pending, &err));
        write_out(&w, &u);
        drift[split] = vq_model_drift(&u.model);
        finish(&w, &u);
        at[split] = cost_of(path, q, NQ, split == 0 ? 3 : 2);
        cr_assert_eq(problems_of(path), 0);
    }
    cr_assert(at[1].vectors < at[0].vectors && at[1].recall > at[0].recall,
              "%g found in %g vectors, in place of %g in %g", at[1].recall, at[1].vectors,
              at[0].recall, at[0].vectors);
    cr_assert_lt(drift[1], 0.8f * drift[0], "%g in place of %g", (double)drift[1],
                 (double)drift[0]);
    vq_mem_free(x);
}

/* A commit that fails leaves the batch as it was. */
Test(split, is_taken_back, .timeout = 300)
{
    float *x = far_away(2, NEW);
    char before[33], after[33];
    for (int split = 0; split < 2; split++) {
        batch w;
        vq_update u = {0};
        make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES);
        cr_assert_eq(add(x, 200, N).n, N + 200); /* some that may move are in the file */
        uint32_t nlist = look().nlist;
        gather(&w, x + 200 * D, NEW - 200, N + 200);
        if (split == 1) {
            OK(vq_pending_split(&w.pending, &err));
            cr_assert(w.pending.split.nlist > nlist && w.pending.n > NEW - 200);
            cr_assert_gt(w.pending.split.were, 0.0);
            vq_pending_unsplit(&w.pending);
            cr_assert(w.pending.split.nlist == 0 && w.pending.n == NEW - 200);
        }
        write_out(&w, &u);
        cr_assert_eq(u.replaced, 0);
        finish(&w, &u);
        cr_assert_eq(look().nlist, nlist);
        digest_of(path, split == 0 ? before : after);
    }
    cr_assert_str_eq(before, after);
    vq_mem_free(x);
}

/* Wherever memory ends, the batch is as it was. */
Test(split, no_memory, .timeout = 300)
{
    enum { FEW = 2000 };
    float *x = far_away(2, FEW);
    batch w;
    vq_update u = {0};
    vq_status rc = VQ_ENOMEM;
    uint64_t fails = 0;
    make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES);
    cr_assert_eq(add(x, 100, N).n, N + 100);
    gather(&w, x + 100 * D, FEW - 100, N + 100);
    for (uint64_t n = 1; rc != VQ_OK; n += 1 + n / 20) {
        vq_mem_fail_after(n);
        rc = vq_pending_split(&w.pending, &err);
        vq_mem_fail_after(0);
        if (rc == VQ_OK) break;
        cr_assert_eq(rc, VQ_ENOMEM);
        cr_assert(w.pending.split.nlist == 0 && w.pending.n == FEW - 100);
        fails++;
    }
    cr_assert(fails > 10 && w.pending.split.nlist > LISTS, "%llu", (unsigned long long)fails);
    write_out(&w, &u);
    finish(&w, &u);
    cr_assert_eq(problems_of(path), 0);
    vq_mem_free(x);
}

/* Lists that have lost all they had are what others give to. */
Test(split, empty_lists_are_used_anew, .timeout = 300)
{
    float *x = far_away(2, NEW);
    static uint64_t ids[N];
    vq_writer *w;
    vq_write_report r = VQ_WRITE_REPORT_INIT;
    make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_NO);
    for (uint64_t i = 0; i < N - 10; i++) ids[i] = i;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, ids, NULL, N - 10, &err));
    OK(vq_writer_commit(w, &r, &err));
    vq_writer_close(w);
    cr_assert(r.deleted == N - 10 && look().empty >= LISTS - 10);
    r = add(x, NEW, N);
    seen n = look();
    /* More than those that were empty may be wanted, but not as many as if they had not been there.
     */
    cr_assert(r.n == NEW + 10 && n.nlist < LISTS + LISTS / 2 && n.empty < 10, "%u lists, %u empty",
              n.nlist, n.empty);
    cr_assert_eq(problems_of(path), 0);
    vq_mem_free(x);
}

/* Without rows nothing can be encoded anew, and rows that are all the same lie in one list. */
Test(split, what_cannot_be_split, .timeout = 300)
{
    float *x = far_away(2, NEW);
    make("pq8", VQ_METRIC_L2, VQ_ELEM_NONE, VQ_COPIES_NO);
    (void)add(x, NEW, N);
    cr_assert_eq(look().nlist, LISTS);
    make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES);
    for (size_t i = D; i < NEW * D; i++) x[i] = x[i - D];
    (void)add(x, NEW, N);
    seen n = look();
    cr_assert(n.most >= NEW, "%u in the largest of %u lists", n.most, n.nlist);
    cr_assert_eq(problems_of(path), 0);
    vq_mem_free(x);
}
