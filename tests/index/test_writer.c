/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded vectors to chunks: the same file whether a part of the lists fits into memory or not. */
#include "index/writer.h"

#include "tests/index/fixture.h"

enum { N = 1100, D = 4096, LISTS = 5 };

/* Writes N vectors, mostly of list 3, none of list 1, with labels that fall. */
static void write_lists(const char *path, const float *x, size_t memory)
{
    /* n of 1 puts all lists into one part, however many records there are. */
    vq_model m = {.n = 1, .d = D, .d_code = D, .metric = VQ_METRIC_L2, .nlist = LISTS};
    m.codec = &vq_codec_flat, m.store = VQ_F32;
    vq_store *st;
    vq_list_writer w;
    vq_idmap im;
    vq_ticker ticker = {0};
    static uint64_t ids[N];
    OK(vq_store_create(&st, path, true, &err));
    vq_model_derive(&m, vq_store_value_min(st));
    for (size_t i = 0; i < N; i++) ids[i] = 5000 - i;
    OK(vq_idmap_init(&im, N, NULL, 0, ids, NULL, N, &err));
    OK(vq_list_writer_init(&w, &m, false, path, memory, &err));
    for (size_t i = 0; i < N; i++) {
        uint32_t list = i % 4 == 0 ? (uint32_t)(i % 3) * 2 : 3;
        float factor = (float)i;
        const uint8_t *row = (const uint8_t *)(x + i % 7 * D);
        OK(vq_list_writer_add(&w, i, 1, &list, &factor, row, row, &err));
    }
    OK(vq_list_writer_flush(&w, st, &im, &ticker, &err));
    for (size_t i = 0; i < N; i++) { /* every vector has a place of its own, in order of its list */
        uint64_t place = im.places[im.ranks[i]];
        cr_assert_eq(place >> 32, i % 4 == 0 ? i % 3 * 2 : 3);
        if (i >= 12) cr_assert((uint32_t)place > (uint32_t)im.places[im.ranks[i - 12]]);
    }
    vq_list_writer_fini(&w);
    vq_idmap_fini(&im);
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
}

static uint32_t check_list(const vq_snapshot *s, const vq_shape *shape, uint32_t list)
{
    uint32_t n = 0, cap = vq_chunk_capacity(shape), last = cap;
    for (uint32_t chunk = 0;; chunk++) {
        uint8_t key[8];
        const uint8_t *value;
        size_t len;
        vq_list_chunk codes;
        vq_row_chunk rows;
        vq_chunk_key(key, list, chunk);
        vq_status rc = vq_snapshot_get(s, VQ_DB_LISTS, key, sizeof key, &value, &len, &err);
        if (rc == VQ_ENOENT) return n;
        cr_assert(rc == VQ_OK && last == cap, "a chunk after one that is not full");
        OK(vq_record_verify(value, len, "list", &err));
        OK(vq_list_chunk_parse(shape, value, len, list, chunk, &codes, &err));
        OK(vq_snapshot_get(s, VQ_DB_VECTORS, key, sizeof key, &value, &len, &err));
        OK(vq_row_chunk_parse(shape, value, len, list, chunk, &rows, &err));
        cr_assert(rows.n == codes.n && codes.n <= cap);
        cr_assert(memcmp(rows.rows, codes.codes, (size_t)rows.n * shape->row_bytes) == 0);
        last = codes.n;
        n += codes.n;
    }
}

Test(writer, parts_that_do_not_fit)
{
    char *dir = test_tmpdir(), *much = test_path(dir, "1"), *little = test_path(dir, "2");
    float *x = clusters(1, 7, D);
    write_lists(much, x, (size_t)1 << 30);
    write_lists(little, x, 1);
    size_t a_len, b_len;
    uint8_t *a = test_read(much, &a_len), *b = test_read(little, &b_len);
    cr_assert(a_len == b_len && memcmp(a, b, a_len) == 0, "the files differ");
    free(a);
    free(b);
    vq_file *f;
    vq_snapshot s;
    vq_shape shape = {.code_bytes = 4 * D, .row_bytes = 4 * D, .factors = true, .value_min = 2048};
    OK(vq_file_open(&f, little, &err));
    OK(vq_snapshot_begin(&s, f, &err));
    uint32_t counts[LISTS], total = 0;
    for (uint32_t l = 0; l < LISTS; l++) total += counts[l] = check_list(&s, &shape, l);
    cr_assert(total == N && counts[1] == 0 && counts[3] == N - N / 4);
    vq_snapshot_end(&s);
    vq_file_close(f);
    vq_mem_free(x);
    free(much);
    free(little);
    test_rmdir(dir);
}
