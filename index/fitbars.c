/* SPDX-License-Identifier: Apache-2.0 */
/* fitbars.c -- see fitting.h.  Error bars are made right for those who ask an index: for vectors of
 * the sample, or training queries, that nothing was fitted to, since for those that something was
 * codes err less; and as a search sees them, whose integers err in the same direction for many. */
#include <math.h>

#include "index/fitting.h"
#include "index/nearpairs.h"
#include "index/searcher.h"

enum {
    BLOCK = 256,      /* of those that ask, at a time */
    LEAST_PAIRS = 500 /* of queries: of fewer a tail is a guess, and vectors tell more */
};

typedef struct askers {
    vq_fitting *f;
    vq_transform to_coded; /* in floats */
    vq_shard by;           /* what a search sees them by: a model and its integers */
    bool queries;          /* do they ask, or vectors? */
    size_t n;
    float *y, *seen;   /* n x d_code: in coded space, by floats and by integers */
    float *length;     /* n: what integers were multiplied by */
    float *off;        /* nlist x d_code: what factors take off queries; NULL: centroids */
    vq_arena *scratch; /* one a thread */
    int threads;
} askers;

static vq_status askers_init(askers *a, vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    a->f = f;
    a->queries = f->queries->held * vq_near_pairs_each(m, f->n + f->nask) >= LEAST_PAIRS;
    a->n = a->queries ? f->queries->held : f->nask;
    if (f->queries->held > 0 && !a->queries)
        vq_plan_note(f->p, "error bars by vectors: %zu held-out queries tell too little",
                     f->queries->held);
    a->threads = vq_team((uint32_t)f->p->threads, (a->n + BLOCK - 1) / BLOCK);
    a->to_coded = m->transform;
    if (m->query_map) a->to_coded.matrix = m->query_matrix;
    if (m->metric != VQ_METRIC_L2) a->to_coded.mean = NULL;
    a->by.model = *m;
    a->y = vq_alloc_f32(a->n, m->d_code);
    a->seen = vq_alloc_f32(a->n, m->d_code);
    a->length = vq_alloc_f32(1, a->n);
    a->scratch = vq_mem_calloc((size_t)a->threads, sizeof *a->scratch);
    VQ_REQUIRE(a->y != NULL && a->seen != NULL && a->length != NULL && a->scratch != NULL,
               VQ_ENOMEM, "error bars: %zu queries", a->n);
    for (int i = 0; i < a->threads; i++) vq_arena_init(&a->scratch[i]);
    VQ_TRY(vq_brief_make(&a->by.brief, m, f->k, err));
    if (f->more == NULL) goto out;
    a->off = vq_alloc_f32(m->nlist, m->d_code);
    VQ_REQUIRE(a->off != NULL, VQ_ENOMEM, "error bars: %u lists", m->nlist);
    VQ_TRY(vq_model_see(m, f->k, m->centroids, m->nlist, a->off, NULL, err));
out:
    return rc;
}

static void askers_fini(askers *a)
{
    for (int i = 0; a->scratch != NULL && i < a->threads; i++) vq_arena_fini(&a->scratch[i]);
    vq_mem_free(a->scratch);
    vq_mem_free(a->y);
    vq_mem_free(a->seen);
    vq_mem_free(a->length);
    vq_mem_free(a->off);
    vq_brief_free(&a->by.brief);
}

/* Of n that ask, from the first on, as they came. */
static void take(const askers *a, size_t first, size_t n, float *x)
{
    const vq_fitting *f = a->f;
    const vq_model *m = &f->p->model;
    size_t d = m->d, size = vq_elem_size(f->elem);
    if (a->queries) {
        memcpy(x, f->queries->x + (f->queries->n - a->n + first) * d, n * d * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i++)
        vq_to_f32(f->k, f->elem, f->rows + vq_fit_asker(f, first + i) * d * size, d, x + i * d);
}

static vq_status see_block(void *ctx, size_t task, int worker, vq_error *err)
{
    vq_status rc = VQ_OK;
    askers *a = ctx;
    const vq_model *m = &a->by.model;
    const vq_kernels *k = a->f->k;
    vq_arena *scratch = &a->scratch[worker];
    size_t first = task * BLOCK, n = VQ_MIN(a->n - first, (size_t)BLOCK), d = m->d;
    vq_arena_reset(scratch);
    float *x = vq_arena_take(scratch, n * d, sizeof *x);
    double *wide = vq_arena_take(scratch, d, sizeof *wide);
    void *room = vq_arena_take(scratch, vq_probe_scratch(m), 1);
    VQ_REQUIRE(x != NULL && wide != NULL && room != NULL, VQ_ENOMEM, "error bars: %zu queries", n);
    take(a, first, n, x);
    for (size_t i = 0; i < n; i++) {
        vq_query q = {.q = x + i * d, .y = a->seen + (first + i) * m->d_code, .wide = wide};
        vq_query_prepare(&a->by, k, &q, room);
        double sq = m->metric == VQ_METRIC_L2 ? q.offset : q.q_sq;
        a->length[first + i] = m->metric == VQ_METRIC_COSINE ? 1.0f : (float)sqrt(sq);
    }
    if (m->metric == VQ_METRIC_COSINE) vq_fit_normalize(k, x, n, d);
    vq_transform_many(&a->to_coded, k, x, n, a->y + first * m->d_code);
out:
    return rc;
}

/* Half of what the squared length of a row's residual, were it a vector, is above that of its
 * coordinates. */
static float more_of(const askers *a, vq_near_pair of)
{
    const vq_model *m = &a->by.model;
    size_t d = m->d_code;
    const float *o = a->f->y + of.row * d, *c = m->centroids + of.list * d,
                *off = a->off + of.list * d;
    double more = (double)a->f->more[of.row] - (double)m->biases[of.list];
    for (size_t j = 0; j < d; j++)
        more += 0.5 * (double)c[j] * (double)c[j] + ((double)c[j] - (double)off[j]) * (double)o[j];
    return (float)more;
}

static vq_status find_pairs(const askers *a, const vq_near_pairs *near, vq_code_pair **out,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &a->by.model;
    const vq_brief *brief = &a->by.brief;
    size_t d = m->d_code;
    vq_code_pair *pairs = *out = vq_mem_alloc(VQ_MAX(near->n, (size_t)1), sizeof *pairs);
    VQ_REQUIRE(pairs != NULL, VQ_ENOMEM, "error bars: %zu pairs", near->n);
    for (size_t i = 0; i < near->n; i++) {
        vq_near_pair from = near->pairs[i];
        float length = a->length[from.query];
        pairs[i] = (vq_code_pair){.o = a->f->y + from.row * d,
                                  .q = a->y + from.query * d,
                                  .seen = a->seen + from.query * d,
                                  .centroid = m->centroids + from.list * d,
                                  .off = a->off != NULL ? a->off + from.list * d : NULL,
                                  .less = a->off != NULL ? more_of(a, from) : 0.0f,
                                  .noise = brief->blur * length,
                                  .share = brief->shares != NULL ? brief->shares[from.list] * length
                                                                 : 0.0f};
    }
out:
    return rc;
}

/* Neighbours are of the whole sample: as of the vectors of an index, some of them were learnt from
 * and some not, and of these codes err more.  (Of a sample that is a small part of the index fewer
 * are unknown than there; its lists have rows enough for that to weigh little.) */
vq_status vq_fit_bars(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    vq_near_pairs near = {0};
    vq_code_pair *pairs = NULL;
    askers a = {0};
    VQ_TRY(askers_init(&a, f, err));
    VQ_TRY(vq_team_run(a.threads, (a.n + BLOCK - 1) / BLOCK, see_block, &a, err));
    size_t own = a.queries ? VQ_NEAR_NONE : f->n;
    VQ_TRY(vq_near_pairs_find(m, f->y, f->lists, f->more, f->n + f->nask, a.y, a.n, own,
                              f->p->threads, &near, err));
    VQ_TRY(find_pairs(&a, &near, &pairs, err));
    f->out->bars = vq_mem_calloc(2 * VQ_BAR_WIDTHS, sizeof *f->out->bars);
    VQ_REQUIRE(f->out->bars != NULL, VQ_ENOMEM, "error bars: %d widths", VQ_BAR_WIDTHS);
    VQ_TRY(m->codec->calibrate(m->d_code, m->m, pairs, near.n, m->metric == VQ_METRIC_L2,
                               f->p->threads, f->out->params, f->out->bars, err));
    m->bars = f->out->bars, m->nbars = VQ_BAR_WIDTHS;
    vq_model_derive(m, 0);
out:
    vq_near_pairs_fini(&near);
    vq_mem_free(pairs);
    askers_fini(&a);
    return rc;
}
