/* SPDX-License-Identifier: Apache-2.0 */
/* beside.c -- see beside.h.  Seeds are drawn by squared distance (k-means++), then Lloyd's rounds
 * move all centres but the one that stays. */
#include "src/train/beside.h"

#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/rng.h"

enum { ROUNDS = 8 };

size_t vq_centre_nearest(const vq_kernels *k, const float *row, const float *centres, size_t count,
                         size_t d, float *sq)
{
    size_t best = count;
    for (size_t c = 0; c < count; c++) {
        float to = k->l2sq_f32(row, centres + c * d, d);
        if (to < *sq) *sq = to, best = c;
    }
    return best;
}

/* A row, in proportion to its distance; n if all are 0, or they do not add up to a number. */
static size_t draw(vq_rng *rng, const float *near, size_t n)
{
    double sum = 0.0, at;
    size_t last = n;
    for (size_t i = 0; i < n; i++) sum += (double)near[i];
    if (!isfinite(sum)) return n;
    at = sum * vq_rng_f64(rng);
    for (size_t i = 0; i < n; i++) {
        if (near[i] <= 0.0f) continue;
        last = i;
        at -= (double)near[i];
        if (at < 0.0) break;
    }
    return last;
}

/* The mean of the rows that are nearest to each centre; one without rows stays. */
static void move(const vq_kernels *k, const float *x, size_t n, size_t d, const float *held,
                 size_t count, float *centres, uint32_t *nearest)
{
    for (size_t i = 0; i < n; i++) {
        float sq = k->l2sq_f32(x + i * d, held, d);
        nearest[i] = (uint32_t)vq_centre_nearest(k, x + i * d, centres, count, d, &sq);
    }
    for (size_t c = 0; c < count; c++) {
        size_t members = 0;
        float *mean = centres + c * d;
        for (size_t i = 0; i < n; i++) {
            if (nearest[i] != c) continue;
            float part = 1.0f / (float)++members;
            if (members == 1) memset(mean, 0, d * sizeof *mean);
            for (size_t j = 0; j < d; j++) mean[j] += (x[i * d + j] - mean[j]) * part;
        }
    }
}

size_t vq_centres_beside(const vq_kernels *k, const float *x, size_t n, size_t d, const float *held,
                         size_t want, uint64_t seed, float *centres, float *near, uint32_t *nearest)
{
    vq_rng rng;
    size_t count = 0;
    vq_rng_init(&rng, seed, n);
    for (size_t i = 0; i < n; i++) near[i] = k->l2sq_f32(x + i * d, held, d);
    for (; count < want; count++) {
        size_t row = draw(&rng, near, n);
        if (row == n) break;
        memcpy(centres + count * d, x + row * d, d * sizeof *centres);
        for (size_t i = 0; i < n; i++)
            near[i] = VQ_MIN(near[i], k->l2sq_f32(x + i * d, centres + count * d, d));
    }
    for (int round = 0; round < ROUNDS; round++) move(k, x, n, d, held, count, centres, nearest);
    return count;
}
