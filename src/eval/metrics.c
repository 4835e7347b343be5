/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c -- see metrics.h.  Means over no query at all are NaN. */
#include "src/eval/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "src/base/compiler.h"

static bool holds(const uint64_t *ids, size_t n, uint64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

double vq_recall(const uint64_t *truth, size_t kt, size_t t, const uint64_t *ids, size_t k,
                 size_t a, size_t nq)
{
    double sum = 0.0;
    size_t counted = 0;
    for (size_t i = 0; i < nq; i++) {
        size_t there = 0, found = 0;
        for (size_t j = 0; j < t; j++) {
            uint64_t id = truth[i * kt + j];
            if (id == VQ_NO_ID) continue;
            there++;
            found += holds(ids + i * k, a, id);
        }
        if (there == 0) continue; /* an empty base: nothing to find, nothing missed */
        counted++;
        sum += (double)found / (double)there;
    }
    return counted > 0 ? sum / (double)counted : NAN;
}

/* ---- judged ---------------------------------------------------------------------------------- */

typedef struct judgements { /* of one query */
    const uint64_t *docs;
    const int32_t *grades;
    size_t n, relevant;
} judgements;

/* 0 for what is not judged or judged irrelevant. */
int32_t vq_grade(const uint64_t *docs, const int32_t *grades, size_t n, uint64_t doc)
{
    for (size_t i = 0; doc != VQ_NO_ID && i < n; i++)
        if (docs[i] == doc) return VQ_MAX(grades[i], 0);
    return 0;
}

/* Discounted gain of the best possible top 10: all judged documents by falling grade. */
static double ideal_dcg10(const judgements *j)
{
    int32_t top[10] = {0};
    for (size_t i = 0; i < j->n; i++) {
        int32_t grade = j->grades[i];
        for (size_t r = 0; r < 10; r++)
            if (grade > top[r]) {
                int32_t pushed = top[r];
                top[r] = grade;
                grade = pushed;
            }
    }
    double dcg = 0.0;
    for (size_t r = 0; r < 10; r++) dcg += (double)top[r] / log2((double)r + 2.0);
    return dcg;
}

/* Adds one query's figures to the sums in out. */
static void judge_query(const judgements *j, const uint64_t *ids, size_t k, vq_judged *out)
{
    static const size_t depth[3] = {10, 100, 1000};
    size_t found = 0, cut = 0;
    double dcg = 0.0, mrr = 0.0;
    for (size_t r = 0; r < k && r < depth[2]; r++) {
        int32_t grade = vq_grade(j->docs, j->grades, j->n, ids[r]);
        found += grade > 0;
        if (r < 10) {
            dcg += (double)grade / log2((double)r + 2.0);
            if (grade > 0 && mrr == 0.0) mrr = 1.0 / ((double)r + 1.0);
        }
        if (r + 1 == depth[cut]) out->recall[cut++] += (double)found / (double)j->relevant;
    }
    out->mrr10 += mrr;
    out->ndcg10 += dcg / ideal_dcg10(j);
    out->nq++;
}

void vq_judge(const size_t *first, const uint64_t *docs, const int32_t *grades, size_t nq,
              const uint64_t *ids, size_t k, vq_judged *out)
{
    *out = (vq_judged){0};
    for (size_t i = 0; i < nq; i++) {
        judgements j = {docs + first[i], grades + first[i], first[i + 1] - first[i], 0};
        for (size_t g = 0; g < j.n; g++) j.relevant += j.grades[g] > 0;
        if (j.relevant > 0) judge_query(&j, ids + i * k, k, out);
    }
    double n = out->nq > 0 ? (double)out->nq : NAN;
    out->mrr10 /= n;
    out->ndcg10 /= n;
    out->recall[0] = k >= 10 ? out->recall[0] / n : NAN;
    out->recall[1] = k >= 100 ? out->recall[1] / n : NAN;
    out->recall[2] = k >= 1000 ? out->recall[2] / n : NAN;
}

/* ---- times and frontiers --------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest sample that at least `share` of the samples do not exceed. */
static double percentile(const double *sorted, size_t n, double percent)
{
    size_t rank = (size_t)ceil(percent * (double)n / 100.0);
    return sorted[VQ_MAX(rank, 1u) - 1];
}

void vq_latency_of(double *samples, size_t n, vq_latency *out)
{
    *out = (vq_latency){NAN, NAN, NAN, NAN};
    if (n == 0) return;
    double sum = 0.0;
    qsort(samples, n, sizeof *samples, by_value);
    for (size_t i = 0; i < n; i++) sum += samples[i];
    out->mean = sum / (double)n;
    out->p50 = percentile(samples, n, 50.0);
    out->p95 = percentile(samples, n, 95.0);
    out->p99 = percentile(samples, n, 99.0);
}

size_t vq_pareto(const double *cost, const double *value, size_t n, unsigned char *keep)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool beaten = isnan(cost[i]) || isnan(value[i]);
        for (size_t j = 0; j < n && !beaten; j++) /* as good in both, better in one */
            beaten = cost[j] <= cost[i] && value[j] >= value[i] &&
                     (cost[j] < cost[i] || value[j] > value[i]);
        keep[i] = !beaten;
        kept += !beaten;
    }
    return kept;
}
