/* SPDX-License-Identifier: Apache-2.0 */
/* harness.h -- what tests share: seeded numbers, guarded buffers, temporary folders, running the
 * program as a user types it. */
#ifndef VQ_TESTS_HARNESS_H
#define VQ_TESTS_HARNESS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/rng.h"

/* The seed of this run: VQ_TEST_SEED from the environment, or a fixed one.  Print it on failure. */
uint64_t test_seed(void);

/* bytes of memory whose last byte touches a page that faults; begin: whose first byte does. */
void *guard_end(size_t bytes);
void *guard_begin(size_t bytes);
void guard_free(void *p); /* either kind */

/* near-minimum, near-maximum or random fills */
void fill_u8(vq_rng *r, uint8_t *p, size_t n);
void fill_f32(vq_rng *r, float *p, size_t n); /* finite, |x| <= 1 */
void fill_normal(vq_rng *r, float *p, size_t n);

/* A fresh folder under the system's temporary one, removed with all it holds by test_rmdir. */
char *test_tmpdir(void);
void test_rmdir(char *path);                        /* frees path */
char *test_path(const char *dir, const char *name); /* dir/name; free() it */

typedef struct test_run {
    int exit_code;   /* or 128 + signal */
    char *out, *err; /* NUL-terminated; free by test_run_fini */
    size_t out_len;
} test_run;
/* Runs a shell command line; $VQ in it is the program under test. */
test_run test_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void test_run_fini(test_run *r);

/* Writes bytes to path; fails the test if it cannot. */
void test_write(const char *path, const void *bytes, size_t len);
uint8_t *test_read(const char *path, size_t *len); /* free() it */

#endif
