/* SPDX-License-Identifier: Apache-2.0 */
/* copy_run.c -- see copy_run.h. */
#include "cli/copy_run.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/util.h"

static int tell(const copy_args *a, double seconds)
{
    struct stat st;
    char bytes[32];
    if (a->quiet || stat(a->output, &st) != 0) return CLI_DONE;
    (void)printf("%s: %s, %.1f s\n", a->output, report_bytes(bytes, (uint64_t)st.st_size), seconds);
    return CLI_DONE;
}

int copy_run(const cmd *self, int argc, char **argv, copy_fn fn)
{
    copy_args a = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    code = check_output(a.output, (const char *const *)rest, 1);
    if (code == CLI_DONE) code = output_new(a.output, a.force);
    if (code != CLI_DONE) return code;
    vq_error err = {0};
    progress p;
    progress_begin(&p, a.quiet);
    progress_catch();
    vq_compact_opts opts = VQ_COMPACT_OPTS_INIT;
    opts.force = (uint32_t)a.force;
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    vq_status rc = fn(rest[0], a.output, &opts, &err);
    double seconds = progress_end(&p);
    if (rc == VQ_ECANCELED && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    return rc == VQ_OK ? tell(&a, seconds) : fail_data(rc, &err);
}
