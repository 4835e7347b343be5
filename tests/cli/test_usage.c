/* SPDX-License-Identifier: Apache-2.0 */
/* test_usage.c -- help, versions, wrong command lines; the manual and the completion against the
 * table of options. */
#include "tests/cli/user.h"

#include "vq/vq.h"

static const char *const commands[] = {"build",   "add",       "delete", "set",    "compact",
                                       "backup",  "restore",   "merge",  "export", "retrain",
                                       "tune",    "calibrate", "search", "eval",   "gt",
                                       "convert", "info",      "check",  "get",    "gen"};
#define COMMANDS (sizeof commands / sizeof commands[0])

Test(usage, overview_and_version)
{
    char version[32];
    (void)snprintf(version, sizeof version, "vq %d.%d.%d\n", VQ_VERSION_MAJOR, VQ_VERSION_MINOR,
                   VQ_VERSION_PATCH);
    PRINTS("/", version, "\"$VQ\" --version");
    PRINTS("/", "Usage: vq COMMAND", "\"$VQ\" --help");
    PRINTS("/", "Usage: vq COMMAND", "\"$VQ\" help");
    test_run r = type("/", 2, "\"$VQ\"");
    cr_assert(strstr(r.err, "Usage: vq COMMAND") != NULL);
    test_run_fini(&r);
}

Test(usage, each_command_has_help)
{
    test_run all = type("/", 0, "\"$VQ\" --help");
    for (size_t i = 0; i < COMMANDS; i++) {
        char usage[64];
        (void)snprintf(usage, sizeof usage, "Usage: vq %s ", commands[i]);
        PRINTS("/", usage, "\"$VQ\" %s --help", commands[i]);
        PRINTS("/", usage, "\"$VQ\" help %s", commands[i]);
        PRINTS("/", "--help", "\"$VQ\" %s -h", commands[i]);
        cr_assert(strstr(all.out, commands[i]) != NULL, "%s is not listed", commands[i]);
    }
    test_run_fini(&all);
}

Test(usage, wrong_command_lines)
{
    REFUSED("/", 2, "no command 'frobnicate'", "\"$VQ\" frobnicate");
    REFUSED("/", 2, "unknown option '--frob'", "\"$VQ\" --frob");
    REFUSED("/", 2, "no command 'frob'", "\"$VQ\" help frob");
    for (size_t i = 0; i < COMMANDS; i++) {
        REFUSED("/", 2, "unknown option '--frob'", "\"$VQ\" %s a b --frob", commands[i]);
        REFUSED("/", 2, "unknown option '-Z'", "\"$VQ\" %s a b -Z", commands[i]);
        REFUSED("/", 2, "too few arguments", "\"$VQ\" %s", commands[i]);
    }
    REFUSED("/", 2, "unexpected argument 'c'", "\"$VQ\" convert a b c");
    REFUSED("/", 2, "is empty", "\"$VQ\" info ''");
    REFUSED("/", 2, "needs an argument", "\"$VQ\" search a b -k");
    REFUSED("/", 2, "needs an argument", "\"$VQ\" build a --metric");
    REFUSED("/", 2, "takes no argument", "\"$VQ\" build a -o b --quiet=yes");
}

Test(usage, wrong_numbers_and_words)
{
    static const char *const numbers[] = {"x",   "-1", "+1", "1.5", "0",
                                          "1e3", " 1", "1x", "''",  "99999999999999999999"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        REFUSED("/", 2, "-k needs a whole number", "\"$VQ\" search a b -k '%s'", numbers[i]);
        REFUSED("/", 2, "--nlist needs a whole number", "\"$VQ\" build a -o b --nlist='%s'",
                numbers[i]);
    }
    REFUSED("/", 2, "or 'all'", "\"$VQ\" search a b --nprobe many");
    REFUSED("/", 2, "--rerank", "\"$VQ\" search a b --rerank all");
    REFUSED("/", 2, "l2|ip|cosine", "\"$VQ\" build a -o b --metric l1");
    REFUSED("/", 2, "kmeans", "\"$VQ\" build a -o b --train other");
    REFUSED("/", 2, "text|tsv|jsonl", "\"$VQ\" search a b --format xml");
    static const char *const sizes[] = {"0", "x", "2X", "-2G", "2GG", "0x10", ""};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        REFUSED("/", 2, "size like", "\"$VQ\" build a -o b --memory '%s'", sizes[i]);
    static const char *const reals[] = {"x", "nan", "inf", "-1", "1e99", "1.5y", ""};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        REFUSED("/", 2, "--noise needs a number", "\"$VQ\" gen a.fbin -n 1 -d 1 --noise '%s'",
                reals[i]);
}

Test(usage, options_that_belong_together)
{
    REFUSED("/", 2, "-o OUT is missing", "\"$VQ\" build a");
    REFUSED("/", 2, "unknown option '--teacher'; is --teacher-cache meant?",
            "\"$VQ\" retrain a -o b --teacher c");
    REFUSED("/", 2, "unknown option '--forc'; is --force meant?", "\"$VQ\" build a -o b --forc");
    REFUSED("/", 2, "unknown option '--epoc=1'; is --epochs meant?",
            "\"$VQ\" build a --epoc=1 -o b");
    REFUSED("/", 2, "unknown option '--metric'", "\"$VQ\" retrain a -o b --metric ip");
    REFUSED("/", 2, "-o FILE is missing", "\"$VQ\" gt a b");
    REFUSED("/", 2, ".ibin or .ivecs", "\"$VQ\" gt a b -o c.txt");
    REFUSED("/", 2, "which queries", "\"$VQ\" search a");
    REFUSED("/", 2, "exclude each other", "\"$VQ\" search a b --allow x --deny y");
    REFUSED("/", 2, "which ids", "\"$VQ\" delete a");
    REFUSED("/", 2, "exclude each other", "\"$VQ\" delete a 1 --ids f");
    REFUSED("/", 2, "needs --ids", "\"$VQ\" add a b.fbin --upsert");
    REFUSED("/", 2, "place of QUERIES", "\"$VQ\" search a q.fbin --like 1");
    REFUSED("/", 2, "--bars", "\"$VQ\" search a q.fbin --bars 0");
    REFUSED("/", 2, "exclude each other", "\"$VQ\" search a --like x --query-ids f");
    REFUSED("/", 2, "exclude each other", "\"$VQ\" info a --json --digest");
    REFUSED("/", 2, "--ids goes with --gt", "\"$VQ\" eval a b --ids f");
    REFUSED("/", 2, "--query-ids goes with --qrels", "\"$VQ\" eval a b --query-ids f");
    REFUSED("/", 2, "quality against what", "\"$VQ\" eval a b --sweep");
    REFUSED("/", 2, "must end in .svg", "\"$VQ\" eval a b --gt f --plot p.pdf");
    REFUSED("/", 2, "leave -k out", "\"$VQ\" eval a b --gt f --sweep -k 3");
    REFUSED("/", 2, "-n N is missing", "\"$VQ\" gen a.fbin -d 3");
    REFUSED("/", 2, "-d D is missing", "\"$VQ\" gen a.fbin -n 3");
    REFUSED("/", 2, "needs --queries", "\"$VQ\" gen a.fbin -n 3 -d 3 --n-queries 3");
    REFUSED("/", 2, "both vectors and queries", "\"$VQ\" gen a.fbin -n 3 -d 3 --queries a.fbin");
}

Test(usage, output_that_cannot_be_written)
{
    test_run r = type("/", 3, "\"$VQ\" --help >/dev/full");
    cr_assert(strstr(r.err, "cannot write") != NULL);
    test_run_fini(&r);
}

/* Removes backslashes, so that a page has "--option" where roff has "\-\-option". */
static char *read_page(const char *command)
{
    char *path = NULL;
    size_t len, to = 0;
    cr_assert(asprintf(&path, "%s/docs/man/vq-%s.1", VQ_SOURCE_DIR, command) > 0);
    char *page = (char *)test_read(path, &len);
    for (size_t i = 0; i < len; i++)
        if (page[i] != '\\') page[to++] = page[i];
    page[to] = '\0';
    free(path);
    return page;
}

/* The option as a whole word: "--ids" is not in "--ids-of". */
static bool names(const char *text, const char *option)
{
    size_t len = strlen(option);
    for (const char *p = text; (p = strstr(p, option)) != NULL; p += len) {
        bool begins = p == text || strchr(" \n\"[,(", p[-1]) != NULL;
        bool ends = p[len] == '\0' || strchr(" \n\",.]=):", p[len]) != NULL;
        if (begins && ends) return true;
    }
    return false;
}

Test(usage, every_option_is_in_the_manual_and_in_help)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        test_run list = type("/", 0, "\"$VQ\" %s --list-options", commands[i]);
        test_run help = type("/", 0, "\"$VQ\" %s --help", commands[i]);
        char *page = read_page(commands[i]);
        int options = 0;
        for (char *save, *line = strtok_r(list.out, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save), options++) {
            line[strcspn(line, "\t")] = '\0';
            cr_assert(names(page, line), "vq-%s(1) lacks %s", commands[i], line);
            cr_assert(names(help.out, line), "vq %s --help lacks %s", commands[i], line);
        }
        cr_assert_geq(options, 3, "vq %s", commands[i]);
        free(page);
        test_run_fini(&list);
        test_run_fini(&help);
    }
}

/* Bold words with two dashes at the head of a paragraph in OPTIONS must be options. */
Test(usage, the_manual_invents_no_option)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        test_run list = type("/", 0, "\"$VQ\" %s --list-options | cut -f1", commands[i]);
        char *page = read_page(commands[i]);
        for (const char *p = page; (p = strstr(p, "\n.TP\n")) != NULL;) {
            p += 5;
            const char *dashes = strstr(p, "--"), *end = strchr(p, '\n');
            if (dashes == NULL || dashes > end) continue;
            char word[64] = "";
            size_t len = strspn(dashes, "-abcdefghijklmnopqrstuvwxyz");
            memcpy(word, dashes, len < 63 ? len : 63);
            cr_assert(names(list.out, word), "vq-%s(1) has %s", commands[i], word);
        }
        free(page);
        test_run_fini(&list);
    }
}

Test(usage, the_commands_are_the_pages)
{
    test_run list = type("/", 0, "\"$VQ\" --list-commands");
    size_t n = 0;
    char *page = read_page("build");
    free(page);
    for (char *save, *line = strtok_r(list.out, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save), n++)
        cr_assert(n < COMMANDS ? strcmp(line, commands[n]) == 0 : strcmp(line, "help") == 0);
    cr_assert_eq(n, COMMANDS + 1);
    test_run_fini(&list);
    DONE(VQ_SOURCE_DIR "/docs/man", "for c in %s; do grep -q \"vq.*-$c *(1)\" vq.1 || exit 1; done",
         "build add delete compact merge export retrain tune calibrate search eval gt convert info "
         "check get gen");
}

/* COMPREPLY for the words given, the last of which is being typed. */
#define COMPLETES(want, words)                                                                     \
    PRINTS("/", want,                                                                              \
           "bash -c '. " VQ_SOURCE_DIR "/cli/vq.bash; COMP_WORDS=(\"$0\" \"$@\"); "                \
           "COMP_CWORD=$#; _vq; echo \"<${COMPREPLY[*]}>\"' \"$VQ\" " words)

Test(usage, completion)
{
    COMPLETES("<build add delete set compact backup restore merge export retrain tune calibrate "
              "search eval gt "
              "convert info check get "
              "gen help "
              "--help --version>",
              "''");
    COMPLETES("<build>", "bu");
    COMPLETES("<gt get gen>", "help g");
    COMPLETES("<--metric --memory>", "build --me");
    COMPLETES("<--memory>", "retrain --me");
    COMPLETES("<l2 ip cosine>", "build --metric ''");
    COMPLETES("<text tsv jsonl trec ibin npy>", "search a --format ''");
    COMPLETES("<--json>", "info --j");
}
