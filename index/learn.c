/* SPDX-License-Identifier: Apache-2.0 */
/* learn.c -- see learn.h.  Xiao et al. 2022 (Distill-VQ); live negatives and the query map after
 * Zhan et al. 2021 (JPQ). */
#include "index/learn.h"

#include <string.h>

#include "index/candidates.h"
#include "src/eval/metrics.h"
#include "src/math/blas.h"
#include "src/train/distil.h"

enum {
    JUDGED = 10, /* overlap of the ten best */
    MOST_JUDGES = 2000,
    EPOCHS = 5,
    ROUNDS = 2,
    ENCODE_ROWS = 256
};
#define STEP       4e-3
#define PERPLEXITY 10.0

typedef struct state { /* what learns */
    float *params, *centroids, *map;
} state;

typedef struct learn {
    vq_plan *p;
    vq_fitted *fitted;
    vq_corpus *corpus;
    const vq_teacher *truth;
    const vq_learn_opts *opts;
    unsigned round; /* from 0 */
    vq_ticker *ticker;
    size_t nq, ntrain;  /* queries; those before ntrain teach, the others judge */
    float *queries;     /* nq x d_code, before the map */
    float *mapped;      /* nq x d_code: scratch, after the map */
    uint64_t *true_ids; /* judges x JUDGED */
    state now, best;    /* now points into fitted, but for its map */
    double best_overlap, start_overlap;
    size_t params;   /* floats */
    uint8_t *codes8; /* n x m, a code a byte */
    vq_codeview view;
    vq_candidates candidates; /* of the queries that teach */
} learn;

static size_t dims(const learn *l)
{
    return l->p->model.d_code;
}

static void apply_map(const learn *l, const float *map, size_t first, size_t n, float *out)
{
    size_t d = dims(l);
    vq_gemm_nt(n, d, d, 1.0f, l->queries + first * d, d, map, d, 0.0f, out, d);
}

/* Share of the true ten among the ten best by codes, over the judges, with the state `now`. */
static vq_status judge(learn *l, double *overlap, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = l->nq - l->ntrain;
    uint32_t *rows = vq_mem_alloc(n * JUDGED, sizeof *rows);
    uint64_t *ids = vq_mem_alloc(n * JUDGED, sizeof *ids);
    VQ_REQUIRE(rows != NULL && ids != NULL, VQ_ENOMEM, "judging: %zu queries", n);
    apply_map(l, l->now.map, l->ntrain, n, l->mapped);
    VQ_TRY(vq_codeview_search(&l->view, l->mapped, n, JUDGED, l->p->threads, rows, err));
    for (size_t i = 0; i < n * JUDGED; i++) ids[i] = rows[i] != UINT32_MAX ? rows[i] : VQ_NO_ID;
    *overlap = vq_recall(l->true_ids, JUDGED, JUDGED, ids, JUDGED, JUDGED, n);
out:
    vq_mem_free(rows);
    vq_mem_free(ids);
    return rc;
}

static void copy_state(const learn *l, state *to, const state *from)
{
    const vq_model *m = &l->p->model;
    size_t d = dims(l);
    memcpy(to->params, from->params, l->params * sizeof(float));
    memcpy(to->centroids, from->centroids, m->nlist * d * sizeof(float));
    memcpy(to->map, from->map, d * d * sizeof(float));
}

static vq_status view_again(learn *l, vq_error *err)
{
    vq_codeview_fini(&l->view);
    return vq_codeview_init(&l->view, &l->p->model, l->corpus, err);
}

/* What the codes as they are put among their best, beside what the teacher puts there. */
static vq_status mine(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t *live = vq_mem_alloc(l->ntrain * VQ_LIVE, sizeof *live);
    VQ_REQUIRE(live != NULL, VQ_ENOMEM, "candidates of %zu queries", l->ntrain);
    apply_map(l, l->now.map, 0, l->ntrain, l->mapped);
    VQ_TRY(vq_codeview_search(&l->view, l->mapped, l->ntrain, VQ_LIVE, l->p->threads, live, err));
    vq_candidates_set(&l->candidates, l->queries, l->corpus, l->truth, live, l->p->model.seed);
out:
    vq_mem_free(live);
    return rc;
}

/* ---- rounds ---- */

/* pq4 keeps two codes a byte; the lessons want one. */
static void spread_codes(learn *l)
{
    const vq_model *m = &l->p->model;
    size_t bytes = m->code.code_bytes;
    for (size_t i = 0; i < l->corpus->n; i++) {
        const uint8_t *code = l->corpus->codes + i * bytes;
        uint8_t *out = l->codes8 + i * m->m;
        for (size_t j = 0; j < m->m; j++)
            out[j] =
                (uint8_t)(bytes == m->m ? code[j] : (unsigned)code[j / 2] >> (j % 2 * 4) & 15u);
    }
}

static vq_status log_epoch(const learn *l, unsigned epoch, double loss, double overlap,
                           vq_error *err)
{
    vq_epoch e = {.struct_size = sizeof e,
                  .round = l->round + 1,
                  .epoch = epoch + 1,
                  .loss = loss,
                  .overlap = overlap};
    if (l->opts->log == NULL || l->opts->log(l->opts->log_ctx, &e) == 0) return VQ_OK;
    return vq_fail(err, VQ_ECANCELED, "distillation: stopped after epoch %u of round %u", e.epoch,
                   e.round);
}

static vq_status after_epoch(void *ctx, unsigned epoch, double loss, const vq_student *s,
                             bool *stop, vq_error *err)
{
    vq_status rc = VQ_OK;
    learn *l = ctx;
    const vq_model *m = &l->p->model;
    double overlap;
    (void)s, (void)stop;
    m->codec->refresh(m->d_code, m->m, l->now.params);
    VQ_TRY(judge(l, &overlap, err));
    if (overlap > l->best_overlap) {
        l->best_overlap = overlap;
        copy_state(l, &l->best, &l->now);
    }
    VQ_TRY(log_epoch(l, epoch, loss, overlap, err));
out:
    return rc;
}

static vq_status teach(learn *l, const vq_learn_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    const vq_candidates *c = &l->candidates;
    vq_student s = {.d = m->d_code,
                    .m = m->m,
                    .kk = m->codec->codewords,
                    .nlist = m->nlist,
                    .additive = m->codec->additive != 0,
                    .books = l->now.params + m->codec->books(m->d_code, m->m),
                    .centroids = l->now.centroids,
                    .map = o->fixed_queries ? NULL : l->now.map};
    vq_lessons lessons = {.nq = l->ntrain,
                          .n = l->corpus->n,
                          .queries = l->queries,
                          .first = c->first,
                          .docs = c->docs,
                          .teacher = c->teacher,
                          .lists = l->corpus->lists,
                          .codes = l->codes8,
                          .shared = c->shared,
                          .shared_rows = c->shared_rows,
                          .own_offset = c->offsets,
                          .own_most = c->most};
    vq_distil_opts d = {.loss = vq_loss_by_name(o->loss != NULL ? o->loss : "listnet"),
                        .temperature = o->temperature * c->scale,
                        .step = STEP,
                        .epochs = o->epochs != 0 ? o->epochs : EPOCHS,
                        .learn_lists = true,
                        .learn_map = !o->fixed_queries,
                        .seed = m->seed,
                        .threads = l->p->threads,
                        .ticker = l->ticker,
                        .after_epoch = after_epoch,
                        .ctx = l};
    VQ_REQUIRE(d.loss != NULL, VQ_EINVAL, "there is no loss \"%s\"", o->loss);
    if (d.temperature <= 0.0)
        d.temperature = vq_temperature(c->teacher, c->first, l->ntrain, PERPLEXITY);
    spread_codes(l);
    VQ_TRY(vq_distil(&s, &lessons, &d, err));
    copy_state(l, &l->now, &l->best);
out:
    return rc;
}

typedef struct recode {
    learn *l;
    uint8_t *codes;
    float *residuals; /* workers x ENCODE_ROWS x d */
} recode;

static vq_status recode_tile(void *ctx, size_t task, int worker, vq_error *err)
{
    recode *r = ctx;
    const vq_model *m = &r->l->p->model;
    const vq_corpus *c = r->l->corpus;
    size_t d = m->d_code, first = task * ENCODE_ROWS, n = VQ_MIN(c->n - first, (size_t)ENCODE_ROWS);
    float *x = r->residuals + (size_t)worker * ENCODE_ROWS * d;
    for (size_t i = 0; i < n; i++) {
        const float *row = c->coded + (first + i) * d;
        const float *centroid = m->centroids + (size_t)c->lists[first + i] * d;
        for (size_t j = 0; j < d; j++) x[i * d + j] = row[j] - centroid[j];
    }
    return m->codec->encode(&m->code, vq_kernels_get(), x, n, r->codes + first * m->code.code_bytes,
                            err);
}

/* Codes the corpus anew with what was learnt; keeps it if the judges see no loss. */
static vq_status encode_again(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    size_t tiles = (l->corpus->n + ENCODE_ROWS - 1) / ENCODE_ROWS;
    int threads = vq_team((uint32_t)l->p->threads, tiles);
    uint8_t *old = l->corpus->codes;
    double overlap = 0.0;
    recode r = {.l = l, .codes = vq_mem_alloc(l->corpus->n, m->code.code_bytes)};
    r.residuals = vq_alloc_f32((size_t)threads * ENCODE_ROWS, m->d_code);
    VQ_REQUIRE(r.codes != NULL && r.residuals != NULL, VQ_ENOMEM, "codes of %zu vectors",
               l->corpus->n);
    VQ_TRY(vq_team_run(threads, tiles, recode_tile, &r, err));
    l->corpus->codes = r.codes;
    r.codes = old;
    VQ_TRY(view_again(l, err));
    VQ_TRY(judge(l, &overlap, err));
    if (overlap >= l->best_overlap) {
        l->best_overlap = overlap;
    } else {
        r.codes = l->corpus->codes;
        l->corpus->codes = old;
        VQ_TRY(view_again(l, err));
    }
out:
    vq_mem_free(r.codes);
    vq_mem_free(r.residuals);
    return rc;
}

/* ---- start and end ---- */

static vq_status begin(learn *l, const vq_queries *queries, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &l->p->model;
    size_t d = m->d_code, n = l->nq;
    size_t judges = l->nq - l->ntrain;
    l->params = m->codec->nparams(m->d_code, m->m);
    l->now.params = l->fitted->params;
    l->now.centroids = l->fitted->centroids;
    l->now.map = vq_mem_calloc(d * d, sizeof(float));
    l->best = (state){vq_alloc_f32(1, l->params), vq_alloc_f32(m->nlist, d), vq_alloc_f32(d, d)};
    l->queries = vq_alloc_f32(n, d), l->mapped = vq_alloc_f32(n, d);
    l->true_ids = vq_mem_alloc(judges * JUDGED, sizeof *l->true_ids);
    l->codes8 = vq_mem_alloc(l->corpus->n, m->m);
    VQ_REQUIRE(l->now.map != NULL && l->best.params != NULL && l->best.centroids != NULL &&
                   l->best.map != NULL && l->queries != NULL && l->mapped != NULL &&
                   l->true_ids != NULL && l->codes8 != NULL,
               VQ_ENOMEM, "lessons of %zu queries", n);
    VQ_TRY(vq_candidates_init(&l->candidates, l->ntrain, d, l->truth->k, err));
    for (size_t i = 0; i < d; i++) l->now.map[i * d + i] = 1.0f;
    vq_gemm_nt(n, d, m->d, 1.0f, queries->x, m->d, m->query_matrix, m->d, 0.0f, l->queries, d);
    for (size_t i = 0; i < judges; i++)
        for (size_t j = 0; j < JUDGED; j++) {
            uint32_t row =
                j < l->truth->k ? l->truth->rows[(l->ntrain + i) * l->truth->k + j] : UINT32_MAX;
            l->true_ids[i * JUDGED + j] = row != UINT32_MAX ? row : VQ_NO_ID;
        }
    copy_state(l, &l->best, &l->now);
    VQ_TRY(view_again(l, err));
    VQ_TRY(judge(l, &l->start_overlap, err));
    l->best_overlap = l->start_overlap;
out:
    return rc;
}

static void end(learn *l)
{
    vq_codeview_fini(&l->view);
    vq_mem_free(l->now.map);
    vq_mem_free(l->best.params);
    vq_mem_free(l->best.centroids);
    vq_mem_free(l->best.map);
    vq_mem_free(l->queries);
    vq_mem_free(l->mapped);
    vq_mem_free(l->true_ids);
    vq_mem_free(l->codes8);
    vq_candidates_fini(&l->candidates);
}

/* The learnt map goes into the queries' matrix: a search pays nothing for it. */
static vq_status fold_map(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    size_t d = m->d_code, size = d * m->d;
    float *folded = vq_alloc_f32(d, m->d);
    VQ_REQUIRE(folded != NULL, VQ_ENOMEM, "query map: %zu x %u floats", d, m->d);
    vq_gemm_nn(d, m->d, d, 1.0f, l->now.map, d, l->fitted->query_matrix, m->d, 0.0f, folded, m->d);
    memcpy(l->fitted->query_matrix, folded, size * sizeof *folded);
out:
    vq_mem_free(folded);
    return rc;
}

vq_status vq_learn(vq_plan *p, vq_fitted *fitted, const vq_queries *queries,
                   const vq_teacher *truth, vq_corpus *corpus, const vq_learn_opts *opts,
                   vq_ticker *ticker, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t judges = VQ_MIN(VQ_MAX(queries->n / 10, (size_t)1), (size_t)MOST_JUDGES);
    learn l = {.p = p,
               .fitted = fitted,
               .corpus = corpus,
               .truth = truth,
               .opts = opts,
               .ticker = ticker,
               .nq = queries->n,
               .ntrain = queries->n - judges};
    VQ_TRY(begin(&l, queries, err));
    for (int round = 0; round < ROUNDS; round++) {
        l.round = (unsigned)round;
        VQ_TRY(mine(&l, err));
        VQ_TRY(teach(&l, opts, err));
        VQ_TRY(encode_again(&l, err));
    }
    VQ_TRY(fold_map(&l, err));
    if (l.best_overlap > l.start_overlap)
        vq_plan_note(p, "distilled: 10@10 of the codes %.3f to %.3f on %zu held-out queries",
                     l.start_overlap, l.best_overlap, judges);
    else
        vq_plan_note(p, "distilled: nothing beat the start, 10@10 %.3f on %zu held-out queries",
                     l.start_overlap, judges);
out:
    end(&l);
    return rc;
}
