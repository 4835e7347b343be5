/* SPDX-License-Identifier: Apache-2.0 */
/* mask.c -- see mask.h. */
#include "index/mask.h"

#include <string.h>

#include "index/select.h"
#include "src/io/ids.h"

enum { LISTED = 4096 }; /* so many are listed once for all queries */

void vq_filter_free(vq_filter *f)
{
    if (f == NULL) return;
    vq_mem_free(f->numbers);
    vq_mem_free(f->text);
    vq_mem_free(f);
}

vq_status vq_filter_make(vq_filter **out, const uint64_t *ids, const char *const *names, uint64_t n,
                         uint32_t kind, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t bytes = 0;
    *out = NULL;
    vq_filter *f = vq_mem_calloc(1, sizeof *f);
    VQ_REQUIRE(f != NULL && n < SIZE_MAX / 16, VQ_ENOMEM, "filter: %llu ids",
               (unsigned long long)n);
    f->kind = kind;
    f->n = n;
    for (uint64_t i = 0; names != NULL && i < n; i++) bytes += strlen(names[i]) + 1;
    if (names != NULL)
        f->text = vq_mem_alloc(bytes, 1);
    else
        f->numbers = vq_mem_alloc((size_t)n, sizeof *f->numbers);
    VQ_REQUIRE(f->text != NULL || f->numbers != NULL, VQ_ENOMEM, "filter: %llu ids",
               (unsigned long long)n);
    char *at = f->text;
    for (uint64_t i = 0; names != NULL && i < n; i++) at = stpcpy(at, names[i]) + 1;
    if (names == NULL && n > 0) memcpy(f->numbers, ids, (size_t)n * sizeof *ids);
    *out = f;
    f = NULL;
out:
    vq_filter_free(f);
    return rc;
}

void vq_mask_free(vq_mask *m)
{
    if (m == NULL) return;
    for (uint32_t l = 0; m->bits != NULL && l < m->nlist; l++) vq_mem_free(m->bits[l]);
    vq_mem_free(m->bits);
    vq_mem_free(m->counts);
    vq_mem_free(m->sizes);
    vq_mem_free(m->places);
    vq_mem_free(m);
}

static vq_status list_bits(vq_mask *m, const vq_shard *s, uint32_t list, vq_error *err)
{
    size_t words = ((size_t)s->lists[list].n + 63) / 64;
    if (m->bits[list] == NULL) m->bits[list] = vq_mem_calloc(words, sizeof **m->bits);
    if (m->bits[list] == NULL) return vq_fail(err, VQ_ENOMEM, "filter: list %u", list);
    m->sizes[list] = s->lists[list].n;
    return VQ_OK;
}

/* Everything but what will be denied. */
static vq_status set_all(vq_mask *m, vq_shard *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (uint32_t l = 0; l < m->nlist; l++) {
        VQ_TRY(vq_shard_load(s, l, err));
        uint32_t n = s->lists[l].n;
        if (n == 0) continue;
        VQ_TRY(list_bits(m, s, l, err));
        memset(m->bits[l], 0xff, n / 64 * sizeof **m->bits);
        if (n % 64 != 0) m->bits[l][n / 64] = (UINT64_C(1) << n % 64) - 1;
        m->counts[l] = n;
        m->matches += n;
    }
out:
    return rc;
}

static vq_status set_one(vq_mask *m, vq_shard *s, const void *key, size_t len, bool allow,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t size;
    uint64_t place;
    rc = vq_snapshot_get(&s->snapshot, VQ_DB_IDS, key, len, &value, &size, err);
    if (rc == VQ_ENOENT) return VQ_OK; /* of another index, or gone */
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_shard_place(s, value, size, &place, err));
    if (vq_mask_has(m, place) == allow) goto out;
    uint32_t list = (uint32_t)(place >> 32), slot = (uint32_t)place;
    VQ_TRY(list_bits(m, s, list, err));
    m->bits[list][slot / 64] ^= UINT64_C(1) << slot % 64;
    m->counts[list] += allow ? 1u : UINT32_MAX;
    m->matches += allow ? 1u : UINT64_MAX;
out:
    return rc;
}

static vq_status choose_ids(vq_mask *m, vq_shard *s, const vq_filter *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool allow = f->kind == VQ_FILTER_ALLOW;
    const char *name = f->text;
    if (!allow) VQ_TRY(set_all(m, s, err));
    for (uint64_t i = 0; i < f->n; i++) {
        uint8_t number[8];
        size_t len = name != NULL ? strlen(name) : sizeof number;
        if (name == NULL) vq_put_be64(number, f->numbers[i]);
        if (len >= 1 && len <= VQ_ID_MAX)
            VQ_TRY(set_one(m, s, name != NULL ? name : (const void *)number, len, allow, err));
        if (name != NULL) name += len + 1;
    }
out:
    return rc;
}

/* Where those lie that may be answered: m->matches places, rising. */
static void find_places(const vq_mask *m, uint64_t *places)
{
    size_t n = 0;
    for (uint32_t l = 0; l < m->nlist; l++)
        for (uint32_t at = 0; m->counts[l] > 0 && at < m->sizes[l]; at += 64)
            for (uint64_t bits = m->bits[l][at / 64]; bits != 0; bits &= bits - 1)
                places[n++] = (uint64_t)l << 32 | (at + (uint32_t)__builtin_ctzll(bits));
}

vq_status vq_mask_make(vq_shard *s, const vq_filter *f, const vq_expr *e, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_mask *m = vq_mem_calloc(1, sizeof *m);
    VQ_REQUIRE(m != NULL, VQ_ENOMEM, "filter: out of memory");
    m->nlist = s->model.nlist;
    m->bits = vq_mem_calloc(m->nlist, sizeof *m->bits);
    m->counts = vq_mem_calloc(m->nlist, sizeof *m->counts);
    m->sizes = vq_mem_calloc(m->nlist, sizeof *m->sizes);
    VQ_REQUIRE(m->bits != NULL && m->counts != NULL && m->sizes != NULL, VQ_ENOMEM,
               "filter: %u lists", m->nlist);
    if (f != NULL) VQ_TRY(choose_ids(m, s, f, err));
    if (e != NULL) VQ_TRY(vq_select(m, f == NULL, s, e, err));
    if (m->matches <= LISTED) {
        m->places = vq_mem_alloc((size_t)m->matches + 1, sizeof *m->places);
        VQ_REQUIRE(m->places != NULL, VQ_ENOMEM, "filter: %llu places",
                   (unsigned long long)m->matches);
        find_places(m, m->places);
    }
    vq_mask_free(s->mask);
    s->mask = m;
    m = NULL;
out:
    vq_mask_free(m);
    return rc;
}

uint32_t vq_mask_part(const vq_shard *s, uint32_t list, uint32_t chunk, uint32_t *first)
{
    const vq_list_view *l = &s->lists[list];
    uint32_t n = l->chunks[chunk].n, from = *first, base = chunk * s->capacity, end;
    if (s->mask == NULL || chunk >= l->nchunks) return n - from;
    const uint64_t *bits = s->mask->bits[list];
    if (bits == NULL) return 0;
    /* From groups of 64: their codes begin on cache lines, and a chunk's capacity is a multiple of
     * 32, so a group may begin in the middle of a word. */
    for (; from < n; from += 64) {
        uint32_t at = base + from, last = VQ_MIN(from + 64, n) - 1 + base;
        uint64_t any = bits[at / 64] >> at % 64;
        if (last / 64 != at / 64) any |= bits[last / 64] << (63 - last % 64);
        if (any != 0) break;
    }
    if (from >= n) return 0;
    for (end = from + 64; end < n; end += 64) {
        uint32_t at = base + end, last = VQ_MIN(end + 64, n) - 1 + base;
        uint64_t any = bits[at / 64] >> at % 64;
        if (last / 64 != at / 64) any |= bits[last / 64] << (63 - last % 64);
        if (any == 0) break;
    }
    *first = from;
    return VQ_MIN(end, n) - from;
}

size_t vq_mask_keep(const vq_mask *m, vq_pool *pool, size_t kept)
{
    float *scores = pool->scores + pool->n;
    uint64_t *places = pool->places + pool->n;
    size_t n = 0;
    for (size_t j = 0; j < kept; j++) {
        scores[n] = scores[j];
        places[n] = places[j];
        n += vq_mask_has(m, vq_copies_place(places[j]));
    }
    return n;
}

vq_status vq_mask_all(const vq_mask *m, vq_pool *pool, vq_arena *arena, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t all = (size_t)m->matches;
    *pool = (vq_pool){.keep = all, .cap = all};
    pool->scores = vq_arena_take(arena, all + 1, sizeof *pool->scores);
    pool->places = vq_arena_take(arena, all + 1, sizeof *pool->places);
    VQ_REQUIRE(pool->scores != NULL && pool->places != NULL, VQ_ENOMEM, "filter: %zu candidates",
               all);
    memset(pool->scores, 0, all * sizeof *pool->scores);
    if (m->places != NULL)
        memcpy(pool->places, m->places, all * sizeof *pool->places);
    else
        find_places(m, pool->places);
    pool->n = all;
out:
    return rc;
}
