/* SPDX-License-Identifier: Apache-2.0 */
/* Lists by what queries feel, against the definition in double. */
#include "src/train/perlist.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/train/spill.h"
#include "tests/harness/harness.h"

enum { D = 11, N = 300, NQ = 90, STRIDE = 5, COUNT = 4 };

static double product(const float *a, const float *b)
{
    double sum = 0.0;
    for (size_t j = 0; j < D; j++) sum += (double)a[j] * (double)b[j];
    return sum;
}

static double cost(const vq_perlist *p, size_t row, size_t list)
{
    float r[D];
    for (size_t j = 0; j < D; j++) r[j] = p->rows[row * D + j] - p->centroids[list * D + j];
    double sum = product(r, r);
    for (size_t s = 0; s < COUNT && p->near[row * STRIDE + s] != UINT32_MAX; s++) {
        double felt = product(p->queries + (size_t)p->near[row * STRIDE + s] * D, r);
        sum += (double)p->beta / COUNT * felt * felt;
    }
    return sum;
}

/* Of a second list: s turned away from the residual r in the first. */
static double second_cost(const vq_perlist *p, size_t row, size_t first, size_t list)
{
    float r[D], s[D];
    for (size_t j = 0; j < D; j++) {
        r[j] = p->rows[row * D + j] - p->centroids[first * D + j];
        s[j] = p->rows[row * D + j] - p->centroids[list * D + j];
    }
    return cost(p, row, list) + product(s, r) * product(s, r) / product(r, r);
}

static void check_second(const vq_perlist *p, size_t row, size_t first, uint32_t second)
{
    double limit = second_cost(p, row, first, first), best = INFINITY, slack = 1e-4 * (1.0 + limit);
    for (size_t l = 0; l < p->nlist; l++)
        if (l != first) best = fmin(best, second_cost(p, row, first, l));
    if (second == VQ_NO_LIST) {
        cr_assert(best > limit - slack, "row %zu: none, but %g < %g", row, best, limit);
    } else {
        cr_assert(second < p->nlist && second != first);
        cr_assert(second_cost(p, row, first, second) < fmin(best, limit) + slack);
    }
}

static void compare(size_t nlist, float beta)
{
    vq_error err;
    size_t copies = 0;
    vq_rng r;
    vq_rng_init(&r, test_seed(), nlist);
    float *x = vq_alloc_f32(N, D), *c = vq_alloc_f32(nlist, D), *q = vq_alloc_f32(NQ, D);
    static uint32_t near[N * STRIDE], one[N], many[N], second[N], seconds[N];
    fill_normal(&r, x, N * D);
    fill_normal(&r, c, nlist * D);
    fill_normal(&r, q, NQ * D);
    for (size_t i = 0; i < N * STRIDE; i++)
        near[i] = i % STRIDE > i / STRIDE % 6 ? UINT32_MAX : (uint32_t)vq_rng_below(&r, NQ);
    vq_perlist p = {.n = N,
                    .d = D,
                    .nlist = nlist,
                    .nq = NQ,
                    .rows = x,
                    .centroids = c,
                    .queries = q,
                    .near = near,
                    .stride = STRIDE,
                    .count = COUNT,
                    .beta = beta,
                    .threads = 1};
    cr_assert_eq(vq_perlist_assign(&p, one, second, &err), VQ_OK);
    for (size_t i = 0; i < N; i++) {
        double best = INFINITY, got = cost(&p, i, one[i]);
        for (size_t l = 0; l < nlist; l++) best = fmin(best, cost(&p, i, l));
        cr_assert(one[i] < nlist && got <= best + 1e-4 * (1.0 + best), "row %zu: %g, best %g", i,
                  got, best);
        check_second(&p, i, one[i], second[i]);
        copies += second[i] != VQ_NO_LIST;
    }
    cr_assert((copies > 0) == (nlist > 1) && copies < N);
    p.threads = 3;
    cr_assert_eq(vq_perlist_assign(&p, many, seconds, &err), VQ_OK);
    cr_assert(memcmp(one, many, sizeof one) == 0 && memcmp(second, seconds, sizeof second) == 0);
    cr_assert_eq(vq_perlist_assign(&p, many, NULL, &err), VQ_OK);
    cr_assert(memcmp(one, many, sizeof one) == 0);
    vq_mem_free(x), vq_mem_free(c), vq_mem_free(q);
}

Test(perlist, the_least_cost)
{
    compare(1, 1.0f);
    compare(40, 0.0f);
    compare(40, 2.0f);
    compare(300, 0.5f); /* in two blocks */
}
