/* SPDX-License-Identifier: Apache-2.0 */
/* user.h -- what a user of the program does and looks at: lines typed in a folder, exit codes,
 * texts, small files of vectors. */
#ifndef VQ_TESTS_CLI_USER_H
#define VQ_TESTS_CLI_USER_H

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/harness.h"

/* Types a line in folder dir; the run must end with the code. */
static inline test_run type(const char *dir, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static inline test_run type(const char *dir, int code, const char *fmt, ...)
{
    char line[4096];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    test_run r = test_shell("cd '%s' && %s", dir, line);
    cr_assert_eq(r.exit_code, code, "%s: exit code %d, not %d\nstdout: %.2000s\nstderr: %s", line,
                 r.exit_code, code, r.out, r.err);
    return r;
}

/* The line works and is not looked at further. */
#define DONE(dir, ...)                                                                             \
    do {                                                                                           \
        test_run done_ = type(dir, 0, __VA_ARGS__);                                                \
        test_run_fini(&done_);                                                                     \
    } while (0)

/* The line works and prints (to standard output) the text somewhere. */
#define PRINTS(dir, text, ...)                                                                     \
    do {                                                                                           \
        test_run prints_ = type(dir, 0, __VA_ARGS__);                                              \
        cr_assert(strstr(prints_.out, (text)) != NULL, "no '%s' in: %s", (text), prints_.out);     \
        test_run_fini(&prints_);                                                                   \
    } while (0)

/* The line is refused with the code; the last line on standard error begins with "vq" and has the
 * text in it. */
#define REFUSED(dir, code, text, ...)                                                              \
    do {                                                                                           \
        test_run refused_ = type(dir, code, __VA_ARGS__);                                          \
        const char *last_ = strstr(refused_.err, "vq");                                            \
        cr_assert(last_ == refused_.err, "no message: '%s'", refused_.err);                        \
        cr_assert(strstr(refused_.err, (text)) != NULL, "no '%s' in: %s", (text), refused_.err);   \
        cr_assert_eq(refused_.err[strlen(refused_.err) - 1], '\n');                                \
        test_run_fini(&refused_);                                                                  \
    } while (0)

static inline bool exists(const char *dir, const char *name)
{
    char *path = test_path(dir, name);
    FILE *f = fopen(path, "rb");
    if (f != NULL) (void)fclose(f);
    free(path);
    return f != NULL;
}

/* n x d floats as an fbin file. */
static inline void write_fbin(const char *dir, const char *name, const float *rows, uint32_t n,
                              uint32_t d)
{
    size_t bytes = (size_t)n * d * sizeof *rows;
    char *file = malloc(8 + bytes), *path = test_path(dir, name);
    cr_assert(file != NULL);
    memcpy(file, &n, 4);
    memcpy(file + 4, &d, 4);
    memcpy(file + 8, rows, bytes);
    test_write(path, file, 8 + bytes);
    free(file);
    free(path);
}

/* ---- is this text one JSON value? ---------------------------------------------------------- */

static inline const char *json_skip(const char *p)
{
    while (*p == ' ' || *p == '\n') p++;
    return p;
}

static inline const char *json_string(const char *p)
{
    if (*p++ != '"') return NULL;
    for (; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20) return NULL;
        if (*p == '\\' && strchr("\"\\/bfnrtu", *++p) == NULL) return NULL;
    }
    return p + 1;
}

static inline const char *json_scalar(const char *p)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++)
        if (strncmp(p, words[i], strlen(words[i])) == 0) return p + strlen(words[i]);
    char *end;
    if (strchr("-0123456789", *p) == NULL || *p == '\0') return NULL;
    (void)strtod(p, &end);
    return end;
}

/* Past the value that begins at p, or NULL. */
static inline const char *json_value(const char *p)
{
    p = json_skip(p);
    if (*p == '"') return json_string(p);
    if (*p != '{' && *p != '[') return json_scalar(p);
    char close = *p == '{' ? '}' : ']';
    p = json_skip(p + 1);
    if (*p == close) return p + 1;
    for (;;) {
        if (close == '}') {
            p = json_string(json_skip(p));
            if (p == NULL || *(p = json_skip(p)) != ':') return NULL;
            p++;
        }
        p = json_value(p);
        if (p == NULL) return NULL;
        p = json_skip(p);
        if (*p == close) return p + 1;
        if (*p++ != ',') return NULL;
    }
}

static inline bool is_json(const char *text)
{
    const char *end = json_value(text);
    return end != NULL && *json_skip(end) == '\0';
}

#endif
