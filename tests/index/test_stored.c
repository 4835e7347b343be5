/* SPDX-License-Identifier: Apache-2.0 */
/* The stored rows of an index as a source: an index trained anew keeps rows and ids to the bit. */
#include "tests/index/taught.h"

enum { FEW = 900, SMALL_D = 16 };

typedef enum id_kind { ID_NONE, ID_NUMBERS, ID_STRINGS, ID_KINDS } id_kind;

static uint64_t number_of(size_t i)
{
    return (uint64_t)i * 2654435761u % 1000003 << 20;
}

/* An index trained anew from another. */
static vq_status try_retrain(const char *from, const char *to, const vq_build_opts *o)
{
    vq_source *src = NULL;
    vq_build_opts opts = *o;
    vq_index *ix = open_index(from);
    opts.threads = 1;
    vq_status rc = vq_source_open_index(&src, ix, &err);
    if (rc == VQ_OK) rc = vq_build(to, src, &opts, &err);
    vq_source_close(src);
    vq_close(ix);
    return rc;
}

/* Every row of both by its id, which is of the kind: the same bits, and the ids of rows. */
static void check_same_rows(const char *old, const char *fresh, id_kind kind, char **names)
{
    vq_index *a = open_index(old), *b = open_index(fresh);
    vq_searcher *sa = open_searcher(a, 0, 0), *sb = open_searcher(b, 0, 0);
    for (size_t i = 0; i < FEW; i++) {
        float x[SMALL_D], y[SMALL_D];
        uint64_t id = kind == ID_NUMBERS ? number_of(i) : i, other = id;
        if (kind == ID_STRINGS) OK(vq_id_find(sa, names[i], &id, &err));
        if (kind == ID_STRINGS) OK(vq_id_find(sb, names[i], &other, &err));
        cr_assert_eq(id, other);
        OK(vq_get(sa, id, x, &err));
        OK(vq_get(sb, id, y, &err));
        cr_assert(memcmp(x, y, sizeof x) == 0, "row %zu", i);
    }
    vq_searcher_close(sa);
    vq_searcher_close(sb);
    vq_close(a);
    vq_close(b);
}

static void check_info(const char *old, const char *fresh)
{
    vq_index *a = open_index(old), *b = open_index(fresh);
    vq_info x = VQ_INFO_INIT, y = VQ_INFO_INIT;
    OK(vq_index_info(a, &x, &err));
    OK(vq_index_info(b, &y, &err));
    cr_assert(x.n == y.n && x.d == y.d && x.metric == y.metric && x.store == y.store &&
              x.string_ids == y.string_ids);
    vq_close(a);
    vq_close(b);
}

Test(stored, rows_and_ids_stay_as_they_are)
{
    static const struct {
        uint32_t input, store;
    } types[] = {{VQ_F32, VQ_F32}, {VQ_F32, VQ_F16}, {VQ_F32, VQ_I8},
                 {VQ_F16, VQ_F16}, {VQ_I8, VQ_I8},   {VQ_U8, VQ_U8}};
    char *dir = test_tmpdir(), *old = test_path(dir, "old.vq"), *fresh = test_path(dir, "new.vq");
    char **names = make_names(FEW, "row ");
    uint64_t numbers[FEW];
    float *x = clusters(1, FEW, SMALL_D);
    for (size_t i = 0; i < FEW; i++) numbers[i] = number_of(i);
    for (size_t t = 0; t < VQ_COUNT(types); t++)
        for (id_kind kind = ID_NONE; kind < ID_KINDS; kind++) {
            void *rows = as_elem(x, (size_t)FEW * SMALL_D, types[t].input);
            vq_build_opts o = VQ_BUILD_OPTS_INIT, again = VQ_BUILD_OPTS_INIT;
            o.force = again.force = 1, o.store = types[t].store, o.metric = VQ_METRIC_COSINE;
            o.ids = kind == ID_NUMBERS ? numbers : NULL;
            o.names = kind == ID_STRINGS ? (const char *const *)names : NULL;
            o.nids = kind == ID_NONE ? 0 : FEW;
            build(old, rows, FEW, SMALL_D, types[t].input, &o);
            again.codec = "pq8", again.code_bytes = 4, again.seed = 9;
            OK(try_retrain(old, fresh, &again));
            check_same_rows(old, fresh, kind, names);
            check_info(old, fresh);
            cr_assert_eq(problems_of(fresh), 0);
            vq_mem_free(rows);
        }
    vq_mem_free(x);
    free_names(names, FEW);
    free(old), free(fresh);
    test_rmdir(dir);
}

/* Where the store loses nothing and ids are row numbers, the same options give the same index. */
Test(stored, the_same_as_from_the_vectors)
{
    char *dir = test_tmpdir(), *old = test_path(dir, "old.vq"), *fresh = test_path(dir, "new.vq");
    char a[33], b[33];
    float *x = clusters(2, FEW, SMALL_D);
    for (uint32_t elem = VQ_F32; elem <= VQ_U8; elem++) {
        void *rows = as_elem(x, (size_t)FEW * SMALL_D, elem);
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.force = 1, o.codec = "pq8", o.code_bytes = 8, o.nlist = 20, o.store = elem;
        o.rotation = VQ_ROTATION_PCA;
        build(old, rows, FEW, SMALL_D, elem, &o);
        OK(try_retrain(old, fresh, &o));
        digest_of(old, a), digest_of(fresh, b);
        cr_assert_str_eq(a, b, "%s", vq_elem_name(elem));
        vq_mem_free(rows);
    }
    vq_mem_free(x);
    free(old), free(fresh);
    test_rmdir(dir);
}

/* Nothing drifts: of an index trained anew, the next one with the same options is its equal. */
Test(stored, again_and_again)
{
    char *dir = test_tmpdir(), *one = test_path(dir, "1.vq"), *two = test_path(dir, "2.vq");
    char **names = make_names(FEW, "n"), a[33], b[33];
    float *x = clusters(3, FEW, SMALL_D);
    for (uint32_t store = VQ_F16; store <= VQ_I8; store++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT, again = VQ_BUILD_OPTS_INIT;
        o.force = again.force = 1, o.store = store;
        o.names = (const char *const *)names, o.nids = FEW;
        build(one, x, FEW, SMALL_D, VQ_F32, &o);
        OK(try_retrain(one, two, &again));
        digest_of(two, a);
        OK(try_retrain(two, two, &again)); /* in its own place */
        digest_of(two, b);
        cr_assert_str_eq(a, b, "%s", vq_elem_name(store));
    }
    vq_mem_free(x);
    free_names(names, FEW);
    free(one), free(two);
    test_rmdir(dir);
}

Test(stored, readers_go_on_with_what_took_the_place)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), before[33], after[33], seen[33];
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    build_clusters(path, 4, FEW, SMALL_D, &o);
    vq_index *ix = open_index(path);
    OK(vq_index_digest(ix, before, &err));
    FAILS(VQ_EBUSY, try_retrain(path, path, &o));
    o.force = 1, o.nlist = 7;
    OK(try_retrain(path, path, &o));
    OK(vq_index_digest(ix, seen, &err));
    digest_of(path, after);
    cr_assert_str_eq(after, seen);
    cr_assert_str_neq(before, after);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

/* Rows that were opened before a change must not take the place of what it made. */
Test(stored, no_change_is_lost)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *other = test_path(dir, "y.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_source *src, *rows;
    vq_writer *w;
    float *x = clusters(6, 3, SMALL_D);
    build_clusters(path, 4, FEW, SMALL_D, &o);
    vq_index *ix = open_index(path);
    OK(vq_source_open_index(&src, ix, &err));
    OK(vq_source_open_array(&rows, x, 3, SMALL_D, VQ_F32, &err));
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_add(w, rows, NULL, NULL, 0, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    vq_source_close(rows);
    o.force = 1, o.threads = 1;
    FAILS(VQ_EBUSY, vq_build(path, src, &o, &err));
    OK(vq_build(other, src, &o, &err)); /* elsewhere it may be as old as it likes */
    OK(vq_compact(path, NULL, NULL, &err));
    FAILS(VQ_EBUSY, vq_build(path, src, &o, &err)); /* though it is of a file that is gone */
    OK(vq_build(other, src, &o, &err));
    vq_source_close(src);
    vq_close(ix);
    OK(try_retrain(path, path, &o));
    ix = open_index(path);
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    cr_assert_eq(info.n, FEW + 3);
    vq_close(ix);
    vq_mem_free(x);
    free(path), free(other);
    test_rmdir(dir);
}

Test(stored, a_source_like_any_other)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    float *x = clusters(5, FEW, SMALL_D), row[7 * SMALL_D];
    uint64_t n;
    uint32_t d, elem;
    vq_source *src = NULL;
    o.store = VQ_I8;
    build(path, x, FEW, SMALL_D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 0, 0);
    OK(vq_source_open_index(&src, ix, &err));
    vq_source_shape(src, &n, &d, &elem);
    cr_assert(n == FEW && d == SMALL_D && elem == VQ_F32, "i8 of floats are floats again");
    for (size_t got = 1, at = 0; got > 0; at += got) {
        OK(vq_source_read_f32(src, row, 7, &got, &err));
        for (size_t i = 0; i < got; i++) {
            float want[SMALL_D];
            OK(vq_get(s, at + i, want, &err));
            cr_assert(memcmp(row + i * SMALL_D, want, sizeof want) == 0, "row %zu", at + i);
        }
        cr_assert(got > 0 || at == FEW);
    }
    vq_source_close(src);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Flips a bit of the first place where the bytes stand in the file. */
static void damage(const char *path, const void *bytes, size_t len)
{
    size_t size;
    uint8_t *file = test_read(path, &size), *at = memmem(file, size, bytes, len);
    cr_assert(at != NULL);
    *at ^= 1;
    test_write(path, file, size);
    free(file);
}

Test(stored, what_cannot_be_trained_anew)
{
    char *dir = test_tmpdir(), *old = test_path(dir, "old.vq"), *fresh = test_path(dir, "new.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_source *src = NULL;
    float *x = clusters(6, FEW, SMALL_D);
    o.store = VQ_ELEM_NONE;
    build(old, x, FEW, SMALL_D, VQ_F32, &o);
    o.store = VQ_ELEM_DEFAULT;
    FAILS(VQ_EUNSUPPORTED, try_retrain(old, fresh, &o));
    cr_assert(strstr(err.text, old) != NULL && strstr(err.text, "store none") != NULL, "%s",
              err.text);
    FAILS(VQ_EINVAL, vq_source_open_index(&src, NULL, &err));
    FAILS(VQ_EINVAL, vq_source_open_index(NULL, NULL, &err));
    o.force = 1, o.store = VQ_F32;
    build(old, x, FEW, SMALL_D, VQ_F32, &o);
    damage(old, x + 100 * SMALL_D, SMALL_D * sizeof *x);
    FAILS(VQ_ECORRUPT, try_retrain(old, fresh, &o));
    cr_assert(strstr(err.text, "rows") != NULL, "%s", err.text);
    cr_assert_eq(count_files(dir, "new.vq"), 0);
    vq_mem_free(x);
    free(old), free(fresh);
    test_rmdir(dir);
}

static vq_status read_all(const char *path)
{
    vq_index *ix = NULL;
    vq_source *src = NULL;
    float rows[50 * SMALL_D];
    size_t got = 1;
    vq_status rc = vq_open(&ix, path, 0, &err);
    if (rc == VQ_OK) rc = vq_source_open_index(&src, ix, &err);
    while (rc == VQ_OK && got > 0) rc = vq_source_read_f32(src, rows, 50, &got, &err);
    vq_source_close(src);
    vq_close(ix);
    return rc;
}

/* Bits that flip anywhere are an error or of no importance, never a crash; in rows and ids they are
 * an error. */
Test(stored, damaged_files, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), **names = make_names(FEW, "n");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_rng r;
    size_t size, refused = 0;
    vq_rng_init(&r, test_seed(), 8);
    for (int strings = 0; strings < 2; strings++) {
        o.force = 1, o.names = strings ? (const char *const *)names : NULL, o.nids = FEW;
        if (!strings) o.nids = 0;
        build_clusters(path, 7, FEW, SMALL_D, &o);
        uint8_t *file = test_read(path, &size);
        for (int i = 0; i < 400; i++) {
            size_t at = vq_rng_below(&r, size);
            uint8_t was = file[at];
            file[at] = (uint8_t)vq_rng_u64(&r);
            test_write(path, file, size);
            refused += read_all(path) != VQ_OK;
            file[at] = was;
        }
        free(file);
    }
    cr_assert_gt(refused, 100, "%zu of 800", refused);
    free_names(names, FEW);
    free(path);
    test_rmdir(dir);
}

/* Queries teach an index that was made without them, and what they teach holds for others. */
Test(stored, taught_by_queries_afterwards, .timeout = 300)
{
    char *dir = test_tmpdir(), *old = test_path(dir, "old.vq"), *fresh = test_path(dir, "new.vq");
    world w = make_world();
    vq_build_opts o = with_queries(&w, VQ_METRIC_IP), plain = o;
    plain.queries = NULL, plain.nqueries = 0, plain.store = VQ_F16;
    build(old, w.x, N, D, VQ_F32, &plain);
    double before = overlap(old, &w, VQ_METRIC_IP, VQ_NONE);
    OK(try_retrain(old, fresh, &plain));
    double same = overlap(fresh, &w, VQ_METRIC_IP, VQ_NONE);
    o.store = VQ_ELEM_DEFAULT, o.metric = VQ_METRIC_DEFAULT; /* of the index */
    OK(try_retrain(old, fresh, &o));
    double taught = overlap(fresh, &w, VQ_METRIC_IP, VQ_NONE);
    cr_assert(fabs(same - before) < 0.03, "%.3f, then %.3f", before, same);
    cr_assert_gt(taught, before + 0.1, "%.3f, then %.3f", before, taught);
    cr_assert_gt(overlap(fresh, &w, VQ_METRIC_IP, N), 0.995, "all reranked, of rows in f16");
    end_world(&w);
    free(old), free(fresh);
    test_rmdir(dir);
}
