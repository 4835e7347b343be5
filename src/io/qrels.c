/* SPDX-License-Identifier: Apache-2.0 */
/* qrels.c -- judgements and runs: lines of (query, document, value), sorted and grouped by query.
 */
#include "src/io/qrels.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/io/text.h"

typedef struct record {
    const char *qid, *doc; /* in the text */
    double value;          /* grade or score */
    size_t line;
} record;

typedef struct table {
    vq_text text;    /* owned */
    record *records; /* owned: n, room for more */
    size_t n, room;
    locale_t c; /* numbers are read as in C, whatever the program's locale */
} table;

static vq_status table_init(table *t, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(t, 0, sizeof *t);
    t->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    VQ_REQUIRE(t->c != (locale_t)0, VQ_ENOMEM, "%s: out of memory", path);
    VQ_TRY(vq_text_read(&t->text, path, err));
out:
    return rc;
}

static void table_fini(table *t)
{
    if (t->c != (locale_t)0) freelocale(t->c);
    vq_mem_free(t->records);
    vq_text_fini(&t->text);
}

static vq_status add_record(table *t, record r, vq_error *err)
{
    record *grown = vq_mem_reserve(t->records, t->n, t->n + 1, &t->room, sizeof *grown);
    if (grown == NULL)
        return vq_fail(err, VQ_ENOMEM, "%s: no memory for %zu lines", t->text.name, t->n + 1);
    t->records = grown;
    t->records[t->n++] = r;
    return VQ_OK;
}

/* ---- lines -------------------------------------------------------------------------------- */

static bool is_beir_header(char *const *fields, size_t n)
{
    return n == 3 && strcmp(fields[0], "query-id") == 0 && strcmp(fields[1], "corpus-id") == 0;
}

static vq_status read_judgements(table *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t columns = 4;
    char *fields[4];
    bool first = true;
    for (char *line; (line = vq_text_line(&t->text)) != NULL;) {
        size_t n = vq_text_fields(line, fields, VQ_COUNT(fields));
        if (n == 0) continue;
        bool beir = first && is_beir_header(fields, n);
        first = false;
        if (beir) {
            columns = 3;
            continue;
        }
        VQ_REQUIRE(n == columns, VQ_ECORRUPT, "%s:%zu: %s%zu fields, expected %s", t->text.name,
                   t->text.line, n > VQ_COUNT(fields) ? "more than " : "",
                   VQ_MIN(n, VQ_COUNT(fields)),
                   columns == 3 ? "3: \"query-id corpus-id score\""
                                : "4: \"query iteration document grade\" (3 under a header line "
                                  "\"query-id corpus-id score\")");
        const char *text = fields[columns - 1];
        char *end;
        long grade = strtol_l(text, &end, 10, t->c);
        VQ_REQUIRE(end != text && *end == '\0' && grade >= INT32_MIN && grade <= INT32_MAX,
                   VQ_ECORRUPT, "%s:%zu: the grade \"%.40s\" is no whole number", t->text.name,
                   t->text.line, text);
        record r = {fields[0], fields[columns - 2], (double)grade, t->text.line};
        VQ_TRY(add_record(t, r, err));
    }
out:
    return rc;
}

static vq_status read_ranking(table *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *fields[6];
    for (char *line; (line = vq_text_line(&t->text)) != NULL;) {
        size_t n = vq_text_fields(line, fields, VQ_COUNT(fields));
        if (n == 0) continue;
        VQ_REQUIRE(n == VQ_COUNT(fields), VQ_ECORRUPT,
                   "%s:%zu: %s%zu fields, expected 6: \"query Q0 document rank score tag\"",
                   t->text.name, t->text.line, n > VQ_COUNT(fields) ? "more than " : "",
                   VQ_MIN(n, VQ_COUNT(fields)));
        char *end;
        double score = strtod_l(fields[4], &end, t->c);
        VQ_REQUIRE(end != fields[4] && *end == '\0' && isfinite(score), VQ_ECORRUPT,
                   "%s:%zu: the score \"%.40s\" is no number", t->text.name, t->text.line,
                   fields[4]);
        record r = {fields[0], fields[2], score, t->text.line};
        VQ_TRY(add_record(t, r, err));
    }
out:
    return rc;
}

/* ---- order -------------------------------------------------------------------------------- */

static int by_document(const void *a, const void *b)
{
    const record *x = a, *y = b;
    int order = strcmp(x->qid, y->qid);
    if (order == 0) order = strcmp(x->doc, y->doc);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static int by_score(const void *a, const void *b)
{
    const record *x = a, *y = b;
    int order = strcmp(x->qid, y->qid);
    if (order == 0) order = (x->value < y->value) - (x->value > y->value);
    return order != 0 ? order : strcmp(x->doc, y->doc);
}

static void sort_records(table *t, int (*order)(const void *, const void *))
{
    if (t->n > 1) qsort(t->records, t->n, sizeof *t->records, order);
}

/* Sorts by document and leaves out what is said twice; `same_value`: that is allowed where the
 * value is the same too. */
static vq_status remove_repeats(table *t, bool same_value, vq_error *err)
{
    size_t kept = 0;
    sort_records(t, by_document);
    for (size_t i = 0; i < t->n; i++) {
        const record *r = &t->records[i], *last = kept > 0 ? &t->records[kept - 1] : NULL;
        if (last == NULL || strcmp(last->qid, r->qid) != 0 || strcmp(last->doc, r->doc) != 0) {
            t->records[kept++] = *r;
        } else if (!same_value || last->value < r->value || last->value > r->value) {
            return vq_fail(
                err, VQ_ECORRUPT,
                "%s:%zu: query \"%.60s\" and document \"%.60s\" stood in line %zu already"
                ", with %g; here %g",
                t->text.name, r->line, r->qid, r->doc, last->line, last->value, r->value);
        }
    }
    t->n = kept;
    return VQ_OK;
}

/* The distinct queries and where their records begin, of sorted records. */
static vq_status group(const table *t, size_t *nq, const char ***qid, size_t **first, vq_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += i == 0 || strcmp(t->records[i].qid, t->records[i - 1].qid) != 0;
    *qid = vq_mem_alloc(n, sizeof **qid);
    *first = vq_mem_alloc(n + 1, sizeof **first);
    if (*qid == NULL || *first == NULL)
        return vq_fail(err, VQ_ENOMEM, "%s: no memory for %zu queries", t->text.name, n);
    *nq = n;
    n = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (i > 0 && strcmp(t->records[i].qid, t->records[i - 1].qid) == 0) continue;
        (*qid)[n] = t->records[i].qid;
        (*first)[n++] = i;
    }
    (*first)[n] = t->n;
    return VQ_OK;
}

/* ---- judgements --------------------------------------------------------------------------- */

vq_status vq_qrels_read(vq_qrels *q, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    table t;
    memset(q, 0, sizeof *q);
    VQ_TRY(table_init(&t, path, err));
    VQ_TRY(read_judgements(&t, err));
    VQ_TRY(remove_repeats(&t, true, err));
    VQ_TRY(group(&t, &q->nq, &q->qid, &q->first, err));
    q->judgements = vq_mem_alloc(t.n, sizeof *q->judgements);
    VQ_REQUIRE(q->judgements != NULL, VQ_ENOMEM, "%s: no memory for %zu lines", t.text.name, t.n);
    for (size_t i = 0; i < t.n; i++)
        q->judgements[i] =
            (vq_judgement){t.records[i].doc, (int32_t)t.records[i].value, t.records[i].line};
    q->text = t.text.bytes;
    t.text.bytes = NULL;
out:
    table_fini(&t);
    if (rc != VQ_OK) vq_qrels_fini(q);
    return rc;
}

size_t vq_qrels_find(const vq_qrels *q, const char *qid)
{
    size_t low = 0, high = q->nq;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(q->qid[mid], qid);
        if (order == 0) return mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return SIZE_MAX;
}

void vq_qrels_fini(vq_qrels *q)
{
    vq_mem_free(q->qid);
    vq_mem_free(q->first);
    vq_mem_free(q->judgements);
    vq_mem_free(q->text);
    memset(q, 0, sizeof *q);
}

/* ---- runs --------------------------------------------------------------------------------- */

vq_status vq_run_read(vq_run *r, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    table t;
    memset(r, 0, sizeof *r);
    VQ_TRY(table_init(&t, path, err));
    VQ_TRY(read_ranking(&t, err));
    VQ_TRY(remove_repeats(&t, false, err));
    sort_records(&t, by_score);
    VQ_TRY(group(&t, &r->nq, &r->qid, &r->first, err));
    r->lines = vq_mem_alloc(t.n, sizeof *r->lines);
    VQ_REQUIRE(r->lines != NULL, VQ_ENOMEM, "%s: no memory for %zu lines", t.text.name, t.n);
    for (size_t i = 0; i < t.n; i++)
        r->lines[i] = (vq_run_line){t.records[i].doc, t.records[i].value, t.records[i].line};
    r->text = t.text.bytes;
    t.text.bytes = NULL;
out:
    table_fini(&t);
    if (rc != VQ_OK) vq_run_fini(r);
    return rc;
}

void vq_run_fini(vq_run *r)
{
    vq_mem_free(r->qid);
    vq_mem_free(r->first);
    vq_mem_free(r->lines);
    vq_mem_free(r->text);
    memset(r, 0, sizeof *r);
}
