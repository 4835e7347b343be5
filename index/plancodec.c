/* SPDX-License-Identifier: Apache-2.0 */
/* plancodec.c -- see plancodec.h. */
#include "index/plancodec.h"

#include <math.h>
#include <string.h>

enum {
    SMALL_N = 2048,           /* below: a codebook of 256 words would be learnt from too few rows */
    OPQ_MIN_N = 5000,         /* below: queries teach too little */
    TRIAL_MAX_D = 2048,       /* above, axes take longer than a build does */
    TRIAL_MIN_N = 10000,      /* below: all codes are read in no time, and a trial takes longer */
    PQ_BYTES = 256,           /* the most that pq8 takes */
    ADDITIVE_BYTES = 32,      /* above: the true ten are among the 130 reranked anyway */
    ADDITIVE_FLOATS = 1 << 26 /* of codewords, 256 MB: above, building takes too long */
};
#define EFFORT_N 1e5

static uint32_t factor_bytes(const vq_model *m)
{
    return m->metric == VQ_METRIC_L2 ? 4 : 0;
}

/* Bytes of a product code by default: one for every 16 dimensions, since neighbouring coordinates
 * of an embedding share information; never so few that the true neighbours leave the first 100. */
static uint32_t default_code_bytes(uint32_t d)
{
    uint32_t bytes = (d / 16 + 4) / 8 * 8;
    return VQ_MIN(VQ_MIN(VQ_MAX(bytes, 32), 128), d);
}

double vq_plan_effort(uint64_t n)
{
    double share = sqrt(EFFORT_N / (double)n);
    return share > 0.9 ? 1.0 : share;
}

/* Additive codewords that queries teach rank better than product ones of the same bytes (sentences,
 * codes alone: 10@10 .565 against .538 in 16 bytes, .734 against .706 in 32), and are scanned at
 * the same speed, but a query's tables cost code bytes x 256 x d products, as long as a scan of
 * 256 d codes takes.  So: where nothing but the codes ranks, or the scan is the longer of the two
 * and the codes are so small that the second pass could miss. */
static void weigh_additive(vq_plan *p, const vq_build_opts *o, uint32_t room)
{
    vq_model *m = &p->model;
    bool taught = o->nqueries > 0 && o->train != VQ_TRAIN_KMEANS && m->metric != VQ_METRIC_L2;
    bool alone = o->store == VQ_ELEM_NONE;
    double scanned = vq_plan_effort(m->n) * (double)m->n;
    bool many = room <= ADDITIVE_BYTES && scanned >= 256.0 * m->d;
    if (m->codec != &vq_codec_pq8 || !taught || m->n < OPQ_MIN_N || room > 256) return;
    if ((uint64_t)room * 256 * m->d > ADDITIVE_FLOATS || (!alone && !many)) return;
    m->codec = &vq_codec_aq8;
    vq_plan_note(p, "codec aq8 rather than pq8: %s",
                 alone ? "taught codes that rank alone, and it ranks better"
                       : "its dearer tables are less than the scan of this many small codes");
}

uint32_t vq_plan_room(const vq_plan *p)
{
    return p->code_room != 0 ? p->code_room : default_code_bytes(p->model.d);
}

uint32_t vq_plan_bytes(const vq_plan *p)
{
    return vq_plan_room(p) + factor_bytes(&p->model);
}

/* Where product codes and scalar ones both may serve.  Where queries teach they teach product
 * codes, which then rank better than any other of their bytes; to see that in a trial would take a
 * training. */
static bool open_question(const vq_plan *p, const vq_build_opts *o)
{
    const vq_model *m = &p->model;
    return m->n >= TRIAL_MIN_N && m->d >= VQ_BLOCK && vq_plan_room(p) <= PQ_BYTES &&
           m->d <= TRIAL_MAX_D && vq_plan_room(p) < m->d && o->nqueries == 0 &&
           o->train <= VQ_TRAIN_KMEANS && o->rotation != VQ_ROTATION_OPQ;
}

/* By name, by bits, or a rule. */
static vq_status first_choice(vq_plan *p, const vq_build_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    if (o->codec != NULL && strcmp(o->codec, "auto") != 0) {
        m->codec = vq_codec_by_name(o->codec);
        VQ_REQUIRE(m->codec != NULL, VQ_EINVAL,
                   "there is no codec \"%s\"; there are flat, sq8, pq4, pq8, aq8, saq and rabitq",
                   o->codec);
    } else if (o->bits != 0.0f) {
        m->codec = &vq_codec_saq;
        vq_plan_note(p, "codec saq: it goes by bits");
    } else if (p->code_room != 0) {
        /* More than product codes hold, less than a byte a coordinate: a scalar code of few bits.
         */
        bool scalar = p->code_room > PQ_BYTES && (o->nqueries == 0 || m->metric != VQ_METRIC_L2);
        m->codec = p->code_room >= m->d ? &vq_codec_sq8 : scalar ? &vq_codec_saq : &vq_codec_pq8;
        if (m->codec != &vq_codec_saq)
            p->code_room = VQ_MIN(p->code_room, p->code_room >= m->d ? m->d : (uint32_t)PQ_BYTES);
        vq_plan_note(p, "codec %s: %u bytes for %u dimensions", m->codec->name,
                     p->code_room + factor_bytes(m), m->d);
    } else if (m->n < SMALL_N || m->d < 16) {
        m->codec = &vq_codec_sq8;
        vq_plan_note(p, "codec sq8: %s",
                     m->n < SMALL_N ? "too few vectors to learn codebooks from"
                                    : "few dimensions, a byte each");
    } else {
        m->codec = &vq_codec_pq8;
        vq_plan_note(p, "codec pq8: product codes of 8 bits");
    }
    VQ_REQUIRE(o->bits == 0.0f || m->codec->bytes_of_bits != NULL, VQ_EINVAL,
               "bits: they are for saq and rabitq; with %s ask for bytes", m->codec->name);
    if (o->bits != 0.0f) p->code_room = m->codec->bytes_of_bits(m->d, (double)o->bits);
out:
    return rc;
}

/* The codec's own parameter, and what it makes of the bytes asked for. */
static vq_status choose_bytes(vq_plan *p, const vq_build_opts *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    uint32_t extra = factor_bytes(m), room = p->code_room;
    if (room == 0 && m->codec->codewords != 0) {
        room = default_code_bytes(m->d);
        vq_plan_note(p, "bytes %u: a byte of code for about %u dimensions%s", room + extra,
                     (m->d + room / 2) / room, extra != 0 ? " and 4 of factor" : "");
    }
    rc = m->codec->plan(m->d, room, &m->m, err);
    if (rc != VQ_OK) {
        if (o->code_bytes != 0 && extra != 0)
            (void)vq_fail_context(err, rc, "%u bytes less %u for the factor of l2", o->code_bytes,
                                  extra);
        goto out;
    }
    uint32_t got = m->codec->code_bytes(m->d, m->m) + extra;
    if (o->code_bytes != 0 && got != o->code_bytes)
        vq_plan_note(p, "bytes %u instead of %u: as near as %s comes from below for %u dimensions",
                     got, o->code_bytes, m->codec->name, m->d);
out:
    return rc;
}

vq_status vq_plan_codec(vq_plan *p, const vq_build_opts *o, const vq_codec *codec, const char *why,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model *m = &p->model;
    uint32_t extra = factor_bytes(m);
    bool chosen = (o->codec == NULL || strcmp(o->codec, "auto") == 0);
    VQ_REQUIRE(o->code_bytes == 0 || o->code_bytes > extra, VQ_EINVAL,
               "%u bytes per vector: l2 takes 4 for a factor, so ask for more than %u",
               o->code_bytes, extra);
    p->code_room = o->code_bytes != 0 ? o->code_bytes - extra : 0;
    VQ_REQUIRE(o->bits == 0.0f || (o->bits >= 0.5f && o->bits <= 13.0f), VQ_EINVAL,
               "%g bits a coordinate: expected 0.5 to 13", (double)o->bits);
    VQ_REQUIRE(o->bits == 0.0f || o->code_bytes == 0, VQ_EINVAL,
               "bits and bytes say the same: give one of them");
    VQ_TRY(first_choice(p, o, err));
    if (codec != NULL) {
        p->code_room = vq_plan_room(p);
        m->codec = codec;
        m->why[0] = '\0'; /* what the rule has said */
        vq_plan_note(p, "codec %s: %s", codec->name, why);
    } else if (chosen) {
        weigh_additive(p, o, vq_plan_room(p));
        p->trial = m->codec != &vq_codec_sq8 && open_question(p, o);
    }
    VQ_TRY(choose_bytes(p, o, err));
out:
    return rc;
}
