/* SPDX-License-Identifier: Apache-2.0 */
/* eval.h -- vq eval in three steps: load what is asked (eval_load.c), measure one setting
 * (eval_measure.c), or walk many and draw them (eval_sweep.c, plot.c). */
#ifndef VQ_CLI_EVAL_H
#define VQ_CLI_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/judged.h"
#include "cli/util.h"
#include "src/eval/cut.h"
#include "src/eval/metrics.h"
#include "src/io/truth.h"

typedef struct eval_args {
    const char *gt, *ids, *qrels, *query_ids, *plot;
    effort effort;
    uint32_t k, threads;
    double min_relevance; /* RELEVANCE_NOT_GIVEN, RELEVANCE_BEST, or a probability */
    int json, sweep, quiet;
} eval_args;

typedef struct eval_job {
    const eval_args *args;
    index_set set;
    queries q;
    bool exact; /* truth is there; its ids are those of the index */
    vq_truth truth;
    bool judged;
    judged judgements; /* of the query rows */
} eval_job;

/* Exit codes; what went wrong has been told.  eval_close takes what a failed eval_open left. */
int eval_open(eval_job *job, const eval_args *args, char **paths, int count, const char *from);
void eval_close(eval_job *job);

typedef struct eval_cuts { /* through the first `depth` answers of each query */
    double least;          /* probability from which on what was learnt keeps an answer.. */
    double score;          /* ..score from which on the best fixed cut does.. */
    uint32_t first, depth; /* ..and how many the best fixed number is */
    /* NaN: nothing is judged relevant; a precision alone: nothing is kept */
    vq_cut_quality learnt, by_score, by_number;
} eval_cuts;

typedef struct eval_codes {     /* of the best 100 and 1,000 by codes alone.. */
    double ten[2], relevant[2]; /* ..the share of the true ten, of what is judged relevant */
} eval_codes;

typedef struct eval_result {                            /* NaN: not computed */
    double recall_1, recall_10, recall_100, ten_at_100; /* against exact */
    vq_judged judged;
    eval_codes codes;   /* what a second pass could find at best; where there is one */
    vq_latency latency; /* microseconds */
    double single_qps, batch_qps;
    uint32_t nprobe, rerank;     /* in force for k = 10; with a recall the most that may be */
    double recall;               /* that was asked for; 0: nprobe and rerank were */
    double lists, vectors, rows; /* of a query, on the average.. */
    double bytes;                /* ..codes and rows it reads, at most.. */
    page_faults faults;          /* ..and pages it had to wait for */
    eval_cuts cuts;              /* with --min-relevance */
} eval_result;

int eval_cut(const eval_job *job, vq_searcher *s, eval_cuts *out);
int eval_measure(const eval_job *job, eval_result *r);
/* Vectors whose codes a query of s has read, copies counted, as a share of all. */
double eval_read(const eval_job *job, const vq_searcher *s);

typedef struct eval_point {  /* of a sweep */
    uint32_t nprobe, rerank; /* rerank 0: codes alone */
    double value;            /* recall@10 or mrr@10 */
    double us;               /* a query */
    double read;             /* eval_read() */
    unsigned char front;     /* no other point is both faster and better */
} eval_point;

typedef struct eval_curve {
    const char *value_name;
    eval_point *points; /* n, owned; by nprobe within rerank */
    size_t n;
} eval_curve;

int eval_sweep(const eval_job *job, eval_curve *curve);
int plot_ready(void); /* CLI_DONE if there is a gnuplot to draw with */
/* Draws value over queries a second into path, an .svg, by gnuplot. */
int plot_curve(const eval_curve *curve, const char *title, const char *path);

#endif
