/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_build.c -- vq build: options in, vq_build, one line about what came of it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/lessons.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"
#include "src/io/ids.h"

typedef struct build_args {
    const char *output, *ids, *loss, *log, *teacher, *teacher_cache, *qrels;
    opt_texts queries;
    uint32_t metric, codec, bytes, rotation, nlist, store, train, threads, epochs, fixed_queries;
    uint64_t seed, memory;
    double temperature;
    int force, quiet, stats, skip_bad;
} build_args;

#define AT(field) offsetof(build_args, field)

static const opt_word metrics[] = {
    {"l2", VQ_METRIC_L2}, {"ip", VQ_METRIC_IP}, {"cosine", VQ_METRIC_COSINE}, {NULL, 0}};
static const char *const codecs[] = {NULL, "pq4", "pq8", "aq8", "sq8", "flat"};
static const opt_word codec_words[] = {{"auto", 0}, {"pq4", 1},  {"pq8", 2}, {"aq8", 3},
                                       {"sq8", 4},  {"flat", 5}, {NULL, 0}};
static const opt_word rotations[] = {{"auto", VQ_ROTATION_AUTO},     {"none", VQ_ROTATION_NONE},
                                     {"random", VQ_ROTATION_RANDOM}, {"pca", VQ_ROTATION_PCA},
                                     {"opq", VQ_ROTATION_OPQ},       {NULL, 0}};
static const opt_word stores[] = {
    {"f32", VQ_F32}, {"f16", VQ_F16}, {"i8", VQ_I8}, {"none", VQ_ELEM_NONE}, {NULL, 0}};
static const opt_word trains[] = {{"auto", VQ_TRAIN_AUTO},
                                  {"kmeans", VQ_TRAIN_KMEANS},
                                  {"query-aware", VQ_TRAIN_QUERY_AWARE},
                                  {"distill", VQ_TRAIN_DISTILL},
                                  {NULL, 0}};
static const opt_word autos[] = {{"auto", 0}, {NULL, 0}};
static const opt_word learns[] = {{"yes", 0}, {"no", 1}, {NULL, 0}};

const opt build_opts[] = {
    {"output", 'o', OPT_TEXT, "OUT", AT(output), 0, 0, NULL, "the index to write; required"},
    {"metric", 0, OPT_WORD, "l2|ip|cosine", AT(metric), 0, 0, metrics,
     "how vectors are compared; default l2"},
    {"ids", 0, OPT_TEXT, "FILE", AT(ids), 0, 0, NULL,
     "ids of the rows, one a line: numbers or strings; default 0, 1, 2.."},
    {"codec", 0, OPT_WORD, "auto|pq4|pq8|aq8|sq8|flat", AT(codec), 0, 0, codec_words,
     "how vectors are compressed; default auto: from the dimension"},
    {"bytes", 0, OPT_U32, "N", AT(bytes), 1, 1u << 20, NULL,
     "bytes a vector in the lists, everything but the id; default from the dimension"},
    {"rotation", 0, OPT_WORD, "auto|none|random|pca|opq", AT(rotation), 0, 0, rotations,
     "rotation before the codes; default auto"},
    {"nlist", 0, OPT_U32, "N", AT(nlist), 1, UINT32_MAX - 1, NULL,
     "inverted lists; default about twice the square root of the number of vectors"},
    {"store", 0, OPT_WORD, "f32|f16|i8|none", AT(store), 0, 0, stores,
     "full rows kept for the second pass; default f16 for floats, bytes as they come. i8 of "
     "floats: "
     "one scale for all"},
    {"train", 0, OPT_WORD, "auto|kmeans|query-aware|distill", AT(train), 0, 0, trains,
     "how axes, lists and codes are trained; default auto: distill where there are queries"},
    {"queries", 0, OPT_TEXTS, "FILE", AT(queries), 0, 0, NULL,
     "training queries, unlabelled: vectors like those that will be asked, for ip and cosine; may "
     "be given more than once"},
    {"loss", 0, OPT_TEXT, "LOSS", AT(loss), 0, 0, NULL,
     "of distillation: listnet (default), kl, margin-mse, ranknet or lambda"},
    {"epochs", 0, OPT_U32, "N", AT(epochs), 1, 1000, NULL,
     "of distillation, in each of two rounds; default 6; the best state judged is kept"},
    {"temperature", 0, OPT_REAL, "T|auto", AT(temperature), 0, 1u << 30, autos,
     "of the loss, in the unit of the teacher's scores; default auto: from their spread"},
    {"learn-query-map", 0, OPT_WORD, "yes|no", AT(fixed_queries), 0, 0, learns,
     "distillation also learns a linear map of the queries; default yes"},
    {"teacher", 0, OPT_TEXT, "FILE", AT(teacher), 0, 0, NULL,
     "learn these scores (a TREC run: \"query Q0 document rank score tag\") instead of those of "
     "exact search; a query's id is its row number in --queries"},
    {"teacher-cache", 0, OPT_TEXT, "FILE", AT(teacher_cache), 0, 0, NULL,
     "keep the exact answers to the training queries in FILE, for builds of the same vectors with "
     "other options"},
    {"qrels", 0, OPT_TEXT, "FILE", AT(qrels), 0, 0, NULL,
     "labels of training queries (TREC or BEIR): what is judged relevant gets the teacher's best "
     "score; ids as in --teacher"},
    {"log", 0, OPT_TEXT, "FILE", AT(log), 0, 0, NULL,
     "write a row an epoch of distillation: round, epoch, loss, overlap on held-out queries, "
     "seconds (CSV)"},
    {"seed", 0, OPT_U64, "S", AT(seed), 1, UINT64_MAX, NULL, "of all random choices; default 1"},
    {"threads", 0, OPT_U32, "T", AT(threads), 1, 1024, NULL,
     "default: all processors; the index does not depend on it"},
    {"memory", 0, OPT_SIZE, "SIZE", AT(memory), 0, 0, NULL,
     "stay within about SIZE, as 200M or 2G"},
    {"skip-bad", 0, OPT_FLAG, NULL, AT(skip_bad), 0, 0, NULL,
     "leave rows with NaN or infinities out, and count them, instead of refusing them"},
    {"force", 'f', OPT_FLAG, NULL, AT(force), 0, 0, NULL, "replace OUT if it exists"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {"stats", 0, OPT_FLAG, NULL, AT(stats), 0, 0, NULL, "print each phase's time, and the memory"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

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

static vq_build_opts build_options(const build_args *a, const lessons *l, const vq_ids *ids)
{
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
    opts.temperature = (float)a->temperature;
    opts.fixed_queries = a->fixed_queries;
    opts.teacher_cache = a->teacher_cache;
    opts.teacher = l->teacher.n > 0 ? &l->teacher : NULL;
    opts.positives = l->positives.n > 0 ? &l->positives : NULL;
    opts.queries = l->queries;
    opts.nqueries = l->nqueries;
    opts.force = (uint32_t)a->force;
    return opts;
}

static int build(const build_args *a, const char *input, vq_source *src, const lessons *l,
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
    epoch_log log;
    progress_begin(&p, a->quiet);
    int code = epoch_log_open(&log, a->log, &p);
    if (code != CLI_DONE) return code;
    progress_catch();
    vq_build_opts opts = build_options(a, l, ids);
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    opts.log = epoch_log_row;
    opts.log_ctx = &log;
    vq_status rc = vq_build(a->output, src, &opts, &err);
    double seconds = progress_end(&p);
    code = epoch_log_close(&log, rc == VQ_OK ? CLI_DONE : CLI_DATA);
    if (rc != VQ_OK && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK) {
        code = fail_status(rc, &err);
        return rc == VQ_EINVAL && repeated(ids) ? CLI_DATA : code;
    }
    if (code == CLI_DONE && !a->quiet) code = summary(a->output, seconds, vq_source_skipped(src));
    if (a->stats) progress_stats(&p, stdout);
    return code;
}

/* Is a file that is to be written another one too?  An exit code. */
static int check_written(const build_args *a, const char *input, const char *option,
                         const char *path)
{
    const char *const others[] = {input,      a->ids,           a->output, a->log,
                                  a->teacher, a->teacher_cache, a->qrels};
    bool other = false;
    if (path == NULL) return CLI_DONE;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        other |= others[i] != NULL && others[i] != path &&
                 (strcmp(path, others[i]) == 0 || same_file(path, others[i]));
    for (size_t i = 0; i < a->queries.n; i++) other |= same_file(path, a->queries.at[i]);
    if (other) return fail(CLI_USAGE, "%s %s: that file has another part here", option, path);
    return output_folder(path);
}

static int check_files(const build_args *a, const char *input)
{
    if (a->output == NULL) return fail(CLI_USAGE, "-o OUT is missing: which file to write?");
    if (same_file(input, a->output)) return fail(CLI_USAGE, "%s is both input and output", input);
    if (!a->force && access(a->output, F_OK) == 0)
        return fail(CLI_USAGE, "%s exists; give --force to replace it", a->output);
    const char *taught = a->log != NULL       ? "--log"
                         : a->teacher != NULL ? "--teacher"
                         : a->qrels != NULL   ? "--qrels"
                                              : NULL;
    bool distill = a->train == VQ_TRAIN_AUTO || a->train == VQ_TRAIN_DISTILL;
    if (taught != NULL && (a->queries.n == 0 || !distill))
        return fail(CLI_USAGE,
                    "%s is for --train distill, which learns from training queries: give them by "
                    "--queries",
                    taught);
    int code = check_written(a, input, "--log", a->log);
    if (code == CLI_DONE) code = check_written(a, input, "--teacher-cache", a->teacher_cache);
    if (code == CLI_DONE) code = check_written(a, input, "-o", a->output);
    return code;
}

int cmd_build(const cmd *self, int argc, char **argv)
{
    build_args a = {.metric = VQ_METRIC_L2};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    code = check_files(&a, rest[0]);
    if (code != CLI_DONE) return code;
    vq_error err = {0};
    vq_source *src = NULL;
    vq_ids ids = {0};
    lessons l = {0};
    vq_status rc = vq_source_open_file(&src, rest[0], a.skip_bad, &err);
    if (rc == VQ_OK && a.ids != NULL) rc = vq_ids_read(&ids, a.ids, false, &err);
    lesson_files files = {.input = rest[0],
                          .queries = &a.queries,
                          .ids = a.ids,
                          .teacher = a.teacher,
                          .qrels = a.qrels};
    code = rc != VQ_OK ? fail_data(rc, &err) : lessons_open(&l, &files, src, &ids);
    if (code == CLI_DONE) code = build(&a, rest[0], src, &l, &ids);
    lessons_close(&l);
    vq_ids_fini(&ids);
    vq_source_close(src);
    return code;
}
