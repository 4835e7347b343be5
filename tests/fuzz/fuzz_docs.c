/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_docs.c -- any bytes through whatever reads what vectors carry: records, bitmaps, payloads,
 * filter expressions, JSON lines, and the files of tags, times and payloads.
 * With -DVQ_FUZZ_MAIN a program of its own: fuzz_docs [ITERATIONS [SEED [FILE]]] feeds seeded
 * mutations of valid ones, or FILE alone. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "index/docs.h"
#include "index/expr.h"
#include "index/layout.h"
#include "src/base/bitmap.h"
#include "src/base/bytes.h"
#include "src/base/mem.h"
#include "src/io/attrs.h"
#include "src/io/jsonl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BITS = 70001 };

static uint64_t sum(const void *bytes, size_t len)
{
    uint64_t total = 0;
    for (size_t i = 0; i < len; i++) total += ((const uint8_t *)bytes)[i];
    return total;
}

/* What a reader has made of a bitmap is written and read back. */
static uint64_t read_bitmap(const uint8_t *data, size_t size, uint64_t bits)
{
    size_t words = vq_bitmap_words(bits);
    uint64_t *x = calloc(words, 8), *y = calloc(words, 8), seen = 0;
    if (x != NULL && y != NULL && vq_bitmap_read(data, size, x, bits, NULL) == VQ_OK) {
        size_t len = vq_bitmap_size(x, bits);
        uint8_t *bytes = malloc(len);
        if (bytes != NULL) {
            vq_bitmap_write(x, bits, bytes);
            if (vq_bitmap_read(bytes, len, y, bits, NULL) != VQ_OK || memcmp(x, y, words * 8) != 0)
                abort();
        }
        free(bytes);
        seen = sum(x, words * 8);
    }
    free(x);
    free(y);
    return seen;
}

static uint64_t read_records(const uint8_t *data, size_t size)
{
    uint64_t seen = read_bitmap(data, size, BITS) + read_bitmap(data, size, 40), vectors;
    uint32_t number;
    vq_doc d;
    vq_times t;
    vq_packer *p = NULL;
    if (vq_doc_parse(data, size, &d, NULL) == VQ_OK) {
        seen += sum(d.tags, 4 * (size_t)d.ntags) + sum(d.payload, d.packed);
        uint8_t *out = d.bytes < 1 << 20 ? malloc(d.bytes + 1) : NULL;
        if (out != NULL && vq_packer_open(&p, NULL, 0, NULL) == VQ_OK &&
            vq_doc_unpack(p, &d, out, NULL) == VQ_OK)
            seen += sum(out, d.bytes);
        vq_packer_close(p);
        free(out);
    }
    if (vq_times_parse(data, size, 64, 3, 4, &t, NULL) == VQ_OK) seen += sum(t.at, 8 * (size_t)t.n);
    if (vq_tag_parse(data, size, &number, &vectors, NULL) == VQ_OK) seen += number + vectors;
    return seen;
}

static uint64_t read_texts(const uint8_t *data, size_t size)
{
    char id[64], *text = malloc(size + 1);
    uint64_t seen = 0;
    vq_expr *e = NULL;
    vq_error err = {0};
    if (text == NULL) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (vq_expr_parse(&e, text, &err) == VQ_OK) {
        if (e->stack > 2 * VQ_EXPR_DEPTH + 2) abort();
        for (size_t i = 0; i < e->n; i++)
            if (e->steps[i].kind == VQ_STEP_TAG)
                seen += sum(e->text + e->steps[i].tag, e->steps[i].len);
    }
    vq_expr_free(e);
    /* A line with an id is JSON. */
    if (vq_json_id((const char *)data, size, id, sizeof id, &err) == VQ_OK) {
        if (!vq_json_valid((const char *)data, size)) abort();
        seen += sum(id, strlen(id));
    }
    free(text);
    return seen;
}

static uint64_t read_files(const uint8_t *data, size_t size)
{
    char path[64];
    uint64_t seen = 0;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (int i = 0; i < 6; i++) {
        vq_attrs a;
        vq_error err = {0};
        if (vq_attrs_read(&a, path, (vq_attrs_kind)(i / 2), i % 2 == 0, &err) != VQ_OK) continue;
        for (uint64_t j = 0; j < a.a.n; j++) {
            if (a.a.names != NULL) seen += sum(a.a.names[j], strlen(a.a.names[j]));
            if (a.a.tags != NULL)
                for (uint64_t t = a.a.tag_begins[j]; t < a.a.tag_begins[j + 1]; t++)
                    seen += sum(a.a.tags[t], strlen(a.a.tags[t]));
            if (a.a.payloads != NULL) seen += sum(a.a.payloads[j], (size_t)a.a.payload_bytes[j]);
        }
        vq_attrs_fini(&a);
    }
    (void)close(fd);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile uint64_t sink;
    uint8_t *exact = malloc(size + (size == 0)); /* ASan sees a byte too many */
    if (exact == NULL) return 0;
    if (size > 0) memcpy(exact, data, size);
    sink += read_records(exact, size) + read_texts(exact, size) + read_files(exact, size);
    free(exact);
    return 0;
}

#ifdef VQ_FUZZ_MAIN
#include "tests/fuzz/driver.h"
#include "src/base/rng.h"

enum { MOST = 20000 };

/* The corpus: a text of each kind, and those that have once been misread. */
static const char *const texts[] = {
    "tag:en & !tag:draft & time>=1700000000",
    "tag:\"a \\\"b\\\\ c\" | (time != -3 and not (tag:x or tag:y))",
    "((((tag:a))))&&!!!time==0||tag:time",
    "{\"id\": 17, \"title\": \"x\", \"n\": [1, -2.5e3, {\"id\": null}], \"t\": true}",
    "{\"\\u0069d\":\"\\ud83d\\ude00\\n\", \"a\":{}}\n{\"id\":\"7\"}\n",
    "1\ten\tdraft\n1\tfr\n2\n\xc3\xa9\tx\n",
    "1\t1700000000\r\n2\t-5\n",
};

static size_t make_bitmap(vq_rng *r, uint8_t *bytes)
{
    static uint64_t words[(BITS + 63) / 64];
    uint64_t bits = vq_rng_below(r, 4) == 0 ? BITS : 40, every = 1 + vq_rng_below(r, 60);
    bool runs = vq_rng_below(r, 2) == 0, on = true;
    memset(words, 0, sizeof words);
    for (uint64_t i = 0; i < bits; i++) {
        if (vq_rng_below(r, every) == 0) on = !on;
        if (runs ? on : i % every == 0) words[i / 64] |= UINT64_C(1) << i % 64;
    }
    size_t len = vq_bitmap_size(words, bits);
    if (len > MOST) return 0;
    vq_bitmap_write(words, bits, bytes);
    return len;
}

static size_t make_document(vq_rng *r, uint8_t *bytes)
{
    static const char payload[] = "{\"id\": 3, \"text\": \"again and again and again and again\"}";
    uint32_t tags = (uint32_t)vq_rng_below(r, 5);
    size_t at = VQ_DOC_HEADER, len = sizeof payload - 1;
    vq_packer *p = NULL;
    vq_put_le64(bytes + 8, vq_rng_u64(r));
    vq_put_le32(bytes + 16, tags);
    vq_put_le32(bytes + 20, (uint32_t)len);
    for (uint32_t i = 0; i < tags; i++, at += 4) vq_put_le32(bytes + at, 3 * i);
    if (vq_rng_below(r, 2) == 0 || vq_packer_open(&p, NULL, 0, NULL) != VQ_OK ||
        vq_packer_pack(p, bytes + at, MOST - at, &len, payload, len, NULL) != VQ_OK)
        memcpy(bytes + at, payload, len);
    vq_packer_close(p);
    return at + len;
}

static size_t make_times(vq_rng *r, uint8_t *bytes)
{
    uint32_t n = 1 + (uint32_t)vq_rng_below(r, 64);
    vq_put_le32(bytes + 8, n), vq_put_le32(bytes + 12, 3), vq_put_le32(bytes + 16, 4);
    return VQ_TIMES_HEADER + 8 * (size_t)n;
}

static size_t make_seed(vq_rng *r, uint8_t *bytes)
{
    memset(bytes, 0, MOST);
    uint64_t kind = vq_rng_below(r, 4 + VQ_COUNT(texts));
    if (kind == 0) return make_bitmap(r, bytes);
    if (kind == 1) return make_document(r, bytes);
    if (kind == 2) return make_times(r, bytes);
    if (kind == 3) return VQ_TAG_VALUE;
    size_t len = strlen(texts[kind - 4]);
    memcpy(bytes, texts[kind - 4], len);
    return len;
}

static size_t mutate(vq_rng *r, uint8_t *bytes, size_t len)
{
    static const char odd[] = "\"\\!&|()\t\n{}[]:,0-";
    for (uint64_t n = vq_rng_below(r, 6); n > 0 && len > 0; n--) {
        size_t front = vq_rng_below(r, 2) == 0 ? 64 : len;
        size_t at = vq_rng_below(r, VQ_MIN(len, front));
        switch (vq_rng_below(r, 5)) {
        case 0: bytes[at] ^= (uint8_t)(1u << vq_rng_below(r, 8)); break;
        case 1: bytes[at] = (uint8_t)odd[vq_rng_below(r, sizeof odd)]; break;
        case 2: bytes[at] = (uint8_t)vq_rng_u64(r); break;
        case 3: /* a piece comes once more */
            if (2 * (len - at) + at > MOST) break;
            memmove(bytes + len, bytes + at, len - at);
            len += len - at;
            break;
        default: len = vq_rng_below(r, 4) == 0 ? at : len; break;
        }
    }
    return len;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[MOST];
    uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 0) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    if (argc > 3) return feed_file(argv[3]);
    for (uint64_t i = 0; i < iterations; i++) {
        vq_rng r;
        vq_rng_init(&r, seed, i);
        size_t len = make_seed(&r, bytes);
        (void)LLVMFuzzerTestOneInput(bytes, mutate(&r, bytes, len));
    }
    (void)printf("fuzz_docs: %llu inputs, seed %llu\n", (unsigned long long)iterations,
                 (unsigned long long)seed);
    return EXIT_SUCCESS;
}
#endif
