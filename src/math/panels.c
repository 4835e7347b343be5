/* SPDX-License-Identifier: Apache-2.0 */
/* panels.c -- see panels.h. */
#include "src/math/panels.h"

#include <math.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "vq/vq.h"

enum { QUAD = 4, MIDDLE = 128, SIGNED_MOST = 127, MOST = 255 };

static size_t size_of(size_t n, size_t together, size_t d)
{
    size_t bytes;
    if (n > SIZE_MAX - together || d > SIZE_MAX - QUAD) return SIZE_MAX;
    return vq_mul_size(vq_round_up(n, together), vq_panel_quads(d) * QUAD, &bytes) ? bytes
                                                                                   : SIZE_MAX;
}

size_t vq_panels_size(size_t n, size_t d)
{
    return size_of(n, VQ_PANEL, d);
}

size_t vq_panel_queries_size(size_t n, size_t d)
{
    return size_of(n, VQ_PANEL_GROUP, d);
}

/* One row to its place in a panel. */
static void put_row(uint8_t *panel, const uint8_t *row, size_t d, uint8_t flip)
{
    const uint32_t flips = flip * 0x01010101u;
    size_t j = 0;
    for (; j + QUAD <= d; j += QUAD) {
        uint32_t four;
        memcpy(&four, row + j, QUAD);
        four ^= flips;
        memcpy(panel + j * VQ_PANEL, &four, QUAD);
    }
    for (size_t t = 0; j + t < d; t++) panel[j * VQ_PANEL + t] = row[j + t] ^ flip;
}

static int32_t sum_row(const uint8_t *row, size_t d, uint8_t flip)
{
    uint32_t sum = 0;
    for (size_t j = 0; j < d; j++) sum += row[j] ^ flip;
    return (int32_t)sum;
}

void vq_panels_fill(uint8_t *panels, int32_t *sums, uint32_t elem, const void *rows, size_t n,
                    size_t d)
{
    size_t bytes = VQ_PANEL * QUAD * vq_panel_quads(d), whole = vq_round_up(n, VQ_PANEL);
    uint8_t flip = elem == VQ_I8 ? MIDDLE : 0; /* what makes bytes unsigned */
    for (size_t r = 0; r < whole; r++) {
        uint8_t *panel = panels + r / VQ_PANEL * bytes;
        const uint8_t *row = (const uint8_t *)rows + r * d;
        if (r % VQ_PANEL == 0 && (d % QUAD != 0 || r + VQ_PANEL > n)) memset(panel, 0, bytes);
        sums[r] = r < n ? sum_row(row, d, flip) : 0;
        if (r < n) put_row(panel + r % VQ_PANEL * QUAD, row, d, flip);
    }
}

/* Bytes are -128..127, or, where no number is negative, 0..255 less 128.  Products are with
 * unsigned rows: sum of x * row = sum of (x - middle) * u + middle * (sum of u) - 128 * (sum of x)
 * for rows of i8, u = row + 128; without the last for u8. */
vq_panel_query vq_panel_query_put(int8_t *queries, size_t i, uint32_t elem, const float *q,
                                  size_t d)
{
    vq_panel_query p = {0};
    size_t group = VQ_PANEL_GROUP * QUAD;
    int8_t *at = queries + i / VQ_PANEL_GROUP * vq_panel_quads(d) * group;
    float lo = 0.0f, hi = 0.0f;
    p.whole = true;
    for (size_t j = 0; j < d; j++) {
        lo = fminf(lo, q[j]), hi = fmaxf(hi, q[j]);
        p.whole = p.whole && q[j] == rintf(q[j]);
    }
    bool positive = lo >= 0.0f;
    int middle = positive ? MIDDLE : 0, least = -MIDDLE, most = SIGNED_MOST;
    double size = fmax((double)hi, -(double)lo), sq = 0.0;
    p.whole = p.whole && hi <= (float)(most + middle) && lo >= (float)least;
    double unit = p.whole ? 1.0 : size / (positive ? MOST : SIGNED_MOST);
    int32_t sum = 0;
    p.scale.unit = (float)unit;
    for (size_t j = 0; j < d; j++) {
        /* beside what rounding the unit does, of at most 255 of them */
        long v =
            p.scale.unit > 0.0f ? lrint((double)q[j] / (double)p.scale.unit) - middle : -middle;
        v = VQ_MIN(VQ_MAX(v, (long)least), (long)most);
        double e = (double)q[j] - (double)p.scale.unit * (double)(v + middle);
        sq += e * e;
        sum += (int32_t)v + middle;
        at[j / QUAD * group + i % VQ_PANEL_GROUP * QUAD + j % QUAD] = (int8_t)v;
    }
    p.error = sqrt(sq);
    p.scale.of_sum = middle;
    p.scale.less = elem == VQ_I8 ? MIDDLE * sum : 0;
    return p;
}
