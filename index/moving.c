/* SPDX-License-Identifier: Apache-2.0 */
/* moving.c -- see moving.h. */
#include "index/moving.h"

#include <string.h>

#include "index/fit.h"
#include "src/train/draw.h"

/* ---- what the batch does ---- */

static vq_status count(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = w->b;
    size_t nlist = w->model.nlist;
    w->n = w->model.n;
    w->in = vq_mem_calloc(4 * nlist, sizeof *w->in);
    VQ_REQUIRE(w->in != NULL, VQ_ENOMEM, "a batch for %zu lists", nlist);
    w->out = w->in + nlist, w->copies_in = w->out + nlist, w->copies_out = w->copies_in + nlist;
    for (size_t i = 0; i < b->nids; i++) {
        const vq_pending_id *id = &b->ids[i];
        bool comes = id->vector != VQ_NO_VECTOR;
        w->n += comes;
        w->n -= id->removed;
        if (comes) w->in[b->lists[id->vector]]++;
        if (comes && b->copy_lists[id->vector] != VQ_NO_LIST)
            w->copies_in[b->copy_lists[id->vector]]++;
        if (id->removed) w->out[id->place >> 32]++;
        if (id->removed && id->copy != VQ_NO_PLACE) w->copies_out[id->copy >> 32]++;
    }
out:
    return rc;
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
    vq_mem_free(w->in), vq_mem_free(w->arrivals), vq_mem_free(w->in_from);
    vq_mem_free(w->members), vq_mem_free(w->moving);
    vq_mem_free(w->rows), vq_mem_free(w->wide), vq_mem_free(w->coded);
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
    size_t bytes = model->shape.row_bytes, d = model->d;
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
    float *wide = (float *)w->rows + i * d;
    vq_to_f32(w->k, model->store, row, d, wide);
    for (size_t j = 0; j < d; j++) wide[j] /= model->store_scale;
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

/* n encoded members are vectors of the batch now. */
static vq_status own(vq_moving *w, const vq_member *m, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_pending *b = w->b;
    vq_split *s = &b->split;
    for (size_t i = 0; i < n; i++) {
        size_t v = b->n - n + i;
        uint32_t at;
        if (m[i].place != VQ_NO_PLACE)
            VQ_TRY(vq_pending_entry(b, m[i].place, &at, err));
        else
            at = b->owner[m[i].vector];
        b->owner[v] = at;
        s->instead[v - s->first] = m[i].vector;
    }
    for (size_t i = 0; i < n; i++) { /* nothing fails from here on */
        vq_pending_id *id = &b->ids[b->owner[b->n - n + i]];
        id->vector = (uint32_t)(b->n - n + i);
        if (m[i].place == VQ_NO_PLACE) continue;
        id->removed = id->moved = true;
        s->were += (double)m[i].sq;
    }
out:
    if (rc != VQ_OK) b->n -= n;
    return rc;
}

/* The lists that there are now, into the batch. */
static vq_status adopt(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_split *s = &w->b->split;
    vq_model *m = &w->model;
    float *biases = vq_alloc_f32(1, m->nlist);
    VQ_REQUIRE(biases != NULL && vq_shard_room(w->s, m->nlist), VQ_ENOMEM, "%u lists", m->nlist);
    for (size_t l = 0; l < m->nlist; l++) {
        const float *c = w->centroids + l * m->d_code;
        biases[l] = m->metric == VQ_METRIC_L2 ? 0.5f * w->k->dot_f32(c, c, m->d_code) : 0.0f;
    }
    m->centroids = w->centroids, m->biases = biases;
    *s = (vq_split){.nlist = m->nlist, .centroids = w->centroids, .biases = biases};
    s->routes = w->routes;
    w->routes = w->centroids = biases = NULL;
    s->first = w->b->n;
    s->instead = vq_mem_alloc(w->nmoving, sizeof *s->instead);
    VQ_REQUIRE(s->instead != NULL, VQ_ENOMEM, "%zu vectors", w->nmoving);
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
    VQ_TRY(vq_encoder_open(&e, &w->model, VQ_MOVING_BLOCK, b->copies, b->threads, err));
    for (size_t first = 0, n; first < w->nmoving; first += n) {
        n = VQ_MIN(w->nmoving - first, (size_t)VQ_MOVING_BLOCK);
        for (size_t i = 0; i < n; i++) VQ_TRY(read_row(w, &w->moving[first + i], i, err));
        VQ_TRY(vq_encoder_run(e, &w->model, w->rows, w->elem, n, &x, err));
        VQ_TRY(vq_pending_append(b, &x, n, err));
        VQ_TRY(own(w, w->moving + first, n, err));
    }
out:
    vq_encoder_close(e);
    return rc;
}

vq_status vq_moving_encode(vq_moving *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (w->nmoving == 0) goto out;
    VQ_TRY(adopt(w, err));
    VQ_TRY(encode_moving(w, err));
out:
    return rc;
}
