/* SPDX-License-Identifier: Apache-2.0 */
/* pairs.c -- see pairs.h. */
#include "index/pairs.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

int vq_rows_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t vq_vector_of(const vq_good_rows *g, uint64_t row)
{
    size_t low = 0, high = g->nskipped;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (g->skipped[mid] == row) return UINT32_MAX;
        if (g->skipped[mid] < row)
            low = mid + 1;
        else
            high = mid;
    }
    return (uint32_t)(row - low);
}

typedef struct entry {
    uint32_t query, row;
    float score;
} entry;

static int by_row(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = (x->query > y->query) - (x->query < y->query);
    return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

static int by_score(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = (x->query > y->query) - (x->query < y->query);
    if (order == 0) order = (x->score < y->score) - (x->score > y->score);
    return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

/* The pairs with good rows, sorted by query and falling score. */
static vq_status sort_pairs(const vq_pairs *p, const char *what, size_t nq,
                            const vq_good_rows *good, entry *out, size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t rows = good->n + good->nskipped;
    *n = 0;
    for (uint64_t i = 0; i < p->n; i++) {
        VQ_REQUIRE(p->query[i] < nq, VQ_EINVAL,
                   "%s: pair %" PRIu64 " is about query %" PRIu64 "; there are %zu, from 0", what,
                   i, p->query[i], nq);
        VQ_REQUIRE(p->row[i] < rows, VQ_EINVAL,
                   "%s: pair %" PRIu64 " is about row %" PRIu64 "; there are %" PRIu64 ", from 0",
                   what, i, p->row[i], rows);
        float score = p->score != NULL ? p->score[i] : 0.0f;
        VQ_REQUIRE(isfinite(score), VQ_EINVAL, "%s: the score of pair %" PRIu64 " is not finite",
                   what, i);
        uint32_t row = vq_vector_of(good, p->row[i]);
        if (row != UINT32_MAX) out[(*n)++] = (entry){(uint32_t)p->query[i], row, score};
    }
    if (*n > 1) qsort(out, *n, sizeof *out, by_row);
    for (size_t i = 1; i < *n; i++)
        VQ_REQUIRE(by_row(&out[i - 1], &out[i]) != 0, VQ_EINVAL,
                   "%s: query %u and the vector %u stand there twice", what, out[i].query,
                   out[i].row);
    if (*n > 1) qsort(out, *n, sizeof *out, by_score);
out:
    return rc;
}

vq_status vq_pair_lists_make(vq_pair_lists *l, const vq_pairs *pairs, const char *what, size_t nq,
                             const vq_good_rows *good, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = (size_t)pairs->n;
    entry *sorted = NULL;
    *l = (vq_pair_lists){.nq = nq};
    VQ_REQUIRE(pairs->n == 0 || (pairs->query != NULL && pairs->row != NULL), VQ_EINVAL,
               "%s: queries and rows are needed", what);
    VQ_REQUIRE(pairs->n <= SIZE_MAX / sizeof *sorted, VQ_ENOMEM, "%s: %" PRIu64 " pairs", what,
               pairs->n);
    sorted = vq_mem_alloc(n, sizeof *sorted);
    l->first = vq_mem_calloc(nq + 1, sizeof *l->first);
    l->rows = vq_mem_alloc(n, sizeof *l->rows);
    l->scores = vq_alloc_f32(n, 1);
    VQ_REQUIRE(sorted != NULL && l->first != NULL && l->rows != NULL && l->scores != NULL,
               VQ_ENOMEM, "%s: %zu pairs", what, n);
    VQ_TRY(sort_pairs(pairs, what, nq, good, sorted, &n, err));
    for (size_t i = 0; i < n; i++) {
        l->first[sorted[i].query + 1] = i + 1;
        l->rows[i] = sorted[i].row;
        l->scores[i] = sorted[i].score;
    }
    for (size_t q = 0; q < nq; q++) l->first[q + 1] = VQ_MAX(l->first[q + 1], l->first[q]);
out:
    vq_mem_free(sorted);
    return rc;
}

void vq_pair_lists_fini(vq_pair_lists *l)
{
    vq_mem_free(l->first);
    vq_mem_free(l->rows);
    vq_mem_free(l->scores);
    memset(l, 0, sizeof *l);
}
