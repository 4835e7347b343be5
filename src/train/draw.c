/* SPDX-License-Identifier: Apache-2.0 */
/* draw.c -- seeded draws of rows.  One thread each; the order of the numbers drawn is part of what
 * makes a build repeatable. */
#include "src/train/draw.h"

#include <math.h>

void vq_draw_rows(vq_rng *rng, size_t n, size_t want, uint32_t *rows)
{
    size_t got = 0;
    for (size_t i = 0; i < n && got < want; i++)
        if (vq_rng_below(rng, n - i) < want - got) rows[got++] = (uint32_t)i;
}

size_t vq_draw_weighted(vq_rng *rng, const float *w, size_t n, size_t want, uint32_t *rows)
{
    double total = 0.0;
    for (size_t i = 0; i < n; i++) total += (double)w[i];
    if (want == 0 || !(total > 0.0) || !isfinite(total)) return 0;

    /* One target in each of `want` equal strata of the cumulated weight: rising, so one pass. */
    double step = total / (double)want, below = 0.0, target = vq_rng_f64(rng) * step;
    size_t got = 0, stratum = 0;
    for (size_t i = 0; i < n && stratum < want; i++) {
        below += (double)w[i];
        if (!(target < below)) continue;
        rows[got++] = (uint32_t)i;
        do { /* the further targets that fall into this row too */
            stratum++;
            target = ((double)stratum + vq_rng_f64(rng)) * step;
        } while (stratum < want && target < below);
    }
    return got;
}
