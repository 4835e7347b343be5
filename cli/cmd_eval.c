/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_eval.c -- vq eval: options, and the figures as a table or as JSON. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/report.h"
#include "cli/util.h"

#define AT(field) offsetof(eval_args, field)

static const opt_word all_lists[] = {{"all", VQ_ALL}, {NULL, 0}};
static const opt_word no_rerank[] = {{"0", VQ_NONE}, {NULL, 0}};

const opt eval_opts[] = {
    {"gt", 0, OPT_TEXT, "FILE", AT(gt), 0, 0, NULL,
     "exact neighbours (ibin, ivecs), as vq gt writes them: gives recall against exact search"},
    {"ids", 0, OPT_TEXT, "FILE", AT(ids), 0, 0, NULL,
     "the ids in --gt are row numbers, and FILE has the ids of the rows; needed for string ids"},
    {"qrels", 0, OPT_TEXT, "FILE", AT(qrels), 0, 0, NULL,
     "judgements (TREC, MS MARCO, BEIR): gives MRR@10, nDCG@10 and recall"},
    {"query-ids", 0, OPT_TEXT, "FILE", AT(query_ids), 0, 0, NULL,
     "ids of the queries in --qrels, one a line; default: their row numbers, from 0"},
    {"k", 'k', OPT_U32, "K", AT(k), 1, 1000000, NULL,
     "no figure that needs more than K answers; default: all that can be computed. Each figure "
     "comes from a search of its own depth; times are those of k = 10"},
    {"recall", 0, OPT_REAL, "R", AT(effort.recall), 0, 1, NULL,
     "search for this share of the true answers, as vq search does. Default 0.95, if the index is "
     "tuned"},
    {"nprobe", 0, OPT_U32, "N|all", AT(effort.nprobe), 1, UINT32_MAX - 1, all_lists,
     "lists to read for a query, instead of --recall"},
    {"rerank", 0, OPT_U32, "R", AT(effort.rerank), 0, UINT32_MAX - 1, no_rerank,
     "candidates to score by their full rows, 0 = by codes alone; instead of --recall"},
    {"bars", 0, OPT_ABOVE, "E", AT(effort.bars), 0, 100, NULL,
     "codecs with error bars: look closer at a vector while it may be among the best k, if its "
     "estimate is E standard deviations too low. Default 3"},
    {"min-relevance", 0, OPT_REAL, "P|best", AT(min_relevance), 0, 1, relevance_words,
     "with --qrels, after vq calibrate: precision, recall and F1 of keeping the answers that are "
     "relevant with probability P or more, beside the best fixed cuts; best: the P of greatest F1 "
     "there"},
    {"threads", 0, OPT_U32, "T", AT(threads), 1, 1024, NULL,
     "of the batch; default: all processors. Single queries are timed on one"},
    {"codes-in-memory", 0, OPT_FLAG, NULL, AT(effort.codes_in_memory), 0, 0, NULL,
     "read all codes first, and keep them in memory; rows stay on the disk"},
    {"json", 0, OPT_FLAG, NULL, AT(json), 0, 0, NULL, "print one JSON object"},
    {"sweep", 0, OPT_FLAG, NULL, AT(sweep), 0, 0, NULL,
     "measure many settings of nprobe and rerank (one that is given stays) and print the best"},
    {"plot", 0, OPT_TEXT, "FILE", AT(plot), 0, 0, NULL,
     "draw the sweep as FILE, an .svg; needs gnuplot"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "show no progress of a sweep"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

/* One more member, unless the figure was not computed. */
static void figure(json *j, const char *key, double x)
{
    if (!isnan(x)) json_real(j, key, x);
}

static double per_vector(const eval_job *job, double bytes)
{
    return job->set.n > 0 ? bytes / (double)job->set.n : 0;
}

static void cut_json(json *j, const char *key, const vq_cut_quality *c)
{
    json_open(j, key, '{');
    figure(j, "precision", c->precision);
    figure(j, "recall", c->recall);
    figure(j, "f1", c->f1);
    json_close(j, '}');
}

static void cuts_json(json *j, const eval_cuts *c)
{
    json_open(j, "cuts", '{');
    json_count(j, "depth", c->depth);
    json_real(j, "min_relevance", c->least);
    cut_json(j, "learnt", &c->learnt);
    json_real(j, "score", c->score);
    cut_json(j, "fixed_score", &c->by_score);
    json_count(j, "first", c->first);
    cut_json(j, "first_answers", &c->by_number);
    json_close(j, '}');
}

static void codes_json(json *j, const eval_codes *c)
{
    json_open(j, "by_codes", '{');
    figure(j, "10@100", c->ten[0]);
    figure(j, "10@1000", c->ten[1]);
    figure(j, "recall@100", c->relevant[0]);
    figure(j, "recall@1000", c->relevant[1]);
    json_close(j, '}');
}

static void quality_json(json *j, const eval_job *job, const eval_result *r)
{
    if (job->exact) {
        json_open(j, "exact", '{');
        figure(j, "recall@1", r->recall_1);
        figure(j, "recall@10", r->recall_10);
        figure(j, "recall@100", r->recall_100);
        figure(j, "10@100", r->ten_at_100);
        json_close(j, '}');
    }
    if (!job->judged) return;
    json_open(j, "judged", '{');
    figure(j, "mrr@10", r->judged.mrr10);
    figure(j, "ndcg@10", r->judged.ndcg10);
    figure(j, "recall@10", r->judged.recall[0]);
    figure(j, "recall@100", r->judged.recall[1]);
    figure(j, "recall@1000", r->judged.recall[2]);
    json_close(j, '}');
}

static void print_json(const eval_job *job, const eval_result *r)
{
    json j = {.f = stdout, .pretty = true};
    json_open(&j, NULL, '{');
    json_count(&j, "n_queries", job->q.n);
    if (r->recall > 0) json_real(&j, "recall_asked", r->recall);
    json_count(&j, "nprobe", r->nprobe);
    json_count(&j, "rerank", r->rerank);
    json_open(&j, "mean", '{');
    json_real(&j, "lists", r->lists);
    json_real(&j, "vectors", r->vectors);
    json_real(&j, "rows", r->rows);
    json_real(&j, "bytes", r->bytes);
    json_real(&j, "page_faults", r->faults.minor / (double)job->q.n);
    json_real(&j, "page_faults_from_disk", r->faults.major / (double)job->q.n);
    json_close(&j, '}');
    quality_json(&j, job, r);
    if (!isnan(r->codes.ten[0]) || !isnan(r->codes.relevant[0])) codes_json(&j, &r->codes);
    if (job->args->min_relevance >= 0) cuts_json(&j, &r->cuts);
    json_open(&j, "latency_us", '{');
    json_real(&j, "mean", r->latency.mean);
    json_real(&j, "p50", r->latency.p50);
    json_real(&j, "p95", r->latency.p95);
    json_real(&j, "p99", r->latency.p99);
    json_close(&j, '}');
    json_real(&j, "single_qps", r->single_qps);
    json_real(&j, "batch_qps", r->batch_qps);
    json_open(&j, "bytes_per_vector", '{');
    json_real(&j, "codes", per_vector(job, job->set.codes_bytes));
    json_real(&j, "store", per_vector(job, (double)job->set.rows_bytes));
    json_real(&j, "file", per_vector(job, (double)job->set.file_bytes));
    json_close(&j, '}');
    json_close(&j, '}');
}

static void line(const char *group, const char *name, double x)
{
    char label[40];
    if (isnan(x)) return;
    (void)snprintf(label, sizeof label, "%s %s", group, name);
    report_line(stdout, label, "%8.4f", x);
}

static void cut_text(const char *label, const vq_cut_quality *c, const char *fmt, double at)
{
    char how[64], precision[32] = "none kept";
    (void)snprintf(how, sizeof how, fmt, at);
    if (!isnan(c->precision))
        (void)snprintf(precision, sizeof precision, "precision %.4f", c->precision);
    report_line(stdout, label, "%s, recall %.4f, F1 %.4f  (%s)", precision, c->recall, c->f1, how);
}

static void cuts_text(const eval_cuts *c)
{
    if (isnan(c->learnt.f1)) return; /* nothing is judged relevant */
    report_line(stdout, "cuts", "of the first %u answers of all queries together", c->depth);
    cut_text("..learnt", &c->learnt, "relevance of %.3g or more", c->least);
    cut_text("..fixed score", &c->by_score, "best when calibrated: %.6g", c->score);
    cut_text("..first answers", &c->by_number, "best when calibrated: %.0f", c->first);
}

static void print_text(const eval_job *job, const eval_result *r)
{
    char n[32];
    report_line(stdout, "queries", "%s", report_count(n, job->q.n));
    report_line(stdout, "index", "%s vectors of %u dimensions, codec %s",
                report_count(n, job->set.n), job->set.first.d, job->set.first.codec);
    if (r->recall > 0) report_line(stdout, "recall", "%g asked for", r->recall);
    const char *most = r->recall > 0 ? "at most " : "";
    report_line(stdout, "nprobe", "%s%u of %u lists", most, r->nprobe, job->set.nlist_max);
    if (r->rerank == 0)
        report_line(stdout, "rerank", "none: codes alone");
    else
        report_line(stdout, "rerank", "%s%u rows", most, r->rerank);
    report_line(stdout, "a query takes", "%.1f lists, %s vectors, %.1f rows, on the average",
                r->lists, report_count(n, (uint64_t)(r->vectors + 0.5)), r->rows);
    report_line(stdout, "..and reads",
                "at most %.1f kB, %.2f GB/s; page faults: %.2f, from disk %.2f", r->bytes / 1e3,
                r->bytes / r->latency.mean / 1e3, r->faults.minor / (double)job->q.n,
                r->faults.major / (double)job->q.n);
    line("exact", "recall@1", r->recall_1);
    line("exact", "recall@10", r->recall_10);
    line("exact", "recall@100", r->recall_100);
    line("exact", "10@100", r->ten_at_100);
    if (job->judged) report_line(stdout, "judged", "%s queries", report_count(n, r->judged.nq));
    line("judged", "MRR@10", r->judged.mrr10);
    line("judged", "nDCG@10", r->judged.ndcg10);
    line("judged", "recall@10", r->judged.recall[0]);
    line("judged", "recall@100", r->judged.recall[1]);
    line("judged", "recall@1000", r->judged.recall[2]);
    line("by codes", "10@100", r->codes.ten[0]);
    line("by codes", "10@1000", r->codes.ten[1]);
    line("by codes", "recall@100", r->codes.relevant[0]);
    line("by codes", "recall@1000", r->codes.relevant[1]);
    if (job->args->min_relevance >= 0) cuts_text(&r->cuts);
    report_line(stdout, "latency", "mean %.1f us, p50 %.1f, p95 %.1f, p99 %.1f (one thread)",
                r->latency.mean, r->latency.p50, r->latency.p95, r->latency.p99);
    report_line(stdout, "single", "%.0f queries a second (one thread)", r->single_qps);
    report_line(stdout, "batch", "%.0f queries a second (%u thread%s)", r->batch_qps,
                job->args->threads, job->args->threads == 1 ? "" : "s");
    report_line(stdout, "bytes a vector", "%.1f codes, %.1f stored row, %.1f file",
                per_vector(job, job->set.codes_bytes), per_vector(job, (double)job->set.rows_bytes),
                per_vector(job, (double)job->set.file_bytes));
}

static void sweep_json(const eval_job *job, const eval_curve *c)
{
    json j = {.f = stdout, .pretty = true};
    json_open(&j, NULL, '{');
    json_count(&j, "n_queries", job->q.n);
    json_text(&j, "value", c->value_name);
    json_open(&j, "points", '[');
    for (size_t i = 0; i < c->n; i++) {
        const eval_point *p = &c->points[i];
        json_open(&j, NULL, '{');
        json_count(&j, "nprobe", p->nprobe);
        json_count(&j, "rerank", p->rerank);
        json_real(&j, c->value_name, p->value);
        json_real(&j, "read", p->read);
        json_real(&j, "mean_us", p->us);
        json_real(&j, "single_qps", 1e6 / p->us);
        json_bool(&j, "front", p->front != 0);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
}

static int by_time(const void *a, const void *b)
{
    const eval_point *x = a, *y = b;
    return x->us < y->us ? -1 : x->us > y->us;
}

/* The front alone, from the fastest to the best; sorts the points. */
static void sweep_text(eval_curve *c)
{
    qsort(c->points, c->n, sizeof *c->points, by_time);
    (void)printf("%8s %8s %10s %8s %10s %12s\n", "nprobe", "rerank", c->value_name, "read",
                 "us/query", "queries/s");
    for (size_t i = 0; i < c->n; i++) {
        const eval_point *p = &c->points[i];
        if (p->front)
            (void)printf("%8u %8u %10.4f %8.4f %10.1f %12.0f\n", p->nprobe, p->rerank, p->value,
                         p->read, p->us, 1e6 / p->us);
    }
}

static int run_sweep(const eval_job *job, const char *title)
{
    eval_curve c;
    int code = eval_sweep(job, &c);
    if (code == CLI_DONE && job->args->plot != NULL) code = plot_curve(&c, title, job->args->plot);
    if (code == CLI_DONE && job->args->json)
        sweep_json(job, &c);
    else if (code == CLI_DONE)
        sweep_text(&c);
    free(c.points);
    return code;
}

static int run_one(const eval_job *job)
{
    eval_result r;
    int code = eval_measure(job, &r);
    if (code != CLI_DONE) return code;
    if (job->args->json)
        print_json(job, &r);
    else
        print_text(job, &r);
    return CLI_DONE;
}

static int check_args(eval_args *a)
{
    if (a->ids != NULL && a->gt == NULL) return fail(CLI_USAGE, "--ids goes with --gt");
    if (a->query_ids != NULL && a->qrels == NULL)
        return fail(CLI_USAGE, "--query-ids goes with --qrels");
    if (a->min_relevance >= 0 && a->qrels == NULL)
        return fail(CLI_USAGE, "--min-relevance goes with --qrels: what is relevant?");
    if (a->min_relevance >= 0 && a->sweep)
        return fail(CLI_USAGE, "a sweep cuts nothing: leave --min-relevance out");
    if (a->sweep && a->gt == NULL && a->qrels == NULL)
        return fail(CLI_USAGE, "a sweep needs --gt or --qrels: quality against what?");
    if (effort_check(&a->effort) != CLI_DONE) return CLI_USAGE;
    if (a->sweep && a->effort.recall > 0)
        return fail(CLI_USAGE, "a sweep walks nprobe and rerank: leave --recall out");
    if (a->sweep && a->k != 0)
        return fail(CLI_USAGE, "a sweep is measured at k = 10: leave -k out");
    if (a->plot != NULL && !ends_with(a->plot, ".svg"))
        return fail(CLI_USAGE, "--plot %s: the name must end in .svg", a->plot);
    if (a->plot != NULL && plot_ready() != CLI_DONE) return CLI_SYSTEM;
    return -1;
}

int cmd_eval(const cmd *self, int argc, char **argv)
{
    eval_args a = {.effort = {.recall = RECALL_NOT_GIVEN},
                   .min_relevance = RELEVANCE_NOT_GIVEN,
                   .threads = processors()};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 2, INT_MAX, &rest, &nrest);
    if (code >= 0) return code;
    if (a.plot != NULL) a.sweep = 1;
    code = check_args(&a);
    if (code >= 0) return code;
    eval_job job;
    code = eval_open(&job, &a, rest, nrest - 1, rest[nrest - 1]);
    if (code == CLI_DONE && a.sweep && job.exact && job.truth.k < 10)
        code = fail(CLI_DATA, "%s has %zu neighbours a query; a sweep needs 10", a.gt, job.truth.k);
    if (code == CLI_DONE) code = a.sweep ? run_sweep(&job, rest[0]) : run_one(&job);
    eval_close(&job);
    return code;
}
