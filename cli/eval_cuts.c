/* SPDX-License-Identifier: Apache-2.0 */
/* eval_cuts.c -- what vq eval --min-relevance measures: precision, recall and F1 of three cuts
 * through the same answers, over all queries together. */
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/util.h"

enum { LEARNT, BY_SCORE, BY_NUMBER, CUTS };

/* The answers to judged queries, with the values that each kind of cut goes by; returns how many.
 */
static size_t take_answers(const eval_job *job, uint32_t depth, const uint64_t *ids,
                           const float *scores, const float *p, vq_cut_answer *cuts[CUTS])
{
    const judged *j = &job->judgements;
    bool smaller = job->set.first.metric == VQ_METRIC_L2;
    size_t n = 0;
    for (size_t q = 0; q < j->nq; q++) {
        size_t first = j->first[q], judgements = j->first[q + 1] - first;
        if (judgements == 0) continue;
        for (uint32_t r = 0; r < depth && ids[q * depth + r] != VQ_NO_ID; r++, n++) {
            size_t i = q * depth + r;
            uint8_t y = vq_grade(j->docs + first, j->grades + first, judgements, ids[i]) > 0;
            double score = (double)scores[i];
            cuts[LEARNT][n] = (vq_cut_answer){(double)p[i], y};
            cuts[BY_SCORE][n] = (vq_cut_answer){smaller ? -score : score, y};
            cuts[BY_NUMBER][n] = (vq_cut_answer){-(double)r, y};
        }
    }
    return n;
}

static void measure(const eval_job *job, const uint64_t *ids, const float *scores, const float *p,
                    eval_cuts *out)
{
    const judged *j = &job->judgements;
    bool smaller = job->set.first.metric == VQ_METRIC_L2;
    size_t relevant = 0;
    vq_cut_answer *cuts[CUTS];
    for (size_t i = 0; i < j->first[j->nq]; i++) relevant += j->grades[i] > 0;
    if (relevant == 0) return;
    for (int c = 0; c < CUTS; c++) cuts[c] = xmalloc(j->nq, out->depth * sizeof *cuts[c]);
    size_t n = take_answers(job, out->depth, ids, scores, p, cuts);
    out->learnt = vq_cut_at(cuts[LEARNT], n, relevant, out->least);
    out->by_score = vq_cut_at(cuts[BY_SCORE], n, relevant, smaller ? -out->score : out->score);
    out->by_number = vq_cut_at(cuts[BY_NUMBER], n, relevant, 1.0 - (double)out->first);
    for (int c = 0; c < CUTS; c++) free(cuts[c]);
}

int eval_cut(const eval_job *job, vq_searcher *s, eval_cuts *out)
{
    const vq_cut_quality none = {NAN, NAN, NAN};
    vq_error err = {0};
    vq_relevance r;
    size_t nq = (size_t)job->q.n;
    *out = (eval_cuts){.learnt = none, .by_score = none, .by_number = none};
    int code = relevance_read(&job->set, &r);
    if (code != CLI_DONE) return code;
    bool best = job->args->min_relevance > 1.0;
    out->least = best ? (double)r.best : job->args->min_relevance;
    out->depth = r.depth, out->first = r.first, out->score = (double)r.score;
    uint64_t *ids = xmalloc(nq, r.depth * sizeof *ids);
    float *scores = xmalloc(nq, r.depth * sizeof *scores);
    float *p = xmalloc(nq, r.depth * sizeof *p);
    vq_status rc = vq_search_relevant(s, job->q.rows, nq, r.depth, 0.0f, ids, scores, p, &err);
    if (rc == VQ_OK)
        measure(job, ids, scores, p, out);
    else
        code = fail_status(rc, &err);
    free(ids);
    free(scores);
    free(p);
    return code;
}
