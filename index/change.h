/* SPDX-License-Identifier: Apache-2.0 */
/* change.h -- changing a file in place: the right to do so, which one holder has among all
 * processes, and transactions that are there as a whole or not at all. */
#ifndef VQ_INDEX_CHANGE_H
#define VQ_INDEX_CHANGE_H

#include "index/file.h"

#define VQ_CHANGE_WAIT_MS 10000u

typedef struct vq_change vq_change;
/* Waits up to wait_ms for whoever changes the file now: then VQ_EBUSY.  The right ends with
 * vq_change_end, or with the process.  Any thread, one at a time. */
vq_status vq_change_begin(vq_change **out, const char *path, uint32_t wait_ms, vq_error *err);
void vq_change_end(vq_change *c); /* accepts NULL */
vq_file *vq_change_file(const vq_change *c);
void vq_change_no_sync(vq_change *c); /* commits do not wait until the disk has them */

/* The right alone, to a file that is about to be replaced: changes made meanwhile would be lost.
 * *lock is -1 where there is none that could be changed; give it back by vq_change_unclaim. */
vq_status vq_change_claim(int *lock, const char *path, uint32_t wait_ms, vq_error *err);
void vq_change_unclaim(int lock); /* accepts -1 */

/* One transaction: what fn puts and deletes.  fn may run again from the start, in a larger map.
 * When this returns VQ_OK the file is changed and synced, else it is as before.  LMDB believes the
 * pages of the file: they must have been verified.  VQ_EBUSY: another file has taken its name. */
typedef vq_status (*vq_change_fn)(void *ctx, vq_change *c, vq_error *err);
vq_status vq_change_apply(vq_change *c, vq_change_fn fn, void *ctx, vq_error *err);
/* Inside fn.  Room for len bytes under a key, in the place of what was there, to be filled before
 * the next call. */
vq_status vq_change_put(vq_change *c, vq_db db, const void *key, size_t key_len, size_t len,
                        uint8_t **room, vq_error *err);
/* The key must be there. */
vq_status vq_change_delete(vq_change *c, vq_db db, const void *key, size_t key_len, vq_error *err);
/* The key may be there. */
vq_status vq_change_drop(vq_change *c, vq_db db, const void *key, size_t key_len, vq_error *err);

#endif
