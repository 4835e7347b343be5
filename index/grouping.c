/* SPDX-License-Identifier: Apache-2.0 */
/* grouping.c -- see grouping.h. */
#include "index/grouping.h"

#include <inttypes.h>
#include <string.h>

#include "src/train/draw.h"

const size_t vq_groups_wants[VQ_GROUP_WANTS] = {8, 32, 128, 512};

enum { ASKED = 512 /* vectors or queries that the rules are measured with */ };
#define MOVED 0.2f /* by .3 of a standard deviation */

vq_status vq_grouping_check(const vq_model *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    double sum = 0.0;
    for (size_t i = 0; i < VQ_GROUPS_HEAD; i++)
        VQ_REQUIRE(m->groups[i] >= 0.0f && isfinite(m->groups[i]), VQ_ECORRUPT,
                   "model: groups: number %zu is %g", i, (double)m->groups[i]);
    for (uint64_t g = 0; g < m->ngroups; g++) {
        float size = m->groups[VQ_GROUPS_HEAD + g];
        VQ_REQUIRE(size >= 1.0f && size <= (float)m->nlist && size == floorf(size), VQ_ECORRUPT,
                   "model: groups: one of %g lists", (double)size);
        sum += (double)size;
    }
    VQ_REQUIRE(sum == (double)m->nlist, VQ_ECORRUPT, "model: groups of %.0f lists, expected %u",
               sum, m->nlist);
out:
    return rc;
}

vq_status vq_grouping_open(vq_groups *g, const vq_model *m, vq_error *err)
{
    bool l2 = m->metric == VQ_METRIC_L2;
    vq_grouped of = {.centroids = vq_model_routes(m),
                     .biases = l2 ? m->biases : NULL,
                     .sizes = m->groups + VQ_GROUPS_HEAD,
                     .n = m->nlist,
                     .d = m->d_code,
                     .count = (size_t)m->ngroups,
                     .l2 = l2};
    return vq_groups_make(g, &of, vq_kernels_get(), err);
}

/* Measured for 8,300 to 65,536 lists of 64 to 256 dimensions: whoever comes brings all centroids
 * through the caches; a second list takes twice the time of the first. */
uint64_t vq_grouping_flat_cost(size_t rows, bool second)
{
    return 16 + (uint64_t)rows * (second ? 3 : 1);
}

vq_status vq_grouping_nearest(vq_nearest *s, const vq_model *m, bool groups, vq_error *err)
{
    bool any = groups && m->ngroups > 0;
    return vq_nearest_init(s, m->centroids, m->nlist, m->d_code,
                           any ? m->groups + VQ_GROUPS_HEAD : NULL, any ? (size_t)m->ngroups : 0,
                           any ? vq_model_rule(m, VQ_GROUP_WANTS) : (vq_group_rule){0}, err);
}

vq_status vq_grouping_form(vq_model *m, float *centroids, float **groups, int threads,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t count = vq_groups_count(m->nlist);
    if (count == 0) goto out;
    float *array = *groups = vq_alloc_f32(1, VQ_GROUPS_HEAD + count);
    VQ_REQUIRE(array != NULL, VQ_ENOMEM, "groups: %zu of them", count);
    memset(array, 0, VQ_GROUPS_HEAD * sizeof *array);
    VQ_TRY(vq_groups_form(centroids, m->nlist, m->d_code, m->seed, threads, array + VQ_GROUPS_HEAD,
                          &count, err));
    m->groups = array;
    m->ngroups = count;
out:
    return rc;
}

/* Some of n vectors, evenly spaced; the caller frees them. */
static float *some_of(const float *x, size_t n, size_t d, size_t want)
{
    float *some = vq_alloc_f32(want, d);
    for (size_t i = 0; some != NULL && i < want; i++)
        memcpy(some + i * d, x + vq_spaced_row(n, want, i) * d, d * sizeof *some);
    return some;
}

/* The same, each moved by a part of the difference of two others: lists know the vectors that they
 * were learnt from too well. */
static float *some_like(const float *x, size_t n, size_t d, size_t want)
{
    float *some = some_of(x, n, d, want);
    for (size_t i = 0; some != NULL && i < want; i++) {
        const float *a = x + vq_spaced_row(n, want, (i + want / 3) % want) * d;
        const float *b = x + vq_spaced_row(n, want, (i + 2 * want / 3) % want) * d;
        for (size_t j = 0; j < d; j++) some[i * d + j] += MOVED * (a[j] - b[j]);
    }
    return some;
}

static void put_rule(float *groups, size_t i, const vq_group_rule *rules)
{
    groups[3 * i] = rules[i].reach;
    groups[3 * i + 1] = rules[i].gap;
    groups[3 * i + 2] = rules[i].slack;
}

vq_status vq_grouping_measure(const vq_model *m, float *groups, const float *rows, size_t n,
                              const float *queries, size_t nq, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d_code, some = VQ_MIN(n, (size_t)ASKED), asked;
    vq_nearest near = {0};
    vq_groups g = {0};
    vq_group_rule rules[VQ_GROUPS_RULES];
    float *x = some_like(rows, n, d, some), *q = NULL;
    VQ_REQUIRE(x != NULL, VQ_ENOMEM, "groups: %zu x %zu floats", some, d);
    VQ_TRY(vq_grouping_nearest(&near, m, true, err));
    VQ_TRY(vq_groups_rule_for(&near.groups, x, some, vq_groups_wants, 1, VQ_NEAREST_SURE, threads,
                              &rules[VQ_GROUP_WANTS], err));
    put_rule(groups, VQ_GROUP_WANTS, rules);
    if (m->biases == NULL) goto out;
    asked = nq > 0 ? VQ_MIN(nq, (size_t)ASKED) : some;
    q = nq > 0 ? some_of(queries, nq, d, asked) : NULL;
    VQ_REQUIRE(q != NULL || nq == 0, VQ_ENOMEM, "groups: %zu x %zu floats", asked, d);
    VQ_TRY(vq_grouping_open(&g, m, err));
    VQ_TRY(vq_groups_rule_for(&g, q != NULL ? q : x, asked, vq_groups_wants, VQ_GROUP_WANTS, 0,
                              threads, rules, err));
    for (size_t i = 0; i < VQ_GROUP_WANTS; i++) put_rule(groups, i, rules);
out:
    vq_nearest_fini(&near);
    vq_groups_free(&g);
    vq_mem_free(x);
    vq_mem_free(q);
    return rc;
}
