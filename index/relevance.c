/* SPDX-License-Identifier: Apache-2.0 */
/* relevance.c -- see relevance.h. */
#include "index/relevance.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "index/layout.h"
#include "src/base/bytes.h"
#include "src/base/mem.h"
#include "src/eval/cut.h"
#include "src/eval/metrics.h"
#include "src/train/logistic.h"

enum {
    F = VQ_RELEVANCE_FEATURES,
    HELD_OUT = 10, /* one query in so many judges */
    QUERIES_LEAST = 20,
    /* the head of the row */
    KIND = 0,
    DEPTH,
    QUERIES,
    JUDGES,
    BEST,
    SCORE,
    FIRST,
    F1, /* three: learnt, by score, by number */
    CONSTANT = VQ_RELEVANCE_HEAD,
    COEF = CONSTANT + 1,
    MEAN = COEF + F,
    SCALE = MEAN + F,
};
_Static_assert((int)SCALE + (int)F == (int)VQ_RELEVANCE_COLS, "the row ends there");

#define KIND_LOGISTIC 1.0f
#define RIDGE         1.0  /* on features of spread 1: as much as one observation knows */
#define FLAT          1e-9 /* less spread between scores is none */

/* ---- the row ---- */

static bool is_count(float x, float most)
{
    return x >= 0.0f && x <= most && x == floorf(x);
}

vq_status vq_relevance_check(const float *row, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (int i = 0; i < VQ_RELEVANCE_COLS; i++)
        VQ_REQUIRE(isfinite(row[i]), VQ_ECORRUPT, "relevance: number %d is not finite", i);
    VQ_REQUIRE(row[KIND] == KIND_LOGISTIC, VQ_ECORRUPT, "relevance: of kind %g, expected 1",
               (double)row[KIND]);
    VQ_REQUIRE(is_count(row[DEPTH], VQ_RELEVANCE_DEPTH_MAX) && row[DEPTH] >= 1.0f &&
                   is_count(row[QUERIES], 4294967040.0f) && is_count(row[JUDGES], 4294967040.0f) &&
                   is_count(row[FIRST], VQ_RELEVANCE_DEPTH_MAX),
               VQ_ECORRUPT, "relevance: a count cannot be");
    bool shares = row[BEST] >= 0.0f && row[BEST] <= 1.0f;
    for (int i = 0; i < 3; i++) shares &= row[F1 + i] >= 0.0f && row[F1 + i] <= 1.0f;
    VQ_REQUIRE(shares, VQ_ECORRUPT, "relevance: a share is not between 0 and 1");
    for (int i = 0; i < F; i++)
        VQ_REQUIRE(row[SCALE + i] > 0.0f, VQ_ECORRUPT, "relevance: feature %d has no scale", i);
out:
    return rc;
}

vq_status vq_relevance_parse(const uint8_t *value, size_t len, const float **row, vq_error *err)
{
    vq_status rc = VQ_OK;
    const float *x = NULL;
    *row = NULL;
    VQ_REQUIRE(len >= VQ_RECORD_HEADER, VQ_ECORRUPT, "relevance: %zu bytes", len);
    if (vq_le64(value + 8) != 1 || vq_le64(value + 16) != VQ_RELEVANCE_COLS) goto out;
    VQ_TRY(vq_array_parse(value, len, VQ_RELEVANCE_KEY, 1, VQ_RELEVANCE_COLS, &x, err));
    if (x[KIND] != KIND_LOGISTIC) goto out;
    VQ_TRY(vq_relevance_check(x, err));
    *row = x;
out:
    return rc;
}

vq_relevance vq_relevance_of(const float *row)
{
    return (vq_relevance){.depth = (uint32_t)row[DEPTH],
                          .queries = (uint64_t)row[QUERIES],
                          .judges = (uint64_t)row[JUDGES],
                          .best = row[BEST],
                          .score = row[SCORE],
                          .first = (uint32_t)row[FIRST],
                          .f1 = row[F1],
                          .score_f1 = row[F1 + 1],
                          .first_f1 = row[F1 + 2]};
}

/* ---- features ---- */

/* A score as a number of which more is nearer: of l2 minus the distance itself. */
static double nearness(float score, bool larger)
{
    return larger ? (double)score : -sqrt(fmax((double)score, 0.0));
}

typedef struct summary { /* of a query's first answers */
    double best, lead;   /* the nearness of the best, and how much that is more than the second's */
    double mean, spread;
} summary;

static summary summarize(const float *scores, size_t n, size_t depth, bool larger)
{
    summary s = {0};
    size_t m = VQ_MIN(n, depth);
    double sum = 0.0, squares = 0.0;
    if (m == 0) return s;
    for (size_t i = 0; i < m; i++) sum += nearness(scores[i], larger);
    s.mean = sum / (double)m;
    for (size_t i = 0; i < m; i++) {
        double off = nearness(scores[i], larger) - s.mean;
        squares += off * off;
    }
    s.spread = sqrt(squares / (double)m);
    s.best = nearness(scores[0], larger);
    s.lead = m > 1 ? s.best - nearness(scores[1], larger) : 0.0;
    return s;
}

static void features(const summary *s, const float *scores, size_t n, size_t i, bool larger,
                     double *x)
{
    double here = nearness(scores[i], larger);
    double next = i + 1 < n ? nearness(scores[i + 1], larger) : here;
    double unit = s->spread > FLAT * (1.0 + fabs(s->mean)) ? 1.0 / s->spread : 0.0;
    const double all[F] = {here,
                           s->best - here,
                           (here - s->mean) * unit,
                           (s->best - here) * unit,
                           (here - next) * unit,
                           i == 0 ? s->lead * unit : 0.0,
                           s->mean,
                           s->spread,
                           log2((double)i + 1.0)};
    memcpy(x, all, sizeof all);
}

void vq_relevance_features(const float *scores, size_t n, size_t depth, size_t i, bool larger,
                           double *x)
{
    summary s = summarize(scores, n, depth, larger);
    features(&s, scores, VQ_MIN(n, depth), i, larger, x);
}

void vq_relevance_apply(const float *row, const float *scores, size_t n, bool larger,
                        float *probability)
{
    size_t depth = (size_t)row[DEPTH];
    summary s = summarize(scores, n, depth, larger);
    float least = 1.0f;
    for (size_t i = 0; i < n; i++) {
        double x[F], t = (double)row[CONSTANT];
        features(&s, scores, VQ_MAX(VQ_MIN(n, depth), i + 1), i, larger, x);
        for (int j = 0; j < F; j++)
            t += (double)row[COEF + j] * (x[j] - (double)row[MEAN + j]) / (double)row[SCALE + j];
        float p = (float)vq_logistic(t);
        if (isnan(p)) p = 0.0f;        /* of scores that overflow nothing is known */
        least = p < least ? p : least; /* a worse score is never more relevant */
        probability[i] = least;
    }
}

/* ---- learning ---- */

typedef struct pairs { /* of a query and an answer */
    size_t n;
    double *x;  /* n x F */
    uint8_t *y; /* n */
} pairs;

typedef struct learner {
    const vq_relevance_job *job;
    size_t *queries; /* the judged */
    size_t nqueries;
    pairs train;
    size_t relevant, found; /* judged so for training queries; of these answered */
    size_t judged, judges;  /* the same number, and how many queries, of those held out */
} learner;

static bool judges(size_t i)
{
    return i % HELD_OUT == HELD_OUT - 1;
}

static bool is_relevant(const vq_judgements *j, size_t q, uint64_t id)
{
    uint64_t first = j->first[q];
    return vq_grade(j->ids + first, j->grades + first, (size_t)(j->first[q + 1] - first), id) > 0;
}

static size_t relevant_of(const vq_judgements *j, size_t q)
{
    size_t n = 0;
    for (uint64_t i = j->first[q]; i < j->first[q + 1]; i++) n += j->grades[i] > 0;
    return n;
}

static size_t answers_of(const vq_relevance_job *job, size_t q)
{
    size_t n = 0;
    while (n < job->depth && job->ids[q * job->depth + n] != VQ_NO_ID) n++;
    return n;
}

/* Queries with a judgement, in order. */
static vq_status find_judged(learner *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_relevance_job *job = l->job;
    size_t relevant = 0;
    l->queries = vq_mem_alloc(job->nq, sizeof *l->queries);
    VQ_REQUIRE(l->queries != NULL, VQ_ENOMEM, "relevance: %zu queries", job->nq);
    for (size_t q = 0; q < job->nq; q++) {
        if (job->judged->first[q] == job->judged->first[q + 1]) continue;
        l->queries[l->nqueries++] = q;
        relevant += relevant_of(job->judged, q);
    }
    VQ_REQUIRE(l->nqueries > 0, VQ_EINVAL, "relevance: none of %zu queries is judged", job->nq);
    VQ_REQUIRE(relevant > 0, VQ_EINVAL,
               "relevance: nothing is judged relevant: no grade is above 0");
    VQ_REQUIRE(l->nqueries >= QUERIES_LEAST, VQ_EINVAL,
               "relevance: %zu judged queries; %d are the least, and hundreds are what serves",
               l->nqueries, QUERIES_LEAST);
out:
    return rc;
}

static vq_status gather(learner *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_relevance_job *job = l->job;
    pairs *t = &l->train;
    size_t most = l->nqueries * job->depth;
    t->x = vq_mem_alloc(most, F * sizeof *t->x);
    t->y = vq_mem_alloc(most, 1);
    VQ_REQUIRE(t->x != NULL && t->y != NULL, VQ_ENOMEM, "relevance: %zu answers", most);
    for (size_t i = 0; i < l->nqueries; i++) {
        size_t q = l->queries[i], n = answers_of(job, q), relevant = relevant_of(job->judged, q);
        const float *scores = job->scores + q * job->depth;
        l->judges += judges(i);
        if (judges(i)) {
            l->judged += relevant;
            continue;
        }
        l->relevant += relevant;
        for (size_t r = 0; r < n; r++, t->n++) {
            vq_relevance_features(scores, n, job->depth, r, job->larger, t->x + t->n * F);
            t->y[t->n] = is_relevant(job->judged, q, job->ids[q * job->depth + r]);
            l->found += t->y[t->n];
        }
    }
    VQ_REQUIRE(l->found > 0, VQ_EINVAL,
               "relevance: of %zu judged relevant none is among the first %u answers: are these "
               "the judgements of these queries?",
               l->relevant, job->depth);
    VQ_REQUIRE(l->judged > 0, VQ_EINVAL,
               "relevance: of %zu queries held out none has a relevant document: they could not "
               "tell how good a cut is",
               l->judges);
    VQ_REQUIRE(l->found < t->n, VQ_EINVAL,
               "relevance: all of %zu answers are relevant: there is nothing to cut", t->n);
out:
    return rc;
}

/* Mean and spread of each feature into the row, which x is then relative to. */
static void standardize(pairs *t, float *row)
{
    for (size_t j = 0; j < F; j++) {
        double sum = 0.0, squares = 0.0;
        for (size_t i = 0; i < t->n; i++) sum += t->x[i * F + j];
        row[MEAN + j] = (float)(sum / (double)t->n);
        for (size_t i = 0; i < t->n; i++) {
            double off = t->x[i * F + j] - (double)row[MEAN + j];
            squares += off * off;
        }
        double spread = sqrt(squares / (double)t->n);
        row[SCALE + j] = spread > 1e-30 && spread < 1e30 ? (float)spread : 1.0f;
        for (size_t i = 0; i < t->n; i++)
            t->x[i * F + j] = (t->x[i * F + j] - (double)row[MEAN + j]) / (double)row[SCALE + j];
    }
}

enum { LEARNT, BY_SCORE, BY_NUMBER, CUTS };

/* Answers of training queries, or of those held out, with the values that each kind of cut goes by.
 */
static vq_status take_answers(const learner *l, const float *row, bool held_out, size_t *n,
                              vq_cut_answer *cuts[CUTS], vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_relevance_job *job = l->job;
    float *p = vq_mem_alloc(job->depth, sizeof *p);
    VQ_REQUIRE(p != NULL, VQ_ENOMEM, "relevance: %u answers", job->depth);
    *n = 0;
    for (size_t i = 0; i < l->nqueries; i++) {
        size_t q = l->queries[i], found = answers_of(job, q);
        const float *scores = job->scores + q * job->depth;
        if (judges(i) != held_out) continue;
        vq_relevance_apply(row, scores, found, job->larger, p);
        for (size_t r = 0; r < found; r++, ++*n) {
            uint8_t y = is_relevant(job->judged, q, job->ids[q * job->depth + r]);
            double score = job->larger ? (double)scores[r] : -(double)scores[r];
            cuts[LEARNT][*n] = (vq_cut_answer){(double)p[r], y};
            cuts[BY_SCORE][*n] = (vq_cut_answer){score, y};
            cuts[BY_NUMBER][*n] = (vq_cut_answer){-(double)r, y};
        }
    }
out:
    vq_mem_free(p);
    return rc;
}

/* Where each kind of cut has its best F1, and what that gives on the queries held out. */
static vq_status choose_cuts(const learner *l, float *row, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t most = l->nqueries * l->job->depth, n;
    vq_cut_answer *cuts[CUTS] = {NULL};
    double at[CUTS], f1;
    for (int c = 0; c < CUTS; c++) {
        cuts[c] = vq_mem_alloc(most, sizeof *cuts[c]);
        VQ_REQUIRE(cuts[c] != NULL, VQ_ENOMEM, "relevance: %zu answers", most);
    }
    VQ_TRY(take_answers(l, row, false, &n, cuts, err));
    for (int c = 0; c < CUTS; c++) at[c] = vq_cut_best(cuts[c], n, l->relevant, &f1);
    row[BEST] = (float)at[LEARNT];
    row[SCORE] = (float)(l->job->larger ? at[BY_SCORE] : -at[BY_SCORE]);
    row[FIRST] = (float)(1.0 - at[BY_NUMBER]);
    VQ_TRY(take_answers(l, row, true, &n, cuts, err));
    for (int c = 0; c < CUTS; c++) row[F1 + c] = (float)vq_cut_at(cuts[c], n, l->judged, at[c]).f1;
out:
    for (int c = 0; c < CUTS; c++) vq_mem_free(cuts[c]);
    return rc;
}

vq_status vq_relevance_learn(const vq_relevance_job *job, float *row, vq_error *err)
{
    vq_status rc = VQ_OK;
    learner l = {.job = job};
    double coef[F + 1];
    memset(row, 0, VQ_RELEVANCE_COLS * sizeof *row);
    VQ_TRY(find_judged(&l, err));
    VQ_TRY(gather(&l, err));
    standardize(&l.train, row);
    vq_logistic_fit(l.train.x, l.train.y, l.train.n, F, RIDGE, coef);
    row[KIND] = KIND_LOGISTIC;
    row[DEPTH] = (float)job->depth;
    row[QUERIES] = (float)(l.nqueries - l.judges);
    row[JUDGES] = (float)l.judges;
    row[CONSTANT] = (float)coef[0];
    for (int j = 0; j < F; j++) row[COEF + j] = (float)coef[j + 1];
    VQ_TRY(choose_cuts(&l, row, err));
    VQ_TRY(vq_relevance_check(row, err));
out:
    vq_mem_free(l.queries);
    vq_mem_free(l.train.x);
    vq_mem_free(l.train.y);
    return rc;
}
