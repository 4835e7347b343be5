/* SPDX-License-Identifier: Apache-2.0 */
/* tune.h -- measuring what recall costs on this index (relation.h): queries or held-out stored
 * vectors, their exact answers, traces, settings. */
#ifndef VQ_INDEX_TUNE_H
#define VQ_INDEX_TUNE_H

#include "index/file.h"
#include "index/model.h"
#include "src/base/team.h"

typedef struct vq_tune_job {
    const float *queries; /* nq x d; NULL: stored vectors serve, each left out of its answers */
    size_t nq;            /* more than max are thinned out evenly */
    size_t max;           /* queries to follow, at most; 0: chosen by the work they make */
    uint32_t k;           /* the one to measure; 0: 1, 3, 10, 30 and 100, as far as n allows */
    int threads;          /* nothing depends on it */
    vq_ticker *ticker;
} vq_tune_job;

/* Whether there is so little to search that any recall may as well take all of it. */
bool vq_tune_needless(const vq_model *m);
/* Why this index cannot be tuned, or NULL. */
const char *vq_tune_hindrance(const vq_model *m, bool queries);

/* Measures the file: *rows (n x VQ_TUNE_COLS, the caller's to free).  *n may be 0: no level was
 * reached.  VQ_EUNSUPPORTED: there is a hindrance. */
vq_status vq_tune_file(vq_file *f, const vq_tune_job *job, float **rows, size_t *n, vq_error *err);

/* See vq_tune in vq.h; opts are imported. */
vq_status vq_tune_index(const char *path, const vq_tune_opts *opts, vq_error *err);

#endif
