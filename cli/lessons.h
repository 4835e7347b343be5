/* SPDX-License-Identifier: Apache-2.0 */
/* lessons.h -- what vq build learns from: files of training queries, another model's scores,
 * labels; and what it tells of the way there, epoch by epoch. */
#ifndef VQ_CLI_LESSONS_H
#define VQ_CLI_LESSONS_H

#include <stdbool.h>

#include "cli/opt.h"
#include "cli/progress.h"
#include "src/io/ids.h"
#include "vq/vq.h"

typedef struct lessons {
    vq_source *queries[OPT_TEXTS_MAX]; /* owned */
    size_t nqueries;
    vq_pairs teacher, positives; /* arrays owned; n = 0: none */
} lessons;

typedef struct lesson_files {
    const char *input; /* the vectors */
    const opt_texts *queries;
    const char *ids, *query_ids, *teacher, *qrels; /* or NULL */
} lesson_files;

/* vectors: open, ids: read (or empty: row numbers), and sorted here.  An exit code, and has told
 * what went wrong; _close accepts what _open left. */
int lessons_open(lessons *l, const lesson_files *files, const vq_source *vectors, vq_ids *ids);
void lessons_close(lessons *l);

typedef struct epoch_log {
    const char *path; /* CSV, a row an epoch; NULL: no file */
    progress *p;
    unsigned rows;
    bool failed; /* the file could not be written, which has been told: the build was stopped */
} epoch_log;

int epoch_log_check(const char *path); /* can it be written, if it is there?  An exit code */
int epoch_log_row(void *ctx, const vq_epoch *e); /* a vq_epoch_fn; ctx is the log */

#endif
