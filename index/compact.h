/* SPDX-License-Identifier: Apache-2.0 */
/* compact.h -- a dense copy of an index: one snapshot, without the space that changes left free. */
#ifndef VQ_INDEX_COMPACT_H
#define VQ_INDEX_COMPACT_H

#include "index/file.h"

/* To out, or in the place of path if that is NULL: then nobody else may change it meanwhile.
 * private: nobody else can know of path yet, and no lock file is made for it.  o: as in vq_compact.
 */
vq_status vq_compact_file(const char *path, const char *out, bool private, const vq_compact_opts *o,
                          vq_error *err);

/* backup.c: a dense copy as a compressed file (if the name of out ends in .zst), and back.  o: as
 * in vq_backup. */
vq_status vq_backup_file(const char *path, const char *out, const vq_compact_opts *o,
                         vq_error *err);
vq_status vq_restore_file(const char *path, const char *out, const vq_compact_opts *o,
                          vq_error *err);

#endif
