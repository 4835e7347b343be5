/* SPDX-License-Identifier: Apache-2.0 */
/* distil_batch.c -- see the header for the plan.  Look-ups and scattered scalars take most of the
 * time for product codes, GEMM for additive ones. */
#include "src/train/distil_batch.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"

#define QUERY_TILE 32u
#define BOOK_TILE  2u /* books of a task: additive ones have a part of dQ' each */
#define AHEAD      8u /* candidates whose codes are fetched early */
#define NONE       UINT32_MAX

static size_t tiles(size_t n, size_t tile)
{
    return (n + tile - 1) / tile;
}

/* ---- in-batch candidates --------------------------------------------------------------------- */

static size_t hash_slot(const vq_distil_batch *b, uint32_t row)
{
    size_t at = (size_t)(row * 2654435761u) & (b->hash_size - 1);
    while (b->hash[at] != NONE && b->common[b->hash[at]] != row) at = (at + 1) % b->hash_size;
    return at;
}

/* The batch's queries, and its in-batch rows without repetition. */
static void gather_batch(vq_distil_batch *b)
{
    const vq_lessons *l = b->l;
    size_t d = b->s->d;
    b->ncommon = 0;
    for (size_t i = 0; i < b->hash_size; i++) b->hash[i] = NONE;
    for (size_t q = 0; q < b->n; q++) {
        size_t i = b->batch[q];
        memcpy(b->queries + q * d, l->queries + i * d, d * sizeof *b->queries);
        if (l->shared == NULL) continue;
        size_t at = hash_slot(b, l->shared[i]);
        if (b->hash[at] != NONE) continue;
        b->hash[at] = (uint32_t)b->ncommon;
        b->common[b->ncommon] = l->shared[i];
        memcpy(b->common_rows + b->ncommon++ * d, l->shared_rows + i * d,
               d * sizeof *b->common_rows);
    }
}

/* ---- forward --------------------------------------------------------------------------------- */

/* Q' and the teacher's scores of in-batch rows, for a tile of queries. */
static vq_status project_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    vq_distil_batch *b = ctx;
    size_t d = b->s->d, q0 = task * QUERY_TILE, n = VQ_MIN(b->n - q0, QUERY_TILE);
    const float *queries = b->queries + q0 * d;
    if (b->s->map != NULL)
        vq_gemm_nt(n, d, d, 1.0f, queries, d, b->s->map, d, 0.0f, b->mapped + q0 * d, d);
    vq_gemm_nt(n, b->ncommon, d, 1.0f, queries, d, b->common_rows, d, 0.0f,
               b->common_scores + q0 * b->max, b->max);
    for (size_t u = 0; b->l->coded != NULL && u < b->ncommon; u++) {
        float half = 0.5f * (float)b->kn->sq_row_f32(b->common_rows + u * d, d);
        for (size_t q = q0; q < q0 + n; q++) b->common_scores[q * b->max + u] -= half;
    }
    return VQ_OK;
}

static vq_status tables_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    vq_distil_batch *b = ctx;
    const vq_student *s = b->s;
    size_t d = s->d, kk = s->kk, all = s->m * kk, j0 = task * BOOK_TILE;
    size_t books = VQ_MIN(s->m - j0, BOOK_TILE), dsub = d / s->m;
    float *tables = b->tables + j0 * kk;
    if (s->additive)
        vq_gemm_nt(b->n, books * kk, d, 1.0f, b->mapped, d, s->books + j0 * kk * d, d, 0.0f, tables,
                   all);
    else
        for (size_t j = j0; j < j0 + books; j++)
            vq_gemm_nn(b->n, kk, dsub, 1.0f, b->mapped + j * dsub, d, s->books + j * dsub * kk, kk,
                       0.0f, b->tables + j * kk, all);
    return VQ_OK;
}

/* Candidates of a query and the teacher's scores: its own, then in-batch rows that it lacks. */
static size_t candidates(const vq_distil_batch *b, const vq_pupil *p, size_t q)
{
    const vq_lessons *l = b->l;
    size_t i = b->batch[q], n = 0;
    if (b->ncommon > 0) memset(p->own, 0, b->ncommon * sizeof *p->own);
    for (size_t c = l->first[i]; c < l->first[i + 1]; c++, n++) {
        p->rows[n] = l->docs[c];
        p->t[n] = l->teacher[c];
        if (b->ncommon == 0) continue;
        uint32_t u = b->hash[hash_slot(b, l->docs[c])];
        if (u != NONE) p->own[u] = true;
    }
    float offset = l->own_offset != NULL ? l->own_offset[i] : 0.0f;
    float most = l->own_most != NULL ? l->own_most[i] : INFINITY;
    for (size_t u = 0; u < b->ncommon; u++) {
        if (p->own[u]) continue;
        p->rows[n] = b->common[u];
        p->t[n++] = VQ_MIN(b->common_scores[q * b->max + u] + offset, most);
    }
    return n;
}

/* The list part of the students' scores, each list once; the query's lists are noted. */
static void score_lists(const vq_distil_batch *b, const vq_pupil *p, size_t q, size_t n)
{
    size_t d = b->s->d;
    const float *mapped = b->mapped + q * d;
    uint32_t *lists = b->pair_list + q * b->max_pairs, got = 0;
    for (size_t c = 0; c < n; c++) {
        uint32_t list = b->l->lists[p->rows[c]];
        if (p->slot[list] == NONE) {
            p->dots[got] = b->kn->dot_f32(mapped, b->s->centroids + list * d, d);
            lists[got] = list;
            p->slot[list] = got++;
        }
        p->pair[c] = p->slot[list];
        p->s[c] = p->dots[p->pair[c]];
    }
    b->npairs[q] = got;
    for (uint32_t i = 0; i < got; i++) p->slot[lists[i]] = NONE;
}

static void score_codes(const vq_distil_batch *b, const vq_pupil *p, size_t q, size_t n)
{
    size_t m = b->s->m, kk = b->s->kk;
    const float *tables = b->tables + q * m * kk;
    for (size_t c = 0; c < n; c++) {
        const uint8_t *code = b->l->codes + p->rows[c] * m;
        if (c + AHEAD < n) VQ_PREFETCH(b->l->codes + p->rows[c + AHEAD] * m);
        float sum = 0.0f;
        for (size_t j = 0; j < m; j++) sum += tables[j * kk + code[j]];
        p->s[c] += sum;
    }
}

/* For l2: less the rows' factors. */
static void take_factors(const vq_distil_batch *b, const vq_pupil *p, size_t q, size_t n)
{
    memcpy(b->scored + q * b->max_cands, p->rows, n * sizeof *p->rows);
    b->nscored[q] = (uint32_t)n;
    for (size_t c = 0; c < n; c++) p->s[c] -= b->seen.factors[b->seen.place[p->rows[c]]];
}

/* From g to G and to the sums by list. */
static void scatter(const vq_distil_batch *b, const vq_pupil *p, size_t q, size_t n)
{
    size_t m = b->s->m, kk = b->s->kk;
    float *grads = b->grads + q * m * kk, *lists = b->pair_grad + q * b->max_pairs;
    memset(grads, 0, m * kk * sizeof *grads);
    if (b->s->centroids != NULL) memset(lists, 0, b->npairs[q] * sizeof *lists);
    for (size_t c = 0; c < n; c++) {
        const uint8_t *code = b->l->codes + p->rows[c] * m;
        float g = (float)(p->grad[c] / (double)b->n);
        for (size_t j = 0; j < m; j++) grads[j * kk + code[j]] += g;
        if (b->s->centroids != NULL) lists[p->pair[c]] += g;
        if (b->l->coded != NULL) b->scored_grads[q * b->max_cands + c] = g;
    }
}

static vq_status query_task(void *ctx, size_t q, int worker, vq_error *err)
{
    (void)err;
    vq_distil_batch *b = ctx;
    const vq_pupil *p = &b->pupils[worker];
    size_t n = candidates(b, p, q);
    if (b->s->centroids != NULL)
        score_lists(b, p, q, n);
    else
        memset(p->s, 0, n * sizeof *p->s);
    score_codes(b, p, q, n);
    if (b->l->coded != NULL) take_factors(b, p, q, n);
    b->losses[q] = 0.0;
    if (n > 0) b->losses[q] = b->loss->fn(p->t, p->s, n, b->temperature, p->scratch, p->grad);
    scatter(b, p, q, n);
    return VQ_OK;
}

/* ---- backward -------------------------------------------------------------------------------- */

static vq_status books_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    vq_distil_batch *b = ctx;
    const vq_student *s = b->s;
    size_t d = s->d, kk = s->kk, all = s->m * kk, j0 = task * BOOK_TILE;
    size_t books = VQ_MIN(s->m - j0, BOOK_TILE), dsub = d / s->m;
    const float *grads = b->grads + j0 * kk;
    if (s->additive && b->d_books != NULL)
        vq_gemm_tn(books * kk, d, b->n, 1.0f, grads, all, b->mapped, d, 0.0f,
                   b->d_books + j0 * kk * d, d);
    if (s->additive && b->d_map != NULL)
        vq_gemm_nn(b->n, d, books * kk, 1.0f, grads, all, s->books + j0 * kk * d, d, 0.0f,
                   b->part + task * b->max * d, d);
    for (size_t j = j0; j < j0 + books && !s->additive; j++) {
        const float *g = b->grads + j * kk;
        if (b->d_books != NULL)
            vq_gemm_tn(dsub, kk, b->n, 1.0f, b->mapped + j * dsub, d, g, all, 0.0f,
                       b->d_books + j * dsub * kk, kk);
        if (b->d_map != NULL)
            vq_gemm_nt(b->n, dsub, kk, 1.0f, g, all, s->books + j * dsub * kk, kk, 0.0f,
                       b->part + j * dsub, d);
    }
    return VQ_OK;
}

static void add_scaled(float a, const float *x, size_t d, float *restrict y)
{
    for (size_t j = 0; j < d; j++) y[j] += a * x[j];
}

/* dQ' of one query: its parts in order, then the lists' share. */
static vq_status mapped_task(void *ctx, size_t q, int worker, vq_error *err)
{
    (void)worker, (void)err;
    vq_distil_batch *b = ctx;
    size_t d = b->s->d;
    float *sum = b->part + q * d;
    for (size_t p = 1; p < b->parts; p++) add_scaled(1.0f, b->part + (p * b->max + q) * d, d, sum);
    for (size_t i = 0; b->s->centroids != NULL && i < b->npairs[q]; i++) {
        size_t pair = q * b->max_pairs + i;
        add_scaled(b->pair_grad[pair], b->s->centroids + b->pair_list[pair] * d, d, sum);
    }
    return VQ_OK;
}

static vq_status map_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    vq_distil_batch *b = ctx;
    size_t d = b->s->d, r0 = task * VQ_MAP_TILE, rows = VQ_MIN(d - r0, VQ_MAP_TILE);
    vq_gemm_tn(rows, d, b->n, 1.0f, b->part + r0, d, b->queries, d, 0.0f, b->d_map + r0 * d, d);
    return VQ_OK;
}

/* The pairs (query, list) by list: a counting sort. */
static void sort_pairs(vq_distil_batch *b)
{
    size_t nlist = b->s->nlist, *first = b->list_first;
    memset(first, 0, (nlist + 1) * sizeof *first);
    for (size_t q = 0; q < b->n; q++)
        for (size_t i = 0; i < b->npairs[q]; i++) first[b->pair_list[q * b->max_pairs + i]]++;
    for (size_t c = 0, at = 0; c <= nlist; c++) { /* first[c]: where c's end, for now */
        at += first[c];
        first[c] = at;
    }
    for (size_t q = b->n; q-- > 0;)
        for (size_t i = b->npairs[q]; i-- > 0;) {
            size_t pair = q * b->max_pairs + i;
            b->pair_order[--first[b->pair_list[pair]]] = (uint32_t)pair;
        }
}

static vq_status lists_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    vq_distil_batch *b = ctx;
    size_t d = b->s->d, c0 = task * VQ_LIST_TILE, end = VQ_MIN(b->s->nlist, c0 + VQ_LIST_TILE);
    memset(b->d_centroids + c0 * d, 0, (end - c0) * d * sizeof *b->d_centroids);
    for (size_t c = c0; c < end; c++)
        for (size_t i = b->list_first[c]; i < b->list_first[c + 1]; i++) {
            size_t pair = b->pair_order[i], q = pair / b->max_pairs;
            add_scaled(b->pair_grad[pair], b->mapped + q * d, d, b->d_centroids + c * d);
        }
    return VQ_OK;
}

vq_status vq_distil_batch_run(vq_distil_batch *b, const uint32_t *batch, size_t n, double *loss,
                              vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t groups = tiles(b->s->m, BOOK_TILE);
    b->batch = batch;
    b->n = n;
    gather_batch(b);
    if (b->l->coded != NULL) VQ_TRY(vq_distil_l2_begin(b, err));
    VQ_TRY(vq_team_run(b->threads, tiles(n, QUERY_TILE), project_task, b, err));
    VQ_TRY(vq_team_run(b->threads, groups, tables_task, b, err));
    VQ_TRY(vq_team_run(b->threads, n, query_task, b, err));
    *loss = 0.0;
    for (size_t q = 0; q < n; q++) *loss += b->losses[q] / (double)n;
    VQ_REQUIRE(isfinite(*loss), VQ_EINVAL,
               "distillation: the loss is not finite: bad scores, or too long a step");
    VQ_TRY(vq_team_run(b->threads, groups, books_task, b, err));
    if (b->l->coded != NULL && b->d_books != NULL) VQ_TRY(vq_distil_l2_books(b, err));
    if (b->d_map != NULL) {
        VQ_TRY(vq_team_run(b->threads, n, mapped_task, b, err));
        VQ_TRY(vq_team_run(b->threads, tiles(b->s->d, VQ_MAP_TILE), map_task, b, err));
    }
    if (b->d_centroids != NULL) {
        sort_pairs(b);
        VQ_TRY(vq_team_run(b->threads, tiles(b->s->nlist, VQ_LIST_TILE), lists_task, b, err));
    }
out:
    return rc;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool pupil_init(const vq_distil_batch *b, vq_pupil *p)
{
    size_t n = b->max_cands, nlist = b->s->nlist;
    p->rows = vq_mem_alloc(n, sizeof *p->rows);
    p->t = vq_alloc_f32(n, 1);
    p->s = vq_alloc_f32(n, 1);
    p->grad = vq_mem_alloc(n, sizeof *p->grad);
    p->scratch = vq_mem_alloc(n, 2 * sizeof *p->scratch);
    p->pair = vq_mem_alloc(n, sizeof *p->pair);
    p->slot = vq_mem_alloc(nlist, sizeof *p->slot);
    p->dots = vq_alloc_f32(b->max_pairs, 1);
    p->own = vq_mem_alloc(b->max, sizeof *p->own);
    for (size_t c = 0; p->slot != NULL && c < nlist; c++) p->slot[c] = NONE;
    return p->rows != NULL && p->t != NULL && p->s != NULL && p->grad != NULL &&
           p->scratch != NULL && p->pair != NULL && p->slot != NULL && p->dots != NULL &&
           p->own != NULL;
}

static vq_status allocate(vq_distil_batch *b, bool learn_map, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t max = b->max, d = b->s->d, words = b->s->m * b->s->kk, part_rows = b->parts * max;
    b->queries = vq_alloc_f32(max, d);
    b->mapped = b->s->map != NULL ? vq_alloc_f32(max, d) : b->queries;
    b->tables = vq_alloc_f32(max, words);
    b->grads = vq_alloc_f32(max, words);
    b->common_rows = vq_alloc_f32(max, d);
    b->common_scores = vq_alloc_f32(max, max);
    b->common = vq_mem_alloc(max, sizeof *b->common);
    b->hash = vq_mem_alloc(b->hash_size, sizeof *b->hash);
    b->losses = vq_mem_alloc(max, sizeof *b->losses);
    b->npairs = vq_mem_alloc(max, sizeof *b->npairs);
    b->pair_list = vq_mem_alloc(max * b->max_pairs, sizeof *b->pair_list);
    b->pair_grad = vq_alloc_f32(max, b->max_pairs);
    b->pair_order = vq_mem_alloc(max * b->max_pairs, sizeof *b->pair_order);
    b->list_first = vq_mem_alloc(b->s->nlist + 1, sizeof *b->list_first);
    b->part = learn_map ? vq_alloc_f32(part_rows, d) : NULL;
    b->pupils = vq_mem_calloc((size_t)b->threads, sizeof *b->pupils);
    bool got = b->queries != NULL && b->mapped != NULL && b->tables != NULL && b->grads != NULL &&
               b->common_rows != NULL && b->common_scores != NULL && b->common != NULL &&
               b->hash != NULL && b->losses != NULL && b->npairs != NULL && b->pair_list != NULL &&
               b->pair_grad != NULL && b->pair_order != NULL && b->list_first != NULL &&
               (!learn_map || b->part != NULL) && b->pupils != NULL;
    for (int w = 0; got && w < b->threads; w++) got = pupil_init(b, &b->pupils[w]);
    VQ_REQUIRE(got, VQ_ENOMEM, "distillation: out of memory for %zu queries of %zu candidates", max,
               b->max_cands);
out:
    return rc;
}

vq_status vq_distil_batch_init(vq_distil_batch *b, const vq_student *s, const vq_lessons *l,
                               const vq_distil_opts *opts, size_t max, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t own = 0;
    *b = (vq_distil_batch){.kn = vq_kernels_get(), .s = s, .l = l, .max = max, .hash_size = 4};
    b->loss = opts->loss != NULL ? opts->loss : &vq_losses[0];
    b->temperature = opts->temperature;
    b->threads = vq_team((uint32_t)VQ_MAX(opts->threads, 1), max);
    for (size_t i = 0; i < l->nq; i++) own = VQ_MAX(own, l->first[i + 1] - l->first[i]);
    b->max_cands = own + (l->shared != NULL ? max : 0);
    b->max_pairs = VQ_MIN(b->max_cands, s->nlist);
    b->parts = s->additive ? tiles(s->m, BOOK_TILE) : 1;
    while (b->hash_size < 2 * max) b->hash_size *= 2;
    VQ_REQUIRE(max >= 1 && max <= l->nq && max <= 65536 && b->max_cands <= UINT32_MAX / max,
               VQ_EINVAL, "distillation: a batch of %zu queries of %zu", max, l->nq);
    VQ_TRY(allocate(b, opts->learn_map, err));
    if (l->coded != NULL) VQ_TRY(vq_distil_l2_init(b, err));
out:
    return rc;
}

static void pupil_fini(vq_pupil *p)
{
    vq_mem_free(p->rows);
    vq_mem_free(p->t);
    vq_mem_free(p->s);
    vq_mem_free(p->grad);
    vq_mem_free(p->scratch);
    vq_mem_free(p->pair);
    vq_mem_free(p->slot);
    vq_mem_free(p->dots);
    vq_mem_free(p->own);
}

void vq_distil_batch_fini(vq_distil_batch *b)
{
    vq_distil_l2_fini(b);
    if (b->mapped != b->queries) vq_mem_free(b->mapped);
    vq_mem_free(b->queries);
    vq_mem_free(b->tables);
    vq_mem_free(b->grads);
    vq_mem_free(b->common_rows);
    vq_mem_free(b->common_scores);
    vq_mem_free(b->common);
    vq_mem_free(b->hash);
    vq_mem_free(b->losses);
    vq_mem_free(b->npairs);
    vq_mem_free(b->pair_list);
    vq_mem_free(b->pair_grad);
    vq_mem_free(b->pair_order);
    vq_mem_free(b->list_first);
    vq_mem_free(b->part);
    for (int w = 0; b->pupils != NULL && w < b->threads; w++) pupil_fini(&b->pupils[w]);
    vq_mem_free(b->pupils);
}
