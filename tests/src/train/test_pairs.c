/* SPDX-License-Identifier: Apache-2.0 */
/* The order of codewords: the same ones, near ones side by side. */
#include "src/train/pairs.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

enum { KK = 256 };

static double between(const float *book, size_t dsub, size_t kk, size_t a, size_t b)
{
    double sq = 0.0;
    for (size_t t = 0; t < dsub; t++)
        sq += pow((double)book[t * kk + a] - (double)book[t * kk + b], 2.0);
    return sqrt(sq);
}

static double of_pairs(const float *book, size_t dsub, size_t kk)
{
    double sum = 0.0;
    for (size_t c = 0; c < kk; c += 2) sum += between(book, dsub, kk, c, c + 1);
    return sum / (double)(kk / 2);
}

static size_t equal_to(const float *book, const float *other, size_t dsub, size_t kk, size_t c)
{
    size_t n = 0;
    for (size_t a = 0; a < kk; a++) {
        size_t same = 0;
        for (size_t t = 0; t < dsub; t++) same += book[t * kk + a] == other[t * kk + c];
        n += same == dsub;
    }
    return n;
}

Test(pairs, all_codewords_stay_and_near_ones_meet)
{
    static const size_t dsubs[] = {1, 2, 7, 24};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    vq_error err = {0};
    for (size_t i = 0; i < VQ_COUNT(dsubs); i++) {
        size_t d = dsubs[i], floats = d * KK;
        float *books = vq_alloc_f32(3, floats), *was = vq_alloc_f32(3, floats);
        fill_normal(&r, books, 3 * floats);
        memcpy(was, books, 3 * floats * sizeof *was);
        cr_assert_eq(vq_pairs_order(books, 3, d, KK, 2, &err), VQ_OK);
        for (size_t j = 0; j < 3; j++) {
            const float *book = books + j * floats, *old = was + j * floats;
            double nearest = 0.0;
            for (size_t c = 0; c < KK; c++) {
                double least = INFINITY;
                for (size_t o = 0; o < KK; o++)
                    if (o != c) least = fmin(least, between(book, d, KK, c, o));
                nearest += least / KK;
                cr_assert(equal_to(book, old, d, KK, c) == equal_to(old, old, d, KK, c));
            }
            /* No pairs are nearer than the nearest; these are not much farther. */
            double got = of_pairs(book, d, KK);
            cr_assert(got < 0.9 * of_pairs(old, d, KK) && (d < 2 || got < 1.6 * nearest),
                      "d %zu: %g, at first %g, at best %g", d, got, of_pairs(old, d, KK), nearest);
        }
        vq_mem_free(books);
        vq_mem_free(was);
    }
}

/* On a line, in any order: neighbours, as the best pairs are. */
Test(pairs, on_a_line)
{
    float book[8] = {70, 1, 31, 0, 72, 30, 11, 10};
    vq_error err = {0};
    cr_assert_eq(vq_pairs_order(book, 1, 1, 8, 1, &err), VQ_OK);
    for (size_t c = 0; c < 8; c += 2)
        cr_assert(fabsf(book[c] - book[c + 1]) <= 2.0f, "%g and %g", (double)book[c],
                  (double)book[c + 1]);
}

Test(pairs, equal_codewords_and_no_memory)
{
    float book[2 * KK];
    vq_error err = {0};
    for (size_t c = 0; c < 2 * KK; c++) book[c] = (float)(c % 4);
    cr_assert_eq(vq_pairs_order(book, 1, 2, KK, 2, &err), VQ_OK);
    cr_assert_eq(of_pairs(book, 2, KK), 0.0);
    vq_mem_fail_after(1);
    cr_assert_eq(vq_pairs_order(book, 1, 2, KK, 2, &err), VQ_ENOMEM);
    vq_mem_fail_after(0);
}
