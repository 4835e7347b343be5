/* SPDX-License-Identifier: Apache-2.0 */
/* grid_code.c -- rows of scalar codes with error bars: shapes, parameters, encoding, blocks.
 *
 * Which grid point is best for a vector depends on one number, the scale that takes the vector to
 * the grid (Gao et al. 2025, sec. 3): scales around the typical one are tried and the cosine
 * decides.  That leaves hardly more error than the exact sweep over all of them
 * (tests/src/codec/test_saq.c says how much), for a fraction of the time. */
#include <math.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/elem.h"
#include "src/codec/grid.h"

enum { G = VQ_GRID_GROUP, COARSE = 13, FINE = 19, PER_PARAM = 7 };
#define NARROWEST  0.55 /* of the scales that are tried, over the typical one */
#define RATIO      1.1
#define FINE_RATIO 1.0055

vq_grid_shape vq_grid_shape_of(uint32_t d, uint32_t m)
{
    vq_grid_shape s = {.groups = d / G};
    s.factors = VQ_GRID_FACTORS;
    s.head = (m - VQ_GRID_FACTORS) / 2;
    if (s.head > VQ_GRID_HEAD) {
        uint32_t planes = (m - VQ_GRID_FACTORS - VQ_GRID_HEAD_FACTORS) / 2;
        s.factors = VQ_GRID_HEAD_FACTORS;
        s.head = VQ_MIN(s.groups, (uint32_t)VQ_GRID_FRONT);
        s.tail = planes - s.head;
    }
    s.at = 2 * s.head;
    s.rest = m - s.at - s.factors;
    return s;
}

size_t vq_grid_nparams(uint32_t d, uint32_t m)
{
    (void)m;
    return (size_t)PER_PARAM * (d / G) + VQ_GRID_NUMBERS;
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
                            .typical = last[VQ_GRID_TYPICAL],
                            .error = last[VQ_GRID_ERROR],
                            .head_error = last[VQ_GRID_HEAD_ERROR],
                            .along = last[VQ_GRID_ALONG],
                            .head_along = last[VQ_GRID_HEAD_ALONG],
                            .plain = last[VQ_GRID_PLAIN],
                            .unit = last[VQ_GRID_UNIT],
                            .bend = {last[VQ_GRID_BEND], last[VQ_GRID_BEND + 1]},
                            .stretch = {last[VQ_GRID_STRETCH], last[VQ_GRID_STRETCH + 1]}};
}

/* ---- factors ------------------------------------------------------------------------------- */

enum { LENGTH_STEPS = 24, LENGTH_TOP = 128 }; /* of an octave; byte of a length of 1 */
enum { TURN_STEPS = 12, TURN_TOP = 200 };

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
static void put_factors(uint8_t *to, size_t size, double ox, double xx, double oo, double typical)
{
    double best = xx > 0.0 && ox > 0.0 ? ox / xx : 0.0;
    uint16_t half = vq_f32_to_f16((float)VQ_MIN(best, 65504.0));
    double rho = (double)vq_f16_to_f32(half); /* what it is read as */
    double error = VQ_MAX(oo - 2.0 * rho * ox + rho * rho * xx, 0.0);
    to[0] = (uint8_t)half, to[1] = (uint8_t)(half >> 8);
    to[size - 2] = typical > 0.0 ? to_log(sqrt(error) / typical, LENGTH_STEPS, LENGTH_TOP) : 0;
    to[size - 1] = rho > 0.0 ? to_log(error / (rho * ox), TURN_STEPS, TURN_TOP) : 0;
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

/* The scale of the best of the grids that are tried, each larger by `ratio`. */
static double best_grid(const work *w, const vq_kernels *k, size_t d, double first, double ratio,
                        int count)
{
    double best = first, most = -1.0;
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
    double scale = best_grid(w, k, d, rel * NARROWEST, RATIO, COARSE);
    scale = best_grid(w, k, d, scale * pow(FINE_RATIO, -(FINE / 2)), FINE_RATIO, FINE);
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
    uint8_t *at = row, *tail = row + w->shape.at + w->shape.factors;
    for (size_t g = 0; g < w->shape.groups; g++) {
        unsigned bits = (unsigned)p->bits[g], lead = (unsigned)p->head_bits[g];
        const uint16_t *codes = w->codes + g * G;
        if (bits == 0) continue;
        at = put_planes(codes, bits, 0, lead, at);
        tail = put_planes(codes, bits, lead, bits - lead, tail);
        add_group(o + g * G, codes, bits, bits, p->step[g], p->weight[g], &whole);
        if (lead > 0) add_group(o + g * G, codes, bits, lead, p->head_step[g], p->weight[g], &head);
    }
    put_factors(row + w->shape.at, w->shape.factors, head.ox, head.xx, all, (double)p->head_error);
    if (w->shape.tail > 0)
        put_factors(row + w->shape.at + w->shape.factors + 2 * w->shape.tail, VQ_GRID_FACTORS,
                    whole.ox, whole.xx, all, (double)p->error);
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
            codes[i] = (uint16_t)(2u * codes[i] + ((unsigned)(*from)[i / 8] >> i % 8 & 1u));
        *from += 2;
    }
}

void vq_grid_codes(const vq_code_model *cm, const uint8_t *row, uint16_t *codes)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    const uint8_t *head = row, *tail = row + s.at + s.factors;
    for (size_t g = 0; g < s.groups; g++)
        take_group(&head, &tail, (unsigned)p.bits[g], (unsigned)p.head_bits[g], codes + g * G);
}

void vq_grid_decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    for (size_t i = 0; i < n; i++, rows += cm->m) {
        const uint8_t *head = rows, *tail = rows + s.at + s.factors;
        float rho = rho_at(s.tail > 0 ? tail + 2 * s.tail : head + s.at);
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

void vq_grid_centre(const vq_code_model *cm, const vq_kernels *k, const float *centroid,
                    float *scratch, uint8_t *row)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    const uint8_t *head = row, *tail = row + s.at + s.factors;
    if (s.tail == 0) return;
    float whole = rho_at(tail + 2 * s.tail), lead = rho_at(row + s.at);
    for (size_t g = 0; g < s.groups; g++) {
        unsigned bits = (unsigned)p.bits[g], first = (unsigned)p.head_bits[g];
        float middle = 0.5f * (float)((1u << bits) - 1),
              of_head = 0.5f * (float)((1u << first) - 1);
        uint16_t codes[G];
        take_group(&head, &tail, bits, first, codes);
        for (unsigned i = 0; i < G; i++) {
            float x = whole * p.step[g] * ((float)codes[i] - middle);
            float h = lead * p.head_step[g] * ((float)(codes[i] >> (bits - first)) - of_head);
            scratch[g * G + i] = (bits > 0 ? x : 0.0f) - (first > 0 ? h : 0.0f);
        }
    }
    float shift = p.unit > 0.0f ? k->dot_f32(scratch, centroid, cm->d) / p.unit : 0.0f;
    uint16_t half = vq_f32_to_f16(VQ_MIN(VQ_MAX(shift, -65504.0f), 65504.0f));
    row[s.at + 2] = (uint8_t)half, row[s.at + 3] = (uint8_t)(half >> 8);
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* Where byte b of a row of a block stands that is at place `at`: planes of the heads, byte b of all
 * vectors before byte b + 1; the heads' factors, each of all vectors before the next; then what is
 * left of the rows, one after another. */
static size_t place_of(const vq_grid_shape *s, size_t b, size_t at)
{
    size_t pairs = s->factors - 2; /* bytes of the factors that are f16 */
    if (b < s->at) return b * VQ_BLOCK + at;
    if (b >= s->at + s->factors)
        return (s->at + s->factors) * VQ_BLOCK + at * s->rest + b - s->at - s->factors;
    size_t f = b - s->at, place = s->at * VQ_BLOCK;
    return place + (f < pairs ? f / 2 * 2 * VQ_BLOCK + 2 * at + f % 2 : f * VQ_BLOCK + at);
}

void vq_grid_pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    memset(blocks, 0, vq_round_up(n, VQ_BLOCK) * cm->m);
    for (size_t i = 0; i < n; i++, rows += cm->m) {
        uint8_t *block = blocks + i / VQ_BLOCK * VQ_BLOCK * cm->m;
        size_t front = s.at + s.factors, at = i % VQ_BLOCK;
        for (size_t b = 0; b < front; b++) block[place_of(&s, b, at)] = rows[b];
        if (s.rest > 0) memcpy(block + place_of(&s, front, at), rows + front, s.rest);
    }
}

void vq_grid_unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    const uint8_t *block = blocks + slot / VQ_BLOCK * VQ_BLOCK * cm->m;
    for (size_t b = 0; b < cm->m; b++) row[b] = block[place_of(&s, b, slot % VQ_BLOCK)];
}

/* ---- error bars ---------------------------------------------------------------------------- */

vq_grid_bar vq_grid_bar_of(float typical, uint8_t length, uint8_t turn)
{
    return (vq_grid_bar){.error = typical * from_log(length, LENGTH_STEPS, LENGTH_TOP),
                         .turn = from_log(turn, TURN_STEPS, TURN_TOP)};
}

float vq_grid_byte_error(void)
{
    return exp2f(-(float)LENGTH_TOP / 12.0f);
}

float vq_grid_byte_turn(void)
{
    return exp2f(-(float)TURN_TOP / (float)TURN_STEPS);
}

float vq_grid_rho(const vq_grid_shape *s, const uint8_t *row, bool whole)
{
    return rho_at(row + s->at + (whole && s->tail > 0 ? s->factors + 2 * s->tail : 0));
}

vq_grid_bar vq_grid_bar_of_row(const vq_grid_params *p, const vq_grid_shape *s, const uint8_t *row,
                               bool whole)
{
    bool behind = whole && s->tail > 0;
    size_t bytes = behind ? VQ_GRID_FACTORS : s->factors;
    const uint8_t *at = row + s->at + (behind ? s->factors + 2 * s->tail : 0);
    return vq_grid_bar_of(whole ? p->error : p->head_error, at[bytes - 2], at[bytes - 1]);
}
