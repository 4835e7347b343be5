/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of centroids: what a search among them finds, against all scores in floats. */
#include "src/train/groups.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/train/kmeans.h"
#include "src/train/nearest.h"
#include "tests/harness/harness.h"

enum { QUERIES = 64 };

/* n centroids in groups, like a build has them, and queries of the same kind. */
typedef struct lists {
    size_t n, d, count;
    float *centroids, *biases, *sizes, *queries;
    vq_groups groups;
    vq_group_rule rules[2]; /* for 8 and for 32 */
    void *scratch;
    uint32_t *rows;
} lists;

/* clusters: centres around which points lie; 0: none, which is the hardest. */
static void draw(vq_rng *r, const float *centres, size_t clusters, float *x, size_t n, size_t d)
{
    fill_normal(r, x, n * d);
    for (size_t i = 0; clusters > 0 && i < n; i++) {
        const float *c = centres + vq_rng_below(r, clusters) * d;
        for (size_t j = 0; j < d; j++) x[i * d + j] = c[j] + 0.5f * x[i * d + j];
    }
}

static void make(lists *l, size_t n, size_t d, size_t count, size_t clusters, bool l2)
{
    static const size_t wants[] = {8, 32};
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), n + d + clusters);
    const vq_kernels *k = vq_kernels_get();
    float *centres = vq_alloc_f32(clusters, d), *asked = vq_alloc_f32(128, d);
    *l = (lists){.n = n, .d = d, .count = count};
    l->centroids = vq_alloc_f32(n, d), l->biases = vq_alloc_f32(1, n);
    l->sizes = vq_alloc_f32(1, count), l->queries = vq_alloc_f32(QUERIES, d);
    l->rows = vq_mem_alloc(n, sizeof *l->rows);
    fill_normal(&r, centres, clusters * d);
    draw(&r, centres, clusters, l->centroids, n, d);
    draw(&r, centres, clusters, l->queries, QUERIES, d);
    draw(&r, centres, clusters, asked, 128, d);
    cr_assert_eq(vq_groups_form(l->centroids, n, d, 1, 2, l->sizes, &l->count, &err), VQ_OK);
    for (size_t i = 0; i < n; i++)
        l->biases[i] = 0.5f * k->dot_f32(l->centroids + i * d, l->centroids + i * d, d);
    vq_grouped of = {.centroids = l->centroids,
                     .biases = l2 ? l->biases : NULL,
                     .sizes = l->sizes,
                     .n = n,
                     .d = d,
                     .count = l->count,
                     .l2 = l2};
    cr_assert_eq(vq_groups_make(&l->groups, &of, k, &err), VQ_OK);
    cr_assert_eq(vq_groups_rule_for(&l->groups, asked, 128, wants, 2, 0, 2, l->rules, &err), VQ_OK);
    l->scratch = vq_mem_alloc(vq_groups_scratch(n, d, l->count), 1);
    vq_mem_free(centres), vq_mem_free(asked);
}

static void drop(lists *l)
{
    vq_groups_free(&l->groups);
    vq_mem_free(l->centroids), vq_mem_free(l->biases), vq_mem_free(l->sizes);
    vq_mem_free(l->queries), vq_mem_free(l->scratch), vq_mem_free(l->rows);
}

/* The best of all, in floats, best first. */
static vq_hit *exact(const lists *l, const float *q)
{
    vq_hit *hits = vq_mem_alloc(l->n, sizeof *hits);
    for (size_t i = 0; i < l->n; i++) {
        float score = vq_kernels_get()->dot_f32(q, l->centroids + i * l->d, l->d);
        hits[i] = (vq_hit){.score = score - (l->groups.of.l2 ? l->biases[i] : 0.0f), .id = i};
    }
    vq_hits_sort(hits, l->n);
    return hits;
}

static size_t find(const lists *l, const vq_kernels *k, const float *q, size_t want)
{
    return vq_groups_find(&l->groups, k, l->rules[want > 8], q, want, l->scratch, l->rows);
}

/* The share of the best `want` that is found; *taken: of all centroids that were. */
static double found(const lists *l, size_t want, double *taken)
{
    size_t common = 0, all = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        vq_hit *best = exact(l, l->queries + q * l->d);
        size_t n = find(l, vq_kernels_get(), l->queries + q * l->d, want);
        cr_assert(n >= want && n <= l->n);
        all += n;
        for (size_t i = 0; i < n; i++) {
            cr_assert(l->rows[i] < l->n);
            for (size_t j = 0; j < want; j++) common += best[j].id == l->rows[i];
        }
        vq_mem_free(best);
    }
    *taken = (double)all / (double)(QUERIES * l->n);
    return (double)common / (double)(QUERIES * want);
}

Test(groups, nearly_all_are_found)
{
    static const struct {
        size_t n, d, count, clusters;
    } shapes[] = {{4000, 32, 64, 200}, {4000, 20, 64, 0}, {3000, 64, 50, 12}, {900, 1100, 20, 30}};
    for (size_t i = 0; i < VQ_COUNT(shapes); i++)
        for (int l2 = 0; l2 < 2; l2++) {
            lists l;
            double taken;
            make(&l, shapes[i].n, shapes[i].d, shapes[i].count, shapes[i].clusters, l2);
            for (size_t want = 8; want <= 32; want *= 4) {
                double share = found(&l, want, &taken);
                cr_assert(share >= 0.97, "%zu x %zu, %zu: %g", l.n, l.d, want, share);
            }
            if (shapes[i].clusters == 200) cr_assert(taken < 0.3, "%g are no few", taken);
            drop(&l);
        }
}

/* The definition, in double; bytes of tables and centres are all that blurs it. */
Test(groups, estimates_are_of_signs)
{
    lists l;
    make(&l, 600, 40, 9, 30, true);
    const vq_groups *g = &l.groups;
    float *scores = vq_alloc_f32(1, l.n);
    vq_group_scores of = {.mean = vq_alloc_f32(1, l.count),
                          .width = vq_alloc_f32(1, l.count),
                          .near = vq_alloc_f32(1, l.count)};
    double *sigma = calloc(l.d, sizeof *sigma), *centres = calloc(l.count * l.d, sizeof *centres);
    for (size_t c = 0; c < l.count; c++)
        for (size_t i = g->first[c]; i < g->first[c + 1]; i++)
            for (size_t j = 0; j < l.d; j++)
                centres[c * l.d + j] += (double)l.centroids[i * l.d + j] / (double)l.sizes[c];
    for (size_t c = 0; c < l.count; c++)
        for (size_t i = g->first[c]; i < g->first[c + 1]; i++)
            for (size_t j = 0; j < l.d; j++) {
                double r = (double)l.centroids[i * l.d + j] - centres[c * l.d + j];
                sigma[j] += r * r / (double)l.n;
            }
    for (size_t q = 0; q < 8; q++) {
        const float *y = l.queries + q * l.d;
        vq_groups_estimate(g, vq_kernels_get(), y, l.scratch, scores, &of);
        for (size_t c = 0; c < l.count; c++)
            for (size_t i = g->first[c]; i < g->first[c + 1]; i++) {
                double base = 0, sq = 0, along = 0, product = 0, known = 0;
                for (size_t j = 0; j < l.d; j++) {
                    double r = (double)l.centroids[i * l.d + j] - centres[c * l.d + j];
                    double s = sqrt(sigma[j]);
                    base += (double)y[j] * centres[c * l.d + j];
                    double at = centres[c * l.d + j], sign = r >= 0 ? s : -s;
                    sq += r * r, along += fabs(r) * s, known += at * r;
                    product += ((double)y[j] - at) * sign;
                }
                double want = base + known + product * sq / along - (double)l.biases[i];
                cr_assert_float_eq((double)scores[i], want, 0.05 * (double)of.unit, "%g, not %g",
                                   (double)scores[i], want);
            }
    }
    free(sigma), free(centres);
    vq_mem_free(scores), vq_mem_free(of.mean), vq_mem_free(of.width), vq_mem_free(of.near);
    drop(&l);
}

Test(groups, the_same_on_every_machine)
{
    lists l;
    make(&l, 2000, 48, 40, 60, false);
    uint32_t *rows = vq_mem_alloc(l.n, sizeof *rows);
    for (size_t q = 0; q < QUERIES; q++) {
        const float *y = l.queries + q * l.d;
        size_t n = find(&l, vq_kernels_get(), y, 16);
        memcpy(rows, l.rows, n * sizeof *rows);
        for (const char *const *isa = vq_kernels_levels(); *isa != NULL; isa++) {
            const vq_kernels *k = vq_kernels_named(*isa);
            if (k == NULL) continue;
            cr_assert_eq(find(&l, k, y, 16), n, "%s", *isa);
            cr_assert(memcmp(rows, l.rows, n * sizeof *rows) == 0, "%s", *isa);
        }
    }
    vq_mem_free(rows);
    drop(&l);
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, 4 * sizeof(float));
}

Test(groups, forming_permutes_and_threads_do_not_matter)
{
    enum { N = 3000, D = 4, COUNT = 50 };
    vq_error err = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    float *x = vq_alloc_f32(N, D), *a = vq_alloc_f32(N, D), *b = vq_alloc_f32(N, D);
    float of_a[COUNT], of_b[COUNT];
    size_t in_a = COUNT, in_b = COUNT;
    fill_normal(&r, x, N * D);
    memcpy(a, x, N * D * sizeof *x);
    memcpy(b, x, N * D * sizeof *x);
    cr_assert_eq(vq_groups_form(a, N, D, 1, 1, of_a, &in_a, &err), VQ_OK);
    cr_assert_eq(vq_groups_form(b, N, D, 1, 3, of_b, &in_b, &err), VQ_OK);
    cr_assert(in_a == in_b && memcmp(of_a, of_b, in_a * sizeof *of_a) == 0);
    cr_assert(memcmp(a, b, N * D * sizeof *a) == 0);
    float sum = 0.0f;
    for (size_t c = 0; c < in_a; c++) {
        cr_assert(of_a[c] >= 1.0f);
        sum += of_a[c];
    }
    cr_assert_eq(sum, (float)N);
    cr_assert(memcmp(a, x, N * D * sizeof *a) != 0, "in another order");
    qsort(a, N, D * sizeof *a, by_bytes);
    qsort(x, N, D * sizeof *x, by_bytes);
    cr_assert(memcmp(a, x, N * D * sizeof *a) == 0, "the same ones");
    vq_mem_free(x), vq_mem_free(a), vq_mem_free(b);
}

/* Groups of one, all alike, and more wanted than the first groups hold. */
Test(groups, tiny_ones_and_duplicates)
{
    lists l;
    make(&l, 64, 8, 64, 0, true);
    cr_assert(l.count > 30);
    for (size_t want = 1; want <= 64; want++)
        cr_assert(find(&l, vq_kernels_get(), l.queries, want) >= want);
    drop(&l);

    enum { N = 500, D = 24, COUNT = 20 };
    vq_error err = {0};
    float *x = vq_alloc_f32(N, D), sizes[COUNT];
    size_t count = COUNT;
    for (size_t i = 0; i < N * D; i++) x[i] = (float)(i % D);
    cr_assert_eq(vq_groups_form(x, N, D, 1, 1, sizes, &count, &err), VQ_OK);
    vq_grouped of = {.centroids = x, .sizes = sizes, .n = N, .d = D, .count = count};
    vq_groups g;
    cr_assert_eq(vq_groups_make(&g, &of, vq_kernels_get(), &err), VQ_OK);
    void *scratch = vq_mem_alloc(vq_groups_scratch(N, D, count), 1);
    uint32_t rows[N];
    cr_assert_eq(vq_groups_find(&g, vq_kernels_get(), (vq_group_rule){0}, x, 10, scratch, rows), N);
    vq_mem_free(scratch), vq_mem_free(x);
    vq_groups_free(&g);
}

/* ---- rows and their nearest ---- */

static double far(const float *x, const float *c, size_t d)
{
    double sum = 0.0;
    for (size_t j = 0; j < d; j++)
        sum += ((double)x[j] - (double)c[j]) * ((double)x[j] - (double)c[j]);
    return sum;
}

/* |s|^2 + (s . r / |r|)^2 of a second list, see spill.h. */
static double cost(const float *x, const float *own, const float *other, size_t d)
{
    double along = 0.0, sq = far(x, own, d);
    for (size_t j = 0; j < d; j++)
        along += ((double)x[j] - (double)own[j]) * ((double)x[j] - (double)other[j]);
    return far(x, other, d) + (sq > 0.0 ? along * along / sq : 0.0);
}

Test(groups, rows_come_to_their_nearest)
{
    lists l;
    make(&l, 3000, 32, 55, 100, true);
    vq_error err = {0};
    vq_nearest flat, near;
    static const size_t wants[] = {8};
    cr_assert_eq(vq_nearest_init(&flat, l.centroids, l.n, l.d, NULL, 0, l.rules[0], &err), VQ_OK);
    cr_assert_eq(vq_nearest_init(&near, l.centroids, l.n, l.d, l.sizes, l.count, l.rules[0], &err),
                 VQ_OK);
    cr_assert_eq(
        vq_groups_rule_for(&near.groups, l.queries, QUERIES, wants, 1, 1, 1, &near.rule, &err),
        VQ_OK);
    uint32_t a[QUERIES], b[QUERIES], second_a[QUERIES], second_b[QUERIES];
    float *scratch = vq_alloc_f32(1, vq_nearest_scratch(&flat) + vq_nearest_scratch(&near));
    vq_nearest_assign(&flat, l.queries, QUERIES, scratch, a);
    vq_nearest_assign(&near, l.queries, QUERIES, scratch, b);
    vq_nearest_second(&flat, l.queries, QUERIES, a, scratch, second_a);
    vq_nearest_second(&near, l.queries, QUERIES, a, scratch, second_b);
    size_t same = 0, alike = 0;
    for (size_t i = 0; i < QUERIES; i++) {
        const float *x = l.queries + i * l.d, *own = l.centroids + a[i] * l.d;
        same += a[i] == b[i];
        alike += second_a[i] == second_b[i];
        if (second_b[i] == UINT32_MAX) continue;
        cr_assert(second_b[i] < l.n && second_b[i] != a[i]);
        cr_assert(cost(x, own, l.centroids + second_b[i] * l.d, l.d) <=
                  2.0 * far(x, own, l.d) * (1.0 + 1e-5));
    }
    cr_assert(same >= QUERIES - 1, "%zu of %d", same, QUERIES);
    cr_assert(alike >= QUERIES - 3, "%zu of %d", alike, QUERIES);
    vq_mem_free(scratch);
    vq_nearest_fini(&flat), vq_nearest_fini(&near);
    drop(&l);
}

/* All of it, and whatever allocation fails: told, and nothing is left behind. */
static vq_status run_all(const float *x, size_t n, size_t d, vq_error *err)
{
    enum { COUNT = 6 };
    static const size_t wants[] = {8};
    float sizes[COUNT], *c = NULL;
    size_t count = COUNT;
    uint32_t assign[40];
    float *scratch = NULL;
    vq_nearest near = {0};
    vq_status rc = VQ_OK;
    vq_kmeans_opts o = {.k = 40, .iters = 3, .seed = 1, .threads = 1};
    vq_group_rule rule = {0};
    c = vq_alloc_f32(40, d);
    VQ_REQUIRE(c != NULL, VQ_ENOMEM, "test");
    VQ_TRY(vq_kmeans_many(x, n, d, &o, c, NULL, err));
    VQ_TRY(vq_groups_form(c, 40, d, 1, 1, sizes, &count, err));
    VQ_TRY(vq_nearest_init(&near, c, 40, d, sizes, count, rule, err));
    VQ_TRY(vq_groups_rule_for(&near.groups, x, 40, wants, 1, 3, 1, &near.rule, err));
    scratch = vq_alloc_f32(1, vq_nearest_scratch(&near));
    VQ_REQUIRE(scratch != NULL, VQ_ENOMEM, "test");
    vq_nearest_assign(&near, x, 40, scratch, assign);
out:
    vq_nearest_fini(&near);
    vq_mem_free(scratch);
    vq_mem_free(c);
    return rc;
}

Test(groups, memory_that_is_not_there)
{
    enum { N = 300, D = 20 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 9);
    float *x = vq_alloc_f32(N, D);
    fill_normal(&r, x, N * D);
    uint64_t fail = 1;
    for (;; fail++) {
        vq_error err = {0};
        vq_mem_fail_after(fail);
        vq_status rc = run_all(x, N, D, &err);
        vq_mem_fail_after(0);
        if (rc == VQ_OK) break;
        cr_assert(rc == VQ_ENOMEM && err.text[0] != '\0', "allocation %llu: %d",
                  (unsigned long long)fail, (int)rc);
    }
    cr_assert(fail > 50);
    vq_mem_free(x);
}

/* Numbers so small that one over what they vary by is no float: the rules stay numbers. */
Test(groups, rules_of_tiny_numbers)
{
    static const size_t wants[] = {8};
    lists l;
    vq_groups g;
    vq_group_rule rule;
    vq_error err = {0};
    make(&l, 1000, 16, 32, 60, true);
    for (size_t i = 0; i < l.n * l.d; i++) l.centroids[i] *= 3e-20f;
    for (size_t i = 0; i < l.n; i++) l.biases[i] *= 9e-40f;
    for (size_t i = 0; i < QUERIES * l.d; i++) l.queries[i] *= 3e-20f;
    vq_grouped of = {.centroids = l.centroids,
                     .biases = l.biases,
                     .sizes = l.sizes,
                     .n = l.n,
                     .d = l.d,
                     .count = l.count,
                     .l2 = true};
    cr_assert_eq(vq_groups_make(&g, &of, vq_kernels_get(), &err), VQ_OK);
    cr_assert_eq(vq_groups_rule_for(&g, l.queries, QUERIES, wants, 1, 0, 2, &rule, &err), VQ_OK);
    cr_assert(isfinite(rule.reach) && isfinite(rule.gap) && isfinite(rule.slack), "%g %g %g",
              (double)rule.reach, (double)rule.gap, (double)rule.slack);
    vq_groups_free(&g);
    drop(&l);
}
