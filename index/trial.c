/* SPDX-License-Identifier: Apache-2.0 */
/* trial.c -- see trial.h.  Some vectors ask, some thousand others answer.  Among one in s of all
 * vectors the best 10 / s stand for the best ten, and a candidate's rank for s times as many.
 * What a search would take is counted by what it reads and computes. */
#include "index/trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/encode.h"
#include "index/fit.h"
#include "src/eval/exact.h"
#include "src/train/draw.h"

enum {
    ASKING = 512,
    ROWS = 4096, /* fewer teach too little */
    DEEP = 400,  /* candidates looked at; who comes later counts as the next */
    TEN = 10,

};
#define AS_GOOD 0.01 /* of recall by codes alone; */
#define FULL    0.99 /* ..and what is as good as all */
#define WORTH   0.85 /* of the cost of pq8 */

static const double levels[] = {.95, .99}; /* of recall, that a search is to reach */
enum { LEVELS = VQ_COUNT(levels) };

typedef struct trial {
    const vq_plan *plan;
    const vq_build_opts *opts;
    uint32_t elem;
    size_t n, nq;
    uint32_t k;              /* best ones that stand for the best ten of all */
    uint8_t *rows, *queries; /* n x d, nq x d: as they come */
    vq_source *src;          /* the rows */
    uint64_t *truth;         /* nq x TEN */
    bool alone;              /* no rows are stored: codes rank */
    double share[LEVELS];    /* of the vectors, in the lists that hold so many of the true ones */
} trial;

typedef struct outcome {
    const vq_codec *codec;
    double recall; /* of ten, by codes alone, all lists */
    double us;     /* what a search takes, in the (geometric) mean of the levels, microseconds */
} outcome;

/* ---- who asks, who answers, what is right ---- */

static vq_status take_rows(trial *t, const uint8_t *rows, size_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &t->plan->model;
    size_t row = m->d * vq_elem_size(t->elem), all = ROWS + ASKING, q = 0;
    t->nq = ASKING;
    t->n = ROWS;
    t->k = (uint32_t)VQ_MIN(VQ_MAX(llround((double)TEN * (double)t->n / (double)m->n), 1), TEN);
    t->rows = vq_mem_alloc(t->n, row);
    t->queries = vq_mem_alloc(t->nq, row);
    t->truth = vq_mem_alloc(t->nq * TEN, sizeof *t->truth);
    VQ_REQUIRE(t->rows != NULL && t->queries != NULL && t->truth != NULL, VQ_ENOMEM,
               "trial: %zu rows of %zu bytes", all, row);
    for (size_t i = 0; i < all; i++) {
        const uint8_t *from = rows + vq_spaced_row(n, all, i) * row;
        bool asks = q < t->nq && vq_spaced_row(all, t->nq, q) == i;
        memcpy(asks ? t->queries + q++ * row : t->rows + (i - q) * row, from, row);
    }
    VQ_TRY(vq_source_open_array(&t->src, t->rows, t->n, m->d, t->elem, err));
out:
    return rc;
}

static vq_status find_truth(trial *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &t->plan->model;
    vq_exact_opts o = {.metric = m->metric, .k = TEN, .threads = (uint32_t)t->plan->threads};
    float *wide = vq_alloc_f32(t->nq, m->d);
    VQ_REQUIRE(wide != NULL, VQ_ENOMEM, "trial: %zu queries", t->nq);
    vq_to_f32(vq_kernels_get(), t->elem, t->queries, t->nq * m->d, wide);
    VQ_TRY(vq_exact(t->src, wide, t->nq, &o, t->truth, NULL, err));
out:
    vq_mem_free(wide);
    return rc;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The least that so many of n values are no larger than; they are sorted. */
static double quantile(const double *sorted, size_t n, double level)
{
    return sorted[VQ_MIN((size_t)ceil(level * (double)n), n) - 1];
}

/* The vectors of the lists that a query reads until it has read that of its true ones: of this
 * many lists, the same for all codecs. */
static vq_status find_shares(trial *t, const vq_model *m, const vq_corpus *c, const float *coded,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_kernels *k = vq_kernels_get();
    size_t count = t->nq * t->k;
    double *shares = vq_mem_calloc(count, sizeof *shares);
    float *scores = vq_alloc_f32(1, m->nlist);
    uint32_t *sizes = vq_mem_calloc(m->nlist, sizeof *sizes);
    VQ_REQUIRE(shares != NULL && scores != NULL && sizes != NULL, VQ_ENOMEM, "trial: %u lists",
               m->nlist);
    for (size_t i = 0; i < c->n; i++) sizes[c->lists[i]]++;
    for (size_t i = 0; i < count; i++) {
        size_t q = i / t->k;
        if (i % t->k == 0) {
            k->matvec_f32(m->centroids, m->nlist, m->d_code, m->d_code, coded + q * m->d_code,
                          scores);
            for (uint32_t l = 0; l < m->nlist; l++) scores[l] -= m->biases[l];
        }
        float least = scores[c->lists[t->truth[q * TEN + i % t->k]]];
        size_t read = 0;
        for (uint32_t l = 0; l < m->nlist; l++) read += scores[l] >= least ? sizes[l] : 0;
        shares[i] = (double)read / (double)c->n;
    }
    qsort(shares, count, sizeof *shares, compare);
    for (size_t i = 0; i < LEVELS; i++) t->share[i] = quantile(shares, count, levels[i]);
out:
    vq_mem_free(shares);
    vq_mem_free(scores);
    vq_mem_free(sizes);
    return rc;
}

/* ---- what a search takes ---- */

/* Nanoseconds, of an AMD EPYC of family 26 with AVX-512. */
#define NS_QUERY  4000.0 /* of each */
#define NS_TURN   0.0093 /* a number of a matrix of bytes: the query's turn, centroids */
#define NS_TABLE  0.0090 /* a number of the codewords */
#define NS_ENTRY  0.3    /* of a table */
#define NS_VECTOR 0.3    /* that is scanned, */
#define NS_BYTE   0.03   /* ..and a byte of its code, some of them from far away */
#define NS_LOOK   3.0    /* that is scanned by error bars: some are read whole */
#define NS_ROW    90.0   /* that is fetched, */
#define NS_NUMBER 0.019  /* ..and a number of it */
enum {
    FLOAT = 4,      /* numbers of a byte take as long */
    BARS_TURNS = 2, /* bytes of a number in the matrix of codes with error bars, */
    BARS_BYTES = 64 /* ..and of a code that are scanned */
};

typedef struct shape { /* of codes: coded dimensions, tables */
    const vq_codec *codec;
    double d_code, m, code_bytes;
} shape;

/* A search that reads so many codes and rows.  Where codes rank alone, those without bars go by
 * floats. */
static double cost_us(const trial *t, const shape *s, double vectors, double rows)
{
    const vq_model *m = &t->plan->model;
    bool bars = s->codec->bar != NULL;
    double words = s->codec->codewords, width = t->alone && !bars ? FLOAT : 1.0;
    double turn = (bars ? BARS_TURNS : 1.0) * m->d * s->d_code;
    double lists = 2.0 * sqrt((double)m->n) * s->d_code;
    double tables = width * words * s->d_code * NS_TABLE + words * s->m * NS_ENTRY;
    double each = bars ? NS_LOOK + NS_BYTE * BARS_BYTES : NS_VECTOR + NS_BYTE * s->code_bytes;
    return 1e-3 * (NS_QUERY + width * (turn + lists) * NS_TURN + tables + vectors * each +
                   rows * (NS_ROW + NS_NUMBER * m->d));
}

/* The mean of the levels.  rows: of each; NULL: no more than must be. */
static double mean_cost(const trial *t, const shape *s, const double *rows)
{
    double product = 1.0, least = t->alone ? 0.0 : (double)TEN;
    for (size_t i = 0; i < LEVELS; i++)
        product *= cost_us(t, s, t->share[i] * (double)t->plan->model.n,
                           rows != NULL ? VQ_MAX(rows[i], least) : least);
    return pow(product, 1.0 / LEVELS);
}

/* found: nq x DEEP. */
static vq_status judge(const trial *t, const vq_model *m, const uint32_t *found, outcome *o,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t count = t->nq * t->k, right = 0;
    double *ranks = vq_mem_alloc(count, sizeof *ranks), rows[LEVELS];
    double times = (double)t->plan->model.n / (double)t->n;
    shape s = {m->codec, m->d_code, m->m, m->code.code_bytes};
    VQ_REQUIRE(ranks != NULL, VQ_ENOMEM, "trial: %zu ranks", count);
    for (size_t i = 0; i < t->nq * TEN; i++) {
        const uint32_t *of = found + i / TEN * DEEP;
        size_t rank = 0;
        while (rank < DEEP && of[rank] != t->truth[i]) rank++;
        right += rank < TEN;
        if (i % TEN < t->k) ranks[i / TEN * t->k + i % TEN] = (double)rank + 1.0;
    }
    qsort(ranks, count, sizeof *ranks, compare);
    for (size_t i = 0; i < LEVELS; i++)
        rows[i] = t->alone ? 0.0 : quantile(ranks, count, levels[i]) * times;
    o->recall = (double)right / (double)(t->nq * TEN);
    o->us = mean_cost(t, &s, rows);
out:
    vq_mem_free(ranks);
    return rc;
}

/* ---- one codec ---- */

static vq_status plan_one(const trial *t, const vq_codec *codec, vq_plan *p, vq_error *err)
{
    const vq_model *m = &t->plan->model;
    vq_build_opts o = *t->opts;
    o.codec = codec->name;
    o.bits = 0.0f;
    o.code_bytes = vq_plan_bytes(t->plan);
    o.nlist = (uint32_t)llround(2.0 * sqrt((double)t->n));
    o.store = VQ_ELEM_NONE;
    o.copies = VQ_COPIES_NO;
    o.train = VQ_TRAIN_KMEANS;
    if (o.rotation == VQ_ROTATION_AUTO) o.rotation = VQ_ROTATION_PCA; /* opq takes too long */
    return vq_plan_make(p, &o, t->n, m->d, t->elem, err);
}

static vq_status encode(const trial *t, const vq_model *m, vq_corpus *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_ticker quiet = {0};
    vq_encode_job job = {.src = t->src,
                         .model = m,
                         .threads = t->plan->threads,
                         .block = t->n,
                         .rows = vq_mem_alloc(t->n, m->d * vq_elem_size(t->elem)),
                         .ticker = &quiet,
                         .phase = "codec",
                         .corpus = c};
    VQ_REQUIRE(job.rows != NULL, VQ_ENOMEM, "trial: %zu rows", t->n);
    VQ_TRY(vq_corpus_init(c, m, t->n, err));
    VQ_TRY(vq_source_rewind(t->src, err));
    VQ_TRY(vq_encode_all(&job, err));
out:
    vq_mem_free(job.rows);
    return rc;
}

/* d_code: of its model, or NULL. */
static vq_status try_codec(trial *t, outcome *o, uint32_t *d_code, bool first, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_plan p;
    vq_fitted fitted = {0};
    vq_corpus corpus = {0};
    vq_codeview view = {0};
    vq_queries none = {0};
    vq_ticker quiet = {0};
    uint32_t *found = vq_mem_alloc(t->nq * DEEP, sizeof *found);
    float *wide = vq_alloc_f32(t->nq, t->plan->model.d), *coded = NULL;
    VQ_TRY(plan_one(t, o->codec, &p, err));
    VQ_TRY(vq_fit(&p, t->rows, t->elem, t->n, &none, &quiet, &fitted, err));
    vq_model ask = p.model;
    if (vq_model_rounded(&ask)) ask.transform.matrix = ask.query_matrix;
    coded = vq_alloc_f32(t->nq, p.model.d_code);
    VQ_REQUIRE(found != NULL && wide != NULL && coded != NULL, VQ_ENOMEM, "trial: %zu queries",
               t->nq);
    vq_fit_encode_space(&ask, vq_kernels_get(), t->elem, t->queries, t->nq, wide, coded);
    VQ_TRY(encode(t, &p.model, &corpus, err));
    if (first) VQ_TRY(find_shares(t, &p.model, &corpus, coded, err));
    VQ_TRY(vq_codeview_init(&view, &p.model, &corpus, err));
    VQ_TRY(vq_codeview_search(&view, coded, t->nq, DEEP, t->plan->threads, found, err));
    VQ_TRY(judge(t, &p.model, found, o, err));
    if (d_code != NULL) *d_code = p.model.d_code;
out:
    vq_codeview_fini(&view);
    vq_corpus_fini(&corpus);
    vq_fitted_fini(&fitted);
    vq_mem_free(found);
    vq_mem_free(wide);
    vq_mem_free(coded);
    return rc;
}

/* ---- the choice ---- */

static bool possible(const trial *t, const vq_codec *c, uint32_t *m)
{
    vq_error no;
    return c->plan(t->plan->model.d, vq_plan_room(t->plan), m, &no) == VQ_OK;
}

/* Could this one, with codes as good as can be, be chosen where pq8, whose model has d_code
 * dimensions, has had its trial?  pq4 has small tables, but ranks worse in as many bytes. */
static bool worth_a_trial(const trial *t, const vq_codec *c, uint32_t d_code, const outcome *pq8)
{
    uint32_t m;
    if (!possible(t, c, &m)) return false;
    shape s = {c, d_code, m, c->code_bytes(t->plan->model.d, m)};
    return t->alone ? c->bar != NULL : mean_cost(t, &s, NULL) < WORTH * pq8->us;
}

/* Where rows decide, the cheapest; where codes rank alone, the cheapest of the best. */
static const outcome *choose(const trial *t, const outcome *all, size_t n)
{
    const outcome *best = NULL;
    double most = 0.0, enough = 0.0;
    for (size_t i = 0; i < n; i++) most = VQ_MAX(most, all[i].recall);
    if (t->alone) enough = VQ_MIN(most - AS_GOOD, FULL);
    for (size_t i = 0; i < n; i++) {
        if (all[i].recall < enough) continue;
        if (best == NULL || all[i].us < (best == all ? WORTH : 1.0) * best->us) best = &all[i];
    }
    return best;
}

/* Follows "codec NAME: ". */
static void explain(const trial *t, const outcome *all, size_t n, vq_trial_choice *out)
{
    const outcome *best = choose(t, all, n);
    size_t at = 0;
    out->codec = best->codec;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out->why + at, sizeof out->why - at, "%s%s %.*f%s",
                               i > 0 ? ", " : "", all[i].codec->name, t->alone ? 3 : 0,
                               t->alone ? all[i].recall : all[i].us,
                               i > 0      ? ""
                               : t->alone ? " of the best ten by codes alone"
                                          : " us a query");
    (void)snprintf(out->why + at, sizeof out->why - at, ", in a trial on %zu vectors", t->n);
}

vq_status vq_trial_run(const vq_plan *p, const vq_build_opts *opts, const void *rows, uint32_t elem,
                       size_t n, vq_trial_choice *out, vq_error *err)
{
    static const vq_codec *const others[] = {&vq_codec_pq4, &vq_codec_saq};
    vq_status rc = VQ_OK;
    outcome all[1 + VQ_COUNT(others)] = {{.codec = &vq_codec_pq8}};
    size_t count = 1;
    uint32_t m, d_code;
    trial t = {.plan = p, .opts = opts, .elem = elem, .alone = opts->store == VQ_ELEM_NONE};
    memset(out, 0, sizeof *out);
    if (n < ROWS + ASKING || !possible(&t, all[0].codec, &m)) goto out;
    VQ_TRY(take_rows(&t, rows, n, err));
    VQ_TRY(find_truth(&t, err));
    VQ_TRY(try_codec(&t, &all[0], &d_code, true, err));
    for (size_t i = 0; i < VQ_COUNT(others); i++) {
        if (!worth_a_trial(&t, others[i], d_code, &all[0])) continue;
        all[count].codec = others[i];
        VQ_TRY(try_codec(&t, &all[count++], NULL, false, err));
    }
    explain(&t, all, count, out);
out:
    vq_source_close(t.src);
    vq_mem_free(t.rows);
    vq_mem_free(t.queries);
    vq_mem_free(t.truth);
    return rc;
}
