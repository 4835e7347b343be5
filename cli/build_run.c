/* SPDX-License-Identifier: Apache-2.0 */
/* build_run.c -- see build_run.h. */
#include "cli/build_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"

static const char *const codecs[] = {NULL, "pq4", "pq8", "aq8", "sq8", "flat"};
const opt_word build_codecs[] = {{"auto", 0}, {"pq4", 1},  {"pq8", 2}, {"aq8", 3},
                                 {"sq8", 4},  {"flat", 5}, {NULL, 0}};
const opt_word build_rotations[] = {{"auto", VQ_ROTATION_AUTO},     {"none", VQ_ROTATION_NONE},
                                    {"random", VQ_ROTATION_RANDOM}, {"pca", VQ_ROTATION_PCA},
                                    {"opq", VQ_ROTATION_OPQ},       {NULL, 0}};
const opt_word build_trains[] = {{"auto", VQ_TRAIN_AUTO},
                                 {"kmeans", VQ_TRAIN_KMEANS},
                                 {"query-aware", VQ_TRAIN_QUERY_AWARE},
                                 {"distill", VQ_TRAIN_DISTILL},
                                 {NULL, 0}};

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts the ids, which are not needed any more. */
static bool repeated(vq_ids *ids)
{
    if (ids->n < 2) return false;
    if (ids->strings)
        qsort(ids->names, ids->n, sizeof *ids->names, compare_text);
    else
        qsort(ids->numbers, ids->n, sizeof *ids->numbers, compare_u64);
    for (size_t i = 1; i < ids->n; i++)
        if (ids->strings ? strcmp(ids->names[i - 1], ids->names[i]) == 0
                         : ids->numbers[i - 1] == ids->numbers[i])
            return true;
    return false;
}

/* A line for everything that is not as it was asked for: the lines of why that say "instead of". */
static void print_amended(char *why)
{
    for (char *line = why, *rest; line != NULL; line = rest) {
        rest = strchr(line, '\n');
        if (rest != NULL) *rest++ = '\0';
        if (strstr(line, " instead of ") != NULL) (void)printf("  %s\n", line);
    }
}

/* One line: what was written, what was chosen, how long it took. */
static int summary(const char *path, double seconds, uint64_t skipped)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_info info = VQ_INFO_INIT;
    vq_status rc = vq_open(&ix, path, 0, &err);
    if (rc == VQ_OK) rc = vq_index_info(ix, &info, &err);
    if (rc == VQ_OK) {
        char n[32], bytes[32];
        (void)printf("%s: %s vectors of %u dimensions, %s, codec %s with %u bytes a vector, "
                     "%u list%s, store %s, %s, %.1f s",
                     path, report_count(n, info.n), info.d, vq_metric_name(info.metric), info.codec,
                     info.code_bytes, info.nlist, info.nlist == 1 ? "" : "s",
                     vq_elem_name(info.store), report_bytes(bytes, info.file_bytes), seconds);
        if (skipped > 0) (void)printf(", %" PRIu64 " bad rows left out", skipped);
        (void)printf("\n");
        print_amended(info.why);
    }
    vq_close(ix);
    return rc == VQ_OK ? CLI_DONE : fail_status(rc, &err);
}

static int build(const build_args *a, const char *input, vq_source *src, vq_source *queries,
                 vq_ids *ids)
{
    vq_error err = {0};
    uint64_t n;
    uint32_t d, elem;
    vq_source_shape(src, &n, &d, &elem);
    if (a->ids != NULL && n != UINT64_MAX && !a->skip_bad && n != ids->n)
        return fail(CLI_DATA, "%s has %zu ids, %s has %" PRIu64 " vectors", a->ids, ids->n, input,
                    n);
    progress p;
    progress_begin(&p, a->quiet);
    progress_catch();
    vq_build_opts opts = VQ_BUILD_OPTS_INIT;
    opts.codec = codecs[a->codec];
    opts.metric = a->metric;
    opts.code_bytes = a->bytes;
    opts.nlist = a->nlist;
    opts.rotation = a->rotation;
    opts.store = a->store;
    opts.threads = a->threads;
    opts.seed = a->seed;
    opts.memory = a->memory;
    opts.ids = ids->numbers;
    opts.names = (const char *const *)ids->names;
    opts.nids = ids->n;
    opts.train = a->train;
    opts.loss = a->loss;
    opts.epochs = a->epochs;
    opts.queries = &queries;
    opts.nqueries = queries != NULL;
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    opts.force = (uint32_t)a->force;
    vq_status rc = vq_build(a->output, src, &opts, &err);
    double seconds = progress_end(&p);
    if (rc != VQ_OK && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK) {
        int code = fail_status(rc, &err);
        return rc == VQ_EINVAL && repeated(ids) ? CLI_DATA : code;
    }
    int code = a->quiet ? CLI_DONE : summary(a->output, seconds, vq_source_skipped(src));
    if (a->stats) progress_stats(&p, stdout);
    return code;
}

int build_output(const build_args *a, const char *input)
{
    if (a->output == NULL) return fail(CLI_USAGE, "-o OUT is missing: which file to write?");
    if (input != NULL && same_file(input, a->output))
        return fail(CLI_USAGE, "%s is both input and output", a->output);
    if (!a->force && access(a->output, F_OK) == 0)
        return fail(CLI_USAGE, "%s exists; give --force to replace it", a->output);
    return output_folder(a->output);
}

int build_run(const build_args *a, const char *input, vq_source *src, vq_ids *ids)
{
    vq_error err = {0};
    vq_source *queries = NULL;
    vq_status rc = VQ_OK;
    if (a->queries != NULL) rc = vq_source_open_file(&queries, a->queries, 0, &err);
    int code = rc != VQ_OK ? fail_data(rc, &err) : build(a, input, src, queries, ids);
    vq_source_close(queries);
    return code;
}
