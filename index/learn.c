/* SPDX-License-Identifier: Apache-2.0 */
/* learn.c -- see learn.h.  Xiao et al. 2022 (Distill-VQ); live negatives and the query map after
 * Zhan et al. 2021 (JPQ). */
#include "index/learn.h"

#include <string.h>

#include "index/candidates.h"
#include "index/encode.h"
#include "index/gain.h"
#include "index/recode.h"
#include "index/spill.h"
#include "src/eval/metrics.h"
#include "src/math/blas.h"
#include "src/train/distil.h"
#include "src/train/perlist.h"
#include "src/train/routing.h"
#include "src/train/spill.h"

enum {
    JUDGED = 10, /* overlap of the ten best */
    MOST_JUDGES = 2000,
    EPOCHS = 6,
    ROUTING_EPOCHS = 6,
    ASSIGNING = 12, /* queries that are asked where a vector should be */
    ROUNDS = 2,
    FIRST_SWEEPS = 4,
    NEXT_SWEEPS = 2 /* a round of distillation */
};
/* Towards exact answers, longer steps, or steps that nothing pulls back, fit the training queries
 * and not the others.  Another model's answers, and labels, are further away than that. */
#define STEP     2e-3
#define ANCHOR   1.0
#define STEP_FAR 4e-3
/* Candidates that share the teacher's weight.  On held-out questions 20 and 40 serve alike, in 33
 * bytes .004 of 10@10 above 10; in 17 bytes 20 is .006 above 10. */
#define PERPLEXITY 20.0
/* What they weigh, as in recode.c; on held-out questions .003 and .006 serve alike, .03 loses. */
#define ASSIGN_BETA 0.003

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
    float *queries;     /* nq x d_code, before the map of the round */
    float *mapped;      /* judges x d_code: scratch, after the map */
    uint64_t *true_ids; /* judges x JUDGED */
    state now, best;    /* now points into fitted, but for its map */
    double best_overlap, start_overlap;
    size_t params;   /* floats */
    uint8_t *codes8; /* n x m, a code a byte */
    vq_codeview view;
    vq_candidates candidates; /* of the queries that teach */
    uint32_t *felt;           /* n x VQ_FELT: queries of the vectors */
} learn;

static size_t dims(const learn *l)
{
    return l->p->model.d_code;
}

/* The k best by codes for n queries at x, those of the teacher from `first` on; no query finds the
 * vector it was made from. */
static vq_status answer(const learn *l, const float *x, size_t first, size_t n, uint32_t k,
                        uint32_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint32_t *own = l->truth->own;
    uint32_t more = own != NULL ? k + 1 : k;
    uint32_t *found = own != NULL ? vq_mem_alloc(n * more, sizeof *found) : rows;
    VQ_REQUIRE(found != NULL, VQ_ENOMEM, "answers to %zu queries", n);
    VQ_TRY(vq_codeview_search(&l->view, x, n, more, l->p->threads, found, err));
    for (size_t i = 0; own != NULL && i < n; i++) {
        (void)vq_answers_without(found + i * more, NULL, more, own[first + i]);
        memcpy(rows + i * k, found + i * more, k * sizeof *rows);
    }
out:
    if (found != rows) vq_mem_free(found);
    return rc;
}

/* Share of the true ten among the ten best by codes, over the judges, with the state `now`. */
static vq_status judge(learn *l, double *overlap, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n = l->nq - l->ntrain, d = dims(l);
    uint32_t *rows = vq_mem_alloc(n * JUDGED, sizeof *rows);
    uint64_t *ids = vq_mem_alloc(n * JUDGED, sizeof *ids);
    VQ_REQUIRE(rows != NULL && ids != NULL, VQ_ENOMEM, "judging: %zu queries", n);
    vq_gemm_nt(n, d, d, 1.0f, l->queries + l->ntrain * d, d, l->now.map, d, 0.0f, l->mapped, d);
    VQ_TRY(answer(l, l->mapped, l->ntrain, n, JUDGED, rows, err));
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

static void forget_map(const learn *l)
{
    size_t d = dims(l);
    memset(l->now.map, 0, d * d * sizeof *l->now.map);
    for (size_t i = 0; i < d; i++) l->now.map[i * d + i] = 1.0f;
    memcpy(l->best.map, l->now.map, d * d * sizeof *l->now.map);
}

static vq_status view_again(learn *l, vq_error *err)
{
    vq_codeview_fini(&l->view);
    return vq_codeview_init(&l->view, &l->p->model, l->corpus, err);
}

/* What the codes as they are put among their best, beside what the teacher puts there.  Between
 * rounds the map is the identity. */
static vq_status mine(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint32_t *live = vq_mem_alloc(l->ntrain * VQ_LIVE, sizeof *live);
    VQ_REQUIRE(live != NULL, VQ_ENOMEM, "candidates of %zu queries", l->ntrain);
    VQ_TRY(answer(l, l->queries, 0, l->ntrain, VQ_LIVE, live, err));
    vq_candidates_set(&l->candidates, l->queries, l->corpus, l->truth, live, l->p->model.seed);
out:
    vq_mem_free(live);
    return rc;
}

/* ---- rounds ---- */

/* Codebooks have moved: what depends on them follows. */
static vq_status follow_books(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    m->codec->refresh(m->d_code, m->m, l->now.params);
    if (l->corpus->factors == NULL) goto out;
    VQ_TRY(vq_refactor(m, l->corpus, l->p->threads, err));
    VQ_TRY(view_again(l, err));
out:
    return rc;
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
    double overlap;
    (void)s, (void)stop;
    VQ_TRY(follow_books(l, err));
    VQ_TRY(judge(l, &overlap, err));
    if (overlap > l->best_overlap) {
        l->best_overlap = overlap;
        copy_state(l, &l->best, &l->now);
    }
    VQ_TRY(log_epoch(l, epoch, loss, overlap, err));
out:
    return rc;
}

/* Distances know no map of queries alone. */
static bool maps_queries(const learn *l)
{
    return !l->opts->fixed_queries && l->p->model.metric != VQ_METRIC_L2;
}

static vq_status teach(learn *l, const vq_learn_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    const vq_candidates *c = &l->candidates;
    bool far = l->truth->lowest != NULL || l->truth->labelled != NULL;
    bool l2 = m->metric == VQ_METRIC_L2;
    vq_student s = {.d = m->d_code,
                    .m = m->m,
                    .kk = m->codec->codewords,
                    .nlist = m->nlist,
                    .additive = m->codec->additive != 0,
                    .books = l->now.params + m->codec->books(m->d_code, m->m),
                    .centroids = l->now.centroids,
                    .map = maps_queries(l) ? l->now.map : NULL};
    vq_lessons lessons = {.nq = l->ntrain,
                          .n = l->corpus->n,
                          .queries = l->queries,
                          .first = c->first,
                          .docs = c->docs,
                          .teacher = c->teacher,
                          .coded = l2 ? l->corpus->coded : NULL,
                          .lists = l->corpus->lists,
                          .codes = l->codes8,
                          .shared = c->shared,
                          .shared_rows = c->shared_rows,
                          .own_offset = c->offsets,
                          .own_most = c->most};
    vq_distil_opts d = {.loss = vq_loss_by_name(o->loss != NULL ? o->loss : "listnet"),
                        .temperature = o->temperature * c->scale,
                        .step = far ? STEP_FAR : STEP,
                        .epochs = o->epochs != 0 ? o->epochs : EPOCHS,
                        .anchor = far ? 0.0 : ANCHOR,
                        .learn_lists = !l2,
                        .learn_map = maps_queries(l),
                        .seed = m->seed,
                        .threads = l->p->threads,
                        .ticker = l->ticker,
                        .after_epoch = after_epoch,
                        .ctx = l};
    VQ_REQUIRE(d.loss != NULL, VQ_EINVAL, "there is no loss \"%s\"", o->loss);
    if (d.temperature <= 0.0)
        d.temperature = vq_temperature(c->teacher, c->first, l->ntrain, PERPLEXITY);
    vq_codes_spread(m, l->corpus->codes, l->corpus->n, l->codes8);
    VQ_TRY(vq_distil(&s, &lessons, &d, err));
    copy_state(l, &l->now, &l->best); /* factors and the view follow in encode_again */
out:
    return rc;
}

/* Codes the corpus anew with what was learnt; keeps it if the judges see no loss. */
static vq_status encode_again(learn *l, unsigned sweeps, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    vq_corpus *c = l->corpus;
    uint8_t *other = vq_mem_alloc(c->n, m->code.code_bytes), *old = c->codes;
    double overlap = 0.0;
    VQ_REQUIRE(other != NULL, VQ_ENOMEM, "codes of %zu vectors", c->n);
    vq_codes_spread(m, c->codes, c->n, l->codes8);
    VQ_TRY(vq_recode(m, c, l->felt, l->queries, l->ntrain, sweeps, l->p->threads, l->ticker,
                     l->codes8, err));
    vq_codes_gather(m, l->codes8, c->n, other);
    c->codes = other;
    other = old;
    VQ_TRY(vq_refactor(m, c, l->p->threads, err));
    VQ_TRY(view_again(l, err));
    VQ_TRY(judge(l, &overlap, err));
    if (overlap >= l->best_overlap) {
        l->best_overlap = overlap;
    } else {
        other = c->codes;
        c->codes = old;
        VQ_TRY(vq_refactor(m, c, l->p->threads, err));
        VQ_TRY(view_again(l, err));
    }
out:
    vq_mem_free(other);
    return rc;
}

static vq_status one_round(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(mine(l, err));
    VQ_TRY(teach(l, l->opts, err));
    if (maps_queries(l)) {
        VQ_TRY(vq_fold_map(&l->p->model, l->fitted, l->now.map, l->p->threads, l->queries, l->nq,
                           l->corpus, err));
        forget_map(l);
    }
    VQ_TRY(encode_again(l, NEXT_SWEEPS, err));
out:
    return rc;
}

/* ---- start and end ---- */

/* Lists that hold a vector as the queries that find it feel it, and second ones if there are to be
 * copies. */
static vq_status assign(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    vq_corpus *c = l->corpus;
    double sq = vq_kernels_get()->sq_row_f32(l->queries, l->ntrain * dims(l));
    vq_perlist p = {.n = l->corpus->n,
                    .d = m->d_code,
                    .nlist = m->nlist,
                    .nq = l->ntrain,
                    .rows = l->corpus->coded,
                    .centroids = m->centroids,
                    .queries = l->queries,
                    .near = l->felt,
                    .stride = VQ_FELT,
                    .count = ASSIGNING,
                    .threads = l->p->threads,
                    .ticker = l->ticker};
    if (sq > 0.0) p.beta = (float)(ASSIGN_BETA * (double)m->d * (double)l->ntrain / sq);
    if (l->opts->copies) {
        c->copy_lists = vq_mem_alloc(c->n, sizeof *c->copy_lists);
        VQ_REQUIRE(c->copy_lists != NULL, VQ_ENOMEM, "copies of %zu vectors", c->n);
    }
    VQ_TRY(vq_perlist_assign(&p, c->lists, c->copy_lists, err));
out:
    return rc;
}

/* Lists as queries feel them, by which the corpus is coded anew; and vectors that learn which lists
 * queries want.  They are apart from the centroids: codes of what rows differ from vectors that
 * were moved for another purpose would be worse, 64 bytes of text embeddings by .01 of 10@10.  Not
 * by queries that are none, nor for distances: then second lists, if there are to be copies. */
static vq_status route(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &l->p->model;
    vq_corpus *c = l->corpus;
    size_t floats = (size_t)m->nlist * m->d_code;
    if (!l->p->whiten) {
        if (l->opts->copies) VQ_TRY(vq_spill_corpus(m, c, l->p->threads, err));
        goto out;
    }
    VQ_TRY(assign(l, err));
    VQ_TRY(vq_encode_corpus(m, c, c->lists, c->codes, l->p->threads, err));
    l->fitted->routes = vq_alloc_f32(m->nlist, m->d_code);
    VQ_REQUIRE(l->fitted->routes != NULL, VQ_ENOMEM, "routes: %u lists", m->nlist);
    memcpy(l->fitted->routes, m->centroids, floats * sizeof(float));
    vq_routing r = {.d = m->d_code,
                    .nlist = m->nlist,
                    .nq = l->nq,
                    .ntrain = l->ntrain,
                    .queries = l->queries,
                    .answers = l->truth->rows,
                    .k = l->truth->k,
                    .lists = c->lists,
                    .second = c->copy_lists,
                    .vectors = l->fitted->routes,
                    .epochs = ROUTING_EPOCHS,
                    .seed = m->seed,
                    .threads = l->p->threads,
                    .ticker = l->ticker};
    VQ_TRY(vq_routing_learn(&r, NULL, err));
    if (memcmp(l->fitted->routes, m->centroids, floats * sizeof(float)) == 0) goto out;
    m->routes = l->fitted->routes;
    m->nroutes = m->nlist;
    m->format = VQ_FORMAT_DOCUMENTS;
out:
    return rc;
}

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
    l->queries = vq_alloc_f32(n, d), l->mapped = vq_alloc_f32(judges, d);
    l->true_ids = vq_mem_alloc(judges * JUDGED, sizeof *l->true_ids);
    l->codes8 = vq_mem_alloc(l->corpus->n, m->m);
    l->felt = vq_felt_queries(l->truth, l->ntrain, l->corpus->n);
    VQ_REQUIRE(l->now.map != NULL && l->best.params != NULL && l->best.centroids != NULL &&
                   l->best.map != NULL && l->queries != NULL && l->mapped != NULL &&
                   l->true_ids != NULL && l->codes8 != NULL && l->felt != NULL,
               VQ_ENOMEM, "lessons of %zu queries", n);
    VQ_TRY(vq_candidates_init(&l->candidates, l->ntrain, d, l->truth->k, m->metric == VQ_METRIC_L2,
                              err));
    forget_map(l);
    if (m->metric == VQ_METRIC_L2)
        vq_transform_many(&m->transform, vq_kernels_get(), queries->x, n, l->queries);
    else
        vq_gemm_nt(n, d, m->d, 1.0f, queries->x, m->d, m->query_matrix, m->d, 0.0f, l->queries, d);
    for (size_t i = 0; i < judges; i++)
        for (size_t j = 0; j < JUDGED; j++) {
            uint32_t row =
                j < l->truth->k ? l->truth->rows[(l->ntrain + i) * l->truth->k + j] : UINT32_MAX;
            l->true_ids[i * JUDGED + j] = row != UINT32_MAX ? row : VQ_NO_ID;
        }
    VQ_TRY(route(l, err));
    copy_state(l, &l->best, &l->now);
    VQ_TRY(view_again(l, err));
    VQ_TRY(judge(l, &l->start_overlap, err));
    l->best_overlap = l->start_overlap;
out:
    return rc;
}

/* Codes of the copies, of the same kind as those of the vectors. */
static vq_status copy_some(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &l->p->model;
    vq_corpus *c = l->corpus;
    vq_corpus copies = {.n = c->n, .coded = c->coded};
    copies.lists = vq_mem_alloc(c->n, sizeof *copies.lists);
    c->copy_codes = vq_mem_alloc(c->n, m->code.code_bytes);
    VQ_REQUIRE(copies.lists != NULL && c->copy_codes != NULL, VQ_ENOMEM, "copies of %zu vectors",
               c->n);
    for (size_t i = 0; i < c->n; i++)
        copies.lists[i] = c->copy_lists[i] != VQ_NO_LIST ? c->copy_lists[i] : c->lists[i];
    if (c->factors != NULL) {
        c->copy_factors = vq_alloc_f32(1, c->n);
        VQ_REQUIRE(c->copy_factors != NULL, VQ_ENOMEM, "copies of %zu vectors", c->n);
    }
    VQ_TRY(vq_encode_corpus(m, c, copies.lists, c->copy_codes, l->p->threads, err));
    vq_codes_spread(m, c->copy_codes, c->n, l->codes8);
    VQ_TRY(vq_recode(m, &copies, l->felt, l->queries, l->ntrain, NEXT_SWEEPS, l->p->threads,
                     l->ticker, l->codes8, err));
    vq_codes_gather(m, l->codes8, c->n, c->copy_codes);
    copies.codes = c->copy_codes, copies.factors = c->copy_factors;
    VQ_TRY(vq_refactor(m, &copies, l->p->threads, err));
out:
    vq_mem_free(copies.lists);
    return rc;
}

/* The gain (gain.h) that ranks best for the judges, if it is so much better than none that chance
 * has hardly made it so. */
static vq_status choose_gain(learn *l, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &l->p->model;
    double before = l->best_overlap, overlap;
    float best = 0.0f;
    if (m->metric == VQ_METRIC_L2) goto out;
    for (unsigned i = 1; i <= VQ_GAINS; i++) {
        m->gain = 1.0f + (float)i * VQ_GAIN_STEP;
        VQ_TRY(judge(l, &overlap, err));
        if (overlap <= l->best_overlap || overlap < before + VQ_GAIN_WORTH) continue;
        l->best_overlap = overlap;
        best = m->gain;
    }
    m->gain = best;
    if (m->gain != 0.0f)
        vq_plan_note(l->p, "gain %.2f: %.3f to %.3f", (double)m->gain, before, l->best_overlap);
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
    vq_mem_free(l->felt);
}

size_t vq_judges(size_t nq)
{
    return VQ_MIN(VQ_MAX(nq / 10, (size_t)1), (size_t)MOST_JUDGES);
}

vq_status vq_learn(vq_plan *p, vq_fitted *fitted, const vq_queries *queries,
                   const vq_teacher *truth, vq_corpus *corpus, const vq_learn_opts *opts,
                   vq_ticker *ticker, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t judges = vq_judges(queries->n);
    learn l = {.p = p,
               .fitted = fitted,
               .corpus = corpus,
               .truth = truth,
               .opts = opts,
               .ticker = ticker,
               .nq = queries->n,
               .ntrain = queries->n - judges};
    VQ_TRY(begin(&l, queries, err));
    VQ_TRY(encode_again(&l, FIRST_SWEEPS, err));
    double felt = l.best_overlap, before = -1.0;
    for (; !opts->coded_only && l.round < ROUNDS && l.best_overlap > before; l.round++) {
        before = l.best_overlap;
        VQ_TRY(one_round(&l, err));
    }
    double learnt = l.best_overlap;
    if (opts->copies) VQ_TRY(copy_some(&l, err));
    vq_plan_note(
        p, "coded as queries feel errors: 10@10 of the codes %.3f to %.3f on %zu held-out queries",
        l.start_overlap, felt, judges);
    if (!opts->coded_only) vq_plan_note(p, "distilled: to %.3f", learnt);
    VQ_TRY(choose_gain(&l, err));
out:
    end(&l);
    return rc;
}
