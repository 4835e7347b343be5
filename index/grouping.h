/* SPDX-License-Identifier: Apache-2.0 */
/* grouping.h -- the groups in which the lists of a model lie where it has many
 * (src/train/groups.h): how they are stored, made by a build, and used. */
#ifndef VQ_INDEX_GROUPING_H
#define VQ_INDEX_GROUPING_H

#include "index/model.h"
#include "src/train/nearest.h"

/* Who wants more than one in so many of the lists looks at all: to find the last of many among
 * groups takes as long, or longer. */
enum { VQ_GROUPS_SHARE = 128, VQ_GROUPS_MOST = 512 /* that a rule was measured for */ };

/* The array `groups` (FORMAT.md 4.4): rules for the best 8, 32, 128 and 512 of a query, and for the
 * nearest of a vector, which is among the best 8; then the sizes. */
enum { VQ_GROUPS_RULES = VQ_GROUP_WANTS + 1, VQ_GROUPS_HEAD = 3 * VQ_GROUPS_RULES };
extern const size_t vq_groups_wants[VQ_GROUP_WANTS];
static inline vq_group_rule vq_model_rule(const vq_model *m, size_t i)
{
    const float *r = m->groups + 3 * i;
    return (vq_group_rule){.reach = r[0], .gap = r[1], .slack = r[2]};
}
/* What a search for the best nprobe asks for, and how far it looks: as for the next numbers below
 * and above that were measured. */
static inline size_t vq_model_want(const vq_model *m, uint32_t nprobe, vq_group_rule *rule)
{
    size_t i = 0;
    while (i + 1 < VQ_GROUP_WANTS && vq_groups_wants[i] < nprobe) i++;
    vq_group_rule above = vq_model_rule(m, i), below = vq_model_rule(m, i > 0 ? i - 1 : 0);
    bool between = vq_groups_wants[i] > nprobe;
    *rule = above;
    if (between && below.reach > above.reach) rule->reach = below.reach;
    if (between && below.gap > above.gap) rule->gap = below.gap;
    if (between && below.slack > above.slack) rule->slack = below.slack;
    return nprobe > vq_groups_wants[0] ? nprobe : vq_groups_wants[0];
}
/* Whether the array says what the format allows.  VQ_ECORRUPT. */
vq_status vq_grouping_check(const vq_model *m, vq_error *err);

/* Searches among the lists, by the model's biases: m has groups, and outlives g. */
vq_status vq_grouping_open(vq_groups *g, const vq_model *m, vq_error *err);
/* The nearest lists of vectors, by groups if there are any and they are wanted. */
vq_status vq_grouping_nearest(vq_nearest *s, const vq_model *m, bool groups, vq_error *err);
/* What it costs to compare rows with all lists, in units of one row among many; second: second
 * lists are looked for, too.  Groups cost VQ_GROUPS_COST to make, whatever the lists and
 * dimensions, which both are in proportion to, and next to nothing to use. */
enum { VQ_GROUPS_COST = 192 };
uint64_t vq_grouping_flat_cost(size_t rows, bool second);

/* Brings the lists' centroids (the builder's, m->nlist x m->d_code) into groups and their order,
 * where there are so many of them; *groups, then owned by the caller, becomes the array of m. */
vq_status vq_grouping_form(vq_model *m, float *centroids, float **groups, int threads,
                           vq_error *err);
/* Measures the rules on some of n vectors (n x d_code, in the coded space) and of nq queries there
 * (0: vectors serve).  m->biases may be missing: then the rule of queries is left as it is. */
vq_status vq_grouping_measure(const vq_model *m, float *groups, const float *rows, size_t n,
                              const float *queries, size_t nq, int threads, vq_error *err);

#endif
