/* SPDX-License-Identifier: Apache-2.0 */
/* peer_faiss.cpp -- Faiss on the same data: IVF512, four dimensions a 4-bit code (fast scan), and a
 * refinement by the rows in f32. */
#include <faiss/IndexFlat.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexRefine.h>
#include <faiss/index_factory.h>
#include <omp.h>

#include <cstdio>
#include <memory>
#include <string>

#include "bench/macro/bench.h"
#include "vq/vq.h"

namespace
{

struct Engine {
    faiss::IndexIVF *ivf;
    faiss::IndexRefineFlat *refine;
};

void tune(void *ctx, uint32_t nprobe, uint32_t factor)
{
    auto *e = static_cast<Engine *>(ctx);
    e->ivf->nprobe = nprobe;
    e->refine->k_factor = static_cast<float>(factor);
}

void search(void *ctx, const float *query, uint64_t *ids)
{
    float scores[BENCH_K];
    faiss::Index::idx_t labels[BENCH_K];
    static_cast<Engine *>(ctx)->refine->search(1, query, BENCH_K, scores, labels);
    for (int i = 0; i < BENCH_K; i++)
        ids[i] = labels[i] < 0 ? VQ_NO_ID : static_cast<uint64_t>(labels[i]);
}

} // namespace

int main(int argc, char **argv)
{
    bench b;
    bench_open(&b, argc, argv);
    float *rows = bench_rows_normalised(&b);
    auto metric = b.metric == VQ_METRIC_L2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT;
    uint32_t m = b.d % 4 == 0 ? b.d / 4 : b.d;
    std::string recipe = "IVF512,PQ" + std::to_string(m) + "x4fs";
    std::string name = "Faiss " + recipe + " + Refine(f32)";

    if (b.threads != 0) omp_set_num_threads(static_cast<int>(b.threads));
    double heap = bench_heap_mb(), start = bench_now();
    std::unique_ptr<faiss::Index> coarse(
        faiss::index_factory(static_cast<int>(b.d), recipe.c_str(), metric));
    faiss::IndexRefineFlat refine(coarse.get());
    refine.train(static_cast<faiss::Index::idx_t>(b.n), rows);
    refine.add(static_cast<faiss::Index::idx_t>(b.n), rows);
    for (char &c : name)
        if (c == ',') c = ' '; // CSV
    b.engine = name.c_str();
    b.build_s = bench_now() - start;
    b.mb = bench_heap_mb() - heap;
    free(rows);

    omp_set_num_threads(1);
    Engine e = {dynamic_cast<faiss::IndexIVF *>(coarse.get()), &refine};
    for (uint32_t nprobe = 1; nprobe <= 512; nprobe *= 2)
        for (uint32_t factor : {1u, 2u, 4u, 8u, 16u, 32u}) {
            char params[64];
            (void)std::snprintf(params, sizeof params, "nprobe=%u k_factor=%u", nprobe, factor);
            bench_try(&b, params, nprobe, factor, tune, search, &e);
        }
    bench_close(&b, tune, search, &e);
    return 0;
}
