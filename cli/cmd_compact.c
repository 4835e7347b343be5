/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_compact.c -- vq compact: a dense copy of an index, beside it or in its place. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"

typedef struct compact_args {
    const char *output;
    double wait; /* seconds */
    int force, quiet;
} compact_args;

#define AT(field) offsetof(compact_args, field)

const opt compact_opts[] = {
    {"output", 'o', OPT_TEXT, "OUT", AT(output), 0, 0, NULL,
     "write to OUT; default: in the place of INDEX"},
    {"wait", 0, OPT_REAL, "S", AT(wait), 0, 86400, NULL,
     "in place: seconds to wait while somebody changes the index; default 10"},
    {"force", 'f', OPT_FLAG, NULL, AT(force), 0, 0, NULL, "replace OUT if it exists"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static int size_of(const char *path, uint64_t *bytes)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_info info = VQ_INFO_INIT;
    vq_status rc = vq_open(&ix, path, 0, &err);
    if (rc == VQ_OK) rc = vq_index_info(ix, &info, &err);
    vq_close(ix);
    *bytes = info.file_bytes;
    return rc == VQ_OK ? CLI_DONE : fail_data(rc, &err);
}

static int compact(const compact_args *a, const char *path)
{
    vq_error err = {0};
    progress p;
    uint64_t before = 0, after = 0;
    char was[32], is[32];
    int code = size_of(path, &before);
    if (code != CLI_DONE) return code;
    progress_begin(&p, a->quiet);
    progress_catch();
    vq_compact_opts opts = VQ_COMPACT_OPTS_INIT;
    opts.wait_ms = a->wait > 0 ? (uint32_t)(a->wait * 1000.0 + 0.5) : 0;
    if (opts.wait_ms == 0) opts.wait_ms = VQ_NONE;
    opts.force = (uint32_t)a->force;
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    vq_status rc = vq_compact(path, a->output, &opts, &err);
    double seconds = progress_end(&p);
    if (rc == VQ_ECANCELED && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK) return fail_data(rc, &err);
    const char *out = a->output != NULL ? a->output : path;
    code = size_of(out, &after);
    if (code == CLI_DONE && !a->quiet)
        (void)printf("%s: %s instead of %s, %.1f s\n", out, report_bytes(is, after),
                     report_bytes(was, before), seconds);
    return code;
}

int cmd_compact(const cmd *self, int argc, char **argv)
{
    compact_args a = {.wait = 10.0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    if (a.output != NULL && same_file(rest[0], a.output))
        return fail(CLI_USAGE, "%s is both input and output; leave -o out", a.output);
    code = a.output != NULL ? output_new(a.output, a.force) : CLI_DONE;
    return code == CLI_DONE ? compact(&a, rest[0]) : code;
}
