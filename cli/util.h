/* SPDX-License-Identifier: Apache-2.0 */
/* util.h -- memory, errors, files and the clock, as small as a program needs them. */
#ifndef VQ_CLI_UTIL_H
#define VQ_CLI_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vq/vq.h"

/* The command that speaks: fail() writes "vq COMMAND: text". */
void fail_as(const char *command);
/* Prints one line to standard error and returns code. */
int fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a failure of the library: its text, and the exit code of its status. */
int fail_status(vq_status rc, const vq_error *err);
/* The same where no option can be at fault: VQ_EINVAL, too, speaks of the data. */
int fail_data(vq_status rc, const vq_error *err);
int exit_code(vq_status rc); /* the one place where a status becomes an exit code */

/* count x size bytes; ends the program with CLI_SYSTEM where there is no such memory. */
void *xmalloc(size_t count, size_t size);
void *xrealloc(void *block, size_t count, size_t size);
char *xprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

double now_seconds(void);    /* monotonic */
typedef struct page_faults { /* of this process: pages found in memory, and read from a disk */
    double minor, major;
} page_faults;
page_faults faults_since(page_faults before); /* {0}: since it began */
uint32_t processors(void);                    /* that this process may run on; at least 1 */
bool same_file(const char *a, const char *b); /* are one, or would be if they were there */
/* Is the output (NULL or "-": standard output) none of n files that are read (NULL: not given)?  An
 * exit code. */
int check_output(const char *output, const char *const *files, size_t n);
/* Standard input can be read once: is "-" at most one of n files (NULL: not given)?  An exit code.
 */
int check_dashes(const char *const *files, size_t n);
char *folder_of(const char *path); /* free it */
bool ends_with(const char *text, const char *end);

#endif
