/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h -- from build options and the shape of the data to the parameters of an index.  Whatever
 * is chosen here says so in one line of model.why. */
#ifndef VQ_INDEX_PLAN_H
#define VQ_INDEX_PLAN_H

#include "index/model.h"
#include "src/base/compiler.h"

typedef struct vq_plan {
    vq_model model; /* parameters; arrays are NULL, d_code is final after vq_fit */
    size_t sample;  /* rows to train on; */
    bool cut;       /* ..as many as the memory holds, where more were wanted */
    size_t memory;  /* bytes to stay within, about */
    int threads;
    bool whiten;        /* error counts as given queries feel it, from the axes on */
    bool copies;        /* some vectors get a second list; */
    bool copies_chosen; /* ..to be decided by vq_fit, and what was asked for otherwise */
    bool store_chosen;  /* not asked for */
    bool adopted;       /* the model is another index's (adopt.h): lists, axes and codes stand */
    bool trial;         /* which codec is for a trial on the sample to say (trial.h) */
    float store_scale;  /* i8 of floats: the scale that the rows came with; 0: from the largest */
    uint32_t code_room; /* bytes per vector for the code alone as asked for; 0 = codec's choice */
} vq_plan;

/* Checks opts (imported: every field present) against n >= 1 rows of d elements. */
vq_status vq_plan_make(vq_plan *p, const vq_build_opts *opts, uint64_t n, uint32_t d, uint32_t elem,
                       vq_error *err);
/* After a trial: the same with this codec, and why; p->model.n has been shrunk where it had to be.
 */
vq_status vq_plan_decide(vq_plan *p, const vq_build_opts *opts, uint32_t elem,
                         const vq_codec *codec, const char *why, vq_error *err);
/* Bytes for the code alone of a plan that a trial is for; and per vector, as options say it. */
uint32_t vq_plan_room(const vq_plan *p);
uint32_t vq_plan_bytes(const vq_plan *p);
/* After the rows were seen: fewer are good than the header said. */
void vq_plan_shrink(vq_plan *p, uint64_t n);
/* After the largest |x| of float rows is known: do scores of such rows fit a float?  Does the store
 * hold it, and at which scale? */
vq_status vq_plan_range(const vq_plan *p, float largest, vq_error *err);
vq_status vq_plan_store(vq_plan *p, float largest, vq_error *err);
/* Adds a line to model.why. */
void vq_plan_note(vq_plan *p, const char *fmt, ...) VQ_PRINTF(2, 3);

#endif
