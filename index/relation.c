/* SPDX-License-Identifier: Apache-2.0 */
/* relation.c -- see relation.h. */
#include "index/relation.h"

#include "index/layout.h"
#include "src/base/bytes.h"
#include "src/base/compiler.h"

vq_rule vq_rule_of(const float abcde[5])
{
    vq_rule r = {.a = abcde[0], .b = abcde[1], .c = abcde[2], .d = abcde[3], .e = abcde[4]};
    r.turn = r.c < 0.0f ? r.b / -2.0f / r.c : -INFINITY;
    if (!isfinite(r.turn)) r.c = 0.0f, r.turn = -INFINITY; /* so flat that it has no top */
    return r;
}

float vq_rule_gap(const vq_rule *r, float lb_rank, float ahead)
{
    double b = (double)r->b, c = (double)r->c, e = (double)r->e, turn = (double)r->turn;
    double a = (double)r->a + (double)r->d * (double)lb_rank;
    if (e < 0.0) a -= e * (double)ahead; /* drop is the gap less that of the first */
    if (c == 0.0) return b + e < 0.0 ? (float)(a / -(b + e)) : a >= 0.0 ? INFINITY : -INFINITY;
    double left = a + (b + c * turn) * turn + e * turn; /* of what there is, at the turn */
    if (left < 0.0) return e < 0.0 ? (float)(turn - left / e) : -INFINITY;
    double root = (b + e) * (b + e) - 4.0 * c * a;
    return (float)((-(b + e) - sqrt(VQ_MAX(root, 0.0))) / (2.0 * c));
}

void vq_setting_put(const vq_setting *s, float *row)
{
    const float x[VQ_TUNE_COLS] = {
        s->k,         s->recall, s->lists.a, s->lists.b, s->lists.c,    s->lists.d,
        s->rows.a,    s->rows.b, s->rows.c,  s->rows.d,  s->mean_lists, s->mean_vectors,
        s->mean_rows, s->depth,  s->nprobe,  s->queries, s->lists.e,    s->rows.e};
    for (int i = 0; i < VQ_TUNE_COLS; i++) row[i] = x[i];
}

static vq_setting setting_of(const float *row, size_t cols)
{
    bool drops = cols == VQ_TUNE_COLS;
    const float lists[5] = {row[2], row[3], row[4], row[5], drops ? row[16] : 0.0f};
    const float rows[5] = {row[6], row[7], row[8], row[9], drops ? row[17] : 0.0f};
    return (vq_setting){.k = row[0],
                        .recall = row[1],
                        .lists = vq_rule_of(lists),
                        .rows = vq_rule_of(rows),
                        .mean_lists = row[10],
                        .mean_vectors = row[11],
                        .mean_rows = row[12],
                        .depth = row[13],
                        .nprobe = row[14],
                        .queries = row[15]};
}

vq_setting vq_relation_setting(const vq_relation *r, size_t i)
{
    return setting_of(r->rows + i * r->cols, r->cols);
}

/* Nothing about a rule may rise with gap, rank or drop. */
static bool falls(const float abcd[4], float e)
{
    return abcd[2] <= 0.0f && abcd[3] <= 0.0f && (abcd[2] < 0.0f || abcd[1] <= 0.0f) && e <= 0.0f;
}

static bool is_count(float x)
{
    return x >= 0.0f && x <= 4294967296.0f && x == floorf(x);
}

vq_status vq_relation_check(const vq_relation *r, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(r->n >= 1 && r->n <= VQ_TUNE_ROWS_MAX, VQ_ECORRUPT,
               "tune: %zu settings, expected 1 to %d", r->n, VQ_TUNE_ROWS_MAX);
    for (size_t i = 0; i < r->n; i++) {
        const float *x = r->rows + i * r->cols, *last = i > 0 ? x - r->cols : NULL;
        for (size_t j = 0; j < r->cols; j++)
            VQ_REQUIRE(isfinite(x[j]), VQ_ECORRUPT, "tune: setting %zu: number %zu is not finite",
                       i, j);
        VQ_REQUIRE(is_count(x[0]) && x[0] >= 1.0f && x[1] > 0.0f && x[1] < 1.0f, VQ_ECORRUPT,
                   "tune: setting %zu is for k = %g and recall %g", i, (double)x[0], (double)x[1]);
        VQ_REQUIRE(last == NULL || x[0] > last[0] || (x[0] == last[0] && x[1] > last[1]),
                   VQ_ECORRUPT, "tune: setting %zu is out of order", i);
        bool drops = r->cols == VQ_TUNE_COLS;
        VQ_REQUIRE(falls(x + 2, drops ? x[16] : 0.0f) && falls(x + 6, drops ? x[17] : 0.0f),
                   VQ_ECORRUPT, "tune: setting %zu: effort would grow as less is to be found", i);
        bool sound = x[10] >= 0.0f && x[11] >= 0.0f && x[12] >= 0.0f && is_count(x[13]) &&
                     is_count(x[14]) && x[14] >= 1.0f && is_count(x[15]);
        VQ_REQUIRE(sound, VQ_ECORRUPT, "tune: setting %zu: a mean or a count cannot be", i);
    }
out:
    return rc;
}

vq_status vq_relation_parse(const uint8_t *value, size_t len, size_t cols, vq_relation *r,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t count = len >= VQ_RECORD_HEADER ? vq_le64(value + 8) : 0;
    *r = (vq_relation){.n = (size_t)count, .cols = cols};
    VQ_TRY(vq_array_parse(value, len, VQ_TUNE_OLD_KEY, count, cols, &r->rows, err));
    VQ_TRY(vq_relation_check(r, err));
out:
    if (rc != VQ_OK) *r = (vq_relation){0};
    return rc;
}

static vq_setting between(const vq_setting *from, const vq_setting *to, float share)
{
    float low[VQ_TUNE_COLS], high[VQ_TUNE_COLS];
    vq_setting_put(from, low);
    vq_setting_put(to, high);
    for (int i = 0; i < VQ_TUNE_COLS; i++)
        low[i] = i == 13 || i == 14 ? VQ_MAX(low[i], high[i]) /* bounds: room for both */
                                    : low[i] + share * (high[i] - low[i]);
    return setting_of(low, VQ_TUNE_COLS);
}

/* Within the rows first to end, of one k. */
static vq_setting at_recall(const vq_relation *r, size_t first, size_t end, float recall)
{
    size_t i = first;
    while (i < end && r->rows[i * r->cols + 1] < recall) i++;
    if (i == first || i == end) return vq_relation_setting(r, i == first ? first : end - 1);
    const vq_setting high = vq_relation_setting(r, i), low = vq_relation_setting(r, i - 1);
    return between(&low, &high, (recall - low.recall) / (high.recall - low.recall));
}

/* Beyond the largest k that was measured the gap still speaks for itself, since it is that to the
 * k-th best; the bounds grow in proportion. */
static vq_setting widened(vq_setting s, uint32_t k)
{
    float times = (float)k / s.k;
    s.depth *= times;
    s.nprobe *= times;
    s.k = (float)k;
    return s;
}

vq_setting vq_relation_at(const vq_relation *r, uint32_t k, float recall)
{
    size_t first = 0, end = 0; /* rows of the first k that is not below */
    size_t last = 0;           /* where those of the k before begin */
    while (end < r->n) {
        last = first;
        first = end;
        float of = r->rows[first * r->cols];
        while (end < r->n && r->rows[end * r->cols] == of) end++;
        if (of >= (float)k) break;
    }
    vq_setting above = at_recall(r, first, end, recall);
    if (above.k < (float)k) return widened(above, k);
    if (above.k == (float)k || first == 0) return above;
    vq_setting below = at_recall(r, last, first, recall);
    float from = vq_lb((uint32_t)below.k), to = vq_lb((uint32_t)above.k);
    return between(&below, &above, (vq_lb(k) - from) / (to - from));
}
