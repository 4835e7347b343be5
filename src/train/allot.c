/* SPDX-License-Identifier: Apache-2.0 */
/* allot.c -- see allot.h. */
#include "src/train/allot.h"

#include <string.h>

/* Even grids of 2^b half-integer levels with the step that loses least of N(0, 1) (Max 1960); above
 * 8 bits the loss falls by a little less than 4 a bit. */
static const double left[VQ_ALLOT_MOST + 1] = {1.0,    0.3634,  0.1188, 0.03744, 0.01154,
                                               3.5e-3, 1.04e-3, 3.0e-4, 8.7e-5,  2.5e-5,
                                               6.9e-6, 1.9e-6,  5.2e-7, 1.4e-7};
static const double step[VQ_ALLOT_MOST + 1] = {0.0,    1.596,  0.9957, 0.586,  0.3352,
                                               0.1881, 0.1041, 0.0569, 0.0308, 0.0166,
                                               0.0090, 0.0048, 0.0026, 0.0014};

double vq_grid_left(uint32_t b)
{
    return left[b];
}

double vq_grid_step(uint32_t b)
{
    return step[b];
}

size_t vq_allot(const double *cost, size_t n, size_t bits, uint8_t *out)
{
    size_t dealt = 0;
    memset(out, 0, n);
    for (; dealt < bits; dealt++) {
        size_t best = n;
        double most = -1.0;
        for (size_t j = 0; j < n; j++) {
            double gain =
                out[j] < VQ_ALLOT_MOST ? cost[j] * (left[out[j]] - left[out[j] + 1]) : -1.0;
            if (gain > most) most = gain, best = j;
        }
        if (best == n) break;
        out[best]++;
    }
    return dealt;
}
