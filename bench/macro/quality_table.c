/* SPDX-License-Identifier: Apache-2.0 */
/* quality_table.c -- the figures as CSV and as Markdown: means and ranges over seeds, differences
 * over queries. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/macro/bench.h"
#include "bench/macro/quality.h"
#include "src/eval/bootstrap.h"

typedef vq_interval differences[SETTINGS][FIGURES];

static FILE *open_for_writing(const char *path)
{
    FILE *f = fopen(path, "w");
    if (f == NULL) perror(path);
    return f;
}

const char *quality_grouped(size_t x, char text[32])
{
    char digits[24];
    size_t at = 0, n = (size_t)snprintf(digits, sizeof digits, "%zu", x);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

static void widen(quality_range *r, double x)
{
    r->low = fmin(r->low, x);
    r->high = fmax(r->high, x);
    r->mean += x;
}

quality_range quality_range_of(const quality_cell *cell, size_t setting, quality_figure figure)
{
    quality_range r = {0, INFINITY, -INFINITY};
    for (size_t i = 0; i < cell->nseeds; i++) widen(&r, cell->seeds[i].figure[setting][figure]);
    r.mean /= (double)cell->nseeds;
    return r;
}

static quality_range build_range(const quality_cell *cell, bool memory)
{
    quality_range r = {0, INFINITY, -INFINITY};
    for (size_t i = 0; i < cell->nseeds; i++)
        widen(&r, memory ? cell->seeds[i].build_mb : cell->seeds[i].build_s);
    r.mean /= (double)cell->nseeds;
    return r;
}

static quality_range nprobe_range(const quality_cell *cell, size_t setting)
{
    quality_range r = {0, INFINITY, -INFINITY};
    for (size_t i = 0; i < cell->nseeds; i++) widen(&r, cell->seeds[i].nprobe[setting]);
    r.mean /= (double)cell->nseeds;
    return r;
}

/* ---- an index a line ----------------------------------------------------------------------- */

static void put_figure(FILE *f, double x)
{
    if (isnan(x))
        fputc(',', f);
    else
        fprintf(f, ",%.5f", x);
}

void quality_write_csv(const quality_table *t, const char *path)
{
    static const char *const rotations[] = {"auto", "none", "random", "pca", "opq"};
    static const char *const trains[] = {"auto", "kmeans", "query-aware", "distill"};
    const quality_data *d = t->data;
    FILE *f = path != NULL ? open_for_writing(path) : NULL;
    if (f == NULL) return;
    fprintf(f, "data,n,d,metric,queries,commit,method,codec,rotation,train,bytes,code_bytes,seed,"
               "setting,nlist,nprobe,rerank,mrr@10,10@10,10@100,query_us,build_s,build_mb\n");
    for (const quality_cell *c = t->cells; c < t->cells + t->ncells; c++)
        for (const quality_index *x = c->seeds; x < c->seeds + c->nseeds; x++)
            for (size_t s = 0; s < SETTINGS; s++) {
                const quality_method *m = c->method;
                fprintf(f, "%s,%zu,%u,%s,%zu,%s,%s,%s,%s,%s,%u,%u,%llu,%s,%u,%u,%u", d->name, d->n,
                        d->d, vq_metric_name(d->metric), d->nq, t->commit, m->name, m->codec,
                        rotations[m->rotation], trains[m->train], c->bytes, x->code_bytes,
                        (unsigned long long)x->seed, quality_settings[s].name, x->nlist,
                        x->nprobe[s], quality_settings[s].rerank ? (unsigned)QUALITY_RERANK : 0U);
                for (size_t i = 0; i < FIGURES; i++) put_figure(f, x->figure[s][i]);
                fprintf(f, ",%.1f,%.1f,%.0f\n", x->us[s], x->build_s, x->build_mb);
            }
    (void)fclose(f);
}

/* ---- differences --------------------------------------------------------------------------- */

static const quality_cell *base_of(const quality_table *t, const quality_cell *cell)
{
    for (const quality_cell *c = t->cells; c < t->cells + t->ncells; c++)
        if (c->bytes == cell->bytes && c->nseeds > 0 && strcmp(c->method->name, t->against) == 0)
            return c;
    return NULL;
}

/* NaN where there is nothing to compare. */
static vq_status compare(const quality_table *t, const quality_cell *c, differences diff,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    const quality_cell *base = base_of(t, c);
    const vq_bootstrap_opts opts = {QUALITY_RESAMPLES, 1, t->data->threads};
    size_t nq = t->data->nq;
    double *x = bench_need(calloc(2 * nq, sizeof *x)), *y = x + nq;
    for (size_t s = 0; s < SETTINGS; s++)
        for (size_t f = 0; f < FIGURES; f++) {
            diff[s][f] = (vq_interval){NAN, NAN, NAN};
            if (c->nseeds == 0 || base == NULL || base == c) continue;
            for (size_t i = 0; i < nq; i++) {
                x[i] = c->sum[s][f][i] / (double)c->nseeds;
                y[i] = base->sum[s][f][i] / (double)base->nseeds;
            }
            VQ_TRY(vq_bootstrap_paired(x, y, nq, &opts, &diff[s][f], err));
        }
out:
    free(x);
    return rc;
}

/* ---- a cell a line: CSV -------------------------------------------------------------------- */

static void summary_row(FILE *f, const quality_table *t, const quality_cell *c, const char *setting,
                        const char *figure, quality_range r, const vq_interval *diff)
{
    if (isnan(r.mean)) return;
    fprintf(f, "%s,%s,%u,%u,%zu,%s,%s,%.5f,%.5f,%.5f", t->data->name, c->method->name, c->bytes,
            c->seeds[0].code_bytes, c->nseeds, setting, figure, r.mean, r.low, r.high);
    if (diff != NULL && !isnan(diff->mean))
        fprintf(f, ",%.5f,%.5f,%.5f,\n", diff->mean, diff->low, diff->high);
    else
        fprintf(f, ",,,,\n");
}

static void write_summary(FILE *f, const quality_table *t, differences *diff)
{
    fprintf(f,
            "data,method,bytes,code_bytes,seeds,setting,figure,mean,min,max,less_%s,low,high,"
            "note\n",
            t->against);
    for (size_t i = 0; i < t->ncells; i++) {
        const quality_cell *c = &t->cells[i];
        if (c->note[0] != '\0')
            fprintf(f, "%s,%s,%u,,%zu,,,,,,,,,\"%s\"\n", t->data->name, c->method->name, c->bytes,
                    c->nseeds, c->note);
        if (c->nseeds == 0) continue;
        summary_row(f, t, c, "build", "seconds", build_range(c, false), NULL);
        summary_row(f, t, c, "build", "MB", build_range(c, true), NULL);
        for (size_t s = 0; s < SETTINGS; s++) {
            summary_row(f, t, c, quality_settings[s].name, "nprobe", nprobe_range(c, s), NULL);
            for (size_t k = 0; k < FIGURES; k++)
                summary_row(f, t, c, quality_settings[s].name, quality_figures[k],
                            quality_range_of(c, s, (quality_figure)k), &diff[i][s][k]);
        }
    }
}

/* ---- a cell a line: Markdown --------------------------------------------------------------- */

/* A share as .123, or with its sign where it is a difference. */
static void put_share(FILE *f, double x, bool sign)
{
    char digits[16];
    (void)snprintf(digits, sizeof digits, "%.3f", fabs(x));
    bool zero = strcmp(digits, "0.000") == 0;
    if (sign && !zero) fputs(x < 0 ? "−" : "+", f);
    fputs(digits[0] == '0' ? digits + 1 : digits, f);
}

static void put_range(FILE *f, quality_range r, size_t seeds)
{
    fputc(' ', f);
    put_share(f, r.mean, false);
    if (seeds > 1) {
        fputs(" (", f);
        put_share(f, r.low, false);
        fputs("–", f);
        put_share(f, r.high, false);
        fputc(')', f);
    }
    fputs(" |", f);
}

static void put_difference(FILE *f, vq_interval d)
{
    if (!isnan(d.mean)) {
        fputc(' ', f);
        put_share(f, d.mean, true);
        fputs(" [", f);
        put_share(f, d.low, true);
        fputs(", ", f);
        put_share(f, d.high, true);
        fputc(']', f);
    }
    fputs(" |", f);
}

static bool has_mrr(const quality_table *t)
{
    return t->data->first != NULL;
}

static void markdown_head(FILE *f, const quality_table *t, size_t setting)
{
    fprintf(f, "\n### %s\n\n| bytes | method |", quality_settings[setting].title);
    if (has_mrr(t)) fprintf(f, " MRR@10 |");
    fprintf(f, " 10@10 | 10@100 |");
    if (has_mrr(t)) fprintf(f, " MRR@10 less %s's |", t->against);
    fprintf(f, " 10@10 less %s's |", t->against);
    if (setting == 0) fprintf(f, " build, s | build, MB |");
    if (quality_settings[setting].ivf) fprintf(f, " lists |");
    fprintf(f, "\n|---:|---|");
    for (size_t i = 0; i < (has_mrr(t) ? 5U : 3U); i++) fprintf(f, "---|");
    fprintf(f, "%s\n", setting == 0 ? "---:|---:|" : quality_settings[setting].ivf ? "---:|" : "");
}

static void markdown_row(FILE *f, const quality_table *t, const quality_cell *c, size_t s,
                         differences diff)
{
    fprintf(f, "| %u | %s |", c->seeds[0].code_bytes, c->method->name);
    for (size_t k = has_mrr(t) ? 0 : 1; k < FIGURES; k++)
        put_range(f, quality_range_of(c, s, (quality_figure)k), c->nseeds);
    if (has_mrr(t)) put_difference(f, diff[s][FIGURE_MRR]);
    put_difference(f, diff[s][FIGURE_10_OF_10]);
    if (s == 0) fprintf(f, " %.1f | %.0f |", build_range(c, false).mean, build_range(c, true).mean);
    if (quality_settings[s].ivf)
        fprintf(f, " %.0f of %u |", nprobe_range(c, s).mean, c->seeds[0].nlist);
    fputc('\n', f);
}

static void markdown_preface(FILE *f, const quality_table *t)
{
    char cpu[128], a[32], b[32];
    const quality_data *d = t->data;
    bench_cpu(cpu, sizeof cpu);
    fprintf(f, "## %s: %s × %u, %s\n\n%s queries that no build has seen", d->name,
            quality_grouped(d->n, a), d->d, vq_metric_name(d->metric), quality_grouped(d->nq, b));
    if (has_mrr(t)) {
        fputs("; exact search: MRR@10 ", f);
        put_share(f, d->exact_mrr, false);
    }
    fprintf(f, ". Bytes are all that a vector takes but its id and the row for reranking.");
    if (t->seeds > 1) fprintf(f, " Means of %zu seeds (lowest–highest).", t->seeds);
    fprintf(f,
            " Differences: mean over queries [95 %% interval, paired bootstrap over queries, %s "
            "resamples]. Builds: wall clock, peak resident memory. %s, commit %s.\n",
            quality_grouped(QUALITY_RESAMPLES, a), cpu, t->commit);
}

static void write_markdown(FILE *f, const quality_table *t, differences *diff)
{
    markdown_preface(f, t);
    for (size_t s = 0; s < SETTINGS; s++) {
        markdown_head(f, t, s);
        for (size_t i = 0; i < t->ncells; i++)
            if (t->cells[i].nseeds > 0) markdown_row(f, t, &t->cells[i], s, diff[i]);
    }
    bool first = true;
    for (const quality_cell *c = t->cells; c < t->cells + t->ncells; c++) {
        if (c->note[0] == '\0') continue;
        fprintf(f, "%s- %s, %u bytes: %s\n", first ? "\nNot measured:\n\n" : "", c->method->name,
                c->bytes, c->note);
        first = false;
    }
}

vq_status quality_write_summary(const quality_table *t, const char *csv, const char *markdown,
                                vq_error *err)
{
    vq_status rc = VQ_OK;
    FILE *f = NULL;
    differences *diff = bench_need(calloc(t->ncells + 1, sizeof *diff));
    for (size_t i = 0; i < t->ncells; i++) VQ_TRY(compare(t, &t->cells[i], diff[i], err));
    if (csv != NULL && (f = open_for_writing(csv)) != NULL) {
        write_summary(f, t, diff);
        (void)fclose(f);
    }
    if (markdown != NULL && (f = open_for_writing(markdown)) != NULL) {
        write_markdown(f, t, diff);
        (void)fclose(f);
    }
out:
    free(diff);
    return rc;
}
