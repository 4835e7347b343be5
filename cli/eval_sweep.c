/* SPDX-License-Identifier: Apache-2.0 */
/* eval_sweep.c -- nprobe x rerank, one query at a time on one thread.  For each rerank nprobe is
 * doubled until every list is read, or until the value no longer rises: beyond that a point costs
 * more and gives nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/progress.h"
#include "cli/util.h"

#define SWEEP_K      10
#define WARM_QUERIES 50
#define FLAT         1e-4 /* a smaller rise, twice in turn, ends a row */

/* One point: value and time of all queries. */
static int measure(const eval_job *job, eval_point *p)
{
    size_t nq = (size_t)job->q.n;
    vq_searcher *s = NULL;
    vq_error err = {0};
    uint64_t *ids = xmalloc(nq, SWEEP_K * sizeof *ids);
    effort e = {.nprobe = p->nprobe, .rerank = p->rerank == 0 ? VQ_NONE : p->rerank};
    int code = index_set_searcher(&job->set, &s, &e, 1);
    vq_status rc = VQ_OK;
    if (code == CLI_DONE)
        rc = vq_search(s, job->q.rows, nq < WARM_QUERIES ? nq : WARM_QUERIES, SWEEP_K, ids, NULL,
                       &err);
    double from = now_seconds();
    for (size_t i = 0; i < nq && code == CLI_DONE && rc == VQ_OK; i++)
        rc = vq_search(s, job->q.rows + i * job->q.d, 1, SWEEP_K, ids + i * SWEEP_K, NULL, &err);
    p->us = 1e6 * (now_seconds() - from) / (double)nq;
    if (s != NULL) p->read = eval_read(job, s);
    if (rc != VQ_OK) code = fail_status(rc, &err);
    if (code == CLI_DONE && job->exact) {
        p->value = vq_recall(job->truth.ids, job->truth.k, 10, ids, SWEEP_K, 10, nq);
    } else if (code == CLI_DONE) {
        vq_judged j;
        vq_judge(job->judgements.first, job->judgements.docs, job->judgements.grades, nq, ids,
                 SWEEP_K, &j);
        p->value = j.mrr10;
    }
    vq_searcher_close(s);
    free(ids);
    return code;
}

/* The settings of one axis: what was given alone, or a row of them. */
static size_t rerank_axis(const eval_job *job, uint32_t *axis)
{
    static const uint32_t steps[] = {0, 10, 20, 50, 100, 200, 500};
    size_t n = 0;
    if (job->args->effort.rerank != 0) {
        axis[0] = job->args->effort.rerank == VQ_NONE ? 0 : job->args->effort.rerank;
        return 1;
    }
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i] != 0 && (job->set.first.store == VQ_ELEM_NONE || steps[i] > job->set.n)) break;
        axis[n++] = steps[i];
    }
    return n;
}

static size_t nprobe_axis(const eval_job *job, uint32_t *axis)
{
    uint32_t nlist = job->set.nlist_max;
    size_t n = 0;
    if (job->args->effort.nprobe != 0) {
        axis[0] = job->args->effort.nprobe < nlist ? job->args->effort.nprobe : nlist;
        return 1;
    }
    for (uint64_t p = 1; p < nlist; p *= 2) axis[n++] = (uint32_t)p;
    axis[n++] = nlist;
    return n;
}

static void mark_front(eval_curve *c)
{
    double *cost = xmalloc(c->n, sizeof *cost), *value = xmalloc(c->n, sizeof *value);
    unsigned char *keep = xmalloc(c->n, 1);
    for (size_t i = 0; i < c->n; i++) {
        cost[i] = c->points[i].us;
        value[i] = c->points[i].value;
    }
    (void)vq_pareto(cost, value, c->n, keep);
    for (size_t i = 0; i < c->n; i++) c->points[i].front = keep[i];
    free(cost);
    free(value);
    free(keep);
}

/* One rerank: rising nprobe. */
static int sweep_row(const eval_job *job, eval_curve *c, uint32_t rerank, const uint32_t *nprobes,
                     size_t n)
{
    double best = -1;
    int flat = 0;
    for (size_t i = 0; i < n && flat < 2; i++) {
        eval_point *p = &c->points[c->n];
        *p = (eval_point){.nprobe = nprobes[i], .rerank = rerank};
        int code = measure(job, p);
        if (code != CLI_DONE) return code;
        c->n++;
        flat = p->value < best + FLAT ? flat + 1 : 0;
        best = fmax(best, p->value);
    }
    return CLI_DONE;
}

int eval_sweep(const eval_job *job, eval_curve *c)
{
    uint32_t reranks[8], nprobes[40];
    size_t nr = rerank_axis(job, reranks), np = nprobe_axis(job, nprobes);
    memset(c, 0, sizeof *c);
    c->value_name = job->exact ? "recall@10" : "mrr@10";
    c->points = xmalloc(nr * np, sizeof *c->points);
    progress p;
    progress_begin(&p, job->args->quiet);
    int code = CLI_DONE;
    for (size_t i = 0; i < nr && code == CLI_DONE; i++) {
        (void)progress_fn(&p, "sweep", i, nr);
        code = sweep_row(job, c, reranks[i], nprobes, np);
    }
    (void)progress_end(&p);
    if (code == CLI_DONE) mark_front(c);
    return code;
}
