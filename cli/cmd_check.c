/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_check.c -- vq check: verifies a file in a child process, so that damage which makes the
 * reading itself crash, or never end, is a finding like any other. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/report.h"
#include "cli/util.h"

#define CHILD_SECONDS  60u        /* of processor time, and one more for each.. */
#define BYTES_A_SECOND (1u << 20) /* ..of the file: far below what any machine does */

typedef struct check_args {
    int quiet;
} check_args;

const opt check_opts[] = {{"quiet", 'q', OPT_FLAG, NULL, offsetof(check_args, quiet), 0, 0, NULL,
                           "print problems and errors only"},
                          {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static void problem(void *ctx, const char *text)
{
    (void)printf("%s: %s\n", (const char *)ctx, text);
}

static void limit_time(const char *path)
{
    struct stat st;
    rlim_t seconds = CHILD_SECONDS;
    if (stat(path, &st) == 0) seconds += (rlim_t)st.st_size / BYTES_A_SECOND;
    struct rlimit cpu = {seconds, seconds + 5}, core = {0, 0};
    (void)setrlimit(RLIMIT_CPU, &cpu);
    (void)setrlimit(RLIMIT_CORE, &core);
}

/* What the child does; its exit code is the command's. */
static int check(char *path, bool quiet)
{
    vq_error err = {0};
    vq_check_report r = VQ_CHECK_REPORT_INIT;
    vq_status rc = vq_check(path, problem, path, &r, &err);
    if (rc != VQ_OK) return fail_status(rc, &err);
    if (r.problems > 0 && r.pages == 0)
        return fail(CLI_DATA, "%s cannot be opened as a vq index", path);
    if (r.problems > 0)
        return fail(CLI_DATA, "%s is damaged: %" PRIu64 " problem%s", path, r.problems,
                    r.problems == 1 ? "" : "s");
    char n[32], values[32], pages[32];
    if (!quiet)
        (void)printf("%s: sound: %s vectors, %s values, %s pages\n", path,
                     report_count(n, r.vectors), report_count(values, r.values),
                     report_count(pages, r.pages));
    return CLI_DONE;
}

int cmd_check(const cmd *self, int argc, char **argv)
{
    check_args a = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    (void)fflush(stdout);
    pid_t child = fork();
    if (child < 0) return fail(CLI_SYSTEM, "cannot start a process: %s", strerror(errno));
    if (child == 0) {
        limit_time(rest[0]);
        code = check(rest[0], a.quiet);
        if (fflush(stdout) != 0 && code == CLI_DONE)
            code = fail(CLI_SYSTEM, "cannot write to standard output");
        _exit(code);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return fail(CLI_SYSTEM, "lost the process: %s", strerror(errno));
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (sig == SIGINT || sig == SIGTERM) return CLI_STOPPED;
    if (sig == SIGKILL)
        return fail(CLI_SYSTEM, "the process was killed, perhaps for want of memory");
    if (sig == SIGXCPU) return fail(CLI_DATA, "%s is damaged: reading it does not end", rest[0]);
    return fail(CLI_DATA, "%s is damaged: reading it crashes (%s)", rest[0], strsignal(sig));
}
