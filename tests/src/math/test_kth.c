/* SPDX-License-Identifier: Apache-2.0 */
/* The running k-th best against a sort. */
#include "src/math/kth.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/harness.h"

static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

Test(kth, agrees_with_a_sort)
{
    float seen[300], sorted[300], heap[64];
    for (uint64_t round = 0; round < 200; round++) {
        vq_rng r;
        vq_rng_init(&r, test_seed(), round);
        size_t k = 1 + vq_rng_below(&r, 64), levels = 1 + vq_rng_below(&r, 1000);
        vq_kth t;
        vq_kth_init(&t, heap, k);
        for (size_t n = 0; n < 300; n++) { /* few levels: many ties */
            seen[n] = (float)vq_rng_below(&r, levels) - 100.0f;
            vq_kth_push(&t, seen[n]);
            memcpy(sorted, seen, sizeof sorted);
            qsort(sorted, n + 1, sizeof *sorted, falling);
            float want = n + 1 < k ? -INFINITY : sorted[k - 1];
            cr_assert(t.worst == want, "k %zu of %zu: %g, not %g", k, n + 1, (double)t.worst,
                      (double)want);
        }
    }
}
