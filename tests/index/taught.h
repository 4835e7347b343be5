/* SPDX-License-Identifier: Apache-2.0 */
/* taught.h -- rows, queries that teach and queries that judge, for the tests of training. */
#ifndef VQ_TESTS_INDEX_TAUGHT_H
#define VQ_TESTS_INDEX_TAUGHT_H

#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "tests/index/fixture.h"

enum { N = 6000, D = 32, NQ = 600, K = 10 };

typedef struct world {
    float *x, *train, *held; /* rows; queries that teach and queries that judge */
    vq_source *queries;
} world;

/* Rows vary everywhere; queries look at few directions. */
static inline float *make_queries(uint64_t seed, size_t n)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *q = vq_alloc_f32(n, D);
    fill_normal(&r, q, n * D);
    for (size_t i = 0; i < n * D; i++) q[i] *= i % D < 6 ? 1.0f : 0.1f;
    return q;
}

static inline world make_world(void)
{
    world w = {clusters(1, N, D), make_queries(2, NQ), make_queries(3, NQ), NULL};
    OK(vq_source_open_array(&w.queries, w.train, NQ, D, VQ_F32, &err));
    return w;
}

static inline void end_world(world *w)
{
    vq_source_close(w->queries);
    vq_mem_free(w->x);
    vq_mem_free(w->train);
    vq_mem_free(w->held);
}

static inline vq_build_opts with_queries(const world *w, uint32_t metric)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = "pq8", o.code_bytes = 8, o.metric = metric, o.rotation = VQ_ROTATION_PCA;
    o.nlist = 16, o.force = 1, o.store = VQ_F32, o.queries = &w->queries, o.nqueries = 1;
    return o;
}

/* Share of the true ten of the queries `wanted` (NQ) within the ten found for the held ones; exact
 * search if rerank is N, the codes alone if it is VQ_NONE. */
static inline double overlap_with(const char *path, const world *w, const float *wanted,
                                  uint32_t metric, uint32_t rerank)
{
    static uint64_t truth[NQ * K], ids[NQ * K];
    vq_source *base;
    vq_exact_opts e = {.metric = metric, .k = K, .threads = 1};
    OK(vq_source_open_array(&base, w->x, N, D, VQ_F32, &err));
    OK(vq_exact(base, wanted, NQ, &e, truth, NULL, &err));
    vq_source_close(base);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, VQ_ALL, rerank);
    OK(vq_search(s, w->held, NQ, K, ids, NULL, &err));
    vq_searcher_close(s);
    vq_close(ix);
    return vq_recall(truth, K, K, ids, K, K, NQ);
}

static inline double overlap(const char *path, const world *w, uint32_t metric, uint32_t rerank)
{
    return overlap_with(path, w, w->held, metric, rerank);
}

#endif
