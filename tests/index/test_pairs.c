/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs of queries and rows, by query; rows that became no vectors. */
#include "index/pairs.h"

#include "tests/index/fixture.h"

Test(pairs, vectors_of_rows)
{
    const uint64_t skipped[] = {0, 3, 4, 9};
    const uint32_t want[] = {UINT32_MAX, 0, 1, UINT32_MAX, UINT32_MAX, 2, 3, 4, 5, UINT32_MAX, 6};
    vq_good_rows g = {.n = 7, .skipped = skipped, .nskipped = 4}, all = {.n = 11};
    for (uint64_t row = 0; row < 11; row++) {
        cr_assert_eq(vq_vector_of(&g, row), want[row]);
        cr_assert_eq(vq_vector_of(&all, row), row);
    }
}

/* Against the plain way: for each query, its pairs one by one. */
Test(pairs, are_sorted_by_query_and_score)
{
    enum { NQ = 40, ROWS = 50, PAIRS = 700 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    uint64_t query[PAIRS], row[PAIRS], skipped[] = {7, 20};
    float score[PAIRS], of[NQ][ROWS];
    size_t n = 0, listed = 0;
    vq_good_rows g = {.n = ROWS - 2, .skipped = skipped, .nskipped = 2};
    vq_pair_lists l;
    for (size_t i = 0; i < NQ * ROWS; i++) of[i / ROWS][i % ROWS] = NAN;
    while (n < PAIRS) {
        size_t q = (size_t)vq_rng_below(&r, NQ), x = (size_t)vq_rng_below(&r, ROWS);
        if (!isnan(of[q][x]) || q == 0 || q == NQ - 1 || q == 5) continue; /* some have none */
        of[q][x] = (float)vq_rng_below(&r, 9);
        query[n] = q, row[n] = x, score[n++] = of[q][x];
    }
    vq_pairs p = {.n = n, .query = query, .row = row, .score = score};
    OK(vq_pair_lists_make(&l, &p, "test", NQ, &g, &err));
    cr_assert(l.nq == NQ && l.first[0] == 0);
    for (size_t q = 0; q < NQ; q++)
        for (size_t i = l.first[q]; i < l.first[q + 1]; i++, listed++) {
            uint32_t v = l.rows[i], x = v + (v >= 7 ? 1 : 0) + (v >= 19 ? 1 : 0);
            cr_assert(of[q][x] >= l.scores[i] && of[q][x] <= l.scores[i], "query %zu, row %u", q,
                      x);
            if (i == l.first[q]) continue;
            cr_assert(l.scores[i - 1] > l.scores[i] ||
                      (l.scores[i - 1] >= l.scores[i] && l.rows[i - 1] < l.rows[i]));
        }
    for (size_t i = 0; i < PAIRS; i++) n -= row[i] == 7 || row[i] == 20;
    cr_assert_eq(listed, n, "all but those of bad rows");
    vq_pair_lists_fini(&l);
}
