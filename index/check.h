/* SPDX-License-Identifier: Apache-2.0 */
/* check.h -- verifying a file, and hashing its logical content. */
#ifndef VQ_INDEX_CHECK_H
#define VQ_INDEX_CHECK_H

#include "index/searcher.h"

/* See vq_check in vq.h. */
vq_status vq_check_file(const char *path, vq_problem_fn fn, void *ctx, vq_check_report *report,
                        vq_error *err);
/* See vq_index_digest in vq.h. */
vq_status vq_digest_shard(vq_shard *s, char hex[33], vq_error *err);

/* doccheck.c: the attributes of a snapshot whose lists are loaded and ids sound; adds to *values.
 */
vq_status vq_check_docs(vq_shard *s, uint64_t *values, vq_error *err);

#endif
