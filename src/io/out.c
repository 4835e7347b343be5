/* SPDX-License-Identifier: Apache-2.0 */
/* out.c -- temporary file, fsync, rename.  Compressed files are a sequence of zstd frames, each of
 * one buffer, which tell their sizes. */
#include "src/io/out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/base/pack.h"
#include "src/io/format.h"

#define BUFFER_BYTES (4u << 20)
#define LEVEL        3
#define NAMES_TRIED  100

struct vq_out {
    char *path, *temp; /* owned */
    int fd;
    bool made; /* temp exists */
    bool packed;
    uint8_t *buffer; /* owned: BUFFER_BYTES */
    size_t used;
    uint8_t *frame; /* owned, if packed: room for a packed buffer */
};

static vq_status make_temp(vq_out *o, vq_error *err)
{
    size_t cap = strlen(o->path) + 40;
    o->temp = vq_mem_alloc(cap, 1);
    if (o->temp == NULL) return vq_fail(err, VQ_ENOMEM, "%s: out of memory", o->path);
    for (int i = 0; i < NAMES_TRIED; i++) {
        (void)snprintf(o->temp, cap, "%s.tmp-%ld-%d", o->path, (long)getpid(), i);
        o->fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (o->fd >= 0 || errno != EEXIST) break;
    }
    if (o->fd < 0) return vq_fail_errno(err, errno, "%s: cannot create it", o->path);
    o->made = true;
    (void)flock(o->fd, LOCK_EX | LOCK_NB); /* tells the living from the dead who left such a file */
    return VQ_OK;
}

vq_status vq_out_open(vq_out **out, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    char ending[VQ_ENDING_MAX];
    vq_out *o = vq_mem_calloc(1, sizeof *o);
    VQ_REQUIRE(o != NULL, VQ_ENOMEM, "%s: out of memory", path);
    struct stat old;
    o->fd = -1;
    VQ_REQUIRE(stat(path, &old) != 0 || S_ISREG(old.st_mode) || S_ISDIR(old.st_mode), VQ_EBUSY,
               "%s is a device or a pipe, which cannot be replaced; choose another name", path);
    vq_path_ending(path, ending, &o->packed);
    o->path = vq_mem_strdup(path);
    o->buffer = vq_mem_alloc(BUFFER_BYTES, 1);
    if (o->packed) o->frame = vq_mem_alloc(vq_pack_bound(BUFFER_BYTES), 1);
    VQ_REQUIRE(o->path != NULL && o->buffer != NULL && (o->frame != NULL || !o->packed), VQ_ENOMEM,
               "%s: out of memory", path);
    VQ_TRY(make_temp(o, err));
    *out = o;
    o = NULL;
out:
    vq_out_close(o);
    return rc;
}

static vq_status flush(vq_out *o, vq_error *err)
{
    const uint8_t *bytes = o->buffer;
    size_t len = o->used;
    if (o->packed) {
        vq_status rc =
            vq_pack(o->frame, vq_pack_bound(BUFFER_BYTES), &len, o->buffer, o->used, LEVEL, err);
        if (rc != VQ_OK) return rc;
        bytes = o->frame;
    }
    while (len > 0) {
        ssize_t n = write(o->fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return vq_fail_errno(err, errno, "%s: writing", o->path);
        bytes += n;
        len -= (size_t)n;
    }
    o->used = 0;
    return VQ_OK;
}

vq_status vq_out_write(vq_out *o, const void *bytes, size_t len, vq_error *err)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        size_t n = VQ_MIN(len, BUFFER_BYTES - o->used);
        memcpy(o->buffer + o->used, p, n);
        o->used += n;
        p += n;
        len -= n;
        if (o->used == BUFFER_BYTES) {
            vq_status rc = flush(o, err);
            if (rc != VQ_OK) return rc;
        }
    }
    return VQ_OK;
}

/* Makes the new name itself durable; where a folder cannot be synced, nothing is to be done. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL) slash[slash == path ? 1 : 0] = '\0';
    int fd = open(slash != NULL ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    (void)close(fd);
}

vq_status vq_out_commit(vq_out *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (o->used > 0) VQ_TRY(flush(o, err));
    if (fsync(o->fd) != 0 && errno != EINVAL)
        return vq_fail_errno(err, errno, "%s: writing", o->path);
    int closed = close(o->fd);
    o->fd = -1;
    if (closed != 0) return vq_fail_errno(err, errno, "%s: writing", o->path);
    if (rename(o->temp, o->path) != 0)
        return vq_fail_errno(err, errno, "%s: renaming %s to it", o->path, o->temp);
    o->made = false;
    sync_folder(o->temp);
out:
    return rc;
}

void vq_out_close(vq_out *o)
{
    if (o == NULL) return;
    if (o->fd >= 0) (void)close(o->fd);
    if (o->made) (void)unlink(o->temp);
    vq_mem_free(o->frame);
    vq_mem_free(o->buffer);
    vq_mem_free(o->temp);
    vq_mem_free(o->path);
    vq_mem_free(o);
}
