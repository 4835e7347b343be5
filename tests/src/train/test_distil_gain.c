/* SPDX-License-Identifier: Apache-2.0 */
/* Distillation on a toy corpus: does it find more of the exact top ten for queries it has not seen?
 */
#include "src/train/distil.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/train/pq.h"
#include "tests/harness/harness.h"

enum {
    DIM = 24,
    DOCS = 4000,
    SEEN = 1200,
    UNSEEN = 300,
    OWN = 60,
    M = 4,
    KK = 256,
    TOY_LISTS = 16
};

typedef struct toy {
    float *docs, *queries, *books, *centroids, *map, *resid, *rows, *teacher;
    uint32_t *lists, *own, *shared;
    uint8_t *codes;
    size_t *first;
    double overlap[64], loss[64];
    unsigned epochs;
} toy;

static double dot(const float *a, const float *b, size_t d)
{
    double sum = 0.0;
    for (size_t j = 0; j < d; j++) sum += (double)a[j] * (double)b[j];
    return sum;
}

/* The best k of DOCS scores, the best first. */
static void best(const double *score, size_t k, uint32_t *rows)
{
    size_t got = 0;
    for (uint32_t i = 0; i < DOCS; i++) {
        if (got == k && score[i] <= score[rows[k - 1]]) continue;
        size_t at = got < k ? got++ : k - 1;
        for (; at > 0 && score[i] > score[rows[at - 1]]; at--) rows[at] = rows[at - 1];
        rows[at] = i;
    }
}

static void exact(const toy *y, size_t q, size_t k, uint32_t *rows)
{
    double score[DOCS];
    for (size_t i = 0; i < DOCS; i++) score[i] = dot(y->queries + q * DIM, y->docs + i * DIM, DIM);
    best(score, k, rows);
}

/* Share of the exact top ten of unseen queries in the student's. */
static double overlap(const toy *y, const vq_student *s)
{
    size_t met = 0, dsub = DIM / M;
    for (size_t q = SEEN; q < SEEN + UNSEEN; q++) {
        double score[DOCS];
        float query[DIM], x[DIM];
        uint32_t want[10], got[10];
        for (size_t i = 0; i < DIM; i++)
            query[i] = (float)dot(s->map + i * DIM, y->queries + q * DIM, DIM);
        for (size_t i = 0; i < DOCS; i++) {
            for (size_t t = 0; t < DIM; t++)
                x[t] = s->centroids[y->lists[i] * DIM + t] +
                       s->books[t * KK + y->codes[i * M + t / dsub]];
            score[i] = dot(query, x, DIM);
        }
        exact(y, q, 10, want);
        best(score, 10, got);
        for (size_t i = 0; i < 10; i++)
            for (size_t j = 0; j < 10; j++) met += want[i] == got[j];
    }
    return (double)met / (10.0 * UNSEEN);
}

static vq_status judge(void *ctx, unsigned epoch, double loss, const vq_student *s, bool *stop,
                       vq_error *err)
{
    (void)stop, (void)err;
    toy *y = ctx;
    y->overlap[epoch] = overlap(y, s);
    y->loss[epoch] = loss;
    y->epochs = epoch + 1;
    return VQ_OK;
}

/* Documents: Gaussians around centres; queries: near documents, but spread along other axes and off
 * the mean. */
static void toy_vectors(toy *y, vq_rng *r)
{
    float centre[40 * DIM], along[DIM], off[DIM], *mix = vq_alloc_f32(DIM, DIM);
    fill_normal(r, centre, 40 * DIM), fill_normal(r, mix, DIM * DIM), fill_normal(r, off, DIM);
    for (size_t i = 0; i < DOCS; i++) {
        const float *c = centre + vq_rng_below(r, 40) * DIM;
        for (size_t j = 0; j < DIM; j++)
            y->docs[i * DIM + j] =
                (c[j] + 0.7f * (float)vq_rng_normal(r)) / (1.0f + 0.1f * (float)j);
    }
    for (size_t q = 0; q < SEEN + UNSEEN; q++) {
        const float *x = y->docs + vq_rng_below(r, DOCS) * DIM;
        fill_normal(r, along, DIM);
        for (size_t j = 0; j < DIM; j++) {
            double noise = dot(mix + j * DIM, along, 4); /* along four axes */
            y->queries[q * DIM + j] = x[j] + 1.0f * (float)noise + 0.3f * off[j];
        }
    }
    vq_mem_free(mix);
}

/* Lists by nearest of some documents, residuals, product codes. */
static void toy_codes(toy *y)
{
    float norm[M * KK], nearest[DIM];
    for (size_t c = 0; c < TOY_LISTS; c++)
        memcpy(y->centroids + c * DIM, y->docs + c * DIM, sizeof nearest);
    for (size_t i = 0; i < DOCS; i++) {
        double least = INFINITY;
        for (uint32_t c = 0; c < TOY_LISTS; c++) {
            const float *centroid = y->centroids + c * DIM;
            for (size_t j = 0; j < DIM; j++) nearest[j] = y->docs[i * DIM + j] - centroid[j];
            double far = dot(nearest, nearest, DIM);
            if (far >= least) continue;
            least = far;
            y->lists[i] = c;
            memcpy(y->resid + i * DIM, nearest, sizeof nearest);
        }
    }
    cr_assert_eq(
        vq_pq_train(y->resid, DOCS, M, DIM / M, KK, 20, 0, 3, 1, NULL, y->books, norm, NULL, NULL),
        VQ_OK);
    vq_kernels_get()->pq_nearest(y->resid, DOCS, DIM, y->books, norm, M, DIM / M, KK, y->codes);
}

static void toy_lessons(toy *y, vq_rng *r)
{
    for (size_t q = 0; q < SEEN; q++) {
        y->first[q] = q * OWN;
        exact(y, q, OWN, y->own + q * OWN);
        for (size_t c = q * OWN; c < (q + 1) * OWN; c++)
            y->teacher[c] = (float)dot(y->queries + q * DIM, y->docs + y->own[c] * DIM, DIM);
        y->shared[q] = y->own[q * OWN + vq_rng_below(r, OWN)];
        memcpy(y->rows + q * DIM, y->docs + y->shared[q] * DIM, DIM * sizeof *y->rows);
    }
    y->first[SEEN] = SEEN * OWN;
    for (size_t i = 0; i < DIM * DIM; i++) y->map[i] = i % (DIM + 1) == 0 ? 1.0f : 0.0f;
}

static toy toy_new(uint64_t stream)
{
    vq_rng r;
    toy y = {0};
    vq_rng_init(&r, test_seed(), stream);
    y.docs = vq_alloc_f32(DOCS, DIM), y.queries = vq_alloc_f32(SEEN + UNSEEN, DIM);
    y.books = vq_alloc_f32(DIM, KK), y.centroids = vq_alloc_f32(TOY_LISTS, DIM);
    y.map = vq_alloc_f32(DIM, DIM), y.resid = vq_alloc_f32(DOCS, DIM);
    y.rows = vq_alloc_f32(SEEN, DIM), y.teacher = vq_alloc_f32(SEEN, OWN);
    y.lists = vq_mem_alloc(DOCS, sizeof *y.lists);
    y.own = vq_mem_alloc(SEEN * OWN, sizeof *y.own);
    y.shared = vq_mem_alloc(SEEN, sizeof *y.shared), y.codes = vq_mem_alloc(DOCS, M);
    y.first = vq_mem_alloc(SEEN + 1, sizeof *y.first);
    toy_vectors(&y, &r), toy_codes(&y), toy_lessons(&y, &r);
    return y;
}

static void toy_free(toy *y)
{
    vq_mem_free(y->docs), vq_mem_free(y->queries), vq_mem_free(y->books);
    vq_mem_free(y->centroids), vq_mem_free(y->map), vq_mem_free(y->resid);
    vq_mem_free(y->rows), vq_mem_free(y->teacher), vq_mem_free(y->lists), vq_mem_free(y->own);
    vq_mem_free(y->shared), vq_mem_free(y->codes), vq_mem_free(y->first);
}

static void learn_toy(uint64_t stream, const char *loss, bool all, double gain)
{
    toy y = toy_new(stream);
    vq_student s = {.d = DIM, .m = M, .kk = KK, .nlist = TOY_LISTS, .books = y.books};
    s.centroids = y.centroids;
    s.map = y.map;
    vq_lessons l = {.nq = SEEN,
                    .n = DOCS,
                    .queries = y.queries,
                    .first = y.first,
                    .docs = y.own,
                    .teacher = y.teacher,
                    .lists = y.lists,
                    .codes = y.codes,
                    .shared = y.shared,
                    .shared_rows = y.rows};
    vq_distil_opts o = {.loss = vq_loss_by_name(loss), .step = 0.005, .epochs = 15, .batch = 64};
    o.temperature = vq_temperature(y.teacher, y.first, SEEN, 10.0);
    o.learn_lists = o.learn_map = all;
    o.threads = 2;
    o.after_epoch = judge;
    o.ctx = &y;
    double before = overlap(&y, &s);
    cr_assert_eq(vq_distil(&s, &l, &o, NULL), VQ_OK);
    double after = y.overlap[y.epochs - 1];
    cr_log_info("%s: overlap %.3f -> %.3f, loss %.4f -> %.4f\n", loss, before, after, y.loss[0],
                y.loss[y.epochs - 1]);
    cr_assert_gt(after, before + gain, "%s: %g from %g", loss, after, before);
    cr_assert_lt(y.loss[y.epochs - 1], 0.95 * y.loss[0], "%s", loss);
    toy_free(&y);
}

Test(distil, unseen_queries_gain)
{
    learn_toy(20, "listnet", false, 0.07);
    learn_toy(20, "listnet", true, 0.07);
}

Test(distil, unseen_queries_gain_by_other_losses)
{
    learn_toy(21, "kl", true, 0.07);
    learn_toy(21, "margin-mse", true, 0.05);
    learn_toy(21, "lambda", true, 0.07);
    learn_toy(21, "ranknet", true, 0.07);
}
