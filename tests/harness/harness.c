/* SPDX-License-Identifier: Apache-2.0 */
/* harness.c -- see harness.h. */
#include "tests/harness/harness.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t test_seed(void)
{
    const char *text = getenv("VQ_TEST_SEED");
    return text != NULL ? strtoull(text, NULL, 0) : 20260817u;
}

/* The header page keeps the mapping's size; then the data pages between two guard pages. */
static char *guard_map(size_t bytes, size_t *data_bytes, size_t page)
{
    *data_bytes = (bytes + page - 1) / page * page;
    if (*data_bytes == 0) *data_bytes = page;
    size_t total = *data_bytes + 3 * page;
    char *base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(base != MAP_FAILED, "mmap of %zu bytes", total);
    memcpy(base, &total, sizeof total);
    cr_assert(mprotect(base + page, page, PROT_NONE) == 0);
    cr_assert(mprotect(base + 2 * page + *data_bytes, page, PROT_NONE) == 0);
    return base;
}

void *guard_end(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), data;
    char *base = guard_map(bytes, &data, page);
    return base + 2 * page + data - bytes;
}

void *guard_begin(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), data;
    return guard_map(bytes, &data, page) + 2 * page;
}

void guard_free(void *p)
{
    /* Walk back to the header: the first page below p that is PROT_NONE has it before it.  Pages
     * are found by asking mincore-free arithmetic: data never exceeds what the header says. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *at = (char *)((uintptr_t)p / page * page);
    int fds[2];
    cr_assert(pipe(fds) == 0);
    while (write(fds[1], at, 1) == 1) at -= page; /* write() reports the fault as EFAULT */
    close(fds[0]);
    close(fds[1]);
    char *base = at - page;
    size_t total;
    memcpy(&total, base, sizeof total);
    (void)munmap(base, total);
}

void fill_u8(vq_rng *r, uint8_t *p, size_t n)
{
    uint64_t kind = vq_rng_below(r, 3);
    for (size_t i = 0; i < n; i++) {
        uint8_t x = (uint8_t)vq_rng_u64(r);
        p[i] = kind == 0 ? (uint8_t)(x & 3) : kind == 1 ? (uint8_t)(x | 0xfc) : x;
    }
}

void fill_f32(vq_rng *r, float *p, size_t n)
{
    uint64_t kind = vq_rng_below(r, 3);
    for (size_t i = 0; i < n; i++) {
        double u = 2.0 * vq_rng_f64(r) - 1.0;
        p[i] = (float)(kind == 0 ? u * 1e-6 : kind == 1 ? (u < 0 ? -1.0 : 1.0) : u);
    }
}

void fill_normal(vq_rng *r, float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = (float)vq_rng_normal(r);
}

char *test_tmpdir(void)
{
    const char *root = getenv("TMPDIR");
    char *path = NULL;
    cr_assert(asprintf(&path, "%s/vq-test-XXXXXX", root != NULL ? root : "/tmp") > 0);
    cr_assert(mkdtemp(path) != NULL, "mkdtemp %s", path);
    return path;
}

void test_rmdir(char *path)
{
    test_run r = test_shell("rm -rf '%s'", path);
    test_run_fini(&r);
    free(path);
}

char *test_path(const char *dir, const char *name)
{
    char *path = NULL;
    cr_assert(asprintf(&path, "%s/%s", dir, name) > 0);
    return path;
}

void test_write(const char *path, const void *bytes, size_t len)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f != NULL, "cannot write %s", path);
    cr_assert(len == 0 || fwrite(bytes, 1, len, f) == len);
    cr_assert(fclose(f) == 0);
}

uint8_t *test_read(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "cannot read %s", path);
    cr_assert(fseek(f, 0, SEEK_END) == 0);
    *len = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*len + 1);
    cr_assert(bytes != NULL && fread(bytes, 1, *len, f) == *len);
    bytes[*len] = 0;
    (void)fclose(f);
    return bytes;
}

test_run test_shell(const char *fmt, ...)
{
    char *line = NULL, *full = NULL;
    va_list args;
    va_start(args, fmt);
    cr_assert(vasprintf(&line, fmt, args) >= 0);
    va_end(args);
    char out[] = "/tmp/vq-out-XXXXXX", errs[] = "/tmp/vq-err-XXXXXX";
    int fd_out = mkstemp(out), fd_err = mkstemp(errs);
    cr_assert(fd_out >= 0 && fd_err >= 0);
    close(fd_out);
    close(fd_err);
    cr_assert(asprintf(&full, "VQ='%s'; { %s\n} >%s 2>%s </dev/null", VQ_PROGRAM, line, out, errs) >
              0);
    int status = system(full);
    test_run r = {0};
    r.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    size_t err_len;
    r.out = (char *)test_read(out, &r.out_len);
    r.err = (char *)test_read(errs, &err_len);
    unlink(out);
    unlink(errs);
    free(line);
    free(full);
    return r;
}

void test_run_fini(test_run *r)
{
    free(r->out);
    free(r->err);
}
