/* SPDX-License-Identifier: Apache-2.0 */
/* An allocation of a change fails, and so do all after it: an error, nothing lost, nothing changed
 * that was not committed, and the same writer goes on.  Which one: each of the first twelve, later
 * one of every few. */
#include "tests/index/live.h"

enum { AT_ONCE = 6 };

typedef struct batch {
    uint32_t ids[AT_ONCE];
    char rooms[AT_ONCE][16];
    const char *names[AT_ONCE];
    uint64_t numbers[AT_ONCE];
    live_attributes carried;
} batch;

static void name_all(batch *b, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        b->ids[i] = first + i;
        b->numbers[i] = first + i;
        b->names[i] = live_name(first + i, b->rooms[i]);
    }
}

/* Adds or replaces AT_ONCE from `first` on, deletes two others, says what the first of them
 * carries, commits. */
static vq_status change(vq_writer *w, const live_config *c, batch *b, uint32_t first, uint32_t row,
                        uint32_t gone, const carried *d)
{
    float x[AT_ONCE * 64];
    vq_source *src = NULL;
    vq_status rc;
    for (uint32_t i = 0; i < AT_ONCE; i++) live_row(row + i, c->d, x + i * c->d);
    name_all(b, gone, 2);
    rc = vq_writer_delete(w, c->strings ? NULL : b->numbers, c->strings ? b->names : NULL, 2, &err);
    if (rc != VQ_OK) return rc;
    name_all(b, first, AT_ONCE);
    rc = vq_source_open_array(&src, x, AT_ONCE, c->d, VQ_F32, &err);
    if (rc == VQ_OK)
        rc = vq_writer_upsert(w, src, c->strings ? NULL : b->numbers, c->strings ? b->names : NULL,
                              AT_ONCE, &err);
    vq_source_close(src);
    if (rc != VQ_OK) return rc;
    live_attribute(&b->carried, d, AT_ONCE, 7);
    b->carried.a.ids = c->strings ? NULL : b->numbers;
    b->carried.a.names = c->strings ? b->names : NULL;
    rc = vq_writer_set(w, &b->carried.a, &err);
    return rc == VQ_OK ? vq_writer_commit(w, NULL, &err) : rc;
}

/* The index, opened anew, holds the state. */
static void holds(const char *path, const live_config *c, const state *s)
{
    vq_index *ix = open_index(path);
    vq_searcher *all = open_searcher(ix, VQ_ALL, 0);
    live_holds(c, s, all);
    vq_searcher_close(all);
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
}

/* What vectors of numbers carry before anything fails. */
static void describe(const char *path, state *s, uint32_t n, vq_rng *r)
{
    static live_attributes l;
    static uint64_t ids[UNIVERSE];
    vq_writer *w;
    for (uint32_t i = 0; i < n; i++) s->doc[i] = live_carried(r), ids[i] = i;
    live_attribute(&l, s->doc, n, 7);
    l.a.ids = ids;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_set(w, &l.a, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
}

static void walk(const live_config *c)
{
    static batch b;
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    vq_rng r;
    vq_writer *w;
    uint64_t fails = 0;
    uint32_t row = 5000, done = 0;
    vq_rng_init(&r, test_seed(), 91);
    live_build(path, c, 300, &s);
    if (!c->strings) describe(path, &s, 300, &r);
    OK(vq_writer_open(&w, path, NULL, &err));
    for (uint64_t n = 1; done == 0; n += 1 + n / 12) {
        carried d[AT_ONCE];
        uint32_t first = 280, gone = 2 * (uint32_t)(n % 100);
        for (int i = 0; i < AT_ONCE; i++) d[i] = live_carried(&r);
        vq_mem_fail_after(n);
        vq_status rc = change(w, c, &b, first, row, gone, d);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%s, allocation %llu: %d: %s", c->codec,
                  (unsigned long long)n, (int)rc, err.text);
        if (rc == VQ_ENOMEM) {
            fails++;
            vq_writer_abort(w);
            if (fails % 8 == 0) holds(path, c, &s);
            continue;
        }
        for (uint32_t i = 0; i < 2; i++)
            s.there[gone + i] = false, s.doc[gone + i] = NOTHING, s.n--;
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            s.n += !s.there[first + i];
            s.there[first + i] = true, s.row[first + i] = row + i, s.doc[first + i] = d[i];
        }
        done++;
    }
    cr_assert(fails > 25, "%llu", (unsigned long long)fails);
    vq_writer_close(w);
    holds(path, c, &s);
    free(path);
    test_rmdir(dir);
}

Test(memory, a_change, .timeout = 300)
{
    static const live_config configs[] = {
        {"pq8", VQ_METRIC_L2, VQ_F32, 9, 16, false, true, 0},
        {"sq8", VQ_METRIC_IP, VQ_F16, 7, 16, true, true, 0},
        {"rabitq", VQ_METRIC_COSINE, VQ_F16, 5, 24, true, false, 0},
    };
    for (size_t i = 0; i < VQ_COUNT(configs); i++) walk(&configs[i]);
}

/* Opening, and a look at what is there. */
Test(memory, a_search, .timeout = 300)
{
    static const live_config c = {"pq8", VQ_METRIC_L2, VQ_F32, 9, 16, true, true, 0};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    uint64_t n = 1;
    live_build(path, &c, 400, &s);
    for (;; n += 1 + n / 40) {
        vq_index *ix = NULL;
        vq_searcher *all = NULL;
        vq_search_opts o = VQ_SEARCH_OPTS_INIT;
        float q[16], row[16], scores[20];
        uint64_t ids[20];
        char name[501];
        o.recall = 1, o.threads = 2;
        live_row(1000007, 16, q);
        vq_mem_fail_after(n);
        vq_status rc = vq_open(&ix, path, 0, &err);
        if (rc == VQ_OK) rc = vq_searcher_open(&all, ix, &o, &err);
        if (rc == VQ_OK) rc = vq_search(all, q, 1, 20, ids, scores, &err);
        if (rc == VQ_OK) rc = vq_get(all, ids[0], row, &err);
        if (rc == VQ_OK) rc = vq_id_name(all, ids[0], name, sizeof name, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%d: %s", (int)rc, err.text);
        if (rc == VQ_OK) live_compare(&c, &s, all, q, ids, scores, 20, true);
        vq_searcher_close(all);
        vq_close(ix);
        if (rc == VQ_OK) break;
    }
    cr_assert(n > 30);
    free(path);
    test_rmdir(dir);
}
