/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h -- how good ranked answers are.  Answers are nq x k ids, best first, VQ_NO_ID where
 * there are fewer. */
#ifndef VQ_EVAL_METRICS_H
#define VQ_EVAL_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

/* Mean over queries of |true top t within answered top a| / min(t, true ones there are).
 * recall@k is (t = a = k); 10@100 is (t = 10, a = 100).  truth is nq x kt, kt >= t; a <= k.
 * Queries without a true one are left out; NaN if none is left. */
double vq_recall(const uint64_t *truth, size_t kt, size_t t, const uint64_t *ids, size_t k,
                 size_t a, size_t nq);

/* Judged: for query i the judgements docs/grades[first[i] .. first[i+1]-1] (a doc unknown to the
 * index is VQ_NO_ID and can never be found, but counts as relevant).  Queries without a relevant
 * document are left out of the means, as the official scripts do. */
typedef struct vq_judged {
    size_t nq;        /* queries with a relevant document */
    double mrr10;     /* 1 / rank of the first relevant in the top 10, else 0 */
    double ndcg10;    /* gain = grade (linear, as trec_eval's ndcg_cut_10), log2(rank + 1) */
    double recall[3]; /* at 10, 100, 1000: share of the relevant found; NaN if k is smaller */
} vq_judged;
void vq_judge(const size_t *first, const uint64_t *docs, const int32_t *grades, size_t nq,
              const uint64_t *ids, size_t k, vq_judged *out);

/* The grade that n judgements of a query give a document; 0: none, or one below, or VQ_NO_ID. */
int32_t vq_grade(const uint64_t *docs, const int32_t *grades, size_t n, uint64_t doc);

typedef struct vq_latency {
    double mean, p50, p95, p99; /* in the unit of the samples */
} vq_latency;
/* Sorts samples in place; percentiles by nearest rank. */
void vq_latency_of(double *samples, size_t n, vq_latency *out);

/* The points that no other point beats, that is, is as good in both cost (smaller) and value
 * (larger) and better in one: marks keep[i] and returns how many; n points.  Twins stay both, NaN
 * never. */
size_t vq_pareto(const double *cost, const double *value, size_t n, unsigned char *keep);

#endif
