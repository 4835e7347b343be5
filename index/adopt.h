/* SPDX-License-Identifier: Apache-2.0 */
/* adopt.h -- a build with the model of an index that is there: nothing is chosen, nothing trained,
 * so that indexes of many parts of a corpus can be merged. */
#ifndef VQ_INDEX_ADOPT_H
#define VQ_INDEX_ADOPT_H

#include "index/plan.h"

/* In place of vq_plan_make: of lends its arrays, which must outlive p; name: of its file. */
vq_status vq_adopt_plan(vq_plan *p, const vq_model *of, const char *name, const vq_build_opts *o,
                        uint64_t n, uint32_t d, uint32_t elem, vq_error *err);
/* In place of vq_plan_store: largest |x| of float rows. */
vq_status vq_adopt_store(vq_plan *p, float largest, vq_error *err);

#endif
