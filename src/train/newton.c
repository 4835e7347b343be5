/* SPDX-License-Identifier: Apache-2.0 */
/* newton.c -- see newton.h. */
#include "src/train/newton.h"

#include <math.h>

bool vq_newton_step(const double *h, size_t stride, size_t p, const double *gradient, double *step)
{
    double l[VQ_NEWTON_MAX][VQ_NEWTON_MAX];
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) {
            double s = h[i * stride + j];
            for (size_t t = 0; t < j; t++) s -= l[i][t] * l[j][t];
            if (i == j && !(s > 0)) return false;
            l[i][j] = i == j ? sqrt(s) : s / l[j][j];
        }
    }
    for (size_t i = 0; i < p; i++) {
        step[i] = gradient[i];
        for (size_t t = 0; t < i; t++) step[i] -= l[i][t] * step[t];
        step[i] /= l[i][i];
    }
    for (size_t i = p; i-- > 0;) {
        for (size_t t = i + 1; t < p; t++) step[i] -= l[t][i] * step[t];
        step[i] /= l[i][i];
    }
    return true;
}
