/* SPDX-License-Identifier: Apache-2.0 */
/* split.h -- a list that a batch makes too large gives what lies far from its centroid to new
 * lists, and one that it leaves almost empty gives all it has to those around it, in the same
 * commit.  Why so is said in docs/ARCHITECTURE.md. */
#ifndef VQ_INDEX_SPLIT_H
#define VQ_INDEX_SPLIT_H

#include "index/pending.h"

/* Before the plan of a batch (vq_update_plan): vectors of lists that have become too large, or too
 * small, are encoded anew, as vectors of the batch.  Nothing, where no rows are stored, or where
 * lists lie in groups.  On failure the batch is as before. */
vq_status vq_pending_split(vq_pending *b, vq_error *err);
/* Takes that back, if there is something: the commit has failed. */
void vq_pending_unsplit(vq_pending *b);
void vq_split_fini(vq_split *s); /* leaves it empty */

#endif
