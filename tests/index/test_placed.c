/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as they lie in the file: each once, with its label, whatever has been changed before. */
#include "index/placed.h"

#include "tests/index/fixture.h"

enum { N = 3000, D = 24, DELETED = 700 };

static void delete_some(const char *path)
{
    uint64_t ids[DELETED];
    vq_writer *w = NULL;
    for (uint64_t i = 0; i < DELETED; i++) ids[i] = 4 * i + 1;
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, ids, NULL, DELETED, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
}

/* Twice, in blocks of an odd number. */
static void check_rows(vq_source *src, const uint64_t *labels, vq_searcher *s)
{
    float rows[37 * D], stored[D];
    for (int pass = 0; pass < 2; pass++) {
        bool seen[N] = {false};
        size_t n = 0, got;
        OK(vq_source_rewind(src, &err));
        for (;;) {
            OK(vq_source_read_as_f32(src, rows, 37, NULL, &got, &err));
            if (got == 0) break;
            for (size_t i = 0; i < got; i++, n++) {
                uint64_t id = labels[n];
                cr_assert(id < N && !seen[id] && (id % 4 != 1 || id > 4 * DELETED), "id %llu",
                          (unsigned long long)id);
                seen[id] = true;
                OK(vq_get(s, id, stored, &err));
                cr_assert(memcmp(stored, rows + i * D, sizeof stored) == 0, "row of id %llu",
                          (unsigned long long)id);
            }
        }
        cr_assert_eq(n, N - DELETED);
    }
}

Test(placed, each_row_once_with_its_label)
{
    static const struct {
        uint32_t input, store;
    } types[] = {{VQ_F32, VQ_F32}, {VQ_F32, VQ_F16}, {VQ_F32, VQ_I8}, {VQ_U8, VQ_U8}};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N, D);
    for (size_t t = 0; t < VQ_COUNT(types); t++) {
        vq_build_opts o = VQ_BUILD_OPTS_INIT;
        void *rows = as_elem(x, (size_t)N * D, types[t].input);
        o.force = 1, o.store = types[t].store, o.nlist = 40, o.no_tune = 1;
        build(path, rows, N, D, types[t].input, &o);
        delete_some(path);
        vq_mem_free(rows);

        vq_index *ix = open_index(path);
        vq_searcher *s = NULL;
        vq_file *f = NULL;
        vq_shard shard;
        vq_source *src = NULL;
        const uint64_t *labels = NULL;
        OK(vq_searcher_open(&s, ix, NULL, &err));
        OK(vq_file_open(&f, path, &err));
        OK(vq_shard_open(&shard, f, &err));
        OK(vq_placed_open(&src, &shard, &labels, &err));
        check_rows(src, labels, s);
        vq_source_close(src);
        vq_shard_close(&shard);
        vq_file_close(f);
        vq_searcher_close(s);
        vq_close(ix);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(placed, no_rows_are_stored)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_file *f = NULL;
    vq_shard shard;
    vq_source *src = NULL;
    const uint64_t *labels;
    o.store = VQ_ELEM_NONE, o.no_tune = 1;
    build_clusters(path, 1, N, D, &o);
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&shard, f, &err));
    FAILS(VQ_EUNSUPPORTED, vq_placed_open(&src, &shard, &labels, &err));
    cr_assert(src == NULL);
    vq_shard_close(&shard);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}
