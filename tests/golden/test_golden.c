/* SPDX-License-Identifier: Apache-2.0 */
/* Files of every format version that there was must be read as on the day they were made.  make.sh
 * made them. */
#include "src/base/pack.h"
#include "tests/index/fixture.h"

#define FOLDER VQ_SOURCE_DIR "/tests/golden/"

enum { D = 6, WIDE = 112, NQ = 4, K = 5 };

/* Unpacks NAME.vq.zst to path. */
static void unpack(const char *name, const char *path)
{
    char packed[500];
    enum { ROOM = 1 << 20 };
    uint8_t *bytes = malloc(ROOM);
    size_t len = 0, got = 1;
    vq_stream *stream;
    (void)snprintf(packed, sizeof packed, FOLDER "%s.vq.zst", name);
    OK(vq_stream_open(&stream, packed, &err));
    for (; got > 0; len += got) OK(vq_stream_read(stream, bytes + len, ROOM - len, &got, &err));
    cr_assert(len > 4096 && len < ROOM);
    vq_stream_close(stream);
    test_write(path, bytes, len);
    free(bytes);
}

/* The next line of a table without its newline; NULL at the end. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (end == NULL) return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

/* Answers and digest against NAME.tsv: query, rank, id, score; then the digest. */
static void compare(const char *name, vq_index *ix, const float *q, uint32_t nprobe,
                    const char *filter)
{
    char table[500], id[501], hex[33], *at, *line;
    uint64_t ids[NQ * K];
    float scores[NQ * K];
    size_t len;
    (void)snprintf(table, sizeof table, FOLDER "%s.tsv", name);
    char *text = (char *)test_read(table, &len);
    at = text;
    vq_searcher *s = open_searcher(ix, nprobe, 0);
    OK(vq_searcher_filter_text(s, filter, &err));
    OK(vq_search(s, q, NQ, K, ids, scores, &err));
    for (size_t i = 0; i < NQ * K; i++) {
        line = next_line(&at);
        cr_assert(line != NULL);
        char want[600];
        OK(vq_id_name(s, ids[i], id, sizeof id, &err));
        (void)snprintf(want, sizeof want, "%zu\t%zu\t%s\t%.9g", i / K, i % K + 1, id,
                       (double)scores[i]);
        cr_assert_str_eq(line, want);
    }
    OK(vq_index_digest(ix, hex, &err));
    line = next_line(&at);
    cr_assert(line != NULL && *at == '\0');
    cr_assert_str_eq(line, hex);
    vq_searcher_close(s);
    free(text);
}

static void read_queries(const char *path, float *q)
{
    size_t got;
    vq_source *src;
    OK(vq_source_open_file(&src, path, 0, &err));
    OK(vq_source_read_f32(src, q, NQ, &got, &err));
    cr_assert_eq(got, NQ);
    vq_source_close(src);
}

/* Codes are read to the end as error bars of their own tell, wide and narrow. */
static void has_bars(vq_index *ix, const float *q)
{
    uint64_t ids[K], same[K];
    float scores[K];
    vq_search_stats stats = VQ_SEARCH_STATS_INIT;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    for (int wide = 0; wide < 2; wide++) {
        vq_searcher *s;
        o.bars = wide ? 100.0f : 3.0f;
        OK(vq_searcher_open(&s, ix, &o, &err));
        cr_assert(s->shards[0].model.bars != NULL);
        OK(vq_search(s, q, 1, K, wide ? ids : same, scores, &err));
        OK(vq_searcher_stats(s, &stats, &err));
        cr_assert(wide ? stats.codes == 120 : stats.codes >= K && stats.codes < 120);
        vq_searcher_close(s);
    }
    cr_assert(memcmp(ids, same, sizeof ids) == 0);
}

/* A payload that was packed with a dictionary. */
static void unpacks(vq_index *ix)
{
    static const char payload[] =
        "{\"id\": 117, \"drink\": \"tea\", \"cups\": 0, \"text\": \"served in the year 1917\"}";
    vq_document d = VQ_DOCUMENT_INIT;
    vq_searcher *s = open_searcher(ix, 0, 0);
    OK(vq_get_attributes(s, 117, &d, &err));
    cr_assert(d.ntags == 1 && d.time == VQ_NO_TIME);
    cr_assert_str_eq(d.tags[0], "odd");
    cr_assert_str_eq(d.payload, payload);
    vq_searcher_close(s);
}

/* One of the vectors that moved when others were deleted, and one that came later. */
static void carries(vq_index *ix)
{
    static const char payload[] =
        "{\"id\": \"caf\xc3\xa9 92\", \"drink\": \"coffee\", \"cups\": 41, \"text\": "
        "\"served in the year 1941\"}";
    vq_document d = VQ_DOCUMENT_INIT;
    uint64_t id;
    vq_searcher *s = open_searcher(ix, 0, 0);
    OK(vq_id_find(s, "caf\xc3\xa9 92", &id, &err));
    OK(vq_get_attributes(s, id, &d, &err));
    cr_assert(d.ntags == 1 && d.time == 21);
    cr_assert_str_eq(d.payload, payload);
    OK(vq_id_find(s, "tea 09", &id, &err));
    OK(vq_get_attributes(s, id, &d, &err));
    cr_assert(d.ntags == 0 && d.time == VQ_NO_TIME);
    cr_assert_str_eq(d.payload, "{\"id\": \"tea 09\"}");
    vq_searcher_close(s);
}

Test(golden, files_of_each_format)
{
    static const struct {
        const char *name;
        uint32_t d, format, strings, nprobe;
        bool copies;
        const char *filter;
        uint64_t n;
    } files[] = {{"v1-strings", D, 1, 1, 0, false, NULL, 96},
                 {"v1-numbers", D, 1, 0, 0, false, NULL, 96},
                 {"v1-saq", D, 1, 0, 0, false, NULL, 96},
                 {"v1-bars", WIDE, 1, 0, 0, false, NULL, 120},
                 {"v1-rabitq", WIDE, 1, 0, 0, false, NULL, 120},
                 {"v2-copies", D, 2, 1, 2, true, NULL, 96},
                 {"v3-changed", D, 3, 1, 2, true, NULL, 96},
                 {"v4-attributes", D, 4, 1, 0, true,
                  "tag:en & time>=-10 | tag:\"the other half\" & !(time<20)", 93},
                 {"v4-dictionary", D, 4, 0, 0, false, "tag:odd", 200},
                 {"v5-rounded", WIDE, 5, 0, 0, false, NULL, 120}};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float narrow[NQ * D], wide[NQ * WIDE];
    read_queries(FOLDER "queries.fvecs", narrow);
    read_queries(FOLDER "queries-wide.fvecs", wide);
    for (size_t i = 0; i < VQ_COUNT(files); i++) {
        vq_info info = VQ_INFO_INIT;
        const float *q = files[i].d == D ? narrow : wide;
        unpack(files[i].name, path);
        cr_assert_eq(problems_of(path), 0, "%s: %s", files[i].name, err.text);
        vq_index *ix = open_index(path);
        OK(vq_index_info(ix, &info, &err));
        cr_assert(info.format_version == files[i].format && info.n == files[i].n);
        cr_assert_eq(info.d, files[i].d);
        cr_assert(info.string_ids == files[i].strings && (info.copies > 0) == files[i].copies);
        compare(files[i].name, ix, q, files[i].nprobe, files[i].filter);
        if (files[i].d == WIDE) has_bars(ix, q);
        if (strcmp(files[i].name, "v4-attributes") == 0) carries(ix);
        if (strcmp(files[i].name, "v4-dictionary") == 0) unpacks(ix);
        vq_close(ix);
    }
    free(path);
    test_rmdir(dir);
}
