/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c -- see progress.h. */
#include "cli/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/report.h"
#include "cli/util.h"

#define BAR          28
#define LINE_SECONDS 5.0

static volatile sig_atomic_t stop;

static void ask_to_stop(int sig)
{
    (void)sig;
    stop = 1;
}

void progress_catch(void)
{
    struct sigaction sa = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND};
    (void)sigemptyset(&sa.sa_mask);
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    (void)sigaction(SIGHUP, &sa, NULL);
}

bool progress_stopped(void)
{
    return stop != 0;
}

void progress_begin(progress *p, bool quiet)
{
    memset(p, 0, sizeof *p);
    p->quiet = quiet;
    p->terminal = isatty(STDERR_FILENO) == 1;
    p->start = p->phase_start = p->last = now_seconds();
}

static void close_phase(progress *p, double now)
{
    if (p->n > 0) p->phases[p->now].seconds += now - p->phase_start;
    p->phase_start = now;
}

/* A phase that comes again goes on where it was; more phases than there is room for share the last
 * row. */
static void enter_phase(progress *p, const char *phase, double now)
{
    if (p->n > 0 && strcmp(p->phases[p->now].name, phase) == 0) return;
    close_phase(p, now);
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->phases[i].name, phase) != 0) continue;
        p->now = i;
        return;
    }
    if (p->n < PROGRESS_PHASES) p->n++;
    p->now = p->n - 1;
    (void)snprintf(p->phases[p->now].name, sizeof p->phases[0].name, "%s", phase);
}

/* "45 %, 12.3 k/s, 3 s left", as far as it can be told; nothing of a phase that counts nothing. */
static void describe(char *text, size_t cap, uint64_t done, uint64_t total, double seconds)
{
    double rate = seconds > 0 ? (double)done / seconds : 0;
    text[0] = '\0';
    if (total == 0 && done == 0) return;
    int n = total > 0 ? snprintf(text, cap, "%3.0f %%", 100.0 * (double)done / (double)total)
                      : snprintf(text, cap, "%" PRIu64, done);
    if (rate <= 0 || n < 0 || (size_t)n >= cap) return;
    const char *unit = rate >= 1e6 ? " M" : rate >= 1e3 ? " k" : " ";
    double shown = rate >= 1e6 ? rate / 1e6 : rate >= 1e3 ? rate / 1e3 : rate;
    int m = snprintf(text + n, cap - (size_t)n, ", %.1f%s/s", shown, unit);
    if (total <= done || m < 0 || (size_t)(n + m) >= cap) return;
    (void)snprintf(text + n + m, cap - (size_t)(n + m), ", %.0f s left",
                   (double)(total - done) / rate);
}

static void draw(progress *p, const char *phase, const char *text, uint64_t done, uint64_t total)
{
    if (!p->terminal) {
        (void)fprintf(stderr, "%s%s%s\n", phase, text[0] != '\0' ? ": " : "", text);
        return;
    }
    char bar[BAR + 1];
    int full = total > 0 ? (int)(BAR * (double)done / (double)total) : 0;
    for (int i = 0; i < BAR; i++) bar[i] = i < full ? '#' : '.';
    bar[BAR] = '\0';
    (void)fprintf(stderr, "\r\033[K%-16s [%s] %s", phase, bar, text);
    (void)fflush(stderr);
    p->drawn = true;
}

int progress_fn(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    progress *p = ctx;
    double now = now_seconds();
    enter_phase(p, phase, now);
    if (done > total && total > 0) done = total;
    if (!p->quiet && (p->terminal || now - p->last >= LINE_SECONDS)) {
        char text[96];
        p->last = now;
        describe(text, sizeof text, done, total, now - p->phase_start);
        draw(p, phase, text, done, total);
    }
    return stop != 0;
}

void progress_say(progress *p, const char *fmt, ...)
{
    va_list args;
    if (p->quiet) return;
    if (p->drawn) (void)fprintf(stderr, "\r\033[K");
    p->drawn = false;
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

double progress_end(progress *p)
{
    double now = now_seconds();
    close_phase(p, now);
    if (p->drawn) (void)fprintf(stderr, "\r\033[K");
    p->drawn = false;
    return now - p->start;
}

void progress_stats(const progress *p, FILE *f)
{
    char bytes[32];
    struct rusage use;
    for (size_t i = 0; i < p->n; i++)
        report_line(f, p->phases[i].name, "%8.3f s", p->phases[i].seconds);
    report_line(f, "total", "%8.3f s", now_seconds() - p->start);
    if (getrusage(RUSAGE_SELF, &use) == 0)
        report_line(f, "peak memory", "%s", report_bytes(bytes, (uint64_t)use.ru_maxrss * 1024));
}
