/* SPDX-License-Identifier: Apache-2.0 */
/* test_lessons.c -- vq build that learns from queries, as it is typed. */
#include "tests/cli/user.h"

static char *dir;

/* What is common to the lines: few codes, so that there is something to learn. */
#define LEARN                                                                                      \
    "\"$VQ\" build b.fbin --metric ip --codec pq8 --bytes 4 --rotation pca --nlist 8 --epochs 2 "  \
    "--threads 1 -f "

static void open_dir(void)
{
    dir = test_tmpdir();
    DONE(dir, "\"$VQ\" gen b.fbin -n 1500 -d 16 --queries q.fbin --n-queries 300 -q");
}

static void close_dir(void)
{
    test_rmdir(dir);
}

TestSuite(lessons, .init = open_dir, .fini = close_dir);

/* The rows first .. first + n - 1 of q.fbin as a file. */
static void cut(const char *name, uint32_t first, uint32_t n)
{
    size_t len;
    char *path = test_path(dir, "q.fbin");
    uint8_t *all = test_read(path, &len);
    cr_assert_eq(len, 8u + 300 * 16 * 4);
    write_fbin(dir, name, (const float *)(const void *)(all + 8) + (size_t)first * 16, n, 16);
    free(all);
    free(path);
}

Test(lessons, several_files_of_queries_are_one)
{
    cut("first.fbin", 0, 120), cut("second.fbin", 120, 180);
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin");
    DONE(dir, LEARN "-o 2.vq -q --queries first.fbin --queries=second.fbin");
    DONE(dir, LEARN "-o 3.vq -q --queries second.fbin --queries first.fbin");
    DONE(dir, "for i in 1 2 3; do \"$VQ\" info --digest $i.vq >$i || exit; done");
    DONE(dir, "cmp 1 2 && ! cmp -s 1 3");
    REFUSED(dir, 2, "--queries is given more than 64 times",
            LEARN "-o 4.vq $(yes -- --queries=q.fbin | head -65)");
    REFUSED(dir, 1, "nosuch.fbin", LEARN "-o 4.vq --queries q.fbin --queries nosuch.fbin");
}

Test(lessons, a_row_and_a_line_an_epoch)
{
    DONE(dir, LEARN "-o 1.vq --queries q.fbin --log t.csv 2>lines");
    PRINTS(dir, "round,epoch,loss,overlap,seconds\n1,1,", "cat t.csv");
    /* a second round only if the first has brought something */
    DONE(dir, "tail -n +2 t.csv | cut -d, -f1,2 | tr '\\n' ' ' | grep -qxE '1,1 1,2 (2,1 2,2 )?'");
    DONE(dir, "awk -F, 'NR > 1 && (NF != 5 || $3 <= 0 || $4 <= 0 || $4 > 1) {exit 1}' t.csv");
    DONE(dir,
         "test $(grep -c '^round [12], epoch [12]: loss' lines) = $(tail -n +2 t.csv | wc -l)");
    test_run r = type(dir, 0, LEARN "-o 1.vq --queries q.fbin --log t.csv -q");
    cr_assert(r.out_len == 0 && r.err[0] == '\0', "'%s' '%s'", r.out, r.err);
    test_run_fini(&r);
    PRINTS(dir, "1\n", "grep -c ^round, t.csv"); /* written anew */
}

Test(lessons, a_log_over_another_file)
{
    REFUSED(dir, 2, "--log q.fbin", LEARN "-o 1.vq --queries q.fbin --log q.fbin");
    REFUSED(dir, 2, "--log ./b.fbin", LEARN "-o 1.vq --queries q.fbin --log ./b.fbin");
    REFUSED(dir, 2, "--log 1.vq", LEARN "-o 1.vq --queries q.fbin --log 1.vq");
    REFUSED(dir, 3, "nofolder/t.csv", LEARN "-o 1.vq --queries q.fbin --log nofolder/t.csv");
}

Test(lessons, temperature_and_map_arrive)
{
    static const char *const lines[] = {"", "--temperature auto", "--temperature 7.5",
                                        "--learn-query-map yes", "--learn-query-map no"};
    static const bool same[] = {true, true, false, true, false};
    for (size_t i = 0; i < 5; i++) {
        DONE(dir, LEARN "-o 1.vq -q --queries q.fbin %s", lines[i]);
        DONE(dir, "\"$VQ\" info --digest 1.vq >%zu; %s cmp -s 0 %zu", i, same[i] ? "" : "!", i);
    }
    REFUSED(dir, 2, "--temperature needs a number", LEARN "-o 1.vq --temperature=-1");
    REFUSED(dir, 2, "--temperature needs a number above 0", LEARN "-o 1.vq --temperature 0");
    REFUSED(dir, 2, "or 'auto'", LEARN "-o 1.vq --temperature hot");
}

Test(lessons, answers_kept_between_builds)
{
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin --teacher-cache c");
    DONE(dir, "\"$VQ\" info --digest 1.vq >1; stat -c '%%i %%y' c >before; cp c first");
    DONE(dir, LEARN "-o 2.vq -q --queries q.fbin --teacher-cache c; \"$VQ\" info --digest 2.vq >2");
    DONE(dir, "stat -c '%%i %%y' c | cmp - before && cmp 1 2");
    DONE(dir, LEARN "-o 2.vq -q --queries q.fbin --teacher-cache c.zst --stats | grep exact");
    DONE(dir, LEARN "-o 2.vq -q --queries q.fbin --teacher-cache c.zst --stats >stats");
    DONE(dir, "! grep exact stats && zstd -dc c.zst | cmp - c");
    cut("some.fbin", 0, 120);
    DONE(dir, LEARN "-o 2.vq -q --queries some.fbin --teacher-cache c && ! cmp -s c first");
    DONE(dir, LEARN "-o 2.vq -q --queries q.fbin --teacher-cache c && cmp c first");
    REFUSED(dir, 1, "q.fbin: this is no teacher cache",
            "cp q.fbin saved; " LEARN "-o 3.vq --queries some.fbin --teacher-cache q.fbin");
    DONE(dir, "cmp q.fbin saved");
    cr_assert(!exists(dir, "3.vq"));
    REFUSED(dir, 2, "--teacher-cache ./b.fbin",
            LEARN "-o 3.vq --queries q.fbin --teacher-cache ./b.fbin");
    REFUSED(dir, 3, "nofolder", LEARN "-o 3.vq --queries q.fbin --teacher-cache nofolder/c");
}

/* A run of all queries: the exact best, by the ids that the options say. */
#define RUN                                                                                        \
    "\"$VQ\" build b.fbin -o flat.vq --codec flat --metric ip -f -q %s && "                        \
    "\"$VQ\" search flat.vq q.fbin -k 100 --format trec >%s"

Test(lessons, another_model_s_scores)
{
    DONE(dir, RUN, "", "run");
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin --teacher run && \"$VQ\" check 1.vq");
    DONE(dir, "seq -f n%%.0f 0 1499 >names; seq 2000 -1 501 >numbers");
    DONE(dir, RUN, "--ids names", "run.names");
    DONE(dir, RUN, "--ids numbers", "run.numbers");
    DONE(dir, LEARN "-o 2.vq -q --queries q.fbin --teacher run.names --ids names --log 2.csv");
    DONE(dir, LEARN "-o 3.vq -q --queries q.fbin --teacher run.numbers --ids numbers --log 3.csv");
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin --teacher run --log 1.csv");
    DONE(dir, "for i in 1 2 3; do cut -d, -f1-4 $i.csv >$i; done; cmp 1 2 && cmp 1 3");
    PRINTS(dir, "queries 299 instead of 300",
           "sed '/^7 /d' run >less; " LEARN "-o 1.vq --queries q.fbin --teacher less");
}

Test(lessons, scores_of_what_is_not_there)
{
    static const char *const bad[][2] = {
        {"s/^0 Q0 [0-9]*/0 Q0 1500/", "bad:2: there is no vector '1500'"},
        {"s/^0 Q0 [0-9]*/0 Q0 x7/", "bad:2: there is no vector 'x7'"},
        {"s/^0 /300 /", "bad:2: '300' is no training query"},
        {"s/^0 /q0 /", "bad:2: 'q0' is no training query"},
        {"s/[-0-9.e+]* vq$/1e99 vq/", "bad:2: the score 1e+99 is too large"},
        {"s/vq$//", "bad:2: 5 fields"},
    };
    DONE(dir, RUN, "", "run");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        DONE(dir, "sed '2%s' run >bad", bad[i][0]);
        REFUSED(dir, 1, bad[i][1], LEARN "-o 1.vq --queries q.fbin --teacher bad");
    }
    REFUSED(dir, 1, "no line", ": >bad; " LEARN "-o 1.vq --queries q.fbin --teacher bad");
    DONE(dir, "seq -f n%%.0f 0 1499 >names");
    REFUSED(dir, 1, "in names", LEARN "-o 1.vq --queries q.fbin --teacher run --ids names");
    REFUSED(dir, 1, "nosuch", LEARN "-o 1.vq --queries q.fbin --teacher nosuch");
    cr_assert(!exists(dir, "1.vq"));
}

Test(lessons, labels)
{
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin --log 0.csv");
    DONE(dir, "for i in $(seq 0 299); do echo $i 0 $((i * 5)) 1; echo $i 0 7 0; done >qrels");
    DONE(dir, "seq -f n%%.0f 0 1499 >names; sed 's/ 0 / 0 n/' qrels >qrels.names");
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin --qrels qrels --log 1.csv");
    DONE(dir, LEARN "-o 2.vq -q --queries q.fbin --qrels qrels.names --ids names --log 2.csv");
    DONE(dir, "for i in 0 1 2; do cut -d, -f1-4 $i.csv >$i; done; cmp 1 2 && ! cmp -s 0 1");
    DONE(dir, RUN, "", "run");
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin --teacher run --qrels qrels --loss margin-mse");
    REFUSED(dir, 1, "bad:3: there is no vector '1500'",
            "sed '3s/ 0 [0-9]*/ 0 1500/' qrels >bad; " LEARN
            "-o 3.vq --queries q.fbin --qrels bad");
    REFUSED(dir, 1, "bad:3: '300' is no training query",
            "sed '3s/^1 /300 /' qrels >bad; " LEARN "-o 3.vq --queries q.fbin --qrels bad");
    REFUSED(dir, 1, "no grade is above 0",
            "sed 's/1$/0/' qrels >bad; " LEARN "-o 3.vq --queries q.fbin --qrels bad");
    cr_assert(!exists(dir, "3.vq"));
}

Test(lessons, ids_of_queries)
{
    DONE(dir, RUN, "", "run");
    DONE(dir, "seq -f 'q%%g' 0 299 >qids; sed 's/^/q/' run >run.q");
    DONE(dir, LEARN "-o 1.vq -q --queries q.fbin --teacher run");
    DONE(dir, LEARN "-o 2.vq -q --queries q.fbin --teacher run.q --query-ids qids; cmp 1.vq 2.vq");
    REFUSED(dir, 1, "run:", LEARN "-o 3.vq --queries q.fbin --teacher run --query-ids qids");
    DONE(dir, "head -n 299 qids >few; sed 2s/q1/q0/ qids >twice");
    REFUSED(dir, 1, "299 ids for 300",
            LEARN "-o 3.vq --queries q.fbin --teacher run.q --query-ids few");
    REFUSED(dir, 1, "twice", LEARN "-o 3.vq --queries q.fbin --teacher run.q --query-ids twice");
    REFUSED(dir, 2, "--teacher or --qrels", LEARN "-o 3.vq --queries q.fbin --query-ids qids");
    cr_assert(!exists(dir, "3.vq"));
}

Test(lessons, a_refused_build_leaves_the_log)
{
    DONE(dir, "echo old >t.csv; echo old >want");
    REFUSED(dir, 2, "they cannot with",
            "\"$VQ\" build b.fbin -o 1.vq --codec sq8 --queries q.fbin --log t.csv");
    DONE(dir, "cmp t.csv want");
    REFUSED(dir, 3, "/dev/full", LEARN "-o 1.vq --queries q.fbin -q --log /dev/full");
    REFUSED(dir, 2, "another part", LEARN "-o 1.vq --queries q.fbin --log ./1.vq");
    cr_assert(!exists(dir, "1.vq"));
}

Test(lessons, queries_of_another_shape)
{
    DONE(dir, "\"$VQ\" gen n.fbin -n 20 -d 8");
    REFUSED(dir, 1, "n.fbin: queries of 8 dimensions for vectors of 16",
            LEARN "-o 1.vq --queries n.fbin");
}

Test(lessons, nothing_to_learn_from)
{
    static const char *const options[] = {
        "--log t.csv",       "--temperature 2",  "--learn-query-map no", "--loss kl",
        "--teacher-cache c", "--teacher b.fbin", "--qrels b.fbin"};
    enum { OF_DISTILL = 4 };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        REFUSED(dir, 2, "--queries", "\"$VQ\" build b.fbin -o 1.vq %s", options[i]);
        if (i < OF_DISTILL)
            REFUSED(dir, 2, "distill",
                    "\"$VQ\" build b.fbin -o 1.vq --metric ip --codec pq8 --queries q.fbin --train "
                    "query-aware %s",
                    options[i]);
        REFUSED(dir, 2, "distill",
                "\"$VQ\" build b.fbin -o 1.vq --metric ip --codec pq8 --queries q.fbin --train "
                "kmeans %s",
                options[i]);
        cr_assert(!exists(dir, "1.vq") && !exists(dir, "t.csv") && !exists(dir, "c"));
    }
}
