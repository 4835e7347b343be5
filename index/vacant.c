/* SPDX-License-Identifier: Apache-2.0 */
/* vacant.c -- lists that hold neither vectors nor copies: no search reads them, or counts them
 * among those that it reads.  Their keys tell, so that no list is looked up. */
#include <string.h>

#include "index/searcher.h"

enum { VACANT, HELD, UNSURE };
enum { WALK = 16 /* one in so many lists */ };

void vq_vacant_fini(vq_vacant *v)
{
    vq_mem_free(v->state);
    vq_mem_free(v->lists);
    memset(v, 0, sizeof *v);
}

static void note(void *vacant, const uint8_t *key, size_t len)
{
    vq_vacant *v = vacant;
    if (len == 8 && vq_be32(key) < v->nlist) v->state[vq_be32(key)] = HELD;
}

void vq_vacant_forget(vq_vacant *v, uint32_t list)
{
    if (list < v->nlist) v->state[list] = UNSURE;
}

/* All keys of a tree, without a look at their values: they differ from those of no tree. */
static vq_status note_keys(vq_vacant *v, const vq_snapshot *s, vq_db db, vq_error *err)
{
    const vq_tree none = {.root = VQ_NO_PAGE};
    return vq_tree_differs(&s->pages, &none, &s->pages, &s->db[db], note, v, err);
}

static vq_status look_up(vq_vacant *v, const vq_snapshot *s, uint32_t list, vq_error *err)
{
    static const vq_db dbs[] = {VQ_DB_LISTS, VQ_DB_COPIES};
    uint8_t key[8], state = VACANT;
    const uint8_t *value;
    size_t len;
    vq_chunk_key(key, list, 0);
    for (size_t i = 0; i < VQ_COUNT(dbs) && state == VACANT; i++) {
        vq_status rc = vq_snapshot_get(s, dbs[i], key, sizeof key, &value, &len, err);
        if (rc != VQ_OK && rc != VQ_ENOENT) return rc;
        if (rc == VQ_OK) state = HELD;
    }
    v->state[list] = state;
    return VQ_OK;
}

static vq_status write_lists(vq_vacant *v, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t n = 0;
    for (uint32_t l = 0; l < v->nlist; l++) n += v->state[l] == VACANT;
    v->lists = vq_mem_alloc(n, sizeof *v->lists);
    VQ_REQUIRE(v->lists != NULL, VQ_ENOMEM, "searcher: %u lists", n);
    for (uint32_t l = 0; l < v->nlist; l++)
        if (v->state[l] == VACANT) v->lists[v->n++] = l;
out:
    return rc;
}

/* What an earlier snapshot tells, if that leaves few lists to be looked up: all keys are walked
 * through in the time of some.  Returns whether it is. */
static bool take_over(vq_vacant *v, const vq_vacant *old)
{
    size_t unsure = 0, had;
    if (old == NULL || old->state == NULL) return false;
    had = VQ_MIN(old->nlist, v->nlist);
    for (size_t l = 0; l < had; l++) unsure += old->state[l] == UNSURE;
    if (unsure + (v->nlist - had) > v->nlist / WALK) return false;
    memcpy(v->state, old->state, had);
    memset(v->state + had, UNSURE, v->nlist - had);
    return true;
}

vq_status vq_vacant_find(vq_vacant *v, const vq_snapshot *s, uint32_t nlist, const vq_vacant *old,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(v, 0, sizeof *v);
    v->state = vq_mem_calloc(nlist, 1);
    VQ_REQUIRE(v->state != NULL, VQ_ENOMEM, "searcher: %u lists", nlist);
    v->nlist = nlist;
    if (take_over(v, old)) {
        for (uint32_t l = 0; l < nlist; l++)
            if (v->state[l] == UNSURE) VQ_TRY(look_up(v, s, l, err));
    } else {
        VQ_TRY(note_keys(v, s, VQ_DB_LISTS, err));
        VQ_TRY(note_keys(v, s, VQ_DB_COPIES, err));
    }
    VQ_TRY(write_lists(v, err));
out:
    if (rc != VQ_OK) vq_vacant_fini(v);
    return rc;
}
