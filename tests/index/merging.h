/* SPDX-License-Identifier: Apache-2.0 */
/* merging.h -- indexes that are parts of one, for tests of merging. */
#ifndef VQ_TESTS_INDEX_MERGING_H
#define VQ_TESTS_INDEX_MERGING_H

#include "tests/index/described.h"

enum { DELETE = UINT32_MAX };

/* Every step-th id from..to-1 is deleted (row: DELETE), or gets row + its number. */
static inline void change(const char *path, const live_config *c, state *s, uint32_t from,
                          uint32_t to, uint32_t step, uint32_t row)
{
    static float x[UNIVERSE * MOST_D];
    static char rooms[UNIVERSE][16];
    static const char *names[UNIVERSE];
    static uint64_t numbers[UNIVERSE];
    size_t n = 0;
    vq_writer *w;
    vq_source *src;
    for (uint32_t i = from; i < to; i += step, n++) {
        names[n] = live_name(i, rooms[n]);
        numbers[n] = i;
        s->n = s->n + (row != DELETE) - s->there[i];
        s->there[i] = row != DELETE;
        if (row == DELETE) continue;
        s->row[i] = row + i;
        live_row(row + i, c->d, x + n * c->d);
    }
    const uint64_t *ids = c->strings ? NULL : numbers;
    const char *const *strings = c->strings ? names : NULL;
    OK(vq_writer_open(&w, path, NULL, &err));
    if (row == DELETE) {
        OK(vq_writer_delete(w, ids, strings, n, &err));
    } else {
        OK(vq_source_open_array(&src, x, n, c->d, VQ_F32, &err));
        OK(vq_writer_upsert(w, src, ids, strings, n, &err));
        vq_source_close(src);
    }
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
}

static inline vq_status merge(const char *a, const char *b, const char *out, uint32_t keep)
{
    const char *paths[] = {a, b};
    vq_merge_opts o = VQ_MERGE_OPTS_INIT;
    o.keep = keep, o.force = 1;
    return vq_merge(paths, 2, out, &o, &err);
}

/* Rows from..to-1 with attributes drawn by seed; by the model of another index, or one of its own.
 */
static inline void build_range(const char *path, const live_config *c, uint32_t from, uint32_t to,
                               uint64_t seed, const char *model, state *s)
{
    static live_attributes l;
    static char rooms[UNIVERSE][16];
    static const char *names[UNIVERSE];
    static uint64_t ids[UNIVERSE];
    static float x[UNIVERSE * D];
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < UNIVERSE; i++) s->doc[i] = NOTHING;
    for (uint32_t i = from; i < to; i++) {
        live_row(i, D, x + (i - from) * D);
        names[i - from] = live_name(i, rooms[i]);
        ids[i - from] = i;
        s->there[i] = true, s->row[i] = i, s->n++;
        s->doc[i] = live_carried(&r);
    }
    live_attribute(&l, s->doc + from, s->n, 7);
    l.a.ids = c->strings ? NULL : ids;
    l.a.names = c->strings ? names : NULL;
    const vq_attributes *given[] = {&l.a};
    o.attributes = given, o.nattributes = 1, o.no_tune = 1, o.force = 1;
    if (c->strings) o.names = names, o.nids = s->n;
    if (!c->strings) o.ids = ids, o.nids = s->n;
    if (model == NULL) {
        o.codec = c->codec, o.metric = c->metric, o.store = c->store, o.nlist = c->nlist;
        o.copies = c->copies ? VQ_COPIES_YES : VQ_COPIES_NO, o.rotation = VQ_ROTATION_NONE;
    } else {
        o.model = open_index(model);
    }
    build(path, x, s->n, D, VQ_F32, &o);
    vq_close(o.model);
}

static inline state both(const state *a, const state *b)
{
    state s = *a;
    for (uint32_t i = 0; i < UNIVERSE; i++) {
        if (s.there[i] || !b->there[i]) continue;
        s.there[i] = true, s.row[i] = b->row[i], s.doc[i] = b->doc[i], s.n++;
    }
    return s;
}

#endif
