/* SPDX-License-Identifier: Apache-2.0 */
#include "index/expr.h"

#include "tests/index/chooser.h"
#include "tests/index/fixture.h"

/* What the steps say of a vector, on a stack of our own. */
static bool says(const vq_expr *e, uint32_t tags, int64_t time)
{
    bool stack[2 * VQ_EXPR_DEPTH + 2];
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++) {
        const vq_step *s = &e->steps[i];
        bool x = false;
        switch (s->kind) {
        case VQ_STEP_TAG:
            for (uint32_t t = 0; t < CHOOSER_TAGS; t++)
                if (strlen(chooser_tags[t]) == s->len &&
                    memcmp(chooser_tags[t], e->text + s->tag, s->len) == 0)
                    x = (tags >> t & 1) != 0;
            stack[n++] = x;
            break;
        case VQ_STEP_TIME:
            stack[n++] = time != VQ_NO_TIME && vq_expr_holds(s->compare, time, s->time);
            break;
        case VQ_STEP_NOT: stack[n - 1] = !stack[n - 1]; break;
        case VQ_STEP_AND: n--, stack[n - 1] = stack[n - 1] && stack[n]; break;
        case VQ_STEP_OR: n--, stack[n - 1] = stack[n - 1] || stack[n]; break;
        }
        cr_assert(n >= 1 && n <= e->stack && e->stack <= VQ_COUNT(stack));
    }
    cr_assert_eq(n, 1);
    return stack[0];
}

static bool says_text(const char *text, uint32_t tags, int64_t time)
{
    vq_expr *e;
    OK(vq_expr_parse(&e, text, &err));
    bool x = says(e, tags, time);
    vq_expr_free(e);
    return x;
}

/* Bit 0: en, bit 1: draft. */
Test(expr, precedence)
{
    static const struct {
        const char *text, *same;
    } pairs[] = {
        {"tag:en | tag:draft & time>3", "tag:en | (tag:draft & (time>3))"},
        {"tag:en & tag:draft | time>3", "(tag:en & tag:draft) | time > 3"},
        {"!tag:en & tag:draft", "(!(tag:en)) & tag:draft"},
        {"!tag:en | tag:draft", "(not tag:en) or tag:draft"},
        {"!!tag:en", "tag:en"},
        {"not not tag:en and time != -1", "tag:en&&time!=-1"},
        {"!(tag:en | tag:draft)", "!tag:en & !tag:draft"},
        {" ( ( tag:en ) ) ", "tag:\"en\""},
        {"tag:en\t||\ntag:draft", "tag:draft|tag:en"},
        {"time==0", "time=0"},
        {"time <= 3 & time >= 3", "time = 3"},
        {"time < 3 | time > 3", "time != 3"},
    };
    for (size_t i = 0; i < VQ_COUNT(pairs); i++)
        for (uint32_t tags = 0; tags < 4; tags++)
            for (int64_t time = -2; time < 6; time++) {
                int64_t t = time == 5 ? VQ_NO_TIME : time;
                cr_assert_eq(says_text(pairs[i].text, tags, t), says_text(pairs[i].same, tags, t),
                             "%s: tags %u, time %d", pairs[i].text, tags, (int)time);
            }
    cr_assert(says_text("tag:en | tag:draft & time>3", 1, 0));
    cr_assert(!says_text("(tag:en | tag:draft) & time>3", 1, 0));
    cr_assert(says_text("!tag:en | tag:en", 1, 0) && !says_text("!(tag:en | tag:en)", 1, 0));
}

Test(expr, numbers_and_names)
{
    cr_assert(says_text("time>=-9223372036854775807", 0, -INT64_MAX));
    cr_assert(says_text("time <= 9223372036854775807", 0, INT64_MAX));
    cr_assert(!says_text("time != 3", 0, VQ_NO_TIME) && says_text("!(time = 3)", 0, VQ_NO_TIME));
    cr_assert(says_text("tag:\"a\\\"b\\\\c\"", 4, 0));
    cr_assert(says_text("tag:\"with blank\"", 16, 0));
    cr_assert(!says_text("tag:time & time=0", 0, 0)); /* the name of a tag may be any word */
}

Test(expr, errors_say_where)
{
    static const struct {
        const char *text;
        int at; /* from 1 */
        const char *expected;
    } wrong[] = {
        {"", 1, "tag:NAME"},
        {"   ", 4, "tag:NAME"},
        {"tag:", 5, "the name of a tag"},
        {"tag:\"\"", 7, "the name of a tag"},
        {"tag:\"abc", 9, "a quote"},
        {"tag:en tag:de", 8, "& or |"},
        {"tag:en &", 9, "tag:NAME"},
        {"tag:en & | tag:de", 10, "tag:NAME"},
        {"(tag:en", 8, "&, | or )"},
        {"tag:en)", 7, "& or |"},
        {"time", 5, "one of ="},
        {"time ~ 3", 6, "one of ="},
        {"time >= x", 9, "a whole number"},
        {"time >= 1.5", 10, "a blank"},
        {"time >= -", 9, "a whole number"},
        {"time >= 99999999999999999999", 9, "64 bits"},
        {"timex > 3", 1, "tag:NAME"},
        {"lang:en", 1, "tag:NAME"},
        {"tag:en and", 11, "tag:NAME"},
        {"tag:en android", 8, "& or |"},
    };
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        vq_expr *e = NULL;
        char at[16];
        FAILS(VQ_EINVAL, vq_expr_parse(&e, wrong[i].text, &err));
        (void)snprintf(at, sizeof at, "at %d,", wrong[i].at);
        cr_assert(strstr(err.text, at) != NULL && strstr(err.text, wrong[i].expected) != NULL,
                  "'%s': %s", wrong[i].text, err.text);
        cr_assert(e == NULL);
    }
}

static void nest(char *text, size_t depth, const char *open, const char *close)
{
    text[0] = '\0';
    for (size_t i = 0; i < depth; i++) strcat(text, open);
    strcat(text, "tag:en");
    for (size_t i = 0; i < depth; i++) strcat(text, close);
}

Test(expr, depth)
{
    static const char *const pairs[][2] = {{"(", ")"}, {"!", ""}, {"(tag:draft | time=1 & ", ")"}};
    char *text = malloc(1 << 20);
    for (size_t i = 0; i < VQ_COUNT(pairs); i++) {
        vq_expr *e;
        nest(text, VQ_EXPR_DEPTH - 1, pairs[i][0], pairs[i][1]);
        (void)says_text(text, 1, 1);
        nest(text, VQ_EXPR_DEPTH, pairs[i][0], pairs[i][1]);
        FAILS(VQ_EINVAL, vq_expr_parse(&e, text, &err));
        nest(text, 10000, pairs[i][0], pairs[i][1]);
        FAILS(VQ_EINVAL, vq_expr_parse(&e, text, &err));
    }
    text[0] = '\0'; /* a long row of operators is not deep */
    for (size_t i = 0; i < 1000; i++) strcat(text, i % 3 == 0 ? "tag:en & " : "!tag:en | ");
    strcat(text, "tag:en");
    cr_assert(says_text(text, 1, 0));
    free(text);
}

Test(expr, random_ones_against_a_plain_evaluator)
{
    vq_rng r;
    size_t held = 0, all = 0;
    vq_rng_init(&r, test_seed(), 61);
    for (int round = 0; round < 3000; round++) {
        chooser c;
        vq_expr *e;
        chooser_draw(&c, &r);
        OK(vq_expr_parse(&e, c.text, &err));
        for (int i = 0; i < 30; i++) {
            uint32_t tags = (uint32_t)vq_rng_below(&r, 1u << CHOOSER_TAGS);
            int64_t time =
                vq_rng_below(&r, 4) == 0 ? VQ_NO_TIME : (int64_t)vq_rng_below(&r, 21) - 10;
            bool want = chooser_holds(&c, 0, tags, time);
            cr_assert_eq(says(e, tags, time), want, "%s: tags %x, time %lld", c.text, tags,
                         (long long)time);
            held += want, all++;
        }
        vq_expr_free(e);
    }
    cr_assert(held > all / 5 && held < all * 4 / 5);
}

Test(expr, out_of_memory)
{
    uint64_t n = 1;
    for (;; n++) {
        vq_expr *e = NULL;
        vq_mem_fail_after(n);
        vq_status rc = vq_expr_parse(&e, "tag:en & (time>3 | !tag:\"x\")", &err);
        vq_mem_fail_after(0);
        if (rc == VQ_OK) vq_expr_free(e);
        if (rc == VQ_OK) break;
        cr_assert(rc == VQ_ENOMEM && e == NULL);
    }
    cr_assert(n > 3);
}
