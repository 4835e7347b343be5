/* SPDX-License-Identifier: Apache-2.0 */
/* build.h -- a new index from a source of rows: sample, train, encode, write. */
#ifndef VQ_INDEX_BUILD_H
#define VQ_INDEX_BUILD_H

#include "index/file.h"
#include "src/io/source.h"

/* opts are imported: every field of this version's struct is there.  model: the index that
 * opts->model is, or NULL. */
vq_status vq_build_file(const char *path, vq_source *src, const vq_build_opts *opts, vq_file *model,
                        vq_error *err);

#endif
