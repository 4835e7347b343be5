/* SPDX-License-Identifier: Apache-2.0 */
/* Every codec of the table: what it promises in codec.h, on clustered data; its scans are
 * test_codec_scan.c. */
#include "tests/src/codec/coded.h"

Test(codec, names_and_numbers_are_unique)
{
    cr_assert(vq_codec_count >= 7);
    for (size_t i = 0; i < vq_codec_count; i++) {
        cr_assert_eq(vq_codec_by_name(vq_codecs[i]->name), vq_codecs[i]);
        cr_assert_eq(vq_codec_by_id(vq_codecs[i]->disk_id), vq_codecs[i]);
        cr_assert(strlen(vq_codecs[i]->name) < 16); /* vq_info */
    }
    cr_assert(vq_codec_by_name("pq") == NULL && vq_codec_by_name("") == NULL);
    cr_assert(vq_codec_by_id(0) == NULL && vq_codec_by_id(UINT32_MAX) == NULL);
    static const char *const ids[] = {"",    "flat", "sq8", "pq4",
                                      "pq8", "aq8",  "saq", "rabitq"}; /* on disk for ever */
    for (uint32_t id = 1; id <= 7; id++) cr_assert_str_eq(vq_codec_by_id(id)->name, ids[id]);
}

Test(codec, plans_keep_to_the_bytes)
{
    static const uint32_t dims[] = {1, 2, 7, 16, 33, 100, 768};
    for (size_t i = 0; i < vq_codec_count; i++) {
        const vq_codec *c = vq_codecs[i];
        for (size_t j = 0; j < VQ_COUNT(dims); j++)
            for (uint32_t bytes = 1; bytes <= 4 * 768 + 1; bytes += 1 + bytes / 8) {
                vq_error err = {0};
                uint32_t m = UINT32_MAX, d = dims[j];
                if (c->plan(d, bytes, &m, &err) != VQ_OK) {
                    cr_assert(err.code == VQ_EINVAL && strstr(err.text, c->name) != NULL);
                    cr_assert(c->codewords != 0 ? bytes > 128
                              : c->grain != 0   ? bytes < 6
                                                : bytes < c->code_bytes(d, 0));
                    continue;
                }
                cr_assert(c->code_bytes(d, m) >= 1 && c->code_bytes(d, m) <= bytes);
                if (c->grain !=
                    0) { /* at most 13 bits a coordinate, at least all but a few bytes */
                    cr_assert(m + 7 >= VQ_MIN(bytes, 26 * ((d + 15) / 16)));
                    continue;
                }
                cr_assert((c->codewords != 0) == (m != 0) && m <= 256);
                cr_assert(m <= d + 1 && (c->codewords != 16 || m % 2 == 0));
            }
    }
}

Test(codec, plans_that_cannot_be)
{
    vq_error err;
    uint32_t m;
    cr_assert_eq(vq_codec_flat.plan(10, 39, &m, &err), VQ_EINVAL);
    cr_assert(strstr(err.text, "40 bytes") != NULL);
    cr_assert_eq(vq_codec_flat.plan(10, 40, &m, &err), VQ_OK);
    cr_assert_eq(vq_codec_sq8.plan(10, 9, &m, &err), VQ_EINVAL);
    cr_assert_eq(vq_codec_sq8.plan(10, 10, &m, &err), VQ_OK);
    cr_assert_eq(vq_codec_pq8.plan(1000, 0, &m, &err), VQ_EINVAL); /* the planner chooses these */
    cr_assert_eq(vq_codec_pq8.plan(1000, 257, &m, &err), VQ_EINVAL);
    cr_assert(vq_codec_pq8.plan(1000, 256, &m, &err) == VQ_OK && m == 256);
    cr_assert_eq(vq_codec_pq4.plan(1000, 129, &m, &err), VQ_EINVAL);
    cr_assert(vq_codec_pq4.plan(1000, 128, &m, &err) == VQ_OK && m == 256);
    cr_assert(vq_codec_pq8.plan(5, 64, &m, &err) == VQ_OK && m == 5);
    cr_assert(vq_codec_pq4.plan(5, 64, &m, &err) == VQ_OK && m == 6);
    cr_assert(vq_codec_aq8.plan(4096, 256, &m, &err) == VQ_OK && m == 256);
    cr_assert_eq(vq_codec_aq8.plan(4097, 256, &m, &err), VQ_EINVAL);
    cr_assert(strstr(err.text, "fewer --bytes") != NULL);
}

Test(codec, packing_is_a_bijection)
{
    for (size_t i = 0; i < vq_codec_count; i++)
        for (size_t s = 0; s < VQ_COUNT(sizes); s++) {
            coded c = code(vq_codecs[i], 24, few_bytes(vq_codecs[i]), sizes[s]);
            size_t bytes = c.cm.code_bytes, room = vq_round_up(c.n, VQ_BLOCK);
            uint8_t *row = vq_mem_alloc(1, bytes);
            for (size_t slot = 0; slot < c.n; slot++) {
                vq_codecs[i]->unpack(&c.cm, c.blocks, slot, row);
                cr_assert(memcmp(row, c.rows + slot * bytes, bytes) == 0, "%s slot %zu of %zu",
                          vq_codecs[i]->name, slot, c.n);
            }
            for (size_t slot = c.n; slot < room; slot++) { /* the rest of the block is zero */
                vq_codecs[i]->unpack(&c.cm, c.blocks, slot, row);
                for (size_t b = 0; b < bytes; b++) cr_assert_eq(row[b], 0);
            }
            vq_mem_free(row);
            coded_fini(&c);
        }
}

Test(codec, decoding_is_close)
{
    coded flat = code(&vq_codec_flat, 24, 0, MOST);
    cr_assert_eq(mean_error(&flat), 0.0);
    coded_fini(&flat);
    coded sq = code(&vq_codec_sq8, 24, 0, MOST);
    double bound = 0.0; /* a quarter of the squared step a coordinate, at the most */
    for (size_t j = 0; j < 24; j++) bound += 0.2501 * pow((double)sq.params[24 + j], 2.0);
    cr_assert(mean_error(&sq) > 0.0 && mean_error(&sq) < bound);
    coded_fini(&sq);
}

Test(codec, more_bytes_lose_less)
{
    for (size_t i = 0; i < vq_codec_count; i++) {
        if (vq_codecs[i]->codewords == 0) continue;
        double before = INFINITY;
        for (uint32_t bytes = 1; bytes <= 12; bytes *= 2) {
            coded c = code(vq_codecs[i], 24, bytes, MOST);
            double e = mean_error(&c);
            cr_assert(e < 0.98 * before, "%s: %u bytes: %g after %g", vq_codecs[i]->name, bytes, e,
                      before);
            before = e;
            coded_fini(&c);
        }
    }
}

Test(codec, additive_codes_lose_less_than_product_codes)
{
    for (uint32_t bytes = 2; bytes <= 6; bytes += 2) {
        coded pq = code(&vq_codec_pq8, 24, bytes, MOST), aq = code(&vq_codec_aq8, 24, bytes, MOST);
        double of_pq = mean_error(&pq), of_aq = mean_error(&aq);
        cr_assert(of_aq < 0.9 * of_pq, "%u bytes: %g after %g", bytes, of_aq, of_pq);
        coded_fini(&pq);
        coded_fini(&aq);
    }
}

Test(codec, a_coder_changes_no_code)
{
    size_t checked = 0;
    for (size_t i = 0; i < vq_codec_count; i++) {
        const vq_codec *codec = vq_codecs[i];
        if (codec->coder == NULL) continue;
        if (codec->coder_size(vq_kernels_get(), 24, 1) == SIZE_MAX) cr_skip("not on this machine");
        coded c = code(codec, 24, few_bytes(codec), MOST);
        uint8_t *rows = vq_mem_alloc(MOST, c.cm.code_bytes);
        void *memory = vq_mem_alloc(codec->coder_size(vq_kernels_get(), c.cm.d, c.cm.m), 1);
        for (size_t book = 0; book < c.cm.m; book++)
            codec->coder(&c.cm, vq_kernels_get(), book, memory);
        c.cm.coder = memory;
        cr_assert_eq(codec->encode(&c.cm, vq_kernels_get(), c.x, MOST, rows, NULL), VQ_OK);
        cr_assert_arr_eq(rows, c.rows, (size_t)MOST * c.cm.code_bytes, "%s", codec->name);
        vq_mem_free(rows), vq_mem_free(memory);
        coded_fini(&c);
        checked++;
    }
    cr_assert_geq(checked, 1u);
}

Test(codec, additive_encoding_without_memory)
{
    coded c = code(&vq_codec_aq8, 8, 2, 1);
    vq_error err = {0};
    vq_mem_fail_after(1);
    vq_status rc = vq_codec_aq8.encode(&c.cm, vq_kernels_get(), c.x, c.n, c.rows, &err);
    vq_mem_fail_after(0);
    cr_assert(rc == VQ_ENOMEM && strstr(err.text, "aq8") != NULL);
    coded_fini(&c);
}

Test(codec, training_on_one_row_and_on_equal_rows)
{
    for (size_t i = 0; i < vq_codec_count; i++)
        for (size_t n = 1; n <= 40; n += 39) {
            const vq_codec *codec = vq_codecs[i];
            vq_ticker ticker = {0};
            vq_error err;
            uint32_t m;
            enum { WIDE = 16 };
            float x[40 * WIDE], back[40 * WIDE];
            uint8_t rows[40 * 4 * WIDE];
            for (size_t t = 0; t < n * WIDE; t++) x[t] = (float)(t % WIDE) - 2.5f;
            cr_assert_eq(codec->plan(WIDE, codec->codewords != 0 ? 4 : 0, &m, &err), VQ_OK);
            float *params = vq_mem_calloc(codec->nparams(WIDE, m) + 1, sizeof *params);
            cr_assert_eq(codec->train(x, n, WIDE, m, 1, 1, &ticker, params, &err), VQ_OK);
            vq_code_model cm = {.codec = codec,
                                .d = WIDE,
                                .m = m,
                                .code_bytes = codec->code_bytes(WIDE, m),
                                .params = params};
            cr_assert_eq(codec->encode(&cm, vq_kernels_get(), x, n, rows, &err), VQ_OK);
            codec->decode(&cm, rows, n, back);
            float most = codec->grain != 0 ? 0.9f : 1e-5f; /* a grid holds no vector exactly */
            for (size_t t = 0; t < n * WIDE; t++)
                cr_assert(fabsf(back[t] - x[t]) < most, "%s: %g is not %g", codec->name,
                          (double)back[t], (double)x[t]);
            vq_mem_free(params);
        }
}
