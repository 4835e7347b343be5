/* SPDX-License-Identifier: Apache-2.0 */
/* levels.h -- what the kernel tests share: every level that this machine has against the scalar
 * one, on buffers whose ends touch pages that fault, with fills that look for trouble. */
#ifndef VQ_TESTS_MATH_LEVELS_H
#define VQ_TESTS_MATH_LEVELS_H

#include <criterion/criterion.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/math/kernels.h"
#include "tests/harness/harness.h"

/* Runs the body with `k` = each level above scalar, `want` = scalar. */
#define FOR_LEVELS(want, k)                                                                        \
    for (const vq_kernels *want = vq_kernels_named("scalar"), *k, *once_ = want; once_ != NULL;    \
         once_ = NULL)                                                                             \
        for (const char *const *name_ = vq_kernels_levels() + 1; *name_ != NULL; name_++)          \
            if ((k = vq_kernels_named(*name_)) != NULL)

/* Memory that buffers are placed in: the last byte of one touches a page that faults, or the first
 * byte of the other does. */
enum { PLAYGROUND = 1 << 20 };
typedef struct playground {
    char *end; /* one past the last byte */
    char *begin;
} playground;

static inline playground playground_new(void)
{
    return (playground){(char *)guard_end(PLAYGROUND) + PLAYGROUND, guard_begin(PLAYGROUND)};
}

static inline void playground_free(playground *p)
{
    guard_free(p->end - PLAYGROUND);
    guard_free(p->begin);
}

/* Four of them, for the tests of a suite. */
static playground ground_a, ground_b, ground_c, ground_d;

static inline void grounds_new(void)
{
    ground_a = playground_new();
    ground_b = playground_new();
    ground_c = playground_new();
    ground_d = playground_new();
}

static inline void grounds_free(void)
{
    playground_free(&ground_a);
    playground_free(&ground_b);
    playground_free(&ground_c);
    playground_free(&ground_d);
}

/* Room for `bytes`, at either edge by turns of `it`. */
static inline void *place(playground *p, size_t bytes, int it)
{
    cr_assert(bytes <= PLAYGROUND);
    return it % 2 == 0 ? p->end - bytes : p->begin;
}

/* 0, 1, small, odd, around the widths of registers, and large, all below `limit`. */
static inline size_t any_size(vq_rng *r, size_t limit)
{
    static const size_t often[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128};
    size_t n =
        vq_rng_below(r, 2) == 0 ? often[vq_rng_below(r, VQ_COUNT(often))] : vq_rng_below(r, limit);
    return n < limit ? n : limit - 1;
}

/* Finite values of six kinds: those of the harness; products that underflow to a zero with a sign;
 * large ones; many ties and both zeros. */
static inline void fill_any(vq_rng *r, float *p, size_t n)
{
    static const float ties[] = {0.0f, -0.0f, 1.0f, -1.0f};
    uint64_t kind = vq_rng_below(r, 6);
    fill_f32(r, p, n);
    for (size_t i = 0; i < n && kind >= 3; i++)
        p[i] = kind == 3   ? p[i] * 1e-30f
               : kind == 4 ? p[i] * 1e16f
                           : ties[vq_rng_below(r, VQ_COUNT(ties))];
}

/* Finite binary16, subnormals among them. */
static inline void fill_f16(vq_rng *r, uint16_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint16_t)vq_rng_u64(r);
        if ((p[i] & 0x7c00u) == 0x7c00u) p[i] = (uint16_t)(p[i] & 0xbfffu);
    }
}

#endif
