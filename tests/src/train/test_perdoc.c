/* SPDX-License-Identifier: Apache-2.0 */
/* Codes as the queries of a row feel them: the cost against its definition, never rising; without a
 * weight the plain nearest codewords; bits for any number of threads. */
#include "src/train/perdoc.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

enum { N = 300, D = 12, M = 3, KK = 16, LISTS = 5, NQ = 40, NEAR = 4 };

typedef struct world {
    float rows[N * D], centroids[LISTS * D], queries[NQ * D], words[M * KK * D];
    uint32_t lists[N], near[N * NEAR];
    uint8_t codes[N * M];
    vq_perdoc p;
} world;

static world *make(size_t len, float beta)
{
    world *w = vq_mem_calloc(1, sizeof *w);
    vq_rng r;
    vq_rng_init(&r, test_seed(), len);
    fill_normal(&r, w->rows, N * D);
    fill_normal(&r, w->centroids, LISTS * D);
    fill_normal(&r, w->queries, NQ * D);
    fill_normal(&r, w->words, M * KK * len);
    for (size_t i = 0; i < N; i++) w->lists[i] = (uint32_t)vq_rng_below(&r, LISTS);
    for (size_t i = 0; i < N * M; i++) w->codes[i] = (uint8_t)vq_rng_below(&r, KK);
    for (size_t i = 0; i < N; i++) /* some rows have all their queries, some few, some none */
        for (size_t s = 0, n = i % (NEAR + 1); s < NEAR; s++)
            w->near[i * NEAR + s] = s < n ? (uint32_t)vq_rng_below(&r, NQ) : UINT32_MAX;
    w->p = (vq_perdoc){.n = N, .d = D, .nlist = LISTS, .nq = NQ, .m = M, .kk = KK, .len = len};
    w->p.words = w->words, w->p.rows = w->rows, w->p.centroids = w->centroids;
    w->p.lists = w->lists, w->p.queries = w->queries, w->p.near = w->near;
    w->p.count = NEAR, w->p.beta = beta, w->p.sweeps = 1, w->p.threads = 1;
    return w;
}

/* By its definition. */
static double cost(const world *w, size_t i)
{
    double e[D], sum = 0.0;
    size_t len = w->p.len;
    for (size_t t = 0; t < D; t++)
        e[t] = (double)w->rows[i * D + t] - (double)w->centroids[w->lists[i] * D + t];
    for (size_t j = 0; j < M; j++)
        for (size_t t = 0; t < len; t++)
            e[(len < D ? j * len : 0) + t] -=
                (double)w->p.words[(j * w->p.kk + w->codes[i * M + j]) * len + t];
    for (size_t t = 0; t < D; t++) sum += e[t] * e[t];
    for (size_t s = 0; s < NEAR && w->near[i * NEAR + s] != UINT32_MAX; s++) {
        double dot = 0.0;
        for (size_t t = 0; t < D; t++)
            dot += ((double)w->queries[w->near[i * NEAR + s] * D + t] -
                    (w->p.from_rows ? (double)w->rows[i * D + t] : 0.0)) *
                   e[t];
        sum += (double)w->p.beta / NEAR * dot * dot;
    }
    return sum;
}

static void never_rises(size_t len, float beta, bool from_rows)
{
    world *w = make(len, beta);
    w->p.from_rows = from_rows;
    size_t fell = 0;
    for (int round = 0; round < 4; round++) {
        double before[N];
        for (size_t i = 0; i < N; i++) before[i] = cost(w, i);
        cr_assert_eq(vq_perdoc_encode(&w->p, w->codes, NULL), VQ_OK);
        for (size_t i = 0; i < N; i++) {
            double after = cost(w, i);
            cr_assert_leq(after, before[i] * (1.0 + 1e-5), "row %zu: %g to %g", i, before[i],
                          after);
            fell += after < before[i];
        }
        cr_assert(round > 0 || fell > N / 2, "random codes get better");
    }
    /* Settled: no other codeword of any one book is better. */
    w->p.sweeps = 40;
    cr_assert_eq(vq_perdoc_encode(&w->p, w->codes, NULL), VQ_OK);
    for (size_t i = 0; i < N * M; i++) {
        uint8_t own = w->codes[i];
        double best = cost(w, i / M);
        for (unsigned c = 0; c < KK; c++) {
            w->codes[i] = (uint8_t)c;
            cr_assert_geq(cost(w, i / M), best * (1.0 - 1e-5));
        }
        w->codes[i] = own;
    }
    vq_mem_free(w);
}

Test(perdoc, additive_cost_never_rises)
{
    never_rises(D, 0.5f, false);
    never_rises(D, 0.5f, true);
}

Test(perdoc, product_cost_never_rises)
{
    never_rises(D / M, 2.0f, false);
    never_rises(D / M, 2.0f, true);
}

/* Books of 256 codewords go by bytes: rows only ever get better, and in the end no codeword is
 * better by more than bytes may miss. */
static void never_rises_by_bytes(size_t len, bool from_rows)
{
    enum { WORDS = 256 };
    world *w = make(len, 0.5f);
    float *words = vq_alloc_f32(M * WORDS, len);
    vq_rng r;
    vq_rng_init(&r, test_seed(), 77);
    fill_normal(&r, words, M * WORDS * len);
    w->p.words = words, w->p.kk = WORDS, w->p.from_rows = from_rows;
    size_t fell = 0, missed = 0;
    double start = 0.0, end = 0.0;
    for (size_t i = 0; i < N * M; i++) w->codes[i] = (uint8_t)vq_rng_below(&r, WORDS);
    for (int round = 0; round < 8; round++) {
        double before[N];
        for (size_t i = 0; i < N; i++) before[i] = cost(w, i), start += round == 0 ? before[i] : 0;
        cr_assert_eq(vq_perdoc_encode(&w->p, w->codes, NULL), VQ_OK);
        for (size_t i = 0; i < N; i++) {
            double after = cost(w, i);
            cr_assert_leq(after, before[i] * (1.0 + 1e-5), "row %zu: %g to %g", i, before[i],
                          after);
            fell += after < before[i];
        }
    }
    cr_assert_gt(fell, N / 2);
    for (size_t i = 0; i < N; i++) end += cost(w, i);
    cr_assert_lt(end, 0.2 * start);
    for (size_t i = 0; i < N * M; i++) {
        uint8_t own = w->codes[i];
        double best = cost(w, i / M);
        bool better = false;
        for (unsigned c = 0; c < WORDS; c++) {
            w->codes[i] = (uint8_t)c;
            better |= cost(w, i / M) < best * 0.95 - 0.01;
        }
        missed += better;
        w->codes[i] = own;
    }
    cr_assert_lt(missed, N * M / 50, "%zu of %d", missed, N * M);
    vq_mem_free(words);
    vq_mem_free(w);
}

Test(perdoc, additive_cost_never_rises_by_bytes)
{
    never_rises_by_bytes(D, false);
    never_rises_by_bytes(D, true);
}

Test(perdoc, product_cost_never_rises_by_bytes)
{
    never_rises_by_bytes(D / M, false);
    never_rises_by_bytes(D / M, true);
}

Test(perdoc, without_weight_it_is_the_nearest_codeword)
{
    world *w = make(D / M, 0.0f);
    cr_assert_eq(vq_perdoc_encode(&w->p, w->codes, NULL), VQ_OK);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < M; j++) {
            double own = cost(w, i);
            uint8_t *code = &w->codes[i * M + j], kept = *code;
            for (unsigned c = 0; c < KK; c++) {
                *code = (uint8_t)c;
                cr_assert_geq(cost(w, i), own - 1e-5);
            }
            *code = kept;
        }
    vq_mem_free(w);
}

Test(perdoc, weight_lowers_what_queries_feel)
{
    double felt[2] = {0.0, 0.0};
    for (int k = 0; k < 2; k++) {
        world *w = make(D / M, k == 0 ? 0.0f : 5.0f);
        w->p.sweeps = 10;
        cr_assert_eq(vq_perdoc_encode(&w->p, w->codes, NULL), VQ_OK);
        w->p.beta = 1e6f; /* the length of the error hardly counts */
        for (size_t i = 0; i < N; i++)
            if (w->near[i * NEAR] != UINT32_MAX) felt[k] += cost(w, i);
        vq_mem_free(w);
    }
    cr_assert_lt(felt[1], 0.7 * felt[0]);
}

Test(perdoc, threads_do_not_matter)
{
    world *one = make(D, 0.5f), *four = make(D, 0.5f);
    four->p.threads = 4;
    one->p.sweeps = four->p.sweeps = 3;
    cr_assert_eq(vq_perdoc_encode(&one->p, one->codes, NULL), VQ_OK);
    cr_assert_eq(vq_perdoc_encode(&four->p, four->codes, NULL), VQ_OK);
    cr_assert_eq(memcmp(one->codes, four->codes, sizeof one->codes), 0);
    vq_mem_free(one);
    vq_mem_free(four);
}

Test(perdoc, threads_do_not_matter_by_bytes)
{
    world *one = make(D, 0.5f), *four = make(D, 0.5f);
    float *words = vq_alloc_f32(M * 256, D);
    vq_rng r;
    vq_rng_init(&r, test_seed(), 78);
    fill_normal(&r, words, (size_t)M * 256 * D);
    one->p.words = four->p.words = words, one->p.kk = four->p.kk = 256;
    one->p.sweeps = four->p.sweeps = 3, four->p.threads = 4;
    cr_assert_eq(vq_perdoc_encode(&one->p, one->codes, NULL), VQ_OK);
    cr_assert_eq(vq_perdoc_encode(&four->p, four->codes, NULL), VQ_OK);
    cr_assert_eq(memcmp(one->codes, four->codes, sizeof one->codes), 0);
    vq_mem_free(words), vq_mem_free(one), vq_mem_free(four);
}

Test(perdoc, near_are_the_queries_with_the_largest_scores)
{
    /* three queries, four rows; two places a row */
    const uint32_t answers[] = {0, 1, 2, 0, 2, UINT32_MAX, 2, 0, UINT32_MAX};
    const float scores[] = {9.0f, 8.0f, 7.0f, 5.0f, 3.0f, 0.0f, 8.0f, 6.0f, 0.0f};
    const uint32_t want[] = {0, 2, 0, UINT32_MAX, 2, 0, UINT32_MAX, UINT32_MAX};
    uint32_t near[8];
    float best[8];
    vq_perdoc_near(answers, scores, 3, 3, 4, 2, near, best);
    for (size_t i = 0; i < 8; i++) cr_assert_eq(near[i], want[i], "place %zu: %u", i, near[i]);
}
