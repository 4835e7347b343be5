/* SPDX-License-Identifier: Apache-2.0 */
/* eval_cuts.c -- what vq eval --min-relevance measures: precision, recall and F1 of three cuts
 * through the same answers, over all queries together. */
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/util.h"

typedef struct count {
    size_t kept, right;
} count;

static void add(count *c, bool kept, bool relevant)
{
    c->kept += kept;
    c->right += kept && relevant;
}

static bool is_relevant(const judged *j, size_t q, uint64_t id)
{
    for (size_t i = j->first[q]; i < j->first[q + 1]; i++)
        if (j->docs[i] == id) return j->grades[i] > 0;
    return false;
}

static void count_all(const eval_job *job, const vq_relevance *r, const uint64_t *ids,
                      const float *scores, const float *p, eval_cuts *out)
{
    const judged *j = &job->judgements;
    bool smaller = job->set.first.metric == VQ_METRIC_L2;
    count learnt = {0}, by_score = {0}, by_number = {0};
    size_t relevant = 0;
    for (size_t q = 0; q < j->nq; q++) {
        if (j->first[q] == j->first[q + 1]) continue;
        for (size_t i = j->first[q]; i < j->first[q + 1]; i++) relevant += j->grades[i] > 0;
        for (size_t i = q * r->depth; i < (q + 1) * r->depth && ids[i] != VQ_NO_ID; i++) {
            bool right = is_relevant(j, q, ids[i]);
            add(&learnt, (double)p[i] >= out->least, right);
            add(&by_score, smaller ? scores[i] <= r->score : scores[i] >= r->score, right);
            add(&by_number, i - q * r->depth < r->first, right);
        }
    }
    if (relevant == 0) return;
    out->learnt = vq_cut_of(learnt.kept, learnt.right, relevant);
    out->by_score = vq_cut_of(by_score.kept, by_score.right, relevant);
    out->by_number = vq_cut_of(by_number.kept, by_number.right, relevant);
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
        count_all(job, &r, ids, scores, p, out);
    else
        code = fail_status(rc, &err);
    free(ids);
    free(scores);
    free(p);
    return code;
}
