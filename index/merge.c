/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c -- see merge.h.  Whatever is copied is summed first: damage must not be given a new
 * checksum. */
#include "index/merge.h"

#include <inttypes.h>
#include <string.h>

#include "index/pagecheck.h"
#include "index/relation.h"
#include "index/relevance.h"

/* ---- one model? ---- */

typedef struct fact { /* of a model that two must share */
    const char *name;
    uint64_t a, b;
} fact;

static vq_status same_facts(const vq_model *a, const vq_model *b, vq_error *err)
{
    uint32_t scale[2], gain[2];
    bool hadamard = a->transform_kind == VQ_TRANSFORM_HADAMARD;
    memcpy(&scale[0], &a->store_scale, sizeof *scale);
    memcpy(&scale[1], &b->store_scale, sizeof *scale);
    memcpy(&gain[0], &a->gain, sizeof *gain);
    memcpy(&gain[1], &b->gain, sizeof *gain);
    const fact facts[] = {
        {"dimensions", a->d, b->d},
        {"lists", a->nlist, b->nlist},
        {"groups of lists", a->ngroups, b->ngroups},
        {"routes", a->nroutes, b->nroutes},
        {"error bars", a->nbars, b->nbars},
        {"coded dimensions", a->d_code, b->d_code},
        {"sub-quantizers", a->m, b->m},
        {"kinds of rotation", a->transform_kind, b->transform_kind},
        {"kinds of query map", a->query_map, b->query_map},
        {"scales of stored rows", scale[0], scale[1]},
        {"gains of codes", gain[0], gain[1]},
        {"seeds", hadamard ? a->seed : 0, hadamard ? b->seed : 0},
    };
    if (a->metric != b->metric)
        return vq_fail(err, VQ_EINVAL, "metric %s and %s", vq_metric_name(a->metric),
                       vq_metric_name(b->metric));
    if (a->codec != b->codec)
        return vq_fail(err, VQ_EINVAL, "codec %s and %s", a->codec->name, b->codec->name);
    if (a->store != b->store)
        return vq_fail(err, VQ_EINVAL, "stored rows are %s and %s", vq_elem_name(a->store),
                       vq_elem_name(b->store));
    if (a->string_ids != b->string_ids)
        return vq_fail(err, VQ_EINVAL, "one has string ids, the other numbers");
    for (size_t i = 0; i < VQ_COUNT(facts); i++)
        if (facts[i].a != facts[i].b) return vq_fail(err, VQ_EINVAL, "different %s", facts[i].name);
    return VQ_OK;
}

static vq_status same_model(const vq_merge_part *a, const vq_merge_part *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model x = a->shard.model, y = b->shard.model;
    vq_model_array of_x[VQ_MODEL_ARRAYS], of_y[VQ_MODEL_ARRAYS];
    VQ_TRY(same_facts(&x, &y, err));
    size_t count = vq_model_arrays(&x, of_x);
    (void)vq_model_arrays(&y, of_y); /* of the same shapes, by the facts */
    for (size_t i = 0; i < count; i++) {
        size_t bytes = (size_t)of_x[i].rows * (size_t)of_x[i].cols * sizeof(float);
        VQ_REQUIRE(memcmp(*of_x[i].place, *of_y[i].place, bytes) == 0, VQ_EINVAL, "different %s",
                   of_x[i].name);
    }
out:
    if (rc != VQ_OK)
        rc = vq_fail_context(err, rc,
                             "%s and %s are not of one model, as copies of an index and builds "
                             "with the model of one (vq build --model) are",
                             vq_file_path(a->file), vq_file_path(b->file));
    return rc;
}

/* ---- places ---- */

static size_t below(const vq_places *p, uint64_t place)
{
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->at[mid] < place)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_gone(const vq_places *p, uint64_t place)
{
    size_t i = below(p, place);
    return i < p->n && p->at[i] == place;
}

/* Those of a list. */
static uint32_t gone_of(const vq_places *p, uint32_t list)
{
    uint64_t first = (uint64_t)list << 32;
    return (uint32_t)(below(p, first | UINT32_MAX) - below(p, first));
}

static uint64_t shifted(const vq_places *gone, const uint32_t *base, uint64_t place)
{
    uint32_t list = (uint32_t)(place >> 32);
    size_t before = below(gone, place) - below(gone, (uint64_t)list << 32);
    return place + base[list] - before;
}

vq_status vq_merge_moved(vq_merge_part *p, bool copy, uint64_t place, uint64_t *to, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t list = (uint32_t)(place >> 32), slot = (uint32_t)place, n = 0;
    const vq_places *gone = copy ? &p->gone_copies : &p->gone;
    if (list < p->shard.model.nlist)
        n = copy ? p->shard.lists[list].copies : p->shard.lists[list].n;
    VQ_REQUIRE(slot < n && !is_gone(gone, place), VQ_ECORRUPT, "there is no %s %u in list %u",
               copy ? "copy" : "slot", slot, list);
    *to = shifted(gone, copy ? p->copy_base : p->base, place);
out:
    return rc;
}

/* Vectors of the list in the new index, and copies. */
static vq_status plan_list(vq_merger *m, uint32_t list, uint64_t *vectors, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t n = 0, copies = 0;
    for (size_t i = 0; i < m->n; i++) {
        vq_merge_part *p = &m->parts[i];
        VQ_TRY(vq_shard_load(&p->shard, list, err));
        const vq_list_view *l = &p->shard.lists[list];
        p->base[list] = (uint32_t)n, p->copy_base[list] = (uint32_t)copies;
        n += l->n - gone_of(&p->gone, list);
        copies += l->copies - gone_of(&p->gone_copies, list);
        VQ_REQUIRE(n <= UINT32_MAX && copies <= UINT32_MAX, VQ_EINVAL,
                   "more than 2^32 - 1 vectors in one list");
    }
    *vectors += n;
    m->model.copies += copies;
out:
    return rc;
}

static vq_status plan_places(vq_merger *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t nlist = m->model.nlist;
    uint64_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        m->parts[i].base = vq_mem_alloc(nlist, sizeof(uint32_t));
        m->parts[i].copy_base = vq_mem_alloc(nlist, sizeof(uint32_t));
        VQ_REQUIRE(m->parts[i].base != NULL && m->parts[i].copy_base != NULL, VQ_ENOMEM,
                   "merge: %u lists", nlist);
    }
    m->model.copies = 0;
    for (uint32_t l = 0; l < nlist; l++) VQ_TRY(plan_list(m, l, &n, err));
    VQ_REQUIRE(n == m->model.n, VQ_ECORRUPT, "%" PRIu64 " vectors in the lists, %" PRIu64 " ids", n,
               m->model.n);
out:
    return rc;
}

/* ---- lists and copies ---- */

typedef struct gather { /* a chunk of codes at work */
    vq_merger *m;
    bool copies;
    uint32_t capacity, list, chunk, n;
    uint64_t *labels; /* capacity */
    float *factors;
    uint8_t *codes; /* capacity x code_bytes */
} gather;

static vq_status write_chunk(gather *g, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *model = &g->m->model;
    size_t size = vq_list_chunk_size(&model->shape, g->n);
    uint8_t key[8], *room;
    if (g->n == 0) return VQ_OK;
    vq_chunk_key(key, g->list, g->chunk);
    VQ_TRY(vq_store_put(g->m->store, g->copies ? VQ_DB_COPIES : VQ_DB_LISTS, key, sizeof key, size,
                        &room, err));
    uint8_t *codes =
        vq_list_chunk_write(&model->shape, room, g->list, g->chunk, g->n, g->labels, g->factors);
    model->codec->pack(&model->code, g->codes, g->n, codes);
    vq_record_seal(room, size);
    g->chunk++;
    g->n = 0;
out:
    return rc;
}

/* What stands in the place of the label of a slot. */
static vq_status new_label(const gather *g, vq_merge_part *p, uint64_t label, uint64_t *to,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    *to = label;
    if (g->copies) {
        VQ_TRY(vq_merge_moved(p, false, label, to, err));
    } else if (p->labels != NULL) {
        VQ_REQUIRE(label < p->nlabels && p->labels[label] != VQ_NO_ID, VQ_ECORRUPT,
                   "list %u: label %" PRIu64 " has no id", g->list, label);
        *to = p->labels[label];
    }
out:
    return rc;
}

/* One chunk of a part's list, from its slot `first` on; *gone: the next place that is left out. */
static vq_status take_chunk(gather *g, vq_merge_part *p, const vq_chunk_view *v, uint32_t first,
                            size_t *gone, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *model = &p->shard.model;
    const vq_places *out = g->copies ? &p->gone_copies : &p->gone;
    size_t bytes = model->shape.code_bytes;
    VQ_TRY(vq_record_verify(v->codes - VQ_RECORD_HEADER, vq_list_chunk_size(&model->shape, v->n),
                            "lists", err));
    for (uint32_t i = 0; i < v->n; i++) {
        uint64_t place = (uint64_t)g->list << 32 | (first + i);
        if (*gone < out->n && out->at[*gone] == place) {
            ++*gone;
            continue;
        }
        VQ_TRY(new_label(g, p, vq_le64(v->labels + 8 * (size_t)i), &g->labels[g->n], err));
        g->factors[g->n] = v->factors != NULL ? v->factors[i] : 0.0f;
        model->codec->unpack(&model->code, v->codes, i, g->codes + g->n * bytes);
        if (++g->n == g->capacity) VQ_TRY(write_chunk(g, err));
    }
out:
    return rc;
}

static vq_status take_list(gather *g, vq_merge_part *p, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_list_view *l = &p->shard.lists[g->list];
    uint32_t from = g->copies ? l->nchunks : 0, count = g->copies ? l->ncopied : l->nchunks;
    size_t gone = below(g->copies ? &p->gone_copies : &p->gone, (uint64_t)g->list << 32);
    for (uint32_t c = 0; c < count; c++)
        VQ_TRY(take_chunk(g, p, &l->chunks[from + c], c * p->shard.capacity, &gone, err));
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(p->file));
}

static vq_status write_lists(vq_merger *m, bool copies, vq_error *err)
{
    vq_status rc = VQ_OK;
    gather g = {.m = m, .copies = copies, .capacity = vq_chunk_capacity(&m->model.shape)};
    uint32_t nlist = m->model.nlist;
    g.labels = vq_mem_alloc(g.capacity, sizeof *g.labels);
    g.factors = vq_mem_alloc(g.capacity, sizeof *g.factors);
    g.codes = vq_mem_alloc(g.capacity, m->model.shape.code_bytes);
    VQ_REQUIRE(g.labels != NULL && g.factors != NULL && g.codes != NULL, VQ_ENOMEM,
               "merge: a chunk of %u vectors", g.capacity);
    for (uint32_t l = 0; l < nlist; l++) {
        g.list = l, g.chunk = 0;
        for (size_t i = 0; i < m->n; i++) VQ_TRY(take_list(&g, &m->parts[i], err));
        VQ_TRY(write_chunk(&g, err));
        VQ_TRY(vq_tick(&m->ticker, copies ? "copies" : "lists", l + 1, nlist, err));
    }
out:
    vq_mem_free(g.labels);
    vq_mem_free(g.factors);
    vq_mem_free(g.codes);
    return rc;
}

/* ---- rows ---- */

typedef struct rows_out { /* a chunk of rows being written where it lies */
    vq_merger *m;
    uint32_t capacity, list, chunk;
    uint32_t left;    /* rows of the list that no chunk has room for yet */
    uint32_t n, size; /* rows in this chunk, of as many */
    uint8_t *room, *rows;
} rows_out;

static vq_status put_row(rows_out *o, const uint8_t *row, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_shape *s = &o->m->model.shape;
    uint8_t key[8];
    if (o->n == o->size) { /* the next chunk */
        VQ_REQUIRE(o->left > 0, VQ_ECORRUPT, "list %u: more rows than vectors", o->list);
        o->size = VQ_MIN(o->left, o->capacity);
        o->left -= o->size;
        o->n = 0;
        vq_chunk_key(key, o->list, o->chunk);
        VQ_TRY(vq_store_put(o->m->store, VQ_DB_VECTORS, key, sizeof key,
                            vq_row_chunk_size(s, o->size), &o->room, err));
        o->rows = vq_row_chunk_write(s, o->room, o->list, o->chunk++, o->size);
    }
    memcpy(o->rows + (size_t)o->n++ * s->row_bytes, row, s->row_bytes);
    if (o->n == o->size) vq_record_seal(o->room, vq_row_chunk_size(s, o->size));
out:
    return rc;
}

static vq_status take_rows(rows_out *o, const vq_merge_part *p, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t first = (uint64_t)o->list << 32;
    size_t gone = below(&p->gone, first);
    for (uint32_t i = 0; i < p->shard.lists[o->list].n; i++) {
        const uint8_t *row;
        if (i % p->shard.row_capacity == 0) VQ_TRY(vq_shard_row_verify(&p->shard, first + i, err));
        if (gone < p->gone.n && p->gone.at[gone] == first + i) {
            gone++;
            continue;
        }
        VQ_TRY(vq_shard_row(&p->shard, first + i, &row, err));
        VQ_TRY(put_row(o, row, err));
    }
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(p->file));
}

static vq_status write_rows(vq_merger *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    rows_out o = {.m = m, .capacity = vq_row_capacity(&m->model.shape)};
    if (m->model.shape.row_bytes == 0) return VQ_OK;
    for (o.list = 0; o.list < m->model.nlist; o.list++) {
        o.chunk = o.n = o.size = o.left = 0;
        for (size_t i = 0; i < m->n; i++) {
            const vq_merge_part *p = &m->parts[i];
            o.left += p->shard.lists[o.list].n - gone_of(&p->gone, o.list);
        }
        for (size_t i = 0; i < m->n; i++) VQ_TRY(take_rows(&o, &m->parts[i], err));
        VQ_TRY(vq_tick(&m->ticker, "rows", o.list + 1, m->model.nlist, err));
    }
out:
    return rc;
}

/* ---- all of it ---- */

/* Has one of the parts a database of copies, though it may be empty? */
static vq_status has_copies(const vq_merger *m, bool *any, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_tree none;
    *any = false;
    for (size_t i = 0; i < m->n && !*any; i++) {
        const vq_pages *pages = &m->parts[i].shard.snapshot.pages;
        rc = vq_tree_open(pages, vq_db_names[VQ_DB_COPIES], &none, err);
        *any = rc == VQ_OK;
        if (rc != VQ_OK && rc != VQ_ENOENT) return rc;
    }
    return VQ_OK;
}

/* How far vectors that came after the training lie from their centroids, of all parts. */
static void sum_drift(vq_merger *m)
{
    double sum = 0.0;
    uint64_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        const vq_model *p = &m->parts[i].shard.model;
        sum += (double)p->added_spread * (double)p->added;
        n += p->added;
        if (m->model.spread == 0.0f) m->model.spread = p->spread;
    }
    m->model.added = n;
    m->model.tuned_at = 0; /* the curve is of one part */
    m->model.added_spread = vq_mean_of(sum, n);
}

static vq_status plan_model(vq_merger *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *model = &m->model;
    bool copies = false;
    uint64_t chunk = model->row_chunk;
    sum_drift(m);
    model->labels = 0; /* names get ranks again */
    model->format = VQ_MAX(vq_format_least(model), chunk != 0 ? VQ_FORMAT_DOCUMENTS : 0);
    VQ_TRY(vq_merge_plan_ids(m, err));
    VQ_REQUIRE(model->n <= UINT32_MAX, VQ_EINVAL,
               "%" PRIu64 " vectors; one index holds up to %u, so search them as one instead",
               model->n, UINT32_MAX);
    VQ_TRY(plan_places(m, err));
    VQ_TRY(has_copies(m, &copies, err));
    if (copies) {
        VQ_TRY(vq_store_want_copies(m->store, err));
        model->format = VQ_MAX(model->format, VQ_FORMAT_COPIES);
    }
    if (model->n < model->nlist || (copies && model->copies == 0))
        model->format = VQ_MAX(model->format, VQ_FORMAT_CHANGED);
    vq_model_derive(model, vq_store_value_min(m->store));
out:
    return rc;
}

static vq_status write_all(vq_merger *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(plan_model(m, err));
    VQ_TRY(vq_model_write(&m->model, m->store, err));
    if (m->model.tune.rows != NULL) VQ_TRY(vq_tune_write(&m->model.tune, m->store, err));
    if (m->model.relevance != NULL) VQ_TRY(vq_relevance_write(m->model.relevance, m->store, err));
    VQ_TRY(write_lists(m, false, err));
    VQ_TRY(write_rows(m, err));
    VQ_TRY(write_lists(m, true, err));
    VQ_TRY(vq_merge_write_ids(m, err));
    VQ_TRY(vq_meta_write(&m->model, m->store, err));
    VQ_TRY(vq_tick(&m->ticker, "sync", 0, 0, err));
    VQ_TRY(vq_store_finish(m->store, err));
out:
    return rc;
}

static vq_status open_part(vq_merger *m, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_merge_part *p = &m->parts[m->n];
    VQ_TRY(vq_file_open(&p->file, path, err));
    m->n++;
    for (size_t i = 0; i + 1 < m->n; i++) /* a second open of a file shares the first */
        VQ_REQUIRE(m->parts[i].file != p->file, VQ_EINVAL, "%s is given twice", path);
    VQ_TRY(vq_shard_open(&p->shard, p->file, err));
    VQ_TRY(vq_pages_sound(&p->shard.snapshot.pages, path, err));
    if (m->n > 1) VQ_TRY(same_model(&m->parts[0], p, err));
out:
    return rc;
}

static void close_part(vq_merge_part *p)
{
    vq_packer_close(p->packer);
    vq_mem_free(p->gone.at);
    vq_mem_free(p->gone_copies.at);
    vq_mem_free(p->base);
    vq_mem_free(p->copy_base);
    vq_mem_free(p->labels);
    vq_mem_free(p->tags);
    vq_shard_close(&p->shard);
    vq_file_close(p->file);
}

vq_status vq_merge_files(const char *const *paths, size_t n, const char *out,
                         const vq_merge_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    int claim = -1;
    char *real = NULL; /* of out */
    uint32_t wait = o->wait_ms == VQ_NONE ? 0 : o->wait_ms == 0 ? VQ_CHANGE_WAIT_MS : o->wait_ms;
    vq_merger m = {.keep = o->keep, .ticker = {.fn = o->progress, .ctx = o->progress_ctx}};
    m.parts = vq_mem_calloc(n, sizeof *m.parts);
    VQ_REQUIRE(m.parts != NULL, VQ_ENOMEM, "merge: %zu indexes", n);
    VQ_TRY(vq_file_real(out, &real, err));
    if (o->force != 0) VQ_TRY(vq_change_claim(&claim, real, wait, err));
    for (size_t i = 0; i < n; i++) VQ_TRY(open_part(&m, paths[i], err));
    m.model = m.parts[0].shard.model;
    VQ_TRY(vq_store_create(&m.store, real, o->force != 0, err));
    VQ_TRY(write_all(&m, err));
out:
    vq_store_free(m.store);
    for (size_t i = 0; i < m.n; i++) close_part(&m.parts[i]);
    vq_mem_free(m.parts);
    vq_docs_fini(&m.docs);
    vq_table_fini(&m.numbers);
    vq_change_unclaim(claim);
    vq_mem_free(real);
    return rc;
}
