/* SPDX-License-Identifier: Apache-2.0 */
/* team.h -- threads: how many, and one way to share work among them. */
#ifndef VQ_BASE_TEAM_H
#define VQ_BASE_TEAM_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

/* The number of threads for `tasks` pieces of work: asked, or the processors if asked is 0; at
 * least 1, at most tasks. */
int vq_team(uint32_t asked, size_t tasks);

/* Runs fn(ctx, task, worker) for task = 0..tasks-1 on `threads` threads (worker < threads; tasks
 * are handed out dynamically).  The result must not depend on who runs what.  After a failure no
 * new task starts; the failure of the lowest task number that ran is returned, with its text. */
typedef vq_status (*vq_task_fn)(void *ctx, size_t task, int worker, vq_error *err);
vq_status vq_team_run(int threads, size_t tasks, vq_task_fn fn, void *ctx, vq_error *err);

/* Holds BLAS at one thread inside a build, whose parallelism is ours: floating-point sums must not
 * depend on the number of threads.  The setting is process-wide (OpenBLAS has no other), so it is
 * touched by builds only, never by a search.  Nests; the last leave restores. */
void vq_team_blas_enter(void);
void vq_team_blas_leave(void);

/* Progress: calls fn at most ten times a second and at a phase's end, from the calling thread. */
typedef struct vq_ticker {
    vq_progress_fn fn; /* may be NULL */
    void *ctx;
    const char *phase;
    double last; /* seconds, monotonic */
} vq_ticker;
vq_status vq_tick(vq_ticker *t, const char *phase, uint64_t done, uint64_t total, vq_error *err);

double vq_now(void); /* seconds, monotonic */

#endif
