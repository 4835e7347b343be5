/* SPDX-License-Identifier: Apache-2.0 */
/* Each write and each sync of a commit fails in turn, or writes only half: the commit is refused,
 * and nothing is lost.  The functions that LMDB calls are replaced by those of this program. */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/index/live.h"

enum failure { NO_SPACE, NO_DISK, HALF, FAILURES };
static enum failure kind;
static uint64_t left, calls; /* until one fails; made since that was set */
static bool lasting;         /* all later ones fail, too */

static bool fails(void)
{
    calls++;
    if (left == 0) return false;
    if (left > 1) return left--, false;
    if (!lasting) left = 0;
    errno = kind == NO_SPACE ? ENOSPC : EIO;
    return true;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    if (fails()) return kind == HALF ? syscall(SYS_pwrite64, fd, bytes, n / 2, at) : -1;
    return syscall(SYS_pwrite64, fd, bytes, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    struct iovec half = {v[0].iov_base, v[0].iov_len / 2};
    if (fails()) return kind == HALF ? syscall(SYS_writev, fd, &half, 1) : -1;
    return syscall(SYS_writev, fd, v, n);
}

int fdatasync(int fd)
{
    if (fails() && kind != HALF) return -1;
    return (int)syscall(SYS_fdatasync, fd);
}

static const live_config config = {"sq8", VQ_METRIC_L2, VQ_F32, 9, 16, true, true, 0};

/* Replaces ten, deletes one, adds one. */
static vq_status change(const char *path, const state *s, uint32_t row, state *next)
{
    enum { TEN = 10 };
    static float x[(TEN + 1) * 64];
    char rooms[TEN + 2][16];
    const char *names[TEN + 2];
    vq_writer *w = NULL;
    vq_source *src = NULL;
    *next = *s;
    for (uint32_t i = 0; i <= TEN; i++) {
        uint32_t id = i < TEN ? i : 100 + row;
        names[i] = live_name(id, rooms[i]);
        live_row(5000 + row + i, config.d, x + i * config.d);
        next->row[id] = 5000 + row + i;
        next->n += !next->there[id];
        next->there[id] = true;
    }
    uint32_t gone = 20 + row % 30;
    names[TEN + 1] = live_name(gone, rooms[TEN + 1]);
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_source_open_array(&src, x, TEN + 1, config.d, VQ_F32, &err));
    OK(vq_writer_upsert(w, src, NULL, names, TEN + 1, &err));
    if (next->there[gone]) OK(vq_writer_delete(w, NULL, names + TEN + 1, 1, &err));
    next->n -= next->there[gone];
    next->there[gone] = false;
    uint64_t n = left;
    calls = 0;
    vq_status rc = vq_writer_commit(w, NULL, &err);
    left = 0;
    if (rc != VQ_OK && !lasting && kind != HALF) { /* it may be made now, or is given up */
        vq_status again = vq_writer_commit(w, NULL, &err);
        cr_assert(again == VQ_OK || again == VQ_EIO, "failure %llu: %d: %s", (unsigned long long)n,
                  (int)again, err.text);
        if (again == VQ_OK) rc = VQ_OK;
    }
    vq_source_close(src);
    vq_writer_close(w);
    return rc;
}

static void holds(const char *path, const state *s)
{
    vq_index *ix = open_index(path);
    vq_searcher *searcher = open_searcher(ix, 0, 0);
    live_holds(&config, s, searcher);
    vq_searcher_close(searcher);
    vq_close(ix);
}

static uint64_t walk(const char *path, state *s, uint32_t *row)
{
    uint64_t refused = 0;
    for (uint64_t n = 1;; n++) {
        state next;
        left = n;
        vq_status rc = change(path, s, (*row)++ % 400, &next);
        cr_assert(rc == VQ_OK || (rc == VQ_EIO && strstr(err.text, path) != NULL), "%d: %s",
                  (int)rc, err.text);
        if (rc == VQ_OK) *s = next;
        refused += rc != VQ_OK;
        holds(path, s);
        cr_assert_eq(problems_of(path), 0, "kind %d, call %llu", (int)kind, (unsigned long long)n);
        if (calls < n) break; /* there are no more */
    }
    return refused;
}

Test(write_io, each_call_fails_in_turn, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    uint32_t row = 0;
    live_build(path, &config, 60, &s);
    for (int k = 0; k < FAILURES; k++)
        for (int l = 0; l < 2; l++) {
            kind = (enum failure)k, lasting = l == 1;
            uint64_t refused = walk(path, &s, &row);
            cr_assert(refused >= 2 || !lasting, "kind %d: only %llu refused", k,
                      (unsigned long long)refused);
        }
    left = 0;
    free(path);
    test_rmdir(dir);
}
