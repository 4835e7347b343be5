/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.c -- see nearest.h. */
#include "src/train/nearest.h"

#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/train/kmeans.h"
#include "src/train/spill.h"

enum { SECOND = 64 /* the nearest by the codes, among which the second list is */ };

vq_status vq_nearest_init(vq_nearest *s, const float *centroids, size_t n, size_t d,
                          const float *sizes, size_t count, vq_group_rule rule, vq_error *err)
{
    vq_status rc = VQ_OK;
    *s = (vq_nearest){.k = vq_kernels_get(), .centroids = centroids, .n = n, .d = d, .rule = rule};
    s->bias = vq_alloc_f32(1, n);
    VQ_REQUIRE(s->bias != NULL, VQ_ENOMEM, "assignment: %zu lists", n);
    vq_kmeans_bias(centroids, n, d, s->bias);
    if (count == 0) goto out;
    s->half = vq_alloc_f32(1, n);
    s->memory = vq_mem_alloc(vq_bytemat_size(n, d), 1);
    VQ_REQUIRE(s->half != NULL && s->memory != NULL, VQ_ENOMEM, "assignment: %zu lists", n);
    for (size_t i = 0; i < n; i++) s->half[i] = -s->bias[i];
    vq_bytemat_make(&s->bytes, s->k, centroids, n, d, s->memory);
    vq_grouped of = {.centroids = centroids,
                     .biases = s->half,
                     .sizes = sizes,
                     .n = n,
                     .d = d,
                     .count = count,
                     .l2 = true};
    VQ_TRY(vq_groups_make(&s->groups, &of, s->k, err));
out:
    if (rc != VQ_OK) vq_nearest_fini(s);
    return rc;
}

void vq_nearest_fini(vq_nearest *s)
{
    vq_mem_free(s->bias);
    vq_mem_free(s->half);
    vq_groups_free(&s->groups);
    vq_mem_free(s->memory);
    memset(s, 0, sizeof *s);
}

void vq_nearest_move(vq_nearest *s, const float *centroids)
{
    s->centroids = s->groups.of.centroids = centroids;
}

typedef struct rooms { /* of scratch, in floats */
    size_t search, rows, scores, fixed, some, residual, all;
} rooms;

static size_t take(size_t *all, size_t bytes)
{
    size_t at = *all;
    *all += vq_round_up(bytes, VQ_CACHELINE) / sizeof(float);
    return at;
}

static rooms rooms_of(const vq_nearest *s)
{
    rooms r = {0};
    r.search = take(&r.all, vq_groups_scratch(s->n, s->d, s->groups.of.count));
    r.rows = take(&r.all, s->n * sizeof(uint32_t));
    r.scores = take(&r.all, s->n * sizeof(float));
    r.fixed = take(&r.all, s->d * sizeof(int16_t));
    r.some = take(&r.all, vq_bytemat_some_size(s->d));
    r.residual = take(&r.all, s->d * sizeof(float));
    return r;
}

size_t vq_nearest_scratch(const vq_nearest *s)
{
    size_t flat = VQ_MAX(vq_kmeans_scratch(s->n), vq_spill_scratch(s->d, s->n));
    return s->memory != NULL ? rooms_of(s).all : flat;
}

/* The best by products of bytes and half the squared length; where these leave it open, in floats.
 */
static uint32_t nearest_of(const vq_nearest *s, const float *x, const uint32_t *rows, size_t n,
                           float *scratch)
{
    rooms r = rooms_of(s);
    float *scores = scratch + r.scores, best = -INFINITY;
    vq_fixed fixed = {.x = (int16_t *)(void *)(scratch + r.fixed)};
    uint32_t at = 0;
    vq_fixed_set(&fixed, s->k, x, s->d);
    vq_bytemat_some(&s->bytes, s->k, &fixed, rows, n, scratch + r.some, scores);
    float spread = 4.0f * sqrtf(s->k->dot_f32(x, x, s->d) / 12.0f), floor = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        float step = s->bytes.step[rows[i]];
        scores[i] -= s->half[rows[i]];
        floor = fmaxf(floor, scores[i] - spread * step);
    }
    for (size_t i = 0; i < n; i++) {
        if (scores[i] + spread * s->bytes.step[rows[i]] < floor) continue;
        float score = s->k->dot_f32(x, s->centroids + (size_t)rows[i] * s->d, s->d);
        score -= s->half[rows[i]];
        if (score < best || (score == best && rows[i] > at)) continue;
        best = score;
        at = rows[i];
    }
    return at;
}

void vq_nearest_assign(const vq_nearest *s, const float *x, size_t n, float *scratch,
                       uint32_t *assign)
{
    if (s->memory == NULL) {
        vq_kmeans_assign(s->k, x, n, s->d, s->centroids, s->bias, s->n, scratch, assign);
        return;
    }
    rooms r = rooms_of(s);
    uint32_t *rows = (uint32_t *)(void *)(scratch + r.rows);
    for (size_t i = 0; i < n; i++, x += s->d) {
        size_t found =
            vq_groups_find(&s->groups, s->k, s->rule, x, VQ_MIN((size_t)VQ_NEAREST_WANT, s->n),
                           scratch + r.search, rows);
        assign[i] = nearest_of(s, x, rows, found, scratch);
    }
}

/* What a row's second list costs, see spill.h. */
static uint32_t second_of(const vq_nearest *s, const float *x, uint32_t own, const uint32_t *rows,
                          size_t n, float *residual)
{
    size_t d = s->d;
    const float *c = s->centroids + (size_t)own * d;
    uint32_t second = VQ_NO_LIST;
    for (size_t j = 0; j < d; j++) residual[j] = x[j] - c[j];
    float sq = s->k->dot_f32(residual, residual, d), best = 2.0f * sq;
    float inv = sq > 0.0f ? 1.0f / sq : 0.0f, along_x = s->k->dot_f32(x, residual, d);
    for (size_t i = 0; i < n; i++) {
        const float *other = s->centroids + (size_t)rows[i] * d;
        if (rows[i] == own) continue;
        float length = s->k->l2sq_f32(x, other, d);
        if (length >= best) continue;
        float along = along_x - s->k->dot_f32(residual, other, d);
        float cost = length + along * along * inv;
        if (cost > best || (cost == best && rows[i] > second) || cost >= 2.0f * sq) continue;
        best = cost;
        second = rows[i];
    }
    return second;
}

void vq_nearest_second(const vq_nearest *s, const float *x, size_t n, const uint32_t *assign,
                       float *scratch, uint32_t *second)
{
    if (s->memory == NULL) {
        vq_spill_assign(x, n, s->d, s->centroids, s->bias, s->n, assign, scratch, second);
        return;
    }
    rooms r = rooms_of(s);
    uint32_t *rows = (uint32_t *)(void *)(scratch + r.rows);
    for (size_t i = 0; i < n; i++, x += s->d) {
        size_t found = vq_groups_find(&s->groups, s->k, s->rule, x, VQ_MIN((size_t)SECOND, s->n),
                                      scratch + r.search, rows);
        second[i] = second_of(s, x, assign[i], rows, found, scratch + r.residual);
    }
}
