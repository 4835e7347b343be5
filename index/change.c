/* SPDX-License-Identifier: Apache-2.0 */
/* change.c -- see change.h.  The right to write is a flock of the file: LMDB's own lock cannot be
 * waited for with a limit, and belongs to a thread. */
#include "index/change.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "index/mdb.h"
#include "src/base/mem.h"
#include "src/base/team.h"

#define MAP_MOST (UINT64_C(1) << 44)
enum { REPLACED_TRIES = 10 };

struct vq_change {
    vq_file *file;
    char *path; /* absolute: the name by which it is changed, whatever else it was opened by */
    int lock;   /* descriptor of the file, flock held */
    bool no_sync;
    MDB_txn *txn; /* while fn runs */
    MDB_dbi db[VQ_DB_COUNT];
    bool opened[VQ_DB_COUNT]; /* db[] is valid in txn */
    bool full;                /* the map was too small for txn */
};

/* Does path still name the file that fd is open for? */
static bool names(const char *path, int fd)
{
    struct stat a, b;
    return stat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static vq_status wait_for(int fd, const char *path, uint32_t wait_ms, vq_error *err)
{
    double end = vq_now() + wait_ms / 1000.0;
    for (long ms = 1;; ms = VQ_MIN(2 * ms, 50L)) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return VQ_OK;
        if (errno != EWOULDBLOCK && errno != EINTR) return vq_fail_errno(err, errno, "%s", path);
        if (vq_now() >= end) break;
        (void)nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
    }
    return vq_fail(err, VQ_EBUSY, "%s: somebody else is changing it; waited %.3g s", path,
                   wait_ms / 1000.0);
}

/* The lock of the file that has the name now, and that file. */
static vq_status take(vq_change *c, const char *path, uint32_t wait_ms, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (int tries = 0; tries < REPLACED_TRIES; tries++) {
        if (c->lock >= 0) (void)close(c->lock);
        vq_file_close(c->file);
        c->file = NULL;
        c->lock = open(path, O_RDWR | O_CLOEXEC);
        if (c->lock < 0) return vq_fail_errno(err, errno, "%s", path);
        VQ_TRY(wait_for(c->lock, path, wait_ms, err));
        VQ_TRY(vq_file_open(&c->file, path, err));
        if (names(path, c->lock) && vq_file_named(c->file, path)) return VQ_OK;
    }
    rc = vq_fail(err, VQ_EBUSY, "%s: it is replaced again and again", path);
out:
    return rc;
}

vq_status vq_change_claim(int *lock, const char *path, uint32_t wait_ms, vq_error *err)
{
    vq_status rc = VQ_OK;
    *lock = -1;
    for (int tries = 0; tries < REPLACED_TRIES; tries++) {
        vq_change_unclaim(*lock);
        *lock = open(path, O_RDWR | O_CLOEXEC);
        if (*lock < 0) goto out;
        VQ_TRY(wait_for(*lock, path, wait_ms, err));
        if (names(path, *lock)) goto out;
    }
    rc = vq_fail(err, VQ_EBUSY, "%s: it is replaced again and again", path);
out:
    if (rc != VQ_OK) {
        vq_change_unclaim(*lock);
        *lock = -1;
    }
    return rc;
}

void vq_change_unclaim(int lock)
{
    if (lock >= 0) (void)close(lock);
}

vq_status vq_change_begin(vq_change **out, const char *path, uint32_t wait_ms, vq_error *err)
{
    vq_status rc = VQ_OK;
    int dead;
    *out = NULL;
    vq_change *c = vq_mem_calloc(1, sizeof *c);
    if (c == NULL) return vq_fail(err, VQ_ENOMEM, "%s: out of memory", path);
    c->lock = -1;
    VQ_TRY(vq_file_absolute(path, &c->path, err));
    VQ_TRY(take(c, path, wait_ms, err));
    VQ_REQUIRE(c->file->writable, VQ_EBUSY,
               "%s: this process has had it open since it could only be read; close it first",
               path);
    (void)mdb_reader_check(c->file->env, &dead); /* pages of those that were killed come free */
    *out = c;
    c = NULL;
out:
    vq_change_end(c);
    return rc;
}

void vq_change_end(vq_change *c)
{
    if (c == NULL) return;
    vq_file_close(c->file);
    if (c->lock >= 0) (void)close(c->lock);
    vq_mem_free(c->path);
    vq_mem_free(c);
}

vq_file *vq_change_file(const vq_change *c)
{
    return c->file;
}

void vq_change_no_sync(vq_change *c)
{
    c->no_sync = true;
}

static vq_status start(vq_change *c, vq_error *err)
{
    vq_file *f = c->file;
    if (!names(c->path, c->lock))
        return vq_fail(err, VQ_EBUSY, "%s: another file has taken its name meanwhile", f->path);
    (void)pthread_mutex_lock(&f->lock);
    int m = mdb_env_set_flags(f->env, MDB_NOSYNC, c->no_sync);
    if (m == 0) m = mdb_txn_begin(f->env, NULL, 0, &c->txn);
    if (m == MDB_MAP_RESIZED) { /* another process has made the file longer than our map */
        m = mdb_env_set_mapsize(f->env, 0);
        if (m == 0) m = mdb_txn_begin(f->env, NULL, 0, &c->txn);
    }
    (void)pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < VQ_DB_COUNT; i++) c->opened[i] = false;
    c->full = false;
    if (m != 0) c->txn = NULL;
    if (m != 0) return vq_mdb_status(m, f->path, err);
    if (mdb_txn_id(c->txn) == vq_file_newest(f) + 1) return VQ_OK;
    /* See begin_reading in file.c; LMDB would choose its meta page by that number. */
    mdb_txn_abort(c->txn);
    c->txn = NULL;
    return vq_fail(err, VQ_EBUSY,
                   "%s: it was put in the place of a file that was being opened; let all who have "
                   "it open close it once",
                   f->path);
}

static vq_status finish(vq_change *c, vq_error *err)
{
    int m = mdb_txn_commit(c->txn);
    c->txn = NULL;
    c->full = m == MDB_MAP_FULL;
    return m == 0 ? VQ_OK : vq_mdb_status(m, c->file->path, err);
}

static vq_status double_map(vq_change *c, vq_error *err)
{
    vq_file *f = c->file;
    MDB_envinfo info;
    (void)pthread_mutex_lock(&f->lock);
    int m = mdb_env_info(f->env, &info);
    uint64_t bytes = m == 0 ? 2 * (uint64_t)info.me_mapsize : 0;
    if (m == 0) m = bytes <= MAP_MOST ? mdb_env_set_mapsize(f->env, (size_t)bytes) : MDB_MAP_FULL;
    (void)pthread_mutex_unlock(&f->lock);
    return m == 0 ? VQ_OK : vq_mdb_status(m, f->path, err);
}

vq_status vq_change_apply(vq_change *c, vq_change_fn fn, void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    do {
        VQ_TRY(start(c, err));
        rc = fn(ctx, c, err);
        if (rc == VQ_OK)
            rc = finish(c, err);
        else
            mdb_txn_abort(c->txn);
        c->txn = NULL;
        if (c->full) VQ_TRY(double_map(c, err));
    } while (c->full);
out:
    return rc;
}

static vq_status failed(vq_change *c, vq_db db, int m, vq_error *err)
{
    vq_status rc = vq_mdb_status(m, vq_db_names[db], err);
    c->full = m == MDB_MAP_FULL;
    return vq_fail_context(err, rc, "%s", c->file->path);
}

/* A database of attributes is made by its first value. */
static int open_db(vq_change *c, vq_db db)
{
    unsigned flags = db >= VQ_DB_DOCUMENTS ? MDB_CREATE : 0;
    int m = c->opened[db] ? 0 : mdb_dbi_open(c->txn, vq_db_names[db], flags, &c->db[db]);
    c->opened[db] = m == 0;
    return m;
}

/* LMDB has taken fresh memory for a large value: all its pages at once cost half of a fault for
 * each.  Systems that cannot do so say no. */
static void populate(uint8_t *room, size_t len)
{
#ifdef MADV_POPULATE_WRITE
    uintptr_t page = 4096, from = ((uintptr_t)room + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)room + len) / page * page;
    if (to > from + 8 * page) (void)madvise((void *)from, to - from, MADV_POPULATE_WRITE);
#else
    (void)room, (void)len;
#endif
}

vq_status vq_change_put(vq_change *c, vq_db db, const void *key, size_t key_len, size_t len,
                        uint8_t **room, vq_error *err)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {len, NULL};
    int m = open_db(c, db);
    if (m == 0) m = mdb_put(c->txn, c->db[db], &k, &v, MDB_RESERVE);
    if (m != 0) return failed(c, db, m, err);
    *room = v.mv_data;
    populate(*room, len);
    return VQ_OK;
}

static int remove_key(vq_change *c, vq_db db, const void *key, size_t key_len)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key};
    int m = open_db(c, db);
    return m == 0 ? mdb_del(c->txn, c->db[db], &k, NULL) : m;
}

vq_status vq_change_delete(vq_change *c, vq_db db, const void *key, size_t key_len, vq_error *err)
{
    int m = remove_key(c, db, key, key_len);
    return m == 0 ? VQ_OK : failed(c, db, m, err);
}

vq_status vq_change_drop(vq_change *c, vq_db db, const void *key, size_t key_len, vq_error *err)
{
    int m = remove_key(c, db, key, key_len);
    return m == 0 || m == MDB_NOTFOUND ? VQ_OK : failed(c, db, m, err);
}
