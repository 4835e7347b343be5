/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "src/base/team.h"
#include "tests/harness/harness.h"

#define TASKS 1000u

typedef struct work {
    atomic_uint done[TASKS];
    atomic_int worst_worker;
    size_t fail_at; /* this task and every 100th after it fail */
} work;

static vq_status count_task(void *ctx, size_t task, int worker, vq_error *err)
{
    work *w = ctx;
    atomic_fetch_add(&w->done[task], 1);
    int worst = atomic_load(&w->worst_worker);
    while (worker > worst && !atomic_compare_exchange_weak(&w->worst_worker, &worst, worker)) {}
    if (task >= w->fail_at && (task - w->fail_at) % 100 == 0)
        return vq_fail(err, VQ_EIO, "task %zu", task);
    return VQ_OK;
}

Test(team, how_many)
{
    cr_assert(vq_team(4, 100) == 4);
    cr_assert(vq_team(4, 3) == 3);
    cr_assert(vq_team(4, 0) == 1);
    cr_assert(vq_team(0, 100000) >= 1);
    cr_assert(vq_team(UINT32_MAX, SIZE_MAX) == 1024);
}

Test(team, every_task_once)
{
    for (int threads = 1; threads <= 5; threads++) {
        static work w;
        vq_error err = {0};
        memset(&w, 0, sizeof w);
        w.fail_at = SIZE_MAX;
        cr_assert(vq_team_run(threads, TASKS, count_task, &w, &err) == VQ_OK);
        for (size_t i = 0; i < TASKS; i++) cr_assert(w.done[i] == 1);
        cr_assert(w.worst_worker < threads);
        cr_assert(vq_team_run(threads, 0, count_task, &w, &err) == VQ_OK);
    }
}

Test(team, lowest_failure_wins)
{
    for (int threads = 1; threads <= 5; threads++) {
        static work w;
        vq_error err = {0};
        memset(&w, 0, sizeof w);
        w.fail_at = 37;
        cr_assert(vq_team_run(threads, TASKS, count_task, &w, &err) == VQ_EIO);
        cr_assert_str_eq(err.text, "task 37");
        cr_assert(vq_team_run(threads, TASKS, count_task, &w, NULL) == VQ_EIO);
        for (size_t i = 0; i < 37; i++) cr_assert(w.done[i] == 2);
    }
}

extern int openblas_get_num_threads(void);
extern void openblas_set_num_threads(int n);

Test(team, blas_threads_are_restored)
{
    openblas_set_num_threads(2);
    int before = openblas_get_num_threads();
    vq_team_blas_enter();
    cr_assert(openblas_get_num_threads() == 1);
    vq_team_blas_enter();
    vq_team_blas_leave();
    cr_assert(openblas_get_num_threads() == 1);
    vq_team_blas_leave();
    cr_assert(openblas_get_num_threads() == before);
}

typedef struct seen {
    int calls, stop_at;
    uint64_t last;
} seen;

static int on_tick(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    seen *s = ctx;
    cr_assert(strcmp(phase, "one") == 0 || strcmp(phase, "two") == 0);
    cr_assert(done <= total);
    s->last = done;
    return ++s->calls == s->stop_at;
}

Test(team, progress_is_rare_and_complete)
{
    seen s = {0};
    vq_ticker t = {.fn = on_tick, .ctx = &s};
    vq_error err = {0};
    double start = vq_now();
    for (uint64_t i = 0; i <= 100000; i++) cr_assert(vq_tick(&t, "one", i, 100000, &err) == VQ_OK);
    cr_assert(s.last == 100000);
    cr_assert(s.calls <= 3 + (int)((vq_now() - start) * 10));
    s.stop_at = s.calls + 1;
    cr_assert(vq_tick(&t, "two", 0, 10, &err) == VQ_ECANCELED);
    cr_assert(strstr(err.text, "two") != NULL && err.code == VQ_ECANCELED);
    cr_assert(vq_tick(NULL, "one", 0, 1, &err) == VQ_OK);
    vq_ticker none = {0};
    cr_assert(vq_tick(&none, "one", 0, 1, &err) == VQ_OK);
}
