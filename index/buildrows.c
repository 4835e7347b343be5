/* SPDX-License-Identifier: Apache-2.0 */
/* buildrows.c -- see building.h. */
#include <math.h>
#include <string.h>

#include "index/building.h"
#include "index/teachcache.h"
#include "src/base/bytes.h"
#include "src/base/rng.h"
#include "src/train/draw.h"

enum {
    HINT_ROWS = 1024, /* whose lengths are looked at */
    HINT_LEAST = 32
};
#define ONE_LENGTH                                                                                 \
    1.04 /* of squares: vectors of length 1 that were rounded to bytes differ by so much */

/* Row numbers between the last block's end and the next good row are bad ones. */
static vq_status note_skipped(vq_building *b, uint64_t from, uint64_t to, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (uint64_t row = from; row < to; row++) {
        uint64_t *grown = vq_mem_reserve(b->skipped, b->nskipped, b->nskipped + 1, &b->skipped_room,
                                         sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "build: %zu bad rows", b->nskipped);
        b->skipped = grown;
        b->skipped[b->nskipped++] = row;
    }
out:
    return rc;
}

/* How many rows there are, counted where the source does not tell. */
vq_status vq_build_count(vq_building *b, uint64_t *n, vq_error *err)
{
    vq_status rc = VQ_OK;
    *n = b->src->n;
    if (*n != VQ_N_UNKNOWN) goto out;
    for (size_t got = 1; got > 0;) {
        VQ_TRY(vq_source_read(b->src, b->rows, b->block, NULL, &got, err));
        VQ_TRY(vq_tick(&b->ticker, "count", b->src->row, 0, err));
    }
    *n = b->src->row; /* bad ones counted, as a file's header does */
    VQ_TRY(vq_source_rewind(b->src, err));
out:
    return rc;
}

static void note_largest(vq_building *b, size_t n)
{
    if (b->wide == NULL || n == 0) return;
    const vq_kernels *k = vq_kernels_get();
    float low, high;
    vq_to_f32(k, b->src->elem, b->rows, n * b->src->d, b->wide);
    k->minmax_f32(b->wide, n * b->src->d, &low, &high);
    b->largest = VQ_MAX(b->largest, VQ_MAX(-low, high));
}

/* Reads everything once: takes the sample (plan.sample of n rows, each equally likely; Knuth, TAOCP
 * 3.4.2, algorithm S) and learns which rows are bad. */
vq_status vq_build_sample(vq_building *b, uint64_t n, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_rng rng;
    size_t row_bytes = b->src->d * vq_elem_size(b->src->elem);
    uint64_t good = 0, next = 0;
    vq_rng_init(&rng, b->plan.model.seed, 0);
    b->sample = vq_mem_alloc(b->plan.sample, row_bytes);
    b->sample_at = vq_mem_calloc(b->plan.sample, sizeof *b->sample_at);
    VQ_REQUIRE(b->sample != NULL && b->sample_at != NULL, VQ_ENOMEM,
               "sample: %zu rows of %zu bytes", b->plan.sample, row_bytes);
    for (size_t got = 1; got > 0; good += got) {
        VQ_TRY(vq_source_read(b->src, b->rows, b->block, b->numbers, &got, err));
        VQ_REQUIRE(b->src->row <= n, VQ_EIO, "%s: it changed while it was read", b->src->name);
        note_largest(b, got);
        if (b->hasher != NULL) vq_hasher_add(b->hasher, b->rows, got * row_bytes);
        for (size_t i = 0; i < got; i++) {
            VQ_TRY(note_skipped(b, next, b->numbers[i], err));
            next = b->numbers[i] + 1;
            uint64_t left = n - b->numbers[i], want = b->plan.sample - b->sampled;
            if (vq_rng_below(&rng, left) >= want) continue;
            b->sample_at[b->sampled] = (uint32_t)(good + i);
            memcpy(b->sample + b->sampled++ * row_bytes, b->rows + i * row_bytes, row_bytes);
        }
        VQ_TRY(vq_tick(&b->ticker, "sample", good + got, n, err));
    }
    VQ_REQUIRE(b->src->row == n, VQ_EIO, "%s: it changed while it was read", b->src->name);
    VQ_TRY(note_skipped(b, next, n, err));
    VQ_REQUIRE(good > 0, VQ_ECORRUPT, "%s: no good row in it; an index needs one vector at least",
               b->src->name);
    if (b->sampled == 0) { /* only bad rows were drawn, among very few: the last good one serves */
        VQ_TRY(vq_source_rewind(b->src, err));
        VQ_TRY(vq_source_read(b->src, b->sample, 1, NULL, &b->sampled, err));
    }
    vq_plan_shrink(&b->plan, good);
    VQ_TRY(vq_source_rewind(b->src, err));
out:
    return rc;
}

/* With vectors of one length l2 ranks as cosine does, but its codes give bytes to a factor, and
 * queries teach them less. */
vq_status vq_build_hint(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_kernels *k = vq_kernels_get();
    size_t d = b->src->d, n = VQ_MIN(b->sampled, (size_t)HINT_ROWS);
    double least = INFINITY, most = 0.0;
    float *row = NULL;
    if (b->plan.model.metric != VQ_METRIC_L2 || n < HINT_LEAST) goto out;
    row = vq_alloc_f32(1, d);
    VQ_REQUIRE(row != NULL, VQ_ENOMEM, "build: a row of %zu floats", d);
    for (size_t i = 0; i < n; i++) {
        size_t at = vq_spaced_row(b->sampled, n, i) * d * vq_elem_size(b->src->elem);
        vq_to_f32(k, b->src->elem, b->sample + at, d, row);
        double sq = k->sq_row_f32(row, d);
        least = VQ_MIN(least, sq);
        most = VQ_MAX(most, sq);
    }
    if (least > 0.0 && most <= ONE_LENGTH * least)
        vq_plan_note(&b->plan, "metric cosine instead of l2 would rank alike with smaller errors: "
                               "the vectors have one length");
out:
    vq_mem_free(row);
    return rc;
}

/* Answers kept from an earlier build hold if the rows are the same: hash them while they are read
 * anyway. */
vq_status vq_build_hash(vq_building *b, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t shape[8];
    if (b->opts->teacher_cache == NULL) goto out;
    VQ_TRY(vq_teachcache_check(b->opts->teacher_cache, err));
    b->hasher = vq_hasher_new();
    VQ_REQUIRE(b->hasher != NULL, VQ_ENOMEM, "build: a hash");
    vq_put_le32(shape, b->src->elem);
    vq_put_le32(shape + 4, b->src->d);
    vq_hasher_add(b->hasher, shape, sizeof shape);
out:
    return rc;
}
