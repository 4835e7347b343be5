/* SPDX-License-Identifier: Apache-2.0 */
/* expr.c -- see expr.h.  Recursive descent, no deeper than VQ_EXPR_DEPTH. */
#include "index/expr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

typedef struct parser {
    const char *text, *at;
    vq_expr *e;
    size_t room;    /* of steps */
    size_t used;    /* of e->text */
    size_t waiting; /* operands on the stack */
    unsigned depth;
    vq_error *err;
} parser;

static void skip_blanks(parser *p)
{
    p->at += strspn(p->at, " \t\r\n");
}

static vq_status expected(const parser *p, const char *what)
{
    size_t at = (size_t)(p->at - p->text) + 1;
    if (*p->at == '\0')
        return vq_fail(p->err, VQ_EINVAL, "filter: at %zu, the end: expected %s", at, what);
    return vq_fail(p->err, VQ_EINVAL, "filter: at %zu, \"%.20s\": expected %s", at, p->at, what);
}

static vq_status add(parser *p, vq_step step)
{
    vq_expr *e = p->e;
    vq_step *grown = vq_mem_reserve(e->steps, e->n, e->n + 1, &p->room, sizeof *grown);
    if (grown == NULL) return vq_fail(p->err, VQ_ENOMEM, "filter: %zu steps", e->n);
    e->steps = grown;
    e->steps[e->n++] = step;
    if (step.kind <= VQ_STEP_TIME) p->waiting++;
    if (step.kind >= VQ_STEP_AND) p->waiting--;
    e->stack = VQ_MAX(e->stack, p->waiting);
    return VQ_OK;
}

/* Takes a word if it stands here as a whole. */
static bool take_word(parser *p, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(p->at, word, len) != 0) return false;
    char next = p->at[len];
    if (next != '\0' && strchr(" \t\r\n()!&|<>=\"", next) == NULL) return false;
    p->at += len;
    return true;
}

static bool take_operator(parser *p, char sign, const char *word)
{
    skip_blanks(p);
    if (*p->at != sign) return take_word(p, word);
    p->at += p->at[1] == sign ? 2 : 1;
    return true;
}

static vq_status take_name(parser *p)
{
    char *to = p->e->text + p->used;
    size_t len = 0;
    vq_step step = {.kind = VQ_STEP_TAG, .tag = p->used};
    if (*p->at == '"') {
        for (p->at++; *p->at != '"'; p->at++) {
            if (*p->at == '\\' && (p->at[1] == '"' || p->at[1] == '\\')) p->at++;
            if (*p->at == '\0') return expected(p, "a quote that ends the name of the tag");
            to[len++] = *p->at;
        }
        p->at++;
    } else {
        len = strcspn(p->at, " \t\r\n()!&|\"");
        memcpy(to, p->at, len);
        p->at += len;
    }
    if (len == 0) return expected(p, "the name of a tag");
    step.len = len;
    p->used += len;
    return add(p, step);
}

static vq_status take_time(parser *p)
{
    static const struct {
        const char *sign;
        vq_compare compare;
    } signs[] = {{"==", VQ_EQ}, {"=", VQ_EQ},  {"!=", VQ_NE}, {"<=", VQ_LE},
                 {"<", VQ_LT},  {">=", VQ_GE}, {">", VQ_GT}};
    size_t i = 0;
    char *end;
    skip_blanks(p);
    while (i < VQ_COUNT(signs) && strncmp(p->at, signs[i].sign, strlen(signs[i].sign)) != 0) i++;
    if (i == VQ_COUNT(signs)) return expected(p, "one of = != < <= > >=");
    p->at += strlen(signs[i].sign);
    skip_blanks(p);
    if (strchr("-0123456789", *p->at) == NULL || *p->at == '\0')
        return expected(p, "a whole number");
    errno = 0;
    long long time = strtoll(p->at, &end, 10);
    if (errno != 0 || end == p->at || (end[-1] < '0' || end[-1] > '9'))
        return expected(p, "a whole number that fits 64 bits");
    if (*end != '\0' && strchr(" \t\r\n)&|", *end) == NULL) {
        p->at = end;
        return expected(p, "a blank, &, | or ) behind the number");
    }
    p->at = end;
    return add(p, (vq_step){.kind = VQ_STEP_TIME, .compare = signs[i].compare, .time = time});
}

static vq_status take_expr(parser *p);

static vq_status take_factor(parser *p)
{
    vq_status rc = VQ_OK;
    skip_blanks(p);
    vq_error *err = p->err;
    VQ_REQUIRE(p->depth < VQ_EXPR_DEPTH, VQ_EINVAL, "filter: at %zu: nested deeper than %d",
               (size_t)(p->at - p->text) + 1, VQ_EXPR_DEPTH);
    p->depth++;
    if (*p->at == '!' || take_word(p, "not")) {
        p->at += *p->at == '!';
        VQ_TRY(take_factor(p));
        VQ_TRY(add(p, (vq_step){.kind = VQ_STEP_NOT}));
    } else if (*p->at == '(') {
        p->at++;
        VQ_TRY(take_expr(p));
        skip_blanks(p);
        if (*p->at != ')') {
            rc = expected(p, "&, | or )");
            goto out;
        }
        p->at++;
    } else if (strncmp(p->at, "tag:", 4) == 0) {
        p->at += 4;
        VQ_TRY(take_name(p));
    } else if (take_word(p, "time")) {
        VQ_TRY(take_time(p));
    } else {
        VQ_TRY(expected(p, "tag:NAME, time, ! or ("));
    }
    p->depth--;
out:
    return rc;
}

static vq_status take_term(parser *p)
{
    vq_status rc = VQ_OK;
    VQ_TRY(take_factor(p));
    while (take_operator(p, '&', "and")) {
        VQ_TRY(take_factor(p));
        VQ_TRY(add(p, (vq_step){.kind = VQ_STEP_AND}));
    }
out:
    return rc;
}

static vq_status take_expr(parser *p)
{
    vq_status rc = VQ_OK;
    VQ_TRY(take_term(p));
    while (take_operator(p, '|', "or")) {
        VQ_TRY(take_term(p));
        VQ_TRY(add(p, (vq_step){.kind = VQ_STEP_OR}));
    }
out:
    return rc;
}

vq_status vq_expr_parse(vq_expr **out, const char *text, vq_error *err)
{
    vq_status rc = VQ_OK;
    parser p = {.text = text, .at = text, .err = err};
    *out = NULL;
    p.e = vq_mem_calloc(1, sizeof *p.e);
    VQ_REQUIRE(p.e != NULL, VQ_ENOMEM, "filter: out of memory");
    p.e->text = vq_mem_alloc(strlen(text) + 1, 1);
    VQ_REQUIRE(p.e->text != NULL, VQ_ENOMEM, "filter: out of memory");
    VQ_TRY(take_expr(&p));
    skip_blanks(&p);
    if (*p.at != '\0') {
        rc = expected(&p, "& or |");
        goto out;
    }
    *out = p.e;
    p.e = NULL;
out:
    vq_expr_free(p.e);
    return rc;
}

void vq_expr_free(vq_expr *e)
{
    if (e == NULL) return;
    vq_mem_free(e->steps);
    vq_mem_free(e->text);
    vq_mem_free(e);
}

bool vq_expr_holds(vq_compare c, int64_t time, int64_t with)
{
    switch (c) {
    case VQ_EQ: return time == with;
    case VQ_NE: return time != with;
    case VQ_LT: return time < with;
    case VQ_LE: return time <= with;
    case VQ_GT: return time > with;
    case VQ_GE: return time >= with;
    }
    return false;
}
