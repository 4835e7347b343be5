/* SPDX-License-Identifier: Apache-2.0 */
/* placed.h -- the stored rows of an index as a source, as they lie in the file: list by list, which
 * a disk likes, where stored.h goes by ids. */
#ifndef VQ_INDEX_PLACED_H
#define VQ_INDEX_PLACED_H

#include "index/searcher.h"
#include "src/io/source.h"

/* Opens the rows of a shard, which is used until the source is closed, as f32 or as they are
 * stored; *labels (n, owned by the source): of each row.  Each chunk of rows is summed before it is
 * used, and its memory of the map given back after: a file larger than memory takes none from
 * others. VQ_EUNSUPPORTED: no rows are stored. */
vq_status vq_placed_open(vq_source **out, vq_shard *s, const uint64_t **labels, vq_error *err);

#endif
