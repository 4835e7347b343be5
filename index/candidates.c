/* SPDX-License-Identifier: Apache-2.0 */
/* candidates.c -- see candidates.h. */
#include "index/candidates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"

enum { LENT_OF = 200, RNG_STREAM = 77 };

vq_status vq_candidates_init(vq_candidates *c, size_t nq, size_t d, size_t k, bool l2,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t most = k + VQ_LIVE;
    *c = (vq_candidates){.nq = nq, .d = d, .l2 = l2};
    c->first = vq_mem_alloc(nq + 1, sizeof *c->first);
    c->docs = vq_mem_alloc(nq * most, sizeof *c->docs);
    c->teacher = vq_alloc_f32(nq, most);
    c->shared = vq_mem_alloc(nq, sizeof *c->shared);
    c->shared_rows = vq_alloc_f32(nq, d);
    c->offsets = vq_alloc_f32(1, nq);
    c->most = vq_alloc_f32(1, nq);
    c->sorted = vq_mem_alloc(k, sizeof *c->sorted);
    VQ_REQUIRE(c->first != NULL && c->docs != NULL && c->teacher != NULL && c->shared != NULL &&
                   c->shared_rows != NULL && c->offsets != NULL && c->most != NULL &&
                   c->sorted != NULL,
               VQ_ENOMEM, "candidates of %zu queries", nq);
out:
    return rc;
}

void vq_candidates_fini(vq_candidates *c)
{
    vq_mem_free(c->first);
    vq_mem_free(c->docs);
    vq_mem_free(c->teacher);
    vq_mem_free(c->shared);
    vq_mem_free(c->shared_rows);
    vq_mem_free(c->offsets);
    vq_mem_free(c->most);
    vq_mem_free(c->sorted);
}

/* The full-precision score on the student's scale: the product, for l2 less half of the row's
 * squared length. */
static float score(const vq_candidates *c, const float *query, const vq_corpus *corpus,
                   uint32_t row)
{
    const vq_kernels *k = vq_kernels_get();
    const float *x = corpus->coded + row * c->d;
    float product = k->dot_f32(query, x, c->d);
    return c->l2 ? product - 0.5f * (float)k->sq_row_f32(x, c->d) : product;
}

static size_t answers(const vq_teacher *t, size_t i)
{
    size_t n = 0;
    while (n < t->k && t->rows[i * t->k + n] != UINT32_MAX) n++;
    return n;
}

/* The first of the answers whose score is the teacher's own: after the labels, unless they are all.
 */
static size_t first_own(const vq_teacher *t, size_t i, size_t n)
{
    size_t labelled = t->labelled != NULL ? t->labelled[i] : 0;
    return labelled < n ? labelled : 0;
}

/* A given teacher's unit is its own, and the losses compare its scores with the student's, which
 * are products: the same spread within a query, in the mean over all, makes them comparable. */
static double scale_of(const vq_candidates *c, const float *queries, const vq_corpus *corpus,
                       const vq_teacher *t)
{
    double spread_t = 0.0, spread_s = 0.0;
    for (size_t i = 0; i < c->nq; i++) {
        const uint32_t *rows = t->rows + i * t->k;
        const float *scores = t->scores + i * t->k;
        size_t n = answers(t, i);
        double mean_t = 0.0, mean_s = 0.0, seen = 0.0; /* updated as they come: Welford 1962 */
        for (size_t j = first_own(t, i, n); j < n; j++) {
            double s = (double)score(c, queries + i * c->d, corpus, rows[j]);
            double dt = (double)scores[j] - mean_t, ds = s - mean_s;
            seen += 1.0;
            mean_t += dt / seen, mean_s += ds / seen;
            spread_t += dt * ((double)scores[j] - mean_t), spread_s += ds * (s - mean_s);
        }
    }
    double scale = sqrt(spread_s / spread_t);
    return isfinite(scale) && scale > 0.0 ? scale : 1.0;
}

/* Candidates of query i at docs + at: the teacher's best, then the live ones that are not among
 * them. */
static size_t add(vq_candidates *c, size_t i, const float *query, const vq_corpus *corpus,
                  const vq_teacher *t, const uint32_t *live, size_t at)
{
    size_t n = answers(t, i), own = first_own(t, i, n), start = at;
    double offset = 0.0;
    for (size_t j = 0; j < n; j++, at++) {
        uint32_t row = t->rows[i * t->k + j];
        c->docs[at] = c->sorted[j] = row;
        c->teacher[at] = (float)(c->scale * (double)t->scores[i * t->k + j]);
        if (j >= own) offset += (double)c->teacher[at] - (double)score(c, query, corpus, row);
    }
    c->offsets[i] = n > 0 ? (float)(offset / (double)(n - own)) : 0.0f;
    c->most[i] = t->lowest != NULL ? (float)(c->scale * (double)t->lowest[i]) : INFINITY;
    qsort(c->sorted, n, sizeof *c->sorted, vq_rows_order);
    for (size_t j = 0; j < VQ_LIVE && live[j] != UINT32_MAX; j++) {
        if (bsearch(&live[j], c->sorted, n, sizeof *c->sorted, vq_rows_order) != NULL) continue;
        c->docs[at] = live[j];
        c->teacher[at++] =
            t->lowest != NULL ? c->most[i] : score(c, query, corpus, live[j]) + c->offsets[i];
    }
    return at - start;
}

void vq_candidates_set(vq_candidates *c, const float *queries, const vq_corpus *corpus,
                       const vq_teacher *truth, const uint32_t *live, uint64_t seed)
{
    size_t d = c->d, at = 0;
    vq_rng rng;
    vq_rng_init(&rng, seed, RNG_STREAM);
    c->scale = truth->lowest != NULL ? scale_of(c, queries, corpus, truth) : 1.0;
    for (size_t i = 0; i < c->nq; i++) {
        c->first[i] = at;
        at += add(c, i, queries + i * d, corpus, truth, live + i * VQ_LIVE, at);
        /* Of its exact best, since what is near one query is a fair negative of another. */
        uint64_t pick =
            at > c->first[i] ? vq_rng_below(&rng, VQ_MIN(at - c->first[i], (size_t)LENT_OF)) : 0;
        c->shared[i] = c->docs[c->first[i] + pick];
        memcpy(c->shared_rows + i * d, corpus->coded + c->shared[i] * d, d * sizeof(float));
    }
    c->first[c->nq] = at;
}
