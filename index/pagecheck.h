/* SPDX-License-Identifier: Apache-2.0 */
/* pagecheck.h -- every page of a snapshot accounted for: in exactly one tree or run, or free. */
#ifndef VQ_INDEX_PAGECHECK_H
#define VQ_INDEX_PAGECHECK_H

#include "index/file.h"

/* Collects what is wrong. */
typedef struct vq_problems {
    vq_problem_fn fn; /* may be NULL */
    void *ctx;
    uint64_t count;
} vq_problems;
void vq_problem(vq_problems *p, const char *fmt, ...) VQ_PRINTF(2, 3);

/* Walks all trees: page headers, nodes, order of keys, counts, overflow runs, free pages.
 * VQ_OK if it could walk (problems are counted); *verified is the number of pages in use. */
vq_status vq_pages_verify(const vq_pages *p, vq_problems *problems, uint64_t *verified,
                          vq_error *err);
/* For who is about to trust the pages of a file, as LMDB does when it writes beside them:
 * VQ_ECORRUPT, naming path, if anything is wrong. */
vq_status vq_pages_sound(const vq_pages *p, const char *path, vq_error *err);
/* The same of the newest snapshot of a file; value_min: of its records (layout.h). */
vq_status vq_file_sound(vq_file *f, size_t *value_min, vq_error *err);

#endif
