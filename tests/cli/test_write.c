/* SPDX-License-Identifier: Apache-2.0 */
/* vq add and vq delete, as a user meets them. */
#include "tests/cli/user.h"

#include <sys/file.h>
#include <unistd.h>

#define MAKE                                                                                       \
    "\"$VQ\" gen a.fbin -n 300 -d 8 --seed 1 && \"$VQ\" gen b.fbin -n 40 -d 8 --seed 2 && "        \
    "seq 1000 1299 >a.ids && seq 1290 1329 >b.ids && sed s/^/n/ a.ids >a.names && "                \
    "sed s/^/n/ b.ids >b.names && "

Test(write, numbers, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "\"$VQ\" build a.fbin -o x.vq -q --store f32");
    PRINTS(dir, "x.vq: 40 added; 340 vectors", "\"$VQ\" add x.vq b.fbin");
    DONE(dir, "\"$VQ\" get x.vq 339 >got && \"$VQ\" build b.fbin -o y.vq -q --store f32 && "
              "\"$VQ\" get y.vq 39 | cmp - got");
    PRINTS(dir, "339", "\"$VQ\" search x.vq --like 339 -k 1 --nprobe all");
    REFUSED(dir, 1, "ids:2: id 17 is in the index already",
            "printf '500\\n17\\n' >ids && head -c 8 /dev/zero >/dev/null && "
            "\"$VQ\" gen two.fbin -n 2 -d 8 && \"$VQ\" add x.vq two.fbin --ids ids");
    PRINTS(dir, "1 added, 1 replaced; 341", "\"$VQ\" add x.vq two.fbin --ids ids --upsert");
    PRINTS(dir, "3 deleted; 338 vectors", "\"$VQ\" delete x.vq 0 17 500");
    REFUSED(dir, 1, "no id \"17\"", "\"$VQ\" delete x.vq 17");
    REFUSED(dir, 1, "no id \"x\"", "\"$VQ\" get x.vq x");
    REFUSED(dir, 1, "ids:2: there is no id 0",
            "printf '1\\n0\\n' >ids && \"$VQ\" delete x.vq --ids ids");
    PRINTS(dir, "338", "\"$VQ\" info x.vq");
    PRINTS(dir, "not synced", "\"$VQ\" add x.vq b.fbin --no-sync");
    test_run r = type(dir, 0, "\"$VQ\" add x.vq b.fbin -q && \"$VQ\" delete x.vq 5 -q");
    cr_assert(r.out[0] == '\0' && r.err[0] == '\0', "%s%s", r.out, r.err);
    test_run_fini(&r);
    PRINTS(dir, "sound: 417 vectors", "\"$VQ\" check x.vq");
    test_rmdir(dir);
}

Test(write, strings, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "\"$VQ\" build a.fbin -o x.vq -q --ids a.names --copies yes --nlist 20");
    REFUSED(dir, 1, "has string ids", "\"$VQ\" add x.vq b.fbin");
    REFUSED(dir, 1, "b.names:1: id \"n1290\" is in the index already",
            "\"$VQ\" add x.vq b.fbin --ids b.names");
    PRINTS(dir, "30 added, 10 replaced; 330 vectors",
           "\"$VQ\" add x.vq b.fbin --ids b.names --upsert");
    PRINTS(dir, "n1329", "\"$VQ\" search x.vq --like n1329 -k 1 --nprobe all");
    PRINTS(dir, "2 deleted; 328 vectors", "\"$VQ\" delete x.vq n1000 n1329");
    REFUSED(dir, 1, "n1329", "\"$VQ\" get x.vq n1329");
    PRINTS(dir, "328 deleted; 0 vectors",
           "sort -u a.names b.names | grep -v -e n1000 -e n1329 >all && "
           "\"$VQ\" delete x.vq --ids all");
    PRINTS(dir, "query 0", "\"$VQ\" search x.vq b.fbin");
    PRINTS(dir, "sound: 0 vectors", "\"$VQ\" check x.vq");
    PRINTS(dir, "300 added", "\"$VQ\" add x.vq a.fbin --ids a.names");
    PRINTS(dir, "sound: 300 vectors", "\"$VQ\" check x.vq");
    DONE(dir, "\"$VQ\" retrain x.vq -o y.vq -q && \"$VQ\" get x.vq n1007 >1 && "
              "\"$VQ\" get y.vq n1007 | cmp - 1");
    test_rmdir(dir);
}

/* What goes out and in again is the same. */
Test(write, export, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir,
         MAKE "\"$VQ\" build a.fbin -o x.vq -q --ids a.names --store f32 --no-tune && "
              "\"$VQ\" delete x.vq n1005 -q && \"$VQ\" add x.vq b.fbin --ids b.names --upsert -q");
    PRINTS(dir, "out.fbin: 329 vectors of 8 dimensions",
           "\"$VQ\" export x.vq -o out.fbin --ids out.ids");
    DONE(dir, "sort -u a.names b.names | grep -v n1005 | LC_ALL=C sort | cmp - out.ids");
    DONE(dir, "\"$VQ\" build out.fbin --ids out.ids -o y.vq -q --store f32 --no-tune && "
              "for i in n1000 n1299 n1300; do \"$VQ\" get x.vq $i >1 && \"$VQ\" get y.vq $i | "
              "cmp - 1 || exit 1; done");
    DONE(dir, "\"$VQ\" build a.fbin -o z.vq -q --no-tune && \"$VQ\" export z.vq -o z.npy -q --ids "
              "z.ids && "
              "seq 0 299 | cmp - z.ids");
    REFUSED(dir, 2, "-o OUT is missing", "\"$VQ\" export x.vq");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" export x.vq -o x.vq");
    REFUSED(dir, 2, "names no format", "\"$VQ\" export x.vq -o out.txt");
    DONE(dir, "\"$VQ\" build a.fbin -o n.vq -q --store none --no-tune");
    REFUSED(dir, 1, "without stored rows", "\"$VQ\" export n.vq -o n.npy");
    test_rmdir(dir);
}

/* Half is deleted: the space is free, and a dense copy has none of it. */
Test(write, compact, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, "\"$VQ\" gen a.fbin -n 3000 -d 32 --seed 1 && seq 0 2 2999 >half && "
              "\"$VQ\" build a.fbin -o x.vq -q --copies yes --no-tune");
    test_run r = type(dir, 0, "\"$VQ\" info x.vq");
    cr_assert(strstr(r.out, "\nfree ") == NULL && strstr(r.out, "\nreaders ") == NULL, "%s", r.out);
    test_run_fini(&r);
    PRINTS(dir, "1,500 deleted", "\"$VQ\" delete x.vq --ids half");
    PRINTS(dir, "of the file, for later changes", "\"$VQ\" info x.vq");
    DONE(dir, "cp x.vq was.vq && \"$VQ\" info x.vq --digest >1");
    PRINTS(dir, "y.vq: ", "\"$VQ\" compact x.vq -o y.vq");
    DONE(dir, "cmp x.vq was.vq && \"$VQ\" info y.vq --digest | cmp - 1 && "
              "test $(stat -c %%s y.vq) -lt $(stat -c %%s x.vq)");
    REFUSED(dir, 2, "exists; give --force", "\"$VQ\" compact x.vq -o y.vq");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" compact x.vq -o x.vq");
    PRINTS(dir, "y.vq: ", "\"$VQ\" compact x.vq -o y.vq --force");
    PRINTS(dir, "x.vq: ", "\"$VQ\" compact x.vq");
    DONE(dir, "cmp x.vq y.vq && \"$VQ\" check x.vq && ! ls | grep tmp");
    r = type(dir, 0, "\"$VQ\" info x.vq --json");
    cr_assert(is_json(r.out) && strstr(r.out, "\"free_bytes\": 0,") != NULL, "%s", r.out);
    cr_assert(strstr(r.out, "\"readers\": 0,") != NULL, "%s", r.out);
    test_run_fini(&r);
    PRINTS(dir, "3,000 added", "\"$VQ\" add x.vq a.fbin");
    test_rmdir(dir);
}

/* What is backed up comes back, and nothing that is damaged does. */
Test(write, backup, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE
         "\"$VQ\" build a.fbin -o x.vq -q --no-tune --copies yes && "
         "\"$VQ\" delete x.vq 1 2 3 -q && printf '7\\ten\\n' | \"$VQ\" set x.vq --tags - -q && "
         "\"$VQ\" info x.vq --digest >1 && cp x.vq was.vq");
    PRINTS(dir, "b.zst: ", "\"$VQ\" backup x.vq -o b.zst");
    DONE(dir, "cmp x.vq was.vq && test $(stat -c %%s b.zst) -lt $(stat -c %%s x.vq) && "
              "! ls | grep tmp");
    PRINTS(dir, "y.vq: ", "\"$VQ\" restore b.zst -o y.vq");
    DONE(dir, "\"$VQ\" info y.vq --digest | cmp - 1 && \"$VQ\" check y.vq && ! ls | grep tmp");
    /* what killed ones left goes, what a living one has does not */
    DONE(dir,
         "touch b.zst.tmp-1-index b.zst.tmp-1-0 y.vq.tmp-1-index y.vq.tmp-1-index.tmp-1-0 && "
         "\"$VQ\" backup x.vq -o b.zst --force -q && \"$VQ\" restore b.zst -o y.vq --force -q && "
         "! ls | grep tmp");
    REFUSED(dir, 3, "tmp-1-index",
            "flock b.zst.tmp-1-index \"$VQ\" backup x.vq -o b.zst --force -q");
    REFUSED(dir, 3, "tmp-1-index",
            "flock y.vq.tmp-1-index \"$VQ\" restore b.zst -o y.vq --force -q");
    DONE(dir, "rm *.tmp-1-index");
    DONE(dir, "zstd -dqf b.zst -o z.vq && \"$VQ\" info z.vq --digest | cmp - 1");
    DONE(dir, "\"$VQ\" restore - -o y.vq --force -q <b.zst && \"$VQ\" add y.vq b.fbin -q");
    /* what is written on the way lies where a link leads: nothing can be made beside this one */
    DONE(dir, "\"$VQ\" restore b.zst -o /proc/self/fd/9 --force -q 9<>y.vq && "
              "\"$VQ\" info y.vq --digest | cmp - 1 && ! ls | grep tmp");
    REFUSED(dir, 2, "exists; give --force", "\"$VQ\" restore b.zst -o y.vq");
    REFUSED(dir, 2, "exists; give --force", "\"$VQ\" backup x.vq -o b.zst");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" backup x.vq -o x.vq --force");
    REFUSED(dir, 2, "-o OUT is missing", "\"$VQ\" backup x.vq");
    REFUSED(dir, 1, "nothere.vq", "\"$VQ\" backup nothere.vq -o n.zst");
    REFUSED(dir, 1, "cut short", "head -c 5000 b.zst >c.zst && \"$VQ\" restore c.zst -o n.vq");
    REFUSED(dir, 1, "zstd",
            "cp b.zst c.zst && printf X | dd of=c.zst bs=1 seek=9000 conv=notrunc 2>/dev/null && "
            "\"$VQ\" restore c.zst -o n.vq");
    REFUSED(dir, 1, "restore: a.fbin: not an index", "\"$VQ\" restore a.fbin -o n.vq");
    REFUSED(dir, 1, "restore: d.zst: ",
            "cp z.vq d.vq && seq 999 | dd of=d.vq bs=4096 seek=20 conv=notrunc "
            "2>/dev/null && zstd -q d.vq -o d.zst && \"$VQ\" restore d.zst -o n.vq");
    REFUSED(dir, 3, "restore: n.vq: writing", "ulimit -f 40; \"$VQ\" restore b.zst -o n.vq");
    REFUSED(dir, 3, "backup: n.zst: ", "ulimit -f 40; \"$VQ\" backup x.vq -o n.zst");
    DONE(dir, "! ls | grep -e tmp -e '^n'");
    test_rmdir(dir);
}

Test(write, what_does_not_fit, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "\"$VQ\" build a.fbin -o x.vq -q --store i8 && cp x.vq was.vq");
    REFUSED(dir, 1, "40 ids for 300 rows", "\"$VQ\" add x.vq a.fbin --ids b.ids --upsert");
    REFUSED(dir, 1, "300 ids for 40 rows", "\"$VQ\" add x.vq b.fbin --ids a.ids --upsert");
    REFUSED(dir, 1, "of 9 dimensions, the index has 8",
            "\"$VQ\" gen c.fbin -n 3 -d 9 && \"$VQ\" add x.vq c.fbin");
    REFUSED(dir, 1, "No such file", "\"$VQ\" add none.vq b.fbin");
    REFUSED(dir, 1, "No such file", "\"$VQ\" add x.vq none.fbin");
    REFUSED(dir, 1, "names", "\"$VQ\" add x.vq b.fbin --ids b.names");
    /* ids of files are named by their lines */
    REFUSED(dir, 1, "add: a.ids:1: id ", "seq 0 299 >a.ids; \"$VQ\" add x.vq a.fbin --ids a.ids");
    REFUSED(dir, 1, "delete: no.ids:2: there is no id 9999",
            "printf '5\\n9999\\n' >no.ids; \"$VQ\" delete x.vq --ids no.ids");
    REFUSED(dir, 1, "delete: two.ids:3: the id 5 stands in line 1, too",
            "printf '5\\n6\\n5\\n' >two.ids; \"$VQ\" delete x.vq --ids two.ids");
    REFUSED(dir, 1, "set: t:3: there is no id 9999",
            "printf '5\\ta\\n5\\tb\\n9999\\ta\\n' >t; \"$VQ\" set x.vq --tags t");
    /* an id may look like what an error says of it */
    DONE(dir, "\"$VQ\" build b.fbin -o s.vq --ids b.names -q --store f32");
    REFUSED(dir, 1, "set: t:1: there is no id \"no (row 99999999999) such\"",
            "printf 'no (row 99999999999) such\\tz\\n' >t; \"$VQ\" set s.vq --tags t");
    REFUSED(dir, 1, "set: p:3: there is no id 9999",
            "printf '{\"id\":5}\\n\\n{\"id\":9999}\\n' >p; \"$VQ\" set x.vq --payload p");
    DONE(dir, "cmp x.vq was.vq");
    float far[8] = {0, 0, 1e6f, 0, 0, 0, 0, 0};
    write_fbin(dir, "far.fbin", far, 1, 8);
    PRINTS(dir, "1 of the new rows have", "\"$VQ\" add x.vq far.fbin");
    test_rmdir(dir);
}

Test(write, one_at_a_time, .timeout = 120)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    DONE(dir, MAKE "\"$VQ\" build a.fbin -o x.vq -q");
    FILE *held = fopen(path, "r+");
    cr_assert(held != NULL && flock(fileno(held), LOCK_EX) == 0);
    REFUSED(dir, 3, "somebody else is changing it; waited 0 s", "\"$VQ\" add x.vq b.fbin --wait 0");
    REFUSED(dir, 3, "waited 0.05 s", "\"$VQ\" delete x.vq 1 --wait 0.05");
    PRINTS(dir, "query 0", "\"$VQ\" search x.vq b.fbin");
    (void)fclose(held);
    PRINTS(dir, "40 added", "\"$VQ\" add x.vq b.fbin --wait 0");
    free(path);
    test_rmdir(dir);
}
