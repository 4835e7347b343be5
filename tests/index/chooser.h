/* SPDX-License-Identifier: Apache-2.0 */
/* chooser.h -- random filter expressions, as text and as what they say of a vector. */
#ifndef VQ_TESTS_INDEX_CHOOSER_H
#define VQ_TESTS_INDEX_CHOOSER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/rng.h"
#include "vq/vq.h"

enum { CHOOSER_TAGS = 6, CHOOSER_NODES = 64, CHOOSER_TEXT = 4096 };
/* The last one is on no vector. */
static const char *const chooser_tags[CHOOSER_TAGS] = {
    "en", "draft", "a\"b\\c", "\xc3\xa9t\xc3\xa9", "with blank", "none"};

typedef struct chooser_node {
    char kind; /* 't'ag, 'm'oment, '!', '&', '|' */
    uint32_t tag, compare, left, right;
    int64_t time;
} chooser_node;

typedef struct chooser {
    chooser_node nodes[CHOOSER_NODES];
    uint32_t n;
    char text[CHOOSER_TEXT];
} chooser;

static inline void chooser_say(chooser *c, const char *text)
{
    (void)strncat(c->text, text, CHOOSER_TEXT - strlen(c->text) - 1);
}

static inline void chooser_quote(chooser *c, const char *tag)
{
    char out[64], *to = out;
    *to++ = '"';
    for (; *tag != 0; tag++) {
        if (*tag == '"' || *tag == '\\') *to++ = '\\';
        *to++ = *tag;
    }
    *to++ = '"';
    *to = 0;
    chooser_say(c, out);
}

static const char *const chooser_signs[] = {"=", "==", "!=", "<", "<=", ">", ">="};

static inline void chooser_leaf(chooser *c, chooser_node *x, vq_rng *r)
{
    char number[32];
    if (vq_rng_below(r, 2) == 0) {
        x->kind = 't';
        x->tag = (uint32_t)vq_rng_below(r, CHOOSER_TAGS);
        chooser_say(c, "tag:");
        if (x->tag < 2 && vq_rng_below(r, 2) == 0)
            chooser_say(c, chooser_tags[x->tag]);
        else
            chooser_quote(c, chooser_tags[x->tag]);
        return;
    }
    x->kind = 'm';
    x->compare = (uint32_t)vq_rng_below(r, 7);
    x->time = (int64_t)vq_rng_below(r, 21) - 10;
    (void)snprintf(number, sizeof number, "%lld", (long long)x->time);
    chooser_say(c, "time");
    chooser_say(c, vq_rng_below(r, 2) == 0 ? " " : "");
    chooser_say(c, chooser_signs[x->compare]);
    chooser_say(c, vq_rng_below(r, 2) == 0 ? "  " : "");
    chooser_say(c, number);
}

/* level 0: an expression, 1: a term, 2: a factor; parentheses only where they are needed, or by
 * chance. */
static inline uint32_t chooser_grow(chooser *c, vq_rng *r, int level, int depth)
{
    static const char *const ands[] = {"&", " && ", " and "}, *const ors[] = {"|", " || ", " or "};
    uint32_t at = c->n++;
    chooser_node *x = &c->nodes[at];
    uint64_t what = depth > 0 && c->n < CHOOSER_NODES - 4 ? vq_rng_below(r, 5) : 0;
    char kind = "ll!&|"[what];
    int own = kind == '|' ? 0 : kind == '&' ? 1 : 2;
    bool nested = own < level || vq_rng_below(r, 6) == 0;
    if (nested) chooser_say(c, "( ");
    if (kind == 'l') {
        chooser_leaf(c, x, r);
    } else if (kind == '!') {
        x->kind = '!';
        chooser_say(c, vq_rng_below(r, 2) == 0 ? "!" : " not ");
        x->left = chooser_grow(c, r, 2, depth - 1);
    } else { /* the left one may be of the same kind: they are taken from the left */
        x->kind = kind;
        x->left = chooser_grow(c, r, own, depth - 1);
        chooser_say(c, (kind == '&' ? ands : ors)[vq_rng_below(r, 3)]);
        x->right = chooser_grow(c, r, own + 1, depth - 1);
    }
    if (nested) chooser_say(c, ")");
    return at;
}

static inline void chooser_draw(chooser *c, vq_rng *r)
{
    memset(c, 0, sizeof *c);
    (void)chooser_grow(c, r, 0, 4);
}

/* tags: bit i is chooser_tags[i]. */
static inline bool chooser_holds(const chooser *c, uint32_t node, uint32_t tags, int64_t time)
{
    const chooser_node *x = &c->nodes[node];
    switch (x->kind) {
    case 't': return (tags >> x->tag & 1) != 0;
    case '!': return !chooser_holds(c, x->left, tags, time);
    case '&':
        return chooser_holds(c, x->left, tags, time) && chooser_holds(c, x->right, tags, time);
    case '|':
        return chooser_holds(c, x->left, tags, time) || chooser_holds(c, x->right, tags, time);
    default: break;
    }
    if (time == VQ_NO_TIME) return false;
    switch (x->compare) {
    case 0:
    case 1: return time == x->time;
    case 2: return time != x->time;
    case 3: return time < x->time;
    case 4: return time <= x->time;
    case 5: return time > x->time;
    default: return time >= x->time;
    }
}

#endif
