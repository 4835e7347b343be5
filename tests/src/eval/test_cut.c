/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts through answers: counts, and the best of all cuts. */
#include "src/eval/cut.h"

#include <criterion/criterion.h>
#include <math.h>

#include "tests/harness/harness.h"

Test(cut, quality)
{
    vq_cut_quality c = vq_cut_of(4, 3, 6);
    cr_assert(fabs(c.precision - 0.75) < 1e-12 && fabs(c.recall - 0.5) < 1e-12);
    cr_assert(fabs(c.f1 - 2 * 0.75 * 0.5 / 1.25) < 1e-12);
    c = vq_cut_of(0, 0, 6);
    cr_assert(isnan(c.precision) && c.recall == 0.0 && c.f1 == 0.0);
}

/* No cut is better than the best one. */
Test(cut, best_of_all)
{
    enum { MOST = 40 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int round = 0; round < 500; round++) {
        vq_cut_answer a[MOST], sorted[MOST];
        size_t n = 1 + vq_rng_below(&r, MOST), found = 0;
        for (size_t i = 0; i < n; i++) { /* few values: many ties */
            a[i].value = (double)vq_rng_below(&r, 8);
            a[i].relevant = vq_rng_below(&r, 3) == 0;
            found += a[i].relevant;
        }
        size_t relevant = found + vq_rng_below(&r, 5) + (found == 0);
        double f1, best = 0.0;
        for (size_t i = 0; i < n; i++) best = fmax(best, vq_cut_at(a, n, relevant, a[i].value).f1);
        memcpy(sorted, a, sizeof a);
        double cut = vq_cut_best(sorted, n, relevant, &f1);
        cr_assert(fabs(f1 - best) < 1e-12, "%g, not %g", f1, best);
        cr_assert(fabs(vq_cut_at(a, n, relevant, cut).f1 - f1) < 1e-12);
    }
}
