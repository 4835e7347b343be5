/* SPDX-License-Identifier: Apache-2.0 */
/* live.h -- an index that changes beside a plain array that says what it must hold. */
#ifndef VQ_TESTS_INDEX_LIVE_H
#define VQ_TESTS_INDEX_LIVE_H

#include "src/math/score.h"
#include "tests/index/chooser.h"
#include "tests/index/fixture.h"

enum { UNIVERSE = 600, MOST_AT_ONCE = 9, MOST_D = 2048 };

typedef struct live_config {
    const char *codec;
    uint32_t metric, store, nlist, d;
    bool strings, copies;
    uint32_t bytes; /* of code; 0: the codec's choice */
} live_config;

typedef struct carried { /* beside the coordinates */
    uint32_t tags;       /* bit i: chooser_tags[i] */
    uint32_t payload;    /* 0: none */
    int64_t time;
} carried;
#define NOTHING ((carried){.time = VQ_NO_TIME})

typedef struct state {
    bool there[UNIVERSE];
    uint32_t row[UNIVERSE]; /* its number in a table of rows */
    carried doc[UNIVERSE];
    size_t n;
} state;

/* Whole numbers, so that each store holds them; of a table that all tests share: row r of
 * dimension d.  Most of those that come later crowd together, so that a list grows too large. */
enum { ASKED_FROM = 1000000 /* rows that are queries */ };
static inline void live_row(uint32_t r, size_t d, float *x)
{
    vq_rng rng;
    vq_rng_init(&rng, test_seed(), 1000 + r);
    bool crowd = r >= UNIVERSE && r < ASKED_FROM && r % 8 != 0;
    for (size_t j = 0; j < d; j++)
        x[j] = crowd ? (float)vq_rng_below(&rng, 13) + 8.0f : (float)vq_rng_below(&rng, 41) - 20.0f;
}

/* "k017", so that labels are no ranks of what comes later. */
static inline const char *live_name(uint32_t i, char room[16])
{
    (void)snprintf(room, 16, "k%03u", i * 7919u % 1000u);
    return room;
}

static inline uint32_t live_of_name(const char *name)
{
    uint32_t k = (uint32_t)strtoul(name + 1, NULL, 10), i = 0;
    while (i * 7919u % 1000u != k) i++;
    return i;
}

/* Alike, so that they pack; the text of payload p. */
static inline size_t live_payload(uint32_t p, char room[128])
{
    if (p == 0) return 0;
    return (size_t)snprintf(room, 128, "{\"title\": \"the story of %u\", \"price\": %u}%.*s", p,
                            p * 7919u % 1000u, (int)(p % 50),
                            "...................................................");
}

static inline carried live_carried(vq_rng *r)
{
    carried c = NOTHING;
    c.tags = (uint32_t)vq_rng_below(r, 1u << (CHOOSER_TAGS - 1));
    if (vq_rng_below(r, 3) > 0) c.time = (int64_t)vq_rng_below(r, 21) - 10;
    if (vq_rng_below(r, 3) > 0) c.payload = 1 + (uint32_t)vq_rng_below(r, 1000);
    return c;
}

typedef struct live_attributes { /* room for what vq_attributes points to */
    vq_attributes a;
    const char *tags[UNIVERSE * CHOOSER_TAGS];
    uint64_t begins[UNIVERSE + 1];
    int64_t times[UNIVERSE];
    char text[UNIVERSE][128];
    const void *payloads[UNIVERSE];
    uint64_t bytes[UNIVERSE];
} live_attributes;

/* Row i is of c[i]; kinds: bits 0 tags, 1 times, 2 payloads. */
static inline void live_attribute(live_attributes *l, const carried *c, size_t n, uint32_t kinds)
{
    uint64_t at = 0;
    l->a = (vq_attributes)VQ_ATTRIBUTES_INIT;
    l->a.n = n;
    l->begins[0] = 0;
    for (size_t i = 0; i < n; i++) {
        for (uint32_t t = 0; t < CHOOSER_TAGS; t++)
            if ((c[i].tags >> t & 1) != 0) l->tags[at++] = chooser_tags[t];
        l->begins[i + 1] = at;
        l->times[i] = c[i].time;
        l->bytes[i] = live_payload(c[i].payload, l->text[i]);
        l->payloads[i] = l->text[i];
    }
    if ((kinds & 1) != 0) l->a.tags = l->tags, l->a.tag_begins = l->begins;
    if ((kinds & 2) != 0) l->a.times = l->times;
    if ((kinds & 4) != 0) l->a.payloads = l->payloads, l->a.payload_bytes = l->bytes;
}

static inline void live_build(const char *path, const live_config *c, size_t n, state *s)
{
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    float *x = vq_alloc_f32(n, c->d);
    char names[UNIVERSE][16];
    const char *list[UNIVERSE];
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < n; i++) {
        live_row(i, c->d, x + i * c->d);
        s->there[i] = true, s->row[i] = i;
        list[i] = live_name(i, names[i]);
    }
    s->n = n;
    for (uint32_t i = 0; i < UNIVERSE; i++) s->doc[i] = NOTHING;
    o.codec = c->codec, o.metric = c->metric, o.store = c->store, o.nlist = c->nlist;
    o.code_bytes = c->bytes;
    o.copies = c->copies ? VQ_COPIES_YES : VQ_COPIES_NO;
    o.no_tune = 1, o.force = 1, o.rotation = VQ_ROTATION_NONE;
    if (c->strings) o.names = list, o.nids = n;
    void *rows = c->store == VQ_I8 ? vq_mem_alloc(n, c->d) : NULL;
    for (size_t i = 0; rows != NULL && i < n * c->d; i++) ((int8_t *)rows)[i] = (int8_t)x[i];
    build(path, rows != NULL ? rows : x, n, c->d, rows != NULL ? VQ_I8 : VQ_F32, &o);
    vq_mem_free(rows);
    vq_mem_free(x);
}

static inline float live_score(const live_config *c, const float *q, uint32_t r)
{
    double wide[MOST_D], sq = 0;
    float x[MOST_D];
    cr_assert(c->d <= MOST_D);
    live_row(r, c->d, x);
    for (size_t j = 0; j < c->d; j++) wide[j] = (double)q[j];
    sq = vq_kernels_get()->sq_row_f32(q, c->d);
    return vq_exact_score(vq_kernels_get(), c->metric, VQ_F32, wide, sq, x, c->d, 1.0);
}

/* The universe's number of an id that a searcher hands out. */
static inline uint32_t live_of_id(const live_config *c, vq_searcher *s, uint64_t id)
{
    char name[501];
    OK(vq_id_name(s, id, name, sizeof name, &err));
    uint32_t i = c->strings ? live_of_name(name) : (uint32_t)id;
    cr_assert(i < UNIVERSE, "%s", name);
    return i;
}

static inline int live_rising(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Is every answer (numbers of the universe) of what is there, with its score?  all: and are the
 * answers the k best? */
static inline bool live_matches(const live_config *c, const state *s, const float *q,
                                const uint64_t *ids, const float *scores, uint32_t k, bool all)
{
    float want[UNIVERSE];
    size_t n = 0, found = 0;
    bool larger = vq_metric_larger(c->metric), seen[UNIVERSE] = {false};
    for (uint32_t i = 0; i < UNIVERSE && all; i++)
        if (s->there[i]) want[n++] = live_score(c, q, s->row[i]);
    qsort(want, n, sizeof *want, live_rising);
    for (; found < k && ids[found] != VQ_NO_ID; found++) {
        uint64_t i = ids[found];
        if (i >= UNIVERSE || !s->there[i] || seen[i]) return false;
        seen[i] = true;
        if (scores[found] != live_score(c, q, s->row[i])) return false;
        if (all && (found >= n || scores[found] != want[larger ? n - 1 - found : found]))
            return false;
    }
    return !all || found == VQ_MIN(n, (size_t)k);
}

static inline void live_compare(const live_config *c, const state *s, vq_searcher *searcher,
                                const float *q, const uint64_t *ids, const float *scores,
                                uint32_t k, bool all)
{
    uint64_t of[64];
    cr_assert(k <= VQ_COUNT(of));
    for (uint32_t i = 0; i < k; i++)
        of[i] = ids[i] != VQ_NO_ID ? live_of_id(c, searcher, ids[i]) : VQ_NO_ID;
    cr_assert(live_matches(c, s, q, of, scores, k, all), "%s: an answer is wrong", c->codec);
}

static inline void live_carries(vq_searcher *s, uint64_t id, const carried *c)
{
    vq_document d = VQ_DOCUMENT_INIT;
    char text[128];
    size_t bytes = live_payload(c->payload, text);
    uint32_t tags = 0;
    OK(vq_get_attributes(s, id, &d, &err));
    for (uint64_t i = 0; i < d.ntags; i++)
        for (uint32_t t = 0; t < CHOOSER_TAGS; t++)
            if (strcmp(d.tags[i], chooser_tags[t]) == 0) tags ^= 1u << t;
    cr_assert(tags == c->tags && d.ntags == (uint64_t)__builtin_popcount(tags), "other tags");
    cr_assert_eq(d.time, c->time);
    cr_assert(d.payload_bytes == bytes && (bytes == 0) == (d.payload == NULL), "another payload");
    cr_assert(bytes == 0 || memcmp(d.payload, text, bytes) == 0, "another payload");
}

/* What a filter leaves of a state. */
static inline state live_chosen(const state *s, const chooser *c)
{
    state left = *s;
    left.n = 0;
    for (uint32_t i = 0; i < UNIVERSE; i++) {
        left.there[i] = s->there[i] && chooser_holds(c, 0, s->doc[i].tags, s->doc[i].time);
        left.n += left.there[i];
    }
    return left;
}

/* Is everything of the state there, and nothing else? */
static inline void live_holds(const live_config *c, const state *s, vq_searcher *searcher)
{
    float row[MOST_D], want[MOST_D];
    for (uint32_t i = 0; i < UNIVERSE; i++) {
        char room[16];
        uint64_t id = 0;
        if (!c->strings) (void)snprintf(room, sizeof room, "%u", i);
        vq_status rc = vq_id_find(searcher, c->strings ? live_name(i, room) : room, &id, &err);
        cr_assert_eq(rc, s->there[i] ? VQ_OK : VQ_ENOENT, "id %u: %d: %s", i, (int)rc, err.text);
        if (rc != VQ_OK) continue;
        OK(vq_get(searcher, id, row, &err));
        live_row(s->row[i], c->d, want);
        cr_assert(memcmp(row, want, c->d * sizeof *row) == 0, "id %u: another row", i);
        live_carries(searcher, id, &s->doc[i]);
    }
}

static inline uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

#endif
