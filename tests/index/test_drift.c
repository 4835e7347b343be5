/* SPDX-License-Identifier: Apache-2.0 */
/* Drift: an index knows whether what was added is like what it was built of. */
#include "tests/index/fixture.h"

enum { N = 3000, D = 16, NEW = 500 };

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

TestSuite(drift, .init = open_dir, .fini = close_dir);

static vq_info info_of(void)
{
    vq_info info = VQ_INFO_INIT;
    vq_index *ix = open_index(path);
    OK(vq_index_info(ix, &info, &err));
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
    return info;
}

/* NEW rows under ids from `first` on; what the report says of drift. */
static float put(const float *rows, uint64_t first)
{
    uint64_t ids[NEW];
    vq_writer *w;
    vq_source *src;
    vq_write_report r = VQ_WRITE_REPORT_INIT;
    for (size_t i = 0; i < NEW; i++) ids[i] = first + i;
    OK(vq_source_open_array(&src, rows, NEW, D, VQ_F32, &err));
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_upsert(w, src, ids, NULL, NEW, &err));
    OK(vq_writer_commit(w, &r, &err));
    vq_writer_close(w);
    vq_source_close(src);
    return r.drift;
}

static void grow(const char *codec, uint32_t metric, uint32_t train)
{
    float *x = clusters(1, N + NEW, D), *other = clusters(99, NEW, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = codec, o.metric = metric, o.train = train, o.nlist = 20, o.force = 1;
    build(path, x, N, D, VQ_F32, &o);
    vq_info info = info_of();
    cr_assert_eq(info.added, 0);
    cr_assert_eq(info.drift, 0.0f);
    float drift = put(x + N * D, N);
    cr_assert_float_eq(drift, 0.0f, 0.1f, "%s: more of the same: %g", codec, (double)drift);
    for (size_t i = 0; i < NEW * D; i++) other[i] *= 3.0f;
    drift = put(other, N + NEW);
    cr_assert_gt(drift, 0.3f, "%s: others: %g", codec, (double)drift);
    info = info_of();
    cr_assert_eq(info.added, 2 * NEW, "%s", codec);
    cr_assert_eq(info.drift, drift);
    OK(vq_compact(path, NULL, NULL, &err));
    cr_assert_eq(info_of().drift, drift);
    cr_assert_gt(put(other, N + NEW), drift, "%s: new vectors of old ids count", codec);
    vq_mem_free(x), vq_mem_free(other);
}

/* The curve of recall is of the vectors that were there when it was measured. */
Test(drift, a_curve_grows_old, .timeout = 120)
{
    float *x = clusters(1, N + 2 * NEW, D);
    char before[33], after[33];
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_tune_opts t = VQ_TUNE_OPTS_INIT;
    o.codec = "pq8", o.nlist = 20, o.force = 1;
    build(path, x, N, D, VQ_F32, &o);
    cr_assert_eq(info_of().untuned, 0);
    (void)put(x + N * D, N);
    cr_assert_eq(info_of().untuned, NEW);
    vq_index *ix = open_index(path);
    vq_file *f;
    OK(vq_file_open(&f, path, &err));
    uint64_t commits = vq_file_newest(f);
    OK(vq_index_digest(ix, before, &err));
    OK(vq_tune(path, &t, &err));
    OK(vq_index_digest(ix, after, &err));
    cr_assert_eq(vq_file_newest(f), commits + 1, "the curve and its age are one commit");
    vq_file_close(f);
    cr_assert_str_eq(before, after, "what was measured is no content");
    vq_close(ix);
    cr_assert_eq(info_of().untuned, 0);
    (void)put(x + (N + NEW) * D, N + NEW);
    OK(vq_compact(path, NULL, NULL, &err));
    cr_assert_eq(info_of().untuned, NEW);
    vq_mem_free(x);
    o.no_tune = 1;
    x = clusters(1, N, D);
    build(path, x, N, D, VQ_F32, &o);
    (void)put(x, N);
    cr_assert_eq(info_of().untuned, 0, "there is no curve");
    vq_mem_free(x);
}

Test(drift, what_is_added_is_compared_with_the_build)
{
    grow("pq8", VQ_METRIC_L2, VQ_TRAIN_KMEANS);
    grow("flat", VQ_METRIC_COSINE, VQ_TRAIN_KMEANS);
    grow("pq8", VQ_METRIC_IP, VQ_TRAIN_QUERY_AWARE);
}

/* Distances of zero, and those no float holds. */
Test(drift, what_cannot_be_compared_says_nothing)
{
    float *same = vq_alloc_f32(N, D), *far = vq_alloc_f32(NEW, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    for (size_t i = 0; i < N * D; i++) same[i] = 1.0f;
    for (size_t i = 0; i < NEW * D; i++) far[i] = 1e17f;
    o.codec = "flat", o.rotation = VQ_ROTATION_NONE, o.store = VQ_F32, o.force = 1;
    build(path, same, N, D, VQ_F32, &o);
    cr_assert_eq(put(far, N), 0.0f);
    cr_assert_eq(info_of().drift, 0.0f);
    for (size_t i = 0; i < N * D; i++) same[i] += 1e-3f * (float)(i % 7);
    build(path, same, N, D, VQ_F32, &o);
    cr_assert_geq(put(far, N), 0.0f);
    cr_assert_eq(info_of().added, NEW);
    vq_mem_free(same), vq_mem_free(far);
}
