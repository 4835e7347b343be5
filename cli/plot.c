/* SPDX-License-Identifier: Apache-2.0 */
/* plot.c -- a curve drawn by gnuplot, which is started only here. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/util.h"

/* 'text' for gnuplot, where a quote is written twice. */
static void quoted(FILE *f, const char *text)
{
    (void)fputc('\'', f);
    for (; *text != '\0'; text++) {
        if (*text == '\'') (void)fputc('\'', f);
        (void)fputc(*text == '\n' ? ' ' : *text, f);
    }
    (void)fputc('\'', f);
}

static int by_value(const void *a, const void *b)
{
    const eval_point *x = a, *y = b;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* The two data blocks: all points, and the front in order. */
static void write_points(FILE *f, const eval_curve *c, bool front)
{
    eval_point *sorted = xmalloc(c->n, sizeof *sorted);
    memcpy(sorted, c->points, c->n * sizeof *sorted);
    qsort(sorted, c->n, sizeof *sorted, by_value);
    (void)fprintf(f, "$%s << EOD\n", front ? "front" : "all");
    for (size_t i = 0; i < c->n; i++)
        if (!front || sorted[i].front)
            (void)fprintf(f, "%.6f %.3f\n", sorted[i].value, 1e6 / sorted[i].us);
    (void)fprintf(f, "EOD\n");
    free(sorted);
}

/* gnuplot complains about an axis without extent. */
static void write_range(FILE *f, const eval_curve *c)
{
    double low = c->points[0].value, high = low;
    for (size_t i = 1; i < c->n; i++) {
        low = c->points[i].value < low ? c->points[i].value : low;
        high = c->points[i].value > high ? c->points[i].value : high;
    }
    if (high - low < 0.01) (void)fprintf(f, "set xrange [%.4f:%.4f]\n", low - 0.01, high + 0.01);
}

static void write_script(FILE *f, const eval_curve *c, const char *title, const char *to)
{
    write_points(f, c, false);
    write_points(f, c, true);
    write_range(f, c);
    (void)fprintf(f, "set terminal svg size 800,560 dynamic background rgb 'white'\nset output ");
    quoted(f, to);
    (void)fprintf(f, "\nset title ");
    quoted(f, title);
    (void)fprintf(f, " noenhanced\nset xlabel '%s' noenhanced\n", c->value_name);
    (void)fprintf(f, "set ylabel 'queries a second, one thread'\nset logscale y\nset grid\n"
                     "set key left bottom\n"
                     "plot $all with points pt 7 ps 0.4 lc rgb '#999999' title 'settings', "
                     "$front with linespoints pt 7 ps 0.6 lw 2 lc rgb '#1f6feb' "
                     "title 'best settings'\n");
}

int plot_ready(void)
{
    if (system("command -v gnuplot >/dev/null 2>&1") == 0) return CLI_DONE;
    return fail(CLI_SYSTEM, "--plot needs gnuplot: install the package gnuplot-nox");
}

int plot_curve(const eval_curve *c, const char *title, const char *path)
{
    char *temporary = xprintf("%s.tmp-%ld", path, (long)getpid());
    (void)fflush(NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    int code = CLI_DONE;
    FILE *f = popen("exec gnuplot", "w");
    if (f == NULL) {
        code = fail(CLI_SYSTEM, "cannot start gnuplot: %s", strerror(errno));
    } else {
        write_script(f, c, title, temporary);
        int status = pclose(f);
        if (status != 0)
            code = fail(CLI_SYSTEM, "gnuplot could not draw %s", path);
        else if (rename(temporary, path) != 0)
            code = fail(CLI_SYSTEM, "cannot write %s: %s", path, strerror(errno));
    }
    if (code != CLI_DONE) (void)unlink(temporary);
    free(temporary);
    return code;
}
