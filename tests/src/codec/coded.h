/* SPDX-License-Identifier: Apache-2.0 */
/* coded.h -- a codec trained on clustered rows, and some of these coded by it. */
#ifndef VQ_TESTS_SRC_CODEC_CODED_H
#define VQ_TESTS_SRC_CODEC_CODED_H

#include "src/codec/codec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/codec/pq.h"
#include "src/codec/grid.h"
#include "tests/harness/harness.h"

static const size_t sizes[] = {1, 31, 32, 33, 100};
enum { MOST = 100, TRAINING = 600 };

/* A codec trained on TRAINING rows, and n of these coded. */
typedef struct coded {
    vq_code_model cm;
    size_t n;
    float *params, *x;
    uint8_t *rows, *blocks;
} coded;

static inline float *make_rows(uint64_t seed, size_t n, size_t d)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *x = vq_alloc_f32(n, d), *centres = vq_alloc_f32(8, d);
    fill_normal(&r, centres, 8 * d);
    for (size_t i = 0; i < n; i++) {
        const float *c = centres + vq_rng_below(&r, 8) * d;
        for (size_t j = 0; j < d; j++) x[i * d + j] = c[j] + 0.3f * (float)vq_rng_normal(&r);
    }
    vq_mem_free(centres);
    return x;
}

static inline coded code(const vq_codec *codec, uint32_t d, uint32_t bytes, size_t n)
{
    coded c = {.n = n};
    vq_ticker ticker = {0};
    vq_error err;
    uint32_t m;
    cr_assert_eq(codec->plan(d, bytes, &m, &err), VQ_OK, "%s: %s", codec->name, err.text);
    d = vq_coded_dims(codec, d, m);
    c.cm = (vq_code_model){.codec = codec, .d = d, .m = m, .code_bytes = codec->code_bytes(d, m)};
    c.x = make_rows(1, TRAINING, d);
    c.params = vq_mem_calloc(codec->nparams(d, m) + 1, sizeof(float));
    cr_assert_eq(codec->train(c.x, TRAINING, d, m, 1, 1, &ticker, c.params, &err), VQ_OK);
    c.cm.params = c.params;
    c.rows = vq_mem_alloc(n, c.cm.code_bytes);
    c.blocks = vq_mem_alloc(vq_round_up(n, VQ_BLOCK), c.cm.code_bytes);
    memset(c.blocks, 0xa5, vq_round_up(n, VQ_BLOCK) * c.cm.code_bytes);
    cr_assert_eq(codec->encode(&c.cm, vq_kernels_get(), c.x, n, c.rows, &err), VQ_OK);
    codec->pack(&c.cm, c.rows, n, c.blocks);
    return c;
}

static inline uint32_t few_bytes(const vq_codec *c)
{
    return c->codewords != 0 ? 6 : c->grain != 0 ? 12 : 0;
}

static inline void coded_fini(coded *c)
{
    vq_mem_free(c->params);
    vq_mem_free(c->x);
    vq_mem_free(c->rows);
    vq_mem_free(c->blocks);
}

static inline double mean_error(const coded *c)
{
    float *back = vq_alloc_f32(c->n, c->cm.d);
    double sum = 0.0;
    c->cm.codec->decode(&c->cm, c->rows, c->n, back);
    for (size_t i = 0; i < c->n * c->cm.d; i++) {
        double e = (double)c->x[i] - (double)back[i];
        sum += e * e;
    }
    vq_mem_free(back);
    return sum / (double)c->n;
}

/* Products of a query with the decoded vectors, in double. */
static inline void products(const coded *c, const float *q, double *want)
{
    float *back = vq_alloc_f32(c->n, c->cm.d);
    c->cm.codec->decode(&c->cm, c->rows, c->n, back);
    for (size_t i = 0; i < c->n; i++) {
        want[i] = 0.0;
        for (size_t j = 0; j < c->cm.d; j++)
            want[i] += (double)q[j] * (double)back[i * c->cm.d + j];
    }
    vq_mem_free(back);
}

/* How far the sums of a scan may be from the products: half a step of the tables a sub-space. */
static inline double scan_bound(const coded *c, const void *tables)
{
    const vq_pq_tables *t = tables;
    const vq_grid_tables *s = tables;
    if (c->cm.codec->codewords != 0) return 0.5 * (double)t->scale * (double)c->cm.m + 1e-4;
    if (c->cm.codec->grain == 0) return 1e-4;
    float rho = 0.0f; /* the code has no tail, so the head is all of it */
    vq_grid_shape shape = vq_grid_shape_of(c->cm.d, c->cm.m);
    cr_assert_eq(shape.tail, 0);
    for (size_t i = 0; i < c->n; i++) {
        rho = VQ_MAX(rho, vq_grid_rho(&shape, c->rows + i * c->cm.m, true));
    }
    uint32_t looked = 0; /* up, and how often it counts */
    for (size_t r = 0; r < s->heads.nruns; r++)
        looked += 4u * s->heads.runs[r].planes << s->heads.runs[r].shift;
    return 0.5 * (double)(rho * s->heads.scale) * (double)looked + 1e-4;
}

#endif
