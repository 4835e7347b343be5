/* SPDX-License-Identifier: Apache-2.0 */
/* pseudo.c -- see pseudo.h.  The difference of two rows drawn at random has twice the covariance of
 * the rows, whatever that is, and costs no factorization. */
#include "index/pseudo.h"

#include <math.h>

#include "src/train/draw.h"

enum { RNG_STREAM = 78 };
/* Share of the standard deviation of the vectors by which a query is off its vector. */
#define MOVE 0.3

static void widen_row(const vq_model *m, const vq_sample *s, size_t i, float *out)
{
    const uint8_t *row = (const uint8_t *)s->rows + i * m->d * vq_elem_size(s->elem);
    vq_to_f32(vq_kernels_get(), s->elem, row, m->d, out);
    if (m->metric == VQ_METRIC_COSINE) vq_fit_normalize(vq_kernels_get(), out, 1, m->d);
}

vq_status vq_pseudo_queries(const vq_model *m, const vq_sample *s, vq_queries *q, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d, n = VQ_MIN(s->n, (size_t)VQ_PSEUDO);
    float *pair = vq_alloc_f32(2, d);
    vq_rng rng;
    vq_rng_init(&rng, m->seed, RNG_STREAM);
    VQ_REQUIRE(s->n >= 2, VQ_EINVAL,
               "train: %zu vectors to stand in for training queries; 2 are the least, so give "
               "queries, or train kmeans",
               s->n);
    q->x = vq_alloc_f32(n, d);
    q->own = vq_mem_alloc(n, sizeof *q->own);
    VQ_REQUIRE(pair != NULL && q->x != NULL && q->own != NULL, VQ_ENOMEM, "%zu training queries",
               n);
    const float part = (float)(MOVE / sqrt(2.0));
    for (q->n = 0; q->n < n; q->n++) {
        size_t i = vq_spaced_row(s->n, n, q->n);
        float *x = q->x + q->n * d;
        widen_row(m, s, i, x);
        for (int j = 0; j < 2; j++)
            widen_row(m, s, (size_t)vq_rng_below(&rng, s->n), pair + (size_t)j * d);
        for (size_t j = 0; j < d; j++) x[j] += part * (pair[d + j] - pair[j]);
        q->own[q->n] = s->at[i];
    }
    if (m->metric == VQ_METRIC_COSINE) vq_fit_normalize(vq_kernels_get(), q->x, n, d);
out:
    vq_mem_free(pair);
    return rc;
}
