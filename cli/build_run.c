/* SPDX-License-Identifier: Apache-2.0 */
/* build_run.c -- see build_run.h. */
#include "cli/build_run.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/lessons.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"

static const char *const codecs[] = {NULL, "pq4", "pq8", "aq8", "saq", "rabitq", "sq8", "flat"};
const opt_word build_codecs[] = {{"auto", 0},   {"pq4", 1}, {"pq8", 2},  {"aq8", 3}, {"saq", 4},
                                 {"rabitq", 5}, {"sq8", 6}, {"flat", 7}, {NULL, 0}};
const opt_word build_rotations[] = {{"auto", VQ_ROTATION_AUTO},     {"none", VQ_ROTATION_NONE},
                                    {"random", VQ_ROTATION_RANDOM}, {"pca", VQ_ROTATION_PCA},
                                    {"opq", VQ_ROTATION_OPQ},       {NULL, 0}};
const opt_word build_trains[] = {{"auto", VQ_TRAIN_AUTO},
                                 {"kmeans", VQ_TRAIN_KMEANS},
                                 {"query-aware", VQ_TRAIN_QUERY_AWARE},
                                 {"distill", VQ_TRAIN_DISTILL},
                                 {NULL, 0}};
const opt_word build_copies[] = {
    {"auto", VQ_COPIES_AUTO}, {"yes", VQ_COPIES_YES}, {"no", VQ_COPIES_NO}, {NULL, 0}};
const opt_word build_autos[] = {{"auto", 0}, {NULL, 0}};
const opt_word build_learns[] = {{"yes", 0}, {"no", 1}, {NULL, 0}};

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

static vq_build_opts build_options(const build_args *a, const lessons *l, const attach *at,
                                   const vq_ids *ids)
{
    vq_build_opts opts = VQ_BUILD_OPTS_INIT;
    opts.codec = codecs[a->codec];
    opts.metric = a->metric;
    opts.code_bytes = a->bytes;
    opts.bits = (float)a->bits;
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
    opts.temperature = (float)a->temperature;
    opts.fixed_queries = a->fixed_queries;
    opts.teacher_cache = a->teacher_cache;
    opts.teacher = l->teacher.n > 0 ? &l->teacher : NULL;
    opts.positives = l->positives.n > 0 ? &l->positives : NULL;
    opts.queries = l->queries;
    opts.nqueries = l->nqueries;
    opts.copies = a->copies;
    opts.attributes = at->attributes;
    opts.nattributes = (uint32_t)at->n;
    opts.model = a->of;
    opts.force = (uint32_t)a->force;
    opts.no_tune = (uint32_t)a->no_tune;
    return opts;
}

static int build(const build_args *a, const char *input, vq_source *src, const lessons *l,
                 const attach *at, vq_ids *ids)
{
    vq_error err = {0};
    uint64_t n;
    uint32_t d, elem;
    vq_source_shape(src, &n, &d, &elem);
    if (a->ids != NULL && n != UINT64_MAX && !a->skip_bad && n != ids->n)
        return fail(CLI_DATA, "%s has %zu ids, %s has %" PRIu64 " vectors", a->ids, ids->n, input,
                    n);
    progress p;
    epoch_log log = {.path = a->log, .p = &p};
    progress_begin(&p, a->quiet);
    progress_catch();
    vq_build_opts opts = build_options(a, l, at, ids);
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    opts.log = epoch_log_row;
    opts.log_ctx = &log;
    vq_status rc = vq_build(a->output, src, &opts, &err);
    double seconds = progress_end(&p);
    if (rc == VQ_ECANCELED && log.failed) return CLI_SYSTEM;
    if (rc != VQ_OK && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK) {
        int code = fail_status(rc, &err);
        bool data = rc == VQ_EINVAL && vq_ids_sort(ids, NULL) == VQ_OK && vq_ids_repeat(ids);
        return data ? CLI_DATA : code;
    }
    int code = a->quiet ? CLI_DONE : summary(a->output, seconds, vq_source_skipped(src));
    if (!a->quiet && a->log != NULL && log.rows == 0)
        (void)printf("%s is not written: nothing was distilled\n", a->log);
    if (a->stats) progress_stats(&p, stdout);
    return code;
}

/* Is a file that is to be written another one too?  An exit code. */
static int check_written(const build_args *a, const char *input, const char *option,
                         const char *path)
{
    const char *const others[] = {input,    a->ids,       a->output,
                                  a->log,   a->teacher,   a->teacher_cache,
                                  a->qrels, a->query_ids, a->model};
    bool other = false;
    if (path == NULL) return CLI_DONE;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        other |= others[i] != NULL && others[i] != path &&
                 (strcmp(path, others[i]) == 0 || same_file(path, others[i]));
    for (size_t i = 0; i < a->queries.n; i++) other |= same_file(path, a->queries.at[i]);
    if (other) return fail(CLI_USAGE, "%s %s: that file has another part here", option, path);
    return output_folder(path);
}

int build_check(const build_args *a, const char *input, bool in_place)
{
    int code = in_place ? CLI_DONE : check_output(a->output, &input, 1);
    if (code == CLI_DONE) code = output_new(a->output, a->force);
    if (code != CLI_DONE) return code;
    const char *files[] = {in_place ? NULL : input,
                           a->ids,
                           a->attached.tags,
                           a->attached.times,
                           a->attached.payload,
                           a->teacher,
                           a->qrels,
                           a->query_ids,
                           a->queries.n > 0 ? a->queries.at[0] : NULL};
    code = check_dashes(files, sizeof files / sizeof *files);
    if (code != CLI_DONE) return code;
    static const char log[] = "--log";
    const char *taught = a->log != NULL         ? log
                         : a->teacher != NULL   ? "--teacher"
                         : a->qrels != NULL     ? "--qrels"
                         : a->query_ids != NULL ? "--query-ids"
                                                : NULL;
    bool none = a->queries.n == 0 && (a->train != VQ_TRAIN_DISTILL || taught != log);
    if (taught != NULL && (none || a->train == VQ_TRAIN_KMEANS))
        return fail(CLI_USAGE,
                    "%s is for --train distill, which learns from training queries: give them by "
                    "--queries",
                    taught);
    if (a->log != NULL && a->train != VQ_TRAIN_AUTO && a->train != VQ_TRAIN_DISTILL)
        return fail(CLI_USAGE, "--log is for --train distill, which has epochs: leave it out");
    if (a->query_ids != NULL && a->teacher == NULL && a->qrels == NULL)
        return fail(CLI_USAGE, "--query-ids names the queries of --teacher or --qrels: give one");
    code = check_written(a, input, "--log", a->log);
    if (code == CLI_DONE) code = epoch_log_check(a->log);
    if (code == CLI_DONE) code = check_written(a, input, "--teacher-cache", a->teacher_cache);
    if (code == CLI_DONE) code = check_written(a, in_place ? NULL : input, "-o", a->output);
    return code;
}

int build_run(const build_args *a, const char *input, vq_source *src, vq_ids *ids)
{
    lessons l = {0};
    attach at = {0};
    lesson_files files = {.input = input,
                          .queries = &a->queries,
                          .ids = a->ids,
                          .query_ids = a->query_ids,
                          .teacher = a->teacher,
                          .qrels = a->qrels};
    int code = lessons_open(&l, &files, src, ids);
    if (code == CLI_DONE) code = attach_open(&at, &a->attached, ids->names != NULL);
    if (code == CLI_DONE) code = build(a, input, src, &l, &at, ids);
    attach_close(&at);
    lessons_close(&l);
    return code;
}
