/* SPDX-License-Identifier: Apache-2.0 */
/* follow.h -- an index is a name, not a file: what vq_compact, a build with force, or mv put in the
 * place of a file is the index from then on, for those who have it open, too. */
#ifndef VQ_INDEX_FOLLOW_H
#define VQ_INDEX_FOLLOW_H

#include <pthread.h>

#include "index/searcher.h"

struct vq_index {
    char *path; /* absolute, so that it means the same after a change of folder */
    pthread_mutex_t lock;
    vq_file *file; /* under lock: the one that path named when it was last looked at */
};

vq_status vq_index_open(vq_index **out, const char *path, vq_error *err);
void vq_index_free(vq_index *ix); /* accepts NULL */
/* The file that the index's name stands for now, to be closed by the caller; where nothing has that
 * name any more, the last one that had it. */
vq_status vq_index_file(vq_index *ix, vq_file **out, vq_error *err);
/* Its newest snapshot. */
vq_status vq_index_shard(vq_index *ix, vq_shard *s, vq_error *err);

#endif
