/* SPDX-License-Identifier: Apache-2.0 */
/* criterion.h -- what the kernels' tests use of Criterion, for runs under qemu, where Criterion
 * cannot start a test: it puts each into a process whose memory it writes to.  Here they run one
 * after the other in one process, and the first that fails ends it. */
#ifndef VQ_TESTS_ARM_CRITERION_H
#define VQ_TESTS_ARM_CRITERION_H

#include <stdio.h>
#include <stdlib.h>

enum { ARM_TESTS = 64 };
typedef struct arm_test {
    const char *suite, *name;
    void (*run)(void);
} arm_test;
typedef struct arm_suite { /* the only one of a file */
    void (*init)(void), (*fini)(void);
} arm_suite;

static arm_test arm_tests[ARM_TESTS];
static size_t arm_ntests;
__attribute__((weak)) extern const arm_suite arm_suite_of_file;

#define TestSuite(suite, ...) const arm_suite arm_suite_of_file = {__VA_ARGS__}
#define Test(suite, name)                                                                          \
    static void suite##_##name(void);                                                              \
    __attribute__((constructor)) static void suite##_##name##_register(void)                       \
    {                                                                                              \
        if (arm_ntests == ARM_TESTS) abort();                                                      \
        arm_tests[arm_ntests++] = (arm_test){#suite, #name, suite##_##name};                       \
    }                                                                                              \
    static void suite##_##name(void)

#define cr_assert(condition, ...)                                                                  \
    do {                                                                                           \
        if (condition) break;                                                                      \
        fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                  \
        fprintf(stderr, " " __VA_ARGS__);                                                          \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), " " __VA_ARGS__)

__attribute__((weak)) int main(void)
{
    const arm_suite *s = &arm_suite_of_file;
    for (size_t i = 0; i < arm_ntests; i++) {
        if (s != NULL && s->init != NULL) s->init();
        arm_tests[i].run();
        if (s != NULL && s->fini != NULL) s->fini();
        printf("%s/%s: passed\n", arm_tests[i].suite, arm_tests[i].name);
    }
    return arm_ntests > 0 ? 0 : 1;
}

#endif
