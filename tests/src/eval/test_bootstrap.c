/* SPDX-License-Identifier: Apache-2.0 */
/* The paired bootstrap: what it must give exactly, and how often its interval is right. */
#include "src/eval/bootstrap.h"

#include <criterion/criterion.h>
#include <math.h>

#include "tests/harness/harness.h"

enum { N = 300 };

static vq_interval paired(const double *a, const double *b, size_t n, vq_bootstrap_opts opts)
{
    vq_error err;
    vq_interval got;
    cr_assert_eq(vq_bootstrap_paired(a, b, n, &opts, &got, &err), VQ_OK, "%s", err.text);
    return got;
}

Test(bootstrap, nothing_differs)
{
    double a[N];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (size_t i = 0; i < N; i++) a[i] = vq_rng_f64(&r);
    vq_interval got = paired(a, a, N, (vq_bootstrap_opts){.resamples = 1000, .seed = 1});
    cr_assert(got.mean == 0.0 && got.low == 0.0 && got.high == 0.0);
}

Test(bootstrap, a_constant_shift_is_exact)
{
    double a[N], b[N], zero[N] = {0};
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    for (size_t i = 0; i < N; i++) { /* tenths would be rounded before we see them */
        b[i] = (double)vq_rng_below(&r, 11) / 16.0;
        a[i] = b[i] - 0.3125;
    }
    vq_interval got = paired(a, b, N, (vq_bootstrap_opts){.resamples = 500, .seed = 1});
    cr_assert(got.mean == -0.3125 && got.low == -0.3125 && got.high == -0.3125);
    for (size_t i = 0; i < N; i++) a[i] = 0.1;
    got = paired(a, zero, N, (vq_bootstrap_opts){.resamples = 500, .seed = 1});
    cr_assert(got.mean == 0.1 && got.low == 0.1 && got.high == 0.1);
}

/* Of many samples of a known distribution, the interval of about 95 in 100 holds its mean. */
Test(bootstrap, covers_the_true_mean)
{
    enum { TRIALS = 1000, ROWS = 80 };
    double a[ROWS], b[ROWS];
    size_t held = 0, below = 0;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    for (size_t t = 0; t < TRIALS; t++) {
        for (size_t i = 0; i < ROWS; i++) {
            double query = vq_rng_normal(&r); /* hard and easy ones: pairing cancels it */
            a[i] = 10.0 * query + 0.5 + vq_rng_normal(&r);
            b[i] = 10.0 * query;
        }
        vq_interval got = paired(a, b, ROWS, (vq_bootstrap_opts){.resamples = 800, .seed = t});
        cr_assert(got.low < got.mean && got.mean < got.high);
        cr_assert_lt(got.high - got.low, 1.0); /* 4 / sqrt(80) is .45; unpaired it would be 6 */
        held += got.low <= 0.5 && 0.5 <= got.high;
        below += got.high < 0.5;
    }
    cr_assert(held >= 905 && held <= 980, "%zu of %d, seed %llu", held, TRIALS,
              (unsigned long long)test_seed());
    cr_assert(below >= 5 && below <= 60, "%zu of %d", below, TRIALS);
}

Test(bootstrap, threads_do_not_matter)
{
    double a[N], b[N];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    for (size_t i = 0; i < N; i++) a[i] = vq_rng_normal(&r), b[i] = vq_rng_normal(&r);
    vq_bootstrap_opts opts = {.resamples = 1777, .seed = 5, .threads = 1};
    vq_interval one = paired(a, b, N, opts);
    for (opts.threads = 2; opts.threads <= 5; opts.threads++) {
        vq_interval many = paired(a, b, N, opts);
        cr_assert(one.mean == many.mean && one.low == many.low && one.high == many.high);
    }
    opts.seed = 6;
    vq_interval other = paired(a, b, N, opts);
    cr_assert(other.mean == one.mean && other.low != one.low);
}

Test(bootstrap, what_is_not_known_is_left_out)
{
    const double a[5] = {1.0, NAN, 2.0, 3.0, NAN}, b[5] = {0.0, 1.0, NAN, 2.0, NAN};
    vq_bootstrap_opts opts = {.resamples = 100, .seed = 1};
    vq_interval got = paired(a, b, 5, opts);
    cr_assert(got.mean == 1.0 && got.low == 1.0 && got.high == 1.0);
    got = paired(a + 1, b + 1, 2, opts);
    cr_assert(isnan(got.mean) && isnan(got.low) && isnan(got.high));
    got = paired(a, b, 0, opts);
    cr_assert(isnan(got.mean));
    opts.resamples = 1;
    cr_assert(paired(a, b, 5, opts).low == 1.0);
    opts.resamples = 0;
    cr_assert_eq(vq_bootstrap_paired(a, b, 5, &opts, &got, NULL), VQ_EINVAL);
}
