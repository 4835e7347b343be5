/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h -- what every command sees: its row in the table, exit codes, how to fail.
 * The program uses the public header, the file readers and the measures; it holds no algorithms. */
#ifndef VQ_CLI_CLI_H
#define VQ_CLI_CLI_H

#include <stddef.h>

#include "cli/opt.h"
#include "vq/vq.h"

enum {
    CLI_DONE = 0,
    CLI_DATA = 1,     /* the data or the index is bad, or not there */
    CLI_USAGE = 2,    /* the command line is wrong */
    CLI_SYSTEM = 3,   /* the system refused: disk, memory, permission */
    CLI_STOPPED = 130 /* by an interrupt, as shells count it */
};

/* One row a command: help, completion and the tests of the manual read nothing else. */
typedef struct cmd {
    const char *name;
    const char *synopsis;                                      /* after "vq NAME " */
    const char *help;                                          /* one line */
    const opt *opts;                                           /* ends with a row without a name */
    int (*run)(const struct cmd *self, int argc, char **argv); /* the exit code */
} cmd;

extern const opt build_opts[], retrain_opts[], search_opts[], eval_opts[], gt_opts[],
    convert_opts[], info_opts[], check_opts[], get_opts[], gen_opts[], tune_opts[], add_opts[],
    delete_opts[], compact_opts[], export_opts[], set_opts[], backup_opts[], restore_opts[],
    merge_opts[], calibrate_opts[];
int cmd_build(const cmd *self, int argc, char **argv);
int cmd_add(const cmd *self, int argc, char **argv);
int cmd_delete(const cmd *self, int argc, char **argv);
int cmd_set(const cmd *self, int argc, char **argv);
int cmd_backup(const cmd *self, int argc, char **argv);
int cmd_restore(const cmd *self, int argc, char **argv);
int cmd_compact(const cmd *self, int argc, char **argv);
int cmd_merge(const cmd *self, int argc, char **argv);
int cmd_export(const cmd *self, int argc, char **argv);
int cmd_retrain(const cmd *self, int argc, char **argv);
int cmd_search(const cmd *self, int argc, char **argv);
int cmd_eval(const cmd *self, int argc, char **argv);
int cmd_gt(const cmd *self, int argc, char **argv);
int cmd_convert(const cmd *self, int argc, char **argv);
int cmd_info(const cmd *self, int argc, char **argv);
int cmd_check(const cmd *self, int argc, char **argv);
int cmd_get(const cmd *self, int argc, char **argv);
int cmd_tune(const cmd *self, int argc, char **argv);
int cmd_calibrate(const cmd *self, int argc, char **argv);
int cmd_gen(const cmd *self, int argc, char **argv);

/* Reads the options of a command into args (offsets of the table), and answers --help and
 * --list-options itself.  Returns -1 to go on (*rest: the first of *nrest operands), else the exit
 * code.  min..max operands are allowed. */
int cmd_parse(const cmd *self, void *args, int argc, char **argv, int min, int max, char ***rest,
              int *nrest);

#endif
