/* SPDX-License-Identifier: Apache-2.0 */
/* copies.c -- the copies that a second list holds of some vectors (train/spill.h), as a scan meets
 * them: a vector counts once, as it is met first. */
#include <string.h>

#include "index/searcher.h"

#define COPY (UINT64_C(1) << 63) /* in a place of the pool; lists are fewer than 2^31 */

/* Bits for places that copies have found: some hundreds, but where many answers are wanted. */
enum { PLACES_LOG = 13, PLACES_WORDS = (1 << PLACES_LOG) / 64 };

static bool marked(const uint64_t *marks, uint64_t bit)
{
    return marks[bit / 64] >> bit % 64 & 1;
}

/* Where a place is noted; others may be noted there. */
static uint64_t place_bit(uint64_t place)
{
    return place * UINT64_C(0x9e3779b97f4a7c15) >> (64 - PLACES_LOG);
}

vq_status vq_copies_begin(vq_marks *c, const vq_shard *s, const vq_query *x, bool ahead,
                          vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t words = (s->model.nlist + 63) / 64;
    c->done = c->met = c->places = NULL;
    if (s->model.copies == 0 || (ahead && x->nlists == vq_shard_live(s))) goto out;
    c->done = vq_arena_take(arena, 2 * words + PLACES_WORDS, sizeof *c->done);
    VQ_REQUIRE(c->done != NULL, VQ_ENOMEM, "scan: %u lists", s->model.nlist);
    memset(c->done, 0, (2 * words + PLACES_WORDS) * sizeof *c->done);
    c->met = c->done + words;
    c->places = c->met + words;
    for (uint32_t i = 0; ahead && i < x->nlists; i++) vq_copies_done(c, (uint32_t)x->lists[i].id);
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
        uint64_t place = vq_copy_of(v, idx[j]), list = place >> 32;
        if (list >= nlist || marked(c->done, list)) continue;
        uint64_t bit = place_bit(place);
        c->met[list / 64] |= UINT64_C(1) << list % 64;
        c->places[bit / 64] |= UINT64_C(1) << bit % 64;
        scores[n] = scores[j];
        places[n++] = place | COPY;
    }
    return n;
}

/* Of a list few vectors have been found by their copies, if any.  The pool is gone through, once,
 * only where the marks say that one of those kept may be among them. */
size_t vq_copies_skip(const vq_marks *c, uint64_t first, uint32_t *idx, size_t kept, vq_pool *pool)
{
    uint64_t list = first >> 32, copied = (COPY >> 32) | list;
    float *scores = pool->scores + pool->n;
    bool met = false;
    if (c->met == NULL || !marked(c->met, list)) return kept;
    for (size_t j = 0; j < kept; j++) met |= marked(c->places, place_bit(first + idx[j]));
    for (size_t i = 0; met && i < pool->n; i++) {
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
