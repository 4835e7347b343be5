/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c -- see probe.h.  Lists are seeded points in clusters of 64, queries points of the same
 * clusters, as vectors of vq gen and the lists that k-means makes of them. */
#include "bench/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/searcher.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/team.h"

enum { CLUSTER = 64, NPROBE = 32, MADE = 8 /* more than micro.c has shapes */ };
#define NOISE 0.5

static struct lists {
    vq_shard shard; /* what a probe needs of one */
    float *centroids, *biases, *sizes, *queries, *centres;
    void *scratch; /* NULL: there are none yet */
} made[MADE];      /* by number and dimensions */

static void need(const void *p)
{
    if (p != NULL) return;
    (void)fprintf(stderr, "vq_micro: out of memory\n");
    exit(1);
}

static void need_ok(vq_status rc, const vq_error *err)
{
    if (rc == VQ_OK) return;
    (void)fprintf(stderr, "vq_micro: %s\n", err->text);
    exit(1);
}

static double normal(vq_rng *r)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++) sum += vq_rng_f64(r);
    return sum;
}

static void draw(vq_rng *r, const float *centres, size_t clusters, float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++, x += d) {
        const float *c = centres + vq_rng_below(r, clusters) * d;
        for (size_t j = 0; j < d; j++) x[j] = c[j] + (float)(NOISE * normal(r));
    }
}

void probe_free(void)
{
    for (size_t i = 0; i < MADE; i++) {
        vq_brief_free(&made[i].shard.brief);
        vq_groups_free(&made[i].shard.groups);
        vq_mem_free(made[i].centroids);
        vq_mem_free(made[i].biases);
        vq_mem_free(made[i].sizes);
        vq_mem_free(made[i].queries);
        vq_mem_free(made[i].centres);
        vq_mem_free(made[i].scratch);
    }
    memset(made, 0, sizeof made);
}

/* Lists as a build leaves them, with a brief and groups as a searcher has them. */
static void make(struct lists *to, const vq_kernels *k, size_t n, size_t d)
{
    vq_error err;
    vq_rng r;
    size_t clusters = n / CLUSTER;
    vq_model *m = &to->shard.model;
    vq_rng_init(&r, 1, n);
    *m = (vq_model){.n = n, .d = (uint32_t)d, .d_code = (uint32_t)d, .nlist = (uint32_t)n};
    m->metric = VQ_METRIC_L2;
    m->transform_kind = VQ_TRANSFORM_IDENTITY;
    m->codec = vq_codec_by_name("flat");
    to->centres = vq_alloc_f32(clusters, d);
    to->centroids = vq_alloc_f32(n, d);
    to->queries = vq_alloc_f32(PROBE_QUERIES, d);
    need(to->centres), need(to->centroids), need(to->queries);
    for (size_t i = 0; i < clusters * d; i++) to->centres[i] = (float)normal(&r);
    draw(&r, to->centres, clusters, to->centroids, n, d);
    draw(&r, to->centres, clusters, to->queries, PROBE_QUERIES, d);
    m->centroids = to->centroids;
    need_ok(vq_grouping_form(m, to->centroids, &to->sizes, vq_team(0, 1024), &err), &err);
    to->biases = vq_alloc_f32(1, n);
    need(to->biases);
    for (size_t i = 0; i < n; i++)
        to->biases[i] = 0.5f * k->dot_f32(m->centroids + i * d, m->centroids + i * d, d);
    m->biases = to->biases;
    if (m->ngroups > 0)
        need_ok(
            vq_grouping_measure(m, to->sizes, to->centroids, n, NULL, 0, vq_team(0, 1024), &err),
            &err);
    need_ok(vq_brief_make(&to->shard.brief, m, k, &err), &err);
    need_ok(vq_shard_group(&to->shard, &err), &err);
    to->scratch = vq_mem_alloc(vq_probe_scratch(m), 1);
    need(to->scratch);
}

size_t probe_run(const vq_kernels *k, size_t n, size_t d)
{
    vq_hit hits[NPROBE];
    struct lists *of = made;
    while (of->scratch != NULL && (of->shard.model.nlist != n || of->shard.model.d != d)) of++;
    if (of->scratch == NULL) make(of, k, n, d);
    for (size_t i = 0; i < PROBE_QUERIES; i++) {
        vq_query x = {.y = of->queries + i * d, .lists = hits};
        vq_query_probe(&of->shard, k, &x, NPROBE, true, of->scratch);
    }
    return n * d;
}
