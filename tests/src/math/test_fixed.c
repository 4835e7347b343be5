/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors and matrices of integers: how near they are, and that sums cannot overflow. */
#include "src/math/fixed.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

/* At any scale the sum of what is no number stays too large. */
Test(fixed, what_is_no_number_ends)
{
    enum { D = 1024 };
    float x[D];
    int16_t room[D];
    for (const char *const *isa = vq_kernels_levels(); *isa != NULL; isa++) {
        const vq_kernels *k = vq_kernels_named(*isa);
        if (k == NULL) continue;
        for (size_t numbers = 0; numbers <= D; numbers += 256) {
            vq_fixed f = {.x = room};
            for (size_t i = 0; i < D; i++) x[i] = i < numbers ? 1.0f : NAN;
            vq_fixed_set(&f, k, x, D);
            cr_assert(isfinite(f.unit) && isfinite(f.sum));
        }
    }
}

Test(fixed, half_a_unit)
{
    enum { D = 300 };
    static const float sizes[] = {1.0f, 1e-38f, FLT_MIN / 64.0f, 1e30f, 250.0f};
    static float x[D];
    static int16_t room[D];
    vq_fixed f = {.x = room};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        double sum = 0.0;
        fill_normal(&r, x, D);
        for (size_t j = 0; j < D; j++) x[j] *= sizes[s];
        vq_fixed_set(&f, vq_kernels_get(), x, D);
        for (size_t j = 0; j < D; j++) {
            cr_assert(fabs((double)x[j] - (double)f.unit * room[j]) <= 0.5 * (double)f.unit);
            sum += (double)f.unit * room[j];
        }
        cr_assert(fabs(sum - (double)f.sum) <= 1e-6 * fabs(sum) + 1e-42);
    }
}

Test(fixed, small_integers_are_exact)
{
    float x[100];
    int16_t room[100];
    vq_fixed f = {.x = room};
    for (int j = 0; j < 100; j++) x[j] = (float)(j * 5 - 255);
    vq_fixed_set(&f, vq_kernels_get(), x, 100);
    for (int j = 0; j < 100; j++) cr_assert(f.unit * (float)room[j] == x[j]);
}

Test(fixed, nothing_and_what_is_no_number)
{
    int16_t room[4] = {1, 1, 1, 1};
    vq_fixed f = {.x = room};
    const float zeros[4] = {0.0f, -0.0f, 0.0f, 0.0f}, bad[4] = {1.0f, INFINITY, 0.0f, 2.0f};
    vq_fixed_set(&f, vq_kernels_get(), zeros, 4);
    cr_assert(f.unit == 0.0f && f.sum == 0.0f && room[0] == 0 && room[3] == 0);
    room[0] = 1;
    vq_fixed_set(&f, vq_kernels_get(), bad, 4);
    cr_assert(f.unit == 0.0f && room[0] == 0);
    vq_fixed_set(&f, vq_kernels_get(), zeros, 0);
    cr_assert(f.unit == 0.0f);
}

/* The most dimensions, all as large as they can be: a product with bytes of 255 stays in 32 bits.
 */
Test(fixed, sums_stay_in_32_bits)
{
    enum { D = 2 * 65536 - 1 };
    float *x = vq_alloc_f32(1, D);
    int16_t *room = vq_mem_alloc(D, sizeof *room);
    vq_fixed f = {.x = room};
    for (size_t j = 0; j < D; j++) x[j] = 3.0f;
    vq_fixed_set(&f, vq_kernels_get(), x, D);
    int64_t sum = 0;
    for (size_t j = 0; j < D; j++) sum += 255 * (int64_t)room[j];
    cr_assert(sum > INT32_MAX / 4 && sum <= INT32_MAX, "%lld", (long long)sum);
    vq_mem_free(x);
    vq_mem_free(room);
}

Test(fixed, products_are_near)
{
    enum { ROWS = 37, D = 77 };
    static float a[ROWS * D], x[D], out[ROWS];
    static int16_t room[D];
    vq_fixed f = {.x = room};
    vq_bytemat m;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    fill_normal(&r, a, ROWS * D);
    fill_normal(&r, x, D);
    for (size_t j = 0; j < D; j++) a[5 * D + j] = 2.5f; /* no range at all */
    void *memory = vq_mem_alloc(vq_bytemat_size(ROWS, D), 1);
    vq_bytemat_make(&m, vq_kernels_get(), a, ROWS, D, memory);
    vq_fixed_set(&f, vq_kernels_get(), x, D);
    vq_bytemat_times(&m, vq_kernels_get(), &f, out);
    for (size_t i = 0; i < ROWS; i++) {
        double want = 0.0, bound = 0.0;
        for (size_t j = 0; j < D; j++) {
            want += (double)a[i * D + j] * (double)x[j];
            bound += 0.5 * (double)m.step[i] * fabs((double)x[j]) + (double)f.unit * 4.0;
        }
        cr_assert(fabs((double)out[i] - want) <= bound, "row %zu: %g is not %g", i, (double)out[i],
                  want);
    }
    cr_assert_eq(vq_bytemat_size(SIZE_MAX / 8, D), SIZE_MAX);
    vq_mem_free(memory);
}

/* Rows are right along themselves, and as near as bytes are otherwise. */
Test(fixed, level_rows_have_their_length)
{
    enum { ROWS = 40, D = 77 };
    static float a[ROWS * D];
    vq_bytemat m;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 7);
    fill_normal(&r, a, ROWS * D);
    for (size_t j = 0; j < D; j++) {
        a[5 * D + j] = 2.5f; /* no range at all */
        a[6 * D + j] = 0.0f;
        a[7 * D + j] *= 1e-30f;
        a[8 * D + j] = j == 3 ? 1.0f : 0.0f;
    }
    void *memory = vq_mem_alloc(vq_bytemat_size(ROWS, D), 1);
    vq_bytemat_make(&m, vq_kernels_get(), a, ROWS, D, memory);
    vq_bytemat_level(&m, a, memory);
    for (size_t i = 0; i < ROWS; i++) {
        double own = 0.0, along = 0.0;
        for (size_t j = 0; j < D; j++) {
            double x = (double)a[i * D + j];
            double is = (double)m.low[i] + (double)m.step[i] * m.a[i * m.stride + j];
            cr_assert(fabs(is - x) <= (double)m.step[i] + 1e-3 * fabs(x), "row %zu", i);
            own += x * x, along += x * is;
        }
        cr_assert(fabs(along - own) <= 1e-5 * own, "row %zu: %g is not %g", i, along, own);
    }
    vq_mem_free(memory);
}

/* Two matrices in panels give what each gives. */
Test(fixed, panels_of_two)
{
    enum { ROWS = 150, MORE = 37, D = 78 };
    static float a[ROWS * D], x[D], want[ROWS + MORE], out[ROWS + MORE];
    static int16_t room[D];
    vq_fixed f = {.x = room};
    vq_bytemat m[2];
    const vq_bytemat *const parts[2] = {&m[0], &m[1]};
    vq_bytepanels p;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    fill_normal(&r, a, ROWS * D);
    fill_normal(&r, x, D);
    memset(x + 4, 0, 30 * sizeof *x);
    void *first = vq_mem_alloc(vq_bytemat_size(ROWS, D), 1);
    void *second = vq_mem_alloc(vq_bytemat_size(MORE, D), 1);
    void *both = vq_mem_alloc(vq_bytepanels_size(ROWS + MORE, D), 1);
    vq_bytemat_make(&m[0], vq_kernels_get(), a, ROWS, D, first);
    vq_bytemat_make(&m[1], vq_kernels_get(), a + 3 * D, MORE, D, second);
    vq_bytepanels_make(&p, parts, 2, both);
    vq_fixed_set(&f, vq_kernels_get(), x, D);
    vq_bytemat_times(&m[0], vq_kernels_get(), &f, want);
    vq_bytemat_times(&m[1], vq_kernels_get(), &f, want + ROWS);
    vq_bytepanels_times(&p, vq_kernels_get(), &f, out);
    cr_assert(memcmp(out, want, sizeof out) == 0);
    cr_assert_eq(vq_bytepanels_size(SIZE_MAX / 8, D), SIZE_MAX);
    vq_mem_free(first);
    vq_mem_free(second);
    vq_mem_free(both);
}

/* Rows of few levels take half a byte a number and give what they gave: the same bits where steps
 * are; they come last, and find their places again. */
Test(fixed, panels_of_halves)
{
    enum { ROWS = 16 * 13 + 5, D = 78 };
    static float a[ROWS * D], x[D], want[ROWS], products[ROWS], out[ROWS];
    static int16_t room[D];
    vq_fixed f = {.x = room};
    vq_bytemat m, none = {.d = D};
    const vq_bytemat *const parts[2] = {&m, &none};
    vq_bytepanels p;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 9);
    fill_normal(&r, a, ROWS * D);
    size_t few = 0;
    for (size_t i = 0; i < ROWS; i++) { /* sixteens 1, 4, 7, 10; the last, 13, is not whole */
        bool whole = i / 16 % 3 == 1;
        few += whole && i / 16 < ROWS / 16;
        for (size_t j = 0; j < D && (whole || i % 16 == 3); j++)
            a[i * D + j] = -3.0f + 0.5f * (float)vq_rng_below(&r, 16);
        if (whole) a[i * D + 7] = -3.0f, a[i * D + 70] = 4.5f;
    }
    fill_normal(&r, x, D);
    void *first = vq_mem_alloc(vq_bytemat_size(ROWS, D), 1);
    void *both = vq_mem_alloc(vq_bytepanels_size(ROWS, D), 1);
    vq_bytemat_make(&m, vq_kernels_get(), a, ROWS, D, first);
    vq_bytepanels_make(&p, parts, 2, both);
    cr_assert(few > 0 && p.few == few && p.rows == ROWS);
    vq_fixed_set(&f, vq_kernels_get(), x, D);
    vq_bytemat_times(&m, vq_kernels_get(), &f, want);
    vq_bytepanels_times(&p, vq_kernels_get(), &f, products);
    vq_bytepanels_put(&p, products, ROWS, out);
    for (size_t i = 0; i < ROWS; i++)
        cr_assert(fabsf(out[i] - want[i]) <= 1e-4f, "row %zu: %g is not %g", i, (double)out[i],
                  (double)want[i]);
    memset(out, 0, sizeof out);
    vq_bytepanels_put(&p, products, ROWS - 20, out); /* and no further */
    for (size_t i = 0; i < ROWS; i++)
        cr_assert(i < ROWS - 20 ? fabsf(out[i] - want[i]) <= 1e-4f : out[i] == 0.0f);
    vq_mem_free(first);
    vq_mem_free(both);
}

/* Rows that lie apart give the bits that all of them give, in pieces and on every machine. */
Test(fixed, some_rows)
{
    enum { ROWS = 300, D = 130, SOME = 149 };
    static float a[ROWS * D], x[D], all[ROWS], out[SOME];
    static int16_t room[D];
    uint32_t rows[SOME];
    vq_fixed f = {.x = room};
    vq_bytemat m;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    fill_normal(&r, a, ROWS * D);
    fill_normal(&r, x, D);
    for (size_t i = 0; i < SOME; i++) rows[i] = (uint32_t)vq_rng_below(&r, ROWS);
    void *memory = vq_mem_alloc(vq_bytemat_size(ROWS, D), 1);
    void *some = guard_end(vq_round_up(vq_bytemat_some_size(D), 64));
    for (const char *const *isa = vq_kernels_levels(); *isa != NULL; isa++) {
        const vq_kernels *k = vq_kernels_named(*isa);
        if (k == NULL) continue;
        vq_bytemat_make(&m, k, a, ROWS, D, memory);
        vq_fixed_set(&f, k, x, D);
        vq_bytemat_times(&m, k, &f, all);
        vq_bytemat_some(&m, k, &f, rows, SOME, some, out);
        for (size_t i = 0; i < SOME; i++) cr_assert_eq(out[i], all[rows[i]], "%s: %zu", *isa, i);
    }
    guard_free(some);
    vq_mem_free(memory);
}
