/* SPDX-License-Identifier: Apache-2.0 */
/* split.c -- see split.h.  A list's own centroid stays, so that codes of the vectors and copies
 * that stay in it do; further centroids are found beside it (src/train/beside.h), and vectors
 * nearer to one of these are encoded anew from their rows, as if they were replaced by themselves.
 */
#include "index/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/fit.h"
#include "src/train/beside.h"
#include "src/train/draw.h"
#include "src/train/kmeans.h"

enum {
    TIMES = 4,   /* a list of so many times the mean is too large.. */
    LEAST = 64,  /* ..but smaller ones never are */
    PART = 32,   /* vectors that a new list should have, or the mean, if that is more */
    MOST = 64,   /* lists that a commit makes */
    SAMPLE = 64, /* vectors for each new centroid */
    STEPS = 4,   /* a list is looked at again when it has grown by a step, the fourth root of 2 */
    NEAR = 8,    /* lists around a new centroid that are looked through, too */
    BLOCK = 4 * VQ_ASSIGN_TILE /* rows at a time */
};
#define SPLIT_BYTES                                                                                \
    ((uint64_t)64 << 20) /* of rows in lists that a commit splits; one may have more */

typedef struct member { /* of a list, after the batch */
    uint64_t place;     /* in the snapshot, or VQ_NO_PLACE: */
    uint32_t vector;    /* ..of the batch */
    float sq;           /* squared distance to its list's centroid */
} member;

typedef struct splitter {
    vq_pending *b;
    vq_shard *s;
    const vq_kernels *k;
    vq_model model;                   /* with more and more lists */
    float *centroids;                 /* room for MOST more; owned */
    float *routes;                    /* likewise, or NULL: the model has none */
    uint64_t n;                       /* vectors after the batch */
    uint32_t *in, *out;               /* nlist: vectors that come and go; */
    uint32_t *copies_in, *copies_out; /* ..copies */
    uint32_t *arrivals;               /* vectors of the batch by list.. */
    uint32_t *departures;             /* ..and slots that are left, likewise; */
    size_t *in_from, *out_from;       /* nlist + 1: where those of a list begin; owned */
    uint8_t *looked;                  /* nlist: lists whose members may go elsewhere */
    float *centres;                   /* MOST x d_code: the new ones; ncentres; owned */
    size_t ncentres;
    uint32_t next_free; /* lists from here on may be empty */
    member *members;    /* of the list at work */
    size_t nmembers, cap;
    member *moving; /* that go elsewhere; nmoving */
    size_t nmoving, moving_cap;
    uint64_t summed;     /* list << 32 | chunk of the row that was summed last */
    void *rows;          /* a block, as an encoder takes them */
    uint32_t elem;       /* of these */
    float *wide, *coded; /* a block */
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
    if (s->nlist == 0) return;
    for (size_t v = s->first; v < b->n; v++) {
        vq_pending_id *id = &b->ids[b->owner[v]];
        id->vector = s->instead[v - s->first];
        if (id->vector == VQ_NO_VECTOR) id->removed = id->moved = false;
    }
    b->n = s->first;
    vq_split_fini(s);
}

/* ---- which lists ---- */

static vq_status count(splitter *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_pending *b = w->b;
    size_t nlist = w->model.nlist;
    w->n = w->model.n;
    w->in = vq_mem_calloc(4 * nlist, sizeof *w->in);
    w->looked = vq_mem_calloc(nlist, 1);
    VQ_REQUIRE(w->in != NULL && w->looked != NULL, VQ_ENOMEM, "a batch for %zu lists", nlist);
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
static vq_status sort_batch(splitter *w, vq_error *err)
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

static int step_of(double n)
{
    return n >= 1.0 ? (int)floor(STEPS * log2(n)) : -1;
}

/* How many lists should take from this one, which has been loaded.  Small batches come to the
 * same list again and again, so that it must have grown by a step: then all the looking is in
 * proportion to what has come. */
static uint32_t wanted(const splitter *w, uint32_t list)
{
    double mean = (double)w->n / w->model.nlist, was = w->s->lists[list].n;
    double is = was - w->out[list] + w->in[list];
    if (is < LEAST || is < TIMES * mean || step_of(is) <= step_of(was)) return 0;
    double parts = floor(is / fmax(mean, PART));
    return parts > 1.0 ? (uint32_t)fmin(parts - 1.0, (double)(MOST - w->ncentres)) : 0;
}

/* A list that the batch leaves empty, of vectors and of copies; or one more. */
static vq_status take_number(splitter *w, uint32_t *list, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (; w->next_free < w->s->model.nlist; w->next_free++) {
        uint32_t l = w->next_free;
        VQ_TRY(vq_shard_load(w->s, l, err));
        const vq_list_view *v = &w->s->lists[l];
        if (w->in[l] == 0 && w->copies_in[l] == 0 && v->n == w->out[l] &&
            v->copies == w->copies_out[l])
            break;
    }
    if (w->next_free < w->s->model.nlist)
        *list = w->next_free++;
    else
        *list = w->model.nlist++;
out:
    return rc;
}

/* ---- members ---- */

static vq_status grow(member **list, size_t *cap, size_t n, vq_error *err)
{
    if (n < *cap) return VQ_OK;
    member *grown = vq_mem_grow(*list, n, 2 * n + 256, sizeof *grown);
    if (grown == NULL) return vq_fail(err, VQ_ENOMEM, "a list of %zu vectors", n);
    *list = grown;
    *cap = 2 * n + 256;
    return VQ_OK;
}

/* Those of a list that are there after the batch. */
static vq_status find_members(splitter *w, uint32_t list, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t n = w->s->lists[list].n;
    uint8_t *gone = vq_mem_calloc(n, 1);
    VQ_REQUIRE(gone != NULL, VQ_ENOMEM, "a list of %u vectors", n);
    w->nmembers = 0;
    for (size_t i = w->out_from[list]; i < w->out_from[list + 1]; i++) gone[w->departures[i]] = 1;
    for (size_t i = w->in_from[list]; i < w->in_from[list + 1]; i++) {
        VQ_TRY(grow(&w->members, &w->cap, w->nmembers, err));
        w->members[w->nmembers++] = (member){.place = VQ_NO_PLACE, .vector = w->arrivals[i]};
    }
    for (uint32_t i = 0; i < n; i++) {
        if (gone[i] != 0) continue;
        VQ_TRY(grow(&w->members, &w->cap, w->nmembers, err));
        w->members[w->nmembers++] =
            (member){.place = (uint64_t)list << 32 | i, .vector = VQ_NO_VECTOR};
    }
out:
    vq_mem_free(gone);
    return rc;
}

/* The row of a member to the place i of the block, as an encoder takes it.  What is copied is
 * summed, even if it was seen sound before: it gets a new sum. */
static vq_status read_row(splitter *w, const member *m, size_t i, vq_error *err)
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

/* Members `first` + `step` * i, as many as a block has room for, into the coded space. */
static vq_status code_members(splitter *w, size_t total, size_t first, size_t want, size_t *got,
                              float *coded, vq_error *err)
{
    vq_status rc = VQ_OK;
    *got = VQ_MIN(want - first, (size_t)BLOCK);
    for (size_t i = 0; i < *got; i++)
        VQ_TRY(read_row(w, &w->members[vq_spaced_row(total, want, first + i)], i, err));
    vq_fit_encode_space(&w->model, w->k, w->elem, w->rows, *got, w->wide, coded);
out:
    return rc;
}

/* ---- a list ---- */

/* Centroids beside that of a list, learnt from some of its members. */
static vq_status find_centres(splitter *w, uint32_t list, uint32_t want, float *centres,
                              size_t *found, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = w->model.d_code, got;
    size_t some = VQ_MIN(w->nmembers, (size_t)SAMPLE * (want + 1));
    float *x = vq_alloc_f32(some, d), *near = vq_alloc_f32(1, some);
    uint32_t *nearest = vq_mem_alloc(some, sizeof *nearest);
    VQ_REQUIRE(x != NULL && near != NULL && nearest != NULL, VQ_ENOMEM, "a list of %zu vectors",
               w->nmembers);
    for (size_t i = 0; i < some; i += got)
        VQ_TRY(code_members(w, w->nmembers, i, some, &got, x + i * d, err));
    *found = vq_centres_beside(w->k, x, some, d, w->s->model.centroids + list * d, want,
                               w->model.seed, centres, near, nearest);
out:
    vq_mem_free(x), vq_mem_free(near), vq_mem_free(nearest);
    return rc;
}

/* A new list has a centroid; what queries choose it by is as far from that as with the list that
 * it comes from. */
static void put_list(splitter *w, uint32_t list, uint32_t from, const float *centre)
{
    const vq_model *m = &w->s->model;
    size_t d = m->d_code, at = list * d, of = from * d;
    memcpy(w->centroids + at, centre, d * sizeof *centre);
    for (size_t j = 0; j < d && w->routes != NULL; j++)
        w->routes[at + j] = centre[j] + (m->routes[of + j] - m->centroids[of + j]);
}

static vq_status add_lists(splitter *w, uint32_t list, uint32_t want, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = w->model.d_code, found = 0;
    float *centres = w->centres + w->ncentres * d;
    VQ_TRY(find_members(w, list, err));
    VQ_TRY(find_centres(w, list, want, centres, &found, err));
    for (size_t c = 0; c < found; c++) {
        uint32_t number;
        VQ_TRY(take_number(w, &number, err));
        put_list(w, number, list, centres + c * d);
    }
    w->ncentres += found;
    w->looked[list] = 1;
out:
    return rc;
}

static vq_status make_room(splitter *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &w->s->model;
    size_t had = (size_t)m->nlist * m->d_code, rows = (size_t)m->nlist + MOST;
    w->centres = vq_alloc_f32(MOST, m->d_code);
    w->centroids = vq_alloc_f32(rows, m->d_code);
    if (m->routes != NULL) w->routes = vq_alloc_f32(rows, m->d_code);
    VQ_REQUIRE(w->centres != NULL && w->centroids != NULL &&
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
static vq_status find_lists(splitter *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t nlist = w->model.nlist, want;
    uint64_t bytes = 0;
    size_t n = 0;
    vq_hit *large = vq_mem_alloc(nlist, sizeof *large); /* by their sizes after the batch */
    VQ_REQUIRE(large != NULL, VQ_ENOMEM, "%u lists", nlist);
    for (uint32_t l = 0; l < nlist; l++) {
        if (w->in[l] == 0) continue;
        VQ_TRY(vq_shard_load(w->s, l, err));
        uint32_t is = w->s->lists[l].n - w->out[l] + w->in[l];
        if (wanted(w, l) > 0) large[n++] = (vq_hit){.score = (float)is, .id = l};
    }
    if (n == 0) goto out;
    qsort(large, n, sizeof *large, larger_first);
    VQ_TRY(make_room(w, err));
    for (size_t i = 0; i < n && w->ncentres < MOST && bytes < SPLIT_BYTES; i++) {
        uint32_t list = (uint32_t)large[i].id;
        if ((want = wanted(w, list)) == 0) continue; /* with those made meanwhile */
        VQ_TRY(add_lists(w, list, want, err));
        bytes += (uint64_t)w->nmembers * w->model.shape.row_bytes;
    }
out:
    vq_mem_free(large);
    return rc;
}

/* What lies near a new centroid may have gone to any of the lists around it, for want of a better
 * one: where a search finds the new one first it would not come that far. */
static void mark_around(splitter *w, const float *centre)
{
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
    for (size_t i = 0; i < n; i++) w->looked[best[i]] = 1;
}

/* Members of a list that are nearer to a new centroid than to their own. */
static vq_status find_moving(splitter *w, uint32_t list, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = w->model.d_code, got;
    VQ_TRY(vq_shard_load(w->s, list, err));
    VQ_TRY(find_members(w, list, err));
    for (size_t first = 0; first < w->nmembers; first += got) {
        VQ_TRY(code_members(w, w->nmembers, first, w->nmembers, &got, w->coded, err));
        for (size_t i = 0; i < got; i++) {
            member *m = &w->members[first + i];
            const float *x = w->coded + i * d;
            float sq = m->sq = w->k->l2sq_f32(x, w->s->model.centroids + list * d, d);
            if (vq_centre_nearest(w->k, x, w->centres, w->ncentres, d, &sq) == w->ncentres)
                continue;
            VQ_TRY(grow(&w->moving, &w->moving_cap, w->nmoving, err));
            w->moving[w->nmoving++] = *m;
        }
    }
out:
    return rc;
}

static vq_status split_all(splitter *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(find_lists(w, err));
    for (size_t c = 0; c < w->ncentres; c++) mark_around(w, w->centres + c * w->model.d_code);
    for (uint32_t l = 0; l < w->s->model.nlist; l++)
        if (w->looked[l] != 0) VQ_TRY(find_moving(w, l, err));
out:
    return rc;
}

/* ---- the batch ---- */

/* n encoded members are vectors of the batch now. */
static vq_status own(splitter *w, const member *m, size_t n, vq_error *err)
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

static vq_status encode_moving(splitter *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_pending *b = w->b;
    vq_encoder *e = NULL;
    vq_encoded x;
    VQ_TRY(vq_encoder_open(&e, &w->model, BLOCK, b->copies, b->threads, err));
    for (size_t first = 0, n; first < w->nmoving; first += n) {
        n = VQ_MIN(w->nmoving - first, (size_t)BLOCK);
        for (size_t i = 0; i < n; i++) VQ_TRY(read_row(w, &w->moving[first + i], i, err));
        VQ_TRY(vq_encoder_run(e, &w->model, w->rows, w->elem, n, &x, err));
        VQ_TRY(vq_pending_append(b, &x, n, err));
        VQ_TRY(own(w, w->moving + first, n, err));
    }
out:
    vq_encoder_close(e);
    return rc;
}

/* The lists that there are now, into the batch. */
static vq_status adopt(splitter *w, vq_error *err)
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

static vq_status begin(splitter *w, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &w->model;
    w->elem = m->store_scale == 1.0f ? m->store : VQ_F32;
    w->rows = vq_mem_alloc(BLOCK * (size_t)m->d, sizeof(float));
    w->wide = vq_alloc_f32(BLOCK, m->d);
    w->coded = vq_alloc_f32(BLOCK, m->d_code);
    VQ_REQUIRE(w->rows != NULL && w->wide != NULL && w->coded != NULL, VQ_ENOMEM,
               "a block of rows");
    w->summed = UINT64_MAX;
    VQ_TRY(count(w, err));
    VQ_TRY(sort_batch(w, err));
out:
    return rc;
}

vq_status vq_pending_split(vq_pending *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->shard->model;
    if (b->n == 0 || m->store == VQ_ELEM_NONE || vq_groups_count(m->nlist + MOST) != 0)
        return VQ_OK;
    splitter w = {.b = b, .s = b->shard, .k = vq_kernels_get(), .model = *m};
    vq_team_blas_enter();
    VQ_TRY(begin(&w, err));
    VQ_TRY(split_all(&w, err));
    if (w.nmoving == 0) goto out;
    VQ_TRY(adopt(&w, err));
    VQ_TRY(encode_moving(&w, err));
out:
    vq_team_blas_leave();
    if (rc != VQ_OK) vq_pending_unsplit(b);
    vq_mem_free(w.centroids), vq_mem_free(w.routes), vq_mem_free(w.centres);
    vq_mem_free(w.in), vq_mem_free(w.looked);
    vq_mem_free(w.arrivals), vq_mem_free(w.in_from);
    vq_mem_free(w.members), vq_mem_free(w.moving);
    vq_mem_free(w.rows), vq_mem_free(w.wide), vq_mem_free(w.coded);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(b->shard->snapshot.file));
}
