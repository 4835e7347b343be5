/* SPDX-License-Identifier: Apache-2.0 */
/* docbuild.h -- the attributes of a new index: as they are given, and, where its rows are those of
 * another index, as that one has them. */
#ifndef VQ_INDEX_DOCBUILD_H
#define VQ_INDEX_DOCBUILD_H

#include "index/docwrite.h"
#include "index/idmap.h"
#include "index/stored.h"
#include "src/base/table.h"

typedef struct vq_doc_build { /* all zero: there are none */
    const vq_source *src;     /* of an index with attributes, or NULL */
    uint64_t found;           /* vectors of it that have some */
    vq_attributes *given;     /* ngiven, owned; what they point to is borrowed */
    size_t ngiven;
    uint64_t
        *rows[3]; /* n, by rank: tags, time, payload: number of given << 48 | its row + 1, or 0 */
    vq_docs docs;
    vq_table table; /* tags by their hashes -> numbers */
} vq_doc_build;
void vq_doc_build_fini(vq_doc_build *b);

/* Joins what is given with the ids of im: VQ_ENOENT, VQ_EINVAL before the long work.  skipped: the
 * ids of rows that were left out may be named. */
vq_status vq_doc_build_init(vq_doc_build *b, const vq_source *src, const vq_build_opts *o,
                            const vq_idmap *im, const uint64_t *skipped, size_t nskipped,
                            vq_error *err);
bool vq_doc_build_any(const vq_doc_build *b);
/* Writes it all; the vectors have their places.  capacity: of a chunk. */
vq_status vq_doc_build_write(vq_doc_build *b, const vq_idmap *im, vq_store *st, uint32_t capacity,
                             vq_error *err);

#endif
