/* SPDX-License-Identifier: Apache-2.0 */
/* External ids of a build. */
#include "index/idmap.h"

#include "index/layout.h"
#include "src/base/bytes.h"
#include "tests/index/fixture.h"

Test(idmap, row_numbers)
{
    vq_idmap im;
    OK(vq_idmap_init(&im, 5, NULL, 0, NULL, NULL, 0, &err));
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(vq_idmap_label(&im, i), i);
        vq_idmap_place(&im, i, 7, (uint32_t)i);
        cr_assert_eq(im.places[i], (uint64_t)7 << 32 | i);
    }
    vq_idmap_fini(&im);
    static const uint64_t skipped[] = {0, 2, 3, 7};
    static const uint64_t left[] = {1, 4, 5, 6}; /* a row keeps its number as its id */
    OK(vq_idmap_init(&im, 4, skipped, 4, NULL, NULL, 0, &err));
    for (size_t i = 0; i < 4; i++) cr_assert_eq(vq_idmap_label(&im, i), left[i]);
    vq_idmap_fini(&im);
}

Test(idmap, numbers_in_any_order)
{
    static const uint64_t ids[] = {50, 3, UINT64_MAX - 1, 0, 7}, skipped[] = {1};
    vq_idmap im;
    OK(vq_idmap_init(&im, 5, NULL, 0, ids, NULL, 5, &err));
    static const uint32_t ranks[] = {3, 1, 4, 0, 2};
    for (size_t i = 0; i < 5; i++) {
        cr_assert(vq_idmap_label(&im, i) == ids[i] && im.ranks[i] == ranks[i]);
        cr_assert_eq(im.order[ranks[i]], i);
        vq_idmap_place(&im, i, 1, (uint32_t)i);
        cr_assert_eq(im.places[ranks[i]], (uint64_t)1 << 32 | i);
    }
    vq_idmap_fini(&im);
    OK(vq_idmap_init(&im, 4, skipped, 1, ids, NULL, 5, &err));
    cr_assert(vq_idmap_label(&im, 0) == 50 && vq_idmap_label(&im, 1) == UINT64_MAX - 1);
    cr_assert(im.ranks[0] == 2 && im.ranks[1] == 3 && im.ranks[2] == 0 && im.ranks[3] == 1);
    vq_idmap_fini(&im);
}

Test(idmap, names_become_ranks)
{
    static const char *const names[] = {"b", "a", "\xc3\xa9", "B", "ab", "a b"};
    static const uint64_t ranks[] = {4, 1, 5, 0, 3, 2};
    vq_idmap im;
    OK(vq_idmap_init(&im, 6, NULL, 0, NULL, names, 6, &err));
    for (size_t i = 0; i < 6; i++)
        cr_assert(vq_idmap_label(&im, i) == ranks[i] && im.ranks[i] == ranks[i], "%s", names[i]);
    vq_idmap_fini(&im);
}

Test(idmap, what_is_no_id)
{
    static const uint64_t twice[] = {5, 9, 8, 9}, none[] = {5, VQ_NO_ID}, skipped[] = {1};
    static const char *const same[] = {"x", "y", "z", "x"}, *const empty[] = {"x", ""};
    char longer[502];
    memset(longer, 'y', 501);
    longer[501] = '\0';
    const char *const too_long[] = {"x", longer};
    vq_idmap im;
    FAILS(VQ_EINVAL, vq_idmap_init(&im, 4, NULL, 0, twice, NULL, 4, &err));
    cr_assert(strstr(err.text, "rows 1 and 3") != NULL && strstr(err.text, "9") != NULL);
    vq_idmap_fini(&im);
    OK(vq_idmap_init(&im, 3, skipped, 1, twice, NULL, 4, &err)); /* the other 9 is a bad row's */
    vq_idmap_fini(&im);
    FAILS(VQ_EINVAL, vq_idmap_init(&im, 4, NULL, 0, NULL, same, 4, &err));
    cr_assert(strstr(err.text, "rows 0 and 3") != NULL && strstr(err.text, "\"x\"") != NULL);
    vq_idmap_fini(&im);
    FAILS(VQ_EINVAL, vq_idmap_init(&im, 2, NULL, 0, none, NULL, 2, &err));
    vq_idmap_fini(&im);
    FAILS(VQ_EINVAL, vq_idmap_init(&im, 2, NULL, 0, NULL, empty, 2, &err));
    vq_idmap_fini(&im);
    FAILS(VQ_EINVAL, vq_idmap_init(&im, 2, NULL, 0, NULL, too_long, 2, &err));
    vq_idmap_fini(&im);
    FAILS(VQ_EINVAL, vq_idmap_init(&im, 4, NULL, 0, twice, same, 4, &err));
    vq_idmap_fini(&im);
    for (uint64_t nids = 0; nids < 6; nids++) {
        if (nids == 4) continue;
        FAILS(VQ_EINVAL, vq_idmap_init(&im, 4, NULL, 0, NULL, same, nids, &err));
        vq_idmap_fini(&im);
        FAILS(VQ_EINVAL, vq_idmap_init(&im, 3, skipped, 1, twice, NULL, nids, &err));
        vq_idmap_fini(&im);
    }
}

/* Writes a map of n ids and looks at the two databases. */
static void check_written(const vq_idmap *im, const char *path, size_t nblocks)
{
    vq_store *st;
    vq_file *f;
    vq_snapshot s;
    vq_cursor c;
    OK(vq_store_create(&st, path, true, &err));
    OK(vq_idmap_write(im, st, &err));
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
    OK(vq_file_open(&f, path, &err));
    OK(vq_snapshot_begin(&s, f, &err));
    OK(vq_cursor_first(&c, &s.pages, &s.db[VQ_DB_IDS], &err));
    for (size_t rank = 0; rank < im->n; rank++) {
        uint32_t i = im->order != NULL ? im->order[rank] : (uint32_t)rank;
        cr_assert(c.depth > 0 && c.node.len == 8);
        cr_assert(vq_le32(c.node.value) == i % 5 && vq_le32(c.node.value + 4) == i);
        if (im->names == NULL) cr_assert_eq(vq_be64(c.node.key), vq_idmap_label(im, i));
        OK(vq_cursor_next(&c, &err));
    }
    cr_assert_eq(c.depth, 0);
    cr_assert_eq(s.db[VQ_DB_NAMES].entries, nblocks);
    uint8_t *raw = vq_mem_alloc(vq_names_raw_max(), 1);
    size_t rank = 0, len;
    OK(vq_cursor_first(&c, &s.pages, &s.db[VQ_DB_NAMES], &err));
    while (c.depth > 0) {
        uint32_t count;
        OK(vq_record_verify(c.node.value, c.node.len, "names", &err));
        OK(vq_names_parse(c.node.value, c.node.len, raw, vq_names_raw_max(), &count, &err));
        for (uint32_t i = 0; i < count; i++, rank++) {
            const char *name = vq_names_at(raw, i, &len), *want = im->names[im->order[rank]];
            cr_assert(len == strlen(want) && memcmp(name, want, len) == 0);
        }
        OK(vq_cursor_next(&c, &err));
    }
    cr_assert_eq(rank, im->names != NULL ? im->n : 0);
    vq_mem_free(raw);
    vq_snapshot_end(&s);
    vq_file_close(f);
}

Test(idmap, written)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    static const size_t sizes[] = {1, 255, 256, 257, 1000};
    for (size_t k = 0; k < VQ_COUNT(sizes); k++) {
        size_t n = sizes[k];
        char **names = make_names(n, "n");
        vq_idmap im;
        OK(vq_idmap_init(&im, n, NULL, 0, NULL, (const char *const *)names, n, &err));
        for (size_t i = 0; i < n; i++) vq_idmap_place(&im, i, (uint32_t)i % 5, (uint32_t)i);
        check_written(&im, path, (n + 255) / 256);
        vq_idmap_fini(&im);
        OK(vq_idmap_init(&im, n, NULL, 0, NULL, NULL, 0, &err));
        for (size_t i = 0; i < n; i++) vq_idmap_place(&im, i, (uint32_t)i % 5, (uint32_t)i);
        check_written(&im, path, 0);
        vq_idmap_fini(&im);
        free_names(names, n);
    }
    free(path);
    test_rmdir(dir);
}
