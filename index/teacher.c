/* SPDX-License-Identifier: Apache-2.0 */
/* teacher.c -- see teacher.h. */
#include "index/teacher.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "index/teachcache.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/eval/exact.h"

void vq_teacher_fini(vq_teacher *t)
{
    vq_mem_free(t->rows);
    vq_mem_free(t->scores);
    vq_mem_free(t->lowest);
    vq_mem_free(t->labelled);
    vq_mem_free(t->own);
    memset(t, 0, sizeof *t);
}

static vq_status allocate(vq_teacher *t, size_t nq, size_t k, vq_error *err)
{
    t->k = (uint32_t)k;
    t->rows = vq_mem_alloc(nq * k, sizeof *t->rows);
    t->scores = vq_alloc_f32(nq, k);
    if (t->rows != NULL && t->scores != NULL) return VQ_OK;
    return vq_fail(err, VQ_ENOMEM, "teacher: %zu answers to %zu queries", k, nq);
}

/* ---- exact search ---- */

static vq_status search(vq_teacher *t, const vq_class *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t cells = c->queries->n * (size_t)t->k;
    uint64_t *ids = vq_mem_alloc(cells, sizeof *ids);
    vq_exact_opts o = {.metric = c->metric,
                       .k = t->k,
                       .threads = (uint32_t)c->threads,
                       .progress = c->progress,
                       .progress_ctx = c->progress_ctx};
    VQ_REQUIRE(ids != NULL, VQ_ENOMEM, "teacher: %zu queries", c->queries->n);
    VQ_TRY(vq_source_rewind(c->src, err));
    VQ_TRY(vq_exact(c->src, c->queries->x, c->queries->n, &o, ids, t->scores, err));
    for (size_t i = 0; i < cells; i++)
        t->rows[i] = ids[i] != VQ_NO_ID ? vq_vector_of(&c->good, ids[i]) : UINT32_MAX;
out:
    vq_mem_free(ids);
    return rc;
}

static vq_status make_key(vq_teachcache_key *key, const vq_teacher *t, const vq_class *c,
                          const uint8_t base[16], vq_error *err)
{
    vq_hasher *h = vq_hasher_new();
    uint8_t d[4];
    if (h == NULL) return vq_fail(err, VQ_ENOMEM, "teacher: a hash");
    *key = (vq_teachcache_key){.metric = c->metric, .k = t->k, .nq = c->queries->n, .n = c->good.n};
    memcpy(key->base, base, sizeof key->base);
    vq_put_le32(d, c->src->d);
    vq_hasher_add(h, d, sizeof d);
    vq_hasher_add(h, c->queries->x, c->queries->n * c->src->d * sizeof(float));
    vq_hasher_get(h, key->queries);
    vq_hasher_free(h);
    return VQ_OK;
}

size_t vq_answers_without(uint32_t *rows, float *scores, size_t k, uint32_t own)
{
    size_t kept = 0;
    for (size_t j = 0; j < k; j++) {
        if (rows[j] == own) continue;
        rows[kept] = rows[j];
        if (scores != NULL) scores[kept] = scores[j];
        kept++;
    }
    for (size_t j = kept; j < k; j++) rows[j] = UINT32_MAX;
    return kept;
}

/* A query that was made from a vector finds it: no lesson. */
static vq_status leave_own_out(vq_teacher *t, const vq_queries *q, vq_error *err)
{
    vq_status rc = VQ_OK;
    t->own = vq_mem_alloc(q->n, sizeof *t->own);
    VQ_REQUIRE(t->own != NULL, VQ_ENOMEM, "teacher: %zu queries", q->n);
    memcpy(t->own, q->own, q->n * sizeof *t->own);
    for (size_t i = 0; i < q->n; i++)
        (void)vq_answers_without(t->rows + i * t->k, t->scores + i * t->k, t->k, t->own[i]);
out:
    return rc;
}

vq_status vq_teacher_exact(vq_teacher *t, const vq_class *c, const char *cache,
                           const uint8_t base[16], vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_teachcache_key key;
    bool found = false;
    uint64_t most = c->queries->own != NULL ? VQ_TEACHER_K + 1 : VQ_TEACHER_K;
    VQ_TRY(allocate(t, c->queries->n, (size_t)VQ_MIN(c->good.n, most), err));
    if (cache != NULL) {
        VQ_TRY(make_key(&key, t, c, base, err));
        VQ_TRY(vq_teachcache_read(cache, &key, t->rows, t->scores, &found, err));
    }
    if (!found) {
        VQ_TRY(search(t, c, err));
        if (c->queries->own != NULL) VQ_TRY(leave_own_out(t, c->queries, err));
        if (cache != NULL) VQ_TRY(vq_teachcache_write(cache, &key, t->rows, t->scores, err));
    }
    if (c->metric == VQ_METRIC_L2) /* from here on larger is better */
        for (size_t i = 0; i < c->queries->n * (size_t)t->k; i++) t->scores[i] *= -0.5f;
out:
    return rc;
}

/* ---- a given teacher ---- */

/* Can anything be learnt, and judged, by these scores? */
static vq_status check_given(const vq_pair_lists *p, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t scored = 0, told_apart = 0;
    for (size_t q = 0; q < p->nq; q++) {
        size_t first = p->first[q], n = p->first[q + 1] - first;
        scored += n > 0;
        told_apart += n > 0 && p->scores[first] > p->scores[first + n - 1];
    }
    VQ_REQUIRE(
        scored >= 2, VQ_EINVAL,
        "teacher: it scores rows for %zu of the %zu training queries; 2 are the least, since "
        "some teach and some judge",
        scored, p->nq);
    VQ_REQUIRE(told_apart > 0, VQ_EINVAL,
               "teacher: no query has two rows of different scores, so there is no order to learn; "
               "labels alone are qrels");
out:
    return rc;
}

vq_status vq_teacher_given(vq_teacher *t, const vq_pair_lists *pairs, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t nq = pairs->nq, k = 1;
    VQ_TRY(check_given(pairs, err));
    for (size_t q = 0; q < nq; q++) k = VQ_MAX(k, pairs->first[q + 1] - pairs->first[q]);
    VQ_TRY(allocate(t, nq, VQ_MIN(k, (size_t)VQ_TEACHER_MOST), err));
    t->lowest = vq_mem_calloc(nq, sizeof *t->lowest);
    VQ_REQUIRE(t->lowest != NULL, VQ_ENOMEM, "teacher: %zu queries", nq);
    for (size_t q = 0; q < nq; q++) {
        size_t first = pairs->first[q], n = VQ_MIN(pairs->first[q + 1] - first, (size_t)t->k);
        for (size_t j = 0; j < t->k; j++) {
            t->rows[q * t->k + j] = j < n ? pairs->rows[first + j] : UINT32_MAX;
            t->scores[q * t->k + j] = j < n ? pairs->scores[first + j] : 0.0f;
        }
        if (n > 0) t->lowest[q] = pairs->scores[first + n - 1];
    }
out:
    return rc;
}

/* ---- labels ---- */

typedef struct labels { /* of one query; rising, since they have no scores */
    const uint32_t *rows;
    size_t n;
} labels;

static labels labels_of(const vq_pair_lists *p, size_t q)
{
    size_t first = p->first[q];
    return (labels){p->rows + first, VQ_MIN(p->first[q + 1] - first, (size_t)VQ_TEACHER_MOST)};
}

static bool is_label(const labels *l, uint32_t row)
{
    return l->n > 0 && bsearch(&row, l->rows, l->n, sizeof row, vq_rows_order) != NULL;
}

/* The rows of query q, n of them: labels, then the others; the rest of the room is filled up. */
static void label_query(const vq_teacher *from, vq_teacher *to, size_t q, labels l)
{
    const uint32_t *rows = from->rows + q * from->k;
    const float *scores = from->scores + q * from->k;
    uint32_t *out = to->rows + q * to->k;
    size_t n = 0, known = 0;
    for (size_t j = 0; j < from->k && rows[j] != UINT32_MAX; j++)
        if (is_label(&l, rows[j])) out[n++] = rows[j];
    known = n;
    for (size_t i = 0; i < l.n && rows[0] != UINT32_MAX; i++) {
        bool again = false;
        for (size_t j = 0; j < known; j++) again |= out[j] == l.rows[i];
        if (!again) out[n++] = l.rows[i];
    }
    to->labelled[q] = (uint32_t)n;
    for (size_t j = 0; j < n; j++) to->scores[q * to->k + j] = scores[0];
    for (size_t j = 0; j < from->k && rows[j] != UINT32_MAX; j++) {
        if (is_label(&l, rows[j])) continue;
        to->scores[q * to->k + n] = scores[j];
        out[n++] = rows[j];
    }
    for (; n < to->k; n++) out[n] = UINT32_MAX, to->scores[q * to->k + n] = 0.0f;
}

vq_status vq_teacher_label(vq_teacher *t, const vq_pair_lists *pairs, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t most = 0;
    vq_teacher to = {0};
    for (size_t q = 0; q < pairs->nq; q++) most = VQ_MAX(most, labels_of(pairs, q).n);
    VQ_TRY(allocate(&to, pairs->nq, t->k + most, err));
    to.labelled = vq_mem_calloc(pairs->nq, sizeof *to.labelled);
    VQ_REQUIRE(to.labelled != NULL, VQ_ENOMEM, "labels of %zu queries", pairs->nq);
    for (size_t q = 0; q < pairs->nq; q++) label_query(t, &to, q, labels_of(pairs, q));
    to.lowest = t->lowest;
    t->lowest = NULL;
    vq_teacher_fini(t);
    *t = to;
    to = (vq_teacher){0};
out:
    vq_teacher_fini(&to);
    return rc;
}

void vq_teacher_drop(vq_teacher *t, vq_queries *queries, size_t d, size_t *dropped)
{
    size_t kept = 0, k = t->k;
    for (size_t q = 0; q < queries->n; q++) {
        if (t->rows[q * k] == UINT32_MAX) continue;
        memmove(t->rows + kept * k, t->rows + q * k, k * sizeof *t->rows);
        memmove(t->scores + kept * k, t->scores + q * k, k * sizeof *t->scores);
        memmove(queries->x + kept * d, queries->x + q * d, d * sizeof *queries->x);
        if (t->lowest != NULL) t->lowest[kept] = t->lowest[q];
        if (t->labelled != NULL) t->labelled[kept] = t->labelled[q];
        kept++;
    }
    *dropped = queries->n - kept;
    queries->n = kept;
}

static void swap(void *base, size_t bytes, size_t a, size_t b)
{
    uint8_t *x = (uint8_t *)base + a * bytes, *y = (uint8_t *)base + b * bytes;
    for (size_t i = 0; i < bytes && a != b; i++) {
        uint8_t byte = x[i];
        x[i] = y[i];
        y[i] = byte;
    }
}

void vq_teacher_part(vq_teacher *t, vq_queries *queries, size_t d, size_t judges)
{
    size_t n = queries->n, k = t->k;
    for (size_t j = judges;
         j-- > 0;) { /* each lies before its place, and those after it are done */
        size_t from = (size_t)((double)(j + 1) * (double)n / (double)judges) - 1;
        size_t to = n - judges + j;
        if (t->rows != NULL) swap(t->rows, k * sizeof *t->rows, from, to);
        if (t->scores != NULL) swap(t->scores, k * sizeof *t->scores, from, to);
        swap(queries->x, d * sizeof *queries->x, from, to);
        if (t->lowest != NULL) swap(t->lowest, sizeof *t->lowest, from, to);
        if (t->labelled != NULL) swap(t->labelled, sizeof *t->labelled, from, to);
        if (t->own != NULL) swap(t->own, sizeof *t->own, from, to);
    }
}
