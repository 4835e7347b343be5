/* SPDX-License-Identifier: Apache-2.0 */
/* stored.h -- the stored rows of an index as a source, so that it can be trained anew without the
 * vectors that it was made of. */
#ifndef VQ_INDEX_STORED_H
#define VQ_INDEX_STORED_H

#include "index/docs.h"
#include "src/io/source.h"

/* Rows in the order of ids, from a snapshot of f.  Every chunk of rows is summed before it is used:
 * damage must not be given a new checksum.  name: by which f was found, absolute; NULL: nothing is
 * to take its place.  VQ_EUNSUPPORTED: no rows are stored. */
vq_status vq_stored_open(vq_source **out, vq_file *f, const char *name, vq_error *err);

/* Of any source: where src is an index's, fields of o that are left at their default become what
 * the rows have: metric, store, ids (borrowed from src). */
void vq_stored_defaults(const vq_source *src, vq_build_opts *o);
/* Of any source: if src is of the index at path, which it is to replace, is it of its newest state?
 * VQ_EBUSY: changes would be lost; those to a file that has taken the index's name, too. */
vq_status vq_stored_newest(const vq_source *src, const char *path, vq_error *err);
/* See vq_source_ids. */
vq_status vq_stored_ids(const vq_source *src, const uint64_t **ids, const char *const **names,
                        uint64_t *n, vq_error *err);
/* See vq_source_attributes. */
vq_status vq_stored_attributes(vq_source *src, uint64_t row, vq_document *out, vq_error *err);
/* Of any source: is it of an index whose vectors have attributes?  Those of a row, and the snapshot
 * that they are of. */
bool vq_stored_described(const vq_source *src);
vq_status vq_stored_document(const vq_source *src, uint64_t row, vq_doc *out, vq_error *err);
const vq_snapshot *vq_stored_snapshot(const vq_source *src);
/* After all rows have been asked for: VQ_ECORRUPT unless n of them had attributes. */
vq_status vq_stored_documents_found(const vq_source *src, uint64_t n, vq_error *err);
/* What floats were multiplied by to be stored as i8 rows; 0 where src's rows were not. */
float vq_stored_scale(const vq_source *src);

#endif
