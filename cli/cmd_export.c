/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_export.c -- vq export: what an index stores, back to a file of vectors and one of ids. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/util.h"
#include "src/io/format.h"

typedef struct export_args {
    const char *output, *ids;
    attach_files carried;
    int quiet;
} export_args;

#define AT(field) offsetof(export_args, field)

const opt export_opts[] = {
    {"output", 'o', OPT_TEXT, "OUT", AT(output), 0, 0, NULL,
     "the file of vectors to write, in the format that its ending names; required"},
    {"ids", 0, OPT_TEXT, "FILE", AT(ids), 0, 0, NULL, "write the ids to FILE, one a line"},
    {"tags", 0, OPT_TEXT, "FILE", AT(carried.tags), 0, 0, NULL,
     "write the tags to FILE, as vq add --tags reads them"},
    {"times", 0, OPT_TEXT, "FILE", AT(carried.times), 0, 0, NULL,
     "write the times to FILE, as vq add --times reads them"},
    {"payload", 0, OPT_TEXT, "FILE", AT(carried.payload), 0, 0, NULL,
     "write the payloads to FILE, one a line"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static int write_ids(const char *path, const vq_source *src)
{
    vq_error err = {0};
    const uint64_t *ids;
    const char *const *names;
    uint64_t n;
    output o;
    vq_status rc = vq_source_ids(src, &ids, &names, &n, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    int code = output_open(&o, path);
    if (code != CLI_DONE) return code;
    for (uint64_t i = 0; i < n; i++) {
        if (names != NULL)
            (void)fprintf(o.f, "%s\n", names[i]);
        else
            (void)fprintf(o.f, "%" PRIu64 "\n", ids != NULL ? ids[i] : i);
    }
    return output_close(&o, CLI_DONE);
}

/* What vectors carry of a kind, in the order of their ids. */
static int write_carried(const char *path, vq_attrs_kind kind, vq_source *src)
{
    vq_error err = {0};
    const uint64_t *ids;
    const char *const *names;
    uint64_t n;
    char number[24];
    output o;
    if (path == NULL) return CLI_DONE;
    vq_status rc = vq_source_ids(src, &ids, &names, &n, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    int code = output_open(&o, path);
    if (code != CLI_DONE) return code;
    for (uint64_t i = 0; i < n && code == CLI_DONE; i++) {
        vq_document d = VQ_DOCUMENT_INIT;
        (void)snprintf(number, sizeof number, "%" PRIu64, ids != NULL ? ids[i] : i);
        rc = vq_source_attributes(src, i, &d, &err);
        if (rc == VQ_OK)
            code = attach_print(o.f, kind, names != NULL ? names[i] : number, &d);
        else
            code = fail_status(rc, &err);
    }
    return output_close(&o, code);
}

/* From the snapshot that rows and ids are of, whoever changes the index meanwhile. */
static int export_carried(const attach_files *f, vq_source *src)
{
    int code = write_carried(f->tags, VQ_ATTRS_TAGS, src);
    if (code == CLI_DONE) code = write_carried(f->times, VQ_ATTRS_TIMES, src);
    if (code == CLI_DONE) code = write_carried(f->payload, VQ_ATTRS_PAYLOAD, src);
    return code;
}

static int export_rows(const export_args *a, vq_index *ix)
{
    vq_error err = {0};
    vq_source *src = NULL;
    uint64_t rows = 0, n;
    uint32_t d = 0, elem;
    char count[32];
    int code = CLI_DONE;
    vq_status rc = vq_source_open_index(&src, ix, &err);
    if (rc == VQ_EUNSUPPORTED) code = fail(CLI_DATA, "%s", err.text);
    if (rc == VQ_OK) {
        vq_source_shape(src, &n, &d, &elem);
        rc = vq_convert(src, a->output, 0, &rows, &err);
    }
    if (rc != VQ_OK && code == CLI_DONE) code = fail_status(rc, &err);
    if (code == CLI_DONE && a->ids != NULL) code = write_ids(a->ids, src);
    if (code == CLI_DONE) code = export_carried(&a->carried, src);
    if (code == CLI_DONE && !a->quiet)
        (void)printf("%s: %s vectors of %u dimensions\n", a->output, report_count(count, rows), d);
    vq_source_close(src);
    return code;
}

int cmd_export(const cmd *self, int argc, char **argv)
{
    export_args a = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    if (a.output == NULL) return fail(CLI_USAGE, "-o OUT is missing: which file to write?");
    const char *files[] = {a.output, a.ids, a.carried.tags, a.carried.times, a.carried.payload};
    for (int i = 0; i < 5; i++) {
        if (files[i] == NULL) continue;
        for (int j = 0; j < i; j++)
            if (files[j] != NULL && same_file(files[i], files[j]))
                return fail(CLI_USAGE, "%s cannot hold two of what is to be written", files[i]);
        code = check_output(files[i], (const char *const *)rest, 1);
        if (code == CLI_DONE) code = output_folder(files[i]);
        if (code != CLI_DONE) return code;
    }
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_status rc = vq_open(&ix, rest[0], 0, &err);
    code = rc == VQ_OK ? export_rows(&a, ix) : fail_data(rc, &err);
    vq_close(ix);
    return code;
}
