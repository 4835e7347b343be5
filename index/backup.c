/* SPDX-License-Identifier: Apache-2.0 */
/* backup.c -- see compact.h.  A backup is a dense copy of one snapshot, as a file that zstd
 * unpacks; the way back is a dense copy too, so that every value is summed once more, and the name
 * of the index is given to a whole file alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "index/compact.h"
#include "src/base/mem.h"
#include "src/base/pack.h"
#include "src/base/team.h"
#include "src/io/out.h"

enum { BLOCK = 1 << 20 };

/* A name beside path, of this process alone; who comes later removes it if we are killed. */
static char *name_beside(const char *path)
{
    size_t cap = strlen(path) + 40;
    char *name = vq_mem_alloc(cap, 1);
    if (name != NULL) (void)snprintf(name, cap, "%s.tmp-%ld-index", path, (long)getpid());
    return name;
}

/* An error names the file that a user knows, not the one of the moment. */
static vq_status speak_of(const char *name, const char *temp, vq_status rc, vq_error *err)
{
    char text[sizeof err->text];
    const char *at = rc != VQ_OK && err != NULL ? strstr(err->text, temp) : NULL;
    if (at == NULL) return rc;
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - err->text), err->text, name,
                   at + strlen(temp));
    memcpy(err->text, text, sizeof text);
    return rc;
}

static vq_status check_free(const char *out, const vq_compact_opts *o, vq_error *err)
{
    if (o->force != 0 || access(out, F_OK) != 0) return VQ_OK;
    return vq_fail(err, VQ_EBUSY, "%s exists; choose another name, or ask to replace it (--force)",
                   out);
}

/* All bytes of fd, which is at its start. */
static vq_status pack_file(int fd, const char *name, vq_out *out, vq_ticker *ticker, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t done = 0, total = (uint64_t)VQ_MAX(lseek(fd, 0, SEEK_END), (off_t)0);
    uint8_t *block = vq_mem_alloc(BLOCK, 1);
    VQ_REQUIRE(block != NULL, VQ_ENOMEM, "%s: out of memory", name);
    while (done < total) {
        ssize_t got = pread(fd, block, BLOCK, (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            rc = vq_fail_errno(err, got < 0 ? errno : EIO, "%s", name);
            goto out;
        }
        VQ_TRY(vq_out_write(out, block, (size_t)got, err));
        done += (uint64_t)got;
        VQ_TRY(vq_tick(ticker, "pack", done, total, err));
    }
    VQ_TRY(vq_out_commit(out, err));
out:
    vq_mem_free(block);
    return rc;
}

vq_status vq_backup_file(const char *path, const char *out, const vq_compact_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_ticker ticker = {.fn = o->progress, .ctx = o->progress_ctx};
    vq_compact_opts dense = *o;
    vq_out *to = NULL;
    int fd = -1;
    char *name = name_beside(out);
    dense.force = 1;
    VQ_REQUIRE(name != NULL, VQ_ENOMEM, "%s: out of memory", out);
    VQ_TRY(check_free(out, o, err));
    VQ_TRY(vq_store_clear_stale(out, err));
    VQ_TRY(speak_of(out, name, vq_compact_file(path, name, false, &dense, err), err));
    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) rc = vq_fail_errno(err, errno, "%s", out);
    (void)unlink(name); /* its bytes are there until we close it */
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_out_open(&to, out, err));
    VQ_TRY(pack_file(fd, out, to, &ticker, err));
out:
    vq_out_close(to);
    if (fd >= 0) (void)close(fd);
    vq_mem_free(name);
    return rc;
}

static vq_status unpack_file(vq_stream *in, vq_out *to, vq_ticker *ticker, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t got = 1;
    uint64_t done = 0, total = vq_stream_size(in);
    uint8_t *block = vq_mem_alloc(BLOCK, 1);
    VQ_REQUIRE(block != NULL, VQ_ENOMEM, "restore: out of memory");
    for (;;) {
        VQ_TRY(vq_stream_read(in, block, BLOCK, &got, err));
        if (got == 0) break;
        VQ_TRY(vq_out_write(to, block, got, err));
        done += got;
        VQ_TRY(vq_tick(ticker, "unpack", done, total != UINT64_MAX ? total : 0, err));
    }
    VQ_TRY(vq_out_commit(to, err));
out:
    vq_mem_free(block);
    return rc;
}

vq_status vq_restore_file(const char *path, const char *out, const vq_compact_opts *o,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_ticker ticker = {.fn = o->progress, .ctx = o->progress_ctx};
    vq_stream *in = NULL;
    vq_out *to = NULL;
    int lock = -1;
    char *real = NULL, *name = NULL; /* where a link leads there is room for both files */
    VQ_TRY(check_free(out, o, err));
    VQ_TRY(vq_file_real(out, &real, err));
    name = name_beside(real);
    VQ_REQUIRE(name != NULL, VQ_ENOMEM, "%s: out of memory", out);
    VQ_TRY(vq_store_clear_stale(real, err));
    VQ_TRY(vq_stream_open(&in, path, err));
    VQ_TRY(speak_of(out, name, vq_out_open(&to, name, err), err));
    VQ_TRY(speak_of(out, name, unpack_file(in, to, &ticker, err), err));
    lock = open(name, O_RDONLY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
        rc = vq_fail_errno(err, errno, "%s", out);
        goto out;
    }
    rc = speak_of(path, name, vq_compact_file(name, real, true, o, err), err);
out:
    vq_out_close(to);
    vq_stream_close(in);
    if (name != NULL) (void)unlink(name);
    if (lock >= 0) (void)close(lock);
    vq_mem_free(real);
    vq_mem_free(name);
    return rc;
}
