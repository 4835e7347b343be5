/* SPDX-License-Identifier: Apache-2.0 */
/* quality_plot.c -- 10@10 of the codes alone against bytes, a line a method, drawn by gnuplot.
 * Colour says how the codes were trained, the shape of the points which codec it is. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bench/macro/quality.h"

enum { SETTING = 0 }; /* all lists, codes alone */

static const char *colour_of(const quality_method *m)
{
    switch (m->train) {
    case VQ_TRAIN_QUERY_AWARE: return "#2a78c2";
    case VQ_TRAIN_DISTILL: return "#c8401f";
    default: return m->rotation == VQ_ROTATION_NONE ? "#a5a5a5" : "#3c3c3c";
    }
}

/* Points: a filled circle for pq8, a diamond for aq8, an open circle for pq4. */
static int point_of(const quality_method *m)
{
    return strcmp(m->codec, "aq8") == 0 ? 13 : strcmp(m->codec, "pq4") == 0 ? 6 : 7;
}

static const char *dash_of(const quality_method *m)
{
    if (m->nlist != 0) return "(1,4)";
    return strcmp(m->codec, "aq8") == 0 ? "(9,4)" : strcmp(m->codec, "pq4") == 0 ? "(2,3)" : "1";
}

/* The data of one method, by bytes, as $m<number>; how many rows. */
static size_t write_method(FILE *f, const quality_table *t, const quality_method *m, size_t number)
{
    size_t rows = 0;
    fprintf(f, "$m%zu << EOD\n", number);
    for (const quality_cell *c = t->cells; c < t->cells + t->ncells; c++) {
        if (c->method != m || c->nseeds == 0) continue;
        quality_range r = quality_range_of(c, SETTING, FIGURE_10_OF_10);
        fprintf(f, "%u %.5f %.5f %.5f\n", c->seeds[0].code_bytes, r.mean, r.low, r.high);
        rows++;
    }
    if (rows == 0) fprintf(f, "NaN NaN NaN NaN\n");
    fprintf(f, "EOD\n");
    return rows;
}

/* A tick at every number of bytes, an eighth of room at both ends; from the tenth below the lowest
 * figure to 1. */
static void write_axes(FILE *f, const quality_table *t)
{
    double low = INFINITY, high = 0, floor10 = 1;
    const char *comma = "";
    fprintf(f, "set logscale x 2\nset xtics (");
    for (const quality_cell *c = t->cells; c < t->cells + t->ncells; c++) {
        if (c->nseeds == 0) continue;
        double bytes = c->seeds[0].code_bytes;
        low = fmin(low, bytes);
        high = fmax(high, bytes);
        floor10 = fmin(floor10, floor(10 * quality_range_of(c, SETTING, FIGURE_10_OF_10).low) / 10);
        fprintf(f, "%s\"%.0f\" %.0f", comma, bytes, bytes);
        comma = ", ";
    }
    fprintf(f, ")\nset xrange [%.3f:%.3f]\n", low / 1.13, high * 1.13);
    fprintf(f, "set yrange [%.1f:1]\nset ytics 0.1 format '%%.1f'\n", floor10);
}

static void write_style(FILE *f, const quality_table *t, const char *svg)
{
    const quality_data *d = t->data;
    char n[32], nq[32];
    fprintf(f,
            "set terminal svg size 940,540 dynamic enhanced font 'Helvetica,Arial,sans-serif,14'"
            " background rgb 'white'\nset output '%s'\nset encoding utf8\n",
            svg);
    fprintf(f,
            "set label 1 'Share of the exact top ten among the first ten by codes (10\\@10)' "
            "at graph 0,1.115 left font ',18' textcolor rgb '#222222'\n"
            "set label 2 '%s: %s × %u, %s; %s unseen queries, all lists, no second pass%s' "
            "noenhanced at graph 0,1.055 left font ',13' textcolor rgb '#666666'\n",
            d->name, quality_grouped(d->n, n), d->d, vq_metric_name(d->metric),
            quality_grouped(d->nq, nq), t->seeds > 1 ? "; bars: all seeds" : "");
    fprintf(f, "set tmargin 4.2\nset lmargin 7\nset border 3 lw 1 lc rgb '#777777'\n"
               "set tics nomirror out scale 0.6 textcolor rgb '#444444'\n"
               "set grid x y lt 1 lw 0.6 lc rgb '#e4e4e4'\n"
               "set xlabel 'bytes a vector' textcolor rgb '#444444'\n"
               "set key outside right top Left reverse spacing 1.35 samplen 3.2 "
               "textcolor rgb '#222222'\n");
}

/* Methods in the order of their first cells; the best, which come last, get the first line of the
 * key, since that is how the lines lie. */
static size_t list_methods(const quality_table *t, const quality_method **methods, size_t room)
{
    size_t n = 0;
    for (const quality_cell *c = t->cells; c < t->cells + t->ncells; c++) {
        size_t i = 0;
        while (i < n && methods[i] != c->method) i++;
        if (i == n && n < room) methods[n++] = c->method;
    }
    return n;
}

static void write_script(FILE *f, const quality_table *t, const char *svg)
{
    const quality_method *methods[32];
    size_t rows[32], n = list_methods(t, methods, 32);
    const char *comma = "plot ";
    for (size_t i = 0; i < n; i++) rows[i] = write_method(f, t, methods[i], i);
    write_style(f, t, svg);
    write_axes(f, t);
    for (size_t i = n; i-- > 0;) {
        if (rows[i] == 0) continue;
        const quality_method *m = methods[i];
        if (t->seeds > 1)
            fprintf(f, "%s$m%zu using 1:2:3:4 with yerrorbars pt -1 lw 1.2 lc rgb '%s' notitle",
                    comma, i, colour_of(m));
        fprintf(f,
                "%s$m%zu using 1:2 with linespoints pt %d ps 0.75 lw 2 dt %s lc rgb '%s' "
                "title \"%s\" noenhanced",
                t->seeds > 1 ? ", " : comma, i, point_of(m), dash_of(m), colour_of(m), m->name);
        comma = ", ";
    }
    fputc('\n', f);
}

vq_status quality_draw(const quality_table *t, const char *svg, vq_error *err)
{
    vq_status rc = VQ_OK;
    bool any = false;
    for (size_t i = 0; i < t->ncells; i++) any = any || t->cells[i].nseeds > 0;
    if (svg == NULL || !any) goto out;
    VQ_REQUIRE(strpbrk(svg, "'\n") == NULL, VQ_EINVAL, "%s: a quote in the name", svg);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)fflush(NULL);
    FILE *f = popen("exec gnuplot", "w");
    VQ_REQUIRE(f != NULL, VQ_EIO, "cannot start gnuplot");
    write_script(f, t, svg);
    VQ_REQUIRE(pclose(f) == 0, VQ_EIO, "%s: gnuplot (package gnuplot-nox) could not draw it", svg);
out:
    return rc;
}
