/* SPDX-License-Identifier: Apache-2.0 */
/* whiten.c -- see whiten.h. */
#include "src/train/whiten.h"

#include "src/base/mem.h"
#include "src/base/team.h"
#include "src/math/blas.h"
#include "src/train/moments.h"

/* The shrunk and scaled H from sums of outer products (upper triangle): all of it. */
static void shrink(double *h, size_t d, double rho)
{
    double trace = 0.0;
    for (size_t i = 0; i < d; i++) trace += h[i * d + i];
    double scale = trace > 0.0 ? (1.0 - rho) * (double)d / trace : 0.0;
    double ridge = trace > 0.0 ? rho : 1.0;
    for (size_t i = 0; i < d; i++)
        for (size_t j = i; j < d; j++) {
            h[i * d + j] = h[i * d + j] * scale + (i == j ? ridge : 0.0);
            h[j * d + i] = h[i * d + j];
        }
}

vq_status vq_whiten(const float *q, size_t nq, size_t d, double rho, int threads, float *rows,
                    float *queries, vq_error *err)
{
    vq_status rc = VQ_OK;
    double *h = vq_mem_calloc(d * d, sizeof *h), *inverse = vq_mem_alloc(d * d, sizeof *inverse);
    vq_team_blas_enter();
    VQ_REQUIRE(h != NULL && inverse != NULL, VQ_ENOMEM, "whitening: %zu x %zu doubles", d, d);
    VQ_TRY(vq_moments_add(q, q, nq, d, threads, h, err));
    shrink(h, d, rho);
    VQ_TRY(vq_cholesky(h, d, inverse, err)); /* h = L */
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            rows[i * d + j] = (float)h[j * d + i];
            queries[i * d + j] = (float)inverse[i * d + j];
        }
out:
    vq_team_blas_leave();
    vq_mem_free(h);
    vq_mem_free(inverse);
    return rc;
}
