/* SPDX-License-Identifier: Apache-2.0 */
/* dissolve.c -- lists that a batch has left almost empty: all they have goes to the lists that are
 * nearest without them.  Their copies are of vectors of other lists, which are encoded anew where
 * they are.  What is left is an empty list, whose centroid stays: vectors that come to it later may
 * fill it anew. */
#include "index/moving.h"

enum {
    SHARE = 8, /* a list of less than an eighth of the mean dissolves, */
    LEAST = 32 /* ..if that is so much: where all lists are small nothing is gained */
};

/* Vectors and copies of the lists that hold some after the batch, on the average. */
static vq_status find_mean(vq_moving *w, double *mean, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t nlist = w->s->model.nlist, lists = w->model.nlist - nlist;
    for (uint32_t l = 0; l < nlist; l++) {
        uint64_t left = 1; /* whoever made a list gives it some */
        if ((w->state[l] & VQ_LIST_NEW) == 0) VQ_TRY(vq_moving_left(w, l, &left, err));
        lists += left > 0;
    }
    *mean = (double)(w->n + w->copies) / VQ_MAX(lists, 1u);
out:
    return rc;
}

/* Members of a list go, wherever they are nearest. */
static vq_status give_vectors(vq_moving *w, uint32_t list, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(vq_moving_members(w, list, err));
    for (size_t i = 0; i < w->nmembers; i++) {
        w->members[i].sq = -1.0f;
        VQ_TRY(vq_moving_add(w, &w->members[i], err));
    }
out:
    return rc;
}

/* Whoever has a copy in a list of the snapshot gets another, or none. */
static vq_status give_copies(vq_moving *w, uint32_t list, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = w->s;
    for (uint32_t i = 0; i < s->lists[list].copies; i++) {
        const vq_list_view *l = &s->lists[list];
        uint64_t place = vq_copy_of(&l->chunks[l->nchunks + i / s->capacity], i % s->capacity);
        uint32_t of = (uint32_t)(place >> 32);
        VQ_REQUIRE(of < s->model.nlist, VQ_ECORRUPT, "copies: of list %u", of);
        VQ_TRY(vq_shard_load(s, of, err));
        VQ_REQUIRE((uint32_t)place < s->lists[of].n, VQ_ECORRUPT, "copies: of slot %u of list %u",
                   (uint32_t)place, of);
        if (vq_moving_leaves(w, place)) continue;
        const vq_member m = {.place = place, .vector = VQ_NO_VECTOR, .sq = -1.0f};
        VQ_TRY(vq_moving_add(w, &m, err));
    }
out:
    return rc;
}

/* ..and vectors of the batch. */
static vq_status give_new_copies(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = w->b;
    for (size_t i = 0; i < b->nids; i++) {
        const vq_member m = {.place = VQ_NO_PLACE, .vector = b->ids[i].vector};
        if (m.vector == VQ_NO_VECTOR || b->copy_lists[m.vector] == VQ_NO_LIST) continue;
        if ((w->state[b->copy_lists[m.vector]] & VQ_LIST_SHUT) != 0)
            VQ_TRY(vq_moving_add(w, &m, err));
    }
out:
    return rc;
}

vq_status vq_dissolve_lists(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    double mean;
    uint64_t vectors = 0, bytes = w->model.shape.row_bytes;
    bool any = false;
    VQ_TRY(find_mean(w, &mean, err));
    double most = mean >= LEAST ? mean / SHARE : 0.0;
    for (uint32_t l = 0; l < w->s->model.nlist; l++) {
        uint64_t left, came = (uint64_t)w->in[l] + w->copies_in[l];
        bool lost = (uint64_t)w->out[l] + w->copies_out[l] > came;
        if ((w->state[l] & VQ_LIST_NEW) != 0) continue;
        VQ_TRY(vq_moving_left(w, l, &left, err));
        if (left == 0) w->state[l] |= VQ_LIST_SHUT;
        if (left == 0 || (w->state[l] & VQ_LIST_LOOKED) != 0) continue;
        bool few = lost && (double)left < most && vectors * bytes < VQ_MOVING_BYTES;
        if (!few) continue;
        any = true;
        w->state[l] |= VQ_LIST_SHUT;
        vectors += left;
        VQ_TRY(give_vectors(w, l, err));
        VQ_TRY(give_copies(w, l, err));
    }
    if (any) VQ_TRY(give_new_copies(w, err));
out:
    return rc;
}
