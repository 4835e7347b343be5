/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_calibrate.c -- vq calibrate: learns from judged queries which answers are relevant, and
 * stores that in the index. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/judged.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"

typedef struct calibrate_args {
    opt_texts queries, qrels, query_ids;
    uint32_t depth, threads;
    int json, quiet;
} calibrate_args;

#define AT(field) offsetof(calibrate_args, field)

const opt calibrate_opts[] = {
    {"queries", 0, OPT_TEXTS, "FILE", AT(queries), 0, 0, NULL,
     "vectors of judged queries, like those that will be asked; required, may be given more than "
     "once"},
    {"qrels", 0, OPT_TEXTS, "FILE", AT(qrels), 0, 0, NULL,
     "their judgements (TREC, MS MARCO, BEIR); required, one for each --queries, in their order"},
    {"query-ids", 0, OPT_TEXTS, "FILE", AT(query_ids), 0, 0, NULL,
     "ids of the queries in --qrels, one a line; default: their row numbers, from 0. One for each "
     "--queries, or none"},
    {"depth", 0, OPT_U32, "N", AT(depth), 2, 1000, NULL,
     "answers of each query to look at; default 10"},
    {"threads", 0, OPT_U32, "T", AT(threads), 1, 1024, NULL,
     "default: all processors; what is stored does not depend on it"},
    {"json", 0, OPT_FLAG, NULL, AT(json), 0, 0, NULL, "print one JSON object"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

typedef struct lesson { /* all files of queries, as one */
    queries q[OPT_TEXTS_MAX];
    vq_source *rows[OPT_TEXTS_MAX];
    size_t n;
    judged judged;
    uint64_t *first; /* of judged, as the library wants it */
} lesson;

static int load(lesson *l, const calibrate_args *a, const index_set *set)
{
    vq_searcher *s = NULL;
    int code = index_set_searcher(set, &s, &(effort){0}, 1);
    for (size_t i = 0; i < a->queries.n && code == CLI_DONE; i++) {
        vq_error err = {0};
        queries *q = &l->q[l->n++];
        const char *ids = a->query_ids.n > 0 ? a->query_ids.at[i] : NULL;
        code = queries_open(q, a->queries.at[i], ids, set->first.d);
        if (code == CLI_DONE) code = queries_load(q);
        if (code == CLI_DONE) code = judged_load(&l->judged, q, s, a->qrels.at[i]);
        if (code != CLI_DONE) break;
        vq_status rc = vq_source_open_array(&l->rows[i], q->rows, q->n, q->d, VQ_F32, &err);
        if (rc != VQ_OK) code = fail_data(rc, &err);
    }
    vq_searcher_close(s);
    return code;
}

static void unload(lesson *l)
{
    for (size_t i = 0; i < l->n; i++) {
        vq_source_close(l->rows[i]);
        queries_close(&l->q[i]);
    }
    judged_free(&l->judged);
    free(l->first);
}

static void print_json(const vq_relevance *r)
{
    json j = {.f = stdout, .pretty = true};
    json_open(&j, NULL, '{');
    json_count(&j, "queries", r->queries);
    json_count(&j, "judges", r->judges);
    json_count(&j, "depth", r->depth);
    json_real(&j, "min_relevance", (double)r->best);
    json_real(&j, "score", (double)r->score);
    json_count(&j, "first", r->first);
    json_open(&j, "held_out_f1", '{');
    json_real(&j, "learnt", (double)r->f1);
    json_real(&j, "score", (double)r->score_f1);
    json_real(&j, "first", (double)r->first_f1);
    json_close(&j, '}');
    json_close(&j, '}');
}

static void print_text(const char *path, const vq_relevance *r, double seconds)
{
    char n[32], m[32];
    (void)printf("%s: calibrated with %s queries, %.1f s\n", path, report_count(n, r->queries),
                 seconds);
    (void)printf("best F1 on %s other queries:\n", report_count(m, r->judges));
    report_line(stdout, "learnt", "%.4f  (--min-relevance %.3g)", (double)r->f1, (double)r->best);
    report_line(stdout, "fixed score", "%.4f  (%.6g)", (double)r->score_f1, (double)r->score);
    report_line(stdout, "first answers", "%.4f  (%u of %u)", (double)r->first_f1, r->first,
                r->depth);
    if (r->f1 <= r->score_f1 || r->f1 <= r->first_f1)
        (void)printf("what was learnt does not cut better here than a fixed %s does\n",
                     r->f1 <= r->score_f1 ? "score" : "number of answers");
}

static int tell(const calibrate_args *a, const char *path, double seconds)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_relevance r = VQ_RELEVANCE_INIT;
    vq_status rc = vq_open(&ix, path, 0, &err);
    if (rc == VQ_OK) rc = vq_relevance_info(ix, &r, &err);
    vq_close(ix);
    if (rc != VQ_OK) return fail_data(rc, &err);
    if (a->json)
        print_json(&r);
    else if (!a->quiet)
        print_text(path, &r, seconds);
    return CLI_DONE;
}

static int run(const calibrate_args *a, const char *path, lesson *l)
{
    vq_error err = {0};
    progress p;
    const judged *j = &l->judged;
    l->first = xmalloc(j->nq + 1, sizeof *l->first);
    for (size_t i = 0; i <= j->nq; i++) l->first[i] = j->first[i];
    const vq_judgements judgements = {
        .nq = j->nq, .first = l->first, .ids = j->docs, .grades = j->grades};
    progress_begin(&p, a->quiet);
    progress_catch();
    vq_relevance_opts opts = VQ_RELEVANCE_OPTS_INIT;
    opts.queries = l->rows;
    opts.nqueries = l->n;
    opts.judged = &judgements;
    opts.depth = a->depth;
    opts.threads = a->threads;
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    vq_status rc = vq_relevance_calibrate(path, &opts, &err);
    double seconds = progress_end(&p);
    if (rc != VQ_OK && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    return rc == VQ_OK ? tell(a, path, seconds) : fail_data(rc, &err);
}

int cmd_calibrate(const cmd *self, int argc, char **argv)
{
    calibrate_args a = {.threads = processors()};
    static lesson l;
    index_set set = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    if (a.queries.n == 0 || a.qrels.n == 0)
        return fail(CLI_USAGE, "--queries FILE and --qrels FILE are needed: what is relevant is "
                               "learnt from judged queries");
    if (a.qrels.n != a.queries.n)
        return fail(CLI_USAGE, "%zu --queries, %zu --qrels: give one for each", a.queries.n,
                    a.qrels.n);
    if (a.query_ids.n != 0 && a.query_ids.n != a.queries.n)
        return fail(CLI_USAGE, "%zu --queries, %zu --query-ids: give one for each, or none",
                    a.queries.n, a.query_ids.n);
    code = index_set_open(&set, rest, 1);
    if (code == CLI_DONE) code = load(&l, &a, &set);
    index_set_close(&set);
    if (code == CLI_DONE) code = run(&a, rest[0], &l);
    unload(&l);
    return code;
}
