/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults for every shape are parameters that the format allows, and say why they were chosen. */
#include "index/plan.h"

#include "tests/index/fixture.h"

static void check_plan(const vq_plan *p, uint64_t n, uint32_t d)
{
    const vq_model *m = &p->model;
    cr_assert(m->format == VQ_FORMAT_PLAIN && m->n == n && m->d == d && m->codec != NULL);
    cr_assert(m->metric >= VQ_METRIC_L2 && m->metric <= VQ_METRIC_COSINE);
    cr_assert(m->nlist >= 1 && m->nlist <= n);
    cr_assert(m->nprobe >= 1 && m->nprobe <= m->nlist && m->rerank >= 10);
    cr_assert(m->store >= VQ_F32 && m->store <= VQ_ELEM_NONE);
    cr_assert(m->rotation >= VQ_ROTATION_NONE && m->rotation <= VQ_ROTATION_OPQ);
    if (m->codec->grain == 0) cr_assert((m->m != 0) == (m->codec->codewords != 0) && m->m <= 256);
    cr_assert(p->sample >= 1 && p->sample <= n && p->threads >= 1 && p->memory > 0);
    size_t row = d * sizeof(float);
    cr_assert(p->sample == n || p->sample == 256 || p->sample * row / 2 <= ((size_t)2 << 30));
    uint32_t bytes = m->codec->code_bytes(d, m->m);
    cr_assert(bytes >= 1 && bytes <= 4 * d);
}

Test(plan, defaults_fit_any_shape)
{
    static const uint32_t dims[] = {1, 2, 3, 15, 16, 17, 96, 768, 1025, 2049, 4096};
    for (uint64_t n = 1; n <= 100000000; n = n < 8 ? n + 1 : n * 7)
        for (size_t i = 0; i < VQ_COUNT(dims); i++)
            for (uint32_t metric = 0; metric <= VQ_METRIC_COSINE; metric++)
                for (uint32_t elem = VQ_F32; elem <= VQ_U8; elem++) {
                    vq_build_opts o = VQ_BUILD_OPTS_INIT;
                    vq_plan p;
                    o.metric = metric;
                    OK(vq_plan_make(&p, &o, n, dims[i], elem, &err));
                    check_plan(&p, n, dims[i]);
                    cr_assert_eq(p.model.store, elem == VQ_F32 ? VQ_F16 : elem);
                    cr_assert(strstr(p.model.why, "codec ") && strstr(p.model.why, "nlist ") &&
                              strstr(p.model.why, "nprobe ") && strstr(p.model.why, "rerank "));
                }
}

Test(plan, more_vectors_more_lists_smaller_share)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    double share = 1.1;
    uint32_t nlist = 0;
    for (uint64_t n = 100; n <= 1000000000; n *= 10) {
        vq_plan p;
        OK(vq_plan_make(&p, &o, n, 128, VQ_F32, &err));
        cr_assert(p.model.nlist > nlist);
        double now = (double)p.model.nprobe / p.model.nlist;
        cr_assert(now <= share + 1e-9);
        share = now, nlist = p.model.nlist;
    }
    cr_assert(share < 0.1);
}

/* Additive codes where queries teach and nothing but codes ranks, or many small ones are read. */
Test(plan, additive_codes_where_they_pay)
{
    static float q[2 * 256];
    static const struct {
        uint64_t n;
        uint32_t d, bytes, store, train, metric;
        bool additive;
    } cases[] = {
        {100000, 768, 16, VQ_ELEM_NONE, VQ_TRAIN_AUTO, VQ_METRIC_IP, true},
        {100000, 768, 0, VQ_ELEM_NONE, VQ_TRAIN_DISTILL, VQ_METRIC_COSINE, true},
        {100000, 768, 16, VQ_F16, VQ_TRAIN_AUTO, VQ_METRIC_IP, false}, /* few are scanned */
        {1000000, 768, 16, VQ_F16, VQ_TRAIN_AUTO, VQ_METRIC_IP, true},
        {1000000, 768, 64, VQ_F16, VQ_TRAIN_AUTO, VQ_METRIC_IP, false}, /* the rerank finds all */
        {1000000, 768, 16, VQ_ELEM_NONE, VQ_TRAIN_AUTO, VQ_METRIC_L2, false},
        {4000, 768, 16, VQ_ELEM_NONE, VQ_TRAIN_AUTO, VQ_METRIC_IP, false}, /* few to learn from */
        {1000000, 4096, 128, VQ_ELEM_NONE, VQ_TRAIN_AUTO, VQ_METRIC_IP, false}, /* too many words */
    };
    vq_source *queries;
    OK(vq_source_open_array(&queries, q, 2, 256, VQ_F32, &err));
    for (size_t i = 0; i < 2 * VQ_COUNT(cases); i++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        vq_plan p;
        o.code_bytes = cases[i / 2].bytes, o.store = cases[i / 2].store;
        o.metric = cases[i / 2].metric, o.rotation = VQ_ROTATION_PCA;
        if (i % 2 == 0) o.queries = &queries, o.nqueries = 1, o.train = cases[i / 2].train;
        bool additive = cases[i / 2].additive && i % 2 == 0;
        OK(vq_plan_make(&p, &o, cases[i / 2].n, cases[i / 2].d, VQ_F32, &err));
        cr_assert_eq(p.model.codec == &vq_codec_aq8, additive, "case %zu: %s", i, p.model.why);
        cr_assert_eq(strstr(p.model.why, "codec aq8 rather") != NULL, additive);
        check_plan(&p, cases[i / 2].n, cases[i / 2].d);
    }
    vq_source_close(queries);
}

Test(plan, what_is_asked_for_is_taken)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_plan p;
    for (size_t i = 0; i < vq_codec_count; i++)
        for (uint32_t rotation = VQ_ROTATION_NONE; rotation <= VQ_ROTATION_OPQ; rotation++)
            for (uint32_t store = VQ_F32; store <= VQ_ELEM_NONE; store++) {
                o.codec = vq_codecs[i]->name;
                o.rotation = rotation;
                o.store = store;
                o.nlist = 50, o.seed = 9, o.threads = 1;
                if (rotation == VQ_ROTATION_OPQ && vq_codecs[i]->codewords == 0) {
                    FAILS(VQ_EINVAL, vq_plan_make(&p, &o, 9000, 24, VQ_F32, &err));
                    continue;
                }
                OK(vq_plan_make(&p, &o, 9000, 24, VQ_F32, &err));
                check_plan(&p, 9000, 24);
                cr_assert(p.model.codec == vq_codecs[i] && p.model.rotation == rotation);
                cr_assert(p.model.store == store && p.model.nlist == 50 && p.model.seed == 9);
                cr_assert(strstr(p.model.options, vq_codecs[i]->name) != NULL);
            }
    o = (vq_build_opts)VQ_BUILD_OPTS_INIT;
    o.nlist = 500;
    OK(vq_plan_make(&p, &o, 20, 24, VQ_F32, &err));
    cr_assert(p.model.nlist == 20 && strstr(p.model.why, "instead of 500") != NULL);
}

/* Short codes and those that rank alone lie in more lists. */
Test(plan, lists_by_what_codes_are_for)
{
    static const struct {
        const char *codec;
        uint32_t bytes, train, store, times;
    } cases[] = {
        {"pq8", 48, VQ_TRAIN_KMEANS, VQ_I8, 2},         {"pq8", 48, VQ_TRAIN_DISTILL, VQ_I8, 2},
        {"pq8", 48, VQ_TRAIN_DISTILL, VQ_ELEM_NONE, 4}, {"aq8", 48, VQ_TRAIN_DISTILL, VQ_I8, 4},
        {"aq8", 48, VQ_TRAIN_KMEANS, VQ_I8, 2},         {"pq8", 16, VQ_TRAIN_KMEANS, VQ_I8, 6},
        {"pq8", 16, VQ_TRAIN_DISTILL, VQ_I8, 6}};
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        vq_plan p;
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        o.codec = cases[i].codec, o.code_bytes = cases[i].bytes, o.metric = VQ_METRIC_IP;
        o.train = cases[i].train, o.store = cases[i].store;
        OK(vq_plan_make(&p, &o, 10000, 768, VQ_I8, &err));
        cr_assert(p.model.nlist == 100 * cases[i].times, "%s, case %zu", p.model.why, i);
        OK(vq_plan_make(&p, &o, 1600, 768, VQ_I8, &err));
        cr_assert(p.model.nlist == 40 && p.model.nprobe == 40, "%s, case %zu", p.model.why, i);
    }
}

Test(plan, bytes_per_vector)
{
    for (uint32_t metric = VQ_METRIC_L2; metric <= VQ_METRIC_COSINE; metric++)
        for (uint32_t bytes = 5; bytes <= 300; bytes += 5) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            vq_plan p;
            o.metric = metric;
            o.code_bytes = bytes;
            OK(vq_plan_make(&p, &o, 9000, 100, VQ_F32, &err));
            vq_model_derive(&p.model, 0);
            uint32_t got = vq_model_code_bytes(&p.model);
            cr_assert(got <= bytes && (got == bytes || bytes > 100), "%u for %u", got, bytes);
        }
}

Test(plan, bytes_choose_the_codec)
{
    static const struct {
        uint32_t bytes;
        float bits;
        const vq_codec *codec;
    } cases[] = {{32, 0, &vq_codec_pq8},   {256, 0, &vq_codec_pq8}, {258, 0, &vq_codec_saq},
                 {600, 0, &vq_codec_saq},  {768, 0, &vq_codec_sq8}, {900, 0, &vq_codec_sq8},
                 {0, 0.5f, &vq_codec_saq}, {0, 8, &vq_codec_saq}};
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        vq_plan p;
        o.metric = VQ_METRIC_IP, o.code_bytes = cases[i].bytes, o.bits = cases[i].bits;
        OK(vq_plan_make(&p, &o, 9000, 768, VQ_F32, &err));
        cr_assert_eq(p.model.codec, cases[i].codec, "%u bytes: %s", cases[i].bytes,
                     p.model.codec->name);
        vq_model_derive(&p.model, 0);
        uint32_t bytes = vq_model_code_bytes(&p.model);
        if (cases[i].bits > 0)
            cr_assert(bytes >= 96 * cases[i].bits && bytes <= 96 * cases[i].bits + 12);
        else
            cr_assert(bytes <= cases[i].bytes && bytes + 2 >= VQ_MIN(cases[i].bytes, 768));
    }
}

Test(plan, bad_options)
{
    struct {
        const char *text;
        vq_build_opts o;
    } bad[] = {
        {"metric", {.metric = 4}},
        {"store", {.store = 6}},
        {"rotation", {.rotation = 5}},
        {"codec", {.codec = "pq9"}},
        {"codec", {.codec = ""}},
        {"factor", {.code_bytes = 4}},
        {"factor", {.code_bytes = 1}},
        {"flat", {.codec = "flat", .code_bytes = 20}},
        {"sq8", {.codec = "sq8", .code_bytes = 20}},
        {"pq8", {.codec = "pq8", .code_bytes = 261}},
        {"pq4", {.codec = "pq4", .code_bytes = 133}},
        {"saq", {.codec = "saq", .code_bytes = 7}},
        {"bits", {.codec = "saq", .bits = 0.25f}},
        {"bits", {.codec = "saq", .bits = 14}},
        {"bits", {.codec = "pq8", .bits = 4}},
        {"bits", {.codec = "saq", .bits = 4, .code_bytes = 40}},
    };
    for (size_t i = 0; i < VQ_COUNT(bad); i++) {
        vq_plan p;
        bad[i].o.struct_size = sizeof bad[i].o;
        FAILS(VQ_EINVAL, vq_plan_make(&p, &bad[i].o, 1000, 100, VQ_F32, &err));
        cr_assert(strstr(err.text, bad[i].text) != NULL, "no '%s' in: %s", bad[i].text, err.text);
    }
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_plan p;
    o.metric = VQ_METRIC_IP;
    o.code_bytes = 1; /* no factor there */
    OK(vq_plan_make(&p, &o, 1000, 100, VQ_F32, &err));
    FAILS(VQ_EUNSUPPORTED, vq_plan_make(&p, &o, (uint64_t)UINT32_MAX + 1, 4, VQ_F32, &err));
}

Test(plan, fewer_good_rows)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_plan p;
    o.nlist = 90;
    OK(vq_plan_make(&p, &o, 100, 8, VQ_F32, &err));
    vq_plan_shrink(&p, 95);
    cr_assert(p.model.n == 95 && p.model.nlist == 90);
    vq_plan_shrink(&p, 3);
    cr_assert(p.model.n == 3 && p.model.nlist == 3 && p.model.nprobe <= 3);
    cr_assert(strstr(p.model.why, "so few rows are good") != NULL);
}

Test(plan, notes_end_in_time)
{
    vq_plan p;
    memset(&p, 0, sizeof p);
    for (int i = 0; i < 300; i++) vq_plan_note(&p, "note %d", i);
    cr_assert(strlen(p.model.why) == sizeof p.model.why - 1);
    cr_assert(strncmp(p.model.why, "note 0\nnote 1\n", 14) == 0);
}

Test(plan, stores_that_hold_the_rows)
{
    static const struct {
        uint32_t asked, elem;
        float largest;
        uint32_t store; /* 0: refused */
        float scale;
    } cases[] = {
        {VQ_ELEM_DEFAULT, VQ_F32, 65504.0f, VQ_F16, 1.0f},
        {VQ_ELEM_DEFAULT, VQ_F32, 65505.0f, VQ_F32, 1.0f},
        {VQ_F16, VQ_F32, 65504.0f, VQ_F16, 1.0f},
        {VQ_F16, VQ_F32, 65505.0f, 0, 0.0f},
        {VQ_F32, VQ_F32, 1e30f, VQ_F32, 1.0f},
        {VQ_I8, VQ_F32, 254.0f, VQ_I8, 0.5f},
        {VQ_I8, VQ_F16, 254.0f, VQ_I8, 0.5f},
        {VQ_I8, VQ_F32, 0.0f, VQ_I8, 1.0f},
        {VQ_I8, VQ_F32, 1e-38f, 0, 0.0f},
        {VQ_U8, VQ_F32, 1.0f, 0, 0.0f},
        {VQ_U8, VQ_I8, 0.0f, 0, 0.0f},
        {VQ_I8, VQ_U8, 0.0f, 0, 0.0f},
        {VQ_F16, VQ_U8, 0.0f, VQ_F16, 1.0f},
        {VQ_F32, VQ_I8, 0.0f, VQ_F32, 1.0f},
        {VQ_ELEM_NONE, VQ_F32, 1e30f, VQ_ELEM_NONE, 1.0f},
    };
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        vq_plan p;
        o.store = cases[i].asked;
        OK(vq_plan_make(&p, &o, 100, 8, cases[i].elem, &err));
        if (cases[i].store == 0) {
            FAILS(VQ_EINVAL, vq_plan_store(&p, cases[i].largest, &err));
            continue;
        }
        OK(vq_plan_store(&p, cases[i].largest, &err));
        cr_assert(p.model.store == cases[i].store && p.model.store_scale == cases[i].scale,
                  "case %zu: %u, %g", i, p.model.store, (double)p.model.store_scale);
    }
}

/* What a trial decides changes neither the sample, which it was tried on, nor what is said of it.
 */
Test(plan, a_sample_that_has_been_taken)
{
    static const struct {
        uint64_t n, good, memory;
        bool cut;
    } cases[] = {{10000000, 10000000, 64 << 20, true},
                 {8000, 7000, 32 << 20, true}, /* of which fewer would have done */
                 {20000, 20000, 0, false}};
    for (size_t i = 0; i < VQ_COUNT(cases); i++)
        for (size_t c = 0; c < vq_codec_count; c++) {
            vq_build_opts o = VQ_BUILD_OPTS_INIT;
            vq_plan p;
            char note[64] = "sample ";
            if (strstr("pq8 pq4 saq", vq_codecs[c]->name) == NULL) continue; /* not tried */
            o.memory = cases[i].memory;
            OK(vq_plan_make(&p, &o, cases[i].n, 768, VQ_F32, &err));
            size_t sample = p.sample;
            if (cases[i].cut) (void)snprintf(note, sizeof note, "sample %zu rows", sample);
            cr_assert_eq(strstr(p.model.why, note) != NULL, cases[i].cut);
            vq_plan_shrink(&p, cases[i].good);
            OK(vq_plan_decide(&p, &o, VQ_F32, vq_codecs[c], "so", &err));
            cr_assert(p.sample == sample && p.model.codec == vq_codecs[c]);
            cr_assert_eq(strstr(p.model.why, note) != NULL, cases[i].cut, "%s", vq_codecs[c]->name);
        }
}
