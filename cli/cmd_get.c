/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_get.c -- vq get: stored vectors by id, as text or as a file of vectors. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "cli/util.h"
#include "src/io/format.h"

typedef struct get_args {
    const char *output;
    int tags, times, payload;
} get_args;

const opt get_opts[] = {
    {"output", 'o', OPT_TEXT, "FILE", offsetof(get_args, output), 0, 0, NULL,
     "write a file of vectors in the format that its ending names; default: numbers as text, a "
     "vector a line"},
    {"tags", 0, OPT_FLAG, NULL, offsetof(get_args, tags), 0, 0, NULL,
     "print the tags in place of the vectors, as lines that vq set --tags reads"},
    {"times", 0, OPT_FLAG, NULL, offsetof(get_args, times), 0, 0, NULL,
     "print the times, as lines that vq set --times reads"},
    {"payload", 0, OPT_FLAG, NULL, offsetof(get_args, payload), 0, 0, NULL,
     "print the payloads as they are, each ended with a newline"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static vq_status fetch(vq_searcher *s, char **names, size_t n, uint32_t d, float *rows,
                       vq_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t id;
        vq_status rc = vq_id_find(s, names[i], &id, err);
        if (rc == VQ_OK) rc = vq_get(s, id, rows + i * d, err);
        if (rc != VQ_OK) return rc;
    }
    return VQ_OK;
}

static vq_status write_rows(const char *path, const float *rows, size_t n, uint32_t d,
                            vq_error *err)
{
    vq_source *src = NULL;
    uint64_t written;
    vq_status rc = vq_source_open_array(&src, rows, n, d, VQ_F32, err);
    if (rc == VQ_OK) rc = vq_convert(src, path, 0, &written, err);
    vq_source_close(src);
    return rc;
}

static void print_rows(const float *rows, size_t n, uint32_t d)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < d; j++)
            (void)printf("%.9g%c", (double)rows[i * d + j], j + 1 < d ? ' ' : '\n');
}

/* In place of the vectors. */
static int print_carried(const get_args *a, vq_searcher *s, char **names, size_t n)
{
    vq_error err = {0};
    vq_attrs_kind kind = a->tags ? VQ_ATTRS_TAGS : a->times ? VQ_ATTRS_TIMES : VQ_ATTRS_PAYLOAD;
    for (size_t i = 0; i < n; i++) {
        vq_document d = VQ_DOCUMENT_INIT;
        uint64_t id;
        vq_status rc = vq_id_find(s, names[i], &id, &err);
        if (rc == VQ_OK) rc = vq_get_attributes(s, id, &d, &err);
        if (rc != VQ_OK) return fail_status(rc, &err);
        if (kind != VQ_ATTRS_PAYLOAD) {
            (void)attach_print(stdout, kind, names[i], &d);
        } else if (d.payload != NULL) { /* whatever it is */
            (void)fwrite(d.payload, 1, d.payload_bytes, stdout);
            (void)putchar('\n');
        }
    }
    return CLI_DONE;
}

int cmd_get(const cmd *self, int argc, char **argv)
{
    get_args a = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 2, INT_MAX, &rest, &nrest);
    if (code >= 0) return code;
    if (a.tags + a.times + a.payload + (a.output != NULL) > 1)
        return fail(CLI_USAGE, "-o, --tags, --times and --payload exclude each other");
    code = check_output(a.output, (const char *const *)rest, 1);
    if (code == CLI_DONE && a.output != NULL) code = output_folder(a.output);
    if (code != CLI_DONE) return code;
    index_set set = {0};
    vq_searcher *s = NULL;
    float *rows = NULL;
    size_t n = (size_t)nrest - 1;
    code = index_set_open(&set, rest, 1);
    if (code == CLI_DONE) code = index_set_searcher(&set, &s, &(effort){0}, 1);
    if (code == CLI_DONE && (a.tags || a.times || a.payload)) {
        code = print_carried(&a, s, rest + 1, n);
    } else if (code == CLI_DONE) {
        vq_error err = {0};
        rows = xmalloc(n, (size_t)set.first.d * sizeof *rows);
        vq_status rc = fetch(s, rest + 1, n, set.first.d, rows, &err);
        if (rc == VQ_OK && a.output != NULL) rc = write_rows(a.output, rows, n, set.first.d, &err);
        if (rc != VQ_OK) code = fail_status(rc, &err);
        if (rc == VQ_OK && a.output == NULL) print_rows(rows, n, set.first.d);
    }
    free(rows);
    vq_searcher_close(s);
    index_set_close(&set);
    return code;
}
