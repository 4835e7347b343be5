/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_set.c -- vq set: tags, times and payloads of vectors that are there, in one step. */
#include <stdio.h>

#include "cli/util.h"
#include "cli/write_run.h"

const opt set_opts[] = {
    ATTACH_ROWS(WRITE_AT(attached)), WRITE_ROWS, {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

int cmd_set(const cmd *self, int argc, char **argv)
{
    write_args a = {.wait = WRITE_WAIT};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    if (!attach_any(&a.attached))
        return fail(CLI_USAGE, "what is to be set? give --tags, --times or --payload");
    const char *files[] = {a.attached.tags, a.attached.times, a.attached.payload};
    code = check_dashes(files, sizeof files / sizeof *files);
    if (code != CLI_DONE) return code;
    vq_error err = {0};
    progress p;
    vq_writer *w = NULL;
    progress_begin(&p, a.quiet);
    code = write_open(&a, rest[0], &p, &w);
    if (code == CLI_DONE) code = write_attach(&a, rest[0], w);
    if (code == CLI_DONE)
        code = write_finish(&a, rest[0], w, &p, VQ_OK, &err);
    else
        (void)progress_end(&p);
    vq_writer_close(w);
    return code;
}
