/* SPDX-License-Identifier: Apache-2.0 */
/* brief.c -- see brief.h. */
#include "index/brief.h"

#include <math.h>
#include <string.h>

enum { LITTLE = 2 }; /* blur's share of a squared error is one in so many */

/* The queries' matrix while it becomes bytes. */
typedef struct turning {
    vq_bytemat first, second; /* second: what first lacks in its first rows */
    void *memory[2];          /* owned */
    bool measured;            /* what bytes are off by */
    double *blur;             /* rows: mean square of that; owned */
} turning;

/* Of bytes that stand for x: a byte is off by up to half a step, evenly, but where training has
 * made numbers of a matrix that bytes can be. */
static void note_blur(turning *t, const vq_bytemat *a, const float *x)
{
    for (size_t i = 0; i < a->rows; i++, x += a->d) {
        double step = (double)a->step[i], sq = 0.0;
        t->blur[i] = step * step / 12.0;
        if (!t->measured) continue;
        for (size_t j = 0; j < a->d; j++) {
            double off = (double)x[j] - (double)a->low[i] - step * (double)a->a[i * a->stride + j];
            sq += off * off;
        }
        t->blur[i] = sq / (double)a->d;
    }
}

/* Adds to squares (d_code) the mean ones of the centroids' coordinates. */
static void add_centroids(const vq_model *m, float *squares)
{
    size_t d = m->d_code;
    for (size_t l = 0; l < m->nlist; l++)
        for (size_t j = 0; j < d; j++) {
            float c = m->centroids[l * d + j];
            squares[j] += c * c / (float)m->nlist;
        }
}

/* Rows that need a second byte: a product is with a centroid and a residual, and a query, less the
 * mean, is typically as long as these. */
static vq_status second_rows(const turning *t, const vq_model *m, size_t *rows, vq_error *err)
{
    vq_status rc = VQ_OK;
    double blurred = 0.0, all = 0.0;
    float *squares = NULL;
    *rows = 0;
    if (m->codec->squares == NULL || t->first.rows == 0) goto out;
    squares = vq_alloc_f32(1, m->d_code);
    VQ_REQUIRE(squares != NULL, VQ_ENOMEM, "searcher: %u dimensions", m->d_code);
    double error = (double)m->codec->squares(&m->code, squares);
    add_centroids(m, squares);
    for (size_t j = 0; j < m->d_code; j++) all += (double)squares[j];
    double most = error / LITTLE / all;
    for (*rows = t->first.rows; *rows > 0; --*rows) {
        blurred += (double)squares[*rows - 1] * t->blur[*rows - 1];
        if (blurred > most) break;
    }
out:
    vq_mem_free(squares);
    return rc;
}

/* What first lacks of the matrix's first rows. */
static vq_status make_second(turning *t, const vq_kernels *k, const float *matrix, size_t rows,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_bytemat *first = &t->first;
    size_t d = first->d;
    float *rest = vq_alloc_f32(rows, d);
    t->memory[1] = vq_mem_alloc(vq_bytemat_size(rows, d), 1);
    VQ_REQUIRE(rest != NULL && t->memory[1] != NULL, VQ_ENOMEM, "searcher: %zu x %zu floats", rows,
               d);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < d; j++)
            rest[i * d + j] = matrix[i * d + j] - first->low[i] -
                              first->step[i] * (float)first->a[i * first->stride + j];
    vq_bytemat_make(&t->second, k, rest, rows, d, t->memory[1]);
    note_blur(t, &t->second, rest);
out:
    vq_mem_free(rest);
    return rc;
}

static vq_status turning_init(turning *t, const vq_model *m, const vq_kernels *k, size_t rows,
                              vq_error *err)
{
    vq_status rc = VQ_OK;
    const float *matrix = m->query_map ? m->query_matrix : m->matrix;
    size_t second;
    *t = (turning){.measured = vq_model_rounded(m)};
    t->first.d = t->second.d = m->d;
    if (rows == 0) goto out;
    t->memory[0] = vq_mem_alloc(vq_bytemat_size(rows, m->d), 1);
    t->blur = vq_mem_alloc(rows, sizeof *t->blur);
    VQ_REQUIRE(t->memory[0] != NULL && t->blur != NULL, VQ_ENOMEM, "searcher: %zu x %u bytes", rows,
               m->d);
    vq_bytemat_make(&t->first, k, matrix, rows, m->d, t->memory[0]);
    if (m->codec->squares != NULL) vq_bytemat_level(&t->first, matrix, t->memory[0]);
    note_blur(t, &t->first, matrix);
    VQ_TRY(second_rows(t, m, &second, err));
    if (second > 0) VQ_TRY(make_second(t, k, matrix, second, err));
out:
    return rc;
}

static void turning_fini(turning *t)
{
    vq_mem_free(t->memory[0]);
    vq_mem_free(t->memory[1]);
    vq_mem_free(t->blur);
}

/* Adds to out what a makes of x. */
static void add_product(const vq_bytemat *a, const float *x, float *out)
{
    for (size_t i = 0; i < a->rows; i++) {
        double sum = 0.0, plain = 0.0;
        for (size_t j = 0; j < a->d; j++) {
            sum += (double)a->a[i * a->stride + j] * (double)x[j];
            plain += (double)x[j];
        }
        out[i] += (float)((double)a->step[i] * sum + (double)a->low[i] * plain);
    }
}

/* What is left of the blur in coordinate j, squared. */
static double left_of(const turning *t, size_t j)
{
    return t->blur != NULL ? t->blur[j] : 0.0;
}

/* ..and in products with centroids. */
static void find_shares(vq_brief *b, const turning *t, const vq_model *m)
{
    size_t d = m->d_code;
    for (size_t l = 0; l < m->nlist; l++) {
        double blurred = 0.0;
        for (size_t j = 0; j < d; j++) {
            double c = (double)m->centroids[l * d + j];
            blurred += c * c * left_of(t, j);
        }
        b->shares[l] = (float)sqrt(blurred);
    }
}

/* ..and with residuals. */
static vq_status find_blur(vq_brief *b, const turning *t, const vq_model *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    double blurred = 0.0, all = 0.0;
    float *squares = vq_alloc_f32(1, m->d_code);
    VQ_REQUIRE(squares != NULL, VQ_ENOMEM, "searcher: %u dimensions", m->d_code);
    (void)m->codec->squares(&m->code, squares);
    for (size_t j = 0; j < m->d_code; j++) {
        all += (double)squares[j];
        blurred += (double)squares[j] * left_of(t, j);
    }
    b->blur = all > 0.0 ? (float)sqrt(blurred / all) : 0.0f;
out:
    vq_mem_free(squares);
    return rc;
}

/* Of the centroids, as many columns (by 64, as they are stored) as it takes for what the others
 * would add to a score to be no more than what bytes blur of it.  A query lies like a centroid and
 * a residual.  Only for l2, where both come from the same vectors. */
static vq_status probe_columns(const vq_model *m, size_t *columns, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = m->d_code, n = m->nlist;
    double blurred = 0.0, left_out = 0.0, all = 0.0;
    float *squares = NULL;
    *columns = d;
    if (m->codec->squares == NULL || m->metric != VQ_METRIC_L2 || n == 0) goto out;
    squares = vq_alloc_f32(2, d); /* of residuals; of centroids */
    VQ_REQUIRE(squares != NULL, VQ_ENOMEM, "searcher: %zu dimensions", d);
    (void)m->codec->squares(&m->code, squares);
    memset(squares + d, 0, d * sizeof *squares);
    add_centroids(m, squares + d);
    for (size_t l = 0; l < n; l++) {
        float lo = 0.0f, hi = 0.0f;
        for (size_t j = 0; j < d; j++) {
            float c = m->centroids[l * d + j];
            lo = VQ_MIN(lo, c), hi = VQ_MAX(hi, c);
        }
        double step = ((double)hi - (double)lo) / 255.0;
        blurred += step * step / (12.0 * (double)n);
    }
    for (size_t j = 0; j < d; j++) all += (double)squares[j] + (double)squares[d + j];
    for (size_t j = d; j-- > 0;) {
        double felt = (double)squares[j] + (double)squares[d + j];
        left_out += felt * (double)squares[d + j];
        if (left_out > blurred * all) {
            *columns = VQ_MIN(vq_round_up(j + 1, VQ_CACHELINE), d);
            break;
        }
    }
out:
    vq_mem_free(squares);
    return rc;
}

/* The first columns of what lists are chosen by. */
static vq_status make_centroids(vq_brief *b, const vq_model *m, const vq_kernels *k, void *memory,
                                vq_error *err)
{
    vq_status rc = VQ_OK;
    float *copy = NULL;
    const float *routes = vq_model_routes(m), *from = routes;
    size_t columns, d = m->d_code;
    VQ_TRY(probe_columns(m, &columns, err));
    if (columns < d) {
        from = copy = vq_alloc_f32(m->nlist, columns);
        VQ_REQUIRE(copy != NULL, VQ_ENOMEM, "searcher: %u x %zu floats", m->nlist, columns);
        for (size_t l = 0; l < m->nlist; l++)
            memcpy(copy + l * columns, routes + l * d, columns * sizeof *copy);
    }
    vq_bytemat_make(&b->centroids, k, from, m->nlist, columns, memory);
out:
    vq_mem_free(copy);
    return rc;
}

/* Mean squares of residuals by coordinate, where codewords or the codec tell of them.  Not for l2,
 * where a query's residual is another in each list. */
static bool find_squares(const vq_model *m, float *squares)
{
    const vq_codec *c = m->codec;
    size_t kk = c->codewords;
    if (m->metric == VQ_METRIC_L2) return false;
    if (c->squares != NULL) {
        (void)c->squares(&m->code, squares);
        return true;
    }
    if (c->books == NULL || c->additive != 0) return false;
    const float *book = m->params + c->books(m->d_code, m->m);
    for (size_t j = 0; j < m->d_code; j++) {
        double sum = 0.0;
        for (size_t i = 0; i < kk; i++) sum += (double)book[j * kk + i] * (double)book[j * kk + i];
        squares[j] = (float)(sum / (double)kk);
    }
    return true;
}

/* Bytes for the parts of a brief, each on a line of the cache. */
static size_t take(size_t *all, size_t bytes)
{
    size_t at = *all;
    *all = bytes < SIZE_MAX / 8 && at < SIZE_MAX / 8 ? vq_round_up(at + bytes, VQ_CACHELINE)
                                                     : SIZE_MAX / 8;
    return at;
}

vq_status vq_brief_make(vq_brief *b, const vq_model *m, const vq_kernels *k, vq_error *err)
{
    vq_status rc = VQ_OK;
    turning t;
    const vq_bytemat *const parts[2] = {&t.first, &t.second};
    size_t rows = m->transform_kind == VQ_TRANSFORM_DENSE ? m->d_code : 0, all = 0;
    size_t code = m->codec->brief_size != NULL ? m->codec->brief_size(m->d_code, m->m) : 0;
    memset(b, 0, sizeof *b);
    VQ_TRY(turning_init(&t, m, k, rows, err));
    b->second = t.second.rows;
    size_t of_matrix = take(&all, vq_bytepanels_size(rows + b->second, m->d));
    size_t of_centroids = take(&all, vq_bytemat_size(m->nlist, m->d_code));
    size_t of_code = take(&all, code), of_centre = take(&all, m->d_code * sizeof(float));
    size_t of_shares = take(&all, m->nlist * sizeof(float));
    bool weighed = m->bars != NULL && m->metric == VQ_METRIC_L2;
    size_t of_weighed = take(&all, weighed ? 2 * sizeof(float) * m->nlist : 0);
    size_t of_squares = take(&all, m->d_code * sizeof(float));
    VQ_REQUIRE(all < SIZE_MAX / 8, VQ_ENOMEM, "searcher: %u lists", m->nlist);
    b->memory = vq_mem_alloc(all, 1);
    VQ_REQUIRE(b->memory != NULL, VQ_ENOMEM, "searcher: %zu bytes of model", all);
    char *at = b->memory;
    if (rows > 0) vq_bytepanels_make(&b->matrix, parts, 2, at + of_matrix);
    if (find_squares(m, (float *)(void *)(at + of_squares)))
        b->squares = (float *)(void *)(at + of_squares);
    if (m->codec->squares != NULL) {
        b->shares = (float *)(void *)(at + of_shares);
        find_shares(b, &t, m);
        VQ_TRY(find_blur(b, &t, m, err));
    }
    if (weighed) {
        b->weighed = (float *)(void *)(at + of_weighed);
        for (size_t l = 0; l < m->nlist; l++)
            m->codec->weigh(&m->code, k, m->centroids + l * m->d_code, b->weighed + 2 * l);
    }
    if (rows > 0 && m->metric == VQ_METRIC_L2 && m->mean != NULL) {
        b->centre = (float *)(void *)(at + of_centre);
        memset(b->centre, 0, m->d_code * sizeof *b->centre);
        add_product(&t.first, m->mean, b->centre);
        add_product(&t.second, m->mean, b->centre);
    }
    VQ_TRY(make_centroids(b, m, k, at + of_centroids, err));
    b->code = m->code;
    if (code > 0) {
        m->codec->brief(&m->code, k, at + of_code);
        b->code.brief = at + of_code;
    }
out:
    turning_fini(&t);
    if (rc != VQ_OK) vq_brief_free(b);
    return rc;
}

void vq_brief_free(vq_brief *b)
{
    vq_mem_free(b->memory);
    memset(b, 0, sizeof *b);
}
