/* SPDX-License-Identifier: Apache-2.0 */
/* Codewords and vectors as bytes: products are as near to the true ones as is said. */
#include "src/train/bytewords.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "tests/harness/harness.h"

enum { K = VQ_BYTEWORDS, ROWS = 37, M = 2 };

typedef struct world {
    size_t d;
    float *books, *norms, *rows, *scores;
    int8_t *small;
    vq_byterow of[ROWS];
    void *memory, *room;
    vq_bytewords bytes;
} world;

/* spread: coordinates differ in size by up to that power. */
static world make(size_t d, float scale, float row_scale, double spread, uint64_t stream)
{
    const vq_kernels *k = vq_kernels_get();
    vq_rng r;
    vq_rng_init(&r, test_seed(), stream);
    world w = {.d = d};
    w.books = vq_alloc_f32(M * K, d), w.norms = vq_alloc_f32(M, K);
    w.rows = vq_alloc_f32(ROWS, d), w.scores = vq_alloc_f32(ROWS, K);
    w.small = guard_end(vq_panel_queries_size(ROWS, d));
    w.memory = guard_end(vq_round_up(vq_bytewords_size(M, d), VQ_CACHELINE));
    w.room = guard_end(vq_round_up(vq_byterow_room(d), sizeof(float)));
    memset(w.small, 0, vq_panel_queries_size(ROWS, d));
    fill_normal(&r, w.books, M * K * d);
    fill_normal(&r, w.rows, ROWS * d);
    for (size_t i = 0; i < M * K * d; i++)
        w.books[i] *= scale * (float)pow(10.0, -spread * (double)(i % d) / (double)d);
    for (size_t i = 0; i < ROWS * d; i++) w.rows[i] *= row_scale;
    memset(w.rows + 3 * d, 0, d * sizeof *w.rows);
    memset(w.books + 7 * d, 0, d * sizeof *w.books);
    for (size_t c = 0; c < M * K; c++) w.norms[c] = (float)k->sq_row_f32(w.books + c * d, d);
    w.bytes = vq_bytewords_place(M, d, w.memory);
    for (size_t j = 0; j < M; j++)
        vq_bytewords_fill(&w.bytes, k, j, w.books + j * K * d, w.norms + j * K);
    for (size_t i = 0; i < ROWS; i++)
        w.of[i] = vq_byterow_put(k, w.small, i, w.rows + i * d, d, w.room);
    return w;
}

static void world_fini(world *w)
{
    vq_mem_free(w->books), vq_mem_free(w->norms), vq_mem_free(w->rows), vq_mem_free(w->scores);
    guard_free(w->small), guard_free(w->memory), guard_free(w->room);
}

static double dot(const float *x, const float *y, size_t d)
{
    double sum = 0.0;
    for (size_t t = 0; t < d; t++) sum += (double)x[t] * (double)y[t];
    return sum;
}

/* What is said are four deviations: a score in ten thousand may lie outside, and none far. */
Test(bytewords, scores_are_within_what_is_said)
{
    size_t all = 0, outside = 0;
    static const size_t dims[] = {1, 2, 7, 8, 9, 31, 64, 100, 231};
    static const float scales[][2] = {{1.0f, 1.0f}, {1e-9f, 1e-3f}, {1e12f, 1e-30f}, {3.0f, 1e9f}};
    for (size_t s = 0; s < VQ_COUNT(dims) * VQ_COUNT(scales); s++) {
        size_t d = dims[s / VQ_COUNT(scales)];
        const float *scale = scales[s % VQ_COUNT(scales)];
        world w = make(d, scale[0], scale[1], s % 3 == 0 ? 3.0 : 0.0, s);
        for (size_t first = 0; first < ROWS; first += VQ_BYTEWORD_ROWS)
            vq_bytewords_dots(&w.bytes, vq_kernels_get(), 1, w.small, w.of, first,
                              VQ_MIN(ROWS - first, (size_t)VQ_BYTEWORD_ROWS), w.scores + first * K);
        for (size_t i = 0; i < ROWS; i++) {
            size_t b = (i * 7) % K;
            float off = vq_bytewords_off(&w.bytes, 1, &w.of[i]);
            const float *own = w.books + (K + b) * d, *pairs = w.bytes.pairs + (K + b) * K;
            cr_assert(isfinite(off));
            for (size_t c = 0; c < K; c++) {
                const float *word = w.books + (K + c) * d;
                double want =
                    dot(w.rows + i * d, word, d) + dot(own, word, d) - 0.5 * (double)w.norms[K + c];
                double got = (double)(w.scores[i * K + c] + pairs[c]);
                cr_assert_leq(fabs(got - want), 1.5 * (double)off, "d %zu, row %zu, codeword %zu",
                              d, i, c);
                outside += fabs(got - want) > (double)off;
                all++;
            }
        }
        world_fini(&w);
    }
    cr_assert(outside * 10000 <= all, "%zu of %zu", outside, all);
}

Test(bytewords, the_bound_is_a_small_part_of_the_lengths)
{
    world w = make(200, 1.0f, 1.0f, 2.0, 99);
    for (size_t i = 0; i < ROWS; i++)
        cr_assert_leq(vq_bytewords_off(&w.bytes, 0, &w.of[i]),
                      0.006f * w.bytes.books[0].length * (w.of[i].length + 1.0f));
    world_fini(&w);
}

Test(bytewords, lengths_beyond_floats_say_so)
{
    world far = make(20, 1e19f, 1.0f, 0.0, 5), tiny = make(20, 1e-15f, 1.0f, 0.0, 6);
    world w = make(20, 1.0f, 1e19f, 0.0, 7), zero = make(20, 0.0f, 1.0f, 0.0, 8);
    cr_assert_eq(vq_bytewords_off(&far.bytes, 0, &far.of[0]), INFINITY);
    cr_assert_eq(vq_bytewords_off(&tiny.bytes, 0, &tiny.of[0]), INFINITY);
    cr_assert_eq(vq_bytewords_off(&w.bytes, 0, &w.of[0]), INFINITY);
    cr_assert_eq(vq_bytewords_off(&zero.bytes, 0, &zero.of[0]), 0.0f);
    cr_assert_eq(vq_gemm_off(20, NAN, 1.0f), INFINITY);
    world_fini(&far), world_fini(&tiny), world_fini(&w), world_fini(&zero);
}

Test(bytewords, sizes)
{
    cr_assert_eq(vq_bytewords_size(SIZE_MAX / 1000, 100), SIZE_MAX);
    cr_assert_eq(vq_bytewords_size(1, 1 << 20), SIZE_MAX, "codewords too long to be worth it");
    cr_assert_lt(vq_bytewords_size(32, 231), (size_t)11 << 20);
}
