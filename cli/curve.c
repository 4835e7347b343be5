/* SPDX-License-Identifier: Apache-2.0 */
/* curve.c -- see curve.h. */
#include "cli/curve.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/util.h"

#define FEW_QUERIES 100

vq_status curve_read(curve *c, vq_index *ix, vq_error *err)
{
    *c = (curve){0};
    vq_status rc = vq_tune_points(ix, NULL, 0, &c->n, err);
    if (rc != VQ_OK || c->n == 0) return rc;
    c->points = xmalloc(c->n, sizeof *c->points);
    return vq_tune_points(ix, c->points, c->n, &c->n, err);
}

void curve_free(curve *c)
{
    free(c->points);
    *c = (curve){0};
}

/* The largest measured k that is not above k, else the smallest. */
static uint32_t nearest_k(const curve *c, uint32_t k)
{
    uint32_t best = c->points[0].k;
    for (size_t i = 0; i < c->n; i++)
        if (c->points[i].k <= k) best = c->points[i].k;
    return best;
}

void curve_text(const curve *c, uint32_t k)
{
    char label[40];
    if (c->n == 0) {
        report_line(stdout, "tuned",
                    "no; vq tune makes --recall possible where there are 2,000 vectors, with "
                    "--queries if no rows are stored");
        return;
    }
    uint32_t of = nearest_k(c, k);
    report_line(stdout, "tuned", "with %u queries; a query takes on the average (k = %u)",
                c->points[0].queries, of);
    for (size_t i = 0; i < c->n; i++) {
        const vq_tune_point *p = &c->points[i];
        if (p->k != of) continue;
        (void)snprintf(label, sizeof label, "recall %g", (double)p->recall);
        if (p->rows > 0)
            report_line(stdout, label, "%7.1f lists, %9.0f vectors, %6.1f rows scored in full",
                        (double)p->lists, (double)p->vectors, (double)p->rows);
        else
            report_line(stdout, label, "%7.1f lists, %9.0f vectors", (double)p->lists,
                        (double)p->vectors);
    }
}

void curve_json(const curve *c, json *j)
{
    json_open(j, "tuned", '[');
    for (size_t i = 0; i < c->n; i++) {
        const vq_tune_point *p = &c->points[i];
        json_open(j, NULL, '{');
        json_count(j, "k", p->k);
        json_real(j, "recall", (double)p->recall);
        json_real(j, "lists", (double)p->lists);
        json_real(j, "vectors", (double)p->vectors);
        json_real(j, "rows", (double)p->rows);
        json_count(j, "most_lists", p->most_lists);
        json_count(j, "most_rows", p->most_rows);
        json_count(j, "queries", p->queries);
        json_close(j, '}');
    }
    json_close(j, ']');
}

uint32_t curve_queries(const char *path)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    curve c = {0};
    bool known = vq_open(&ix, path, 0, &err) == VQ_OK && curve_read(&c, ix, &err) == VQ_OK;
    uint32_t n = known && c.n > 0 ? c.points[0].queries : 0;
    curve_free(&c);
    vq_close(ix);
    return n;
}

/* 256 queries know a recall of 0.95 to 0.01. */
static void tell_few(uint32_t n, uint32_t before)
{
    if (n < FEW_QUERIES)
        report_line(stdout, "few queries", "%u know a recall to about %.2f; hundreds are better", n,
                    0.01 * sqrt(256.0 / n));
    if (n < before) report_line(stdout, "replaced", "a curve of %u queries", before);
}

int curve_tell(const char *path, double seconds, uint32_t before)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    curve c = {0};
    vq_status rc = vq_open(&ix, path, 0, &err);
    if (rc == VQ_OK) rc = curve_read(&c, ix, &err);
    if (rc == VQ_OK) {
        (void)printf("%s: tuned in %.1f s\n", path, seconds);
        curve_text(&c, 10);
        if (c.n > 0) tell_few(c.points[0].queries, before);
    }
    curve_free(&c);
    vq_close(ix);
    return rc == VQ_OK ? CLI_DONE : fail_status(rc, &err);
}
