/* SPDX-License-Identifier: Apache-2.0 */
/* adam.c -- Adam, cut in two so that the second part can be shared among threads. */
#include "src/train/adam.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"

#define BETA1 0.9
#define BETA2 0.999
#define EPS                                                                                        \
    1e-5f /* of the first gradient's RMS: what is rare moves like the rest, noise does not */
#define TINY 1e-20f /* of it: fading moments would end as subnormal numbers, which are slow */

vq_status vq_adam_init(vq_adam *a, const float *x, size_t n, double step, double size,
                       double anchor, vq_error *err)
{
    vq_status rc = VQ_OK;
    *a = (vq_adam){.n = n, .step = step, .size = size, .powers = {1.0, 1.0}};
    a->anchor = size > 0.0 ? anchor : 0.0;
    a->mean = vq_mem_calloc(n, sizeof *a->mean);
    a->var = vq_mem_calloc(n, sizeof *a->var);
    VQ_REQUIRE(a->mean != NULL && a->var != NULL, VQ_ENOMEM, "adam: out of memory for %zu", n);
    if (a->anchor > 0.0 && n > 0) {
        a->start = vq_alloc_f32(n, 1);
        VQ_REQUIRE(a->start != NULL, VQ_ENOMEM, "adam: out of memory for %zu", n);
        memcpy(a->start, x, n * sizeof *x);
    }
out:
    return rc;
}

void vq_adam_fini(vq_adam *a)
{
    vq_mem_free(a->mean);
    vq_mem_free(a->var);
    vq_mem_free(a->start);
}

void vq_adam_begin(vq_adam *a, const float *grad, double factor)
{
    if (!(a->scale > 0.0)) a->scale = vq_rms(grad, a->n);
    a->powers[0] *= BETA1;
    a->powers[1] *= BETA2;
    a->inv_scale = a->scale > 0.0 ? (float)(1.0 / a->scale) : 0.0f;
    a->rate = (float)(factor * a->step / (1.0 - a->powers[0]));
    a->inv_root = (float)sqrt(1.0 / (1.0 - a->powers[1]));
    a->pull = a->anchor > 0.0 ? (float)(a->anchor / a->size) : 0.0f;
}

void vq_adam_turn(const vq_adam *a, const float *x, float *grad, size_t first, size_t n)
{
    const float b1 = (float)BETA1, b2 = (float)BETA2, c1 = (float)(1.0 - BETA1);
    const float c2 = (float)(1.0 - BETA2);
    for (size_t i = first; i < first + n; i++) {
        float g = grad[i] * a->inv_scale;
        if (a->start != NULL) g += a->pull * (x[i] - a->start[i]);
        float mean = b1 * a->mean[i] + c1 * g;
        a->mean[i] = fabsf(mean) > TINY ? mean : 0.0f;
        a->var[i] = b2 * a->var[i] + c2 * g * g;
        grad[i] = a->rate * a->mean[i] / (sqrtf(a->var[i]) * a->inv_root + EPS);
    }
}

double vq_adam_factor(size_t t, size_t steps)
{
    size_t warm = steps / 10;
    if (t < warm) return (double)(t + 1) / (double)warm;
    return t < steps ? (double)(steps - t) / (double)(steps - warm) : 0.0;
}

double vq_rms(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return n > 0 ? sqrt(sum / (double)n) : 0.0;
}
