/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two snapshots of a tree: all that does, and little else. */
#include "index/change.h"
#include "src/base/bytes.h"
#include "tests/index/fixture.h"

enum { KEYS = 6000, BIG = 3000, SMALL = 40, ROUNDS = 12 };

typedef struct edits { /* of keys 0..KEYS-1: a value's bytes, 0: it goes, -1: it stays */
    int len[KEYS];
    bool there[KEYS];
    uint8_t fill;
} edits;

static vq_status write_edits(void *ctx, vq_change *c, vq_error *e)
{
    vq_status rc = VQ_OK;
    const edits *w = ctx;
    for (uint64_t i = 0; i < KEYS && rc == VQ_OK; i++) {
        uint8_t key[8], *room;
        vq_put_be64(key, i);
        if (w->len[i] == 0 && w->there[i]) rc = vq_change_delete(c, VQ_DB_LISTS, key, 8, e);
        if (w->len[i] <= 0) continue;
        rc = vq_change_put(c, VQ_DB_LISTS, key, 8, (size_t)w->len[i], &room, e);
        if (rc == VQ_OK) memset(room, w->fill, (size_t)w->len[i]);
    }
    return rc;
}

/* Some keys, near each other or anywhere; or nearly all of them go, or come. */
static void draw(edits *w, vq_rng *r, int round)
{
    uint32_t kind = (uint32_t)round % 4, first = (uint32_t)vq_rng_below(r, KEYS);
    w->fill++;
    for (uint32_t i = 0; i < KEYS; i++) {
        w->len[i] = -1;
        bool any = vq_rng_below(r, 300) == 0, near = (i - first) % KEYS < 20;
        if (kind == 2 ? vq_rng_below(r, 50) > 0 : kind == 1 ? near : any)
            w->len[i] = kind == 2 ? 0 : (vq_rng_below(r, 4) > 0 ? BIG : SMALL);
        if (kind == 3) w->len[i] = i % 3 == 0 ? BIG : SMALL;
    }
}

typedef struct told {
    bool named[KEYS];
    size_t calls;
} told;

static void note(void *ctx, const uint8_t *key, size_t len)
{
    told *t = ctx;
    cr_assert(len == 8 && vq_be64(key) < KEYS);
    t->named[vq_be64(key)] = true;
    t->calls++;
}

/* By looking at every key of both. */
static void compare(const vq_snapshot *a, const vq_snapshot *b, const told *t)
{
    for (uint64_t i = 0; i < KEYS; i++) {
        uint8_t key[8];
        const uint8_t *x = NULL, *y = NULL;
        size_t m = 0, n = 0;
        vq_put_be64(key, i);
        bool in_a = vq_snapshot_get(a, VQ_DB_LISTS, key, 8, &x, &m, &err) == VQ_OK;
        bool in_b = vq_snapshot_get(b, VQ_DB_LISTS, key, 8, &y, &n, &err) == VQ_OK;
        bool stays = in_a == in_b && (!in_a || (m == n && x - a->pages.base == y - b->pages.base));
        cr_assert(t->named[i] || stays, "key %llu differs", (unsigned long long)i);
        cr_assert(!t->named[i] || !stays, "key %llu does not differ", (unsigned long long)i);
    }
}

static size_t differences(const vq_snapshot *a, const vq_snapshot *b)
{
    static told t;
    memset(&t, 0, sizeof t);
    OK(vq_tree_differs(&a->pages, &a->db[VQ_DB_LISTS], &b->pages, &b->db[VQ_DB_LISTS], note, &t,
                       &err));
    compare(a, b, &t);
    return t.calls;
}

Test(pagediff, of_trees_that_grow_and_shrink, .timeout = 120)
{
    static edits w;
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    vq_store *st;
    uint8_t *room;
    vq_change *c;
    vq_file *f;
    vq_rng rng;
    vq_snapshot old[2], fresh; /* the last, and the one before it */
    vq_rng_init(&rng, test_seed(), 1);
    OK(vq_store_create(&st, path, false, &err));
    OK(vq_store_put(st, VQ_DB_META, "first", 5, 3, &room, &err));
    memset(room, 1, 3);
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
    OK(vq_file_open(&f, path, &err));
    OK(vq_change_begin(&c, path, 0, &err));
    OK(vq_snapshot_begin(&old[0], f, &err));
    OK(vq_snapshot_begin(&old[1], f, &err));
    cr_assert_eq(differences(&old[0], &old[1]), 0);
    for (int round = 0; round < ROUNDS; round++) {
        draw(&w, &rng, round + 3);
        OK(vq_change_apply(c, write_edits, &w, &err));
        for (size_t i = 0; i < KEYS; i++)
            w.there[i] = w.len[i] != 0 && (w.there[i] || w.len[i] > 0);
        OK(vq_snapshot_begin(&fresh, f, &err));
        cr_assert_gt(differences(&old[1], &fresh), 0);
        (void)differences(&old[0], &fresh);
        vq_snapshot_end(&old[0]);
        old[0] = old[1], old[1] = fresh;
    }
    vq_snapshot_end(&old[0]), vq_snapshot_end(&old[1]);
    vq_change_end(c);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}
