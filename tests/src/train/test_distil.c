/* SPDX-License-Identifier: Apache-2.0 */
/* Distillation: gradients against differences of a naive loss in doubles, and what training does.
 */
#include "src/train/distil.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/train/adam.h"
#include "tests/harness/harness.h"

/* ---- a random student and random lessons ----------------------------------------------------- */

typedef struct school {
    vq_student s;
    vq_lessons l;
    vq_distil_opts o;
    size_t nbooks;
    float *queries, *teacher, *rows, *offset, *most, *coded;
    uint32_t *docs, *lists, *shared;
    uint8_t *codes;
    size_t *first;
} school;

static void scaled(vq_rng *r, float *x, size_t n, float scale)
{
    fill_normal(r, x, n);
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

static void lessons_of(school *c, vq_rng *r, size_t nq, size_t n, size_t most)
{
    size_t d = c->s.d, at = 0;
    c->queries = vq_alloc_f32(nq, d), c->rows = vq_alloc_f32(nq, d);
    c->offset = vq_alloc_f32(nq, 1), c->teacher = vq_alloc_f32(nq, most);
    c->most = vq_alloc_f32(nq, 1);
    c->docs = vq_mem_alloc(nq * most, sizeof *c->docs);
    c->lists = vq_mem_alloc(n, sizeof *c->lists), c->shared = vq_mem_alloc(nq, sizeof *c->shared);
    c->codes = vq_mem_alloc(n, c->s.m), c->first = vq_mem_alloc(nq + 1, sizeof *c->first);
    scaled(r, c->queries, nq * d, 1.0f), scaled(r, c->rows, nq * d, 0.5f);
    scaled(r, c->offset, nq, 1.0f), scaled(r, c->teacher, nq * most, 1.0f);
    for (size_t i = 0; i < nq; i++) c->most[i] = i % 2 == 0 ? INFINITY : c->offset[i];
    for (size_t i = 0; i < nq; i++) {
        size_t got = i == 1 ? 0 : 1 + (size_t)vq_rng_below(r, most); /* one list is empty */
        uint32_t row = (uint32_t)vq_rng_below(r, n);
        c->first[i] = at;
        for (size_t j = 0; j < got; j++, row = (row + 7) % (uint32_t)n) c->docs[at++] = row;
        c->shared[i] = i % 3 == 0 && got > 0 ? c->docs[at - 1] : (uint32_t)vq_rng_below(r, n);
    }
    c->first[nq] = at;
    c->shared[nq - 1] = c->shared[0]; /* a row that two queries bring, uncompressed alike */
    memcpy(c->rows + (nq - 1) * d, c->rows, d * sizeof *c->rows);
    for (size_t i = 0; i < n; i++)
        c->lists[i] = c->s.nlist > 0 ? (uint32_t)vq_rng_below(r, c->s.nlist) : 0;
    for (size_t i = 0; i < n * c->s.m; i++) c->codes[i] = (uint8_t)vq_rng_below(r, c->s.kk);
    c->coded = vq_alloc_f32(n, d);
    scaled(r, c->coded, n * d, 0.7f);
    c->l = (vq_lessons){.nq = nq,
                        .n = n,
                        .queries = c->queries,
                        .first = c->first,
                        .docs = c->docs,
                        .teacher = c->teacher,
                        .lists = c->lists,
                        .codes = c->codes,
                        .shared = c->shared,
                        .shared_rows = c->rows,
                        .own_offset = c->offset,
                        .own_most = c->most};
}

static school school_new(uint64_t stream, bool additive, size_t nlist, bool map)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), stream);
    school c = {.s = {.d = 12, .m = additive ? 5 : 4, .kk = 16, .nlist = nlist}};
    size_t d = c.s.d;
    c.s.additive = additive;
    c.nbooks = c.s.m * c.s.kk * (additive ? d : d / c.s.m);
    c.s.books = vq_alloc_f32(c.nbooks, 1);
    c.s.centroids = nlist > 0 ? vq_alloc_f32(nlist, d) : NULL;
    c.s.map = map ? vq_alloc_f32(d, d) : NULL;
    scaled(&r, c.s.books, c.nbooks, additive ? 0.2f : 0.5f);
    if (nlist > 0) scaled(&r, c.s.centroids, nlist * d, 0.4f);
    if (map) scaled(&r, c.s.map, d * d, 0.1f);
    for (size_t i = 0; map && i < d; i++) c.s.map[i * d + i] += 1.0f;
    lessons_of(&c, &r, 70, 200, 30);
    c.o = (vq_distil_opts){.temperature = 0.7, .step = 0.004, .epochs = 3, .batch = 32, .seed = 5};
    c.o.learn_lists = nlist > 0;
    c.o.learn_map = map;
    c.o.threads = 1;
    return c;
}

/* The same for distances: lists do not learn. */
static void measure_distances(school *c)
{
    c->l.coded = c->coded;
    c->o.learn_lists = false;
}

static void school_free(school *c)
{
    vq_mem_free(c->s.books), vq_mem_free(c->s.centroids), vq_mem_free(c->s.map);
    vq_mem_free(c->queries), vq_mem_free(c->teacher), vq_mem_free(c->rows);
    vq_mem_free(c->offset), vq_mem_free(c->most), vq_mem_free(c->docs), vq_mem_free(c->lists);
    vq_mem_free(c->shared), vq_mem_free(c->codes), vq_mem_free(c->first);
    vq_mem_free(c->coded);
}

/* ---- the loss again, naively, in doubles ----------------------------------------------------- */

typedef struct naive { /* parameters in doubles: books, centroids, map one after another */
    double *x;
    size_t nbooks, nlists, nmap;
} naive;

static naive naive_new(const school *c)
{
    size_t d = c->s.d;
    naive p = {.nbooks = c->nbooks, .nlists = c->s.nlist * d, .nmap = d * d};
    p.x = vq_mem_alloc(p.nbooks + p.nlists + p.nmap, sizeof *p.x);
    for (size_t i = 0; i < p.nbooks; i++) p.x[i] = (double)c->s.books[i];
    for (size_t i = 0; i < p.nlists; i++) p.x[p.nbooks + i] = (double)c->s.centroids[i];
    for (size_t i = 0; i < d * d; i++)
        p.x[p.nbooks + p.nlists + i] = c->s.map != NULL ? (double)c->s.map[i] : i % (d + 1) == 0;
    return p;
}

static double naive_score(const school *c, const naive *p, const float *query, size_t row)
{
    const vq_student *s = &c->s;
    size_t d = s->d, dsub = d / s->m;
    const double *map = p->x + p->nbooks + p->nlists;
    double sum = 0.0;
    for (size_t i = 0; i < d; i++) {
        double q = 0.0, x = 0.0, off;
        for (size_t k = 0; k < d; k++) q += map[i * d + k] * (double)query[k];
        if (s->nlist > 0) x += p->x[p->nbooks + c->lists[row] * d + i];
        for (size_t j = 0; j < s->m; j++) {
            size_t code = c->codes[row * s->m + j];
            if (s->additive)
                x += p->x[(j * s->kk + code) * d + i];
            else if (i / dsub == j)
                x += p->x[(j * dsub + i % dsub) * s->kk + code];
        }
        sum += q * x;
        off = (double)c->coded[row * d + i] - x;
        if (c->l.coded != NULL) sum -= 0.5 * x * x + 0.3 * off * off;
    }
    return sum;
}

/* ListNet of one query: -sum p_t log p_s + sum p_t log p_t */
static double naive_listnet(const double *t, const double *s, size_t n, double T)
{
    double zt = 0.0, zs = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; i++) zt += exp(t[i] / T), zs += exp(s[i] / T);
    for (size_t i = 0; i < n; i++)
        sum += exp(t[i] / T) / zt * ((t[i] - s[i]) / T - log(zt) + log(zs));
    return sum;
}

static double naive_loss(const school *c, const naive *p, const uint32_t *batch, size_t n)
{
    double sum = 0.0;
    for (size_t b = 0; b < n; b++) {
        double t[200], s[200];
        bool seen[200] = {false};
        size_t i = batch[b], got = 0, d = c->s.d;
        const float *query = c->queries + i * d;
        for (size_t k = c->first[i]; k < c->first[i + 1]; k++) {
            seen[c->docs[k]] = true;
            t[got] = (double)c->teacher[k];
            s[got++] = naive_score(c, p, query, c->docs[k]);
        }
        for (size_t o = 0; o < n; o++) {
            size_t row = c->shared[batch[o]];
            if (seen[row]) continue;
            seen[row] = true;
            t[got] = (double)c->offset[i];
            for (size_t k = 0; k < d; k++) {
                double x = (double)c->rows[batch[o] * d + k];
                t[got] += (double)query[k] * x - (c->l.coded != NULL ? 0.5 * x * x : 0.0);
            }
            t[got] = fmin(t[got], (double)c->most[i]);
            s[got++] = naive_score(c, p, query, row);
        }
        if (got > 0) sum += naive_listnet(t, s, got, c->o.temperature) / (double)n;
    }
    return sum;
}

static void check_gradient_of(school c)
{
    enum { B = 40 };
    size_t nlist = c.l.coded == NULL ? c.s.nlist : 0; /* lists that learn */
    bool map = c.s.map != NULL;
    size_t d = c.s.d, compared = 0;
    naive p = naive_new(&c);
    float *grad = vq_alloc_f32(p.nbooks + p.nlists + p.nmap, 1);
    uint32_t batch[B];
    double loss, size;
    for (uint32_t i = 0; i < B; i++) batch[i] = i < B - 1 ? i : (uint32_t)c.l.nq - 1;
    cr_assert_eq(vq_distil_gradient(&c.s, &c.l, &c.o, batch, B, &loss, grad,
                                    nlist > 0 ? grad + p.nbooks : NULL,
                                    map ? grad + p.nbooks + p.nlists : NULL, NULL),
                 VQ_OK);
    cr_assert_float_eq(loss, naive_loss(&c, &p, batch, B), 1e-5 * loss);
    size_t n = p.nbooks + p.nlists + (map ? d * d : 0);
    for (size_t i = p.nbooks; nlist == 0 && i < p.nbooks + p.nlists; i++) grad[i] = 0.0f;
    size = vq_rms(grad, n);
    cr_assert_gt(size, 1e-5);
    for (size_t i = 0; i < n; i += 1 + i % 11, compared++) {
        if (nlist == 0 && i >= p.nbooks && i < p.nbooks + p.nlists) continue;
        double at = p.x[i], h = 1e-5;
        p.x[i] = at + h;
        double up = naive_loss(&c, &p, batch, B);
        p.x[i] = at - h;
        double want = (up - naive_loss(&c, &p, batch, B)) / (2.0 * h);
        p.x[i] = at;
        cr_assert_float_eq(grad[i], want, 1e-4 * size + 1e-5 * fabs(want),
                           "parameter %zu of %zu + %zu + %zu: %g, difference %g", i, p.nbooks,
                           p.nlists, p.nmap, (double)grad[i], want);
    }
    cr_assert_gt(compared, 30u);
    vq_mem_free(grad), vq_mem_free(p.x), school_free(&c);
}

static void check_gradient(uint64_t stream, bool additive, size_t nlist, bool map)
{
    check_gradient_of(school_new(stream, additive, nlist, map));
}

Test(distil, gradient_for_distances)
{
    for (int additive = 0; additive < 2; additive++)
        for (size_t nlist = 0; nlist < 10; nlist += 9)
            for (int map = 0; map < 2; map++) {
                school c = school_new(11, additive, nlist, map);
                measure_distances(&c);
                check_gradient_of(c);
            }
}

Test(distil, gradient_of_product_codes)
{
    check_gradient(1, false, 9, true);
}

Test(distil, gradient_of_additive_codes)
{
    check_gradient(2, true, 9, true);
}

Test(distil, gradient_without_lists_and_map)
{
    check_gradient(3, false, 0, false);
    check_gradient(4, true, 0, false);
    check_gradient(5, false, 0, true);
}

/* ---- training -------------------------------------------------------------------------------- */

static void copy_student(const school *c, float *to)
{
    size_t nlists = c->s.nlist * c->s.d, nmap = c->s.map != NULL ? c->s.d * c->s.d : 0;
    memcpy(to, c->s.books, c->nbooks * sizeof *to);
    if (nlists > 0) memcpy(to + c->nbooks, c->s.centroids, nlists * sizeof *to);
    if (nmap > 0) memcpy(to + c->nbooks + nlists, c->s.map, nmap * sizeof *to);
}

Test(distil, bits_do_not_depend_on_threads)
{
    for (int i = 0; i < 4; i++) {
        float *one = NULL;
        for (int threads = 1; threads < 5; threads++) {
            school c = school_new(6, i % 2, 9, true);
            if (i / 2 == 1) measure_distances(&c);
            size_t n = c.nbooks + 9 * c.s.d + c.s.d * c.s.d;
            float *got = vq_alloc_f32(n, 1);
            c.o.threads = threads;
            c.o.anchor = 1.0;
            cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, NULL), VQ_OK);
            copy_student(&c, got);
            if (threads == 1)
                one = got;
            else {
                cr_assert_arr_eq(got, one, n * sizeof *got);
                vq_mem_free(got);
            }
            school_free(&c);
        }
        vq_mem_free(one);
    }
}

/* The mean move of each codebook and of the lists, weighted by use, against the mean size. */
static void check_drift(bool additive)
{
    school c = school_new(7, additive, 9, false);
    size_t d = c.s.d, m = c.s.m, kk = c.s.kk, dsub = d / m, n = c.l.n;
    float *was = vq_alloc_f32(c.nbooks + 9 * d, 1);
    copy_student(&c, was);
    c.o.epochs = 10;
    cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, NULL), VQ_OK);
    for (size_t j = 0; j < m; j++)
        for (size_t t = 0; t < (additive ? d : dsub); t++) {
            double sum = 0.0, size = 0.0;
            for (size_t i = 0; i < n; i++) {
                size_t k = j * kk + c.codes[i * m + j];
                size_t at = additive ? k * d + t : (j * dsub + t) * kk + k % kk;
                sum += (double)c.s.books[at] - (double)was[at];
                size += fabs((double)c.s.books[at] - (double)was[at]);
            }
            cr_assert(fabs(sum) < 1e-4 * size && size > 1e-4 * (double)n, "%g of %g", sum, size);
        }
    for (size_t t = 0; t < d; t++) {
        double sum = 0.0, size = 0.0;
        for (size_t i = 0; i < n; i++) {
            size_t at = c.lists[i] * d + t;
            double move = (double)c.s.centroids[at] - (double)was[c.nbooks + at];
            sum += move;
            size += fabs(move);
        }
        cr_assert(fabs(sum) < 1e-4 * size && size > 1e-4 * (double)n);
    }
    vq_mem_free(was), school_free(&c);
}

Test(distil, drift_is_taken_off)
{
    check_drift(false);
    check_drift(true);
}

static double moved(bool anchored)
{
    school c = school_new(8, false, 9, true);
    size_t n = c.nbooks + 9 * c.s.d + c.s.d * c.s.d;
    float *was = vq_alloc_f32(n, 1), *now = vq_alloc_f32(n, 1);
    copy_student(&c, was);
    c.o.anchor = anchored ? 1000.0 : 0.0;
    c.o.epochs = 20;
    cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, NULL), VQ_OK);
    copy_student(&c, now);
    for (size_t i = 0; i < n; i++) now[i] -= was[i];
    double size = vq_rms(now, n);
    vq_mem_free(was), vq_mem_free(now), school_free(&c);
    return size;
}

Test(distil, an_anchor_holds)
{
    double held = moved(true), loose = moved(false);
    cr_assert(held > 0.0 && held < 0.2 * loose, "%g held, %g free", held, loose);
}

Test(distil, only_what_shall_learn_moves)
{
    school c = school_new(9, false, 9, true);
    size_t n = c.nbooks + 9 * c.s.d + c.s.d * c.s.d;
    float *was = vq_alloc_f32(n, 1), *now = vq_alloc_f32(n, 1);
    copy_student(&c, was);
    c.o.learn_lists = c.o.learn_map = false;
    cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, NULL), VQ_OK);
    copy_student(&c, now);
    cr_assert_neq(memcmp(was, now, c.nbooks * sizeof *was), 0);
    cr_assert_arr_eq(was + c.nbooks, now + c.nbooks, (n - c.nbooks) * sizeof *was);
    c.o.step = 0.0;
    c.o.learn_lists = c.o.learn_map = true;
    cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, NULL), VQ_OK);
    copy_student(&c, was);
    cr_assert_arr_eq(was, now, n * sizeof *was);
    vq_mem_free(was), vq_mem_free(now), school_free(&c);
}

typedef struct diary {
    unsigned epochs, stop_after;
    double loss[64];
    vq_status rc;
} diary;

static vq_status note(void *ctx, unsigned epoch, double loss, const vq_student *s, bool *stop,
                      vq_error *err)
{
    (void)s, (void)err;
    diary *log = ctx;
    cr_assert_eq(epoch, log->epochs);
    log->loss[log->epochs++] = loss;
    *stop = log->epochs == log->stop_after;
    return log->rc;
}

static int stop_later(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase, (void)total;
    *(uint64_t *)ctx = done;
    return 1;
}

Test(distil, stops_when_told)
{
    school c = school_new(10, false, 9, true);
    diary log = {.stop_after = 2};
    uint64_t seen = 99;
    vq_error err = {0};
    vq_ticker ticker = {.fn = stop_later, .ctx = &seen};
    c.o.after_epoch = note;
    c.o.ctx = &log;
    cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, NULL), VQ_OK);
    cr_assert_eq(log.epochs, 2u);
    log = (diary){.rc = VQ_EIO};
    cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, NULL), VQ_EIO);
    cr_assert_eq(log.epochs, 1u);
    c.o.ticker = &ticker;
    log = (diary){.rc = VQ_OK};
    cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, &err), VQ_ECANCELED);
    cr_assert(seen == 0 && log.epochs == 0 && err.text[0] != 0);
    school_free(&c);
}

/* Runs with one thing changed, which must be refused; the change is taken back. */
#define REFUSED(place, value)                                                                      \
    do {                                                                                           \
        school kept = c;                                                                           \
        vq_error err = {0};                                                                        \
        (place) = (value);                                                                         \
        cr_assert_eq(vq_distil(&c.s, &c.l, &c.o, &err), VQ_EINVAL, #place);                        \
        cr_assert_neq(err.text[0], 0);                                                             \
        c = kept;                                                                                  \
    } while (0)

Test(distil, refuses_nonsense)
{
    school c = school_new(11, false, 9, true);
    REFUSED(c.o.temperature, 0.0);
    REFUSED(c.o.step, -1.0);
    REFUSED(c.o.anchor, NAN);
    REFUSED(c.s.m, 5); /* does not divide 12 */
    REFUSED(c.s.kk, 17);
    REFUSED(c.s.nlist, 5);
    REFUSED(c.s.centroids, NULL);
    REFUSED(c.s.map, NULL);
    REFUSED(c.l.nq, 0);
    REFUSED(c.l.n, 5);
    c.codes[17] = 16;
    REFUSED(c.s.additive, false);
    c.codes[17] = 3;
    c.lists[3] = 9;
    REFUSED(c.s.additive, false);
    c.lists[3] = 0;
    c.shared[3] = 200;
    REFUSED(c.s.additive, false);
    c.shared[3] = 0;
    c.teacher[5] = NAN;
    REFUSED(c.s.additive, false);
    school_free(&c);
}

Test(distil, survives_failing_allocations)
{
    for (int additive = 0; additive < 2; additive++) {
        school c = school_new(12, additive, 9, true);
        vq_status rc = VQ_ENOMEM;
        uint64_t failures = 0;
        c.o.anchor = 0.1;
        c.o.epochs = 1;
        c.o.threads = 2;
        while (rc != VQ_OK) {
            vq_error err = {0};
            vq_mem_fail_after(failures + 1);
            rc = vq_distil(&c.s, &c.l, &c.o, &err);
            vq_mem_fail_after(0);
            cr_assert(rc == VQ_OK || (rc == VQ_ENOMEM && err.text[0] != 0));
            failures += rc != VQ_OK;
        }
        cr_assert_gt(failures, 40u);
        school_free(&c);
    }
}

Test(adam, factor_rises_and_falls)
{
    cr_assert_float_eq(vq_adam_factor(0, 100), 0.1, 1e-12);
    cr_assert_float_eq(vq_adam_factor(9, 100), 1.0, 1e-12);
    cr_assert_float_eq(vq_adam_factor(10, 100), 1.0, 1e-12);
    cr_assert_float_eq(vq_adam_factor(55, 100), 0.5, 1e-12);
    cr_assert_float_eq(vq_adam_factor(99, 100), 1.0 / 90.0, 1e-12);
    cr_assert_float_eq(vq_adam_factor(0, 1), 1.0, 1e-12);
    cr_assert_eq(vq_adam_factor(100, 100), 0.0);
}
