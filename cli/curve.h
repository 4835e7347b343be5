/* SPDX-License-Identifier: Apache-2.0 */
/* curve.h -- what tuning found, for people and as JSON: recall, and what it takes. */
#ifndef VQ_CLI_CURVE_H
#define VQ_CLI_CURVE_H

#include <stddef.h>

#include "cli/report.h"
#include "vq/vq.h"

typedef struct curve {
    vq_tune_point *points; /* n, owned */
    size_t n;              /* 0: not tuned */
} curve;

vq_status curve_read(curve *c, vq_index *ix, vq_error *err);
void curve_free(curve *c);
/* The points of k (of the k nearest to it that was measured), a line each. */
void curve_text(const curve *c, uint32_t k);
void curve_json(const curve *c, json *j); /* a member "tuned", an array */
/* Queries that the index at path was tuned with; 0: none, or whoever opens it next will tell. */
uint32_t curve_queries(const char *path);
/* Opens the index and prints the points of k = 10 under a line that says how long it took, and what
 * speaks for more queries; before: those of the curve that was there.  An exit code. */
int curve_tell(const char *path, double seconds, uint32_t before);

#endif
