/* SPDX-License-Identifier: Apache-2.0 */
/* Tags, times, payloads and filters, as a user meets them. */
#include "tests/cli/user.h"
#include "vq/vq.h"

#define MAKE                                                                                       \
    "\"$VQ\" gen a.fbin -n 300 -d 8 --seed 1 && \"$VQ\" gen b.fbin -n 20 -d 8 --seed 2 && "        \
    "seq 0 299 | awk '{printf \"%%d\\t%%s%%s\\n\", $1, $1 %% 2 ? \"en\" : \"de\", "                \
    "$1 %% 10 ? \"\" : \"\\tin progress\"}' >a.tags && "                                           \
    "seq 0 299 | awk '{printf \"%%d\\t%%d\\n\", $1, 1700000000 + $1}' >a.times && "                \
    "seq 0 299 | awk '{printf \"{\\\"id\\\": %%d, \\\"title\\\": \\\"number %%d\\\"}\\n\", $1, "   \
    "$1}' >a.jsonl && "

Test(attributes, built_and_found, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "\"$VQ\" build a.fbin -o x.vq -q --no-tune --tags a.tags --times a.times "
                   "--payload a.jsonl");
    PRINTS(dir, "sound: 300 vectors", "\"$VQ\" check x.vq");
    PRINTS(dir, "en: 150", "\"$VQ\" info x.vq");
    test_run r = type(dir, 0, "\"$VQ\" info x.vq --json");
    cr_assert(is_json(r.out) && strstr(r.out, "\"in progress\": 30") != NULL, "%s", r.out);
    test_run_fini(&r);
    /* the same ids as a list of them allows */
    DONE(dir, "awk -F'\\t' '$2 == \"en\" && $1 >= 100' a.tags | cut -f1 >ids && "
              "\"$VQ\" search x.vq b.fbin -k 7 --recall 1 --format tsv --allow ids >1 && "
              "\"$VQ\" search x.vq b.fbin -k 7 --recall 1 --format tsv "
              "--filter 'tag:en & time>=1700000100' | cmp - 1");
    DONE(dir,
         "seq 100 299 >ids && \"$VQ\" search x.vq b.fbin -k 7 --recall 1 --format tsv --filter "
         "'tag:en' --allow ids | cmp - 1");
    DONE(dir, "awk '/progress/' a.tags | cut -f1 >ids && "
              "\"$VQ\" search x.vq b.fbin -k 40 --recall 1 --format tsv --deny ids >1 && "
              "\"$VQ\" search x.vq b.fbin -k 40 --recall 1 --format tsv "
              "--filter 'not tag:\"in progress\"' | cmp - 1");
    PRINTS(dir, "time 1700000013", "\"$VQ\" search x.vq --like 13 -k 1 --payload");
    PRINTS(dir, "        {\"id\": 13, \"title\": \"number 13\"}",
           "\"$VQ\" search x.vq --like 13 -k 1 --payload");
    r = type(dir, 0, "\"$VQ\" search x.vq --like 20 -k 2 --payload --format jsonl");
    cr_assert(is_json(r.out) && strstr(r.out, "\"payload\": {\"id\": 20, \"title\"") != NULL, "%s",
              r.out);
    cr_assert(strstr(r.out, "\"tags\": [\"de\", \"in progress\"]") != NULL, "%s", r.out);
    test_run_fini(&r);
    REFUSED(dir, 2, "at 8, \"tag:de\": expected & or |",
            "\"$VQ\" search x.vq b.fbin --filter 'tag:en tag:de'");
    REFUSED(dir, 2, "--payload is for", "\"$VQ\" search x.vq b.fbin --payload --format tsv");
    test_rmdir(dir);
}

Test(attributes, get_set_export, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "\"$VQ\" build a.fbin -o x.vq -q --no-tune");
    PRINTS(dir, "300 described; 300 vectors",
           "\"$VQ\" set x.vq --tags a.tags --times a.times --payload a.jsonl");
    DONE(dir, "\"$VQ\" export x.vq -o o.fbin -q --tags t --times m --payload p && cmp t a.tags && "
              "cmp m a.times && cmp p a.jsonl");
    DONE(dir, "\"$VQ\" retrain x.vq -o y.vq -q --no-tune && \"$VQ\" export y.vq -o p.fbin -q "
              "--tags t2 --payload p2 && cmp t2 a.tags && cmp p2 a.jsonl");
    PRINTS(dir, "10\tde\tin progress\n11\ten\n", "\"$VQ\" get x.vq 10 11 --tags");
    PRINTS(dir, "10\t1700000010\n", "\"$VQ\" get x.vq 10 --times");
    PRINTS(dir, "{\"id\": 10, \"title\": \"number 10\"}\n", "\"$VQ\" get x.vq 10 --payload");
    PRINTS(dir, "2 described", "printf '10\\tnew\\n11\\n' | \"$VQ\" set x.vq --tags -");
    test_run r = type(dir, 0, "\"$VQ\" get x.vq 10 11 --tags && \"$VQ\" get x.vq 11 --times");
    cr_assert_str_eq(r.out, "10\tnew\n11\t1700000011\n");
    test_run_fini(&r);
    /* who replaces a vector keeps what it carries, who deletes it does not */
    PRINTS(dir, "1 replaced, 1 described",
           "\"$VQ\" gen one.fbin -n 1 -d 8 && echo 10 >ids && printf '10\\t5\\n' >m2 && "
           "\"$VQ\" add x.vq one.fbin --ids ids --upsert --times m2");
    PRINTS(dir, "10\tnew\n", "\"$VQ\" get x.vq 10 --tags");
    PRINTS(dir, "10\t5\n", "\"$VQ\" get x.vq 10 --times");
    DONE(dir, "\"$VQ\" delete x.vq 10 -q && \"$VQ\" add x.vq one.fbin --ids ids -q && "
              "test -z \"$(\"$VQ\" get x.vq 10 --tags)\"");
    DONE(dir, "cp x.vq was.vq");
    REFUSED(dir, 1, "bad:2: there is no id 4000",
            "printf '1\\ta\\n4000\\tb\\n' >bad && \"$VQ\" set x.vq --tags bad");
    REFUSED(dir, 1, "bad:2: there is no id 4000",
            "\"$VQ\" gen two.fbin -n 1 -d 8 && \"$VQ\" add x.vq two.fbin --tags bad");
    REFUSED(dir, 1, "bad:2: the id \"x\" is no number",
            "printf '1\\ta\\nx\\tb\\n' >bad && \"$VQ\" set x.vq --tags bad");
    REFUSED(dir, 1, "bad:3: the id 1 stands in line 1, too",
            "printf '1\\ta\\n2\\tb\\n1\\tc\\n' >bad && \"$VQ\" set x.vq --tags bad");
    REFUSED(dir, 1, "no id 300",
            "printf '300\\ta\\n' >bad && \"$VQ\" build a.fbin -o z.vq --tags bad");
    REFUSED(dir, 2, "what is to be set?", "\"$VQ\" set x.vq");
    REFUSED(dir, 2, "exclude each other", "\"$VQ\" get x.vq 1 --tags --times");
    REFUSED(dir, 2, "cannot hold two", "\"$VQ\" export x.vq -o n.fbin --tags q --times q");
    DONE(dir, "cmp x.vq was.vq && \"$VQ\" check x.vq");
    test_rmdir(dir);
}

Test(attributes, names, .timeout = 120)
{
    char *dir = test_tmpdir();
    DONE(dir, MAKE "seq 0 299 | sed s/^/n/ >ids && sed s/^/n/ a.tags >tags && "
                   "sed 's/\"id\": \\([0-9]*\\)/\"id\": \"n\\1\"/' a.jsonl >p && "
                   "\"$VQ\" build a.fbin -o x.vq -q --ids ids --tags tags --payload p --no-tune");
    PRINTS(dir, "n20\tde\tin progress\n", "\"$VQ\" get x.vq n20 --tags");
    PRINTS(dir, "{\"id\": \"n20\",", "\"$VQ\" get x.vq n20 --payload");
    DONE(dir, "seq 1 2 299 | sed s/^/n/ >odd && \"$VQ\" delete x.vq --ids odd -q && "
              "\"$VQ\" check x.vq && \"$VQ\" compact x.vq -q");
    test_run r = type(dir, 0, "\"$VQ\" search x.vq b.fbin --filter tag:en --format tsv");
    cr_assert_str_eq(r.out, "");
    test_run_fini(&r);
    DONE(dir,
         "test $(\"$VQ\" search x.vq b.fbin -k 200 --filter tag:de --format tsv | wc -l) = 3000");
    test_rmdir(dir);
}

/* A program may set payloads that no line of a file could have said: what is printed is still what
 * the format promises. */
Test(attributes, odd_payloads, .timeout = 60)
{
    static const char *const odd[] = {
        "{\"id\": 0,\n \"b\": 2}", "a\xff\"b", "x\0y", "\"\xff\"", "{\"id\": 4}", "{\"id\": 6}"};
    const uint64_t bytes[] = {18, 4, 3, 3, 9, 9}, ids[] = {0, 1, 2, 3, 4, 5};
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_error err = {0};
    vq_writer *w;
    vq_attributes a = VQ_ATTRIBUTES_INIT;
    a.n = 6, a.ids = ids, a.payloads = (const void *const *)odd, a.payload_bytes = bytes;
    DONE(dir, "\"$VQ\" gen a.fbin -n 6 -d 8 --seed 1 && \"$VQ\" build a.fbin -o x.vq -q --no-tune");
    cr_assert_eq(vq_writer_open(&w, path, NULL, &err), VQ_OK, "%s", err.text);
    cr_assert_eq(vq_writer_set(w, &a, &err), VQ_OK, "%s", err.text);
    cr_assert_eq(vq_writer_commit(w, NULL, &err), VQ_OK, "%s", err.text);
    vq_writer_close(w);
    test_run r = type(dir, 0, "\"$VQ\" search x.vq --like 1 -k 6 --payload --format jsonl");
    cr_assert(is_json(r.out) && strchr(r.out, '\n') == r.out + strlen(r.out) - 1, "%s", r.out);
    static const char *const shown[] = {"\"{\\\"id\\\": 0,\\u000a \\\"b\\\": 2}\"",
                                        "\"a\xef\xbf\xbd\\\"b\"", "\"x\\u0000y\"",
                                        "\"\\\"\xef\xbf\xbd\\\"\"", "\"payload\": {\"id\": 4}"};
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        cr_assert(strstr(r.out, shown[i]) != NULL, "no %s in: %s", shown[i], r.out);
    test_run_fini(&r);
    PRINTS(dir, "{\"id\": 0,\n \"b\": 2}\n", "\"$VQ\" get x.vq 0 --payload");
    REFUSED(dir, 1, "the payload of 0 is no line of a JSON object with this id",
            "\"$VQ\" export x.vq -o o.fbin -q --payload p");
    DONE(dir, "\"$VQ\" delete x.vq 0 1 2 3 -q");
    REFUSED(dir, 1, "the payload of 5 is no", "\"$VQ\" export x.vq -o o.fbin -q --payload p");
    DONE(dir, "\"$VQ\" delete x.vq 5 -q && \"$VQ\" export x.vq -o o.fbin -q --payload p && "
              "test \"$(cat p)\" = '{\"id\": 4}' && test ! -e p.tmp-*");
    free(path);
    test_rmdir(dir);
}

Test(attributes, one_standard_input, .timeout = 60)
{
    char *dir = test_tmpdir();
    DONE(dir,
         "\"$VQ\" gen a.fbin -n 40 -d 8 --seed 1 && \"$VQ\" build a.fbin -o x.vq -q --no-tune");
    REFUSED(dir, 2, "standard input (-)", "\"$VQ\" set x.vq --tags - --times - </dev/null");
    REFUSED(dir, 2, "standard input (-)", "\"$VQ\" add x.vq - --payload - <a.fbin");
    REFUSED(dir, 2, "standard input (-)", "\"$VQ\" add x.vq a.fbin --ids - --tags - </dev/null");
    REFUSED(dir, 2, "standard input (-)", "\"$VQ\" build - -o y.vq --tags - <a.fbin");
    REFUSED(dir, 2, "standard input (-)",
            "\"$VQ\" build a.fbin -o y.vq --times - --payload - </dev/null");
    DONE(
        dir,
        "test ! -e y.vq && printf '1\\ta\\n' | \"$VQ\" build a.fbin -o y.vq -q --no-tune --tags -");
    test_rmdir(dir);
}
