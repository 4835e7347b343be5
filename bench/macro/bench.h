/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h -- what the end-to-end benchmarks share: one data set, one way to time a search, one CSV.
 * For C and C++: an engine is a callback, so that vq and its peers are measured by the same loop.
 *
 * Method: recall@10 and time of one query at a time on one thread.  Every setting is run once;
 * those that no other setting beats in both recall and time are timed again, `passes` times, and
 * the median pass counts.  QPS at a level of recall is log-linear between the two settings around
 * it.
 */
#ifndef VQ_BENCH_MACRO_BENCH_H
#define VQ_BENCH_MACRO_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "vq/vq.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_K = 10 };

typedef struct bench {
    const char *name;      /* of the data set */
    const char *base_path; /* any file that vq reads */
    const char *work;      /* folder for index files */
    const char *csv;       /* appended to; NULL: none */
    const char *commit;
    uint32_t metric;  /* VQ_METRIC_* */
    uint32_t threads; /* for building; 0 = all */
    size_t passes;
    size_t n, nq;
    uint32_t d;
    float *queries;     /* nq x d; owned */
    uint64_t *truth;    /* nq x BENCH_K; owned */
    const char *engine; /* set by the engine's program: name, build time, size */
    double build_s, mb;
    struct bench_point *points; /* owned */
    size_t npoints;
} bench;

/* Reads the command line (bench_usage names it), queries and ground truth; ends the program with a
 * message if it cannot. */
void bench_open(bench *b, int argc, char **argv);
/* All rows as f32, n x d; free() them.  For cosine they are normalised, and so are the queries:
 * a peer then uses the inner product. */
float *bench_rows_normalised(bench *b);

/* One query (d floats) -> BENCH_K ids. */
typedef void (*bench_search_fn)(void *ctx, const float *query, uint64_t *ids);
/* Notes a setting: runs all queries once.  tune applies the setting and is called again before it
 * is timed. */
typedef void (*bench_tune_fn)(void *ctx, uint32_t a, uint32_t b);
void bench_try(bench *b, const char *params, uint32_t a1, uint32_t a2, bench_tune_fn tune,
               bench_search_fn search, void *ctx);
/* Times the front, prints it, appends it to the CSV, frees all. */
void bench_close(bench *b, bench_tune_fn tune, bench_search_fn search, void *ctx);

double bench_now(void);     /* seconds */
double bench_heap_mb(void); /* of this process, allocated now */

/* Each ends the program with a message if it cannot do its work. */
float *bench_read(const char *path, size_t *n, uint32_t *d); /* a file's rows; vq_mem_free them */
uint32_t bench_metric(const char *name);                     /* VQ_METRIC_* */
void *bench_need(void *p);                                   /* p, unless it is NULL */
void bench_die(const char *what, const vq_error *err) __attribute__((noreturn));

void bench_cpu(char *text, size_t cap); /* the processor's name, without commas */

#ifdef __cplusplus
}
#endif
#endif
