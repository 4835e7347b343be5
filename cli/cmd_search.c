/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_search.c -- vq search: reads queries by the block, searches, and hands the answers to one of
 * the printers of answers.h. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/answers.h"
#include "cli/cli.h"
#include "cli/judged.h"
#include "cli/util.h"

#define BLOCK_ROWS 1024
#define NO_BOUND   (-HUGE_VAL)

typedef struct search_args {
    const char *query_ids, *output, *allow, *deny, *filter;
    opt_texts like;
    effort effort;
    uint32_t k, threads, format;
    double min_score, max_distance; /* NO_BOUND: not given */
    bool within;                    /* one of them is; k is 0 where it has no bound */
    double min_relevance;           /* RELEVANCE_NOT_GIVEN, RELEVANCE_BEST, or a probability */
    int stats, payload, relevance;  /* relevance: it is told */
} search_args;

#define AT(field) offsetof(search_args, field)

static const opt_word all_lists[] = {{"all", VQ_ALL}, {NULL, 0}};
static const opt_word no_rerank[] = {{"0", VQ_NONE}, {NULL, 0}};
static const opt_word formats[] = {{"text", ANSWERS_TEXT},
                                   {"tsv", ANSWERS_TSV},
                                   {"jsonl", ANSWERS_JSONL},
                                   {"trec", ANSWERS_TREC},
                                   {"ibin", ANSWERS_IBIN},
                                   {"npy", ANSWERS_NPY},
                                   {NULL, 0}};

const opt search_opts[] = {
    {"k", 'k', OPT_U32, "K", AT(k), 1, 1000000, NULL,
     "answers a query; default 10, or all within --min-score or --max-distance"},
    {"min-score", 0, OPT_REAL, "S", AT(min_score), 0, 0, NULL,
     "metrics ip and cosine: answer with all vectors whose score is S or more, at most K where -k "
     "is "
     "given; all there are with --recall 1, else about that share of them"},
    {"max-distance", 0, OPT_REAL, "D", AT(max_distance), 0, 0, NULL,
     "metric l2: the same with all vectors whose squared distance is D or less"},
    {"min-relevance", 0, OPT_REAL, "P|best", AT(min_relevance), 0, 1, relevance_words,
     "after vq calibrate: leave out answers that are relevant with a probability below P, which is "
     "judged query by query; best: the P of the greatest F1 there"},
    {"relevance", 0, OPT_FLAG, NULL, AT(relevance), 0, 0, NULL,
     "after vq calibrate: print that probability with each answer, in the formats text, tsv and "
     "jsonl"},
    {"recall", 0, OPT_REAL, "R", AT(effort.recall), 0, 1, NULL,
     "find this share of the true answers, on the average: each query gets the lists and rows that "
     "it needs; 1 = exact search. Default 0.95, if the index is tuned"},
    {"nprobe", 0, OPT_U32, "N|all", AT(effort.nprobe), 1, UINT32_MAX - 1, all_lists,
     "lists to read for a query, instead of --recall"},
    {"rerank", 0, OPT_U32, "R", AT(effort.rerank), 0, UINT32_MAX - 1, no_rerank,
     "candidates to score by their full rows, 0 = by codes alone; instead of --recall"},
    {"bars", 0, OPT_ABOVE, "E", AT(effort.bars), 0, 100, NULL,
     "codecs with error bars: look closer at a vector while it may be among the best k, if its "
     "estimate is E standard deviations too low. Default 3"},
    {"threads", 0, OPT_U32, "T", AT(threads), 1, 1024, NULL,
     "default: all processors; answers do not depend on it"},
    {"latency", 0, OPT_FLAG, NULL, AT(effort.latency), 0, 0, NULL,
     "one query after the other, each on all threads; with --nprobe"},
    {"codes-in-memory", 0, OPT_FLAG, NULL, AT(effort.codes_in_memory), 0, 0, NULL,
     "read all codes first, and keep them in memory; rows stay on the disk"},
    {"query-ids", 0, OPT_TEXT, "FILE", AT(query_ids), 0, 0, NULL,
     "ids of the queries, one a line; default: their row numbers, from 0"},
    {"like", 0, OPT_TEXTS, "ID", AT(like), 0, 0, NULL,
     "take the stored vector of ID as a query, in place of QUERIES; may be given more than once"},
    {"allow", 0, OPT_TEXT, "FILE", AT(allow), 0, 0, NULL,
     "answer with these ids alone, one a line; still K of them, if there are as many"},
    {"deny", 0, OPT_TEXT, "FILE", AT(deny), 0, 0, NULL, "answer with none of these ids"},
    {"filter", 0, OPT_TEXT, "EXPR", AT(filter), 0, 0, NULL,
     "answer only with vectors for which EXPR holds, as 'tag:en & !tag:draft & time>=1700000000'; "
     "with | for or, and parentheses"},
    {"payload", 0, OPT_FLAG, NULL, AT(payload), 0, 0, NULL,
     "print what each answer carries, too, in the formats text and jsonl"},
    {"format", 0, OPT_WORD, "text|tsv|jsonl|trec|ibin|npy", AT(format), 0, 0, formats,
     "how to print; default text"},
    {"stats", 0, OPT_FLAG, NULL, AT(stats), 0, 0, NULL,
     "tell on standard error what the queries took"},
    {"output", 'o', OPT_TEXT, "FILE", AT(output), 0, 0, NULL,
     "write to FILE, which appears when it is complete; default: standard output"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

typedef struct found { /* of a block of queries, k each */
    uint64_t *ids;
    float *scores, *relevance; /* the second NULL where nobody asks for it */
} found;

static bool asks_relevance(const search_args *a)
{
    return a->min_relevance >= 0 || a->relevance;
}

static found found_new(const search_args *a, size_t n)
{
    size_t row = (size_t)a->k;
    bool asks = asks_relevance(a);
    return (found){.ids = xmalloc(n, row * sizeof(uint64_t)),
                   .scores = xmalloc(n, row * sizeof(float)),
                   .relevance = asks ? xmalloc(n, row * sizeof(float)) : NULL};
}

static void found_free(found *f)
{
    free(f->ids);
    free(f->scores);
    free(f->relevance);
}

static int search_block(const search_args *a, vq_searcher *s, const float *rows, size_t n, found *f)
{
    vq_error err = {0};
    float least = a->min_relevance >= 0 ? (float)a->min_relevance : 0.0f;
    vq_status rc = asks_relevance(a) ? vq_search_relevant(s, rows, n, a->k, least, f->ids,
                                                          f->scores, f->relevance, &err)
                                     : vq_search(s, rows, n, a->k, f->ids, f->scores, &err);
    if (rc == VQ_EUNSUPPORTED) return fail(CLI_DATA, "%s", err.text);
    return rc == VQ_OK ? CLI_DONE : fail_status(rc, &err);
}

static int add_block(const search_args *a, answers *to, const char *query, const found *f, size_t i)
{
    return answers_add(to, query, f->ids + i * a->k, f->scores + i * a->k,
                       a->relevance ? f->relevance + i * a->k : NULL);
}

typedef struct hits {
    uint64_t *ids;
    float *scores;
    size_t n, room;
} hits;

static int take_hit(void *ctx, uint64_t id, float score)
{
    hits *h = ctx;
    if (h->n == h->room) {
        h->room = 2 * h->room + 64;
        h->ids = xrealloc(h->ids, h->room, sizeof *h->ids);
        h->scores = xrealloc(h->scores, h->room, sizeof *h->scores);
    }
    h->ids[h->n] = id;
    h->scores[h->n++] = score;
    return 0;
}

/* All within the bound of one query. */
static int answer_within(const search_args *a, vq_searcher *s, const float *row, const char *query,
                         answers *to)
{
    vq_error err = {0};
    hits h = {0};
    double bound = a->min_score > NO_BOUND ? a->min_score : a->max_distance;
    vq_status rc = vq_search_within(s, row, (float)bound, a->k, take_hit, &h, &err);
    to->k = (uint32_t)h.n;
    int code = rc == VQ_OK ? answers_add(to, query, h.ids, h.scores, NULL) : fail_status(rc, &err);
    free(h.ids);
    free(h.scores);
    return code;
}

static int search_block_within(const search_args *a, vq_searcher *s, const queries *q,
                               uint64_t done, const float *rows, size_t n, answers *to)
{
    int code = CLI_DONE;
    for (size_t i = 0; i < n && code == CLI_DONE; i++) {
        char room[24];
        code = answer_within(a, s, rows + i * q->d, queries_id(q, done + i, room), to);
    }
    return code;
}

static int search_file(const search_args *a, vq_searcher *s, queries *q, answers *to)
{
    vq_error err = {0};
    size_t block = BLOCK_ROWS * 1000 / ((size_t)a->k + 1000) + 1; /* fewer where k is large */
    float *rows = xmalloc(block, (size_t)q->d * sizeof *rows);
    found f = found_new(a, block);
    uint64_t done = 0;
    int code = CLI_DONE;
    while (code == CLI_DONE) {
        size_t got = 0;
        vq_status rc = vq_source_read_f32(q->src, rows, block, &got, &err);
        if (rc != VQ_OK) code = fail_data(rc, &err);
        if (rc != VQ_OK || got == 0) break;
        if (q->named && done + got > q->names.n)
            code = fail(CLI_DATA, "more queries than the %zu query ids", q->names.n);
        if (code == CLI_DONE)
            code = a->within ? search_block_within(a, s, q, done, rows, got, to)
                             : search_block(a, s, rows, got, &f);
        for (size_t i = 0; i < got && !a->within && code == CLI_DONE; i++) {
            char room[24];
            code = add_block(a, to, queries_id(q, done + i, room), &f, i);
        }
        done += got;
    }
    if (code == CLI_DONE && q->named && done != q->names.n)
        code = fail(CLI_DATA, "%zu query ids for %" PRIu64 " queries", q->names.n, done);
    free(rows);
    found_free(&f);
    return code;
}

/* The stored vector of one id as a query. */
static int search_like(const search_args *a, vq_searcher *s, const char *name, uint32_t d,
                       answers *to)
{
    vq_error err = {0};
    uint64_t id;
    float *row = xmalloc(d, sizeof *row);
    found f = found_new(a, 1);
    vq_status rc = vq_id_find(s, name, &id, &err);
    if (rc == VQ_OK) rc = vq_get(s, id, row, &err);
    int code = rc == VQ_OK ? CLI_DONE : fail_data(rc, &err);
    if (code == CLI_DONE && a->within) {
        code = answer_within(a, s, row, name, to);
    } else if (code == CLI_DONE) {
        code = search_block(a, s, row, 1, &f);
        if (code == CLI_DONE) code = add_block(a, to, name, &f, 0);
    }
    free(row);
    found_free(&f);
    return code;
}

/* What was asked and what it took, on the average of the queries (of each index). */
static int tell_stats(const vq_searcher *s, uint32_t k, double seconds, page_faults faults)
{
    vq_error err = {0};
    vq_search_stats t = VQ_SEARCH_STATS_INIT;
    vq_status rc = vq_searcher_stats(s, &t, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    double n = t.queries > 0 ? (double)t.queries : 1, recall = (double)vq_searcher_recall(s, k);
    if (recall > 0) (void)fprintf(stderr, "recall %g asked for; ", recall);
    (void)fprintf(stderr, "%.0f queries: on the average %.1f lists, %.0f vectors, ",
                  (double)t.queries, (double)t.lists / n, (double)t.vectors / n);
    if (t.codes > 0) (void)fprintf(stderr, "%.1f whole codes, ", (double)t.codes / n);
    (void)fprintf(stderr, "%.1f rows in full\n", (double)t.rows / n);
    (void)fprintf(stderr, "%.3f s, answers written; page faults: %.0f, from disk %.0f\n", seconds,
                  faults.minor, faults.major);
    return CLI_DONE;
}

/* --filter, --allow and --deny. */
static int set_filter(const search_args *a, vq_searcher *s, bool strings)
{
    vq_error err = {0};
    vq_ids ids = {0};
    const char *path = a->allow != NULL ? a->allow : a->deny;
    if (a->filter != NULL && vq_searcher_filter_text(s, a->filter, &err) != VQ_OK)
        return fail_status((vq_status)err.code, &err);
    if (path == NULL) return CLI_DONE;
    vq_status rc = vq_ids_read(&ids, path, strings, &err);
    if (rc == VQ_OK)
        rc = vq_searcher_filter(s, a->allow != NULL ? VQ_FILTER_ALLOW : VQ_FILTER_DENY, ids.numbers,
                                (const char *const *)ids.names, ids.n, &err);
    if (rc == VQ_OK && a->allow != NULL && ids.n == 0)
        (void)fprintf(stderr, "vq: %s holds no id, so there are no answers\n", path);
    vq_ids_fini(&ids);
    return rc == VQ_OK ? CLI_DONE : fail_data(rc, &err);
}

/* Whatever probability is asked for, what makes one is looked for before the search. */
static int know_relevance(search_args *a, const index_set *set)
{
    vq_relevance r;
    if (!asks_relevance(a)) return CLI_DONE;
    int code = relevance_read(set, &r);
    if (a->min_relevance > 1.0) a->min_relevance = (double)r.best;
    return code;
}

static int search(search_args *a, char **paths, int count, const char *from)
{
    index_set set = {0};
    queries q = {0};
    vq_searcher *s = NULL;
    answers to;
    int code = index_set_open(&set, paths, count);
    if (code == CLI_DONE && from != NULL) code = queries_open(&q, from, a->query_ids, set.first.d);
    if (code == CLI_DONE) code = know_relevance(a, &set);
    if (code == CLI_DONE) code = index_set_searcher(&set, &s, &a->effort, a->threads);
    if (code == CLI_DONE && a->within &&
        (a->max_distance > NO_BOUND) != (set.first.metric == VQ_METRIC_L2))
        code = fail(CLI_USAGE, "%s has metric %s: %s", paths[0], vq_metric_name(set.first.metric),
                    set.first.metric == VQ_METRIC_L2 ? "give --max-distance" : "give --min-score");
    if (code == CLI_DONE) code = set_filter(a, s, set.first.string_ids != 0);
    double from_time = now_seconds();
    page_faults before = faults_since((page_faults){0, 0});
    if (code == CLI_DONE) {
        code = answers_open(&to, a->output, a->format, a->k, s, &set.first);
        if (code == CLI_DONE) {
            to.payload = a->payload != 0;
            to.numbered = from != NULL && !q.named;
            if (from != NULL) code = search_file(a, s, &q, &to);
            for (size_t i = 0; i < a->like.n && code == CLI_DONE; i++)
                code = search_like(a, s, a->like.at[i], set.first.d, &to);
            code = answers_close(&to, code);
        }
    }
    if (code == CLI_DONE && a->stats)
        code = tell_stats(s, a->k, now_seconds() - from_time, faults_since(before));
    vq_searcher_close(s);
    queries_close(&q);
    index_set_close(&set);
    return code;
}

static int check_bounds(search_args *a)
{
    bool score = a->min_score > NO_BOUND, distance = a->max_distance > NO_BOUND;
    a->within = score || distance;
    if (score && distance)
        return fail(CLI_USAGE, "--min-score and --max-distance exclude each other");
    if (a->within && (a->format == ANSWERS_IBIN || a->format == ANSWERS_NPY))
        return fail(CLI_USAGE, "--min-score and --max-distance have no fixed number of answers, as "
                               "the formats ibin and npy need");
    if (a->within && asks_relevance(a))
        return fail(CLI_USAGE, "--min-score and --max-distance are cuts of their own: leave out "
                               "--min-relevance and --relevance");
    if (!a->within && a->k == 0) a->k = 10;
    return CLI_DONE;
}

/* Files that are read: the indexes and queries, and what options name. */
static int check_files(const search_args *a, char **operands, int n)
{
    const char *const files[] = {a->allow, a->deny, a->query_ids, operands[n - 1]};
    int code = check_dashes(files, sizeof files / sizeof *files);
    if (code == CLI_DONE) code = check_output(a->output, files, sizeof files / sizeof *files);
    if (code == CLI_DONE)
        code = check_output(a->output, (const char *const *)operands, (size_t)n - 1);
    return code;
}

int cmd_search(const cmd *self, int argc, char **argv)
{
    search_args a = {.effort = {.recall = RECALL_NOT_GIVEN},
                     .min_score = NO_BOUND,
                     .max_distance = NO_BOUND,
                     .min_relevance = RELEVANCE_NOT_GIVEN,
                     .format = ANSWERS_TEXT,
                     .threads = processors()};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, INT_MAX, &rest, &nrest);
    if (code >= 0) return code;
    code = effort_check(&a.effort);
    if (code != CLI_DONE) return code;
    if (a.effort.latency && a.effort.nprobe == 0)
        return fail(CLI_USAGE,
                    "--latency needs --nprobe: by --recall a query decides list by list");
    code = check_bounds(&a);
    if (code != CLI_DONE) return code;
    if (a.like.n > 0 && nrest > 1 && output_format(rest[nrest - 1]) != NULL)
        return fail(CLI_USAGE, "--like takes the place of QUERIES: leave %s out", rest[nrest - 1]);
    if (a.like.n > 0 && a.query_ids != NULL)
        return fail(CLI_USAGE, "--like and --query-ids exclude each other");
    if (a.allow != NULL && a.deny != NULL)
        return fail(CLI_USAGE, "--allow and --deny exclude each other");
    if (a.relevance && a.format > ANSWERS_JSONL)
        return fail(CLI_USAGE, "--relevance is for the formats text, tsv and jsonl");
    if (a.payload && a.format != ANSWERS_TEXT && a.format != ANSWERS_JSONL)
        return fail(CLI_USAGE, "--payload is for the formats text and jsonl");
    code = check_files(&a, rest, nrest);
    if (code != CLI_DONE) return code;
    if (a.like.n > 0) return search(&a, rest, nrest, NULL);
    if (nrest < 2)
        return fail(CLI_USAGE, "which queries? usage: vq search %s, or --like ID", self->synopsis);
    return search(&a, rest, nrest - 1, rest[nrest - 1]);
}
