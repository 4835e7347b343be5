/* SPDX-License-Identifier: Apache-2.0 */
/* Measures of ranked answers: by hand, and against slow restatements of their definitions. */
#include "src/eval/metrics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/harness.h"

#define NO    VQ_NO_ID
#define CLOSE 1e-12

/* ---- recall ------------------------------------------------------------------------------------
 */

Test(recall, by_hand)
{
    const uint64_t truth[8] = {1, 2, 3, 4, 10, 11, 12, 13};
    const uint64_t ids[10] = {2, 9, 1, 4, 3, 11, 10, 20, 21, 22};
    cr_assert_float_eq(vq_recall(truth, 4, 1, ids, 5, 1, 2), 0.0, CLOSE);
    cr_assert_float_eq(vq_recall(truth, 4, 1, ids, 5, 3, 2), 1.0, CLOSE);
    cr_assert_float_eq(vq_recall(truth, 4, 2, ids, 5, 2, 2), (0.5 + 1.0) / 2.0, CLOSE);
    cr_assert_float_eq(vq_recall(truth, 4, 4, ids, 5, 4, 2), (0.75 + 0.5) / 2.0, CLOSE);
    cr_assert_float_eq(vq_recall(truth, 4, 4, ids, 5, 5, 2), (1.0 + 0.5) / 2.0, CLOSE);
}

Test(recall, short_lists)
{
    const uint64_t truth[6] = {1, 2, NO, NO, NO, NO}, ids[6] = {2, NO, NO, 5, 6, 7};
    /* The first query has two true ones, of which one is found; the second has none at all, so it
     * is left out; and a missing answer is not found among missing truths. */
    cr_assert_float_eq(vq_recall(truth, 3, 3, ids, 3, 3, 2), 0.5, CLOSE);
    cr_assert(isnan(vq_recall(truth + 3, 3, 3, ids, 3, 3, 1)));
    cr_assert(isnan(vq_recall(truth, 3, 3, ids, 3, 3, 0)));
}

/* ---- judged ------------------------------------------------------------------------------------
 */

Test(judge, by_hand)
{
    /* query 0: graded; query 1: nothing relevant; query 2: one relevant unknown to the index, one
     * at rank 2; query 3: one relevant, not found */
    const size_t first[5] = {0, 4, 5, 7, 8};
    const uint64_t docs[8] = {1, 2, 3, 4, 1, NO, 7, 8};
    const int32_t grades[8] = {3, 0, 2, -1, 0, 1, 1, 2};
    uint64_t ids[4 * 10];
    for (size_t i = 0; i < 40; i++) ids[i] = 100 + i;
    ids[1] = 2, ids[2] = 3, ids[4] = 1, ids[5] = 4; /* ranks 2: grade 0, 3: 2, 5: 3, 6: -1 */
    ids[21] = 7;
    ids[22] = NO; /* no match for the unknown document */
    vq_judged j;
    vq_judge(first, docs, grades, 4, ids, 10, &j);
    double dcg0 = (2.0 / log2(4.0) + 3.0 / log2(6.0)) / (3.0 / log2(2.0) + 2.0 / log2(3.0));
    double dcg2 = (1.0 / log2(3.0)) / (1.0 / log2(2.0) + 1.0 / log2(3.0));
    cr_assert_eq(j.nq, 3u);
    cr_assert_float_eq(j.mrr10, (1.0 / 3.0 + 1.0 / 2.0 + 0.0) / 3.0, CLOSE);
    cr_assert_float_eq(j.ndcg10, (dcg0 + dcg2) / 3.0, CLOSE);
    cr_assert_float_eq(j.recall[0], (1.0 + 0.5 + 0.0) / 3.0, CLOSE);
    cr_assert(isnan(j.recall[1]) && isnan(j.recall[2]));
    vq_judge(first, docs, grades, 0, ids, 10, &j);
    cr_assert(j.nq == 0 && isnan(j.mrr10) && isnan(j.ndcg10) && isnan(j.recall[0]));
    vq_judge(first, docs, grades, 4, ids, 4, &j); /* k = 4: two answers of query 0 and one judged */
    cr_assert(isnan(j.recall[0]) && j.nq == 3);
}

static int by_grade(const void *a, const void *b)
{
    return *(const int32_t *)b - *(const int32_t *)a;
}

/* trec_eval's definitions, with a table grade[doc]. */
static void naive_judge(const int32_t *grade, size_t ndocs, size_t missing, const uint64_t *ids,
                        size_t k, vq_judged *sum)
{
    int32_t sorted[400];
    size_t relevant = missing;
    for (size_t i = 0; i < ndocs; i++) {
        sorted[i] = grade[i] > 0 ? grade[i] : 0;
        relevant += grade[i] > 0;
    }
    for (size_t i = 0; i < missing; i++) sorted[ndocs + i] = 1;
    if (relevant == 0) return;
    qsort(sorted, ndocs + missing, sizeof *sorted, by_grade);
    double dcg = 0.0, ideal = 0.0, mrr = 0.0;
    for (size_t r = 10; r-- > 0;) {
        int32_t g = r < k && ids[r] != NO ? grade[ids[r]] : 0;
        if (g > 0) dcg += g / log2((double)r + 2.0), mrr = 1.0 / (double)(r + 1);
        ideal += sorted[r] / log2((double)r + 2.0);
    }
    sum->nq++;
    sum->mrr10 += mrr;
    sum->ndcg10 += dcg / ideal;
    static const size_t depth[3] = {10, 100, 1000};
    for (size_t t = 0; t < 3; t++) {
        size_t found = 0;
        for (size_t r = 0; r < depth[t] && r < k; r++) found += ids[r] != NO && grade[ids[r]] > 0;
        sum->recall[t] += (double)found / (double)relevant;
    }
}

Test(judge, as_defined)
{
    enum { DOCS = 300, NQ = 8, K = 1000 };
    static const size_t depth[3] = {10, 100, 1000};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int it = 0; it < 60; it++) {
        static uint64_t docs[NQ * (DOCS + 3)], ids[NQ * K];
        static int32_t grades[NQ * (DOCS + 3)];
        size_t first[NQ + 1] = {0}, k = it % 3 == 0 ? K : 1 + vq_rng_below(&r, 150);
        vq_judged want = {0}, got;
        for (size_t i = 0; i < NQ; i++) {
            int32_t grade[DOCS] = {0};
            size_t at = first[i], missing = vq_rng_below(&r, 4), share = 1 + vq_rng_below(&r, 60);
            for (size_t doc = 0; doc < DOCS; doc++) {
                if (vq_rng_below(&r, share) != 0) continue;
                grade[doc] = (int32_t)vq_rng_below(&r, 5) - 1;
                docs[at] = doc, grades[at++] = grade[doc];
            }
            for (size_t m = 0; m < missing; m++) docs[at] = NO, grades[at++] = 1;
            first[i + 1] = at;
            uint64_t perm[DOCS];
            for (size_t p = 0; p < DOCS; p++) {
                size_t with = vq_rng_below(&r, p + 1);
                perm[p] = perm[with], perm[with] = p;
            }
            for (size_t p = 0; p < k; p++) ids[i * k + p] = p < DOCS ? perm[p] : NO;
            naive_judge(grade, DOCS, missing, ids + i * k, k, &want);
        }
        vq_judge(first, docs, grades, NQ, ids, k, &got);
        cr_assert_eq(got.nq, want.nq);
        if (want.nq == 0) continue;
        cr_assert_float_eq(got.mrr10, want.mrr10 / (double)want.nq, CLOSE);
        cr_assert_float_eq(got.ndcg10, want.ndcg10 / (double)want.nq, CLOSE);
        for (size_t t = 0; t < 3; t++)
            if (k < depth[t])
                cr_assert(isnan(got.recall[t]));
            else
                cr_assert_float_eq(got.recall[t], want.recall[t] / (double)want.nq, CLOSE);
    }
}

/* ---- times and frontiers ------------------------------------------------------------------------
 */

Test(latency, nearest_rank)
{
    double ten[10] = {7, 1, 10, 3, 2, 5, 4, 9, 8, 6}, one[1] = {4.5}, hundred[200];
    vq_latency l;
    vq_latency_of(ten, 10, &l);
    cr_assert(l.mean == 5.5 && l.p50 == 5.0 && l.p95 == 10.0 && l.p99 == 10.0);
    vq_latency_of(one, 1, &l);
    cr_assert(l.mean == 4.5 && l.p50 == 4.5 && l.p95 == 4.5 && l.p99 == 4.5);
    for (size_t i = 0; i < 200; i++) hundred[i] = (double)(200 - i);
    vq_latency_of(hundred, 200, &l);
    cr_assert(l.p50 == 100.0 && l.p95 == 190.0 && l.p99 == 198.0);
    for (size_t i = 0; i < 200; i++) cr_assert_eq(hundred[i], (double)(i + 1));
    vq_latency_of(hundred, 0, &l);
    cr_assert(isnan(l.mean) && isnan(l.p50) && isnan(l.p95) && isnan(l.p99));
}

Test(pareto, by_hand)
{
    const double cost[8] = {1, 2, 3, 2, 4, 1, 5, NAN};
    const double value[8] = {.5, .7, .6, .7, .9, .4, .9, 1.};
    const unsigned char want[8] = {1, 1, 0, 1, 1, 0, 0, 0}; /* twins stay both */
    unsigned char keep[8];
    cr_assert_eq(vq_pareto(cost, value, 8, keep), 4u);
    cr_assert_arr_eq(keep, want, 8);
    cr_assert_eq(vq_pareto(cost, value, 0, keep), 0u);
}

/* A point stays if and only if walking by rising cost has not yet seen its value. */
Test(pareto, is_the_staircase)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    for (int it = 0; it < 200; it++) {
        double cost[50], value[50];
        unsigned char keep[50];
        size_t n = 1 + vq_rng_below(&r, 50), kept = 0;
        for (size_t i = 0; i < n; i++) {
            cost[i] = (double)vq_rng_below(&r, 12);
            value[i] = (double)vq_rng_below(&r, 12);
        }
        size_t got = vq_pareto(cost, value, n, keep);
        for (size_t i = 0; i < n; i++) {
            double cheaper = -1.0, same = -1.0;
            for (size_t j = 0; j < n; j++) {
                if (cost[j] < cost[i]) cheaper = fmax(cheaper, value[j]);
                if (cost[j] == cost[i]) same = fmax(same, value[j]);
            }
            cr_assert_eq(keep[i], value[i] > cheaper && value[i] == same);
            kept += keep[i];
        }
        cr_assert_eq(got, kept);
    }
}
