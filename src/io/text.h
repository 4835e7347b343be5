/* SPDX-License-Identifier: Apache-2.0 */
/* text.h -- text files line by line, held whole in memory; what ids, qrels and runs share. */
#ifndef VQ_IO_TEXT_H
#define VQ_IO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct vq_text {
    char *bytes; /* owned; ends with NUL, and holds none before */
    size_t len;
    const char *name; /* the path, or "standard input": borrowed from the caller */
    char *next;       /* where the next line starts */
    size_t line;      /* number of the line last taken, from 1 */
} vq_text;

/* Plain or .zst; a byte order mark at the start is left out.  A NUL byte is VQ_ECORRUPT. */
vq_status vq_text_read(vq_text *t, const char *path, vq_error *err);
/* The next line, ended with NUL in place; spaces, tabs and carriage returns at its end are cut.
 * NULL at the end. */
char *vq_text_line(vq_text *t);
/* Splits a line at runs of spaces and tabs into at most max fields; returns how many there are
 * (more than max: max + 1). */
size_t vq_text_fields(char *line, char **fields, size_t max);
void vq_text_fini(vq_text *t);

#endif
