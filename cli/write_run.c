/* SPDX-License-Identifier: Apache-2.0 */
/* write_run.c -- see write_run.h. */
#include "cli/write_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/report.h"
#include "cli/util.h"

int write_read_ids(const char *index, const char *path, vq_ids *ids)
{
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_info info = VQ_INFO_INIT;
    vq_status rc = vq_open(&ix, index, 0, &err);
    if (rc == VQ_OK) rc = vq_index_info(ix, &info, &err);
    vq_close(ix);
    if (rc == VQ_OK) rc = vq_ids_read(ids, path, info.string_ids != 0, &err);
    return rc == VQ_OK ? CLI_DONE : fail_data(rc, &err);
}

int write_open(const write_args *a, const char *index, progress *p, vq_writer **out)
{
    vq_error err = {0};
    vq_writer_opts opts = VQ_WRITER_OPTS_INIT;
    opts.wait_ms = a->wait > 0 ? (uint32_t)(a->wait * 1000.0 + 0.5) : 0;
    if (opts.wait_ms == 0) opts.wait_ms = VQ_NONE;
    opts.threads = a->threads;
    opts.no_sync = (uint32_t)a->no_sync;
    opts.progress = progress_fn;
    opts.progress_ctx = p;
    vq_status rc = vq_writer_open(out, index, &opts, &err);
    return rc == VQ_OK ? CLI_DONE : fail_data(rc, &err);
}

static void tell(const write_args *a, const char *index, const vq_write_report *r, double seconds)
{
    char n[32];
    (void)printf("%s: ", index);
    const char *between = "";
    const struct {
        uint64_t n;
        const char *what;
    } done[] = {{r->added, "added"},
                {r->replaced, "replaced"},
                {r->deleted, "deleted"},
                {r->set, "described"}};
    for (size_t i = 0; i < sizeof done / sizeof done[0]; i++) {
        if (done[i].n == 0) continue;
        (void)printf("%s%s %s", between, report_count(n, done[i].n), done[i].what);
        between = ", ";
    }
    if (between[0] == '\0') (void)printf("nothing to do");
    (void)printf("; %s vectors, %.1f s%s\n", report_count(n, r->n), seconds,
                 a->no_sync ? "; not synced: it may be lost if the power fails now" : "");
    if (r->clamped > 0)
        (void)printf("  %s of the new rows have coordinates that the i8 rows of this index cannot "
                     "hold, and were clamped; build it anew to give them room\n",
                     report_count(n, r->clamped));
    if ((double)r->drift > DRIFT_HINT)
        (void)printf(
            "  what was added since the build lies %.0f %% further from its lists' centres "
            "than what the build saw; vq retrain fits lists and codes to it\n",
            100.0 * (double)r->drift);
    if ((double)r->untuned > UNTUNED_HINT * (double)r->n)
        (void)printf("  %s vectors have come since it was measured what a recall takes; vq tune "
                     "measures it anew\n",
                     report_count(n, r->untuned));
}

/* The line of a row; lines: where each begins, NULL: there is one a line. */
static size_t line_of(const size_t *lines, size_t row)
{
    return lines != NULL ? lines[row] : row + 1;
}

/* The library counts rows; who gave n ids in a file looks for lines. */
static int fail_line(const char *path, const size_t *lines, size_t n, int code, const char *text)
{
    size_t row, other;
    int end = 0;
    const char *at = NULL; /* the last, since an id may have such words in it */
    if (sscanf(text, "ids: rows %zu and %zu are both %n", &row, &other, &end) == 2 && end > 0 &&
        row < n && other < n)
        return fail(code, "%s:%zu: the id %s stands in line %zu, too", path, line_of(lines, other),
                    text + end, line_of(lines, row));
    for (const char *next = text; (next = strstr(next, " (row ")) != NULL; next++) at = next;
    if (at != NULL && sscanf(at, " (row %zu)%n", &row, &end) == 1 && end > 0 && row < n)
        return fail(code, "%s:%zu: %.*s%s", path, line_of(lines, row), (int)(at - text), text,
                    at + end);
    return fail(code, "%s", text);
}

int write_attach(const write_args *a, const char *index, vq_writer *w)
{
    vq_error err = {0};
    vq_info info = VQ_INFO_INIT;
    vq_index *ix = NULL;
    attach at = {0};
    if (!attach_any(&a->attached)) return CLI_DONE;
    vq_status rc = vq_open(&ix, index, 0, &err);
    if (rc == VQ_OK) rc = vq_index_info(ix, &info, &err);
    vq_close(ix);
    int code =
        rc == VQ_OK ? attach_open(&at, &a->attached, info.string_ids != 0) : fail_data(rc, &err);
    for (size_t i = 0; i < at.n && code == CLI_DONE; i++) {
        rc = vq_writer_set(w, at.attributes[i], &err);
        if (rc != VQ_OK)
            code = fail_line(at.paths[i], at.files[i].lines, (size_t)at.files[i].a.n,
                             rc == VQ_EINVAL ? CLI_DATA : exit_code(rc), err.text);
    }
    attach_close(&at);
    return code;
}

int write_finish(const write_args *a, const char *index, vq_writer *w, progress *p, vq_status rc,
                 vq_error *err)
{
    vq_write_report r = VQ_WRITE_REPORT_INIT;
    if (rc == VQ_OK) rc = vq_writer_commit(w, &r, err);
    double seconds = progress_end(p);
    if (rc == VQ_ECANCELED && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK && a->ids != NULL)
        return fail_line(a->ids, NULL, SIZE_MAX, rc == VQ_EINVAL ? CLI_DATA : exit_code(rc),
                         err->text);
    if (rc != VQ_OK) return fail_data(rc, err);
    if (!a->quiet) tell(a, index, &r, seconds);
    return CLI_DONE;
}
