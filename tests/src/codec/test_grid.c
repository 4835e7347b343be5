/* SPDX-License-Identifier: Apache-2.0 */
/* Scalar codes with error bars beside what others have written down of such codes, and at the
 * borders: shapes, sets that nobody would call normal. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/codec/grid.h"
#include "tests/harness/harness.h"

typedef struct scene {
    vq_code_model cm;
    float *params, *x;
    size_t n;
} scene;

/* Trained on n rows x (n x d, which the scene takes over) of d coordinates, a multiple of 16. */
static scene scene_of(const vq_codec *codec, uint32_t d, double bits, float *x, size_t n)
{
    scene s = {.x = x, .n = n};
    vq_error err;
    uint32_t m;
    cr_assert_eq(codec->plan(d, codec->bytes_of_bits(d, bits), &m, &err), VQ_OK);
    cr_assert_eq(vq_coded_dims(codec, d, m), d);
    s.cm = (vq_code_model){.codec = codec, .d = d, .m = m, .code_bytes = m};
    s.params = vq_mem_calloc(codec->nparams(d, m), sizeof(float));
    cr_assert_eq(codec->train(x, n, d, m, 1, 1, NULL, s.params, &err), VQ_OK);
    s.cm.params = s.params;
    return s;
}

static void scene_end(scene *s)
{
    vq_mem_free(s->params);
    vq_mem_free(s->x);
}

static float *normal_rows(vq_rng *r, size_t n, size_t d)
{
    float *x = vq_alloc_f32(n, d);
    for (size_t i = 0; i < n * d; i++) x[i] = (float)vq_rng_normal(r);
    return x;
}

static double dot(const float *a, const float *b, size_t d)
{
    double sum = 0.0;
    for (size_t j = 0; j < d; j++) sum += (double)a[j] * (double)b[j];
    return sum;
}

static void encode(const scene *s, const float *x, size_t n, uint8_t *rows)
{
    vq_error err;
    cr_assert_eq(vq_grid_encode(&s->cm, vq_kernels_get(), x, n, rows, &err), VQ_OK);
}

/* One bit a coordinate is its sign, and the estimate is that of QJL (Zandieh et al. 2024),
 * sqrt(pi / 2) / d * |o| * sum over j of sign(o_j) q_j in axes of length sqrt(d), but for one
 * number a vector: what sum |o_j| is where QJL takes what it is on the average. */
Test(grid, one_bit_is_qjl_scaled_for_each_vector)
{
    enum { D = 256, N = 200 };
    vq_rng r;
    vq_arena arena;
    vq_rng_init(&r, test_seed(), 1);
    vq_arena_init(&arena);
    scene s = scene_of(&vq_codec_rabitq, D, 1.0, normal_rows(&r, N, D), N);
    uint8_t *rows = vq_mem_alloc(VQ_BLOCK, s.cm.m), *block = vq_mem_alloc(VQ_BLOCK, s.cm.m);
    uint16_t codes[D];
    encode(&s, s.x, VQ_BLOCK, rows);
    vq_grid_pack(&s.cm, rows, VQ_BLOCK, block);
    for (size_t a = VQ_BLOCK; a < VQ_BLOCK + 4; a++) { /* queries */
        const float *q = s.x + a * D;
        vq_arena_reset(&arena);
        const void *t = s.cm.codec->prepare(&s.cm, vq_kernels_get(), q, &arena);
        for (size_t i = 0; i < VQ_BLOCK; i++) {
            const float *o = s.x + i * D;
            double length = sqrt(dot(o, o, D)), sum = 0.0, magnitudes = 0.0;
            vq_bar bar;
            vq_grid_codes(&s.cm, rows + i * s.cm.m, codes);
            for (size_t j = 0; j < D; j++) {
                cr_assert_eq(codes[j], o[j] >= 0.0f);
                sum += o[j] >= 0.0f ? (double)q[j] : -(double)q[j];
                magnitudes += fabs((double)o[j]);
            }
            double qjl = sqrt(M_PI / 2.0) / D * length * sqrt((double)D) * sum;
            double own = length * sqrt((double)D) / magnitudes * sqrt(2.0 / M_PI);
            double got = (double)s.cm.codec->score(&s.cm, vq_kernels_get(), t, block, i);
            s.cm.codec->bar(&s.cm, t, block, i, 1, &bar);
            cr_assert(fabs(got * (1.0 + (double)bar.turn) - own * qjl) <=
                          0.03 * fabs(qjl) + 1e-3 * length,
                      "%g, not %g", got * (1.0 + (double)bar.turn), own * qjl);
            cr_assert(fabs(got - magnitudes / D * sum) <= 2e-3 * fabs(got) + 1e-3 * length);
        }
    }
    vq_arena_fini(&arena);
    vq_mem_free(rows);
    vq_mem_free(block);
    scene_end(&s);
}

/* Recurrent binarization (Shen et al. 2023, BEBR) writes a vector as the sum of 2^-t times vectors
 * of
 * +-1.  With its planes as these a code decodes to the same. */
Test(grid, planes_are_a_recurrent_binarization)
{
    enum { D = 64, N = 300 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 2);
    scene s = scene_of(&vq_codec_rabitq, D, 5.0, normal_rows(&r, N, D), N);
    vq_grid_params p = vq_grid_params_of(s.params, D);
    vq_grid_shape shape = vq_grid_shape_of(D, s.cm.m);
    uint8_t *row = vq_mem_alloc(1, s.cm.m);
    float back[D];
    for (size_t i = 0; i < N; i++) {
        encode(&s, s.x + i * D, 1, row);
        vq_grid_decode(&s.cm, row, 1, back);
        const uint8_t *plane = row;
        double rho = (double)vq_grid_rho(&shape, row, true);
        for (size_t g = 0; g < D / 16; g++) {
            unsigned bits = (unsigned)p.bits[g];
            for (size_t j = 0; j < 16; j++) {
                double sum = 0.0;
                for (unsigned t = 0; t < bits; t++)
                    sum += ldexp(plane[2 * t + j / 8] >> j % 8 & 1 ? 1.0 : -1.0, -(int)t);
                sum *= rho * (double)p.step[g] * ldexp(1.0, (int)bits - 2);
                cr_assert(fabs(sum - (double)back[g * 16 + j]) <= 1e-5 * fabs(sum) + 1e-6);
            }
            plane += 2 * bits;
        }
    }
    vq_mem_free(row);
    scene_end(&s);
}

/* The least squared error of any code and any scale over the first d of 16 coordinates, the others
 * being 0 and coded as near to that as a grid without a 0 can: signs are those of the vector. */
static double least_error(const float *o, size_t d, unsigned bits)
{
    unsigned half = 1u << (bits - 1);
    size_t all = 1;
    double best = 0.0, oo = dot(o, o, d);
    for (size_t j = 0; j < d; j++) all *= half;
    for (size_t c = 0; c < all; c++) {
        double ox = 0.0, xx = 0.25 * (double)(16 - d);
        size_t left = c;
        for (size_t j = 0; j < d; j++, left /= half) {
            double x = (double)(left % half) + 0.5;
            ox += fabs((double)o[j]) * x, xx += x * x;
        }
        best = fmax(best, ox * ox / xx);
    }
    return oo - best;
}

Test(grid, encoder_is_within_a_hundredth_of_the_best)
{
    enum { N = 400, D = 16 };
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    for (unsigned bits = 1; bits <= 3; bits++)
        for (size_t d = 1; d <= 8; d += bits == 3 ? 2 : 1) {
            float *x = normal_rows(&r, N, D), back[D];
            for (size_t i = 0; i < N * D; i++)
                if (i % D >= d) x[i] = 0.0f;
            scene s = scene_of(&vq_codec_rabitq, D, bits, x, N);
            uint8_t *row = vq_mem_alloc(1, s.cm.m);
            double got = 0.0, best = 0.0;
            for (size_t i = 0; i < (bits == 3 ? 20 : 100); i++) {
                encode(&s, x + i * D, 1, row);
                vq_grid_decode(&s.cm, row, 1, back);
                for (size_t j = 0; j < D; j++) back[j] -= x[i * D + j];
                got += dot(back, back, D);
                best += least_error(x + i * D, d, bits);
            }
            cr_assert(got <= best * 1.01 + 1e-9, "%zu coordinates, %u bits: %g, not %g", d, bits,
                      got, best);
            vq_mem_free(row);
            scene_end(&s);
        }
}

/* Copies of a few vectors, some that are very long, some of nothing. */
static float *ugly_rows(vq_rng *r, size_t n, size_t d)
{
    float *x = normal_rows(r, n, d);
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * d;
        double kind = vq_rng_f64(r), times = kind < 0.05 ? 0.0 : kind < 0.1 ? 100.0 : 1.0;
        for (size_t j = 0; j < d; j++) row[j] *= (float)(times * pow((double)(j + 1), -0.5));
        if (kind > 0.5) memcpy(row, x + vq_rng_below(r, i / 2 + 1) * d, d * sizeof *row);
    }
    return x;
}

/* Two deviations leave out what they should of pairs with others than they were calibrated with. */
Test(grid, bars_of_an_ugly_set)
{
    enum { N = 1200, D = 128, QUERIES = 30 };
    vq_rng r;
    vq_error err;
    vq_arena arena;
    vq_rng_init(&r, test_seed(), 4);
    vq_arena_init(&arena);
    for (int centred = 0; centred < 2; centred++) {
        scene s = scene_of(&vq_codec_saq, D, 3.0, ugly_rows(&r, N, D), N);
        size_t pairs = (size_t)N * QUERIES, out = 0, count = 0;
        float *o = vq_alloc_f32(pairs, D), *q = vq_alloc_f32(pairs, D);
        float bars[2 * VQ_BAR_WIDTHS];
        for (size_t i = 0; i < pairs; i++) {
            memcpy(o + i * D, s.x + vq_rng_below(&r, N) * D, D * sizeof *o);
            memcpy(q + i * D, s.x + vq_rng_below(&r, N) * D, D * sizeof *q);
        }
        vq_code_pair *seen = vq_mem_calloc(pairs, sizeof *seen);
        for (size_t i = 0; i < pairs; i++) seen[i] = (vq_code_pair){.o = o + i * D, .q = q + i * D};
        cr_assert_eq(
            vq_grid_calibrate(D, s.cm.m, seen, pairs / 2, centred, 2, s.params, bars, &err), VQ_OK);
        vq_mem_free(seen);
        s.cm.bars = bars;
        uint8_t *row = vq_mem_alloc(1, s.cm.m), *block = vq_mem_alloc(VQ_BLOCK, s.cm.m);
        for (size_t i = pairs / 2; i < pairs; i++) {
            vq_bar bar;
            vq_arena_reset(&arena);
            encode(&s, o + i * D, 1, row);
            vq_grid_pack(&s.cm, row, 1, block);
            const void *t = s.cm.codec->prepare(&s.cm, vq_kernels_get(), q + i * D, &arena);
            s.cm.codec->bar(&s.cm, t, block, 0, 1, &bar);
            double got = (double)s.cm.codec->score(&s.cm, vq_kernels_get(), t, block, 0);
            float felt = s.cm.codec->feel(&s.cm, t, 1, NULL, 0.0f, 0.0f);
            double width = (double)(bar.error * felt * s.cm.codec->stretch(&s.cm, 1, 2.0f));
            cr_assert(isfinite(got) && isfinite(width));
            if (!(width > 0.0)) continue; /* vectors of nothing have no errors */
            count++;
            double length = dot(o + i * D, o + i * D, D); /* which l2 takes from the bar */
            double judged = centred ? got + (double)bar.half - 0.5 * length : got;
            out += dot(o + i * D, q + i * D, D) > got + (double)bar.turn * judged + 2.0 * width;
        }
        double share = (double)out / (double)count;
        cr_assert(share > 0.0227 * 0.8 && share < 0.0227 * 1.2, "%g are above two deviations",
                  share);
        vq_mem_free(o);
        vq_mem_free(q);
        vq_mem_free(row);
        vq_mem_free(block);
        scene_end(&s);
    }
    vq_arena_fini(&arena);
}

/* What a query less a centroid feels of errors, found from the query's tables and what is known of
 * the centroid, is what their difference would. */
Test(grid, distances_are_felt_by_their_coordinates)
{
    enum { D = 192, N = 400 };
    vq_rng r;
    vq_arena arena;
    vq_rng_init(&r, test_seed(), 8);
    vq_arena_init(&arena);
    const vq_kernels *k = vq_kernels_get();
    float *x = normal_rows(&r, N, D), less[D], bars[2 * VQ_BAR_WIDTHS];
    for (size_t i = 0; i < N * D; i++) x[i] /= 1.0f + (float)(i % D) / 16.0f;
    scene s = scene_of(&vq_codec_saq, D, 6.0, x, N);
    vq_grid_params p = vq_grid_params_of(s.params, D);
    for (size_t i = 0; i < VQ_COUNT(bars); i++) bars[i] = 1.0f + (float)(i % VQ_BAR_WIDTHS);
    for (size_t i = 0; i < 20; i++) {
        const float *q = s.x + i * D, *c = s.x + (i + 20) * D;
        float weighed[2];
        double sq = 0.0;
        for (size_t j = 0; j < D; j++) less[j] = q[j] - c[j];
        sq = dot(less, less, D);
        s.cm.codec->weigh(&s.cm, k, c, weighed);
        for (int whole = 0; whole < 2; whole++) {
            vq_arena_reset(&arena);
            s.cm.bars = bars;
            const void *t = s.cm.codec->prepare(&s.cm, k, q, &arena);
            float products[3];
            k->matvec_f32(s.cm.codec->rows(t), 3, D, D, c, products);
            float got = s.cm.codec->feel(&s.cm, t, whole, products, (float)sq, weighed[whole]);
            float want = vq_grid_felt(k, whole ? p.spread : p.head_spread, less, D / 16);
            cr_assert(fabsf(got - want) < 1e-3f * want, "%g, not %g", (double)got, (double)want);
            cr_assert(memcmp(s.cm.codec->rows(t), q, D * sizeof *q) == 0);
            cr_assert_eq(s.cm.codec->stretch(&s.cm, whole, 1.0f), 2.0f);
            cr_assert_eq(s.cm.codec->stretch(&s.cm, whole, 1.25f), 2.0f); /* 2.5 over it */
            s.cm.bars = NULL; /* as files have it that know of no bars */
            float along = whole ? p.along : p.head_along;
            cr_assert_eq(s.cm.codec->feel(&s.cm, t, whole, products, (float)sq, 0.0f),
                         along * sqrtf((float)sq));
            cr_assert_eq(s.cm.codec->stretch(&s.cm, whole, 1.0f), p.stretch[whole]);
        }
    }
    vq_arena_fini(&arena);
    scene_end(&s);
}

/* Sums of tables are off by nothing on the average, though most entries of small tables are
 * rounded to the least. */
Test(grid, tables_round_to_neither_side)
{
    enum { D = 256, N = 640 };
    vq_rng r;
    vq_arena arena;
    vq_rng_init(&r, test_seed(), 9);
    vq_arena_init(&arena);
    const vq_kernels *k = vq_kernels_get();
    float *x = normal_rows(&r, N, D), *q = vq_alloc_f32(1, D);
    scene s = scene_of(&vq_codec_rabitq, D, 1.0, x, N);
    uint8_t *rows = vq_mem_alloc(N, s.cm.m), *blocks = vq_mem_alloc(N, s.cm.m);
    void *scratch = vq_mem_alloc(1, vq_scan_scratch(N));
    float score[N];
    uint32_t idx[N];
    encode(&s, s.x, N, rows);
    vq_grid_pack(&s.cm, rows, N, blocks);
    for (size_t j = 0; j < D; j++) q[j] = j < 4 ? 100.0f : 0.1f; /* a hundredth of a step */
    const void *t = s.cm.codec->prepare(&s.cm, k, q, &arena);
    cr_assert_eq(
        s.cm.codec->scan(&s.cm, k, t, blocks, NULL, NULL, N, 0.0f, -INFINITY, scratch, idx, score),
        N);
    double off = 0.0, sizes = 0.0;
    for (size_t i = 0; i < N; i++) {
        double exact = (double)s.cm.codec->score(&s.cm, k, t, blocks, i);
        off += (double)score[i] - exact;
        sizes += fabs((double)score[i] - exact);
    }
    cr_assert(fabs(off) < 0.2 * sizes, "off by %g on the average, of %g", off / N, sizes / N);
    vq_arena_fini(&arena);
    vq_mem_free(rows), vq_mem_free(blocks), vq_mem_free(scratch), vq_mem_free(q);
    scene_end(&s);
}

/* scan_bars leaves out nothing that the bars of the heads, as `bar` has them, leave. */
Test(grid, a_scan_by_bars_is_what_the_bars_say)
{
    enum { N = 293, D = 192, ROOM = 320 };   /* ten blocks, the last one short: in several steps */
    static const double bits[] = {2.0, 6.0}; /* without a tail, with one */
    vq_rng r;
    vq_arena arena;
    vq_rng_init(&r, test_seed(), 5);
    vq_arena_init(&arena);
    for (size_t b = 0; b < 2; b++) {
        scene s = scene_of(&vq_codec_saq, D, bits[b], normal_rows(&r, 400, D), 400);
        uint8_t *rows = vq_mem_alloc(ROOM, s.cm.m), *blocks = vq_mem_alloc(ROOM, s.cm.m);
        void *scratch = vq_mem_alloc(1, vq_scan_scratch(ROOM));
        float plain[ROOM], score[ROOM], most[ROOM], want[ROOM], factors[ROOM];
        uint32_t idx[ROOM];
        for (size_t i = 0; i < N; i++) factors[i] = (float)vq_rng_f64(&r);
        encode(&s, s.x, N, rows);
        vq_grid_pack(&s.cm, rows, N, blocks);
        for (int centred = 0; centred < 2; centred++) {
            const float *q = s.x + 100 * D;
            vq_sight at = {.base = 2.0f,
                           .from = centred ? 1.5f : 2.0f,
                           .away = 9.0f,
                           .centred = centred,
                           .width = 2.5f,
                           .stretch = 1.25f,
                           .noise = centred ? 0.01f : 0.0f};
            vq_arena_reset(&arena);
            const float *factor = centred ? factors : NULL;
            const void *t = s.cm.codec->prepare(&s.cm, vq_kernels_get(), q, &arena);
            cr_assert_eq(s.cm.codec->scan(&s.cm, vq_kernels_get(), t, blocks, NULL, factor, N,
                                          at.base, -INFINITY, scratch, idx, plain),
                         N);
            for (size_t i = 0; i < N; i++) {
                vq_bar bar;
                s.cm.codec->bar(&s.cm, t, blocks, i, 0, &bar);
                float width = at.stretch * bar.error * at.away;
                float noise = 2.0f * bar.half * at.noise * at.noise;
                want[i] = plain[i] + bar.turn * (plain[i] - at.from + (centred ? bar.half : 0.0f)) +
                          at.width * sqrtf(width * width + noise);
            }
            size_t n = s.cm.codec->scan_bars(&s.cm, vq_kernels_get(), t, blocks, blocks, factor, N,
                                             &at, want[7], scratch, idx, score, most);
            size_t left = 0;
            for (size_t i = 0; i < n; i++) {
                float slack = 1e-4f * fabsf(want[idx[i]]) + 1e-4f; /* and what tables round */
                cr_assert(most[i] >= want[idx[i]] - slack);
                cr_assert(most[i] <= want[idx[i]] + slack + 0.1f * (want[idx[i]] - plain[idx[i]]));
                cr_assert_eq(score[i], plain[idx[i]]);
            }
            for (size_t i = 0; i < N; i++) left += want[i] >= want[7] + 1e-3f;
            cr_assert(n >= left && n <= left + 3 + N / 10, "%zu of %zu", n, left);
        }
        vq_mem_free(rows);
        vq_mem_free(blocks);
        vq_mem_free(scratch);
        scene_end(&s);
    }
    vq_arena_fini(&arena);
}

/* Whatever the dimension: more bits lose less, and scores are products with what decodes. */
Test(grid, shapes)
{
    static const uint32_t dims[] = {1, 2, 15, 16, 17, 100, 768, 1000, 4096};
    static const double bits[] = {0.5, 1.0, 4.0, 8.0};
    enum { N = 40 };
    vq_rng r;
    vq_arena arena;
    vq_rng_init(&r, test_seed(), 6);
    vq_arena_init(&arena);
    for (size_t i = 0; i < VQ_COUNT(dims); i++) {
        uint32_t d = (dims[i] + 15) / 16 * 16;
        double before = INFINITY;
        for (size_t b = 0; b < VQ_COUNT(bits); b++) {
            vq_rng_init(&r, test_seed(), dims[i]);
            float *x = normal_rows(&r, N, d), *back = vq_alloc_f32(N, d);
            for (size_t j = 0; j < N * (size_t)d; j++)
                if (j % d >= dims[i]) x[j] = 0.0f;
            scene s = scene_of(&vq_codec_saq, d, bits[b], x, N);
            uint8_t *rows = vq_mem_alloc(N, s.cm.m), *row = vq_mem_alloc(1, s.cm.m);
            uint8_t *blocks = vq_mem_alloc(64, s.cm.m);
            double error = 0.0, all = 0.0;
            encode(&s, x, N, rows);
            vq_grid_decode(&s.cm, rows, N, back);
            vq_grid_pack(&s.cm, rows, N, blocks);
            vq_arena_reset(&arena);
            const void *t = s.cm.codec->prepare(&s.cm, vq_kernels_get(), x, &arena);
            for (size_t v = 0; v < N; v++) {
                vq_grid_unpack(&s.cm, blocks, v, row);
                cr_assert(memcmp(row, rows + v * s.cm.m, s.cm.m) == 0);
                double want = dot(x, back + v * d, d), length = sqrt(dot(x, x, d));
                double got = (double)s.cm.codec->score(&s.cm, vq_kernels_get(), t, blocks, v);
                vq_bar bar; /* whose deviation is ten times that of what integers round at most */
                s.cm.codec->bar(&s.cm, t, blocks, v, 1, &bar);
                float felt = s.cm.codec->feel(&s.cm, t, 1, NULL, 0.0f, 0.0f);
                cr_assert(fabs(got - want) <=
                              1e-5 * length * length + 0.5 * (double)(bar.error * felt),
                          "%g, not %g", got, want);
                for (size_t j = v * d; j < (v + 1) * d; j++) {
                    double e = (double)back[j] - (double)x[j];
                    error += e * e, all += (double)x[j] * (double)x[j];
                }
            }
            cr_assert(error <= before * 1.001, "%u dimensions, %g bits", dims[i], bits[b]);
            cr_assert(bits[b] < 8.0 || error <= 0.01 * all, "%u dimensions: %g", dims[i],
                      error / all);
            before = error;
            vq_mem_free(back);
            vq_mem_free(rows);
            vq_mem_free(row);
            vq_mem_free(blocks);
            scene_end(&s);
        }
    }
    vq_arena_fini(&arena);
}
