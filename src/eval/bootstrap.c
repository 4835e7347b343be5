/* SPDX-License-Identifier: Apache-2.0 */
/* bootstrap.c -- see bootstrap.h.  Each resample draws from a stream of its own, so that who draws
 * it does not matter. */
#include "src/eval/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/team.h"

enum { CHUNK = 64 }; /* resamples of a task */

typedef struct bootstrap {
    const vq_bootstrap_opts *opts;
    double *diff; /* n: differences less the first one, owned */
    size_t n;
    double *means; /* resamples, owned */
} bootstrap;

static vq_status resample_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    const bootstrap *b = ctx;
    size_t from = task * CHUNK, to = VQ_MIN(from + CHUNK, b->opts->resamples);
    for (size_t i = from; i < to; i++) {
        vq_rng r;
        double sum = 0.0;
        vq_rng_init(&r, b->opts->seed, i);
        for (size_t j = 0; j < b->n; j++) sum += b->diff[vq_rng_below(&r, b->n)];
        b->means[i] = sum / (double)b->n;
    }
    return VQ_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Less the first one, differences that are all the same are 0, and their means exact. */
static double fill_differences(bootstrap *b, const double *x, const double *y, size_t n)
{
    double first = NAN;
    for (size_t i = 0; i < n; i++) {
        double d = x[i] - y[i];
        if (isnan(d)) continue;
        if (b->n == 0) first = d;
        b->diff[b->n++] = d - first;
    }
    return first;
}

vq_status vq_bootstrap_paired(const double *a, const double *b, size_t n,
                              const vq_bootstrap_opts *opts, vq_interval *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t resamples = opts->resamples, tasks = (resamples + CHUNK - 1) / CHUNK;
    bootstrap s = {.opts = opts};
    VQ_REQUIRE(resamples >= 1, VQ_EINVAL, "bootstrap: no resamples");
    s.diff = vq_mem_alloc(n, sizeof *s.diff);
    s.means = vq_mem_alloc(resamples, sizeof *s.means);
    VQ_REQUIRE(s.diff != NULL && s.means != NULL, VQ_ENOMEM,
               "bootstrap: %zu queries, %zu resamples", n, resamples);
    double first = fill_differences(&s, a, b, n), sum = 0.0;
    *out = (vq_interval){NAN, NAN, NAN};
    if (s.n == 0) goto out;
    VQ_TRY(vq_team_run(vq_team(opts->threads, tasks), tasks, resample_task, &s, err));
    qsort(s.means, resamples, sizeof *s.means, by_value);
    for (size_t i = 0; i < s.n; i++) sum += s.diff[i];
    size_t cut = resamples / 40; /* 2.5 % at either end */
    *out = (vq_interval){first + sum / (double)s.n, first + s.means[cut],
                         first + s.means[resamples - 1 - cut]};
out:
    vq_mem_free(s.diff);
    vq_mem_free(s.means);
    return rc;
}
