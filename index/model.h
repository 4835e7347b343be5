/* SPDX-License-Identifier: Apache-2.0 */
/* model.h -- what an index knows beside its lists: the parameters (`meta`, as text) and the arrays
 * (`model`, in place).  Written once by a build, read by every searcher. */
#ifndef VQ_INDEX_MODEL_H
#define VQ_INDEX_MODEL_H

#include <float.h>
#include <math.h>

#include "index/change.h"
#include "index/layout.h"
#include "index/relation.h"
#include "src/base/elem.h"
#include "src/codec/codec.h"
#include "src/math/transform.h"

typedef struct vq_model {
    /* meta: every field is a row of the table in model.c */
    uint64_t n, seed;
    uint64_t copies;    /* vectors that a second list holds too */
    uint64_t row_chunk; /* see vq_shape; 0: as all files of formats 1 to 3 have it */
    uint64_t added;     /* vectors since the build; 0: none, or not known */
    uint64_t tuned_at;  /* what added was when the curve was measured */
    uint64_t ngroups;   /* groups in which lists lie; 0: none */
    uint64_t nbars;     /* widths of error bars: VQ_BAR_WIDTHS, or 0: params tell */
    uint64_t nroutes;   /* vectors that lists are chosen by: nlist, or 0: the centroids */
    uint64_t labels;    /* of names: those from here on have not been given; 0: n of them have */
    uint32_t format, metric, d, d_code, nlist, m;
    uint32_t store, input;   /* element types: of the stored rows, of the rows as they came */
    uint32_t rotation;       /* VQ_ROTATION_* */
    uint32_t train;          /* VQ_TRAIN_*, as it was done */
    uint32_t query_map;      /* 1: queries have a matrix of their own */
    uint32_t transform_kind; /* VQ_TRANSFORM_* */
    uint32_t string_ids;     /* 0 or 1 */
    uint32_t nprobe, rerank; /* defaults of a search with k = 10 */
    float store_scale;       /* i8 rows of float input hold round(x * store_scale); else 1 */
    /* Mean squared distances from vectors to their lists' centroids, in the coded space: of the
     * build's, and of those added since; 0: not known. */
    float spread, added_spread;
    float gain; /* what the products of queries with codes are multiplied by; 0: 1 (gain.h) */
    const vq_codec *codec;
    char why[1000];    /* one line an automatic choice */
    char options[600]; /* the build options as given */

    /* model: in the map of the snapshot (reading) or the builder's memory (writing) */
    const float *mean;         /* d */
    const float *matrix;       /* d_code x d, if the transform is dense */
    const float *query_matrix; /* d_code x d, if query_map */
    const float *centroids;    /* nlist x d_code: codes are of what vectors differ from them by */
    const float *routes;       /* nlist x d_code: what queries choose lists by; NULL: centroids */
    const float *biases;    /* nlist: what is taken off q.c to rank lists: |c|^2/2 for l2, else 0 */
    const float *params;    /* codec's */
    const float *bars;      /* 2 x nbars, of vq_code_model, if there are any */
    const float *groups;    /* VQ_GROUPS_HEAD + ngroups, if there are groups (grouping.h) */
    vq_relation tune;       /* recall and effort; no rows: not tuned */
    const float *relevance; /* a row of relevance.h; NULL: none */

    /* derived by vq_model_derive */
    vq_transform transform;
    vq_code_model code;
    vq_shape shape;
} vq_model;

/* A mean as it may be stored: 0 if it is not finite. */
static inline float vq_mean_of(double sum, uint64_t n)
{
    double mean = n > 0 ? sum / (double)n : 0.0;
    return mean <= (double)FLT_MAX ? (float)mean : 0.0f;
}
/* How much further than those of the build the vectors added since lie from their lists' centroids:
 * .2 is 20 %; 0 if there are none, or it is not known. */
static inline float vq_model_drift(const vq_model *m)
{
    return m->spread > 0.0f && m->added > 0 ? sqrtf(m->added_spread / m->spread) - 1.0f : 0.0f;
}

/* Whether queries of l2 may have a matrix of their own: where it is square and has an inverse,
 * products are right with those that it makes of vectors.  What says where to look among groups of
 * lists takes lengths there for those of vectors. */
static inline bool vq_model_may_round(const vq_model *m)
{
    return m->metric == VQ_METRIC_L2 && m->codec->squares != NULL && m->d_code == m->d &&
           m->ngroups == 0;
}

/* Whether they have one: then coordinates do not keep the lengths of vectors. */
static inline bool vq_model_rounded(const vq_model *m)
{
    return m->query_map && m->metric == VQ_METRIC_L2;
}

/* The least format that can say what the model is; what lies beside it may want a newer one. */
static inline uint32_t vq_format_least(const vq_model *m)
{
    if (vq_model_rounded(m)) return VQ_FORMAT_ROUNDED;
    return m->nroutes != 0 ? VQ_FORMAT_DOCUMENTS : VQ_FORMAT_PLAIN;
}

/* Vectors that came after the curve was measured; 0 if there is none. */
static inline uint64_t vq_model_untuned(const vq_model *m)
{
    return m->tune.rows != NULL ? m->added - m->tuned_at : 0;
}
/* What queries choose lists by: nlist x d_code. */
static inline const float *vq_model_routes(const vq_model *m)
{
    return m->routes != NULL ? m->routes : m->centroids;
}

/* Of lists' centroids (n x d_code): where the vectors that they stand for lie as queries (seen: n x
 * d_code, or NULL), and what is taken off products with them (biases: n, or NULL), for l2 half of
 * these vectors' squared lengths, else 0. */
vq_status vq_model_see(const vq_model *m, const vq_kernels *k, const float *centroids, size_t n,
                       float *seen, float *biases, vq_error *err);

/* What a scan looks up of a query in the coded space (y: d_code): the codec's tables, with the
 * gain. code: the model's, or its brief.  The arena holds what they need, but y must outlive them.
 * NULL: no memory. */
const void *vq_model_tables(const vq_model *m, const vq_code_model *code, const vq_kernels *k,
                            const float *y, vq_arena *arena);

/* Fills the derived part; the value_min of shape is the caller's. */
void vq_model_derive(vq_model *m, size_t value_min);
/* code_bytes as users count: codes and factor. */
uint32_t vq_model_code_bytes(const vq_model *m);

vq_status vq_model_write(const vq_model *m, vq_store *st, vq_error *err);
/* meta comes last: a file without it is no index. */
vq_status vq_meta_write(const vq_model *m, vq_store *st, vq_error *err);
/* The settings of relation.h beside the arrays of the model. */
vq_status vq_tune_write(const vq_relation *r, vq_store *st, vq_error *err);
/* A row of relevance.h, likewise. */
vq_status vq_relevance_write(const float *row, vq_store *st, vq_error *err);
/* What a change of the vectors changes: counts, and the format that takes. */
vq_status vq_meta_change(const vq_model *m, vq_change *c, vq_error *err);
/* Reads both and checks every value against what the format allows, and all checksums.  known: a
 * model of an earlier snapshot of the file that is still held, or NULL: arrays that lie where its
 * own do are the same ones, and are not summed again. */
vq_status vq_model_read(vq_model *m, const vq_snapshot *s, const vq_model *known, vq_error *err);

/* How many values `meta` and `model` hold; for the check. */
size_t vq_meta_fields(const vq_model *m);
typedef struct vq_model_array {
    const char *name;
    uint64_t rows, cols;
    const float **place; /* in the model */
} vq_model_array;
enum { VQ_MODEL_ARRAYS = 9 }; /* that vq_model_arrays knows */
/* The arrays that this model has, and their shapes; returns their number. */
size_t vq_model_arrays(vq_model *m, vq_model_array out[VQ_MODEL_ARRAYS]);

/* A stored row as the floats that it stands for, d of them. */
static inline void vq_model_widen(const vq_model *m, const vq_kernels *k, const uint8_t *row,
                                  float *wide)
{
    vq_to_f32(k, m->store, row, m->d, wide);
    for (size_t j = 0; m->store_scale != 1.0f && j < m->d; j++) wide[j] /= m->store_scale;
}

#endif
