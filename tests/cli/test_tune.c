/* SPDX-License-Identifier: Apache-2.0 */
/* vq tune and --recall, as a user meets them. */
#include "tests/cli/user.h"

#define MAKE                                                                                       \
    "\"$VQ\" gen b.fbin -n 3000 -d 16 --seed 1 && \"$VQ\" gen q.fbin -n 300 -d 16 --seed 1 && "    \
    "\"$VQ\" build b.fbin -o b.vq -q"

static char *folder(const char *options)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE " %s", options);
    return dir;
}

Test(tune, a_build_tunes_unless_told_not_to, .timeout = 120)
{
    char *dir = folder("");
    PRINTS(dir, "recall 0.95", "\"$VQ\" info b.vq");
    PRINTS(dir, "search by default   recall 0.95", "\"$VQ\" info b.vq");
    test_run r = type(dir, 0, "\"$VQ\" info b.vq --json");
    cr_assert(is_json(r.out) && strstr(r.out, "\"most_lists\"") != NULL, "%s", r.out);
    test_run_fini(&r);
    PRINTS(dir, "recall 0.95 asked for; 300 queries",
           "\"$VQ\" search b.vq q.fbin --stats 2>&1 >/dev/null");
    PRINTS(dir, "recall 0.8 asked for", "\"$VQ\" search b.vq q.fbin --recall 0.8 --stats 2>&1");
    /* where error bars tell which rows are scored the curve says nothing of them */
    DONE(dir, "\"$VQ\" info b.vq | grep 'scored in full' && "
              "\"$VQ\" build b.fbin -o s.vq --codec saq -q && "
              "\"$VQ\" info s.vq | grep 'recall 0.95 .* vectors$'");
    DONE(dir, "\"$VQ\" build b.fbin -o n.vq --no-tune -q");
    PRINTS(dir, "rerank", "\"$VQ\" info n.vq");
    PRINTS(dir, "vq tune makes --recall possible", "\"$VQ\" info n.vq");
    REFUSED(dir, 1, "not tuned", "\"$VQ\" search n.vq q.fbin --recall 0.9");
    DONE(dir, "test \"$(\"$VQ\" info --digest b.vq)\" = \"$(\"$VQ\" info --digest n.vq)\"");
    test_rmdir(dir);
}

Test(tune, with_queries_and_without, .timeout = 120)
{
    char *dir = folder("--no-tune --store f32");
    PRINTS(dir, "b.vq: tuned in", "\"$VQ\" tune b.vq");
    PRINTS(dir, "with 225 queries", "\"$VQ\" tune b.vq --queries q.fbin -k 10");
    PRINTS(dir, "with 150 queries", "\"$VQ\" tune b.vq --queries q.fbin --max-queries 200");
    PRINTS(dir, "replaced            a curve of 150 queries",
           "\"$VQ\" tune b.vq --queries q.fbin --max-queries 40");
    PRINTS(dir, "know a recall to about 0.03",
           "\"$VQ\" tune b.vq --queries q.fbin "
           "--max-queries 40");
    PRINTS(dir, "sound", "\"$VQ\" check b.vq");
    test_run r = type(dir, 0, "\"$VQ\" tune b.vq -q --threads 1");
    cr_assert(r.out[0] == '\0' && r.err[0] == '\0', "%s%s", r.out, r.err);
    test_run_fini(&r);
    DONE(dir, "\"$VQ\" gt b.fbin q.fbin -k 10 -o gt.ibin -q");
    PRINTS(dir, "0.9 asked for", "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --recall 0.9 -k 10");
    r = type(dir, 0, "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --recall 1 -k 10 --json");
    cr_assert(strstr(r.out, "\"recall@10\": 1") != NULL && strstr(r.out, "\"recall_asked\": 1"),
              "%s", r.out);
    test_run_fini(&r);
    test_rmdir(dir);
}

Test(tune, options_that_make_no_sense, .timeout = 120)
{
    char *dir = folder("");
    REFUSED(dir, 2, "--recall", "\"$VQ\" search b.vq q.fbin --recall 0.9 --nprobe 4");
    REFUSED(dir, 2, "--recall", "\"$VQ\" search b.vq q.fbin --recall 0.9 --rerank 0");
    REFUSED(dir, 2, "above 0", "\"$VQ\" search b.vq q.fbin --recall 0");
    REFUSED(dir, 2, "from 0 to 1", "\"$VQ\" search b.vq q.fbin --recall 1.5");
    REFUSED(dir, 2, "from 0 to 1", "\"$VQ\" eval b.vq q.fbin --recall x");
    REFUSED(dir, 2, "--recall", "\"$VQ\" eval b.vq q.fbin --gt gt.ibin --sweep --recall 0.9");
    REFUSED(dir, 2, "too few", "\"$VQ\" tune");
    REFUSED(dir, 1, "none.fbin", "\"$VQ\" tune b.vq --queries none.fbin");
    REFUSED(dir, 1, "none.vq", "\"$VQ\" tune none.vq");
    DONE(dir, "\"$VQ\" gen w.fbin -n 50 -d 17");
    REFUSED(dir, 1, "17 dimensions", "\"$VQ\" tune b.vq --queries w.fbin");
    DONE(dir, "\"$VQ\" build b.fbin -o s.vq --store none -q");
    REFUSED(dir, 1, "--queries", "\"$VQ\" tune s.vq");
    DONE(dir, "\"$VQ\" tune s.vq --queries q.fbin -q && \"$VQ\" search s.vq q.fbin --recall 0.9");
    DONE(dir, "\"$VQ\" gen f.fbin -n 100 -d 16 && \"$VQ\" build f.fbin -o f.vq -q");
    REFUSED(dir, 1, "in no time", "\"$VQ\" tune f.vq");
    test_rmdir(dir);
}
