/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_tune.c -- vq tune: measures what each recall takes on an index, and stores it there. */
#include "cli/cli.h"
#include "cli/curve.h"
#include "cli/progress.h"
#include "cli/util.h"

typedef struct tune_args {
    opt_texts queries;
    uint32_t k, max, threads;
    int quiet;
} tune_args;

#define AT(field) offsetof(tune_args, field)

const opt tune_opts[] = {
    {"queries", 0, OPT_TEXTS, "FILE", AT(queries), 0, 0, NULL,
     "vectors like those that will be asked, held back from the training; may be given more than "
     "once; default: stored vectors, each left out of its own answers"},
    {"max-queries", 0, OPT_U32, "N", AT(max), 8, 1000000, NULL,
     "of them, evenly spaced; default: what takes seconds, 256 to 2,000"},
    {"k", 'k', OPT_U32, "K", AT(k), 1, 1000000, NULL,
     "answers to measure for; default 1, 3, 10, 30 and 100, between which other numbers lie"},
    {"threads", 0, OPT_U32, "T", AT(threads), 1, 1024, NULL,
     "default: all processors; what is stored does not depend on it"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static int open_queries(const opt_texts *paths, vq_source **src, size_t *n)
{
    vq_error err = {0};
    for (*n = 0; *n < paths->n; ++*n) {
        vq_status rc = vq_source_open_file(&src[*n], paths->at[*n], 0, &err);
        if (rc != VQ_OK) return fail_data(rc, &err);
    }
    return CLI_DONE;
}

static int run(const tune_args *a, const char *path, vq_source *const *src, size_t n)
{
    vq_error err = {0};
    progress p;
    uint32_t before = a->quiet ? 0 : curve_queries(path);
    progress_begin(&p, a->quiet);
    progress_catch();
    vq_tune_opts opts = VQ_TUNE_OPTS_INIT;
    opts.queries = src;
    opts.nqueries = n;
    opts.max_queries = a->max;
    opts.k = a->k;
    opts.threads = a->threads;
    opts.progress = progress_fn;
    opts.progress_ctx = &p;
    vq_status rc = vq_tune(path, &opts, &err);
    double seconds = progress_end(&p);
    if (rc != VQ_OK && progress_stopped()) return fail(CLI_STOPPED, "interrupted");
    if (rc != VQ_OK)
        return rc == VQ_EUNSUPPORTED ? fail(CLI_DATA, "%s", err.text) : fail_data(rc, &err);
    return a->quiet ? CLI_DONE : curve_tell(path, seconds, before);
}

int cmd_tune(const cmd *self, int argc, char **argv)
{
    tune_args a = {.threads = processors()};
    vq_source *src[OPT_TEXTS_MAX];
    size_t n = 0;
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    code = open_queries(&a.queries, src, &n);
    if (code == CLI_DONE) code = run(&a, rest[0], src, n);
    while (n > 0) vq_source_close(src[--n]);
    return code;
}
