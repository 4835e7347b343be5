/* SPDX-License-Identifier: Apache-2.0 */
/* quality.c -- vq_quality: methods x bytes a vector x seeds; script/quality runs it.  What is
 * measured, and how, is told in quality.h. */
#include "bench/macro/quality.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/macro/bench.h"

static const char usage[] =
    "--base FILE --metric l2|ip|cosine --queries FILE [--train-queries FILE]... [--gt FILE]\n"
    "    [--qrels FILE [--ids FILE] [--query-ids FILE]] [--name NAME] [--seeds N]\n"
    "    [--bytes B,B..] [--methods M,M..] [--against M] [--nlist N] [--threads N] [--work DIR]\n"
    "    [--commit TEXT] [--csv FILE] [--summary FILE] [--markdown FILE] [--svg FILE]\n"
    "methods: ";

/* The one that the others are compared with comes before what learns from queries: a table that is
 * cut short still has it. */
static const quality_method methods[] = {
    {"pq", "pq8", VQ_ROTATION_NONE, VQ_TRAIN_KMEANS, 0},
    /* as papers have it, without residuals */
    {"opq-one-list", "pq8", VQ_ROTATION_OPQ, VQ_TRAIN_KMEANS, 1},
    {"opq", "pq8", VQ_ROTATION_OPQ, VQ_TRAIN_KMEANS, 0},
    {"pq4-opq", "pq4", VQ_ROTATION_OPQ, VQ_TRAIN_KMEANS, 0},
    {"query-aware", "pq8", VQ_ROTATION_OPQ, VQ_TRAIN_QUERY_AWARE, 0},
    {"distilled", "pq8", VQ_ROTATION_OPQ, VQ_TRAIN_DISTILL, 0},
    {"additive", "aq8", VQ_ROTATION_OPQ, VQ_TRAIN_KMEANS, 0},
    {"additive-query-aware", "aq8", VQ_ROTATION_OPQ, VQ_TRAIN_QUERY_AWARE, 0},
    {"learned", "aq8", VQ_ROTATION_OPQ, VQ_TRAIN_DISTILL, 0},
};
enum { METHODS = sizeof methods / sizeof *methods, BYTES_MAX = 32 };

typedef struct arguments {
    quality_data data;
    const char *csv, *summary, *markdown, *svg, *commit, *against;
    size_t seeds;
    uint32_t bytes[BYTES_MAX];
    const quality_method *methods[METHODS];
    size_t nbytes, nmethods;
} arguments;

static _Noreturn void show_usage(void)
{
    fprintf(stderr, "usage: vq_quality %s", usage);
    for (size_t i = 0; i < METHODS; i++) fprintf(stderr, "%s%s", i > 0 ? "," : "", methods[i].name);
    fputc('\n', stderr);
    exit(2);
}

static size_t count_of(const char *text)
{
    char *end;
    unsigned long x = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || x < 1 || x > 1000000) show_usage();
    return x;
}

static void read_bytes(arguments *a, char *text)
{
    a->nbytes = 0;
    for (char *save, *word = strtok_r(text, ",", &save); word != NULL;
         word = strtok_r(NULL, ",", &save)) {
        if (a->nbytes == BYTES_MAX) show_usage();
        a->bytes[a->nbytes++] = (uint32_t)count_of(word);
    }
}

static void read_methods(arguments *a, char *text)
{
    a->nmethods = 0;
    for (char *save, *word = strtok_r(text, ",", &save); word != NULL;
         word = strtok_r(NULL, ",", &save)) {
        size_t i = 0;
        while (i < METHODS && strcmp(methods[i].name, word) != 0) i++;
        if (i == METHODS || a->nmethods == METHODS) show_usage();
        a->methods[a->nmethods++] = &methods[i];
    }
}

static void defaults(arguments *a)
{
    static const uint32_t bytes[] = {8, 16, 32, 64, 96};
    memset(a, 0, sizeof *a);
    a->data.name = a->commit = "?";
    a->data.work = "/tmp";
    a->against = "opq";
    a->seeds = 3;
    a->nbytes = sizeof bytes / sizeof *bytes;
    memcpy(a->bytes, bytes, sizeof bytes);
    a->nmethods = METHODS;
    for (size_t i = 0; i < METHODS; i++) a->methods[i] = &methods[i];
}

static void add_training_queries(quality_data *d, const char *path)
{
    d->train = bench_need(realloc(d->train, (d->ntrain + 1) * sizeof *d->train));
    d->train[d->ntrain++] = path;
}

static void read_arguments(arguments *a, int argc, char **argv)
{
    enum { SEEDS = 1, BYTES, METHOD, METRIC, TRAIN, NLIST, THREADS, TEXT };
    quality_data *d = &a->data;
    const struct {
        const char *name;
        const char **to;
    } texts[] = {
        {"base", &d->base},       {"queries", &d->queries_path},
        {"gt", &d->gt},           {"qrels", &d->qrels},
        {"ids", &d->ids},         {"query-ids", &d->query_ids},
        {"name", &d->name},       {"work", &d->work},
        {"commit", &a->commit},   {"csv", &a->csv},
        {"summary", &a->summary}, {"markdown", &a->markdown},
        {"svg", &a->svg},         {"against", &a->against},
    };
    enum { TEXTS = sizeof texts / sizeof *texts, OTHERS = 7 };
    struct option options[TEXTS + OTHERS + 1] = {
        {"seeds", 1, NULL, SEEDS},         {"bytes", 1, NULL, BYTES},
        {"methods", 1, NULL, METHOD},      {"metric", 1, NULL, METRIC},
        {"train-queries", 1, NULL, TRAIN}, {"threads", 1, NULL, THREADS},
        {"nlist", 1, NULL, NLIST},
    };
    for (int i = 0; i < (int)TEXTS; i++)
        options[OTHERS + i] = (struct option){texts[i].name, 1, NULL, TEXT + i};
    defaults(a);
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case SEEDS: a->seeds = count_of(optarg); break;
        case BYTES: read_bytes(a, optarg); break;
        case METHOD: read_methods(a, optarg); break;
        case METRIC: d->metric = bench_metric(optarg); break;
        case TRAIN: add_training_queries(d, optarg); break;
        case NLIST: d->nlist = (uint32_t)count_of(optarg); break;
        case THREADS: d->threads = (uint32_t)count_of(optarg); break;
        default:
            if (c < TEXT) show_usage();
            *texts[c - TEXT].to = optarg;
            break;
        }
    }
    if (optind != argc || d->base == NULL || d->queries_path == NULL || d->metric == 0)
        show_usage();
    size_t i = 0;
    while (i < a->nmethods && strcmp(a->methods[i]->name, a->against) != 0) i++;
    if (i == a->nmethods)
        fprintf(stderr, "quality: %s is none of --methods: nothing is compared\n", a->against);
}

/* ---- the walk ------------------------------------------------------------------------------ */

static void tell(const quality_data *d, const quality_cell *c)
{
    const quality_index *x = &c->seeds[c->nseeds - 1];
    fprintf(stderr, "  built in %.1f s, %.0f MB; %u bytes;", x->build_s, x->build_mb,
            x->code_bytes);
    for (size_t f = d->first != NULL ? 0 : 1; f < FIGURES; f++)
        fprintf(stderr, " %s %.4f", quality_figures[f], x->figure[0][f]);
    fprintf(stderr, "; nprobe %u of %u\n", x->nprobe[SETTINGS - 1], x->nlist);
}

/* All seeds of a cell; false if one failed for another reason than that the codec or the training
 * is not for such data or so many bytes. */
static bool fill(quality_cell *c, const quality_data *d, size_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        vq_error err;
        fprintf(stderr, "%s: %s, %u bytes, seed %u\n", d->name, c->method->name, c->bytes,
                (unsigned)seed);
        vq_status rc = quality_measure(d, c, seed, &err);
        if (rc == VQ_OK) {
            tell(d, c);
            continue;
        }
        (void)snprintf(c->note, sizeof c->note, "%s", err.text);
        for (char *p = c->note; *p != '\0'; p++)
            if (*p == '"') *p = '\'';
        fprintf(stderr, "  not measured: %s\n", err.text);
        return rc == VQ_EINVAL || rc == VQ_EUNSUPPORTED;
    }
    return true;
}

typedef struct report_job {
    const arguments *a;
    const quality_table *t;
} report_job;

/* In a child, since the bootstrap starts threads. */
static vq_status report(void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    const report_job *job = ctx;
    quality_write_csv(job->t, job->a->csv);
    VQ_TRY(quality_write_summary(job->t, job->a->summary, job->a->markdown, err));
    if (quality_draw(job->t, job->a->svg, err) != VQ_OK) fprintf(stderr, "%s\n", err->text);
out:
    return rc;
}

static void free_table(quality_table *t)
{
    for (quality_cell *c = t->cells; c < t->cells + t->ncells; c++) {
        free(c->seeds);
        for (size_t s = 0; s < SETTINGS; s++)
            for (size_t f = 0; f < FIGURES; f++) free(c->sum[s][f]);
    }
    free(t->cells);
}

int main(int argc, char **argv)
{
    arguments a;
    vq_error err;
    bool good = true;
    read_arguments(&a, argc, argv);
    quality_data_open(&a.data);
    quality_table t = {.data = &a.data, .seeds = a.seeds, .commit = a.commit, .against = a.against};
    t.cells = bench_need(calloc(a.nbytes * a.nmethods + 1, sizeof *t.cells));
    report_job job = {&a, &t};
    for (size_t b = 0; b < a.nbytes; b++) {
        for (size_t m = 0; m < a.nmethods; m++) {
            quality_cell *c = &t.cells[t.ncells++];
            c->method = a.methods[m];
            c->bytes = a.bytes[b];
            good = fill(c, &a.data, a.seeds) && good;
            /* After each, so that hours of work are not lost with the last one. */
            if (quality_in_child(report, &job, NULL, &err) != VQ_OK) bench_die("report", &err);
        }
    }
    free_table(&t);
    quality_data_close(&a.data);
    return good ? 0 : 1;
}
