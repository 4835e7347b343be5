/* SPDX-License-Identifier: Apache-2.0 */
/* quality.h -- vq_quality: how much of the exact ranking the codes keep, by method and by bytes a
 * vector, on queries that no build has seen.
 *
 * A cell is a method at a number of bytes.  Each of its seeds gives an index, and each index is
 * searched in four settings: all lists, or as few as hold HELD of the true ten; by the codes alone,
 * or with RERANK candidates scored by their full rows.  What is kept is a figure a query, so that
 * methods can be compared query by query.
 *
 * Builds and searches run in child processes: each starts with fresh memory, whose peak is its own,
 * and the parent, which never starts a thread, may fork at any time. */
#ifndef VQ_BENCH_MACRO_QUALITY_H
#define VQ_BENCH_MACRO_QUALITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

#define QUALITY_HELD 0.98 /* share of the true ten in the lists that "ivf" reads */

enum { QUALITY_K = 10, QUALITY_RERANK = 100, QUALITY_RESAMPLES = 10000 };

typedef enum quality_figure {                   /* of one query */
                              FIGURE_MRR,       /* 1 / rank of the first relevant in the top 10 */
                              FIGURE_10_OF_10,  /* share of the true ten in the first ten.. */
                              FIGURE_10_OF_100, /* ..and in the first hundred */
                              FIGURES
} quality_figure;

typedef struct quality_setting {
    const char *name, *title;
    bool ivf, rerank;
} quality_setting;
enum { SETTINGS = 4 };
extern const quality_setting quality_settings[SETTINGS];
extern const char *const quality_figures[FIGURES];

typedef struct quality_method {
    const char *name, *codec;
    uint32_t rotation, train; /* VQ_ROTATION_*, VQ_TRAIN_* */
    uint32_t nlist;           /* 0: as the data's */
} quality_method;

typedef struct quality_data {
    const char *name, *base, *queries_path, *gt, *qrels, *ids, *query_ids, *work;
    const char **train; /* ntrain files of training queries, owned */
    size_t ntrain;
    uint32_t metric, d, threads;
    uint32_t nlist; /* of every index; 0: as many as its build chooses */
    size_t n, nq;
    float *queries;   /* nq x d: no build sees them; owned */
    uint64_t *truth;  /* nq x QUALITY_K rows, owned */
    size_t *first;    /* judgements of query i: first[i] .. first[i + 1] - 1; NULL without.. */
    uint64_t *docs;   /* ..qrels; rows, VQ_NO_ID for what the base lacks */
    int32_t *grades;  /* owned, all three */
    double exact_mrr; /* of exact search; NaN without judgements */
} quality_data;

typedef struct quality_index { /* one seed of a cell */
    uint64_t seed;
    uint32_t code_bytes, nlist;
    double build_s, build_mb; /* until the file is written; peak resident memory */
    uint32_t nprobe[SETTINGS];
    double us[SETTINGS];              /* a query of k = 10, wall clock, in a batch */
    double figure[SETTINGS][FIGURES]; /* means over queries; NaN: none has it */
} quality_index;

typedef struct quality_cell {
    const quality_method *method;
    uint32_t bytes;       /* asked for */
    char note[508];       /* why there are no seeds; else empty */
    quality_index *seeds; /* nseeds, owned */
    size_t nseeds;
    double *sum[SETTINGS][FIGURES]; /* nq: figures of a query, summed over seeds; owned */
} quality_cell;

typedef struct quality_table {
    const quality_data *data;
    quality_cell *cells; /* ncells, owned; by bytes, then in the order of the methods */
    size_t ncells, seeds;
    const char *commit;
    const char *against; /* the method that all others are compared with */
} quality_table;

/* ---- quality_data.c: the program ends with a message if a file is not what it should be ---- */

/* Reads what the paths name; exact search fills the truth if there is no gt. */
void quality_data_open(quality_data *data);
void quality_data_close(quality_data *data);
/* The figures of ranked answers (nq x k, k 10 or 100) of each query, where depth k tells them. */
void quality_judge(const quality_data *data, const uint64_t *ids, uint32_t k,
                   double *const figures[FIGURES]);
double quality_mean(const double *x, size_t n); /* of all but NaN */

/* ---- quality_run.c ---- */

typedef vq_status (*quality_job)(void *ctx, vq_error *err);
/* Runs job in a child process: what it leaves must lie in memory from quality_shared.  peak_mb, if
 * not NULL: the most memory that was resident, pages of mapped files included. */
vq_status quality_in_child(quality_job job, void *ctx, double *peak_mb, vq_error *err);
void *quality_shared(size_t bytes); /* zeroed, for the parent and its children */
void quality_shared_free(void *block, size_t bytes);
/* Builds one index of the cell, measures it, adds it to the cell's seeds. */
vq_status quality_measure(const quality_data *data, quality_cell *cell, uint64_t seed,
                          vq_error *err);

/* ---- quality_table.c, quality_plot.c: files are replaced; NULL: none is wanted ---- */

typedef struct quality_range {
    double mean, low, high; /* over seeds */
} quality_range;
quality_range quality_range_of(const quality_cell *cell, size_t setting, quality_figure figure);
const char *quality_grouped(size_t x, char text[32]); /* 101241 as 101,241 */
void quality_write_csv(const quality_table *t, const char *path);
/* One row a cell, setting and figure: the range, and the difference to `against` of as many
 * bytes; the same as tables of Markdown. */
vq_status quality_write_summary(const quality_table *t, const char *csv, const char *markdown,
                                vq_error *err);
vq_status quality_draw(const quality_table *t, const char *svg, vq_error *err);

#endif
