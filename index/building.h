/* SPDX-License-Identifier: Apache-2.0 */
/* building.h -- a build on its way, as its rooms share it: the first pass over the rows
 * (buildrows.c), what it learns from queries and teachers (buildlearn.c), the order of all and the
 * writing (build.c). */
#ifndef VQ_INDEX_BUILDING_H
#define VQ_INDEX_BUILDING_H

#include "index/docbuild.h"
#include "index/encode.h"
#include "index/fit.h"
#include "index/idmap.h"
#include "index/learn.h"
#include "index/searcher.h"
#include "index/taught.h"
#include "index/writer.h"
#include "src/base/hash.h"

typedef struct vq_building {
    const char *path;
    vq_source *src;
    const vq_build_opts *opts;
    vq_ticker ticker;
    vq_store *store;
    vq_shard given; /* the index whose model this one gets; or all zero */
    vq_plan plan;
    vq_fitted fitted;
    vq_idmap idmap;
    vq_list_writer writer, copies;
    vq_doc_build docs;
    vq_corpus corpus;    /* with distillation: its codes are the file's */
    uint8_t *sample;     /* plan.sample rows as they come */
    uint32_t *sample_at; /* which vectors they are */
    size_t sampled;
    vq_taught part;    /* those of the sample that teach, or none: all vectors do */
    uint64_t *skipped; /* row numbers of bad rows */
    size_t nskipped, skipped_room;
    /* one block of rows on its way */
    size_t block;      /* rows */
    uint8_t *rows;     /* block x d, as they come */
    uint64_t *numbers; /* block: their row numbers */
    float *wide;       /* block x d: as floats, if the store depends on how large they are */
    vq_queries queries;
    float largest; /* |x| of all */
    vq_teacher teacher;
    vq_pair_lists positives;
    int claim;         /* of the file that is replaced (change.h), or -1 */
    vq_hasher *hasher; /* of all good rows, where a teacher cache asks what they are */
} vq_building;

/* ---- buildrows.c: the first pass ---- */

/* How many rows there are, counted where the source does not tell. */
vq_status vq_build_count(vq_building *b, uint64_t *n, vq_error *err);
/* Answers kept from an earlier build hold if the rows are the same: hash them while they are read
 * anyway. */
vq_status vq_build_hash(vq_building *b, vq_error *err);
/* Reads all n rows once: takes the sample and learns which rows are bad. */
vq_status vq_build_sample(vq_building *b, uint64_t n, vq_error *err);
/* Notes if another metric would do more with vectors like those of the sample. */
vq_status vq_build_hint(vq_building *b, vq_error *err);

/* ---- buildlearn.c: queries and teachers ---- */

/* Reads queries, hears what is right for them and fits the model to the sample. */
vq_status vq_build_fit(vq_building *b, vq_error *err);
/* Do codes learn from queries after that? */
bool vq_build_learns(const vq_building *b);
/* Encodes the corpus in memory, or a part of it, lets codes, codebooks, list vectors and query map
 * learn, and keeps the codes for the file if they are those of all vectors. */
vq_status vq_build_learn(vq_building *b, vq_error *err);

#endif
