/* SPDX-License-Identifier: Apache-2.0 */
/* codec.h -- the codec table: how a vector in the coded space becomes bytes and how bytes are
 * scored. One file and one row in registry.c each; see docs/CONTRIBUTING.md, "add a codec".
 *
 * A codec codes r (d floats): the vector in the coded space less its list's centroid.  It is scored
 * by products: score(q, code) estimates q . r; the caller adds the list's term and, for l2, takes
 * off the vector's factor.  Larger is better.
 *
 * Codes come in two shapes: rows (n x code_bytes, one vector's bytes adjacent), which encode makes,
 * and blocks of VQ_BLOCK vectors in scan order (ceil(n/32) * 32 * code_bytes), which pack makes and
 * the file holds.
 */
#ifndef VQ_CODEC_CODEC_H
#define VQ_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/compiler.h"
#include "src/base/mem.h"
#include "src/base/team.h"
#include "src/math/kernels.h"

typedef struct vq_codec vq_codec;

/* What the estimate of a vector's product with a query may be off by, for codes with error bars.
 * An estimate is of the decoded vector, which is shorter than the vector: (1 + turn) times that is
 * unbiased, and then off by a deviation that a normal law describes. */
typedef struct vq_bar {
    float turn;  /* squared tangent of the angle between vector and code */
    float error; /* length of the error: times what a query feels, the estimate's deviation */
    float half;  /* half of the vector's own squared length, roughly */
} vq_bar;

/* Widths at which bars are made right for true neighbours: 1/2, 1, ... deviations. */
enum { VQ_BAR_WIDTHS = 7 };
#define VQ_BAR_STEP 0.5f

/* A query and a neighbour of it: what error bars are calibrated by. */
typedef struct vq_code_pair {
    const float *o;        /* the neighbour's residual */
    const float *q;        /* the query; for l2 it counts less the centroid */
    const float *seen;     /* what integers make of it; NULL: it is searched for in floats */
    const float *centroid; /* of the neighbour's list; NULL: 0 */
    float noise, share;    /* where integers see it: as of vq_sight */
    const float *off;      /* l2: what factors take off the query, if not the centroid; or NULL */
    float less;            /* l2: what half of o's squared length, as factors know it, is above that
                              of its coordinates */
} vq_code_pair;

/* How a query looks at a list whose codes have error bars. */
typedef struct vq_sight {
    float base;    /* the list's share of a score */
    float from;    /* l2: the score of the centroid itself; else base */
    float away;    /* what the query, for l2 less the centroid, feels of a head's error */
    bool centred;  /* l2 */
    float width;   /* of a bar, in deviations; */
    float stretch; /* ..and what those of heads are to be multiplied with */
    float noise;   /* where integers have found the query: deviation of a product with a residual of
                      length 1, */
    float share;   /* ..and of the list's share */
} vq_sight;

/* A trained codec.  params may lie in the map. */
typedef struct vq_code_model {
    const vq_codec *codec;
    uint32_t d;          /* coded dimensions */
    uint32_t m;          /* sub-quantizers or books (pq, aq), bytes of a scalar code with error
                            bars, else 0 */
    uint32_t code_bytes; /* per vector, without the factor */
    const float *params; /* nparams(d, m) floats, 64-byte aligned */
    const void *brief;   /* the codewords in bytes: prepare makes its tables of these; or NULL */
    const void *coder;   /* what encode goes faster by; or NULL */
    const float *bars;   /* 2 x VQ_BAR_WIDTHS: how many deviations of a head's, of a whole code's
                            estimate stand for each width; NULL: params tell, as in older files */
} vq_code_model;

struct vq_codec {
    const char *name;
    uint32_t disk_id;   /* on disk for ever; FORMAT.md */
    uint32_t codewords; /* pq, aq: 16 or 256 a sub-space or book; else 0 */
    uint32_t grain;     /* scalar codes with error bars: coordinates go by so many; else 0 */
    uint32_t axes;      /* 1: worth coding in rotated axes of which some may be dropped */
    size_t sample; /* rows that training should see; 0: those that lists are found by will do */
    /* Chooses m for d input dimensions so that a code takes at most `bytes` (as near as the codec
     * can); VQ_EINVAL with what would do if that cannot be.  bytes = 0: the codec's own choice. */
    vq_status (*plan)(uint32_t d, uint32_t bytes, uint32_t *m, vq_error *err);
    uint32_t (*code_bytes)(uint32_t d, uint32_t m);
    /* The bytes of a code with so many bits a coordinate; NULL: bits are not what it goes by. */
    uint32_t (*bytes_of_bits)(uint32_t d, double bits);
    size_t (*nparams)(uint32_t d, uint32_t m);
    /* Bytes of a file: may params be used?  NULL: whatever they are. */
    vq_status (*check)(uint32_t d, uint32_t m, const float *params, vq_error *err);
    /* Principal axes of the residuals (d x d, one a row, with the residuals' variances and the mean
     * squares of queries along them) become those that the codec wants, in its order; params, which
     * train goes on from, notes what it needs of that.  NULL: axes are dealt to sub-spaces. */
    vq_status (*turn)(const double *variances, const double *felt, uint32_t d, uint32_t m,
                      uint64_t seed, float *axes, float *params, vq_error *err);
    /* x: n x d residuals, n >= 1; params, zeros or what turn has left, is filled. */
    vq_status (*train)(const float *x, size_t n, uint32_t d, uint32_t m, uint64_t seed, int threads,
                       vq_ticker *ticker, float *params, vq_error *err);
    /* For codes with error bars: makes their bars right for true neighbours, from n pairs (centred:
     * for l2).  bars: those of vq_code_model, to be filled.  NULL: nothing to do. */
    vq_status (*calibrate)(uint32_t d, uint32_t m, const vq_code_pair *pairs, size_t n, int centred,
                           int threads, float *params, float *bars, vq_error *err);
    /* Only VQ_ENOMEM.  The caller holds BLAS at one thread (team.h). */
    vq_status (*encode)(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                        uint8_t *rows, vq_error *err);
    /* For who encodes many vectors: memory of coder_size bytes, 64-byte aligned, filled by a call
     * for each of the m books, which threads may share.  SIZE_MAX: not for this shape, or it does
     * not pay by these kernels; NULL: the codec has nothing of the kind. */
    size_t (*coder_size)(const vq_kernels *k, uint32_t d, uint32_t m);
    void (*coder)(const vq_code_model *cm, const vq_kernels *k, size_t book, void *memory);
    /* Notes in a row what it needs of the vector's centroid (d) for metric l2; NULL: nothing. */
    void (*centre)(const vq_code_model *cm, const vq_kernels *k, const float *centroid,
                   float *scratch, uint8_t *row);
    void (*decode)(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x);
    /* Where the codewords stand in params that scores are made of, for who trains them further:
     * product codes m x dsub x codewords, additive ones m x codewords x d.  refresh makes what
     * params hold beside them (norms) anew.  NULL: nothing of the kind. */
    size_t (*books)(uint32_t d, uint32_t m);
    void (*refresh)(uint32_t d, uint32_t m, float *params);
    uint32_t additive; /* 1: codewords are d long */
    /* rows <-> blocks; unpack takes one slot's row out. */
    void (*pack)(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks);
    void (*unpack)(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row);
    /* For who only orders candidates: the codewords in bytes, a quarter of what prepare has to read
     * for each query.  brief fills memory of brief_size bytes, 64-byte aligned.  NULL: nothing of
     * the kind. */
    size_t (*brief_size)(uint32_t d, uint32_t m);
    void (*brief)(const vq_code_model *cm, const vq_kernels *k, void *memory);
    /* Tables of one query (q: d floats, which must outlive them) in the arena; NULL: no memory. */
    const void *(*prepare)(const vq_code_model *cm, const vq_kernels *k, const float *q,
                           vq_arena *arena);
    /* Scores vectors 0..n-1 of blocks (64-byte aligned): estimate of q.r + base - factor[i] (factor
     * may be NULL).  Those >= threshold, i rising, go to idx and score (room for n rounded up to
     * 32); returns how many.  The estimate may be coarser than `score`; scratch is
     * vq_scan_scratch() bytes, 64-byte aligned.  ahead: blocks that are scanned after these, NULL:
     * not known.  Where `asks` is so, some of them are asked for on the way; else, or where asks is
     * NULL, whoever wants them early has to. */
    size_t (*scan)(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                   float base, float threshold, void *scratch, uint32_t *idx, float *score);
    bool (*asks)(const vq_kernels *k);
    /* The same in steps, for many queries over the same blocks; NULL: not faster than scan; it may
     * not be faster by some kernels either (pays).  gather brings blocks together (room for the
     * bytes of an even number of them); least says of n bases and factors which sum a vector needs
     * at least, with that factor or a larger one, to score the threshold; sums looks all vectors
     * up, a number each, where one of the block is no less than least[block]: these blocks, rising,
     * go to reached, and how many is returned; select judges n of the sums, by the factor of each,
     * as scan does.  Memory is 64-byte aligned, but for the blocks and select's part of the sums.
     */
    bool (*pays)(const vq_kernels *k);
    void (*gather)(const vq_code_model *cm, const vq_kernels *k, const uint8_t *const *blocks,
                   size_t nblocks, uint8_t *out);
    void (*least)(const void *tables, float threshold, const float *base, const float *factor,
                  size_t n, uint16_t *least);
    size_t (*sums)(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *gathered, size_t nblocks, const uint16_t *least, uint16_t *sums,
                   uint32_t *reached);
    size_t (*select)(const void *tables, const vq_kernels *k, const uint16_t *sums,
                     const float *factor, size_t n, float base, float threshold, uint32_t *idx,
                     float *score);
    /* What scan's estimate may differ by from score's, of any code by the same tables, but for the
     * rounding of sums with base; NULL: nobody knows. */
    float (*slack)(const vq_code_model *cm, const void *tables);
    /* scan for codes with error bars: those that may score threshold or more go to idx, score (the
     * estimate) and most (what they may score at best). */
    size_t (*scan_bars)(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                        const uint8_t *blocks, const uint8_t *ahead, const float *factor, size_t n,
                        const vq_sight *at, float threshold, void *scratch, uint32_t *idx,
                        float *score, float *most);
    /* Bytes at the front of a block that scan_bars reads; the rest is for score. */
    size_t (*front)(const vq_code_model *cm);
    /* Asks the memory for what score will read of a slot, and of tables that have lain about for
     * some time.  NULL, both: score does without. */
    void (*fetch)(const vq_code_model *cm, const uint8_t *blocks, size_t slot);
    void (*fetch_tables)(const vq_code_model *cm, const void *tables);
    /* The error bar of scan's estimate, or of score's (whole: 1); NULL: the codec has none.  two:
     * the bytes of a code are more than scan reads. */
    void (*bar)(const vq_code_model *cm, const void *tables, const uint8_t *blocks, size_t slot,
                int whole, vq_bar *out);
    int (*two)(const vq_code_model *cm);
    /* What centroids are multiplied with (d each): what prepare was given and, if the model has
     * bars, what it is for `feel`, by heads and by whole codes. */
    const float *(*rows)(const void *tables);
    /* What a product with the query of tables feels of an error of length 1, its deviation, by the
     * heads' errors or the whole codes'.  products: for l2, of the query less a centroid, which is
     * so far away (squared): of the centroid with `rows`, and the square that `weigh` has for it;
     * else NULL. */
    float (*feel)(const vq_code_model *cm, const void *tables, int whole, const float *products,
                  float away_sq, float weighed);
    /* The squares of what a centroid itself feels: of heads, of whole codes. */
    void (*weigh)(const vq_code_model *cm, const vq_kernels *k, const float *centroid,
                  float out[2]);
    /* What the deviation of a head's or a whole code's estimate is to be multiplied with, so that
     * bars of this width leave out of true neighbours what a normal law has above it. */
    float (*stretch)(const vq_code_model *cm, int whole, float width);
    /* For codes with error bars: the mean squares of residuals' coordinates (d); returns the mean
     * squared error of products with what lies as far away as residuals reach.  NULL: the codec has
     * no bars. */
    float (*squares)(const vq_code_model *cm, float *out);
    /* The codec's best estimate of q.r for one slot: what ranks when there is no second pass. */
    float (*score)(const vq_code_model *cm, const vq_kernels *k, const void *tables,
                   const uint8_t *blocks, size_t slot);
};

/* How many coordinates a code of d dimensions has: some are padding. */
static inline uint32_t vq_coded_dims(const vq_codec *c, uint32_t d, uint32_t m)
{
    uint32_t by = c->codewords != 0 ? m : VQ_MAX(c->grain, 1u);
    return (d + by - 1) / by * by;
}

/* Bytes of scan scratch for chunks of up to n vectors. */
static inline size_t vq_scan_scratch(size_t n)
{
    return vq_round_up(n, VQ_BLOCK) * sizeof(uint16_t) + VQ_CACHELINE;
}

extern const vq_codec vq_codec_flat, vq_codec_sq8, vq_codec_pq4, vq_codec_pq8, vq_codec_aq8,
    vq_codec_saq, vq_codec_rabitq;

extern const vq_codec *const vq_codecs[];
extern const size_t vq_codec_count;
const vq_codec *vq_codec_by_name(const char *name); /* NULL if there is none */
const vq_codec *vq_codec_by_id(uint32_t disk_id);   /* NULL if there is none */

#endif
