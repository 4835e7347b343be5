/* SPDX-License-Identifier: Apache-2.0 */
/* Additive codebooks: against a naive round, and what rounds and sweeps promise of the error. */
#include "src/train/additive.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/train/pq.h"
#include "tests/harness/harness.h"

enum { K = VQ_AQ_WORDS };

/* Rows, product codebooks of them, and additive ones started from these. */
typedef struct world {
    size_t n, m, dsub, d;
    float *x, *pq, *pq_norms, *books, *norms;
    uint8_t *codes;
} world;

/* rows whose coordinates depend on each other: a few hidden causes */
static float *causes(vq_rng *r, size_t n, size_t d, size_t hidden)
{
    float *x = vq_alloc_f32(n, d), *mix = vq_alloc_f32(hidden, d);
    fill_normal(r, mix, hidden * d);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) x[i * d + j] = 0.1f * (float)vq_rng_normal(r);
        for (size_t h = 0; h < hidden; h++) {
            float z = (float)vq_rng_normal(r);
            for (size_t j = 0; j < d; j++) x[i * d + j] += z * mix[h * d + j];
        }
    }
    vq_mem_free(mix);
    return x;
}

static world make(uint64_t stream, size_t n, size_t m, size_t dsub)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), stream);
    world w = {.n = n, .m = m, .dsub = dsub, .d = m * dsub};
    w.x = causes(&r, n, w.d, w.d / 2 + 1);
    w.pq = vq_alloc_f32(w.d, K);
    w.pq_norms = vq_alloc_f32(m, K);
    w.books = vq_alloc_f32(m * K, w.d);
    w.norms = vq_alloc_f32(m, K);
    w.codes = vq_mem_alloc(n, m);
    cr_assert_eq(vq_pq_train(w.x, n, m, dsub, K, 8, 0, 7, 2, NULL, w.pq, w.pq_norms, NULL, NULL),
                 VQ_OK);
    vq_pq_encode(vq_kernels_get(), w.x, n, m, dsub, K, w.pq, w.pq_norms, w.codes);
    vq_aq_widen(w.pq, m, dsub, w.books);
    return w;
}

static void world_fini(world *w)
{
    vq_mem_free(w->x);
    vq_mem_free(w->pq);
    vq_mem_free(w->pq_norms);
    vq_mem_free(w->books);
    vq_mem_free(w->norms);
    vq_mem_free(w->codes);
}

static vq_status train(world *w, unsigned rounds, int threads, double *mse)
{
    vq_status rc =
        vq_aq_train(w->x, w->n, w->d, w->m, rounds, threads, NULL, w->books, w->codes, mse, NULL);
    vq_aq_norms(w->books, w->m, w->d, w->norms);
    return rc;
}

static double error_of_row(const world *w, size_t i, const uint8_t *code)
{
    double error = 0.0;
    for (size_t t = 0; t < w->d; t++) {
        double e = (double)w->x[i * w->d + t];
        for (size_t j = 0; j < w->m; j++) e -= (double)w->books[(j * K + code[j]) * w->d + t];
        error += e * e;
    }
    return error;
}

static double error_of(const world *w, const uint8_t *codes)
{
    double sum = 0.0;
    for (size_t i = 0; i < w->n; i++) sum += error_of_row(w, i, codes + i * w->m);
    return sum / (double)w->n;
}

/* bytes: the books as bytes, or NULL */
static void encode_by(const world *w, const vq_kernels *k, const vq_bytewords *bytes, size_t first,
                      size_t n, unsigned sweeps, uint8_t *codes)
{
    float *scratch = guard_end(vq_aq_scratch(n, w->d) * sizeof *scratch);
    vq_modes b = {k, w->m, w->d, w->books, w->norms, bytes};
    vq_aq_encode(&b, w->x + first * w->d, n, w->pq, w->pq_norms, sweeps, scratch, codes);
    guard_free(scratch);
}

static void encode(const world *w, size_t first, size_t n, unsigned sweeps, uint8_t *codes)
{
    encode_by(w, vq_kernels_get(), NULL, first, n, sweeps, codes);
}

Test(additive, widened_books_decode_to_the_product_code)
{
    world w = make(1, 300, 3, 5);
    float *xh = vq_alloc_f32(w.n, w.d);
    vq_aq_decode(w.books, w.d, w.m, w.codes, w.n, xh);
    for (size_t i = 0; i < w.n; i++)
        for (size_t t = 0; t < w.d; t++)
            cr_assert_eq(xh[i * w.d + t], w.pq[t * K + w.codes[i * w.m + t / w.dsub]]);
    vq_aq_norms(w.books, w.m, w.d, w.norms);
    for (size_t c = 0; c < w.m * K; c++)
        cr_assert_float_eq(w.norms[c], w.pq_norms[c], 1e-5f * w.pq_norms[c] + 1e-9f);
    vq_mem_free(xh);
    world_fini(&w);
}

Test(additive, decoding_sums_the_codewords)
{
    world w = make(2, 700, 4, 3);
    cr_assert_eq(train(&w, 2, 2, NULL), VQ_OK);
    float *xh = vq_alloc_f32(w.n, w.d);
    vq_aq_decode(w.books, w.d, w.m, w.codes, w.n, xh);
    for (size_t i = 0; i < w.n; i++)
        for (size_t t = 0; t < w.d; t++) {
            double sum = 0.0;
            for (size_t j = 0; j < w.m; j++)
                sum += (double)w.books[(j * K + w.codes[i * w.m + j]) * w.d + t];
            cr_assert_float_eq(xh[i * w.d + t], sum, 1e-5);
        }
    vq_mem_free(xh);
    world_fini(&w);
}

/* A codeword's mean of x less the other books' codewords. */
static void naive_means(world *w, size_t j)
{
    double *sum = vq_mem_calloc(K * w->d, sizeof *sum);
    size_t count[K] = {0};
    for (size_t i = 0; i < w->n; i++) {
        const uint8_t *code = w->codes + i * w->m;
        count[code[j]]++;
        for (size_t t = 0; t < w->d; t++) {
            double e = (double)w->x[i * w->d + t];
            for (size_t o = 0; o < w->m; o++)
                if (o != j) e -= (double)w->books[(o * K + code[o]) * w->d + t];
            sum[code[j] * w->d + t] += e;
        }
    }
    for (size_t c = 0; c < K; c++)
        for (size_t t = 0; t < w->d && count[c] > 0; t++)
            w->books[(j * K + c) * w->d + t] = (float)(sum[c * w->d + t] / (double)count[c]);
    vq_mem_free(sum);
}

Test(additive, a_round_is_the_naive_one)
{
    world w = make(3, 600, 3, 4), v = make(3, 600, 3, 4);
    cr_assert_eq(train(&w, 1, 2, NULL), VQ_OK);
    for (int s = 0; s < 2; s++)
        for (size_t j = 0; j < v.m; j++) naive_means(&v, j);
    for (size_t c = 0; c < v.m * K * v.d; c++) cr_assert_float_eq(w.books[c], v.books[c], 1e-4);
    size_t moved = 0;
    for (size_t i = 0; i < v.n; i++) {
        uint8_t *code = v.codes + i * v.m;
        for (size_t j = 0; j < v.m; j++) {
            uint8_t best = code[j];
            double least = error_of_row(&v, i, code);
            for (size_t c = 0; c < K; c++) {
                code[j] = (uint8_t)c;
                double error = error_of_row(&v, i, code);
                if (error < least) least = error, best = (uint8_t)c;
            }
            code[j] = best;
        }
        moved += memcmp(code, w.codes + i * w.m, w.m) != 0;
    }
    cr_assert_lt(moved, v.n / 100, "%zu of %zu codes differ", moved, v.n); /* near-ties */
    world_fini(&w), world_fini(&v);
}

Test(additive, the_error_falls_well_below_that_of_product_codes)
{
    static const size_t shapes[][2] = {{2, 12}, {4, 6}, {8, 3}, {1, 24}};
    for (size_t s = 0; s < VQ_COUNT(shapes); s++) {
        enum { ROUNDS = 6 };
        world w = make(4, 6000, shapes[s][0], shapes[s][1]);
        double mse[ROUNDS + 1], start = error_of(&w, w.codes);
        cr_assert_eq(train(&w, ROUNDS, 2, mse), VQ_OK);
        cr_assert_float_eq(mse[0], start, 1e-5 * start);
        double end = error_of(&w, w.codes);
        cr_assert_float_eq(mse[ROUNDS], end, 1e-5 * end);
        for (int r = 0; r < ROUNDS; r++)
            cr_assert(mse[r + 1] <= mse[r] * (1.0 + 1e-6), "m %zu: %g, then %g", w.m, mse[r],
                      mse[r + 1]);
        if (w.m > 1) cr_assert_lt(mse[ROUNDS], 0.9 * start, "m %zu", w.m);
        world_fini(&w);
    }
}

Test(additive, sweeps_only_lower_the_error)
{
    world w = make(5, 3000, 6, 4);
    uint8_t *start = vq_mem_alloc(w.n, w.m), *codes = vq_mem_alloc(w.n, w.m);
    cr_assert_eq(train(&w, 4, 2, NULL), VQ_OK);
    encode(&w, 0, w.n, 0, start);
    vq_pq_encode(vq_kernels_get(), w.x, w.n, w.m, w.dsub, K, w.pq, w.pq_norms, codes);
    cr_assert_arr_eq(start, codes, w.n * w.m);
    double before = error_of(&w, start);
    for (unsigned sweeps = 1; sweeps <= 4; sweeps++) {
        encode(&w, 0, w.n, sweeps, codes);
        for (size_t i = 0; i < w.n; i++) {
            double was = error_of_row(&w, i, start + i * w.m);
            cr_assert_leq(error_of_row(&w, i, codes + i * w.m), was * (1.0 + 1e-4) + 1e-5);
        }
        double now = error_of(&w, codes);
        cr_assert_leq(now, before * (sweeps == 1 ? 0.999 : 1.0 + 1e-6), "sweep %u", sweeps);
        before = now;
        memcpy(start, codes, w.n * w.m);
    }
    /* Settled vectors drop out one by one: who is left does not matter. */
    encode(&w, 0, w.n, 100, start);
    for (size_t i = 0; i < 50; i++) {
        encode(&w, i, 1, 100, codes);
        cr_assert_float_eq(error_of_row(&w, i, codes), error_of_row(&w, i, start + i * w.m), 1e-4);
    }
    vq_mem_free(start), vq_mem_free(codes);
    world_fini(&w);
}

Test(additive, bits_do_not_depend_on_threads)
{
    world a = make(6, 1500, 5, 3);
    double ea[4], eb[4];
    cr_assert_eq(train(&a, 3, 1, ea), VQ_OK);
    for (int threads = 2; threads < 9; threads += 3) {
        world b = make(6, 1500, 5, 3);
        cr_assert_eq(train(&b, 3, threads, eb), VQ_OK);
        cr_assert_arr_eq(a.books, b.books, a.m * K * a.d * sizeof *a.books);
        cr_assert_arr_eq(a.codes, b.codes, a.n * a.m);
        cr_assert_eq(memcmp(ea, eb, sizeof ea), 0);
        world_fini(&b);
    }
    world_fini(&a);
}

/* Bytes or floats, many vectors or one, any level of instructions: the same codes. */
Test(additive, integers_choose_what_floats_choose)
{
    static const size_t shapes[][2] = {{3, 5}, {4, 8}, {2, 33}, {7, 9}, {1, 6}, {5, 1}};
    static const float scales[] = {1.0f, 1e-12f, 3e15f};
    for (size_t s = 0; s < VQ_COUNT(shapes) * VQ_COUNT(scales); s++) {
        world w = make(10, 700, shapes[s / 3][0], shapes[s / 3][1]);
        float scale = scales[s % 3];
        cr_assert_eq(train(&w, 2, 2, NULL), VQ_OK);
        for (size_t i = 0; i < w.n * w.d; i++) w.x[i] *= scale;
        for (size_t i = 0; i < w.m * K * w.d; i++) w.books[i] *= scale;
        for (size_t i = 0; i < w.d * K; i++) w.pq[i] *= scale;
        memset(w.x + 5 * w.d, 0, 3 * w.d * sizeof *w.x); /* some are zero, or far away */
        for (size_t t = 0; t < w.d; t++) w.x[9 * w.d + t] *= 1e4f, w.x[10 * w.d + t] *= 1e-9f;
        vq_pq_norms(w.pq, w.m, w.dsub, K, w.pq_norms);
        vq_aq_norms(w.books, w.m, w.d, w.norms);
        void *memory = guard_end(vq_round_up(vq_bytewords_size(w.m, w.d), VQ_CACHELINE));
        vq_bytewords bytes = vq_bytewords_place(w.m, w.d, memory);
        for (size_t j = 0; j < w.m; j++)
            vq_bytewords_fill(&bytes, vq_kernels_get(), j, w.books + j * K * w.d, w.norms + j * K);
        uint8_t *codes = vq_mem_alloc(w.n, w.m);
        encode(&w, 0, w.n, 4, w.codes);
        for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
            const vq_kernels *k = vq_kernels_named(*name);
            if (k == NULL) continue;
            encode_by(&w, k, &bytes, 0, w.n, 4, codes);
            cr_assert_arr_eq(codes, w.codes, w.n * w.m, "%s, m %zu, d %zu, scale %g", k->isa, w.m,
                             w.d, (double)scale);
        }
        for (size_t i = 0; i < 40; i++) {
            encode_by(&w, vq_kernels_get(), i % 2 == 0 ? &bytes : NULL, i, 1, 4, codes);
            cr_assert_arr_eq(codes, w.codes + i * w.m, w.m);
        }
        vq_mem_free(codes);
        guard_free(memory);
        world_fini(&w);
    }
}

/* Lengths that floats cannot square: no codeword is better, and none is chosen. */
Test(additive, lengths_beyond_floats_are_no_trouble)
{
    world w = make(11, 300, 2, 3);
    cr_assert_eq(train(&w, 1, 1, NULL), VQ_OK);
    for (size_t i = 0; i < w.m * K * w.d; i++) w.books[i] *= 1e30f;
    vq_aq_norms(w.books, w.m, w.d, w.norms);
    void *memory = guard_end(vq_round_up(vq_bytewords_size(w.m, w.d), VQ_CACHELINE));
    vq_bytewords bytes = vq_bytewords_place(w.m, w.d, memory);
    for (size_t j = 0; j < w.m; j++)
        vq_bytewords_fill(&bytes, vq_kernels_get(), j, w.books + j * K * w.d, w.norms + j * K);
    uint8_t *codes = vq_mem_alloc(w.n, w.m);
    encode(&w, 0, w.n, 2, w.codes);
    encode_by(&w, vq_kernels_get(), &bytes, 0, w.n, 2, codes);
    cr_assert_arr_eq(codes, w.codes, w.n * w.m);
    vq_mem_free(codes);
    guard_free(memory);
    world_fini(&w);
}

Test(additive, fewer_rows_than_codewords)
{
    for (size_t n = 1; n < 256; n += 51) {
        world w = make(n, n, 3, 2);
        double mse[3];
        cr_assert_eq(train(&w, 2, 2, mse), VQ_OK);
        for (int r = 0; r < 3; r++) cr_assert_lt(mse[r], 1e-6);
        encode(&w, 0, n, 3, w.codes);
        cr_assert_lt(error_of(&w, w.codes), 1e-6);
        for (size_t c = 0; c < w.m * K * w.d; c++) cr_assert(isfinite(w.books[c]));
        world_fini(&w);
    }
}

/* All vectors have codeword 0 of both books. */
Test(additive, codewords_that_nobody_uses_stay)
{
    enum { N = 40, D = 4 };
    float x[N * D], *books = vq_alloc_f32(2 * K, D), *was = vq_alloc_f32(2 * K, D);
    uint8_t codes[N * 2] = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 7);
    fill_normal(&r, x, N * D);
    for (size_t i = 0; i < 2 * K * D; i++) books[i] = 1e6f + (float)i; /* too far to be chosen */
    memcpy(was, books, 2 * K * D * sizeof *was);
    cr_assert_eq(vq_aq_train(x, N, D, 2, 1, 1, NULL, books, codes, NULL, NULL), VQ_OK);
    cr_assert(memcmp(books, was, D * sizeof *was) != 0); /* the other may be right as it was */
    for (size_t c = 0; c < 2 * K; c++)
        cr_assert(c % K == 0 || memcmp(books + c * D, was + c * D, D * sizeof *was) == 0, "%zu", c);
    vq_mem_free(books), vq_mem_free(was);
}

static int stop_later(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase, (void)total;
    *(uint64_t *)ctx = done;
    return done == 1;
}

Test(additive, refuses_and_stops)
{
    world w = make(8, 300, 2, 2);
    uint64_t seen = 99;
    vq_ticker t = {.fn = stop_later, .ctx = &seen};
    cr_assert_eq(vq_aq_train(w.x, 0, 4, 2, 1, 1, NULL, w.books, w.codes, NULL, NULL), VQ_EINVAL);
    cr_assert_eq(vq_aq_train(w.x, 9, 4, 0, 1, 1, NULL, w.books, w.codes, NULL, NULL), VQ_EINVAL);
    cr_assert_eq(vq_aq_train(w.x, 300, 4, 2, 1, 1, &t, w.books, w.codes, NULL, NULL), VQ_ECANCELED);
    cr_assert_eq(seen, 1u);
    world_fini(&w);
}

Test(additive, survives_failing_allocations)
{
    world w = make(9, 300, 2, 2);
    vq_status rc = VQ_ENOMEM;
    uint64_t failures = 0;
    while (rc != VQ_OK) {
        vq_error err = {0};
        vq_mem_fail_after(failures + 1);
        rc = vq_aq_train(w.x, w.n, w.d, w.m, 1, 2, NULL, w.books, w.codes, NULL, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.text[0] != 0));
        failures += rc != VQ_OK;
    }
    cr_assert_eq(failures, 9u);
    world_fini(&w);
}
