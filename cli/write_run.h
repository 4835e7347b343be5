/* SPDX-License-Identifier: Apache-2.0 */
/* write_run.h -- what vq add and vq delete share: the ids that an index has, its writer, what came
 * of a commit. */
#ifndef VQ_CLI_WRITE_RUN_H
#define VQ_CLI_WRITE_RUN_H

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "src/io/ids.h"

typedef struct write_args {
    const char *ids;
    attach_files attached;
    double wait; /* seconds */
    uint32_t threads;
    int upsert, skip_bad, no_sync, quiet;
} write_args;

#define WRITE_WAIT      10.0 /* the default */
#define WRITE_AT(field) offsetof(write_args, field)
#define WRITE_ROWS                                                                                 \
    {"wait",                                                                                       \
     0,                                                                                            \
     OPT_REAL,                                                                                     \
     "S",                                                                                          \
     WRITE_AT(wait),                                                                               \
     0,                                                                                            \
     86400,                                                                                        \
     NULL,                                                                                         \
     "seconds to wait while somebody else changes the index; default 10"},                         \
        {"no-sync",                                                                                \
         0,                                                                                        \
         OPT_FLAG,                                                                                 \
         NULL,                                                                                     \
         WRITE_AT(no_sync),                                                                        \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "do not wait until the disk has it: for bulk loads. If the power fails soon after, the "  \
         "index may be damaged"},                                                                  \
    {                                                                                              \
        "quiet", 'q', OPT_FLAG, NULL, WRITE_AT(quiet), 0, 0, NULL, "print errors only"             \
    }

/* Ids from a file, as the index has them: strings, if it has strings.  An exit code. */
int write_read_ids(const char *index, const char *path, vq_ids *ids);
int write_open(const write_args *a, const char *index, progress *p, vq_writer **out);
/* What --tags, --times and --payload say, to be committed with the rest; tells what is wrong. */
int write_attach(const write_args *a, const char *index, vq_writer *w);
/* Commits and tells; rc is of what was done before it. */
int write_finish(const write_args *a, const char *index, vq_writer *w, progress *p, vq_status rc,
                 vq_error *err);

#endif
