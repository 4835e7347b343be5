/* SPDX-License-Identifier: Apache-2.0 */
/* List vectors that learn which lists queries want. */
#include "src/train/routing.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/kernels.h"
#include "src/train/spill.h"
#include "tests/harness/harness.h"

enum { D = 12, LISTS = 150, N = 1500, NQ = 900, TRAIN = 700, K = 12 };

typedef struct toy {
    vq_routing r;
    float *rows, *queries, *vectors;
    uint32_t *answers, *lists, *second;
} toy;

/* The K rows with the largest products. */
static void ask(const toy *t, size_t q)
{
    float score[N];
    vq_kernels_get()->matvec_f32(t->rows, N, D, D, t->queries + q * D, score);
    for (size_t j = 0; j < K; j++) {
        size_t best = 0;
        for (size_t i = 1; i < N; i++)
            if (score[i] > score[best]) best = i;
        t->answers[q * K + j] = (uint32_t)best;
        score[best] = -INFINITY;
    }
}

/* Rows in the list of one of the first rows that is nearest; queries that look along few axes. */
static toy make(uint64_t seed)
{
    toy t = {.rows = vq_alloc_f32(N, D),
             .queries = vq_alloc_f32(NQ, D),
             .vectors = vq_alloc_f32(LISTS, D),
             .answers = vq_mem_alloc(NQ * K, sizeof(uint32_t)),
             .lists = vq_mem_alloc(N, sizeof(uint32_t)),
             .second = vq_mem_alloc(N, sizeof(uint32_t))};
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    fill_normal(&r, t.rows, N * D);
    fill_normal(&r, t.queries, NQ * D);
    for (size_t i = 0; i < NQ * D; i++) t.queries[i] *= i % D < 4 ? 1.0f : 0.2f;
    memcpy(t.vectors, t.rows, LISTS * D * sizeof *t.vectors);
    for (size_t i = 0; i < N; i++) {
        float nearest = INFINITY;
        t.second[i] = i % 3 == 0 ? VQ_NO_LIST : (uint32_t)(i % LISTS);
        for (size_t l = 0; l < LISTS; l++) {
            float dist = vq_kernels_get()->l2sq_f32(t.rows + i * D, t.vectors + l * D, D);
            if (dist >= nearest) continue;
            nearest = dist;
            t.lists[i] = (uint32_t)l;
        }
    }
    for (size_t q = 0; q < NQ; q++) ask(&t, q);
    t.r = (vq_routing){.d = D,
                       .nlist = LISTS,
                       .nq = NQ,
                       .ntrain = TRAIN,
                       .queries = t.queries,
                       .answers = t.answers,
                       .k = K,
                       .lists = t.lists,
                       .vectors = t.vectors,
                       .epochs = 4,
                       .seed = 3,
                       .threads = 1};
    return t;
}

static void end(toy *t)
{
    vq_mem_free(t->rows), vq_mem_free(t->queries), vq_mem_free(t->vectors);
    vq_mem_free(t->answers), vq_mem_free(t->lists), vq_mem_free(t->second);
}

/* Mean rank of the list of a judge's answers. */
static double mean_rank(const toy *t)
{
    double sum = 0.0;
    float score[LISTS];
    for (size_t q = TRAIN; q < NQ; q++) {
        vq_kernels_get()->matvec_f32(t->vectors, LISTS, D, D, t->queries + q * D, score);
        for (size_t j = 0; j < VQ_ROUTED; j++) {
            float own = score[t->lists[t->answers[q * K + j]]];
            for (size_t l = 0; l < LISTS; l++) sum += score[l] > own;
        }
    }
    return sum / (NQ - TRAIN) / VQ_ROUTED;
}

Test(routing, lists_are_found_sooner)
{
    vq_error err;
    toy t = make(1);
    double before = mean_rank(&t), loss[2];
    cr_assert_eq(vq_routing_learn(&t.r, loss, &err), VQ_OK);
    double after = mean_rank(&t);
    cr_assert(loss[1] < loss[0] && after < before, "%g to %g, rank %g to %g", loss[0], loss[1],
              before, after);
    end(&t);
}

Test(routing, threads_do_not_matter)
{
    vq_error err;
    for (int second = 0; second < 2; second++) {
        toy a = make(2), b = make(2);
        double la[2], lb[2];
        if (second) a.r.second = a.second, b.r.second = b.second;
        b.r.threads = 3;
        cr_assert_eq(vq_routing_learn(&a.r, la, &err), VQ_OK);
        cr_assert_eq(vq_routing_learn(&b.r, lb, &err), VQ_OK);
        cr_assert(memcmp(a.vectors, b.vectors, LISTS * D * sizeof *a.vectors) == 0);
        cr_assert(la[0] == lb[0] && la[1] == lb[1] && la[1] <= la[0]);
        end(&a), end(&b);
    }
}

Test(routing, judges_never_lose)
{
    vq_error err;
    toy t = make(3);
    double loss[2];
    for (size_t i = 0; i < TRAIN * K; i++) t.answers[i] = 0; /* of judges they are right */
    t.r.epochs = 30;
    cr_assert_eq(vq_routing_learn(&t.r, loss, &err), VQ_OK);
    cr_assert(loss[1] <= loss[0]);
    t.r.epochs = 0;
    memcpy(t.vectors, t.rows, LISTS * D * sizeof *t.vectors);
    cr_assert_eq(vq_routing_learn(&t.r, loss, &err), VQ_OK);
    cr_assert_eq(loss[1], loss[0]);
    cr_assert(memcmp(t.vectors, t.rows, LISTS * D * sizeof *t.vectors) == 0);
    end(&t);
}

Test(routing, few_queries_and_no_answers)
{
    vq_error err;
    toy t = make(4);
    double loss[2];
    for (size_t i = 0; i < NQ * K; i++)
        if (i % K >= i / K % 3) t.answers[i] = UINT32_MAX; /* 0 to 2 answers */
    cr_assert_eq(vq_routing_learn(&t.r, loss, &err), VQ_OK);
    cr_assert(isfinite(loss[0]) && loss[1] <= loss[0]);
    t.r.nq = 2, t.r.ntrain = 1;
    cr_assert_eq(vq_routing_learn(&t.r, loss, &err), VQ_OK);
    memset(t.vectors, 0, LISTS * D * sizeof *t.vectors); /* all lists alike */
    cr_assert_eq(vq_routing_learn(&t.r, NULL, &err), VQ_OK);
    end(&t);
}
