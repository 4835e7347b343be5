/* SPDX-License-Identifier: Apache-2.0 */
/* teacher.c -- see teacher.h. */
#include "index/teacher.h"

#include <string.h>

#include "index/teachcache.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/eval/exact.h"

void vq_teacher_fini(vq_teacher *t)
{
    vq_mem_free(t->rows);
    vq_mem_free(t->scores);
    memset(t, 0, sizeof *t);
}

static vq_status allocate(vq_teacher *t, size_t nq, size_t k, vq_error *err)
{
    t->k = (uint32_t)k;
    t->rows = vq_mem_alloc(nq * k, sizeof *t->rows);
    t->scores = vq_alloc_f32(nq, k);
    if (t->rows != NULL && t->scores != NULL) return VQ_OK;
    return vq_fail(err, VQ_ENOMEM, "teacher: %zu answers to %zu queries", k, nq);
}

/* ---- exact search ---- */

/* The vector of a good row: bad ones before it are not counted. */
static uint32_t vector_of(const vq_class *c, uint64_t row)
{
    size_t low = 0, high = c->nskipped;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c->skipped[mid] < row)
            low = mid + 1;
        else
            high = mid;
    }
    return (uint32_t)(row - low);
}

static vq_status search(vq_teacher *t, const vq_class *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t cells = c->queries->n * (size_t)t->k;
    uint64_t *ids = vq_mem_alloc(cells, sizeof *ids);
    vq_exact_opts o = {.metric = c->metric,
                       .k = t->k,
                       .threads = (uint32_t)c->threads,
                       .progress = c->progress,
                       .progress_ctx = c->progress_ctx};
    VQ_REQUIRE(ids != NULL, VQ_ENOMEM, "teacher: %zu queries", c->queries->n);
    VQ_TRY(vq_source_rewind(c->src, err));
    VQ_TRY(vq_exact(c->src, c->queries->x, c->queries->n, &o, ids, t->scores, err));
    for (size_t i = 0; i < cells; i++)
        t->rows[i] = ids[i] != VQ_NO_ID ? vector_of(c, ids[i]) : UINT32_MAX;
out:
    vq_mem_free(ids);
    return rc;
}

static vq_status make_key(vq_teachcache_key *key, const vq_teacher *t, const vq_class *c,
                          const uint8_t base[16], vq_error *err)
{
    vq_hasher *h = vq_hasher_new();
    uint8_t d[4];
    if (h == NULL) return vq_fail(err, VQ_ENOMEM, "teacher: a hash");
    *key = (vq_teachcache_key){.metric = c->metric, .k = t->k, .nq = c->queries->n, .n = c->n};
    memcpy(key->base, base, sizeof key->base);
    vq_put_le32(d, c->src->d);
    vq_hasher_add(h, d, sizeof d);
    vq_hasher_add(h, c->queries->x, c->queries->n * c->src->d * sizeof(float));
    vq_hasher_get(h, key->queries);
    vq_hasher_free(h);
    return VQ_OK;
}

vq_status vq_teacher_exact(vq_teacher *t, const vq_class *c, const char *cache,
                           const uint8_t base[16], vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_teachcache_key key;
    bool found = false;
    VQ_TRY(allocate(t, c->queries->n, (size_t)VQ_MIN(c->n, (uint64_t)VQ_TEACHER_K), err));
    if (cache != NULL) {
        VQ_TRY(make_key(&key, t, c, base, err));
        VQ_TRY(vq_teachcache_read(cache, &key, t->rows, t->scores, &found, err));
    }
    if (found) goto out;
    VQ_TRY(search(t, c, err));
    if (cache != NULL) VQ_TRY(vq_teachcache_write(cache, &key, t->rows, t->scores, err));
out:
    return rc;
}
