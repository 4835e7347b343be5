/* SPDX-License-Identifier: Apache-2.0 */
/* loss.c -- distillation losses and the choice of their temperature.  All sums are doubles. */
#include "src/train/loss.h"

#include <math.h>
#include <string.h>

#include "src/base/compiler.h"

#define DEPTH      10u   /* the top that lambda cares for */
#define LISTS_MAX  1000u /* that a temperature is measured on */
#define BISECTIONS 60
#define TOO_FINE   1e-7 /* share of the widest list's spread at which a search for T begins .. */
#define TOO_COARSE 1e4  /* .. and ends */
#define CLOSE      1e-7 /* relative width of the bracket that ends it */

/* log p[i] = (x[i] - max) / T - lse */
typedef struct softmax {
    double max, lse;
} softmax;

static softmax softmax_of(const float *x, size_t n, double T, double *p)
{
    softmax f = {.max = (double)x[0]};
    double sum = 0.0;
    for (size_t i = 1; i < n; i++) f.max = VQ_MAX(f.max, (double)x[i]);
    for (size_t i = 0; i < n; i++) sum += p[i] = exp(((double)x[i] - f.max) / T);
    for (size_t i = 0; i < n; i++) p[i] /= sum;
    f.lse = log(sum);
    return f;
}

static double log_p(const softmax *f, float x, double T)
{
    return ((double)x - f->max) / T - f->lse;
}

/* Kullback-Leibler divergence of the student from the teacher: cross-entropy less the teacher's
 * entropy, so the gradient is ListNet's (Cao et al. 2007). */
static double listnet(const float *t, const float *s, size_t n, double T, double *scratch,
                      double *grad)
{
    double *pt = scratch, *ps = scratch + n, sum = 0.0;
    softmax ft = softmax_of(t, n, T, pt), fs = softmax_of(s, n, T, ps);
    for (size_t i = 0; i < n; i++) {
        sum += pt[i] * (log_p(&ft, t[i], T) - log_p(&fs, s[i], T));
        grad[i] = (ps[i] - pt[i]) / T;
    }
    return sum < 0.0 ? 0.0 : sum; /* by rounding; a NaN stays */
}

/* The divergence the other way: seeks one mode of the teacher instead of covering all. */
static double kl(const float *t, const float *s, size_t n, double T, double *scratch, double *grad)
{
    double *pt = scratch, *ps = scratch + n, sum = 0.0;
    softmax ft = softmax_of(t, n, T, pt), fs = softmax_of(s, n, T, ps);
    for (size_t i = 0; i < n; i++) {
        grad[i] = log_p(&fs, s[i], T) - log_p(&ft, t[i], T);
        sum += ps[i] * grad[i];
    }
    for (size_t i = 0; i < n; i++) grad[i] = ps[i] * (grad[i] - sum) / T;
    return sum < 0.0 ? 0.0 : sum; /* by rounding; a NaN stays */
}

/* Mean over ordered pairs of ((t_i - t_j) - (s_i - s_j))^2: twice the variance of s - t. */
static double margin_mse(const float *t, const float *s, size_t n, double T, double *scratch,
                         double *grad)
{
    double *e = scratch, mean = 0.0, sq = 0.0;
    for (size_t i = 0; i < n; i++) mean += e[i] = ((double)s[i] - (double)t[i]) / T;
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        double off = e[i] - mean;
        sq += off * off;
        grad[i] = 4.0 * off / ((double)n * T);
    }
    return 2.0 * sq / (double)n;
}

/* log(1 + exp(x)) without overflow; *slope: its derivative. */
static double softplus(double x, double *slope)
{
    double e = exp(-fabs(x));
    *slope = (x >= 0.0 ? 1.0 : e) / (1.0 + e);
    return VQ_MAX(x, 0.0) + log1p(e);
}

/* What a pair costs whose i ought to stand before j, times w; its gradient is added. */
static double pair(const float *s, size_t i, size_t j, double w, double T, double *grad)
{
    double slope, cost = softplus(((double)s[j] - (double)s[i]) / T, &slope);
    grad[i] -= w * slope / T;
    grad[j] += w * slope / T;
    return w * cost;
}

/* Mean over pairs of the logistic cost, weighted by the teacher's gap (Burges et al. 2005).  Each
 * pair counts in the teacher's order only: summed over both orders it would be linear in s. */
static double ranknet(const float *t, const float *s, size_t n, double T, double *scratch,
                      double *grad)
{
    (void)scratch;
    double sum = 0.0, pairs = 0.5 * (double)n * ((double)n - 1.0);
    memset(grad, 0, n * sizeof *grad);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (t[i] > t[j])
                sum += pair(s, i, j, ((double)t[i] - (double)t[j]) / (T * pairs), T, grad);
    return sum;
}

/* The best min(n, DEPTH) of x, the best first; ties: the smaller index. */
static size_t best_of(const float *x, size_t n, size_t best[DEPTH])
{
    size_t got = 0;
    for (size_t i = 0; i < n; i++) {
        if (got == DEPTH && !(x[i] > x[best[DEPTH - 1]])) continue;
        size_t at = got < DEPTH ? got++ : DEPTH - 1;
        for (; at > 0 && x[i] > x[best[at - 1]]; at--) best[at] = best[at - 1];
        best[at] = i;
    }
    return got;
}

/* Pairwise logistic costs weighted by what a swap in the student's ranking would change of nDCG at
 * 10 (Burges 2010; JPQ weighs by reciprocal ranks in the same manner).  The gain of the teacher's
 * r-th is 1 / r for its first ten, else 0.  The weights count as constants. */
static double lambda(const float *t, const float *s, size_t n, double T, double *scratch,
                     double *grad)
{
    double *gain = scratch, *discount = scratch + n, ideal = 0.0, sum = 0.0;
    size_t top[DEPTH], now[DEPTH], k = best_of(t, n, top);
    memset(grad, 0, n * sizeof *grad);
    memset(scratch, 0, 2 * n * sizeof *scratch);
    (void)best_of(s, n, now);
    for (size_t r = 0; r < k; r++) {
        gain[top[r]] = 1.0 / (double)(r + 1);
        discount[now[r]] = 1.0 / log2((double)(r + 2));
        ideal += gain[top[r]] * discount[now[r]];
    }
    for (size_t r = 0; r < k; r++)
        for (size_t i = top[r], j = 0; j < n; j++) {
            double w = (gain[i] - gain[j]) * fabs(discount[i] - discount[j]) / ideal;
            if (t[i] > t[j] && w > 0.0) sum += pair(s, i, j, w, T, grad);
        }
    return sum;
}

const vq_loss vq_losses[] = {
    {"listnet", listnet}, {"kl", kl},         {"margin-mse", margin_mse},
    {"ranknet", ranknet}, {"lambda", lambda},
};
const size_t vq_loss_count = VQ_COUNT(vq_losses);

const vq_loss *vq_loss_by_name(const char *name)
{
    for (size_t i = 0; i < vq_loss_count; i++)
        if (strcmp(vq_losses[i].name, name) == 0) return &vq_losses[i];
    return NULL;
}

/* ---- temperature ----------------------------------------------------------------------------- */

static double perplexity(const float *t, size_t n, double T)
{
    double max = (double)t[0], sum = 0.0, moment = 0.0;
    for (size_t i = 1; i < n; i++) max = VQ_MAX(max, (double)t[i]);
    for (size_t i = 0; i < n; i++) {
        double z = ((double)t[i] - max) / T, e = exp(z);
        sum += e;
        if (e > 0.0) moment += e * z;
    }
    return exp(log(sum) - moment / sum);
}

static size_t nth_list(size_t i, size_t lists, size_t nlists)
{
    return (size_t)((double)i * (double)nlists / (double)lists);
}

static double mean_perplexity(const float *t, const size_t *first, size_t nlists, double T)
{
    size_t lists = VQ_MIN(nlists, LISTS_MAX), counted = 0;
    double sum = 0.0;
    for (size_t i = 0; i < lists; i++) {
        size_t l = nth_list(i, lists, nlists), n = first[l + 1] - first[l];
        if (n == 0) continue;
        sum += perplexity(t + first[l], n, T);
        counted++;
    }
    return counted > 0 ? sum / (double)counted : 0.0;
}

double vq_temperature(const float *t, const size_t *first, size_t nlists, double target)
{
    size_t lists = VQ_MIN(nlists, LISTS_MAX);
    double spread = 0.0;
    for (size_t i = 0; i < lists; i++) {
        size_t l = nth_list(i, lists, nlists);
        for (size_t c = first[l]; c < first[l + 1]; c++)
            spread = VQ_MAX(spread, fabs((double)t[c] - (double)t[first[l]]));
    }
    if (!(spread > 0.0) || !isfinite(spread)) return 1.0;
    double lo = TOO_FINE * spread, hi = TOO_COARSE * spread;
    for (int i = 0; i < BISECTIONS && hi > lo * (1.0 + CLOSE); i++) {
        double mid = sqrt(lo) * sqrt(hi);
        if (mean_perplexity(t, first, nlists, mid) < target)
            lo = mid;
        else
            hi = mid;
    }
    return hi;
}
