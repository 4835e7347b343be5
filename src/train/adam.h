/* SPDX-License-Identifier: Apache-2.0 */
/* adam.h -- Adam (Kingma and Ba 2015; 0.9, 0.999) over a flat array of parameters, with a pull
 * towards their start.  Free of units: gradients are measured by the RMS of the first that is not
 * 0, parameters by `size`. */
#ifndef VQ_TRAIN_ADAM_H
#define VQ_TRAIN_ADAM_H

#include <stddef.h>

#include "src/base/status.h"

typedef struct vq_adam {
    size_t n;
    double step;   /* the most a parameter moves at a time, in its own unit */
    double size;   /* RMS of a parameter */
    double anchor; /* at a distance of `size` from its start, the pull on a parameter is this times
                    * the RMS of the first gradient */
    double scale;  /* RMS of that gradient; 0 = not seen yet */
    double powers[2];                      /* 0.9^t, 0.999^t */
    float rate, inv_scale, inv_root, pull; /* of the step begun last */
    float *mean, *var;                     /* owned: n moments of the gradient */
    float *start;                          /* owned: n; NULL without an anchor */
} vq_adam;

/* x: the parameters' start. */
vq_status vq_adam_init(vq_adam *a, const float *x, size_t n, double step, double size,
                       double anchor, vq_error *err);
void vq_adam_fini(vq_adam *a); /* of a zeroed one, too */

/* A step: begin (one thread) with all of the gradient, then turn ranges of it (any threads) into
 * what is to be taken off the parameters x.  factor: share of the full step, vq_adam_factor. */
void vq_adam_begin(vq_adam *a, const float *grad, double factor);
void vq_adam_turn(const vq_adam *a, const float *x, float *grad, size_t first, size_t n);

/* Share of the full step at step t of `steps`: up over a tenth of them, then linearly to 0. */
double vq_adam_factor(size_t t, size_t steps);

/* Root of the mean square, summed in order. */
double vq_rms(const float *x, size_t n);

#endif
