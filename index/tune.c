/* SPDX-License-Identifier: Apache-2.0 */
/* tune.c -- see tune.h. */
#include "index/tune.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "index/calibrate.h"
#include "index/pagecheck.h"
#include "index/placed.h"
#include "src/base/bytes.h"
#include "src/eval/exact.h"

enum {
    N_MIN = 2000,        /* vectors: fewer are scanned in a microsecond or two */
    PER_K = 40,          /* vectors for each answer of a measured k */
    QUERIES_MIN = 256,   /* of a budget; what a recall of .95 needs to be known to .01 */
    QUERIES_MOST = 2000, /* known to .003 */
    DEPTH = 512,         /* candidates traced, and 4 more for each answer */
    TRACE_BYTES = 256 << 20,
};

#define WORK 1.5e11 /* multiply-adds of the exact search: seconds */

/* In the price of scanning one code, which is about a nanosecond: finding a list and starting on
 * it; and a row, which is a cache miss or two and its bytes. */
#define LIST_COST     32.0
#define ROW_COST      30.0
#define ROW_BYTE_COST 0.03

static const uint32_t measured_k[] = {1, 3, 10, 30, 100};

typedef struct tuner {
    const vq_tune_job *job;
    vq_file *file;
    vq_shard shard;
    vq_probes probes;
    uint32_t ks[VQ_COUNT(measured_k)];
    size_t nks;
} tuner;

bool vq_tune_needless(const vq_model *m)
{
    return m->n < N_MIN || m->nlist < 2;
}

const char *vq_tune_hindrance(const vq_model *m, bool queries)
{
    if (vq_tune_needless(m)) return "so few vectors are all scanned in no time";
    if (m->store == VQ_ELEM_NONE && !queries)
        return "it stores no rows, so there are no vectors to tune with: give queries (--queries)";
    return NULL;
}

static size_t queries_to_follow(const tuner *t)
{
    const vq_model *m = &t->shard.model;
    double most = WORK / ((double)m->n * m->d);
    most = VQ_MIN(VQ_MAX(most, (double)QUERIES_MIN), (double)QUERIES_MOST);
    if (t->job->max != 0) most = (double)t->job->max;
    double room = (double)TRACE_BYTES / (28.0 * m->nlist + 12.0 * DEPTH);
    size_t n = (size_t)VQ_MAX(VQ_MIN(most, room), 8.0);
    return VQ_MIN(n, t->job->queries != NULL ? t->job->nq : (size_t)(m->n / 2));
}

static void choose_ks(tuner *t)
{
    uint64_t n = t->shard.model.n;
    if (t->job->k != 0) {
        t->ks[t->nks++] = (uint32_t)VQ_MIN((uint64_t)t->job->k, n / 2);
        return;
    }
    for (size_t i = 0; i < VQ_COUNT(measured_k); i++)
        if (measured_k[i] <= 10 || (uint64_t)PER_K * measured_k[i] <= n)
            t->ks[t->nks++] = measured_k[i];
}

/* Stored vectors, drawn by number: list by list, slot by slot. */
static vq_status draw_stored(tuner *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = &t->shard;
    const vq_model *m = &s->model;
    vq_probes *p = &t->probes;
    const vq_kernels *k = vq_kernels_get();
    uint64_t first = 0; /* number of the list's first vector */
    uint32_t list = 0;
    VQ_TRY(vq_shard_load(s, 0, err));
    for (size_t i = 0; i < p->n; i++) {
        uint64_t number = (2 * i + 1) * m->n / (2 * p->n); /* evenly: each list has its share */
        while (number - first >= s->lists[list].n) {
            first += s->lists[list].n;
            list++;
            VQ_REQUIRE(list < m->nlist, VQ_ECORRUPT, "%s: fewer vectors in the lists than %" PRIu64,
                       vq_file_path(t->file), m->n);
            VQ_TRY(vq_shard_load(s, list, err));
        }
        uint64_t place = (uint64_t)list << 32 | (number - first);
        uint32_t slot;
        const uint8_t *row;
        const vq_chunk_view *v = vq_shard_at(s, place, &slot);
        VQ_TRY(vq_shard_row(s, place, &row, err));
        vq_model_widen(m, k, row, p->x + i * m->d);
        p->self[i] = vq_le64(v->labels + 8 * (size_t)slot);
        p->place[i] = place;
    }
out:
    return rc;
}

static vq_status take_queries(tuner *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_tune_job *job = t->job;
    vq_probes *p = &t->probes;
    size_t d = t->shard.model.d;
    p->n = queries_to_follow(t);
    VQ_REQUIRE(p->n >= 8, VQ_EINVAL,
               "%s: %zu queries to tune with; 8 are the least, and hundreds are what serves",
               vq_file_path(t->file), p->n);
    p->x = vq_alloc_f32(p->n, d);
    p->self = vq_mem_alloc(p->n, sizeof *p->self);
    p->place = vq_mem_alloc(p->n, sizeof *p->place);
    VQ_REQUIRE(p->x != NULL && p->self != NULL && p->place != NULL, VQ_ENOMEM, "tune: %zu queries",
               p->n);
    if (job->queries == NULL) {
        VQ_TRY(draw_stored(t, err));
        goto out;
    }
    for (size_t i = 0; i < p->n; i++) {
        memcpy(p->x + i * d, job->queries + i * job->nq / p->n * d, d * sizeof *p->x);
        p->self[i] = p->place[i] = VQ_NO_ID;
    }
out:
    return rc;
}

static int on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase;
    return vq_tick(ctx, "tune", done, total, NULL) == VQ_OK ? 0 : 1;
}

/* The true answers, from the stored rows.  Without any the codes' own are all there is. */
static vq_status find_truth(tuner *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_probes *p = &t->probes;
    vq_source *src = NULL;
    const uint64_t *labels;
    uint32_t most = t->ks[t->nks - 1], k = most + (t->job->queries == NULL);
    uint64_t *found = NULL;
    p->truth_k = most;
    if (t->shard.model.store == VQ_ELEM_NONE) return VQ_OK;
    VQ_TRY(vq_placed_open(&src, &t->shard, &labels, err));
    found = vq_mem_alloc(p->n, (size_t)k * sizeof *found);
    p->truth = vq_mem_alloc(p->n, (size_t)most * sizeof *p->truth);
    VQ_REQUIRE(found != NULL && p->truth != NULL, VQ_ENOMEM, "tune: %zu queries", p->n);
    vq_exact_opts o = {.metric = t->shard.model.metric,
                       .k = k,
                       .threads = (uint32_t)t->job->threads,
                       .ids = labels,
                       .progress = on_progress,
                       .progress_ctx = t->job->ticker};
    VQ_TRY(vq_exact(src, p->x, p->n, &o, found, NULL, err));
    for (size_t i = 0; i < p->n; i++) {
        uint32_t n = 0;
        for (uint32_t j = 0; j < k && n < most; j++)
            if (found[i * k + j] != p->self[i]) p->truth[i * most + n++] = found[i * k + j];
        while (n < most) p->truth[i * most + n++] = VQ_NO_ID;
    }
out:
    vq_mem_free(found);
    vq_source_close(src);
    return rc;
}

static vq_costs costs_of(const vq_model *m)
{
    vq_costs c = {.list = LIST_COST};
    if (m->store != VQ_ELEM_NONE) c.row = ROW_COST + ROW_BYTE_COST * m->shape.row_bytes;
    return c;
}

typedef struct calibration { /* of every number of answers, each for itself; the largest, which
                                takes the longest, first */
    const vq_trace *trace;
    const vq_costs *costs;
    float *rows; /* VQ_LEVELS rows each */
    size_t n[VQ_TRACE_KS];
} calibration;

static vq_status calibrate_one(void *ctx, size_t task, int worker, vq_error *err)
{
    calibration *c = ctx;
    size_t i = c->trace->nk - 1 - task;
    (void)worker;
    return vq_calibrate(c->trace, i, c->costs, c->rows + i * VQ_LEVELS * VQ_TUNE_COLS, &c->n[i],
                        err);
}

/* rows: nks * VQ_LEVELS. */
static vq_status measure(tuner *t, float *rows, size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_trace trace = {0};
    vq_costs costs = costs_of(&t->shard.model);
    calibration c = {.trace = &trace, .costs = &costs, .rows = rows};
    *n = 0;
    VQ_TRY(vq_tick(t->job->ticker, "tune", 0, 0, err));
    VQ_TRY(vq_trace_run(&trace, &t->shard, &t->probes, t->ks, t->nks, DEPTH + 4 * t->ks[t->nks - 1],
                        t->job->threads, err));
    VQ_TRY(vq_tick(t->job->ticker, "tune", 0, 0, err));
    VQ_TRY(vq_team_run(vq_team((uint32_t)t->job->threads, t->nks), t->nks, calibrate_one, &c, err));
    for (size_t i = 0; i < t->nks; *n += c.n[i++]) /* close up */
        memmove(rows + *n * VQ_TUNE_COLS, rows + i * VQ_LEVELS * VQ_TUNE_COLS,
                c.n[i] * VQ_TUNE_COLS * sizeof *rows);
    if (*n > 0) VQ_TRY(vq_relation_check(&(vq_relation){rows, *n, VQ_TUNE_COLS}, err));
out:
    vq_trace_fini(&trace);
    return rc;
}

vq_status vq_tune_file(vq_file *f, const vq_tune_job *job, float **rows, size_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    tuner t = {.job = job, .file = f};
    *rows = NULL;
    VQ_TRY(vq_shard_open(&t.shard, f, err));
    const char *no = vq_tune_hindrance(&t.shard.model, job->queries != NULL);
    VQ_REQUIRE(no == NULL, VQ_EUNSUPPORTED, "%s: it cannot be tuned: %s", vq_file_path(f), no);
    if (t.shard.model.store != VQ_ELEM_NONE) /* as a search has it */
        VQ_TRY(vq_brief_make(&t.shard.brief, &t.shard.model, vq_kernels_get(), err));
    choose_ks(&t);
    VQ_TRY(take_queries(&t, err));
    VQ_TRY(find_truth(&t, err));
    *rows = vq_alloc_f32(t.nks * VQ_LEVELS, VQ_TUNE_COLS);
    VQ_REQUIRE(*rows != NULL, VQ_ENOMEM, "tune: %zu settings", t.nks * VQ_LEVELS);
    VQ_TRY(measure(&t, *rows, n, err));
out:
    vq_probes_fini(&t.probes);
    vq_shard_close(&t.shard);
    if (rc != VQ_OK) {
        vq_mem_free(*rows);
        *rows = NULL;
    }
    return rc;
}

/* ---- a finished index ---- */

/* The array as it is stored, and the size of it; NULL: out of memory. */
static uint8_t *pack(const float *rows, size_t n, size_t value_min, size_t *size)
{
    *size = vq_array_size(n, VQ_TUNE_COLS, value_min);
    uint8_t *value = vq_mem_alloc(*size, 1);
    if (value != NULL) vq_array_write(value, rows, n, VQ_TUNE_COLS, value_min);
    return value;
}

/* The curve, and of how many vectors that have been added it is, in one commit. */
static vq_status store(const char *path, const vq_file *f, const float *rows, size_t n,
                       uint64_t added, size_t value_min, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t size;
    uint8_t when[8 + 24], *curve = pack(rows, n, value_min, &size);
    VQ_REQUIRE(curve != NULL, VQ_ENOMEM, "tune: %zu bytes", size);
    int digits = snprintf((char *)when + 8, sizeof when - 8, "%" PRIu64, added);
    vq_record_seal(when, 8 + (size_t)digits);
    const vq_value values[] = {{VQ_DB_MODEL, VQ_TUNE_KEY, curve, size},
                               {VQ_DB_MODEL, VQ_TUNE_OLD_KEY, NULL, 0}, /* measured no more */
                               {VQ_DB_META, VQ_TUNED_AT_KEY, when, 8 + (size_t)digits}};
    VQ_TRY(vq_file_put(path, f, values, added > 0 ? 3 : 2, err));
out:
    vq_mem_free(curve);
    return rc;
}

vq_status vq_tune_index(const char *path, const vq_tune_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_file *f = NULL;
    vq_shard shard = {0};
    vq_ticker ticker = {.fn = o->progress, .ctx = o->progress_ctx};
    float *x = NULL, *rows = NULL;
    size_t n = 0, value_min = 0, nq = 0;
    VQ_TRY(vq_file_open(&f, path, err));
    VQ_TRY(vq_file_sound(f, &value_min, err)); /* LMDB believes the pages that it writes beside */
    VQ_TRY(vq_shard_open(&shard, f, err));
    uint32_t d = shard.model.d;
    uint64_t added = shard.model.added;
    vq_shard_close(&shard);
    VQ_TRY(vq_sources_read_f32(o->queries, o->nqueries, d, &x, &nq, err));
    VQ_REQUIRE(o->nqueries == 0 || nq > 0, VQ_EINVAL, "%s: there is no query in it",
               o->queries[0]->name);
    vq_tune_job job = {.queries = x,
                       .nq = nq,
                       .max = o->max_queries,
                       .k = o->k,
                       .threads = vq_team(o->threads, 1024),
                       .ticker = &ticker};
    VQ_TRY(vq_tune_file(f, &job, &rows, &n, err));
    VQ_REQUIRE(n > 0, VQ_EUNSUPPORTED,
               "%s: not even half of the answers were found; it is as it was", path);
    VQ_TRY(store(path, f, rows, n, added, value_min, err));
out:
    vq_shard_close(&shard);
    vq_file_close(f);
    vq_mem_free(x);
    vq_mem_free(rows);
    return rc;
}
