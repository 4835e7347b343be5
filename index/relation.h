/* SPDX-License-Identifier: Apache-2.0 */
/* relation.h -- how much effort a wanted recall takes: what tuning measured, as it is stored, and
 * the two rules that a search follows.
 *
 * Lists are scanned from the nearest on.  What the next one is expected to hold of the k best falls
 * with the gap between its score and the k-th best estimate so far, with its drop below the first
 * list's score, and with its rank; the search goes on while that is worth a list's price.
 * Candidates are then taken by estimate as long as each is expected to be worth a row's price.  One
 * price rules both, and recall decides the price.
 */
#ifndef VQ_INDEX_RELATION_H
#define VQ_INDEX_RELATION_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

enum {
    VQ_TUNE_COLS = 18,
    VQ_TUNE_OLD_COLS = 16, /* without what drops count */
    VQ_TUNE_ROWS_MAX = 256,
};

/* Goes on while a + b gap + c gap^2 + d lb(rank) + e drop >= 0, where gap is not below `turn`: from
 * there on nothing rises with the gap.  c, d, e <= 0. */
typedef struct vq_rule {
    float a, b, c, d, e, turn;
} vq_rule;

/* A setting: a row of the array `tune2` (FORMAT.md 4.2). */
typedef struct vq_setting {
    float k, recall;
    vq_rule lists, rows;
    float mean_lists, mean_vectors, mean_rows; /* of a tuning query */
    float depth, nprobe;                       /* the most candidates, and lists, of one */
    float queries;                             /* that it was measured on */
} vq_setting;

/* The logarithm to base 2 by straight lines between powers of two: no library decides its bits. */
static inline float vq_lb(uint32_t x)
{
    unsigned e = 31u - (unsigned)__builtin_clz(x | 1u);
    return (float)e + (float)(x - (1u << e)) / (float)(1u << e);
}

static inline bool vq_rule_on(const vq_rule *r, float gap, float lb_rank, float drop)
{
    float g = gap > r->turn ? gap : r->turn;
    return r->a + (r->b + r->c * g) * g + r->d * lb_rank + r->e * drop >= 0.0f;
}

/* The rule with the turn where the parabola has its top. */
vq_rule vq_rule_of(const float abcde[5]);
/* The largest gap that it goes on with at a rank, where the first has the gap `ahead`; -INFINITY:
 * none, INFINITY: every. */
float vq_rule_gap(const vq_rule *r, float lb_rank, float ahead);

/* Settings as they lie in an index: by rising k, and by rising recall within it. */
typedef struct vq_relation {
    const float *rows; /* n x cols; NULL: there are none */
    size_t n, cols;    /* cols: VQ_TUNE_COLS or VQ_TUNE_OLD_COLS */
} vq_relation;

/* A setting as a row of VQ_TUNE_COLS floats, and one that lies there. */
void vq_setting_put(const vq_setting *s, float *row);
vq_setting vq_relation_setting(const vq_relation *r, size_t i);

#define VQ_TUNE_KEY     "tune2"    /* of the array in `model` */
#define VQ_TUNE_OLD_KEY "tune"     /* of that with VQ_TUNE_OLD_COLS, in files of older versions */
#define VQ_TUNED_AT_KEY "tuned_at" /* of the field in `meta` */

/* The rows of such an array (layout.h) of `cols` columns, checked but for its checksum.
 * VQ_ECORRUPT. */
vq_status vq_relation_parse(const uint8_t *value, size_t len, size_t cols, vq_relation *r,
                            vq_error *err);
/* Are these rows a relation?  VQ_ECORRUPT tells what FORMAT.md does not allow. */
vq_status vq_relation_check(const vq_relation *r, vq_error *err);
/* The setting for k answers at a recall within (0, 1), between the nearest that were measured; the
 * best one for a recall beyond all.  n >= 1. */
vq_setting vq_relation_at(const vq_relation *r, uint32_t k, float recall);

#endif
