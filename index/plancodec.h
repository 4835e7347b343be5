/* SPDX-License-Identifier: Apache-2.0 */
/* plancodec.h -- the part of a plan that says which codec, and of how many bytes. */
#ifndef VQ_INDEX_PLANCODEC_H
#define VQ_INDEX_PLANCODEC_H

#include "index/plan.h"

/* Sets codec, m and code_room of a plan whose n, d and metric stand, and trial if others may serve
 * better.  codec, why: what a trial has decided; or NULL. */
vq_status vq_plan_codec(vq_plan *p, const vq_build_opts *o, const vq_codec *codec, const char *why,
                        vq_error *err);
/* How many vectors a search reads the codes of that says nothing, as a share of n; see
 * choose_effort in plan.c. */
double vq_plan_effort(uint64_t n);

#endif
