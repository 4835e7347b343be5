/* SPDX-License-Identifier: Apache-2.0 */
/* Merges of files with damage: an error that names the file, or what was there before it. */
#include "tests/index/merging.h"

/* Nothing damaged gets a new checksum: a merge fails, or all is what it was. */
Test(merge_damage, damaged, .timeout = 300)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out");
    const live_config *configs[] = {&number_ids, &string_ids};
    for (int i = 0; i < 2; i++) {
        state of_a, of_b;
        size_t len, refused = 0, made = 0;
        build_range(a, configs[i], 0, 300, 1, NULL, &of_a);
        build_range(b, configs[i], 300, 500, 2, a, &of_b);
        state all = both(&of_a, &of_b);
        uint8_t *bytes = test_read(b, &len);
        for (size_t at = 2 * 4096 + 100; at < len; at += 2039) {
            bytes[at] ^= 4;
            test_write(b, bytes, len);
            bytes[at] ^= 4;
            vq_status rc = merge(a, b, out, VQ_KEEP_NONE);
            cr_assert(rc == VQ_OK || rc == VQ_ECORRUPT || rc == VQ_EUNSUPPORTED || rc == VQ_EINVAL,
                      "byte %zu: %d: %s", at, (int)rc, err.text);
            refused += rc != VQ_OK, made += rc == VQ_OK;
            if (rc != VQ_OK) continue;
            cr_assert_eq(problems_of(out), 0, "byte %zu", at);
            vq_index *ix = open_index(out);
            vq_searcher *s = exact(ix);
            OK(vq_search(s, (float[D]){0}, 1, 1, (uint64_t[1]){0}, NULL, &err));
            live_holds(configs[i], &all, s);
            vq_searcher_close(s);
            vq_close(ix);
        }
        cr_assert(refused > 20, "%zu refused, %zu made", refused, made);
        free(bytes);
    }
    free(a), free(b), free(out);
    test_rmdir(dir);
}

/* The next entry of an id in the pages of `ids`, or in one that was: its key, which the value lies
 * behind.  NULL: there is none.  LMDB begins a node with the bytes of its value, flags and the
 * bytes of its key. */
static uint8_t *id_entry(uint8_t *from, const uint8_t *end, const void *key, size_t len)
{
    uint8_t node[8 + 16] = {8, 0, 0, 0, 0, 0, (uint8_t)len, 0};
    cr_assert(len <= 16);
    memcpy(node + 8, key, len);
    uint8_t *found = memmem(from, (size_t)(end - from), node, 8 + len);
    return found == NULL ? NULL : found + 8;
}

/* In the place of the entry of an id another one; a value that is NULL stays. */
static void change_id(const char *path, const void *key, size_t len, const void *to,
                      const uint8_t *value)
{
    size_t size, n = 0;
    uint8_t *bytes = test_read(path, &size), *end = bytes + size, *at = bytes;
    while ((at = id_entry(at, end, key, len)) != NULL) {
        memcpy(at, to, len);
        if (value != NULL) memcpy(at + len, value, 8);
        at += len, n++;
    }
    cr_assert(n > 0);
    test_write(path, bytes, size);
    free(bytes);
}

/* The value of an id, of the newest entry or an older one that is the same. */
static void value_of(const char *path, const void *key, size_t len, uint8_t value[8])
{
    size_t size;
    uint8_t *bytes = test_read(path, &size), *at = id_entry(bytes, bytes + size, key, len);
    cr_assert(at != NULL);
    memcpy(value, at + len, 8);
    free(bytes);
}

/* A document's key says that it is longer than it is, by its node's head. */
static size_t lengthen_keys(const char *path)
{
    size_t size, n = 0;
    uint8_t *bytes = test_read(path, &size);
    for (uint64_t label = 200; label < UNIVERSE; label++) { /* no list has chunks of such numbers */
        uint8_t head[2 + 8] = {8, 0};                       /* the key's bytes, the key */
        vq_put_be64(head + 2, label);
        for (uint8_t *at = bytes; (at = memmem(at, (size_t)(bytes + size - at), head, 10)) != NULL;
             at += 10)
            if (at - 6 > bytes && vq_le32(at - 6) > 16 && vq_le32(at - 6) < 200) at[0] = 12, n++;
        if (n > 0) break;
    }
    test_write(path, bytes, size);
    free(bytes);
    return n;
}

/* What an id carries must not be lost without a word. */
Test(merge_damage, a_document_that_no_id_finds, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_source *src = NULL;
    state of_a, of_b;
    build_range(a, &number_ids, 0, 200, 1, NULL, &of_a);
    build_range(b, &number_ids, 200, 400, 2, a, &of_b);
    OK(merge(a, b, out, VQ_KEEP_NONE));
    cr_assert(unlink(out) == 0 && lengthen_keys(b) > 0 && problems_of(b) > 0);
    FAILS(VQ_ECORRUPT, merge(a, b, out, VQ_KEEP_NONE));
    cr_assert(strstr(err.text, b) != NULL && access(out, F_OK) != 0, "%s", err.text);
    vq_index *ix = open_index(b);
    OK(vq_source_open_index(&src, ix, &err));
    FAILS(VQ_ECORRUPT, vq_build(out, src, &o, &err));
    cr_assert(strstr(err.text, b) != NULL && access(out, F_OK) != 0, "%s", err.text);
    vq_source_close(src);
    vq_close(ix);
    free(a), free(b), free(out);
    test_rmdir(dir);
}

/* No checksum covers the keys and values of `ids`; those of names and lists tell what they are. */
Test(merge_damage, damaged_names, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out"), first[16], second[16];
    uint8_t of_first[8], of_second[8];
    state of_a, of_b;
    build_range(a, &string_ids, 0, 200, 1, NULL, &of_a);
    build_range(b, &string_ids, 200, 400, 2, a, &of_b);
    change_id(a, "k000", 4, "k001", NULL); /* of no row, and the order stays */
    cr_assert(problems_of(a) > 0);
    FAILS(VQ_ECORRUPT, merge(a, b, out, VQ_KEEP_NONE));
    cr_assert(strstr(err.text, a) != NULL && access(out, F_OK) != 0, "%s", err.text);
    change_id(a, "k001", 4, "k000", NULL);
    cr_assert_eq(problems_of(a), 0);
    change(a, &string_ids, &of_a, 450, 460, 1, 7000); /* labels are no ranks any more */
    (void)live_name(450, first), (void)live_name(451, second);
    value_of(a, first, 4, of_first);
    value_of(a, second, 4, of_second);
    change_id(a, first, 4, first, of_second);
    change_id(a, second, 4, second, of_first);
    cr_assert(problems_of(a) > 0);
    FAILS(VQ_ECORRUPT, merge(b, a, out, VQ_KEEP_NONE));
    cr_assert(strstr(err.text, a) != NULL && access(out, F_OK) != 0, "%s", err.text);
    free(a), free(b), free(out);
    test_rmdir(dir);
}

/* In its list a vector gets the label of another one, with a checksum that is right. */
static void relabel(const char *path, const char *name, const char *other)
{
    size_t size;
    uint64_t label, place;
    uint32_t slot;
    vq_index *ix = open_index(path);
    vq_searcher *s = exact(ix);
    vq_shard *shard = &s->shards[0];
    OK(vq_shard_find_name(shard, name, &label, &err));
    OK(vq_shard_find(shard, label, &place, &err));
    OK(vq_shard_find_name(shard, other, &label, &err));
    const vq_chunk_view *v = vq_shard_at(shard, place, &slot);
    const uint8_t *record = v->codes - VQ_RECORD_HEADER;
    size_t of_record = vq_list_chunk_size(&shard->model.shape, v->n);
    size_t at = (size_t)(record - shard->snapshot.pages.base);
    size_t of_label = (size_t)(v->labels - record) + 8 * (size_t)slot;
    uint8_t *bytes = test_read(path, &size);
    vq_searcher_close(s);
    vq_close(ix);
    cr_assert(at + of_record <= size);
    vq_put_le64(bytes + at + of_label, label);
    vq_record_seal(bytes + at, of_record);
    test_write(path, bytes, size);
    free(bytes);
}

/* Two ids that have to go lie at one place, and what one left behind says it is another's: more
 * leaves a list than may. */
Test(merge_damage, two_ids_of_one_place, .timeout = 120)
{
    char *dir = test_tmpdir(), *a = test_path(dir, "a"), *b = test_path(dir, "b");
    char *out = test_path(dir, "out"), first[16], second[16], third[16];
    uint8_t place[8];
    state of_a, of_b;
    live_build(a, &string_ids, 200, &of_a);
    change(a, &string_ids, &of_a, 200, 300, 1, 7000); /* labels are no ranks */
    OK(vq_compact(a, b, NULL, &err));
    of_b = of_a;
    change(b, &string_ids, &of_b, 0, 10, 1, DELETE);
    change(b, &string_ids, &of_b, 12, 300, 1, DELETE);
    (void)live_name(10, first), (void)live_name(11, second), (void)live_name(250, third);
    relabel(a, second, third);
    value_of(a, first, 4, place);
    change_id(a, second, 4, second, place);
    FAILS(VQ_ECORRUPT, merge(a, b, out, VQ_KEEP_LAST));
    cr_assert(strstr(err.text, a) != NULL && access(out, F_OK) != 0, "%s", err.text);
    FAILS(VQ_ECORRUPT, merge(b, a, out, VQ_KEEP_FIRST));
    free(a), free(b), free(out);
    test_rmdir(dir);
}
