/* SPDX-License-Identifier: Apache-2.0 */
/* runner.c -- runs the tests of a program that includes our criterion.h: one forked child each.
 * Takes --filter SUITE/NAME with * at the ends, and ignores Criterion's other options. */
#include <criterion/criterion.h>

#include <fnmatch.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77 };

static cr_test *tests, *suites; /* in the order they were registered */
static bool soft_failure;

static void append(cr_test **end, cr_test *test)
{
    while (*end != NULL) end = &(*end)->next;
    *end = test;
}

void cr_register(cr_test *test)
{
    append(&tests, test);
}

void cr_register_suite(cr_test *suite)
{
    append(&suites, suite);
}

static const cr_test *suite_of(const cr_test *test)
{
    static const cr_test none;
    for (const cr_test *s = suites; s != NULL; s = s->next)
        if (strcmp(s->suite, test->suite) == 0) return s;
    return &none;
}

void cr_failed(bool fatal, const char *file, int line, const char *what, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s:%d: %s:", file, line, what);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    if (fatal) _exit(1); /* not exit(): what the test held is no leak */
    soft_failure = true;
}

void cr_skipped(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    _exit(SKIPPED);
}

static void child(const cr_test *test)
{
    const cr_test *suite = suite_of(test);
    double timeout = test->timeout > 0 ? test->timeout : suite->timeout;
    if (timeout > 0) alarm((unsigned)(timeout * 10) + 1); /* sanitizers are slow */
    if (suite->init != NULL) suite->init();
    if (test->init != NULL) test->init();
    test->run();
    if (test->fini != NULL) test->fini();
    if (suite->fini != NULL) suite->fini();
    if (soft_failure) _exit(1);
    exit(0); /* looks for leaks */
}

/* NULL: as expected. */
static const char *verdict(const cr_test *test, int status)
{
    static char text[80];
    if (WIFSIGNALED(status) && WTERMSIG(status) == test->signal) return NULL;
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) return NULL;
    if (WIFEXITED(status) && test->signal == 0 && WEXITSTATUS(status) == test->exit_code)
        return NULL;
    if (WIFEXITED(status))
        (void)snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(status));
    else
        (void)snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
    return text;
}

int main(int argc, char **argv)
{
    const char *filter = "*";
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--filter") == 0) filter = argv[i + 1];
    int ran = 0, failed = 0;
    for (const cr_test *t = tests; t != NULL; t = t->next) {
        char name[256];
        (void)snprintf(name, sizeof name, "%s/%s", t->suite, t->name);
        if (t->disabled || suite_of(t)->disabled || fnmatch(filter, name, 0) != 0) continue;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) child(t);
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("fork");
            return 1;
        }
        const char *wrong = verdict(t, status);
        ran++;
        failed += wrong != NULL;
        if (wrong != NULL) fprintf(stderr, "FAILED %s: %s\n", name, wrong);
    }
    printf("%d tests, %d failed\n", ran, failed);
    return failed != 0;
}
