/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_merge.c -- vq merge: several indexes of one model to one. */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"

typedef struct merge_args {
    const char *output;
    uint32_t keep;
    int force, quiet;
} merge_args;

#define AT(field) offsetof(merge_args, field)

static const opt_word keeps[] = {
    {"none", VQ_KEEP_NONE}, {"first", VQ_KEEP_FIRST}, {"last", VQ_KEEP_LAST}, {NULL, 0}};

const opt merge_opts[] = {
    {"output", 'o', OPT_TEXT, "OUT", AT(output), 0, 0, NULL, "the index to write; required"},
    {"keep", 0, OPT_WORD, "none|first|last", AT(keep), 0, 0, keeps,
     "whose vector stays where several have an id; default none: that is an error"},
    {"force", 'f', OPT_FLAG, NULL, AT(force), 0, 0, NULL, "replace OUT if it exists"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static int summary(const char *path, int count, double seconds)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_info info = VQ_INFO_INIT;
    char n[32], bytes[32];
    vq_status rc = vq_open(&ix, path, 0, &err);
    if (rc == VQ_OK) rc = vq_index_info(ix, &info, &err);
    if (rc == VQ_OK)
        (void)printf("%s: %s vectors of %d indexes, %s, %.1f s\n", path, report_count(n, info.n),
                     count, report_bytes(bytes, info.file_bytes), seconds);
    vq_close(ix);
    return rc == VQ_OK ? CLI_DONE : fail_status(rc, &err);
}

/* The first of the indexes that knows what is relevant; count: none does. */
static int calibrated(char **paths, int count)
{
    int i = 0;
    for (; i < count; i++) {
        vq_index *ix = NULL;
        vq_relevance r = VQ_RELEVANCE_INIT;
        bool knows =
            vq_open(&ix, paths[i], 0, NULL) == VQ_OK && vq_relevance_info(ix, &r, NULL) == VQ_OK;
        vq_close(ix);
        if (knows) break;
    }
    return i;
}

static int merge(const merge_args *a, char **paths, int count)
{
    vq_error err = {0};
    progress p;
    progress_begin(&p, a->quiet);
    progress_catch();
    vq_merge_opts opts = VQ_MERGE_OPTS_INIT;
    opts.keep = a->keep;
    opts.force = (uint32_t)a->force;
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    int knows = a->quiet ? 0 : calibrated(paths, count);
    vq_status rc = vq_merge((const char *const *)paths, (size_t)count, a->output, &opts, &err);
    double seconds = progress_end(&p);
    if (rc == VQ_ECANCELED && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK) return fail_data(rc, &err);
    if (a->quiet) return CLI_DONE;
    int code = summary(a->output, count, seconds);
    if (code == CLI_DONE && knows > 0 && knows < count)
        (void)printf("  what %s knew of relevance is not in it, only the first index's would be: "
                     "vq calibrate learns it anew\n",
                     paths[knows]);
    return code;
}

int cmd_merge(const cmd *self, int argc, char **argv)
{
    merge_args a = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 2, INT_MAX, &rest, &nrest);
    if (code >= 0) return code;
    code = output_new(a.output, a.force);
    return code == CLI_DONE ? merge(&a, rest, nrest) : code;
}
