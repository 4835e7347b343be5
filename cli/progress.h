/* SPDX-License-Identifier: Apache-2.0 */
/* progress.h -- what a long run shows on standard error: a bar on a terminal, a plain line every
 * few seconds elsewhere, nothing if quiet.  It also keeps each phase's time, and hears an
 * interrupt. */
#ifndef VQ_CLI_PROGRESS_H
#define VQ_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROGRESS_PHASES 24

typedef struct progress_phase {
    char name[48];
    double seconds;
} progress_phase;

typedef struct progress {
    bool quiet, terminal, drawn; /* drawn: an unfinished line stands on the terminal */
    double start, phase_start, last;
    size_t n, now; /* phases seen; the one that runs */
    progress_phase phases[PROGRESS_PHASES];
} progress;

void progress_begin(progress *p, bool quiet);
/* A vq_progress_fn; ctx is the progress.  Non-zero once an interrupt came. */
int progress_fn(void *ctx, const char *phase, uint64_t done, uint64_t total);
/* A line of its own, unless quiet; the bar comes again below it. */
void progress_say(progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Clears the line and closes the last phase; returns the seconds since the beginning. */
double progress_end(progress *p);
void progress_stats(const progress *p, FILE *f); /* a line a phase, and the peak memory */
/* From now on SIGINT and SIGTERM ask to stop; a second one ends the program at once. */
void progress_catch(void);
bool progress_stopped(void); /* one came: a failure of the run is no news */

#endif
