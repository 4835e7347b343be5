/* SPDX-License-Identifier: Apache-2.0 */
/* build_run.h -- what the commands that make an index share: arguments, rows of their tables of
 * options, the run itself and its report. */
#ifndef VQ_CLI_BUILD_RUN_H
#define VQ_CLI_BUILD_RUN_H

#include "cli/attach.h"
#include "cli/cli.h"
#include "src/io/ids.h"

typedef struct build_args {
    const char *output, *ids, *loss, *log, *teacher, *teacher_cache, *qrels, *query_ids, *model;
    attach_files attached;
    opt_texts queries;
    double bits;
    uint32_t metric, codec, bytes, rotation, nlist, store, train, threads, epochs, fixed_queries,
        copies;
    uint64_t seed, memory;
    double temperature;
    int force, quiet, stats, skip_bad, no_tune;
    vq_index *of; /* the index at model, open, or NULL */
} build_args;

#define BUILD_AT(field) offsetof(build_args, field)

extern const opt_word build_codecs[], build_rotations[], build_trains[], build_autos[],
    build_learns[], build_copies[];

/* Rows of options, in the order of help.  Arguments of these macros are the ends of the help texts
 * where commands differ in what they do without the option. */
#define BUILD_ROW_OUTPUT                                                                           \
    {                                                                                              \
        "output", 'o', OPT_TEXT, "OUT", BUILD_AT(output), 0, 0, NULL,                              \
            "the index to write; required"                                                         \
    }
#define BUILD_ROWS_CODES(codec_default, bytes_default, rotation_default, nlist_default)            \
    {"codec",                                                                                      \
     0,                                                                                            \
     OPT_WORD,                                                                                     \
     "auto|pq4|pq8|aq8|saq|rabitq|sq8|flat",                                                       \
     BUILD_AT(codec),                                                                              \
     0,                                                                                            \
     0,                                                                                            \
     build_codecs,                                                                                 \
     "how vectors are compressed; default " codec_default},                                        \
        {"bytes",                                                                                  \
         0,                                                                                        \
         OPT_U32,                                                                                  \
         "N",                                                                                      \
         BUILD_AT(bytes),                                                                          \
         1,                                                                                        \
         1u << 20,                                                                                 \
         NULL,                                                                                     \
         "bytes a vector in the lists, everything but the id; default " bytes_default},            \
        {"bits",                                                                                   \
         0,                                                                                        \
         OPT_ABOVE,                                                                                \
         "B",                                                                                      \
         BUILD_AT(bits),                                                                           \
         0,                                                                                        \
         13,                                                                                       \
         NULL,                                                                                     \
         "in place of --bytes, for saq and rabitq: bits a coordinate, on the average"},            \
        {"rotation",                                                                               \
         0,                                                                                        \
         OPT_WORD,                                                                                 \
         "auto|none|random|pca|opq",                                                               \
         BUILD_AT(rotation),                                                                       \
         0,                                                                                        \
         0,                                                                                        \
         build_rotations,                                                                          \
         "rotation before the codes; default " rotation_default},                                  \
    {                                                                                              \
        "nlist", 0, OPT_U32, "N", BUILD_AT(nlist), 1, UINT32_MAX - 1, NULL,                        \
            "inverted lists; default " nlist_default                                               \
    }
#define BUILD_ROW_COPIES(copies_default)                                                           \
    {                                                                                              \
        "copies", 0, OPT_WORD, "auto|yes|no", BUILD_AT(copies), 0, 0, build_copies,                \
            "vectors that gain by it are held by a second list too, so that fewer lists need be "  \
            "read; default " copies_default                                                        \
    }
#define BUILD_ROWS_TRAIN                                                                           \
    {"train",                                                                                      \
     0,                                                                                            \
     OPT_WORD,                                                                                     \
     "auto|kmeans|query-aware|distill",                                                            \
     BUILD_AT(train),                                                                              \
     0,                                                                                            \
     0,                                                                                            \
     build_trains,                                                                                 \
     "how axes, lists and codes are trained; default auto: distill where there are queries"},      \
        {"queries",                                                                                \
         0,                                                                                        \
         OPT_TEXTS,                                                                                \
         "FILE",                                                                                   \
         BUILD_AT(queries),                                                                        \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "training queries, unlabelled: vectors like those that will be asked; "                   \
         "may be given more than once"},                                                           \
        {"loss",                                                                                   \
         0,                                                                                        \
         OPT_TEXT,                                                                                 \
         "LOSS",                                                                                   \
         BUILD_AT(loss),                                                                           \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "of distillation: listnet (default), kl, margin-mse, ranknet or lambda"},                 \
        {"epochs",                                                                                 \
         0,                                                                                        \
         OPT_U32,                                                                                  \
         "N",                                                                                      \
         BUILD_AT(epochs),                                                                         \
         1,                                                                                        \
         1000,                                                                                     \
         NULL,                                                                                     \
         "of distillation, in each of two rounds; default 6; the best state judged is kept"},      \
        {"temperature",                                                                            \
         0,                                                                                        \
         OPT_ABOVE,                                                                                \
         "T|auto",                                                                                 \
         BUILD_AT(temperature),                                                                    \
         0,                                                                                        \
         1u << 30,                                                                                 \
         build_autos,                                                                              \
         "of the loss, in the unit of the teacher's scores; default auto: from their spread"},     \
        {"learn-query-map",                                                                        \
         0,                                                                                        \
         OPT_WORD,                                                                                 \
         "yes|no",                                                                                 \
         BUILD_AT(fixed_queries),                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         build_learns,                                                                             \
         "distillation also learns a linear map of the queries; default yes"},                     \
        {"teacher-cache",                                                                          \
         0,                                                                                        \
         OPT_TEXT,                                                                                 \
         "FILE",                                                                                   \
         BUILD_AT(teacher_cache),                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "keep the exact answers to the training queries in FILE, for builds of the same vectors " \
         "with other options"},                                                                    \
    {                                                                                              \
        "log", 0, OPT_TEXT, "FILE", BUILD_AT(log), 0, 0, NULL,                                     \
            "write a row an epoch of distillation: round, epoch, loss, overlap on held-out "       \
            "queries, seconds (CSV)"                                                               \
    }
#define BUILD_ROWS_MACHINE(seed_default)                                                           \
    {"seed",                                                                                       \
     0,                                                                                            \
     OPT_U64,                                                                                      \
     "S",                                                                                          \
     BUILD_AT(seed),                                                                               \
     1,                                                                                            \
     UINT64_MAX,                                                                                   \
     NULL,                                                                                         \
     "of all random choices; default " seed_default},                                              \
        {"threads",                                                                                \
         0,                                                                                        \
         OPT_U32,                                                                                  \
         "T",                                                                                      \
         BUILD_AT(threads),                                                                        \
         1,                                                                                        \
         1024,                                                                                     \
         NULL,                                                                                     \
         "default: all processors; the index does not depend on it"},                              \
    {                                                                                              \
        "memory", 0, OPT_SIZE, "SIZE", BUILD_AT(memory), 0, 0, NULL,                               \
            "stay within about SIZE, as 200M or 2G"                                                \
    }
#define BUILD_ROWS_RUN                                                                             \
    {"no-tune",                                                                                    \
     0,                                                                                            \
     OPT_FLAG,                                                                                     \
     NULL,                                                                                         \
     BUILD_AT(no_tune),                                                                            \
     0,                                                                                            \
     0,                                                                                            \
     NULL,                                                                                         \
     "do not measure at the end what each recall takes (vq tune)"},                                \
        {"force", 'f', OPT_FLAG, NULL, BUILD_AT(force), 0, 0, NULL, "replace OUT if it exists"},   \
        {"quiet", 'q', OPT_FLAG, NULL, BUILD_AT(quiet), 0, 0, NULL, "print errors only"},          \
    {                                                                                              \
        "stats", 0, OPT_FLAG, NULL, BUILD_AT(stats), 0, 0, NULL,                                   \
            "print each phase's time, and the memory"                                              \
    }

/* An exit code: is there an output, may it and what else is written be written, do the options for
 * training go together?  input: what is read;
 * in_place: OUT may be it. */
int build_check(const build_args *a, const char *input, bool in_place);
/* Opens the training queries and what belongs to them, builds a->output of src (named input; ids
 * may be empty, and are sorted where they are refused), tells what came of it, and returns the exit
 * code. */
int build_run(const build_args *a, const char *input, vq_source *src, vq_ids *ids);

#endif
