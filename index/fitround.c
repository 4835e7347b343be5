/* SPDX-License-Identifier: Apache-2.0 */
/* fitround.c -- see fitting.h.  What a query is multiplied by becomes whole numbers of few bits,
 * and what vectors are multiplied by makes up for it: products of queries with vectors stay what
 * they were, whatever the rounding, so a search that reads these numbers as bytes or halves of
 * bytes errs by nothing.
 *
 * Let a query's old coordinates be A z (A orthonormal), its new ones (A + E) z.  A vector y then
 * gets, instead of A y, about A y - A E^T A y: what row i is off by along axis j, e, adds e^2 times
 * what residuals vary by along i, v_i, to what they vary by along j, and e^2 times what queries
 * hold along j, s, to what counts along i, which for l2 varies as residuals do.  Where bits are
 * well dealt, codes lose the same everywhere: in units of that, e^2 (v_i / v_j + s_j / v_i).  So
 * the numbers of a row are rounded one after another, each as it makes the least of this with what
 * those before have left; rows that lose too much by few bits, which are those along which vectors
 * vary most, get a byte. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/fitting.h"
#include "src/math/blas.h"
#include "src/train/draw.h"

enum {
    MOST_DIM = 1024, /* beyond it training would take too long */
    SOME = 2048,     /* residuals that tell how much coordinates vary */
    FEW = 15,
    MANY = 255, /* steps from the least number of a row to its greatest */
    BY = 16,    /* rows that come to few bits together */
    CLIPS = 16,
    HALVINGS = 64
};
#define MOST_LOSS 0.06 /* of what codes lose, by rows of few bits */
#define CLIP_STEP 0.04
#define ALIKE     2.0  /* rows along which residuals vary by no more times as much count as one */
#define LEAST     1e-6 /* of the mean variance: who holds less counts as if it held that */
#define RIDGE     1e-3 /* of the mean cost: what is added to each, since costs are sums of floats */

typedef struct rounding {
    vq_fitting *f;
    size_t d;
    float *round;               /* d x d: the queries' matrix, rounded: A + E */
    float *turn;                /* d x d: from old coordinates of vectors to new ones */
    float *work, *gram;         /* d x d */
    double *square, *half;      /* d x d */
    double *vary, *hold, *lost; /* d: v, s; what codes lose */
    bool none;                  /* what has to be inverted cannot be: all stays as it is */
} rounding;

static vq_status rounding_init(rounding *r, vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = f->p->model.d;
    *r = (rounding){.f = f, .d = d};
    r->round = vq_alloc_f32(d, d), r->turn = vq_alloc_f32(d, d);
    r->work = vq_alloc_f32(d, d), r->gram = vq_alloc_f32(d, d);
    r->square = vq_mem_alloc(d, d * sizeof *r->square);
    r->half = vq_mem_alloc(d, d * sizeof *r->half);
    r->vary = vq_mem_calloc(3 * d, sizeof *r->vary);
    VQ_REQUIRE(r->round != NULL && r->turn != NULL && r->work != NULL && r->gram != NULL &&
                   r->square != NULL && r->half != NULL && r->vary != NULL,
               VQ_ENOMEM, "axes: %zu x %zu floats", d, d);
    r->hold = r->vary + d, r->lost = r->hold + d;
out:
    return rc;
}

static void rounding_fini(rounding *r)
{
    vq_mem_free(r->round);
    vq_mem_free(r->turn);
    vq_mem_free(r->work);
    vq_mem_free(r->gram);
    vq_mem_free(r->square);
    vq_mem_free(r->half);
    vq_mem_free(r->vary);
}

/* How much residuals vary along the axes that `turn` makes of theirs, and what queries hold, which
 * are like vectors. */
static vq_status measure(rounding *r, const float *turn, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_fitting *f = r->f;
    const vq_model *m = &f->p->model;
    size_t d = r->d, n = VQ_MIN(f->n, (size_t)SOME);
    float *x = vq_alloc_f32(2 * n, d), *y = vq_alloc_f32(2 * n, d);
    double all = 0.0;
    VQ_REQUIRE(x != NULL && y != NULL, VQ_ENOMEM, "axes: %zu x %zu floats", 2 * n, d);
    for (size_t i = 0; i < n; i++) {
        size_t at = vq_spaced_row(f->n, n, i);
        memcpy(x + i * d, f->y + at * d, d * sizeof *x);
        memcpy(x + (n + i) * d, m->centroids + (size_t)f->lists[at] * d, d * sizeof *x);
    }
    vq_gemm_nt(2 * n, d, d, 1.0f, x, d, turn, d, 0.0f, y, d);
    for (size_t i = 0; i < 2 * n * d; i++) {
        double sq = (double)y[i] * (double)y[i] / (double)n;
        *(i < n * d ? r->vary + i % d : r->hold + i % d) += sq;
        if (i < n * d) all += sq;
    }
    for (size_t j = 0; j < d; j++) {
        r->vary[j] = VQ_MAX(r->vary[j], LEAST * all / (double)d);
        r->hold[j] += r->vary[j];
    }
    r->none = !(all > 0.0);
out:
    vq_mem_free(x);
    vq_mem_free(y);
    return rc;
}

/* What codes lose along each axis, where they lose most of all: the same wherever they have bits,
 * all there is where they have none.  The level of that is what the bits of a code bring it to. */
static void find_lost(rounding *r)
{
    const vq_model *m = &r->f->p->model;
    double bits = 8.0 * m->codec->code_bytes(m->d, m->m), lo = DBL_MAX, hi = 0.0;
    for (size_t j = 0; j < r->d; j++) {
        double all = r->vary[j] * r->vary[j];
        lo = VQ_MIN(lo, all), hi = VQ_MAX(hi, all);
    }
    lo *= exp2(-2.0 * bits / (double)r->d);
    for (int i = 0; i < HALVINGS; i++) {
        double level = sqrt(lo) * sqrt(hi), spent = 0.0;
        for (size_t j = 0; j < r->d; j++)
            spent += 0.5 * log2(VQ_MAX(r->vary[j] * r->vary[j] / level, 1.0));
        *(spent > bits ? &lo : &hi) = level;
    }
    for (size_t j = 0; j < r->d; j++) r->lost[j] = VQ_MIN(r->vary[j] * r->vary[j] / hi, 1.0);
}

/* What a squared error of row i costs along axis j. */
static double cost_of(const rounding *r, size_t i, size_t j)
{
    return r->lost[j] * r->vary[i] / r->vary[j] + r->lost[i] * r->hold[j] / r->vary[i];
}

/* square becomes its lower factor, half the inverse of that, if it has one. */
static void factor_square(rounding *r)
{
    vq_error unused;
    for (size_t j = 0; j < r->d; j++)
        for (size_t t = 0; t < r->d; t++)
            r->square[j * r->d + t] =
                0.5 * ((double)r->gram[j * r->d + t] + (double)r->gram[t * r->d + j]);
    r->none = vq_cholesky(r->square, r->d, r->half, &unused) != VQ_OK;
}

/* half (d x d) becomes upper triangular, U: errors e of a row like row i cost |U e|^2. */
static void find_costs(rounding *r, const float *matrix, size_t i)
{
    size_t d = r->d;
    double trace = 0.0;
    for (size_t j = 0; j < d; j++) {
        float root = (float)sqrt(cost_of(r, i, j));
        for (size_t t = 0; t < d; t++) r->work[j * d + t] = root * matrix[j * d + t];
    }
    vq_gemm_tn(d, d, d, 1.0f, r->work, d, r->work, d, 0.0f, r->gram, d);
    for (size_t j = 0; j < d; j++) trace += (double)r->gram[j * d + j];
    for (size_t j = 0; j < d; j++) r->gram[j * d + j] += (float)(RIDGE * trace / (double)d);
    factor_square(r);
    for (size_t j = 0; j < d; j++)
        for (size_t t = 0; t < d; t++) r->half[j * d + t] = r->square[t * d + j];
}

/* x between low and high as one of `steps` + 1 levels; returns the squared error. */
static double put_levels(const float *x, size_t d, float low, float high, int steps, float *out)
{
    double step = ((double)high - (double)low) / steps, sq = 0.0;
    for (size_t j = 0; j < d; j++) {
        double level = step > 0.0 ? rint(((double)x[j] - (double)low) / step) : 0.0;
        level = VQ_MIN(VQ_MAX(level, 0.0), (double)steps);
        out[j] = (float)((double)low + step * level);
        sq += ((double)x[j] - (double)out[j]) * ((double)x[j] - (double)out[j]);
    }
    return sq;
}

/* Whoever reads the row takes its least number for the first level and its greatest for the last.
 */
static void put_ends(const float *x, size_t d, float low, float high, float *out)
{
    size_t least = 0, most = 0;
    bool has_low = false, has_high = false;
    for (size_t j = 0; j < d; j++) {
        if (x[j] < x[least]) least = j;
        if (x[j] > x[most]) most = j;
        has_low |= out[j] <= low, has_high |= out[j] >= high;
    }
    if (!has_low) out[least] = low;
    if (!has_high) out[most] = high;
}

/* A row of few levels.  Numbers that are far larger than the others are cut off where that loses
 * least; then each, from the last on, is rounded with what those behind it have left.  errors: room
 * for d. */
static void put_few(const rounding *r, const float *x, double *errors, float *out)
{
    float lo, hi;
    double best = INFINITY;
    size_t d = r->d;
    int clip = 0;
    r->f->k->minmax_f32(x, d, &lo, &hi);
    float most = VQ_MAX(-lo, hi);
    for (int i = 0; i < CLIPS; i++) {
        float at = most * (1.0f - (float)CLIP_STEP * (float)i);
        double sq = put_levels(x, d, VQ_MAX(lo, -at), VQ_MIN(hi, at), FEW, out);
        if (sq < best) best = sq, clip = i;
    }
    most *= 1.0f - (float)CLIP_STEP * (float)clip;
    lo = VQ_MAX(lo, -most), hi = VQ_MIN(hi, most);
    double step = ((double)hi - (double)lo) / FEW;
    for (size_t j = d; j-- > 0;) {
        const double *u = r->half + j * d;
        double sum = 0.0;
        for (size_t t = j + 1; t < d; t++) sum += u[t] * errors[t];
        double want = (double)x[j] - sum / u[j];
        double level = step > 0.0 ? rint((want - (double)lo) / step) : 0.0;
        level = VQ_MIN(VQ_MAX(level, 0.0), (double)FEW);
        out[j] = level == FEW ? hi : (float)((double)lo + step * level);
        errors[j] = (double)out[j] - (double)x[j];
    }
    put_ends(x, d, lo, hi, out);
}

typedef struct few_task {
    const rounding *r;
    const float *matrix;
    float *out;     /* BY x d */
    double *errors; /* threads x d */
    size_t first;
} few_task;

static vq_status few_row(void *ctx, size_t task, int worker, vq_error *err)
{
    (void)err;
    const few_task *t = ctx;
    size_t d = t->r->d;
    put_few(t->r, t->matrix + (t->first + task) * d, t->errors + (size_t)worker * d,
            t->out + task * d);
    return VQ_OK;
}

/* What BY rows of few bits, from the first on, lose.  work: 2 x BY x d. */
static double loss_of(const rounding *r, const float *matrix, size_t first, const float *rows,
                      float *work)
{
    size_t d = r->d;
    float *off = work, *along = work + BY * d;
    double loss = 0.0, all = 0.0;
    for (size_t j = 0; j < d; j++) all += r->lost[j];
    for (size_t i = 0; i < BY * d; i++) off[i] = rows[i] - matrix[first * d + i];
    vq_gemm_nt(BY, d, d, 1.0f, off, d, matrix, d, 0.0f, along, d);
    for (size_t i = 0; i < BY; i++)
        for (size_t j = 0; j < d; j++) {
            double e = (double)along[i * d + j];
            loss += e * e * cost_of(r, first + i, j) / all;
        }
    return loss;
}

static int by_loss(const void *a, const void *b)
{
    const double *x = a, *y = b; /* loss, block */
    if (x[0] != y[0]) return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : 1;
}

/* Rounds the queries' matrix, as many rows to few bits as the others will bear: those that lose
 * least. */
static vq_status choose_bits(rounding *r, const float *matrix, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t d = r->d, of = 0, blocks = d / BY;
    double loss = 0.0, (*losses)[2] = vq_mem_alloc(blocks, sizeof *losses);
    int threads = vq_team((uint32_t)r->f->p->threads, BY);
    float *few = vq_alloc_f32(d, d), *work = vq_alloc_f32(2 * BY, d);
    few_task t = {.r = r, .matrix = matrix};
    t.errors = vq_mem_alloc((size_t)threads * d, sizeof *t.errors);
    VQ_REQUIRE(losses != NULL && few != NULL && work != NULL && t.errors != NULL, VQ_ENOMEM,
               "axes: %zu x %zu floats", d, d);
    for (size_t i = 0; i < d; i++) {
        float lo, hi;
        r->f->k->minmax_f32(matrix + i * d, d, &lo, &hi);
        (void)put_levels(matrix + i * d, d, lo, hi, MANY, r->round + i * d);
    }
    for (size_t i = 0; i < blocks; i++) {
        t.first = i * BY, t.out = few + t.first * d;
        if (i == 0 || r->vary[t.first] * ALIKE < r->vary[of]) {
            of = t.first;
            find_costs(r, matrix, of);
            if (r->none) goto out;
        }
        VQ_TRY(vq_team_run(threads, BY, few_row, &t, err));
        losses[i][0] = loss_of(r, matrix, t.first, t.out, work);
        losses[i][1] = (double)i;
    }
    qsort(losses, blocks, sizeof *losses, by_loss);
    for (size_t i = 0; i < blocks; i++) {
        size_t first = (size_t)losses[i][1] * BY;
        loss += losses[i][0];
        if (loss > MOST_LOSS) break;
        memcpy(r->round + first * d, few + first * d, BY * d * sizeof *few);
    }
out:
    vq_mem_free(losses);
    vq_mem_free(few);
    vq_mem_free(work);
    vq_mem_free(t.errors);
    return rc;
}

/* turn: with M = (A + E) A^T the inverse of M^T, by the factor of M M^T. */
static void make_up(rounding *r, const float *matrix)
{
    size_t d = r->d;
    float *m = r->work, *inverse = r->gram, *once = r->turn;
    vq_gemm_nt(d, d, d, 1.0f, r->round, d, matrix, d, 0.0f, m, d);
    vq_gemm_nt(d, d, d, 1.0f, m, d, m, d, 0.0f, r->gram, d);
    factor_square(r);
    if (r->none) return;
    for (size_t i = 0; i < d * d; i++) inverse[i] = (float)r->half[i];
    vq_gemm_nn(d, d, d, 1.0f, inverse, d, m, d, 0.0f, once, d);
    vq_gemm_tn(d, d, d, 1.0f, inverse, d, once, d, 0.0f, m, d);
    memcpy(r->turn, m, d * d * sizeof *m);
}

/* Lengths while coordinates still have them. */
static vq_status note_lengths(vq_fitting *f, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &f->p->model;
    size_t d = m->d_code, n = f->n + f->nask;
    f->more = vq_alloc_f32(1, n);
    VQ_REQUIRE(f->more != NULL, VQ_ENOMEM, "axes: %zu lengths", n);
    for (size_t i = 0; i < n; i++) {
        const float *y = f->y + i * d, *c = m->centroids + (size_t)f->lists[i] * d;
        double sq = 0.0;
        for (size_t j = 0; j < d; j++)
            sq += ((double)y[j] + (double)c[j]) * ((double)y[j] + (double)c[j]);
        f->more[i] = (float)(0.5 * sq);
    }
out:
    return rc;
}

/* The new matrices become those of the model. */
static vq_status keep(rounding *r, float *turn, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &r->f->p->model;
    vq_fitted *out = r->f->out;
    size_t d = r->d, bytes = d * d * sizeof(float);
    out->query_matrix = vq_alloc_f32(d, d);
    VQ_REQUIRE(out->query_matrix != NULL, VQ_ENOMEM, "axes: %zu x %zu floats", d, d);
    VQ_TRY(note_lengths(r->f, err));
    memcpy(out->query_matrix, r->round, bytes);
    vq_gemm_nn(d, d, d, 1.0f, r->turn, d, out->matrix, d, 0.0f, r->work, d);
    memcpy(out->matrix, r->work, bytes);
    vq_gemm_nn(d, d, d, 1.0f, r->turn, d, turn, d, 0.0f, r->work, d);
    memcpy(turn, r->work, bytes);
    m->query_map = 1;
    m->query_matrix = out->query_matrix;
    m->format = vq_format_least(m);
out:
    return rc;
}

vq_status vq_fit_round(vq_fitting *f, float *turn, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &f->p->model;
    const float *matrix = f->out->matrix;
    rounding r = {0};
    if (!vq_model_may_round(m) || f->p->whiten || m->d > MOST_DIM) return VQ_OK;
    VQ_TRY(rounding_init(&r, f, err));
    VQ_TRY(measure(&r, turn, err));
    if (r.none) goto out;
    find_lost(&r);
    VQ_TRY(choose_bits(&r, matrix, err));
    if (!r.none) make_up(&r, matrix);
    if (!r.none) VQ_TRY(keep(&r, turn, err));
out:
    rounding_fini(&r);
    return rc;
}
