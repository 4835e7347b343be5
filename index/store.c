/* SPDX-License-Identifier: Apache-2.0 */
/* store.c -- a new index file being written.  It is private until its rename, so it runs without
 * locks and without syncing; the one sync that counts comes before the rename. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/file.h"
#include "index/mdb.h"
#include "src/base/mem.h"

enum { TXN_BYTES = 32 << 20 }; /* a transaction's dirty pages, about; part of the file's bytes */

struct vq_store {
    char *path, *temp; /* final and temporary name */
    bool force;
    int lock; /* descriptor of temp, flock held: tells the living from the dead */
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db[VQ_DB_COUNT];
    bool has[VQ_DB_COUNT]; /* db[] is valid; those from copies on are made by their first value */
    size_t page, map;      /* bytes of a page, of the map */
    size_t dirty;          /* bytes put in this transaction, overhead included */
    size_t room;           /* bytes that may be dirty in it */
};

/* The folder of path, to be freed. */
static char *folder_of(const char *path)
{
    char *copy = vq_mem_strdup(path), *folder = NULL;
    if (copy != NULL) folder = vq_mem_strdup(dirname(copy));
    vq_mem_free(copy);
    return folder;
}

vq_status vq_store_clear_stale(const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *folder = folder_of(path), *prefix = NULL, *full = NULL, own[32];
    const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
    size_t cap = strlen(path) + 300, len = 0;
    DIR *dir = NULL;
    prefix = vq_mem_alloc(cap, 1);
    full = vq_mem_alloc(cap, 1);
    VQ_REQUIRE(folder != NULL && prefix != NULL && full != NULL, VQ_ENOMEM, "%s: out of memory",
               path);
    len = (size_t)snprintf(prefix, cap, "%s.tmp-", base);
    dir = opendir(folder);
    if (dir == NULL) {
        rc = vq_fail_errno(err, errno, "%s", folder);
        goto out;
    }
    size_t own_len = (size_t)snprintf(own, sizeof own, "%ld-", (long)getpid());
    for (struct dirent *e; rc == VQ_OK && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, prefix, len) != 0) continue;
        if (strncmp(e->d_name + len, own, own_len) == 0) continue;
        (void)snprintf(full, cap, "%s/%s", folder, e->d_name);
        int fd = open(full, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            (void)unlink(full);
        else
            rc = vq_fail(err, VQ_EBUSY, "%s: another build is writing %s", path, full);
        (void)close(fd);
    }
out:
    if (dir != NULL) (void)closedir(dir);
    vq_mem_free(folder);
    vq_mem_free(prefix);
    vq_mem_free(full);
    return rc;
}

/* There is to be that database. */
static vq_status want(vq_store *st, vq_db db, vq_error *err)
{
    int m = st->has[db] ? 0 : mdb_dbi_open(st->txn, vq_db_names[db], MDB_CREATE, &st->db[db]);
    st->has[db] = m == 0;
    return m == 0 ? VQ_OK : vq_mdb_status(m, st->path, err);
}

static vq_status begin(vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    /* The map must hold what a transaction may add; it can only grow between transactions. */
    MDB_envinfo info;
    int m = mdb_env_info(st->env, &info);
    size_t need = m == 0 ? (info.me_last_pgno + 1) * st->page + 2 * st->room + (4u << 20) : 0;
    if (m == 0 && need > st->map) {
        st->map = vq_round_up(need + need / 2, 1u << 20);
        m = mdb_env_set_mapsize(st->env, st->map);
    }
    if (m == 0) m = mdb_txn_begin(st->env, NULL, 0, &st->txn);
    if (m != 0) {
        st->txn = NULL;
        return vq_mdb_status(m, st->path, err);
    }
    for (vq_db db = 0; db < VQ_DB_COPIES; db++) VQ_TRY(want(st, db, err));
    st->dirty = 0;
out:
    return rc;
}

static vq_status commit(vq_store *st, vq_error *err)
{
    int m = mdb_txn_commit(st->txn);
    st->txn = NULL;
    return m == 0 ? VQ_OK : vq_mdb_status(m, st->path, err);
}

static vq_status open_env(vq_store *st, vq_error *err)
{
    MDB_stat stat;
    int m = mdb_env_create(&st->env);
    if (m == 0) m = mdb_env_set_maxdbs(st->env, VQ_DB_COUNT);
    st->map = 64u << 20;
    if (m == 0) m = mdb_env_set_mapsize(st->env, st->map);
    if (m == 0)
        m = mdb_env_open(st->env, st->temp, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC | MDB_NORDAHEAD,
                         0644);
    if (m == 0) m = mdb_env_stat(st->env, &stat);
    if (m != 0) return vq_mdb_status(m, st->path, err);
    st->page = stat.ms_psize;
    st->room = TXN_BYTES;
    return VQ_OK;
}

/* Between making the file and locking it another build may have taken it for a dead one's. */
static bool still_ours(const vq_store *st)
{
    struct stat held, named;
    return fstat(st->lock, &held) == 0 && stat(st->temp, &named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

vq_status vq_store_create(vq_store **out, const char *path, bool force, vq_error *err)
{
    vq_status rc = VQ_OK;
    *out = NULL;
    vq_store *st = vq_mem_calloc(1, sizeof *st);
    if (st == NULL) return vq_fail(err, VQ_ENOMEM, "%s: out of memory", path);
    st->lock = -1;
    st->force = force;
    VQ_REQUIRE(force || access(path, F_OK) != 0, VQ_EBUSY,
               "%s exists; choose another name, or ask to replace it (--force)", path);
    struct stat old;
    bool there = stat(path, &old) == 0;
    VQ_REQUIRE(!there || !S_ISDIR(old.st_mode), VQ_EBUSY, "%s is a folder", path);
    VQ_REQUIRE(!there || S_ISREG(old.st_mode), VQ_EBUSY,
               "%s is a device or a pipe, which cannot be an index; choose another name", path);
    VQ_TRY(vq_store_clear_stale(path, err));
    st->path = vq_mem_strdup(path);
    st->temp = vq_mem_alloc(strlen(path) + 32, 1);
    VQ_REQUIRE(st->path != NULL && st->temp != NULL, VQ_ENOMEM, "%s: out of memory", path);
    (void)snprintf(st->temp, strlen(path) + 32, "%s.tmp-%ld", path, (long)getpid());
    st->lock = open(st->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (st->lock < 0 || flock(st->lock, LOCK_EX | LOCK_NB) != 0) {
        rc = vq_fail_errno(err, errno == EEXIST ? EBUSY : errno, "%s", st->temp);
        if (st->lock < 0) st->temp[0] = '\0'; /* not ours to remove */
        goto out;
    }
    VQ_REQUIRE(still_ours(st), VQ_EBUSY, "%s: another build of %s began at the same moment",
               st->temp, path);
    VQ_TRY(open_env(st, err));
    VQ_TRY(begin(st, err));
    *out = st;
    st = NULL;
out:
    vq_store_free(st);
    return rc;
}

size_t vq_store_value_min(const vq_store *st)
{
    return st->page / 2;
}

vq_status vq_store_want_copies(vq_store *st, vq_error *err)
{
    return want(st, VQ_DB_COPIES, err);
}

vq_status vq_store_put(vq_store *st, vq_db db, const void *key, size_t key_len, size_t len,
                       uint8_t **room, vq_error *err)
{
    vq_status rc = VQ_OK;
    /* A value, its key, and a share of the pages above it. */
    size_t cost = len > st->page / 2 ? vq_round_up(len + 16, st->page) + 512 : len + key_len + 64;
    if (cost > st->room || (st->dirty > 0 && st->dirty + cost > TXN_BYTES)) {
        VQ_TRY(commit(st, err));
        st->room = VQ_MAX((size_t)TXN_BYTES, cost);
        VQ_TRY(begin(st, err));
    }
    st->dirty += cost;
    VQ_TRY(want(st, db, err));
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {len, NULL};
    bool ordered = db >= VQ_DB_LISTS;
    int m = mdb_put(st->txn, st->db[db], &k, &v, MDB_RESERVE | (ordered ? MDB_APPEND : 0u));
    VQ_REQUIRE(m != MDB_KEYEXIST, VQ_EINVAL, "%s: %s: keys out of order", st->path,
               vq_db_names[db]);
    if (m != 0) return vq_mdb_status(m, st->path, err);
    *room = v.mv_data;
out:
    return rc;
}

vq_status vq_store_pause(vq_store *st, vq_error *err)
{
    vq_status rc = commit(st, err);
    mdb_env_close(st->env);
    st->env = NULL;
    return rc;
}

vq_status vq_store_resume(vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(st->has, 0, sizeof st->has);
    VQ_TRY(open_env(st, err));
    VQ_TRY(begin(st, err));
out:
    return rc;
}

const char *vq_store_temp(const vq_store *st)
{
    return st->temp;
}

static vq_status open_folder(const char *path, int *fd, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *folder = folder_of(path);
    VQ_REQUIRE(folder != NULL, VQ_ENOMEM, "%s: out of memory", path);
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) rc = vq_fail_errno(err, errno, "%s", folder);
out:
    vq_mem_free(folder);
    return rc;
}

/* A lock file tells of the readers of the file beside it.  That of a file which goes now, or which
 * is gone, though somebody may still have it open, is none of the new file's. */
static bool lock_is_old(const vq_store *st)
{
    return st->force || (access(st->path, F_OK) != 0 && errno == ENOENT);
}

/* Whatever may be missing is taken before the rename: after it there is no way back. */
static vq_status move_in_place(vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    int folder = -1;
    char *lock = vq_mem_alloc(strlen(st->path) + 8, 1);
    VQ_REQUIRE(lock != NULL, VQ_ENOMEM, "%s: out of memory", st->path);
    VQ_TRY(open_folder(st->path, &folder, err));
    if (lock_is_old(st)) {
        (void)snprintf(lock, strlen(st->path) + 8, "%s-lock", st->path);
        (void)unlink(lock);
    }
    int failed =
        renameat2(AT_FDCWD, st->temp, AT_FDCWD, st->path, st->force ? 0 : RENAME_NOREPLACE);
    if (failed && !st->force && (errno == EINVAL || errno == ENOSYS)) /* the file system cannot */
        failed = access(st->path, F_OK) == 0 ? (errno = EEXIST, -1) : rename(st->temp, st->path);
    if (failed) {
        rc = vq_fail_errno(err, errno == EEXIST ? EBUSY : errno, "%s", st->path);
        goto out;
    }
    st->temp[0] = '\0';
    /* Some file systems cannot sync a folder (EINVAL): then the rename is as safe as it gets. */
    if (fsync(folder) != 0 && errno != EINVAL) rc = vq_fail_errno(err, errno, "%s", st->path);
out:
    if (folder >= 0) (void)close(folder);
    vq_mem_free(lock);
    return rc;
}

vq_status vq_store_finish(vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(commit(st, err));
    mdb_env_close(st->env);
    st->env = NULL;
    if (fsync(st->lock) != 0) {
        rc = vq_fail_errno(err, errno, "%s", st->path);
        goto out;
    }
    VQ_TRY(move_in_place(st, err));
out:
    return rc;
}

void vq_store_free(vq_store *st)
{
    if (st == NULL) return;
    if (st->txn != NULL) mdb_txn_abort(st->txn);
    if (st->env != NULL) mdb_env_close(st->env);
    if (st->temp != NULL && st->temp[0] != '\0') (void)unlink(st->temp);
    if (st->lock >= 0) (void)close(st->lock);
    vq_mem_free(st->path);
    vq_mem_free(st->temp);
    vq_mem_free(st);
}
