/* SPDX-License-Identifier: Apache-2.0 */
/* opt.h -- options by table: getopt_long does the splitting, the table says the rest. */
#ifndef VQ_CLI_OPT_H
#define VQ_CLI_OPT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum opt_kind {
    OPT_FLAG,  /* int: becomes 1 */
    OPT_TEXT,  /* const char *: the argument as it is */
    OPT_TEXTS, /* opt_texts: may be given again and again */
    OPT_WORD,  /* uint32_t: one of words */
    OPT_U32,   /* uint32_t within min..max, or one of words */
    OPT_U64,   /* uint64_t within min..max */
    OPT_SIZE,  /* uint64_t bytes, with K, M, G or T for powers of 1024 */
    OPT_REAL,  /* double, finite, within min..max (any, if min is max), or one of words */
    OPT_ABOVE  /* the same, but not min itself */
} opt_kind;

#define OPT_TEXTS_MAX 64
typedef struct opt_texts { /* in the order given */
    size_t n;
    const char *at[OPT_TEXTS_MAX];
} opt_texts;

typedef struct opt_word { /* a table of them ends with a row without a word */
    const char *word;
    uint32_t value;
} opt_word;

typedef struct opt { /* a table of them ends with a row without a name */
    const char *name;
    int letter; /* or 0 */
    opt_kind kind;
    const char *arg; /* how help calls the argument; NULL for a flag */
    size_t at;       /* offset in the command's arguments */
    uint64_t min, max;
    const opt_word *words;
    const char *help;
} opt;

/* Parses argv[1..] into args.  Returns 0 and *first = index of the first operand (argv is permuted
 * so that operands come last), or 1 with text filled. */
enum { OPT_OK = 0, OPT_BAD = 1, OPT_HELP = 2, OPT_LIST = 3 };
int opt_parse(const opt *table, void *args, int argc, char **argv, int *first, char *text,
              size_t cap);
/* Whole numbers: digits only, within min..max.  0 if it is one. */
int opt_number(const char *word, uint64_t min, uint64_t max, uint64_t *value);
/* Bytes: "200M", "1.5G", "4096".  0 if it is one. */
int opt_size(const char *word, uint64_t *bytes);
/* The option lines of --help. */
void opt_help(FILE *f, const opt *table);
/* One option a line, for completion: "--name<TAB>ARG", and "-x<TAB>ARG" where it has a letter. */
void opt_list(FILE *f, const opt *table);

#endif
