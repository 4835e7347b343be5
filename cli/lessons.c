/* SPDX-License-Identifier: Apache-2.0 */
/* lessons.c -- see lessons.h. */
#include "cli/lessons.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/util.h"
#include "src/io/qrels.h"

/* ---- numbers of queries and rows ---- */

typedef struct numbering {
    const lesson_files *files;
    uint64_t queries, rows;        /* UINT64_MAX: not known, and left to the library to check */
    const vq_ids *ids, *query_ids; /* sorted; query_ids may be NULL */
} numbering;

static void number(numbering *n, const lessons *l, const vq_source *vectors)
{
    uint32_t d, elem;
    vq_source_shape(vectors, &n->rows, &d, &elem);
    for (size_t i = 0; i < l->nqueries && n->queries != UINT64_MAX; i++) {
        uint64_t some;
        vq_source_shape(l->queries[i], &some, &d, &elem);
        n->queries = some != UINT64_MAX ? n->queries + some : UINT64_MAX;
    }
}

/* The row of a document; false if there is none. */
static bool find_row(const numbering *n, const char *doc, uint64_t *row)
{
    if (n->files->ids == NULL) return !opt_number(doc, 0, UINT64_MAX - 1, row) && *row < n->rows;
    size_t line = vq_ids_find(n->ids, doc);
    *row = line;
    return line != SIZE_MAX;
}

/* The number of a training query; false if there is none. */
static bool find_query(const numbering *n, const char *qid, uint64_t *query)
{
    if (n->query_ids == NULL)
        return !opt_number(qid, 0, UINT64_MAX - 1, query) && *query < n->queries;
    size_t line = vq_ids_find(n->query_ids, qid);
    *query = line;
    return line != SIZE_MAX;
}

static int find_pair(const numbering *n, const char *path, size_t line, const char *qid,
                     const char *doc, uint64_t *query, uint64_t *row)
{
    if (!find_query(n, qid, query))
        return n->query_ids != NULL
                   ? fail(CLI_DATA, "%s:%zu: there is no training query '%.60s' in %s", path, line,
                          qid, n->files->query_ids)
                   : fail(CLI_DATA,
                          "%s:%zu: '%.60s' is no training query: without --query-ids they are the "
                          "rows of --queries, counted from 0 through all files",
                          path, line, qid);
    if (!find_row(n, doc, row))
        return fail(CLI_DATA, "%s:%zu: there is no vector '%.60s' in %s%s", path, line, doc,
                    n->files->ids != NULL ? n->files->ids : n->files->input,
                    n->files->ids != NULL ? "" : "; without --ids a document is a row number");
    return CLI_DONE;
}

/* ---- files ---- */

static int read_teacher(lessons *l, const numbering *n)
{
    vq_error err = {0};
    vq_run run;
    const char *path = n->files->teacher;
    vq_status rc = vq_run_read(&run, path, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    size_t total = run.first[run.nq];
    uint64_t *query = xmalloc(total, sizeof *query), *row = xmalloc(total, sizeof *row);
    float *score = xmalloc(total, sizeof *score);
    int code = total > 0 ? CLI_DONE : fail(CLI_DATA, "%s: there is no line in it", path);
    for (size_t q = 0; q < run.nq; q++)
        for (size_t i = run.first[q]; i < run.first[q + 1] && code == CLI_DONE; i++) {
            const vq_run_line *line = &run.lines[i];
            if (fabs(line->score) > (double)FLT_MAX) {
                code = fail(CLI_DATA, "%s:%zu: the score %g is too large", path, line->line,
                            line->score);
                break;
            }
            score[i] = (float)line->score;
            code = find_pair(n, path, line->line, run.qid[q], line->doc, &query[i], &row[i]);
        }
    l->teacher = (vq_pairs){.n = total, .query = query, .row = row, .score = score};
    vq_run_fini(&run);
    return code;
}

static int read_positives(lessons *l, const numbering *n)
{
    vq_error err = {0};
    vq_qrels qrels;
    const char *path = n->files->qrels;
    vq_status rc = vq_qrels_read(&qrels, path, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    size_t total = qrels.first[qrels.nq], kept = 0;
    uint64_t *query = xmalloc(total, sizeof *query), *row = xmalloc(total, sizeof *row);
    int code = CLI_DONE;
    for (size_t q = 0; q < qrels.nq; q++)
        for (size_t i = qrels.first[q]; i < qrels.first[q + 1] && code == CLI_DONE; i++) {
            const vq_judgement *j = &qrels.judgements[i];
            if (j->grade <= 0) continue;
            code = find_pair(n, path, j->line, qrels.qid[q], j->doc, &query[kept], &row[kept]);
            kept++;
        }
    l->positives = (vq_pairs){.n = kept, .query = query, .row = row};
    if (code == CLI_DONE && kept == 0)
        code = fail(CLI_DATA, "%s: it judges nothing relevant: no grade is above 0", path);
    vq_qrels_fini(&qrels);
    return code;
}

static int open_queries(lessons *l, const lesson_files *files, const vq_source *vectors)
{
    uint64_t n;
    uint32_t d, of_rows, elem;
    vq_source_shape(vectors, &n, &of_rows, &elem);
    for (size_t i = 0; i < files->queries->n; i++) {
        vq_error err = {0};
        vq_status rc = vq_source_open_file(&l->queries[i], files->queries->at[i], 0, &err);
        if (rc != VQ_OK) return fail_data(rc, &err);
        l->nqueries++;
        vq_source_shape(l->queries[i], &n, &d, &elem);
        if (d != of_rows)
            return fail(CLI_DATA, "%s: queries of %u dimensions for vectors of %u in %s",
                        files->queries->at[i], d, of_rows, files->input);
    }
    return CLI_DONE;
}

static int read_query_ids(const numbering *n, vq_ids *ids)
{
    vq_error err = {0};
    const char *path = n->files->query_ids;
    vq_status rc = vq_ids_read(ids, path, true, &err);
    if (rc == VQ_OK) rc = vq_ids_sort(ids, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    if (n->queries != UINT64_MAX && ids->n != n->queries)
        return fail(CLI_DATA, "%s has %zu ids for %" PRIu64 " training queries", path, ids->n,
                    n->queries);
    if (vq_ids_repeat(ids)) return fail(CLI_DATA, "%s: an id stands there twice", path);
    return CLI_DONE;
}

int lessons_open(lessons *l, const lesson_files *files, const vq_source *vectors, vq_ids *ids)
{
    numbering n = {.files = files, .ids = ids};
    vq_ids query_ids = {0};
    vq_error err = {0};
    int code = open_queries(l, files, vectors);
    if (code != CLI_DONE || l->nqueries == 0) return code;
    if (files->teacher == NULL && files->qrels == NULL) return code;
    if (vq_ids_sort(ids, &err) != VQ_OK) return fail_data(VQ_ENOMEM, &err);
    number(&n, l, vectors);
    if (files->query_ids != NULL) {
        code = read_query_ids(&n, &query_ids);
        n.query_ids = &query_ids;
    }
    if (files->teacher != NULL && code == CLI_DONE) code = read_teacher(l, &n);
    if (files->qrels != NULL && code == CLI_DONE) code = read_positives(l, &n);
    vq_ids_fini(&query_ids);
    return code;
}

static void free_pairs(const vq_pairs *p)
{
    free((void *)(uintptr_t)p->query);
    free((void *)(uintptr_t)p->row);
    free((void *)(uintptr_t)p->score);
}

void lessons_close(lessons *l)
{
    for (size_t i = 0; i < l->nqueries; i++) vq_source_close(l->queries[i]);
    free_pairs(&l->teacher);
    free_pairs(&l->positives);
}

/* ---- epochs ---- */

int epoch_log_check(const char *path)
{
    if (path == NULL || access(path, F_OK) != 0) return CLI_DONE;
    FILE *f = fopen(path, "a"); /* leaves what is there */
    if (f == NULL) return fail(CLI_SYSTEM, "%s: cannot write it: %s", path, strerror(errno));
    (void)fclose(f);
    return CLI_DONE;
}

/* A row at the end of the file, which the first one begins anew: a build that is refused leaves an
 * older log as it was. */
static bool add_row(epoch_log *log, const vq_epoch *e)
{
    FILE *f = fopen(log->path, log->rows == 0 ? "w" : "a");
    if (f == NULL) return false;
    if (log->rows++ == 0) (void)fprintf(f, "round,epoch,loss,overlap,seconds\n");
    (void)fprintf(f, "%u,%u,%.9g,%.9g,%.3f\n", e->round, e->epoch, e->loss, e->overlap,
                  now_seconds() - log->p->start);
    bool lost = ferror(f) != 0;
    return fclose(f) == 0 && !lost;
}

int epoch_log_row(void *ctx, const vq_epoch *e)
{
    epoch_log *log = ctx;
    progress_say(log->p, "round %u, epoch %u: loss %.5f, 10@10 %.4f on held-out queries", e->round,
                 e->epoch, e->loss, e->overlap);
    if (log->path != NULL && !add_row(log, e)) {
        log->failed = true;
        (void)fail(CLI_SYSTEM, "%s: cannot write it: %s", log->path, strerror(errno));
    }
    return log->failed || progress_stopped();
}
