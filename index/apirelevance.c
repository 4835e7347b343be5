/* SPDX-License-Identifier: Apache-2.0 */
/* apirelevance.c -- the public functions about relevance: check arguments, search, hand to
 * relevance.c. */
#include <math.h>
#include <string.h>

#include "index/follow.h"
#include "index/opts.h"
#include "index/pagecheck.h"
#include "index/relevance.h"
#include "index/searcher.h"
#include "src/base/team.h"
#include "src/io/source.h"
#include "src/math/score.h"

enum { BLOCK = 1024 }; /* queries searched at a time */

_Static_assert(offsetof(vq_relevance_opts, progress_ctx) + sizeof(void *) ==
                   sizeof(vq_relevance_opts),
               "no padding after the last field");
_Static_assert(offsetof(vq_relevance, reserved) + sizeof(uint32_t) == sizeof(vq_relevance),
               "no padding after the last field");

static vq_status check_judgements(const vq_judgements *j, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(j != NULL && j->first != NULL && j->first[0] == 0, VQ_EINVAL,
               "relevance: judgements are needed, of query 0 from number 0 on");
    for (uint64_t i = 0; i < j->nq; i++)
        VQ_REQUIRE(j->first[i] <= j->first[i + 1], VQ_EINVAL,
                   "relevance: the judgements of query %llu end before they begin",
                   (unsigned long long)i);
    VQ_REQUIRE(j->first[j->nq] == 0 || (j->ids != NULL && j->grades != NULL), VQ_EINVAL,
               "relevance: ids and grades of judgements are NULL");
out:
    return rc;
}

/* The answers to all queries, nq x depth each. */
static vq_status answer(vq_searcher *s, const float *x, size_t nq, uint32_t depth,
                        vq_ticker *ticker, uint64_t *ids, float *scores, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = s->shards[0].model.d;
    for (size_t done = 0, n; done < nq; done += n) {
        n = VQ_MIN(nq - done, (size_t)BLOCK);
        VQ_TRY(vq_search_run(s, x + done * d, n, depth, ids + done * depth, scores + done * depth,
                             err));
        VQ_TRY(vq_tick(ticker, "search", done + n, nq, err));
    }
out:
    return rc;
}

/* What queries (nq x d) teach of an index, which is to be that file still, into a row of
 * VQ_RELEVANCE_COLS. */
static vq_status learn(vq_index *ix, const vq_file *file, const vq_relevance_opts *o, float *row,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_searcher *s = NULL;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    vq_ticker ticker = {.fn = o->progress, .ctx = o->progress_ctx};
    uint32_t depth = o->depth != 0 ? o->depth : VQ_RELEVANCE_DEPTH;
    float *x = NULL, *scores = NULL;
    uint64_t *ids = NULL;
    size_t nq = 0;
    so.pinned = 1;
    so.threads = (uint32_t)vq_team(o->threads, BLOCK);
    VQ_TRY(vq_searcher_open(&s, ix, &so, err));
    VQ_REQUIRE(s->shards[0].snapshot.file == file, VQ_EBUSY, "%s: it has been replaced",
               vq_file_path(file));
    const vq_model *m = &s->shards[0].model;
    VQ_TRY(vq_sources_read_f32(o->queries, o->nqueries, m->d, &x, &nq, err));
    VQ_REQUIRE(nq == o->judged->nq, VQ_EINVAL, "relevance: %zu queries, judgements of %llu", nq,
               (unsigned long long)o->judged->nq);
    ids = vq_mem_alloc(nq, depth * sizeof *ids);
    scores = vq_mem_alloc(nq, depth * sizeof *scores);
    VQ_REQUIRE(ids != NULL && scores != NULL, VQ_ENOMEM, "relevance: %zu queries", nq);
    VQ_TRY(vq_search_check(s, x, nq, err)); /* of all, so that the number told is theirs */
    VQ_TRY(answer(s, x, nq, depth, &ticker, ids, scores, err));
    vq_relevance_job job = {.ids = ids,
                            .scores = scores,
                            .nq = nq,
                            .depth = depth,
                            .larger = vq_metric_larger(m->metric),
                            .judged = o->judged};
    VQ_TRY(vq_relevance_learn(&job, row, err));
out:
    vq_searcher_close(s);
    vq_mem_free(x);
    vq_mem_free(ids);
    vq_mem_free(scores);
    return rc;
}

/* In one commit. */
static vq_status store(const char *path, vq_file *file, const float *row, size_t value_min,
                       vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t size = vq_array_size(1, VQ_RELEVANCE_COLS, value_min);
    uint8_t *value = vq_mem_alloc(size, 1);
    VQ_REQUIRE(value != NULL, VQ_ENOMEM, "relevance: %zu bytes", size);
    vq_array_write(value, row, 1, VQ_RELEVANCE_COLS, value_min);
    const vq_value put = {VQ_DB_MODEL, VQ_RELEVANCE_KEY, value, size};
    VQ_TRY(vq_file_put(path, file, &put, 1, err));
out:
    vq_mem_free(value);
    return rc;
}

vq_status vq_relevance_calibrate(const char *path, const vq_relevance_opts *opts, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_relevance_opts o;
    vq_index *ix = NULL;
    vq_file *file = NULL;
    float row[VQ_RELEVANCE_COLS];
    size_t value_min = 0;
    VQ_REQUIRE(path != NULL && path[0] != '\0', VQ_EINVAL, "relevance: a path is needed");
    VQ_TRY(vq_opts_import(&o, sizeof o, opts, err));
    VQ_REQUIRE(o.nqueries > 0 && o.queries != NULL, VQ_EINVAL, "relevance: queries are needed");
    VQ_REQUIRE(o.depth == 0 || (o.depth >= 2 && o.depth <= VQ_RELEVANCE_DEPTH_MAX), VQ_EINVAL,
               "relevance: depth %u, expected 2 to %d", o.depth, VQ_RELEVANCE_DEPTH_MAX);
    VQ_TRY(check_judgements(o.judged, err));
    VQ_TRY(vq_open(&ix, path, 0, err));
    VQ_TRY(vq_index_file(ix, &file, err));
    /* LMDB believes the pages that it writes beside */
    VQ_TRY(vq_file_sound(file, &value_min, err));
    rc = learn(ix, file, &o, row, err);
    if (rc == VQ_OK) rc = store(path, file, row, value_min, err);
    if (rc == VQ_EINVAL) rc = vq_fail_context(err, rc, "%s", path);
out:
    vq_file_close(file);
    vq_close(ix);
    return rc;
}

vq_status vq_relevance_info(vq_index *ix, vq_relevance *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard shard = {0};
    VQ_REQUIRE(ix != NULL && out != NULL, VQ_EINVAL, "relevance: an index and a struct are needed");
    VQ_TRY(vq_index_shard(ix, &shard, err));
    VQ_REQUIRE(shard.model.relevance != NULL, VQ_ENOENT, "%s: it is not calibrated",
               vq_file_path(shard.snapshot.file));
    vq_relevance r = vq_relevance_of(shard.model.relevance);
    VQ_TRY(vq_opts_export(out, &r, sizeof r, err));
out:
    vq_shard_close(&shard);
    return rc;
}

/* One query: `deep` answers, of which the first k that are relevant enough go out. */
static void cut(const float *row, bool larger, uint32_t k, float least, size_t deep,
                const uint64_t *all, const float *of_all, float *p, uint64_t *ids, float *scores,
                float *relevance)
{
    size_t n = 0;
    while (n < deep && all[n] != VQ_NO_ID) n++;
    vq_relevance_apply(row, of_all, n, larger, p);
    for (uint32_t i = 0; i < k; i++) {
        bool kept = i < n && p[i] >= least;
        ids[i] = kept ? all[i] : VQ_NO_ID;
        if (scores != NULL) scores[i] = kept ? of_all[i] : NAN;
        if (relevance != NULL) relevance[i] = kept ? p[i] : NAN;
    }
}

vq_status vq_search_relevant(vq_searcher *s, const float *q, size_t nq, uint32_t k, float least,
                             uint64_t *ids, float *scores, float *relevance, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t *all = NULL;
    float *of_all = NULL, *p = NULL;
    size_t cells;
    VQ_REQUIRE(s != NULL, VQ_EINVAL, "search: no searcher");
    VQ_REQUIRE(least >= 0.0f && least <= 1.0f, VQ_EINVAL,
               "search: a relevance of %g, expected 0 to 1", (double)least);
    VQ_REQUIRE(s->nshards == 1, VQ_EUNSUPPORTED,
               "search: relevance was learnt for one index, and %zu are searched", s->nshards);
    VQ_REQUIRE(nq == 0 || (q != NULL && ids != NULL), VQ_EINVAL, "search: no queries or no ids");
    VQ_TRY(vq_search(s, NULL, 0, k, NULL, NULL, err)); /* moves on to the newest snapshot */
    VQ_REQUIRE(vq_mul_size(nq, k, &cells) && vq_mul_size(cells, sizeof *ids, &cells), VQ_EINVAL,
               "search: %zu queries with %u results each", nq, k);
    VQ_TRY(vq_search_check(s, q, nq, err)); /* before the first answer is written */
    const vq_model *m = &s->shards[0].model;
    VQ_REQUIRE(m->relevance != NULL, VQ_EUNSUPPORTED,
               "%s: it is not calibrated, so nobody knows what is relevant; vq calibrate learns it "
               "from judged queries",
               vq_file_path(s->shards[0].snapshot.file));
    const float *row = m->relevance;
    bool larger = vq_metric_larger(m->metric);
    size_t d = m->d, deep = VQ_MAX((size_t)k, (size_t)vq_relevance_of(row).depth);
    all = vq_mem_alloc(VQ_MIN(nq, (size_t)BLOCK), deep * sizeof *all);
    of_all = vq_mem_alloc(VQ_MIN(nq, (size_t)BLOCK), deep * sizeof *of_all);
    p = vq_mem_alloc(deep, sizeof *p);
    VQ_REQUIRE(all != NULL && of_all != NULL && p != NULL, VQ_ENOMEM, "search: %zu answers", deep);
    for (size_t done = 0, n; done < nq; done += n) { /* all of that one snapshot */
        n = VQ_MIN(nq - done, (size_t)BLOCK);
        VQ_TRY(vq_search_run(s, q + done * d, n, (uint32_t)deep, all, of_all, err));
        for (size_t i = 0; i < n; i++) {
            size_t at = (done + i) * k;
            cut(row, larger, k, least, deep, all + i * deep, of_all + i * deep, p, ids + at,
                scores != NULL ? scores + at : NULL, relevance != NULL ? relevance + at : NULL);
        }
    }
out:
    vq_mem_free(all);
    vq_mem_free(of_all);
    vq_mem_free(p);
    return rc;
}
