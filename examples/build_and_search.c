/* SPDX-License-Identifier: Apache-2.0 */
/* build_and_search.c -- an index of vectors in memory, and the nearest of a few queries.
 *
 *     cc build_and_search.c $(pkg-config --cflags --libs vq) -o build_and_search
 *     ./build_and_search points.vq
 */
#include <stdio.h>
#include <stdlib.h>

#include <vq/vq.h>

enum { N = 2000, D = 16, K = 3 };

/* Points on a spiral: row i lies between its neighbours i - 1 and i + 1. */
static void fill(float *rows, uint64_t *ids)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < D; j++) rows[i * D + j] = (float)((i * (j + 1)) % N) / (float)N;
        ids[i] = 1000 + (uint64_t)i;
    }
}

static vq_status build(const char *path, const float *rows, const uint64_t *ids, vq_error *err)
{
    vq_source *source = NULL;
    vq_status rc = vq_source_open_array(&source, rows, N, D, VQ_F32, err);
    if (rc != VQ_OK) return rc;

    vq_build_opts opts = VQ_BUILD_OPTS_INIT; /* what is not named here is chosen from the data */
    opts.metric = VQ_METRIC_L2;
    opts.ids = ids;
    opts.nids = N;
    opts.force = 1;
    rc = vq_build(path, source, &opts, err);
    vq_source_close(source);
    return rc;
}

static vq_status search(const char *path, const float *queries, size_t nq, vq_error *err)
{
    vq_index *index = NULL;
    vq_searcher *searcher = NULL;
    uint64_t *ids = calloc(nq * K, sizeof *ids);
    float *scores = calloc(nq * K, sizeof *scores);
    vq_status rc = VQ_ENOMEM;
    if (ids == NULL || scores == NULL) goto out;

    if ((rc = vq_open(&index, path, 0, err)) != VQ_OK) goto out;
    if ((rc = vq_searcher_open(&searcher, index, NULL, err)) != VQ_OK) goto out;
    if ((rc = vq_search(searcher, queries, nq, K, ids, scores, err)) != VQ_OK) goto out;
    for (size_t i = 0; i < nq; i++) {
        printf("query %zu:", i);
        for (size_t r = 0; r < K; r++)
            printf("  %llu (%.4f)", (unsigned long long)ids[i * K + r], (double)scores[i * K + r]);
        printf("\n");
    }
out:
    vq_searcher_close(searcher); /* closing NULL is allowed */
    vq_close(index);
    free(scores);
    free(ids);
    return rc;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "points.vq";
    static float rows[N * D];
    static uint64_t ids[N];
    vq_error err = {.text = "out of memory"};

    fill(rows, ids);
    vq_status rc = build(path, rows, ids, &err);
    if (rc == VQ_OK) rc = search(path, rows + 500 * D, 2, &err); /* rows 500 and 501 as queries */
    if (rc == VQ_OK) return 0;
    fprintf(stderr, "%s: %s\n", vq_strerror(rc), err.text);
    return 1;
}
