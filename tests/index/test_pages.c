/* SPDX-License-Identifier: Apache-2.0 */
/* LMDB's pages by our reader: the same as LMDB says of whole files, and no harm from broken ones.
 */
#include "index/pages.h"

#include <lmdb.h>

#include "index/pagecheck.h"
#include "src/base/bytes.h"
#include "tests/index/fixture.h"

typedef struct image { /* a file in memory, aligned as a map is */
    uint8_t *bytes;
    size_t len;
} image;

static image load(const char *path)
{
    image im;
    uint8_t *read = test_read(path, &im.len);
    im.bytes = vq_mem_alloc(im.len, 1);
    memcpy(im.bytes, read, im.len);
    free(read);
    return im;
}

static void put(vq_store *st, vq_db db, const void *key, size_t key_len, size_t len)
{
    uint8_t *room = NULL;
    OK(vq_store_put(st, db, key, key_len, len, &room, &err));
    for (size_t i = 0; i < len; i++) room[i] = (uint8_t)(len + i);
}

/* A file with nkeys keys in `ids`, keys and values of many lengths in `names`, values that fill
 * pages of their own in `lists`, one in `meta`, none elsewhere. */
static void make_file(const char *path, uint64_t nkeys)
{
    vq_store *st;
    OK(vq_store_create(&st, path, false, &err));
    for (uint64_t i = 0; i < nkeys; i++) {
        uint8_t key[8];
        vq_put_be64(key, 3 * i + 1);
        put(st, VQ_DB_IDS, key, sizeof key, 8);
    }
    char name[512];
    memset(name, 'k', sizeof name);
    for (size_t len = 1; len <= 500; len += 1 + len / 30) put(st, VQ_DB_NAMES, name, len, 3 * len);
    for (uint32_t i = 0; i < 40; i++) {
        uint8_t key[8];
        vq_put_be64(key, i);
        put(st, VQ_DB_LISTS, key, sizeof key, 1 + i * 431);
    }
    put(st, VQ_DB_META, "only", 4, 4);
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
}

/* A cursor finds the entry of another by its key, and by what lies just before it; and goes on. */
static void sought(const vq_pages *p, const vq_tree *t, const vq_cursor *at)
{
    vq_cursor c, next = *at;
    uint8_t key[512];
    OK(vq_cursor_seek(&c, p, t, at->node.key, at->node.key_len, &err));
    cr_assert(c.depth > 0 && c.node.value == at->node.value);
    memcpy(key, at->node.key, at->node.key_len);
    key[at->node.key_len] = 0; /* the least key behind it */
    OK(vq_cursor_next(&next, &err));
    OK(vq_cursor_seek(&c, p, t, key, at->node.key_len + 1, &err));
    cr_assert_eq(c.depth == 0, next.depth == 0);
    if (c.depth > 0) cr_assert(c.node.key == next.node.key);
    if (c.depth == 0) return;
    OK(vq_cursor_next(&c, &err));
    OK(vq_cursor_next(&next, &err));
    cr_assert(c.depth == next.depth && (c.depth == 0 || c.node.key == next.node.key));
}

/* All of one database by LMDB's cursor and by ours, and each key by our search. */
static void compare_db(MDB_txn *txn, const char *name, const vq_pages *p, uint64_t *count)
{
    MDB_dbi dbi;
    MDB_cursor *theirs;
    MDB_val key, value;
    vq_tree t;
    vq_cursor ours;
    cr_assert_eq(mdb_dbi_open(txn, name, 0, &dbi), 0);
    cr_assert_eq(mdb_cursor_open(txn, dbi, &theirs), 0);
    OK(vq_tree_open(p, name, &t, &err));
    OK(vq_cursor_first(&ours, p, &t, &err));
    *count = 0;
    while (mdb_cursor_get(theirs, &key, &value, MDB_NEXT) == 0) {
        const uint8_t *got;
        size_t len;
        cr_assert(ours.depth > 0, "%s: ours ends at %llu", name, (unsigned long long)*count);
        cr_assert(ours.node.key_len == key.mv_size && ours.node.len == value.mv_size);
        cr_assert(memcmp(ours.node.key, key.mv_data, key.mv_size) == 0);
        cr_assert(memcmp(ours.node.value, value.mv_data, value.mv_size) == 0);
        OK(vq_tree_get(p, &t, key.mv_data, key.mv_size, &got, &len, &err));
        cr_assert(got == ours.node.value && len == ours.node.len);
        sought(p, &t, &ours);
        OK(vq_cursor_next(&ours, &err));
        ++*count;
    }
    cr_assert_eq(ours.depth, 0, "%s: ours goes on", name);
    cr_assert_eq(*count, t.entries);
    vq_node last;
    vq_status rc = vq_tree_last(p, &t, &last, &err);
    cr_assert_eq(rc, *count > 0 ? VQ_OK : VQ_ENOENT);
    if (mdb_cursor_get(theirs, &key, &value, MDB_LAST) == 0)
        cr_assert(last.key_len == key.mv_size && memcmp(last.key, key.mv_data, key.mv_size) == 0);
    mdb_cursor_close(theirs);
}

static void compare_file(const char *path, uint64_t nkeys)
{
    MDB_env *env;
    MDB_txn *txn;
    image im = load(path);
    vq_pages p;
    vq_problems problems = {0};
    uint64_t count[VQ_DB_COUNT], verified = 0;
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, VQ_DB_COUNT), 0);
    cr_assert_eq(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0644), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    for (vq_db db = 0; db < VQ_DB_COPIES; db++) compare_db(txn, vq_db_names[db], &p, &count[db]);
    cr_assert(count[VQ_DB_IDS] == nkeys && count[VQ_DB_LISTS] == 40 && count[VQ_DB_META] == 1);
    cr_assert(count[VQ_DB_MODEL] == 0 && count[VQ_DB_NAMES] > 50);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    OK(vq_pages_verify(&p, &problems, &verified, &err));
    cr_assert(problems.count == 0 && verified > 2 && verified <= p.count);
    vq_mem_free(im.bytes);
}

Test(pages, the_same_as_lmdb)
{
    static const uint64_t nkeys[] = {0, 1, 2, 113, 5000, 100000};
    char *dir = test_tmpdir();
    for (size_t i = 0; i < VQ_COUNT(nkeys); i++) {
        char *path = test_path(dir, "x");
        make_file(path, nkeys[i]);
        compare_file(path, nkeys[i]);
        cr_assert_eq(unlink(path), 0);
        free(path);
    }
    test_rmdir(dir);
}

Test(pages, deep_trees_and_missing_keys)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 60000);
    image im = load(path);
    vq_pages p;
    vq_tree ids, other;
    const uint8_t *value;
    size_t len;
    uint8_t key[9] = {0};
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    OK(vq_tree_open(&p, "ids", &ids, &err));
    cr_assert(ids.depth >= 3, "depth %u", ids.depth);
    for (uint64_t i = 0; i < 3 * 60000 + 4; i++) {
        vq_put_be64(key, i);
        cr_assert_eq(vq_tree_get(&p, &ids, key, 8, &value, &len, &err),
                     i % 3 == 1 && i < 3 * 60000 ? VQ_OK : VQ_ENOENT);
        cr_assert_eq(vq_tree_get(&p, &ids, key, 7, &value, &len, &err), VQ_ENOENT);
        cr_assert_eq(vq_tree_get(&p, &ids, key, 9, &value, &len, &err), VQ_ENOENT);
    }
    cr_assert_eq(vq_tree_get(&p, &ids, "", 0, &value, &len, &err), VQ_ENOENT);
    cr_assert_eq(vq_tree_open(&p, "idz", &other, &err), VQ_ENOENT);
    OK(vq_tree_open(&p, "model", &other, &err));
    cr_assert(other.root == VQ_NO_PAGE && other.entries == 0);
    cr_assert_eq(vq_tree_get(&p, &other, "a", 1, &value, &len, &err), VQ_ENOENT);
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}

Test(pages, snapshots_by_transaction)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 10);
    image im = load(path);
    vq_pages p, q;
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    OK(vq_pages_open(&q, im.bytes, im.len, p.txn, &err));
    cr_assert(q.main.root == p.main.root && q.count == p.count);
    FAILS(VQ_EBUSY, vq_pages_open(&q, im.bytes, im.len, p.txn + 5, &err));
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}

/* Everything that reads pages, over a file that may be broken in any way.  Returns the entries
 * seen. */
static uint64_t read_all(const image *im)
{
    vq_pages p;
    vq_problems problems = {0};
    uint64_t seen = 0, verified;
    if (vq_pages_open(&p, im->bytes, im->len, 0, &err) != VQ_OK) return 0;
    cr_assert(p.count * p.size <= im->len);
    (void)vq_pages_verify(&p, &problems, &verified, &err);
    for (vq_db db = 0; db < VQ_DB_COUNT; db++) {
        vq_tree t;
        vq_cursor c;
        const uint8_t *value;
        size_t len;
        if (vq_tree_open(&p, vq_db_names[db], &t, &err) != VQ_OK) continue;
        for (uint64_t i = 0; i < 40; i++) {
            uint8_t key[8];
            vq_put_be64(key, i * 1501 % 6000);
            if (vq_tree_get(&p, &t, key, 8, &value, &len, &err) == VQ_OK)
                seen += len > 0 && value[0] + value[len - 1] == 0; /* ASan looks at these */
        }
        vq_status rc = vq_cursor_first(&c, &p, &t, &err);
        for (; rc == VQ_OK && c.depth > 0; rc = vq_cursor_next(&c, &err)) {
            seen++;
            cr_assert(c.node.value + c.node.len <= im->bytes + im->len);
            cr_assert(c.node.value >= im->bytes && c.node.key + c.node.key_len > im->bytes);
        }
    }
    return seen;
}

Test(pages, broken_bytes_do_no_harm)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 700);
    image im = load(path);
    uint64_t whole = read_all(&im);
    cr_assert(whole > 700);
    for (uint64_t i = 0; i < 1500; i++) {
        vq_rng r;
        vq_rng_init(&r, test_seed(), i);
        uint8_t was[8];
        size_t at[8], n = 1 + vq_rng_below(&r, 8);
        for (size_t j = 0; j < n; j++) { /* half of them where pages keep their headers and nodes */
            at[j] = vq_rng_below(&r, im.len);
            if (vq_rng_below(&r, 2) == 0) at[j] = at[j] / 4096 * 4096 + at[j] % 64;
            was[j] = im.bytes[at[j]];
            im.bytes[at[j]] =
                (uint8_t)(vq_rng_below(&r, 2) == 0 ? was[j] ^ 1u << vq_rng_below(&r, 8)
                                                   : vq_rng_u64(&r));
        }
        (void)read_all(&im);
        for (size_t j = n; j-- > 0;) im.bytes[at[j]] = was[j];
    }
    cr_assert_eq(read_all(&im), whole);
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}

Test(pages, pages_that_form_a_ring)
{
    /* Every branch page's first child becomes the page itself: no walk may go on for ever. */
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 5000);
    image im = load(path);
    vq_pages p;
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    size_t rings = 0;
    for (uint64_t page = 2; page < p.count; page++) {
        uint8_t *b = im.bytes + page * p.size;
        if ((vq_le16(b + 10) & 0xf) != VQ_PAGE_BRANCH || vq_le64(b) != page) continue;
        uint8_t *node = b + vq_le16(b + VQ_PAGE_HEADER);
        node[0] = (uint8_t)page, node[1] = (uint8_t)(page >> 8), node[2] = node[3] = 0;
        rings++;
    }
    cr_assert(rings > 0);
    vq_problems problems = {0};
    uint64_t verified;
    (void)read_all(&im);
    OK(vq_pages_verify(&p, &problems, &verified, &err));
    cr_assert(problems.count > 0);
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}

Test(pages, cut_short)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 700);
    image im = load(path);
    vq_pages p;
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    size_t need = (size_t)p.count * p.size;
    for (size_t len = 0; len < need; len += len < 9000 ? 61 : 3001) {
        uint8_t *part = vq_mem_alloc(len, 1); /* what lies behind it is ASan's */
        memcpy(part, im.bytes, len);
        FAILS(VQ_ECORRUPT, vq_pages_open(&p, part, len, 0, &err));
        vq_mem_free(part);
    }
    OK(vq_pages_open(&p, im.bytes, need, 0, &err));
    FAILS(VQ_ECORRUPT, vq_pages_open(&p, im.bytes, need - 1, 0, &err));
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}

Test(pages, not_lmdb)
{
    uint8_t *junk = vq_mem_calloc(4, 4096);
    vq_pages p;
    FAILS(VQ_ECORRUPT, vq_pages_open(&p, junk, 4 * 4096, 0, &err));
    memset(junk, 0xff, 4 * 4096);
    FAILS(VQ_ECORRUPT, vq_pages_open(&p, junk, 4 * 4096, 0, &err));
    vq_mem_free(junk);
}

/* The first page of a kind in a tree. */
static uint64_t find_page(const vq_pages *p, unsigned kind)
{
    for (uint64_t page = 2; page < p->count; page++)
        if ((vq_le16(p->base + page * p->size + 10) & 0xf) == kind &&
            vq_le64(p->base + page * p->size) == page)
            return page;
    cr_assert(false, "no page of kind %u", kind);
    return 0;
}

Test(pages, nodes_and_runs_that_leave_their_place)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 5000);
    image im = load(path);
    vq_pages p;
    vq_node node;
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    for (unsigned kind = VQ_PAGE_BRANCH; kind <= VQ_PAGE_LEAF; kind++) {
        uint64_t page = find_page(&p, kind);
        uint8_t *b = im.bytes + page * p.size, *offset = b + VQ_PAGE_HEADER, was[2];
        const unsigned wrong[] = {0, 14, vq_le16(b + 14) - 2u, 4089, 4092, 4096, 65535};
        memcpy(was, offset, 2);
        OK(vq_page_node(&p, page, 0, &node, &err));
        for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
            offset[0] = (uint8_t)wrong[i], offset[1] = (uint8_t)(wrong[i] >> 8);
            FAILS(VQ_ECORRUPT, vq_page_node(&p, page, 0, &node, &err));
        }
        memcpy(offset, was, 2);
        FAILS(VQ_ECORRUPT, vq_page_node(&p, page, 5000, &node, &err));
    }
    vq_tree lists;
    vq_cursor c;
    OK(vq_tree_open(&p, "lists", &lists, &err));
    OK(vq_cursor_first(&c, &p, &lists, &err));
    while (c.node.overflow == VQ_NO_PAGE) OK(vq_cursor_next(&c, &err));
    uint8_t *run = im.bytes + c.node.overflow * p.size + 12;
    const uint32_t wrong[] = {0, (uint32_t)(p.count - c.node.overflow) + 1, UINT32_MAX};
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        vq_put_le32(run, wrong[i]);
        FAILS(VQ_ECORRUPT, vq_page_node(&p, c.page[c.depth - 1], c.at[c.depth - 1], &node, &err));
    }
    /* The number of the run's first page stands behind the key. */
    uint8_t *first = im.bytes + (c.node.key - p.base) + c.node.key_len;
    const uint64_t beyond[] = {0, 1, p.count, VQ_NO_PAGE};
    for (size_t i = 0; i < VQ_COUNT(beyond); i++) {
        vq_put_le64(first, beyond[i]);
        FAILS(VQ_ECORRUPT, vq_page_node(&p, c.page[c.depth - 1], c.at[c.depth - 1], &node, &err));
        FAILS(VQ_ECORRUPT,
              vq_page_look(&p, c.page[c.depth - 1], VQ_PAGE_LEAF, c.at[c.depth - 1], &node, &err));
    }
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}

Test(pages, trees_that_hold_more_than_they_say)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 700);
    image im = load(path);
    vq_pages p;
    vq_tree ids;
    vq_cursor c;
    vq_status rc;
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    OK(vq_tree_open(&p, "ids", &ids, &err));
    ids.entries = 650;
    OK(vq_cursor_first(&c, &p, &ids, &err));
    uint64_t seen = 0;
    do seen++, rc = vq_cursor_next(&c, &err);
    while (rc == VQ_OK && c.depth > 0);
    cr_assert(rc == VQ_ECORRUPT && seen == 650, "%d after %llu", rc, (unsigned long long)seen);
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}

Test(pages, pages_that_belong_to_nothing)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    make_file(path, 100);
    image im = load(path);
    vq_pages p;
    vq_problems problems = {0};
    uint64_t verified;
    OK(vq_pages_open(&p, im.bytes, im.len, 0, &err));
    uint8_t *longer = vq_mem_calloc((size_t)p.count + 1, p.size);
    memcpy(longer, im.bytes, VQ_MIN(im.len, (size_t)p.count * p.size));
    for (size_t i = 0; i < 2; i++) vq_put_le64(longer + i * p.size + 16 + 120, p.count);
    OK(vq_pages_open(&p, longer, (size_t)(p.count + 1) * p.size, 0, &err));
    OK(vq_pages_verify(&p, &problems, &verified, &err));
    cr_assert_eq(problems.count, 1);
    vq_mem_free(longer);
    vq_mem_free(im.bytes);
    free(path);
    test_rmdir(dir);
}
