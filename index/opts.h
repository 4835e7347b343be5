/* SPDX-License-Identifier: Apache-2.0 */
/* opts.h -- option structs of any age. */
#ifndef VQ_INDEX_OPTS_H
#define VQ_INDEX_OPTS_H

#include <stddef.h>

#include "src/base/status.h"

/* Copies src (a struct that starts with size_t struct_size) into dst of dsize bytes: a shorter one
 * is an older caller's, its missing fields are 0; a longer one is accepted if what we do not know
 * of is 0.  src may be NULL: all defaults. */
vq_status vq_opts_import(void *dst, size_t dsize, const void *src, vq_error *err);
/* The other way, for structs that we fill: copies as many bytes as the caller's struct has. */
vq_status vq_opts_export(void *dst, const void *src, size_t ssize, vq_error *err);

#endif
