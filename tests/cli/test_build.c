/* SPDX-License-Identifier: Apache-2.0 */
/* test_build.c -- vq build as it is typed: options, wrong input, what is left behind. */
#include "tests/cli/user.h"

#include <math.h>
#include <unistd.h>

static char *dir;

static void open_dir(void)
{
    dir = test_tmpdir();
    DONE(dir, "\"$VQ\" gen b.fbin -n 1500 -d 16 --queries q.fbin --n-queries 20 -q");
}

static void close_dir(void)
{
    test_rmdir(dir);
}

TestSuite(build, .init = open_dir, .fini = close_dir);

Test(build, defaults_say_what_was_chosen)
{
    test_run r = type(dir, 0, "\"$VQ\" build b.fbin -o b.vq");
    cr_assert(strncmp(r.out, "b.vq: 1,500 vectors of 16 dimensions, l2, codec ", 48) == 0, "%s",
              r.out);
    cr_assert_eq(strchr(r.out, '\n'), r.out + r.out_len - 1, "one line: %s", r.out);
    test_run_fini(&r);
    PRINTS(dir, "chosen", "\"$VQ\" info b.vq");
}

Test(build, what_is_not_as_asked_is_said)
{
    PRINTS(dir, "\n  nlist 1500 instead of 9999: ", "\"$VQ\" build b.fbin -o o.vq --nlist 9999 -f");
    PRINTS(dir, "\n  bytes 20 instead of 99: ", "\"$VQ\" build b.fbin -o o.vq --bytes 99 -f");
    REFUSED(dir, 2, "7 bytes less 4 for the factor of l2",
            "\"$VQ\" build b.fbin -o o.vq --codec sq8 --bytes 7 -f");
}

/* l2 where cosine would do more: said only of vectors that all have one length. */
Test(build, vectors_of_one_length_are_better_off_with_cosine)
{
    enum { N = 400, D = 8 };
    static const char line[] = "\n  metric cosine instead of l2 would rank alike";
    static float rows[N * D];
    vq_rng rng;
    vq_rng_init(&rng, 5, 0);
    fill_normal(&rng, rows, N * D);
    for (size_t i = 0; i < N; i++) {
        float *row = rows + i * D, sq = 0.0f;
        for (size_t j = 0; j < D; j++) sq += row[j] * row[j];
        for (size_t j = 0; j < D; j++) row[j] *= 3.0f / sqrtf(sq);
    }
    write_fbin(dir, "sphere.fbin", rows, N, D);
    PRINTS(dir, line, "\"$VQ\" build sphere.fbin -o s.vq");
    for (size_t j = 0; j < D; j++) rows[j] *= 1.1f;
    write_fbin(dir, "nearly.fbin", rows, N, D);
    static const char *const others[] = {"nearly.fbin", "sphere.fbin --metric ip",
                                         "sphere.fbin --metric cosine"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        test_run r = type(dir, 0, "\"$VQ\" build %s -o s.vq -f", others[i]);
        cr_assert(strstr(r.out, line) == NULL, "%s: %s", others[i], r.out);
        test_run_fini(&r);
    }
}

Test(build, quiet_and_stats)
{
    test_run r = type(dir, 0, "\"$VQ\" build b.fbin -o b.vq --quiet");
    cr_assert(r.out_len == 0 && r.err[0] == '\0', "'%s' '%s'", r.out, r.err);
    test_run_fini(&r);
    PRINTS(dir, "peak memory", "\"$VQ\" build b.fbin -o b2.vq --stats");
}

Test(build, every_choice_of_every_option)
{
    static const char *const lines[] = {
        "--metric l2",       "--metric ip",     "--metric cosine", "--codec auto",
        "--codec pq4",       "--codec pq8",     "--codec sq8",     "--codec flat",
        "--bytes 8",         "--rotation none", "--rotation pca",  "--rotation opq --codec pq8",
        "--rotation random", "--nlist 7",       "--store f32",     "--store f16",
        "--store none",      "--train kmeans",  "--seed 7",        "--threads 2",
        "--memory 200M",     "--skip-bad",      "--codec aq8",     "--copies auto",
        "--copies yes",      "--copies no",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        DONE(dir, "\"$VQ\" build b.fbin -o o.vq --force -q %s", lines[i]);
        PRINTS(dir, "\t1\t", "\"$VQ\" search o.vq q.fbin --format tsv");
    }
}

Test(build, rows_of_bytes_stay_bytes)
{
    DONE(dir, "\"$VQ\" gen i.i8bin -n 300 -d 8 -q; \"$VQ\" gen u.u8bin -n 300 -d 8 -q");
    DONE(dir, "\"$VQ\" build i.i8bin -o i.vq --store i8 -q; \"$VQ\" build u.u8bin -o u.vq -q");
    PRINTS(dir, "\"store\": \"i8\"", "\"$VQ\" info i.vq --json");
    PRINTS(dir, "\"store\": \"u8\"", "\"$VQ\" info u.vq --json");
    DONE(dir, "\"$VQ\" get i.vq $(seq 0 299) -o o.i8bin; cmp i.i8bin o.i8bin");
    DONE(dir, "\"$VQ\" get u.vq $(seq 0 299) -o o.u8bin; cmp u.u8bin o.u8bin");
    DONE(dir, "\"$VQ\" build b.fbin -o f.vq --store i8 -q"); /* floats by one scale */
    PRINTS(dir, "\"store\": \"i8\"", "\"$VQ\" info f.vq --json");
    REFUSED(dir, 2, "store i8", "\"$VQ\" build u.u8bin -o o.vq --store i8");
}

Test(build, options_arrive)
{
    DONE(dir, "\"$VQ\" build b.fbin -o o.vq -q --metric ip --codec sq8 --rotation none --nlist 9 "
              "--store f32 --seed 12");
    static const char *const members[] = {
        "\"metric\": \"ip\"", "\"codec\": \"sq8\"", "\"rotation\": \"none\"",
        "\"nlist\": 9,",      "\"store\": \"f32\"", "\"seed\": 12,",
        "\"n\": 1500,",       "\"d\": 16,",         "\"string_ids\": false"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        PRINTS(dir, members[i], "\"$VQ\" info o.vq --json");
}

Test(build, the_same_for_any_number_of_threads_and_any_memory)
{
    DONE(dir, "\"$VQ\" build b.fbin -o 1.vq -q --threads 1");
    DONE(dir, "\"$VQ\" build b.fbin -o 2.vq -q --threads 2 --memory 100M");
    DONE(dir, "\"$VQ\" build - <b.fbin -o 3.vq -q");
    DONE(dir, "\"$VQ\" info --digest 1.vq >1; \"$VQ\" info --digest 2.vq >2; "
              "\"$VQ\" info --digest 3.vq >3; cmp 1 2 && cmp 1 3");
    PRINTS(dir, "32\n", "tr -d '\\n' <1 | wc -c");
}

Test(build, output_that_exists)
{
    DONE(dir, "echo precious >b.vq");
    REFUSED(dir, 2, "--force", "\"$VQ\" build b.fbin -o b.vq");
    PRINTS(dir, "precious", "cat b.vq");
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --force -q");
    DONE(dir, "\"$VQ\" check b.vq");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" build b.fbin -o ./b.fbin --force");
    DONE(dir, "ln b.fbin c.fbin");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" build b.fbin -o c.fbin --force");
}

Test(build, wrong_input_leaves_nothing)
{
    REFUSED(dir, 1, "nosuch.fbin", "\"$VQ\" build nosuch.fbin -o o.vq");
    REFUSED(dir, 1, "short.fbin",
            "head -c 5000 b.fbin >short.fbin; \"$VQ\" build short.fbin -o o.vq");
    REFUSED(dir, 1, "text.fbin",
            "echo this is no file of vectors >text.fbin; "
            "\"$VQ\" build text.fbin -o o.vq");
    REFUSED(dir, 1, "empty.fbin", ": >empty.fbin; \"$VQ\" build empty.fbin -o o.vq");
    REFUSED(dir, 3, "nofolder", "\"$VQ\" build b.fbin -o nofolder/o.vq");
    PRINTS(dir, "0\n", "ls | grep -c 'o\\.vq' || true");
}

/* What failed is told by the name that was asked for, not by that of the file on the way to it. */
Test(build, a_limit_of_file_sizes)
{
    REFUSED(dir, 3, "full.vq: ", "ulimit -f 8; \"$VQ\" build b.fbin -o full.vq");
    REFUSED(dir, 3, "full.npy: ", "ulimit -f 8; \"$VQ\" convert b.fbin full.npy");
    PRINTS(dir, "0\n", "ls | grep -c 'full' || true");
}

Test(build, a_folder_that_must_not_be_written)
{
    if (geteuid() == 0) cr_skip_test("root may write everywhere");
    REFUSED(dir, 3, "ro/o.vq", "mkdir ro && chmod 555 ro && \"$VQ\" build b.fbin -o ro/o.vq");
    DONE(dir, "chmod 755 ro");
}

Test(build, rows_that_are_not_finite)
{
    float rows[5 * 2] = {0, 1, 2, 3, NAN, 5, 6, 7, 8, INFINITY};
    write_fbin(dir, "nan.fbin", rows, 5, 2);
    REFUSED(dir, 1, "2", "\"$VQ\" build nan.fbin -o o.vq");
    cr_assert(!exists(dir, "o.vq"));
    PRINTS(dir, "2 bad rows left out", "\"$VQ\" build nan.fbin -o o.vq --skip-bad");
    PRINTS(dir, "\"n\": 3,", "\"$VQ\" info o.vq --json");
}

Test(build, ids)
{
    DONE(dir, "seq 1500 2999 >n.ids; sed s/^/doc-/ n.ids >s.ids; head -n 7 n.ids >few.ids");
    DONE(dir,
         "sed 's/^1501$/1500/' n.ids >twice.ids; sed 's/^doc-1501$/doc-1500/' s.ids >stwice.ids");
    DONE(dir, "\"$VQ\" build b.fbin -o n.vq --ids n.ids -q");
    PRINTS(dir, "number ids", "\"$VQ\" info n.vq");
    DONE(dir,
         "\"$VQ\" get n.vq 1500 >1; \"$VQ\" build b.fbin -o p.vq -q; \"$VQ\" get p.vq 0 | cmp - 1");
    DONE(dir, "\"$VQ\" build b.fbin -o s.vq --ids s.ids -q");
    PRINTS(dir, "string ids", "\"$VQ\" info s.vq");
    DONE(dir, "\"$VQ\" get s.vq doc-1500 | cmp - 1");
    REFUSED(dir, 1, "few.ids has 7 ids", "\"$VQ\" build b.fbin -o o.vq --ids few.ids");
    REFUSED(dir, 1, "1500", "\"$VQ\" build b.fbin -o o.vq --ids twice.ids");
    REFUSED(dir, 1, "doc-1500", "\"$VQ\" build b.fbin -o o.vq --ids stwice.ids");
    REFUSED(dir, 1, "nosuch.ids", "\"$VQ\" build b.fbin -o o.vq --ids nosuch.ids");
    cr_assert(!exists(dir, "o.vq"));
}

Test(build, small_and_odd_data)
{
    float zero[6 * 3] = {0};
    write_fbin(dir, "one.fbin", zero, 1, 1);
    write_fbin(dir, "same.fbin", zero, 6, 3);
    DONE(dir,
         "\"$VQ\" build one.fbin -o one.vq && \"$VQ\" build same.fbin -o same.vq --metric cosine");
    PRINTS(dir, "0\t1\t0\t0\n", "\"$VQ\" search one.vq one.fbin --format tsv");
    PRINTS(dir, "6\n", "\"$VQ\" search --like 0 same.vq --format tsv | wc -l");
}

Test(build, bits_a_coordinate)
{
    DONE(dir, "\"$VQ\" build b.fbin -o s.vq --bits 6 -q");
    PRINTS(dir, "saq", "\"$VQ\" info s.vq");
    PRINTS(dir, "10\n", "\"$VQ\" search --like 7 s.vq --bars 4 --format tsv | wc -l");
    DONE(dir, "\"$VQ\" retrain s.vq -o r.vq --codec rabitq --bits 2 -q; \"$VQ\" check r.vq -q");
    PRINTS(dir, "rabitq", "\"$VQ\" info r.vq");
    REFUSED(dir, 2, "bits", "\"$VQ\" build b.fbin -o o.vq --codec pq8 --bits 4");
    REFUSED(dir, 2, "bits", "\"$VQ\" build b.fbin -o o.vq --bits 0.1");
    REFUSED(dir, 2, "--bits needs a number above 0", "\"$VQ\" build b.fbin -o o.vq --bits 0");
    REFUSED(dir, 2, "bytes", "\"$VQ\" build b.fbin -o o.vq --bits 2 --bytes 40");
    cr_assert(!exists(dir, "o.vq"));
}

Test(build, an_interrupt_leaves_nothing)
{
    DONE(dir, "\"$VQ\" gen big.fbin -n 60000 -d 128 -q");
    test_run r =
        type(dir, 130,
             "timeout --foreground --preserve-status -s INT 0.6 \"$VQ\" build big.fbin -o big.vq "
             "--nlist 6000 --rotation opq --threads 1");
    test_run_fini(&r);
    cr_assert(!exists(dir, "big.vq"));
    PRINTS(dir, "0\n", "ls | grep -c 'big\\.vq' || true");
}
