/* SPDX-License-Identifier: Apache-2.0 */
/* eval_load.c -- the inputs of vq eval, all ids turned into those of the index. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/util.h"

#define PROBE_IDS 100 /* ids of the truth looked up to see that they are ids of the index */

/* Row numbers of the truth become ids, by the lines of the ids file. */
static int map_rows(eval_job *job, vq_searcher *s, const vq_ids *ids)
{
    const char *path = job->args->gt;
    size_t total = job->truth.nq * job->truth.k;
    for (size_t i = 0; i < total; i++) {
        vq_error err = {0};
        uint64_t row = job->truth.ids[i];
        if (row == VQ_NO_ID) continue;
        if (row >= ids->n)
            return fail(CLI_DATA, "%s: row number %" PRIu64 ", but %s has %zu lines", path, row,
                        job->args->ids, ids->n);
        vq_status rc = vq_id_find(s, ids->names[row], &job->truth.ids[i], &err);
        if (rc == VQ_ENOENT)
            return fail(CLI_DATA, "%s: id '%s' of line %" PRIu64 " is not in the index",
                        job->args->ids, ids->names[row], row + 1);
        if (rc != VQ_OK) return fail_data(rc, &err);
    }
    return CLI_DONE;
}

/* The truth may speak of other ids than the index: then no recall computed from it means anything.
 * One id found is enough, since an index may hold a part of the base. */
static int probe_ids(const eval_job *job, vq_searcher *s)
{
    size_t total = job->truth.nq * job->truth.k, looked = 0;
    for (size_t i = 0; i < total && looked < PROBE_IDS; i++) {
        char name[24];
        uint64_t id;
        vq_error err = {0};
        if (job->truth.ids[i] == VQ_NO_ID) continue;
        (void)snprintf(name, sizeof name, "%" PRIu64, job->truth.ids[i]);
        vq_status rc = vq_id_find(s, name, &id, &err);
        if (rc == VQ_OK) return CLI_DONE;
        if (rc != VQ_ENOENT) return fail_data(rc, &err);
        looked++;
    }
    if (looked == 0) return CLI_DONE;
    return fail(CLI_DATA,
                "%s: its ids are not in the index; if they are row numbers, give the "
                "ids of the rows by --ids FILE",
                job->args->gt);
}

static int load_truth(eval_job *job, vq_searcher *s)
{
    const eval_args *a = job->args;
    vq_error err = {0};
    vq_ids ids = {0};
    vq_status rc = vq_truth_read(&job->truth, a->gt, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    job->exact = true;
    if (job->truth.nq != job->q.n)
        return fail(CLI_DATA, "%s is about %zu queries, %s has %" PRIu64, a->gt, job->truth.nq,
                    job->q.path, job->q.n);
    if (job->truth.k == 0) return fail(CLI_DATA, "%s: no neighbours in it", a->gt);
    if (a->ids == NULL && job->set.first.string_ids)
        return fail(CLI_DATA,
                    "the index has string ids, and %s numbers: give the ids of the "
                    "rows by --ids FILE",
                    a->gt);
    if (a->ids == NULL) return probe_ids(job, s);
    rc = vq_ids_read(&ids, a->ids, true, &err);
    int code = rc == VQ_OK ? map_rows(job, s, &ids) : fail_data(rc, &err);
    vq_ids_fini(&ids);
    return code;
}

int eval_open(eval_job *job, const eval_args *args, char **paths, int count, const char *from)
{
    memset(job, 0, sizeof *job);
    job->args = args;
    vq_searcher *s = NULL;
    int code = index_set_open(&job->set, paths, count);
    if (code == CLI_DONE) code = queries_open(&job->q, from, args->query_ids, job->set.first.d);
    if (code == CLI_DONE) code = queries_load(&job->q);
    if (code == CLI_DONE) code = index_set_searcher(&job->set, &s, &(effort){0}, 1);
    if (code == CLI_DONE && args->gt != NULL) code = load_truth(job, s);
    job->judged = args->qrels != NULL;
    if (code == CLI_DONE && job->judged)
        code = judged_load(&job->judgements, &job->q, s, args->qrels);
    vq_searcher_close(s);
    return code;
}

void eval_close(eval_job *job)
{
    if (job->exact) vq_truth_fini(&job->truth);
    judged_free(&job->judgements);
    queries_close(&job->q);
    index_set_close(&job->set);
}
