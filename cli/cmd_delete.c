/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_delete.c -- vq delete: vectors out of an index by their ids, in one step. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/util.h"
#include "cli/write_run.h"

const opt delete_opts[] = {
    {"ids", 0, OPT_TEXT, "FILE", WRITE_AT(ids), 0, 0, NULL, "ids to delete, one a line"},
    WRITE_ROWS,
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

/* The ids of the command line in place of a file's. */
static int take_words(const char *index, char **words, size_t n, vq_ids *ids)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_searcher *s = NULL;
    vq_info info = VQ_INFO_INIT;
    vq_status rc = vq_open(&ix, index, 0, &err);
    if (rc == VQ_OK) rc = vq_index_info(ix, &info, &err);
    if (rc == VQ_OK && info.string_ids == 0) rc = vq_searcher_open(&s, ix, NULL, &err);
    if (rc == VQ_OK && info.string_ids == 0) {
        ids->numbers = xmalloc(n, sizeof *ids->numbers);
        for (size_t i = 0; i < n && rc == VQ_OK; i++)
            rc = vq_id_find(s, words[i], &ids->numbers[i], &err);
    }
    ids->n = n;
    vq_searcher_close(s);
    vq_close(ix);
    return rc == VQ_OK ? CLI_DONE : fail_data(rc, &err);
}

static int delete_ids(const write_args *a, const char *index, const vq_ids *ids, char **words)
{
    vq_error err = {0};
    progress p;
    vq_writer *w = NULL;
    const char *const *names = (const char *const *)(words != NULL ? words : ids->names);
    progress_begin(&p, a->quiet);
    int code = write_open(a, index, &p, &w);
    if (code != CLI_DONE) return code;
    vq_status rc =
        vq_writer_delete(w, ids->numbers, ids->numbers != NULL ? NULL : names, ids->n, &err);
    code = write_finish(a, index, w, &p, rc, &err);
    vq_writer_close(w);
    return code;
}

int cmd_delete(const cmd *self, int argc, char **argv)
{
    write_args a = {.wait = WRITE_WAIT};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, INT_MAX, &rest, &nrest);
    if (code >= 0) return code;
    if (a.ids == NULL && nrest == 1)
        return fail(CLI_USAGE, "which ids? name some, or give --ids FILE");
    if (a.ids != NULL && nrest > 1)
        return fail(CLI_USAGE, "ids by name and by --ids exclude each other");
    vq_ids ids = {0};
    if (a.ids != NULL) {
        code = write_read_ids(rest[0], a.ids, &ids);
        if (code == CLI_DONE) code = delete_ids(&a, rest[0], &ids, NULL);
        vq_ids_fini(&ids);
        return code;
    }
    code = take_words(rest[0], rest + 1, (size_t)nrest - 1, &ids);
    if (code == CLI_DONE) code = delete_ids(&a, rest[0], &ids, rest + 1);
    free(ids.numbers);
    return code;
}
