/* SPDX-License-Identifier: Apache-2.0 */
/* teachcache.h -- a file that keeps the exact answers to training queries from one build to the
 * next, which changes options but not the vectors.
 *
 *   offset   size        field
 *        0   8           magic    "VQTEACH\n"
 *        8   4           version  1
 *       12   4           metric   VQ_METRIC_*
 *       16   4           k
 *       20   4           zero
 *       24   8           nq       training queries
 *       32   8           n        vectors
 *       40   16          base     XXH3-128 of element type, dimension and all good rows
 *       56   16          queries  XXH3-128 of dimension and all queries, as f32
 *       72   4*nq*k      rows     u32, the vector (good rows are counted), best first
 *        .   4*nq*k      scores   f32
 *        .   16          XXH3-128 of all that stands before
 *
 * Little-endian; a name that ends in .zst is compressed.  Answers are kept as they are found, so
 * that an index does not depend on where they came from. */
#ifndef VQ_INDEX_TEACHCACHE_H
#define VQ_INDEX_TEACHCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct vq_teachcache_key { /* all that the answers depend on */
    uint32_t metric, k;
    uint64_t nq, n;
    uint8_t base[16], queries[16];
} vq_teachcache_key;

/* VQ_OK if there is no file at path, or one that may be read and replaced; VQ_ECORRUPT if it is no
 * teacher cache, and so not ours to replace. */
vq_status vq_teachcache_check(const char *path, vq_error *err);
/* rows and scores: nq x k.  *found is false, and they hold anything, where the file is not there,
 * answers something else, is of another version or is damaged. */
vq_status vq_teachcache_read(const char *path, const vq_teachcache_key *key, uint32_t *rows,
                             float *scores, bool *found, vq_error *err);
/* To a temporary file, then renamed. */
vq_status vq_teachcache_write(const char *path, const vq_teachcache_key *key, const uint32_t *rows,
                              const float *scores, vq_error *err);

#endif
