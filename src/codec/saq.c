/* SPDX-License-Identifier: Apache-2.0 */
/* saq.c -- the codecs saq and rabitq: scalar codes with error bars; grid.h says what they are made
 * of. saq deals its bits where residuals vary and queries look, on principal axes turned at random
 * within runs of equal bits (Li et al. 2025); rabitq gives every coordinate of a random rotation
 * the same (Gao et al. 2024, 2025). */
#include "src/codec/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/elem.h"
#include "src/math/transform.h"
#include "src/train/allot.h"

enum { G = VQ_GRID_GROUP, DEFAULT_BITS = 4, FOUR = 4 /* groups at a time */ };
/* Blocks at a time, at most: what the next ones need comes into the first-level cache meanwhile,
 * which would not hold that of two whole lists (measured: 3 to 5 are as good). */
enum { STEP = 4 };
#define LITTLE 0.01 /* of a squared error */

static vq_status plan_as(const char *name, uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t groups = (d + G - 1) / G, most = VQ_ALLOT_MOST * groups;
    uint32_t planes = DEFAULT_BITS * groups;
    VQ_REQUIRE(bytes == 0 || bytes >= VQ_GRID_FACTORS + 2, VQ_EINVAL,
               "%s: %u bytes of code: %d of them are factors, so ask for %d at least", name, bytes,
               VQ_GRID_FACTORS, VQ_GRID_FACTORS + 2);
    if (bytes != 0) planes = (bytes - VQ_GRID_FACTORS) / 2;
    planes = VQ_MIN(planes, most);
    bool two = planes > VQ_GRID_HEAD;
    uint32_t with_tail = VQ_GRID_FACTORS + VQ_GRID_HEAD_FACTORS;
    if (two && bytes != 0)
        planes = VQ_MAX(VQ_MIN((bytes - with_tail) / 2, most), (uint32_t)VQ_GRID_HEAD);
    two = planes > VQ_GRID_HEAD;
    *m = 2 * planes + (two ? with_tail : VQ_GRID_FACTORS);
out:
    return rc;
}

static vq_status plan_saq(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    return plan_as("saq", d, bytes, m, err);
}

static vq_status plan_rabitq(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err)
{
    return plan_as("rabitq", d, bytes, m, err);
}

static uint32_t code_bytes(uint32_t d, uint32_t m)
{
    (void)d;
    return m;
}

static uint32_t bytes_of_bits(uint32_t d, double bits)
{
    uint32_t groups = (d + G - 1) / G, planes = (uint32_t)lround(bits * (double)groups);
    planes = VQ_MIN(VQ_MAX(planes, 1u), VQ_ALLOT_MOST * groups);
    uint32_t factors = VQ_GRID_FACTORS + (planes > VQ_GRID_HEAD ? VQ_GRID_HEAD_FACTORS : 0);
    return 2 * planes + factors;
}

static vq_status check(uint32_t d, uint32_t m, const float *params, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_grid_params p = vq_grid_params_of(params, d);
    double all = 0.0, head = 0.0;
    vq_grid_shape s = vq_grid_shape_of(d, m);
    VQ_REQUIRE(m <= VQ_GRID_FACTORS + 2 * VQ_GRID_HEAD ||
                   m > VQ_GRID_FACTORS + VQ_GRID_HEAD_FACTORS + 2 * VQ_GRID_HEAD,
               VQ_ECORRUPT, "codec: a code of %u bytes, which is none with a tail nor one without",
               m);
    for (size_t i = 0; i < vq_grid_nparams(d, m); i++)
        VQ_REQUIRE(isfinite(params[i]) && params[i] >= 0.0f, VQ_ECORRUPT,
                   "codec: parameter %zu is %g; expected a number, not below 0", i,
                   (double)params[i]);
    for (size_t g = 0; g < s.groups; g++) {
        float bits = p.bits[g], lead = p.head_bits[g];
        VQ_REQUIRE(bits <= VQ_ALLOT_MOST && bits == (float)(unsigned)bits && lead <= bits &&
                       lead == (float)(unsigned)lead,
                   VQ_ECORRUPT, "codec: group %zu has %g bits, %g of them in front", g,
                   (double)bits, (double)lead);
        all += (double)bits, head += (double)lead;
    }
    VQ_REQUIRE(head <= s.head && all - head <= s.tail, VQ_ECORRUPT,
               "codec: %g and %g planes in codes of %u and %u", head, all - head, s.head, s.tail);
out:
    return rc;
}

/* ---- training ------------------------------------------------------------------------------ */

/* What is turned together feels what all of it does on the average. */
static void level(float *weight, size_t n)
{
    double sum = 0.0;
    for (size_t g = 0; g < n; g++) sum += (double)weight[g];
    for (size_t g = 0; g < n; g++) weight[g] = (float)(sum / (double)n);
}

/* Residual axes (rows, d x d) by what an error along them costs, the runs of groups that have the
 * same bits turned at random. */
static void turn_runs(float *axes, uint32_t d, const vq_grid_params *p, uint64_t seed,
                      float *weight, float *column)
{
    for (size_t first = 0, end; first < d / G; first = end) {
        end = first + 1;
        while (end < d / G && p->bits[end] == p->bits[first] &&
               p->head_bits[end] == p->head_bits[first])
            end++;
        size_t from = first * G, count = (end - first) * G;
        level(weight + first, end - first);
        for (size_t c = 0; c < d; c++) {
            for (size_t i = 0; i < count; i++) column[i] = axes[(from + i) * d + c];
            vq_hadamard_rotate(column, count, seed + first);
            for (size_t i = 0; i < count; i++) axes[(from + i) * d + c] = column[i];
        }
    }
}

static int by_cost(const void *a, const void *b)
{
    const double *x = a, *y = b; /* cost, axis */
    if (x[0] != y[0]) return x[0] < y[0] ? 1 : -1;
    return x[1] < y[1] ? -1 : 1;
}

static vq_status turn(const double *variances, const double *felt, uint32_t d, uint32_t m,
                      uint64_t seed, float *axes, float *params, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t groups = d / G;
    double(*order)[2] = vq_mem_alloc(d, sizeof *order), *cost = vq_mem_calloc(groups, sizeof *cost);
    float *weight = vq_alloc_f32(1, groups), *sorted = vq_alloc_f32(d, d);
    float *column = vq_alloc_f32(1, d);
    VQ_REQUIRE(order != NULL && cost != NULL && weight != NULL && sorted != NULL && column != NULL,
               VQ_ENOMEM, "axes: %u x %u floats", d, d);
    for (size_t j = 0; j < d; j++) {
        order[j][0] = VQ_MAX(variances[j], 0.0) * VQ_MAX(felt[j], 0.0);
        order[j][1] = (double)j;
    }
    qsort(order, d, sizeof *order, by_cost);
    double all = 0.0;
    for (size_t g = 0; g < groups; g++) {
        double sum = 0.0;
        for (size_t i = g * G; i < (g + 1) * G; i++) {
            size_t axis = (size_t)order[i][1];
            memcpy(sorted + i * d, axes + axis * d, d * sizeof *axes);
            cost[g] += order[i][0];
            sum += VQ_MAX(felt[axis], 0.0);
        }
        weight[g] = (float)(sum / G);
        all += sum;
    }
    for (size_t g = 0; g < groups; g++) /* only their ratios count */
        weight[g] = all > 0.0 ? (float)((double)weight[g] * d / all) : 1.0f;
    memcpy(axes, sorted, (size_t)d * d * sizeof *axes);
    vq_grid_deal(d, m, cost, weight, params);
    vq_grid_params p = vq_grid_params_of(params, d);
    turn_runs(axes, d, &p, seed, params + (p.weight - params), column);
out:
    vq_mem_free(order);
    vq_mem_free(cost);
    vq_mem_free(weight);
    vq_mem_free(sorted);
    vq_mem_free(column);
    return rc;
}

/* Bits for axes that nobody has turned: by their variance, or the same for all. */
static vq_status deal(const float *x, size_t n, const vq_code_model *cm, bool level, float *params,
                      vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t groups = cm->d / G;
    double *cost = vq_mem_alloc(groups, sizeof *cost);
    float *weight = vq_alloc_f32(1, groups);
    VQ_REQUIRE(cost != NULL && weight != NULL, VQ_ENOMEM, "saq: %zu groups", groups);
    vq_grid_squares(x, n, cm->d, cost);
    for (size_t g = 0; g < groups; g++) {
        weight[g] = 1.0f;
        if (level) cost[g] = 1.0;
    }
    vq_grid_deal(cm->d, cm->m, cost, weight, params);
out:
    vq_mem_free(cost);
    vq_mem_free(weight);
    return rc;
}

static vq_status train_as(const vq_codec *codec, const float *x, size_t n, uint32_t d, uint32_t m,
                          float *params, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_code_model cm = {.codec = codec, .d = d, .m = m, .code_bytes = m, .params = params};
    float dealt = 0.0f;
    for (size_t g = 0; g < d / G; g++) dealt += params[g];
    if (dealt == 0.0f) VQ_TRY(deal(x, n, &cm, codec == &vq_codec_rabitq, params, err));
    VQ_TRY(vq_grid_train(x, n, &cm, params, err));
out:
    return rc;
}

static vq_status train_saq(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed,
                           int threads, vq_ticker *ticker, float *params, vq_error *err)
{
    (void)seed, (void)threads, (void)ticker;
    return train_as(&vq_codec_saq, x, n, d, m, params, err);
}

static vq_status train_rabitq(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed,
                              int threads, vq_ticker *ticker, float *params, vq_error *err)
{
    (void)seed, (void)threads, (void)ticker;
    return train_as(&vq_codec_rabitq, x, n, d, m, params, err);
}

/* ---- scores -------------------------------------------------------------------------------- */

/* What error bars need of the query; squares: of its groups. */
static void set_felt(vq_grid_tables *t, const vq_grid_params *p, const double *squares)
{
    double felt[2] = {0.0, 0.0};
    for (size_t g = 0; g < t->shape.groups; g++) {
        felt[0] += squares[g] * (double)p->head_spread[g];
        felt[1] += squares[g] * (double)p->spread[g];
        t->sum[0] += p->head_spread[g];
        t->sum[1] += p->spread[g];
    }
    for (int i = 0; i < 2; i++) {
        t->felt[i] = (float)sqrt(felt[i] / G);
        t->bend[i] = p->bend[i];
    }
    t->along[0] = p->head_along, t->along[1] = p->along;
    t->error[0] = p->head_error, t->error[1] = p->error;
    t->plain = p->plain, t->unit = p->unit;
}

/* The query and, where bars are made for it, what `feel` multiplies centroids with. */
static bool set_rows(vq_grid_tables *t, const vq_code_model *cm, const vq_grid_params *p,
                     const float *q, vq_arena *arena)
{
    size_t groups = t->shape.groups, d = groups * G;
    t->rows = q;
    if (cm->bars == NULL) return true;
    float *to = vq_arena_take(arena, 3 * d, sizeof *to);
    if (to == NULL) return false;
    t->rows = to;
    memcpy(to, q, d * sizeof *to);
    for (int whole = 0; whole < 2; whole++)
        for (size_t g = 0; g < groups; g++) {
            float factor = (whole ? p->spread : p->head_spread)[g] * (1.0f / G);
            float *group = to + (size_t)(1 + whole) * d + g * G;
            for (size_t i = 0; i < G; i++) group[i] = factor * q[g * G + i];
        }
    return true;
}

static int two(const vq_code_model *cm)
{
    return vq_grid_shape_of(cm->d, cm->m).tail > 0;
}

static void bar(const vq_code_model *cm, const void *tables, const uint8_t *blocks, size_t slot,
                int whole, vq_bar *out)
{
    const vq_grid_tables *t = tables;
    const vq_grid_shape *s = &t->shape;
    size_t at = slot % VQ_BLOCK, bytes = (s->at + s->factors - 2) * (size_t)VQ_BLOCK;
    const uint8_t *block = blocks + slot / VQ_BLOCK * VQ_BLOCK * cm->m;
    uint8_t length = block[bytes + at], turn = block[bytes + VQ_BLOCK + at];
    whole = whole && s->tail > 0;
    if (whole) {
        const uint8_t *scale = block + bytes + 2 * VQ_BLOCK + at * s->rest + 2 * (size_t)s->tail;
        length = scale[2], turn = scale[3];
    }
    vq_grid_bar b = vq_grid_bar_of(t->error[whole], length, turn);
    *out = (vq_bar){.turn = b.turn * t->bend[whole],
                    .error = b.error * sqrtf(1.0f + b.turn),
                    .half = vq_grid_half(b, t->plain, t->sum[whole])};
}

static const float *rows(const void *tables)
{
    return ((const vq_grid_tables *)tables)->rows;
}

static float feel(const vq_code_model *cm, const void *tables, int whole, const float *products,
                  float away_sq, float weighed)
{
    const vq_grid_tables *t = tables;
    if (products == NULL) return t->felt[whole];
    if (cm->bars == NULL) return t->along[whole] * sqrtf(VQ_MAX(away_sq, 0.0f));
    float own = t->felt[whole] * t->felt[whole];
    return sqrtf(VQ_MAX(own - 2.0f * products[1 + whole] + weighed, 0.0f));
}

static void weigh(const vq_code_model *cm, const vq_kernels *k, const float *centroid, float out[2])
{
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    for (int whole = 0; whole < 2; whole++) {
        float felt = vq_grid_felt(k, whole ? p.spread : p.head_spread, centroid, cm->d / G);
        out[whole] = felt * felt;
    }
}

static float squares(const vq_code_model *cm, float *out)
{
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    for (size_t j = 0; j < cm->d; j++) {
        unsigned bits = (unsigned)p.bits[j / G];
        float deviation = bits > 0 ? p.step[j / G] / (float)vq_grid_step(bits) : 0.0f;
        out[j] = deviation * deviation;
    }
    float error = p.error * p.along;
    return error * error * p.unit;
}

/* The memory that tables need. */
static vq_grid_tables *new_tables(const vq_grid_shape *s, float **lead, float **rest,
                                  uint8_t **counts, vq_arena *arena)
{
    size_t padded = vq_round_up(s->groups, FOUR), n = padded * G;
    vq_grid_tables *t = vq_arena_take(arena, 1, sizeof *t);
    vq_planes_plan *plan = vq_arena_take(arena, padded / FOUR, 2 * sizeof *plan);
    *lead = vq_arena_take(arena, n, sizeof **lead);
    *rest = vq_arena_take(arena, n, sizeof **rest);
    *counts = vq_arena_take(arena, 2 * padded, 1);
    if (t == NULL || plan == NULL || *lead == NULL || *rest == NULL || *counts == NULL) return NULL;
    *t = (vq_grid_tables){.shape = *s,
                          .lead = *lead,
                          .rest = *rest,
                          .plan = {plan, plan + padded / FOUR},
                          .leading = FOUR, /* heads may have no plane at all */
                          .leads = *counts,
                          .rests = *counts + padded};
    memset(*lead + s->groups * G, 0, (n - s->groups * G) * sizeof **lead);
    memset(*rest + s->groups * G, 0, (n - s->groups * G) * sizeof **rest);
    memset(*counts, 0, 2 * padded);
    return t;
}

/* Makes integers of what units of a part's codes add.  Returns what codes in the middle of their
 * range add up to, and the squared error of what codes do that lie around it, a sixth of the range
 * off, where an integer stands for what it does to half a unit; each over 1 / 12.  ones: as many
 * planes as the codes have; room: an integer a coordinate. */
static double plan_part(vq_grid_tables *t, int part, const vq_kernels *k, const uint8_t *ones,
                        int16_t *room, double *blur)
{
    size_t groups = part == 0 ? t->leading : vq_round_up(t->shape.groups, FOUR);
    const uint8_t *count = part == 0 ? t->leads : t->rests;
    vq_fixed x = {.x = room};
    double squares = 0.0;
    vq_fixed_set(&x, k, part == 0 ? t->lead : t->rest, groups * G);
    k->planes_plan(x.x, count, groups, t->plan[part]);
    t->integer[part] = x.unit;
    for (size_t g = 0; g < t->shape.groups; g++) squares += (double)(1u << count[g] << count[g]);
    *blur += squares * G / 36.0 * (double)x.unit * (double)x.unit;
    return 0.5 * (double)k->planes_sum(t->plan[part], ones, groups) * (double)x.unit;
}

/* Makes integers of what units add, if these will do: if what their rounding does to a score is
 * little beside what the codes' own does (squares: of the query's groups).  It is not where codes
 * have many bits in some groups and few in others, whose units are then far apart.  false: no
 * memory. */
static bool set_integers(vq_grid_tables *t, const vq_grid_params *p, const double *squares,
                         const vq_kernels *k, vq_arena *arena)
{
    size_t groups = t->shape.groups, planes = VQ_MAX(t->shape.head, t->shape.tail);
    double codes = 0.0, blur = 0.0;
    for (size_t g = 0; g < groups; g++) {
        if (t->leads[g] > 8 || t->rests[g] > 8) return true;
        codes += (double)p->step[g] * (double)p->step[g] * squares[g];
    }
    uint8_t *ones = vq_arena_take(arena, planes, 2);
    int16_t *room = vq_arena_take(arena, vq_round_up(groups, FOUR) * G, sizeof *room);
    if (ones == NULL || room == NULL) return false;
    memset(ones, 0xff, 2 * planes);
    double middle = plan_part(t, 0, k, ones, room, &blur);
    middle += plan_part(t, 1, k, ones, room, &blur);
    t->integers = blur <= LITTLE * codes;
    if (t->integers) t->offset = -(float)middle;
    return true;
}

/* What a group of the query holds, squared: four sums, which need not wait for each other. */
static double square_of(const float *q)
{
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (size_t i = 0; i < G; i += 4)
        for (size_t l = 0; l < 4; l++) sums[l] += q[i + l] * q[i + l];
    return ((double)sums[0] + (double)sums[1]) + ((double)sums[2] + (double)sums[3]);
}

static const void *prepare(const vq_code_model *cm, const vq_kernels *k, const float *q,
                           vq_arena *arena)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    vq_grid_params p = vq_grid_params_of(cm->params, cm->d);
    float *lead, *rest;
    uint8_t *counts;
    vq_grid_tables *t = new_tables(&s, &lead, &rest, &counts, arena);
    double *squares = vq_arena_take(arena, s.groups, sizeof *squares);
    if (t == NULL || squares == NULL) return NULL;
    for (size_t g = 0; g < s.groups; g++) {
        unsigned bits = (unsigned)p.bits[g], head = (unsigned)p.head_bits[g];
        float of_head = head > 0 ? p.step[g] * (float)(1u << (bits - head)) : 0.0f;
        float of_tail = bits > head ? p.step[g] : 0.0f;
        counts[g] = (uint8_t)head,
        counts[t->rests - t->leads + (ptrdiff_t)g] = (uint8_t)(bits - head);
        if (head > 0) t->leading = vq_round_up(g + 1, FOUR);
        squares[g] = square_of(q + g * G);
        for (size_t i = g * G; i < (g + 1) * G; i++) {
            lead[i] = of_head * q[i];
            rest[i] = of_tail * q[i];
        }
    }
    if (!set_integers(t, &p, squares, k, arena)) return NULL;
    for (size_t g = 0; g < s.groups && !t->integers; g++) {
        float sum = 0.0f;
        for (size_t i = g * G; i < (g + 1) * G; i++) sum += q[i];
        t->offset -= 0.5f * (float)((1u << (unsigned)p.bits[g]) - 1) * p.step[g] * sum;
    }
    set_felt(t, &p, squares);
    if (!set_rows(t, cm, &p, q, arena)) return NULL;
    return vq_grid_heads_make(t, &p, q, k, arena) ? t : NULL;
}

static size_t scan_bars(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                        const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                        const vq_sight *at, float threshold, void *scratch, uint32_t *idx,
                        float *score, float *most)
{
    const vq_grid_tables *t = tables;
    float reach = at->stretch * at->away;
    vq_bars b = {.scale = t->heads.scale,
                 .low = t->heads.low,
                 .base = at->base,
                 .unit = t->unit,
                 .shifted = t->shape.tail > 0,
                 .error = t->error[0] * t->error[0] * vq_grid_byte_error(),
                 .turn = vq_grid_byte_turn(),
                 .inverse = 1.0f / vq_grid_byte_turn(),
                 .plain = t->plain,
                 .sum = t->sum[0],
                 .half = at->centred ? 0.5f : 0.0f,
                 .from = at->from,
                 .bend = t->bend[0],
                 .reach = reach * reach * at->width * at->width,
                 .noise = at->noise * at->noise * at->width * at->width,
                 .blunt = t->heads.blunt * at->width * at->width,
                 .fixed = at->share * at->share * at->width * at->width};
    const size_t block = VQ_BLOCK * (size_t)cm->m, all = (n + VQ_BLOCK - 1) / VQ_BLOCK;
    const size_t steps = (all + STEP - 1) / STEP;
    size_t found = 0;
    for (size_t i = 0, first = 0; i < steps; i++) {
        size_t next = first + all / steps + (i < all % steps), at_first = first * VQ_BLOCK;
        size_t count = VQ_MIN(n, next * VQ_BLOCK) - at_first, got;
        const uint8_t *codes = blocks + first * block;
        vq_grid_heads_scan(cm, k, t, codes, i + 1 < steps ? blocks + next * block : ahead, count,
                           scratch);
        got = k->select_bars(scratch, codes + (size_t)t->shape.at * VQ_BLOCK, block,
                             factor != NULL ? factor + at_first : NULL, count, &b, threshold,
                             idx + found, score + found, most + found);
        for (size_t j = found; j < found + got; j++) idx[j] += (uint32_t)at_first;
        found += got;
        first = next;
    }
    return found;
}

static size_t scan(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                   float base, float threshold, void *scratch, uint32_t *idx, float *score)
{
    const vq_grid_tables *t = tables;
    const uint16_t *sums = scratch;
    size_t kept = 0, at = (size_t)t->shape.at * VQ_BLOCK;
    vq_grid_heads_scan(cm, k, t, blocks, ahead, n, scratch);
    for (size_t first = 0; first < n; first += VQ_BLOCK, blocks += VQ_BLOCK * cm->m) {
        size_t count = VQ_MIN(n - first, (size_t)VQ_BLOCK);
        const uint8_t *shifts = t->shape.tail > 0 ? blocks + at + 2 * VQ_BLOCK : NULL;
        size_t got = k->select_f16(sums + first, blocks + at, shifts, t->unit,
                                   factor != NULL ? factor + first : NULL, count, t->heads.scale,
                                   t->heads.low, base, threshold, idx + kept, score + kept);
        for (size_t i = kept; i < kept + got; i++) idx[i] += (uint32_t)first;
        kept += got;
    }
    return kept;
}

static bool asks(const vq_kernels *k) /* as plane_scan does */
{
    return (k->needs & VQ_CPU_AVX2) != 0;
}

static size_t front(const vq_code_model *cm)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    return (size_t)(s.at + s.factors) * VQ_BLOCK;
}

/* The tail; the head has just been scanned. */
static void fetch(const vq_code_model *cm, const uint8_t *blocks, size_t slot)
{
    vq_grid_shape s = vq_grid_shape_of(cm->d, cm->m);
    const uint8_t *block = blocks + slot / VQ_BLOCK * VQ_BLOCK * cm->m;
    const uint8_t *tail = block + (size_t)(s.at + s.factors) * VQ_BLOCK + slot % VQ_BLOCK * s.rest;
    for (size_t b = 0; b < s.rest + VQ_CACHELINE - 1; b += VQ_CACHELINE) VQ_PREFETCH(tail + b);
}

/* The planes of one vector's head, whose n bytes lie a block apart. */
static void take_planes(const uint8_t *from, size_t n, uint8_t *to)
{
    size_t p = 0;
    for (; p + 8 <= n; p += 8, from += 8 * VQ_BLOCK) { /* a store for eight: measured */
        uint64_t eight = 0;
        for (unsigned i = 0; i < 8; i++) eight |= (uint64_t)from[i * VQ_BLOCK] << 8 * i;
        vq_put_le64(to + p, eight);
    }
    for (; p < n; p++, from += VQ_BLOCK) to[p] = *from;
}

/* What the planes of heads (0) or tails (1) of so many groups add up to. */
static float of_planes(const vq_grid_tables *t, const vq_kernels *k, int part,
                       const uint8_t *planes, size_t groups)
{
    const uint8_t *count = part == 0 ? t->leads : t->rests;
    if (!t->integers) return k->planes_f32(part == 0 ? t->lead : t->rest, planes, count, groups);
    return t->integer[part] * (float)k->planes_sum(t->plan[part], planes, groups);
}

static float score_slot(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                        const uint8_t *blocks, size_t slot)
{
    const vq_grid_tables *t = tables;
    const vq_grid_shape *s = &t->shape;
    size_t at = slot % VQ_BLOCK, front = (size_t)(s->at + s->factors) * VQ_BLOCK;
    const uint8_t *block = blocks + slot / VQ_BLOCK * VQ_BLOCK * cm->m;
    const uint8_t *rho = block + (size_t)s->at * VQ_BLOCK + 2 * at,
                  *tail = block + front + at * s->rest;
    uint8_t planes[2 * VQ_GRID_HEAD];
    take_planes(block + at, s->at, planes);
    float sum = of_planes(t, k, 0, planes, t->leading);
    if (s->tail > 0) {
        sum += of_planes(t, k, 1, tail, vq_round_up(s->groups, FOUR));
        rho = tail + 2 * (size_t)s->tail;
    }
    return vq_f16_to_f32(vq_le16(rho)) * (sum + t->offset);
}

#define MEMBERS                                                                                    \
    .grain = G, .code_bytes = code_bytes, .nparams = vq_grid_nparams,                              \
    .bytes_of_bits = bytes_of_bits, .check = check, .calibrate = vq_grid_calibrate,                \
    .encode = vq_grid_encode, .centre = vq_grid_centre, .decode = vq_grid_decode,                  \
    .pack = vq_grid_pack, .unpack = vq_grid_unpack, .prepare = prepare, .scan = scan,              \
    .asks = asks, .scan_bars = scan_bars, .score = score_slot, .bar = bar, .rows = rows,           \
    .feel = feel, .weigh = weigh, .stretch = vq_grid_stretch, .front = front, .fetch = fetch,      \
    .squares = squares, .two = two

const vq_codec vq_codec_saq = {.name = "saq",
                               .disk_id = 6,
                               .axes = 1,
                               .plan = plan_saq,
                               .turn = turn,
                               .train = train_saq,
                               MEMBERS};

const vq_codec vq_codec_rabitq = {
    .name = "rabitq", .disk_id = 7, .plan = plan_rabitq, .train = train_rabitq, MEMBERS};
