/* SPDX-License-Identifier: Apache-2.0 */
/* test_retrain.c -- vq retrain as it is typed: rows and ids that stay, options, refusals. */
#include "tests/cli/user.h"

static char *dir;

static void open_dir(void)
{
    dir = test_tmpdir();
    DONE(dir, "\"$VQ\" gen b.fbin -n 1500 -d 16 --queries q.fbin --n-queries 600 -q");
    DONE(dir, "seq 1500 2999 | shuf --random-source=b.fbin >n.ids; sed s/^/doc-/ n.ids >s.ids");
}

static void close_dir(void)
{
    test_rmdir(dir);
}

TestSuite(retrain, .init = open_dir, .fini = close_dir);

Test(retrain, one_line_and_a_sound_index)
{
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --metric ip --nlist 9 --codec pq8 --bytes 8 -q");
    static const char begins[] = "r.vq: 1,500 vectors of 16 dimensions, ip, codec pq8 with 8 bytes "
                                 "a vector, 9 lists, store f16, ";
    test_run r = type(dir, 0, "\"$VQ\" retrain b.vq -o r.vq");
    cr_assert(strncmp(r.out, begins, strlen(begins)) == 0, "%s", r.out);
    cr_assert_eq(strchr(r.out, '\n'), r.out + r.out_len - 1, "one line: %s", r.out);
    test_run_fini(&r);
    DONE(dir, "\"$VQ\" check r.vq");
    PRINTS(dir, "\t1\t", "\"$VQ\" search r.vq q.fbin --format tsv");
}

Test(retrain, rows_come_out_as_they_were)
{
    static const char *const stores[] = {"f32", "f16", "i8"};
    static const char *const ids[] = {"", "--ids n.ids", "--ids s.ids"};
    static const char *const all[] = {"$(seq 0 1499)", "$(cat n.ids)", "$(cat s.ids)"};
    for (size_t s = 0; s < 3; s++)
        for (size_t i = 0; i < 3; i++) {
            DONE(dir, "\"$VQ\" build b.fbin -o b.vq --store %s %s -q -f", stores[s], ids[i]);
            DONE(dir, "\"$VQ\" retrain b.vq -o r.vq --codec pq4 --nlist 5 -q -f");
            DONE(dir,
                 "\"$VQ\" get b.vq %s -o 1.fbin && \"$VQ\" get r.vq %s -o 2.fbin && "
                 "cmp 1.fbin 2.fbin",
                 all[i], all[i]);
        }
}

Test(retrain, options_replace_what_the_index_has)
{
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --metric cosine --codec pq8 --bytes 8 --seed 5 "
              "--rotation none --nlist 9 --store f32 -q");
    static const char *const lines[][2] = {
        {"", "\"codec\": \"pq8\""},
        {"", "\"rotation\": \"none\""},
        {"", "\"seed\": 5,"},
        {"", "\"code_bytes\": 8,"},
        {"", "\"nlist\": 9,"},
        {"", "\"metric\": \"cosine\""},
        {"--codec aq8", "\"codec\": \"aq8\""},
        {"--codec pq4", "\"code_bytes\": 8,"}, /* as many as 16 dimensions take */
        {"--codec pq8", "\"code_bytes\": 8,"},
        {"--codec sq8", "\"code_bytes\": 16,"},
        {"--codec flat", "\"code_bytes\": 64,"},
        {"--codec aq8 --bytes 4", "\"code_bytes\": 4,"},
        {"--codec auto", "\"codec\": \"sq8\""},
        {"--bytes 4", "\"code_bytes\": 4,"},
        {"--rotation random", "\"rotation\": \"random\""},
        {"--rotation auto", "\"rotation\": \"pca\""},
        {"--nlist 7", "\"nlist\": 7,"},
        {"--seed 3", "\"seed\": 3,"},
        {"--train kmeans --threads 2 --memory 200M --stats", "\"n\": 1500,"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        DONE(dir, "\"$VQ\" retrain b.vq -o r.vq --force -q %s", lines[i][0]);
        PRINTS(dir, lines[i][1], "\"$VQ\" info r.vq --json");
    }
}

Test(retrain, copies)
{
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --nlist 40 --copies yes -q && \"$VQ\" check b.vq");
    PRINTS(dir, "in a second list", "\"$VQ\" info b.vq");
    DONE(dir, "\"$VQ\" retrain b.vq -o r.vq -f -q && \"$VQ\" check r.vq");
    PRINTS(dir, "in a second list", "\"$VQ\" info r.vq");
    DONE(dir, "\"$VQ\" retrain b.vq -o r.vq --copies no -f -q && \"$VQ\" check r.vq");
    PRINTS(dir, "\"copies\": 0,", "\"$VQ\" info r.vq --json");
}

Test(retrain, taught_by_queries)
{
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --metric ip --codec pq8 --bytes 4 -q");
    DONE(dir, "\"$VQ\" retrain b.vq -o r.vq --queries q.fbin --epochs 1 --loss kl -q");
    PRINTS(dir, "distill", "\"$VQ\" info r.vq");
    DONE(dir, "\"$VQ\" check r.vq");
    DONE(dir, "\"$VQ\" build b.fbin -o l2.vq --codec pq8 --bytes 8 -q");
    DONE(dir, "\"$VQ\" retrain l2.vq -o l2r.vq --queries q.fbin --epochs 1 --loss kl -q");
    PRINTS(dir, "distilled: to", "\"$VQ\" info l2r.vq");
    PRINTS(dir, "e.csv is not written: nothing was distilled",
           "\"$VQ\" build b.fbin -o e.vq --metric ip --codec saq --queries q.fbin --log e.csv");
    REFUSED(dir, 2, "training queries: give them", "\"$VQ\" retrain b.vq -o o.vq --loss kl");
    REFUSED(dir, 2, "that file has another part here",
            "\"$VQ\" retrain b.vq -o o.vq --queries q.fbin --log b.vq");
    REFUSED(dir, 2, "that file has another part here",
            "\"$VQ\" retrain b.vq -o o.vq --queries q.fbin --teacher-cache b.vq");
    DONE(dir, "\"$VQ\" check b.vq");
    REFUSED(dir, 1, "nosuch", "\"$VQ\" retrain b.vq -o o.vq --queries nosuch");
    cr_assert(!exists(dir, "o.vq"));
}

Test(retrain, in_its_own_place)
{
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --ids s.ids -q; \"$VQ\" get b.vq doc-1500 >1");
    REFUSED(dir, 2, "--force", "\"$VQ\" retrain b.vq -o b.vq");
    DONE(dir, "\"$VQ\" retrain b.vq -o ./b.vq --force --nlist 3 -q");
    PRINTS(dir, "\"nlist\": 3,", "\"$VQ\" info b.vq --json");
    DONE(dir, "\"$VQ\" get b.vq doc-1500 | cmp - 1; \"$VQ\" check b.vq");
}

Test(retrain, refusals_leave_nothing)
{
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --store none -q");
    REFUSED(dir, 1, "b.vq: it was built without stored rows (store none); build it anew",
            "\"$VQ\" retrain b.vq -o o.vq");
    REFUSED(dir, 1, "b.fbin", "\"$VQ\" retrain b.fbin -o o.vq");
    REFUSED(dir, 1, "nosuch.vq", "\"$VQ\" retrain nosuch.vq -o o.vq");
    REFUSED(dir, 2, "-o OUT is missing", "\"$VQ\" retrain b.vq");
    REFUSED(dir, 3, "nofolder", "\"$VQ\" retrain b.vq -o nofolder/o.vq");
    PRINTS(dir, "0\n", "ls | grep -c 'o\\.vq' || true");
}
