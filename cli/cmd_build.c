/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_build.c -- vq build: options in, vq_build, one line about what came of it. */
#include "cli/build_run.h"
#include "cli/util.h"

static const opt_word metrics[] = {
    {"l2", VQ_METRIC_L2}, {"ip", VQ_METRIC_IP}, {"cosine", VQ_METRIC_COSINE}, {NULL, 0}};
static const opt_word stores[] = {
    {"f32", VQ_F32}, {"f16", VQ_F16}, {"i8", VQ_I8}, {"none", VQ_ELEM_NONE}, {NULL, 0}};

const opt build_opts[] = {
    BUILD_ROW_OUTPUT,
    {"metric", 0, OPT_WORD, "l2|ip|cosine", BUILD_AT(metric), 0, 0, metrics,
     "how vectors are compared; default l2"},
    {"ids", 0, OPT_TEXT, "FILE", BUILD_AT(ids), 0, 0, NULL,
     "ids of the rows, one a line: numbers or strings; default 0, 1, 2.."},
    ATTACH_ROWS(BUILD_AT(attached)),
    BUILD_ROWS_CODES(
        "auto: by a trial on some of the vectors", "from the dimension", "auto",
        "2 times the square root of the number of vectors, 4 times where "
        "queries train codes that are additive or alone, 6 times with codes of 20 bytes or fewer, "
        "the square root itself below 2,048 vectors"),
    BUILD_ROW_COPIES("auto: from 10,000 vectors on, if a tenth less is read in a trial"),
    {"store", 0, OPT_WORD, "f32|f16|i8|none", BUILD_AT(store), 0, 0, stores,
     "full rows kept for the second pass; default f16 for floats, bytes as they come. i8 of "
     "floats: "
     "one scale for all"},
    {"model", 0, OPT_TEXT, "INDEX", BUILD_AT(model), 0, 0, NULL,
     "train nothing: encode by the lists, axes and codes of INDEX, as vq merge wants it"},
    BUILD_ROWS_TRAIN,
    {"teacher", 0, OPT_TEXT, "FILE", BUILD_AT(teacher), 0, 0, NULL,
     "learn these scores (a TREC run: \"query Q0 document rank score tag\") instead of those of "
     "exact search; a query's id is its row number in --queries, or that of --query-ids"},
    {"qrels", 0, OPT_TEXT, "FILE", BUILD_AT(qrels), 0, 0, NULL,
     "labels of training queries (TREC or BEIR): what is judged relevant gets the teacher's best "
     "score; ids as in --teacher"},
    {"query-ids", 0, OPT_TEXT, "FILE", BUILD_AT(query_ids), 0, 0, NULL,
     "ids of the training queries in --teacher and --qrels, one a line"},
    BUILD_ROWS_MACHINE("1"),
    {"skip-bad", 0, OPT_FLAG, NULL, BUILD_AT(skip_bad), 0, 0, NULL,
     "leave rows with NaN or infinities out, and count them, instead of refusing them"},
    BUILD_ROWS_RUN,
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

int cmd_build(const cmd *self, int argc, char **argv)
{
    build_args a = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    code = build_check(&a, rest[0], false);
    if (code != CLI_DONE) return code;
    vq_error err = {0};
    vq_source *src = NULL;
    vq_ids ids = {0};
    vq_status rc = a.model != NULL ? vq_open(&a.of, a.model, 0, &err) : VQ_OK;
    if (rc == VQ_OK) rc = vq_source_open_file(&src, rest[0], a.skip_bad, &err);
    if (rc == VQ_OK && a.ids != NULL) rc = vq_ids_read(&ids, a.ids, false, &err);
    code = rc != VQ_OK ? fail_data(rc, &err) : build_run(&a, rest[0], src, &ids);
    vq_ids_fini(&ids);
    vq_source_close(src);
    vq_close(a.of);
    return code;
}
