/* SPDX-License-Identifier: Apache-2.0 */
/* vq merge, and vq build --model that makes what it takes. */
#include "tests/cli/user.h"

Test(merge, parts_of_a_corpus, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir,
         "\"$VQ\" gen a.fbin -n 3000 -d 32 --seed 1 && \"$VQ\" gen b.fbin -n 500 -d 32 --seed 1 && "
         "\"$VQ\" gen q.fbin -n 20 -d 32 --seed 2 && seq 3000 3499 >b.ids && "
         "\"$VQ\" build a.fbin -o a.vq -q --codec pq4");
    PRINTS(dir, "codec pq4", "\"$VQ\" build b.fbin -o b.vq --model a.vq --ids b.ids");
    PRINTS(dir, "model of a.vq: nothing was trained", "\"$VQ\" info b.vq");
    PRINTS(dir, "ab.vq: 3,500 vectors of 2 indexes", "\"$VQ\" merge a.vq b.vq -o ab.vq");
    PRINTS(dir, "500 vectors added", "\"$VQ\" info ab.vq");
    DONE(dir, "\"$VQ\" check ab.vq && ! ls | grep tmp");
    /* as if they had been added */
    DONE(dir, "cp a.vq add.vq && \"$VQ\" add add.vq b.fbin --ids b.ids -q && "
              "for e in '--recall 1' '--recall 0.9' '--nprobe 2 --rerank 0'; do "
              "\"$VQ\" search add.vq q.fbin --format tsv $e >1 && "
              "\"$VQ\" search ab.vq q.fbin --format tsv $e | cmp - 1 || exit 1; done");
    REFUSED(dir, 2, "exists; give --force", "\"$VQ\" merge a.vq b.vq -o ab.vq");
    DONE(dir, "\"$VQ\" merge b.vq a.vq -o ab.vq --force -q && \"$VQ\" check ab.vq -q");
    DONE(dir, "\"$VQ\" info ab.vq --digest >1 && \"$VQ\" merge b.vq a.vq -o b.vq --force -q && "
              "\"$VQ\" info b.vq --digest | cmp - 1");
    test_rmdir(dir);
}

Test(merge, refused, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir,
         "\"$VQ\" gen a.fbin -n 300 -d 8 --seed 1 && \"$VQ\" gen d.fbin -n 30 -d 9 --seed 1 && "
         "\"$VQ\" build a.fbin -o a.vq -q --metric ip && \"$VQ\" build a.fbin -o l2.vq -q && "
         "\"$VQ\" build a.fbin -o b.vq -q --model a.vq");
    REFUSED(dir, 1, "a.vq and b.vq both have the id 0;", "\"$VQ\" merge a.vq b.vq -o c.vq");
    PRINTS(dir, "c.vq: 300 vectors", "\"$VQ\" merge a.vq b.vq -o c.vq --keep last");
    REFUSED(dir, 1, "metric ip and l2", "\"$VQ\" merge a.vq l2.vq -o d.vq");
    REFUSED(dir, 1, "a.vq is given twice", "\"$VQ\" merge a.vq a.vq -o d.vq");
    REFUSED(dir, 1, "No such file", "\"$VQ\" merge a.vq none.vq -o d.vq");
    REFUSED(dir, 2, "-o OUT is missing", "\"$VQ\" merge a.vq b.vq");
    REFUSED(dir, 2, "too few arguments", "\"$VQ\" merge a.vq -o d.vq");
    REFUSED(dir, 2, "--keep is one of", "\"$VQ\" merge a.vq b.vq -o d.vq --keep both");
    REFUSED(dir, 2, "codec: all is as in a.vq",
            "\"$VQ\" build a.fbin -o d.vq --model a.vq --codec sq8");
    REFUSED(dir, 2, "metric l2: the model of a.vq is for ip",
            "\"$VQ\" build a.fbin -o d.vq --model a.vq --metric l2");
    REFUSED(dir, 2, "rows of 9 dimensions; the model of a.vq is for 8",
            "\"$VQ\" build d.fbin -o d.vq --model a.vq");
    REFUSED(dir, 1, "No such file", "\"$VQ\" build a.fbin -o d.vq --model none.vq");
    DONE(dir, "! ls | grep -e tmp -e d.vq");
    test_rmdir(dir);
}
