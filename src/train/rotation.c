/* SPDX-License-Identifier: Apache-2.0 */
/* rotation.c -- principal axes, how many of them deserve bits, and how they are dealt to
 * sub-spaces. The optimised rotation that starts from there is opq.c. */
#include "src/train/rotation.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/math/blas.h"
#include "src/train/moments.h"

/* ---- principal axes -------------------------------------------------------------------------- */

#define CHUNK      4096u /* rows that are centred at a time */
#define CENTRE_ROW 256u  /* rows of a centring task */
#define MEAN_COL   64u   /* columns of a mean task */

typedef struct pca {
    const float *x;
    size_t n, d;
    float *mean;     /* the caller's */
    size_t row;      /* first row of the chunk */
    size_t rows;     /* of the chunk */
    float *centred;  /* CHUNK x d: owned */
    double *sums;    /* d: owned */
    double *cov;     /* d x d: owned */
    double *vectors; /* d x d: owned */
} pca;

static vq_status mean_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    pca *p = ctx;
    size_t from = task * MEAN_COL, to = VQ_MIN(from + MEAN_COL, p->d);
    for (size_t i = 0; i < p->n; i++)
        for (size_t j = from; j < to; j++) p->sums[j] += (double)p->x[i * p->d + j];
    for (size_t j = from; j < to; j++) p->mean[j] = (float)(p->sums[j] / (double)p->n);
    return VQ_OK;
}

/* The mean comes off before the products: E[xx'] - mm' would lose the digits of small variances. */
static vq_status centre_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)worker, (void)err;
    pca *p = ctx;
    size_t from = task * CENTRE_ROW, to = VQ_MIN(from + CENTRE_ROW, p->rows);
    for (size_t i = from; i < to; i++)
        for (size_t j = 0; j < p->d; j++)
            p->centred[i * p->d + j] = p->x[(p->row + i) * p->d + j] - p->mean[j];
    return VQ_OK;
}

static vq_status covariance(pca *p, int centre, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = p->d;
    for (size_t j = 0; j < d; j++) p->mean[j] = 0.0f;
    if (centre) VQ_TRY(vq_team_run(threads, (d + MEAN_COL - 1) / MEAN_COL, mean_task, p, err));
    for (p->row = 0; p->row < p->n; p->row += CHUNK) {
        p->rows = VQ_MIN(p->n - p->row, CHUNK);
        VQ_TRY(vq_team_run(threads, (p->rows + CENTRE_ROW - 1) / CENTRE_ROW, centre_task, p, err));
        VQ_TRY(vq_moments_add(p->centred, p->centred, p->rows, d, threads, p->cov, err));
    }
    for (size_t i = 0; i < d; i++)
        for (size_t j = i; j < d; j++)
            p->cov[j * d + i] = p->cov[i * d + j] = p->cov[i * d + j] / (double)p->n;
out:
    return rc;
}

vq_status vq_pca(const float *x, size_t n, size_t d, int centre, int threads, float *mean,
                 float *axes, double *variances, vq_error *err)
{
    vq_status rc = VQ_OK;
    pca p = {.x = x, .n = n, .d = d, .mean = mean};
    size_t dd = 0;
    vq_team_blas_enter();
    VQ_REQUIRE(n >= 1 && d >= 1 && vq_mul_size(d, d, &dd), VQ_EINVAL,
               "pca: %zu rows of %zu dimensions", n, d);
    p.centred = vq_alloc_f32(VQ_MIN(n, CHUNK), d);
    p.sums = vq_mem_calloc(d, sizeof *p.sums);
    p.cov = vq_mem_calloc(dd, sizeof *p.cov);
    p.vectors = vq_mem_alloc(dd, sizeof *p.vectors);
    VQ_REQUIRE(p.centred != NULL && p.sums != NULL && p.cov != NULL && p.vectors != NULL, VQ_ENOMEM,
               "pca: out of memory for %zu dimensions", d);
    VQ_TRY(covariance(&p, centre, threads, err));
    VQ_TRY(vq_eigen_symmetric(p.cov, d, p.vectors, variances, err));
    for (size_t i = 0; i < dd; i++) axes[i] = (float)p.vectors[i];
    for (size_t j = 0; j < d; j++) variances[j] = VQ_MAX(variances[j], 0.0); /* rounding */
out:
    vq_mem_free(p.centred);
    vq_mem_free(p.sums);
    vq_mem_free(p.cov);
    vq_mem_free(p.vectors);
    vq_team_blas_leave();
    return rc;
}

/* ---- allocation ------------------------------------------------------------------------------ */

size_t vq_waterfill(const double *variances, size_t d, double bits)
{
    /* With the first r axes active the level is log2 = (sum of log2 variances - 2 bits) / r; r is
     * right as long as its last axis stands above that. */
    double sum = 0.0, level = -INFINITY;
    for (size_t r = 0; r < d && variances[r] > 0.0; r++) {
        double log_variance = log2(variances[r]);
        double log_level = (sum + log_variance - 2.0 * bits) / (double)(r + 1);
        if (r > 0 && !(log_variance > log_level)) break;
        sum += log_variance;
        level = log_level;
    }
    size_t kept = 0;
    while (kept < d && variances[kept] > 0.0 && log2(variances[kept]) > level) kept++;
    return VQ_MAX(kept, 1u);
}

/* What a variance counts for: its logarithm over the least that counts, hence >= 0.  (With
 * logarithms of either sign the deal below would depend on the unit of the data.) */
static double log_weight(double variance, double least)
{
    return variance > least ? log(variance / least) : 0.0;
}

#define FREE_PLACE UINT32_MAX

size_t vq_axes_worth(const double *variances, size_t d, size_t m, size_t kk)
{
    size_t most = vq_waterfill(variances, d, (double)m * log2((double)kk)), best = most;
    double floor = 1e-12 * variances[0], dropped = 0.0, logs = 0.0, bound = 0.0;
    for (size_t a = most; a < d; a++) dropped += variances[a];
    for (size_t a = 0; a < most; a++) logs += log(VQ_MAX(variances[a], floor));
    for (size_t keep = most; keep > 0 && variances[0] > 0.0; keep--) {
        double ds = (double)keep / (double)m;
        double coded = (double)keep * pow((double)kk, -2.0 / ds) * exp(logs / (double)keep);
        if (keep == most) bound = 1.03 * (dropped + coded);
        if (dropped + coded > bound) break;
        best = keep;
        dropped += variances[keep - 1];
        logs -= log(VQ_MAX(variances[keep - 1], floor));
    }
    return best;
}

size_t vq_axes_holding(const double *variances, size_t d, double share)
{
    double total = 0.0, held = 0.0;
    size_t keep = 0;
    for (size_t a = 0; a < d; a++) total += variances[a];
    while (keep < d && (keep == 0 || held < share * total)) held += variances[keep++];
    return keep;
}

void vq_balance(const double *variances, size_t d, size_t m, uint32_t *order)
{
    /* Greedy: the axes come by falling variance, each goes to the sub-space with the smallest
     * product that has a free place.  Sums are taken afresh from `order`: d^2 in all, next to the
     * d^3 that the axes have cost, and nothing to allocate. */
    size_t dsub = d / m;
    double least = 0.0;
    for (size_t j = 0; j < d; j++) least = VQ_MAX(least, 1e-6 * variances[j]);
    for (size_t j = 0; j < d; j++) order[j] = FREE_PLACE;
    for (size_t axis = 0; axis < d; axis++) {
        uint32_t *best = NULL;
        double best_sum = INFINITY;
        for (size_t b = 0; b < m; b++) {
            uint32_t *place = order + b * dsub, *end = place + dsub;
            double sum = 0.0;
            for (; place < end && *place != FREE_PLACE; place++)
                sum += log_weight(variances[*place], least);
            if (place < end && sum < best_sum) {
                best = place;
                best_sum = sum;
            }
        }
        *best = (uint32_t)axis;
    }
}
