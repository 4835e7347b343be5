/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_backup.c -- vq backup: one snapshot of an index as a compressed file. */
#include "cli/copy_run.h"

const opt backup_opts[] = {
    COPY_ROW_OUTPUT("the file to write, compressed if its name ends in .zst; required"),
    COPY_ROWS,
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

int cmd_backup(const cmd *self, int argc, char **argv)
{
    return copy_run(self, argc, argv, vq_backup);
}
