/* SPDX-License-Identifier: Apache-2.0 */
/* build.c -- see build.h and building.h.  The source is read twice (three times if it does not tell
 * its length): once for the sample, once to encode. */
#include "index/build.h"

#include "index/adopt.h"
#include "index/building.h"
#include "index/stored.h"
#include "index/trial.h"
#include "index/tune.h"
#include "src/base/team.h"
#include "src/train/kmeans.h"

enum {
    READ_ROWS = 4096,
    READ_BYTES = 8 << 20,
    JUDGES_MIN = 200, /* with fewer all training queries tune */
};

static vq_status make_plan(vq_building *b, uint64_t n, vq_error *err)
{
    uint32_t d = b->src->d, elem = b->src->elem;
    if (b->given.lists == NULL) return vq_plan_make(&b->plan, b->opts, n, d, elem, err);
    return vq_adopt_plan(&b->plan, &b->given.model, vq_file_path(b->given.snapshot.file), b->opts,
                         n, d, elem, err);
}

/* What the plan has left open, now that there is a sample. */
static vq_status choose_codec(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_trial_choice choice;
    VQ_TRY(vq_tick(&b->ticker, "codec", 0, 0, err));
    VQ_TRY(vq_trial_run(&b->plan, b->opts, b->sample, b->src->elem, b->sampled, &choice, err));
    if (choice.codec != NULL)
        VQ_TRY(vq_plan_decide(&b->plan, b->opts, b->src->elem, choice.codec, choice.why, err));
out:
    return rc;
}

static vq_status train(vq_building *b, vq_error *err)
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
    VQ_TRY(vq_build_count(b, &n, err));
    VQ_REQUIRE(n > 0, VQ_ECORRUPT, "%s: no rows; an index needs one vector at least", b->src->name);
    VQ_TRY(make_plan(b, n, err));
    VQ_TRY(vq_build_hash(b, err));
    VQ_TRY(vq_build_sample(b, n, err));
    rc = vq_plan_range(&b->plan, b->largest, err);
    if (rc != VQ_OK) {
        rc = vq_fail_context(err, rc, "%s", b->src->name);
        goto out;
    }
    if (b->plan.trial) VQ_TRY(choose_codec(b, err));
    if (!b->plan.adopted) b->plan.store_scale = vq_stored_scale(b->src);
    VQ_TRY((b->plan.adopted ? vq_adopt_store : vq_plan_store)(&b->plan, b->largest, err));
    /* Before the long work: are the ids right? */
    VQ_TRY(vq_idmap_init(&b->idmap, (size_t)b->plan.model.n, b->skipped, b->nskipped, o->ids,
                         o->names, o->nids, err));
    VQ_TRY(vq_doc_build_init(&b->docs, b->src, o, &b->idmap, b->skipped, b->nskipped, err));
    if (!b->plan.adopted) {
        VQ_TRY(vq_build_hint(b, err));
        VQ_TRY(vq_build_fit(b, err));
    }
    vq_mem_free(b->sample);
    vq_mem_free(b->sample_at);
    b->sample = NULL;
    b->sample_at = NULL;
out:
    return rc;
}

/* What does recall take here?  Measured while nobody knows of the file; on the queries that judged
 * where others taught, since those that taught find their answers too easily: unless they are too
 * few. */
static vq_status tune(vq_building *b, vq_error *err)
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
    if (n > 0) VQ_TRY(vq_tune_write(&(vq_relation){rows, n, VQ_TUNE_COLS}, b->store, err));
    VQ_TRY(vq_tick(&b->ticker, "tune", n, n, err));
out:
    vq_file_close(f);
    vq_mem_free(rows);
    return rc;
}

/* Copies wait in memory of their own, in proportion to their bytes, until vectors have places. */
static vq_status begin_writers(vq_building *b, vq_error *err)
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

static vq_status write_copies(vq_building *b, vq_error *err)
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

static vq_status write_attributes(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &b->plan.model;
    if (!vq_doc_build_any(&b->docs)) goto out;
    VQ_TRY(vq_doc_build_write(&b->docs, &b->idmap, b->store, vq_chunk_capacity(&m->shape), err));
    if (b->docs.docs.nedits > 0) m->format = VQ_MAX(m->format, VQ_FORMAT_DOCUMENTS);
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
    m->added = m->tuned_at = m->n;
    m->added_spread = mean;
    if (m->n < m->nlist) m->format = VQ_MAX(m->format, VQ_FORMAT_CHANGED);
}

static vq_status write_all(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    double far = 0.0;
    if (vq_build_learns(b)) VQ_TRY(vq_build_learn(b, err));
    vq_model_derive(&b->plan.model, vq_store_value_min(b->store));
    b->plan.model.row_chunk = vq_row_chunk_choose(&b->plan.model.shape);
    if (b->plan.model.row_chunk != 0)
        b->plan.model.format = VQ_MAX(b->plan.model.format, VQ_FORMAT_DOCUMENTS);
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
    char *real = NULL;
    vq_building b = {.src = src,
                     .opts = opts,
                     .claim = -1,
                     .ticker = {.fn = opts->progress, .ctx = opts->progress_ctx}};
    VQ_TRY(vq_file_real(path, &real, err));
    b.path = real;
    if (opts->force != 0) VQ_TRY(vq_change_claim(&b.claim, real, VQ_CHANGE_WAIT_MS, err));
    VQ_TRY(vq_stored_newest(src, real, err)); /* it stays so from here on */
    if (model != NULL) VQ_TRY(vq_shard_open(&b.given, model, err));
    VQ_TRY(vq_store_create(&b.store, real, opts->force != 0, err));
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
    vq_mem_free(real);
    return rc;
}
