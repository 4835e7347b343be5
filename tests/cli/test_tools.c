/* SPDX-License-Identifier: Apache-2.0 */
/* test_tools.c -- vq gen, convert, info, check and get as they are typed. */
#include "tests/cli/user.h"

#include <math.h>

static char *dir;

static void open_dir(void)
{
    dir = test_tmpdir();
    DONE(dir, "\"$VQ\" gen b.fbin -n 800 -d 10 --queries q.fbin --n-queries 30 -q");
    DONE(dir, "\"$VQ\" build b.fbin -o b.vq --store f32 -q");
}

static void close_dir(void)
{
    test_rmdir(dir);
}

TestSuite(tools, .init = open_dir, .fini = close_dir);

Test(tools, gen_is_seeded_and_a_longer_file_begins_with_the_shorter)
{
    DONE(dir, "\"$VQ\" gen b2.fbin -n 800 -d 10 -q && cmp b.fbin b2.fbin");
    DONE(dir, "\"$VQ\" gen c.fbin -n 800 -d 10 --seed 2 -q && ! cmp -s b.fbin c.fbin");
    DONE(dir, "\"$VQ\" gen 10.fbin -n 10 -d 7 --clusters 5 -q; \"$VQ\" gen 20.fbin -n 20 -d 7 "
              "--clusters 5 -q; tail -c +5 10.fbin >1; tail -c +5 20.fbin | head -c 284 | cmp - 1");
    PRINTS(dir, "12 vectors of 3 dimensions in 2 clusters",
           "\"$VQ\" gen x.npy.zst -n 12 -d 3 --clusters 2 --noise 0.1");
}

Test(tools, gen_writes_every_format)
{
    static const char *const formats[] = {"fvecs", "bvecs", "fbin",     "u8bin",
                                          "i8bin", "npy",   "i8bin.zst"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        DONE(dir, "\"$VQ\" gen x.%s -n 50 -d 9 -q --noise 3", formats[i]);
        PRINTS(dir, "y.fvecs: 50 vectors of 9 dimensions", "\"$VQ\" convert x.%s y.fvecs",
               formats[i]);
    }
    REFUSED(dir, 2, "x.xyz", "\"$VQ\" gen x.xyz -n 5 -d 2");
    REFUSED(dir, 3, "nofolder", "\"$VQ\" gen nofolder/x.fbin -n 5 -d 2");
    /* what is no file stays what it is */
    DONE(dir, "mkfifo pipe.fbin && \"$VQ\" gen a.fbin -n 50 -d 9 -q");
    REFUSED(dir, 3, "a device or a pipe", "\"$VQ\" gen pipe.fbin -n 5 -d 2");
    REFUSED(dir, 3, "a device or a pipe", "\"$VQ\" build a.fbin -o pipe.fbin -f");
    DONE(dir, "test -p pipe.fbin");
}

/* A file goes through every format and back: the same bytes. */
Test(tools, convert_round_trip)
{
    DONE(dir, "p=b.fbin; for f in a.fvecs a.npy a.fvecs.zst a.npy.zst z.fbin; do "
              "\"$VQ\" convert $p $f -q || exit 9; p=$f; done; cmp b.fbin z.fbin");
    DONE(dir, "\"$VQ\" gen i.i8bin -n 20 -d 5 -q; \"$VQ\" convert i.i8bin i.fbin -q; "
              "\"$VQ\" convert i.fbin j.i8bin -q; cmp i.i8bin j.i8bin");
    DONE(dir, "\"$VQ\" convert - a.fvecs <b.fbin -q; \"$VQ\" convert a.fvecs z.fbin -q; cmp b.fbin "
              "z.fbin");
}

Test(tools, convert_refuses)
{
    float rows[3 * 2] = {1, 2, 300, 4, 5, 6}, bad[3 * 2] = {1, 2, NAN, 4, 5, 6};
    write_fbin(dir, "r.fbin", rows, 3, 2);
    write_fbin(dir, "n.fbin", bad, 3, 2);
    REFUSED(dir, 1, "row 1", "\"$VQ\" convert r.fbin r.i8bin");
    cr_assert(!exists(dir, "r.i8bin"));
    DONE(dir, "\"$VQ\" convert r.fbin r.i8bin --scale 0.25");
    PRINTS(dir, "0 0 75 1 1 2", "tail -c 6 r.i8bin | od -An -td1 | tr -s ' '");
    REFUSED(dir, 1, "n.fbin", "\"$VQ\" convert n.fbin n.fvecs");
    PRINTS(dir, "2 vectors of 2 dimensions, 1 bad rows left out",
           "\"$VQ\" convert n.fbin n.fvecs --skip-bad");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" convert b.fbin ./b.fbin");
    REFUSED(dir, 1, "nosuch", "\"$VQ\" convert nosuch x.fbin");
    REFUSED(dir, 2, "x.txt", "\"$VQ\" convert b.fbin x.txt");
    REFUSED(dir, 3, "nofolder", "\"$VQ\" convert b.fbin nofolder/x.fbin");
    REFUSED(dir, 1, "b.vq", "\"$VQ\" convert b.vq x.fbin");
}

Test(tools, info)
{
    test_run r = type(dir, 0, "\"$VQ\" info b.vq --json");
    cr_assert(is_json(r.out), "%s", r.out);
    static const char *const members[] = {"\"n\": 800,", "\"d\": 10,", "\"metric\": \"l2\"",
                                          "\"why\": ["};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        cr_assert(strstr(r.out, members[i]) != NULL, "no %s in %s", members[i], r.out);
    test_run_fini(&r);
    PRINTS(dir, "800 of 10 dimensions, f32, metric l2", "\"$VQ\" info b.vq");
    DONE(dir, "\"$VQ\" info b.vq --digest | grep -qx '[0-9a-f]\\{32\\}'");
    REFUSED(dir, 1, "b.fbin", "\"$VQ\" info b.fbin");
    REFUSED(dir, 1, "nosuch", "\"$VQ\" info nosuch");
}

Test(tools, info_json_quotes_its_path)
{
    test_run r = type(
        dir, 0, "cp b.vq 'a \"quoted\\\" name.vq'; \"$VQ\" info 'a \"quoted\\\" name.vq' --json");
    cr_assert(is_json(r.out), "%s", r.out);
    test_run_fini(&r);
}

Test(tools, check)
{
    PRINTS(dir, "b.vq: sound: 800 vectors", "\"$VQ\" check b.vq");
    test_run r = type(dir, 0, "\"$VQ\" check -q b.vq");
    cr_assert_eq(r.out_len, 0);
    test_run_fini(&r);
    REFUSED(dir, 1, "nosuch", "\"$VQ\" check nosuch");
    PRINTS(dir, "b.fbin: not an index", "\"$VQ\" check b.fbin 2>/dev/null; test $? = 1");
    REFUSED(dir, 1, "b.fbin cannot be opened as a vq index", "\"$VQ\" check b.fbin");
    REFUSED(dir, 1, "empty cannot be opened as", ": >empty; \"$VQ\" check empty");
    REFUSED(dir, 1, "cut.vq", "head -c 20000 b.vq >cut.vq; \"$VQ\" check cut.vq");
}

/* A folder in the place of a file is the same failure for every command. */
Test(tools, folders)
{
    static const char *const with_one[] = {
        "info .",          "check .",          "search . b.fbin", "search b.vq .",
        "add b.vq .",      "tune .",           "convert . x.npy", "gt . b.fbin -o x.ibin",
        "build . -o x.vq", "restore . -o x.vq"};
    for (size_t i = 0; i < sizeof with_one / sizeof with_one[0]; i++)
        REFUSED(dir, 3, "folder", "\"$VQ\" %s", with_one[i]);
}

/* Damage of any kind is exit code 1 with a message, never a crash. */
Test(tools, check_finds_damage)
{
    DONE(dir,
         "\"$VQ\" gen big.fbin -n 3000 -d 64 -q; \"$VQ\" build big.fbin -o big.vq --nlist 4 -q");
    char *from = test_path(dir, "big.vq"), *to = test_path(dir, "d.vq");
    size_t len;
    uint8_t *bytes = test_read(from, &len);
    vq_rng rng;
    vq_rng_init(&rng, test_seed(), 2);
    int found = 0;
    for (int i = 0; i < 25; i++) {
        size_t at = 8192 + (size_t)vq_rng_below(&rng, len - 8192); /* past the two meta pages */
        size_t n = len - at < 64 ? len - at : 64;
        uint8_t keep[64];
        memcpy(keep, bytes + at, n);
        for (size_t j = 0; j < n; j++) bytes[at + j] ^= 0x5a;
        test_write(to, bytes, len);
        memcpy(bytes + at, keep, n);
        test_run r = test_shell("cd '%s' && \"$VQ\" check d.vq", dir);
        cr_assert(r.exit_code == 0 || r.exit_code == 1, "at %zu: %d: %s", at, r.exit_code, r.err);
        cr_assert(r.exit_code == 0 || strstr(r.err, "d.vq") != NULL, "at %zu: %s", at, r.err);
        found += r.exit_code == 1;
        test_run_fini(&r);
    }
    cr_assert_geq(found, 20, "%d of 25, and the rest of the space is hardly free", found);
    free(bytes);
    free(from);
    free(to);
}

Test(tools, get)
{
    test_run r = type(dir, 0, "\"$VQ\" get b.vq 3 799");
    float row[10];
    const char *p = r.out;
    char *path = test_path(dir, "b.fbin");
    size_t len;
    uint8_t *bytes = test_read(path, &len);
    for (size_t line = 0; line < 2; line++) {
        memcpy(row, bytes + 8 + (line == 0 ? 3 : 799) * sizeof row, sizeof row);
        for (size_t j = 0; j < 10; j++) {
            char *end;
            cr_assert_float_eq(strtof(p, &end), row[j], 0);
            cr_assert_eq(*end, j < 9 ? ' ' : '\n');
            p = end + 1;
        }
    }
    cr_assert_eq(*p, '\0');
    test_run_fini(&r);
    free(bytes);
    free(path);
    DONE(dir, "\"$VQ\" get b.vq 0 1 2 -o g.fbin; tail -c +9 g.fbin >g; tail -c +9 b.fbin | head -c "
              "120 | cmp - g");
    REFUSED(dir, 1, "800", "\"$VQ\" get b.vq 800");
    REFUSED(dir, 1, "xyz", "\"$VQ\" get b.vq xyz");
    REFUSED(dir, 2, "g.txt", "\"$VQ\" get b.vq 0 -o g.txt");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" get b.vq 0 -o b.vq");
    REFUSED(dir, 1, "", "\"$VQ\" build b.fbin -o n.vq --store none -q; \"$VQ\" get n.vq 0");
}
