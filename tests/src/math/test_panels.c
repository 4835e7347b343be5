/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and queries in panels: products are those of what was put there, to what the query has lost,
 * and whole numbers lose nothing. */
#include "src/math/panels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/mem.h"
#include "tests/harness/harness.h"
#include "vq/vq.h"

enum { ROWS = 37, QUERIES = 19, COLUMNS = 90 };

/* Real numbers, whole ones of either sign, whole ones from 0 to 255. */
static float any_number(vq_rng *r, int kind)
{
    if (kind == 0) return (float)(3.0 * vq_rng_normal(r));
    return (float)vq_rng_below(r, 256) - (kind == 1 ? 128.0f : 0.0f);
}

Test(panels, products)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int it = 0; it < 150; it++) {
        size_t n = 1 + vq_rng_below(&r, ROWS), nq = 1 + vq_rng_below(&r, QUERIES);
        size_t d = 1 + vq_rng_below(&r, COLUMNS), stride = (n + 15) / 16 * 16;
        uint32_t elem = it % 2 == 0 ? VQ_I8 : VQ_U8;
        uint8_t *rows = vq_mem_alloc(n, d), *panels = vq_mem_alloc(vq_panels_size(n, d), 1);
        int8_t *small = vq_mem_calloc(vq_panel_queries_size(nq, d), 1);
        float *q = vq_alloc_f32(nq, d), *out = vq_alloc_f32(nq, stride);
        int32_t sums[ROWS + 16];
        vq_panel_scale scale[QUERIES];
        double lost[QUERIES];
        fill_u8(&r, rows, n * d);
        vq_panels_fill(panels, sums, elem, rows, n, d);
        for (size_t i = 0; i < nq; i++) {
            for (size_t j = 0; j < d; j++) q[i * d + j] = any_number(&r, it % 3);
            vq_panel_query p = vq_panel_query_put(small, i, elem, q + i * d, d);
            scale[i] = p.scale;
            lost[i] = p.error;
            cr_assert(it % 3 == 0 || (p.whole && p.error == 0.0 && p.scale.unit == 1.0f));
        }
        vq_kernels_get()->panel_dots(panels, sums, stride / 16, vq_panel_quads(d), small, scale, nq,
                                     out, stride);
        for (size_t i = 0; i < nq; i++)
            for (size_t row = 0; row < n; row++) {
                double sum = 0.0, sq = 0.0, q_sq = 0.0;
                for (size_t j = 0; j < d; j++) {
                    uint8_t byte = rows[row * d + j];
                    double v = elem == VQ_I8 ? (double)(int8_t)byte : (double)byte;
                    sum += (double)q[i * d + j] * v;
                    sq += v * v, q_sq += (double)q[i * d + j] * (double)q[i * d + j];
                }
                double off = fabs(sum - (double)out[i * stride + row]);
                cr_assert(off <= (lost[i] + 1e-6 * sqrt(q_sq)) * sqrt(sq) * (it % 3 == 0),
                          "d %zu, query %zu, row %zu: %g of %g", d, i, row, off, sum);
            }
        vq_mem_free(rows), vq_mem_free(panels), vq_mem_free(small), vq_mem_free(q);
        vq_mem_free(out);
    }
}

/* A query loses no more than half a unit a number, and not nothing. */
Test(panels, what_is_lost)
{
    static const float sizes[] = {1e-30f, 1e-6f, 1.0f, 1e9f, 1e30f};
    float q[COLUMNS];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int positive = 0; positive < 2; positive++) {
            int8_t *small = vq_mem_calloc(vq_panel_queries_size(1, COLUMNS), 1);
            float most = 0.0f;
            for (size_t j = 0; j < COLUMNS; j++) {
                q[j] = sizes[s] * (float)vq_rng_normal(&r);
                if (positive) q[j] = fabsf(q[j]);
                most = fmaxf(most, fabsf(q[j]));
            }
            vq_panel_query p = vq_panel_query_put(small, 0, VQ_U8, q, COLUMNS);
            double unit = (double)most / (positive ? 255.0 : 127.0);
            cr_assert(fabs((double)p.scale.unit / unit - 1.0) < 1e-6);
            cr_assert(!p.whole && p.error > 0.0 && p.error <= 0.501 * unit * sqrt(COLUMNS),
                      "%g, unit %g", p.error, unit);
            vq_mem_free(small);
        }
}

Test(panels, sizes_that_overflow)
{
    cr_assert_eq(vq_panels_size(17, 5), 32 * 8);
    cr_assert_eq(vq_panel_queries_size(17, 5), 24 * 8);
    cr_assert_eq(vq_panels_size(SIZE_MAX / 2, 5), SIZE_MAX);
    cr_assert_eq(vq_panel_queries_size(SIZE_MAX, 1), SIZE_MAX);
}
