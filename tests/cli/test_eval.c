/* SPDX-License-Identifier: Apache-2.0 */
/* test_eval.c -- vq eval and vq gt as they are typed. */
#include "tests/cli/user.h"

#include <math.h>

#define EXACT "--nprobe all --rerank 1500"

static char *dir;

/* An index b.vq of float32 rows, s.vq with names, truth gt.ibin, and judgements that call the true
 * nearest (and the second) relevant. */
static void open_dir(void)
{
    dir = test_tmpdir();
    DONE(dir, "\"$VQ\" gen b.fbin -n 1500 -d 16 --queries q.fbin --n-queries 40 -q");
    DONE(dir, "seq 0 1499 | sed s/^/doc/ >names; seq 0 39 | sed s/^/q/ >q.ids");
    DONE(dir,
         "\"$VQ\" build b.fbin -o b.vq --store f32 -q; \"$VQ\" build b.fbin -o s.vq --ids names "
         "--store f32 -q; \"$VQ\" gt b.fbin q.fbin -o gt.ibin -q");
    DONE(dir, "\"$VQ\" search b.vq q.fbin -k 2 " EXACT " --format tsv | "
              "awk '{ print $1, 0, $3, 3 - $2 }' >qrels");
    DONE(dir, "awk '{ print \"q\" $1, 0, \"doc\" $3, $4 }' qrels >s.qrels");
}

static void close_dir(void)
{
    test_rmdir(dir);
}

TestSuite(eval, .init = open_dir, .fini = close_dir);

/* The value of a member, or NaN; within names an object to look in, or NULL. */
static double member(const char *json, const char *within, const char *key)
{
    char quoted[64];
    const char *from = json, *to = json + strlen(json);
    if (within != NULL) {
        (void)snprintf(quoted, sizeof quoted, "\"%s\": {", within);
        from = strstr(json, quoted);
        if (from == NULL) return NAN;
        to = strchr(from, '}');
    }
    (void)snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *at = strstr(from, quoted);
    return at != NULL && at < to ? strtod(at + strlen(quoted), NULL) : NAN;
}

static int count_keys(const char *json)
{
    int n = 0;
    for (const char *p = json; (p = strstr(p, "\": ")) != NULL; p++) n++;
    return n;
}

Test(eval, json_has_the_members_that_were_asked_for)
{
    static const char *const exact[] = {"recall@1", "recall@10", "recall@100", "10@100"};
    static const char *const judged[] = {"mrr@10", "ndcg@10", "recall@10", "recall@100",
                                         "recall@1000"};
    test_run r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --qrels qrels --json " EXACT);
    cr_assert(is_json(r.out), "%s", r.out);
    cr_assert_eq(member(r.out, NULL, "n_queries"), 40);
    cr_assert_eq(member(r.out, NULL, "rerank"), 1500);
    cr_assert_gt(member(r.out, NULL, "nprobe"), 0);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(member(r.out, "exact", exact[i]), 1, "%s: %s", exact[i], r.out);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(member(r.out, "judged", judged[i]), 1, "%s: %s", judged[i], r.out);
    double p50 = member(r.out, "latency_us", "p50"), p95 = member(r.out, "latency_us", "p95");
    cr_assert(p50 > 0 && p95 >= p50 && member(r.out, "latency_us", "p99") >= p95);
    cr_assert(member(r.out, "latency_us", "mean") > 0);
    cr_assert(member(r.out, NULL, "single_qps") > 0 && member(r.out, NULL, "batch_qps") > 0);
    cr_assert(member(r.out, "bytes_per_vector", "codes") > 0);
    cr_assert_geq(member(r.out, "bytes_per_vector", "store"), 64); /* 16 float32 */
    cr_assert_gt(member(r.out, "bytes_per_vector", "file"), 64);
    cr_assert_gt(member(r.out, "mean", "bytes"), 1500 * 64); /* all rows, and codes */
    cr_assert_geq(member(r.out, "mean", "page_faults_from_disk"), 0);
    cr_assert_eq(count_keys(r.out), 37, "%s", r.out);
    test_run_fini(&r);
}

Test(eval, what_was_not_asked_for_is_absent)
{
    test_run r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --json");
    cr_assert(is_json(r.out) && strstr(r.out, "exact") == NULL && strstr(r.out, "judged") == NULL);
    test_run_fini(&r);
    r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --json -k 10");
    cr_assert(is_json(r.out) && strstr(r.out, "judged") == NULL && strstr(r.out, "@100") == NULL);
    cr_assert(member(r.out, "exact", "recall@10") > 0.5);
    test_run_fini(&r);
    r = type(dir, 0,
             "\"$VQ\" gt b.fbin q.fbin -o g10.ivecs -k 10 -q; "
             "\"$VQ\" eval b.vq q.fbin --gt g10.ivecs --json " EXACT);
    cr_assert(isnan(member(r.out, "exact", "recall@100")) && member(r.out, "exact", "10@100") == 1);
    test_run_fini(&r);
    r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --qrels qrels --json -k 3");
    cr_assert(is_json(r.out) && isnan(member(r.out, "judged", "mrr@10")), "%s", r.out);
    test_run_fini(&r);
}

/* The best 100 by codes are what a second pass over 100 chooses from, but for what integers round
 * in the choice of candidates; over 1,000 there are more of the true ones. */
Test(eval, codes_alone_are_what_a_second_pass_chooses_from)
{
    DONE(dir, "\"$VQ\" gen h.fbin -n 3000 -d 48 --clusters 1 --queries p.fbin --n-queries 40 -q");
    DONE(dir, "\"$VQ\" build h.fbin -o h.vq --codec pq8 --bytes 6 --nlist 2 --store f32 -q; "
              "\"$VQ\" gt h.fbin p.fbin -o h.ibin -q; \"$VQ\" search h.vq p.fbin -k 2 --nprobe all "
              "--rerank 3000 --format tsv | awk '{ print $1, 0, $3, 1 }' >h.qrels");
    test_run r = type(dir, 0,
                      "\"$VQ\" eval h.vq p.fbin --gt h.ibin --qrels h.qrels --json --nprobe all "
                      "--rerank 100");
    double ten = member(r.out, "by_codes", "10@100");
    double two = member(r.out, "by_codes", "recall@100");
    cr_assert(ten > 0.2 && ten < 0.999, "%s", r.out);
    cr_assert_float_eq(ten, member(r.out, "exact", "10@100"), 0.02, "%s", r.out);
    cr_assert_float_eq(two, member(r.out, "judged", "recall@100"), 0.02, "%s", r.out);
    cr_assert_gt(member(r.out, "by_codes", "10@1000"), ten);
    cr_assert_geq(member(r.out, "by_codes", "recall@1000"), two);
    test_run_fini(&r);
    r = type(dir, 0, "\"$VQ\" eval h.vq p.fbin --gt h.ibin --json --nprobe all --rerank 0");
    cr_assert(strstr(r.out, "by_codes") == NULL, "without a second pass there is nothing else");
    test_run_fini(&r);
}

Test(eval, table)
{
    test_run r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --qrels qrels " EXACT);
    static const char *const lines[] = {"exact recall@10       1.0000",
                                        "judged MRR@10         1.0000",
                                        "judged recall@1000    1.0000",
                                        "by codes 10@1000",
                                        "bytes a vector",
                                        "(one thread)"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        cr_assert(strstr(r.out, lines[i]) != NULL, "no '%s' in\n%s", lines[i], r.out);
    test_run_fini(&r);
    PRINTS(dir, "none: codes alone", "\"$VQ\" eval b.vq q.fbin --nprobe all --rerank 0");
    PRINTS(dir, "\"rerank\": 0,", "\"$VQ\" eval b.vq q.fbin --nprobe all --rerank 0 --json");
}

Test(eval, string_ids_and_query_ids)
{
    test_run r = type(dir, 0,
                      "\"$VQ\" eval s.vq q.fbin --gt gt.ibin --ids names --qrels s.qrels "
                      "--query-ids q.ids --json " EXACT);
    cr_assert(member(r.out, "exact", "recall@100") == 1 && member(r.out, "judged", "mrr@10") == 1);
    test_run_fini(&r);
    DONE(dir, "tail -n 20 s.qrels >half");
    PRINTS(dir, "judged              10 queries",
           "\"$VQ\" eval s.vq q.fbin --qrels half --query-ids q.ids");
    DONE(dir, "(cat s.qrels; echo q0 0 missing 1) >more");
    r = type(dir, 0, "\"$VQ\" eval s.vq q.fbin --qrels more --query-ids q.ids --json " EXACT);
    cr_assert_float_eq(member(r.out, "judged", "recall@10"), 1 - 1.0 / 3 / 40, 1e-6);
    test_run_fini(&r);
}

Test(eval, several_indexes)
{
    DONE(dir, "seq 1500 2999 >n.ids; \"$VQ\" build b.fbin -o c.vq --ids n.ids --store f32 -q");
    test_run r = type(dir, 0,
                      "\"$VQ\" eval b.vq c.vq q.fbin --gt gt.ibin --json --nprobe all "
                      "--rerank 3000");
    cr_assert_eq(member(r.out, "exact", "recall@1"), 1); /* the twin has the larger id */
    cr_assert_eq(member(r.out, "exact", "recall@10"), 0.5);
    cr_assert_eq(member(r.out, "exact", "10@100"), 1);
    test_run_fini(&r);
}

Test(eval, sweep)
{
    test_run r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --sweep -q");
    cr_assert(strstr(r.out, "nprobe") != NULL && strstr(r.out, "recall@10") != NULL);
    cr_assert(strstr(r.out, " read ") != NULL);
    cr_assert(r.err[0] == '\0');
    test_run_fini(&r);
    r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --qrels qrels --sweep --json --nprobe 4");
    cr_assert(is_json(r.out) && strstr(r.out, "\"value\": \"mrr@10\"") != NULL, "%s", r.out);
    cr_assert(strstr(r.out, "\"front\": true") != NULL && strstr(r.out, "\"nprobe\": 4,") != NULL);
    cr_assert(strstr(r.out, "\"nprobe\": 8,") == NULL, "nprobe was given");
    test_run_fini(&r);
    REFUSED(dir, 1, "needs 10",
            "\"$VQ\" gt b.fbin q.fbin -o g5.ibin -k 5 -q; "
            "\"$VQ\" eval b.vq q.fbin --gt g5.ibin --sweep");
}

Test(eval, plot)
{
    REFUSED(dir, 3, "gnuplot-nox",
            "PATH=/nonexistent \"$VQ\" eval b.vq q.fbin --gt gt.ibin --plot p.svg");
    cr_assert(!exists(dir, "p.svg"));
    test_run found = test_shell("command -v gnuplot");
    int missing = found.exit_code;
    test_run_fini(&found);
    if (missing) cr_skip_test("no gnuplot");
    PRINTS(dir, "queries/s",
           "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --plot p.svg --rerank 50 --nprobe 2");
    DONE(dir, "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --plot \"it's.svg\" --rerank 50 && "
              "grep -q '<svg' p.svg && grep -q '<svg' \"it's.svg\"");
    REFUSED(dir, 3, "nofolder/p.svg",
            "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --plot nofolder/p.svg --rerank 50 --nprobe 2 "
            "2>&1 >/dev/null | tail -n 1 >&2; \"$VQ\" eval b.vq q.fbin --gt gt.ibin -q "
            "--plot nofolder/p.svg --rerank 50 --nprobe 2 2>/dev/null");
}

Test(eval, files_that_do_not_fit)
{
    REFUSED(dir, 1, "nosuch", "\"$VQ\" eval b.vq q.fbin --gt nosuch.ibin");
    REFUSED(dir, 1, "nosuch", "\"$VQ\" eval b.vq q.fbin --qrels nosuch");
    REFUSED(dir, 1, "queries", "\"$VQ\" eval b.vq b.fbin --gt gt.ibin");
    REFUSED(dir, 1, "--ids FILE", "\"$VQ\" eval s.vq q.fbin --gt gt.ibin");
    REFUSED(
        dir, 1, "not in the index",
        "head -n 99 names >few; seq 1 1401 >>few; \"$VQ\" eval s.vq q.fbin --gt gt.ibin --ids few");
    REFUSED(dir, 1, "lines",
            "head -n 9 names >few; \"$VQ\" eval s.vq q.fbin --gt gt.ibin --ids few");
    REFUSED(dir, 1, "not in the index",
            "seq 5001 6500 >n.ids; \"$VQ\" build b.fbin -o c.vq --ids n.ids -q; "
            "\"$VQ\" eval c.vq q.fbin --gt gt.ibin");
    REFUSED(dir, 1, "--query-ids", "\"$VQ\" eval b.vq q.fbin --qrels s.qrels");
    REFUSED(dir, 1, "no document of the index",
            "\"$VQ\" eval b.vq q.fbin --qrels s.qrels --query-ids q.ids");
    REFUSED(dir, 1, "damaged",
            "echo one two >bad; \"$VQ\" eval b.vq q.fbin --qrels bad || "
            "{ echo vq damaged >&2; exit 1; }");
    REFUSED(dir, 1, "dimensions", "\"$VQ\" gen w.fbin -n 3 -d 3 -q; \"$VQ\" eval b.vq w.fbin");
}

Test(eval, gt)
{
    PRINTS(dir, "the 10 nearest of 40 queries by ip",
           "\"$VQ\" gt b.fbin q.fbin -o g.ivecs -k 10 --metric ip");
    PRINTS(dir, "1760\n", "wc -c <g.ivecs"); /* 40 x (1 + 10) x 4 */
    DONE(dir, "seq 1500 2999 >n.ids; \"$VQ\" gt b.fbin q.fbin -o n.ibin --ids n.ids -q");
    DONE(dir, "\"$VQ\" build b.fbin -o c.vq --ids n.ids --store f32 -q");
    PRINTS(dir, "\"recall@100\": 1,", "\"$VQ\" eval c.vq q.fbin --gt n.ibin --json " EXACT);
    REFUSED(dir, 1, "string ids", "\"$VQ\" gt b.fbin q.fbin -o x.ibin --ids names");
    REFUSED(dir, 1, "40 ids", "seq 40 >few; \"$VQ\" gt b.fbin q.fbin -o x.ibin --ids few");
    REFUSED(dir, 1, "dimensions",
            "\"$VQ\" gen w.fbin -n 3 -d 3 -q; \"$VQ\" gt b.fbin w.fbin -o x.ibin");
    REFUSED(dir, 1, "nosuch", "\"$VQ\" gt nosuch q.fbin -o x.ibin");
    REFUSED(dir, 3, "nofolder", "\"$VQ\" gt b.fbin q.fbin -o nofolder/x.ibin -q");
    cr_assert(!exists(dir, "x.ibin"));
}
