/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels_array.c -- conversions and searches: every level gives the bits of scalar.c. */
#include <math.h>

#include "src/base/elem.h"
#include "tests/src/math/levels.h"

enum { ROUNDS = 1500, LEN = 700 };

TestSuite(kernels_array, .init = grounds_new, .fini = grounds_free);

#define SAME(want, got, bytes, k, n)                                                               \
    cr_assert((n) == 0 || memcmp(want, got, bytes) == 0, "%s, n=%zu (seed %llu)", (k)->isa, n,     \
              (unsigned long long)test_seed())

Test(kernels_array, widening)
{
    static float want_f[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 11);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = any_size(&r, LEN);
        float *got = place(&ground_b, n * 4, it);
        uint16_t *h = place(&ground_a, n * 2, it);
        fill_f16(&r, h, n);
        FOR_LEVELS(want, k)
        {
            want->f32_from_f16(h, n, want_f);
            k->f32_from_f16(h, n, got);
            SAME(want_f, got, n * 4, k, n);
        }
        uint8_t *c = place(&ground_a, n, it);
        if (it % 4 == 1) c += 1;
        fill_u8(&r, c, n);
        FOR_LEVELS(want, k)
        {
            want->f32_from_i8(c, n, want_f);
            k->f32_from_i8(c, n, got);
            SAME(want_f, got, n * 4, k, n);
            want->f32_from_u8(c, n, want_f);
            k->f32_from_u8(c, n, got);
            SAME(want_f, got, n * 4, k, n);
        }
    }
}

/* Bit patterns around binary16: subnormals, halves between two neighbours, overflow. */
static float near_f16(vq_rng *r)
{
    uint32_t sign = (uint32_t)vq_rng_below(r, 2) << 31,
             mantissa = (uint32_t)vq_rng_below(r, 1u << 23);
    if (vq_rng_below(r, 3) == 0) mantissa &= 0x7ff000u; /* ends on half a step */
    uint32_t u = sign | (uint32_t)(100 + vq_rng_below(r, 46)) << 23 | mantissa;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

Test(kernels_array, f16_from_f32)
{
    static uint16_t want_h[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 12);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = any_size(&r, LEN);
        float *x = place(&ground_a, n * 4, it);
        uint16_t *got = place(&ground_b, n * 2, it);
        for (size_t i = 0; i < n; i++) x[i] = near_f16(&r);
        FOR_LEVELS(want, k)
        {
            want->f16_from_f32(x, n, want_h);
            k->f16_from_f32(x, n, got);
            SAME(want_h, got, n * 2, k, n);
        }
    }
}

Test(kernels_array, f16_there_and_back)
{
    const vq_kernels *s = vq_kernels_named("scalar");
    for (uint32_t u = 0; u < 0x10000u; u++) {
        uint16_t h = (uint16_t)u, back;
        float f;
        if ((u & 0x7c00u) == 0x7c00u) continue;
        s->f32_from_f16(&h, 1, &f);
        s->f16_from_f32(&f, 1, &back);
        cr_assert(back == h, "%04x became %04x", h, back);
    }
}

Test(kernels_array, quantize)
{
    static uint8_t want_c[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 13);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = any_size(&r, LEN);
        float *x = place(&ground_a, n * 4, it);
        uint8_t *got = place(&ground_b, n, it);
        fill_any(&r, x, n);
        float lo = it % 3 == 0 ? -1.0f : -0.75f, inv = it % 5 == 0 ? 0.0f : 127.5f;
        if (it % 2 == 0) { /* halves: ties to even */
            for (size_t i = 0; i < n; i++) x[i] = (float)vq_rng_below(&r, 600) * 0.5f - 10.0f;
            lo = 0.0f, inv = 1.0f;
        }
        FOR_LEVELS(want, k)
        {
            want->quantize_u8(x, n, lo, inv, want_c);
            k->quantize_u8(x, n, lo, inv, got);
            SAME(want_c, got, n, k, n);
        }
    }
}

Test(kernels_array, quantize_by_hand)
{
    const float x[] = {-1e30f, -1.0f, 0.5f, 1.5f, 2.5f, 254.4f, 254.5f, 255.5f, 1e30f};
    const uint8_t want[] = {0, 0, 0, 2, 2, 254, 254, 255, 255};
    uint8_t got[VQ_COUNT(x)];
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        k->quantize_u8(x, VQ_COUNT(x), 0.0f, 1.0f, got);
        cr_assert(memcmp(want, got, sizeof want) == 0, "%s", k->isa);
    }
}

Test(kernels_array, argmax)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 14);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = 1 + any_size(&r, LEN - 1), ties = 1 + vq_rng_below(&r, 4);
        float *a = place(&ground_a, n * 4, it), *b = place(&ground_b, n * 4, it);
        fill_any(&r, a, n);
        fill_any(&r, b, n);
        for (size_t t = 0; t < ties; t++) a[vq_rng_below(&r, n)] = 1.0f; /* likely at the top */
        FOR_LEVELS(want, k)
        {
            size_t w = want->argmax_f32(a, NULL, n), g = k->argmax_f32(a, NULL, n);
            cr_assert(w == g, "%s, n=%zu: %zu, not %zu", k->isa, n, g, w);
            w = want->argmax_f32(a, b, n), g = k->argmax_f32(a, b, n);
            cr_assert(w == g, "%s, n=%zu, biased: %zu, not %zu", k->isa, n, g, w);
        }
    }
}

Test(kernels_array, argmax_by_hand)
{
    float a[50], b[50];
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        for (size_t n = 1; n <= 50 && k != NULL; n++) {
            for (size_t i = 0; i < n; i++) a[i] = -3.0f, b[i] = 0.0f;
            cr_assert(k->argmax_f32(a, NULL, n) == 0, "all equal: the first");
            for (size_t at = 0; at < n; at++) {
                b[at] = 1.0f;
                cr_assert(k->argmax_f32(a, b, n) == at);
                cr_assert(k->argmax_f32(a, NULL, n) == 0);
                b[at] = 0.0f;
            }
        }
    }
}

Test(kernels_array, near_max)
{
    static uint32_t want_idx[LEN];
    static const float widths[] = {0.0f, 0.1f, 1.0f, 100.0f, INFINITY};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 40);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = any_size(&r, LEN);
        float *a = place(&ground_a, n * 4, it), *b = place(&ground_b, n * 4, it);
        uint32_t *idx = place(&ground_c, n * 4, it);
        float within = widths[vq_rng_below(&r, VQ_COUNT(widths))];
        fill_any(&r, a, n);
        fill_any(&r, b, n);
        for (size_t t = 0; t < n && it % 3 == 0; t += 1 + vq_rng_below(&r, n))
            a[t] = it % 2 == 0 ? NAN : -INFINITY;
        for (size_t t = 0; t < n && it % 5 == 0; t++) b[t] = 0.0f, a[t] = t % 7 == 0; /* ties */
        FOR_LEVELS(want, k)
        {
            size_t w = want->near_max_f32(a, b, n, within, want_idx);
            size_t g = k->near_max_f32(a, b, n, within, idx);
            cr_assert(w == g && memcmp(want_idx, idx, w * sizeof *idx) == 0,
                      "%s, n=%zu, within %g: %zu, not %zu", k->isa, n, (double)within, g, w);
        }
    }
}

Test(kernels_array, near_max_by_hand)
{
    const float a[] = {1.0f, NAN, 3.0f, -INFINITY, 2.5f, 3.0f}, b[6] = {0.0f};
    uint32_t idx[6];
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        cr_assert(k->near_max_f32(a, b, 6, 0.0f, idx) == 3 && idx[0] == 1 && idx[1] == 2);
        cr_assert(k->near_max_f32(a, b, 6, 0.5f, idx) == 4 && idx[2] == 4);
        cr_assert(k->near_max_f32(a, b, 6, INFINITY, idx) == 6);
        cr_assert(k->near_max_f32(a + 1, b, 1, 1.0f, idx) == 1, "NaN alone");
        cr_assert(k->near_max_f32(a, b, 0, 1.0f, idx) == 0);
    }
}

Test(kernels_array, step_sums)
{
    enum { WORDS = 11 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 42);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = any_size(&r, LEN / 16);
        uint8_t *before = place(&ground_a, n, it), *next = place(&ground_b, n, it);
        float *rows = place(&ground_c, n * 64, it), *steps = place(&ground_d, WORDS * 64, it);
        static float start[LEN], want_rows[LEN];
        double want_sums[WORDS * 16], sums[WORDS * 16];
        fill_any(&r, start, n * 16);
        fill_any(&r, steps, WORDS * 16);
        for (size_t i = 0; i < n; i++) {
            before[i] = (uint8_t)vq_rng_below(&r, WORDS);
            next[i] = (uint8_t)vq_rng_below(&r, WORDS);
        }
        const uint8_t *b = it % 3 == 1 ? NULL : before, *to = it % 3 == 2 ? NULL : next;
        FOR_LEVELS(want, k)
        {
            memset(want_sums, 0, sizeof want_sums), memset(sums, 0, sizeof sums);
            memcpy(want_rows, start, n * 64), memcpy(rows, start, n * 64);
            want->step_sums(want_rows, n, steps, b, to, want_sums);
            k->step_sums(rows, n, steps, b, to, sums);
            cr_assert(memcmp(want_rows, rows, n * 64) == 0, "%s, n=%zu", k->isa, n);
            cr_assert(memcmp(want_sums, sums, sizeof sums) == 0, "%s, n=%zu", k->isa, n);
        }
    }
}

Test(kernels_array, minmax)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 15);
    for (int it = 0; it < ROUNDS; it++) {
        size_t n = 1 + any_size(&r, LEN - 1);
        float *x = place(&ground_a, n * 4, it), w[2], g[2];
        fill_any(&r, x, n);
        FOR_LEVELS(want, k)
        {
            want->minmax_f32(x, n, &w[0], &w[1]);
            k->minmax_f32(x, n, &g[0], &g[1]);
            SAME(w, g, sizeof w, k, n);
            for (size_t i = 0; i < n; i++) cr_assert(w[0] <= x[i] && x[i] <= w[1]);
        }
    }
}

Test(kernels_array, select)
{
    static uint32_t want_idx[LEN];
    static float want_score[LEN];
    static const float rates[] = {-1.0f, 0.0f, 0.01f, 0.1f, 0.5f, 1.0f, 2.0f};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 16);
    for (int it = 0; it < 2 * ROUNDS; it++) {
        size_t n = any_size(&r, LEN);
        uint16_t *sums = place(&ground_a, n * 2, it);
        float *factor = place(&ground_b, n * 4, it), *score = place(&ground_d, n * 4, it);
        uint32_t *idx = place(&ground_c, n * 4, it);
        fill_any(&r, factor, n);
        for (size_t i = 0; i < n; i++) sums[i] = (uint16_t)vq_rng_u64(&r);
        float scale = 1.0f / 65536.0f, base = it % 3 == 0 ? 0.0f : -0.3f;
        float threshold = 1.0f - rates[vq_rng_below(&r, VQ_COUNT(rates))] + base;
        const float *f = it % 4 < 2 ? factor : NULL;
        if (it % 7 == 0 && n > 0 && f == NULL) /* one that is equal survives */
            threshold = fmaf((float)sums[vq_rng_below(&r, n)], scale, base);
        FOR_LEVELS(want, k)
        {
            size_t w = want->select_u16(sums, f, n, scale, base, threshold, want_idx, want_score);
            size_t g = k->select_u16(sums, f, n, scale, base, threshold, idx, score);
            cr_assert(w == g, "%s, n=%zu: %zu survivors, not %zu", k->isa, n, g, w);
            SAME(want_idx, idx, w * 4, k, w);
            SAME(want_score, score, w * 4, k, w);
        }
    }
}

Test(kernels_array, select_with_scales)
{
    static uint32_t want_idx[LEN];
    static float want_score[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 17);
    for (int it = 0; it < 2 * ROUNDS; it++) {
        size_t n = any_size(&r, LEN);
        uint16_t *sums = place(&ground_a, n * 2, it), *scales = place(&ground_b, n * 4, it);
        uint16_t *shifts = scales + n;
        float *score = place(&ground_d, n * 4, it), factor[LEN];
        uint32_t *idx = place(&ground_c, n * 4, it);
        fill_any(&r, factor, n);
        for (size_t i = 0; i < n; i++) {
            sums[i] = (uint16_t)vq_rng_u64(&r);
            scales[i] = vq_f32_to_f16((float)vq_rng_f64(&r)); /* finite, 0 among them */
            shifts[i] = it % 5 == 0 ? 0 : vq_f32_to_f16((float)vq_rng_normal(&r));
        }
        float threshold = it % 3 == 0 ? -INFINITY : (float)vq_rng_normal(&r);
        const float *f = it % 4 < 2 ? factor : NULL;
        const uint16_t *sh = it % 8 < 4 ? shifts : NULL;
        FOR_LEVELS(want, k)
        {
            size_t w = want->select_f16(sums, scales, sh, 0.7f, f, n, 1e-4f, -3.0f, 0.1f, threshold,
                                        want_idx, want_score);
            size_t g = k->select_f16(sums, scales, sh, 0.7f, f, n, 1e-4f, -3.0f, 0.1f, threshold,
                                     idx, score);
            cr_assert(w == g, "%s, n=%zu: %zu survivors, not %zu", k->isa, n, g, w);
            SAME(want_idx, idx, w * 4, k, w);
            SAME(want_score, score, w * 4, k, w);
        }
    }
}

Test(kernels_array, select_by_bars)
{
    static uint32_t want_idx[LEN];
    static float want_score[LEN], want_most[LEN], factor[LEN];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 19);
    for (int it = 0; it < 2 * ROUNDS; it++) {
        size_t n = any_size(&r, LEN), nblocks = (n + VQ_BLOCK - 1) / VQ_BLOCK;
        size_t stride = (6 + vq_rng_below(&r, 4)) * VQ_BLOCK;
        uint16_t *sums = place(&ground_a, n * 2, it);
        uint8_t *factors = place(&ground_b, nblocks * stride, it);
        float *score = place(&ground_d, n * 8, it), *most = score + n;
        uint32_t *idx = place(&ground_c, n * 4, it);
        vq_bars b = {.scale = 1e-4f,
                     .low = -3.0f,
                     .base = 0.1f,
                     .unit = 0.7f,
                     .shifted = it % 2,
                     .error = 1e-3f,
                     .turn = 1e-5f,
                     .inverse = 1e5f,
                     .plain = 1.3f,
                     .sum = 2.1f,
                     .half = 0.5f,
                     .from = -1.0f,
                     .bend = 3.0f,
                     .reach = 0.3f,
                     .noise = it % 3 == 0 ? 0 : 1e-3f,
                     .blunt = it % 5 == 0 ? 0 : 2e-3f,
                     .fixed = it % 4 == 0 ? 0 : 5e-3f};
        fill_any(&r, factor, n);
        fill_u8(&r, factors, nblocks * stride);
        for (size_t i = 0; i < nblocks * VQ_BLOCK; i++) { /* scales and shifts are finite */
            uint8_t *pairs = factors + i / VQ_BLOCK * stride + i % VQ_BLOCK * 2;
            pairs[1] &= 0xbb;
            pairs[2 * VQ_BLOCK + 1] &= 0xbb;
        }
        for (size_t i = 0; i < n; i++) sums[i] = (uint16_t)vq_rng_u64(&r);
        float threshold = it % 3 == 0 ? -INFINITY : 5.0f * (float)vq_rng_normal(&r);
        const float *f = it % 4 < 2 ? factor : NULL;
        FOR_LEVELS(want, k)
        {
            size_t w = want->select_bars(sums, factors, stride, f, n, &b, threshold, want_idx,
                                         want_score, want_most);
            size_t g = k->select_bars(sums, factors, stride, f, n, &b, threshold, idx, score, most);
            cr_assert(w == g, "%s, n=%zu: %zu survivors, not %zu", k->isa, n, g, w);
            SAME(want_idx, idx, w * 4, k, w);
            SAME(want_score, score, w * 4, k, w);
            SAME(want_most, most, w * 4, k, w);
        }
    }
}

/* Tables by their definition, to half a step, and their bits on every level. */
Test(kernels_array, tables_of_subsets)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 20);
    for (int it = 0; it < ROUNDS; it++) {
        size_t m = 4 * vq_rng_below(&r, 64);
        float *x = place(&ground_a, m * 4 * 4, it), low, want_low;
        uint8_t *out = place(&ground_b, m * 16, it), *want_out = place(&ground_c, m * 16, it);
        for (size_t i = 0; i < 4 * m; i++)
            x[i] = it % 5 == 0 || i % 9 == 0 ? 0.0f : (float)vq_rng_normal(&r);
        FOR_LEVELS(want, k)
        {
            float step = want->subset_luts(x, m, want_out, &want_low);
            cr_assert_eq(step, k->subset_luts(x, m, out, &low));
            cr_assert_eq(low, want_low, "%s, m=%zu", k->isa, m);
            SAME(want_out, out, m * 16, k, m);
        }
        float step = vq_kernels_get()->subset_luts(x, m, out, &low);
        for (size_t j = 0; j < 16 * m; j++) {
            double sum = 0.0, least = 0.0;
            for (size_t i = 0; i < 4; i++) {
                double v = (double)x[j / 16 * 4 + i];
                sum += j >> i & 1 ? v : 0.0;
                least += v < 0.0 ? v : 0.0;
            }
            cr_assert(fabs((double)out[j] * (double)step - (sum - least)) <= 0.5001 * (double)step);
        }
    }
}

Test(kernels_array, grids)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 18);
    for (int it = 0; it < ROUNDS; it++) {
        size_t d = 16 * (1 + vq_rng_below(&r, 60));
        float *x[4] = {place(&ground_a, d * 4, it), place(&ground_b, d * 4, it),
                       place(&ground_c, d * 4, it), place(&ground_d, d * 4, it)};
        for (int i = 0; i < 3; i++) fill_any(&r, x[i], d);
        for (size_t j = 0; j < d; j++) x[3][j] = (float)(1u << vq_rng_below(&r, 13)) - 0.5f;
        if (it % 4 == 0) x[3][vq_rng_below(&r, d)] = 0.0f;
        float inv = (float)exp(3.0 * vq_rng_normal(&r)), want_ip, want_sq, ip, sq;
        FOR_LEVELS(want, k)
        {
            want->grid_sums(x[0], x[1], x[2], x[3], d, inv, &want_ip, &want_sq);
            k->grid_sums(x[0], x[1], x[2], x[3], d, inv, &ip, &sq);
            SAME(&want_ip, &ip, 4, k, d);
            SAME(&want_sq, &sq, 4, k, d);
        }
    }
}

Test(kernels_array, planes)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 19);
    for (int it = 0; it < 2 * ROUNDS; it++) {
        size_t groups = 1 + vq_rng_below(&r, 60), all = 0;
        uint8_t *count = place(&ground_a, groups, it);
        float *x = place(&ground_b, groups * 64, it);
        for (size_t g = 0; g < groups; g++) all += count[g] = (uint8_t)vq_rng_below(&r, 14);
        uint8_t *planes = place(&ground_c, 2 * all, it);
        for (size_t i = 0; i < 2 * all; i++) planes[i] = (uint8_t)vq_rng_u64(&r);
        fill_any(&r, x, groups * 16);
        FOR_LEVELS(want, k)
        {
            float w = want->planes_f32(x, planes, count, groups);
            float g = k->planes_f32(x, planes, count, groups);
            SAME(&w, &g, 4, k, groups);
        }
    }
}

Test(kernels_array, planes_of_integers)
{
    enum { MOST = INT32_MAX / 256 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 23);
    for (int it = 0; it < 2 * ROUNDS; it++) {
        size_t groups = 4 * (1 + vq_rng_below(&r, 14)), all = 0, n = 16 * groups;
        uint8_t *count = place(&ground_a, groups, it);
        int16_t *x = place(&ground_b, 2 * n, it);
        for (size_t g = 0; g < groups; g++)
            all += count[g] = (uint8_t)(it % 3 == 0 ? 8 : vq_rng_below(&r, 9));
        uint8_t *planes = place(&ground_c, 2 * all, it);
        for (size_t i = 0; i < 2 * all; i++)
            planes[i] = (uint8_t)(it % 4 == 0 ? 0xff : vq_rng_u64(&r));
        int32_t most = VQ_MIN(MOST / (int32_t)n, 16383), sign = it % 2 != 0 ? 1 : -1;
        for (size_t i = 0; i < n; i++) /* all at their limit, or any */
            x[i] = (int16_t)(it % 5 < 2 ? sign * most
                                        : (int32_t)vq_rng_below(&r, 2 * (uint64_t)most) - most);
        FOR_LEVELS(want, k)
        {
            vq_planes_plan plan[14];
            want->planes_plan(x, count, groups, plan);
            int32_t w = want->planes_sum(plan, planes, groups);
            k->planes_plan(x, count, groups, plan);
            int32_t g = k->planes_sum(plan, planes, groups);
            SAME(&w, &g, 4, k, groups);
        }
    }
}

/* A threshold that some score just reaches, or just misses: where sums are compared with it before
 * scores are made, rounding must not matter; sums that are small beside the base are rounded to few
 * scores. */
Test(kernels_array, select_at_the_edge)
{
    enum { N = 100 };
    uint16_t sums[N];
    uint32_t want_idx[N + 32], idx[N + 32];
    float want_score[N + 32], score[N + 32];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 41);
    for (int it = 0; it < 20 * ROUNDS; it++) {
        size_t n = 1 + vq_rng_below(&r, N);
        for (size_t i = 0; i < n; i++)
            sums[i] =
                it % 3 == 0 ? (uint16_t)(65535 - vq_rng_below(&r, 4)) : (uint16_t)vq_rng_u64(&r);
        float scale = ldexpf((float)(1.0 + vq_rng_f64(&r)), (int)vq_rng_below(&r, 300) - 150);
        float base = scale * (float)(vq_rng_normal(&r) * pow(10.0, 12.0 * vq_rng_f64(&r)));
        float threshold = fmaf((float)sums[vq_rng_below(&r, n)], scale, base);
        if (it % 4 > 1) threshold = nextafterf(threshold, it % 4 == 2 ? INFINITY : -INFINITY);
        FOR_LEVELS(want, k)
        {
            size_t w =
                want->select_u16(sums, NULL, n, scale, base, threshold, want_idx, want_score);
            size_t g = k->select_u16(sums, NULL, n, scale, base, threshold, idx, score);
            cr_assert(w == g, "%s, n=%zu: %zu survivors, not %zu; %a x + %a >= %a (seed %llu)",
                      k->isa, n, g, w, (double)scale, (double)base, (double)threshold,
                      (unsigned long long)test_seed());
            SAME(want_idx, idx, w * 4, k, w);
            SAME(want_score, score, w * 4, k, w);
        }
    }
}

Test(kernels_array, select_by_hand)
{
    const uint16_t sums[] = {0, 65535, 100, 40000};
    const float factor[] = {0.0f, 65000.0f, -400.0f, 0.0f};
    uint32_t idx[4];
    float score[4];
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        cr_assert(k->select_u16(sums, NULL, 4, 1.0f, 0.0f, 40000.0f, idx, score) == 2);
        cr_assert(idx[0] == 1 && idx[1] == 3 && score[0] == 65535.0f && score[1] == 40000.0f);
        cr_assert(k->select_u16(sums, factor, 4, 2.0f, -200.0f, 400.0f, idx, score) == 3);
        cr_assert(idx[0] == 1 && idx[1] == 2 && idx[2] == 3);
        cr_assert(score[0] == 65870.0f && score[1] == 400.0f && score[2] == 79800.0f);
    }
}
