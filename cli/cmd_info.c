/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_info.c -- vq info: what an index is, and why it became so. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/curve.h"
#include "cli/report.h"
#include "cli/util.h"

typedef struct info_args {
    int json, digest;
} info_args;

#define AT(field) offsetof(info_args, field)

const opt info_opts[] = {{"json", 0, OPT_FLAG, NULL, AT(json), 0, 0, NULL, "print one JSON object"},
                         {"digest", 0, OPT_FLAG, NULL, AT(digest), 0, 0, NULL,
                          "print a hash of the content alone; it reads the whole file"},
                         {NULL, 0, OPT_FLAG, NULL, 0, 0, 0, NULL, NULL}};

static const char *rotation_name(uint32_t rotation)
{
    static const char *const names[] = {"auto", "none", "random", "pca", "opq"};
    return rotation < sizeof names / sizeof names[0] ? names[rotation] : "?";
}

static const char *train_name(uint32_t train)
{
    static const char *const names[] = {"auto", "kmeans", "query-aware", "distill"};
    return train < sizeof names / sizeof names[0] ? names[train] : "?";
}

static double per_vector(uint64_t bytes, const vq_info *i)
{
    return i->n > 0 ? (double)bytes / (double)i->n : 0;
}

/* Splits info->why, which is overwritten, into its lines. */
static char *next_reason(char **rest)
{
    char *line;
    do {
        line = strsep(rest, "\n");
    } while (line != NULL && *line == '\0');
    return line;
}

enum { SHOWN_TAGS = 20 };

typedef struct tag_list { /* the most frequent tags */
    struct {
        char name[VQ_TAG_MAX + 1];
        uint64_t vectors;
    } at[SHOWN_TAGS];
    size_t n;
    uint64_t all;
} tag_list;

static int note_tag(void *ctx, const char *tag, uint64_t vectors)
{
    tag_list *l = ctx;
    size_t i = l->n;
    l->all++;
    while (i > 0 && l->at[i - 1].vectors < vectors) i--;
    if (i == SHOWN_TAGS) return 0;
    if (l->n < SHOWN_TAGS) l->n++;
    memmove(&l->at[i + 1], &l->at[i], (l->n - 1 - i) * sizeof l->at[0]);
    (void)snprintf(l->at[i].name, sizeof l->at[i].name, "%s", tag);
    l->at[i].vectors = vectors;
    return 0;
}

static void print_tags(const vq_info *i, const tag_list *l)
{
    char a[32], b[32];
    if (i->described > 0)
        report_line(stdout, "described", "%s vectors have tags, a time or a payload, %s in all",
                    report_count(a, i->described), report_bytes(b, i->attributes_bytes));
    for (size_t t = 0; t < l->n; t++)
        report_line(stdout, t == 0 ? "tags" : "", "%s: %s", l->at[t].name,
                    report_count(a, l->at[t].vectors));
    if (l->all > l->n) report_line(stdout, "", "and %s rarer ones", report_count(a, l->all - l->n));
}

/* r->queries is 0 where the index is not calibrated. */
static void print_relevance(const vq_relevance *r)
{
    char a[32];
    if (r->queries == 0) return;
    report_line(stdout, "calibrated", "with %s queries, the first %u answers of each",
                report_count(a, r->queries), r->depth);
    report_line(stdout, "", "F1 on %s others: %.3f at a relevance of %.3g, %.3f by a fixed score",
                report_count(a, r->judges), (double)r->f1, (double)r->best, (double)r->score_f1);
}

static void relevance_json(json *j, const vq_relevance *r)
{
    if (r->queries == 0) return;
    json_open(j, "calibrated", '{');
    json_count(j, "queries", r->queries);
    json_count(j, "judges", r->judges);
    json_count(j, "depth", r->depth);
    json_real(j, "min_relevance", (double)r->best);
    json_real(j, "f1", (double)r->f1);
    json_real(j, "fixed_score_f1", (double)r->score_f1);
    json_real(j, "first_answers_f1", (double)r->first_f1);
    json_close(j, '}');
}

static void print_text(const char *path, vq_info *i, const curve *c, const vq_relevance *r,
                       const tag_list *tags)
{
    char a[32], b[32];
    report_line(stdout, "file", "%s, %s, format %u", path, report_bytes(a, i->file_bytes),
                i->format_version);
    report_line(stdout, "vectors", "%s of %u dimensions, %s, metric %s, %s ids",
                report_count(a, i->n), i->d, vq_elem_name(i->input), vq_metric_name(i->metric),
                i->string_ids ? "string" : "number");
    report_line(stdout, "codec", "%s, %u bytes a vector, rotation %s, %u dimensions coded",
                i->codec, i->code_bytes, rotation_name(i->rotation), i->d_code);
    if (i->gain > 0.0f) report_line(stdout, "", "their products count %.2f times", (double)i->gain);
    report_line(stdout, "lists", "%s, %s in all", report_count(a, i->nlist),
                report_bytes(b, i->lists_bytes));
    if (i->copies > 0)
        report_line(stdout, "copies", "%s in a second list, %s in all", report_count(a, i->copies),
                    report_bytes(b, i->copies_bytes));
    report_line(stdout, "trained", "%s%s", train_name(i->train),
                i->mapped ? ", queries have a matrix of their own" : "");
    report_line(stdout, "stored rows", "%s, %s in all", vq_elem_name(i->store),
                report_bytes(a, i->rows_bytes));
    report_line(stdout, "bytes a vector", "%u codes, %.1f with copies, %.1f stored row, %.1f file",
                i->code_bytes, (double)i->code_bytes * (1.0 + per_vector(i->copies, i)),
                per_vector(i->rows_bytes, i), per_vector(i->file_bytes, i));
    if (i->added > 0)
        report_line(stdout, "drift",
                    "%s vectors added, %.0f %% further from their lists' centres%s",
                    report_count(a, i->added), 100.0 * (double)i->drift,
                    (double)i->drift > DRIFT_HINT ? ": vq retrain fits lists and codes to them"
                                                  : " than the build's");
    if (c->n > 0)
        report_line(stdout, "search by default", "recall %g", (double)VQ_RECALL_DEFAULT);
    else if (i->default_rerank == VQ_NONE)
        report_line(stdout, "search by default", "%u lists, codes alone", i->default_nprobe);
    else
        report_line(stdout, "search by default", "%u lists, %u rows scored in full (k = 10)",
                    i->default_nprobe, i->default_rerank);
    curve_text(c, 10);
    if ((double)i->untuned > UNTUNED_HINT * (double)i->n)
        report_line(stdout, "curve", "%s vectors have come since: vq tune measures it anew",
                    report_count(a, i->untuned));
    print_relevance(r);
    if (i->free_bytes > 0)
        report_line(stdout, "free", "%s of the file, for later changes; vq compact gives it back",
                    report_bytes(a, i->free_bytes));
    if (i->readers > 0)
        report_line(stdout, "readers",
                    "%u; the oldest, of process %u, sees snapshot %" PRIu64 " of %" PRIu64,
                    i->readers, i->oldest_pid, i->oldest_snapshot, i->snapshot);
    print_tags(i, tags);
    report_line(stdout, "seed", "%" PRIu64, i->seed);
    char *rest = i->why, *reason;
    for (const char *label = "chosen"; (reason = next_reason(&rest)) != NULL; label = "")
        report_line(stdout, label, "%s", reason);
}

static void print_json(const char *path, vq_info *i, const curve *c, const vq_relevance *r,
                       const tag_list *tags)
{
    json j = {.f = stdout, .pretty = true};
    json_open(&j, NULL, '{');
    json_text(&j, "path", path);
    json_count(&j, "format_version", i->format_version);
    json_count(&j, "n", i->n);
    json_count(&j, "d", i->d);
    json_count(&j, "d_code", i->d_code);
    json_text(&j, "metric", vq_metric_name(i->metric));
    json_text(&j, "input", vq_elem_name(i->input));
    json_text(&j, "codec", i->codec);
    json_count(&j, "code_bytes", i->code_bytes);
    json_text(&j, "rotation", rotation_name(i->rotation));
    json_text(&j, "train", train_name(i->train));
    json_bool(&j, "query_matrix", i->mapped != 0);
    json_count(&j, "nlist", i->nlist);
    json_text(&j, "store", vq_elem_name(i->store));
    json_bool(&j, "string_ids", i->string_ids != 0);
    json_count(&j, "seed", i->seed);
    json_count(&j, "default_nprobe", i->default_nprobe);
    json_count(&j, "default_rerank", i->default_rerank == VQ_NONE ? 0 : i->default_rerank);
    json_count(&j, "file_bytes", i->file_bytes);
    json_count(&j, "lists_bytes", i->lists_bytes);
    json_count(&j, "rows_bytes", i->rows_bytes);
    curve_json(c, &j);
    relevance_json(&j, r);
    json_count(&j, "copies", i->copies);
    json_count(&j, "copies_bytes", i->copies_bytes);
    json_count(&j, "free_bytes", i->free_bytes);
    json_count(&j, "snapshot", i->snapshot);
    json_count(&j, "oldest_snapshot", i->oldest_snapshot);
    json_count(&j, "readers", i->readers);
    json_count(&j, "oldest_pid", i->oldest_pid);
    json_count(&j, "added", i->added);
    json_real(&j, "drift", (double)i->drift);
    json_real(&j, "gain", (double)i->gain);
    json_count(&j, "untuned", i->untuned);
    json_count(&j, "described", i->described);
    json_count(&j, "attributes_bytes", i->attributes_bytes);
    json_count(&j, "tags", tags->all);
    json_open(&j, "frequent_tags", '{');
    for (size_t t = 0; t < tags->n; t++) json_count(&j, tags->at[t].name, tags->at[t].vectors);
    json_close(&j, '}');
    json_open(&j, "why", '[');
    char *rest = i->why;
    for (char *reason; (reason = next_reason(&rest)) != NULL;) json_text(&j, NULL, reason);
    json_close(&j, ']');
    json_close(&j, '}');
}

int cmd_info(const cmd *self, int argc, char **argv)
{
    info_args a = {0};
    char **rest;
    int nrest, code = cmd_parse(self, &a, argc, argv, 1, 1, &rest, &nrest);
    if (code >= 0) return code;
    if (a.json && a.digest) return fail(CLI_USAGE, "--json and --digest exclude each other");
    vq_error err = {0};
    vq_index *ix = NULL;
    vq_info info = VQ_INFO_INIT;
    curve c = {0};
    vq_relevance r = VQ_RELEVANCE_INIT;
    static tag_list tags;
    char hex[33];
    vq_status rc = vq_open(&ix, rest[0], 0, &err);
    if (rc == VQ_OK)
        rc = a.digest ? vq_index_digest(ix, hex, &err) : vq_index_info(ix, &info, &err);
    if (rc == VQ_OK && !a.digest) rc = curve_read(&c, ix, &err);
    if (rc == VQ_OK && !a.digest) {
        rc = vq_relevance_info(ix, &r, &err);
        if (rc == VQ_ENOENT) rc = VQ_OK; /* it is not calibrated */
    }
    if (rc == VQ_OK && !a.digest) rc = vq_tags(ix, note_tag, &tags, &err);
    vq_close(ix);
    if (rc != VQ_OK) return fail_status(rc, &err);
    if (a.digest)
        (void)printf("%s\n", hex);
    else if (a.json)
        print_json(rest[0], &info, &c, &r, &tags);
    else
        print_text(rest[0], &info, &c, &r, &tags);
    curve_free(&c);
    return CLI_DONE;
}
