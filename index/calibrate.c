/* SPDX-License-Identifier: Apache-2.0 */
/* calibrate.c -- see calibrate.h.  What a list or a candidate is expected to bring, exp(coef . x),
 * over what it costs is its return; the search takes whatever returns more than a price.  For a
 * given mean cost no other choice brings more, as far as the expectations are right; what recall a
 * price buys is then counted, not believed. */
#include "index/calibrate.h"

#include <stdlib.h>
#include <string.h>

#include "src/train/poisson.h"

enum {
    FIT_EVERY = 4,   /* one query of so many fits the rules, the others calibrate */
    FIT_DENSE = 256, /* ranks beyond are thinned out: they are many and alike */
    FEATURES = 5,    /* 1, gap, gap^2, lb(rank), drop */
    PRICES = 160,    /* tried */
};

#define PRICE_TOP  4.0 /* logarithms */
#define PRICE_STEP 0.25
#define GLANCE     0.02  /* of recall: what is so near may be as good */
#define REACH      0.995 /* for people: so many of the queries take no more lists than `nprobe` */

static const float levels[VQ_LEVELS] = {0.5f,  0.6f,  0.7f,  0.8f,  0.85f,  0.9f,   0.925f,
                                        0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 0.998f, 0.999f};

typedef struct fit { /* of one k */
    const vq_trace *t;
    const float *gap;
    uint32_t k;
    double scale;     /* of gaps: their mean size */
    uint8_t *brought; /* nlist: scratch */
} fit;

/* Ranks that are looked at: all of the first, then fewer and fewer, which stand for the others. */
static uint32_t step_from(uint32_t rank)
{
    return rank < FIT_DENSE ? 1 : rank / FIT_DENSE + 1;
}

static bool fits(size_t query)
{
    return query % FIT_EVERY == 0;
}

/* ---- the rules ---- */

static void features(double x[FEATURES], double gap, double lb, double drop)
{
    x[0] = 1.0;
    x[1] = gap;
    x[2] = gap * gap;
    x[3] = lb;
    x[4] = drop;
}

/* What each list held of the k true answers. */
static void sum_brought(const fit *f, size_t query)
{
    const vq_traced *best = f->t->best + query * f->t->depth;
    memset(f->brought, 0, f->t->nlist);
    for (uint32_t i = 0; i < f->t->nbest[query]; i++)
        if (best[i].place < f->k && f->brought[best[i].at] < UINT8_MAX) f->brought[best[i].at]++;
}

static vq_status add_lists(const fit *f, vq_poisson *into, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_trace *t = f->t;
    double x[FEATURES];
    for (size_t q = 0; q < t->n; q += FIT_EVERY) {
        sum_brought(f, q);
        for (uint32_t i = 1, step; i < t->nlist; i += step) {
            size_t at = q * t->nlist + i;
            float gap = f->gap[at];
            step = step_from(i);
            if (!isfinite(gap)) continue;
            features(x, (double)gap / f->scale, (double)vq_lb(i + 1),
                     (double)t->drop[at] / f->scale);
            VQ_TRY(vq_poisson_add(into, x, (double)f->brought[i], (double)step, err));
        }
    }
out:
    return rc;
}

/* How far candidate i lies below the k-th. */
static double below(const fit *f, size_t query, uint32_t i)
{
    const vq_traced *best = f->t->best + query * f->t->depth;
    return (double)(best[f->k - 1].est - best[i].est);
}

static vq_status add_rows(const fit *f, vq_poisson *into, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_trace *t = f->t;
    double x[FEATURES];
    for (size_t q = 0; q < t->n; q += FIT_EVERY) {
        const vq_traced *best = t->best + q * t->depth;
        for (uint32_t i = f->k, step; i < t->nbest[q]; i += step) {
            step = step_from(i - f->k);
            features(x, below(f, q, i) / f->scale, (double)(vq_lb(i + 1) - vq_lb(f->k)),
                     (double)(best[0].est - best[i].est) / f->scale);
            VQ_TRY(vq_poisson_add(into, x, best[i].place < f->k ? 1.0 : 0.0, (double)step, err));
        }
    }
out:
    return rc;
}

/* The mean size of the gaps, so that powers of them are of one size. */
static double scale_of(const fit *f, bool rows)
{
    const vq_trace *t = f->t;
    double sum = 0, count = 0;
    for (size_t q = 0; q < t->n; q += FIT_EVERY) {
        uint32_t end = rows ? t->nbest[q] : t->nlist;
        for (uint32_t i = rows ? f->k : 1; i < end; i++) {
            double gap = rows ? below(f, q, i) : (double)f->gap[q * t->nlist + i];
            if (!isfinite(gap)) continue;
            sum += fabs(gap);
            count++;
        }
    }
    return count > 0 && sum > 0 ? sum / count : 1.0;
}

/* Expectations that never rise with gap, rank or drop, or do not know of drops: what would make
 * them is left out, and what floats do not hold (of gaps that are almost nothing). */
static vq_rule rule_of(const fit *f, const vq_poisson *data, bool drops, double cost)
{
    unsigned char fixed[FEATURES] = {[4] = !drops};
    double c[FEATURES];
    for (int tries = 0; tries < FEATURES; tries++) {
        vq_poisson_fit(data, fixed, c);
        if (c[3] > 0)
            fixed[3] = 1;
        else if (c[4] > 0 || !isfinite((float)(c[4] / f->scale)))
            fixed[4] = 1;
        else if (c[2] > 0 || !isfinite((float)(c[2] / (f->scale * f->scale))))
            fixed[2] = 1;
        else if ((c[2] == 0 && c[1] > 0) || !isfinite((float)(c[1] / f->scale)))
            fixed[1] = 1;
        else
            break;
    }
    const float abcde[5] = {(float)(c[0] - log(cost)), (float)(c[1] / f->scale),
                            (float)(c[2] / (f->scale * f->scale)), (float)c[3],
                            (float)(c[4] / f->scale)};
    return vq_rule_of(abcde);
}

/* A rule that knows of drops, and where it is asked for (not NULL) one that does not. */
static vq_status fit_rules(fit f, bool rows, double cost, vq_rule *rule, vq_rule *plain,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_poisson data = {.p = FEATURES};
    f.scale = scale_of(&f, rows);
    VQ_TRY((rows ? add_rows : add_lists)(&f, &data, err));
    *rule = rule_of(&f, &data, true, cost);
    if (plain != NULL) *plain = rule->e < 0.0f ? rule_of(&f, &data, false, cost) : *rule;
out:
    vq_poisson_fini(&data);
    return rc;
}

/* ---- what a setting brings ---- */

typedef struct bench { /* the queries that calibrate, for one k */
    const vq_trace *t;
    const float *gap;
    uint32_t k;
    vq_rule lists, rows; /* at price 1 */
    bool second;
    size_t n;                 /* queries */
    uint32_t *stops, *sorted; /* n: scratch */
} bench;

/* Lists that the rule scans of a query: gap, rank and drop rise along the lists. */
static uint32_t lists_of(const bench *b, size_t query, const vq_rule *r)
{
    const float *gap = b->gap + query * b->t->nlist, *drop = b->t->drop + query * b->t->nlist;
    uint32_t low = 1, high = b->t->nlist; /* the first that is not scanned */
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        bool few = gap[mid] == -INFINITY; /* fewer than k were found: a search goes on */
        if (few || vq_rule_on(r, gap[mid], vq_lb(mid + 1), drop[mid]))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Candidates that the rule takes of a query whose first `lists` lists were scanned, and how many of
 * them are right. */
static uint32_t rows_of(const bench *b, size_t query, uint32_t lists, const vq_rule *r,
                        uint32_t *right)
{
    const vq_trace *t = b->t;
    const vq_traced *best = t->best + query * t->depth;
    uint32_t taken = 0;
    float first = 0, kth = 0;
    *right = 0;
    for (uint32_t i = 0; i < t->nbest[query]; i++) {
        if (best[i].at >= lists) continue;
        if (taken >= b->k &&
            (!b->second || !vq_rule_on(r, kth - best[i].est, vq_lb(taken + 1) - vq_lb(b->k),
                                       first - best[i].est)))
            break;
        first = taken == 0 ? best[i].est : first;
        kth = taken < b->k ? best[i].est : kth;
        taken++;
        *right += best[i].place < b->k;
    }
    return taken;
}

typedef struct outcome {
    double recall, lists, vectors, rows;
    uint32_t depth, nprobe;
} outcome;

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static outcome outcome_at(const bench *b, double price)
{
    const vq_trace *t = b->t;
    outcome o = {0};
    vq_rule lists = b->lists, rows = b->rows;
    size_t i = 0;
    double right = 0;
    lists.a -= (float)price;
    rows.a -= (float)price;
    for (size_t q = 0; q < t->n; q++)
        if (!fits(q)) b->stops[i++] = lists_of(b, q, &lists);
    memcpy(b->sorted, b->stops, b->n * sizeof *b->stops);
    qsort(b->sorted, b->n, sizeof *b->sorted, by_size);
    o.nprobe = b->sorted[VQ_MIN((size_t)(REACH * (double)b->n), b->n - 1)];
    i = 0;
    for (size_t q = 0; q < t->n; q++) {
        if (fits(q)) continue;
        uint32_t found, stop = b->stops[i];
        uint32_t taken = rows_of(b, q, stop, &rows, &found);
        i++;
        right += found;
        o.lists += stop;
        o.vectors += t->seen[q * t->nlist + stop - 1];
        o.rows += taken;
        o.depth = VQ_MAX(o.depth, taken);
    }
    o.recall = right / ((double)b->n * b->k);
    o.lists /= (double)b->n;
    o.vectors /= (double)b->n;
    o.rows = b->second ? o.rows / (double)b->n : 0;
    return o;
}

static void put(const bench *b, float level, double price, const outcome *low, float *row)
{
    outcome o = outcome_at(b, price);
    vq_setting s = {.k = (float)b->k,
                    .recall = level,
                    .lists = b->lists,
                    .rows = b->rows,
                    .mean_lists = (float)o.lists,
                    .mean_vectors = (float)o.vectors,
                    .mean_rows = (float)o.rows,
                    .depth = (float)VQ_MAX(o.depth, low->depth),
                    .nprobe = (float)VQ_MAX(o.nprobe, low->nprobe),
                    .queries = (float)b->n};
    s.lists.a -= (float)price;
    s.rows.a -= (float)price;
    vq_setting_put(&s, row);
}

/* Falling prices until the levels are reached, each at the price between two that were tried. */
static size_t find_levels(const bench *b, float *rows)
{
    outcome last = {.nprobe = 1};
    size_t level = 0;
    for (int i = 0; i < PRICES && level < VQ_LEVELS; i++) {
        double price = PRICE_TOP - i * PRICE_STEP;
        outcome now = outcome_at(b, price);
        for (; level < VQ_LEVELS && now.recall >= (double)levels[level]; level++) {
            double rise = now.recall - last.recall;
            double share = i > 0 ? ((double)levels[level] - last.recall) / rise : 1.0;
            put(b, levels[level], price + (1.0 - share) * PRICE_STEP, &last,
                rows + level * VQ_TUNE_COLS);
        }
        if (now.recall >= last.recall) last = now;
    }
    return level;
}

static double price_of(const vq_costs *costs, double vectors, double lists, double rows)
{
    return vectors + costs->list * lists + costs->row * rows;
}

/* What n settings cost, in logarithms, in the mean. */
static double dearness(const float *rows, size_t n, const vq_costs *costs)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        vq_relation r = {.rows = rows, .n = n, .cols = VQ_TUNE_COLS};
        vq_setting s = vq_relation_setting(&r, i);
        sum +=
            log(price_of(costs, (double)s.mean_vectors, (double)s.mean_lists, (double)s.mean_rows));
    }
    return sum / (double)n;
}

/* Whether the rule of b finds about what a setting of another does, at its price, for less. */
static bool pays(const bench *b, const vq_setting *s, double price, const vq_costs *costs)
{
    outcome o = outcome_at(b, price);
    double other =
        price_of(costs, (double)s->mean_vectors, (double)s->mean_lists, (double)s->mean_rows);
    return o.recall > (double)s->recall - GLANCE &&
           price_of(costs, o.vectors, o.lists, o.rows) < other;
}

/* Where the first list holds nearly all, little tells a rule of how the others drop, and it may
 * read many times what one that knows of gaps alone does: then that one counts.  A glance at one
 * setting tells, as a rule, that it does not. */
static vq_status try_plain(bench *b, const vq_rule *plain, const vq_costs *costs, float *rows,
                           size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    float *other = vq_alloc_f32(VQ_LEVELS, VQ_TUNE_COLS);
    VQ_REQUIRE(other != NULL, VQ_ENOMEM, "tune: %d levels", VQ_LEVELS);
    const vq_relation with = {.rows = rows, .n = *n, .cols = VQ_TUNE_COLS};
    vq_setting middle = *n > 0 ? vq_relation_setting(&with, *n / 2) : (vq_setting){0};
    double price = (double)b->lists.a - (double)middle.lists.a;
    b->lists = *plain;
    if (*n > 0 && !pays(b, &middle, price, costs)) goto out;
    size_t many = find_levels(b, other), both = VQ_MIN(*n, many);
    if (many < *n || many == 0) goto out;
    if (both > 0 && dearness(other, both, costs) >= dearness(rows, both, costs)) goto out;
    memcpy(rows, other, many * VQ_TUNE_COLS * sizeof *rows);
    *n = many;
out:
    vq_mem_free(other);
    return rc;
}

vq_status vq_calibrate(const vq_trace *t, size_t of, const vq_costs *costs, float *rows, size_t *n,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    double vectors = (double)t->seen[t->nlist - 1] / t->nlist; /* of a list */
    vq_rule plain;
    fit f = {.t = t, .gap = t->gap[of], .k = t->k[of]};
    bench b = {.t = t, .gap = f.gap, .k = f.k, .second = costs->row > 0};
    for (size_t q = 0; q < t->n; q++) b.n += !fits(q);
    *n = 0;
    f.brought = vq_mem_alloc(t->nlist, 1);
    b.stops = vq_mem_alloc(b.n, sizeof *b.stops);
    b.sorted = vq_mem_alloc(b.n, sizeof *b.sorted);
    VQ_REQUIRE(f.brought != NULL && b.stops != NULL && b.sorted != NULL, VQ_ENOMEM,
               "tune: %zu queries", t->n);
    VQ_TRY(fit_rules(f, false, vectors + costs->list, &b.lists, &plain, err));
    if (b.second) VQ_TRY(fit_rules(f, true, costs->row, &b.rows, NULL, err));
    *n = find_levels(&b, rows);
    if (b.lists.e < 0.0f) VQ_TRY(try_plain(&b, &plain, costs, rows, n, err));
out:
    vq_mem_free(f.brought);
    vq_mem_free(b.stops);
    vq_mem_free(b.sorted);
    return rc;
}
