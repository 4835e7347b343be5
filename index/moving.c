/* SPDX-License-Identifier: Apache-2.0 */
/* moving.c -- see moving.h. */
#include "index/moving.h"

#include <stdlib.h>
#include <string.h>

#include "index/fit.h"
#include "src/train/draw.h"

/* ---- what the batch does ---- */

static vq_status count(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = w->b;
    size_t nlist = w->model.nlist;
    w->n = w->model.n, w->copies = w->model.copies;
    w->in = vq_mem_calloc(4 * nlist, sizeof *w->in);
    w->state = vq_mem_calloc(nlist, 1);
    VQ_REQUIRE(w->in != NULL && w->state != NULL, VQ_ENOMEM, "a batch for %zu lists", nlist);
    w->out = w->in + nlist, w->copies_in = w->out + nlist, w->copies_out = w->copies_in + nlist;
    for (size_t i = 0; i < b->nids; i++) {
        const vq_pending_id *id = &b->ids[i];
        bool comes = id->vector != VQ_NO_VECTOR;
        w->n += comes;
        w->n -= id->removed;
        if (comes) w->in[b->lists[id->vector]]++;
        if (comes && b->copy_lists[id->vector] != VQ_NO_LIST)
            w->copies_in[b->copy_lists[id->vector]]++, w->copies++;
        if (id->removed) w->out[id->place >> 32]++;
        if (id->removed && id->copy != VQ_NO_PLACE) w->copies_out[id->copy >> 32]++, w->copies--;
    }
out:
    return rc;
}

static int rising(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* What comes and goes, by list. */
static vq_status sort_batch(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = w->b;
    size_t nlist = w->model.nlist;
    w->in_from = vq_mem_calloc(2 * (nlist + 1), sizeof *w->in_from);
    w->arrivals = vq_mem_alloc(2 * b->nids, sizeof *w->arrivals);
    VQ_REQUIRE(w->in_from != NULL && w->arrivals != NULL, VQ_ENOMEM, "a batch of %zu ids", b->nids);
    w->out_from = w->in_from + nlist + 1, w->departures = w->arrivals + b->nids;
    for (size_t l = 0; l < nlist; l++) {
        w->in_from[l + 1] = w->in_from[l] + w->in[l];
        w->out_from[l + 1] = w->out_from[l] + w->out[l];
    }
    for (size_t i = 0; i < b->nids; i++) {
        const vq_pending_id *id = &b->ids[i];
        if (id->vector != VQ_NO_VECTOR)
            w->arrivals[w->in_from[b->lists[id->vector]]++] = id->vector;
        if (id->removed) w->departures[w->out_from[id->place >> 32]++] = (uint32_t)id->place;
    }
    for (size_t l = nlist; l > 0; l--)
        w->in_from[l] = w->in_from[l - 1], w->out_from[l] = w->out_from[l - 1];
    w->in_from[0] = w->out_from[0] = 0;
    for (size_t l = 0; l < nlist; l++)
        if (w->out[l] > 1)
            qsort(w->departures + w->out_from[l], w->out[l], sizeof *w->departures, rising);
out:
    return rc;
}

vq_status vq_moving_init(vq_moving *w, vq_pending *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    *w = (vq_moving){.b = b, .s = b->shard, .k = vq_kernels_get(), .model = b->shard->model};
    const vq_model *m = &w->model;
    w->elem = m->store_scale == 1.0f ? m->store : VQ_F32;
    w->rows = vq_mem_alloc(VQ_MOVING_BLOCK * (size_t)m->d, sizeof(float));
    w->wide = vq_alloc_f32(VQ_MOVING_BLOCK, m->d);
    w->coded = vq_alloc_f32(VQ_MOVING_BLOCK, m->d_code);
    VQ_REQUIRE(w->rows != NULL && w->wide != NULL && w->coded != NULL, VQ_ENOMEM,
               "a block of rows");
    w->summed = UINT64_MAX;
    VQ_TRY(count(w, err));
    VQ_TRY(sort_batch(w, err));
out:
    return rc;
}

void vq_moving_fini(vq_moving *w)
{
    vq_mem_free(w->centroids), vq_mem_free(w->routes);
    vq_mem_free(w->state), vq_mem_free(w->in), vq_mem_free(w->arrivals), vq_mem_free(w->in_from);
    vq_mem_free(w->members), vq_mem_free(w->moving);
    vq_mem_free(w->rows), vq_mem_free(w->wide), vq_mem_free(w->coded);
}

bool vq_moving_leaves(const vq_moving *w, uint64_t place)
{
    uint32_t list = (uint32_t)(place >> 32), slot = (uint32_t)place;
    return w->out[list] > 0 && bsearch(&slot, w->departures + w->out_from[list], w->out[list],
                                       sizeof slot, rising) != NULL;
}

vq_status vq_moving_left(vq_moving *w, uint32_t list, uint64_t *left, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_vacant *v = &w->s->vacant;
    uint32_t goes = w->out[list] + w->copies_out[list];
    *left = (uint64_t)w->in[list] + w->copies_in[list];
    if (v->state != NULL && list < v->nlist && v->state[list] == 0) goto out;
    if (goes == 0) {
        *left += 1; /* or more */
        goto out;
    }
    VQ_TRY(vq_shard_load(w->s, list, err));
    const vq_list_view *l = &w->s->lists[list];
    *left += (uint64_t)l->n + l->copies - goes;
out:
    return rc;
}

/* ---- members ---- */

static vq_status add(vq_member **list, size_t *room, size_t *n, vq_member m, vq_error *err)
{
    vq_member *grown = vq_mem_reserve(*list, *n, *n + 1, room, sizeof *grown);
    if (grown == NULL) return vq_fail(err, VQ_ENOMEM, "a list of %zu vectors", *n);
    *list = grown;
    grown[(*n)++] = m;
    return VQ_OK;
}

vq_status vq_moving_add(vq_moving *w, const vq_member *m, vq_error *err)
{
    return add(&w->moving, &w->moving_room, &w->nmoving, *m, err);
}

vq_status vq_moving_members(vq_moving *w, uint32_t list, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t n = w->s->lists[list].n;
    uint8_t *gone = vq_mem_calloc(n, 1);
    VQ_REQUIRE(gone != NULL, VQ_ENOMEM, "a list of %u vectors", n);
    w->nmembers = 0;
    for (size_t i = w->out_from[list]; i < w->out_from[list + 1]; i++) gone[w->departures[i]] = 1;
    for (size_t i = w->in_from[list]; i < w->in_from[list + 1]; i++) {
        vq_member m = {.place = VQ_NO_PLACE, .vector = w->arrivals[i]};
        VQ_TRY(add(&w->members, &w->room, &w->nmembers, m, err));
    }
    for (uint32_t i = 0; i < n; i++) {
        if (gone[i] != 0) continue;
        vq_member m = {.place = (uint64_t)list << 32 | i, .vector = VQ_NO_VECTOR};
        VQ_TRY(add(&w->members, &w->room, &w->nmembers, m, err));
    }
out:
    vq_mem_free(gone);
    return rc;
}

/* The row of a member to the place i of the block, as an encoder takes it.  What is copied is
 * summed, even if it was seen sound before: it gets a new sum. */
static vq_status read_row(vq_moving *w, const vq_member *m, size_t i, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *model = &w->model;
    size_t bytes = model->shape.row_bytes;
    const uint8_t *row = NULL;
    if (m->place == VQ_NO_PLACE) {
        row = w->b->rows + m->vector * bytes;
    } else {
        uint64_t chunk = m->place >> 32 << 32 | (uint32_t)m->place / w->s->row_capacity;
        if (chunk != w->summed) VQ_TRY(vq_shard_row_verify(w->s, m->place, err));
        w->summed = chunk;
        VQ_TRY(vq_shard_row(w->s, m->place, &row, err));
    }
    if (w->elem == model->store) {
        memcpy((uint8_t *)w->rows + i * bytes, row, bytes);
        goto out;
    }
    vq_model_widen(model, w->k, row, (float *)w->rows + i * model->d);
out:
    return rc;
}

vq_status vq_moving_code(vq_moving *w, size_t first, size_t want, size_t *got, float *coded,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    *got = VQ_MIN(want - first, (size_t)VQ_MOVING_BLOCK);
    for (size_t i = 0; i < *got; i++)
        VQ_TRY(read_row(w, &w->members[vq_spaced_row(w->nmembers, want, first + i)], i, err));
    vq_fit_encode_space(&w->model, w->k, w->elem, w->rows, *got, w->wide, coded);
out:
    return rc;
}

/* ---- into the batch ---- */

static int by_place(const void *a, const void *b)
{
    const vq_member *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return (x->vector > y->vector) - (x->vector < y->vector);
}

/* Each once, and those of a chunk of rows together. */
static void sort_moving(vq_moving *w)
{
    size_t n = 0;
    qsort(w->moving, w->nmoving, sizeof *w->moving, by_place);
    for (size_t i = 0; i < w->nmoving; i++)
        if (n == 0 || by_place(&w->moving[n - 1], &w->moving[i]) != 0)
            w->moving[n++] = w->moving[i];
    w->nmoving = n;
}

typedef struct named { /* a vector of the snapshot */
    uint64_t label;
    size_t at; /* in moving */
} named;

static int by_label(const void *a, const void *b)
{
    const named *x = a, *y = b;
    return (x->label > y->label) - (x->label < y->label);
}

/* The entries of all that move, among ids, into owner (nmoving).  By label: names lie together in
 * blocks, which are unpacked as a whole. */
static vq_status find_owners(vq_moving *w, uint32_t *owner, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = 0;
    named *of = vq_mem_alloc(w->nmoving, sizeof *of);
    VQ_REQUIRE(of != NULL, VQ_ENOMEM, "%zu vectors", w->nmoving);
    for (size_t i = 0; i < w->nmoving; i++) {
        const vq_member *m = &w->moving[i];
        uint32_t slot;
        if (m->place == VQ_NO_PLACE) {
            owner[i] = w->b->owner[m->vector];
            continue;
        }
        const vq_chunk_view *v = vq_shard_at(w->s, m->place, &slot);
        of[n++] = (named){.label = vq_le64(v->labels + 8 * (size_t)slot), .at = i};
    }
    qsort(of, n, sizeof *of, by_label);
    for (size_t i = 0; i < n; i++)
        VQ_TRY(vq_pending_entry(w->b, w->moving[of[i].at].place, &owner[of[i].at], err));
out:
    vq_mem_free(of);
    return rc;
}

/* n encoded members, those from `first` on, are vectors of the batch now. */
static void own(vq_moving *w, const uint32_t *owner, size_t first, size_t n)
{
    vq_pending *b = w->b;
    vq_split *s = &b->split;
    for (size_t i = 0; i < n; i++) {
        const vq_member *m = &w->moving[first + i];
        size_t v = b->n - n + i;
        vq_pending_id *id = &b->ids[owner[first + i]];
        b->owner[v] = owner[first + i];
        s->instead[v - s->first] = m->vector;
        id->vector = (uint32_t)v;
        if (m->place == VQ_NO_PLACE) continue;
        id->removed = id->moved = true;
        s->were += m->sq >= 0.0f ? (double)m->sq : (double)b->far[v];
    }
}

/* What the lists that there are now have; those that were there already keep theirs. */
static vq_status find_biases(const vq_moving *w, float *biases, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *was = &w->s->model;
    size_t d = was->d_code;
    for (size_t l = 0; l < w->model.nlist; l++) {
        const float *c = w->centroids + l * d;
        if (l < was->nlist && memcmp(was->centroids + l * d, c, d * sizeof *c) == 0)
            biases[l] = was->biases[l];
        else
            VQ_TRY(vq_model_see(was, w->k, c, 1, NULL, &biases[l], err));
    }
out:
    return rc;
}

/* The lists that there are now, into the batch. */
static vq_status adopt(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_split *s = &w->b->split;
    vq_model *m = &w->model;
    float *biases = NULL;
    *s = (vq_split){.first = w->b->n};
    s->instead = vq_mem_alloc(w->nmoving, sizeof *s->instead);
    VQ_REQUIRE(s->instead != NULL, VQ_ENOMEM, "%zu vectors", w->nmoving);
    if (w->centroids == NULL) goto out; /* they are those that were */
    biases = vq_alloc_f32(1, m->nlist);
    VQ_REQUIRE(biases != NULL && vq_shard_room(w->s, m->nlist), VQ_ENOMEM, "%u lists", m->nlist);
    VQ_TRY(find_biases(w, biases, err));
    m->centroids = w->centroids, m->biases = biases;
    s->nlist = m->nlist;
    s->centroids = w->centroids, s->routes = w->routes, s->biases = biases;
    w->routes = w->centroids = biases = NULL;
out:
    vq_mem_free(biases);
    return rc;
}

static vq_status encode_moving(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_pending *b = w->b;
    vq_encoder *e = NULL;
    vq_encoded x;
    uint32_t *owner = vq_mem_alloc(w->nmoving, sizeof *owner);
    VQ_REQUIRE(owner != NULL, VQ_ENOMEM, "%zu vectors", w->nmoving);
    VQ_TRY(find_owners(w, owner, err));
    VQ_TRY(vq_encoder_open(&e, &w->model, VQ_MOVING_BLOCK, b->copies, b->threads, err));
    for (uint32_t l = 0; l < w->s->model.nlist; l++)
        if ((w->state[l] & VQ_LIST_SHUT) != 0) vq_encoder_shut(e, l);
    for (size_t first = 0, n; first < w->nmoving; first += n) {
        n = VQ_MIN(w->nmoving - first, (size_t)VQ_MOVING_BLOCK);
        for (size_t i = 0; i < n; i++) VQ_TRY(read_row(w, &w->moving[first + i], i, err));
        VQ_TRY(vq_encoder_run(e, &w->model, w->rows, w->elem, n, &x, err));
        VQ_TRY(vq_pending_append(b, &x, n, err));
        own(w, owner, first, n);
    }
out:
    vq_encoder_close(e);
    vq_mem_free(owner);
    return rc;
}

vq_status vq_moving_encode(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (w->nmoving == 0) goto out;
    sort_moving(w);
    VQ_TRY(adopt(w, err));
    VQ_TRY(encode_moving(w, err));
out:
    return rc;
}
