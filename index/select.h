/* SPDX-License-Identifier: Apache-2.0 */
/* select.h -- the vectors for which an expression holds, as bits by slot. */
#ifndef VQ_INDEX_SELECT_H
#define VQ_INDEX_SELECT_H

#include "index/expr.h"
#include "index/mask.h"

/* Takes from m what e does not hold for, or, if m is empty yet, adds what it holds for.  Lists that
 * cannot have a match are not looked up. */
vq_status vq_select(vq_mask *m, bool fresh, vq_shard *s, const vq_expr *e, vq_error *err);

#endif
