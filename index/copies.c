/* SPDX-License-Identifier: Apache-2.0 */
/* copies.c -- the copies that a second list holds of some vectors (train/spill.h), as a scan meets
 * them: a vector is a candidate once, as it is met first. */
#include <string.h>

#include "index/searcher.h"

#define COPY (UINT64_C(1) << 63) /* in a place of the pool; lists are fewer than 2^31 */

/* Room for places that copies have found: some hundreds, but where many answers are wanted.  Half
 * of it is used. */
enum { FOUND_LOG = 10, FOUND = 1 << FOUND_LOG };

static bool marked(const uint64_t *marks, uint64_t bit)
{
    return marks[bit / 64] >> bit % 64 & 1;
}

vq_status vq_copies_begin(vq_marks *c, const vq_shard *s, const vq_query *x, bool ahead,
                          vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t words = (s->model.nlist + 63) / 64, all = ahead ? words : 2 * words + FOUND + 1;
    c->done = c->met = c->found = NULL;
    if (s->model.copies == 0 || (ahead && x->nlists == vq_shard_live(s))) goto out;
    c->done = vq_arena_take(arena, all, sizeof *c->done);
    VQ_REQUIRE(c->done != NULL, VQ_ENOMEM, "scan: %u lists", s->model.nlist);
    memset(c->done, 0, all * sizeof *c->done);
    if (!ahead) {
        c->met = c->done + words;
        c->found = c->met + words;
    }
    for (uint32_t i = 0; ahead && i < x->nlists; i++) vq_copies_done(c, (uint32_t)x->lists[i].id);
out:
    return rc;
}

/* Where a copy's place is in the table, or would be. */
static uint64_t *found_at(const vq_marks *c, uint64_t place)
{
    uint64_t at = place * UINT64_C(0x9e3779b97f4a7c15) >> (64 - FOUND_LOG);
    while (c->found[at] != 0 && c->found[at] != place) at = (at + 1) % FOUND;
    return &c->found[at];
}

static bool found_full(const vq_marks *c)
{
    return c->found[FOUND] == FOUND / 2;
}

size_t vq_copies_take(const vq_marks *c, uint32_t nlist, const vq_chunk_view *v,
                      const uint32_t *idx, size_t kept, vq_pool *pool)
{
    float *scores = pool->scores + pool->n;
    uint64_t *places = pool->places + pool->n;
    size_t n = 0;
    for (size_t j = 0; j < kept; j++) {
        uint64_t place = vq_copy_of(v, idx[j]), list = place >> 32;
        if (list >= nlist || marked(c->done, list)) continue;
        scores[n] = scores[j];
        places[n++] = place |= COPY;
        if (c->met == NULL) continue;
        c->met[list / 64] |= UINT64_C(1) << list % 64;
        if (found_full(c)) continue;
        uint64_t *at = found_at(c, place);
        c->found[FOUND] += *at == 0;
        *at = place;
    }
    return n;
}

/* Where not all that copies have found is in the table the pool tells, too.  Of a list few vectors
 * have been found by their copies, if any. */
static size_t skip_by_pool(uint64_t first, uint32_t *idx, size_t kept, vq_pool *pool)
{
    uint64_t copied = (COPY | first) >> 32;
    float *scores = pool->scores + pool->n;
    for (size_t i = 0; i < pool->n; i++) {
        uint64_t place = pool->places[i] & ~COPY;
        size_t n = 0;
        if (VQ_LIKELY(pool->places[i] >> 32 != copied)) continue;
        for (size_t j = 0; j < kept; j++) {
            idx[n] = idx[j], scores[n] = scores[j];
            n += first + idx[j] != place;
        }
        kept = n;
    }
    return kept;
}

size_t vq_copies_skip(const vq_marks *c, uint64_t first, uint32_t *idx, size_t kept, vq_pool *pool)
{
    float *scores = pool->scores + pool->n;
    size_t n = 0;
    if (c->met == NULL || !marked(c->met, first >> 32)) return kept;
    for (size_t j = 0; j < kept; j++) {
        uint32_t slot = idx[j];
        idx[n] = slot, scores[n] = scores[j];
        n += *found_at(c, (first + slot) | COPY) == 0;
    }
    return n > 0 && found_full(c) ? skip_by_pool(first, idx, n, pool) : n;
}

vq_status vq_copies_settle(const vq_marks *c, vq_shard *s, vq_pool *pool, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; c->done != NULL && i < pool->n; i++) {
        uint64_t place = pool->places[i] & ~COPY;
        uint32_t list = (uint32_t)(place >> 32), slot = (uint32_t)place;
        if (place == pool->places[i]) continue;
        VQ_TRY(vq_shard_load(s, list, err));
        VQ_REQUIRE(slot < s->lists[list].n, VQ_ECORRUPT,
                   "%s: a copy of slot %u of list %u, which has %u", vq_file_path(s->snapshot.file),
                   slot, list, s->lists[list].n);
        pool->places[i] = place;
    }
out:
    return rc;
}
