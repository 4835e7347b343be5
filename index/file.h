/* SPDX-License-Identifier: Apache-2.0 */
/* file.h -- the LMDB file: environments and snapshots for reading, and a new file being written.
 * file.c, change.c and store.c are the only files that know LMDB; bytes are read through pages.h.
 */
#ifndef VQ_INDEX_FILE_H
#define VQ_INDEX_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/pages.h"
#include "src/base/status.h"
#include "vq/vq.h"

/* The named databases of an index, in the order of db names below. */
typedef enum vq_db {
    VQ_DB_META,
    VQ_DB_MODEL,
    VQ_DB_LISTS,
    VQ_DB_VECTORS,
    VQ_DB_IDS,
    VQ_DB_NAMES,
    VQ_DB_COPIES, /* this and the following only in an index that has some */
    VQ_DB_DOCUMENTS,
    VQ_DB_TAGS,
    VQ_DB_TAGGED,
    VQ_DB_TIMES,
    VQ_DB_COUNT
} vq_db;
extern const char *const vq_db_names[VQ_DB_COUNT];

/* ---- reading ---- */

/* An open file.  One environment per file and process (LMDB's rule): a second open of the same
 * inode shares the first.  A symbolic link counts as the file that it leads to at that moment, so
 * that all names of a file share a lock file; hard links cannot.  Thread-safe. */
typedef struct vq_file vq_file;
vq_status vq_file_open(vq_file **out, const char *path, vq_error *err);
/* A file that nobody else can know of yet: without LMDB's lock file.  Not while it is written. */
vq_status vq_file_open_private(vq_file **out, const char *path, vq_error *err);
void vq_file_close(vq_file *f);     /* accepts NULL */
vq_file *vq_file_share(vq_file *f); /* the same once more, to be closed once more */
const char *vq_file_path(const vq_file *f);
/* Whether writers know of the snapshots that are held of it.  They do not where the lock file could
 * not be opened for writing: the pages of an older snapshot may then hold other things. */
bool vq_file_locked(const vq_file *f);
uint64_t vq_file_bytes(const vq_file *f);
bool vq_file_named(const vq_file *f, const char *path); /* is it the one that path names? */
/* Opens the file that path names, if that is another one than f; else, or where nothing has the
 * name, *out is NULL. */
vq_status vq_file_successor(vq_file **out, const vq_file *f, const char *path, vq_error *err);
/* path from the root, to be freed: it means the same after a change of folder. */
vq_status vq_file_absolute(const char *path, char **out, vq_error *err);
/* What path leads to if it is a symbolic link, else path, to be freed: where a lock file lies, and
 * what a new file takes the place of.  VQ_ENOENT: a link to nothing. */
vq_status vq_file_real(const char *path, char **out, vq_error *err);
/* The number of the newest transaction: has anything changed since a snapshot?  Two loads. */
uint64_t vq_file_newest(const vq_file *f);

/* Who reads a file now, in any process. */
typedef struct vq_readers {
    uint32_t count;      /* snapshots held */
    uint64_t oldest;     /* the transaction of the oldest one; UINT64_MAX: there is none */
    uint32_t oldest_pid; /* and who holds it */
} vq_readers;
vq_status vq_file_readers(vq_file *f, vq_readers *r, vq_error *err);

/* What one moment's readers see.  Pointers into its pages live until vq_snapshot_end; it keeps the
 * file open as long. */
typedef struct vq_snapshot {
    vq_file *file;
    void *txn; /* MDB_txn: keeps LMDB from using the pages anew */
    vq_pages pages;
    vq_tree db[VQ_DB_COUNT]; /* root VQ_NO_PAGE where a database does not exist */
} vq_snapshot;
vq_status vq_snapshot_begin(vq_snapshot *s, vq_file *f, vq_error *err);
void vq_snapshot_end(vq_snapshot *s); /* accepts one that is all zero */
/* VQ_ENOENT without a text if the key is not there. */
vq_status vq_snapshot_get(const vq_snapshot *s, vq_db db, const void *key, size_t key_len,
                          const uint8_t **value, size_t *len, vq_error *err);

typedef struct vq_value { /* of a key; borrowed */
    vq_db db;
    const char *key;
    const void *bytes; /* NULL: there is to be no such key */
    size_t len;
} vq_value;
/* Puts n values into the file f, which path names (NULL: whichever it names), in the place of what
 * was there, and syncs: all or nothing; who reads keeps the snapshot they have.  LMDB writes, and
 * believes the pages: verify them first.  VQ_EBUSY: somebody else changes the file (change.h), or
 * path names another one by now. */
vq_status vq_file_put(const char *path, const vq_file *f, const vq_value *values, size_t n,
                      vq_error *err);

/* ---- writing a new file (store.c) ---- */

/* A private file PATH.tmp-PID that becomes PATH when it is whole. */
typedef struct vq_store vq_store;
/* path: see vq_file_real.  Removes what dead builds of path left behind.  VQ_EBUSY: path exists and
 * !force, or another build of it runs. */
vq_status vq_store_create(vq_store **out, const char *path, bool force, vq_error *err);
/* Removes PATH.tmp-* whose makers are dead, which no lock (flock) of them tells, and leaves what
 * this process itself made; VQ_EBUSY if one lives. */
vq_status vq_store_clear_stale(const char *path, vq_error *err);
size_t vq_store_value_min(const vq_store *st); /* see vq_shape */
/* Room for len bytes under a key, to be filled before the next call.  Keys of all databases but
 * meta and model must come in rising order. */
vq_status vq_store_put(vq_store *st, vq_db db, const void *key, size_t key_len, size_t len,
                       uint8_t **room, vq_error *err);
/* There is to be a database of copies, though it may stay empty. */
vq_status vq_store_want_copies(vq_store *st, vq_error *err);
/* Commits, so that vq_file_open_private can read what is there, and goes on after that. */
vq_status vq_store_pause(vq_store *st, vq_error *err);
vq_status vq_store_resume(vq_store *st, vq_error *err);
const char *vq_store_temp(const vq_store *st); /* the name of the file until it is finished */
/* Commits, syncs file and folder, renames.  On failure the old file is as before. */
vq_status vq_store_finish(vq_store *st, vq_error *err);
void vq_store_free(vq_store *st); /* removes the temporary file unless finished; accepts NULL */

#endif
