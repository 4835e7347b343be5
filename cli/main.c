/* SPDX-License-Identifier: Apache-2.0 */
/* main.c -- the table of commands, and the way from argv to one of them. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/util.h"

static const cmd cmds[] = {
    {"build", "INPUT -o OUT [OPTION]...", "make an index of a file of vectors", build_opts,
     cmd_build},
    {"add", "INDEX INPUT [OPTION]...", "add vectors to an index, or replace some", add_opts,
     cmd_add},
    {"delete", "INDEX ID...|--ids FILE [OPTION]...", "take vectors out of an index", delete_opts,
     cmd_delete},
    {"set", "INDEX --tags|--times|--payload FILE [OPTION]...",
     "set tags, times and payloads of vectors", set_opts, cmd_set},
    {"compact", "INDEX [-o OUT] [OPTION]...", "copy an index without the space that is free in it",
     compact_opts, cmd_compact},
    {"backup", "INDEX -o OUT [OPTION]...", "write a snapshot of an index to a compressed file",
     backup_opts, cmd_backup},
    {"restore", "FILE -o OUT [OPTION]...", "make an index of a backup", restore_opts, cmd_restore},
    {"merge", "INDEX INDEX... -o OUT [OPTION]...", "make one index of several of one model",
     merge_opts, cmd_merge},
    {"export", "INDEX -o OUT [OPTION]...", "write the stored vectors and ids of an index to files",
     export_opts, cmd_export},
    {"retrain", "INDEX -o OUT [OPTION]...", "train an index anew from the rows it stores",
     retrain_opts, cmd_retrain},
    {"tune", "INDEX [OPTION]...", "measure what each recall takes, for search --recall", tune_opts,
     cmd_tune},
    {"calibrate", "INDEX --queries FILE --qrels FILE [OPTION]...",
     "learn which answers are relevant, for search --min-relevance", calibrate_opts, cmd_calibrate},
    {"search", "INDEX... QUERIES [OPTION]...", "find the nearest vectors of each query",
     search_opts, cmd_search},
    {"eval", "INDEX... QUERIES [OPTION]...", "measure quality and speed of an index", eval_opts,
     cmd_eval},
    {"gt", "BASE QUERIES -o FILE [OPTION]...", "compute exact nearest neighbours", gt_opts, cmd_gt},
    {"convert", "IN OUT [OPTION]...", "turn a file of vectors into another format", convert_opts,
     cmd_convert},
    {"info", "INDEX [OPTION]...", "describe an index and why it is as it is", info_opts, cmd_info},
    {"check", "INDEX [OPTION]...", "verify every page, checksum and count of an index", check_opts,
     cmd_check},
    {"get", "INDEX ID... [OPTION]...", "print stored vectors", get_opts, cmd_get},
    {"gen", "OUT -n N -d D [OPTION]...", "make seeded, clustered random vectors", gen_opts,
     cmd_gen},
};
#define CMD_COUNT (sizeof cmds / sizeof cmds[0])

static const cmd *find(const char *name)
{
    for (size_t i = 0; i < CMD_COUNT; i++)
        if (strcmp(cmds[i].name, name) == 0) return &cmds[i];
    return NULL;
}

static void overview(FILE *f)
{
    (void)fprintf(f, "Usage: vq COMMAND [ARGUMENT]...\n\n"
                     "Vector search from one compressed file.\n\nCommands:\n");
    for (size_t i = 0; i < CMD_COUNT; i++)
        (void)fprintf(f, "  %-10s%s\n", cmds[i].name, cmds[i].help);
    (void)fprintf(f, "  %-10s%s\n\n", "help", "print the usage and options of a command");
    (void)fprintf(f, "Options:\n  --help      print this\n  --version   print the version\n\n"
                     "'vq COMMAND --help' tells more, and 'man vq-COMMAND' everything.\n");
}

static void command_help(FILE *f, const cmd *c)
{
    (void)fprintf(f, "Usage: vq %s %s\n\nvq %s: %s.\n\nOptions:\n", c->name, c->synopsis, c->name,
                  c->help);
    opt_help(f, c->opts);
}

/* What was printed must have arrived: a full disk behind a redirection is an error. */
static int flushed(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    return code != CLI_DONE ? code : fail(CLI_SYSTEM, "cannot write to standard output");
}

int cmd_parse(const cmd *self, void *args, int argc, char **argv, int min, int max, char ***rest,
              int *nrest)
{
    char text[512] = "";
    int first = 0;
    switch (opt_parse(self->opts, args, argc, argv, &first, text, sizeof text)) {
    case OPT_OK: break;
    case OPT_HELP: command_help(stdout, self); return CLI_DONE;
    case OPT_LIST: opt_list(stdout, self->opts); return CLI_DONE;
    default: return fail(CLI_USAGE, "%s; see 'vq %s --help'", text, self->name);
    }
    *rest = argv + first;
    *nrest = argc - first;
    if (*nrest < min)
        return fail(CLI_USAGE, "too few arguments; usage: vq %s %s", self->name, self->synopsis);
    if (*nrest > max)
        return fail(CLI_USAGE, "unexpected argument '%s'; usage: vq %s %s", (*rest)[max],
                    self->name, self->synopsis);
    for (int i = 0; i < *nrest; i++)
        if ((*rest)[i][0] == '\0') return fail(CLI_USAGE, "an argument is empty");
    return -1;
}

static int help(const char *name)
{
    if (name == NULL) {
        overview(stdout);
        return CLI_DONE;
    }
    const cmd *c = find(name);
    if (c == NULL) return fail(CLI_USAGE, "no command '%s'; 'vq --help' lists them", name);
    command_help(stdout, c);
    return CLI_DONE;
}

static int list_commands(void)
{
    for (size_t i = 0; i < CMD_COUNT; i++) (void)printf("%s\n", cmds[i].name);
    (void)printf("help\n");
    return CLI_DONE;
}

static int version(void)
{
    uint32_t v = vq_version();
    (void)printf("vq %u.%u.%u\n", v >> 16, v >> 8 & 255, v & 255);
    return CLI_DONE;
}

/* OpenBLAS has chosen its kernels before main: where others are faster, commands that multiply
 * large matrices start anew.  Whatever hinders that makes them slow, no more. */
static void choose_core(const cmd *c, char **argv)
{
    static const char *const large[] = {"build", "retrain", "add", "gt"};
    char exe[4096];
    bool wants = false;
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        wants |= strcmp(c->name, large[i]) == 0;
    const char *core = wants && getenv("OPENBLAS_CORETYPE") == NULL ? vq_blas_core() : NULL;
    if (core == NULL) return;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0) return;
    exe[n] = '\0';
    if (strstr(exe, "/ld-") != NULL || setenv("OPENBLAS_CORETYPE", core, 0) != 0) return;
    (void)execv(exe, argv);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        overview(stderr);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return help(NULL);
    if (strcmp(word, "help") == 0) return help(argc > 2 ? argv[2] : NULL);
    if (strcmp(word, "--version") == 0) return version();
    if (strcmp(word, "--list-commands") == 0) return list_commands();
    if (word[0] == '-') return fail(CLI_USAGE, "unknown option '%s'; see 'vq --help'", word);
    const cmd *c = find(word);
    if (c == NULL) return fail(CLI_USAGE, "no command '%s'; 'vq --help' lists them", word);
    choose_core(c, argv);
    fail_as(c->name);
    return c->run(c, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    (void)signal(SIGXFSZ, SIG_IGN); /* a file too large is an error of its own */
    return flushed(run(argc, argv));
}
