/* SPDX-License-Identifier: Apache-2.0 */
/* micro.c -- every kernel slot by representative shapes, at each level that this machine has.
 *
 *   vq_micro [SLOT...]      only the slots whose name contains one of the arguments
 *
 * Tab-separated on standard output: level, slot, shape, nanoseconds a unit (median of the runs),
 * the spread (largest less smallest, as a share of the median), GB/s of what is read, and that as a
 * share of the plain read of as many bytes, measured in the same run.  A unit is a vector or a row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/probe.h"
#include "bench/slots.h"
#include "src/base/mem.h"
#include "src/base/rng.h"

enum { RUNS = 7 };

volatile double slot_sink;

/* The thread's own time: what others do on the machine shows less. */
static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

void slot_units(shape *s, size_t n, size_t bytes_each)
{
    s->units = n;
    s->bytes = n * bytes_each;
}

/* ---- measuring ----------------------------------------------------------------------------- */

typedef struct timing {
    double ns, best, spread; /* a unit: median, least; (largest - smallest) / median */
} timing;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static timing summary(double *runs)
{
    qsort(runs, RUNS, sizeof *runs, by_value);
    return (timing){runs[RUNS / 2], runs[0], (runs[RUNS - 1] - runs[0]) / runs[RUNS / 2]};
}

/* Each run repeats the call for some two milliseconds. */
static timing measure(slot_fn fn, const vq_kernels *k, const memory *mem, shape *s)
{
    double runs[RUNS];
    fn(k, mem, s);
    double start = now_ns();
    fn(k, mem, s);
    size_t repeat = 1 + (size_t)(2e6 / (now_ns() - start + 1.0));
    for (int r = 0; r < RUNS; r++) {
        start = now_ns();
        for (size_t i = 0; i < repeat; i++) fn(k, mem, s);
        runs[r] = (now_ns() - start) / (double)(repeat * s->units);
    }
    return summary(runs);
}

/* The bound: the same number of bytes, each word added to one of eight sums. */
static void read_plain(const vq_kernels *k, const memory *mem, shape *s)
{
    const uint64_t *p = (const uint64_t *)mem->in;
    uint64_t sum[8] = {0};
    (void)k;
    for (size_t i = 0; i + 8 <= s->n / 8; i += 8)
        for (size_t l = 0; l < 8; l++) sum[l] += p[i + l];
    uint64_t all = 0;
    for (size_t l = 0; l < 8; l++) all ^= sum[l];
    slot_sink = (double)(all & 255u);
    slot_units(s, s->n, 1);
}

/* Floats in [-1, 1), or bits of which every 16 make a finite binary16, or random bits. */
static void fill(memory *mem, bool floats, bool finite_f16)
{
    vq_rng r;
    vq_rng_init(&r, 1, 0);
    float *f = (float *)mem->in, *t = (float *)mem->table;
    uint64_t *u = (uint64_t *)mem->in;
    for (size_t i = 0; i < SLOT_STREAM / 8 && !floats; i++)
        u[i] = vq_rng_u64(&r) & (finite_f16 ? 0xbfffbfffbfffbfffu : UINT64_MAX);
    for (size_t i = 0; i < SLOT_STREAM / 4 && floats; i++)
        f[i] = (float)(2.0 * vq_rng_f64(&r) - 1.0);
    for (size_t i = 0; i < SLOT_BYTES / 4; i++) t[i] = (float)(2.0 * vq_rng_f64(&r) - 1.0);
}

static void fill_table_f64(memory *mem)
{
    double *q = (double *)mem->table;
    for (size_t i = 0; i < 4096; i++) q[i] = (double)(i % 17) - 8.0;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]) != NULL) return true;
    return argc <= 1;
}

static void print_cpu(void)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "model name", 10) != 0 && strncmp(line, "cpu family", 10) != 0) continue;
        printf("# %s", line);
        if (line[0] == 'm') break;
    }
    if (f != NULL) (void)fclose(f);
    printf("# one thread, its own time; median of %d runs\n", RUNS);
}

static void report(const char *isa, const slot *b, const memory *mem)
{
    const vq_kernels *k = vq_kernels_named(isa);
    for (size_t i = 0; k != NULL && i < SLOT_SHAPES && b->shapes[i].n > 0; i++) {
        shape s = b->shapes[i], plain;
        timing t = measure(b->fn, k, mem, &s);
        plain = (shape){.n = s.bytes < SLOT_STREAM ? s.bytes : SLOT_STREAM};
        timing bound = measure(read_plain, k, mem, &plain);
        double gbs = (double)s.bytes / (double)s.units / t.ns;
        printf("%s\t%s\tn=%zu m=%zu d=%zu\t%.3f\t%.3f\t%.2f\t%.2f\t%.2f\n", isa, b->name, s.n, s.m,
               s.d, t.ns, t.best, t.spread, gbs, gbs * bound.ns);
    }
    (void)fflush(stdout);
}

static void run(const slot *b, memory *mem)
{
    fill(mem, b->floats, strstr(b->name, "f16") != NULL);
    if (strstr(b->name, "_row_") != NULL) fill_table_f64(mem);
    for (const char *const *isa = vq_kernels_levels(); *isa != NULL; isa++) report(*isa, b, mem);
}

int main(int argc, char **argv)
{
    memory mem = {vq_mem_alloc(SLOT_STREAM, 1), vq_mem_alloc(SLOT_BYTES, 1),
                  vq_mem_alloc(SLOT_BYTES, 1)};
    if (mem.in == NULL || mem.table == NULL || mem.out == NULL) {
        (void)fprintf(stderr, "vq_micro: out of memory\n");
        return 1;
    }
    memset(mem.out, 0, SLOT_BYTES);
    print_cpu();
    printf("level\tslot\tshape\tns/unit\tbest\tspread\tGB/s\tof plain read\n");
    const slot *const tables[] = {slots_of_vectors, slots_of_codes};
    for (size_t t = 0; t < 2; t++)
        for (const slot *b = tables[t]; b->name != NULL; b++)
            if (wanted(b->name, argc, argv)) run(b, &mem);
    probe_free();
    vq_mem_free(mem.in);
    vq_mem_free(mem.table);
    vq_mem_free(mem.out);
    return 0;
}
