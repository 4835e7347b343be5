/* SPDX-License-Identifier: Apache-2.0 */
/* table.h -- a hash table from 64-bit keys to 32-bit numbers, as a rule places in an array of the
 * caller's.  Keys may be hashes of something longer: then equal ones are told apart by the caller.
 */
#ifndef VQ_BASE_TABLE_H
#define VQ_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

#define VQ_TABLE_NONE UINT32_MAX

typedef struct vq_table { /* all zero: empty */
    uint64_t *keys;
    uint32_t *values; /* VQ_TABLE_NONE: a free cell */
    size_t n, cap;    /* cap is a power of two, or 0 */
} vq_table;

/* Adds a pair, whether the key is there or not; value is not VQ_TABLE_NONE. */
vq_status vq_table_add(vq_table *t, uint64_t key, uint32_t value, vq_error *err);
/* The value of a key that `same` (NULL: any) accepts, or VQ_TABLE_NONE. */
uint32_t vq_table_find(const vq_table *t, uint64_t key,
                       bool (*same)(const void *ctx, uint32_t value), const void *ctx);
void vq_table_fini(vq_table *t); /* leaves it empty */

#endif
