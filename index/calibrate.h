/* SPDX-License-Identifier: Apache-2.0 */
/* calibrate.h -- from traces to settings: two rules fitted on a part of the queries, and the prices
 * at which they reach each recall, read off the others. */
#ifndef VQ_INDEX_CALIBRATE_H
#define VQ_INDEX_CALIBRATE_H

#include "index/relation.h"
#include "index/trace.h"

enum { VQ_LEVELS = 14 }; /* of recall, for each k */

typedef struct vq_costs { /* in the price of scanning one code */
    double list;          /* of a list beside its vectors */
    double row;           /* of a candidate scored in full; 0: there is no second pass */
} vq_costs;

/* For t->k[of] answers: fills up to VQ_LEVELS rows of VQ_TUNE_COLS floats, by rising recall; *n of
 * them.  Levels that the trace does not reach are left out.  t->n >= 2. */
vq_status vq_calibrate(const vq_trace *t, size_t of, const vq_costs *costs, float *rows, size_t *n,
                       vq_error *err);

#endif
