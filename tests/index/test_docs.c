/* SPDX-License-Identifier: Apache-2.0 */
/* What vectors carry through everything that happens to an index. */
#include "index/docs.h"

#include "src/io/source.h"
#include "tests/index/described.h"

Test(docs, through_everything, .timeout = 120)
{
    static const live_config *const configs[] = {&number_ids, &string_ids};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *other = test_path(dir, "y.vq");
    for (size_t i = 0; i < 2; i++) {
        state s;
        char a[33], b[33];
        vq_source *src;
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        vq_compact_opts co = VQ_COMPACT_OPTS_INIT;
        build_described(path, configs[i], &s);
        holds(path, configs[i], &s);
        co.force = 1;
        OK(vq_compact(path, other, &co, &err));
        holds(other, configs[i], &s);
        digest_of(path, a), digest_of(other, b);
        cr_assert_str_eq(a, b);
        vq_index *ix = open_index(path);
        OK(vq_source_open_index(&src, ix, &err));
        o.force = 1, o.no_tune = 1, o.codec = "flat", o.nlist = 3;
        OK(vq_build(other, src, &o, &err));
        vq_source_close(src);
        vq_close(ix);
        holds(other, configs[i], &s);
    }
    free(path), free(other);
    test_rmdir(dir);
}

/* The same vectors with the same attributes, at once or later, say the same. */
Test(docs, set_later, .timeout = 60)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *bare = test_path(dir, "y.vq");
    static live_attributes l;
    static uint64_t ids[N];
    state s, nothing;
    vq_writer *w;
    vq_info info = VQ_INFO_INIT;
    vq_write_report report = VQ_WRITE_REPORT_INIT;
    build_described(path, &number_ids, &s);
    live_build(bare, &number_ids, N, &nothing);
    vq_index *ix = open_index(bare);
    OK(vq_index_info(ix, &info, &err));
    cr_assert(info.described == 0 && info.attributes_bytes == 0);
    vq_searcher *all = exact(ix);
    state none = nothing;
    none.n = 0;
    memset(none.there, 0, sizeof none.there);
    ask(&number_ids, all, &none, "tag:en", 1); /* no vector carries anything */
    ask(&number_ids, all, &nothing, "!tag:en & !(time < 5)", 1);
    for (uint32_t i = 0; i < N; i++) ids[i] = i;
    live_attribute(&l, s.doc, N, 7);
    l.a.ids = ids;
    OK(vq_writer_open(&w, bare, NULL, &err));
    OK(vq_writer_set(w, &l.a, &err));
    OK(vq_writer_commit(w, &report, &err));
    cr_assert(report.set == N && report.n == N && report.added + report.deleted == 0);
    chooser f;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 83);
    chooser_draw(&f, &r);
    state left = live_chosen(&s, &f);
    ask(&number_ids, all, &left, f.text, 2); /* the searcher has moved on */
    vq_searcher_close(all);
    OK(vq_index_info(ix, &info, &err));
    size_t described = 0;
    for (uint32_t i = 0; i < N; i++)
        described += s.doc[i].tags != 0 || s.doc[i].payload != 0 || s.doc[i].time != VQ_NO_TIME;
    cr_assert(info.format_version == 4 && info.described == described && info.tags == 5);
    vq_close(ix);
    holds(bare, &number_ids, &s);
    for (uint32_t i = 0; i < N; i++) s.doc[i] = NOTHING; /* and all goes again */
    live_attribute(&l, s.doc, N, 7);
    l.a.ids = ids;
    OK(vq_writer_set(w, &l.a, &err));
    OK(vq_writer_commit(w, &report, &err));
    vq_writer_close(w);
    holds(bare, &number_ids, &s);
    free(path), free(bare);
    test_rmdir(dir);
}

/* A source gives what its rows carried when it was opened, whatever is set and deleted later. */
Test(docs, of_a_source, .timeout = 60)
{
    static const live_config *const configs[] = {&number_ids, &string_ids};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    for (size_t c = 0; c < 2; c++) {
        state s;
        vq_source *src, *other;
        vq_writer *w;
        vq_document d = VQ_DOCUMENT_INIT;
        const uint64_t *ids;
        const char *const *names;
        const char *one[N];
        uint64_t n, two[] = {0, 1};
        build_described(path, configs[c], &s);
        vq_index *ix = open_index(path);
        OK(vq_source_open_index(&src, ix, &err));
        OK(vq_source_ids(src, &ids, &names, &n, &err));
        for (uint64_t i = 0; names != NULL && i < n; i++) one[i] = names[i];
        OK(vq_writer_open(&w, path, NULL, &err));
        OK(vq_writer_delete(w, names == NULL ? two : NULL, names != NULL ? one : NULL, 2, &err));
        OK(vq_writer_commit(w, NULL, &err));
        vq_writer_close(w);
        for (uint64_t i = 0; i < n; i++) {
            char text[128];
            const carried *want = &s.doc[names != NULL ? live_of_name(names[i]) : i];
            OK(vq_source_attributes(src, i, &d, &err));
            cr_assert(d.time == want->time && d.ntags == (uint64_t)__builtin_popcount(want->tags) &&
                      d.payload_bytes == live_payload(want->payload, text));
            cr_assert(d.payload_bytes == 0 || memcmp(d.payload, text, d.payload_bytes) == 0);
        }
        FAILS(VQ_ENOENT, vq_source_attributes(src, n, &d, &err));
        FAILS(VQ_EINVAL, vq_source_attributes(src, 0, NULL, &err));
        OK(vq_source_open_array(&other, (const float[]){1, 2}, 1, 2, VQ_F32, &err));
        FAILS(VQ_EINVAL, vq_source_attributes(other, 0, &d, &err));
        vq_source_close(other);
        vq_source_close(src);
        vq_close(ix);
    }
    free(path);
    test_rmdir(dir);
}

static uint64_t bytes_of(const char *path)
{
    vq_index *ix = open_index(path);
    vq_info info = VQ_INFO_INIT;
    OK(vq_index_info(ix, &info, &err));
    vq_close(ix);
    return info.attributes_bytes;
}

enum { MANY = 3000 };
typedef struct records { /* payloads that are alike; a points to them */
    vq_attributes a;
    char text[MANY][400];
    const void *payloads[MANY];
    uint64_t sizes[MANY], ids[MANY];
} records;

static records *records_new(void)
{
    records *r = malloc(sizeof *r);
    cr_assert(r != NULL);
    r->a = (vq_attributes)VQ_ATTRIBUTES_INIT;
    for (size_t i = 0; i < MANY; i++) {
        int n = snprintf(r->text[i], sizeof r->text[i],
                         "{\"id\": %zu, \"url\": \"https://example.org/wiki/article-%zu\", "
                         "\"title\": \"On the number %zu\", \"language\": \"en\", \"license\": "
                         "\"CC BY-SA\", \"section\": \"introduction\", \"author\": \"nobody\"}",
                         i, i * 7919 % 10007, i * i);
        r->ids[i] = i, r->payloads[i] = r->text[i], r->sizes[i] = (uint64_t)n;
    }
    r->a.ids = r->ids, r->a.n = MANY, r->a.payloads = r->payloads, r->a.payload_bytes = r->sizes;
    return r;
}

static uint64_t records_bytes(const records *r)
{
    uint64_t total = 0;
    for (size_t i = 0; i < MANY; i++) total += r->sizes[i];
    return total;
}

/* Has each of the first n ids its payload, and none of the others one? */
static void records_hold(const records *r, vq_searcher *s, size_t n)
{
    for (size_t i = 0; i < MANY; i += i < 200 ? 1 : 7) {
        vq_document d = VQ_DOCUMENT_INIT;
        OK(vq_get_attributes(s, i, &d, &err));
        if (i < n)
            cr_assert(d.payload_bytes == r->sizes[i] &&
                      memcmp(d.payload, r->text[i], r->sizes[i] + 1) == 0);
        else
            cr_assert(d.payload == NULL && d.payload_bytes == 0);
    }
}

/* Payloads that are alike take a part of their bytes. */
Test(docs, payloads_are_packed)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    records *r = records_new();
    const vq_attributes *given[] = {&r->a};
    o.no_tune = 1, o.codec = "sq8", o.attributes = given, o.nattributes = 1;
    build_clusters(path, 3, MANY, 8, &o);
    cr_assert(bytes_of(path) < records_bytes(r) * 6 / 10, "%llu",
              (unsigned long long)bytes_of(path));
    cr_assert_eq(problems_of(path), 0);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 0, 0);
    records_hold(r, s, MANY);
    vq_document d = VQ_DOCUMENT_INIT;
    FAILS(VQ_ENOENT, vq_get_attributes(s, MANY, &d, &err));
    vq_searcher_close(s);
    vq_close(ix);
    free(r), free(path);
    test_rmdir(dir);
}

/* A few come first, packed alone; then so many that a dictionary is made, and all can be read. */
Test(docs, a_dictionary_later)
{
    enum { FEW = 100 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    records *r = records_new();
    const vq_attributes *given[] = {&r->a};
    float q[8] = {0};
    uint64_t id;
    vq_writer *w;
    for (size_t i = 0; i < FEW; i++) /* that pack without */
        (void)memset(r->text[i], 'a' + (int)i % 20, r->sizes[i]);
    o.no_tune = 1, o.codec = "sq8", o.attributes = given, o.nattributes = 1;
    r->a.n = FEW;
    build_clusters(path, 3, MANY, 8, &o);
    vq_index *ix = open_index(path);
    vq_searcher *s = open_searcher(ix, 0, 0);
    records_hold(r, s, FEW);
    OK(vq_writer_open(&w, path, NULL, &err));
    r->a.n = MANY - FEW, r->a.ids += FEW, r->a.payloads += FEW, r->a.payload_bytes += FEW;
    OK(vq_writer_set(w, &r->a, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    cr_assert(bytes_of(path) < records_bytes(r) * 6 / 10, "%llu",
              (unsigned long long)bytes_of(path));
    OK(vq_search(s, q, 1, 1, &id, NULL, &err)); /* moves on */
    records_hold(r, s, MANY);
    vq_searcher_close(s);
    vq_close(ix);
    cr_assert_eq(problems_of(path), 0);
    free(r), free(path);
    test_rmdir(dir);
}

/* Attributes that say nothing leave the file as it would be without them. */
Test(docs, nothing_said)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), *other = test_path(dir, "y.vq");
    const uint64_t ids[] = {1, 3}, begins[] = {0, 0, 0};
    const char *none[1] = {NULL};
    vq_attributes a = VQ_ATTRIBUTES_INIT;
    const vq_attributes *given[] = {&a};
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_info bare = VQ_INFO_INIT, info = VQ_INFO_INIT;
    a.n = 2, a.ids = ids, a.tags = none, a.tag_begins = begins;
    o.no_tune = 1, o.codec = "sq8", o.store = VQ_ELEM_NONE;
    build_clusters(other, 3, 50, 8, &o);
    o.attributes = given, o.nattributes = 1;
    build_clusters(path, 3, 50, 8, &o);
    vq_index *ix = open_index(path), *without = open_index(other);
    OK(vq_index_info(ix, &info, &err));
    OK(vq_index_info(without, &bare, &err));
    cr_assert(info.described == 0 && bare.format_version < 4);
    cr_assert_eq(info.format_version, bare.format_version);
    vq_close(ix), vq_close(without);
    free(path), free(other);
    test_rmdir(dir);
}

static vq_status try_given(const char *path, const vq_attributes *a, const vq_build_opts *with)
{
    const vq_attributes *given[] = {a, a};
    vq_build_opts o = *with;
    float *x = clusters(5, 50, 8);
    if (with->seed == 7) x[3 * 8] = NAN;
    vq_source *src;
    OK(vq_source_open_array(&src, x, 50, 8, VQ_F32, &err));
    src->skip_bad = with->seed == 7;
    o.no_tune = 1, o.force = 1;
    o.attributes = given;
    if (o.nattributes == 0) o.nattributes = 1;
    vq_status rc = vq_build(path, src, &o, &err);
    vq_source_close(src);
    vq_mem_free(x);
    return rc;
}

Test(docs, what_is_refused)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq"), long_tag[300];
    const uint64_t ids[] = {1, 3, 50}, begins[] = {0, 1, 2}, falling[] = {0, 2, 1};
    const char *tags[] = {"a", "b"}, *names[] = {"x", "y"};
    vq_build_opts o = VQ_BUILD_OPTS_INIT, twice = o, bad_row = o;
    vq_attributes a = VQ_ATTRIBUTES_INIT, good;
    a.ids = ids, a.n = 2, a.tags = tags, a.tag_begins = begins;
    good = a;
    OK(try_given(path, &good, &o));
    twice.nattributes = 2;
    FAILS(VQ_EINVAL, try_given(path, &a, &twice));
    bad_row.seed = 7;
    OK(try_given(path, &a, &bad_row)); /* 3 has been left out */
    cr_assert_eq(problems_of(path), 0);
    a.ids = ids + 1;
    FAILS(VQ_ENOENT, try_given(path, &a, &o));
    cr_assert(strstr(err.text, "no id 50") != NULL, "%s", err.text);
    a = good, a.names = names;
    FAILS(VQ_EINVAL, try_given(path, &a, &o));
    a.ids = NULL;
    FAILS(VQ_EINVAL, try_given(path, &a, &o));
    a = good, a.tag_begins = falling;
    FAILS(VQ_EINVAL, try_given(path, &a, &o));
    a.tag_begins = NULL;
    FAILS(VQ_EINVAL, try_given(path, &a, &o));
    const char *const wrong[] = {"",          "a\tb",         "\x7f",     "\xff",   "\xc3",
                                 "a\xc0\xaf", "\xed\xa0\x80", "\xc2\x85", long_tag, NULL};
    memset(long_tag, 'x', sizeof long_tag);
    long_tag[256] = '\0';
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        a = good, tags[1] = wrong[i];
        FAILS(VQ_EINVAL, try_given(path, &a, &o));
    }
    long_tag[255] = '\0', tags[1] = long_tag;
    OK(try_given(path, &good, &o));
    a = good, a.tags = NULL, a.payloads = (const void *const *)names;
    FAILS(VQ_EINVAL, try_given(path, &a, &o));
    vq_writer *w;
    OK(vq_writer_open(&w, path, NULL, &err));
    a = good, a.ids = ids + 1;
    FAILS(VQ_ENOENT, vq_writer_set(w, &a, &err));
    a.ids = (const uint64_t[]){4, 4};
    FAILS(VQ_EINVAL, vq_writer_set(w, &a, &err));
    FAILS(VQ_EINVAL, vq_writer_set(NULL, &a, &err));
    vq_write_report report = VQ_WRITE_REPORT_INIT;
    OK(vq_writer_commit(w, &report, &err));
    cr_assert_eq(report.set, 0);
    vq_writer_close(w);
    vq_searcher *s;
    vq_index *ix = open_index(path);
    OK(vq_searcher_open(&s, ix, NULL, &err));
    FAILS(VQ_EINVAL, vq_searcher_filter_text(s, "tag:", &err));
    FAILS(VQ_EINVAL, vq_searcher_filter_text(NULL, "tag:x", &err));
    vq_searcher_close(s);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

/* Both kinds of filter at once. */
Test(docs, with_ids, .timeout = 60)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    state s;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 84);
    build_described(path, &number_ids, &s);
    vq_index *ix = open_index(path);
    vq_searcher *all = exact(ix);
    for (int i = 0; i < 40; i++) {
        chooser f;
        uint64_t ids[N], n = 0;
        uint32_t kind = VQ_FILTER_ALLOW + (uint32_t)(i % 2);
        bool named[UNIVERSE] = {false};
        for (uint64_t id = 0; id < N; id++)
            if (vq_rng_below(&r, 3) == 0) named[id] = true, ids[n++] = id;
        chooser_draw(&f, &r);
        state left = live_chosen(&s, &f);
        for (uint32_t id = 0; id < N; id++)
            if (left.there[id] && named[id] != (kind == VQ_FILTER_ALLOW))
                left.there[id] = false, left.n--;
        OK(vq_searcher_filter(all, kind, ids, NULL, n, &err));
        ask(&number_ids, all, &left, f.text, (uint64_t)i);
    }
    vq_searcher_close(all);
    vq_close(ix);
    free(path);
    test_rmdir(dir);
}

/* ---- damage ---- */
