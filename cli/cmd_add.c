/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_add.c -- vq add: all vectors of a file into an index, in one step. */
#include <stdio.h>

#include "cli/util.h"
#include "cli/write_run.h"

const opt add_opts[] = {
    {"ids", 0, OPT_TEXT, "FILE", WRITE_AT(ids), 0, 0, NULL,
     "ids of the vectors, one a line; default: from the largest in the index on. An index with "
     "string ids needs it"},
    ATTACH_ROWS(WRITE_AT(attached)),
    {"upsert", 0, OPT_FLAG, NULL, WRITE_AT(upsert), 0, 0, NULL,
     "replace the vectors of ids that are there, instead of refusing them"},
    {"threads", 0, OPT_U32, "T", WRITE_AT(threads), 1, 1024, NULL, "default: all processors"},
    {"skip-bad", 0, OPT_FLAG, NULL, WRITE_AT(skip_bad), 0, 0, NULL,
     "leave rows with NaN or infinities out, instead of refusing them"},
    WRITE_ROWS,
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static int add(const write_args *a, const char *index, vq_source *src, const vq_ids *ids)
{
    vq_error err = {0};
    progress p;
    vq_writer *w = NULL;
    progress_begin(&p, a->quiet);
    progress_catch();
    int code = write_open(a, index, &p, &w);
    if (code != CLI_DONE) return code;
    vq_status rc = (a->upsert ? vq_writer_upsert : vq_writer_add)(
        w, src, ids->numbers, (const char *const *)ids->names, ids->n, &err);
    code = rc == VQ_OK ? write_attach(a, index, w) : CLI_DONE;
    if (code == CLI_DONE)
        code = write_finish(a, index, w, &p, rc, &err);
    else
        (void)progress_end(&p);
    vq_writer_close(w);
    return code;
}

int cmd_add(const cmd *self, int argc, char **argv)
{
    write_args a = {.wait = WRITE_WAIT, .threads = processors()};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 2, 2, &rest, &nrest);
    if (code >= 0) return code;
    if (a.upsert && a.ids == NULL)
        return fail(CLI_USAGE, "--upsert needs --ids: which ids are the vectors of?");
    const char *files[] = {rest[1], a.ids, a.attached.tags, a.attached.times, a.attached.payload};
    code = check_dashes(files, sizeof files / sizeof *files);
    if (code != CLI_DONE) return code;
    vq_error err = {0};
    vq_source *src = NULL;
    vq_ids ids = {0};
    if (a.ids != NULL) code = write_read_ids(rest[0], a.ids, &ids);
    if (code == CLI_DONE) {
        vq_status rc = vq_source_open_file(&src, rest[1], a.skip_bad, &err);
        code = rc == VQ_OK ? add(&a, rest[0], src, &ids) : fail_data(rc, &err);
    }
    vq_source_close(src);
    vq_ids_fini(&ids);
    return code;
}
