/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/bitmap.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/hash.h"
#include "tests/harness/harness.h"

/* Bits of a density, or runs where density is negative: of the mean length -density. */
static void draw(vq_rng *r, uint64_t *words, uint64_t bits, double density)
{
    bool on = false;
    memset(words, 0, vq_bitmap_words(bits) * sizeof *words);
    for (uint64_t i = 0; i < bits; i++) {
        if (density < 0 && vq_rng_below(r, (uint64_t)-density) == 0) on = !on;
        bool x = density < 0 ? on : vq_rng_f64(r) < density;
        words[i / 64] |= (uint64_t)x << i % 64;
    }
}

Test(bitmap, comes_back)
{
    static const uint64_t bits[] = {1, 63, 64, 65, 1000, 65535, 65536, 65537, 200000, 300001};
    static const double density[] = {1e-5, .001, .05, .3, .97, 1.0, -3, -40, -5000};
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 71);
    for (size_t b = 0; b < VQ_COUNT(bits); b++)
        for (size_t d = 0; d < VQ_COUNT(density); d++) {
            size_t n = vq_bitmap_words(bits[b]);
            uint64_t *words = calloc(n, 8), *got = calloc(n, 8), any = 0;
            draw(&r, words, bits[b], density[d]);
            for (size_t i = 0; i < n; i++) any |= words[i];
            size_t size = vq_bitmap_size(words, bits[b]);
            cr_assert_eq(size == 0, any == 0);
            cr_assert(size <= 8 + 8 * (bits[b] / 65536 + 1) + 9000 * (bits[b] / 65536 + 1));
            uint8_t *bytes = guard_end(size);
            vq_bitmap_write(words, bits[b], bytes);
            if (size > 0)
                cr_assert_eq(vq_bitmap_read(bytes, size, got, bits[b], &err), VQ_OK, "%s",
                             err.text);
            cr_assert(memcmp(words, got, n * 8) == 0);
            for (size_t cut = 0; cut < size; cut += 1 + size / 50)
                cr_assert_eq(vq_bitmap_read(bytes, cut, got, bits[b], &err), VQ_ECORRUPT);
            guard_free(bytes);
            free(words);
            free(got);
        }
}

/* What CRoaring 0.2.66 wrote (portable, after run_optimize) of: {3, 5, 70000}; {0..999} and 2000;
 * all even numbers below 20,000; {i * 65,536 .. + 9} for i in 0..4. */
Test(bitmap, the_same_bytes_as_others)
{
    static const uint8_t three[] = {0x3a, 0x30, 0, 0, 2, 0,    0, 0, 0, 0, 1, 0, 1, 0,    0,
                                    0,    0x18, 0, 0, 0, 0x1c, 0, 0, 0, 3, 0, 5, 0, 0x70, 0x11};
    static const uint8_t runs[] = {0x3b, 0x30, 0, 0,    1, 0,    0, 0xe8, 3, 2,
                                   0,    0,    0, 0xe7, 3, 0xd0, 7, 0,    0};
    enum { BITS = 5 * 65536 };
    vq_error err = {0};
    uint64_t *words = calloc(BITS / 64, 8), *got = calloc(BITS / 64, 8);
    uint8_t out[16384];
    const uint32_t few[] = {3, 5, 70000};
    for (size_t i = 0; i < 3; i++) words[few[i] / 64] |= UINT64_C(1) << few[i] % 64;
    cr_assert_eq(vq_bitmap_size(words, BITS), sizeof three);
    vq_bitmap_write(words, BITS, out);
    cr_assert(memcmp(out, three, sizeof three) == 0);
    cr_assert_eq(vq_bitmap_read(three, sizeof three, got, BITS, &err), VQ_OK, "%s", err.text);
    cr_assert(memcmp(words, got, BITS / 8) == 0);
    memset(words, 0, BITS / 8);
    for (uint32_t i = 0; i <= 2000; i++)
        if (i < 1000 || i == 2000) words[i / 64] |= UINT64_C(1) << i % 64;
    cr_assert_eq(vq_bitmap_size(words, BITS), sizeof runs);
    vq_bitmap_write(words, BITS, out);
    cr_assert(memcmp(out, runs, sizeof runs) == 0);
    memset(words, 0, BITS / 8);
    for (uint32_t i = 0; i < 20000; i += 2) words[i / 64] |= UINT64_C(1) << i % 64;
    cr_assert_eq(vq_bitmap_size(words, BITS), 8208);
    vq_bitmap_write(words, BITS, out);
    cr_assert_eq(vq_xxh3(out, 8208), UINT64_C(0x9c5cd7553302a376));
    memset(words, 0, BITS / 8);
    for (uint32_t i = 0; i < 5; i++) words[i * 1024] |= 0x3ff;
    cr_assert_eq(vq_bitmap_size(words, BITS), 75);
    vq_bitmap_write(words, BITS, out);
    cr_assert_eq(vq_xxh3(out, 75), UINT64_C(0x715986310d7ace6c));
    free(words);
    free(got);
}

/* No byte that is changed makes a reader write outside its words; what it accepts is a bitmap. */
Test(bitmap, damage)
{
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 72);
    size_t refused = 0;
    for (int round = 0; round < 4000; round++) {
        uint64_t bits = 1 + vq_rng_below(&r, round % 20 == 0 ? 150000 : 3000);
        size_t n = vq_bitmap_words(bits);
        uint64_t *words = calloc(n, 8);
        draw(&r, words, bits, round % 3 == 0 ? -20 : vq_rng_f64(&r));
        words[0] |= 1;
        size_t size = vq_bitmap_size(words, bits);
        uint8_t *bytes = guard_end(size), *room = guard_end(n * 8);
        vq_bitmap_write(words, bits, bytes);
        for (uint64_t i = 0; i <= vq_rng_below(&r, 3); i++)
            bytes[vq_rng_below(&r, VQ_MIN(size, (size_t)64))] = (uint8_t)vq_rng_u64(&r);
        memset(room, 0, n * 8);
        vq_status rc = vq_bitmap_read(bytes, size, (uint64_t *)(void *)room, bits, &err);
        cr_assert(rc == VQ_OK || rc == VQ_ECORRUPT);
        refused += rc != VQ_OK;
        if (rc == VQ_OK && bits % 64 != 0)
            cr_assert_eq(((uint64_t *)(void *)room)[n - 1] >> bits % 64, 0);
        guard_free(bytes);
        guard_free(room);
        free(words);
    }
    cr_assert(refused > 1000);
}
