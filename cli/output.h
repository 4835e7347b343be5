/* SPDX-License-Identifier: Apache-2.0 */
/* output.h -- where results go: standard output, or a temporary file that takes its final name only
 * when it is complete. */
#ifndef VQ_CLI_OUTPUT_H
#define VQ_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "src/io/format.h"

typedef struct output {
    FILE *f;
    const char *path; /* borrowed; NULL: standard output */
    char *temporary;  /* owned; NULL where path is written directly (a pipe, a device) */
} output;

/* The format of vectors that path's ending names; NULL: none. */
const vq_format *output_format(const char *path);
/* An exit code: can a file be made at path?  Asked before long work. */
int output_folder(const char *path);
/* The same of an index or a copy of one, which replaces no file unless forced.  path NULL: an
 * error. */
int output_new(const char *path, bool force);

/* path NULL or "-": standard output.  Each returns an exit code, and has told what went wrong. */
int output_open(output *o, const char *path);
/* Closes and renames; if code is not 0 the file is dropped instead.  Returns code, or a new one. */
int output_close(output *o, int code);

#endif
