/* SPDX-License-Identifier: Apache-2.0 */
/* file.c -- open files and snapshots.  LMDB gives the read transaction, which keeps a writer from
 * using our pages anew; the bytes are read through a map of our own, by pages.c. */
#include "index/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "index/change.h"
#include "index/mdb.h"
#include "src/base/mem.h"

enum { SNAPSHOT_TRIES = 1000, OPEN_TRIES = 10 };

const char *const vq_db_names[VQ_DB_COUNT] = {"meta", "model",  "lists",  "vectors",
                                              "ids",  "names",  "copies", "documents",
                                              "tags", "tagged", "times"};

static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static vq_file *files;

vq_status vq_mdb_status(int m, const char *what, vq_error *err)
{
    if (m == EIO) /* LMDB's word for a write that was cut short, too */
        return vq_fail(err, VQ_EIO, "%s: %s, or no space left on device", what, strerror(m));
    if (m > 0) return vq_fail_errno(err, m, "%s", what);
    vq_status code = VQ_ECORRUPT;
    if (m == MDB_MAP_FULL || m == MDB_TXN_FULL || m == MDB_PANIC) code = VQ_EIO;
    if (m == MDB_READERS_FULL) code = VQ_EBUSY;
    if (m == MDB_VERSION_MISMATCH) code = VQ_EVERSION;
    return vq_fail(err, code, "%s: %s", what, mdb_strerror(m));
}

/* Maps the file as long as it is now; one that grows gets room to go on. */
static vq_status map_file(vq_file *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    struct stat st;
    vq_file_map *map = NULL;
    void *base;
    if (fstat(f->fd, &st) != 0) return vq_fail_errno(err, errno, "%s", f->path);
    VQ_REQUIRE(S_ISREG(st.st_mode), VQ_EIO, "%s: not a file but a folder or a device, no vq index",
               f->path);
    VQ_REQUIRE(st.st_size > 0, VQ_ECORRUPT, "%s: an empty file, no vq index", f->path);
    size_t bytes = (size_t)st.st_size, room = f->map == NULL ? bytes : 2 * bytes;
    if (f->map != NULL && bytes <= f->map->room) {
        f->map->bytes = bytes;
        return VQ_OK;
    }
    map = vq_mem_alloc(1, sizeof *map);
    VQ_REQUIRE(map != NULL, VQ_ENOMEM, "%s: out of memory", f->path);
    base = mmap(NULL, room, PROT_READ, MAP_SHARED, f->fd, 0);
    if (base == MAP_FAILED) {
        rc = vq_fail_errno(err, errno, "%s: mapping %zu bytes", f->path, room);
        goto out;
    }
    *map = (vq_file_map){.base = base, .bytes = bytes, .room = room, .older = f->map};
    VQ_ATOMIC_STORE(&f->map, map);
    map = NULL;
out:
    vq_mem_free(map);
    return rc;
}

/* The pages of a transaction that has just begun (0: of the newest); maps the file anew if it
 * grew. */
static vq_status find_pages(vq_file *f, uint64_t txn, vq_pages *pages, vq_error *err)
{
    vq_status rc = vq_pages_open(pages, f->map->base, f->map->bytes, txn, err);
    if (rc == VQ_ECORRUPT && vq_file_bytes(f) > f->map->bytes) {
        rc = map_file(f, err);
        if (rc == VQ_OK) rc = vq_pages_open(pages, f->map->base, f->map->bytes, txn, err);
    }
    return rc;
}

static int open_env_so(vq_file *f, unsigned flags)
{
    int m = mdb_env_create(&f->env);
    if (m == 0) m = mdb_env_set_maxreaders(f->env, 1022);
    if (m == 0) m = mdb_env_set_maxdbs(f->env, VQ_DB_COUNT);
    if (m == 0) m = mdb_env_open(f->env, f->real, MDB_NOSUBDIR | MDB_NOTLS | flags, 0664);
    if (m != 0 && f->env != NULL) mdb_env_close(f->env);
    if (m != 0) f->env = NULL;
    return m;
}

/* LMDB forbids a second environment for a file in one process, so the one that readers share must
 * do for a writer, too, where that is allowed.  Where no lock file can be made, nobody can be
 * writing either: read-only media. */
static vq_status open_env(vq_file *f, bool private, vq_error *err)
{
    static const unsigned ways[] = {0, MDB_RDONLY, MDB_RDONLY | MDB_NOLOCK};
    int m = EACCES;
    for (size_t i = private ? 2 : 0; i < VQ_COUNT(ways); i++) {
        m = open_env_so(f, ways[i]);
        f->writable = i == 0;
        f->locked = (ways[i] & MDB_NOLOCK) == 0;
        if (m == 0) return VQ_OK;
        if (m != EROFS && m != EACCES && m != EPERM) break;
    }
    return vq_mdb_status(m, f->path, err);
}

/* LMDB opens by name: is it the file that we have, or has another taken its name, or has LMDB made
 * one where there was none any more? */
static bool same_file(const vq_file *f)
{
    struct stat st;
    MDB_envinfo info;
    int fd = -1;
    if (mdb_env_get_fd(f->env, &fd) != 0 || fstat(fd, &st) != 0) return false;
    if (st.st_dev == f->dev && st.st_ino == f->ino) return true;
    if (mdb_env_info(f->env, &info) == 0 && info.me_last_txnid == 0) (void)unlink(f->real);
    return false;
}

static void file_free(vq_file *f)
{
    if (f == NULL) return;
    if (f->env != NULL) mdb_env_close(f->env);
    while (f->map != NULL) {
        vq_file_map *older = f->map->older;
        (void)munmap(f->map->base, f->map->room);
        vq_mem_free(f->map);
        f->map = older;
    }
    if (f->fd >= 0) (void)close(f->fd);
    (void)pthread_mutex_destroy(&f->lock);
    vq_mem_free(f->path);
    vq_mem_free(f->real);
    vq_mem_free(f);
}

/* The lock file that LMDB uses for a file, if it is there. */
static bool find_lock(const char *path, struct stat *st)
{
    char *name = vq_mem_alloc(strlen(path) + 6, 1);
    bool found = false;
    if (name == NULL) return false;
    (void)sprintf(name, "%s-lock", path);
    found = stat(name, st) == 0;
    vq_mem_free(name);
    return found;
}

/* Under files_lock.  A file that was moved to the name of another finds the lock file of that one
 * there, with the table of its readers.  In one process LMDB would mix up the readers of both. */
static vq_status check_lock(const char *path, vq_error *err)
{
    struct stat st;
    if (!find_lock(path, &st)) return VQ_OK;
    for (const vq_file *f = files; f != NULL; f = f->next)
        if (f->lock_ino == st.st_ino && f->lock_dev == st.st_dev)
            return vq_fail(err, VQ_EBUSY,
                           "%s: another file was moved here, and this process still has the one "
                           "that was here before; close that first",
                           path);
    return VQ_OK;
}

/* Under files_lock. */
static vq_status file_new(vq_file **out, const char *path, const char *real, int fd,
                          const struct stat *st, bool private, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_pages pages;
    struct stat lock;
    vq_file *f = vq_mem_calloc(1, sizeof *f);
    if (f == NULL) {
        (void)close(fd);
        return vq_fail(err, VQ_ENOMEM, "%s: out of memory", path);
    }
    f->fd = fd;
    f->dev = st->st_dev;
    f->ino = st->st_ino;
    f->users = 1;
    (void)pthread_mutex_init(&f->lock, NULL);
    f->path = vq_mem_strdup(path);
    f->real = vq_mem_strdup(real);
    VQ_REQUIRE(f->path != NULL && f->real != NULL, VQ_ENOMEM, "%s: out of memory", path);
    VQ_TRY(map_file(f, err));
    /* Before LMDB touches a page: is it one of its files, and is all of it here? */
    rc = find_pages(f, 0, &pages, err);
    if (rc != VQ_OK) {
        rc = vq_fail_context(err, rc, "%s", path);
        goto out;
    }
    f->page = pages.size;
    if (!private) VQ_TRY(check_lock(real, err));
    VQ_TRY(open_env(f, private, err));
    VQ_REQUIRE(same_file(f), VQ_EBUSY, "%s: it was replaced while it was opened; try again", path);
    if (f->locked && find_lock(real, &lock)) f->lock_dev = lock.st_dev, f->lock_ino = lock.st_ino;
    f->next = files;
    files = *out = f;
    f = NULL;
out:
    file_free(f);
    return rc;
}

static vq_file *find_open(const struct stat *st) /* under files_lock */
{
    vq_file *f = files;
    while (f != NULL && !(f->dev == st->st_dev && f->ino == st->st_ino)) f = f->next;
    return f;
}

static vq_status open_once(vq_file **out, const char *path, bool private, vq_error *err)
{
    vq_status rc = VQ_OK;
    struct stat st;
    vq_file *f;
    char *real = NULL;
    int fd = -1;
    VQ_TRY(vq_file_real(path, &real, err));
    fd = open(real, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = vq_fail_errno(err, errno, "%s", path);
        if (fd >= 0) (void)close(fd);
        goto out;
    }
    (void)pthread_mutex_lock(&files_lock);
    f = find_open(&st);
    if (f != NULL) {
        f->users++;
        *out = f;
        (void)close(fd);
    } else {
        rc = file_new(out, path, real, fd, &st, private, err);
    }
    (void)pthread_mutex_unlock(&files_lock);
out:
    vq_mem_free(real);
    return rc;
}

static vq_status file_open(vq_file **out, const char *path, bool private, vq_error *err)
{
    vq_status rc = VQ_EBUSY;
    vq_error e = {0}; /* err is not touched by a try that is not the last */
    *out = NULL;
    for (int i = 0; i < OPEN_TRIES && rc == VQ_EBUSY; i++) rc = open_once(out, path, private, &e);
    return rc == VQ_OK ? rc : vq_fail(err, rc, "%s", e.text);
}

vq_status vq_file_open(vq_file **out, const char *path, vq_error *err)
{
    return file_open(out, path, false, err);
}

vq_status vq_file_open_private(vq_file **out, const char *path, vq_error *err)
{
    return file_open(out, path, true, err);
}

void vq_file_close(vq_file *f)
{
    if (f == NULL) return;
    (void)pthread_mutex_lock(&files_lock);
    if (--f->users == 0) {
        vq_file **at = &files;
        while (*at != f) at = &(*at)->next;
        *at = f->next;
        file_free(f);
    }
    (void)pthread_mutex_unlock(&files_lock);
}

vq_file *vq_file_share(vq_file *f)
{
    (void)pthread_mutex_lock(&files_lock);
    f->users++;
    (void)pthread_mutex_unlock(&files_lock);
    return f;
}

bool vq_file_locked(const vq_file *f)
{
    return f->locked;
}

const char *vq_file_path(const vq_file *f)
{
    return f->path;
}

uint64_t vq_file_bytes(const vq_file *f)
{
    struct stat st;
    return fstat(f->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

bool vq_file_named(const vq_file *f, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino;
}

vq_status vq_file_successor(vq_file **out, const vq_file *f, const char *path, vq_error *err)
{
    vq_error e = {0};
    struct stat st;
    *out = NULL;
    if (stat(path, &st) != 0 || (st.st_dev == f->dev && st.st_ino == f->ino)) return VQ_OK;
    vq_status rc = vq_file_open(out, path, &e);
    if (rc == VQ_ENOENT) return VQ_OK; /* it has just been deleted */
    return rc == VQ_OK ? rc : vq_fail(err, rc, "%s", e.text);
}

vq_status vq_file_absolute(const char *path, char **out, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *folder = NULL;
    size_t len = 0;
    if (path[0] != '/') {
        folder = getcwd(NULL, 0);
        if (folder == NULL) return vq_fail_errno(err, errno, "%s: the current folder", path);
        len = strlen(folder);
    }
    *out = vq_mem_alloc(len + strlen(path) + 2, 1);
    VQ_REQUIRE(*out != NULL, VQ_ENOMEM, "%s: out of memory", path);
    (void)sprintf(*out, "%s%s%s", folder != NULL ? folder : "", folder != NULL ? "/" : "", path);
out:
    free(folder); /* from getcwd */
    return rc;
}

vq_status vq_file_real(const char *path, char **out, vq_error *err)
{
    vq_status rc = VQ_OK;
    struct stat st;
    char *real = NULL;
    bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    if (link) real = realpath(path, NULL);
    if (link && real == NULL) return vq_fail_errno(err, errno, "%s: a symbolic link", path);
    *out = vq_mem_strdup(link ? real : path);
    VQ_REQUIRE(*out != NULL, VQ_ENOMEM, "%s: out of memory", path);
out:
    free(real); /* from realpath */
    return rc;
}

uint64_t vq_file_newest(const vq_file *f)
{
    const vq_file_map *map = VQ_ATOMIC_LOAD(&f->map);
    return vq_pages_newest(map->base, f->page);
}

/* Is txn still the last one that LMDB tells readers of?  It does so once the meta page is on the
 * disk, long after that can be seen in the map; a writer touches the page of txn again only when
 * one more has been told. */
static bool still_last(vq_file *f, uint64_t txn)
{
    MDB_txn *other = NULL;
    if (vq_file_newest(f) == txn) return true;
    bool last = mdb_txn_begin(f->env, NULL, MDB_RDONLY, &other) == 0 && mdb_txn_id(other) == txn;
    if (other != NULL) mdb_txn_abort(other);
    return last;
}

/* Under the lock of f.  A writer that commits between the transaction's beginning and our look at
 * its meta page may write there while we look: once more then. */
static vq_status begin_reading(vq_file *f, MDB_txn **txn, vq_pages *pages, vq_error *err)
{
    vq_status rc = VQ_EBUSY;
    vq_error e = {0};
    for (int tries = 0; tries < SNAPSHOT_TRIES && rc == VQ_EBUSY; tries++) {
        if (*txn != NULL) mdb_txn_reset(*txn);
        int m = *txn != NULL ? mdb_txn_renew(*txn) : mdb_txn_begin(f->env, NULL, MDB_RDONLY, txn);
        if (m == MDB_MAP_RESIZED) { /* another process has made the file longer than our map */
            m = mdb_env_set_mapsize(f->env, 0);
            if (m == 0) continue;
        }
        if (m != 0) return vq_mdb_status(m, "snapshot", err);
        /* What LMDB tells comes from the lock file.  If that was another file's for a moment, of
         * which this one took the place, it is too large a number; it holds our pages all the same.
         */
        uint64_t id = mdb_txn_id(*txn), newest = vq_file_newest(f);
        rc = find_pages(f, VQ_MIN(id, newest), pages, &e);
        if (rc == VQ_OK && !still_last(f, pages->txn))
            rc = vq_fail(&e, VQ_EBUSY, "writers are too fast for a snapshot");
    }
    return rc == VQ_OK ? rc : vq_fail(err, rc, "%s", e.text);
}

vq_status vq_snapshot_begin(vq_snapshot *s, vq_file *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    MDB_txn *txn = NULL;
    memset(s, 0, sizeof *s);
    (void)pthread_mutex_lock(&f->lock);
    rc = begin_reading(f, &txn, &s->pages, err);
    (void)pthread_mutex_unlock(&f->lock);
    if (rc != VQ_OK) goto out;
    for (int i = 0; i < VQ_DB_COUNT; i++) {
        s->db[i].root = VQ_NO_PAGE;
        rc = vq_tree_open(&s->pages, vq_db_names[i], &s->db[i], err);
        if (rc != VQ_OK && rc != VQ_ENOENT) goto out;
    }
    rc = VQ_OK;
    s->file = vq_file_share(f);
    s->txn = txn;
    txn = NULL;
out:
    if (txn != NULL) mdb_txn_abort(txn);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", f->path);
}

void vq_snapshot_end(vq_snapshot *s)
{
    if (s->txn != NULL) mdb_txn_abort(s->txn);
    vq_file_close(s->file);
    memset(s, 0, sizeof *s);
}

vq_status vq_snapshot_get(const vq_snapshot *s, vq_db db, const void *key, size_t key_len,
                          const uint8_t **value, size_t *len, vq_error *err)
{
    vq_status rc = vq_tree_get(&s->pages, &s->db[db], key, key_len, value, len, err);
    return rc == VQ_OK || rc == VQ_ENOENT
               ? rc
               : vq_fail_context(err, rc, "%s: %s", s->file->path, vq_db_names[db]);
}

/* A line of LMDB's list: process, thread, transaction or "-"; the first line is a heading. */
static int note_reader(const char *line, void *ctx)
{
    vq_readers *r = ctx;
    int pid;
    size_t thread, txn;
    if (sscanf(line, "%d %zx %zu", &pid, &thread, &txn) != 3) return 0;
    r->count++;
    if (txn < r->oldest) r->oldest = txn, r->oldest_pid = (uint32_t)pid;
    return 0;
}

vq_status vq_file_readers(vq_file *f, vq_readers *r, vq_error *err)
{
    int dead, m;
    *r = (vq_readers){.oldest = UINT64_MAX};
    m = mdb_reader_check(f->env, &dead);
    if (m == 0) m = mdb_reader_list(f->env, note_reader, r);
    return m >= 0 ? VQ_OK : vq_mdb_status(m, f->path, err);
}

/* ---- some values ---- */

typedef struct put_job {
    const vq_value *values;
    size_t n;
} put_job;

static vq_status put_values(void *ctx, vq_change *c, vq_error *err)
{
    const put_job *j = ctx;
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < j->n && rc == VQ_OK; i++) {
        const vq_value *v = &j->values[i];
        uint8_t *room;
        if (v->bytes == NULL) {
            rc = vq_change_drop(c, v->db, v->key, strlen(v->key), err);
            continue;
        }
        rc = vq_change_put(c, v->db, v->key, strlen(v->key), v->len, &room, err);
        if (rc == VQ_OK) memcpy(room, v->bytes, v->len);
    }
    return rc;
}

vq_status vq_file_put(const char *path, const vq_file *f, const vq_value *values, size_t n,
                      vq_error *err)
{
    vq_change *c = NULL;
    put_job j = {.values = values, .n = n};
    vq_status rc = vq_change_begin(&c, path, VQ_CHANGE_WAIT_MS, err);
    if (rc == VQ_OK && f != NULL && vq_change_file(c) != f)
        rc = vq_fail(err, VQ_EBUSY, "%s: it has been replaced; it is as it was", path);
    if (rc == VQ_OK) rc = vq_change_apply(c, put_values, &j, err);
    vq_change_end(c);
    return rc;
}
