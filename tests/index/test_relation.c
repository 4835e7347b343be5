/* SPDX-License-Identifier: Apache-2.0 */
/* Rules and settings as numbers: what falls, what lies between, what is refused. */
#include "index/relation.h"

#include "index/layout.h"
#include "tests/index/fixture.h"

enum { ROWS = 6 };

/* Two k, three levels each: effort grows with both. */
static void make(float rows[ROWS * VQ_TUNE_COLS])
{
    for (int i = 0; i < ROWS; i++) {
        float level = (float)(i % 3), k = i < 3 ? 10.0f : 100.0f;
        const float lists[5] = {-4.0f + level, 1.0f, -2.0f, -0.5f, -0.25f};
        const float cands[5] = {-1.0f + level, -3.0f, 0.0f, -1.0f, -0.125f};
        vq_setting s = {.k = k,
                        .recall = 0.8f + 0.05f * level,
                        .lists = vq_rule_of(lists),
                        .rows = vq_rule_of(cands),
                        .mean_lists = 5.0f + level,
                        .mean_vectors = 500.0f,
                        .mean_rows = 20.0f,
                        .depth = k * (2.0f + level),
                        .nprobe = 20.0f + level,
                        .queries = 100.0f};
        vq_setting_put(&s, rows + i * VQ_TUNE_COLS);
    }
}

Test(relation, logarithm_by_lines)
{
    cr_assert(vq_lb(1) == 0.0f && vq_lb(2) == 1.0f && vq_lb(3) == 1.5f && vq_lb(1024) == 10.0f);
    cr_assert(vq_lb(UINT32_MAX) <= 32.0f);
    for (uint32_t x = 1; x < 5000; x++) {
        cr_assert_lt(vq_lb(x), vq_lb(x + 1));
        cr_assert_float_eq(vq_lb(x), log2(x), 0.09);
    }
}

Test(relation, rules_only_fall)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 0);
    for (int round = 0; round < 2000; round++) {
        float x[5], ahead = (float)vq_rng_below(&r, 5) - 2.0f;
        fill_normal(&r, x, 5);
        x[2] = -fabsf(x[2]), x[3] = -fabsf(x[3]), x[4] = -fabsf(x[4]);
        if (round % 4 == 0) x[2] = 0.0f, x[1] = -fabsf(x[1]);
        if (round % 3 == 0) x[4] = 0.0f;
        vq_rule rule = vq_rule_of(x);
        bool on = true;
        for (float gap = -8.0f; gap < 8.0f; gap += 0.25f) {
            bool now = vq_rule_on(&rule, gap, 1.0f, gap - ahead);
            cr_assert(on || !now, "a larger gap goes on again");
            cr_assert(now || !vq_rule_on(&rule, gap, 2.0f, gap - ahead),
                      "a later rank goes on again");
            cr_assert(now || !vq_rule_on(&rule, gap, 1.0f, gap - ahead + 1.0f),
                      "a deeper drop goes on again");
            on = now;
        }
        float most = vq_rule_gap(&rule, 1.0f, ahead);
        if (!isfinite(most)) continue;
        float hair = 1e-3f * (1.0f + fabsf(most));
        if (most > rule.turn || x[4] < -1e-2f)
            cr_assert(vq_rule_on(&rule, most - hair, 1.0f, most - hair - ahead));
        if (x[4] == 0.0f || x[4] < -1e-2f)
            cr_assert(!vq_rule_on(&rule, most + hair, 1.0f, most + hair - ahead));
    }
}

Test(relation, between_settings)
{
    float rows[ROWS * VQ_TUNE_COLS];
    const vq_relation rel = {rows, ROWS, VQ_TUNE_COLS};
    make(rows);
    OK(vq_relation_check(&rel, &err));
    vq_setting s = vq_relation_at(&rel, 10, 0.85f);
    cr_assert(s.lists.e == -0.25f && s.rows.e == -0.125f);
    cr_assert_float_eq(s.lists.a, -3.0f, 1e-6);
    cr_assert_float_eq(s.mean_lists, 6.0f, 1e-5);
    s = vq_relation_at(&rel, 10, 0.825f);
    cr_assert_float_eq(s.lists.a, -3.5f, 1e-4);
    cr_assert_eq(s.depth, 30.0f, "bounds have room for both neighbours");
    cr_assert_eq(vq_relation_at(&rel, 10, 0.1f).lists.a, -4.0f);
    cr_assert_eq(vq_relation_at(&rel, 10, 0.999f).lists.a, -2.0f);
    s = vq_relation_at(&rel, 32, 0.85f);
    cr_assert(s.depth == 300.0f && s.k > 10.0f && s.k < 100.0f);
    s = vq_relation_at(&rel, 1000, 0.85f);
    cr_assert(s.depth == 3000.0f && s.nprobe == 210.0f && s.k == 1000.0f);
    cr_assert_eq(vq_relation_at(&rel, 1, 0.85f).k, 10.0f);
    for (uint32_t k = 1; k < 2000; k = k * 3 / 2 + 1) { /* more recall never stops earlier */
        vq_setting low = vq_relation_at(&rel, k, 0.4f);
        for (float recall = 0.41f; recall < 1.0f; recall += 0.01f) {
            vq_setting high = vq_relation_at(&rel, k, recall);
            cr_assert(high.lists.a >= low.lists.a && high.rows.a >= low.rows.a &&
                      high.depth >= low.depth && high.nprobe >= low.nprobe);
            low = high;
        }
    }
}

static void refused(int row, int col, float x)
{
    float rows[ROWS * VQ_TUNE_COLS];
    make(rows);
    rows[row * VQ_TUNE_COLS + col] = x;
    FAILS(VQ_ECORRUPT, vq_relation_check(&(vq_relation){rows, ROWS, VQ_TUNE_COLS}, &err));
    cr_assert(strstr(err.text, "tune") != NULL, "%s", err.text);
}

Test(relation, what_cannot_be_is_refused)
{
    float rows[ROWS * VQ_TUNE_COLS];
    make(rows);
    FAILS(VQ_ECORRUPT, vq_relation_check(&(vq_relation){rows, 0, VQ_TUNE_COLS}, &err));
    for (int col = 0; col < VQ_TUNE_COLS; col++) {
        refused(2, col, NAN);
        refused(3, col, INFINITY);
    }
    refused(0, 0, 0.0f);   /* k */
    refused(0, 0, 10.5f);  /* k */
    refused(4, 0, 10.0f);  /* falling k */
    refused(1, 1, 0.8f);   /* recall again */
    refused(5, 1, 1.0f);   /* recall 1 */
    refused(1, 4, 0.5f);   /* rises with the gap's square */
    refused(1, 5, 0.5f);   /* rises with the rank */
    refused(1, 7, 0.5f);   /* a straight rule that rises */
    refused(1, 10, -1.0f); /* a mean */
    refused(1, 13, 20.5f); /* a count */
    refused(1, 14, 0.0f);  /* no list */
    refused(1, 15, 1e12f); /* a count */
    refused(1, 16, 0.5f);  /* rises with the drop */
    refused(1, 17, 0.5f);  /* likewise */
}

Test(relation, parse_needs_the_shape)
{
    float rows[ROWS * VQ_TUNE_COLS];
    vq_relation got;
    size_t size = vq_array_size(ROWS, VQ_TUNE_COLS, 256);
    make(rows);
    uint8_t *block = vq_mem_alloc(size + 16, 1), *value = block + 16;
    vq_array_write(value, rows, ROWS, VQ_TUNE_COLS, 256);
    OK(vq_relation_parse(value, size, VQ_TUNE_COLS, &got, &err));
    cr_assert(got.n == ROWS && memcmp(got.rows, rows, sizeof rows) == 0);
    FAILS(VQ_ECORRUPT, vq_relation_parse(value, size, VQ_TUNE_OLD_COLS, &got, &err));
    vq_array_write(value, rows, 2 * ROWS, VQ_TUNE_COLS / 2, 256);
    FAILS(VQ_ECORRUPT, vq_relation_parse(value, size, VQ_TUNE_COLS, &got, &err));
    for (size_t len = 0; len < 64; len++)
        FAILS(VQ_ECORRUPT, vq_relation_parse(value, len, VQ_TUNE_COLS, &got, &err));
    vq_mem_free(block);
}

/* Rows of older versions are read as rules for which drops do not count. */
Test(relation, rows_of_older_versions)
{
    float rows[ROWS * VQ_TUNE_COLS], older[ROWS * VQ_TUNE_OLD_COLS];
    const vq_relation rel = {rows, ROWS, VQ_TUNE_COLS}, old = {older, ROWS, VQ_TUNE_OLD_COLS};
    make(rows);
    for (int i = 0; i < ROWS; i++)
        memcpy(older + i * VQ_TUNE_OLD_COLS, rows + i * VQ_TUNE_COLS,
               VQ_TUNE_OLD_COLS * sizeof *older);
    OK(vq_relation_check(&old, &err));
    for (uint32_t k = 1; k < 2000; k = k * 3 / 2 + 1)
        for (float recall = 0.4f; recall < 1.0f; recall += 0.03f) {
            vq_setting a = vq_relation_at(&rel, k, recall), b = vq_relation_at(&old, k, recall);
            cr_assert(a.lists.e == -0.25f && b.lists.e == 0.0f && b.rows.e == 0.0f);
            cr_assert(a.lists.a == b.lists.a && a.rows.d == b.rows.d && a.depth == b.depth &&
                      a.nprobe == b.nprobe && a.k == b.k && a.mean_rows == b.mean_rows);
        }
}
