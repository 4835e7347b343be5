/* SPDX-License-Identifier: Apache-2.0 */
/* Lists that a batch leaves almost empty give what they have to others, and nothing is lost. */
#include "index/split.h"
#include "index/update.h"
#include "tests/index/fixture.h"

enum { N = 4000, D = 32, LISTS = 40, NQ = 100 };

static char *dir, *path;
static float *x; /* N x D */
static bool there[N];

static void open_dir(void)
{
    dir = test_tmpdir(), path = test_path(dir, "x.vq");
    x = clusters(1, N, D);
    memset(there, 1, sizeof there);
}

static void close_dir(void)
{
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

TestSuite(dissolve, .init = open_dir, .fini = close_dir);

static void make(const char *codec, uint32_t metric, uint32_t store, uint32_t copies)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = codec, o.metric = metric, o.store = store, o.nlist = LISTS, o.copies = copies;
    o.no_tune = 1, o.force = 1;
    build_clusters(path, 1, N, D, &o);
    memset(there, 1, sizeof there);
}

typedef struct seen {
    uint32_t n, live, few, lists[N]; /* lists that hold something; that hold few; of each id */
} seen;

static void look(seen *n)
{
    vq_file *f;
    vq_shard s;
    memset(n, 0, sizeof *n);
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&s, f, &err));
    for (uint32_t l = 0; l < s.model.nlist; l++) {
        OK(vq_shard_load(&s, l, &err));
        const vq_list_view *v = &s.lists[l];
        n->n += v->n;
        n->live += v->n + v->copies > 0;
        n->few += v->n + v->copies > 0 && v->n + v->copies < 5;
        for (uint32_t i = 0; i < v->n; i++) {
            uint64_t id = vq_le64(v->chunks[i / s.capacity].labels + 8 * (i % s.capacity));
            cr_assert(id < N && there[id], "%llu", (unsigned long long)id);
            n->lists[id] = l;
        }
    }
    cr_assert_eq(vq_shard_live(&s), n->live);
    vq_shard_close(&s);
    vq_file_close(f);
}

/* The ids of a third of the lists, but for two in each. */
static size_t choose(uint64_t *ids)
{
    static seen at;
    static uint32_t left[LISTS];
    size_t n = 0;
    look(&at);
    memset(left, 0, sizeof left);
    for (uint64_t i = 0; i < N; i++)
        if (at.lists[i] % 3 == 0 && left[at.lists[i]]++ >= 2) ids[n++] = i;
    return n;
}

/* ..of lists that lie together, so that those with copies in them shrink, too. */
static size_t choose_place(uint64_t *ids)
{
    size_t n = 0;
    for (uint64_t i = 0; i < N; i++)
        if (x[i * D] > 0.0f && i % 25 != 0) ids[n++] = i;
    return n;
}

static vq_write_report take_out(const uint64_t *ids, size_t n)
{
    vq_writer *w;
    vq_write_report r = VQ_WRITE_REPORT_INIT;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, ids, NULL, n, &err));
    OK(vq_writer_commit(w, &r, &err));
    vq_writer_close(w);
    for (size_t i = 0; i < n; i++) there[ids[i]] = false;
    return r;
}

static void put_back(const uint64_t *ids, size_t n)
{
    vq_writer *w;
    vq_source *src;
    float *rows = vq_alloc_f32(n, D);
    for (size_t i = 0; i < n; i++) {
        memcpy(rows + i * D, x + ids[i] * D, D * sizeof *rows);
        there[ids[i]] = true;
    }
    OK(vq_source_open_array(&src, rows, n, D, VQ_F32, &err));
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_add(w, src, ids, NULL, n, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    vq_source_close(src);
    vq_mem_free(rows);
}

/* Each id that is there is found by its own row, in a searcher that was open before. */
static void holds(vq_searcher *all)
{
    float row[D], score;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t id = VQ_NO_ID;
        if (!there[i]) {
            cr_assert_eq(vq_get(all, i, row, &err), VQ_ENOENT);
            continue;
        }
        if (i % 7 != 0) continue;
        OK(vq_search(all, x + i * D, 1, 1, &id, &score, &err));
        OK(vq_get(all, i, row, &err));
        for (size_t j = 0; j < D; j++) cr_assert_float_eq(row[j], x[i * D + j], 0.05);
        cr_assert_eq(id, i);
    }
}

static void shrink(const char *codec, uint32_t metric, uint32_t store, uint32_t copies, size_t by)
{
    static uint64_t ids[N];
    static seen before, after;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    vq_searcher *all;
    make(codec, metric, store, copies);
    vq_index *ix = open_index(path);
    so.recall = 1.0f;
    OK(vq_searcher_open(&all, ix, &so, &err));
    look(&before);
    size_t n = choose(ids);
    for (size_t i = 0, some; i < n; i += some) {
        some = VQ_MIN(n - i, by);
        vq_write_report r = take_out(ids + i, some);
        cr_assert(r.deleted == some && r.added == 0 && r.replaced == 0 && r.n == N - i - some);
    }
    holds(all);
    look(&after);
    cr_assert_eq(after.n, N - n);
    cr_assert_lt(after.live, before.live - LISTS / 6, "%s: %u lists of %u", codec, after.live,
                 before.live);
    cr_assert_lt(after.few, 3, "%s: %u", codec, after.few);
    cr_assert_eq(problems_of(path), 0, "%s", codec);
    vq_searcher_close(all);
    vq_close(ix);
}

Test(dissolve, lists_that_shrink, .timeout = 300)
{
    shrink("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_NO, N);
    shrink("flat", VQ_METRIC_COSINE, VQ_F16, VQ_COPIES_NO, 300);
    shrink("saq", VQ_METRIC_COSINE, VQ_F32, VQ_COPIES_NO, 97);
}

/* A list is not almost empty while others have copies in it; where these go, too, their vectors get
 * others. */
Test(dissolve, copies_go_elsewhere, .timeout = 300)
{
    static uint64_t ids[N];
    static seen before, after;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    vq_searcher *all;
    make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES);
    vq_index *ix = open_index(path);
    so.recall = 1.0f;
    OK(vq_searcher_open(&all, ix, &so, &err));
    look(&before);
    size_t n = choose_place(ids);
    for (size_t i = 0; i < n; i += 500) (void)take_out(ids + i, VQ_MIN(n - i, (size_t)500));
    holds(all);
    look(&after);
    cr_assert(after.live < before.live, "%u lists of %u", after.live, before.live);
    cr_assert_eq(problems_of(path), 0);
    vq_searcher_close(all);
    vq_close(ix);
}

/* Names, tags and times stay with their vectors. */
Test(dissolve, names_and_what_they_carry, .timeout = 300)
{
    static char rooms[N][8];
    static const char *names[N], *tags[N], *gone[N];
    static uint64_t begins[N + 1], ids[N];
    static int64_t times[N];
    static seen before, after;
    vq_attributes a = VQ_ATTRIBUTES_INIT;
    const vq_attributes *given[] = {&a};
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_writer *w;
    for (size_t i = 0; i < N; i++) { /* labels are ranks of names */
        (void)snprintf(rooms[i], sizeof rooms[i], "n%05zu", i);
        names[i] = rooms[i], tags[i] = i % 3 == 0 ? "third" : "other";
        begins[i + 1] = i + 1, times[i] = (int64_t)i;
    }
    a.names = names, a.n = N, a.tags = tags, a.tag_begins = begins, a.times = times;
    o.codec = "pq8", o.metric = VQ_METRIC_L2, o.store = VQ_F32, o.nlist = LISTS, o.no_tune = 1;
    o.copies = VQ_COPIES_YES, o.names = names, o.nids = N, o.attributes = given, o.nattributes = 1;
    build(path, x, N, D, VQ_F32, &o);
    look(&before);
    size_t n = choose_place(ids);
    for (size_t i = 0; i < n; i++) gone[i] = names[ids[i]], there[ids[i]] = false;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, NULL, gone, n, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    look(&after);
    cr_assert(after.n == N - n && after.live < before.live, "%u lists of %u", after.live,
              before.live);
    cr_assert_eq(problems_of(path), 0);
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    vq_searcher *s;
    vq_index *ix = open_index(path);
    so.recall = 1.0f;
    OK(vq_searcher_open(&s, ix, &so, &err));
    for (size_t i = 0; i < N; i += 5) {
        char filter[64], name[16];
        uint64_t id = VQ_NO_ID;
        (void)snprintf(filter, sizeof filter, "tag:%s & time==%zu", tags[i], i);
        OK(vq_searcher_filter_text(s, filter, &err));
        OK(vq_search(s, x + i * D, 1, 1, &id, NULL, &err));
        cr_assert_eq(id == VQ_NO_ID, !there[i], "%zu", i);
        if (!there[i]) continue;
        OK(vq_id_name(s, id, name, sizeof name, &err));
        cr_assert_str_eq(name, names[i]);
    }
    vq_searcher_close(s);
    vq_close(ix);
}

typedef struct batch { /* a writer's parts, so that a commit can be had without */
    vq_change *change;
    vq_shard shard;
    vq_pending pending;
} batch;

static void gather(batch *w, const uint64_t *ids, size_t n)
{
    OK(vq_change_begin(&w->change, path, 0, &err));
    OK(vq_shard_open(&w->shard, vq_change_file(w->change), &err));
    OK(vq_pending_init(&w->pending, &w->shard, 2, &err));
    OK(vq_pending_remove(&w->pending, &(vq_id_list){.ids = ids, .n = n}, &err));
}

static void finish(batch *w)
{
    vq_update u = {0};
    OK(vq_update_plan(&u, &w->pending, &err));
    cr_assert(u.replaced == 0 && u.added == 0);
    OK(vq_change_apply(w->change, vq_update_write, &u, &err));
    vq_update_fini(&u);
    vq_pending_fini(&w->pending);
    vq_shard_close(&w->shard);
    vq_change_end(w->change);
}

/* As many lists, of which none is almost empty, find more of what is left. */
Test(dissolve, searches_find_more, .timeout = 300)
{
    static uint64_t ids[N];
    float *q = clusters(9, NQ, D);
    cost at[2];
    for (int dissolve = 0; dissolve < 2; dissolve++) {
        batch w;
        make("sq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_NO);
        gather(&w, ids, choose(ids));
        if (dissolve == 1) OK(vq_pending_split(&w.pending, &err));
        finish(&w);
        cr_assert_eq(problems_of(path), 0);
        at[dissolve] = cost_of(path, q, NQ, 4);
    }
    cr_assert(at[1].recall >= at[0].recall && at[1].vectors < 2.0 * at[0].vectors,
              "%g found in %g vectors, in place of %g in %g", at[1].recall, at[1].vectors,
              at[0].recall, at[0].vectors);
    vq_mem_free(q);
}

/* A commit that fails leaves the batch as it was, and wherever memory ends. */
Test(dissolve, is_taken_back, .timeout = 300)
{
    static uint64_t ids[N];
    char before[33], after[33];
    for (int dissolve = 0; dissolve < 2; dissolve++) {
        batch w;
        vq_status rc = VQ_ENOMEM;
        make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES);
        gather(&w, ids, choose_place(ids));
        for (uint64_t n = 1; dissolve == 1 && rc != VQ_OK; n += 1 + n / 20) {
            vq_mem_fail_after(n);
            rc = vq_pending_split(&w.pending, &err);
            vq_mem_fail_after(0);
            cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && w.pending.n == 0));
        }
        if (dissolve == 1) {
            cr_assert_gt(w.pending.n, 0);
            vq_pending_unsplit(&w.pending);
            cr_assert_eq(w.pending.n, 0);
        }
        finish(&w);
        digest_of(path, dissolve == 0 ? before : after);
    }
    cr_assert_str_eq(before, after);
}

/* A bit of the codes of every list whose number no multiple of three is. */
static void damage_others(void)
{
    vq_file *f;
    vq_shard s;
    size_t size;
    uint8_t *file = test_read(path, &size);
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&s, f, &err));
    for (uint32_t l = 0; l < s.model.nlist; l++) {
        OK(vq_shard_load(&s, l, &err));
        const vq_list_view *v = &s.lists[l];
        for (uint32_t c = 0; c < v->nchunks && l % 3 != 0; c++) {
            uint8_t *at = memmem(file, size, v->chunks[c].codes, 256);
            cr_assert(at != NULL);
            at[3] ^= 1;
        }
    }
    vq_shard_close(&s);
    vq_file_close(f);
    test_write(path, file, size);
    free(file);
}

/* What a list would give to others does not stop a deletion where these cannot be written. */
Test(dissolve, not_where_others_are_damaged)
{
    static uint64_t ids[N];
    float row[D];
    make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_NO);
    size_t n = choose(ids);
    damage_others();
    cr_assert_eq(take_out(ids, n).deleted, n);
    vq_index *ix = open_index(path);
    vq_searcher *one;
    OK(vq_searcher_open(&one, ix, NULL, &err));
    for (uint64_t i = 0; i < N; i++)
        cr_assert_eq(vq_get(one, i, row, &err), there[i] ? VQ_OK : VQ_ENOENT);
    vq_searcher_close(one);
    vq_close(ix);
}

/* What comes where a list has been fills it again. */
Test(dissolve, lists_fill_anew, .timeout = 300)
{
    static uint64_t ids[N];
    static seen empty, full;
    make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_NO);
    size_t n = choose(ids);
    (void)take_out(ids, n);
    look(&empty);
    put_back(ids, n);
    look(&full);
    cr_assert(full.n == N && full.live > empty.live + LISTS / 6, "%u, then %u", empty.live,
              full.live);
    cr_assert_eq(problems_of(path), 0);
}

static void same_vacant(vq_shard *s, vq_file *f)
{
    vq_shard fresh;
    OK(vq_shard_refresh(s, &err));
    OK(vq_shard_open(&fresh, f, &err));
    cr_assert_eq(s->vacant.n, fresh.vacant.n);
    for (uint32_t i = 0; i < fresh.vacant.n; i++)
        cr_assert_eq(s->vacant.lists[i], fresh.vacant.lists[i]);
    cr_assert_eq(vq_shard_live(s), LISTS - fresh.vacant.n);
    vq_shard_close(&fresh);
}

/* After changes of one list, or of all, whoever was there knows as much as who comes then. */
Test(dissolve, what_is_empty_is_known_after_a_refresh, .timeout = 300)
{
    static uint64_t ids[N];
    static seen at;
    vq_file *f;
    vq_shard s;
    make("flat", VQ_METRIC_L2, VQ_F32, VQ_COPIES_NO);
    look(&at);
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&s, f, &err));
    for (uint32_t l = 0; l < 3; l++) { /* all of a list */
        size_t n = 0;
        for (uint64_t i = 0; i < N; i++)
            if (at.lists[i] == l) ids[n++] = i;
        (void)take_out(ids, n);
        same_vacant(&s, f);
        cr_assert_eq(s.vacant.n, 1);
        put_back(ids, n);
        same_vacant(&s, f);
        cr_assert_eq(s.vacant.n, 0);
    }
    size_t n = choose(ids);
    (void)take_out(ids, n);
    same_vacant(&s, f);
    cr_assert_gt(s.vacant.n, 0);
    vq_shard_close(&s);
    vq_file_close(f);
}

/* Everything goes but one vector, then that, too. */
Test(dissolve, to_the_last)
{
    static uint64_t ids[N];
    static seen at;
    make("pq8", VQ_METRIC_L2, VQ_F32, VQ_COPIES_YES);
    for (uint64_t i = 0; i < N; i++) ids[i] = i;
    (void)take_out(ids, N - 1);
    look(&at);
    cr_assert(at.n == 1 && at.live >= 1 && at.live <= 2);
    (void)take_out(ids + N - 1, 1);
    cr_assert_eq(problems_of(path), 0);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 3, 10);
    uint64_t id;
    OK(vq_search(s, x, 1, 1, &id, NULL, &err));
    cr_assert_eq(id, VQ_NO_ID);
    vq_searcher_close(s);
    vq_close(ix);
}
