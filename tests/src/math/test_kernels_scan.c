/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels_scan.c -- product quantization: tables, encoding and scans give the bits of scalar.c
 * at every level. */
#include <stdbool.h>

#include "tests/src/math/levels.h"

enum { MOST_M = 200, MOST_BLOCKS = 24, BOOK = 1 << 17 };

TestSuite(kernels_scan, .init = grounds_new, .fini = grounds_free);

static size_t dsub_for(vq_rng *r, size_t m, size_t kk)
{
    size_t most = BOOK / (m * kk);
    if (most > 80) most = 80; /* more than 64 are taken by themselves */
    return 1 + vq_rng_below(r, most);
}

Test(kernels_scan, tables)
{
    static float want_lut[64 * 256];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 21);
    for (int it = 0; it < 200; it++) {
        size_t kk = it % 4 < 2 ? 16 : 256, m = any_size(&r, 64);
        size_t dsub = m == 0 ? 3 : dsub_for(&r, m, kk), n = m * dsub;
        float *q = place(&ground_a, n * 4, it), *cb = place(&ground_b, n * kk * 4, it);
        float *got = place(&ground_c, m * kk * 4, it);
        fill_any(&r, q, n);
        fill_any(&r, cb, n * kk);
        FOR_LEVELS(want, k)
        {
            want->lut_f32(q, cb, m, dsub, kk, want_lut);
            k->lut_f32(q, cb, m, dsub, kk, got);
            cr_assert(m == 0 || memcmp(want_lut, got, m * kk * 4) == 0,
                      "%s, m=%zu dsub=%zu kk=%zu (seed %llu)", k->isa, m, dsub, kk,
                      (unsigned long long)test_seed());
        }
    }
}

/* Codewords from few values and repeated, so that ties are common. */
static void fill_book(vq_rng *r, float *cb, float *norm, size_t m, size_t dsub, size_t kk)
{
    for (size_t j = 0; j < m; j++) {
        size_t distinct = 1 + vq_rng_below(r, kk);
        float *book = cb + j * dsub * kk;
        for (size_t t = 0; t < dsub; t++) {
            fill_any(r, book + t * kk, kk);
            for (size_t c = distinct; c < kk; c++) book[t * kk + c] = book[t * kk + c % distinct];
        }
        for (size_t c = 0; c < kk; c++) {
            norm[j * kk + c] = 0.0f;
            for (size_t t = 0; t < dsub; t++)
                norm[j * kk + c] += book[t * kk + c] * book[t * kk + c];
        }
    }
}

Test(kernels_scan, nearest)
{
    static uint8_t want_codes[64 * 70];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 22);
    for (int it = 0; it < 200; it++) {
        size_t kk = it % 4 < 2 ? 16 : 256, m = any_size(&r, 64);
        size_t dsub = m == 0 ? 3 : dsub_for(&r, m, kk), n = m * dsub;
        size_t rows = any_size(&r, 70), stride = n + vq_rng_below(&r, 3);
        while (rows * n * kk > 2 * BOOK) rows /= 2;
        size_t room = rows > 0 ? (rows - 1) * stride + n : 0;
        float *x = place(&ground_a, room * 4, it), *cb = place(&ground_b, n * kk * 4, it);
        float *norm = place(&ground_c, m * kk * 4, it);
        uint8_t *got = place(&ground_d, rows * m, it);
        fill_any(&r, x, room);
        fill_book(&r, cb, norm, m, dsub, kk);
        FOR_LEVELS(want, k)
        {
            want->pq_nearest(x, rows, stride, cb, norm, m, dsub, kk, want_codes);
            k->pq_nearest(x, rows, stride, cb, norm, m, dsub, kk, got);
            cr_assert(rows * m == 0 || memcmp(want_codes, got, rows * m) == 0,
                      "%s, %zu rows, m=%zu dsub=%zu kk=%zu (seed %llu)", k->isa, rows, m, dsub, kk,
                      (unsigned long long)test_seed());
        }
    }
}

/* Each codeword is nearest to itself; of two equal ones, the first. */
Test(kernels_scan, nearest_by_hand)
{
    static float cb[2 * 256], norm[256];
    for (size_t kk = 16; kk <= 256; kk += 240) {
        for (size_t c = 0; c < kk; c++) {
            float a = (float)(c / 2), b = (float)(c / 2 % 7);
            cb[c] = a, cb[kk + c] = b, norm[c] = a * a + b * b;
        }
        for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
            const vq_kernels *k = vq_kernels_named(*name);
            for (size_t c = 0; c < kk && k != NULL; c++) {
                float x[2] = {cb[c], cb[kk + c]};
                uint8_t code;
                k->pq_nearest(x, 1, 2, cb, norm, 1, 2, kk, &code);
                cr_assert(code == c / 2 * 2, "%s, kk=%zu: %u for %zu", k->isa, kk, code, c);
            }
        }
    }
}

typedef enum scan_kind { EIGHT_BITS, PAIRS, FOUR_BITS } scan_kind;

/* ahead: of eight bits and pairs. */
static void scan(const vq_kernels *k, scan_kind kind, const uint8_t *lut, const uint8_t *codes,
                 const uint8_t *ahead, size_t nblocks, size_t m, size_t stride, uint16_t *sums)
{
    if (kind == FOUR_BITS)
        k->pq4_scan(lut, codes, nblocks, m, stride, sums);
    else if (kind == PAIRS)
        k->pq8_pairs(lut, codes, ahead, nblocks, m, sums);
    else
        k->pq8_scan(lut, codes, ahead, nblocks, m, sums);
}

static void check_scan(vq_rng *r, int it, scan_kind kind)
{
    static const char *const names[] = {"eight bits", "pairs", "four bits"};
    static uint16_t want_sums[MOST_BLOCKS * VQ_BLOCK];
    size_t m = any_size(r, MOST_M), nblocks = vq_rng_below(r, MOST_BLOCKS);
    if (kind == FOUR_BITS) m -= m % 2;
    size_t book = kind == FOUR_BITS ? 16 : kind == PAIRS ? 128 : 256;
    size_t rows = kind == FOUR_BITS ? m / 2 : m, more = vq_rng_below(r, 3);
    size_t stride = (rows + (kind == FOUR_BITS ? more : 0)) * VQ_BLOCK; /* blocks may lie apart */
    /* The contract aligns tables and sums to 64; at the end of a page that needs a multiple. */
    uint8_t *lut = place(&ground_a, (m * book + 63) / 64 * 64, it);
    uint8_t *codes = place(&ground_b, nblocks * stride, it);
    uint16_t *got = place(&ground_c, nblocks * VQ_BLOCK * 2, it);
    fill_u8(r, lut, m * book);
    fill_u8(r, codes, nblocks * stride);
    if (it % 11 == 0) memset(lut, 255, m * book);
    /* Asking is no reading: nothing may be there, or less than is asked for. */
    const uint8_t *ahead = it % 3 == 0 ? NULL : it % 3 == 1 ? codes + nblocks * stride : lut;
    FOR_LEVELS(want, k)
    {
        memset(got, 0xee, nblocks * VQ_BLOCK * 2);
        scan(want, kind, lut, codes, ahead, nblocks, m, stride, want_sums);
        scan(k, kind, lut, codes, ahead, nblocks, m, stride, got);
        cr_assert(nblocks == 0 || memcmp(want_sums, got, nblocks * VQ_BLOCK * 2) == 0,
                  "%s, m=%zu nblocks=%zu, %s (seed %llu)", k->isa, m, nblocks, names[kind],
                  (unsigned long long)test_seed());
    }
}

Test(kernels_scan, pq8)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 23);
    for (int it = 0; it < 600; it++) check_scan(&r, it, EIGHT_BITS);
}

/* Runs of n planes at most, whose entries add up to as much as bytes hold. */
static size_t any_runs(vq_rng *r, vq_plane_run *runs, size_t planes, uint8_t *lut)
{
    size_t n = 0;
    for (size_t p = 0, count; p < planes; p += count, n++) {
        count = 1 + vq_rng_below(r, VQ_MIN(planes - p, (size_t)20));
        runs[n] = (vq_plane_run){(uint8_t)count, (uint8_t)vq_rng_below(r, 5)};
        for (int h = 0; h < 2; h++) {
            uint32_t left = 255;
            for (size_t t = 2 * count; t-- > 0;) { /* the run's tables of this half */
                uint8_t *table = lut + 64 * (p + t / 2) + 32 * (size_t)h + 16 * (t % 2);
                uint32_t most = t == 0 ? left : (uint32_t)vq_rng_below(r, left + 1);
                for (size_t c = 0; c < 16; c++) table[c] = (uint8_t)vq_rng_below(r, most + 1);
                table[vq_rng_below(r, 16)] = (uint8_t)most;
                left -= most;
            }
        }
    }
    return n;
}

Test(kernels_scan, planes)
{
    enum { MOST = 70 };
    static uint16_t want_sums[MOST_BLOCKS * VQ_BLOCK];
    vq_plane_run runs[MOST];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 27);
    for (int it = 0; it < 600; it++) {
        size_t planes = any_size(&r, MOST), nblocks = vq_rng_below(&r, MOST_BLOCKS);
        size_t stride = (2 * planes + vq_rng_below(&r, 3)) * VQ_BLOCK;
        uint8_t *lut = place(&ground_a, planes * 64, it);
        uint8_t *codes = place(&ground_b, nblocks * stride, it);
        uint16_t *got = place(&ground_c, nblocks * VQ_BLOCK * 2, it);
        size_t nruns = any_runs(&r, runs, planes, lut);
        fill_u8(&r, codes, nblocks * stride);
        const uint8_t *ahead = it % 3 == 0 ? NULL : it % 3 == 1 ? codes + nblocks * stride : lut;
        FOR_LEVELS(want, k)
        {
            memset(got, 0xee, nblocks * VQ_BLOCK * 2);
            want->plane_scan(lut, runs, nruns, codes, NULL, nblocks, stride, want_sums);
            k->plane_scan(lut, runs, nruns, codes, ahead, nblocks, stride, got);
            cr_assert(nblocks == 0 || memcmp(want_sums, got, nblocks * VQ_BLOCK * 2) == 0,
                      "%s, %zu planes nblocks=%zu (seed %llu)", k->isa, planes, nblocks,
                      (unsigned long long)test_seed());
        }
    }
}

Test(kernels_scan, pq8_pairs)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 26);
    for (int it = 0; it < 600; it++) check_scan(&r, it, PAIRS);
}

/* A table by halves is one of 256 whose neighbours are equal. */
Test(kernels_scan, pq8_pairs_by_hand)
{
    uint8_t *lut = place(&ground_a, 128, 0), *codes = place(&ground_b, 8 * VQ_BLOCK, 0);
    uint16_t *sums = place(&ground_c, 8 * VQ_BLOCK * 2, 0);
    for (size_t c = 0; c < 128; c++) lut[c] = (uint8_t)(255 - c);
    for (size_t i = 0; i < 256; i++) codes[i] = (uint8_t)i;
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        k->pq8_pairs(lut, codes, NULL, 8, 1, sums);
        for (size_t i = 0; i < 256; i++) cr_assert(sums[i] == 255 - i / 2, "%s, %zu", k->isa, i);
    }
}

/* Eight rows count as eight times their mean, rounded up thrice; a ninth as it is. */
Test(kernels_scan, pq8_pairs_are_no_less_than_sums)
{
    enum { M = 9 };
    const struct {
        uint8_t rows[M];
        uint16_t want;
    } cases[] = {{{1, 0, 0, 0, 0, 0, 0, 0, 5}, 8 + 5},
                 {{0, 0, 0, 0, 0, 0, 0, 0, 5}, 5},
                 {{255, 255, 255, 255, 255, 255, 255, 255, 255}, 9 * 255},
                 {{8, 8, 8, 8, 0, 0, 0, 0, 0}, 32},
                 {{3, 4, 0, 0, 9, 9, 8, 9, 1}, 8 * 6 + 1}};
    uint8_t *lut = place(&ground_a, M * 128, 0), *codes = place(&ground_b, M * VQ_BLOCK, 0);
    uint16_t *sums = place(&ground_c, VQ_BLOCK * 2, 0);
    memset(codes, 0, M * VQ_BLOCK);
    memset(lut, 0, M * 128);
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        for (size_t c = 0; c < VQ_COUNT(cases) && k != NULL; c++) {
            for (size_t j = 0; j < M; j++) lut[j * 128] = cases[c].rows[j];
            k->pq8_pairs(lut, codes, NULL, 1, M, sums);
            for (size_t i = 0; i < VQ_BLOCK; i++)
                cr_assert(sums[i] == cases[c].want, "%s, case %zu: %u", k->isa, c, sums[i]);
        }
    }
}

/* The same block may come twice.  Of blocks that are not reached sums may be anything. */
static void check_gathered(vq_rng *r, int it)
{
    static uint16_t want_sums[MOST_BLOCKS * VQ_BLOCK];
    static uint8_t plain[MOST_BLOCKS * MOST_M * VQ_BLOCK];
    const uint8_t *blocks[MOST_BLOCKS];
    size_t m = any_size(r, MOST_M), n = vq_rng_below(r, MOST_BLOCKS), bytes = m * VQ_BLOCK;
    uint8_t *lut = place(&ground_a, (m * 256 + 63) / 64 * 64, it);
    uint8_t *codes = place(&ground_b, n * bytes, it);
    uint8_t *gathered = place(&ground_c, (n + n % 2) * bytes, it);
    uint16_t *sums = place(&ground_d, (n * VQ_BLOCK + MOST_BLOCKS) * 2, 1), least[MOST_BLOCKS];
    uint32_t want_reached[MOST_BLOCKS], reached[MOST_BLOCKS];
    fill_u8(r, lut, m * 256);
    fill_u8(r, codes, n * bytes);
    if (it % 11 == 0) memset(lut, 255, m * 256);
    if (it % 11 == 1) memset(lut, 0, m * 256);
    for (size_t b = 0; b < n; b++) {
        blocks[b] = codes + vq_rng_below(r, n) * bytes;
        uint16_t largest = 0;
        vq_kernels_named("scalar")->pq8_scan(lut, blocks[b], NULL, 1, m, want_sums);
        for (size_t i = 0; i < VQ_BLOCK; i++) largest = VQ_MAX(largest, want_sums[i]);
        uint64_t way = vq_rng_below(r, 4); /* reached by one sum, missed by 1, or anything */
        least[b] = way == 0   ? largest
                   : way == 1 ? (uint16_t)VQ_MIN(largest + 1, UINT16_MAX)
                   : way == 2 ? 0
                              : (uint16_t)vq_rng_below(r, 65536);
    }
    FOR_LEVELS(want, k)
    {
        want->pq8_gather(blocks, n, m, plain);
        size_t count = want->pq8_gathered(lut, plain, n, m, least, want_sums, want_reached);
        for (size_t b = 0; b < n; b++) cr_assert(memcmp(plain + b * bytes, blocks[b], bytes) == 0);
        memset(gathered, 0xee, (n + n % 2) * bytes);
        memset(sums, 0xee, (n * VQ_BLOCK + 1) * 2);
        k->pq8_gather(blocks, n, m, gathered);
        size_t got = k->pq8_gathered(lut, gathered, n, m, least, sums, reached);
        cr_assert(got == count && memcmp(reached, want_reached, count * sizeof *reached) == 0,
                  "%s: %zu of %zu are reached, m=%zu n=%zu (seed %llu)", k->isa, got, count, m, n,
                  (unsigned long long)test_seed());
        for (size_t i = 0; i < count; i++)
            cr_assert(memcmp(want_sums + reached[i] * VQ_BLOCK, sums + reached[i] * VQ_BLOCK,
                             VQ_BLOCK * 2) == 0,
                      "%s, m=%zu n=%zu (seed %llu)", k->isa, m, n, (unsigned long long)test_seed());
        cr_assert_eq(sums[n * VQ_BLOCK], 0xeeee, "%s: one sum more than there are", k->isa);
    }
}

Test(kernels_scan, pq8_gathered)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 25);
    for (int it = 0; it < 600; it++) check_gathered(&r, it);
}

Test(kernels_scan, pq4)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 24);
    for (int it = 0; it < 600; it++) check_scan(&r, it, FOUR_BITS);
}

/* Every code of a table, and sums that wrap: 300 * 255 = 76500 = 10964 mod 65536. */
Test(kernels_scan, pq8_by_hand)
{
    enum { M = 300 };
    uint8_t *lut = place(&ground_a, M * 256, 0), *codes = place(&ground_b, 8 * M * VQ_BLOCK, 0);
    uint16_t *sums = place(&ground_c, 8 * VQ_BLOCK * 2, 0);
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        for (size_t c = 0; c < 256; c++) lut[c] = (uint8_t)(c * 7 + 3), codes[c] = (uint8_t)c;
        k->pq8_scan(lut, codes, NULL, 8, 1, sums);
        for (size_t c = 0; c < 256; c++) cr_assert(sums[c] == (uint8_t)(c * 7 + 3), "%s", k->isa);
        memset(lut, 255, M * 256);
        memset(codes, 200, 8 * M * VQ_BLOCK);
        k->pq8_scan(lut, codes, NULL, 8, M, sums);
        for (size_t c = 0; c < 256; c++) cr_assert(sums[c] == 10964, "%s", k->isa);
    }
}

/* Low nibble: the even table; high nibble: the odd one. */
Test(kernels_scan, pq4_by_hand)
{
    uint8_t *lut = place(&ground_a, 64, 0), *codes = place(&ground_b, 8 * VQ_BLOCK, 0);
    uint16_t *sums = place(&ground_c, 8 * VQ_BLOCK * 2, 0);
    for (size_t c = 0; c < 16; c++) lut[c] = (uint8_t)c, lut[16 + c] = (uint8_t)(c * 16);
    for (size_t i = 0; i < 256; i++) codes[i] = (uint8_t)(255 - i);
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        k->pq4_scan(lut, codes, 8, 2, VQ_BLOCK, sums);
        for (size_t i = 0; i < 256; i++) cr_assert(sums[i] == 255 - i, "%s", k->isa);
    }
}
