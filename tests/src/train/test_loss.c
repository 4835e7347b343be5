/* SPDX-License-Identifier: Apache-2.0 */
/* Distillation losses: gradients against differences, invariances, limits; the temperature. */
#include "src/train/loss.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"

enum { N = 40 };

/* Scores that are multiples of 2^-10: sums with such are exact. */
static void draw(vq_rng *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)vq_rng_below(r, 2048) / 1024.0f;
}

Test(loss, names)
{
    cr_assert_eq(vq_loss_count, 5u);
    cr_assert_str_eq(vq_losses[0].name, "listnet");
    for (size_t i = 0; i < vq_loss_count; i++)
        cr_assert_eq(vq_loss_by_name(vq_losses[i].name), &vq_losses[i]);
    cr_assert_null(vq_loss_by_name("hinge"));
}

/* Floats 2^-11 apart step the scores exactly, so the difference is of doubles.  It is taken at two
 * widths and extrapolated, which leaves an error of the fourth order. */
static double difference(const vq_loss *loss, const float *t, float *s, size_t n, double T,
                         size_t i, double *scratch, double *grad)
{
    const float h = 0x1p-11f, at = s[i];
    double slope[2];
    for (int wide = 0; wide < 2; wide++) {
        float step = wide ? 2.0f * h : h;
        s[i] = at + step;
        double up = loss->fn(t, s, n, T, scratch, grad);
        s[i] = at - step;
        slope[wide] = (up - loss->fn(t, s, n, T, scratch, grad)) / (2.0 * (double)step);
    }
    s[i] = at;
    return (4.0 * slope[0] - slope[1]) / 3.0;
}

Test(loss, gradients_are_differences)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (size_t l = 0; l < vq_loss_count; l++)
        for (size_t n = 1; n <= N; n += 3) {
            float t[N], s[N];
            double scratch[2 * N], grad[N], other[N], T = 0.2 + vq_rng_f64(&r), size = 1e-3;
            draw(&r, t, n);
            for (size_t i = 0; i < n; i++) { /* well apart: lambda jumps where ranks change */
                size_t j = (size_t)vq_rng_below(&r, i + 1);
                s[i] = s[j];
                s[j] = (float)i / 16.0f;
            }
            double value = vq_losses[l].fn(t, s, n, T, scratch, grad);
            cr_assert(value >= 0.0 && isfinite(value));
            for (size_t i = 0; i < n; i++) size = fmax(size, fabs(grad[i]));
            for (size_t i = 0; i < n; i++) {
                double want = difference(&vq_losses[l], t, s, n, T, i, scratch, other);
                cr_assert_float_eq(grad[i], want, 1e-7 * size, "%s n=%zu: %.12g, difference %.12g",
                                   vq_losses[l].name, n, grad[i], want);
            }
        }
}

Test(loss, nothing_to_learn_from_oneself)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    static const char *const names[] = {"listnet", "kl", "margin-mse"};
    for (size_t l = 0; l < 3; l++) {
        const vq_loss *loss = vq_loss_by_name(names[l]);
        float t[N], s[N];
        double scratch[2 * N], grad[N];
        draw(&r, t, N);
        memcpy(s, t, sizeof s);
        cr_assert_eq(loss->fn(t, s, N, 0.05, scratch, grad), 0.0);
        for (size_t i = 0; i < N; i++) cr_assert_eq(grad[i], 0.0, "%s", names[l]);
        for (size_t i = 0; i < N; i++) s[i] += 64.0f;
        cr_assert_lt(loss->fn(t, s, N, 0.05, scratch, grad), 1e-12);
        for (size_t i = 0; i < N; i++) cr_assert_lt(fabs(grad[i]), 1e-12);
    }
}

Test(loss, a_constant_changes_nothing)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    for (size_t l = 0; l < vq_loss_count; l++) {
        float t[N], s[N];
        double scratch[2 * N], grad[N], moved[N];
        draw(&r, t, N);
        draw(&r, s, N);
        double value = vq_losses[l].fn(t, s, N, 0.3, scratch, grad);
        for (size_t i = 0; i < N; i++) {
            s[i] -= 128.0f;
            t[i] += 32.0f;
        }
        double again = vq_losses[l].fn(t, s, N, 0.3, scratch, moved);
        cr_assert_float_eq(value, again, 1e-11 * (1.0 + value), "%s", vq_losses[l].name);
        for (size_t i = 0; i < N; i++)
            cr_assert_float_eq(grad[i], moved[i], 1e-11, "%s", vq_losses[l].name);
    }
}

Test(loss, one_candidate_teaches_nothing)
{
    for (size_t l = 0; l < vq_loss_count; l++) {
        float t = 3.0f, s = -2.0f;
        double scratch[2], grad = 1.0;
        cr_assert_eq(vq_losses[l].fn(&t, &s, 1, 0.5, scratch, &grad), 0.0);
        cr_assert_eq(grad, 0.0);
    }
}

/* softmax is 1/n + (x - mean) / (n T) + O(T^-2) */
Test(loss, a_high_temperature_compares_centred_scores)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    float t[N], s[N];
    double scratch[2 * N], grad[N], T = 1e5, mean = 0.0;
    draw(&r, t, N);
    draw(&r, s, N);
    for (size_t i = 0; i < N; i++) mean += ((double)s[i] - (double)t[i]) / N;
    for (size_t l = 0; l < 2; l++) {
        (void)vq_losses[l].fn(t, s, N, T, scratch, grad);
        for (size_t i = 0; i < N; i++)
            cr_assert_float_eq(grad[i] * N * T * T, (double)s[i] - (double)t[i] - mean, 1e-4);
    }
}

Test(loss, extreme_scores_stay_finite)
{
    float t[4] = {1e6f, 0.0f, -1e6f, 5.0f}, s[4] = {-1e6f, 1e6f, 0.0f, 7.0f};
    double scratch[8], grad[4];
    for (size_t l = 0; l < vq_loss_count; l++) {
        cr_assert(isfinite(vq_losses[l].fn(t, s, 4, 0.01, scratch, grad)));
        for (size_t i = 0; i < 4; i++) cr_assert(isfinite(grad[i]), "%s", vq_losses[l].name);
        if (l != 1) /* kl gives up what the student does not believe in */
            cr_assert(grad[0] < 0.0, "%s lifts the best: %g", vq_losses[l].name, grad[0]);
    }
}

/* What lambda counts: pairs that leave the top ten alone weigh nothing. */
Test(loss, lambda_minds_the_top)
{
    float t[N], s[N];
    double scratch[2 * N], grad[N];
    const vq_loss *lambda = vq_loss_by_name("lambda");
    for (size_t i = 0; i < N; i++) t[i] = s[i] = -(float)i;
    s[30] = 0.5f; /* a false first */
    (void)lambda->fn(t, s, N, 1.0, scratch, grad);
    cr_assert(grad[30] > 0.0 && grad[0] < 0.0);
    for (size_t i = 10; i < N; i++) cr_assert(grad[i] >= 0.0);
    for (size_t i = 10; i < N; i++) s[i] = -100.0f - (float)((i * 7) % N);
    (void)lambda->fn(t, s, N, 1.0, scratch, grad);
    for (size_t i = 10; i < N; i++) cr_assert_lt(fabs(grad[i]), 1e-30);
}

static double mean_perplexity(const float *t, const size_t *first, size_t lists, double T)
{
    double sum = 0.0;
    for (size_t l = 0; l < lists; l++) {
        double total = 0.0, entropy = 0.0;
        for (size_t c = first[l]; c < first[l + 1]; c++) total += exp((double)t[c] / T);
        for (size_t c = first[l]; c < first[l + 1]; c++) {
            double p = exp((double)t[c] / T) / total;
            if (p > 0.0) entropy -= p * log(p);
        }
        sum += exp(entropy) / (double)lists;
    }
    return sum;
}

Test(loss, temperature_hits_the_perplexity)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    enum { LISTS = 20 };
    size_t first[LISTS + 1] = {0};
    float t[LISTS * 100];
    for (size_t l = 0; l < LISTS; l++) first[l + 1] = first[l] + 60 + (size_t)vq_rng_below(&r, 40);
    for (size_t c = 0; c < first[LISTS]; c++) t[c] = 0.1f * (float)vq_rng_normal(&r);
    for (double target = 2.0; target < 50.0; target *= 2.0) {
        double T = vq_temperature(t, first, LISTS, target);
        cr_assert_float_eq(mean_perplexity(t, first, LISTS, T), target, 1e-4 * target);
        for (size_t c = 0; c < first[LISTS]; c++) t[c] *= 8.0f;
        double wide = vq_temperature(t, first, LISTS, target);
        cr_assert_float_eq(wide, 8.0 * T, 1e-5 * wide);
        for (size_t c = 0; c < first[LISTS]; c++) t[c] *= 0.125f;
    }
    cr_assert_gt(vq_temperature(t, first, LISTS, 1000.0), 10.0, "out of reach: coarse");
    cr_assert_lt(vq_temperature(t, first, LISTS, 0.5), 1e-5, "out of reach: fine");
}

Test(loss, temperature_of_odd_lists)
{
    float t[4] = {2.0f, 2.0f, 2.0f, 2.0f};
    size_t first[3] = {0, 0, 4};
    cr_assert_eq(vq_temperature(t, first, 2, 2.0), 1.0);
    t[3] = 1.0f;
    double T = vq_temperature(t, first, 2, 3.5); /* the empty list does not count */
    cr_assert_float_eq(mean_perplexity(t, first + 1, 1, T), 3.5, 1e-3);
    cr_assert_eq(vq_temperature(t, first, 1, 2.0), 1.0);
    cr_assert_eq(vq_temperature(NULL, first, 0, 2.0), 1.0);
}
