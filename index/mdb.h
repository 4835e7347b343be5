/* SPDX-License-Identifier: Apache-2.0 */
/* mdb.h -- LMDB's error codes as ours; for file.c and store.c. */
#ifndef VQ_INDEX_MDB_H
#define VQ_INDEX_MDB_H

#include "src/base/status.h"

vq_status vq_mdb_status(int m, const char *what, vq_error *err);

#endif
