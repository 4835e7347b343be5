/* SPDX-License-Identifier: Apache-2.0 */
/* criterion.h -- stands in for Criterion's header in the sanitizer presets.
 *
 * Criterion maps memory where ThreadSanitizer allows none, and does not look at the exit status of
 * a test that has reported: a leak found at exit would pass.  runner.c runs each test in a forked
 * child and wants it to end as the test says, by exit status 0 if it says nothing.  Here is what
 * our tests use of Criterion's interface, with the same meaning; add what is missing.
 */
#ifndef VQ_TESTS_HOUSE_CRITERION_H
#define VQ_TESTS_HOUSE_CRITERION_H

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cr_test {
    const char *suite, *name;
    void (*run)(void);
    void (*init)(void);
    void (*fini)(void);
    int signal, exit_code; /* expected */
    double timeout;        /* seconds; 0: none */
    bool disabled;
    const char *description;
    void *data;
    struct cr_test *next;
} cr_test;

/* cr_assert_not_null(p, "... %s", p): the text of a failure, which may print a null pointer. */
#pragma GCC diagnostic ignored "-Wformat-overflow"

void cr_register(cr_test *test);
void cr_register_suite(cr_test *suite);
void cr_failed(bool fatal, const char *file, int line, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void cr_skipped(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#define Test(suite_, name_, ...)                                                                   \
    static void suite_##_##name_##_impl(void);                                                     \
    static cr_test suite_##_##name_##_test = {                                                     \
        .suite = #suite_, .name = #name_, .run = suite_##_##name_##_impl, ##__VA_ARGS__};          \
    __attribute__((constructor)) static void suite_##_##name_##_register(void)                     \
    {                                                                                              \
        cr_register(&suite_##_##name_##_test);                                                     \
    }                                                                                              \
    static void suite_##_##name_##_impl(void)

/* What all tests of a suite have: init, fini, timeout, disabled. */
#define TestSuite(suite_, ...)                                                                     \
    static cr_test suite_##_suite = {.suite = #suite_, ##__VA_ARGS__};                             \
    __attribute__((constructor)) static void suite_##_suite_register(void)                         \
    {                                                                                              \
        cr_register_suite(&suite_##_suite);                                                        \
    }                                                                                              \
    struct cr_test /* takes the semicolon */

#define CR_CHECK(fatal, cond, what, ...)                                                           \
    do {                                                                                           \
        if (!(cond)) cr_failed(fatal, __FILE__, __LINE__, what, " " __VA_ARGS__);                  \
    } while (0)
#define CR_STR(a, op, b) (strcmp((a), (b)) op 0)

#define cr_assert(cond, ...)           CR_CHECK(true, cond, #cond, ##__VA_ARGS__)
#define cr_assert_not(cond, ...)       CR_CHECK(true, !(cond), "not " #cond, ##__VA_ARGS__)
#define cr_assert_eq(a, b, ...)        CR_CHECK(true, (a) == (b), #a " == " #b, ##__VA_ARGS__)
#define cr_assert_neq(a, b, ...)       CR_CHECK(true, (a) != (b), #a " != " #b, ##__VA_ARGS__)
#define cr_assert_lt(a, b, ...)        CR_CHECK(true, (a) < (b), #a " < " #b, ##__VA_ARGS__)
#define cr_assert_leq(a, b, ...)       CR_CHECK(true, (a) <= (b), #a " <= " #b, ##__VA_ARGS__)
#define cr_assert_gt(a, b, ...)        CR_CHECK(true, (a) > (b), #a " > " #b, ##__VA_ARGS__)
#define cr_assert_geq(a, b, ...)       CR_CHECK(true, (a) >= (b), #a " >= " #b, ##__VA_ARGS__)
#define cr_assert_null(a, ...)         CR_CHECK(true, (a) == NULL, #a " == NULL", ##__VA_ARGS__)
#define cr_assert_not_null(a, ...)     CR_CHECK(true, (a) != NULL, #a " != NULL", ##__VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)    CR_CHECK(true, CR_STR(a, ==, b), #a " eq " #b, ##__VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)   CR_CHECK(true, CR_STR(a, !=, b), #a " ne " #b, ##__VA_ARGS__)
#define cr_assert_str_empty(a, ...)    CR_CHECK(true, *(a) == 0, #a " is empty", ##__VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) CR_CHECK(true, !memcmp(a, b, n), #a " eq " #b, ##__VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...)                                                            \
    CR_CHECK(true, memcmp(a, b, n) != 0, #a " ne " #b, ##__VA_ARGS__)
#define cr_assert_float_eq(a, b, eps, ...)                                                         \
    CR_CHECK(true, fabs((double)(a) - (double)(b)) <= (double)(eps), #a " ~ " #b, ##__VA_ARGS__)
#define cr_assert_float_neq(a, b, eps, ...)                                                        \
    CR_CHECK(true, fabs((double)(a) - (double)(b)) > (double)(eps), #a " !~ " #b, ##__VA_ARGS__)
#define cr_assert_fail(...) CR_CHECK(true, false, "fail", ##__VA_ARGS__)
#define cr_fatal(...)       CR_CHECK(true, false, "fail", ##__VA_ARGS__)

#define cr_expect(cond, ...)        CR_CHECK(false, cond, #cond, ##__VA_ARGS__)
#define cr_expect_eq(a, b, ...)     CR_CHECK(false, (a) == (b), #a " == " #b, ##__VA_ARGS__)
#define cr_expect_lt(a, b, ...)     CR_CHECK(false, (a) < (b), #a " < " #b, ##__VA_ARGS__)
#define cr_expect_leq(a, b, ...)    CR_CHECK(false, (a) <= (b), #a " <= " #b, ##__VA_ARGS__)
#define cr_expect_gt(a, b, ...)     CR_CHECK(false, (a) > (b), #a " > " #b, ##__VA_ARGS__)
#define cr_expect_geq(a, b, ...)    CR_CHECK(false, (a) >= (b), #a " >= " #b, ##__VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) CR_CHECK(false, CR_STR(a, ==, b), #a " eq " #b, ##__VA_ARGS__)

#define cr_skip_test(...) cr_skipped(" " __VA_ARGS__)
#define cr_skip(...)      cr_skipped(" " __VA_ARGS__)
#define cr_log_info(...)  fprintf(stderr, __VA_ARGS__)
#define cr_log_warn(...)  fprintf(stderr, __VA_ARGS__)
#define cr_log_error(...) fprintf(stderr, __VA_ARGS__)

#endif
