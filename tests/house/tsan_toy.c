/* SPDX-License-Identifier: Apache-2.0 */
/* tsan_toy.c -- tasks that race (tsan_toy race) or do not (tsan_toy sound), to see that the tsan
 * preset reports the one and is silent on the other. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "src/base/team.h"

enum { THREADS = 4, ROUNDS = 20 };

typedef struct counters {
    atomic_size_t started;
    int shared;
    int own[THREADS];
    int race;
} counters;

static vq_status count(void *ctx, size_t task, int worker, vq_error *err)
{
    counters *c = ctx;
    (void)worker;
    (void)err;
    /* Each task on a thread of its own.  Relaxed: waiting must not synchronise what follows. */
    atomic_fetch_add_explicit(&c->started, 1, memory_order_relaxed);
    while (atomic_load_explicit(&c->started, memory_order_relaxed) < THREADS) sched_yield();
    if (c->race) c->shared++;
    c->own[task]++;
    return VQ_OK;
}

int main(int argc, char **argv)
{
    counters c;
    memset(&c, 0, sizeof c);
    c.race = argc > 1 && strcmp(argv[1], "race") == 0;
    int sum = 0;
    /* What the caller wrote is read by tasks, and what tasks wrote by the caller and by the tasks
     * of the next round: a team that hands over without synchronising is reported here. */
    for (int round = 0; round < ROUNDS; round++) {
        atomic_store_explicit(&c.started, 0, memory_order_relaxed);
        if (vq_team_run(THREADS, THREADS, count, &c, NULL) != VQ_OK) return 1;
        for (size_t i = 0; i < THREADS; i++) {
            sum += c.own[i];
            c.own[i] = 0;
        }
    }
    printf("%d of %d tasks counted\n", sum, THREADS * ROUNDS);
    return sum == THREADS * ROUNDS ? 0 : 1;
}
