/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_gen.c -- vq gen: a mixture of Gaussians, to try things on.  Row i depends on the seed and i
 * alone, so that a file of more rows begins with the file of fewer. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/util.h"
#include "src/io/format.h"
#include "src/io/source.h"

#define BYTE_SPREAD 24.0 /* a standard deviation of a centre, in the units of i8 and u8 */

typedef struct gen_args {
    const char *queries;
    uint64_t n, n_queries, seed;
    uint32_t d, clusters;
    double noise;
    int quiet;
} gen_args;

#define AT(field) offsetof(gen_args, field)

const opt gen_opts[] = {
    {"count", 'n', OPT_U64, "N", AT(n), 1, 1ull << 40, NULL, "vectors; required"},
    {"dim", 'd', OPT_U32, "D", AT(d), 1, VQ_DIM_MAX, NULL, "dimensions; required"},
    {"clusters", 0, OPT_U32, "C", AT(clusters), 1, 1u << 24, NULL,
     "clusters; default about the square root of N, at most 4096"},
    {"noise", 0, OPT_REAL, "S", AT(noise), 0, 1000, NULL,
     "standard deviation around a cluster's centre, where that of the centres is 1; default 0.5"},
    {"seed", 0, OPT_U64, "S", AT(seed), 0, UINT64_MAX, NULL, "default 1"},
    {"queries", 0, OPT_TEXT, "FILE", AT(queries), 0, 0, NULL,
     "write queries from the same clusters too"},
    {"n-queries", 0, OPT_U64, "M", AT(n_queries), 1, 1ull << 40, NULL, "default 1000"},
    {"quiet", 'q', OPT_FLAG, NULL, AT(quiet), 0, 0, NULL, "print errors only"},
    {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

typedef struct mixture {
    uint64_t seed, n, row, stream; /* stream: 1 for the base, 2 for queries */
    uint32_t d, clusters, elem;
    double noise;
    float *centres; /* clusters x d, owned */
} mixture;

static uint64_t mix(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t start(uint64_t seed, uint64_t stream, uint64_t row)
{
    uint64_t a = seed, b = mix(&a) ^ stream, c = mix(&b) ^ row;
    return mix(&c);
}

/* Two normal numbers (Box and Muller 1958) into out[0] and, if there is a second, out[1]. */
static void normal_pair(uint64_t *state, float *out, bool second)
{
    double u = ((double)(mix(state) >> 11) + 1) * 0x1p-53;
    double v = (double)(mix(state) >> 11) * 0x1p-53;
    double r = sqrt(-2 * log(u)), angle = 2 * 3.14159265358979323846 * v;
    out[0] = (float)(r * cos(angle));
    if (second) out[1] = (float)(r * sin(angle));
}

static void normals(uint64_t *state, float *out, uint32_t d)
{
    for (uint32_t j = 0; j < d; j += 2) normal_pair(state, out + j, j + 1 < d);
}

/* Bytes are scaled, rounded and held within their range. */
static float as_elem(uint32_t elem, double x)
{
    if (elem == VQ_I8) return (float)fmin(127, fmax(-127, rint(BYTE_SPREAD * x)));
    if (elem == VQ_U8) return (float)fmin(255, fmax(0, rint(128 + BYTE_SPREAD * x)));
    return (float)x;
}

/* A vq_read_fn. */
static int read_rows(void *ctx, int rewind, void *rows, size_t max, size_t *got)
{
    mixture *m = ctx;
    float *out = rows;
    if (rewind) {
        m->row = 0;
        return 0;
    }
    size_t n = 0;
    for (; n < max && m->row < m->n; n++, m->row++, out += m->d) {
        uint64_t state = start(m->seed, m->stream, m->row);
        const float *centre = m->centres + (size_t)(mix(&state) % m->clusters) * m->d;
        normals(&state, out, m->d);
        for (uint32_t j = 0; j < m->d; j++)
            out[j] = as_elem(m->elem, (double)centre[j] + m->noise * (double)out[j]);
    }
    *got = n;
    return 0;
}

/* The element type that the format holds best. */
static uint32_t elem_of(const vq_format *f)
{
    if (f->elems & 1u << VQ_F32) return VQ_F32;
    return f->elems & 1u << VQ_I8 ? VQ_I8 : VQ_U8;
}

static int write_file(mixture *m, const char *path, uint64_t stream, uint64_t n, bool quiet)
{
    vq_error err = {0};
    vq_source *src = NULL;
    uint64_t rows = 0;
    m->stream = stream;
    m->n = n;
    m->row = 0;
    const vq_format *format = output_format(path);
    m->elem = format != NULL ? elem_of(format) : VQ_F32; /* vq_convert says what is wrong */
    int code = output_folder(path);
    if (code != CLI_DONE) return code;
    vq_status rc = vq_source_open_fn(&src, read_rows, m, m->d, VQ_F32, &err);
    if (rc == VQ_OK) rc = vq_convert(src, path, 0, &rows, &err);
    vq_source_close(src);
    if (rc != VQ_OK) return fail_status(rc, &err);
    char count[32];
    if (!quiet)
        (void)printf("%s: %s vectors of %u dimensions in %u clusters\n", path,
                     report_count(count, rows), m->d, m->clusters);
    return CLI_DONE;
}

int cmd_gen(const cmd *self, int argc, char **argv)
{
    gen_args a = {.seed = 1, .noise = 0.5};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    if (a.n == 0) return fail(CLI_USAGE, "-n N is missing: how many vectors?");
    if (a.d == 0) return fail(CLI_USAGE, "-d D is missing: how many dimensions?");
    if (a.n_queries != 0 && a.queries == NULL)
        return fail(CLI_USAGE, "--n-queries needs --queries FILE");
    if (a.queries != NULL && (strcmp(a.queries, rest[0]) == 0 || same_file(a.queries, rest[0])))
        return fail(CLI_USAGE, "%s is to hold both vectors and queries", rest[0]);
    mixture m = {.seed = a.seed, .d = a.d, .noise = a.noise, .clusters = a.clusters};
    if (m.clusters == 0) m.clusters = (uint32_t)fmin(4096, ceil(sqrt((double)a.n)));
    m.centres = xmalloc(m.clusters, (size_t)m.d * sizeof *m.centres);
    for (uint32_t c = 0; c < m.clusters; c++) {
        uint64_t state = start(m.seed, 0, c);
        normals(&state, m.centres + (size_t)c * m.d, m.d);
    }
    code = write_file(&m, rest[0], 1, a.n, a.quiet);
    if (code == CLI_DONE && a.queries != NULL)
        code = write_file(&m, a.queries, 2, a.n_queries != 0 ? a.n_queries : 1000, a.quiet);
    free(m.centres);
    return code;
}
