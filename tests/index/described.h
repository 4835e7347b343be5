/* SPDX-License-Identifier: Apache-2.0 */
/* described.h -- indexes whose vectors carry something, and what they must answer. */
#ifndef VQ_TESTS_INDEX_DESCRIBED_H
#define VQ_TESTS_INDEX_DESCRIBED_H

#include "tests/index/live.h"

enum { N = 400, D = 16, K = 20 };

static const live_config number_ids = {"sq8", VQ_METRIC_L2, VQ_F32, 7, D, false, true, 0};
static const live_config string_ids = {"pq4", VQ_METRIC_IP, VQ_F32, 5, D, true, false, 0};

/* A state with random attributes, and the index as built with them. */
static inline void build_described(const char *path, const live_config *c, state *s)
{
    static live_attributes tags, rest;
    static char rooms[N][16];
    static const char *names[N];
    static uint64_t ids[N];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 81);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    float *x = vq_alloc_f32(N, D);
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < UNIVERSE; i++) s->doc[i] = NOTHING;
    for (uint32_t i = 0; i < N; i++) {
        live_row(i, D, x + i * D);
        names[i] = live_name(i, rooms[i]);
        ids[i] = i;
        s->there[i] = true, s->row[i] = i, s->n++;
        s->doc[i] = live_carried(&r);
    }
    live_attribute(&tags, s->doc, N, 1);
    live_attribute(&rest, s->doc, N, 6);
    tags.a.ids = rest.a.ids = c->strings ? NULL : ids;
    tags.a.names = rest.a.names = c->strings ? names : NULL;
    const vq_attributes *given[] = {&tags.a, &rest.a};
    o.codec = c->codec, o.metric = c->metric, o.store = c->store, o.nlist = c->nlist;
    o.copies = c->copies ? VQ_COPIES_YES : VQ_COPIES_NO;
    o.no_tune = 1, o.force = 1, o.rotation = VQ_ROTATION_NONE;
    o.attributes = given, o.nattributes = 2;
    if (c->strings) o.names = names, o.nids = N;
    build(path, x, N, D, VQ_F32, &o);
    vq_mem_free(x);
}

static inline vq_searcher *exact(vq_index *ix)
{
    vq_searcher *s = NULL;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.recall = 1;
    OK(vq_searcher_open(&s, ix, &o, &err));
    return s;
}

static inline void ask(const live_config *c, vq_searcher *s, const state *st, const char *filter,
                       uint64_t seed)
{
    float q[D], scores[K];
    uint64_t ids[K];
    live_row(1000000 + (uint32_t)seed, D, q);
    OK(vq_searcher_filter_text(s, filter, &err));
    OK(vq_search(s, q, 1, K, ids, scores, &err));
    live_compare(c, st, s, q, ids, scores, K, true);
}

/* Is all there that the state says, and do filters choose by it? */
static inline void holds(const char *path, const live_config *c, const state *s)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 82);
    vq_index *ix = open_index(path);
    vq_searcher *all = exact(ix);
    OK(vq_search(all, (float[D]){0}, 1, 1, (uint64_t[1]){0}, NULL, &err));
    live_holds(c, s, all);
    for (int i = 0; i < 60; i++) {
        chooser f;
        chooser_draw(&f, &r);
        state left = live_chosen(s, &f);
        ask(c, all, &left, f.text, (uint64_t)i);
    }
    vq_searcher_close(all);
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
}

#endif
