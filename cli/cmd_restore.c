/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_restore.c -- vq restore: an index from such a file. */
#include "cli/copy_run.h"

const opt restore_opts[] = {COPY_ROW_OUTPUT("the index to write; required"),
                            COPY_ROWS,
                            {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

int cmd_restore(const cmd *self, int argc, char **argv)
{
    return copy_run(self, argc, argv, vq_restore);
}
