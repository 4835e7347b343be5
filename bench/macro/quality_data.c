/* SPDX-License-Identifier: Apache-2.0 */
/* quality_data.c -- queries, exact answers and judgements; all ids become row numbers. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/macro/bench.h"
#include "bench/macro/quality.h"
#include "src/base/mem.h"
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "src/io/ids.h"
#include "src/io/qrels.h"
#include "src/io/truth.h"

const char *const quality_figures[FIGURES] = {"MRR@10", "10@10", "10@100"};

static void refuse(const char *path, const char *what)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static void read_shape(const char *path, uint64_t *n, uint32_t *d)
{
    vq_error err;
    vq_source *src = NULL;
    if (vq_source_open_file(&src, path, 0, &err) != VQ_OK) bench_die(path, &err);
    vq_source_shape(src, n, d, NULL);
    vq_source_close(src);
}

/* ---- exact answers ------------------------------------------------------------------------- */

typedef struct exact_job {
    const quality_data *data;
    uint64_t *ids; /* shared */
} exact_job;

static vq_status exact_search(void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    exact_job *job = ctx;
    const quality_data *d = job->data;
    vq_exact_opts opts = {.metric = d->metric, .k = QUALITY_K, .threads = d->threads};
    vq_source *base = NULL;
    VQ_TRY(vq_source_open_file(&base, d->base, 0, err));
    VQ_TRY(vq_exact(base, d->queries, d->nq, &opts, job->ids, NULL, err));
out:
    vq_source_close(base);
    return rc;
}

static void compute_truth(quality_data *d)
{
    vq_error err;
    size_t bytes = d->nq * QUALITY_K * sizeof *d->truth;
    exact_job job = {.data = d, .ids = quality_shared(bytes)};
    fprintf(stderr, "%s: exact search of %zu queries\n", d->name, d->nq);
    if (quality_in_child(exact_search, &job, NULL, &err) != VQ_OK) bench_die(d->base, &err);
    memcpy(d->truth, job.ids, bytes);
    quality_shared_free(job.ids, bytes);
}

static void read_truth(quality_data *d)
{
    vq_error err;
    vq_truth t;
    if (vq_truth_read(&t, d->gt, &err) != VQ_OK) bench_die(d->gt, &err);
    if (t.nq != d->nq || t.k < QUALITY_K) refuse(d->gt, "not ten neighbours for each query");
    for (size_t i = 0; i < d->nq; i++)
        memcpy(d->truth + i * QUALITY_K, t.ids + i * t.k, QUALITY_K * sizeof *d->truth);
    vq_truth_fini(&t);
}

/* ---- judgements ---------------------------------------------------------------------------- */

/* The ids of a file, or NULL without one: then ids are row numbers. */
static const vq_ids *read_ids(const char *path, vq_ids *ids)
{
    vq_error err;
    if (path == NULL) return NULL;
    if (vq_ids_read(ids, path, true, &err) != VQ_OK || vq_ids_sort(ids, &err) != VQ_OK)
        bench_die(path, &err);
    return ids;
}

static uint64_t row_of(const vq_ids *ids, size_t n, const char *name)
{
    char *end;
    uint64_t row = ids != NULL ? vq_ids_find(ids, name) : strtoull(name, &end, 10);
    if (ids == NULL && (*end != '\0' || end == name)) return VQ_NO_ID;
    return row < n ? row : VQ_NO_ID;
}

/* Where query i stands in the judgements; nowhere: from = to. */
static void span_of(const vq_qrels *q, const vq_ids *query_ids, size_t i, size_t *from, size_t *to)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%zu", i);
    size_t at = vq_qrels_find(q, query_ids != NULL ? query_ids->names[i] : number);
    *from = at != SIZE_MAX ? q->first[at] : 0;
    *to = at != SIZE_MAX ? q->first[at + 1] : 0;
}

/* Puts the judgements of all queries, in their order, into data. */
static void take_judgements(quality_data *d, const vq_qrels *q, const vq_ids *query_ids,
                            const vq_ids *ids)
{
    size_t from, to, known = 0;
    d->first = bench_need(calloc(d->nq + 1, sizeof *d->first));
    for (size_t i = 0; i < d->nq; i++) {
        span_of(q, query_ids, i, &from, &to);
        d->first[i + 1] = d->first[i] + (to - from);
    }
    d->docs = bench_need(calloc(d->first[d->nq] + 1, sizeof *d->docs));
    d->grades = bench_need(calloc(d->first[d->nq] + 1, sizeof *d->grades));
    for (size_t i = 0; i < d->nq; i++) {
        span_of(q, query_ids, i, &from, &to);
        for (size_t j = from, at = d->first[i]; j < to; j++, at++) {
            d->docs[at] = row_of(ids, d->n, q->judgements[j].doc);
            d->grades[at] = q->judgements[j].grade;
            known += d->docs[at] != VQ_NO_ID;
        }
    }
    if (known == 0) refuse(d->qrels, "judges no query and row; are --ids and --query-ids needed?");
}

static void read_judgements(quality_data *d)
{
    vq_error err;
    vq_qrels qrels;
    vq_ids ids = {0}, query_ids = {0};
    if (vq_qrels_read(&qrels, d->qrels, &err) != VQ_OK) bench_die(d->qrels, &err);
    if (d->query_ids != NULL) {
        if (vq_ids_read(&query_ids, d->query_ids, true, &err) != VQ_OK)
            bench_die(d->query_ids, &err);
        if (query_ids.n != d->nq) refuse(d->query_ids, "not an id for each query");
    }
    take_judgements(d, &qrels, d->query_ids != NULL ? &query_ids : NULL, read_ids(d->ids, &ids));
    vq_ids_fini(&ids);
    vq_ids_fini(&query_ids);
    vq_qrels_fini(&qrels);
}

/* ---- all of it ----------------------------------------------------------------------------- */

double quality_mean(const double *x, size_t n)
{
    double sum = 0.0;
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i])) continue;
        sum += x[i];
        known++;
    }
    return known > 0 ? sum / (double)known : NAN;
}

void quality_judge(const quality_data *d, const uint64_t *ids, uint32_t k,
                   double *const figures[FIGURES])
{
    for (size_t i = 0; i < d->nq; i++) {
        const uint64_t *truth = d->truth + i * QUALITY_K, *answer = ids + i * k;
        quality_figure overlap = k == QUALITY_K ? FIGURE_10_OF_10 : FIGURE_10_OF_100;
        figures[overlap][i] = vq_recall(truth, QUALITY_K, QUALITY_K, answer, k, k, 1);
        if (k != QUALITY_K) continue;
        vq_judged judged = {.mrr10 = NAN};
        if (d->first != NULL) vq_judge(d->first + i, d->docs, d->grades, 1, answer, k, &judged);
        figures[FIGURE_MRR][i] = judged.mrr10;
    }
}

static double judge_truth(const quality_data *d)
{
    double *figures[FIGURES];
    for (size_t f = 0; f < FIGURES; f++) figures[f] = bench_need(calloc(d->nq, sizeof *figures[f]));
    quality_judge(d, d->truth, QUALITY_K, figures);
    double mrr = quality_mean(figures[FIGURE_MRR], d->nq);
    for (size_t f = 0; f < FIGURES; f++) free(figures[f]);
    return mrr;
}

void quality_data_open(quality_data *d)
{
    uint64_t n;
    uint32_t dim;
    read_shape(d->base, &n, &d->d);
    d->n = (size_t)n;
    for (size_t i = 0; i < d->ntrain; i++) {
        read_shape(d->train[i], &n, &dim);
        if (dim != d->d) refuse(d->train[i], "other dimensions than the base");
    }
    d->queries = bench_read(d->queries_path, &d->nq, &dim);
    if (dim != d->d) refuse(d->queries_path, "other dimensions than the base");
    if (d->nq == 0) refuse(d->queries_path, "no queries");
    d->truth = bench_need(calloc(d->nq * QUALITY_K, sizeof *d->truth));
    if (d->gt != NULL)
        read_truth(d);
    else
        compute_truth(d);
    if (d->qrels != NULL) read_judgements(d);
    d->exact_mrr = judge_truth(d);
}

void quality_data_close(quality_data *d)
{
    vq_mem_free(d->queries);
    free(d->truth);
    free(d->first);
    free(d->docs);
    free(d->grades);
    free(d->train);
}
