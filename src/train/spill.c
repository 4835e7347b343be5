/* SPDX-License-Identifier: Apache-2.0 */
/* spill.c -- see spill.h.  Costs come from two GEMMs: with the rows, which give |s|^2 = |x|^2 - 2
 * x . c + |c|^2, and with their residuals r, which give s . r = x . r - c . r. */
#include "src/train/spill.h"

#include <math.h>

#include "src/base/compiler.h"
#include "src/math/blas.h"
#include "src/math/kernels.h"
#include "src/train/kmeans.h"

enum { COLS = 1024 }; /* centroids of one GEMM: the products stay in the second-level cache */

typedef struct spilled { /* a row at work */
    float sq, along;     /* |x|^2, x . r */
    float inv;           /* 1 / |r|^2 */
    float best;          /* what the second list must cost less than */
} spilled;

size_t vq_spill_scratch(size_t d, size_t k)
{
    return VQ_ASSIGN_TILE * (d + 2 * VQ_MIN(k, (size_t)COLS));
}

static spilled look_at(const vq_kernels *kn, const float *x, const float *c, size_t d, float *r)
{
    for (size_t j = 0; j < d; j++) r[j] = x[j] - c[j];
    float own = kn->dot_f32(r, r, d);
    return (spilled){.sq = kn->dot_f32(x, x, d),
                     .along = kn->dot_f32(x, r, d),
                     .inv = own > 0.0f ? 1.0f / own : 0.0f,
                     .best = 2.0f * own};
}

/* Columns first..first+cols-1 of one row. */
static void take_cheaper(const float *with_x, const float *with_r, const float *bias, size_t first,
                         size_t cols, uint32_t own, spilled *s, uint32_t *second)
{
    for (size_t c = 0; c < cols; c++) {
        float length = s->sq - 2.0f * (with_x[c] + bias[c]), along = s->along - with_r[c];
        float cost = length + along * along * s->inv;
        if (cost < s->best && first + c != own) {
            s->best = cost;
            *second = (uint32_t)(first + c);
        }
    }
}

void vq_spill_assign(const float *x, size_t n, size_t d, const float *centroids, const float *bias,
                     size_t k, const uint32_t *assign, float *scratch, uint32_t *second)
{
    const vq_kernels *kn = vq_kernels_get();
    size_t most = VQ_MIN(k, (size_t)COLS);
    float *r = scratch, *with_x = r + n * d, *with_r = with_x + n * most;
    spilled rows[VQ_ASSIGN_TILE];
    for (size_t i = 0; i < n; i++) {
        rows[i] = look_at(kn, x + i * d, centroids + (size_t)assign[i] * d, d, r + i * d);
        second[i] = VQ_NO_LIST;
    }
    for (size_t first = 0; first < k; first += COLS) {
        size_t cols = VQ_MIN(k - first, (size_t)COLS);
        vq_gemm_nt(n, cols, d, 1.0f, x, d, centroids + first * d, d, 0.0f, with_x, cols);
        vq_gemm_nt(n, cols, d, 1.0f, r, d, centroids + first * d, d, 0.0f, with_r, cols);
        for (size_t i = 0; i < n; i++)
            take_cheaper(with_x + i * cols, with_r + i * cols, bias + first, first, cols, assign[i],
                         &rows[i], &second[i]);
    }
}
