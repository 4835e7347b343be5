/* SPDX-License-Identifier: Apache-2.0 */
/* expr.h -- expressions that choose vectors by what they carry (vq_searcher_filter_text), parsed
 * into a row of steps for a stack machine.  Pure.
 *
 *   expr   = term { ("|" | "||" | "or") term }
 *   term   = factor { ("&" | "&&" | "and") factor }
 *   factor = ("!" | "not") factor | "(" expr ")" | "tag:" name | "time" op integer
 *   op     = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
 *   name   = characters but blanks and any of & | ! ( ) " -- or a text in quotes, in which \" is
 *            a quote and \\ a backslash
 */
#ifndef VQ_INDEX_EXPR_H
#define VQ_INDEX_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

enum { VQ_EXPR_DEPTH = 30 }; /* of parentheses and "!"; twice as many operands may wait, and two */

typedef enum vq_step_kind {
    VQ_STEP_TAG,
    VQ_STEP_TIME,
    VQ_STEP_NOT,
    VQ_STEP_AND,
    VQ_STEP_OR
} vq_step_kind;
typedef enum vq_compare { VQ_EQ, VQ_NE, VQ_LT, VQ_LE, VQ_GT, VQ_GE } vq_compare;

typedef struct vq_step {
    vq_step_kind kind;
    vq_compare compare; /* of times.. */
    int64_t time;       /* ..with this */
    size_t tag, len;    /* in text */
} vq_step;

struct vq_expr {
    vq_step *steps; /* in the order of a stack machine: operands before operators */
    size_t n;
    size_t stack; /* the most operands that wait at a time */
    char *text;   /* of the tags */
};
typedef struct vq_expr vq_expr;

/* VQ_EINVAL: the text says at which character, from 1, and what was expected there. */
vq_status vq_expr_parse(vq_expr **out, const char *text, vq_error *err);
void vq_expr_free(vq_expr *e); /* accepts NULL */
bool vq_expr_holds(vq_compare c, int64_t time, int64_t with);

#endif
