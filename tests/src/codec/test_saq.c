/* SPDX-License-Identifier: Apache-2.0 */
/* Scalar codes with error bars: what saq and rabitq promise beyond what every codec does. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/codec/grid.h"
#include "src/math/transform.h"
#include "src/train/allot.h"
#include "tests/harness/harness.h"

/* A codec of so many bits a coordinate, trained on n rows of normal numbers whose deviation falls
 * along the coordinates (falls = 0: not at all). */
typedef struct scene {
    vq_code_model cm;
    float *params, *x;
    size_t n;
} scene;

static scene scene_new(const vq_codec *codec, uint32_t d, double bits, size_t n, double falls)
{
    scene s = {.n = n};
    vq_rng r;
    vq_error err;
    uint32_t m;
    vq_rng_init(&r, test_seed(), d);
    cr_assert_eq(codec->plan(d, codec->bytes_of_bits(d, bits), &m, &err), VQ_OK);
    d = vq_coded_dims(codec, d, m);
    s.cm = (vq_code_model){.codec = codec, .d = d, .m = m, .code_bytes = m};
    s.x = vq_alloc_f32(n, d);
    for (size_t i = 0; i < n * d; i++)
        s.x[i] = (float)(vq_rng_normal(&r) * pow((double)(i % d + 1), -falls));
    s.params = vq_mem_calloc(codec->nparams(d, m), sizeof(float));
    cr_assert_eq(codec->train(s.x, n, d, m, 1, 1, NULL, s.params, &err), VQ_OK);
    cr_assert_eq(codec->check(d, m, s.params, &err), VQ_OK);
    s.cm.params = s.params;
    return s;
}

static void scene_end(scene *s)
{
    vq_mem_free(s->params);
    vq_mem_free(s->x);
}

static double dot(const float *a, const float *b, size_t d)
{
    double sum = 0.0;
    for (size_t j = 0; j < d; j++) sum += (double)a[j] * (double)b[j];
    return sum;
}

/* Encodes one row and decodes it. */
static void round_trip(const scene *s, const float *o, uint8_t *row, float *back)
{
    vq_error err;
    cr_assert_eq(vq_grid_encode(&s->cm, vq_kernels_get(), o, 1, row, &err), VQ_OK);
    vq_grid_decode(&s->cm, row, 1, back);
}

Test(saq, bits_are_dealt_as_well_as_can_be)
{
    enum { N = 4, MOST = 7 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int it = 0; it < 50; it++) {
        double cost[N];
        uint8_t before[N] = {0};
        for (size_t j = 0; j < N; j++) cost[j] = exp(3.0 * vq_rng_normal(&r));
        for (size_t bits = 0; bits <= MOST; bits++) {
            uint8_t got[N];
            double best = INFINITY, is = 0.0;
            cr_assert_eq(vq_allot(cost, N, bits, got), bits);
            for (unsigned all = 0; all < 1u << 3 * N; all++) { /* three bits each say up to 7 */
                double sum = 0.0;
                size_t used = 0;
                for (size_t j = 0; j < N; j++) {
                    unsigned b = all >> 3 * j & 7u;
                    used += b, sum += cost[j] * vq_grid_left(b);
                }
                if (used == bits) best = fmin(best, sum);
            }
            for (size_t j = 0; j < N; j++) {
                is += cost[j] * vq_grid_left(got[j]);
                cr_assert(got[j] >= before[j]); /* fewer bits are a prefix */
                before[j] = got[j];
            }
            cr_assert(is <= best * (1.0 + 1e-12), "%zu bits: %g, not %g", bits, is, best);
        }
    }
    uint8_t out[2];
    cr_assert_eq(vq_allot((double[]){1.0, 0.0}, 2, 100, out), 26);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The squared cosine of the best grid point of all: at every scale at which a coordinate changes
 * its level, in rising order, sums are kept up (Gao et al. 2025, sec. 3.2). */
static double exact_sweep(const float *o, size_t d, unsigned bits)
{
    size_t most = (1u << (bits - 1)) - 1, n = 0;
    double(*at)[2] = vq_mem_alloc(d * (most + 1), sizeof *at), best;
    double ip = 0.0, sq = 0.25 * (double)d, all = dot(o, o, d);
    for (size_t j = 0; j < d; j++) {
        double a = fabs((double)o[j]);
        ip += 0.5 * a;
        for (size_t k = 1; k <= most && a > 0.0; k++, n++)
            at[n][0] = (double)k / a, at[n][1] = (double)j;
    }
    best = ip * ip / sq;
    qsort(at, n, sizeof *at, rising);
    uint32_t *level = vq_mem_calloc(d, sizeof *level);
    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)at[i][1];
        ip += fabs((double)o[j]);
        sq += 2.0 * (double)++level[j];
        best = fmax(best, ip * ip / sq);
    }
    vq_mem_free(at);
    vq_mem_free(level);
    return best / all;
}

Test(saq, codes_are_as_good_as_those_of_the_exact_sweep)
{
    static const uint32_t dims[] = {16, 64, 256};
    for (size_t c = 0; c < VQ_COUNT(dims); c++)
        for (unsigned bits = 1; bits <= 6; bits++) {
            scene s = scene_new(&vq_codec_rabitq, dims[c], bits, 100, 0.0);
            uint8_t *row = vq_mem_alloc(1, s.cm.m);
            float *back = vq_alloc_f32(1, s.cm.d);
            double lost = 0.0, least = 0.0;
            for (size_t i = 0; i < s.n; i++) {
                const float *o = s.x + i * s.cm.d;
                round_trip(&s, o, row, back);
                double cosine = dot(o, back, s.cm.d);
                cosine *= cosine / (dot(o, o, s.cm.d) * dot(back, back, s.cm.d));
                double best = exact_sweep(o, s.cm.d, bits);
                cr_assert(cosine <= best + 1e-6, "%u x %u bits: %g beats the best, %g", dims[c],
                          bits, cosine, best);
                lost += 1.0 - cosine, least += 1.0 - best;
            }
            double most = dims[c] == 16 ? 1.12 : 1.03; /* of so few the best scale is any */
            cr_assert(lost <= most * least, "%u x %u bits: %g, not %g", dims[c], bits, lost, least);
            vq_mem_free(row);
            vq_mem_free(back);
            scene_end(&s);
        }
}

/* Products of a fixed pair over random rotations: unbiased, and off by what the bar says. */
static void check_rotations(double bits, size_t d, int whole)
{
    enum { TURNS = 1500 };
    scene s = scene_new(&vq_codec_rabitq, (uint32_t)d, bits, 200, 0.0);
    vq_grid_params p = vq_grid_params_of(s.params, s.cm.d);
    vq_grid_shape shape = vq_grid_shape_of(s.cm.d, s.cm.m);
    uint8_t *row = vq_mem_alloc(1, s.cm.m);
    float *o = vq_alloc_f32(1, d), *q = vq_alloc_f32(1, d), *back = vq_alloc_f32(1, d);
    double sum = 0.0, squares = 0.0;
    for (uint64_t t = 0; t < TURNS; t++) {
        for (size_t j = 0; j < d; j++) {
            o[j] = s.x[j];
            q[j] = 0.6f * s.x[j] + 0.8f * s.x[d + j]; /* at a cosine of .6 or so */
        }
        vq_hadamard_rotate(o, d, t + 1);
        vq_hadamard_rotate(q, d, t + 1);
        round_trip(&s, o, row, back);
        vq_grid_bar b = vq_grid_bar_of_row(&p, &shape, row, whole);
        double truth = dot(o, q, d), got = (1.0 + (double)b.turn) * dot(back, q, d);
        double across = sqrt(1.0 - truth * truth / (dot(o, o, d) * dot(q, q, d)));
        double deviation = (double)b.error * sqrt(1.0 + (double)b.turn) *
                           sqrt(dot(q, q, d) / (double)(d - 1)) * across;
        double z = (truth - got) / deviation;
        sum += z, squares += z * z;
    }
    double mean = sum / TURNS, sd = sqrt(squares / TURNS - mean * mean);
    cr_assert(fabs(mean) < 4.0 / sqrt(TURNS), "%g bits: off by %g deviations", bits, mean);
    cr_assert(sd > 0.9 && sd < 1.1, "%g bits: %g times the deviation stated", bits, sd);
    vq_mem_free(row);
    vq_mem_free(o);
    vq_mem_free(q);
    vq_mem_free(back);
    scene_end(&s);
}

Test(saq, products_are_unbiased_and_off_by_what_is_stated)
{
    check_rotations(1.0, 64, 1);
    check_rotations(1.0, 768, 1);
    check_rotations(2.0, 128, 1);
    check_rotations(4.0, 64, 1);
    check_rotations(6.0, 256, 1); /* with a tail */
}

/* By n pairs (n x d each). */
static void calibrate(scene *s, const float *o, const float *q, size_t n, int centred, float *bars)
{
    vq_error err;
    vq_code_pair *pairs = vq_mem_calloc(n, sizeof *pairs);
    for (size_t i = 0; i < n; i++)
        pairs[i] = (vq_code_pair){.o = o + i * s->cm.d, .q = q + i * s->cm.d};
    cr_assert_eq(vq_grid_calibrate(s->cm.d, s->cm.m, pairs, n, centred, 2, s->params, bars, &err),
                 VQ_OK);
    vq_mem_free(pairs);
}

Test(saq, bars_leave_out_what_they_should)
{
    enum { QUERIES = 40 };
    for (int alike = 0; alike < 2; alike++) { /* queries at random, and near the vectors */
        scene s = scene_new(&vq_codec_saq, 128, 3.0, 600, 0.7);
        size_t d = s.cm.d, pairs = s.n * QUERIES, out[3] = {0, 0, 0};
        float *o = vq_alloc_f32(pairs, d), *q = vq_alloc_f32(pairs, d);
        float bars[2 * VQ_BAR_WIDTHS];
        vq_rng r;
        vq_rng_init(&r, test_seed(), 5);
        for (size_t i = 0; i < pairs; i++) {
            const float *row = s.x + i / QUERIES * d, *other = s.x + vq_rng_below(&r, s.n) * d;
            for (size_t j = 0; j < d; j++) {
                o[i * d + j] = row[j];
                q[i * d + j] = other[j] + (alike ? row[j] : 0.0f);
            }
        }
        calibrate(&s, o, q, pairs / 2, 0, bars);
        s.cm.bars = bars;
        uint8_t *rows = vq_mem_alloc(1, s.cm.m), *block = vq_mem_alloc(VQ_BLOCK, s.cm.m);
        float *back = vq_alloc_f32(1, d);
        vq_arena arena;
        vq_arena_init(&arena);
        for (size_t i = pairs / 2; i < pairs; i++) { /* others than it was calibrated with */
            vq_bar bar;
            vq_arena_reset(&arena);
            round_trip(&s, o + i * d, rows, back);
            vq_grid_pack(&s.cm, rows, 1, block);
            const void *t = s.cm.codec->prepare(&s.cm, vq_kernels_get(), q + i * d, &arena);
            s.cm.codec->bar(&s.cm, t, block, 0, 1, &bar);
            double got = (double)s.cm.codec->score(&s.cm, vq_kernels_get(), t, block, 0);
            float felt = s.cm.codec->feel(&s.cm, t, 1, NULL, 0.0f, 0.0f);
            for (size_t w = 0; w < 3; w++) {
                float width = (float)(w + 1) * s.cm.codec->stretch(&s.cm, 1, (float)(w + 1));
                double most = got * (1.0 + (double)bar.turn) + (double)(width * bar.error * felt);
                out[w] += dot(o + i * d, q + i * d, d) > most;
            }
        }
        for (size_t w = 0; w < 3; w++) {
            double share = 2.0 * (double)out[w] / (double)pairs;
            double tail = 0.5 * erfc((double)(w + 1) / sqrt(2.0));
            double slack = w < 2 ? 0.2 : 1.5; /* a few of a thousand, by a tail fitted to as few */
            cr_assert(fabs(share - tail) < slack * tail, "%g are above %zu deviations", share,
                      w + 1);
        }
        vq_arena_fini(&arena);
        vq_mem_free(o);
        vq_mem_free(q);
        vq_mem_free(rows);
        vq_mem_free(block);
        vq_mem_free(back);
        scene_end(&s);
    }
}

/* Whatever the query, bytes hold the sums of a run, 16 bits that of all, and rounding is what is
 * stated. */
static void check_heads(const scene *s, const float *q, vq_arena *arena)
{
    const vq_grid_tables *t = s->cm.codec->prepare(&s->cm, vq_kernels_get(), q, arena);
    const uint8_t *lut = t->heads.luts;
    size_t planes = 0;
    uint32_t all = 0;
    for (size_t r = 0; r < t->heads.nruns; r++) {
        uint32_t held[2] = {0, 0};
        planes += t->heads.runs[r].planes;
        for (size_t j = 0; j < 4 * (size_t)t->heads.runs[r].planes; j++, lut += 16) {
            uint8_t most = 0;
            for (size_t c = 0; c < 16; c++) most = VQ_MAX(most, lut[c]);
            held[j / 2 % 2] += most;
        }
        cr_assert(held[0] <= 255 && held[1] <= 255, "run %zu: %u and %u", r, held[0], held[1]);
        all += (held[0] + held[1]) << t->heads.runs[r].shift;
    }
    cr_assert_eq(planes, t->shape.head);
    cr_assert_leq(all, UINT16_MAX);
    cr_assert(t->heads.blunt >= 0.0f && isfinite(t->heads.low));
}

Test(saq, tables_of_any_query_fit)
{
    scene scenes[] = {scene_new(&vq_codec_saq, 256, 6.0, 300, 0.8),
                      scene_new(&vq_codec_saq, 64, 1.0, 300, 0.1),
                      scene_new(&vq_codec_rabitq, 992, 1.0, 300, 0.0)};
    vq_arena arena;
    vq_rng r;
    vq_arena_init(&arena);
    vq_rng_init(&r, test_seed(), 31);
    for (size_t k = 0; k < VQ_COUNT(scenes); k++) {
        scene *s = &scenes[k];
        float *q = vq_alloc_f32(1, s->cm.d);
        for (int it = 0; it < 60; it++) {
            for (size_t j = 0; j < s->cm.d; j++) {
                q[j] = (float)vq_rng_normal(&r);
                if (it % 3 == 1) q[j] *= expf(4.0f * (float)vq_rng_normal(&r));
                if (it % 3 == 2) q[j] = j == (size_t)it ? -1.0f : it % 2 ? 0.0f : 1.0f;
                if (it == 0) q[j] = 0.0f;
                if (it % 10 == 9) q[j] *= 1e-36f; /* steps of bytes without an inverse */
            }
            vq_arena_reset(&arena);
            check_heads(s, q, &arena);
        }
        vq_mem_free(q);
        scene_end(s);
    }
    vq_arena_fini(&arena);
}

Test(saq, leading_bits_are_a_code)
{
    scene s = scene_new(&vq_codec_saq, 256, 6.0, 400, 0.8);
    vq_grid_shape shape = vq_grid_shape_of(s.cm.d, s.cm.m);
    vq_grid_params p = vq_grid_params_of(s.params, s.cm.d);
    cr_assert(shape.tail > 0);
    uint8_t *rows = vq_mem_alloc(40, s.cm.m), *blocks = vq_mem_alloc(64, s.cm.m);
    uint16_t *codes = vq_mem_alloc(s.cm.d, sizeof *codes);
    vq_error err;
    cr_assert_eq(vq_grid_encode(&s.cm, vq_kernels_get(), s.x, 40, rows, &err), VQ_OK);
    vq_grid_pack(&s.cm, rows, 40, blocks);
    vq_arena arena;
    vq_arena_init(&arena);
    const float *q = s.x + 100 * s.cm.d;
    const vq_grid_tables *t = s.cm.codec->prepare(&s.cm, vq_kernels_get(), q, &arena);
    uint32_t idx[64];
    float score[64], scratch[64] VQ_ALIGNED(64);
    cr_assert_eq(s.cm.codec->scan(&s.cm, vq_kernels_get(), t, blocks, NULL, NULL, 40, 0.0f,
                                  -INFINITY, scratch, idx, score),
                 40);
    for (size_t i = 0; i < 40; i++) {
        vq_grid_codes(&s.cm, rows + i * s.cm.m, codes);
        double head = 0.0, rho = (double)vq_grid_rho(&shape, rows + i * s.cm.m, false);
        for (size_t j = 0; j < s.cm.d; j++) {
            unsigned bits = (unsigned)p.bits[j / 16], lead = (unsigned)p.head_bits[j / 16];
            double middle = 0.5 * (double)((1u << lead) - 1);
            cr_assert(codes[j] < 1u << bits);
            if (lead > 0)
                head += (double)q[j] * (double)p.head_step[j / 16] *
                        ((double)(codes[j] >> (bits - lead)) - middle);
        }
        double bound = 1e-4;
        for (size_t r = 0; r < t->heads.nruns; r++) /* half an entry of each table */
            bound += 2.0 * rho * (double)t->heads.scale *
                     (double)(t->heads.runs[r].planes << t->heads.runs[r].shift);
        cr_assert(fabs(rho * head - (double)score[i]) <= bound, "%g, not %g", (double)score[i],
                  rho * head);
    }
    vq_arena_fini(&arena);
    vq_mem_free(rows);
    vq_mem_free(blocks);
    vq_mem_free(codes);
    scene_end(&s);
}

Test(saq, more_bits_where_the_variance_is_lose_less)
{
    double error[2];
    for (int i = 0; i < 2; i++) {
        scene s = scene_new(i == 0 ? &vq_codec_saq : &vq_codec_rabitq, 256, 2.0, 300, 1.0);
        uint8_t *row = vq_mem_alloc(1, s.cm.m);
        float *back = vq_alloc_f32(1, s.cm.d);
        error[i] = 0.0;
        for (size_t j = 0; j < s.n; j++) {
            const float *o = s.x + j * s.cm.d;
            round_trip(&s, o, row, back);
            error[i] += 1.0 + dot(back, back, s.cm.d) / dot(o, o, s.cm.d) -
                        2.0 * dot(o, back, s.cm.d) / dot(o, o, s.cm.d);
        }
        vq_mem_free(row);
        vq_mem_free(back);
        scene_end(&s);
    }
    cr_assert(error[0] < 0.3 * error[1], "saq %g, rabitq %g", error[0], error[1]);
}

Test(saq, vectors_of_nothing_and_of_much)
{
    scene s = scene_new(&vq_codec_saq, 48, 4.0, 100, 0.5);
    uint8_t *row = vq_mem_alloc(1, s.cm.m);
    float *o = vq_alloc_f32(1, s.cm.d), *back = vq_alloc_f32(1, s.cm.d);
    memset(o, 0, s.cm.d * sizeof *o);
    round_trip(&s, o, row, back);
    for (size_t j = 0; j < s.cm.d; j++) cr_assert_eq(back[j], 0.0f);
    static const float sizes[] = {1e-3f, 1.0f, 1e3f};
    double first = -1.0;
    for (size_t i = 0; i < VQ_COUNT(sizes); i++) { /* what is lost does not depend on the size */
        for (size_t j = 0; j < s.cm.d; j++) o[j] = sizes[i] * s.x[j];
        round_trip(&s, o, row, back);
        double lost = 1.0 + dot(back, back, s.cm.d) / dot(o, o, s.cm.d) -
                      2.0 * dot(o, back, s.cm.d) / dot(o, o, s.cm.d);
        if (first < 0.0) first = lost;
        cr_assert(fabs(lost - first) < 0.05 * first, "%g, not %g", lost, first);
    }
    memset(o, 0, s.cm.d * sizeof *o);
    o[0] = 1.0f; /* one coordinate, the others exact zeros */
    round_trip(&s, o, row, back);
    cr_assert(back[0] > 0.5f && back[0] < 1.5f);
    vq_mem_free(row);
    vq_mem_free(o);
    vq_mem_free(back);
    scene_end(&s);
}

Test(saq, params_of_a_file_are_not_believed)
{
    static const float wrong[] = {-1.0f, 0.5f, 14.0f, 1e9f, NAN, INFINITY};
    scene s = scene_new(&vq_codec_saq, 64, 2.0, 100, 0.5);
    vq_error err = {0};
    for (size_t i = 0; i < 8; i++) /* bits and bits of the head of four groups */
        for (size_t w = 0; w < VQ_COUNT(wrong); w++) {
            float was = s.params[i];
            s.params[i] = wrong[w];
            cr_assert_eq(vq_codec_saq.check(s.cm.d, s.cm.m, s.params, &err), VQ_ECORRUPT);
            s.params[i] = was;
        }
    for (uint32_t m = 130; m <= 134; m += 2) /* neither with a tail nor without */
        cr_assert_eq(vq_codec_saq.check(64, m, s.params, &err), VQ_ECORRUPT);
    s.params[0] += 1.0f; /* more planes than the codes have room for */
    cr_assert_eq(vq_codec_saq.check(s.cm.d, s.cm.m, s.params, &err), VQ_ECORRUPT);
    scene_end(&s);
}
