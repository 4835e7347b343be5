/* SPDX-License-Identifier: Apache-2.0 */
/* peer_hnswlib.cpp -- hnswlib on the same data: M = 16, efConstruction = 200, f32 rows. */
#include <hnswlib/hnswlib.h>
#include <omp.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "bench/macro/bench.h"
#include "vq/vq.h"

namespace
{

using Graph = hnswlib::HierarchicalNSW<float>;

void tune(void *ctx, uint32_t ef, uint32_t)
{
    static_cast<Graph *>(ctx)->setEf(ef);
}

void search(void *ctx, const float *query, uint64_t *ids)
{
    auto found = static_cast<Graph *>(ctx)->searchKnn(query, BENCH_K);
    for (size_t i = BENCH_K; i-- > 0;) {
        ids[i] = i < found.size() ? found.top().second : VQ_NO_ID;
        if (i < found.size()) found.pop();
    }
}

} // namespace

int main(int argc, char **argv)
{
    bench b;
    bench_open(&b, argc, argv);
    float *rows = bench_rows_normalised(&b);
    std::unique_ptr<hnswlib::SpaceInterface<float>> space;
    if (b.metric == VQ_METRIC_L2)
        space.reset(new hnswlib::L2Space(b.d));
    else
        space.reset(new hnswlib::InnerProductSpace(b.d));

    double heap = bench_heap_mb(), start = bench_now();
    Graph graph(space.get(), b.n, 16, 200);
    graph.addPoint(rows, 0);
    if (b.threads != 0) omp_set_num_threads(static_cast<int>(b.threads));
#pragma omp parallel for schedule(dynamic, 64)
    for (size_t i = 1; i < b.n; i++) graph.addPoint(rows + i * b.d, i);
    b.engine = "hnswlib M=16 efC=200";
    b.build_s = bench_now() - start;
    b.mb = bench_heap_mb() - heap;
    free(rows); // the graph has its own copy

    for (uint32_t ef :
         {10u, 14u, 20u, 28u, 40u, 56u, 80u, 112u, 160u, 224u, 320u, 450u, 640u, 900u}) {
        char params[64];
        (void)std::snprintf(params, sizeof params, "ef=%u", ef);
        bench_try(&b, params, ef, 0, tune, search, &graph);
    }
    bench_close(&b, tune, search, &graph);
    return 0;
}
