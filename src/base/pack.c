/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c -- the only file that includes zstd.h and zdict.h: byte streams that unpack themselves,
 * and blocks.
 *
 * A stream has three stages: fetch() takes raw bytes from the file or pipe (and keeps a copy of
 * what a pipe gave, for rewinding), decode() makes plain bytes of them, and a small window in front
 * lets the caller look ahead. */
#include "src/base/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"

#define RAW_BYTES      (128u << 10)
#define PEEK_BYTES     4096u
#define WINDOW_LOG_MAX 27 /* 128 MiB */
#define SMALL_LEVEL    3
#define BLOCKS_MAX     (1u << 20) /* of a zstd file that are walked to learn its size */

struct vq_stream {
    char *name; /* owned: for error texts */
    int fd;
    bool borrowed;    /* standard input: stays open */
    bool regular;     /* a file: read by offset; else a pipe, terminal, device */
    uint64_t start;   /* offset of the stream's first byte in the file */
    uint64_t pos;     /* raw bytes fetched since the start */
    int spool;        /* unlinked file with what a pipe gave so far, or -1 */
    uint64_t spooled; /* bytes in it */
    bool spool_lost;  /* it could not be made or written: no rewinding */
    bool pipe_end;    /* the pipe has given all: do not ask it again */
    uint8_t *raw;     /* owned: RAW_BYTES, of which raw_at..raw_len are still to be decoded */
    size_t raw_at, raw_len;
    bool raw_end;
    ZSTD_DCtx *zstd; /* owned; NULL: plain */
    bool in_frame;   /* a frame has begun and not ended */
    bool broken;     /* zstd refused the bytes */
    uint64_t size;   /* of the plain content, or UINT64_MAX */
    size_t peek_at, peek_len;
    uint8_t peeked[PEEK_BYTES];
};

/* ---- raw bytes ---------------------------------------------------------------------------- */

static int open_unlinked(const char *folder, const char *pattern)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    char path[64];
    size_t len = strlen(pattern) + 1;
    if (len > sizeof path) return -1;
    memcpy(path, pattern, len);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) (void)unlink(path);
    return fd;
}

/* Keeps a copy of bytes from a pipe.  Failing costs only the rewind, which then tells. */
static void spool_append(vq_stream *s, const uint8_t *bytes, size_t len)
{
    if (s->spool < 0 && !s->spool_lost) {
        s->spool = open_unlinked(".", "./vq-spool-XXXXXX");
        if (s->spool < 0) s->spool = open_unlinked("/tmp", "/tmp/vq-spool-XXXXXX");
        s->spool_lost = s->spool < 0;
    }
    while (len > 0 && !s->spool_lost) {
        ssize_t n = pwrite(s->spool, bytes, len, (off_t)s->spooled);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            s->spool_lost = true;
            (void)close(s->spool);
            s->spool = -1;
            s->spooled = 0;
            return;
        }
        s->spooled += (uint64_t)n;
        bytes += n;
        len -= (size_t)n;
    }
}

/* Up to len raw bytes, as many as one system call gives; 0 at the end. */
static vq_status fetch(vq_stream *s, uint8_t *bytes, size_t len, size_t *got, vq_error *err)
{
    ssize_t n;
    bool replay = s->pos < s->spooled;
    *got = 0;
    if (s->pipe_end && !replay) return VQ_OK;
    if (replay) len = (size_t)VQ_MIN((uint64_t)len, s->spooled - s->pos);
    do {
        n = s->regular ? pread(s->fd, bytes, len, (off_t)(s->start + s->pos))
            : replay   ? pread(s->spool, bytes, len, (off_t)s->pos)
                       : read(s->fd, bytes, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return vq_fail_errno(err, errno, "%s: reading at byte %" PRIu64, s->name, s->pos);
    if (!s->regular && !replay) {
        spool_append(s, bytes, (size_t)n);
        s->pipe_end = n == 0;
    }
    s->pos += (uint64_t)n;
    *got = (size_t)n;
    return VQ_OK;
}

/* Has at least `least` raw bytes in the buffer, unless the end comes first. */
static vq_status fill_raw(vq_stream *s, size_t least, vq_error *err)
{
    if (s->raw_at == s->raw_len) s->raw_at = s->raw_len = 0;
    while (s->raw_len - s->raw_at < least && !s->raw_end) {
        size_t got;
        vq_status rc = fetch(s, s->raw + s->raw_len, RAW_BYTES - s->raw_len, &got, err);
        if (rc != VQ_OK) return rc;
        s->raw_len += got;
        s->raw_end = got == 0;
    }
    return VQ_OK;
}

/* ---- plain bytes -------------------------------------------------------------------------- */

static vq_status read_plain(vq_stream *s, uint8_t *bytes, size_t len, size_t *got, vq_error *err)
{
    size_t done = VQ_MIN(len, s->raw_len - s->raw_at);
    if (done > 0) memcpy(bytes, s->raw + s->raw_at, done);
    s->raw_at += done;
    while (done < len && !s->raw_end) {
        size_t n;
        vq_status rc = fetch(s, bytes + done, len - done, &n, err);
        if (rc != VQ_OK) return rc;
        done += n;
        s->raw_end = n == 0;
    }
    *got = done;
    return VQ_OK;
}

static vq_status read_zstd(vq_stream *s, uint8_t *bytes, size_t len, size_t *got, vq_error *err)
{
    vq_status rc = VQ_OK;
    ZSTD_outBuffer to = {bytes, len, 0};
    VQ_REQUIRE(!s->broken, VQ_ECORRUPT, "%s: the zstd data are damaged", s->name);
    while (to.pos < to.size) {
        VQ_TRY(fill_raw(s, 1, err));
        ZSTD_inBuffer from = {s->raw, s->raw_len, s->raw_at};
        if (from.pos == from.size && !s->in_frame) break;
        size_t before = to.pos, left = ZSTD_decompressStream(s->zstd, &to, &from);
        if (ZSTD_isError(left)) {
            s->broken = true;
            VQ_REQUIRE(ZSTD_getErrorCode(left) != ZSTD_error_memory_allocation, VQ_ENOMEM,
                       "%s: zstd is out of memory", s->name);
            rc = vq_fail(err, VQ_ECORRUPT, "%s: damaged zstd data near byte %" PRIu64 ": %s",
                         s->name, s->pos - (s->raw_len - from.pos), ZSTD_getErrorName(left));
            goto out;
        }
        if (from.pos == s->raw_at && from.pos == from.size && to.pos == before) {
            s->broken = true;
            rc = vq_fail(err, VQ_ECORRUPT,
                         "%s: the zstd data end in the middle of a frame: the file is cut short",
                         s->name);
            goto out;
        }
        s->raw_at = from.pos;
        s->in_frame = left != 0;
    }
    *got = to.pos;
out:
    return rc;
}

static vq_status decode(vq_stream *s, uint8_t *bytes, size_t len, size_t *got, vq_error *err)
{
    return s->zstd != NULL ? read_zstd(s, bytes, len, got, err)
                           : read_plain(s, bytes, len, got, err);
}

/* ---- zstd or not, and how long ------------------------------------------------------------- */

static bool is_frame(const uint8_t *p)
{
    return vq_le32(p) == ZSTD_MAGICNUMBER;
}

static bool is_skippable(const uint8_t *p)
{
    return (vq_le32(p) & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

/* A frame, or a skippable frame and then a frame (pzstd writes those). */
static bool is_zstd(const uint8_t *p, size_t len)
{
    if (len >= 4 && is_frame(p)) return true;
    if (len < 12 || !is_skippable(p)) return false;
    uint64_t next = 8 + (uint64_t)vq_le32(p + 4);
    return next + 4 <= len && is_frame(p + next);
}

/* Reads exactly len bytes of a file, or says no. */
static bool read_at(const vq_stream *s, uint64_t at, uint8_t *bytes, size_t len)
{
    return pread(s->fd, bytes, len, (off_t)(s->start + at)) == (ssize_t)len;
}

/* Steps from block to block to the frame's end (RFC 8878, 3.1.1); false if it is not well-formed.
 * blocks counts down over all frames. */
static bool walk_frame(const vq_stream *s, uint64_t *at, uint32_t *blocks)
{
    static const uint8_t dictionary_bytes[4] = {0, 1, 2, 4}, size_bytes[4] = {0, 2, 4, 8};
    uint8_t b[5];
    if (!read_at(s, *at, b, 5)) return false;
    uint8_t flags = b[4];
    bool single = (flags & 32) != 0;
    *at += 5u + (single ? (flags >> 6 == 0) : 1u) + dictionary_bytes[flags & 3] +
           size_bytes[flags >> 6];
    for (bool last = false; !last;) {
        if ((*blocks)-- == 0 || !read_at(s, *at, b, 3)) {
            *blocks = 0;
            return false;
        }
        uint32_t head = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16;
        last = (head & 1) != 0;
        *at += 3u + ((head >> 1 & 3) == 1 ? 1u : head >> 3);
    }
    if ((flags & 4) != 0) *at += 4;
    return true;
}

/* The content size of all frames of a regular file of `bytes` bytes, UINT64_MAX if some frame does
 * not tell or if the file is not well-formed: then reading it will say what is wrong. */
static uint64_t zstd_size(const vq_stream *s, uint64_t bytes)
{
    uint64_t at = 0, total = 0;
    uint32_t blocks = BLOCKS_MAX;
    while (at < bytes) {
        uint8_t head[18] = {0};
        size_t len = (size_t)VQ_MIN(bytes - at, sizeof head);
        if (len < 9 || !read_at(s, at, head, len)) return UINT64_MAX;
        if (is_skippable(head)) {
            at += 8 + (uint64_t)vq_le32(head + 4);
            continue;
        }
        unsigned long long content = ZSTD_getFrameContentSize(head, len);
        if (content == ZSTD_CONTENTSIZE_UNKNOWN || content == ZSTD_CONTENTSIZE_ERROR)
            return UINT64_MAX;
        if (__builtin_add_overflow(total, (uint64_t)content, &total)) return UINT64_MAX;
        if (!walk_frame(s, &at, &blocks)) return UINT64_MAX;
    }
    return at == bytes ? total : UINT64_MAX;
}

/* ---- the stream --------------------------------------------------------------------------- */

bool vq_path_is_stdin(const char *path)
{
    const char *colon = strchr(path, ':');
    return strcmp(path, "-") == 0 ||
           (colon != NULL && strchr(path, '/') == NULL && strcmp(colon, ":-") == 0);
}

static vq_status open_fd(vq_stream *s, const char *path, uint64_t *bytes, vq_error *err)
{
    vq_status rc = VQ_OK;
    struct stat st;
    s->borrowed = vq_path_is_stdin(path);
    s->fd = s->borrowed ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st) != 0) return vq_fail_errno(err, errno, "%s", s->name);
    VQ_REQUIRE(!S_ISDIR(st.st_mode), VQ_EIO, "%s: is a folder, not a file", s->name);
    s->regular = S_ISREG(st.st_mode);
    if (!s->regular) goto out;
    off_t at = lseek(s->fd, 0, SEEK_CUR); /* the shell may have read some of standard input */
    s->start = at > 0 ? (uint64_t)at : 0;
    *bytes = (uint64_t)st.st_size > s->start ? (uint64_t)st.st_size - s->start : 0;
out:
    return rc;
}

vq_status vq_stream_open(vq_stream **out, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t bytes = UINT64_MAX;
    vq_stream *s = vq_mem_calloc(1, sizeof *s);
    VQ_REQUIRE(s != NULL, VQ_ENOMEM, "%s: out of memory", path);
    s->fd = s->spool = -1;
    s->name = vq_mem_strdup(strcmp(path, "-") == 0 ? "standard input" : path);
    s->raw = vq_mem_alloc(RAW_BYTES, 1);
    VQ_REQUIRE(s->name != NULL && s->raw != NULL, VQ_ENOMEM, "%s: out of memory", path);
    VQ_TRY(open_fd(s, path, &bytes, err));
    s->size = bytes;
    VQ_TRY(fill_raw(s, PEEK_BYTES, err));
    if (is_zstd(s->raw, s->raw_len)) {
        s->zstd = ZSTD_createDCtx();
        VQ_REQUIRE(s->zstd != NULL, VQ_ENOMEM, "%s: out of memory", s->name);
        (void)ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
        s->size = s->regular ? zstd_size(s, bytes) : UINT64_MAX;
    }
    *out = s;
    s = NULL;
out:
    vq_stream_close(s);
    return rc;
}

vq_status vq_stream_read(vq_stream *s, void *bytes, size_t len, size_t *got, vq_error *err)
{
    size_t ready = VQ_MIN(len, s->peek_len - s->peek_at), more = 0;
    if (ready > 0) memcpy(bytes, s->peeked + s->peek_at, ready);
    s->peek_at += ready;
    if (ready < len) {
        vq_status rc = decode(s, (uint8_t *)bytes + ready, len - ready, &more, err);
        if (rc != VQ_OK) return rc;
    }
    *got = ready + more;
    return VQ_OK;
}

vq_status vq_stream_peek(vq_stream *s, const uint8_t **bytes, size_t len, size_t *got,
                         vq_error *err)
{
    len = VQ_MIN(len, PEEK_BYTES);
    size_t ready = s->peek_len - s->peek_at, more = 0;
    if (ready < len) {
        memmove(s->peeked, s->peeked + s->peek_at, ready);
        s->peek_at = 0;
        s->peek_len = ready;
        vq_status rc = decode(s, s->peeked + ready, len - ready, &more, err);
        if (rc != VQ_OK) return rc;
        s->peek_len += more;
    }
    *bytes = s->peeked + s->peek_at;
    *got = VQ_MIN(len, s->peek_len - s->peek_at);
    return VQ_OK;
}

vq_status vq_stream_rewind(vq_stream *s, vq_error *err)
{
    if (!s->regular && s->spool_lost)
        return vq_fail(err, VQ_EUNSUPPORTED,
                       "%s: cannot be read twice, since no temporary file could be written in the "
                       "working directory or /tmp; use a file",
                       s->name);
    s->pos = 0;
    s->raw_at = s->raw_len = s->peek_at = s->peek_len = 0;
    s->raw_end = s->in_frame = s->broken = false;
    if (s->zstd != NULL) (void)ZSTD_DCtx_reset(s->zstd, ZSTD_reset_session_only);
    return VQ_OK;
}

uint64_t vq_stream_size(const vq_stream *s)
{
    return s->size;
}

void vq_stream_close(vq_stream *s)
{
    if (s == NULL) return;
    if (s->zstd != NULL) (void)ZSTD_freeDCtx(s->zstd);
    if (s->fd >= 0 && !s->borrowed) (void)close(s->fd);
    if (s->spool >= 0) (void)close(s->spool);
    vq_mem_free(s->raw);
    vq_mem_free(s->name);
    vq_mem_free(s);
}

/* ---- blocks ------------------------------------------------------------------------------- */

size_t vq_pack_bound(size_t len)
{
    return ZSTD_compressBound(len) + 4; /* and a checksum */
}

vq_status vq_pack(void *out, size_t cap, size_t *out_len, const void *in, size_t len, int level,
                  vq_error *err)
{
    vq_status rc = VQ_OK;
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    VQ_REQUIRE(zstd != NULL, VQ_ENOMEM, "zstd: out of memory");
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(zstd, out, cap, in, len);
    VQ_REQUIRE(!ZSTD_isError(n),
               ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? VQ_ENOMEM : VQ_EINVAL,
               "zstd: packing %zu bytes into %zu: %s", len, cap, ZSTD_getErrorName(n));
    *out_len = n;
out:
    (void)ZSTD_freeCCtx(zstd);
    return rc;
}

/* n: what zstd returned. */
static vq_status check_unpacked(size_t n, size_t want, size_t len, vq_error *err)
{
    if (ZSTD_isError(n))
        return vq_fail(
            err, ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? VQ_ENOMEM : VQ_ECORRUPT,
            "zstd: unpacking %zu bytes: %s", len, ZSTD_getErrorName(n));
    if (n != want)
        return vq_fail(err, VQ_ECORRUPT, "zstd: %zu bytes unpacked, expected %zu", n, want);
    return VQ_OK;
}

vq_status vq_unpack(void *out, size_t out_len, const void *in, size_t len, vq_error *err)
{
    return check_unpacked(ZSTD_decompress(out, out_len, in, len), out_len, len, err);
}

/* ---- small blocks, with a dictionary -------------------------------------------------------- */

struct vq_packer {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
};

vq_status vq_packer_open(vq_packer **out, const void *dictionary, size_t len, vq_error *err)
{
    vq_status rc = VQ_OK;
    *out = NULL;
    vq_packer *p = vq_mem_calloc(1, sizeof *p);
    VQ_REQUIRE(p != NULL, VQ_ENOMEM, "zstd: out of memory");
    p->pack = ZSTD_createCCtx();
    p->unpack = ZSTD_createDCtx();
    VQ_REQUIRE(p->pack != NULL && p->unpack != NULL, VQ_ENOMEM, "zstd: out of memory");
    (void)ZSTD_CCtx_setParameter(p->pack, ZSTD_c_compressionLevel, SMALL_LEVEL);
    (void)ZSTD_CCtx_setParameter(p->pack, ZSTD_c_contentSizeFlag, 0);
    (void)ZSTD_CCtx_setParameter(p->pack, ZSTD_c_dictIDFlag, 0);
    if (len > 0) {
        size_t a = ZSTD_CCtx_loadDictionary(p->pack, dictionary, len);
        size_t b = ZSTD_DCtx_loadDictionary(p->unpack, dictionary, len);
        VQ_REQUIRE(!ZSTD_isError(a) && !ZSTD_isError(b), VQ_ECORRUPT,
                   "zstd: a dictionary of %zu bytes: %s", len,
                   ZSTD_getErrorName(ZSTD_isError(a) ? a : b));
    }
    *out = p;
    p = NULL;
out:
    vq_packer_close(p);
    return rc;
}

void vq_packer_close(vq_packer *p)
{
    if (p == NULL) return;
    (void)ZSTD_freeCCtx(p->pack);
    (void)ZSTD_freeDCtx(p->unpack);
    vq_mem_free(p);
}

vq_status vq_packer_pack(vq_packer *p, void *out, size_t cap, size_t *out_len, const void *in,
                         size_t len, vq_error *err)
{
    size_t n = ZSTD_compress2(p->pack, out, cap, in, len);
    if (ZSTD_isError(n))
        return vq_fail(err,
                       ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? VQ_ENOMEM : VQ_EINVAL,
                       "zstd: packing %zu bytes: %s", len, ZSTD_getErrorName(n));
    *out_len = n;
    return VQ_OK;
}

vq_status vq_packer_unpack(vq_packer *p, void *out, size_t out_len, const void *in, size_t len,
                           vq_error *err)
{
    size_t n = ZSTD_decompressDCtx(p->unpack, out, out_len, in, len);
    return check_unpacked(n, out_len, len, err);
}

size_t vq_pack_train(void *dictionary, size_t cap, const void *bytes, const size_t *sizes, size_t n)
{
    if (n > UINT_MAX) return 0;
    size_t len = ZDICT_trainFromBuffer(dictionary, cap, bytes, sizes, (unsigned)n);
    return ZDICT_isError(len) ? 0 : len;
}
