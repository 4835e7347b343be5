/* SPDX-License-Identifier: Apache-2.0 */
/* quality_run.c -- one index built and measured, each in a child process, by the public API. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/macro/bench.h"
#include "bench/macro/quality.h"
#include "src/base/mem.h"
#include "src/eval/metrics.h"

enum {
    PROBE_QUERIES = 500, /* by which the least nprobe is found */
    DEPTHS = 2,
    BEAT = 60 /* seconds between two lines of progress */
};

const quality_setting quality_settings[SETTINGS] = {
    {"codes", "all lists, codes alone", false, false},
    {"rerank", "all lists, 100 candidates reranked", false, true},
    {"ivf-codes", "lists with .98 of the true ten, codes alone", true, false},
    {"ivf-rerank", "lists with .98 of the true ten, 100 candidates reranked", true, true},
};

/* ---- processes ----------------------------------------------------------------------------- */

void *quality_shared(size_t bytes)
{
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return bench_need(block != MAP_FAILED ? block : NULL);
}

void quality_shared_free(void *block, size_t bytes)
{
    (void)munmap(block, bytes);
}

typedef struct outcome { /* what a child tells of itself */
    vq_status rc;
    vq_error err;
} outcome;

vq_status quality_in_child(quality_job job, void *ctx, double *peak_mb, vq_error *err)
{
    vq_status rc = VQ_OK;
    outcome *told = quality_shared(sizeof *told);
    struct rusage usage;
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    VQ_REQUIRE(pid >= 0, VQ_ENOMEM, "cannot start a process");
    if (pid == 0) {
        told->rc = job(ctx, &told->err);
        (void)fflush(NULL);
        _exit(0);
    }
    VQ_REQUIRE(wait4(pid, &status, 0, &usage) == pid, VQ_EIO, "cannot wait for a process");
    VQ_REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, VQ_ENOMEM,
               "ended by signal %d; was memory short?", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    if (peak_mb != NULL) *peak_mb = (double)usage.ru_maxrss * 1024.0 / 1e6;
    rc = told->rc;
    if (rc != VQ_OK && err != NULL) *err = told->err;
out:
    quality_shared_free(told, sizeof *told);
    return rc;
}

/* ---- building ------------------------------------------------------------------------------ */

typedef struct heart { /* says now and then that a build lives */
    double start, last;
} heart;

typedef struct build_job {
    const quality_data *data;
    const quality_method *method;
    const char *path;
    uint32_t bytes;
    uint64_t seed;
} build_job;

static int beat(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    heart *h = ctx;
    double now = bench_now();
    if (now - h->last < BEAT) return 0;
    h->last = now;
    fprintf(stderr, "  %5.0f s  %s", now - h->start, phase);
    if (total > 0) fprintf(stderr, " %.0f %%", 100.0 * (double)done / (double)total);
    fputc('\n', stderr);
    return 0;
}

/* All that a build is told.  cache: where builds of one data set share the exact answers to the
 * training queries. */
static vq_build_opts build_options(const build_job *job, vq_source *const *queries,
                                   const char *cache, heart *h)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    o.codec = job->method->codec;
    o.rotation = job->method->rotation;
    o.train = job->method->train;
    o.metric = job->data->metric;
    o.code_bytes = job->bytes;
    o.seed = job->seed;
    o.nlist = job->method->nlist != 0 ? job->method->nlist : job->data->nlist;
    o.threads = job->data->threads;
    o.progress = beat;
    o.progress_ctx = h;
    o.force = 1;
    o.no_tune = 1;           /* lists and depths are given */
    o.copies = VQ_COPIES_NO; /* they would be bytes that no column counts */
    if (o.train != VQ_TRAIN_KMEANS) {
        o.queries = queries;
        o.nqueries = job->data->ntrain;
        if (o.nqueries > 0) o.teacher_cache = cache; /* those made of vectors differ by seed */
    }
    return o;
}

static vq_status build(void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    const build_job *job = ctx;
    const quality_data *d = job->data;
    char cache[4096];
    heart h = {bench_now(), bench_now()};
    vq_source *base = NULL;
    vq_source **queries = bench_need(calloc(d->ntrain + 1, sizeof *queries));
    for (size_t i = 0; i < d->ntrain; i++)
        VQ_TRY(vq_source_open_file(&queries[i], d->train[i], 0, err));
    VQ_TRY(vq_source_open_file(&base, d->base, 0, err));
    (void)snprintf(cache, sizeof cache, "%s/%s.teacher", d->work, d->name);
    vq_build_opts opts = build_options(job, queries, cache, &h);
    VQ_TRY(vq_build(job->path, base, &opts, err));
out:
    vq_source_close(base);
    for (size_t i = 0; i < d->ntrain; i++) vq_source_close(queries[i]);
    free(queries);
    return rc;
}

/* ---- measuring ----------------------------------------------------------------------------- */

typedef struct measure_job {
    const quality_data *data;
    const char *path;
    uint32_t guess;     /* of the least nprobe; where to look first */
    quality_index *out; /* shared */
    double *figures;    /* SETTINGS x FIGURES x nq, shared */
} measure_job;

static vq_status search(vq_index *ix, const quality_data *d, const float *queries, size_t nq,
                        uint32_t nprobe, uint32_t rerank, uint32_t k, uint64_t *ids, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_searcher *s = NULL;
    vq_search_opts opts = VQ_SEARCH_OPTS_INIT;
    opts.nprobe = nprobe;
    opts.rerank = rerank;
    opts.threads = d->threads != 0 ? d->threads : (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    VQ_TRY(vq_searcher_open(&s, ix, &opts, err));
    VQ_TRY(vq_search(s, queries, nq, k, ids, NULL, err));
out:
    vq_searcher_close(s);
    return rc;
}

typedef struct prober { /* looks for the least nprobe */
    const quality_data *data;
    vq_index *ix;
    uint32_t n;
    size_t nq; /* every so many-th query, at most PROBE_QUERIES */
    float *queries;
    uint64_t *truth, *ids; /* all three owned */
    uint32_t grid[256];    /* rising: each number up to 16, then steps of a sixteenth, nlist */
    size_t points;
} prober;

static void prober_init(prober *p, const quality_data *d, vq_index *ix, const vq_info *info)
{
    size_t step = (d->nq + PROBE_QUERIES - 1) / PROBE_QUERIES, dim = d->d;
    *p = (prober){.data = d, .ix = ix, .n = (uint32_t)info->n, .nq = (d->nq + step - 1) / step};
    p->queries = bench_need(calloc(p->nq * dim, sizeof *p->queries));
    p->truth = bench_need(calloc(p->nq * QUALITY_K, sizeof *p->truth));
    p->ids = bench_need(calloc(p->nq * QUALITY_K, sizeof *p->ids));
    for (size_t i = 0; i < p->nq; i++) {
        memcpy(p->queries + i * dim, d->queries + i * step * dim, dim * sizeof *p->queries);
        memcpy(p->truth + i * QUALITY_K, d->truth + i * step * QUALITY_K,
               QUALITY_K * sizeof *p->truth);
    }
    for (uint32_t at = 1; at < info->nlist && p->points < 255; at += VQ_MAX(at / 16, 1))
        p->grid[p->points++] = at;
    p->grid[p->points++] = info->nlist;
}

static void prober_fini(prober *p)
{
    free(p->queries);
    free(p->truth);
    free(p->ids);
}

/* Do so many lists hold enough of the true ten?  All their rows are scored in full, so that codes
 * have no say: what is there is found.  (With fewer candidates it would seem that fewer lists do,
 * since it is the far lists whose rows the codes lose.) */
static vq_status holds(prober *p, uint32_t nprobe, bool *enough, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_TRY(search(p->ix, p->data, p->queries, p->nq, nprobe, p->n, QUALITY_K, p->ids, err));
    double held = vq_recall(p->truth, QUALITY_K, QUALITY_K, p->ids, QUALITY_K, QUALITY_K, p->nq);
    *enough = held >= QUALITY_HELD;
out:
    return rc;
}

/* The least nprobe of the grid.  More lists hold more, so it is the one between too few and enough,
 * and the guess says only where to begin: steps away from it double until both are known. */
static vq_status least_nprobe(prober *p, uint32_t guess, uint32_t *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t few = 0, enough = p->points, at = 1, step = 1; /* numbers of points, from 1 */
    bool below = false, above = false;
    while (at < p->points && p->grid[at - 1] < guess) at++;
    while (enough - few > 1) {
        bool held;
        at = VQ_MIN(VQ_MAX(at, few + 1), enough - 1);
        VQ_TRY(holds(p, p->grid[at - 1], &held, err));
        if (held)
            enough = at, above = true;
        else
            few = at, below = true;
        if (below && above)
            at = few + (enough - few) / 2;
        else
            at = held ? at - VQ_MIN(step, at) : at + step;
        step *= 2;
    }
    *out = p->grid[enough - 1];
out:
    return rc;
}

/* Searches in one setting at both depths, since how deep a search looks may depend on k. */
static vq_status measure_setting(const measure_job *job, vq_index *ix, size_t setting,
                                 vq_error *err)
{
    static const uint32_t depths[DEPTHS] = {QUALITY_K, 100};
    vq_status rc = VQ_OK;
    const quality_data *d = job->data;
    uint32_t rerank = quality_settings[setting].rerank ? (uint32_t)QUALITY_RERANK : VQ_NONE;
    double *figures[FIGURES];
    uint64_t *ids = bench_need(calloc(d->nq * 100, sizeof *ids));
    for (size_t f = 0; f < FIGURES; f++)
        figures[f] = job->figures + (setting * FIGURES + f) * d->nq;
    for (size_t i = 0; i < DEPTHS; i++) {
        double start = bench_now();
        VQ_TRY(search(ix, d, d->queries, d->nq, job->out->nprobe[setting], rerank, depths[i], ids,
                      err));
        if (depths[i] == QUALITY_K)
            job->out->us[setting] = 1e6 * (bench_now() - start) / (double)d->nq;
        quality_judge(d, ids, depths[i], figures);
    }
    for (size_t f = 0; f < FIGURES; f++)
        job->out->figure[setting][f] = quality_mean(figures[f], d->nq);
out:
    free(ids);
    return rc;
}

static vq_status measure(void *ctx, vq_error *err)
{
    vq_status rc = VQ_OK;
    measure_job *job = ctx;
    quality_index *out = job->out;
    vq_index *ix = NULL;
    vq_info info = VQ_INFO_INIT;
    prober p = {0};
    uint32_t nprobe;
    VQ_TRY(vq_open(&ix, job->path, 0, err));
    VQ_TRY(vq_index_info(ix, &info, err));
    out->code_bytes = info.code_bytes;
    out->nlist = info.nlist;
    prober_init(&p, job->data, ix, &info);
    VQ_TRY(least_nprobe(&p, job->guess != 0 ? job->guess : info.nlist / 8, &nprobe, err));
    for (size_t s = 0; s < SETTINGS; s++) {
        out->nprobe[s] = quality_settings[s].ivf ? nprobe : info.nlist;
        VQ_TRY(measure_setting(job, ix, s, err));
    }
out:
    prober_fini(&p);
    vq_close(ix);
    return rc;
}

/* ---- both ---------------------------------------------------------------------------------- */

static void add_seed(quality_cell *cell, const quality_data *d, const measure_job *job)
{
    cell->seeds = bench_need(realloc(cell->seeds, (cell->nseeds + 1) * sizeof *cell->seeds));
    cell->seeds[cell->nseeds++] = *job->out;
    for (size_t s = 0; s < SETTINGS; s++)
        for (size_t f = 0; f < FIGURES; f++) {
            double **sum = &cell->sum[s][f];
            if (*sum == NULL) *sum = bench_need(calloc(d->nq, sizeof **sum));
            for (size_t i = 0; i < d->nq; i++)
                (*sum)[i] += job->figures[(s * FIGURES + f) * d->nq + i];
        }
}

vq_status quality_measure(const quality_data *d, quality_cell *cell, uint64_t seed, vq_error *err)
{
    static uint32_t guess; /* lists are much alike from one index to the next */
    vq_status rc = VQ_OK;
    char path[4096], lock[4096 + 8];
    size_t bytes = SETTINGS * FIGURES * d->nq * sizeof(double);
    (void)snprintf(path, sizeof path, "%s/quality-%ld.vq", d->work, (long)getpid());
    (void)snprintf(lock, sizeof lock, "%s-lock", path);
    build_job made = {d, cell->method, path, cell->bytes, seed};
    measure_job job = {.data = d, .path = path, .guess = guess};
    job.out = quality_shared(sizeof *job.out);
    job.figures = quality_shared(bytes);
    job.out->seed = seed;
    double start = bench_now();
    VQ_TRY(quality_in_child(build, &made, &job.out->build_mb, err));
    job.out->build_s = bench_now() - start;
    VQ_TRY(quality_in_child(measure, &job, NULL, err));
    guess = job.out->nprobe[SETTINGS - 1];
    add_seed(cell, d, &job);
out:
    (void)unlink(path);
    (void)unlink(lock);
    quality_shared_free(job.figures, bytes);
    quality_shared_free(job.out, sizeof *job.out);
    return rc;
}
