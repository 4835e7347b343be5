/* SPDX-License-Identifier: Apache-2.0 */
/* vq calibrate, and what search, eval, info and retrain make of it. */
#include "tests/cli/user.h"

#define MAKE                                                                                       \
    "\"$VQ\" gen a.fbin -n 2000 -d 16 --clusters 30 && \"$VQ\" build a.fbin -o x.vq -q && "        \
    "\"$VQ\" gen q.fbin -n 400 -d 16 --clusters 30 && "                                            \
    "seq 0 399 | awk '{print \"q\" $1 > \"q.ids\"; print \"q\" $1, 0, $1, 1 > \"qrels\"}' && "

/* Each query is a stored vector: that one is relevant, and nothing else is. */
Test(calibrate, cuts, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "\"$VQ\" info x.vq --digest >1");
    REFUSED(dir, 1, "vq calibrate", "\"$VQ\" search x.vq q.fbin --min-relevance 0.5");
    REFUSED(dir, 1, "vq calibrate", "\"$VQ\" search x.vq q.fbin --min-relevance best");
    REFUSED(dir, 1, "vq calibrate", "\"$VQ\" search x.vq q.fbin --relevance");
    REFUSED(dir, 1, "vq calibrate",
            "\"$VQ\" eval x.vq q.fbin --qrels qrels --query-ids q.ids "
            "--min-relevance 0.5");
    PRINTS(dir, "x.vq: calibrated with 360 queries",
           "\"$VQ\" calibrate x.vq --queries q.fbin --qrels qrels --query-ids q.ids");
    DONE(dir, "\"$VQ\" info x.vq --digest | cmp - 1 && \"$VQ\" check x.vq -q");
    PRINTS(dir, "with 360 queries, the first 10 answers", "\"$VQ\" info x.vq");
    test_run r = type(dir, 0, "\"$VQ\" info x.vq --json");
    cr_assert(is_json(r.out) && strstr(r.out, "\"calibrated\": {") != NULL, "%s", r.out);
    test_run_fini(&r);
    r = type(dir, 0,
             "\"$VQ\" calibrate x.vq --queries q.fbin --qrels qrels --query-ids q.ids --json");
    cr_assert(is_json(r.out) && strstr(r.out, "\"judges\": 40,") != NULL, "%s", r.out);
    test_run_fini(&r);
    /* of ten answers each the one at distance 0 stays */
    DONE(dir, "\"$VQ\" search x.vq q.fbin --format tsv >all && "
              "\"$VQ\" search x.vq q.fbin --format tsv --min-relevance best >some && "
              "test $(wc -l <all) = 4000 && test $(wc -l <some) = 400 && "
              "awk '$2 == 1' all | cmp - some");
    DONE(dir, "\"$VQ\" search x.vq q.fbin --format tsv --relevance | cut -f 1-4 | cmp - all && "
              "\"$VQ\" search x.vq q.fbin --format tsv --relevance | "
              "awk '{exit !(NF == 5 && $5 >= 0 && $5 <= 1)}'");
    r = type(dir, 0, "\"$VQ\" search x.vq --like 7 --relevance --format jsonl");
    cr_assert(is_json(r.out) && strstr(r.out, "\"relevance\": ") != NULL, "%s", r.out);
    test_run_fini(&r);
    PRINTS(dir, "precision 1.0000, recall 1.0000, F1 1.0000  (relevance of",
           "\"$VQ\" eval x.vq q.fbin --qrels qrels --query-ids q.ids --min-relevance best");
    r = type(dir, 0,
             "\"$VQ\" eval x.vq q.fbin --qrels qrels --query-ids q.ids --min-relevance 0.5 "
             "--json");
    cr_assert(is_json(r.out) && strstr(r.out, "\"fixed_score\": {") != NULL, "%s", r.out);
    test_run_fini(&r);
    DONE(dir, "seq 5000 5399 >p.ids && \"$VQ\" build q.fbin -o p.vq -q --model x.vq --ids p.ids && "
              "\"$VQ\" merge x.vq p.vq -o m.vq -q");
    PRINTS(dir, "with 360 queries, the first 10 answers", "\"$VQ\" info m.vq");
    PRINTS(dir, "what x.vq knew of relevance is not in it", "\"$VQ\" merge p.vq x.vq -o n.vq");
    REFUSED(dir, 1, "is not calibrated", "\"$VQ\" search n.vq q.fbin --min-relevance 0.5");
    DONE(dir,
         "awk '{print $1, 0, $3, 0}' qrels >nothing && \"$VQ\" eval x.vq q.fbin --qrels nothing "
         "--query-ids q.ids --min-relevance 0.5 >1 && ! grep -i -e nan -e cuts 1");
    PRINTS(dir, "what x.vq knew of relevance is not in it", "\"$VQ\" retrain x.vq -o y.vq");
    REFUSED(dir, 1, "is not calibrated", "\"$VQ\" search y.vq q.fbin --min-relevance 0.5");
    test_rmdir(dir);
}

Test(calibrate, refused, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "awk '{print $1, 0, $3 + 100000, 1}' qrels >elsewhere && "
                   "awk '{print $1, 0, $3, 0}' qrels >nothing && "
                   "awk '{print $1, 0, ($3 + 1000) %% 2000, 1}' qrels >wrong");
    REFUSED(dir, 2, "--queries FILE and --qrels FILE are needed", "\"$VQ\" calibrate x.vq");
    REFUSED(dir, 2, "1 --queries, 2 --qrels",
            "\"$VQ\" calibrate x.vq --queries q.fbin --qrels qrels --qrels qrels");
    REFUSED(dir, 2, "2 --queries, 1 --query-ids",
            "\"$VQ\" calibrate x.vq --queries q.fbin --queries q.fbin --qrels qrels --qrels qrels "
            "--query-ids q.ids");
    REFUSED(dir, 1, "judges none of the queries",
            "\"$VQ\" calibrate x.vq --queries q.fbin --qrels qrels");
    REFUSED(dir, 1, "judges no document of the index",
            "\"$VQ\" calibrate x.vq --queries q.fbin --qrels elsewhere --query-ids q.ids");
    REFUSED(dir, 1, "nothing is judged relevant",
            "\"$VQ\" calibrate x.vq --queries q.fbin --qrels nothing --query-ids q.ids");
    REFUSED(dir, 1, "none is among the first 2 answers",
            "\"$VQ\" calibrate x.vq --queries q.fbin --qrels wrong --query-ids q.ids --depth 2");
    REFUSED(dir, 1, "No such file",
            "\"$VQ\" calibrate none.vq --queries q.fbin --qrels qrels --query-ids q.ids");
    REFUSED(dir, 2, "--min-relevance needs", "\"$VQ\" search x.vq q.fbin --min-relevance 1.5");
    REFUSED(dir, 2, "cuts of their own",
            "\"$VQ\" search x.vq q.fbin --max-distance 1 --min-relevance 0.5");
    REFUSED(dir, 2, "--relevance is for the formats",
            "\"$VQ\" search x.vq q.fbin --relevance --format trec");
    REFUSED(dir, 2, "--min-relevance goes with --qrels",
            "\"$VQ\" eval x.vq q.fbin --min-relevance 0.5");
    REFUSED(dir, 2, "one index",
            "cp x.vq y.vq && \"$VQ\" search x.vq y.vq q.fbin --min-relevance best");
    REFUSED(dir, 2, "one index", "\"$VQ\" search x.vq y.vq q.fbin --min-relevance 0.5");
    REFUSED(dir, 2, "one index", "\"$VQ\" search x.vq y.vq q.fbin --relevance");
    test_rmdir(dir);
}
