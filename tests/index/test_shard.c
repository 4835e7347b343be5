/* SPDX-License-Identifier: Apache-2.0 */
/* A shard that moves on to a newer snapshot knows what has not changed, and nothing wrong. */
#include "tests/index/fixture.h"

enum { N = 4000, D = 256, LISTS = 40, ROUNDS = 12 };

/* Looks up all that there is to look up. */
static void load_all(vq_shard *s)
{
    const uint8_t *row;
    for (uint32_t l = 0; l < s->model.nlist; l++) {
        OK(vq_shard_load(s, l, &err));
        for (uint32_t i = 0; i < s->lists[l].n; i += s->row_capacity)
            OK(vq_shard_row(s, (uint64_t)l << 32 | i, &row, &err));
    }
}

typedef struct known {
    size_t lists, rows; /* lists that are known, chunks of rows that are */
    size_t chunks;      /* of rows in known lists */
} known;

/* Every list and row that a shard knows is as one that was opened anew finds it; it may lie in an
 * older map. */
static known compare(const vq_shard *s, const vq_shard *fresh)
{
    known k = {0};
    cr_assert_eq(s->snapshot.pages.txn, fresh->snapshot.pages.txn);
    for (uint32_t l = 0; l < s->model.nlist; l++) {
        const vq_list_view *a = &s->lists[l], *b = &fresh->lists[l];
        if (!a->loaded) continue;
        k.lists++;
        cr_assert(a->n == b->n && a->copies == b->copies && a->nchunks == b->nchunks &&
                  a->ncopied == b->ncopied);
        for (uint32_t i = 0; i < a->nchunks + a->ncopied; i++) {
            const vq_chunk_view *x = &a->chunks[i], *y = &b->chunks[i];
            cr_assert(x->n == y->n && (x->factors == NULL) == (y->factors == NULL));
            cr_assert(memcmp(x->codes, y->codes, x->n * (size_t)s->model.shape.code_bytes) == 0);
            cr_assert(memcmp(x->labels, y->labels, x->n * sizeof(uint64_t)) == 0);
        }
        for (uint32_t i = 0; i < a->n; i += s->row_capacity) {
            const uint8_t *row = a->rows[i / s->row_capacity];
            size_t rows = VQ_MIN(a->n - i, s->row_capacity),
                   bytes = rows * s->model.shape.row_bytes;
            k.chunks++;
            k.rows += row != NULL;
            cr_assert(row == NULL || memcmp(row, b->rows[i / s->row_capacity], bytes) == 0);
        }
    }
    return k;
}

/* Replaces, adds and removes up to `most` of each. */
static void change(const char *path, vq_rng *r, uint64_t most)
{
    vq_writer *w;
    OK(vq_writer_open(&w, path, NULL, &err));
    for (uint64_t i = 0, n = 1 + vq_rng_below(r, most); i < n; i++) {
        uint64_t id = vq_rng_below(r, N + N / 2);
        float *x = clusters(1 + vq_rng_below(r, 20), 1, D);
        vq_source *src;
        OK(vq_source_open_array(&src, x, 1, D, VQ_F32, &err));
        OK(vq_writer_upsert(w, src, &id, NULL, 1, &err));
        vq_source_close(src);
        if (vq_rng_below(r, 3) == 0) OK(vq_writer_delete(w, &id, NULL, 1, &err));
        vq_mem_free(x);
    }
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
}

static void move_on(uint32_t copies, uint32_t store)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_file *f;
    vq_shard s, fresh;
    vq_rng rng;
    vq_rng_init(&rng, test_seed(), 7);
    o.codec = "pq8", o.nlist = LISTS, o.copies = copies, o.store = store, o.no_tune = 1;
    build_clusters(path, 1, N, D, &o);
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&s, f, &err));
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 3 != 2) load_all(&s); /* now and then two changes are passed at once */
        change(path, &rng, round % 2 == 0 ? 1 : 60);
        OK(vq_shard_refresh(&s, &err));
        OK(vq_shard_open(&fresh, f, &err));
        load_all(&fresh);
        known k = compare(&s, &fresh);
        if (round % 6 == 0) { /* one vector came: a place was left, one was taken, with copies */
            cr_assert(k.lists >= LISTS - 8 && k.lists < LISTS, "%zu lists are known", k.lists);
            cr_assert(k.rows == k.chunks, "%zu of %zu rows are known", k.rows, k.chunks);
        }
        load_all(&s);
        k = compare(&s, &fresh);
        cr_assert(k.lists == LISTS && k.rows == k.chunks);
        vq_shard_close(&fresh);
    }
    vq_shard_close(&s);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}

Test(shard, moves_on, .timeout = 300)
{
    move_on(VQ_COPIES_YES, VQ_F32);
    move_on(VQ_COPIES_NO, VQ_I8);
}

/* The rows of a list that has changed are known, but for those that have. */
Test(shard, rows_of_a_list_that_changed, .timeout = 300)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_file *f;
    vq_shard s;
    uint64_t id = 5;
    size_t seen = 0, chunks = 0;
    vq_writer *w;
    o.codec = "pq8", o.nlist = 1, o.no_tune = 1;
    build_clusters(path, 1, N, D, &o);
    OK(vq_file_open(&f, path, &err));
    OK(vq_shard_open(&s, f, &err));
    load_all(&s);
    OK(vq_writer_open(&w, path, NULL, &err));
    OK(vq_writer_delete(w, &id, NULL, 1, &err));
    OK(vq_writer_commit(w, NULL, &err));
    vq_writer_close(w);
    OK(vq_shard_refresh(&s, &err));
    cr_assert(!s.lists[0].loaded);
    OK(vq_shard_load(&s, 0, &err));
    for (uint32_t i = 0; i < s.lists[0].n; i += s.row_capacity, chunks++)
        seen += vq_shard_row_seen(&s, i);
    cr_assert(chunks > 50 && seen < chunks && seen + 2 >= chunks, "%zu of %zu", seen, chunks);
    vq_shard_close(&s);
    vq_file_close(f);
    free(path);
    test_rmdir(dir);
}
