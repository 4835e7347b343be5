/* SPDX-License-Identifier: Apache-2.0 */
/* bucket.c -- see bucket.h. */
#include "index/bucket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "src/base/mem.h"

enum {
    MIN_BLOCK = 4 << 10,
    MAX_BLOCK = 4 << 20,
    MAX_BLOCKS = 8192 /* or they are larger: each may be a mapping, and these are limited */
};

typedef struct block { /* full, but for a part's last one */
    uint8_t *bytes;    /* NULL: in the file */
    off_t at;
} block;

typedef struct part {
    block *blocks;
    size_t nblocks, cap, count; /* count: records */
} part;

struct vq_buckets {
    char *beside;
    part *parts;
    size_t nparts, record, per_block; /* records of a block */
    size_t resident, max_resident;    /* blocks in memory */
    size_t spill_next;                /* the part to look at first for a block to spill */
    int fd;
    off_t end;
};

vq_status vq_buckets_new(vq_buckets **out, const char *beside, size_t parts, size_t record,
                         size_t memory, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_buckets *b = vq_mem_calloc(1, sizeof *b);
    *out = NULL;
    if (b == NULL) return vq_fail(err, VQ_ENOMEM, "buckets: out of memory");
    b->fd = -1;
    b->nparts = parts;
    b->record = record;
    size_t bytes = memory / (2 * parts), most = VQ_MAX((size_t)MAX_BLOCK, memory / MAX_BLOCKS);
    bytes = VQ_MIN(VQ_MAX(bytes, (size_t)MIN_BLOCK), most);
    b->per_block = VQ_MAX(bytes / record, (size_t)1);
    b->max_resident = VQ_MAX(memory / (b->per_block * record), parts + 1);
    b->beside = vq_mem_strdup(beside);
    b->parts = vq_mem_calloc(parts, sizeof *b->parts);
    VQ_REQUIRE(b->beside != NULL && b->parts != NULL, VQ_ENOMEM, "buckets: %zu parts", parts);
    *out = b;
    b = NULL;
out:
    vq_buckets_free(b);
    return rc;
}

static vq_status open_spill(vq_buckets *b, vq_error *err)
{
    size_t cap = strlen(b->beside) + 32;
    char *name = vq_mem_alloc(cap, 1);
    if (name == NULL) return vq_fail(err, VQ_ENOMEM, "buckets: out of memory");
    (void)snprintf(name, cap, "%s.tmp-spill-XXXXXX", b->beside);
    b->fd = mkstemp(name);
    vq_status rc = b->fd < 0 ? vq_fail_errno(err, errno, "%s", name) : VQ_OK;
    if (b->fd >= 0) (void)unlink(name);
    vq_mem_free(name);
    return rc;
}

static vq_status write_all(int fd, const uint8_t *bytes, size_t len, off_t at, vq_error *err)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return vq_fail_errno(err, n < 0 ? errno : ENOSPC, "temporary file of the build");
        bytes += n, len -= (size_t)n, at += n;
    }
    return VQ_OK;
}

static vq_status read_all(int fd, uint8_t *bytes, size_t len, off_t at, vq_error *err)
{
    while (len > 0) {
        ssize_t n = pread(fd, bytes, len, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return vq_fail_errno(err, n < 0 ? errno : EIO, "temporary file of the build");
        bytes += n, len -= (size_t)n, at += n;
    }
    return VQ_OK;
}

/* Moves the full blocks of the next part that has some to the file. */
static vq_status spill(vq_buckets *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (b->fd < 0) VQ_TRY(open_spill(b, err));
    for (size_t looked = 0; looked < b->nparts; looked++) {
        part *p = &b->parts[b->spill_next];
        b->spill_next = (b->spill_next + 1) % b->nparts;
        size_t full = p->count / b->per_block, before = b->resident,
               bytes = b->per_block * b->record;
        for (size_t i = 0; i < full; i++) {
            block *at = &p->blocks[i];
            if (at->bytes == NULL) continue;
            VQ_TRY(write_all(b->fd, at->bytes, bytes, b->end, err));
            vq_mem_free(at->bytes);
            *at = (block){.bytes = NULL, .at = b->end};
            b->end += (off_t)bytes;
            b->resident--;
        }
        if (b->resident < before) break;
    }
out:
    return rc;
}

static vq_status add_block(vq_buckets *b, part *p, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (b->resident >= b->max_resident) VQ_TRY(spill(b, err));
    if (p->nblocks == p->cap) {
        size_t cap = p->cap == 0 ? 8 : 2 * p->cap;
        block *grown = vq_mem_grow(p->blocks, p->nblocks, cap, sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "buckets: out of memory");
        p->blocks = grown;
        p->cap = cap;
    }
    uint8_t *bytes = vq_mem_alloc(b->per_block, b->record);
    VQ_REQUIRE(bytes != NULL, VQ_ENOMEM, "buckets: out of memory");
    p->blocks[p->nblocks++] = (block){.bytes = bytes};
    b->resident++;
out:
    return rc;
}

vq_status vq_buckets_add(vq_buckets *b, size_t part_no, const void *record, vq_error *err)
{
    vq_status rc = VQ_OK;
    part *p = &b->parts[part_no];
    if (p->count == p->nblocks * b->per_block) VQ_TRY(add_block(b, p, err));
    memcpy(p->blocks[p->nblocks - 1].bytes + p->count % b->per_block * b->record, record,
           b->record);
    p->count++;
out:
    return rc;
}

size_t vq_buckets_count(const vq_buckets *b, size_t part_no)
{
    return b->parts[part_no].count;
}

vq_status vq_buckets_read(vq_buckets *b, size_t part_no, size_t first, size_t max, void *out,
                          size_t *got, vq_error *err)
{
    vq_status rc = VQ_OK;
    const part *p = &b->parts[part_no];
    uint8_t *to = out;
    size_t end = p->count - first > max ? first + max : p->count;
    for (size_t i = first; i < end;) {
        const block *at = &p->blocks[i / b->per_block];
        size_t offset = i % b->per_block, n = VQ_MIN(b->per_block - offset, end - i);
        if (at->bytes != NULL)
            memcpy(to, at->bytes + offset * b->record, n * b->record);
        else
            VQ_TRY(read_all(b->fd, to, n * b->record, at->at + (off_t)(offset * b->record), err));
        to += n * b->record;
        i += n;
    }
    *got = end - first;
out:
    return rc;
}

void vq_buckets_drop(vq_buckets *b, size_t part_no)
{
    part *p = &b->parts[part_no];
    for (size_t i = 0; i < p->nblocks; i++) {
        if (p->blocks[i].bytes != NULL) b->resident--;
        vq_mem_free(p->blocks[i].bytes);
    }
    vq_mem_free(p->blocks);
    memset(p, 0, sizeof *p);
}

void vq_buckets_free(vq_buckets *b)
{
    if (b == NULL) return;
    for (size_t i = 0; b->parts != NULL && i < b->nparts; i++) vq_buckets_drop(b, i);
    if (b->fd >= 0) (void)close(b->fd);
    vq_mem_free(b->parts);
    vq_mem_free(b->beside);
    vq_mem_free(b);
}
