/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_retrain.c -- vq retrain: new lists and codes for the rows that an index stores. */
#include <stdio.h>
#include <string.h>

#include "cli/build_run.h"
#include "cli/util.h"

#define NOT_GIVEN UINT32_MAX /* where 0, auto, is a choice */

const opt retrain_opts[] = {BUILD_ROW_OUTPUT,
                            BUILD_ROWS_CODES("as in INDEX",
                                             "as in INDEX, from the dimension with another codec",
                                             "as in INDEX, auto with another codec",
                                             "as in INDEX, but chosen anew with --queries"),
                            BUILD_ROW_COPIES("auto: yes if INDEX has some, else as vq build does"),
                            BUILD_ROWS_TRAIN,
                            BUILD_ROWS_MACHINE("as in INDEX"),
                            BUILD_ROWS_RUN,
                            {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static uint32_t word_value(const opt_word *words, const char *word)
{
    while (words->word != NULL && strcmp(words->word, word) != 0) words++;
    return words->value;
}

/* What was not given is as in the old index; bytes and rotation belong to its codec.  Metric, ids
 * and store come with the rows. */
static void complete(build_args *a, const vq_info *old)
{
    uint32_t codec = word_value(build_codecs, old->codec);
    bool kept = a->codec == NOT_GIVEN || a->codec == codec;
    if (kept) a->codec = codec;
    if (kept && a->bytes == 0 && a->bits == 0) a->bytes = old->code_bytes;
    if (a->rotation == NOT_GIVEN) a->rotation = kept ? old->rotation : (uint32_t)VQ_ROTATION_AUTO;
    bool taught = a->queries.n > 0; /* and then other numbers of lists serve */
    if (a->nlist == 0 && !taught) a->nlist = old->nlist;
    if (a->seed == 0) a->seed = old->seed;
}

static int retrain(build_args *a, const char *path, vq_index *ix)
{
    vq_error err = {0};
    vq_source *src = NULL;
    vq_info old = VQ_INFO_INIT;
    vq_ids none = {0};
    vq_status rc = vq_index_info(ix, &old, &err);
    if (rc == VQ_OK) rc = vq_source_open_index(&src, ix, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    complete(a, &old);
    bool taught = vq_relevance_info(ix, &(vq_relevance)VQ_RELEVANCE_INIT, NULL) == VQ_OK;
    int code = build_run(a, path, src, &none);
    if (code == CLI_DONE && taught && !a->quiet)
        (void)printf("  what %s knew of relevance is not in it: vq calibrate learns it anew\n",
                     path);
    vq_source_close(src);
    return code;
}

int cmd_retrain(const cmd *self, int argc, char **argv)
{
    build_args a = {.codec = NOT_GIVEN, .rotation = NOT_GIVEN};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    code = build_check(&a, rest[0], true); /* with --force */
    if (code != CLI_DONE) return code;
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_status rc = vq_open(&ix, rest[0], 0, &err);
    code = rc != VQ_OK ? fail_data(rc, &err) : retrain(&a, rest[0], ix);
    vq_close(ix);
    return code;
}
