/* SPDX-License-Identifier: Apache-2.0 */
/* copy_run.h -- what vq backup and vq restore share: one file to another, whole or not at all. */
#ifndef VQ_CLI_COPY_RUN_H
#define VQ_CLI_COPY_RUN_H

#include "cli/cli.h"

typedef struct copy_args {
    const char *output;
    int force, quiet;
} copy_args;

#define COPY_ROW_OUTPUT(text)                                                                      \
    {                                                                                              \
        "output", 'o', OPT_TEXT, "OUT", offsetof(copy_args, output), 0, 0, NULL, text              \
    }
#define COPY_ROWS                                                                                  \
    {"force",                                                                                      \
     'f',                                                                                          \
     OPT_FLAG,                                                                                     \
     NULL,                                                                                         \
     offsetof(copy_args, force),                                                                   \
     0,                                                                                            \
     0,                                                                                            \
     NULL,                                                                                         \
     "replace OUT if it exists"},                                                                  \
    {                                                                                              \
        "quiet", 'q', OPT_FLAG, NULL, offsetof(copy_args, quiet), 0, 0, NULL, "print errors only"  \
    }

typedef vq_status (*copy_fn)(const char *path, const char *out, const vq_compact_opts *opts,
                             vq_error *err);
/* The exit code. */
int copy_run(const cmd *self, int argc, char **argv, copy_fn fn);

#endif
