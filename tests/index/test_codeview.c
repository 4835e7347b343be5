/* SPDX-License-Identifier: Apache-2.0 */
/* The search over codes in memory: the order of the decoded vectors, over all lists. */
#include "index/codeview.h"

#include "src/math/topk.h"
#include "tests/index/fixture.h"

enum { D = 16, NLIST = 7, NQ = 20 };

typedef struct scene {
    vq_model model;
    vq_corpus corpus;
    float *x, *centroids, *params, *decoded; /* decoded: n x D, centroid and code */
} scene;

static void make_scene(scene *s, const vq_codec *codec, size_t n)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), n);
    memset(s, 0, sizeof *s);
    s->x = clusters(n, n, D);
    s->centroids = vq_alloc_f32(NLIST, D);
    fill_normal(&r, s->centroids, NLIST * D);
    vq_model *m = &s->model;
    m->codec = codec, m->metric = VQ_METRIC_IP, m->d = m->d_code = D, m->nlist = NLIST;
    m->m = codec->codewords != 0 ? 4
           : codec->grain != 0   ? 12
                                 : 0,
    m->centroids = s->centroids, m->n = n;
    s->params = vq_mem_calloc(codec->nparams(D, m->m) + 1, sizeof(float));
    OK(codec->train(s->x, n, D, m->m, 1, 1, NULL, s->params, &err));
    m->params = s->params;
    m->gain = codec->books != NULL ? 1.5f : 0.0f;
    vq_model_derive(m, 2048);
    s->corpus.n = n;
    s->corpus.lists = vq_mem_alloc(n, sizeof *s->corpus.lists);
    s->corpus.codes = vq_mem_alloc(n, m->code.code_bytes);
    s->decoded = vq_alloc_f32(n, D);
    for (size_t i = 0; i < n; i++) /* one list stays empty */
        s->corpus.lists[i] = (uint32_t)vq_rng_below(&r, NLIST - 1);
    OK(codec->encode(&m->code, vq_kernels_get(), s->x, n, s->corpus.codes, &err));
    codec->decode(&m->code, s->corpus.codes, n, s->decoded);
    for (size_t i = 0; i < n * D && m->gain != 0.0f; i++) s->decoded[i] *= m->gain;
    for (size_t i = 0; i < n * D; i++)
        s->decoded[i] += s->centroids[s->corpus.lists[i / D] * D + i % D];
}

static void end_scene(scene *s)
{
    vq_corpus_fini(&s->corpus);
    vq_mem_free(s->x);
    vq_mem_free(s->centroids);
    vq_mem_free(s->params);
    vq_mem_free(s->decoded);
}

/* Scores may differ in their last bits, so ranks are compared by score. */
static void check_answers(const scene *s, const float *q, const uint32_t *rows, uint32_t k)
{
    const vq_kernels *kn = vq_kernels_get();
    size_t n = s->corpus.n;
    vq_hit *want = vq_mem_alloc(n, sizeof *want);
    for (size_t i = 0; i < n; i++)
        want[i] = (vq_hit){.score = kn->dot_f32(q, s->decoded + i * D, D), .id = i};
    vq_hits_sort(want, n);
    for (uint32_t j = 0; j < k; j++) {
        if (j >= n) {
            cr_assert_eq(rows[j], UINT32_MAX);
            continue;
        }
        cr_assert_lt(rows[j], n);
        float got = kn->dot_f32(q, s->decoded + (size_t)rows[j] * D, D);
        cr_assert_float_eq(got, want[j].score, 1e-4f, "%s: rank %u", s->model.codec->name, j);
    }
    vq_mem_free(want);
}

Test(codeview, ranks_like_decoded_vectors)
{
    static const size_t sizes[] = {1, 5, 33, 700};
    static float q[NQ * D];
    static uint32_t rows[2][NQ * 10];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    fill_normal(&r, q, NQ * D);
    for (size_t c = 0; c < vq_codec_count; c++)
        for (size_t i = 0; i < 4; i++) {
            scene s;
            vq_codeview v;
            make_scene(&s, vq_codecs[c], sizes[i]);
            OK(vq_codeview_init(&v, &s.model, &s.corpus, &err));
            OK(vq_codeview_search(&v, q, NQ, 10, 1, rows[0], &err));
            OK(vq_codeview_search(&v, q, NQ, 10, 2, rows[1], &err));
            cr_assert(memcmp(rows[0], rows[1], sizeof rows[0]) == 0);
            for (size_t j = 0; j < NQ; j++) check_answers(&s, q + j * D, rows[0] + j * 10, 10);
            vq_codeview_fini(&v);
            end_scene(&s);
        }
}

Test(codeview, out_of_memory)
{
    static float q[D];
    static uint32_t rows[10];
    scene s;
    int failures = 0;
    make_scene(&s, &vq_codec_pq8, 300);
    for (uint64_t n = 1;; n++) {
        vq_codeview v;
        vq_mem_fail_after(n);
        vq_status rc = vq_codeview_init(&v, &s.model, &s.corpus, &err);
        if (rc == VQ_OK) {
            rc = vq_codeview_search(&v, q, 1, 10, 1, rows, &err);
            vq_mem_fail_after(0);
            vq_codeview_fini(&v);
        }
        vq_mem_fail_after(0);
        if (rc == VQ_OK) break;
        cr_assert_eq(rc, VQ_ENOMEM);
        failures++;
    }
    cr_assert_geq(failures, 5);
    end_scene(&s);
}
