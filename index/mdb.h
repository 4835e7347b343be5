/* SPDX-License-Identifier: Apache-2.0 */
/* mdb.h -- what the files that know LMDB share: file.c, change.c, store.c. */
#ifndef VQ_INDEX_MDB_H
#define VQ_INDEX_MDB_H

#include <lmdb.h>
#include <pthread.h>
#include <sys/stat.h>

#include "index/file.h"

/* LMDB's error codes as ours. */
vq_status vq_mdb_status(int m, const char *what, vq_error *err);

typedef struct vq_file_map { /* maps live as long as the file: searchers point into them */
    uint8_t *base;
    size_t bytes; /* of the file when it was last looked at */
    size_t room;  /* mapped: a file may grow into it */
    struct vq_file_map *older;
} vq_file_map;

struct vq_file {
    struct vq_file *next; /* of all open files; guarded by their lock, like users */
    unsigned users;
    dev_t dev;
    ino_t ino;
    int fd;
    bool writable, locked; /* as far as env is concerned: it may write; it uses a lock file */
    char *path;            /* as it was given */
    char *real;            /* see vq_file_real */
    MDB_env *env;
    dev_t lock_dev;   /* of LMDB's lock file */
    ino_t lock_ino;   /* 0: it uses none */
    size_t page;      /* bytes of one */
    vq_file_map *map; /* the newest; read by VQ_ATOMIC_LOAD where the lock is not held */
    /* Held while map changes, and whenever a transaction begins: LMDB's own map must not be
     * replaced under it.  Transactions of readers that have begun do not look at that map. */
    pthread_mutex_t lock;
};

#endif
