/* SPDX-License-Identifier: Apache-2.0 */
/* Counts drawn by known coefficients: are they found again? */
#include "src/train/poisson.h"

#include <criterion/criterion.h>
#include <math.h>

#include "tests/harness/harness.h"

enum { N = 20000 };

typedef struct drawn {
    double x[N][3], y[N];
    size_t n;
} drawn;

static void fit(const drawn *d, const unsigned char *fixed, double *coef)
{
    vq_poisson data = {.p = 3};
    for (size_t i = 0; i < d->n; i++)
        cr_assert_eq(vq_poisson_add(&data, d->x[i], d->y[i], 1.0, NULL), VQ_OK);
    vq_poisson_fit(&data, fixed, coef);
    vq_poisson_fini(&data);
}

/* Knuth, TAOCP 3.4.1. */
static double poisson(vq_rng *r, double mean)
{
    double limit = exp(-mean), p = 1;
    int k = -1;
    do {
        k++;
        p *= ((double)vq_rng_below(r, 1u << 30) + 0.5) / (1u << 30);
    } while (p > limit);
    return k;
}

static drawn *draw(const double *coef, size_t n)
{
    drawn *d = calloc(1, sizeof *d);
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    cr_assert(d != NULL);
    d->n = n;
    for (size_t i = 0; i < n; i++) {
        d->x[i][0] = 1;
        d->x[i][1] = vq_rng_normal(&r);
        d->x[i][2] = vq_rng_normal(&r);
        d->y[i] = poisson(&r, exp(coef[0] + coef[1] * d->x[i][1] + coef[2] * d->x[i][2]));
    }
    return d;
}

Test(poisson, finds_what_drew_the_counts)
{
    const double want[3] = {-2.0, 0.8, -1.1};
    const unsigned char free_[3] = {0, 0, 0}, fixed[3] = {0, 1, 0};
    double got[3];
    drawn *d = draw(want, N);
    fit(d, free_, got);
    for (int i = 0; i < 3; i++) cr_assert_float_eq(got[i], want[i], 0.08, "%d: %g", i, got[i]);
    fit(d, fixed, got);
    cr_assert(got[1] == 0.0 && fabs(got[2] - want[2]) < 0.2, "%g %g", got[1], got[2]);
    free(d);
}

Test(poisson, stays_finite_where_the_data_decide_nothing)
{
    const unsigned char free_[3] = {0, 0, 0};
    const double none[3] = {-40.0, 0.0, 0.0};
    double got[3];
    drawn *d = draw(none, 500); /* all counts are 0 */
    fit(d, free_, got);
    for (int i = 0; i < 3; i++) cr_assert(isfinite(got[i]));
    cr_assert(got[0] < -5.0, "%g", got[0]);
    for (size_t i = 0; i < d->n; i++) d->y[i] = d->x[i][1] > 0; /* parted by one feature */
    fit(d, free_, got);
    for (int i = 0; i < 3; i++) cr_assert(isfinite(got[i]));
    cr_assert(got[1] > 0.5);
    d->n = 0;
    fit(d, free_, got);
    for (int i = 0; i < 3; i++) cr_assert_eq(got[i], 0.0);
    free(d);
}
