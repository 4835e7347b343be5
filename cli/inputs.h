/* SPDX-License-Identifier: Apache-2.0 */
/* inputs.h -- what search, eval and get read: several indexes as one, query vectors, query ids. */
#ifndef VQ_CLI_INPUTS_H
#define VQ_CLI_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/io/ids.h"
#include "vq/vq.h"

typedef struct index_set {
    size_t count;
    vq_index **ix; /* count, owned */
    vq_info first; /* of the first index; the others agree in d, metric and kind of id */
    uint64_t n, file_bytes, rows_bytes; /* sums */
    uint32_t nlist_max;
    double codes_bytes; /* sum of (n + copies) * code_bytes */
} index_set;

/* Each returns an exit code and has told what went wrong; _close accepts what _open left. */
int index_set_open(index_set *set, char **paths, int count);
typedef struct effort { /* what --recall, --nprobe and so on say; 0: nothing */
    double recall;      /* RECALL_NOT_GIVEN until effort_check */
    uint32_t nprobe, rerank;
    double bars;
    int latency; /* each query on all threads */
    int codes_in_memory;
} effort;
#define RECALL_NOT_GIVEN (-1.0)
/* Makes what was not given 0.  The exit code of what makes no sense, or CLI_DONE. */
int effort_check(effort *e);
int index_set_searcher(const index_set *set, vq_searcher **out, const effort *e, uint32_t threads);
void index_set_close(index_set *set);

typedef struct queries {
    const char *path; /* borrowed */
    vq_source *src;
    uint32_t d;
    uint64_t n;   /* UINT64_MAX: not known before the end */
    float *rows;  /* n x d after queries_load, else NULL */
    vq_ids names; /* query ids, if named */
    bool named;
} queries;

/* ids: a file of query ids, or NULL.  d: what the index has, or 0 for any. */
int queries_open(queries *q, const char *path, const char *ids, uint32_t d);
int queries_load(queries *q); /* all rows into memory, n is known then; at least one */
/* The id of query i as text: from the file, or the row number, written to room. */
const char *queries_id(const queries *q, uint64_t i, char room[24]);
void queries_close(queries *q);

#endif
