/* SPDX-License-Identifier: Apache-2.0 */
/* grid_code.c -- rows of scalar codes with error bars: shapes, parameters, encoding, blocks.
 *
 * Which grid point is best for a vector depends on one number, the scale that takes the vector to
 * the grid (Gao et al. 2025, sec. 3): scales around the typical one are tried and the cosine
 * decides. That is as good as the exact sweep over all of them (tests/src/codec/test_saq.c), and a
 * tenth of the work of coordinate descent. */
#include <math.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/elem.h"
#include "src/codec/grid.h"

enum { G = VQ_GRID_GROUP, COARSE = 13, FINE = 4, PER_PARAM = 7, SCALARS = 6 };
#define NARROWEST  0.55 /* of the scales that are tried, over the typical one */
#define RATIO      1.1
#define FINE_RATIO 1.02

vq_grid_shape vq_grid_shape_of(uint32_t d, uint32_t m)
{
    vq_grid_shape s = {.groups = d / G};
    uint32_t most = VQ_MAX(s.groups, 1u);
    s.head = (m - VQ_GRID_FACTORS) / 2;
    if (s.head <= VQ_GRID_HEAD) return s;
    uint32_t planes = (m - 2 * VQ_GRID_FACTORS) / 2;
    s.head = VQ_MIN(most, (uint32_t)VQ_GRID_HEAD);
    s.tail = planes - s.head;
    return s;
}

size_t vq_grid_nparams(uint32_t d, uint32_t m)
{
    (void)m;
    return (size_t)PER_PARAM * (d / G) + SCALARS;
}

vq_grid_params vq_grid_params_of(const float *params, uint32_t d)
{
    size_t n = d / G;
    const float *last = params + PER_PARAM * n;
    return (vq_grid_params){.bits = params,
                            .head_bits = params + n,
                            .step = params + 2 * n,
                            .head_step = params + 3 * n,
                            .weight = params + 4 * n,
                            .spread = params + 5 * n,
                            .head_spread = params + 6 * n,
                            .typical = last[0],
                            .error = last[1],
                            .head_error = last[2],
                            .along = last[3],
                            .head_along = last[4],
                            .plain = last[5]};
}

/* ---- factors ------------------------------------------------------------------------------- */

enum { LENGTH_STEPS = 24, TURN_STEPS = 12, TURN_TOP = 243 }; /* of an octave; byte of T^2 = 1 */

/* A number above 0 by its logarithm: `steps` bytes an octave, `at` stands for 1; 0 stands for 0. */
static uint8_t to_log(double x, int steps, int at)
{
    if (!(x > 0.0)) return 0;
    double byte = rint(log2(x) * steps) + at;
    return (uint8_t)VQ_MIN(VQ_MAX(byte, 1.0), 255.0);
}

static float from_log(uint8_t byte, int steps, int at)
{
    return byte == 0 ? 0.0f : exp2f((float)(byte - at) / (float)steps);
}

/* From o . x, x . x and o . o, weighted: the scale rho that leaves the least error, the length of
 * that, and the squared tangent of the angle between o and x. */
static void put_factors(uint8_t *to, double ox, double xx, double oo, double typical)
{
    double rho = xx > 0.0 && ox > 0.0 ? ox / xx : 0.0;
    uint16_t half = vq_f32_to_f16((float)rho);
    double error = VQ_MAX(oo - rho * ox, 0.0);
    to[0] = (uint8_t)half, to[1] = (uint8_t)(half >> 8);
    to[2] = typical > 0.0 ? to_log(sqrt(error) / typical, LENGTH_STEPS, 128) : 0;
    to[3] = rho > 0.0 ? to_log(error / (rho * ox), TURN_STEPS, TURN_TOP) : 0;
}

static float rho_at(const uint8_t *factors)
{
    return vq_f16_to_f32(vq_le16(factors));
}

/* ---- encoding ------------------------------------------------------------------------------ */

/* What encoding reads for each coordinate, and of one vector. */
typedef struct work {
    vq_grid_shape shape;
    vq_grid_params p;
    float *inv, *weighted, *square, *limit; /* d: 1 / step; weight * step; weight * step^2 */
    float *a, *u;                           /* d: the vector in steps; weighted * vector */
    uint16_t *codes;                        /* d */
} work;

static void work_fini(work *w)
{
    vq_mem_free(w->inv);
    vq_mem_free(w->codes);
}

static vq_status work_init(work *w, const vq_code_model *cm, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = cm->d;
    *w = (work){.shape = vq_grid_shape_of(cm->d, cm->m), .p = vq_grid_params_of(cm->params, cm->d)};
    w->inv = vq_alloc_f32(6, d);
    w->codes = vq_mem_alloc(d, sizeof *w->codes);
    VQ_REQUIRE(w->inv != NULL && w->codes != NULL, VQ_ENOMEM, "saq: %zu dimensions", d);
    w->weighted = w->inv + d, w->square = w->inv + 2 * d, w->limit = w->inv + 3 * d;
    w->a = w->inv + 4 * d, w->u = w->inv + 5 * d;
    for (size_t j = 0; j < d; j++) {
        float bits = w->p.bits[j / G], step = w->p.step[j / G], weight = w->p.weight[j / G];
        bool coded = bits > 0.0f && step > 0.0f;
        w->inv[j] = coded ? 1.0f / step : 0.0f;
        w->weighted[j] = coded ? weight * step : 0.0f;
        w->square[j] = w->weighted[j] * step;
        w->limit[j] = coded ? exp2f(bits - 1.0f) - 0.5f : 0.0f;
    }
out:
    return rc;
}

/* How well the grid at 1 / inv fits: the squared cosine, but for the vector's own length. */
static double fit(const work *w, const vq_kernels *k, size_t d, double inv)
{
    float ip, sq;
    k->grid_sums(w->a, w->u, w->square, w->limit, d, (float)inv, &ip, &sq);
    return ip > 0.0f && sq > 0.0f ? (double)ip * (double)ip / (double)sq : 0.0;
}

/* 1 over the scale of the best of the grids that are tried, each larger by `ratio`. */
static double best_grid(const work *w, const vq_kernels *k, size_t d, double first, double ratio,
                        int count, double at_first)
{
    double best = at_first, most = -1.0;
    for (int i = 0; i < count; i++, first *= ratio) {
        double now = fit(w, k, d, 1.0 / first);
        if (now > most) most = now, best = first;
    }
    return best;
}

static void find_codes(work *w, const vq_kernels *k, size_t d, double length)
{
    double typical = (double)w->p.typical, rel = typical > 0.0 ? length / typical : 1.0;
    if (!(rel > 0.0)) rel = 1.0;
    double scale = best_grid(w, k, d, rel * NARROWEST, RATIO, COARSE, rel);
    scale = best_grid(w, k, d, scale / (FINE_RATIO * FINE_RATIO), FINE_RATIO, FINE + 1, scale);
    float inv = (float)(1.0 / scale);
    for (size_t j = 0; j < d; j++) {
        float x = floorf(w->a[j] * inv) + 0.5f;
        x = VQ_MIN(VQ_MAX(x, -w->limit[j]), w->limit[j]);
        w->codes[j] = (uint16_t)(x + w->limit[j]);
    }
}

/* Planes first..first+count-1 of the codes of a group, of `bits` planes. */
static uint8_t *put_planes(const uint16_t *codes, unsigned bits, unsigned first, unsigned count,
                           uint8_t *to)
{
    for (unsigned p = first; p < first + count; p++, to += 2) {
        unsigned shift = bits - 1 - p, plane = 0;
        for (unsigned i = 0; i < G; i++) plane |= ((unsigned)codes[i] >> shift & 1u) << i;
        to[0] = (uint8_t)plane, to[1] = (uint8_t)(plane >> 8);
    }
    return to;
}

/* Sums over the grid of the leading `head` of `bits` bits. */
typedef struct sums {
    double ox, xx;
} sums;

static void add_group(const float *o, const uint16_t *codes, unsigned bits, unsigned head,
                      float step, float weight, sums *s)
{
    double ox = 0.0, xx = 0.0, middle = 0.5 * (double)((1u << head) - 1);
    for (unsigned i = 0; i < G; i++) {
        double x = (double)(codes[i] >> (bits - head)) - middle;
        ox += (double)o[i] * x;
        xx += x * x;
    }
    s->ox += (double)weight * (double)step * ox;
    s->xx += (double)weight * (double)step * (double)step * xx;
}

static void encode_one(work *w, const vq_kernels *k, size_t d, const float *o, uint8_t *row)
{
    const vq_grid_params *p = &w->p;
    double all = 0.0, coded = 0.0;
    sums whole = {0}, head = {0};
    for (size_t g = 0; g < w->shape.groups; g++) {
        double sq = (double)p->weight[g] * (double)k->dot_f32(o + g * G, o + g * G, G);
        all += sq;
        if (p->bits[g] > 0.0f) coded += sq;
    }
    for (size_t j = 0; j < d; j++) {
        w->a[j] = o[j] * w->inv[j];
        w->u[j] = o[j] * w->weighted[j];
    }
    find_codes(w, k, d, sqrt(coded));
    uint8_t *at = row, *tail = row + 2 * w->shape.head + VQ_GRID_FACTORS;
    for (size_t g = 0; g < w->shape.groups; g++) {
        unsigned bits = (unsigned)p->bits[g], lead = (unsigned)p->head_bits[g];
        const uint16_t *codes = w->codes + g * G;
        if (bits == 0) continue;
        at = put_planes(codes, bits, 0, lead, at);
        tail = put_planes(codes, bits, lead, bits - lead, tail);
        add_group(o + g * G, codes, bits, bits, p->step[g], p->weight[g], &whole);
        if (lead > 0) add_group(o + g * G, codes, bits, lead, p->head_step[g], p->weight[g], &head);
    }
    put_factors(row + 2 * w->shape.head, head.ox, head.xx, all, (double)p->head_error);
    if (w->shape.tail > 0)
        put_factors(row + 2 * (w->shape.head + w->shape.tail) + VQ_GRID_FACTORS, whole.ox, whole.xx,
                    all, (double)p->error);
}

vq_status vq_grid_encode(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                         uint8_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    work w;
    VQ_TRY(work_init(&w, cm, err));
    memset(rows, 0, n * cm->m);
    for (size_t i = 0; i < n; i++) encode_one(&w, k, cm->d, x + i * cm->d, rows + i * cm->m);
out:
    work_fini(&w);
    return rc;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* The codes of one group; head and tail go on to the next. */
static void take_group(const uint8_t **head, const uint8_t **tail, unsigned bits, unsigned lead,
                       uint16_t codes[G])
{
    memset(codes, 0, G * sizeof *codes);
    for (unsigned b = 0; b < bits; b++) {
        const uint8_t **from = b < lead ? head : tail;
        for (unsigned i = 0; i < G; i++)
            codes[i] = (uint16_t)(2u * codes[i] + ((*from)[i / 8] >> i % 8 & 1u));
        *from += 2;
    }
}

void vq_grid_codes(const vq_code_model *cm, const uint8_t *row, uint16_t *codes)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    const uint8_t *head = row, *tail = row + 2 * s.head + VQ_GRID_FACTORS;
    for (size_t g = 0; g < s.groups; g++)
        take_group(&head, &tail, (unsigned)p.bits[g], (unsigned)p.head_bits[g], codes + g * G);
}

void vq_grid_decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    for (size_t i = 0; i < n; i++, rows += cm->m) {
        const uint8_t *head = rows, *tail = rows + 2 * s.head + VQ_GRID_FACTORS;
        float rho = rho_at(s.tail > 0 ? tail + 2 * s.tail : head + 2 * s.head);
        for (size_t g = 0; g < s.groups; g++, x += G) {
            unsigned bits = (unsigned)p.bits[g];
            uint16_t codes[G];
            float middle = 0.5f * (float)((1u << bits) - 1);
            take_group(&head, &tail, bits, (unsigned)p.head_bits[g], codes);
            for (unsigned j = 0; j < G; j++)
                x[j] = bits == 0 ? 0.0f : rho * p.step[g] * ((float)codes[j] - middle);
        }
    }
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* Of a block of 32: the planes of the heads, byte p of all vectors before byte p + 1; then the
 * heads' scales, lengths of error, and alignments; then what is left of the rows, one after
 * another. */
void vq_grid_pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    size_t m = cm->m, head = 2 * (size_t)s.head, rest = m - head - VQ_GRID_FACTORS;
    memset(blocks, 0, vq_round_up(n, VQ_BLOCK) * m);
    for (size_t i = 0; i < n; i++, rows += m) {
        uint8_t *block = blocks + i / VQ_BLOCK * VQ_BLOCK * m, *factors = block + head * VQ_BLOCK;
        size_t at = i % VQ_BLOCK;
        for (size_t p = 0; p < head; p++) block[p * VQ_BLOCK + at] = rows[p];
        memcpy(factors + 2 * at, rows + head, 2);
        factors[2 * VQ_BLOCK + at] = rows[head + 2];
        factors[3 * VQ_BLOCK + at] = rows[head + 3];
        memcpy(factors + VQ_GRID_FACTORS * VQ_BLOCK + at * rest, rows + head + VQ_GRID_FACTORS,
               rest);
    }
}

void vq_grid_unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    size_t m = cm->m, head = 2 * (size_t)s.head, rest = m - head - VQ_GRID_FACTORS;
    const uint8_t *block = blocks + slot / VQ_BLOCK * VQ_BLOCK * m;
    const uint8_t *factors = block + head * VQ_BLOCK;
    size_t at = slot % VQ_BLOCK;
    for (size_t p = 0; p < head; p++) row[p] = block[p * VQ_BLOCK + at];
    memcpy(row + head, factors + 2 * at, 2);
    row[head + 2] = factors[2 * VQ_BLOCK + at];
    row[head + 3] = factors[3 * VQ_BLOCK + at];
    memcpy(row + head + VQ_GRID_FACTORS, factors + VQ_GRID_FACTORS * VQ_BLOCK + at * rest, rest);
}

/* ---- error bars ---------------------------------------------------------------------------- */

vq_grid_bar vq_grid_bar_of(float typical, const uint8_t factors[VQ_GRID_FACTORS])
{
    return (vq_grid_bar){.rho = rho_at(factors),
                         .error = typical * from_log(factors[2], LENGTH_STEPS, 128),
                         .turn = from_log(factors[3], TURN_STEPS, TURN_TOP)};
}
