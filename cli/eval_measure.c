/* SPDX-License-Identifier: Apache-2.0 */
/* eval_measure.c -- one setting measured.  How deep a search looks may depend on k, so each figure
 * comes from a search of its own depth: recall@10 from k = 10, recall@100 from k = 100. */
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/util.h"

#define WARM_QUERIES  100
#define BATCH_SECONDS 0.25 /* short batches are repeated for so long */

static int search(vq_searcher *s, const eval_job *job, size_t from, size_t n, uint32_t k,
                  uint64_t *ids)
{
    vq_error err = {0};
    vq_status rc = vq_search(s, job->q.rows + from * job->q.d, n, k, ids, NULL, &err);
    return rc == VQ_OK ? CLI_DONE : fail_status(rc, &err);
}

/* Fills what answers of depth k tell. */
static void judge(const eval_job *job, const uint64_t *ids, uint32_t k, eval_result *r)
{
    size_t nq = (size_t)job->q.n;
    const vq_truth *t = &job->truth;
    if (job->exact && k <= 10) r->recall_1 = vq_recall(t->ids, t->k, 1, ids, k, 1, nq);
    if (job->exact && k == 10 && t->k >= 10)
        r->recall_10 = vq_recall(t->ids, t->k, 10, ids, k, 10, nq);
    if (job->exact && k == 100 && t->k >= 10)
        r->ten_at_100 = vq_recall(t->ids, t->k, 10, ids, k, 100, nq);
    if (job->exact && k == 100 && t->k >= 100)
        r->recall_100 = vq_recall(t->ids, t->k, 100, ids, k, 100, nq);
    if (!job->judged || k < 10) return;
    vq_judged j;
    vq_judge(job->judgements.first, job->judgements.docs, job->judgements.grades, nq, ids, k, &j);
    if (k == 10) {
        r->judged.nq = j.nq;
        r->judged.mrr10 = j.mrr10;
        r->judged.ndcg10 = j.ndcg10;
        r->judged.recall[0] = j.recall[0];
    }
    if (k == 100) r->judged.recall[1] = j.recall[1];
    if (k == 1000) r->judged.recall[2] = j.recall[2];
}

/* Depths past 10 are searched where they are asked for and tell something. */
static bool wanted(const eval_job *job, uint32_t k)
{
    if (job->args->k != 0 && k > job->args->k) return false;
    if (k > 10 && k > job->set.n) return false;
    if (k == 100) return job->judged || (job->exact && job->truth.k >= 10);
    return k <= 10 || job->judged;
}

static int quality(const eval_job *job, vq_searcher *s, eval_result *r)
{
    static const uint32_t depths[] = {10, 100, 1000};
    size_t nq = (size_t)job->q.n;
    uint32_t small = job->args->k != 0 && job->args->k < 10 ? job->args->k : 0;
    int code = CLI_DONE;
    for (size_t i = 0; i < 3 && code == CLI_DONE; i++) {
        uint32_t k = small != 0 && i == 0 ? small : depths[i];
        if (!wanted(job, k)) continue;
        uint64_t *ids = xmalloc(nq, (size_t)k * sizeof *ids);
        code = search(s, job, 0, nq, k, ids);
        if (code == CLI_DONE) judge(job, ids, k, r);
        free(ids);
    }
    return code;
}

/* What the candidates hold that the codes alone would hand on, of the lists that are read: about
 * the most that a second pass finds.  Not where each query has as many lists as it needs. */
static int ceiling(const eval_job *job, eval_result *r)
{
    static const uint32_t depths[] = {100, 1000};
    size_t nq = (size_t)job->q.n;
    const vq_truth *t = &job->truth;
    const effort alone = {.nprobe = r->nprobe, .rerank = VQ_NONE, .bars = job->args->effort.bars};
    vq_searcher *s = NULL;
    uint64_t most = job->args->k != 0 ? job->args->k : depths[1];
    if (!job->judged && !(job->exact && t->k >= 10)) return CLI_DONE;
    if (r->recall > 0 || VQ_MIN(most, job->set.n) < depths[0]) return CLI_DONE;
    int code = index_set_searcher(&job->set, &s, &alone, job->args->threads);
    for (size_t i = 0; i < 2 && code == CLI_DONE; i++) {
        uint32_t k = depths[i];
        if (k > job->set.n || (job->args->k != 0 && k > job->args->k)) continue;
        uint64_t *ids = xmalloc(nq, (size_t)k * sizeof *ids);
        code = search(s, job, 0, nq, k, ids);
        if (code == CLI_DONE && job->exact && t->k >= 10)
            r->codes.ten[i] = vq_recall(t->ids, t->k, 10, ids, k, k, nq);
        if (code == CLI_DONE && job->judged) {
            vq_judged j;
            vq_judge(job->judgements.first, job->judgements.docs, job->judgements.grades, nq, ids,
                     k, &j);
            r->codes.relevant[i] = j.recall[i + 1];
        }
        free(ids);
    }
    vq_searcher_close(s);
    return code;
}

/* What a query took, on the average; of several indexes, in each. */
static int effort_taken(const vq_searcher *s, const eval_job *job, eval_result *r)
{
    vq_error err = {0};
    vq_search_stats t = VQ_SEARCH_STATS_INIT;
    vq_status rc = vq_searcher_stats(s, &t, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    double n = t.queries > 0 ? (double)t.queries : 1;
    r->lists = (double)t.lists / n;
    r->vectors = (double)t.vectors / n;
    r->rows = (double)t.rows / n;
    r->bytes = r->vectors * job->set.first.code_bytes;
    r->bytes += r->rows * (double)job->set.first.d * (double)vq_elem_size(job->set.first.store);
    return CLI_DONE;
}

double eval_read(const eval_job *job, const vq_searcher *s)
{
    vq_search_stats read = VQ_SEARCH_STATS_INIT;
    vq_error err;
    if (vq_searcher_stats(s, &read, &err) != VQ_OK || read.queries == 0) return 0;
    return (double)read.vectors / (double)read.queries / (double)job->set.n;
}

/* One query at a time on one thread, all of them, after a warm-up. */
static int latency(const eval_job *job, uint32_t k, eval_result *r)
{
    size_t nq = (size_t)job->q.n;
    vq_searcher *s = NULL;
    uint64_t *ids = xmalloc(k, sizeof *ids);
    double *us = xmalloc(nq, sizeof *us), sum = 0;
    int code = index_set_searcher(&job->set, &s, &job->args->effort, 1);
    for (size_t i = 0; i < WARM_QUERIES && code == CLI_DONE; i++)
        code = search(s, job, i % nq, 1, k, ids);
    page_faults before = faults_since((page_faults){0, 0});
    for (size_t i = 0; i < nq && code == CLI_DONE; i++) {
        double from = now_seconds();
        code = search(s, job, i, 1, k, ids);
        us[i] = 1e6 * (now_seconds() - from);
        sum += us[i];
    }
    if (code == CLI_DONE) {
        vq_latency_of(us, nq, &r->latency);
        r->single_qps = sum > 0 ? 1e6 * (double)nq / sum : NAN;
    }
    r->faults = faults_since(before);
    if (code == CLI_DONE) code = effort_taken(s, job, r);
    vq_searcher_close(s);
    free(ids);
    free(us);
    return code;
}

static int batch(const eval_job *job, vq_searcher *s, uint32_t k, eval_result *r)
{
    size_t nq = (size_t)job->q.n, answered = 0;
    uint64_t *ids = xmalloc(nq, (size_t)k * sizeof *ids);
    double from = now_seconds(), seconds;
    int code;
    do {
        code = search(s, job, 0, nq, k, ids);
        answered += nq;
        seconds = now_seconds() - from;
    } while (code == CLI_DONE && seconds < BATCH_SECONDS);
    r->batch_qps = seconds > 0 ? (double)answered / seconds : NAN;
    free(ids);
    return code;
}

int eval_measure(const eval_job *job, eval_result *r)
{
    const eval_args *a = job->args;
    uint32_t k = a->k != 0 && a->k < 10 ? a->k : 10;
    vq_searcher *s = NULL;
    *r = (eval_result){.recall_1 = NAN,
                       .recall_10 = NAN,
                       .recall_100 = NAN,
                       .ten_at_100 = NAN,
                       .judged = {.mrr10 = NAN, .ndcg10 = NAN, .recall = {NAN, NAN, NAN}},
                       .codes = {{NAN, NAN}, {NAN, NAN}}};
    int code = index_set_searcher(&job->set, &s, &a->effort, a->threads);
    if (code == CLI_DONE) {
        vq_searcher_effort(s, k, &r->nprobe, &r->rerank);
        r->recall = (double)vq_searcher_recall(s, k);
        if (r->nprobe > job->set.nlist_max) r->nprobe = job->set.nlist_max;
        if (r->rerank == VQ_NONE) r->rerank = 0;
        code = quality(job, s, r);
    }
    if (code == CLI_DONE && r->rerank != 0) code = ceiling(job, r);
    if (code == CLI_DONE && a->min_relevance >= 0) code = eval_cut(job, s, &r->cuts);
    if (code == CLI_DONE) code = latency(job, k, r);
    if (code == CLI_DONE) code = batch(job, s, k, r);
    vq_searcher_close(s);
    return code;
}
