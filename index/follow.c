/* SPDX-License-Identifier: Apache-2.0 */
/* follow.c -- see follow.h. */
#include "index/follow.h"

#include <string.h>

vq_status vq_index_open(vq_index **out, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard shard;
    vq_index *ix = vq_mem_calloc(1, sizeof *ix);
    VQ_REQUIRE(ix != NULL, VQ_ENOMEM, "open: out of memory");
    (void)pthread_mutex_init(&ix->lock, NULL);
    VQ_TRY(vq_file_open(&ix->file, path, err));
    VQ_TRY(vq_file_absolute(path, &ix->path, err));
    VQ_TRY(vq_shard_open(&shard, ix->file, err)); /* verifies meta and model */
    vq_shard_close(&shard);
    *out = ix;
    ix = NULL;
out:
    vq_index_free(ix);
    return rc;
}

void vq_index_free(vq_index *ix)
{
    if (ix == NULL) return;
    vq_file_close(ix->file);
    (void)pthread_mutex_destroy(&ix->lock);
    vq_mem_free(ix->path);
    vq_mem_free(ix);
}

vq_status vq_index_file(vq_index *ix, vq_file **out, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_file *fresh = NULL;
    *out = NULL;
    (void)pthread_mutex_lock(&ix->lock);
    VQ_TRY(vq_file_successor(&fresh, ix->file, ix->path, err));
    if (fresh != NULL) {
        vq_file_close(ix->file);
        ix->file = fresh;
    }
    *out = vq_file_share(ix->file);
out:
    (void)pthread_mutex_unlock(&ix->lock);
    return rc;
}

vq_status vq_index_shard(vq_index *ix, vq_shard *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_file *file = NULL;
    memset(s, 0, sizeof *s);
    VQ_TRY(vq_index_file(ix, &file, err));
    VQ_TRY(vq_shard_open(s, file, err));
out:
    vq_file_close(file);
    return rc;
}
