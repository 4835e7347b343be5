/* SPDX-License-Identifier: Apache-2.0 */
/* bucket.h -- records of one size sorted into parts, in bounded memory: what does not fit goes to
 * an unlinked temporary file.  Within a part records keep the order in which they came. */
#ifndef VQ_INDEX_BUCKET_H
#define VQ_INDEX_BUCKET_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct vq_buckets vq_buckets;
/* memory: bytes of records to hold, about.  The temporary file lies in the folder of `beside`. */
vq_status vq_buckets_new(vq_buckets **out, const char *beside, size_t parts, size_t record,
                         size_t memory, vq_error *err);
vq_status vq_buckets_add(vq_buckets *b, size_t part, const void *record, vq_error *err);
size_t vq_buckets_count(const vq_buckets *b, size_t part);
/* The records of a part from `first` on, at most max, into out; *got of them. */
vq_status vq_buckets_read(vq_buckets *b, size_t part, size_t first, size_t max, void *out,
                          size_t *got, vq_error *err);
void vq_buckets_drop(vq_buckets *b, size_t part); /* its memory is free again */
void vq_buckets_free(vq_buckets *b);

#endif
