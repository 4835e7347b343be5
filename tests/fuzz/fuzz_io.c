/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_io.c -- any bytes through every reader: vectors, ids, neighbours, judgements, runs.
 * With -DVQ_FUZZ_MAIN a program of its own: fuzz_io [ITERATIONS [SEED [FILE]]] feeds seeded
 * mutations of valid files, or FILE alone. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/io/format.h"
#include "src/io/ids.h"
#include "src/io/qrels.h"
#include "src/io/truth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_vectors(const char *path, bool skip_bad)
{
    vq_error err;
    vq_source *src = NULL;
    size_t got = 1;
    if (vq_source_file(&src, path, skip_bad, &err) != VQ_OK) return;
    float *rows = vq_alloc_f32(5, src->d);
    for (int pass = 0; pass < 2 && rows != NULL; pass++, got = 1) {
        while (got > 0)
            if (vq_source_read_as_f32(src, rows, 5, NULL, &got, &err) != VQ_OK) break;
        if (vq_source_rewind(src, &err) != VQ_OK) break;
    }
    vq_mem_free(rows);
    vq_source_close(src);
}

static void read_texts(const char *path)
{
    vq_error err;
    vq_ids ids;
    vq_qrels qrels;
    vq_run run;
    (void)vq_ids_read(&ids, path, false, &err);
    vq_ids_fini(&ids);
    if (vq_qrels_read(&qrels, path, &err) == VQ_OK)
        for (size_t i = 0; i < qrels.nq; i++)
            if (vq_qrels_find(&qrels, qrels.qid[i]) != i) abort();
    vq_qrels_fini(&qrels);
    (void)vq_run_read(&run, path, &err);
    vq_run_fini(&run);
}

/* Bounds what a few bytes of zstd can blow up to. */
static bool unpacks_small(const char *path)
{
    vq_error err;
    vq_stream *stream = NULL;
    uint8_t bytes[4096];
    size_t got = 1, total = 0;
    if (vq_stream_open(&stream, path, &err) != VQ_OK) return true;
    while (got > 0 && total < (4u << 20)) {
        if (vq_stream_read(stream, bytes, sizeof bytes, &got, &err) != VQ_OK) break;
        total += got;
    }
    vq_stream_close(stream);
    return total < (4u << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    vq_error err;
    vq_truth truth;
    int fd = memfd_create("vq-fuzz", MFD_CLOEXEC);
    if (fd < 0) return 0;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size) {
        if (unpacks_small(path)) {
            read_vectors(path, false);
            read_vectors(path, true);
            (void)vq_truth_read(&truth, path, &err);
            vq_truth_fini(&truth);
            read_texts(path);
        }
    }
    (void)close(fd);
    return 0;
}

#ifdef VQ_FUZZ_MAIN
#include "tests/fuzz/driver.h"
#include "src/base/bytes.h"
#include "src/base/rng.h"

#define SEED_MAX 512u

/* A valid file of one of the kinds; returns its length. */
static size_t make_seed(vq_rng *r, uint8_t bytes[SEED_MAX])
{
    static const char *const texts[] = {
        "1\n2\n3\nabc\n\xc3\xa9\n",
        "q1 0 d1 1\nq2 0 d2 0\n",
        "query-id\tcorpus-id\tscore\nq\td\t1\n",
        "q1 Q0 d1 1 0.5 t\nq1 Q0 d2 2 0.25 t\n",
    };
    uint64_t kind = vq_rng_below(r, vq_format_count + VQ_COUNT(texts));
    memset(bytes, 0, SEED_MAX);
    if (kind >= vq_format_count) {
        size_t len = strlen(texts[kind - vq_format_count]);
        memcpy(bytes, texts[kind - vq_format_count], len);
        return len;
    }
    const vq_format *f = vq_formats[kind];
    uint32_t d = 1 + (uint32_t)vq_rng_below(r, 6), elem = VQ_F32;
    while ((f->elems >> elem & 1u) == 0) elem++;
    uint64_t n = 1 + vq_rng_below(r, 8);
    size_t at = f->header(bytes, 128, n, d, elem);
    for (uint64_t i = 0; i < n; i++) {
        if (f->row_prefix == 4) vq_put_le32(bytes + at, d);
        at += f->row_prefix + d * vq_elem_size(elem);
    }
    return at;
}

static size_t mutate(vq_rng *r, uint8_t *bytes, size_t len)
{
    static const uint8_t odd[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '\n', ' ', '{'};
    for (uint64_t n = vq_rng_below(r, 6); n > 0 && len > 0; n--) {
        size_t at =
            vq_rng_below(r, 3) == 0 ? vq_rng_below(r, VQ_MIN(len, 16)) : vq_rng_below(r, len);
        switch (vq_rng_below(r, 4)) {
        case 0: bytes[at] ^= (uint8_t)(1u << vq_rng_below(r, 8)); break;
        case 1: bytes[at] = odd[vq_rng_below(r, sizeof odd)]; break;
        case 2: bytes[at] = (uint8_t)vq_rng_u64(r); break;
        default: len = vq_rng_below(r, 4) == 0 ? at : VQ_MIN(len + vq_rng_below(r, 9), SEED_MAX);
        }
    }
    return len;
}

int main(int argc, char **argv)
{
    uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 0) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    if (argc > 3) return feed_file(argv[3]);
    for (uint64_t i = 0; i < iterations; i++) {
        vq_rng r;
        vq_error err;
        vq_rng_init(&r, seed, i);
        uint8_t bytes[SEED_MAX], packed[2 * SEED_MAX];
        size_t len = mutate(&r, bytes, make_seed(&r, bytes)), packed_len;
        if (vq_rng_below(&r, 4) == 0 &&
            vq_pack(packed, sizeof packed, &packed_len, bytes, len, 1, &err) == VQ_OK) {
            packed_len = mutate(&r, packed, VQ_MIN(packed_len, SEED_MAX));
            (void)LLVMFuzzerTestOneInput(packed, packed_len);
        } else {
            (void)LLVMFuzzerTestOneInput(bytes, len);
        }
    }
    (void)printf("fuzz_io: %llu inputs, seed %llu\n", (unsigned long long)iterations,
                 (unsigned long long)seed);
    return EXIT_SUCCESS;
}
#endif
