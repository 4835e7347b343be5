/* SPDX-License-Identifier: Apache-2.0 */
/* gomp_pthread.c -- the part of libgomp that src/base/team.c uses, over pthreads, for the tsan
 * preset.  libgomp itself waits on futexes, which ThreadSanitizer does not see: every hand-over of
 * data between two threads would be called a race.  With these, fork, join and critical sections
 * are pthread calls that it does see, and a report is a race of ours.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

void GOMP_parallel(void (*fn)(void *), void *data, unsigned threads, unsigned flags);
void GOMP_critical_name_start(void **name);
void GOMP_critical_name_end(void **name);
int omp_get_thread_num(void);
int omp_get_num_procs(void);

typedef struct member {
    pthread_t thread;
    void (*fn)(void *);
    void *data;
    int number;
} member;

static pthread_mutex_t critical = PTHREAD_MUTEX_INITIALIZER;
static __thread int number;

static void *run(void *arg)
{
    const member *m = arg;
    number = m->number;
    m->fn(m->data);
    return NULL;
}

/* The caller is member 0, as in OpenMP. */
void GOMP_parallel(void (*fn)(void *), void *data, unsigned threads, unsigned flags)
{
    (void)flags;
    if (threads < 1) threads = 1;
    member *team = calloc(threads, sizeof *team);
    if (team == NULL) abort();
    for (unsigned i = 1; i < threads; i++) {
        team[i] = (member){.fn = fn, .data = data, .number = (int)i};
        if (pthread_create(&team[i].thread, NULL, run, &team[i]) != 0) abort();
    }
    int outer = number;
    number = 0;
    fn(data);
    number = outer;
    for (unsigned i = 1; i < threads; i++) (void)pthread_join(team[i].thread, NULL);
    free(team);
}

void GOMP_critical_name_start(void **name)
{
    (void)name;
    (void)pthread_mutex_lock(&critical);
}

void GOMP_critical_name_end(void **name)
{
    (void)name;
    (void)pthread_mutex_unlock(&critical);
}

int omp_get_thread_num(void)
{
    return number;
}

int omp_get_num_procs(void)
{
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}
