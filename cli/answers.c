/* SPDX-License-Identifier: Apache-2.0 */
/* answers.c -- see answers.h. */
#include "cli/answers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report.h"
#include "cli/util.h"
#include "src/io/jsonl.h"

#define NAME_ROOM 512

int answers_open(answers *a, const char *path, uint32_t format, uint32_t k, vq_searcher *s,
                 const vq_info *info)
{
    memset(a, 0, sizeof *a);
    a->format = format;
    a->k = k;
    a->s = s;
    a->strings = info->string_ids != 0;
    a->smaller = info->metric == VQ_METRIC_L2;
    return output_open(&a->out, path);
}

static void keep(answers *a, const uint64_t *ids, const float *scores)
{
    if (a->n == a->room) {
        a->room = a->room + a->room / 2 + 64;
        a->ids = xrealloc(a->ids, a->room, (size_t)a->k * sizeof *ids);
        a->scores = xrealloc(a->scores, a->room, (size_t)a->k * sizeof *scores);
    }
    memcpy(a->ids + a->n * a->k, ids, (size_t)a->k * sizeof *ids);
    memcpy(a->scores + a->n * a->k, scores, (size_t)a->k * sizeof *scores);
}

static int trec_word(const char *what, const char *word)
{
    if (word[strcspn(word, " \t")] == '\0' && word[0] != '\0') return CLI_DONE;
    return fail(CLI_DATA, "%s '%s' has a blank in it, which the trec format cannot hold", what,
                word);
}

static void carried_json(json *j, const vq_document *d)
{
    if (d->ntags > 0) json_open(j, "tags", '[');
    for (uint64_t i = 0; i < d->ntags; i++) json_text(j, NULL, d->tags[i]);
    if (d->ntags > 0) json_close(j, ']');
    if (d->time != VQ_NO_TIME) json_int(j, "time", d->time);
    if (d->payload == NULL) return;
    bool line = memchr(d->payload, '\n', d->payload_bytes) == NULL;
    if (line && vq_json_valid(d->payload, d->payload_bytes))
        json_raw(j, "payload", d->payload, d->payload_bytes);
    else
        json_bytes(j, "payload", d->payload, d->payload_bytes);
}

static void carried_text(FILE *f, const vq_document *d)
{
    if (d->ntags > 0) (void)fprintf(f, "        tags");
    for (uint64_t i = 0; i < d->ntags; i++) (void)fprintf(f, "%s %s", i > 0 ? "," : "", d->tags[i]);
    if (d->ntags > 0) (void)fprintf(f, "\n");
    if (d->time != VQ_NO_TIME) (void)fprintf(f, "        time %" PRId64 "\n", d->time);
    if (d->payload == NULL) return;
    (void)fprintf(f, "        ");
    (void)fwrite(d->payload, 1, d->payload_bytes, f);
    (void)fprintf(f, "\n");
}

static void hit_json(answers *a, json *j, uint64_t id, const char *name, float score,
                     const float *relevance, const vq_document *d)
{
    json_open(j, NULL, '{');
    if (a->strings)
        json_text(j, "id", name);
    else
        json_count(j, "id", id);
    json_real(j, "score", (double)score);
    if (relevance != NULL) json_real(j, "relevance", (double)*relevance);
    carried_json(j, d);
    json_close(j, '}');
}

/* relevance: NULL where it is not told. */
static int hit(answers *a, json *j, const char *query, uint32_t rank, uint64_t id, float score,
               const float *relevance)
{
    char name[NAME_ROOM];
    vq_error err = {0};
    FILE *f = a->out.f;
    double x = (double)score;
    vq_document d = VQ_DOCUMENT_INIT;
    d.time = VQ_NO_TIME;
    vq_status rc = vq_id_name(a->s, id, name, sizeof name, &err);
    if (rc == VQ_OK && a->payload) rc = vq_get_attributes(a->s, id, &d, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    if (a->format == ANSWERS_TREC) {
        int code = trec_word("id", name);
        if (code != CLI_DONE) return code;
    }
    switch (a->format) {
    case ANSWERS_TEXT:
        (void)fprintf(f, "%4u  %12.6g  ", rank, x);
        if (relevance != NULL) (void)fprintf(f, "%.4f  ", (double)*relevance);
        (void)fprintf(f, "%s\n", name);
        carried_text(f, &d);
        break;
    case ANSWERS_TSV:
        (void)fprintf(f, "%s\t%u\t%s\t%.9g", query, rank, name, x);
        if (relevance != NULL) (void)fprintf(f, "\t%.6g", (double)*relevance);
        (void)fprintf(f, "\n");
        break;
    case ANSWERS_TREC:
        (void)fprintf(f, "%s Q0 %s %u %.9g vq\n", query, name, rank, a->smaller ? 0 - x : x);
        break;
    default: hit_json(a, j, id, name, score, relevance, &d); break;
    }
    return CLI_DONE;
}

static void heading(answers *a, json *j, const char *query)
{
    if (a->format == ANSWERS_TEXT)
        (void)fprintf(a->out.f, "%squery %s\n", a->n > 0 ? "\n" : "", query);
    if (a->format != ANSWERS_JSONL) return;
    json_open(j, NULL, '{');
    if (a->numbered)
        json_count(j, "query", a->n);
    else
        json_text(j, "query", query);
    json_open(j, "hits", '[');
}

int answers_add(answers *a, const char *query, const uint64_t *ids, const float *scores,
                const float *relevance)
{
    json j = {.f = a->out.f};
    int code = CLI_DONE;
    if (a->format == ANSWERS_IBIN || a->format == ANSWERS_NPY) {
        keep(a, ids, scores);
        a->n++;
        return CLI_DONE;
    }
    if (a->format == ANSWERS_TREC) code = trec_word("query id", query);
    heading(a, &j, query);
    for (uint32_t i = 0; i < a->k && ids[i] != VQ_NO_ID && code == CLI_DONE; i++)
        code =
            hit(a, &j, query, i + 1, ids[i], scores[i], relevance != NULL ? &relevance[i] : NULL);
    if (a->format == ANSWERS_JSONL) {
        json_close(&j, ']');
        json_close(&j, '}');
    }
    a->n++;
    if (code == CLI_DONE && ferror(a->out.f)) return CLI_SYSTEM; /* output_close tells why */
    return code;
}

static void put_le(FILE *f, uint64_t x, int bytes)
{
    for (int i = 0; i < bytes; i++) (void)fputc((int)(x >> (8 * i) & 255), f);
}

static int write_ibin(const answers *a)
{
    FILE *f = a->out.f;
    size_t total = (size_t)a->n * a->k;
    if (a->n > UINT32_MAX) return fail(CLI_DATA, "too many queries for the ibin format");
    put_le(f, a->n, 4);
    put_le(f, a->k, 4);
    for (size_t i = 0; i < total; i++) {
        if (a->ids[i] != VQ_NO_ID && a->ids[i] > INT32_MAX)
            return fail(CLI_DATA,
                        "id %" PRIu64 " is past 2147483647, the largest in the ibin "
                        "format; npy and the text formats hold it",
                        a->ids[i]);
        put_le(f, a->ids[i] & UINT32_MAX, 4);
    }
    for (size_t i = 0; i < total; i++) {
        uint32_t bits;
        memcpy(&bits, &a->scores[i], sizeof bits);
        put_le(f, bits, 4);
    }
    return CLI_DONE;
}

/* Version 1.0: magic, header length, a Python literal padded to 64 bytes; then the rows. */
static int write_npy(const answers *a)
{
    FILE *f = a->out.f;
    char header[128];
    int n = snprintf(header, sizeof header,
                     "{'descr': '<u8', 'fortran_order': False, 'shape': (%" PRIu64 ", %u), }", a->n,
                     a->k);
    (void)fwrite("\x93NUMPY\x01\x00", 1, 8, f);
    put_le(f, 118, 2);
    (void)fprintf(f, "%s%*s\n", header, 117 - n, "");
    for (size_t i = 0; i < (size_t)a->n * a->k; i++) put_le(f, a->ids[i], 8);
    return CLI_DONE;
}

int answers_close(answers *a, int code)
{
    if (code == CLI_DONE && a->format == ANSWERS_IBIN) code = write_ibin(a);
    if (code == CLI_DONE && a->format == ANSWERS_NPY) code = write_npy(a);
    code = output_close(&a->out, code);
    free(a->ids);
    free(a->scores);
    return code;
}
