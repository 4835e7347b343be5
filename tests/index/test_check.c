/* SPDX-License-Identifier: Apache-2.0 */
/* vq_check: sound files are clean; what it calls clean says what it said before; no bytes, however
 * broken, bring a reader down. */
#include <lmdb.h>
#include <sys/stat.h>

#include "src/base/bytes.h"
#include "tests/index/fixture.h"

enum { D = 8 };

typedef struct config {
    const char *codec;
    uint32_t metric, store, nlist;
    bool strings;
    size_t n;
    bool copies;
} config;

static void build_config(const char *path, const config *c)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    char **names = make_names(c->n, "name ");
    o.codec = c->codec, o.metric = c->metric, o.store = c->store, o.nlist = c->nlist;
    o.force = 1;
    if (c->copies) o.copies = VQ_COPIES_YES;
    if (c->strings) o.names = (const char *const *)names, o.nids = c->n;
    build_clusters(path, 1, c->n, D, &o);
    free_names(names, c->n);
}

Test(check, sound_files_are_clean)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    static const size_t ns[] = {1, 33, 600};
    for (size_t c = 0; c < vq_codec_count; c++)
        for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++)
            for (size_t i = 0; i < VQ_COUNT(ns); i++) {
                config k = {.codec = vq_codecs[c]->name,
                            .metric = metric,
                            .store = i == 1 ? VQ_ELEM_NONE : VQ_F16,
                            .nlist = i == 2 ? 3 : 0,
                            .strings = (c + i) % 2 == 0,
                            .n = ns[i],
                            .copies = (c + metric) % 2 == 0};
                build_config(path, &k);
                vq_check_report r = VQ_CHECK_REPORT_INIT;
                OK(vq_check(path, NULL, NULL, &r, &err));
                cr_assert(r.problems == 0 && r.vectors == k.n && r.pages > 5);
                cr_assert(r.values >= k.n + 19, "every id and text");
            }
    free(path);
    test_rmdir(dir);
}

static void count_line(void *ctx, const char *text)
{
    cr_assert(text[0] != '\0' && strchr(text, '\n') == NULL);
    ++*(uint64_t *)ctx;
}

Test(check, problems_are_told)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    uint64_t told = 0;
    test_write(path, "no index at all", 15);
    vq_check_report r = VQ_CHECK_REPORT_INIT;
    OK(vq_check(path, count_line, &told, &r, &err));
    cr_assert(r.problems == 1 && told == 1);
    FAILS(VQ_EINVAL, vq_check(NULL, NULL, NULL, &r, &err));
    FAILS(VQ_EINVAL, vq_check(path, NULL, NULL, NULL, &err));
    free(path);
    test_rmdir(dir);
}

/* Opens and uses a file in every way; any answer will do. */
static void use(const char *path, char hex[33])
{
    vq_index *ix;
    vq_searcher *s = NULL;
    float q[D] = {0.5f, -1.0f}, row[D], scores[40];
    uint64_t ids[40], id;
    char name[501];
    vq_info info = VQ_INFO_INIT;
    hex[0] = '\0';
    if (vq_open(&ix, path, 0, &err) != VQ_OK) return;
    (void)vq_index_info(ix, &info, &err);
    if (vq_index_digest(ix, hex, &err) != VQ_OK) hex[0] = '\0';
    static const uint32_t reranks[] = {0, VQ_NONE};
    for (size_t i = 0; i < 2 * VQ_COUNT(reranks) && info.d == D; i++) {
        vq_search_opts o = VQ_SEARCH_OPTS_INIT;
        o.nprobe = i % 2 == 0 ? VQ_ALL : 1, o.rerank = reranks[i / 2];
        if (vq_searcher_open(&s, ix, &o, &err) != VQ_OK) continue;
        (void)vq_search(s, q, 1, 40, ids, scores, &err);
        for (uint64_t j = 0; j < 200; j += 23) {
            (void)vq_get(s, j, row, &err);
            (void)vq_id_name(s, j, name, sizeof name, &err);
            if (vq_id_find(s, "name 007919", &id, &err) == VQ_OK) (void)vq_get(s, id, row, &err);
        }
        vq_searcher_close(s);
    }
    vq_close(ix);
}

/* Flips some bits of a sound file over and over. */
static void flip_bits(const char *path, const config *c, uint64_t rounds)
{
    size_t len, clean = 0, told = 0;
    char sound[33], hex[33];
    build_config(path, c);
    uint8_t *bytes = test_read(path, &len), *copy = malloc(len);
    use(path, sound);
    cr_assert_eq(strlen(sound), 32);
    for (uint64_t i = 0; i < rounds; i++) {
        vq_rng r;
        vq_rng_init(&r, test_seed(), i);
        memcpy(copy, bytes, len);
        for (uint64_t n = 1 + vq_rng_below(&r, 3); n > 0; n--) {
            size_t at = vq_rng_below(&r, len);
            if (vq_rng_below(&r, 2) == 0) at = at / 4096 * 4096 + at % 160; /* headers */
            copy[at] ^= (uint8_t)(1u << vq_rng_below(&r, 8));
        }
        test_write(path, copy, len);
        uint64_t problems = problems_of(path);
        use(path, hex);
        clean += problems == 0, told += problems != 0;
        cr_assert(problems != 0 || strcmp(hex, sound) == 0,
                  "%s: flip %llu (seed %llu) went unnoticed: %s, %s", c->codec,
                  (unsigned long long)i, (unsigned long long)test_seed(), sound, hex);
    }
    cr_assert(told > rounds / 10 && clean > 0, "%zu told, %zu clean", told, clean);
    free(bytes);
    free(copy);
}

Test(check, flipped_bits_are_noticed_and_do_no_harm, .timeout = 300)
{
    static const config configs[] = {
        {"pq4", VQ_METRIC_L2, VQ_F16, 5, true, 300, false},
        {"pq8", VQ_METRIC_IP, VQ_ELEM_NONE, 0, false, 200, false},
        {"sq8", VQ_METRIC_COSINE, VQ_F16, 0, false, 200, true},
        {"flat", VQ_METRIC_L2, VQ_ELEM_NONE, 3, true, 300, true},
    };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    for (size_t i = 0; i < VQ_COUNT(configs); i++) flip_bits(path, &configs[i], 400);
    free(path);
    test_rmdir(dir);
}

Test(check, cut_short)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), hex[33];
    size_t len;
    config c = {"pq4", VQ_METRIC_L2, VQ_F16, 5, true, 300, true};
    build_config(path, &c);
    uint8_t *bytes = test_read(path, &len);
    for (size_t cut = 0; cut < len; cut += cut < 9000 ? 101 : 2049) {
        test_write(path, bytes, cut);
        uint64_t problems = problems_of(path);
        cr_assert(problems != 0, "%zu of %zu bytes pass", cut, len);
        vq_index *ix = NULL;
        FAILS(VQ_ECORRUPT, vq_open(&ix, path, 0, &err));
        cr_assert(ix == NULL && strstr(err.text, path) != NULL, "%s", err.text);
        use(path, hex);
    }
    test_write(path, bytes, len);
    cr_assert_eq(problems_of(path), 0);
    free(bytes);
    free(path);
    test_rmdir(dir);
}

static void make_foreign(const char *path)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {3, (void *)(uintptr_t) "key"}, v = {5, (void *)(uintptr_t) "value"};
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 2), 0);
    cr_assert_eq(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0644), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "meta", MDB_CREATE, &dbi), 0);
    cr_assert_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

Test(check, files_of_others)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_check_report r = VQ_CHECK_REPORT_INIT;
    vq_index *ix;
    FAILS(VQ_ENOENT, vq_check(path, NULL, NULL, &r, &err));
    FAILS(VQ_ENOENT, vq_open(&ix, path, 0, &err));
    FAILS(VQ_EINVAL, vq_open(&ix, NULL, 0, &err));
    FAILS(VQ_EINVAL, vq_open(NULL, path, 0, &err));
    FAILS(VQ_EINVAL, vq_open(&ix, path, 1, &err));
    FAILS(VQ_EIO, vq_open(&ix, dir, 0, &err));
    cr_assert_eq(problems_of(dir), UINT64_MAX);
    uint8_t *junk = vq_mem_calloc(3, 4096);
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {{"", 0}, {"1 2 3\n", 6}, {NULL, 3 * 4096}};
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        test_write(path, wrong[i].bytes != NULL ? (const void *)wrong[i].bytes : junk,
                   wrong[i].len);
        cr_assert_eq(problems_of(path), 1);
        FAILS(VQ_ECORRUPT, vq_open(&ix, path, 0, &err));
    }
    cr_assert_eq(unlink(path), 0);
    make_foreign(path);
    cr_assert_eq(problems_of(path), 1);
    FAILS(VQ_ECORRUPT, vq_open(&ix, path, 0, &err));
    cr_assert(ix == NULL && strstr(err.text, "not a vq index") != NULL, "%s", err.text);
    vq_mem_free(junk);
    free(path);
    test_rmdir(dir);
}

/* The value of the first key of a database in a file's bytes. */
static uint8_t *first_value(uint8_t *bytes, size_t len, vq_db db, size_t *value_len)
{
    vq_pages p;
    vq_tree t;
    vq_cursor c;
    OK(vq_pages_open(&p, bytes, len, 0, &err));
    OK(vq_tree_open(&p, vq_db_names[db], &t, &err));
    OK(vq_cursor_first(&c, &p, &t, &err));
    *value_len = c.node.len;
    return bytes + (c.node.value - bytes);
}

/* The place of a copy, which an id names, is another's. */
Test(check, ids_of_other_copies)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), hex[33];
    config c = {"flat", VQ_METRIC_IP, VQ_F16, 6, false, 60, true};
    build_config(path, &c);
    size_t len, found = 0;
    uint8_t *sound = test_read(path, &len), *bytes = vq_mem_alloc(len, 1);
    vq_pages p;
    vq_tree t;
    vq_cursor at;
    OK(vq_pages_open(&p, sound, len, 0, &err));
    OK(vq_tree_open(&p, vq_db_names[VQ_DB_IDS], &t, &err));
    OK(vq_cursor_first(&at, &p, &t, &err));
    while (at.depth > 0) {
        vq_node node = at.node;
        OK(vq_cursor_next(&at, &err));
        if (node.len != 16) continue;
        for (size_t byte = 8; byte < 16; byte++) {
            memcpy(bytes, sound, len);
            bytes[node.value + byte - sound] ^= 1;
            test_write(path, bytes, len);
            cr_assert_eq(problems_of(path), 1, "byte %zu", byte);
            use(path, hex);
        }
        found++;
    }
    cr_assert(found > 0 && found < 60);
    vq_mem_free(bytes);
    free(sound);
    free(path);
    test_rmdir(dir);
}

Test(check, lies_under_good_checksums)
{
    /* Records that are whole but do not fit one another. */
    enum { FIRST_LABEL = 1000 };
    static const struct {
        vq_db db;
        size_t at; /* byte of the value that is changed */
    } lies[] = {
        {VQ_DB_LISTS, 8},
        {VQ_DB_LISTS, 12},
        {VQ_DB_LISTS, 16},
        {VQ_DB_LISTS, FIRST_LABEL},
        {VQ_DB_VECTORS, 8},
        {VQ_DB_VECTORS, 16},
        {VQ_DB_VECTORS, 20},
        {VQ_DB_IDS, 0},
        {VQ_DB_IDS, 3},
        {VQ_DB_IDS, 4},
        {VQ_DB_COPIES, 8},
        {VQ_DB_COPIES, 12},
        {VQ_DB_COPIES, 16},
        {VQ_DB_COPIES, FIRST_LABEL},
        {VQ_DB_COPIES, FIRST_LABEL + 3},
        {VQ_DB_COPIES, FIRST_LABEL + 4},
        {VQ_DB_COPIES, FIRST_LABEL + 7},
    };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), hex[33];
    config c = {"flat", VQ_METRIC_IP, VQ_F16, 6, false, 60, true};
    build_config(path, &c);
    size_t len, value_len;
    uint8_t *sound = test_read(path, &len), *bytes = vq_mem_alloc(len, 1);
    for (size_t i = 0; i < VQ_COUNT(lies); i++) {
        memcpy(bytes, sound, len);
        uint8_t *value = first_value(bytes, len, lies[i].db, &value_len);
        size_t at = lies[i].at;
        if (at >= FIRST_LABEL)
            at = at - FIRST_LABEL + 48 + (vq_le32(value + 8) + 31) / 32 * 32 * 4 * D;
        value[at] ^= 1;
        if (lies[i].db != VQ_DB_IDS) vq_record_seal(value, value_len);
        test_write(path, bytes, len);
        cr_assert(problems_of(path) >= 1 && problems_of(path) != UINT64_MAX, "lie %zu", i);
        use(path, hex);
    }
    vq_mem_free(bytes);
    free(sound);
    free(path);
    test_rmdir(dir);
}
