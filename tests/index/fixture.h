/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h -- what the tests of the index share: seeded rows of every element type, indexes built
 * of them in a temporary folder, searchers. */
#ifndef VQ_TESTS_INDEX_FIXTURE_H
#define VQ_TESTS_INDEX_FIXTURE_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index/searcher.h"
#include "src/base/compiler.h"
#include "src/base/elem.h"
#include "src/base/mem.h"
#include "tests/harness/harness.h"

static vq_error err VQ_UNUSED;

/* The call must succeed / end with the code and a text.  It is given &err. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        vq_status ok_ = (call);                                                                    \
        cr_assert_eq(ok_, VQ_OK, "%s: %d: %s", #call, (int)ok_, err.text);                         \
    } while (0)
#define FAILS(code_, call)                                                                         \
    do {                                                                                           \
        memset(&err, 0, sizeof err);                                                               \
        vq_status fails_ = (call);                                                                 \
        cr_assert_eq(fails_, (code_), "%s: %d, not %d: %s", #call, (int)fails_, (int)(code_),      \
                     err.text);                                                                    \
        cr_assert(err.code == (int32_t)(code_) && err.text[0] != '\0', "%s: no text", #call);      \
    } while (0)

/* n x d floats around 12 seeded centres; vq_mem_free() them. */
static inline float *clusters(uint64_t seed, size_t n, size_t d)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), seed);
    float *x = vq_alloc_f32(n, d), *centres = vq_alloc_f32(12, d);
    fill_normal(&r, centres, 12 * d);
    for (size_t i = 0; i < n; i++) {
        const float *c = centres + vq_rng_below(&r, 12) * d;
        for (size_t j = 0; j < d; j++) x[i * d + j] = c[j] + 0.4f * (float)vq_rng_normal(&r);
    }
    vq_mem_free(centres);
    return x;
}

/* The same count numbers as elements of a type. */
static inline void *as_elem(const float *x, size_t count, uint32_t elem)
{
    uint8_t *out = vq_mem_alloc(count, vq_elem_size(elem));
    for (size_t i = 0; i < count; i++) {
        float whole = roundf(x[i] * 30.0f);
        uint16_t half = vq_f32_to_f16(x[i]);
        if (elem == VQ_F32) memcpy(out + 4 * i, x + i, 4);
        if (elem == VQ_F16) memcpy(out + 2 * i, &half, 2);
        if (elem == VQ_I8) out[i] = (uint8_t)(int8_t)fmaxf(-128.0f, fminf(127.0f, whole));
        if (elem == VQ_U8) out[i] = (uint8_t)fmaxf(0.0f, fminf(255.0f, whole + 128.0f));
    }
    return out;
}

static inline vq_status try_build(const char *path, const void *rows, uint64_t n, uint32_t d,
                                  uint32_t elem, const vq_build_opts *o)
{
    vq_source *src;
    OK(vq_source_open_array(&src, rows, n, d, elem, &err));
    vq_status rc = vq_build(path, src, o, &err);
    vq_source_close(src);
    return rc;
}

static inline void build(const char *path, const void *rows, uint64_t n, uint32_t d, uint32_t elem,
                         const vq_build_opts *o)
{
    vq_build_opts opts = *o;
    if (opts.threads == 0) opts.threads = 1;
    OK(try_build(path, rows, n, d, elem, &opts));
}

/* An index of clustered f32 rows. */
static inline void build_clusters(const char *path, uint64_t seed, size_t n, uint32_t d,
                                  const vq_build_opts *o)
{
    float *x = clusters(seed, n, d);
    build(path, x, n, d, VQ_F32, o);
    vq_mem_free(x);
}

static inline vq_index *open_index(const char *path)
{
    vq_index *ix = NULL;
    OK(vq_open(&ix, path, 0, &err));
    return ix;
}

static inline vq_searcher *open_searcher(vq_index *ix, uint32_t nprobe, uint32_t rerank)
{
    vq_searcher *s = NULL;
    vq_search_opts o = VQ_SEARCH_OPTS_INIT;
    o.nprobe = nprobe;
    o.rerank = rerank;
    OK(vq_searcher_open(&s, ix, &o, &err));
    return s;
}

typedef struct cost {
    double recall, vectors; /* found of the ten; scanned a query */
} cost;

/* Of nq queries in nprobe lists with 200 rows, against exact search of the same index. */
static inline cost cost_of(const char *path, const float *q, size_t nq, uint32_t nprobe)
{
    enum { K = 10 };
    uint64_t *truth = calloc(2 * nq * K, sizeof *truth), *ids = truth + nq * K;
    vq_search_stats stats = VQ_SEARCH_STATS_INIT;
    vq_search_opts so = VQ_SEARCH_OPTS_INIT;
    vq_searcher *all;
    size_t found = 0;
    vq_index *ix = open_index(path);
    so.recall = 1.0f;
    OK(vq_searcher_open(&all, ix, &so, &err));
    OK(vq_search(all, q, nq, K, truth, NULL, &err));
    vq_searcher *some = open_searcher(ix, nprobe, 200);
    OK(vq_search(some, q, nq, K, ids, NULL, &err));
    OK(vq_searcher_stats(some, &stats, &err));
    for (size_t i = 0; i < nq; i++)
        for (size_t a = 0; a < K; a++)
            for (size_t b = 0; b < K; b++) found += ids[i * K + a] == truth[i * K + b];
    vq_searcher_close(all), vq_searcher_close(some);
    vq_close(ix);
    free(truth);
    return (cost){(double)found / (double)(nq * K), (double)stats.vectors / (double)nq};
}

static inline void digest_of(const char *path, char hex[33])
{
    vq_index *ix = open_index(path);
    OK(vq_index_digest(ix, hex, &err));
    vq_close(ix);
}

/* How many problems vq_check finds; UINT64_MAX if it could not look. */
static inline uint64_t problems_of(const char *path)
{
    vq_check_report report = VQ_CHECK_REPORT_INIT;
    if (vq_check(path, NULL, NULL, &report, &err) != VQ_OK) return UINT64_MAX;
    return report.problems;
}

/* Files in a folder whose name begins so. */
static inline int count_files(const char *dir, const char *prefix)
{
    int n = 0;
    DIR *folder = opendir(dir);
    cr_assert(folder != NULL, "%s", dir);
    for (struct dirent *e; (e = readdir(folder)) != NULL;)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0 && strcmp(e->d_name, ".") != 0 &&
             strcmp(e->d_name, "..") != 0;
    (void)closedir(folder);
    return n;
}

/* "n0000".. in a scrambled order, so that ranks are not row numbers; free_names() them. */
static inline char **make_names(size_t n, const char *prefix)
{
    char **names = calloc(n, sizeof *names);
    for (size_t i = 0; i < n; i++)
        cr_assert(asprintf(&names[i], "%s%06zu", prefix, i * 7919 % 1000003) > 0);
    return names;
}

static inline void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

#endif
