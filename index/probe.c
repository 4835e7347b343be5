/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c -- from a query as given to the coded space, and to the lists worth reading.  Where the
 * shard has a brief both go by integers. */
#include <math.h>
#include <string.h>

#include "index/searcher.h"

/* prepare: a vector as given, what the brief's rows make of it, and one of 16 bits; probe: scores
 * and hits of all lists, one of 16 bits, and where lists have groups what these need and the lists
 * that they tell of. */
typedef struct rooms { /* of scratch, in bytes */
    size_t scores, hits, search, rows, some, all;
} rooms;

static rooms rooms_of(const vq_model *m)
{
    rooms r = {0};
    size_t n = m->nlist, wide = (size_t)m->d + VQ_MAX((size_t)m->d, 2 * (size_t)m->d_code), all;
    r.scores = vq_round_up((size_t)VQ_MAX(m->d, m->d_code) * sizeof(int16_t), VQ_CACHELINE);
    r.hits = r.scores + vq_round_up(n * sizeof(float), VQ_CACHELINE);
    all = r.hits + n * sizeof(vq_hit);
    if (m->ngroups > 0) {
        r.search = vq_round_up(all, VQ_CACHELINE);
        r.rows = r.search + vq_groups_scratch(n, m->d_code, (size_t)m->ngroups);
        r.some = r.rows + vq_round_up(n * sizeof(uint32_t), VQ_CACHELINE);
        all = r.some + vq_bytemat_some_size(m->d_code);
    }
    r.all = VQ_MAX(all, r.scores + wide * sizeof(float));
    return r;
}

size_t vq_probe_scratch(const vq_model *m)
{
    return rooms_of(m).all;
}

/* What only scores from the codes, and their error bars, need: the term that turns an estimate into
 * a score. */
static double offset_of(const vq_model *m, const vq_kernels *k, const vq_query *x, const float *q)
{
    /* |q - x|^2 = |q - mean|^2 - 2 (product - |x - mean|^2 / 2), vectors less the mean */
    if (m->metric == VQ_METRIC_L2) return k->l2sq_row_f32(x->wide, m->mean, m->d);
    return (double)k->dot_f32(q, m->mean, m->d); /* q.x = q.mean + q.(x - mean) */
}

/* Whether sums over rows of bytes, in double, are all exact.  Of l2 these are of (q - row)^2: with
 * a unit of 2^-10 or more and 2^16 dimensions they stay below 2^53 units squared. */
static bool is_whole(const vq_model *m, const vq_query *x)
{
    const vq_fixed *f = &x->fixed;
    if (m->metric == VQ_METRIC_L2 && !(f->unit >= 0x1p-10f && f->unit <= 1.0f)) return false;
    uint32_t differs = 0;
    for (size_t j = 0; j < m->d; j++) differs |= f->unit * (float)f->x[j] != x->q[j];
    return differs == 0;
}

/* The query as rows are compared with it.  Rows stored scaled are compared as they lie: the query
 * is scaled for l2, the score after. */
static void widen(const vq_shard *s, const vq_kernels *k, vq_query *x, float *work)
{
    const vq_model *m = &s->model;
    double scale = (double)m->store_scale;
    x->unit = m->metric == VQ_METRIC_L2 ? 1.0 / (scale * scale) : 1.0 / scale;
    const float *q = x->q;
    if (m->metric == VQ_METRIC_L2 && scale != 1.0) {
        for (size_t j = 0; j < m->d; j++) {
            x->wide[j] *= scale;
            work[j] = (float)x->wide[j];
        }
        q = work;
    }
    if (s->brief.memory == NULL || x->fixed.x == NULL) return;
    vq_fixed_set(&x->fixed, k, q, m->d);
    x->whole = scale == 1.0 && is_whole(m, x);
}

/* The query as bytes, if that is what it is: they are multiplied faster than 15 bits are. */
static bool as_bytes(const vq_kernels *k, const float *q, size_t d, vq_fixed *f)
{
    float lo = 0.0f, hi = 0.0f;
    int32_t sum;
    k->minmax_f32(q, d, &lo, &hi);
    if (!(lo >= 0.0f && hi <= 255.0f)) return false;
    uint32_t differs = k->quantize_i16(q, d, 1.0f, f->x, &sum) > VQ_FIXED_MOST;
    for (size_t j = 0; j < d; j++) differs |= (float)f->x[j] != q[j];
    if (differs != 0) return false;
    f->unit = 1.0f;
    f->sum = (float)sum;
    return true;
}

/* The query in the coded space by integers: bytes as they are, the mean being taken off behind;
 * anything else less the mean, in 15 bits. */
static void turn_briefly(const vq_brief *b, const vq_kernels *k, const vq_transform *t,
                         const float *q, vq_fixed *fixed, float *work, float *y)
{
    bool bytes = b->centre != NULL && as_bytes(k, q, t->d, fixed);
    if (!bytes) {
        vq_transform_centre(t, q, work);
        vq_fixed_set(fixed, k, work, t->d);
    }
    size_t rows = b->matrix.rows - b->second;
    vq_bytepanels_times(&b->matrix, k, fixed, work);
    vq_bytepanels_put(&b->matrix, work, rows, y);
    for (size_t j = 0; j < b->second; j++) y[j] += work[rows + j];
    for (size_t j = 0; bytes && j < rows; j++) y[j] -= b->centre[j];
}

/* How queries come to the coded space. */
static vq_transform transform_of(const vq_model *m)
{
    vq_transform t = m->transform;
    if (m->metric != VQ_METRIC_L2) t.mean = NULL; /* the query keeps its mean */
    if (m->query_map) t.matrix = m->query_matrix;
    return t;
}

/* The query as it was given, or of length 1, in `copy`. */
static const float *measure(const vq_model *m, const vq_kernels *k, vq_query *x, float *copy)
{
    for (size_t j = 0; j < m->d; j++) x->wide[j] = (double)x->q[j];
    bool squared = m->metric != VQ_METRIC_L2 || m->store != VQ_ELEM_NONE;
    x->q_sq = squared ? k->sq_row_f32(x->q, m->d) : 0.0;
    if (m->metric != VQ_METRIC_COSINE) return x->q;
    float inv = x->q_sq > 0.0 ? (float)(1.0 / sqrt(x->q_sq)) : 0.0f;
    for (size_t j = 0; j < m->d; j++) copy[j] = x->q[j] * inv;
    if (!isfinite(inv)) /* a query of almost nothing has a direction all the same */
        for (size_t j = 0; j < m->d; j++) copy[j] = (float)(x->wide[j] / sqrt(x->q_sq));
    return copy;
}

void vq_query_prepare(const vq_shard *s, const vq_kernels *k, vq_query *x, void *scratch)
{
    const vq_model *m = &s->model;
    vq_fixed fixed = {.x = scratch};
    float *copy = (float *)(void *)((char *)scratch + rooms_of(m).scores), *work = copy + m->d;
    const vq_transform t = transform_of(m);
    const float *q = measure(m, k, x, copy);
    if (x->y != NULL && s->brief.matrix.rows > 0)
        turn_briefly(&s->brief, k, &t, q, &fixed, work, x->y);
    else if (x->y != NULL)
        vq_transform_one(&t, k, q, work, x->y);
    if (s->brief.memory == NULL || m->codec->bar != NULL) x->offset = offset_of(m, k, x, q);
    widen(s, k, x, work);
}

/* A coordinate in bytes is off by up to half a step, evenly: the sum has this standard deviation
 * for a step of 1.  Where two lists are compared, a difference of four is decided. */
static float spread_of(const vq_kernels *k, const float *y, size_t d)
{
    return 4.0f * sqrtf(k->dot_f32(y, y, d) / 12.0f);
}

/* From products with lists to scores. */
static void weigh(const vq_shard *s, const uint32_t *rows, size_t n, float *scores)
{
    const float *biases = s->model.biases;
    for (size_t i = 0; i < n; i++) scores[i] -= biases[rows != NULL ? rows[i] : i];
    for (size_t i = 0; rows == NULL && i < s->vacant.n; i++)
        scores[s->vacant.lists[i]] = VQ_VACANT_SCORE;
}

/* Scores of lists (rows, n; NULL: of all) by bytes, if there are any. */
static void score(const vq_shard *s, const vq_kernels *k, const vq_query *x, const uint32_t *rows,
                  size_t n, char *scratch, float *scores)
{
    const vq_model *m = &s->model;
    const float *routes = vq_model_routes(m);
    const vq_bytemat *bytes = &s->brief.centroids;
    size_t d = m->d_code;
    bool briefly = s->brief.memory != NULL;
    vq_fixed fixed = {.x = (int16_t *)(void *)scratch};
    if (briefly) vq_fixed_set(&fixed, k, x->y, bytes->d);
    if (briefly && rows == NULL)
        vq_bytemat_times(bytes, k, &fixed, scores);
    else if (briefly)
        vq_bytemat_some(bytes, k, &fixed, rows, n, scratch + rooms_of(m).some, scores);
    else if (rows == NULL)
        k->matvec_f32(routes, n, d, d, x->y, scores);
    else
        for (size_t i = 0; i < n; i++)
            scores[i] = k->dot_f32(x->y, routes + (size_t)rows[i] * d, d);
    weigh(s, rows, n, scores);
}

void vq_query_scores(const vq_shard *s, const vq_kernels *k, const vq_query *x, void *scratch,
                     float *scores)
{
    score(s, k, x, NULL, s->model.nlist, scratch, scores);
}

/* Of n lists with their scores those that may be among the best nprobe, into hits (room for all),
 * not sorted.  Scores by bytes that do not decide are made anew in floats; but where the bytes are
 * not of all columns they decide, and where further lists may follow, since these go by bytes, too.
 * Returns how many. */
static size_t choose(const vq_shard *s, const vq_kernels *k, const vq_query *x, uint32_t nprobe,
                     const uint32_t *rows, size_t n, const float *scores, vq_hit *hits)
{
    const vq_model *m = &s->model;
    size_t d = m->d_code, left = 0;
    const float *step = s->brief.centroids.step;
    bool closer = s->brief.memory != NULL && s->brief.centroids.d == d && x->rest == NULL;
    float spread = closer ? spread_of(k, x->y, d) : 0.0f, least = k->kth_f32(scores, n, nprobe);
    for (size_t i = 0; i < n; i++) {
        size_t l = rows != NULL ? rows[i] : i;
        hits[left] = (vq_hit){.score = scores[i], .id = l};
        left += scores[i] >= (closer ? least - spread * step[l] : least);
    }
    for (size_t i = 0; i < left && left > nprobe && closer; i++) {
        size_t l = hits[i].id;
        if (hits[i].score > least + spread * step[l]) continue;
        hits[i].score = k->dot_f32(x->y, vq_model_routes(m) + l * d, d) - m->biases[l];
    }
    return left;
}

/* Fewer than nprobe: no scores of numbers. */
static size_t choose_grouped(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                             uint32_t nprobe, char *scratch, vq_hit *hits)
{
    vq_group_rule rule;
    size_t want = vq_model_want(&s->model, nprobe, &rule);
    rooms r = rooms_of(&s->model);
    float *scores = (float *)(void *)(scratch + r.scores);
    uint32_t *rows = (uint32_t *)(void *)(scratch + r.rows);
    size_t n = vq_groups_find(&s->groups, k, rule, x->y, want, scratch + r.search, rows);
    if (n < nprobe) return 0;
    score(s, k, x, rows, n, scratch, scores);
    return choose(s, k, x, nprobe, rows, n, scores, hits);
}

/* All lists that hold anything, in no order: there is nothing to choose.  One, if none does. */
static void take_all(const vq_shard *s, vq_query *x, const float *scores)
{
    const vq_vacant *v = &s->vacant;
    uint32_t n = 0, past = 0; /* vacant ones rise, as these do */
    for (uint32_t l = 0; l < s->model.nlist; l++) {
        x->lists[n] = (vq_hit){.score = scores[l], .id = l};
        if (past < v->n && v->lists[past] == l)
            past++;
        else
            n++;
        if (n == vq_shard_live(s)) break;
    }
    x->nlists = VQ_MAX(n, 1u);
    x->sorted = 0;
}

void vq_query_probe(const vq_shard *s, const vq_kernels *k, vq_query *x, uint32_t nprobe,
                    bool in_order, void *scratch)
{
    const vq_model *m = &s->model;
    rooms r = rooms_of(m);
    float *scores = x->rest != NULL ? x->rest : (float *)(void *)((char *)scratch + r.scores);
    vq_hit *hits = (vq_hit *)(void *)((char *)scratch + r.hits);
    size_t n = 0;
    if (nprobe == vq_shard_live(s) && !in_order && x->rest == NULL) {
        score(s, k, x, NULL, m->nlist, scratch, scores);
        take_all(s, x, scores);
        return;
    }
    if (x->rest == NULL && vq_shard_grouped(s, nprobe))
        n = choose_grouped(s, k, x, nprobe, scratch, hits);
    if (n < nprobe) {
        score(s, k, x, NULL, m->nlist, scratch, scores);
        n = choose(s, k, x, nprobe, NULL, m->nlist, scores, hits);
    }
    if (VQ_UNLIKELY(n < nprobe)) /* scores that are no numbers: a model that is none */
        for (n = 0; n < m->nlist; n++) hits[n] = (vq_hit){.score = scores[n], .id = n};
    if (in_order)
        vq_hits_sort(hits, n);
    else
        vq_hits_select(hits, n, nprobe);
    memcpy(x->lists, hits, nprobe * sizeof *hits);
    x->nlists = nprobe;
    x->sorted = in_order ? nprobe : 0;
    for (size_t i = 0; x->rest != NULL && i < n; i++)
        x->rest[hits[i].id] = i < nprobe ? NAN : hits[i].score;
}

size_t vq_probe_together_scratch(const vq_model *m)
{
    size_t each = vq_round_up(VQ_MAX((size_t)m->d, (size_t)m->nlist), VQ_CACHELINE);
    return vq_round_up(vq_probe_scratch(m), VQ_CACHELINE) +
           VQ_PROBE_TOGETHER * each * sizeof(float);
}

void vq_queries_probe_all(const vq_shard *s, const vq_kernels *k, vq_query *x, size_t n,
                          void *scratch)
{
    const vq_model *m = &s->model;
    const vq_transform t = transform_of(m);
    const size_t each = vq_round_up(VQ_MAX((size_t)m->d, (size_t)m->nlist), VQ_CACHELINE);
    char *after = (char *)scratch + vq_round_up(vq_probe_scratch(m), VQ_CACHELINE);
    float *copy = (float *)(void *)((char *)scratch + rooms_of(m).scores), *work = copy + m->d;
    float *products = (float *)(void *)after, *y[VQ_PROBE_TOGETHER], *out[VQ_PROBE_TOGETHER];
    const float *from[VQ_PROBE_TOGETHER];
    for (size_t i = 0; i < n; i++) {
        from[i] = out[i] = products + i * each;
        y[i] = x[i].y;
        if (t.kind != VQ_TRANSFORM_DENSE) {
            vq_query_prepare(s, k, &x[i], scratch);
            continue;
        }
        const float *q = measure(m, k, &x[i], copy);
        vq_transform_centre(&t, q, out[i]);
        x[i].offset = offset_of(m, k, &x[i], q);
        widen(s, k, &x[i], work);
    }
    if (t.kind == VQ_TRANSFORM_DENSE) k->matvecs_f32(t.matrix, t.d_out, t.d, t.d, from, n, y);
    for (size_t i = 0; i < n; i++) from[i] = y[i];
    k->matvecs_f32(vq_model_routes(m), m->nlist, m->d_code, m->d_code, from, n, out);
    for (size_t i = 0; i < n; i++) {
        weigh(s, NULL, m->nlist, out[i]);
        take_all(s, &x[i], out[i]);
    }
}

vq_status vq_shard_group(vq_shard *s, vq_error *err)
{
    if (s->model.ngroups == 0 || s->groups.memory != NULL) return VQ_OK;
    return vq_grouping_open(&s->groups, &s->model, err);
}

const void *vq_shard_tables(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                            vq_arena *arena)
{
    const vq_code_model *code = s->brief.memory != NULL ? &s->brief.code : &s->model.code;
    return vq_model_tables(&s->model, code, k, x->y, arena);
}
