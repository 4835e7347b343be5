/* SPDX-License-Identifier: Apache-2.0 */
/* table.c -- see table.h.  Open addressing, linear probing, at most half full. */
#include "src/base/table.h"

#include <string.h>

#include "src/base/mem.h"

/* Fibonacci hashing: the high bits of a product depend on all bits of the key. */
static size_t first_cell(const vq_table *t, uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (t->cap - 1);
}

static void put(vq_table *t, uint64_t key, uint32_t value)
{
    size_t at = first_cell(t, key);
    while (t->values[at] != VQ_TABLE_NONE) at = (at + 1) & (t->cap - 1);
    t->keys[at] = key;
    t->values[at] = value;
    t->n++;
}

static vq_status grow(vq_table *t, vq_error *err)
{
    vq_table wide = {.cap = t->cap == 0 ? 64 : 2 * t->cap};
    wide.keys = vq_mem_alloc(wide.cap, sizeof *wide.keys);
    wide.values = vq_mem_alloc(wide.cap, sizeof *wide.values);
    if (wide.keys == NULL || wide.values == NULL) {
        vq_table_fini(&wide);
        return vq_fail(err, VQ_ENOMEM, "a table of %zu keys", t->n + 1);
    }
    memset(wide.values, 0xff, wide.cap * sizeof *wide.values);
    for (size_t i = 0; i < t->cap; i++)
        if (t->values[i] != VQ_TABLE_NONE) put(&wide, t->keys[i], t->values[i]);
    vq_table_fini(t);
    *t = wide;
    return VQ_OK;
}

vq_status vq_table_add(vq_table *t, uint64_t key, uint32_t value, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (2 * t->n >= t->cap) VQ_TRY(grow(t, err));
    put(t, key, value);
out:
    return rc;
}

uint32_t vq_table_find(const vq_table *t, uint64_t key,
                       bool (*same)(const void *ctx, uint32_t value), const void *ctx)
{
    if (t->cap == 0) return VQ_TABLE_NONE;
    size_t at = first_cell(t, key);
    for (; t->values[at] != VQ_TABLE_NONE; at = (at + 1) & (t->cap - 1))
        if (t->keys[at] == key && (same == NULL || same(ctx, t->values[at]))) break;
    return t->values[at];
}

void vq_table_fini(vq_table *t)
{
    vq_mem_free(t->keys);
    vq_mem_free(t->values);
    memset(t, 0, sizeof *t);
}
