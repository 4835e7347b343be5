/* SPDX-License-Identifier: Apache-2.0 */
/* pq.c -- codebooks of product quantization: k-means in every sub-space (Jegou, Douze and Schmid
 * 2011, sec. 3.1).  A sub-space is one task of one thread: its columns are gathered once, then the
 * rounds run in cache.  So nothing depends on the number of threads. */
#include "src/train/pq.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/train/draw.h"

/* A round that lowers the loss by less than this share is the last. */
#define LEAST_GAIN 1e-5
#define KK_MAX     256u
#define SAMPLE     2048u        /* rows that a start is drawn from */
#define BATCH_MAX  (KK_MAX / 4) /* codewords drawn at a time */

typedef struct scratch { /* of one thread */
    float *sub;          /* n x dsub: the sub-space's columns */
    float *dist;         /* n: squared distance to the own codeword */
    uint8_t *codes;      /* n */
    double *sums;        /* kk x dsub */
} scratch;

typedef struct job {
    const vq_kernels *kn;
    const float *x;
    size_t n, m, dsub, kk;
    unsigned iters;
    int warm;
    uint64_t seed;
    size_t first; /* sub-space of task 0 */
    float *cb, *norm;
    double *loss;     /* m: owned */
    scratch *workers; /* owned */
} job;

static void norms(const float *cb, size_t dsub, size_t kk, float *norm)
{
    for (size_t c = 0; c < kk; c++) {
        double sq = 0.0;
        for (size_t t = 0; t < dsub; t++) sq += (double)cb[t * kk + c] * (double)cb[t * kk + c];
        norm[c] = (float)sq;
    }
}

void vq_pq_norms(const float *cb, size_t m, size_t dsub, size_t kk, float *norm)
{
    for (size_t j = 0; j < m; j++) norms(cb + j * dsub * kk, dsub, kk, norm + j * kk);
}

void vq_pq_encode(const vq_kernels *k, const float *x, size_t n, size_t m, size_t dsub, size_t kk,
                  const float *cb, const float *norm, uint8_t *codes)
{
    k->pq_nearest(x, n, m * dsub, cb, norm, m, dsub, kk, codes);
}

static void set_codeword(const job *b, float *cb, size_t c, const float *row)
{
    for (size_t t = 0; t < b->dsub; t++) cb[t * b->kk + c] = row[t];
}

/* Lowers dist (of the sample's rows) by the codewords at..at+got-1. */
static void approach(const job *b, const scratch *s, const uint32_t *sample, size_t n,
                     const float *cb, size_t at, size_t got)
{
    float dist[BATCH_MAX];
    for (size_t i = 0; i < n; i++) {
        const float *row = s->sub + sample[i] * b->dsub;
        for (size_t c = 0; c < got; c++) dist[c] = 0.0f;
        for (size_t t = 0; t < b->dsub; t++)
            for (size_t c = 0; c < got; c++) {
                float e = row[t] - cb[t * b->kk + at + c];
                dist[c] += e * e;
            }
        for (size_t c = 0; c < got; c++) s->dist[i] = VQ_MIN(s->dist[i], dist[c]);
    }
}

/* k-means++ (Arthur and Vassilvitskii 2007) on a sample, drawn in batches of a quarter of those
 * there are, as in kmeans.c.  Against rows at random it takes a fifth off the error of two
 * dimensions and 256 codewords, and a few rounds off the way of 16.  Where no row is left that has
 * no codeword of its own, codewords repeat. */
static void start(const job *b, const scratch *s, vq_rng *rng, float *cb)
{
    uint32_t sample[SAMPLE], drawn[BATCH_MAX];
    size_t n = VQ_MIN(b->n, SAMPLE), got = 1;
    vq_draw_rows(rng, b->n, n, sample);
    for (size_t i = 0; i < n; i++) s->dist[i] = INFINITY;
    drawn[0] = (uint32_t)vq_rng_below(rng, n);
    for (size_t at = 0; at < b->kk; at += got) {
        size_t want = VQ_MIN(b->kk - at, VQ_MAX(at / 4, 1u));
        if (at > 0) got = vq_draw_weighted(rng, s->dist, n, want, drawn);
        if (got == 0) {
            drawn[0] = (uint32_t)vq_rng_below(rng, n);
            got = 1;
        }
        for (size_t c = 0; c < got; c++)
            set_codeword(b, cb, at + c, s->sub + sample[drawn[c]] * b->dsub);
        approach(b, s, sample, n, cb, at, got);
    }
}

/* Codewords without a row get one, drawn by squared distance to its own codeword.  Returns how many
 * did; none if all rows are met exactly. */
static size_t fill_empty(const job *b, const scratch *s, const size_t *count, vq_rng *rng,
                         float *cb)
{
    uint32_t rows[KK_MAX];
    size_t empty = 0, filled = 0;
    for (size_t c = 0; c < b->kk; c++) empty += count[c] == 0;
    if (empty == 0) return 0;
    for (size_t i = 0; i < b->n; i++) {
        float dist = 0.0f;
        for (size_t t = 0; t < b->dsub; t++) {
            float e = s->sub[i * b->dsub + t] - cb[t * b->kk + s->codes[i]];
            dist += e * e;
        }
        s->dist[i] = dist;
    }
    size_t got = vq_draw_weighted(rng, s->dist, b->n, empty, rows);
    for (size_t c = 0; c < b->kk && filled < got; c++)
        if (count[c] == 0) set_codeword(b, cb, c, s->sub + rows[filled++] * b->dsub);
    return filled;
}

/* Codes of all rows, then the means: returns the sum of squared distances to the means, which is
 * the sum of squares (sq) less what the means hold of it. */
static double one_round(const job *b, const scratch *s, double sq, float *cb, float *norm,
                        size_t *count)
{
    size_t dsub = b->dsub, kk = b->kk;
    memset(count, 0, kk * sizeof *count);
    memset(s->sums, 0, kk * dsub * sizeof *s->sums);
    b->kn->pq_nearest(s->sub, b->n, dsub, cb, norm, 1, dsub, kk, s->codes);
    for (size_t i = 0; i < b->n; i++) {
        const float *row = s->sub + i * dsub;
        double *sum = s->sums + s->codes[i] * dsub;
        for (size_t t = 0; t < dsub; t++) sum[t] += (double)row[t];
        count[s->codes[i]]++;
    }
    double held = 0.0;
    for (size_t c = 0; c < kk; c++) {
        if (count[c] == 0) continue;
        double inv = 1.0 / (double)count[c];
        for (size_t t = 0; t < dsub; t++) {
            double sum = s->sums[c * dsub + t];
            held += sum * sum * inv;
            cb[t * kk + c] = (float)(sum * inv);
        }
    }
    return VQ_MAX(sq - held, 0.0);
}

static vq_status subspace_task(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    const job *b = ctx;
    const scratch *s = &b->workers[worker];
    size_t j = b->first + task, dsub = b->dsub, d = b->m * dsub, count[KK_MAX];
    float *cb = b->cb + j * dsub * b->kk, *norm = b->norm + j * b->kk;
    double sq = 0.0, before = INFINITY;
    vq_rng rng;
    vq_rng_init(&rng, b->seed, j);
    for (size_t i = 0; i < b->n; i++)
        memcpy(s->sub + i * dsub, b->x + i * d + j * dsub, dsub * sizeof *s->sub);
    for (size_t i = 0; i < b->n * dsub; i++) sq += (double)s->sub[i] * (double)s->sub[i];
    if (!b->warm) start(b, s, &rng, cb);
    for (unsigned round = 0; round < b->iters; round++) {
        norms(cb, dsub, b->kk, norm);
        double loss = one_round(b, s, sq, cb, norm, count);
        b->loss[j] = loss;
        size_t filled = fill_empty(b, s, count, &rng, cb);
        if (filled == 0 && !(before - loss > LEAST_GAIN * loss)) break;
        before = loss;
    }
    norms(cb, dsub, b->kk, norm);
    return VQ_OK;
}

static vq_status job_init(job *b, int threads, vq_error *err)
{
    vq_status rc = VQ_OK;
    b->loss = vq_mem_calloc(b->m, sizeof *b->loss);
    b->workers = vq_mem_calloc((size_t)threads, sizeof *b->workers);
    VQ_REQUIRE(b->loss != NULL && b->workers != NULL, VQ_ENOMEM, "pq: out of memory");
    for (int w = 0; w < threads; w++) {
        scratch *s = &b->workers[w];
        s->sub = vq_alloc_f32(b->n, b->dsub);
        s->dist = vq_alloc_f32(b->n, 1);
        s->codes = vq_mem_alloc(b->n, 1);
        s->sums = vq_mem_alloc(b->kk * b->dsub, sizeof *s->sums);
        VQ_REQUIRE(s->sub != NULL && s->dist != NULL && s->codes != NULL && s->sums != NULL,
                   VQ_ENOMEM, "pq: out of memory for %zu rows of %zu dimensions", b->n, b->dsub);
    }
out:
    return rc;
}

static void job_fini(job *b, int threads)
{
    for (int w = 0; b->workers != NULL && w < threads; w++) {
        vq_mem_free(b->workers[w].sub);
        vq_mem_free(b->workers[w].dist);
        vq_mem_free(b->workers[w].codes);
        vq_mem_free(b->workers[w].sums);
    }
    vq_mem_free(b->workers);
    vq_mem_free(b->loss);
}

vq_status vq_pq_train(const float *x, size_t n, size_t m, size_t dsub, size_t kk, unsigned iters,
                      int warm, uint64_t seed, int threads, vq_ticker *ticker, float *cb,
                      float *norm, double *mse, vq_error *err)
{
    vq_status rc = VQ_OK;
    job b = {.kn = vq_kernels_get(),
             .x = x,
             .n = n,
             .m = m,
             .dsub = dsub,
             .kk = kk,
             .iters = VQ_MAX(iters, 1u),
             .warm = warm,
             .seed = seed,
             .cb = cb,
             .norm = norm};
    int team = (int)VQ_MIN((size_t)VQ_MAX(threads, 1), m); /* the rest would find no sub-space */
    VQ_REQUIRE(n >= 1 && n <= UINT32_MAX && m >= 1 && dsub >= 1 && (kk == 16 || kk == 256),
               VQ_EINVAL, "pq: %zu rows, %zu sub-spaces of %zu dimensions, %zu codewords", n, m,
               dsub, kk);
    VQ_TRY(job_init(&b, team, err));
    /* In groups, so that the ticker is asked now and then. */
    for (size_t group = 4 * (size_t)team; b.first < m; b.first += group) {
        VQ_TRY(vq_tick(ticker, "codebooks", b.first, m, err));
        VQ_TRY(vq_team_run(team, VQ_MIN(group, m - b.first), subspace_task, &b, err));
    }
    VQ_TRY(vq_tick(ticker, "codebooks", m, m, err));
    if (mse != NULL) {
        *mse = 0.0;
        for (size_t j = 0; j < m; j++) *mse += b.loss[j] / (double)n;
    }
out:
    job_fini(&b, team);
    return rc;
}
