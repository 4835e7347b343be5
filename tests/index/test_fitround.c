/* SPDX-License-Identifier: Apache-2.0 */
/* What queries are multiplied by is bytes and halves of bytes, products with vectors stay what they
 * were, and where lengths count they are those of vectors. */
#include "index/brief.h"
#include "index/searcher.h"
#include "tests/index/fixture.h"

enum { N = 4000, D = 96, SOME = 100, K = 10, LEAST_FOUND = 880 };

/* Around centres, each next coordinate varying less. */
static float *rows_of(uint64_t stream, size_t n)
{
    float *x = clusters(stream, n, D);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < D; j++)
            x[i * D + j] = 1.0f + x[i * D + j] * powf(1.0f + (float)j, -0.5f);
    return x;
}

static vq_build_opts options(uint32_t metric)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "saq", o.metric = metric, o.bits = 5.0f, o.store = VQ_ELEM_NONE, o.force = 1;
    o.nlist = 20, o.no_tune = 1;
    return o;
}

/* Products of queries with vectors are what they were. */
static void check_products(const vq_model *m, const vq_kernels *k, const float *x)
{
    vq_transform ask = m->transform;
    ask.matrix = m->query_matrix;
    for (size_t i = 0; i < SOME; i++) {
        float wide[2][D], y[2][D];
        for (size_t j = 0; j < 2; j++) memcpy(wide[j], x + (2 * i + j) * D, sizeof wide[j]);
        vq_transform_many(&m->transform, k, wide[0], 1, y[0]); /* wide is less the mean then */
        vq_transform_many(&ask, k, wide[1], 1, y[1]);
        double want = 0.0, got = 0.0, sq[2] = {0.0, 0.0};
        for (size_t j = 0; j < D; j++) {
            want += (double)wide[0][j] * (double)wide[1][j];
            got += (double)y[0][j] * (double)y[1][j];
            for (size_t t = 0; t < 2; t++) sq[t] += (double)wide[t][j] * (double)wide[t][j];
        }
        cr_assert(fabs(want - got) <= 1e-4 * sqrt(sq[0] * sq[1]), "%g is not %g", got, want);
    }
}

/* A list's vectors: what the factors take off is what lengths of vectors make of it. */
static void check_factors(vq_shard *h, const vq_kernels *k, const float *x, uint32_t list)
{
    const vq_model *m = &h->model;
    const float *c = m->centroids + (size_t)list * m->d_code;
    uint8_t row[1000];
    float y[D], decoded[D], wide[D], room[D], seen[D];
    OK(vq_shard_load(h, list, &err));
    if (h->lists[list].nchunks == 0) return; /* of a model of others */
    const vq_chunk_view *v = &h->lists[list].chunks[0];
    cr_assert(m->m <= sizeof row && m->d_code == D);
    double length = 0.0, off = 0.0;
    for (size_t j = 0; j < D; j++) room[j] = seen[j] = 0.0f;
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) room[j] += c[i] * m->query_matrix[i * D + j];
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) seen[i] += room[j] * m->query_matrix[i * D + j];
    for (size_t j = 0; j < D; j++) length += 0.5 * (double)room[j] * (double)room[j];
    cr_assert(fabs((double)m->biases[list] - length) <= 1e-4 * length + 1e-6);
    for (uint32_t slot = 0; slot < v->n; slot++) {
        const float *from = x + vq_le64(v->labels + 8 * (size_t)slot) * D;
        double want = 0.0, size = 0.0;
        m->codec->unpack(&m->code, v->codes, slot, row);
        m->codec->decode(&m->code, row, 1, decoded);
        memcpy(wide, from, sizeof wide);
        vq_transform_many(&m->transform, k, wide, 1, y); /* wide is less the mean now */
        for (size_t j = 0; j < D; j++) want += 0.5 * (double)wide[j] * (double)wide[j];
        size = want;
        for (size_t j = 0; j < D; j++)
            want += (double)seen[j] * ((double)decoded[j] - ((double)y[j] - (double)c[j]));
        off = fmax(off, fabs((double)v->factors[slot] - want) / size);
    }
    cr_assert(off < 1e-4, "list %u: %g", list, off);
}

static void check_model(const char *path, const float *x, bool few)
{
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, VQ_NONE);
    vq_shard *h = &s->shards[0];
    const vq_model *m = &h->model;
    vq_brief b;
    cr_assert(vq_model_rounded(m) && m->d_code == D && m->format == VQ_FORMAT_ROUNDED);
    check_products(m, s->k, x);
    OK(vq_brief_make(&b, m, s->k, &err));
    cr_assert(b.second == 0 && (b.matrix.few > 0) == few && b.matrix.few % 16 == 0);
    cr_assert(b.blur < 1e-6f, "%g", (double)b.blur);
    vq_brief_free(&b);
    for (uint32_t l = 0; l < m->nlist; l++) check_factors(h, s->k, x, l);
    vq_searcher_close(s);
    vq_close(ix);
}

Test(fitround, nothing_is_lost)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = rows_of(1, N);
    vq_build_opts o = options(VQ_METRIC_L2);
    build(path, x, N, D, VQ_F32, &o);
    cr_assert_eq(problems_of(path), 0, "%s", err.text);
    check_model(path, x, true);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* A model that was trained on others codes vectors as their own lengths want it, too. */
Test(fitround, models_of_others)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *other = test_path(dir, "y.vq");
    float *x = rows_of(1, N), *y = rows_of(3, N);
    vq_build_opts o = options(VQ_METRIC_L2);
    build(path, x, N, D, VQ_F32, &o);
    vq_build_opts of = VQ_BUILD_OPTS_INIT;
    of.model = open_index(path), of.store = VQ_ELEM_NONE, of.force = 1;
    build(other, y, N, D, VQ_F32, &of);
    vq_close(of.model);
    cr_assert_eq(problems_of(other), 0, "%s", err.text);
    check_model(other, y, true);
    vq_mem_free(x), vq_mem_free(y);
    free(path), free(other);
    test_rmdir(dir);
}

/* Rows of clusters far apart, compared with what vectors of one of them differ by. */
static float *apart(uint64_t stream, size_t n)
{
    enum { CENTRES = 40 };
    vq_rng r;
    float *x = vq_alloc_f32(n, D), *centres = vq_alloc_f32(CENTRES, D);
    vq_rng_init(&r, test_seed(), 77);
    fill_normal(&r, centres, CENTRES * D);
    vq_rng_init(&r, test_seed(), stream);
    for (size_t i = 0; i < n; i++) {
        const float *c = centres + vq_rng_below(&r, CENTRES) * D;
        for (size_t j = 0; j < D; j++)
            x[i * D + j] = 3.0f * c[j] + powf(0.97f, (float)j) * (float)vq_rng_normal(&r);
    }
    vq_mem_free(centres);
    return x;
}

static double distance(const float *a, const float *b)
{
    double sq = 0.0;
    for (size_t j = 0; j < D; j++)
        sq += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
    return sq;
}

/* Squared distances to q of the K nearest of x, rising. */
static void find_nearest(const float *x, const float *q, double *best)
{
    for (size_t i = 0; i < K; i++) best[i] = INFINITY;
    for (size_t v = 0; v < N; v++) {
        double sq = distance(q, x + v * D);
        for (size_t j = K; j-- > 0 && sq < best[j];) {
            if (j + 1 < K) best[j + 1] = best[j];
            best[j] = sq;
        }
    }
}

/* What codes are off by counts with the query less the list's centroid as queries have it, which
 * is far from the other where centroids are long. */
Test(fitround, lists_far_apart)
{
    static uint64_t ids[SOME * K];
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = apart(1, N), *q = apart(2, SOME);
    vq_build_opts o = options(VQ_METRIC_L2);
    size_t found = 0;
    o.bits = 3.0f, o.nlist = 40;
    build(path, x, N, D, VQ_F32, &o);
    check_model(path, x, false); /* where all axes count as much, all rows are bytes */
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, 0);
    OK(vq_search(s, q, SOME, K, ids, NULL, &err));
    for (size_t i = 0; i < SOME; i++) {
        double best[K];
        find_nearest(x, q + i * D, best);
        for (size_t j = 0; j < K; j++)
            found += distance(q + i * D, x + ids[i * K + j] * D) <= best[K - 1];
    }
    cr_assert(found >= LEAST_FOUND, "%zu", found);
    vq_searcher_close(s);
    vq_close(ix);
    vq_mem_free(x), vq_mem_free(q);
    free(path);
    test_rmdir(dir);
}

/* Other metrics, and coordinates beyond those of vectors, which have no axes: all is as it was. */
Test(fitround, not_elsewhere)
{
    enum { NARROW = 90 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D);
    for (int i = 0; i < 3; i++) {
        vq_build_opts o = options(i == 0 ? VQ_METRIC_L2 : i == 1 ? VQ_METRIC_IP : VQ_METRIC_COSINE);
        build(path, x, N, i == 0 ? NARROW : D, VQ_F32, &o);
        vq_index *ix = open_index(path);
        vq_searcher *s = open_searcher(ix, VQ_ALL, VQ_NONE);
        cr_assert(s->shards[0].model.query_map == 0);
        cr_assert(s->shards[0].model.format < VQ_FORMAT_ROUNDED);
        vq_searcher_close(s);
        vq_close(ix);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}
