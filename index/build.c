/* SPDX-License-Identifier: Apache-2.0 */
/* build.c -- see build.h.  The source is read twice (three times if it does not tell its length):
 * once for the sample, once to encode. */
#include "index/build.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "index/adopt.h"
#include "index/docbuild.h"
#include "index/encode.h"
#include "index/fit.h"
#include "index/grouping.h"
#include "index/idmap.h"
#include "index/learn.h"
#include "index/taught.h"
#include "index/pseudo.h"
#include "index/searcher.h"
#include "index/stored.h"
#include "index/teachcache.h"
#include "index/tune.h"
#include "index/writer.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/base/rng.h"
#include "src/math/blas.h"
#include "src/train/kmeans.h"

enum {
    READ_ROWS = 4096,
    READ_BYTES = 8 << 20,
    JUDGES_MIN = 200, /* with fewer all training queries tune */
};
#define MOST_TAUGHT ((uint64_t)4 << 30) /* bytes that teaching takes where no bound is given */

typedef struct build {
    const char *path;
    vq_source *src;
    const vq_build_opts *opts;
    vq_ticker ticker;
    vq_store *store;
    vq_shard given; /* the index whose model this one gets; or all zero */
    vq_plan plan;
    vq_fitted fitted;
    vq_idmap idmap;
    vq_list_writer writer, copies;
    vq_doc_build docs;
    vq_corpus corpus;    /* with distillation: its codes are the file's */
    uint8_t *sample;     /* plan.sample rows as they come */
    uint32_t *sample_at; /* which vectors they are */
    size_t sampled;
    vq_taught part;    /* those of the sample that teach, or none: all vectors do */
    uint64_t *skipped; /* row numbers of bad rows */
    size_t nskipped, skipped_cap;
    /* one block of rows on its way */
    size_t block;      /* rows */
    uint8_t *rows;     /* block x d, as they come */
    uint64_t *numbers; /* block: their row numbers */
    float *wide;       /* block x d: as floats, if the store depends on how large they are */
    vq_queries queries;
    float largest; /* |x| of all */
    vq_teacher teacher;
    vq_pair_lists positives;
    int claim;         /* of the file that is replaced (change.h), or -1 */
    vq_hasher *hasher; /* of all good rows, where a teacher cache asks what they are */
} build;

/* Row numbers between the last block's end and the next good row are bad ones. */
static vq_status note_skipped(build *b, uint64_t from, uint64_t to, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (uint64_t row = from; row < to; row++) {
        if (b->nskipped == b->skipped_cap) {
            size_t cap = 2 * b->skipped_cap + 64;
            uint64_t *grown = vq_mem_grow(b->skipped, b->nskipped, cap, sizeof *grown);
            VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "build: %zu bad rows", b->nskipped);
            b->skipped = grown;
            b->skipped_cap = cap;
        }
        b->skipped[b->nskipped++] = row;
    }
out:
    return rc;
}

/* How many rows there are, counted where the source does not tell. */
static vq_status count_rows(build *b, uint64_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    *n = b->src->n;
    if (*n != VQ_N_UNKNOWN) goto out;
    for (size_t got = 1; got > 0;) {
        VQ_TRY(vq_source_read(b->src, b->rows, b->block, NULL, &got, err));
        VQ_TRY(vq_tick(&b->ticker, "count", b->src->row, 0, err));
    }
    *n = b->src->row; /* bad ones counted, as a file's header does */
    VQ_TRY(vq_source_rewind(b->src, err));
out:
    return rc;
}

static void note_largest(build *b, size_t n)
{
    if (b->wide == NULL || n == 0) return;
    const vq_kernels *k = vq_kernels_get();
    float low, high;
    vq_to_f32(k, b->src->elem, b->rows, n * b->src->d, b->wide);
    k->minmax_f32(b->wide, n * b->src->d, &low, &high);
    b->largest = VQ_MAX(b->largest, VQ_MAX(-low, high));
}

/* Reads everything once: takes the sample (plan.sample of n rows, each equally likely; Knuth, TAOCP
 * 3.4.2, algorithm S) and learns which rows are bad. */
static vq_status read_sample(build *b, uint64_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_rng rng;
    size_t row_bytes = b->src->d * vq_elem_size(b->src->elem);
    uint64_t good = 0, next = 0;
    vq_rng_init(&rng, b->plan.model.seed, 0);
    b->sample = vq_mem_alloc(b->plan.sample, row_bytes);
    b->sample_at = vq_mem_calloc(b->plan.sample, sizeof *b->sample_at);
    VQ_REQUIRE(b->sample != NULL && b->sample_at != NULL, VQ_ENOMEM,
               "sample: %zu rows of %zu bytes", b->plan.sample, row_bytes);
    for (size_t got = 1; got > 0; good += got) {
        VQ_TRY(vq_source_read(b->src, b->rows, b->block, b->numbers, &got, err));
        VQ_REQUIRE(b->src->row <= n, VQ_EIO, "%s: it changed while it was read", b->src->name);
        note_largest(b, got);
        if (b->hasher != NULL) vq_hasher_add(b->hasher, b->rows, got * row_bytes);
        for (size_t i = 0; i < got; i++) {
            VQ_TRY(note_skipped(b, next, b->numbers[i], err));
            next = b->numbers[i] + 1;
            uint64_t left = n - b->numbers[i], want = b->plan.sample - b->sampled;
            if (vq_rng_below(&rng, left) >= want) continue;
            b->sample_at[b->sampled] = (uint32_t)(good + i);
            memcpy(b->sample + b->sampled++ * row_bytes, b->rows + i * row_bytes, row_bytes);
        }
        VQ_TRY(vq_tick(&b->ticker, "sample", good + got, n, err));
    }
    VQ_REQUIRE(b->src->row == n, VQ_EIO, "%s: it changed while it was read", b->src->name);
    VQ_TRY(note_skipped(b, next, n, err));
    VQ_REQUIRE(good > 0, VQ_ECORRUPT, "%s: no good row in it; an index needs one vector at least",
               b->src->name);
    if (b->sampled == 0) { /* only bad rows were drawn, among very few: the last good one serves */
        VQ_TRY(vq_source_rewind(b->src, err));
        VQ_TRY(vq_source_read(b->src, b->sample, 1, NULL, &b->sampled, err));
    }
    vq_plan_shrink(&b->plan, good);
    VQ_TRY(vq_source_rewind(b->src, err));
out:
    return rc;
}

/* Answers kept from an earlier build hold if the rows are the same: hash them while they are read
 * anyway. */
static vq_status begin_hash(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t shape[8];
    if (b->opts->teacher_cache == NULL) goto out;
    VQ_TRY(vq_teachcache_check(b->opts->teacher_cache, err));
    b->hasher = vq_hasher_new();
    VQ_REQUIRE(b->hasher != NULL, VQ_ENOMEM, "build: a hash");
    vq_put_le32(shape, b->src->elem);
    vq_put_le32(shape + 4, b->src->d);
    vq_hasher_add(b->hasher, shape, sizeof shape);
out:
    return rc;
}

/* All training queries, of length 1 for cosine. */
static vq_status read_queries(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_build_opts *o = b->opts;
    VQ_TRY(vq_sources_read_f32(o->queries, o->nqueries, b->plan.model.d, &b->queries.x,
                               &b->queries.n, err));
    VQ_REQUIRE(b->queries.n >= 2, VQ_EINVAL,
               "%s: %zu training queries; 2 are the least, since some teach and some judge, and "
               "thousands are what serves",
               o->queries[0]->name, b->queries.n);
    if (b->plan.model.metric == VQ_METRIC_COSINE)
        vq_fit_normalize(vq_kernels_get(), b->queries.x, b->queries.n, b->plan.model.d);
out:
    return rc;
}

/* Where codes are to be taught and nobody gave queries. */
static vq_status stand_in(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_sample s = {.rows = b->sample, .at = b->sample_at, .n = b->sampled, .elem = b->src->elem};
    if (b->plan.model.train == VQ_TRAIN_KMEANS) goto out;
    VQ_TRY(vq_pseudo_queries(&b->plan.model, &s, &b->queries, err));
    vq_plan_note(&b->plan, "queries: %zu of the vectors, moved, stand in for them", b->queries.n);
out:
    return rc;
}

static vq_good_rows good_rows(const build *b)
{
    return (vq_good_rows){.n = b->plan.model.n, .skipped = b->skipped, .nskipped = b->nskipped};
}

/* What was said of queries and rows: is it of these? */
static vq_status hear_teacher(build *b, vq_error *err)
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

static bool learns(const build *b)
{
    const vq_model *m = &b->plan.model;
    return m->train != VQ_TRAIN_KMEANS && m->codec->books != NULL && !b->plan.adopted;
}

/* What an index stores does not hang on memory that is there by chance: only on a bound given. */
static vq_status take_part(build *b, vq_error *err)
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

static vq_status make_plan(build *b, uint64_t n, vq_error *err)
{
    uint32_t d = b->src->d, elem = b->src->elem;
    if (b->given.lists == NULL) return vq_plan_make(&b->plan, b->opts, n, d, elem, err);
    return vq_adopt_plan(&b->plan, &b->given.model, vq_file_path(b->given.snapshot.file), b->opts,
                         n, d, elem, err);
}

static vq_status fit(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(b->opts->nqueries > 0 ? read_queries(b, err) : stand_in(b, err));
    VQ_TRY(hear_teacher(b, err));
    VQ_TRY(vq_fit(&b->plan, b->sample, b->src->elem, b->sampled, &b->queries, &b->ticker,
                  &b->fitted, err));
    if (learns(b)) VQ_TRY(take_part(b, err));
out:
    return rc;
}

static vq_status train(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_build_opts *o = b->opts;
    uint64_t n;
    size_t row_bytes = b->src->d * vq_elem_size(b->src->elem);
    b->block = VQ_MIN(VQ_MAX(READ_BYTES / row_bytes / VQ_ASSIGN_TILE, (size_t)1) * VQ_ASSIGN_TILE,
                      (size_t)READ_ROWS);
    b->rows = vq_mem_alloc(b->block, row_bytes);
    b->numbers = vq_mem_alloc(b->block, sizeof *b->numbers);
    VQ_REQUIRE(b->rows != NULL && b->numbers != NULL, VQ_ENOMEM, "build: a block of %zu rows",
               b->block);
    if (b->src->elem == VQ_F32 || b->src->elem == VQ_F16) {
        b->wide = vq_alloc_f32(b->block, b->src->d);
        VQ_REQUIRE(b->wide != NULL, VQ_ENOMEM, "build: a block of %zu rows", b->block);
    }
    VQ_TRY(vq_source_rewind(b->src, err));
    VQ_TRY(count_rows(b, &n, err));
    VQ_REQUIRE(n > 0, VQ_ECORRUPT, "%s: no rows; an index needs one vector at least", b->src->name);
    VQ_TRY(make_plan(b, n, err));
    VQ_TRY(begin_hash(b, err));
    VQ_TRY(read_sample(b, n, err));
    rc = vq_plan_range(&b->plan, b->largest, err);
    if (rc != VQ_OK) {
        rc = vq_fail_context(err, rc, "%s", b->src->name);
        goto out;
    }
    if (!b->plan.adopted) b->plan.store_scale = vq_stored_scale(b->src);
    VQ_TRY((b->plan.adopted ? vq_adopt_store : vq_plan_store)(&b->plan, b->largest, err));
    /* Before the long work: are the ids right? */
    VQ_TRY(vq_idmap_init(&b->idmap, (size_t)b->plan.model.n, b->skipped, b->nskipped, o->ids,
                         o->names, o->nids, err));
    VQ_TRY(vq_doc_build_init(&b->docs, b->src, o, &b->idmap, b->skipped, b->nskipped, err));
    if (!b->plan.adopted) VQ_TRY(fit(b, err));
    vq_mem_free(b->sample);
    vq_mem_free(b->sample_at);
    b->sample = NULL;
    b->sample_at = NULL;
out:
    return rc;
}

/* The given teacher, or exact search; corrected by labels. */
static vq_status ask_teacher(build *b, vq_error *err)
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
static vq_status measure_groups(build *b, const vq_corpus *c, vq_error *err)
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
static vq_status learn(build *b, vq_error *err)
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
    c->n = part ? b->part.n : (size_t)m->n;
    c->lists = vq_mem_alloc(c->n, sizeof *c->lists);
    c->codes = vq_mem_alloc(c->n, m->code.code_bytes);
    c->coded = vq_alloc_f32(c->n, m->d_code);
    if (m->shape.factors) c->factors = vq_alloc_f32(1, c->n);
    VQ_REQUIRE(c->lists != NULL && c->codes != NULL && c->coded != NULL &&
                   (c->factors != NULL || !m->shape.factors),
               VQ_ENOMEM, "distillation: %zu vectors of %u floats", c->n, m->d_code);
    vq_encode_job job = {.src = src,
                         .model = m,
                         .threads = b->plan.threads,
                         .block = b->block,
                         .rows = b->rows,
                         .ticker = &b->ticker,
                         .phase = "encode",
                         .corpus = c};
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

/* What does recall take here?  Measured while nobody knows of the file; on the queries that judged
 * where others taught, since those that taught find their answers too easily: unless they are too
 * few. */
static vq_status tune(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->plan.model;
    vq_file *f = NULL;
    float *rows = NULL;
    size_t n = 0, nq = b->opts->nqueries > 0 ? b->queries.n : 0; /* vectors that stand in: none */
    size_t judges = nq > 0 ? vq_judges(nq) : 0;
    bool taught = nq >= JUDGES_MIN;
    if (judges < JUDGES_MIN) judges = nq;
    vq_tune_job job = {.queries = taught ? b->queries.x + (nq - judges) * m->d : NULL,
                       .nq = judges,
                       .threads = b->plan.threads,
                       .ticker = &b->ticker};
    if (vq_tune_hindrance(m, taught) != NULL) return VQ_OK;
    VQ_TRY(vq_store_pause(b->store, err));
    VQ_TRY(vq_file_open_private(&f, vq_store_temp(b->store), err));
    VQ_TRY(vq_tune_file(f, &job, &rows, &n, err));
    vq_file_close(f);
    f = NULL;
    VQ_TRY(vq_store_resume(b->store, err));
    if (n > 0) VQ_TRY(vq_tune_write(rows, n, b->store, err));
    VQ_TRY(vq_tick(&b->ticker, "tune", n, n, err));
out:
    vq_file_close(f);
    vq_mem_free(rows);
    return rc;
}

/* Copies wait in memory of their own, in proportion to their bytes, until vectors have places. */
static vq_status begin_writers(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &b->plan.model;
    size_t code = m->shape.code_bytes + VQ_REC_CODE, row = m->shape.row_bytes;
    size_t memory = b->plan.memory, share = b->plan.copies ? memory * code / (2 * code + row) : 0;
    VQ_TRY(vq_list_writer_init(&b->writer, m, false, b->path, memory - share, err));
    if (b->plan.copies) VQ_TRY(vq_list_writer_init(&b->copies, m, true, b->path, share, err));
out:
    return rc;
}

static vq_status write_copies(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &b->plan.model;
    m->copies = vq_list_writer_count(&b->copies);
    if (m->copies == 0) goto out;
    m->format = VQ_MAX(m->format, VQ_FORMAT_COPIES);
    VQ_TRY(vq_idmap_expect_copies(&b->idmap, err));
    VQ_TRY(vq_list_writer_flush(&b->copies, b->store, &b->idmap, &b->ticker, err));
    vq_plan_note(&b->plan, "copies of %.0f %% of the vectors",
                 100.0 * (double)m->copies / (double)m->n);
out:
    return rc;
}

static vq_status write_attributes(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &b->plan.model;
    if (!vq_doc_build_any(&b->docs)) goto out;
    VQ_TRY(vq_doc_build_write(&b->docs, &b->idmap, b->store, vq_chunk_capacity(&m->shape), err));
    if (b->docs.docs.nedits > 0) m->format = VQ_FORMAT_DOCUMENTS;
out:
    return rc;
}

/* How far the vectors lie from the centroids of their lists, in all.  To a model that was trained
 * on others they have come later. */
static void note_spread(vq_plan *p, double far)
{
    vq_model *m = &p->model;
    float mean = vq_mean_of(far, m->n);
    if (!p->adopted) {
        m->spread = mean;
        return;
    }
    m->added = m->n;
    m->added_spread = mean;
    if (m->n < m->nlist) m->format = VQ_MAX(m->format, VQ_FORMAT_CHANGED);
}

static vq_status write_all(build *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    double far = 0.0;
    if (learns(b)) VQ_TRY(learn(b, err));
    vq_model_derive(&b->plan.model, vq_store_value_min(b->store));
    b->plan.model.row_chunk = vq_row_chunk_choose(&b->plan.model.shape);
    if (b->plan.model.row_chunk != 0) b->plan.model.format = VQ_FORMAT_DOCUMENTS;
    vq_model_derive(&b->plan.model, vq_store_value_min(b->store));
    VQ_TRY(vq_model_write(&b->plan.model, b->store, err));
    VQ_TRY(begin_writers(b, err));
    vq_encode_job job = {.src = b->src,
                         .model = &b->plan.model,
                         .threads = b->plan.threads,
                         .block = b->block,
                         .rows = b->rows,
                         .ticker = &b->ticker,
                         .phase = "encode",
                         .writer = &b->writer,
                         .copies = b->plan.copies ? &b->copies : NULL,
                         .corpus = b->corpus.codes != NULL ? &b->corpus : NULL,
                         .far = b->corpus.codes != NULL ? NULL : &far,
                         .known = b->corpus.codes != NULL};
    VQ_TRY(vq_encode_all(&job, err));
    if (!job.known) note_spread(&b->plan, far);
    VQ_TRY(vq_list_writer_flush(&b->writer, b->store, &b->idmap, &b->ticker, err));
    if (b->plan.copies) VQ_TRY(write_copies(b, err));
    VQ_TRY(vq_idmap_write(&b->idmap, b->store, err));
    VQ_TRY(write_attributes(b, err));
    VQ_TRY(vq_meta_write(&b->plan.model, b->store, err));
    if (b->opts->no_tune == 0) VQ_TRY(tune(b, err));
    VQ_TRY(vq_tick(&b->ticker, "sync", 0, 0, err));
    VQ_TRY(vq_store_finish(b->store, err));
out:
    return rc;
}

vq_status vq_build_file(const char *path, vq_source *src, const vq_build_opts *opts, vq_file *model,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    build b = {.path = path,
               .src = src,
               .opts = opts,
               .claim = -1,
               .ticker = {.fn = opts->progress, .ctx = opts->progress_ctx}};
    if (opts->force != 0) VQ_TRY(vq_change_claim(&b.claim, path, VQ_CHANGE_WAIT_MS, err));
    VQ_TRY(vq_stored_newest(src, path, err)); /* it stays so from here on */
    if (model != NULL) VQ_TRY(vq_shard_open(&b.given, model, err));
    VQ_TRY(vq_store_create(&b.store, path, opts->force != 0, err));
    vq_team_blas_enter();
    rc = train(&b, err);
    if (rc == VQ_OK) rc = write_all(&b, err);
    vq_team_blas_leave();
out:
    vq_list_writer_fini(&b.writer);
    vq_list_writer_fini(&b.copies);
    vq_idmap_fini(&b.idmap);
    vq_doc_build_fini(&b.docs);
    vq_fitted_fini(&b.fitted);
    vq_corpus_fini(&b.corpus);
    vq_mem_free(b.sample);
    vq_mem_free(b.sample_at);
    vq_taught_fini(&b.part);
    vq_mem_free(b.queries.x);
    vq_mem_free(b.queries.own);
    vq_mem_free(b.skipped);
    vq_mem_free(b.rows);
    vq_mem_free(b.numbers);
    vq_mem_free(b.wide);
    vq_teacher_fini(&b.teacher);
    vq_pair_lists_fini(&b.positives);
    vq_hasher_free(b.hasher);
    vq_store_free(b.store);
    vq_shard_close(&b.given);
    vq_change_unclaim(b.claim);
    return rc;
}
