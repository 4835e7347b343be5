/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c -- see bench.h. */
#include "bench/macro/bench.h"

#include <getopt.h>
#include <malloc.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/mem.h"
#include "src/base/team.h"
#include "src/eval/exact.h"
#include "src/eval/metrics.h"
#include "src/io/source.h"
#include "src/io/truth.h"
#include "vq/vq.h"

struct bench_point {
    char params[64];
    uint32_t a1, a2;
    double recall, qps, qps_min, qps_max;
};

static const char usage[] =
    "--name NAME --base FILE --queries FILE [--gt FILE] [--metric l2|ip|cosine] [--max-queries N]\n"
    "    [--passes N] [--threads N] [--work DIR] [--csv FILE] [--commit TEXT]";

void bench_die(const char *what, const vq_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

void *bench_need(void *p)
{
    if (p != NULL) return p;
    fprintf(stderr, "out of memory\n");
    exit(1);
}

double bench_now(void)
{
    return vq_now();
}

double bench_heap_mb(void)
{
    struct mallinfo2 m = mallinfo2();
    return (double)(m.uordblks + m.hblkhd) / 1e6;
}

float *bench_read(const char *path, size_t *n, uint32_t *d)
{
    vq_error err;
    vq_source *src = NULL;
    float *rows = NULL;
    if (vq_source_open_file(&src, path, 0, &err) != VQ_OK) bench_die(path, &err);
    vq_source_shape(src, NULL, d, NULL);
    if (vq_source_read_all_f32(src, &rows, n, &err) != VQ_OK) bench_die(path, &err);
    vq_source_close(src);
    return rows;
}

/* The first BENCH_K of a ground truth file, or exact search where there is none. */
static void read_truth(bench *b, const char *path)
{
    vq_error err;
    b->truth = bench_need(calloc(b->nq * BENCH_K, sizeof *b->truth));
    if (path != NULL) {
        vq_truth t;
        if (vq_truth_read(&t, path, &err) != VQ_OK) bench_die(path, &err);
        if (t.nq < b->nq || t.k < BENCH_K) {
            fprintf(stderr, "%s: %zu x %zu, need %zu x %d\n", path, t.nq, t.k, b->nq, BENCH_K);
            exit(1);
        }
        for (size_t i = 0; i < b->nq; i++)
            memcpy(b->truth + i * BENCH_K, t.ids + i * t.k, BENCH_K * sizeof *b->truth);
        vq_truth_fini(&t);
        return;
    }
    vq_source *base = NULL;
    vq_exact_opts opts = {.metric = b->metric, .k = BENCH_K};
    float *scores = bench_need(calloc(b->nq * BENCH_K, sizeof *scores));
    if (vq_source_open_file(&base, b->base_path, 0, &err) != VQ_OK ||
        vq_exact(base, b->queries, b->nq, &opts, b->truth, scores, &err) != VQ_OK)
        bench_die(b->base_path, &err);
    vq_source_close(base);
    free(scores);
}

uint32_t bench_metric(const char *name)
{
    for (uint32_t m = VQ_METRIC_L2; m <= VQ_METRIC_COSINE; m++)
        if (strcmp(vq_metric_name(m), name) == 0) return m;
    fprintf(stderr, "no metric %s\n", name);
    exit(2);
}

void bench_open(bench *b, int argc, char **argv)
{
    enum { NAME = 1, BASE, QUERIES, GT, METRIC, MAX, PASSES, THREADS, WORK, CSV, COMMIT };
    static const struct option options[] = {
        {"name", 1, NULL, NAME},     {"base", 1, NULL, BASE},       {"queries", 1, NULL, QUERIES},
        {"gt", 1, NULL, GT},         {"metric", 1, NULL, METRIC},   {"max-queries", 1, NULL, MAX},
        {"passes", 1, NULL, PASSES}, {"threads", 1, NULL, THREADS}, {"work", 1, NULL, WORK},
        {"csv", 1, NULL, CSV},       {"commit", 1, NULL, COMMIT},   {NULL, 0, NULL, 0},
    };
    const char *queries = NULL, *gt = NULL;
    size_t max = 1000;
    memset(b, 0, sizeof *b);
    b->metric = VQ_METRIC_L2;
    b->passes = 5;
    b->name = b->commit = "?";
    b->work = "/tmp";
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case NAME: b->name = optarg; break;
        case BASE: b->base_path = optarg; break;
        case QUERIES: queries = optarg; break;
        case GT: gt = optarg; break;
        case METRIC: b->metric = bench_metric(optarg); break;
        case MAX: max = strtoul(optarg, NULL, 10); break;
        case PASSES: b->passes = strtoul(optarg, NULL, 10); break;
        case THREADS: b->threads = (uint32_t)strtoul(optarg, NULL, 10); break;
        case WORK: b->work = optarg; break;
        case CSV: b->csv = optarg; break;
        case COMMIT: b->commit = optarg; break;
        default:
            queries = NULL;
            optind = argc;
            break;
        }
    }
    if (b->base_path == NULL || queries == NULL || b->passes < 1) {
        fprintf(stderr, "usage: %s %s\n", argv[0], usage);
        exit(2);
    }
    uint64_t n = 0;
    vq_source *base = NULL;
    vq_error err;
    if (vq_source_open_file(&base, b->base_path, 0, &err) != VQ_OK) bench_die(b->base_path, &err);
    uint32_t d, dq;
    vq_source_shape(base, &n, &d, NULL);
    vq_source_close(base);
    b->n = (size_t)n;
    b->d = d;
    b->queries = bench_read(queries, &b->nq, &dq);
    if (dq != d) {
        fprintf(stderr, "%s: d = %u, the base has %u\n", queries, dq, d);
        exit(1);
    }
    if (b->nq > max) b->nq = max;
    read_truth(b, gt);
}

static void normalise(float *rows, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < d; j++) sum += (double)rows[i * d + j] * (double)rows[i * d + j];
        float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
        for (size_t j = 0; j < d; j++) rows[i * d + j] *= scale;
    }
}

float *bench_rows_normalised(bench *b)
{
    uint32_t d;
    float *rows = bench_read(b->base_path, &b->n, &d);
    if (b->metric == VQ_METRIC_COSINE) {
        normalise(rows, b->n, b->d);
        normalise(b->queries, b->nq, b->d);
    }
    return rows;
}

/* One pass over all queries; seconds. */
static double pass(const bench *b, bench_search_fn search, void *ctx, uint64_t *ids)
{
    double start = vq_now();
    for (size_t i = 0; i < b->nq; i++) search(ctx, b->queries + i * b->d, ids + i * BENCH_K);
    return vq_now() - start;
}

void bench_try(bench *b, const char *params, uint32_t a1, uint32_t a2, bench_tune_fn tune,
               bench_search_fn search, void *ctx)
{
    uint64_t *ids = bench_need(malloc(b->nq * BENCH_K * sizeof *ids));
    b->points = bench_need(realloc(b->points, (b->npoints + 1) * sizeof *b->points));
    struct bench_point *p = &b->points[b->npoints++];
    memset(p, 0, sizeof *p);
    (void)snprintf(p->params, sizeof p->params, "%s", params);
    p->a1 = a1;
    p->a2 = a2;
    tune(ctx, a1, a2);
    if (b->npoints == 1) (void)pass(b, search, ctx, ids); /* nothing is in a cache yet */
    p->qps = (double)b->nq / pass(b, search, ctx, ids);
    p->recall = vq_recall(b->truth, BENCH_K, BENCH_K, ids, BENCH_K, BENCH_K, b->nq);
    free(ids);
}

static int by_recall(const void *a, const void *b)
{
    const struct bench_point *p = a, *q = b;
    return (p->recall > q->recall) - (p->recall < q->recall);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The engine's own choice: shown in any case, and left out of the curve. */
static bool is_default(const struct bench_point *p)
{
    return p->a1 == 0 && p->a2 == 0;
}

/* Leaves the points that no other beats, by rising recall.  A point that is slower by less than
 * slack (0.1: ten per cent) counts as not beaten. */
static void keep_front(bench *b, double slack)
{
    unsigned char *beaten = bench_need(calloc(b->npoints + 1, 1));
    for (size_t i = 0; i < b->npoints; i++) {
        const struct bench_point *p = &b->points[i];
        for (size_t j = 0; j < b->npoints; j++) {
            const struct bench_point *q = &b->points[j];
            bool better = q->recall > p->recall || (q->recall == p->recall && q->qps > p->qps);
            if (better && !is_default(p) && q->qps >= p->qps * (1 + slack)) beaten[i] = 1;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < b->npoints; i++)
        if (!beaten[i]) b->points[kept++] = b->points[i];
    b->npoints = kept;
    qsort(b->points, kept, sizeof *b->points, by_recall);
    free(beaten);
}

static void time_front(bench *b, bench_tune_fn tune, bench_search_fn search, void *ctx)
{
    uint64_t *ids = bench_need(malloc(b->nq * BENCH_K * sizeof *ids));
    double *qps = bench_need(calloc(b->passes, sizeof *qps));
    for (size_t i = 0; i < b->npoints; i++) {
        struct bench_point *p = &b->points[i];
        tune(ctx, p->a1, p->a2);
        (void)pass(b, search, ctx, ids);
        for (size_t j = 0; j < b->passes; j++) qps[j] = (double)b->nq / pass(b, search, ctx, ids);
        qsort(qps, b->passes, sizeof *qps, by_value);
        p->qps = qps[b->passes / 2];
        p->qps_min = qps[0];
        p->qps_max = qps[b->passes - 1];
    }
    free(qps);
    free(ids);
}

/* QPS at a level of recall, on the front (by rising recall): NaN if no point reaches it.  *above:
 * the least accurate point already exceeds the level, so the true figure is higher. */
static double qps_at(const bench *b, double level, int *above)
{
    const struct bench_point *lo = NULL, *hi = NULL;
    *above = 0;
    for (size_t i = 0; i < b->npoints && hi == NULL; i++) {
        const struct bench_point *p = &b->points[i];
        if (is_default(p)) continue;
        if (p->recall >= level)
            hi = p;
        else
            lo = p;
    }
    if (hi == NULL) return NAN;
    if (lo == NULL) {
        *above = hi->recall > level;
        return hi->qps;
    }
    double t = (level - lo->recall) / (hi->recall - lo->recall);
    return exp(log(lo->qps) + t * (log(hi->qps) - log(lo->qps)));
}

void bench_cpu(char *text, size_t cap)
{
    char line[512];
    (void)snprintf(text, cap, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (f == NULL) return;
    while (fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
        (void)snprintf(text, cap, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    (void)fclose(f);
    for (char *c = text; *c != 0; c++)
        if (*c == ',' || *c == '"') *c = ' ';
}

static void report(const bench *b)
{
    static const double levels[] = {0.90, 0.95, 0.99};
    char cpu[128], date[32];
    time_t now = time(NULL);
    bench_cpu(cpu, sizeof cpu);
    (void)strftime(date, sizeof date, "%Y-%m-%d", localtime(&now));
    FILE *csv = b->csv != NULL ? fopen(b->csv, "a") : NULL;
    if (b->csv != NULL && csv == NULL) perror(b->csv);
    if (csv != NULL && ftell(csv) == 0)
        fprintf(csv, "date,commit,cpu,data,n,d,metric,queries,engine,kind,params,recall@10,qps,"
                     "qps_min,qps_max,passes,build_s,mb\n");

    printf("%s: %s, %zu x %u, %s; build %.1f s, %.0f MB; %zu queries, one thread\n", b->name,
           b->engine, b->n, b->d, vq_metric_name(b->metric), b->build_s, b->mb, b->nq);
    for (size_t i = 0; i < b->npoints; i++) {
        const struct bench_point *p = &b->points[i];
        printf("  recall@10 %.4f  %9.0f /s  (%.0f-%.0f)  %s\n", p->recall, p->qps, p->qps_min,
               p->qps_max, p->params);
        if (csv != NULL)
            fprintf(csv,
                    "%s,%s,%s,%s,%zu,%u,%s,%zu,%s,point,%s,%.4f,%.0f,%.0f,%.0f,%zu,%.1f,%.1f\n",
                    date, b->commit, cpu, b->name, b->n, b->d, vq_metric_name(b->metric), b->nq,
                    b->engine, p->params, p->recall, p->qps, p->qps_min, p->qps_max, b->passes,
                    b->build_s, b->mb);
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        int above;
        double qps = qps_at(b, levels[i], &above);
        if (isnan(qps))
            printf("  at .%02.0f  not reached\n", 100 * levels[i]);
        else
            printf("  at .%02.0f  %s%.0f /s\n", 100 * levels[i], above ? "over " : "", qps);
        if (csv != NULL && !isnan(qps))
            fprintf(csv, "%s,%s,%s,%s,%zu,%u,%s,%zu,%s,%s,,%.2f,%.0f,,,%zu,%.1f,%.1f\n", date,
                    b->commit, cpu, b->name, b->n, b->d, vq_metric_name(b->metric), b->nq,
                    b->engine, above ? "over" : "level", levels[i], qps, b->passes, b->build_s,
                    b->mb);
    }
    if (csv != NULL) (void)fclose(csv);
}

void bench_close(bench *b, bench_tune_fn tune, bench_search_fn search, void *ctx)
{
    keep_front(b, 0.1); /* one pass each is noisy */
    time_front(b, tune, search, ctx);
    keep_front(b, 0);
    report(b);
    free(b->points);
    free(b->truth);
    vq_mem_free(b->queries);
}
