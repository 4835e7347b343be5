/* SPDX-License-Identifier: Apache-2.0 */
/* compact.h -- a dense copy of an index: one snapshot, without the space that changes left free. */
#ifndef VQ_INDEX_COMPACT_H
#define VQ_INDEX_COMPACT_H

#include "index/file.h"

/* To out, or in the place of path if that is NULL: then nobody else may change it meanwhile.  o: as
 * in vq_compact. */
vq_status vq_compact_file(const char *path, const char *out, const vq_compact_opts *o,
                          vq_error *err);

#endif
