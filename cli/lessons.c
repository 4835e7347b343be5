/* SPDX-License-Identifier: Apache-2.0 */
/* lessons.c -- see lessons.h. */
#include "cli/lessons.h"

#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/util.h"

/* ---- queries ---- */

int lessons_open(lessons *l, const opt_texts *queries)
{
    for (size_t i = 0; i < queries->n; i++) {
        vq_error err = {0};
        vq_status rc = vq_source_open_file(&l->queries[i], queries->at[i], 0, &err);
        if (rc != VQ_OK) return fail_data(rc, &err);
        l->nqueries++;
    }
    return CLI_DONE;
}

void lessons_close(lessons *l)
{
    for (size_t i = 0; i < l->nqueries; i++) vq_source_close(l->queries[i]);
}

/* ---- epochs ---- */

int epoch_log_open(epoch_log *log, const char *path, progress *p)
{
    *log = (epoch_log){.path = path, .p = p};
    if (path == NULL) return CLI_DONE;
    log->f = fopen(path, "w");
    if (log->f == NULL) return fail(CLI_SYSTEM, "%s: cannot create it: %s", path, strerror(errno));
    (void)fprintf(log->f, "round,epoch,loss,overlap,seconds\n");
    return CLI_DONE;
}

int epoch_log_row(void *ctx, const vq_epoch *e)
{
    epoch_log *log = ctx;
    progress_say(log->p, "round %u, epoch %u: loss %.5f, 10@10 %.4f on held-out queries", e->round,
                 e->epoch, e->loss, e->overlap);
    if (log->f != NULL) {
        (void)fprintf(log->f, "%u,%u,%.9g,%.9g,%.3f\n", e->round, e->epoch, e->loss, e->overlap,
                      now_seconds() - log->p->start);
        (void)fflush(log->f);
    }
    return progress_stopped();
}

int epoch_log_close(epoch_log *log, int code)
{
    if (log->f == NULL) return code;
    int lost = ferror(log->f);
    if (fclose(log->f) != 0 || lost)
        return code != CLI_DONE ? code : fail(CLI_SYSTEM, "%s: rows were lost", log->path);
    return code;
}
