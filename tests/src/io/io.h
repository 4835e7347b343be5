/* SPDX-License-Identifier: Apache-2.0 */
/* io.h -- what the tests of readers share: rows of every type, and damage. */
#ifndef VQ_TESTS_IO_H
#define VQ_TESTS_IO_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/bytes.h"
#include "src/base/elem.h"
#include "src/base/mem.h"
#include "src/io/format.h"
#include "tests/harness/harness.h"

#define cr_assert_vq(call)                                                                         \
    do {                                                                                           \
        vq_status rc_ = (call);                                                                    \
        cr_assert(rc_ == VQ_OK, "%s: %d: %s", #call, (int)rc_, err.text);                          \
    } while (0)

/* Fails with a code and a text that holds every word of what (separated by '|'). */
static inline void expect_error(vq_status rc, vq_status want, const vq_error *err, const char *what)
{
    char words[256];
    cr_assert(rc == want, "status %d, expected %d: %s", (int)rc, (int)want, err->text);
    cr_assert(err->code == (int32_t)want);
    (void)snprintf(words, sizeof words, "%s", what);
    for (char *save = NULL, *w = strtok_r(words, "|", &save); w != NULL;
         w = strtok_r(NULL, "|", &save))
        cr_assert(strstr(err->text, w) != NULL, "no \"%s\" in: %s", w, err->text);
}

/* n x d numbers of a type as its bytes; small values that every type can hold if `small`. */
static inline uint8_t *make_rows(vq_rng *r, size_t n, size_t d, uint32_t elem, int small)
{
    size_t size = vq_elem_size(elem);
    uint8_t *rows = malloc(n * d * size + 1);
    cr_assert(rows != NULL);
    for (size_t i = 0; i < n * d; i++) {
        float x = small ? (float)vq_rng_below(r, 100) : (float)vq_rng_normal(r);
        uint16_t h = vq_f32_to_f16(x);
        uint8_t b = small ? (uint8_t)x : (uint8_t)vq_rng_u64(r);
        memcpy(rows + i * size,
               elem == VQ_F32   ? (void *)&x
               : elem == VQ_F16 ? (void *)&h
                                : (void *)&b,
               size);
    }
    return rows;
}

/* Bytes as a file that has a path but no folder; close the descriptor to end it. */
static inline int memory_file(char path[64], const void *bytes, size_t len)
{
    int fd = memfd_create("vq-test", MFD_CLOEXEC);
    cr_assert(fd >= 0);
    cr_assert(len == 0 || pwrite(fd, bytes, len, 0) == (ssize_t)len);
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* Opens and reads a file to its end by small reads; the status of the first failure. */
static inline vq_status read_through(const char *path, int skip_bad, uint64_t *rows, vq_error *err)
{
    vq_source *src = NULL;
    uint32_t d, elem;
    vq_status rc = vq_source_open_file(&src, path, skip_bad, err);
    *rows = 0;
    if (rc != VQ_OK) {
        cr_assert(src == NULL);
        return rc;
    }
    vq_source_shape(src, NULL, &d, &elem);
    cr_assert(d >= 1 && d <= VQ_DIM_MAX && vq_elem_size(elem) > 0);
    float *block = malloc(3 * (size_t)d * sizeof *block);
    cr_assert(block != NULL);
    for (size_t got = 1; rc == VQ_OK && got > 0;) {
        got = 0;
        rc = vq_source_read_f32(src, block, 3, &got, err);
        cr_assert(got <= 3);
        *rows += got;
    }
    free(block);
    vq_source_close(src);
    return rc;
}

#endif
