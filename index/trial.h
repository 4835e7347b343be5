/* SPDX-License-Identifier: Apache-2.0 */
/* trial.h -- which codec?  Those that may serve are tried on some of the sample. */
#ifndef VQ_INDEX_TRIAL_H
#define VQ_INDEX_TRIAL_H

#include "index/plan.h"

enum { VQ_TRIAL_WHY = 200 };
typedef struct vq_trial_choice {
    const vq_codec *codec; /* NULL: too few rows to tell */
    char why[VQ_TRIAL_WHY];
} vq_trial_choice;

/* For a plan with trial set, made of opts.  rows: n x d of type elem, drawn from all p->model.n.
 * What a search takes is counted, not timed: the same rows, the same choice.  Within
 * vq_team_blas_enter/leave. */
vq_status vq_trial_run(const vq_plan *p, const vq_build_opts *opts, const void *rows, uint32_t elem,
                       size_t n, vq_trial_choice *out, vq_error *err);

#endif
