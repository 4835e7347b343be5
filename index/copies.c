/* SPDX-License-Identifier: Apache-2.0 */
/* copies.c -- the copies that a second list holds of some vectors (train/spill.h), as a scan meets
 * them.  While lists are still being chosen, a copy may come before its vector: both are candidates
 * then, and the copy is dropped in the end. */
#include <string.h>

#include "index/searcher.h"

#define COPY (UINT64_C(1) << 63) /* in a place of the pool; lists are fewer than 2^31 */

vq_status vq_copies_begin(vq_marks *c, const vq_shard *s, const vq_query *x, bool ahead,
                          vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t words = (s->model.nlist + 63) / 64;
    c->marks = NULL;
    if (s->model.copies == 0 || (ahead && x->nlists == s->model.nlist)) goto out;
    c->marks = vq_arena_take(arena, words, sizeof *c->marks);
    VQ_REQUIRE(c->marks != NULL, VQ_ENOMEM, "scan: %u lists", s->model.nlist);
    memset(c->marks, 0, words * sizeof *c->marks);
    for (uint32_t i = 0; ahead && i < x->nlists; i++) vq_copies_mark(c, (uint32_t)x->lists[i].id);
out:
    return rc;
}

size_t vq_copies_take(const vq_marks *c, uint32_t nlist, const vq_chunk_view *v,
                      const uint32_t *idx, size_t kept, vq_pool *pool)
{
    float *scores = pool->scores + pool->n;
    uint64_t *places = pool->places + pool->n;
    size_t n = 0;
    for (size_t j = 0; j < kept; j++) {
        uint64_t place = vq_copy_of(v, idx[j]);
        if (place >> 32 >= nlist || vq_copies_marked(c, place >> 32)) continue;
        scores[n] = scores[j];
        places[n++] = place | COPY;
    }
    return n;
}

vq_status vq_copies_settle(const vq_marks *c, vq_shard *s, vq_pool *pool, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = 0;
    for (size_t i = 0; c->marks != NULL && i < pool->n; i++) {
        uint64_t place = pool->places[i] & ~COPY;
        uint32_t list = (uint32_t)(place >> 32), slot = (uint32_t)place;
        if (pool->places[i] != place) {
            if (vq_copies_marked(c, list)) continue;
            VQ_TRY(vq_shard_load(s, list, err));
            VQ_REQUIRE(slot < s->lists[list].n, VQ_ECORRUPT,
                       "%s: a copy of slot %u of list %u, which has %u",
                       vq_file_path(s->snapshot.file), slot, list, s->lists[list].n);
        }
        pool->scores[n] = pool->scores[i];
        pool->places[n++] = place;
    }
    if (c->marks != NULL) pool->n = n;
out:
    return rc;
}
