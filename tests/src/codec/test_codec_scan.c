/* SPDX-License-Identifier: Apache-2.0 */
/* Scans of every codec: what they keep, what their sums may be off by, the same bits at each level.
 */
#include <float.h>

#include "tests/src/codec/coded.h"

static int float_order(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Scans all of c for q with a threshold. */
static size_t scan(const coded *c, const vq_kernels *k, const void *tables, const float *factor,
                   float base, float threshold, uint32_t *idx, float *score)
{
    void *scratch = vq_mem_alloc(vq_scan_scratch(c->n), 1);
    size_t kept = c->cm.codec->scan(&c->cm, k, tables, c->blocks, NULL, factor, c->n, base,
                                    threshold, scratch, idx, score);
    vq_mem_free(scratch);
    return kept;
}

static void check_estimates(const coded *c, const float *q, const float *factor)
{
    const vq_kernels *k = vq_kernels_get();
    vq_arena arena;
    vq_arena_init(&arena);
    const void *tables = c->cm.codec->prepare(&c->cm, k, q, &arena);
    cr_assert(tables != NULL);
    double want[MOST], bound = scan_bound(c, tables), spread = 0.0, slack = INFINITY;
    uint32_t idx[128];
    float all[128], base = 0.75f;
    products(c, q, want);
    if (c->cm.codec->slack != NULL) slack = (double)c->cm.codec->slack(&c->cm, tables);
    cr_assert(slack == INFINITY || slack <= 1.1 * bound + 1e-4, "%g, by floats %g", slack, bound);
    cr_assert_eq(scan(c, k, tables, factor, base, -INFINITY, idx, all), c->n);
    for (size_t i = 0; i < c->n; i++) {
        double off = factor != NULL ? (double)factor[i] : 0.0;
        cr_assert_eq(idx[i], i);
        cr_assert(fabs((double)all[i] - (want[i] + (double)base - off)) <= bound,
                  "%s: %g is not %g", c->cm.codec->name, (double)all[i], want[i]);
        float score = c->cm.codec->score(&c->cm, k, tables, c->blocks, i);
        cr_assert(fabs((double)all[i] + off - (double)base - (double)score) <= slack + 1e-6,
                  "%s: %g is more than %g away from %g", c->cm.codec->name, (double)all[i], slack,
                  (double)score);
        vq_bar bar = {0}; /* integers may round a tenth of what the code does */
        float felt = 0.0f;
        if (c->cm.codec->bar != NULL) {
            c->cm.codec->bar(&c->cm, tables, c->blocks, i, 1, &bar);
            felt = c->cm.codec->feel(&c->cm, tables, 1, NULL, 0.0f, 0.0f);
        }
        cr_assert(fabs((double)score - want[i]) <= 1e-4 + 0.5 * (double)(bar.error * felt),
                  "%s: score %g is not %g", c->cm.codec->name, (double)score, want[i]);
        spread = fmax(spread, fabs(want[i] - want[0]));
    }
    cr_assert(c->n == 1 || spread > 8.0 * bound, "the bound tells nothing: %g of %g", bound,
              spread);
    for (size_t t = 0; t < c->n; t += 7) { /* what is kept is what a look at all would keep */
        float some[128];
        size_t kept = scan(c, k, tables, factor, base, all[t], idx, some), at = 0;
        for (size_t i = 0; i < c->n; i++) {
            if (!(all[i] >= all[t])) continue;
            cr_assert(at < kept && idx[at] == i);
            cr_assert(memcmp(&some[at], &all[i], sizeof(float)) == 0);
            at++;
        }
        cr_assert_eq(at, kept);
    }
    cr_assert_eq(scan(c, k, tables, factor, base, INFINITY, idx, all), 0);
    vq_arena_fini(&arena);
}

/* Bounds by pairs change nothing: whatever the threshold, the codewords' order and the kernels, the
 * slots and scores of the plain scan.  rise: a threshold that few reach comes first, else one that
 * nearly all do, which makes the scan give bounds up for a while. */
static void check_pairs(const coded *c, const float *q, const float *factor, bool rise)
{
    vq_arena arena;
    vq_arena_init(&arena);
    void *scratch = vq_mem_alloc(vq_scan_scratch(c->n), 1);
    uint32_t want_idx[128], idx[128];
    float all[128], want[128], got[128];
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        vq_arena_reset(&arena);
        const vq_pq_tables *tables = c->cm.codec->prepare(&c->cm, k, q, &arena);
        cr_assert_eq(tables->pairs != NULL, vq_pq_pairs_pay(k));
        vq_pq8_scan(&c->cm, k, tables, c->blocks, NULL, factor, c->n, 1.0f, -INFINITY, scratch, idx,
                    all);
        qsort(all, c->n, sizeof *all, float_order);
        for (size_t t = 0; t < c->n + 2; t++) {
            size_t rank = t / 2; /* each threshold twice */
            float threshold = rank == c->n ? -INFINITY : all[rise ? c->n - 1 - rank : rank];
            size_t kept = vq_pq8_scan(&c->cm, k, tables, c->blocks, NULL, factor, c->n, 1.0f,
                                      threshold, scratch, want_idx, want);
            size_t same = c->cm.codec->scan(&c->cm, k, tables, c->blocks, NULL, factor, c->n, 1.0f,
                                            threshold, scratch, idx, got);
            cr_assert(same == kept && memcmp(idx, want_idx, kept * sizeof *idx) == 0 &&
                          memcmp(got, want, kept * sizeof *got) == 0,
                      "%s: %zu of %zu, not %zu, reach number %zu", *name, same, c->n, kept, t);
        }
    }
    vq_mem_free(scratch);
    vq_arena_fini(&arena);
}

Test(codec_scan, bounds_by_pairs_change_nothing)
{
    float factor[128], q[64];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 6);
    fill_normal(&r, factor, 128);
    static const uint32_t shapes[][2] = {{24, 6}, {48, 24}, {64, 8}, {51, 17}}; /* by eights too */
    for (size_t s = 0; s < VQ_COUNT(sizes); s++)
        for (int way = 0; way < 4; way++) {
            const uint32_t *shape = shapes[(s + (size_t)way) % VQ_COUNT(shapes)];
            coded c = code(&vq_codec_pq8, shape[0], shape[1], sizes[s]);
            fill_normal(&r, q, c.cm.d);
            check_pairs(&c, q, way % 2 == 0 ? NULL : factor, way < 2);
            coded_fini(&c);
        }
}

/* What a vector needs at least: what the best of a block scores is reached, with a factor no
 * larger, and much more is not. */
static void check_least(const vq_codec *codec, const void *tables, const float *best,
                        const float *least_factor, const uint16_t *sums, size_t n, float base)
{
    uint16_t most = 0, least[2];
    for (size_t i = 0; i < n; i++) most = VQ_MAX(most, sums[i]);
    const float bases[2] = {base, base - 1.0f};
    const float factors[2] = {*least_factor, *least_factor};
    codec->least(tables, *best, bases, factors, 2, least);
    cr_assert(least[0] <= most && least[1] >= least[0], "%s: %u of %u", codec->name, least[0],
              most);
    float more = 2.0f * ((const vq_pq_tables *)tables)->scale + 1e-4f * fabsf(*best);
    codec->least(tables, *best + more, bases, (const float[2]){0}, 1, least);
    cr_assert(*least_factor != 0.0f || least[0] > most || most == 0, "%s: %u of %u", codec->name,
              least[0], most);
    codec->least(tables, -INFINITY, bases, factors, 2, least);
    cr_assert(least[0] == 0 && least[1] == 0);
}

/* Whatever is rounded on the way, the sum of what scores the threshold is not too little. */
Test(codec_scan, least_knows_what_is_rounded)
{
    const vq_kernels *k = vq_kernels_get();
    vq_rng r;
    vq_rng_init(&r, test_seed(), 7);
    for (unsigned i = 0; i < 100000; i++) {
        float size = ldexpf(1.0f, (int)vq_rng_below(&r, 60) - 30), base[2], factor[2], score;
        uint16_t sum VQ_ALIGNED(64) = (uint16_t)vq_rng_below(&r, 65536), least[2];
        uint32_t idx;
        vq_pq_tables t = {.low = size * (float)(1000.0 * vq_rng_f64(&r) - 500.0)};
        t.scale = size * ldexpf((float)vq_rng_f64(&r), (int)vq_rng_below(&r, 30) - 25);
        for (unsigned j = 0; j < 2; j++) {
            base[j] = size * (float)(20.0 * vq_rng_f64(&r) - 10.0);
            factor[j] = size * (float)vq_rng_f64(&r);
        }
        for (unsigned j = 0; j < 2; j++) {
            cr_assert_eq(k->select_u16(&sum, &factor[j], 1, t.scale, base[j] + t.low, -INFINITY,
                                       &idx, &score),
                         1);
            vq_codec_pq8.least(&t, score, base, factor, 2, least);
            cr_assert(least[j] <= sum, "%u for a sum of %u, case %u", least[j], sum, i);
        }
    }
}

/* The steps for many queries against the scan for one: the same slots and scores, of blocks that
 * hold what is wanted. */
static void check_steps(const coded *c, const float *q, const float *factor, float base)
{
    const vq_kernels *k = vq_kernels_get();
    const vq_codec *codec = c->cm.codec;
    vq_arena arena;
    vq_arena_init(&arena);
    const void *tables = codec->prepare(&c->cm, k, q, &arena);
    size_t n = (c->n + VQ_BLOCK - 1) / VQ_BLOCK, bytes = c->cm.code_bytes * (size_t)VQ_BLOCK;
    const uint8_t *blocks[8];
    uint8_t *gathered = vq_mem_alloc(n + 1, bytes);
    uint16_t *sums = vq_mem_alloc(n, VQ_BLOCK * sizeof *sums), least[8] = {0};
    uint32_t reached[8];
    for (size_t b = 0; b < n; b++) blocks[b] = c->blocks + (n - 1 - b) * bytes; /* last first */
    codec->gather(&c->cm, k, blocks, n, gathered);
    cr_assert(codec->sums(&c->cm, k, tables, gathered, n, least, sums, reached) == n);
    for (size_t b = 0; b < n; b++) {
        coded one = *c;
        one.blocks = c->blocks + b * bytes;
        one.n = VQ_MIN(c->n - b * VQ_BLOCK, (size_t)VQ_BLOCK);
        const float *f = factor != NULL ? factor + b * VQ_BLOCK : NULL;
        uint32_t want_idx[VQ_BLOCK], idx[VQ_BLOCK];
        float want[VQ_BLOCK], got[VQ_BLOCK], top = -INFINITY, least_factor = 0.0f;
        for (int all = 1; all >= 0; all--) {
            float threshold = all ? -INFINITY : want[0];
            size_t kept = scan(&one, k, tables, f, base, threshold, want_idx, want);
            size_t same = codec->select(tables, k, sums + (n - 1 - b) * VQ_BLOCK, f, one.n, base,
                                        threshold, idx, got);
            cr_assert(same == kept && memcmp(got, want, kept * sizeof *got) == 0 &&
                          memcmp(idx, want_idx, kept * sizeof *idx) == 0,
                      "%s: block %zu of %zu", codec->name, b, n);
        }
        size_t kept = scan(&one, k, tables, NULL, base, -INFINITY, idx, got);
        for (size_t i = 0; i < kept; i++) top = fmaxf(top, got[i]);
        check_least(codec, tables, &top, &least_factor, sums + (n - 1 - b) * VQ_BLOCK, one.n, base);
        kept = scan(&one, k, tables, f, base, -INFINITY, idx, got);
        for (size_t i = 0; f != NULL && i < one.n; i++)
            least_factor = i > 0 ? fminf(least_factor, f[i]) : f[i];
        top = -INFINITY;
        for (size_t i = 0; i < kept; i++) top = fmaxf(top, got[i]);
        check_least(codec, tables, &top, &least_factor, sums + (n - 1 - b) * VQ_BLOCK, one.n, base);
    }
    vq_mem_free(gathered);
    vq_mem_free(sums);
    vq_arena_fini(&arena);
}

Test(codec_scan, steps_for_many_queries_are_the_scan)
{
    float factor[128], q[64];
    size_t checked = 0;
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    fill_normal(&r, factor, 128);
    for (size_t i = 0; i < vq_codec_count; i++)
        for (size_t s = 0; s < VQ_COUNT(sizes) && vq_codecs[i]->gather != NULL; s++, checked++) {
            coded c = code(vq_codecs[i], 24, vq_codecs[i]->codewords != 0 ? 6 : 0, sizes[s]);
            fill_normal(&r, q, c.cm.d);
            check_steps(&c, q, NULL, 0.75f);
            check_steps(&c, q, factor, -1e6f);
            coded_fini(&c);
        }
    cr_assert(checked > 0);
}

Test(codec_scan, scans_estimate_the_decoded_product)
{
    float factor[128], q[64];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 3);
    fill_normal(&r, factor, 128);
    for (size_t i = 0; i < vq_codec_count; i++)
        for (size_t s = 0; s < VQ_COUNT(sizes); s++) {
            coded c = code(vq_codecs[i], 24, few_bytes(vq_codecs[i]), sizes[s]);
            fill_normal(&r, q, c.cm.d);
            check_estimates(&c, q, NULL);
            check_estimates(&c, q, factor);
            coded_fini(&c);
        }
}

Test(codec_scan, a_query_of_zeros)
{
    const float q[64] = {0};
    for (size_t i = 0; i < vq_codec_count; i++) {
        coded c = code(vq_codecs[i], 24, few_bytes(vq_codecs[i]), 33);
        vq_arena arena;
        vq_arena_init(&arena);
        const void *tables = c.cm.codec->prepare(&c.cm, vq_kernels_get(), q, &arena);
        uint32_t idx[64];
        float score[64];
        cr_assert_eq(scan(&c, vq_kernels_get(), tables, NULL, 2.0f, 2.0f, idx, score), c.n);
        for (size_t s = 0; s < c.n; s++) cr_assert_eq(score[s], 2.0f);
        vq_arena_fini(&arena);
        coded_fini(&c);
    }
}

/* The codewords in bytes, which prepare then uses; vq_mem_free() them.  NULL: it has none. */
static void *make_brief(coded *c, const vq_kernels *k)
{
    if (c->cm.codec->brief_size == NULL) return NULL;
    size_t size = c->cm.codec->brief_size(c->cm.d, c->cm.m);
    void *memory = vq_mem_alloc(size, 1);
    c->cm.codec->brief(&c->cm, k, memory);
    c->cm.brief = memory;
    return memory;
}

static void compare_levels(const coded *c, const vq_kernels *k, const float *q)
{
    const vq_kernels *kernels[2] = {vq_kernels_named("scalar"), k};
    uint8_t *rows[2];
    uint32_t idx[2][128];
    float score[2][128], single[2][MOST];
    for (int i = 0; i < 2; i++) {
        vq_arena arena;
        vq_arena_init(&arena);
        rows[i] = vq_mem_alloc(c->n, c->cm.code_bytes);
        cr_assert_eq(c->cm.codec->encode(&c->cm, kernels[i], c->x, c->n, rows[i], NULL), VQ_OK);
        const void *tables = c->cm.codec->prepare(&c->cm, kernels[i], q, &arena);
        size_t kept = scan(c, kernels[i], tables, NULL, 0.25f, -INFINITY, idx[i], score[i]);
        cr_assert_eq(kept, c->n);
        for (size_t s = 0; s < c->n; s++)
            single[i][s] = c->cm.codec->score(&c->cm, kernels[i], tables, c->blocks, s);
        vq_arena_fini(&arena);
    }
    const char *name = c->cm.codec->name;
    cr_assert(memcmp(rows[0], rows[1], c->n * c->cm.code_bytes) == 0, "%s %s: codes", name, k->isa);
    cr_assert(memcmp(score[0], score[1], c->n * sizeof(float)) == 0, "%s %s: scan", name, k->isa);
    cr_assert(memcmp(single[0], single[1], c->n * sizeof(float)) == 0, "%s %s: score", name,
              k->isa);
    vq_mem_free(rows[0]);
    vq_mem_free(rows[1]);
}

Test(codec_scan, all_instruction_sets_give_the_same_bits)
{
    static const uint32_t dims[] = {1, 7, 24, 50};
    float q[64];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 4);
    for (size_t i = 0; i < vq_codec_count; i++)
        for (size_t j = 0; j < VQ_COUNT(dims); j++) {
            coded c = code(vq_codecs[i], dims[j], few_bytes(vq_codecs[i]),
                           sizes[j % VQ_COUNT(sizes)] + 60 % (j + 1));
            fill_normal(&r, q, VQ_COUNT(q));
            for (const char *const *name = vq_kernels_levels() + 1; *name != NULL; name++) {
                if (vq_kernels_named(*name) == NULL) continue;
                compare_levels(&c, vq_kernels_named(*name), q);
                void *memory = make_brief(&c, vq_kernels_named(*name));
                compare_levels(&c, vq_kernels_named(*name), q);
                c.cm.brief = NULL;
                vq_mem_free(memory);
            }
            coded_fini(&c);
        }
}

/* How far a score may be off when each coordinate of a codeword is rounded to one of 256 values. */
static double brief_bound(const coded *c, const float *q)
{
    const vq_codec *codec = c->cm.codec;
    const float *book = c->params + codec->books(c->cm.d, c->cm.m);
    size_t n = (size_t)c->cm.d * codec->codewords * (codec->additive ? c->cm.m : 1);
    double size = 0.0;
    float lo, hi;
    vq_kernels_get()->minmax_f32(book, n, &lo, &hi);
    for (uint32_t t = 0; t < c->cm.d; t++) size += fabs((double)q[t]);
    return 0.51 / 255.0 * (double)(hi - lo) * size * (codec->additive ? c->cm.m : 1) + 1e-3;
}

Test(codec_scan, codewords_in_bytes_score_nearly_alike)
{
    static const uint32_t dims[] = {6, 30, 50};
    float q[64];
    vq_rng r;
    vq_rng_init(&r, test_seed(), 5);
    for (size_t i = 0; i < vq_codec_count; i++)
        for (size_t j = 0; j < VQ_COUNT(dims) && vq_codecs[i]->brief != NULL; j++) {
            coded c = code(vq_codecs[i], dims[j], 6, sizes[j + 2]);
            const vq_kernels *k = vq_kernels_get();
            fill_normal(&r, q, VQ_COUNT(q));
            double bound = brief_bound(&c, q);
            vq_arena arena;
            vq_arena_init(&arena);
            const void *full = c.cm.codec->prepare(&c.cm, k, q, &arena);
            void *memory = make_brief(&c, k);
            const void *tables = c.cm.codec->prepare(&c.cm, k, q, &arena);
            uint32_t idx[128];
            float all[128];
            cr_assert_eq(scan(&c, k, tables, NULL, 0.0f, -INFINITY, idx, all), c.n);
            for (size_t s = 0; s < c.n; s++) {
                double want = (double)c.cm.codec->score(&c.cm, k, full, c.blocks, s);
                double got = (double)c.cm.codec->score(&c.cm, k, tables, c.blocks, s);
                cr_assert(fabs(got - want) <= bound, "%s: %g is not %g", c.cm.codec->name, got,
                          want);
                cr_assert(fabs((double)all[s] - got) <= scan_bound(&c, tables), "%s: scan",
                          c.cm.codec->name);
            }
            vq_arena_fini(&arena);
            vq_mem_free(memory);
            coded_fini(&c);
        }
}
