/* SPDX-License-Identifier: Apache-2.0 */
/* judged.c -- see judged.h. */
#include "cli/judged.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/util.h"
#include "src/io/qrels.h"

const opt_word relevance_words[] = {{"best", (uint32_t)RELEVANCE_BEST}, {NULL, 0}};

/* Copies the judgements of query row i of q to the end. */
static int add_query(judged *j, const queries *q, vq_searcher *s, const vq_qrels *qrels, size_t i)
{
    char number[24];
    size_t at = vq_qrels_find(qrels, queries_id(q, i, number)), n = j->first[j->nq];
    size_t from = at != SIZE_MAX ? qrels->first[at] : 0;
    size_t to = at != SIZE_MAX ? qrels->first[at + 1] : 0;
    if (n + (to - from) > j->room) {
        j->room = 2 * j->room + (to - from) + 64;
        j->docs = xrealloc(j->docs, j->room, sizeof *j->docs);
        j->grades = xrealloc(j->grades, j->room, sizeof *j->grades);
    }
    for (size_t k = from; k < to; k++, n++) {
        vq_error err = {0};
        vq_status rc = vq_id_find(s, qrels->judgements[k].doc, &j->docs[n], &err);
        if (rc == VQ_ENOENT || rc == VQ_EINVAL)
            j->docs[n] = VQ_NO_ID;
        else if (rc != VQ_OK)
            return fail_data(rc, &err);
        j->grades[n] = qrels->judgements[k].grade;
    }
    j->first[++j->nq] = n;
    return CLI_DONE;
}

/* Judgements that meet no query or no document are the wrong file, not a bad index. */
static int plausible(const judged *j, size_t from, const queries *q, const char *path)
{
    size_t first = j->first[from], end = j->first[j->nq], known = 0;
    if (first == end)
        return fail(CLI_DATA, "%s judges none of the queries of %s%s", path, q->path,
                    !q->named ? "; a query's id is its row number, unless given by "
                                "--query-ids FILE"
                              : "");
    for (size_t i = first; i < end; i++) known += j->docs[i] != VQ_NO_ID;
    if (known == 0)
        return fail(CLI_DATA, "%s judges no document of the index: are the ids of one kind?", path);
    return CLI_DONE;
}

int judged_load(judged *j, const queries *q, vq_searcher *s, const char *path)
{
    vq_error err = {0};
    vq_qrels qrels = {0};
    vq_status rc = vq_qrels_read(&qrels, path, &err);
    if (rc != VQ_OK) return fail_data(rc, &err);
    int code = CLI_DONE;
    size_t from = j->nq;
    j->first = xrealloc(j->first, from + (size_t)q->n + 1, sizeof *j->first);
    j->first[from] = from == 0 ? 0 : j->first[from];
    for (size_t i = 0; i < q->n && code == CLI_DONE; i++) code = add_query(j, q, s, &qrels, i);
    if (code == CLI_DONE) code = plausible(j, from, q, path);
    vq_qrels_fini(&qrels);
    return code;
}

void judged_free(judged *j)
{
    free(j->first);
    free(j->docs);
    free(j->grades);
    memset(j, 0, sizeof *j);
}

int relevance_read(const index_set *set, vq_relevance *out)
{
    vq_error err = {0};
    *out = (vq_relevance)VQ_RELEVANCE_INIT;
    if (set->count > 1)
        return fail(CLI_USAGE, "relevance is for one index, which its queries have taught");
    vq_status rc = vq_relevance_info(set->ix[0], out, &err);
    if (rc == VQ_ENOENT)
        return fail(CLI_DATA, "%s; vq calibrate learns from judged queries what is relevant",
                    err.text);
    return rc == VQ_OK ? CLI_DONE : fail_data(rc, &err);
}
