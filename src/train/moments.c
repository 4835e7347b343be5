/* SPDX-License-Identifier: Apache-2.0 */
/* moments.c -- see moments.h.  A task is a block of columns of a, for all rows: tasks write apart,
 * and each adds its blocks of rows in order. */
#include "src/train/moments.h"

#include "src/base/mem.h"
#include "src/base/team.h"
#include "src/math/blas.h"

#define COLS 96u   /* columns of a in a task */
#define ROWS 2048u /* rows of one GEMM: its f32 sums are no longer than this */

typedef struct moments {
    const float *a, *b;
    size_t n, d;
    double *out;
    float *scratch; /* threads x COLS x d: owned */
} moments;

static vq_status moments_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    moments *s = ctx;
    size_t d = s->d, col = task * COLS, cols = VQ_MIN(d - col, COLS);
    size_t from = s->a == s->b ? col : 0, width = d - from;
    float *part = s->scratch + (size_t)worker * COLS * d;
    for (size_t row = 0; row < s->n; row += ROWS) {
        size_t rows = VQ_MIN(s->n - row, ROWS);
        vq_gemm_tn(cols, width, rows, 1.0f, s->a + row * d + col, d, s->b + row * d + from, d, 0.0f,
                   part, width);
        for (size_t i = 0; i < cols; i++) {
            double *out = s->out + (col + i) * d + from;
            for (size_t j = 0; j < width; j++) out[j] += (double)part[i * width + j];
        }
    }
    return VQ_OK;
}

vq_status vq_moments_add(const float *a, const float *b, size_t n, size_t d, int threads,
                         double *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    moments s = {.a = a, .b = b, .n = n, .d = d, .out = out};
    size_t rows;
    VQ_REQUIRE(vq_mul_size((size_t)VQ_MAX(threads, 1), COLS, &rows), VQ_EINVAL,
               "moments: %d threads", threads);
    s.scratch = vq_alloc_f32(rows, d);
    VQ_REQUIRE(s.scratch != NULL, VQ_ENOMEM, "moments: out of memory for %zu dimensions", d);
    VQ_TRY(vq_team_run(threads, (d + COLS - 1) / COLS, moments_task, &s, err));
out:
    vq_mem_free(s.scratch);
    return rc;
}
