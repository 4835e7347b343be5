/* SPDX-License-Identifier: Apache-2.0 */
/* file.c -- open files and snapshots.  LMDB gives the read transaction, which keeps a writer from
 * using our pages anew; the bytes are read through a map of our own, by pages.c. */
#include "index/file.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/mdb.h"
#include "src/base/mem.h"

const char *const vq_db_names[VQ_DB_COUNT] = {"meta", "model", "lists", "vectors",
                                              "ids",  "names", "copies"};

typedef struct file_map { /* maps live as long as the file: searchers point into them */
    uint8_t *base;
    size_t bytes;
    struct file_map *older;
} file_map;

struct vq_file {
    struct vq_file *next; /* of all open files; under files_lock, like users */
    unsigned users;
    dev_t dev;
    ino_t ino;
    int fd;
    char *path;
    MDB_env *env;
    pthread_mutex_t lock; /* guards map */
    file_map *map;        /* the newest */
};

static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static vq_file *files;

vq_status vq_mdb_status(int m, const char *what, vq_error *err)
{
    if (m > 0) return vq_fail_errno(err, m, "%s", what);
    vq_status code = m == MDB_MAP_FULL || m == MDB_TXN_FULL ? VQ_EIO
                     : m == MDB_READERS_FULL                ? VQ_EBUSY
                     : m == MDB_VERSION_MISMATCH            ? VQ_EVERSION
                                                            : VQ_ECORRUPT;
    return vq_fail(err, code, "%s: %s", what, mdb_strerror(m));
}

/* Maps the file as long as it is now. */
static vq_status map_file(vq_file *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    struct stat st;
    file_map *map = NULL;
    void *base;
    if (fstat(f->fd, &st) != 0) return vq_fail_errno(err, errno, "%s", f->path);
    VQ_REQUIRE(S_ISREG(st.st_mode), VQ_EINVAL, "%s: not a regular file", f->path);
    VQ_REQUIRE(st.st_size > 0, VQ_ECORRUPT, "%s: an empty file, no vq index", f->path);
    map = vq_mem_alloc(1, sizeof *map);
    VQ_REQUIRE(map != NULL, VQ_ENOMEM, "%s: out of memory", f->path);
    base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, f->fd, 0);
    if (base == MAP_FAILED) {
        rc = vq_fail_errno(err, errno, "%s: mapping %lld bytes", f->path, (long long)st.st_size);
        goto out;
    }
    *map = (file_map){.base = base, .bytes = (size_t)st.st_size, .older = f->map};
    f->map = map;
    map = NULL;
out:
    vq_mem_free(map);
    return rc;
}

static vq_status open_env(vq_file *f, bool private, vq_error *err)
{
    unsigned flags = MDB_NOSUBDIR | MDB_RDONLY | MDB_NOTLS;
    int m = 0;
    /* Where no lock file can be made, nobody can be writing either: read-only media. */
    for (int nolock = private; nolock < 2; nolock++) {
        m = mdb_env_create(&f->env);
        if (m == 0) m = mdb_env_set_maxreaders(f->env, 1022);
        if (m == 0) m = mdb_env_open(f->env, f->path, flags | (nolock ? MDB_NOLOCK : 0u), 0664);
        if (m == 0) return VQ_OK;
        if (f->env != NULL) mdb_env_close(f->env);
        f->env = NULL;
        if (m != EROFS && m != EACCES && m != EPERM) break;
    }
    return vq_mdb_status(m, f->path, err);
}

static void file_free(vq_file *f)
{
    if (f == NULL) return;
    if (f->env != NULL) mdb_env_close(f->env);
    while (f->map != NULL) {
        file_map *older = f->map->older;
        (void)munmap(f->map->base, f->map->bytes);
        vq_mem_free(f->map);
        f->map = older;
    }
    if (f->fd >= 0) (void)close(f->fd);
    (void)pthread_mutex_destroy(&f->lock);
    vq_mem_free(f->path);
    vq_mem_free(f);
}

/* Under files_lock. */
static vq_status file_new(vq_file **out, const char *path, int fd, const struct stat *st,
                          bool private, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_pages pages;
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
    VQ_REQUIRE(f->path != NULL, VQ_ENOMEM, "%s: out of memory", path);
    VQ_TRY(map_file(f, err));
    /* Before LMDB touches a page: is it one of its files, and is all of it here? */
    rc = vq_pages_open(&pages, f->map->base, f->map->bytes, 0, err);
    if (rc != VQ_OK) {
        rc = vq_fail_context(err, rc, "%s", path);
        goto out;
    }
    VQ_TRY(open_env(f, private, err));
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

static vq_status file_open(vq_file **out, const char *path, bool private, vq_error *err)
{
    vq_status rc = VQ_OK;
    struct stat st;
    vq_file *f;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return vq_fail_errno(err, errno, "%s", path);
    if (fstat(fd, &st) != 0) {
        rc = vq_fail_errno(err, errno, "%s", path);
        (void)close(fd);
        return rc;
    }
    (void)pthread_mutex_lock(&files_lock);
    f = find_open(&st);
    if (f != NULL) {
        f->users++;
        *out = f;
        (void)close(fd);
    } else {
        rc = file_new(out, path, fd, &st, private, err);
    }
    (void)pthread_mutex_unlock(&files_lock);
    return rc;
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

const char *vq_file_path(const vq_file *f)
{
    return f->path;
}

uint64_t vq_file_bytes(const vq_file *f)
{
    struct stat st;
    return fstat(f->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The pages of the transaction just begun; maps the file anew if it grew. */
static vq_status find_pages(vq_file *f, uint64_t txn, vq_pages *pages, vq_error *err)
{
    (void)pthread_mutex_lock(&f->lock);
    vq_status rc = vq_pages_open(pages, f->map->base, f->map->bytes, txn, err);
    if (rc == VQ_ECORRUPT && vq_file_bytes(f) > f->map->bytes) {
        rc = map_file(f, err);
        if (rc == VQ_OK) rc = vq_pages_open(pages, f->map->base, f->map->bytes, txn, err);
    }
    (void)pthread_mutex_unlock(&f->lock);
    return rc;
}

vq_status vq_snapshot_begin(vq_snapshot *s, vq_file *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    MDB_txn *txn = NULL;
    memset(s, 0, sizeof *s);
    int m = mdb_txn_begin(f->env, NULL, MDB_RDONLY, &txn);
    if (m != 0) return vq_mdb_status(m, f->path, err);
    /* A writer that commits twice between the two lines overwrites our meta page: once more then.
     */
    for (int tries = 0; tries < 1000; tries++) {
        rc = find_pages(f, mdb_txn_id(txn), &s->pages, err);
        if (rc != VQ_EBUSY) break;
        mdb_txn_reset(txn);
        m = mdb_txn_renew(txn);
        if (m != 0) {
            rc = vq_mdb_status(m, "snapshot", err);
            break;
        }
    }
    if (rc != VQ_OK) goto out;
    for (int i = 0; i < VQ_DB_COUNT; i++) {
        s->db[i].root = VQ_NO_PAGE;
        rc = vq_tree_open(&s->pages, vq_db_names[i], &s->db[i], err);
        if (rc != VQ_OK && rc != VQ_ENOENT) goto out;
    }
    rc = VQ_OK;
    s->file = f;
    s->txn = txn;
    txn = NULL;
out:
    if (txn != NULL) mdb_txn_abort(txn);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", f->path);
}

void vq_snapshot_end(vq_snapshot *s)
{
    if (s->txn != NULL) mdb_txn_abort(s->txn);
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

/* One transaction in an environment of its own. */
static int put_value(MDB_env *env, const char *path, size_t map, vq_db db, MDB_val *key,
                     MDB_val *value)
{
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    int m = mdb_env_set_maxdbs(env, VQ_DB_COUNT);
    if (m == 0) m = mdb_env_set_mapsize(env, map);
    if (m == 0) m = mdb_env_set_maxreaders(env, 1022);
    if (m == 0) m = mdb_env_open(env, path, MDB_NOSUBDIR, 0664);
    if (m == 0) m = mdb_txn_begin(env, NULL, 0, &txn);
    if (m != 0) return m;
    m = mdb_dbi_open(txn, vq_db_names[db], 0, &dbi);
    if (m == 0) m = mdb_put(txn, dbi, key, value, 0);
    if (m == 0) return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return m;
}

vq_status vq_file_put(const char *path, vq_db db, const char *key, const void *value, size_t len,
                      vq_error *err)
{
    vq_status rc = VQ_OK;
    struct stat st;
    MDB_env *env = NULL;
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v = {len, (void *)(uintptr_t)value};
    (void)pthread_mutex_lock(&files_lock); /* nobody opens it meanwhile: LMDB forbids two of them */
    if (stat(path, &st) != 0) {
        rc = vq_fail_errno(err, errno, "%s", path);
        goto out;
    }
    VQ_REQUIRE(find_open(&st) == NULL, VQ_EBUSY,
               "%s is open in this process; close it before it is changed", path);
    size_t map = vq_round_up((size_t)st.st_size + 4 * len + (16u << 20), 1u << 20);
    int m = mdb_env_create(&env);
    if (m == 0) m = put_value(env, path, map, db, &k, &v);
    if (m != 0) rc = vq_mdb_status(m, path, err);
out:
    if (env != NULL) mdb_env_close(env);
    (void)pthread_mutex_unlock(&files_lock);
    return rc;
}
