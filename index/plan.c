/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c -- see plan.h.  The rules were chosen on held-out queries of several data sets, text and
 * pictures; docs/ARCHITECTURE.md tells which. */
#include "index/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "index/plancodec.h"
#include "src/math/score.h"
#include "src/train/loss.h"

enum {
    OPQ_MIN_N = 5000, /* below: principal axes alone */
    FEW_N = 2048, /* below, every list is read anyway, and a list of a few rows takes its pages */
    OPQ_MAX_D = 2048, /* above: d^3 steps cost too much, a structured rotation serves */
    COPIES_MIN_N =
        10000, /* below: all codes are read in less time than the rest of a query takes */
    SAMPLE_PER_LIST = 40,
    SAMPLE_MIN = 65536
};
#define F16_MAX        65504.0f
#define F16_FINE       1e-2f /* below: most coordinates would lose bits */
#define DEFAULT_MEMORY ((size_t)256 << 20)
#define MIN_SAMPLE     ((size_t)32 << 20) /* bytes; what --memory cannot lower.. */
#define MAX_SAMPLE     ((size_t)1 << 30)  /* ..and what we take without it */

void vq_plan_note(vq_plan *p, const char *fmt, ...)
{
    size_t len = strlen(p->model.why);
    va_list args;
    if (len > 0 && len + 1 < sizeof p->model.why) {
        p->model.why[len++] = '\n';
        p->model.why[len] = '\0';
    }
    va_start(args, fmt);
    (void)vsnprintf(p->model.why + len, sizeof p->model.why - len, fmt, args);
    va_end(args);
}

static vq_status choose_rotation(vq_plan *p, const vq_build_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    VQ_REQUIRE(o->rotation <= VQ_ROTATION_OPQ, VQ_EINVAL, "rotation %u: there is no such kind",
               o->rotation);
    VQ_REQUIRE(o->rotation != VQ_ROTATION_OPQ || m->codec->codewords != 0, VQ_EINVAL,
               "rotation opq is learnt together with product codes; with %s use pca or none",
               m->codec->name);
    m->rotation = o->rotation;
    if (o->rotation != VQ_ROTATION_AUTO) goto out;
    const char *why;
    if (!m->codec->axes && m->codec->grain == 0)
        m->rotation = VQ_ROTATION_NONE, why = "none: this codec codes every coordinate";
    else if (!m->codec->axes)
        m->rotation = VQ_ROTATION_RANDOM, why = "random: this codec gives all coordinates the same";
    else if (m->d > OPQ_MAX_D)
        m->rotation = VQ_ROTATION_RANDOM, why = "random: learning one would take too long";
    else if (m->codec->turn != NULL)
        m->rotation = VQ_ROTATION_PCA, why = "pca: bits go where the variance is";
    else if (m->n < OPQ_MIN_N)
        m->rotation = VQ_ROTATION_PCA, why = "pca: too few vectors to learn opq";
    else
        m->rotation = VQ_ROTATION_OPQ, why = "opq: learnt for the codes";
    vq_plan_note(p, "rotation %s", why);
out:
    return rc;
}

/* The first option given that only distillation hears; NULL: none. */
static const char *distill_option(const vq_build_opts *o)
{
    return o->loss != NULL          ? "loss"
           : o->epochs != 0         ? "epochs"
           : o->temperature != 0.0f ? "temperature"
           : o->fixed_queries != 0  ? "a fixed query map (learn-query-map no)"
                                    : NULL;
}

/* The first one given that says what is right for training queries. */
static const char *teacher_option(const vq_build_opts *o)
{
    return o->teacher_cache != NULL ? "teacher-cache"
           : o->teacher != NULL     ? "teacher"
           : o->positives != NULL   ? "qrels"
                                    : NULL;
}

/* What keeps queries from teaching; NULL: nothing.  chosen: the codec is auto's choice. */
static const char *hindrance(const vq_model *m, bool chosen)
{
    bool learnt = m->rotation == VQ_ROTATION_PCA || m->rotation == VQ_ROTATION_OPQ;
    if (m->codec->axes) return learnt ? NULL : "this rotation: ask for pca or opq";
    return chosen
               ? "this codec, which auto takes where vectors or dimensions are few: ask for pq4, "
                 "pq8, aq8 or saq"
               : "this codec: ask for pq4, pq8, aq8 or saq";
}

/* Queries that teach nothing tell codes with error bars how far these reach. */
static bool only_bars(const vq_model *m, const vq_build_opts *o, const char *no)
{
    if (o->nqueries == 0 || m->codec->calibrate == NULL) return false;
    if (o->train == VQ_TRAIN_AUTO) return m->metric == VQ_METRIC_L2 || no != NULL;
    return o->train == VQ_TRAIN_KMEANS;
}

static vq_status choose_training(vq_plan *p, const vq_build_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    bool given = o->nqueries > 0;
    bool chosen = o->codec == NULL || strcmp(o->codec, "auto") == 0;
    const char *no = hindrance(m, chosen), *of_distill = distill_option(o),
               *of_teacher = teacher_option(o);
    VQ_REQUIRE(o->train <= VQ_TRAIN_DISTILL, VQ_EINVAL, "train %u: there is no such way", o->train);
    VQ_REQUIRE(!given || o->queries != NULL, VQ_EINVAL, "train: queries is NULL");
    VQ_REQUIRE(o->loss == NULL || vq_loss_by_name(o->loss) != NULL, VQ_EINVAL,
               "there is no loss \"%s\"; there are listnet, kl, margin-mse, ranknet and lambda",
               o->loss);
    VQ_REQUIRE(o->temperature >= 0.0f && isfinite(o->temperature), VQ_EINVAL,
               "temperature %g: expected a number above 0", (double)o->temperature);
    m->train = o->train;
    if (only_bars(m, o, no)) {
        m->train = VQ_TRAIN_KMEANS;
        vq_plan_note(p, "queries tell how far error bars reach; they teach %s nothing else here",
                     m->codec->name);
        given = false;
    } else if (o->train == VQ_TRAIN_AUTO) {
        m->train = given ? VQ_TRAIN_DISTILL : VQ_TRAIN_KMEANS;
        if (given) vq_plan_note(p, "train distill: there are queries");
    }
    if (m->train == VQ_TRAIN_KMEANS) {
        VQ_REQUIRE(!given, VQ_EINVAL, "train kmeans: it takes no queries; ask for train distill");
        VQ_REQUIRE(o->nqueries == 0 || (of_distill == NULL && of_teacher == NULL), VQ_EINVAL,
                   "%s: this is for train distill, but queries only tell %s how far error bars "
                   "reach: leave it out",
                   of_distill != NULL ? of_distill : of_teacher, m->codec->name);
        VQ_REQUIRE(of_distill == NULL && of_teacher == NULL, VQ_EINVAL,
                   "%s: this is for train distill, which learns from training queries: give them "
                   "(--queries)",
                   of_distill != NULL ? of_distill : of_teacher);
        goto out;
    }
    VQ_REQUIRE(m->train == VQ_TRAIN_DISTILL || of_distill == NULL, VQ_EINVAL,
               "%s: this is for train distill, not query-aware: ask for that, or leave it out",
               of_distill);
    VQ_REQUIRE(o->teacher == NULL || o->teacher_cache == NULL, VQ_EINVAL,
               "teacher-cache: it keeps what exact search answers, which a given teacher replaces: "
               "leave it out");
    VQ_REQUIRE(given || of_teacher == NULL, VQ_EINVAL,
               "%s: it is about training queries: give them (--queries)", of_teacher);
    VQ_REQUIRE(no == NULL, VQ_EINVAL,
               "queries teach pq4, pq8, aq8 and saq with rotation pca or opq; they cannot with %s",
               no);
    p->whiten = given && m->metric != VQ_METRIC_L2;
    if (o->fixed_queries != 0 && m->metric == VQ_METRIC_L2)
        vq_plan_note(p, "learn-query-map no: with l2 none is learnt anyway");
    if (m->codec->books == NULL) {
        VQ_REQUIRE(
            p->whiten, VQ_EINVAL,
            "queries tell %s where to put its bits, for metrics ip and cosine and if they are "
            "given (--queries); else leave train out",
            m->codec->name);
        VQ_REQUIRE(of_distill == NULL && of_teacher == NULL, VQ_EINVAL,
                   "%s: it is for codes that are distilled: pq4, pq8 and aq8",
                   of_distill != NULL ? of_distill : of_teacher);
        m->train = VQ_TRAIN_QUERY_AWARE;
        vq_plan_note(p, "train query-aware: queries tell where bits count");
        goto out;
    }
out:
    return rc;
}

static void choose_lists(vq_plan *p, const vq_build_opts *o)
{
    vq_model *m = &p->model;
    uint64_t n = m->n, lists = o->nlist;
    if (lists == 0) {
        /* What a list's centroid holds costs a vector no bytes: the shorter the code, the more of
         * them pay; with queries too, where the codes alone should rank well.  Where rows do, a
         * query is answered soonest from fewer lists (sentences, taught pq8 of 48 bytes, recall
         * .99: 52 us from 2 times the square root, 64 us from 4 times). */
        bool alone = o->store == VQ_ELEM_NONE || m->codec->additive != 0;
        unsigned times = n < FEW_N                                ? 1
                         : m->codec->code_bytes(m->d, m->m) <= 20 ? 6
                         : m->train != VQ_TRAIN_KMEANS && alone   ? 4
                                                                  : 2;
        lists = (uint64_t)llround((double)times * sqrt((double)n));
        if (lists > n) lists = n;
        if (times == 1)
            vq_plan_note(p, "nlist %" PRIu64 ": the square root of n", lists);
        else
            vq_plan_note(p, "nlist %" PRIu64 ": %u times the square root of n", lists, times);
    } else if (lists > n) {
        vq_plan_note(p, "nlist %" PRIu64 " instead of %" PRIu64 ": there are no more vectors", n,
                     lists);
        lists = n;
    }
    m->nlist = (uint32_t)lists;
}

/* Effort of a search that says nothing.  A question's neighbours among text embeddings scatter over
 * a tenth of the lists for nine in ten of them and over most lists for the last hundredth, and
 * codes are cheap to scan: 100,000 vectors or all that there are, more as n grows, by its square
 * root. */
static void choose_effort(vq_plan *p)
{
    vq_model *m = &p->model;
    double share = vq_plan_effort(m->n);
    m->nprobe = (uint32_t)VQ_MAX(1.0, ceil(share * m->nlist));
    m->rerank = 130;
    if (m->nprobe == m->nlist)
        vq_plan_note(p, "nprobe all: scanning this many codes is cheap, and neighbours scatter");
    else
        vq_plan_note(p, "nprobe %u of %u: %.0f %% of the vectors, enough for scattered neighbours",
                     m->nprobe, m->nlist, 100.0 * share);
    if (m->store != VQ_ELEM_NONE)
        vq_plan_note(p, "rerank %u: the true ten are among them", m->rerank);
    else
        vq_plan_note(p, "rerank none: no rows are stored");
}

static void choose_store(vq_plan *p, const vq_build_opts *o, uint32_t elem)
{
    vq_model *m = &p->model;
    m->store = o->store;
    m->store_scale = 1.0f;
    if (o->store != VQ_ELEM_DEFAULT) return;
    p->store_chosen = true;
    m->store = elem == VQ_F32 ? VQ_F16 : elem;
    vq_plan_note(p, "store %s: %s", vq_elem_name(m->store),
                 elem == VQ_F32 ? "half the bytes of f32, and ranks the same"
                                : "rows as they came");
}

/* Copies, or to measure whether they pay? */
static vq_status choose_copies(vq_plan *p, const vq_build_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &p->model;
    VQ_REQUIRE(o->copies <= VQ_COPIES_YES, VQ_EINVAL, "copies %u: there is no such choice",
               o->copies);
    p->copies = o->copies == VQ_COPIES_YES;
    p->copies_chosen = o->copies == VQ_COPIES_AUTO && m->n >= COPIES_MIN_N && m->nlist > 1;
out:
    return rc;
}

vq_status vq_plan_range(const vq_plan *p, float largest, vq_error *err)
{
    const vq_model *m = &p->model;
    if (m->metric == VQ_METRIC_COSINE || (double)largest <= vq_value_max(m->d)) return VQ_OK;
    return vq_fail(err, VQ_ECORRUPT,
                   "values reach %g; with %u dimensions scores beyond %g overflow, so scale the "
                   "vectors down",
                   (double)largest, m->d, vq_value_max(m->d));
}

vq_status vq_plan_store(vq_plan *p, float largest, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    bool floats = m->input == VQ_F32 || m->input == VQ_F16;
    VQ_REQUIRE(floats || m->store == m->input || (m->store != VQ_I8 && m->store != VQ_U8),
               VQ_EINVAL, "store %s: the rows are %s, which it does not hold; use %s, f16 or f32",
               vq_elem_name(m->store), vq_elem_name(m->input), vq_elem_name(m->input));
    VQ_REQUIRE(!floats || m->store != VQ_U8, VQ_EINVAL,
               "store u8: the rows are %s; use i8, f16 or f32", vq_elem_name(m->input));
    if (m->store == VQ_F16 && p->store_chosen && m->input == VQ_F32 && largest < F16_FINE) {
        m->store = VQ_F32;
        vq_plan_note(p, "store f32 after all: no value is above %g, too small for f16",
                     (double)largest);
    }
    if (m->store == VQ_F16 && largest > F16_MAX) {
        VQ_REQUIRE(p->store_chosen, VQ_EINVAL,
                   "store f16: values reach %g, f16 ends at %g; use f32, or i8", (double)largest,
                   (double)F16_MAX);
        m->store = VQ_F32;
        vq_plan_note(p, "store f32 after all: values reach %g, f16 ends at %g", (double)largest,
                     (double)F16_MAX);
    }
    if (m->store == VQ_I8 && floats && largest > 0.0f)
        m->store_scale = p->store_scale > 0.0f ? p->store_scale : 127.0f / largest;
    VQ_REQUIRE(isfinite(m->store_scale), VQ_EINVAL, "store i8: no value is above %g; use f32",
               (double)largest);
out:
    return rc;
}

static void choose_sample(vq_plan *p, const vq_build_opts *o, uint32_t elem)
{
    const vq_model *m = &p->model;
    uint64_t want = VQ_MAX((uint64_t)SAMPLE_PER_LIST * m->nlist, (uint64_t)SAMPLE_MIN);
    want = VQ_MAX(want, (uint64_t)m->codec->sample);
    /* A row as it comes, and as floats of the coded space, which has about half the axes. */
    size_t row = m->d * (vq_elem_size(elem) + sizeof(float) / 2);
    uint64_t room = (o->memory != 0 ? VQ_MAX(p->memory / 4 * 3, MIN_SAMPLE) : MAX_SAMPLE) / row;
    room = VQ_MAX(room, (uint64_t)256);
    p->cut = want > room && room < m->n;
    p->sample = (size_t)VQ_MIN(VQ_MIN(want, room), m->n);
}

/* The options as given, for the record. */
static void record_options(vq_model *m, const vq_build_opts *o)
{
    (void)snprintf(
        m->options, sizeof m->options,
        "codec=%s metric=%s bytes=%u nlist=%u rotation=%u store=%s train=%u seed=%" PRIu64,
        o->codec != NULL ? o->codec : "auto", vq_metric_name(m->metric), o->code_bytes, o->nlist,
        o->rotation, o->store != VQ_ELEM_DEFAULT ? vq_elem_name(o->store) : "auto", o->train,
        m->seed);
}

/* codec: as a trial has decided, and why; or NULL.  By then the sample has been taken. */
static vq_status make(vq_plan *p, const vq_build_opts *opts, uint64_t n, uint32_t d, uint32_t elem,
                      const vq_codec *codec, const char *why, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_plan made = {.sample = 0};
    if (codec != NULL) made = (vq_plan){.sample = p->sample, .cut = p->cut};
    *p = made;
    vq_model *m = &p->model;
    VQ_REQUIRE(opts->metric <= VQ_METRIC_COSINE, VQ_EINVAL, "metric %u: there is no such metric",
               opts->metric);
    VQ_REQUIRE(opts->store <= VQ_ELEM_NONE, VQ_EINVAL, "store %u: there is no such type",
               opts->store);
    VQ_REQUIRE(n <= UINT32_MAX, VQ_EUNSUPPORTED,
               "%" PRIu64 " vectors; one index holds up to %u, so make several and search them as "
               "one",
               n, UINT32_MAX);
    m->format = VQ_FORMAT_PLAIN;
    m->n = n;
    m->d = m->d_code = d;
    m->input = elem;
    m->seed = opts->seed != 0 ? opts->seed : 1;
    m->metric = opts->metric != 0 ? opts->metric : (uint32_t)VQ_METRIC_L2;
    m->string_ids = opts->names != NULL;
    p->threads = vq_team(opts->threads, 1024);
    p->memory = opts->memory != 0 ? (size_t)opts->memory : DEFAULT_MEMORY;
    record_options(m, opts);
    VQ_TRY(vq_plan_codec(p, opts, codec, why, err));
    VQ_TRY(choose_rotation(p, opts, err));
    VQ_TRY(choose_training(p, opts, err));
    choose_lists(p, opts);
    VQ_TRY(choose_copies(p, opts, err));
    choose_store(p, opts, elem);
    choose_effort(p);
    if (codec == NULL) choose_sample(p, opts, elem);
    if (p->cut) vq_plan_note(p, "sample %zu rows: what the memory holds", p->sample);
out:
    return rc;
}

vq_status vq_plan_make(vq_plan *p, const vq_build_opts *opts, uint64_t n, uint32_t d, uint32_t elem,
                       vq_error *err)
{
    return make(p, opts, n, d, elem, NULL, NULL, err);
}

vq_status vq_plan_decide(vq_plan *p, const vq_build_opts *opts, uint32_t elem,
                         const vq_codec *codec, const char *why, vq_error *err)
{
    return make(p, opts, p->model.n, p->model.d, elem, codec, why, err);
}

void vq_plan_shrink(vq_plan *p, uint64_t n)
{
    vq_model *m = &p->model;
    m->n = n;
    if (m->nlist <= n || p->adopted) return;
    vq_plan_note(p, "nlist %" PRIu64 " instead of %u: so few rows are good", n, m->nlist);
    m->nlist = (uint32_t)n;
    m->nprobe = VQ_MIN(m->nprobe, m->nlist);
}
