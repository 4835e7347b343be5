/* SPDX-License-Identifier: Apache-2.0 */
/* Builds: the same bytes whatever the way, and nothing left behind by those that end early. */
#include "tests/index/fixture.h"

enum { N = 700, D = 12 };

static void same_bytes(const char *a, const char *b, const char *what)
{
    size_t a_len, b_len;
    uint8_t *x = test_read(a, &a_len), *y = test_read(b, &b_len);
    cr_assert(a_len == b_len && memcmp(x, y, a_len) == 0, "%s: the files differ", what);
    free(x);
    free(y);
}

Test(build, threads_do_not_show)
{
    char *dir = test_tmpdir(), *one = test_path(dir, "1.vq"), *more = test_path(dir, "2.vq");
    float *x = clusters(1, 3000, D);
    for (size_t c = 0; c < vq_codec_count; c++) {
        char a[33], b[33];
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.codec = vq_codecs[c]->name, o.force = 1;
        o.rotation = vq_codecs[c]->codewords == 16 ? VQ_ROTATION_OPQ : VQ_ROTATION_PCA;
        o.code_bytes = vq_codecs[c]->codewords != 0 ? 8 : 0;
        o.threads = 1;
        build(one, x, 3000, D, VQ_F32, &o);
        digest_of(one, a);
        for (o.threads = 2; o.threads <= 3; o.threads++) {
            build(more, x, 3000, D, VQ_F32, &o);
            digest_of(more, b);
            cr_assert_str_eq(a, b);
            same_bytes(one, more, o.codec);
        }
        o.seed = 2;
        build(more, x, 3000, D, VQ_F32, &o);
        digest_of(more, b);
        cr_assert(strcmp(a, b) != 0, "%s: another seed, the same index", o.codec);
    }
    vq_mem_free(x);
    free(one);
    free(more);
    test_rmdir(dir);
}

static void check_memory(const float *x, size_t n, uint32_t d, vq_build_opts o)
{
    char *dir = test_tmpdir(), *much = test_path(dir, "1.vq"), *little = test_path(dir, "2.vq");
    o.memory = (uint64_t)1 << 30;
    build(much, x, n, d, VQ_F32, &o);
    o.memory = 1;
    build(little, x, n, d, VQ_F32, &o);
    same_bytes(much, little, "little memory");
    cr_assert_eq(problems_of(little), 0);
    free(much);
    free(little);
    test_rmdir(dir);
}

Test(build, memory_does_not_show)
{
    float *x = clusters(1, N, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    check_memory(x, N, D, o); /* records go by the temporary file */
    vq_mem_free(x);
}

/* Rows as an fvecs file; the last of `every` has a NaN. */
static size_t make_fvecs(uint8_t *out, const float *x, size_t n, size_t d, size_t every)
{
    uint8_t *at = out;
    for (size_t i = 0; i < n; i++) {
        uint32_t dim = (uint32_t)d;
        memcpy(at, &dim, 4);
        memcpy(at + 4, x + i * d, 4 * d);
        float nan = NAN;
        if (every != 0 && i % every == every - 1) memcpy(at + 4 + 4 * (i % d), &nan, 4);
        at += 4 + 4 * d;
    }
    return (size_t)(at - out);
}

/* The rows of an index built of n rows, of which every fifth is bad. */
static void check_skipped(const char *path, const float *x, size_t n)
{
    vq_index *ix = open_index(path);
    vq_info info = VQ_INFO_INIT;
    float row[D];
    OK(vq_index_info(ix, &info, &err));
    cr_assert_eq(info.n, n - n / 5);
    vq_searcher *s = open_searcher(ix, 0, 0);
    for (size_t i = 0; i < n; i++) {
        if (i % 5 == 4) {
            FAILS(VQ_ENOENT, vq_get(s, 1000 + i, row, &err));
            continue;
        }
        OK(vq_get(s, 1000 + i, row, &err));
        cr_assert(memcmp(row, x + i * D, sizeof row) == 0, "row %zu", i);
    }
    vq_searcher_close(s);
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
}

Test(build, bad_rows)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *file = test_path(dir, "x.fvecs");
    float *x = clusters(1, N, D);
    uint8_t *bytes = malloc(N * (4 + 4 * D));
    uint64_t ids[N];
    vq_source *src;
    for (size_t i = 0; i < N; i++) ids[i] = 1000 + i;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.threads = 1, o.store = VQ_F32, o.ids = ids, o.nids = N;
    test_write(file, bytes, make_fvecs(bytes, x, N, D, 5));
    OK(vq_source_open_file(&src, file, 0, &err));
    FAILS(VQ_ECORRUPT, vq_build(path, src, &o, &err));
    cr_assert(strstr(err.text, "row 4 ") != NULL);
    vq_source_close(src);
    OK(vq_source_open_file(&src, file, 1, &err));
    OK(vq_build(path, src, &o, &err));
    vq_source_close(src);
    check_skipped(path, x, N);
    /* From a pipe: the number of rows is not known, and bad ones count. */
    enum { FEW = 200 };
    int fds[2];
    size_t len = make_fvecs(bytes, x, FEW, D, 5);
    cr_assert(pipe(fds) == 0 && write(fds[1], bytes, len) == (ssize_t)len);
    close(fds[1]);
    cr_assert(dup2(fds[0], 0) == 0);
    o.nids = FEW, o.force = 1;
    uint64_t n;
    OK(vq_source_open_file(&src, "-", 1, &err));
    vq_source_shape(src, &n, NULL, NULL);
    cr_assert_eq(n, UINT64_MAX);
    OK(vq_build(path, src, &o, &err));
    vq_source_close(src);
    check_skipped(path, x, FEW);
    test_write(file, bytes, make_fvecs(bytes, x, 4, D, 1));
    OK(vq_source_open_file(&src, file, 1, &err));
    o.ids = NULL;
    FAILS(VQ_ECORRUPT, vq_build(path, src, &o, &err)); /* none is good */
    vq_source_close(src);
    check_skipped(path, x, FEW);
    free(bytes);
    vq_mem_free(x);
    free(path);
    free(file);
    test_rmdir(dir);
}

/* A source by callback; passes may differ in length. */
typedef struct feed {
    const float *x;
    size_t next, pass, lengths[4]; /* rows of each pass; SIZE_MAX: fails at row 3 */
} feed;

static int feed_rows(void *ctx, int rewind, void *rows, size_t max, size_t *got)
{
    feed *f = ctx;
    if (rewind) {
        if (f->next > 0) f->pass++;
        f->next = 0;
        return 0;
    }
    size_t n = f->lengths[f->pass], want = VQ_MIN(VQ_MIN(max, n - f->next), (size_t)37);
    if (n == SIZE_MAX) return 5;
    memcpy(rows, f->x + f->next * D, want * D * sizeof *f->x);
    f->next += want;
    *got = want;
    return 0;
}

static vq_status build_fed(const char *path, const float *x, const size_t lengths[3])
{
    feed f = {.x = x};
    memcpy(f.lengths, lengths, 3 * sizeof *lengths);
    f.lengths[3] = lengths[2];
    vq_source *src;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.threads = 1, o.force = 1;
    OK(vq_source_open_fn(&src, feed_rows, &f, D, VQ_F32, &err));
    vq_status rc = vq_build(path, src, &o, &err);
    vq_source_close(src);
    return rc;
}

Test(build, callbacks)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *array = test_path(dir, "y.vq");
    float *x = clusters(1, N, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    build(array, x, N, D, VQ_F32, &o);
    OK(build_fed(path, x, (size_t[]){N, N, N}));
    same_bytes(path, array, "callback");
    static const size_t changing[][3] = {{500, 501, 500}, {500, 499, 500}, {500, 700, 700},
                                         {500, 500, 501}, {500, 500, 499}, {500, 0, 500}};
    for (size_t i = 0; i < VQ_COUNT(changing); i++) {
        FAILS(VQ_EIO, build_fed(path, x, changing[i]));
        cr_assert(strstr(err.text, "changed") != NULL, "%s", err.text);
    }
    for (size_t pass = 0; pass < 3; pass++) {
        size_t failing[3] = {N, N, N};
        failing[pass] = SIZE_MAX;
        FAILS(VQ_EIO, build_fed(path, x, failing));
    }
    FAILS(VQ_ECORRUPT, build_fed(path, x, (size_t[]){0, 0, 0}));
    same_bytes(path, array, "after failures");
    cr_assert_eq(count_files(dir, "x.vq.tmp"), 0);
    vq_mem_free(x);
    free(path);
    free(array);
    test_rmdir(dir);
}

Test(build, what_cannot_be_built)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D);
    uint64_t ids[N];
    for (size_t i = 0; i < N; i++) ids[i] = i;
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    FAILS(VQ_EINVAL, vq_build(path, NULL, &o, &err));
    FAILS(VQ_EINVAL, try_build("", x, N, D, VQ_F32, &o));
    FAILS(VQ_ECORRUPT, try_build(path, x, 0, D, VQ_F32, &o));
    o.ids = ids;
    o.nids = N - 1;
    FAILS(VQ_EINVAL, try_build(path, x, N, D, VQ_F32, &o));
    o.nids = N, ids[5] = 600;
    FAILS(VQ_EINVAL, try_build(path, x, N, D, VQ_F32, &o));
    cr_assert(strstr(err.text, "rows 5 and 600") != NULL);
    ids[5] = VQ_NO_ID;
    FAILS(VQ_EINVAL, try_build(path, x, N, D, VQ_F32, &o));
    ids[5] = 5;
    x[7 * D + 2] = INFINITY;
    FAILS(VQ_ECORRUPT, try_build(path, x, N, D, VQ_F32, &o));
    /* What squares to more than a float holds has no distance. */
    x[7 * D + 2] = 1e19f;
    FAILS(VQ_ECORRUPT, try_build(path, x, N, D, VQ_F32, &o));
    cr_assert(strstr(err.text, "1e+19") != NULL, "%s", err.text);
    o.metric = VQ_METRIC_IP;
    FAILS(VQ_ECORRUPT, try_build(path, x, N, D, VQ_F32, &o));
    o.metric = VQ_METRIC_L2;
    x[7 * D + 2] = 0.0f;
    o.force = 1;
    FAILS(VQ_EBUSY, try_build(dir, x, N, D, VQ_F32, &o)); /* a folder */
    o.force = 0;
    o.codec = "zip";
    FAILS(VQ_EINVAL, try_build(path, x, N, D, VQ_F32, &o));
    o.codec = NULL;
    cr_assert_eq(count_files(dir, ""), 0);
    OK(try_build(path, x, N, D, VQ_F32, &o));
    FAILS(VQ_EBUSY, try_build(path, x, N, D, VQ_F32, &o));
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(build, more_lists_than_vectors)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    for (size_t n = 1; n <= 9; n += 4) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        vq_info info = VQ_INFO_INIT;
        o.nlist = 5000, o.force = 1;
        build_clusters(path, 1, n, D, &o);
        vq_index *ix = open_index(path);
        OK(vq_index_info(ix, &info, &err));
        cr_assert(info.nlist <= n && info.nlist >= 1 && strstr(info.why, "5000") != NULL);
        vq_close(ix);
        cr_assert_eq(problems_of(path), 0);
    }
    free(path);
    test_rmdir(dir);
}

/* Stops at the call number `at`; remembers the phase. */
typedef struct stopper {
    int at, calls;
    char phase[32];
    uint64_t done, total;
} stopper;

static int stop(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    stopper *s = ctx;
    cr_assert(total == 0 || done <= total, "%s: %llu of %llu", phase, (unsigned long long)done,
              (unsigned long long)total);
    if (++s->calls != s->at) return 0;
    (void)snprintf(s->phase, sizeof s->phase, "%s", phase);
    return 1;
}

Test(build, stopped_anywhere)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, 300, D);
    char before[33], after[33], phases[2000] = "";
    for (int old = 0; old < 2; old++) { /* without and with a file in its place */
        vq_status rc = VQ_ECANCELED;
        for (int at = 1; rc != VQ_OK; at++) {
            stopper s = {.at = at};
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            o.codec = "pq4", o.threads = 1, o.force = 1, o.seed = (uint64_t)old + 1;
            o.progress = stop, o.progress_ctx = &s;
            rc = try_build(path, x, 300, D, VQ_F32, &o);
            cr_assert_eq(count_files(dir, "x.vq.tmp"), 0);
            if (rc == VQ_OK) break;
            cr_assert(rc == VQ_ECANCELED && s.calls == at, "goes on after a stop");
            cr_assert(strstr(err.text, s.phase) != NULL);
            strncat(phases, s.phase, sizeof phases - strlen(phases) - 1);
            if (old == 0) cr_assert(access(path, F_OK) != 0, "a file after %s", s.phase);
            if (old == 0) continue;
            digest_of(path, after);
            cr_assert_str_eq(before, after);
        }
        digest_of(path, before);
    }
    static const char *const all[] = {"sample", "axes", "lists", "encode", "write", "sync"};
    for (size_t i = 0; i < VQ_COUNT(all); i++)
        cr_assert(strstr(phases, all[i]) != NULL, "never stopped in %s: %s", all[i], phases);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}
