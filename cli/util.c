/* SPDX-License-Identifier: Apache-2.0 */
/* util.c -- see util.h. */
#include "cli/util.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "src/io/format.h"

static const char *speaker; /* the command, or NULL before it is known */

void fail_as(const char *command)
{
    speaker = command;
}

int fail(int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fflush(stdout);
    (void)fprintf(stderr, speaker != NULL ? "vq %s: " : "vq: ", speaker);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return code;
}

int exit_code(vq_status rc)
{
    switch (rc) {
    case VQ_OK: return CLI_DONE;
    case VQ_EINVAL: return CLI_USAGE;
    case VQ_ENOMEM:
    case VQ_EIO:
    case VQ_EBUSY: return CLI_SYSTEM;
    case VQ_ECANCELED: return CLI_STOPPED;
    case VQ_ECORRUPT:
    case VQ_EVERSION:
    case VQ_ENOENT:
    case VQ_EUNSUPPORTED: return CLI_DATA;
    }
    return CLI_DATA;
}

int fail_status(vq_status rc, const vq_error *err)
{
    return fail(exit_code(rc), "%s", err->text[0] != '\0' ? err->text : vq_strerror(rc));
}

int fail_data(vq_status rc, const vq_error *err)
{
    return fail_status(rc == VQ_EINVAL ? VQ_ECORRUPT : rc, err);
}

void *xrealloc(void *block, size_t count, size_t size)
{
    size_t bytes;
    void *p = NULL;
    if (!__builtin_mul_overflow(count, size, &bytes)) p = realloc(block, bytes > 0 ? bytes : 1);
    if (p == NULL) exit(fail(CLI_SYSTEM, "out of memory: %zu x %zu bytes", count, size));
    return p;
}

void *xmalloc(size_t count, size_t size)
{
    return xrealloc(NULL, count, size);
}

char *xprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) exit(fail(CLI_SYSTEM, "out of memory"));
    return text;
}

page_faults faults_since(page_faults before)
{
    struct rusage r = {0};
    (void)getrusage(RUSAGE_SELF, &r);
    return (page_faults){(double)r.ru_minflt - before.minor, (double)r.ru_majflt - before.major};
}

double now_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint32_t processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (uint32_t)n : 1;
}

char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return xprintf(".");
    return slash == path ? xprintf("/") : xprintf("%.*s", (int)(slash - path), path);
}

static bool same_place(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool same_file(const char *a, const char *b)
{
    if (access(a, F_OK) == 0 || access(b, F_OK) == 0) return same_place(a, b);
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');
    if (strcmp(x != NULL ? x + 1 : a, y != NULL ? y + 1 : b) != 0) return false;
    char *in_a = folder_of(a), *in_b = folder_of(b);
    bool same = same_place(in_a, in_b);
    free(in_a), free(in_b);
    return same;
}

int check_output(const char *output, const char *const *files, size_t n)
{
    if (output == NULL || strcmp(output, "-") == 0) return CLI_DONE;
    for (size_t i = 0; i < n; i++)
        if (files[i] != NULL && same_file(files[i], output))
            return fail(CLI_USAGE, "%s is both input and output", output);
    return CLI_DONE;
}

int check_dashes(const char *const *files, size_t n)
{
    size_t dashes = 0;
    for (size_t i = 0; i < n; i++) dashes += files[i] != NULL && vq_path_is_stdin(files[i]);
    if (dashes < 2) return CLI_DONE;
    return fail(CLI_USAGE, "standard input (-) can be one of the files only, here it is %zu",
                dashes);
}

bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}
