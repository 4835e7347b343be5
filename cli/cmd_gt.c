/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_gt.c -- vq gt: exact nearest neighbours of queries, as a file of ground truth. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"
#include "src/eval/exact.h"
#include "src/io/truth.h"

typedef struct gt_args {
    const char *output, *ids;
    uint32_t k, metric, threads;
    int quiet;
} gt_args;

#define AT(field) offsetof(gt_args, field)

static const opt_word metrics[] = {
    {"l2", VQ_METRIC_L2}, {"ip", VQ_METRIC_IP}, {"cosine", VQ_METRIC_COSINE}, {NULL, 0}};

const opt gt_opts[] = {
    {"output", 'o', OPT_TEXT, "FILE", AT(output), 0, 0, NULL,
     "what to write: .ibin (ids and scores) or .ivecs (ids); required"},
    {"k", 'k', OPT_U32, "K", AT(k), 1, 65536, NULL, "neighbours a query; default 100"},
    {"metric", 0, OPT_WORD, "l2|ip|cosine", AT(metric), 0, 0, metrics,
     "how vectors are compared; default l2"},
    {"ids", 0, OPT_TEXT, "FILE", AT(ids), 0, 0, NULL,
     "numeric ids of the base's rows, one a line; default: row numbers, from 0"},
    {"threads", 0, OPT_U32, "T", AT(threads), 1, 1024, NULL, "default: all processors"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static int compute(const gt_args *a, vq_source *base, const queries *q, const vq_ids *ids)
{
    vq_error err = {0};
    progress p;
    size_t nq = (size_t)q->n;
    vq_truth t = {.nq = nq, .k = a->k};
    t.ids = xmalloc(nq, (size_t)a->k * sizeof *t.ids);
    t.scores = xmalloc(nq, (size_t)a->k * sizeof *t.scores);
    progress_begin(&p, a->quiet);
    progress_catch();
    vq_exact_opts opts = {.metric = a->metric,
                          .k = a->k,
                          .threads = a->threads,
                          .ids = ids->numbers,
                          .progress = progress_fn,
                          .progress_ctx = &p};
    vq_status rc = vq_exact(base, q->rows, nq, &opts, t.ids, t.scores, &err);
    double seconds = progress_end(&p);
    if (rc == VQ_OK) rc = vq_truth_write(&t, a->output, &err);
    free(t.ids);
    free(t.scores);
    if (rc != VQ_OK && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK) return fail_data(rc, &err);
    if (!a->quiet)
        (void)printf("%s: the %u nearest of %zu queries by %s, %.1f s\n", a->output, a->k, nq,
                     vq_metric_name(a->metric), seconds);
    return CLI_DONE;
}

static int gt(const gt_args *a, const char *base_path, const char *query_path)
{
    vq_error err = {0};
    vq_source *base = NULL;
    queries q = {0};
    vq_ids ids = {0};
    uint64_t n;
    uint32_t d, elem;
    int code;
    vq_status rc = vq_source_open_file(&base, base_path, 0, &err);
    if (rc == VQ_OK && a->ids != NULL) rc = vq_ids_read(&ids, a->ids, false, &err);
    if (rc != VQ_OK) {
        code = fail_data(rc, &err);
        goto out;
    }
    vq_source_shape(base, &n, &d, &elem);
    code = queries_open(&q, query_path, NULL, 0);
    if (code == CLI_DONE && q.d != d)
        code = fail(CLI_DATA, "%s has vectors of %u dimensions, %s of %u", query_path, q.d,
                    base_path, d);
    if (code == CLI_DONE && ids.strings)
        code = fail(CLI_DATA, "%s has string ids: leave --ids out here, and give it to vq eval",
                    a->ids);
    if (code == CLI_DONE && a->ids != NULL && ids.n != n)
        code = fail(CLI_DATA, "%s has %zu ids, %s has %" PRIu64 " vectors", a->ids, ids.n,
                    base_path, n);
    if (code == CLI_DONE) code = queries_load(&q);
    if (code == CLI_DONE) code = compute(a, base, &q, &ids);
out:
    queries_close(&q);
    vq_ids_fini(&ids);
    vq_source_close(base);
    return code;
}

int cmd_gt(const cmd *self, int argc, char **argv)
{
    gt_args a = {.k = 100, .metric = VQ_METRIC_L2};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 2, 2, &rest, &nrest);
    if (code >= 0) return code;
    if (a.output == NULL) return fail(CLI_USAGE, "-o FILE is missing: which file to write?");
    if (!ends_with(a.output, ".ibin") && !ends_with(a.output, ".ivecs"))
        return fail(CLI_USAGE, "-o %s: the name must end in .ibin or .ivecs", a.output);
    const char *const files[] = {rest[0], rest[1], a.ids};
    code = check_output(a.output, files, sizeof files / sizeof *files);
    if (code == CLI_DONE) code = check_dashes(files, sizeof files / sizeof *files);
    if (code == CLI_DONE) code = output_folder(a.output);
    return code == CLI_DONE ? gt(&a, rest[0], rest[1]) : code;
}
