/* SPDX-License-Identifier: Apache-2.0 */
/* relation.c -- see relation.h. */
#include "index/relation.h"

#include "index/layout.h"
#include "src/base/bytes.h"
#include "src/base/compiler.h"

vq_rule vq_rule_of(const float abcd[4])
{
    vq_rule r = {.a = abcd[0], .b = abcd[1], .c = abcd[2], .d = abcd[3], .turn = -INFINITY};
    if (r.c < 0.0f) r.turn = r.b / -2.0f / r.c;
    return r;
}

float vq_rule_gap(const vq_rule *r, float lb_rank)
{
    double a = (double)r->a + (double)r->d * (double)lb_rank, b = (double)r->b, c = (double)r->c;
    if (c == 0.0) return b < 0.0 ? (float)(a / -b) : a >= 0.0 ? INFINITY : -INFINITY;
    double root = b * b - 4.0 * c * a;
    return root < 0.0 ? -INFINITY : (float)((-b - sqrt(root)) / (2.0 * c));
}

void vq_setting_put(const vq_setting *s, float *row)
{
    const float x[VQ_TUNE_COLS] = {s->k,         s->recall,  s->lists.a,    s->lists.b,
                                   s->lists.c,   s->lists.d, s->rows.a,     s->rows.b,
                                   s->rows.c,    s->rows.d,  s->mean_lists, s->mean_vectors,
                                   s->mean_rows, s->depth,   s->nprobe,     s->queries};
    for (int i = 0; i < VQ_TUNE_COLS; i++) row[i] = x[i];
}

vq_setting vq_setting_get(const float *row)
{
    return (vq_setting){.k = row[0],
                        .recall = row[1],
                        .lists = vq_rule_of(row + 2),
                        .rows = vq_rule_of(row + 6),
                        .mean_lists = row[10],
                        .mean_vectors = row[11],
                        .mean_rows = row[12],
                        .depth = row[13],
                        .nprobe = row[14],
                        .queries = row[15]};
}

/* Nothing about a rule may rise with gap or rank. */
static bool falls(const float abcd[4])
{
    return abcd[2] <= 0.0f && abcd[3] <= 0.0f && (abcd[2] < 0.0f || abcd[1] <= 0.0f);
}

static bool is_count(float x)
{
    return x >= 0.0f && x <= 4294967296.0f && x == floorf(x);
}

vq_status vq_relation_check(const float *rows, uint64_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(n >= 1 && n <= VQ_TUNE_ROWS_MAX, VQ_ECORRUPT,
               "tune: %llu settings, expected 1 to %d", (unsigned long long)n, VQ_TUNE_ROWS_MAX);
    for (uint64_t i = 0; i < n; i++) {
        const float *x = rows + i * VQ_TUNE_COLS, *last = i > 0 ? x - VQ_TUNE_COLS : NULL;
        for (int j = 0; j < VQ_TUNE_COLS; j++)
            VQ_REQUIRE(isfinite(x[j]), VQ_ECORRUPT, "tune: setting %llu: number %d is not finite",
                       (unsigned long long)i, j);
        VQ_REQUIRE(is_count(x[0]) && x[0] >= 1.0f && x[1] > 0.0f && x[1] < 1.0f, VQ_ECORRUPT,
                   "tune: setting %llu is for k = %g and recall %g", (unsigned long long)i,
                   (double)x[0], (double)x[1]);
        VQ_REQUIRE(last == NULL || x[0] > last[0] || (x[0] == last[0] && x[1] > last[1]),
                   VQ_ECORRUPT, "tune: setting %llu is out of order", (unsigned long long)i);
        VQ_REQUIRE(falls(x + 2) && falls(x + 6), VQ_ECORRUPT,
                   "tune: setting %llu: effort would grow as less is to be found",
                   (unsigned long long)i);
        bool sound = x[10] >= 0.0f && x[11] >= 0.0f && x[12] >= 0.0f && is_count(x[13]) &&
                     is_count(x[14]) && x[14] >= 1.0f && is_count(x[15]);
        VQ_REQUIRE(sound, VQ_ECORRUPT, "tune: setting %llu: a mean or a count cannot be",
                   (unsigned long long)i);
    }
out:
    return rc;
}

vq_status vq_relation_parse(const uint8_t *value, size_t len, const float **rows, size_t *n,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t count = len >= VQ_RECORD_HEADER ? vq_le64(value + 8) : 0;
    VQ_TRY(vq_array_parse(value, len, VQ_TUNE_KEY, count, VQ_TUNE_COLS, rows, err));
    VQ_TRY(vq_relation_check(*rows, count, err));
    *n = (size_t)count;
out:
    if (rc != VQ_OK) *rows = NULL;
    return rc;
}

static vq_setting between(const float *low, const float *high, float share)
{
    float row[VQ_TUNE_COLS];
    for (int i = 0; i < VQ_TUNE_COLS; i++)
        row[i] = i == 13 || i == 14 ? VQ_MAX(low[i], high[i]) /* bounds: room for both */
                                    : low[i] + share * (high[i] - low[i]);
    return vq_setting_get(row);
}

/* Within the rows of one k. */
static vq_setting at_recall(const float *rows, size_t n, float recall)
{
    size_t i = 0;
    while (i < n && rows[i * VQ_TUNE_COLS + 1] < recall) i++;
    if (i == 0 || i == n) return vq_setting_get(rows + (i == 0 ? 0 : n - 1) * VQ_TUNE_COLS);
    const float *high = rows + i * VQ_TUNE_COLS, *low = high - VQ_TUNE_COLS;
    return between(low, high, (recall - low[1]) / (high[1] - low[1]));
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

vq_setting vq_relation_at(const float *rows, size_t n, uint32_t k, float recall)
{
    float low[VQ_TUNE_COLS], high[VQ_TUNE_COLS];
    size_t first = 0, end = 0; /* rows of the first k that is not below */
    size_t last = 0;           /* where those of the k before begin */
    while (end < n) {
        last = first;
        first = end;
        float of = rows[first * VQ_TUNE_COLS];
        while (end < n && rows[end * VQ_TUNE_COLS] == of) end++;
        if (of >= (float)k) break;
    }
    vq_setting above = at_recall(rows + first * VQ_TUNE_COLS, end - first, recall);
    if (above.k < (float)k) return widened(above, k);
    if (above.k == (float)k || first == 0) return above;
    vq_setting below = at_recall(rows + last * VQ_TUNE_COLS, first - last, recall);
    vq_setting_put(&below, low);
    vq_setting_put(&above, high);
    float from = vq_lb((uint32_t)below.k), to = vq_lb((uint32_t)above.k);
    return between(low, high, (vq_lb(k) - from) / (to - from));
}
