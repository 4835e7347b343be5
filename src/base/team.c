/* SPDX-License-Identifier: Apache-2.0 */
/* team.c -- the only file that includes omp.h and that touches OpenBLAS' number of threads. */
#include "src/base/team.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* From OpenBLAS; declared here since cblas.h belongs to src/math/blas.c alone. */
extern int openblas_get_num_threads(void);
extern void openblas_set_num_threads(int n);

static pthread_mutex_t blas_lock = PTHREAD_MUTEX_INITIALIZER;
static int blas_depth;   /* builds that are running */
static int blas_restore; /* what the process had before the first */

int vq_team(uint32_t asked, size_t tasks)
{
    size_t n = asked != 0 ? asked : (size_t)omp_get_num_procs();
    if (n > 1024) n = 1024;
    if (n > tasks) n = tasks;
    return n < 1 ? 1 : (int)n;
}

vq_status vq_team_run(int threads, size_t tasks, vq_task_fn fn, void *ctx, vq_error *err)
{
    if (threads <= 1 || tasks <= 1) {
        for (size_t i = 0; i < tasks; i++) {
            vq_status rc = fn(ctx, i, 0, err);
            if (rc != VQ_OK) return rc;
        }
        return VQ_OK;
    }
    atomic_size_t next = 0;
    atomic_bool stop = false;
    size_t failed_task = SIZE_MAX;
    vq_status failed = VQ_OK;
    vq_error first;
    memset(&first, 0, sizeof first);
#pragma omp parallel num_threads(threads)
    {
        int worker = omp_get_thread_num();
        while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
            size_t i = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);
            if (i >= tasks) break;
            vq_error mine;
            memset(&mine, 0, sizeof mine);
            vq_status rc = fn(ctx, i, worker, &mine);
            if (rc == VQ_OK) continue;
            atomic_store(&stop, true);
#pragma omp critical(vq_team_failure)
            if (i < failed_task) {
                failed_task = i;
                failed = rc;
                first = mine;
            }
        }
    }
    if (failed != VQ_OK && err != NULL) *err = first;
    return failed;
}

void vq_team_blas_enter(void)
{
    (void)pthread_mutex_lock(&blas_lock);
    if (blas_depth++ == 0) {
        blas_restore = openblas_get_num_threads();
        openblas_set_num_threads(1);
    }
    (void)pthread_mutex_unlock(&blas_lock);
}

void vq_team_blas_leave(void)
{
    (void)pthread_mutex_lock(&blas_lock);
    if (--blas_depth == 0) openblas_set_num_threads(blas_restore);
    (void)pthread_mutex_unlock(&blas_lock);
}

double vq_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

vq_status vq_tick(vq_ticker *t, const char *phase, uint64_t done, uint64_t total, vq_error *err)
{
    if (t == NULL || t->fn == NULL) return VQ_OK;
    double now = vq_now();
    bool edge = t->phase == NULL || strcmp(t->phase, phase) != 0 || done == total;
    if (!edge && now - t->last < 0.1) return VQ_OK;
    t->phase = phase;
    t->last = now;
    if (t->fn(t->ctx, phase, done, total) == 0) return VQ_OK;
    return vq_fail(err, VQ_ECANCELED, "%s: cancelled at %llu of %llu", phase,
                   (unsigned long long)done, (unsigned long long)total);
}
