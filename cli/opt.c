/* SPDX-License-Identifier: Apache-2.0 */
/* opt.c -- see opt.h.  Knows no command: messages name the option, the caller names the command. */
#include "cli/opt.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OPT_TABLE_MAX 48
#define HELP_COLUMN   30
#define HELP_WIDTH    96

enum { VALUE_HELP = 1000, VALUE_LIST, VALUE_FIRST };

int opt_number(const char *word, uint64_t min, uint64_t max, uint64_t *value)
{
    if (word[0] < '0' || word[0] > '9') return 1;
    char *end;
    errno = 0;
    unsigned long long x = strtoull(word, &end, 10);
    if (errno != 0 || *end != '\0' || x < min || x > max) return 1;
    *value = x;
    return 0;
}

static int real(const char *word, double *value)
{
    if (word[0] == '\0' || strchr(" \t\n+", word[0]) != NULL) return 1;
    char *end;
    *value = strtod(word, &end);
    return *end != '\0' || !isfinite(*value);
}

int opt_size(const char *word, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    if (word[0] < '0' || word[0] > '9' || strchr(word, 'x') != NULL) return 1;
    char *end;
    double x = strtod(word, &end);
    const char *unit = *end == '\0' ? NULL : strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);
    if (*end != '\0' && unit == NULL) return 1;
    if (unit != NULL) {
        x = ldexp(x, 10 * (int)(unit - units + 1));
        end++;
        if (*end == 'i') end++;
        if (*end == 'B') end++;
    }
    if (*end != '\0' || !(x >= 1) || x > 0x1p62) return 1;
    *bytes = (uint64_t)x;
    return 0;
}

static const opt_word *find_word(const opt_word *words, const char *word)
{
    for (const opt_word *w = words; w != NULL && w->word != NULL; w++)
        if (strcmp(w->word, word) == 0) return w;
    return NULL;
}

static int bad(const opt *o, const char *word, char *text, size_t cap)
{
    const char *dash = o->name[1] == '\0' ? "-" : "--";
    if (o->kind == OPT_WORD)
        (void)snprintf(text, cap, "%s%s is one of %s, not '%s'", dash, o->name, o->arg, word);
    else if (o->kind == OPT_SIZE)
        (void)snprintf(text, cap, "%s%s needs a size like 200M or 2G, not '%s'", dash, o->name,
                       word);
    else if (o->min >= o->max)
        (void)snprintf(text, cap, "%s%s needs a number, not '%s'", dash, o->name, word);
    else
        (void)snprintf(text, cap, "%s%s needs a %snumber %s %" PRIu64 " to %" PRIu64 "%s, not '%s'",
                       dash, o->name, o->kind == OPT_REAL || o->kind == OPT_ABOVE ? "" : "whole ",
                       o->kind == OPT_ABOVE ? "above" : "from", o->min, o->max,
                       strstr(o->arg, "|all") != NULL    ? " or 'all'"
                       : strstr(o->arg, "|auto") != NULL ? " or 'auto'"
                       : strstr(o->arg, "|best") != NULL ? " or 'best'"
                                                         : "",
                       word);
    return OPT_BAD;
}

static int append(const opt *o, void *at, const char *word, char *text, size_t cap)
{
    opt_texts *t = at;
    if (t->n == OPT_TEXTS_MAX) {
        (void)snprintf(text, cap, "--%s is given more than %d times", o->name, OPT_TEXTS_MAX);
        return OPT_BAD;
    }
    t->at[t->n++] = word;
    return OPT_OK;
}

static int store(const opt *o, void *args, const char *word, char *text, size_t cap)
{
    char *at = (char *)args + o->at;
    uint64_t number;
    double x;
    const opt_word *w = find_word(o->words, word);
    switch (o->kind) {
    case OPT_FLAG: *(int *)(void *)at = 1; return OPT_OK;
    case OPT_TEXT: *(const char **)(void *)at = word; return OPT_OK;
    case OPT_TEXTS: return append(o, at, word, text, cap);
    case OPT_WORD:
        if (w == NULL) return bad(o, word, text, cap);
        *(uint32_t *)(void *)at = w->value;
        return OPT_OK;
    case OPT_U32:
        if (w == NULL && opt_number(word, o->min, o->max, &number)) return bad(o, word, text, cap);
        *(uint32_t *)(void *)at = w != NULL ? w->value : (uint32_t)number;
        return OPT_OK;
    case OPT_U64:
        if (opt_number(word, o->min, o->max, &number)) return bad(o, word, text, cap);
        *(uint64_t *)(void *)at = number;
        return OPT_OK;
    case OPT_SIZE:
        if (opt_size(word, &number)) return bad(o, word, text, cap);
        *(uint64_t *)(void *)at = number;
        return OPT_OK;
    case OPT_REAL:
    case OPT_ABOVE:
        if (w == NULL &&
            (real(word, &x) || (o->min < o->max && (x < (double)o->min || x > (double)o->max)) ||
             (o->kind == OPT_ABOVE && !(x > (double)o->min))))
            return bad(o, word, text, cap);
        *(double *)(void *)at = w != NULL ? w->value : x;
        return OPT_OK;
    }
    return OPT_BAD;
}

static size_t table_size(const opt *table)
{
    size_t n = 0;
    while (table[n].name != NULL) n++;
    return n;
}

/* Fills what getopt_long wants: long options with values VALUE_FIRST + row, and the letters. */
static void fill(const opt *table, size_t n, struct option *longs, char *letters)
{
    *letters++ = ':'; /* tells a missing argument from an unknown option */
    for (size_t i = 0; i < n; i++) {
        longs[i] = (struct option){table[i].name,
                                   table[i].kind == OPT_FLAG ? no_argument : required_argument,
                                   NULL, VALUE_FIRST + (int)i};
        if (table[i].letter == 0) continue;
        *letters++ = (char)table[i].letter;
        if (table[i].kind != OPT_FLAG) *letters++ = ':';
    }
    *letters++ = 'h';
    *letters = '\0';
    longs[n] = (struct option){"help", no_argument, NULL, VALUE_HELP};
    longs[n + 1] = (struct option){"list-options", no_argument, NULL, VALUE_LIST};
    longs[n + 2] = (struct option){NULL, 0, NULL, 0};
}

static const opt *by_value(const opt *table, size_t n, int value)
{
    if (value >= VALUE_FIRST) return &table[value - VALUE_FIRST];
    for (size_t i = 0; i < n; i++)
        if (table[i].letter != 0 && table[i].letter == value) return &table[i];
    return NULL;
}

/* getopt_long stopped at something it does not know: optopt is a letter, or 0 or a value for a
 * long option. */
static int unknown(int argc, char **argv, char *text, size_t cap)
{
    if (optopt > 0 && optopt < VALUE_HELP)
        (void)snprintf(text, cap, "unknown option '-%c'", optopt);
    else if (optopt >= VALUE_HELP)
        (void)snprintf(text, cap, "'%s': that option takes no argument", argv[optind - 1]);
    else
        (void)snprintf(text, cap, "unknown option '%s'",
                       optind > 0 && optind <= argc ? argv[optind - 1] : "?");
    return OPT_BAD;
}

/* The word of the option that getopt_long has just read: the last one, or the one before its
 * argument. */
static const char *word_of(const opt *o, char **argv)
{
    return argv[optind - (o->kind != OPT_FLAG && optarg == argv[optind - 1] ? 2 : 1)];
}

/* getopt_long takes any beginning of a name for the name, so that "--teacher" would be
 * "--teacher-cache" where there is no other. */
static bool written_out(const opt *o, const char *word)
{
    size_t len = strlen(o->name);
    return strncmp(word, "--", 2) == 0 && strncmp(word + 2, o->name, len) == 0 &&
           (word[2 + len] == '\0' || word[2 + len] == '=');
}

int opt_parse(const opt *table, void *args, int argc, char **argv, int *first, char *text,
              size_t cap)
{
    struct option longs[OPT_TABLE_MAX + 3];
    char letters[2 * OPT_TABLE_MAX + 4];
    size_t n = table_size(table);
    if (n > OPT_TABLE_MAX) n = OPT_TABLE_MAX;
    fill(table, n, longs, letters);
    opterr = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        if (c == 'h' || c == VALUE_HELP) return OPT_HELP;
        if (c == VALUE_LIST) return OPT_LIST;
        if (c == '?') return unknown(argc, argv, text, cap);
        if (c == ':') {
            const opt *o = by_value(table, n, optopt);
            (void)snprintf(text, cap, "option '%s' needs an argument: %s", argv[optind - 1],
                           o != NULL ? o->arg : "ARG");
            return OPT_BAD;
        }
        const opt *o = by_value(table, n, c);
        if (o == NULL) return unknown(argc, argv, text, cap);
        if (c >= VALUE_FIRST && !written_out(o, word_of(o, argv))) {
            (void)snprintf(text, cap, "unknown option '%s'; is --%s meant?", word_of(o, argv),
                           o->name);
            return OPT_BAD;
        }
        int rc = store(o, args, optarg, text, cap);
        if (rc != OPT_OK) return rc;
    }
    *first = optind;
    return OPT_OK;
}

/* Prints text from column `at`, broken at blanks to stay within HELP_WIDTH. */
static void wrap(FILE *f, const char *text, int at)
{
    int column = at;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column > at && column + 1 + (int)len > HELP_WIDTH) {
            (void)fprintf(f, "\n%*s", at, "");
            column = at;
        }
        column += fprintf(f, "%s%.*s", column > at ? " " : "", (int)len, text);
        text += len;
        while (*text == ' ') text++;
    }
    (void)fputc('\n', f);
}

static void help_line(FILE *f, int letter, const char *name, const char *arg, const char *help)
{
    int n = letter != 0 ? fprintf(f, "  -%c, --%s", letter, name) : fprintf(f, "      --%s", name);
    if (arg != NULL) n += fprintf(f, " %s", arg);
    if (n + 2 > HELP_COLUMN)
        (void)fprintf(f, "\n%*s", HELP_COLUMN, "");
    else
        (void)fprintf(f, "%*s", HELP_COLUMN - n, "");
    wrap(f, help, HELP_COLUMN);
}

void opt_help(FILE *f, const opt *table)
{
    for (const opt *o = table; o->name != NULL; o++)
        help_line(f, o->letter, o->name, o->arg, o->help);
    help_line(f, 'h', "help", NULL, "print this");
}

void opt_list(FILE *f, const opt *table)
{
    for (const opt *o = table; o->name != NULL; o++) {
        const char *arg = o->arg != NULL ? o->arg : "";
        (void)fprintf(f, "--%s\t%s\n", o->name, arg);
        if (o->letter != 0) (void)fprintf(f, "-%c\t%s\n", o->letter, arg);
    }
    (void)fprintf(f, "--help\t\n-h\t\n");
}
