/* SPDX-License-Identifier: Apache-2.0 */
/* attach.h -- --tags, --times and --payload of the commands that write: what vectors carry. */
#ifndef VQ_CLI_ATTACH_H
#define VQ_CLI_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "src/io/attrs.h"

enum { ATTACH_KINDS = 3 };
typedef struct attach_files {
    const char *tags, *times, *payload; /* NULL: not given */
} attach_files;

/* Rows of options, of a struct that has the files at `at`. */
#define ATTACH_ROWS(at)                                                                            \
    {"tags",                                                                                       \
     0,                                                                                            \
     OPT_TEXT,                                                                                     \
     "FILE",                                                                                       \
     (at) + offsetof(attach_files, tags),                                                          \
     0,                                                                                            \
     0,                                                                                            \
     NULL,                                                                                         \
     "tags of vectors, for search --filter: lines of an id, a tab, and tags with tabs between "    \
     "them"},                                                                                      \
        {"times",                                                                                  \
         0,                                                                                        \
         OPT_TEXT,                                                                                 \
         "FILE",                                                                                   \
         (at) + offsetof(attach_files, times),                                                     \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "a time for vectors, for search --filter: lines of an id, a tab, and a whole number"},    \
    {                                                                                              \
        "payload", 0, OPT_TEXT, "FILE", (at) + offsetof(attach_files, payload), 0, 0, NULL,        \
            "what vectors carry along, for search --payload: a JSON object a line, whose member "  \
            "\"id\" says whose it is"                                                              \
    }

typedef struct attach {
    size_t n;
    const char *paths[ATTACH_KINDS]; /* of attributes[i] */
    const vq_attributes *attributes[ATTACH_KINDS];
    vq_attrs files[ATTACH_KINDS];
} attach;

/* What an id carries of a kind, as a line that attach_open reads; no line if it carries none.  An
 * exit code: CLI_DATA, and it has told why, for a payload that no such line can hold. */
int attach_print(FILE *f, vq_attrs_kind kind, const char *id, const vq_document *d);

bool attach_any(const attach_files *f);
/* An exit code; tells what went wrong.  strings: ids are names. */
int attach_open(attach *a, const attach_files *f, bool strings);
void attach_close(attach *a);

#endif
