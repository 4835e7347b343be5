/* SPDX-License-Identifier: Apache-2.0 */
/* Adding, deleting, replacing, committing, forgetting, reopening, at random, against a plain array.
 * VQ_TEST_STEPS: how many steps each kind of index takes. */
#include "tests/index/live.h"

enum { STEPS = 600, K = 12, ASKED = 10 };

typedef struct run {
    const live_config *c;
    const char *path;
    vq_rng rng;
    vq_index *ix;
    vq_searcher *all, *some, *old; /* exact; a few lists; pinned to an earlier snapshot */
    vq_writer *w;
    state now, next, was; /* committed, with what is gathered, what `old` sees */
    uint64_t next_id;     /* that a vector without an id gets */
    uint32_t rows;        /* that were made so far */
    uint64_t commits, aborts, added, deleted, replaced, searches, refused, set;
    uint32_t lists; /* the most that there have been */
} run;

static uint32_t below(run *r, uint32_t n)
{
    return (uint32_t)vq_rng_below(&r->rng, n);
}

static vq_searcher *searcher(run *r, float recall, uint32_t nprobe, uint32_t pinned)
{
    vq_searcher *s = NULL;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.recall = recall, o.nprobe = nprobe, o.pinned = pinned;
    OK(vq_searcher_open(&s, r->ix, &o, &err));
    return s;
}

static void open_readers(run *r)
{
    r->ix = open_index(r->path);
    r->all = searcher(r, 1.0f, 0, 0);
    r->some = searcher(r, 0, 2, 0);
    r->old = searcher(r, 1.0f, 0, 1);
    r->was = r->now;
}

static void close_readers(run *r)
{
    vq_searcher_close(r->all), vq_searcher_close(r->some), vq_searcher_close(r->old);
    vq_close(r->ix);
}

static void forget(run *r)
{
    r->next = r->now;
    r->next_id = 0;
    for (uint32_t i = 0; i < UNIVERSE; i++)
        if (r->now.there[i]) r->next_id = i + 1;
}

static void open_writer(run *r)
{
    OK(vq_writer_open(&r->w, r->path, NULL, &err));
    forget(r);
}

/* count different ids, each there or not as wanted (2: either); fewer if there are not so many. */
static uint32_t choose(run *r, uint32_t count, int wanted, uint32_t *ids)
{
    uint32_t n = 0;
    for (uint32_t tries = 0; tries < 300 && n < count; tries++) {
        uint32_t i = below(r, UNIVERSE), j = 0;
        while (j < n && ids[j] != i) j++;
        if (j == n && (wanted == 2 || r->next.there[i] == (wanted == 1))) ids[n++] = i;
    }
    return n;
}

typedef struct call { /* ids as the API wants them */
    uint64_t numbers[MOST_AT_ONCE];
    char rooms[MOST_AT_ONCE][16];
    const char *names[MOST_AT_ONCE];
    uint32_t n;
} call;

static void make_call(call *c, const uint32_t *ids, uint32_t n)
{
    c->n = n;
    for (uint32_t i = 0; i < n; i++) {
        c->numbers[i] = ids[i];
        c->names[i] = live_name(ids[i], c->rooms[i]);
    }
}

static vq_status put(run *r, const uint32_t *ids, uint32_t n, bool upsert, bool given)
{
    static float x[MOST_AT_ONCE * MOST_D];
    call c;
    vq_source *src;
    size_t d = r->c->d;
    make_call(&c, ids, n);
    for (uint32_t i = 0; i < n; i++) live_row(r->rows + i, d, x + i * d);
    OK(vq_source_open_array(&src, x, n, r->c->d, VQ_F32, &err));
    const uint64_t *numbers = r->c->strings || !given ? NULL : c.numbers;
    const char *const *names = r->c->strings ? c.names : NULL;
    vq_status rc = (upsert ? vq_writer_upsert : vq_writer_add)(
        r->w, src, numbers, names, numbers != NULL || names != NULL ? n : 0, &err);
    vq_source_close(src);
    for (uint32_t i = 0; i < n && rc == VQ_OK; i++) {
        r->next.n += !r->next.there[ids[i]];
        if (!r->next.there[ids[i]]) r->next.doc[ids[i]] = NOTHING;
        r->next.there[ids[i]] = true;
        r->next.row[ids[i]] = r->rows + i;
        r->next_id = VQ_MAX(r->next_id, (uint64_t)ids[i] + 1);
    }
    r->rows += n;
    return rc;
}

static void add(run *r)
{
    uint32_t ids[MOST_AT_ONCE], n = choose(r, 1 + below(r, MOST_AT_ONCE), 0, ids);
    bool given = r->c->strings || below(r, 4) > 0 || r->next_id + MOST_AT_ONCE > UNIVERSE;
    for (uint32_t i = 0; i < n && !given; i++) ids[i] = (uint32_t)r->next_id + i;
    OK(put(r, ids, n, false, given));
    r->added += n;
}

static void upsert(run *r)
{
    uint32_t ids[MOST_AT_ONCE], n = choose(r, 1 + below(r, MOST_AT_ONCE), 2, ids);
    OK(put(r, ids, n, true, true));
    r->replaced += n;
}

static vq_status try_delete(run *r, const uint32_t *ids, uint32_t n)
{
    call c;
    make_call(&c, ids, n);
    return vq_writer_delete(r->w, r->c->strings ? NULL : c.numbers, r->c->strings ? c.names : NULL,
                            n, &err);
}

static void delete (run *r)
{
    uint32_t ids[MOST_AT_ONCE], n = choose(r, 1 + below(r, MOST_AT_ONCE), 1, ids);
    OK(try_delete(r, ids, n));
    for (uint32_t i = 0; i < n; i++) r->next.there[ids[i]] = false;
    r->next.n -= n;
    r->deleted += n;
}

/* Tags, times, payloads of some, as they are or as they have just been added. */
static void set(run *r)
{
    static live_attributes l;
    uint32_t ids[MOST_AT_ONCE], n = choose(r, 1 + below(r, MOST_AT_ONCE), 1, ids);
    uint32_t kinds = below(r, 8);
    carried c[MOST_AT_ONCE];
    call of;
    make_call(&of, ids, n);
    for (uint32_t i = 0; i < n; i++) c[i] = below(r, 5) > 0 ? live_carried(&r->rng) : NOTHING;
    live_attribute(&l, c, n, kinds);
    l.a.ids = r->c->strings ? NULL : of.numbers, l.a.names = r->c->strings ? of.names : NULL;
    OK(vq_writer_set(r->w, &l.a, &err));
    for (uint32_t i = 0; i < n; i++) {
        carried *to = &r->next.doc[ids[i]];
        if ((kinds & 1) != 0) to->tags = c[i].tags;
        if ((kinds & 2) != 0) to->time = c[i].time;
        if ((kinds & 4) != 0) to->payload = c[i].payload;
    }
    r->set += n;
}

/* Now and then nearly all goes, and comes back by the adds that follow. */
static void delete_most(run *r)
{
    uint32_t keep = below(r, 3);
    for (uint32_t i = 0; i < UNIVERSE; i++) {
        if (!r->next.there[i] || (keep > 0 && below(r, 20) == 0)) continue;
        OK(try_delete(r, &i, 1));
        r->next.there[i] = false;
        r->next.n--;
        r->deleted++;
    }
}

/* Calls that fail change nothing, though all but one of their ids would do. */
static void refused(run *r)
{
    uint32_t good[MOST_AT_ONCE], bad, n = choose(r, 3, 0, good);
    if (n == 3 && choose(r, 1, 1, &bad) == 1) {
        good[2] = bad;
        FAILS(VQ_EINVAL, put(r, good, 3, false, true));
    }
    n = choose(r, 3, 1, good);
    if (n == 3 && choose(r, 1, 0, &bad) == 1) {
        good[2] = bad;
        FAILS(VQ_ENOENT, try_delete(r, good, 3));
        good[2] = good[0];
        FAILS(VQ_EINVAL, try_delete(r, good, 3));
        FAILS(VQ_EINVAL, put(r, good, 3, true, true));
    }
    r->refused++;
}

static void commit(run *r)
{
    vq_write_report report = VQ_WRITE_REPORT_INIT;
    OK(vq_writer_commit(r->w, &report, &err));
    cr_assert_eq(report.n, r->next.n);
    r->now = r->next;
    forget(r);
    r->commits++;
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(r->ix, &info, &err));
    r->lists = VQ_MAX(r->lists, info.nlist);
    if (r->commits % 16 == 0)
        cr_assert_eq(problems_of(r->path), 0, "after commit %llu", (unsigned long long)r->commits);
}

static void ask(run *r, vq_searcher *s, const state *st, bool all)
{
    float q[MOST_D], scores[K];
    uint64_t ids[K];
    live_row(ASKED_FROM + below(r, 1000), r->c->d, q);
    OK(vq_search(s, q, 1, K, ids, scores, &err));
    live_compare(r->c, st, s, q, ids, scores, K, all);
    r->searches++;
}

static void ask_chosen(run *r)
{
    chooser c;
    chooser_draw(&c, &r->rng);
    vq_searcher *of[] = {r->all, r->some, r->old};
    const state *st[] = {&r->now, &r->now, &r->was};
    for (size_t i = 0; i < VQ_COUNT(of); i++) {
        state left = live_chosen(st[i], &c);
        OK(vq_searcher_filter_text(of[i], c.text, &err));
        ask(r, of[i], &left, of[i] != r->some);
        OK(vq_searcher_filter_text(of[i], NULL, &err));
    }
}

static void step(run *r)
{
    uint32_t what = below(r, 100);
    if (what < 18)
        add(r);
    else if (what < 26)
        set(r);
    else if (what < 36)
        delete (r);
    else if (what < 48)
        upsert(r);
    else if (what < 52)
        refused(r);
    else if (what < 72)
        commit(r);
    else if (what < 90) {
        ask(r, r->all, &r->now, true);
        ask(r, r->some, &r->now, false);
        ask(r, r->old, &r->was, true);
        ask_chosen(r);
    } else if (what < 93) {
        vq_writer_abort(r->w);
        forget(r);
        r->aborts++;
    } else if (what < 96) {
        OK(vq_searcher_refresh(r->old, &err));
        r->was = r->now;
    } else if (what < 98) {
        vq_writer_close(r->w); /* what is gathered is forgotten */
        if (below(r, 2) == 0) close_readers(r), open_readers(r);
        open_writer(r);
    } else if (what < 99 && r->next.n > UNIVERSE / 4) {
        delete_most(r);
    } else {
        OK(vq_searcher_refresh(r->all, &err));
        live_holds(r->c, &r->now, r->all);
    }
}

/* Returns how many lists were made. */
static uint32_t walk(const live_config *c, uint64_t steps, size_t n)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    run r = {.c = c, .path = path, .rows = UNIVERSE};
    vq_rng_init(&r.rng, test_seed(), c->nlist);
    live_build(path, c, n, &r.now);
    open_readers(&r);
    open_writer(&r);
    for (uint64_t i = 0; i < steps; i++) step(&r);
    commit(&r);
    OK(vq_searcher_refresh(r.all, &err));
    live_holds(c, &r.now, r.all);
    vq_writer_close(r.w);
    close_readers(&r);
    cr_assert_eq(problems_of(path), 0);
    if (getenv("VQ_TEST_STEPS") != NULL)
        (void)fprintf(stderr,
                      "%s: %llu steps: %llu commits, %llu aborts, %llu added, %llu deleted, %llu "
                      "replaced, %llu searches, %llu refused, %llu set, %u lists\n",
                      c->codec, (unsigned long long)steps, (unsigned long long)r.commits,
                      (unsigned long long)r.aborts, (unsigned long long)r.added,
                      (unsigned long long)r.deleted, (unsigned long long)r.replaced,
                      (unsigned long long)r.searches, (unsigned long long)r.refused,
                      (unsigned long long)r.set, r.lists);
    cr_assert(r.commits > steps / 10 && r.added > 0 && r.deleted > 0 && r.replaced > 0);
    cr_assert(r.set > 0);
    free(path);
    test_rmdir(dir);
    return r.lists - c->nlist;
}

static const live_config configs[] = {
    {"pq8", VQ_METRIC_L2, VQ_F32, 11, 16, false, true, 0},
    {"pq4", VQ_METRIC_IP, VQ_F16, 12, 16, true, true, 0},
    {"sq8", VQ_METRIC_COSINE, VQ_F32, 13, 24, true, false, 0},
    {"flat", VQ_METRIC_L2, VQ_I8, 4, 8, false, false, 0},
    {"aq8", VQ_METRIC_IP, VQ_F32, 15, 16, false, true, 0},
    {"flat", VQ_METRIC_L2, VQ_F32, 2, MOST_D, true, true, 0}, /* lists of many chunks */
    {"saq", VQ_METRIC_L2, VQ_F32, 7, 128, false, true, 160},  /* codes of head and tail */
    {"rabitq", VQ_METRIC_COSINE, VQ_F16, 8, 24, true, true, 0},
    {"rabitq", VQ_METRIC_L2, VQ_I8, 6, 128, false, false, 100},
};

Test(live, random_steps_against_an_array, .timeout = 7200)
{
    uint64_t steps = env_number("VQ_TEST_STEPS", STEPS);
    uint32_t made = 0;
    for (size_t i = 0; i < VQ_COUNT(configs); i++)
        made += walk(&configs[i], configs[i].d == MOST_D ? steps / 4 : steps, i == 1 ? 300 : 120);
    cr_assert(made > 0, "no list has grown too large");
}

/* The scores that codes alone give queries, of all lists and of two with the copies there.  With
 * bars so narrow it shows in the answers, too, what the first look at a code says. */
static void ask_codes(const live_config *c, vq_index *ix, float *scores)
{
    float q[ASKED * MOST_D];
    uint64_t ids[ASKED * K];
    for (uint32_t i = 0; i < ASKED; i++) live_row(ASKED_FROM + i, c->d, q + i * c->d);
    vq_searcher *all, *some;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.nprobe = VQ_ALL, o.rerank = VQ_NONE, o.bars = 0.1f;
    OK(vq_searcher_open(&all, ix, &o, &err));
    o.nprobe = 2;
    OK(vq_searcher_open(&some, ix, &o, &err));
    OK(vq_search(all, q, ASKED, K, ids, scores, &err));
    OK(vq_search(some, q, ASKED, K, ids, scores + ASKED * K, &err));
    vq_searcher_close(all);
    vq_searcher_close(some);
}

/* Of two scales that serve a vector alike the rounding of its turned coordinates decides, which
 * hangs on how many are turned at once. */
static bool is_grid(const live_config *c)
{
    return strcmp(c->codec, "saq") == 0 || strcmp(c->codec, "rabitq") == 0;
}

/* What a writer adds has the code, the factor and the copy that a build gives it. */
Test(live, rows_are_coded_as_in_a_build, .timeout = 600)
{
    enum { N = 80 }; /* so few that all of them are candidates */
    for (size_t i = 0; i < VQ_COUNT(configs); i++) {
        const live_config *c = &configs[i];
        char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), name[16];
        float before[2 * ASKED * K], after[2 * ASKED * K], *x = vq_alloc_f32(1, c->d);
        state s;
        vq_writer *w;
        live_build(path, c, N, &s);
        vq_index *ix = open_index(path);
        ask_codes(c, ix, before);
        OK(vq_writer_open(&w, path, NULL, &err));
        for (uint32_t v = N; v-- > 0;) { /* each row goes elsewhere in its list */
            const char *names[] = {live_name(v, name)};
            uint64_t id = v;
            vq_source *src;
            live_row(v, c->d, x);
            OK(vq_source_open_array(&src, x, 1, c->d, VQ_F32, &err));
            OK(vq_writer_delete(w, c->strings ? NULL : &id, c->strings ? names : NULL, 1, &err));
            if (v % 4 == 0) OK(vq_writer_commit(w, NULL, &err));
            OK(vq_writer_add(w, src, c->strings ? NULL : &id, c->strings ? names : NULL, 1, &err));
            vq_source_close(src);
        }
        OK(vq_writer_commit(w, NULL, &err));
        ask_codes(c, ix, after);
        size_t others = 0;
        for (size_t r = 0; r < VQ_COUNT(before); r++) others += before[r] != after[r];
        cr_assert(others <= (is_grid(c) ? VQ_COUNT(before) / 8 : 0), "%s: %zu scores", c->codec,
                  others);
        vq_writer_close(w);
        vq_close(ix);
        vq_mem_free(x);
        free(path);
        test_rmdir(dir);
    }
}
