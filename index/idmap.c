/* SPDX-License-Identifier: Apache-2.0 */
/* idmap.c -- see idmap.h. */
#include "index/idmap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "index/layout.h"
#include "src/base/bytes.h"
#include "src/base/mem.h"
#include "src/io/ids.h"

void vq_idmap_fini(vq_idmap *im)
{
    vq_mem_free(im->labels);
    vq_mem_free(im->ranks);
    vq_mem_free(im->order);
    vq_mem_free(im->rows);
    vq_mem_free(im->places);
    vq_mem_free(im->copies);
    memset(im, 0, sizeof *im);
}

static uint64_t row_of(const vq_idmap *im, size_t i)
{
    return im->rows != NULL ? im->rows[i] : i;
}

static int by_number(const void *a, const void *b, void *ctx)
{
    const vq_idmap *im = ctx;
    uint64_t x = im->labels[*(const uint32_t *)a], y = im->labels[*(const uint32_t *)b];
    return (x > y) - (x < y);
}

static int by_name(const void *a, const void *b, void *ctx)
{
    const vq_idmap *im = ctx;
    return strcmp(im->names[row_of(im, *(const uint32_t *)a)],
                  im->names[row_of(im, *(const uint32_t *)b)]);
}

/* The rows that are left when the bad ones are taken out. */
static vq_status good_rows(vq_idmap *im, const uint64_t *skipped, size_t nskipped, vq_error *err)
{
    if (nskipped == 0) return VQ_OK;
    im->rows = vq_mem_alloc(im->n, sizeof *im->rows);
    if (im->rows == NULL) return vq_fail(err, VQ_ENOMEM, "ids: %zu rows", im->n);
    uint64_t row = 0;
    for (size_t i = 0, s = 0; i < im->n; i++, row++) {
        while (s < nskipped && skipped[s] == row) s++, row++;
        im->rows[i] = row;
    }
    return VQ_OK;
}

static vq_status check_name(const char *name, uint64_t row, vq_error *err)
{
    size_t len = strlen(name);
    if (len >= 1 && len <= VQ_ID_MAX) return VQ_OK;
    return vq_fail(err, VQ_EINVAL, "ids: row %" PRIu64 ": an id of %zu bytes, expected 1 to %u",
                   row, len, VQ_ID_MAX);
}

/* order, ranks and, for names, labels (= ranks); two equal neighbours are duplicates. */
static vq_status sort_ids(vq_idmap *im, vq_error *err)
{
    vq_status rc = VQ_OK;
    im->order = vq_mem_alloc(im->n, sizeof *im->order);
    im->ranks = vq_mem_alloc(im->n, sizeof *im->ranks);
    VQ_REQUIRE(im->order != NULL && im->ranks != NULL, VQ_ENOMEM, "ids: %zu rows", im->n);
    for (size_t i = 0; i < im->n; i++) im->order[i] = (uint32_t)i;
    int (*compare)(const void *, const void *, void *) = im->names != NULL ? by_name : by_number;
    qsort_r(im->order, im->n, sizeof *im->order, compare, im);
    for (size_t r = 0; r < im->n; r++) {
        uint32_t i = im->order[r], before = r > 0 ? im->order[r - 1] : 0;
        if (r > 0 && compare(&before, &i, im) == 0) {
            uint64_t x = row_of(im, before), y = row_of(im, i);
            uint64_t a = VQ_MIN(x, y), b = VQ_MAX(x, y);
            if (im->names != NULL)
                rc =
                    vq_fail(err, VQ_EINVAL, "ids: rows %" PRIu64 " and %" PRIu64 " are both \"%s\"",
                            a, b, im->names[a]);
            else
                rc = vq_fail(err, VQ_EINVAL,
                             "ids: rows %" PRIu64 " and %" PRIu64 " are both %" PRIu64, a, b,
                             im->labels[i]);
            goto out;
        }
        im->ranks[i] = (uint32_t)r;
        if (im->names != NULL) im->labels[i] = r;
    }
out:
    return rc;
}

vq_status vq_idmap_init(vq_idmap *im, size_t n, const uint64_t *skipped, size_t nskipped,
                        const uint64_t *ids, const char *const *names, uint64_t nids, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(im, 0, sizeof *im);
    im->n = n;
    im->names = names;
    bool given = ids != NULL || names != NULL;
    VQ_REQUIRE(ids == NULL || names == NULL, VQ_EINVAL, "ids are numbers or names, not both");
    VQ_REQUIRE(!given || nids == n + nskipped, VQ_EINVAL,
               "%" PRIu64 " ids for %zu rows; there must be one id a row", nids, n + nskipped);
    im->places = vq_mem_alloc(n, sizeof *im->places);
    VQ_REQUIRE(im->places != NULL, VQ_ENOMEM, "ids: %zu rows", n);
    VQ_TRY(good_rows(im, skipped, nskipped, err));
    if (!given && nskipped == 0) goto out;
    im->labels = vq_mem_alloc(n, sizeof *im->labels);
    VQ_REQUIRE(im->labels != NULL, VQ_ENOMEM, "ids: %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        uint64_t row = row_of(im, i);
        if (names != NULL) VQ_TRY(check_name(names[row], row, err));
        im->labels[i] = ids != NULL ? ids[row] : row;
        VQ_REQUIRE(im->labels[i] != VQ_NO_ID, VQ_EINVAL,
                   "ids: row %" PRIu64 ": %" PRIu64 " is no id, it stands for \"none\"", row,
                   VQ_NO_ID);
    }
    if (given) VQ_TRY(sort_ids(im, err)); /* row numbers rise as they are */
out:
    return rc;
}

vq_status vq_idmap_expect_copies(vq_idmap *im, vq_error *err)
{
    vq_status rc = VQ_OK;
    im->copies = vq_mem_alloc(im->n, sizeof *im->copies);
    VQ_REQUIRE(im->copies != NULL, VQ_ENOMEM, "copies: %zu rows", im->n);
    for (size_t i = 0; i < im->n; i++) im->copies[i] = VQ_NO_ID;
out:
    return rc;
}

static uint32_t ordered(const vq_idmap *im, size_t rank)
{
    return im->order != NULL ? im->order[rank] : (uint32_t)rank;
}

static vq_status write_names(const vq_idmap *im, vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    const char *block[VQ_NAMES_PER_BLOCK];
    size_t cap = vq_names_bound(vq_names_raw_max());
    uint8_t *value = vq_mem_alloc(cap, 1);
    VQ_REQUIRE(value != NULL, VQ_ENOMEM, "names: %zu bytes", cap);
    for (size_t first = 0; first < im->n; first += VQ_NAMES_PER_BLOCK) {
        size_t count = VQ_MIN(im->n - first, (size_t)VQ_NAMES_PER_BLOCK), len;
        for (size_t i = 0; i < count; i++) block[i] = im->names[row_of(im, ordered(im, first + i))];
        uint8_t key[4], *room;
        vq_put_be32(key, (uint32_t)(first / VQ_NAMES_PER_BLOCK));
        VQ_TRY(vq_names_write(value, cap, &len, block, count, err));
        VQ_TRY(vq_store_put(st, VQ_DB_NAMES, key, sizeof key, len, &room, err));
        memcpy(room, value, len);
    }
out:
    vq_mem_free(value);
    return rc;
}

vq_status vq_idmap_write(const vq_idmap *im, vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t rank = 0; rank < im->n; rank++) {
        uint32_t i = ordered(im, rank);
        uint8_t number[8], *room;
        const char *name = im->names != NULL ? im->names[row_of(im, i)] : NULL;
        bool copied = im->copies != NULL && im->copies[rank] != VQ_NO_ID;
        vq_put_be64(number, vq_idmap_label(im, i));
        VQ_TRY(vq_store_put(st, VQ_DB_IDS, name != NULL ? name : (const char *)number,
                            name != NULL ? strlen(name) : sizeof number, copied ? 16 : 8, &room,
                            err));
        vq_put_le32(room, (uint32_t)(im->places[rank] >> 32));
        vq_put_le32(room + 4, (uint32_t)im->places[rank]);
        if (!copied) continue;
        vq_put_le32(room + 8, (uint32_t)(im->copies[rank] >> 32));
        vq_put_le32(room + 12, (uint32_t)im->copies[rank]);
    }
    if (im->names != NULL) VQ_TRY(write_names(im, st, err));
out:
    return rc;
}
