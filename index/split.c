/* SPDX-License-Identifier: Apache-2.0 */
/* split.c -- see split.h.  A list's own centroid stays, so that codes of the vectors and copies
 * that stay in it do; further centroids are found beside it (src/train/beside.h), and vectors
 * nearer to one of these go there (moving.h). */
#include "index/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/moving.h"
#include "src/train/beside.h"

enum {
    TIMES = 4,  /* a list of so many times the mean is too large.. */
    LEAST = 64, /* ..but smaller ones never are */
    PART = 32,  /* vectors that a new list should have, or the mean, if that is more */
    MOST = VQ_MOVING_LISTS,
    SAMPLE = 64, /* vectors for each new centroid */
    STEPS = 4,   /* a list is looked at again when it has grown by a step, the fourth root of 2 */
    NEAR = 8     /* lists around a new centroid that are looked through, too */
};
typedef struct splitter {
    vq_moving w;
    float *centres; /* MOST x d_code: the new ones; ncentres; owned */
    size_t ncentres;
    uint32_t next_free; /* lists from here on may be empty */
} splitter;

void vq_split_fini(vq_split *s)
{
    vq_mem_free(s->centroids);
    vq_mem_free(s->routes);
    vq_mem_free(s->biases);
    vq_mem_free(s->instead);
    memset(s, 0, sizeof *s);
}

void vq_pending_unsplit(vq_pending *b)
{
    vq_split *s = &b->split;
    if (s->instead == NULL) return;
    for (size_t v = s->first; v < b->n; v++) {
        vq_pending_id *id = &b->ids[b->owner[v]];
        id->vector = s->instead[v - s->first];
        if (id->vector == VQ_NO_VECTOR) id->removed = id->moved = false;
    }
    b->n = s->first;
    vq_split_fini(s);
}

static int step_of(double n)
{
    return n >= 1.0 ? (int)floor(STEPS * log2(n)) : -1;
}

/* How many lists should take from this one, which has been loaded.  Small batches come to the
 * same list again and again, so that it must have grown by a step: then all the looking is in
 * proportion to what has come. */
static uint32_t wanted(const splitter *t, uint32_t list)
{
    const vq_moving *w = &t->w;
    double mean = (double)w->n / w->model.nlist, was = w->s->lists[list].n;
    double is = was - w->out[list] + w->in[list];
    if (is < LEAST || is < TIMES * mean || step_of(is) <= step_of(was)) return 0;
    double parts = floor(is / fmax(mean, PART));
    return parts > 1.0 ? (uint32_t)fmin(parts - 1.0, (double)(MOST - t->ncentres)) : 0;
}

/* A list that the batch leaves empty, of vectors and of copies; or one more. */
static vq_status take_number(splitter *t, uint32_t *list, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_moving *w = &t->w;
    uint32_t nlist = w->s->model.nlist;
    uint64_t left = 1;
    for (; t->next_free < nlist; t->next_free++) {
        VQ_TRY(vq_moving_left(w, t->next_free, &left, err));
        if (left == 0) break;
    }
    *list = left == 0 ? t->next_free++ : w->model.nlist++;
    if (*list < nlist) w->state[*list] |= VQ_LIST_NEW;
out:
    return rc;
}

/* Centroids beside that of a list, learnt from some of its members. */
static vq_status find_centres(vq_moving *w, uint32_t list, uint32_t want, float *centres,
                              size_t *found, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = w->model.d_code, got;
    size_t some = VQ_MIN(w->nmembers, (size_t)SAMPLE * (want + 1));
    float *x = vq_alloc_f32(some, d), *near = vq_alloc_f32(1, some);
    uint32_t *nearest = vq_mem_alloc(some, sizeof *nearest);
    VQ_REQUIRE(x != NULL && near != NULL && nearest != NULL, VQ_ENOMEM, "a list of %zu vectors",
               w->nmembers);
    for (size_t i = 0; i < some; i += got) VQ_TRY(vq_moving_code(w, i, some, &got, x + i * d, err));
    *found = vq_centres_beside(w->k, x, some, d, w->s->model.centroids + list * d, want,
                               w->model.seed, centres, near, nearest);
out:
    vq_mem_free(x), vq_mem_free(near), vq_mem_free(nearest);
    return rc;
}

/* A new list has a centroid; what queries choose it by is as far from that as with the list that
 * it comes from. */
static void put_list(vq_moving *w, uint32_t list, uint32_t from, const float *centre)
{
    const vq_model *m = &w->s->model;
    size_t d = m->d_code, at = list * d, of = from * d;
    memcpy(w->centroids + at, centre, d * sizeof *centre);
    for (size_t j = 0; j < d && w->routes != NULL; j++)
        w->routes[at + j] = centre[j] + (m->routes[of + j] - m->centroids[of + j]);
}

static vq_status add_lists(splitter *t, uint32_t list, uint32_t want, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_moving *w = &t->w;
    size_t d = w->model.d_code, found = 0;
    float *centres = t->centres + t->ncentres * d;
    VQ_TRY(vq_moving_members(w, list, err));
    VQ_TRY(find_centres(w, list, want, centres, &found, err));
    for (size_t c = 0; c < found; c++) {
        uint32_t number;
        VQ_TRY(take_number(t, &number, err));
        put_list(w, number, list, centres + c * d);
    }
    t->ncentres += found;
    w->state[list] |= VQ_LIST_LOOKED;
out:
    return rc;
}

static vq_status make_room(splitter *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_moving *w = &t->w;
    const vq_model *m = &w->s->model;
    size_t had = (size_t)m->nlist * m->d_code, rows = (size_t)m->nlist + MOST;
    t->centres = vq_alloc_f32(MOST, m->d_code);
    w->centroids = vq_alloc_f32(rows, m->d_code);
    if (m->routes != NULL) w->routes = vq_alloc_f32(rows, m->d_code);
    VQ_REQUIRE(t->centres != NULL && w->centroids != NULL &&
                   (w->routes != NULL || m->routes == NULL),
               VQ_ENOMEM, "%zu lists", rows);
    memcpy(w->centroids, m->centroids, had * sizeof *w->centroids);
    if (w->routes != NULL) memcpy(w->routes, m->routes, had * sizeof *w->routes);
out:
    return rc;
}

static int larger_first(const void *a, const void *b)
{
    const vq_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Further centroids for each list that has grown too large, the largest first. */
static vq_status find_lists(splitter *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_moving *w = &t->w;
    uint32_t nlist = w->model.nlist, want;
    uint64_t bytes = 0;
    size_t n = 0;
    vq_hit *large = vq_mem_alloc(nlist, sizeof *large); /* by their sizes after the batch */
    VQ_REQUIRE(large != NULL, VQ_ENOMEM, "%u lists", nlist);
    for (uint32_t l = 0; l < nlist; l++) {
        if (w->in[l] == 0) continue;
        VQ_TRY(vq_shard_load(w->s, l, err));
        uint32_t is = w->s->lists[l].n - w->out[l] + w->in[l];
        if (wanted(t, l) > 0) large[n++] = (vq_hit){.score = (float)is, .id = l};
    }
    if (n == 0) goto out;
    qsort(large, n, sizeof *large, larger_first);
    VQ_TRY(make_room(t, err));
    for (size_t i = 0; i < n && t->ncentres < MOST && bytes < VQ_MOVING_BYTES; i++) {
        uint32_t list = (uint32_t)large[i].id;
        if ((want = wanted(t, list)) == 0) continue; /* with those made meanwhile */
        VQ_TRY(add_lists(t, list, want, err));
        bytes += (uint64_t)w->nmembers * w->model.shape.row_bytes;
    }
out:
    vq_mem_free(large);
    return rc;
}

/* What lies near a new centroid may have gone to any of the lists around it, for want of a better
 * one: where a search finds the new one first it would not come that far. */
static void mark_around(splitter *t, const float *centre)
{
    const vq_moving *w = &t->w;
    uint32_t nlist = w->s->model.nlist, best[NEAR];
    float sq[NEAR];
    size_t n = 0, d = w->model.d_code;
    for (uint32_t l = 0; l < nlist; l++) {
        float to = w->k->l2sq_f32(centre, w->s->model.centroids + l * d, d);
        size_t at = n < NEAR ? n++ : NEAR;
        for (; at > 0 && to < sq[at - 1]; at--)
            if (at < NEAR) sq[at] = sq[at - 1], best[at] = best[at - 1];
        if (at < NEAR) sq[at] = to, best[at] = l;
    }
    for (size_t i = 0; i < n; i++) w->state[best[i]] |= VQ_LIST_LOOKED;
}

/* Members of a list that are nearer to a new centroid than to their own. */
static vq_status find_moving(splitter *t, uint32_t list, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_moving *w = &t->w;
    size_t d = w->model.d_code, got;
    VQ_TRY(vq_shard_load(w->s, list, err));
    VQ_TRY(vq_moving_members(w, list, err));
    for (size_t first = 0; first < w->nmembers; first += got) {
        VQ_TRY(vq_moving_code(w, first, w->nmembers, &got, w->coded, err));
        for (size_t i = 0; i < got; i++) {
            vq_member *m = &w->members[first + i];
            const float *x = w->coded + i * d;
            float sq = m->sq = w->k->l2sq_f32(x, w->s->model.centroids + list * d, d);
            if (vq_centre_nearest(w->k, x, t->centres, t->ncentres, d, &sq) < t->ncentres)
                VQ_TRY(vq_moving_add(w, m, err));
        }
    }
out:
    return rc;
}

static vq_status split_all(splitter *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(find_lists(t, err));
    for (size_t c = 0; c < t->ncentres; c++) mark_around(t, t->centres + c * t->w.model.d_code);
    for (uint32_t l = 0; l < t->w.s->model.nlist; l++)
        if ((t->w.state[l] & VQ_LIST_LOOKED) != 0) VQ_TRY(find_moving(t, l, err));
out:
    return rc;
}

/* Whether the batch changes any list. */
static bool changes(const vq_pending *b)
{
    bool any = b->n > 0;
    for (size_t i = 0; i < b->nids && !any; i++) any = b->ids[i].removed;
    return any;
}

vq_status vq_pending_split(vq_pending *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->shard->model;
    splitter t = {.ncentres = 0};
    if (m->store == VQ_ELEM_NONE || vq_groups_count(m->nlist + MOST) != 0 || !changes(b))
        return VQ_OK;
    vq_team_blas_enter();
    VQ_TRY(vq_moving_init(&t.w, b, err));
    if (b->n > 0) VQ_TRY(split_all(&t, err));
    VQ_TRY(vq_dissolve_lists(&t.w, err));
    VQ_TRY(vq_moving_encode(&t.w, err));
out:
    vq_team_blas_leave();
    if (rc != VQ_OK) vq_pending_unsplit(b);
    vq_moving_fini(&t.w);
    vq_mem_free(t.centres);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(b->shard->snapshot.file));
}
