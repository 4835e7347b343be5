/* SPDX-License-Identifier: Apache-2.0 */
/* lessons.h -- what vq build learns from: files of training queries, another model's scores,
 * labels; and what it tells of the way there, epoch by epoch. */
#ifndef VQ_CLI_LESSONS_H
#define VQ_CLI_LESSONS_H

#include <stdio.h>

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
    const char *ids, *teacher, *qrels; /* or NULL */
} lesson_files;

/* vectors: open, ids: read (or empty: row numbers), and sorted here.  An exit code, and has told
 * what went wrong; _close accepts what _open left. */
int lessons_open(lessons *l, const lesson_files *files, const vq_source *vectors, vq_ids *ids);
void lessons_close(lessons *l);

typedef struct epoch_log {
    const char *path; /* borrowed; NULL: no file */
    FILE *f;          /* CSV, a row an epoch, flushed row by row: it may be watched */
    progress *p;
} epoch_log;

int epoch_log_open(epoch_log *log, const char *path, progress *p);
int epoch_log_row(void *ctx, const vq_epoch *e); /* a vq_epoch_fn; ctx is the log */
/* Returns code, or a new one if rows were lost. */
int epoch_log_close(epoch_log *log, int code);

#endif
