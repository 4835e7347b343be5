/* SPDX-License-Identifier: Apache-2.0 */
/* groupfit.c -- groups of centroids, and how far a search among them must look; see groups.h. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/train/groups.h"
#include "src/train/kmeans.h"

enum { ROUNDS = 8, AT_ONCE = 16 /* queries of a task */ };
/* Of the best ones so many are within reach, as many within the gap, and as many within slack. */
#define FOUND 0.999

size_t vq_groups_count(size_t n)
{
    return n < VQ_GROUPS_MIN ? 0 : (size_t)lround(1.5 * sqrt((double)n));
}

/* ---- forming them ---------------------------------------------------------------------------- */

typedef struct form_job {
    const vq_kernels *k;
    const float *x, *centres, *bias; /* n x d, count x d, count */
    size_t n, d, count;
    float *dots; /* of each worker: VQ_ASSIGN_TILE x count */
    uint32_t *group;
} form_job;

static vq_status form_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    const form_job *j = ctx;
    size_t first = task * VQ_ASSIGN_TILE, n = VQ_MIN(j->n - first, (size_t)VQ_ASSIGN_TILE);
    vq_kmeans_assign(j->k, j->x + first * j->d, n, j->d, j->centres, j->bias, j->count,
                     j->dots + (size_t)worker * VQ_ASSIGN_TILE * j->count, j->group + first);
    return VQ_OK;
}

/* Rows of x (n x d) by rising group, in turn within one; at: count + 1, copy: n x d. */
static void sort_rows(float *x, size_t n, size_t d, const uint32_t *group, size_t *at, float *copy)
{
    memcpy(copy, x, n * d * sizeof *x);
    for (size_t i = 0; i < n; i++) memcpy(x + at[group[i]]++ * d, copy + i * d, d * sizeof *x);
}

vq_status vq_groups_form(float *centroids, size_t n, size_t d, uint64_t seed, int threads,
                         float *sizes, size_t *count, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t want = *count, tiles = (n + VQ_ASSIGN_TILE - 1) / VQ_ASSIGN_TILE, got = 0;
    form_job j = {.k = vq_kernels_get(), .x = centroids, .n = n, .d = d, .count = want};
    float *centres = vq_alloc_f32(want, d), *bias = vq_alloc_f32(1, want);
    float *copy = vq_alloc_f32(n, d);
    size_t *at = vq_mem_calloc(want + 1, sizeof *at);
    vq_kmeans_opts o = {.k = want, .iters = ROUNDS, .seed = seed, .threads = threads};
    threads = vq_team((uint32_t)threads, tiles);
    j.centres = centres, j.bias = bias;
    j.dots = vq_alloc_f32((size_t)threads * VQ_ASSIGN_TILE, want);
    j.group = vq_mem_alloc(n, sizeof *j.group);
    VQ_REQUIRE(centres != NULL && bias != NULL && copy != NULL && at != NULL && j.dots != NULL &&
                   j.group != NULL,
               VQ_ENOMEM, "groups: %zu centroids of %zu dimensions", n, d);
    VQ_TRY(vq_kmeans(centroids, n, d, &o, centres, NULL, err));
    vq_kmeans_bias(centres, want, d, bias);
    VQ_TRY(vq_team_run(threads, tiles, form_tile, &j, err));
    for (size_t i = 0; i < n; i++) at[j.group[i] + 1]++;
    for (size_t c = 0; c < want; c++) {
        if (at[c + 1] > 0) sizes[got++] = (float)at[c + 1];
        at[c + 1] += at[c];
    }
    sort_rows(centroids, n, d, j.group, at, copy);
    *count = got;
out:
    vq_mem_free(centres);
    vq_mem_free(bias);
    vq_mem_free(copy);
    vq_mem_free(at);
    vq_mem_free(j.dots);
    vq_mem_free(j.group);
    return rc;
}

/* ---- how far to look ------------------------------------------------------------------------- */

typedef struct rule_job {
    const vq_groups *g;
    const vq_kernels *k;
    const float *y; /* nq x d */
    size_t nq, best;
    const size_t *wants;
    size_t nwants;
    size_t at[VQ_GROUP_WANTS];  /* where the pairs of a want begin */
    float *reach, *gap, *slack; /* of each pair of a query and one of its best: what finds it */
    float *dots;                /* of each worker: AT_ONCE x n */
    float *scores;              /* of each worker: n */
    float *mean, *width, *near; /* of each worker: groups */
    char *scratch;
    size_t scratch_bytes;
} rule_job;

/* One query for one want: exact scores, and estimates, their `want`-th best. */
static void note(const rule_job *j, size_t query, size_t w, const float *exact, const float *est,
                 const vq_group_scores *of)
{
    const vq_groups *g = j->g;
    size_t n = g->of.n, want = VQ_MIN(j->wants[w], n), best = j->best > 0 ? j->best : want;
    size_t at = j->at[w] + query * best, end = at + best;
    float least = j->k->kth_f32(exact, n, VQ_MIN(best, n)), tau = j->k->kth_f32(est, n, want);
    float inv = of->unit > 0.0f ? 1.0f / of->unit : 0.0f;
    for (size_t c = 0; c < g->of.count; c++)
        for (size_t i = g->first[c]; i < g->first[c + 1] && at < end; i++) {
            if (!(exact[i] >= least)) continue;
            float width = of->width[c] > 0.0f ? 1.0f / of->width[c] : 0.0f;
            j->reach[at] = (tau - of->mean[c]) * width;
            j->gap[at] = (of->nearest - of->near[c]) * inv;
            j->slack[at++] = (tau - est[i]) * width;
        }
    for (; at < end; at++) j->reach[at] = j->gap[at] = j->slack[at] = 0.0f;
}

static vq_status rule_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    const rule_job *j = ctx;
    const vq_grouped *of = &j->g->of;
    size_t w = (size_t)worker, n = of->n, first = task * AT_ONCE;
    size_t queries = VQ_MIN(j->nq - first, (size_t)AT_ONCE);
    float *dots = j->dots + w * AT_ONCE * n, *est = j->scores + w * n;
    vq_group_scores groups = {.mean = j->mean + w * of->count,
                              .width = j->width + w * of->count,
                              .near = j->near + w * of->count};
    vq_gemm_nt(queries, n, of->d, 1.0f, j->y + first * of->d, of->d, of->centroids, of->d, 0.0f,
               dots, n);
    for (size_t q = 0; q < queries; q++) {
        float *exact = dots + q * n;
        for (size_t i = 0; of->biases != NULL && i < n; i++) exact[i] -= of->biases[i];
        vq_groups_estimate(j->g, j->k, j->y + (first + q) * of->d,
                           j->scratch + w * j->scratch_bytes, est, &groups);
        for (size_t i = 0; i < j->nwants; i++) note(j, first + q, i, exact, est, &groups);
    }
    return VQ_OK;
}

/* Of n numbers the one that all but the farthest few in a thousand do not exceed. */
static float quantile(const vq_kernels *k, const float *x, size_t n)
{
    size_t beyond = (size_t)((1.0 - FOUND) * (double)n);
    return n > 0 ? k->kth_f32(x, n, beyond + 1) : 0.0f;
}

/* What varies by less than floats can divide by asks for more than they hold: as far as there is.
 */
static float bounded(float x)
{
    return VQ_MIN(VQ_MAX(x, 0.0f), FLT_MAX);
}

static vq_status rule_init(rule_job *j, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t workers = (size_t)threads, n = j->g->of.n, count = j->g->of.count, pairs = 0;
    for (size_t w = 0; w < j->nwants; w++) {
        j->at[w] = pairs;
        pairs += j->nq * (j->best > 0 ? j->best : j->wants[w]);
    }
    j->scratch_bytes = vq_round_up(vq_groups_scratch(n, j->g->of.d, count), VQ_CACHELINE);
    j->reach = vq_alloc_f32(1, pairs);
    j->gap = vq_alloc_f32(1, pairs);
    j->slack = vq_alloc_f32(1, pairs);
    j->dots = vq_alloc_f32(workers * AT_ONCE, n);
    j->scores = vq_alloc_f32(workers, n);
    j->mean = vq_alloc_f32(workers, count);
    j->width = vq_alloc_f32(workers, count);
    j->near = vq_alloc_f32(workers, count);
    j->scratch = vq_mem_alloc(workers, j->scratch_bytes);
    VQ_REQUIRE(j->reach != NULL && j->gap != NULL && j->slack != NULL && j->dots != NULL &&
                   j->scores != NULL && j->mean != NULL && j->width != NULL && j->near != NULL &&
                   j->scratch != NULL,
               VQ_ENOMEM, "groups: %zu queries over %zu centroids", j->nq, n);
out:
    return rc;
}

vq_status vq_groups_rule_for(const vq_groups *g, const float *y, size_t nq, const size_t *wants,
                             size_t nwants, size_t best, int threads, vq_group_rule *rules,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t tasks = (nq + AT_ONCE - 1) / AT_ONCE;
    rule_job j = {.g = g,
                  .k = vq_kernels_get(),
                  .y = y,
                  .nq = nq,
                  .best = best,
                  .wants = wants,
                  .nwants = nwants};
    threads = vq_team((uint32_t)threads, tasks);
    VQ_TRY(rule_init(&j, threads, err));
    VQ_TRY(vq_team_run(threads, tasks, rule_task, &j, err));
    for (size_t w = 0; w < nwants; w++) {
        size_t pairs = nq * (best > 0 ? best : wants[w]);
        rules[w].reach = bounded(quantile(j.k, j.reach + j.at[w], pairs));
        rules[w].gap = bounded(quantile(j.k, j.gap + j.at[w], pairs));
        rules[w].slack = bounded(quantile(j.k, j.slack + j.at[w], pairs));
    }
out:
    vq_mem_free(j.reach);
    vq_mem_free(j.gap);
    vq_mem_free(j.slack);
    vq_mem_free(j.dots);
    vq_mem_free(j.scores);
    vq_mem_free(j.mean);
    vq_mem_free(j.width);
    vq_mem_free(j.near);
    vq_mem_free(j.scratch);
    return rc;
}
