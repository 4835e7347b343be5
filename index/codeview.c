/* SPDX-License-Identifier: Apache-2.0 */
/* codeview.c -- see codeview.h. */
#include "index/codeview.h"

#include <string.h>

#include "src/math/topk.h"

vq_status vq_corpus_init(vq_corpus *c, const vq_model *m, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(c, 0, sizeof *c);
    c->n = n;
    c->lists = vq_mem_alloc(n, sizeof *c->lists);
    c->codes = vq_mem_alloc(n, m->code.code_bytes);
    c->coded = vq_alloc_f32(n, m->d_code);
    if (m->shape.factors) c->factors = vq_alloc_f32(1, n);
    VQ_REQUIRE(c->lists != NULL && c->codes != NULL && c->coded != NULL &&
                   (c->factors != NULL || !m->shape.factors),
               VQ_ENOMEM, "codes of %zu vectors of %u floats", n, m->d_code);
out:
    return rc;
}

void vq_corpus_fini(vq_corpus *c)
{
    vq_mem_free(c->lists);
    vq_mem_free(c->codes);
    vq_mem_free(c->coded);
    vq_mem_free(c->factors);
    vq_mem_free(c->copy_lists);
    vq_mem_free(c->copy_codes);
    vq_mem_free(c->copy_factors);
    memset(c, 0, sizeof *c);
}

float vq_corpus_spread(const vq_model *m, const vq_corpus *c)
{
    const vq_kernels *k = vq_kernels_get();
    size_t d = m->d_code;
    double sum = 0.0;
    for (size_t i = 0; i < c->n; i++)
        sum += (double)k->l2sq_f32(c->coded + i * d, m->centroids + (size_t)c->lists[i] * d, d);
    return vq_mean_of(sum, c->n);
}

void vq_codeview_fini(vq_codeview *v)
{
    vq_mem_free(v->rows);
    vq_mem_free(v->start);
    vq_mem_free(v->at);
    vq_mem_free(v->blocks);
    vq_mem_free(v->factors);
    vq_mem_free(v->factors_at);
    memset(v, 0, sizeof *v);
}

/* Rows by list (counting sort), and where each list's blocks begin. */
static size_t sort_rows(vq_codeview *v, const vq_corpus *c)
{
    const vq_model *m = v->model;
    size_t bytes = 0;
    memset(v->start, 0, (m->nlist + 1) * sizeof *v->start);
    for (size_t i = 0; i < c->n; i++) v->start[c->lists[i] + 1]++;
    for (uint32_t l = 0; l < m->nlist; l++) {
        v->at[l] = bytes;
        bytes += vq_round_up(v->start[l + 1], VQ_BLOCK) * m->code.code_bytes;
        bytes = vq_round_up(bytes, VQ_CACHELINE);
        v->start[l + 1] += v->start[l];
    }
    for (size_t i = 0; i < c->n; i++) v->rows[v->start[c->lists[i]]++] = (uint32_t)i;
    memmove(v->start + 1, v->start, m->nlist * sizeof *v->start);
    v->start[0] = 0;
    return bytes;
}

/* Factors in the order of the codes; a list's last block is filled up. */
static vq_status sort_factors(vq_codeview *v, const vq_corpus *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = v->model;
    size_t all = 0;
    v->factors_at = vq_mem_alloc(m->nlist, sizeof *v->factors_at);
    VQ_REQUIRE(v->factors_at != NULL, VQ_ENOMEM, "factors of %u lists", m->nlist);
    for (uint32_t l = 0; l < m->nlist; l++) {
        v->factors_at[l] = all;
        all += vq_round_up(v->start[l + 1] - v->start[l], VQ_BLOCK);
    }
    v->factors = vq_mem_calloc(all, sizeof *v->factors);
    VQ_REQUIRE(v->factors != NULL, VQ_ENOMEM, "factors of %zu vectors", c->n);
    for (uint32_t l = 0; l < m->nlist; l++)
        for (size_t i = v->start[l]; i < v->start[l + 1]; i++)
            v->factors[v->factors_at[l] + i - v->start[l]] = c->factors[v->rows[i]];
out:
    return rc;
}

vq_status vq_codeview_init(vq_codeview *v, const vq_model *model, const vq_corpus *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t code = model->code.code_bytes, most = 0;
    uint8_t *gathered = NULL;
    memset(v, 0, sizeof *v);
    v->model = model;
    v->rows = vq_mem_alloc(c->n, sizeof *v->rows);
    v->start = vq_mem_alloc(model->nlist + (size_t)1, sizeof *v->start);
    v->at = vq_mem_alloc(model->nlist, sizeof *v->at);
    VQ_REQUIRE(v->rows != NULL && v->start != NULL && v->at != NULL, VQ_ENOMEM,
               "codes of %zu vectors", c->n);
    v->blocks = vq_mem_alloc(sort_rows(v, c), 1);
    for (uint32_t l = 0; l < model->nlist; l++) most = VQ_MAX(most, v->start[l + 1] - v->start[l]);
    gathered = vq_mem_alloc(most, code);
    VQ_REQUIRE(v->blocks != NULL && gathered != NULL, VQ_ENOMEM, "codes of %zu vectors", c->n);
    for (uint32_t l = 0; l < model->nlist; l++) {
        size_t n = v->start[l + 1] - v->start[l];
        for (size_t i = 0; i < n; i++)
            memcpy(gathered + i * code, c->codes + v->rows[v->start[l] + i] * code, code);
        model->codec->pack(&model->code, gathered, n, v->blocks + v->at[l]);
    }
    if (c->factors != NULL) VQ_TRY(sort_factors(v, c, err));
out:
    vq_mem_free(gathered);
    if (rc != VQ_OK) vq_codeview_fini(v);
    return rc;
}

typedef struct view_search {
    const vq_codeview *v;
    const vq_kernels *k;
    const float *queries;
    uint32_t *rows;
    uint32_t want;
    vq_arena *arenas; /* of the workers */
} view_search;

static const float *factors_of(const vq_codeview *v, uint32_t list)
{
    return v->factors != NULL ? v->factors + v->factors_at[list] : NULL;
}

/* A hit's id is list << 32 | slot. */
static vq_status scan_lists(const view_search *s, const float *dots, const void *tables,
                            vq_arena *arena, vq_reservoir *r, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = s->v->model;
    enum { STEP = 8192 };
    void *scratch = vq_arena_take(arena, vq_scan_scratch(STEP), 1);
    uint32_t *idx = vq_arena_take(arena, STEP, sizeof *idx);
    float *score = vq_arena_take(arena, STEP, sizeof *score);
    VQ_REQUIRE(scratch != NULL && idx != NULL && score != NULL, VQ_ENOMEM, "scan: %d vectors",
               STEP);
    for (uint32_t l = 0; l < m->nlist; l++) {
        size_t n = s->v->start[l + 1] - s->v->start[l];
        for (size_t first = 0; first < n; first += STEP) {
            const uint8_t *blocks = s->v->blocks + s->v->at[l] + first * m->code.code_bytes;
            const float *factors = factors_of(s->v, l);
            if (factors != NULL) factors += first;
            size_t kept = m->codec->scan(&m->code, s->k, tables, blocks, NULL, factors,
                                         VQ_MIN(n - first, (size_t)STEP), dots[l], r->threshold,
                                         scratch, idx, score);
            for (size_t j = 0; j < kept; j++)
                vq_reservoir_push(r, score[j], (uint64_t)l << 32 | (first + idx[j]));
        }
    }
out:
    return rc;
}

static vq_status search_one(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    const view_search *s = ctx;
    const vq_codeview *v = s->v;
    const vq_model *m = v->model;
    const float *q = s->queries + task * m->d_code;
    vq_arena *arena = &s->arenas[worker];
    size_t pool = 2 * (size_t)s->want + 64, cap = 2 * pool;
    vq_arena_reset(arena);
    const void *tables = vq_model_tables(m, &m->code, s->k, q, arena);
    float *dots = vq_arena_take(arena, m->nlist, sizeof *dots);
    vq_hit *hits = vq_arena_take(arena, cap, sizeof *hits);
    VQ_REQUIRE(tables != NULL && dots != NULL && hits != NULL, VQ_ENOMEM, "scan: %u lists",
               m->nlist);
    s->k->matvec_f32(m->centroids, m->nlist, m->d_code, m->d_code, q, dots);
    vq_reservoir r;
    vq_reservoir_init(&r, hits, cap, pool);
    VQ_TRY(scan_lists(s, dots, tables, arena, &r, err));
    vq_reservoir_shrink(&r);
    for (size_t i = 0; i < r.n; i++) {
        uint32_t l = (uint32_t)(hits[i].id >> 32), slot = (uint32_t)hits[i].id;
        const float *factors = factors_of(v, l);
        hits[i].score =
            dots[l] + m->codec->score(&m->code, s->k, tables, v->blocks + v->at[l], slot);
        if (factors != NULL) hits[i].score -= factors[slot];
        hits[i].id = v->rows[v->start[l] + slot];
    }
    vq_hits_sort(hits, r.n);
    for (uint32_t i = 0; i < s->want; i++)
        s->rows[task * s->want + i] = i < r.n ? (uint32_t)hits[i].id : UINT32_MAX;
out:
    return rc;
}

vq_status vq_codeview_search(const vq_codeview *v, const float *queries, size_t nq, uint32_t k,
                             int threads, uint32_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    view_search s = {.v = v, .k = vq_kernels_get(), .queries = queries, .rows = rows, .want = k};
    threads = vq_team((uint32_t)threads, nq);
    s.arenas = vq_mem_calloc((size_t)threads, sizeof *s.arenas);
    VQ_REQUIRE(s.arenas != NULL, VQ_ENOMEM, "scan: %d threads", threads);
    VQ_TRY(vq_team_run(threads, nq, search_one, &s, err));
out:
    for (int i = 0; s.arenas != NULL && i < threads; i++) vq_arena_fini(&s.arenas[i]);
    vq_mem_free(s.arenas);
    return rc;
}
