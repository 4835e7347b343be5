/* SPDX-License-Identifier: Apache-2.0 */
/* inputs.c -- see inputs.h. */
#include "cli/inputs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/util.h"

#define LOAD_ROWS 1024 /* rows asked for at a time where their number is not known */

static int agree(const index_set *set, const vq_info *info, const char *first, const char *path)
{
    if (info->d != set->first.d)
        return fail(CLI_DATA, "%s has %u dimensions, %s has %u", path, info->d, first,
                    set->first.d);
    if (info->metric != set->first.metric)
        return fail(CLI_DATA, "%s has metric %s, %s has %s", path, vq_metric_name(info->metric),
                    first, vq_metric_name(set->first.metric));
    if (info->string_ids != set->first.string_ids)
        return fail(CLI_DATA, "%s has %s ids, %s has not", path,
                    info->string_ids ? "string" : "number", first);
    return CLI_DONE;
}

static int open_one(index_set *set, char **paths, int i)
{
    vq_error err = {0};
    vq_info info = VQ_INFO_INIT;
    vq_status rc = vq_open(&set->ix[i], paths[i], 0, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    set->count++;
    rc = vq_index_info(set->ix[i], &info, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    if (i == 0) set->first = info;
    set->n += info.n;
    set->file_bytes += info.file_bytes;
    set->rows_bytes += info.rows_bytes;
    set->codes_bytes += (double)(info.n + info.copies) * info.code_bytes;
    if (info.nlist > set->nlist_max) set->nlist_max = info.nlist;
    return agree(set, &info, paths[0], paths[i]);
}

/* An index that is given twice would answer twice, by whatever names. */
static int check_once(char **paths, int count)
{
    struct stat a, b;
    for (int i = 1; i < count; i++)
        for (int j = 0; j < i; j++)
            if (stat(paths[i], &a) == 0 && stat(paths[j], &b) == 0 && a.st_ino == b.st_ino &&
                a.st_dev == b.st_dev)
                return fail(CLI_USAGE, "%s and %s are the same index, which may be given once",
                            paths[j], paths[i]);
    return CLI_DONE;
}

int index_set_open(index_set *set, char **paths, int count)
{
    memset(set, 0, sizeof *set);
    int once = check_once(paths, count);
    if (once != CLI_DONE) return once;
    set->ix = xmalloc((size_t)count, sizeof *set->ix);
    for (int i = 0; i < count; i++) {
        set->ix[i] = NULL;
        int code = open_one(set, paths, i);
        if (code != CLI_DONE) return code;
    }
    return CLI_DONE;
}

int effort_check(effort *e)
{
    if (e->recall == 0) return fail(CLI_USAGE, "--recall needs a number above 0, at most 1");
    if (e->recall < 0) e->recall = 0;
    if (e->recall > 0 && (e->nprobe != 0 || e->rerank != 0))
        return fail(CLI_USAGE, "--recall chooses what --%s says: give one of them",
                    e->nprobe != 0 ? "nprobe" : "rerank");
    return CLI_DONE;
}

/* --codes-in-memory. */
static int warm(vq_searcher *s)
{
    vq_error err = {0};
    uint64_t bytes, locked;
    vq_status rc = vq_searcher_warm(s, 1, &bytes, &locked, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    if (locked < bytes)
        (void)fprintf(stderr,
                      "vq: only %.1f of %.1f MB of codes are held in memory, the others were read: "
                      "the system allows no more (ulimit -l)\n",
                      (double)locked / 1e6, (double)bytes / 1e6);
    return CLI_DONE;
}

int index_set_searcher(const index_set *set, vq_searcher **out, const effort *e, uint32_t threads)
{
    vq_error err = {0};
    vq_search_opts opts = VQ_SEARCH_OPTS_INIT;
    opts.recall = (float)e->recall;
    opts.nprobe = e->nprobe;
    opts.rerank = e->rerank;
    opts.threads = threads;
    opts.bars = (float)e->bars;
    opts.latency = e->latency != 0;
    vq_status rc = set->count == 1 ? vq_searcher_open(out, set->ix[0], &opts, &err)
                                   : vq_searcher_open_many(out, set->ix, set->count, &opts, &err);
    if (rc == VQ_EUNSUPPORTED && e->recall > 0) return fail(CLI_DATA, "%s", err.text);
    if (rc != VQ_OK) return fail_status(rc, &err);
    return e->codes_in_memory ? warm(*out) : CLI_DONE;
}

void index_set_close(index_set *set)
{
    for (size_t i = 0; i < set->count; i++) vq_close(set->ix[i]);
    free(set->ix);
    memset(set, 0, sizeof *set);
}

int queries_open(queries *q, const char *path, const char *ids, uint32_t d)
{
    vq_error err = {0};
    memset(q, 0, sizeof *q);
    q->path = path;
    vq_status rc = vq_source_open_file(&q->src, path, 0, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    uint32_t elem;
    vq_source_shape(q->src, &q->n, &q->d, &elem);
    if (d != 0 && q->d != d)
        return fail(CLI_DATA, "%s: vectors of %u dimensions, the index has %u", path, q->d, d);
    if (ids == NULL) return CLI_DONE;
    rc = vq_ids_read(&q->names, ids, true, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    q->named = true;
    if (q->n != UINT64_MAX && q->n != q->names.n)
        return fail(CLI_DATA, "%s has %zu ids, %s has %" PRIu64 " queries", ids, q->names.n, path,
                    q->n);
    return CLI_DONE;
}

int queries_load(queries *q)
{
    vq_error err = {0};
    size_t room = 0, n = 0, got = 1;
    while (got > 0) {
        if (room - n < LOAD_ROWS) {
            room = n + n / 2 + LOAD_ROWS;
            q->rows = xrealloc(q->rows, room, (size_t)q->d * sizeof(float));
        }
        vq_status rc = vq_source_read_f32(q->src, q->rows + n * q->d, LOAD_ROWS, &got, &err);
        if (rc != VQ_OK) return fail_data(rc, &err);
        n += got;
    }
    q->n = n;
    if (n == 0) return fail(CLI_DATA, "%s: there is no query in it", q->path);
    if (q->named && q->names.n != n)
        return fail(CLI_DATA, "%zu query ids for the %zu queries of %s", q->names.n, n, q->path);
    return CLI_DONE;
}

const char *queries_id(const queries *q, uint64_t i, char room[24])
{
    if (q->named) return q->names.names[i];
    (void)snprintf(room, 24, "%" PRIu64, i);
    return room;
}

void queries_close(queries *q)
{
    vq_source_close(q->src);
    if (q->named) vq_ids_fini(&q->names);
    free(q->rows);
    memset(q, 0, sizeof *q);
}
