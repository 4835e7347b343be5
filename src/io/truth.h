/* SPDX-License-Identifier: Apache-2.0 */
/* truth.h -- exact neighbours in files: ibin (nq, k, ids, then scores if present) and ivecs. */
#ifndef VQ_IO_TRUTH_H
#define VQ_IO_TRUTH_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct vq_truth {
    size_t nq, k;
    uint64_t *ids; /* nq x k, best first; owned */
    float *scores; /* nq x k or NULL; owned */
} vq_truth;

vq_status vq_truth_read(vq_truth *t, const char *path, vq_error *err); /* plain or .zst */
/* By the ending: .ibin (ids and scores), .ivecs (ids); ids must be below 2^31; written to a
 * temporary file and renamed.  VQ_NO_ID is written as -1, read back as VQ_NO_ID. */
vq_status vq_truth_write(const vq_truth *t, const char *path, vq_error *err);
void vq_truth_fini(vq_truth *t);

#endif
