/* SPDX-License-Identifier: Apache-2.0 */
/* Logistic regression: what was simulated is found again, and nothing near it is better. */
#include "src/train/logistic.h"

#include <criterion/criterion.h>

#include "src/base/mem.h"
#include "src/train/newton.h"
#include "tests/harness/harness.h"

enum { N = 40000, P = 4 };

static const double truth[P + 1] = {-1.0, 2.0, -0.5, 0.0, 0.7};

static void simulate(vq_rng *r, double *x, uint8_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double t = truth[0];
        for (size_t j = 0; j < P; j++) {
            x[i * P + j] = vq_rng_normal(r);
            t += truth[j + 1] * x[i * P + j];
        }
        y[i] = (double)vq_rng_below(r, 1u << 30) / (1u << 30) < vq_logistic(t);
    }
}

Test(logistic, finds_what_was_simulated)
{
    vq_rng r;
    double *x = vq_mem_alloc(N, P * sizeof *x), coef[P + 1], gradient[P + 1], near[P + 1];
    uint8_t *y = vq_mem_alloc(N, 1);
    vq_rng_init(&r, test_seed(), 1);
    simulate(&r, x, y, N);
    vq_logistic_fit(x, y, N, P, 1.0, coef);
    for (size_t j = 0; j <= P; j++)
        cr_assert(fabs(coef[j] - truth[j]) < 0.08, "coefficient %zu: %g, not %g", j, coef[j],
                  truth[j]);
    double best = vq_logistic_loss(x, y, N, P, 1.0, coef, gradient);
    for (size_t j = 0; j <= P; j++)
        cr_assert(fabs(gradient[j]) < 1e-5 * N, "gradient %zu: %g", j, gradient[j]);
    for (size_t j = 0; j <= P; j++)
        for (int sign = -1; sign <= 1; sign += 2) {
            memcpy(near, coef, sizeof near);
            near[j] += sign * 0.02;
            cr_assert(vq_logistic_loss(x, y, N, P, 1.0, near, NULL) > best);
        }
    vq_mem_free(x);
    vq_mem_free(y);
}

/* The gradient is that of the loss. */
Test(logistic, gradient)
{
    enum { FEW = 50 };
    vq_rng r;
    double x[FEW * P], coef[P + 1], gradient[P + 1];
    uint8_t y[FEW];
    vq_rng_init(&r, test_seed(), 2);
    simulate(&r, x, y, FEW);
    for (size_t j = 0; j <= P; j++) coef[j] = vq_rng_normal(&r);
    (void)vq_logistic_loss(x, y, FEW, P, 3.0, coef, gradient);
    for (size_t j = 0; j <= P; j++) {
        const double h = 1e-6, was = coef[j];
        coef[j] = was + h;
        double above = vq_logistic_loss(x, y, FEW, P, 3.0, coef, NULL);
        coef[j] = was - h;
        double below = vq_logistic_loss(x, y, FEW, P, 3.0, coef, NULL);
        coef[j] = was;
        cr_assert(fabs((above - below) / (2 * h) - gradient[j]) < 1e-5);
    }
}

/* Where a feature tells all the pull keeps its coefficient finite; where none does it is 0. */
Test(logistic, separable_and_constant)
{
    double x[40], coef[2];
    uint8_t y[40];
    for (int i = 0; i < 40; i++) x[i] = i < 20 ? -1 : 1, y[i] = i >= 20;
    vq_logistic_fit(x, y, 40, 1, 1.0, coef);
    cr_assert(isfinite(coef[1]) && coef[1] > 1.0 && coef[1] < 10.0, "%g", coef[1]);
    for (int i = 0; i < 40; i++) x[i] = 0, y[i] = i % 4 == 0;
    vq_logistic_fit(x, y, 40, 1, 1.0, coef);
    cr_assert(coef[1] == 0.0 && fabs(vq_logistic(coef[0]) - 0.25) < 1e-6);
}

Test(logistic, newton)
{
    const double h[9] = {4, NAN, NAN, 2, 5, NAN, -1, 1, 6}, g[3] = {1, -2, 3};
    const double full[9] = {4, 2, -1, 2, 5, 1, -1, 1, 6}, singular[4] = {1, NAN, 1, 1};
    double step[3];
    cr_assert(vq_newton_step(h, 3, 3, g, step));
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        for (int j = 0; j < 3; j++) sum += full[3 * i + j] * step[j];
        cr_assert(fabs(sum - g[i]) < 1e-12);
    }
    cr_assert_not(vq_newton_step(singular, 2, 2, g, step));
}
