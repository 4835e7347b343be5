/* SPDX-License-Identifier: Apache-2.0 */
/* buildlearn.c -- see building.h. */
#include <inttypes.h>

#include "index/building.h"
#include "index/grouping.h"
#include "index/pseudo.h"
#include "index/teachcache.h"
#include "src/math/blas.h"

enum { HELD_LEAST = 200, HELD_MOST = 4096 }; /* with fewer queries error bars are a guess */
#define MOST_TAUGHT ((uint64_t)4 << 30)      /* bytes that teaching takes where no bound is given */

static vq_status check_queries(const vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->plan.model;
    const char *name = b->opts->queries[0]->name;
    size_t n = b->queries.n, least = VQ_MAX((size_t)m->d, (size_t)2);
    if (m->train != VQ_TRAIN_KMEANS)
        VQ_REQUIRE(
            n >= least, VQ_EINVAL,
            "%s: %zu training queries; %zu, one for each dimension, are the least, and thousands "
            "what serves: fewer leave the codes worse than none (vq tune takes fewer)",
            name, n, least);
    else
        VQ_REQUIRE(n >= HELD_LEAST, VQ_EINVAL,
                   "%s: %zu queries; %d are the least that tell how far error bars reach, and "
                   "thousands what serves (vq tune takes fewer)",
                   name, n, HELD_LEAST);
out:
    return rc;
}

/* Some, evenly spaced, by which error bars are calibrated: a tenth where the others train. */
static void hold_queries(vq_building *b)
{
    vq_teacher nobody = {0};
    vq_queries *q = &b->queries;
    size_t d = b->plan.model.d, judges = vq_judges(q->n);
    bool all = b->plan.model.train == VQ_TRAIN_KMEANS;
    q->held = all ? VQ_MIN(q->n, (size_t)HELD_MOST)
                  : VQ_MIN(VQ_MAX(judges, (size_t)HELD_LEAST), q->n / 4);
    vq_teacher_part(&nobody, q, d, q->held);
    if (!all) return;
    vq_queries held = {.x = q->x + (q->n - q->held) * d, .n = q->held};
    vq_teacher_part(&nobody, &held, d, VQ_MIN(judges, held.n)); /* the last ones tune, too */
}

/* All training queries, of length 1 for cosine. */
static vq_status read_queries(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_build_opts *o = b->opts;
    VQ_TRY(vq_sources_read_f32(o->queries, o->nqueries, b->plan.model.d, &b->queries.x,
                               &b->queries.n, err));
    VQ_TRY(check_queries(b, err));
    if (b->plan.model.metric == VQ_METRIC_COSINE)
        vq_fit_normalize(vq_kernels_get(), b->queries.x, b->queries.n, b->plan.model.d);
    if (b->plan.model.codec->calibrate != NULL) hold_queries(b);
out:
    return rc;
}

/* Where codes are to be taught and nobody gave queries. */
static vq_status stand_in(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_sample s = {.rows = b->sample, .at = b->sample_at, .n = b->sampled, .elem = b->src->elem};
    if (b->plan.model.train == VQ_TRAIN_KMEANS) goto out;
    VQ_TRY(vq_pseudo_queries(&b->plan.model, &s, &b->queries, err));
    vq_plan_note(&b->plan, "queries: %zu of the vectors, moved, stand in for them", b->queries.n);
out:
    return rc;
}

static vq_good_rows good_rows(const vq_building *b)
{
    return (vq_good_rows){.n = b->plan.model.n, .skipped = b->skipped, .nskipped = b->nskipped};
}

/* What was said of queries and rows: is it of these? */
static vq_status hear_teacher(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_good_rows good = good_rows(b);
    vq_pair_lists pairs = {0};
    if (b->opts->positives != NULL) {
        vq_pairs labels = *b->opts->positives;
        labels.score = NULL;
        VQ_TRY(vq_pair_lists_make(&b->positives, &labels, "qrels", b->queries.n, &good, err));
    }
    if (b->opts->teacher == NULL) goto out;
    VQ_TRY(vq_pair_lists_make(&pairs, b->opts->teacher, "teacher", b->queries.n, &good, err));
    VQ_TRY(vq_teacher_given(&b->teacher, &pairs, err));
out:
    vq_pair_lists_fini(&pairs);
    return rc;
}

bool vq_build_learns(const vq_building *b)
{
    const vq_model *m = &b->plan.model;
    return m->train != VQ_TRAIN_KMEANS && m->codec->books != NULL && !b->plan.adopted;
}

/* What an index stores does not hang on memory that is there by chance: only on a bound given. */
static vq_status take_part(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->plan.model;
    bool given = b->opts->teacher != NULL || b->opts->positives != NULL;
    uint64_t most = b->opts->memory != 0 ? b->plan.memory : MOST_TAUGHT;
    uint8_t *rows = b->sample;
    uint32_t *at = b->sample_at;
    b->sample = NULL, b->sample_at = NULL;
    VQ_TRY(vq_taught_take(&b->part, &b->plan, rows, at, b->sampled, b->src->elem, most, &b->queries,
                          err));
    VQ_REQUIRE(b->part.rows == NULL || !given, VQ_EINVAL,
               "teacher, qrels: to learn from scores of given vectors all must be in memory; that "
               "takes about %" PRIu64 " MB, so allow as much (memory), or leave them out",
               (vq_taught_bytes(&b->plan, m->n, b->queries.n) >> 20) + 1);
    if (b->part.rows == NULL || b->hasher == NULL) goto out;
    vq_hasher_add(b->hasher, b->part.at, b->part.n * sizeof *b->part.at); /* a class of its own */
out:
    return rc;
}

vq_status vq_build_fit(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(b->opts->nqueries > 0 ? read_queries(b, err) : stand_in(b, err));
    VQ_TRY(hear_teacher(b, err));
    VQ_TRY(vq_fit(&b->plan, b->sample, b->src->elem, b->sampled, &b->queries, &b->ticker,
                  &b->fitted, err));
    if (vq_build_learns(b)) VQ_TRY(take_part(b, err));
out:
    return rc;
}

/* The given teacher, or exact search; corrected by labels. */
static vq_status ask_teacher(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool part = b->part.rows != NULL;
    vq_class class = {.src = part ? b->part.src : b->src,
                      .queries = &b->queries,
                      .good = part ? (vq_good_rows){.n = b->part.n} : good_rows(b),
                      .metric = b->plan.model.metric,
                      .threads = b->plan.threads,
                      .progress = b->opts->progress,
                      .progress_ctx = b->opts->progress_ctx};
    uint8_t rows[16] = {0};
    size_t all = b->queries.n, dropped = 0;
    if (b->hasher != NULL) vq_hasher_get(b->hasher, rows);
    if (b->opts->teacher == NULL)
        VQ_TRY(vq_teacher_exact(&b->teacher, &class, b->opts->teacher_cache, rows, err));
    if (b->opts->positives != NULL) VQ_TRY(vq_teacher_label(&b->teacher, &b->positives, err));
    if (b->opts->teacher != NULL)
        vq_teacher_drop(&b->teacher, &b->queries, b->plan.model.d, &dropped);
    if (dropped > 0)
        vq_plan_note(&b->plan,
                     "queries %zu instead of %zu for distillation: the teacher has no scores for "
                     "the others",
                     b->queries.n, all);
out:
    return rc;
}

/* Lists have moved, and queries with them: how far must one look among the groups now? */
static vq_status measure_groups(vq_building *b, const vq_corpus *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->plan.model;
    size_t nq = m->query_map ? b->queries.n : 0;
    float *y = vq_alloc_f32(nq, m->d_code);
    VQ_REQUIRE(y != NULL, VQ_ENOMEM, "groups: %zu queries", nq);
    if (nq > 0)
        vq_gemm_nt(nq, m->d_code, m->d, 1.0f, b->queries.x, m->d, m->query_matrix, m->d, 0.0f, y,
                   m->d_code);
    VQ_TRY(vq_grouping_measure(m, b->fitted.groups, c->coded, c->n, y, nq, b->plan.threads, err));
out:
    vq_mem_free(y);
    return rc;
}

/* Encodes the corpus in memory, or a part of it, lets codes, codebooks, list vectors and query map
 * learn, and keeps the codes for the file if they are those of all vectors. */
vq_status vq_build_learn(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &b->plan.model;
    vq_corpus *c = &b->corpus;
    vq_learn_opts o = {.loss = b->opts->loss,
                       .temperature = (double)b->opts->temperature,
                       .epochs = b->opts->epochs,
                       .coded_only = m->train != VQ_TRAIN_DISTILL,
                       .fixed_queries = b->opts->fixed_queries != 0,
                       .log = b->opts->log,
                       .log_ctx = b->opts->log_ctx};
    bool part = b->part.rows != NULL;
    vq_source *src = part ? b->part.src : b->src;
    vq_encode_job job = {.src = src,
                         .model = m,
                         .threads = b->plan.threads,
                         .block = b->block,
                         .rows = b->rows,
                         .ticker = &b->ticker,
                         .phase = "encode",
                         .corpus = c};
    VQ_TRY(vq_corpus_init(c, m, part ? b->part.n : (size_t)m->n, err));
    VQ_TRY(vq_source_rewind(src, err));
    VQ_TRY(vq_encode_all(&job, err));
    VQ_TRY(ask_teacher(b, err));
    vq_teacher_part(&b->teacher, &b->queries, m->d, vq_judges(b->queries.n));
    o.copies = b->plan.copies && !part;
    VQ_TRY(vq_learn(&b->plan, &b->fitted, &b->queries, &b->teacher, c, &o, &b->ticker, err));
    if (m->ngroups > 0) VQ_TRY(measure_groups(b, c, err));
    m->spread = vq_corpus_spread(m, c);
    vq_mem_free(c->coded);
    c->coded = NULL;
    if (part) vq_corpus_fini(c);
    vq_taught_fini(&b->part);
    vq_teacher_fini(&b->teacher);
    VQ_TRY(vq_source_rewind(b->src, err));
out:
    return rc;
}
