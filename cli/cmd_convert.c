/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_convert.c -- vq convert: a file of vectors in any format into any other. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/util.h"
#include "src/io/format.h"

typedef struct convert_args {
    double scale;
    int skip_bad, quiet;
} convert_args;

#define AT(field) offsetof(convert_args, field)

const opt convert_opts[] = {
    {"scale", 0, OPT_ABOVE, "X", AT(scale), 0, 1u << 30, NULL,
     "multiply by X before rounding to i8 or u8; default: do not"},
    {"skip-bad", 0, OPT_FLAG, NULL, AT(skip_bad), 0, 0, NULL,
     "leave rows with NaN or infinities out, and count them, instead of refusing them"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

int cmd_convert(const cmd *self, int argc, char **argv)
{
    convert_args a = {.scale = 0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 2, 2, &rest, &nrest);
    if (code >= 0) return code;
    code = check_output(rest[1], (const char *const *)rest, 1);
    if (code == CLI_DONE) code = output_folder(rest[1]);
    if (code != CLI_DONE) return code;
    vq_error err = {0};
    vq_source *src = NULL;
    uint64_t rows = 0, n;
    uint32_t d = 0, elem;
    vq_status rc = vq_source_open_file(&src, rest[0], a.skip_bad, &err);
    if (rc == VQ_OK) vq_source_shape(src, &n, &d, &elem);
    if (rc == VQ_OK) rc = vq_convert(src, rest[1], (float)a.scale, &rows, &err);
    if (rc == VQ_OK && !a.quiet) {
        char count[32];
        uint64_t skipped = vq_source_skipped(src);
        (void)printf("%s: %s vectors of %u dimensions", rest[1], report_count(count, rows), d);
        if (skipped > 0) (void)printf(", %" PRIu64 " bad rows left out", skipped);
        (void)printf("\n");
    }
    vq_source_close(src);
    if (rc == VQ_OK) return CLI_DONE;
    return output_format(rest[1]) != NULL ? fail_data(rc, &err) : fail_status(rc, &err);
}
