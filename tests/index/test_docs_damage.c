/* SPDX-License-Identifier: Apache-2.0 */
/* What vectors carry, in files that are damaged and where memory ends. */
#include "index/change.h"
#include "index/docs.h"
#include "src/base/bytes.h"
#include "tests/index/described.h"

typedef struct damage {
    vq_db db;
    uint64_t entry, byte, bits;
    bool sealed;
} damage;

/* A byte of a record of a database is changed, in a transaction of its own; sealed: its checksum
 * says that this is right. */
static vq_status spoil(void *ctx, vq_change *c, vq_error *e)
{
    damage *d = ctx;
    vq_snapshot s;
    vq_cursor at;
    uint8_t key[512], *room;
    OK(vq_snapshot_begin(&s, vq_change_file(c), &err));
    OK(vq_cursor_first(&at, &s.pages, &s.db[d->db], &err));
    for (uint64_t i = d->entry % s.db[d->db].entries; i > 0; i--) OK(vq_cursor_next(&at, &err));
    size_t len = at.node.len, key_len = at.node.key_len;
    uint8_t *value = malloc(len);
    memcpy(value, at.node.value, len);
    memcpy(key, at.node.key, key_len);
    vq_snapshot_end(&s);
    value[8 + d->byte % (len - 8)] ^= (uint8_t)(1 + d->bits % 255);
    if (d->sealed) vq_record_seal(value, len);
    vq_status rc = vq_change_put(c, d->db, key, key_len, len, &room, e);
    if (rc == VQ_OK) memcpy(room, value, len);
    free(value);
    return rc;
}

/* Uses whatever there is of attributes; any answer will do. */
static void use(const char *path)
{
    static const char *const filters[] = {"tag:en", "!tag:draft & time>0", "time<=2 | tag:none"};
    vq_index *ix;
    vq_searcher *s;
    float q[D] = {1}, scores[K];
    uint64_t ids[K];
    if (vq_open(&ix, path, 0, &err) != VQ_OK) return;
    if (vq_searcher_open(&s, ix, NULL, &err) == VQ_OK) {
        for (size_t i = 0; i < VQ_COUNT(filters); i++) {
            OK(vq_searcher_filter_text(s, filters[i], &err));
            (void)vq_search(s, q, 1, K, ids, scores, &err);
        }
        for (uint64_t id = 0; id < N; id += 3) {
            vq_document d = VQ_DOCUMENT_INIT;
            (void)vq_get_attributes(s, id, &d, &err);
        }
        vq_searcher_close(s);
    }
    vq_close(ix);
}

/* Gives two ids that have no tags all that others have, and one that is new. */
static vq_status set_tags(vq_writer *w, const state *s)
{
    const char *tags[2 * CHOOSER_TAGS];
    uint64_t ids[2], begins[] = {0, CHOOSER_TAGS, (uint64_t)2 * CHOOSER_TAGS}, n = 0;
    vq_attributes a = VQ_ATTRIBUTES_INIT;
    for (uint64_t id = 0; n < 2; id++) {
        cr_assert(id < N);
        if (s->doc[id].tags == 0) ids[n++] = id;
    }
    for (size_t i = 0; i < VQ_COUNT(tags); i++) tags[i] = chooser_tags[i % CHOOSER_TAGS];
    a.ids = ids, a.n = 2, a.tags = tags, a.tag_begins = begins;
    vq_status rc = vq_writer_set(w, &a, &err);
    return rc == VQ_OK ? vq_writer_commit(w, NULL, &err) : rc;
}

Test(docs_damage, damage_is_found, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *bad = test_path(dir, "y.vq");
    state s;
    vq_rng r;
    size_t len;
    vq_rng_init(&r, test_seed(), 85);
    build_described(path, &number_ids, &s);
    uint8_t *bytes = test_read(path, &len);
    for (int round = 0; round < 120; round++) {
        vq_change *c;
        damage d = {.db = (vq_db)(VQ_DB_DOCUMENTS + round % 4),
                    .entry = vq_rng_u64(&r) >> 1,
                    .byte = vq_rng_u64(&r) >> 1,
                    .bits = vq_rng_u64(&r) >> 1,
                    .sealed = round % 8 >= 4};
        test_write(bad, bytes, len);
        OK(vq_change_begin(&c, bad, 0, &err));
        OK(vq_change_apply(c, spoil, &d, &err));
        vq_change_end(c);
        uint64_t problems = problems_of(bad);
        /* Bytes of a payload as it is, and of a dictionary, may be any. */
        if (!d.sealed || d.db != VQ_DB_DOCUMENTS)
            cr_assert(problems > 0 && problems != UINT64_MAX, "%s: nothing found, round %d",
                      vq_db_names[d.db], round);
        use(bad);
        vq_writer *w; /* a change refuses what is damaged, or does no harm */
        uint64_t ids[] = {1, 2, 5, 8};
        if (vq_writer_open(&w, bad, NULL, &err) != VQ_OK) continue;
        if (set_tags(w, &s) == VQ_OK)
            cr_assert(problems_of(bad) <= problems, "%s: more is found, round %d",
                      vq_db_names[d.db], round);
        vq_writer_abort(w);
        if (vq_writer_delete(w, ids, NULL, 4, &err) == VQ_OK) (void)vq_writer_commit(w, NULL, &err);
        vq_writer_close(w);
    }
    free(bytes), free(path), free(bad);
    test_rmdir(dir);
}

/* The number of a tag is one that was given, and its own: else two would become one. */
static vq_status renumber(void *ctx, vq_change *c, vq_error *e)
{
    const uint32_t *number = ctx;
    uint8_t *room;
    vq_status rc = vq_change_put(c, VQ_DB_TAGS, "en", 2, VQ_TAG_VALUE, &room, e);
    if (rc != VQ_OK) return rc;
    memset(room, 0, VQ_TAG_VALUE);
    vq_put_le32(room + 8, *number);
    vq_put_le64(room + 16, N);
    vq_record_seal(room, VQ_TAG_VALUE);
    return VQ_OK;
}

Test(docs_damage, another_number, .timeout = 60)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    const uint32_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 1000, INT32_MAX, UINT32_MAX - 1, UINT32_MAX};
    state s;
    int refused = 0;
    for (size_t i = 0; i < VQ_COUNT(numbers); i++) {
        uint32_t number = numbers[i];
        vq_change *c;
        vq_writer *w;
        build_described(path, &number_ids, &s);
        OK(vq_change_begin(&c, path, 0, &err));
        OK(vq_change_apply(c, renumber, &number, &err));
        vq_change_end(c);
        OK(vq_writer_open(&w, path, NULL, &err));
        vq_status rc = set_tags(w, &s);
        vq_writer_close(w);
        cr_assert(rc == VQ_OK || rc == VQ_ECORRUPT, "%d: %s", (int)rc, err.text);
        refused += rc == VQ_ECORRUPT;
    }
    cr_assert_eq(refused, VQ_COUNT(numbers) - 1); /* one of them is right */
    free(path);
    test_rmdir(dir);
}

/* ---- memory ---- */

Test(docs_damage, out_of_memory, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static live_attributes l;
    state s;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 86);
    build_described(path, &number_ids, &s);
    vq_writer *w;
    uint64_t ids[] = {3, 7, 9}, n = 1, fails = 0;
    carried c[3];
    OK(vq_writer_open(&w, path, NULL, &err));
    for (;; n += 1 + n / 20) { /* a set and a commit, whichever allocation fails */
        for (int i = 0; i < 3; i++) c[i] = live_carried(&r);
        live_attribute(&l, c, 3, 7);
        l.a.ids = ids;
        vq_mem_fail_after(n);
        vq_status rc = vq_writer_set(w, &l.a, &err);
        if (rc == VQ_OK) rc = vq_writer_commit(w, NULL, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%d: %s", (int)rc, err.text);
        if (rc == VQ_OK)
            for (int i = 0; i < 3; i++) s.doc[ids[i]] = c[i];
        if (rc == VQ_OK) break;
        fails++;
        vq_writer_abort(w);
    }
    cr_assert(fails > 20);
    vq_writer_close(w);
    holds(path, &number_ids, &s);
    vq_index *ix = open_index(path);
    for (n = 1;; n++) { /* and a filtered search */
        vq_searcher *all = exact(ix);
        float q[D] = {1};
        uint64_t found[K];
        vq_document d = VQ_DOCUMENT_INIT;
        vq_mem_fail_after(n);
        vq_status rc = vq_searcher_filter_text(all, "tag:en | !tag:draft & time>1", &err);
        if (rc == VQ_OK) rc = vq_search(all, q, 1, K, found, NULL, &err);
        if (rc == VQ_OK) rc = vq_get_attributes(all, 3, &d, &err);
        vq_mem_fail_after(0);
        vq_searcher_close(all);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%d: %s", (int)rc, err.text);
        if (rc == VQ_OK) break;
    }
    cr_assert(n > 20);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}
