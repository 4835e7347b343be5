/* SPDX-License-Identifier: Apache-2.0 */
/* warm.c -- what a scan reads, brought into memory before the first query, and held there. */
#include <sys/mman.h>
#include <unistd.h>

#include "index/searcher.h"

typedef struct warming {
    size_t page;
    bool lock;
    uint64_t bytes, locked;
    unsigned sum; /* of what was touched, so that touching is not left out */
} warming;

/* A part of the map.  Held only in whole pages; the map's end gives them back. */
static void warm(warming *w, const void *from, size_t len)
{
    const volatile uint8_t *p = from;
    if (from == NULL || len == 0) return;
    uintptr_t first = (uintptr_t)from / w->page * w->page, end = (uintptr_t)from + len;
    if (w->lock && mlock((const void *)first, end - first) == 0) w->locked += len;
    for (size_t i = 0; i < len; i += w->page) w->sum += p[i];
    w->sum += p[len - 1];
    w->bytes += len;
}

static vq_status warm_list(vq_shard *s, uint32_t list, warming *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t code = s->model.shape.code_bytes;
    VQ_TRY(vq_shard_load(s, list, err));
    const vq_list_view *l = &s->lists[list];
    for (uint32_t i = 0; i < l->nchunks + l->ncopied; i++) {
        const vq_chunk_view *v = &l->chunks[i];
        warm(w, v->codes, vq_round_up(v->n, (size_t)VQ_BLOCK) * code);
        if (v->factors != NULL) warm(w, v->factors, v->n * sizeof *v->factors);
        warm(w, v->labels, v->n * sizeof(uint64_t));
    }
out:
    return rc;
}

vq_status vq_searcher_warm(vq_searcher *s, uint32_t lock, uint64_t *bytes, uint64_t *locked,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    warming w = {.page = (size_t)sysconf(_SC_PAGESIZE), .lock = lock != 0};
    VQ_REQUIRE(s != NULL, VQ_EINVAL, "warm: no searcher");
    for (size_t i = 0; i < s->nshards; i++)
        for (uint32_t l = 0; l < s->shards[i].model.nlist; l++)
            VQ_TRY(warm_list(&s->shards[i], l, &w, err));
    if (bytes != NULL) *bytes = w.bytes;
    if (locked != NULL) *locked = w.locked;
out:
    return rc;
}
