/* SPDX-License-Identifier: Apache-2.0 */
/* curve.c -- recall against speed of vq: an index with the default options, every nprobe x rerank
 * through the public API. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/macro/bench.h"
#include "vq/vq.h"

typedef struct engine {
    vq_index *index;
    vq_searcher *searcher;
} engine;

static void check(vq_status rc, const vq_error *err)
{
    if (rc == VQ_OK) return;
    fprintf(stderr, "vq: %s: %s\n", vq_strerror(rc), err->text);
    exit(1);
}

static void tune(void *ctx, uint32_t nprobe, uint32_t rerank)
{
    engine *e = ctx;
    vq_error err;
    vq_search_opts opts = VQ_SEARCH_OPTS_INIT;
    opts.nprobe = nprobe;
    opts.rerank = rerank;
    opts.threads = 1;
    vq_searcher_close(e->searcher);
    check(vq_searcher_open(&e->searcher, e->index, &opts, &err), &err);
}

static void search(void *ctx, const float *query, uint64_t *ids)
{
    engine *e = ctx;
    vq_error err;
    check(vq_search(e->searcher, query, 1, BENCH_K, ids, NULL, &err), &err);
}

static void build(bench *b, const char *path)
{
    vq_error err;
    vq_source *src = NULL;
    vq_build_opts opts = VQ_BUILD_OPTS_INIT;
    opts.metric = b->metric;
    opts.threads = b->threads;
    opts.force = 1;
    double start = bench_now();
    check(vq_source_open_file(&src, b->base_path, 0, &err), &err);
    check(vq_build(path, src, &opts, &err), &err);
    vq_source_close(src);
    b->build_s = bench_now() - start;
}

int main(int argc, char **argv)
{
    static const uint32_t reranks[] = {10, 20, 30, 50, 75, 100, 150, 200, 400};
    bench b;
    engine e = {NULL, NULL};
    vq_error err;
    vq_info info = VQ_INFO_INIT;
    char path[4096], params[64];

    bench_open(&b, argc, argv);
    (void)snprintf(path, sizeof path, "%s/%s.vq", b.work, b.name);
    build(&b, path);
    check(vq_open(&e.index, path, 0, &err), &err);
    check(vq_index_info(e.index, &info, &err), &err);
    b.engine = "vq";
    b.n = (size_t)info.n;
    b.mb = (double)info.file_bytes / 1e6;

    for (uint32_t nprobe = 1;; nprobe = nprobe < 4 ? nprobe + 1 : nprobe + nprobe / 3) {
        if (nprobe > info.nlist) nprobe = info.nlist;
        for (size_t i = 0; i < sizeof reranks / sizeof *reranks; i++) {
            (void)snprintf(params, sizeof params, "nprobe=%u rerank=%u", nprobe, reranks[i]);
            bench_try(&b, params, nprobe, reranks[i], tune, search, &e);
        }
        if (nprobe == info.nlist) break;
    }
    bench_try(&b, "defaults", 0, 0, tune, search, &e);
    bench_close(&b, tune, search, &e);
    vq_searcher_close(e.searcher);
    vq_close(e.index);
    (void)unlink(path);
    return 0;
}
